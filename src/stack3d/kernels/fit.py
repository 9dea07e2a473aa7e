"""Linear models fitted to samples some of which do not belong: iteratively reweighted least squares.

P. J. Huber, Robust Statistics (1981), doi:10.1002/0471725250; F. R. Hampel, J. Am. Stat. Assoc. 69, 383 (1974),
doi:10.1080/01621459.1974.10482962; A. E. Beaton and J. W. Tukey, Technometrics 16, 147 (1974),
doi:10.1080/00401706.1974.10489171.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_NORMAL = 0.6744897501960817  # median of the absolute value of a standard normal variable
WEIGHTS = ("huber", "hampel", "tukey", "none")


class Fit(NamedTuple):
    """Coefficients, the weight that each sample had in the end, coefficient of determination, rms of the residuals."""

    coefficients: np.ndarray
    weights: np.ndarray
    r_squared: float
    rmse: float


def robust(design: Any, values: Any, amounts: Any, *, weights: str = "huber", iterations: int = 30) -> Fit:
    """Fit ``design @ coefficients`` to values.

    Parameters
    ----------
    design : (samples, terms) array
    values : (samples,) array
        NaN is left out.
    amounts : (samples,) array
        How much each counts from the outset, such as the number of pixels it stands for.
    weights : {"huber", "hampel", "tukey", "none"}
        How samples far from the model lose weight: in units of the scale ``median |residual| / 0.6745``, Huber's
        limit is 1.345, Hampel's 2, 4 and 8, Tukey's 4.685.
    iterations : int
        How many times at most; ends before when no coefficient changes.

    Returns
    -------
    Fit
        NaN where there are fewer good samples than terms.
    """
    design, values = np.asarray(design, dtype=np.float64), np.asarray(values, dtype=np.float64)
    amounts = np.where(np.isfinite(values), amounts, 0.0).astype(np.float64)
    good = amounts > 0
    target, mass = values[good], amounts[good]
    given = np.zeros(len(values))
    nothing = Fit(np.full(design.shape[1], np.nan), given, np.nan, np.nan)
    if len(target) < design.shape[1]:
        return nothing
    # A row for each term: long rows are what products and vector instructions are quick with.
    columns = np.array(design.T if good.all() else design[good].T, order="C")
    # Terms of equal size: the powers of positions are badly matched otherwise.
    norm = np.sqrt(np.einsum("ts,ts->t", columns, columns))
    # A term that is 0 everywhere, such as x in frames one pixel wide, gets the coefficient 0.
    norm = np.where(norm > 0, norm, 1.0)
    columns /= norm[:, None]
    share = np.ones(len(target))
    basis, work = _basis(columns), np.empty_like(columns)
    solution = _solve(columns, target, mass, basis, work)
    largest = max(np.abs(target).max(), 1e-300)
    for _ in range(0 if weights == "none" else iterations):
        distance = np.abs(target - solution @ columns)
        scale = _median(distance) / _NORMAL
        if not scale > 1e-12 * largest:
            break
        share = _weight(distance / scale, weights)
        before, solution = solution, _solve(columns, target, mass * share, basis, work)
        if np.all(np.abs(solution - before) <= 1e-10 * np.abs(solution).max()):
            break
    residual = target - solution @ columns
    total = mass * share
    centre = np.average(target, weights=total)
    spread = float(np.sum(total * (target - centre) ** 2))
    left = float(np.sum(total * residual**2))
    given[good] = share
    return Fit(solution / norm, given, 1 - left / spread if spread > 0 else np.nan, float(np.sqrt(left / total.sum())))


def _basis(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return an orthonormal basis of terms, and the triangle that takes it to them; None where they are not independent."""
    found = columns, np.eye(len(columns))
    # Cholesky's factor of the Gram matrix twice: as exact as reflections, in a fraction of the time
    # (Y. Yamamoto et al., Electron. Trans. Numer. Anal. 44, 306 (2015)).
    try:
        for _ in range(2):
            factor = np.linalg.cholesky(found[0] @ found[0].T)
            found = np.linalg.inv(factor) @ found[0], factor.T @ found[1]
    except np.linalg.LinAlgError:
        found = _reflected(columns)
    if np.abs(found[0] @ found[0].T - np.eye(len(columns))).max() > 1e-13 * columns.shape[1]:
        found = _reflected(columns)
    sizes = np.abs(np.diagonal(found[1]))
    return found if sizes.min() > 1e-8 * sizes.max() else None


def _reflected(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    basis, triangle = np.linalg.qr(columns.T)
    return np.ascontiguousarray(basis.T), triangle


def _median(values: np.ndarray) -> float:
    """Return the median; of one rank at a time, for which numpy has vector instructions."""
    middle = values.size // 2
    ordered = np.partition(values, middle)
    if values.size % 2:
        return float(ordered[middle])
    return float((ordered[:middle].max() + ordered[middle]) / 2)


def _solve(columns: np.ndarray, values: np.ndarray, weights: np.ndarray, basis: Any, work: np.ndarray) -> np.ndarray:
    if basis is not None:
        # In an orthonormal basis the normal equations lose no digits but those that the weights cost.
        rows, triangle = basis
        weighed = np.multiply(rows, weights, out=work)
        gram = weighed @ rows.T
        sizes = np.linalg.eigvalsh(gram)
        if sizes[-1] < 1e6 * sizes[0]:
            return np.asarray(np.linalg.solve(triangle, np.linalg.solve(gram, weighed @ values)))
    root = np.sqrt(weights)
    found: np.ndarray = np.linalg.lstsq((columns * root).T, values * root, rcond=1e-12)[0]
    return found


def _weight(distance: np.ndarray, kind: str) -> np.ndarray:
    """Return the weights of samples at some distances, which may be written over."""
    if kind == "huber":
        np.maximum(distance, 1e-300, out=distance)
        np.divide(1.345, distance, out=distance)
        np.minimum(1.0, distance, out=distance)
        return distance
    if kind == "tukey":
        return np.asarray(np.where(distance < 4.685, (1 - (distance / 4.685) ** 2) ** 2, 0.0))
    safe = np.maximum(distance, 1e-300)
    fading = 2.0 * (8.0 - safe) / (safe * 4.0)
    return np.asarray(
        np.where(distance <= 2, 1.0, np.where(distance <= 4, 2.0 / safe, np.where(distance <= 8, fading, 0.0)))
    )
