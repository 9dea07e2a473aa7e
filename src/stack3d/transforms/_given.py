"""Transforms that were not measured here: shifts from fiducials or a log, matrices of another program."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d._provenance import estimator
from stack3d.grid import Frame
from stack3d.model import valid_slices
from stack3d.transforms._matrices import bridged, describe
from stack3d.units import parse_length


@estimator(version=1, needs=("z",))
def from_shifts(
    da: xr.DataArray, shift_y: Any = None, shift_x: Any = None, units: str | None = None, *, cumulative: bool = True
) -> xr.Dataset:
    """Make transforms of known shifts.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        The stack they belong to.
    shift_y, shift_x : sequence of float (z,), optional
        How far the content of each slice lies from where it should be, positive down and right; 0 where not given. NaN
        means unknown: such a slice is put between its neighbours and its ``valid`` is False.
    units : str, optional
        ``"px"`` or a unit of length; by default that of the coordinates.
    cumulative : bool
        False: each value is the displacement from the slice before (that of the first does not count).

    Returns
    -------
    Dataset
        An estimate of kind ``"transforms"``.

    Examples
    --------
    >>> known = stack3d.transforms.from_shifts(stack, shift_x=np.arange(8), units="px")
    >>> float(known.shift_x[3])
    15.0
    """
    if shift_y is None and shift_x is None:
        raise ValueError("give shift_y, shift_x or both")
    frame, count = Frame.of(da), da.sizes["z"]
    matrices = np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    given = (("shift_y", shift_y, 1, frame.spacing[0]), ("shift_x", shift_x, 0, frame.spacing[1]))
    for name, values, row, spacing in given:
        if values is None:
            continue
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (count,):
            raise ValueError(f"{name} has shape {array.shape}; it must give {count} values, one a slice")
        one = 1.0 if units is None else parse_length(f"1 {units}", unit=frame.units, spacing=spacing, name="units")
        array = array * (one / spacing)
        if not cumulative:
            array = np.concatenate([[0.0], np.cumsum(array[1:])])
        matrices[:, row, 2] = array
    return completed(da, matrices, None)


@estimator(version=1, needs=("z",))
def from_matrices(
    da: xr.DataArray, matrices: Any, valid: Any = None, *, direction: Literal["pull", "push"] = "pull"
) -> xr.Dataset:
    """Make transforms of known matrices.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        The stack they belong to.
    matrices : array (z, 3, 3) or (z, 2, 3)
        In pixels, for (x, y, 1), the centre of the first pixel at 0, 0. NaN means unknown, as for `from_shifts`.
    valid : sequence of bool (z,), optional
        False for slices that are to be put between their neighbours.
    direction : {"pull", "push"}
        ``"pull"``: from the aligned place to that in the raw slice (scikit-image, StackReg, PyStack3D's cumulated
        ones); ``"push"``: from raw to aligned (TrakEM2, most registration files).

    Returns
    -------
    Dataset
        An estimate of kind ``"transforms"``.

    Examples
    --------
    >>> still = stack3d.transforms.from_matrices(stack, np.tile(np.eye(3), (8, 1, 1)))
    >>> float(abs(still.rotation).max())
    0.0
    """
    if direction not in ("pull", "push"):
        raise ValueError(f"direction={direction!r} is not allowed; it must be 'pull' or 'push'")
    array, count = np.asarray(matrices, dtype=np.float64), da.sizes["z"]
    if array.shape not in ((count, 3, 3), (count, 2, 3)):
        raise ValueError(f"matrices have shape {array.shape}; they must be ({count}, 3, 3) or ({count}, 2, 3)")
    full = np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    full[:, : array.shape[1]] = array
    known = np.isfinite(full).all(axis=(1, 2))
    if not np.all(full[known, 2] == (0, 0, 1)):
        raise ValueError("matrices must have the last row 0, 0, 1; perspective is not supported")
    if valid is not None and np.shape(valid) != (count,):
        raise ValueError(f"valid has shape {np.shape(valid)}; it must give {count} flags, one a slice")
    if direction == "push":
        full[known] = np.linalg.inv(full[known])
        full[known, 2] = (0.0, 0.0, 1.0)
    return completed(da, full, valid)


def completed(da: xr.DataArray, matrices: np.ndarray, valid: Any) -> xr.Dataset:
    """Return the estimate of matrices some of which are unknown (NaN)."""
    known = np.isfinite(matrices).all(axis=(1, 2))
    if not known.any():
        raise ValueError("no slice has a known transform")
    good = known & valid_slices(da)
    if valid is not None:
        good &= np.asarray(valid, dtype=bool)
    z = np.asarray(da["z"].values if "z" in da.coords else np.arange(da.sizes["z"]), np.float64)
    # A slice that is bad for other reasons keeps what is known of it.
    return describe(da, bridged(matrices, z, known if not good.any() or valid is None else good), good)
