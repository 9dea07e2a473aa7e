"""Pixels that are wrong in every slice: found in the mean of the frames, filled from their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import kernels
from stack3d.kernels import neighbours

PLANTED = {(20, 30): 200, (41, 17): 20, (60, 60): 30, (8, 70): 120}  # above 16, as the rule of a blur of 5 x 5 needs


def frames(dtype="uint8", count: int = 12, scale: int = 1) -> xr.DataArray:
    """Return noise of sigma 3 about 50, with pixels too bright by fixed amounts and one dark, as upstream is tried."""
    rng = np.random.default_rng(1)
    values = rng.normal(50, 3, (count, 80, 90))
    for place, excess in PLANTED.items():
        values[(slice(None), *place)] += excess
    values[:, 33, 33] -= 40
    return stack3d.from_array((np.rint(values).clip(0, 255) * scale).astype(dtype), pixel_size=(10, 5, 5))


def places(found: xr.Dataset, sign: int) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere(found["hot_pixels"].values == sign)}


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1), ("uint16", 257), ("float32", 257)])
@pytest.mark.parametrize("threshold", [None, 13])
def test_planted_pixels_are_found_and_none_of_their_neighbours(dtype, scale, threshold):
    da = frames(dtype, scale=scale)
    found = da.stack3d.detect_hot_pixels(threshold=None if threshold is None else threshold * scale)
    assert places(found, 1) == set(PLANTED)
    assert places(found, -1) == {(33, 33)}
    assert (int(found["hot"]), int(found["dark"])) == (4, 1)


def test_kind_chooses_hot_or_dark():
    da = frames()
    assert int(da.stack3d.detect_hot_pixels(kind="hot")["dark"]) == 0
    assert int(da.stack3d.detect_hot_pixels(kind="dark")["hot"]) == 0


def test_the_curve_counts_what_each_threshold_would_give():
    da = frames()
    found = da.stack3d.detect_hot_pixels()
    for level in found["level"].values[[20, 40, 60]]:
        again = da.stack3d.detect_hot_pixels(threshold=float(level))
        assert int(again["hot"]) == int(found["curve_hot"].sel(level=level))
        assert int(again["dark"]) == int(found["curve_dark"].sel(level=level))


def test_the_scale_is_that_of_noise_in_the_mean_less_a_median():
    found = frames("float32", 12).stack3d.detect_hot_pixels()
    # Variance of a mean of 12 frames, and of the median of 24 neighbours (pi / 2 / 24 of it) on top.
    expected = 3 / np.sqrt(12) * np.sqrt(1 + np.pi / 48)
    assert float(found["scale"]) == pytest.approx(expected, rel=0.05)


def test_the_mean_is_kept_in_float_not_rounded():
    # A pixel brighter by a third of a grey level in the mean of thirty frames.
    values = np.full((30, 12, 12), 7, np.uint8)
    values[::3, 5, 5] = 8
    found = stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels(threshold=0.3)
    assert places(found, 1) == {(5, 5)}


def test_slices_marked_bad_and_masked_pixels_have_no_part():
    da = frames("uint16").astype(np.float64).astype("uint16")
    da[3, 50, 50] = 60000
    assert (50, 50) in places(da.stack3d.detect_hot_pixels(threshold=13), 1)
    marked = da.assign_coords(valid=("z", np.arange(12) != 3))
    assert places(marked.stack3d.detect_hot_pixels(threshold=13), 1) == set(PLANTED)
    masked = da.assign_coords(mask=da < 50000)
    assert places(masked.stack3d.detect_hot_pixels(threshold=13), 1) == set(PLANTED)


def test_a_spike_in_one_slice_is_no_defect_of_the_detector():
    da = frames("uint16")
    da[3, 50, 50] = 60000
    assert places(da.stack3d.detect_hot_pixels(), 1) == set(PLANTED)
    assert places(da.chunk(z=5).stack3d.detect_hot_pixels(), 1) == set(PLANTED)


def test_a_bad_pixel_of_one_channel_can_be_taken_for_bad_in_all():
    da = xr.concat([frames(), xr.full_like(frames(), 50)], xr.DataArray(["SE", "BSE"], dims="channel"))
    each = da.stack3d.detect_hot_pixels()
    assert each["hot"].values.tolist() == [4, 0]
    assert da.stack3d.detect_hot_pixels(combine="any")["hot"].values.tolist() == [4, 4]
    filled = da.stack3d.fill_pixels()
    np.testing.assert_array_equal(filled[1], da[1])


@pytest.mark.parametrize("method", ["mean", "median"])
def test_the_bad_pixels_themselves_are_left_out(method):
    values = np.full((3, 9, 9), 60, np.uint8)
    values[:, 4, 4] = values[:, 4, 5] = 255
    filled = stack3d.from_array(values, pixel_size=5).stack3d.fill_pixels(method=method)
    np.testing.assert_array_equal(filled, 60)
    assert filled.dtype == np.uint8


def test_filling_changes_nothing_but_the_bad_pixels():
    da = frames("uint16", scale=257)
    found = da.stack3d.detect_hot_pixels()
    filled = da.stack3d.fill_pixels(estimate=found, method="mean")
    good = found["hot_pixels"] == 0
    np.testing.assert_array_equal(filled.where(good, 0), da.where(good, 0))
    ring = da.values[:, 19:22, 29:32].reshape(12, -1).astype(float)
    expected = np.rint(np.delete(ring, 4, axis=1).mean(axis=1))
    np.testing.assert_array_equal(filled[:, 20, 30], expected)


def test_a_group_larger_than_the_window_is_filled_from_a_wider_one():
    bad = np.zeros((20, 20), bool)
    bad[5:10, 5:10] = True
    sources = neighbours.window_sources(bad, 3)
    frame = np.where(bad, 255, 9).astype(np.uint8)
    np.testing.assert_array_equal(neighbours.fill(frame, sources, "median", frame.dtype)[0], 9)


def test_inpainting_continues_a_plane_exactly_and_a_curved_surface_closely():
    y, x = np.mgrid[:40, :50]
    bad = np.zeros((40, 50), bool)
    bad[10, 10] = bad[0, 0] = bad[39, 20] = True
    bad[20:23, 30:33] = True
    sources = neighbours.smooth_sources(bad)
    plane = (3.0 * y - 2.0 * x + 7).astype(np.float64)
    np.testing.assert_allclose(neighbours.fill(np.where(bad, 1e4, plane), sources, "weights", "float64")[0], plane)
    wave = np.sin(y / 5) * np.cos(x / 6)
    error = np.abs(neighbours.fill(np.where(bad, 1e4, wave), sources, "weights", "float64")[0] - wave)[bad]
    assert error.max() < 0.05
    means = neighbours.fill(np.where(bad, 1e4, wave), neighbours.window_sources(bad), "mean", "float64")[0]
    assert np.sqrt(np.mean(error**2)) < 0.5 * np.sqrt(np.mean((means - wave)[bad] ** 2))


def test_missing_neighbours_have_no_part_and_a_masked_pixel_stays():
    da = frames("float32")
    da[:, 20, 31] = np.nan
    filled = da.stack3d.fill_pixels(method="mean")
    assert np.isfinite(filled[:, 20, 30]).all()
    assert np.isnan(filled[:, 20, 31]).all()
    ring = np.delete(da.values[:, 19:22, 29:32].reshape(12, -1), [4, 5], axis=1)
    np.testing.assert_allclose(filled[:, 20, 30], ring.mean(axis=1), rtol=1e-6)
    whole = frames("uint16", scale=257)
    whole[:, 20, 31] = 0
    mask = xr.ones_like(whole, dtype=bool)
    mask[:, 20, 31] = False
    filled = whole.assign_coords(mask=mask).stack3d.fill_pixels(method="mean")
    assert filled.dtype == np.uint16
    assert (filled[:, 20, 31] == 0).all()
    ring = np.delete(whole.values[:, 19:22, 29:32].reshape(12, -1).astype(float), [4, 5], axis=1)
    np.testing.assert_array_equal(filled[:, 20, 30], np.rint(ring.mean(axis=1)))


def test_an_estimate_serves_crops_by_position_and_refuses_other_frames():
    da = frames()
    found = da.stack3d.detect_hot_pixels()
    part = da.isel(y=slice(15, 50), x=slice(10, 40), z=slice(2, 5))
    np.testing.assert_array_equal(
        part.stack3d.fill_pixels(estimate=found),
        da.stack3d.fill_pixels(estimate=found).isel(y=slice(15, 50), x=slice(10, 40), z=slice(2, 5)),
    )
    with pytest.raises(ValueError, match="no pixel at y = "):
        da.stack3d.bin(z=1, y=2, x=2).stack3d.fill_pixels(estimate=found)
    with pytest.raises(ValueError, match="made by detect_hot_pixels"):
        da.stack3d.fill_pixels(estimate=da.stack3d.estimate_levels())


def test_estimates_are_saved_and_read(tmp_path):
    da = frames()
    da.stack3d.detect_hot_pixels().to_netcdf(tmp_path / "hot.nc")
    with xr.open_dataset(tmp_path / "hot.nc") as found:
        xr.testing.assert_equal(da.stack3d.fill_pixels(estimate=found.load()), da.stack3d.fill_pixels())


def test_the_mean_of_many_frames_does_not_depend_on_blocks():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (53, 6, 7)).astype(np.float32)
    values[5:9, 2, 2] = np.nan
    da = stack3d.from_array(values, pixel_size=5)
    from stack3d.operations._mean_frame import mean_frame

    mean = mean_frame(da, "mean")
    np.testing.assert_allclose(mean, np.nanmean(values.astype(float), axis=0), rtol=1e-12)
    for chunk in (1, 7, 53):
        np.testing.assert_array_equal(mean_frame(da.chunk(z=chunk), "mean"), mean)


@pytest.mark.parametrize("size", [3, 5])
def test_local_medians_of_both_forms_are_those_of_the_neighbours(size):
    rng = np.random.default_rng(3)
    frame = rng.normal(0, 1, (11, 13)).astype(np.float32)
    frame[4:6, 4] = np.nan
    fast, plain = neighbours.local_median(frame, size), neighbours.local_median_xp(frame, size)
    np.testing.assert_array_equal(fast, plain)
    half = size // 2
    window = frame[6 - half : 7 + half, 6 - half : 7 + half].ravel()
    assert fast[6, 6] == pytest.approx(np.nanmedian(np.delete(window, window.size // 2)), rel=1e-6)
    lonely = np.full((3, 3), np.nan, np.float32)
    lonely[1, 1] = 1
    assert np.isnan(kernels.neighbours.local_median(lonely, 3)[1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": -1}, "threshold=-1 must be a positive number"),
        ({"deviations": 0}, "deviations=0 must be"),
        ({"kind": "warm"}, "kind='warm' is not allowed"),
        ({"size": 4}, "size=4 must be an odd"),
        ({"combine": "all"}, "combine='all' is not allowed"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        frames().stack3d.detect_hot_pixels(**arguments)


def test_errors_of_filling_name_the_argument():
    with pytest.raises(ValueError, match="window=2 must be an odd"):
        frames().stack3d.fill_pixels(window=2)
    with pytest.raises(ValueError, match="method='nearest' is not allowed"):
        frames().stack3d.fill_pixels(method="nearest")
    found = frames().stack3d.detect_hot_pixels()
    found["hot_pixels"][:] = 1
    with pytest.raises(ValueError, match="all pixels are bad"):
        frames().stack3d.fill_pixels(estimate=found)


def grains(count: int = 40) -> np.ndarray:
    """Return bright grains of one pixel, each in a quarter of the slices at most, in noise of sigma 3 about 50."""
    rng = np.random.default_rng(3)
    values = rng.normal(50, 3, (count, 80, 90))
    for y, x in rng.integers(5, 75, (60, 2)):
        first = rng.integers(0, count - count // 4)
        values[first : first + count // 4, y, x] += 60
    return values


def test_structure_that_ends_along_the_stack_is_no_defect_of_the_detector():
    values = grains()
    assert int(stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels(threshold=8)["hot"]) > 20
    values[:, 33, 33] += 15
    found = stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels()
    assert places(found, 1) == {(33, 33)}


def test_pixels_amid_texture_must_stand_out_of_the_texture():
    rng = np.random.default_rng(4)
    values = np.repeat(rng.normal(100, 1, (1, 90, 90)), 8, axis=0)
    values[:, 30:50, 30:50] += rng.normal(0, 9, (20, 20))  # lasts along z, and is rough in one place only
    values[:, 70, 70] += 60
    found = stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels()
    assert (70, 70) in places(found, 1)
    assert int(found["hot"] + found["dark"]) <= 3  # at the edge of the rough place what lies around is half smooth
    assert int(stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels(threshold=14)["hot"]) > 20


def test_some_local_medians_are_those_of_all():
    frame = np.random.default_rng(5).normal(size=(20, 30)).astype("float32")
    where = np.random.default_rng(6).random(frame.shape) < 0.1
    some, array = neighbours.local_median(frame, 9, where), neighbours.local_median_xp(frame, 9, where)
    np.testing.assert_array_equal(some, np.where(where, neighbours.local_median(frame, 9), np.nan))
    np.testing.assert_array_equal(some, array)
