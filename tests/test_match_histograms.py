"""Matching histograms: the distribution reached, identity, what is left out, laziness, reads, record."""

from __future__ import annotations

import threading
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import stack3d
from stack3d import kernels
from stack3d._blocks import array_from_blocks
from stack3d.operations._grey import BlankSliceWarning

DTYPES = ["uint8", "uint16", "int16", "float32"]
DIMS = [("z", "y", "x"), ("channel", "z", "y", "x")]


def make(dtype="uint16", dims=("z", "y", "x"), seed=0, size=64):
    """Return a stack of one distribution (two materials and grain), each slice with a bent grey scale of its own."""
    rng = np.random.default_rng(seed)
    shape = [{"channel": 2, "z": 6, "y": size, "x": size + 5}[dim] for dim in dims]
    level = np.where(rng.random(shape) < 0.3, 0.3, 0.6) + 0.04 * rng.standard_normal(shape)
    power = 1 + 0.15 * rng.standard_normal((*shape[:-2], 1, 1))
    level = np.clip(level, 0.02, 0.98) ** power
    if dtype == "float32":
        data = (level * 3 - 1).astype(dtype)
    else:
        info = np.iinfo(dtype)
        data = np.rint(info.min + level * (int(info.max) - int(info.min))).astype(dtype)
    return stack3d.from_array(data, pixel_size=(20.0, 5.0, 5.0))


def lazily(da, size):
    return da.chunk({dim: (size if dim == "z" else 1 if dim == "channel" else -1) for dim in da.dims})


def distance(first, second):
    """Return the mean distance between two distributions, in grey values (of equally many pixels)."""
    return float(np.mean(np.abs(np.sort(np.ravel(first).astype(float)) - np.sort(np.ravel(second).astype(float)))))


def mean_distribution(da):
    """Return the values of all slices together: the mean of their distributions, since all have as many pixels."""
    return np.sort(da.values.reshape(-1).astype(float))[:: da.sizes["z"]]


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_slice_gets_the_mean_distribution_and_blocks_do_not_matter(dtype, dims):
    da = make(dtype, dims)
    even = da.stack3d.match_histograms()
    assert even.dtype == da.dtype
    assert even.dims == da.dims
    assert bool(even.histogram_matched.all())
    for size in (1, 2, 6):
        lazy = lazily(da, size).stack3d.match_histograms()
        assert lazy.chunks is not None
        xr.testing.assert_equal(lazy.compute(), even)
    spread = float(da.astype(float).std())
    for index in range(da.sizes.get("channel", 1)):
        before = da.isel(channel=index) if "channel" in dims else da
        after = even.isel(channel=index) if "channel" in dims else even
        target = mean_distribution(before)
        rounding = 0.5 if dtype != "float32" else 0.0
        for k in range(da.sizes["z"]):
            assert distance(after[k], target) < rounding + 0.01 * spread
        assert max(distance(frame, target) for frame in before) > 0.1 * spread


@pytest.mark.parametrize("dtype", [*DTYPES, "float64"])
@pytest.mark.parametrize("how", [{}, {"window": 3}, {"slice": 2}, {"nbins": 7}, {"range": "half"}])
def test_slices_of_one_distribution_come_back_unchanged(dtype, how):
    rng = np.random.default_rng(1)
    frame = make("float32" if dtype == "float64" else dtype).values[0].astype(dtype)
    if dtype == "float64":
        frame = frame + 1e-9 * rng.random(frame.shape)
    # The same values in other places have the same histogram.
    data = np.stack([rng.permuted(frame.ravel()).reshape(frame.shape) for _ in range(5)])
    da = stack3d.from_array(data, pixel_size=5)
    if "range" in how:
        how = {"range": (float(data.min()), float(data.mean()))}
    xr.testing.assert_equal(da.stack3d.match_histograms(**how).drop_vars("histogram_matched"), da)


def test_grey_levels_do_not_merge_and_keep_their_order():
    rng = np.random.default_rng(2)
    gain = np.array([1.0, 1.3, 1.1])[:, None, None]
    data = np.rint(rng.normal(9000, 1500, (3, 256, 256)) * gain).clip(0, 65535).astype(np.uint16)
    da = stack3d.from_array(data, pixel_size=5)
    even = da.stack3d.match_histograms(nbins=256, slice=1)
    levels = np.unique(data[0])
    assert levels.size > 7000
    # Stretched by 1.3: nothing merges, whereas a table of 256 bins leaves 256 levels.
    assert np.unique(even.values[0]).size > 0.998 * levels.size
    floats = da.astype("float32").stack3d.match_histograms(nbins=256)
    for k in range(3):
        old, new = data[k].ravel(), floats.values[k].ravel()
        values, first = np.unique(old, return_index=True)
        low, high = np.searchsorted(values, np.quantile(old, [0.0005, 0.9995]))
        assert np.all(np.diff(new[first].astype(float))[low:high] > 0)
        assert np.all(np.diff(new[first].astype(float)) >= 0)


@given(
    st.lists(st.floats(0.5, 2.0), min_size=2, max_size=5),
    st.integers(4, 300),
    st.integers(0, 2**31),
)
def test_curves_never_decrease_and_reach_the_reference(gains, nbins, seed):
    rng = np.random.default_rng(seed)
    data = np.stack([rng.gamma(4.0, 20.0 * gain, (40, 40)) for gain in gains]).astype("float32")
    found = stack3d.from_array(data, pixel_size=5).stack3d.estimate_histogram(nbins=nbins)
    assert np.all(np.diff(found["curve"].values, axis=-1) >= 0)
    assert np.all(np.diff(found["reference_cdf"].values) >= 0)
    assert np.all(found["counts"].values.sum(-1) == 1600)


def test_gain_steps_are_mended_as_by_exact_matching_of_sorted_pixels():
    rng = np.random.default_rng(4)
    smooth = np.repeat(np.repeat(rng.normal(0, 1, (12, 24, 24)), 8, 1), 8, 2)
    truth = 20000 + 5000 * smooth + 500 * rng.standard_normal(smooth.shape)
    gain = 1 + 0.05 * rng.standard_normal(12)
    gain /= gain.mean()
    da = stack3d.from_array(np.rint(truth * gain[:, None, None]).clip(0, 65535).astype("uint16"), pixel_size=5)
    pool = np.sort(da.values.reshape(-1))[6::12]
    exact = np.empty_like(truth)
    for k, frame in enumerate(da.values):
        exact[k].ravel()[np.argsort(frame.ravel(), kind="stable")] = pool

    def error(values):
        return float(np.sqrt(np.mean((values.astype(float) - truth) ** 2)))

    before, after = error(da.values), error(da.stack3d.match_histograms().values)
    assert before > 800
    assert after < 0.5 * before
    assert after < 1.01 * error(exact)
    # A table of one new value a bin, as PyStack3D makes, depends on the number of bins; this does not.
    tables = [error(rescaled_by_table(da.values, nbins)) for nbins in (64, 4096)]
    found = [error(da.stack3d.match_histograms(nbins=nbins).values) for nbins in (64, 4096)]
    assert max(tables) > 1.3 * min(tables)
    assert max(found) < 1.02 * min(found)
    assert max(found) < min(tables)


def rescaled_by_table(data, nbins):
    """Return the stack after the published formula: bins over the range of the stack, one new value a bin."""
    low, high = float(data.min()), float(data.max())
    centres = low + (np.arange(nbins) + 0.5) * (high - low) / nbins
    counts = np.stack([np.histogram(frame, nbins, (low, high))[0] for frame in data]).astype(float)
    target = np.cumsum(counts.mean(axis=0))
    target /= target[-1]
    out = np.empty_like(data)
    for k, frame in enumerate(data):
        own = np.cumsum(np.maximum(counts[k], 1))
        table = np.interp(own / own[-1], target, centres)
        out[k] = table[np.clip((frame - low) / (high - low) * nbins, 0, nbins - 1).astype(int)]
    return out


def test_hot_pixels_do_not_coarsen_the_bins():
    da = make("float32")
    hot = da.copy(deep=True)
    hot.values[:, 3, 4] = 1e30
    hot.values[2, 5, 6] = -1e30
    clean, found = (stack.stack3d.match_histograms() for stack in (da, hot))
    normal = np.abs(hot.values) < 1e29
    assert np.quantile(np.abs(found.values - clean.values)[normal], 0.99) < 0.01 * float(da.std())
    assert np.all(found.values[~normal] == hot.values[~normal])


def test_the_running_mean_follows_slow_changes_and_the_mean_of_all_does_not():
    rng = np.random.default_rng(5)
    trend = np.linspace(1000, 3000, 40)[:, None, None]
    jitter = rng.normal(0, 100, 40)[:, None, None]
    da = stack3d.from_array((trend + jitter + rng.normal(0, 50, (40, 30, 30))).astype("float32"), pixel_size=5)
    flat = da.stack3d.match_histograms().mean(["y", "x"])
    running = da.stack3d.match_histograms(window=9).mean(["y", "x"])
    assert float(flat.std()) < 5
    inner = slice(4, -4)
    left = (running - trend.ravel())[inner]
    assert float(left.std()) < 0.55 * float(jitter[inner].std())
    only = da.stack3d.match_histograms(window=1).drop_vars("histogram_matched")
    xr.testing.assert_equal(only, da)


def test_one_slice_can_be_the_reference():
    da = make()
    even = da.stack3d.match_histograms(slice=-2)
    np.testing.assert_array_equal(even.values[4], da.values[4])
    for k in range(6):
        assert distance(even[k], da[4]) < 30


@pytest.mark.parametrize("kind", ["frame", "stack", "lazy", "estimate"])
def test_another_stack_can_be_the_reference(kind):
    other = make(seed=8)
    reference = {
        "frame": other[0],
        "stack": other,
        "lazy": other.chunk(z=2),
        "estimate": other.stack3d.estimate_histogram(),
    }[kind]
    da = make(seed=9)
    even = da.stack3d.match_histograms(reference=reference)
    target = other.values[0] if kind == "frame" else mean_distribution(other)
    for k in range(6):
        assert distance(even[k], target) < 100
    again = stack3d.replay(da, even)
    xr.testing.assert_identical(again.drop_attrs(), even.drop_attrs())


def test_channels_have_references_of_their_own_or_share_a_given_one():
    da = make(dims=DIMS[1])
    da[1] = da[1] // 2
    even = da.stack3d.match_histograms()
    alone = da.isel(channel=1).stack3d.match_histograms()
    np.testing.assert_array_equal(even.values[1], alone.values)
    shared = da.stack3d.match_histograms(reference=da.isel(channel=0, z=0, drop=True))
    assert distance(shared[1, 3], da[0, 0]) < 30
    by_name = da.stack3d.match_histograms(reference=da.isel(channel=[1, 0]))
    np.testing.assert_array_equal(by_name.values, even.values)


def test_bad_slices_are_left_out_and_left_alone_without_a_word():
    da = make()
    spoilt = da.copy(deep=True)
    spoilt[2] = 65535 - spoilt[2] // 50
    spoilt[4] = 0
    spoilt = spoilt.assign_coords(valid=("z", np.array([1, 1, 0, 1, 0, 1], bool)))
    even = spoilt.stack3d.match_histograms()
    assert even.histogram_matched.values.tolist() == [True, True, False, True, False, True]
    np.testing.assert_array_equal(even.values[[2, 4]], spoilt.values[[2, 4]])
    good = [0, 1, 3, 5]
    expected = da.isel(z=good).stack3d.match_histograms()
    np.testing.assert_array_equal(even.values[good], expected.values)


def test_blank_slices_are_found_named_and_left_alone():
    da = make()
    da[3] = 7
    with pytest.warns(BlankSliceWarning, match="1 frame has no contrast.*z 3"):
        even = da.stack3d.match_histograms()
    assert np.all(even.values[3] == 7)
    assert even.histogram_matched.values.tolist() == [True, True, True, False, True, True]
    good = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(even.values[good], da.isel(z=good).stack3d.match_histograms().values)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_constant_stack_comes_back_with_a_warning(dtype):
    da = stack3d.from_array(np.full((3, 8, 9), 5, dtype), pixel_size=5)
    with pytest.warns(BlankSliceWarning, match="3 frames have"):
        even = da.stack3d.match_histograms()
    np.testing.assert_array_equal(even.values, da.values)
    assert not bool(even.histogram_matched.any())


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_slices_are_enough(count):
    da = make().isel(z=slice(count))
    even = da.stack3d.match_histograms()
    if count == 1:
        np.testing.assert_array_equal(even.values, da.values)
    else:
        assert distance(even[0], even[1]) < 60
    frame = make()[0].stack3d.match_histograms(reference=make()[1])
    assert frame.dims == ("y", "x")
    assert distance(frame, make()[1]) < 30


def test_missing_pixels_do_not_count_and_stay_missing():
    da = make("float32")
    holed = da.copy(deep=True)
    holed.values[1, :20] = np.nan
    holed.values[4] = np.nan
    with pytest.warns(BlankSliceWarning, match="z 4"):
        even = holed.stack3d.match_histograms()
    np.testing.assert_array_equal(np.isnan(even.values), np.isnan(holed.values))
    assert distance(np.sort(even.values[1, 20:].ravel())[::2], np.sort(even.values[0, 20:].ravel())[::2]) < 0.02
    masked = make().assign_coords(mask=(("z", "y", "x"), np.ones(da.shape, bool)))
    masked["mask"][1, :20] = False
    painted = masked.copy(deep=True)
    painted.values[1, :20] = 30000
    np.testing.assert_array_equal(
        painted.stack3d.match_histograms().values[0], masked.stack3d.match_histograms().values[0]
    )


def test_a_region_alone_is_measured():
    da = make()
    painted = da.copy(deep=True)
    painted.values[:, 40:] = 30000
    box = {"y": slice(0, 40), "by": "index"}
    for size in (None, 2):
        stack = painted if size is None else painted.chunk(z=size)
        even = stack.stack3d.match_histograms(region=box)
        expected = da.isel(y=slice(0, 40)).stack3d.match_histograms()
        np.testing.assert_array_equal(even.values[:, :40], expected.values)


def test_an_estimate_fits_parts_other_channels_and_binned_versions():
    da = make(size=64)
    found = da.stack3d.estimate_histogram()
    even = da.stack3d.match_histograms(estimate=found)
    part = da.isel(z=slice(1, 4), y=slice(5, 30)).stack3d.match_histograms(estimate=found)
    np.testing.assert_array_equal(part.values, even.values[1:4, 5:30])
    np.testing.assert_array_equal(da.isel(z=2).stack3d.match_histograms(estimate=found).values, even.values[2])
    small = da.stack3d.bin(y=2, x=2)
    assert small.stack3d.match_histograms(estimate=found).shape == small.shape
    channels = xr.concat([da, da], xr.Variable("channel", ["a", "b"]), coords="minimal", compat="override")
    np.testing.assert_array_equal(channels.stack3d.match_histograms(estimate=found).values[1], even.values)
    with pytest.raises(ValueError, match="estimate has no slice at z"):
        da.assign_coords(z=da.z + 7).stack3d.match_histograms(estimate=found)


def test_the_result_replays_with_its_own_a_given_and_an_edited_estimate():
    da = make()
    edited = da.stack3d.estimate_histogram(window=3)
    edited["curve"] = edited["curve"] + 11.0
    for even in (
        da.stack3d.match_histograms(nbins=64),
        da.stack3d.match_histograms(estimate=da.stack3d.estimate_histogram(slice=1)),
        da.chunk(z=2).stack3d.match_histograms(estimate=edited, dtype="float32").compute(),
    ):
        again = stack3d.replay(da, even)
        xr.testing.assert_identical(again.drop_attrs(), even.drop_attrs())
    record = even.stack3d.provenance[-1]
    assert record["operation"] == "match_histograms"
    assert record["parameters"]["dtype"] == "float32"


def test_applying_is_lazy_and_each_frame_is_read_once_for_each():
    frames = make().values
    reads, lock = [], threading.Lock()

    def read(number):
        with lock:
            reads.append(number)
        return frames[number : number + 1]

    data = array_from_blocks(
        read,
        name="read-for-matching",
        chunks=((1,) * 6, *((n,) for n in frames.shape[1:])),
        dtype=frames.dtype,
        per_block=lambda index: index[0],
    )
    da = stack3d.from_array(data, pixel_size=5)
    found = da.stack3d.estimate_histogram()
    assert sorted(reads) == list(range(6))
    reads.clear()
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("computed")):
        even = da.stack3d.match_histograms(estimate=found)
    assert reads == []
    even.isel(z=[4]).compute()
    assert reads == [4]
    reads.clear()
    even.compute()
    assert sorted(reads) == list(range(6))


def test_schedulers_agree_to_the_bit():
    lazy = make().chunk(z=2)
    found = []
    for scheduler in ("threads", "synchronous"):
        with dask.config.set(scheduler=scheduler):
            found.append(lazy.stack3d.match_histograms(window=3).compute())
    np.testing.assert_array_equal(found[0].values, found[1].values)


def test_the_input_is_not_changed():
    da = make()
    before = da.copy(deep=True)
    da.stack3d.match_histograms()
    xr.testing.assert_identical(da, before)


def test_what_would_leave_an_integer_dtype_saturates_with_a_warning():
    rng = np.random.default_rng(0)
    data = np.stack([rng.integers(0, 200, (50, 50)), rng.integers(55, 256, (50, 50))]).astype("uint8")
    da = stack3d.from_array(data, pixel_size=5)
    dark = da.stack3d.estimate_histogram()
    dark["curve"] = dark["curve"] - 20
    with pytest.warns(stack3d.execution.SaturationWarning):
        cut = da.stack3d.match_histograms(estimate=dark)
    assert int(cut.min()) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(da.stack3d.match_histograms(estimate=dark, dtype="float32").min()) < -10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reference": "median"}, ValueError, "reference='median' is not allowed"),
        ({"reference": 3}, ValueError, "reference=3 is not allowed"),
        ({"window": 3, "slice": 1}, ValueError, "window and slice each say"),
        ({"window": 0}, ValueError, "window=0 must be at least 1"),
        ({"window": 2.5}, TypeError, "window=2.5 must be a whole number"),
        ({"slice": 6}, ValueError, "slice=6 is not in the stack, which has 6"),
        ({"slice": "a"}, TypeError, "slice='a' must be the index"),
        ({"nbins": 1}, ValueError, "nbins=1 must be between"),
        ({"nbins": 2.5}, TypeError, "nbins=2.5 must be a whole number"),
        ({"range": (5, 5)}, ValueError, "range=.* must have low < high"),
        ({"range": (0, np.nan)}, ValueError, "range=.* must be two finite numbers"),
        ({"region": {"z": slice(0, 2)}}, ValueError, "region="),
        ({"dtype": bool}, TypeError, "dtype="),
        ({"estimate": 3}, TypeError, "estimate must be a Dataset made by estimate_histogram"),
        ({"estimate": xr.Dataset(attrs={"kind": "levels"})}, ValueError, "'levels'; expected 'histogram'"),
    ],
)
def test_what_is_wrong_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        make().stack3d.match_histograms(**arguments)


def test_references_that_cannot_be_used_are_refused():
    da = make()
    blank = da.copy(data=np.zeros_like(da.values))
    with pytest.raises(ValueError, match="no slice with contrast"):
        da.stack3d.match_histograms(reference=blank)
    with pytest.raises(ValueError, match="made with window="):
        da.stack3d.match_histograms(reference=da.stack3d.estimate_histogram(window=3))
    with pytest.raises(ValueError, match="reference has channels, the stack has none"):
        da.stack3d.match_histograms(reference=make(dims=DIMS[1]))
    bad = da.assign_coords(valid=("z", np.arange(6) != 2))
    with pytest.raises(ValueError, match="slice=2 is marked bad"):
        bad.stack3d.match_histograms(slice=2)
    with pytest.raises(TypeError, match="dtype bool"):
        (da > 0).stack3d.match_histograms()
    with pytest.raises(ValueError, match="window=3 counts slices along z"):
        da[0].stack3d.match_histograms(window=3)


def test_curves_are_those_of_the_kernel():
    da = make()
    found = da.stack3d.estimate_histogram(slice=0)
    x, y = kernels.histogram.matching_curve(
        *(found[name].values[3] for name in ("counts", "low", "step")),
        found["reference_value"].values,
        found["reference_cdf"].values,
    )
    edges = (found["low"] + found["step"] * found["edge"]).values[3]
    inside = (edges >= x[0]) & (edges <= x[-1])
    np.testing.assert_allclose(found["curve"].values[3][inside], np.interp(edges[inside], x, y))
