"""The record of what was done: written by one decorator, read by `provenance`, used by `replay`."""

from __future__ import annotations

import functools
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

from stack3d import _calls, device, estimates, grid
from stack3d._records import ATTR, call_string, encode_value, provenance, signature_of
from stack3d._version import __version__
from stack3d._warn import warn
from stack3d.model import check_stack, in_native_order, result_dtype, with_loaded_facts

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Operation:
    """What the decorator knows of a public function."""

    name: str
    version: int
    function: Callable[..., Any]
    estimator: Callable[..., Any] | None = None
    dear: bool = False
    when: Callable[[Mapping[str, Any]], bool] | None = None

    def estimates(self, parameters: Mapping[str, Any]) -> bool:
        """Tell whether a call with these parameters makes an estimate of its own."""
        if self.estimator is None or parameters.get("estimate") is not None:
            return False
        return self.when is None or self.when(parameters)


OPERATIONS: dict[str, Operation] = {}
_inside: ContextVar[bool] = ContextVar("stack3d_inside_operation", default=False)
_keeper: ContextVar[Callable[..., xr.Dataset] | None] = ContextVar("stack3d_keeper_of_estimates", default=None)
_extra: ContextVar[Mapping[str, Any] | None] = ContextVar("stack3d_context_of_records", default=None)


@contextmanager
def _unrecorded() -> Any:
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


@contextmanager
def keeping_estimates(keeper: Callable[..., xr.Dataset]) -> Any:
    """Let ``keeper(estimator, da, parameters)`` make, or find again, the estimates that operations need here."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


@contextmanager
def noting(**context: Any) -> Any:
    """Add plain values to the context of the records made here; they take no part in a replay."""
    token = _extra.set({**(_extra.get() or {}), **context})
    try:
        yield
    finally:
        _extra.reset(token)


def operation(
    *,
    version: int,
    needs: Sequence[str] = (),
    estimator: Callable[..., Any] | None = None,
    dear: bool = False,
    check: Callable[..., Any] | None = None,
    when: Callable[[Mapping[str, Any]], bool] | None = None,
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
    dear : bool
        It takes so long that repeating it for an estimate is worth a warning; `f` gives its own name as the ``label``
        under which it runs.
    check : callable, optional
        ``check(**those arguments of the call that it names)`` raises for what `f` would refuse, before an estimate is
        made. Dtype and device are checked in any case.
    when : callable, optional
        Of the parameters of the call: whether an estimate is made where none was given (default: always).
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        name = function.__name__
        optional = "estimate" in signature.parameters and signature.parameters["estimate"].default is None

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = _calls.bound(name, signature, args, kwargs)
            given = set(bound.arguments)
            bound.apply_defaults()
            arguments = bound.arguments
            first, da = next(iter(arguments.items()))
            check_stack(da, needs=needs)
            da = arguments[first] = in_native_order(with_loaded_facts(da))
            if _inside.get():
                return function(*bound.args, **bound.kwargs)
            estimate_record = None
            _check_before(da, arguments, check)
            if estimator is not None and (arguments["estimate"] is not None or known.estimates(arguments)):
                estimate_record = _complete_estimate(name, estimator, da, arguments, given)
            elif estimator is None and "estimate" in arguments and not (optional and arguments["estimate"] is None):
                estimate_record = _travelling(_dataset(arguments["estimate"], "a Dataset of estimates"))
            with _unrecorded():
                result = function(*bound.args, **bound.kwargs)
            parameters = {key: value for key, value in list(arguments.items())[1:] if key != "estimate"}
            return _recorded(da, result, name, version, parameters, estimate_record)  # type: ignore[return-value]

        known = OPERATIONS[name] = Operation(name, version, wrapper, estimator, dear, when)
        return wrapper

    return decorate


def estimator(*, version: int, needs: Sequence[str] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make ``estimate_X(da, *, ...) -> Dataset`` carry the record of how it was made."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = _calls.bound(function.__name__, signature, args, kwargs)
            bound.apply_defaults()
            first, da = next(iter(bound.arguments.items()))
            check_stack(da, needs=needs)
            _warn_of_repeats(function.__name__, da)
            da = bound.arguments[first] = in_native_order(with_loaded_facts(da))
            with _unrecorded():
                result = function(*bound.args, **bound.kwargs)
            parameters = dict(list(bound.arguments.items())[1:])
            record = _record(function.__name__, version, parameters)
            result.attrs[ATTR] = json.dumps([*provenance(da), record])  # type: ignore[attr-defined]
            return result

        return wrapper

    return decorate


def _check_before(da: xr.DataArray, arguments: Mapping[str, Any], check: Callable[..., Any] | None) -> None:
    if "dtype" in arguments:
        result_dtype(arguments["dtype"], da)
    if "device" in arguments:
        device.resolve(arguments["device"])
    if check is not None:
        check(**{name: arguments[name] for name in inspect.signature(check).parameters})


class RepeatedWorkWarning(UserWarning):
    """An estimate does a step again that takes long, and so will every later use of the stack."""


def dear_steps(da: xr.DataArray) -> list[str]:
    """Return the steps that take long and that are done again whenever this lazy stack is computed."""
    if da.chunks is None:
        return []
    layers = {str(name).rpartition("-")[0] for name in da.__dask_graph__().layers}
    return sorted(name for name, known in OPERATIONS.items() if known.dear and name.replace("_", "-") in layers)


def _warn_of_repeats(name: str, da: xr.DataArray) -> None:
    again = dear_steps(da)
    if again:
        warn(
            f"{name} does {', '.join(again)} again for every frame, and so will what follows; "
            "da.stack3d.checkpoint(path) before it writes the result once",
            RepeatedWorkWarning,
        )


def _complete_estimate(
    name: str, estimator: Callable[..., Any], da: xr.DataArray, arguments: dict[str, Any], given: set[str]
) -> dict[str, Any]:
    takes = [key for key in list(inspect.signature(estimator).parameters)[1:] if key in arguments]
    if arguments["estimate"] is None:
        parameters = {key: arguments[key] for key in takes}
        keeper = _keeper.get()
        made = estimator(da, **parameters) if keeper is None else keeper(estimator, da, parameters)
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
    result = with_loaded_facts(grid.refreshed(result)).copy(deep=False)
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
            **(_extra.get() or {}),
        },
    }
