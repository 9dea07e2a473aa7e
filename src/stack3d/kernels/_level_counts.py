"""Counts of every level of a frame of 8- or 16-bit integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels import _statistics_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._scratch import scratch

_FEW = 4096  # levels that come in runs


def level_counts(frame: Any, mask: Any = None) -> tuple[np.ndarray[Any, Any], int]:
    """Count every level of an 8- or 16-bit integer frame.

    Returns
    -------
    counts : (levels,) array of int64
        On the host; of the levels from the least to the largest of the frame, of all of the dtype with a `mask`.
    first : int
        The level that ``counts[0]`` counts.
    """
    info = np.iinfo(frame.dtype)
    if not on_host(frame):
        xp = namespace(frame)
        levels = info.max - info.min + 1
        values = frame.ravel() if mask is None else frame[mask]
        counts = xp.bincount(values.astype(np.int32) - info.min, minlength=levels).astype(np.int64)
        return np.asarray(counts.get() if xp is not np else counts), info.min
    pixels = packed(frame)
    least, most = info.min, info.max
    if mask is None and pixels.size:
        least, most = loops.extent(pixels, pixels.dtype.type(info.min), pixels.dtype.type(info.max))
    table = level_table(most - least + 1)
    loops.count_levels(pixels, None if mask is None else packed(mask), least, table, 1, False)
    return table[0].astype(np.int64), int(least)


def level_table(levels: int) -> np.ndarray[Any, Any]:
    """Return the empty tables of `count_levels`, (tables, levels) of uint32: the caller's until the next call."""
    tables = 4 if levels <= _FEW else 1
    table = scratch("levels", tables, levels).view(np.uint32)
    table[...] = 0
    return table


def countable(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2
