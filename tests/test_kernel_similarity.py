"""Similarity of two frames against exact values, theory, and the form in array operations."""

import numpy as np
import pytest

from stack3d.kernels import similarity

DTYPES = ["uint8", "uint16", "int16", "int32", "float32", "float64"]


def frames(dtype="float32", shape=(37, 1101), seed=0):
    rng = np.random.default_rng(seed)
    scene = rng.normal(120, 20, shape)
    a, b = (scene + rng.normal(0, 10, shape) for _ in range(2))
    return (np.rint(frame.clip(0, 250)).astype(dtype) for frame in (a, b))


def holed(frame, seed=1):
    frame = frame.astype(np.float32)
    frame[np.random.default_rng(seed).random(frame.shape) < 0.2] = np.nan
    return frame


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_are_those_of_numpy(dtype):
    a, b = frames(dtype)
    found = similarity.pair_moments(a, b)
    a, b = a.astype(float), b.astype(float)
    assert found.pixels == a.size
    expected = [a.mean(), b.mean(), a.var(), b.var(), np.cov(a.ravel(), b.ravel(), ddof=0)[0, 1], abs(a - b).mean()]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-11)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_compiled_and_array_forms_agree_where_pixels_are_missing(dtype, masked):
    a, b = frames(dtype)
    if dtype == "float32":
        a, b = holed(a, 1), holed(b, 2)
        a[0, 0] = np.inf
    mask = np.random.default_rng(3).random(a.shape) < 0.7 if masked else None
    np.testing.assert_allclose(similarity.pair_moments(a, b, mask), similarity.pair_moments_xp(a, b, mask), rtol=1e-10)
    levels = similarity.levels(a, 40, mask)
    low, high = similarity.statistics.quantiles(a, similarity.RANGE, mask)
    np.testing.assert_array_equal(levels, similarity.levels_xp(a, mask, low, 40 / (high - low), 40))
    use = np.isfinite(a) if mask is None else np.isfinite(a) & mask
    np.testing.assert_array_equal(levels == similarity.MISSING, ~use)


def test_a_far_origin_costs_no_digits():
    a, b = frames("float64")
    near, far = similarity.ncc(a, b), similarity.ncc(a + 1e9, b - 1e9)
    assert far == pytest.approx(near, abs=1e-9)


def test_ncc_of_signal_variance_four_and_noise_one_is_four_fifths():
    rng = np.random.default_rng(4)
    scene = rng.normal(0, 2, (512, 512))
    value = similarity.ncc(scene + rng.normal(size=scene.shape), scene + rng.normal(size=scene.shape))
    assert value == pytest.approx(0.8, abs=0.003)
    assert value / (1 - value) == pytest.approx(4, rel=0.02)


def test_ncc_is_blind_to_gain_and_offset_and_nan_without_contrast():
    a, b = frames()
    assert similarity.ncc(a, 3 * a + 7) == pytest.approx(1, abs=1e-6)
    assert similarity.ncc(a, b) == pytest.approx(similarity.ncc(5 * a - 9, b), abs=1e-6)
    flat = np.full(a.shape, 37001.3, np.float32)
    assert np.isnan(similarity.ncc(a, flat))
    assert np.isnan(similarity.ncc(a, np.full_like(a, np.nan)))


def test_nsad_is_the_published_ratio_above_the_dark_level():
    a, b = frames("float64")
    expected = abs(a - b).mean() / ((a + b).mean() / 2 - (a.min() + b.min()) / 2)
    assert similarity.nsad(a, b, dark=0) == pytest.approx(expected)
    assert similarity.nsad(a, a) == 0


def test_one_dead_pixel_changes_nsad_by_no_more_than_its_share():
    a, b = frames("float64")
    whole = similarity.nsad(a, b)
    a[5, 5] = -1e4
    assert similarity.nsad(a, b) == pytest.approx(whole, rel=0.05)
    assert similarity.nsad(a, b, dark=0) < whole / 5  # the single darkest pixel would rule it


@pytest.mark.parametrize("shape", [(64, 64), (512, 512)])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_nmi_of_independent_frames_is_zero_and_of_equal_ones_one(shape, dtype):
    rng = np.random.default_rng(5)
    values = []
    for _ in range(4):
        a, b = (np.rint(rng.normal(120, 30, shape)).clip(0, 255).astype(dtype) for _ in range(2))
        values.append(similarity.nmi(a, b))
        assert similarity.nmi(a, a) == 1
    assert abs(np.mean(values)) < (3e-3 if shape[0] == 64 else 2e-4)
    bins = similarity.default_bins(a.size)
    plain = uncorrected(similarity.joint_histogram(similarity.levels(a, bins), similarity.levels(b, bins)))
    assert abs(values[-1]) < 0.35 * plain


def uncorrected(counts):
    def entropy(n):
        share = n[n > 0] / n.sum()
        return -(share * np.log(share)).sum()

    return (entropy(counts.sum(0)) + entropy(counts.sum(1))) / entropy(counts.ravel()) - 1


def test_mutual_information_of_correlated_normal_frames_is_that_of_theory():
    rng = np.random.default_rng(6)
    scene = rng.normal(0, 2, (512, 512))
    a, b = (similarity.levels(scene + rng.normal(size=scene.shape), 64) for _ in range(2))
    found = similarity.entropies(similarity.joint_histogram(a, b))
    assert found.a + found.b - found.joint == pytest.approx(-0.5 * np.log(1 - 0.8**2), rel=0.01)


def test_nmi_sees_through_inverted_contrast_and_leaves_missing_pixels_out():
    a, b = frames(shape=(200, 300))
    a, b = holed(a, 1), holed(b, 2)
    assert similarity.nmi(a, 300 - a) == pytest.approx(1, abs=1e-12)
    both = np.isfinite(a) & np.isfinite(b)
    counts = similarity.joint_histogram(similarity.levels(a, 32), similarity.levels(b, 32))
    assert counts.sum() == both.sum()
    assert np.isnan(similarity.nmi(a, np.zeros_like(a)))


def test_joint_histogram_counts_what_numpy_counts():
    rng = np.random.default_rng(7)
    a, b = rng.integers(0, 256, (2, 31, 33)).astype(np.uint8)
    keep = (a < 255) & (b < 255)
    expected, *_ = np.histogram2d(a[keep], b[keep], bins=[np.arange(256) - 0.5] * 2)
    np.testing.assert_array_equal(similarity.joint_histogram(a, b), expected)


def test_a_frame_mostly_of_one_value_is_cut_over_its_whole_range():
    frame = np.zeros((100, 100), np.float32)
    frame[0, :3] = [1, 2, 4]
    assert similarity.levels(frame, 4)[0, :4].tolist() == [1, 2, 3, 0]


def test_frames_of_other_shapes_and_bins_out_of_range_are_refused():
    with pytest.raises(ValueError, match="alike"):
        similarity.ncc(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="bins=255"):
        similarity.levels(np.zeros((3, 4)), 255)
