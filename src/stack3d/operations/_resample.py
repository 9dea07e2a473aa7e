"""Resampling to another grid: even slices from the true positions, other pixel sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import operation
from stack3d.execution import Kernel, map_frames
from stack3d.grid import bounds, coordinate, regular, spacing_of, units_of
from stack3d.model import rebuild, result_dtype
from stack3d.operations import _exact, _grey
from stack3d.operations._along_z import Weights, nearest_of, slice_facts, windows_of
from stack3d.units import Length, parse_length
from stack3d.windows import map_windows

Method = Literal["linear", "nearest", "cubic"]
_METHODS = ("linear", "nearest", "cubic")
# Slices at about the distance asked for are interpolated: jitter of their positions is no change of scale.
_COARSER = 1.05


@operation(version=2)
def resample(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    dz: Length | None = None,
    dy: Length | None = None,
    dx: Length | None = None,
    z: Sequence[Length] | xr.DataArray | None = None,
    method: Method = "linear",
    antialias: bool = True,
    dtype: Any = None,
) -> xr.DataArray:
    """Resample a stack to even slices, or to another pixel size.

    Slices are taken at their true positions, the z coordinate, however uneven. Where the new distance between slices
    is larger than the old, each new slice is the average of the old ones weighted by the thickness they share with
    it, so that no slice is lost; the same holds along y and x.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    estimate : Dataset, optional
        Of kind ``"thickness"``, as made by `estimate_thickness`: its positions are taken for those of the slices, and
        their unit for that of z. With ``z=estimate["position"]`` slices get these positions and stay as they are.
    dz, dy, dx : float or str, optional
        New distance between voxels: a number in the unit of the coordinate, or such as ``"10 nm"`` or ``"2 px"``.
        If none is given and `z` neither, the slices are made even at their median distance.
    z : sequence of float or str, optional
        New slice positions instead of `dz`, strictly increasing and within the stack: numbers in the unit of the
        coordinate, or such as ``"0.5 um"``.
    method : {"linear", "nearest", "cubic"}
        Along z: between the two slices on either side; the slice nearest in position; or a cubic polynomial through
        the four slices around, at their true positions. Frames are interpolated linearly, or taken from the nearest
        pixel with ``"nearest"`` (labels, masks).
    antialias : bool
        False: interpolate also where the new grid is coarser.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range.

    Returns
    -------
    DataArray
        Lazy where `da` is. z runs from the first position in steps of `dz` up to the last one (included where it is
        met); where it gets coarser, by more than 5 %, the new slices begin at the outer edge of the first, and the last is
        one at least half of which holds data; less than that is averaged into the slice before. y and x likewise.
        Of the facts known of each slice, numbers are interpolated, flags taken from any slice used, others from the
        nearest. A pixel is missing (NaN) where its nearest input is.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.

    Notes
    -----
    Interpolating linearly half-way between two slices lowers uncorrelated noise by 3 dB, and on a slice not at all.

    Examples
    --------
    >>> thin = stack.stack3d.resample(dz="10 nm")
    >>> thin.z.values[:3]
    array([ 0., 10., 20.])
    """
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {_METHODS}")
    _grey.check_flag(antialias, "antialias")
    if z is not None and dz is not None:
        raise ValueError(f"dz={dz!r} and z= both give slice positions; give one")
    if estimate is not None:
        da = _placed(da, estimate)
    if "z" not in da.dims and (dz is not None or z is not None):
        raise ValueError(f"dz or z given, but the stack has dims {da.dims}")
    if z is None and dz is dy is dx is None:
        if "z" not in da.dims:
            raise ValueError("give dy or dx: the stack has no z to make even")
        dz = spacing_of(da, "z")
    out_dtype = result_dtype(dtype, da)
    frames_too = dy is not None or dx is not None
    result = da
    if dz is not None or z is not None:
        between = np.dtype("float32") if frames_too and method != "nearest" and out_dtype.itemsize < 4 else out_dtype
        result = _along_z(da, *_positions(da, dz, z, method, antialias), method, antialias, between)
    if frames_too:
        result = _in_frames(result, dy, dx, method, antialias, out_dtype)
    return result


def _placed(da: xr.DataArray, estimate: xr.Dataset) -> xr.DataArray:
    """Return `da` with its slices at the positions of an estimate."""
    found = estimates.at_slices(estimates.check(estimate, "thickness"), da)
    if "z" not in da.dims:
        raise ValueError(f"estimate gives slice positions, but the stack has dims {da.dims}")
    position = found["position"]
    if position.sizes["z"] != da.sizes["z"]:
        raise ValueError(f"estimate has {position.sizes['z']} slices, the stack {da.sizes['z']}")
    if not np.all(np.diff(position.values) > 0) or not np.all(np.isfinite(position.values)):
        raise ValueError("estimate: its positions must be finite and strictly increasing")
    return da.assign_coords(z=coordinate("z", position.values, units=str(position.attrs.get("units", "1"))))


def _is_coarser(step: float, spacing: float, method: Method, antialias: bool) -> bool:
    """Return whether new voxels are so much larger that several old ones are averaged."""
    return antialias and method != "nearest" and step > _COARSER * spacing


def _positions(
    da: xr.DataArray, dz: Length | None, z: Any, method: Method, antialias: bool
) -> tuple[np.ndarray, float]:
    """Return the new slice positions and the distance between them."""
    old, unit, spacing = da["z"].values.astype(np.float64), units_of(da, "z"), spacing_of(da, "z")
    if z is not None:
        texts = isinstance(z, list | tuple) and any(isinstance(place, str) for place in z)
        try:
            new = np.asarray(
                [parse_length(place, unit=unit, spacing=spacing, name="z") for place in z] if texts else z, np.float64
            )
        except (TypeError, ValueError) as error:
            if texts:
                raise
            raise TypeError(f"z={z!r} must be a list of positions: numbers, or lengths such as '0.5 um'") from error
        if new.ndim != 1 or new.size == 0 or not np.all(np.isfinite(new)) or np.any(np.diff(new) <= 0):
            raise ValueError(f"z={z!r} must be a list of strictly increasing positions")
        margin = 1e-9 * max(abs(old[0]), abs(old[-1]), spacing)
        if new[0] < old[0] - margin or new[-1] > old[-1] + margin:
            raise ValueError(
                f"z runs from {new[0]:g} to {new[-1]:g}, beyond the stack's {old[0]:g} to {old[-1]:g} {unit}"
            )
        return new, float(np.median(np.diff(new))) if new.size > 1 else spacing
    step = _step(dz, unit, spacing, "dz")
    _check_step(step, old, spacing, dz, "dz", unit)
    if _is_coarser(step, spacing, method, antialias):
        # Cells of the new slices begin at the outer edge of the first.
        edges = bounds(old, spacing)
        return regular(float(edges[0]) + step / 2, step, _half_filled((edges[-1] - edges[0]) / step)), step
    _check_count((old[-1] - old[0]) / step, old.size, dz, "dz", spacing, unit)
    # A last position met but for rounding counts as met.
    return regular(float(old[0]), step, int(np.floor((old[-1] - old[0]) / step * (1 + 1e-12) + 1e-6)) + 1), step


def _half_filled(cells: float) -> int:
    """Return how many cells of a new grid hold data in at least half of their length; a half but for rounding counts."""
    return max(1, int(np.floor(cells * (1 + 1e-12) + 0.5 + 1e-6)))


def _check_count(wanted: float, have: int, value: Any, name: str, spacing: float, unit: str) -> None:
    if wanted > 1000 * max(have, 10):
        raise ValueError(
            f"{name}={value!r} would make {wanted:.3g} voxels of {have}; voxels are {spacing:g} {unit} apart now. Is the unit right?"
        )


def _check_step(step: float, old: np.ndarray, spacing: float, value: Any, name: str, unit: str) -> None:
    edges = bounds(old, spacing)
    whole = float(edges[-1] - edges[0])
    if old.size > 1 and step > whole * (1 + 1e-9):
        raise ValueError(
            f"{name}={value!r} is more than the whole stack along {name[1]}, which is {whole:g} {unit}. Is the unit right?"
        )


def _step(value: Length | None, unit: str, spacing: float, name: str) -> float:
    step = parse_length(value, unit=unit, spacing=spacing, name=name)  # type: ignore[arg-type]
    if not np.isfinite(step) or step <= 0:
        raise ValueError(f"{name}={value!r} must be a positive length")
    return step


def _along_z(
    da: xr.DataArray, new: np.ndarray, step: float, method: Method, antialias: bool, dtype: np.dtype[Any]
) -> xr.DataArray:
    old = da["z"].values.astype(np.float64)
    spacing = spacing_of(da, "z")
    weights = _z_weights(old, new, spacing, step, method, antialias)
    coarser = _is_coarser(step, spacing, method, antialias)
    coords: dict[str, Any] = dict(slice_facts(da, weights))
    coords["z"] = coordinate("z", new, units=units_of(da, "z"), spacing=step)
    if "mask" in da.coords and "z" in da["mask"].dims:
        coords["mask"] = da["mask"].isel(z=nearest_of(weights)).variable
    data = map_windows(
        _exact.source(da),  # weighted in float32 as well
        _blended,
        windows_of(weights),
        arguments={"dtype": dtype, "missing": "all" if coarser else "nearest"},
        per_output={"weights": [values for _, values in weights]},
        dtype=dtype,
        label="resample",
    )
    return rebuild(
        da, data, coords, drop=[name for name, c in da.coords.items() if name not in coords and "z" in c.dims]
    )


def _z_weights(
    old: np.ndarray, new: np.ndarray, spacing: float, step: float, method: Method, antialias: bool
) -> Weights:
    if old.size == 1:
        return [(0, np.ones(1, np.float32))] * new.size
    if method == "nearest":
        return kernels.zweights.nearest_weights(old, new)
    if _is_coarser(step, spacing, method, antialias):
        return kernels.zweights.area_weights(bounds(old, spacing), _cells(new, step, bounds(old, spacing)))
    by = kernels.zweights.linear_weights if method == "linear" else kernels.zweights.cubic_weights
    return by(old, new)


def _cells(new: np.ndarray, step: float, edges: np.ndarray) -> np.ndarray:
    """Return the borders of new cells; those at the ends reach to the ends of the stack, so that nothing is lost."""
    borders = bounds(new, step)
    borders[0], borders[-1] = min(borders[0], edges[0]), max(borders[-1], edges[-1])
    return borders


def _blended(
    frames: list[np.ndarray], weights: np.ndarray, dtype: np.dtype[Any], missing: str
) -> tuple[np.ndarray, int]:
    return kernels.blend.blend_frames(frames, weights, dtype, missing=missing)


def _in_frames(
    da: xr.DataArray, dy: Length | None, dx: Length | None, method: Method, antialias: bool, dtype: np.dtype[Any]
) -> xr.DataArray:
    coords: dict[str, Any] = {}
    weights: dict[str, Weights] = {}
    for dim, value in (("y", dy), ("x", dx)):
        old, spacing = da[dim].values.astype(np.float64), spacing_of(da, dim)
        if value is None:
            weights[dim] = [(k, np.ones(1, np.float32)) for k in range(old.size)]
            continue
        step = _step(value, units_of(da, dim), spacing, f"d{dim}")
        _check_step(step, old, spacing, value, f"d{dim}", units_of(da, dim))
        edges = bounds(old, spacing)
        # The new cells begin at the outer edge of the frame.
        _check_count((edges[-1] - edges[0]) / step, old.size, value, f"d{dim}", spacing, units_of(da, dim))
        new = regular(float(edges[0]) + step / 2, step, _half_filled((edges[-1] - edges[0]) / step))
        coords[dim] = coordinate(dim, new, units=units_of(da, dim), spacing=step)
        weights[dim] = _frame_weights(old, new, edges, spacing, step, method, antialias)
    nearest = {dim: nearest_of(weights[dim]) for dim in weights}
    facts = [name for name, c in da.coords.items() if name not in ("y", "x", "mask") and set(c.dims) & {"y", "x"}]
    if "mask" in da.coords:
        coords["mask"] = da["mask"].isel(nearest).variable
    kernel: Kernel
    rows_and_cols: tuple[Any, Any]
    if method == "nearest":
        kernel, rows_and_cols = _picked, (nearest["y"], nearest["x"])
    else:
        kernel, rows_and_cols = _regridded, (weights["y"], weights["x"])
    shape = (len(weights["y"]), len(weights["x"]))
    arguments = {"rows": rows_and_cols[0], "cols": rows_and_cols[1], "dtype": dtype}
    data = map_frames(da, kernel, arguments=arguments, shape=shape, dtype=dtype, label="resample")
    return rebuild(da, data, coords, drop=facts)


def _frame_weights(
    old: np.ndarray, new: np.ndarray, edges: np.ndarray, spacing: float, step: float, method: Method, antialias: bool
) -> Weights:
    inside = np.clip(new, old[0], old[-1])
    if old.size == 1:
        return [(0, np.ones(1, np.float32))] * new.size
    if method == "nearest":
        return kernels.zweights.nearest_weights(old, inside)
    if _is_coarser(step, spacing, method, antialias):
        return kernels.zweights.area_weights(edges, _cells(new, step, edges))
    return kernels.zweights.linear_weights(old, inside)


def _regridded(frame: np.ndarray, rows: Weights, cols: Weights, dtype: np.dtype[Any]) -> tuple[np.ndarray, int]:
    return kernels.regrid.area_frame(frame, rows, cols, dtype)


def _picked(frame: np.ndarray, rows: np.ndarray, cols: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, int]:
    return kernels.cast.cast_frame(frame[rows[:, None], cols], dtype)
