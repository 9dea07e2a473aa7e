"""The record of what was done: written by one decorator, read by `provenance`, used by `replay`."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import numpy as np
import xarray as xr

from stack3d import estimates, grid
from stack3d._version import __version__
from stack3d.model import check_stack, in_native_order, with_loaded_facts

ATTR = "stack3d_provenance"
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Operation:
    """What the decorator knows of a public function."""

    name: str
    version: int
    function: Callable[..., Any]
    estimator: Callable[..., Any] | None = None


OPERATIONS: dict[str, Operation] = {}
_inside: ContextVar[bool] = ContextVar("stack3d_inside_operation", default=False)


@contextmanager
def _unrecorded() -> Any:
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def operation(
    *, version: int, needs: Sequence[str] = (), estimator: Callable[..., Any] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make ``f(da, *, ...) -> DataArray`` a recorded operation.

    The input is checked, the result gets the record of this step, and the function can be replayed by its name. Calls
    of other operations inside `f` are part of this step and not recorded themselves.

    Parameters
    ----------
    version : int
        Raised when the same parameters give other bits.
    needs : sequence of str
        Dims beside y and x without which the operation has no meaning.
    estimator : callable, optional
        The public ``estimate_X``. `f` must have a parameter ``estimate``; where the user gave none it is made here,
        from those parameters of the call that the estimator takes.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        name = function.__name__

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            given = set(bound.arguments)
            bound.apply_defaults()
            arguments = bound.arguments
            first, da = next(iter(arguments.items()))
            check_stack(da, needs=needs)
            da = arguments[first] = in_native_order(with_loaded_facts(da))
            if _inside.get():
                return function(*bound.args, **bound.kwargs)
            estimate_record = None
            if estimator is not None:
                estimate_record = _complete_estimate(name, estimator, da, arguments, given)
            elif "estimate" in arguments:
                estimate_record = _travelling(_dataset(arguments["estimate"], "a Dataset of estimates"))
            with _unrecorded():
                result = function(*bound.args, **bound.kwargs)
            parameters = {key: value for key, value in list(arguments.items())[1:] if key != "estimate"}
            return _recorded(da, result, name, version, parameters, estimate_record)  # type: ignore[return-value]

        OPERATIONS[name] = Operation(name, version, wrapper, estimator)
        return wrapper

    return decorate


def estimator(*, version: int, needs: Sequence[str] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make ``estimate_X(da, *, ...) -> Dataset`` carry the record of how it was made."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            first, da = next(iter(bound.arguments.items()))
            check_stack(da, needs=needs)
            da = bound.arguments[first] = in_native_order(with_loaded_facts(da))
            with _unrecorded():
                result = function(*bound.args, **bound.kwargs)
            parameters = dict(list(bound.arguments.items())[1:])
            record = _record(function.__name__, version, parameters)
            result.attrs[ATTR] = json.dumps([*provenance(da), record])  # type: ignore[attr-defined]
            return result

        return wrapper

    return decorate


def _complete_estimate(
    name: str, estimator: Callable[..., Any], da: xr.DataArray, arguments: dict[str, Any], given: set[str]
) -> dict[str, Any]:
    takes = [key for key in list(inspect.signature(estimator).parameters)[1:] if key in arguments]
    if arguments["estimate"] is None:
        parameters = {key: arguments[key] for key in takes}
        made = estimator(da, **parameters)
        arguments["estimate"] = made
        record: dict[str, Any] = {"digest": estimates.digest(made)}
        # Something besides the stack went in: recomputing from raw could not give it.
        if any(isinstance(value, xr.DataArray | xr.Dataset) for value in parameters.values()):
            record["data"] = estimates.encode(made)
        return record
    clash = sorted(set(takes) & given)
    if clash:
        raise ValueError(
            f"{name}: {', '.join(clash)} given together with estimate=; they say how an estimate is made, so give one or the other"
        )
    for key in takes:
        arguments[key] = inspect.signature(estimator).parameters[key].default
    return _travelling(_dataset(arguments["estimate"], f"a Dataset made by {estimator.__name__}"))


def _dataset(estimate: Any, expected: str) -> xr.Dataset:
    if not isinstance(estimate, xr.Dataset):
        raise TypeError(f"estimate must be {expected}, not {type(estimate).__name__}")
    return estimate


def _travelling(estimate: xr.Dataset) -> dict[str, Any]:
    # Given from outside, possibly edited or loaded: it goes along whole, so that the step can be replayed.
    return {"digest": estimates.digest(estimate), "data": estimates.encode(estimate)}


def _recorded(
    da: xr.DataArray,
    result: Any,
    name: str,
    version: int,
    parameters: Mapping[str, Any],
    estimate: dict[str, Any] | None,
) -> xr.DataArray:
    record = _record(name, version, parameters)
    if estimate is not None:
        record["estimate"] = estimate
    # A shallow copy with attrs of its own: an operation may have given its input back.
    result = grid.refreshed(result).copy(deep=False)
    record["input"], record["output"] = signature_of(da), signature_of(result)
    result.attrs = dict(result.attrs)
    result.attrs[ATTR] = json.dumps([*provenance(da), record])
    line = f"{record['context']['time']} stack3d {__version__}: {call_string(record)}"
    before = result.attrs.get("history")
    result.attrs["history"] = f"{line}\n{before}" if before else line
    final: xr.DataArray = result.drop_encoding()
    return final


def _record(name: str, version: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operation": name,
        "version": version,
        "parameters": {key: encode_value(value) for key, value in parameters.items()},
        "context": {
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "host": platform.node(),
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "stack3d": __version__,
            "numpy": np.__version__,
            "xarray": xr.__version__,
        },
    }


def signature_of(da: xr.DataArray) -> dict[str, Any]:
    """Return what must chain between two steps: sizes, dtype, and a fingerprint of channels and positions.

    Facts that were measured on the stack, such as shifts, are left out, and positions are rounded to a millionth of a
    voxel: they may differ in the last bit on another machine.
    """
    sha = hashlib.sha256()
    for name in ("channel", *grid.SPATIAL):
        if name not in da.coords:
            continue
        sha.update(f"{name}{da[name].dims}{da[name].attrs.get('units', '')}".encode())
        values = np.atleast_1d(da[name].values)
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
