"""What two stacks have in common, and what one stack must be."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import vocabulary
from stack3d._records import ATTR
from stack3d.device import to_host
from stack3d.grid import SPATIAL
from stack3d.model import check_stack
from stack3d.units import canonical_unit

__all__ = ["assert_stack_equal", "assert_valid_stack"]

# Time and version of a line of history.
_STAMP = re.compile(r"^\S+Z stack3d \S+: ", re.MULTILINE)


def assert_stack_equal(
    a: xr.DataArray | xr.Dataset, b: xr.DataArray | xr.Dataset, *, tolerance: float = 0.0, check_attrs: bool = True
) -> None:
    """Assert that two stacks, or two estimates, are the same but for when and where they were made.

    Parameters
    ----------
    a, b : DataArray or Dataset
        Both stacks or both estimates; lazy ones are computed.
    tolerance : float
        Largest difference between values (not coordinates) that is allowed. By default none is; missing pixels (NaN)
        equal each other.
    check_attrs : bool
        Compare attrs and the name too. Of the provenance, operations, versions, parameters and estimates are
        compared, not the context (time, host, libraries); of the history, what stands after time and version.

    Raises
    ------
    AssertionError
        Naming the first difference in type, dims, sizes, dtype, coordinates, values or attrs, in this order.

    Examples
    --------
    >>> from stack3d.testing import assert_stack_equal
    >>> assert_stack_equal(stack.stack3d.invert(), stack.chunk(z=1).stack3d.invert())
    >>> assert_stack_equal(stack, stack + 1)
    Traceback (most recent call last):
    AssertionError: values of 'image' differ in 24576 of 24576 places, first at z=0, y=0, x=0: ...
    """
    if isinstance(a, xr.DataArray) != isinstance(b, xr.DataArray):
        raise AssertionError(f"one is a {type(a).__name__}, the other a {type(b).__name__}")
    if isinstance(a, xr.DataArray) and isinstance(b, xr.DataArray):
        if a.name != b.name and check_attrs:
            raise AssertionError(f"names differ: {a.name!r} and {b.name!r}")
        label = repr(a.name or "the stack")
        _assert_names(a.coords, b.coords, "coordinates")
        for key in a.coords:
            _assert_variable(a.coords[key].variable, b.coords[key].variable, f"coordinate {key!r}", 0.0, check_attrs)
        _assert_variable(a.variable, b.variable, label, tolerance, check_attrs)
        return
    assert isinstance(a, xr.Dataset)
    assert isinstance(b, xr.Dataset)
    _assert_names(a.coords, b.coords, "coordinates")
    _assert_names(a.data_vars, b.data_vars, "variables")
    for key in a.variables:
        allowed = 0.0 if key in a.coords else tolerance
        _assert_variable(a.variables[key], b.variables[key], repr(key), allowed, check_attrs)
    if check_attrs:
        _assert_attrs(a.attrs, b.attrs, "the estimate")


def assert_valid_stack(da: xr.DataArray, *, name: str = "da") -> None:
    """Assert that an array is a stack in every detail.

    Parameters
    ----------
    da : DataArray
        Nothing is computed.
    name : str
        Name of the stack in the error.

    Raises
    ------
    AssertionError
        When dims or dtype are not those of a stack; when a position is not float64, does not increase, or has no
        ``units`` or no true ``spacing`` among its attrs (a stack without coordinates is one that is not calibrated);
        when an attr, of the stack or a coordinate, is none that every file format takes.

    Examples
    --------
    >>> from stack3d.testing import assert_valid_stack
    >>> assert_valid_stack(stack)
    >>> thinned = stack.isel(z=slice(None, None, 2))
    >>> assert_valid_stack(thinned)
    Traceback (most recent call last):
    AssertionError: coordinate 'z' of da has spacing 20.0, but its positions lie 40 apart
    """
    try:
        check_stack(da, name=name)
        vocabulary.validate(da.attrs)
    except (TypeError, ValueError) as error:
        raise AssertionError(str(error)) from error
    for dim in SPATIAL:
        if dim in da.coords:
            _assert_positions(da.coords[dim], f"coordinate {dim!r} of {name}")
    for key, coord in da.coords.items():
        try:
            # Words of the vocabulary are those of the stack; a coordinate has attrs of its own.
            vocabulary.validate({f"attr {attr}": value for attr, value in coord.attrs.items()})
        except (TypeError, ValueError) as error:
            raise AssertionError(f"coordinate {key!r} of {name}: {error}") from error


def _assert_positions(coord: xr.DataArray, where: str) -> None:
    if coord.dtype != np.float64:
        raise AssertionError(f"{where} has dtype {coord.dtype}; positions are float64")
    missing = [key for key in ("units", "spacing") if key not in coord.attrs]
    if missing:
        raise AssertionError(f"{where} lacks the attrs {', '.join(missing)}")
    try:
        canonical_unit(coord.attrs["units"])
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{where}: {error}") from error
    spacing = coord.attrs["spacing"]
    if not isinstance(spacing, float) or not np.isfinite(spacing) or spacing <= 0:
        raise AssertionError(f"{where} has spacing {spacing!r}; it must be a positive float")
    if coord.size > 1:
        step = float(np.median(np.diff(coord.values)))
        rounding = 4 * np.finfo(np.float64).eps * float(np.abs(coord.values[[0, -1]]).max())
        if not np.isclose(spacing, step, rtol=1e-6, atol=rounding):
            raise AssertionError(f"{where} has spacing {spacing}, but its positions lie {step:g} apart")


def _assert_names(a: Mapping[Hashable, Any], b: Mapping[Hashable, Any], what: str) -> None:
    only_a, only_b = sorted(map(repr, set(a) - set(b))), sorted(map(repr, set(b) - set(a)))
    if only_a or only_b:
        shown = [f"{', '.join(n)} only in the {side}" for n, side in ((only_a, "first"), (only_b, "second")) if n]
        raise AssertionError(f"{what} differ: {'; '.join(shown)}")


def _assert_variable(a: xr.Variable, b: xr.Variable, label: str, tolerance: float, check_attrs: bool) -> None:
    for what in ("dims", "shape", "dtype"):
        found, expected = getattr(a, what), getattr(b, what)
        # Strings are as wide as their longest.
        same_kind = what == "dtype" and found.kind in "OUT" and expected.kind in "OUT"
        if found != expected and not same_kind:
            raise AssertionError(f"{what} of {label} differ: {found} and {expected}")
    _assert_values(_in_memory(a), _in_memory(b), a.dims, label, tolerance)
    if check_attrs:
        _assert_attrs(a.attrs, b.attrs, label)


def _in_memory(variable: xr.Variable) -> np.ndarray:
    data = variable.data
    return np.asarray(to_host(data.compute() if hasattr(data, "dask") else data))


def _assert_values(a: np.ndarray, b: np.ndarray, dims: tuple[Hashable, ...], label: str, tolerance: float) -> None:
    different = np.asarray(a != b)
    if a.dtype.kind == "f":
        different &= ~(np.isnan(a) & np.isnan(b))
    if tolerance > 0 and a.dtype.kind in "buif":
        with np.errstate(invalid="ignore"):
            distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
        different &= ~(distance <= tolerance)
    if not different.any():
        return
    first = tuple(int(k) for k in np.argwhere(different)[0])
    place = ", ".join(f"{dim}={k}" for dim, k in zip(dims, first, strict=True))
    raise AssertionError(
        f"values of {label} differ in {np.count_nonzero(different)} of {different.size} places"
        + (f", first at {place}" if place else "")
        + f": {a[first]} and {b[first]}"
    )


def _assert_attrs(a: Mapping[Any, Any], b: Mapping[Any, Any], label: str) -> None:
    found, expected = lasting(dict(a)), lasting(dict(b))
    _assert_names(found, expected, f"attrs of {label}")
    for key, value in found.items():
        other = expected[key]
        # Numbers come back from files as those of numpy, which are none the worse.
        same = isinstance(value, str | list) == isinstance(other, str | list) and (
            value == other if isinstance(value, str | list) else _same_numbers(np.asarray(value), np.asarray(other))
        )
        if not same:
            raise AssertionError(f"attr {key!r} of {label} differs: {value!r} and {other!r}")


def _same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    numeric = a.dtype.kind in "iuf" and b.dtype.kind in "iuf"
    return bool(np.array_equal(a, b, equal_nan=numeric))


def lasting(content: Any) -> Any:
    """Return attrs (or records) without what depends on time, host and versions of libraries."""
    if isinstance(content, list):
        return [lasting(item) for item in content]
    if not isinstance(content, dict):
        return content
    kept = {}
    for key, value in content.items():
        if key == ATTR and isinstance(value, str):
            kept[key] = lasting(json.loads(value))
        elif key == "history" and isinstance(value, str):
            kept[key] = _STAMP.sub("", value)
        elif not (key == "context" and "operation" in content):
            kept[key] = lasting(value)
    return kept
