"""Local contrast by differences from the middle of the surroundings, and a global curve of grey values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels import _box_means, _fill
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, store, working_dtype

REDISTRIBUTE = ("leftmost", "left", "full", "none")
REFERENCE = ("image", "maximum", "minimum", "middle")
DEVIATIONS = np.linspace(-6.0, 6.0, 4801)  # of the curve: its chords leave it by less than 5e-7 of the range


def normal_curve(u: Any, clip: tuple[float, float] | None, redistribute: str) -> np.ndarray[Any, Any]:
    """Return the fraction of the range that grey values `u` standard deviations above the mean become.

    The distribution function of the normal law; between the two ends of `clip` its density is replaced by the chord,
    and what is cut off is given to other grey values.

    Parameters
    ----------
    u : array of float
    clip : (float, float), optional
        In standard deviations.
    redistribute : {"leftmost", "left", "full", "none"}
        Who gets what is cut off: the values below the clipped part, those and the clipped part itself, all alike, or
        nobody (nothing is clipped).

    Returns
    -------
    array of float64
        From 0 to 1.

    Examples
    --------
    >>> from stack3d.kernels import contrast
    >>> np.floor(256 * contrast.normal_curve(np.arange(-2.0, 3.0), (-0.8, 0.8), "leftmost"))
    array([  8.,  62., 142., 215., 250.])
    """
    from scipy.special import ndtr

    u = np.asarray(u, dtype=np.float64)
    share = ndtr(u)
    if clip is None or redistribute == "none":
        return np.asarray(share)
    low, high = clip
    below, upto = ndtr(low), ndtr(high)
    first, last = (np.exp(-(end**2) / 2) / np.sqrt(2 * np.pi) for end in clip)
    chord = (first + last) * (high - low) / 2
    cut = upto - below - chord
    inside = np.clip(u - low, 0, high - low)
    area = inside / 2 * (2 * first + (last - first) * inside / (high - low))
    left, right = np.minimum(share, below), np.maximum(share - upto, 0)
    if redistribute == "leftmost":
        return np.asarray((1 + cut / below) * left + area + right)
    if redistribute == "left":
        return np.asarray((1 + cut / (below + chord)) * (left + area) + right)
    return np.asarray((left + area + right) / (1 - cut))


def global_contrast(
    frame: Any, mean: float, sigma: float, curve: Any, low: float, high: float, dtype: Any
) -> tuple[Any, int]:
    """Map grey values through a curve over their distance from `mean` in units of `sigma`.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. 8- and 16-bit integers go through a table.
    mean, sigma : float
        `sigma` positive.
    curve : (4801,) array of float
        Fraction of the range at `DEVIATIONS`; between them it is interpolated, beyond them it keeps its ends.
    low, high : float
        The range of the result.
    dtype : dtype

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    dtype = np.dtype(dtype)
    values = low + (high - low) * np.asarray(curve, dtype=np.float64)
    knots = mean + sigma * DEVIATIONS
    if frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2:
        info = np.iinfo(frame.dtype)
        levels = np.arange(info.min, info.max + 1, dtype=np.float64)
        table, _ = finish(np.interp(levels, knots, values), dtype)
        xp = namespace(frame)
        return xp.asarray(table)[frame.astype(np.int32) - info.min], 0
    if not on_host(frame):
        return global_contrast_xp(frame, mean, sigma, curve, low, high, dtype)
    out = np.empty(frame.shape, dtype)
    smallest, largest = limits(dtype)
    count = _along_curve(packed(frame), float(mean), float(sigma), values, out, smallest, largest)
    return out, int(count)


def global_contrast_xp(
    frame: Any, mean: float, sigma: float, curve: Any, low: float, high: float, dtype: Any
) -> tuple[Any, int]:
    """`xp` form of `global_contrast`."""
    xp = namespace(frame)
    values = low + (high - low) * np.asarray(curve, dtype=np.float64)
    u = (frame.astype(np.float64) - mean) / sigma
    return finish(xp.interp(u, xp.asarray(DEVIATIONS), xp.asarray(values)), dtype)


@njit(nogil=True, cache=True)
def _along_curve(frame: Any, mean: float, sigma: float, values: Any, out: Any, smallest: float, largest: float) -> int:
    last = values.size - 1
    per = last / 12.0
    total = 0
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(source.size):
            place = ((np.float64(source[x]) - mean) / sigma + 6.0) * per
            if place != place:
                value = place
            else:
                place = min(max(place, 0.0), np.float64(last))
                k = min(int(place), last - 1)
                value = values[k] + (values[k + 1] - values[k]) * (place - k)
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += int(count)
    return total


def local_contrast(
    frame: Any,
    *,
    size: int,
    ratio: float,
    offset: float,
    sigma: float,
    smoothing: int,
    reference: str,
    dtype: Any,
    compress_range: tuple[float, float] | None = None,
    compress_ratio: float = 1.0,
) -> tuple[Any, int]:
    """Enlarge differences from the middle of the surroundings, most where a frame is darker than its wide mean.

    ``I + gain * (I - M)``, M the middle between the largest and smallest value of a square; the gain is ``ratio * Phi((A +
    offset - v) / sigma)``, Phi the normal distribution function and A the mean under a triangle.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. NaN is missing and stays so; it has no part in means, largest and smallest values.
    size : int
        Side of the square, odd.
    ratio : float
        Largest gain.
    offset, sigma : float
        Grey values: where the gain falls to half, from the mean, and how softly.
    smoothing : int
        Half width of the triangle, odd.
    reference : {"image", "maximum", "minimum", "middle"}
        v: the grey value itself, or that of the square.
    dtype : dtype
    compress_range : (float, float), optional
        Grey values between which differences of A are reduced to `compress_ratio` before others are enlarged; the gain is
        found with A held within them.
    compress_ratio : float
        0 to 1.

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    xp = namespace(frame)
    missing = frame != frame if frame.dtype.kind == "f" else None
    values, weight, level = _fill.known(frame)
    # Around 0 float32 has digits to spare.
    values = values - np.float32(level)
    wide = _wide_mean(values, smoothing)
    if weight is not None:
        share = _wide_mean(weight, smoothing)
        wide = xp.where(share > 1e-6, _wide_mean(values * weight, smoothing) / xp.maximum(share, 1e-6), np.float32(0))
    least, most = _ends(values, weight, size)
    chosen = {"image": values, "maximum": most, "minimum": least, "middle": (least + most) * np.float32(0.5)}[reference]
    kind = working_dtype(frame.dtype, dtype).type
    out = frame.astype(kind)
    if compress_range is not None:
        low, high = (np.float32(end - float(level)) for end in compress_range)
        lifted = xp.clip(wide, low, high)
        change = np.float32(1 - compress_ratio) * ((low + high) * np.float32(0.5) - lifted)
        out, values, wide = out + change, values + change, lifted
        least, most = _ends(values, weight, size)
    gain = np.float32(ratio) * _normal((wide + np.float32(offset) - chosen) / np.float32(sigma))
    out = out + gain * (values - (least + most) * np.float32(0.5))
    if missing is not None:
        out = xp.where(missing, kind(np.nan), out)
    return finish(out, dtype)


def _ends(values: Any, weight: Any, size: int) -> tuple[Any, Any]:
    """Return the smallest and the largest known value of the square around each pixel; 0 where there is none."""
    if weight is None:
        return _extreme(values, size, False), _extreme(values, size, True)
    xp = namespace(values)
    ends = (
        _extreme(xp.where(weight > 0, values, np.float32(-np.inf if largest else np.inf)), size, largest)
        for largest in (False, True)
    )
    least, most = (xp.where(xp.isfinite(end), end, np.float32(0)) for end in ends)
    return least, most


def _wide_mean(frame: Any, length: int) -> Any:
    along_y = _box_means.triangle(frame, length)
    return _box_means.triangle(along_y.T, length).T


def _normal(u: Any) -> Any:
    if namespace(u) is np:
        from scipy.special import ndtr
    else:
        from cupyx.scipy.special import ndtr
    return ndtr(u)


def _extreme(frame: Any, size: int, largest: bool) -> Any:
    """Return the largest (smallest) value of the square around each pixel, cut at the edges."""
    if namespace(frame) is not np:
        return extreme_xp(frame, size, largest)
    import cv2

    run = cv2.dilate if largest else cv2.erode
    # Without an anchor or border given, pixels outside have no part.
    return run(np.ascontiguousarray(frame), np.ones((size, size), np.uint8))


def extreme_xp(frame: Any, size: int, largest: bool) -> Any:
    """`xp` form of the largest or smallest value of a square, one direction after the other."""
    xp = namespace(frame)
    pick, outside = (xp.maximum, -np.inf) if largest else (xp.minimum, np.inf)
    for _ in range(2):
        padded = xp.pad(frame, ((size // 2, size // 2), (0, 0)), constant_values=outside)
        out = padded[: frame.shape[0]]
        for k in range(1, size):
            out = pick(out, padded[k : k + frame.shape[0]])
        frame = out.T
    return frame
