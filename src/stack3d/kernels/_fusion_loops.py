"""Compiled loops of :mod:`stack3d.kernels.fusion`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_BLOCK = 256  # columns that have sums of their own: additions keep their order and use vector instructions


@njit(nogil=True, cache=True)
def measured(frames: Any) -> Any:
    """Return where all frames were measured, how many pixels that are, and the mean of each frame over them."""
    rows, columns = frames[0].shape
    use, number = np.ones((rows, columns), np.bool_), 0
    sums = np.zeros((len(frames), columns))
    for y in range(rows):
        line = use[y]
        for frame in frames:
            row = frame[y]
            for x in range(columns):
                value = np.float32(row[x])
                line[x] &= value - value == np.float32(0)  # false for NaN and infinities
        for x in range(columns):
            number += 1 if line[x] else 0
        for k in range(len(frames)):
            row, total = frames[k][y], sums[k]
            for x in range(columns):
                total[x] += np.float64(row[x]) if line[x] else 0.0
    means = np.empty(len(frames))
    for k in range(len(frames)):
        means[k] = sums[k].sum() / max(number, 1)
    return use, number, means


@njit(nogil=True, cache=True)
def products(frames: Any, use: Any, means: Any) -> Any:
    """Return sums of products of centred frames, the second moved by 0, 1 and 2 rows and columns, and their numbers.

    Returns
    -------
    sums : (3, frames + 1, frames + 1) array
        Of row and column together from lag 1 on; the last frame is 1 where all were measured.
    """
    rows, columns = use.shape
    count = len(frames)
    sums = np.zeros((3, count + 1, count + 1, _BLOCK))
    held = np.zeros((3, count + 1, columns))
    before = np.empty(columns)
    for y in range(rows):
        now = held[y % 3]
        line = use[y]
        for k in range(count):
            row, mean = frames[k][y], np.float32(means[k])
            for x in range(columns):
                now[k, x] = np.float32(row[x]) - mean if line[x] else np.float32(0)
        for x in range(columns):
            now[count, x] = 1.0 if line[x] else 0.0
        for i in range(count + 1):
            for j in range(count):
                if i <= j:
                    _add(now[i], now[j], sums[0, i, j])
        for lag in range(1, 3):
            above = held[(y - lag) % 3]
            for i in range(count + 1):
                for x in range(columns):
                    before[x] = above[i, x] if y >= lag else 0.0
                for x in range(lag, columns):
                    before[x] += now[i, x - lag]
                for j in range(count + 1):
                    if (i < count) == (j < count):
                        _add(before, now[j], sums[lag, i, j])
    out = np.zeros((3, count + 1, count + 1))
    for lag in range(3):
        for i in range(count + 1):
            for j in range(count + 1):
                out[lag, i, j] = sums[lag, i, j].sum()
    return out


@njit(nogil=True, cache=True)
def _add(a: Any, b: Any, sums: Any) -> None:
    for begin in range(0, a.size, _BLOCK):
        width = min(_BLOCK, a.size - begin)
        first, second = a[begin : begin + width], b[begin : begin + width]
        for k in range(width):
            sums[k] += first[k] * second[k]
