"""How a kernel is run over a stack: frame by frame, over a window of slices, or reduced to numbers per frame.

Each way takes stacks in memory (frames in parallel threads) and lazy ones (blocks of whole frames; a chain of
slice-wise steps is one dask task a block), and gives the same bits for both.

A kernel is a function of arrays that knows nothing of labels. It returns a frame, or ``(frame, saturated)`` with
the number of pixels that were cut to the range of an integer dtype.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from stack3d import device as devices
from stack3d import kernels
from stack3d._blocks import array_from_blocks, block_values, values_of_one
from stack3d._warn import warn
from stack3d.options import worker_count

Kernel = Callable[..., Any]
_SATURATION_LIMIT = 1e-3


class SaturationWarning(UserWarning):
    """More than 0.1 % of the pixels were cut to the range of an integer dtype."""


class RechunkWarning(UserWarning):
    """Blocks did not hold whole frames and were merged."""


@dataclass(frozen=True)
class Call:
    """A kernel with the arguments it always gets, ready for frames, without infinite ones if it `measures`; picklable."""

    kernel: Kernel
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dtype: Any = None
    device: str = "cpu"
    writes: bool = False
    measures: bool = False

    def value(self, frames: Any, values: Mapping[str, Any], out: Any = None) -> Any:
        """Return what the kernel gives; one that writes may do so to `out`."""
        if self.device == "gpu" and isinstance(frames, list):
            frames = [devices.to_device(frame, "gpu") for frame in frames]
        elif self.device == "gpu":
            frames = devices.to_device(frames, "gpu")
        if self.measures and not isinstance(frames, list):
            frames = kernels.finite.measurable(frames)
        if self.writes and isinstance(out, np.ndarray) and self.device != "gpu":
            return self.kernel(frames, **values, **self.arguments, out=out)
        return self.kernel(frames, **values, **self.arguments)

    def frame(self, frames: Any, values: Mapping[str, Any], out: Any = None) -> tuple[Any, int]:
        """Return the new frame and how many of its pixels were cut to the range of its dtype."""
        if np.dtype(self.dtype).kind in "ui":
            _refuse_missing(frames, self.dtype)
        result = self.value(frames, values, out)
        result, saturated = result if isinstance(result, tuple) else (result, 0)
        if result.dtype != self.dtype:
            raise TypeError(f"{self.kernel.__name__} gave {result.dtype} where {np.dtype(self.dtype)} was announced")
        return (devices.to_host(result) if self.device == "gpu" else result), int(saturated)


def _refuse_missing(frames: Any, dtype: Any) -> None:
    for frame in frames if isinstance(frames, list) else [frames]:
        if frame.dtype.kind == "f" and bool((frame != frame).any()):
            raise ValueError(
                f"dtype={np.dtype(dtype).name!r}: the stack has missing pixels (NaN), which integers cannot hold; use "
                "dtype='float32', or fill them before"
            )


def warn_saturated(saturated: int, pixels: int, dtype: Any, *, whole: bool = True) -> None:
    """Warn when more than 0.1 % of `pixels` were cut to the range of `dtype`.

    A block of a lazy stack (`whole` False) knows only its own share: its words are the same for all blocks, so that
    Python shows them once.
    """
    if saturated <= _SATURATION_LIMIT * pixels:
        return
    percent = 100 * saturated / pixels
    known = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
    share = f"{known} % of the pixels" if whole else "more than 0.1 % of the pixels of a block"
    warn(
        f"{share} were outside the range of {np.dtype(dtype)} and were cut to it; pass dtype='float32' to keep them",
        SaturationWarning,
    )


def map_frames(
    da: xr.DataArray,
    kernel: Kernel,
    *,
    arguments: Mapping[str, Any] | None = None,
    per_frame: Mapping[str, xr.DataArray] | None = None,
    shape: tuple[int, int] | None = None,
    dtype: Any = None,
    device: str | None = None,
    label: str = "frames",
    writes: bool = False,
    measures: bool = False,
) -> Any:
    """Run ``kernel(frame, **values, **arguments)`` on every frame.

    Parameters
    ----------
    da : DataArray
        Stack with y, x last.
    kernel : callable
        From a 2-D frame to a 2-D frame of `shape` and `dtype`, or ``(frame, saturated)``.
    arguments : mapping, optional
        The same for every frame.
    per_frame : mapping of DataArray, optional
        Values that differ between frames: dims are some of the leading dims of `da`, then any of their own.
    shape : (int, int), optional
        Shape of the new frames (default: unchanged).
    dtype : dtype, optional
        Dtype of the new frames (default: unchanged).
    device : {"cpu", "gpu", "auto"}, optional
        Where the kernel runs; stacks on the GPU stay there.
    label : str
        Shown in progress, and the beginning of the names of dask keys.
    writes : bool
        The kernel takes ``out``, the place of the new frame in the new stack (or None), and may write there: that spares
        memory for the frame and a copy of it.
    measures : bool
        What it gives are numbers: infinite pixels are missing (NaN) in the frames it gets.

    Returns
    -------
    array
        Of the leading shape of `da` and `shape`; lazy exactly when `da` is.
    """
    out_shape = shape or (da.sizes["y"], da.sizes["x"])
    out_dtype = np.dtype(dtype or da.dtype)
    call = Call(kernel, dict(arguments or {}), out_dtype, _device(da, device), writes, measures)
    values = _leading_values(da, per_frame)
    if da.chunks is None:
        return _map_in_memory(da.data, call, values, out_shape, out_dtype, label)
    data = whole_frames(da).data
    chunks = (*data.chunks[:-2], (out_shape[0],), (out_shape[1],))
    return array_from_blocks(
        functools.partial(_map_block, call=call),
        name=_name(label, data.name, call, values),
        chunks=chunks,
        dtype=out_dtype,
        sources=[data],
        per_block=block_values(data.chunks[:-2], values),
        one=functools.partial(values_of_one, axis=data.ndim - 3) if data.ndim > 2 else None,
    )


def reduce_frames(
    da: xr.DataArray,
    kernel: Kernel,
    *,
    arguments: Mapping[str, Any] | None = None,
    per_frame: Mapping[str, xr.DataArray] | None = None,
    device: str | None = None,
    label: str = "frames",
    as_is: bool = False,
) -> dict[str, np.ndarray]:
    """Run ``kernel(frame, **values, **arguments) -> dict of numbers or small arrays`` on every frame, now.

    One pass over the stack, each frame read once, with progress; memory is that of the frames in work and of the
    results. Infinite pixels are missing (NaN) in the frames that the kernel gets, unless `as_is`.

    Returns
    -------
    dict of ndarray
        For each key of what the kernel returns: its values with the leading dims of `da` (channel, z) first, in
        slice order whatever the chunks.
    """
    call = Call(kernel, dict(arguments or {}), None, _device(da, device), measures=not as_is)
    values = _leading_values(da, per_frame)
    lead = da.shape[:-2]
    if da.chunks is None:
        results = _objects_in_memory(da.data, call, values, label)
    else:
        from stack3d.progress import compute

        lazy = _object_blocks(whole_frames(da).data, call, values, label)
        results = compute(lazy, label=label)[0][..., 0, 0]
    return _stacked(results.reshape(-1), lead)


def _stacked(results: Any, lead: tuple[int, ...]) -> dict[str, np.ndarray]:
    # Each number is let go once it stands in its column, so that what is kept of many frames is not held twice.
    rows, columns = [dict(result) for result in results], {}
    results[:] = None
    for key in list(rows[0]):
        column = np.stack([np.asarray(devices.to_host(row.pop(key))) for row in rows])
        columns[key] = column.reshape((*lead, *column.shape[1:]))
    return columns


def _device(da: xr.DataArray, device: str | None) -> str:
    # Kernels choose their form by the type of the array: one on the GPU needs no transfer.
    return "cpu" if devices.is_cupy(da.data) else devices.resolve(device)


def whole_frames(da: xr.DataArray) -> xr.DataArray:
    """Return a lazy stack whose blocks hold whole frames, with a warning where they had to be merged."""
    chunks = da.variable.chunksizes
    if len(chunks["y"]) == 1 and len(chunks["x"]) == 1:
        return da
    warn(
        f"blocks of {max(chunks['y'])} x {max(chunks['x'])} pixels were merged to whole frames of {da.sizes['y']} x {da.sizes['x']}; "
        "open or rechunk the stack with whole frames, da.chunk(y=-1, x=-1), to spare this",
        RechunkWarning,
    )
    from stack3d._blocks import frames_per_block

    sizes: dict[Any, Any] = dict.fromkeys(da.dims[:-2], 1)
    if "z" in sizes:
        sizes["z"] = frames_per_block(da.sizes["y"] * da.sizes["x"] * da.dtype.itemsize)
    return da.chunk({**sizes, "y": -1, "x": -1})


def _leading_values(da: xr.DataArray, per_frame: Mapping[str, xr.DataArray] | None) -> dict[str, np.ndarray]:
    lead = da.dims[:-2]
    values = {}
    for name, value in (per_frame or {}).items():
        own = [dim for dim in value.dims if dim not in lead]
        ordered = value.transpose(*(dim for dim in lead if dim in value.dims), *own)
        array = ordered.values
        index = tuple(slice(None) if dim in value.dims else np.newaxis for dim in lead)
        trailing = array.shape[array.ndim - len(own) :]
        values[name] = np.broadcast_to(array[index], (*da.shape[:-2], *trailing))
    return values


def _name(label: str, *parts: Any) -> str:
    from dask.base import tokenize

    from stack3d.progress import is_refused

    # What will not be computed needs no name by its content, which takes longer to find than all else of a graph.
    return f"{label.replace(' ', '-')}-{uuid.uuid4().hex if is_refused() else tokenize(*parts)}"


def _map_block(block: Any, values: dict[str, np.ndarray], call: Call) -> Any:
    lead = block.shape[:-2]
    saturated, out = 0, None
    if call.writes and isinstance(block, np.ndarray):
        out = np.empty(block.shape, call.dtype)
    for index in np.ndindex(lead):
        place = None if out is None else out[index]
        frame, cut = call.frame(block[index], {name: value[index] for name, value in values.items()}, place)
        saturated += cut
        if frame is place:
            continue
        if block[..., 0, 0].size == 1:
            out = frame.reshape((*lead, *frame.shape))
        else:
            if out is None:
                out = np.empty_like(frame, shape=(*lead, *frame.shape))
            out[index] = frame
    if out is not None and saturated:
        warn_saturated(saturated, out.size, call.dtype, whole=False)
    return out


def _object_block(block: Any, values: dict[str, np.ndarray], call: Call) -> np.ndarray:
    out = np.empty((*block.shape[:-2], 1, 1), dtype=object)
    for index in np.ndindex(block.shape[:-2]):
        out[(*index, 0, 0)] = call.value(block[index], {name: value[index] for name, value in values.items()})
    return out


def _object_blocks(data: Any, call: Call, values: dict[str, np.ndarray], label: str) -> Any:
    return array_from_blocks(
        functools.partial(_object_block, call=call),
        name=_name(label, data.name, call, values),
        chunks=(*data.chunks[:-2], (1,), (1,)),
        dtype=object,
        sources=[data],
        per_block=block_values(data.chunks[:-2], values),
    )


def in_threads(
    function: Callable[[Any], Any], items: Any, total: int, label: str, unit: str = "frames"
) -> Iterator[Any]:
    """Yield ``function(item)`` in order, run in the threads of `set_options(workers=)`, with progress."""
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor

    from stack3d.progress import track

    workers = min(worker_count(), max(1, total))
    with track(total, label=label, unit=unit) as advance:
        if workers == 1:
            for item in items:
                yield function(item)
                advance(1)
            return
        with ThreadPoolExecutor(workers) as pool:
            # A bounded queue: results wait for their turn, but never more than a few of them.
            pending: deque[Any] = deque()
            try:
                for item in items:
                    pending.append(pool.submit(function, item))
                    if len(pending) >= 2 * workers:
                        yield pending.popleft().result()
                        advance(1)
                while pending:
                    yield pending.popleft().result()
                    advance(1)
            finally:
                for future in pending:
                    future.cancel()


def _map_in_memory(data: Any, call: Call, values: dict[str, np.ndarray], shape: Any, dtype: Any, label: str) -> Any:
    lead = data.shape[:-2]
    out = np.empty_like(data, shape=(*lead, *shape), dtype=dtype, order="C")

    def run(index: tuple[int, ...]) -> int:
        place = out[index]
        frame, saturated = call.frame(data[index], {name: value[index] for name, value in values.items()}, place)
        if frame is not place:
            out[index] = frame
        return saturated

    saturated = sum(in_threads(run, np.ndindex(lead), int(np.prod(lead)), label))
    warn_saturated(saturated, out.size, dtype)
    return out


def _objects_in_memory(data: Any, call: Call, values: dict[str, np.ndarray], label: str) -> np.ndarray:
    lead = data.shape[:-2]
    count = int(np.prod(lead))
    out = np.empty(count, dtype=object)

    def run(index: tuple[int, ...]) -> Any:
        return call.value(data[index], {name: value[index] for name, value in values.items()})

    for position, result in enumerate(in_threads(run, np.ndindex(lead), count, label)):
        out[position] = result
    return out
