"""How strong stripes are at each frequency across them, and how long: their power over that of everything else.

The power of a frame is summed in bands of frequency across the stripes (along x), for each slow cosine along them (along
y). Structure and noise at a high frequency across have nearly the same power at all low frequencies along, or one that
falls smoothly with the direction; stripes stand out at the lowest. How far they reach is their length.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _stripe_power_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._slow_rows import mixed, of_cosines, panels, project, sums_of
from stack3d.kernels._stripe_fit import LEAST, SURE, bands_of, fitted, trusted

REACHES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
ROWS = 64  # frequencies along the stripe that are looked at
_GROWTH = 1.33  # of the bands
_SLOPES = (1.0, 4.0)  # from the axis across, up to which power is compared in a frame, and in a difference
_FAINT = 1e-3
_LEVEL = 1e-3  # of the power of stripes, below which nothing else is told apart
_TINY = 1e-12  # of the largest of all, that all others are lifted to
_FAST = 13  # largest prime factor of a length that transforms are made for;
_PLAIN, _PRIME = (
    200,
    4,
)  # a transform takes as long as a product would at a length of so much and so often the largest factor
MODES = int(np.ceil(REACHES[-1] * np.sqrt(-np.log(_FAINT)))) + 1  # cosines along the stripe that the shortest take
_EMPTY, _NONE = np.empty((0, 0), np.float32), np.empty((0, 2), np.int64)
_NONE.flags.writeable = False  # as spans are: one type of array for the compiled loops
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
    unit : float
        What that would be of differences of variance 1 without correlation.
    """

    rows: int
    reach: float
    omega: np.ndarray
    ratio: np.ndarray
    rest: np.ndarray
    unit: float

    @property
    def length(self) -> float:
        """Standard deviation of the correlation along the stripe, in pixels."""
        return float(self.rows * np.sqrt(2) / (np.pi * self.reach))

    def over(self, omega_y: Any, omega_x: Any) -> Any:
        """Return the power of stripes over that of everything else at frequencies along y and x, radians a pixel."""
        return self.along(omega_y) * self.across(omega_x)

    def across(self, omega_x: Any) -> Any:
        """Return this ratio at the lowest frequency along."""
        return np.where(omega_x < self.omega[0] * 0.75, 0.0, np.interp(omega_x, self.omega, self.ratio))

    def along(self, omega_y: Any) -> Any:
        """Return how much of it is left at others."""
        share = np.exp(-((np.asarray(omega_y) * self.rows / (np.pi * self.reach)) ** 2))
        return np.where(share < _FAINT, 0.0, share)

    def beside(self, omega_x: Any, variance: float) -> Any:
        """Return the share of everything else in it and further differences of a variance, without correlation."""
        rest = np.exp(np.interp(omega_x, self.omega, np.log(self.rest)))
        return rest / (rest + variance * self.unit)

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
    return Stripes(rows, REACHES[0], np.array([np.pi]), np.zeros(1), np.ones(1), 1.0)


def measure(
    u: Any,
    weight: Any = None,
    *,
    length: float | None = None,
    strength: float = 1.0,
    difference: bool = False,
    slow: Any = None,
    spans: Any = None,
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
    spans : (y, 2) int64 array, optional
        First pixel of each row that is not missing and the one after the last, where those between are all there.
    """
    height, width = u.shape
    # Of lines with zeros up to a fast size, where pixels are missing.
    wide = width if weight is None else int(scipy.fft.next_fast_len(width, real=True))
    edges = _bands(wide, 1 if difference else LEAST)
    if height < 2 * LEAST or len(edges) < 3 or strength <= 0:
        return none(height)
    power = _powers(u, weight, min(ROWS, height // 2), wide, edges, slow, spans)
    # Endless stripes in nothing else are no Gaussian.
    if not loops.lift(power, _LEVEL, _TINY):
        return none(height)
    reaches = REACHES if length is None else (min(max(height / (np.pi * length), REACHES[0]), REACHES[-1]),)
    bands = bands_of(edges, height, wide, len(power), _SLOPES[difference], reaches)
    best = fitted(power, bands)
    ratio = strength * trusted(best, SURE / max(strength, 1.0))
    measured = float(width)
    if spans is not None:
        measured = float((spans[:, 1] - spans[:, 0]).sum()) / height
    elif weight is not None:
        measured = float(namespace(u).count_nonzero(weight > 0)) / height
    return Stripes(height, best.reach, bands.omega, ratio, best.rest, 2 * measured)


def slow_rows(u: Any) -> Any:
    """Return what `measure` looks at first: products with the slowest cosines, (..., n, x), for frames (..., y, x)."""
    return project(u, min(ROWS, u.shape[-2]))


def across(rows: Any, gains: Any, axis: int = -1) -> Any:
    """Return rows, which lie along `axis`, with each of their half cycles multiplied by `gains`."""
    if on_host(rows):
        if rows.ndim == 2 and axis == -1 and rows.dtype == np.float32 and _awkward(rows.shape[-1]):
            cosines = _cosines(rows.shape[-1])
            return (rows @ cosines.T * gains) @ cosines
        spectrum = scipy.fft.dct(rows, norm="ortho", axis=axis)
        spectrum *= gains
        return scipy.fft.idct(spectrum, norm="ortho", overwrite_x=True, axis=axis)
    return across_xp(rows, gains, axis)


@lru_cache(maxsize=64)
def _awkward(size: int) -> bool:
    """Whether a product with a matrix is faster than a fast transform: lengths with a large prime factor."""
    largest, rest = 1, size
    for factor in range(2, size + 1):
        while rest % factor == 0:
            largest, rest = factor, rest // factor
    return largest > _FAST and size < _PLAIN + _PRIME * largest


@lru_cache(maxsize=16)
def _cosines(size: int) -> np.ndarray:
    """Return the matrix of the orthonormal cosine transform, (frequencies, samples)."""
    return np.ascontiguousarray(scipy.fft.dct(np.eye(size), norm="ortho", axis=0), dtype=np.float32)


def across_xp(rows: Any, gains: Any, axis: int = -1) -> Any:
    """`xp` form of `across`: the cosine transform is that of the row and its mirror image."""
    xp = namespace(rows)
    rows, gains = xp.moveaxis(rows, axis, -1), xp.moveaxis(xp.asarray(gains), axis, -1)
    width = rows.shape[-1]
    mirrored = xp.fft.rfft(xp.concatenate([rows, rows[..., ::-1]], axis=-1))
    mirrored[..., :width] *= gains
    mirrored[..., width:] = 0
    return xp.moveaxis(xp.fft.irfft(mirrored, n=2 * width)[..., :width].astype(rows.dtype), -1, axis)


@lru_cache(maxsize=64)
def _bands(width: int, first: int) -> tuple[int, ...]:
    """Return the borders of bands of frequency, each a third higher than the one before."""
    edges = [first]
    while edges[-1] < width:
        edges.append(min(width, round(max(edges[-1] * _GROWTH, edges[-1] + LEAST))))
    if len(edges) > 2 and edges[-1] - edges[-2] < LEAST:
        del edges[-2]
    return tuple(edges)


def _powers(
    u: Any, weight: Any, rows: int, wide: int, edges: tuple[int, ...], slow: Any = None, spans: Any = None
) -> np.ndarray:
    """Return the mean power of differences along x, (cosines along y, bands across), float64 on the host."""
    out = np.empty((rows, len(edges) - 1))
    if weight is None:
        slow = (project(u, rows) if slow is None else slow)[:rows]
        # Of a row that goes on as its mirror image, what differences are follows from what the row is.
        whole, factor, first = (scipy.fft.dct(slow) if on_host(slow) else _mirrored(slow)), _steps(wide), 0
    elif on_host(u):
        slow = _projected_changes(packed(u), packed(np.asarray(weight)), rows, wide, spans)
        whole, factor, first = scipy.fft.dst(slow, type=1, overwrite_x=True), _ones(wide), 1
    else:
        whole, factor, first = _sines(project(changes_xp(u, weight, wide), rows)), _ones(wide), 1
    loops.band_means(whole.get() if hasattr(whole, "get") else whole, factor, _array(edges), first, out)
    return out


def _projected_changes(u: Any, weight: Any, rows: int, wide: int, spans: Any = None) -> Any:
    """Return the products of `changes_xp` with the slowest cosines."""
    weight, spans = (weight, _NONE) if spans is None else (_EMPTY, spans)
    slow = of_cosines(u.shape[0], rows)
    out, sums = np.empty((rows, wide - 1), np.float32), sums_of(slow)[:, 0]
    for start, stop in panels(wide - 1):
        loops.fold_changes(u, weight, spans, start, stop, slow.local, *sums)
        mixed(slow, sums, out[:, start:stop])
    return out


@lru_cache(maxsize=64)
def _steps(width: int) -> np.ndarray:
    return 2 * np.sin(np.pi * np.arange(width) / (2 * width))


@lru_cache(maxsize=64)
def _ones(width: int) -> np.ndarray:
    return np.ones(width)


@lru_cache(maxsize=64)
def _array(edges: tuple[int, ...]) -> np.ndarray:
    return np.array(edges)


def changes_xp(u: Any, weight: Any, wide: int) -> Any:
    """Return differences along x, 0 at pixels that are missing and beyond the frame: (y, `wide` - 1)."""
    xp, there = namespace(u), weight > 0
    out = xp.zeros((u.shape[0], wide - 1), np.float32)
    out[:, : u.shape[1] - 1] = xp.where(there[:, 1:] & there[:, :-1], u[:, 1:] - u[:, :-1], np.float32(0))
    return out


def _mirrored(rows: Any) -> Any:
    """`xp` form of the cosine transform, but for signs."""
    xp = namespace(rows)
    return abs(xp.fft.rfft(xp.concatenate([rows, rows[:, ::-1]], axis=1)))[:, : rows.shape[1]]


def _sines(rows: Any) -> Any:
    """`xp` form of the sine transform, but for signs."""
    xp = namespace(rows)
    gap = xp.zeros((len(rows), 1), np.float32)
    return abs(xp.fft.rfft(xp.concatenate([gap, rows, gap, -rows[:, ::-1]], axis=1)))[:, 1 : rows.shape[1] + 1]
