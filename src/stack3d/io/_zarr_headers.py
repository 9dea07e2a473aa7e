"""Headers of Zarr stores written and read without its event loop: numbers in known codecs; the rest is left to xarray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d.io import _zarr_chunks

# Elements. What is smaller, and not made of frames, is read with the header.
_SMALL = 2**20


def declare(ds: xr.Dataset, path: Path, encoding: Mapping[Any, Mapping[str, Any]]) -> bool:
    """Write all of an encoded stack but its frames, as xarray writes it; return whether that could be done here.

    Parameters
    ----------
    ds : Dataset
        Of numbers. Where it holds anything else, nothing is written.
    path : Path
        Made by this.
    encoding : mapping
        For each variable made of frames ``chunks``, ``compressors`` and ``chunk_key_encoding``, as a header has them; of
        no others.
    """
    if any(variable.dtype.name not in _zarr_chunks._KINDS for variable in ds.variables.values()):
        return False
    headers = {str(name): _header(str(name), ds, encoding.get(name)) for name in ds.variables}
    path.mkdir()
    for name, header in headers.items():
        folder = path / name
        folder.mkdir()
        _write(folder / "zarr.json", header)
        if name not in encoding:
            values = np.asarray(ds.variables[name].values)
            chunks = _zarr_chunks.from_header(header, str(folder))
            assert chunks is not None
            _zarr_chunks.write(chunks, values.astype(chunks.dtype), (0,) * values.ndim)
    # Last, as it makes the folder a store.
    group = {"attributes": dict(ds.attrs), "zarr_format": 3, "node_type": "group"}
    _write(path / "zarr.json", _together(group, headers))
    return True


def consolidate(path: Path) -> None:
    """Write the headers of all arrays into that of their group, so that a store is opened by reading one file."""
    headers = {folder.name: _read(folder) for folder in sorted(path.iterdir()) if (folder / "zarr.json").is_file()}
    group = _read(path)
    assert group is not None
    _write(path / "zarr.json", _together(group, headers))


def _together(group: Mapping[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    return {**group, "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": headers}}


def _write(path: Path, header: Mapping[str, Any]) -> None:
    # Without indents: those are made by slower code.
    path.write_text(json.dumps(header, allow_nan=False), encoding="utf-8")


def _header(name: str, ds: xr.Dataset, encoding: Mapping[str, Any] | None) -> dict[str, Any]:
    variable = ds.variables[name]
    dtype, attrs = variable.dtype, dict(variable.attrs)
    others = sorted(str(coord) for coord in ds.coords if coord not in ds.dims)
    if name in ds.data_vars and others:
        attrs["coordinates"] = " ".join(others)
    bytes_codec: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        bytes_codec["configuration"] = {"endian": "little"}
    compressors = [{"name": "zstd", "configuration": {"level": 0, "checksum": False}}]
    shape, separator = variable.shape, "/"
    if encoding is not None:
        shape, separator = encoding["chunks"], encoding["chunk_key_encoding"]["separator"]
        compressors = list(encoding["compressors"])
    header: dict[str, Any] = {
        "shape": list(variable.shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": "NaN" if dtype.kind == "f" else False if dtype.kind == "b" else 0,
        "codecs": [bytes_codec, *compressors],
        "attributes": attrs,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return header | ({"dimension_names": [str(dim) for dim in variable.dims]} if variable.dims else {})


def dataset(path: Path) -> xr.Dataset | None:
    """Return everything in a store as it is stored, or None where that is for xarray to do.

    What is made of frames is not read: it stands there as zeros, with its ``chunks`` in the encoding, and so does the
    folder that `read` reads.
    """
    group = _read(path)
    if group is None or group.get("node_type") != "group" or group.get("zarr_format") != 3:
        return None
    variables: dict[str, xr.Variable] = {}
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        header = _read(folder)
        chunks = None if header is None else _zarr_chunks.from_header(header, str(folder))
        if header is None or chunks is None:
            return None
        dims, attrs = header.get("dimension_names") or [None] * len(chunks.size), header.get("attributes", {})
        frames = {"y", "x"} <= set(dims)
        # Names of dims, masked values and long columns are for xarray to see to.
        if None in dims or len(set(dims)) < len(dims) or "_FillValue" in attrs or "missing_value" in attrs:
            return None
        if not frames and np.prod(chunks.size) > _SMALL:
            return None
        values = np.broadcast_to(np.zeros((), chunks.dtype), chunks.size) if frames else whole(chunks)
        unread = {"unread": str(folder)} if frames else {}
        variables[folder.name] = xr.Variable(dims, values, attrs, {"chunks": chunks.shape, **unread})
    return xr.Dataset(variables, attrs=group.get("attributes", {})) if variables else None


def loaded(variable: xr.Variable) -> xr.Variable:
    """Return a variable of such a Dataset with its values."""
    folder = variable.encoding.get("unread")
    if folder is None:
        return variable.load()
    chunks = _zarr_chunks.of(folder)
    assert chunks is not None
    return xr.Variable(variable.dims, whole(chunks), variable.attrs)


def whole(chunks: _zarr_chunks.Chunks) -> np.ndarray:
    """Return all of an array."""
    return _zarr_chunks.read(chunks, [slice(None)] * len(chunks.size))


def _read(folder: Path) -> Any:
    try:
        return json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    except OSError:
        return None
