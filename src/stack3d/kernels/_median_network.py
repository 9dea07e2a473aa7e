"""Medians of small windows by sorting networks: the same comparisons for every pixel, by vector instructions.

References
----------
K. E. Batcher, "Sorting networks and their applications", AFIPS Proc. 32, 307 (1968). doi:10.1145/1468075.1468121
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

_BLOCK = 256  # columns at a time: the values of their windows stay in the fastest cache


@lru_cache(maxsize=16)
def network(runs: tuple[int, ...], wanted: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the comparisons (n, 2) that bring the values of some ranks to their places.

    Parameters
    ----------
    runs : tuple of int
        Lengths of parts of the values that are sorted already.
    wanted : tuple of int
        Ranks.
    """
    count = sum(runs)
    # All ways in which sorted runs of zeros and ones can look: what sorts these sorts anything.
    cases = np.array(list(itertools.product(*(range(run + 1) for run in runs))))
    ones = [np.arange(run)[None, :] >= run - cases[:, k, None] for k, run in enumerate(runs)]
    values = np.concatenate(ones, axis=1)
    used = []
    for low, high in _batcher(count):
        swapped = values[:, low] & ~values[:, high]
        if swapped.any():
            used.append((low, high))
            values[swapped, low], values[swapped, high] = False, True
    needed, kept = set(wanted), []
    for low, high in reversed(used):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    return np.array(kept[::-1], dtype=np.int64).reshape(-1, 2)


def _batcher(count: int) -> list[tuple[int, int]]:
    """Return the odd-even merge sort of a number of values."""
    found, p = [], 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                lower = range(j, j + min(k, count - j - k))
                found += [(i, i + k) for i in lower if i // (2 * p) == (i + k) // (2 * p)]
            k //= 2
        p *= 2
    return found


def medians(frame: Any, half: int) -> Any:
    """Return the median of the neighbours of each pixel whose whole window lies in the frame; others are not set."""
    size = 2 * half + 1
    most = size * size - 1
    column = network((1,) * size, tuple(range(size)))
    beside = network((1,) * (size - 1), tuple(range(size - 1)))
    middle = network((size,) * (size - 1) + (size - 1,), (most // 2 - 1, most // 2))
    out = np.empty(frame.shape, np.float32)
    _medians(frame, half, column, beside, middle, _BLOCK, out)
    return out


@njit(nogil=True, cache=True)
def _medians(frame: Any, half: int, column: Any, beside: Any, middle: Any, block: int, out: Any) -> None:
    rows, columns = frame.shape
    size = 2 * half + 1
    whole, rest = np.empty((size, columns), np.float32), np.empty((size - 1, columns), np.float32)
    held = np.empty((size * size - 1, block), np.float32)
    for y in range(half, rows - half):
        for i in range(size):
            whole[i] = frame[y - half + i]
            if i != half:
                rest[i if i < half else i - 1] = frame[y - half + i]
        _compare(whole, column, columns)
        _compare(rest, beside, columns)
        for begin in range(half, columns - half, block):
            width = min(block, columns - half - begin)
            place = 0
            for shift in range(-half, half + 1):
                if shift == 0:
                    continue
                for i in range(size):
                    held[place, :width] = whole[i, begin + shift : begin + shift + width]
                    place += 1
            for i in range(size - 1):
                held[place, :width] = rest[i, begin : begin + width]
                place += 1
            _compare(held, middle, width)
            low, high, line = held[place // 2 - 1], held[place // 2], out[y, begin : begin + width]
            for x in range(width):
                line[x] = (low[x] + high[x]) * np.float32(0.5)


@njit(nogil=True, cache=True)
def _compare(values: Any, pairs: Any, width: int) -> None:
    for n in range(pairs.shape[0]):
        low, high = values[pairs[n, 0]], values[pairs[n, 1]]
        for x in range(width):
            a, b = low[x], high[x]
            low[x] = a if a < b else b
            high[x] = b if a < b else a
