"""Writing a stack as Zarr: the working store, a frame a chunk, or some small ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d.io import _chunk_sizes, _stream, _zarr_chunks, _zarr_headers

COMPRESSIONS: tuple[str | None, ...] = ("lz4", "zstd", "gzip", None)
FOLDER = True


def check(da: xr.DataArray) -> None:
    """Raise TypeError for a dtype that Zarr does not know."""
    if da.dtype.itemsize > 8:
        raise TypeError(f"da has dtype {da.dtype}, which Zarr does not know; use da.astype('float64')")


def write(da: xr.DataArray, ds: xr.Dataset, path: Path, *, compression: str | None, label: str) -> None:
    """Write an encoded stack as a Zarr v3 store, in parallel on the scheduler in force.

    Parameters
    ----------
    da : DataArray
        The stack.
    ds : Dataset
        The same as `stack3d.io._attrs.encode_stack` returns it, its not yet in blocks.
    path : Path
        A folder that is not there yet.
    compression : {"lz4", "zstd", "gzip", None}
        ``"lz4"`` and ``"zstd"`` shuffle bytes first (Blosc).
    label : str
        For the progress.
    """
    declare(ds, path, compression=compression, chunks=_stream.block_chunks(ds, _stream.frames_together(da)))
    _stream.write_frames(ds, write_block, path, label=label, arguments=lambda name: {"path": str(path), "name": name})


def declare(ds: xr.Dataset, path: Path, *, compression: str | None, chunks: Mapping[Any, tuple[int, ...]]) -> None:
    """Write all of an encoded stack but its frames: what `write_block` then fills.

    Parameters
    ----------
    ds, path, compression
        As for `write`.
    chunks : mapping
        Shape of a chunk of each variable made of frames.
    """
    large = {
        name: {
            "chunks": chunks[name],
            "compressors": _compressors(compression, variable.dtype.itemsize),
            # All in one folder: two more for each frame would take longer to make than its file.
            "chunk_key_encoding": {"name": "default", "separator": "."},
        }
        for name, variable in ds.variables.items()
        if _stream.is_large(variable)
    }
    if _zarr_headers.declare(ds, path, large):
        return
    # Of fixed width they have no specification in Zarr v3.
    texts = {name: variable.astype(object) for name, variable in ds.variables.items() if variable.dtype.kind == "U"}
    ds = ds.assign_coords(texts)
    encoding: dict[Any, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        encoding[name] = {"_FillValue": None} if variable.dtype.kind == "f" else {}
        if name in large:
            encoding[name] |= large[name]
        elif variable.ndim:
            encoding[name]["chunks"] = variable.shape
    # Lazy variables are declared, and written by the call that is not made.
    _stream.template(ds).to_zarr(
        str(path), mode="w-", zarr_format=3, consolidated=False, encoding=encoding, compute=False, align_chunks=False
    )
    _zarr_headers.consolidate(path)


def write_block(block: np.ndarray, start: tuple[int, ...], *, path: str, name: str) -> tuple[int, ...] | None:
    """Write a block of whole frames into the declared variable `name`; return the sizes of its chunks, where known."""
    # No two blocks share a chunk: see `_stream.frame_chunk` and `_stream.block_chunks`.
    folder = os.path.join(path, name)
    chunks = _zarr_chunks.of(folder)
    if chunks is not None:
        return _zarr_chunks.write(chunks, block, start)
    import zarr

    array = zarr.open_array(folder, mode="r+", zarr_format=3)
    array[tuple(slice(begin, begin + length) for begin, length in zip(start, block.shape))] = block
    return _chunk_sizes.of_block(folder, start, block.shape)


def _compressors(compression: str | None, itemsize: int) -> tuple[dict[str, Any], ...]:
    if compression is None:
        return ()
    if compression == "gzip":
        return ({"name": "gzip", "configuration": {"level": 1}},)
    settings = {"typesize": itemsize, "cname": compression, "clevel": {"lz4": 5, "zstd": 3}[compression]}
    return ({"name": "blosc", "configuration": {**settings, "shuffle": "shuffle", "blocksize": 0}},)
