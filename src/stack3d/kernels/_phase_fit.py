"""From a cross-spectrum to a displacement, its error, and whether it can be trusted."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _phase_arrays as arrays
from stack3d.kernels import _phase_loops as loops
from stack3d.kernels import _phase_pair_loops as pair_loops
from stack3d.kernels._phase_plan import Plan, Tables

SIGNIFICANCE = 5.5  # deviations above chance that a peak must have
_DISAGREEMENT = 5.0  # deviations by which two bands may differ
_FLOOR = 0.005  # systematic part of the error, in binned pixels, added to the statistical one
_LOW = 2  # rings of the band that are compared as its lowest part
REFUSED = {
    pair_loops.GOOD: "",
    pair_loops.CHANCE: "no displacement stands out from chance",
    pair_loops.ONE_DIRECTION: "the frames fix the displacement in one direction only",
    pair_loops.DISAGREE: "two bands of the spectrum disagree",
}


class Detail(NamedTuple):
    """How far a displacement can be trusted.

    Attributes
    ----------
    weight : float
        1 / (variance of the displacement along one axis), in 1 / pixel^2; 0 for a refused pair.
    error_y, error_x : float
        Estimated standard errors in pixels; infinite for a refused pair.
    significance : float
        Deviations by which the coherence at the peak stands above chance.
    disagreement : float
        Deviations between the displacements of the lower and the upper half of the band.
    coherence : numpy.ndarray
        Coherence of the two frames in each ring of the band, from low to high frequency.
    refused : str
        Why the pair is refused; empty for a good pair.
    """

    weight: float
    error_y: float
    error_x: float
    significance: float
    disagreement: float
    coherence: np.ndarray[Any, Any]
    refused: str


class PairShift(NamedTuple):
    """Displacement of the content of the second frame relative to the first, in pixels.

    Attributes
    ----------
    dy, dx : float
        What lies at (y, x) in the first frame lies at (y + dy, x + dx) in the second; 0 where nothing could be found.
    quality : float
        Correlation of the half-whitened frames at the peak, from 0 to 1.
    extra : Detail
        Errors, checks and the reason of a refusal.
    """

    dy: float
    dx: float
    quality: float
    extra: Detail


class CompiledSums:
    """Sums over the band with compiled loops."""

    def __init__(self, first: Any, second: Any, tables: Tables) -> None:
        self.t = tables
        self.cross, self.squares = loops.cross(first.coefficients, second.coefficients, tables.order, tables.begin)
        self.weight = np.ones(tables.counts.size, np.float32)
        self.band = (tables.start, tables.first, tables.signed, *tables.step, tables.columns)

    def correlation(self, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows, columns = self.t.grid
        half = np.empty((rows, columns // 2 + 1), np.complex64)
        loops.coarse(self.cross, weight, self.t.cell, self.t.start, self.t.first, self.t.signed, self.t.kept, half)
        correlation: np.ndarray[Any, Any] = scipy.fft.irfft2(half, self.t.grid, workers=1, overwrite_x=True)
        return correlation

    def cells(self, dy: float, dx: float) -> np.ndarray[Any, Any]:
        sums: np.ndarray[Any, Any] = loops.cells(self.cross, self.t.order, self.t.begin, *self.band, dy, dx)
        return sums

    def weigh(self, weight: np.ndarray[Any, Any]) -> None:
        self.weight = weight.astype(np.float32)

    def moments(self, dy: float, dx: float) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = loops.moments(self.cross, self.weight, self.t.cell, *self.band, dy, dx)
        return found

    def climb(self, dy: float, dx: float, steps: int, longest: float, near: float) -> tuple[float, float]:
        dy, dx = loops.climb(self.cross, self.weight, self.t.cell, *self.band, dy, dx, steps, longest, near)
        return dy, dx


def compiled_pair(first: Any, second: Any, tables: Tables, plan: Plan, guess: tuple[float, float] | None) -> PairShift:
    """Displacement of a pair of usable spectra on the host."""
    t, powers = tables, (first.power, second.power)
    product, squares, half = pair_loops.opened(
        first.coefficients,
        second.coefficients,
        *powers,
        t.order,
        t.begin,
        t.cell,
        t.start,
        t.first,
        t.signed,
        t.kept,
        *t.grid,
    )
    limits = (plan.binning, plan.slack, SIGNIFICANCE, _DISAGREEMENT, _FLOOR, _LOW)
    band = (t.order, t.begin, t.cell, t.start, t.first, t.signed, *t.step, t.columns)
    rest = (*band, t.counts, t.ring, t.axis, t.rings, t.spread, t.dof, t.reach, t.slope_y, t.slope_x, *limits)
    if guess is not None:
        starts = np.array([guess], dtype=np.float64)
        found = _told(*pair_loops.settled(product, squares, *powers, starts, *rest))
        if found.extra.weight > 0:
            return found
    correlation = scipy.fft.irfft2(half, t.grid, workers=1, overwrite_x=True)
    starts = pair_loops.summits(correlation, t.transformed[0] * plan.binning, t.transformed[1] * plan.binning)
    return _told(*pair_loops.settled(product, squares, *powers, starts, *rest))


def _told(numbers: np.ndarray[Any, Any], rings: np.ndarray[Any, Any]) -> PairShift:
    dy, dx, quality, weight, error_y, error_x, significance, disagreement, why = numbers.tolist()
    detail = Detail(weight, error_y, error_x, significance, disagreement, rings, REFUSED[int(why)])
    return PairShift(dy, dx, quality, detail)


def candidates(machine: Any, first: Any, second: Any, tables: Tables, plan: Plan) -> np.ndarray[Any, Any]:
    """Displacements at the highest peaks of the coarse correlation; the others only where they come near the first."""
    power = arrays.to_host(first.power).astype(np.float64) * arrays.to_host(second.power).astype(np.float64)
    weight = (power / max(power.max(), 1e-300)) ** 0.125
    found = loops.peaks(machine.correlation(weight.astype(np.float32)), 4)
    found = found[found[:, 2] > 0.6 * max(found[0, 2], 0.0)]
    out = np.empty((len(found), 2))
    for axis in range(2):
        size, grid = tables.transformed[axis] * plan.binning, tables.grid[axis]
        place = np.where(found[:, axis] > grid / 2, found[:, axis] - grid, found[:, axis])
        out[:, axis] = place * (size / grid)
    return out


def learn(machine: Any, d: tuple[float, float], tables: Tables) -> Any:
    return loops.learn(
        machine.cells(*d), machine.squares, tables.counts, tables.ring, tables.axis, tables.rings, tables.dof
    )


def refine(machine: Any, starts: np.ndarray[Any, Any], tables: Tables, plan: Plan) -> tuple[float, float]:
    """Follow the best of some displacements to the maximum, learning the weights on the way."""
    best = (-np.inf, (0.0, 0.0), np.zeros(0))
    for start in starts:
        d = (float(start[0]), float(start[1]))
        _, weight, significance = learn(machine, d, tables)
        if significance > best[0]:
            best = (significance, d, weight)
    _, d, weight = best
    machine.weigh(weight)
    near = loops.NEAR * plan.binning
    d = machine.climb(*d, 2, 1.5 * plan.binning, near)
    _, weight, _ = learn(machine, d, tables)
    machine.weigh(weight)
    end = machine.climb(*d, 2, 0.75 * plan.binning, near)
    # a step so short is left to the last one, which the judgement takes
    dy, dx = d if math.dist(d, end) < loops.STILL * plan.binning else end
    return float(dy), float(dx)


def _solve(h: np.ndarray[Any, Any], g: np.ndarray) -> np.ndarray[Any, Any]:
    """Solve a symmetric 2 x 2 system given as (yy, yx, xx)."""
    determinant = h[0] * h[2] - h[1] * h[1]
    return np.array([(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant])


def _inverse(h: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    determinant = h[0] * h[2] - h[1] * h[1]
    out: np.ndarray[Any, Any] = np.array([h[2], -h[1], h[0]]) / determinant
    return out


def judge(machine: Any, d: tuple[float, float], first: Any, second: Any, tables: Tables, plan: Plan) -> PairShift:
    """Errors, the comparison of the two halves of the band, and the correction for the window."""
    t = tables
    coherence, weight, significance = learn(machine, d, t)
    prior = np.sqrt(np.sqrt(arrays.to_host(first.power).astype(np.float64) * arrays.to_host(second.power)))
    share = t.counts * ~t.axis
    rings = np.bincount(t.ring, share * coherence, t.rings) / np.maximum(np.bincount(t.ring, share, t.rings), 1)
    share = share * prior
    quality = float(np.clip((share * coherence).sum() / max(share.sum(), 1e-300), 0, 1))
    if not significance >= SIGNIFICANCE:
        return refusal(REFUSED[pair_loops.CHANCE], t, quality, significance, rings, d)
    trusted = np.minimum(coherence, loops.LIMIT)
    per_cell = 2 * t.dof * trusted**2 / (1 - trusted**2) * t.spread
    information = per_cell.sum(axis=1)
    if not information[0] * information[2] - information[1] ** 2 > 1e-9 * information[0] * information[2]:
        return refusal(REFUSED[pair_loops.ONE_DIRECTION], t, quality, significance, rings, d)
    variance = _inverse(information)
    # the window favours small displacements by a factor that is known; its slope moves the maximum
    pull = np.array([_slope(t.slope_y, d[0] / plan.binning), _slope(t.slope_x, d[1] / plan.binning)]) / plan.binning
    both, disagreement = _disagreement(machine, d, weight, per_cell, pull, t, plan)
    dy, dx = d
    if _is_hill(both) and both[0] > 0:
        push = _solve(both[3:] / both[0], pull - both[1:3] / both[0])
        dy, dx = dy + float(push[0]), dx + float(push[1])
    if disagreement > _DISAGREEMENT:
        return refusal(REFUSED[pair_loops.DISAGREE], t, quality, significance, rings, (dy, dx), disagreement)
    floor = (_FLOOR * plan.binning) ** 2
    variance = variance + np.array([floor, 0.0, floor])
    error = np.sqrt(variance[[0, 2]])
    detail = Detail(
        float(2 / (variance[0] + variance[2])),
        float(error[0]),
        float(error[1]),
        float(significance),
        disagreement,
        rings,
        "",
    )
    return PairShift(float(dy), float(dx), quality, detail)


def _disagreement(
    machine: Any, d: tuple[float, float], weight: Any, per_cell: Any, pull: Any, tables: Tables, plan: Plan
) -> tuple[np.ndarray[Any, Any], float]:
    """Moments of the whole band, and deviations by which three parts of it differ.

    The parts are the lowest rings, and what is above them cut in two of equal information; the maximum of each is taken
    to be a linear step away from the common one.
    """
    ring = tables.ring
    along = np.cumsum(np.bincount(ring, per_cell[0] + per_cell[2], tables.rings) * (np.arange(tables.rings) >= _LOW))
    cut = int(np.searchsorted(along, along[-1] / 2))
    masks = [ring < _LOW, (ring >= _LOW) & (ring <= cut), ring > max(cut, _LOW - 1)]
    both, parts, worst = np.zeros(6), [], 0.0
    for mask in masks:
        information = per_cell[:, mask].sum(axis=1)
        if not information[0] * information[2] > information[1] ** 2:
            continue
        machine.weigh(np.where(mask, weight, 0.0))
        found = machine.moments(*d)
        both += found
        if not (_is_hill(found) and found[0] > 0):
            worst = math.inf
            continue
        step = _solve(found[3:] / found[0], pull - found[1:3] / found[0])
        parts.append((step, _inverse(information)))
    floor = (plan.slack * plan.binning) ** 2
    for i, (step, variance) in enumerate(parts):
        for other, other_variance in parts[:i]:
            gap = step - other
            spread = variance + other_variance + np.array([floor, 0.0, floor])
            worst = max(worst, math.sqrt(max(float(gap @ _solve(spread, gap)), 0.0)))
    return both, worst


def _is_hill(found: np.ndarray[Any, Any]) -> bool:
    return bool(found[3] < 0 and found[5] < 0 and found[3] * found[5] > found[4] ** 2)


def _slope(slope: np.ndarray[Any, Any], at: float) -> float:
    """Slope of the logarithm of the autocorrelation of the window, per binned pixel."""
    value = float(np.interp(abs(at), np.arange(slope.size) - 0.5, slope))
    return -value if at < 0 else value


def refusal(
    why: str,
    tables: Tables,
    quality: float = 0.0,
    significance: float = 0.0,
    rings: np.ndarray[Any, Any] | None = None,
    d: tuple[float, float] = (0.0, 0.0),
    disagreement: float = 0.0,
) -> PairShift:
    rings = np.zeros(tables.rings) if rings is None else rings
    detail = Detail(0.0, np.inf, np.inf, float(significance), float(disagreement), rings, why)
    return PairShift(float(d[0]), float(d[1]), quality, detail)
