"""Compiled loops that make frames small, and cut out of two of them what both show, freed of its trend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_CLIP = 6.0  # residual grey values beyond this many (mean-absolute) deviations are clipped
_DIGITS = 2047.0
_LANES = 16  # rows of digits are filled up with zeros to a multiple of it
_BLOCK = 512  # products of two digits that a sum in 32 bits holds
_SPARE = _BLOCK + 64  # zeros after the last row: sums of products run over whole blocks, and over what is shifted
_FIXED = 262144.0  # pixels are counted in parts of this: sums of whole numbers are exact in any order, and so fast


@njit(**_OPTIONS)
def shrink(values: Any, b: int) -> Any:
    """Average b x b pixels of an array."""
    n, m = values.shape[0] // b, values.shape[1] // b
    out = np.empty((n, m), np.float32)
    row = np.empty(m * b, np.float32)
    for i in range(n):
        row[:] = 0
        for k in range(b):
            line = values[i * b + k]
            for x in range(m * b):
                row[x] += line[x]
        for j in range(m):
            total = np.float32(0)
            for k in range(b):
                total += row[j * b + k]
            out[i, j] = total / np.float32(b * b)
    return out


@njit(**_OPTIONS)
def overlap(a: Any, b: Any, dy: int, dx: int) -> Any:
    """Cut out of two frames what both show when the second lies (dy, dx) further on, each freed of its trend, in digits.

    The pixels are within -1 ... 1, 120 along a side at most.
    """
    n, m = a.shape
    top, left = max(0, -dy), max(0, -dx)
    rows, cols = n - abs(dy), m - abs(dx)
    one = freed(a, top, left, rows, cols)
    return one, freed(b, top + dy, left + dx, rows, cols)


@njit(**_OPTIONS)
def freed(pixels: Any, top: int, left: int, n: int, m: int) -> Any:
    """Take mean and slope out of every row, then of every column of a part, clip what stands far out, give digits."""
    values = np.zeros((n, -(-m // _LANES) * _LANES), np.float32)
    columns = np.zeros((3, m), np.float32)
    _free_rows(pixels, top, left, values, columns)
    mean, slope, deviation = columns
    for j in range(m):
        mean[j] /= np.float32(n)
        slope[j] *= np.float32(12 / max(n * (n * n - 1.0), 1.0))
    for i in range(n):
        row, at = values[i], np.float32(i - (n - 1) / 2)
        for j in range(m):
            row[j] -= mean[j] + at * slope[j]
            deviation[j] += abs(row[j])
    total = 0.0
    for j in range(m):
        total += deviation[j]
    return digits(values, np.float32(_CLIP * (total / (n * m))))


@njit(**_OPTIONS)
def _free_rows(pixels: Any, top: int, left: int, values: Any, columns: Any) -> None:
    """Copy a part without the mean and slope of its rows, and add up its columns, also by distance from the middle."""
    n, m = values.shape[0], columns.shape[1]
    weight, distance = np.empty(m, np.int32), np.empty(m, np.float32)
    for j in range(m):
        weight[j], distance[j] = 2 * j - (m - 1), j - (m - 1) / 2
    means, slopes = columns[0], columns[1]
    of_mean, of_slope = 1 / (_FIXED * m), 6 / (_FIXED * max(m * (m * m - 1.0), 1.0))
    for i in range(n):
        line, row = pixels[top + i, left : left + m], values[i]
        sums: Any = (np.int32(0), np.int32(0))
        s, w = sums
        for j in range(m):
            fixed = np.int32(line[j] * np.float32(_FIXED))
            s = np.int32(s + fixed)
            w = np.int32(w + np.int32(fixed * weight[j]))
        mean, slope, at = np.float32(s * of_mean), np.float32(w * of_slope), np.float32(i - (n - 1) / 2)
        for j in range(m):
            value = line[j] - (mean + slope * distance[j])
            row[j] = value
            means[j] += value
            slopes[j] += at * value


@njit(**_OPTIONS)
def digits(values: Any, top: Any) -> Any:
    """Clip an array to -top ... top, and scale it to whole numbers of 12 bits; zeros follow its rows.

    Their sums are exact in any order, which is what makes them fast.
    """
    n, stride = values.shape
    out = np.empty((n + -(-_SPARE // stride), stride), np.int16)
    scale = np.float32(_DIGITS) / top if top > 0 else np.float32(0)
    old, new = values.reshape(-1), out.reshape(-1)
    new[n * stride :] = 0
    for k in range(n * stride):
        new[k] = np.int16(np.rint(min(max(old[k], -top), top) * scale))
    return out


@njit(**_OPTIONS)
def product(a: Any, b: Any, start: int, other: int, number: int) -> Any:
    """Sum of the products of digits of two arrays as they lie in memory, from a start in each; blocks are filled up."""
    first, second = a.reshape(-1), b.reshape(-1)
    total: Any = 0
    for block in range(-(-number // _BLOCK)):
        p = first[start + block * _BLOCK : start + (block + 1) * _BLOCK]
        q = second[other + block * _BLOCK : other + (block + 1) * _BLOCK]
        part: Any = np.int32(0)
        for k in range(_BLOCK):
            part = np.int32(part + np.int32(np.int32(p[k]) * np.int32(q[k])))
        total += part
    return total


@njit(**_OPTIONS)
def lines(a: Any, n: int, m: int) -> Any:
    """Sums of the values and of their squares (second index) over the first rows, and over the first columns."""
    out = np.zeros((2, 2, max(n, m) + 1), np.int64)
    columns = np.zeros((2, a.shape[1]), np.int32)
    values, squares = columns[0], columns[1]
    for i in range(n):
        row = a[i]
        sums: Any = (np.int32(0), np.int32(0))
        s, ss = sums
        for j in range(row.size):
            x = np.int32(row[j])
            xx = np.int32(x * x)
            s = np.int32(s + x)
            ss = np.int32(ss + xx)
            values[j] = np.int32(values[j] + x)
            squares[j] = np.int32(squares[j] + xx)
        out[0, 0, i + 1] = out[0, 0, i] + s
        out[0, 1, i + 1] = out[0, 1, i] + ss
    for j in range(m):
        out[1, 0, j + 1] = out[1, 0, j] + values[j]
        out[1, 1, j + 1] = out[1, 1, j] + squares[j]
    return out


@njit(**_OPTIONS)
def lag(a: Any, sums: Any, n: int, m: int, axis: int, k: int) -> Any:
    """Correlation of a part with itself k pixels on along an axis; `sums` are its :func:`lines`."""
    stride, size = a.shape[1], m if axis == 1 else n
    if axis == 0:
        number, total = (n - k) * m, product(a, a, 0, k * stride, (n - k) * stride)
    else:
        number, total = n * (m - k), product(a, a, 0, k, n * stride)
        # but what lies beyond the end of a row is the next one
        for i in range(n - 1):
            row, after = a[i], a[i + 1]
            for j in range(stride - k, m):
                total -= np.int64(row[j]) * np.int64(after[j + k - stride])
    values, squares = sums[axis, 0], sums[axis, 1]
    first = (values[size - k], squares[size - k])
    return correlation(total, first, (values[size] - values[k], squares[size] - squares[k]), number)


@njit(**_OPTIONS)
def correlation(total: Any, of_a: Any, of_b: Any, number: int) -> float:
    """Pearson's correlation from the sum of products and from the sums of the values and of their squares."""
    first, second = of_a[1] - of_a[0] * of_a[0] / number, of_b[1] - of_b[0] * of_b[0] / number
    above = total - of_a[0] * of_b[0] / number
    return above / math.sqrt(first * second) if first > 0 and second > 0 else 0.0
