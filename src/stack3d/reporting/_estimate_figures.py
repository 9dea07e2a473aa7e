"""The figures of an estimate, by its kind; one that is not known is drawn by its dims."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d.reporting import _drift_figures, _histogram_figures, _slice_figures, _surfaces
from stack3d.reporting._model import Block, Figure, Table
from stack3d.reporting._svg import Curve, line_chart
from stack3d.reporting._tried import channel_names, tried
from stack3d.reporting._words import COUNTED, along_z, number, plain, unit_shown

# By kind: what is drawn together over z, and how it is called.
_OVER_Z: dict[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    "transforms": (
        ("Drift: how far each slice lay from its place", ("shift_y", "shift_x")),
        ("Rotation of each slice", ("rotation",)),
        ("Scale of each slice", ("scale_y", "scale_x")),
        ("Shear of each slice", ("shear",)),
        ("Share of the pairs of each slice that are trusted", ("quality",)),
        ("Error of the step from the slice before", ("step_error",)),
    ),
    "levels": (
        ("Gain of each slice", ("gain",)),
        ("Offset of each slice", ("offset",)),
        ("Centre of the grey values and its target", ("centre", "target_centre")),
        ("Spread of the grey values and its target", ("spread", "target_spread")),
    ),
    "stripes": (
        ("Direction of the stripes", ("angle",)),
        ("Strength of the stripes", ("rms",)),
        ("Stripes over the standard deviation of the slice", ("share",)),
    ),
    "noise": (("Noise of each slice", ("sigma",)),),
    "range": (("Range of the grey values", ("low", "high")),),
    "thickness": (
        ("Distance from the slice before", ("increment",)),
        ("Decorrelation by structure and noise", ("structure", "noise", "excess")),
        ("Likeness to the neighbours", ("quality",)),
    ),
    "background": (("Level of the background", ("level",)),),
}
_STILL = {"rotation": 0.0, "scale_y": 1.0, "scale_x": 1.0, "shear": 0.0}


def blocks(estimate: xr.Dataset, parameters: Mapping[str, Any] | None = None) -> list[Block]:
    """Return the figures and tables of an estimate; `parameters` are those of the step that applies it.

    What cannot be drawn says so in its place.
    """
    kind = str(estimate.attrs.get("kind", ""))
    found: list[Block] = []
    own = _OWN.get(kind)
    if kind == "transforms":
        found += tried("The drift", lambda: _drift_figures.blocks(estimate, parameters or {}))
    elif own is not None:
        found += tried(f"The estimate of {plain(kind)}", lambda: own(estimate))
    if kind in _OVER_Z:
        for caption, names in _OVER_Z[kind]:
            found += tried(f"“{caption}”", functools.partial(over_z, estimate, names, caption))
    elif own is None:
        for name in (str(n) for n, v in estimate.data_vars.items() if "z" in v.dims and v.dtype.kind in "iuf"):
            caption = plain(name).capitalize()
            found += tried(f"“{caption}”", functools.partial(over_z, estimate, (name,), caption))
    return found + tried("The table of values", lambda: _numbers(estimate))


def _bad(estimate: xr.Dataset) -> np.ndarray:
    if "valid" not in estimate or estimate["valid"].dims != ("z",):
        return np.array([])
    return np.asarray(along_z(estimate)[0][~estimate["valid"].values.astype(bool)])


def over_z(estimate: xr.Dataset, names: Sequence[str], caption: str) -> list[Block]:
    """Return curves of some variables over z, for each channel; nothing where they do not depend on z."""
    there = [name for name in names if name in estimate and "z" in estimate[name].dims]
    there = [name for name in there if set(estimate[name].dims) <= {"channel", "z"}]
    moving = [name for name in there if not (name in _STILL and _is(estimate[name], _STILL[name]))]
    if not moving:
        return []
    z, label = along_z(estimate)
    curves: list[Curve] = []
    for name, channel, values in _series(estimate, moving):
        error = estimate.get(f"{name}_error")
        band = None
        if error is not None and error.dims == ("z",):
            band = (values - error.values, values + error.values)
        shown = str(estimate[name].attrs.get("long_name", plain(name)))
        curves.append(Curve(f"{shown}, {channel}" if channel else shown, z, values, f"c{len(curves) % 8}", band=band))
    unit = unit_shown(str(estimate[moving[0]].attrs.get("units", "1")), COUNTED.get(moving[0], "1"))
    quantity = caption if len(moving) > 1 else str(estimate[moving[0]].attrs.get("long_name", plain(moving[0])))
    quantity = {"shift_y": "shift"}.get(moving[0], quantity)
    y_label = quantity if unit == "1" else f"{quantity} / {unit}"
    return [Figure(line_chart(curves, x_label=label, y_label=y_label, marks=_bad(estimate)), caption + ".")]


def _is(values: xr.DataArray, still: float) -> bool:
    known = values.values[np.isfinite(values.values)]
    return bool(known.size == 0 or np.all(np.abs(known - still) < 1e-9))


def _series(estimate: xr.Dataset, names: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    for name in names:
        values = estimate[name]
        if "channel" in values.dims:
            for k, channel in enumerate(channel_names(estimate)):
                yield name, channel, values.isel(channel=k).values.astype(float)
        else:
            yield name, "", values.values.astype(float)


def _numbers(estimate: xr.Dataset) -> list[Block]:
    """Return tables of the values that stand alone: of the whole stack, and of each channel."""
    alone, rows = [], []
    for name, value in estimate.data_vars.items():
        if value.dtype.kind not in "iufb" or str(name).startswith(("origin_", "span_")):
            continue
        said = str(value.attrs.get("long_name", plain(str(name))))
        unit = unit_shown(str(value.attrs.get("units", "1")), "")
        if value.ndim == 0:
            alone.append((said, number(value.values), unit))
        elif value.dims == ("channel",):
            rows.append((said, *(number(one) for one in value.values), unit))
    found: list[Block] = [Table(("value", "", "unit"), alone, "Values of the whole stack.")] if alone else []
    if rows:
        found.append(Table(("value", *channel_names(estimate), "unit"), rows, "Values of each channel."))
    return found


def _thickness(estimate: xr.Dataset) -> list[Block]:
    found: list[Block] = []
    if "decorrelation" in estimate:
        distance = estimate["distance"]
        unit = unit_shown(str(distance.attrs.get("units", "1")), "pixel")
        curve = Curve("decorrelation", distance.values, estimate["decorrelation"].values, "c0")
        chart = line_chart([curve], x_label=f"distance / {unit}", y_label="−log(correlation)")
        found.append(Figure(chart, "How fast the image changes with distance: what thickness is read from."))
    z, label = along_z(estimate)
    unit = label.rpartition(" / ")[2]
    moved = Curve("measured less given", z, estimate["position"].values - z, "c0")
    return [
        *found,
        Figure(line_chart([moved], x_label=label, y_label=f"position / {unit}"), "Measured less given positions."),
    ]


def _contrast(estimate: xr.Dataset) -> list[Block]:
    if "curve" not in estimate or estimate["curve"].ndim != 1:
        return []
    curve = Curve("curve", estimate["deviation"].values, estimate["curve"].values, "c0")
    chart = line_chart([curve], x_label="distance from the mean / σ", y_label="share of the range")
    return [Figure(chart, "New value of each grey value.")]


def _fusion(estimate: xr.Dataset) -> list[Block]:
    if "curve" not in estimate or estimate["curve"].dims != ("fraction",):
        return []
    fraction = estimate["fraction"]
    curve = Curve("signal-to-noise ratio", fraction.values, estimate["curve"].values, "c0")
    label = str(fraction.attrs.get("long_name", "fraction of the second channel"))
    return [Figure(line_chart([curve], x_label=label, y_label="signal-to-noise ratio"), "What the sum would have.")]


_OWN: dict[str, Callable[[xr.Dataset], list[Block]]] = {
    "histogram": _histogram_figures.blocks,
    "bad_slices": _slice_figures.bad_slices,
    "thickness": _thickness,
    "contrast": _contrast,
    "hot_pixels": _slice_figures.hot_pixels,
    "fusion": _fusion,
    "background": _surfaces.blocks,
    "shading": _surfaces.blocks,
    "levels": lambda _: [],
}
