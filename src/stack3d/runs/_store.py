"""Writing a lazy stack so that an interrupted write goes on where it stopped.

The store is made as ``NAME.unfinished``; a mark beside it says of each block that it is written. When all are, the
store takes its name. What is under ``NAME`` is therefore whole, and made of the same bytes however often it was begun.
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

from stack3d.io import _attrs, _stream, open_stack, write_zarr


def written(da: xr.DataArray, path: Path, *, label: str) -> xr.DataArray:
    """Write a stack as the Zarr store `path`, or the rest of it, and return it opened.

    Parameters
    ----------
    da : DataArray
        Lazy; the same at every try.
    path : Path
        Not there yet. Its folder must be.
    label : str
        For the progress.

    Returns
    -------
    DataArray
        Lazy, read from `path`.
    """
    da = _stream.load_small(_stream.unread_in_blocks(da))
    ds = _attrs.encode_stack(da)
    partial, marks = unfinished(path), Path(f"{path}.blocks")
    print_of_header = _header(ds)
    if not partial.is_dir() or _read(marks / "header") != print_of_header:
        for left in (partial, marks):
            shutil.rmtree(left, ignore_errors=True)
        beginning = Path(f"{path}.beginning")
        shutil.rmtree(beginning, ignore_errors=True)
        write_zarr.declare(ds, beginning, compression="lz4")
        marks.mkdir()
        os.replace(beginning, partial)
        (marks / "header").write_text(print_of_header)
    _stream.write_frames(
        ds,
        _write_and_mark,
        partial,
        label=label,
        arguments=lambda name: {"path": str(partial), "name": name, "marks": str(marks)},
        needed=lambda name, start, shape: not _mark(marks, name, start, shape).exists(),
    )
    os.replace(partial, path)
    shutil.rmtree(marks, ignore_errors=True)
    return open_stack(path)


def unfinished(path: Path) -> Path:
    """Return the name of a store that is not whole yet."""
    return Path(f"{path}.unfinished")


def remove(path: Path) -> None:
    """Delete a store, whole or not, and its marks."""
    for name in (path, unfinished(path), Path(f"{path}.blocks"), Path(f"{path}.beginning")):
        shutil.rmtree(name, ignore_errors=True)


def _write_and_mark(block: np.ndarray, start: tuple[int, ...], *, path: str, name: str, marks: str) -> None:
    write_zarr.write_block(block, start, path=path, name=name)
    _mark(Path(marks), name, start, block.shape).touch()


def _mark(marks: Path, name: str, start: tuple[int, ...], shape: tuple[int, ...]) -> Path:
    begin, size = ("_".join(map(str, numbers)) for numbers in (start, shape))
    return marks / f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{begin}-{size}"


def _header(ds: xr.Dataset) -> str:
    """Return a fingerprint of all but the values of frames and the times in the record."""
    sha = hashlib.sha256()
    for name, variable in sorted(ds.variables.items(), key=lambda item: str(item[0])):
        sha.update(f"{name}{variable.dims}{variable.shape}{variable.dtype}".encode())
        if not _stream.is_large(variable):
            values = np.asarray(variable.values)
            if values.dtype.kind in "OUT":
                sha.update(json.dumps([str(value) for value in values.ravel()]).encode())
            else:
                sha.update(np.ascontiguousarray(values).tobytes())
    return sha.hexdigest()


def _read(path: Path) -> Any:
    try:
        return path.read_text()
    except OSError:
        return None
