"""What varies slowly over a stack and is not the specimen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import estimator, operation
from stack3d._region import region as in_region
from stack3d._warn import warn
from stack3d._words import counted
from stack3d.model import rebuild, result_dtype, valid_slices
from stack3d.operations import _exact, _grey, _surface_fit, _surface_grid, _surface_polynomial, _terms

Method = Literal["polynomial", "gaussian", "morphological"]
Weights = Literal["huber", "hampel", "tukey", "none"]
_METHODS = ("polynomial", "gaussian", "morphological")


@estimator(version=5)
def estimate_background(
    da: xr.DataArray,
    *,
    method: Method = "polynomial",
    per: Literal["stack", "slice"] = "stack",
    terms: str | None = None,
    degree: int | Mapping[str, int] = 2,
    cross: bool = True,
    coefficients: Any = None,
    weights: Weights = "huber",
    regress_content: bool = True,
    size: Any = None,
    structures: Literal["bright", "dark"] = "bright",
    low: float | None = None,
    high: float | None = None,
    region: Mapping[str, Any] | None = None,
    subsample: int | tuple[int, int, int] | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """Fit the slow variation of grey values over the frame, and over the stack.

    One pass; of each frame only mean, spread and skewness of 32 x 32 cells (fewer for more than 2,000 slices) are kept.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
        Channels are fitted one by one.
    method : {"polynomial", "gaussian", "morphological"}
        A polynomial of the position; the mean under a Gaussian; or the envelope below (above) structures that are
        smaller than `size`, smoothed.
    per : {"stack", "slice"}
        One surface for the whole stack (a polynomial of z, y and x), or one for each slice (of y and x).
    terms : str, optional
        The terms of the polynomial, such as ``"1 + x + y + x*y + x**2 + z"``; in place of `degree`.
    degree : int or dict
        Total degree of the polynomial, or the largest power of each axis, ``dict(y=2, x=1)``.
    cross : bool
        Whether products of axes are terms.
    coefficients : sequence of float, optional
        A known polynomial: one coefficient for each term, in the order of ``term``; nothing is fitted. Positions run
        from 0 to 1 over the stack given here.
    weights : {"huber", "hampel", "tukey", "none"}
        How cells that do not fit (pores, charging) lose weight.
    regress_content : bool
        Whether what the specimen itself adds to the means of cells, as told by the spread and skewness of their grey
        values, is left out; with one surface for the stack, not with `subsample`. Where content does not show, nothing is.
    size : length, optional
        For ``"gaussian"`` (standard deviation) and ``"morphological"``: a number in the coordinate unit, or such as
        ``"2 um"`` or ``"300 px"``; by default an eighth (a quarter) of the shorter side.
    structures : {"bright", "dark"}
        For ``"morphological"``: what the background lies beneath (or above).
    low, high : float, optional
        Only pixels in this range, both ends included, are measured, so that pores or charging have no say. All are
        corrected.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500))``; add ``by="index"`` to count pixels.
    subsample : int or (int, int, int), optional
        Fit to every n-th voxel along z, y and x instead of cell means; the memory is that of these voxels.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"background"``. For a polynomial ``coefficient`` (..., [z], term) with the exponents ``power_z``,
        ``power_y``, ``power_x``; ``level``, the mean of the surface where it was measured; ``r_squared`` and ``rmse``;
        ``content_share``, how far the regression on content was trusted, 0 where it was not (or not asked for) to 1;
        ``origin_z`` ... ``span_x``, the positions that are 0 and 1. Otherwise ``grid`` (..., [z], grid_y, grid_x) and
        ``level``. NaN where a slice could not be fitted.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed; also where the part of the frame that is measured does not
        tell the polynomial for the whole frame.

    Examples
    --------
    >>> background = stack.stack3d.estimate_background(degree=1)
    >>> [str(term) for term in background["term"].values]
    ['1', 'x', 'y', 'z']
    """
    _grey.check_numbers(da, "estimate_background")
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {_METHODS}")
    if per not in ("stack", "slice"):
        raise ValueError(f"per={per!r} is not allowed; it must be 'stack' or 'slice'")
    if weights not in kernels.fit.WEIGHTS:
        raise ValueError(f"weights={weights!r} is not allowed; it must be one of {kernels.fit.WEIGHTS}")
    _grey.check_flag(regress_content, "regress_content")
    sampling = _surface_fit.check_sampling(low, high, subsample)
    _check_method(method, terms, degree, coefficients, weights, subsample, size, structures)
    if method != "polynomial":
        return _surface_grid.estimated(da, "background", method, per, size, structures, sampling, region, device)
    axes = tuple(dim for dim in ("z", "y", "x") if dim in da.dims and not (dim == "z" and per == "slice"))
    powers = _terms.powers(terms, degree, cross, axes)
    if per == "slice" and sampling.subsample is not None:
        sampling = sampling._replace(subsample=(1, *sampling.subsample[1:]))
    frame = _surface_fit.frame_of(da)
    if coefficients is not None:
        return _surface_polynomial.given(da, powers, coefficients, frame)
    _surface_fit.check_steps(in_region(da, region), sampling.subsample, powers)
    sample = _surface_fit.sampled(da, sampling, region, device, "estimate background")
    return _surface_polynomial.fitted(da, "background", sample, powers, weights, per, frame, regress_content)


def _check_removal(method: Any, operation: Any, keep: Any) -> None:
    """Raise for what `remove_background` refuses, before the background is estimated."""
    if operation not in ("subtract", "divide"):
        raise ValueError(f"operation={operation!r} is not allowed; it must be 'subtract' or 'divide'")
    if keep not in ("mean", "constant", "nothing"):
        raise ValueError(f"keep={keep!r} is not allowed; it must be 'mean', 'constant' or 'nothing'")
    if operation == "divide" and keep == "nothing":
        raise ValueError("keep='nothing' would divide everything to nothing; with operation='divide' keep 'mean'")
    if keep == "constant" and method in ("gaussian", "morphological"):
        raise ValueError(f"keep='constant' needs a polynomial, not method={method!r}; keep='mean' keeps the level")


@operation(version=8, estimator=estimate_background, check=_check_removal)
def remove_background(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    method: Method = "polynomial",
    per: Literal["stack", "slice"] = "stack",
    terms: str | None = None,
    degree: int | Mapping[str, int] = 2,
    cross: bool = True,
    coefficients: Any = None,
    weights: Weights = "huber",
    regress_content: bool = True,
    size: Any = None,
    structures: Literal["bright", "dark"] = "bright",
    low: float | None = None,
    high: float | None = None,
    region: Mapping[str, Any] | None = None,
    subsample: int | tuple[int, int, int] | None = None,
    operation: Literal["subtract", "divide"] = "subtract",
    keep: Literal["mean", "constant", "nothing"] = "mean",
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Take out what varies slowly over the frame, and over the stack.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    estimate : Dataset, optional
        From `estimate_background`, made here from the next parameters if not given; it fits parts and binned versions of
        the stack it was made on, and other channels where it has none.
    method, per, terms, degree, cross, coefficients, weights, regress_content, size, structures, low, high, region, subsample
        How the background is found; see `estimate_background`.
    operation : {"subtract", "divide"}
        For what was added (offset, shadow of a detector), or multiplied (shading).
    keep : {"mean", "constant", "nothing"}
        What stays: the mean of the background, so that the grey values keep their level; the constant term of the
        polynomial (as PyStack3D without ``preserve_avg``); or nothing, for a background that is to become 0.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed; for ``"divide"`` also when the background is not positive,
        in all slices where each has its own.

    Warns
    -----
    BlankSliceWarning
        When slices could not be fitted, or their own background falls to 0 with ``"divide"``; they stay as they are.

    Examples
    --------
    >>> even = stack.stack3d.remove_background(degree=1, per="slice")
    >>> even.dtype == stack.dtype
    True
    """
    _grey.check_numbers(da, "remove_background")
    _check_removal(method, operation, keep)
    found = _grey.fitted(estimate, da, "background")
    return applied(da, found, operation == "divide", keep, 0.0, result_dtype(dtype, da), device, "remove background")


def applied(
    da: xr.DataArray,
    found: xr.Dataset,
    divide: bool,
    keep: str,
    dark: float,
    dtype: np.dtype[Any],
    device: str | None,
    label: str,
) -> xr.DataArray:
    """Return a stack without the surface of an estimate that belongs to it."""
    polynomial = "coefficient" in found
    level = found["level"].fillna(0.0)
    if keep == "nothing":
        level = level * 0.0
    elif keep == "constant":
        if not polynomial:
            raise ValueError("keep='constant' needs a polynomial; keep='mean' keeps the level of a grid")
        level = found["coefficient"].isel(term=0, drop=True).fillna(0.0)
    if polynomial:
        values, rows, cols = _surface_grid.matrices(found, da, divide)
    else:
        values, rows, cols = _surface_grid.grids(found, da, divide)
    bad = values.isnull().any(dim=[dim for dim in values.dims if dim not in da.dims])
    unknown = bad & xr.DataArray(valid_slices(da), dims="z") if "z" in bad.dims else bad
    if bool(unknown.any()):
        count = int(unknown.sum())
        why = f", or {'has' if count == 1 else 'have'} a surface that falls to 0," if divide else ""
        first = ", ".join(f"{dim} {k}" for dim, k in zip(unknown.dims, np.argwhere(unknown.values)[0], strict=True))
        warn(
            f"{counted(count, 'slice')} could not be fitted{why} and {'is' if count == 1 else 'are'} left as before"
            + (f" (the first is {first})" if first else "")
            + "; see estimate['rmse']",
            _grey.BlankSliceWarning,
        )
    # A slice that could not be fitted keeps its pixels: 0 is taken from them, or they are divided by 1.
    neutral = xr.zeros_like(values)
    if divide:
        neutral[{dim: 0 for dim in values.dims if dim not in da.dims} if polynomial else ...] = 1.0
    values, level = values.where(~bad, neutral), level.where(~bad, 1.0 if divide else 0.0)
    data = _exact.mapped(
        da,
        _taken_out,
        arguments={
            "rows": rows,
            "cols": cols,
            "kind": "polynomial" if polynomial else "grid",
            "divide": divide,
            "dark": dark,
        },
        per_frame={"values": values, "level": level},
        dtype=dtype,
        device=device,
        label=label,
        writes=True,
    )
    return rebuild(da, data)


def _taken_out(
    frame: np.ndarray, values: np.ndarray, level: Any, through: Any = None, **arguments: Any
) -> tuple[np.ndarray, int]:
    return kernels.surface.take_out(frame, values=values, level=float(level), **arguments)


def _check_method(
    method: str, terms: Any, degree: Any, coefficients: Any, weights: Any, subsample: Any, size: Any, structures: Any
) -> None:
    if structures not in ("bright", "dark"):
        raise ValueError(f"structures={structures!r} is not allowed; it must be 'bright' or 'dark'")
    for name, given, where in (
        ("terms", terms is not None, ("polynomial",)),
        ("degree", degree != 2, ("polynomial",)),
        ("coefficients", coefficients is not None, ("polynomial",)),
        ("weights", weights != "huber", ("polynomial",)),
        ("subsample", subsample is not None, ("polynomial",)),
        ("size", size is not None, ("gaussian", "morphological")),
        ("structures", structures != "bright", ("morphological",)),
    ):
        if given and method not in where:
            raise ValueError(f"{name} has a meaning only for method={' or '.join(map(repr, where))}, not {method!r}")
