"""Compiled loops that make frames small, and cut out of two of them what both show, freed of its trend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._phase_frame_loops import flatten

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
    values, deviation = flatten(part.copy(), _trend(n), _trend(m))
    return _rounded(values, np.float32(_CLIP * deviation))


@njit(**_OPTIONS)
def _trend(size: int) -> Any:
    """Mean and slope of a line, orthonormal."""
    out = np.empty((2, size), np.float32)
    middle, norm = (size - 1) / 2, math.sqrt(max(size * (size * size - 1) / 12, 1.0))
    for k in range(size):
        out[0, k] = 1 / math.sqrt(size)
        out[1, k] = (k - middle) / norm
    return out


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
