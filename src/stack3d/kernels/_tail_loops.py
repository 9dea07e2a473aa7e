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
    rows, columns = frame.shape
    sample, size = np.empty(-(-rows // down) * -(-columns // right), frame.dtype), 0
    for y in range(0, rows, down):
        for x in range(0, columns, right):
            value = frame[y, x]
            sample[size] = value
            size += (value - value == 0) and (mask is None or mask[y, x])
    margin = least + int(4 * tail * size)
    infinite = frame.dtype.type(np.inf)
    low, high = np.full(margin + 1, infinite), np.full(margin + 1, infinite)
    for k in range(size):
        value = sample[k]
        if value < low[margin]:
            _rank(low, value)
        if -value < high[margin]:
            _rank(high, -value)
    return size, margin, low[margin], -high[margin]


@njit(**_OPTIONS)
def beyond(frame: Any, mask: Any, low: Any, high: Any, room: int) -> Any:
    """Return the number of finite measured pixels, those below `low` and above `high`, and how many equal these.

    Not more than `room` pixels are kept of each.
    """
    below, above = np.empty(room + 1, frame.dtype), np.empty(room + 1, frame.dtype)
    under, over, at_low, at_high, missing, columns = 0, 0, 0, 0, 0, np.uint64(frame.shape[1])
    flags = np.zeros((frame.shape[1] + 7) // 8 * 8, np.uint8)
    eights = flags.view(np.uint64)
    flagged = np.empty(eights.size, np.uint64)
    for y in range(frame.shape[0]):
        row = frame[y]
        for x in range(frame.shape[1]):
            # NaN is neither.
            flags[x] = np.uint8(((row[x] > low) & (row[x] < high)) ^ True)
        if mask is not None:
            for x in range(frame.shape[1]):
                missing += not mask[y, x]
                flags[x] &= mask[y, x]
        # Most have no flag. Every number is written and few stay: a branch that cannot be foreseen costs more.
        number = 0
        for k in range(eights.size):
            flagged[number] = k
            number += eights[k] != 0
        for place in range(number):
            first = np.uint64(8) * flagged[place]
            for x in range(first, min(first + np.uint64(8), columns)):
                value, flag = row[x], flags[x] != 0
                finite = value - value == 0
                missing += flag & (not finite)
                below[under] = value
                under = min(under + int((value < low) & flag & finite), room)
                above[over] = value
                over = min(over + int((value > high) & flag & finite), room)
                at_low += int((value == low) & flag)
                at_high += int((value == high) & flag)
    return frame.size - missing, below[:under], at_low, above[:over], at_high
