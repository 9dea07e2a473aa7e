"""The geometry of FIB-SEM: a face seen at an angle, and a stack sheared because the face recedes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d.testing import assert_input_unchanged, assert_lazy

SINE = np.sin(np.radians(54))


def face(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the grey values of the specimen at positions in nm, smooth on the scale of a pixel."""
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    return 1000 + 200 * np.sin(y / 21 + z / 300) * np.cos(x / 33) + 100 * np.cos(y / 47 - x / 29)


def tilted(dtype=np.float32) -> xr.DataArray:
    """Return what is seen of the face at 54 degrees: rows 5 nm apart in the image, further apart on the face."""
    z, y, x = (step * np.arange(n) for step, n in ((10.0, 4), (5.0, 60), (5.0, 40)))
    values = face(z, y / SINE, x)
    return stack3d.from_array((np.rint(values) if dtype == np.uint16 else values).astype(dtype), pixel_size=(10, 5, 5))


def test_rows_get_the_place_on_the_face_that_they_show():
    raw = tilted()
    true = raw.stack3d.correct_tilt(angle=54)
    np.testing.assert_array_equal(true.values, raw.values)
    expected = face(*(true[dim].values for dim in "zyx")).astype(np.float32)
    np.testing.assert_allclose(true.values, expected, rtol=1e-6)
    assert true.stack3d.pixel_size == stack3d.pixel_size(raw)._replace(y=5 / SINE)
    assert np.shares_memory(true.values, raw.values)


def test_cropping_before_or_after_the_tilt_is_the_same():
    raw = tilted()
    box = {"y": slice(7, 33), "x": slice(2, 30), "by": "index"}
    before = raw.stack3d.crop(**box).stack3d.correct_tilt(angle=54)
    after = raw.stack3d.correct_tilt(angle=54).stack3d.crop(**box)
    xr.testing.assert_identical(before.drop_attrs(deep=False), after.drop_attrs(deep=False))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_square_pixels_show_the_face_where_their_rows_lie(dtype):
    raw = tilted(dtype)
    square = raw.stack3d.correct_tilt(angle=54, pixels="square")
    assert square.dtype == dtype
    assert square.stack3d.pixel_size == stack3d.pixel_size(raw)
    expected = face(*(square[dim].values for dim in "zyx"))
    error = (square.values - expected)[:, 4:-4]
    assert np.sqrt(np.mean(error**2)) < (0.45 if dtype == np.uint16 else 0.2)  # two roundings
    edges = [raw["y"].values[0] - 2.5, raw["y"].values[-1] + 2.5]
    np.testing.assert_allclose(square["y"].values[0] - 2.5, edges[0] / SINE)
    assert abs(square["y"].values[-1] + 2.5 - edges[1] / SINE) <= 2.5
    assert_lazy(lambda s: s.stack3d.correct_tilt(angle=54, pixels="square"), raw)
    assert_input_unchanged(lambda s: s.stack3d.correct_tilt(angle=54, pixels="square"), raw)


def test_labels_keep_their_values_with_square_pixels():
    labels = (tilted() > 1000).astype(np.uint8) * 37
    square = labels.stack3d.correct_tilt(angle=54, pixels="square", order=0)
    assert set(np.unique(square)) == {0, 37}
    nearest = np.abs(square["y"].values[:, None] - labels["y"].values / SINE).argmin(axis=1)
    np.testing.assert_array_equal(square.values, labels.values[:, nearest])


def test_the_angle_is_taken_from_the_metadata_in_its_unit():
    raw = tilted()
    expected = raw.stack3d.correct_tilt(angle=54)
    for attrs in ({"column_angle": 54.0}, {"column_angle": float(np.radians(54)), "column_angle_units": "rad"}):
        found = raw.assign_attrs(attrs).stack3d.correct_tilt()
        np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-12)
        xr.testing.assert_equal(stack3d.replay(raw.assign_attrs(attrs), found), found)
    with pytest.raises(ValueError, match="angle=None: the metadata do not say column_angle"):
        raw.stack3d.correct_tilt()


def test_seen_straight_on_nothing_changes():
    raw = tilted()
    for pixels in ("keep", "square"):
        xr.testing.assert_equal(raw.stack3d.correct_tilt(angle=90, pixels=pixels), raw)


def test_shifts_along_y_are_lengths_on_the_face_too():
    raw = tilted().assign_coords(shift_y=("z", [0.0, 1, 2, 3], {"units": "nm"}))
    true = raw.stack3d.correct_tilt(angle=54)
    np.testing.assert_allclose(true["shift_y"], raw["shift_y"] / SINE)
    assert true["shift_y"].attrs == {"units": "nm"}
    np.testing.assert_array_equal(raw["shift_y"], [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"angle": 0}, "angle=0 must be"),
        ({"angle": 91.0}, "angle=91.0 must be"),
        ({"angle": "52 deg"}, "angle='52 deg' must be"),
        ({"angle": 52, "pixels": "round"}, "pixels='round'"),
        ({"angle": 52, "order": 2}, "order=2"),
    ],
)
def test_correct_tilt_says_what_is_wrong(keywords, message):
    with pytest.raises(ValueError, match=message):
        tilted().stack3d.correct_tilt(**keywords)


def test_rows_that_would_have_to_be_averaged_are_refused():
    oblong = stack3d.from_array(np.zeros((3, 8, 8), np.uint8), pixel_size=(10, 2, 5))
    with pytest.raises(ValueError, match=r"columns lie 5 apart, rows 2\.538"):
        oblong.stack3d.correct_tilt(angle=52, pixels="square")


WORLD = np.random.default_rng(3).integers(1, 60000, (6, 60, 24)).astype(np.uint16)


def sheared(rows: int) -> xr.DataArray:
    """Return slices of WORLD, cut by a frame that moves down by `rows` a slice: content moves up in it."""
    start = 10 if rows >= 0 else 40
    frames = [WORLD[k, start + rows * k : start + rows * k + 12] for k in range(6)]
    y = 5.0 * (start + np.arange(12))
    return stack3d.from_array(np.stack(frames), pixel_size=(10, 5, 4)).assign_coords(y=("y", y, {"units": "nm"}))


@pytest.mark.parametrize("rows", [3, -4])
@pytest.mark.parametrize("integer", [True, False])
def test_whole_pixels_come_back_to_their_place_to_the_bit(rows, integer):
    raw = sheared(rows)
    whole = raw.stack3d.deskew(shift=f"{-rows} px", integer=integer)
    assert whole.sizes == {"z": 6, "y": 12 + 5 * abs(rows), "x": 24}
    for k in range(6):
        # Where each voxel says it lies, it shows the world; the rest is empty.
        there = np.rint(whole["y"].values / 5).astype(int)
        seen = (there >= raw["y"].values[0] / 5 + rows * k) & (there < raw["y"].values[0] / 5 + rows * k + 12)
        np.testing.assert_array_equal(whole.values[k, seen], WORLD[k, there[seen]])
        assert seen.sum() == 12
        assert not whole.values[k, ~seen].any()
    assert whole.stack3d.pixel_size == raw.stack3d.pixel_size
    same = raw.stack3d.deskew(shift=f"{-rows} px", canvas="same", fill="edge", crop="none")
    xr.testing.assert_equal(same["y"], raw["y"])
    common = raw.stack3d.deskew(shift="-1 px", crop="common")
    assert common.sizes["y"] == 12 - 5


def test_the_face_that_recedes_moves_up_by_its_depth_over_the_tangent():
    raw = stack3d.from_array(np.ones((4, 8, 8), np.uint8), pixel_size=(5, 5), z=[0, 10, 20, 40])
    for angle in (52.0, -52.0, 90.0):
        found = raw.stack3d.deskew(angle=angle)
        np.testing.assert_allclose(found["shift_y"], -np.array([0, 10, 20, 40]) / np.tan(np.radians(angle)), atol=1e-9)
    micrometres = raw.assign_coords(z=("z", np.array([0, 10, 20, 40]) / 1000, {"units": "um"}))
    np.testing.assert_allclose(micrometres.stack3d.deskew(angle=52)["shift_y"], raw.stack3d.deskew(angle=52)["shift_y"])
    # A length is for a median step, also where slices are uneven.
    np.testing.assert_allclose(raw.stack3d.deskew(shift=-3)["shift_y"], [0, -3, -6, -12])


@pytest.mark.parametrize(("order", "limit"), [(3, 0.3), ("lanczos", 0.6), (1, 4.0)])
def test_parts_of_a_pixel_are_interpolated_at_their_place(order, limit):
    z, y, x = (step * np.arange(n) for step, n in ((10.0, 6), (5.0, 40), (5.0, 30)))
    per_slice = 10 / np.tan(np.radians(52))  # nm up; not a whole number of rows
    frames = np.concatenate([face(z[[k]], y + per_slice * k, x) for k in range(6)]).astype(np.float32)
    raw = stack3d.from_array(frames, pixel_size=(10, 5, 5))
    found = raw.stack3d.deskew(angle=52, order=order)
    expected = face(*(found[dim].values for dim in "zyx"))
    for k in range(6):
        first = per_slice * k
        inner = (found["y"].values > first + 15) & (found["y"].values < first + y[-1] - 15)
        assert inner.sum() > 30
        assert np.sqrt(np.mean((found.values[k] - expected[k])[inner][:, 4:-4] ** 2)) < limit
        outside = (found["y"].values < first - 2.6) | (found["y"].values > first + y[-1] + 2.6)
        assert np.isnan(found.values[k, outside]).all()
    lazy = raw.chunk(z=2).stack3d.deskew(angle=52, order=order)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, found)
    xr.testing.assert_equal(stack3d.replay(raw, found), found)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "angle=None and shift=None: give exactly one"),
        ({"angle": 52, "shift": 3}, "angle=52 and shift=3: give exactly one"),
        ({"angle": 0}, "angle=0 must be"),
        ({"angle": -100}, "angle=-100 must be"),
        ({"shift": "fast"}, "shift='fast' is not a length"),
        ({"shift": 3, "canvas": "wide"}, "canvas='wide'"),
    ],
)
def test_deskew_says_what_is_wrong(keywords, message):
    with pytest.raises(ValueError, match=message):
        sheared(3).stack3d.deskew(**keywords)


def test_an_angle_needs_lengths():
    bare = stack3d.from_array(np.ones((3, 8, 8), np.uint8), pixel_size=None)
    with pytest.raises(ValueError, match="angle=52 needs lengths along z and y, but z is in '1'"):
        bare.stack3d.deskew(angle=52)
    assert bare.stack3d.deskew(shift="2 px").sizes["y"] == 12
