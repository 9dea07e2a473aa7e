"""What the content of the specimen adds to the mean of a part of it, told by the spread and skewness of its grey values.

The mean of a part of the stack differs from that of another because of the background, and because they hold different things:
the more dark membranes and organelles, the darker. These also change the spread and the skewness, which a background does
not. So the mean is regressed on the background and on both together (an analysis of covariance: R. A. Fisher, Statistical
Methods for Research Workers, 4th ed., 1932), and what spread and skewness account for is no background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stack3d import kernels

_PARTS = 5  # along each side of the frame: large enough for spread and skewness to say what is inside
_ROUNDS = 4
_FAR = 4.685  # scales from the median, beyond which a cell is no specimen
_CLEAR = 4.0  # variance that the regression must explain, in that of chance, to be believed in half


class Moments(NamedTuple):
    """Mean and number of pixels of cells (slices, rows, cols), sums of the second and third powers of the distance from it."""

    mean: np.ndarray
    amount: np.ndarray
    second: np.ndarray
    third: np.ndarray


def merged(cells: Moments, edges: Sequence[np.ndarray]) -> Moments:
    """Return the moments of neighbouring cells taken together; leading dims are kept."""
    mean = np.where(cells.amount > 0, cells.mean, 0.0)
    centre, amount = means_of(mean, cells.amount, edges)
    far = np.where(cells.amount > 0, mean - _spread_out(centre, edges), 0.0)
    second = cells.second + cells.amount * far**2
    third = cells.third + 3 * far * cells.second + cells.amount * far**3
    return Moments(centre, amount, summed(second, edges), summed(third, edges))


def means_of(mean: np.ndarray, amount: np.ndarray, edges: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of neighbouring cells taken together, NaN where there is nothing, and their amounts."""
    total = summed(amount, edges)
    with np.errstate(invalid="ignore"):
        return summed(mean * amount, edges) / total, total


def summed(values: np.ndarray, edges: Sequence[np.ndarray]) -> np.ndarray:
    """Return sums over neighbouring cells, along the last three axes."""
    for axis, edge in zip((-3, -2, -1), edges, strict=True):
        if len(edge) - 1 < values.shape[axis]:  # else each stays alone, and is copied one by one
            values = np.add.reduceat(values, edge[:-1], axis=axis)
    return values


def told_apart(
    cells: Moments, design: np.ndarray, fit: kernels.fit.Fit, weights: str, divide: bool
) -> tuple[kernels.fit.Fit, float]:
    """Fit ``design`` to the means of cells without what spread and skewness say of their content.

    Parameters
    ----------
    cells : Moments
    design : (slices * rows * cols, terms) array
    fit : Fit
        To the means, which knows nothing of content and stays where content does not show.
    weights : {"huber", "hampel", "tukey", "none"}
        Of that fit.
    divide : bool
        Whether the surface multiplies the grey values (spread included), or is added to them.

    Returns
    -------
    fit : Fit
    share : float
        Of the regression that was believed; 0 where content does not show.
    """
    shape = cells.mean.shape
    edges = [kernels.cells.edges(n, n if axis == 0 else _PARTS) for axis, n in enumerate(shape)]
    found, share = fit, 0.0
    for _ in range(_ROUNDS):
        if not np.all(np.isfinite(found.coefficients)):
            return fit, 0.0
        surface = (design @ found.coefficients).reshape(shape)
        level = float(np.average(surface, weights=cells.amount))
        if divide and not (level > 0 and surface.min() > 0):
            return fit, 0.0
        kept = cells.amount if weights == "none" else _without_foreign(cells.mean - surface, cells.amount)
        factor = level / surface if divide else np.ones(shape)
        mean = cells.mean * factor if divide else cells.mean - surface + level
        parts = merged(Moments(mean, kept, cells.second * factor**2, cells.third * factor**3), edges)
        good = parts.amount > 0
        rows = np.moveaxis(design.reshape(*shape, -1), -1, 0) * kept
        base = (summed(rows, edges)[:, good] / parts.amount[good]).T
        content, share = _content(parts, good, base, "none" if weights == "none" else "tukey")
        if not share:
            return fit, 0.0
        before = base @ found.coefficients
        flat = parts.mean[good] - content
        target = flat * before / level if divide else flat + before - level
        found = kernels.fit.robust(base, target, parts.amount[good], weights="none" if weights == "none" else "tukey")
    return found, share


def _content(parts: Moments, good: np.ndarray, base: np.ndarray, weights: str) -> tuple[np.ndarray, float]:
    """Return what spread and skewness say of the means of parts, and how far this was believed."""
    target, amount = parts.mean[good], parts.amount[good]
    second, third = np.maximum(parts.second[good], 0.0), parts.third[good]
    skew = np.divide(third, second, out=np.zeros(len(second)), where=second > 0)
    told = np.stack([np.sqrt(second / amount), skew], axis=1)
    told = told - np.average(told, axis=0, weights=amount)
    size = np.sqrt(np.average(told**2, axis=0, weights=amount))
    told = told / np.where(size > 0, size, 1.0)  # whatever the unit of grey values is, the rank shows
    both = np.concatenate([base, told], axis=1)
    free = len(target) - both.shape[1]
    if free < 2 * both.shape[1] or np.linalg.matrix_rank(both) < both.shape[1]:
        return np.zeros(len(target)), 0.0
    fit = kernels.fit.robust(both, target, amount, weights=weights)
    mass = fit.weights * amount
    alone = kernels.fit.robust(base, target, mass, weights="none")
    before = float(np.sum(mass * (target - base @ alone.coefficients) ** 2))
    after = float(np.sum(mass * (target - both @ fit.coefficients) ** 2))
    ratio = (before - after) / told.shape[1] / (after / free) if after > 0 else np.inf
    share = max(0.0, 1 - _CLEAR / ratio) if ratio > 0 else 0.0
    return share * (told @ fit.coefficients[base.shape[1] :]), share


def _without_foreign(left: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Return the amounts without those of cells far from all others, such as holes."""
    known = left[amount > 0]
    middle = np.median(known)
    scale = 1.4826 * np.median(np.abs(known - middle))
    near = np.abs(left - middle) <= _FAR * scale if scale > 0 else amount > 0
    return np.where(near, amount, 0.0)


def _spread_out(values: np.ndarray, edges: Sequence[np.ndarray]) -> np.ndarray:
    for axis, edge in zip((-3, -2, -1), edges, strict=True):
        values = np.repeat(values, np.diff(edge), axis=axis)
    return values
