"""Compiled loops that make frames small, and cut out of two of them what both show, freed of its trend."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_CLIP = 6.0  # residual grey values beyond this many (mean-absolute) deviations are clipped
_DIGITS = 2047.0


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
def freed(part: Any) -> Any:
    """Take mean and slope out of every row, then of every column, clip what stands far out, and scale to digits.

    Whole numbers of 12 bits: their sums are exact in any order, which is what makes them fast.
    """
    n, m = part.shape
    middle_y, middle_x = (n - 1) / 2, (m - 1) / 2
    norm_y, norm_x = max(n * (n * n - 1) / 12, 1.0), max(m * (m * m - 1) / 12, 1.0)
    out = np.empty((n, m), np.float32)
    means, slopes, deviation = np.zeros(m, np.float32), np.zeros(m, np.float32), np.zeros(m, np.float32)
    for i in range(n):
        mean, slope = _line(part[i])
        mean, slope = mean / m, (slope - middle_x * mean) / norm_x
        base, step, far = np.float32(mean - slope * middle_x), np.float32(slope), np.float32(i - middle_y)
        row, line = part[i], out[i]
        for j in range(m):
            value = row[j] - (base + step * np.float32(j))
            line[j] = value
            means[j] += value
            slopes[j] += far * value
    for j in range(m):
        means[j] /= np.float32(n)
        slopes[j] /= np.float32(norm_y)
    for i in range(n):
        line, far = out[i], np.float32(i - middle_y)
        for j in range(m):
            line[j] -= means[j] + far * slopes[j]
            deviation[j] += abs(line[j])
    top = np.float32(_CLIP * np.sum(deviation) / (n * m))
    return _rounded(out, top)


@njit(**_OPTIONS)
def _line(row: Any) -> Any:
    """Sum of a row, and of its values times their places, by four sums beside one another."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
    whole = row.size - row.size % 4
    for j in range(0, whole, 4):
        s0 += row[j]
        s1 += row[j + 1]
        s2 += row[j + 2]
        s3 += row[j + 3]
        t0 += j * row[j]
        t1 += (j + 1) * row[j + 1]
        t2 += (j + 2) * row[j + 2]
        t3 += (j + 3) * row[j + 3]
    for j in range(whole, row.size):
        s0 += row[j]
        t0 += j * row[j]
    return (s0 + s1) + (s2 + s3), (t0 + t1) + (t2 + t3)


@njit(**_OPTIONS)
def _rounded(values: Any, top: Any) -> Any:
    """Clip an array to -top ... top, and scale it to whole numbers of 12 bits."""
    scale = np.float32(_DIGITS) / top if top > 0 else np.float32(0)
    out = np.empty(values.shape, np.int16)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            out[i, j] = np.int16(np.rint(min(max(values[i, j], -top), top) * scale))
    return out


@njit(**_OPTIONS)
def digits(values: Any) -> Any:
    """Scale an array to whole numbers of 12 bits."""
    top = np.float32(0)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            top = max(top, abs(values[i, j]))
    return _rounded(values, top)


@njit(**_OPTIONS)
def overlap(a: Any, b: Any, dy: int, dx: int) -> Any:
    """Cut out of two frames what both show when the second lies (dy, dx) further on, each freed of its trend, in digits."""
    n, m = a.shape
    top, left = max(0, -dy), max(0, -dx)
    rows, cols = n - abs(dy), m - abs(dx)
    one = freed(a[top : top + rows, left : left + cols])
    return one, freed(b[top + dy : top + dy + rows, left + dx : left + dx + cols])
