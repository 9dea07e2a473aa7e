"""NetCDF files and Zarr stores: small things are read at once, frames when they are needed."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d import _blocks, grid
from stack3d.io import _zarr_chunks, _zarr_headers
from stack3d.io._attrs import decode_stack
from stack3d.io._source import Settings, adjusted
from stack3d.model import DIMS

_OTHER_NAMES = {"c": "channel", "C": "channel", "Z": "z", "Y": "y", "X": "x"}
_MISSING = ("_FillValue", "missing_value", "scale_factor", "add_offset")


def open_store(path: Path, settings: Settings, frames_per_block: int | None) -> xr.DataArray:
    """Return the stack in a NetCDF file or Zarr store, lazily and without keeping a file open."""
    settings.refuse("a NetCDF file or Zarr store", "pattern", "on_bad_frame", "on_gap", "on_z")
    raw = _raw_dataset(path)
    with raw:
        name = _variable(raw, path, settings.variable)
        ds = _decoded(raw, path, name, frames_per_block)
    da = decode_stack(ds, name)
    da = da.rename({dim: _OTHER_NAMES[str(dim)] for dim in da.dims if dim in _OTHER_NAMES})
    leading = [dim for dim in da.dims if dim not in grid.SPATIAL]
    da = da.transpose(*leading, *(dim for dim in grid.SPATIAL if dim in da.dims))
    return adjusted(da, settings, path)


# ---------------------------------------------------------------------------------------------------------------------
# Which variable


def _raw_dataset(path: Path) -> xr.Dataset:
    """Return everything in the file as it is stored, frames not loaded."""
    if not path.is_dir():
        try:
            return xr.open_dataset(path, engine="netcdf4", decode_cf=False, cache=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as NetCDF: {error}") from error
    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        raise ValueError(
            f"{path} is not a Zarr store, or one whose writing was interrupted: it has no zarr.json, .zgroup or "
            ".zarray. "
            "Choose a group in it that has one, or write it again"
        )
    if _is_array(path):
        return _bare(path, [""])
    plain = _zarr_headers.dataset(path)
    if plain is not None:
        return plain
    try:
        return xr.open_dataset(
            path, engine="zarr", decode_cf=False, cache=False, consolidated=(path / ".zmetadata").is_file()
        )
    except (KeyError, ValueError) as error:
        names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and _is_array(entry))
        if not names:
            raise ValueError(f"{path} cannot be read as Zarr: {error}") from error
        return _bare(path, names)


def _is_array(folder: Path) -> bool:
    if (folder / "zarr.json").is_file():
        return bool(json.loads((folder / "zarr.json").read_text(encoding="utf-8")).get("node_type") == "array")
    return (folder / ".zarray").is_file()


def _bare(path: Path, names: list[str]) -> xr.Dataset:
    """Return arrays of a Zarr store that xarray does not open: one alone, or without names of dims."""
    import zarr

    variables: dict[Hashable, xr.Variable] = {}
    for name in names:
        array = zarr.open_array(str(path / name) if name else str(path), mode="r")
        attrs = dict(array.attrs)
        dims: Any = attrs.pop("_ARRAY_DIMENSIONS", None) or getattr(array.metadata, "dimension_names", None)
        if dims is None or None in dims:
            if array.ndim not in (2, 3, 4):
                continue
            dims = DIMS[-array.ndim :]  # without names the last axes of an image are z, y, x
        empty = np.broadcast_to(np.zeros((), array.dtype), array.shape)
        encoding = {"chunks": array.chunks, "shards": getattr(array, "shards", None)}
        variables[name or "image"] = xr.Variable(dims, empty, attrs, encoding | {"bare": name})
    return xr.Dataset(variables)


def _variable(ds: xr.Dataset, path: Path, asked: Any) -> Hashable:
    listed = " ".join(
        str(attrs.get("coordinates", "")) for attrs in (ds.attrs, *(v.attrs for v in ds.variables.values()))
    )
    coords = set(listed.split())
    fit = [name for name, variable in ds.data_vars.items() if _is_image(variable) and name not in coords]
    if asked is not None:
        if asked in fit:
            return str(asked)
        raise ValueError(f"variable={asked!r} is no stack in {path}; {_listing(ds, fit)}")
    if len(fit) == 1:
        return fit[0]
    if fit:
        raise ValueError(
            f"{path} holds {len(fit)} variables that may be the stack; choose one with variable=: "
            f"{', '.join(map(repr, fit))}"
        )
    levels = _levels(path)
    if levels:
        raise ValueError(
            f"{path} is a group of other groups or arrays, not a stack; open one of them, for example "
            f"open_stack({str(path / levels[0])!r}): {', '.join(levels)}"
        )
    raise ValueError(f"{path} holds no stack; {_listing(ds, fit)}")


def _is_image(variable: xr.DataArray) -> bool:
    dims = [_OTHER_NAMES.get(str(dim), str(dim)) for dim in variable.dims]
    return {"y", "x"} <= set(dims) and len(set(dims)) == len(dims) and variable.dtype.kind in "buif"


def _listing(ds: xr.Dataset, fit: list[Hashable]) -> str:
    if fit:
        return f"allowed are {', '.join(map(repr, fit))}"
    found = ", ".join(f"{name!r} with dims {variable.dims}" for name, variable in ds.data_vars.items()) or "nothing"
    return (
        f"a stack has dims among {DIMS}, it holds {found}. Open it with xarray, rename the dims, and use the "
        "result as it is"
    )


def _levels(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    marks = ("zarr.json", ".zgroup", ".zarray")
    return sorted(
        entry.name for entry in path.iterdir() if entry.is_dir() and any((entry / mark).is_file() for mark in marks)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Its values


def _decoded(raw: xr.Dataset, path: Path, name: Hashable, frames_per_block: int | None) -> xr.Dataset:
    """Return the variable and its coordinates: frames lazy, everything else loaded and decoded."""
    # The stack alone: other variables may share its dims.
    drop = [other for other in raw.data_vars if other != name and not _is_coordinate(raw, name, other)]
    raw = raw.drop_vars(drop)
    variables: dict[Hashable, xr.Variable] = {}
    for key, variable in raw.variables.items():
        if key == name or (_is_image(raw[key]) and variable.size == raw[name].size):
            variables[key] = _lazy(variable, path, key, frames_per_block)
        else:
            variables[key] = _zarr_headers.loaded(variable)
    ds = xr.Dataset(variables, attrs=raw.attrs)
    # Whole numbers stay so: a fill value would make them floats.
    scaled = {
        key: not (variable.dtype.kind in "iub" and not {"scale_factor", "add_offset"} & set(variable.attrs))
        for key, variable in variables.items()
    }
    scaled[name] = False
    return xr.decode_cf(
        ds.set_coords([key for key in ds.data_vars if key != name]),
        mask_and_scale=scaled,  # type: ignore[arg-type]
        decode_timedelta=xr.coders.CFTimedeltaCoder(decode_via_units=False, decode_via_dtype=True),
    )


def _is_coordinate(raw: xr.Dataset, name: Hashable, other: Hashable) -> bool:
    listed = f"{raw[name].attrs.get('coordinates', '')} {raw.attrs.get('coordinates', '')}".split()
    return other in listed and set(raw[other].dims) <= set(raw[name].dims)


def _lazy(variable: xr.Variable, path: Path, name: Hashable, frames_per_block: int | None) -> xr.Variable:
    """Return a variable whose blocks of whole frames are read by path."""
    from dask.base import tokenize

    attrs = dict(variable.attrs)
    stored = variable.dtype
    scale = _scale(attrs, stored)
    dtype: np.dtype[Any] = stored.newbyteorder("=")
    if attrs.get("dtype") == "bool" and stored.kind in "iu":
        attrs.pop("dtype")
        dtype = np.dtype(bool)
    elif scale is not None:
        # float32 for what it holds exactly.
        dtype = np.result_type(dtype, np.float32)
    attrs = {key: value for key, value in attrs.items() if key not in _MISSING}
    names = [_OTHER_NAMES.get(str(dim), str(dim)) for dim in variable.dims]
    lengths = _block_lengths(variable, names, dtype, frames_per_block)
    starts = [np.concatenate([[0], np.cumsum(length)]) for length in lengths]

    def place(index: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(int(start[k]), int(start[k + 1])) for start, k in zip(starts, index))

    bare = variable.encoding.get("bare")
    info = os.stat(path)
    where = (
        str(path)
        if not path.is_dir()
        else str(path / str(name))
        if bare is None
        else str(path / bare)
        if bare
        else str(path)
    )
    arguments = {"path": where, "name": str(name) if not path.is_dir() else None, "dtype": dtype, "scale": scale}
    data = _blocks.array_from_blocks(
        _read_block,
        name=f"read-store-{tokenize(arguments, lengths, info.st_mtime_ns, info.st_ino, _stamp(path, where))}",
        chunks=lengths,
        dtype=dtype,
        per_block=place,
        arguments=arguments,
        one=_place_of_one,
    )
    return xr.Variable(variable.dims, data, attrs)


def _place_of_one(place: tuple[slice, ...], k: int) -> tuple[slice, ...]:
    start = place[-3].start + k
    return (*place[:-3], slice(start, start + 1), *place[-2:])


def _stamp(path: Path, where: str) -> tuple[int, ...]:
    """Return what changes when the store is written anew."""
    marks = [Path(where) / name for name in ("zarr.json", ".zarray")] if path.is_dir() else [path]
    return tuple(mark.stat().st_mtime_ns for mark in marks if mark.is_file())


def _scale(attrs: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[float, float, float | None] | None:
    """Return factor, offset and missing value of packed numbers, None where pixels are what is stored."""
    factor, offset = float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0))
    missing = attrs.get("_FillValue", attrs.get("missing_value"))
    packed = (factor, offset) != (1.0, 0.0)
    if not packed and (dtype.kind != "f" or missing is None or np.isnan(missing)):
        return None
    return factor, offset, None if missing is None else float(missing)


def _block_lengths(
    variable: xr.Variable, names: list[str], dtype: np.dtype[Any], frames_per_block: int | None
) -> tuple[tuple[int, ...], ...]:
    chunks = variable.encoding.get("shards") or variable.encoding.get("chunks") or variable.encoding.get("chunksizes")
    sizes = dict(zip(names, variable.shape, strict=True))
    wanted = frames_per_block or _blocks.frames_per_block(sizes["y"] * sizes["x"] * dtype.itemsize)
    lengths = []
    for k, (dim, size) in enumerate(sizes.items()):
        own = int(chunks[k]) if chunks else 1
        if dim in ("y", "x"):
            step = size
        elif dim == "z":
            # A stored chunk is read by one block only, and what is made of blocks goes on in whole chunks.
            step = own * max(1, min(wanted, size) // own)
        else:
            step = own
        lengths.append(_blocks.split(size, max(1, min(step, size))))
    return tuple(lengths)


def _read_block(
    place: tuple[slice, ...], *, path: str, name: str | None, dtype: np.dtype[Any], scale: Any
) -> np.ndarray:
    """Return part of a stored array; the file is opened for it alone, so that nothing but a path travels."""
    values = _read_zarr(path, place) if name is None else _read_netcdf(path, name, place)
    if scale is None:
        return values.astype(dtype, copy=False)
    factor, offset, missing = scale
    result = values.astype(dtype)
    result *= dtype.type(factor)
    result += dtype.type(offset)
    if missing is not None:
        result[values == missing] = np.nan
    return result


def _read_zarr(path: str, place: tuple[slice, ...]) -> np.ndarray:
    chunks = _zarr_chunks.of(path)
    if chunks is not None:
        return _zarr_chunks.read(chunks, place)
    import zarr

    return np.asarray(zarr.open_array(path, mode="r")[place])


def _read_netcdf(path: str, name: str, place: tuple[slice, ...]) -> np.ndarray:
    import netCDF4
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    # The library is not to be entered by two threads, whatever file each is at.
    with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path, "r") as file:
        file.set_auto_maskandscale(False)
        return np.asarray(file.variables[name][place])
