"""Writing the blocks of a stack as they are computed, a few in memory at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    import dask.array

# A chunk in a file holds a frame; compressors take no more than 2 GiB.
_LARGEST_CHUNK = 2**30


def frame_chunk(sizes: dict[Hashable, int], itemsize: int) -> tuple[int, ...]:
    """Return the shape of a chunk in the file: one frame, or a band of rows of a frame beyond 1 GiB."""
    rows = sizes["y"]
    while rows * sizes["x"] * itemsize > _LARGEST_CHUNK and rows > 1:
        rows = -(-rows // 2)
    return tuple({"y": rows, "x": size}.get(str(dim), 1) for dim, size in sizes.items())


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


def in_blocks(ds: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with its variables of frames as dask arrays on the host, in blocks of whole frames."""
    return ds.assign({name: _blocks(variable) for name, variable in ds.variables.items() if is_large(variable)})


def _blocks(variable: xr.Variable) -> xr.Variable:
    from stack3d import device
    from stack3d._blocks import frames_per_block

    frame_bytes = variable.sizes["y"] * variable.sizes["x"] * variable.dtype.itemsize
    count = frames_per_block(frame_bytes)
    whole = {"y": -1, "x": -1}
    if variable.chunks is None:
        return variable.copy(deep=False, data=_views(device.to_host(variable.data), variable.dims, count))
    data = variable.data
    if type(data._meta).__module__.partition(".")[0] == "cupy":
        data = data.map_blocks(device.to_host, dtype=data.dtype, meta=np.empty((0,) * data.ndim, data.dtype))
    lengths = dict(zip(variable.dims, data.chunks))
    if len(lengths["y"]) > 1 or len(lengths["x"]) > 1:
        size = {dim: min(max(lengths[dim]), count if dim == "z" else 1) for dim in variable.dims if dim not in whole}
        data = data.rechunk(tuple({**whole, **size}[dim] for dim in variable.dims))
    return variable.copy(deep=False, data=data)


def _views(data: np.ndarray, dims: tuple[Hashable, ...], count: int) -> dask.array.Array:
    """Return an array in memory as a lazy one whose blocks are views: dask's own from_array makes a copy."""
    from stack3d._blocks import array_from_blocks, split

    lengths = [size if dim in ("y", "x") else count if dim == "z" else 1 for dim, size in zip(dims, data.shape)]
    chunks = tuple(split(size, length) for size, length in zip(data.shape, lengths))

    def view(index: tuple[int, ...]) -> np.ndarray:
        return data[tuple(slice(i * length, (i + 1) * length) for i, length in zip(index, lengths))]

    name = f"in-memory-{uuid.uuid4().hex}"
    return array_from_blocks(_same, name=name, chunks=chunks, dtype=data.dtype, per_block=view)


def _same(block: np.ndarray) -> np.ndarray:
    return block


def write_blocks(data: dask.array.Array, write: Callable[..., None], **arguments: Any) -> dask.array.Array:
    """Return a lazy array that calls ``write(block, start, **arguments)`` for each block when it is computed.

    `start` is the place of the block's first element. The array has one byte a block.
    """
    from stack3d._blocks import array_from_blocks

    edges = [np.cumsum((0, *lengths)) for lengths in data.chunks]
    name = f"write-{uuid.uuid4().hex}"
    return array_from_blocks(
        _Written(write),
        name=name,
        chunks=tuple((1,) * len(lengths) for lengths in data.chunks),
        dtype=np.uint8,
        sources=[data],
        per_block=lambda index: tuple(int(edge[i]) for edge, i in zip(edges, index)),
        arguments=arguments,
    )


class _Written:
    """Calls `write` and returns a byte, so that a computed block is not kept."""

    def __init__(self, write: Callable[..., None]) -> None:
        self.write = write

    def __call__(self, block: Any, start: tuple[int, ...], **arguments: Any) -> np.ndarray:
        self.write(np.asarray(block), start, **arguments)
        return np.ones((1,) * np.ndim(block), np.uint8)


@contextlib.contextmanager
def workers(*, lazy: bool) -> Iterator[None]:
    """Run threaded work inside in threads that have ended when the block ends, also after an error.

    Dask's own threads go on with the tasks they have begun, and would write into what is being removed.

    Parameters
    ----------
    lazy : bool
        Whether the stack was lazy: the scheduler in force then runs it. A stack in memory is never sent away.
    """
    import dask
    import dask.threaded
    from dask.base import get_scheduler

    from stack3d.options import worker_count

    if lazy and (get_scheduler() not in (None, dask.threaded.get) or dask.config.get("pool", None) is not None):
        yield
        return
    count = (dask.config.get("num_workers", None) or os.cpu_count() or 1) if lazy else worker_count()
    pool = ThreadPoolExecutor(count)
    try:
        with dask.config.set(pool=pool, scheduler="threads"):
            yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class FolderLock:
    """A lock between threads, processes and machines: whoever makes the folder holds it. Pickles."""

    patience = 600.0

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)

    def __enter__(self) -> FolderLock:
        holder, since, pause = 0, time.monotonic(), 0.0005
        while not self._make():
            time.sleep(pause)
            pause = min(2 * pause, 0.005)
            with contextlib.suppress(OSError):
                made = os.stat(self.path).st_mtime_ns
                if made != holder:
                    holder, since = made, time.monotonic()
            if time.monotonic() - since > self.patience:
                raise OSError(errno.EIO, f"a process that was writing died, or is stuck: it holds {self.path!r}")
        return self

    def _make(self) -> bool:
        try:
            Path(self.path).mkdir()
        except FileExistsError:
            return False
        except PermissionError:
            if os.name != "nt":  # Windows refuses a folder that is just being removed
                raise
            return False
        return True

    def __exit__(self, *details: object) -> None:
        Path(self.path).rmdir()

    def remove(self) -> None:
        """Take away what a process that was killed left."""
        with contextlib.suppress(OSError):
            Path(self.path).rmdir()
