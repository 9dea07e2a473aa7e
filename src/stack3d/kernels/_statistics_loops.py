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
def extent(frame: Any, bottom: Any, top: Any) -> Any:
    """Return the least and the largest pixel of a frame of small integers, whose dtype ends at `bottom` and `top`."""
    least, most = top, bottom
    pixels = frame.reshape(-1)
    for x in range(pixels.size):
        least, most = min(least, pixels[x]), max(most, pixels[x])
    return np.int64(least), np.int64(most)


@njit(nogil=True, cache=True)
def count_levels(frame: Any, mask: Any, first: int, counts: Any, every: int, others: bool) -> None:
    """Add the pixels of every so many rows, or of the `others`, to a table of levels from `first` on.

    `counts` has one table, or four: few levels come in runs, whose additions would wait for each other in one.
    """
    tables = counts.shape[0]
    one, two, three, four = counts[0], counts[tables // 4], counts[tables // 2], counts[tables // 4 * 3]
    columns = np.uint64(frame.shape[1])
    quarters = np.uint64(frame.shape[1] // 4 * 4)
    begin, once = np.uint64(first), np.uint32(1)
    # Indices without a sign: one with a sign might count from the end, which costs as much as the addition.
    for y in range(frame.shape[0]):
        if (y % every == 0) == others:
            continue
        row = frame[y]
        if mask is not None:
            for x in range(columns):
                one[np.uint64(row[x]) - begin] += np.uint32(1 if mask[y, x] else 0)
            continue
        if tables == 1:
            for x in range(columns):
                one[np.uint64(row[x]) - begin] += once
            continue
        for x in range(np.uint64(0), quarters, np.uint64(4)):
            one[np.uint64(row[x]) - begin] += once
            two[np.uint64(row[x + np.uint64(1)]) - begin] += once
            three[np.uint64(row[x + np.uint64(2)]) - begin] += once
            four[np.uint64(row[x + np.uint64(3)]) - begin] += once
        for x in range(quarters, columns):
            one[np.uint64(row[x]) - begin] += once
    for table in range(1, tables):
        for k in range(counts.shape[1]):
            one[k] += counts[table, k]
            counts[table, k] = 0


@njit(nogil=True, cache=True)
def whole_moments(frame: Any, bottom: Any, top: Any) -> Any:
    """Return the sum and the extent of a frame of small integers, whose dtype ends at `bottom` and `top`."""
    total, least, most = np.int64(0), top, bottom
    for y in range(frame.shape[0]):
        row, some = frame[y], np.int64(0)
        for x in range(row.size):
            some += np.int64(row[x])
            least, most = min(least, row[x]), max(most, row[x])
        total += some
    return total, np.int64(least), np.int64(most)


@njit(nogil=True, cache=True)
def whole_squares(frame: Any, mean: float) -> float:
    """Return what `squares` does where every pixel counts."""
    columns = frame.shape[1]
    total = np.zeros(columns)
    for y in range(frame.shape[0]):
        row = frame[y]
        for x in range(columns):
            deviation = np.float64(row[x]) - mean
            total[x] += deviation * deviation
    everything = 0.0
    for x in range(columns):
        everything += total[x]
    return everything


@njit(nogil=True, cache=True)
def small_moments(frame: Any, mask: Any, smallest: int, largest: int) -> Any:
    """Return number, sum and sum of squares, exactly, and the least and the largest, of pixels of 8 or 16 bits."""
    count, total, square = np.int64(0), np.int64(0), np.int64(0)
    least, most = np.int32(largest), np.int32(smallest)
    low, high = np.int32(smallest), np.int32(largest)
    for y in range(frame.shape[0]):
        row = frame[y]
        number, first, second = np.int32(0), np.int64(0), np.int64(0)
        for x in range(row.size):
            value = np.int32(row[x])
            use = (value >= low) & (value <= high)
            if mask is not None:
                use = use & mask[y, x]
            number = np.int32(number + (1 if use else 0))
            some = np.int64(value if use else np.int32(0))
            first += some
            second += some * some
            least = min(least, value if use else high)
            most = max(most, value if use else low)
        count += number
        total += first
        square += second
    return count, total, square, least, most


@njit(nogil=True, cache=True)
def all_moments(frame: Any) -> Any:
    """Do `small_moments` with every pixel of a frame that has some."""
    total, square = np.int64(0), np.int64(0)
    least, most = frame[0, 0], frame[0, 0]
    for y in range(frame.shape[0]):
        row = frame[y]
        first, second = np.int64(0), np.int64(0)
        for x in range(row.size):
            value = row[x]
            number = np.uint32(np.int32(value))
            first += np.int64(np.int32(value))
            second += np.int64(np.uint32(number * number))  # below 2^32, also of what is negative
            least, most = min(least, value), max(most, value)
        total += first
        square += second
    return np.int64(frame.size), total, square, np.int32(least), np.int32(most)


@njit(nogil=True, cache=True)
def median_deviation(counts: Any, twice: int) -> float:
    """Return the median distance of levels, counted from 0, from the level ``twice / 2``."""
    total = np.int64(0)
    for k in range(counts.size):
        total += counts[k]
    wanted = ((total - 1) // 2, total // 2)
    found = np.zeros(2, np.int64)
    # Levels on both sides, from the middle outwards.
    below, above = twice // 2, twice // 2 + 1
    seen, part = np.int64(0), 0
    while part < 2:
        down, up = twice - 2 * below, 2 * above - twice
        if below >= 0 and (down <= up or above >= counts.size):
            distance, number = down, counts[below]
            below -= 1
        else:
            distance, number = up, counts[above]
            above += 1
        seen += number
        while part < 2 and seen > wanted[part]:
            found[part] = distance
            part += 1
    return float((found[0] + found[1]) / 4)
