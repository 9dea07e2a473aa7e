"""Boxes in a stack: what the user names by position or by count, as slices of indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d.grid import SPATIAL, spacing_of, units_of
from stack3d.units import parse_length

_LONGEST = 100  # characters of what was given, in an error
_ABOUT_MASKS = "; a mask is the coordinate 'mask' of the stack, True where pixels are measured: da.assign_coords(mask=(da.dims, mask))"


def box(da: xr.DataArray, parts: Mapping[str, slice | None], by: str = "label") -> dict[str, slice]:
    """Return index slices for `parts` (dim to slice or None), by label (both ends included) or by index.

    Raises
    ------
    TypeError, ValueError
        Naming the dim, the slice and what is allowed.
    """
    if by not in ("label", "index"):
        raise ValueError(f"by={by!r} is not allowed; it must be 'label' or 'index'")
    found = {}
    for dim, part in parts.items():
        if part is None:
            continue
        if dim not in SPATIAL or dim not in da.dims:
            raise ValueError(f"{dim}={part!r} given, but the stack has dims {da.dims}")
        if not isinstance(part, slice) or part.step is not None:
            raise TypeError(f"{dim}={part!r} must be a slice without a step, such as {dim}=slice(10, 200)")
        found[dim] = _by_index(da, dim, part) if by == "index" else _by_label(da, dim, part)
    return found


def region(da: xr.DataArray, parts: Mapping[str, Any] | None) -> xr.DataArray:
    """Return the part of every frame named by a ``region=`` argument: ``dict(y=slice, x=slice, by="label")``."""
    if parts is None:
        return da
    if not isinstance(parts, Mapping) or set(parts) - {"y", "x", "by"}:
        given = repr(parts) if isinstance(parts, Mapping | str | int | float) else f"<{type(parts).__name__}>"
        given = given if len(given) <= _LONGEST else f"{given[:_LONGEST]}..."
        raise ValueError(
            f"region={given} must be a dict with keys among 'y', 'x' (slices) and 'by' ('label' or 'index')"
            + (_ABOUT_MASKS if hasattr(parts, "shape") else "")
        )
    where = {dim: part for dim, part in parts.items() if dim != "by"}
    return da.isel(box(da, where, parts.get("by", "label")))


def _by_index(da: xr.DataArray, dim: str, part: slice) -> slice:
    size = da.sizes[dim]
    for value in (part.start, part.stop):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise TypeError(f"{dim}={part!r}: by='index' takes whole numbers")
        if value is not None and not -size <= value <= size:
            raise ValueError(f"{dim}={part!r} reaches beyond the stack, which has {size} voxels along {dim}")
    start, stop, _ = part.indices(size)
    if start >= stop:
        raise ValueError(f"{dim}={part!r} keeps nothing of {size} voxels")
    return slice(start, stop)


def _by_label(da: xr.DataArray, dim: str, part: slice) -> slice:
    values, unit, spacing = da[dim].values, units_of(da, dim), spacing_of(da, dim)
    low, high = (_position(end, unit, spacing, dim) for end in (part.start, part.stop))
    # A position that differs from a voxel's by rounding alone is that voxel's.
    margin = 1e-6 * spacing
    start = 0 if low is None else int(np.searchsorted(values, low - margin, side="left"))
    stop = values.size if high is None else int(np.searchsorted(values, high + margin, side="right"))
    if start >= stop:
        raise ValueError(f"{dim}={part!r} keeps nothing: positions run from {values[0]:g} to {values[-1]:g} {unit}")
    return slice(start, stop)


def _position(end: Any, unit: str, spacing: float, dim: str) -> float | None:
    return None if end is None else parse_length(end, unit=unit, spacing=spacing, name=dim)
