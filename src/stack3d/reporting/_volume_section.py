"""The section of the volume in three dimensions: a ray-cast picture with the nearest corner cut out, in a drawn box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from markupsafe import Markup

from stack3d.grid import SPATIAL
from stack3d.plotting._volume import solid
from stack3d.plotting._volume_frame import frame_of
from stack3d.plotting._volume_scene import Scene, in_one_unit, scene_of
from stack3d.reporting._images import Packing, jpeg
from stack3d.reporting._matched import Side
from stack3d.reporting._model import Facts, Section, Shot, Stage, Viewer
from stack3d.reporting._words import number, plain, unit_shown

_SIZE = (840, 720)
_CAST = (540, 630)  # rows and columns: a pixel for each of at most 256 voxels, and a drawing that is sharp at any size
_SLICES = 96  # at most: a lazy stack may have to compute each
_VIEW = (38.0, 26.0)
_POINTS = 12.0  # of text, where a pixel is a hundredth of an inch
_ANCHORS = {"left": "start", "right": "end", "center": "middle"}


def volume(facts: Facts, packing: Packing) -> Section | None:
    """Return the volume before and after, of the first channel."""
    channel = facts.channels[0]
    if min(channel.pair.after.da.sizes.values()) < 2:
        return None
    cast = {
        name: _seen(side, channel.limits[name], max(packing.quality, 60))
        for name, side in (("after", channel.pair.after), ("before", channel.pair.before))
        if side is not None and min(side.da.sizes.values()) > 1
    }
    of = f" of channel {plain(channel.pair.channel)}" if channel.pair.channel else ""
    (after, box, rim), (before, other, its) = cast["after"], cast.get("before", (None, None, ""))
    said = f"the volume{of} in three dimensions, its nearest corner cut out"
    stage = Stage([Shot(after, before, said, (box, other), (rim, its))], _SIZE, _SIZE[0] / _SIZE[1])
    caption = (
        f"The volume{of}, ray-cast {_proportions(channel.pair.units)}, with the corner nearest to the eye cut out along "
        "three planes through the middle. Grey values as above."
    )
    return Section("volume", "Volume", [Viewer("Volume", [stage], [""], caption)])


def _proportions(units: Mapping[str, str]) -> str:
    alike = len(set(units.values())) == 1 or "1" not in units.values()
    return "in its true proportions" if alike else "with slices as thick as a pixel, since not all axes are calibrated"


def _seen(side: Side, limits: tuple[float, float], quality: int) -> tuple[str, Markup, str]:
    """Return the picture, the drawing of its box, and the outline beyond which it is clear."""
    scene = scene_of(_sampled(side.da, limits), None, limits, _VIEW, _SIZE[::-1], in_one_unit(side.da))
    grey, covered = solid(replace(scene, shape=_CAST))
    # Grey around the block, so that its rim is packed as well as the rest.
    pixels = np.rint(255 * np.where(covered, grey, np.float32(0.5))).astype(np.uint8)
    return jpeg(pixels, quality), _box(scene), _outline(scene)


def _outline(scene: Scene) -> str:
    """Return the outline of the box as a polygon of CSS: all corners but the nearest and the farthest."""
    corners = scene.corners()
    rim = scene.project(corners[np.argsort(corners @ scene.axes[2])[1:-1]]) + 0.5
    middle = rim.mean(axis=0)
    rim = rim[np.argsort(np.arctan2(*(rim - middle).T))]
    return ",".join(f"{x:.2f}% {y:.2f}%" for x, y in 100 * rim / _SIZE)


def _sampled(da: xr.DataArray, limits: tuple[float, float]) -> xr.DataArray:
    some = da.isel(z=slice(None, None, -(-da.sizes["z"] // _SLICES)))
    # What lies far beyond the grey scale may not fit the floats of a picture.
    span = limits[1] - limits[0]
    return some.clip(limits[0] - span, limits[1] + span, keep_attrs=True) if da.dtype == np.float64 else some


def _box(scene: Scene) -> Markup:
    """Return the edges of the box and its scales as a drawing in the colours of the page."""
    lines, labels = frame_of(scene, _POINTS)
    paths: dict[str, str] = {}
    for (one, other), kind in lines:
        step = f"M{one[0]:.1f} {one[1]:.1f}L{other[0]:.1f} {other[1]:.1f}"
        paths[kind] = paths.get(kind, "") + step
    drawn = [Markup('<path class="{}" d="{}"/>').format(f"edge-{kind}", d) for kind, d in paths.items()]
    for (x, y), text, side, turn, _ in labels:
        place = f"translate({x:.1f} {y:.1f})" + (f" rotate({-turn})" if turn else "")
        drawn.append(
            Markup('<text transform="{}" dy=".35em" text-anchor="{}">{}</text>').format(place, _ANCHORS[side], text)
        )
    ends = np.stack([scene.start, scene.start + scene.size], axis=1) / scene.factors[:, None]
    alt = "The box of the volume: " + ", ".join(
        f"{dim} from {number(low)} to {number(high)} {unit_shown(unit, 'pixel')}"
        for dim, low, high, unit in zip(SPATIAL, *ends.T, scene.units, strict=True)
    )
    return Markup('<svg class="box" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        *_SIZE, alt, Markup("").join(drawn)
    )
