"""Writing a stack as OME-TIFF, each frame at its place in the file as it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d._version import __version__
from stack3d.io import _json_stack, _stream
from stack3d.units import conversion_factor

COMPRESSIONS: tuple[str | None, ...] = (None,)
FOLDER = False

# Of the tags that are free for private use: all of the stack but its pixels, as `_json_stack.encode` writes it.
JSON_TAG = 65003

_AXES = {"time": "T", "channel": "C", "z": "Z", "y": "Y", "x": "X"}
_DTYPES = ("bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


def check(da: xr.DataArray) -> None:
    """Raise for a stack that has no place in an OME-TIFF, saying what is allowed."""
    if da.dtype.name not in _DTYPES:
        raise TypeError(f"da has dtype {da.dtype}, which OME-TIFF does not know; allowed are {', '.join(_DTYPES)}")
    foreign = [dim for dim in da.dims if dim not in _AXES]
    if foreign:
        raise ValueError(f"da has dims {da.dims}; OME-TIFF has no axis for {foreign}, save as .zarr or .nc")
    _json_stack.check(da)


def write(da: xr.DataArray, ds: xr.Dataset, path: Path, *, compression: str | None, label: str) -> None:
    """Write a stack as an uncompressed OME-TIFF (BigTIFF), in parallel on the scheduler in force.

    Parameters
    ----------
    da : DataArray
        The stack.
    ds : Dataset
        The same, encoded.
    path : Path
        A file that is not there yet.
    compression : None
        Pixels are not compressed, so that each has its place before any is known.
    label : str
        For the progress.
    """
    import tifffile

    dtype = np.dtype(np.uint8) if da.dtype == bool else da.dtype.newbyteorder("<")
    text = _json_stack.encode(da).encode("ascii")
    frames = int(np.prod(da.shape[:-2]))
    ome: Any = tifffile.OmeXml()
    ome.addimage(dtype, da.shape, (frames, 1, 1, *da.shape[-2:], 1), **_ome(da))
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as file:
        # Without data: the pages are laid out one after the other, and a hole is left for the pixels.
        place: Any = file.write(
            None,
            shape=da.shape,
            dtype=dtype,
            photometric="minisblack",
            # The text of a TIFF is ASCII, that of tifffile's own OME is not.
            description=ome.tostring(declaration=True).encode("ascii", "xmlcharrefreplace"),
            metadata=None,
            software=f"stack3d {__version__}",
            extratags=[(JSON_TAG, "s", len(text) + 1, text, True)],
            returnoffset=True,
            contiguous=True,
            **_resolution(da),
        )
        offset = place[0]
    (name,) = ds.data_vars
    arguments = {"path": str(path), "offset": offset, "shape": da.shape, "dtype": np.dtype(dtype).str}
    _stream.write_frames(
        ds.reset_coords(drop=True)[[name]], _write_frames, path, label=label, arguments=lambda name: arguments
    )


def _ome(da: xr.DataArray) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "".join(_AXES[str(dim)] for dim in da.dims)}
    if da.name is not None:
        metadata["Name"] = str(da.name)
    for dim in grid.SPATIAL:
        if dim in da.coords and grid.units_of(da, dim) != "1":
            # In nm, because the sign of a micrometre is not ASCII; the JSON has the exact positions.
            size = grid.spacing_of(da, dim) * conversion_factor(grid.units_of(da, dim), "nm")
            metadata |= {f"PhysicalSize{dim.upper()}": float(f"{size:.12g}"), f"PhysicalSize{dim.upper()}Unit": "nm"}
    if "channel" in da.coords:
        metadata["Channel"] = {"Name": [str(name) for name in np.atleast_1d(da["channel"].values)]}
    return metadata


def _resolution(da: xr.DataArray) -> dict[str, Any]:
    """Return the tags of resolution, for readers that do not know OME."""
    if any(dim not in da.coords or grid.units_of(da, dim) == "1" for dim in ("y", "x")):
        return {}
    per_cm = tuple(
        1 / (grid.spacing_of(da, dim) * conversion_factor(grid.units_of(da, dim), "cm")) for dim in ("x", "y")
    )
    return {"resolution": per_cm, "resolutionunit": "CENTIMETER"}


def _write_frames(
    block: np.ndarray, start: tuple[int, ...], *, path: str, offset: int, shape: tuple[int, ...], dtype: str
) -> None:
    frame_bytes = shape[-2] * shape[-1] * np.dtype(dtype).itemsize
    if block.dtype == bool:
        block = block.view(np.uint8) * np.uint8(255)
    leading = shape[:-2]
    # Of its own for each block: threads and processes write at once, each at its place.
    with open(path, "r+b", buffering=0) as file:
        for index in np.ndindex(block.shape[:-2]):
            place = tuple(begin + i for begin, i in zip(start, index))
            frame = int(np.ravel_multi_index(place, leading)) if leading else 0
            file.seek(offset + frame * frame_bytes)
            pixels = np.ascontiguousarray(block[index], dtype=dtype).data.cast("B")
            while pixels:
                pixels = pixels[file.write(pixels) :]
