"""Polynomials fitted on a grid: what the fit with a row for each value gives, its terms never written out."""

from __future__ import annotations

import numpy as np
import pytest

from stack3d import kernels

SHAPE = (9, 12, 14)
UP_TO_2 = np.array([(c, b, a) for c in range(3) for b in range(3) for a in range(3) if a + b + c <= 2])
APART = np.array([(0, 0, 0), (0, 0, 2), (3, 0, 1)])  # without what lies between


def _axes(shape=SHAPE):
    return [np.linspace(0, 1, n)[:, None] ** np.arange(5) for n in shape]


def _noisy(powers, shape=SHAPE, holes=0.2, seed=0):
    rng = np.random.default_rng(seed)
    truth = 100 * rng.normal(size=len(powers))
    values = (kernels.fit_grid.design(_axes(shape), powers) @ truth).reshape(shape) + rng.standard_t(2, size=shape)
    amounts = rng.integers(1, 5, shape).astype(float)
    values[rng.random(shape) < holes] = np.nan
    amounts[rng.random(shape) < holes] = 0
    return truth, values, amounts


@pytest.mark.parametrize("weights", kernels.fit.WEIGHTS)
@pytest.mark.parametrize(
    ("powers", "shape"), [(UP_TO_2, SHAPE), (APART, SHAPE), (UP_TO_2[UP_TO_2[:, 0] == 0], (1, 12, 14))]
)
def test_the_fit_is_that_of_all_terms_written_out(powers, shape, weights):
    _, values, amounts = _noisy(powers, shape)
    terms = kernels.fit_grid.design(_axes(shape), powers)
    long = kernels.fit.robust(terms, values.ravel(), amounts.ravel(), weights=weights)
    found, surface = kernels.fit_grid.robust(_axes(shape), powers, values, amounts, weights=weights)
    np.testing.assert_allclose(found.coefficients, long.coefficients, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.weights, long.weights, atol=1e-9)
    np.testing.assert_allclose([found.r_squared, found.rmse], [long.r_squared, long.rmse], rtol=1e-9)
    np.testing.assert_allclose(surface.ravel(), terms @ long.coefficients, rtol=1e-9, atol=1e-9)


def test_exact_values_give_the_polynomial_whatever_does_not_belong():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=len(UP_TO_2))
    values = (kernels.fit_grid.design(_axes(), UP_TO_2) @ truth).reshape(SHAPE)
    values[rng.random(SHAPE) < 0.1] += 50
    found, _ = kernels.fit_grid.robust(_axes(), UP_TO_2, values, np.ones(SHAPE), weights="tukey", iterations=100)
    np.testing.assert_allclose(found.coefficients, truth, atol=1e-6)


def test_terms_that_the_values_do_not_tell_apart_are_shared_as_in_the_long_way():
    # One slice says nothing of z, two rows nothing of y squared.
    shape = (1, 2, 14)
    _, values, amounts = _noisy(UP_TO_2, shape, holes=0)
    axes = [np.ones((1, 5)), *_axes(shape)[1:]]
    long = kernels.fit.robust(kernels.fit_grid.design(axes, UP_TO_2), values.ravel(), amounts.ravel())
    found, _ = kernels.fit_grid.robust(axes, UP_TO_2, values, amounts)
    np.testing.assert_allclose(found.coefficients, long.coefficients, rtol=1e-6, atol=1e-6)


def test_too_few_values_give_nothing():
    values = np.full(SHAPE, np.nan)
    values[0, 0, :5] = 1.0
    found, surface = kernels.fit_grid.robust(_axes(), UP_TO_2, values, np.ones(SHAPE))
    assert np.isnan(found.coefficients).all()
    assert np.isnan(surface).all()
    assert found.weights.shape == (values.size,)
