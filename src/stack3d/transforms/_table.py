"""Transforms as a table of text: written whole, read back to the bit, and shifts read from any table."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d._records import ATTR, provenance
from stack3d.transforms._given import from_matrices, from_shifts
from stack3d.transforms._matrices import matrices_of, valid_of, with_parameters

_TITLE = "# stack3d transforms"
_ENTRIES = {f"m{row}{col}": (row, col) for row in range(2) for col in range(3)}
_NAMES = {"shift_y": ("shift_y", "dy", "y"), "shift_x": ("shift_x", "dx", "x")}


def to_csv(estimate: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write transforms as a table, one line a slice.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.
    path : path
        Written anew.

    Returns
    -------
    Path

    Notes
    -----
    Lines that begin with ``#`` hold the frame, the coordinate along z, units and provenance as JSON; then ``z``,
    ``valid``, the entries of the pull matrix ``m00`` (x from x), ``m01`` (x from y), ``m02`` (x), ``m10``, ``m11``,
    ``m12`` in pixels, and the other variables of each slice. The pairs are not written. Estimates with displacements of
    blocks are refused.

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> path = stack3d.transforms.to_csv(drift, "drift.csv")
    >>> bool((stack3d.transforms.from_csv(path).transform == drift.transform).all())
    True
    """
    estimates.check(estimate, "transforms")
    if "displacement_y" in estimate:
        raise ValueError("the estimate has displacements of blocks, which a table cannot hold; save it with to_netcdf")
    matrices, path = matrices_of(estimate), Path(path)
    z = estimate["z"].values if "z" in estimate.coords else np.arange(estimate.sizes["z"], dtype=np.float64)
    columns: dict[str, Any] = {"z": z, "valid": valid_of(estimate).astype(int)}
    columns |= {name: matrices[:, row, col] for name, (row, col) in _ENTRIES.items()}
    others = [str(n) for n, v in estimate.data_vars.items() if v.dims == ("z",) and str(n) not in columns]
    columns |= {name: estimate[name].values for name in others}
    head = {
        "frame": json.loads(estimate.attrs["frame"]),
        "z": dict(estimate["z"].attrs) if "z" in estimate.coords else None,
        "schema_version": int(estimate.attrs["schema_version"]),
        "units": {name: str(estimate[name].attrs.get("units", "")) for name in others},
        "provenance": provenance(estimate),
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{_TITLE}\n")
        for name, value in head.items():
            file.write(f"# {name}: {json.dumps(value)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        # repr() of a float is its shortest form that reads back to the same bits.
        writer.writerows([repr(value.item()) for value in line] for line in zip(*columns.values(), strict=True))
    return path


def from_csv(
    path: str | os.PathLike[str],
    *,
    da: xr.DataArray | None = None,
    units: str | None = None,
    columns: Sequence[str] | None = None,
    cumulative: bool = True,
) -> xr.Dataset:
    r"""Read transforms from a table.

    Parameters
    ----------
    path : path
        A table that `to_csv` wrote, or a plain one with a column of shifts along y and one along x (``shift_y``,
        ``dy`` or ``y``; ``shift_x``, ``dx`` or ``x``), or with the six columns ``m00`` to ``m12`` of a pull matrix.
        Fields are parted by commas, semicolons, tabs or blanks; lines that begin with ``#`` are left out.
    da : DataArray, optional
        The stack they belong to, one slice a line; needed for plain tables.
    units : str, optional
        Of shifts in a plain table: a unit of length; by default pixels.
    columns : sequence of str, optional
        Names of the columns of a plain table that has no line of names.
    cumulative : bool
        False: each shift of a plain table is the displacement from the slice before.

    Returns
    -------
    Dataset
        An estimate of kind ``"transforms"``.

    Raises
    ------
    ValueError
        Saying what the table lacks.

    Examples
    --------
    >>> with open("shifts.csv", "w") as file:
    ...     _ = file.write("dy,dx\n" + "0.5,-1\n" * 8)
    >>> float(stack3d.transforms.from_csv("shifts.csv", da=stack).shift_x[0])
    -5.0
    """
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    head = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# ") and ": " in line)
    table = _columns([line for line in lines if line.strip() and not line.startswith("#")], columns, str(path))
    if lines and lines[0].strip() == _TITLE:
        if units is not None or columns is not None or not cumulative:
            raise ValueError("units, columns and cumulative are for plain tables; this one was written by to_csv")
        return _whole(table, {name: json.loads(value) for name, value in head.items()}, da)
    if da is None:
        raise ValueError(f"{path} is a plain table, without the frame it belongs to; give da=, the stack")
    if set(_ENTRIES) <= set(table):
        if units is not None or not cumulative:
            raise ValueError(f"{path} has matrices, in pixels and cumulated; units and cumulative do not apply")
        return from_matrices(da, _stacked(table))
    found = {
        name: next((table[alias] for alias in aliases if alias in table), None) for name, aliases in _NAMES.items()
    }
    if found["shift_y"] is None and found["shift_x"] is None:
        raise ValueError(
            f"{path} has the columns {list(table)}; shifts must be named among {sum(_NAMES.values(), ())}, "
            "or give columns="
        )
    return from_shifts(da, found["shift_y"], found["shift_x"], units or "px", cumulative=cumulative)


def _whole(table: dict[str, np.ndarray], head: dict[str, Any], da: xr.DataArray | None) -> xr.Dataset:
    if head["schema_version"] > estimates.SCHEMA_VERSION:
        raise ValueError(
            f"the table has schema version {head['schema_version']}; this version of stack3d reads up to "
            f"{estimates.SCHEMA_VERSION}"
        )
    coords: dict[str, Any] = {"row": [0, 1, 2], "col": [0, 1, 2]}
    if head["z"] is not None:
        coords["z"] = xr.Variable(("z",), table["z"], head["z"])
    dataset = xr.Dataset(
        {
            "transform": (
                ("z", "row", "col"),
                _stacked(table),
                {"long_name": "pull matrix, aligned (x, y, 1) to raw, in pixels"},
            ),
            "valid": ("z", table["valid"].astype(bool)),
        },
        coords=coords,
        attrs={
            "kind": "transforms",
            "schema_version": head["schema_version"],
            "frame": json.dumps(head["frame"]),
            ATTR: json.dumps(head["provenance"]),
        },
    )
    dataset = with_parameters(dataset, estimates.frame_of(dataset))
    for name, unit in head["units"].items():
        if name not in dataset:
            dataset[name] = ("z", table[name], {"units": unit} if unit else {})
    return dataset if da is None else estimates.at_slices(dataset, da)


def _stacked(table: dict[str, np.ndarray]) -> np.ndarray:
    matrices = np.broadcast_to(np.eye(3), (len(table["m00"]), 3, 3)).copy()
    for name, (row, col) in _ENTRIES.items():
        matrices[:, row, col] = table[name]
    return matrices


def _columns(lines: list[str], names: Sequence[str] | None, path: str) -> dict[str, np.ndarray]:
    if not lines:
        raise ValueError(f"{path} holds no table")
    mark = next((mark for mark in (",", ";", "\t") if mark in lines[0]), None)
    rows = [[field.strip().strip('"') for field in line.split(mark)] for line in lines]
    if names is None:
        if _is_number(rows[0][0]):
            raise ValueError(f"{path} has no line of names; give columns=, such as columns=('shift_y', 'shift_x')")
        names, rows = [name.strip().lower() for name in rows[0]], rows[1:]
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != len(names)), None)
    if wrong is not None:
        raise ValueError(f"{path}: row {wrong} has {len(rows[wrong - 1])} fields, expected {len(names)}: {list(names)}")
    columns = {}
    for name, fields in zip(names, zip(*rows, strict=True), strict=True):
        # Columns that are not numbers (names of files) have no part.
        if all(_is_number(field) for field in fields):
            columns[name] = np.array([float(field or "nan") for field in fields])
    return columns


def _is_number(field: str) -> bool:
    try:
        float(field or "nan")
    except ValueError:
        return False
    return True
