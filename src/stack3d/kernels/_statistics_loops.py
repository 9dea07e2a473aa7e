"""Compiled loops of :mod:`stack3d.kernels.statistics`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def integer_moments(frame: Any, mask: Any, smallest: int, largest: int) -> Any:
    least, most, total, count = np.int64(largest), np.int64(smallest), np.int64(0), 0
    for y in range(frame.shape[0]):
        row = frame[y]
        for x in range(row.size):
            value = np.int64(row[x])
            use = (value >= smallest) & (value <= largest)
            if mask is not None:
                use = use & mask[y, x]
            total += value if use else np.int64(0)
            count += 1 if use else 0
            least = np.int64(min(least, value if use else least))
            most = np.int64(max(most, value if use else most))
    return least, most, total, count


@njit(nogil=True, cache=True)
def float_moments(frame: Any, mask: Any, bottom: float, top: float) -> Any:
    # One accumulator a column: additions keep their order, and neighbouring columns share a vector instruction.
    columns = frame.shape[1]
    least = np.full(columns, np.inf, frame.dtype)
    most = np.full(columns, -np.inf, frame.dtype)
    total = np.zeros(columns)
    number = np.zeros(columns, np.int32)
    for y in range(frame.shape[0]):
        row = frame[y]
        for x in range(columns):
            value = row[x]
            use = (value >= bottom) & (value <= top)  # false for NaN and beyond for infinities
            if mask is not None:
                use = use & mask[y, x]
            total[x] += np.float64(value) if use else 0.0
            number[x] += np.int32(1 if use else 0)
            least[x] = value if use and value < least[x] else least[x]
            most[x] = value if use and value > most[x] else most[x]
    everything, count = 0.0, 0
    smallest, largest = np.inf, -np.inf
    for x in range(columns):
        everything += total[x]
        count += number[x]
        smallest = min(smallest, least[x])
        largest = max(largest, most[x])
    return smallest, largest, everything, count


@njit(nogil=True, cache=True)
def squares(frame: Any, mask: Any, bottom: Any, top: Any, mean: float) -> float:
    columns = frame.shape[1]
    total = np.zeros(columns)
    for y in range(frame.shape[0]):
        row = frame[y]
        for x in range(columns):
            value = np.float64(row[x])
            use = (value >= bottom) & (value <= top)
            if mask is not None:
                use = use & mask[y, x]
            deviation = value - mean if use else 0.0
            total[x] += deviation * deviation
    everything = 0.0
    for x in range(columns):
        everything += total[x]
    return everything


@njit(nogil=True, cache=True)
def count_levels(frame: Any, mask: Any, levels: int) -> Any:
    # Four tables, so that runs of one level do not wait for each other's stores.
    counts = np.zeros((4, levels), np.uint32)
    first, second, third, fourth = counts[0], counts[1], counts[2], counts[3]
    for y in range(frame.shape[0]):
        row = frame[y]
        if mask is None:
            quarters = row.size // 4 * 4
            for x in range(0, quarters, 4):
                first[row[x]] += np.uint32(1)
                second[row[x + 1]] += np.uint32(1)
                third[row[x + 2]] += np.uint32(1)
                fourth[row[x + 3]] += np.uint32(1)
            for x in range(quarters, row.size):
                first[row[x]] += np.uint32(1)
        else:
            for x in range(row.size):
                first[row[x]] += np.uint32(1 if mask[y, x] else 0)
    result = np.empty(levels, np.int64)
    for k in range(levels):
        result[k] = np.int64(first[k]) + np.int64(second[k]) + np.int64(third[k]) + np.int64(fourth[k])
    return result


@njit(nogil=True, cache=True)
def ordered(key: Any, kind: int) -> Any:
    """Return bits whose order as an unsigned number is that of the value (0 unsigned, 1 signed, 2 float)."""
    if kind == 0:
        return key
    if kind == 2 and key & np.uint32(0x80000000):
        return np.uint32(~key)
    return np.uint32(key ^ np.uint32(0x80000000))


@njit(nogil=True, cache=True)
def select_keys(keys: Any, ranks: Any, kind: int) -> Any:
    high = np.zeros(65536, np.int64)
    for k in range(keys.size):
        high[ordered(keys[k], kind) >> np.uint32(16)] += 1
    # The upper half of each wanted key, and its rank among the keys that share that half.
    halves = np.empty(ranks.size, np.int64)
    rests = np.empty(ranks.size, np.int64)
    slot_of = np.full(65536, -1, np.int32)
    slots = 0
    half, seen = 0, 0
    for r in range(ranks.size):
        while seen + high[half] <= ranks[r]:
            seen += high[half]
            half += 1
        halves[r] = half
        rests[r] = ranks[r] - seen
        if slot_of[half] < 0:
            slot_of[half] = slots
            slots += 1
    low = np.zeros((slots, 65536), np.int64)
    for k in range(keys.size):
        key = ordered(keys[k], kind)
        slot = slot_of[key >> np.uint32(16)]
        if slot >= 0:
            low[slot, key & np.uint32(0xFFFF)] += 1
    found = np.empty(ranks.size, np.uint32)
    for r in range(ranks.size):
        row = low[slot_of[halves[r]]]
        level, seen = 0, 0
        while seen + row[level] <= rests[r]:
            seen += row[level]
            level += 1
        found[r] = np.uint32((halves[r] << 16) | level)
    return found
