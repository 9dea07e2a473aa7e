"""Measures of slices as curves, of one stack or several."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d.plotting._image import axes_given

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 8  # panels drawn without being asked for


class _Line(NamedTuple):
    label: str
    z: np.ndarray
    values: np.ndarray
    valid: np.ndarray


def measures(
    table: xr.Dataset | Mapping[str, xr.Dataset],
    *,
    names: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Show what was measured of each slice against its position, one panel for each quantity.

    Parameters
    ----------
    table : Dataset, or mapping of Dataset
        What a measure gave; that of several stacks, each under its label; or what `stack3d.compare` gave: then one
        panel for the chief quantity of each measure, and beside it the median of each stack with its quartiles.
    names : sequence of str, optional
        Quantities to be shown; by default all that have one number for each slice, at most eight.
    axes : sequence of Axes, optional
        One for each quantity; by default a new figure.

    Returns
    -------
    list of Axes
        Of the curves. Channels and stacks are lines of their own; bad slices (``valid`` False) are shaded, and left out
        of medians; what could not be measured is a gap.

    Examples
    --------
    >>> axes = stack3d.plotting.measures(stack.stack3d.slice_statistics(), names=["mean"])
    >>> axes[0].get_ylabel(), axes[0].get_xlabel()
    ('mean / grey value', 'z / nm')
    """
    tables, compared = _tables(table)
    chosen = _chosen(tables, names, compared)
    lines = {name: _lines(tables, name) for name in chosen}
    beside: list[Any] = []
    if axes is None:
        given, beside = _new_axes(len(chosen), max(len(of) for of in lines.values()) if compared else 0)
    else:
        given = axes_given(axes, len(chosen))
    for k, (ax, name) in enumerate(zip(given, chosen, strict=True)):
        _draw(ax, lines[name])
        first = next(one for one in tables.values() if name in one)
        ax.set_ylabel(_label(str(first[name].attrs.get("long_name", name)), first[name], compared), fontsize="small")
        ax.tick_params(labelbottom=ax is given[-1] or axes is not None)
        if beside:
            _spread(beside[k], lines[name])
    last = next(iter(tables.values()))
    unit = (
        str(last[_position(last, chosen[-1])].attrs.get("units", "1")) if _position(last, chosen[-1]) in last else "1"
    )
    for ax in given if axes is not None else given[-1:]:
        ax.set_xlabel(f"z / {'slice' if unit == '1' else unit}")
    if any(line.label for line in lines[chosen[0]]):
        given[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize="small", frameon=False)
    return given


def _tables(table: Any) -> tuple[dict[str, xr.Dataset], bool]:
    """Return the Dataset of each stack under its label, and whether they come from a comparison."""
    if isinstance(table, Mapping) and not isinstance(table, xr.Dataset):
        wrong = [label for label, one in table.items() if not isinstance(one, xr.Dataset)]
        if wrong or not table:
            raise TypeError(f"table must be a Dataset, or a dict of them; it has {wrong or 'nothing'} of another type")
        return {str(label): one for label, one in table.items()}, False
    if not isinstance(table, xr.Dataset):
        raise TypeError(f"table must be a Dataset, or a dict of them, not {type(table).__name__}")
    if "stack" in table.dims:
        return {str(label): table.sel(stack=label) for label in table["stack"].values}, True
    return {"": table}, False


def _position(table: xr.Dataset, name: str) -> str:
    return "z_pair" if "pair" in table[name].dims else "z"


def _chosen(tables: Mapping[str, xr.Dataset], names: Sequence[str] | None, compared: bool) -> list[str]:
    along = {"z", "slice", "pair"}
    known: dict[str, str] = {}
    for table in tables.values():
        for name, values in table.items():
            dims = set(values.dims)
            if values.dtype.kind in "fiu" and len(dims & along) == 1 and dims <= along | {"channel"}:
                known[str(name)] = str(values.attrs.get("measure", ""))
    if names is not None:
        wanted = [names] if isinstance(names, str) else [str(name) for name in names]
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            raise ValueError(f"names={names!r} are not all there; what has a number for each slice is {list(known)}")
        return wanted
    if not known:
        raise ValueError("table has no quantity with one number for each slice")
    return _chief(known) if compared else list(known)[:_MOST]


def _chief(known: Mapping[str, str]) -> list[str]:
    """Return one quantity of each measure: that of its own name, else its mean, else the first."""
    chosen = []
    for measure in dict.fromkeys(known.values()):
        own = [name for name, of in known.items() if of == measure]
        named = [name for name in (measure, f"{measure}_mean") if name in own]
        chosen.append((named or own)[0])
    return chosen


def _lines(tables: Mapping[str, xr.Dataset], name: str) -> list[_Line]:
    found = []
    for label, table in tables.items():
        if name not in table:
            continue
        values = table[name].compute()
        dim = next(dim for dim in values.dims if dim != "channel")
        place = _position(table, name)
        z = np.asarray(table[place].values if place in table.coords else np.arange(values.sizes[dim]), dtype=np.float64)
        there = np.isfinite(z)
        valid = np.ones(z.size, bool)
        if "valid" in table.coords and table["valid"].dims == (dim,):
            valid = np.asarray(table["valid"].values, dtype=bool)
        channels = [str(c) for c in values["channel"].values] if "channel" in values.dims else [""]
        for channel in channels:
            row = values.sel(channel=channel).values if channel else values.values
            text = ", ".join(part for part in (label, channel) if part)
            found.append(_Line(text, z[there], np.asarray(row, dtype=np.float64)[there], valid[there]))
    return found


def _new_axes(count: int, boxes: int) -> tuple[list[Any], list[Any]]:
    import matplotlib.pyplot as plt

    columns = 2 if boxes else 1
    ratios = [6, max(1.0, 0.4 * boxes)][:columns]
    figure, grid = plt.subplots(
        count,
        columns,
        figsize=(8 + 0.5 * boxes, 1.9 * count + 0.9),
        squeeze=False,
        sharex="col",
        sharey="row",
        width_ratios=ratios,
        layout="constrained",
    )
    figure.align_ylabels(grid[:, 0])
    return list(grid[:, 0]), list(grid[:, 1]) if boxes else []


def _draw(ax: Any, lines: list[_Line]) -> None:
    for k, line in enumerate(lines):
        alone = "." if line.z.size < 60 else ""
        ax.plot(line.z, line.values, color=f"C{k}", label=line.label or None, lw=1.2, marker=alone, ms=4)
    shaded = set()
    for line in lines:
        if line.valid.all():
            continue
        half = 0.5 * float(np.median(np.diff(line.z))) if line.z.size > 1 else 0.5
        for place in line.z[~line.valid]:
            if place not in shaded:
                ax.axvspan(place - half, place + half, color="0.85", lw=0, zorder=0, gid="bad-slice")
                shaded.add(place)
    ax.margins(x=0.01)
    ax.grid(alpha=0.3)


def _spread(ax: Any, lines: list[_Line]) -> None:
    rows = [line.values[line.valid & np.isfinite(line.values)] for line in lines]
    boxes = ax.boxplot(
        rows, widths=0.6, showfliers=False, patch_artist=True, medianprops={"color": "black"}, whis=(5, 95)
    )
    for k, patch in enumerate(boxes["boxes"]):
        patch.set_facecolor(f"C{k}")
        patch.set_alpha(0.5)
    ax.set_xticks(range(1, len(lines) + 1), [line.label for line in lines], rotation=30, ha="right", fontsize="small")
    ax.grid(alpha=0.3, axis="y")


def _label(text: str, values: xr.DataArray, compared: bool) -> str:
    measure = str(values.attrs.get("measure", "")).replace("_", " ")
    unit = str(values.attrs.get("units", "1"))
    quantity = text if unit == "1" else f"{text} / {unit}"
    # A panel is not high: long names go over several lines.
    quantity = textwrap.fill(quantity, 24)
    return f"{measure}\n{quantity}" if compared and measure and measure not in text else quantity
