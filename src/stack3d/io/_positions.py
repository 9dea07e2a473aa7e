"""Where the voxels are: what the user gave, then what the names and the files say, then plain counting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.units import canonical_unit, conversion_factor, parse_length


@dataclass(frozen=True)
class Calibration:
    """Voxel size that a file states: lengths by dim, each in its own unit."""

    sizes: dict[str, tuple[float, str]] = field(default_factory=dict)

    def size(self, dim: str, unit: str) -> float | None:
        """Return the size along a dim in `unit`, None where the file does not state it."""
        if dim not in self.sizes:
            return None
        value, own = self.sizes[dim]
        return value * conversion_factor(own, unit)


def calibration(**sizes: tuple[Any, Any]) -> Calibration:
    """Return the calibration of the sizes that are positive lengths; what a file states otherwise is not one."""
    good: dict[str, tuple[float, str]] = {}
    for dim, (value, unit) in sizes.items():
        try:
            number, name = float(value), canonical_unit(str(unit))
        except (TypeError, ValueError):
            continue
        if name != "1" and np.isfinite(number) and number > 0:
            good[dim] = (number, name)
    return Calibration(good)


def user_sizes(pixel_size: Any, z: Any, unit: str, *, named_z: bool = False) -> dict[str, float]:
    """Return the sizes by dim that `pixel_size` gives, checked against the other sources of slice positions."""
    if pixel_size is None:
        return {}
    sizes = (pixel_size,) if np.ndim(pixel_size) == 0 else tuple(pixel_size)
    allowed = "a number, (dy, dx) or (dz, dy, dx), in units= or as strings such as '10 nm'"
    if len(sizes) not in (1, 2, 3):
        raise ValueError(f"pixel_size={pixel_size!r} has {len(sizes)} values; give {allowed}")
    lengths = [parse_length(size, unit=unit, spacing=1.0, name="pixel_size") for size in sizes]
    if any(not np.isfinite(length) or length <= 0 for length in lengths):
        raise ValueError(f"pixel_size={pixel_size!r} must be positive; give {allowed}")
    if len(lengths) == 3 and z is not None:
        raise ValueError(f"pixel_size={pixel_size!r} and z= both give slice positions; give (dy, dx) together with z=")
    if len(lengths) == 3 and named_z:
        raise ValueError(
            f"pixel_size={pixel_size!r} and the file names both give slice positions; give (dy, dx) to take those "
            "of the names, "
            "or z= to replace them"
        )
    if len(lengths) == 1:
        lengths *= 3
    return dict(zip(grid.SPATIAL[-len(lengths) :], lengths, strict=True))


def coordinates(
    shape: tuple[int, ...],
    *,
    pixel_size: Any,
    z: Any,
    units: str | None,
    stored: Calibration,
    named_z: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
) -> dict[str, xr.Variable]:
    """Return the coordinates z, y, x.

    Parameters
    ----------
    shape : tuple of int
        Lengths along z, y, x (more before them are ignored).
    pixel_size, z, units
        As given to `open_stack`.
    stored : Calibration
        What the files state.
    named_z : array, optional
        Positions from the file names, already in the unit of the result.
    offsets : array of int, optional
        How many slices each one lies after the first (default: 0, 1, 2 ...).
    """
    unit = canonical_unit(units or "nm")
    count, ny, nx = shape[-3:]
    given = user_sizes(pixel_size, z, unit, named_z=named_z is not None)
    offsets = np.arange(count) if offsets is None else offsets
    coords = {}
    for dim, size in (("y", ny), ("x", nx)):
        step = given.get(dim) or stored.size(dim, unit)
        coords[dim] = _regular(dim, step, unit, size)
    step = given.get("z") or stored.size("z", unit)
    if z is not None:
        values = _user_z(z, count, unit)
        coords["z"] = grid.coordinate("z", values, units=unit, spacing=None if count > 1 else step)
    elif named_z is not None:
        coords["z"] = grid.coordinate("z", named_z, units=unit, spacing=None if count > 1 else step)
    elif np.array_equal(offsets, np.arange(count)):
        coords["z"] = _regular("z", step, unit, count)
    else:
        values = (step or 1.0) * np.asarray(offsets, dtype=np.float64)
        coords["z"] = grid.coordinate("z", values, units=unit if step else "1", spacing=step or 1.0)
    return {dim: coords[dim] for dim in grid.SPATIAL}


def _regular(dim: str, step: float | None, unit: str, count: int) -> xr.Variable:
    # Without a size positions count pixels, in unit "1": no length is made up.
    return grid.coordinate(dim, grid.regular(0.0, step or 1.0, count), units=unit if step else "1", spacing=step or 1.0)


def _user_z(z: Any, count: int, unit: str) -> np.ndarray:
    values = np.asarray([parse_length(value, unit=unit, spacing=1.0, name="z") for value in np.atleast_1d(z).tolist()])
    if values.shape != (count,):
        raise ValueError(f"z has {values.size} positions; it must give one for each of the {count} slices")
    steps = np.diff(values)
    if not np.all(np.isfinite(values)) or np.any(steps <= 0):
        at = int(np.argmax(~(steps > 0))) + 1 if count > 1 else 0
        raise ValueError(
            f"z must increase from slice to slice and be finite; it does not at index {at} (z={values[at]:g})"
        )
    return values
