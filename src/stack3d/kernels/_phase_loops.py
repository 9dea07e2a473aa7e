"""Compiled loops of :mod:`stack3d.kernels.phase`.

The band of a spectrum is a list of rows, each a run of neighbouring columns; row `r` occupies ``start[r]:start[r + 1]``
of the flat arrays and begins at column ``first[r]``. Real and imaginary parts are kept apart, and sums run along the
rows of the band with one accumulator a column: vector instructions without reordering a sum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

LIMIT = 0.9  # structures move by themselves: no coherence is worth more than this
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def cross(a: Any, b: Any, cell: Any, number: int) -> Any:
    """Cross-spectrum conj(a) b of two bands, and the sum of its squared magnitude in each cell."""
    out = np.empty_like(a)
    a0, a1, b0, b1, o0, o1 = a[0], a[1], b[0], b[1], out[0], out[1]
    size = a0.size
    squared = np.empty(size, np.float32)
    for k in range(size):
        o0[k] = a0[k] * b0[k] + a1[k] * b1[k]
        o1[k] = a0[k] * b1[k] - a1[k] * b0[k]
        squared[k] = o0[k] * o0[k] + o1[k] * o1[k]
    sums = np.zeros((4, number), np.float64)
    add_to_cells(squared, cell, size, sums)
    return out, sums_of_four(sums)


@njit(**_OPTIONS)
def add_to_cells(values: Any, cell: Any, size: int, sums: Any) -> None:
    """Add values to the sums of their cells, in four tables: neighbours share a cell and would wait for each other."""
    s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
    whole = size - size % 4
    for k in range(0, whole, 4):
        s0[cell[k]] += values[k]
        s1[cell[k + 1]] += values[k + 1]
        s2[cell[k + 2]] += values[k + 2]
        s3[cell[k + 3]] += values[k + 3]
    for k in range(whole, size):
        s0[cell[k]] += values[k]


@njit(**_OPTIONS)
def sums_of_four(sums: Any) -> Any:
    total = np.empty(sums.shape[1], np.float64)
    for c in range(total.size):
        total[c] = (sums[0, c] + sums[1, c]) + (sums[2, c] + sums[3, c])
    return total


@njit(**_OPTIONS)
def turns(angle: float, count: int) -> Any:
    """Cosine and sine of 0, 1, 2 ... times an angle: those of multiples of 16 turned by those below, to float64."""
    low_c, low_s = np.empty(16), np.empty(16)
    for k in range(16):
        low_c[k], low_s[k] = math.cos(angle * k), math.sin(angle * k)
    c, s = np.empty(count), np.empty(count)
    for begin in range(0, count, 16):
        high_c, high_s = math.cos(angle * begin), math.sin(angle * begin)
        for k in range(min(16, count - begin)):
            c[begin + k] = high_c * low_c[k] - high_s * low_s[k]
            s[begin + k] = high_s * low_c[k] + high_c * low_s[k]
    return c, s


@njit(**_OPTIONS)
def _row_turns(signed: Any, angle: float) -> Any:
    """Cosine and sine of an angle times the number of each row, float32."""
    rows = signed.size
    c, s = turns(angle, max(abs(signed[0]), abs(signed[-1])) + 1 if rows else 1)
    out_c, out_s = np.empty(rows, np.float32), np.empty(rows, np.float32)
    for r in range(rows):
        n = abs(signed[r])
        out_c[r] = c[n]
        out_s[r] = s[n] if signed[r] >= 0 else -s[n]
    return out_c, out_s


@njit(**_OPTIONS)
def coarse(cross: Any, weight: Any, cell: Any, start: Any, first: Any, signed: Any, out: Any) -> None:
    """Lay the weighted low part of a cross-spectrum into the half-plane transform of a small grid."""
    rows, columns = out.shape
    out[:] = 0
    for r in range(signed.size):
        if 2 * abs(signed[r]) >= rows:
            continue
        line = out[signed[r] if signed[r] >= 0 else rows + signed[r]]
        for k in range(start[r], start[r + 1]):
            x = first[r] + k - start[r]
            if x >= columns - 1:
                break
            w = weight[cell[k]]
            line[x] = complex(w * cross[0, k], w * cross[1, k])


@njit(**_OPTIONS)
def peaks(values: Any, number: int) -> Any:
    """Highest local maxima of a periodic correlation: (row, column, height), refined by parabolas, best first."""
    n, m = values.shape
    found = np.zeros((number, 3))
    found[:, 2] = -np.inf
    for i in range(n):
        row, above, below = values[i], values[i - 1], values[(i + 1) % n]
        for j in range(m):
            v = row[j]
            if v <= found[number - 1, 2]:
                continue
            left, right = row[j - 1], row[(j + 1) % m]
            if v < left or v <= right or v < above[j] or v <= below[j]:
                continue
            place = number - 1
            while place > 0 and v > found[place - 1, 2]:
                found[place] = found[place - 1]
                place -= 1
            bend_y, bend_x = above[j] + below[j] - 2 * v, left + right - 2 * v
            found[place, 0] = i + (0.5 * (above[j] - below[j]) / bend_y if bend_y < 0 else 0.0)
            found[place, 1] = j + (0.5 * (left - right) / bend_x if bend_x < 0 else 0.0)
            found[place, 2] = v
    return found


@njit(**_OPTIONS)
def cells(
    cross: Any, cell: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int, number: int,
    dy: float, dx: float,
) -> Any:  # fmt: skip
    """Sum of the real part of the cross-spectrum, rotated back by a displacement, in each cell."""
    sums = np.zeros((4, number), np.float64)
    column_c, column_s = turns(step_x * dx, columns)
    wave_c, wave_s = column_c.astype(np.float32), column_s.astype(np.float32)
    row_c, row_s = _row_turns(signed, step_y * dy)
    line = np.empty(cell.size, np.float32)
    for r in range(signed.size):
        cy, sy = row_c[r], row_s[r]
        begin, end = start[r], start[r + 1]
        re, im, out = cross[0, begin:end], cross[1, begin:end], line[begin:end]
        c, s = wave_c[first[r] : first[r] + end - begin], wave_s[first[r] : first[r] + end - begin]
        for k in range(end - begin):
            out[k] = re[k] * (c[k] * cy - s[k] * sy) - im[k] * (s[k] * cy + c[k] * sy)
    add_to_cells(line, cell, cell.size, sums)
    return sums_of_four(sums)


@njit(**_OPTIONS)
def weigh(cross: Any, weight: Any, cell: Any, out: Any) -> None:
    """Multiply a cross-spectrum with the weight of its cells."""
    for k in range(cell.size):
        w = weight[cell[k]]
        out[0, k] = w * cross[0, k]
        out[1, k] = w * cross[1, k]


@njit(**_OPTIONS)
def moments(
    weighed: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int, dy: float, dx: float
) -> Any:
    """Objective at a displacement, with its gradient and Hessian: (L, gy, gx, hyy, hyx, hxx)."""
    ends = np.empty((signed.size, 2), np.int64)
    for r in range(signed.size):
        ends[r, 0], ends[r, 1] = start[r], start[r + 1]
    return moments_of_parts(weighed, ends, start, first, signed, step_y, step_x, columns, dy, dx)[0]


@njit(**_OPTIONS)
def moments_of_parts(
    weighed: Any, ends: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int, dy: float,
    dx: float,
) -> Any:  # fmt: skip
    """:func:`moments` of the parts of the band that lie, in row `r`, between ``ends[r, p]`` and ``ends[r, p + 1]``."""
    parts = ends.shape[1] - 1
    sums = np.zeros((parts, 6, columns), np.float32)
    row_c, row_s = _row_turns(signed, step_y * dy)
    for r in range(signed.size):
        cy, sy = row_c[r], row_s[r]
        k1 = np.float32(step_y * signed[r])
        k2 = k1 * k1
        for p in range(parts):
            begin, count = ends[r, p], ends[r, p + 1] - ends[r, p]
            at = first[r] + begin - start[r]
            re, im = weighed[0, begin : begin + count], weighed[1, begin : begin + count]
            p0, q0 = sums[p, 0, at : at + count], sums[p, 1, at : at + count]
            p1, q1 = sums[p, 2, at : at + count], sums[p, 3, at : at + count]
            p2, q2 = sums[p, 4, at : at + count], sums[p, 5, at : at + count]
            for k in range(count):
                tr = re[k] * cy - im[k] * sy
                ti = re[k] * sy + im[k] * cy
                p0[k] += tr
                q0[k] += ti
                p1[k] += k1 * tr
                q1[k] += k1 * ti
                p2[k] += k2 * tr
                q2[k] += k2 * ti
    column_c, column_s = turns(step_x * dx, columns)
    out = np.zeros((parts, 6))
    for p in range(parts):
        _add_columns(sums[p], column_c, column_s, step_x, out[p])
    return out


@njit(**_OPTIONS)
def _add_columns(sums: Any, column_c: Any, column_s: Any, step_x: float, out: Any) -> None:
    for x in range(column_c.size):
        kx, c, s = step_x * x, column_c[x], column_s[x]
        real, imag = sums[0, x] * c - sums[1, x] * s, sums[0, x] * s + sums[1, x] * c
        slope_r, slope_i = sums[2, x] * c - sums[3, x] * s, sums[2, x] * s + sums[3, x] * c
        out[0] += real
        out[1] -= slope_i
        out[2] -= kx * imag
        out[3] -= sums[4, x] * c - sums[5, x] * s
        out[4] -= kx * slope_r
        out[5] -= kx * kx * real


@njit(**_OPTIONS)
def newton(found: Any, longest: float) -> Any:
    """Step (y, x) towards the maximum, at most `longest` pixels; along the slope where the surface is not a hill."""
    gy, gx, hyy, hyx, hxx = found[1], found[2], found[3], found[4], found[5]
    determinant = hyy * hxx - hyx * hyx
    if hyy < 0 and hxx < 0 and determinant > 1e-6 * hyy * hxx:
        sy = -(hxx * gy - hyx * gx) / determinant
        sx = -(hyy * gx - hyx * gy) / determinant
    else:
        slope = math.sqrt(gy * gy + gx * gx)
        if not slope > 0:
            return 0.0, 0.0
        sy, sx = gy / slope * longest / 2, gx / slope * longest / 2
    length = math.sqrt(sy * sy + sx * sx)
    if length > longest:
        sy, sx = sy * longest / length, sx * longest / length
    return sy, sx


@njit(**_OPTIONS)
def climb(
    weighed: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int, dy: float, dx: float,
    steps: int, longest: float,
) -> Any:  # fmt: skip
    """Newton steps from a displacement."""
    for _ in range(steps):
        found = moments(weighed, start, first, signed, step_y, step_x, columns, dy, dx)
        sy, sx = newton(found, longest)
        dy += sy
        dx += sx
    return dy, dx


@njit(**_OPTIONS)
def learn(sums: Any, squares: Any, counts: Any, ring: Any, axis: Any, rings: int, dof: float) -> Any:
    """Coherence of each cell, its maximum-likelihood weight, and how far all stand above chance.

    `sums` holds the real part of the whitened, aligned cross-spectrum, `squares` its squared magnitude: chance alone
    gives a sum with half of that for variance. The coherence of a cell is drawn towards that of its ring, rings are
    smoothed with their neighbours, and what chance gives is taken off. The significance is the signed root of twice the
    logarithm of the odds against chance, for a sum of `cells / 2` squared normal numbers.
    """
    total, number = np.zeros(rings + 2), np.zeros(rings + 2)
    above, cells_used = 0.0, 0
    for c in range(counts.size):
        if not axis[c]:
            total[ring[c] + 1] += sums[c]
            number[ring[c] + 1] += counts[c]
        if squares[c] > 0:
            cells_used += 1
            above += max(sums[c], 0.0) ** 2 * 2 * dof / squares[c]
    usual = cells_used / 2
    significance = 0.0
    if above > usual > 0:
        significance = math.sqrt(above - usual - usual * math.log(above / usual))
    coherence, weight = np.zeros(counts.size), np.zeros(counts.size)
    for c in range(counts.size):
        if counts[c] == 0:
            continue
        r = ring[c] + 1
        near = number[r - 1] / 4 + number[r] / 2 + number[r + 1] / 4
        mean = (total[r - 1] / 4 + total[r] / 2 + total[r + 1] / 4) / near if near > 0 else 0.0
        extra = (8 if axis[c] else 32) / dof
        value = (sums[c] + extra * mean) / (counts[c] + extra)
        if value > 0:
            squared = value * value - squares[c] / counts[c] / (2 * dof * (counts[c] + extra))
            value = math.sqrt(squared) if squared > 0 else 0.0
            coherence[c] = min(value, 1.0)
            value = min(value, LIMIT)
            weight[c] = value / (1 - value * value)
    return coherence, weight, significance
