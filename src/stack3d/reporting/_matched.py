"""Which slice before belongs to which slice after, and which pixels show the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stack3d._alone import slices_alone
from stack3d._provenance import OPERATIONS
from stack3d._records import decode_value
from stack3d.grid import SPATIAL, bounds, regular, spacing_of, units_of
from stack3d.model import in_native_order, one_channel, valid_slices, with_loaded_facts
from stack3d.progress import compute
from stack3d.units import conversion_factor

# Steps that turn the axes: what was before is turned alike before it is laid over what is after.
_TURNING = frozenset({"flip", "reslice"})


@dataclass(frozen=True, eq=False)
class Side:
    """One channel of a stack, (z, y, x), with its positions in the frame of the result."""

    da: xr.DataArray
    edges: Mapping[str, np.ndarray]
    places: Mapping[str, np.ndarray]
    valid: np.ndarray

    def held(self, label: str) -> Side:
        """Return the same with its pixels in memory."""
        if self.da.chunks is None:
            return self
        return replace(self, da=self.da.copy(data=compute(self.da.data, label=label)[0]))

    def isel(self, index: Sequence[int] | np.ndarray) -> xr.DataArray:
        """Return some slices; of lazy ones they alone are computed, where that can be."""
        if len(index) == self.da.sizes["z"] and np.array_equal(index, np.arange(len(index))):
            return self.da
        return self.alone(index)

    def alone(self, index: Sequence[int] | np.ndarray) -> xr.DataArray:
        """Return some slices, each by itself even where these are all: chains then have in common what they share."""
        if self.da.chunks is None:
            return self.da.isel(z=list(index))
        coords = self.da.coords.to_dataset().isel(z=list(index)).coords
        return xr.DataArray(slices_alone(self.da.data, index), coords=coords, dims=self.da.dims, attrs=self.da.attrs)


@dataclass(frozen=True, eq=False)
class Matched:
    """One channel after and, where it is known, before."""

    channel: str
    after: Side
    before: Side | None
    why_not: str
    units: Mapping[str, str]

    def partners(self, slices: Sequence[int]) -> list[int | None]:
        """Return the slice before that lies nearest to each of these slices after; None where there is none."""
        if self.before is None:
            return [None] * len(slices)
        own, theirs = self.after.places["z"], self.before.places["z"]
        # Of uneven slices the far ones are neighbours too; a gap where some are missing is rare.
        far = float(np.quantile(np.diff(theirs), 0.9)) if theirs.size > 1 else 1.0
        reach = 0.75 * max(_step(own), far) if theirs.size > 1 or own.size > 1 else np.inf
        found: list[int | None] = []
        for k in slices:
            nearest = int(np.argmin(np.abs(theirs - own[k])))
            found.append(nearest if abs(theirs[nearest] - own[k]) <= reach * (1 + 1e-9) else None)
        return found

    def place_shown(self, k: int) -> str:
        """Return the position of a slice after, in words."""
        from stack3d.reporting._words import number

        unit = self.units["z"]
        return f"z = {number(self.after.places['z'][k], 6)}" + ("" if unit == "1" else f" {unit}")


def check(da: xr.DataArray, name: str) -> None:
    """Raise unless a page can show the stack."""
    from stack3d.model import check_stack

    check_stack(da, name=name)
    strange = [str(dim) for dim in da.dims if dim not in ("channel", *SPATIAL)]
    if strange:
        raise ValueError(f"{name} has dims {da.dims}; a report shows channel, z, y and x: choose with {name}.isel(...)")


def channels_of(da: xr.DataArray) -> list[str]:
    """Return the names of the channels, one empty name for a stack without."""
    return [str(name) for name in da["channel"].values] if "channel" in da.dims and "channel" in da.coords else [""]


def matched(
    da: xr.DataArray,
    before: xr.DataArray | None,
    channel: str,
    records: Sequence[Mapping[str, Any]],
    thickness: xr.Dataset | None,
) -> Matched:
    """Return one channel of both stacks, laid over each other by their positions."""
    own = _volume(da, channel)
    after = _side(own, {dim: _positions(own, dim) for dim in SPATIAL})
    units = {dim: units_of(own, dim) for dim in SPATIAL}
    if before is None:
        return Matched(channel, after, None, "", units)
    names = channels_of(before)
    if channel and names != [""] and channel not in names:
        return Matched(channel, after, None, f"The stack before has no channel {channel!r}.", units)
    theirs = _volume(before, channel if names != [""] else "")
    try:
        theirs = _turned(theirs, records)
    except (ValueError, TypeError, KeyError) as error:
        return Matched(channel, after, None, f"Before and after cannot be laid over each other: {error}", units)
    places = {dim: _converted(theirs, dim, own, thickness) for dim in SPATIAL}
    return Matched(channel, after, _side(theirs, places), "", units)


def after_a_step(da: xr.DataArray, channel: str) -> Side:
    """Return one channel of a stack as a step left it; infinite pixels are among the others."""
    own = _channel_of(da, channel)
    return _side(own, {dim: _positions(own, dim) for dim in SPATIAL})


def _volume(da: xr.DataArray, channel: str) -> xr.DataArray:
    volume = _channel_of(da, channel)
    return volume.where(np.isfinite(volume)) if volume.dtype.kind == "f" else volume


def _channel_of(da: xr.DataArray, channel: str) -> xr.DataArray:
    volume = in_native_order(with_loaded_facts(da))
    if "channel" in volume.dims:
        volume = one_channel(volume, channel or None) if "channel" in volume.coords else volume.isel(channel=0)
    if "z" not in volume.dims:
        volume = volume.drop_vars("z", errors="ignore").expand_dims("z")
    if volume.dtype == bool:
        volume = volume.astype(np.uint8)
    if "mask" in volume.coords:
        volume = volume.where(volume["mask"])
    return volume


def _positions(da: xr.DataArray, dim: str) -> np.ndarray:
    values = da[dim].values if dim in da.coords else regular(0.0, 1.0, da.sizes[dim])
    return np.atleast_1d(np.asarray(values, np.float64))


def _side(da: xr.DataArray, places: Mapping[str, np.ndarray]) -> Side:
    edges = {}
    for dim, values in places.items():
        step = _step(values) if values.size > 1 else spacing_of(da, dim)
        edges[dim] = bounds(values, step)
    return Side(da, edges, places, valid_slices(da))


def _step(values: np.ndarray) -> float:
    return float(np.median(np.diff(values))) if values.size > 1 else 1.0


def _turned(before: xr.DataArray, records: Sequence[Mapping[str, Any]]) -> xr.DataArray:
    for record in records:
        if record["operation"] in _TURNING:
            given = {key: decode_value(value) for key, value in record["parameters"].items()}
            before = OPERATIONS[record["operation"]].function(before, **given)
    return before


def _converted(before: xr.DataArray, dim: str, after: xr.DataArray, thickness: xr.Dataset | None) -> np.ndarray:
    """Return positions of the stack before in the frame and unit of the result."""
    values = _positions(before, dim)
    if dim == "z" and thickness is not None and thickness.sizes["z"] > 1:
        moved = thickness["position"].values - thickness["z"].values
        values = values + np.interp(values, thickness["z"].values, moved)
    unit, wanted = units_of(before, dim), units_of(after, dim)
    if unit == wanted:
        return values
    if "1" not in (unit, wanted):
        return values * float(conversion_factor(unit, wanted))
    # One of them is not calibrated: the whole of one lies on the whole of the other.
    target = bounds(_positions(after, dim), spacing_of(after, dim))
    share = (np.arange(values.size) + 0.5) / values.size
    return np.asarray(target[0] + share * (target[-1] - target[0]))
