"""Putting slices in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.grid import Frame
from stack3d.model import rebuild
from stack3d.operations._transforms import Model, estimate_transforms, with_parameters

Fill = Literal["edge", "reflect", "constant"]
Order = Literal[0, 1, 3, "lanczos"]
_FILLS = ("edge", "reflect", "constant")
_ORDERS = (0, 1, 3, "lanczos")


@operation(version=1, needs=("z",))
def apply_transforms(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset,
    order: Order = 3,
    integer: bool = False,
    fill: Fill = "edge",
    value: float | None = None,
    crop: Literal["none", "common"] = "none",
) -> xr.DataArray:
    """Put every slice in its place, by one interpolation.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        The stack the transforms were measured on, another channel of it, labels (``order=0``), a part of it along z,
        or a cropped or binned version.
    estimate : Dataset
        As made by `estimate_transforms`, possibly edited.
    order : {0, 1, 3, "lanczos"}
        Nearest pixel, linear, a six-tap least-squares kernel, or a six-tap windowed sinc.
    integer : bool
        Round shifts to whole pixels, so that no value is interpolated.
    fill : {"edge", "reflect", "constant"}
        What lies outside the raw frame.
    value : float, optional
        For ``fill="constant"``; by default NaN in float stacks and 0 in others.
    crop : {"none", "common"}
        ``"common"``: keep only the rectangle that every valid slice covers.

    Returns
    -------
    DataArray
        Lazy where `da` is, of its dtype. Coordinates on z: ``shift_y`` and ``shift_x``, how far each raw slice lay from
        its place, in the unit of the coordinates, and ``valid``.

    Raises
    ------
    ValueError
        When the estimate does not fit the stack.

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> aligned = stack.stack3d.apply_transforms(estimate=drift, crop="common")
    >>> aligned.dims
    ('z', 'y', 'x')
    """
    return _apply(da, estimate, order=order, integer=integer, fill=fill, value=value, crop=crop)


@operation(version=1, needs=("z",), estimator=estimate_transforms)
def register(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    model: Model = "translation",
    channel: str | None = None,
    region: Mapping[str, Any] | None = None,
    lags: int = 3,
    band: tuple[float | None, float | None] = (None, None),
    order: Order = 3,
    integer: bool = False,
    fill: Fill = "edge",
    value: float | None = None,
    crop: Literal["none", "common"] = "none",
) -> xr.DataArray:
    """Align the slices of a stack: `estimate_transforms`, then `apply_transforms`.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
    estimate : Dataset, optional
        Made before, possibly edited; then none of `model`, `channel`, `region`, `lags` and `band` may be given.
    model, channel, region, lags, band
        See `estimate_transforms`. All channels are moved by what is measured on one.
    order, integer, fill, value, crop
        See `apply_transforms`.

    Returns
    -------
    DataArray
        Lazy where `da` is; the measurement is made at the call, in one pass.

    Examples
    --------
    >>> aligned = stack.stack3d.register()
    >>> aligned.shape == stack.shape
    True
    """
    assert estimate is not None  # the decorator has made it
    return _apply(da, estimate, order=order, integer=integer, fill=fill, value=value, crop=crop)


def _apply(
    da: xr.DataArray, estimate: xr.Dataset, *, order: Order, integer: bool, fill: Fill, value: float | None, crop: str
) -> xr.DataArray:
    if order not in _ORDERS or isinstance(order, bool):
        raise ValueError(f"order={order!r} is not allowed; it must be one of {_ORDERS}")
    if fill not in _FILLS:
        raise ValueError(f"fill={fill!r} is not allowed; it must be one of {_FILLS}")
    if crop not in ("none", "common"):
        raise ValueError(f"crop={crop!r} is not allowed; it must be 'none' or 'common'")
    if value is not None and fill != "constant":
        raise ValueError(f"value={value!r} has a meaning only with fill='constant', not fill={fill!r}")
    if value is not None and da.dtype.kind in "ui" and not _fits(value, da.dtype):
        raise ValueError(
            f"value={value!r} does not fit {da.dtype}; convert with da.astype('float32') before, or give another"
        )
    if value is None:
        value = float("nan") if da.dtype.kind == "f" else 0.0
    estimate = estimates.at_slices(estimates.check(estimate, "transforms"), da)
    frame = Frame.of(da)
    matrices = _in_frame(_affine(estimate), estimates.frame_of(estimate), frame)
    # Of the matrices as they are: they may have been edited since the shifts were written beside them.
    described = with_parameters(estimate.assign(transform=(("z", "row", "col"), matrices)), frame)
    if integer:
        matrices = _whole_pixels(matrices)
    arguments = {"order": 0 if da.dtype == bool else order, "fill": fill, "value": value}
    per_frame = {"matrix": xr.DataArray(matrices, dims=("z", "row", "col"))}
    data = map_frames(da, _warped, arguments=arguments, per_frame=per_frame, label="register")
    coords: dict[str, Any] = {
        name: described[name].variable for name in ("shift_y", "shift_x", "valid") if name in described
    }
    if "mask" in da.coords:
        coords["mask"] = _moved_mask(da, per_frame)
    result = rebuild(da, data, coords)
    if crop == "common":
        valid = coords["valid"].values if "valid" in coords else np.ones(da.sizes["z"], bool)
        result = result.isel(_common_box(matrices[valid] if valid.any() else matrices, frame.shape))
    return result


def _affine(estimate: xr.Dataset) -> np.ndarray:
    matrices = np.asarray(estimate["transform"].transpose("z", "row", "col").values, dtype=np.float64)
    good = np.isfinite(matrices).all(axis=(1, 2)) & np.all(matrices[:, 2] == (0, 0, 1), axis=1)
    if not good.all():
        k = int(np.argmin(good))
        raise ValueError(
            f"transform of slice {k} is {matrices[k].tolist()}; it must be finite with the last row 0, 0, 1"
        )
    return matrices


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value) and limits.min <= value <= limits.max and value == round(value))


def _in_frame(matrices: np.ndarray, made_in: Frame, frame: Frame) -> np.ndarray:
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


def _whole_pixels(matrices: np.ndarray) -> np.ndarray:
    if not np.all(matrices[:, :2, :2] == np.eye(2)):
        raise ValueError("integer=True needs pure translations; the estimate holds rotation, scale or shear")
    rounded = matrices.copy()
    rounded[:, :2, 2] = np.rint(matrices[:, :2, 2])
    return rounded


def _warped(frame: np.ndarray, matrix: np.ndarray, order: Order, fill: Fill, value: float) -> Any:
    return kernels.warp.warp_frame(frame, matrix, frame.shape, order=order, fill=fill, value=value)


def _moved_mask(da: xr.DataArray, per_frame: Mapping[str, xr.DataArray]) -> xr.Variable:
    mask = da["mask"].transpose(*(dim for dim in da.dims if dim in da["mask"].dims))
    if "z" not in mask.dims:
        mask = mask.expand_dims(z=da["z"]).transpose(*(dim for dim in da.dims if dim in (*mask.dims, "z")))
    bare = mask.drop_vars(list(mask.coords))
    arguments = {"order": 0, "fill": "constant", "value": 0.0}
    return xr.Variable(
        bare.dims, map_frames(bare, _warped_mask, arguments=arguments, per_frame=per_frame, label="mask")
    )


def _warped_mask(frame: np.ndarray, matrix: np.ndarray, **arguments: Any) -> Any:
    moved, _ = kernels.warp.warp_frame(frame.astype(np.uint8), matrix, frame.shape, **arguments)
    return moved.astype(bool)


def _common_box(matrices: np.ndarray, shape: tuple[int, int]) -> dict[str, slice]:
    """Return the rectangle whose corners every slice maps inside its raw frame.

    For translations it is exact; for other maps the box shrinks until its corners, and so by convexity all of it,
    are inside.
    """
    rows, cols = shape
    low, high = np.array([0, 0]), np.array([cols - 1, rows - 1])
    for _ in range(rows + cols):
        corners = np.array([[x, y, 1] for x in (low[0], high[0]) for y in (low[1], high[1])], dtype=np.float64)
        places = np.einsum("nij,cj->nci", matrices, corners)[..., :2]
        under = np.ceil(np.maximum(0, -(places - 1e-9).min(axis=(0, 1)) - 2e-9)).astype(int)
        over = np.ceil(np.maximum(0, (places - 1e-9 - [cols - 1, rows - 1]).max(axis=(0, 1)))).astype(int)
        if not under.any() and not over.any():
            break
        low, high = low + under, high - over
        if np.any(low > high):
            raise ValueError(
                "crop='common' keeps nothing: the slices have no area in common; use crop='none' or limit the shifts"
            )
    return {"x": slice(int(low[0]), int(high[0]) + 1), "y": slice(int(low[1]), int(high[1]) + 1)}
