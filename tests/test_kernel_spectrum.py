"""The spectrum of a frame: normalisation, missing pixels, unbiased autocorrelation; compiled and `xp` form."""

from __future__ import annotations

import numpy as np
import pytest

from stack3d.kernels import spectrum


def texture(shape, sigma, seed=0):
    """Gaussian-correlated values of variance 1."""
    rng = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij")
    values = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)))
    return values.real / values.real.std()


def missing_pixels(frame, seed=1):
    frame = frame.astype(np.float32)
    frame[np.random.default_rng(seed).random(frame.shape) < 0.2] = np.nan
    return frame


def direct(frame, lag_y, lag_x):
    """Mean product of deviations over all measured pairs at one lag."""
    rows, columns = frame.shape
    deviation = frame.astype(np.float64) - np.nanmean(frame.astype(np.float64))
    first = deviation[max(0, -lag_y) : rows - max(0, lag_y), max(0, -lag_x) : columns - max(0, lag_x)]
    second = deviation[max(0, lag_y) : rows + min(0, lag_y), max(0, lag_x) : columns + min(0, lag_x)]
    return np.nanmean(first * second)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("taper", [0.0, 0.25, 1.0])
def test_compiled_form_equals_array_form(dtype, taper):
    frame = (100 + 20 * texture((41, 54), 2)).astype(dtype)
    mask = np.random.default_rng(3).random(frame.shape) < 0.9
    for measured in (None, mask):
        got = spectrum._prepare(frame, measured, tuple(spectrum.window(n, taper) for n in frame.shape), (45, 60))
        expected = spectrum._prepare_xp(
            frame, measured, tuple(spectrum.window(n, taper) for n in frame.shape), (45, 60)
        )
        np.testing.assert_allclose(got[0], expected[0], atol=1e-4)
        assert got[2:] == pytest.approx(expected[2:], rel=1e-12)
        assert (got[1] is None) == (expected[1] is None) == (measured is None)
        if measured is not None:
            np.testing.assert_array_equal(got[1], expected[1])


def test_half_plane_is_the_transform_of_the_tapered_frame():
    frame = (1000 + 50 * texture((40, 54), 2)).astype(np.uint16)
    found = spectrum.spectrum(frame, taper=1.0)
    window = np.outer(*(np.hanning(2 * n + 1)[1::2] for n in frame.shape))
    mean = np.average(frame, weights=window)
    assert found.mean == pytest.approx(mean, rel=1e-6)
    expected = np.fft.rfft2((frame - mean) * window, found.transformed)
    np.testing.assert_allclose(found.half, expected, atol=1e-5 * np.abs(expected).max())
    assert found.half.dtype == np.complex64


@pytest.mark.parametrize("taper", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_white_noise_has_its_variance_for_mean_power(taper, gaps):
    noise = np.random.default_rng(5).normal(300, 4, (300, 321)).astype(np.float32)
    noise = missing_pixels(noise) if gaps else noise
    found = spectrum.spectrum(noise, taper=taper, padding=(7, 9))
    assert spectrum.mean_power(found) == pytest.approx(16, rel=0.03)


@pytest.mark.parametrize("columns", [7, 8])
def test_multiplicity_counts_each_column_of_the_whole_plane_once(columns):
    line = np.random.default_rng(2).normal(size=columns)
    whole = (np.abs(np.fft.fft(line)) ** 2).sum()
    half = np.abs(np.fft.rfft(line)) ** 2
    assert half @ spectrum.multiplicity(columns) == pytest.approx(whole)


@pytest.mark.parametrize("shape", [(48, 57), (50, 50)])
@pytest.mark.parametrize("gaps", [False, True])
def test_autocorrelation_is_the_mean_over_measured_pairs(shape, gaps):
    frame = (700 + 50 * texture(shape, 2)).astype(np.uint16)
    frame = missing_pixels(frame) if gaps else frame
    found = spectrum.spectrum(frame, taper=0.0, padding=(5, 4))
    got = spectrum.autocorrelation(found, (5, 4))
    expected = np.array([[direct(frame, y, x) for x in range(-4, 5)] for y in range(-5, 6)])
    np.testing.assert_allclose(got, expected, atol=1e-3 * expected.max())


def test_taper_does_not_change_the_expected_autocorrelation():
    kept = []
    for seed in range(8):
        found = spectrum.spectrum(texture((256, 256), 3, seed).astype(np.float32), taper=1.0, padding=(6, 6))
        kept.append(spectrum.autocorrelation(found, (6, 6))[6, 6:])
    # Features of sigma 3 have a Gaussian of sigma 3 sqrt(2) for autocorrelation.
    mean = np.mean(kept, axis=0)
    assert mean[0] == pytest.approx(1, abs=0.06)
    np.testing.assert_allclose(mean / mean[0], np.exp(-(np.arange(7) ** 2) / 36), atol=0.02)


def test_lags_beyond_the_padding_are_refused():
    found = spectrum.spectrum(np.zeros((16, 16), np.uint8))
    with pytest.raises(ValueError, match=r"lags=\(3, 0\): along y the spectrum has padding for 0"):
        spectrum.autocorrelation(found, (3, 0))
    with pytest.raises(ValueError, match=r"taper=1\.5 must be between 0 and 1"):
        spectrum.spectrum(np.zeros((16, 16), np.uint8), taper=1.5)


@pytest.mark.parametrize("frame", [np.full((9, 11), np.nan, np.float32), np.full((9, 11), np.inf)])
def test_frame_without_a_measured_pixel_is_zero_and_says_so(frame):
    found = spectrum.spectrum(frame, padding=(2, 2))
    assert np.isnan(found.mean)
    assert found.squares == 0
    assert not found.half.any()
    assert np.isnan(spectrum.autocorrelation(found, (2, 2))).all()
    assert np.isnan(spectrum.power(found)).all()


def test_blank_frame_has_no_power():
    found = spectrum.spectrum(np.full((32, 30), 117, np.uint8))
    assert found.mean == pytest.approx(117)
    assert spectrum.mean_power(found) == pytest.approx(0, abs=1e-9)
