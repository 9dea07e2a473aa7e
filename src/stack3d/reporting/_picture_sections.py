"""Sections of pictures: before and after with a divider, cut planes, and what each step did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stack3d.reporting import _passes
from stack3d.reporting._images import Packing, finite_limits, packed
from stack3d.reporting._matched import Matched
from stack3d.reporting._model import Block, Channel, Facts, Group, Section, Shot, Stage, Text, Viewer
from stack3d.reporting._words import number, plain


def comparison(facts: Facts, packing: Packing) -> Section | None:
    """Return the slices before and after, with a divider and a slider."""
    blocks: list[Block] = []
    for channel in facts.channels:
        shots, labels = [], []
        for n, k in enumerate(channel.slices):
            place = channel.pair.place_shown(k)
            shots.append(_shot(channel, channel.pictures["after"][n], _of(channel, "before", n), place, packing))
            labels.append(f"slice {k + 1} of {channel.pair.after.da.sizes['z']}, {place}")
        stage = _stage(channel, shots)
        viewer = Viewer(
            "Before and after" if channel.pair.before is not None else "Slices",
            [stage],
            labels,
            _caption(channel),
            slider="slice",
            start=channel.middle,
        )
        blocks += _under(facts, channel, [viewer])
        if channel.pair.why_not:
            blocks.append(Text(channel.pair.why_not, note=True))
    both = any(channel.pair.before is not None for channel in facts.channels)
    return Section("pictures", "Before and after" if both else "Slices", blocks)


def cut_planes(facts: Facts, packing: Packing) -> Section | None:
    """Return three planes through the middle of the stack."""
    blocks: list[Block] = []
    for channel in facts.channels:
        pair = channel.pair
        if pair.after.da.sizes["z"] < 2:
            continue
        k = channel.middle
        cuts = {"after": _passes.planes(pair.after, channel.profiles["after"], pair)}
        cuts["after"]["xy"] = channel.pictures["after"][k]
        if pair.before is not None:
            cuts["before"] = _passes.planes(pair.before, channel.profiles["before"], pair)
            cuts["before"]["xy"] = channel.pictures["before"][k]
        stages = []
        for name in ("xy", "yz", "xz"):
            other = cuts["before"][name] if "before" in cuts else None
            shot = _shot(channel, cuts["after"][name], other, f"plane {name.upper()}", packing)
            stages.append(_stage(channel, [shot], name.upper(), name, cuts["after"][name].shape, bar=name == "xy"))
        across, deep = _extent(pair, "x"), _depth(pair)
        viewer = Viewer(
            "Cut planes",
            stages,
            ["the planes through the middle"],
            f"XY at {pair.place_shown(channel.slices[k])}, XZ and YZ through the middle of the frame; z runs down in XZ and to "
            "the right in YZ. " + _caption(channel),
            layout="planes",
            columns=f"{across / (across + deep):.4f}fr {deep / (across + deep):.4f}fr",
        )
        blocks += _under(facts, channel, [viewer])
    return Section("planes", "Cut planes", blocks) if blocks else None


def steps_in_pictures(facts: Facts, packing: Packing) -> Section | None:
    """Return one slice after each step."""
    blocks: list[Block] = []
    for channel, looks in zip(facts.channels, facts.stages, strict=False):
        before = _of(channel, "before", channel.middle)
        if not looks or before is None or not np.isfinite(before).any():
            continue
        shots = [_shot(channel, look.picture, before, f"after {name}", packing, name) for name, look in looks.items()]
        viewer = Viewer(
            "Each step",
            [_stage(channel, shots)],
            [f"after {name}" for name in looks],
            f"The slice at {channel.pair.place_shown(channel.slices[channel.middle])} after each step, over the raw one. "
            f"Slide through the steps. {_caption(channel)}",
            slider="step",
            names=("raw", "after the step"),
            start=len(shots) - 1,
        )
        blocks += _under(facts, channel, [viewer])
    return Section("each-step", "Step by step", blocks) if blocks else None


def _of(channel: Channel, name: str, n: int) -> np.ndarray | None:
    return channel.pictures[name][n] if name in channel.pictures else None


def _shot(
    channel: Channel, after: np.ndarray, before: np.ndarray | None, place: str, packing: Packing, step: str = ""
) -> Shot:
    limits = channel.limits
    # A step in between may have grey values of its own scale.
    own = finite_limits([after]) if step else limits["after"]
    shared = limits["after"]
    if step and 0.2 < (own[1] - own[0]) / (shared[1] - shared[0]) < 5 and own[0] < shared[1] and own[1] > shared[0]:
        own = shared
    seen = before is not None and bool(np.isfinite(before).any())
    under = packed(before, limits["before"], packing) if seen and before is not None else None
    of = f", channel {channel.pair.channel}" if channel.pair.channel else ""
    return Shot(packed(after, own, packing), under, f"{place}{of}")


def _stage(
    channel: Channel,
    shots: Sequence[Shot],
    name: str = "",
    area: str = "",
    shape: tuple[int, ...] = (),
    bar: bool = True,
) -> Stage:
    pair = channel.pair
    height, width = shape or channel.pictures["after"].shape[1:]
    across, down = _extent(pair, "x"), _extent(pair, "y")
    if pair.units["x"] != pair.units["y"]:
        across, down = float(width), float(height)
    ratio = {"yz": _depth(pair) / down, "xz": across / _depth(pair)}.get(area, across / down)
    return Stage(shots, (width, height), ratio, name, scale_bar(pair) if bar else None, area)


def _depth(pair: Matched) -> float:
    """Return the extent along z as it is drawn: true, but for stacks that would not fit on a page."""
    across = _extent(pair, "x")
    if pair.units["z"] != pair.units["x"]:
        return across
    return float(np.clip(_extent(pair, "z"), 0.08 * across, 2.5 * across))


def scale_bar(pair: Matched) -> tuple[float, str]:
    """Return the length of a scale bar as a share of the width, and in words."""
    extent = _extent(pair, "x")
    power = 10.0 ** np.floor(np.log10(extent / 5))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= extent / 5 * (1 + 1e-9)))
    return length / extent, f"{number(length)} {'px' if pair.units['x'] == '1' else pair.units['x']}"


def _extent(pair: Matched, dim: str) -> float:
    return float(pair.after.edges[dim][-1] - pair.after.edges[dim][0])


def _caption(channel: Channel) -> str:
    limits = channel.limits
    low, high = limits["after"]
    if "before" not in limits:
        return f"Grey values from {number(low)} (black) to {number(high)} (white)."
    if limits["before"] == limits["after"]:
        return f"The same grey scale before and after: {number(low)} (black) to {number(high)} (white)."
    first, last = limits["before"]
    return (
        f"Grey values differ too much for one scale: before {number(first)} to {number(last)}, "
        f"after {number(low)} to {number(high)} (black to white)."
    )


def _under(facts: Facts, channel: Channel, blocks: list[Block]) -> list[Block]:
    """Return blocks under the name of their channel, where there are several."""
    return [Group(f"Channel {plain(channel.pair.channel)}", blocks)] if len(facts.channels) > 1 else blocks
