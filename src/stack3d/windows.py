"""How a kernel is run over windows of neighbouring slices: the halo along z.

Every output slice names the range of input slices it needs, so one mechanism serves filters with a halo, resampling
to another z grid, binning along z and measures of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d import execution
from stack3d._blocks import split
from stack3d.execution import Call, Kernel

Windows = np.ndarray


def centred(count: int, halo: int) -> Windows:
    """Return the windows of `halo` slices on either side, cut at the ends; shape (count, 2)."""
    index = np.arange(count)
    return np.stack([np.maximum(index - halo, 0), np.minimum(index + halo + 1, count)], axis=1)


def map_windows(
    da: xr.DataArray,
    kernel: Kernel,
    windows: Windows,
    *,
    arguments: Mapping[str, Any] | None = None,
    per_output: Mapping[str, Any] | None = None,
    shape: tuple[int, int] | None = None,
    dtype: Any = None,
    device: str | None = None,
    label: str = "slices",
) -> Any:
    """Run ``kernel([frame, ...], **values, **arguments)`` once for every output slice.

    Parameters
    ----------
    da : DataArray
        Stack (..., z, y, x).
    kernel : callable
        Takes the list of 2-D frames of its window, in slice order; gives a frame or ``(frame, saturated)``.
    windows : int array (n, 2)
        First and last-plus-one input slice of each output slice.
    per_output : mapping of sequence, optional
        Values that differ between output slices, n of each.
    shape : (int, int), optional
        Shape of the new frames (default: unchanged).
    dtype : dtype, optional
        Dtype of the new frames (default: unchanged).

    Returns
    -------
    array (..., n, y, x)
        Lazy exactly when `da` is; equal to the bit for all chunks.
    """
    windows = check_windows(windows, da.sizes["z"])
    dtype = np.dtype(dtype or da.dtype)
    shape = shape or (da.sizes["y"], da.sizes["x"])
    call = Call(kernel, dict(arguments or {}), dtype, execution._device(da, device))
    values = {name: list(value) for name, value in (per_output or {}).items()}
    if da.chunks is None:
        data = da.data
        lead = data.shape[:-3]
        out = np.empty_like(data, shape=(*lead, len(windows), *shape), dtype=dtype, order="C")

        def run(index: tuple[int, ...]) -> int:
            start, stop = windows[index[-1]]
            frames = [data[(*index[:-1], k)] for k in range(start, stop)]
            out[index], saturated = call.frame(frames, {name: value[index[-1]] for name, value in values.items()})
            return saturated

        count = int(np.prod(lead)) * len(windows)
        saturated = sum(execution.in_threads(run, np.ndindex(*lead, len(windows)), count, label))
        execution.warn_saturated(saturated, out.size, dtype)
        return out
    source = execution.whole_frames(da).data
    return _gathered(source, call, windows, values, dtype, ((shape[0],), (shape[1],)), label, _window_frames)


def reduce_windows(
    da: xr.DataArray,
    kernel: Kernel,
    windows: Windows,
    *,
    prepare: Kernel | None = None,
    arguments: Mapping[str, Any] | None = None,
    prepare_arguments: Mapping[str, Any] | None = None,
    per_output: Mapping[str, Any] | None = None,
    label: str = "slices",
) -> dict[str, np.ndarray]:
    """Run ``kernel([prepared, ...], **values, **arguments) -> dict of numbers`` on every window, now.

    Each frame is read once, and given to ``prepare(frame, **prepare_arguments)`` once, whatever the number of
    windows it is in. Memory is that of a few windows of prepared frames.

    Returns
    -------
    dict of ndarray (..., n, ...)
        In the order of `windows`, whatever the chunks.
    """
    windows = check_windows(windows, da.sizes["z"])
    first = Call(prepare or _unchanged, dict(prepare_arguments or {}))
    call = Call(kernel, dict(arguments or {}))
    values = {name: list(value) for name, value in (per_output or {}).items()}
    lead = da.shape[:-3]
    if da.chunks is None:
        results = _reduce_in_memory(da.data, first, call, windows, values, label)
    else:
        from stack3d.progress import compute

        prepared = execution._object_blocks(execution.whole_frames(da).data, first, {}, label)
        lazy = _gathered(prepared, call, windows, values, np.dtype(object), ((1,), (1,)), label, _window_objects)
        results = compute(lazy, label=label)[0][..., 0, 0].reshape(-1)
    return execution._stacked(results, (*lead, len(windows)))


def _unchanged(frame: Any) -> Any:
    return frame


def check_windows(windows: Windows, count: int) -> Windows:
    """Return `windows` as integers, each inside ``0..count`` and not empty."""
    windows = np.asarray(windows, dtype=np.int64)
    if windows.ndim != 2 or windows.shape[1] != 2 or len(windows) == 0:
        raise ValueError(f"windows have shape {windows.shape}; they must be (n, 2)")
    if np.any(windows[:, 0] < 0) or np.any(windows[:, 1] > count) or np.any(windows[:, 0] >= windows[:, 1]):
        raise ValueError(f"windows must lie within 0..{count} and hold at least one slice")
    return windows


@dataclass(frozen=True)
class _Gather:
    """One task: what the windows of a block need besides the blocks of frames."""

    call: Call
    windows: Windows
    values: dict[str, list[Any]]
    run: Callable[..., Any]

    def __call__(self, blocks: list[Any]) -> Any:
        return self.run(blocks, self.call, self.windows, self.values)


def _gathered(
    source: Any,
    call: Call,
    windows: Windows,
    values: dict[str, list[Any]],
    dtype: np.dtype[Any],
    trailing: tuple[tuple[int, ...], ...],
    label: str,
    run: Callable[..., Any],
) -> Any:
    """Return the lazy array whose z blocks depend on just those blocks of `source` that their windows touch."""
    import dask.array
    from dask.highlevelgraph import HighLevelGraph

    z_chunks = source.chunks[-3]
    starts = np.concatenate([[0], np.cumsum(z_chunks)])
    out_z = split(len(windows), max(z_chunks))
    out_starts = np.concatenate([[0], np.cumsum(out_z)])
    name = execution._name(label, source.name, call, windows, values)
    graph: dict[Any, Any] = {}
    for k in range(len(out_z)):
        part = slice(int(out_starts[k]), int(out_starts[k + 1]))
        needed = windows[part]
        first = int(np.searchsorted(starts, needed[:, 0].min(), side="right")) - 1
        last = int(np.searchsorted(starts, needed[:, 1].max(), side="left"))
        gather = _Gather(call, needed - starts[first], {key: value[part] for key, value in values.items()}, run)
        for lead in np.ndindex(source.numblocks[:-3]):
            keys = [(source.name, *lead, block, 0, 0) for block in range(first, last)]
            graph[(name, *lead, k, 0, 0)] = (gather, keys)
    chunks = (*source.chunks[:-3], out_z, *trailing)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[source])
    meta = np.empty_like(source._meta, shape=(0,) * source.ndim, dtype=dtype)
    return dask.array.Array(layers, name, chunks, dtype=dtype, meta=meta)


def _frames_of(blocks: list[Any], lead: tuple[int, ...]) -> list[Any]:
    return [block[(*lead, k)] for block in blocks for k in range(block.shape[len(lead)])]


def _window_frames(blocks: list[Any], call: Call, windows: Windows, values: dict[str, list[Any]]) -> Any:
    lead = blocks[0].shape[:-3]
    out, saturated = None, 0
    for index in np.ndindex(lead):
        frames = _frames_of(blocks, index)
        for k, (start, stop) in enumerate(windows):
            frame, cut = call.frame(frames[start:stop], {key: value[k] for key, value in values.items()})
            saturated += cut
            if out is None:
                out = np.empty_like(frame, shape=(*lead, len(windows), *frame.shape), order="C")
            out[(*index, k)] = frame
    if saturated and out is not None:
        execution.warn_saturated(saturated, out.size, call.dtype, whole=False)
    return out


def _window_objects(blocks: list[Any], call: Call, windows: Windows, values: dict[str, list[Any]]) -> np.ndarray:
    lead = blocks[0].shape[:-3]
    out = np.empty((*lead, len(windows), 1, 1), dtype=object)
    for index in np.ndindex(lead):
        prepared = [item[0, 0] for item in _frames_of(blocks, index)]
        for k, (start, stop) in enumerate(windows):
            result = call.value(prepared[start:stop], {key: value[k] for key, value in values.items()})
            out[(*index, k, 0, 0)] = result
    return out


def _reduce_in_memory(
    data: Any, first: Call, call: Call, windows: Windows, values: dict[str, list[Any]], label: str
) -> np.ndarray:
    lead = data.shape[:-3]
    out = np.empty(int(np.prod(lead)) * len(windows), dtype=object)
    # Windows are served by their last slice, so that frames come in order and go when no later window needs them.
    order = np.argsort(windows[:, 1], kind="stable")
    last_use = np.full(data.shape[-3], -1)
    for rank, k in enumerate(order):
        last_use[slice(*windows[k])] = rank
    wanted = np.flatnonzero(last_use >= 0)
    for position, index in enumerate(np.ndindex(lead)):

        def run(z: int, index: tuple[int, ...] = index) -> Any:
            return first.value(data[(*index, z)], {})

        stream = zip(wanted, execution.in_threads(run, wanted, len(wanted), label), strict=True)
        kept: dict[int, Any] = {}
        for rank, k in enumerate(order):
            start, stop = windows[k]
            while stop - 1 not in kept:
                z, prepared = next(stream)
                kept[int(z)] = prepared
            frames = [kept[z] for z in range(start, stop)]
            out[position * len(windows) + k] = call.value(frames, {key: value[k] for key, value in values.items()})
            kept = {z: item for z, item in kept.items() if last_use[z] > rank}
        next(stream, None)  # lets the progress end
    return out
