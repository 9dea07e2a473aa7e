"""Compiled loops of :mod:`stack3d.kernels.phase`.

The band of a spectrum is a list of rows, two of opposite number after each other (the upper one first), padded with
zeros to whole blocks of 16 columns; row `r` occupies ``start[r]:start[r + 1]`` of the flat arrays and begins at column
``first[r]``, the same for both of a pair. Real and imaginary parts are kept apart, and sums run along the rows of the
band with one accumulator a column: vector instructions without reordering a sum. Places are counted without sign: an
index that may be negative keeps the compiler from vector instructions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

LIMIT = 0.9  # structures move by themselves: no coherence is worth more than this
NEAR = 0.1  # binned pixels; after a Newton step shorter than this, what is left is about its cube
STILL = 0.01  # binned pixels; over such a step the weights stay as they are
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_0, _1, _2, _3, _4, _8 = (np.uint64(k) for k in (0, 1, 2, 3, 4, 8))
_16, _32, _48, _64, _80 = (np.uint64(16 * k) for k in range(1, 6))


@njit(**_OPTIONS)
def cross(a: Any, b: Any, order: Any, begin: Any) -> Any:
    """Cross-spectrum conj(a) b of two bands, and the sum of its squared magnitude in each cell."""
    out = np.empty_like(a)
    a0, a1, b0, b1, o0, o1 = a[0], a[1], b[0], b[1], out[0], out[1]
    squared = np.empty(a0.size, np.float32)
    for k in range(a0.size):
        o0[k] = a0[k] * b0[k] + a1[k] * b1[k]
    for k in range(a0.size):
        o1[k] = a0[k] * b1[k] - a1[k] * b0[k]
    for k in range(a0.size):
        squared[k] = o0[k] * o0[k] + o1[k] * o1[k]
    return out, sums_of_cells(squared, order, begin)


@njit(**_OPTIONS)
def sums_of_cells(values: Any, order: Any, begin: Any) -> Any:
    """Sum of the coefficients of each cell, in their order: sums stay in registers, four to a cell."""
    out = np.empty(begin.size - 1)
    for c in range(out.size):
        low, high = np.uint64(begin[c]), np.uint64(begin[c + 1])
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        whole = low + (high - low) // _4 * _4
        for k in range(low, whole, _4):
            s0 += values[order[k]]
            s1 += values[order[k + _1]]
            s2 += values[order[k + _2]]
            s3 += values[order[k + _3]]
        for k in range(whole, high):
            s0 += values[order[k]]
        out[c] = (s0 + s1) + (s2 + s3)
    return out


@njit(**_OPTIONS)
def spread_out(of_cells: Any, cell: Any) -> Any:
    """Value of the cell of each coefficient."""
    out = np.empty(cell.size, np.float32)
    for k in range(np.uint64(cell.size)):
        out[k] = of_cells[cell[k]]
    return out


@njit(**_OPTIONS)
def turns(angle: float, count: int) -> Any:
    """Cosine and sine of 0, 1, 2 ... times an angle, each turned on from those before, to float64.

    At least `count` of them, in whole blocks of 16.
    """
    size = np.uint64(16 * ((max(count, 1) + 15) // 16))
    c, s = np.empty(size), np.empty(size)
    c[0], s[0] = 1.0, 0.0
    for by in (_1, _2, _4, _8):
        turn_c, turn_s = math.cos(angle * by), math.sin(angle * by)
        for k in range(by):
            c[k + by] = c[k] * turn_c - s[k] * turn_s
            s[k + by] = s[k] * turn_c + c[k] * turn_s
    turn_c, turn_s = math.cos(angle * 16), math.sin(angle * 16)
    for done in range(_16, size, _16):
        for k in range(done - _16, done):
            c[k + _16] = c[k] * turn_c - s[k] * turn_s
            s[k + _16] = s[k] * turn_c + c[k] * turn_s
    return c, s


@njit(**_OPTIONS)
def _row_turns(signed: Any, angle: float) -> Any:
    """Cosine and sine of an angle times the number of the upper row of each pair, float32."""
    c, s = turns(angle, signed[signed.size - 2] + 1 if signed.size else 1)
    out_c, out_s = np.empty(signed.size // 2, np.float32), np.empty(signed.size // 2, np.float32)
    for pair in range(out_c.size):
        out_c[pair], out_s[pair] = c[signed[2 * pair]], s[signed[2 * pair]]
    return out_c, out_s


@njit(**_OPTIONS)
def coarse(cross: Any, weight: Any, cell: Any, start: Any, first: Any, signed: Any, kept: Any, out: Any) -> None:
    """Lay the weighted low part of a cross-spectrum into the half-plane transform of a small grid."""
    rows, columns = out.shape
    out[:] = 0
    c0, c1 = cross[0], cross[1]
    for r in range(signed.size):
        if 2 * abs(signed[r]) >= rows:
            continue
        line = out[signed[r] if signed[r] >= 0 else rows + signed[r]]
        shift = np.uint64(start[r] - first[r])
        for x in range(np.uint64(kept[r, 0]), np.uint64(max(kept[r, 0], min(kept[r, 1], columns - 1)))):
            w = weight[cell[x + shift]]
            line[x] = complex(w * c0[x + shift], w * c1[x + shift])


@njit(**_OPTIONS)
def peaks(values: Any, number: int, share: float = 0.0) -> Any:
    """Highest local maxima of a periodic correlation: (row, column, height), refined by parabolas, best first.

    With a `share`, what does not reach that share of the highest value (which may be infinitely low) may be left out.
    """
    n, m = values.shape
    found = np.zeros((number, 3))
    found[:, 2] = -np.inf
    heights = _highest(values)
    least = share * max(heights.max(), 0.0) if share > 0 else -np.inf
    for j in range(m):
        if not heights[j] > max(found[number - 1, 2], least):
            continue
        before, after = j - 1 if j > 0 else m - 1, j + 1 if j + 1 < m else 0
        for i in range(n):
            v = values[i, j]
            if v <= found[number - 1, 2] or v <= least:
                continue
            above, below = values[i - 1 if i > 0 else n - 1, j], values[i + 1 if i + 1 < n else 0, j]
            left, right = values[i, before], values[i, after]
            if v < left or v <= right or v < above or v <= below:
                continue
            place = number - 1
            while place > 0 and v > found[place - 1, 2]:
                found[place] = found[place - 1]
                place -= 1
            bend_y, bend_x = above + below - 2 * v, left + right - 2 * v
            found[place, 0] = i + (0.5 * (above - below) / bend_y if bend_y < 0 else 0.0)
            found[place, 1] = j + (0.5 * (left - right) / bend_x if bend_x < 0 else 0.0)
            found[place, 2] = v
    return found


@njit(**_OPTIONS)
def _highest(values: Any) -> Any:
    """Highest value of each column, NaN left out."""
    out = np.full(values.shape[1], -np.inf, values.dtype)
    for i in range(values.shape[0]):
        row = values[i]
        for j in range(row.size):
            out[j] = row[j] if row[j] > out[j] else out[j]
    return out


@njit(**_OPTIONS)
def cells(
    cross: Any, order: Any, begin: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int,
    dy: float, dx: float,
) -> Any:  # fmt: skip
    """Sum of the real part of the cross-spectrum, rotated back by a displacement, in each cell."""
    column_c, column_s = turns(step_x * dx, columns)
    wave_c, wave_s = column_c.astype(np.float32), column_s.astype(np.float32)
    row_c, row_s = _row_turns(signed, step_y * dy)
    c0, c1 = cross[0], cross[1]
    line = np.empty(c0.size, np.float32)
    for r in range(signed.size):
        cy, sy = row_c[r // 2], row_s[r // 2] if r % 2 == 0 else -row_s[r // 2]
        a, at = np.uint64(start[r]), np.uint64(first[r])
        for k in range(np.uint64(start[r + 1]) - a):
            line[a + k] = c0[a + k] * (wave_c[at + k] * cy - wave_s[at + k] * sy) - c1[a + k] * (
                wave_s[at + k] * cy + wave_c[at + k] * sy
            )
    return sums_of_cells(line, order, begin)


@njit(**_OPTIONS)
def moments(
    cross: Any, weight: Any, cell: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int,
    dy: float, dx: float,
) -> Any:  # fmt: skip
    """Objective at a displacement, with its gradient and Hessian: (L, gy, gx, hyy, hyx, hxx)."""
    ends = np.zeros((signed.size // 2, 2), np.int64)
    for pair in range(ends.shape[0]):
        ends[pair, 1] = start[2 * pair + 1] - start[2 * pair]
    weights = weight.reshape((1, weight.size))
    return moments_of_parts(cross, weights, cell, ends, start, first, signed, step_y, step_x, columns, dy, dx)[0]


@njit(**_OPTIONS)
def moments_of_parts(
    cross: Any, weights: Any, cell: Any, ends: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float,
    columns: int, dy: float, dx: float,
) -> Any:  # fmt: skip
    """:func:`moments` of parts of the band, each with weights of its own, that are 0 outside of it.

    Part `p` lies, in both rows of a pair, between ``ends[pair, p]`` and ``ends[pair, p + 1]`` from where they start.
    The rows of a pair turn by opposite angles: with their sum A and their difference B, the sum of the turned ones is
    ``A cos + i B sin`` and their difference ``B cos + i A sin``.
    """
    parts, width = ends.shape[1] - 1, 16 * ((columns + 15) // 16)
    sums = np.zeros(parts * 6 * width, np.float32)
    row_c, row_s = _row_turns(signed, step_y * dy)
    re, im = cross[0], cross[1]
    upper, lower = np.empty(width, np.float32), np.empty(width, np.float32)
    for pair in range(row_c.size):
        c, s = row_c[pair], row_s[pair]
        k1 = np.float32(step_y * signed[2 * pair])
        k2 = k1 * k1
        a, b = np.uint64(start[2 * pair]), np.uint64(start[2 * pair + 1])
        for part in range(parts):
            low, high = np.uint64(ends[pair, part]) // _16 * _16, np.uint64(ends[pair, part + 1] + 15) // _16 * _16
            if ends[pair, part] == ends[pair, part + 1]:
                continue
            weight = weights[part]
            for x in range(low, high):
                upper[x] = weight[cell[a + x]]
            for x in range(low, high):
                lower[x] = weight[cell[b + x]]
            shift = np.uint64(6 * (part * width + first[2 * pair]))
            for x in range(low, high, _16):
                p, q, t = a + x, b + x, shift + np.uint64(6) * x
                for k in range(_16):
                    w, v = upper[x + k], lower[x + k]
                    up_r, up_i, down_r, down_i = w * re[p + k], w * im[p + k], v * re[q + k], v * im[q + k]
                    a_r, a_i, b_r, b_i = up_r + down_r, up_i + down_i, up_r - down_r, up_i - down_i
                    sum_r, sum_i = a_r * c - b_i * s, a_i * c + b_r * s
                    gap_r, gap_i = b_r * c - a_i * s, b_i * c + a_r * s
                    sums[t + k] += sum_r
                    sums[t + k + _16] += sum_i
                    sums[t + k + _32] += k1 * gap_r
                    sums[t + k + _48] += k1 * gap_i
                    sums[t + k + _64] += k2 * sum_r
                    sums[t + k + _80] += k2 * sum_i
    column_c, column_s = turns(step_x * dx, columns)
    out = np.zeros((parts, 6))
    for part in range(parts):
        _add_columns(sums[part * 6 * width : (part + 1) * 6 * width], column_c, column_s, step_x, out[part])
    return out


@njit(**_OPTIONS)
def _add_columns(sums: Any, column_c: Any, column_s: Any, step_x: float, out: Any) -> None:
    """Turn the sums of the columns, six to a block of 16, and add them up."""
    for x in range(column_c.size):
        at = x // 16 * 96 + x % 16
        kx, c, s = step_x * x, column_c[x], column_s[x]
        real, imag = sums[at] * c - sums[at + 16] * s, sums[at] * s + sums[at + 16] * c
        slope_r, slope_i = sums[at + 32] * c - sums[at + 48] * s, sums[at + 32] * s + sums[at + 48] * c
        out[0] += real
        out[1] -= slope_i
        out[2] -= kx * imag
        out[3] -= sums[at + 64] * c - sums[at + 80] * s
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
    cross: Any, weight: Any, cell: Any, start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int,
    dy: float, dx: float, steps: int, longest: float, near: float,
) -> Any:  # fmt: skip
    """Newton steps from a displacement, until one is shorter than `near`."""
    for _ in range(steps):
        found = moments(cross, weight, cell, start, first, signed, step_y, step_x, columns, dy, dx)
        sy, sx = newton(found, longest)
        dy += sy
        dx += sx
        if sy * sy + sx * sx < near * near:
            break
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
