"""The slow part of a series: a random walk seen through white noise.

How slow is estimated from the series itself, by restricted maximum likelihood over its steps, which are a moving average
with the variances of walk and noise (A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter (1989),
doi:10.1017/CBO9781107049994); the walk is then its expectation given the series, over all ratios of the two variances by
how probable they are. A step far beyond what the others
scatter is neither: it belongs to the noise, that is the walk does not follow it.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded, solveh_banded

_RATIOS = np.logspace(-4, 6, 41)  # variance of the noise, in variances of a step of the walk
_JUMP = 10.0  # robust standard deviations of the steps
_NORMAL = 1.482602218505602


def slow(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the slow part of a series.

    Parameters
    ----------
    values : (n,) array of float
        Finite, at least 3.
    places : (n,) array of float
        Where they lie, increasing: the walk goes on between them.

    Returns
    -------
    (n,) array of float64
        Through the middle of the values; where they jump, of those between jumps that hold the middle of all.

    Examples
    --------
    >>> from stack3d.kernels import walk
    >>> noise = np.random.default_rng(0).normal(0, 1, 200)
    >>> found = walk.slow(noise + np.linspace(0, 30, 200), np.arange(200))
    >>> bool(np.std(found - np.linspace(0, 30, 200)) < 0.5)
    True
    """
    values, gaps = np.asarray(values, np.float64), np.diff(np.asarray(places, np.float64))
    steps = np.diff(values)
    jumps = _jumps(steps, gaps)
    level = np.concatenate([[0.0], np.cumsum(jumps)])
    steady = values - level
    # All in units of the steps, so that the likelihood does not depend on the unit of the values.
    unit = float(np.sqrt(np.mean((steps - jumps) ** 2)))
    if not unit > 1e-12 * max(float(np.abs(values).max()), 1e-300):
        found = np.full(len(values), np.median(steady))
    else:
        found = np.zeros(len(values))
        for ratio, share in zip(_RATIOS, _shares((steps - jumps) / unit, gaps), strict=True):
            if share > 0:
                found += share * _given(steady, gaps, ratio)
    return found + float(np.median(level))


def _jumps(steps: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return what of each step is a jump: nothing but for those far off the others."""
    rate = float(np.median(steps / gaps))
    left = steps - rate * gaps
    limit = _JUMP * _NORMAL * float(np.median(np.abs(left)))
    return np.where(np.abs(left) > limit, left, 0.0)


def _shares(steps: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return how probable each ratio is, given the steps; the sum is 1."""
    likelihood = []
    for ratio in _RATIOS:
        band = np.zeros((2, len(steps)))
        band[1] = gaps + 2 * ratio
        band[0, 1:] = -ratio
        factor = cholesky_banded(band)
        variance = float(steps @ cho_solve_banded((factor, False), steps)) / len(steps)
        likelihood.append(-0.5 * len(steps) * np.log(variance) - float(np.log(factor[1]).sum()))
    # Before anything is known, series without noise are improbable: few slices cannot tell noise from a rough walk.
    share = np.exp(np.array(likelihood) - max(likelihood)) * np.sqrt(_RATIOS / (1 + _RATIOS))
    share[share < 1e-6 * share.sum()] = 0.0
    return np.asarray(share / share.sum())


def _given(values: np.ndarray, gaps: np.ndarray, ratio: float) -> np.ndarray:
    band = np.zeros((2, len(values)))
    band[1] = 1.0
    band[1, 1:] += ratio / gaps
    band[1, :-1] += ratio / gaps
    band[0, 1:] = -ratio / gaps
    return np.asarray(solveh_banded(band, values))
