"""Denoising: published figures, gains on real texture, and what each method keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d
from stack3d import kernels
from stack3d._provenance import dear_steps
from stack3d.kernels import _detail_bands, atrous
from stack3d.testing import assert_contract

METHODS = ["nlm", "nlm_z", "tv", "wavelet", "median", "gaussian", "multiscale", "correlated", "same_sign"]
POINTS = [(0, 0), (30, 3), (48, 40), (60, 41), (95, 79)]
REAL = Path(__file__).parents[2] / "shared" / "data" / "fib25" / "sample2"


def stack(values: np.ndarray) -> xr.DataArray:
    return stack3d.from_array(values, pixel_size=(10, 5, 5) if values.ndim == 3 else 5)


def texture(seed: int = 0, count: int = 5, side: int = 64) -> np.ndarray:
    """Return a volume that is smooth over some pixels and slices, from 60 to 200."""
    white = np.random.default_rng(seed).normal(size=(count + 8, side, side))
    smooth = ndimage.gaussian_filter(white, (2, 2.5, 2.5))[4:-4]
    return np.float32(130 + 35 * np.tanh(2 * smooth / smooth.std()))


def rms(a, b) -> float:
    return float(np.sqrt(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)))


def published_pattern() -> np.ndarray:
    y, x = np.mgrid[:96, :80]
    wave = 20000 + 1500 * np.sin(0.21 * x + 0.05 * y) + 300 * ((7 * x + 13 * y) % 11)
    return np.float32(wave + 800 * ((x == 40) & (y > 10)) + 400 * (x % 17 == 3))


# What hifiem 2023 (denoise_v_2_10) makes of its pattern with the parameters of its notebook.
@pytest.mark.parametrize(
    ("scales", "points", "mean", "std"),
    [
        (1, (21146.242, 22887.418, 20143.807, 19911.025, 22947.746), 21492.666, 1101.652),
        (2, (21134.268, 22889.811, 20141.729, 19895.357, 22974.627), 21492.602, 1102.092),
    ],
)
def test_multiscale_gives_the_published_values(scales, points, mean, std):
    rules = [(3.418e-6, -1.123), (4.114e-6, 4.394), (4.114e-6, 4.394)][: scales + 1]
    found = kernels.denoise.multiscale(published_pattern(), rules)
    np.testing.assert_allclose([found[p] for p in POINTS], points, rtol=5e-7)
    np.testing.assert_allclose([found.mean(dtype=float), found.std(dtype=float)], [mean, std], rtol=1e-6)


def test_correlated_gives_the_published_values():
    # What denoise_v_2_00 makes of the same pattern with its defaults; both sides count in float32.
    found = stack(published_pattern()).stack3d.denoise(method="correlated").values
    points = (21884.436, 22897.902, 20264.357, 20332.834, 22871.398)
    np.testing.assert_allclose([found[p] for p in POINTS], points, rtol=3e-7)
    np.testing.assert_allclose([found.mean(dtype=float), found.std(dtype=float)], [21492.369, 1064.136], rtol=3e-7)


def test_same_sign_gives_the_published_values():
    # What denoise_v_3_00 makes of the same pattern with its defaults. Its mean and deviation were printed as float32 sums
    # of 8000 pixels, whose last digits are worth 16: they are off by 1e-6 and 1.5e-5 from those of its own pixels.
    found = stack(published_pattern()).stack3d.denoise(method="same_sign").values
    points = (21380.676, 22763.736, 20101.301, 20225.777, 22869.117)
    np.testing.assert_allclose([found[p] for p in POINTS], points, rtol=2e-7)
    assert found.mean(dtype=float) == pytest.approx(21490.096, rel=1e-6)
    assert found.std(dtype=float) == pytest.approx(1083.968, rel=2e-5)


def test_an_edge_is_not_smoothed_across_by_means_of_one_sign():
    edge = np.tile(np.float32([100] * 32 + [140] * 32), (64, 1))
    noisy = edge + np.random.default_rng(20).normal(0, 3, edge.shape).astype("float32")
    sharp, soft = (stack(noisy).stack3d.denoise(method=method).values for method in ("same_sign", "gaussian"))
    beside = slice(30, 34)
    assert rms(sharp[:, beside], edge[:, beside]) < 0.5 * rms(soft[:, beside], edge[:, beside])
    half = stack(noisy).stack3d.denoise(method="same_sign", strength=0.5).values
    np.testing.assert_allclose(half, (sharp + noisy) / 2, atol=1e-4)
    with pytest.raises(ValueError, match=r"strength=1.5 must be at most 1 for method='same_sign'"):
        stack(noisy).stack3d.denoise(method="same_sign", strength=1.5)


def test_white_noise_has_the_covariance_of_bands_that_is_taken_off():
    noise = np.random.default_rng(0).normal(size=(800, 800)).astype("float32")
    smooth = atrous.smooth(noise, 0)
    details = noise - smooth
    coarse = atrous.smooth(2 * details - atrous.smooth(details, 0), 0)
    twice = atrous.smooth(smooth, 1)
    pairs = [(details - coarse, smooth + coarse), (coarse, smooth), (smooth - twice, twice)]
    pairs.append((twice - atrous.smooth(twice, 2), atrous.smooth(twice, 2)))
    for number, (band, coarser) in enumerate(pairs):
        common, own = _detail_bands.of_white_noise(number)
        # The wider the bands reach, the fewer independent pixels the means have.
        assert np.mean(band * coarser) == pytest.approx(common, rel=0.01 * 2**number)
        assert band.std() == pytest.approx(own, rel=0.01 * 2**number)


@pytest.mark.parametrize("method", METHODS)
def test_noise_falls_and_the_mean_stays(method):
    truth = texture()
    noisy = truth + np.random.default_rng(1).normal(0, 15, truth.shape).astype("float32")
    clean = stack(noisy).stack3d.denoise(method=method)
    assert rms(clean, truth) < 0.62 * rms(noisy, truth)
    assert abs(float(clean.mean()) - truth.mean()) < 0.3


def test_neighbours_along_z_help():
    truth = texture()
    noisy = stack(truth + np.random.default_rng(2).normal(0, 15, truth.shape).astype("float32"))
    errors = [rms(noisy.stack3d.denoise(method="nlm_z", neighbours=k)[2], truth[2]) for k in (0, 1, 2)]
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] < errors[0]
    assert rms(noisy.stack3d.denoise(method="gaussian", neighbours=1)[2], truth[2]) < rms(
        noisy.stack3d.denoise(method="gaussian")[2], truth[2]
    )


@pytest.mark.parametrize("method", ["nlm", "nlm_z", "tv", "wavelet", "multiscale", "correlated"])
def test_strength_is_relative_to_the_noise(method):
    # The same picture in other units gives the same picture: nothing is tied to a grey scale.
    noisy = texture(count=3) + np.random.default_rng(3).normal(0, 10, (3, 64, 64)).astype("float32")
    one = stack(noisy).stack3d.denoise(method=method)
    other = stack(noisy * np.float32(256)).stack3d.denoise(method=method)
    np.testing.assert_allclose(other / 256, one, atol=0.02)
    change = [rms(stack(noisy).stack3d.denoise(method=method, strength=s), noisy) for s in (0, 0.5, 1, 2)]
    assert change[0] == 0
    assert np.all(np.diff(change) > 0)


@pytest.mark.parametrize("method", METHODS)
def test_neither_the_zero_nor_the_unit_of_grey_values_matters(method):
    noisy = np.rint(texture(count=3, side=96) + np.random.default_rng(21).normal(0, 8, (3, 96, 96)))
    clean = stack(noisy.astype("uint16")).stack3d.denoise(method=method).values.astype(int)
    far = stack((noisy + 65000).astype("uint16")).stack3d.denoise(method=method).values.astype(int) - 65000
    assert np.abs(far - clean).max() <= 1  # float32 inside has a last digit of 1/256 there
    values = noisy.astype("float32")
    one = stack(values).stack3d.denoise(method=method).values
    for unit in (2.0**-66, 2.0**-20, 2.0**60, 2.0**100):
        other = stack(values * np.float32(unit)).stack3d.denoise(method=method).values
        np.testing.assert_allclose(other / np.float32(unit), one, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_strength_of_0_gives_back_every_bit(method):
    counted = 4 * np.random.default_rng(22).poisson(texture(count=2, side=128) / 4) + 100
    for values, poisson in ((counted.astype("float32"), True), (counted.astype("int32") + 2**30, False)):
        clean = stack(values).stack3d.denoise(method=method, strength=0, poisson=poisson)
        np.testing.assert_array_equal(clean, values)


@pytest.mark.parametrize("method", METHODS)
def test_missing_pixels_stay_missing_and_harm_no_other(method):
    truth = texture(count=3)
    noisy = np.rint(truth + np.random.default_rng(4).normal(0, 10, truth.shape)).astype("float32")
    holes = np.zeros(truth.shape, bool)
    holes[1, 20:24, 30:40] = holes[0, :, :3] = True
    clean = stack(np.where(holes, np.nan, noisy)).stack3d.denoise(method=method)
    np.testing.assert_array_equal(np.isnan(clean), holes)
    near = ndimage.binary_dilation(holes, np.ones((1, 5, 5))) & ~holes
    assert rms(clean.values[near], truth[near]) < rms(noisy[near], truth[near])
    # With integers and a mask the same; what lies outside keeps its value, and has no part whatever it is.
    whole = stack(np.where(holes, 65535, noisy).astype("uint16"))
    masked = whole.assign_coords(mask=(whole.dims, ~holes)).stack3d.denoise(method=method)
    assert masked.dtype == "uint16"
    assert np.all(masked.values[holes] == 65535)
    assert np.abs(masked.values[~holes] - clean.values[~holes]).max() < 0.51


@pytest.mark.parametrize(
    ("method", "slices", "reach"), [("nlm", 0, 16), ("nlm_z", 1, 16), ("median", 0, 1), ("gaussian", 0, 4)]
)
def test_a_missing_pixel_reaches_a_shift_two_patches_and_a_block(method, slices, reach):
    whole = texture(count=3, side=48)
    hole = whole.copy()
    hole[0, 23, 24] = np.nan
    one, other = (stack(values).stack3d.denoise(method=method, sigma=9).values for values in (whole, hole))
    different = ~(one == other)
    if reach == 16:
        # What all blocks have in common changes as well, by next to nothing: farther away by less than a hundredth of the noise.
        different = ~(np.abs(one - other) < 0.09)
    z, y, x = np.nonzero(different)
    assert z.max() <= slices
    assert np.nonzero(~(one == other))[0].max() == slices
    assert max(np.abs(y - 23).max(), np.abs(x - 24).max()) <= reach


def test_bad_slices_help_no_other_and_are_helped():
    truth = texture()
    noisy = truth + np.random.default_rng(5).normal(0, 10, truth.shape).astype("float32")
    other = noisy.copy()
    other[2] = 255 - noisy[2]
    for method in ("nlm_z", "median", "gaussian"):
        results = []
        for values in (noisy, other):
            da = stack(values).assign_coords(valid=("z", np.arange(5) != 2))
            results.append(da.stack3d.denoise(method=method, neighbours=1, sigma=10).values)
        np.testing.assert_array_equal(*(result[[0, 1, 3, 4]] for result in results))


def test_a_pixel_has_one_place_in_the_mean():
    # Weights of 1 everywhere: the mean over each shift once, zero shift included, of every frame.
    frames = [np.random.default_rng(k).normal(size=(20, 22)).astype("float32") for k in range(3)]
    found = kernels.nlm.non_local_means(frames, 1, 1e9, patch=1, search=2)
    box = np.mean([ndimage.uniform_filter(frame.astype(float), 5) for frame in frames], axis=0)
    np.testing.assert_allclose(found[3:-3, 3:-3], box[3:-3, 3:-3], atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_compiled_means_equal_array_operations(patch, missing, monkeypatch):
    frames = [np.random.default_rng(k).normal(50, 5, (41, 27)).astype("float32") for k in range(2)]
    if missing:
        frames[0][5:9, 20:] = frames[1][30, 3] = np.nan
    numbers = {"floor": 20.0, "patch": patch, "search": 2, "spread": 1.5}
    fast = kernels.nlm.non_local_means(frames, 0, 30.0, **numbers)
    monkeypatch.setattr(kernels.nlm, "on_host", lambda frame: False)
    np.testing.assert_allclose(fast, kernels.nlm.non_local_means(frames, 0, 30.0, **numbers), rtol=2e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_without_a_pilot_all_blocks_are_filtered_by_what_they_have_in_common(depth):
    rng = np.random.default_rng(16)
    waves = np.float32(np.cos(np.arange(96) * 0.9)[:, None] * np.cos(np.arange(80) * 0.5))
    frames = [20 * waves + rng.normal(0, 20, waves.shape).astype("float32") for _ in range(depth)]
    found = kernels.wiener.filtered(frames, None, depth // 2, 400.0, common=1.0)
    nothing = [np.zeros_like(waves)] * depth
    np.testing.assert_array_equal(found, kernels.wiener.filtered(frames, nothing, depth // 2, 400.0, common=1.0))
    # Better than a Gaussian of any width: it knows which waves there are.
    blurred = [
        rms(ndimage.gaussian_filter(np.mean(frames, axis=0), width), 20 * waves) for width in (0, 0.8, 1.2, 1.6, 2.4)
    ]
    assert rms(found, 20 * waves) < 0.9 * min(blurred)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(
    "shape", [(21, 300), (9, 7), (70, 20)]
)  # more columns than are worked on at a time, few, many rows
def test_compiled_blocks_equal_array_operations(depth, shape, monkeypatch):
    rng = np.random.default_rng(13)
    pilots = list(rng.normal(50, 9, (depth, *shape)).astype("float32"))
    frames = [pilot + rng.normal(0, 5, shape).astype("float32") for pilot in pilots]
    shares = {"noise": 1.3, "common": 0.2}
    fast = kernels.wiener.filtered(frames, pilots, depth // 2, 25.0, **shares)
    monkeypatch.setattr(kernels.wiener, "on_host", lambda frame: False)
    np.testing.assert_allclose(fast, kernels.wiener.filtered(frames, pilots, depth // 2, 25.0, **shares), rtol=1e-5)


def test_blocks_of_a_cosine_are_weighted_by_its_signal_to_noise_ratio():
    # One coefficient of every block holds a cosine that fits into it; the others hold nothing and are left out.
    wave = np.cos(np.pi * (np.arange(64) + 0.5) / 2)  # of 4 pixels: frequency 4 of a block wherever it begins
    pilot = np.tile(np.float32(100 + 6 * wave), (64, 1))
    noisy = pilot + np.random.default_rng(14).normal(0, 1, pilot.shape).astype("float32")
    one = kernels.wiener.filtered([noisy], [pilot], 0, 1.0)
    # Blocks of 64 pixels: power 64 * 36 / 2 in one coefficient or two, noise 1; so nearly all of the wave stays.
    kept = 2 * np.mean((one - one.mean()) * wave)
    assert 0.99 < kept / 6 < 1.005
    assert np.std(one - pilot) < 0.3
    far = kernels.wiener.filtered([pilot], [pilot], 0, 64 * 36.0)
    assert 0.2 < 2 * np.mean((far - far.mean()) * wave) / 6 < 0.4


def test_what_a_pilot_misses_stays_as_far_as_it_is_common_in_the_frame():
    wave = np.cos(np.pi * (np.arange(64) + 0.5) / 2)
    frame = np.tile(np.float32(6 * wave), (64, 1))
    noisy = frame + np.random.default_rng(15).normal(0, 1, frame.shape).astype("float32")
    nothing = np.zeros_like(frame)
    without, with_it = (kernels.wiener.filtered([noisy], [nothing], 0, 1.0, common=share) for share in (0.0, 1.0))
    assert np.std(without) < 0.2
    assert 0.98 < 2 * np.mean(with_it * wave) / 6 < 1.005
    assert np.std(with_it - frame) < 0.3


@pytest.mark.parametrize("reach", [1, 2])
def test_compiled_median_equals_array_operations(reach):
    frames = [np.random.default_rng(k).normal(size=(15, 17)).astype("float32") for k in range(3)]
    np.testing.assert_array_equal(kernels.denoise.median(frames, reach), kernels.denoise.median_xp(frames, reach))


def test_gaussian_is_that_of_scipy():
    values = np.random.default_rng(6).normal(size=(40, 44)).astype("float32")
    expected = ndimage.gaussian_filter(values.astype(float), 1.3, mode="mirror", radius=6)
    np.testing.assert_allclose(kernels.denoise.gaussian([values], 0, 1.3), expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [1.5, 20])
def test_estimated_noise_is_the_noise_planted(sigma):
    edges = np.where(np.indices((200, 240))[0] // 40 % 2, 200, 80) + np.linspace(0, 50, 240)
    values = edges + np.random.default_rng(7).normal(0, sigma, (2, 200, 240))
    values[:, :3] = np.nan
    found = stack(values.astype("float32")).stack3d.estimate_noise()["sigma"]
    np.testing.assert_allclose(found, sigma, rtol=0.03)


def test_law_of_counted_quanta_is_found_and_its_noise_made_even():
    rng = np.random.default_rng(8)
    truth = texture(count=3, side=128) / 10
    da = stack((4 * rng.poisson(truth) + 50 + rng.normal(0, 3, truth.shape)).astype("float32"))
    found = da.stack3d.estimate_noise(poisson=True)
    # var = 4 * (I - 50) + 9
    np.testing.assert_allclose(found["gain"], 4, rtol=0.15)
    np.testing.assert_allclose(found["gain"] * 100 + found["offset"], 4 * 50 + 9, rtol=0.15)
    np.testing.assert_allclose(found["sigma"], 1, rtol=0.1)
    even, law = da.stack3d.denoise(), da.stack3d.denoise(poisson=True)
    expected = 4 * truth + 50
    assert rms(law, expected) < 1.02 * rms(even, expected)
    assert abs(float(law.mean()) - expected.mean()) < 0.5


@pytest.mark.parametrize("counts", [1.0, 3.0, 10.0, 100.0])
def test_the_way_back_from_the_stabilised_frame_has_no_bias(counts):
    rng = np.random.default_rng(9)
    values = (2 * rng.poisson(counts, (1000, 1000)) + 30 + rng.normal(0, 2, (1000, 1000))).astype("float32")
    gain, offset = 2.0, 4.0 - 2 * 30
    stabilised = kernels.noise.stabilised(values, gain, offset)
    mean = np.full((1, 1), stabilised.mean(dtype=float), np.float32)
    back = float(kernels.noise.unstabilised(mean, gain, offset)[0, 0])
    assert abs(back - (2 * counts + 30)) < max(0.02 * 2 * counts, 0.1)
    if counts >= 10:
        assert abs(stabilised.std() - 1) < 0.03


def test_noise_that_does_not_grow_is_refused_as_poisson():
    da = stack(np.random.default_rng(10).normal(100, 5, (2, 64, 64)).astype("float32"))
    with pytest.raises(ValueError, match="in no good slice of a channel is it certain that the noise grows"):
        da.stack3d.denoise(poisson=True)


def test_slices_without_noise_stay_as_they_are():
    values = np.tile(np.arange(40, dtype="uint8"), (2, 30, 1))
    for method in ("nlm", "tv", "wavelet", "multiscale"):
        np.testing.assert_array_equal(stack(values).stack3d.denoise(method=method), values)


@pytest.mark.parametrize("method", ["nlm_z", "tv", "wavelet", "gaussian", "multiscale"])
def test_blocks_make_no_difference(method):
    rng = np.random.default_rng(11)
    da = stack((texture(count=5, side=24) + rng.normal(0, 9, (5, 24, 24))).astype("uint16"))
    da = xr.concat([da, da[::-1].assign_coords(z=da.z)], "channel").assign_coords(channel=["a", "b"])
    da = da.assign_coords(valid=("z", np.arange(5) != 3))
    estimate = da.stack3d.estimate_noise()
    assert_contract(lambda s: s.stack3d.denoise(estimate=estimate, method=method), da, chunks=[{"z": 1}, {"z": 2}])


def test_it_is_known_to_take_long():
    lazy = stack(texture(count=2)).chunk(z=1)
    assert dear_steps(lazy.stack3d.denoise(sigma=3)) == ["denoise"]
    with pytest.warns(UserWarning, match="estimate_range does denoise again"):
        lazy.stack3d.denoise(sigma=3).stack3d.estimate_range()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "bm3d"}, "method='bm3d' is not allowed"),
        ({"strength": -1}, "strength=-1 must be at least 0"),
        ({"strength": "x"}, "strength='x' must be a number"),
        ({"neighbours": 1}, "neighbours=1 has a meaning only for method in"),
        ({"method": "nlm_z", "neighbours": 1.5}, "neighbours=1.5 must be a whole number"),
        ({"method": "nlm_z", "neighbours": -1}, "neighbours=-1 must be at least 0"),
        ({"sigma": -2}, "sigma=-2 must be at least 0"),
        ({"sigma": 2, "poisson": True}, "sigma=2 is the noise of all grey values"),
        ({"poisson": 1}, "poisson=1 must be True or False"),
    ],
)
def test_wrong_parameters_are_named(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        stack(texture(count=2)).stack3d.denoise(**given)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs fib25")
@pytest.mark.parametrize(
    ("noise", "flat", "deep"),
    # Of the error of the best peer: as good by one frame, and better by three; at 40, as strong as the structure, as good.
    [(10, 1.005, 0.97), (15, 0.99, 0.93), (20, 0.99, 0.91), (40, 1.01, 0.87), ("counted", 1.005, 0.91)],
)
def test_real_texture_gains_as_much_as_with_the_best_peer_and_more_with_neighbours(noise, flat, deep):
    from skimage.io import imread
    from skimage.restoration import denoise_nl_means

    truth = np.stack([imread(p)[30:190, 30:190] for p in sorted(REAL.glob("*.png"))[120:123]]).astype("float32")
    rng, sigma = np.random.default_rng(12), float(np.sqrt(4 * truth.mean())) if noise == "counted" else noise
    noisy = 4 * rng.poisson(truth / 4) if noise == "counted" else truth + rng.normal(0, noise, truth.shape)
    noisy = noisy.astype("float32")
    peers = [denoise_nl_means(noisy[1], 5, 5, h=h * sigma, sigma=sigma, preserve_range=True) for h in (0.5, 0.7, 0.9)]
    # Their width is chosen with the truth in hand.
    peers += [ndimage.gaussian_filter(noisy[1], width) for width in np.arange(0.5, 2.6, 0.1)]
    best = min(rms(peer, truth[1]) for peer in peers)
    assert rms(stack(noisy).stack3d.denoise()[1], truth[1]) < flat * best
    assert rms(stack(noisy).stack3d.denoise(method="nlm_z")[1], truth[1]) < deep * best


@pytest.mark.parametrize("shape", [(4, 5), (1, 7), (2, 2)])
def test_wavelets_take_small_frames_without_a_word(shape):
    values = np.random.default_rng(0).normal(100, 5, (2, *shape)).astype("float32")
    da = stack3d.from_array(values, pixel_size=10)
    found = da.stack3d.denoise(method="wavelet", sigma=5)
    assert found.shape == da.shape
    assert float(found.std()) < float(da.std())
