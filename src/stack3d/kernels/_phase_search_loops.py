"""Compiled loops that divide the correlation of two frames, at all displacements, by their spread on the overlap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def spread(a: Any, rows: int, cols: int, share: float) -> Any:
    """Sum of a frame over the root of its pixels (0), and one over the root of its spread (1), on each overlap.

    Of the overlap with a frame that lies (dy, dx) further on, at ``[:, dy, dx]`` of (2, rows, cols), negative ones from
    the end; 0 where the overlap is less than a share of the frame.
    """
    n, m = a.shape
    sums = np.zeros((2, n + 1, m + 1))
    for i in range(n):
        s, ss = 0.0, 0.0
        for j in range(m):
            value = np.float64(a[i, j])
            s += value
            ss += value * value
            sums[0, i + 1, j + 1] = sums[0, i, j + 1] + s
            sums[1, i + 1, j + 1] = sums[1, i, j + 1] + ss
    out = np.zeros((2, rows, cols), np.float32)
    for dy in range(1 - n, n):
        for dx in range(1 - m, m):
            number = (n - abs(dy)) * (m - abs(dx))
            if number < share * n * m:
                continue
            s, ss = _box(sums[0], dy, dx), _box(sums[1], dy, dx)
            rest = ss - s * s / number
            if rest > 0:
                out[0, dy, dx] = s / math.sqrt(number)
                out[1, dy, dx] = 1 / math.sqrt(rest)
    return out


@njit(**_OPTIONS)
def _box(table: Any, dy: int, dx: int) -> float:
    """Sum over the overlap out of a table of sums from the first row and column on."""
    top, left = max(0, -dy), max(0, -dx)
    below, right = table.shape[0] - 1 - max(0, dy), table.shape[1] - 1 - max(0, dx)
    return float(table[below, right] - table[top, right] - table[below, left] + table[top, left])


@njit(**_OPTIONS)
def normalised(product: Any, a: Any, b: Any) -> None:
    """Make a correlation one of the overlaps, in place; `a` and `b` are the :func:`spread` of the frames.

    `product` is periodic: displacement (dy, dx) at ``product[dy, dx]``, negative ones from the end.
    """
    n, m = product.shape
    for i in range(n):
        row, k = product[i], n - i if i else 0
        of_a, over_a, of_b, over_b = a[0, i], a[1, i], b[0, k], b[1, k]
        row[0] = (row[0] - of_a[0] * of_b[0]) * over_a[0] * over_b[0]
        for j in range(1, m):
            mirrored = np.uint64(m) - np.uint64(j)
            row[j] = (row[j] - of_a[j] * of_b[mirrored]) * over_a[j] * over_b[mirrored]
