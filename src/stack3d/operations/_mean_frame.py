"""The mean of all slices, in one pass and with the same bits whatever the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stack3d.model import valid_slices
from stack3d.windows import map_windows

_GROUP = 16


def mean_frame(da: xr.DataArray, label: str, device: str | None = None) -> np.ndarray:
    """Return the mean of the measured pixels over the good slices, (..., y, x) float64; NaN where there is none.

    Sums are taken over groups of 16 slices, of groups, and so on: their order is that of the slices, and memory is that
    of one sixteenth of the frames, in float64, for stacks in memory, and of a few groups for lazy ones.
    """
    if "z" not in da.dims:
        values = np.asarray(da.values, dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)
    good = np.flatnonzero(valid_slices(da))
    part = da if good.size in (0, da.sizes["z"]) else da.isel(z=good)
    height, whole = da.sizes["y"], da.dtype.kind in "iu"
    count = part.sizes["z"]
    # Integers have no missing pixels: nothing needs counting.
    sums = _summed(part, count, _first_whole if whole else _first, height if whole else 2 * height, label, device)
    while sums.sizes["z"] > 1:
        sums = _summed(sums, sums.sizes["z"], _total, sums.sizes["y"], label, device)
    values = _computed(sums.isel(z=0), label)
    if whole:
        return np.asarray(values / count)
    number = values[..., height:, :]
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, values[..., :height, :] / number, np.nan)


def _summed(da: xr.DataArray, count: int, kernel: Any, height: int, label: str, device: str | None) -> xr.DataArray:
    starts = np.arange(0, count, _GROUP)
    windows = np.stack([starts, np.minimum(starts + _GROUP, count)], axis=1)
    shape = (height, da.sizes["x"])
    data = map_windows(da, kernel, windows, shape=shape, dtype=np.float64, device=device, label=label)
    return xr.DataArray(data, dims=da.dims)


def _computed(da: xr.DataArray, label: str) -> np.ndarray:
    if da.chunks is None:
        from stack3d import device

        return np.asarray(device.to_host(da.data))
    from stack3d.progress import compute

    return np.asarray(compute(da.data, label=label)[0])


def _first_whole(frames: list[Any]) -> Any:
    return _total([frame.astype(np.float64) for frame in frames])


def _first(frames: list[Any]) -> Any:
    from stack3d.kernels._namespace import namespace

    xp = namespace(frames[0])
    parts = []
    for frame in frames:
        use = xp.isfinite(frame)
        parts.append(xp.concatenate([xp.where(use, frame, 0).astype(np.float64), use.astype(np.float64)]))
    return _total(parts)


def _total(frames: list[Any]) -> Any:
    total = frames[0].copy()
    for frame in frames[1:]:
        total += frame
    return total
