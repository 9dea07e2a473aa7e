"""Whole numbers measured and mapped as they are: to the bit what the same values give as floats, or one by one."""

from __future__ import annotations

import numpy as np
import pytest

from stack3d.kernels import curve, finite, histogram, statistics
from stack3d.operations import _level_measures

SMALL = ("uint8", "int8", "uint16", "int16")


def frames(dtype: str) -> list[np.ndarray]:
    info, rng = np.iinfo(dtype), np.random.default_rng(3)
    normal = np.clip(rng.normal(100, 300 if info.max > 255 else 30, (513, 516)), info.min, info.max)
    return [
        rng.integers(info.min, info.max, (77, 94), dtype=dtype, endpoint=True),
        normal.astype(dtype),  # so large that its range is found from some rows
        np.full((5, 8), info.min, dtype),
        np.full((5, 8), info.max, dtype),
        rng.integers(3, 9, (50, 52)).astype(dtype)[::2, 1:],
    ]


@pytest.mark.parametrize("limits", [None, (0.0, 255.0), (-3.0, 7.2), (1000.0, 1001.0)])
@pytest.mark.parametrize("dtype", SMALL)
def test_counts_of_whole_numbers_are_those_of_the_floats_that_they_stand_for(dtype, limits):
    for frame in frames(dtype):
        for nbins in (1, 16, 4096):
            counts, low, step = histogram.compress(frame, nbins, limits, as_floats=True)
            floats = frame.astype(np.float32)
            expected, *grid = histogram.compress(floats, nbins, limits)
            assert [low, step] == grid
            np.testing.assert_array_equal(counts, expected)
            np.testing.assert_array_equal(counts, histogram.compress_xp(floats, nbins, low, step))


@pytest.mark.parametrize("dtype", SMALL)
def test_levels_are_counted_with_and_without_a_mask(dtype):
    for frame in frames(dtype):
        mask = np.random.default_rng(4).random(frame.shape) > 0.4
        for measured in (None, mask):
            counts, first = statistics.level_counts(frame, measured)
            levels, number = np.unique(frame if measured is None else frame[measured], return_counts=True)
            np.testing.assert_array_equal(np.flatnonzero(counts) + first, levels.astype(int))
            np.testing.assert_array_equal(counts[counts > 0], number)


@pytest.mark.parametrize("statistic", ["mean", "median", "trimmed"])
@pytest.mark.parametrize("dtype", SMALL)
def test_centre_and_spread_of_whole_numbers_are_those_of_the_floats_that_they_stand_for(dtype, statistic):
    for frame in frames(dtype):
        for low, high in ((None, None), (4.0, 100.0), (None, 7.2), (-500.0, -400.5)):
            found = _level_measures.centre_and_spread(frame, statistic, 0.05, low, high, as_floats=True)
            expected = _level_measures.centre_and_spread(frame.astype(np.float32), statistic, 0.05, low, high)
            assert str(found) == str(expected)  # NaN too


@pytest.mark.parametrize("target", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("dtype", [*SMALL, "float32"])
def test_even_curves_and_gains_are_equal_in_both_forms(dtype, target):
    rng = np.random.default_rng(5)
    whole = frames("int16" if dtype == "float32" else dtype)
    for given in whole:
        frame = given.astype(dtype)
        if dtype == "float32":
            frame[1, 2] = np.nan
        for low, step, pieces in ((-0.5, 1.0, 256), (1500.3, 137.77, 40), (-3e4, 0.1, 7), (0.0, 1.0, 1)):
            knots = low + step * np.arange(pieces + 1)
            values = np.sort(1.1 * knots + rng.normal(0, step, knots.size))
            for through in (None, np.float32):
                found, count = curve.apply_curve(frame, knots, values, target, None, through)
                expected, changed = curve.apply_curve_xp(frame, knots, values, target, through)
                np.testing.assert_array_equal(found, expected)
                assert count == changed
        for gain, offset in ((1.05, -100), (-1.3, 300.5), (0.5, 0.0)):
            found, count = curve.scale_offset(frame, gain, offset, target)
            expected, changed = curve.scale_offset_xp(frame, gain, offset, target)
            np.testing.assert_array_equal(found, expected)
            assert count == changed


def test_a_curve_may_write_into_a_part_of_an_array():
    frame = np.arange(96, dtype="uint16").reshape(8, 12)
    room = np.zeros((3, 8, 12), "uint16")
    found, count = curve.apply_curve(frame, [0, 50, 100], [10, 70, 110], "uint16", room[1])
    assert found is room[1] or np.shares_memory(found, room)
    assert (count, int(room[0].sum()), int(room[2].sum())) == (0, 0, 0)
    np.testing.assert_array_equal(room[1], np.rint(np.interp(frame, [0, 50, 100], [10, 70, 110])).astype("uint16"))


@pytest.mark.parametrize("dtype", ["float16", "uint64", "int64"])
@pytest.mark.parametrize("given", ["uint16", "float32", "float64"])
def test_results_of_any_type_are_those_of_the_array_form(dtype, given):
    frame = np.random.default_rng(6).integers(0, 900, (9, 10)).astype(given)
    for found, expected in (
        (curve.apply_curve(frame, [0, 400], [3, 999], dtype), curve.apply_curve_xp(frame, [0, 400], [3, 999], dtype)),
        (curve.scale_offset(frame, 1.5, -20, dtype), curve.scale_offset_xp(frame, 1.5, -20, dtype)),
    ):
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[0].dtype == dtype
        assert found[1] == expected[1]


def test_whole_numbers_of_64_bits_are_kept_up_to_their_end():
    found, saturated = curve.apply_curve(np.array([[1e19, 1e30, 5.0]]), [0, 1], [0, 1], "uint64")
    assert found.tolist() == [[10**19, int(np.nextafter(2.0**64, 0)), 5]]
    assert saturated == 1


@pytest.mark.parametrize("form", [curve.apply_curve, curve.apply_curve_xp])
def test_a_missing_pixel_stays_missing_under_a_curve_of_one_knot(form):
    frame = np.array([[np.nan, 4.0]])
    np.testing.assert_array_equal(form(frame, [1.0], [2.0], "float64")[0], [[np.nan, 5.0]])
    assert form(frame, [1.0], [2.0], "uint8")[0].tolist() == [[0, 5]]


@pytest.mark.parametrize("form", [curve.scale_offset, curve.scale_offset_xp])
def test_a_missing_pixel_is_0_in_integers_below_the_lower_limit_too(form):
    found, changed = form(np.array([[np.nan, 4.0, 40.0]]), 1, 0, "uint8", low=10)
    assert found.tolist() == [[0, 10, 40]]
    assert changed == 2


def test_a_range_too_narrow_to_be_divided_is_one_value():
    frame = np.zeros((4, 4))
    frame[0, 0] = 5e-324
    for given, limits in (
        (frame, None),
        (frame, (0, 5e-324)),
        (np.arange(16, dtype="uint8").reshape(4, 4), (0, 1e-310)),
    ):
        as_floats = given.dtype.kind == "u"
        counts, _, step = histogram.compress(given, 4, limits, as_floats=as_floats)
        assert counts.sum() == 16
        assert step > 0
        if as_floats:
            np.testing.assert_array_equal(counts, histogram.compress(given.astype("float32"), 4, limits)[0])


def test_limits_of_levels_may_be_infinite():
    frame = np.arange(10, dtype="uint16").reshape(2, 5)
    assert statistics.quantiles(frame, [0.5], low=-np.inf, high=np.inf) == [4.5]
    assert statistics.median_and_mad(frame, low=5.0, high=np.inf)[0] == 7.0


def test_half_precision_is_measured_without_a_warning():
    frame = np.arange(12, dtype="float16").reshape(3, 4)
    assert finite.measurable(frame) is frame
    frame[1, 2] = np.inf
    assert np.isnan(finite.measurable(frame)).sum() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_only_frames_with_infinite_pixels_are_copied(dtype):
    frame = np.arange(35.0, dtype=dtype).reshape(5, 7)
    assert finite.measurable(frame) is frame
    frame[2, 3] = np.nan
    assert finite.measurable(frame) is frame
    frame[4, 6] = -np.inf
    for given in (frame, frame[:, ::2], frame.astype(frame.dtype.newbyteorder())):
        np.testing.assert_array_equal(finite.measurable(given), np.where(np.isinf(given), np.nan, given))
    if dtype == "float64":
        frame[4, 6] = 1e39
        with pytest.raises(ValueError, match="1e\\+39"):
            finite.measurable(frame)
