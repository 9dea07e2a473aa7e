"""Compiled loops of :mod:`stack3d.kernels.field`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._store import store
from stack3d.kernels._warp_loops import fold, known, mix, taps_at

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def _mixed(across: Any, rows: Any, axis: int, start: float, step: float, out: Any) -> None:
    """Put ``start + step x`` and a row of the displacement along one axis into `out`."""
    for x in range(out.size):
        out[x] = start + step * x
    for b in range(across.shape[0]):
        weights, share = across[b], rows[b, axis]
        for x in range(out.size):
            out[x] += weights[x] * share


@njit(**_OPTIONS)
def _places(matrix: Any, grid: Any, along: Any, across: Any, y: int, px: Any, py: Any, sx: Any, sy: Any) -> None:
    """Places in the frame that row y of the result shows: ``matrix (p + displacement(p))``."""
    rows = np.zeros((grid.shape[1], 2))
    for b in range(grid.shape[1]):
        for a in range(grid.shape[0]):
            for axis in range(2):
                rows[b, axis] += along[y, a] * grid[a, b, axis]
    _mixed(across, rows, 1, 0.0, 1.0, px)
    _mixed(across, rows, 0, float(y), 0.0, py)
    for x in range(px.size):
        sx[x] = matrix[0, 0] * px[x] + matrix[0, 1] * py[x] + matrix[0, 2]
        sy[x] = matrix[1, 0] * px[x] + matrix[1, 1] * py[x] + matrix[1, 2]


@njit(**_OPTIONS)
def _split(place: Any, whole: Any, rest: Any) -> None:
    for x in range(place.size):
        before = np.floor(place[x])
        whole[x] = np.int32(before)
        rest[x] = place[x] - before - 0.5


@njit(**_OPTIONS)
def _outside(sy: float, sx: float, height: int, width: int) -> bool:
    return not (-0.5 <= sx <= width - 0.5 and -0.5 <= sy <= height - 0.5)


@njit(**_OPTIONS)
def interpolate(
    frame: Any, rows: Any, out: Any, matrix: Any, grid: Any, along: Any, across: Any, poly: Any, mirror: bool,
    smallest: Any, largest: Any, constant: bool, value: Any,
) -> int:  # fmt: skip
    """Interpolate at displaced places; `rows` is the frame in the working type.

    A row of the result is done in runs of places that lie between the same rows of the frame and whose columns follow
    each other.
    """
    height, width = frame.shape
    columns = out.shape[1]
    px, py, sx, sy = np.empty(columns), np.empty(columns), np.empty(columns), np.empty(columns)
    wx, wy = np.empty((6, columns), poly.dtype), np.empty((6, columns), poly.dtype)
    ix, iy = np.empty(columns, np.int32), np.empty(columns, np.int32)
    rest, line = np.empty(columns, poly.dtype), np.empty(columns, poly.dtype)
    total = 0
    for y in range(out.shape[0]):
        _places(matrix, grid, along, across, y, px, py, sx, sy)
        _split(sx, ix, rest)
        taps_at(poly, rest, wx)
        _split(sy, iy, rest)
        taps_at(poly, rest, wy)
        stop = 0
        while stop < columns:
            x = stop
            at, row = ix[x] - 2, iy[x] - 2
            stop += 1
            if row >= 0 and row + 6 <= height and at >= 0 and at + 6 <= width:
                end = min(columns, x + width - 5 - at)
                while stop < end and iy[stop] == iy[x] and ix[stop] - stop == ix[x] - x:
                    stop += 1
                mix(rows, row, at, wx, wy, x, stop, line)
            else:
                result = poly.dtype.type(0)
                for j in range(6):
                    pixels = frame[fold(row + j, height, mirror)]
                    part = poly.dtype.type(0)
                    for k in range(6):
                        part += wx[k, x] * pixels[fold(at + k, width, mirror)]
                    result += wy[j, x] * part
                line[x] = result
        target = out[y]
        count: Any = np.int32(0)
        for x in range(columns):
            if not abs(line[x]) < np.inf:
                line[x] = known(frame, sy[x], sx[x], mirror)
            count = np.int32(count + store(target, x, line[x], smallest, largest))
        if constant:
            for x in range(columns):
                if _outside(sy[x], sx[x], height, width):
                    target[x] = value
        total += count
    return total


@njit(**_OPTIONS)
def nearest(
    frame: Any, out: Any, matrix: Any, grid: Any, along: Any, across: Any, mirror: bool, constant: bool, value: Any
) -> None:
    """Take the nearest pixel."""
    height, width = frame.shape
    columns = out.shape[1]
    px, py, sx, sy = np.empty(columns), np.empty(columns), np.empty(columns), np.empty(columns)
    for y in range(out.shape[0]):
        _places(matrix, grid, along, across, y, px, py, sx, sy)
        for x in range(columns):
            if constant and _outside(sy[x], sx[x], height, width):
                out[y, x] = value
            else:
                row, column = (
                    fold(math.floor(sy[x] + 0.5), height, mirror),
                    fold(math.floor(sx[x] + 0.5), width, mirror),
                )
                out[y, x] = frame[row, column]
