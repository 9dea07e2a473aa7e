"""Distances between slices from how their likeness falls off with distance.

The measurements are ``r = -log(correlation)`` of pairs of slices up to a few slices apart. With a curve ``f`` of the
decorrelation over distance, the fine structure ``s`` of each slice (1 for an average one) and what its noise adds, ``b``,

    ``r[i, j] = s[i, j] * f(position[j] - position[i]) + b[i] + b[j]``

is solved by Gauss-Newton steps for all positions at once, and for what a bad slice adds beyond its noise. Pairs that
contradict the others lose their weight (iteratively reweighted least squares, Cauchy function). Where the curve is not
given it is fitted between the steps, as a smooth, rising function of the distances met so far: a slice two steps away
tells what the curve does at the sum of both, which is all that makes distances out of likeness.

After Hanslovsky, Bogovic and Saalfeld, doi:10.1093/bioinformatics/btw794, who solve for positions and curve jointly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Curve", "Increments", "increments"]

_BENT = 0.03  # cost of a bend of the fitted curve: chosen on real tissue
_CAUCHY = 2.385  # 95 % efficiency for normal errors
_ITERATIONS = 30
_SMALLEST, _LARGEST = 0.05, 12.0  # bounds of an increment, in mean increments
_PRIOR, _FREE = (
    30.0,
    1e-3,
)  # how much more its excess costs an ordinary slice than the residual of a pair, and a suspected one
_EVEN = 1e-4  # weight of even steps, for slices that no pair ties


class Curve:
    """A rising function of distance through given points: monotone cubic between them, straight beyond."""

    def __init__(self, distances: Any, values: Any) -> None:
        from scipy.interpolate import PchipInterpolator

        self.distances = np.asarray(distances, dtype=np.float64)
        self.values = np.asarray(values, dtype=np.float64)
        self._inside = PchipInterpolator(self.distances, self.values)
        ends = self.distances[[0, 1, -2, -1]], self.values[[0, 1, -2, -1]]
        self._slopes = [float(np.diff(ends[1][k : k + 2])[0] / np.diff(ends[0][k : k + 2])[0]) for k in (0, 2)]

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Return the values at `distance`."""
        near = np.clip(distance, self.distances[0], self.distances[-1])
        slope = np.where(distance < self.distances[0], *self._slopes)
        return np.asarray(self._inside(near) + (distance - near) * slope)

    def slope(self, distance: np.ndarray) -> np.ndarray:
        """Return the derivative at `distance`, at least a thousandth of the mean one."""
        inside = (distance >= self.distances[0]) & (distance <= self.distances[-1])
        outside = np.where(distance < self.distances[0], *self._slopes)
        mean = (self.values[-1] - self.values[0]) / (self.distances[-1] - self.distances[0])
        return np.asarray(np.maximum(np.where(inside, self._inside(distance, 1), outside), 1e-3 * mean))


class Increments(NamedTuple):
    """Result of :func:`increments`.

    Attributes
    ----------
    increments : numpy.ndarray
        (count - 1,) float64, positive: from each slice to the next, in the unit of the curve, or with a mean of 1.
    error : numpy.ndarray
        (count - 1,) float64: standard error by which the pairs determine them; NaN where none does.
    excess : numpy.ndarray
        (count,) float64: what each slice adds to ``r`` of its pairs beyond its noise; 0 for an ordinary slice.
    tied : numpy.ndarray
        (count,) bool: whether any pair holds the slice; the position of others is bridged.
    curve : Curve
        The curve used.
    """

    increments: np.ndarray
    error: np.ndarray
    excess: np.ndarray
    tied: np.ndarray
    curve: Curve


def increments(
    decorrelation: Any, structure: Any, noise: Any, *, curve: Curve | None = None, start: float = 1.0
) -> Increments | None:
    """Solve for the distances between slices.

    Parameters
    ----------
    decorrelation : array of float
        (count, lags): ``-log(correlation)`` of slice i and slice i + 1 + lag; NaN where refused.
    structure : array of float
        (count,) positive, with a mean near 1: how fast a slice decorrelates compared with the others.
    noise : array of float
        (count,) what the noise of each slice adds to its pairs.
    curve : Curve, optional
        Decorrelation of a slice with ``structure`` 1 over distance, without noise. By default fitted.
    start : float
        Distance to begin with, for a curve that is given.

    Returns
    -------
    Increments or None
        None where the pairs are too few for the curve: fitting one asks for some six slices and two lags.

    Examples
    --------
    >>> from stack3d.kernels import thickness
    >>> z = np.cumsum([1.0, 1, 2, 1, 1, 3, 1, 1, 2, 1, 1])
    >>> r = np.full((11, 3), np.nan)
    >>> for lag in (1, 2, 3):
    ...     r[:-lag, lag - 1] = 0.1 * (z[lag:] - z[:-lag])
    >>> found = thickness.increments(r, np.ones(11), np.zeros(11))
    >>> bool(np.allclose(found.increments, np.diff(z) / np.diff(z).mean(), rtol=0.02))
    True
    """
    r = np.asarray(decorrelation, dtype=np.float64)
    count = len(r)
    i, k = np.nonzero(np.isfinite(r))
    j, values = i + k + 1, r[i, k]
    needed = 1.2 * (count - 1) if curve is None else 1
    if values.size < needed or (curve is None and (count < 6 or not np.any(k))):
        return None
    share = (np.asarray(structure)[i] + np.asarray(structure)[j]) / 2
    own = np.asarray(noise)[i] + np.asarray(noise)[j]
    tied = np.bincount(np.concatenate([i, j]), minlength=count) > 0
    # The error of a logarithm is that of the correlation over the correlation; and content differs more over more slices.
    base = np.exp(-2 * values) / (k + 1.0) ** 4
    trust = np.ones(values.size)
    steps = np.full(count - 1, start if curve is not None else 1.0)
    excess = _suspected(r, np.asarray(noise, dtype=np.float64))
    free = excess > 0
    used = curve
    for iteration in range(_ITERATIONS):
        place = np.concatenate([[0.0], np.cumsum(steps)])
        distance = place[j] - place[i]
        if curve is None:
            used = _fitted(distance, (values - own - excess[i] - excess[j]) / share, base * trust * share**2)
        assert used is not None
        left = values - share * used(distance) - own - excess[i] - excess[j]
        deviation = np.abs(left) * np.sqrt(base)
        scale = max(1.4826 * float(np.median(deviation)), 1e-9)
        ratio = deviation / scale
        trust = 1 / np.maximum(ratio, 0.1) if iteration < _ITERATIONS // 3 else 1 / (1 + (ratio / _CAUCHY) ** 2)
        move, extra = _step(i, j, share * used.slope(distance), left, base * trust, excess, free, steps)
        damp = 0.7
        mean = float(steps.mean())
        steps = np.clip(steps + damp * np.diff(move), _SMALLEST * mean, _LARGEST * mean)
        excess = excess + damp * extra
        if curve is None:
            steps = steps / steps.mean()
    assert used is not None
    error = _errors(i, j, share * used.slope(distance), base * trust, scale, count)
    return Increments(steps, error, excess, tied, used)


def _step(
    i: np.ndarray,
    j: np.ndarray,
    slope: np.ndarray,
    left: np.ndarray,
    weight: np.ndarray,
    excess: np.ndarray,
    free: np.ndarray,
    steps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far to move the positions, and change the excess of each slice: one weighted least-squares problem."""
    from scipy.linalg import solveh_banded

    count = excess.size
    # Position and excess of a slice side by side: the normal matrix is a narrow band.
    band = np.zeros((max(2 * int((j - i).max()) + 2, 5), 2 * count))
    right = np.zeros(2 * count)
    terms = ((2 * i, -slope), (2 * i + 1, np.ones_like(slope)), (2 * j, slope), (2 * j + 1, np.ones_like(slope)))
    for p, (column, entry) in enumerate(terms):
        right += np.bincount(column, weight * entry * left, 2 * count)
        for row, other in terms[p:]:
            np.add.at(band, (row - column, column), weight * entry * other)
    typical = float(np.median(weight))
    prior = np.where(free, _FREE, _PRIOR) * typical
    band[0, 1::2] += prior
    right[1::2] -= prior * excess
    even = _EVEN * typical * float(np.median(slope)) ** 2
    bends = np.diff(steps)
    inner = 2 * np.arange(count - 2)
    for p, a in enumerate((1.0, -2.0, 1.0)):
        right[inner + 2 * p] -= even * a * bends
        for q, b in enumerate((1.0, -2.0, 1.0)):
            if q >= p:
                band[2 * (q - p), inner + 2 * p] += even * a * b
    # The origin is free, and slices that nothing ties.
    band[0] += 1e-9 * typical
    band[0, 0] += typical * float(np.median(slope)) ** 2
    solved = solveh_banded(band, right, lower=True)
    return solved[::2], solved[1::2]


def _suspected(r: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return a first excess for slices that resemble both neighbours less than these resemble each other.

    Distance cannot do that.
    """
    excess = np.zeros(len(r))
    if r.shape[1] < 2 or len(r) < 3:
        return excess
    before, after = r[:-2, 0] - own[:-2] - own[1:-1], r[1:-1, 0] - own[1:-1] - own[2:]
    across = r[:-2, 1] - own[:-2] - own[2:]
    usual = np.nanmedian(r[:, 0]) if np.isfinite(r[:, 0]).any() else 0.0
    impossible = np.minimum(before, after) > across  # False where one is missing
    excess[1:-1] = np.where(impossible, np.maximum((before + after) / 2 - np.minimum(usual, across), 0.0), 0.0)
    return excess


def _fitted(distance: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Curve:
    """Return a smooth rising curve through values at distances: a penalised spline of first degree, made monotone."""
    gap = 0.5 * float(np.median(distance[distance <= np.median(distance)]))
    top = float(np.quantile(distance, 0.999))
    knots = gap * np.arange(1, max(5, int(np.ceil(top / gap)) + 1) + 1)
    size = knots.size
    place = (distance - knots[0]) / gap
    cell = np.clip(place.astype(np.int64), 0, size - 2)
    share = place - cell
    matrix = np.zeros((size, size))
    right = np.zeros(size)
    ends = ((cell, 1 - share), (cell + 1, share))
    for first, a in ends:
        right += np.bincount(first, weight * a * values, size)
        for second, b in ends:
            np.add.at(matrix, (first, second), weight * a * b)
    bend = np.diff(np.eye(size), 2, axis=0)
    matrix += _BENT * weight.sum() / size * (bend.T @ bend) + 1e-9 * weight.sum() * np.eye(size)
    heights = np.linalg.solve(matrix, right)
    rise = max(float(heights[-1] - heights[0]), 1e-9) / size
    steps = np.maximum(np.diff(heights), 0.02 * rise)
    return Curve(knots, heights[0] + np.concatenate([[0.0], np.cumsum(steps)]))


def _errors(
    i: np.ndarray, j: np.ndarray, slope: np.ndarray, weight: np.ndarray, scale: float, count: int
) -> np.ndarray:
    from stack3d.kernels._band import System, steps

    system = System(i, j, np.zeros((i.size, 1)), weight * slope**2, count)
    tied = system.group >= 0
    error = np.sqrt(steps(system.band, tied, system.group))[1:] * scale
    return np.where(tied[1:] & tied[:-1], error, np.nan)
