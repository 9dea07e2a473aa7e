"""Transforms from the places of points that were found in every slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import estimator
from stack3d.grid import Frame, units_of
from stack3d.transforms._given import completed
from stack3d.units import parse_length


@estimator(version=1, needs=("z",))
def from_points(
    da: xr.DataArray,
    points: Any,
    *,
    model: str = "translation",
    reference: Any = None,
    units: str | None = None,
) -> xr.Dataset:
    """Make transforms of the places of fiducials, such as lines milled into the surface.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        The stack they were found in.
    points : array (z, point, 2)
        Position (y, x) of each point in each slice; NaN where it was not found.
    model : {"translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine"}
        What a slice may do; a slice needs 1, 2, 2, 2, 2 or 3 points.
    reference : array (point, 2), optional
        Where the points should lie; by default the mean of their positions over the slices in which all are known.
    units : str, optional
        ``"px"`` (counted from the first pixel of the frame) or a unit of length; by default that of the coordinates.

    Returns
    -------
    Dataset
        An estimate of kind ``"transforms"``; ``residual`` (z) is the rms distance left at the points, in pixels. A
        slice with too few points is put between its neighbours and its ``valid`` is False.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> places = np.full((8, 1, 2), 5.0) + np.arange(8)[:, None, None]
    >>> known = stack3d.transforms.from_points(stack, places, units="px")
    >>> np.diff(known.shift_y).round(6)
    array([5., 5., 5., 5., 5., 5., 5.])
    """
    needed = kernels.consensus.SAMPLE.get(model)
    if needed is None:
        raise ValueError(f"model={model!r} is not allowed; it must be one of {tuple(kernels.consensus.SAMPLE)}")
    frame, count = Frame.of(da), da.sizes["z"]
    found = np.asarray(points, dtype=np.float64)
    if found.ndim != 3 or found.shape[0] != count or found.shape[2] != 2 or found.shape[1] == 0:
        raise ValueError(f"points has shape {found.shape}; it must be ({count}, points, 2), (y, x) in each slice")
    pixels = _in_pixels(found, da, frame, units)
    if reference is None:
        whole = np.isfinite(pixels).all(axis=(1, 2))
        if not whole.any():
            raise ValueError("reference=None needs a slice in which all points are known; give their places")
        places = pixels[whole].mean(axis=0)
    else:
        given = np.asarray(reference, dtype=np.float64)
        if given.shape != found.shape[1:] or not np.isfinite(given).all():
            raise ValueError(f"reference={reference!r} must be {found.shape[1]} finite positions (y, x)")
        places = _in_pixels(given, da, frame, units)
    aspect = frame.spacing[0] / frame.spacing[1]
    matrices = np.full((count, 3, 3), np.nan)
    residual = np.full(count, np.nan)
    for k in range(count):
        known = np.isfinite(pixels[k]).all(axis=1)
        if known.sum() < needed:
            continue
        first, second = places[known][:, ::-1], pixels[k][known][:, ::-1]
        matrix = kernels.consensus.fit(first, second, model, aspect=aspect)
        if np.isfinite(matrix).all():
            matrices[k] = matrix
            left = first @ matrix[:2, :2].T + matrix[:2, 2] - second
            residual[k] = np.sqrt(np.mean(np.sum(left**2, axis=1)))
    result = completed(da, matrices, None)
    result["residual"] = ("z", residual, {"long_name": "rms distance left at the points", "units": "pixel"})
    return result


def _in_pixels(positions: np.ndarray, da: xr.DataArray, frame: Frame, units: str | None) -> np.ndarray:
    """Return positions (..., [y, x]) counted in pixels from the first one of the frame."""
    if units in ("px", "pixel"):
        return positions
    out = np.empty_like(positions)
    for k, dim in enumerate(("y", "x")):
        own = units_of(da, dim)
        one = 1.0 if units is None else parse_length(f"1 {units}", unit=own, spacing=frame.spacing[k], name="units")
        out[..., k] = (positions[..., k] * one - frame.origin[k]) / frame.spacing[k]
    return out
