"""A stack without its values as one JSON text, for formats that hold pixels and a text.

The text is ASCII: ``{"stack3d": 1, "name", "dims", "dtype", "attrs", "coords": {name: {"dims", "dtype", "attrs",
"values"}}}``. Floats are written with the digits that give them back to the bit; times as whole numbers of their unit.
A boolean coordinate of the size of the stack (``mask``) is ``{"packed": ...}``: its bits, packed, zlib, base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import xarray as xr

from stack3d.io._attrs import decode_attrs, encode_attrs, encode_stack

_LARGEST_LIST = 2**20
_LARGEST_MASK = 2**32


def check(da: xr.DataArray) -> None:
    """Raise ValueError for a coordinate that has no place in a JSON text."""
    for name, coord in da.coords.items():
        if coord.size > (_LARGEST_MASK if coord.dtype == bool else _LARGEST_LIST):
            raise ValueError(
                f"coordinate {name!r} ({coord.dtype}, {coord.size} values) is too large to be kept inside a TIFF; "
                f"drop it with da.drop_vars({name!r}), or save as .zarr or .nc"
            )


def encode(da: xr.DataArray) -> str:
    """Return all of a stack but its values as JSON.

    Examples
    --------
    >>> from stack3d.io import _json_stack
    >>> text = _json_stack.encode(stack)
    >>> _json_stack.decode(text, stack.values).identical(stack)
    True
    """
    check(da)
    ds = encode_stack(da)
    coords = {
        str(name): {
            "dims": list(variable.dims),
            "dtype": variable.dtype.str,
            "attrs": variable.attrs,
            **_encode_values(np.asarray(variable.values)),
        }
        for name, variable in ds.coords.variables.items()
    }
    stack = {
        "stack3d": 1,
        "name": da.name,
        "dims": list(da.dims),
        "dtype": da.dtype.str,
        "attrs": encode_attrs(da.attrs),
        "coords": coords,
    }
    return json.dumps(stack)


def decode(text: str, data: Any) -> xr.DataArray:
    """Return the stack of which `encode` made a text.

    Parameters
    ----------
    text : str
        What `encode` returned.
    data : array
        The values, with the shape the stack had; numpy or dask. A boolean stack may come as integers (0 is False).

    Raises
    ------
    ValueError
        When the text is not one of ours, or `data` has another number of dims.
    """
    stack = json.loads(text)
    if not isinstance(stack, dict) or stack.get("stack3d") != 1:
        raise ValueError("the text does not describe a stack of this version of stack3d")
    if np.ndim(data) != len(stack["dims"]):
        raise ValueError(f"data has shape {np.shape(data)}, the text describes dims {stack['dims']}")
    if np.dtype(stack["dtype"]) == bool and data.dtype != bool:
        data = data != 0
    coords = {
        name: xr.Variable(coord["dims"], _decode_values(coord), decode_attrs(coord["attrs"]))
        for name, coord in stack["coords"].items()
    }
    da = xr.DataArray(data, dims=stack["dims"], coords=coords, attrs=decode_attrs(stack["attrs"]))
    da.name = stack["name"]  # set afterwards, because a lazy array would lend its own name for None
    return da


def _encode_values(values: np.ndarray) -> dict[str, Any]:
    if values.dtype == bool and values.size > _LARGEST_LIST // 16:
        packed = zlib.compress(np.packbits(values).tobytes(), 1)
        return {"shape": list(values.shape), "packed": base64.b64encode(packed).decode("ascii")}
    if values.dtype.kind in "Mm":
        values = values.view(np.int64)
    return {"values": values.tolist()}


def _decode_values(coord: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(coord["dtype"])
    if "packed" in coord:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(coord["packed"])), np.uint8)
        shape = tuple(coord["shape"])
        return np.unpackbits(bits, count=int(np.prod(shape))).view(bool).reshape(shape)
    if dtype.kind in "Mm":
        return np.array(coord["values"], dtype=np.int64).view(dtype)
    return np.array(coord["values"], dtype=dtype)
