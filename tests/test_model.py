"""What a stack is: making one, and being told what is wrong with one."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d.model import check_stack


@pytest.mark.parametrize(
    ("pixel_size", "z", "expected"),
    [
        (5, None, (5.0, 5.0, 5.0)),
        ((20, 5, 4), None, (20.0, 5.0, 4.0)),
        (("0.02 um", "5 nm", "40 angstrom"), None, (20.0, 5.0, 4.0)),
        ((5, 4), [0.0, 10.0, 30.0], (15.0, 5.0, 4.0)),
    ],
)
def test_positions_are_voxel_centres_with_units_and_spacing(pixel_size, z, expected):
    da = stack3d.from_array(np.zeros((3, 4, 6), np.uint8), pixel_size=pixel_size, z=z)
    assert da.dims == ("z", "y", "x")
    assert da.stack3d.pixel_size == (*expected, "nm")
    np.testing.assert_array_equal(da.x, expected[2] * np.arange(6))
    np.testing.assert_array_equal(da.z, expected[0] * np.arange(3) if z is None else z)
    for dim in ("z", "y", "x"):
        attrs = da[dim].attrs
        assert (attrs["units"], attrs["axis"], attrs["spacing"]) == ("nm", dim.upper(), expected["zyx".index(dim)])
        assert da[dim].dtype == np.float64


def test_without_calibration_positions_count_pixels_and_lengths_are_refused():
    da = stack3d.from_array(np.zeros((3, 4, 6), np.uint8), pixel_size=None)
    assert da.stack3d.pixel_size == (1.0, 1.0, 1.0, "1")
    assert da.stack3d.crop(x=slice("2 px", None)).sizes["x"] == 4
    with pytest.raises(ValueError, match=r"not calibrated.*pixel_size"):
        da.stack3d.crop(x=slice("2 nm", None))


def test_lazy_data_stay_lazy_and_are_not_copied():
    data = dask.array.zeros((3, 4, 6), chunks=(1, 4, 6))
    assert stack3d.from_array(data, pixel_size=1).data is data
    array = np.zeros((4, 6), np.float32)
    assert np.shares_memory(stack3d.from_array(array, pixel_size=1).values, array)


def test_channels_are_named():
    data = np.zeros((2, 3, 4, 6), np.uint8)
    assert list(stack3d.from_array(data, pixel_size=1, channel=["SE2", "ESB"]).channel.values) == ["SE2", "ESB"]
    assert list(stack3d.from_array(data, pixel_size=1).channel.values) == ["0", "1"]
    assert str(stack3d.from_array(data[0], pixel_size=1, channel="SE2").channel.values) == "SE2"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"pixel_size": (1, 2)}, r"pixel_size=\(1, 2\).*z="),
        ({"pixel_size": (1, 2, 3), "z": [0, 1, 2]}, "both give"),
        ({"pixel_size": (1, 2, 3, 4)}, "4 values"),
        ({"pixel_size": -1}, "pixel_size=-1.*positive"),
        ({"pixel_size": "1 s"}, "pixel_size.*1 s.*unit of length"),
        ({"pixel_size": 1, "units": "V"}, "units='V'"),
        ({"pixel_size": 1, "z": [0, 1]}, r"z has shape \(2,\).*3 positions"),
        ({"pixel_size": 1, "z": [0, 2, 1]}, "must increase; at index 2"),
        ({"pixel_size": 1, "z": [0, np.nan, 1]}, "not finite"),
        ({"pixel_size": 1, "channel": ["a", "b"]}, "channel=.*1 different name"),
        ({"pixel_size": 1, "attrs": {"a": {"b": 1}}}, "'a'"),
    ],
)
def test_bad_arguments_name_argument_value_and_remedy(keywords, message):
    with pytest.raises((TypeError, ValueError), match=message):
        stack3d.from_array(np.zeros((3, 4, 6), np.uint8), **keywords)


@pytest.mark.parametrize(
    ("da", "message"),
    [
        (xr.DataArray(np.zeros((3, 4)), dims=("row", "col")), "'y', 'x' missing"),
        (xr.DataArray(np.zeros((3, 4)), dims=("x", "y")), r"transpose\('y', 'x'\)"),
        (xr.DataArray(np.zeros((3, 4, 5)), dims=("y", "x", "z")), "transpose"),
        (xr.DataArray(np.zeros((0, 4)), dims=("y", "x")), "no data along 'y'"),
        (xr.DataArray(np.zeros((2, 4)), dims=("y", "x"), coords={"x": [3, 2, 1, 0]}), "must increase.*sortby"),
        (xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), coords={"x": ["a", "b"]}), "positions as numbers"),
    ],
)
def test_what_is_no_stack_is_refused_with_a_remedy(da, message):
    with pytest.raises(ValueError, match=message):
        check_stack(da)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match=r"from_array|open_stack"):
        stack3d.invert(np.zeros((3, 4)))
    with pytest.raises(TypeError, match="complex"):
        check_stack(xr.DataArray(np.zeros((3, 4), complex), dims=("y", "x")))
    with pytest.raises(ValueError, match="'z' missing"):
        stack3d.register(xr.DataArray(np.zeros((3, 4)), dims=("y", "x")))


def test_an_axis_without_calibration_has_no_size_beside_calibrated_ones():
    da = stack3d.from_array(np.zeros((3, 4, 6), np.uint8), pixel_size=5)
    assert da.assign_coords(z=[0.0, 1.0, 2.0]).stack3d.pixel_size == (None, 5.0, 5.0, "nm")
    only_z = stack3d.from_array(np.zeros((3, 4, 6), np.uint8), pixel_size=None).assign_coords(z=da.z)
    assert only_z.stack3d.pixel_size == (5.0, None, None, "nm")
    mixed = da.assign_coords(z=("z", [0.0, 0.02, 0.04], {"units": "um"}))
    assert mixed.stack3d.pixel_size == (20.0, 5.0, 5.0, "nm")
