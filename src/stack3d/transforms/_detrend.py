"""Slow changes of transforms: taken out, or kept alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d.grid import spacing_of
from stack3d.transforms import _field
from stack3d.transforms._matrices import displacement, edit, lengths, matrices_of, positions, replaced, valid_of
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
        ``"all"``: the displacement of every point of the frame is freed of its trend (each entry of the matrices, and
        the local displacement of each block). ``"shift"``: only the displacement of the centre; all else stays.
        ``"shape"``: only the trend of rotation, scale, shear and local displacements; shifts are made anew so that the
        centre of each raw slice meets the same place of the next one as before.
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

    def slow(values: np.ndarray) -> np.ndarray:
        columns = values.reshape(len(z), -1)
        if anchor == "through":
            fitted = line_through(columns, z, good, first, 1 if trend == "linear" else 2 if degree is None else degree)
        else:
            fitted = trend_of(columns, z, good, trend, window, degree)
            fitted = fitted - fitted[first] if anchor == "first" else fitted
        return fitted.reshape(values.shape)

    shift = displacement(matrices, frame)[:, ::-1]
    deviation = {"all": matrices[:, :2] - np.eye(3)[:2], "shift": shift, "shape": matrices[:, :2, :2] - _EYE}[of]
    field = _field.field_of(estimate, frame)
    if field is not None and of != "shift":
        field = field._replace(grid=field.grid - slow(field.grid))
    return replaced(estimate, _without(matrices, slow(deviation), of, frame.shape), field=field)


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
    field = _field.field_of(estimate, estimates.frame_of(estimate))
    if field is not None:
        kept = trend_of(field.grid.reshape(len(z), -1), z, good, trend, window, degree)
        field = field._replace(grid=kept.reshape(field.grid.shape))
    return replaced(estimate, out, field=field)
