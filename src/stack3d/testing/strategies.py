"""Strategies for `hypothesis`: small stacks that are valid in every way a stack can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import strategies as st

from stack3d.model import from_array

__all__ = ["stacks"]

_GAINS = np.array([1.0, 2.0])
_SIZES = {"z": (1, 5), "y": (2, 12), "x": (2, 12)}


def stacks(
    *,
    dtypes: Sequence[Any] = ("uint8", "uint16", "int16", "float32"),
    channels: Sequence[int] = (0, 1, 2),
    sizes: Mapping[str, tuple[int, int]] | None = None,
    uneven_z: bool | None = None,
    nan: bool | None = False,
    mask: bool | None = False,
    valid: bool | None = None,
) -> st.SearchStrategy[xr.DataArray]:
    """Return a strategy that makes small stacks.

    Parameters
    ----------
    dtypes : sequence of dtype
        Integers or floats. Values of integers lie anywhere in their range, those of floats between 0 and 1.
    channels : sequence of int
        Numbers of channels; 0 is a stack without that dim.
    sizes : mapping, optional
        Least and largest size along ``"z"``, ``"y"`` and ``"x"``, by default (1, 5), (2, 12) and (2, 12); with
        ``"z": None`` frames (y, x).
    uneven_z, nan, mask, valid : bool or None
        Whether slices lie at uneven positions, whether pixels of float stacks are missing (NaN, at least one measured
        in each frame), whether there is a coordinate ``mask`` (True: measured), and one ``valid`` along z (at least
        one slice is good). None: both occur.

    Returns
    -------
    SearchStrategy
        Of DataArrays in memory with positions in nm or um, or none calibrated (unit ``"1"``), beginning anywhere; some
        have ``slice_number`` or ``working_distance`` along z, and attrs.

    Raises
    ------
    ValueError
        When `sizes` has a name or a range that is not allowed.

    Examples
    --------
    >>> from hypothesis import given
    >>> from stack3d.testing import assert_contract
    >>> from stack3d.testing.strategies import stacks
    >>> @given(stacks(channels=[0], nan=True))
    ... def test_inverting_keeps_the_contract(da):
    ...     assert_contract(stack3d.invert, da)
    """
    limits: dict[str, Any] = {**_SIZES, **(sizes or {})}
    if set(limits) != set(_SIZES):
        raise ValueError(f"sizes={sizes!r} must have keys among 'z', 'y' and 'x'")
    for dim, limit in limits.items():
        if limit is None and dim == "z":
            continue
        if np.shape(limit) != (2,) or not 1 <= limit[0] <= limit[1]:
            raise ValueError(f"sizes[{dim!r}]={limit!r} must be (least, largest) with 1 <= least <= largest")
    if limits["z"] is None and any(channels):
        raise ValueError(f"channels={channels!r} with sizes['z'] None: frames have no channels; use channels=[0]")
    return _stacks(
        tuple(dtypes), tuple(channels), limits, {"uneven_z": uneven_z, "nan": nan, "mask": mask, "valid": valid}
    )


@st.composite
def _stacks(
    draw: st.DrawFn, dtypes: Any, channels: Any, limits: dict[str, Any], wanted: dict[str, bool | None]
) -> xr.DataArray:
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    count = draw(st.sampled_from(channels))
    shape = tuple(draw(st.integers(*limit)) for limit in limits.values() if limit is not None)
    shape = (count, *shape) if count else shape
    on = {name: draw(st.booleans()) if choice is None else choice for name, choice in wanted.items()}
    # One seed instead of a value a voxel: draws stay fast, and shrinking goes for the shape.
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    da = _labelled(draw, _values(rng, shape, dtype), on["uneven_z"], rng)
    if on["nan"] and dtype.kind == "f":
        measured = _some(rng, shape, axes=(-2, -1))
        da = da.where(xr.DataArray(measured, dims=da.dims), np.asarray(np.nan, dtype))
    if on["mask"]:
        da = da.assign_coords(mask=(da.dims, _some(rng, shape, axes=(-2, -1))))
    if "z" not in da.dims:
        return da
    slices = da.sizes["z"]
    if on["valid"]:
        da = da.assign_coords(valid=("z", _some(rng, (slices,), axes=(0,))))
    if draw(st.booleans()):
        da = da.assign_coords(slice_number=("z", np.cumsum(rng.integers(1, 3, slices))))
    if draw(st.booleans()):
        da = da.assign_coords(working_distance=("z", rng.uniform(4.9, 5.1, slices), {"units": "mm"}))
    return da


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return structure with grain: neither flat nor plain noise."""
    waves = sum(np.sin(rng.uniform(0.2, 1.5) * index + rng.uniform(0, 6)) for index in np.indices(shape))
    values = waves + rng.normal(0, 0.3, shape)
    span = np.ptp(values)
    unit = (values - values.min()) / (span if span > 0 else 1.0)
    if dtype.kind == "f":
        return np.asarray(unit, dtype=dtype)
    low, high = np.sort(rng.uniform(0, 1, 2))
    limits = np.iinfo(dtype)
    levels = limits.min + (low + (high - low) * unit) * (float(limits.max) - limits.min)
    return np.asarray(np.rint(levels).clip(limits.min, limits.max), dtype=dtype)


def _labelled(draw: st.DrawFn, values: np.ndarray, uneven: bool, rng: np.random.Generator) -> xr.DataArray:
    unit = draw(st.sampled_from(["nm", "um", "1"]))
    names = [f"detector {k}" for k in range(values.shape[0])] if values.ndim == 4 else None
    attrs: dict[str, Any] = draw(st.sampled_from([{}, {"instrument": "A", "beam_current": 50.0}, {"gains": _GAINS}]))
    scale = {"nm": 1.0, "um": 1e-3, "1": 0.2}[unit]
    pixel = tuple(scale * step for step in draw(st.sampled_from([(20.0, 5.0, 5.0), (8.0, 4.0, 3.0)])))
    if unit == "1":
        da = from_array(values, pixel_size=None, channel=names, attrs=attrs)
    else:
        da = from_array(values, pixel_size=pixel[-min(values.ndim, 3) :], channel=names, units=unit, attrs=attrs)
    start = draw(st.sampled_from([0.0, 130.0, -70.0]))
    moved: dict[str, Any] = {}
    for dim in ("z", "y", "x"):
        if dim in da.coords:
            place = da[dim].values
            step = float(da[dim].attrs["spacing"])
            if dim == "z" and uneven:
                place = np.cumsum(rng.uniform(0.6, 1.4, place.size)) * step
                step = float(np.median(np.diff(place))) if place.size > 1 else step
            moved[dim] = (dim, start * step + place, {**da[dim].attrs, "spacing": step})
    return da.assign_coords(moved)


def _some(rng: np.random.Generator, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Return flags, most of them True and at least one along `axes`."""
    flags: np.ndarray = rng.random(shape) < 0.8
    return np.asarray(flags | ~np.any(flags, axis=axes, keepdims=True))
