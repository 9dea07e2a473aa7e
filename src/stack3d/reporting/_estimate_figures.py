"""The figures of an estimate, by its kind; one that is not known is drawn by its dims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import xarray as xr

from stack3d._words import counted
from stack3d.reporting import _oblique, _surfaces
from stack3d.reporting._images import map_uri, scale_colours
from stack3d.reporting._model import Block, Figure, Table, Text
from stack3d.reporting._svg import Curve, heat_map, line_chart, scale
from stack3d.reporting._words import COUNTED, number, plain, unit_shown

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


def blocks(estimate: xr.Dataset) -> list[Block]:
    """Return the figures and tables of an estimate."""
    kind = str(estimate.attrs.get("kind", ""))
    found: list[Block] = []
    own = _OWN.get(kind)
    if own is not None:
        found += own(estimate)
    if kind in _OVER_Z:
        for caption, names in _OVER_Z[kind]:
            found += over_z(estimate, names, caption)
    elif own is None:
        for name in (str(n) for n, v in estimate.data_vars.items() if "z" in v.dims and v.dtype.kind in "iuf"):
            found += over_z(estimate, (name,), plain(name).capitalize())
    return found + _numbers(estimate)


def _z(estimate: xr.Dataset) -> tuple[np.ndarray, str]:
    if "z" in estimate.coords:
        unit = str(estimate["z"].attrs.get("units", "1"))
        return np.atleast_1d(estimate["z"].values).astype(float), f"z / {unit_shown(unit, 'slice')}"
    return np.arange(estimate.sizes.get("z", 1), dtype=float), "slice"


def _bad(estimate: xr.Dataset) -> np.ndarray:
    if "valid" not in estimate or estimate["valid"].dims != ("z",):
        return np.array([])
    return np.asarray(_z(estimate)[0][~estimate["valid"].values.astype(bool)])


def over_z(estimate: xr.Dataset, names: Sequence[str], caption: str) -> list[Block]:
    """Return curves of some variables over z, for each channel; nothing where they do not depend on z."""
    there = [name for name in names if name in estimate and "z" in estimate[name].dims]
    there = [name for name in there if set(estimate[name].dims) <= {"channel", "z"}]
    moving = [name for name in there if not (name in _STILL and _is(estimate[name], _STILL[name]))]
    if not moving:
        return []
    z, label = _z(estimate)
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
            for k, channel in enumerate(estimate["channel"].values if "channel" in estimate.coords else []):
                yield name, str(channel), values.isel(channel=k).values.astype(float)
        else:
            yield name, "", values.values.astype(float)


def _numbers(estimate: xr.Dataset) -> list[Block]:
    """Return a table of the values that stand alone."""
    rows = []
    for name, value in estimate.data_vars.items():
        if value.ndim == 0 and value.dtype.kind in "iufb" and not str(name).startswith(("origin_", "span_")):
            unit = str(value.attrs.get("units", "1"))
            rows.append(
                (str(value.attrs.get("long_name", plain(str(name)))), number(value.values), unit_shown(unit, ""))
            )
    return [Table(("value", "", "unit"), rows, "Values of the whole stack.")] if rows else []


def _transforms(estimate: xr.Dataset) -> list[Block]:
    if estimate.sizes.get("z", 1) < 2 or "shift_y" not in estimate or estimate["shift_y"].dims != ("z",):
        return []
    z, label = _z(estimate)
    unit = unit_shown(str(estimate["shift_y"].attrs.get("units", "1")), "pixel")
    steps = [
        Curve(f"step along {d}", z[1:], np.diff(estimate[f"shift_{d}"].values), f"c{k}") for k, d in enumerate("yx")
    ]
    said = _oblique.hint(estimate)
    found: list[Block] = [Text(said, note=True)] if said else []
    found.append(
        Figure(line_chart(steps, x_label=label, y_label=f"step / {unit}"), "Step of the drift from the slice before.")
    )
    if "displacement_y" in estimate:
        size = np.hypot(*(estimate[f"displacement_{d}"].values for d in "yx"))
        flat = size.reshape(size.shape[0], -1)
        curves = [
            Curve("largest of the blocks", z, flat.max(axis=1), "c0"),
            Curve("mean of the blocks", z, flat.mean(axis=1), "c1"),
        ]
        found.append(Figure(line_chart(curves, x_label=label, y_label=f"displacement / {unit}"), "Local displacement."))
    if "pair_residual" in estimate and estimate.sizes.get("pair", 0):
        first, second = (estimate[f"pair_{name}"].values for name in ("first", "second"))
        curve = Curve("pair", z[np.minimum(first, second)], estimate["pair_residual"].values, "c2", points=True)
        found.append(
            Figure(
                line_chart([curve], x_label=label, y_label="residual / pixel"),
                "How far each measured pair of slices is from what all pairs together say.",
            )
        )
    return found


def _bad_slices(estimate: xr.Dataset) -> list[Block]:
    z, label = _z(estimate)
    valid = estimate["valid"].values.astype(bool) if "valid" in estimate else np.ones(z.size, bool)
    reasons = estimate["reason"].values if "reason" in estimate else np.full(z.size, "")
    rows = [(str(k), number(z[k], 6), str(reasons[k])) for k in np.flatnonzero(~valid)[:200]]
    bad = int((~valid).sum())
    said = f"{bad} of {counted(valid.size, 'slice')} {'is' if bad == 1 else 'are'} bad."
    found: list[Block] = [Table(("slice", label, "what is wrong"), rows, said) if rows else Text(said)]
    if "score" in estimate and estimate["score"].dims == ("z", "measure"):
        for k, measure in enumerate(estimate["measure"].values):
            curve = Curve(str(measure), z, estimate["score"].values[:, k], f"c{k % 8}")
            caption = f"{plain(str(measure)).capitalize()}: robust standard deviations from the usual."
            found.append(Figure(line_chart([curve], x_label=label, y_label="score", marks=z[~valid]), caption))
    return found


def _thickness(estimate: xr.Dataset) -> list[Block]:
    found: list[Block] = []
    if "decorrelation" in estimate:
        distance = estimate["distance"]
        unit = unit_shown(str(distance.attrs.get("units", "1")), "pixel")
        curve = Curve("decorrelation", distance.values, estimate["decorrelation"].values, "c0")
        chart = line_chart([curve], x_label=f"distance / {unit}", y_label="−log(correlation)")
        found.append(Figure(chart, "How fast the image changes with distance: what thickness is read from."))
    z, label = _z(estimate)
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


def _hot_pixels(estimate: xr.Dataset) -> list[Block]:
    found: list[Block] = []
    if "level" in estimate.coords and "curve_hot" in estimate and estimate["curve_hot"].ndim == 1:
        with np.errstate(divide="ignore"):
            curves = [
                Curve(name, estimate["level"].values, np.log10(estimate[f"curve_{name}"].values.astype(float)), f"c{k}")
                for k, name in enumerate(("hot", "dark"))
            ]
        chart = line_chart(curves, x_label="threshold / grey value", y_label="log10 of pixels found")
        found.append(Figure(chart, "How many pixels a threshold would find."))
    if "hot_pixels" in estimate and estimate["hot_pixels"].dims == ("y", "x"):
        values = estimate["hot_pixels"].values
        rows, columns = np.nonzero(values)
        marks = [
            (f"{y}, {x}", "hot" if values[y, x] > 0 else "dark") for y, x in list(zip(rows, columns, strict=True))[:50]
        ]
        found.append(
            Table(("row, column", "kind"), marks, f"{counted(rows.size, 'pixel')} hot or dark; up to 50 are listed.")
        )
    return found


def _fusion(estimate: xr.Dataset) -> list[Block]:
    names = [str(n) for n, v in estimate.data_vars.items() if v.dims == ("channel",) and v.dtype.kind in "iuf"]
    rows = [
        (str(channel), *(number(estimate[n].values[k]) for n in names))
        for k, channel in enumerate(estimate["channel"].values)
    ]
    return [Table(("channel", *(plain(n) for n in names)), rows, "Channels and their weights.")]


def _histogram(estimate: xr.Dataset) -> list[Block]:
    """Return the counts over z, and their mean beside the reference."""
    found: list[Block] = []
    if "counts" not in estimate:
        return found
    several = "channel" in estimate["counts"].dims
    for channel in range(estimate.sizes["channel"]) if several else [None]:
        one = estimate if channel is None else estimate.isel(channel=channel)
        of = "" if channel is None else f" {one['channel'].item()}:"
        if one["counts"].dims != ("z", "bin"):
            continue
        z, label = _z(one)
        grid = np.linspace(*_histogram_range(one), 129)
        starts, steps = (one[name].values.astype(float) for name in ("low", "step"))
        shares = np.stack(
            [_rebinned(*of, grid) for of in zip(one["counts"].values.astype(float), starts, steps, strict=True)]
        )
        top = float(np.nanquantile(shares, 0.998)) or 1.0
        x = (float(z[0]), float(z[-1]) if z.size > 1 else float(z[0]) + 1)
        uri = map_uri(shares.T[::-1], (0.0, top))
        chart = heat_map(
            uri, x=x, y=(grid[0], grid[-1]), x_label=label, y_label="grey value", down=False,
            alt=f"Histogram of each of {counted(z.size, 'slice')} before matching, as a map",
        )  # fmt: skip
        body = chart + scale(0, 100 * top, "% of the pixels per bin", scale_colours("viridis"))
        found.append(Figure(body, f"{of} Histograms before matching, slice by slice.".strip()))
        centres = (grid[1:] + grid[:-1]) / 2
        curves = [Curve("mean before matching", centres, 100 * np.nanmean(shares, axis=0), "before")]
        if "reference_cdf" in one and one["reference_cdf"].ndim == 1:
            cdf = np.interp(grid, one["reference_value"].values, one["reference_cdf"].values)
            curves.append(Curve("reference", centres, 100 * np.diff(cdf), "after"))
        found.append(
            Figure(
                line_chart(curves, x_label="grey value", y_label="share / %"),
                f"{of} Mean histogram and reference.".strip(),
            )
        )
    return found


def _histogram_range(one: xr.Dataset) -> tuple[float, float]:
    low, high = one["low"].values, (one["low"] + one["step"] * one.sizes["bin"]).values
    known = np.isfinite(low) & np.isfinite(high)
    return (float(low[known].min()), float(high[known].max())) if known.any() else (0.0, 1.0)


def _rebinned(counts: np.ndarray, start: float, step: float, grid: np.ndarray) -> np.ndarray:
    edges = start + step * np.arange(counts.size + 1)
    if counts.sum() == 0 or not np.isfinite(edges).all():
        return np.full(grid.size - 1, np.nan)
    total = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    return np.diff(np.interp(grid, edges, total))


_OWN: dict[str, Callable[[xr.Dataset], list[Block]]] = {
    "transforms": _transforms,
    "histogram": _histogram,
    "bad_slices": _bad_slices,
    "thickness": _thickness,
    "contrast": _contrast,
    "hot_pixels": _hot_pixels,
    "fusion": _fusion,
    "background": _surfaces.blocks,
    "shading": _surfaces.blocks,
    "levels": lambda _: [],
}
