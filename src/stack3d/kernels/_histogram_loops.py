"""Compiled loops of :mod:`stack3d.kernels.histogram`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def ends_of_levels(counts: Any, tail: float) -> Any:
    """Return the first indices up to which at least a share `tail`, and one of ``1 - tail``, of all pixels lie."""
    total = np.int64(0)
    for k in range(counts.size):
        total += counts[k]
    least, most, seen = -1, -1, np.int64(0)
    for k in range(counts.size):
        seen += counts[k]
        if least < 0 and seen >= tail * total:
            least = k
        if seen >= (1 - tail) * total:
            most = k
            break
    return total, least, most


@njit(nogil=True, cache=True)
def binned_levels(counts: Any, first: int, low: float, per_unit: float, nbins: int) -> Any:
    """Gather counts of levels in bins; what lies beyond is counted in those at the ends."""
    out = np.zeros(nbins, np.int64)
    begin = 0
    for bin in range(nbins):
        end = counts.size
        if bin < nbins - 1:
            # The levels of a bin lie side by side: where they end is about here, and exactly where the place says.
            guess = (bin + 1.0) / per_unit + low - first
            end = int(min(max(guess, np.float64(begin)), np.float64(end)))
            while end > begin and (np.float64(first + end - 1) - low) * per_unit >= bin + 1.0:
                end -= 1
            while end < counts.size and (np.float64(first + end) - low) * per_unit < bin + 1.0:
                end += 1
        some = np.int64(0)
        for k in range(np.uint64(begin), np.uint64(end)):
            some += np.int64(counts[k])
        out[bin] = some
        begin = end
    return out


@njit(nogil=True, cache=True)
def values_at(counts: Any, first: int, ranks: Any) -> Any:
    """Return the levels that have such ranks among the pixels.

    The first half of `ranks` counts from the least level on, the second from the largest, each of them increasing.
    """
    out, half = np.empty(ranks.size), ranks.size // 2
    k, seen = 0, np.int64(counts[0])
    for place in range(half):
        while seen <= ranks[place]:
            k += 1
            seen += np.int64(counts[k])
        out[place] = first + k
    k = counts.size - 1
    seen = np.int64(counts[k])
    for place in range(half, ranks.size):
        while seen <= ranks[place]:
            k -= 1
            seen += np.int64(counts[k])
        out[place] = first + k
    return out


@njit(nogil=True, cache=True)
def count(frame: Any, mask: Any, low: float, per_unit: float, nbins: int) -> Any:
    """Count finite measured pixels in bins; what lies beyond is counted in those at the ends."""
    # Four tables, so that runs of one level do not wait for each other's stores; what is not counted has a bin of its own.
    counts = np.zeros((4, nbins + 1), np.uint32)
    one, two, three, four = counts[0], counts[1], counts[2], counts[3]
    columns = frame.shape[1]
    place = np.empty(columns, np.uint32)
    last, none, once = nbins - 1.0, np.uint32(nbins), np.uint32(1)
    end, quarters = np.uint64(columns), np.uint64(columns // 4 * 4)
    for y in range(frame.shape[0]):
        row, rest = frame[y], np.int32(0)
        for x in range(columns):
            bin = (np.float64(row[x]) - low) * per_unit
            inside = bin if bin > 0.0 else 0.0
            inside = inside if inside < last else last
            place[x] = np.uint32(np.int32(inside))
            rest = np.int32(rest + np.int32(row[x] - row[x] != 0))
        if rest:
            for x in range(columns):
                place[x] = place[x] if row[x] - row[x] == 0 else none  # NaN and infinities
        if mask is not None:
            for x in range(columns):
                place[x] = place[x] if mask[y, x] else none
        for x in range(np.uint64(0), quarters, np.uint64(4)):
            one[np.uint64(place[x])] += once
            two[np.uint64(place[x + np.uint64(1)])] += once
            three[np.uint64(place[x + np.uint64(2)])] += once
            four[np.uint64(place[x + np.uint64(3)])] += once
        for x in range(quarters, end):
            one[np.uint64(place[x])] += once
    out = np.empty(nbins, np.int64)
    for k in range(nbins):
        out[k] = np.int64(one[k]) + np.int64(two[k]) + np.int64(three[k]) + np.int64(four[k])
    return out


@njit(nogil=True, cache=True)
def cumulative(counts: Any) -> Any:
    """Return the share of the pixels below each edge."""
    seen = np.zeros(counts.size + 1, np.int64)
    for k in range(counts.size):
        seen[k + 1] = seen[k] + counts[k]
    return seen / seen[-1]


@njit(nogil=True, cache=True)
def matching(edges: Any, own: Any, positions: Any, target: Any, tail: float) -> Any:
    """Return the knots of the curve from one distribution to another, in the order of the levels that they share."""
    levels = _levels(own, target, tail)
    x, y = np.empty(2 * levels.size), np.empty(2 * levels.size)
    _inverse(levels, edges, own, x)
    _inverse(levels, positions, target, y)
    # Nobody lies below level 0 or above level 1: there the curve ends at the last pixels.
    if levels[0] == 0:
        x[0], y[0] = x[1], y[1]
    if levels[-1] == 1:
        x[-1], y[-1] = x[-2], y[-2]
    return _strictly_increasing(x, y)


@njit(nogil=True, cache=True)
def _levels(own: Any, target: Any, tail: float) -> Any:
    """Merge two increasing sequences of levels between `tail` and ``1 - tail``, each level once."""
    levels, number = np.empty(own.size + target.size + 2), 1
    levels[0] = tail
    i, j, top = 0, 0, 1 - tail
    while True:
        while i < own.size and own[i] <= levels[number - 1]:
            i += 1
        while j < target.size and target[j] <= levels[number - 1]:
            j += 1
        level = top
        if i < own.size and own[i] < level:
            level = own[i]
        if j < target.size and target[j] < level:
            level = target[j]
        levels[number] = level
        number += 1
        if level == top:
            return levels[:number]


@njit(nogil=True, cache=True)
def _inverse(levels: Any, positions: Any, cdf: Any, out: Any) -> None:
    """Write the first and the last position where a piecewise linear distribution has each of increasing levels.

    A level that a whole interval of grey values shares (empty bins) has two, one at each of its ends.
    """
    left, right, last = 0, 0, cdf.size - 1
    for k in range(levels.size):
        level = levels[k]
        while left < last and cdf[left] < level:
            left += 1
        while right <= last and cdf[right] <= level:
            right += 1
        out[2 * k] = positions[left] if cdf[left] == level else _between(level, positions, cdf, left)
        if right > 0 and cdf[right - 1] == level:
            out[2 * k + 1] = positions[right - 1]
        else:
            out[2 * k + 1] = _between(level, positions, cdf, min(right, last))


@njit(nogil=True, cache=True)
def _between(level: float, positions: Any, cdf: Any, above: int) -> float:
    below = max(above - 1, 0)
    rise = cdf[above] - cdf[below]
    part = (level - cdf[below]) / (rise if rise > 0 else 1.0)
    return float(positions[below] + part * (positions[above] - positions[below]))


@njit(nogil=True, cache=True)
def _strictly_increasing(x: Any, y: Any) -> Any:
    """Leave one knot of equal ones; a jump (one x, two y) becomes the steepest ramp that float64 can tell."""
    a, b, kept, before = np.empty(x.size), np.empty(x.size), 0, y[0]
    for k in range(x.size):
        now = max(y[k], before)
        if k == 0 or x[k] - x[k - 1] > 0 or now - before > 0:
            a[kept], b[kept] = x[k], now
            kept += 1
        before = now
    # Of several knots at one x the first and the last say all.
    c, d, some, place = np.empty(kept), np.empty(kept), 0, 0.0
    for k in range(kept):
        if k == 0 or a[k] - a[k - 1] > 0 or k == kept - 1 or a[k + 1] - a[k] > 0:
            jump = some > 0 and a[k] - place <= 0
            place = a[k]
            c[some], d[some] = np.nextafter(place, np.inf) if jump else place, b[k]
            some += 1
    out_x, out_y, final = np.empty(some), np.empty(some), 0
    for k in range(some):
        if k == 0 or c[k] - c[k - 1] > 0:
            out_x[final], out_y[final] = c[k], d[k]
            final += 1
    return out_x[:final], out_y[:final]
