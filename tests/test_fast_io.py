"""Shortcuts of reading and writing: the same pixels and bytes as the general libraries give."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

import stack3d
from stack3d.io import _plain_tiff, _zarr_chunks, _zarr_headers
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


def test_frames_one_after_another_are_read_each_as_it_is(tmp_path):
    rng, paths, frames = np.random.default_rng(1), [], []
    kinds = [
        {},
        {},
        {"byteorder": ">"},
        {},
        {"rowsperstrip": 4},
        {"compression": "zlib"},
        {},
        {"description": "b" * 99},
    ]
    for number, options in enumerate(kinds):
        frames.append(rng.integers(0, 2**16, (13, 17)).astype("u2"))
        paths.append(str(tmp_path / f"{number}.tif"))
        tifffile.imwrite(paths[-1], frames[-1], photometric="minisblack", **{"byteorder": "<", **options})
    other = str(tmp_path / "other.tif")
    tifffile.imwrite(other, np.ones((17, 13), "u2"), photometric="minisblack")
    short = tmp_path / "short.tif"
    short.write_bytes(Path(paths[0]).read_bytes()[:-9])
    for number in rng.permutation(3 * len(kinds)) % len(kinds):
        target = np.zeros((13, 17), "u2")
        plain = not {"compression", "byteorder"} & set(kinds[number])
        assert _plain_tiff.read_into(paths[number], target) == plain
        if plain:
            np.testing.assert_array_equal(target, frames[number])
        assert not _plain_tiff.read_into(other, target)
        assert not _plain_tiff.read_into(str(short), target)


def test_tags_behind_the_pixels_are_read_in_every_file(tmp_path):
    # A header of 8 bytes, the pixels, the tags: the beginning says nothing of how wide the next file is.
    for width, height in ((6, 4), (4, 6), (6, 4)):
        pixels = np.arange(24, dtype="<u2").reshape(height, width)
        values = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 279: 48, 339: 1}
        tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
        (tmp_path / "a.tif").write_bytes(
            b"II*\x00" + struct.pack("<I", 56) + pixels.tobytes() + struct.pack("<H", 9) + tags + bytes(4)
        )
        target = np.zeros((height, width), "u2")
        assert _plain_tiff.read_into(str(tmp_path / "a.tif"), target)
        np.testing.assert_array_equal(target, pixels)
        assert not _plain_tiff.read_into(str(tmp_path / "a.tif"), np.zeros((width, height), "u2"))


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


@pytest.mark.parametrize("separator", ["/", "."])
@pytest.mark.parametrize("compression", ["lz4", "zstd", None])
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4", "f8", "?"])
def test_chunks_have_the_bytes_that_zarr_writes_and_are_read_as_zarr_reads_them(
    tmp_path, compression, dtype, separator
):
    # Frames in parts with ragged edges, and one that is all fill value and is not written.
    data = (RNG.random((3, 21, 30)) * 90).astype(dtype)
    data[1] = 0
    stores = {}
    for name in ("theirs", "ours"):
        stores[name] = zarr.create_array(
            tmp_path / name,
            shape=data.shape,
            chunks=(1, 8, 30),
            dtype=dtype,
            compressors=_compressors(compression, data.dtype.itemsize),
            chunk_key_encoding={"name": "default", "separator": separator},
        )
    stores["theirs"][:] = data
    chunks = _zarr_chunks.of(tmp_path / "ours")
    assert chunks is not None
    _zarr_chunks.write(chunks, data[:2], (0, 0, 0))
    _zarr_chunks.write(chunks, data[2:], (2, 0, 0))
    files = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in stores
    }
    assert files["ours"] == files["theirs"]
    np.testing.assert_array_equal(stores["ours"][:], data)
    for place in (np.s_[:, :, :], np.s_[1:3, 5:20, 3:29], np.s_[2:2, :, :], np.s_[0:1, 8:16, :]):
        found = _zarr_chunks.read(chunks, place)
        assert found.dtype == data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, stores["theirs"][place])


def test_small_arrays_in_zstandard_and_fill_values_are_read_as_zarr_reads_them(tmp_path):
    for number, fill in enumerate((np.nan, -np.inf, 3.0)):
        made = zarr.create_array(tmp_path / str(number), shape=(5, 4), chunks=(2, 4), dtype="f8", fill_value=fill)
        made[2:4] = RNG.random((2, 4))
        chunks = _zarr_chunks.of(tmp_path / str(number))
        assert chunks is not None
        np.testing.assert_array_equal(_zarr_chunks.read(chunks, np.s_[:, 1:3]), made[:, 1:3])


def test_other_codecs_are_left_to_zarr(tmp_path):
    zarr.create_array(tmp_path / "a", shape=(4, 4), dtype="u1", compressors=_compressors("gzip", 1))
    assert _zarr_chunks.of(tmp_path / "a") is None
    zarr.create_array(tmp_path / "b", shape=(4, 4), chunks=(2, 2), shards=(4, 4), dtype="u1")
    assert _zarr_chunks.of(tmp_path / "b") is None
    zarr.create_array(tmp_path / "c", shape=(4, 4), chunks=(2, 2), dtype="u1", zarr_format=2)
    assert _zarr_chunks.of(tmp_path / "c") is None


@pytest.mark.parametrize("compression", ["lz4", None])
def test_a_chunk_that_is_cut_short_is_named(tmp_path, compression):
    made = zarr.create_array(tmp_path / "a", shape=(4, 40), dtype="u2", compressors=_compressors(compression, 2))
    made[:] = RNG.integers(0, 999, (4, 40))
    chunks = _zarr_chunks.of(tmp_path / "a")
    (file,) = (path for path in (tmp_path / "a" / "c").rglob("*") if path.is_file())
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(OSError, match=f"the chunk '{file}'"):
        _zarr_chunks.read(chunks, np.s_[:, :])


def stack_of_numbers(dtype: str) -> xr.DataArray:
    values = (RNG.random((5, 8, 9)) * 90).astype(dtype)
    da = stack3d.from_array(values, pixel_size=(20, 5, 5), attrs={"voltage": 2.0, "offsets": np.array([1, 2])})
    return da.assign_coords(
        valid=("z", np.arange(5) % 2 == 0),
        mask=(("z", "y", "x"), values > 3),
        spot=np.float32(2),
        number=("z", range(5)),
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool", "int64"])
def test_the_header_of_a_store_is_that_of_xarray(tmp_path, dtype, monkeypatch):
    da = stack_of_numbers(dtype)
    da.stack3d.save(tmp_path / "ours.zarr")
    monkeypatch.setattr(_zarr_headers, "declare", lambda *_: False)
    monkeypatch.setattr(_zarr_headers, "dataset", lambda _: None)
    da.stack3d.save(tmp_path / "theirs.zarr")
    files = {
        name: {str(path.relative_to(tmp_path / name)): path for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("ours.zarr", "theirs.zarr")
    }
    ours, theirs = files.values()
    assert ours.keys() == theirs.keys()
    for name, path in ours.items():
        if name.endswith("zarr.json"):
            assert json.loads(path.read_text()) == json.loads(theirs[name].read_text()), name
        else:
            assert path.read_bytes() == theirs[name].read_bytes(), name
    xr.testing.assert_identical(stack3d.open_stack(tmp_path / "ours.zarr").compute(), da)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_store_is_opened_as_through_xarray(tmp_path, chunked, monkeypatch):
    da = stack_of_numbers("float32").assign_coords(flat=(("y", "x"), RNG.random((8, 9))))
    (da.chunk(z=2) if chunked else da).stack3d.save(tmp_path / "a.zarr")
    found = stack3d.open_stack(tmp_path / "a.zarr")
    monkeypatch.setattr(_zarr_headers, "dataset", lambda _: None)
    through = stack3d.open_stack(tmp_path / "a.zarr")
    assert found.chunks == through.chunks
    assert found["mask"].chunks == through["mask"].chunks
    xr.testing.assert_identical(found.compute(), through.compute())
    xr.testing.assert_identical(found.compute(), da)


def test_text_in_a_store_is_left_to_xarray(tmp_path):
    da = stack_of_numbers("uint8").expand_dims(channel=["SE2", "ESB"])
    da.stack3d.save(tmp_path / "a.zarr")
    assert _zarr_headers.dataset(tmp_path / "a.zarr") is None
    xr.testing.assert_identical(stack3d.open_stack(tmp_path / "a.zarr").compute(), da)


@pytest.mark.parametrize("channels", [None, ["SE", "BSE"]])
def test_others_open_a_store_by_one_file_without_a_warning(tmp_path, channels):
    shape = (3, 8, 10) if channels is None else (2, 3, 8, 10)
    values = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    da = stack3d.from_array(values, pixel_size=(10, 5, 5), channel=channels)
    path = da.stack3d.save(tmp_path / "a.zarr")
    found = xr.open_zarr(path, consolidated=True)
    np.testing.assert_array_equal(found["image"].values, values)
    assert set(found.variables) == set(xr.open_zarr(path, consolidated=False).variables)


@pytest.mark.parametrize(
    ("levels", "smallest", "largest"), [(2**16, 1.0, 1.001), (2**4, 0.1, 0.7)], ids=["noise", "few levels"]
)
def test_a_chunk_that_does_not_get_smaller_is_stored_as_it_is_and_read_by_zarr(tmp_path, levels, smallest, largest):
    pixels = np.random.default_rng(0).integers(0, levels, (1, 512, 512), dtype="uint16")
    array = zarr.create_array(
        str(tmp_path / "a"),
        shape=pixels.shape,
        chunks=pixels.shape,
        dtype="uint16",
        compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=2),
    )
    chunks = _zarr_chunks.of(tmp_path / "a")
    _zarr_chunks.write(chunks, pixels, (0, 0, 0))
    path = tmp_path / "a" / "c" / "0" / "0" / "0"
    assert smallest <= path.stat().st_size / pixels.nbytes <= largest
    np.testing.assert_array_equal(array[:], pixels)
    np.testing.assert_array_equal(_zarr_chunks.read(chunks, [slice(None)] * 3), pixels)
    np.testing.assert_array_equal(_zarr_chunks.read(chunks, np.s_[:, 7:9, :]), pixels[:, 7:9])
    # The next of its size, whose header is known, has the bytes that Blosc gives too.
    for values in (pixels, np.ascontiguousarray(pixels[:, ::-1])):
        _zarr_chunks.write(chunks, values, (0, 0, 0))
        np.testing.assert_array_equal(array[:], values)
        if levels == 2**16:
            settings = {"compressor": "lz4", "shuffle": 1, "typesize": 2, "blocksize": 0, "numthreads": 1}
            assert path.read_bytes() == imagecodecs.blosc_encode(values, level=0, **settings)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(OSError, match="cannot be read"):
        _zarr_chunks.read(chunks, [slice(None)] * 3)


def test_chunks_have_the_same_bytes_whatever_was_compressed_before(tmp_path):
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 2**16, (1, size, size), dtype="uint16") for size in (46, 300))
    for name, pixels in (("first", small), ("large", large), ("again", small)):
        zarr.create_array(
            str(tmp_path / name),
            shape=pixels.shape,
            chunks=pixels.shape,
            dtype="uint16",
            compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=2),
        )
        _zarr_chunks.write(_zarr_chunks.of(tmp_path / name), pixels, (0, 0, 0))
    first, again = ((tmp_path / name / "c" / "0" / "0" / "0").read_bytes() for name in ("first", "again"))
    assert first == again


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f4", "u1"])
def test_plain_frames_are_read_to_their_place_and_others_left_to_the_general_reader(tmp_path, kind):
    pixels = (1000 * np.random.default_rng(0).random((20, 30))).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=">" if kind[0] == ">" else "<", photometric="minisblack")
    target = np.zeros(pixels.shape, pixels.dtype.newbyteorder("="))
    assert _plain_tiff.read_into(str(tmp_path / "a.tif"), target) == (kind[0] != ">")
    np.testing.assert_array_equal(target, pixels if kind[0] != ">" else 0)
    assert not _plain_tiff.read_into(str(tmp_path / "a.tif"), np.zeros((20, 31), target.dtype))
    assert not _plain_tiff.read_into(str(tmp_path / "a.tif"), np.zeros((40, 30), target.dtype)[::2])
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:-10])
    assert not _plain_tiff.read_into(str(tmp_path / "a.tif"), target)
