"""Plots of stacks: axes in, axes out, y down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Plots:
    """Plots of one stack: ``da.stack3d.plot.NAME(...)``."""

    __slots__ = ("_da",)

    def __init__(self, da: xr.DataArray) -> None:
        self._da = da

    def __repr__(self) -> str:
        name = "a stack" if self._da.name is None else repr(self._da.name)
        return f"<stack3d plots of {name}: {', '.join(m for m in dir(self) if not m.startswith('_'))}>"

    def cut_planes(
        self,
        at: Mapping[str, float | str] | None = None,
        *,
        channel: str | None = None,
        axes: Sequence[Axes] | None = None,
        limits: tuple[float, float] | None = None,
        cmap: str = "gray",
    ) -> dict[str, Axes]:
        """Show the XY, XZ and YZ planes through a point: see `stack3d.plotting.cut_planes`."""
        from stack3d.plotting._cut_planes import cut_planes

        return cut_planes(self._da, at, channel=channel, axes=axes, limits=limits, cmap=cmap)

    def volume(
        self,
        *,
        at: Mapping[str, float | str] | None = None,
        channel: str | None = None,
        opacity: Literal["solid", "bright", "dark"] = "solid",
        view: tuple[float, float] = (38.0, 26.0),
        limits: tuple[float, float] | None = None,
        cmap: str = "gray",
        size: tuple[int, int] = (840, 720),
        renderer: Literal["auto", "pyvista", "numpy"] = "auto",
        ax: Axes | None = None,
    ) -> Axes:
        """Show the volume in three dimensions, a corner cut out: see `stack3d.plotting.volume_picture`."""
        from stack3d.plotting._volume import volume

        return volume(
            self._da,
            at=at,
            channel=channel,
            opacity=opacity,
            view=view,
            limits=limits,
            cmap=cmap,
            size=size,
            renderer=renderer,
            ax=ax,
        )

    def profiles(
        self, *, region: Mapping[str, Any] | None = None, channel: str | None = None, ax: Axes | None = None
    ) -> Axes:
        """Show minimum, mean, maximum and spread of each slice: see `stack3d.plotting.profiles`."""
        from stack3d.plotting._profiles import profiles

        return profiles(self._da, region=region, channel=channel, ax=ax)

    def measures(
        self,
        measures: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("slice_statistics",),
        *,
        others: Mapping[str, xr.DataArray] | None = None,
        box: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
        axes: Sequence[Axes] | None = None,
    ) -> list[Axes]:
        """Measure this stack, and `others` by their labels, and show it by slice: see `stack3d.plotting.measures`."""
        from stack3d.plotting._measures import measures as draw
        from stack3d.quality import compare

        own = "this" if self._da.name is None or str(self._da.name) in (others or {}) else str(self._da.name)
        return draw(compare({**(others or {}), own: self._da}, measures=measures, box=box), names=names, axes=axes)

    def compare(
        self,
        before: xr.DataArray,
        *,
        z: Sequence[int] | None = None,
        channel: str | None = None,
        axes: Sequence[Sequence[Axes]] | None = None,
        limits: tuple[float, float] | None = None,
        cmap: str = "gray",
    ) -> list[list[Axes]]:
        """Show a few slices before, after, and their difference: see `stack3d.plotting.compare`."""
        from stack3d.plotting._compare import compare

        return compare(self._da, before, z=z, channel=channel, axes=axes, limits=limits, cmap=cmap)

    def destripe(
        self,
        before: xr.DataArray | None = None,
        *,
        z: int | None = None,
        channel: str | None = None,
        angle: float | Literal["auto"] | None = None,
        axes: Sequence[Axes] | None = None,
        limits: tuple[float, float] | None = None,
        cmap: str = "gray",
        **how: Any,
    ) -> list[Axes]:
        """Show a slice before and after, what was taken away, and the spectrum: see `stack3d.plotting.destripe`."""
        from stack3d.plotting._destripe import destripe

        return destripe(self._da, before, z=z, channel=channel, angle=angle, axes=axes, limits=limits, cmap=cmap, **how)


__all__ = [
    "Plots",
    "compare",
    "cut_planes",
    "destripe",
    "measures",
    "profiles",
    "transforms",
    "volume",
    "volume_picture",
]


def __getattr__(name: str) -> Any:
    if name in ("compare", "cut_planes", "destripe", "measures", "profiles", "transforms"):
        from importlib import import_module

        return getattr(import_module(f"stack3d.plotting._{name}"), name)
    if name in ("volume", "volume_picture"):
        from stack3d.plotting import _volume

        return getattr(_volume, name)
    raise AttributeError(f"module 'stack3d.plotting' has no attribute {name!r}")
