"""The mean of all slices, in one pass and with the same bits whatever the blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from stack3d import device as devices
from stack3d.execution import Call, _name, whole_frames
from stack3d.model import valid_slices
from stack3d.windows import map_windows

_GROUP = 16


def mean_frame(da: xr.DataArray, label: str, device: str | None = None) -> np.ndarray:
    """Return the mean of the measured pixels over the good slices, (..., y, x) float64; NaN where there is none.

    Sums are taken over groups of 16 slices, of groups, and so on: their order is that of the slices, and memory is that
    of one sixteenth of the frames, in float64, for stacks in memory, and of a few sums for lazy ones.
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
    if da.chunks is not None:
        return xr.DataArray(_chained(whole_frames(da).data, kernel, windows, shape, device, label), dims=da.dims)
    data = map_windows(da, kernel, windows, shape=shape, dtype=np.float64, device=device, label=label)
    return xr.DataArray(data, dims=da.dims)


def _computed(da: xr.DataArray, label: str) -> np.ndarray:
    if da.chunks is None:
        return np.asarray(devices.to_host(da.data))
    from stack3d.progress import compute

    return np.asarray(compute(da.data, label=label)[0])


def _chained(
    data: Any, kernel: Any, windows: np.ndarray, shape: tuple[int, int], device: str | None, label: str
) -> Any:
    """Return the lazy sums of groups of slices, each made frame by frame: no group of frames waits in memory."""
    import dask.array
    from dask._task_spec import Alias, Task, TaskRef
    from dask.highlevelgraph import HighLevelGraph

    starts = np.concatenate([[0], np.cumsum(data.chunks[-3])])
    call = Call(kernel, {}, np.dtype(np.float64), "cpu" if devices.is_cupy(data) else devices.resolve(device))
    name = _name(label, data.name, call, windows)
    graph: dict[Any, Any] = {}
    for lead in np.ndindex(data.numblocks[:-3]):
        for group, (begin, end) in enumerate(windows):
            last: Any = None
            first = int(np.searchsorted(starts, begin, side="right")) - 1
            for block in range(first, int(np.searchsorted(starts, end, side="left"))):
                part = slice(max(0, int(begin - starts[block])), int(end - starts[block]))
                key = (f"{name}-part", *lead, group, block)
                source = TaskRef((data.name, *lead, block, 0, 0))
                graph[key] = Task(key, _added, call, last if last is None else TaskRef(last), source, part)
                last = key
            key = (name, *lead, group, 0, 0)
            graph[key] = Alias(key, target=last)
    chunks = (*data.chunks[:-3], (1,) * len(windows), (shape[0],), (shape[1],))
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[data])
    meta = np.empty_like(data._meta, shape=(0,) * data.ndim, dtype=np.float64)
    return dask.array.Array(layers, name, chunks, dtype=np.float64, meta=meta)


def _added(call: Call, total: Any, block: Any, part: slice) -> Any:
    """Return a sum with the frames of a part of a block added one after the other."""
    out = None if total is None else total.copy()
    for k in range(*part.indices(block.shape[-3])):
        for lead in np.ndindex(block.shape[:-3]):
            frame, _ = call.frame([block[(*lead, k)]], {})
            if out is None:
                out = np.zeros_like(frame, shape=(*block.shape[:-3], 1, *frame.shape))
            if total is None and k == part.start:  # not added to 0, which would lose the sign of -0
                out[(*lead, 0)] = frame
            else:
                out[(*lead, 0)] += frame
    return out


def _first_whole(frames: list[Any]) -> Any:
    return _total(frame.astype(np.float64) for frame in frames)


def _first(frames: list[Any]) -> Any:
    from stack3d.kernels._namespace import namespace

    xp = namespace(frames[0])

    def counted(frame: Any) -> Any:
        use = xp.isfinite(frame)
        return xp.concatenate([xp.where(use, frame, 0).astype(np.float64), use.astype(np.float64)])

    return _total(counted(frame) for frame in frames)


def _total(frames: Iterable[Any]) -> Any:
    total = None
    for frame in frames:
        if total is None:
            total = frame.copy()
        else:
            total += frame
    return total
