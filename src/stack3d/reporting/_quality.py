"""Measures of quality before and after, on a sample whose size does not grow with the stack."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from stack3d import quality
from stack3d.reporting._matched import Matched, Side

PAIRS = 12
BOX = 768


class Quantity(NamedTuple):
    """One quantity before and after, slice by slice; `better` is 1 where more is better, -1 where less is, 0 neither."""

    name: str
    short: str
    unit: str
    better: int
    hint: str
    after: tuple[np.ndarray, np.ndarray]
    before: tuple[np.ndarray, np.ndarray] | None


class _Kind(NamedTuple):
    measure: Callable[[xr.DataArray], xr.Dataset]
    variable: str
    name: str
    short: str
    better: int
    hint: str
    pairs: bool
    every: int = 1  # of so many pairs one is measured


_KINDS = (
    _Kind(
        lambda da: quality.snr(da),
        "snr", "signal-to-noise ratio (power)", "signal-to-noise ratio", 1, "autocorrelation within each slice", False),
    _Kind(lambda da: quality.snr(da), "noise", "standard deviation of the noise", "noise", -1, "grey values", False),
    _Kind(lambda da: quality.sharpness(da), "sharpness", "sharpness", "sharpness", 1, "of each slice", False),
    _Kind(lambda da: quality.streak_index(da), "streak_index", "streak index", "streak index", -1, "share that is stripes", False, 2),
    _Kind(
        lambda da: quality.registration_quality(da, metrics=("ncc", "nmi", "frc")),
        "ncc", "correlation of neighbours", "correlation", 1, "normalised cross-correlation", True,
    ),
    _Kind(
        lambda da: quality.registration_quality(da, metrics=("ncc", "nmi", "frc")),
        "nmi", "mutual information of neighbours", "mutual information", 1, "normalised", True,
    ),
    _Kind(
        lambda da: quality.registration_quality(da, metrics=("ncc", "nmi", "frc")),
        "frc_resolution", "resolution", "resolution", -1, "Fourier ring correlation of neighbours, threshold 1/7", True,
    ),
)  # fmt: skip


def measured(pair: Matched) -> tuple[list[Quantity], list[str]]:
    """Return all quantities of a channel, and why some could not be measured."""
    sides = {"after": _sample(pair.after, pair, pair.after)}
    if pair.before is not None:
        sides["before"] = _sample(pair.before, pair, pair.after)
    tables: dict[tuple[str, str], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    notes: list[str] = []
    found = []
    for kind in _KINDS:
        values = {}
        for name, (da, places) in sides.items():
            key = (name, _source(kind))
            if key not in tables:
                tables[key] = _table(kind, da, places, notes)
            if kind.variable in tables[key]:
                values[name] = tables[key][kind.variable]
        if "after" in values and any(np.isfinite(v).any() for _, v in values.values()):
            unit = _unit(kind, pair)
            found.append(
                Quantity(kind.name, kind.short, unit, kind.better, kind.hint, values["after"], values.get("before"))
            )
    return found, sorted(set(notes))


def _source(kind: _Kind) -> str:
    return "pairs" if kind.pairs else "snr" if kind.variable in ("snr", "noise") else kind.name


def _unit(kind: _Kind, pair: Matched) -> str:
    if kind.variable == "frc_resolution":
        return "pixel" if pair.units["x"] == "1" else pair.units["x"]
    return "grey value" if kind.variable == "noise" else "1"


def _sample(side: Side, pair: Matched, window: Side) -> tuple[xr.DataArray, np.ndarray]:
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
    da = side.isel(index).isel(part).drop_vars(["valid", "mask"], errors="ignore")
    # Pairs lie one after the other, and one slice may be in two of them: positions here only count.
    da = da.drop_vars([str(n) for n, c in da.coords.items() if "z" in c.dims]).load()
    return da.assign_coords(z=("z", np.arange(da.sizes["z"], dtype=float))), side.places["z"][index]


def _middle(side: Side, window: Side, dim: str) -> slice:
    inside = (side.places[dim] >= window.edges[dim][0]) & (side.places[dim] <= window.edges[dim][-1])
    known = np.flatnonzero(inside) if inside.any() else np.arange(side.places[dim].size)
    first, last = int(known[0]), int(known[-1]) + 1
    spare = max(0, last - first - BOX) // 2
    return slice(first + spare, last - (max(0, last - first - BOX) - spare))


def _table(
    kind: _Kind, da: xr.DataArray, places: np.ndarray, notes: list[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if kind.pairs and da.sizes["z"] < 2:
        return {}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            part = _paired(da) if kind.pairs else da.isel(z=slice(None, None, 2 * kind.every))
            table = kind.measure(part).compute()
    except (ValueError, TypeError, ArithmeticError) as error:
        notes.append(f"{kind.name}: {error}")
        return {}
    dims = ("channel", "z") if kind.pairs else ("z",)
    numbers = {str(n): v.values for n, v in table.data_vars.items() if v.dims == dims and v.dtype.kind == "f"}
    if kind.pairs:
        middle = (places[0::2] + places[1::2]) / 2
        return {name: (middle, values[:, 0]) for name, values in numbers.items()}
    # The first of each pair tells of its place.
    return {name: (places[:: 2 * kind.every], values) for name, values in numbers.items()}


def _paired(da: xr.DataArray) -> xr.DataArray:
    """Return each pair as a channel of two slices, so that nothing is measured between pairs."""
    data = da.values.reshape(-1, 2, *da.shape[1:])
    coords = {name: da.coords[name] for name in ("y", "x") if name in da.coords}
    return xr.DataArray(
        data,
        dims=("channel", "z", "y", "x"),
        coords={"channel": np.arange(len(data)), "z": [0.0, 1.0], **coords},
        attrs=da.attrs,
    )
