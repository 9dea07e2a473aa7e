"""Compiled loops of :mod:`stack3d.kernels.warp`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._store import store

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def fold(index: int, size: int, mirror: bool) -> int:
    """Index inside 0 .. size - 1: mirrored at the outer edges of the frame, or clamped."""
    if 0 <= index < size:
        return index
    if not mirror:
        return 0 if index < 0 else size - 1
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index


@njit(**_OPTIONS)
def shift(frame: Any, out: Any, iy: int, ix: int, wy: Any, wx: Any, mirror: bool, smallest: Any, largest: Any) -> int:
    """Interpolate at one displacement: along y from six rows of the working type, then along x, then store."""
    height, width = frame.shape
    rows, columns = out.shape
    ring = np.empty((6, width), wy.dtype)
    line, result = np.empty(columns + 5, wy.dtype), np.empty(columns, wy.dtype)
    # line[k] stands at column k + ix - 2 of the frame, inside it from low to high
    low = min(max(0, 2 - ix), columns + 5)
    high = max(min(columns + 5, width + 2 - ix), low)
    y0, y1, y2, y3, y4, y5 = wy[0], wy[1], wy[2], wy[3], wy[4], wy[5]
    x0, x1, x2, x3, x4, x5 = wx[0], wx[1], wx[2], wx[3], wx[4], wx[5]
    total = 0
    for k in range(5):
        _load(frame[fold(iy - 2 + k, height, mirror)], ring[k])
    for y in range(rows):
        _load(frame[fold(y + iy + 3, height, mirror)], ring[(y + 5) % 6])
        f0, f1, f2 = ring[y % 6], ring[(y + 1) % 6], ring[(y + 2) % 6]
        f3, f4, f5 = ring[(y + 3) % 6], ring[(y + 4) % 6], ring[(y + 5) % 6]
        # slices of one length: indices that cannot be negative let the loops become vector instructions
        if high > low:
            begin, end = low + ix - 2, high + ix - 2
            a0, a1, a2 = f0[begin:end], f1[begin:end], f2[begin:end]
            a3, a4, a5 = f3[begin:end], f4[begin:end], f5[begin:end]
            middle = line[low:high]
            for x in range(middle.size):
                middle[x] = y0 * a0[x] + y1 * a1[x] + y2 * a2[x] + y3 * a3[x] + y4 * a4[x] + y5 * a5[x]
        for k in range(columns + 5 - (high - low)):
            at = k if k < low else high + k - low
            x = fold(at + ix - 2, width, mirror)
            line[at] = y0 * f0[x] + y1 * f1[x] + y2 * f2[x] + y3 * f3[x] + y4 * f4[x] + y5 * f5[x]
        l0, l1, l2 = line[0:columns], line[1 : columns + 1], line[2 : columns + 2]
        l3, l4, l5 = line[3 : columns + 3], line[4 : columns + 4], line[5 : columns + 5]
        for x in range(columns):
            result[x] = x0 * l0[x] + x1 * l1[x] + x2 * l2[x] + x3 * l3[x] + x4 * l4[x] + x5 * l5[x]
        target = out[y]
        count: Any = np.int32(0)
        for x in range(columns):
            count = np.int32(count + store(target, x, result[x], smallest, largest))
        total += count
    return total


@njit(**_OPTIONS)
def _load(row: Any, out: Any) -> None:
    for x in range(out.size):
        out[x] = row[x]


@njit(**_OPTIONS)
def known(frame: Any, y: float, x: float, mirror: bool) -> Any:
    """Linear interpolation over the pixels that are known; NaN where the nearest is not."""
    height, width = frame.shape
    iy, ix = math.floor(y), math.floor(x)
    fy, fx = y - iy, x - ix
    near = frame[fold(iy + (1 if fy >= 0.5 else 0), height, mirror), fold(ix + (1 if fx >= 0.5 else 0), width, mirror)]
    if math.isnan(near):
        return near
    total, weight = 0.0, 0.0
    for j in range(2):
        for i in range(2):
            w = (fy if j else 1 - fy) * (fx if i else 1 - fx)
            value = frame[fold(iy + j, height, mirror), fold(ix + i, width, mirror)]
            if w > 0 and not math.isnan(value):
                total += w * value
                weight += w
    return total / weight


@njit(**_OPTIONS)
def mend(frame: Any, out: Any, matrix: Any, mirror: bool) -> None:
    """Interpolate again, over known pixels only, where missing ones have spoilt the result."""
    for y in range(out.shape[0]):
        row = out[y]
        bad = np.uint32(0)
        for x in range(row.size):
            bad += np.uint32(not (abs(row[x]) < np.inf))
        if bad == 0:
            continue
        for x in range(row.size):
            if not abs(row[x]) < np.inf:
                sx = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
                sy = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
                row[x] = known(frame, sy, sx, mirror)


@njit(**_OPTIONS)
def nearest(frame: Any, out: Any, matrix: Any, mirror: bool) -> None:
    """Take the nearest pixel."""
    height, width = frame.shape
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            sx = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
            sy = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
            iy, ix = math.floor(sy + 0.5), math.floor(sx + 0.5)
            out[y, x] = frame[fold(iy, height, mirror), fold(ix, width, mirror)]


@njit(**_OPTIONS)
def affine(frame: Any, out: Any, matrix: Any, taps: Any, mirror: bool, smallest: Any, largest: Any) -> int:
    """Interpolate at places given by a matrix, weights from a table."""
    height, width = frame.shape
    steps = taps.shape[0] - 1
    wy, wx = np.empty(6, taps.dtype), np.empty(6, taps.dtype)
    columns = np.empty(6, np.int64)
    total = 0
    for y in range(out.shape[0]):
        target = out[y]
        count: Any = np.int32(0)
        for x in range(target.size):
            sx = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
            sy = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
            iy, ix = math.floor(sy), math.floor(sx)
            ty, tx = (sy - iy) * steps, (sx - ix) * steps
            ky, kx = min(int(ty), steps - 1), min(int(tx), steps - 1)
            ry, rx = taps.dtype.type(ty - ky), taps.dtype.type(tx - kx)
            for k in range(6):
                wy[k] = taps[ky, k] + ry * (taps[ky + 1, k] - taps[ky, k])
                wx[k] = taps[kx, k] + rx * (taps[kx + 1, k] - taps[kx, k])
            value = taps.dtype.type(0)
            if 2 <= iy < height - 3 and 2 <= ix < width - 3:
                for j in range(6):
                    row = frame[iy - 2 + j, ix - 2 : ix + 4]
                    part = wx[0] * row[0] + wx[1] * row[1] + wx[2] * row[2]
                    value += wy[j] * (part + wx[3] * row[3] + wx[4] * row[4] + wx[5] * row[5])
            else:
                for k in range(6):
                    columns[k] = fold(ix - 2 + k, width, mirror)
                for j in range(6):
                    row = frame[fold(iy - 2 + j, height, mirror)]
                    part = taps.dtype.type(0)
                    for k in range(6):
                        part += wx[k] * row[columns[k]]
                    value += wy[j] * part
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += count
    return total


@njit(**_OPTIONS)
def outside(out: Any, matrix: Any, height: int, width: int, value: Any) -> None:
    """Put a value where the place looked at lies outside of the pixels of the frame."""
    for y in range(out.shape[0]):
        row = out[y]
        for x in range(row.size):
            sx = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
            sy = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
            if not (-0.5 <= sx <= width - 0.5 and -0.5 <= sy <= height - 0.5):
                row[x] = value
