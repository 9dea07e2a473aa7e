"""What a picture of a volume shows: a small copy of it, where the eye is, what is cut out, the box and its scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stack3d.execution import map_frames
from stack3d.grid import SPATIAL, bounds, spacing_of, units_of
from stack3d.model import valid_slices
from stack3d.progress import compute
from stack3d.units import parse_length

if TYPE_CHECKING:
    from stack3d.kernels.raycast import Rays

LIMIT = 256
# Of the picture: left and right, above, and below, for the scales.
_SIDES, _ABOVE, _BELOW = 0.14, 0.03, 0.13


def small_copy(volume: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a volume of at most 256 voxels along each axis, the edges of its voxels, and where it begins.

    At most 256 slices are read, the nearest good ones to even positions; their pixels are averaged in squares.
    """
    good = np.flatnonzero(valid_slices(volume))
    if good.size == 0:  # what is there says more than no picture
        good = np.arange(volume.sizes["z"])
    z = volume["z"].values if "z" in volume.coords else np.arange(volume.sizes["z"], dtype=float)
    edges = bounds(z, spacing_of(volume, "z"))
    # As fine as the closest slices, so that uneven ones are shown where they are.
    finest = float(np.diff(z).min()) if z.size > 1 else edges[-1] - edges[0]
    count = int(np.clip(round((edges[-1] - edges[0]) / finest), 1, LIMIT))
    dz = (edges[-1] - edges[0]) / count
    nearest = good[np.abs(z[good][None] - (edges[0] + (np.arange(count) + 0.5) * dz)[:, None]).argmin(axis=1)]
    chosen, back = np.unique(nearest, return_inverse=True)
    factors = {dim: -(-volume.sizes[dim] // LIMIT) for dim in ("y", "x")}
    shape = (volume.sizes["y"] // factors["y"], volume.sizes["x"] // factors["x"])
    binned = map_frames(
        volume if chosen.size == volume.sizes["z"] else volume.isel(z=chosen),
        _binned,
        arguments={"by": factors["y"], "bx": factors["x"]},
        shape=shape,
        dtype=np.float32,
        device="cpu",
        label="volume",
    )
    (small,) = (binned,) if volume.chunks is None else compute(binned, label="volume")
    data = np.array(small, np.float32) if chosen.size == count else np.asarray(small)[back]
    spacing = np.array([dz, *(spacing_of(volume, dim) * factors[dim] for dim in ("y", "x"))])
    start = [edges[0], *(_first(volume, dim) - spacing_of(volume, dim) / 2 for dim in ("y", "x"))]
    return data, spacing, np.array(start)


def _binned(frame: np.ndarray, by: int, bx: int) -> np.ndarray:
    from stack3d.kernels import binning

    whole = frame.astype(np.uint8) if frame.dtype == bool else frame
    return np.asarray(whole if by == bx == 1 else binning.bin_frame(whole, by, bx), np.float32)


def _first(volume: xr.DataArray, dim: str) -> float:
    return float(volume[dim].values[0]) if dim in volume.coords else 0.0


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume, seen along parallel rays from one side; lengths along (z, y, x) from its first corner.

    Attributes
    ----------
    volume : (z, y, x) array of float32
        0 is black, 1 is white.
    spacing : (3,) array
        Edges of a voxel.
    start : (3,) array
        Coordinate of the first corner.
    units : (3,) str
    view : (azimuth, elevation)
        Degrees: how far to the right of the first slice the eye stands, and how far above it.
    at : (3,) array
        Where the three cut planes meet.
    shape : (rows, columns)
        Of the picture.
    factors : (3,) array
        Length of the own unit of each axis.
    """

    volume: np.ndarray
    spacing: np.ndarray
    start: np.ndarray
    units: tuple[str, ...]
    view: tuple[float, float]
    at: np.ndarray
    shape: tuple[int, int]
    factors: np.ndarray

    @cached_property
    def size(self) -> np.ndarray:
        """Lengths of the sides of the box."""
        return np.asarray(np.array(self.volume.shape) * self.spacing)

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors (z, y, x) to the right, down, and into the picture."""
        a, e = np.radians(self.view)
        right = np.array([np.sin(a), 0.0, np.cos(a)])
        down = np.array([-np.sin(e) * np.cos(a), np.cos(e), np.sin(e) * np.sin(a)])
        return right, down, np.array([np.cos(a) * np.cos(e), np.sin(e), -np.sin(a) * np.cos(e)])

    @cached_property
    def scale(self) -> float:
        """Length of a pixel of the picture."""
        corners = self.project(self.corners(), pixels=False)
        extent = np.ptp(corners, axis=0)
        room = np.array([1 - 2 * _SIDES, 1 - _ABOVE - _BELOW]) * self.shape[::-1]
        return float((extent / room).max())

    @cached_property
    def centre(self) -> np.ndarray:
        """The point in the middle of the picture: the scales need more room below than above."""
        _, down, _ = self.axes
        return np.asarray(self.size / 2 + (_BELOW - _ABOVE) / 2 * self.shape[0] * self.scale * down)

    def corners(self) -> np.ndarray:
        """Return the corners of the box, (8, 3)."""
        return np.array(np.meshgrid(*((0.0, side) for side in self.size), indexing="ij")).reshape(3, -1).T

    def project(self, points: np.ndarray, *, pixels: bool = True) -> np.ndarray:
        """Return where points lie in the picture, as (column, row), or as lengths along these."""
        right, down, _ = self.axes
        axes = np.stack([right, down], axis=1)
        if not pixels:
            return np.asarray(np.asarray(points) @ axes)
        flat = (np.asarray(points) - self.centre) @ axes
        return np.asarray(flat / self.scale + (np.array(self.shape[::-1]) - 1) / 2)

    def taken_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the two ends of the corner that is nearest to the eye."""
        _, _, ahead = self.axes
        return np.where(ahead > 0, 0.0, self.at), np.where(ahead > 0, self.at, self.size)

    def rays(self) -> Rays:
        """Return the rays of the picture."""
        from stack3d.kernels.raycast import Rays

        right, down, ahead = self.axes
        rows, columns = self.shape
        middle = self.centre - 2 * np.linalg.norm(self.size) * ahead
        first = middle - self.scale * ((columns - 1) / 2 * right + (rows - 1) / 2 * down)
        return Rays(first, right * self.scale, down * self.scale, ahead, self.shape)


def scene_of(
    volume: xr.DataArray,
    at: Mapping[str, Any] | None,
    limits: tuple[float, float] | None,
    view: tuple[float, float],
    shape: tuple[int, int],
    factors: np.ndarray | None = None,
) -> Scene:
    """Return the scene of a stack without channels; what it shows of it is computed.

    `factors` are the lengths of the units along z, y and x, by default as `in_one_unit` has them.
    """
    from stack3d.plotting._image import grey_limits

    units = tuple(units_of(volume, dim) for dim in SPATIAL)
    places = {dim: _place(volume, dim, place) for dim, place in (at or {}).items()}
    factors = in_one_unit(volume) if factors is None else factors
    data, spacing, start = small_copy(volume)
    low, high = limits or grey_limits(data)
    whole = volume.dtype.kind in "biu"
    # Frame by frame: what was just read is still at hand.
    for frame in data:
        frame -= np.float32(low)
        frame /= np.float32(high - low)
        if not whole:
            np.nan_to_num(frame, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
        np.clip(frame, 0, 1, out=frame)
    spacing, size = spacing * factors, np.array(data.shape) * spacing
    middle = [places[dim] - start[k] if dim in places else size[k] / 2 for k, dim in enumerate(SPATIAL)]
    cut = np.clip(middle, 0, size) * factors
    return Scene(data, spacing, start * factors, units, view, cut, shape, factors)


def _place(volume: xr.DataArray, dim: str, place: Any) -> float:
    if dim not in SPATIAL:
        raise ValueError(f"at has the key {dim!r}; allowed are 'z', 'y' and 'x'")
    spacing = spacing_of(volume, dim)
    number = parse_length(place, unit=units_of(volume, dim), spacing=spacing, name=f"at[{dim!r}]")
    edges = bounds(volume[dim].values, spacing)
    if not edges[0] <= number <= edges[-1]:
        raise ValueError(f"at[{dim!r}]={place!r} lies outside the stack, which runs from {edges[0]:g} to {edges[-1]:g}")
    return number


def in_one_unit(volume: xr.DataArray) -> np.ndarray:
    """Return what makes the lengths along z and y those of x.

    Where pixels are not calibrated alike, a slice is as thick as a pixel is wide.
    """
    from stack3d.units import conversion_factor

    units = [units_of(volume, dim) for dim in SPATIAL]
    if "1" not in units:
        return np.array([conversion_factor(unit, units[2]) for unit in units])
    steps = np.array([spacing_of(volume, dim) for dim in SPATIAL])
    return np.where([unit == units[2] for unit in units], 1.0, steps[2] / steps)
