"""Several stacks measured alike, side by side."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d.model import check_stack

# In the order of the table; `measures=` takes any other measure by its name.
_USUAL = (
    "slice_statistics",
    "snr",
    "sharpness",
    "streak_index",
    "registration_quality",
    "resolution",
    "edge_resolution",
)


def compare(
    stacks: Mapping[str, xr.DataArray],
    *,
    measures: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure several stacks alike, to say whether one is better than the other.

    Parameters
    ----------
    stacks : mapping of DataArray ([channel], z, y, x)
        Each under its label, such as ``{"raw": a, "clean": b}``. They may differ in slices, pixels and units.
    measures : sequence of str, or mapping, optional
        Names of measures (`slice_statistics`, `edge_resolution`, ...), or of each its parameters, such as
        ``{"slice_statistics": {"quantiles": ()}}``. By default, the usual ones.
    box : dict, optional
        Part of the frame that is measured in each stack, as the measures take it.

    Returns
    -------
    Dataset
        Computed at the call. ``summary(stack, [channel], quantity)``: the median over the good slices of every
        quantity, with its unit in the coordinate ``unit``; ``compared["summary"].to_pandas()`` is a table. And each quantity
        itself, named after its measure: with dims (stack, [channel], slice), at the positions ``z(stack, slice)`` that
        the stack has; or (stack, [channel], pair), at ``z_pair(stack, pair)``, for what is measured between slices;
        NaN beyond the last of a shorter stack. ``valid(stack, slice)`` marks good slices.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> noisy = stack + np.random.default_rng(0).normal(0, 2000, stack.shape)
    >>> compared = stack3d.compare({"raw": noisy, "clean": stack}, measures=["slice_statistics"])
    >>> table = compared["summary"].to_pandas()
    >>> bool(
    ...     table["slice_statistics_standard_deviation"]["raw"] > table["slice_statistics_standard_deviation"]["clean"]
    ... )
    True
    """
    _check_stacks(stacks)
    chosen = _chosen(measures)
    lazy = {label: _tables(da, chosen, box, label) for label, da in stacks.items()}
    tables = _computed(lazy)
    places = _places(stacks, tables, chosen)
    parts = [_stacked([tables[label][name] for label in stacks], name) for name in chosen]
    labels = xr.Variable("stack", np.array([str(label) for label in stacks]))
    result = xr.merge(parts, compat="override", join="outer").assign_coords(stack=labels)
    result = result.assign_coords(places)
    return _summarised(result)


def _check_stacks(stacks: Any) -> None:
    if not isinstance(stacks, Mapping):
        raise TypeError(f"stacks must be a dict such as {{'raw': a, 'clean': b}}, not {type(stacks).__name__}")
    if not stacks:
        raise ValueError("stacks is empty; give at least one stack with its label")
    channels = {}
    for label, da in stacks.items():
        check_stack(da, needs=("z",), name=f"stacks[{label!r}]")
        channels[label] = [str(name) for name in da["channel"].values] if "channel" in da.dims else None
        if set(da.dims) - {"channel", "z", "y", "x"}:
            raise ValueError(f"stacks[{label!r}] has dims {da.dims}; allowed are channel, z, y and x")
    if len({str(names) for names in channels.values()}) > 1:
        raise ValueError(f"stacks have channels {channels}; they must be the same: choose with da.sel(channel=...)")


def _chosen(measures: Any) -> dict[str, dict[str, Any]]:
    from stack3d import quality

    known = [name for name in quality.__all__ if name != "compare"]
    if measures is None:
        return {name: {} for name in _USUAL if name in known}
    given = [measures] if isinstance(measures, str) else list(measures)
    unknown = [name for name in given if name not in known]
    if unknown or not given or len(set(given)) < len(given):
        raise ValueError(f"measures={measures!r} must be different names among {', '.join(map(repr, known))}")
    return {name: dict(measures[name]) if isinstance(measures, Mapping) else {} for name in given}


def _tables(
    da: xr.DataArray, chosen: Mapping[str, Mapping[str, Any]], box: Mapping[str, Any] | None, label: str
) -> dict[str, xr.Dataset]:
    from stack3d import quality

    tables = {}
    for name, parameters in chosen.items():
        measure = getattr(quality, name)
        own = dict(parameters)
        if box is not None and "box" in inspect.signature(measure).parameters:
            own.setdefault("box", box)
        try:
            tables[name] = _quantities(measure(da, **own))
        except (TypeError, ValueError) as error:
            error.add_note(f"in stack {label!r}, by {name!r}")
            raise
    return tables


def _quantities(table: xr.Dataset) -> xr.Dataset:
    """Return what there is one number of for each slice, pair or channel; curves and facts are left out."""
    numbers = [name for name, v in table.items() if v.dtype.kind == "f" and set(v.dims) <= {"channel", "z"}]
    coords = [name for name in table.coords if name not in ("z", "channel", "valid", "first", "second")]
    return table[numbers].drop_vars([name for name in coords if name in table[numbers].coords])


def _computed(lazy: dict[str, dict[str, xr.Dataset]]) -> dict[str, dict[str, xr.Dataset]]:
    if not any(v.chunks is not None for tables in lazy.values() for t in tables.values() for v in t.values()):
        return lazy
    from stack3d.progress import compute

    # All measures of all stacks in one go: a frame that several of them need is read once.
    done: dict[str, dict[str, xr.Dataset]] = compute(lazy, label="compare")[0]
    return done


def _along(table: xr.Dataset) -> str:
    return "pair" if "first" in table.coords else "slice"


def _stacked(tables: list[xr.Dataset], name: str) -> xr.Dataset:
    """Return the quantities of one measure with a dim `stack`, slices counted."""
    bare = []
    for table in tables:
        along = _along(table)
        plain = table.drop_vars([c for c in table.coords if c != "channel"])
        bare.append(plain.rename(z=along) if "z" in plain.dims else plain)
    longest = {dim: max(t.sizes.get(dim, 0) for t in bare) for dim in ("slice", "pair")}
    padded = [t.pad({dim: (0, longest[dim] - t.sizes[dim]) for dim in longest if dim in t.dims}) for t in bare]
    joined = xr.concat(padded, "stack", coords="minimal", compat="override", join="override", combine_attrs="override")
    new = {}
    for quantity, values in joined.items():
        units = sorted({str(t[quantity].attrs.get("units", "1")) for t in tables})
        attrs = {**tables[0][quantity].attrs, "measure": name, "units": " or ".join(units)}
        long = quantity if str(quantity).startswith(name) else f"{name}_{quantity}"
        new[long] = values.transpose("stack", ...).assign_attrs(attrs)
    return xr.Dataset(new)


def _places(
    stacks: Mapping[str, xr.DataArray], tables: dict[str, dict[str, xr.Dataset]], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """Return positions of slices and pairs, and which slices are good."""
    found: dict[str, Any] = {}
    for along in ("slice", "pair"):
        have = [n for n in chosen if all("z" in tables[s][n].dims and _along(tables[s][n]) == along for s in stacks)]
        if not have:
            continue
        first = [tables[label][have[0]] for label in stacks]
        for name in have[1:]:
            if any(not np.array_equal(a["z"], tables[label][name]["z"]) for label, a in zip(stacks, first)):
                raise ValueError(
                    f"measures {have[0]!r} and {name!r} compare different pairs of slices; give them one lag"
                )
        count = max(t.sizes["z"] for t in first)
        z = np.full((len(first), count), np.nan)
        valid = np.ones((len(first), count), bool)
        for k, table in enumerate(first):
            z[k, : table.sizes["z"]] = table["z"].values
            if "valid" in table.coords:
                valid[k, : table.sizes["z"]] = table["valid"].values
        units = " or ".join(sorted({str(t["z"].attrs.get("units", "1")) for t in first}))
        attrs = {"long_name": "slice position" if along == "slice" else "middle of the pair", "units": units}
        found["z" if along == "slice" else "z_pair"] = (("stack", along), z, attrs)
        if along == "slice":
            found["valid"] = (("stack", along), valid)
    return found


def _summarised(result: xr.Dataset) -> xr.Dataset:
    columns = []
    for name, values in result.items():
        good = values.where(result["valid"]) if "slice" in values.dims else values
        dims = [dim for dim in ("slice", "pair") if dim in values.dims]
        columns.append(_median(good, dims).drop_vars(["z", "z_pair", "valid"], errors="ignore").rename(str(name)))
    names = [str(column.name) for column in columns]
    units = [str(result[name].attrs["units"]) for name in names]
    summary = xr.concat(columns, "quantity", coords="minimal", compat="override").transpose("stack", ..., "quantity")
    summary.attrs = {"long_name": "median over good slices"}
    summary = summary.assign_coords(quantity=names, unit=("quantity", units)).rename("summary")
    return summary.to_dataset().merge(result, compat="override")


def _median(values: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Return the median of what is measured along `dims`, NaN where nothing is."""
    if not dims:
        return values
    rows = np.moveaxis(values.values, values.get_axis_num(dims[0]), -1)
    flat = [
        np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan
        for row in rows.reshape(-1, rows.shape[-1])
    ]
    return values.isel({dims[0]: 0}, drop=True).copy(data=np.reshape(flat, rows.shape[:-1]))
