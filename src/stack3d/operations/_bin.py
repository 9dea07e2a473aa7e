"""Merging neighbouring voxels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import operation
from stack3d.grid import SPATIAL, coordinate, spacing_of, units_of
from stack3d.model import rebuild, result_dtype
from stack3d.operations._along_z import slice_facts
from stack3d.windows import map_windows

Reduction = Literal["mean", "sum", "median", "min", "max"]
_REDUCTIONS = ("mean", "sum", "median", "min", "max")


@operation(version=1)
def bin(
    da: xr.DataArray,
    *,
    z: int = 1,
    y: int = 2,
    x: int = 2,
    reduction: Reduction = "mean",
    dtype: Any = None,
) -> xr.DataArray:
    """Merge blocks of voxels into one each.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    z, y, x : int
        How many voxels are merged along each axis. What is left over at the end is dropped.
    reduction : {"mean", "sum", "median", "min", "max"}
        How; missing pixels (NaN) are left out, and a block without any measured pixel is missing.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range (a sum of integers soon needs a larger one).

    Returns
    -------
    DataArray
        Lazy where `da` is. Positions are the mean positions of what was merged; facts known of each slice are
        averaged (numbers) or true when any (flags; a slice is valid when all are).

    Raises
    ------
    ValueError
        When a factor is below 1 or larger than the stack.

    Examples
    --------
    >>> binned = stack.stack3d.bin(y=4, x=4)
    >>> binned.stack3d.pixel_size.x
    20.0
    """
    factors = {"z": z, "y": y, "x": x}
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction={reduction!r} is not allowed; it must be one of {_REDUCTIONS}")
    for dim, factor in factors.items():
        if isinstance(factor, bool) or not isinstance(factor, int | np.integer):
            raise TypeError(f"{dim}={factor!r} must be a whole number")
        if not 1 <= factor <= da.sizes.get(dim, 1):
            raise ValueError(f"{dim}={factor} must be between 1 and the {da.sizes.get(dim, 1)} voxels along {dim}")
    if da.dtype == bool and dtype is None:
        dtype = np.float32
    out_dtype = result_dtype(dtype, da)
    count = {dim: da.sizes[dim] // factor for dim, factor in factors.items() if dim in da.dims}
    flat = da if "z" in da.dims else da.expand_dims("z", axis=da.ndim - 2)
    windows = np.stack([np.arange(count.get("z", 1)) * z, (np.arange(count.get("z", 1)) + 1) * z], axis=1)
    data = map_windows(
        flat,
        _binned,
        windows,
        arguments={"by": int(y), "bx": int(x), "reduction": reduction, "dtype": out_dtype},
        shape=(count["y"], count["x"]),
        dtype=out_dtype,
        label="bin",
    )
    if "z" not in da.dims:
        data = data[..., 0, :, :]
    coords: dict[str, Any] = {}
    if "z" in da.dims and z > 1:
        coords.update(slice_facts(da, [(start, np.full(z, 1.0 / z)) for start, _ in windows]))
    for dim in SPATIAL:
        if dim in da.coords and factors[dim] > 1:
            merged = da[dim].values[: count[dim] * factors[dim]].reshape(count[dim], factors[dim]).mean(axis=1)
            spacing = spacing_of(da, dim) * factors[dim]
            coords[dim] = coordinate(dim, merged, units=units_of(da, dim), spacing=spacing)
    if "mask" in da.coords:
        kept = {dim: factor for dim, factor in factors.items() if dim in da["mask"].dims}
        coords["mask"] = da["mask"].coarsen(kept, boundary="trim").any().variable
    changed = {dim for dim in count if factors[dim] > 1}
    facts = [name for name, c in da.coords.items() if name not in coords and set(c.dims) & changed]
    return rebuild(da, data, coords, drop=facts)


def _binned(
    frames: list[np.ndarray], by: int, bx: int, reduction: Reduction, dtype: np.dtype[Any]
) -> tuple[np.ndarray, int]:
    return kernels.cast.cast_frame(kernels.binning.bin_frames(frames, by, bx, reduction), dtype)
