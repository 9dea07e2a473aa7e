"""What is measured of the stripes of a frame, and what the methods make of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import gaussian_filter1d

from stack3d.kernels import (
    _stripe_fit,
    _stripe_level,
    _stripe_power,
    _stripe_power_loops,
    multiscale,
    vsnr,
    wavelet_stripes,
    wedge,
)
from stack3d.operations import _stripe_neighbours

METHODS = {"vsnr": vsnr, "wavelet": wavelet_stripes, "multiscale": multiscale, "wedge": wedge}
SHAPE = (256, 288)


def smooth(noise: np.ndarray, along: float, across: float) -> np.ndarray:
    """Return noise smoothed by a Gaussian, periodic, of unit variance."""
    y, x = np.fft.fftfreq(noise.shape[0])[:, None], np.fft.rfftfreq(noise.shape[1])
    gain = np.exp(-2 * np.pi**2 * ((along * y) ** 2 + (across * x) ** 2))
    values = np.fft.irfft2(np.fft.rfft2(noise) * gain, s=noise.shape)
    return values / values.std()


def texture(seed=0, drawn=1.0) -> np.ndarray:
    """Return structure with a power that falls with frequency, `drawn` times as long along y, and noise."""
    rng = np.random.default_rng(seed)
    parts = [smooth(rng.normal(size=SHAPE), drawn * width, width) for width in (1.5, 4.0, 9.0)]
    return (30 * np.tanh(2 * sum(parts)) + 4 * rng.normal(size=SHAPE)).astype(np.float32)


def field(seed=1, length=90.0, width=1.0) -> np.ndarray:
    """Return stripes of unit variance, a Gaussian field correlated over `length` along y, that does not wrap."""
    rng = np.random.default_rng(seed)
    # White noise smoothed by a Gaussian is correlated as one root of two wider.
    wide = smooth(rng.normal(size=(1024, 320)), length / np.sqrt(2), width)
    return wide[: SHAPE[0], : SHAPE[1]].astype(np.float32)


def rms(values) -> float:
    return float(np.std(values))


@pytest.mark.parametrize("length", [30.0, 60.0, 120.0])
def test_the_length_of_stripes_is_measured(length):
    found = [_stripe_power.measure(texture(k) + 8 * field(k, length)).length for k in range(4)]
    assert length / 1.5 < np.median(found) < 1.5 * length


def test_the_power_of_stripes_is_measured():
    rng = np.random.default_rng(0)
    height, width = SHAPE
    ratios = []
    for _ in range(8):
        # Endless stripes of this variance have 5 times the power of white noise, all of it at one frequency along.
        lines = rng.normal(0, np.sqrt(5 / height), width)
        found = _stripe_power.measure((rng.normal(size=SHAPE) + lines).astype(np.float32))
        ratios.append(found.over(0.0, np.array([0.5, 1.0, 2.0, 3.0])))
        assert found.reach <= 0.7
    np.testing.assert_allclose(np.mean(ratios, axis=0), 5, rtol=0.25)


def test_gain_and_offset_do_not_matter_and_holes_little():
    frame = texture() + 8 * field()
    found = _stripe_power.measure(frame)
    assert found.ratio.max() > 3
    scaled = _stripe_power.measure((100 * frame.astype(float) + 3000).astype(np.float32))
    np.testing.assert_allclose(scaled.ratio, found.ratio, rtol=1e-2, atol=1e-3)
    weight = np.ones(SHAPE, np.float32)
    weight[40:90, 60:110] = weight[200:, 250:] = 0
    holed = _stripe_power.measure(np.where(weight > 0, frame, 0).astype(np.float32), weight)
    assert holed.reach == pytest.approx(found.reach, rel=0.5)
    assert holed.over(0.0, 0.8) == pytest.approx(found.over(0.0, 0.8), rel=0.4)


@pytest.mark.parametrize(("drawn", "most"), [(1.0, 0.01), (1.6, 0.01), (3.0, 0.1)])
@pytest.mark.parametrize("name", METHODS)
def test_structure_without_stripes_stays_as_it_is_and_loses_little_where_it_is_drawn_out(name, drawn, most):
    kernel = METHODS[name]
    plan = kernel.plan(SHAPE)
    changes = [rms(kernel.stripes(frame, plan)) / rms(frame) for frame in (texture(k, drawn) for k in range(4))]
    assert np.mean(changes) < most


@pytest.fixture(scope="module")
def bound() -> float:
    """Return the error that Wiener's filter leaves in the frame when it knows the power of structure and of stripes."""
    pairs = [(texture(k), 8 * field(10 + k)) for k in range(12)]
    power = [np.mean([scipy.fft.dctn(part, norm="ortho") ** 2 for part in parts], axis=0) for parts in zip(*pairs)]
    rest, stripes = (gaussian_filter1d(part, 5, axis=1) for part in power)
    errors = []
    for structure, planted in pairs[:4]:
        coefficients = scipy.fft.dctn(structure + planted, norm="ortho") * (stripes / (stripes + rest))
        coefficients[0, 0] = 0
        errors.append(rms(scipy.fft.idctn(coefficients, norm="ortho") - planted))
    return float(np.mean(errors))


@pytest.mark.parametrize("name", METHODS)
def test_defaults_come_near_the_filter_that_knows_all_powers(name, bound):
    kernel = METHODS[name]
    plan = kernel.plan(SHAPE)
    pairs = [(texture(k), 8 * field(10 + k)) for k in range(4)]
    errors = [rms(kernel.stripes(structure + planted, plan) - planted) for structure, planted in pairs]
    assert bound < 0.7 * 8
    assert np.mean(errors) < 1.12 * bound  # 1 dB


def test_wider_stripes_are_measured_in_differences_of_slices():
    noise, planted = np.random.default_rng(3).normal(size=SHAPE), 2 * field(5, width=2.0)
    plan = {flag: wedge.plan(SHAPE, difference=flag) for flag in (False, True)}
    left = {flag: rms(planted - wedge.stripes((noise + planted).astype(np.float32), plan[flag])) for flag in plan}
    assert left[True] < 0.3 * rms(planted)
    assert left[True] < 0.65 * left[False]


@pytest.mark.parametrize(
    "shape", [(1, 50), (50, 1), (7, 300), (300, 7), (16, 16), (40, 33), *((24, n) for n in range(8, 20))]
)
def test_any_shape_is_measured(shape):
    frame = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for values in (frame, np.zeros(shape, np.float32)):
        found = _stripe_power.measure(values)
        assert np.isfinite(found.ratio).all()
        assert (found.ratio >= 0).all()


def test_damping_across_is_the_same_in_array_form():
    rng = np.random.default_rng(0)
    rows, gains = rng.normal(size=(5, 61)).astype(np.float32), rng.random((5, 61)).astype(np.float32)
    np.testing.assert_allclose(_stripe_power.across(rows, gains), _stripe_power.across_xp(rows, gains), atol=1e-5)
    np.testing.assert_allclose(_stripe_power.across(rows, np.ones((1, 61), np.float32)), rows, atol=1e-5)


@pytest.mark.parametrize("difference", [False, True])
def test_noise_alone_is_hardly_ever_taken_for_stripes_and_weak_stripes_are_found(difference):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(150, 128, 160)).astype(np.float32)
    lines = rng.normal(size=(150, 1, 160)).astype(np.float32)
    found = {
        size: np.mean([_stripe_power.measure(f, difference=difference).ratio.any() for f in noise + size * lines])
        for size in (np.float32(0), np.float32(0.1))
    }
    # By three standard errors of the best of all bands, one frame in eight was.
    assert found[0] < 0.07
    assert found[np.float32(0.1)] > 0.93  # whose column means have a standard deviation of 0.09 without stripes


def two_passes(slices, count, share):
    """Return what is left of stripes when each pass takes a share of the difference to neighbours, and what the second took."""
    for _ in range(2):
        mean = sum(np.roll(slices, lag) + np.roll(slices, -lag) for lag in range(1, count + 1)) / (2 * count)
        taken = share * (slices - mean)
        slices = slices - taken
    return slices, taken


@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_passes_leave_the_least_of_stripes_that_they_can(count):
    slices = np.random.default_rng(0).normal(size=40_000)
    share, ratio = _stripe_neighbours.relaxed(count)
    left, taken = two_passes(slices, count, share)
    assert ratio == pytest.approx(np.mean(left**2) / np.mean(taken**2), rel=0.05)
    for other in (share - 0.08, share + 0.08):
        assert np.mean(left**2) < np.mean(two_passes(slices, count, other)[0] ** 2)
    if count == 1:  # a whole difference has half as much of the neighbours' stripes
        assert np.mean(left**2) < 0.65 * np.mean(two_passes(slices, count, 1.0)[0] ** 2)


def test_a_slice_at_the_end_takes_the_share_of_what_its_neighbours_lack():
    # Of a difference to one neighbour half is its own, to two thirds; both in the ratio that two on either side take.
    part = _stripe_neighbours._part
    assert part(0.9, 4, 4) == pytest.approx(0.9)
    assert part(0.9, 2, 4) / part(0.9, 1, 4) == pytest.approx((2 / 3) / (1 / 2))


def test_a_measured_mask_is_refused_what_it_does_not_take():
    with pytest.raises(ValueError, match=r"threshold=2.0 goes with kind='auto'"):
        wedge.plan(SHAPE, threshold=2.0)
    with pytest.raises(ValueError, match="kind='measured' has no mask"):
        wedge.mask(np.zeros((4, 3)), (4, 4), wedge.plan((4, 4)))


@pytest.mark.parametrize("lines", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("difference", [False, True])
def test_the_compiled_fit_is_that_of_the_array_form(lines, difference):
    rng = np.random.default_rng(5)
    edges = _stripe_power._bands(200, 1 if difference else 4)
    bands = _stripe_fit.bands_of(edges, 180, 200, 64, _stripe_power._SLOPES[difference], _stripe_power.REACHES)
    along = 1 + lines * np.exp(-((np.arange(64) / 2.0) ** 2))
    falls = np.exp(-0.02 * np.arange(64))
    power = (falls * along)[:, None] * rng.gamma(bands.half, 1 / bands.half, size=(64, len(bands.half)))
    compiled, array = _stripe_fit.fitted(power, bands), _stripe_fit.fitted_xp(power, bands)
    assert compiled.reach == array.reach
    for name in ("rest", "ratio", "error"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(array, name), rtol=1e-9, atol=1e-9)
    for sure in (0.5, 3.0, 30.0):
        believed = _stripe_fit.trusted(array, sure)
        np.testing.assert_allclose(believed, _stripe_fit.trusted_xp(array, sure), rtol=1e-9, atol=1e-12)


def test_power_in_bands_is_the_mean_square_lifted_to_a_share_of_the_largest():
    rng = np.random.default_rng(0)
    spectra, factor = rng.normal(size=(7, 50)).astype(np.float32), rng.random(51)
    edges, power = np.array([3, 8, 17, 42, 51]), np.empty((7, 4))
    _stripe_power_loops.band_means(spectra, factor, edges, 1, power)
    squares = (spectra * factor[:50]) ** 2
    expected = np.stack([squares[:, a - 1 : b - 1].mean(axis=1) for a, b in pairwise(edges)], 1)
    np.testing.assert_allclose(power, expected, rtol=1e-12)
    power[2, 1] = power[4] = 0
    least = np.maximum(1e-3 * power.max(axis=0), 1e-12 * power.max())
    expected = np.maximum(power, least)
    assert _stripe_power_loops.lift(power, 1e-3, 1e-12)
    np.testing.assert_array_equal(power, expected)
    assert not _stripe_power_loops.lift(np.zeros((3, 2)), 1e-3, 1e-12)
    assert not _stripe_power_loops.lift(np.full((3, 2), np.nan), 1e-3, 1e-12)


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 1001])
def test_the_median_by_bits_is_the_median(count):
    rng = np.random.default_rng(count)
    for values in (
        rng.exponential(size=count),
        rng.integers(0, 3, count) * 0.25,
        np.zeros(count),
        1e30 * rng.random(count),
    ):
        values = values.astype(np.float32)
        assert _stripe_power_loops.middle(values) == np.float32(np.median(values.astype(np.float64)))


@pytest.mark.parametrize("holes", [False, True])
def test_the_gradient_scale_is_that_of_the_differences_along_the_stripes(holes):
    rng = np.random.default_rng(3)
    frame = rng.normal(0, 2.0, (150, 170)).astype(np.float32)
    weight = (rng.random(frame.shape) > 0.3).astype(np.float32) if holes else None
    change = abs(np.diff(frame.astype(float), axis=0))
    if holes:
        change = change[(weight[1:] > 0) & (weight[:-1] > 0)]
    expected = max(np.median(change) / 0.6745, change.mean())
    assert _stripe_level.gradient_scale(frame, weight) == pytest.approx(expected, rel=1e-6)
