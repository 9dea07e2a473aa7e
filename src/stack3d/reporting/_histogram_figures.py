"""The figures of histograms that are matched: before, right after, and what they are matched to, of every channel."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stack3d._records import decode_value, provenance
from stack3d._words import counted
from stack3d.operations._grey import neighbours
from stack3d.reporting._images import map_uri, scale_colours
from stack3d.reporting._model import Block, Figure
from stack3d.reporting._passes import spread
from stack3d.reporting._svg import Curve, heat_map, line_chart, scale
from stack3d.reporting._tried import channels_in
from stack3d.reporting._words import along_z, number

_BINS = 128
_COLUMNS = 512  # slices of a map
_PROFILES = 6  # slices whose histograms are drawn as curves


def blocks(estimate: xr.Dataset) -> list[Block]:
    """Return maps over z and profiles of the histograms before matching, after it, and of their references."""
    if "counts" not in estimate:
        return []
    return [block for of, one in channels_in(estimate) if one["counts"].ndim == 2 for block in _of_one(one, of)]


def _of_one(one: xr.Dataset, of: str) -> list[Block]:
    z, label = along_z(one)
    counts, curve = one["counts"].values, _curves(one)
    start = one["low"].values.astype(float)[:, None]
    edges = start + one["step"].values.astype(float)[:, None] * np.arange(counts.shape[1] + 1)
    known = np.concatenate([e[np.isfinite(e)] for e in (edges.ravel(), curve.ravel())])
    grid = np.linspace(known.min(), known.max(), _BINS + 1) if known.size else np.linspace(0.0, 1.0, _BINS + 1)
    shares = {
        "before matching": np.stack([_rebinned(*row, grid) for row in zip(counts, edges, strict=True)]),
        "after matching": np.stack([_rebinned(*row, grid) for row in zip(counts, curve, strict=True)]),
    }
    reference = _references(one, shares["before matching"], grid)
    if reference is not None and reference.ndim == 2:
        shares["of the references"] = reference
    found: list[Block] = [_map(name, values, z, label, grid, of) for name, values in shares.items()]
    return [
        *found,
        *(_profiles(name, values, z, label, grid, of) for name, values in shares.items()),
        _mean(shares, reference, one["matched"].values.astype(bool), grid, of),
    ]


def _curves(one: xr.Dataset) -> np.ndarray:
    return np.asarray(one["curve"].transpose("z", "edge").values, np.float64)


def _references(one: xr.Dataset, before: np.ndarray, grid: np.ndarray) -> np.ndarray | None:
    """Return the reference, or one for each slice (z, bin) where they are matched to their neighbours."""
    if "reference_cdf" in one:
        cdf = np.interp(grid, one["reference_value"].values, one["reference_cdf"].values)
        return np.asarray(np.diff(cdf))
    window = _window(one)
    if window is None:
        return None
    used = one["matched"].values.astype(bool)
    found = np.full_like(before, np.nan)
    for k in np.flatnonzero(used):
        near = neighbours(window, int(k), used.size)
        found[k] = before[near][used[near]].mean(axis=0)
    return found


def _window(one: xr.Dataset) -> int | None:
    made = [record for record in provenance(one) if record["operation"] == "estimate_histogram"]
    window = decode_value(made[-1]["parameters"].get("window")) if made else None
    return None if window is None else int(window)


def _map(name: str, shares: np.ndarray, z: np.ndarray, label: str, grid: np.ndarray, of: str) -> Figure:
    chosen = spread(z.size, _COLUMNS)
    known = shares[np.isfinite(shares)]
    top = (float(np.quantile(known, 0.998)) if known.size else 0.0) or 1.0
    x = (float(z[0]), float(z[-1]) if z.size > 1 else float(z[0]) + 1)
    chart = heat_map(
        map_uri(shares[chosen].T[::-1], (0.0, top)), x=x, y=(float(grid[0]), float(grid[-1])), x_label=label,
        y_label="grey value", down=False, alt=f"Histogram of each of {counted(chosen.size, 'slice')} {name}{of}, as a map",
    )  # fmt: skip
    body = chart + scale(0, 100 * top, "% of the pixels per bin", scale_colours("viridis"))
    return Figure(body, f"Histograms {name}, slice by slice{of}.")


def _profiles(name: str, shares: np.ndarray, z: np.ndarray, label: str, grid: np.ndarray, of: str) -> Figure:
    centres = (grid[1:] + grid[:-1]) / 2
    unit = label.partition(" / ")[2]
    curves = [
        Curve(f"z = {number(z[k])} {unit}" if unit else f"slice {k}", centres, 100 * shares[k], f"c{n % 8}")
        for n, k in enumerate(spread(z.size, _PROFILES))
    ]
    chart = line_chart(curves, x_label="grey value", y_label=f"share {name} / %")
    return Figure(chart, f"Histograms {name}, of {counted(len(curves), 'slice')}{of}.")


def _mean(
    shares: dict[str, np.ndarray], reference: np.ndarray | None, matched: np.ndarray, grid: np.ndarray, of: str
) -> Figure:
    centres = (grid[1:] + grid[:-1]) / 2
    curves = [
        Curve(f"mean {name}", centres, 100 * _mean_of(shares[name][matched]), style)
        for name, style in (("before matching", "before"), ("after matching", "after"))
    ]
    if reference is not None:
        said = "reference" if reference.ndim == 1 else "mean of the references"
        curves.append(
            Curve(said, centres, 100 * (reference if reference.ndim == 1 else _mean_of(reference)), "c2", dashed=True)
        )
    return Figure(
        line_chart(curves, x_label="grey value", y_label="share / %"),
        f"Mean histogram and reference of the slices that are matched{of}.",
    )


def _mean_of(shares: np.ndarray) -> np.ndarray:
    known = shares[np.isfinite(shares).all(axis=1)]
    return np.asarray(known.mean(axis=0)) if len(known) else np.full(shares.shape[1], np.nan)


def _rebinned(counts: np.ndarray, edges: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the share of the pixels in each cell of a grid; the edges may be moved ones."""
    total = counts.sum()
    if total == 0 or not np.isfinite(edges).all():
        return np.full(grid.size - 1, np.nan)
    return np.diff(np.interp(grid, edges, np.concatenate([[0.0], np.cumsum(counts)]) / total))
