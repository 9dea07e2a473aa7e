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


def sampled(frame: Any, pixels: int = 2**19) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return guide and squared gradient of the measured neighbourhoods of evenly spaced rows, flat: about `pixels`."""
    inner = frame.shape[0] - 4
    if inner < 1 or frame.shape[1] < 5:
        return np.empty(0), np.empty(0)
    step = max(1, inner * frame.shape[1] // pixels)
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
    sums = np.zeros((bins + 1, 6))  # the last row takes what lies outside
    ring = np.zeros((5, columns), np.float32)
    inner = max(columns - 4, 0)
    guide, level, residual = np.zeros(inner, np.float32), np.zeros(inner, np.float32), np.zeros(inner, np.float32)
    gradient, cross = np.zeros(inner, np.float32), np.zeros(inner, np.float32)
    place = np.zeros(inner, np.int32)
    low, high = bounds[0], bounds[1]
    per_unit = bins / (high - low)
    for y in range(rows):
        row, values = frame[y], ring[y % 5]
        for x in range(columns):
            values[x] = np.float32((np.float64(row[x]) - pivot) * scale)
        if y < 4:
            continue
        above, middle, below = ring[(y - 3) % 5], ring[(y - 2) % 5], ring[(y - 1) % 5]
        _guide_row(ring[(y - 4) % 5], middle, values, guide)
        _level_row(above, middle, below, cross, level, residual)
        _gradient_row(above, middle, below, gradient)
        _place_row(guide, residual, gradient, low, high, per_unit, bins, place)
        for x in range(inner):
            target = sums[place[x]]
            # No branch: half of the pixels are used, and which is anyone's guess.
            use = 1.0 if gradient[x] <= limit else 0.0
            one, two = np.float64(level[x]), np.float64(residual[x])
            target[0] += 1.0
            target[1] += use
            target[2] += use * one
            target[3] += use * one * one
            target[4] += use * two
            target[5] += use * two * two
    return sums[:bins].T.copy()


# One output or two a loop, over slices that start at zero: what the compiler turns into vector instructions.


@njit(nogil=True, cache=True)
def _guide_row(far_above: Any, middle: Any, far_below: Any, guide: Any) -> None:
    north, west, east, south = far_above[2:], middle, middle[4:], far_below[2:]
    for x in range(guide.size):
        guide[x] = (north[x] + west[x] + east[x] + south[x]) * np.float32(0.25)


@njit(nogil=True, cache=True)
def _level_row(above: Any, middle: Any, below: Any, cross: Any, level: Any, residual: Any) -> None:
    north, west, centre, east, south = above[2:], middle[1:], middle[2:], middle[3:], below[2:]
    nw, ne, sw, se = above[1:], above[3:], below[1:], below[3:]
    for x in range(level.size):
        cross[x] = north[x] + west[x] + east[x] + south[x]
    for x in range(level.size):
        corners = nw[x] + ne[x] + sw[x] + se[x]
        level[x] = (centre[x] + cross[x] + corners) * np.float32(1 / 9)
    for x in range(level.size):
        corners = nw[x] + ne[x] + sw[x] + se[x]
        residual[x] = centre[x] - cross[x] * np.float32(0.5) + corners * np.float32(0.25)


@njit(nogil=True, cache=True)
def _gradient_row(above: Any, middle: Any, below: Any, gradient: Any) -> None:
    north, west, east, south = above[2:], middle[1:], middle[3:], below[2:]
    nw, ne, sw, se = above[1:], above[3:], below[1:], below[3:]
    two, eighth = np.float32(2), np.float32(0.125)
    for x in range(gradient.size):
        gx = ((ne[x] - nw[x]) + two * (east[x] - west[x]) + (se[x] - sw[x])) * eighth
        gradient[x] = gx * gx
    for x in range(gradient.size):
        gy = ((sw[x] - nw[x]) + two * (south[x] - north[x]) + (se[x] - ne[x])) * eighth
        gradient[x] += gy * gy


@njit(nogil=True, cache=True)
def _place_row(
    guide: Any, residual: Any, gradient: Any, low: float, high: float, per_unit: float, bins: int, place: Any
) -> None:
    """Bin of each pixel; the one after the last where it lies outside, or any of its pixels is not finite."""
    last = np.int32(bins - 1)
    for x in range(place.size):
        value = np.float64(guide[x])
        inside = (value >= low) & (value <= high) & (abs(residual[x]) < np.inf) & (gradient[x] < np.inf)
        index = np.int32((value - low) * per_unit if inside else 0.0)
        place[x] = min(index, last) if inside else np.int32(bins)
