"""Stacks as Datasets that NetCDF and Zarr take, and back, without loss.

Attrs that a format takes are stored under their own names, so that every reader sees them. What it would change (an
array of one number becomes a number, an array in Zarr a list) or cannot hold is told in one more attr,
``stack3d_types``, a JSON object; decoding takes it out again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

RECORD = "stack3d_types"
DTYPES = "stack3d_dtypes"
FORMAT = "stack3d_format"

# The names under which xarray's own to_netcdf, to_zarr and open_dataarray keep an array without a usable name.
_VARIABLE = "__xarray_dataarray_variable__"
_NAME = "__xarray_dataarray_name__"

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+@:()\[\] -]*(?<! )\Z")
# Names that mean something to the conventions of NetCDF, CF and xarray.
_RESERVED = {
    "missing_value", "scale_factor", "add_offset", "dtype", "coordinates", "calendar", "NAME", "CLASS",
    "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS", RECORD, DTYPES, FORMAT,
}  # fmt: skip
_ALLOWED = "str, int, float, 1-D arrays of numbers, or anything json can write"


def encode_attrs(attrs: Mapping[Any, Any], where: str = "da") -> dict[str, Any]:
    """Return attrs as NetCDF and Zarr take them; `decode_attrs` gives back the same ones.

    Parameters
    ----------
    attrs : mapping
        Values: str, int, float, arrays of numbers, and whatever JSON holds.
    where : str
        What they belong to, for the error.

    Raises
    ------
    TypeError
        Naming the attr, its type and what is allowed.

    Examples
    --------
    >>> from stack3d.io._attrs import decode_attrs, encode_attrs
    >>> encode_attrs({"detector": "SE2", "offsets": np.array([0.5])})
    {'detector': 'SE2', 'offsets': [0.5], 'stack3d_types': '{"offsets": {"type": "float64"}}'}
    >>> decode_attrs(encode_attrs({"offsets": np.array([0.5])}))
    {'offsets': array([0.5])}
    """
    encoded: dict[str, Any] = {}
    record: dict[str, Any] = {}
    for key, value in attrs.items():
        if not isinstance(key, str):
            raise TypeError(f"attrs of {where} have the name {key!r} of type {type(key).__name__}; names must be str")
        plain, note = _encode_value(value, key, where)
        if note is not None and "value" in note:
            record[key] = note
        elif not _PLAIN_NAME.match(key) or key in _RESERVED:
            record[key] = {"type": "json", **(note or {}), "value": plain}
        else:
            encoded[key] = plain
            if note is not None:
                record[key] = note
    if record:
        encoded[RECORD] = json.dumps(record)
    return encoded


def decode_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the attrs that `encode_attrs` took, or those of a foreign file as Python numbers, str and arrays."""
    attrs = dict(attrs)
    record = json.loads(attrs.pop(RECORD, "{}"))
    decoded = {key: value if key in record else _plain(value) for key, value in attrs.items()}
    for key, note in record.items():
        if "value" in note or key in decoded:
            decoded[key] = _decode_value(note, note.get("value", decoded.get(key)))
    return decoded


def _encode_value(value: Any, key: str, where: str) -> tuple[Any, dict[str, Any] | None]:
    """Return how a value is stored, and what is noted to get it back (its `value` too, where only the note has it)."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if isinstance(value, str):
        if "\0" in value or not _is_text(value):
            return None, {"type": "json", "value": value}
        return value, None
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, None) if -(2**63) <= value < 2**63 else (None, {"type": "json", "value": value})
    if isinstance(value, float):
        # Not a number has no place in the JSON of Zarr.
        return (value, None) if math.isfinite(value) else (None, {"type": "json", "value": value})
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        kind = value.dtype.name
        if value.ndim == 1 and value.dtype.kind != "b" and np.isfinite(value).all():
            return value.tolist(), {"type": kind}
        return None, {"type": kind, "shape": list(value.shape), "value": value.ravel().tolist()}
    if isinstance(value, (list, tuple)) and value and len({type(item) for item in value}) == 1:
        # Other readers see a row of numbers as one.
        if type(value[0]) is float and all(map(math.isfinite, value)):
            return list(value), {"type": type(value).__name__}
        if type(value[0]) is int and all(abs(item) < 2**63 for item in value):
            return list(value), {"type": type(value).__name__}
    kind = "tuple" if isinstance(value, tuple) else "json"
    inside = list(value) if kind == "tuple" else value
    try:
        same = json.loads(json.dumps(inside)) == inside
    except (TypeError, ValueError):
        same = False
    if not same:
        raise TypeError(
            f"attrs[{key!r}] of {where} is a {type(value).__name__} that cannot be saved; allowed are {_ALLOWED}"
        )
    return None, {"type": kind, "value": inside}


def _decode_value(note: Mapping[str, Any], value: Any) -> Any:
    kind = note["type"]
    if kind == "json":
        return value
    if kind in ("list", "tuple"):
        items = value if "value" in note else np.asarray(value).reshape(-1).tolist()
        return list(items) if kind == "list" else tuple(items)
    return np.asarray(value, dtype=kind).reshape(note.get("shape", -1))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        return value.item()
    if isinstance(value, list) and value and all(type(item) in (int, float) for item in value):
        return np.array(value)
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_stack(da: xr.DataArray) -> xr.Dataset:
    """Return a stack as the Dataset that is written: what `da.to_netcdf()` would write, with attrs encoded.

    Raises
    ------
    TypeError, ValueError
        For names, coordinates or attrs that cannot be stored, saying which.
    """
    _check_names(da)
    variables = {str(name): _encode_variable(str(name), coord.variable) for name, coord in da.coords.items()}
    dtypes = {name: str(variable.dtype) for name, variable in variables.items() if variable.dtype.kind in "UMm"}
    usable = isinstance(da.name, str) and _PLAIN_NAME.match(da.name) and da.name not in {*da.coords, *da.dims}
    name = str(da.name) if usable else _VARIABLE
    attrs: dict[str, Any] = {FORMAT: 1}
    if not usable and da.name is not None:
        attrs[_NAME] = da.name
    if dtypes:
        attrs[DTYPES] = json.dumps(dtypes)
    data = xr.Variable(da.dims, da.variable.data, encode_attrs(da.attrs))
    return xr.Dataset({name: data}, coords=xr.Coordinates(variables, indexes={}), attrs=attrs)


def decode_stack(ds: xr.Dataset, name: Hashable | None = None) -> xr.DataArray:
    """Return the stack in a Dataset that was read from NetCDF or Zarr: the other half of `encode_stack`.

    Parameters
    ----------
    ds : Dataset
        As `xarray.open_dataset(..., chunks={})` gives it; the variable stays lazy, and so do coordinates of the size
        of the stack. Smaller coordinates are loaded.
    name : str, optional
        Which variable; needed when there are several.

    Raises
    ------
    ValueError
        When it is not clear which variable is meant; the message lists them.
    """
    names = list(ds.data_vars)
    if name is None:
        if len(names) != 1:
            raise ValueError(f"there are {len(names)} variables, {names}; say which one is the stack")
        name = names[0]
    dtypes = json.loads(ds.attrs.get(DTYPES, "{}"))
    da = ds[name].drop_encoding()
    coords: dict[Hashable, xr.Variable] = {}
    for key, coord in da.coords.items():
        variable = coord.variable.copy(deep=False)
        if not {"y", "x"} <= set(variable.dims):
            values = np.asarray(variable.values)
            if values.dtype.kind in "OT":  # how strings come back from Zarr
                values = np.array(values.tolist(), dtype=str)
            if str(key) in dtypes:
                values = values.astype(dtypes[str(key)])
            variable = xr.Variable(variable.dims, values, variable.attrs)
        variable.attrs = decode_attrs(variable.attrs)
        coords[key] = variable
    da = da.assign_coords(coords)
    da.attrs = decode_attrs(da.attrs)
    label = ds.attrs.get(_NAME, name)
    return da.rename(None if label == _VARIABLE else label)


def _check_names(da: xr.DataArray) -> None:
    if da.name is not None and not isinstance(da.name, str):
        raise TypeError(f"da.name={da.name!r} is a {type(da.name).__name__}; rename it with da.rename('image')")
    for name in (*da.dims, *da.coords):
        if not isinstance(name, str) or not re.fullmatch(r"[^\s/\0]+", name):
            raise ValueError(
                f"da has the dim or coordinate {name!r}; it can be saved once renamed, without '/' and blanks"
            )
    for name, index in da.indexes.items():
        if index.nlevels > 1:
            raise ValueError(
                f"da has a MultiIndex along {name!r}, which no file can hold; use da.reset_index({name!r})"
            )


def _encode_variable(name: str, variable: xr.Variable) -> xr.Variable:
    data: Any = variable.data
    if variable.dtype.kind in "OT":
        values = np.asarray(variable.values)
        if not all(isinstance(item, str) for item in values.ravel().tolist()):
            raise TypeError(
                f"coordinate {name!r} holds Python objects that are not str; convert it, or drop it with "
                f"da.drop_vars({name!r})"
            )
        data = np.array(values.tolist(), dtype=str)
    elif variable.dtype.kind not in "biufUMm":
        raise TypeError(f"coordinate {name!r} has dtype {variable.dtype}; allowed are bool, numbers, str and times")
    if name in variable.dims or "y" not in variable.dims:
        data = np.asarray(xr.Variable(variable.dims, data).values)
    return xr.Variable(variable.dims, data, encode_attrs(variable.attrs, f"coordinate {name!r}"))
