"""Levels of slices from what did not change between neighbours, and what is kept along z."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import stack3d
from stack3d.kernels import unchanged, walk

COUNT, SIZE = 40, 96


def tissue(seed: int = 0, count: int = COUNT) -> np.ndarray:
    """Return smooth texture of deviation 20 about 120, all through which dark bodies come and go; noise of 2."""
    rng = np.random.default_rng(seed)
    grain = ndimage.gaussian_filter(rng.standard_normal((count + 20, SIZE, SIZE)), (6, 3, 3))[10:-10]
    bodies = ndimage.gaussian_filter(rng.standard_normal((count + 20, SIZE, SIZE)), (3, 7, 7))[10:-10]
    values = 120 + 20 * grain / grain.std() - 60 * (bodies > 1.2 * bodies.std())
    return values + rng.normal(0, 2, values.shape)


@pytest.fixture(scope="module")
def planted():
    """Return the truth, gains and offsets, and the stack that has them."""
    rng = np.random.default_rng(1)
    truth = tissue()
    gain, offset = 1 + 0.05 * rng.standard_normal(COUNT), 5 * rng.standard_normal(COUNT)
    gain[20], offset[20] = 1, 0  # the level of the stack cannot be known but from a slice that is right
    values = truth * gain[:, None, None] + offset[:, None, None]
    return truth, gain, offset, stack3d.from_array(values.astype("float32"), pixel_size=5.0)


def left(da, truth, **given) -> float:
    """Return the rms error of the levelled stack, but for its mean."""
    wrong = da.stack3d.level_slices(**given).values - truth
    return float(np.std(wrong))


def test_what_did_not_change_tells_levels_better_than_what_slices_hold(planted):
    truth, _, _, da = planted
    before = float(np.std(da.values - truth))
    found = left(da, truth, statistic="unchanged", window="auto")
    assert found < 0.75 * left(da, truth, window="auto")
    assert found < 0.25 * before


def test_gain_and_offset_between_two_frames_are_exact_where_they_changed_by_nothing_else():
    frame = tissue(3, 1)[0].astype("float32")
    other = (1.2 * frame - 30).astype("float32")
    other[:40, :40] = 77 + np.random.default_rng(0).normal(0, 20, (40, 40))  # a fifth is something else
    found = unchanged.compare(unchanged.cells(frame), unchanged.cells(other))
    assert found.gain == pytest.approx(1.2, abs=1e-3)
    assert found.second_level - 1.2 * found.first_level == pytest.approx(-30, abs=0.1)


def test_exchanged_frames_give_the_inverse_and_a_line_put_on_them_is_found():
    first, second = (unchanged.cells(frame) for frame in tissue(4, 2))
    there, back = unchanged.compare(first, second), unchanged.compare(second, first)
    assert there.gain * back.gain == pytest.approx(1, abs=1e-6)
    moved = unchanged.compare(first, np.float32(0.8) * second + np.float32(11))
    assert moved.gain == pytest.approx(0.8 * there.gain, rel=1e-5)
    assert moved.second_level == pytest.approx(0.8 * there.second_level + 11, abs=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_compiled_cells_and_fits_are_those_of_array_operations(dtype):
    frames = [frame.astype(dtype) for frame in tissue(5, 2)]
    if dtype.startswith("f"):
        frames[0][:20, :17] = np.nan
        frames[1][50:, 3:9] = np.nan
    found = [unchanged.cells(frame) for frame in frames]
    for frame, means in zip(frames, found, strict=True):
        total, count = unchanged.sums_xp(
            frame, unchanged.width(frame.shape), -np.inf, np.inf, *unchanged.extremes_xp(frame)
        )
        np.testing.assert_allclose(means, unchanged.means_of(total, count, unchanged.width(frame.shape)), rtol=1e-6)
    np.testing.assert_allclose(unchanged.compare(*found), unchanged.compare_xp(*found), rtol=1e-5)


def test_saturated_parts_do_not_hold_the_level():
    frame = tissue(6, 1)[0]
    frame[:, :30] = 400  # clipped in both frames: seems not to have changed
    pair = [np.clip(np.rint(values), 0, 255).astype("uint8") for values in (frame, 0.9 * frame + 25)]
    found = unchanged.compare(*(unchanged.cells(values) for values in pair))
    assert found.gain == pytest.approx(0.9, abs=0.01)
    assert found.second_level - 0.9 * found.first_level == pytest.approx(25, abs=1.5)


@pytest.mark.parametrize("known", [True, False])
def test_bad_slices_do_not_pull_their_neighbours(planted, known):
    truth, _, _, da = planted
    spoilt = da.copy(deep=True)
    spoilt[10] = 255.0
    spoilt[25] = 0.3 * spoilt[25] + 170 + 60 * np.linspace(0, 1, SIZE, dtype="float32")  # charged
    bad = np.isin(np.arange(COUNT), [10, 25])
    if known:
        spoilt = spoilt.assign_coords(valid=("z", ~bad))
    expected = da.stack3d.level_slices(statistic="unchanged", slice=20).values[~bad]
    if known:
        found = spoilt.stack3d.level_slices(statistic="unchanged", slice=20).values[~bad]
    else:
        with pytest.warns(stack3d.operations._grey.BlankSliceWarning):
            found = spoilt.stack3d.level_slices(statistic="unchanged", slice=20).values[~bad]
    # Of a chain of steps some are lost, the rest goes on: by a tenth of what levels were wrong by.
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1 * np.std(da.values - truth)


def test_slices_on_either_side_of_a_long_gap_come_to_one_level(planted):
    truth, _, _, da = planted
    valid = ~np.isin(np.arange(COUNT), [11, 12, 13, 14])
    level = da.assign_coords(valid=("z", valid)).stack3d.level_slices(statistic="unchanged", window=None)
    means = level.values.mean((1, 2)) - truth.mean((1, 2))
    assert abs(means[:11].mean() - means[15:].mean()) < 3  # offsets of 5 and gains of 5 % of 120: 8 before


def test_an_undamaged_stack_is_left_nearly_as_it_is():
    truth = tissue(7).astype("float32")
    for statistic in ("trimmed", "unchanged"):
        level = stack3d.from_array(truth, pixel_size=5.0).stack3d.level_slices(statistic=statistic, window="auto")
        assert np.std(level.values - truth) < 1.0  # of a deviation of 30
    flat = stack3d.from_array(truth, pixel_size=5.0).stack3d.level_slices(window=None)
    assert np.std(flat.values - truth) > 2 * np.std(level.values - truth)


@pytest.mark.parametrize("kind", ["jitter", "step", "slow"])
def test_jitter_and_steps_go_and_slow_changes_stay(kind):
    rng = np.random.default_rng(8)
    places = np.arange(200)
    slow = 20 * np.sin(places / 60)
    fast = {"jitter": rng.normal(0, 5, 200), "step": 40.0 * (places >= 130), "slow": np.zeros(200)}[kind]
    found = walk.slow(slow + fast + rng.normal(0, 0.1, 200), places)
    # The best that a walk with these steps (0.27) seen through noise of 5 can do is sqrt(0.27 * 5).
    assert np.std(found - slow) < {"jitter": 1.5, "step": 0.3, "slow": 0.3}[kind]


@pytest.mark.parametrize("given", [{"statistic": "unchanged"}, {"lags": 2}])
def test_levels_depend_neither_on_where_grey_values_begin_nor_on_their_unit(given):
    values = tissue().astype("float64") * np.linspace(0.85, 1.15, COUNT)[:, None, None]  # gains that limits hold
    one = stack3d.from_array(values, pixel_size=8).stack3d.level_slices(**given).values
    for unit, zero in ((1.0, 1e5), (0.01, 0.0), (1e6, 0.0), (1e-3, 50.0)):
        da = stack3d.from_array(unit * values + zero, pixel_size=8)
        found = (da.stack3d.level_slices(**given) - zero) / unit
        np.testing.assert_allclose(found, one, atol=0.05)  # of a spread of 20: cells are float32, with 0.008 at 1e5


def test_the_slow_part_does_not_depend_on_units():
    values = np.random.default_rng(9).normal(0, 1, 60).cumsum() + np.random.default_rng(10).normal(0, 4, 60)
    found = walk.slow(values, np.arange(60))
    np.testing.assert_allclose(walk.slow(1e-4 * values + 7, np.arange(60)), 1e-4 * found + 7, rtol=1e-9)
    np.testing.assert_allclose(walk.slow(np.full(30, 3.5), np.arange(30)), 3.5)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_short_stacks_are_brought_to_one_level(planted, count):
    truth, _, _, da = planted
    level = da[19 : 19 + count].stack3d.level_slices(statistic="unchanged", window="auto").values
    if count == 1:
        np.testing.assert_array_equal(level, da.values[19:20])
    else:
        gaps = np.diff(level.mean((1, 2)) - truth[19 : 19 + count].mean((1, 2)))
        assert np.abs(gaps).max() < 2


def test_chunks_change_nothing_and_it_replays(planted):
    da = planted[3].isel(z=slice(0, 26))
    level = da.stack3d.level_slices(statistic="unchanged", window="auto")
    np.testing.assert_array_equal(da.chunk(z=7).stack3d.level_slices(statistic="unchanged", window="auto"), level)
    np.testing.assert_array_equal(stack3d.replay(da, level), level)


def test_a_window_that_is_no_word_known_is_named(planted):
    with pytest.raises(ValueError, match="window='wide' must be 'auto', None or a number of slices"):
        planted[3].stack3d.level_slices(window="wide")
