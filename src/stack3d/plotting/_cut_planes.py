"""Three planes through a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stack3d.grid import SPATIAL, spacing_of, units_of
from stack3d.model import check_stack, one_channel
from stack3d.plotting._image import axes_given, channel_shown, grey_limits, position, scale_bar, show
from stack3d.units import parse_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLANES = {"xy": ("z", "y", "x"), "xz": ("y", "z", "x"), "yz": ("x", "z", "y")}


def cut_planes(
    da: xr.DataArray,
    at: Mapping[str, float | str] | None = None,
    *,
    channel: str | None = None,
    axes: Sequence[Axes] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray",
) -> dict[str, Axes]:
    """Show the XY, XZ and YZ planes through a point, in true proportions, with a scale bar.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
        Only the three planes are computed.
    at : dict, optional
        Position of the point, such as ``{"z": 200, "x": "1 um"}``; the middle of the stack where not given.
    channel : str, optional
        By default the first.
    axes : three Axes, optional
        Where to draw XY, XZ and YZ; by default a new figure.
    limits : (low, high), optional
        Grey levels shown as black and white; by default the 0.5 % and 99.5 % quantiles of the planes.
    cmap : str
        Colour map.

    Returns
    -------
    dict of Axes
        ``"xy"``, ``"xz"`` and ``"yz"``. y and z run down; uneven slices are drawn where they are.

    Examples
    --------
    >>> axes = stack.stack3d.plot.cut_planes({"z": 60})
    >>> sorted(axes)
    ['xy', 'xz', 'yz']
    """
    check_stack(da, needs=("z",))
    volume = one_channel(da, channel)
    if at is not None and not isinstance(at, Mapping):
        raise TypeError(f"at={at!r} must be a dict such as {{'z': 200}}, not {type(at).__name__}")
    given = None if axes is None else axes_given(axes, 3)
    index = {dim: _index(volume, dim, (at or {}).get(dim)) for dim in SPATIAL}
    unknown = set(at or {}) - set(SPATIAL)
    if unknown:
        raise ValueError(f"at={at!r} has keys {sorted(unknown)}; allowed are 'z', 'y' and 'x'")
    cuts = {name: volume.variable.isel({cut: index[cut]}) for name, (cut, _, _) in _PLANES.items()}
    planes = xr.Dataset(
        {name: ((f"{name}_row", f"{name}_column"), plane.data) for name, plane in cuts.items()}
    ).compute()
    low, high = limits or grey_limits(*(planes[name].values for name in _PLANES))
    drawn = dict(zip(_PLANES, _new_axes(volume) if given is None else given, strict=True))
    of_channel = channel_shown(da, volume)
    for name, (cut, row, column) in _PLANES.items():
        rows, columns = position(volume, row), position(volume, column)
        show(drawn[name], planes[name].values, rows, columns, cmap=cmap, vmin=low, vmax=high)
        unit = units_of(volume, cut)
        place = f"{float(volume[cut].values[index[cut]]):.6g}" + ("" if unit == "1" else f" {unit}")
        drawn[name].set_title(f"{of_channel + ', ' if of_channel else ''}{name.upper()} at {cut} = {place}")
        for dim, line in ((row, drawn[name].axhline), (column, drawn[name].axvline)):
            line(float(volume[dim].values[index[dim]]), color="C1", lw=0.6, ls="--")
    extent = volume.sizes["x"] * spacing_of(volume, "x")
    scale_bar(drawn["xy"], extent, units_of(volume, "x"))
    return drawn


def _index(volume: xr.DataArray, dim: str, place: float | str | None) -> int:
    values = volume[dim].values
    if place is None:
        return int(values.size // 2)
    number = parse_length(place, unit=units_of(volume, dim), spacing=spacing_of(volume, dim), name=f"at[{dim!r}]")
    half = spacing_of(volume, dim) / 2
    if not values[0] - half <= number <= values[-1] + half:
        raise ValueError(
            f"at[{dim!r}]={place!r} lies outside the stack, which runs from {values[0]:g} to {values[-1]:g}"
        )
    return int(np.argmin(np.abs(values - number)))


def _new_axes(volume: xr.DataArray) -> list[Axes]:
    import matplotlib.pyplot as plt

    ratio = {d: volume.sizes[d] * spacing_of(volume, d) for d in SPATIAL}
    z = min(max(ratio["z"] / ratio["y"], 0.2), 3.0)
    wide = min(max(ratio["y"] / ratio["x"], 0.2), 3.0)
    figure = plt.figure(figsize=(5 * (1 + wide) + 1, 5 * wide * (1 + z) + 1), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1, z), width_ratios=(1, wide))
    return [figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])]
