"""A stack in a few lines: voxel size, extent, channels, what was done. Nothing is computed for it."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d._records import call_string, numbers, provenance
from stack3d._words import size
from stack3d.model import check_stack


def facts(da: xr.DataArray) -> list[tuple[str, str]]:
    """Return name and value of what the heading of a stack says."""
    rows = [
        ("shape", " × ".join(f"{dim} {size}" for dim, size in da.sizes.items()) + f", {da.dtype}, {size(da.nbytes)}")
    ]
    spatial = [dim for dim in grid.SPATIAL if dim in da.dims]
    if all(dim in da.coords for dim in spatial):
        rows.append(("voxel size", _lengths(da, {dim: grid.spacing_of(da, dim) for dim in spatial})))
        rows.append(("extent", _lengths(da, {dim: _extent(da, dim) for dim in spatial})))
        if "z" in spatial and not grid.is_uniform(da["z"].values):
            steps = np.diff(da["z"].values)
            rows.append(("slices", f"uneven, {steps.min():.4g} to {steps.max():.4g} {_unit(da, 'z')} apart"))
    if "channel" in da.coords:
        rows.append(("channels", ", ".join(str(name) for name in np.atleast_1d(da["channel"].values))))
    if "valid" in da.coords and da["valid"].chunks is None and not bool(np.all(da["valid"].values)):
        bad = int(np.sum(~np.asarray(da["valid"].values, bool)))
        rows.append(("bad slices", f"{bad} of {da.sizes.get('z', 1)}"))
    rows.append(("values", _where(da)))
    return rows


def _unit(da: xr.DataArray, dim: str) -> str:
    unit = grid.units_of(da, dim)
    return "px" if unit == "1" else unit


def _lengths(da: xr.DataArray, lengths: dict[str, float]) -> str:
    """Return lengths along the axes, each with its unit where these differ."""
    units = {_unit(da, dim) for dim in lengths}
    if len(units) > 1:
        return " × ".join(f"{dim} {length:.6g} {_unit(da, dim)}" for dim, length in lengths.items())
    unit = units.pop() if units else ""
    shown = "pixel, not calibrated" if unit == "px" else unit
    return " × ".join(f"{dim} {length:.6g}" for dim, length in lengths.items()) + f" {shown}"


def _extent(da: xr.DataArray, dim: str) -> float:
    values = da[dim].values
    return float(values[-1] - values[0]) + grid.spacing_of(da, dim)


def _where(da: xr.DataArray) -> str:
    if da.chunks is None:
        return (
            "in memory"
            if isinstance(da.variable._data, np.ndarray)
            else f"in memory ({type(da.variable._data).__name__})"
        )
    blocks = int(np.prod([len(lengths) for lengths in da.chunks]))
    return f"lazy, {blocks} block{'s' if blocks != 1 else ''} of " + " × ".join(
        str(max(lengths)) for lengths in da.chunks
    )


def _steps(da: xr.DataArray) -> list[tuple[str, str, str]]:
    try:
        records = provenance(da)
    except ValueError as error:
        return [("?", str(error), "")]
    return [
        (number, call_string(record), _short_time(record))
        for number, record in zip(numbers(records), records, strict=True)
    ]


def _short_time(record: dict[str, Any]) -> str:
    return str(record.get("context", {}).get("time", "")).replace("T", " ").removesuffix("Z")


def _why_not(da: xr.DataArray) -> str:
    """Return in one line why an array is no stack, an empty string for a stack."""
    try:
        check_stack(da)
    except (TypeError, ValueError) as error:
        return f"not a stack: {' '.join(str(error).split())}"
    return ""


def text(da: xr.DataArray) -> str:
    """Return the stack as plain text."""
    if why := _why_not(da):
        return f"<stack3d: {why}>"
    rows = [f"{name:<11}{value}" for name, value in facts(da)]
    rows += [f"{f'step {number}' if number else 'conversion':<11}{call}" for number, call, _ in _steps(da)]
    return "\n".join([f"<stack3d {da.name if da.name is not None else 'stack'}>", *rows])


def html(da: xr.DataArray) -> str:
    """Return the stack as HTML, for notebooks; colours follow the page."""
    if why := _why_not(da):
        return f"<div><strong>stack3d</strong> {escape(why)}</div>"
    head = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in facts(da)
    )
    steps = "".join(
        f"<tr><td>{escape(number)}</td><td style='text-align:left'><code>{escape(call)}</code></td><td>{escape(time)}</td></tr>"
        for number, call, time in _steps(da)
    )
    table = (
        "<table><caption style='text-align:left'>Provenance</caption><thead><tr><th>step</th>"
        f"<th style='text-align:left'>operation</th><th>time (UTC)</th></tr></thead><tbody>{steps}</tbody></table>"
        if steps
        else "<p>No steps recorded.</p>"
    )
    name = escape(str(da.name)) if da.name is not None else "stack"
    return f"<div><strong>stack3d: {name}</strong><table><tbody>{head}</tbody></table>{table}</div>"
