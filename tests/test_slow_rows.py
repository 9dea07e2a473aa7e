"""Slow cosines of columns by blocks of rows, and what rests on them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.fft

from stack3d.kernels import _slow_rows, _stripe_power, wavelet_stripes


@pytest.mark.parametrize("height", [1, 17, 40, 500, 1024, 1031, 2048])
def test_blocks_give_the_products_with_cosines(height):
    frame = np.random.default_rng(0).normal(size=(height, 12)).astype(np.float32)
    count = min(64, height)
    exact = _slow_rows.cosines(height, count).astype(np.float64) @ frame
    found = _slow_rows.project(frame, count)
    # The products are of unit variance.
    np.testing.assert_allclose(found[:24], exact[:24], atol=2e-4)
    np.testing.assert_allclose(found, exact, atol=6e-3)
    few = exact[:23].astype(np.float32)
    whole = _slow_rows.cosines(height, len(few)).T.astype(np.float64) @ few
    np.testing.assert_allclose(_slow_rows.expand(few, height), whole, atol=2e-4 * whole.std() + 1e-6)


def test_blocks_are_taken_where_they_spare_work():
    assert _slow_rows.of_cosines(2048, 64).even.shape[1] <= 2048 / 8
    assert _slow_rows.of_cosines(1024, 64).even.shape[1] <= 1024 / 8
    assert _slow_rows.of_cosines(100, 64).even.shape[1] == 50


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("height", [1, 2, 37, 64, 520, 777])
def test_waves_of_a_damping_are_those_of_the_fourier_and_of_the_cosine_transform(height, periodic):
    frame = np.random.default_rng(1).normal(size=(height, 9))
    slow, damping = _slow_rows.of_damping(height, 3.0, periodic, 1e-5)
    if periodic:
        gain = np.exp(-(np.fft.rfftfreq(height, 1 / height) ** 2) / (2 * 3.0**2))[:, None]
        exact = np.fft.irfft(np.fft.rfft(frame, axis=0) * gain, height, axis=0)
    else:
        gain = np.exp(-((np.arange(height) / 2) ** 2) / (2 * 3.0**2))[:, None]
        exact = scipy.fft.idct(scipy.fft.dct(frame, axis=0) * gain, axis=0)
    compiled = _slow_rows.expand(damping * _slow_rows.project(frame.astype(np.float32), slow), slow)
    np.testing.assert_allclose(compiled, exact, atol=3e-4)
    array = _slow_rows.expand_xp(damping * _slow_rows.project_xp(frame.astype(np.float32), slow), slow)
    np.testing.assert_allclose(array, compiled, atol=2e-5)


@pytest.mark.parametrize("width", [2, 134, 256, 515, 526, 1031])
def test_gains_across_are_those_of_the_cosine_transform_at_any_width(width):
    rng = np.random.default_rng(4)
    rows, gains = rng.normal(size=(7, width)), rng.uniform(size=(1, width))
    exact = scipy.fft.idct(scipy.fft.dct(rows) * gains)
    np.testing.assert_allclose(
        _stripe_power.across(rows.astype(np.float32), gains.astype(np.float32)), exact, atol=1e-5
    )
    array = _stripe_power.across_xp(rows.astype(np.float32), gains.astype(np.float32))
    np.testing.assert_allclose(array, exact, atol=1e-5)


def test_rows_that_are_at_hand_are_measured_alike():
    rng = np.random.default_rng(1)
    frame = (rng.normal(size=(300, 256)) + 0.5 * rng.normal(size=256)).astype(np.float32)
    own, given = _stripe_power.measure(frame), _stripe_power.measure(frame, slow=_stripe_power.slow_rows(frame))
    assert own.ratio.max() > 3
    np.testing.assert_allclose(given.ratio, own.ratio, rtol=1e-4)
    assert given.reach == own.reach


@pytest.mark.parametrize("options", [{}, {"angle": 90.0}, {"wavelet": "haar", "strength": 0.5}])
def test_wavelets_treat_a_batch_as_each_frame(options):
    rng = np.random.default_rng(2)
    shape = (120, 144)
    frames = rng.normal(size=(4, *shape)).astype(np.float32) + np.float32(100)
    lines = rng.normal(size=(4, 1, shape[1])) * np.array([0.0, 1.0, 3.0, 0.5])[:, None, None]
    frames += np.swapaxes(rng.normal(size=(4, 1, shape[0])), 1, 2) if "angle" in options else lines.astype(np.float32)
    plan = wavelet_stripes.plan(shape, **options)
    found = wavelet_stripes.stripes_xp(frames, plan)
    expected = np.stack([wavelet_stripes.stripes(frame, plan) for frame in frames])
    assert expected.std() > 0.2
    np.testing.assert_allclose(found, expected, atol=1e-4)
    frames[1, 5, 7] = np.nan
    holed = wavelet_stripes.stripes_xp(frames, plan)
    np.testing.assert_allclose(holed[[0, 2, 3]], expected[[0, 2, 3]], atol=1e-4)
    assert np.isfinite(holed).all()


def test_buffers_of_a_thread_are_its_own_and_hold_no_result():
    rng = np.random.default_rng(3)
    frames = rng.normal(size=(2, 90, 70)).astype(np.float32) + rng.normal(size=(2, 1, 70)).astype(np.float32)
    plan = wavelet_stripes.plan((90, 70), wavelet="haar", damping=4, shrink=False)
    first = wavelet_stripes.stripes(frames[0], plan)
    kept = first.copy()
    second = wavelet_stripes.stripes(frames[1], plan)
    np.testing.assert_array_equal(first, kept)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda k: wavelet_stripes.stripes(frames[k % 2], plan), range(40)))
    for k, field in enumerate(found):
        np.testing.assert_array_equal(field, second if k % 2 else first)


def test_products_of_large_panels_are_those_of_their_parts():
    rng = np.random.default_rng(0)
    factors, rows = rng.normal(size=(9, 700)).astype(np.float32), rng.normal(size=(700, 300)).astype(np.float32)
    out = np.empty((18, 300), np.float32)
    for some in (factors, factors[:3], factors[:, ::2]):
        part = rows[: some.shape[1]]
        _slow_rows._multiply(some, part, out[: 2 * len(some) : 2])
        np.testing.assert_allclose(out[: 2 * len(some) : 2], some.astype(float) @ part, atol=1e-3)
