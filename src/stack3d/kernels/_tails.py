"""Quantiles near both ends of a frame of floats, in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stack3d.kernels import _tail_loops as loops
from stack3d.kernels._namespace import packed
from stack3d.kernels.statistics import quantiles

_SIDE = 48  # rows and columns of the sample,
_LEAST = 8  # and how many of it lie beyond the values that pixels are compared with, at least


def tail_quantiles(frame: Any, tail: float, mask: Any = None) -> np.ndarray[Any, Any]:
    """Return the quantiles `tail` and ``1 - tail``, as `quantiles` does, of a host frame of floats, for a small `tail`.

    One pass over the frame: a sample says beyond which values the wanted ones lie, and just those are kept.
    """
    down, right = (max(1, size // _SIDE) for size in frame.shape)
    pixels, measured = packed(frame), None if mask is None else packed(mask)
    size, margin, low, high = loops.ends(pixels, measured, down, right, _LEAST, tail)
    if size <= 2 * margin:
        return quantiles(frame, [tail, 1 - tail], mask)
    low, high = (pixels.dtype.type(end) for end in (low, high))
    room = frame.size // 8
    count, below, at_low, above, at_high = loops.beyond(pixels, measured, low, high, room)
    places = [share * (count - 1) for share in (tail, 1 - tail)]
    left = [math.floor(place) for place in places]
    right_of = [min(rank + 1, count - 1) for rank in left]
    full = max(below.size, above.size) >= room
    if below.size + at_low <= right_of[0] or above.size + at_high < count - left[1] or full:
        return quantiles(frame, [tail, 1 - tail], mask)
    below, above = np.sort(below), np.sort(above)[::-1]

    def value(side: int, rank: int) -> float:
        kept, beside, rank = (below, low, rank) if side == 0 else (above, high, count - 1 - rank)
        return float(kept[rank] if rank < kept.size else beside)

    return np.array([between(value(k, left[k]), value(k, right_of[k]), places[k] - left[k]) for k in range(2)])


def between(left: float, right: float, part: float) -> float:
    """Return the value a part of the way from one to the next."""
    # numpy's own form, from the nearer end, so that the results are equal to the bit.
    gap = right - left
    return right - gap * (1 - part) if part >= 0.5 else left + gap * part
