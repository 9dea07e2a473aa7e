"""The one place where coordinates are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d.units import canonical_unit

SPATIAL = ("z", "y", "x")
_LONG_NAMES = {"z": "slice position", "y": "row position", "x": "column position"}


def regular(start: float, step: float, count: int) -> np.ndarray:
    """Return ``start + step * arange(count)`` in float64: equal grids are equal to the bit."""
    return np.asarray(start + step * np.arange(count, dtype=np.float64))


def coordinate(dim: str, values: Any, *, units: str, spacing: float | None = None) -> xr.Variable:
    """Return the coordinate of a spatial dim with its attrs set.

    Parameters
    ----------
    dim : {"z", "y", "x"}
    values : 1-D array
        Centres of the voxels.
    units : str
        Unit of length of `values`, ``"1"`` without calibration.
    spacing : float, optional
        Distance between voxels; by default measured on `values` (median), 1 for a single value.
    """
    # A copy: positions must not change with an array of the caller's.
    values = np.array(values, dtype=np.float64)
    if spacing is None:
        spacing = float(np.median(np.diff(values))) if values.size > 1 else 1.0
    attrs = {
        "units": canonical_unit(units),
        "axis": dim.upper(),
        "long_name": _LONG_NAMES[dim],
        "spacing": float(spacing),
    }
    return xr.Variable((dim,), values, attrs)


def variables_of(da: xr.DataArray) -> Mapping[Any, xr.Variable]:
    """Return the coordinates as variables: a tenth of the time of ``da[name]``, which sorts out those that go along."""
    found: Mapping[Any, xr.Variable] = da.coords.variables
    return found


def units_of(da: xr.DataArray, dim: str) -> str:
    """Return the unit of a spatial coordinate, ``"1"`` where there is none."""
    coord = variables_of(da).get(dim)
    return "1" if coord is None else str(coord.attrs.get("units", "1"))


def spacing_of(da: xr.DataArray, dim: str) -> float:
    """Return the distance between voxels along `dim`: the median step, or the `spacing` attr of a single voxel."""
    coord = variables_of(da).get(dim)
    if coord is None:
        return 1.0
    values = coord.values
    if values.size > 1:
        steps = np.diff(values)
        # A regular grid answers with the step it was built from, not with a rounded difference.
        attr = coord.attrs.get("spacing")
        median = _median(steps)
        # Far from the origin the difference of two positions is no better than the positions themselves.
        rounding = 4 * np.finfo(np.float64).eps * float(np.abs(values[[0, -1]]).max())
        near = attr is not None and abs(float(attr) - median) <= rounding + 1e-9 * abs(median)
        return float(attr) if attr is not None and near else median
    return float(coord.attrs.get("spacing", 1.0))


def _median(values: np.ndarray) -> float:
    """Return the median of a few numbers: a tenth of the time of numpy's, which sees to axes and subclasses."""
    ordered, middle = np.sort(values), values.size // 2
    if np.isnan(ordered[-1]):
        return float("nan")
    return float(ordered[middle] if values.size % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def is_uniform(values: np.ndarray, rtol: float = 1e-6) -> bool:
    """Return whether positions are evenly spaced, to `rtol` of the step."""
    if values.size < 3:
        return True
    steps = np.diff(values)
    mean = (values[-1] - values[0]) / (values.size - 1)
    return bool(np.all(np.abs(steps - mean) <= rtol * abs(mean)))


def bounds(values: np.ndarray, spacing: float) -> np.ndarray:
    """Return the n + 1 borders of the cells around positions: midpoints, and half a step beyond the ends."""
    if values.size == 1:
        return np.array([values[0] - spacing / 2, values[0] + spacing / 2])
    middle = (values[1:] + values[:-1]) / 2
    first = values[0] - (middle[0] - values[0])
    last = values[-1] + (values[-1] - middle[-1])
    return np.concatenate([[first], middle, [last]])


def with_coordinate(da: xr.DataArray, dim: str, values: Any, *, spacing: float | None = None) -> xr.DataArray:
    """Return `da` with new positions along a spatial dim, unit and attrs kept."""
    new = coordinate(dim, values, units=units_of(da, dim), spacing=spacing)
    if dim in da.coords:
        kept = {key: value for key, value in da[dim].attrs.items() if key not in ("units", "spacing")}
        new.attrs = {**new.attrs, **kept}
    return da.assign_coords({dim: new})


def extended(da: xr.DataArray, dim: str, first: int, count: int) -> xr.Variable:
    """Return `count` positions of the regular grid of `dim` from index `first`, which may lie before or beyond it.

    Positions that `da` has are kept to the bit.
    """
    own, spacing = da[dim].values, spacing_of(da, dim)
    index = np.arange(first, first + count)
    values = own[0] + spacing * index.astype(np.float64)
    shared = (index >= 0) & (index < own.size)
    values[shared] = own[index[shared]]
    new = coordinate(dim, values, units=units_of(da, dim), spacing=spacing)
    new.attrs = {**new.attrs, **{key: value for key, value in da[dim].attrs.items() if key not in ("units", "spacing")}}
    return new


@dataclass(frozen=True)
class Frame:
    """The pixel grid of a frame: what a matrix in pixels needs to be used on another grid."""

    shape: tuple[int, int]
    origin: tuple[float, float]
    spacing: tuple[float, float]
    units: str

    @classmethod
    def of(cls, da: xr.DataArray) -> Frame:
        """Return the frame of a stack; raises ValueError where y and x are not in the same unit."""
        if units_of(da, "y") != units_of(da, "x"):
            raise ValueError(
                f"y is in {units_of(da, 'y')!r} and x in {units_of(da, 'x')!r}; a frame needs both in the same unit"
            )
        origin = tuple(float(da[dim].values[0]) if dim in da.coords else 0.0 for dim in ("y", "x"))
        spacing = tuple(spacing_of(da, dim) for dim in ("y", "x"))
        return cls((da.sizes["y"], da.sizes["x"]), origin, spacing, units_of(da, "x"))  # type: ignore[arg-type]

    def to_physical(self) -> np.ndarray:
        """Return the 3 x 3 matrix from pixel (x, y, 1) to physical (x, y, 1) of this frame."""
        (dy, dx), (oy, ox) = self.spacing, self.origin
        return np.array([[dx, 0.0, ox], [0.0, dy, oy], [0.0, 0.0, 1.0]])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "shape": list(self.shape),
            "origin": list(self.origin),
            "spacing": list(self.spacing),
            "units": self.units,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Frame:
        """Return the frame that `to_dict` described."""
        return cls(tuple(values["shape"]), tuple(values["origin"]), tuple(values["spacing"]), values["units"])


def refreshed(da: xr.DataArray) -> xr.DataArray:
    """Return `da` with the ``spacing`` attr of each position true, after slices were taken out or moved."""
    for dim in SPATIAL:
        coord = variables_of(da).get(dim) if dim in da.dims else None
        if coord is not None and "spacing" in coord.attrs:
            spacing = spacing_of(da, dim)
            if spacing != coord.attrs["spacing"]:
                da = with_coordinate(da, dim, da[dim].values, spacing=spacing)
    return da
