"""Everything that is wrong with a recipe, before any work: names, parameters, and how they fit a stack."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stack3d import progress
from stack3d._provenance import OPERATIONS
from stack3d._words import like

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

# They move pixels and compute none, so that integers pass through them unrounded.
EXACT = frozenset({"crop", "flip", "reslice"})
# How an operation says that it will not have something.
REFUSALS = (ValueError, TypeError, ImportError, KeyError, OSError, RuntimeError)


def problems(recipe: Recipe, da: xr.DataArray | None, carried: bool = False) -> list[str]:
    """Return a line for each problem; no frame of `da` is read.

    `carried`: pixels are floats between the steps, as `run` has them.
    """
    found: dict[int, list[str]] = {number: _of_names(recipe, number) for number in range(len(recipe.steps))}
    if da is not None:
        for number, message in _of_values(recipe, da, carried):
            found[number].append(message)
    return [*recipe._faults, *(line for lines in found.values() for line in lines)]


def _of_names(recipe: Recipe, number: int) -> list[str]:
    step = recipe.steps[number]
    known = OPERATIONS.get(step.operation)
    if not step.operation and recipe._faults:
        return []  # that it has no name is among the faults
    if known is None:
        return [f"{recipe.where(number, 'operation')}: no operation has this name{like(step.operation, OPERATIONS)}"]
    allowed = dict(list(inspect.signature(known.function).parameters.items())[1:])
    lines = []
    for key in step.parameters:
        if key not in allowed:
            hint = like(key, allowed) or f"; it takes {', '.join(allowed)}"
            lines.append(f"{recipe.where(number, key)}: there is no parameter {key!r}{hint}")
    for key, parameter in allowed.items():
        if (
            parameter.default is inspect.Parameter.empty
            and key not in step.parameters
            and (number, key) not in recipe._unread
        ):
            lines.append(f"{recipe.where(number)}: the parameter {key!r} is needed")
    return lines


def _of_values(recipe: Recipe, da: xr.DataArray, carried: bool) -> list[tuple[int, str]]:
    lines = []
    if da.chunks is None:
        da = da.chunk(dict.fromkeys(da.dims[:-2], 1))
    with progress.refusing_work(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, step in enumerate(recipe.steps):
            known = OPERATIONS.get(step.operation)
            if known is None:
                continue
            allowed = list(inspect.signature(known.function).parameters.values())[1:]
            if carried and step.operation not in EXACT and da.dtype.kind in "uib":
                da, carried = da.astype(np.float32), False
            given = {p.name: step.parameters[p.name] for p in allowed if p.name in step.parameters}
            needed = [p.name for p in allowed if p.default is inspect.Parameter.empty]
            absent = [name for name in needed if name not in given]
            if not _stood_in_for(step.operation, absent, given, da):
                continue
            # After a step that is wrong, the later ones are tried on what it was given.
            result, wrong = _tried(known.function, da, given, needed)
            da = da if absent else result
            lines += [(number, f"{recipe.where(number, key)}: {text}") for key, text in wrong if key not in absent]
    return lines


def _stood_in_for(operation: str, absent: Sequence[str], given: dict[str, Any], da: xr.DataArray) -> bool:
    """Give parameters that are needed and not there values that do nothing, so that the others can be tried."""
    for name in absent:
        make = _STAND_INS.get((operation, name))
        if make is None:
            return False
        try:
            given[name] = make(da)
        except REFUSALS:
            return False
    return True


def _unmoved(da: xr.DataArray) -> xr.Dataset:
    from stack3d.transforms import from_shifts

    return from_shifts(da, shift_y=np.zeros(da.sizes["z"]))


_STAND_INS: dict[tuple[str, str], Callable[[xr.DataArray], Any]] = {
    ("apply_transforms", "estimate"): _unmoved,
    ("astype", "dtype"): lambda da: str(da.dtype),
}


def _tried(
    function: Callable[..., xr.DataArray], da: xr.DataArray, given: Mapping[str, Any], needed: Sequence[str]
) -> tuple[xr.DataArray, list[tuple[str | None, str]]]:
    """Return what a step makes, or its input, and all that it refuses: parameter and what it says.

    An operation stops at the first parameter it will not have. So that one is left out, and it is tried again.
    """
    wrong: list[tuple[str | None, str]] = []
    left: dict[str, Any] = dict(given)
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    gone: list[str] = []
    while True:
        try:
            result = function(da, **left)
        except progress.WorkRefused:
            # What an estimate needs is right. Its result is not known yet: the later steps are tried on its input.
            kind = left.get("dtype")
            return (da if wrong or kind is None else da.astype(kind)), wrong
        except REFUSALS as error:
            text = str(error)
            # One that only shows because another was left out is none.
            if not any(f"{key}={defaults[key]!r}" in text for key in gone):
                wrong.append((_named(text, given), text))
            key = _named(text, left)
            if key is None or key in needed:
                return da, wrong
            del left[key]
            gone.append(key)
        else:
            return (da if wrong else result), wrong


def _named(text: str, keys: Iterable[str]) -> str | None:
    """Return the parameter that a message names first."""
    places = {key: found.start() for key in keys if (found := re.search(rf"(?<!\w){key}=", text))}
    return min(places, key=places.__getitem__) if places else None
