"""Measures of quality before and after, on a sample whose size does not grow with the stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from stack3d.progress import compute
from stack3d.quality._together import OF_PAIRS, SINGLE, together
from stack3d.reporting._matched import Matched, Side

PAIRS = 12
BOX = 768
EVERY = 2  # of so many pairs the stripes of one are measured


class Quantity(NamedTuple):
    """One quantity before and after, slice by slice; `better` is 1 where more is better, -1 where less is, 0 neither."""

    name: str
    short: str
    unit: str
    better: int
    hint: str
    after: tuple[np.ndarray, np.ndarray]
    before: tuple[np.ndarray, np.ndarray] | None


NOT_JUDGED = (
    "Signal-to-noise ratio, noise and sharpness are not called better or worse. All three are read against the noise "
    "of each slice, and compare slices of the same noise alone: smoothing, and interpolation by parts of a pixel, "
    "raise the ratio and the sharpness though detail is lost; a gain of grey values changes the noise."
)


class _Kind(NamedTuple):
    variable: str
    name: str
    short: str
    better: int
    hint: str


# What is measured against the noise of a slice alone is not judged: a slight blur, as any move by parts of a pixel is,
# lowers that noise more than the structure, and a gain changes it.
_KINDS = (
    _Kind("snr", "signal-to-noise ratio (power)", "signal-to-noise ratio", 0, "autocorrelation within each slice"),
    _Kind("noise", "standard deviation of the noise", "noise", 0, "grey values"),
    _Kind("sharpness", "sharpness", "sharpness", 0, "fine structure in units of the noise of the slice"),
    _Kind("streak_index", "streak index", "streak index", -1, "share that is stripes"),
    _Kind("ncc", "correlation of neighbours", "correlation", 1, "normalised cross-correlation"),
    _Kind("nmi", "mutual information of neighbours", "mutual information", 1, "normalised"),
    _Kind("frc_resolution", "resolution", "resolution", -1, "Fourier ring correlation of neighbours, threshold 1/7"),
)


def measured(pair: Matched) -> tuple[list[Quantity], list[str]]:
    """Return all quantities of a channel, and why some could not be measured."""
    tables = {"after": _table(pair.after, pair.after)}
    if pair.before is not None:
        tables["before"] = _table(pair.before, pair.after)
    found, notes = [], set()
    for kind in _KINDS:
        values = {name: numbers[kind.variable] for name, (numbers, _) in tables.items() if kind.variable in numbers}
        notes |= {f"{kind.name}: {faults[kind.variable]}" for _, faults in tables.values() if kind.variable in faults}
        if "after" in values and any(np.isfinite(v).any() for _, v in values.values()):
            unit = _unit(kind, pair)
            found.append(
                Quantity(kind.name, kind.short, unit, kind.better, kind.hint, values["after"], values.get("before"))
            )
    return found, sorted(notes)


def _unit(kind: _Kind, pair: Matched) -> str:
    if kind.variable == "frc_resolution":
        return "pixel" if pair.units["x"] == "1" else pair.units["x"]
    return "grey value" if kind.variable == "noise" else "1"


def _table(side: Side, window: Side) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Mapping[str, str]]:
    """Return positions and values by the name of the measure, and why some could not be measured."""
    da, places = _sample(side, window)
    count = -(-da.sizes["z"] // 2)
    numbers, faults = together(da, [k % EVERY == 0 for k in range(count)])
    # The first of each pair tells of its place.
    found = {name: (places[::2], numbers[name]) for name in SINGLE}
    found["streak_index"] = (places[:: 2 * EVERY], numbers["streak_index"][::EVERY])
    if da.sizes["z"] > 1:
        middle = (places[0::2] + places[1::2]) / 2
        found |= {name: (middle, numbers[name]) for name in OF_PAIRS}
    return found, faults


def _sample(side: Side, window: Side) -> tuple[xr.DataArray, np.ndarray]:
    """Return pairs of neighbouring slices, one pair after the other, cut to the middle of what is after."""
    count = side.da.sizes["z"]
    inside = np.flatnonzero(
        side.valid & (side.places["z"] >= window.edges["z"][0]) & (side.places["z"] <= window.edges["z"][-1])
    )
    inside = inside if inside.size else np.arange(count)
    firsts = inside[np.append(side.valid[1:], False)[inside]]
    if firsts.size == 0:
        index = inside[:1]
    else:
        chosen = firsts[np.unique(np.linspace(0, firsts.size - 1, min(PAIRS, firsts.size)).round().astype(int))]
        index = np.stack([chosen, chosen + 1], axis=1).ravel()
    part = {dim: _middle(side, window, dim) for dim in ("y", "x")}
    # A slice may be in two pairs, and is read once.
    once, back = np.unique(index, return_inverse=True)
    some = side.isel(once).isel(part)
    (values,) = compute(some.data, label="report: quality") if some.chunks is not None else (some.values,)
    coords = {name: some.coords[name] for name in ("y", "x") if name in some.coords}
    return xr.DataArray(values[back], dims=some.dims, coords=coords, attrs=some.attrs), side.places["z"][index]


def _middle(side: Side, window: Side, dim: str) -> slice:
    inside = (side.places[dim] >= window.edges[dim][0]) & (side.places[dim] <= window.edges[dim][-1])
    known = np.flatnonzero(inside) if inside.any() else np.arange(side.places[dim].size)
    first, last = int(known[0]), int(known[-1]) + 1
    spare = max(0, last - first - BOX) // 2
    return slice(first + spare, last - (max(0, last - first - BOX) - spare))
