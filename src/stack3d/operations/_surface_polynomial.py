"""Polynomials of the position fitted to the cells of a stack, or given, as estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d.operations import _content, _surface_fit

_FARTHEST = 6.0  # error of the surface somewhere in the frame, in that of the mean of one cell


def fitted(
    da: xr.DataArray,
    kind: str,
    sample: _surface_fit.Sample,
    powers: np.ndarray,
    weights: str,
    per: str,
    frame: Mapping[str, float],
    regress_content: bool,
    divide: bool = False,
) -> xr.Dataset:
    """Return the estimate of a polynomial fitted to a sample, for the stack or for each slice."""
    lead: tuple[Any, ...] = tuple(dim for dim in da.dims[:-2] if dim != "z")
    regress = regress_content and per == "stack" and sample.second is not None
    if per == "stack":
        # A field that is the same in all slices is fitted to their mean, where nothing is asked of single ones.
        sample = _surface_fit.grouped(sample, 1 if divide and not regress else None)
    groups = sample.values.shape[:-3]
    second, third = (np.asarray(sums, dtype=np.float64) for sums in (sample.second, sample.third))
    by_slice = per == "slice" and "z" in da.dims
    shape = (*groups, da.sizes["z"]) if by_slice else groups
    numbers = {name: np.full(shape, np.nan) for name in ("level", "r_squared", "rmse", "content_share")}
    coefficient = np.full((*shape, len(powers)), np.nan)
    beyond: list[float] = []
    places = [_surface_fit.normalised(da, dim, frame)[[0, da.sizes[dim] // 2, -1]] for dim in ("y", "x")]
    for index in np.ndindex(shape):
        amount = sample.amounts[index].reshape(-1, *sample.amounts.shape[-2:])
        beyond.append(_reach(sample, np.asarray(amount.any(axis=0)), powers, places))
        if beyond[-1] > _FARTHEST:
            continue
        if by_slice:
            values, amounts = sample.values[index], sample.amounts[index]
            one = sample._replace(z=np.ones((1, 10)))
        else:
            values, amounts, one = sample.values[index], sample.amounts[index], sample
        shape_of_grid = values.shape if values.ndim == 3 else (1, *values.shape)
        grid = values.reshape(shape_of_grid), amounts.reshape(shape_of_grid)
        fit, surface = kernels.fit_grid.robust((one.z, one.y, one.x), powers, *grid, weights=weights)
        share = 0.0
        if regress:
            cells = _content.Moments(values, amounts, second[index], third[index])
            matrix = _surface_fit.design(one, powers)
            fit, share = _content.told_apart(cells, matrix, fit, weights, divide)
            surface = (matrix @ fit.coefficients).reshape(shape_of_grid)
        coefficient[index] = fit.coefficients
        used = grid[1] * np.isfinite(grid[0])
        if used.sum() > 0:
            numbers["level"][index] = np.average(surface, weights=used)
        numbers["r_squared"][index], numbers["rmse"][index] = fit.r_squared, fit.rmse
        numbers["content_share"][index] = share
    if min(beyond) > _FARTHEST or (max(beyond) > _FARTHEST and not by_slice):
        raise ValueError(_undetermined(sample, powers))
    dims = (*lead, "z") if by_slice else lead
    return _polynomial(da, kind, dims, coefficient, powers, numbers, frame)


def _reach(sample: _surface_fit.Sample, used: np.ndarray, powers: np.ndarray, places: Sequence[np.ndarray]) -> float:
    """Return the largest error of the surface at `places` of the frame, in that of a cell; infinite where it is free."""
    pairs = np.unique(powers[:, 1:], axis=0)
    if used.sum() < len(pairs):
        return 0.0  # too few to fit anything, which is said elsewhere
    cells = np.stack([sample.y[:, None, b] * sample.x[None, :, a] for b, a in pairs], axis=-1)[used]
    y, x = np.meshgrid(*places, indexing="ij")
    wanted = np.stack([y.ravel() ** b * x.ravel() ** a for b, a in pairs], axis=-1)
    norm = np.sqrt((cells**2).sum(axis=0))
    norm = np.where(norm > 0, norm, 1.0)
    _, sizes, basis = np.linalg.svd(np.linalg.qr(cells / norm, mode="r"))
    along = (wanted / norm) @ basis.T
    told = sizes > 1e-9 * sizes[0]
    if np.any(np.abs(along[:, ~told]) > 1e-6):
        return np.inf
    return float(np.sqrt(((along[:, told] / sizes[told]) ** 2).sum(axis=1).max()))


def _undetermined(sample: _surface_fit.Sample, powers: np.ndarray) -> str:
    """Say which terms the measured part of the frame does not tell."""
    used = np.asarray(sample.amounts.reshape(-1, *sample.amounts.shape[-2:]).max(axis=0) > 0)
    ends = {}
    sides = (1, "y", sample.y[:, 1][used.any(axis=1)]), (2, "x", sample.x[:, 1][used.any(axis=0)])
    for column, dim, where in sides:
        if powers[:, column].any():
            ends[dim] = (float(where.min()), float(where.max()), column)
    dim = min(ends, key=lambda name: ends[name][1] - ends[name][0])
    low, high, column = ends[dim]
    terms = ", ".join(_surface_fit.term_names(powers[powers[:, column] > 0]))
    return (
        f"the pixels that are measured lie between {low:.3g} and {high:.3g} of the frame along {dim} (0 to 1), which does not "
        f"tell the terms {terms} for the whole frame; measure more of it (region, low, high, mask), or leave such terms out "
        "(degree, terms)"
    )


def given(da: xr.DataArray, powers: np.ndarray, coefficients: Any, frame: Mapping[str, float]) -> xr.Dataset:
    """Return the estimate of a polynomial that is known."""
    try:
        values = np.asarray(coefficients, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    if values.shape != (len(powers),) or not np.all(np.isfinite(values)):
        names = ", ".join(_surface_fit.term_names(powers))
        raise ValueError(f"coefficients={coefficients!r} must be {len(powers)} numbers, for the terms {names}")
    mean = [
        np.prod(
            [np.mean(_surface_fit.normalised(da, d, frame) ** p) for d, p in zip(("z", "y", "x"), row, strict=True)]
        )
        for row in powers
    ]
    numbers = {
        "level": np.asarray(float(np.dot(mean, values))),
        "r_squared": np.asarray(np.nan),
        "rmse": np.asarray(np.nan),
        "content_share": np.asarray(0.0),
    }
    return _polynomial(da, "background", (), values, powers, numbers, frame)


def _polynomial(
    da: xr.DataArray,
    kind: str,
    dims: tuple[Any, ...],
    coefficient: np.ndarray,
    powers: np.ndarray,
    numbers: Mapping[str, np.ndarray],
    frame: Mapping[str, float],
) -> xr.Dataset:
    grey = {"units": "grey value"}
    variables: dict[str, Any] = {
        "coefficient": ((*dims, "term"), coefficient, {"long_name": "coefficient of the term", **grey}),
        "level": (dims, numbers["level"], {"long_name": "mean of the surface where it was measured", **grey}),
        "r_squared": (dims, numbers["r_squared"], {"long_name": "coefficient of determination", "units": "1"}),
        "rmse": (dims, numbers["rmse"], {"long_name": "rms of the residuals", **grey}),
        "content_share": (
            dims,
            numbers["content_share"],
            {"long_name": "trust in the regression on content", "units": "1"},
        ),
    }
    for k, dim in enumerate(("z", "y", "x")):
        variables[f"power_{dim}"] = ("term", powers[:, k])
    variables.update({name: ((), value) for name, value in frame.items()})
    return estimates.make(kind, variables, da, coords={"term": _surface_fit.term_names(powers)})
