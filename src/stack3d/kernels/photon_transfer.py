"""Noise against level within one frame: the sums under a photon-transfer curve.

Three sets of pixels serve three ends, so that white noise links none of them:

- the four pixels two steps away along y and x say which bin the centre falls in (`guide`);
- the nine pixels around the centre give the level (their mean) and the residual: the centre minus its bilinear
  prediction, half the sum of the four neighbours minus a quarter of the sum of the four diagonal ones, which is blind
  to structure that is a function of y plus one of x;
- odd differences among the nine (Sobel) give the gradient: their covariance with the residual, which is even, is zero.

Binning by a noisy level would flatten the curve; binning by an independent guide does not, whatever the histogram.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed

# The residual's share of the noise, 1 - 2 k_c + sum k^2, for k = 1/2 four times, -1/4 four times, and 0 at the centre.
RESIDUAL = 1 + 4 / 4 + 4 / 16
LEVEL = 1 / 9  # noise variance left in the level
SUMS = ("counted", "used", "level", "level_squared", "residual", "residual_squared")


def sampled(frame: Any, rows: int = 512) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return guide and squared gradient of the measured neighbourhoods of up to `rows` evenly spaced rows, flat."""
    inner = frame.shape[0] - 4
    if inner < 1 or frame.shape[1] < 5:
        return np.empty(0), np.empty(0)
    step = max(1, inner // rows)
    xp = namespace(frame)
    rows_of = (frame[k : k + inner : step].astype(np.float64) for k in range(5))
    guide, _, _, gradient = _neighbourhood(*(xp.where(xp.isfinite(part), part, np.nan) for part in rows_of))
    keep = xp.isfinite(guide) & xp.isfinite(gradient)
    kept = [part[keep] for part in (guide, gradient)]
    return tuple(np.asarray(part.get() if xp is not np else part) for part in kept)  # type: ignore[return-value]


def curve_sums(
    frame: Any, low: float, high: float, bins: int, steepest: float, pivot: float, scale: float
) -> np.ndarray[Any, Any]:
    """Sum level and residual over the neighbourhoods of each bin of the guide.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. Neighbourhoods (13 pixels) with a NaN or infinite one are left out.
    low, high : float
        Guides in ``low <= guide <= high`` are counted, in `bins` equal bins.
    steepest : float
        Neighbourhoods with a larger squared gradient are counted but not used.
    pivot, scale : float
        Levels are summed as ``(level - pivot) * scale``, residuals times `scale`.

    Returns
    -------
    (6, bins) array of float64
        In the order of `SUMS`: neighbourhoods, those used, and of these the sums of level, squared level, residual
        and squared residual.
    """
    bounds = np.array([(low - pivot) * scale, (high - pivot) * scale])
    limit = float(steepest) * scale**2
    if on_host(frame):
        return np.asarray(_curve_loop(packed(frame), float(pivot), float(scale), bounds, int(bins), limit))
    return _curve_xp(frame, pivot, scale, bounds, bins, limit)


def _curve_xp(frame: Any, pivot: float, scale: float, bounds: Any, bins: int, limit: float) -> np.ndarray[Any, Any]:
    xp = namespace(frame)
    wide = (frame.astype(np.float64) - pivot) * scale
    values = xp.where(xp.isfinite(wide), wide, np.nan).astype(np.float32)
    guide, level, residual, gradient = _neighbourhood(*(values[k : k + frame.shape[0] - 4] for k in range(5)))
    inside = xp.isfinite(residual) & xp.isfinite(gradient) & (guide >= bounds[0]) & (guide <= bounds[1])
    place = (guide[inside].astype(np.float64) - bounds[0]) * (bins / (bounds[1] - bounds[0]))
    index = xp.minimum(place.astype(np.int64), bins - 1)
    flat = gradient[inside] <= limit
    one, two = (part[inside][flat].astype(np.float64) for part in (level, residual))
    counted = xp.bincount(index, minlength=bins)
    used = index[flat]
    sums = [counted, *(xp.bincount(used, weights, bins) for weights in (None, one, one * one, two, two * two))]
    return np.stack([np.asarray(part.get() if xp is not np else part, np.float64) for part in sums])


def _neighbourhood(far_above: Any, above: Any, middle: Any, below: Any, far_below: Any) -> tuple[Any, Any, Any, Any]:
    """Return guide, level, residual and squared gradient of all but the two outer columns on either side."""
    kind = middle.dtype.type
    left, here, right = slice(1, -3), slice(2, -2), slice(3, -1)
    guide = (far_above[:, here] + middle[:, :-4] + middle[:, 4:] + far_below[:, here]) * kind(0.25)
    nw, ne, sw, se = above[:, left], above[:, right], below[:, left], below[:, right]
    north, west, centre, east, south = (
        above[:, here],
        middle[:, left],
        middle[:, here],
        middle[:, right],
        below[:, here],
    )
    cross, corners = north + west + east + south, nw + ne + sw + se
    level = (centre + cross + corners) * kind(1 / 9)
    residual = centre - cross * kind(0.5) + corners * kind(0.25)
    gx = ((ne - nw) + kind(2) * (east - west) + (se - sw)) * kind(0.125)
    gy = ((sw - nw) + kind(2) * (south - north) + (se - ne)) * kind(0.125)
    return guide, level, residual, gx * gx + gy * gy


@njit(nogil=True, cache=True)
def _curve_loop(frame: Any, pivot: float, scale: float, bounds: Any, bins: int, limit: float) -> Any:
    rows, columns = frame.shape
    sums = np.zeros((bins, 6))
    ring = np.zeros((5, columns), np.float32)
    line = np.zeros((4, columns), np.float32)
    low, high = bounds[0], bounds[1]
    per_unit = bins / (high - low)
    for y in range(rows):
        row, values = frame[y], ring[y % 5]
        for x in range(columns):
            values[x] = np.float32((np.float64(row[x]) - pivot) * scale)
        if y < 4:
            continue
        _neighbourhood_row(ring[(y - 4) % 5], ring[(y - 3) % 5], ring[(y - 2) % 5], ring[(y - 1) % 5], values, line)
        guide, level, residual, gradient = line[0], line[1], line[2], line[3]
        for x in range(2, columns - 2):
            place = np.float64(guide[x])
            # False for NaN and, by the residual and the gradient, where any of the pixels is not finite.
            if not (place >= low and place <= high and abs(residual[x]) < np.inf and gradient[x] < np.inf):
                continue
            target = sums[min(int((place - low) * per_unit), bins - 1)]
            target[0] += 1
            if gradient[x] <= limit:
                one, two = np.float64(level[x]), np.float64(residual[x])
                target[1] += 1
                target[2] += one
                target[3] += one * one
                target[4] += two
                target[5] += two * two
    return sums.T.copy()


@njit(nogil=True, cache=True)
def _neighbourhood_row(far_above: Any, above: Any, middle: Any, below: Any, far_below: Any, line: Any) -> None:
    guide, level, residual, gradient = line[0], line[1], line[2], line[3]
    half, quarter, eighth = np.float32(0.5), np.float32(0.25), np.float32(0.125)
    ninth, two = np.float32(1 / 9), np.float32(2)
    for x in range(2, middle.size - 2):
        nw, ne, sw, se = above[x - 1], above[x + 1], below[x - 1], below[x + 1]
        north, west, centre, east, south = above[x], middle[x - 1], middle[x], middle[x + 1], below[x]
        cross, corners = north + west + east + south, nw + ne + sw + se
        guide[x] = (far_above[x] + middle[x - 2] + middle[x + 2] + far_below[x]) * quarter
        level[x] = (centre + cross + corners) * ninth
        residual[x] = centre - cross * half + corners * quarter
        gx = ((ne - nw) + two * (east - west) + (se - sw)) * eighth
        gy = ((sw - nw) + two * (south - north) + (se - ne)) * eighth
        gradient[x] = gx * gx + gy * gy
