"""Estimates: what is measured on a stack before it is corrected.

An estimate is a Dataset that says what it is (``kind``), on which frame and slices it was made, and how. It can be
looked at, edited, saved, and applied to another channel or to a cropped or binned version of the stack.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d.grid import Frame, spacing_of
from stack3d.model import valid_slices

SCHEMA_VERSION = 1

# Who makes those that are not made by estimate_KIND.
_MAKERS = {"hot_pixels": "detect_hot_pixels", "bad_slices": "find_bad_slices"}


def make(
    kind: str, variables: Mapping[str, Any], da: xr.DataArray, *, coords: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Return an estimate of `kind` made on `da`.

    Parameters
    ----------
    kind : str
        Such as ``"transforms"``.
    variables : mapping
        As for `xarray.Dataset`; their dims ``z`` and ``channel`` are those of `da`.
    da : DataArray
        The stack it was measured on: gives the slices (``z``, ``valid``), the channels and the frame.
    coords : mapping, optional
        Further coordinates.
    """
    shared: dict[str, Any] = {}
    used = {dim for value in variables.values() for dim in (value.dims if hasattr(value, "dims") else value[0])}
    if "z" in da.dims and "z" in used:
        shared["z"] = da["z"].variable
    if "channel" in da.coords and "channel" in used:
        shared["channel"] = da["channel"].variable
    dataset = xr.Dataset(dict(variables), coords={**shared, **(coords or {})})
    if "z" in shared and "valid" not in dataset:
        dataset["valid"] = ("z", valid_slices(da))
    dataset.attrs = {"kind": kind, "schema_version": SCHEMA_VERSION, "frame": json.dumps(Frame.of(da).to_dict())}
    return dataset.drop_encoding()


def check(estimate: Any, kind: str, *, name: str = "estimate") -> xr.Dataset:
    """Return `estimate` if it is one of `kind`, else raise with what was expected."""
    maker = _MAKERS.get(kind, f"estimate_{kind}")
    if not isinstance(estimate, xr.Dataset):
        raise TypeError(f"{name} must be a Dataset made by {maker}, not {type(estimate).__name__}")
    found = estimate.attrs.get("kind")
    if found != kind:
        raise ValueError(f"{name} is of kind {found!r}; expected {kind!r}, as made by {maker}")
    version = int(estimate.attrs.get("schema_version", 0))
    if version > SCHEMA_VERSION:
        raise ValueError(f"{name} has schema version {version}; this version of stack3d reads up to {SCHEMA_VERSION}")
    return estimate


def frame_of(estimate: xr.Dataset) -> Frame:
    """Return the frame an estimate was made in."""
    return Frame.from_dict(json.loads(estimate.attrs["frame"]))


def at_slices(estimate: xr.Dataset, da: xr.DataArray, *, name: str = "estimate") -> xr.Dataset:
    """Return the part of an estimate that belongs to the slices of `da`, matched by their position in z.

    Raises
    ------
    ValueError
        When a slice of `da` has no counterpart; the first such position is named.
    """
    if "z" not in estimate.dims or "z" not in da.dims:
        return estimate
    have, want = estimate["z"].values, da["z"].values
    if np.array_equal(have, want):
        return estimate
    tolerance = 1e-3 * spacing_of(da, "z")
    nearest = np.clip(np.searchsorted(have, want - tolerance), 0, have.size - 1)
    wrong = np.abs(have[nearest] - want) > tolerance
    if np.any(wrong):
        raise ValueError(
            f"{name} has no slice at z = {want[np.argmax(wrong)]:g} (it covers {have[0]:g} to {have[-1]:g}, {have.size} slices); "
            "it can be applied to the stack it was made on and to parts of it along z"
        )
    return estimate.isel(z=nearest)


def at_channels(estimate: xr.Dataset, da: xr.DataArray) -> xr.Dataset:
    """Return the part of an estimate that belongs to the channels of `da`; one without channels fits all."""
    if "channel" not in estimate.dims or "channel" not in da.coords:
        return estimate
    return estimate.sel(channel=da["channel"].values)


def digest(dataset: xr.Dataset) -> str:
    """Return a short fingerprint of the values, dims and dtypes of a Dataset (attrs left out)."""
    return digest_of(dataset.variables)


def digest_of(variables: Mapping[Any, xr.Variable]) -> str:
    """Return the same of the variables of a Dataset."""
    sha = hashlib.sha256()
    for name in sorted(map(str, variables)):
        variable = variables[name]
        values = np.ascontiguousarray(variable.values)
        if values.dtype.kind in "OU":
            values = np.frombuffer(json.dumps([str(v) for v in values.ravel()]).encode(), np.uint8)
        sha.update(f"{name}{variable.dims}{values.dtype.str}{variable.shape}".encode())
        sha.update(values.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()[:16]


def encode_array(values: np.ndarray) -> dict[str, Any]:
    """Return an array as plain JSON values, exact to the bit."""
    values = np.array(values, order="C")
    if values.dtype.kind in "OU":
        return {"strings": [str(v) for v in values.ravel()], "shape": list(values.shape)}
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    packed = base64.b64encode(zlib.compress(little.tobytes(), 6)).decode()
    return {"dtype": little.dtype.str, "shape": list(values.shape), "zlib": packed}


def decode_array(values: Mapping[str, Any]) -> np.ndarray:
    """Return the array that `encode_array` described."""
    if "strings" in values:
        return np.array(values["strings"], dtype=str).reshape(values["shape"])
    raw = zlib.decompress(base64.b64decode(values["zlib"]))
    return np.frombuffer(raw, dtype=values["dtype"]).reshape(values["shape"]).copy()


def encode(dataset: xr.Dataset) -> dict[str, Any]:
    """Return a Dataset as plain JSON values, exact to the bit."""
    variables = {
        str(name): {"dims": list(variable.dims), "attrs": _plain(variable.attrs), **encode_array(variable.values)}
        for name, variable in dataset.variables.items()
    }
    return {"variables": variables, "coords": [str(name) for name in dataset.coords], "attrs": _plain(dataset.attrs)}


def decode(values: Mapping[str, Any]) -> xr.Dataset:
    """Return the Dataset that `encode` described."""
    variables = {
        name: xr.Variable(tuple(v["dims"]), decode_array(v), v["attrs"]) for name, v in values["variables"].items()
    }
    coords = {name: variables.pop(name) for name in values["coords"]}
    return xr.Dataset(variables, coords=coords, attrs=dict(values["attrs"]))


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in attrs.items()}
