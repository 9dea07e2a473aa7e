"""Compiled loops of :mod:`stack3d.kernels.edges`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_FINE = 4  # samples of a profile in a pixel: between them it is taken for straight
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True}


@njit(**_OPTIONS)
def _gradient(frame: Any, y: int, x: int, dy: float, dx: float) -> Any:
    """Mean gradient (y, x) of 5 x 5 pixels by central differences, which cancel but for the outer rows and columns."""
    gy, gx = 0.0, 0.0
    for t in range(-2, 3):
        gy += np.float64(frame[y + 3, x + t]) + np.float64(frame[y + 2, x + t])
        gy -= np.float64(frame[y - 2, x + t]) + np.float64(frame[y - 3, x + t])
        gx += np.float64(frame[y + t, x + 3]) + np.float64(frame[y + t, x + 2])
        gx -= np.float64(frame[y + t, x - 2]) + np.float64(frame[y + t, x - 3])
    return gy / (50 * dy), gx / (50 * dx)


@njit(**_OPTIONS)
def slope(frame: Any, dy: float, dx: float) -> Any:
    """Size of the mean gradient of 5 x 5 pixels; 0 at the border and where a pixel of it is missing."""
    rows, columns = frame.shape
    out = np.zeros((rows, columns), np.float32)
    for y in range(3, rows - 3):
        for x in range(3, columns - 3):
            gy, gx = _gradient(frame, y, x, dy, dx)
            size = np.float32(math.sqrt(gy * gy + gx * gx))
            out[y, x] = size if size == size else np.float32(0.0)
    return out


@njit(**_OPTIONS)
def spread_out(order: Any, shape: Any, radius: int) -> Any:
    """Those of `order` (flat indices, best first) that keep their distance from all better ones."""
    rows, columns = shape
    taken = np.zeros((rows, columns), np.bool_)
    kept = np.empty(order.size, np.int64)
    count = 0
    for k in range(order.size):
        y, x = order[k] // columns, order[k] % columns
        if taken[y, x]:
            continue
        kept[count] = order[k]
        count += 1
        for v in range(max(0, y - radius), min(rows, y + radius + 1)):
            for u in range(max(0, x - radius), min(columns, x + radius + 1)):
                if (v - y) ** 2 + (u - x) ** 2 <= radius * radius:
                    taken[v, u] = True
    return kept[:count]


@njit(**_OPTIONS)
def _weight(t: float) -> float:
    """Cubic interpolation after Keys (a = -1/2)."""
    t = abs(t)
    if t < 1:
        return 1 + t * t * (1.5 * t - 2.5)
    if t < 2:
        return 2 + t * (-4 + t * (2.5 - 0.5 * t))
    return 0.0


@njit(**_OPTIONS)
def _value(frame: Any, y: float, x: float) -> float:
    j, i = math.floor(y), math.floor(x)
    if j < 1 or i < 1 or j + 2 >= frame.shape[0] or i + 2 >= frame.shape[1]:
        return np.nan
    total = 0.0
    for v in range(j - 1, j + 3):
        row = 0.0
        for u in range(i - 1, i + 3):
            row += _weight(x - u) * np.float64(frame[v, u])
        total += _weight(y - v) * row
    return total


@njit(**_OPTIONS)
def _level(profile: Any, start: int, stop: int, aperture: int, sign: float) -> Any:
    """Lowest (sign 1) or highest (sign -1) running mean of `aperture` samples between start and stop."""
    size = min(aperture, stop - start)
    best = np.inf
    for k in range(start, stop - size + 1):
        best = min(best, sign * profile[k : k + size].mean())
    return sign * best


@njit(**_OPTIONS)
def _crossings(profile: Any, low: float, high: float) -> Any:
    """Distance, in samples, between the crossings of two levels around the middle crossing nearest the centre."""
    size = profile.size
    half = 0.5 * (low + high)
    centre = -1
    for off in range(size // 2 - 1):
        for k in (size // 2 - 1 - off, size // 2 + off):
            if centre < 0 and profile[k] < half <= profile[k + 1]:
                centre = k
    if centre < 0:
        return np.nan
    a = centre
    while a >= 0 and profile[a] > low:
        a -= 1
    b = centre + 1
    while b < size and profile[b] < high:
        b += 1
    if a < 0 or b >= size:
        return np.nan
    below = a + (low - profile[a]) / (profile[a + 1] - profile[a])
    above = b - 1 + (high - profile[b - 1]) / (profile[b] - profile[b - 1])
    return above - below


@njit(**_OPTIONS)
def _beyond(frame: Any, y: int, x: int, reach: int, low: float, high: float) -> Any:
    """How many pixels around a place are darker than `low`, brighter than `high`; and whether all are measured."""
    darker, brighter, missing = 0, 0, 0
    for v in range(y - reach, y + reach + 1):
        for u in range(x - reach, x + reach + 1):
            value = frame[v, u]
            darker += 1 if value < low else 0
            brighter += 1 if value > high else 0
            missing += 0 if value == value else 1
    return darker, brighter, missing == 0


@njit(**_OPTIONS)
def transitions(
    frame: Any,
    places: Any,
    dy: float,
    dx: float,
    bounds: Any,
    reach: int,
    aperture: int,
    beside: int,
    criterion: float,
) -> Any:
    """Transition distance and direction (y, x) of each place; NaN where there is no clean edge."""
    columns = frame.shape[1]
    pixel = min(dy, dx)
    side = reach * _FINE
    out = np.full((places.size, 3), np.nan)
    profile = np.empty(2 * side + 1)
    for k in range(places.size):
        y, x = places[k] // columns, places[k] % columns
        gy, gx = _gradient(frame, y, x, dy, dx)
        size = math.sqrt(gy * gy + gx * gx)
        ny, nx = gy / size, gx / size
        complete = True
        for t in range(-side, side + 1):
            value = 0.0
            for across in range(-beside, beside + 1):
                v = (t * ny / _FINE + across * nx) * pixel / dy
                u = (t * nx / _FINE - across * ny) * pixel / dx
                value += _value(frame, y + v, x + u) / (2 * beside + 1)
            profile[t + side] = value
            complete = complete and value == value
        if not complete:
            continue
        bottom = _level(profile, 0, side, aperture * _FINE, 1.0)
        top = _level(profile, side + 1, 2 * side + 1, aperture * _FINE, -1.0)
        # On even ground all are equal but for rounding.
        margin = 0.01 * (top - bottom)
        darker, brighter, complete = _beyond(frame, y, x, reach, bottom - margin, top + margin)
        allowed = criterion * (2 * reach + 1) ** 2
        if not complete or darker > allowed or brighter > allowed:
            continue
        distance = _crossings(profile, bottom + bounds[0] * (top - bottom), bottom + bounds[1] * (top - bottom))
        out[k, 0], out[k, 1], out[k, 2] = distance * pixel / _FINE, ny, nx
    return out
