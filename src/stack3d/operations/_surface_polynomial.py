"""Polynomials of the position fitted to the cells of a stack, or given, as estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d.operations import _content, _surface_fit


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
    for index in np.ndindex(shape):
        if by_slice:
            values, amounts = sample.values[index], sample.amounts[index]
            one = sample._replace(z=np.ones((1, 10)))
        else:
            values, amounts, one = sample.values[index], sample.amounts[index], sample
        matrix = _surface_fit.design(one, powers)
        share = 0.0
        if regress:
            cells = _content.Moments(values, amounts, second[index], third[index])
            fit, share = _content.told_apart(cells, matrix, weights, divide)
        else:
            fit = kernels.fit.robust(matrix, values.ravel(), amounts.ravel(), weights=weights)
        coefficient[index] = fit.coefficients
        used = amounts.ravel() * np.isfinite(values.ravel())
        if used.sum() > 0:
            numbers["level"][index] = np.average(matrix @ fit.coefficients, weights=used)
        numbers["r_squared"][index], numbers["rmse"][index] = fit.r_squared, fit.rmse
        numbers["content_share"][index] = share
    dims = (*lead, "z") if by_slice else lead
    return _polynomial(da, kind, dims, coefficient, powers, numbers, frame)


def given(da: xr.DataArray, powers: np.ndarray, coefficients: Any, frame: Mapping[str, float]) -> xr.Dataset:
    """Return the estimate of a polynomial that is known."""
    values = np.asarray(coefficients, dtype=np.float64)
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
