"""The ``box=`` of measures: fixed or sliding, by label or index, refused with its name."""

import numpy as np
import pytest

import stack3d
from stack3d.quality._box import boxed


@pytest.fixture
def da():
    values = np.arange(5 * 12 * 10, dtype=np.float32).reshape(5, 12, 10)
    return stack3d.from_array(values, pixel_size=(20, 5, 5))


def test_a_fixed_box_is_that_part_of_every_frame(da):
    np.testing.assert_array_equal(boxed(da, {"y": slice(2, 6), "x": slice(1, 4), "by": "index"}), da[:, 2:6, 1:4])
    np.testing.assert_array_equal(boxed(da, {"y": slice("10 nm", "25 nm")}), da[:, 2:6])


@pytest.mark.parametrize("chunks", [None, {"z": 2}])
def test_a_sliding_box_goes_from_the_first_place_to_the_last(da, chunks):
    stack = da if chunks is None else da.chunk(chunks)
    slid = boxed(stack, {"y": (slice(0, 4), slice(8, 12)), "x": slice(3, 9), "by": "index"})
    assert (slid.chunks is None) == (chunks is None)
    np.testing.assert_array_equal(slid, [da.values[k, 2 * k : 2 * k + 4, 3:9] for k in range(5)])
    assert slid["y"].attrs["spacing"] == da["y"].attrs["spacing"]


def test_masked_pixels_are_missing_in_the_box(da):
    masked = da.assign_coords(mask=(da.dims, da.values % 2 == 0))
    part = boxed(masked, {"x": slice(0, 4), "by": "index"})
    np.testing.assert_array_equal(np.isnan(part), da.values[:, :, :4] % 2 == 1)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ({"z": slice(0, 2)}, "keys among 'y', 'x'"),
        ({"y": (slice(0, 4), slice(8, 11)), "by": "index"}, "hold 4 and 3 pixels"),
        ({"y": (slice(0, 4),), "by": "index"}, "a pair"),
        ({"y": slice(0, 40), "by": "index"}, "beyond the stack"),
    ],
)
def test_a_bad_box_is_refused_by_name(da, box, message):
    with pytest.raises(ValueError, match=message):
        da.stack3d.slice_statistics(box=box)


def test_a_sliding_box_needs_slices(da):
    with pytest.raises(ValueError, match="slides along z"):
        boxed(da[0].drop_vars("z"), {"y": (slice(0, 4), slice(8, 12)), "by": "index"})
