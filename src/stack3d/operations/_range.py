"""Mapping the range of grey values that is used onto another one."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d._words import counted
from stack3d.execution import map_frames, reduce_frames
from stack3d.model import rebuild, result_dtype, valid_slices
from stack3d.operations import _grey

Per = Literal["stack", "slice", "window"]
_PER = ("stack", "slice", "window")
_QUANTILES = (0.001, 0.999)
_NBINS = 4096
_RESOLVED = 0.0005  # fraction at each end that the bins of a frame do not resolve


@estimator(version=1)
def estimate_range(
    da: xr.DataArray,
    *,
    quantiles: tuple[float, float] = _QUANTILES,
    per: Per = "stack",
    window: int | None = None,
    in_range: tuple[float, float] | None = None,
    region: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """Find the range of grey values that is used, robustly by quantiles.

    Each frame is read once; only its two quantiles, or its histogram in 4096 bins while they are combined, are kept.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    quantiles : (low, high)
        Fractions of the pixels below the ends of the range. (0, 1) is the full range from minimum to maximum.
    per : {"stack", "slice", "window"}
        For which pixels: all good slices of a channel together, each slice by itself, or `window` slices around each.
    window : int, optional
        Number of slices for ``per="window"``, fewer at the ends.
    in_range : (low, high), optional
        The range itself, if it is known: nothing is read.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"range"``: ``low`` and ``high``, in grey values of `da`, with its leading dims (channel, z); without z
        for ``per="stack"``. Missing pixels (NaN, or False in the coordinate ``mask``) are left out, and so are
        slices marked bad (``valid``) or blank when several slices are taken together. NaN where nothing was measured.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Notes
    -----
    With ``per="slice"`` the quantiles are exact. Over several slices they are those of the mean distribution, exact
    to a part of a bin (a 4096th of the range of a slice, a single level at 8 bit); between the fraction 0.0005 and
    the minimum, and likewise at the maximum, they are interpolated; 0 and 1 are exact.

    Examples
    --------
    >>> limits = stack.stack3d.estimate_range(quantiles=(0, 1))
    >>> bool(limits["low"] == stack.min()), bool(limits["high"] == stack.max())
    (True, True)
    """
    _grey.check_numbers(da, "rescale_intensity")
    _check(da, quantiles, per, window)
    known = _grey.check_grey_range(in_range, "in_range")
    if known is not None:
        for name, value, unused in (
            ("quantiles", quantiles, tuple(quantiles) == _QUANTILES),
            ("per", per, per == "stack"),
            ("region", region, region is None),
        ):
            if not unused:
                raise ValueError(
                    f"{name}={value!r} says how the range is found, but in_range={in_range!r} gives it; give one"
                )
        return estimates.make("range", _variables((), np.float64(known[0]), np.float64(known[1])), da)
    lead = da.dims[:-2]
    part = _grey.measured(da, region)
    fractions = np.asarray(quantiles, dtype=np.float64)
    if per == "slice":
        found = reduce_frames(
            part, _quantiles, arguments={"fractions": fractions}, device=device, label="estimate range"
        )
        return estimates.make("range", _variables(lead, *np.moveaxis(found["quantiles"], -1, 0)), da)
    found = reduce_frames(part, _summary, device=device, label="estimate range")
    if "z" not in lead:
        found = {name: np.expand_dims(value, len(lead)) for name, value in found.items()}
    blank = _grey.are_blank(found["counts"])
    valid = np.broadcast_to(valid_slices(da) if "z" in lead else True, blank.shape)
    groups = blank.shape[:-1]
    count = blank.shape[-1]
    ends = np.full((*groups, count if per == "window" else 1, 2), np.nan)
    for group in np.ndindex(groups):
        table = {name: value[group] for name, value in found.items()}
        # A stack of nothing but blank slices has the range of those.
        use = _first_with_any(valid[group] & ~blank[group], valid[group], np.ones(count, dtype=bool))
        for k in range(ends.shape[-2]):
            near = np.zeros(count, dtype=bool)
            near[_grey.neighbours(window, k, count) if window is not None else slice(None)] = True
            ends[group][k] = _combined(table, _first_with_any(near & use, near), fractions)
    if per == "stack":
        return estimates.make("range", _variables([d for d in lead if d != "z"], ends[..., 0, 0], ends[..., 0, 1]), da)
    return estimates.make("range", _variables(lead, ends[..., 0], ends[..., 1]), da)


def _check_result(da: xr.DataArray, out_range: Any, clip: Any, dtype: Any) -> None:
    """Raise for what `rescale_intensity` refuses, before the range is estimated."""
    _grey.check_flag(clip, "clip")
    _grey.check_result_range(da, out_range, dtype)


@operation(version=1, estimator=estimate_range, check=_check_result)
def rescale_intensity(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    quantiles: tuple[float, float] = _QUANTILES,
    per: Per = "stack",
    window: int | None = None,
    in_range: tuple[float, float] | None = None,
    region: Mapping[str, Any] | None = None,
    out_range: tuple[float, float] | None = None,
    clip: bool = True,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Map the range of grey values that is used linearly onto that of a dtype: the way to 8 bit.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    estimate : Dataset, optional
        Made by `estimate_range`, of this stack or another: two stacks get one scale by sharing it. By default made
        here, from the parameters that follow.
    quantiles : (low, high)
        Fractions of the pixels below the ends of the range. (0, 1) is the full range from minimum to maximum.
    per : {"stack", "slice", "window"}
        For which pixels: all good slices of a channel together, each slice by itself, or `window` slices around each.
    window : int, optional
        Number of slices for ``per="window"``, fewer at the ends.
    in_range : (low, high), optional
        The range itself, if it is known: nothing is measured.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels.
    out_range : (low, high), optional
        What it is mapped onto: by default the limits of an integer dtype, and (0, 1) for floats.
    clip : bool
        Hold values beyond the range at its ends. False: only the limits of the dtype hold them.
    dtype : dtype, optional
        Of the result, by default that of `da`. ``"uint8"`` is a true conversion to 8 bit: rounded, nothing wraps
        around.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is. NaN stays NaN in floats. Where the range is empty (a constant stack) or nothing was
        measured, all pixels become the lower end of `out_range`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        Where the range is empty.

    Examples
    --------
    >>> eight_bit = stack.stack3d.rescale_intensity(dtype="uint8")
    >>> eight_bit.dtype, int(eight_bit.min()), int(eight_bit.max())
    (dtype('uint8'), 0, 255)
    """
    found = _grey.fitted(estimate, da, "range")
    out_dtype = result_dtype(dtype, da)
    _grey.check_flag(clip, "clip")
    target = _grey.check_out_range(out_range, out_dtype)
    empty = found["high"] == found["low"]
    if "z" in empty.dims:
        empty = empty & xr.DataArray(valid_slices(da), dims="z")  # of a slice marked bad nobody need be told
    if bool(empty.any()):
        of = f" of {int(empty.sum())} of {counted(empty.size, 'frame')}" if "z" in empty.dims else ""
        _grey.warn_of_lower_end(f"the range of grey values{of} is empty: they are constant", target[0])
    data = map_frames(
        da,
        _rescaled,
        arguments={"out_low": target[0], "out_high": target[1], "dtype": out_dtype, "clip": bool(clip)},
        per_frame={"low": found["low"], "high": found["high"]},
        dtype=out_dtype,
        device=device,
        label="rescale intensity",
        writes=True,
    )
    return rebuild(da, data)


def _rescaled(
    frame: np.ndarray,
    low: float,
    high: float,
    out_low: float,
    out_high: float,
    dtype: np.dtype[Any],
    clip: bool,
    out: Any = None,
) -> Any:
    if not (np.isfinite(low) and np.isfinite(high)):
        low = high = 0.0
    result, saturated = kernels.curve.rescale(frame, float(low), float(high), out_low, out_high, dtype, clip, out)
    # What is held on purpose is no reason to warn.
    return result if clip else (result, saturated)


def _quantiles(frame: np.ndarray, fractions: np.ndarray) -> dict[str, np.ndarray]:
    return {"quantiles": kernels.statistics.quantiles(frame, fractions)}


def _summary(frame: np.ndarray) -> dict[str, Any]:
    counts, low, step = kernels.histogram.compress(frame, _NBINS)
    if frame.dtype.kind in "iu":
        minimum, maximum = float(frame.min()), float(frame.max())
    else:
        minimum, maximum = kernels.statistics.frame_statistics(frame)[:2]
    return {"counts": counts, "low": low, "step": step, "minimum": minimum, "maximum": maximum}


def _first_with_any(*choices: np.ndarray) -> np.ndarray:
    return next((choice for choice in choices if np.any(choice)), choices[-1])


def _combined(table: dict[str, np.ndarray], use: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return quantiles of the pixels of several frames from their histograms."""
    counts, low, step = (table[name][use] for name in ("counts", "low", "step"))
    if not counts.any():
        return np.full(2, np.nan)
    minimum, maximum = np.nanmin(table["minimum"][use]), np.nanmax(table["maximum"][use])
    positions, shares = kernels.histogram.mixture(counts, low, step, counts.sum(axis=1))
    inside = (shares >= _RESOLVED) & (shares <= 1 - _RESOLVED)
    value = np.clip(positions[inside], minimum, maximum)
    return np.asarray(np.interp(fractions, [0, *shares[inside], 1], [minimum, *value, maximum]))


def _variables(lead: Any, low: Any, high: Any) -> dict[str, Any]:
    return {
        "low": (tuple(lead), low, {"long_name": "lower end of the range", "units": "grey value"}),
        "high": (tuple(lead), high, {"long_name": "upper end of the range", "units": "grey value"}),
    }


def _check(da: xr.DataArray, quantiles: Any, per: Any, window: Any) -> None:
    if (
        np.shape(quantiles) != (2,)
        or not all(isinstance(part, Real) for part in quantiles)
        or not 0 <= quantiles[0] < quantiles[1] <= 1
    ):
        raise ValueError(f"quantiles={quantiles!r} must be two fractions (low, high) with 0 <= low < high <= 1")
    if per not in _PER:
        raise ValueError(f"per={per!r} is not allowed; it must be one of {_PER}")
    if per != "stack" and "z" not in da.dims:
        raise ValueError(f"per={per!r} needs slices along z, but the stack has dims {da.dims}; use per='stack'")
    _grey.check_window(window, da)
    if (window is not None) != (per == "window"):
        raise ValueError(
            f"window={window!r} with per={per!r}: give window=, a number of slices, with per='window' alone"
        )
