"""The scale of a frame's gradients along stripes, in which they have no part."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels import _stripe_power_loops as loops
from stack3d.kernels._namespace import namespace, on_host

_SAMPLES = 40_000
_MAD = 0.6745  # of the standard deviation of a normal distribution
_EMPTY = np.empty((0, 0), np.float32)


def gradient_scale(u: Any, weight: Any = None) -> float:
    """Return the standard deviation of differences along y, in a robust sense, so that stripes along y have no part.

    Falls back on the mean of their sizes for images of few grey levels, where most differences are 0.
    """
    xp = namespace(u)
    height, width = u.shape
    if height < 2:
        return 0.0
    step = max(1, round(((height - 1) * width) ** 0.5 / _SAMPLES**0.5))
    rows = slice(0, height - 1, step)
    if on_host(u) and u.dtype == np.float32:
        middle, mean = loops.sizes(u, _EMPTY if weight is None else np.asarray(weight), step)
        return float(max(float(middle) / _MAD, mean))
    change = abs(u[1:][rows, ::step] - u[:-1][rows, ::step])
    if weight is not None:
        change = change[(weight[1:][rows, ::step] > 0) & (weight[:-1][rows, ::step] > 0)]
    if change.size == 0:
        return 0.0
    return max(float(xp.median(change)) / _MAD, float(change.mean(dtype=np.float64)))
