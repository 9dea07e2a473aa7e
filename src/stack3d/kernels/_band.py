"""Normal equations of pairs of slices: a symmetric band matrix, factored and solved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_BRIDGE = 1e-7  # weight of a bridge over a gap, relative to a typical pair
_LEAST = 1e-11  # relative to the heaviest pair: less is lost in rounding, and the matrix no longer positive
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def _groups(first: Any, second: Any, good: Any, count: int) -> Any:
    """Number of the connected group of each slice, in order of appearance; -1 for a slice on its own."""
    parent = np.arange(count)
    tied = np.zeros(count, np.bool_)
    for p in range(first.size):
        if not good[p]:
            continue
        a, b = first[p], second[p]
        tied[a] = True
        tied[b] = True
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    label = np.full(count, -1)
    number = 0
    for i in range(count):
        if not tied[i]:
            continue
        root = i
        while parent[root] != root:
            root = parent[root]
        if label[root] < 0:
            label[root] = number
            number += 1
        label[i] = label[root]
    return label


@njit(**_OPTIONS)
def _factor(band: Any) -> None:
    """Cholesky factor of a symmetric band matrix, in place; ``band[i, d]`` is the element (i, i - d)."""
    count, width = band.shape
    for i in range(count):
        for d in range(min(i, width - 1), -1, -1):
            j = i - d
            total = band[i, d]
            for e in range(d + 1, min(i, width - 1) + 1):
                f = e - d
                if f <= min(j, width - 1):
                    total -= band[i, e] * band[j, f]
            if d == 0:
                band[i, 0] = math.sqrt(total)
            else:
                band[i, d] = total / band[j, 0]


@njit(**_OPTIONS)
def _substitute(band: Any, right: Any) -> None:
    """Solve with a factor of :func:`_factor`, in place."""
    count, width = band.shape
    for i in range(count):
        total = right[i]
        for d in range(1, min(i, width - 1) + 1):
            total -= band[i, d] * right[i - d]
        right[i] = total / band[i, 0]
    for i in range(count - 1, -1, -1):
        total = right[i]
        for d in range(1, min(count - 1 - i, width - 1) + 1):
            total -= band[i + d, d] * right[i + d]
        right[i] = total / band[i, 0]


@njit(**_OPTIONS)
def _assemble(
    first: Any, second: Any, shift: Any, weight: Any, bridge: Any, tiny: float, hold: float, band: Any, right: Any
) -> None:
    band[:] = 0
    right[:] = 0
    for p in range(first.size):
        w = weight[p]
        if not w > 0:
            continue
        i, j = first[p], second[p]
        band[i, 0] += w
        band[j, 0] += w
        band[max(i, j), abs(j - i)] -= w
        right[i] -= w * shift[p]
        right[j] += w * shift[p]
    for i in range(bridge.size):
        if bridge[i]:
            band[i, 0] += tiny
            band[i + 1, 0] += tiny
            band[i + 1, 1] -= tiny
    band[0, 0] += hold


@njit(**_OPTIONS)
def steps(band: Any, ok: Any, group: Any) -> Any:
    """Variance of the step to each good slice from the good one before, from the factor of the normal matrix."""
    count, width = band.shape
    out = np.full(count, np.nan)
    before = -1
    unit = np.empty(count)
    for i in range(count):
        if not ok[i]:
            continue
        if before >= 0 and group[before] == group[i]:
            # what comes many bandwidths later no longer matters
            high = min(count, i + 8 * width + 1)
            unit[before:high] = 0
            unit[i], unit[before] = 1.0, -1.0
            for r in range(before, high):
                total = unit[r]
                for d in range(1, min(r - before, width - 1) + 1):
                    total -= band[r, d] * unit[r - d]
                unit[r] = total / band[r, 0]
            total = 0.0
            for r in range(before, high):
                total += unit[r] * unit[r]
            out[i] = total
        before = i
    return out


class System:
    """Normal equations of weighted pairs, factored and solved; bridges of next to no weight close gaps."""

    def __init__(self, first: Any, second: Any, shifts: Any, weights: Any, count: int) -> None:
        used = weights > 0
        self.group = _groups(first, second, used, count)
        reach = int(np.abs(second - first)[used].max(initial=1))
        self.band = np.empty((count, reach + 1))
        self.solved = np.empty((count, shifts.shape[1]))
        bridge = (self.group[1:] != self.group[:-1]) | (self.group[1:] < 0)
        typical, heaviest = (float(np.median(weights[used])), float(weights[used].max())) if used.any() else (1.0, 1.0)
        tiny, hold = (max(share * typical, _LEAST * heaviest) for share in (_BRIDGE, 1e-3 * _BRIDGE))
        right = np.empty(count)
        for axis in range(shifts.shape[1]):
            _assemble(
                first, second, np.ascontiguousarray(shifts[:, axis]), weights, bridge, tiny, hold, self.band, right
            )
            _factor(self.band)
            _substitute(self.band, right)
            self.solved[:, axis] = right
