"""Kernels that resample: binning, blending along z, new rows and columns, weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack3d.kernels import binning, blend, regrid, zweights

DTYPES = ("uint8", "uint16", "int32", "float32")
# Each pair is compiled once more: these cover every branch (narrow, wide, floating; in and out).
PAIRS = (
    ("uint8", "uint8"),
    ("uint16", "uint16"),
    ("float32", "float32"),
    ("float64", "int32"),
)


def make_frame(dtype, shape=(31, 42), seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        frame = rng.normal(200, 300, shape).astype(dtype)
        frame[3, 5:9] = np.nan
        frame[8:16, 8:20] = np.nan
        return frame
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def assert_same(got, expected):
    np.testing.assert_array_equal(got[0], expected[0])
    assert got[0].dtype == expected[0].dtype
    assert got[1] == expected[1]


# --- binning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", binning.REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_binning_forms_are_equal(dtype, reduction):
    frame = make_frame(dtype)
    for by, bx in ((1, 1), (2, 2), (3, 5), (9, 10), (12, 11)):
        got, expected = (f(frame, by, bx, reduction) for f in (binning.bin_frame, binning.bin_frame_xp))
        assert got.dtype == expected.dtype
        assert got.shape == (31 // by, 42 // bx)
        if np.dtype(dtype).kind == "f" and reduction in ("mean", "sum"):
            np.testing.assert_allclose(got, expected, rtol=2e-7 if dtype == "float32" else 1e-12)
        else:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("reduction", binning.REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_binning_agrees_with_numpy_block_by_block(dtype, reduction):
    frame = make_frame(dtype)
    got = binning.bin_frame(frame, 4, 3, reduction)
    for j, i in itertools.product(range(7), range(14)):
        block = frame[4 * j : 4 * j + 4, 3 * i : 3 * i + 3].astype("float64")
        values = block[~np.isnan(block)]
        if not values.size:
            assert np.isnan(got[j, i])
            continue
        expected = values.mean() * 12 if reduction == "sum" else getattr(np, reduction)(values)
        np.testing.assert_allclose(float(got[j, i]), expected, rtol=1e-6 if got.dtype == "float32" else 1e-12)


def test_binning_keeps_32_bit_sums_exact():
    frame = np.full((2, 2), 2**32 - 1, "uint32")
    got = binning.bin_frame(frame, 2, 2, "sum")
    assert got.dtype == "float64"
    assert got.item() == 4 * (2**32 - 1)
    wide = np.full((300, 300), 65535, "uint16")
    assert binning.bin_frame(wide, 300, 300, "mean").item() == 65535


def test_binning_refuses_what_it_cannot_do():
    frame = np.zeros((4, 6), "uint8")
    with pytest.raises(ValueError, match="reduction must be one of"):
        binning.bin_frame(frame, 2, 2, "mode")
    with pytest.raises(ValueError, match="by and bx"):
        binning.bin_frame(frame, 5, 2)


# --- blending ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_blending_forms_are_equal(dtype, target):
    rng = np.random.default_rng(3)
    for count in (1, 2, 3, 4, 6):
        frames = [make_frame(dtype, seed=k) for k in range(count)]
        frames = [np.roll(frame, 3 * k, axis=1) for k, frame in enumerate(frames)]
        weights = rng.random(count)
        masks = [rng.random(frames[0].shape) > 0.3 if k % 2 == 0 else None for k in range(count)]
        for valid, missing in itertools.product((None, masks), ("nearest", "all")):
            got, expected = (
                f(frames, weights, target, valid, missing=missing) for f in (blend.blend_frames, blend.blend_xp)
            )
            assert_same(got, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("weights", [[0.3, 0.7], [-0.0625, 0.5625, 0.5625, -0.0625], [0.2] * 5])
def test_blending_is_the_weighted_sum(dtype, weights):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (20, 30)).astype(dtype) for _ in weights]
    exact = sum(w * f.astype("float64") for w, f in zip(weights, frames))
    got, count = blend.blend_frames(frames, weights, dtype)
    if dtype == "float32":
        np.testing.assert_allclose(got, exact, atol=1e-4)
        assert count == 0
        return
    info = np.iinfo(dtype)
    assert np.abs(got - np.clip(exact, info.min, info.max)).max() <= 0.5 + 1e-4
    assert count == np.count_nonzero((np.rint(exact) < info.min) | (np.rint(exact) > info.max))


def test_blending_a_frame_with_itself_returns_it():
    for dtype in ("uint8", "uint16"):
        frame = make_frame(dtype)
        assert_same(blend.blend_frames([frame, frame], [0.25, 0.75], dtype), (frame, 0))
        assert_same(blend.blend_frames([frame], [1.0], dtype), (frame, 0))


def test_a_blended_pixel_is_missing_only_where_its_nearest_frame_lacks_it():
    near = np.array([[1.0, np.nan, 3.0, np.nan]], "float32")
    far = np.array([[5.0, 6.0, np.nan, np.nan]], "float32")
    got, _ = blend.blend_frames([far, near], [0.25, 0.75], "float32")
    np.testing.assert_array_equal(got, np.array([[2.0, np.nan, 3.0, np.nan]], "float32"))
    got, count = blend.blend_frames([far, near], [0.25, 0.75], "uint8")
    assert got.tolist() == [[2, 0, 3, 0]]
    assert count == 2
    got, _ = blend.blend_frames([far, near], [0.5, 0.5], "float32", missing="all")
    np.testing.assert_array_equal(got, np.array([[3.0, 6.0, 3.0, np.nan]], "float32"))


def test_masks_say_what_is_missing_and_the_nearest_value_stays_beneath():
    near, far = np.array([[10, 20, 30, 40]], "uint16"), np.array([[20, 40, 60, 80]], "uint16")
    masks = [np.array([[True, True, False, False]]), np.array([[True, False, True, False]])]
    got, count = blend.blend_frames([near, far], [0.6, 0.4], "uint16", masks)
    assert got.tolist() == [[14, 20, 30, 40]]
    assert count == 0


def test_frames_of_weight_zero_are_not_looked_at():
    frame, hole = np.ones((2, 2), "float32"), np.full((2, 2), np.nan, "float32")
    np.testing.assert_array_equal(blend.blend_frames([hole, frame], [0, 1], "float32")[0], frame)


def test_blending_refuses_what_does_not_fit():
    a, b = np.zeros((2, 2), "uint8"), np.zeros((2, 3), "uint8")
    with pytest.raises(ValueError, match="one shape and dtype"):
        blend.blend_frames([a, b], [0.5, 0.5], "uint8")
    with pytest.raises(ValueError, match="weights must be one number per frame"):
        blend.blend_frames([a, a], [1.0], "uint8")
    with pytest.raises(ValueError, match="not all be zero"):
        blend.blend_frames([a, a], [0, 0], "uint8")
    with pytest.raises(ValueError, match="missing must be"):
        blend.blend_frames([a, a], [0.5, 0.5], "uint8", missing="some")


# --- new rows and columns ----------------------------------------------------------------------------------------

ROWS = np.concatenate([np.linspace(-1, 32, 57), np.arange(10.0)])
COLUMNS = np.concatenate([np.arange(9) + 0.5, np.linspace(-2, 44, 61)])


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_linear_forms_are_equal(dtype, target):
    frame = make_frame(dtype)
    assert_same(regrid.linear_frame(frame, ROWS, COLUMNS, target), regrid.linear_frame_xp(frame, ROWS, COLUMNS, target))


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_linear_interpolation_gives_a_plane_exactly_and_edges_beyond(dtype):
    y, x = np.mgrid[:20, :30]
    frame = (40 * y + 8 * x).astype(dtype)
    rows, columns = np.array([-3.0, 0.25, 7.5, 19.0, 30.0]), np.array([-1.0, 0.125, 12.75, 29.0, 99.0])
    got, count = regrid.linear_frame(frame, rows, columns, "float64")
    expected = 40 * np.clip(rows, 0, 19)[:, None] + 8 * np.clip(columns, 0, 29)
    np.testing.assert_array_equal(got, expected)
    assert count == 0


def test_linear_at_the_pixels_themselves_is_the_frame():
    for dtype in ("uint8", "uint16", "float32"):
        frame = make_frame(dtype)
        got, _ = regrid.linear_frame(frame, np.arange(31.0), np.arange(42.0), dtype)
        np.testing.assert_array_equal(got, frame)


def test_a_linear_pixel_is_missing_only_where_its_nearest_pixel_is():
    frame = make_frame("float64", seed=5)
    frame[np.random.default_rng(6).random(frame.shape) < 0.2] = np.nan
    for row, column in np.random.default_rng(7).uniform(0, 30, (300, 2)):
        got = regrid.linear_frame(frame, [row], [column], "float64")[0].item()
        j, i = int(row), int(column)
        weights = np.outer([1 - (row - j), row - j], [1 - (column - i), column - i])
        corner = np.full((2, 2), np.nan)
        part = frame[j : j + 2, i : i + 2]
        corner[: part.shape[0], : part.shape[1]] = part
        if np.isnan(corner.ravel()[np.argmax(weights)]):
            assert np.isnan(got)
        else:
            here = ~np.isnan(corner)
            assert got == pytest.approx((corner[here] * weights[here]).sum() / weights[here].sum(), rel=1e-12)


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
def test_nearest_takes_whole_pixels_and_the_lower_one_half_way(dtype):
    frame = make_frame("uint16").astype(dtype)
    rows, columns = np.array([-2.0, 0.5, 0.51, 7.2, 40.0]), np.array([1.5, 1.6, 41.0, 50.0])
    got = regrid.nearest_frame(frame, rows, columns)
    np.testing.assert_array_equal(got, frame[np.ix_([0, 0, 1, 7, 30], [1, 2, 41, 41])])
    assert got.dtype == frame.dtype


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_area_forms_agree(dtype, target):
    frame = make_frame(dtype)
    rows = zweights.area_weights(np.arange(32), np.linspace(0, 31, 12))
    columns = zweights.area_weights(np.arange(43), np.linspace(3, 42, 19))
    got, expected = (f(frame, rows, columns, target) for f in (regrid.area_frame, regrid.area_frame_xp))
    assert got[0].dtype == expected[0].dtype
    assert got[0].shape == (11, 18)
    slack = 1 if np.dtype(target).kind != "f" else 0
    np.testing.assert_allclose(
        got[0].astype("float64"), expected[0].astype("float64"), rtol=2e-6, atol=max(slack, 2e-4), equal_nan=True
    )


def test_area_by_whole_factors_is_binning():
    frame = make_frame("uint16", (32, 42))
    rows = regrid.area_weights(np.arange(33), np.arange(0, 33, 4))
    columns = regrid.area_weights(np.arange(43), np.arange(0, 43, 3))
    got, _ = regrid.area_frame(frame, rows, columns, "float64")
    np.testing.assert_allclose(got, binning.bin_frame(frame.astype("float64"), 4, 3), rtol=1e-12)


def test_area_keeps_the_integral_of_a_frame():
    frame = make_frame("uint16", (31, 42)).astype("float64")
    new_rows, new_columns = np.linspace(0, 31, 8), np.linspace(0, 42, 11)
    got, _ = regrid.area_frame(
        frame,
        regrid.area_weights(np.arange(32), new_rows),
        regrid.area_weights(np.arange(43), new_columns),
        "float64",
    )
    cells = np.outer(np.diff(new_rows), np.diff(new_columns))
    assert (got * cells).sum() == pytest.approx(frame.sum(), rel=1e-12)


def test_area_refuses_weights_beyond_the_frame():
    with pytest.raises(ValueError, match="row_weights"):
        regrid.area_frame(np.zeros((2, 2)), [(1, np.ones(2))], [(0, np.ones(1))], "float64")


# --- weights along z ---------------------------------------------------------------------------------------------

gaps = st.lists(st.floats(0.1, 10), min_size=1, max_size=12)
KINDS = (zweights.linear_weights, zweights.cubic_weights, zweights.nearest_weights)


def weighted(weights, values):
    return np.array([part @ values[start : start + part.size] for start, part in weights])


@settings(max_examples=60, deadline=None)
@given(gaps, st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=8), st.sampled_from(KINDS))
def test_weights_sum_to_one_and_stay_within_the_slices(steps, shares, kind):
    z = np.concatenate([[3.0], 3.0 + np.cumsum(steps)])
    wanted = z[0] + np.array(shares) * (z[-1] - z[0])
    result = kind(z, wanted)
    assert len(result) == wanted.size
    for start, part in result:
        assert start >= 0
        assert start + part.size <= z.size
        assert part.sum() == pytest.approx(1, abs=1e-9)
    # At the slices themselves, and beyond the ends, nothing is computed.
    assert [(start, part.tolist()) for start, part in kind(z, z)] == [(k, [1.0]) for k in range(z.size)]
    assert [start for start, part in kind(z, [z[0] - 1, z[-1] + 1])] == [0, z.size - 1]


@settings(max_examples=60, deadline=None)
@given(gaps, st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_linear_weights_give_lines_and_cubic_weights_cubics_on_any_spacing(steps, shares):
    z = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.array(shares) * z[-1]
    line = 2 * z - 7
    np.testing.assert_allclose(weighted(zweights.linear_weights(z, wanted), line), 2 * wanted - 7, atol=1e-7)
    degree = min(3, z.size - 1)
    scale = z[-1]
    got = weighted(zweights.cubic_weights(z, wanted), (z / scale) ** degree - z / scale)
    np.testing.assert_allclose(got, (wanted / scale) ** degree - wanted / scale, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(gaps, st.integers(1, 9))
def test_area_weights_lose_no_slice(steps, count):
    bounds = np.concatenate([[1.0], 1.0 + np.cumsum(steps)])
    new = np.linspace(bounds[0], bounds[-1], count + 1)
    total = np.zeros(bounds.size - 1)
    for (start, part), width in zip(zweights.area_weights(bounds, new), np.diff(new)):
        assert (part >= 0).all()
        total[start : start + part.size] += part * width
    # Each slice counts for its whole thickness.
    np.testing.assert_allclose(total, np.diff(bounds), rtol=1e-6)


def test_area_weights_of_the_same_cells_and_of_cells_outside():
    bounds = 0.1 + 0.3 * np.arange(6)
    shifted = (0.1 / 0.3 + np.arange(6)) * 0.3  # equal but for rounding
    assert [(s, p.tolist()) for s, p in zweights.area_weights(bounds, shifted)] == [(k, [1.0]) for k in range(5)]
    outside = zweights.area_weights([0.0, 1.0, 2.0], [-3.0, -2.0, 0.5, 5.0, 6.0])
    assert [(s, p.tolist()) for s, p in outside] == [(0, [1.0]), (0, [1.0]), (0, [1 / 3, 2 / 3]), (1, [1.0])]


def test_nearest_half_way_is_the_lower_slice():
    assert [start for start, _ in zweights.nearest_weights([0, 1, 4], [0.5, 0.6, 2.5, 3])] == [0, 1, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_refuse_slices_out_of_order(kind):
    with pytest.raises(ValueError, match="strictly increasing"):
        kind([0.0, 2.0, 1.0], [0.5])
    with pytest.raises(ValueError, match="z_out must be finite"):
        kind([0.0, 2.0], [np.nan])
