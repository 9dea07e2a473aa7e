"""Positions of all slices of a stack from displacements between pairs of them.

Every pair says how far slice j lies from slice i. All pairs together are solved at once by weighted least squares, with
weights that fall for pairs that contradict the others (iteratively reweighted; first absolute deviations, which have
one minimum only, then the Cauchy function). Errors do not add up along the stack as in a chain, a wrong pair has no
say, and a true jump stays sharp because nothing asks for smoothness. Once it is known which pairs to trust, those of
lags that contradict the steps from slice to slice more than their errors explain count for less: there the content moves,
which no average takes off.

Matrices are solved for in the same way (:func:`poses`): what is left of each pair, once the present poses of its two
slices are taken off, is near the identity; its logarithm is solved for as a displacement is, and the poses are
multiplied with the result, a few times over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _groups as groups
from stack3d.kernels._band import System, steps
from stack3d.kernels._closure import discounted

__all__ = ["Poses", "Positions", "poses", "positions"]

_CAUCHY = 2.385  # 95 % efficiency for normal errors
_FLOOR = 0.05  # pixels: pairs that miss by no more than this do not contradict each other


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
    system = System(first, second, clean, base * trust, count)
    residuals = clean - system.solved[second] + system.solved[first]
    size = np.sqrt((residuals**2).sum(axis=1))
    with np.errstate(divide="ignore"):
        wrong = good & (size > np.maximum(tolerance, 5 * scale * np.sqrt(shifts.shape[1] / base)))
    ok, quality = _verdict(first, second, good, wrong, base, count)
    kept = good & ok[first] & ok[second]
    final = discounted(first, second, clean, base * trust * kept)
    system = System(first, second, clean, final, count)
    ok &= system.group >= 0
    solved = system.solved
    if ok.any():
        solved = solved - solved[int(np.argmax(ok))]
    residuals = np.where(np.isfinite(shifts), shifts, np.nan) - solved[second] + solved[first]
    error = np.sqrt(steps(system.band, ok, system.group)) * max(scale, 1.0)
    return Positions(solved, residuals, trust, ok, quality, system.group, error)


def _trust(
    first: Any, second: Any, shifts: Any, weights: Any, good: Any, count: int, iterations: int
) -> tuple[np.ndarray[Any, Any], float]:
    """How far each pair agrees with all others, and the errors met relative to those expected."""
    trust, scale = good.astype(np.float64), 1.0
    if not good.any():
        return trust, scale
    for iteration in range(iterations):
        solved = System(first, second, shifts, weights * trust, count).solved
        difference = shifts - solved[second] + solved[first]
        size = np.sqrt((difference**2).mean(axis=1))
        # a scale of one part in 1e6 of the expected error means that all pairs agree
        scale = max(1.4826 * float(np.median((size * np.sqrt(weights))[good])), 1e-6)
        # where all others agree to the last digit, one that alone bridges a gap must not be dropped for a trifle
        ratio = size / np.maximum(scale / np.sqrt(np.where(good, weights, 1.0)), _FLOOR)
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


class Poses(NamedTuple):
    """Result of :func:`poses`.

    Attributes
    ----------
    matrices : numpy.ndarray
        (count, 3, 3) float64 pull matrices: they take (x, y, 1) of the aligned frame to where it lies in the slice. That
        of the first good slice is the identity.
    residuals : numpy.ndarray
        (pairs, k) float64: parameters, in pixels, of what is left of each pair; NaN where none was measured.
    trust, ok, quality, group, error
        As in :class:`Positions`.
    """

    matrices: np.ndarray[Any, Any]
    residuals: np.ndarray[Any, Any]
    trust: np.ndarray[Any, Any]
    ok: np.ndarray[Any, Any]
    quality: np.ndarray[Any, Any]
    group: np.ndarray[Any, Any]
    error: np.ndarray[Any, Any]


def poses(
    first: Any,
    second: Any,
    matrices: Any,
    weights: Any,
    count: int,
    centre: tuple[float, float],
    *,
    model: str = "affine",
    aspect: float = 1.0,
    iterations: int = 4,
    tolerance: float = 0.5,
) -> Poses:
    """Solve for the pull matrix of every slice from matrices between pairs of slices.

    Parameters
    ----------
    first, second : array of int
        (pairs,) numbers of the slices of each pair.
    matrices : array of float
        (pairs, 3, 3): they take (x, y, 1) of what lies there in the first slice to where it lies in the second. Exactly
        consistent ones satisfy ``matrices[p] == M[second[p]] @ inv(M[first[p]])``.
    weights : array of float
        (pairs,) 1 / variance of the displacement, in 1 / pixel^2; 0, or a matrix that is not finite, means refused.
    count : int
        Number of slices.
    centre : tuple of float
        Centre (x, y) of the frame, in pixels; its distance from the corner is that at which turns and scales are weighed
        against displacements.
    model : str, default "affine"
        Family of the matrices, see :func:`stack3d.kernels.affine.plan`; what a matrix has beyond it is left out.
    aspect : float, default 1
        Height of a pixel, in widths.
    iterations : int, default 4
        Linear solutions.
    tolerance : float, default 0.5
        As in :func:`positions`, in pixels.

    Returns
    -------
    Poses
        Slices without a trusted pair are interpolated between their neighbours.

    Raises
    ------
    ValueError
        If the arrays do not match, a slice number is out of range, or the model is unknown.

    Examples
    --------
    >>> from stack3d.kernels import solve
    >>> step = np.array([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]])
    >>> solved = solve.poses([0, 1, 0], [1, 2, 2], [step, step, step @ step], [1, 1, 1], 3, (50, 50))
    >>> solved.matrices[:, 0, 2].round(6)
    array([0., 2., 4.])
    """
    groups.generators(model, aspect)
    first, second = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    matrices, weights = np.asarray(matrices, dtype=np.float64), np.array(weights, dtype=np.float64)
    pairs = first.size
    if matrices.shape != (pairs, 3, 3):
        raise ValueError(f"matrices must have the shape (pairs, 3, 3) with {pairs} pairs, got {matrices.shape}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    good = np.isfinite(matrices).all(axis=(1, 2))
    good &= np.linalg.det(np.where(good[:, None, None], matrices, np.eye(3))) > 0
    clean = groups.moved(np.where(good[:, None, None], matrices, np.eye(3)), centre)
    length = float(np.hypot(centre[0], centre[1])) or 1.0
    if weights.shape == (pairs,):
        weights[~good] = 0.0
    found = np.tile(np.eye(3), (count, 1, 1))
    for _ in range(iterations):
        left = np.linalg.inv(found[second]) @ clean @ found[first]
        values = groups.parameters(left, model, length, aspect)
        solved = positions(first, second, values, weights, count, tolerance=tolerance)
        found = found @ groups.matrices(solved.positions, model, length, aspect)
    if solved.ok.any():
        found = found @ np.linalg.inv(found[int(np.argmax(solved.ok))])
    residuals = groups.parameters(np.linalg.inv(found[second]) @ clean @ found[first], model, length, aspect)
    residuals[~good] = np.nan
    out = groups.moved(found, (-centre[0], -centre[1]))
    out[:, 2] = 0.0, 0.0, 1.0
    return Poses(out, residuals, solved.trust, solved.ok, solved.quality, solved.group, solved.error)
