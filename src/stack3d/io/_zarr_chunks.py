"""Chunks of a Zarr array written as files, without its event loop: the same bytes in a fraction of the time."""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

import numpy as np


class Chunks(NamedTuple):
    """Where the chunks of an array on disk are, and how each is made; see `of`."""

    folder: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    compress: Any


def of(array: Any, folder: str) -> Chunks | None:
    """Return how to write the chunks of an open Zarr array, or None where only Zarr itself knows.

    Parameters
    ----------
    array : zarr.Array
        Of format 3. Known are bytes as they are, with Blosc or without a compressor, in a regular grid.
    folder : str
        Where it is on disk.
    """
    from zarr.codecs import BloscCodec, BytesCodec

    metadata = array.metadata
    grid, keys = metadata.chunk_grid.to_dict(), metadata.chunk_key_encoding.to_dict()
    if grid["name"] != "regular" or keys["name"] != "default" or keys["configuration"]["separator"] != "/":
        return None
    first, *others = metadata.codecs
    if not isinstance(first, BytesCodec) or len(others) > 1 or (others and type(others[0]) is not BloscCodec):
        return None
    compress = functools.partial(_blosc, **_settings(others[0])) if others else None
    little = array.dtype.newbyteorder("<")
    return Chunks(folder, tuple(array.chunks), little, np.asarray(metadata.fill_value, little), compress)


def write(chunks: Chunks, block: np.ndarray, start: tuple[int, ...]) -> None:
    """Write a block that begins at a chunk, and ends at one or at the end of the array.

    As Zarr has it, a chunk that is all of the fill value is not written.
    """
    counts = [-(-size // length) for size, length in zip(block.shape, chunks.shape)]
    first = [begin // length for begin, length in zip(start, chunks.shape)]
    for index in np.ndindex(*counts):
        place = tuple(slice(k * n, (k + 1) * n) for k, n in zip(index, chunks.shape))
        values = np.ascontiguousarray(block[place], dtype=chunks.dtype)
        if values.shape != chunks.shape:
            whole = np.full(chunks.shape, chunks.fill, chunks.dtype)
            whole[tuple(slice(0, n) for n in values.shape)] = values
            values = whole
        path = os.path.join(chunks.folder, "c", *(str(a + b) for a, b in zip(first, index)))
        if _is_fill(values, chunks.fill):
            if os.path.exists(path):
                os.remove(path)
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = values.data if chunks.compress is None else chunks.compress(values)
        with open(path, "wb") as file:
            file.write(data)


def _is_fill(values: np.ndarray, fill: np.ndarray) -> bool:
    pattern = np.frombuffer(fill.tobytes(), np.uint8)
    if pattern.any():
        return False  # nothing is spared where the fill value is not 0
    bits = values.reshape(-1).view(np.uint8)
    # Most frames begin with something.
    return not bits[:4096].any() and not bits.any()


def _settings(codec: Any) -> dict[str, Any]:
    given = codec.to_dict()["configuration"]
    shuffles = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
    return {
        "cname": given["cname"],
        "clevel": given["clevel"],
        "shuffle": shuffles[given["shuffle"]],
        "blocksize": given["blocksize"],
    }


def _blosc(values: np.ndarray, **settings: Any) -> Any:
    from numcodecs import Blosc

    return Blosc(**settings).encode(values)
