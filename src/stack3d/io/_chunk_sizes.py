"""Sizes of the chunks of a Zarr array: they tell one that is missing or cut short, and no pixel is read for that."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence

# Bytes of the header of what Blosc compressed; the last four of them say how long all of it is.
_HEADER = 16


def chunk_shape(folder: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """Return the shape of the chunks of an array; None where they do not lie in one folder, or its header is damaged."""
    try:
        with open(os.path.join(folder, "zarr.json"), encoding="utf-8") as file:
            header = json.load(file)
        if header["chunk_key_encoding"] != {"name": "default", "configuration": {"separator": "."}}:
            return None
        return tuple(header["chunk_grid"]["configuration"]["chunk_shape"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def names(chunk: Sequence[int], start: Sequence[int], shape: Sequence[int]) -> list[str]:
    """Return the files of the chunks of a block, in the order in which they are written."""
    along = [range(a // n, -(-(a + length) // n)) for a, length, n in zip(start, shape, chunk, strict=True)]
    return [".".join(("c", *map(str, index))) for index in itertools.product(*along)]


def of_block(folder: str, start: Sequence[int], shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the sizes of the chunks of a block as they are on disk; None where `chunk_shape` is."""
    chunk = chunk_shape(folder)
    if chunk is None:
        return None
    return tuple(size_of(os.path.join(folder, name)) for name in names(chunk, start, shape))


def listed(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Return the size of each file of a folder as the folder lists them; a file without content has -1."""
    sizes = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                sizes[entry.name] = entry.stat().st_size or -1
    except OSError:
        return sizes  # what is not listed is asked for by itself
    return sizes


def size_of(path: str | os.PathLike[str]) -> int:
    """Return the size of a file: 0 of one that is not there, -1 of one that cannot be opened, or is without content.

    It is opened for that: on a network disk what is listed may be older than what another machine wrote.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_size or -1
    except FileNotFoundError:
        return 0
    except OSError:
        return -1


def is_complete(path: str | os.PathLike[str]) -> bool:
    """Return whether a chunk that Blosc compressed is as long as its own header says."""
    try:
        with open(path, "rb", buffering=0) as file:
            header = file.read(_HEADER)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    return len(header) == _HEADER and int.from_bytes(header[12:], "little") == size
