"""Small Datasets as NetCDF files of the classic form with 64-bit numbers (CDF-5): in a tenth of the time of NetCDF-4.

The libraries of NetCDF read both alike. Format: https://docs.unidata.ucar.edu/nug/current/file_format_specifications.html
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_CHAR = 2
_TYPES = {"i1": 1, "i2": 3, "i4": 4, "f4": 5, "f8": 6, "u1": 7, "u2": 8, "u4": 9, "i8": 10, "u8": 11}


def write(ds: xr.Dataset, path: Path) -> bool:
    """Write a Dataset as `xarray.open_dataset` reads it; return whether it is of what this form holds.

    That is numbers, flags and strings, no dim without length, and attrs that are text or numbers. Nothing is written
    of anything else.
    """
    try:
        content = _encoded(ds)
    except _NotSimple:
        return False
    path.write_bytes(content)
    return True


class _NotSimple(Exception):
    """It is for the library to write."""


def _encoded(ds: xr.Dataset) -> bytes:
    variables, attrs = xr.conventions.encode_dataset_coordinates(ds)
    sizes = {str(name): size for name, size in ds.sizes.items()}
    if 0 in sizes.values():
        raise _NotSimple  # a length of 0 marks the dim that grows
    arrays: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]] = {}
    for name, variable in variables.items():
        dims, values, own = tuple(map(str, variable.dims)), np.asarray(variable.values), dict(variable.attrs)
        if values.dtype.kind == "b":
            values, own = values.astype("i1"), {**own, "dtype": "bool"}
        elif values.dtype.kind in "OU":
            values = _characters(values)
            dims, own = (*dims, f"string{values.shape[-1]}"), {**own, "_Encoding": "utf-8"}
            sizes[dims[-1]] = values.shape[-1]
        arrays[str(name)] = dims, values, own
    places = {name: number for number, name in enumerate(sizes)}
    data = [_padded(_big_endian(values).tobytes()) for _, values, _ in arrays.values()]
    start = len(_header(sizes, places, attrs, arrays, [0] * len(data), data))
    begins = [start + sum(map(len, data[:number])) for number in range(len(data))]
    return b"".join([_header(sizes, places, attrs, arrays, begins, data), *data])


def _header(
    sizes: Mapping[str, int],
    places: Mapping[str, int],
    attrs: Mapping[Any, Any],
    arrays: Mapping[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]],
    begins: list[int],
    data: list[bytes],
) -> bytes:
    parts = [b"CDF\x05", _number(0)]
    parts += [_listed(_DIMENSION, [_text(name) + _number(size) for name, size in sizes.items()]), _attributes(attrs)]
    described = []
    for (name, (dims, values, own)), begin, content in zip(arrays.items(), begins, data, strict=True):
        axes = b"".join(_number(places[dim]) for dim in dims)
        facts = _kind(_type_of(values)) + _number(len(content)) + _number(begin)
        described.append(_text(name) + _number(len(dims)) + axes + _attributes(own) + facts)
    return b"".join([*parts, _listed(_VARIABLE, described)])


def _attributes(attrs: Mapping[Any, Any]) -> bytes:
    found = []
    for name, value in attrs.items():
        if isinstance(value, str):
            encoded = value.encode()
            found.append(_text(str(name)) + _kind(_CHAR) + _number(len(encoded)) + _padded(encoded))
            continue
        numbers = np.atleast_1d(np.asarray(value))
        if numbers.ndim != 1 or not numbers.size:
            raise _NotSimple
        kind = _kind(_type_of(numbers))
        found.append(_text(str(name)) + kind + _number(numbers.size) + _padded(_big_endian(numbers).tobytes()))
    return _listed(_ATTRIBUTE, found)


def _characters(values: np.ndarray) -> np.ndarray:
    """Return strings as an array of bytes, one axis more."""
    if not all(isinstance(value, str) and "\0" not in value for value in values.ravel().tolist()):
        raise _NotSimple
    encoded = np.char.encode(values.astype(str), "utf-8")
    width = max(1, encoded.dtype.itemsize)
    return np.frombuffer(encoded.astype(f"S{width}").tobytes(), "S1").reshape(*values.shape, width)


def _type_of(values: np.ndarray) -> int:
    if values.dtype == "S1":
        return _CHAR
    found = _TYPES.get(values.dtype.newbyteorder("=").str[1:])
    if found is None:
        raise _NotSimple
    return found


def _big_endian(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder(">"))


def _number(value: int) -> bytes:
    return struct.pack(">q", value)


def _kind(value: int) -> bytes:
    return struct.pack(">i", value)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _number(len(encoded)) + _padded(encoded)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _listed(kind: int, items: list[bytes]) -> bytes:
    return _kind(kind if items else 0) + _number(len(items)) + b"".join(items)
