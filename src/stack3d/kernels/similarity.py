"""How alike two frames are: correlation, absolute difference and mutual information, missing pixels left out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _similarity_loops as loops
from stack3d.kernels import statistics
from stack3d.kernels._namespace import namespace, on_host, packed

MISSING = 255
DARK = 0.01
RANGE = (0.001, 0.999)


class PairMoments(NamedTuple):
    """What `pair_moments` returns, over the pixels measured in both frames; all but `pixels` NaN without any."""

    pixels: int
    mean_a: float
    mean_b: float
    variance_a: float
    variance_b: float
    covariance: float
    difference: float


_NOTHING = PairMoments(0, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)


def pair_moments(a: Any, b: Any, mask: Any = None) -> PairMoments:
    """Return the moments of two frames over the pixels measured in both, in one pass.

    Parameters
    ----------
    a, b : (y, x) array
        Numpy or cupy, of any real dtypes. Values that are not finite are missing.
    mask : (y, x) array of bool, optional
        True where pixels are used.

    Returns
    -------
    PairMoments
        Tuple (pixels, mean_a, mean_b, variance_a, variance_b, covariance, difference), variances divided by the
        count, `difference` the mean of ``|a - b|``.

    Examples
    --------
    >>> from stack3d.kernels import similarity
    >>> similarity.pair_moments(np.array([[1.0, 3.0, np.nan]]), np.array([[2.0, 6.0, 1.0]]))[:3]
    (2, 2.0, 4.0)
    """
    _check_alike(a, b)
    if not (on_host(a) and on_host(b)):
        return pair_moments_xp(a, b, mask)
    a, b = packed(a), packed(b)
    centres = _centre(a), _centre(b)
    sums = loops.pair_sums(a, b, None if mask is None else packed(mask), *centres)
    return _moments(sums, *centres)


def pair_moments_xp(a: Any, b: Any, mask: Any = None) -> PairMoments:
    """`xp` form of `pair_moments`."""
    xp = namespace(a)
    a, b = a.astype(np.float64), b.astype(np.float64)
    use = xp.isfinite(a) & xp.isfinite(b)
    if mask is not None:
        use = use & mask
    a, b = a[use], b[use]
    if not a.size:
        return _NOTHING
    means = float(a.mean()), float(b.mean())
    da, db = a - means[0], b - means[1]
    aa, bb, ab = (float((first * second).mean()) for first, second in ((da, da), (db, db), (da, db)))
    return PairMoments(int(a.size), *means, aa, bb, ab, float(xp.abs(a - b).mean()))


def _moments(sums: Any, centre_a: float, centre_b: float) -> PairMoments:
    count = sums[0]
    if not count:
        return _NOTHING
    a, b, aa, bb, ab, difference = (float(value) for value in sums[1:] / count)
    return PairMoments(
        int(count), centre_a + a, centre_b + b, max(aa - a * a, 0.0), max(bb - b * b, 0.0), ab - a * b, difference
    )


def _centre(frame: Any) -> float:
    """Return a value amid those of the frame, so that sums of squares lose no digits to a far origin."""
    rows = frame[:: max(1, frame.shape[0] // 16)].astype(np.float64)
    finite = rows[np.isfinite(rows)]
    return float(finite.mean()) if finite.size else 0.0


def _check_alike(a: Any, b: Any) -> None:
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"the frames have shapes {a.shape} and {b.shape}; they must be 2-D and alike")


def correlation(moments: PairMoments) -> float:
    """Return the correlation coefficient; NaN where a frame has no contrast."""
    # A constant frame has rounding for variance.
    floor_a, floor_b = (1e-24 * mean * mean for mean in moments[1:3])
    if not (moments.variance_a > floor_a and moments.variance_b > floor_b):
        return np.nan
    value = moments.covariance / np.sqrt(moments.variance_a * moments.variance_b)
    return float(min(max(value, -1.0), 1.0))


def ncc(a: Any, b: Any, mask: Any = None) -> float:
    """Return the zero-mean normalised cross-correlation of two frames at zero shift (Pearson's coefficient).

    Two exposures of one scene give ``SNR = NCC / (1 - NCC)`` (Frank and Al-Ali 1975).

    Parameters
    ----------
    a, b : (y, x) array
        Numpy or cupy. Values that are not finite are missing.
    mask : (y, x) array of bool, optional
        True where pixels are used.

    Returns
    -------
    float
        From -1 to 1; NaN where a frame has no contrast or no pixel is measured in both.

    References
    ----------
    J. Frank, L. Al-Ali, Nature 256, 376 (1975), doi:10.1038/256376a0.

    Examples
    --------
    >>> from stack3d.kernels import similarity
    >>> similarity.ncc(np.array([[1, 2, 3]], "uint8"), np.array([[7, 5, 3]], "uint8"))
    -1.0
    """
    return correlation(pair_moments(a, b, mask))


def dark_level(frame: Any, mask: Any = None, fraction: float = DARK) -> float:
    """Return the grey value below which the given fraction of the measured pixels lies; NaN without any."""
    return float(statistics.quantiles(frame, [fraction], mask)[0])


def relative_difference(moments: PairMoments, dark_a: float, dark_b: float) -> float:
    """Return the mean absolute difference over the mean signal above the dark level; NaN without a signal."""
    signal = (moments.mean_a + moments.mean_b - dark_a - dark_b) / 2
    return moments.difference / signal if signal > 0 else np.nan


def nsad(a: Any, b: Any, mask: Any = None, *, dark: float = DARK) -> float:
    """Return the normalised sum of absolute differences of two frames.

    ``mean |a - b| / (mean (a + b) / 2 - (dark_a + dark_b) / 2)``, where the dark level of a frame is the quantile
    `dark` of its measured pixels: one dead pixel, or padding that is missing, changes nothing.

    Parameters
    ----------
    a, b : (y, x) array
        Numpy or cupy. Values that are not finite are missing.
    mask : (y, x) array of bool, optional
        True where pixels are used.
    dark : float, default 0.01
        The fraction.

    Returns
    -------
    float
        0 for equal frames; NaN without signal or where no pixel is measured in both.

    Examples
    --------
    >>> from stack3d.kernels import similarity
    >>> similarity.nsad(np.array([[0.0, 3.0, 6.0]]), np.array([[0.0, 6.0, 9.0]]), dark=0)
    0.5
    """
    return relative_difference(pair_moments(a, b, mask), dark_level(a, mask, dark), dark_level(b, mask, dark))


def default_bins(pixels: int) -> int:
    """Return the cube root of the number of pixels, from 8 to 128: pixels per cell grow with the frame, as cells do."""
    return int(np.clip(round(pixels ** (1 / 3)), 8, 128))


def levels(frame: Any, bins: int, mask: Any = None) -> Any:
    """Return the level of each pixel, in `bins` steps of equal width from its quantile 0.001 to 0.999.

    What lies beyond has the outer levels. A frame whose quantiles meet is cut from its minimum to its maximum.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    bins : int
        From 2 to 255.
    mask : (y, x) array of bool, optional
        True where pixels are used.

    Returns
    -------
    (y, x) array of uint8
        255 where the pixel is missing.

    Examples
    --------
    >>> from stack3d.kernels import similarity
    >>> similarity.levels(np.array([[0.0, 6.0, np.nan, 10.0]]), 2)
    array([[  0,   1, 255,   1]], dtype=uint8)
    """
    if not 2 <= bins < MISSING:
        raise ValueError(f"bins={bins!r} must be from 2 to {MISSING - 1}")
    low, high = statistics.quantiles(frame, RANGE, mask)
    if not high > low:
        low, high = statistics.quantiles(frame, (0.0, 1.0), mask)
    per_unit = bins / (high - low) if high > low else 0.0
    if not on_host(frame):
        return levels_xp(frame, mask, low, per_unit, bins)
    measured = None if mask is None else packed(mask)
    return loops.levels_of(packed(frame), measured, low if low == low else 0.0, per_unit, bins, MISSING)


def levels_xp(frame: Any, mask: Any, low: float, per_unit: float, bins: int) -> Any:
    """`xp` form of the loop of `levels`."""
    xp = namespace(frame)
    wide = frame.astype(np.float64)
    use = xp.isfinite(wide) if mask is None else xp.isfinite(wide) & mask
    level = xp.clip((xp.where(use, wide, 0.0) - low) * per_unit, 0.0, bins - 1.0)
    return xp.where(use, level, float(MISSING)).astype(np.uint8)


def joint_histogram(a: Any, b: Any) -> np.ndarray[Any, Any]:
    """Count the pairs of levels of two frames from `levels`: (255, 255) int64, missing pixels left out, on the host."""
    _check_alike(a, b)
    if on_host(a) and on_host(b):
        counts = loops.joint_counts(packed(a), packed(b)).sum(axis=0, dtype=np.int64)
    else:
        xp = namespace(a)
        counts = xp.bincount((a.astype(np.int32) * 256 + b).ravel(), minlength=65536)
        counts = counts.get() if xp is not np else counts
    return np.asarray(counts, dtype=np.int64).reshape(256, 256)[:MISSING, :MISSING]


class Entropies(NamedTuple):
    """Entropies in nats, corrected for the number of pixels, of each frame and of both together."""

    a: float
    b: float
    joint: float


def entropies(counts: Any) -> Entropies:
    """Return the entropies of a joint histogram, each with the correction of Miller and Madow for finite samples.

    ``H = - sum p log p + (occupied - 1) / (2 n)``: without it independent frames seem to share information, the more
    so the more bins there are. NaN where nothing was counted.

    References
    ----------
    G. A. Miller, in Information Theory in Psychology II-B, 95 (Free Press, 1955); L. Paninski, Neural Comput. 15, 1191
    (2003), doi:10.1162/089976603321780272.
    """
    joint = np.asarray(counts, dtype=np.float64)
    return Entropies(*(_entropy(part) for part in (joint.sum(axis=1), joint.sum(axis=0), joint)))


def _entropy(counts: np.ndarray[Any, Any]) -> float:
    occupied = counts[counts > 0]
    number = occupied.sum()
    if not number:
        return np.nan
    share = occupied / number
    return float(-(share * np.log(share)).sum() + (occupied.size - 1) / (2 * number))


def normalised_information(found: Entropies) -> float:
    """Return ``(H(a) + H(b)) / H(a, b) - 1``; NaN where a frame has a single level."""
    if not (found.a > 0 and found.b > 0 and found.joint > 0):
        return np.nan
    return (found.a + found.b) / found.joint - 1


def nmi(a: Any, b: Any, mask: Any = None, *, bins: int | None = None) -> float:
    """Return the normalised mutual information of two frames, corrected for the number of pixels.

    Studholme's ``(H(a) + H(b)) / H(a, b)`` less 1: 1 for equal frames, 0 for independent ones. See `levels` for the
    bins and `entropies` for the correction.

    Parameters
    ----------
    a, b : (y, x) array
        Numpy or cupy. Values that are not finite are missing.
    mask : (y, x) array of bool, optional
        True where pixels are used.
    bins : int, optional
        From 2 to 254; by default the cube root of the number of pixels, from 8 to 128.

    Returns
    -------
    float
        NaN where a frame has no contrast or no pixel is measured in both.

    References
    ----------
    C. Studholme, D. L. G. Hill, D. J. Hawkes, Pattern Recognit. 32, 71 (1999), doi:10.1016/S0031-3203(98)00091-0.

    Examples
    --------
    >>> from stack3d.kernels import similarity
    >>> frame = np.random.default_rng(0).normal(size=(64, 64))
    >>> similarity.nmi(frame, frame)
    1.0
    """
    _check_alike(a, b)
    count = default_bins(a.size) if bins is None else bins
    return normalised_information(entropies(joint_histogram(levels(a, count, mask), levels(b, count, mask))))
