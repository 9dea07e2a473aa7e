"""What each step did in numbers: of every slice, and along x and y before and after a background."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from stack3d._words import counted
from stack3d.reporting._model import Block, Channel, Facts, Figure, Group, Text
from stack3d.reporting._stages import StageLook
from stack3d.reporting._svg import Curve, line_chart
from stack3d.reporting._tried import tried
from stack3d.reporting._words import plain, unit_shown

# Steps that take out what varies over the frame: shown along its axes.
LINED = frozenset({"remove_background", "flatten"})
_QUANTITIES = (
    ("mean", "mean", "Mean after each step."),
    ("spread", "standard_deviation", "Standard deviation after each step."),
    ("minimum", "minimum", "Smallest grey value after each step."),
    ("maximum", "maximum", "Largest grey value after each step."),
)


def after_steps(facts: Facts) -> list[Block]:
    """Return mean, spread and extremes of slices after each step, and of the raw stack."""
    found: list[Block] = []
    for channel, looks in zip(facts.channels, facts.stages, strict=False):
        if looks:
            blocks = tried("The numbers after each step", functools.partial(_of_channel, channel, looks))
            several = len(facts.channels) > 1
            found += [Group(f"Channel {plain(channel.pair.channel)}", blocks)] if several else blocks
    return [Group("After each step", found)] if found else []


def _of_channel(channel: Channel, looks: Mapping[str, StageLook]) -> list[Block]:
    charts: list[Block] = []
    label = f"z / {unit_shown(channel.pair.units['z'], 'slice')}"
    for quantity, own, caption in _QUANTITIES:
        curves = []
        if channel.pair.before is not None:
            profile = channel.profiles["before"]
            curves = [
                Curve("raw", channel.pair.before.places["z"][profile.slices], profile.table[own], "c7", dashed=True)
            ]
        curves += [
            Curve(name, look.z, getattr(look, quantity), f"c{n % 7}", dashed=n > 6)
            for n, (name, look) in enumerate(looks.items())
        ]
        charts.append(Figure(line_chart(curves, x_label=label, y_label="grey value"), caption))
    return [*charts, Text(_how_many(looks), note=True)]


def _how_many(looks: Mapping[str, StageLook]) -> str:
    """Say of how many slices the numbers are."""
    groups: dict[int, list[str]] = {}
    for name, look in looks.items():
        groups.setdefault(look.z.size, []).append(name)
    if len(groups) == 1:
        return f"After each step {counted(next(iter(groups)), 'slice')} were computed again for these curves."
    said = "; ".join(f"{counted(n, 'slice')} after {', '.join(names)}" for n, names in groups.items())
    return f"Computed again for these curves: {said}. Steps that take long are done again for a few alone."


def along_axes(facts: Facts, step: str) -> list[Block]:
    """Return extremes and mean along x and y before and after a step, of each channel."""
    found: list[Block] = []
    for number, (channel, looks) in enumerate(zip(facts.channels, facts.stages, strict=False)):
        names = list(looks)
        if step not in names or not looks[step].along:
            continue
        place = names.index(step)
        before = looks[names[place - 1]] if place else facts.raw[number]
        of = f", {plain(channel.pair.channel)}" if len(facts.channels) > 1 else ""
        sides = [("before", before), ("after", looks[step])]
        found += [_along(channel, dim, [(n, s) for n, s in sides if s is not None and s.along], of) for dim in "xy"]
    return found


def _along(channel: Channel, dim: str, sides: Sequence[tuple[str, StageLook]], of: str) -> Figure:
    unit = unit_shown(channel.pair.units[dim], "pixel")
    curves = []
    for name, look in sides:
        values = look.along[dim]
        share = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
        places = look.ends[dim][0] + share * (look.ends[dim][1] - look.ends[dim][0])
        curves += [
            Curve(f"{quantity} {name}", places, row, name, dashed=quantity != "mean")
            for quantity, row in zip(("minimum", "maximum", "mean"), values, strict=True)
        ]
    counts = " and ".join(dict.fromkeys(f"{counted(look.z.size, 'slice')} {name}" for name, look in sides))
    chart = line_chart(curves, x_label=f"{dim} / {unit}", y_label="grey value")
    return Figure(chart, f"Minimum, maximum (dashed) and mean along {dim} before and after this step, of {counts}{of}.")
