"""Writing a stack as NetCDF, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d.io import _stream
from stack3d.io._folder_lock import FolderLock

COMPRESSIONS: tuple[str | None, ...] = ("gzip", None)
FOLDER = False


def check(da: xr.DataArray) -> None:
    """Raise TypeError for a dtype that NetCDF does not know."""
    for name, variable in (
        ("da", da.variable),
        *((f"coordinate {key!r}", coord.variable) for key, coord in da.coords.items()),
    ):
        if variable.dtype.kind == "f" and variable.dtype.itemsize not in (4, 8):
            raise TypeError(
                f"{name} has dtype {variable.dtype}, which NetCDF does not know; use float32, or save as .zarr"
            )


def write(da: xr.DataArray, ds: xr.Dataset, path: Path, *, compression: str | None, label: str) -> None:
    """Write an encoded stack as a NetCDF-4 file, on the scheduler in force; blocks are written one at a time.

    Parameters
    ----------
    da : DataArray
        The stack.
    ds : Dataset
        The same as `stack3d.io._attrs.encode_stack` returns it, not yet in blocks.
    path : Path
        A file that is not there yet.
    compression : {"gzip", None}
        ``"gzip"`` is level 1 with shuffled bytes, which every NetCDF library reads.
    label : str
        For the progress.
    """
    large = [name for name, variable in ds.variables.items() if _stream.is_large(variable)]
    _write_header(ds, path, large, compression)
    lock = FolderLock(f"{path}.lock")
    try:
        _stream.write_frames(
            ds,
            _write_block,
            path,
            label=label,
            arguments=lambda name: {"path": str(path), "name": name, "lock": lock},
        )
    finally:
        lock.remove()


def _write_header(ds: xr.Dataset, path: Path, large: list[Any], compression: str | None) -> None:
    """Write all but the values of the lazy variables."""
    encoding: dict[Any, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        encoding[name] = {"_FillValue": None} if variable.dtype.kind == "f" else {}
        if name in large:
            encoding[name]["chunksizes"] = _stream.frame_chunk(dict(variable.sizes), variable.dtype.itemsize)
            if compression is not None:
                encoding[name] |= {"zlib": True, "complevel": 1, "shuffle": True}
    store = xr.backends.NetCDF4DataStore.open(str(path), mode="w")
    try:
        # Lazy variables are declared, and written by a second step that is not taken.
        _stream.template(ds).dump_to_store(store, encoding=encoding)
    finally:
        store.close()


def _write_block(block: np.ndarray, start: tuple[int, ...], *, path: str, name: str, lock: FolderLock) -> None:
    import netCDF4
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    place = tuple(slice(begin, begin + length) for begin, length in zip(start, block.shape))
    # The library is not to be entered by two threads, whatever file each is at. A file is opened for each block so
    # that any process may write the next, and so that what a full disk refuses is known at once.
    with lock, NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path, "r+") as file:
        variable = file.variables[name]
        variable.set_auto_maskandscale(False)
        variable[place] = block.astype(variable.dtype, copy=False)
