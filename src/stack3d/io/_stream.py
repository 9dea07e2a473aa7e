"""Writing the blocks of a stack as they are computed, a few in memory at a time."""

from __future__ import annotations

import functools
import itertools
import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    import dask.array

Needed = Callable[[str, tuple[int, ...], tuple[int, ...]], bool]

# A chunk in a file holds a frame; compressors take no more than 2 GiB.
_LARGEST_CHUNK = 2**30


def frame_chunk(sizes: dict[Hashable, int], itemsize: int) -> tuple[int, ...]:
    """Return the shape of a chunk in the file: one frame, or a band of rows of a frame beyond 1 GiB."""
    rows = sizes["y"]
    while rows * sizes["x"] * itemsize > _LARGEST_CHUNK and rows > 1:
        rows = -(-rows // 2)
    return tuple({"y": rows, "x": size}.get(str(dim), 1) for dim, size in sizes.items())


def frames_together(da: xr.DataArray) -> int:
    """Return how many small frames of a stack a chunk may hold so that all blocks it is written in are whole chunks.

    At most those of a block of float32: looking at one of them stays cheap.
    """
    from stack3d._blocks import frames_per_block, split

    if "z" not in da.dims:
        return 1
    own = split(da.sizes["z"], _block_lengths(da.variable)[da.dims.index("z")])
    lengths = own if da.chunks is None else da.variable.chunksizes["z"]
    # What makes stacks of other lengths cuts them in blocks as long as the longest.
    together = math.gcd(max(lengths), *np.cumsum(lengths)[:-1].tolist())
    most = min(together, frames_per_block(4 * da.sizes["y"] * da.sizes["x"]))
    return max(n for n in range(1, most + 1) if together % n == 0)


def block_chunks(ds: xr.Dataset, frames: int) -> dict[Hashable, tuple[int, ...]]:
    """Return the shape of a chunk of each variable made of frames: of so many, or of one where two blocks would share it."""
    return {name: _block_chunk(variable, frames) for name, variable in ds.variables.items() if is_large(variable)}


def _block_chunk(variable: xr.Variable, frames: int) -> tuple[int, ...]:
    sizes = {str(dim): size for dim, size in variable.sizes.items()}
    shape = frame_chunk(dict(variable.sizes), variable.dtype.itemsize)
    if frames == 1 or "z" not in sizes or shape[-2:] != variable.shape[-2:]:
        return shape
    axis = variable.dims.index("z")
    if any(start[axis] % frames for start, _ in blocks(variable)):
        return shape
    return tuple(min(frames, sizes["z"]) if k == axis else n for k, n in enumerate(shape))


def is_large(variable: xr.Variable) -> bool:
    """Return whether a variable is made of frames: the data, or a coordinate of the size of the stack."""
    return {"y", "x"} <= set(variable.dims)


def unread_in_blocks(da: xr.DataArray) -> xr.DataArray:
    """Return a stack that was opened without chunks, and is not read yet, as a lazy one."""
    from stack3d._blocks import frames_per_block

    if da.chunks is not None or getattr(da.variable, "_in_memory", True):
        return da
    count = frames_per_block(da.sizes["y"] * da.sizes["x"] * da.dtype.itemsize)
    return da.chunk({dim: count if dim == "z" else 1 for dim in da.dims if dim not in ("y", "x")})


def load_small(da: xr.DataArray) -> xr.DataArray:
    """Return a stack with its lazy coordinates in memory, all in one computation, but for those made of frames."""
    import dask

    small = {
        name: coord.variable
        for name, coord in da.coords.items()
        if coord.chunks is not None and not is_large(coord.variable)
    }
    return da.assign_coords(dask.compute(small)[0]) if small else da


def template(ds: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with lazy zeros for the variables made of frames: what a header is written from."""
    import dask.array

    zeros = {
        name: variable.copy(deep=False, data=dask.array.zeros(variable.shape, dtype=variable.dtype, chunks=-1))
        for name, variable in ds.variables.items()
        if is_large(variable)
    }
    return ds.assign(zeros)


def blocks(variable: xr.Variable) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield start and shape of each block that `write_frames` makes of a variable."""
    if variable.chunks is None:
        lengths = _block_lengths(variable)
        chunks: Any = [
            [min(n, size - k) for k in range(0, size, n)] for size, n in zip(variable.shape, lengths, strict=True)
        ]
    else:
        chunks = _whole_frames(variable).chunks
    edges = [np.cumsum((0, *lengths)) for lengths in chunks]
    for index in np.ndindex(*map(len, chunks)):
        start = tuple(int(edge[k]) for edge, k in zip(edges, index, strict=True))
        yield start, tuple(int(lengths[k]) for lengths, k in zip(chunks, index, strict=True))


def write_frames(
    ds: xr.Dataset,
    write: Callable[..., object],
    partial: Path,
    *,
    label: str,
    arguments: Callable[[str], dict[str, Any]],
    needed: Needed | None = None,
) -> None:
    """Call ``write(block, start, **arguments(name))`` for each block of frames of each variable made of frames.

    Lazy variables are computed by the scheduler in force; what is in memory is never sent away, but written by
    threads here. Blocks hold whole frames and come in any order, several at once.

    Parameters
    ----------
    ds : Dataset
        An encoded stack.
    write : callable
        `start` is the place of the block's first element.
    partial : Path
        What is written to: after an error no call of `write` goes on, or begins, where it runs in this process.
    label : str
        For the progress.
    arguments : callable
        Gives what `write` takes beside, for the name of a variable.
    needed : callable, optional
        ``needed(name, start, shape)``: whether a block is to be written at all (default: all are). What only the
        others need is not computed.
    """
    from stack3d import progress

    with _writes:
        _stopped.discard(str(partial))
    lazy: list[dask.array.Array] = []
    frames = 0
    try:
        for name, variable in ds.variables.items():
            if not is_large(variable):
                continue
            task = _Write(write, str(partial), arguments(str(name)))
            if variable.chunks is None:
                _write_in_threads(variable, task, label, str(name), needed)
            else:
                data = _whole_frames(variable)
                parts, count = _needed_parts(_lazy_write(data, task), data.chunks, str(name), needed)
                lazy += parts
                frames += count
        if lazy:
            progress.compute(*lazy, label=label, total=frames, discard=True)
    except BaseException:
        _stop(str(partial))
        raise


def _needed_parts(
    writes: dask.array.Array, chunks: tuple[tuple[int, ...], ...], name: str, needed: Needed | None
) -> tuple[list[dask.array.Array], int]:
    """Return the lazy writes of the blocks that are needed, in runs along z, and how many frames these hold."""
    counts = functools.reduce(np.multiply.outer, chunks[:-2], np.array(1)).reshape(-1)
    if needed is None:
        return [writes], int(counts.sum())
    edges = [np.cumsum((0, *lengths)) for lengths in chunks]
    wanted = np.array(
        [
            needed(
                name,
                tuple(int(edge[k]) for edge, k in zip(edges, index)),
                tuple(lengths[k] for lengths, k in zip(chunks, index)),
            )
            for index in np.ndindex(writes.shape)
        ],
        dtype=bool,
    ).reshape(writes.shape)
    count = int(counts[wanted.reshape(-1)].sum())
    if wanted.all():
        return [writes], count
    along = max(range(writes.ndim), key=lambda axis: writes.shape[axis])
    parts = []
    for index in np.ndindex(*(1 if axis == along else size for axis, size in enumerate(writes.shape))):
        row = wanted[tuple(slice(None) if axis == along else k for axis, k in enumerate(index))]
        steps = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
        for begin, end in steps.reshape(-1, 2):
            place = tuple(slice(begin, end) if axis == along else slice(k, k + 1) for axis, k in enumerate(index))
            parts.append(writes[place])
    return parts, count


def _write_in_threads(variable: xr.Variable, task: _Write, label: str, name: str, needed: Needed | None) -> None:
    from stack3d import device, progress
    from stack3d.options import worker_count

    lengths = _block_lengths(variable)
    starts = list(itertools.product(*(range(0, size, length) for size, length in zip(variable.shape, lengths))))
    frames = int(np.prod([size for dim, size in variable.sizes.items() if dim not in ("y", "x")]))
    if needed is not None:
        cut = [
            tuple(min(begin + n, size) - begin for begin, n, size in zip(start, lengths, variable.shape))
            for start in starts
        ]
        starts = [start for start, shape in zip(starts, cut) if needed(name, start, shape)]

    def block(start: tuple[int, ...]) -> int:
        place = tuple(slice(begin, begin + length) for begin, length in zip(start, lengths))
        pixels = device.to_host(variable.data[place])
        task(pixels, start)
        return int(np.prod(pixels.shape[:-2]))

    with progress.track(frames, label) as advance, ThreadPoolExecutor(worker_count()) as pool:
        futures = [pool.submit(block, start) for start in starts]
        try:
            for future in as_completed(futures):
                advance(future.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _block_lengths(variable: xr.Variable) -> tuple[int, ...]:
    from stack3d._blocks import frames_per_block

    count = frames_per_block(variable.sizes["y"] * variable.sizes["x"] * variable.dtype.itemsize)
    return tuple(
        size if dim in ("y", "x") else min(size, count) if dim == "z" else 1 for dim, size in variable.sizes.items()
    )


def _whole_frames(variable: xr.Variable) -> dask.array.Array:
    """Return the dask array of a variable, in blocks of whole frames on the host."""
    from stack3d import device

    data: Any = variable.data
    if type(data._meta).__module__.partition(".")[0] == "cupy":
        data = data.map_blocks(device.to_host, dtype=data.dtype, meta=np.empty((0,) * data.ndim, data.dtype))
    if data.numblocks[variable.dims.index("y")] > 1 or data.numblocks[variable.dims.index("x")] > 1:
        ours = _block_lengths(variable)
        data = data.rechunk(
            tuple(
                length if dim in ("y", "x") else min(length, max(theirs))
                for dim, length, theirs in zip(variable.dims, ours, data.chunks)
            )
        )
    whole: dask.array.Array = data
    return whole


def _lazy_write(data: dask.array.Array, task: _Write) -> dask.array.Array:
    """Return a lazy array, one byte a block, that writes the blocks of another when it is computed."""
    from stack3d._blocks import array_from_blocks

    edges = [np.cumsum((0, *lengths)) for lengths in data.chunks]
    return array_from_blocks(
        task,
        name=f"write-{uuid.uuid4().hex}",
        chunks=tuple((1,) * len(lengths) for lengths in data.chunks),
        dtype=np.uint8,
        sources=[data],
        per_block=lambda index: tuple(int(edge[i]) for edge, i in zip(edges, index)),
    )


class _Write:
    """Writes a block and returns a byte, so that no computed block is kept."""

    def __init__(self, write: Callable[..., object], partial: str, arguments: dict[str, Any]) -> None:
        self.write, self.partial, self.arguments = write, partial, arguments

    def __call__(self, block: Any, start: tuple[int, ...]) -> np.ndarray:
        with _writes:
            if self.partial in _stopped:
                return np.zeros((1,) * np.ndim(block), np.uint8)
            _writing[self.partial] += 1
        try:
            self.write(np.asarray(block), start, **self.arguments)
        finally:
            with _writes:
                _writing[self.partial] -= 1
                _writes.notify_all()
        return np.ones((1,) * np.ndim(block), np.uint8)


# Dask's threads go on with the tasks they have begun when one of them fails, and would write into what is removed.
_writes = threading.Condition()
_writing: Counter[str] = Counter()
_stopped: set[str] = set()


def _stop(partial: str) -> None:
    """Let no block be written any more in this process, and wait for those that are being written."""
    with _writes:
        _stopped.add(partial)
        _writes.wait_for(lambda: _writing[partial] == 0)
