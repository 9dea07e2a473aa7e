"""Numbers measured frame by frame, as a labelled Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d.execution import Kernel, map_frames


def measured(
    da: xr.DataArray,
    kernel: Kernel,
    units: Mapping[str, str],
    *,
    arguments: Mapping[str, Any] | None = None,
    label: str,
) -> xr.Dataset:
    """Run ``kernel(frame, **arguments) -> float64 array (len(units),)`` on every frame; lazy where `da` is.

    Parameters
    ----------
    da : DataArray (..., y, x)
    kernel : callable
        A function of a module. What cannot be measured is NaN.
    units : mapping
        Name of each number to its unit, in the order of the kernel.

    Returns
    -------
    Dataset
        A float64 variable for each name, with the leading dims of `da` (channel, z) and their coordinates.
    """
    names = list(units)
    values = map_frames(
        da,
        _as_row,
        arguments={"kernel": kernel, "given": dict(arguments or {})},
        shape=(1, len(names)),
        dtype=np.float64,
        label=label,
        measures=True,
    )
    lead = da.dims[:-2]
    coords = {name: c.variable for name, c in da.coords.items() if set(c.dims) <= set(lead)}
    table = xr.DataArray(values, dims=(*lead, "y", "number"), coords=coords).isel(y=0)
    result = xr.Dataset({name: table.isel(number=k) for k, name in enumerate(names)})
    for name, unit in units.items():
        result[name].attrs = {"long_name": name.replace("_", " "), "units": unit}
    return result


def _as_row(frame: np.ndarray, kernel: Kernel, given: Mapping[str, Any]) -> np.ndarray:
    row: np.ndarray = np.asarray(kernel(frame, **given), dtype=np.float64).reshape(1, -1)
    return row
