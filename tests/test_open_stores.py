from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

from stack3d.io import open_stack, save
from stack3d.model import from_array

# Of texts, when xarray alone writes them.
pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")


def make(dtype: str = "uint16", channel: bool = True) -> xr.DataArray:
    shape = (2, 5, 12, 14) if channel else (5, 12, 14)
    data = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    da = from_array(
        data,
        pixel_size=(5, 4),
        z=[0, 10, 25, 31, 40.5],
        channel=["SE2", "ESB"] if channel else None,
        attrs={"detector": "SE2", "beam_current": 0.7, "offsets": np.array([1.5, 2.5]), "stack3d_provenance": "[]"},
    )
    return da.assign_coords(
        slice_number=("z", np.array([3, 4, 6, 7, 9]), {"long_name": "number"}),
        valid=("z", np.array([True, True, False, True, True])),
        shift_y=("z", np.array([0.5, np.nan, 1, 2, 3]), {"units": "nm"}),
        dwell_time=("z", np.arange(5.0), {"units": "s"}),
    )


def write(da: xr.DataArray, path, how: str):
    if how == "save":
        return save(da, path)
    if path.suffix == ".nc":
        da.to_netcdf(path)
    else:
        da.to_zarr(path, consolidated=False)
    return path


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("how", ["save", "xarray"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
def test_what_was_written_comes_back_identical_and_lazy(tmp_path, suffix, how, dtype):
    da = make(dtype)
    back = open_stack(write(da, tmp_path / f"a{suffix}", how))
    assert dask.is_dask_collection(back)
    assert back.dtype == da.dtype
    xr.testing.assert_identical(back.compute(), da)
    assert back.encoding == {}
    assert all(coord.encoding == {} for coord in back.coords.values())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_full_size_mask_and_a_plane_come_back(tmp_path, suffix):
    da = make("float32", channel=False)
    da = da.assign_coords(mask=(da.dims, da.values > 100), dark=(("y", "x"), da.values[0] * 2))
    back = open_stack(save(da, tmp_path / f"a{suffix}"))
    assert back["mask"].chunks is not None
    xr.testing.assert_identical(back.compute(), da)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_blocks_are_whole_frames_and_whole_stored_chunks(tmp_path, suffix):
    da = make(channel=False)
    path = tmp_path / f"a{suffix}"
    if suffix == ".nc":
        da.to_netcdf(path, encoding={"image": {"chunksizes": (2, 6, 7)}})
    else:
        da.to_zarr(path, consolidated=False, encoding={"image": {"chunks": (2, 6, 7)}})
    assert open_stack(path).chunks == ((5,), (12,), (14,)) or open_stack(path).chunks == ((4, 1), (12,), (14,))
    assert open_stack(path, frames_per_block=3).chunks == ((2, 2, 1), (12,), (14,))
    assert open_stack(path, frames_per_block=1).chunks == ((2, 2, 1), (12,), (14,))
    np.testing.assert_array_equal(open_stack(path, frames_per_block=1).values, da.values)


def test_a_sharded_store_is_read_shard_by_shard(tmp_path):
    da = make(channel=False)
    da.to_zarr(
        tmp_path / "a.zarr", consolidated=False, encoding={"image": {"chunks": (1, 6, 7), "shards": (2, 12, 14)}}
    )
    back = open_stack(tmp_path / "a.zarr", frames_per_block=1)
    assert back.chunks[0] == (2, 2, 1)
    xr.testing.assert_identical(back.compute(), da)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_reading_and_a_later_step_are_one_task_a_block(tmp_path, suffix):
    back = open_stack(save(make(channel=False).chunk(z=1), tmp_path / f"a{suffix}"), frames_per_block=1)
    (optimised,) = dask.optimize((back + 1).data)
    assert len(dict(optimised.__dask_graph__())) == 5


def test_zeros_of_an_old_zarr_store_stay_whole_numbers(tmp_path):
    da = make("uint8", channel=False)
    da.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=True)
    back = open_stack(tmp_path / "a.zarr")
    assert back.dtype == np.uint8
    xr.testing.assert_identical(back.compute(), da)


def test_packed_numbers_of_another_writer_are_unpacked(tmp_path):
    data = np.arange(60, dtype="float32").reshape(3, 4, 5) / 2
    ds = xr.Dataset({"image": (("z", "y", "x"), data)})
    ds.to_netcdf(
        tmp_path / "a.nc",
        encoding={"image": {"dtype": "int16", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -1}},
    )
    back = open_stack(tmp_path / "a.nc")
    assert back.dtype == np.float32
    expected = xr.open_dataset(tmp_path / "a.nc")
    np.testing.assert_array_equal(back.values, expected.image.values)
    expected.close()


def test_an_array_of_another_writer_is_a_stack(tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (4, 6, 7)).astype("uint16")
    zarr.create_array(str(tmp_path / "a.zarr"), data=data, chunks=(2, 6, 7), dimension_names=("z", "y", "x"))
    da = open_stack(tmp_path / "a.zarr", pixel_size=5)
    np.testing.assert_array_equal(da.values, data)
    assert da.z.values.tolist() == [0, 5, 10, 15]
    group = zarr.create_group(str(tmp_path / "g.zarr"), zarr_format=2)
    group.create_array("volume", data=data, chunks=(2, 6, 7))
    da = open_stack(tmp_path / "g.zarr")
    assert da.dims == ("z", "y", "x")
    np.testing.assert_array_equal(da.values, data)
    np.testing.assert_array_equal(open_stack(tmp_path / "g.zarr" / "volume").values, data)


def test_one_of_several_variables_is_chosen_by_name(tmp_path):
    da = make(channel=False)
    xr.Dataset({"raw": da, "clean": da + 1}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(
        ValueError, match=r"holds 2 variables that may be the stack; choose one with variable=: 'raw', 'clean'"
    ):
        open_stack(tmp_path / "a.nc")
    np.testing.assert_array_equal(open_stack(tmp_path / "a.nc", variable="clean").values, da.values + 1)
    with pytest.raises(ValueError, match=r"variable='dirty' is no stack in .*allowed are 'raw', 'clean'"):
        open_stack(tmp_path / "a.nc", variable="dirty")


def test_other_names_and_orders_of_dims_are_understood(tmp_path):
    data = np.arange(2 * 3 * 4 * 5, dtype="uint16").reshape(3, 2, 4, 5)
    xr.Dataset({"v": (("Z", "C", "Y", "X"), data)}).to_netcdf(tmp_path / "a.nc")
    da = open_stack(tmp_path / "a.nc")
    assert da.dims == ("channel", "z", "y", "x")
    np.testing.assert_array_equal(da.values, data.transpose(1, 0, 2, 3))


def test_what_holds_no_stack_says_what_it_holds(tmp_path):
    xr.Dataset({"v": (("time", "lat"), np.zeros((2, 3)))}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(
        ValueError, match=r"holds no stack; a stack has dims among .* it holds 'v' with dims \('time', 'lat'\)"
    ):
        open_stack(tmp_path / "a.nc")
    (tmp_path / "b.nc").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"b.nc cannot be read as NetCDF"):
        open_stack(tmp_path / "b.nc")
    (tmp_path / "c.zarr").mkdir()
    with pytest.raises(ValueError, match=r"c.zarr is not a Zarr store, or one whose writing was interrupted"):
        open_stack(tmp_path / "c.zarr")


def test_a_pyramid_lists_its_levels_and_one_can_be_opened(tmp_path):
    da = make(channel=False)
    tree = xr.DataTree.from_dict({"/scale0": da.to_dataset(), "/scale1": da.isel(y=slice(0, 4)).to_dataset()})
    tree.to_zarr(tmp_path / "a.ome.zarr", consolidated=False)
    with pytest.raises(ValueError, match=r"is a group of other groups .*open one of them, .*scale0'\): scale0, scale1"):
        open_stack(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(open_stack(tmp_path / "a.ome.zarr" / "scale0").values, da.values)


def test_positions_unit_and_channels_can_be_given_anew(tmp_path):
    path = save(make(), tmp_path / "a.zarr")
    assert open_stack(path, z=[0, 1, 2, 3, 4]).z.values.tolist() == [0, 1, 2, 3, 4]
    in_um = open_stack(path, units="um")
    np.testing.assert_allclose(in_um.z.values, [0, 0.01, 0.025, 0.031, 0.0405], rtol=1e-12)
    assert in_um.x.attrs["units"] == "um"
    assert open_stack(path, channel="ESB").dims == ("z", "y", "x")
    assert open_stack(path, channel=["ESB"]).channel.values.tolist() == ["ESB"]
    with pytest.raises(ValueError, match=r"channel='BSE' is not in"):
        open_stack(path, channel="BSE")
    with pytest.raises(ValueError, match=r"on_gap='flag' has no meaning for a NetCDF file or Zarr store"):
        open_stack(path, on_gap="flag")


@pytest.mark.parametrize("kind", ["previous", "complete"])
def test_a_store_that_an_interrupted_save_set_aside_is_told(tmp_path, kind):
    path = save(make(), tmp_path / "a.zarr")
    path.rename(tmp_path / f"a.zarr.{kind}-12-ab")
    with pytest.raises(FileNotFoundError, match=rf"a save was interrupted there.*os.rename\(.*a.zarr.{kind}-12-ab"):
        open_stack(path)
    (tmp_path / f"a.zarr.{kind}-12-ab").rename(path)
    assert open_stack(path).identical(make())


def test_no_file_stays_open(tmp_path):
    path = save(make(), tmp_path / "a.nc")
    da = open_stack(path)
    da.compute()
    path.rename(tmp_path / "b.nc")
    (tmp_path / "b.nc").unlink()
