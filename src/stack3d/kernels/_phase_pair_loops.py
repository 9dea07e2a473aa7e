"""A pair of spectra compared in two compiled calls, before and after the coarse correlation.

The compiled form of :func:`candidates`, :func:`refine` and :func:`judge` of :mod:`stack3d.kernels._phase_fit`, which say
what is done here and are its oracle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._phase_loops import (
    LIMIT,
    NEAR,
    STILL,
    cells,
    climb,
    coarse,
    cross,
    learn,
    moments_of_parts,
    newton,
    peaks,
)

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
GOOD, CHANCE, ONE_DIRECTION, DISAGREE = 0, 1, 2, 3


@njit(**_OPTIONS)
def opened(
    a: Any, b: Any, power_a: Any, power_b: Any, order: Any, begin: Any, cell: Any, start: Any, first: Any, signed: Any,
    kept: Any, rows: int, columns: int,
) -> Any:  # fmt: skip
    """Cross-spectrum, its squares in each cell, and its low part weighted and laid out for the correlation."""
    product, squares = cross(a, b, order, begin)
    weight = np.empty(power_a.size, np.float32)
    most = 1e-300
    for c in range(weight.size):
        most = max(most, np.float64(power_a[c]) * np.float64(power_b[c]))
    for c in range(weight.size):
        weight[c] = (np.float64(power_a[c]) * np.float64(power_b[c]) / most) ** 0.125
    half = np.empty((rows, columns // 2 + 1), np.complex64)
    coarse(product, weight, cell, start, first, signed, kept, half)
    return product, squares, half


@njit(**_OPTIONS)
def summits(correlation: Any, size_y: int, size_x: int) -> Any:
    """Displacements in pixels at the highest peaks of a correlation over frames of a size."""
    found = peaks(correlation, 4, 0.6)
    least, number = 0.6 * max(found[0, 2], 0.0), 0
    out = np.empty((found.shape[0], 2))
    for k in range(found.shape[0]):
        if not found[k, 2] > least:
            continue
        for axis in range(2):
            grid = correlation.shape[axis]
            place = found[k, axis] - grid if found[k, axis] > grid / 2 else found[k, axis]
            out[number, axis] = place * ((size_y if axis == 0 else size_x) / grid)
        number += 1
    return out[:number]


@njit(**_OPTIONS)
def settled(
    product: Any, squares: Any, power_a: Any, power_b: Any, starts: Any, order: Any, begin: Any, cell: Any,
    start: Any, first: Any, signed: Any, step_y: float, step_x: float, columns: int, counts: Any, ring: Any, axis: Any,
    rings: int, spread: Any, dof: float, reach: Any, slope_y: Any, slope_x: Any, binning: int, slack: float,
    significant: float, differing: float, floor: float, lowest: int,
) -> Any:  # fmt: skip
    """Follow the best of some displacements to the maximum, and judge it.

    Returns
    -------
    numbers : (9,) array
        dy, dx, quality, weight, error_y, error_x, significance, disagreement, and why it is refused (0: it is not).
    rings : (rings,) array
        Coherence.
    """
    number = counts.size
    best, dy, dx, weight = -np.inf, 0.0, 0.0, np.zeros(number)
    for k in range(starts.shape[0]):
        sums = cells(product, order, begin, start, first, signed, step_y, step_x, columns, starts[k, 0], starts[k, 1])
        _, some, significance = learn(sums, squares, counts, ring, axis, rings, dof)
        if significance > best:
            best, dy, dx, weight = significance, starts[k, 0], starts[k, 1], some
    # after the first climb the weights are learned anew, and after a second that moves them again
    light, near = weight.astype(np.float32), NEAR * binning
    dy, dx = climb(product, light, cell, start, first, signed, step_y, step_x, columns, dy, dx, 2, 1.5 * binning, near)
    for last in (False, True):
        sums = cells(product, order, begin, start, first, signed, step_y, step_x, columns, dy, dx)
        coherence, weight, significance = learn(sums, squares, counts, ring, axis, rings, dof)
        known = _information(coherence, spread, dof, ring, rings)
        bounds = _bounds(known, rings, lowest)
        weights, ends = _parted(weight, ring, bounds, start, reach)
        found = moments_of_parts(product, weights, cell, ends, start, first, signed, step_y, step_x, columns, dy, dx)
        sy, sx = newton(found[0] + found[1] + found[2], 0.75 * binning)
        if last or math.sqrt(sy * sy + sx * sx) < STILL * binning:
            break
        dy, dx = dy + sy, dx + sx
        if not math.sqrt(sy * sy + sx * sx) < near:
            light = weight.astype(np.float32)
            dy, dx = climb(
                product, light, cell, start, first, signed, step_y, step_x, columns, dy, dx, 1, 0.75 * binning, near
            )
    out = np.zeros(9)
    profile, quality = _coherence(coherence, power_a, power_b, counts, ring, axis, rings)
    out[0], out[1], out[2], out[4], out[5], out[6] = dy, dx, quality, np.inf, np.inf, significance
    if not significance >= significant:
        out[8] = CHANCE
        return out, profile
    yy, yx, xx = known[0].sum(), known[1].sum(), known[2].sum()
    if not yy * xx - yx * yx > 1e-9 * yy * xx:
        out[8] = ONE_DIRECTION
        return out, profile
    pull_y, pull_x = _slope(slope_y, dy / binning) / binning, _slope(slope_x, dx / binning) / binning
    both, worst = _compared(found, known, bounds, pull_y, pull_x, (slack * binning) ** 2)
    if both[0] > 0 and _is_hill(both):
        py, px = _solved(both[3] / both[0], both[4] / both[0], both[5] / both[0], pull_y - both[1] / both[0],
                         pull_x - both[2] / both[0])  # fmt: skip
        out[0], out[1] = dy + py, dx + px
    out[7] = worst
    if worst > differing:
        out[8] = DISAGREE
        return out, profile
    determinant = yy * xx - yx * yx
    variance_y, variance_x = xx / determinant + (floor * binning) ** 2, yy / determinant + (floor * binning) ** 2
    out[3], out[4], out[5] = 2 / (variance_y + variance_x), math.sqrt(variance_y), math.sqrt(variance_x)
    return out, profile


@njit(**_OPTIONS)
def _coherence(coherence: Any, power_a: Any, power_b: Any, counts: Any, ring: Any, axis: Any, rings: int) -> Any:
    """Coherence of rings, and the correlation of the half-whitened frames."""
    total, number, above, below = np.zeros(rings), np.zeros(rings), 0.0, 0.0
    for c in range(counts.size):
        if axis[c]:
            continue
        total[ring[c]] += counts[c] * coherence[c]
        number[ring[c]] += counts[c]
        share = counts[c] * math.sqrt(math.sqrt(np.float64(power_a[c]) * np.float64(power_b[c])))
        above += share * coherence[c]
        below += share
    for r in range(rings):
        total[r] /= max(number[r], 1.0)
    return total, min(max(above / max(below, 1e-300), 0.0), 1.0)


@njit(**_OPTIONS)
def _information(coherence: Any, spread: Any, dof: float, ring: Any, rings: int) -> Any:
    """What each ring says of the displacement: (yy, yx, xx)."""
    known = np.zeros((3, rings))
    for c in range(coherence.size):
        trusted = min(coherence[c], LIMIT)
        value = 2 * dof * trusted * trusted / (1 - trusted * trusted)
        for k in range(3):
            known[k, ring[c]] += value * spread[k, c]
    return known


@njit(**_OPTIONS)
def _bounds(known: Any, rings: int, lowest: int) -> Any:
    """Rings at which the parts of the band begin and end: the lowest, and two above of equal information."""
    total = 0.0
    for r in range(lowest, rings):
        total += known[0, r] + known[2, r]
    along, cut = 0.0, rings
    for r in range(rings):
        along += known[0, r] + known[2, r] if r >= lowest else 0.0
        if along >= total / 2:
            cut = r
            break
    return np.array([0, min(lowest, rings), min(max(cut, lowest - 1) + 1, rings), rings])


@njit(**_OPTIONS)
def _parted(weight: Any, ring: Any, bounds: Any, start: Any, reach: Any) -> Any:
    """Weights of the parts of the band, and where each begins and ends in the pairs of rows."""
    weights = np.zeros((bounds.size - 1, weight.size), np.float32)
    ends = np.empty((reach.shape[0] // 2, bounds.size), np.int64)
    for p in range(bounds.size - 1):
        for c in range(weight.size):
            if bounds[p] <= ring[c] < bounds[p + 1]:
                weights[p, c] = weight[c]
    for pair in range(ends.shape[0]):
        for p in range(bounds.size):
            ends[pair, p] = reach[2 * pair, bounds[p]]
    return weights, ends


@njit(**_OPTIONS)
def _compared(found: Any, known: Any, bounds: Any, pull_y: float, pull_x: float, floor: float) -> Any:
    """Sum of the moments of parts of the band, and the deviations by which their displacements differ."""
    both, worst, used = np.zeros(6), 0.0, 0
    steps = np.zeros((found.shape[0], 5))
    for p in range(found.shape[0]):
        part = known[:, bounds[p] : bounds[p + 1]]
        yy, yx, xx = part[0].sum(), part[1].sum(), part[2].sum()
        if not yy * xx > yx * yx:
            continue
        both += found[p]
        if not (found[p, 0] > 0 and _is_hill(found[p])):
            worst = np.inf
            continue
        bend, slope = found[p, 3:] / found[p, 0], found[p, 1:3] / found[p, 0]
        sy, sx = _solved(bend[0], bend[1], bend[2], pull_y - slope[0], pull_x - slope[1])
        determinant = yy * xx - yx * yx
        vyy, vyx, vxx = xx / determinant, -yx / determinant, yy / determinant
        for q in range(used):
            gy, gx = sy - steps[q, 0], sx - steps[q, 1]
            ty, tx = _solved(vyy + steps[q, 2] + floor, vyx + steps[q, 3], vxx + steps[q, 4] + floor, gy, gx)
            worst = max(worst, math.sqrt(max(gy * ty + gx * tx, 0.0)))
        steps[used] = np.array([sy, sx, vyy, vyx, vxx])
        used += 1
    return both, worst


@njit(**_OPTIONS)
def _is_hill(found: Any) -> bool:
    return bool(found[3] < 0 and found[5] < 0 and found[3] * found[5] > found[4] ** 2)


@njit(**_OPTIONS)
def _solved(yy: float, yx: float, xx: float, gy: float, gx: float) -> Any:
    determinant = yy * xx - yx * yx
    return (xx * gy - yx * gx) / determinant, (yy * gx - yx * gy) / determinant


@njit(**_OPTIONS)
def _slope(slope: Any, at: float) -> float:
    """Slope of the logarithm of the autocorrelation of the window, at lags -0.5, 0.5 ..., per binned pixel."""
    place = min(max(abs(at) + 0.5, 0.0), slope.size - 1.0)
    low = min(int(place), max(slope.size - 2, 0))
    high = min(low + 1, slope.size - 1)
    value = float(slope[low] + (slope[high] - slope[low]) * (place - low))
    return -value if at < 0 else value
