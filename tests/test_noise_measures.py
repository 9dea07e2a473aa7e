"""Noise measures against theory: white noise of known power on structure whose autocorrelation is known."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d.kernels import differences, lags, pair_moments, photon_transfer, spectrum
from stack3d.quality import _extrapolation

MEASURES = {
    "autocorrelation": lambda da, **k: stack3d.snr(da, **k),
    "gaussian": lambda da, **k: stack3d.snr(da, extrapolation="gaussian", **k),
    "levinson": lambda da, **k: stack3d.snr(da, extrapolation="levinson", **k),
    "cross-correlation": lambda da, **k: stack3d.snr(da, method="cross-correlation", **k),
    "variance": lambda da, **k: stack3d.snr(da, method="variance", **k),
    "noise": lambda da, **k: stack3d.noise_statistics(da, bins=20, **k),
    "brenner": lambda da, **k: stack3d.sharpness(da, **k),
    "laplacian": lambda da, **k: stack3d.sharpness(da, method="laplacian", **k),
    "spectral": lambda da, **k: stack3d.sharpness(da, method="spectral", **k),
    "contrast": lambda da, **k: stack3d.contrast(da, **k),
}
EACH = pytest.mark.parametrize("name", MEASURES)


def texture(shape, sigma, seed=0):
    """Structure of variance 1 with the autocorrelation exp(-r^2 / (4 sigma^2)), the same along y and x."""
    rng = np.random.default_rng(seed)
    frequency = sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape[-2:]), indexing="ij"))
    values = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * np.exp(-2 * (np.pi * sigma) ** 2 * frequency)).real
    return values / values.std(axis=(-2, -1), keepdims=True)


def noisy(shape, sigma, signal=2.0, noise=1.0, seed=0):
    white = np.random.default_rng(seed + 100).normal(0, noise, shape)
    values = (1000 + signal * texture(shape, sigma, seed) + white).astype(np.float32)
    return stack3d.from_array(values, pixel_size=(20, 5, 5) if values.ndim == 3 else 5)


def poisson(shape=(1024, 1024), seed=0, dark=-500.0, low=20, high=2000, sigma=16):
    """Grey values of gain 2: electrons, uniform between two levels, counted."""
    from scipy.special import ndtr

    electrons = low + (high - low) * ndtr(texture(shape, sigma, seed))
    counts = np.random.default_rng(seed + 7).poisson(electrons)
    return stack3d.from_array((2 * counts + dark).astype(np.int16), pixel_size=5 if len(shape) == 2 else (20, 5, 5))


# --- snr ---------------------------------------------------------------------------------------------------------

# Signal 4, noise 1, features of sigma 1, 2 and 4: what each extrapolation makes of the exact autocorrelation.
THEORY = {
    "nearest": lambda r: r(1),
    "linear": lambda r: 2 * r(1) - r(2),
    "parabolic": lambda r: (4 * r(1) - r(2)) / 3,
    "nn+fo": lambda r: (3 * r(1) - r(2)) / 2,
    "gaussian": lambda r: r(0),
}


@pytest.mark.parametrize("method", THEORY)
@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_snr_of_a_known_autocorrelation_is_what_theory_gives(method, sigma):
    da = noisy((512, 512), sigma)
    free = 4 * THEORY[method](lambda lag: np.exp(-(lag**2) / (4 * sigma**2)))
    found = da.stack3d.snr(extrapolation=method)
    for name in ("snr_x", "snr_y"):
        assert float(found[name]) == pytest.approx(
            free / (5 - free), rel=0.25 if (method, sigma) == ("linear", 1) else 0.08
        )
    assert bool(found.ok)


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_gaussian_extrapolation_finds_the_true_snr_and_noise_in_every_direction(sigma):
    found = noisy((512, 512), sigma).stack3d.snr(extrapolation="gaussian")
    for name in ("snr", "snr_x", "snr_y"):
        assert float(found[name]) == pytest.approx(4, rel=0.05)
    assert float(found.noise) == pytest.approx(1, rel=0.02)


def test_snr_of_all_directions_is_not_lowered_by_the_diagonal_neighbours():
    # A ring that mixes distances 1 and 1.41 gives 3.59 for sigma 4, where the axes give 3.71.
    found = noisy((512, 512), 4).stack3d.snr(extrapolation="nearest")
    assert float(found.snr) == pytest.approx(float(found.snr_x + found.snr_y) / 2, rel=0.01)


def test_backward_prediction_is_exact_where_structure_is_autoregressive():
    # R(k) = 0.8 ** k along both axes: the curve bends up to lag zero, where an even parabola falls short.
    rows = [0.8 ** abs(np.arange(64) - k) for k in range(64)]
    covariance = {(y, x): 4 * 0.8 ** (y + abs(x)) + (y == x == 0) for y in range(8) for x in range(-8, 8)}
    assert np.linalg.matrix_rank(rows) == 64
    assert _extrapolation.noise_free(covariance, "levinson") == pytest.approx((4, 4, 4), rel=1e-6)
    assert max(_extrapolation.noise_free(covariance, "parabolic")) < 3.7
    nearest = _extrapolation.noise_free(covariance, "nearest")
    assert nearest == pytest.approx((3.2, 3.2, 3.2))


def test_backward_prediction_measures_a_frame_of_autoregressive_structure():
    from scipy.signal import lfilter

    values = np.random.default_rng(3).standard_normal((640, 640))
    for axis in (0, 1):
        values = lfilter([1], [1, -0.8], values, axis=axis)
    values = 2 * values / values.std() + np.random.default_rng(4).standard_normal(values.shape)
    da = stack3d.from_array(values.astype(np.float32), pixel_size=5)
    assert float(da.stack3d.snr(extrapolation="levinson").snr) == pytest.approx(4, rel=0.06)
    assert float(da.stack3d.snr(extrapolation="parabolic").snr) < 3


def test_pure_noise_has_no_signal():
    found = noisy((512, 512), 2, signal=0).stack3d.snr()
    assert abs(float(found.snr)) < 0.01
    assert float(found.noise) == pytest.approx(1, rel=0.01)


def test_snr_does_not_change_with_gain_and_offset():
    da = noisy((256, 256), 3)
    for method in ("autocorrelation", "variance"):
        np.testing.assert_allclose(
            (da * 1e-12 - 3e-9).stack3d.snr(method=method).snr, da.stack3d.snr(method=method).snr, rtol=1e-3
        )


def test_two_images_of_one_signal_have_the_ratio_of_frank_and_al_ali():
    signal = 2 * texture((512, 512), 3)
    values = (signal + np.random.default_rng(1).standard_normal((3, 512, 512))).astype(np.float32)
    found = stack3d.from_array(values, pixel_size=(20, 5, 5)).stack3d.snr(method="cross-correlation")
    np.testing.assert_allclose(found.correlation, 0.8, atol=0.005)
    np.testing.assert_allclose(found.snr, 4, rtol=0.03)
    np.testing.assert_allclose(found.noise, 1, rtol=0.01)


def test_pairs_stand_between_their_slices():
    da = stack3d.from_array(noisy((5, 32, 32), 2).values, pixel_size=(5, 5), z=[0, 10, 30, 60, 100])
    found = da.stack3d.snr(method="cross-correlation", lag=2)
    np.testing.assert_array_equal(found.z, [15, 35, 65])
    assert found.z.attrs["units"] == "nm"
    np.testing.assert_array_equal(found["first"], [0, 1, 2])
    np.testing.assert_array_equal(found["second"], [2, 3, 4])
    assert found["first"].dims == found["second"].dims == ("z",)


def test_a_perturbed_slice_changes_exactly_its_pairs():
    da = noisy((7, 40, 44), 2)
    other = da.copy(deep=True)
    other[3] += np.random.default_rng(9).normal(0, 1, other[3].shape).astype(np.float32)
    before, after = (part.stack3d.snr(method="cross-correlation").snr.values for part in (da, other))
    np.testing.assert_array_equal(np.flatnonzero(before != after), [2, 3])


def test_pairs_with_a_bad_slice_are_flagged():
    da = noisy((5, 40, 44), 2).assign_coords(valid=("z", [True, True, False, True, True]))
    assert da.stack3d.snr(method="cross-correlation").ok.values.tolist() == [True, False, False, True]


def test_a_slice_with_itself_has_no_noise_to_measure():
    da = noisy((2, 32, 32), 2)
    da[1] = da[0]
    found = da.stack3d.snr(method="cross-correlation")
    assert np.isnan(found.snr).all()
    assert not found.ok.any()
    np.testing.assert_allclose(found.correlation, 1)


def test_noise_by_variance_is_blind_to_structure_along_the_axes():
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(0).normal(0, 3, (256, 256))
    values = 40 * np.sin(x / 1.3) + 30 * (y > 100) + 0.01 * x**2 + noise
    found = stack3d.from_array(values.astype(np.float32), pixel_size=5).stack3d.snr(method="variance")
    assert float(found.noise) == pytest.approx(3, rel=0.02)
    assert float(found.snr) == pytest.approx(np.var(values - noise) / 9, rel=0.05)


# --- noise statistics --------------------------------------------------------------------------------------------


def test_gain_of_counted_electrons_is_two_within_a_hundredth():
    found = poisson().stack3d.noise_statistics(dark=-500, flattest=1.0)
    assert float(found.gain) == pytest.approx(2, rel=0.01)
    assert float(found.gain_dark) == pytest.approx(2, rel=0.01)
    assert float(found.zero_signal) == pytest.approx(-500, abs=5)
    assert bool(found.ok)


def test_flat_parts_alone_give_the_same_gain():
    found = poisson(seed=5).stack3d.noise_statistics()
    assert float(found.gain) == pytest.approx(2, rel=0.02)
    assert float(found.zero_signal) == pytest.approx(-500, abs=8)


def test_gain_has_no_bias_and_the_stated_error_where_the_grey_values_are_few():
    # Levels spread by a twentieth, hardly more than the noise: binning by the level itself would halve the slope.
    frames = [poisson((256, 256), seed=k, low=800, high=1000, sigma=8) for k in range(24)]
    found = xr.concat(frames, "z").stack3d.noise_statistics(flattest=1.0, bins=30)
    error = float(found.gain.std()) / np.sqrt(24)
    assert abs(float(found.gain.mean()) - 2) < 3 * error
    assert float(found.gain_standard_error.mean()) == pytest.approx(float(found.gain.std()), rel=0.5)


def test_ratios_follow_their_definitions():
    found = poisson(low=400, high=600).stack3d.noise_statistics(dark=-500)
    # Uniform from 400 to 600 electrons: shot noise sqrt(n), and <n^2> / <n>.
    peak = (float(found.peak) + 500) / 2
    assert float(found.snr1) == pytest.approx((500**2 + 200**2 / 12) / 500, rel=0.01)
    assert float(found.snr0) == pytest.approx(float(found.snr1), rel=0.25)
    assert float(found.psnr) == pytest.approx(np.sqrt((found.peak - found.zero_signal) / found.gain))
    assert float(found.dsnr) == pytest.approx(
        (found.high - found.low) / np.sqrt(found.gain * (found.peak - found.zero_signal))
    )
    assert 380 < peak < 620


def test_curve_lies_on_the_true_line():
    found = poisson().stack3d.noise_statistics(bins=16, flattest=1.0)
    assert found["mean"].dims == found["variance"].dims == ("bin",)
    np.testing.assert_allclose(found["variance"] / (2 * (found["mean"] + 500)), 1, atol=0.05)
    assert (np.diff(found["mean"]) > 0).all()


def test_regions_of_even_grey_value_are_the_points_of_the_line():
    levels = [50, 200, 800, 1500]
    counts = np.random.default_rng(2).poisson(np.repeat(levels, 200), (2, 400, 800))
    da = stack3d.from_array((2 * counts - 500).astype(np.int16), pixel_size=(20, 5, 5))
    regions = [{"x": slice(200 * k + 5, 200 * k + 195), "by": "index"} for k in range(4)]
    found = da.stack3d.noise_statistics(regions=regions, dark=-500, flattest=1.0)
    assert found["mean"].dims == ("z", "region")
    np.testing.assert_allclose(found["mean"], np.tile([2 * n - 500 for n in levels], (2, 1)), atol=2)
    np.testing.assert_allclose(found["variance"] / [4 * n for n in levels], 1, atol=0.05)
    np.testing.assert_allclose(found.gain, 2, rtol=0.04)
    np.testing.assert_allclose(found.gain_dark, 2, rtol=0.03)
    np.testing.assert_allclose(found.zero_signal, -500, atol=10)


def test_dark_may_differ_between_channels():
    da = xr.concat([poisson((256, 256)), poisson((256, 256), dark=100)], "channel").assign_coords(channel=["A", "B"])
    dark = xr.DataArray([-500.0, 100.0], dims="channel", coords={"channel": ["A", "B"]})
    found = da.stack3d.noise_statistics(dark=dark, flattest=1.0)
    np.testing.assert_allclose(found.gain_dark, 2, rtol=0.03)
    assert found["mean"].dims == ("channel", "bin")


def test_noise_that_does_not_grow_is_flagged():
    found = noisy((256, 256), 8, signal=20).stack3d.noise_statistics()
    assert not bool(found.ok)
    assert np.isnan(found.zero_signal)
    assert np.isnan(found.psnr)


# --- sharpness and contrast --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["brenner", "laplacian", "spectral"])
def test_noise_alone_is_not_sharp_and_blur_lowers_sharpness(method):
    noise = np.random.default_rng(50).normal(0, 1, (256, 256))
    frames = [noise, *(5 * texture((256, 256), sigma) + noise for sigma in (4, 3, 2, 1.5))]
    da = stack3d.from_array(np.array(frames, np.float32), pixel_size=(20, 5, 5))
    found = da.stack3d.sharpness(method=method)
    assert abs(float(found.sharpness[0])) < 0.05
    assert (np.diff(found.sharpness) > 0).all()
    # The difference over two pixels has the variance 2 (R(0) - R(2)).
    if method == "brenner":
        truth = [25 * (1 - np.exp(-1 / sigma**2)) for sigma in (4, 3, 2)]
        np.testing.assert_allclose(found.sharpness[1:4], truth, rtol=0.1)
    np.testing.assert_allclose(
        da.stack3d.sharpness(method=method).sharpness,
        (7 * da + 50).stack3d.sharpness(method=method).sharpness,
        rtol=2e-3,
    )


def test_contrast_is_that_of_the_two_phases():
    phases = np.where(texture((512, 512), 12) > 0.3, 900.0, 500.0)
    values = phases + np.random.default_rng(0).normal(0, 40, phases.shape)
    da = stack3d.from_array(values.astype(np.float32), pixel_size=5)
    found = da.stack3d.contrast(zero_signal=100)
    assert float(found.contrast) == pytest.approx(400 / 600, rel=0.02)
    assert (float(found.low), float(found.high)) == pytest.approx((500, 900), abs=6)
    assert float(found.low_share) == pytest.approx((phases == 500).mean(), abs=0.03)
    assert bool(found.ok)


def test_one_phase_has_no_contrast():
    found = noisy((256, 256), 4).stack3d.contrast()
    assert not bool(found.ok)
    assert np.isnan(found.contrast)


# --- what all share ----------------------------------------------------------------------------------------------


@EACH
def test_lazy_is_equal_to_the_bit_and_stays_lazy(name):
    da = noisy((5, 48, 54), 2)
    expected = MEASURES[name](da)
    for blocks in ({"z": 1}, {"z": 2}, {"z": -1}):
        lazy = MEASURES[name](da.chunk(blocks))
        assert all(dask.is_dask_collection(variable) for variable in lazy.data_vars.values())
        xr.testing.assert_identical(lazy.compute(), expected)


@EACH
def test_labels_units_and_a_flag_on_every_variable(name):
    da = noisy((4, 32, 36), 2).expand_dims(channel=["A", "B"])
    found = MEASURES[name](da)
    assert found.ok.dims == ("channel", "z")
    assert found.ok.dtype == bool
    for variable in found.data_vars.values():
        assert variable.dims[:2] == ("channel", "z")
        assert "long_name" in variable.attrs
        assert variable.dtype == bool or "units" in variable.attrs


@EACH
def test_missing_pixels_are_left_out(name):
    da = poisson((1, 256, 256), low=200, high=2000) if name == "noise" else noisy((1, 256, 256), 3, signal=6)
    da = xr.concat([da, da.copy(data=da.values[:, ::-1])], "z").assign_coords(z=[0.0, 20.0]).astype(np.float32)
    if name == "cross-correlation":
        da[1] = da[0].values + np.random.default_rng(3).normal(0, 1, da[0].shape)
    gone = np.zeros(da.shape, bool)
    gone[:, 100:140, 30:90] = True
    hot = da.where(~gone, 30000.0)
    whole, masked = MEASURES[name](da), MEASURES[name](hot.assign_coords(mask=(da.dims, ~gone)))
    with_nan = MEASURES[name](da.where(~gone))
    key = {"noise": "gain", "contrast": "low"}.get(name, next(iter(whole.data_vars)))
    np.testing.assert_allclose(masked[key], with_nan[key])
    np.testing.assert_allclose(with_nan[key], whole[key], rtol=0.25)
    assert (MEASURES[name](hot)[key].values != whole[key].values).all()


@EACH
@pytest.mark.parametrize("fill", [0, 200, np.nan, np.inf])
def test_blank_slices_are_flagged(name, fill):
    da = noisy((3, 24, 26), 2)
    da[1] = fill
    found = MEASURES[name](da)
    flagged = slice(0, 2) if name == "cross-correlation" else slice(1, 2)
    assert not found.ok[flagged].any()
    main = {"noise": "gain"}.get(name, name if name in found else next(iter(found.data_vars)))
    assert np.isnan(found[main][flagged]).all()


@EACH
@pytest.mark.parametrize("shape", [(1, 24, 26), (3, 24, 26), (24, 26), (2, 1, 1), (1, 1, 30), (2, 4, 3), (3, 5, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_small_stacks_do_no_harm(name, shape, dtype):
    values = (100 + 20 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)
    da = stack3d.from_array(values, pixel_size=(20, 5, 5) if len(shape) == 3 else 5)
    found = MEASURES[name](da)
    assert found.ok.dims == da.dims[:-2]
    if name == "cross-correlation" and shape[0] in (1, 24):
        assert np.isnan(found.snr).all()
        assert not found.ok.any()


@EACH
def test_a_box_measures_that_part(name):
    da = noisy((4, 60, 64), 2)
    box = {"y": slice(5, 45), "x": slice(10, 60), "by": "index"}
    xr.testing.assert_equal(MEASURES[name](da, box=box), MEASURES[name](da[:, 5:45, 10:60]))
    sliding = {"y": (slice(0, 40), slice(12, 52)), "by": "index"}
    assert MEASURES[name](da, box=sliding).sizes.get("z") == MEASURES[name](da).sizes["z"]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("gaps", [False, True])
def test_compiled_loops_equal_array_operations(dtype, gaps):
    values = (120 + 30 * texture((41, 55), 2)).astype(dtype)
    other = (120 + 30 * texture((41, 55), 2, seed=1)).astype(dtype)
    if gaps and values.dtype.kind == "f":
        values[np.random.default_rng(2).random(values.shape) < 0.1] = np.nan
        other[3, 4] = np.inf
    offsets = np.array([(0, 0), (0, 1), (1, -2), (3, 0), (50, 0), (0, 60)])
    for got, expected in zip(
        lags._lag_sums(values, 120.0, 0.05, offsets, gaps),
        lags._lag_sums_xp(values, 120.0, 0.05, offsets, gaps),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        differences._sums(values, 120.0, 0.05), differences._sums_xp(values, 120.0, 0.05), rtol=1e-5
    )
    bounds = np.array([-1.5, 1.5])
    np.testing.assert_allclose(
        photon_transfer._curve_loop(values, 120.0, 0.05, bounds, 7, 0.02),
        photon_transfer._curve_xp(values, 120.0, 0.05, bounds, 7, 0.02),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    if not gaps:  # deviations of whole frames
        statistics = [np.array([part.mean(dtype=float) for part in (values, other)])]
        statistics.append(np.array([1 / part.std(dtype=float) for part in (values, other)]))
    else:
        statistics = [np.array([120.0, 121.0]), np.array([0.05, 0.04])]
    got = pair_moments._pair_sums(values, other, *statistics, gaps)
    np.testing.assert_allclose(
        got[[0, 3, 4, 5]], np.array(pair_moments._pair_sums_xp(values, other, *statistics))[[0, 3, 4, 5]], rtol=1e-5
    )


def test_lag_sums_are_the_autocorrelation_of_the_spectrum():
    frame = (500 + 40 * texture((70, 81), 2)).astype(np.uint16)
    found = spectrum.spectrum(frame, taper=0.0, padding=(3, 3))
    expected = spectrum.autocorrelation(found, (3, 3))
    offsets = [(y, x) for y in range(4) for x in range(-3, 4)]
    values, deviation = lags.lag_covariances(frame, offsets)
    np.testing.assert_allclose(values * deviation**2, [expected[3 + y, 3 + x] for y, x in offsets], rtol=1e-3, atol=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.snr(method="fft"), "method='fft' must be one of 'autocorrelation'"),
        (lambda s: s.snr(extrapolation="cubic"), "extrapolation='cubic' must be one of 'nearest'"),
        (lambda s: s.snr(method="cross-correlation", lag=0), "lag=0 must be a positive whole number"),
        (lambda s: s.noise_statistics(bins=1), "bins=1 must be a whole number"),
        (lambda s: s.noise_statistics(quantiles=(0.9, 0.1)), "two increasing fractions"),
        (lambda s: s.noise_statistics(flattest=0), "flattest=0 must be a fraction"),
        (lambda s: s.noise_statistics(regions=[{"x": slice(0, 5)}]), "two boxes or more"),
        (lambda s: s.noise_statistics(dark="low"), "dark='low' must be a finite number"),
        (lambda s: s.noise_statistics(dark=xr.DataArray([1.0], dims="detector")), "dark has dims"),
        (lambda s: s.sharpness(method="tenengrad"), "method='tenengrad' must be one of 'brenner'"),
        (lambda s: s.contrast(flattest=2), "flattest=2 must be a fraction"),
    ],
)
def test_a_bad_argument_is_refused_by_name(stack, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(stack.stack3d)
