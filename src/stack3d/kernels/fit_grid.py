"""Polynomials of three positions fitted to values on a grid, robustly: as `fit.robust`, without a row for each value.

Each term is a product of a power of each position. So every sum over the grid that the normal equations need is one
along x, then along y, then along z, of a few numbers each: the model with all its terms is never written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import fit

# Ratio of the eigenvalues of normal equations beyond which digits are lost that the long way keeps.
_CLEAR = 1e6


class _Model(NamedTuple):
    """The terms as combinations of products of orthonormal columns, one for each axis."""

    columns: tuple[np.ndarray, ...]  # of each axis (positions, powers)
    pairs: tuple[np.ndarray, ...]  # products of two of them
    place: tuple[np.ndarray, ...]  # where the product of columns i and j stands
    terms: np.ndarray  # (products, terms)


def design(axes: Sequence[np.ndarray], powers: np.ndarray) -> np.ndarray:
    """Return the value of each term at each place of the grid, (z * y * x, terms).

    Parameters
    ----------
    axes : three (positions, powers) arrays
        The powers 0, 1, 2 ... of the positions along z, y and x, or means of them over cells.
    powers : (terms, 3) array of int
        Exponents of z, y and x.
    """
    z, y, x = axes
    parts = [z[:, None, None, c] * y[None, :, None, b] * x[None, None, :, a] for c, b, a in powers]
    return np.stack([part.ravel() for part in parts], axis=1)


def robust(
    axes: Sequence[np.ndarray],
    powers: np.ndarray,
    values: Any,
    amounts: Any,
    *,
    weights: str = "huber",
    iterations: int = 30,
) -> tuple[fit.Fit, np.ndarray]:
    """Fit a polynomial to values on a grid; see `fit.robust`, whose result this is but for rounding.

    Parameters
    ----------
    axes, powers
        As for `design`.
    values, amounts : (z, y, x) array
        NaN is left out; how much each counts from the outset.
    weights, iterations
        As for `fit.robust`.

    Returns
    -------
    Fit
    surface : (z, y, x) array
        The fitted polynomial on the grid.
    """
    values = np.asarray(values, dtype=np.float64)
    amounts = np.where(np.isfinite(values), amounts, 0.0).astype(np.float64)
    good = amounts > 0
    count = int(np.count_nonzero(good))
    bad = None if count == good.size else ~good
    target = np.where(good, values, 0.0)
    model = _model(axes, powers)
    start = _start(model, good) if count >= len(powers) else None
    if start is None:
        return _the_long_way(axes, powers, values, amounts, weights, iterations)
    basis, norm, back = start
    solution = _solve(model, basis, amounts, target)
    largest = max(float(np.abs(target).max()), 1e-300)
    share: np.ndarray | None = None
    left, work, room = (np.empty_like(target) for _ in range(3))
    for _ in range(0 if weights == "none" else iterations):
        if solution is None:
            break
        _residual(model, basis, solution, target, left)
        distance = np.abs(left, out=left)
        scale = _median(distance, bad, count, work) / fit._NORMAL
        if not scale > 1e-12 * largest:
            break
        share = fit._weight(np.divide(distance, scale, out=room), weights)
        before, solution = solution, _solve(model, basis, np.multiply(amounts, share, out=work), target)
        if solution is not None:
            new, old = back @ solution, back @ before
            if np.all(np.abs(new - old) <= 1e-10 * np.abs(new).max()):
                break
    if solution is None:
        return _the_long_way(axes, powers, values, amounts, weights, iterations)
    residual = _residual(model, basis, solution, target, left)
    total = amounts if share is None else amounts * share
    centre = np.average(target, weights=total)
    spread = float(np.sum(total * (target - centre) ** 2))
    rest = float(np.sum(total * residual**2))
    given = good.astype(np.float64) if share is None else np.where(good, share, 0.0)
    r_squared = 1 - rest / spread if spread > 0 else np.nan
    found = fit.Fit(back @ solution / norm, given.ravel(), r_squared, float(np.sqrt(rest / total.sum())))
    return found, _surface(model, basis @ solution)


def _model(axes: Sequence[np.ndarray], powers: np.ndarray) -> _Model:
    columns, triangles, pairs, places = [], [], [], []
    for axis, highest in zip(axes, powers.max(axis=0), strict=True):
        column, triangle = np.linalg.qr(np.asarray(axis[:, : highest + 1], dtype=np.float64))
        first, second = np.triu_indices(column.shape[1])
        place = np.empty((column.shape[1],) * 2, dtype=np.intp)
        place[first, second] = place[second, first] = np.arange(len(first))
        columns.append(column)
        triangles.append(triangle)
        pairs.append(column[:, first] * column[:, second])
        places.append(place)
    c, b, a = powers.T
    terms = np.einsum("it,jt,kt->ijkt", triangles[0][:, c], triangles[1][:, b], triangles[2][:, a])
    return _Model(tuple(columns), tuple(pairs), tuple(places), terms.reshape(-1, len(powers)))


def _start(model: _Model, good: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return a basis that is orthonormal over the good values, the size of the terms, and what takes it to terms of size 1.

    None where the terms are not independent there.
    """
    gram = _gram(model, good.astype(np.float64))
    norm = np.sqrt(np.maximum(np.einsum("pt,pq,qt->t", model.terms, gram, model.terms), 0.0))
    if not norm.all():
        return None
    turned, triangle = np.linalg.qr(model.terms / norm)
    sizes = np.abs(np.diagonal(triangle))
    inner = turned.T @ gram @ turned
    of_gram = np.linalg.eigvalsh(inner)
    if turned.shape[1] < len(norm) or not sizes.min() > 1e-8 * sizes.max() or not of_gram[-1] < _CLEAR * of_gram[0]:
        return None
    inverse = np.linalg.inv(np.linalg.cholesky(inner)).T
    return turned @ inverse, norm, np.linalg.solve(triangle, inverse)


def _solve(model: _Model, basis: np.ndarray, weights: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    gram = basis.T @ _gram(model, weights) @ basis
    sizes = np.linalg.eigvalsh(gram)
    if not sizes[-1] < _CLEAR * sizes[0]:
        return None
    return np.asarray(np.linalg.solve(gram, basis.T @ _sums(weights * target, model.columns).ravel()))


def _gram(model: _Model, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sums over the grid of the products of all pairs of columns."""
    sums = _sums(weights, model.pairs)
    z, y, x = model.place
    found: np.ndarray = sums[
        z[:, None, None, :, None, None], y[None, :, None, None, :, None], x[None, None, :, None, None, :]
    ]
    count = len(model.terms)
    return np.asarray(found.reshape(count, count))


def _sums(values: np.ndarray, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sums of values times a column of each axis."""
    z, y, x = columns
    nz, ny, nx = values.shape
    along_x = (values.reshape(-1, nx) @ x).reshape(nz, ny, -1)
    along_y = y.T @ along_x
    return np.asarray((z.T @ along_y.reshape(nz, -1)).reshape(z.shape[1], y.shape[1], x.shape[1]))


def _surface(model: _Model, amounts: np.ndarray) -> np.ndarray:
    """Return the sum of all products of columns, each so often, on the grid."""
    z, y, x = model.columns
    cube = amounts.reshape(z.shape[1], y.shape[1], x.shape[1])
    planes = y @ (cube @ x.T)
    return np.asarray((z @ planes.reshape(len(cube), -1)).reshape(len(z), len(y), len(x)))


def _residual(
    model: _Model, basis: np.ndarray, solution: np.ndarray, target: np.ndarray, out: np.ndarray
) -> np.ndarray:
    np.subtract(target, _surface(model, basis @ solution), out=out)
    return out


def _median(distance: np.ndarray, bad: np.ndarray | None, count: int, work: np.ndarray) -> float:
    """Return the median of `count` values, those that are not bad; as `fit._median`, in memory that is there."""
    np.copyto(work, distance)
    if bad is not None:
        np.copyto(work, np.inf, where=bad)
    ordered, middle = work.reshape(-1), count // 2
    ordered.partition(middle)
    if count % 2:
        return float(ordered[middle])
    return float((ordered[:middle].max() + ordered[middle]) / 2)


def _the_long_way(
    axes: Sequence[np.ndarray], powers: np.ndarray, values: np.ndarray, amounts: np.ndarray, weights: str, most: int
) -> tuple[fit.Fit, np.ndarray]:
    terms = design(axes, powers)
    found = fit.robust(terms, values.ravel(), amounts.ravel(), weights=weights, iterations=most)
    return found, (terms @ found.coefficients).reshape(values.shape)
