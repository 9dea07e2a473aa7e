"""Doing again what a record says was done."""

from __future__ import annotations

import warnings
from typing import Any

import xarray as xr

from stack3d import estimates
from stack3d._provenance import OPERATIONS
from stack3d._records import decode_value, numbers, provenance, signature_of
from stack3d.model import check_stack


class ReplayWarning(UserWarning):
    """A replay may not give the recorded result to the bit."""


def replay(raw: xr.DataArray, result: xr.DataArray) -> xr.DataArray:
    """Make a result again from the raw stack, by its provenance.

    Equal to the bit on the same machine, environment and device; within one grey level elsewhere.

    Parameters
    ----------
    raw : DataArray
        The stack that the recorded steps began with; if it has provenance itself, the steps after it are done.
    result : DataArray
        The stack to be made again, as computed or as read from a file; only its provenance is used.

    Returns
    -------
    DataArray
        Lazy where `raw` is.

    Raises
    ------
    ValueError
        Naming the step: when `raw` is not the stack the record begins with, when sizes, dtype or coordinates do not
        chain (a step outside stack3d lay between), or when this version of stack3d does a step otherwise.

    Examples
    --------
    >>> result = stack.stack3d.crop(y=slice(0, 8), by="index").stack3d.invert()
    >>> bool((stack3d.replay(stack, result) == result).all())
    True
    """
    check_stack(raw, name="raw")
    records = provenance(result)
    if not records:
        raise ValueError("result has no provenance; replay needs the record that stack3d writes into attrs")
    done = len(provenance(raw))
    if [_identity(r) for r in provenance(raw)] != [_identity(r) for r in records[:done]]:
        raise ValueError("raw has steps of its own that are not the first steps of result; start from the raw stack")
    names = [
        f"step {number} ({record['operation']})" if number else f"the conversion ({record['operation']})"
        for number, record in zip(numbers(records), records, strict=True)
    ]
    _check_signature(result, records[-1]["output"], f"result, after {names[-1]},")
    current = raw
    for name, record in zip(names[done:], records[done:], strict=True):
        current = _step(current, record, name)
    return current


def _identity(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record.get(key) for key in ("operation", "version", "parameters")}


def _step(da: xr.DataArray, record: dict[str, Any], where: str) -> xr.DataArray:
    known = OPERATIONS.get(record["operation"])
    if known is None:
        raise ValueError(f"{where}: no operation of this name is known; it was recorded by another version or package")
    if known.version != record["version"]:
        raise ValueError(
            f"{where}: recorded with version {record['version']} of the operation, this stack3d has version {known.version}; "
            f"use stack3d {record['context'].get('stack3d')}"
        )
    _check_signature(da, record["input"], f"{where}: its input")
    try:
        arguments = {
            key: decode_value(value)
            for key, value in record["parameters"].items()
            if not _was_estimated(key, value, record)
        }
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if "data" in record.get("estimate", {}):
        arguments = {key: value for key, value in arguments.items() if not _makes_estimate(known, key)}
        arguments["estimate"] = estimates.decode(record["estimate"]["data"])
    again: xr.DataArray = known.function(da, **arguments)
    _check_signature(again, record["output"], f"{where}: its result")
    _warn_of_other_estimate(again, record, where)
    return again


def _was_estimated(key: str, value: Any, record: dict[str, Any]) -> bool:
    # A second stack that only served to make the estimate: the estimate is in the record.
    return "data" in record.get("estimate", {}) and isinstance(value, dict) and "stack" in value


def _makes_estimate(known: Any, key: str) -> bool:
    import inspect

    return known.estimator is not None and key in list(inspect.signature(known.estimator).parameters)[1:]


def _check_signature(da: xr.DataArray, recorded: dict[str, Any], where: str) -> None:
    found = signature_of(da)
    for what in ("sizes", "dtype", "coords"):
        if found[what] != recorded[what]:
            raise ValueError(
                f"{where} has {what} {found[what]}, recorded were {recorded[what]}; the raw stack is another one, or a step "
                "outside stack3d (such as da.isel) lay before it: use stack3d's operations, or replay the parts"
            )


def _warn_of_other_estimate(again: xr.DataArray, record: dict[str, Any], where: str) -> None:
    recorded = record.get("estimate", {}).get("digest")
    latest = provenance(again)[-1]
    same_place = all(
        latest["context"].get(k) == record["context"].get(k) for k in ("platform", "python", "stack3d", "numpy")
    )
    if recorded is not None and same_place and latest["estimate"]["digest"] != recorded:
        warnings.warn(
            f"{where}: its estimate differs from the recorded one; raw has other values than the stack the result was made from",
            ReplayWarning,
            stacklevel=4,
        )
