"""Levelling slices: planted gains and offsets found, the published formula, what is left out, laziness, record."""

from __future__ import annotations

import threading

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import stack3d
from stack3d._blocks import array_from_blocks
from stack3d.operations._grey import BlankSliceWarning

DTYPES = ["uint8", "uint16", "int16", "float32"]
DIMS = [("z", "y", "x"), ("channel", "z", "y", "x")]
SCALE = {"uint8": (60.0, 12.0), "uint16": (20000.0, 4000.0), "int16": (0.0, 4000.0), "float32": (0.5, 0.1)}
GAIN = np.array([1.0, 1.1, 0.9, 1.0, 1.0, 0.93, 1.08])
SHIFT = np.array([0.0, 0.3, -0.4, 0.0, 0.0, 0.5, -0.2])  # in standard deviations


def make(dtype="float32", dims=("z", "y", "x"), seed=0, size=(80, 90)):
    """Return a truth whose slices hold the same values in other places, and the stack with gains and offsets."""
    rng = np.random.default_rng(seed)
    mean, std = SCALE[dtype]
    frame = np.where(rng.random(size) < 0.4, -1.0, 0.7) + 0.3 * rng.standard_normal(size)
    channels = 2 if "channel" in dims else 1
    frames = [[rng.permuted(frame.ravel()).reshape(size) for _ in GAIN] for _ in range(channels)]
    truth = mean + std * np.array(frames)
    distorted = truth * GAIN[:, None, None] + std * SHIFT[:, None, None]
    if dtype != "float32":
        distorted = np.rint(distorted)
    shape = slice(None) if "channel" in dims else 0
    return truth[shape], stack3d.from_array(distorted[shape].astype(dtype), pixel_size=(20.0, 5.0, 5.0))


def lazily(da, size):
    return da.chunk({dim: (size if dim == "z" else 1 if dim == "channel" else -1) for dim in da.dims})


def rms(values):
    return float(np.sqrt(np.mean(np.square(np.asarray(values, dtype=float)))))


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("statistic", ["trimmed", "median", "mean"])
def test_planted_gains_and_offsets_are_taken_out_and_blocks_do_not_matter(dtype, dims, statistic):
    truth, da = make(dtype, dims)
    level = da.stack3d.level_slices(statistic=statistic)
    assert level.dtype == da.dtype
    assert level.dims == da.dims
    assert level.intensity_gain.dims == da.dims[:-2]
    for size in (1, 3, 7):
        lazy = lazily(da, size).stack3d.level_slices(statistic=statistic)
        assert lazy.chunks is not None
        xr.testing.assert_equal(lazy.compute(), level)
    std = SCALE[dtype][1]
    # Rounded twice; the median of 8-bit values is itself a whole or half level.
    rounding = 0 if dtype == "float32" else 0.45
    limit = rounding + (0.005 * std if dtype != "uint8" else (1.2 if statistic == "median" else 0.2))
    assert rms(level.values - truth) < limit
    assert rms(da.values - truth) > 0.25 * std
    if dtype != "uint8":
        np.testing.assert_allclose(level.intensity_gain.values, np.broadcast_to(1 / GAIN, da.shape[:-2]), rtol=5e-3)


@pytest.mark.parametrize("model", ["gain", "offset"])
def test_one_number_a_slice_is_found(model):
    rng = np.random.default_rng(3)
    truth = rng.normal(20000, 2000, (9, 100, 100))
    change = rng.normal(0, 0.04, 9)[:, None, None]
    change -= np.median(change)
    distorted = truth * (1 + change) if model == "gain" else truth + 20000 * change
    da = stack3d.from_array(np.rint(distorted).astype("uint16"), pixel_size=5)
    level = da.stack3d.level_slices(model=model)
    # What is left is the chance difference of the slices' means, 2000 / 100 counts, twice, and rounding.
    assert rms(level.values - truth) < 45
    assert rms(da.values - truth) > 500
    assert np.all(level.intensity_offset == 0) if model == "gain" else np.all(level.intensity_gain == 1)


@pytest.mark.parametrize("statistic", ["trimmed", "median"])
def test_outliers_do_not_pull_the_levels(statistic):
    truth, da = make("uint16")
    spoilt = da.copy(deep=True)
    rng = np.random.default_rng(5)
    share = [0.0, 0.0, 0.02, 0.0, 0.03, 0.0, 0.01]
    for k in range(7):
        spoilt.values[k][rng.random(da.shape[1:]) < share[k]] = 65535
    normal = spoilt.values == da.values
    level = spoilt.stack3d.level_slices(statistic=statistic, limits=(0.5, 2.0), dtype="float32")
    plain = spoilt.stack3d.level_slices(statistic="mean", limits=(0.5, 2.0), dtype="float32")
    left = rms((level.values - truth)[normal])
    assert left < 0.06 * SCALE["uint16"][1]
    assert rms((plain.values - truth)[normal]) > 4 * left


def published_formula(data, area, low, high, limits):
    """Return f_k v, with m_k the mean of the area's pixels in the range and f_k = clip(median(m) / m_k)."""
    part = data[(slice(None), *area)].astype(float)
    means = np.array([frame[(frame >= low) & (frame <= high)].mean() for frame in part])
    factors = np.clip(np.median(means) / means, *limits)
    return factors, factors[:, None, None] * data


def test_it_is_the_area_rescaling_of_pystack3d_but_rounded():
    rng = np.random.default_rng(11)
    gain = np.array([1, 0.97, 1.5, 1.02, 0.6, 1.0, 1.05])[:, None, None]
    data = np.rint(rng.normal(9000, 900, (7, 60, 70)) * gain).clip(0, 65535).astype("uint16")
    da = stack3d.from_array(data, pixel_size=5)
    factors, expected = published_formula(data, (slice(10, 50), slice(5, 40)), 4000, 15000, (0.8, 1.2))
    found = da.stack3d.estimate_levels(
        model="gain",
        statistic="mean",
        region={"y": slice(10, 50), "x": slice(5, 40), "by": "index"},
        low=4000,
        high=15000,
        limits=(0.8, 1.2),
    )
    np.testing.assert_allclose(found["gain"].values, factors, rtol=1e-12)
    assert found["limited"].values.tolist() == [False, False, True, False, True, False, False]
    level = da.stack3d.level_slices(estimate=found)
    # float32 inside: of 14000 counts, 0.001; so only what lies on the half may be rounded otherwise.
    assert np.abs(level.values - expected).max() < 0.502


def test_it_leaves_less_than_histogram_matching_where_only_gains_are_wrong():
    rng = np.random.default_rng(4)
    smooth = np.repeat(np.repeat(rng.normal(0, 1, (12, 24, 24)), 8, 1), 8, 2)
    truth = 20000 + 5000 * smooth + 500 * rng.standard_normal(smooth.shape)
    gain = 1 + 0.05 * rng.standard_normal(12)
    gain /= np.median(gain)
    da = stack3d.from_array(np.rint(truth * gain[:, None, None]).clip(0, 65535).astype("uint16"), pixel_size=5)
    left = {model: rms(da.stack3d.level_slices(model=model).values - truth) for model in ("gain", "both")}
    assert left["gain"] < 0.35 * rms(da.values - truth)
    assert left["gain"] < left["both"] < rms(da.values - truth)


def test_a_slice_without_pixels_in_the_range_is_left_and_the_others_are_not_lost():
    _truth, da = make("uint16")
    da[3] = 100
    with pytest.warns(BlankSliceWarning, match="1 frame has.*z 3"):
        level = da.stack3d.level_slices(model="gain", statistic="mean", low=1000, high=60000)
    assert np.all(level.values[3] == 100)
    assert level.intensity_levelled.values.tolist() == [True, True, True, False, True, True, True]
    assert float(level.intensity_gain[3]) == 1
    good = [0, 1, 2, 4, 5, 6]
    alone = da.isel(z=good).stack3d.level_slices(model="gain", statistic="mean", low=1000, high=60000)
    np.testing.assert_array_equal(level.values[good], alone.values)
    assert float(level[0].mean()) > 10000


def test_bad_slices_have_no_part_in_the_target_and_are_left_without_a_word():
    _truth, da = make("uint16")
    bad = np.array([0, 3, 4])
    spoilt = da.copy(deep=True)
    spoilt[bad] = spoilt[bad] // 3
    valid = ~np.isin(np.arange(7), bad)
    level = spoilt.assign_coords(valid=("z", valid)).stack3d.level_slices()
    np.testing.assert_array_equal(level.values[bad], spoilt.values[bad])
    assert level.intensity_levelled.values.tolist() == valid.tolist()
    np.testing.assert_array_equal(level.values[valid], spoilt.isel(z=valid).stack3d.level_slices().values)


def test_a_window_keeps_slow_changes():
    rng = np.random.default_rng(6)
    trend = np.linspace(1000, 3000, 60)
    jitter = rng.normal(0, 100, 60)
    frames = (trend + jitter)[:, None, None] + rng.normal(0, 50, (60, 20, 20))
    da = stack3d.from_array(frames.astype("float32"), pixel_size=5)
    flat = da.stack3d.level_slices(model="offset", window=None).mean(["y", "x"]).values
    running = da.stack3d.level_slices(model="offset", window=15).mean(["y", "x"]).values
    assert np.std(flat) < 5
    assert np.std((running - trend)[8:-8]) < 0.5 * np.std(jitter[8:-8])
    np.testing.assert_allclose(
        da.stack3d.estimate_levels(model="offset", window=7)["target_centre"].values[20],
        np.median(da.stack3d.estimate_levels()["centre"].values[17:24]),
    )


def test_a_wide_window_follows_a_slope_and_scatters_less_than_a_median():
    # A slope of 1 a slice that is real, offsets of 10 that are not: of 21 slices a line leaves 10 / sqrt(21), a median 1.25
    # times that, and at the ends of the stack a median lags behind by up to five slices.
    rng = np.random.default_rng(3)
    slope = np.arange(60.0)
    wrong = 10 * rng.standard_normal(60)
    wrong[[10, 40]] += 300
    values = rng.normal(1000, 20, (40, 40)) + (slope + wrong)[:, None, None]
    da = stack3d.from_array(values.astype("float32"), pixel_size=5.0)
    found = da.stack3d.level_slices(model="offset", statistic="mean", window=21)
    left = found.mean(("y", "x")).values - 1000 - slope
    left -= np.median(left)
    assert np.sqrt(np.mean(left[10:-10] ** 2)) < 1.3 * 10 / np.sqrt(21)
    assert np.abs(left).max() < 4.5 * 10 / np.sqrt(21)  # at the ends a line is twice as uncertain


def test_levels_and_background_together_come_near_the_bound_of_the_noise():
    rng = np.random.default_rng(4)
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in (60, 96, 96)), indexing="ij", sparse=True)
    grain = ndimage.gaussian_filter(rng.standard_normal((60, 96, 96)).astype("float32"), (1, 0.8, 0.8))
    truth = 130 + 20 * grain / grain.std()
    added = 20 * (x + 0.5 * y - 0.6 * y**2 + 0.7 * x * z - 1)
    added -= added.mean()
    gain, offset = 1 + 0.05 * rng.standard_normal((60, 1, 1)), 5 * rng.standard_normal((60, 1, 1))
    gain[30], offset[30] = 1, 0  # the level of the stack cannot be known but from a slice that is right
    noise = rng.normal(0, 4, truth.shape)
    da = stack3d.from_array(((truth + added) * gain + offset + noise).astype("float32"), pixel_size=5.0)
    level = da.stack3d.level_slices(slice=30)
    even = level.stack3d.remove_background(terms="1 + x + y + x*y + y**2 + x*z + z").values
    wrong = np.sqrt(np.mean((da.values - truth) ** 2))
    left = np.sqrt(np.mean((even - truth) ** 2))
    assert wrong > 9
    assert left < 4 * 10 ** (1 / 20)  # within 1 dB of the noise alone


def test_one_slice_gives_the_target():
    truth, da = make("float32")
    found = da.stack3d.estimate_levels(slice=-2)
    assert float(found["gain"][5]) == 1
    assert abs(float(found["offset"][5])) < 1e-12
    level = da.stack3d.level_slices(estimate=found)
    assert rms(level.values - (truth * GAIN[5] + 0.1 * SHIFT[5])) < 1e-3


def test_gains_are_held_and_the_centre_still_meets_its_target():
    _truth, da = make("float32")
    found = da.stack3d.estimate_levels(limits=(0.97, 1.03))
    assert found["limited"].values.tolist() == [False, True, True, False, False, True, True]
    assert found["gain"].min() == 0.97
    assert found["gain"].max() == 1.03
    level = da.stack3d.level_slices(estimate=found, dtype="float64")
    centres = level.stack3d.estimate_levels()["centre"].values
    np.testing.assert_allclose(centres, centres[0], atol=2e-4)


@given(st.floats(0.85, 1.15), st.floats(-0.5, 0.5), st.sampled_from(["trimmed", "median", "mean"]), st.integers(0, 99))
def test_slices_that_differ_by_gain_and_offset_alone_end_up_alike(gain, offset, statistic, seed):
    rng = np.random.default_rng(seed)
    frame = rng.gamma(3.0, 1.0, (40, 40))
    da = stack3d.from_array(np.stack([frame, gain * frame + offset, frame]), pixel_size=5)
    level = da.stack3d.level_slices(statistic=statistic)
    # "trimmed" counts in 4096 bins of each slice's own range.
    assert np.abs(level[1] - level[0]).max() < (2e-2 if statistic == "trimmed" else 1e-6)
    np.testing.assert_array_equal(level[0], level[2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", ["gain", "offset", "both"])
def test_equal_slices_come_back_unchanged(dtype, model):
    rng = np.random.default_rng(2)
    frame = make(dtype)[1].values[0]
    if dtype == "int16":
        frame = frame + np.int16(9000)
    data = np.stack([rng.permuted(frame.ravel()).reshape(frame.shape) for _ in range(4)])
    da = stack3d.from_array(data, pixel_size=5)
    level = da.stack3d.level_slices(model=model)
    np.testing.assert_array_equal(level.values, data)


@pytest.mark.parametrize("model", ["gain", "offset", "both"])
@pytest.mark.parametrize("value", [0, 5])
def test_a_constant_stack_comes_back(model, value):
    da = stack3d.from_array(np.full((3, 8, 9), value, "uint8"), pixel_size=5)
    if model == "both" or (model == "gain" and value == 0):
        with pytest.warns(BlankSliceWarning):
            level = da.stack3d.level_slices(model=model)
    else:
        level = da.stack3d.level_slices(model=model)
    np.testing.assert_array_equal(level.values, da.values)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_slices_are_enough(count):
    _truth, da = make("float32")
    level = da.isel(z=slice(2, 2 + count)).stack3d.level_slices()
    if count == 1:
        np.testing.assert_array_equal(level.values, da.values[2:3])
    else:
        np.testing.assert_allclose(level[0].mean(), level[1].mean(), atol=1e-3)


def test_missing_pixels_do_not_count_and_stay_missing():
    truth, da = make("float32")
    holed = da.copy(deep=True)
    holed.values[1, :30] = np.nan
    holed.values[4] = np.nan
    with pytest.warns(BlankSliceWarning, match="z 4"):
        level = holed.stack3d.level_slices()
    np.testing.assert_array_equal(np.isnan(level.values), np.isnan(holed.values))
    # Six slices have another median than seven: all are off by the same.
    assert np.nanstd(level.values - truth) < 2e-3
    masked = da.assign_coords(mask=(da.dims, np.isfinite(holed.values)))
    with pytest.warns(BlankSliceWarning, match="z 4"):
        gain = masked.stack3d.level_slices().intensity_gain
    np.testing.assert_array_equal(gain.values, level.intensity_gain.values)


def test_an_estimate_fits_parts_other_channels_and_binned_versions():
    _truth, da = make("uint16")
    found = da.stack3d.estimate_levels()
    level = da.stack3d.level_slices(estimate=found)
    part = da.isel(z=slice(2, 5), y=slice(4, 9)).stack3d.level_slices(estimate=found)
    np.testing.assert_array_equal(part.values, level.values[2:5, 4:9])
    small = da.stack3d.bin(y=2, x=2).stack3d.level_slices(estimate=found)
    np.testing.assert_allclose(small.mean(["y", "x"]), level.mean(["y", "x"]), atol=1.5)
    channels = xr.concat([da, da], xr.Variable("channel", ["a", "b"]), coords="minimal", compat="override")
    np.testing.assert_array_equal(channels.stack3d.level_slices(estimate=found).values[1], level.values)
    own = channels.stack3d.estimate_levels()
    with pytest.raises(ValueError, match="estimate has 2 values along 'channel'"):
        da.stack3d.level_slices(estimate=own)
    alone = da.stack3d.level_slices(estimate=own.isel(channel=0))
    np.testing.assert_array_equal(alone.values, level.values)


def test_the_result_replays_with_its_own_a_given_and_an_edited_estimate():
    _truth, da = make("uint16")
    edited = da.stack3d.estimate_levels(model="gain")
    edited["gain"][3] = 1.05
    for level in (
        da.stack3d.level_slices(window=3, limits=(0.5, 1.5)),
        da.stack3d.level_slices(estimate=da.stack3d.estimate_levels(slice=1)),
        da.chunk(z=2).stack3d.level_slices(estimate=edited, dtype="float32").compute(),
    ):
        again = stack3d.replay(da, level)
        xr.testing.assert_identical(again.drop_attrs(), level.drop_attrs())
    assert float(level.intensity_gain[3]) == 1.05
    np.testing.assert_allclose(level.values[3], da.values[3] * np.float32(1.05))


def test_applying_is_lazy_and_each_frame_is_read_once_for_each():
    frames = make("uint16")[1].values
    reads, lock = [], threading.Lock()

    def read(number):
        with lock:
            reads.append(number)
        return frames[number : number + 1]

    data = array_from_blocks(
        read,
        name="read-for-levels",
        chunks=((1,) * 7, *((n,) for n in frames.shape[1:])),
        dtype=frames.dtype,
        per_block=lambda index: index[0],
    )
    da = stack3d.from_array(data, pixel_size=5)
    found = da.stack3d.estimate_levels(region={"y": slice(3, 50), "by": "index"})
    assert sorted(reads) == list(range(7))
    reads.clear()
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("computed")):
        level = da.stack3d.level_slices(estimate=found)
    level.isel(z=[2]).compute()
    assert reads == [2]
    reads.clear()
    level.compute()
    assert sorted(reads) == list(range(7))


def test_the_input_is_not_changed():
    _, da = make("uint16")
    before = da.copy(deep=True)
    da.stack3d.level_slices()
    xr.testing.assert_identical(da, before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "affine"}, ValueError, "model='affine' is not allowed"),
        ({"statistic": "mode"}, ValueError, "statistic='mode' is not allowed"),
        ({"trim": 0.5}, ValueError, "trim=0.5 must be"),
        ({"low": 5, "high": 5}, ValueError, "low=5 must be below high=5"),
        ({"low": np.nan}, ValueError, "low=nan must be a finite"),
        ({"limits": (1.1, 1.2)}, ValueError, "limits=.* with 0 < low <= 1 <= high"),
        ({"limits": 1.2}, ValueError, "limits=1.2 must be two"),
        ({"limits": None}, ValueError, "limits=None"),
        ({"limits": "ab"}, ValueError, "limits='ab' must be two finite numbers"),
        ({"limits": ("0.9", "1.1")}, ValueError, r"limits=\('0.9', '1.1'\) must be two finite numbers"),
        ({"window": 3, "slice": 1}, ValueError, "window=3 and slice=1 each"),
        ({"slice": 9}, ValueError, "slice=9 is not in the stack"),
        ({"window": -1}, ValueError, "window=-1 must be at least 1"),
        ({"region": "all"}, ValueError, "region='all'"),
        ({"estimate": xr.Dataset(attrs={"kind": "range"})}, ValueError, "'range'; expected 'levels'"),
    ],
)
def test_what_is_wrong_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        make("uint16")[1].stack3d.level_slices(**arguments)


def test_stacks_that_cannot_be_levelled_are_refused():
    _, da = make("uint16")
    with pytest.raises(ValueError, match="'z' missing"):
        da[0].stack3d.level_slices()
    with pytest.raises(TypeError, match="dtype bool"):
        (da > 0).stack3d.level_slices()
    with pytest.raises(ValueError, match="slice=2 is marked bad"):
        da.assign_coords(valid=("z", np.arange(7) != 2)).stack3d.level_slices(slice=2)


@pytest.mark.parametrize("name", ["low", "high", "trim"])
def test_numbers_that_are_none_are_named(stack, name):
    with pytest.raises(TypeError, match=f"{name}='a' must be a number, not str"):
        stack.stack3d.level_slices(**{name: "a"})
