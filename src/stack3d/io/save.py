"""Saving a stack, by the suffix of the path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d._warn import warn
from stack3d.io import _atomic, _attrs, _reads_from, _stream, write_netcdf, write_tiff, write_zarr
from stack3d.model import check_stack

_FORMATS: dict[str, Any] = {".zarr": write_zarr, ".nc": write_netcdf, ".tif": write_tiff, ".tiff": write_tiff}


def save(
    da: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False, compression: str | None = "auto"
) -> Path:
    """Save a stack; the suffix of the path says as what.

    Everything that makes the stack is kept: values, dtype, name, positions to the bit, coordinates, attrs and
    provenance; `stack3d.open_stack` gives back an identical stack.

    The stack is written beside `path` and takes the name when it is whole, so that an error, a full disk or a kill
    leaves what was there before. A lazy stack is computed by the dask scheduler in force and streamed: a few blocks
    are in memory at a time.

    Parameters
    ----------
    da : DataArray
        A stack: dims ``([channel,] [z,] y, x)``, in memory, lazy, or on the GPU.
    path : str or path
        ``.zarr``: a Zarr v3 store with one frame a chunk (of frames below a megapixel some, where the blocks of a
        lazy stack allow it), written in parallel; for work on large stacks.
        ``.nc``: NetCDF-4, one file, read everywhere; written by one core at a time.
        ``.tif``, ``.tiff``: OME-TIFF (BigTIFF, not compressed), for Fiji and others; they see voxel size and
        channel names, the rest is in a private tag. Boolean stacks are written as 0 and 255.
    overwrite : bool
        Whether a stack that is there already is replaced (default False: an error).
    compression : {"auto", "lz4", "zstd", "gzip", None}
        ``"auto"`` is lz4 for Zarr (also zstd, gzip, None), gzip level 1 for NetCDF (also None), None for TIFF.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        For an unknown suffix or compression, for a stack that is lazily read from `path` itself, and for names and
        coordinates that the format cannot hold.
    TypeError
        For a dtype or an attr that the format cannot hold.
    FileExistsError, FileNotFoundError, PermissionError
        When `path` is there and `overwrite` is not given, its folder is missing or must not be written to. All these
        come before any work is done.
    OSError
        When writing fails, for example on a full disk; nothing of the new stack is left.

    Warns
    -----
    UnfinishedSaveWarning
        When a save to `path` was interrupted before, saying what is left beside it and how to take it back.

    Notes
    -----
    A lazy stack that is read from `path` is refused with ``overwrite=True`` too: once replaced, it would be made from
    the new data. Save under another name, or hold it in memory first (``da.load()``).

    Replacing a folder (Zarr) takes two renames. A kill between them leaves the old store beside it as
    ``NAME.previous-ID`` and the new one, whole, as ``NAME.complete-ID``; the next `save` or `open_stack` says so.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> stack3d.save(stack, folder / "clean.zarr").name
    'clean.zarr'
    """
    check_stack(da)
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a str or a path, not {type(path).__name__}")
    if not isinstance(overwrite, (bool, np.bool_)):
        raise TypeError(f"overwrite={overwrite!r} must be True or False")
    path = Path(path)
    writer = _writer(path)
    compression = _compression(compression, writer, path)
    target = _atomic.check_target(path, overwrite=overwrite, folder=writer.FOLDER)
    if target.exists() and _reads_from.reads_from(da, target):
        raise ValueError(
            f"path={str(path)!r} is what da is read from, lazily: replacing it would change what da is made of. "
            "Save under another name, or hold the stack in memory first with da.load()"
        )
    writer.check(da)
    da = _stream.load_small(_stream.unread_in_blocks(da))
    ds = _attrs.encode_stack(da)
    left = _atomic.left_behind(target)
    if left:
        warn(left, _atomic.UnfinishedSaveWarning)
    with _atomic.written_beside(target, overwrite=overwrite) as partial:
        writer.write(da, ds, partial, compression=compression, label=f"save {path.name}")
    return path


def _writer(path: Path) -> Any:
    allowed = ", ".join(_FORMATS)
    if "://" in str(path) or (os.name == "posix" and ":/" in str(path)):
        raise ValueError(f"path={str(path)!r} is a URL; stacks are saved to folders of this machine")
    suffixes = "".join(path.suffixes[-2:]).lower()
    writer = None if suffixes.endswith(".ome.zarr") else _FORMATS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"path={str(path)!r} has the suffix {suffixes!r}, which says no format; allowed are {allowed}")
    return writer


def _compression(compression: str | None, writer: Any, path: Path) -> str | None:
    if compression == "auto":
        return writer.COMPRESSIONS[0]  # type: ignore[no-any-return]
    if compression not in writer.COMPRESSIONS:
        allowed = ", ".join(map(repr, ("auto", *writer.COMPRESSIONS)))
        raise ValueError(f"compression={compression!r} is not known for {path.suffix!r}; allowed are {allowed}")
    return compression
