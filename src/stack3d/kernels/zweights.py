"""Which slices, and how much of each, make a slice at a new position: linear, cubic, nearest, by overlap of cells.

Every function returns one ``(start, weights)`` per new position: the result is the sum of the slices ``start``,
``start + 1``, ... times `weights`, which sum to 1. Positions beyond the slices take the slice at that end.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

Weights = list[tuple[int, np.ndarray[Any, np.dtype[np.float64]]]]

# A position this close to a slice, as a share of the gap, is that slice: grids built by different sums still meet.
_SAME = 1e-9


def linear_weights(z_in: Any, z_out: Any) -> Weights:
    """Return weights of linear interpolation between the slices on both sides.

    Parameters
    ----------
    z_in : (slices,) array of float
        Positions of the slices, strictly increasing, of any spacing.
    z_out : (positions,) array of float
        Where slices are wanted, in any order.

    Returns
    -------
    list of (int, (1 or 2,) array of float64)
        One weight where a position is a slice's own, so that nothing is computed there.

    Examples
    --------
    >>> from stack3d.kernels import zweights
    >>> zweights.linear_weights([0.0, 1.0, 3.0], [1.0, 2.5])
    [(1, array([1.])), (1, array([0.25, 0.75]))]
    """
    start, part = _between(*_positions(z_in, z_out))
    ones, both = np.ones((part.size, 1)), np.stack([1.0 - part, part], axis=1)
    return [(k, pair if p else one) for k, p, one, pair in zip(start.tolist(), part.tolist(), ones, both)]


def cubic_weights(z_in: Any, z_out: Any) -> Weights:
    """Return weights of the cubic through the two slices on each side, at their true positions.

    This is Lagrange's polynomial of four points, which needs no even spacing and gives any cubic exactly. Near an end
    the four slices nearest to it are used, and all of them where there are fewer than four. Weights of the outer
    slices are negative: noise grows a little, and edges may overshoot.

    Parameters
    ----------
    z_in : (slices,) array of float
        Positions of the slices, strictly increasing, of any spacing.
    z_out : (positions,) array of float
        Where slices are wanted, in any order.

    Returns
    -------
    list of (int, (1 to 4,) array of float64)

    Examples
    --------
    >>> from stack3d.kernels import zweights
    >>> zweights.cubic_weights([0.0, 1.0, 2.0, 3.0], [1.5])
    [(0, array([-0.0625,  0.5625,  0.5625, -0.0625]))]
    """
    z, wanted = _positions(z_in, z_out)
    result: Weights = []
    count = min(4, z.size)
    for position, below, part in zip(wanted, *_between(z, wanted)):
        if not part:
            result.append((int(below), np.ones(1)))
            continue
        start = int(np.clip(below - 1, 0, z.size - count))
        points = z[start : start + count]
        gaps = points[:, None] - points[None, :]
        np.fill_diagonal(gaps, 1.0)
        parts = np.broadcast_to(position - points, (count, count)).copy()
        np.fill_diagonal(parts, 1.0)
        result.append((start, np.prod(parts / gaps, axis=1)))
    return result


def nearest_weights(z_in: Any, z_out: Any) -> Weights:
    """Return weights that take the nearest slice; half-way, the one below.

    Parameters
    ----------
    z_in : (slices,) array of float
        Positions of the slices, strictly increasing, of any spacing.
    z_out : (positions,) array of float
        Where slices are wanted, in any order.

    Returns
    -------
    list of (int, (1,) array of float64)

    Examples
    --------
    >>> from stack3d.kernels import zweights
    >>> zweights.nearest_weights([0.0, 1.0, 3.0], [2.0, 2.1])
    [(1, array([1.])), (2, array([1.]))]
    """
    start, part = _between(*_positions(z_in, z_out))
    return list(zip((start + (part > 1.0 - part)).tolist(), np.ones((part.size, 1))))


def area_weights(bounds_in: Any, bounds_out: Any) -> Weights:
    """Return weights in proportion to the overlap of cells, as a detector with larger cells would see them.

    When the new cells are larger every old cell under them counts, so that no slice (or row, or column) is lost.

    Parameters
    ----------
    bounds_in : (cells + 1,) array of float
        Bounds of the cells there are, strictly increasing.
    bounds_out : (new cells + 1,) array of float
        Bounds of the cells wanted, strictly increasing. The part of a new cell that lies outside counts for nothing;
        one that lies outside altogether takes the cell at that end.

    Returns
    -------
    list of (int, (n,) array of float64)

    Examples
    --------
    >>> from stack3d.kernels import zweights
    >>> zweights.area_weights([0, 1, 2, 3], [0.5, 2.5])
    [(0, array([0.25, 0.5 , 0.25]))]
    """
    old = _increasing(bounds_in, "bounds_in", 2)
    new = _increasing(bounds_out, "bounds_out", 2)
    result: Weights = []
    for low, high in pairwise(new.tolist()):
        first = int(np.clip(np.searchsorted(old, low, side="right") - 1, 0, old.size - 2))
        last = int(np.clip(np.searchsorted(old, high, side="left"), first + 1, old.size - 1))
        overlap = np.minimum(old[first + 1 : last + 1], high) - np.maximum(old[first:last], low)
        overlap = np.maximum(overlap, 0.0)
        # Slivers come from bounds that differ by rounding only.
        kept = np.flatnonzero(overlap > _SAME * min(high - low, float(np.min(np.diff(old[first : last + 1])))))
        if kept.size:
            weights = overlap[kept[0] : kept[-1] + 1]
            result.append((first + int(kept[0]), weights / weights.sum()))
        else:
            result.append((first if high > old[0] else 0, np.ones(1)))
    return result


def _between(z: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """Return the slice below each position and the share of the one above it; 0 at a slice, and beyond the slices."""
    below = np.searchsorted(z, wanted, side="right") - 1
    inside = np.flatnonzero((below >= 0) & (below < z.size - 1))
    start, part = np.clip(below, 0, z.size - 1), np.zeros(wanted.size)
    k = start[inside]
    part[inside] = (wanted[inside] - z[k]) / (z[k + 1] - z[k])
    start[part > 1 - _SAME] += 1
    part[(part < _SAME) | (part > 1 - _SAME)] = 0.0
    return start, part


def _positions(z_in: Any, z_out: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    wanted = np.atleast_1d(np.asarray(z_out, np.float64))
    if wanted.ndim != 1 or not np.all(np.isfinite(wanted)):
        raise ValueError(f"z_out must be finite numbers in one dimension, got shape {wanted.shape}")
    return _increasing(z_in, "z_in", 1), wanted


def _increasing(values: Any, name: str, least: int) -> np.ndarray[Any, Any]:
    numbers = np.atleast_1d(np.asarray(values, np.float64))
    if numbers.ndim != 1 or numbers.size < least or not np.all(np.isfinite(numbers)) or np.any(np.diff(numbers) <= 0):
        raise ValueError(f"{name} must hold at least {least} finite, strictly increasing numbers, got {numbers}")
    return numbers
