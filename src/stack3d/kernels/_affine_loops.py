"""Compiled loops of :mod:`stack3d.kernels.affine`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._warp_loops import mix, places, run_end, taps_at

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_SUMS: dict[str, Any] = {**_OPTIONS, "fastmath": {"contract", "reassoc"}}  # sums in lanes
BLOCKS = 8  # blocks a side, whose scatter tells the error
SCORES = 12  # six scores of a block, then |r|, a a, a b, b b, and the slopes along x a' a', a' b'


@njit(**_OPTIONS)
def _along(row: Any, out: Any) -> None:
    """Slope along a row, but for two pixels at each end."""
    n = row.size - 4
    a, b, c, d, inner = row[0:n], row[1 : n + 1], row[3 : n + 3], row[4 : n + 4], out[2 : n + 2]
    two, one = np.float32(1 / 12), np.float32(2 / 3)
    for x in range(n):
        inner[x] = two * (a[x] - d[x]) + one * (c[x] - b[x])


@njit(**_OPTIONS)
def _across(a: Any, b: Any, c: Any, d: Any, out: Any) -> None:
    """Slope across rows: two above, two below."""
    two, one = np.float32(1 / 12), np.float32(2 / 3)
    for x in range(out.size):
        out[x] = two * (a[x] - d[x]) + one * (c[x] - b[x])


@njit(**_SUMS)
def _products(gx: Any, gy: Any) -> Any:
    """Sums of gx gx, gx gy and gy gy with 1, u, u^2, u counted from the middle of the piece."""
    out = np.zeros((3, 3))
    zero = np.float32(0)
    p0, p1, p2, q0, q1, q2, r0, r1, r2 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    middle = np.float32((gx.size - 1) / 2)
    for x in range(gx.size):
        u = np.float32(np.int32(x)) - middle
        a, b, c = gx[x] * gx[x], gx[x] * gy[x], gy[x] * gy[x]
        p0 += a
        q0 += b
        r0 += c
        p1 += a * u
        q1 += b * u
        r1 += c * u
        p2 += a * u * u
        q2 += b * u * u
        r2 += c * u * u
    out[0, 0], out[0, 1], out[0, 2] = p0, p1, p2
    out[1, 0], out[1, 1], out[1, 2] = q0, q1, q2
    out[2, 0], out[2, 1], out[2, 2] = r0, r1, r2
    return out


@njit(**_OPTIONS)
def hessian(a: Any, box: Any, frame: Any) -> Any:
    """Sum, over the box (y0, y1, x0, x1), of the products of the slopes with (X, Y, 1), for both directions: (6, 6).

    ``frame`` is (cy, cx, sy, sx): X and Y are counted from (cx, cy) in units of sx and sy pixels; so are the slopes.
    """
    width = a.shape[1]
    gx, gy = np.zeros(width, np.float32), np.zeros(width, np.float32)
    out = np.zeros((6, 6))
    phi = np.empty((3, 3))
    cy, cx, sy, sx = frame[0], frame[1], frame[2], frame[3]
    left, right = box[2], box[3]
    middle = ((left + right - 1) / 2 - cx) / sx
    for y in range(box[0], box[1]):
        _along(a[y], gx)
        _across(a[y - 2], a[y - 1], a[y + 1], a[y + 2], gy)
        found = _products(gx[left:right], gy[left:right])
        big_y = (y - cy) / sy
        for kind in range(3):
            unit = sx * sx if kind == 0 else (sx * sy if kind == 1 else sy * sy)
            s0, s1, s2 = found[kind, 0] * unit, found[kind, 1] * unit / sx, found[kind, 2] * unit / (sx * sx)
            s1, s2 = s1 + middle * s0, s2 + 2 * middle * s1 + middle * middle * s0
            phi[0, 0], phi[0, 1], phi[0, 2] = s2, s1 * big_y, s1
            phi[1, 0], phi[1, 1], phi[1, 2] = s1 * big_y, s0 * big_y * big_y, s0 * big_y
            phi[2, 0], phi[2, 1], phi[2, 2] = s1, s0 * big_y, s0
            at_y, at_x = (3 if kind == 2 else 0), (0 if kind == 0 else 3)
            for i in range(3):
                for j in range(3):
                    out[at_y + i, at_x + j] += phi[i, j]
    for i in range(3):
        for j in range(3):
            out[3 + i, j] = out[j, 3 + i]
    return out


@njit(**_OPTIONS)
def pull(b: Any, y: int, matrix: Any, margin: int, poly: Any, work: Any, whole: Any, line: Any, use: Any) -> None:
    """Take a row of an image at places given by a matrix; `use` is 0 where they fall outside its margins."""
    height, width = b.shape
    columns = line.size
    ix, iy, rest, wx, wy = whole[0], whole[1], work[0], work[1:7], work[7:13]
    places(matrix[0, 1] * y + matrix[0, 2], matrix[0, 0], ix, rest)
    taps_at(poly, rest, wx)
    places(matrix[1, 1] * y + matrix[1, 2], matrix[1, 0], iy, rest)
    taps_at(poly, rest, wy)
    stop = 0
    while stop < columns:
        x = stop
        stop += 1
        inside = margin <= iy[x] < height - margin - 1 and margin <= ix[x] < width - margin - 1
        if not inside:
            line[x] = 0
            use[x] = 0
            continue
        stop = run_end(ix, iy, x, min(columns, x + width - margin - 1 - ix[x]))
        mix(b, iy[x] - 2, ix[x] - 2, wx, wy, x, stop, line)
        use[x:stop] = 1


@njit(**_SUMS)
def _scores(a: Any, b: Any, use: Any, gx: Any, gy: Any, gb: Any, gain: Any, limit: Any, out: Any) -> None:
    """Sums over a piece of a row: gx r, gx r u, gy r, gy r u, |r|, a a, a b, b b, a' a', a' b'."""
    zero = np.float32(0)
    s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 = zero, zero, zero, zero, zero, zero, zero, zero, zero, zero
    middle = np.float32((a.size - 1) / 2)
    for x in range(a.size):
        u = np.float32(np.int32(x)) - middle
        va = a[x] * use[x]
        r = b[x] - gain * va
        s4 += abs(r)
        r = min(max(r, -limit), limit)
        px, py = gx[x] * r, gy[x] * r
        s0 += px
        s1 += px * u
        s2 += py
        s3 += py * u
        s5 += va * va
        s6 += va * b[x]
        s7 += b[x] * b[x]
        s8 += gx[x] * gx[x] * use[x]
        s9 += gx[x] * gb[x]
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = s0, s1, s2, s3, s4, s5, s6, s7
    out[8], out[9] = s8, s9


@njit(**_OPTIONS)
def compare(
    a: Any, b: Any, matrix: Any, box: Any, margin: int, frame: Any, gain: float, limit: float, poly: Any
) -> Any:
    """Scores of every block of a box, (BLOCKS ** 2, SCORES), and the number of pixels used.

    The first six are the sums of the slopes of `a` times (X, Y, 1) times what is left of `b`, pulled through `matrix`,
    after `gain` times `a` is taken off and the rest limited.
    """
    width = a.shape[1]
    line, use = np.zeros(width, np.float32), np.zeros(width, np.float32)
    gx, gy, gb = np.zeros(width, np.float32), np.zeros(width, np.float32), np.zeros(width, np.float32)
    work, whole = np.empty((13, width), np.float32), np.empty((2, width), np.int32)
    out = np.zeros((BLOCKS * BLOCKS, SCORES))
    part = np.empty(10)
    cy, cx, sy, sx = frame[0], frame[1], frame[2], frame[3]
    rows, columns = box[1] - box[0], box[3] - box[2]
    used = 0.0
    for r in range(rows):
        y = box[0] + r
        pull(b, y, matrix, margin, poly, work, whole, line, use)
        _along(a[y], gx)
        _along(line, gb)
        _across(a[y - 2], a[y - 1], a[y + 1], a[y + 2], gy)
        big_y = (y - cy) / sy
        for j in range(BLOCKS):
            low, high = box[2] + j * columns // BLOCKS, box[2] + (j + 1) * columns // BLOCKS
            if high <= low:
                continue
            _scores(
                a[y][low:high], line[low:high], use[low:high], gx[low:high], gy[low:high], gb[low:high],
                np.float32(gain), np.float32(limit), part,
            )  # fmt: skip
            middle = ((low + high - 1) / 2 - cx) / sx
            target = out[(r * BLOCKS // rows) * BLOCKS + j]
            target[0] += part[1] + sx * middle * part[0]
            target[1] += sx * big_y * part[0]
            target[2] += sx * part[0]
            target[3] += sy / sx * part[3] + sy * middle * part[2]
            target[4] += sy * big_y * part[2]
            target[5] += sy * part[2]
            for k in range(6):
                target[6 + k] += part[4 + k]
        for x in range(box[2], box[3]):
            used += use[x]
    return out, used


@njit(**_OPTIONS)
def warped(b: Any, matrix: Any, margin: int, poly: Any, height: int, width: int) -> Any:
    """Image taken at places given by a matrix; 0 where they fall outside its margins."""
    out = np.zeros((height, width), np.float32)
    use = np.zeros(width, np.float32)
    work, whole = np.empty((13, width), np.float32), np.empty((2, width), np.int32)
    for y in range(height):
        pull(b, y, matrix, margin, poly, work, whole, out[y], use)
    return out
