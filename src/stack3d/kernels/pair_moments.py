"""Means, variances and covariance of the pixels that two frames share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels.statistics import frame_statistics


class PairMoments(NamedTuple):
    """What `pair_moments` returns; variances and covariance divide by the count, and are NaN without a pixel."""

    variance_first: float
    variance_second: float
    covariance: float
    pixels: int

    @property
    def correlation(self) -> float:
        """Pearson's coefficient, NaN where a frame is blank."""
        product = self.variance_first * self.variance_second
        return float(self.covariance / np.sqrt(product)) if product > 0 else np.nan


def pair_moments(first: Any, second: Any) -> PairMoments:
    """Return the second moments of two frames over the pixels that are finite in both.

    Examples
    --------
    >>> from stack3d.kernels import pair_moments
    >>> frame = np.arange(12.0).reshape(3, 4)
    >>> round(pair_moments.pair_moments(frame, 5 - 2 * frame).correlation, 6)
    -1.0
    """
    known = [frame_statistics(frame) for frame in (first, second)]
    if not all(one.maximum > one.minimum for one in known):
        return PairMoments(np.nan, np.nan, np.nan, 0)
    mean, scale = np.array([one.mean for one in known]), np.array([1 / one.std for one in known])
    if on_host(first) and on_host(second):
        gaps = min(one.pixels for one in known) < first.shape[0] * first.shape[1]
        n, a, b, aa, bb, ab = _pair_sums(packed(first), packed(second), mean, scale, gaps).tolist()
    else:
        n, a, b, aa, bb, ab = _pair_sums_xp(first, second, mean, scale)
    if n == 0:
        return PairMoments(np.nan, np.nan, np.nan, 0)
    a, b = a / n, b / n
    variance_first = max(aa / n - a * a, 0.0) / scale[0] ** 2
    variance_second = max(bb / n - b * b, 0.0) / scale[1] ** 2
    covariance = (ab / n - a * b) / (scale[0] * scale[1])
    return PairMoments(float(variance_first), float(variance_second), float(covariance), int(n))


def _pair_sums_xp(first: Any, second: Any, mean: Any, scale: Any) -> list[float]:
    xp = namespace(first)
    a, b = ((frame.astype(np.float64) - mean[k]) * scale[k] for k, frame in enumerate((first, second)))
    use = xp.isfinite(a) & xp.isfinite(b)
    a, b = (xp.where(use, part, 0.0).astype(np.float32).astype(np.float64) for part in (a, b))
    return [float(part.sum()) for part in (use, a, b, a * a, b * b, a * b)]


@njit(nogil=True, cache=True)
def _pair_sums(first: Any, second: Any, mean: Any, scale: Any, gaps: bool) -> Any:
    rows, columns = first.shape
    part, total = np.zeros((6, columns), np.float32), np.zeros(6)
    a, b = np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    for y in range(rows):
        _deviations(first[y], mean[0], scale[0], gaps, a)
        _deviations(second[y], mean[1], scale[1], gaps, b)
        if gaps:
            _add_moments(a, b, part)
        else:
            _add_products(a, b, part[5])
        if y % 64 == 63 or y == rows - 1:
            for k in range(6):
                for x in range(columns):
                    total[k] += np.float64(part[k, x])
                    part[k, x] = np.float32(0)
    if not gaps:  # deviations of whole frames, in their standard deviations
        pixels = rows * columns
        total[0], total[3], total[4] = pixels, pixels, pixels
    return total


@njit(nogil=True, cache=True)
def _deviations(row: Any, mean: float, scale: float, gaps: bool, out: Any) -> None:
    if gaps:
        for x in range(row.size):
            value = (np.float64(row[x]) - mean) * scale
            out[x] = np.float32(value if abs(value) <= 1.7976931348623157e308 else np.nan)
    else:
        for x in range(row.size):
            out[x] = np.float32((np.float64(row[x]) - mean) * scale)


@njit(nogil=True, cache=True)
def _add_products(a: Any, b: Any, sums: Any) -> None:
    for x in range(a.size):
        sums[x] += a[x] * b[x]


@njit(nogil=True, cache=True)
def _add_moments(a: Any, b: Any, part: Any) -> None:
    n, sa, sb, saa, sbb, sab = part[0], part[1], part[2], part[3], part[4], part[5]
    for x in range(a.size):
        use = (a[x] == a[x]) & (b[x] == b[x])
        p, q = a[x] if use else np.float32(0), b[x] if use else np.float32(0)
        n[x] += np.float32(1) if use else np.float32(0)
        sa[x] += p
        sb[x] += q
        saa[x] += p * p
        sbb[x] += q * q
        sab[x] += p * q
