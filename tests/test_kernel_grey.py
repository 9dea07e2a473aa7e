"""Kernels for grey values: casting, statistics, histograms, curves."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack3d.kernels import _namespace, _tails, cast, curve, histogram, statistics

DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
# Each pair is compiled once more: these cover every branch (narrow, wide, signed, floating; in and out).
PAIRS = (
    ("uint8", "uint8"),
    ("uint16", "uint16"),
    ("int16", "float32"),
    ("float32", "float32"),
    ("float32", "uint16"),
    ("float64", "int32"),
)


def make_frame(dtype, shape=(37, 53), seed=0):
    """Values over much of the dtype's range; floats have NaN and infinities."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        frame = rng.normal(20000, 30000, shape).astype(dtype)
        frame[3, 5:9] = np.nan
        frame[11, 2], frame[12, 2] = np.inf, -np.inf
        return frame
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def assert_same(got, expected):
    np.testing.assert_array_equal(got[0], expected[0])
    assert got[0].dtype == expected[0].dtype
    assert got[1] == expected[1]


# --- modules -----------------------------------------------------------------------------------------------------


def test_namespace_is_numpy_and_does_not_import_cupy():
    assert _namespace.namespace(np.zeros(2)) is np
    assert "cupy" not in sys.modules


def test_modules_are_found_lazily_and_unknown_names_are_refused():
    from stack3d import kernels

    assert kernels.cast is cast
    assert {"phase", "solve", "warp", "zweights"} <= set(dir(kernels))
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = kernels.nothing


# --- cast --------------------------------------------------------------------------------------------------------


def test_cast_rounds_half_to_even_and_counts_what_saturates():
    values = np.array([[-0.6, -0.5, 0.5, 1.5, 2.5, 255.4, 255.6, np.inf, -np.inf]], "float32")
    frame, count = cast.cast_frame(values, "uint8")
    assert frame.tolist() == [[0, 0, 0, 2, 2, 255, 255, 255, 0]]
    assert count == 4


def test_cast_makes_nan_zero_and_counts_it():
    frame, count = cast.cast_frame(np.array([[np.nan, 7.0]]), "int16")
    assert frame.tolist() == [[0, 7]]
    assert count == 1


@pytest.mark.parametrize("dtype", ["uint32", "int32"])
def test_cast_is_exact_at_the_limits_of_32_bits(dtype):
    info = np.iinfo(dtype)
    whole = [info.min, info.min + 1, info.max - 1, info.max]
    frame, count = cast.cast_frame(np.array([[*whole, info.max + 1, info.min - 1]], "float64"), dtype)
    assert frame.tolist() == [[*whole, info.max, info.min]]
    assert count == 2
    frame, count = cast.cast_frame(np.array([[2.0**33, 2.0**24]], "float32"), dtype)
    assert frame.tolist() == [[info.max, 2**24]]
    assert count == 1


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_cast_forms_are_equal(dtype, target):
    frame = make_frame(dtype)
    assert_same(cast.cast_frame(frame, target), cast.cast_xp(frame, target))


@pytest.mark.parametrize("target", ["uint8", "int16"])
def test_integers_saturate_as_whole_numbers_do(target):
    frame = make_frame("uint32")
    info = np.iinfo(target)
    expected = [[min(max(int(v), info.min), info.max) for v in row] for row in frame]
    got, count = cast.cast_frame(frame, target)
    assert got.tolist() == expected
    assert count == sum(int(v) > info.max for v in frame.ravel())


def test_float_target_keeps_nan_and_widening_shares_no_memory():
    frame = make_frame("float64")
    got, count = cast.cast_frame(frame, "float32")
    np.testing.assert_array_equal(got, frame.astype("float32"))
    assert count == 0
    same, _ = cast.cast_frame(frame, "float64")
    assert not np.shares_memory(same, frame)


def test_foreign_byte_order_views_and_read_only_frames_are_taken():
    frame = make_frame("uint16")
    expected = curve.scale_offset(frame[::2, 3:20].copy(), 0.5, 3, "uint8")
    assert_same(curve.scale_offset(frame.astype(">u2")[::2, 3:20], 0.5, 3, "uint8"), expected)
    frozen = frame[::2, 3:20].copy()
    frozen.flags.writeable = False
    assert_same(curve.scale_offset(frozen, 0.5, 3, "uint8"), expected)


# --- statistics --------------------------------------------------------------------------------------------------


def chosen(frame, mask, low, high):
    """The finite measured pixels in the range, as Python numbers would have them."""
    values = frame[mask].astype("float64")
    values = values[np.isfinite(values)]
    return values[(values >= low) & (values <= high)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics_agree_with_numpy_on_measured_finite_pixels(dtype):
    frame = make_frame(dtype)
    mask = np.random.default_rng(1).random(frame.shape) > 0.3
    for kind, low, high in ((np.ones_like(mask), -np.inf, np.inf), (mask, 20, 200)):
        values = chosen(frame, kind, low, high)
        if not values.size:
            continue
        limited = {} if np.isinf(low) else {"low": low, "high": high}
        got = statistics.frame_statistics(frame, kind, **limited)
        np.testing.assert_allclose(got[:4], [values.min(), values.max(), values.mean(), values.std()], rtol=1e-12)
        assert got.pixels == values.size
        np.testing.assert_allclose(got, statistics.frame_statistics_xp(frame, kind, **limited), rtol=1e-12)
        assert statistics.mean_in_range(frame, mask=kind, **limited) == got.mean


def test_statistics_of_integers_are_exact():
    frame = np.full((300, 400), 65535, "uint16")
    frame[0, 0] = 65534
    got = statistics.frame_statistics(frame)
    n = frame.size
    assert got.mean == (65535 * n - 1) / n
    # One pixel in n differs by one: the variance is (n - 1) / n**2.
    assert got.std == pytest.approx(np.sqrt((n - 1) / n**2), rel=1e-14)
    wide = np.array([[2**32 - 1, 2**32 - 2]], "uint32")
    assert statistics.frame_statistics(wide)[:4] == (2.0**32 - 2, 2.0**32 - 1, 2.0**32 - 1.5, 0.5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 300), (3, 70_000)])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_statistics_of_small_integers_are_exact_to_the_ends_of_their_range(dtype, shape):
    info, rng = np.iinfo(dtype), np.random.default_rng(6)
    for low, high in ((info.min, info.max), (info.min, info.min), (info.max, info.max)):
        frame = rng.integers(low, high, shape, dtype=dtype, endpoint=True)
        values = [int(value) for value in frame.ravel()]
        total, square = sum(values), sum(value * value for value in values)
        for found in (statistics.frame_statistics(frame), statistics.frame_statistics(frame, np.ones(shape, bool))):
            assert found[:3] == (min(values), max(values), total / len(values))
            assert found.std == np.sqrt((len(values) * square - total**2) / len(values) ** 2)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_statistics_of_nothing_are_nan(dtype):
    frame = np.zeros((3, 4), dtype)
    nothing = np.zeros((3, 4), bool)
    got = statistics.frame_statistics(frame, nothing)
    assert np.isnan(got[:4]).all()
    assert got.pixels == 0
    assert np.isnan(statistics.quantiles(frame, [0.1, 0.5], nothing)).all()
    assert np.isnan(statistics.median_and_mad(frame, nothing)).all()


@pytest.mark.parametrize("shape", [(37, 53), (300, 400)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_quantiles_are_those_of_numpy_to_the_bit(dtype, shape):
    frame = make_frame(dtype, shape)
    mask = np.random.default_rng(1).random(frame.shape) > 0.3
    q = [0.0, 0.0005, 0.013, 0.25, 0.5, 0.77, 0.9995, 1.0]
    values = chosen(frame, mask, -np.inf, np.inf)
    np.testing.assert_array_equal(statistics.quantiles(frame, q, mask), np.quantile(values, q))
    np.testing.assert_array_equal(statistics.quantiles_xp(frame, q, mask), np.quantile(values, q))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantiles_of_few_pixels_are_those_of_numpy(levels, q):
    frame = np.array([levels], "uint8")
    np.testing.assert_array_equal(statistics.quantiles(frame, q), np.quantile(frame.astype("float64"), q))


@pytest.mark.parametrize("shape", [(37, 53), (300, 401)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_median_and_mad_agree_with_numpy(dtype, shape):
    frame = make_frame(dtype, shape)
    mask = np.random.default_rng(1).random(frame.shape) > 0.3
    for low, high in ((-np.inf, np.inf), (10, 30000)):
        values = chosen(frame, mask, low, high)
        if not values.size:
            continue
        limited = () if np.isinf(low) else (low, high)
        median, mad = statistics.median_and_mad(frame, mask, *limited)
        assert median == np.median(values)
        tolerance = 1e-6 if dtype == "float32" else 1e-14
        assert mad == pytest.approx(np.median(np.abs(values - np.median(values))), rel=tolerance)
        assert statistics.median_and_mad_xp(frame, mask, *limited) == (median, mad)


def test_quantiles_refuse_shares_beyond_one():
    with pytest.raises(ValueError, match="q must hold numbers from 0 to 1"):
        statistics.quantiles(np.zeros((2, 2)), [0.5, 50])


# --- histogram ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limits", [None, (-20, 30000)])
def test_histogram_counts_every_finite_measured_pixel_on_its_grid(dtype, limits):
    frame = make_frame(dtype)
    mask = np.random.default_rng(1).random(frame.shape) > 0.3
    counts, low, step = histogram.compress(frame, 64, limits, mask)
    values = chosen(frame, mask, -np.inf, np.inf)
    edges = low + step * np.arange(65)
    expected, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    # numpy puts values within rounding of an edge on either side; integers never lie there.
    assert np.abs(counts - expected).sum() <= (0 if np.dtype(dtype).kind in "iu" else 2)
    assert counts.sum() == values.size
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, histogram.compress_xp(frame, 64, low, step, mask))
    if np.dtype(dtype).kind in "iu":
        assert step == int(step)
        assert low + 0.5 == int(low + 0.5)
    if limits is not None:
        assert edges[0] <= limits[0]
        assert edges[-1] >= limits[1]


def test_hot_pixels_do_not_coarsen_the_bins():
    frame = np.random.default_rng(0).integers(1000, 1100, (200, 200)).astype("uint16")
    hot = frame.copy()
    hot.ravel()[:10] = 65535
    (clean, low, step), (counts, hot_low, hot_step) = (histogram.compress(f, 64) for f in (frame, hot))
    assert (hot_low, hot_step) == (low, step)
    assert counts.sum() == clean.sum() == frame.size


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_frame_that_is_the_reference_is_left_alone_to_the_bit(dtype):
    frame = make_frame(dtype)
    counts, low, step = histogram.compress(frame, 64)
    positions, cdf = histogram.mixture([counts] * 7, [low] * 7, [step] * 7, [0.1, 0.2, 0.3, 0.7, 1, 1, 3])
    x, y = histogram.matching_curve(counts, low, step, positions, cdf)
    np.testing.assert_array_equal(x, y)
    assert_same(curve.apply_curve(frame, x, y, dtype), (frame, 0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=6, max_size=6),
    st.lists(st.integers(0, 4), min_size=9, max_size=9).filter(any),
    st.sampled_from([0.0, 1e-4, 0.05]),
)
def test_matching_curve_is_monotone_and_carries_one_distribution_to_the_other(counts, reference, tail):
    positions, cdf = histogram.mixture([reference], [10.0], [2.0])
    x, y = histogram.matching_curve(counts, -0.5, 1.0, positions, cdf, tail=tail)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    if not any(counts):
        np.testing.assert_array_equal(x, y)
        return
    # Pixels spread evenly in their bins: the share of the reference below their image is their own share.
    edges = np.arange(7) - 0.5
    own = np.concatenate([[0], np.cumsum(counts)]) / sum(counts)
    share = np.linspace(max(tail, 1e-3), 1 - max(tail, 1e-3), 101)
    inside = np.min(np.abs(share[:, None] - np.concatenate([own, cdf])), axis=1) > 1e-9
    image = np.interp(np.interp(share, own, edges), x, y)
    np.testing.assert_allclose(np.interp(image[inside], positions, cdf), share[inside], atol=1e-9)


def test_matching_undoes_a_gain_and_an_offset():
    rng = np.random.default_rng(0)
    truth = rng.normal(20000, 3000, (400, 400))
    reference = histogram.compress(truth.astype("float32"), 512)
    frame = (0.8 * truth + 1500).astype("float32")
    x, y = histogram.matching_curve(
        *histogram.compress(frame, 512), *histogram.mixture(*([part] for part in reference))
    )
    got, _ = curve.apply_curve(frame, x, y, "float32")
    middle = np.abs(truth - 20000) < 9000
    assert np.abs(got - truth)[middle].max() < 25  # half a bin is 28


def test_matching_keeps_the_grey_levels_of_a_frame():
    frame = (10000 + np.arange(24800)).astype("uint16").reshape(160, 155)
    other = (frame + np.uint16(300)).astype("uint16")
    x, y = histogram.matching_curve(
        *histogram.compress(other, 1024), *histogram.mixture(*([part] for part in histogram.compress(frame, 1024)))
    )
    got, count = curve.apply_curve(other, x, y, "uint16")
    assert count == 0
    assert np.unique(got).size == 24800
    assert np.abs(got.astype(int) - frame).max() <= 1


def test_beyond_the_range_the_last_shift_is_kept():
    positions, cdf = histogram.mixture([[5, 5]], [110.0], [10.0])
    x, y = histogram.matching_curve([5, 5], 10.0, 10.0, positions, cdf)
    got, _ = curve.apply_curve(np.array([[0, 15, 200]], "int16"), x, y, "int16")
    assert got.tolist() == [[100, 115, 300]]


def test_a_constant_frame_goes_to_the_median_of_the_reference():
    frame = np.full((20, 20), 100, "uint16")
    positions, cdf = histogram.mixture([[10, 10, 20]], [-0.5], [1.0])
    x, y = histogram.matching_curve(*histogram.compress(frame, 16), positions, cdf)
    got, _ = curve.apply_curve(frame, x, y, "float32")
    np.testing.assert_allclose(got, 1.5, atol=1e-6)
    assert histogram.compress(np.full((4, 4), 1e6, "float32"), 16)[0].sum() == 16


def test_mixture_is_the_mean_of_the_distributions_whatever_their_grids():
    counts, low, step = [[4, 4], [1, 3], [0, 0]], [0.0, 1.0, 0.0], [2.0, 1.0, 1.0]
    positions, cdf = histogram.mixture(counts, low, step, [1.0, 3.0, 9.0])
    np.testing.assert_array_equal(positions, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(cdf, [0, 0.25 * 0.25, 0.25 * 0.5 + 0.75 * 0.25, 0.25 * 0.75 + 0.75, 1], rtol=1e-15)
    with pytest.raises(ValueError, match="no frame"):
        histogram.mixture([[0, 0]], [0.0], [1.0])


# --- curve -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "target"), PAIRS)
def test_curve_forms_are_equal(dtype, target):
    frame = make_frame(dtype)
    if np.dtype(dtype).kind == "f":
        frame[~np.isfinite(frame)] = np.nan
    rng = np.random.default_rng(2)
    x, y = np.sort(rng.uniform(-100, 40000, 50)), np.sort(rng.uniform(-100, 40000, 50))
    x[7] = np.nextafter(x[6], np.inf)  # a jump
    assert_same(curve.apply_curve(frame, x, y, target), curve.apply_curve_xp(frame, x, y, target))
    for gain, offset, limits in ((1.3, -300.25, {}), (-0.5, 90, {"low": -10, "high": 110.5})):
        assert_same(
            curve.scale_offset(frame, gain, offset, target, **limits),
            curve.scale_offset_xp(frame, gain, offset, target, **limits),
        )


def test_curve_passes_through_its_knots_and_keeps_the_end_shifts():
    frame = np.array([[-7, 0, 5, 10, 20, 1000]], "int32")
    got, _ = curve.apply_curve(frame, [0, 10, 20], [3, 13, 33], "float64")
    assert got.tolist() == [[-4, 3, 8, 13, 33, 1013]]
    got, _ = curve.apply_curve(frame.astype("int16"), [0, 10, 20], [3, 13, 33], "float64")
    assert got.tolist() == [[-4, 3, 8, 13, 33, 1013]]
    got, _ = curve.apply_curve(frame, [4], [5], "int32")
    assert got.tolist() == [[-6, 1, 6, 11, 21, 1001]]


def test_curve_counts_the_pixels_that_saturate():
    frame = np.array([[0, 200, 250, 250]], "uint8")
    assert curve.apply_curve(frame, [0, 10], [10, 20], "uint8")[1] == 2
    assert curve.apply_curve(frame.astype("float32"), [0, 10], [10, 20], "uint8")[1] == 2


def test_scale_offset_by_one_and_zero_changes_nothing():
    for dtype in ("uint8", "uint16", "float32"):
        frame = make_frame(dtype)
        assert_same(curve.scale_offset(frame, 1, 0, dtype), (frame, 0))


def test_rescaling_to_8_bits_hits_both_ends_and_never_wraps():
    frame = np.arange(65536).astype("uint16").reshape(256, 256)
    got, count = curve.rescale(frame, 1000, 60000, 0, 255, "uint8")
    exact = np.clip((np.arange(65536) - 1000) * 255 / 59000, 0, 255)
    assert np.abs(got.ravel() - exact).max() <= 0.501
    assert (np.diff(got.ravel().astype(int)) >= 0).all()
    assert got.ravel()[1000] == 0
    assert got.ravel()[60000] == 255
    assert count == sum(not 0 <= round(v) <= 255 for v in (np.arange(65536) - 1000) * 255 / 59000)


def test_rescaling_without_clip_is_held_by_the_dtype_alone():
    frame = np.array([[0, 10, 20]], "uint8")
    got, count = curve.rescale(frame, 0, 10, 0, 1, "float32", clip=False)
    assert got.tolist() == [[0, 1, 2]]
    assert count == 0
    assert curve.rescale(frame, 0, 10, 0, 1, "float32")[0].tolist() == [[0, 1, 1]]
    assert curve.rescale(frame, 10, 10, 5, 9, "uint8")[0].tolist() == [[5, 5, 5]]
    with pytest.raises(ValueError, match="in_high"):
        curve.rescale(frame, 10, 5, 0, 1, "uint8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverting_twice_gives_the_frame_back(dtype):
    frame = make_frame(dtype)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if np.dtype(dtype).kind != "f" else (0, 0)
    once, count = curve.invert(frame, low, high)
    assert count == 0
    assert once.dtype == frame.dtype
    np.testing.assert_array_equal(curve.invert(once, low, high)[0], frame)


def test_inverting_saturates_beyond_the_dtype_and_wants_whole_sums():
    got, count = curve.invert(np.array([[0, 50, 200]], "uint8"), 0, 100)
    assert got.tolist() == [[100, 50, 0]]
    assert count == 1
    with pytest.raises(ValueError, match="whole number"):
        curve.invert(np.zeros((2, 2), "uint8"), 0, 0.5)


@pytest.mark.parametrize(("x", "y"), [([0, 0], [0, 1]), ([0, 1], [0]), ([0, np.nan], [0, 1])])
def test_curve_refuses_knots_that_do_not_increase(x, y):
    with pytest.raises(ValueError, match="x "):
        curve.apply_curve(np.zeros((2, 2), "uint8"), x, y, "uint8")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (211, 190)])
def test_quantiles_near_the_ends_in_one_pass_are_those_of_all_pixels(shape, dtype):
    rng = np.random.default_rng(5)
    normal = rng.normal(0, 10, shape)
    for values in (normal, np.clip(normal, -5, 5), np.abs(normal) ** 3, np.full(shape, 3.0), np.sort(normal, axis=0)):
        for missing in (0.0, 0.3, 1.0):
            frame = np.where(rng.random(shape) < missing, np.nan, values).astype(dtype)
            for mask in (None, rng.random(shape) < 0.5):
                measured = frame[np.isfinite(frame)] if mask is None else frame[mask & np.isfinite(frame)]
                truth = np.quantile(measured.astype(float), [0.002, 0.998]) if measured.size else [np.nan, np.nan]
                np.testing.assert_allclose(_tails.tail_quantiles(frame, 0.002, mask), truth, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_levels_are_counted_from_the_least_to_the_largest(dtype):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(6)
    for low, high in ((info.min, info.max), (3, 90), (7, 7)):
        frame = rng.integers(low, high, (61, 43), endpoint=True).astype(dtype)
        counts, first = statistics.level_counts(frame)
        assert (first, first + counts.size - 1) == (frame.min(), frame.max())
        np.testing.assert_array_equal(counts, np.bincount(frame.ravel().astype(int) - first))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_a_curve_that_jumps_at_zero_has_its_lower_value_there(dtype):
    x = [-10.0, 0.0, np.nextafter(0.0, 1.0), 10.0]  # so near that the slope between them overflows
    frame = np.array([[0, 5, 10, 20]], dtype)
    found, _ = curve.apply_curve(frame, x, [-10.0, 0.0, 5.0, 15.0], "float32")
    np.testing.assert_array_equal(found, [[0, 10, 15, 25]])
