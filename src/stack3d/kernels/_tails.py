"""Quantiles near both ends of a frame of floats, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels import _statistics_loops as loops
from stack3d.kernels._namespace import packed
from stack3d.kernels.statistics import _between, _ranks, measured_values, quantiles

_SIDE = 48  # rows and columns of the sample


def tail_quantiles(frame: Any, tail: float, mask: Any = None) -> np.ndarray[Any, Any]:
    """Return the quantiles `tail` and ``1 - tail``, as `quantiles` does, of a host frame of floats, for a small `tail`.

    One pass over the frame: a sample says beyond which values the wanted ones lie, and just those are kept.
    """
    steps = tuple(max(1, size // _SIDE) for size in frame.shape)
    part = (slice(None, None, steps[0]), slice(None, None, steps[1]))
    sample = np.sort(measured_values(frame[part], None if mask is None else mask[part]))
    margin = 8 + int(4 * tail * sample.size)
    if sample.size <= 2 * margin:
        return quantiles(frame, [tail, 1 - tail], mask)
    room = frame.size // 8
    low, high = sample[margin], sample[-1 - margin]
    count, below, at_low, above, at_high = loops.beyond(
        packed(frame), None if mask is None else packed(mask), low, high, room
    )
    left, right, fraction = _ranks(np.array([tail, 1 - tail]), count)
    if below.size + at_low <= right[0] or above.size + at_high < count - left[1] or max(below.size, above.size) >= room:
        return quantiles(frame, [tail, 1 - tail], mask)
    below, above = np.sort(below), np.sort(above)[::-1]

    def value(rank: int, kept: Any, beside: Any) -> float:
        return float(kept[rank] if rank < kept.size else beside)

    ends = [(value(int(side[0]), below, low), value(int(count - 1 - side[1]), above, high)) for side in (left, right)]
    return _between(np.array(ends[0]), np.array(ends[1]), fraction)
