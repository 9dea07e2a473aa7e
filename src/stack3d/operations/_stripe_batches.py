"""Frames sent to a GPU in batches, so that it is filled: as many at once as its free memory holds."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import device as devices
from stack3d._blocks import array_from_blocks
from stack3d.execution import Call, _name, in_threads, warn_saturated, whole_frames
from stack3d.options import get_option
from stack3d.windows import _frames_of, _gathered, check_windows

_FRAMES = 24  # of float32, that a kernel needs at most for each frame it treats
_BESIDE = 12  # more where it is compared with its neighbours
_SHARE = 0.5  # of the free memory
_MOST = 64  # more fill no device better
# One batch at a time in a process: each is sized by the memory that is free.
_turn = threading.Lock()


def on_gpu(da: xr.DataArray, device: str | None) -> bool:
    """Return whether frames of a stack are treated on the GPU."""
    return devices.is_cupy(da.data) or devices.resolve(device) == "gpu"


def on_cpu(da: xr.DataArray, device: str | None) -> str:
    """Return ``"cpu"`` for a method that runs nowhere else; "auto" is that.

    Raises
    ------
    ValueError
        Where the GPU is asked for, or the stack lies there.
    """
    wanted = get_option("device") if device is None else device
    devices.resolve("auto" if wanted == "gpu" else wanted)
    if wanted == "gpu" or devices.is_cupy(da.data):
        where = "the stack lies on the GPU" if devices.is_cupy(da.data) else "device='gpu'"
        raise ValueError(f"method='pyvsnr' is computed on the CPU, but {where}; use device='cpu', or method='vsnr'")
    return "cpu"


def batch_size(shape: tuple[int, int], frames: int = _FRAMES) -> int:
    """Return how many frames of a shape are treated at once, by the free memory of the device: each takes so many frames."""
    import cupy

    free = int(cupy.cuda.runtime.memGetInfo()[0]) + int(cupy.get_default_memory_pool().free_bytes())
    return int(np.clip(_SHARE * free / (frames * 4 * max(shape[0] * shape[1], 1)), 1, _MOST))


def map_batches(
    da: xr.DataArray, kernel: Callable[..., Any], *, arguments: Mapping[str, Any], dtype: Any, label: str
) -> Any:
    """Run ``kernel(frames, **arguments)`` on batches (n, y, x) on the GPU; else as `stack3d.execution.map_frames`."""
    there = devices.is_cupy(da.data)
    call = Call(kernel, dict(arguments), np.dtype(dtype), "cpu" if there else "gpu")
    if da.chunks is not None:
        data = whole_frames(da).data
        name = _name(label, data.name, call)
        return array_from_blocks(
            functools.partial(_block, call=call), name=name, chunks=data.chunks, dtype=dtype, sources=[data]
        )
    data = da.data
    out = np.empty_like(data, dtype=dtype, order="C")
    size = batch_size(data.shape[-2:])
    places = list(np.ndindex(data.shape[:-2]))
    batches = [places[k : k + size] for k in range(0, len(places), size)]
    saturated = sum(in_threads(lambda some: _run(data, out, some, call), batches, len(batches), label))
    warn_saturated(saturated, out.size, dtype)
    return out


def _block(block: Any, call: Call) -> Any:
    out = np.empty_like(block, dtype=call.dtype, order="C")
    size, places = batch_size(block.shape[-2:]), list(np.ndindex(block.shape[:-2]))
    saturated = sum(_run(block, out, places[k : k + size], call) for k in range(0, len(places), size))
    warn_saturated(saturated, out.size, call.dtype, whole=False)
    return out


def _run(data: Any, out: Any, places: list[tuple[int, ...]], call: Call) -> int:
    frames = np.stack([data[place] for place in places])
    with _turn:
        values, saturated = call.frame(frames, {})
    for place, value in zip(places, values, strict=True):
        out[place] = value
    return saturated


def map_window_batches(
    da: xr.DataArray,
    kernel: Callable[..., Any],
    windows: np.ndarray,
    *,
    arguments: Mapping[str, Any],
    per_output: Mapping[str, Any],
    dtype: Any,
    label: str,
) -> Any:
    """Run ``kernel([frame, ...], windows, **values, **arguments)`` on several windows at once on the GPU.

    The kernel gets the frames that the windows need, each once, the windows among them, and lists of values; it gives frames
    (n, y, x) and how many pixels were cut. Else as `stack3d.windows.map_windows`.
    """
    windows = check_windows(windows, da.sizes["z"])
    there = devices.is_cupy(da.data)
    call = Call(kernel, dict(arguments), np.dtype(dtype), "cpu" if there else "gpu")
    values = {name: list(value) for name, value in per_output.items()}
    if da.chunks is not None:
        source = whole_frames(da).data
        trailing = ((source.shape[-2],), (source.shape[-1],))
        return _gathered(source, call, windows, values, call.dtype, trailing, label, _window_blocks)
    data = da.data
    out = np.empty_like(data, dtype=dtype, order="C")
    parts = _parts(data.shape[-2:], len(windows))
    jobs = [(lead, part) for lead in np.ndindex(data.shape[:-3]) for part in parts]

    def run(job: tuple[tuple[int, ...], slice]) -> int:
        lead, part = job
        out[(*lead, part)], saturated = _windows_at_once(list(data[lead]), part, windows, values, call)
        return saturated

    saturated = sum(in_threads(run, jobs, len(jobs), label))
    warn_saturated(saturated, out.size, dtype)
    return out


def _window_blocks(blocks: list[Any], call: Call, windows: np.ndarray, values: dict[str, list[Any]]) -> Any:
    out, saturated = None, 0
    for lead in np.ndindex(blocks[0].shape[:-3]):
        frames = _frames_of(blocks, lead)
        for part in _parts(frames[0].shape, len(windows)):
            found, cut = _windows_at_once(frames, part, windows, values, call)
            saturated += cut
            if out is None:
                shape = (*blocks[0].shape[:-3], len(windows), *frames[0].shape)
                out = np.empty_like(found, shape=shape, order="C")
            out[(*lead, part)] = found
    if out is not None:
        warn_saturated(saturated, out.size, call.dtype, whole=False)
    return out


def _parts(shape: tuple[int, int], count: int) -> list[slice]:
    size = batch_size(shape, _FRAMES + _BESIDE)
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _windows_at_once(
    frames: list[Any], part: slice, windows: np.ndarray, values: dict[str, list[Any]], call: Call
) -> tuple[Any, int]:
    some = windows[part]
    first, last = int(some[:, 0].min()), int(some[:, 1].max())
    with _turn:
        return call.frame(frames[first:last], {"windows": some - first, **{key: v[part] for key, v in values.items()}})
