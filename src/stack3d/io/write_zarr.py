"""Writing a stack as Zarr: the working store, one frame a chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from stack3d.io import _stream

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
        The same as `stack3d.io._attrs.encode_stack` returns it, its frames in dask blocks of whole frames.
    path : Path
        A folder that is not there yet.
    compression : {"lz4", "zstd", "gzip", None}
        ``"lz4"`` and ``"zstd"`` shuffle bytes first (Blosc).
    label : str
        For the progress.
    """
    from stack3d import progress

    # Of fixed width they have no specification in Zarr v3.
    texts = {name: variable.astype(object) for name, variable in ds.variables.items() if variable.dtype.kind == "U"}
    ds = ds.assign_coords(texts)
    encoding: dict[Any, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        encoding[name] = {"_FillValue": None} if variable.dtype.kind == "f" else {}
        if _stream.is_large(variable):
            encoding[name]["chunks"] = _stream.frame_chunk(dict(variable.sizes), variable.dtype.itemsize)
            encoding[name]["compressors"] = _compressors(compression)
        elif variable.ndim:
            encoding[name]["chunks"] = variable.shape
    written = ds.to_zarr(
        str(path), mode="w-", zarr_format=3, consolidated=False, encoding=encoding, compute=False, align_chunks=False
    )
    progress.compute(written, label=label)


def _compressors(compression: str | None) -> tuple[Any, ...]:
    from zarr.codecs import BloscCodec, GzipCodec

    if compression is None:
        return ()
    if compression == "gzip":
        return (GzipCodec(level=1),)
    level = {"lz4": 5, "zstd": 3}[compression]
    return (BloscCodec(cname=compression, clevel=level, shuffle="shuffle"),)  # type: ignore[arg-type]
