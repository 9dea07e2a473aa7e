"""What cannot be drawn says so in its place: one figure costs nothing else of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import xarray as xr

from stack3d.reporting._model import Block, Fold, Group, Text


def tried(what: str, make: Callable[[], Sequence[Block]]) -> list[Block]:
    """Return what `make` draws, or a line that says what could not be drawn, and why."""
    try:
        return list(make())
    except Exception as error:
        return [Text(f"{what} could not be drawn: {type(error).__name__}: {error}", note=True, fault=True)]


def faults(blocks: Sequence[Block]) -> Iterator[str]:
    """Yield what could not be drawn."""
    for block in blocks:
        if isinstance(block, Text) and block.fault:
            yield block.text
        elif isinstance(block, Fold | Group):
            yield from faults(block.blocks)


def figures(blocks: Sequence[Block]) -> int:
    """Return how many figures there are."""
    return sum(figures(b.blocks) if isinstance(b, Fold | Group) else b.kind == "figure" for b in blocks)


def channels_in(estimate: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    """Return each channel of an estimate with what its captions end in, such as ``", SE"``; nothing where there is one."""
    if "channel" not in estimate.dims:
        return [("", estimate)]
    names = channel_names(estimate)
    return [(f", {name}" if len(names) > 1 else "", estimate.isel(channel=k)) for k, name in enumerate(names)]


def channel_names(estimate: xr.Dataset) -> list[str]:
    """Return the names of the channels of an estimate that has some, their numbers where they have none."""
    known = estimate["channel"].values if "channel" in estimate.coords else range(estimate.sizes["channel"])
    return [str(name) for name in known]
