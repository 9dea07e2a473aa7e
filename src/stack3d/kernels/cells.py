"""A frame in few numbers: means of its cells, or every n-th pixel, of what counts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed


def edges(size: int, cells: int) -> np.ndarray:
    """Return where `cells` cells that are as equal as can be begin and end; at most one a pixel."""
    cells = max(1, min(cells, size))
    return np.rint(np.linspace(0, size, cells + 1)).astype(np.int64)


def means(frame: Any, rows: Any, cols: Any, low: float | None = None, high: float | None = None) -> tuple[Any, Any]:
    """Return the mean of the pixels that count in each cell (NaN for none), and how many they are, float64.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. Missing pixels (NaN) do not count.
    rows, cols : (cells + 1,) int arrays
        Edges of the cells.
    low, high : float, optional
        Only pixels in this range, both ends included, count.
    """
    bounds = (-np.inf if low is None else float(low), np.inf if high is None else float(high))
    if not on_host(frame):
        return means_xp(frame, rows, cols, *bounds)
    sums = np.zeros((len(rows) - 1, len(cols) - 1))
    counts = np.zeros_like(sums)
    _add(packed(frame), np.asarray(rows), np.asarray(cols), *bounds, sums, counts)
    with np.errstate(invalid="ignore"):
        return sums / counts, counts


def means_xp(frame: Any, rows: Any, cols: Any, low: float, high: float) -> tuple[Any, Any]:
    """`xp` form of `means`."""
    xp = namespace(frame)
    pixels = frame.astype(np.float64)
    good = (pixels >= low) & (pixels <= high)
    counts = _cell_sums(good.astype(np.float64), rows, cols, xp)
    sums = _cell_sums(xp.where(good, pixels, 0.0), rows, cols, xp)
    with np.errstate(invalid="ignore"):
        return sums / counts, counts


def _cell_sums(values: Any, rows: Any, cols: Any, xp: Any) -> Any:
    down = xp.stack([values[a:b].sum(axis=0) for a, b in itertools.pairwise(rows)])
    return xp.stack([down[:, a:b].sum(axis=1) for a, b in itertools.pairwise(cols)], axis=1)


@njit(cache=True, nogil=True)
def _add(frame: Any, rows: Any, cols: Any, low: float, high: float, sums: Any, counts: Any) -> None:
    for a in range(rows.size - 1):
        for i in range(rows[a], rows[a + 1]):
            for b in range(cols.size - 1):
                total, number = 0.0, 0
                for j in range(cols[b], cols[b + 1]):
                    value = np.float64(frame[i, j])
                    good = (value >= low) and (value <= high)
                    total += value if good else 0.0
                    number += 1 if good else 0
                sums[a, b] += total
                counts[a, b] += number
