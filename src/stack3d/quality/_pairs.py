"""Pairs of slices: which there are, where they stand, and tables of what is measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.execution import Kernel
from stack3d.model import valid_slices, with_loaded_facts
from stack3d.windows import measure_windows


class Pairs(NamedTuple):
    """Pairs of slices at one distance.

    Attributes
    ----------
    windows : (n, 2) array of int
        First and last-plus-one slice of each. A stack too short for the lag has one window, of a single slice, which
        holds no pair.
    coords : dict
        ``z`` (midpoints), ``first`` and ``second``, ready for a Dataset.
    good : (n,) array of bool
        Whether there is a pair, and neither slice is marked as bad by the coordinate ``valid``.
    """

    windows: np.ndarray
    coords: dict[str, Any]
    good: np.ndarray


def pairs_of(da: xr.DataArray, lag: int) -> Pairs:
    """Return the pairs (k, k + lag) of a stack (..., z, y, x).

    Raises
    ------
    ValueError
        When `lag` is not a positive whole number.
    """
    if isinstance(lag, bool) or not isinstance(lag, int | np.integer) or lag < 1:
        raise ValueError(f"lag={lag!r} must be a positive whole number: the distance of the slices of a pair")
    facts = with_loaded_facts(da.isel(y=0, x=0))
    count = da.sizes["z"]
    first = np.arange(max(count - lag, 1))
    enough = count > lag
    second = first + lag if enough else np.array([count - 1])
    valid = valid_slices(facts)
    coords: dict[str, Any] = {}
    if "z" in da.coords:
        z = da["z"].values.astype(np.float64)
        middle = (z[first] + z[second]) / 2
        coords["z"] = grid.coordinate("z", middle, units=grid.units_of(da, "z"), spacing=grid.spacing_of(da, "z"))
        coords["z"].attrs["long_name"] = "middle of the pair"
    for name, index in (("first", first), ("second", second)):
        coords[name] = ("z", index.astype(np.int64), {"long_name": f"{name} slice of the pair, counted from 0"})
    windows = np.stack([first, first + (lag + 1 if enough else 1)], axis=1)
    return Pairs(windows, coords, valid[first] & valid[second] & enough)


def measured_pairs(
    da: xr.DataArray,
    pairs: Pairs,
    kernel: Kernel,
    width: int,
    *,
    prepare: Kernel,
    prepare_arguments: Mapping[str, Any],
    arguments: Mapping[str, Any],
    label: str,
) -> xr.DataArray:
    """Run ``kernel(first, second, **arguments) -> (width,) numbers`` on each pair of prepared frames; lazy where `da` is.

    Returns
    -------
    DataArray (..., z, number) of float64
        With the leading coordinates of `da` and those of the pairs; NaN where there is no pair.
    """
    values = measure_windows(
        da,
        _on_ends,
        pairs.windows,
        width=width,
        prepare=prepare,
        prepare_arguments=prepare_arguments,
        arguments={"kernel": kernel, "width": width, "given": dict(arguments)},
        label=label,
    )
    lead = da.dims[:-3]
    coords = {name: c.variable for name, c in da.coords.items() if set(c.dims) <= set(lead) and name != "z"}
    return xr.DataArray(values, dims=(*lead, "z", "number"), coords={**coords, **pairs.coords})


def _on_ends(frames: list[Any], kernel: Kernel, width: int, given: Mapping[str, Any]) -> np.ndarray:
    if len(frames) < 2:
        return np.full(width, np.nan)
    row: np.ndarray = kernel(frames[0], frames[-1], **given)
    return row
