"""Cutting a stack to a box."""

from __future__ import annotations

from typing import Literal

import xarray as xr

from stack3d._provenance import operation
from stack3d._region import box


@operation(version=1)
def crop(
    da: xr.DataArray,
    *,
    z: slice | None = None,
    y: slice | None = None,
    x: slice | None = None,
    by: Literal["label", "index"] = "label",
) -> xr.DataArray:
    """Cut a stack to a box; coordinates keep their values.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    z, y, x : slice, optional
        What is kept along each axis, without a step. By label: positions in the unit of the coordinate or strings
        such as ``"1.5 um"``, both ends included. By index: counts of voxels, end left out, negative ones from the
        end. y runs down the screen.
    by : {"label", "index"}

    Returns
    -------
    DataArray
        Lazy where `da` is; memory is shared with `da`.

    Raises
    ------
    ValueError
        When the box is empty or, by index, reaches beyond the stack.

    Examples
    --------
    >>> stack.stack3d.crop(y=slice(4, 20), by="index").sizes["y"]
    16
    >>> stack.stack3d.crop(x=slice("50 nm", "100 nm")).x.values
    array([ 50.,  55.,  60.,  65.,  70.,  75.,  80.,  85.,  90.,  95., 100.])
    """
    return da.isel(box(da, {"z": z, "y": y, "x": x}, by))
