"""Edits of transforms: what follows after what, the way back, bounds, bad slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d.transforms import _field
from stack3d.transforms._matrices import (
    bridged,
    displacement,
    edit,
    in_frame,
    lengths,
    matrices_of,
    positions,
    replaced,
    valid_of,
)
from stack3d.units import Length

_EYE = np.eye(2)


@edit(version=1)
def compose(estimate: xr.Dataset, then: xr.Dataset) -> xr.Dataset:
    """Join two steps of registration, so that the images are interpolated once.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``: the first step, measured on the raw stack.
    then : Dataset
        The second, measured on what the first gave; also on a cropped or binned version of it. It must hold the same
        slices, or a part of them along z.

    Returns
    -------
    Dataset
        For the slices of `then`, in the frame of `estimate`; good where both are. Pairs and qualities, which belong to
        one step, are left out.

    Examples
    --------
    >>> first = stack.stack3d.estimate_transforms(lags=1)
    >>> second = stack.stack3d.apply_transforms(estimate=first).stack3d.estimate_transforms()
    >>> both = stack3d.transforms.compose(first, second)
    >>> bool(np.allclose(both.shift_x, first.shift_x + second.shift_x))
    True
    """
    estimates.check(then, "transforms", name="then")
    if "z" in then.coords and "z" in estimate.coords:
        estimate = estimates.at_slices(estimate, then)  # type: ignore[arg-type]
    if estimate.sizes["z"] != then.sizes["z"]:
        raise ValueError(f"then has {then.sizes['z']} slices, estimate has {estimate.sizes['z']}; they must match")
    frame = estimates.frame_of(estimate)
    second = in_frame(matrices_of(then), estimates.frame_of(then), frame)
    field = _field.composed(_field.field_of(estimate, frame), _field.field_of(then, frame), second)
    return replaced(_bare(estimate), matrices_of(estimate) @ second, valid_of(estimate) & valid_of(then), field)


@edit(version=1)
def inverse(estimate: xr.Dataset) -> xr.Dataset:
    """Return the way back: applied to the aligned stack, it gives the raw one.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.

    Returns
    -------
    Dataset
        Pairs and qualities are left out.

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> back = stack3d.transforms.inverse(drift)
    >>> bool(np.allclose(stack3d.transforms.compose(drift, back).shift_y, 0))
    True
    """
    matrices = matrices_of(estimate)
    if not np.all(np.abs(np.linalg.det(matrices[:, :2, :2])) > 1e-9):
        k = int(np.argmin(np.abs(np.linalg.det(matrices[:, :2, :2]))))
        raise ValueError(f"transform of slice {k} is {matrices[k].tolist()}; it folds the frame and has no inverse")
    out = np.linalg.inv(matrices)
    pure = np.all(matrices[:, :2, :2] == _EYE, axis=(1, 2))
    out[pure, :2, :2] = _EYE
    out[pure, :2, 2] = -matrices[pure, :2, 2]
    out[:, 2] = (0.0, 0.0, 1.0)
    field = _field.inverted(_field.field_of(estimate, estimates.frame_of(estimate)), out)
    return replaced(_bare(estimate), out, field=field)


def _bare(estimate: xr.Dataset) -> xr.Dataset:
    return estimate[[name for name in ("transform", "valid") if name in estimate]]


@edit(version=1)
def limit(
    estimate: xr.Dataset,
    *,
    shift: Length | tuple[Length, Length] | None = None,
    rotation: float | None = None,
    scale: float | None = None,
    action: Literal["clip", "bridge"] = "clip",
) -> xr.Dataset:
    """Bound what a slice may do.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.
    shift : length or (length, length), optional
        Largest distance along y and x, at the centre of the frame, either way: a number in the unit of the coordinates
        or a string such as ``"5 px"``.
    rotation : float, optional
        Largest rotation either way, in degrees.
    scale : float, optional
        Largest departure of `scale` from 1.
    action : {"clip", "bridge"}
        A slice beyond is brought back to the bound of its shift (only `shift` may be given then), or counts as bad:
        its ``valid`` becomes False and it is put between its good neighbours.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> bounded = stack3d.transforms.limit(drift, shift="2 px")
    >>> bool(abs(bounded.shift_x).max() <= 10)
    True
    """
    if action not in ("clip", "bridge"):
        raise ValueError(f"action={action!r} is not allowed; it must be 'clip' or 'bridge'")
    if shift is None and rotation is None and scale is None:
        raise ValueError("nothing to limit: give shift=, rotation= or scale=")
    if action == "clip" and (rotation is not None or scale is not None):
        raise ValueError("rotation= and scale= cannot be clipped; use action='bridge'")
    for name, bound in (("rotation", rotation), ("scale", scale)):
        if bound is not None and not bound >= 0:
            raise ValueError(f"{name}={bound!r} must be 0 or more")
    matrices, frame = matrices_of(estimate), estimates.frame_of(estimate)
    good = valid_of(estimate)
    moved = displacement(matrices, frame)
    most = np.full(2, np.inf) if shift is None else np.array(lengths(shift, "shift", frame.units, frame.spacing))
    if np.any(most < 0):
        raise ValueError(f"shift={shift!r} must be 0 or more")
    if action == "clip":
        matrices[:, :2, 2] += (np.clip(moved, -most, most) - moved)[:, ::-1]
        return replaced(estimate, matrices)
    good &= np.all(np.abs(moved) <= most, axis=1)
    parameters = replaced(estimate, matrices)
    if rotation is not None:
        good &= np.abs(parameters["rotation"].values) <= rotation
    if scale is not None:
        good &= np.abs(parameters["scale"].values - 1) <= scale
    return _bridged(estimate, matrices, good)


def _bridged(estimate: xr.Dataset, matrices: np.ndarray, good: np.ndarray) -> xr.Dataset:
    z = positions(estimate)
    field = _field.bridged(_field.field_of(estimate, estimates.frame_of(estimate)), z, good)
    return replaced(estimate, bridged(matrices, z, good), good, field)


@edit(version=1)
def bridge(estimate: xr.Dataset, bad: Sequence[Any] | np.ndarray | None = None) -> xr.Dataset:
    """Put bad slices between their nearest good neighbours.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.
    bad : sequence of int or of bool, optional
        Slices that are not to be trusted, besides those that are not ``valid``: their numbers, or one flag a slice.

    Returns
    -------
    Dataset
        With ``valid`` False for them.

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> mended = stack3d.transforms.bridge(drift, bad=[3])
    >>> bool(mended.valid[3]), bool(np.isclose(mended.shift_y[3], mended.shift_y[[2, 4]].mean()))
    (False, True)
    """
    good = valid_of(estimate)
    if bad is not None:
        given = np.asarray(bad)
        count = good.size
        if given.dtype == bool and given.shape == (count,):
            good &= ~given
        elif given.size and (given.dtype.kind not in "iu" or given.ndim != 1 or np.abs(given + 0.5).max() > count):
            raise ValueError(f"bad={bad!r} must hold numbers of slices (0 to {count - 1}) or {count} flags")
        elif given.size:
            good[given] = False
    if not good.any():
        raise ValueError("no good slice is left to bridge from")
    return _bridged(estimate, matrices_of(estimate), good)
