"""Means over boxes that slide along y, and over squares: running sums, whose cost does not depend on the size.

Beyond its edges a frame goes on as its mirror image, the edge pixel not repeated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels.atrous import mirror


def box(frame: Any, length: int) -> Any:
    """Return the mean over `length` (odd) rows about each pixel."""
    if frame.ndim != 2 or not on_host(frame):
        return box_xp(frame, length, -2)
    out = np.empty(frame.shape, np.float32)
    _box(np.ascontiguousarray(frame, np.float32), _places(frame.shape[0], length), length, out)
    return out


def triangle(frame: Any, length: int) -> Any:
    """Return means along y with triangular weights over ``2 * length - 1`` rows: the mean over a box, twice."""
    return box(box(frame, length), length)


def square(frame: Any, side: int) -> Any:
    """Return the mean over `side` (odd) rows and columns about each pixel."""
    if frame.ndim != 2 or not on_host(frame):
        return box_xp(box_xp(frame, side, -1), side, -2)
    out = np.empty(frame.shape, np.float32)
    _box_rows(np.ascontiguousarray(frame, np.float32), _places(frame.shape[1], side), side, out)
    return box(out, side)


def box_xp(frame: Any, length: int, axis: int) -> Any:
    """`xp` form of the mean over a box along one axis of frames (..., y, x)."""
    xp = namespace(frame)
    wide = frame.take(xp.asarray(_places(frame.shape[axis], length)), axis).astype(np.float64)
    total = xp.moveaxis(xp.cumsum(wide, axis=axis), axis, 0)
    total = xp.concatenate([xp.zeros_like(total[:1]), total])
    return xp.moveaxis((total[length:] - total[:-length]) / length, 0, axis).astype(np.float32)


def _places(size: int, length: int) -> np.ndarray[Any, Any]:
    """Pixels of a line continued by half a box at either end, (size + length - 1,)."""
    half = length // 2
    return mirror(np.arange(-half, size + half), size)


@njit(nogil=True, cache=True)
def _box(frame: Any, places: Any, length: int, out: Any) -> None:
    width = frame.shape[1]
    total = np.zeros(width)
    share = 1.0 / length
    for k in range(length - 1):
        row = frame[places[k]]
        for x in range(width):
            total[x] += row[x]
    for y in range(frame.shape[0]):
        enters, leaves, target = frame[places[y + length - 1]], frame[places[y]], out[y]
        for x in range(width):
            now = total[x] + enters[x]
            target[x] = now * share
            total[x] = now - leaves[x]


@njit(nogil=True, cache=True)
def _box_rows(frame: Any, places: Any, length: int, out: Any) -> None:
    width, half = frame.shape[1], length // 2
    sums = np.zeros(width + length)
    share = 1.0 / length
    for y in range(frame.shape[0]):
        row, target = frame[y], out[y]
        total = 0.0
        for x in range(half):
            total += row[places[x]]
            sums[x + 1] = total
        for x in range(width):
            total += row[x]
            sums[half + x + 1] = total
        for x in range(half + width, width + length - 1):
            total += row[places[x]]
            sums[x + 1] = total
        upper, lower = sums[length : length + width], sums[:width]
        for x in range(width):
            target[x] = (upper[x] - lower[x]) * share
