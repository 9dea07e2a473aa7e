"""Local displacements of an estimate of transforms: a field at the centres of blocks, on top of the matrices.

What lies at p in the aligned slice lies at ``M (p + d(p))`` in the raw one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.grid import Frame

NAMES = ("displacement_y", "displacement_x")
_DIMS = ("z", "block_y", "block_x")
_ROUNDS = 30


class Field(NamedTuple):
    """Displacements (z, p, q, [y, x]) at centres along y (p,) and x (q,), all in pixels of one frame."""

    grid: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def at(self, k: int, places: np.ndarray) -> np.ndarray:
        """Return the displacement (n, [x, y]) of slice `k` at places (n, [x, y])."""
        return kernels.field.at(self.grid[k], (self.y, self.x), places[:, 1], places[:, 0])[:, ::-1]

    def centres(self) -> np.ndarray:
        """Return the places (p * q, [x, y]) of the centres."""
        y, x = np.meshgrid(self.y, self.x, indexing="ij")
        return np.stack([x.ravel(), y.ravel()], axis=1)


def field_of(estimate: xr.Dataset, frame: Frame) -> Field | None:
    """Return the field of an estimate in pixels of a frame, or None where there is none."""
    if NAMES[0] not in estimate:
        return None
    parts = [estimate[name].transpose(*_DIMS).values.astype(np.float64) for name in NAMES]
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError("displacement_y and displacement_x must be finite")
    grid = np.stack([part / s for part, s in zip(parts, frame.spacing, strict=True)], axis=-1)
    y, x = (
        (estimate[dim].values.astype(np.float64) - origin) / s
        for dim, origin, s in zip(_DIMS[1:], frame.origin, frame.spacing, strict=True)
    )
    return Field(grid, y, x)


def variables(field: Field, frame: Frame) -> dict[str, Any]:
    """Return the variables and coordinates of a field in pixels of a frame."""
    values: dict[str, Any] = {}
    for axis, name in enumerate(NAMES):
        attrs = {"units": frame.units, "long_name": f"local displacement along {name[-1]}"}
        values[name] = (_DIMS, field.grid[..., axis] * frame.spacing[axis], attrs)
    for axis, (dim, centres) in enumerate(zip(_DIMS[1:], (field.y, field.x), strict=True)):
        attrs = {"units": frame.units, "long_name": f"centre of the block along {dim[-1]}"}
        values[dim] = (dim, frame.origin[axis] + centres * frame.spacing[axis], attrs)
    return values


def bridged(field: Field | None, z: np.ndarray, good: np.ndarray) -> Field | None:
    """Return a field with that of bad slices put between their nearest good neighbours."""
    if field is None or good.all() or not good.any():
        return field
    columns = field.grid.reshape(len(z), -1)
    between = np.stack([np.interp(z, z[good], column[good]) for column in columns.T], axis=1)
    return field._replace(grid=np.where(good[:, None], columns, between).reshape(field.grid.shape))


def inverted(field: Field | None, back: np.ndarray) -> Field | None:
    """Return the field of the way back, whose matrices are `back`."""
    if field is None:
        return None
    raw, out = field.centres(), np.empty_like(field.grid)
    for k, matrix in enumerate(back):
        straight = raw @ matrix[:2, :2].T + matrix[:2, 2]
        aligned = straight
        for _ in range(_ROUNDS):
            aligned = straight - field.at(k, aligned)
        out[k] = _to_grid(np.linalg.solve(matrix[:2, :2], (aligned - straight).T).T, out[k].shape)
    return field._replace(grid=out)


def composed(first: Field | None, then: Field | None, matrices: np.ndarray) -> Field | None:
    """Return the field of two steps; `matrices` are those of the second.

    ``M1 (. + d1) M2 (. + d2)`` is ``M1 M2 (. + d2 + L2^-1 d1)``, d1 taken where the second step leads.
    """
    if first is None:
        return then
    if then is None:
        then = Field(np.zeros_like(first.grid), first.y, first.x)
    if first.grid.shape[1] * first.grid.shape[2] > then.grid.shape[1] * then.grid.shape[2]:
        then = onto(then, first.y, first.x)
    places, out = then.centres(), np.empty_like(then.grid)
    for k, matrix in enumerate(matrices):
        own = then.grid[k, ..., ::-1].reshape(-1, 2)
        where = (places + own) @ matrix[:2, :2].T + matrix[:2, 2]
        further = np.linalg.solve(matrix[:2, :2], first.at(k, where).T).T
        out[k] = _to_grid(own + further, out[k].shape)
    return then._replace(grid=out)


def onto(field: Field, y: np.ndarray, x: np.ndarray) -> Field:
    """Return a field at other centres."""
    along, across = kernels.field.basis(field.y, y), kernels.field.basis(field.x, x)
    return Field(np.einsum("ia,zabc,jb->zijc", along, field.grid, across), y, x)


def _to_grid(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(values[:, ::-1].reshape(shape))
