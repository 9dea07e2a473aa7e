"""How a kernel is run over windows of neighbouring slices: the halo along z.

Every output slice names the range of input slices it needs, so one mechanism serves filters with a halo, resampling
to another z grid, binning along z and measures of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
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
    per_frame: Mapping[str, xr.DataArray] | None = None,
    per_output: Mapping[str, Any] | None = None,
    label: str = "slices",
) -> dict[str, np.ndarray]:
    """Run ``kernel([prepared, ...], **values, **arguments) -> dict of numbers`` on every window, now.

    Each frame is read once, and given to ``prepare(frame, **per_frame, **prepare_arguments)`` once, whatever the number of
    windows it is in. Memory is that of a few windows of prepared frames.

    Returns
    -------
    dict of ndarray (..., n, ...)
        In the order of `windows`, whatever the chunks.
    """
    windows = check_windows(windows, da.sizes["z"])
    first, own = (
        Call(prepare or _unchanged, dict(prepare_arguments or {}), measures=True),
        execution._leading_values(da, per_frame),
    )
    call = Call(kernel, dict(arguments or {}))
    values = {name: list(value) for name, value in (per_output or {}).items()}
    lead = (*da.shape[:-3], len(windows))
    if da.chunks is None:
        return execution._stacked(_reduce_in_memory(da.data, first, call, windows, values, label, own), lead)
    from stack3d.progress import compute

    lazy = _gathered_objects(da, first, call, windows, values, np.dtype(object), 1, label, _window_objects, own)
    return execution._stacked(compute(lazy, label=label)[0][..., 0, 0].reshape(-1), lead)


def measure_windows(
    da: xr.DataArray,
    kernel: Kernel,
    windows: Windows,
    *,
    width: int,
    prepare: Kernel | None = None,
    arguments: Mapping[str, Any] | None = None,
    prepare_arguments: Mapping[str, Any] | None = None,
    per_output: Mapping[str, Any] | None = None,
    label: str = "slices",
) -> Any:
    """Run ``kernel([prepared, ...], **values, **arguments) -> (width,) numbers`` on every window; lazy where `da` is.

    As `reduce_windows`: each frame is read and prepared once, whatever the number of windows it is in.

    Returns
    -------
    array (..., n, width) of float64
        In the order of `windows`. Lazy exactly when `da` is; equal to the bit for all chunks.
    """
    windows = check_windows(windows, da.sizes["z"])
    first = Call(prepare or _unchanged, dict(prepare_arguments or {}), measures=True)
    call = Call(_as_row, {"kernel": kernel, "width": width, "given": dict(arguments or {})})
    values = {name: list(value) for name, value in (per_output or {}).items()}
    if da.chunks is None:
        rows = _reduce_in_memory(da.data, first, call, windows, values, label)
        return np.stack(list(rows)).reshape(*da.shape[:-3], len(windows), width)
    lazy = _gathered_objects(da, first, call, windows, values, np.dtype(np.float64), width, label, _window_rows)
    return lazy[..., 0, :]


def _as_row(frames: list[Any], kernel: Kernel, width: int, given: Mapping[str, Any], **values: Any) -> np.ndarray:
    row: np.ndarray = np.asarray(kernel(frames, **values, **given), dtype=np.float64)
    if row.shape != (width,):
        raise ValueError(f"{kernel.__name__} gave an array of shape {row.shape} where ({width},) was announced")
    return row


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
    from dask._task_spec import List, Task, TaskRef
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
            blocks = [TaskRef((source.name, *lead, block, 0, 0)) for block in range(first, last)]
            key = (name, *lead, k, 0, 0)
            graph[key] = Task(key, gather, List(*blocks))
    chunks = (*source.chunks[:-3], out_z, *trailing)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[source])
    meta = np.empty_like(source._meta, shape=(0,) * source.ndim, dtype=dtype)
    return dask.array.Array(layers, name, chunks, dtype=dtype, meta=meta)


def _gathered_objects(
    da: xr.DataArray,
    first: Call,
    call: Call,
    windows: Windows,
    values: dict[str, list[Any]],
    dtype: np.dtype[Any],
    width: int,
    label: str,
    run: Callable[..., Any],
    own: Mapping[str, np.ndarray] | None = None,
) -> Any:
    """Return the lazy array (..., n, 1, width) of what `call` makes of windows of frames prepared by `first`."""
    prepared = execution._object_blocks(execution.whole_frames(da).data, first, dict(own or {}), label)
    return _gathered(prepared, call, windows, values, dtype, ((1,), (width,)), label, run)


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
    out = np.empty((*blocks[0].shape[:-3], len(windows), 1, 1), dtype=object)
    for index, result in _window_results(blocks, call, windows, values):
        out[(*index, 0, 0)] = result
    return out


def _window_rows(blocks: list[Any], call: Call, windows: Windows, values: dict[str, list[Any]]) -> np.ndarray:
    width = call.arguments["width"]
    out = np.empty((*blocks[0].shape[:-3], len(windows), 1, width), dtype=np.float64)
    for index, row in _window_results(blocks, call, windows, values):
        out[(*index, 0)] = row
    return out


def _window_results(
    blocks: list[Any], call: Call, windows: Windows, values: dict[str, list[Any]]
) -> Iterator[tuple[tuple[int, ...], Any]]:
    for index in np.ndindex(blocks[0].shape[:-3]):
        prepared = [item[0, 0] for item in _frames_of(blocks, index)]
        for k, (start, stop) in enumerate(windows):
            yield (*index, k), call.value(prepared[start:stop], {key: value[k] for key, value in values.items()})


def _reduce_in_memory(
    data: Any, first: Call, call: Call, windows: Windows, values: dict[str, list[Any]], label: str, own: Any = None
) -> np.ndarray:
    lead = data.shape[:-3]
    out = np.empty(int(np.prod(lead)) * len(windows), dtype=object)
    for position, index in enumerate(np.ndindex(lead)):

        def prepared(z: int, index: tuple[int, ...] = index) -> Any:
            return first.value(data[(*index, z)], {name: value[(*index, z)] for name, value in (own or {}).items()})

        def measured(frames: list[Any], k: int) -> Any:
            return call.value(frames, {key: value[k] for key, value in values.items()})

        jobs = _in_order(prepared, measured, windows)
        total = len(windows) + np.unique(np.concatenate([np.arange(*window) for window in windows])).size
        for k, result in execution.in_threads(_run, jobs, total, label):
            if k is not None:
                out[position * len(windows) + k] = result
    return out


def _run(job: Callable[[], Any]) -> Any:
    return job()


def _in_order(
    prepare: Callable[[int], Any], measure: Callable[[list[Any], int], Any], windows: Windows
) -> Iterator[Callable[[], Any]]:
    """Yield what is to be done: each frame before the windows it is in, and kept no longer than those need it.

    Windows come by their last slice. A window waits for its frames, which were handed out before it, so that threads
    that take jobs in order never wait for one that has not begun.
    """
    from concurrent.futures import Future

    order = np.argsort(windows[:, 1], kind="stable")
    last_use: dict[int, int] = {}
    for rank, k in enumerate(order):
        last_use.update(dict.fromkeys(range(*windows[k]), rank))
    kept: dict[int, Future[Any]] = {}

    def frame(z: int, future: Future[Any]) -> tuple[None, None]:
        try:
            future.set_result(prepare(z))
        except BaseException as error:
            future.set_exception(error)
            raise
        return None, None

    def window(k: int, frames: list[Future[Any]]) -> tuple[int, Any]:
        return k, measure([future.result() for future in frames], k)

    wanted = iter(sorted(last_use))
    for rank, k in enumerate(order):
        start, stop = windows[k]
        while stop - 1 not in kept:
            z = next(wanted)
            kept[z] = Future()
            yield partial(frame, z, kept[z])
        yield partial(window, int(k), [kept[z] for z in range(start, stop)])
        kept = {z: future for z, future in kept.items() if last_use[z] > rank}
