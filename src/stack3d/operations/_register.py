"""Putting slices in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.grid import Frame
from stack3d.model import rebuild
from stack3d.operations import _canvas, _grey
from stack3d.operations._transform_channels import Channels
from stack3d.operations._transform_ways import Method, Model
from stack3d.operations._transforms import estimate_transforms
from stack3d.transforms._field import Field, field_of
from stack3d.transforms._matrices import in_frame, matrices_of, with_parameters
from stack3d.transforms._trend import Trend
from stack3d.units import Length

Fill = Literal["edge", "reflect", "constant", "nan"]
Order = Literal[0, 1, 3, "lanczos"]
Canvas = Literal["same", "union"]
Crop = Literal["none", "common"] | float
_FILLS = ("edge", "reflect", "constant", "nan")
_ORDERS = (0, 1, 3, "lanczos")


def _checked(
    da: xr.DataArray, order: Any, fill: Any, value: Any, canvas: Any, crop: Any, integer: Any = False
) -> dict[str, Any]:
    """Return what is filled in, after all that could be wrong was looked at."""
    _grey.check_flag(integer, "integer")
    if order not in _ORDERS or isinstance(order, bool):
        raise ValueError(f"order={order!r} is not allowed; it must be one of {_ORDERS}")
    if fill not in _FILLS:
        raise ValueError(f"fill={fill!r} is not allowed; it must be one of {_FILLS}")
    if canvas not in ("same", "union"):
        raise ValueError(f"canvas={canvas!r} is not allowed; it must be 'same' or 'union'")
    share = isinstance(crop, int | float | np.number) and not isinstance(crop, bool) and 0 < crop <= 1
    if not share and crop not in ("none", "common"):
        raise ValueError(f"crop={crop!r} is not allowed; it must be 'none', 'common' or a fraction above 0 and up to 1")
    if value is not None and fill != "constant":
        raise ValueError(f"value={value!r} has a meaning only with fill='constant', not fill={fill!r}")
    if value is not None and not isinstance(value, int | float | np.number):
        raise TypeError(f"value={value!r} must be a grey value")
    if value is not None and da.dtype.kind in "ui" and not _fits(value, da.dtype):
        raise ValueError(
            f"value={value!r} does not fit {da.dtype}; convert with da.astype('float32') before, or give another"
        )
    if fill == "nan" and da.dtype.kind != "f":
        raise ValueError(f"fill='nan' needs a float stack, not {da.dtype}; convert with da.astype('float32') before")
    if value is None:
        value = float("nan") if da.dtype.kind == "f" else 0.0
    return {"fill": "constant" if fill == "nan" else fill, "value": value}


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value) and limits.min <= value <= limits.max and value == round(value))


@operation(version=1, needs=("z",))
def apply_transforms(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset,
    order: Order = 3,
    integer: bool = False,
    fill: Fill = "edge",
    value: float | None = None,
    canvas: Canvas = "same",
    crop: Crop = "none",
) -> xr.DataArray:
    """Put every slice in its place, by one interpolation.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        The stack the transforms were measured on, another channel of it, labels (``order=0``), a part of it along z,
        or a cropped or binned version.
    estimate : Dataset
        As made by `estimate_transforms`, possibly edited by the functions of `stack3d.transforms`.
    order : {0, 1, 3, "lanczos"}
        Nearest pixel, linear, a six-tap least-squares kernel, or a six-tap windowed sinc.
    integer : bool
        Round shifts to whole pixels, so that no value is interpolated.
    fill : {"edge", "reflect", "constant", "nan"}
        What lies outside the raw frame: its edge pixels, its mirror image, `value`, or NaN (floats only).
    value : float, optional
        For ``fill="constant"``; by default NaN in float stacks and 0 in others.
    canvas : {"same", "union"}
        ``"union"``: as large as needed for every pixel of every good slice; positions go on beyond those of `da`.
        Coordinates along y or x other than these and ``mask`` are left out then.
    crop : {"none", "common"} or float
        ``"common"``: keep only the largest rectangle that every good slice covers. A number between 0 and 1: that each
        of its pixels lies in at least this fraction of the good slices.

    Returns
    -------
    DataArray
        Lazy where `da` is, of its dtype. Coordinates on z: ``shift_y`` and ``shift_x``, how far each raw slice lay from
        its place, in the unit of the coordinates, and ``valid``.

    Raises
    ------
    ValueError
        When the estimate does not fit the stack, or nothing is left of the frame.

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> aligned = stack.stack3d.apply_transforms(estimate=drift, crop="common")
    >>> aligned.dims
    ('z', 'y', 'x')
    """
    return _apply(da, estimate, order, integer, fill, value, canvas, crop)


@operation(version=4, needs=("z",), estimator=estimate_transforms, check=_checked)
def register(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    model: Model = "translation",
    method: Method = "phase",
    blocks: tuple[int, int] | None = None,
    regularization: float | None = None,
    target: Sequence[float] | None = None,
    channel: Channels | None = None,
    region: Mapping[str, Any] | None = None,
    mask: Any = None,
    threshold: float | None = None,
    gradient: bool = False,
    stripes: float | None = None,
    binning: int | None = None,
    band: tuple[float | None, float | None] = (None, None),
    lags: int = 3,
    detector: Literal["sift", "orb"] = "sift",
    template_radius: int | None = None,
    trend: Trend = "keep",
    trend_window: int | None = None,
    trend_degree: int | None = None,
    trend_slope: Length | tuple[Length, Length] | None = None,
    least_step: Length | tuple[Length, Length] | None = None,
    order: Order = 3,
    integer: bool = False,
    fill: Fill = "edge",
    value: float | None = None,
    canvas: Canvas = "same",
    crop: Crop = "none",
) -> xr.DataArray:
    """Align the slices of a stack: `estimate_transforms`, then `apply_transforms`.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
    estimate : Dataset, optional
        Made before, possibly edited; then none of the parameters of `estimate_transforms` may be given.
    model, method, blocks, regularization, target, channel, region, mask, threshold, gradient, stripes
        See `estimate_transforms`. All channels are moved alike.
    binning, band, lags, detector, template_radius, trend, trend_window, trend_degree, trend_slope, least_step
        See `estimate_transforms`.
    order, integer, fill, value, canvas, crop
        See `apply_transforms`.

    Returns
    -------
    DataArray
        Lazy where `da` is; the measurement is made at the call, in one pass (``method="template"``: two).

    Examples
    --------
    >>> aligned = stack.stack3d.register()
    >>> aligned.shape == stack.shape
    True
    """
    assert estimate is not None  # the decorator has made it
    return _apply(da, estimate, order, integer, fill, value, canvas, crop)


def _apply(
    da: xr.DataArray,
    estimate: xr.Dataset,
    order: Order,
    integer: bool,
    fill: Fill,
    value: float | None,
    canvas: Canvas,
    crop: Crop,
) -> xr.DataArray:
    filling = _checked(da, order, fill, value, canvas, crop, integer)
    estimate = estimates.at_slices(estimates.check(estimate, "transforms"), da)
    frame = Frame.of(da)
    matrices = in_frame(matrices_of(estimate), estimates.frame_of(estimate), frame)
    # Of the matrices as they are: they may have been edited since the shifts were written beside them.
    described = with_parameters(estimate.assign(transform=(("z", "row", "col"), matrices)), frame)
    field = field_of(estimate, frame)
    if integer:
        matrices = _whole_pixels(matrices, field)
    good = _canvas.used_slices(da, estimate["valid"].values if "valid" in estimate else None)
    shape, positions = frame.shape, {}
    if canvas == "union":
        top, left, rows, cols = _canvas.union(matrices[good], frame.shape, _canvas.part(field, good))
        matrices, shape = _canvas.moved_to(matrices, top, left), (rows, cols)
        field = None if field is None else field._replace(y=field.y - top, x=field.x - left)
        positions = _canvas.with_positions(da, top, left, rows, cols)
    arguments = {"order": 0 if da.dtype == bool else order, "shape": shape, **filling}
    per_frame = {"matrix": xr.DataArray(matrices, dims=("z", "row", "col"))}
    if field is not None:
        per_frame["grid"] = xr.DataArray(field.grid, dims=("z", "block_y", "block_x", "component"))
        arguments |= {"y": field.y, "x": field.x}
    writes = field is None and shape == frame.shape
    data = map_frames(
        da, _warped, arguments=arguments, per_frame=per_frame, shape=shape, label="register", writes=writes
    )
    coords: dict[str, Any] = {
        name: described[name].variable for name in ("shift_y", "shift_x", "valid") if name in described
    }
    if "mask" in da.coords:
        where = {str(name): arguments[name] for name in ("shape", "y", "x") if name in arguments}
        coords["mask"] = _moved_mask(da, per_frame, where)
    drop = [name for name, c in da.coords.items() if canvas == "union" and {"y", "x"} & set(c.dims)]
    result = rebuild(da, data, {**coords, **positions}, drop=drop)
    if crop != "none":
        share = 1.0 if crop == "common" else float(crop)
        result = result.isel(_canvas.covered_box(matrices[good], frame.shape, shape, share, _canvas.part(field, good)))
    return result


def _whole_pixels(matrices: np.ndarray, field: Field | None) -> np.ndarray:
    if not np.all(matrices[:, :2, :2] == np.eye(2)):
        raise ValueError("integer=True needs pure translations; the estimate holds rotation, scale or shear")
    if field is not None:
        raise ValueError("integer=True needs pure translations; the estimate holds displacements of blocks")
    rounded = matrices.copy()
    rounded[:, :2, 2] = np.rint(matrices[:, :2, 2])
    return rounded


def _warped(
    frame: Any,
    matrix: np.ndarray,
    shape: tuple[int, int],
    grid: np.ndarray | None = None,
    y: Any = None,
    x: Any = None,
    **arguments: Any,
) -> Any:
    if grid is None:
        return kernels.warp.warp_frame(frame, matrix, shape, **arguments)
    along, across = (kernels.field.basis(centres, np.arange(size)) for centres, size in zip((y, x), shape, strict=True))
    return kernels.field.warp_field(frame, matrix, grid, along, across, shape, **arguments)


def _moved_mask(da: xr.DataArray, per_frame: Mapping[str, xr.DataArray], arguments: Mapping[str, Any]) -> xr.Variable:
    mask = da["mask"]
    # What moves frames apart moves their masks apart.
    for dim in per_frame["matrix"].dims[:-2]:
        if dim not in mask.dims:
            mask = mask.expand_dims({dim: da[dim]})
    mask = mask.transpose(*(dim for dim in da.dims if dim in mask.dims))
    bare = mask.drop_vars(list(mask.coords))
    shape = arguments["shape"]
    moved = map_frames(bare, _warped_mask, arguments=arguments, per_frame=per_frame, shape=shape, label="mask")
    return xr.Variable(bare.dims, moved)


def _warped_mask(frame: np.ndarray, **arguments: Any) -> Any:
    moved, _ = _warped(frame.astype(np.uint8), order=0, fill="constant", value=0.0, **arguments)
    return moved.astype(bool)
