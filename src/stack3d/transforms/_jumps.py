"""Jumps of transforms kept alone: small steps from slice to slice left in the images."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d.transforms._matrices import displacement, edit, lengths, matrices_of, replaced, valid_of
from stack3d.units import Length


@edit(version=1)
def jumps(estimate: xr.Dataset, least: Length | tuple[Length, Length] = "1 px") -> xr.Dataset:
    """Correct jumps alone: a step to the next slice that is smaller than `least` is taken for structure, not for drift.

    Structures that wander, such as pores and grains, look like drift: small steps that add up to many pixels. A stage
    that is steady but for rare jumps is corrected better without them.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.
    least : length or (length, length)
        The smallest step from one good slice to the next that is corrected, along y and along x: a number in the unit
        of the coordinates, or a string such as ``"1 px"``. Each axis by itself.

    Returns
    -------
    Dataset
        Displacements of the centre changed, rotation, scale, shear and blocks kept.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> wandering = stack3d.transforms.from_shifts(stack, shift_y=[0, 2, 5, 60, 62, 66, 70, 75])
    >>> stack3d.transforms.jumps(wandering, "20 nm").shift_y.values.tolist()
    [0.0, 0.0, 0.0, 55.0, 55.0, 55.0, 55.0, 55.0]
    """
    frame = estimates.frame_of(estimate)
    limit = np.abs(lengths(least, "least", frame.units, frame.spacing))
    matrices, good = matrices_of(estimate), np.flatnonzero(valid_of(estimate))
    if good.size < 2:
        return replaced(estimate, matrices)
    moved = displacement(matrices, frame)
    steps = np.diff(moved[good], axis=0)
    creep = np.concatenate([[[0.0, 0.0]], np.cumsum(np.where(np.abs(steps) < limit, steps, 0.0), axis=0)])
    # Slices between good ones lie on the even way.
    slices = np.arange(len(moved))
    taken = np.stack([np.interp(slices, good, creep[:, axis]) for axis in range(2)], axis=1)
    matrices[:, :2, 2] -= taken[:, ::-1]
    return replaced(estimate, matrices)
