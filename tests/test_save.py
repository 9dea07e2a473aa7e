from __future__ import annotations

import json
import os
import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stack3d import grid
from stack3d.io import _json_stack, open_stack
from stack3d.io._attrs import decode_attrs, encode_attrs
from stack3d.io.save import save

SUFFIXES = (".zarr", ".nc", ".tif")
DTYPES = ("uint8", "uint16", "int16", "float32", "bool")


def make(dims=("channel", "z", "y", "x"), dtype="uint16", lazy=False, seed=0):
    """Return a stack with everything that a file must keep."""
    rng = np.random.default_rng(seed)
    sizes = {"channel": 2, "z": 5, "y": 12, "x": 17}
    shape = tuple(sizes[dim] for dim in dims)
    if dtype == "bool":
        values = rng.random(shape) > 0.5
    elif dtype == "float32":
        values = rng.normal(size=shape).astype(dtype)
        values.flat[::7] = np.nan
    else:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    coords = {"y": grid.coordinate("y", grid.regular(0.1, 0.3, 12), units="um", spacing=0.3)}
    coords["x"] = grid.coordinate("x", grid.regular(-5.0, 1 / 3, 17), units="um", spacing=1 / 3)
    if "channel" in dims:
        coords["channel"] = ("channel", np.array(["SE2", "InLens é"], dtype="<U12"), {"note": "detector"})
    else:
        coords["channel"] = "SE2"
    if "z" in dims:
        coords["z"] = grid.coordinate("z", np.cumsum(rng.random(5) + 0.1), units="nm")
        coords["valid"] = ("z", np.array([True, False, True, True, True]))
        coords["slice_number"] = ("z", np.arange(5) * 3, {"first": 0})
        coords["dwell_time"] = ("z", rng.random(5), {"units": "s", "steps": np.array([1])})
        coords["acquired"] = (
            "z",
            np.datetime64("2026-01-01T00:00:00.123456789") + np.arange(5) * np.timedelta64(7, "ns"),
        )
    coords["mask"] = (dims[-3:] if "z" in dims else ("y", "x"), rng.random(shape[-3:] if "z" in dims else shape) > 0.3)
    attrs = {
        "instrument": "µ-Scope é",
        "accelerating_voltage": 1.5,
        "frames": 7,
        "large": 2**53 + 1,
        "one": np.array([0.1]),
        "none": np.array([]),
        "whole": np.array([1, -2, 3], dtype="int32"),
        "halves": np.array([0.5, 0.25], dtype="float32"),
        "gap": np.array([1.0, np.nan]),
        "unknown": float("nan"),
        "empty": "",
        "scale_factor": 2.0,
        "_FillValue": 3,
        "stack3d_provenance": json.dumps([{"operation": "crop", "parameters": {"y": [1, 2]}}] * 3),
    }
    da = xr.DataArray(values, dims=dims, coords=coords, attrs=attrs, name="image")
    if lazy:
        da = da.chunk({dim: 2 if dim == "z" else 1 for dim in dims if dim not in ("y", "x")})
    return da


def assert_same(got, expected):
    """Raise unless both are identical, types and dtypes included."""
    got, expected = got.compute(), expected.compute()
    xr.testing.assert_identical(got, expected)
    assert got.dtype == expected.dtype
    for name, coord in expected.coords.items():
        assert got[name].dtype == coord.dtype, name
        assert got[name].values.tobytes() == coord.values.tobytes(), name
        assert_same_attrs(got[name].attrs, coord.attrs)
    assert got.values.tobytes() == expected.values.tobytes()
    assert_same_attrs(got.attrs, expected.attrs)
    assert list(got.attrs) == list(expected.attrs) or set(got.attrs) == set(expected.attrs)


def assert_same_attrs(got, expected):
    assert set(got) == set(expected)
    for key, value in expected.items():
        assert type(got[key]) is type(value), key
        if isinstance(value, np.ndarray):
            assert got[key].dtype == value.dtype, key
            assert got[key].shape == value.shape, key
        np.testing.assert_array_equal(got[key], value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_saved_stack_is_read_back_identical(tmp_path, suffix, dtype):
    da = make(dtype=dtype, lazy=dtype in ("uint16", "bool"))
    path = tmp_path / f"stack{suffix}"
    assert save(da, path) == path
    assert_same(open_stack(path), da)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dims", [("y", "x"), ("z", "y", "x")])
def test_fewer_dims_are_kept(tmp_path, suffix, dims):
    da = make(dims)
    save(da, str(tmp_path / f"stack{suffix}"))
    assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", [None, "y", "with/slash"])
def test_any_name_is_kept(tmp_path, suffix, name):
    da = make(("z", "y", "x")).rename(name) if name != "y" else make(("z", "y", "x"))
    da.name = name
    save(da, tmp_path / f"stack{suffix}")
    assert open_stack(tmp_path / f"stack{suffix}").name == name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_slice_of_a_stack_keeps_its_scalar_coordinates(tmp_path, suffix):
    da = make().isel(channel=1, z=2)
    save(da, tmp_path / f"stack{suffix}")
    assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_provenance_of_megabytes_is_kept(tmp_path, suffix):
    da = make(("z", "y", "x"))
    da.attrs["stack3d_provenance"] = json.dumps({"step": "é" * 100_000, "matrix": [0.1] * 600_000})
    save(da, tmp_path / f"stack{suffix}")
    assert open_stack(tmp_path / f"stack{suffix}").attrs["stack3d_provenance"] == da.attrs["stack3d_provenance"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_encoding_left_from_another_file_has_no_effect(tmp_path, suffix):
    da = make(("z", "y", "x"))
    da.encoding = {"chunks": (2, 5, 5), "shards": (4, 10, 10), "scale_factor": 0.1, "dtype": "int8", "_FillValue": 0}
    save(da, tmp_path / f"stack{suffix}")
    again = open_stack(tmp_path / f"stack{suffix}")
    assert_same(again, make(("z", "y", "x")))
    save(again, tmp_path / f"second{suffix}")
    assert_same(open_stack(tmp_path / f"second{suffix}"), da)


@pytest.mark.parametrize("chunks", [{"z": 3}, {"z": 5, "y": 5, "x": 4}, {"z": 1, "channel": 2}])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_do_not_change_what_is_saved(tmp_path, suffix, chunks):
    da = make()
    save(da.chunk(chunks), tmp_path / f"stack{suffix}")
    assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stack_opened_without_chunks_is_saved(tmp_path, suffix):
    da = make(("z", "y", "x"))
    save(da, tmp_path / "source.nc")
    with xr.open_dataset(tmp_path / "source.nc") as ds:
        plain = ds["image"]
        save(plain, tmp_path / f"stack{suffix}")
        np.testing.assert_array_equal(open_stack(tmp_path / f"stack{suffix}").values, da.values)


def test_every_frame_is_computed_once(tmp_path):
    import dask.array

    da = make(("z", "y", "x"))
    for suffix in SUFFIXES:
        seen = []

        def frame(block, seen=seen, block_info=None):
            seen.append(block_info[0]["chunk-location"][0])
            return block

        source = dask.array.from_array(da.values, chunks=(1, 12, 17))
        lazy = da.copy(data=source.map_blocks(frame, dtype=da.dtype, meta=source._meta))
        save(lazy, tmp_path / f"stack{suffix}")
        assert sorted(seen) == list(range(5)), suffix


def test_a_zarr_store_holds_small_frames_together_with_lz4(tmp_path):
    import zarr

    save(make(lazy=True), tmp_path / "stack.zarr")
    store = zarr.open_group(tmp_path / "stack.zarr", mode="r")
    array = store["image"]
    assert array.chunks == (1, 2, 12, 17)  # as in the blocks of the stack
    assert array.metadata.zarr_format == 3
    assert array.compressors[0].to_dict()["configuration"]["cname"] == "lz4"
    assert array.compressors[0].to_dict()["configuration"]["shuffle"] == "shuffle"
    assert store["mask"].chunks == (2, 12, 17)


def test_zarr_metadata_are_json_that_any_reader_takes(tmp_path):
    save(make(), tmp_path / "stack.zarr")

    def refuse(token):
        raise AssertionError(token)

    for file in (tmp_path / "stack.zarr").rglob("zarr.json"):
        json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_netcdf_holds_one_frame_a_chunk_with_gzip(tmp_path):
    import netCDF4

    save(make(), tmp_path / "stack.nc")
    with netCDF4.Dataset(tmp_path / "stack.nc") as file:
        variable = file["image"]
        assert variable.chunking() == [1, 1, 12, 17]
        assert variable.filters()["zlib"] is True
        assert variable.filters()["complevel"] == 1
        assert variable.filters()["shuffle"] is True
        assert file["mask"].filters()["zlib"] is True


@pytest.mark.parametrize(
    ("suffix", "compression"), [(".zarr", "zstd"), (".zarr", "gzip"), (".zarr", None), (".nc", None)]
)
def test_other_compressions_hold_the_same(tmp_path, suffix, compression):
    da = make(("z", "y", "x"))
    save(da, tmp_path / f"stack{suffix}", compression=compression)
    assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


def test_other_readers_see_values_positions_and_attrs(tmp_path):
    da = make(("z", "y", "x"))
    da.attrs = {"instrument": "A", "accelerating_voltage": 1.5, "whole": np.array([1, 2])}
    save(da, tmp_path / "stack.nc")
    save(da, tmp_path / "stack.zarr")
    with xr.open_dataarray(tmp_path / "stack.nc") as plain:
        np.testing.assert_array_equal(plain, da)
        np.testing.assert_array_equal(plain["z"], da["z"])
        assert plain.name == "image"
        assert plain.attrs["instrument"] == "A"
        assert set(plain.coords) == set(da.coords)
    plain = xr.open_dataset(tmp_path / "stack.zarr", engine="zarr", consolidated=False, chunks=None)["image"]
    np.testing.assert_array_equal(plain, da)
    assert plain.attrs["accelerating_voltage"] == 1.5
    assert set(plain.coords) == set(da.coords)


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_xarrays_own_writers_take_a_stack(tmp_path):
    da = make().drop_attrs().assign_attrs(instrument="A", frames=3, voltage=1.5, pair=np.array([1.0, 2.0]))
    da.to_netcdf(tmp_path / "stack.nc")
    da.to_zarr(tmp_path / "stack.zarr", consolidated=False)
    for name in ("stack.nc", "stack.zarr"):
        again = open_stack(tmp_path / name)
        xr.testing.assert_identical(again.compute(), da)
        assert_same_attrs(again.attrs, da.attrs)


def test_fiji_and_others_see_an_ome_tiff(tmp_path):
    import tifffile

    da = make()
    save(da, tmp_path / "stack.tif")
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        assert file.is_ome
        assert file.is_bigtiff
        assert file.series[0].axes == "CZYX"
        np.testing.assert_array_equal(file.series[0].asarray(), da.values)
        raw = file.pages[0].tags["ImageDescription"]
        file.filehandle.seek(raw.valueoffset)
        text = file.filehandle.read(raw.count).rstrip(b"\0").decode("ascii")
        pixels = tifffile.xml2dict(text)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeXUnit"] == pixels["PhysicalSizeZUnit"] == "nm"
    assert pixels["PhysicalSizeY"] == 300.0
    assert pixels["PhysicalSizeX"] == pytest.approx(1000 / 3, rel=1e-11)
    assert pixels["PhysicalSizeZ"] == pytest.approx(grid.spacing_of(da, "z"), rel=1e-11)
    assert [channel["Name"] for channel in pixels["Channel"]] == ["SE2", "InLens é"]


def test_a_boolean_stack_in_a_tiff_is_black_and_white(tmp_path):
    import tifffile

    da = make(("z", "y", "x"), dtype="bool")
    save(da, tmp_path / "stack.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "stack.tif"), da.values * np.uint8(255))


def test_an_uncalibrated_tiff_claims_no_size(tmp_path):
    import tifffile

    da = xr.DataArray(np.zeros((2, 4, 5), "uint8"), dims=("z", "y", "x"))
    save(da, tmp_path / "stack.tif")
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        assert "PhysicalSize" not in file.ome_metadata
    assert_same(open_stack(tmp_path / "stack.tif"), da)


def test_the_json_of_a_stack_keeps_all_but_its_values():
    da = make()
    large = da.assign_coords(mask=(("z", "y", "x"), np.random.default_rng(0).random((5, 12, 17)) > 0.5))
    for stack in (da, large, da.isel(z=0, channel=0), make(("y", "x"))):
        text = _json_stack.encode(stack)
        assert text.isascii()
        assert_same(_json_stack.decode(text, stack.values), stack)


def test_a_large_mask_is_packed_in_json():
    mask = np.random.default_rng(0).random((3, 201, 203)) > 0.5
    da = xr.DataArray(mask.astype("uint8"), dims=("z", "y", "x"), coords={"mask": (("z", "y", "x"), mask)})
    text = _json_stack.encode(da)
    assert len(text) < mask.size / 4
    assert_same(_json_stack.decode(text, da.values), da)


def test_foreign_json_is_refused():
    with pytest.raises(ValueError, match="does not describe a stack"):
        _json_stack.decode("[1, 2]", np.zeros((2, 2)))
    with pytest.raises(ValueError, match="has shape"):
        _json_stack.decode(_json_stack.encode(make(("y", "x"))), np.zeros((1, 2, 2)))


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.none(),
)
ARRAYS = st.sampled_from(["int8", "uint16", "int64", "uint64", "float32", "float64", "bool"]).flatmap(
    lambda dtype: arrays(dtype, st.integers(0, 4))
)
ATTRS = st.dictionaries(
    st.text(min_size=1),
    st.one_of(NUMBERS, ARRAYS, st.lists(NUMBERS, max_size=3), st.tuples(NUMBERS, NUMBERS)),
    max_size=5,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(ATTRS)
def test_attrs_come_back_as_they_were(attrs):
    clean = {key: value for key, value in attrs.items() if not _has_nan(value)}
    encoded = encode_attrs(clean)
    json.dumps(encoded, allow_nan=False)
    assert_same_attrs(decode_attrs(encoded), clean)


def _has_nan(value):
    return isinstance(value, (list, tuple)) and any(item != item for item in value)


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(ATTRS)
def test_attrs_come_back_through_netcdf_and_zarr(tmp_path, attrs):
    clean = {key: value for key, value in attrs.items() if not _has_nan(value)}
    da = xr.DataArray(np.zeros((2, 3), "uint8"), dims=("y", "x"), attrs=clean)
    for suffix in (".nc", ".zarr"):
        save(da, tmp_path / f"stack{suffix}", overwrite=True)
        with open_stack(tmp_path / f"stack{suffix}") as again:
            assert_same_attrs(again.attrs, clean)


@pytest.mark.parametrize(
    ("path", "options", "error", "match"),
    [
        ("stack.png", {}, ValueError, r"'\.png'.*allowed are \.zarr, \.nc, \.tif, \.tiff"),
        ("stack.ome.zarr", {}, ValueError, r"'\.ome\.zarr'.*allowed are"),
        ("stack", {}, ValueError, "allowed are"),
        ("s3://bucket/stack.zarr", {}, ValueError, "URL"),
        ("missing/stack.nc", {}, FileNotFoundError, "no folder.*missing"),
        ("there.nc", {}, FileExistsError, "overwrite=True"),
        ("folder.nc", {"overwrite": True}, FileExistsError, "is a folder"),
        ("photos.zarr", {"overwrite": True}, FileExistsError, "not a Zarr store"),
        ("stack.nc", {"compression": "lz4"}, ValueError, "compression='lz4'.*allowed are 'auto', 'gzip', None"),
        ("stack.tif", {"compression": "gzip"}, ValueError, "compression='gzip'"),
    ],
)
def test_errors_come_before_any_work(tmp_path, path, options, error, match):
    (tmp_path / "there.nc").write_text("something")
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "photo.jpg").write_text("dear")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=match):
        save(_never_computed(), path if "://" in path else tmp_path / path, **options)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.nc").read_text() == "something"


def _never_computed():
    import dask.array

    def fail(block):
        raise AssertionError("computed")

    data = dask.array.zeros((3, 4, 5), dtype="uint8", chunks=(1, 4, 5))
    return xr.DataArray(data.map_blocks(fail, dtype="uint8", meta=data._meta), dims=("z", "y", "x"))


def test_what_a_format_cannot_hold_is_an_error_that_names_it(tmp_path):
    da = make(("z", "y", "x"))
    with pytest.raises(TypeError, match=r"int64.*allowed are bool, uint8"):
        save(da.astype("int64"), tmp_path / "stack.tif")
    with pytest.raises(TypeError, match="float16"):
        save(da.astype("float16"), tmp_path / "stack.nc")
    with pytest.raises(ValueError, match="no axis for"):
        save(da.expand_dims("tile"), tmp_path / "stack.tif")
    with pytest.raises(TypeError, match=r"attrs\['f'\].*function.*allowed are"):
        save(da.assign_attrs(f=make), tmp_path / "stack.nc")
    with pytest.raises(ValueError, match="'a b'"):
        save(da.assign_coords({"a b": 1}), tmp_path / "stack.nc")
    with pytest.raises(TypeError, match=r"xarray\.DataArray"):
        save(da.to_dataset(name="image"), tmp_path / "stack.nc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwrite_replaces_and_leaves_nothing_beside(tmp_path, suffix):
    path = tmp_path / f"stack{suffix}"
    save(make(), path)
    other = make(("z", "y", "x"), dtype="float32", seed=1)
    save(other, path, overwrite=True)
    assert_same(open_stack(path), other)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stack_is_not_saved_over_what_it_is_read_from(tmp_path, suffix):
    path = tmp_path / f"stack{suffix}"
    da = make(("z", "y", "x"))
    save(da, path)
    lazy = open_stack(path)
    for derived in (lazy, lazy.isel(z=slice(1, 3)), lazy // 2 + lazy.max("z")):
        with pytest.raises(ValueError, match=r"is what da is read from"):
            save(derived, path, overwrite=True)
    assert_same(open_stack(path), da)
    save(lazy.load(), path, overwrite=True)
    assert_same(open_stack(path), da)
    save(open_stack(path), tmp_path / f"other{suffix}")
    save(open_stack(tmp_path / f"other{suffix}"), path, overwrite=True)
    assert_same(open_stack(path), da)


def test_a_link_to_its_own_source_is_seen_through(tmp_path):
    save(make(("z", "y", "x")), tmp_path / "stack.zarr")
    try:
        os.symlink(tmp_path / "stack.zarr", tmp_path / "link.zarr", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(ValueError, match=r"is what da is read from"):
        save(open_stack(tmp_path / "stack.zarr"), tmp_path / "link.zarr", overwrite=True)
    other = make(("z", "y", "x"), seed=3)
    save(other, tmp_path / "link.zarr", overwrite=True)
    assert (tmp_path / "link.zarr").is_symlink()
    assert_same(open_stack(tmp_path / "stack.zarr"), other)


def test_a_lazy_mask_from_the_target_counts_as_source(tmp_path):
    save(make(("z", "y", "x")), tmp_path / "stack.zarr")
    da = make(("z", "y", "x")).drop_vars("mask").assign_coords(mask=open_stack(tmp_path / "stack.zarr")["mask"])
    assert da["mask"].chunks is not None
    with pytest.raises(ValueError, match=r"is what da is read from"):
        save(da, tmp_path / "stack.zarr", overwrite=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stack_on_the_gpu_is_saved(tmp_path, suffix):
    cupy = pytest.importorskip("cupy")
    from stack3d import device

    try:
        device.resolve("gpu")
    except RuntimeError:
        pytest.skip("no GPU")
    da = make(("z", "y", "x"))
    save(da.copy(data=cupy.asarray(da.values)), tmp_path / f"stack{suffix}")
    assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_shows_its_progress(tmp_path, suffix, caplog, monkeypatch):
    from stack3d import progress

    labels = []
    original = progress.compute
    monkeypatch.setattr(
        progress, "compute", lambda *a, label, **k: (labels.append(label), original(*a, label=label, **k))[1]
    )
    save(make(lazy=True), tmp_path / f"stack{suffix}")
    assert labels == [f"save stack{suffix}"]


def test_saving_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in SUFFIXES:
            save(make(lazy=True), tmp_path / f"stack{suffix}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_cluster_of_processes_saves_the_same(tmp_path):
    distributed = pytest.importorskip("distributed")

    da = make(("z", "y", "x"), lazy=True)
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0", host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster):
        for suffix in SUFFIXES:
            save(da, tmp_path / f"stack{suffix}")
            assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


@pytest.mark.slow
def test_the_scheduler_of_processes_saves_the_same(tmp_path):
    import dask.array

    da = make(("z", "y", "x"))
    lazy = da.copy(data=dask.array.from_array(da.values, chunks=(2, 12, 17)))
    with dask.config.set(scheduler="processes", num_workers=1):
        for suffix in SUFFIXES:
            save(lazy, tmp_path / f"stack{suffix}")
    for suffix in SUFFIXES:
        assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


def test_the_synchronous_scheduler_saves_the_same(tmp_path):
    import dask

    da = make(("z", "y", "x"), lazy=True)
    with dask.config.set(scheduler="synchronous"):
        for suffix in SUFFIXES:
            save(da, tmp_path / f"stack{suffix}")
            assert_same(open_stack(tmp_path / f"stack{suffix}"), da)


def test_arguments_of_a_wrong_type_are_named(tmp_path):
    with pytest.raises(TypeError, match="path=3 must be a str or a path"):
        save(make(), 3)
    with pytest.raises(TypeError, match="overwrite='x' must be True or False"):
        save(make(), tmp_path / "a.zarr", overwrite="x")
