"""Fitted surfaces: their coefficients, and how they look in the frame."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

from stack3d.reporting._images import map_uri, scale_colours
from stack3d.reporting._model import Block, Figure, Table
from stack3d.reporting._passes import spread
from stack3d.reporting._svg import Curve, heat_map, line_chart, montage, scale
from stack3d.reporting._tried import channels_in, tried
from stack3d.reporting._words import along_z, number, unit_shown

_LONGEST = 96
_SHOWN = 6  # places along z at which a surface is shown
_DETAILED = 8  # terms that are drawn over z


def blocks(estimate: xr.Dataset) -> list[Block]:
    """Return coefficients and surfaces of an estimate of background or shading, of each of its channels."""
    return [block for of, one in channels_in(estimate) for block in _of_one(one, of)]


def _of_one(one: xr.Dataset, of: str) -> list[Block]:
    found: list[Block] = tried(f"The coefficients{of}", lambda: _coefficients(one, of)) if "coefficient" in one else []
    if "coefficient" in one or "grid" in one:
        found += tried(f"The fitted surface{of}", lambda: _drawn(one, of))
    return found


def _drawn(one: xr.Dataset, of: str) -> list[Block]:
    """Return the surface, or where it changes from slice to slice those of a few."""
    shown = zip(*_along_z(one), strict=True)
    surfaces = {place: surface for place, surface in shown if np.isfinite(surface).any()}
    if not surfaces:
        return []
    return [_map(one, next(iter(surfaces.values())), of)] if len(surfaces) == 1 else [_montage(one, surfaces, of)]


def _along_z(one: xr.Dataset) -> tuple[list[float], list[np.ndarray]]:
    """Return where along z surfaces are shown, and these."""
    name = "coefficient" if "coefficient" in one else "grid"
    by_slice = "z" in one[name].dims
    if by_slice:
        z = along_z(one)[0]
        chosen = spread(z.size, _SHOWN)
        return [float(z[k]) for k in chosen], [_of_slice(one, int(k)) for k in chosen]
    if name == "coefficient" and (one["power_z"].values > 0).any():
        shares = np.linspace(0, 1, _SHOWN)
        places = float(one["origin_z"].values) + shares * float(one["span_z"].values)
        return places.tolist(), [_polynomial(one, share) for share in shares]
    return [0.0], [_of_slice(one, 0)]


def _of_slice(one: xr.Dataset, k: int) -> np.ndarray:
    if "coefficient" in one:
        return _polynomial(one.isel(z=k) if "z" in one["coefficient"].dims else one)
    values = one["grid"].transpose(..., "grid_y", "grid_x").values
    return np.asarray(values if values.ndim == 2 else values[k], np.float64)


def _coefficients(one: xr.Dataset, of: str) -> list[Block]:
    values = one["coefficient"].transpose(..., "term").values
    terms = (
        [str(term) for term in one["term"].values] if "term" in one.coords else list(map(str, range(values.shape[-1])))
    )
    if values.ndim == 1:
        rows = [(term, number(value, 5)) for term, value in zip(terms, values, strict=True)]
        return [
            Table(
                ("term", "coefficient / grey value"),
                rows,
                f"Coefficients of the polynomial; z, y and x run from 0 to 1{of}.",
            )
        ]
    z = one["z"].values if "z" in one.coords else np.arange(values.shape[0])
    unit = unit_shown(str(one["z"].attrs.get("units", "1")), "slice") if "z" in one.coords else "slice"
    # The constant has a scale of its own.
    parts = [[k for k, term in enumerate(terms) if term == "1"], [k for k, term in enumerate(terms) if term != "1"]]
    found: list[Block] = []
    for chosen in (part[:_DETAILED] for part in parts if part):
        curves = [Curve(terms[k], z, values[:, k], f"c{n % 8}") for n, k in enumerate(chosen)]
        found.append(
            Figure(
                line_chart(curves, x_label=f"z / {unit}", y_label="coefficient / grey value"),
                f"Coefficients of the polynomial of each slice{of}.",
            )
        )
    return found


def _shape(one: xr.Dataset) -> tuple[int, int]:
    height, width = json.loads(one.attrs["frame"])["shape"]
    share = _LONGEST / max(height, width)
    return max(2, round(height * share)), max(2, round(width * share))


def _polynomial(one: xr.Dataset, z: float = 0.5) -> np.ndarray:
    """Return the surface at a share of the stack, from 0 to 1; by default in its middle."""
    height, width = _shape(one)
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    surface = np.zeros((height, width))
    for value, py, px, pz in zip(
        one["coefficient"].values, one["power_y"].values, one["power_x"].values, one["power_z"].values, strict=True
    ):
        surface += value * y ** int(py) * x ** int(px) * z ** int(pz)
    return surface


def _montage(one: xr.Dataset, surfaces: dict[float, np.ndarray], of: str) -> Figure:
    """Return surfaces at several places along z, on one scale."""
    frame = json.loads(one.attrs["frame"])
    (height, width), (dy, dx) = frame["shape"], frame["spacing"]
    unit = along_z(one)[1].partition(" / ")[2].replace("slice", "") if "z" in one.coords else _unit(frame)
    low = float(min(np.nanmin(s) for s in surfaces.values()))
    high = float(max(np.nanmax(s) for s in surfaces.values()))
    names = [
        (f"z = {number(z)} {unit}".strip(), f"{number(np.nanmin(s))} to {number(np.nanmax(s))}")
        for z, s in surfaces.items()
    ]
    said = f"Fitted surface at {len(surfaces)} places along z{of}"
    chart = montage(
        [map_uri(surface, (low, high)) for surface in surfaces.values()],
        names,
        ratio=height * dy / (width * dx),
        alt=f"{said}, from {number(low)} to {number(high)}: " + "; ".join(" ".join(name) for name in names),
    )
    caption = f"{said}, its lowest and highest value over each."
    return Figure(chart + scale(low, high, "grey value", scale_colours("viridis")), caption)


def _unit(frame: dict[str, Any]) -> str:
    return "" if str(frame["units"]) in ("1", "") else str(frame["units"])


def _map(one: xr.Dataset, surface: np.ndarray, of: str) -> Figure:
    frame = json.loads(one.attrs["frame"])
    (height, width), (dy, dx), (oy, ox) = frame["shape"], frame["spacing"], frame["origin"]
    unit = unit_shown(str(frame["units"]), "pixel")
    low, high = float(np.nanmin(surface)), float(np.nanmax(surface))
    y, x = (oy - dy / 2, oy + (height - 0.5) * dy), (ox - dx / 2, ox + (width - 0.5) * dx)
    chart = heat_map(
        map_uri(surface, (low, high)),
        x=x,
        y=y,
        x_label=f"x / {unit}",
        y_label=f"y / {unit}",
        ratio=(y[1] - y[0]) / (x[1] - x[0]),
        alt=f"Fitted surface, the same of all slices{of}, from {number(low)} to {number(high)}",
    )
    caption = f"Fitted surface, the same of all slices{of}."
    return Figure(chart + scale(low, high, "grey value", scale_colours("viridis")), caption)
