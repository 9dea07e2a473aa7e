"""Displacement of two frames: truth from textures moved exactly in the Fourier plane of a larger periodic canvas."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack3d.kernels import _phase_arrays, _phase_fit, _phase_loops, phase
from stack3d.kernels._phase_plan import tables_of


class Canvas:
    """A random periodic texture with a falling spectrum, shown through a window of the wanted shape."""

    def __init__(self, shape, seed=0, margin=64, slope=1.3, cutoff=0.2):
        self.shape = shape
        self.size = tuple(n + margin for n in shape)
        self.rng = np.random.default_rng(seed)
        self.ky = np.fft.fftfreq(self.size[0])[:, None]
        self.kx = np.fft.rfftfreq(self.size[1])[None, :]
        k = np.hypot(self.ky, self.kx)
        self.filter = np.exp(-((k / cutoff) ** 2)) / (k + 0.01) ** slope
        self.texture = np.fft.rfft2(self.rng.standard_normal(self.size)) * self.filter
        self.scale = np.fft.irfft2(self.texture, self.size).std()

    def frame(self, dy=0.0, dx=0.0, noise=0.0):
        turn = np.exp(-2j * np.pi * (self.ky * dy + self.kx * dx))
        moved = np.fft.irfft2(self.texture * turn, self.size) / self.scale
        shown = moved[: self.shape[0], : self.shape[1]]
        return shown + noise * self.rng.standard_normal(self.shape)


def find(first, second, plan=None, **options):
    plan = plan or phase.plan(first.shape)
    return phase.pair_shift(phase.spectrum(first, plan), phase.spectrum(second, plan), plan, **options)


@pytest.fixture(scope="module")
def canvas():
    return Canvas((256, 256))


@settings(max_examples=25, deadline=None)
@given(st.floats(-20, 20), st.floats(-20, 20))
def test_any_displacement_of_the_same_content_is_found(canvas, dy, dx):
    found = find(canvas.frame(), canvas.frame(dy, dx))
    assert found.extra.refused == ""
    assert abs(found.dy - dy) < 0.05
    assert abs(found.dx - dx) < 0.05


def test_small_displacements_are_found_to_a_hundredth_of_a_pixel(canvas):
    for dy, dx in ((0.3, 0.2), (-1.37, 2.61), (0.0, 0.0), (3.5, -0.5)):
        found = find(canvas.frame(), canvas.frame(dy, dx))
        assert abs(found.dy - dy) < 0.01
        assert abs(found.dx - dx) < 0.01


def test_frames_of_a_hundred_pixels_displacement_are_found():
    canvas = Canvas((300, 420), margin=200)
    found = find(canvas.frame(), canvas.frame(-90.4, 120.3))
    assert abs(found.dy + 90.4) < 0.2
    assert abs(found.dx - 120.3) < 0.2


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
def test_binning_does_not_change_where_things_are(canvas, binning):
    plan = phase.plan(canvas.shape, binning=binning)
    found = find(canvas.frame(), canvas.frame(2.4, -3.3), plan)
    assert abs(found.dy - 2.4) < 0.02 * binning
    assert abs(found.dx + 3.3) < 0.02 * binning


def test_gain_and_offset_do_not_matter(canvas):
    first, second = canvas.frame(), canvas.frame(1.3, -2.2)
    plain = find(first, second)
    for gain, offset in ((1e-6, 0), (30, 1e6), (1e20, -1e21)):
        found = find(first * gain + offset, second * (gain * 0.7) - offset)
        assert abs(found.dy - plain.dy) < 2e-3
        assert abs(found.dx - plain.dx) < 2e-3


@pytest.mark.parametrize(
    ("dtype", "gain", "offset"),
    [
        ("uint8", 30, 128),
        ("int8", 25, 0),
        ("uint16", 5000, 30000),
        ("int16", 5000, 0),
        ("uint32", 1e8, 2e9),
        ("int64", 1e8, -5e9),
        ("float32", 1, 0),
        ("float16", 1, 0),
        (">u2", 5000, 30000),
        ("bool", 1, 0),
    ],
)
def test_any_dtype_will_do(canvas, dtype, gain, offset):
    first, second = (np.rint(frame * gain + offset) if gain > 1 else frame for frame in
                     (canvas.frame(), canvas.frame(1.3, -2.2)))  # fmt: skip
    if dtype == "bool":
        first, second = first > 0, second > 0
    found = find(first.clip(*limits_of(dtype)).astype(dtype), second.clip(*limits_of(dtype)).astype(dtype))
    assert abs(found.dy - 1.3) < 0.05
    assert abs(found.dx + 2.2) < 0.05


def limits_of(dtype):
    dtype = np.dtype(dtype)
    return (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-np.inf, np.inf)


@pytest.mark.parametrize("shape", [(200, 331), (97, 256), (64, 64), (500, 40)])
def test_frames_need_not_be_square(shape):
    canvas = Canvas(shape, seed=2)
    found = find(canvas.frame(noise=0.2), canvas.frame(1.6, -2.3, noise=0.2))
    assert found.extra.refused == ""
    assert abs(found.dy - 1.6) < max(0.15, 6 * found.extra.error_y)
    assert abs(found.dx + 2.3) < max(0.15, 6 * found.extra.error_x)
    assert max(found.extra.error_y, found.extra.error_x) < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 300), (8, 8), (16, 16), (7, 9), (17, 33)])
def test_the_smallest_frames_give_a_displacement_or_a_refusal(shape):
    rng = np.random.default_rng(0)
    for first, second in ((rng.random(shape),) * 2, (rng.random(shape), rng.random(shape)), (np.zeros(shape),) * 2):
        found = find(first, second)
        assert np.isfinite([found.dy, found.dx, found.quality, found.extra.weight]).all()
        assert (found.extra.weight == 0) == bool(found.extra.refused)
        if found.extra.weight > 0:
            assert first is second
            assert abs(found.dy) + abs(found.dx) < 0.2


def test_sixteen_pixels_a_side_are_enough_for_a_clear_texture():
    frame = np.random.default_rng(1).random((16, 16))
    found = find(frame, frame)
    assert found.extra.refused == ""
    assert (abs(found.dy), abs(found.dx)) < (0.02, 0.02)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("level", [0, 65535, 0.1, np.nan, np.inf, 1e30])
def test_blank_frames_are_flagged(dtype, level):
    if dtype == "uint16":
        level = np.clip(np.nan_to_num(level), 0, 65535)
    blank = np.full((64, 64), level, dtype)
    plan = phase.plan((64, 64))
    empty = phase.spectrum(blank, plan)
    assert not empty.usable
    assert (empty.coefficients == 0).all()
    full = phase.spectrum(np.random.default_rng(0).random((64, 64)), plan)
    assert full.usable
    for pair, which in (((empty, full), "first"), ((full, empty), "second"), ((empty, empty), "first")):
        found = phase.pair_shift(*pair, plan)
        assert found[:3] == (0.0, 0.0, 0.0)
        assert found.extra.weight == 0
        assert which in found.extra.refused


def test_unrelated_frames_are_refused():
    plan = phase.plan((128, 128))
    rng = np.random.default_rng(3)
    spectra = [phase.spectrum(rng.standard_normal((128, 128)), plan) for _ in range(12)]
    textures = [phase.spectrum(Canvas((128, 128), seed=seed).frame(), plan) for seed in range(12)]
    for some in (spectra, textures):
        weights = [phase.pair_shift(some[i], some[j], plan).extra.weight for i in range(12) for j in range(i)]
        assert np.count_nonzero(weights) == 0


def test_two_bands_that_disagree_are_refused(canvas):
    other = Canvas((256, 256), seed=9)
    k = np.hypot(canvas.ky, canvas.kx)
    low = np.exp(-((k / 0.12) ** 4))
    slow, fine = canvas.texture.copy(), other.texture.copy()

    def mixed(d_slow, d_fine):
        canvas.texture, other.texture = slow * low, fine * (1 - low)
        frame = canvas.frame(*d_slow) + other.frame(*d_fine)
        canvas.texture, other.texture = slow, fine
        return frame

    assert find(mixed((0, 0), (0, 0)), mixed((2, 1), (2, 1))).extra.refused == ""
    found = find(mixed((0, 0), (0, 0)), mixed((0, 0), (0.9, 0.9)))
    assert found.extra.weight == 0
    assert found.extra.refused == "two bands of the spectrum disagree"


def test_missing_pixels_are_filled_and_do_not_hold_the_frame_back(canvas):
    first, second = canvas.frame(), canvas.frame(4.3, -3.6)
    hole = np.zeros(first.shape, bool)
    hole[60:130, 90:160] = True
    hole |= np.random.default_rng(0).random(hole.shape) < 0.05
    found = find(np.where(hole, np.nan, first), np.where(hole, np.inf, second))
    assert abs(found.dy - 4.3) < 0.03
    assert abs(found.dx + 3.6) < 0.03


def test_a_few_wild_pixels_do_not_matter(canvas):
    first, second = canvas.frame(), canvas.frame(4.3, -3.6)
    for y, x in ((10, 20), (100, 200), (130, 60)):
        first[y : y + 2, x] = second[y : y + 2, x] = 500.0
    found = find(first, second)
    assert abs(found.dy - 4.3) < 0.05
    assert abs(found.dx + 3.6) < 0.05


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("length", [60, 10_000])
def test_stripes_fixed_to_the_frame_do_not_hold_it_back(axis, length):
    canvas = Canvas((384, 384), seed=5)
    k = np.fft.fftfreq(384)[:, None]
    spread = np.exp(-2 * (np.pi * k * length) ** 2)
    stripes = np.fft.ifft(np.fft.fft(canvas.rng.standard_normal((384, 384)), axis=0) * spread, axis=0).real
    stripes *= 1.5 / stripes.std()
    stripes = stripes if axis == 0 else stripes.T
    found = find(canvas.frame(noise=0.3) + stripes, canvas.frame(0.8, -0.9, noise=0.3) + stripes)
    assert abs(found.dy - 0.8) < 0.1
    assert abs(found.dx + 0.9) < 0.1


def test_standard_errors_are_those_met():
    canvas = Canvas((192, 192), seed=7)
    ratios = []
    for _ in range(30):
        dy, dx = canvas.rng.uniform(-2, 2, 2)
        found = find(canvas.frame(noise=1.5), canvas.frame(dy, dx, noise=1.5))
        ratios += [(found.dy - dy) / found.extra.error_y, (found.dx - dx) / found.extra.error_x]
    assert 0.6 < np.sqrt(np.mean(np.square(ratios))) < 1.6


def test_quality_falls_with_noise(canvas):
    qualities = [find(canvas.frame(noise=n), canvas.frame(1, 1, noise=n)).quality for n in (0, 0.5, 1, 2, 4)]
    assert qualities == sorted(qualities, reverse=True)
    assert qualities[0] > 0.9
    assert qualities[-1] < 0.3


def test_a_guess_picks_the_repetition_of_a_periodic_structure():
    canvas = Canvas((256, 256), seed=4)
    y, x = np.mgrid[:256, :256]

    def lattice(dy, dx):
        near = [np.exp(-(((y - dy) % 24 - 12) ** 2 + ((x - dx) % 24 - 12) ** 2) / 2)]
        return near[0] + 0.05 * canvas.rng.standard_normal((256, 256))

    first, second = lattice(0, 0), lattice(1.5, -0.5)
    for guess in ((1, 0), (25, 0), (1, -25)):
        found = find(first, second, guess=guess)
        wanted = np.array([1.5, -0.5]) + 24 * np.rint((np.array(guess) - [1.5, -0.5]) / 24)
        np.testing.assert_allclose(found[:2], wanted, atol=0.05)


def test_a_wrong_guess_is_mended_by_the_full_search(canvas):
    found = find(canvas.frame(), canvas.frame(12.4, -7.3), guess=(-40.0, 33.0))
    assert abs(found.dy - 12.4) < 0.02
    assert abs(found.dx + 7.3) < 0.02


def test_exchanging_the_frames_turns_the_sign(canvas):
    first, second = canvas.frame(noise=0.5), canvas.frame(3.3, -1.2, noise=0.5)
    one, other = find(first, second), find(second, first)
    np.testing.assert_allclose(one[:2], -np.array(other[:2]), atol=2e-3)


def test_results_repeat_to_the_bit_and_frames_are_left_alone(canvas):
    first, second = canvas.frame(noise=0.5), canvas.frame(3.3, -1.2, noise=0.5)
    for dtype in ("float32", "float64", "uint16"):
        one, other = ((frame * 5000 + 30000).astype(dtype) for frame in (first, second))
        before = one.copy()
        results = [find(one, other) for _ in range(3)]
        np.testing.assert_array_equal(one, before)
        assert results[0][:3] == results[1][:3] == results[2][:3]


@pytest.mark.parametrize("shape", [(256, 256), (90, 131), (16, 16)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_the_compiled_form_equals_the_array_form(shape, dtype):
    canvas = Canvas(shape, seed=6)
    frames = [(canvas.frame(*d, noise=0.2) * 4000 + 30000).astype(dtype) for d in ((0, 0), (1.4, -2.7))]
    plan = phase.plan(shape)
    compiled = [phase.spectrum(frame, plan) for frame in frames]
    arrays = [phase.spectrum_xp(frame, plan) for frame in frames]
    for one, other in zip(compiled, arrays):
        np.testing.assert_allclose(one.coefficients, other.coefficients, atol=2e-3)
        np.testing.assert_allclose(one.power, other.power, rtol=1e-3)
        assert one.usable == other.usable
    found, truth = phase.pair_shift(*compiled, plan), phase.pair_shift_xp(*arrays, plan)
    np.testing.assert_allclose(found[:3], truth[:3], atol=1e-3)
    assert found.extra.refused == truth.extra.refused
    np.testing.assert_allclose(found.extra.weight, truth.extra.weight, rtol=1e-2)


def test_gradient_and_hessian_are_those_of_the_objective(canvas):
    plan = phase.plan(canvas.shape)
    one, other = (phase.spectrum(frame, plan) for frame in (canvas.frame(), canvas.frame(1, 2)))
    tables = tables_of(plan)
    sums = _phase_arrays.PairSums(one, other, tables, np)
    step = 1e-3
    value = {(i, j): sums.moments(0.7 + i * step, 1.8 + j * step)[0] for i in (-1, 0, 1) for j in (-1, 0, 1)}
    gradient = [(value[1, 0] - value[-1, 0]) / (2 * step), (value[0, 1] - value[0, -1]) / (2 * step)]
    bend = [value[1, 0] + value[-1, 0] - 2 * value[0, 0], value[0, 1] + value[0, -1] - 2 * value[0, 0]]
    mixed = (value[1, 1] - value[1, -1] - value[-1, 1] + value[-1, -1]) / 4
    found = sums.moments(0.7, 1.8)
    np.testing.assert_allclose(found[1:3], gradient, rtol=1e-4)
    np.testing.assert_allclose(found[3:], np.array([bend[0], mixed, bend[1]]) / step**2, rtol=1e-3)
    machine = _phase_fit.CompiledSums(one, other, tables)
    machine.weigh(np.ones(tables.counts.size))
    np.testing.assert_allclose(machine.moments(0.7, 1.8), found, rtol=1e-4)


def test_plans_are_small_and_travel():
    plan = phase.plan((2048, 2048))
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert len(pickle.dumps(plan)) < 1000
    kept = phase.spectrum(np.random.default_rng(0).integers(0, 99, (2048, 2048)).astype("uint16"), plan)
    assert kept.coefficients.nbytes < 500_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binning": 0}, "binning must be"),
        ({"band": (0.3, 0.1)}, "band must be"),
        ({"window": 1.5}, "window must be"),
        ({"exclude_axes": -1}, "exclude_axes must"),
    ],
)
def test_wrong_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        phase.plan((64, 64), **options)


def test_wrong_frames_are_refused():
    plan = phase.plan((64, 64))
    with pytest.raises(ValueError, match="shape"):
        phase.spectrum(np.zeros((64, 65)), plan)
    with pytest.raises(TypeError, match="complex128"):
        phase.spectrum(np.zeros((64, 64), complex), plan)
    with pytest.raises(ValueError, match="shape must be"):
        phase.plan((4, 64, 64))


def test_parts_of_the_band_summed_in_one_pass_are_those_summed_alone(canvas):
    plan = phase.plan(canvas.shape)
    one, other = (phase.spectrum(frame, plan) for frame in (canvas.frame(), canvas.frame(1, 2)))
    t = tables_of(plan)
    sums = _phase_arrays.PairSums(one, other, t, np)
    cut = t.rings // 2
    ends = t.reach[::2, [0, cut, t.rings]]
    machine = _phase_fit.CompiledSums(one, other, t)
    weights = np.stack([t.ring < cut, t.ring >= cut]).astype(np.float32)
    geometry = (t.cell, ends, t.start, t.first, t.signed, *t.step, t.columns)
    found = _phase_loops.moments_of_parts(machine.cross, weights, *geometry, 0.7, 1.8)
    for part, inside in enumerate((t.ring < cut, t.ring >= cut)):
        sums.weigh(inside.astype(float))
        np.testing.assert_allclose(found[part], sums.moments(0.7, 1.8), rtol=1e-3)
