"""Sections of numbers: profiles over z, histograms, positions of slices, quality."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from stack3d.reporting import _passes, _step_figures
from stack3d.reporting._images import map_uri, scale_colours
from stack3d.reporting._matched import Side
from stack3d.reporting._model import Block, Channel, Facts, Figure, Group, Section, Table, Text
from stack3d.reporting._quality import BOX, NOT_JUDGED, PAIRS, Quantity
from stack3d.reporting._svg import Curve, heat_map, line_chart, scale
from stack3d.reporting._tried import tried
from stack3d.reporting._words import COUNTED, number, plain, unit_shown

_NUMBERS = (
    (("mean",), "Mean of each slice; the band is one standard deviation to either side."),
    (("standard_deviation",), "Standard deviation of each slice."),
    (("minimum", "maximum"), "Smallest (dashed) and largest grey value of each slice."),
    (("median",), "Median of each slice."),
    (("measured_share",), "Share of each slice that was measured."),
)


def _z_label(channel: Channel) -> str:
    return f"z / {unit_shown(channel.pair.units['z'], 'slice')}"


def _sides(channel: Channel) -> list[tuple[str, Side]]:
    pair = channel.pair
    return [(n, s) for n, s in (("before", pair.before), ("after", pair.after)) if s is not None]


def _under(facts: Facts, channel: Channel, blocks: list[Block]) -> list[Block]:
    return [Group(f"Channel {plain(channel.pair.channel)}", blocks)] if len(facts.channels) > 1 else blocks


def profiles(facts: Facts) -> Section | None:
    """Return the grey values of each slice, before and after."""
    blocks: list[Block] = []
    for channel in facts.channels:
        figures: list[Block] = []
        sides = _sides(channel)
        for names, caption in _NUMBERS:
            if names[0] == "measured_share" and _all_measured(channel):
                continue
            curves = []
            for side_name, side in sides:
                found = channel.profiles[side_name]
                z = side.places["z"][found.slices]
                for name in names:
                    values = found.table[name]
                    spread = found.table["standard_deviation"]
                    band = (values - spread, values + spread) if name == "mean" else None
                    label = f"{side_name}, {name}" if len(names) > 1 else side_name
                    curves.append(Curve(label, z, values, side_name, dashed=name == "minimum", band=band))
            y_label = "measured share" if names[0] == "measured_share" else "grey value"
            bad = channel.pair.after.places["z"][~channel.pair.after.valid]
            figures.append(Figure(line_chart(curves, x_label=_z_label(channel), y_label=y_label, marks=bad), caption))
        looked, count = channel.profiles["after"].slices.size, channel.pair.after.da.sizes["z"]
        if looked < count:
            figures.append(Text(f"{looked} evenly spread slices of {count} were read for these curves.", note=True))
        blocks += _under(facts, channel, figures)
    blocks += _step_figures.after_steps(facts)
    return Section("profiles", "Grey values of each slice", blocks)


def _all_measured(channel: Channel) -> bool:
    return all(np.all(found.table["measured_share"] >= 1 - 1e-12) for found in channel.profiles.values())


def histograms(facts: Facts) -> Section | None:
    """Return histograms before and after, together and as maps over z."""
    blocks: list[Block] = []
    for channel in facts.channels:
        figures: list[Block] = []
        curves, maps = [], []
        for name, side in _sides(channel):
            found = channel.profiles[name]
            total = found.counts.sum(axis=1, keepdims=True)
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = np.where(total > 0, found.counts / total, np.nan)
            centres = (found.edges[1:] + found.edges[:-1]) / 2
            mean = np.full(centres.size, np.nan) if np.isnan(shares).all() else np.nanmean(shares, axis=0)
            curves.append(Curve(name, centres, 100 * mean, name))
            maps.append(_map(name, side, found, shares, _z_label(channel)))
        chart = line_chart(curves, x_label="grey value", y_label="share / %")
        figures.append(Figure(chart, _about_bins(channel)))
        blocks += _under(facts, channel, figures + maps)
    return Section("histograms", "Histograms", blocks)


def _about_bins(channel: Channel) -> str:
    widths = {float(found.edges[1] - found.edges[0]) for found in channel.profiles.values()}
    said = "Mean histogram: share of the pixels per bin; the bins at both ends hold what lies beyond."
    return said if len(widths) == 1 else f"{said} Bins are not equally wide before and after."


def _map(name: str, side: Side, found: _passes.Profile, shares: np.ndarray, label: str) -> Block:
    known = shares[np.isfinite(shares)]
    top = float(np.quantile(known, 0.995)) if known.size else 1.0
    edges = side.edges["z"]
    # Columns of equal width, each the nearest slice: positions may be uneven.
    columns = np.linspace(edges[0], edges[-1], 2 * min(found.slices.size, 256) + 1)
    places = side.places["z"][found.slices]
    nearest = np.argmin(np.abs(places[None, :] - (columns[1:, None] + columns[:-1, None]) / 2), axis=1)
    uri = map_uri(shares[nearest].T[::-1], (0.0, top or 1.0))
    chart = heat_map(
        uri, x=(float(edges[0]), float(edges[-1])), y=(float(found.edges[0]), float(found.edges[-1])),
        x_label=label, y_label="grey value", down=False,
        alt=f"Histograms {name}, of {found.slices.size} slices, as a map over z",
    )  # fmt: skip
    body = chart + scale(0, 100 * top, "% of the pixels per bin", scale_colours("viridis"))
    return Figure(body, f"Histogram of each slice {name}.")


def positions(facts: Facts) -> Section | None:
    """Return where the slices lie, and what is known of each."""
    channel = facts.channels[0]
    if channel.pair.after.da.sizes["z"] < 2:
        return None
    unit = unit_shown(channel.pair.units["z"], "slice")
    places, steps = [], []
    for name, side in _sides(channel):
        z = side.places["z"]
        places.append(Curve(name, np.arange(z.size), z, name))
        steps.append(Curve(name, (z[1:] + z[:-1]) / 2, np.diff(z), name))
    blocks: list[Block] = [
        Figure(line_chart(places, x_label="slice number", y_label=f"z / {unit}"), "Position of each slice."),
        Figure(line_chart(steps, x_label=f"z / {unit}", y_label=f"increment / {unit}"), "Distance between slices."),
    ]
    for fact, values in facts.after.coords.items():
        if "z" in values.dims and set(values.dims) <= {"channel", "z"} and values.dtype.kind == "f" and fact != "z":
            blocks += tried(
                f"{plain(str(fact)).capitalize()} of each slice", functools.partial(_kept, channel, values, unit)
            )
    return Section("positions", "Positions of slices", blocks)


def _kept(channel: Channel, values: xr.DataArray, unit: str) -> list[Block]:
    """Return what is kept of each slice with the stack, where it is known and not everywhere the same."""
    known = values.values[np.isfinite(values.values)]
    if known.size == 0 or np.ptp(known) == 0:
        return []
    own = str(values.attrs.get("long_name", plain(str(values.name))))
    of = unit_shown(str(values.attrs.get("units", "1")), COUNTED.get(str(values.name), ""))
    z = channel.pair.after.places["z"]
    if "channel" in values.dims:
        rows = values.transpose("channel", "z")
        curves = [Curve(str(row["channel"].values), z, row.values, f"c{k % 8}") for k, row in enumerate(rows)]
    else:
        curves = [Curve(own, z, values.values, "after")]
    chart = line_chart(curves, x_label=f"z / {unit}", y_label=f"{own} / {of}" if of else own)
    return [Figure(chart, f"{own.capitalize()} of each slice, kept with the stack.")]


def quality(facts: Facts) -> Section | None:
    """Return measures before and after: their medians, and each over z."""
    blocks: list[Block] = []
    for channel in facts.channels:
        if not channel.quantities:
            continue
        both = channel.pair.before is not None
        rows = [_row(quantity, both) for quantity in channel.quantities]
        columns = ("quantity", "unit", "before", "after", "change") if both else ("quantity", "unit", "value")
        parts: list[Block] = [Table(columns, rows, "Median of the sampled slices.")]
        parts += [Text(NOT_JUDGED, note=True)] if both else []
        for quantity in channel.quantities:
            curves = [] if quantity.before is None else [Curve("before", *quantity.before, "before")]
            curves.append(Curve("after", *quantity.after, "after"))
            y_label = quantity.short if quantity.unit == "1" else f"{quantity.short} / {quantity.unit}"
            chart = line_chart(curves, x_label=_z_label(channel), y_label=y_label)
            parts.append(Figure(chart, f"{quantity.name[0].upper()}{quantity.name[1:]}: {quantity.hint}."))
        parts += [Text(note, note=True) for note in (*channel.notes, *_distances(channel))]
        blocks += _under(facts, channel, parts)
    if not blocks:
        return None
    said = (
        f"Measured on up to {PAIRS} pairs of neighbouring slices, stripes on every second of them, in the middle "
        f"{BOX} × {BOX} pixels of the frame."
    )
    return Section(
        "quality", "Quality before and after" if facts.before is not None else "Quality", [Text(said), *blocks]
    )


def median(values: np.ndarray) -> float:
    """Return the median of what could be measured."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _row(quantity: Quantity, both: bool) -> tuple[str, ...]:
    after = median(quantity.after[1])
    unit = unit_shown(quantity.unit, "")
    if not both:
        return quantity.name, unit, number(after, 3)
    before = median(quantity.before[1]) if quantity.before is not None else float("nan")
    return quantity.name, unit, number(before, 3), number(after, 3), change(before, after, quantity.better)


def change(before: float, after: float, better: int) -> str:
    """Return a change in percent, and whether it is to the good."""
    if before == after:
        return "as before"
    if not np.isfinite(before) or not np.isfinite(after) or before == 0:
        return "–"
    percent = 100 * (after - before) / abs(before)
    if abs(percent) < 0.5:
        return "as before"
    sign = "+" if percent > 0 else "−"
    shown = f"{sign}{number(abs(percent), 2)} %"
    return shown + ("" if better == 0 else " (better)" if percent * better > 0 else " (worse)")


def _distances(channel: Channel) -> list[str]:
    """Return what must be known to compare neighbours: how far apart they are."""
    pair = channel.pair
    if pair.before is None:
        return []
    steps = [float(np.median(np.diff(s.places["z"]))) for _, s in _sides(channel) if s.places["z"].size > 1]
    if len(steps) < 2 or abs(steps[0] - steps[1]) <= 0.02 * max(steps):
        return []
    unit = unit_shown(pair.units["z"], "slice")
    return [
        f"Neighbouring slices are {number(steps[0])} {unit} apart before and {number(steps[1])} {unit} after: what is "
        "measured between neighbours is not of the same distance."
    ]
