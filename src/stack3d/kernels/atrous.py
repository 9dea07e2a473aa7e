"""Filter bank without decimation ("a trous"): a frame as bands of details and a smooth rest that add up to it exactly.

The low-pass has the seven taps 1 6 15 20 15 6 1 (over 64) in each direction; at scale s they stand ``2 ** s`` pixels
apart. Beyond its edge a frame goes on as its mirror image, the edge pixel not repeated.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

TAPS = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
_SMALL = np.float32(1e-6)


def field_of_view(scales: int) -> int:
    """Width in pixels of the low-pass after `scales` scales: 7, 19, 43, 91, 187, 379 ..."""
    return 6 * ((1 << scales) - 1) + 1


def smooth(frame: Any, scale: int, weight: Any = None, axes: tuple[int, ...] = (0, 1)) -> Any:
    """Return the frame smoothed by the low-pass of one scale.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; finite.
    scale : int
        From 0: taps are ``2 ** scale`` pixels apart.
    weight : (y, x) float32 array, optional
        0 (missing) to 1: means are taken over what is known; 0 where nothing is.
    axes : tuple of int, default (0, 1)
        Directions: 0 along y, 1 along x.

    Returns
    -------
    (y, x) float32 array

    Examples
    --------
    >>> from stack3d.kernels import atrous
    >>> point = np.zeros((1, 7), np.float32)
    >>> point[0, 3] = 64
    >>> atrous.smooth(point, 0)
    array([[ 2.,  6., 15., 20., 15.,  6.,  2.]], dtype=float32)
    """
    if weight is not None:
        xp = namespace(frame)
        total = smooth(weight, scale, axes=axes)
        mass = smooth(frame * weight, scale, axes=axes)
        return xp.where(total > _SMALL, mass / xp.maximum(total, _SMALL), np.float32(0))
    if frame.ndim != 2 or not on_host(frame):
        return smooth_xp(frame, scale, axes)
    step, (height, width) = 2**scale, frame.shape
    taps = TAPS.astype(np.float32)
    for axis in axes:
        frame, out = np.ascontiguousarray(frame, np.float32), np.empty(frame.shape, np.float32)
        if axis == 0:
            _smooth_y(frame, _taps_of(height, step), taps, out)
        else:
            _smooth_x(frame, _ends_of(width, 3 * step), step, taps, out)
        frame = out
    return frame


def smooth_xp(frame: Any, scale: int, axes: tuple[int, ...] = (0, 1)) -> Any:
    """`xp` form of :func:`smooth`, without weights, for frames (..., y, x)."""
    xp = namespace(frame)
    for axis in (axis - 2 for axis in axes):
        places = xp.asarray(_taps_of(frame.shape[axis], 2**scale))
        total = np.float32(TAPS[3]) * frame
        for k in (2, 1, 0):
            total = total + np.float32(TAPS[k]) * (frame.take(places[k], axis) + frame.take(places[6 - k], axis))
        frame = total
    return frame


def split(frame: Any, scales: int, weight: Any = None) -> tuple[list[Any], Any]:
    """Return the bands of details, finest first, and the smooth rest; their sum is the frame.

    Parameters
    ----------
    frame, weight : (y, x) float32 arrays
        As for :func:`smooth`.
    scales : int
        Number of bands.

    Examples
    --------
    >>> from stack3d.kernels import atrous
    >>> bands, rest = atrous.split(np.eye(64, dtype="float32"), 3)
    >>> bool(np.allclose(sum(bands) + rest, np.eye(64), atol=1e-6))
    True
    """
    bands = []
    for scale in range(scales):
        rest = smooth(frame, scale, weight)
        bands.append(frame - rest)
        frame = rest
    return bands, frame


def mirror(places: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Return the pixels that places beyond the edges fall on, the edge pixel not repeated, however far they are."""
    if size == 1:
        return np.zeros_like(places)
    places = np.mod(places, 2 * size - 2)
    return np.where(places >= size, 2 * size - 2 - places, places)


@lru_cache(maxsize=64)
def _taps_of(size: int, step: int) -> np.ndarray[Any, Any]:
    """Pixel of each tap, (7, size)."""
    out = mirror(np.arange(size) + step * np.arange(-3, 4)[:, None], size)
    out.flags.writeable = False
    return out


@lru_cache(maxsize=64)
def _ends_of(size: int, reach: int) -> np.ndarray[Any, Any]:
    """Pixels that continue a line before its beginning, then those after its end, (2 * reach,)."""
    before = np.arange(-reach, 0)
    out = mirror(np.concatenate([before, size + reach + before]), size)
    out.flags.writeable = False
    return out


@njit(nogil=True, cache=True)
def _smooth_y(frame: Any, rows: Any, taps: Any, out: Any) -> None:
    a, b, c, d = taps[0], taps[1], taps[2], taps[3]
    for y in range(frame.shape[0]):
        p0, p1, p2, p3 = frame[rows[0, y]], frame[rows[1, y]], frame[rows[2, y]], frame[rows[3, y]]
        p4, p5, p6 = frame[rows[4, y]], frame[rows[5, y]], frame[rows[6, y]]
        target = out[y]
        for x in range(target.size):
            target[x] = d * p3[x] + c * (p2[x] + p4[x]) + b * (p1[x] + p5[x]) + a * (p0[x] + p6[x])


@njit(nogil=True, cache=True)
def _smooth_x(frame: Any, ends: Any, step: int, taps: Any, out: Any) -> None:
    height, width = frame.shape
    a, b, c, d = taps[0], taps[1], taps[2], taps[3]
    reach = 3 * step
    line = np.empty(width + 2 * reach, np.float32)
    q0, q1, q2 = line[:width], line[step : step + width], line[2 * step : 2 * step + width]
    q3, q4 = line[reach : reach + width], line[4 * step : 4 * step + width]
    q5, q6 = line[5 * step : 5 * step + width], line[6 * step : 6 * step + width]
    for y in range(height):
        source, target = frame[y], out[y]
        line[reach : reach + width] = source
        for k in range(reach):
            # The line goes on beyond its ends, so that the taps need no care.
            line[k] = source[ends[k]]
            line[reach + width + k] = source[ends[reach + k]]
        for x in range(width):
            target[x] = d * q3[x] + c * (q2[x] + q4[x]) + b * (q1[x] + q5[x]) + a * (q0[x] + q6[x])
