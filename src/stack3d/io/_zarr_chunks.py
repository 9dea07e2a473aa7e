"""Chunks of a Zarr array read and written as files, without its event loop: the same bytes in a fraction of the time."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stack3d.io import _kept_chunks
from stack3d.io._fill import fill

_KINDS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
_NUMBERS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
# What Zarr calls them, and Blosc.
SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
# Bytes beyond those of its pixels that Blosc may need for a chunk; the largest chunk whose place is kept for the next.
_OVERHEAD, _KEPT_ROOM = 16, 2**26
# Bytes of the smallest chunk that is looked into before it is compressed, of a piece, and how many pieces; what a
# compressed chunk must be smaller than, in itself.
_PROBED, _PIECE, _PIECES, _PAYS = 2**18, 2**12, 8, 0.97

# Of the third byte that Blosc writes: what follows are the bytes as they are. Its first bytes of such chunks, which are
# the same for all of one size.
_AS_IS = 2
_headers: dict[tuple[Any, ...], bytes] = {}

_of_thread = threading.local()


class Chunks(NamedTuple):
    """An array on disk: where its chunks are, and how each is made; see `of`."""

    folder: str
    size: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    separator: str
    codec: Any = None
    mark: tuple[int, ...] | None = None

    def path(self, index: Sequence[int]) -> str:
        """Return the file of a chunk."""
        return os.path.join(self.folder, self.separator.join(("c", *map(str, index))))


def of(folder: str | os.PathLike[str]) -> Chunks | None:
    """Return how to read and write the chunks of an array, or None where only Zarr itself knows.

    Parameters
    ----------
    folder : path
        Of an array of format 3. Known are numbers as they are, with Blosc, Zstandard or without a compressor, in a
        regular grid.
    """
    folder = os.fspath(folder)
    try:
        facts = os.stat(os.path.join(folder, "zarr.json"))
    except OSError:
        return None
    return _known(folder, facts.st_mtime_ns, facts.st_ino, facts.st_dev)


@functools.lru_cache(maxsize=64)
def _known(folder: str, *mark: int) -> Chunks | None:
    with open(os.path.join(folder, "zarr.json"), encoding="utf-8") as file:
        found = from_header(json.load(file), folder)
    return None if found is None else found._replace(mark=mark)


def from_header(header: Mapping[str, Any], folder: str) -> Chunks | None:
    """Return the same from what a ``zarr.json`` holds."""
    if header.get("zarr_format") != 3 or header.get("node_type") != "array" or header.get("storage_transformers"):
        return None
    grid, keys, fill = header["chunk_grid"], header["chunk_key_encoding"], header["fill_value"]
    if header["data_type"] not in _KINDS or grid["name"] != "regular" or keys["name"] != "default":
        return None
    fill = _NUMBERS.get(fill, fill)
    first, *others = header["codecs"]
    if isinstance(fill, str) or first["name"] != "bytes" or len(others) > 1:
        return None
    codec = _codec(others[0]) if others else None
    if others and codec is None:
        return None
    order = {"little": "<", "big": ">"}[first.get("configuration", {}).get("endian", "little")]
    dtype = np.dtype(header["data_type"]).newbyteorder(order)
    shape = tuple(grid["configuration"]["chunk_shape"])
    separator = keys.get("configuration", {}).get("separator", "/")
    return Chunks(folder, tuple(header["shape"]), shape, dtype, np.asarray(fill, dtype), separator, codec)


def _codec(given: Mapping[str, Any]) -> Any:
    import numcodecs

    settings = given.get("configuration", {})
    if given["name"] == "blosc":
        shuffle = SHUFFLES[settings["shuffle"]]
        return numcodecs.Blosc(settings["cname"], settings["clevel"], shuffle, settings["blocksize"])
    return numcodecs.Zstd(settings["level"], settings["checksum"]) if given["name"] == "zstd" else None


def read(chunks: Chunks, place: Sequence[slice]) -> np.ndarray:
    """Return part of an array, in the byte order of the machine. A chunk without a file is all of the fill value."""
    bounds = [part.indices(size)[:2] for part, size in zip(place, chunks.size, strict=True)]
    out = np.empty([max(0, stop - start) for start, stop in bounds], chunks.dtype.newbyteorder("="))
    first = [start // length for (start, _), length in zip(bounds, chunks.shape)]
    counts = [
        max(0, -(-stop // length) - low) for (_, stop), length, low in zip(bounds, chunks.shape, first, strict=True)
    ]
    for step in np.ndindex(*counts):
        index = [a + b for a, b in zip(first, step)]
        ours: list[Any] = []
        theirs: list[slice] = []
        for k, length, (start, stop) in zip(index, chunks.shape, bounds):
            low, high = max(start, k * length), min(stop, (k + 1) * length)
            ours.append(slice(low - start, high - start))
            theirs.append(slice(low - k * length, high - k * length))
        _read_into(out[(*ours, ...)], chunks, index, tuple(theirs))
    return out


def _read_into(target: np.ndarray, chunks: Chunks, index: Sequence[int], place: tuple[slice, ...]) -> None:
    held = _kept_chunks.find(chunks.mark, tuple(index))
    if held is not None:
        target[...] = held[place]
        return
    path = chunks.path(index)
    # A whole chunk is read, or decoded, where it belongs.
    whole = target.shape == chunks.shape and target.flags.c_contiguous and target.dtype == chunks.dtype
    try:
        with open(path, "rb", buffering=0) as file:
            if whole and _read_raw(file, chunks.codec, target):
                return
            file.seek(0)
            data: Any = file.read()
    except FileNotFoundError:
        target[...] = chunks.fill
        return
    if chunks.codec is not None:
        try:
            _check_length(data, chunks.codec)
            data = chunks.codec.decode(data, target.reshape(-1) if whole else None)
        except (RuntimeError, ValueError) as error:
            raise OSError(f"the chunk {path!r} cannot be read: {error}") from error
        if whole:
            return
    values = np.frombuffer(data, np.uint8)
    if values.size != int(np.prod(chunks.shape)) * chunks.dtype.itemsize:
        raise OSError(f"the chunk {path!r} cannot be read: it holds {values.size} bytes of pixels")
    target[...] = values.view(chunks.dtype).reshape(chunks.shape)[place]


def _read_raw(file: Any, codec: Any, target: np.ndarray) -> bool:
    """Read a chunk that was stored as it is, and return whether it was."""
    if codec is None or codec.codec_id != "blosc":
        return False
    header, size = file.read(_OVERHEAD), target.nbytes
    lengths = [int.from_bytes(header[k : k + 4], "little") for k in (4, 12)]
    if header[:1] != b"\x02" or not header[2] & _AS_IS or lengths != [size, size + _OVERHEAD]:
        return False
    return fill(file, target)


def _check_length(data: bytes, codec: Any) -> None:
    # Blosc believes its header, and reads on beyond the end of what was cut short.
    if codec.codec_id == "blosc" and int.from_bytes(data[12:16], "little") != len(data):
        raise ValueError(f"it has {len(data)} bytes where its header says {int.from_bytes(data[12:16], 'little')}")


def write(chunks: Chunks, block: np.ndarray, start: Sequence[int]) -> tuple[int, ...]:
    """Write a block that begins at a chunk, and ends at one or at the end of the array; return the size of each file.

    As Zarr has it, a chunk that is all of the fill value is not written: its size is 0.

    Raises
    ------
    ValueError
        When it does not: another block would share a chunk with it.
    """
    for begin, length, n, size in zip(start, block.shape, chunks.shape, chunks.size, strict=True):
        if begin % n or ((begin + length) % n and begin + length != size):
            raise ValueError(f"a block at {tuple(start)} of {block.shape} does not fill chunks of {chunks.shape}")
    counts = [-(-size // length) for size, length in zip(block.shape, chunks.shape)]
    first = [begin // length for begin, length in zip(start, chunks.shape)]
    sizes = []
    for index in np.ndindex(*counts):
        place = tuple(slice(k * n, (k + 1) * n) for k, n in zip(index, chunks.shape))
        values = np.asarray(block[place], dtype=chunks.dtype, order="C")
        if values.shape != chunks.shape:
            whole = np.full(chunks.shape, chunks.fill, chunks.dtype)
            whole[tuple(slice(0, n) for n in values.shape)] = values
            values = whole
        number = tuple(a + b for a, b in zip(first, index))
        path = chunks.path(number)
        _kept_chunks.keep(chunks.mark, number, values)
        if _is_fill(values, chunks.fill):
            if os.path.exists(path):
                os.remove(path)
            sizes.append(0)
            continue
        if chunks.separator == "/":
            os.makedirs(os.path.dirname(path), exist_ok=True)
        parts = [values.data] if chunks.codec is None else _encoded(values, chunks.codec)
        try:
            with open(path, "wb", buffering=0) as file:
                sizes.append(sum(_write_all(file, part) for part in parts))
        except OSError as error:  # a full disk has no name of its own
            error.filename = path
            raise
    return tuple(sizes)


def _encoded(values: np.ndarray, codec: Any) -> list[Any]:
    """Return the parts of a compressed chunk, with Blosc to be used before the next is, in this thread: they take one place.

    New memory for each chunk costs as much as compressing it. One thread a chunk: others are at work on other chunks,
    and the bytes are the same every time.
    """
    if codec.codec_id != "blosc":
        return [codec.encode(values)]
    level = codec.clevel if _gets_smaller(values, codec) else 0
    as_is = (values.nbytes, values.itemsize, codec.cname, codec.shuffle, codec.blocksize)
    if not level and as_is in _headers:
        return [_headers[as_is], values.data]
    needed = values.nbytes + _OVERHEAD
    room = getattr(_of_thread, "room", b"")
    if len(room) < needed:
        room = bytearray(needed)
        if needed <= _KEPT_ROOM:
            _of_thread.room = room
    # With more room it would leave what does not get smaller larger than it was.
    data = _blosc(values, codec, level, memoryview(room)[:needed])
    if not level:
        _headers[as_is] = bytes(data[:_OVERHEAD])
    return [data]


def _blosc(values: np.ndarray, codec: Any, level: int, out: Any = None) -> Any:
    import imagecodecs

    encode: Any = imagecodecs.blosc_encode
    return encode(
        values,
        level=level,
        compressor=codec.cname,
        shuffle=codec.shuffle,
        typesize=values.dtype.itemsize,
        blocksize=codec.blocksize,
        numthreads=1,
        out=out,
    )


def _gets_smaller(values: np.ndarray, codec: Any) -> bool:
    """Return whether compressing a chunk pays, told by a little from all of it; if not, it is stored as it is.

    Of the noise of a detector LZ4 spares nothing, and takes longer than all else that becomes of a chunk.
    """
    if codec.cname != "lz4" or values.dtype.itemsize > 2 or values.nbytes < _PROBED:
        return True
    pixels = values.reshape(-1)
    length = _PIECE // pixels.itemsize
    last = pixels.size - length
    probe = np.concatenate([pixels[k : k + length] for k in (n * last // (_PIECES - 1) for n in range(_PIECES))])
    return len(_blosc(probe, codec, codec.clevel)) < _PAYS * probe.nbytes


def _write_all(file: Any, data: Any) -> int:
    left = memoryview(data).cast("B")
    size = len(left)
    while left:
        left = left[file.write(left) :]
    return size


def _is_fill(values: np.ndarray, fill: np.ndarray) -> bool:
    pattern = np.frombuffer(fill.tobytes(), np.uint8)
    if pattern.any():
        return False  # nothing is spared where the fill value is not 0
    bits = values.reshape(-1).view(np.uint8)
    # Most frames begin with something.
    return not bits[:4096].any() and not bits.any()
