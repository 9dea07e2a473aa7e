"""Ring and shell sums against plain Fourier transforms, thresholds against the published figures."""

import itertools

import numpy as np
import pytest

from stack3d.kernels import criteria, rings, shells, spectrum


def half_plane(shape, seed=0):
    frame = np.random.default_rng(seed).normal(size=shape)
    return np.fft.rfft2(frame).astype(np.complex64), np.fft.fft2(frame)


@pytest.mark.parametrize("shape", [(24, 24), (24, 40), (25, 31), (30, 17)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (5.0, 2.5)])
def test_ring_sums_are_those_of_the_whole_plane(shape, spacing):
    (a, whole_a), (b, whole_b) = half_plane(shape, 0), half_plane(shape, 1)
    plan = rings.rings(shape, spacing)
    frequency = np.hypot(np.fft.fftfreq(shape[0], spacing[0])[:, None], np.fft.fftfreq(shape[1], spacing[1])[None])
    step = max(1 / (n * d) for n, d in zip(shape, spacing, strict=True))
    ring = np.floor(frequency / step + 0.5)
    inside = [ring == k + 1 for k in range(plan.frequency.size)]
    np.testing.assert_allclose(plan.frequency, step * np.arange(1, plan.frequency.size + 1))
    assert plan.frequency[-1] <= min(0.5 / d for d in spacing) * (1 + 1e-9)
    np.testing.assert_array_equal(plan.number, [part.sum() for part in inside])
    expected = [(whole_a * whole_b.conj()).real[part].sum() for part in inside]
    for form in (rings.cross_sums, rings.cross_sums_xp):
        np.testing.assert_allclose(form(a, b, plan), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        rings.power_sums(a, plan), [(abs(whole_a) ** 2)[part].sum() for part in inside], rtol=1e-5
    )


def test_sectors_share_the_rings_and_follow_the_direction_on_the_screen():
    plan = rings.rings((64, 64), (1.0, 1.0), 4)
    whole = rings.rings((64, 64), (1.0, 1.0))
    np.testing.assert_array_equal(plan.number.reshape(-1, 4).sum(axis=1), whole.number)
    y, x = np.mgrid[:64, :64]
    for sector, wave in enumerate([x, x - y, y, x + y]):  # y runs down: 45 degrees is up and to the right
        half = np.fft.rfft2(np.cos(2 * np.pi * 8 * wave / 64)).astype(np.complex64)
        power = rings.power_sums(half, plan).reshape(-1, 4).sum(axis=0)
        assert power[sector] > 0.999 * power.sum()


def test_rings_of_pixels_that_are_not_square_are_round_in_physical_frequency():
    plan = rings.rings((50, 200), (4.0, 1.0))
    y, x = np.fft.fftfreq(50, 4.0), np.fft.rfftfreq(200, 1.0)
    frequency = np.hypot(y[:, None], x[None])
    for k in (3, 10, 20):
        assert abs(frequency[plan.place == k] - plan.frequency[k]).max() <= plan.frequency[0] / 2 * (1 + 1e-9)


@pytest.mark.parametrize("shape", [(24, 20), (26, 34), (32, 32)])
def test_splitting_a_spectrum_is_splitting_the_pixels(shape):
    frame = np.random.default_rng(2).normal(size=shape)
    rows, columns = shape[0] // 2, shape[1] // 2
    plan = rings.rings((rows, columns), (2.0, 2.0), 2)
    half = np.fft.rfft2(frame).astype(np.complex64)
    y, x = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]
    # Each sub-image, put back by the phase of its shift.
    subs = [np.fft.rfft2(frame[i::2, j::2]) * np.exp(-1j * np.pi * (i * y + j * x)) for i in (0, 1) for j in (0, 1)]
    pairs = sum(rings.cross_sums(subs[i], subs[j], plan) for i in range(4) for j in range(i))
    for form in (rings.split_sums, rings.split_sums_xp):
        power, floor = form(half, plan)
        np.testing.assert_allclose(3 / 8 * (power - floor), pairs, atol=1e-4 * abs(pairs).max())


def test_correlation_of_noise_spreads_as_the_number_of_independent_coefficients_says():
    frames = [np.random.default_rng(k).normal(size=(256, 256)).astype(np.float32) for k in range(24)]
    plan, sub = rings.rings((256, 256), (1.0, 1.0)), rings.rings((128, 128), (2.0, 2.0))
    for taper in (0.0, 0.25, 1.0):
        halves = [spectrum.spectrum(frame, taper=taper).half for frame in frames]
        pairs = [
            rings.cross_sums(a, b, plan) / np.sqrt(rings.power_sums(a, plan) * rings.power_sums(b, plan))
            for a, b in itertools.pairwise(halves)
        ]
        share = rings.independent_share((256, 256), taper)
        spread = np.mean((np.array(pairs) * np.sqrt(plan.number * share))[:, 10:] ** 2)
        assert spread == pytest.approx(1, rel=0.15)  # the share of a narrow ring is that of theory to some 10 %
        sums = np.array([rings.split_sums(half, sub) for half in halves])
        split = (sums[:, 0] - sums[:, 1]) / sums[:, 0]
        spread = np.mean((split * np.sqrt(sub.number * share * 3 / 8))[:, 10:] ** 2)
        assert spread == pytest.approx(1, rel=0.2)


def test_thresholds_are_the_published_ones():
    n = 2 * np.pi * np.arange(1, 6)
    np.testing.assert_allclose(criteria.threshold("half-bit", n), [0.617, 0.510, 0.457, 0.424, 0.400], atol=6e-4)
    root = np.sqrt(n)
    np.testing.assert_allclose(
        criteria.threshold("half-bit", n), (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root), atol=1e-4
    )
    np.testing.assert_allclose(criteria.threshold("1-bit", n), (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root), atol=1e-4)
    np.testing.assert_allclose(criteria.threshold("3-sigma", n), 3 / np.sqrt(n / 2))
    np.testing.assert_allclose(criteria.threshold("1/7", n), 1 / 7)
    np.testing.assert_allclose(criteria.threshold(0.5, n), 0.5)


def test_a_crossing_is_found_between_rings_or_not_at_all():
    frequency, many = np.arange(1.0, 7.0), np.full(6, 100.0)
    falling = np.array([1.0, 0.9, 0.7, 0.3, 0.0, 0.0])
    limit = np.full(6, 0.5)
    assert criteria.crossing(falling, limit, frequency, many) == pytest.approx(3.5)
    assert np.isnan(criteria.crossing(np.ones(6), limit, frequency, many))
    assert np.isnan(criteria.crossing(np.zeros(6), limit, frequency, many))
    assert np.isnan(criteria.crossing(falling * np.nan, limit, frequency, many))
    few_first = np.array([2.0, 9.0, 20.0, 30.0, 40.0, 50.0])
    falling[0] = 0.0  # in a ring of two coefficients, which says nothing
    assert criteria.crossing(falling, limit, frequency, few_first) == pytest.approx(3.5)


@pytest.mark.parametrize("shape", [(6, 24, 24), (5, 16, 21)])
@pytest.mark.parametrize("parts", [1, 3])
def test_shell_sums_are_those_of_the_whole_space(shape, parts):
    rng = np.random.default_rng(3)
    volumes = rng.normal(size=(2, *shape))
    spacing, offset = (20.0, 5.0, 5.0), 7.0
    whole = [np.fft.fftn(volume) for volume in volumes]
    z, y, x = np.meshgrid(*(np.fft.fftfreq(n, d) for n, d in zip(shape, spacing, strict=True)), indexing="ij")
    frequency = rings.ring_frequencies(shape[1:], spacing[1:])
    shell = np.floor(np.sqrt(x**2 + y**2 + z**2) / frequency[0] + 0.5) - 1
    part = np.minimum(np.degrees(np.arctan2(abs(z), np.hypot(x, y))) // (90 / parts), parts - 1)
    if shape[0] % 2 == 0:
        shell[shape[0] // 2] = -1  # at the Nyquist frequency of z a shift has no sign
    cross = (np.exp(2j * np.pi * z * offset) * whole[0] * whole[1].conj()).real
    terms = (cross, abs(whole[0]) ** 2, abs(whole[1]) ** 2, np.ones(shape))
    expected = [
        [[term[(shell == s) & (part == p)].sum() for p in range(parts)] for s in range(frequency.size)]
        for term in terms
    ]
    halves = [np.fft.rfftn(volume).astype(np.complex64) for volume in volumes]
    for form in (shells.shell_sums, shells.shell_sums_xp):
        found = form(*halves, shape[2], spacing, parts=parts, offset=offset)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2.0)
