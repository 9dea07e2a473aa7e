"""Writing a lazy stack so that an interrupted write goes on where it stopped.

The store is made as ``NAME.unfinished``; marks beside it say which blocks are written. When all are, the store takes
its name. What is under ``NAME`` is therefore whole, and made of the same bytes however often it was begun. The marks
stay: should chunks be lost later, they tell which, and the store is taken up again as one that is not whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d._warn import warn
from stack3d.io import _attrs, _stream, _zarr_chunks, write_zarr
from stack3d.runs import _damage, _marks


def write(da: xr.DataArray, path: Path, *, label: str, compression: str | None = "lz4", frames: int = 1) -> None:
    """Write a stack as the Zarr store `path`, or the rest of it.

    Parameters
    ----------
    da : DataArray
        Lazy; the same at every try.
    path : Path
        Not there yet. Its folder must be.
    label : str
        For the progress.
    compression : str, optional
        As for `stack3d.save`.
    frames : int
        How many a chunk holds where blocks are made of so many; see `_stream.block_chunks`.
    """
    store = Store(da, path, compression, frames)
    store.write(label=label)
    store.finish()


class Store:
    """A store in the making: declared when this is made, unless it was begun before.

    Parameters
    ----------
    da, path, compression, frames
        As for `write`.
    """

    def __init__(self, da: xr.DataArray, path: Path, compression: str | None = "lz4", frames: int = 1) -> None:
        da = _stream.load_small(_stream.unread_in_blocks(da))
        self.ds, self.path = _attrs.encode_stack(da), path
        self.partial, self.marks = unfinished(path), marks_of(path)
        self._done: set[str] = set()
        chunks = _stream.block_chunks(self.ds, frames)
        print_of_header = _header(self.ds, (compression, chunks))
        self.begun_before = self.partial.is_dir() and _marks.is_of(self.marks, print_of_header)
        if self.begun_before and self._go_on():
            return
        self.begun_before = False
        for left in (self.partial, self.marks):
            shutil.rmtree(left, ignore_errors=True)
        beginning = Path(f"{path}.beginning")
        shutil.rmtree(beginning, ignore_errors=True)
        write_zarr.declare(self.ds, beginning, compression=compression, chunks=chunks)
        files = _damage.files_of(beginning)
        os.replace(beginning, self.partial)
        _marks.begin(self.marks, print_of_header, files)

    def _go_on(self) -> bool:
        """Find the blocks that are written and still as they were; return False where the store must be made anew."""
        damage = _damage.found(self.partial, self.marks)
        if damage:
            warn(f"{str(self.partial)!r}, which is not whole yet, has {damage}: {damage.remedy}")
        if damage.files:
            return False
        self._done = _marks.found(self.marks) - damage.blocks
        return True

    def write(self, *, label: str, slices: slice | None = None) -> None:
        """Write the blocks that are missing, of all or of those that begin within some slices."""

        def needed(name: str, start: tuple[int, ...], shape: tuple[int, ...]) -> bool:
            return self._is_within(name, start, slices) and _marks.mark_of(name, start, shape) not in self._done

        _stream.write_frames(
            self.ds,
            _write_and_mark,
            self.partial,
            label=label,
            arguments=lambda name: {"path": str(self.partial), "name": name, "marks": str(self.marks)},
            needed=needed,
        )

    def is_whole(self) -> bool:
        """Return whether every block is written, and as it was."""
        done = _marks.found(self.marks) - _damage.found(self.partial, self.marks).blocks
        return all(
            _marks.mark_of(str(name), start, shape) in done
            for name, variable in self.ds.variables.items()
            if _stream.is_large(variable)
            for start, shape in _stream.blocks(variable)
        )

    def finish(self) -> None:
        """Give the store its name, every block being written."""
        for name, variable in self.ds.variables.items():
            # Zarr writes a chunk beside its name first; one that was killed meanwhile left that.
            if _stream.is_large(variable) and _zarr_chunks.of(self.partial / str(name)) is None:
                for left in (self.partial / str(name)).rglob("*.partial"):
                    left.unlink(missing_ok=True)
        os.replace(self.partial, self.path)

    def _is_within(self, name: str, start: tuple[int, ...], slices: slice | None) -> bool:
        if slices is None:
            return True
        dims = self.ds.variables[name].dims
        return bool(slices.start <= (start[dims.index("z")] if "z" in dims else 0) < slices.stop)


def unfinished(path: Path) -> Path:
    """Return the name of a store that is not whole yet."""
    return Path(f"{path}.unfinished")


def marks_of(path: Path) -> Path:
    """Return the folder of the marks of a store, whole or not."""
    return Path(f"{path}.blocks")


def take_up_again(path: Path, held: Path, marks: Path, lost: set[str]) -> None:
    """Let a store that was whole be one that is not: whoever writes `path` next goes on with it.

    Parameters
    ----------
    path : Path
        Its name among the checkpoints.
    held, marks : Path
        Where it is now, and its marks.
    lost : set of str
        Marks of the blocks to write again.
    """
    if held != path:
        remove(path)
    shutil.rmtree(unfinished(path), ignore_errors=True)
    # Marks last: a store without them is begun again.
    os.replace(held, unfinished(path))
    if marks != marks_of(path):
        os.replace(marks, marks_of(path))
    _marks.keep(marks_of(path), _marks.found(marks_of(path)) - lost)


def remove(path: Path) -> None:
    """Delete a store, whole or not, and its marks."""
    for name in (path, unfinished(path), marks_of(path), Path(f"{path}.beginning")):
        shutil.rmtree(name, ignore_errors=True)


def _write_and_mark(block: np.ndarray, start: tuple[int, ...], *, path: str, name: str, marks: str) -> None:
    sizes = write_zarr.write_block(block, start, path=path, name=name)
    _marks.add(marks, _marks.mark_of(name, start, block.shape), sizes)


def _header(ds: xr.Dataset, layout: Any) -> str:
    """Return a fingerprint of all but the values of frames and the times in the record."""
    sha = hashlib.sha256(repr(layout).encode())
    for name, variable in sorted(ds.variables.items(), key=lambda item: str(item[0])):
        sha.update(f"{name}{variable.dims}{variable.shape}{variable.dtype}".encode())
        if not _stream.is_large(variable):
            values = np.asarray(variable.values)
            if values.dtype.kind in "OUT":
                sha.update(json.dumps([str(value) for value in values.ravel()]).encode())
            else:
                sha.update(np.ascontiguousarray(values).tobytes())
    return sha.hexdigest()
