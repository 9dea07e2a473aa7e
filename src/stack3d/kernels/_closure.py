"""How far longer pairs can be believed: whether they say what the steps between their slices add up to.

Noise makes pairs of all lags err alike, and averaging over lags is gain. Where content changes by itself, each pair follows
what it still shares, and pairs of different lags contradict each other by more than their errors, always the same way
over many slices. No average takes that off, so such pairs count for less.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FEWEST = 8  # closures from which their scatter is taken
_TOLERATED = 2.0  # variance of the closures, relative to that expected, which is met by chance
_TOGETHER = 10.0  # closures that err together
_MEDIAN = 0.4549  # of the square of a normal deviate


def discounted(first: Any, second: Any, shifts: Any, weights: Any) -> np.ndarray[Any, Any]:
    """Return the weights of pairs, less for those of lags that contradict the steps from slice to slice.

    Parameters
    ----------
    first, second : array of int
        (pairs,) numbers of the slices.
    shifts : array of float
        (pairs, k) displacements, finite where the weight is not 0.
    weights : array of float
        (pairs,) 1 / variance; 0 for a pair without a say.
    """
    lag = np.abs(second - first)
    out = np.array(weights, dtype=np.float64)
    used = (out > 0) & (lag > 0)
    if not (used & (lag > 1)).any():
        return out
    start = np.minimum(first, second)
    forward = np.where((second > first)[:, None], shifts, -shifts)
    count = int(max(first.max(), second.max()))
    one = used & (lag == 1)
    total = np.bincount(start[one], out[one], count)
    known = total > 0
    variance = np.divide(1.0, total, out=np.zeros(count), where=known)
    summed = [np.bincount(start[one], out[one] * column[one], count) * variance for column in forward.T]
    path = np.concatenate([np.zeros((1, len(summed))), np.cumsum(np.stack(summed, axis=1), axis=0)])
    spread, gaps = (np.concatenate([[0.0], np.cumsum(values)]) for values in (variance, ~known))
    for each in np.unique(lag[used & (lag > 1)]):
        here = np.flatnonzero(used & (lag == each))
        begin, end = start[here], start[here] + each
        whole = gaps[end] == gaps[begin]
        if whole.sum() < _FEWEST:
            continue
        closure = (forward[here] - path[end] + path[begin])[whole]
        expected = (1 / out[here] + spread[end] - spread[begin])[whole]
        ratio = float(np.median(closure**2 / expected[:, None])) / _MEDIAN
        if not ratio > _TOLERATED:
            continue
        beyond = (ratio - _TOLERATED) * float(np.median(expected))
        out[here] = 1 / (1 / out[here] + _TOGETHER * beyond)
    return out
