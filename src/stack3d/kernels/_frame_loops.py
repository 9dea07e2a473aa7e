"""Compiled loops of :mod:`stack3d.kernels.stripe_frame` and :mod:`stack3d.kernels.vsnr`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_STEP = 8  # of every so many pixels along both axes the mean is taken


@njit(**_OPTIONS)
def _mean(frame: Any) -> float:
    """Return the mean of some pixels."""
    total, count = 0.0, 0
    for i in range(0, frame.shape[0], _STEP):
        row = frame[i]
        for j in range(0, row.size, _STEP):
            total += np.float64(row[j])
            count += 1
    return total / count


@njit(**_OPTIONS)
def less_mean(frame: Any, zero: Any, whole: Any, out: Any) -> bool:
    """Write a frame less its mean (of some pixels, a whole number if so asked), and tell whether all of it is finite.

    Pixels and mean have the type of `zero`, the result is float32.
    """
    mean = _mean(frame)
    middle, beyond = type(zero)(np.rint(mean) if whole else mean), np.int32(0)
    for i in range(frame.shape[0]):
        row, to = frame[i], out[i]
        for j in range(row.size):
            value = np.float32(type(zero)(row[j]) - middle)
            to[j] = value
            beyond += np.int32(value - value != np.float32(0))
    return bool(beyond == 0)


@njit(**_OPTIONS)
def centre(frame: Any) -> Any:
    """Return the mean and the standard deviation of some pixels."""
    middle, total, count = _mean(frame), 0.0, 0
    for i in range(0, frame.shape[0], _STEP):
        row = frame[i]
        for j in range(0, row.size, _STEP):
            total += (np.float64(row[j]) - middle) ** 2
            count += 1
    return middle, math.sqrt(total / count)
