"""Fourier ring and shell correlation and resolution, against spectra that are known."""

import numpy as np
import pytest

import stack3d
from stack3d.testing import assert_lazy

SIZE = 256


def signal_to_noise(frequency, scale, variance, shape=(SIZE, SIZE)):
    """Return the ratio of the power spectrum of `scene` to noise of variance 1, at frequencies in cycles per pixel."""
    plane = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None])
    return variance * np.exp(-((frequency / scale) ** 2)) / np.exp(-((plane / scale) ** 2)).mean()


def scene(scale, variance, shape=(SIZE, SIZE), seed=0):
    plane = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    white = np.random.default_rng(seed).normal(size=shape)
    return np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(signal_to_noise(plane, scale, variance, shape)), shape)


def noisy(slices=6, scale=0.12, variance=4.0, shape=(SIZE, SIZE), seed=0, pixel_size=(20, 5, 5)):
    rng = np.random.default_rng(seed + 100)
    values = scene(scale, variance, shape, seed) + rng.normal(size=(slices, *shape)) + 100
    return stack3d.from_array(values.astype(np.float32), pixel_size=pixel_size)


@pytest.mark.parametrize("method", ["neighbours", "split"])
@pytest.mark.parametrize("taper", [0.0, 0.25])
def test_the_curve_is_signal_over_signal_and_noise(method, taper):
    curve = noisy().stack3d.frc(method=method, taper=taper)
    snr = signal_to_noise(curve["frequency"].values * 5, 0.12, 4.0)
    error = (curve["frc"].mean("z") - snr / (1 + snr)).values
    # The spread of the mean of the slices, with room for the aliases of the split near its end.
    inner = slice(6, None if method == "neighbours" else -8)
    assert abs(error[inner]).max() < 0.12
    assert abs(error[inner].mean()) < 0.01
    assert curve["frequency"].values[-1] == pytest.approx(0.1 if method == "neighbours" else 0.05)


def test_two_independent_slices_have_a_curve_about_zero_not_above_it():
    values = np.random.default_rng(0).normal(size=(12, SIZE, SIZE)).astype(np.float32)
    da = stack3d.from_array(values, pixel_size=5)
    for method in ("neighbours", "split"):
        curve = da.stack3d.frc(method=method)
        weight = curve["number"] / curve["number"].sum()
        assert abs(float((curve["frc"].mean("z") * weight).sum())) < 0.01
        # Three sigma, as published, are four standard deviations of the real part: rarely reached.
        above = (curve["frc"] > curve["threshold"].sel(criterion="3-sigma")).isel(frequency=slice(5, None))
        assert float(above.mean()) < 0.005


@pytest.mark.parametrize("threshold", ["1/7", 0.5])
def test_resolution_is_where_theory_crosses_the_threshold(threshold):
    level = 1 / 7 if threshold == "1/7" else threshold
    frequency = np.linspace(0.01, 0.5, 5000)
    snr = signal_to_noise(frequency, 0.12, 4.0)
    expected = 5 / frequency[np.argmax(snr / (1 + snr) < level)]
    found = noisy().stack3d.resolution(threshold=threshold)
    assert found["ok"].all()
    assert float(found["resolution"].median()) == pytest.approx(expected, rel=0.04)
    np.testing.assert_allclose(found["frequency"], 1 / found["resolution"])
    assert found["resolution"].attrs["units"] == "nm"


def test_resolution_of_one_slice_is_that_between_two():
    da = noisy(scale=0.05, variance=1.0)
    between = da.stack3d.resolution(threshold=0.3)["resolution"].median()
    within = da.stack3d.resolution(method="frc-split", threshold=0.3)
    assert within["ok"].all()
    assert float(within["resolution"].median()) == pytest.approx(float(between), rel=0.06)
    one = da.isel(z=2, drop=True).stack3d.resolution(method="frc-split", threshold=0.3)
    assert float(one["resolution"]) == float(within["resolution"][2])


def test_resolution_is_in_the_unit_of_the_stack():
    nm = noisy(2)
    um = stack3d.from_array(nm.values, pixel_size=(0.02, 0.005, 0.005), units="um")
    plain = stack3d.from_array(nm.values, pixel_size=None)
    first, second, third = (da.stack3d.resolution()["resolution"] for da in (nm, um, plain))
    np.testing.assert_allclose(second * 1000, first)
    np.testing.assert_allclose(third * 5, first)
    assert (second.attrs["units"], third.attrs["units"]) == ("um", "1")


def test_thresholds_and_their_numbers_are_consistent():
    curve = noisy(2).stack3d.frc()
    n, t = curve["number"], curve["threshold"]
    np.testing.assert_allclose(t.sel(criterion="3-sigma"), 3 / np.sqrt(n / 2))
    root = np.sqrt(n)
    np.testing.assert_allclose(
        t.sel(criterion="half-bit"), (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root), atol=1e-4
    )
    plain = noisy(2).stack3d.frc(taper=0)["number"]
    np.testing.assert_allclose(plain, 2 * np.pi * np.arange(1, SIZE // 2 + 1), rtol=0.35)
    assert float(abs(plain / (2 * np.pi * np.arange(1, SIZE // 2 + 1)) - 1).mean()) < 0.05
    assert (n <= plain).all()


def test_sectors_find_the_direction_in_which_a_slice_is_blurred():
    from scipy.ndimage import gaussian_filter1d

    rng = np.random.default_rng(3)
    sharp = 10 * rng.normal(size=(SIZE, SIZE))
    blurred = gaussian_filter1d(sharp, 2.0, axis=1)  # along x
    values = blurred + rng.normal(size=(4, SIZE, SIZE))
    found = stack3d.from_array(values, pixel_size=5).stack3d.resolution(sectors=4)
    along = found["resolution"].median("z")
    np.testing.assert_array_equal(found["sector"], [0, 45, 90, 135])
    assert float(along.sel(sector=0)) > 20  # 4 px
    # No loss along y: agreement down to the pixel, or nearly
    assert not found["ok"].sel(sector=90).any() or float(along.sel(sector=90)) < 13


def test_frames_that_are_not_square_have_the_resolution_of_their_content():
    whole = noisy(4, shape=(256, 256), seed=5)
    tall = whole.isel(x=slice(0, 100))
    wide = whole.isel(y=slice(30, 111))
    expected = float(whole.stack3d.resolution()["resolution"].median())
    for part in (tall, wide):
        assert float(part.stack3d.resolution()["resolution"].median()) == pytest.approx(expected, rel=0.1)


def test_pixels_that_are_not_square_have_the_resolution_of_their_content():
    square = noisy(4, scale=0.06, variance=4.0, seed=6)
    rng = np.random.default_rng(7)
    # Every second row, and noise of half the variance: the same density of signal and of noise.
    clean = scene(0.06, 4.0, seed=6)[::2] + rng.normal(0, np.sqrt(0.5), (4, SIZE // 2, SIZE))
    flat = stack3d.from_array(clean, pixel_size=(20, 10, 5))
    a, b = (float(da.stack3d.resolution()["resolution"].median()) for da in (square, flat))
    assert b == pytest.approx(a, rel=0.05)


@pytest.mark.parametrize("method", ["neighbours", "split"])
@pytest.mark.parametrize("chunk", [1, 3, 5])
def test_lazy_is_in_memory_to_the_bit(method, chunk):
    da = stack3d.from_array(np.stack([noisy(5, shape=(40, 60), seed=k).values for k in (0, 1)]), pixel_size=5)
    lazy, now = (stack.stack3d.frc(method=method, sectors=2) for stack in (da.chunk(channel=1, z=chunk), da))
    for name in ("frc", "measured", "ok"):
        assert lazy[name].chunks is not None
    loaded = lazy.compute()
    for name in now:
        np.testing.assert_array_equal(loaded[name], now[name])
    assert now["frc"].dims == ("channel", "z", "sector", "frequency")


@pytest.mark.parametrize("method", ["frc", "frc-split", "fsc"])
def test_building_computes_nothing(method, stack):
    assert_lazy(lambda da: stack3d.resolution(da, method=method)[["resolution", "frequency"]], stack)


def test_no_crossing_a_blank_slice_and_no_pair_are_nan_with_a_flag():
    one = scene(0.12, 4.0, (64, 64))
    equal = stack3d.from_array(np.stack([one, one, np.full_like(one, 3.7)]), pixel_size=5)
    found = equal.stack3d.resolution()
    assert np.isnan(found["resolution"]).all()
    assert not found["ok"].any()
    curve = equal.stack3d.frc()
    np.testing.assert_array_equal(curve["ok"], [True, False])
    np.testing.assert_allclose(curve["frc"][0], 1, atol=1e-5)
    single = equal.isel(z=slice(0, 1))
    for table in (single.stack3d.frc(), single.stack3d.resolution(), single.stack3d.fsc()):
        assert not table["ok"].any()
    assert not single.stack3d.resolution(method="fsc")["ok"]
    assert single.stack3d.frc(method="split")["ok"].all()
    three = noisy(3, shape=(64, 64))
    assert three.stack3d.frc()["ok"].all()
    assert three.stack3d.fsc()["ok"]


def test_fsc_of_halves_is_signal_over_signal_and_noise_and_knows_their_distance():
    # A volume with detail along z too: its halves lie half a voxel of theirs apart.
    rng = np.random.default_rng(8)
    shape = (32, 64, 64)
    z, y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    envelope = np.exp(-((np.sqrt((2 * z) ** 2 + y**2 + x**2) / 0.12) ** 2))
    clean = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape)) * envelope).real
    values = clean / clean.std() * 2 + rng.normal(size=shape)
    da = stack3d.from_array(values, pixel_size=(10, 5, 5))
    curve = da.stack3d.fsc()
    density = envelope**2 / (envelope**2).mean() * 4 / 2  # half the slices: half the signal to noise
    radius = np.sqrt((z / 10) ** 2 + (y / 5) ** 2 + (x / 5) ** 2)
    frequency = curve["frequency"].values
    for k in (2, 4, 6, 8, 12):
        # The halves reach half the Nyquist frequency along z.
        shell = (abs(radius - frequency[k]) <= frequency[0] / 2) & (abs(z) < 0.25)
        expected = density[shell].sum() / (density[shell] + 1).sum()
        assert float(curve["fsc"][k]) == pytest.approx(expected, abs=0.05)


def test_fsc_of_two_volumes_needs_their_coordinates_and_finds_the_anisotropy():
    from scipy.ndimage import gaussian_filter1d

    rng = np.random.default_rng(9)
    clean = 5 * gaussian_filter1d(rng.normal(size=(48, 64, 64)), 2.0, axis=0)
    a, b = (stack3d.from_array(clean + rng.normal(size=clean.shape), pixel_size=5) for _ in range(2))
    curve = a.stack3d.fsc(other=b, sectors=3, smooth=3)
    np.testing.assert_allclose(curve["sector"], [15, 45, 75])
    level = curve["fsc"].sel(frequency=0.07, method="nearest")
    assert float(level.sel(sector=15)) > 0.3 > 0.15 > float(level.sel(sector=75))
    lazy = a.chunk(z=6).stack3d.fsc(other=b.chunk(z=6), sectors=3, smooth=3)
    np.testing.assert_array_equal(lazy["fsc"].compute(), curve["fsc"])
    with pytest.raises(ValueError, match="other must have the coordinates"):
        a.stack3d.fsc(other=b.assign_coords(z=b["z"] + 1e-9))
    with pytest.raises(ValueError, match="other must have the coordinates"):
        a.stack3d.fsc(other=b.isel(y=slice(1, None)))


def test_voxels_long_in_z_leave_the_resolution_in_the_plane():
    da = noisy(8, shape=(128, 128))
    plane = float(da.stack3d.resolution()["resolution"].median())
    shells = da.stack3d.resolution(method="fsc")
    assert shells["ok"]
    assert float(shells["resolution"]) == pytest.approx(plane, rel=0.15)


def test_missing_pixels_leave_the_curve_where_it_was():
    da = noisy(4)
    holes = np.zeros((SIZE, SIZE), bool)
    holes[60:130, 100:180] = True
    clean, holed = da.stack3d.frc(smooth=5), da.where(~holes).stack3d.frc(smooth=5)
    np.testing.assert_allclose(holed["measured"], 1 - holes.mean(), atol=1e-3)
    error = (holed["frc"] - clean["frc"]).isel(frequency=slice(10, None))
    assert float(abs(error).mean()) < 0.04
    assert abs(float(error.mean())) < 0.015


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda da: da.stack3d.frc(method="halves"), "method='halves'"),
        (lambda da: da.stack3d.frc(sectors=0), "sectors=0"),
        (lambda da: da.stack3d.frc(smooth=2), "smooth=2"),
        (lambda da: da.stack3d.frc(taper=-0.1), "taper=-0.1"),
        (lambda da: da.stack3d.frc(lag=-1), "lag=-1"),
        (lambda da: da.stack3d.frc(box={"y": slice(0, 5), "by": "index"}), "5 x 64 pixels; rings need at least 8"),
        (lambda da: da.stack3d.resolution(method="fourier"), "method='fourier'"),
        (lambda da: da.stack3d.resolution(threshold=1.5), "threshold=1.5"),
        (lambda da: da.assign_coords(z=[0.0, 20.0, 50.0]).stack3d.fsc(), "evenly spaced"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(noisy(3, shape=(64, 64)))
