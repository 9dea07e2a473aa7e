"""Compiled loops of :mod:`stack3d.kernels._tails`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def _rank(kept: Any, value: Any) -> None:
    """Put a number where it belongs among the smallest so far, increasing; the largest of them leaves."""
    place = kept.size - 1
    while place > 0 and kept[place - 1] > value:
        kept[place] = kept[place - 1]
        place -= 1
    kept[place] = value


@njit(**_OPTIONS)
def ends(frame: Any, mask: Any, down: Any, right: Any, least: Any, tail: Any) -> Any:
    """Return the size of a sample, of every so many finite measured pixels, and two values with few of them beyond.

    As many as `least` and four times its share `tail` lie below the first, and above the second.
    """
    size = 0
    for y in range(0, frame.shape[0], down):
        for x in range(0, frame.shape[1], right):
            value = frame[y, x]
            size += (value - value == 0) and (mask is None or mask[y, x])
    margin = least + int(4 * tail * size)
    infinite = frame.dtype.type(np.inf)
    low, high = np.full(margin + 1, infinite), np.full(margin + 1, infinite)
    for y in range(0, frame.shape[0], down):
        for x in range(0, frame.shape[1], right):
            value = frame[y, x]
            if value - value == 0 and (mask is None or mask[y, x]):
                if value < low[margin]:
                    _rank(low, value)
                if -value < high[margin]:
                    _rank(high, -value)
    return size, margin, low[margin], -high[margin]


@njit(**_OPTIONS)
def _flag(row: Any, low: Any, high: Any, out: Any) -> None:
    for x in range(row.size):
        # NaN is neither.
        out[x] = np.uint8(((row[x] > low) & (row[x] < high)) ^ True)


@njit(**_OPTIONS)
def beyond(frame: Any, mask: Any, low: Any, high: Any, room: int) -> Any:
    """Return the number of finite measured pixels, those below `low` and above `high`, and how many equal these.

    Not more than `room` pixels are kept of each.
    """
    below, above = np.empty(room, frame.dtype), np.empty(room, frame.dtype)
    under, over, at_low, at_high, missing, columns = 0, 0, 0, 0, 0, frame.shape[1]
    flags = np.zeros((columns + 7) // 8 * 8, np.uint8)
    eights = flags.view(np.uint64)  # most have no flag
    for y in range(frame.shape[0]):
        row = frame[y]
        _flag(row, low, high, flags[:columns])
        if mask is not None:
            for x in range(columns):
                missing += not mask[y, x]
                flags[x] &= mask[y, x]
        for k in range(eights.size):
            if eights[k] == 0:
                continue
            for x in range(8 * k, min(8 * k + 8, columns)):
                value = row[x]
                if not flags[x]:
                    continue
                if value - value != 0:  # NaN and infinities
                    missing += 1
                    continue
                if value < low:
                    if under < room:
                        below[under] = value
                        under += 1
                elif value > high and over < room:
                    above[over] = value
                    over += 1
                at_low += 1 if value == low else 0
                at_high += 1 if value == high else 0
    return frame.size - missing, below[:under], at_low, above[:over], at_high
