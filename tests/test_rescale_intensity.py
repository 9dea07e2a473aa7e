"""Rescaling: ranges by quantiles, true 8 bit, what is left out, laziness, reads, record."""

from __future__ import annotations

import threading
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import stack3d
from stack3d._blocks import array_from_blocks
from stack3d.execution import SaturationWarning

DTYPES = ["uint8", "uint16", "int16", "float32"]
DIMS = [("y", "x"), ("z", "y", "x"), ("channel", "z", "y", "x")]


def make(dtype="uint16", dims=("z", "y", "x"), seed=0):
    rng = np.random.default_rng(seed)
    shape = [{"channel": 2, "z": 6, "y": 60, "x": 70}[dim] for dim in dims]
    level = rng.normal(0.5, 0.08, shape) + 0.03 * rng.standard_normal((*shape[:-2], 1, 1))
    if dtype == "float32":
        data = level.astype(dtype)
    else:
        info = np.iinfo(dtype)
        data = np.rint(info.min + level * (int(info.max) - int(info.min))).astype(dtype)
    return stack3d.from_array(data, pixel_size=(20.0, 5.0, 5.0) if "z" in dims else 5.0)


def lazily(da, size):
    return da.chunk({dim: (size if dim == "z" else 1 if dim == "channel" else -1) for dim in da.dims})


def mapped(values, low, high, out_low, out_high):
    part = np.clip((np.asarray(values, dtype=float) - low) / (high - low), 0, 1)
    return out_low + part * (out_high - out_low)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("to", [None, "uint8", "float32"])
def test_the_range_of_the_stack_fills_that_of_the_dtype_and_blocks_do_not_matter(dtype, dims, to):
    da = make(dtype, dims)
    found = da.stack3d.rescale_intensity(dtype=to)
    assert found.dtype == (to or dtype)
    if found.dtype.kind == "f":
        low, high = 0.0, 1.0
    else:
        low, high = float(np.iinfo(found.dtype).min), float(np.iinfo(found.dtype).max)
    for size in (1, 4):
        lazy = lazily(da, size).stack3d.rescale_intensity(dtype=to)
        assert lazy.chunks is not None
        xr.testing.assert_equal(lazy.compute(), found)
    for index in range(da.sizes.get("channel", 1)):
        old = (da.isel(channel=index) if "channel" in dims else da).values
        new = (found.isel(channel=index) if "channel" in dims else found).values
        expected = mapped(old, *np.quantile(old, [0.001, 0.999]), low, high)
        # Quantiles lie between pixels: where few are, at the ends, that leaves a choice.
        assert np.abs(new - expected).max() < 0.5 + 0.01 * (high - low)
        assert new.min() == low
        assert new.max() == high


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("quantiles", [(0.0, 1.0), (0.001, 0.999), (0.02, 0.9), (0.0, 0.5)])
def test_quantiles_of_a_stack_are_those_of_its_pixels(dtype, quantiles):
    da = make(dtype)
    found = da.stack3d.estimate_range(quantiles=quantiles)
    pixels = da.values.astype(float)
    # Up to the pixel next to it, half a level of an integer, and a bin.
    slack = (0.0 if dtype == "float32" else 0.5) + np.ptp(pixels) / 4096
    for name, share in zip(("low", "high"), quantiles):
        low, high = np.quantile(pixels, np.clip([share - 1 / pixels.size, share + 1 / pixels.size], 0, 1))
        if share in (0, 1):
            assert float(found[name]) == np.quantile(pixels, share)
        assert low - slack <= float(found[name]) <= high + slack


@pytest.mark.parametrize("dtype", DTYPES)
def test_ranges_of_slices_and_windows_are_those_of_their_pixels(dtype):
    da = make(dtype)
    by_slice = da.stack3d.estimate_range(per="slice", quantiles=(0.01, 0.95))
    exact = np.quantile(da.values.reshape(6, -1).astype(float), [0.01, 0.95], axis=1)
    np.testing.assert_allclose([by_slice["low"], by_slice["high"]], exact, rtol=1e-6)
    by_window = da.stack3d.estimate_range(per="window", window=3, quantiles=(0.01, 0.95))
    tolerance = (0.0 if dtype == "float32" else 0.5) + 0.02 * float(da.astype(float).std())
    for k in range(6):
        near = da.values[max(0, k - 1) : k + 2].astype(float)
        pair = [float(by_window[name][k]) for name in ("low", "high")]
        np.testing.assert_allclose(pair, np.quantile(near, [0.01, 0.95]), atol=tolerance)
    everything = da.stack3d.estimate_range(per="window", window=99)
    whole = da.stack3d.estimate_range()
    np.testing.assert_array_equal(everything["low"], np.full(6, float(whole["low"])))


def test_each_slice_fills_the_range_on_its_own():
    da = make("uint16")
    eight = da.stack3d.rescale_intensity(per="slice", dtype="uint8", quantiles=(0, 1))
    assert eight.min(["y", "x"]).values.tolist() == [0] * 6
    assert eight.max(["y", "x"]).values.tolist() == [255] * 6


@given(hnp.arrays(np.uint16, (2, 5, 6)), st.integers(0, 60000), st.integers(1, 5000))
def test_eight_bit_is_rounded_and_never_wraps(data, low, width):
    da = stack3d.from_array(data, pixel_size=5)
    eight = da.stack3d.rescale_intensity(in_range=(low, low + width), dtype="uint8")
    exact = mapped(data, low, low + width, 0, 255)
    assert eight.dtype == np.uint8
    assert np.abs(eight.values - exact).max() <= 0.5001
    assert np.all(eight.values[data <= low] == 0)
    assert np.all(eight.values[data >= low + width] == 255)


@pytest.mark.parametrize("to", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_known_ranges_map_exactly_and_nothing_is_read(to):
    data = np.array([[[0, 1000, 1500, 2000, 3000]]], "uint16")

    def fail(number):
        raise AssertionError("read")

    lazy = array_from_blocks(
        fail, name=f"never-read-{to}", chunks=((1,), (1,), (5,)), dtype="uint16", per_block=lambda index: 0
    )
    stack3d.from_array(lazy, pixel_size=5).stack3d.rescale_intensity(in_range=(1000, 2000), dtype=to)
    da = stack3d.from_array(data, pixel_size=5)
    found = da.stack3d.rescale_intensity(in_range=(1000, 2000), out_range=(0, 100), dtype=to)
    np.testing.assert_array_equal(found.values.ravel(), [0, 0, 50, 100, 100])
    free = da.stack3d.rescale_intensity(in_range=(1000, 3000), out_range=(100, 120), dtype=to, clip=False)
    np.testing.assert_array_equal(free.values.ravel(), [90, 100, 105, 110, 120])


def test_clipping_on_purpose_is_silent_and_leaving_the_dtype_is_not():
    da = make("uint16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        da.stack3d.rescale_intensity(quantiles=(0.2, 0.8), dtype="uint8")
    with pytest.warns(SaturationWarning):
        da.stack3d.rescale_intensity(quantiles=(0.2, 0.8), dtype="uint8", clip=False)


def test_hot_pixels_do_not_set_the_range():
    da = make("float32")
    clean = da.stack3d.estimate_range()
    hot = da.copy(deep=True)
    hot.values[:, 7, 9] = 1e20
    found = hot.stack3d.estimate_range()
    spread = float(da.std())
    assert abs(float(found["high"] - clean["high"])) < 0.2 * spread
    assert float(hot.stack3d.estimate_range(quantiles=(0, 1))["high"]) == np.float32(1e20)


def test_bad_and_blank_slices_do_not_set_the_range_of_the_stack():
    da = make("uint16")
    good = da.isel(z=[0, 2, 3, 5]).stack3d.estimate_range()
    spoilt = da.copy(deep=True)
    spoilt[1] = 0
    spoilt[4] = spoilt[4] // 9
    spoilt = spoilt.assign_coords(valid=("z", np.arange(6) != 4))
    for found in (spoilt.stack3d.estimate_range(), spoilt.stack3d.estimate_range(per="window", window=99).isel(z=0)):
        assert float(found["low"]) == float(good["low"])
        assert float(found["high"]) == float(good["high"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("per", [{}, {"per": "slice"}, {"per": "window", "window": 2}])
def test_a_constant_stack_becomes_the_lower_end(dtype, per):
    da = stack3d.from_array(np.full((3, 8, 9), 5, dtype), pixel_size=5)
    with pytest.warns(stack3d.BlankSliceWarning, match="lower end of out_range, 10"):
        found = da.stack3d.rescale_intensity(out_range=(10, 200), dtype="uint8", quantiles=(0, 1), **per)
    assert np.all(found.values == 10)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("per", [{}, {"per": "slice"}, {"per": "window", "window": 5}])
def test_one_or_two_slices_are_enough(count, per):
    found = make().isel(z=slice(count)).stack3d.rescale_intensity(dtype="uint8", **per)
    assert found.sizes["z"] == count
    assert (int(found.min()), int(found.max())) == (0, 255)


@pytest.mark.parametrize("per", [{}, {"per": "slice"}, {"per": "window", "window": 3}])
def test_missing_pixels_do_not_count_and_stay_missing(per):
    da = make("float32")
    holed = da.copy(deep=True)
    holed.values[1, :20] = np.nan
    holed.values[4] = np.nan
    found = holed.stack3d.rescale_intensity(**per)
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(holed.values))
    expected = np.nanquantile(holed.values[0] if per.get("per") == "slice" else holed.values, [0.001, 0.999])
    low = float(holed.stack3d.estimate_range(**per)["low"].values.ravel()[0])
    assert abs(low - expected[0]) < 0.5 * float(da.std())
    empty = da.copy(data=np.full(da.shape, np.nan, "float32"))
    assert bool(empty.stack3d.rescale_intensity(**per).isnull().all())
    masked = da.assign_coords(mask=(da.dims, np.isfinite(holed.values)))
    xr.testing.assert_equal(masked.stack3d.estimate_range(**per), holed.stack3d.estimate_range(**per))


def test_a_region_alone_is_measured():
    da = make()
    part = {"y": slice(10, 40), "by": "index"}
    expected = da.isel(y=slice(10, 40)).stack3d.estimate_range()
    found = da.chunk(z=1).stack3d.estimate_range(region=part)
    assert float(found["low"]) == float(expected["low"])


def test_two_stacks_share_one_scale():
    first, second = make(seed=1), make(seed=2).isel(z=slice(0, 2))
    limits = first.stack3d.estimate_range()
    assert limits["low"].dims == ()
    eight = second.stack3d.rescale_intensity(estimate=limits, dtype="uint8")
    expected = mapped(second.values, float(limits["low"]), float(limits["high"]), 0, 255)
    assert np.abs(eight.values - expected).max() < 0.501
    by_slice = first.stack3d.estimate_range(per="slice")
    part = first.isel(z=[3, 4], y=slice(0, 9)).stack3d.rescale_intensity(estimate=by_slice)
    np.testing.assert_array_equal(part.values, first.stack3d.rescale_intensity(per="slice").values[3:5, :9])


def test_the_result_replays_with_its_own_a_given_and_an_edited_estimate():
    da = make()
    edited = da.stack3d.estimate_range(per="slice")
    edited["high"][2] += 1000
    for eight in (
        da.stack3d.rescale_intensity(dtype="uint8", per="window", window=3),
        da.stack3d.rescale_intensity(estimate=da.stack3d.estimate_range(quantiles=(0.1, 0.8))),
        da.chunk(z=2).stack3d.rescale_intensity(estimate=edited, dtype="uint8", out_range=(3, 99)).compute(),
    ):
        again = stack3d.replay(da, eight)
        xr.testing.assert_identical(again.drop_attrs(), eight.drop_attrs())


def test_applying_is_lazy_and_each_frame_is_read_once_for_each():
    frames = make().values
    reads, lock = [], threading.Lock()

    def read(number):
        with lock:
            reads.append(number)
        return frames[number : number + 1]

    data = array_from_blocks(
        read,
        name="read-for-range",
        chunks=((1,) * 6, *((n,) for n in frames.shape[1:])),
        dtype=frames.dtype,
        per_block=lambda index: index[0],
    )
    da = stack3d.from_array(data, pixel_size=5)
    for per in ({}, {"per": "slice"}, {"per": "window", "window": 3}):
        reads.clear()
        found = da.stack3d.estimate_range(**per)
        assert sorted(reads) == list(range(6))
        reads.clear()
        with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("computed")):
            eight = da.stack3d.rescale_intensity(estimate=found, dtype="uint8")
        eight.isel(z=[5]).compute()
        assert reads == [5]


def test_the_input_is_not_changed():
    da = make()
    before = da.copy(deep=True)
    da.stack3d.rescale_intensity()
    xr.testing.assert_identical(da, before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"quantiles": (0.5, 0.5)}, ValueError, "quantiles=.* must be two fractions"),
        ({"quantiles": (-0.1, 0.5)}, ValueError, "quantiles=.* must be two fractions"),
        ({"quantiles": 0.5}, ValueError, "quantiles=0.5 must be two fractions"),
        ({"per": "channel"}, ValueError, "per='channel' is not allowed"),
        ({"per": "window"}, ValueError, "window=None with per='window'"),
        ({"window": 3}, ValueError, "window=3 with per='stack'"),
        ({"per": "window", "window": 0}, ValueError, "window=0 must be at least 1"),
        ({"in_range": (3, 1)}, ValueError, "in_range=.* must have low < high"),
        ({"in_range": (0, 9), "per": "slice"}, ValueError, "per='slice' says how the range is found"),
        ({"out_range": (0, np.inf)}, ValueError, "out_range=.* must be two finite"),
        ({"dtype": "complex64"}, TypeError, "dtype='complex64' is not allowed"),
        ({"estimate": xr.Dataset(attrs={"kind": "levels"})}, ValueError, "'levels'; expected 'range'"),
    ],
)
def test_what_is_wrong_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        make().stack3d.rescale_intensity(**arguments)


def test_stacks_that_cannot_be_rescaled_are_refused():
    with pytest.raises(ValueError, match="per='slice' needs slices along z"):
        make()[0].stack3d.rescale_intensity(per="slice")
    with pytest.raises(TypeError, match="dtype bool"):
        (make() > 0).stack3d.rescale_intensity()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"out_range": (0, 300), "dtype": "uint8"}, ValueError, r"out_range=\(0, 300\) does not fit into dtype uint8"),
        ({"out_range": (-1, 10)}, ValueError, r"out_range=\(-1, 10\).*uint16"),
        ({"out_range": (0, 1e6), "dtype": "float16"}, ValueError, "out_range=.*float16"),
        ({"in_range": (0, 9), "quantiles": (0, 1)}, ValueError, r"quantiles=\(0, 1\).*in_range.*give one"),
        ({"in_range": (0, 9), "per": "slice"}, ValueError, "per='slice'.*in_range.*give one"),
        ({"in_range": (0, 9), "region": {"y": slice(0, 50)}}, ValueError, "region=.*in_range.*give one"),
        ({"quantiles": ("a", "b")}, ValueError, "quantiles="),
        ({"clip": "x"}, TypeError, "clip='x' must be True or False"),
    ],
)
def test_arguments_that_contradict_or_do_not_fit_are_named(stack, arguments, error, message):
    with pytest.raises(error, match=message):
        stack.stack3d.rescale_intensity(**arguments)
