"""Defects on a given volume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.model import check_stack
from stack3d.synthetic._assemble import assemble
from stack3d.synthetic._draw import generator
from stack3d.synthetic._plan import make_plan, matrices, transforms
from stack3d.synthetic._settings import DEFAULTS, Setting, resolve
from stack3d.synthetic._stack import _LEVELS, SyntheticStack, checked_seed

# Shifts fall on a canvas this much finer than the pixels, so that their truth has no rounding of its own.
_FINE = 8
_ORDER = 5
_LEAST_SIDE = 32


@dataclass(frozen=True, eq=False)
class Measured:
    """A volume held in memory, (channel, z, y, x) float32; frames begin `margin` pixels inside it."""

    data: np.ndarray
    z: np.ndarray
    margin: int
    levels: tuple[float, float]
    channels: int

    def frame(self, z: float, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the plane at `z`, which must be one of the volume, seen through the pull `matrix`."""
        k = int(np.argmin(np.abs(self.z - z)))
        if not math.isclose(self.z[k], z, rel_tol=1e-9, abs_tol=1e-9):
            raise ValueError(f"z={z:g} is no slice of the given volume, the nearest is {self.z[k]:g}")
        plane = self.data[:, k]
        (xx, xy, x0), (yx, yy, y0) = np.asarray(matrix, float)
        x0, y0 = x0 + self.margin, y0 + self.margin
        whole = xy == yx == 0 and all(float(v).is_integer() for v in (xx, yy, x0, y0))
        if whole:
            rows, columns = int(yy) * np.arange(shape[0]) + int(y0), int(xx) * np.arange(shape[1]) + int(x0)
            if min(rows[0], columns[0]) < 0 or rows[-1] >= plane.shape[1] or columns[-1] >= plane.shape[2]:
                raise ValueError("a position lies outside the given volume")
            return np.ascontiguousarray(plane[:, rows[:, None], columns])
        from scipy import ndimage

        out = np.empty((self.channels, *shape), np.float32)
        for source, target in zip(plane, out, strict=True):
            # The points of a spline canvas that a crop at this place keeps.
            ndimage.affine_transform(
                source,
                np.array([[yy, yx], [xy, xx]]),
                (y0, x0),
                output=target,
                output_shape=shape,
                order=_ORDER,
                mode="mirror",
            )
        return out


def add_defects(
    truth: xr.DataArray,
    *,
    defects: str | Mapping[str, Setting] = "typical",
    z_step: int = 1,
    seed: int = 0,
    **changes: Setting,
) -> SyntheticStack:
    """Plant the defects of `make_stack` on a given clean volume.

    Shifts are crops of the volume on a canvas eight times finer (a fifth-order spline of the wider field): the frame is
    cut inside the volume, far enough from its borders that no slice shows anything from outside. Rotations use the
    same spline.

    Parameters
    ----------
    truth : DataArray
        A clean, aligned stack ([channel,] z, y, x) of numbers, with even y and x and dy equal to dx; loaded into
        memory. Planes of one raster have exactly no displacement between them: re-slice a block-face volume along y.
    defects : str or mapping
        As in `make_stack`.
    z_step : int
        Slices of the volume per slice of the stack; with ``uneven_z`` they are chosen unevenly, ``jitter`` being a
        share of `z_step`, and lost at random.
    seed : int
        Not negative.
    **changes
        Single defects by name, as in `make_stack`.

    Returns
    -------
    SyntheticStack
        Its `truth` is cut from the given volume; its `truth_on` knows the positions of the voxels only. Black and
        white, of which amounts are shares, are the 0.5 and 99.5 percentiles of the volume.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> clean = stack3d.synthetic.make_stack((4, 96, 96), defects="none").truth.astype("uint16")
    >>> made = stack3d.synthetic.add_defects(clean, drift=0.7, seed=1)
    >>> made.stack.sizes["z"], made.stack.dtype
    (4, dtype('uint16'))
    """
    check_stack(truth, needs=("z",), name="truth")
    if truth.ndim - ("channel" in truth.dims) != 3:
        raise ValueError(f"truth has dims {truth.dims}; give (z, y, x) or (channel, z, y, x)")
    if truth.dtype.name not in _LEVELS:
        raise TypeError(f"truth has dtype {truth.dtype}; allowed are {tuple(_LEVELS)}")
    if isinstance(z_step, bool) or not isinstance(z_step, int) or z_step < 1 or z_step > truth.sizes["z"]:
        raise ValueError(f"z_step={z_step!r} must be a whole number from 1 to the number of slices, {truth.sizes['z']}")
    seed = checked_seed(seed)
    unknown = [name for name in changes if name not in DEFAULTS]
    if unknown:
        raise TypeError(f"add_defects has no argument {unknown[0]!r}; defects are {', '.join(map(repr, DEFAULTS))}")
    settings = resolve(defects, changes)
    dy, dx = grid.spacing_of(truth, "y"), grid.spacing_of(truth, "x")
    even = all(grid.is_uniform(truth[dim].values) for dim in ("y", "x") if dim in truth.coords)
    if not even or not math.isclose(dy, dx, rel_tol=1e-6):
        raise ValueError(f"truth must have even y and x with dy equal to dx; it has dy={dy:g}, dx={dx:g}")

    data = np.asarray(truth.values, np.float32).reshape((-1, *(truth.sizes[dim] for dim in grid.SPATIAL)))
    if not np.isfinite(data).all():
        raise ValueError("truth has values that are not finite; fill or crop them first")
    chosen = _chosen_slices(seed, truth.sizes["z"], z_step, settings.get("uneven_z"))
    positions = truth["z"].values if "z" in truth.coords else np.arange(truth.sizes["z"], dtype=float)
    z = positions.astype(np.float64)
    shift, turn = transforms(seed, len(chosen), settings, grain=1 / _FINE)
    margin = _margin(shift, turn, data.shape[-2:])
    height, width = (size - 2 * margin for size in data.shape[-2:])
    if min(height, width) < _LEAST_SIDE:
        raise ValueError(
            f"truth of {data.shape[-2]} x {data.shape[-1]} pixels is too small: the drift, jumps and rotation "
            f"asked for take {margin} pixels from each side"
        )
    black, white = (float(level) for level in np.percentile(data, (0.5, 99.5)))
    if black == white:
        raise ValueError("truth is constant; black and white are the same")
    volume = Measured(data, z, margin, (black, white), len(data))
    plan = make_plan(volume, seed, (height, width), truth.dtype, settings, z[chosen], shift, turn)
    names = [str(name) for name in truth["channel"].values] if "channel" in truth.dims else None
    dz = grid.spacing_of(truth, "z") * z_step
    parts = assemble(plan, chosen // z_step, names, (dz, dx), grid.units_of(truth, "x"), lazy=False)
    return SyntheticStack(*parts, settings, plan)


def _chosen_slices(seed: int, count: int, step: int, settings: dict[str, Any] | None) -> np.ndarray:
    nominal = np.arange(0, count, step)
    if settings is None:
        return nominal
    rng = generator(seed, "uneven_z")
    kept = rng.random(len(nominal)) >= settings["missing"]
    kept[0] = True
    reach = (step - 1) // 2
    jitter = np.clip(np.round(rng.standard_normal(len(nominal)) * settings["jitter"] * step), -reach, reach).astype(int)
    return np.asarray(np.clip(nominal + jitter, 0, count - 1)[kept])


def _margin(shift: np.ndarray, turn: np.ndarray, shape: tuple[int, ...]) -> int:
    """Return how far the corners of a frame wander, and a little more for the spline."""
    if not shift.any() and not turn.any():
        return 0
    height, width = shape
    corners = np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]], float)
    pulled = np.linalg.inv(matrices(shift, turn, (height, width))) @ corners
    return int(np.ceil(np.abs(pulled - corners).max())) + 8
