"""What attrs may hold, so that every file format takes them: str, int, float and 1-D arrays of numbers."""

from __future__ import annotations

import datetime
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def check_storable(name: str, value: Any) -> None:
    """Raise where the value of an attr is none that every file format takes, saying how to mend it."""
    if isinstance(value, str):
        if "\0" in value or not _is_text(value):
            raise ValueError(f"attrs[{name!r}]={short(value)} holds characters that a file cannot; remove them")
        return
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"attrs[{name!r}]={value!r} is a bool, which NetCDF cannot hold; use 1 or 0")
    if isinstance(value, (int, np.integer)):
        if not -(2**63) <= int(value) < 2**64:
            raise ValueError(f"attrs[{name!r}]={value!r} does not fit into 64 bits; use a float or a str")
        return
    if isinstance(value, np.ndarray) and value.ndim == 1 and _is_number(value.dtype):
        return
    if isinstance(value, float) or (isinstance(value, np.generic) and _is_number(value.dtype)):
        return
    if value is None:
        hint = "leave it out, or use an empty str"
    elif isinstance(value, (list, tuple)) and value and all(_is_plain_number(item) for item in value):
        hint = f"use numpy.array({short(value)})"
    elif isinstance(value, (np.ndarray, np.generic)):
        hint = f"an array must be 1-D, of integers or 32- or 64-bit floats (it is {value.ndim}-D, {value.dtype})"
    else:
        hint = f"use a JSON string, json.dumps({short(value)})"
    raise TypeError(
        f"attrs[{name!r}]={short(value)} is a {type(value).__name__}; allowed are str, int, float and 1-D arrays of "
        f"numbers, which every file format takes: {hint}; stack3d.vocabulary.normalise does this for all attrs"
    )


def normalise(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attrs as every file format takes them.

    Parameters
    ----------
    attrs : mapping
        Anything that JSON can express, and numpy numbers and arrays, dates, paths and bytes.

    Returns
    -------
    dict
        Values are str, int, float or 1-D arrays of numbers: bool becomes 1 or 0, a sequence of numbers an array, and
        any other dict or sequence a JSON string; None is left out.

    Raises
    ------
    TypeError
        For a value that has no such form, naming the attr.

    Examples
    --------
    >>> from stack3d.vocabulary import normalise
    >>> normalise({"frozen": True, "comment": None, "detectors": ["SE2", "ESB"], "gains": [1, 2]})
    {'frozen': 1, 'detectors': '["SE2", "ESB"]', 'gains': array([1, 2])}
    """
    result: dict[str, Any] = {}
    for key, value in attrs.items():
        stored = _storable(str(key), value)
        if stored is not None:
            result[str(key)] = stored
    return result


def _storable(name: str, value: Any) -> Any:
    value = simple(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, (list, tuple)) and value and all(_is_plain_number(simple(item)) for item in value):
        value = np.array([simple(item) for item in value])
    if isinstance(value, np.ndarray) and value.ndim == 1:
        if _is_number(value.dtype):
            return value.copy()
        if value.dtype.kind == "b":
            return value.astype(np.uint8)
        if value.dtype.kind == "f":
            return value.astype(np.float32 if value.dtype.itemsize < 4 else np.float64)
    try:
        return json.dumps(_jsonable(value), ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"attrs[{name!r}]={short(value)} cannot be stored: {error}; give a str or a number") from None


def simple(value: Any) -> Any:
    """Return scalars of other types as plain str, bool, int or float; anything else as it is."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.generic):
        return float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    return value


def _jsonable(value: Any) -> Any:
    value = simple(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_text(str(key)): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [_jsonable(item) for item in items]
    if isinstance(value, np.ndarray):
        return [_jsonable(item) for item in value]
    raise TypeError(f"{short(value)} is a {type(value).__name__}, which JSON has no form for")


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8))


def _is_plain_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**63) <= value < 2**63
    return isinstance(value, float)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: str) -> str:
    return value.rstrip("\0").replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def short(value: Any) -> str:
    """Return a value as it stands in an error."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
