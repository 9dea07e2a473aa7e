"""Looking at a volume from another side."""

from __future__ import annotations

from typing import Literal

import xarray as xr

from stack3d._blocks import frames_per_block
from stack3d._provenance import operation
from stack3d.grid import coordinate, is_uniform, spacing_of, units_of
from stack3d.model import is_lazy


@operation(version=1, needs=("z",))
def reslice(da: xr.DataArray, *, axis: Literal["y", "x"] = "y") -> xr.DataArray:
    """Re-slice a volume, so that slices follow each other along y or x.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        With evenly spaced slices.
    axis : {"y", "x"}
        Old axis that becomes z. The old z becomes the new y: re-slicing along ``"y"`` gives (y, z, x) and along
        ``"x"`` gives (x, z, y), each named (z, y, x).

    Returns
    -------
    DataArray
        Lazy where `da` is; blocks are made anew, which reads every block of `da` for every block of the result, so a
        large stack is best saved or checkpointed in the new orientation. Facts known of each old slice are dropped.

    Raises
    ------
    ValueError
        When the slices are not evenly spaced: `resample` first.

    Examples
    --------
    >>> side = stack.stack3d.reslice(axis="y")
    >>> side.sizes["z"] == stack.sizes["y"], side.sizes["y"] == stack.sizes["z"]
    (True, True)
    """
    if axis not in ("y", "x"):
        raise ValueError(f"axis={axis!r} is not allowed; it must be 'y' or 'x'")
    if not is_uniform(da["z"].values):
        raise ValueError("the slices are not evenly spaced, and rows of a frame must be; use resample first")
    other = "x" if axis == "y" else "y"
    lead = [dim for dim in da.dims if dim not in ("z", "y", "x")]
    facts = [
        name for name, value in da.coords.items() if name not in ("z", "y", "x") and set(value.dims) & {"z", "y", "x"}
    ]
    turned = da.drop_vars([name for name in facts if name != "mask"]).transpose(*lead, axis, "z", other)
    old = {new: name for new, name in zip(("z", "y", "x"), (axis, "z", other), strict=True) if name in da.coords}
    renamed = (
        turned.drop_vars(list(old.values())).rename({axis: "_z", "z": "_y", other: "_x"}).rename(_z="z", _y="y", _x="x")
    )
    result = renamed.assign_coords(
        {
            new: coordinate(new, da[name].values, units=units_of(da, name), spacing=spacing_of(da, name))
            for new, name in old.items()
        }
    )
    if is_lazy(result):
        count = frames_per_block(result.sizes["y"] * result.sizes["x"] * result.dtype.itemsize)
        result = result.chunk({"z": count, "y": -1, "x": -1})
    return result
