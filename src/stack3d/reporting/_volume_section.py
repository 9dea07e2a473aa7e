"""The section of the volume in three dimensions: a ray-cast picture with the nearest corner cut out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stack3d.plotting._volume import volume_picture
from stack3d.reporting._images import Packing, webp
from stack3d.reporting._model import Facts, Section, Shot, Stage, Viewer
from stack3d.reporting._words import plain

_SIZE = (840, 720)
_SLICES = 96  # at most: a lazy stack may have to compute each


def volume(facts: Facts, packing: Packing) -> Section | None:
    """Return the volume before and after, of the first channel."""
    channel = facts.channels[0]
    if min(channel.pair.after.da.sizes.values()) < 2:
        return None
    cast = {
        name: webp(
            volume_picture(_sampled(side.da, channel.limits[name]), limits=channel.limits[name], size=_SIZE)[..., :3],
            max(packing.quality, 60),
        )
        for name, side in (("after", channel.pair.after), ("before", channel.pair.before))
        if side is not None and min(side.da.sizes.values()) > 1
    }
    of = f" of channel {plain(channel.pair.channel)}" if channel.pair.channel else ""
    shot = Shot(cast["after"], cast.get("before"), f"the volume{of} in three dimensions, its nearest corner cut out")
    stage = Stage([shot], _SIZE, _SIZE[0] / _SIZE[1])
    caption = (
        f"The volume{of}, ray-cast in its true proportions, with the corner nearest to the eye cut out along three planes "
        "through the middle. Grey values as above."
    )
    return Section("volume", "Volume", [Viewer("Volume", [stage], [""], caption)])


def _sampled(da: xr.DataArray, limits: tuple[float, float]) -> xr.DataArray:
    some = da.isel(z=slice(None, None, -(-da.sizes["z"] // _SLICES)))
    # What lies far beyond the grey scale may not fit the floats of a picture.
    span = limits[1] - limits[0]
    return some.clip(limits[0] - span, limits[1] + span, keep_attrs=True) if da.dtype == np.float64 else some
