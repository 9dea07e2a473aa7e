"""What the corrections of grey values share: which slices count, their neighbours, and estimates fitted to a stack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d._region import region as in_region
from stack3d._warn import warn
from stack3d.model import result_dtype, valid_slices

_EXACT = 2**53
_BLANK = 0.999  # of the pixels in one bin: such a slice has no contrast


class BlankSliceWarning(UserWarning):
    """Slices without contrast, or without a pixel to measure, were left as they are."""


def measured(da: xr.DataArray, region: Mapping[str, Any] | None) -> xr.DataArray:
    """Return the part of a stack that is measured: inside `region`, and NaN where its ``mask`` is False."""
    part = in_region(da, region)
    return part.where(part["mask"]) if "mask" in part.coords else part


def warn_of_lower_end(why: str, low: float) -> None:
    """Say that there is nothing to spread over the range of the result."""
    warn(f"{why}; its pixels become the lower end of out_range, {low:g}", BlankSliceWarning)


def check_numbers(da: xr.DataArray, what: str) -> None:
    """Raise for a stack of flags; warn of whole numbers in memory that float64 does not hold."""
    if da.dtype == bool:
        raise TypeError(f"da has dtype bool; {what} needs grey values (integers or floats)")
    if da.dtype.kind in "iu" and da.dtype.itemsize == 8 and da.chunks is None and da.size:
        largest = max(int(da.data.max()), -int(da.data.min()))
        if largest > _EXACT:
            warn(
                f"the stack has values as large as {largest}; grey values beyond 2**53 = {_EXACT} are rounded, as they are "
                "computed in float64; subtract an offset before"
            )


def check_window(window: Any, da: xr.DataArray) -> None:
    """Raise unless `window` is None or a number of slices that the stack can have."""
    if window is None:
        return
    if isinstance(window, bool) or not isinstance(window, int | np.integer):
        raise TypeError(f"window={window!r} must be a whole number of slices")
    if window < 1:
        raise ValueError(f"window={window} must be at least 1 slice")
    if "z" not in da.dims:
        raise ValueError(f"window={window} counts slices along z, but the stack has dims {da.dims}")


def check_slice(slice: Any, da: xr.DataArray) -> int:
    """Return the index of a slice counted from the first, or raise."""
    count = da.sizes.get("z", 1)
    if isinstance(slice, bool) or not isinstance(slice, int | np.integer):
        raise TypeError(f"slice={slice!r} must be the index of a slice, a whole number")
    if not -count <= slice < count:
        raise ValueError(f"slice={slice} is not in the stack, which has {count} slices along z")
    return int(slice) % count


def check_grey_range(limits: Any, name: str) -> tuple[float, float] | None:
    """Return (low, high) as floats, None for None, or raise."""
    if limits is None:
        return None
    if np.shape(limits) != (2,) or not all(isinstance(value, Real) and math.isfinite(value) for value in limits):
        raise ValueError(f"{name}={limits!r} must be two finite numbers (low, high)")
    low, high = (float(value) for value in limits)
    if not low < high:
        raise ValueError(f"{name}={limits!r} must have low < high")
    return low, high


def check_out_range(out_range: Any, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the range that is given, by default that of `dtype` (0 to 1 for floats); raise unless `dtype` holds it."""
    info = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
    lowest, highest = float(info.min), float(info.max)
    found = check_grey_range(out_range, "out_range")
    if found is None:
        return (lowest, highest) if dtype.kind in "ui" else (0.0, 1.0)
    if not lowest <= found[0] < found[1] <= highest:
        raise ValueError(
            f"out_range={out_range!r} does not fit into dtype {dtype}, which holds {info.min} to {info.max}"
        )
    return found


def check_result_range(da: xr.DataArray, out_range: Any, dtype: Any) -> None:
    """Raise unless the dtype of the result holds the range that is given."""
    if da.dtype != bool:
        check_out_range(out_range, result_dtype(dtype, da))


def check_flag(value: Any, name: str) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r} must be True or False")


def check_positive(value: Any, name: str) -> None:
    """Raise unless `value` is a positive number."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not 0 < value < np.inf
    ):
        raise ValueError(f"{name}={value!r} must be a positive number")


def neighbours(window: int, index: int, count: int) -> slice:
    """Return the `window` slices around one, fewer at the ends of the stack."""
    start = index - (window - 1) // 2
    return slice(max(start, 0), min(start + window, count))


def are_blank(counts: np.ndarray) -> np.ndarray:
    """Return which histograms (..., bins) hold nothing, or but one bin."""
    return np.asarray(counts.max(axis=-1) >= _BLANK * counts.sum(axis=-1))


def good_slices(da: xr.DataArray, blank: np.ndarray) -> np.ndarray:
    """Return which frames can be used, shape of the leading dims; warn of those that `valid` did not announce."""
    valid = np.broadcast_to(valid_slices(da) if "z" in da.dims else True, blank.shape)
    if not np.any(valid):
        warn("no slice is valid, so the stack is returned unchanged; see the coordinate 'valid'", BlankSliceWarning)
    found = np.argwhere(blank & valid)
    if found.size:
        frames = "frame has" if len(found) == 1 else "frames have"
        place = ", ".join(f"{dim} {index}" for dim, index in zip(da.dims, found[0]))
        warn(
            f"{len(found)} {frames} no contrast or no measured pixel and will be left unchanged"
            + (f" (the first is {place})" if place else "")
            + "; set the coordinate 'valid' to False there to say that this is known",
            BlankSliceWarning,
        )
    return np.asarray(valid & ~blank)


def fitted(estimate: Any, da: xr.DataArray, kind: str) -> xr.Dataset:
    """Return the part of an estimate that belongs to the slices and channels of `da`."""
    found = estimates.at_channels(estimates.check(estimate, kind), da)
    if "z" in found.dims and "z" not in da.dims and "z" in da.coords:
        found = estimates.at_slices(found, da.expand_dims("z")).isel(z=0)
    found = estimates.at_slices(found, da)
    for dim in ("channel", "z"):
        if dim in found.dims and dim not in da.dims:
            raise ValueError(
                f"estimate has {found.sizes[dim]} values along {dim!r}, a dim that the stack (dims {da.dims}) lacks; "
                f"choose one with estimate.isel({dim}=...)"
            )
    return found
