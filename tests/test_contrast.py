"""Local and global contrast."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage
from scipy.special import ndtr

import stack3d
from stack3d import kernels

POINTS = [(0, 0), (30, 3), (48, 40), (60, 41), (95, 79)]
LOCAL = {"size": 5, "ratio": 2, "offset": -2000, "sigma": 2000, "smoothing": 31}


def pattern() -> np.ndarray:
    y, x = np.mgrid[:96, :80]
    wave = 20000 + 1500 * np.sin(0.21 * x + 0.05 * y) + 300 * ((7 * x + 13 * y) % 11)
    return np.float32(wave + 800 * ((x == 40) & (y > 10)) + 400 * (x % 17 == 3))


def frame(values: np.ndarray) -> xr.DataArray:
    return stack3d.from_array(values, pixel_size=5)


# What hifiem 2024 (adjust_histogram_v_3_02) makes of the pattern, before it cuts the fraction off below.
@pytest.mark.parametrize(
    ("redistribute", "points", "mean", "std"),
    [
        ("leftmost", (46.562, 253.385, 120.295, 1.299, 251.822), 190.452, 77.825),
        ("left", (35.46, 253.385, 106.69, 0.989, 251.822), 187.435, 81.253),
        ("full", (34.248, 253.053, 103.045, 0.955, 251.291), 185.029, 81.456),
    ],
)
def test_both_steps_give_the_published_contrast(redistribute, points, mean, std):
    given = {"mean": 20000, "sigma": 1250, "clip": (-0.8, 0.8), "redistribute": redistribute, "out_range": (0, 256)}
    found = frame(pattern()).stack3d.local_contrast(**LOCAL).stack3d.global_contrast(**given).values.clip(0, 255)
    np.testing.assert_allclose([found[p] for p in POINTS], points, atol=2e-3)
    np.testing.assert_allclose([found.mean(dtype=float), found.std(dtype=float)], [mean, std], atol=2e-3)


@pytest.mark.parametrize(
    ("clip", "redistribute", "levels"),
    [
        (None, "none", (5, 40, 128, 215, 250)),
        ((-0.8, 0.8), "left", (6, 47, 132, 215, 250)),
        ((-0.8, 0.8), "leftmost", (8, 62, 142, 215, 250)),
        ((-0.8, 0.8), "full", (6, 45, 128, 210, 249)),
        ((-1, 1), "leftmost", (13, 91, 153, 215, 250)),
    ],
)
def test_grey_levels_are_those_published_but_for_the_rounding(clip, redistribute, levels):
    da = frame(np.arange(-2.0, 3.0, dtype="float32")[None] * 10 + 100)
    given = {"mean": 100, "sigma": 10, "clip": clip, "redistribute": redistribute}
    wide = da.stack3d.global_contrast(**given, out_range=(0, 256)).values[0]
    np.testing.assert_array_equal(np.floor(wide), levels)
    # 256 bins cut off below, against 256 levels rounded: never further apart than one.
    assert np.all(np.abs(da.stack3d.global_contrast(**given, dtype="uint8").values[0].astype(int) - levels) <= 1)


@pytest.mark.parametrize("reference", ["image", "minimum"])
@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_slow_differences_in_a_range_are_compressed_as_described(reference, ratio):
    # The formula of hifiem 3.02, written out: gain from the frame as it is, differences from what became of it.
    values, (low, high) = pattern().astype(float), (19500.0, 21000.0)
    width = np.convolve(np.ones(31), np.ones(31)) / 31**2
    slow = values
    for axis in (0, 1):
        slow = ndimage.correlate1d(slow, width, axis=axis, mode="mirror")
    squares = {"image": values, "minimum": ndimage.minimum_filter(values, 5, mode="mirror")}
    gain = 2 * ndtr(-(squares[reference] - np.clip(slow, low, high) + 2000) / 2000)
    new = (1 - ratio) * (high - low) / 2 + np.minimum(slow, low) + np.maximum(slow - high, 0)
    new += ratio * np.clip(slow - low, 0, high - low) + values - slow
    middle = (ndimage.minimum_filter(new, 5, mode="mirror") + ndimage.maximum_filter(new, 5, mode="mirror")) / 2
    given = {"compress_range": (low, high), "compress_ratio": ratio, "reference": reference}
    found = frame(pattern()).stack3d.local_contrast(**LOCAL, **given)
    np.testing.assert_allclose(found, new + gain * (new - middle), rtol=2e-6)


def test_compressing_evens_slow_differences_and_keeps_small_ones():
    y, x = np.mgrid[:120, :160]
    fine = 100 * np.sin(x) * np.sin(y)
    uneven = np.float32(20000 + 3000 * np.tanh((x - 80) / 30) + fine)
    holes = np.zeros(uneven.shape, bool)
    holes[40:60, 70:90] = True
    given = {
        "ratio": 0,
        "grey_range": (0, 65535),
        "smoothing": 21,
        "compress_range": (16000, 24000),
        "compress_ratio": 0,
    }
    even = frame(np.where(holes, np.nan, uneven)).stack3d.local_contrast(**given).values
    np.testing.assert_array_equal(np.isnan(even), holes)
    inner = (slice(20, 36), slice(20, -20))
    assert np.abs(even[inner] - 20000 - fine[inner]).max() < 0.03 * 6000
    # A triangle of 73 square pixels leaves half of that times the second derivative of the step, 57 rms.
    assert even[inner].mean(axis=0).std() < 0.03 * uneven[inner].mean(axis=0).std()
    for wrong, words in (
        ({"compress_range": (5, 1)}, r"compress_range=(5, 1) must have low < high"),
        ({"compress_ratio": 2}, "compress_ratio=2 must lie between 0 and 1"),
        (
            {"compress_range": (1, 5), "method": "clahe"},
            "compress_range=(1, 5) has a meaning only for method='enhance'",
        ),
        ({"method": "clahe", "tiles": (2, True)}, "tiles=(2, True) must be a whole number of tiles"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            frame(uneven).stack3d.local_contrast(**wrong)


@pytest.mark.parametrize("redistribute", ["leftmost", "left", "full", "none"])
def test_curve_rises_from_0_to_1_whoever_gets_what_is_cut(redistribute):
    curve = stack3d.estimate_contrast(frame(pattern()), mean=0, sigma=1, clip=(-1.2, 0.7), redistribute=redistribute)[
        "curve"
    ]
    assert np.all(np.diff(curve) >= 0)
    np.testing.assert_allclose(curve[[0, -1]], [0, 1], atol=1e-8)


def test_flat_middle_has_the_density_of_the_chord():
    curve = stack3d.estimate_contrast(frame(pattern()), mean=0, sigma=1, clip=(-1, 1), redistribute="leftmost")["curve"]
    slope = curve.differentiate("deviation").sel(deviation=slice(-0.9, 0.9))
    np.testing.assert_allclose(slope, np.exp(-0.5) / np.sqrt(2 * np.pi), rtol=1e-6)


def test_mean_and_sigma_are_those_of_the_measured_pixels_of_good_slices():
    rng = np.random.default_rng(0)
    values = rng.normal(100, 7, (2, 5, 20, 30)).astype("float32")
    values[0, 1, 3] = np.nan
    values[:, 2] = 5000
    da = stack3d.from_array(values, pixel_size=(10, 5, 5)).assign_coords(valid=("z", np.arange(5) != 2))
    da.values[:, 4] = 12  # blank
    found = da.stack3d.estimate_contrast()
    for k in range(2):
        use = values[k, [0, 1, 3]]
        np.testing.assert_allclose([found["mean"][k], found["sigma"][k]], [np.nanmean(use), np.nanstd(use)], rtol=1e-5)
    # Where a stack is marked missing by its mask it is as if it were not there.
    masked = da.fillna(9999).assign_coords(mask=(da.dims, np.isfinite(values)))
    xr.testing.assert_allclose(masked.stack3d.estimate_contrast(), found)


def test_an_edited_curve_is_the_one_applied():
    da = frame(pattern())
    estimate = da.stack3d.estimate_contrast()
    estimate["curve"] = 0 * estimate["curve"] + 0.25
    assert np.all(da.stack3d.global_contrast(estimate=estimate, out_range=(0, 100)) == 25)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_compiled_curve_equals_array_operations(dtype):
    values = np.random.default_rng(1).normal(100, 40, (33, 21)).clip(0, 255).astype(dtype)
    curve = kernels.contrast.normal_curve(kernels.contrast.DEVIATIONS, (-1, 1), "left")
    for out in ("uint8", "float32"):
        arguments = (values, 90.0, 35.0, curve, 0.0, 255.0, np.dtype(out))
        fast, _ = kernels.contrast.global_contrast(*arguments)
        plain, _ = kernels.contrast.global_contrast_xp(*arguments)
        assert fast.dtype == plain.dtype == out
        np.testing.assert_allclose(fast, plain, rtol=1e-6, atol=1e-4 if out == "float32" else 0)


@pytest.mark.parametrize("reference", ["image", "maximum", "minimum", "middle"])
def test_local_contrast_is_its_formula(reference):
    values = np.random.default_rng(2).normal(1000, 50, (40, 52))
    kernel = np.convolve(np.ones(9), np.ones(9)) / 81
    mean = ndimage.correlate1d(ndimage.correlate1d(values, kernel, 0, mode="mirror"), kernel, 1, mode="mirror")
    most, least = ndimage.maximum_filter(values, 7), ndimage.minimum_filter(values, 7)
    middle = (most + least) / 2
    chosen = {"image": values, "maximum": most, "minimum": least, "middle": middle}[reference]
    expected = values + 1.5 * ndtr((mean - 20 - chosen) / 30) * (values - middle)
    given = {"size": 7, "ratio": 1.5, "offset": -20, "sigma": 30, "smoothing": 9, "reference": reference}
    found = frame(values.astype("float32")).stack3d.local_contrast(**given)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("size", [1, 3, 9, 31])
def test_largest_and_smallest_values_equal_array_operations(size):
    values = np.random.default_rng(3).normal(size=(17, 23)).astype("float32")
    for largest in (True, False):
        found = kernels.contrast._extreme(values, size, largest)
        np.testing.assert_array_equal(found, kernels.contrast.extreme_xp(values, size, largest))


def test_missing_pixels_are_as_the_end_of_the_frame_for_largest_and_smallest():
    values = np.random.default_rng(4).normal(100, 5, (20, 24)).astype("float32")
    holes = np.zeros(values.shape, bool)
    holes[:, 12:] = True
    given = {"size": 5, "smoothing": 1, "offset": 1e6, "sigma": 100}
    found = frame(np.where(holes, np.nan, values)).stack3d.local_contrast(**given)
    np.testing.assert_allclose(found[:, :12], frame(values[:, :12]).stack3d.local_contrast(**given), rtol=1e-5)
    assert np.isnan(found[:, 12:]).all()
    # Integers with a mask, the same: what lies outside keeps its value.
    whole = np.where(holes, 60000, np.rint(values)).astype("uint16")
    da = frame(whole).assign_coords(mask=(("y", "x"), ~holes))
    masked = da.stack3d.local_contrast(**given)
    assert masked.dtype == "uint16"
    assert np.all(masked[:, 12:] == 60000)
    np.testing.assert_array_equal(masked[:, :12], da[:, :12].drop_vars("mask").stack3d.local_contrast(**given))


def test_tiles_agree_with_opencv_at_8_bit():
    import cv2

    texture = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(256, 256)), 3)
    values = np.clip(100 + 20 * texture / texture.std(), 0, 255).astype("uint8")
    found = frame(values).stack3d.local_contrast(method="clahe", tiles=4, limit=40).values.astype(float)
    peer = cv2.createCLAHE(40, (4, 4)).apply(values)
    # OpenCV takes the end of a bin, not its middle: half of what the bin holds.
    assert np.abs(found - peer).max() <= 6
    assert np.corrcoef(found.ravel(), peer.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("limit", [1.5, 3, 10])
def test_no_bin_of_a_tile_is_higher_than_the_limit_and_nothing_is_lost(limit):
    values = np.random.default_rng(9).normal(128, 9, (50, 60)).astype("float32")
    maps = kernels.tiles._tile_maps(values, np.arange(50) // 25, np.arange(60) // 20, (2, 3), limit)
    heights = np.diff(maps, axis=-1) * kernels.tiles.BINS
    assert heights.min() >= 0
    assert heights.max() <= limit + 1e-3
    np.testing.assert_allclose(maps[..., -1], 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_tiles_give_every_dtype_the_same(dtype):
    values = np.random.default_rng(6).integers(0, 256, (48, 64)).astype("uint8")
    scale = 1 / 255 if dtype == "float32" else 1
    da = frame((values * np.dtype(dtype).type(scale)).astype(dtype))
    given = {"method": "clahe", "tiles": (3, 4), "grey_range": (0, 255 * scale)}
    found = da.stack3d.local_contrast(**given).values / scale
    expected = frame(values).stack3d.local_contrast(method="clahe", tiles=(3, 4)).values
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_tiles_with_the_lowest_limit_change_nothing():
    values = np.random.default_rng(7).random((40, 30)).astype("float32")
    np.testing.assert_allclose(frame(values).stack3d.local_contrast(method="clahe", limit=1), values, atol=1e-5)


def test_compiled_tiles_equal_array_operations():
    values = np.random.default_rng(8).random((45, 31)).astype("float32") * 256
    values[3:9, 20] = np.nan
    rows, cols = kernels.tiles._tile_places(45, 4), kernels.tiles._tile_places(31, 1)
    maps = kernels.tiles._tile_maps(values, rows[0], cols[0], (4, 1), 2.0)
    out = np.empty_like(values)
    kernels.tiles._between_tiles(values, maps, *rows[1:], *cols[1:], np.float32(0), np.float32(1), out)
    np.testing.assert_allclose(out, kernels.tiles.between_tiles_xp(values, maps, *rows[1:], *cols[1:]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("local_contrast", {"method": "x"}, "method='x' is not allowed"),
        ("local_contrast", {"size": 4}, "size=4 must be odd"),
        ("local_contrast", {"smoothing": 2.5}, "smoothing=2.5 must be a whole number"),
        ("local_contrast", {"sigma": 0}, "sigma=0 must be positive"),
        ("local_contrast", {"limit": 0.5}, "limit=0.5 must be at least 1"),
        ("local_contrast", {"tiles": 0}, "tiles=0 must be"),
        ("local_contrast", {"size": 9999}, "size=9999 is beyond the frame"),
        ("local_contrast", {"method": "clahe", "tiles": (500, 500)}, "tiles=(500, 500) cut"),
        ("local_contrast", {"reference": "mean"}, "reference='mean' is not allowed"),
        ("local_contrast", {"grey_range": (5, 5)}, "must have low < high"),
        ("global_contrast", {"sigma": -1}, "sigma=-1 must be a finite grey value, positive"),
        ("global_contrast", {"mean": "auto"}, "mean='auto' must be a number"),
        ("global_contrast", {"clip": (1, -1)}, "must have low < high"),
        ("global_contrast", {"redistribute": "right"}, "redistribute='right' is not allowed"),
        ("global_contrast", {"out_range": (1, 0)}, "must have low < high"),
        ("global_contrast", {"out_range": (0, 1000), "dtype": "uint8"}, "out_range=(0, 1000) does not fit into dtype uint8"),
        ("global_contrast", {"clip": (-50, 50)}, "clip=(-50, 50) must lie from -3 to 6"),
        ("global_contrast", {"clip": (-50, 50), "redistribute": "full"}, "clip=(-50, 50) must lie from -6 to 6"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_named(name, given, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        getattr(stack3d, name)(frame(pattern()), **given)


@pytest.mark.parametrize(("redistribute", "low"), [("leftmost", -3), ("left", -6), ("full", -6)])
def test_the_widest_clip_allowed_still_gives_a_rising_curve(redistribute, low):
    found = stack3d.estimate_contrast(frame(pattern()), mean=0, sigma=1, clip=(low, 6), redistribute=redistribute)
    curve = found["curve"]
    assert np.all(np.isfinite(curve))
    assert np.all(np.diff(curve) >= 0)
    assert curve[0] < 0.02
    assert curve[-1] > 0.98


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("operation", ["global_contrast", "rescale_intensity"])
@pytest.mark.parametrize("low", [0, 20])
def test_a_stack_without_contrast_becomes_the_lower_end_and_is_said_to(dtype, operation, low):
    flat = stack3d.from_array(np.full((2, 8, 9), 7, dtype), pixel_size=(9, 5, 5))
    with pytest.warns(stack3d.BlankSliceWarning, match=rf"become the lower end of out_range, {low}"):
        result = getattr(flat.stack3d, operation)(dtype="uint8", out_range=(low, 255))
    assert np.all(result == low)


@pytest.mark.parametrize("given", [{"method": "clahe", "tiles": 2}, {"size": 5}])
def test_floats_beyond_the_range_are_said_to_be_so(given):
    da = frame(pattern())
    with pytest.warns(stack3d.SaturationWarning, match="beyond 0 to 1"):
        da.stack3d.local_contrast(**given)
    clear = da.stack3d.local_contrast(**given, grey_range=(15000, 25000))
    assert clear.std() > da.std()
    da.stack3d.local_contrast(**LOCAL)  # what it needs of the range is given
