"""Positions of all slices of a stack from displacements between pairs of them.

Every pair says how far slice j lies from slice i. All pairs together are solved at once by weighted least squares, with
weights that fall for pairs that contradict the others (iteratively reweighted; first absolute deviations, which have
one minimum only, then the Cauchy function). Errors do not add up along the stack as in a chain, a wrong pair has no
say, and a true jump stays sharp because nothing asks for smoothness.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

__all__ = ["Positions", "positions"]

_CAUCHY = 2.385  # 95 % efficiency for normal errors
_BRIDGE = 1e-7  # weight of a bridge over a gap, relative to a typical pair
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


class Positions(NamedTuple):
    """Result of :func:`positions`.

    Attributes
    ----------
    positions : numpy.ndarray
        (count, k) float64; the first good slice is at 0.
    residuals : numpy.ndarray
        (pairs, k) float64: measured displacement less the difference of positions; NaN where none was measured.
    trust : numpy.ndarray
        (pairs,) float64 between 0 and 1: how far each pair agrees with all others; 0 for a refused one.
    ok : numpy.ndarray
        (count,) bool: False for a slice that no trusted pair ties to others; its position is bridged.
    quality : numpy.ndarray
        (count,) float64 between 0 and 1: share of the weight of a slice's pairs that is trusted.
    group : numpy.ndarray
        (count,) int64: slices tied together by pairs have the same number, from 0; -1 for a slice without pairs.
        Between groups only bridges hold.
    error : numpy.ndarray
        (count,) float64: standard error of the step from the good slice before, along one axis; NaN for the first,
        for slices that are not ok, and across a gap that nothing bridges.
    """

    positions: np.ndarray[Any, Any]
    residuals: np.ndarray[Any, Any]
    trust: np.ndarray[Any, Any]
    ok: np.ndarray[Any, Any]
    quality: np.ndarray[Any, Any]
    group: np.ndarray[Any, Any]
    error: np.ndarray[Any, Any]


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
    first: Any, second: Any, shift: Any, weight: Any, bridge: Any, tiny: float, band: Any, right: Any
) -> None:
    band[:] = 0
    right[:] = 0
    for p in range(first.size):
        w = weight[p]
        if w == 0:
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
    band[0, 0] += tiny * 1e-3


@njit(**_OPTIONS)
def _steps(band: Any, ok: Any, group: Any) -> Any:
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


def positions(
    first: Any, second: Any, shifts: Any, weights: Any, count: int, *, iterations: int = 20, tolerance: float = 0.5
) -> Positions:
    """Solve for the position of every slice.

    Parameters
    ----------
    first, second : array of int
        (pairs,) numbers of the slices of each pair.
    shifts : array of float
        (pairs, k) displacement of the content of the second slice relative to the first; any number k of parameters.
    weights : array of float
        (pairs,) 1 / variance of the displacement; 0, or a displacement that is not finite, means refused.
    count : int
        Number of slices.
    iterations : int, default 20
        Reweightings; the first half with absolute deviations.
    tolerance : float, default 0.5
        A pair counts against its slices when it misses by more than this, in the unit of `shifts` (and by more than 5
        standard errors). A slice that most of its pairs speak against is not `ok`.

    Returns
    -------
    Positions
        Slices without a trusted pair are interpolated between their neighbours. Where nothing ties two parts of the
        stack together, the second goes on where the first ended.

    Raises
    ------
    ValueError
        If the arrays do not match, or a slice number is out of range.

    Examples
    --------
    >>> from stack3d.kernels import solve
    >>> solved = solve.positions([0, 1, 0], [1, 2, 2], [[1.0], [2.0], [3.0]], [1, 1, 1], 3)
    >>> solved.positions[:, 0].round(6)
    array([0., 1., 3.])
    """
    first, second = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    shifts, weights = np.asarray(shifts, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    pairs = first.size
    if first.shape != (pairs,) or second.shape != (pairs,) or weights.shape != (pairs,):
        raise ValueError(
            f"first, second and weights must be one-dimensional and of one length, got {first.shape}, {second.shape} "
            f"and {weights.shape}"
        )
    if shifts.ndim != 2 or shifts.shape[0] != pairs:
        raise ValueError(f"shifts must have the shape (pairs, k) with {pairs} pairs, got {shifts.shape}")
    if count < 1 or iterations < 1:
        raise ValueError(f"count and iterations must be at least 1, got {count} and {iterations}")
    if pairs and (min(first.min(), second.min()) < 0 or max(first.max(), second.max()) >= count):
        raise ValueError(f"first and second must hold slice numbers from 0 to {count - 1}")
    if (first == second).any():
        raise ValueError("a pair must join two different slices")
    if (np.isnan(weights) | (weights < 0)).any():
        raise ValueError("weights must not be negative or NaN")
    good = (weights > 0) & np.isfinite(weights) & np.isfinite(shifts).all(axis=1)
    base = np.where(good, weights, 0.0)
    clean = np.where(good[:, None], shifts, 0.0)
    trust, scale = _trust(first, second, clean, base, good, count, iterations)
    system = _System(first, second, clean, base * trust, count)
    residuals = clean - system.solved[second] + system.solved[first]
    size = np.sqrt((residuals**2).sum(axis=1))
    with np.errstate(divide="ignore"):
        wrong = good & (size > np.maximum(tolerance, 5 * scale * np.sqrt(shifts.shape[1] / base)))
    ok, quality = _verdict(first, second, good, wrong, base, count)
    kept = good & ok[first] & ok[second]
    system = _System(first, second, clean, base * trust * kept, count)
    ok &= system.group >= 0
    solved = system.solved
    if ok.any():
        solved = solved - solved[int(np.argmax(ok))]
    residuals = np.where(np.isfinite(shifts), shifts, np.nan) - solved[second] + solved[first]
    error = np.sqrt(_steps(system.band, ok, system.group)) * max(scale, 1.0)
    return Positions(solved, residuals, trust, ok, quality, system.group, error)


def _trust(
    first: Any, second: Any, shifts: Any, weights: Any, good: Any, count: int, iterations: int
) -> tuple[np.ndarray[Any, Any], float]:
    """How far each pair agrees with all others, and the errors met relative to those expected."""
    trust, scale = good.astype(np.float64), 1.0
    if not good.any():
        return trust, scale
    for iteration in range(iterations):
        solved = _System(first, second, shifts, weights * trust, count).solved
        difference = shifts - solved[second] + solved[first]
        deviation = np.sqrt(weights * (difference**2).mean(axis=1))
        # a scale of one part in 1e6 of the expected error means that all pairs agree
        scale = max(1.4826 * float(np.median(deviation[good])), 1e-6)
        ratio = deviation / scale
        trust = good / np.maximum(ratio, 0.1) if iteration < iterations // 2 else good / (1 + (ratio / _CAUCHY) ** 2)
    return trust, scale


def _verdict(
    first: Any, second: Any, good: Any, wrong: Any, weights: Any, count: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which slices agree with most of the others; those next to a bad one are judged again without it."""
    ok = np.ones(count, np.bool_)
    first_quality = np.zeros(count)
    for attempt in range(2):
        used = good & (ok[first] | ok[second])
        quality = np.zeros(count)
        for i, j in ((first, second), (second, first)):
            # the pair counts for slice i when its partner j is good
            quality += np.bincount(i, np.where(used & ok[j] & ~wrong, weights, 0.0), count)
        total = np.zeros(count)
        for i, j in ((first, second), (second, first)):
            total += np.bincount(i, np.where(used & ok[j], weights, 0.0), count)
        quality = np.divide(quality, total, out=np.zeros(count), where=total > 0)
        ok = quality > 0.5
        if attempt == 0:
            first_quality = quality
    return ok, np.where(ok, np.maximum(first_quality, quality), first_quality)


class _System:
    """Normal equations of weighted pairs, factored and solved; bridges of next to no weight close gaps."""

    def __init__(self, first: Any, second: Any, shifts: Any, weights: Any, count: int) -> None:
        used = weights > 0
        self.group = _groups(first, second, used, count)
        reach = int(np.abs(second - first)[used].max(initial=1))
        self.band = np.empty((count, reach + 1))
        self.solved = np.empty((count, shifts.shape[1]))
        bridge = (self.group[1:] != self.group[:-1]) | (self.group[1:] < 0)
        tiny = _BRIDGE * (float(np.median(weights[used])) if used.any() else 1.0)
        right = np.empty(count)
        for axis in range(shifts.shape[1]):
            _assemble(first, second, np.ascontiguousarray(shifts[:, axis]), weights, bridge, tiny, self.band, right)
            _factor(self.band)
            _substitute(self.band, right)
            self.solved[:, axis] = right
