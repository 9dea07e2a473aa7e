"""Smooth surfaces taken out of a frame, subtracted or divided, in one pass with the rounding.

A surface is a polynomial of the position in the frame, or values on a coarse grid that are interpolated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, store, working_dtype


def polynomial(y: Any, x: Any, matrix: Any, xp: Any = np) -> Any:
    """Return the surface ``sum of matrix[a, b] * y**a * x**b``, float64.

    Parameters
    ----------
    y : (rows,) array
    x : (cols,) array
        Positions, between 0 and 1.
    matrix : (powers of y, powers of x) array
    """
    y, x, matrix = (xp.asarray(part, dtype=np.float64) for part in (y, x, matrix))
    across = x[None, :] ** xp.arange(matrix.shape[1])[:, None]
    along = y[:, None] ** xp.arange(matrix.shape[0])[None, :]
    return along @ matrix @ across


def between(rows: Any, cols: Any, grid: Any, xp: Any = np) -> Any:
    """Return values of a grid interpolated bilinearly, float64; beyond its ends those of the ends.

    Parameters
    ----------
    rows : (y,) array
    cols : (x,) array
        Where, in steps of the grid.
    grid : (gy, gx) array
    """
    weights = []
    for places, count in ((rows, grid.shape[0]), (cols, grid.shape[1])):
        held = xp.clip(xp.asarray(places, dtype=np.float64), 0, count - 1)
        first = xp.minimum(held.astype(np.int64), max(count - 2, 0))
        weight = xp.zeros((len(held), count))
        index = xp.arange(len(held))
        weight[index, first] = 1 - (held - first)
        if count > 1:
            weight[index, first + 1] = held - first
        weights.append(weight)
    return weights[0] @ xp.asarray(grid, dtype=np.float64) @ weights[1].T


def take_out(
    frame: Any,
    rows: Any,
    cols: Any,
    values: Any,
    level: float,
    dtype: Any,
    *,
    kind: str,
    divide: bool,
    dark: float = 0.0,
    out: Any = None,
) -> tuple[Any, int]:
    """Take a surface out of a frame: ``frame - surface + level``, or ``(frame - dark) * level / surface + dark``.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    rows, cols : (y,), (x,) arrays
        Positions of the pixels, as `polynomial` and `between` take them.
    values : array
        The matrix of the polynomial, or the grid.
    level : float
        What the surface becomes everywhere.
    dtype : dtype
        Of the result. Integers are rounded half to even and saturate.
    kind : {"polynomial", "grid"}
    divide : bool
    dark : float
        Grey value of no signal, about which a division works.
    out : (y, x) array of dtype, optional
        Where the result may be written, by rows without gaps.

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    dtype = np.dtype(dtype)
    if not on_host(frame) or working_dtype(frame.dtype, dtype) != np.float32:
        return take_out_xp(frame, rows, cols, values, level, dtype, kind=kind, divide=divide, dark=dark)
    smallest, largest = (np.float32(limit) for limit in limits(dtype))
    pixels = packed(frame)
    out = np.empty(pixels.shape, dtype) if out is None else out
    common = (np.float32(level), np.float32(dark), divide, out, smallest, largest)
    if kind == "polynomial":
        matrix = np.asarray(values, dtype=np.float64)
        matrix = np.ascontiguousarray(matrix)
        y, x = np.asarray(rows, dtype=np.float64), np.asarray(cols, dtype=np.float32)
        return out, int(_by_rows(pixels, y, matrix, x, *common))
    grid = np.asarray(values, dtype=np.float64)
    along = between(rows, np.arange(grid.shape[1]), grid)
    held = np.clip(np.asarray(cols, dtype=np.float64), 0, grid.shape[1] - 1)
    first = np.minimum(held.astype(np.int64), max(grid.shape[1] - 2, 0))
    return out, int(_by_grid(pixels, along.astype(np.float32), first, (held - first).astype(np.float32), *common))


def take_out_xp(
    frame: Any,
    rows: Any,
    cols: Any,
    values: Any,
    level: float,
    dtype: Any,
    *,
    kind: str,
    divide: bool,
    dark: float = 0.0,
) -> tuple[Any, int]:
    """`xp` form of `take_out`."""
    xp = namespace(frame)
    surface = {"polynomial": polynomial, "grid": between}[kind](rows, cols, xp.asarray(values), xp)
    pixels = frame.astype(np.float64)
    even = (pixels - dark) * (level / surface) + dark if divide else pixels - (surface - level)
    return finish(even if np.dtype(dtype) != np.float32 else even.astype(np.float32), dtype)


@njit(cache=True, nogil=True, error_model="numpy")
def _by_rows(
    frame: Any,
    y: Any,
    matrix: Any,
    x: Any,
    level: Any,
    dark: Any,
    divide: bool,
    out: Any,
    smallest: Any,
    largest: Any,
) -> int:
    changed = 0
    rows, cols = frame.shape
    count = matrix.shape[1]
    surface = np.empty(cols, np.float32)
    for i in range(rows):
        # The polynomial of x that this row has.
        if count == 1:
            value = np.float32(_at(matrix, 0, y[i]))
            for j in range(cols):
                surface[j] = value
        else:
            top, value = np.float32(_at(matrix, count - 1, y[i])), np.float32(_at(matrix, count - 2, y[i]))
            for j in range(cols):
                surface[j] = top * x[j] + value
        for power in range(count - 3, -1, -1):
            value = np.float32(_at(matrix, power, y[i]))
            for j in range(cols):
                surface[j] = surface[j] * x[j] + value
        changed += int(_finish_row(frame[i], surface, level, dark, divide, out[i], smallest, largest))
    return changed


@njit(cache=True, nogil=True, error_model="numpy")
def _at(matrix: Any, power: Any, y: Any) -> float:
    """Return what a row has of a power of x."""
    value = matrix[matrix.shape[0] - 1, power]
    for a in range(matrix.shape[0] - 2, -1, -1):
        value = value * y + matrix[a, power]
    return float(value)


@njit(cache=True, nogil=True, error_model="numpy")
def _by_grid(
    frame: Any,
    along: Any,
    first: Any,
    share: Any,
    level: Any,
    dark: Any,
    divide: bool,
    out: Any,
    smallest: Any,
    largest: Any,
) -> int:
    changed = 0
    rows, cols = frame.shape
    last = along.shape[1] - 1
    surface = np.empty(cols, np.float32)
    for i in range(rows):
        for j in range(cols):
            low = along[i, first[j]]
            surface[j] = low + share[j] * (along[i, min(first[j] + 1, last)] - low)
        changed += int(_finish_row(frame[i], surface, level, dark, divide, out[i], smallest, largest))
    return changed


@njit(cache=True, nogil=True, error_model="numpy")  # to raise at 0 would keep a division out of vector instructions
def _finish_row(
    pixels: Any, surface: Any, level: Any, dark: Any, divide: bool, out: Any, smallest: Any, largest: Any
) -> Any:
    changed = np.int32(0)  # as wide as a pixel inside, so that the loops become vector instructions
    if not divide and smallest == -np.inf and largest == np.inf:
        for j in range(pixels.size):
            out[j] = np.float32(pixels[j]) - (surface[j] - level)
    elif divide:
        for j in range(pixels.size):
            value = (np.float32(pixels[j]) - dark) * (level / surface[j]) + dark
            changed = np.int32(changed + store(out, j, value, smallest, largest))
    else:
        for j in range(pixels.size):
            value = np.float32(pixels[j]) - (surface[j] - level)
            changed = np.int32(changed + store(out, j, value, smallest, largest))
    return changed
