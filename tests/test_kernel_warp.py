"""Shifts and warps of frames: exact where they can be, close to the truth where not, honest about missing pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack3d.kernels import warp

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "float32", "float64", "float16", "int64"]
MODES = {"edge": "edge", "reflect": "symmetric"}
TURN = np.array([[0.98, -0.11, 3.2], [0.09, 1.03, -2.7], [0.0, 0.0, 1.0]])


def waves(shape, dy=0.0, dx=0.0):
    """A sum of slow waves, known everywhere."""
    y, x = np.arange(shape[0])[:, None] + dy, np.arange(shape[1])[None, :] + dx
    return waves_at(y, x)


def waves_at(y, x):
    return np.sin(0.31 * y + 0.2 * x) + 0.7 * np.cos(0.4 * x - 0.15 * y) + 0.4 * np.sin(0.5 * y + 1)


def translation(dy, dx):
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize("order", [0, 1, 3, "lanczos"])
@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, -2), (-1, 5), (40, 2), (-25, -300)])
def test_whole_shifts_copy_pixels_exactly(dtype, order, dy, dx):
    if dtype == "bool" and order != 0:
        with pytest.raises(TypeError, match="order must be 0"):
            warp.shift_frame(np.zeros((3, 3), bool), dy, dx, order=order)
        return
    frame = (np.random.default_rng(0).random((17, 23)) * 120).astype(dtype)
    for fill, mode in MODES.items():
        pad = 330
        padded = np.pad(frame, pad, mode=mode)
        truth = padded[pad + dy : pad + dy + 17, pad + dx : pad + dx + 23]
        found, saturated = warp.shift_frame(frame, dy, dx, order=order, fill=fill)
        assert found.dtype == frame.dtype
        np.testing.assert_array_equal(found, truth)
        assert saturated == 0
    padded = np.pad(frame, 330, constant_values=True if dtype == "bool" else 7)
    found, _ = warp.shift_frame(frame, dy, dx, order=order, fill="constant", value=7)
    np.testing.assert_array_equal(found, padded[330 + dy : 347 + dy, 330 + dx : 353 + dx])


def test_a_shift_looks_up_where_the_pixel_comes_from():
    frame = np.arange(12.0, dtype="float32").reshape(3, 4)
    found, _ = warp.shift_frame(frame, 1, 0)
    np.testing.assert_array_equal(found[:2], frame[1:])


@pytest.mark.parametrize(("order", "bound"), [(1, 0.06), (3, 3e-3), ("lanczos", 1.5e-2)])
@pytest.mark.parametrize(("dy", "dx"), [(0.37, 0.61), (-2.5, 1.5), (0.01, 0.012), (4.0, 0.3)])
def test_fractional_shifts_of_known_waves_are_close_to_the_truth(order, bound, dy, dx):
    found, _ = warp.shift_frame(waves((40, 50)), dy, dx, order=order)
    np.testing.assert_allclose(found[8:-8, 8:-8], waves((40, 50), dy, dx)[8:-8, 8:-8], atol=bound)


def test_a_tiny_shift_is_not_lost():
    frame = (waves((60, 60)) * 5000 + 20000).astype("float32")
    found, _ = warp.shift_frame(frame, 0.002, -0.003)
    moved = (waves((60, 60), 0.002, -0.003) * 5000 + 20000)[5:-5, 5:-5]
    assert np.abs(found[5:-5, 5:-5] - moved).max() < 0.05 * np.abs(moved - frame[5:-5, 5:-5]).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill", ["edge", "reflect", "constant"])
@pytest.mark.parametrize("order", [0, 1, 3, "lanczos"])
def test_the_compiled_form_equals_the_array_form(dtype, fill, order):
    frame = (np.random.default_rng(1).random((31, 42)) * 120).astype(dtype)
    tolerance = (
        {"atol": 1} if np.dtype(dtype).kind in "iu" else {"rtol": 2e-3, "atol": 2e-3 if dtype != "float16" else 1}
    )
    for matrix, shape in ((translation(0.3, -0.8), None), (translation(-9.7, 50.2), (20, 60)), (TURN, (35, 30))):
        found, _ = warp.warp_frame(frame, matrix, shape, order=order, fill=fill, value=3)
        truth, _ = warp.warp_xp(frame, matrix, shape, order=order, fill=fill, value=3)
        assert found.dtype == truth.dtype == frame.dtype
        assert found.shape == truth.shape == (shape or frame.shape)
        np.testing.assert_allclose(found.astype(float), truth.astype(float), **tolerance)


def test_an_affine_warp_of_known_waves_is_close_to_the_truth():
    y, x = np.mgrid[:60, :70].astype(float)
    sx, sy = (TURN[i, 0] * x + TURN[i, 1] * y + TURN[i, 2] for i in (0, 1))
    inside = (sx > 4) & (sx < 75) & (sy > 4) & (sy < 65)
    for order, bound in ((1, 0.06), (3, 3e-3), ("lanczos", 1.5e-2)):
        found, _ = warp.warp_frame(waves((70, 80)), TURN, (60, 70), order=order)
        np.testing.assert_allclose(found[inside], waves_at(sy, sx)[inside], atol=bound)


def test_labels_stay_labels():
    labels = np.random.default_rng(2).integers(0, 2**31, (30, 30), dtype="uint32")
    found, _ = warp.warp_frame(labels, TURN, order=0)
    assert np.isin(found, labels).all()
    y, x = np.mgrid[:30, :30]
    sx, sy = (np.floor(TURN[i, 0] * x + TURN[i, 1] * y + TURN[i, 2] + 0.5).astype(int) for i in (0, 1))
    np.testing.assert_array_equal(found, labels[sy.clip(0, 29), sx.clip(0, 29)])


def test_there_and_back_is_within_the_interpolation_error():
    frame = waves((64, 64)).astype("float32")
    there, _ = warp.warp_frame(frame, TURN, (64, 64), fill="reflect")
    back, _ = warp.warp_frame(there, np.linalg.inv(TURN) * [[1], [1], [0]] + [[0] * 3, [0] * 3, [0, 0, 1]], (64, 64))
    np.testing.assert_allclose(back[16:48, 16:48], frame[16:48, 16:48], atol=8e-3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_overshoot_is_saturated_and_counted(dtype):
    info = np.iinfo(dtype)
    frame = np.full((20, 20), info.min, dtype)
    frame[:, 10:] = info.max
    found, saturated = warp.shift_frame(frame, 0, 0.5)
    assert saturated > 0
    assert (np.diff(found[5].astype(float)) >= -2 * 0.1 * (info.max - info.min)).all()
    truth, number = warp.shift_xp(frame, 0, 0.5)
    assert number == saturated
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("order", [0, 1, 3, "lanczos"])
@pytest.mark.parametrize("matrix", [translation(0.3, 0.6), translation(0.8, -1.4), TURN])
def test_a_pixel_is_missing_only_where_the_nearest_input_is(order, matrix):
    frame = waves((40, 40))
    holes = np.random.default_rng(3).random(frame.shape) < 0.05
    holes[20:26, 8:15] = True
    spoilt = np.where(holes, np.nan, frame).astype("float32")
    found, _ = warp.warp_frame(spoilt, matrix, order=order)
    near, _ = warp.warp_frame(holes, matrix, order=0)
    np.testing.assert_array_equal(np.isnan(found), near)
    whole, _ = warp.warp_frame(frame.astype("float32"), matrix, order=order)
    assert np.nanmax(np.abs(found - whole)) < 0.6  # half a pixel of the steepest wave
    np.testing.assert_allclose(found, warp.warp_xp(spoilt, matrix, order=order)[0], atol=1e-4)


def test_missing_pixels_can_fill_what_lies_outside():
    frame = np.ones((10, 12), "float32")
    found, _ = warp.shift_frame(frame, 2.3, 0, fill="constant", value=np.nan)
    np.testing.assert_array_equal(np.isnan(found[:, 5]), np.arange(10) + 2.3 > 9.5)
    np.testing.assert_allclose(found[:7], 1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (16, 16)])
def test_the_smallest_frames_can_be_moved(shape):
    frame = np.random.default_rng(4).random(shape).astype("float32")
    for matrix in (translation(0.4, -0.7), translation(30.2, 8.1), TURN):
        for order in (0, 1, 3, "lanczos"):
            found, _ = warp.warp_frame(frame, matrix, order=order, fill="reflect")
            np.testing.assert_allclose(found, warp.warp_xp(frame, matrix, order=order, fill="reflect")[0], atol=1e-4)
    assert warp.warp_frame(frame, TURN, (0, 5))[0].shape == (0, 5)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-50, 50), st.floats(-50, 50), st.sampled_from([0, 1, 3, "lanczos"]), st.sampled_from(["edge", "reflect"])
)
def test_a_constant_frame_stays_constant(dy, dx, order, fill):
    found, saturated = warp.shift_frame(np.full((12, 15), 200, "uint8"), dy, dx, order=order, fill=fill)
    assert (found == 200).all()
    assert saturated == 0


def test_integer_mode_rounds_the_displacement():
    frame = np.random.default_rng(5).integers(0, 255, (20, 20)).astype("uint8")
    np.testing.assert_array_equal(warp.shift_frame(frame, 1.6, -0.4, integer=True)[0], warp.shift_frame(frame, 2, 0)[0])


def test_views_and_foreign_byte_orders_are_read_rightly():
    frame = np.random.default_rng(6).integers(0, 60000, (40, 60)).astype("uint16")
    truth = warp.shift_frame(np.ascontiguousarray(frame[::2, ::3]), 0.3, 0.4)[0]
    np.testing.assert_array_equal(warp.shift_frame(frame[::2, ::3], 0.3, 0.4)[0], truth)
    np.testing.assert_array_equal(warp.shift_frame(frame[::2, ::3].astype(">u2"), 0.3, 0.4)[0], truth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 2}, "order must be"),
        ({"fill": "wrap"}, "fill must be"),
        ({"fill": "constant", "value": np.nan}, "float32"),
        ({"fill": "constant", "value": 300}, "from 0 to 255"),
        ({"dy": np.inf}, "dy and dx must be finite"),
    ],
)
def test_wrong_options_are_refused_by_name(options, message):
    given = {"dy": 0.5, "dx": 0.5} | options
    with pytest.raises(ValueError, match=message):
        warp.shift_frame(np.zeros((5, 5), "uint8"), **given)


def test_wrong_matrices_are_refused():
    frame = np.zeros((5, 5), "uint8")
    with pytest.raises(ValueError, match="affine"):
        warp.warp_frame(frame, [[1, 0, 0], [0, 1, 0], [0.1, 0, 1]])
    with pytest.raises(ValueError, match="finite"):
        warp.warp_frame(frame, np.eye(2))
