"""Compiled loops of :mod:`stack3d.kernels._vsnr_steps`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._line_loops import copy

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
_LANES = 8  # sums that are added to by turns
# Places in the numbers that are kept: how much sharper the curvature is thought to be, the value and the curvature of the
# last step, moves that are kept, the one that comes next, and whether the last step led up.
SHARP, VALUE, CURVATURE, COUNT, NEXT, ROSE = range(6)


@njit(**_OPTIONS)
def _dot(a: Any, b: Any) -> float:
    """Return the sum of the products of two lines, float64."""
    lanes, even = np.zeros(_LANES), a.size // _LANES * _LANES
    for j in range(0, even, _LANES):
        for k in range(_LANES):
            lanes[k] += np.float64(a[j + k] * b[j + k])
    total = 0.0
    for k in range(_LANES):
        total += lanes[k]
    for j in range(even, a.size):
        total += np.float64(a[j] * b[j])
    return total


@njit(**_OPTIONS)
def _energy(energy: Any, state: Any) -> float:
    lanes, even = np.zeros(_LANES), state.size // _LANES * _LANES
    for j in range(0, even, _LANES):
        for k in range(_LANES):
            lanes[k] += np.float64(energy[j + k] * state[j + k] * state[j + k])
    total = 0.0
    for k in range(_LANES):
        total += lanes[k]
    for j in range(even, state.size):
        total += np.float64(energy[j] * state[j] * state[j])
    return total


@njit(**_OPTIONS)
def step(
    lines: Any, size: Any, curvature: Any, psi: Any, bent: Any, energy: Any, lengths: Any, state: Any, last: Any,
    moves: Any, square: Any, numbers: Any, slack: Any, sharper: Any, damped: Any, out: Any,
) -> None:  # fmt: skip
    """Replace `state` by the next one, and write ``psi * state`` to `out`.

    `lines` is the slope, of the frequencies; `last` holds state, slope and step of the time before, `moves` what steps
    and slopes changed by; `lengths` is made by the first step.
    """
    n, one = state.size, np.float32(1)
    at, slope, before = last[0], last[1], last[2]
    down = lines
    for j in range(n):
        down[j] -= state[j]
    value = size + 0.5 * _energy(energy, state)
    first, rose = numbers[VALUE] == np.inf, value > numbers[VALUE] * (1 + slack)
    numbers[ROSE] = rose and not first
    if first:
        bend = np.float32(curvature)
        for j in range(n):
            # Steps are measured as the energy would be that they change.
            lengths[j] = energy[j] * (one + bend * bent[j])
    elif rose:
        numbers[SHARP] *= sharper
        value, curvature = numbers[VALUE], numbers[CURVATURE]
        copy(at, state)
        copy(slope, down)
    bend = np.float32(numbers[SHARP] * curvature)
    move = out
    for j in range(n):
        move[j] = down[j] / (one + bend * bent[j])
    if first:
        numbers[COUNT] = numbers[NEXT] = 0
    elif rose:
        # What came before a step up has no more say.
        numbers[COUNT] = numbers[NEXT] = 0
    else:
        _remember(state, at, move, before, lengths, moves, square, numbers)
    copy(state, at)
    copy(down, slope)
    copy(move, before)
    numbers[VALUE], numbers[CURVATURE] = value, curvature
    for j in range(n):
        state[j] += move[j]
    _extrapolate(move, lengths, moves, square, numbers, damped, state)
    for j in range(n):
        out[j] = psi[j] * state[j]


@njit(**_OPTIONS)
def _remember(state: Any, at: Any, move: Any, before: Any, lengths: Any, moves: Any, square: Any, numbers: Any) -> None:
    """Keep what the step and the slope changed by, and the products of the slopes with each other."""
    kept, place = moves.shape[1], np.int64(numbers[NEXT])
    both, turn, weighed = moves[0, place], moves[1, place], np.empty_like(state)
    for j in range(state.size):
        turn[j] = move[j] - before[j]
        both[j] = (state[j] - at[j]) + turn[j]
        weighed[j] = lengths[j] * turn[j]
    count = min(np.int64(numbers[COUNT]) + 1, kept)
    for k in range(count):
        square[place, k] = square[k, place] = _dot(weighed, moves[1, k])
    numbers[COUNT], numbers[NEXT] = count, (place + 1) % kept


@njit(**_OPTIONS)
def _extrapolate(move: Any, lengths: Any, moves: Any, square: Any, numbers: Any, damped: Any, state: Any) -> None:
    """Take from the state what makes the step shortest, combined with those before it."""
    count = np.int64(numbers[COUNT])
    if count == 0:
        return
    weighed, right, mean = np.empty_like(move), np.empty(count), 0.0
    for j in range(move.size):
        weighed[j] = lengths[j] * move[j]
    for k in range(count):
        right[k] = _dot(weighed, moves[1, k])
        mean += square[k, k]
    system = square[:count, :count].copy()
    for k in range(count):
        system[k, k] += damped * (mean / count) + 1e-30
    _solve(system, right)
    for k in range(count):
        share, both = np.float32(right[k]), moves[0, k]
        for j in range(move.size):
            state[j] -= share * both[j]


@njit(**_OPTIONS)
def _solve(system: Any, right: Any) -> None:
    """Replace the right side of a few equations by their solution; the largest of a column is divided by."""
    n = right.size
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(system[i, k]) > abs(system[best, k]):
                best = i
        if best != k:
            for j in range(n):
                system[k, j], system[best, j] = system[best, j], system[k, j]
            right[k], right[best] = right[best], right[k]
        for i in range(k + 1, n):
            factor = system[i, k] / system[k, k]
            for j in range(k, n):
                system[i, j] -= factor * system[k, j]
            right[i] -= factor * right[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            right[k] -= system[k, j] * right[j]
        right[k] /= system[k, k]


@njit(**_OPTIONS)
def changed(after: Any, before: Any, every: Any) -> Any:
    """Return the largest change of every so many lines, and the largest of them."""
    most, largest = np.float32(0), np.float32(0)
    for i in range(0, after.shape[0], every):
        a, b = after[i], before[i]
        for j in range(a.size):
            most = max(most, abs(a[j] - b[j]))
            largest = max(largest, abs(a[j]))
    return most, largest
