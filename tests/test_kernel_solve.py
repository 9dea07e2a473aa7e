"""Positions of slices from pairs: exact where the pairs are, robust where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack3d.kernels import _closure, solve


def pairs_of(count, lags=(1, 2, 3)):
    first = np.concatenate([np.arange(max(count - lag, 0)) for lag in lags])
    second = np.concatenate([np.arange(max(count - lag, 0)) + lag for lag in lags])
    return first, second


def walk(count, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, 0.8, (count, 2)), axis=0)
    return truth - truth[0], rng


def spoil(first, second, shifts, bad, rng):
    touched = np.isin(first, bad) | np.isin(second, bad)
    shifts[touched] = rng.normal(0, 50, (touched.sum(), shifts.shape[1]))
    return touched


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_exact_pairs_give_exact_positions(count, reach, parameters, seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 10, (count, parameters))
    first, second = pairs_of(count, range(1, reach + 1))
    solved = solve.positions(first, second, truth[second] - truth[first], rng.uniform(0.5, 2, first.size), count)
    if first.size:
        np.testing.assert_allclose(solved.positions, truth - truth[0], atol=1e-5)
        assert solved.ok.all()
        np.testing.assert_allclose(solved.residuals, 0, atol=1e-5)


def test_the_order_and_direction_of_pairs_do_not_matter():
    truth, rng = walk(20)
    first, second = pairs_of(20)
    shifts = truth[second] - truth[first] + rng.normal(0, 0.1, (first.size, 2))
    plain = solve.positions(first, second, shifts, np.ones(first.size), 20)
    order = rng.permutation(first.size)
    turned = solve.positions(second[order], first[order], -shifts[order], np.ones(first.size), 20)
    np.testing.assert_allclose(turned.positions, plain.positions, atol=1e-9)


def test_bad_slices_harm_nobody_and_a_jump_stays_sharp():
    truth, rng = walk(100)
    truth[60:] += 12
    first, second = pairs_of(100)
    shifts = truth[second] - truth[first] + rng.normal(0, 0.03, (first.size, 2))
    bad = [20, 41, 42, 77]
    spoil(first, second, shifts, bad, rng)
    solved = solve.positions(first, second, shifts, np.full(first.size, 1 / 0.03**2), 100)
    assert np.flatnonzero(~solved.ok).tolist() == bad
    good = solved.ok
    error = (solved.positions - truth)[good]
    assert np.abs(error - error.mean(axis=0)).max() < 0.35  # a walk of errors of 0.02 a step
    step = (solved.positions - truth)[61:75]
    assert np.abs(np.diff((solved.positions - truth)[55:66], axis=0)).max() < 0.1
    assert np.abs(step - step[0]).max() < 0.2
    assert (solved.quality[bad] < 0.5).all()
    assert solved.quality[50] > 0.9


def test_a_refused_slice_is_put_between_its_neighbours():
    truth, _ = walk(30)
    first, second = pairs_of(30)
    weights = np.where((first == 10) | (second == 10), 0.0, 4.0)
    shifts = truth[second] - truth[first]
    shifts[weights == 0] = np.nan
    solved = solve.positions(first, second, shifts, weights, 30)
    assert np.flatnonzero(~solved.ok).tolist() == [10]
    others = np.arange(30) != 10
    np.testing.assert_allclose(solved.positions[others], truth[others], atol=1e-5)
    np.testing.assert_allclose(solved.positions[10], (truth[9] + truth[11]) / 2, atol=1e-5)
    assert np.isnan(solved.residuals[weights == 0]).all()
    assert solved.group[10] == -1


def test_parts_that_nothing_ties_together_go_on_where_the_first_ended():
    truth, _ = walk(20)
    first, second = pairs_of(20)
    apart = (first < 10) & (second >= 10)
    solved = solve.positions(first, second, truth[second] - truth[first], np.where(apart, 0.0, 1.0), 20)
    assert solved.group.tolist() == [0] * 10 + [1] * 10
    np.testing.assert_allclose(solved.positions[:10], truth[:10], atol=1e-5)
    np.testing.assert_allclose(solved.positions[10], solved.positions[9], atol=1e-5)
    np.testing.assert_allclose(np.diff(solved.positions[10:], axis=0), np.diff(truth[10:], axis=0), atol=1e-5)
    assert np.isnan(solved.error[10])


def test_the_error_does_not_grow_as_in_a_chain():
    count, spread = 400, 0.05
    first, second = pairs_of(count)
    chain, multi = [], []
    for seed in range(5):
        truth, rng = walk(count, seed)
        shifts = truth[second] - truth[first] + rng.normal(0, spread, (first.size, 2))
        found = solve.positions(first, second, shifts, np.full(first.size, spread**-2), count).positions
        lag1 = np.concatenate([[[0, 0]], np.cumsum(shifts[: count - 1], axis=0)])
        multi.append(((found - truth)[-1] ** 2).mean())
        chain.append(((lag1 - truth)[-1] ** 2).mean())
    # sums of 1, 4 and 9 times the information of a chain: the step error falls by sqrt(14) at most
    assert np.mean(multi) < 0.25 * np.mean(chain)


def test_the_step_error_is_that_of_the_exact_covariance():
    count = 40
    first, second = pairs_of(count)
    truth, rng = walk(count)
    shifts = truth[second] - truth[first] + rng.normal(0, 0.1, (first.size, 2))
    weights = rng.uniform(50, 150, first.size)
    solved = solve.positions(first, second, shifts, weights, count)
    normal = np.zeros((count, count))
    for i, j, w in zip(first, second, weights * solved.trust):
        normal[[i, j], [i, j]] += w
        normal[[i, j], [j, i]] -= w
    covariance = np.zeros((count, count))
    covariance[1:, 1:] = np.linalg.inv(normal[1:, 1:])  # the first slice is the origin
    variance = np.diag(covariance)[1:] + np.diag(covariance)[:-1] - 2 * np.diag(covariance, 1)
    ratio = solved.error[1:] / np.sqrt(variance)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert 0.99 < ratio[0] < 1.6


def test_lone_pairs_over_a_gap_are_kept_where_all_others_agree_exactly():
    count = 40
    first, second = pairs_of(count)
    truth = np.zeros((count, 2))
    truth[20:] = 8, -5
    shifts = truth[second] - truth[first]
    over = (first < 20) & (second >= 20)
    weights = np.where(over, 0.0, 400.0)
    for i, off in ((18, 0.04), (19, -0.04)):
        lone = (first == i) & (second == i + 2)
        weights[lone] = 400.0
        shifts[lone] += off
    solved = solve.positions(first, second, shifts, weights, count)
    assert solved.ok.all()
    assert (solved.trust[over & (weights > 0)] > 0.5).all()
    # Two that say +0.04 and -0.04 have a mean.
    np.testing.assert_allclose(solved.positions, truth, atol=0.02)


def test_nothing_to_solve_gives_flagged_zeros():
    for count in (1, 4):
        solved = solve.positions([], [], np.zeros((0, 2)), [], count)
        assert (solved.positions == 0).all()
        assert not solved.ok.any()
        assert np.isnan(solved.error).all()
    solved = solve.positions([0], [1], [[np.nan, 0.0]], [1.0], 2)
    assert not solved.ok.any()
    assert (solved.positions == 0).all()


def test_the_first_good_slice_is_the_origin():
    truth, _ = walk(10)
    first, second = pairs_of(10)
    weights = np.where((first == 0) | (second == 0), 0.0, 1.0)
    solved = solve.positions(first, second, truth[second] - truth[first], weights, 10)
    np.testing.assert_allclose(solved.positions[1], 0, atol=1e-9)
    np.testing.assert_allclose(solved.positions[0], 0, atol=1e-5)
    np.testing.assert_allclose(solved.positions[5], truth[5] - truth[1], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": [0, 3]}, "from 0 to 2"),
        ({"first": [1, 1]}, "two different slices"),
        ({"weights": [1.0, -1.0]}, "negative or NaN"),
        ({"weights": [1.0]}, "of one length"),
        ({"shifts": [[1.0], [2.0], [3.0]]}, r"\(pairs, k\)"),
        ({"count": 0}, "at least 1"),
    ],
)
def test_wrong_input_is_refused_by_name(change, message):
    given = {"first": [0, 1], "second": [1, 2], "shifts": [[1.0], [2.0]], "weights": [1.0, 1.0], "count": 3} | change
    if change == {"first": [1, 1]}:
        given["second"] = [1, 2]
    with pytest.raises(ValueError, match=message):
        solve.positions(given["first"], given["second"], given["shifts"], given["weights"], given["count"])


@pytest.mark.parametrize("spread", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("heavy", [1, 2, 3])
def test_weights_of_any_spread_give_the_positions(spread, heavy):
    # Pairs of one lag weigh very much more than all others.
    count = 40
    pairs = [(i, i + lag) for lag in (1, 2, 3) for i in range(count - lag)]
    first, second = np.array(pairs).T
    truth = np.cumsum(np.random.default_rng(0).normal(0, 3, (count, 2)), axis=0)
    weights = np.where(second - first == heavy, spread, 1.0)
    solved = solve.positions(first, second, truth[second] - truth[first], weights, count)
    assert solved.ok.all()
    np.testing.assert_allclose(solved.positions, truth - truth[0], atol=1e-4)


def chained(count, rng, scale, drift):
    """Return pairs of lags 1 to 3 of slices at rest; those of lag 2 and 3 see content that moves by `drift` a step."""
    pairs = [(i, i + lag) for lag in (1, 2, 3) for i in range(count - lag)]
    first, second = np.array(pairs).T
    noise = rng.normal(0, scale, (first.size, 2))
    return first, second, noise + drift * ((second - first)[:, None] > 1) * (second - first)[:, None]


def test_longer_pairs_that_contradict_the_steps_count_for_less():
    rng = np.random.default_rng(0)
    first, second, shifts = chained(100, rng, 0.01, np.array([0.1, -0.1]))
    weights = np.full(first.size, 1e4)
    solved = solve.positions(first, second, shifts, weights, 100).positions
    per_slice = np.polyfit(np.arange(100), solved, 1)[0]
    # All alike they would pull the stack along by nearly as much as they see.
    assert np.abs(per_slice).max() < 0.01


def test_longer_pairs_that_agree_keep_their_weight():
    rng = np.random.default_rng(1)
    first, second, shifts = chained(200, rng, 0.05, 0.0)
    weights = rng.uniform(300, 500, first.size)
    np.testing.assert_array_equal(_closure.discounted(first, second, shifts, weights), weights)
    # Too few to tell, and no step to compare with.
    few = slice(0, 5)
    np.testing.assert_array_equal(_closure.discounted(first[few], second[few], shifts[few], weights[few]), weights[few])
    long = second - first > 1
    moved = shifts[long] + 5 * (second - first)[long, None]
    np.testing.assert_array_equal(_closure.discounted(first[long], second[long], moved, weights[long]), weights[long])


def test_the_order_of_slices_in_a_pair_and_doubled_pairs_do_not_matter_to_the_discount():
    first, second, shifts = chained(60, np.random.default_rng(2), 0.02, np.array([0.2, 0.0]))
    weights = np.full(first.size, 2500.0)
    plain = _closure.discounted(first, second, shifts, weights)
    assert (plain[second - first == 1] == 2500).all()
    assert (plain[second - first == 2] < 250).all()
    np.testing.assert_allclose(_closure.discounted(second, first, -shifts, weights), plain, rtol=1e-12)
    twice = _closure.discounted(np.tile(first, 2), np.tile(second, 2), np.tile(shifts, (2, 1)), np.tile(weights / 2, 2))
    assert (twice[np.tile(second - first, 2) == 2] < 250).all()
    weights[40] = 0
    assert _closure.discounted(first, second, shifts, weights)[40] == 0
