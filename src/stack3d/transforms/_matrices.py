"""What every function on transforms needs: the Dataset made of matrices, and matrices brought to another frame."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d._provenance import _record
from stack3d._records import ATTR, provenance
from stack3d.grid import Frame
from stack3d.transforms._field import Field, variables

P = ParamSpec("P")


def describe(da: xr.DataArray, matrices: np.ndarray, valid: np.ndarray) -> xr.Dataset:
    """Return the estimate of kind "transforms" for pull matrices (z, 3, 3) in pixels of the frame of `da`."""
    dataset = estimates.make(
        "transforms",
        {"transform": (("z", "row", "col"), matrices), "valid": ("z", np.asarray(valid, bool))},
        da,
        coords={"row": [0, 1, 2], "col": [0, 1, 2]},
    )
    dataset["transform"].attrs = {"long_name": "pull matrix, aligned (x, y, 1) to raw, in pixels"}
    return with_parameters(dataset, Frame.of(da))


def with_parameters(dataset: xr.Dataset, frame: Frame, dim: str = "z") -> xr.Dataset:
    """Return `dataset` with shift, rotation, scale and shear computed from its matrices."""
    matrices = dataset["transform"].values
    moved = displacement(matrices, frame)
    # Angles and ratios are those of the specimen, not of pixels that may be oblong.
    linear = matrices[:, :2, :2].copy()
    oblong = frame.spacing[1] / frame.spacing[0]
    linear[:, 0, 1] *= oblong
    linear[:, 1, 0] /= oblong
    # y runs down: a rotation that is counter-clockwise on screen has this sign.
    turn = np.arctan2(linear[:, 0, 1] - linear[:, 1, 0], linear[:, 0, 0] + linear[:, 1, 1])
    cos, sin = np.cos(turn), np.sin(turn)
    stretch_x = cos * linear[:, 0, 0] - sin * linear[:, 1, 0]
    stretch_y = sin * linear[:, 0, 1] + cos * linear[:, 1, 1]
    values = {
        "shift_y": (moved[:, 0] * frame.spacing[0], {"units": frame.units, "long_name": "shift along y"}),
        "shift_x": (moved[:, 1] * frame.spacing[1], {"units": frame.units, "long_name": "shift along x"}),
        "rotation": (np.degrees(turn), {"units": "degree", "long_name": "rotation"}),
        "scale": (np.sqrt(np.abs(np.linalg.det(linear))), {"units": "1", "long_name": "scale"}),
        "scale_y": (stretch_y, {"units": "1", "long_name": "scale along y"}),
        "scale_x": (stretch_x, {"units": "1", "long_name": "scale along x"}),
        "shear": (cos * linear[:, 0, 1] - sin * linear[:, 1, 1], {"units": "1", "long_name": "shear of x with y"}),
    }
    return dataset.assign({name: (dim, value, attrs) for name, (value, attrs) in values.items()})


def displacement(matrices: np.ndarray, frame: Frame) -> np.ndarray:
    """Return how far the centre of the frame is moved (z, [y, x]), in pixels."""
    rows, cols = frame.shape
    centre = np.array([(cols - 1) / 2, (rows - 1) / 2, 1.0])
    moved: np.ndarray = (matrices @ centre - centre)[:, 1::-1]
    return moved


def matrices_of(estimate: xr.Dataset) -> np.ndarray:
    """Return the matrices (z, 3, 3) of an estimate, checked to be finite and affine."""
    matrices = np.array(estimate["transform"].transpose("z", "row", "col").values, dtype=np.float64)
    good = np.isfinite(matrices).all(axis=(1, 2)) & np.all(matrices[:, 2] == (0, 0, 1), axis=1)
    if not good.all():
        k = int(np.argmin(good))
        raise ValueError(
            f"transform of slice {k} is {matrices[k].tolist()}; it must be finite with the last row 0, 0, 1"
        )
    return matrices


def in_frame(matrices: np.ndarray, made_in: Frame, frame: Frame) -> np.ndarray:
    """Return pull matrices in pixels of `frame` from those in pixels of the frame they were made in."""
    if made_in.units != frame.units:
        raise ValueError(f"the estimate was made in {made_in.units!r}, the stack is in {frame.units!r}")
    if made_in.origin == frame.origin and made_in.spacing == frame.spacing:
        return matrices
    change = np.linalg.inv(frame.to_physical()) @ made_in.to_physical()
    moved: np.ndarray = change @ matrices @ np.linalg.inv(change)
    # The linear part of a translation stays exactly the identity, so that it takes the exact and fast way.
    pure = np.all(matrices[:, :2, :2] == np.eye(2), axis=(1, 2))
    moved[pure, :2, :2] = np.eye(2)
    moved[:, 2] = (0.0, 0.0, 1.0)
    return moved


def positions(estimate: xr.Dataset) -> np.ndarray:
    """Return the position of each slice."""
    return np.asarray(estimate["z"].values if "z" in estimate.coords else np.arange(estimate.sizes["z"]), np.float64)


def valid_of(estimate: xr.Dataset) -> np.ndarray:
    """Return which slices of an estimate are good, as an array of its own."""
    return np.array(estimate["valid"].values if "valid" in estimate else np.ones(estimate.sizes["z"]), dtype=bool)


def bridged(matrices: np.ndarray, z: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return matrices with those of bad slices put between the nearest good ones.

    The way from one to the other is even: a turn is a turn at every place on it (the power of a matrix). Matrices
    between which there is no such way (a fold, half a circle) are mixed entry by entry.
    """
    out = matrices.copy()
    if not good.any() or good.all():
        return out
    for row in range(2):
        for col in range(3):
            out[~good, row, col] = np.interp(z[~good], z[good], matrices[good, row, col])
    known = np.flatnonzero(good)
    for k in np.flatnonzero(~good):
        place = int(np.searchsorted(known, k))
        if 0 < place < len(known):
            low, high = known[place - 1], known[place]
            share = (z[k] - z[low]) / (z[high] - z[low])
            out[k] = _between(matrices[low], matrices[high], share, out[k])
    return out


def _between(first: np.ndarray, second: np.ndarray, share: float, mixed: np.ndarray) -> np.ndarray:
    from stack3d.kernels import _groups as groups

    # Of equal linear parts the entries are all there is to mix.
    if np.array_equal(first[:2, :2], second[:2, :2]) or abs(np.linalg.det(first[:2, :2])) < 1e-9:
        return mixed
    step = np.linalg.solve(first, second)
    if not (np.linalg.det(step[:2, :2]) > 0 and np.trace(step) > 1):
        return mixed
    out: np.ndarray = first @ groups.exponential(share * groups.logarithm(step))
    out[2] = 0.0, 0.0, 1.0
    return out


def replaced(
    estimate: xr.Dataset, matrices: np.ndarray, valid: np.ndarray | None = None, field: Field | None = None
) -> xr.Dataset:
    """Return an estimate with other matrices, and all that is computed from them; a field only where one is given."""
    result = estimate.copy()
    if field is not None:
        result = result.assign(variables(field, estimates.frame_of(estimate)))
    result["transform"] = estimate["transform"].transpose("z", "row", "col").copy(data=matrices)
    if valid is not None:
        attrs = dict(estimate["valid"].attrs) if "valid" in estimate else {}
        result["valid"] = ("z", np.asarray(valid, dtype=bool), attrs)
    return with_parameters(result, estimates.frame_of(estimate))


def edit(*, version: int) -> Callable[[Callable[P, xr.Dataset]], Callable[P, xr.Dataset]]:
    """Make ``f(estimate, ...) -> Dataset`` a recorded edit: its input is checked, and the step added to the record."""

    def decorate(function: Callable[P, xr.Dataset]) -> Callable[P, xr.Dataset]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> xr.Dataset:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            (name, estimate), *rest = bound.arguments.items()
            estimates.check(estimate, "transforms", name=name)
            result = function(*bound.args, **bound.kwargs)
            record = _record(f"transforms.{function.__name__}", version, dict(rest))
            result.attrs = {**result.attrs, ATTR: json.dumps([*provenance(estimate), record])}
            return result

        return wrapper

    return decorate


def lengths(values: Any, name: str, unit: str, spacing: tuple[float, float]) -> tuple[float, float]:
    """Return one length, or one for y and one for x, in pixels."""
    from stack3d.units import parse_length

    both = tuple(values) if isinstance(values, tuple | list) else (values, values)
    if len(both) != 2:
        raise ValueError(f"{name}={values!r} must be one length or two, (y, x)")
    y, x = (parse_length(v, unit=unit, spacing=s, name=name) / s for v, s in zip(both, spacing, strict=True))
    return y, x
