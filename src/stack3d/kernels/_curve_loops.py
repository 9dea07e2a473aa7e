"""Compiled loops of piecewise linear curves, for :mod:`stack3d.kernels.curve`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._store import store


@njit(nogil=True, cache=True)
def affine(frame: Any, out: Any, pivot: Any, gain: Any, base: Any, smallest: Any, largest: Any) -> int:
    total = 0
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(source.size):
            value = (type(gain)(source[x]) - pivot) * gain + base
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def affine_levels(frame: Any, out: Any, pivot: Any, gain: Any, base: Any, smallest: Any, largest: Any) -> int:
    """Do `affine` with whole numbers, to such of at most 16 bits: no pixel of most rows reaches a limit."""
    total = 0
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        if not source.size:
            continue
        least, most = source[0], source[0]
        for x in range(source.size):
            least, most = min(least, source[x]), max(most, source[x])
        # Each rounding keeps the order, so all others lie between these.
        first = np.rint((type(gain)(least) - pivot) * gain + base)
        last = np.rint((type(gain)(most) - pivot) * gain + base)
        if min(first, last) >= smallest and max(first, last) <= largest:
            for x in range(source.size):
                target[x] = np.int32(np.rint((type(gain)(source[x]) - pivot) * gain + base))
            continue
        for x in range(source.size):
            value = (type(gain)(source[x]) - pivot) * gain + base
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def stored(exact: Any, table: Any, smallest: float, largest: float) -> int:
    total = np.int32(0)
    for k in range(exact.size):
        total = np.int32(total + store(table, k, exact[k], smallest, largest))
    return int(total)


@njit(nogil=True, cache=True)
def saturated(exact: Any, table: Any, smallest: float, largest: float) -> Any:
    """Do `stored`, and return for each number whether it was changed."""
    changed = np.empty(exact.size, np.uint8)
    for k in range(exact.size):
        changed[k] = store(table, k, exact[k], smallest, largest)
    return changed


@njit(nogil=True, cache=True)
def take(frame: Any, table: Any, changed: Any, first: int, out: Any) -> int:
    total = 0
    begin = np.uint64(first)  # an index with a sign might count from the end
    for y in range(frame.shape[0]):
        source, target = frame[y], out[y]
        for x in range(np.uint64(source.size)):
            level = np.uint64(source[x]) - begin
            target[x] = table[level]
            if changed is not None:
                total += changed[level]
    return total


@njit(nogil=True, cache=True)
def take_four(frame: Any, table: Any, first: int, out: Any) -> None:
    """Look up four unsigned pixels of 16 bits at once, given and written as one number of 64 bits."""
    begin, last = np.uint64(first), np.uint64(65535)
    one, two, three = np.uint64(16), np.uint64(32), np.uint64(48)
    for y in range(frame.shape[0]):
        source, target = frame[y], out[y]
        for x in range(np.uint64(source.size)):
            four = source[x]
            a, b = np.uint64(table[(four & last) - begin]), np.uint64(table[((four >> one) & last) - begin])
            c, d = np.uint64(table[((four >> two) & last) - begin]), np.uint64(table[(four >> three) - begin])
            target[x] = a | (b << one) | (c << two) | (d << three)


@njit(nogil=True, cache=True)
def are_knots(knots: Any, values: Any) -> bool:
    """Tell whether all are finite and the knots strictly increasing."""
    good = True
    for k in range(knots.size):
        good &= bool(np.isfinite(knots[k]) and np.isfinite(values[k]) and (k == 0 or knots[k] > knots[k - 1]))
    return good


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
def even_pieces(knots: Any, values: Any, rounding: float) -> Any:
    """Return a row for each piece of a curve: place, height and slope of what begins at a knot, and a 0.

    The first row is what lies below all knots. None where the knots are not in even steps.
    """
    last = knots.size - 1
    width = (knots[last] - knots[0]) / max(last, 1)
    if last == 0 or not width > 0:
        return None
    for k in range(knots.size):
        if abs(knots[0] + width * k - knots[k]) > rounding:
            return None
    pieces = np.zeros((knots.size + 1, 4))
    pieces[0, 0], pieces[0, 1], pieces[0, 2] = knots[0], values[0], 1.0
    for k in range(last):
        pieces[k + 1, 0], pieces[k + 1, 1] = knots[k], values[k]
        pieces[k + 1, 2] = (values[k + 1] - values[k]) / (knots[k + 1] - knots[k])
    pieces[last + 1, 0], pieces[last + 1, 1], pieces[last + 1, 2] = knots[last], values[last], 1.0
    return pieces


@njit(nogil=True, cache=True, error_model="numpy")
def interpolate_even(
    frame: Any, pieces: Any, first: float, per_unit: float, exact: Any, out: Any, smallest: float, largest: float
) -> int:
    """Interpolate between knots in even steps, given as `even_pieces`; `exact` as `interpolate` takes it, or None."""
    total = 0
    last = np.float64(pieces.shape[0] - 1)
    columns = frame.shape[1]
    part, level = np.empty(columns, np.uint32), np.empty(columns)
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(columns):
            level[x] = np.float64(source[x])
            at = (level[x] - first) * per_unit + 1.0
            inside = at if at > 0.0 else np.float64(0.0)  # NaN too
            part[x] = np.uint32(np.int32(inside if inside < last else last))
        # In place: vector instructions that gather are slower than one pixel after the other.
        for x in range(np.uint64(columns)):
            k = np.uint64(part[x])
            level[x] = (level[x] - pieces[k, 0]) * pieces[k, 2] + pieces[k, 1]
        if exact is None:
            for x in range(columns):
                count = np.int32(count + store(target, x, level[x], smallest, largest))
        else:
            for x in range(columns):
                exact[x] = level[x]
            for x in range(columns):
                count = np.int32(count + store(target, x, exact[x], smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def levels_even(begin: int, pieces: Any, first: float, per_unit: float, exact: Any) -> None:
    """Write what `interpolate_even` has for every whole number from `begin` on: those of a piece lie side by side."""
    most, k = pieces.shape[0] - 1, 0
    for piece in range(most + 1):
        end = exact.size
        if piece < most:
            guess = first + piece / per_unit - begin
            end = int(min(max(guess, np.float64(k)), np.float64(end)))
            while end > k and (np.float64(begin + end - 1) - first) * per_unit + 1.0 >= piece + 1.0:
                end -= 1
            while end < exact.size and (np.float64(begin + end) - first) * per_unit + 1.0 < piece + 1.0:
                end += 1
        place, height, slope = pieces[piece, 0], pieces[piece, 1], pieces[piece, 2]
        for i in range(np.uint64(k), np.uint64(end)):
            exact[i] = (np.float64(np.int64(i) + begin) - place) * slope + height
        k = end
