"""Affine transforms between frames whose truth is known exactly, and the poses of a stack from them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

import stack3d
from stack3d.kernels import _groups as groups
from stack3d.kernels import affine, solve

MODELS = ["translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine"]
SHAPE = (200, 240)


class Waves:
    """A texture of plane waves, known everywhere."""

    def __init__(self, seed, number=120, finest=0.16):
        rng = np.random.default_rng(seed)
        frequency, angle = finest * np.sqrt(rng.uniform(0.003, 1, number)), rng.uniform(0, np.pi, number)
        self.k = 2 * np.pi * frequency * np.stack([np.cos(angle), np.sin(angle)])
        self.phase = rng.uniform(0, 2 * np.pi, number)
        self.amplitude = (frequency + 0.01) ** -0.8
        self.amplitude /= np.sqrt((self.amplitude**2).sum() / 2)

    def frame(self, matrix, shape=SHAPE):
        """What a frame shows whose content was moved by the matrix."""
        # A plane wave moved by an affine transform is one again: a function of y times one of x.
        back = np.linalg.inv(matrix)
        ky, kx = back[1, 1] * self.k[1] + back[0, 1] * self.k[0], back[0, 0] * self.k[0] + back[1, 0] * self.k[1]
        phase = self.phase + self.k[0] * back[0, 2] + self.k[1] * back[1, 2]
        along_y = self.amplitude * np.exp(1j * (np.multiply.outer(np.arange(shape[0]), ky) + phase))
        return (along_y @ np.exp(1j * np.multiply.outer(kx, np.arange(shape[1])))).real


def centre_of(shape):
    return np.array([shape[1] - 1, shape[0] - 1]) / 2


def about(linear, shift, shape=SHAPE):
    matrix, centre = np.eye(3), centre_of(shape)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + shift - np.asarray(linear) @ centre
    return matrix


def turn(degrees):
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def corner_error(found, truth, shape=SHAPE):
    height, width = shape
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]).T
    return np.abs(((found - truth) @ corners)[..., :2, :]).max()


def compare(first, second, model, **options):
    plan = affine.plan(first.shape, model)
    return affine.pair(affine.prepare(first, plan), affine.prepare(second, plan), plan, **options)


LINEAR = {
    "translation": np.eye(2),
    "rigid": turn(1.2),
    "similarity": turn(-0.7) * 1.008,
    "x_scale_shift": np.diag([1.012, 1.0]),
    "scale_shift": np.diag([0.99, 1.007]),
    "affine": turn(0.8) @ [[1.006, 0.009], [-0.004, 0.992]],
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_noiseless_frames_are_matched_to_a_fiftieth_of_a_pixel(model, dtype):
    waves, matrix = Waves(1), about(LINEAR[model], (4.3, -2.6))
    first, second = waves.frame(np.eye(3)), waves.frame(matrix)
    if dtype == "uint8":
        first, second = np.rint(120 + 30 * first), np.rint(130 + 25 * second)
    else:
        first, second = np.rint(30000 + 5000 * first), np.rint(20000 + 6000 * second)
    found = compare(first.astype(dtype), second.astype(dtype), model)
    assert found.refused == ""
    assert corner_error(found.matrix, matrix) < 0.02
    # what the model does not have stays as it is
    entries = groups.parameters(groups.moved(found.matrix, centre_of(SHAPE)), "affine", 1.0)
    columns = groups.generators(model)
    np.testing.assert_allclose(columns @ np.linalg.pinv(columns) @ _entries(entries), _entries(entries), atol=1e-9)


def _entries(values):
    return groups.generators("affine") @ values


def test_a_big_frame_is_binned_and_matched_in_its_own_pixels():
    shape = (900, 1000)
    waves, matrix = Waves(2, 250), about(LINEAR["affine"], (-7.3, 5.1), shape)
    found = compare(waves.frame(np.eye(3), shape), waves.frame(matrix, shape), "affine")
    assert affine.plan(shape).spectrum.binning == 2
    assert corner_error(found.matrix, matrix, shape) < 0.02


@pytest.mark.parametrize(("degrees", "shift"), [(5, (3, 9)), (-8, (0, 0)), (2, (30, -40)), (0, (0, -70))])
def test_far_displacements_are_found_without_a_guess(degrees, shift):
    waves, matrix = Waves(3), about(turn(degrees), shift)
    found = compare(waves.frame(np.eye(3)), waves.frame(matrix), "rigid")
    assert found.refused == ""
    assert corner_error(found.matrix, matrix) < 0.1


def test_a_guess_leads_where_the_search_does_not():
    waves, matrix = Waves(4), about(turn(25), (5, 2))
    first, second = waves.frame(np.eye(3)), waves.frame(matrix)
    near = about(turn(24), (4, 4))
    assert corner_error(compare(first, second, "rigid", guess=near).matrix, matrix) < 0.05


def test_noise_stripes_gain_and_background_cost_little():
    errors, turns, expected = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        waves, matrix = Waves(10 + seed), about(turn(rng.uniform(-1, 1)), rng.uniform(-4, 4, 2))
        frames = []
        for truth in (np.eye(3), matrix):
            stripes = rng.standard_normal(SHAPE[1]) * (rng.random(SHAPE[1]) < 0.3)
            frame = waves.frame(truth) * rng.uniform(0.8, 1.2) + 0.5 * rng.standard_normal(SHAPE)
            frame += stripes + np.linspace(0, 3, SHAPE[0])[:, None] * rng.standard_normal()
            frames.append(np.rint(128 + 20 * frame).clip(0, 255).astype("uint8"))
        found = compare(*frames, "rigid")
        assert found.refused == ""
        errors.append(corner_error(found.matrix, matrix))
        turns.append(np.rad2deg((found.matrix - matrix)[1, 0]))
        expected.append(found.error)
    assert np.abs(turns).max() < 0.02
    assert np.sqrt(np.mean(np.square(turns))) < 0.01
    assert max(errors) < 0.1
    assert 0.2 < np.mean(errors) / np.mean(expected) < 4


def test_holes_and_spots_do_not_pull():
    waves, matrix = Waves(5), about(LINEAR["similarity"], (2.2, 3.1))
    first, second = waves.frame(np.eye(3)), waves.frame(matrix)
    second[60:90, 100:140] = 40.0
    first[20:50, 30:50] = np.nan
    found = compare(first, second, "similarity")
    assert found.refused == ""
    assert corner_error(found.matrix, matrix) < 0.1


def test_identical_frames_do_not_move():
    frame = Waves(6).frame(np.eye(3))
    found = compare(frame, frame, "affine")
    assert corner_error(found.matrix, np.eye(3)) < 1e-3
    assert found.quality > 0.9
    assert found.weight > 0


def test_there_is_the_inverse_of_back():
    waves, matrix = Waves(7), about(LINEAR["affine"], (3.0, -1.0))
    rng = np.random.default_rng(0)
    first, second = (waves.frame(m) + 0.2 * rng.standard_normal(SHAPE) for m in (np.eye(3), matrix))
    there, back = compare(first, second, "affine"), compare(second, first, "affine")
    assert corner_error(there.matrix @ back.matrix, np.eye(3)) < 0.05


@pytest.mark.parametrize("kind", ["blank", "constant", "missing", "noise", "inverted", "other"])
def test_frames_that_do_not_match_are_refused(kind):
    frame = Waves(8).frame(np.eye(3)).astype("float32")
    other = {
        "blank": np.zeros_like(frame),
        "constant": np.full_like(frame, 65535.0),
        "missing": np.full_like(frame, np.nan),
        "noise": np.random.default_rng(0).standard_normal(SHAPE).astype("float32"),
        "inverted": -frame,
        "other": Waves(9).frame(np.eye(3)).astype("float32"),
    }[kind]
    for first, second in ((frame, other), (other, frame)):
        found = compare(first, second, "affine")
        assert found.weight == 0
        assert found.refused != ""
        assert found.error == np.inf
        np.testing.assert_array_equal(found.matrix, np.eye(3))


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (2, 300), (39, 80), (40, 40), (41, 200), (81, 83)])
def test_small_frames_give_the_identity_or_are_refused(shape):
    frame = Waves(1).frame(np.eye(3), shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(frame, frame, "affine")
    assert corner_error(found.matrix, np.eye(3), shape) < 0.01
    assert bool(found.refused) == (found.weight == 0)
    assert bool(found.refused) or min(shape) >= 40


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="model must be one of"):
        affine.plan(SHAPE, "perspective")
    with pytest.raises(ValueError, match="shape of the plan"):
        affine.prepare(np.zeros((3, 3)), affine.plan(SHAPE))
    with pytest.raises(TypeError, match="real numbers"):
        affine.prepare(np.zeros(SHAPE, complex), affine.plan(SHAPE))


@given(st.integers(0, 2**32 - 1), st.sampled_from(MODELS), st.floats(0.001, 1.0))
@settings(max_examples=60, deadline=None)
def test_logarithm_and_exponential_are_those_of_matrices(seed, model, size):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, (3, groups.generators(model).shape[1])) * size * 100
    built = groups.matrices(values, model, 100.0)
    algebra = np.zeros((3, 3, 3))
    algebra[:, :2] = ((values / _lengths(model)) @ groups.generators(model).T).reshape(3, 2, 3)
    np.testing.assert_allclose(built, [scipy.linalg.expm(a) for a in algebra], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(groups.parameters(built, model, 100.0), values, atol=1e-6)


def _lengths(model):
    return np.where(np.abs(groups.generators(model)[[2, 5]]).sum(axis=0) > 0, 1.0, 100.0)


def random_poses(count, seed, shape=(1024, 1024)):
    rng = np.random.default_rng(seed)
    found = np.array([about(turn(rng.uniform(-3, 3)), rng.uniform(-10, 10, 2), shape) for _ in range(count)])
    return found @ np.linalg.inv(found[0])


def pairs_of(count, lags=(1, 2, 3)):
    return np.array([(i, i + lag) for i in range(count) for lag in lags if i + lag < count]).T


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_exact_pairs_give_exact_poses(model):
    truth = random_poses(40, 0)
    if model == "similarity":
        truth[:, :2, :2] *= np.random.default_rng(1).uniform(0.97, 1.03, (40, 1, 1))
    if model == "affine":
        truth[:, :2, :2] += np.random.default_rng(1).normal(0, 0.01, (40, 2, 2))
    truth = truth @ np.linalg.inv(truth[0])
    first, second = pairs_of(40)
    matrices = truth[second] @ np.linalg.inv(truth[first])
    solved = solve.poses(first, second, matrices, np.ones(first.size), 40, (511.5, 511.5), model=model)
    assert corner_error(solved.matrices, truth, (1024, 1024)) < 1e-6
    assert solved.ok.all()
    assert np.abs(solved.residuals).max() < 1e-6


def test_wrong_pairs_and_a_bad_slice_harm_nobody():
    count, rng = 40, np.random.default_rng(2)
    truth = random_poses(count, 3)
    first, second = pairs_of(count)
    matrices = truth[second] @ np.linalg.inv(truth[first])
    weights = np.full(first.size, 400.0)
    wrong = rng.choice(first.size, 6, replace=False)
    matrices[wrong] = [about(turn(rng.uniform(-5, 5)), rng.uniform(-60, 60, 2), (1024, 1024)) for _ in wrong]
    bad = (first == 20) | (second == 20)
    weights[bad], matrices[bad] = 0, np.nan
    solved = solve.poses(first, second, matrices, weights, count, (511.5, 511.5), model="rigid")
    keep = np.arange(count) != 20
    assert corner_error(solved.matrices[keep], truth[keep], (1024, 1024)) < 0.05
    np.testing.assert_array_equal(solved.ok, keep)
    assert np.isnan(solved.residuals[bad]).all()
    assert (solved.trust[wrong] < 0.1).all()
    between = (solved.matrices[19] + solved.matrices[21]) / 2
    assert corner_error(solved.matrices[20], between, (1024, 1024)) < 1.0


def test_errors_of_pairs_do_not_add_up_in_the_wrong_order():
    # the product in the other order is off by half a pixel and more
    truth = random_poses(10, 4)
    steps = truth[1:] @ np.linalg.inv(truth[:-1])
    chained = np.eye(3)
    for step in steps:
        chained = chained @ step
    assert corner_error(chained, truth[-1], (1024, 1024)) > 0.3
    solved = solve.poses(np.arange(9), np.arange(1, 10), steps, np.ones(9), 10, (511.5, 511.5), model="rigid")
    assert corner_error(solved.matrices[-1], truth[-1], (1024, 1024)) < 0.01


def test_translations_as_matrices_equal_positions():
    rng = np.random.default_rng(5)
    first, second = pairs_of(20)
    shifts, weights = rng.normal(0, 3, (first.size, 2)), rng.uniform(1, 5, first.size)
    matrices = np.tile(np.eye(3), (first.size, 1, 1))
    matrices[:, :2, 2] = shifts
    plain = solve.positions(first, second, shifts, weights, 20)
    solved = solve.poses(first, second, matrices, weights, 20, (50, 50), model="translation", iterations=1)
    np.testing.assert_allclose(solved.matrices[:, :2, 2], plain.positions, atol=1e-9)


def test_poses_check_their_input():
    one = np.eye(3)[None]
    with pytest.raises(ValueError, match="matrices must have the shape"):
        solve.poses([0], [1], np.eye(3), [1.0], 2, (5, 5))
    with pytest.raises(ValueError, match="model must be one of"):
        solve.poses([0], [1], one, [1.0], 2, (5, 5), model="bent")
    with pytest.raises(ValueError, match="iterations"):
        solve.poses([0], [1], one, [1.0], 2, (5, 5), iterations=0)
    mirrored = np.diag([-1.0, 1, 1])[None]
    solved = solve.poses([0], [1], mirrored, [1.0], 2, (5, 5))
    assert not solved.ok.any()


def test_regularising_is_the_ridge_regression_of_even_points():
    rng = np.random.default_rng(6)
    matrix, centre = about(LINEAR["affine"], (3, -2)), centre_of(SHAPE)
    grid = np.linspace(-np.sqrt(3), np.sqrt(3), 401)
    grid /= np.sqrt((grid**2).mean())
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    for strength, n in ((0.5, 1), (2.0, 4), (rng.uniform(0, 1, 4), 1)):
        moved = points @ matrix[:2, :2].T
        force = np.broadcast_to(np.asarray(strength) / n, 4).reshape(2, 2)
        ridge = np.stack([
            np.linalg.solve(points.T @ points / len(points) + np.diag(f), points.T @ y / len(points) + f * t)
            for f, y, t in zip(force, moved.T, np.eye(2))
        ])  # fmt: skip
        drawn = affine.regularise(matrix, strength, n=n, centre=tuple(centre))
        np.testing.assert_allclose(drawn[:2, :2], ridge, atol=1e-9)
        at = np.array([*centre, 1.0])
        np.testing.assert_allclose(drawn @ at, matrix @ at)
    np.testing.assert_array_equal(affine.regularise(matrix, 0.0), matrix)
    with pytest.raises(ValueError, match="strength"):
        affine.regularise(matrix, -1.0)
    with pytest.raises(ValueError, match="n must be positive"):
        affine.regularise(matrix, 1.0, n=0)


def test_a_drawn_stack_keeps_shape_and_draws_each_matrix():
    stack = np.stack([about(LINEAR["affine"], (k, 0)) for k in range(3)])
    drawn = affine.regularise(stack, np.inf, target=(1, 0, 0, 1), centre=tuple(centre_of(SHAPE)))
    np.testing.assert_allclose(drawn[:, :2, :2], np.tile(np.eye(2), (3, 1, 1)))
    np.testing.assert_allclose(drawn[:, 0, 2], [0, 1, 2], atol=1e-9)


@pytest.mark.parametrize("method", ["phase", "features"])
def test_a_pair_turned_scaled_and_shifted_is_matched_to_a_fiftieth_of_a_pixel_at_the_corners(method):
    # 600 x 800 pixels, 1.2 degrees, 1.01, (7.3, -4.6): the pair that focus stacking programs are measured with.
    shape = (600, 800)
    waves, matrix = Waves(0, 250), about(1.01 * turn(1.2), (7.3, -4.6), shape)
    frames = np.stack([waves.frame(np.eye(3), shape), waves.frame(matrix, shape)])
    da = stack3d.from_array(np.rint(30000 + 6000 * frames).clip(0, 65535).astype("uint16"), pixel_size=5.0)
    found = da.stack3d.estimate_transforms(model="similarity", method=method)["transform"].values
    assert corner_error(found[1] @ np.linalg.inv(found[0]), matrix, shape) < 0.02
