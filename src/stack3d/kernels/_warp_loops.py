"""Compiled loops of :mod:`stack3d.kernels.warp`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._store import store

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_FUSED: dict[str, Any] = {
    **_OPTIONS,
    "fastmath": {"contract"},
}  # products and sums in one instruction where there is one


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


@njit(**_FUSED)
def _tap_pair(even: Any, odd: Any, place: Any, low: Any, high: Any) -> None:
    e0, e1, e2, e3, e4 = even[0], even[1], even[2], even[3], even[4]
    o0, o1, o2, o3, o4 = odd[0], odd[1], odd[2], odd[3], odd[4]
    for k in range(place.size):
        s = place[k]
        q = s * s
        a = (((e4 * q + e3) * q + e2) * q + e1) * q + e0
        b = ((((o4 * q + o3) * q + o2) * q + o1) * q + o0) * s
        low[k] = a + b
        high[k] = a - b


@njit(**_FUSED)
def taps_at(poly: Any, place: Any, out: Any) -> None:
    """Weights of the six taps, (6, n), at distances from the middle between two pixels."""
    for k in range(3):
        _tap_pair(poly[k], poly[3 + k], place, out[k], out[5 - k])


@njit(**_FUSED)
def places(start: float, slope: float, whole: Any, rest: Any) -> None:
    """Split places ``start + slope k`` into the pixel before and the distance from the middle to the next."""
    for k in range(rest.size):
        place = start + slope * np.int32(k)
        before = np.floor(place)
        whole[k] = np.int32(before)
        rest[k] = place - before - 0.5


@njit(**_FUSED)
def mix(rows: Any, row: int, at: int, wx: Any, wy: Any, begin: int, end: int, line: Any) -> None:
    """Interpolate at the run `begin` to `end` of places, whose pixels follow each other in six rows.

    Where there is room, a run is lengthened to a multiple of eight places: what lies after it must be done later.
    """
    if end - begin > 5:
        longer = max(16, (end - begin + 7) // 8 * 8)
        if begin + longer <= line.size and at + longer + 5 <= rows.shape[1]:
            end = begin + longer
    high = at + end - begin + 5
    b0, b1, b2 = rows[row][at:high], rows[row + 1][at:high], rows[row + 2][at:high]
    b3, b4, b5 = rows[row + 3][at:high], rows[row + 4][at:high], rows[row + 5][at:high]
    out = line[begin:end]
    x0, x1, x2 = wx[0][begin:end], wx[1][begin:end], wx[2][begin:end]
    x3, x4, x5 = wx[3][begin:end], wx[4][begin:end], wx[5][begin:end]
    y0, y1, y2 = wy[0][begin:end], wy[1][begin:end], wy[2][begin:end]
    y3, y4, y5 = wy[3][begin:end], wy[4][begin:end], wy[5][begin:end]
    for k in range(out.size):
        # indices without a sign need no test for wrapping round: the loop becomes vector instructions
        i0 = np.uint64(k)
        i1, i2, i3 = i0 + np.uint64(1), i0 + np.uint64(2), i0 + np.uint64(3)
        i4, i5 = i0 + np.uint64(4), i0 + np.uint64(5)
        u0, u1, u2, u3, u4, u5 = x0[k], x1[k], x2[k], x3[k], x4[k], x5[k]
        v = y0[k] * (u0 * b0[i0] + u1 * b0[i1] + u2 * b0[i2] + u3 * b0[i3] + u4 * b0[i4] + u5 * b0[i5])
        v += y1[k] * (u0 * b1[i0] + u1 * b1[i1] + u2 * b1[i2] + u3 * b1[i3] + u4 * b1[i4] + u5 * b1[i5])
        v += y2[k] * (u0 * b2[i0] + u1 * b2[i1] + u2 * b2[i2] + u3 * b2[i3] + u4 * b2[i4] + u5 * b2[i5])
        v += y3[k] * (u0 * b3[i0] + u1 * b3[i1] + u2 * b3[i2] + u3 * b3[i3] + u4 * b3[i4] + u5 * b3[i5])
        v += y4[k] * (u0 * b4[i0] + u1 * b4[i1] + u2 * b4[i2] + u3 * b4[i3] + u4 * b4[i4] + u5 * b4[i5])
        v += y5[k] * (u0 * b5[i0] + u1 * b5[i1] + u2 * b5[i2] + u3 * b5[i3] + u4 * b5[i4] + u5 * b5[i5])
        out[k] = v


@njit(**_OPTIONS)
def run_end(ix: Any, iy: Any, x: int, end: int) -> int:
    """Where the run of places that begins at x ends: rows and columns less the index never turn back, so bisect."""
    row, column = iy[x], ix[x] - x
    low, step = x, 8
    while low + step < end and iy[low + step] == row and ix[low + step] - (low + step) == column:
        low += step
        step *= 2
    high = min(low + step, end)
    while high - low > 1:
        middle = (low + high) // 2
        if iy[middle] == row and ix[middle] - middle == column:
            low = middle
        else:
            high = middle
    return high


@njit(**_OPTIONS)
def affine(
    frame: Any, rows: Any, first: int, out: Any, top: int, matrix: Any, poly: Any, mirror: bool, smallest: Any,
    largest: Any,
) -> int:  # fmt: skip
    """Interpolate rows of the result, from `top` on, at places given by a matrix.

    `rows` holds rows of the frame, from `first` on, in the working type. A row of the result is done in runs of places
    that lie between the same rows of the frame and whose columns follow each other.
    """
    height, width = frame.shape
    columns = out.shape[1]
    wx, wy = np.empty((6, columns), poly.dtype), np.empty((6, columns), poly.dtype)
    ix, iy = np.empty(columns, np.int32), np.empty(columns, np.int32)
    rest, line = np.empty(columns, poly.dtype), np.empty(columns, poly.dtype)
    total = 0
    for r in range(out.shape[0]):
        y = top + r
        places(matrix[0, 1] * y + matrix[0, 2], matrix[0, 0], ix, rest)
        taps_at(poly, rest, wx)
        places(matrix[1, 1] * y + matrix[1, 2], matrix[1, 0], iy, rest)
        taps_at(poly, rest, wy)
        stop = 0
        while stop < columns:
            x = stop
            at, row = ix[x] - 2, iy[x] - 2
            stop += 1
            if row >= 0 and row + 6 <= height and at >= 0 and at + 6 <= width:
                stop = run_end(ix, iy, x, min(columns, x + width - 5 - at))
                mix(rows, row - first, at, wx, wy, x, stop, line)
            else:
                value = poly.dtype.type(0)
                for j in range(6):
                    pixels = frame[fold(row + j, height, mirror)]
                    part = poly.dtype.type(0)
                    for k in range(6):
                        part += wx[k, x] * pixels[fold(at + k, width, mirror)]
                    value += wy[j, x] * part
                line[x] = value
        target = out[r]
        count: Any = np.int32(0)
        for x in range(columns):
            count = np.int32(count + store(target, x, line[x], smallest, largest))
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
