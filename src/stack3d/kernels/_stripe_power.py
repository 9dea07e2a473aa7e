"""How strong stripes are at each frequency across them, and how long: their power over that of everything else.

The power of a frame is summed in bands of frequency across the stripes (along x), for each slow cosine along them (along
y). Structure and noise at a high frequency across have nearly the same power at all low frequencies along, or one that
falls smoothly with the direction; stripes stand out at the lowest. How far they reach is their length.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from scipy.special import digamma

from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._slow_rows import project

REACHES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
ROWS = 64  # frequencies along the stripe that are looked at
_CONTROL = 3.0  # reaches beyond which nothing is stripe,
_LEAST = 4  # and how many frequencies must be left there, and be in a band
_GROWTH = 1.33  # of the bands
_SURE = 3.0  # standard errors that some band must have
_DOUBT = 0.15  # of the ratio, whatever the number of coefficients: structure is not quite as even as is assumed
_MORE = 2.0  # how much more power stripes may have in wider bands than in those that are sure
_BACK = 2
_BESIDE = 0.5  # weight of the bands next to one
_SLOPES = (1.0, 4.0)  # from the axis across, up to which power is compared in a frame, and in a difference
_STEPS = 6
_FAINT = 1e-3
_LEVEL = 1e-3  # of the power of stripes, below which nothing else is told apart
MODES = int(np.ceil(REACHES[-1] * np.sqrt(-np.log(_FAINT)))) + 1  # cosines along the stripe that the shortest take
ACROSS = np.geomspace(np.pi / 4096, np.pi, 400)  # frequencies for `Stripes.share`


class Stripes(NamedTuple):
    """Stripes along y as measured in one frame.

    Attributes
    ----------
    rows : int
        Of the frame.
    reach : float
        Half cycles a frame along the stripe at which their power has fallen to 1 / e: their spectrum is a Gaussian.
    omega : (bands,) float64
        Frequency across, radians a pixel, increasing.
    ratio : (bands,) float64
        Power of stripes over that of everything else, at the lowest frequency along; 0 where there are none.
    rest : (bands,) float64
        Power of everything else, of differences along x; in any unit.
    """

    rows: int
    reach: float
    omega: np.ndarray
    ratio: np.ndarray
    rest: np.ndarray

    @property
    def length(self) -> float:
        """Standard deviation of the correlation along the stripe, in pixels."""
        return float(self.rows * np.sqrt(2) / (np.pi * self.reach))

    def over(self, omega_y: Any, omega_x: Any) -> Any:
        """Return the power of stripes over that of everything else at frequencies along y and x, radians a pixel."""
        edge = self.omega[0] * 0.75
        across = np.where(omega_x < edge, 0.0, np.interp(omega_x, self.omega, self.ratio))
        along = np.exp(-((np.asarray(omega_y) * self.rows / (np.pi * self.reach)) ** 2))
        return np.where(along < _FAINT, 0.0, along) * across

    def gain(self, omega_y: Any, omega_x: Any) -> Any:
        """Return the gain of Wiener's filter at these frequencies."""
        over = self.over(omega_y, omega_x)
        return over / (1 + over)

    def share(self, omega_y: np.ndarray, omega_x: np.ndarray, passes: np.ndarray) -> np.ndarray:
        """Return the gain for each of `omega_y`, one for all frequencies across that a filter `passes`, in power."""
        rest = np.exp(np.interp(omega_x, self.omega, np.log(self.rest))) / (4 * np.sin(omega_x / 2) ** 2)
        rest *= passes * np.gradient(omega_x)
        over = self.over(omega_y[:, None], omega_x)
        return np.asarray((over * rest).sum(axis=1) / ((1 + over) * rest).sum(axis=1))


def none(rows: int) -> Stripes:
    """Return what is measured where there are no stripes."""
    return Stripes(rows, REACHES[0], np.array([np.pi]), np.zeros(1), np.ones(1))


def measure(
    u: Any,
    weight: Any = None,
    *,
    length: float | None = None,
    strength: float = 1.0,
    difference: bool = False,
    slow: Any = None,
) -> Stripes:
    """Measure the stripes along y of a frame.

    Parameters
    ----------
    u : (y, x) float32 array
        Without NaN.
    weight : (y, x) array, optional
        0 where a pixel is missing.
    length : float, optional
        Standard deviation of a stripe's amplitude along it, in pixels, where that is known.
    strength : float
        Multiplies the power; above 1 fewer standard errors are asked for.
    difference : bool
        The frame is a difference of slices, with little structure: its power is even enough to be compared at
        frequencies nearer to the axis along the stripes, and so for wider ones.
    slow : (n, x) array, optional
        Of `slow_rows`, where that is at hand and no pixel is missing.
    """
    height, width = u.shape
    edges = _bands(width, 1 if difference else _LEAST)
    if height < 2 * _LEAST or len(edges) < 3 or strength <= 0:
        return none(height)
    power = _powers(u, weight, min(ROWS, height // 2), slow)
    power = np.add.reduceat(power[:, :width], edges[:-1], axis=1) / np.diff(edges)
    if not power.any():
        return none(height)
    # Endless stripes in nothing else are no Gaussian.
    power = np.maximum(power, np.maximum(_LEVEL * power.max(axis=0), 1e-12 * power.max()))
    reaches = REACHES if length is None else (min(max(height / (np.pi * length), REACHES[0]), REACHES[-1]),)
    bands = _bands_of(tuple(edges), height, width, len(power), _SLOPES[difference], reaches)
    best = _fitted(power, bands)
    ratio = strength * _trusted(best, _SURE / max(strength, 1.0))
    return Stripes(height, best.reach, bands.omega, ratio, best.rest)


def slow_rows(u: Any) -> Any:
    """Return what `measure` looks at first: products with the slowest cosines, (..., n, x), for frames (..., y, x)."""
    return project(u, min(ROWS, u.shape[-2]))


def across(rows: Any, gains: Any, axis: int = -1) -> Any:
    """Return rows, which lie along `axis`, with each of their half cycles multiplied by `gains`."""
    if on_host(rows):
        spectrum = scipy.fft.dct(rows, norm="ortho", axis=axis)
        spectrum *= gains
        return scipy.fft.idct(spectrum, norm="ortho", overwrite_x=True, axis=axis)
    return across_xp(rows, gains, axis)


def across_xp(rows: Any, gains: Any, axis: int = -1) -> Any:
    """`xp` form of `across`: the cosine transform is that of the row and its mirror image."""
    xp = namespace(rows)
    rows, gains = xp.moveaxis(rows, axis, -1), xp.moveaxis(xp.asarray(gains), axis, -1)
    width = rows.shape[-1]
    mirrored = xp.fft.rfft(xp.concatenate([rows, rows[..., ::-1]], axis=-1))
    mirrored[..., :width] *= gains
    mirrored[..., width:] = 0
    return xp.moveaxis(xp.fft.irfft(mirrored, n=2 * width)[..., :width].astype(rows.dtype), -1, axis)


class _Bands(NamedTuple):
    """What does not depend on the frame's values, for each reach that stripes may have: (reaches, rows, bands)."""

    reaches: tuple[float, ...]
    omega: np.ndarray  # (bands,)
    half: np.ndarray  # (bands,) numbers of coefficients, halved
    share: np.ndarray  # of these, beyond the stripes
    total: np.ndarray  # (reaches, bands)
    enough: np.ndarray  # (reaches, bands) whether they are
    turn: np.ndarray  # of the direction from its mean beyond the stripes
    lean: np.ndarray
    square: np.ndarray  # (reaches, 1, 1)
    own: np.ndarray  # power of stripes of ratio 1, where they are looked for; only rows that some reach takes for them
    along: np.ndarray  # the same everywhere
    cells: np.ndarray  # (rows, bands) where the reaches are compared
    error: np.ndarray  # (reaches, bands) standard error of the ratio where there are no stripes


@lru_cache(maxsize=16)
def _bands_of(
    edges: tuple[int, ...], height: int, width: int, rows: int, most: float, reaches: tuple[float, ...]
) -> _Bands:
    middle = np.array([np.exp(np.log(np.arange(low, high)).mean()) for low, high in pairwise(edges)])
    row, half, reach = np.arange(rows)[:, None], np.diff(edges) / 2, np.array(reaches)[:, None, None]
    # The slope from the axis across: power falls with it, and is compared up to so much.
    slope = row / height * width / middle
    near, turn = slope <= most, np.log1p(slope**2)
    control = near & (row > _CONTROL * reach) & (row >= 2)
    enough = control.sum(axis=1) >= _LEAST
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
    return _Bands(
        reaches, np.pi * middle / width, half, share, total, enough, turned, lean, square,
        own[:, :first], along[:, :first], cells, error,
    )  # fmt: skip


class _Fit(NamedTuple):
    reach: float
    rest: np.ndarray  # power of everything else at the lowest frequency along
    ratio: np.ndarray
    error: np.ndarray  # its standard error where there are no stripes


def _fitted(power: np.ndarray, bands: _Bands) -> _Fit:
    """Return the most likely power of stripes and their reach, every coefficient being Gaussian."""
    half, own, rows = bands.half, bands.own, bands.own.shape[1]
    # Beyond the stripes: a level for each band, and one fall with the direction.
    height = np.log(power) - digamma(half) + np.log(half)
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
    return _Fit(bands.reaches[k], lowest[k], ratio[k, 0], bands.error[k])


def _trusted(fit: _Fit, sure: float) -> np.ndarray:
    """Return the ratio where it is believed.

    Structure is strong and scarce at low frequencies, where it may well look like stripes; those have about as much
    power there as at the higher frequencies, where they stand out of chance, or there are none.
    """
    error = np.sqrt(fit.error**2 + _DOUBT**2)
    certain = np.maximum(fit.ratio - sure * error, 0) * fit.rest
    highest = np.maximum.accumulate(certain[::-1])[::-1]  # from each band on
    most = _MORE * highest[np.maximum(np.arange(len(certain)) - _BACK, 0)]
    # Stripes change slowly with frequency: bands lend each other what they lack in number.
    share, power = 1 / fit.error**2, np.minimum(fit.ratio * fit.rest, most)
    mean = _with_beside(share * power) / _with_beside(share)
    return np.asarray(np.where(power > 0, np.minimum(mean, most), 0) / fit.rest)


def _with_beside(values: np.ndarray) -> np.ndarray:
    around = np.pad(values, 1)
    return np.asarray(values + _BESIDE * (around[:-2] + around[2:]))


def _bands(width: int, first: int) -> list[int]:
    """Return the borders of bands of frequency, each a third higher than the one before."""
    edges = [first]
    while edges[-1] < width:
        edges.append(min(width, round(max(edges[-1] * _GROWTH, edges[-1] + _LEAST))))
    if len(edges) > 2 and edges[-1] - edges[-2] < _LEAST:
        del edges[-2]
    return edges


def _powers(u: Any, weight: Any, rows: int, slow: Any = None) -> np.ndarray:
    """Return the power of differences along x, (cosines along y, half cycles along x), float64 on the host."""
    xp = namespace(u)
    if weight is None:
        slow = (project(u, rows) if slow is None else slow)[:rows]
        # Of a row that goes on as its mirror image, what differences are follows from what the row is.
        whole = scipy.fft.dct(slow) if on_host(slow) else _mirrored(slow)
        step = 2 * np.sin(np.pi * np.arange(u.shape[1]) / (2 * u.shape[1]))
        power = (whole * xp.asarray(step)) ** 2
    else:
        there = weight > 0
        change = project(xp.where(there[:, 1:] & there[:, :-1], u[:, 1:] - u[:, :-1], np.float32(0)), rows)
        gap = xp.zeros((rows, 1), np.float32)
        fft: Any = scipy.fft if xp is np else xp.fft
        power = abs(fft.rfft(xp.concatenate([gap, change, gap, -change[:, ::-1]], axis=1))) ** 2
    return np.asarray(power.get() if hasattr(power, "get") else power, np.float64)


def _mirrored(rows: Any) -> Any:
    """`xp` form of the cosine transform, but for signs."""
    xp = namespace(rows)
    return abs(xp.fft.rfft(xp.concatenate([rows, rows[:, ::-1]], axis=1)))[:, : rows.shape[1]]
