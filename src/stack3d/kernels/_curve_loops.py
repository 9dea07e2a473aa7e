"""Compiled loops of piecewise linear curves, for :mod:`stack3d.kernels.curve`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._store import store


@njit(nogil=True, cache=True)
def stored(exact: Any, table: Any, changed: Any, smallest: float, largest: float) -> int:
    total = np.int32(0)
    for k in range(exact.size):
        changed[k] = store(table, k, exact[k], smallest, largest)
        total = np.int32(total + changed[k])
    return int(total)


@njit(nogil=True, cache=True)
def take(frame: Any, table: Any, changed: Any, first: int, out: Any) -> int:
    total = 0
    for y in range(frame.shape[0]):
        source, target = frame[y], out[y]
        for x in range(source.size):
            level = np.uint64(np.int64(source[x]) - first)  # a signed index might count from the end
            target[x] = table[level]
            if changed is not None:
                total += changed[level]
    return total


@njit(nogil=True, cache=True)
def starts(knots: Any, parts: int, width: float) -> Any:
    """Return the last knot, but not the very last, at or before where each of equal parts begins."""
    out, k = np.empty(parts, np.int64), 0
    for part in range(parts):
        begin = knots[0] + part * width
        while k < knots.size - 2 and knots[k + 1] <= begin:
            k += 1
        out[part] = k
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate(
    frame: Any,
    knots: Any,
    values: Any,
    starts: Any,
    per_unit: float,
    exact: Any,
    out: Any,
    smallest: float,
    largest: float,
) -> int:
    """Interpolate between any knots; `exact` is room for the results of a row, in the dtype that they go through."""
    total = 0
    last = knots.size - 1
    first_knot, last_knot = knots[0], knots[last]
    before, after = values[0] - first_knot, values[last] - last_knot
    # Place, height and slope of each piece, and the end of it, side by side in memory.
    pieces = np.zeros((max(last, 1), 4))
    for k in range(last):
        pieces[k, 0], pieces[k, 1], pieces[k, 2] = knots[k], values[k], knots[k + 1]
        pieces[k, 3] = (values[k + 1] - values[k]) / (knots[k + 1] - knots[k])
    most = starts.size - 1
    columns = frame.shape[1]
    part = np.empty(columns, np.int32)
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(columns):
            place = (np.float64(source[x]) - first_knot) * per_unit
            place = place if place > 0.0 else 0.0  # NaN too
            part[x] = np.int32(place if place < most else most)
        for x in range(columns):
            level = np.float64(source[x])
            k = starts[part[x]]
            # A level at the edge of a part falls into the next by rounding; a part may hold several knots.
            while k > 0 and pieces[k, 0] > level:
                k -= 1
            while k < last - 1 and pieces[k, 2] <= level:
                k += 1
            # At a knot without the slope, which may be infinite there.
            rise = pieces[k, 3] * (level - pieces[k, 0]) if level != pieces[k, 0] else 0.0
            value = rise + pieces[k, 1]
            value = level + before if level < first_knot else value
            value = values[last] if level == last_knot else value
            exact[x] = level + after if level > last_knot else value
        for x in range(columns):
            count = np.int32(count + store(target, x, exact[x], smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate_even(
    frame: Any, pieces: Any, first: float, per_unit: float, exact: Any, out: Any, smallest: float, largest: float
) -> int:
    """Interpolate between knots in even steps; `exact` as `interpolate` takes it.

    A row of `pieces` has place, height and slope of what begins at a knot; the first is what lies below all knots.
    """
    total = 0
    place, height, slope = pieces[:, 0].copy(), pieces[:, 1].copy(), pieces[:, 2].copy()
    last = np.float64(place.size - 1)
    columns = frame.shape[1]
    part = np.empty(columns, np.int32)
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(columns):
            at = (np.float64(source[x]) - first) * per_unit + 1.0
            inside = at if at > 0.0 else np.float64(0.0)  # NaN too
            part[x] = np.int32(inside if inside < last else last)
        for x in range(columns):
            k = np.uint64(part[x])
            exact[x] = (np.float64(source[x]) - place[k]) * slope[k] + height[k]
        for x in range(columns):
            count = np.int32(count + store(target, x, exact[x], smallest, largest))
        total += int(count)
    return total
