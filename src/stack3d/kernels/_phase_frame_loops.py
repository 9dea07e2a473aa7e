"""Compiled loops from a frame to the whitened band of its spectrum, for :mod:`stack3d.kernels.phase`.

How the band is laid out is said in :mod:`stack3d.kernels._phase_loops`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._phase_loops import spread_out, sums_of_cells

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_0, _1, _2, _3, _4 = (np.uint64(k) for k in range(5))


@njit(**_OPTIONS)
def bin_integers(frame: Any, b: int, work: Any, n: int, m: int) -> Any:
    """Average b x b pixels of a frame of small integers, exactly."""
    out = np.empty((n, m), np.float32)
    scale = 1.0 / (b * b)
    for i in range(n):
        row = frame[i * b]
        for x in range(m * b):
            work[x] = row[x]
        for k in range(1, b):
            row = frame[i * b + k]
            for x in range(m * b):
                work[x] += row[x]
        if b == 1:
            for j in range(m):
                out[i, j] = work[j]
        elif b == 2:
            for j in range(m):
                out[i, j] = (work[2 * j] + work[2 * j + 1]) * scale
        elif b == 4:
            for j in range(m):
                out[i, j] = (work[4 * j] + work[4 * j + 1] + work[4 * j + 2] + work[4 * j + 3]) * scale
        else:
            for j in range(m):
                total = work[j * b]
                for k in range(1, b):
                    total += work[j * b + k]
                out[i, j] = total * scale
    return out


@njit(**_OPTIONS)
def bin_reals(frame: Any, b: int, n: int, m: int) -> Any:
    """Average b x b pixels about a reference value in float64, leaving out what is not finite.

    Returns the average, the number of empty blocks, and the largest magnitude met (for the precision of the input).
    """
    out = np.empty((n, m), np.float32)
    reference, found = 0.0, 0
    largest = 0.0
    for y in range(0, n * b, max(1, n * b // 64)):
        for x in range(0, m * b, max(1, m * b // 64)):
            value = np.float64(frame[y, x])
            if math.isfinite(value):
                found += 1
                reference += (value - reference) / found
                largest = max(largest, abs(value))
    missing = 0
    if b == 1:
        for i in range(n):
            row, new, unknown = frame[i], out[i], 0
            for j in range(np.uint64(m)):
                value = np.float64(row[j]) - reference
                new[j] = value if abs(value) < np.inf else np.nan
            for j in range(np.uint64(m)):
                unknown += 1 if math.isnan(new[j]) else 0
            missing += unknown
        return out, missing, largest
    total = np.empty(m * b, np.float64)
    count = np.empty(m * b, np.int32)
    for i in range(n):
        total[:] = 0.0
        count[:] = 0
        for k in range(b):
            row = frame[i * b + k]
            for x in range(m * b):
                value = np.float64(row[x]) - reference
                good = abs(value) < np.inf
                total[x] += value if good else 0.0
                count[x] += np.int32(1 if good else 0)
        for j in range(m):
            value, number = np.float64(0), 0
            for k in range(b):
                value += total[j * b + k]
                number += count[j * b + k]
            if number == 0:
                missing += 1
                out[i, j] = np.nan
            else:
                out[i, j] = value / number
    return out, missing, largest


@njit(**_OPTIONS)
def flatten(values: Any, trend_y: Any, trend_x: Any) -> Any:
    """Take mean and slope out of every row and column, in place; also give the mean-absolute deviation."""
    n, m = values.shape
    size = np.uint64(m)
    parts = np.empty((2, m), np.float32)
    columns = np.zeros((2, m), np.float32)
    level, slope, column_level, column_slope = trend_x[0], trend_x[1], columns[0], columns[1]
    for i in range(n):
        row = values[i]
        c0, c1 = _product(row, level, parts[0]), _product(row, slope, parts[1])
        for j in range(size):
            row[j] -= c0 * level[j] + c1 * slope[j]
        t0, t1 = trend_y[0, i], trend_y[1, i]
        for j in range(size):
            column_level[j] += t0 * row[j]
        for j in range(size):
            column_slope[j] += t1 * row[j]
    sums = np.zeros(m, np.float32)
    for i in range(n):
        row = values[i]
        t0, t1 = trend_y[0, i], trend_y[1, i]
        for j in range(size):
            row[j] -= t0 * column_level[j] + t1 * column_slope[j]
        for j in range(size):
            sums[j] += abs(row[j])
    deviation = 0.0
    for j in range(m):
        deviation += sums[j]
    return values, deviation / (n * m)


@njit(**_OPTIONS)
def _product(row: Any, trend: Any, part: Any) -> Any:
    """Scalar product; four quarters of a row are added side by side, so that no sum waits for the one before."""
    quarter = np.uint64(row.size // 32 * 8)
    half, last = quarter + quarter, quarter + quarter + quarter
    for k in range(quarter):
        lower = row[k] * trend[k] + row[k + quarter] * trend[k + quarter]
        part[k] = lower + (row[k + half] * trend[k + half] + row[k + last] * trend[k + last])
    s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for k in range(_0, quarter, _4):
        s0 += part[k]
        s1 += part[k + _1]
        s2 += part[k + _2]
        s3 += part[k + _3]
    for k in range(half + half, np.uint64(row.size)):
        s0 += row[k] * trend[k]
    return (s0 + s1) + (s2 + s3)


@njit(**_OPTIONS)
def taper(values: Any, window_y: Any, window_x: Any, limit: float, scale: float) -> None:
    """Clip at +-limit, multiply with the window and scale, in place."""
    n, m = values.shape
    top = np.float32(limit)
    for i in range(n):
        row = values[i]
        factor = np.float32(scale) * window_y[i]
        for j in range(m):
            row[j] = min(max(row[j], -top), top) * (factor * window_x[j])


@njit(**_OPTIONS)
def gather(
    part: Any, rows: Any, start: Any, first: Any, kept: Any, order: Any, begin: Any, cell: Any, counts: Any, ring: Any,
    axis: Any, rings: int,
) -> Any:  # fmt: skip
    """Take the band out of a transform and whiten it cell by cell; also give the power of the cells."""
    size = start[-1]
    out = np.zeros((2, size), np.float32)
    re, im = out[0], out[1]
    for r in range(rows.size):
        line = part[rows[r]]
        shift = np.uint64(start[r] - first[r])
        for x in range(np.uint64(kept[r, 0]), np.uint64(kept[r, 1])):
            re[x + shift] = line[x].real
            im[x + shift] = line[x].imag
    squared = np.empty(size)
    for k in range(size):
        squared[k] = re[k] * re[k] + im[k] * im[k]
    power, factor = whitening(sums_of_cells(squared, order, begin), counts, ring, axis, rings)
    wide = spread_out(factor, cell)
    for k in range(size):
        re[k] *= wide[k]
    for k in range(size):
        im[k] *= wide[k]
    return out, power


@njit(**_OPTIONS)
def whitening(sums: Any, counts: Any, ring: Any, axis: Any, rings: int) -> Any:
    """Power of cells from their sums, and the factors that whiten them.

    What a cell near an axis has more than twice the power of its ring is taken for stripes: it counts as no more than
    that, and its coefficients are made small beyond whitening.
    """
    total, number = np.zeros(rings), np.zeros(rings)
    for c in range(counts.size):
        if not axis[c]:
            total[ring[c]] += sums[c]
            number[ring[c]] += counts[c]
    power, factor = np.zeros(counts.size, np.float32), np.zeros(counts.size, np.float32)
    for c in range(counts.size):
        r = ring[c]
        usual = total[r] / number[r] if number[r] > 0 else 0.0
        extra = 8.0 if number[r] > 0 else 0.0
        own = (sums[c] + extra * usual) / (counts[c] + extra) if counts[c] + extra > 0 else 0.0
        if own > 0:
            factor[c] = 1 / math.sqrt(own)
            if axis[c] and number[r] > 0 and own > 2 * usual:
                factor[c] *= 2 * usual / own
                own = 2 * usual
        power[c] = own
    return power, factor
