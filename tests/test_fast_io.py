"""Shortcuts of reading and writing: the same pixels and bytes as the general libraries give."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
import zarr

from stack3d.io import _plain_tiff, _zarr_chunks
from stack3d.io.write_zarr import _compressors

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_plain_frames_are_read_as_tifffile_reads_them(tmp_path, dtype, order):
    frame = (RNG.random((13, 17)) * 100).astype(dtype)
    for name, options in (
        ("one strip", {}),
        ("strips", {"rowsperstrip": 4}),
        ("described", {"description": "a" * 999, "extratags": [(51023, "s", 0, "<xml/>", True)]}),
    ):
        path = str(tmp_path / f"{name}.tif")
        tifffile.imwrite(path, frame, byteorder=order, photometric="minisblack", **options)
        found = _plain_tiff.read(path)
        assert found is not None
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, frame)


UNUSUAL = {
    "compressed": {"compression": "zlib"},
    "tiled": {"tile": (16, 16)},
    "colours": {"photometric": "rgb"},
    "inverted": {"photometric": "miniswhite"},
    "large file format": {"bigtiff": True},
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_whatever_is_unusual_is_left_to_the_general_reader(tmp_path, kind):
    shape = (32, 32, 3) if kind == "colours" else (32, 32)
    path = str(tmp_path / "frame.tif")
    tifffile.imwrite(path, RNG.integers(0, 99, shape).astype("u2"), **UNUSUAL[kind])
    assert _plain_tiff.read(path) is None


def test_a_file_cut_short_or_gone_is_left_to_the_general_reader(tmp_path):
    file = io.BytesIO()
    tifffile.imwrite(file, np.ones((32, 32), "u2"))
    path = tmp_path / "frame.tif"
    for length in (0, 3, 8, 100, len(file.getvalue()) - 1):
        path.write_bytes(file.getvalue()[:length])
        assert _plain_tiff.read(str(path)) is None
    assert _plain_tiff.read(str(tmp_path / "gone.tif")) is None


@pytest.mark.parametrize("compression", ["lz4", "zstd", None])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8", "?"])
def test_chunks_have_the_bytes_that_zarr_writes(tmp_path, compression, dtype):
    # Frames in parts with ragged edges, and one that is all fill value and is not written.
    data = (RNG.random((3, 21, 30)) * 90).astype(dtype)
    data[1] = 0
    stores = {}
    for name in ("theirs", "ours"):
        stores[name] = zarr.create_array(
            tmp_path / name, shape=data.shape, chunks=(1, 8, 30), dtype=dtype, compressors=_compressors(compression)
        )
    stores["theirs"][:] = data
    chunks = _zarr_chunks.of(stores["ours"], str(tmp_path / "ours"))
    assert chunks is not None
    _zarr_chunks.write(chunks, data[:2], (0, 0, 0))
    _zarr_chunks.write(chunks, data[2:], (2, 0, 0))
    files = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in stores
    }
    assert files["ours"] == files["theirs"]
    np.testing.assert_array_equal(stores["ours"][:], data)


def test_other_codecs_are_left_to_zarr(tmp_path):
    made = zarr.create_array(tmp_path / "a", shape=(4, 4), dtype="u1", compressors=_compressors("gzip"))
    assert _zarr_chunks.of(made, str(tmp_path / "a")) is None
    sharded = zarr.create_array(tmp_path / "b", shape=(4, 4), chunks=(2, 2), shards=(4, 4), dtype="u1")
    assert _zarr_chunks.of(sharded, str(tmp_path / "b")) is None
