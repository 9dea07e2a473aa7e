"""Fitted surfaces: their coefficients, and how they look in the frame."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from stack3d.reporting._images import map_uri, scale_colours
from stack3d.reporting._model import Block, Figure, Table
from stack3d.reporting._svg import Curve, heat_map, line_chart, scale
from stack3d.reporting._words import number, unit_shown

_LONGEST = 96
_DETAILED = 8  # terms that are drawn over z


def blocks(estimate: xr.Dataset) -> list[Block]:
    """Return coefficients and surface of an estimate of background or shading, of each of its channels."""
    if "channel" not in estimate.dims:
        return _of_one(estimate, "")
    names = [str(name) for name in estimate["channel"].values] if "channel" in estimate.coords else []
    found: list[Block] = []
    for k in range(estimate.sizes["channel"]):
        of = f", {names[k]}" if names and len(names) > 1 else ""
        found += _of_one(estimate.isel(channel=k), of)
    return found


def _of_one(one: xr.Dataset, of: str) -> list[Block]:
    found: list[Block] = []
    surface = _polynomial(one) if "coefficient" in one else _grid(one) if "grid" in one else None
    if "coefficient" in one:
        found += _coefficients(one, of)
    if surface is not None and np.isfinite(surface).any():
        found.append(_map(one, surface, of))
    return found


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


def _polynomial(one: xr.Dataset) -> np.ndarray:
    """Return the surface in the middle of the stack."""
    height, width = _shape(one)
    values = one["coefficient"].transpose(..., "term").values
    coefficients = values if values.ndim == 1 else values[values.shape[0] // 2]
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    surface = np.zeros((height, width))
    for value, py, px, pz in zip(
        coefficients, one["power_y"].values, one["power_x"].values, one["power_z"].values, strict=True
    ):
        surface += value * y ** int(py) * x ** int(px) * 0.5 ** int(pz)
    return surface


def _grid(one: xr.Dataset) -> np.ndarray:
    values = one["grid"].transpose(..., "grid_y", "grid_x").values
    return np.asarray(values if values.ndim == 2 else values[values.shape[0] // 2], np.float64)


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
        alt=f"Fitted surface in the middle of the stack{of}, from {number(low)} to {number(high)}",
    )
    caption = f"Fitted surface in the middle of the stack{of}."
    return Figure(chart + scale(low, high, "grey value", scale_colours("viridis")), caption)
