"""How alike two frames are, and a frame and itself moved by some pixels: what falls off with distance.

Only fine structure is compared: the mean around each pixel is taken off first. Large structure is the same in many
slices and differs from one part of the stack to the next, so it tells little of distance and much of content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stack3d.kernels import _decorrelation_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed


def detail(frame: Any, tall: int, wide: int) -> Any:
    """Return a frame minus the mean of the measured pixels around each one, float32.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy; missing pixels are NaN, and stay so.
    tall, wide : int
        The window reaches this many rows up and down and columns to each side, less at the edges; 0 both: the pixel
        itself, so that nothing is left.

    Examples
    --------
    >>> from stack3d.kernels import decorrelation
    >>> decorrelation.detail(np.array([[1.0, 2.0, 6.0]]), 0, 1)
    array([[-0.5, -1. ,  2. ]], dtype=float32)
    """
    if not on_host(frame):
        return detail_xp(frame, tall, wide)
    return loops.less_local_mean(packed(frame), int(tall), int(wide))


def detail_xp(frame: Any, tall: int, wide: int) -> Any:
    """Return what `detail` returns, in array operations."""
    xp = namespace(frame)
    values = frame.astype(xp.float64)
    there = values == values
    total = _window_sum(xp, xp.where(there, values, 0.0), (tall, wide))
    count = _window_sum(xp, there.astype(xp.float64), (tall, wide))
    mean = xp.where(count > 0, total / xp.where(count > 0, count, 1.0), xp.nan)
    return (values - mean).astype(xp.float32)


def _window_sum(xp: Any, values: Any, reach: tuple[int, int]) -> Any:
    for axis in (0, 1):
        size = values.shape[axis]
        sums = xp.concatenate([xp.zeros_like(values.take([0], axis)), xp.cumsum(values, axis=axis)], axis=axis)
        place = xp.arange(size)
        high, low = xp.minimum(place + reach[axis] + 1, size), xp.maximum(place - reach[axis], 0)
        values = sums.take(high, axis) - sums.take(low, axis)
    return values


def correlation(first: Any, second: Any, dy: int = 0, dx: int = 0) -> float:
    """Return Pearson's coefficient of ``first[y, x]`` and ``second[y + dy, x + dx]``, over pixels measured in both.

    Parameters
    ----------
    first, second : (y, x) array
        Of one shape.
    dy, dx : int
        Not negative.

    Returns
    -------
    float
        NaN where fewer than two pixels are shared, or one of the frames has no contrast.

    Examples
    --------
    >>> from stack3d.kernels import decorrelation
    >>> frame = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> round(decorrelation.correlation(frame, -frame), 9), round(decorrelation.correlation(frame, frame, dx=1), 9)
    (-1.0, 1.0)
    """
    if not (on_host(first) and on_host(second)):
        return correlation_xp(first, second, dy, dx)
    return float(loops.correlation(packed(first), packed(second), int(dy), int(dx)))


def correlation_xp(first: Any, second: Any, dy: int = 0, dx: int = 0) -> float:
    """Return what `correlation` returns, in array operations."""
    xp = namespace(first)
    rows, columns = first.shape[0] - dy, first.shape[1] - dx
    if rows < 1 or columns < 1:
        return float("nan")
    a = first[:rows, :columns].astype(xp.float64)
    b = second[dy : dy + rows, dx : dx + columns].astype(xp.float64)
    there = (a == a) & (b == b)
    count = int(there.sum())
    if count < 2:
        return float("nan")
    a, b = xp.where(there, a, 0.0), xp.where(there, b, 0.0)
    sa, sb, saa, sbb, sab = (float(v.sum()) for v in (a, b, a * a, b * b, a * b))
    spread = (saa - sa**2 / count) * (sbb - sb**2 / count)
    if not spread > 1e-20 * (saa * sbb + 1e-300):
        return float("nan")
    return float((sab - sa * sb / count) / np.sqrt(spread))


def within(frame: Any, lags: Sequence[int]) -> np.ndarray:
    """Return the correlation of a frame with itself moved by `lags` pixels along y (first row) and x; shape (2, n)."""
    along_y = [correlation(frame, frame, dy=lag) for lag in lags]
    along_x = [correlation(frame, frame, dx=lag) for lag in lags]
    return np.array([along_y, along_x], dtype=np.float64)
