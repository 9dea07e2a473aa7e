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


def moments(
    frame: Any, rows: Any, cols: Any, low: float | None = None, high: float | None = None
) -> tuple[Any, Any, Any, Any]:
    """Return mean (NaN for none), number and sums of the second and third powers of the distance from the mean, of each cell.

    Parameters
    ----------
    frame, rows, cols, low, high
        As `means` takes them.
    """
    bounds = (-np.inf if low is None else float(low), np.inf if high is None else float(high))
    xp = namespace(frame)
    # Powers are of distances from a level amid the frame: those of large values would lose their digits.
    some = frame[::16, ::16].astype(np.float64)
    inside = (some >= bounds[0]) & (some <= bounds[1])
    number = int(inside.sum())
    pivot = float(xp.where(inside, some, 0.0).sum()) / number if number else 0.0
    pivot = pivot if np.isfinite(pivot) else 0.0
    if on_host(frame):
        sums = np.zeros((4, len(rows) - 1, len(cols) - 1))
        _add_powers(packed(frame), np.asarray(rows), np.asarray(cols), *bounds, pivot, sums)
    else:
        sums = _power_sums(frame, rows, cols, *bounds, pivot)
    count, first, second, third = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = first / count
    centre = xp.where(count > 0, shift, 0.0)
    third = third - 3 * centre * second + 2 * count * centre**3
    return shift + pivot, count, second - count * centre**2, third


def moments_xp(frame: Any, rows: Any, cols: Any, low: float, high: float) -> tuple[Any, Any, Any, Any]:
    """`xp` form of `moments`, straight from its definition."""
    xp = namespace(frame)
    pixels = frame.astype(np.float64)
    means, counts = means_xp(frame, rows, cols, low, high)
    mean = xp.repeat(xp.repeat(means, np.diff(rows), axis=0), np.diff(cols), axis=1)
    far = xp.where((pixels >= low) & (pixels <= high), pixels - mean, 0.0)
    return means, counts, _cell_sums(far**2, rows, cols, xp), _cell_sums(far**3, rows, cols, xp)


def _power_sums(frame: Any, rows: Any, cols: Any, low: float, high: float, pivot: float) -> Any:
    xp = namespace(frame)
    pixels = frame.astype(np.float64)
    good = (pixels >= low) & (pixels <= high)
    far = xp.where(good, pixels - pivot, 0.0)
    return xp.stack([_cell_sums(part, rows, cols, xp) for part in (good.astype(np.float64), far, far**2, far**3)])


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


@njit(cache=True, nogil=True)
def _add_powers(frame: Any, rows: Any, cols: Any, low: float, high: float, pivot: float, sums: Any) -> None:
    # Sums of columns first: they do not depend on each other, so that a row is taken by vector instructions.
    size = frame.shape[1]
    number, first, second, third = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for a in range(rows.size - 1):
        for j in range(size):
            number[j] = first[j] = second[j] = third[j] = 0.0
        for i in range(rows[a], rows[a + 1]):
            row = frame[i]
            for j in range(size):
                value = np.float64(row[j])
                good = (value >= low) and (value <= high)
                far = value - pivot if good else 0.0
                number[j] += 1.0 if good else 0.0
                first[j] += far
                second[j] += far * far
                third[j] += far * far * far
        for b in range(cols.size - 1):
            for j in range(cols[b], cols[b + 1]):
                sums[0, a, b] += number[j]
                sums[1, a, b] += first[j]
                sums[2, a, b] += second[j]
                sums[3, a, b] += third[j]
