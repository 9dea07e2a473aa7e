"""The power of stripes in one frame, their reach, and that of everything else, from the power in bands of frequency."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, fdtri, gammaincinv

from stack3d.kernels import _stripe_power_loops as loops

SURE = 3.0  # standard errors that some band must have,
_FRAMES = 100  # and some more than by chance in one of so many frames
_POINTS = 24  # of a distribution
_CONTROL = 3.0  # reaches beyond which nothing is stripe,
LEAST = 4  # and how many frequencies must be left there, and be in a band
_DOUBT = 0.15  # of the ratio, whatever the number of coefficients: structure is not quite as even as is assumed
_MORE = 2.0  # how much more power stripes may have in wider bands than in those that are sure
_BACK = 2
_BESIDE = 0.5  # weight of the bands next to one
_STEPS = 6


class Bands(NamedTuple):
    """What does not depend on the frame's values, for each reach that stripes may have: (reaches, rows, bands)."""

    reaches: tuple[float, ...]
    omega: np.ndarray  # (bands,)
    half: np.ndarray  # (bands,) numbers of coefficients, halved
    bias: np.ndarray  # (bands,) of the logarithm of their mean power, taken off
    share: np.ndarray  # of these, beyond the stripes
    total: np.ndarray  # (reaches, bands)
    enough: np.ndarray  # (reaches, bands) whether they are
    turn: np.ndarray  # of the direction from its mean beyond the stripes
    lean: np.ndarray
    square: np.ndarray  # (reaches, 1, 1)
    own: np.ndarray  # power of stripes of ratio 1, where they are looked for; only rows that some reach takes for them
    along: np.ndarray  # the same everywhere, (reaches, rows, 1)
    cells: np.ndarray  # (rows, bands) where the reaches are compared
    error: np.ndarray  # (reaches, bands) standard error of the ratio where there are no stripes
    weight: np.ndarray  # (reaches, bands) independent coefficients that the ratio rests on
    chance: np.ndarray  # (reaches, 3, bands) see `_chance`


@lru_cache(maxsize=16)
def bands_of(
    edges: tuple[int, ...], height: int, width: int, rows: int, most: float, reaches: tuple[float, ...]
) -> Bands:
    middle = np.array([np.exp(np.log(np.arange(low, high)).mean()) for low, high in pairwise(edges)])
    row, half, reach = np.arange(rows)[:, None], np.diff(edges) / 2, np.array(reaches)[:, None, None]
    # The slope from the axis across: power falls with it, and is compared up to so much.
    slope = row / height * width / middle
    near, turn = slope <= most, np.log1p(slope**2)
    control = near & (row > _CONTROL * reach) & (row >= 2)
    enough = control.sum(axis=1) >= LEAST
    share = control * half
    total = np.maximum(share.sum(axis=1), 1e-9)
    turned = turn - ((share * turn).sum(axis=1) / total)[:, None]
    lean = np.where(enough[:, None], share * turned, 0)
    along = np.exp(-((row / reach) ** 2))
    first = int(_CONTROL * max(reaches)) + 1
    own = along * ~control * (near | (row <= _CONTROL * reach))
    error = np.sqrt(1 / half * (1 / (along**2).sum(axis=1) + 1 / np.maximum(control.sum(axis=1), 1)))
    cells = near & enough[int(np.argmax(reaches))]
    square = (lean * turned).sum(axis=(1, 2), keepdims=True)
    return Bands(
        reaches, np.pi * middle / width, half, np.log(half) - digamma(half), share, total, enough, turned, lean, square,
        np.ascontiguousarray(own[:, :first]), np.ascontiguousarray(along[:, :first]), cells, error, *_chance(along, control, half),
    )  # fmt: skip


def _chance(along: np.ndarray, control: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients that each ratio rests on, and what ratios exceed but once in `_FRAMES` frames without stripes.

    That of any band, and of the means over it and all bands above, or below. The power of everything else is a mean of
    squares, weighted along the stripes, over another: Fisher's distribution, cut at 0; means of several are close to gamma.
    """
    few = 2 * half * along.sum(axis=1) ** 2 / (along**2).sum(axis=1)
    many = 2 * half * np.maximum(control.sum(axis=1), 1)
    rare = 1 / (3 * _FRAMES * half.size)
    values = np.maximum(fdtri(few[..., None], many[..., None], (np.arange(_POINTS) + 0.5) / _POINTS) - 1, 0)
    mean, spread = few * values.mean(axis=-1), few**2 * values.var(axis=-1)
    out = [fdtri(few, many, 1 - rare) - 1]
    for add in (_above, _below):
        total, square, count = add(mean), add(spread), add(few)
        shape = np.maximum(total**2 / np.maximum(square, 1e-9), 1e-9)
        out.append(gammaincinv(shape, 1 - rare) * total / shape / count)
    return few, np.stack(out, axis=1)


def _above(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.cumsum(values[..., ::-1], axis=-1)[..., ::-1])


def _below(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.cumsum(values, axis=-1))


class Fit(NamedTuple):
    reach: float
    rest: np.ndarray  # power of everything else at the lowest frequency along
    ratio: np.ndarray
    error: np.ndarray  # its standard error where there are no stripes
    weight: np.ndarray  # see `Bands`
    chance: np.ndarray


def fitted(power: np.ndarray, bands: Bands) -> Fit:
    """Return the most likely power of stripes and their reach, every coefficient being Gaussian."""
    lowest, ratio = (np.empty(bands.total.shape) for _ in range(2))
    k = loops.fit(
        power, bands.bias, bands.half, bands.share, bands.total, bands.enough, bands.turn, bands.lean,
        bands.square[:, 0, 0], bands.own, bands.along, bands.cells, _STEPS, lowest, ratio,
    )  # fmt: skip
    return Fit(bands.reaches[k], lowest[k], ratio[k], bands.error[k], bands.weight[k], bands.chance[k])


def fitted_xp(power: np.ndarray, bands: Bands) -> Fit:
    """Array form of `fitted`."""
    half, own, rows = bands.half, bands.own, bands.own.shape[1]
    # Beyond the stripes: a level for each band, and one fall with the direction.
    height = np.log(power) + bands.bias
    level = ((bands.share * height).sum(axis=1) / bands.total)[:, None]
    slope = (bands.lean * (height - level)).sum(axis=(1, 2), keepdims=True)
    some = bands.square > 0
    fall = np.where(some, np.minimum(slope / np.where(some, bands.square, 1), 0), 0)
    rest = np.exp(level + fall * bands.turn)
    lowest, over = rest[:, 0].copy(), power[:rows] / rest[:, :rows] - 1
    ratio = np.zeros((len(rest), 1, len(half)))
    for _ in range(_STEPS):  # of Fisher's scoring
        trust = own / (1 + ratio * bands.along) ** 2
        found = (trust * over).sum(axis=1) / np.maximum((trust * own).sum(axis=1), 1e-9)
        ratio = np.where(bands.enough, np.maximum(found, 0), 0)[:, None]
    rest[:, :rows] *= 1 + ratio * own
    likelihood = -(half * (np.log(rest) + power / rest) * bands.cells).sum(axis=(1, 2))
    k = int(np.argmax(likelihood))
    return Fit(bands.reaches[k], lowest[k], ratio[k, 0], bands.error[k], bands.weight[k], bands.chance[k])


def trusted(fit: Fit, sure: float) -> np.ndarray:
    """Return the ratio where it is believed.

    Structure is strong and scarce at low frequencies, where it may well look like stripes; those have about as much
    power there as at the higher frequencies, where they stand out of chance, or there are none.
    """
    out = np.empty(len(fit.ratio))
    loops.trust(
        fit.ratio, fit.rest, fit.error, fit.weight, fit.chance, sure, _DOUBT, sure / SURE, _MORE, _BACK, _BESIDE, out
    )
    return out


def trusted_xp(fit: Fit, sure: float) -> np.ndarray:
    """Array form of `trusted`."""
    error = np.sqrt(fit.error**2 + _DOUBT**2)
    certain = np.maximum(fit.ratio - sure * error, 0) * fit.rest
    sums = (add(fit.weight * fit.ratio) / add(fit.weight) for add in (_above, _below))
    clear = np.stack([fit.ratio, *sums]) > fit.chance * (sure / SURE)
    if not certain.any() or not clear.any():
        return np.zeros(len(certain))
    highest = np.maximum.accumulate(certain[::-1])[::-1]  # from each band on
    most = _MORE * highest[np.maximum(np.arange(len(certain)) - _BACK, 0)]
    # Stripes change slowly with frequency: bands lend each other what they lack in number.
    share, power = 1 / fit.error**2, np.minimum(fit.ratio * fit.rest, most)
    mean = _with_beside(share * power) / _with_beside(share)
    return np.asarray(np.where(power > 0, np.minimum(mean, most), 0) / fit.rest)


def _with_beside(values: np.ndarray) -> np.ndarray:
    out = values.copy()
    out[1:] += _BESIDE * values[:-1]
    out[:-1] += _BESIDE * values[1:]
    return out
