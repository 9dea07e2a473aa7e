"""Putting the channels of a stack on top of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.grid import Frame
from stack3d.model import rebuild
from stack3d.operations import _canvas
from stack3d.operations._channel_offset import Contrast, Model, estimate_channel_offset
from stack3d.operations._register import Canvas, Crop, Fill, Order, _checked, _moved_mask, _warped, _whole_pixels
from stack3d.transforms._matrices import in_frame, with_parameters


@operation(version=3, estimator=estimate_channel_offset, check=_checked)
def align_channels(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    reference: str | None = None,
    model: Model = "translation",
    contrast: Contrast = "auto",
    slices: int = 64,
    region: Mapping[str, Any] | None = None,
    mask: Any = None,
    binning: int | None = None,
    band: tuple[float | None, float | None] = (None, None),
    order: Order = 3,
    integer: bool = False,
    fill: Fill = "edge",
    value: float | None = None,
    canvas: Canvas = "same",
    crop: Crop = "none",
) -> xr.DataArray:
    """Put the channels of a stack on top of each other: one transform a channel, the same in all slices.

    Parameters
    ----------
    da : DataArray (channel, [z], y, x)
        With an `estimate`, also some of the channels, a single one that knows its name, another part along z, or a
        cropped or binned version.
    estimate : Dataset, optional
        As made by `estimate_channel_offset`; then none of its parameters may be given.
    reference, model, contrast, slices, region, mask, binning, band
        See `estimate_channel_offset`.
    order, integer, fill, value, canvas, crop
        See `apply_transforms`.

    Returns
    -------
    DataArray
        Lazy where `da` is, of its dtype; the measurement is made at the call, on some of the slices. Coordinates on channel:
        ``offset_y`` and ``offset_x``, how far the channel lay from its place, in the unit of the coordinates. A channel that
        needs no move keeps its values to the bit.

    Raises
    ------
    ValueError
        When the estimate does not fit the stack, or nothing is left of the frame.

    Examples
    --------
    >>> both = xr.concat([stack, stack.roll(x=2)], xr.Variable("channel", ["SE", "BSE"]))
    >>> aligned = both.stack3d.align_channels(integer=True)
    >>> bool((aligned[1, :, 2:-2, 2:-2] == stack[:, 2:-2, 2:-2]).all())
    True
    """
    assert estimate is not None  # the decorator has made it
    filling = _checked(da, order, fill, value, canvas, crop, integer)
    known = _at_channels(estimates.check(estimate, "channel_offset"), da)
    frame = Frame.of(da)
    dims = known["transform"].dims[:-2]
    matrices = in_frame(known["transform"].values.reshape(-1, 3, 3), estimates.frame_of(estimate), frame)
    offsets = with_parameters(xr.Dataset({"transform": (("channel", "row", "col"), matrices)}), frame, dim="channel")
    if integer:
        matrices = _whole_pixels(matrices, None)
    shape, positions = frame.shape, {}
    if canvas == "union":
        top, left, rows, cols = _canvas.union(matrices, frame.shape)
        matrices, shape = _canvas.moved_to(matrices, top, left), (rows, cols)
        positions = _canvas.with_positions(da, top, left, rows, cols)
    shaped = matrices.reshape(*(len(matrices),) * len(dims), 3, 3)
    per_frame = {"matrix": xr.DataArray(shaped, dims=(*dims, "row", "col"))}
    arguments = {"order": 0 if da.dtype == bool else order, "shape": shape, **filling}
    data = map_frames(da, _warped, arguments=arguments, per_frame=per_frame, shape=shape, label="align channels")
    coords: dict[str, Any] = dict(positions)
    for name in ("y", "x"):
        shift = offsets[f"shift_{name}"]
        coords[f"offset_{name}"] = xr.Variable(dims, shift.values.reshape(shaped.shape[:-2]), shift.attrs)
    if "mask" in da.coords:
        coords["mask"] = _moved_mask(da, per_frame, {"shape": shape})
    drop = [name for name, c in da.coords.items() if canvas == "union" and {"y", "x"} & set(c.dims)]
    result = rebuild(da, data, coords, drop=drop)
    if crop != "none":
        share = 1.0 if crop == "common" else float(crop)
        result = result.isel(_canvas.covered_box(matrices, frame.shape, shape, share))
    return result


def _at_channels(estimate: xr.Dataset, da: xr.DataArray) -> xr.Dataset:
    have = [str(name) for name in estimate["channel"].values] if "channel" in estimate.coords else None
    if have is not None and "channel" in da.coords:
        missing = [str(name) for name in np.atleast_1d(da["channel"].values) if str(name) not in have]
        if missing:
            raise ValueError(f"estimate has no channel {', '.join(map(repr, missing))}; it has {have}")
        return estimates.at_channels(estimate, da)
    if da.sizes.get("channel", 1) != estimate.sizes["channel"]:
        raise ValueError(
            f"estimate is for {estimate.sizes['channel']} channels, the stack has dims {da.dims} and sizes {dict(da.sizes)}, and "
            "no names that would tell which is which"
        )
    return estimate if "channel" in da.dims else estimate.isel(channel=0)
