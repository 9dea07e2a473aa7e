"""Doubtful displacements checked by comparing the frames themselves: what is found in frames without fine structure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import stack3d
from stack3d.kernels import _phase_direct, _phase_direct_loops, _phase_overlap_loops, phase
from stack3d.kernels._phase_direct import Small


def smooth(side: int, sigma: float, seed: int = 0) -> np.ndarray:
    wide = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side + 60, side + 60)), sigma)
    return wide / wide.std()


def shown(wide: np.ndarray, dy: int, dx: int, noise: float = 0.0, seed: int = 1) -> np.ndarray:
    """Return the frame in which the content lies (dy, dx) further on."""
    frame = wide[30 - dy : wide.shape[0] - 30 - dy, 30 - dx : wide.shape[1] - 30 - dx]
    frame = frame + noise * np.random.default_rng([seed, dy + 99, dx + 99]).normal(size=frame.shape)
    return (1000 * frame + 5000).astype(np.float32)


def found(first: np.ndarray, second: np.ndarray, **options) -> phase.PairShift:
    plan = phase.plan(first.shape, **options)
    return phase.pair_shift(phase.spectrum(first, plan), phase.spectrum(second, plan), plan)


@pytest.mark.parametrize(
    ("side", "sigma", "noise", "tolerance"),
    [(72, 4, 0.01, 0.05), (72, 8, 0, 0.05), (128, 8, 0, 0.05), (128, 8, 0.01, 0.05), (256, 8, 0.01, 0.1)],
)
def test_a_jump_of_smooth_frames_is_found_where_the_phase_alone_misses_it(side, sigma, noise, tolerance):
    wide = smooth(side, sigma)
    frames = shown(wide, 0, 0, noise), shown(wide, 0, 4, noise)
    missed = found(*frames, direct=False)
    assert missed.extra.weight == 0 or abs(missed.dx - 4) > 0.3
    got = found(*frames)
    np.testing.assert_allclose([got.dy, got.dx], [0, 4], atol=tolerance)
    assert got.extra.weight > 0
    assert got.quality > 0.95


def test_swapped_frames_lie_the_other_way():
    wide = smooth(72, 8)
    first, second = shown(wide, 0, 0), shown(wide, -3, 5)
    there, back = found(first, second), found(second, first)
    np.testing.assert_allclose([there.dy, there.dx], [-3, 5], atol=0.05)
    np.testing.assert_allclose([back.dy, back.dx], [3, -5], atol=0.05)


def test_what_stays_with_the_frame_does_not_hide_a_jump():
    wide = smooth(96, 6)
    y, x = np.mgrid[:96, :96] / 96
    still = 2000 * (x - x**2 + x * y) + 800 * np.sin(60 * x)  # uneven light and curtains
    got = found(shown(wide, 0, 0, 0.02) + still, shown(wide, 3, -6, 0.02) + still)
    np.testing.assert_allclose([got.dy, got.dx], [3, -6], atol=0.15)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_unrelated_smooth_frames_are_refused(noise):
    weights = []
    for seed in range(8):
        first, second = (shown(smooth(96, 6, 2 * seed + k), 0, 0, noise, seed=k) for k in range(2))
        weights.append(found(first, second).extra.weight)
    assert np.count_nonzero(weights) == 0


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_frames_with_fine_structure_keep_their_phase_to_the_bit(noise):
    fine = sum(smooth(200, sigma, seed) for seed, sigma in enumerate((1.0, 2.5, 8.0)))
    frames = shown(fine, 0, 0, noise), shown(fine, 2, -7, noise)
    with_check, without = (found(*frames, direct=direct) for direct in (None, False))
    assert (with_check.dy, with_check.dx, with_check.extra.weight) == (without.dy, without.dx, without.extra.weight)


def test_the_grey_values_may_have_any_size():
    wide = smooth(72, 6)
    frames = shown(wide, 0, 0), shown(wide, 4, 2)
    for scale in (1e-25, 1e25):
        got = found(*(scale * frame.astype(np.float64) for frame in frames))
        np.testing.assert_allclose([got.dy, got.dx], [4, 2], atol=0.05)


def test_frames_with_missing_pixels_are_not_compared_directly():
    frame = shown(smooth(72, 4), 0, 0)
    plan = phase.plan(frame.shape)
    assert isinstance(phase.spectrum(frame, plan).small, Small)
    frame[:4] = np.nan
    assert phase.spectrum(frame, plan).small is None


def test_a_band_that_is_asked_for_is_all_that_is_compared():
    assert not phase.plan((72, 72), band=(0.01, None)).direct
    assert phase.plan((72, 72)).direct


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (5, -3), (-7, 0), (-2, -9)])
def test_the_map_of_correlations_is_pearson_s_on_the_overlap(dy, dx):
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(20, 24)).astype(np.float32) for _ in range(2))
    shape = (40, 48)
    product = np.fft.irfft2(np.conj(np.fft.rfft2(a, shape)) * np.fft.rfft2(b, shape), shape)
    values = _phase_direct_loops.normalised(product, a, b, 0.25)
    one = a[max(0, -dy) : 20 - max(0, dy), max(0, -dx) : 24 - max(0, dx)]
    two = b[max(0, dy) : 20 - max(0, -dy), max(0, dx) : 24 - max(0, -dx)]
    expected = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    np.testing.assert_allclose(values[dy % 40, dx % 48], expected, atol=1e-5)
    one, two = (_phase_overlap_loops.digits(part.copy()) for part in (one, two))
    assert one.dtype == np.int16
    np.testing.assert_allclose(_phase_direct_loops.ncc(one, two, 0, 0, 0, 0, *one.shape), expected, atol=2e-4)


def test_small_overlaps_have_no_say():
    a = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
    values = _phase_direct_loops.normalised(np.ones((40, 48)), a, a, 0.5)
    assert values[11, 0] == values[0, 13] == values[-11, 0] == 0
    assert values[3, 3] != 0


@pytest.mark.parametrize(("dy", "dx"), [(0.25, -0.5), (3.5, 1.75), (-4.25, 6.0)])
def test_a_part_of_a_pixel_is_found_on_the_overlap(dy, dx):
    fine = 4  # pixels of the canvas to one of the frame
    canvas = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(500, 500)), 4 * fine)
    first, second = (
        canvas[60 - round(fine * y) :: fine, 60 - round(fine * x) :: fine][:90, :90].astype(np.float32)
        for y, x in ((0, 0), (dy, dx))
    )
    numbers = _phase_direct_loops.climbed(first / first.std(), second / second.std(), dy + 1.2, dx - 0.8, 16)
    np.testing.assert_allclose(numbers[:2], [dy, dx], atol=0.03)
    assert numbers[2] > 0.99


def test_averages_of_blocks_leave_out_what_does_not_fill_one():
    values = np.arange(35, dtype=np.float32).reshape(5, 7)
    expected = values[:4, :6].reshape(2, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(_phase_overlap_loops.shrink(values, 2), expected)


def test_register_finds_the_jump_of_smooth_slices():
    wide = smooth(72, 4)
    frames = np.stack([shown(wide, 0, 4 if k >= 5 else 0, 0.01, seed=k) for k in range(8)])
    shift = stack3d.estimate_transforms(stack3d.from_array(frames, pixel_size=1))["shift_x"]
    np.testing.assert_allclose(shift, [0.0] * 5 + [4.0] * 3, atol=0.1)


def test_slices_of_opposite_contrast_are_compared_as_they_are():
    wide = smooth(96, 5)
    frames = np.stack([[shown(wide, 0, 0, 0.01, seed=k)] for k in range(4)])
    moved = np.stack([[10000 - shown(wide, 2, -5, 0.01, seed=k + 9)] for k in range(4)])
    both = stack3d.from_array(
        np.concatenate([frames, moved], axis=1).transpose(1, 0, 2, 3), pixel_size=1, channel=["SE", "BSE"]
    )
    offset = stack3d.estimate_channel_offset(both, reference="SE")
    np.testing.assert_allclose(offset["shift_y"], [0, 2], atol=0.1)
    np.testing.assert_allclose(offset["shift_x"], [0, -5], atol=0.1)
    assert str(offset["contrast"].values[1]) == "inverted"


def test_the_check_says_when_it_refuses():
    refused = _phase_direct._refused(found(shown(smooth(72, 2), 0, 0), shown(smooth(72, 2), 1, 1)))
    assert refused.extra.weight == 0
    assert refused.extra.refused == _phase_direct.UNCERTAIN
