"""Transforms from matched points: exact where the points are, the same where many are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from stack3d.kernels import _groups as groups
from stack3d.kernels import consensus

SHAPE = (200, 260)
MODELS = list(consensus.SAMPLE)


def points(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, 2)) * (SHAPE[1], SHAPE[0])


def matrix_of(model, aspect=1.0, seed=1):
    size = np.random.default_rng(seed).normal(0, 4, groups.generators(model).shape[1])
    centre = np.array([SHAPE[1] - 1, SHAPE[0] - 1]) / 2
    return groups.moved(groups.matrices(size, model, 120.0, aspect), -centre)


def moved(places, matrix):
    return places @ matrix[:2, :2].T + matrix[:2, 2]


@pytest.mark.parametrize("aspect", [1.0, 1.4])
@pytest.mark.parametrize("model", MODELS)
def test_exact_points_give_the_exact_transform_from_the_smallest_sample(model, aspect):
    matrix = matrix_of(model, aspect)
    for count in (consensus.SAMPLE[model], 30):
        places = points(count)
        np.testing.assert_allclose(
            consensus.fit(places, moved(places, matrix), model, aspect=aspect), matrix, atol=1e-7
        )


@pytest.mark.parametrize("model", MODELS)
def test_half_of_the_matches_may_be_wrong(model):
    matrix, places, rng = matrix_of(model), points(120), np.random.default_rng(2)
    others = moved(places, matrix) + rng.normal(0, 0.3, (120, 2))
    wrong = np.arange(120) % 2 == 0
    others[wrong] = points(60, seed=4)
    found = consensus.agreement(places, others, SHAPE, model, 2.0)
    assert found.agree[~wrong].mean() > 0.95
    assert found.agree[wrong].mean() < 0.05
    corners = np.array([[x, y, 1.0] for x in (0, SHAPE[1] - 1) for y in (0, SHAPE[0] - 1)]).T
    off = ((found.matrix - matrix) @ corners)[:2]
    # Its own error bars hold.
    assert np.sqrt(np.mean(off**2)) < 3 * np.sqrt(found.corner)
    assert found.variance <= found.corner < 0.3**2
    again = consensus.agreement(places, others, SHAPE, model, 2.0)
    np.testing.assert_array_equal(again.matrix, found.matrix)


def test_the_error_bars_are_those_of_repeated_trials():
    places, errors, stated = points(50), [], []
    corners = np.array([[x, y, 1.0] for x in (0, SHAPE[1] - 1) for y in (0, SHAPE[0] - 1)]).T
    for seed in range(60):
        others = places + np.random.default_rng(seed).normal(0, 0.4, (50, 2))
        found = consensus.agreement(places, others, SHAPE, "affine", 5.0)
        errors.append(np.mean((((found.matrix - np.eye(3)) @ corners)[:2]) ** 2))
        stated.append(found.corner)
    assert 0.7 < np.mean(errors) / np.mean(stated) < 1.4


@pytest.mark.parametrize("count", [30, 3000])
def test_regularisation_draws_by_the_stated_share_whatever_the_number_of_points(count):
    matrix, places = np.array([[1.04, 0.0, 3.0], [0.02, 1.0, 1.0], [0, 0, 1]]), points(count)
    square = tuple(places.var(axis=0))
    target = (1.0, 0.01, 0.0, 0.98)
    # Coordinates without correlation: only then is the share exact.
    places[:, 1] -= places[:, 0] * np.cov(places.T)[0, 1] / places[:, 0].var(ddof=1)
    square = tuple(places.var(axis=0))
    found = consensus.fit(places, moved(places, matrix), "affine", strength=0.25, target=target, square=square)
    expected = (matrix[:2, :2] + 0.25 * np.reshape(target, (2, 2))) / 1.25
    np.testing.assert_allclose(found[:2, :2], expected, atol=1e-9)
    middle = places.mean(axis=0)
    np.testing.assert_allclose(moved(middle[None], found), moved(middle[None], matrix), atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_points_that_determine_nothing_give_no_agreement_that_is_trusted(model, count):
    same = np.full((count, 2), 7.0)
    found = consensus.agreement(same, same, SHAPE, model, 1.0)
    assert np.isfinite(found.matrix).all()
    assert model == "translation" or not np.isfinite(found.corner)
