"""Parameters of operations as TOML holds them, and back; TOML has neither slices nor None nor arrays."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates

_AXES = ("z", "y", "x")
_ENDS = {"start", "stop"}


def to_toml(value: Any, key: str = "") -> Any:
    """Return a parameter as a value of TOML; `key` is its name: ``y = [0, 20]`` is a slice."""
    if value is None:
        return {"none": True}
    if isinstance(value, slice):
        if value.step is None and None not in (value.start, value.stop) and key in _AXES:
            return [to_toml(value.start), to_toml(value.stop)]
        ends = {"start": value.start, "stop": value.stop}
        return {name: to_toml(end) for name, end in ends.items() if end is not None}
    if isinstance(value, np.generic):
        return to_toml(value.item())
    if isinstance(value, list | tuple):
        items = [to_toml(item, key if isinstance(item, slice) else "") for item in value]
        return {"list": items} if _is_like_slice(items, key) else items
    if isinstance(value, np.ndarray):
        return {"array": _packed(estimates.encode_array(value))}
    if isinstance(value, xr.Dataset):
        return {"dataset": _packed(estimates.encode(value))}
    if isinstance(value, Mapping):
        return {str(name): to_toml(item, str(name)) for name, item in value.items()}
    if isinstance(value, np.dtype | type):
        return np.dtype(value).name
    if isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{key}={value!r}: a {type(value).__name__} cannot be written into a recipe")


def from_toml(value: Any, key: str = "", folder: Path | None = None) -> Any:
    """Return the parameter that a value of TOML stands for; files are looked for in `folder`."""
    if isinstance(value, list):
        if _is_like_slice(value, key):
            return slice(*value)
        return [from_toml(item, key if isinstance(item, list) or key in _AXES else "") for item in value]
    if not isinstance(value, dict):
        if key == "estimate" and isinstance(value, str):
            return saved_estimate((folder or Path()) / value)
        return value
    if set(value) == {"none"}:
        return None
    if set(value) == {"list"}:
        return [from_toml(item) for item in value["list"]]
    if set(value) == {"array"}:
        return estimates.decode_array(_unpacked(value["array"]))
    if set(value) == {"dataset"}:
        return estimates.decode(_unpacked(value["dataset"]))
    if value and set(value) <= _ENDS:
        return slice(value.get("start"), value.get("stop"))
    return {name: from_toml(item, name) for name, item in value.items()}


def normalised(value: Any) -> Any:
    """Return a parameter as plain values that are equal exactly when the parameters mean the same."""
    if isinstance(value, slice):
        return {"slice": [normalised(value.start), normalised(value.stop), normalised(value.step)]}
    if isinstance(value, np.generic):
        return normalised(value.item())
    if isinstance(value, list | tuple):
        return [normalised(item) for item in value]
    if isinstance(value, np.ndarray):
        return {"array": [value.dtype.str, list(value.shape), _packed(estimates.encode_array(value))]}
    if isinstance(value, xr.Dataset):
        return {"dataset": estimates.digest(value)}
    if isinstance(value, Mapping):
        return {str(name): normalised(item) for name, item in value.items()}
    if isinstance(value, np.dtype | type):
        return np.dtype(value).name
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(value)}
    return value


def _is_like_slice(value: list[Any], key: str) -> bool:
    return key in _AXES and len(value) == 2 and not any(isinstance(item, list | dict) for item in value)


def saved_estimate(path: Path) -> xr.Dataset:
    """Return the estimate in a NetCDF file."""
    if not path.is_file():
        raise ValueError(f"estimate={str(path)!r}: there is no such file; give the path of a saved estimate (NetCDF)")
    with xr.open_dataset(path) as found:
        return found.load()


def _packed(values: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(values).encode(), 9)).decode()


def _unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))
