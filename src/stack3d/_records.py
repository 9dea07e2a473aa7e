"""Records of steps: what is written into the attrs of a stack, as plain JSON values, and how it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates, grid

ATTR = "stack3d_provenance"


def signature_of(da: xr.DataArray) -> dict[str, Any]:
    """Return what must chain between two steps: sizes, dtype, and a fingerprint of channels and positions.

    Facts that were measured on the stack, such as shifts, are left out, and positions are rounded to a millionth of a
    voxel: they may differ in the last bit on another machine.
    """
    sha, variables = hashlib.sha256(), grid.variables_of(da)
    for name in ("channel", *grid.SPATIAL):
        coord = variables.get(name)
        if coord is None:
            continue
        sha.update(f"{name}{coord.dims}{coord.attrs.get('units', '')}".encode())
        values = np.atleast_1d(coord.values)
        if name == "channel":
            sha.update(json.dumps([str(value) for value in values]).encode())
        else:
            spacing = grid.spacing_of(da, name) or 1.0
            sha.update(np.rint(values / float(f"{spacing:.3e}") * 1e6).astype(np.int64).tobytes())
    sizes = {str(dim): int(size) for dim, size in da.sizes.items()}
    return {"sizes": sizes, "dtype": str(da.dtype.newbyteorder("=")), "coords": sha.hexdigest()[:16]}


def provenance(da: xr.DataArray | xr.Dataset) -> list[dict[str, Any]]:
    """Return the steps that made a stack (or an estimate), first to last.

    Parameters
    ----------
    da : DataArray or Dataset

    Returns
    -------
    list of dict
        For each step ``operation``, ``version``, ``parameters`` (all, with defaults), ``estimate`` (fingerprint, and
        the estimate itself where it could not be made again from the raw stack), ``input`` and ``output`` (sizes,
        dtype, fingerprint of the coordinates), and ``context`` (time, host, library versions).

    Raises
    ------
    ValueError
        When the attr is there but cannot be read.

    Examples
    --------
    >>> [step["operation"] for step in stack.stack3d.invert().stack3d.provenance]
    ['invert']
    """
    text = da.attrs.get(ATTR)
    if text is None:
        return []
    try:
        records = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"attrs[{ATTR!r}] is not readable as JSON ({error}); it was edited or cut") from None
    return list(records)


def encode_value(value: Any) -> Any:
    """Return a parameter as plain JSON values."""
    if value is None or isinstance(value, bool | int | float | str):
        if isinstance(value, float) and not np.isfinite(value):
            return {"float": repr(value)}
        return value
    if isinstance(value, xr.DataArray) and value.ndim <= 1:
        return {"array": estimates.encode_array(value.values)}
    if isinstance(value, xr.DataArray):
        return {"stack": {**signature_of(value), "provenance": provenance(value)}}
    if isinstance(value, xr.Dataset):
        return {"dataset": estimates.encode(value)}
    if isinstance(value, np.generic):
        return encode_value(value.item())
    if isinstance(value, slice):
        return {"slice": [encode_value(part) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, tuple):
        return {"tuple": [encode_value(item) for item in value]}
    if isinstance(value, list):
        return [encode_value(item) for item in value]
    if isinstance(value, Mapping):
        return {"dict": {str(key): encode_value(item) for key, item in value.items()}}
    if isinstance(value, np.ndarray):
        return {"array": estimates.encode_array(value)}
    if isinstance(value, np.dtype | type):
        return np.dtype(value).name
    raise TypeError(f"a parameter of type {type(value).__name__} cannot be recorded: {value!r}")


def decode_value(value: Any) -> Any:
    """Return the parameter that `encode_value` described."""
    if isinstance(value, list):
        return [decode_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "float":
        return float(content)
    if kind == "slice":
        return slice(*(decode_value(part) for part in content))
    if kind == "tuple":
        return tuple(decode_value(item) for item in content)
    if kind == "dict":
        return {key: decode_value(item) for key, item in content.items()}
    if kind == "array":
        return estimates.decode_array(content)
    if kind == "dataset":
        return estimates.decode(content)
    raise ValueError(f"a parameter of kind {kind!r} cannot be made again from its record")


def numbers(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the number of each step, as its recipe counts: a conversion that a run put between steps has none."""
    count, found = 0, []
    for record in records:
        between = bool(record.get("context", {}).get("inserted") or record.get("inserted"))
        count += not between
        found.append("" if between else str(count))
    return found


def call_string(record: Mapping[str, Any]) -> str:
    """Return a step as a short call, for history lines and tables."""
    shown = []
    for key, value in record["parameters"].items():
        if value is None:
            continue
        text = repr(decode_value(value)) if not _is_opaque(value) else f"<{next(iter(value))}>"
        shown.append(f"{key}={text if len(text) <= 60 else text[:57] + '...'}")
    return f"{record['operation']}({', '.join(shown)})"


def _is_opaque(value: Any) -> bool:
    return isinstance(value, dict) and next(iter(value), None) in ("array", "stack", "dataset")
