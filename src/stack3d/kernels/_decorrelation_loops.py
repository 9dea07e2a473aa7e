"""Compiled loops of :mod:`stack3d.kernels.decorrelation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def less_local_mean(frame: Any, tall: int, wide: int) -> Any:
    """Frame minus the mean of the measured pixels within `tall` rows and `wide` columns, by running sums."""
    rows, columns = frame.shape
    out = np.empty((rows, columns), np.float32)
    total = np.zeros(columns)
    number = np.zeros(columns, np.int64)
    for y in range(-tall, rows):
        enters, leaves = y + tall, y - tall - 1
        if enters < rows:
            for x in range(columns):
                value = np.float64(frame[enters, x])
                there = value == value
                total[x] += value if there else 0.0
                number[x] += 1 if there else 0
        if leaves >= 0:
            for x in range(columns):
                value = np.float64(frame[leaves, x])
                there = value == value
                total[x] -= value if there else 0.0
                number[x] -= 1 if there else 0
        if y < 0:
            continue
        window, count = 0.0, 0
        for x in range(min(wide, columns)):
            window += total[x]
            count += number[x]
        for x in range(columns):
            if x + wide < columns:
                window += total[x + wide]
                count += number[x + wide]
            if x - wide - 1 >= 0:
                window -= total[x - wide - 1]
                count -= number[x - wide - 1]
            value = np.float64(frame[y, x])
            out[y, x] = np.float32(value - window / count) if count > 0 else np.float32(np.nan)
    return out


@njit(nogil=True, cache=True)
def correlation(first: Any, second: Any, dy: int, dx: int) -> Any:
    """Pearson's coefficient of ``first[y, x]`` and ``second[y + dy, x + dx]``, pixels measured in both."""
    rows, columns = first.shape[0] - dy, first.shape[1] - dx
    if rows < 1 or columns < 1:
        return np.nan
    # One accumulator a column: additions keep their order, and neighbouring columns share a vector instruction.
    sums = np.zeros((5, columns))
    number = np.zeros(columns, np.int64)
    sa, sb, saa, sbb, sab = sums[0], sums[1], sums[2], sums[3], sums[4]
    for y in range(rows):
        upper = first[y, :columns]
        lower = second[y + dy, dx:]
        for x in range(columns):
            here, other = np.float64(upper[x]), np.float64(lower[x])
            there = (here == here) & (other == other)
            a = here if there else 0.0
            b = other if there else 0.0
            sa[x] += a
            sb[x] += b
            saa[x] += a * a
            sbb[x] += b * b
            sab[x] += a * b
            number[x] += 1 if there else 0
    total = np.zeros(5)
    count = 0
    for x in range(columns):
        count += number[x]
        for k in range(5):
            total[k] += sums[k, x]
    if count < 2:
        return np.nan
    spread = (total[2] - total[0] ** 2 / count) * (total[3] - total[1] ** 2 / count)
    # What rounding leaves of a frame without contrast is no contrast.
    if not spread > 1e-20 * (total[2] * total[3] + 1e-300):
        return np.nan
    return (total[4] - total[0] * total[1] / count) / np.sqrt(spread)
