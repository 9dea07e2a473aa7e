"""Edits of transforms: what is kept, what is taken out, what follows after what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d.grid import spacing_of
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
from stack3d.transforms._trend import Trend, check_trend, line_through, trend_of
from stack3d.units import Length

Part = Literal["all", "shift", "shape"]
Anchor = Literal["none", "first", "through"]
_EYE = np.eye(2)


@edit(version=1)
def detrend(
    estimate: xr.Dataset,
    trend: Trend = "linear",
    *,
    of: Part = "all",
    window: int | None = None,
    degree: int | None = None,
    anchor: Anchor = "none",
    slope: Length | tuple[Length, Length] | None = None,
) -> xr.Dataset:
    """Keep a slow change out of the correction: what is taken for structure, not for drift, stays in the images.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.
    trend : {"linear", "polynomial", "savgol", "mean", "keep"}
        What is taken out: a line or polynomial over z, a local polynomial (Savitzky-Golay), the moving mean of `window`
        slices; ``"keep"`` takes out nothing.
    of : {"all", "shift", "shape"}
        ``"all"``: the displacement of every point of the frame is freed of its trend (each entry of the matrices).
        ``"shift"``: only the displacement of the centre; rotation, scale and shear stay. ``"shape"``: only the trend of
        rotation, scale and shear; shifts are made anew so that the centre of each raw slice meets the same place of the
        next one as before.
    window : int, optional
        Slices, for ``"savgol"`` and ``"mean"``; by default 51, or all of a shorter stack.
    degree : int, optional
        Of the polynomial: by default 2, and 3 for ``"savgol"``.
    anchor : {"none", "first", "through"}
        ``"first"``: the trend is moved so that the first good slice stays in its place. ``"through"``: a line or
        polynomial is fitted that has the first good slice on it.
    slope : length or (length, length), optional
        A known line, for ``trend="linear"``: displacement from slice to slice (y, x), a number in the unit of the
        coordinates or a string such as ``"0.3 px"``. Where slices are uneven, for a median step.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> jitter = stack3d.transforms.detrend(drift, "linear")
    >>> bool(abs(np.polyfit(jitter.z, jitter.shift_x, 1)[0]) < 1e-6)
    True
    """
    check_trend(trend, window, degree)
    if of not in ("all", "shift", "shape"):
        raise ValueError(f"of={of!r} is not allowed; it must be 'all', 'shift' or 'shape'")
    if anchor not in ("none", "first", "through"):
        raise ValueError(f"anchor={anchor!r} is not allowed; it must be 'none', 'first' or 'through'")
    if anchor == "through" and trend not in ("linear", "polynomial"):
        raise ValueError(f"anchor='through' needs trend='linear' or 'polynomial', not {trend!r}")
    if slope is not None and (trend != "linear" or of == "shape"):
        raise ValueError(f"slope={slope!r} needs trend='linear', and of='all' or 'shift'")
    matrices, z, good = matrices_of(estimate), positions(estimate), valid_of(estimate)
    if trend == "keep":
        return replaced(estimate, matrices)
    frame = estimates.frame_of(estimate)
    first = int(np.argmax(good))
    if slope is not None:
        step = lengths(slope, "slope", frame.units, frame.spacing)
        index = (z - z[first]) / spacing_of(estimate, "z")  # type: ignore[arg-type]
        matrices[:, 1, 2] -= index * step[0]
        matrices[:, 0, 2] -= index * step[1]
        return replaced(estimate, matrices)
    shift = displacement(matrices, frame)[:, ::-1]
    deviation = {"all": matrices[:, :2] - np.eye(3)[:2], "shift": shift, "shape": matrices[:, :2, :2] - _EYE}[of]
    columns = deviation.reshape(len(z), -1)
    if anchor == "through":
        fitted = line_through(columns, z, good, first, 1 if trend == "linear" else 2 if degree is None else degree)
    else:
        fitted = trend_of(columns, z, good, trend, window, degree)
        fitted = fitted - fitted[first] if anchor == "first" else fitted
    fitted = fitted.reshape(deviation.shape)
    return replaced(estimate, _without(matrices, fitted, of, frame.shape))


def _without(matrices: np.ndarray, fitted: np.ndarray, of: str, shape: tuple[int, int]) -> np.ndarray:
    """Return matrices less a trend; translations stay exactly that."""
    out = matrices.copy()
    pure = bool(np.all(matrices[:, :2, :2] == _EYE))
    if of == "shift":
        out[:, :2, 2] -= fitted
    elif of == "all":
        out[:, :2] -= fitted
    else:
        out[:, :2, :2] -= fitted
    if pure:
        out[:, :2, :2] = _EYE
    elif of == "shape":
        centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1.0])
        for k in range(1, len(out)):
            # The centre of slice k - 1, and the place in slice k that shows the same.
            there = (matrices[k] @ np.linalg.solve(matrices[k - 1], centre))[:2]
            aligned = np.linalg.solve(out[k - 1, :2, :2], centre[:2] - out[k - 1, :2, 2])
            out[k, :2, 2] = there - out[k, :2, :2] @ aligned
    return out


@edit(version=1)
def smooth(
    estimate: xr.Dataset,
    trend: Trend = "savgol",
    *,
    window: int | None = None,
    degree: int | None = None,
) -> xr.Dataset:
    """Keep only the slow change of transforms: the counterpart of `detrend`.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``.
    trend : {"savgol", "mean", "linear", "polynomial", "keep"}
        What is kept; ``"keep"`` keeps all.
    window, degree : int, optional
        As for `detrend`.

    Returns
    -------
    Dataset
        What ``detrend(estimate, trend, ...)`` takes out.

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> slow = stack3d.transforms.smooth(drift, "mean", window=5)
    >>> fast = stack3d.transforms.detrend(drift, "mean", window=5)
    >>> bool(np.allclose(slow.shift_y + fast.shift_y, drift.shift_y))
    True
    """
    check_trend(trend, window, degree)
    matrices, z, good = matrices_of(estimate), positions(estimate), valid_of(estimate)
    if trend == "keep":
        return replaced(estimate, matrices)
    columns = (matrices[:, :2] - np.eye(3)[:2]).reshape(len(z), -1)
    out = matrices.copy()
    out[:, :2] = np.eye(3)[:2] + trend_of(columns, z, good, trend, window, degree).reshape(-1, 2, 3)
    if np.all(matrices[:, :2, :2] == _EYE):
        out[:, :2, :2] = _EYE
    return replaced(estimate, out)


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
    second = in_frame(matrices_of(then), estimates.frame_of(then), estimates.frame_of(estimate))
    return replaced(_bare(estimate), matrices_of(estimate) @ second, valid_of(estimate) & valid_of(then))


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
    return replaced(_bare(estimate), out)


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
    return replaced(estimate, bridged(matrices, positions(estimate), good), good)


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
    return replaced(estimate, bridged(matrices_of(estimate), positions(estimate), good), good)
