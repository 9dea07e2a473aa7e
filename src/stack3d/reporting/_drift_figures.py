"""The figures of transforms: drift and its steps, blocks, pairs, and what all slices show once they are aligned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d._words import counted
from stack3d.operations import _canvas
from stack3d.reporting import _oblique
from stack3d.reporting._images import map_uri, scale_colours
from stack3d.reporting._model import Block, Figure, Text
from stack3d.reporting._passes import spread
from stack3d.reporting._svg import Curve, heat_map, line_chart, scale
from stack3d.reporting._tried import tried
from stack3d.reporting._words import along_z, number, unit_shown
from stack3d.transforms._field import Field, field_of
from stack3d.transforms._matrices import matrices_of

_LONGEST = 128  # cells of the map of what slices show
_BLOCKS = 24  # blocks whose displacement is drawn over z
_FIELDS = 256  # slices of a map of blocks over z


def blocks(estimate: xr.Dataset, parameters: Mapping[str, Any]) -> list[Block]:
    """Return what is shown of transforms beside their drift; `parameters` are those of the step that applies them."""
    if estimate.sizes.get("z", 1) < 2 or "shift_y" not in estimate or estimate["shift_y"].dims != ("z",):
        return []
    z, label = along_z(estimate)
    unit = unit_shown(str(estimate["shift_y"].attrs.get("units", "1")), "pixel")
    said = _oblique.hint(estimate)
    found: list[Block] = [Text(said, note=True)] if said else []
    found += tried("The step of the drift", lambda: _steps(estimate, z, label, unit))
    if "displacement_y" in estimate:
        found += tried("The displacement of the blocks", lambda: _displacements(estimate, z, label, unit))
    if "pair_residual" in estimate and estimate.sizes.get("pair", 0):
        found += tried("The residual of the pairs", lambda: _pairs(estimate, z, label))
    if "frame" in estimate.attrs:
        found += tried("What the aligned slices show", lambda: _covered(estimate, parameters))
    return found


def _steps(estimate: xr.Dataset, z: np.ndarray, label: str, unit: str) -> list[Block]:
    steps = [
        Curve(f"step along {d}", z[1:], np.diff(estimate[f"shift_{d}"].values), f"c{k}") for k, d in enumerate("yx")
    ]
    chart = line_chart(steps, x_label=label, y_label=f"step / {unit}")
    return [Figure(chart, "Step of the drift from the slice before.")]


def _pairs(estimate: xr.Dataset, z: np.ndarray, label: str) -> list[Block]:
    first, second = (estimate[f"pair_{name}"].values for name in ("first", "second"))
    curve = Curve("pair", z[np.minimum(first, second)], estimate["pair_residual"].values, "c2", points=True)
    chart = line_chart([curve], x_label=label, y_label="residual / pixel")
    return [Figure(chart, "How far each measured pair of slices is from what all pairs together say.")]


def _displacements(estimate: xr.Dataset, z: np.ndarray, label: str, unit: str) -> list[Block]:
    """Return the displacement of each block over z: as curves where they are few, else as a map, one row a block."""
    parts = {d: estimate[f"displacement_{d}"].transpose("z", "block_y", "block_x").values for d in "yx"}
    flat = np.hypot(parts["y"], parts["x"]).reshape(z.size, -1)
    curves = [
        Curve("largest of the blocks", z, flat.max(axis=1), "c0"),
        Curve("mean of the blocks", z, flat.mean(axis=1), "c1"),
    ]
    chart = line_chart(curves, x_label=label, y_label=f"displacement / {unit}")
    found: list[Block] = [Figure(chart, "Local displacement.")]
    rows, columns = parts["y"].shape[1:]
    names = [f"{i}, {j}" for i in range(rows) for j in range(columns)]
    for d, values in parts.items():
        flat = values.reshape(z.size, -1)
        if len(names) <= _BLOCKS:
            curves = [
                Curve(f"block {name}", z, flat[:, k], f"c{k % 8}", dashed=k % 16 > 7) for k, name in enumerate(names)
            ]
            chart = line_chart(curves, x_label=label, y_label=f"displacement along {d} / {unit}")
        else:
            reach = float(np.abs(flat[np.isfinite(flat)]).max(initial=0.0)) or 1.0
            chart = heat_map(
                map_uri(flat[spread(z.size, _FIELDS)].T, (-reach, reach), "diverging"), x=(float(z[0]), float(z[-1])),
                y=(0.0, float(len(names))), x_label=label, y_label="block, row by row",
                alt=f"Displacement along {d} of each of {len(names)} blocks over z, to {number(reach)} {unit}",
            ) + scale(-reach, reach, unit, scale_colours("diverging"))  # fmt: skip
        found.append(
            Figure(
                chart,
                f"Displacement along {d} of each of {rows} × {columns} blocks (row, column), beside that of its slice.",
            )
        )
    return found


def _covered(estimate: xr.Dataset, parameters: Mapping[str, Any]) -> list[Block]:
    """Return the share of the slices that show each place of the aligned frame, and the rectangle that is kept."""
    frame = estimates.frame_of(estimate)
    matrices, field = matrices_of(estimate), field_of(estimate, frame)
    valid = estimate["valid"].values.astype(bool) if "valid" in estimate else np.ones(len(matrices), bool)
    good = valid if valid.any() else np.ones(len(matrices), bool)
    matrices, field = matrices[good], _canvas.part(field, good)
    top, left, height, width = 0, 0, *frame.shape
    if parameters.get("canvas") == "union":
        top, left, height, width = _canvas.union(matrices, frame.shape, field)
        matrices = _canvas.moved_to(matrices, top, left)
        field = None if field is None else field._replace(y=field.y - top, x=field.x - left)
    shares = _canvas.share_covered(matrices, frame.shape, _places(height), _places(width), field)
    kept, box = _rectangle(matrices, frame.shape, (height, width), field, parameters.get("crop", "none"))
    unit = unit_shown(str(frame.units), "pixel")
    (oy, ox), (dy, dx) = frame.origin, frame.spacing
    y = (oy + (top - 0.5) * dy, oy + (top + height - 0.5) * dy)
    x = (ox + (left - 0.5) * dx, ox + (left + width - 0.5) * dx)
    low = float(shares.min()) if shares.min() < 1 else 0.0
    chart = heat_map(
        map_uri(shares, (low, 1.0)), x=x, y=y, x_label=f"x / {unit}", y_label=f"y / {unit}",
        ratio=(y[1] - y[0]) / (x[1] - x[0]), boxes=[] if box is None else [box],
        alt=f"Share of {counted(len(matrices), 'good slice')} that shows each place, least {number(100 * shares.min())} %; {kept}",
    )  # fmt: skip
    body = chart + scale(100 * low, 100.0, "% of the slices", scale_colours("viridis"))
    return [Figure(body, f"What the aligned slices have in common: {kept}.")]


def _rectangle(
    matrices: np.ndarray, raw: tuple[int, int], canvas: tuple[int, int], field: Field | None, crop: Any
) -> tuple[str, tuple[tuple[float, float], tuple[float, float]] | None]:
    """Return what there is to say of the largest rectangle that the slices show, and where it lies, from 0 to 1."""
    share = crop if isinstance(crop, float) else 1.0
    shown = "all of them show" if share == 1.0 else f"{number(100 * share)} % of them show"
    try:
        box = _canvas.covered_box(matrices, raw, canvas, share, field)
    except ValueError:
        return f"there is no rectangle that {shown}", None
    (top, bottom), (left, right) = ((box[dim].start, box[dim].stop) for dim in "yx")
    fate = "which crop='common' would keep" if crop == "none" else "which was kept"
    said = f"the largest rectangle that {shown} is {bottom - top} × {right - left} of {canvas[0]} × {canvas[1]} pixels, {fate}"
    return said, ((top / canvas[0], bottom / canvas[0]), (left / canvas[1], right / canvas[1]))


def _places(size: int) -> np.ndarray:
    """Return the rows or columns of a frame at which slices are counted."""
    return np.round(np.linspace(0, size - 1, min(size, _LONGEST)))
