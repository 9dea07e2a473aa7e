"""Numbers measured on pairs of slices, as a labelled Dataset at the positions of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.quality._table import measured
from stack3d.windows import map_windows


def measured_pairs(
    da: xr.DataArray, kernel: Callable[[Any, Any], np.ndarray], units: Mapping[str, str], *, lag: int, label: str
) -> xr.Dataset:
    """Run ``kernel(first, second) -> float64 array (len(units),)`` on every two slices `lag` apart; lazy where `da` is.

    Returns
    -------
    Dataset
        A float64 variable for each name. Coordinate ``z`` is half-way between the two slices, ``first`` and ``second``
        number them. A stack too short for a pair has one entry, NaN, of a slice with itself.
    """
    names = list(units)
    count = da.sizes.get("z", 1)
    if count <= lag:
        single = da.isel(z=slice(0, 1)) if "z" in da.dims else da
        table = measured(single, _nothing, units, arguments={"count": len(names)}, label=label)
        return table.assign_coords(first=_numbers(table, [0]), second=_numbers(table, [0]))
    first = np.arange(count - lag)
    windows = np.stack([first, first + lag + 1], axis=1)
    values = map_windows(
        da, _pair_row, windows, arguments={"kernel": kernel}, shape=(1, len(names)), dtype=np.float64, label=label
    )
    lead = da.dims[:-2]
    coords = {name: c.variable for name, c in da.coords.items() if set(c.dims) <= set(lead) - {"z"}}
    if "z" in da.coords:
        position = da["z"].values
        middle = (position[:-lag] + position[lag:]) / 2
        coords["z"] = grid.coordinate("z", middle, units=grid.units_of(da, "z"), spacing=grid.spacing_of(da, "z"))
    pairs = xr.DataArray(values, dims=(*lead, "y", "number"), coords=coords).isel(y=0)
    result = xr.Dataset({name: pairs.isel(number=k) for k, name in enumerate(names)})
    for name, unit in units.items():
        result[name].attrs = {"long_name": name.replace("_", " "), "units": unit}
    return result.assign_coords(first=_numbers(result, first), second=_numbers(result, first + lag))


def _numbers(table: xr.Dataset, values: Any) -> xr.Variable:
    values = np.asarray(values, dtype=np.int64)
    return xr.Variable("z", values) if "z" in table.dims else xr.Variable((), values[0])


def _nothing(frame: Any, count: int) -> np.ndarray:
    return np.full(count, np.nan)


def _pair_row(frames: list[Any], kernel: Callable[[Any, Any], np.ndarray]) -> np.ndarray:
    row: np.ndarray = np.asarray(kernel(frames[0], frames[-1]), dtype=np.float64).reshape(1, -1)
    return row
