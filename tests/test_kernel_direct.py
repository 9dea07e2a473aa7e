"""Doubtful displacements checked by comparing the frames themselves: what is found in frames without fine structure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import stack3d
from stack3d.kernels import _phase_direct, _phase_direct_loops, _phase_overlap_loops, phase
from stack3d.kernels import _phase_search_loops as search
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


def both(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what two frames both show when the second lies (dy, dx) further on."""
    n, m = a.shape
    one = a[max(0, -dy) : n - max(0, dy), max(0, -dx) : m - max(0, dx)]
    return one, b[max(0, dy) : n - max(0, -dy), max(0, dx) : m - max(0, -dx)]


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


def pair(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    wide = ndimage.gaussian_filter(rng.normal(size=(n + 4, m + 4)), 2)
    a, b = wide[:n, :m], wide[3 : n + 3, 2 : m + 2] + 0.02 * rng.normal(size=(n, m))
    return tuple((part / np.abs(part).max()).astype(np.float32) for part in (a, b))


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (5, -3), (-7, 0), (-2, -9)])
def test_the_map_of_correlations_is_pearson_s_on_the_overlap(dy, dx):
    a, b = pair(20, 24)
    shape = (40, 48)
    values = np.fft.irfft2(np.conj(np.fft.rfft2(a, shape)) * np.fft.rfft2(b, shape), shape)
    search.normalised(values, search.spread(a, *shape, 0.25), search.spread(b, *shape, 0.25))
    np.testing.assert_allclose(values[dy % 40, dx % 48], pearson(*both(a, b, dy, dx)), atol=1e-5)


def test_small_overlaps_have_no_say():
    a = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
    values, table = np.ones((40, 48)), search.spread(a, 40, 48, 0.5)
    search.normalised(values, table, table)
    assert values[11, 0] == values[0, 13] == values[-11, 0] == 0
    assert values[3, 3] != 0


@pytest.mark.parametrize("shape", [(37, 45), (96, 32)])
def test_what_a_search_keeps_of_a_frame_has_room_for_every_displacement_that_counts(shape):
    a, b = (Small(part, 1) for part in pair(*shape))
    n, m = a.searched.spread.shape[1:]
    values = np.fft.irfft2(np.conj(a.searched.transform) * b.searched.transform, (n, m)).astype(np.float32)
    search.normalised(values, a.searched.spread, b.searched.spread)
    one, two = (_phase_overlap_loops.shrink(frame.pixels, a.searched.size) for frame in (a, b))
    for dy, dx in ((one.shape[0] * 6 // 10, 0), (-3, -(one.shape[1] // 2)), (0, 1), (4, 4)):
        np.testing.assert_allclose(values[dy, dx], pearson(*both(one, two, dy, dx)), atol=1e-4)
    assert (n > 1.2 * one.shape[0]) & (m > 1.2 * one.shape[1])


@pytest.mark.parametrize(("shape", "dy", "dx"), [((75, 75), 0, 0), ((96, 40), -4, 7), ((41, 96), 9, -6)])
def test_a_cut_has_neither_mean_nor_slope_along_rows_and_columns(shape, dy, dx):
    y, x = np.mgrid[: shape[0], : shape[1]]
    ramps = 3 + np.sin(y) * x / 40 + np.cos(x) * y / 40
    frames = [(part + 5 * ramps / ramps.max()).astype(np.float32) / np.float32(6) for part in pair(*shape)]
    for whole, digits in zip(both(*frames, dy, dx), _phase_overlap_loops.overlap(*frames, dy, dx), strict=True):
        expected = whole.astype(np.float64)
        for _ in range(2):
            at = np.arange(expected.shape[1])
            expected = (expected - np.stack([np.polyval(np.polyfit(at, row, 1), at) for row in expected])).T
        top = 6 * np.abs(expected).mean()
        n, m = expected.shape
        assert digits.dtype == np.int16
        np.testing.assert_allclose(digits[:n, :m], 2047 * np.clip(expected / top, -1, 1), atol=2)
        assert not digits[n:].any()
        assert not digits[:, m:].any()


@pytest.mark.parametrize("shape", [(75, 74), (96, 80), (17, 33)])
def test_correlations_of_digits_are_pearson_s(shape):
    (n, m), (a, b) = shape, pair(*shape)
    one, two = _phase_overlap_loops.overlap(a, b, 0, 0)
    of_one, of_two = (_phase_overlap_loops.lines(part, n, m) for part in (one, two))
    for k in (1, 2, 7):
        down = _phase_overlap_loops.lag(one, of_one, n, m, 0, k)
        across = _phase_overlap_loops.lag(one, of_one, n, m, 1, k)
        expected = pearson(one[: n - k, :m], one[k:n, :m]), pearson(one[:n, : m - k], one[:n, k:m])
        np.testing.assert_allclose([down, across], expected, atol=1e-12)
    for h in (1, 3):
        got = _phase_direct_loops.stencil(one, two, of_one, of_two, n, m, h)
        middle = slice(h, n - h), slice(h, m - h)
        for i, j in np.ndindex(3, 3):
            y, x = h * i, h * j
            there = pearson(one[middle], two[y : y + n - 2 * h, x : x + m - 2 * h])
            y, x = 2 * h - y, 2 * h - x
            back = pearson(two[middle], one[y : y + n - 2 * h, x : x + m - 2 * h])
            np.testing.assert_allclose(got[i, j], (there + back) / 2, atol=1e-12)


def test_sums_of_the_largest_digits_are_exact():
    full = np.full((96, 96), 2047, np.float32)
    full[::2] = -2047
    digits = _phase_overlap_loops.digits(full, np.float32(2047))
    assert _phase_overlap_loops.product(digits, digits, 0, 0, 96 * 96) == 96 * 96 * 2047**2
    assert _phase_overlap_loops.lines(digits, 96, 96)[0, 1, 96] == 96 * 96 * 2047**2


@pytest.mark.parametrize(("dy", "dx"), [(0.25, -0.5), (3.5, 1.75), (-4.25, 6.0)])
def test_a_part_of_a_pixel_is_found_on_the_overlap(dy, dx):
    fine = 4  # pixels of the canvas to one of the frame
    canvas = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(500, 500)), 4 * fine)
    first, second = (
        canvas[60 - round(fine * y) :: fine, 60 - round(fine * x) :: fine][:90, :90].astype(np.float32)
        for y, x in ((0, 0), (dy, dx))
    )
    seen = np.zeros((180, 180), np.int8)
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    numbers = _phase_direct_loops.climbed(first, second, dy + 1.2, dx - 0.8, 16, seen, 1)
    np.testing.assert_allclose(numbers[:2], [dy, dx], atol=0.03)
    assert numbers[2] > 0.99
    # what comes to a place from where a maximum was reached is given up
    assert seen.any()
    assert _phase_direct_loops.climbed(first, second, dy, dx, 16, seen, 2)[2] == 0


def test_a_small_frame_of_the_opposite_contrast_is_searched_anew():
    small = Small(pair(40, 44)[0], 2)
    kept = small.searched
    assert small.searched is kept
    assert small.negative().size == 2
    np.testing.assert_array_equal(small.negative().searched.transform, -kept.transform)


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
