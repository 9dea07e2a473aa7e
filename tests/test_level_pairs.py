"""Levels of slices from what pairs of them show in common."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import stack3d

COUNT, HEIGHT, WIDTH, SEEN = 30, 48, 300, 110
NOISE = 300.0


def covered(seed: int = 0, gain: bool = True, offset: bool = True):
    """Return a registered stack whose slices show a window that wanders over bright and dark tissue, and its truth.

    What lies at a place is the same in all slices, so that levels are known to the noise.
    """
    rng = np.random.default_rng(seed)
    x = np.arange(WIDTH)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(HEIGHT), np.fft.fftfreq(WIDTH), indexing="ij"))
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((HEIGHT, WIDTH))) * np.exp(-300 * frequency**2)).real
    content = 20000 + 6000 * np.cos(2 * np.pi * x / WIDTH) + 2000 * texture / texture.std()
    gains = np.exp(rng.normal(0, 0.05, COUNT)) if gain else np.ones(COUNT)
    offsets = rng.normal(0, 800, COUNT) if offset else np.zeros(COUNT)
    start = np.rint(np.linspace(0, WIDTH - SEEN, COUNT)).astype(int)
    values = np.full((COUNT, HEIGHT, WIDTH), np.nan, np.float32)
    for k, left in enumerate(start):
        part = slice(left, left + SEEN)
        values[k, :, part] = gains[k] * content[:, part] + offsets[k] + rng.normal(0, NOISE, (HEIGHT, SEEN))
    return stack3d.from_array(values, pixel_size=(10, 5, 5)), gains, offsets


def wrong(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the rms error but for a common constant, which images cannot tell."""
    return float(np.std(found - expected))


@pytest.mark.parametrize("statistic", ["mean", "trimmed", "median"])
def test_gains_are_recovered_within_the_noise_where_slices_show_different_parts(statistic):
    da, gains, _ = covered(offset=False)
    arguments = {"model": "gain", "statistic": statistic, "window": None, "limits": (0.5, 2.0)}
    found = da.stack3d.estimate_levels(lags=3, **arguments)
    apart = da.stack3d.estimate_levels(**arguments)
    # A mean over some 4500 shared pixels is known to 2e-4; thirty steps of a walk, tied at three lags, to 1e-3.
    assert wrong(np.log(found["gain"].values), -np.log(gains)) < 2e-3
    assert wrong(np.log(apart["gain"].values), -np.log(gains)) > 0.05


def test_offsets_are_recovered_within_the_noise():
    da, _, offsets = covered(gain=False)
    found = da.stack3d.estimate_levels(model="offset", statistic="mean", lags=3, window=None)
    # A difference of two means of 4500 pixels: 6 counts; a walk of thirty steps about five times that.
    assert wrong(found["offset"].values, -offsets) < 40
    assert (
        wrong(da.stack3d.estimate_levels(model="offset", statistic="mean", window=None)["offset"].values, -offsets)
        > 1000
    )


def test_gain_and_offset_together_level_the_stack():
    da, *_ = covered()
    level = da.stack3d.level_slices(lags=3, statistic="mean", window=None, limits=(0.5, 2.0))
    # What one place shows along z: noise, and no more than 2 % of the content's range on top.
    left = float(level.std("z").mean())
    assert left < 1.3 * NOISE
    assert float(da.stack3d.level_slices(statistic="mean", window=None, limits=(0.5, 2.0)).std("z").mean()) > 4 * NOISE


def test_a_mask_says_what_was_measured_as_nan_does():
    da, *_ = covered()
    filled = da.fillna(0).round().astype("uint16").assign_coords(mask=da.notnull())
    found = filled.stack3d.estimate_levels(lags=2)
    expected = da.round().stack3d.estimate_levels(lags=2)
    for name in ("gain", "offset"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-3)


def test_whole_frames_give_the_differences_of_their_means():
    da, *_ = covered()
    whole = da.isel(x=slice(0, SEEN)).fillna(1e4)
    found = whole.stack3d.estimate_levels(model="offset", statistic="mean", lags=1, window=None)
    means = whole.mean(("y", "x"), dtype=np.float64).values
    np.testing.assert_allclose(found["offset"], np.median(means) - means, atol=1e-2)


def test_one_slice_keeps_its_level_and_bad_ones_are_left_out():
    da, gains, _ = covered(offset=False)
    spoilt = da.copy(deep=True)
    spoilt[7] *= 3
    arguments = {"model": "gain", "lags": 3, "statistic": "mean", "slice": 4}
    found = spoilt.assign_coords(valid=("z", np.arange(COUNT) != 7)).stack3d.estimate_levels(**arguments)
    assert float(found["gain"][4]) == pytest.approx(1.0, abs=1e-12)
    assert not bool(found["levelled"][7])
    assert float(found["gain"][7]) == 1.0
    good = np.arange(COUNT) != 7
    np.testing.assert_allclose(found["gain"][good], (gains[4] / gains)[good], rtol=5e-3)


def test_a_window_keeps_slow_changes():
    da, gains, _ = covered(offset=False)
    trend = np.linspace(0.9, 1.1, COUNT)
    moved = da * xr.DataArray(trend, dims="z").astype(np.float32)
    found = moved.stack3d.estimate_levels(model="gain", lags=2, window=9)
    result = np.log(found["gain"].values * gains * trend)
    # The ends have one side only.
    assert np.corrcoef(result[4:-4], np.log(trend)[4:-4])[0, 1] > 0.8


def test_blocks_change_nothing_and_it_replays():
    da, *_ = covered()
    level = da.stack3d.level_slices(lags=2)
    np.testing.assert_array_equal(da.chunk(z=7).stack3d.level_slices(lags=2), level)
    xr.testing.assert_equal(stack3d.replay(da, level), level)


@pytest.mark.parametrize("lags", [0, 1.5, True])
def test_lags_must_be_a_whole_number(lags):
    with pytest.raises(ValueError, match=f"lags={lags!r} must be a whole number"):
        covered()[0].stack3d.level_slices(lags=lags)


@pytest.mark.parametrize("arguments", [{"lags": 3}, {"statistic": "unchanged"}, {"lags": 2, "window": 5}])
def test_what_slices_marked_bad_show_has_no_part_in_the_levels_of_others(arguments):
    rng = np.random.default_rng(3)
    content = 120 + 40 * np.cos(np.linspace(0, 12, 64)) * np.cos(np.linspace(0, 9, 48))[:, None]
    values = (content + np.cumsum(rng.normal(0, 4, (14, 48, 64)), axis=0)).astype(np.float32)
    valid = np.ones(14, bool)
    valid[6:9] = False
    da = stack3d.from_array(values, pixel_size=(30, 5, 5)).assign_coords(valid=("z", valid))
    expected = da.stack3d.estimate_levels(**arguments)
    assert expected["levelled"].values.tolist() == valid.tolist()
    for bad in (rng.normal(120, 0.5, values[6:9].shape), 0.0, 3 * values[:3]):
        other = da.copy(deep=True)
        other[6:9] = bad
        found = other.stack3d.estimate_levels(**arguments)
        for name in ("gain", "offset", "target_centre", "target_spread", "levelled", "limited"):
            np.testing.assert_array_equal(found[name], expected[name])
