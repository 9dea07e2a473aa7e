"""What every reader of image files hands over, and what the user asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.io._lazy_frames import Frames
from stack3d.io._positions import calibration, coordinates
from stack3d.model import DIMS, check_stack
from stack3d.units import canonical_unit, conversion_factor


@dataclass(frozen=True)
class Settings:
    """The arguments of `open_stack` beside the path, checked."""

    pattern: str | None = None
    pixel_size: Any = None
    z: Any = None
    units: str | None = None
    channel: str | Sequence[str] | None = None
    variable: str | int | None = None
    on_bad_frame: str = "raise"
    on_gap: str = "warn"
    on_z: str = "raise"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("on_bad_frame", ("raise", "flag")),
            ("on_gap", ("warn", "raise", "flag", "ignore")),
            ("on_z", ("raise", "sort", "drop")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not allowed; it must be {' or '.join(map(repr, allowed))}"
                )

    def refuse(self, what: str, *names: str) -> None:
        """Raise when an argument was given that says nothing for this kind of source."""
        default = Settings()
        for name in names:
            value = getattr(self, name)
            if value != getattr(default, name):
                raise ValueError(f"{name}={value!r} has no meaning for {what}; leave it out")


@dataclass(frozen=True)
class Source:
    """A stack in image files, before it becomes a lazy array."""

    frames: Frames
    coords: dict[str, Any]
    attrs: dict[str, Any]
    #: Names of the channels, None where there is one without a name.
    channels: list[str] | None
    name: str | None = "image"
    #: Name of a single channel without a dim.
    scalar_channel: str | None = None

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dims."""
        return DIMS[-len(self.frames.shape) :]

    def to_dataarray(self, data: Any) -> xr.DataArray:
        """Return the labelled stack around `data`."""
        coords = dict(self.coords)
        if self.scalar_channel is not None:
            coords["channel"] = self.scalar_channel
        elif self.channels is not None:
            coords["channel"] = list(self.channels)
        da = xr.DataArray(data, dims=self.dims, coords=coords, attrs=dict(self.attrs), name=self.name)
        check_stack(da, name="the stack")
        return da


def colour_names(samples: int) -> list[str]:
    """Return the names of the colours of a frame."""
    names = {2: ["L", "A"], 3: ["R", "G", "B"], 4: ["R", "G", "B", "A"]}
    return names.get(samples) or [str(k) for k in range(samples)]


def pick_channels(source: Source, channel: str | Sequence[str] | None) -> Source:
    """Return the channels that were asked for; a single one without a name takes the given name."""
    if channel is None:
        return source
    asked = [channel] if isinstance(channel, str) else [str(name) for name in channel]
    frames, samples = source.frames, source.frames.header.samples
    if not asked or len(set(asked)) != len(asked):
        raise ValueError(f"channel={channel!r} must give different names")
    if source.channels is None:
        if len(asked) != 1:
            raise ValueError(f"channel={channel!r} gives {len(asked)} names, but there is one channel")
        if isinstance(channel, str):
            return replace(source, scalar_channel=channel)
        return replace(source, frames=replace(frames, has_channel=True), channels=asked)
    if not set(asked) <= set(source.channels):
        raise ValueError(f"channel={channel!r} is not allowed; the channels are {source.channels}")
    if samples:
        if asked != source.channels:
            raise ValueError(
                f"channel={channel!r} picks among the colours {source.channels}, which are read together; open "
                "all, then use da.sel(channel=...)"
            )
        return source
    rows = tuple(frames.refs[source.channels.index(name)] for name in asked)
    frames = replace(
        frames, refs=rows, token=f"{frames.token}-{'-'.join(asked)}", has_channel=not isinstance(channel, str)
    )
    if isinstance(channel, str):
        return replace(source, frames=frames, channels=None, scalar_channel=channel)
    return replace(source, frames=frames, channels=asked)


def adjusted(da: xr.DataArray, settings: Settings, path: Path) -> xr.DataArray:
    """Return a stack that came with its coordinates, with positions, unit and channels as the user gives them."""
    if settings.pixel_size is not None or settings.z is not None:
        da = _placed(da, settings)
    elif settings.units is not None:
        da = _converted(da, canonical_unit(settings.units))
    if settings.channel is not None:
        known = [str(name) for name in np.atleast_1d(da["channel"].values)] if "channel" in da.coords else []
        asked = [settings.channel] if isinstance(settings.channel, str) else list(settings.channel)
        if "channel" not in da.dims or not set(asked) <= set(known):
            raise ValueError(
                f"channel={settings.channel!r} is not in {path}; its channels are {known or 'without names'}"
            )
        da = da.sel(channel=settings.channel if isinstance(settings.channel, str) else asked)
    check_stack(da, name=str(path))
    return da


def _placed(da: xr.DataArray, settings: Settings) -> xr.DataArray:
    if "z" not in da.dims:
        raise ValueError("pixel_size and z place the slices of a stack; this one has no dim z: use da.assign_coords")
    stored = calibration(
        **{dim: (grid.spacing_of(da, dim), grid.units_of(da, dim)) for dim in grid.SPATIAL if dim in da.coords}
    )
    shape = tuple(da.sizes[dim] for dim in grid.SPATIAL)
    given = coordinates(shape, pixel_size=settings.pixel_size, z=settings.z, units=settings.units, stored=stored)
    return da.assign_coords(given)


def _converted(da: xr.DataArray, unit: str) -> xr.DataArray:
    coords = {}
    for dim in grid.SPATIAL:
        if dim in da.coords and da[dim].dims == (dim,):
            factor = conversion_factor(grid.units_of(da, dim), unit)
            coords[dim] = grid.coordinate(
                dim, da[dim].values * factor, units=unit, spacing=grid.spacing_of(da, dim) * factor
            )
    return da.assign_coords(coords)
