"""Levels of slices that hold pores and saturated pixels: gain and offset known to what the noise allows."""

from __future__ import annotations

import numpy as np
import pytest

import stack3d

SLICES, SIDE = 16, 96
DARK, BRIGHT, GRAIN = 17000.0, 24000.0, 800.0
LIMITS = {"low": 6000, "high": 50000}


def material(seed: int, same_place: bool) -> np.ndarray:
    """Return two materials with grain, at the same places in all slices or nowhere alike."""
    rng = np.random.default_rng(seed)
    blocks = rng.random((1 if same_place else SLICES, SIDE, SIDE)) < 0.4
    if same_place:
        blocks = np.kron(rng.random((1, SIDE // 8, SIDE // 8)) < 0.4, np.ones((1, 8, 8))) > 0
    return np.where(blocks, BRIGHT, DARK) + GRAIN * rng.standard_normal((SLICES, SIDE, SIDE))


def stacks(seed: int, same_place: bool):
    """Return gains, offsets, the stack with pores and saturation, and the stack without them."""
    rng = np.random.default_rng(100 + seed)
    gain = 1 + 0.05 * rng.standard_normal(SLICES)
    offset = rng.normal(0, 600, SLICES)
    sound = material(seed, same_place) * gain[:, None, None] + offset[:, None, None]
    spoilt, z, y, x = sound.copy(), *np.ogrid[:SLICES, :SIDE, :SIDE]
    for k in range(28):
        radius = rng.uniform(4, 9)
        at = rng.uniform(0, (SLICES, SIDE, SIDE))
        ball = ((z - at[0]) * 3) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < radius**2
        spoilt[ball] = 65535 if k % 2 else rng.normal(1000, 150, ball.sum())
    share = (spoilt != sound).mean(axis=(1, 2))
    assert 0.03 < share.mean() < 0.09
    pair = (np.rint(v).clip(0, 65535).astype("uint16") for v in (spoilt, sound))
    return gain, offset, *(stack3d.from_array(v, pixel_size=5.0) for v in pair)


def errors(found, gain, offset):
    """Return what is wrong with each slice's scale (relative) and with its mean grey value, but for what all share."""
    scale = found["gain"].values * gain
    mean = DARK + 0.4 * (BRIGHT - DARK)
    centre = scale * mean + found["gain"].values * offset + found["offset"].values
    return scale / np.median(scale) - 1, centre - np.median(centre)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("statistic", ["trimmed", "mean"])
@pytest.mark.parametrize("seed", range(3))
def test_gain_and_offset_are_known_to_what_pixels_allow_within_limits(seed, statistic):
    gain, offset, spoilt, _ = stacks(seed, same_place=False)
    scale, centre = errors(spoilt.stack3d.estimate_levels(statistic=statistic, **LIMITS), gain, offset)
    pixels = SIDE**2 * 0.94
    grey = material(seed, same_place=False)
    spread = grey.std()
    fourth = np.mean((grey - grey.mean()) ** 4) / spread**4
    # Standard errors of a standard deviation and of a mean; the median over slices adds a little, and so does a trim.
    assert rms(scale) < 1.5 * np.sqrt((fourth - 1) / (4 * pixels))
    assert rms(centre) < 1.5 * spread / np.sqrt(pixels)
    assert np.abs(scale).max() < 0.015


@pytest.mark.parametrize("seed", range(3))
def test_slices_of_one_place_are_compared_in_spite_of_pores_and_saturation_without_limits(seed):
    gain, offset, spoilt, sound = stacks(seed, same_place=True)
    for da, most in ((sound, 0.01), (spoilt, 0.04)):
        scale, centre = errors(da.stack3d.estimate_levels(statistic="unchanged"), gain, offset)
        assert rms(scale) < most
        assert rms(centre) < 0.015 * (BRIGHT - DARK)
    # The default bears foreign pixels of its trim at each end alone, which here is exceeded.
    plain, _ = errors(spoilt.stack3d.estimate_levels(limits=(0.3, 3.0)), gain, offset)
    assert rms(plain) > 0.1
    clean, _ = errors(sound.stack3d.estimate_levels(), gain, offset)
    assert rms(clean) < 0.005
