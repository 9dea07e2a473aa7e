"""The ``box=`` of measures: one part of every frame, fixed, or sliding along the stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import _region
from stack3d.execution import map_frames
from stack3d.model import in_native_order


def boxed(da: xr.DataArray, box: Mapping[str, Any] | None) -> xr.DataArray:
    """Return the part of every frame that is measured, in native byte order; pixels that ``mask`` marks are NaN.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    box : dict, optional
        ``dict(y=slice, x=slice, by="label")``, as `stack3d.crop` takes them. A pair of slices of equal length, such as
        ``y=(slice(0, 500), slice(80, 580))``, slides along z from the first in the first slice to the second in the
        last, in whole pixels.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.
    """
    whole = in_native_order(da)
    if "mask" in whole.coords:
        whole = whole.where(whole["mask"])
    if box is None:
        return whole
    if not isinstance(box, Mapping) or set(box) - {"y", "x", "by"}:
        raise ValueError(
            f"box={box!r} must be a dict with keys among 'y', 'x' (a slice, or a pair of slices to slide along z) and "
            "'by' ('label' or 'index')"
        )
    parts = {dim: part for dim, part in box.items() if dim != "by"}
    ends = [{dim: _end(dim, part, k) for dim, part in parts.items()} for k in (0, 1)]
    first, last = (_region.box(da, end, box.get("by", "label")) for end in ends)
    if first == last:
        return whole.isel(first)
    return _slid(whole, first, last, box)


def _end(dim: str, part: Any, k: int) -> Any:
    if not isinstance(part, tuple):
        return part
    if len(part) != 2:
        raise ValueError(
            f"box: {dim}={part!r} must be a slice, or a pair (slice in the first slice, slice in the last)"
        )
    return part[k]


def _slid(da: xr.DataArray, first: Mapping[str, slice], last: Mapping[str, slice], box: Any) -> xr.DataArray:
    if "z" not in da.dims:
        raise ValueError(f"box={dict(box)!r} slides along z, but the stack has dims {da.dims}")
    starts, sizes = {}, {}
    share = np.linspace(0.0, 1.0, da.sizes["z"])
    for dim in ("y", "x"):
        from_, to = (end.get(dim, slice(0, da.sizes[dim])) for end in (first, last))
        sizes[dim] = from_.stop - from_.start
        if to.stop - to.start != sizes[dim]:
            raise ValueError(
                f"box={dict(box)!r}: the two slices of {dim} hold {sizes[dim]} and {to.stop - to.start} pixels; they must be equal"
            )
        offset = np.rint(from_.start + share * (to.start - from_.start)).astype(np.int64)
        starts[dim] = xr.DataArray(offset, dims="z")
    data = map_frames(
        da,
        _cut,
        arguments={"height": sizes["y"], "width": sizes["x"]},
        per_frame={"top": starts["y"], "left": starts["x"]},
        shape=(sizes["y"], sizes["x"]),
        label="sliding box",
    )
    origin = {dim: int(starts[dim][0]) for dim in ("y", "x")}
    like = da.isel({dim: slice(origin[dim], origin[dim] + sizes[dim]) for dim in origin})
    coords = {name: c.variable for name, c in like.coords.items() if name in like.dims or not {"y", "x"} & set(c.dims)}
    return xr.DataArray(data, dims=da.dims, coords=coords, name=da.name, attrs=da.attrs)


def _cut(frame: Any, top: int, left: int, height: int, width: int) -> Any:
    return frame[top : top + height, left : left + width]
