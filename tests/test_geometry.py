"""crop, bin, flip, reslice and resample: values, coordinates and facts, in memory and lazily."""

from __future__ import annotations

import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import stack3d
from stack3d.execution import SaturationWarning

DTYPES = [np.uint8, np.uint16, np.int16, np.float32]


def make(dtype=np.uint16, *, channels: int = 0, z=None, shape=(9, 12, 10)) -> xr.DataArray:
    rng = np.random.default_rng(7)
    full = (channels, *shape) if channels else shape
    data = rng.integers(0, 200, full).astype(dtype)
    z = np.arange(shape[0]) * 20.0 if z is None else z
    da = stack3d.from_array(data, pixel_size=(5.0, 4.0), z=z)
    return da.assign_coords(
        slice_number=("z", np.arange(100, 100 + shape[0])),
        working_distance=("z", np.linspace(5, 6, shape[0])),
        valid=("z", np.arange(shape[0]) != 4),
        detector_gain=("x", np.ones(shape[2])),
    )


def both_ways(da, apply):
    """Return the eager result after checking that the lazy one is lazy and the same, for several chunkings."""
    eager = apply(da)
    for z in (1, 2, 5, -1):
        chunks = {dim: (z if dim == "z" else 1 if dim == "channel" else -1) for dim in da.dims}
        lazy = da.copy(data=da.chunk(chunks).data)
        if "mask" in da.coords:
            lazy = lazy.assign_coords(mask=da["mask"].chunk(z=z, y=-1, x=-1).variable)
        with dask.config.set(scheduler=lambda *a, **k: pytest.fail("computed while building")):
            result = apply(lazy)
        assert result.chunks is not None
        computed = result.compute()
        drop = {"stack3d_provenance", "history"}
        for one in (computed, eager):
            one.attrs = {k: v for k, v in one.attrs.items() if k not in drop}
        xr.testing.assert_identical(computed, eager)
    return eager


# crop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [0, 2])
def test_crop_by_index_and_by_label_agree(channels):
    da = make(channels=channels)
    by_index = both_ways(da, lambda s: s.stack3d.crop(z=slice(1, 6), y=slice(2, 8), x=slice(-4, None), by="index"))
    by_label = da.stack3d.crop(z=slice(20, "0.1 um"), y=slice("10 nm", "7 px"), x=slice(24, None))
    np.testing.assert_array_equal(by_index.values, da.values[..., 1:6, 2:8, 6:])
    xr.testing.assert_equal(by_index, by_label)
    assert by_index.z.attrs["spacing"] == 20.0


def test_crop_keeps_the_spacing_of_a_single_voxel_and_mends_it_where_slices_are_uneven():
    da = make(z=[0, 10, 20, 30, 40, 80, 120, 160, 200])
    assert da.stack3d.crop(z=slice(4, 5), by="index").z.attrs["spacing"] == da.z.attrs["spacing"]
    assert da.stack3d.crop(z=slice(5, 9), by="index").z.attrs["spacing"] == 40.0


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"y": slice(0, 99), "by": "index"}, ValueError, "y=slice.*12 voxels along y"),
        ({"y": slice(5, 5), "by": "index"}, ValueError, "keeps nothing"),
        ({"y": slice(0, 4, 2), "by": "index"}, TypeError, "without a step"),
        ({"y": slice(0.5, 4), "by": "index"}, TypeError, "whole numbers"),
        ({"y": 3}, TypeError, "must be a slice"),
        ({"x": slice(1000, 2000)}, ValueError, "positions run from 0 to 36 nm"),
        ({"x": slice("1 kg", None)}, ValueError, "x='1 kg'"),
        ({"by": "position"}, ValueError, "by='position'.*'label' or 'index'"),
    ],
)
def test_crop_says_what_is_wrong(keywords, error, message):
    with pytest.raises(error, match=message):
        make().stack3d.crop(**keywords)


# flip ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", ["y", ("z", "x"), ("z", "y", "x")])
def test_flipping_twice_is_the_identity(dims):
    da = make(z=[0, 10, 25, 30, 45, 60, 61, 80, 90])
    once = both_ways(da, lambda s: s.stack3d.flip(dims=dims))
    twice = once.stack3d.flip(dims=dims)
    np.testing.assert_array_equal(twice.values, da.values)
    np.testing.assert_allclose(twice.z, da.z)
    np.testing.assert_array_equal(twice.slice_number, da.slice_number)
    np.testing.assert_array_equal(once.values, np.flip(da.values, ["zyx".index(d) for d in dims]))


def test_flip_mirrors_uneven_positions_with_their_slices():
    da = make(z=[0, 10, 25, 30, 45, 60, 61, 80, 90])
    flipped = da.stack3d.flip(dims="z")
    np.testing.assert_array_equal(flipped.z, [0, 10, 29, 30, 45, 60, 65, 80, 90])
    assert flipped.slice_number[0] == 108


def test_facts_of_slices_may_be_lazy_themselves():
    lazy = make().chunk(z=2)
    assert lazy["valid"].chunks is not None
    np.testing.assert_array_equal(lazy.stack3d.resample(dz=10).valid, make().stack3d.resample(dz=10).valid)


# reslice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [0, 2])
def test_reslicing_turns_the_volume_and_its_coordinates(channels):
    da = make(channels=channels)
    for axis, order in (("y", (-2, -3, -1)), ("x", (-1, -3, -2))):
        turned = both_ways(da, lambda s, axis=axis: s.stack3d.reslice(axis=axis))
        lead = list(range(da.ndim - 3))
        np.testing.assert_array_equal(turned.values, da.values.transpose(*lead, *order))
        np.testing.assert_array_equal(turned.z, da[axis])
        np.testing.assert_array_equal(turned.y, da.z)
        assert turned.z.attrs["axis"] == "Z"
        assert "slice_number" not in turned.coords
    np.testing.assert_array_equal(da.stack3d.reslice(axis="y").stack3d.reslice(axis="y").values, da.values)


def test_reslicing_uneven_slices_is_refused():
    with pytest.raises(ValueError, match="resample first"):
        make(z=[0, 10, 25, 30, 45, 60, 61, 80, 90]).stack3d.reslice()


# bin ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize("reduction", ["mean", "median", "min", "max"])
@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 3, 4), (4, 1, 1)])
def test_binning_merges_blocks_of_voxels(dtype, channels, reduction, factors):
    da = make(dtype, channels=channels)
    z, y, x = factors
    found = both_ways(da, lambda s: s.stack3d.bin(z=z, y=y, x=x, reduction=reduction))
    trimmed = da.values[..., : 9 // z * z, : 12 // y * y, : 10 // x * x].astype(np.float64)
    blocks = trimmed.reshape(*trimmed.shape[:-3], 9 // z, z, 12 // y, y, 10 // x, x)
    expected = getattr(np, reduction)(blocks, axis=(-5, -3, -1))
    assert found.dtype == dtype
    if np.issubdtype(dtype, np.integer):
        assert np.abs(found.values - expected).max() <= 0.5
    else:
        np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    np.testing.assert_allclose(found.z, da.z.values[: 9 // z * z].reshape(-1, z).mean(axis=1))
    np.testing.assert_allclose(found.x, da.x.values[: 10 // x * x].reshape(-1, x).mean(axis=1))
    assert found.stack3d.pixel_size[:3] == (20.0 * z, 5.0 * y, 4.0 * x)


def test_binning_leaves_missing_pixels_out():
    da = make(np.float32)
    da[:2, :2, :2] = [[[1, np.nan], [3, 5]], [[np.nan, np.nan], [np.nan, 7]]]
    da[:2, 2:4, :2] = np.nan
    found = da.stack3d.bin(z=2, y=2, x=2)
    assert found[0, 0, 0] == 4.0
    assert np.isnan(found[0, 1, 0])


def test_binning_carries_the_facts_of_slices():
    found = make().stack3d.bin(z=3, y=1, x=1)
    np.testing.assert_allclose(found.working_distance, np.linspace(5, 6, 9).reshape(3, 3).mean(axis=1))
    np.testing.assert_array_equal(found.valid, [True, False, True])
    assert "detector_gain" in found.coords


def test_binning_sums_into_a_larger_dtype_and_warns_where_it_does_not_fit():
    da = make(np.uint8) * 0 + 200
    assert int(da.stack3d.bin(y=2, x=2, reduction="sum", dtype="uint16")[0, 0, 0]) == 800
    with pytest.warns(UserWarning, match="outside the range of uint8"):
        da.stack3d.bin(y=2, x=2, reduction="sum")


def test_a_single_frame_bins():
    frame = make().isel(z=0, drop=True)
    assert frame.stack3d.bin().dims == ("y", "x")


@pytest.mark.parametrize("keywords", [{"y": 0}, {"x": 11}, {"z": -1}, {"y": 2.0}, {"reduction": "mode"}])
def test_bin_says_what_is_wrong(keywords):
    (name,) = keywords
    with pytest.raises((TypeError, ValueError), match=f"{name}="):
        make().stack3d.bin(**keywords)


# resample -----------------------------------------------------------------------------------------------------

UNEVEN = [0.0, 10.0, 25.0, 30.0, 45.0, 60.0, 61.0, 80.0, 95.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize("method", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("dz", ["7 nm", 20.0])
def test_resampling_along_z_does_not_depend_on_chunks(dtype, channels, method, dz):
    da = make(dtype, channels=channels, z=UNEVEN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)  # a cubic overshoots noise
        found = both_ways(da, lambda s: s.stack3d.resample(dz=dz, method=method))
    assert found.dtype == dtype
    step = 7.0 if dz == "7 nm" else 20.0
    if dz == 20.0 and method != "nearest":
        # Coarser than the old slices: the new ones begin at their edge, -5, and five fit into the 107.5 nm.
        np.testing.assert_array_equal(found.z, 5.0 + 20.0 * np.arange(5))
    else:
        np.testing.assert_array_equal(found.z, step * np.arange(int(95 // step) + 1))


@pytest.mark.parametrize("method", ["linear", "cubic"])
@given(z=st.lists(st.floats(0.5, 30), min_size=4, max_size=12), degree=st.integers(0, 3), dz=st.floats(0.3, 5))
def test_polynomials_along_z_come_back_exactly(method, z, degree, dz):
    positions = np.cumsum(z)
    degree = min(degree, 1 if method == "linear" else 3)
    values = ((positions / 50) ** degree)[:, None, None] * np.ones((1, 2, 3))
    da = stack3d.from_array(values.astype(np.float32), pixel_size=(1, 1), z=positions)
    found = da.stack3d.resample(dz=dz, method=method, antialias=False)
    np.testing.assert_allclose(found[:, 0, 0], (found.z / 50) ** degree, rtol=2e-4, atol=2e-4)


def test_resampling_to_the_same_grid_is_the_identity():
    da = make()
    for method in ("linear", "nearest", "cubic"):
        np.testing.assert_array_equal(da.stack3d.resample(dz=20, method=method).values, da.values)


@pytest.mark.parametrize(("count", "dz"), [(12, 40), (12, 30), (12, 25), (9, 50), (10, 12), (7, 70)])
def test_downsampling_loses_no_slice_and_favours_none(count, dz):
    stack = stack3d.from_array(np.zeros((count, 2, 2), np.float32), pixel_size=(10, 5, 5))
    influence = []
    for k in range(count):
        one = stack.copy(deep=True)
        one[k] = 1.0
        influence.append(float(one.stack3d.resample(dz=dz)[:, 0, 0].sum()))
    whole = count * 10 / dz
    # All of it, but where the last new slice is only partly filled (each old one counts more), or holds a rest (less).
    np.testing.assert_allclose(influence[: max(0, int(whole) * dz // 10 - 1)], 10 / dz, rtol=1e-5)
    assert min(influence) >= min(10 / dz, 1 / count) / 1.5 * (1 - 1e-5)
    assert max(influence) <= max(10 / dz, 1 / count) * 2 * (1 + 1e-5)


@pytest.mark.parametrize(("dz", "count"), [(200, 2), (161, 2), (160, 3), (20, 20), (400, 1), (267, 1), (266, 2)])
def test_a_new_voxel_exists_only_where_half_of_it_holds_data(dz, count):
    da = stack3d.from_array(np.zeros((40, 40, 40), np.uint8), pixel_size=10)  # 400 along each axis
    assert da.stack3d.resample(dz=dz).sizes["z"] == count
    assert da.stack3d.resample(dx=dz, dy=dz).shape == (40, count, count)


def test_downsampling_by_a_whole_number_is_binning():
    da = make(np.float32, shape=(8, 4, 6))
    found = da.stack3d.resample(dz=40)
    binned = da.stack3d.bin(z=2, y=1, x=1)
    np.testing.assert_allclose(found.values, binned.values, rtol=1e-6)
    np.testing.assert_allclose(found.z, binned.z)


def test_area_weighting_keeps_the_mean_along_y_and_x():
    da = make(np.float32, shape=(2, 24, 30))
    found = both_ways(da, lambda s: s.stack3d.resample(dy=20, dx="12 nm"))
    assert found.stack3d.pixel_size[1:3] == (20.0, 12.0)
    np.testing.assert_allclose(found.mean(["y", "x"]), da.mean(["y", "x"]), rtol=1e-5)
    half = da.stack3d.resample(dy=10, dx=8)
    np.testing.assert_allclose(half.values, da.stack3d.bin().values, rtol=1e-6)
    np.testing.assert_allclose(half.y, da.stack3d.bin().y)


def test_finer_pixels_keep_a_plane():
    y, x = np.mgrid[:20, :30]
    da = stack3d.from_array((3.0 * x + 2.0 * y).astype(np.float32)[None], pixel_size=(10, 4, 4))
    found = da.stack3d.resample(dy=1, dx=2)
    inner = found.isel(y=slice(4, -4), x=slice(4, -4))
    expected = (3.0 * inner.x / 4 + 2.0 * inner.y / 4).transpose("y", "x")
    np.testing.assert_allclose(inner[0], expected, rtol=1e-5)


def test_facts_of_slices_follow_the_resampling():
    found = make().stack3d.resample(dz=10)
    np.testing.assert_allclose(found.working_distance, np.linspace(5, 6, 17))
    assert found.slice_number.dtype.kind == "i"
    np.testing.assert_array_equal(found.z.values[~found.valid.values], [70, 80, 90])


def test_labels_take_the_nearest_slice_and_pixel():
    da = make(np.uint8, z=UNEVEN)
    found = da.stack3d.resample(dz=3, dy=2, dx=2, method="nearest")
    assert set(np.unique(found)) <= set(np.unique(da))


def test_a_missing_pixel_is_bridged_unless_it_is_the_nearest():
    da = make(np.float32)
    da[3, 0, 0] = np.nan
    found = da.stack3d.resample(z=[45.0, 55.0, 60.0, 75.0])[:, 0, 0].values
    assert found[0] == da[2, 0, 0]
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, False])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"dz": 0}, "dz=0.*positive"),
        ({"dz": "-1 nm"}, "dz='-1 nm'.*positive"),
        ({"dz": "fast"}, "dz='fast'"),
        ({"dz": 10, "z": [0, 1]}, "both give"),
        ({"z": [0, 1000]}, "beyond the stack"),
        ({"z": [10, 5]}, "strictly increasing"),
        ({"dz": 1e-9}, "dz=1e-09 would make.*Is the unit right"),
        ({"dx": "1e-6 nm"}, "dx='1e-6 nm' would make"),
        ({"method": "spline"}, "method='spline'.*linear"),
        ({"dx": float("nan")}, "dx=nan"),
    ],
)
def test_resample_says_what_is_wrong(keywords, message):
    with pytest.raises(ValueError, match=message):
        make().stack3d.resample(**keywords)


def test_single_slices_and_frames_resample():
    da = make().isel(z=[3])
    assert da.stack3d.resample(dz=10).sizes["z"] == 1
    assert make().isel(z=0, drop=True).stack3d.resample(dx=8, dy=10).dims == ("y", "x")


# dtypes ------------------------------------------------------------------------------------------------------

WAYS = {
    "bin": lambda s, **k: s.stack3d.bin(**k),
    "resample": lambda s, **k: s.stack3d.resample(dz=13, **k),
    "match_histograms": lambda s, **k: s.stack3d.match_histograms(**k),
    "level_slices": lambda s, **k: s.stack3d.level_slices(**k),
    "rescale_intensity": lambda s, **k: s.stack3d.rescale_intensity(**k),
}


@pytest.mark.parametrize("name", sorted(WAYS))
@pytest.mark.parametrize("lazy", [False, True])
def test_missing_pixels_do_not_become_integers_in_silence(name, lazy):
    da = make(np.float32) * 0.5 + 60  # far from the limits of uint8
    da[2, :2, :2] = np.nan
    stack = da.chunk(z=3) if lazy else da
    with pytest.raises(ValueError, match=r"missing pixels.*dtype='float32'"):
        WAYS[name](stack, dtype="uint8").compute()


@pytest.mark.parametrize("name", sorted(WAYS))
@pytest.mark.parametrize("dtype", ["U3", "complex64", "foo"])
def test_dtypes_without_grey_values_are_refused(name, dtype):
    with pytest.raises(TypeError, match=f"dtype='{dtype}'"):
        WAYS[name](make(), dtype=dtype)


@pytest.mark.parametrize("dtype", [">u2", ">f4", ">i4"])
def test_arrays_in_another_byte_order_give_the_same(dtype):
    native = make(np.dtype(dtype).newbyteorder("=")) + 1000
    foreign = native.copy(data=native.values.astype(dtype))
    for name, way in {**WAYS, "invert": lambda s: s.stack3d.invert(), "flip": lambda s: s.stack3d.flip()}.items():
        np.testing.assert_array_equal(way(foreign).values, way(native).values, err_msg=name)
    np.testing.assert_array_equal(foreign.stack3d.slice_statistics()["mean"], native.stack3d.slice_statistics()["mean"])
    result = foreign.stack3d.invert()
    np.testing.assert_array_equal(stack3d.replay(foreign, result), result)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.uint32, np.int8, bool])
def test_integers_of_every_size_invert_exactly(dtype):
    limits = np.iinfo(dtype) if dtype is not bool else None
    values = [limits.min, limits.min + 1, limits.max - 1, limits.max] if limits else [False, True, True, False]
    da = stack3d.from_array(np.array(values, dtype).reshape(2, 2), pixel_size=1)
    inverted = da.stack3d.invert().values.ravel().tolist()
    assert inverted == ([limits.min + limits.max - v for v in values] if limits else [True, False, False, True])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_64_bit_integers_do_not_wrap_around(dtype):
    found = make().astype(dtype).stack3d.rescale_intensity(quantiles=(0, 1))
    assert float(found.values.max()) > 0.99 * np.iinfo(dtype).max
    assert found.values.min() >= np.iinfo(dtype).min


# mask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "apply",
    [
        lambda s: s.stack3d.crop(y=slice(0, 4), by="index"),
        lambda s: s.stack3d.flip(dims=("z", "y")),
        lambda s: s.stack3d.bin(z=2),
        lambda s: s.stack3d.resample(dz=10),
        lambda s: s.stack3d.resample(dx=3),
        lambda s: s.stack3d.reslice(),
        lambda s: s.stack3d.invert(),
    ],
)
def test_the_mask_goes_along(apply):
    da = make()
    da = da.assign_coords(mask=(("z", "y", "x"), da.values > 20))
    result = both_ways(da, apply)
    assert result["mask"].shape == result.shape
    assert result["mask"].dtype == bool


@pytest.mark.parametrize("step", ["bin", "resample"])
def test_facts_of_each_slice_of_each_channel_follow_the_slices(step):
    da = stack3d.from_array(np.zeros((2, 4, 6, 6), np.uint8), pixel_size=(10, 5, 5), channel=["SE", "BSE"])
    gain = np.array([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    da = da.assign_coords(
        gain=(("channel", "z"), gain),
        good=(("channel", "z"), [[False, False, False, True], [False, False, False, False]]),
        number=(("channel", "z"), gain.astype(int)),
        single=("z", gain[0]),
        row=(("z", "y"), np.ones((4, 6))),
    )
    result = da.stack3d.bin(z=2, y=1, x=1) if step == "bin" else da.stack3d.resample(z=[5.0, 25.0])
    assert result.gain.dims == ("channel", "z")
    np.testing.assert_allclose(result.gain, [[1.5, 3.5], [15.0, 35.0]])
    np.testing.assert_allclose(result.single, [1.5, 3.5])
    assert result.good.values.tolist() == [[False, True], [False, False]]
    assert result.number.dtype == int
    assert set(result.number.values.ravel().tolist()) <= set(gain.astype(int).ravel().tolist())
    assert "row" not in result.coords


def test_flip_of_what_is_no_name_says_so(stack):
    with pytest.raises(TypeError, match="dims=3 must be a name"):
        stack.stack3d.flip(dims=3)
