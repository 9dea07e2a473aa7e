"""Stripes in the spectrum of a frame: their angle, and how much of the variance is theirs.

Stripes are long, so their energy lies on a narrow ridge through the origin, across their direction. Structure that is
oriented is shorter, and fills a wider fan. A ridge is therefore judged against its own flanks, not against all
directions, in a spectrum that was made flat by the geometric mean of each ring.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels import spectrum as spectra
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels.spectrum import Spectrum

STEP = 0.5  # degrees between the directions that are looked at
ANGLES = np.arange(-90.0, 90.0, STEP)
LEAST = 7.0  # score of stripes; one of 252 frames of real tissue without planted ones has it
CLEAR = 3.5  # least contrast
FAINT = 0.02  # least share
LIMITS = 12
_EULER = 0.5772156649015329  # minus the mean of the logarithm of a periodogram of white noise
_SPREAD = 0.03  # tangent of the angle by which the lines of one frame differ
_NARROW = 1.5  # half width of a ridge without such a spread, in steps of the frequency
# Where a ridge and its flanks are looked at, in half widths across it.
_PLACES = np.array([0.0, -0.35, 0.35, -0.7, 0.7, -3.2, -2.5, -1.8, 1.8, 2.5, 3.2], np.float32)
# The first so many of them are the ridge, for lines that are parallel or less so.
_RIDGES = (1, 3, 5)
_FLANKS = 5
_FIRST = 3  # frequency steps from the origin where the ridge begins to stand out
LEAST_SIDE = 24  # pixels of a frame
_LITTLE = 3e-3  # of the energy of a ridge
_TURNS = 4


class Stripes(NamedTuple):
    """What was found.

    Attributes
    ----------
    angle : float
        Degrees, counter-clockwise on the screen, 0 along y, from -90 to below 90; NaN where there are no stripes.
    rms : float
        Root mean square of the stripes, in grey values; 0 where there are none, NaN where nothing can be said.
    share : float
        `rms` over the standard deviation of the frame, both under the taper.
    score : float
        By how many robust standard deviations of the other directions the ridge stands out.
    contrast : float
        By how many standard deviations of noise it stands out of its own flanks.
    """

    angle: float
    rms: float
    share: float
    score: float
    contrast: float


def measurable(found: Spectrum) -> bool:
    """Tell whether a frame is large enough, and has any contrast, to look for stripes in it."""
    if min(found.shape) < LEAST_SIDE or not found.squares > 0:
        return False
    # A constant frame keeps a dust of rounding beside its mean.
    return bool(spectra.mean_power(found) > (1e-6 * found.mean) ** 2)


def stripes(found: Spectrum, angle: float | None = None, *, least: float = LEAST) -> Stripes:
    """Find the stripes of a frame.

    Parameters
    ----------
    found : Spectrum
        Of `spectrum.spectrum`.
    angle : float, optional
        Direction where their energy is measured, whatever it is; by default it is looked for.
    least : float
        Score from which a direction that was looked for counts as stripes.

    Returns
    -------
    Stripes

    Examples
    --------
    >>> from stack3d.kernels import direction, spectrum
    >>> lines = np.random.default_rng(0).normal(size=128).astype("float32")
    >>> frame = np.random.default_rng(1).normal(0, 2, (128, 128)).astype("float32") + lines
    >>> round(abs(direction.stripes(spectrum.spectrum(frame)).angle), 1)
    0.0
    """
    if not measurable(found):
        return Stripes(np.nan, np.nan, np.nan, np.nan, np.nan)
    flat, power = whitened(found)
    peak, score = best_direction(ridge_curve(ridge_sums(found, flat)))
    if angle is not None:
        return measured(found, power, flat, angle, score)
    if not score >= least:
        return Stripes(np.nan, 0.0, 0.0, score, np.nan)
    result = measured(found, power, flat, refined(found, power, flat, peak), score)
    return result if seen(result) else Stripes(np.nan, 0.0, 0.0, score, result.contrast)


def seen(result: Stripes) -> bool:
    """Tell whether the ridge stands out of its own flanks, and holds anything worth the name of stripes."""
    return result.contrast >= CLEAR and result.share >= FAINT


def measured(found: Spectrum, power: Any, flat: Any, angle: float, score: float) -> Stripes:
    """Return what stripes at an angle hold."""
    near = _near(found, power, flat, angle)
    clear = ridge_contrast(near)
    pixels = found.transformed[0] * found.transformed[1]
    energy, variance = ridge_energy(near, clear >= CLEAR) / pixels, spectra.mean_power(found)
    share = float(np.sqrt(min(energy / variance, 1.0)))
    return Stripes(upright(angle), float(np.sqrt(energy)), share, score, clear)


def upright(angle: float) -> float:
    """Return the same direction from -90 to below 90 degrees."""
    return float((angle + 90.0) % 180.0 - 90.0)


def whitened(found: Spectrum) -> tuple[Any, Any]:
    """Return the logarithm of the power over that of its ring, and the power, of the half-plane, float32."""
    xp = namespace(found.half)
    power = spectra.power(found)
    rings, count = _rings(*found.transformed)
    index = xp.asarray(rings)
    logs = xp.log(xp.maximum(power, np.float32(1e-12) * power.max()))
    inside = xp.bincount(index.ravel(), minlength=count)
    sums = xp.bincount(index.ravel(), weights=logs.ravel(), minlength=count)
    level = (sums / xp.maximum(inside, 1)).astype(np.float32)
    return logs - level[index], power


def ridge_sums(found: Spectrum, flat: Any) -> np.ndarray:
    """Return how much higher than its flanks the ridge in each of `ANGLES` is: (widths, angles, limits) float32.

    Logarithms along a ridge are summed from low frequencies to a limit, as stripes have no energy finer than they are
    wide. The sums of several frames of one shape may be added.
    """
    reach = max(_FIRST + 8, int(0.35 * min(found.transformed)))
    along = np.arange(_FIRST, reach, max(1, reach // 256), dtype=np.float32)
    scan = _scan if on_host(flat) else _scan_xp
    profile = scan(flat, *_rays(found.transformed), along)
    limits = np.geomspace(8, profile.shape[2], LIMITS).astype(int) - 1
    flanks = profile[_FLANKS:].mean(axis=0)
    out = np.empty((len(_RIDGES), ANGLES.size, LIMITS), np.float32)
    for sums, count in zip(out, _RIDGES, strict=True):
        sums[...] = np.cumsum(profile[:count].mean(axis=0) - flanks, axis=1, dtype=np.float64)[:, limits]
    return out


def no_sums() -> np.ndarray:
    """Return `ridge_sums` of a frame that has none."""
    return np.zeros((len(_RIDGES), ANGLES.size, LIMITS), np.float32)


def ridge_curve(sums: np.ndarray) -> np.ndarray:
    """Return by how many standard deviations of all directions the ridge in each of `ANGLES` stands out.

    The deviations are those of the other directions, by median and median absolute deviation; of the widths and limits
    of `ridge_sums` the best counts.
    """
    above = sums - np.median(sums, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(above), axis=1, keepdims=True)
    return np.asarray((above / np.maximum(spread, 1e-6)).max(axis=(0, 2)))


def best_direction(curve: np.ndarray) -> tuple[float, float]:
    """Return the direction of the highest ridge in `ridge_curve`, and its score."""
    peak = int(np.argmax(curve))
    return float(ANGLES[peak]), float(curve[peak])


def refined(found: Spectrum, power: Any, flat: Any, angle: float) -> float:
    """Return `angle` turned to where the ridge lies, to a small part of the steps of `ANGLES`."""
    xp = namespace(power)
    for _ in range(_TURNS):
        near = _near(found, power, flat, angle)
        # In units of what the flanks predict, so that strong structure does not pull; only where the ridge is seen, and
        # holds some of the energy: beyond it are the images of lines that were sampled too coarsely.
        ratio = xp.clip(near.excess / near.predicted, -1, 10)
        number = xp.maximum(xp.bincount(near.group), 1)
        mean = xp.bincount(near.group, weights=ratio) / number
        energy = xp.bincount(near.group, weights=near.excess)
        held = (mean * xp.sqrt(number) > 2) & (energy > _LITTLE * xp.maximum(energy, 0).sum())
        seen = xp.where(held, mean / (1 + xp.abs(mean)), 0.0)
        pull = ratio * seen[near.group] * near.along
        moment = float((pull * near.along).sum(dtype=np.float64))
        if moment <= 0:
            return angle
        turn = float((pull * near.across).sum(dtype=np.float64)) / moment
        angle = upright(angle - float(np.degrees(np.arctan(turn))))
    return angle


def ridge_energy(near: _Near, clear: bool) -> float:
    """Return what a ridge holds beyond what its flanks predict, summed over half octaves.

    Those where it is less than the deviation that chance gives, twice that where the ridge is not clear, count nothing.
    """
    xp = namespace(near.group)
    sums = _host(xp.bincount(near.group, weights=near.excess))
    chance = np.sqrt(_host(xp.bincount(near.group, weights=near.predicted * near.predicted)))
    return float(sums[sums > (1 if clear else 2) * chance].sum())


def ridge_contrast(near: _Near) -> float:
    """Return by how many standard deviations of noise a ridge is above what its flanks, drawn on as a fan, predict."""
    xp = namespace(near.group)
    inside = np.cumsum(_host(xp.bincount(near.group)))
    sums = np.cumsum(_host(xp.bincount(near.group, weights=near.above)))
    return float((sums / np.sqrt(np.pi**2 / 6 * np.maximum(inside, 8))).max(initial=0.0))


def _host(values: Any) -> np.ndarray:
    return np.asarray(values if isinstance(values, np.ndarray) else values.get())


@lru_cache(maxsize=8)
def _rings(rows: int, columns: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return the ring of each place of the half-plane, and how many there are."""
    y, x = np.fft.fftfreq(rows), np.arange(columns // 2 + 1) / columns
    rings = np.rint(np.hypot(y[:, None], x[None, :]) * min(rows, columns)).astype(np.int32)
    rings.flags.writeable = False
    return rings, int(rings.max()) + 1


def _half_width(found_shape: tuple[int, int], angle: Any) -> Any:
    """Return the half width of a sharp ridge, in steps of 1 / (shorter side)."""
    turn = np.radians(angle)
    return _NARROW * min(found_shape) * np.hypot(np.cos(turn) / found_shape[0], np.sin(turn) / found_shape[1])


@lru_cache(maxsize=8)
def _rays(shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Return, for each direction, (rows, columns) of a step along the ridge and of one half width across it."""
    turn, side = np.radians(ANGLES), min(shape)
    size = np.array(shape) / side
    out = np.stack([-np.sin(turn), np.cos(turn)], axis=1) * size
    across = np.stack([np.cos(turn), np.sin(turn)], axis=1) * size
    width = _half_width(shape, ANGLES)
    offsets = np.stack([width, np.full(ANGLES.size, _SPREAD)], axis=1)
    return across.astype(np.float32), out.astype(np.float32), offsets.astype(np.float32)


def _scan_xp(flat: Any, across: Any, out: Any, offsets: Any, along: Any) -> Any:
    xp = namespace(flat)
    width = offsets[:, :1] + offsets[:, 1:] * along
    profile = np.empty((_PLACES.size, *width.shape), np.float32)
    for values, place in zip(profile, _PLACES, strict=True):
        step = place * width
        y = np.rint(along * out[:, :1] + step * across[:, :1]).astype(np.int32)
        x = np.rint(along * out[:, 1:] + step * across[:, 1:]).astype(np.int32)
        y, x = np.where(x < 0, -y, y) % flat.shape[0], np.minimum(np.abs(x), flat.shape[1] - 1)
        found = flat[xp.asarray(y), xp.asarray(x)]
        values[...] = _host(found)
    return profile


@njit(nogil=True, cache=True)
def _scan(flat: Any, across: Any, out: Any, offsets: Any, along: Any) -> Any:
    rows, columns = flat.shape
    profile = np.empty((_PLACES.size, out.shape[0], along.size), np.float32)
    for n in range(_PLACES.size):
        for m in range(out.shape[0]):
            for k in range(along.size):
                step = _PLACES[n] * (offsets[m, 0] + offsets[m, 1] * along[k])
                y = int(np.rint(along[k] * out[m, 0] + step * across[m, 0]))
                x = int(np.rint(along[k] * out[m, 1] + step * across[m, 1]))
                if x < 0:
                    y, x = -y, -x
                # A division for each place would take longer than all the rest.
                y = y + rows if y < 0 else y
                profile[n, m, k] = flat[y if 0 <= y < rows else y % rows, min(x, columns - 1)]
    return profile


class _Near(NamedTuple):
    """The places on a ridge.

    How far along and across it they lie, their power beyond what the flanks predict, what they predict, the logarithm
    of the ratio, and half octaves of the distance.
    """

    along: Any
    across: Any
    excess: Any
    predicted: Any
    above: Any
    group: Any


def _near(found: Spectrum, power: Any, flat: Any, angle: float) -> _Near:
    xp = namespace(power)
    turn, side = np.radians(angle), min(found.shape)
    y, x = (xp.asarray((side * values).astype(np.float32)) for values in spectra.frequencies(found))
    sin, cos = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    narrow, far = np.float32(_half_width(found.shape, angle)), np.float32(3.5)
    slope = np.float32(_SPREAD)
    # Within the reach of the flanks: few of all places, so the rest is done for those alone.
    rows, columns = xp.nonzero(
        xp.abs((cos * y)[:, None] + (sin * x)[None, :])
        < far * (narrow + slope * xp.abs((cos * x)[None, :] - (sin * y)[:, None]))
    )
    along, across = cos * x[columns] - sin * y[rows], cos * y[rows] + sin * x[columns]
    length, beside = xp.abs(along), xp.abs(across)
    width = narrow + slope * length
    number = xp.asarray(spectra.multiplicity(found.transformed[1]).astype(np.float32))[columns]
    values = flat[rows, columns]
    group = xp.floor(2 * xp.log2(xp.maximum(length, np.float32(1)))).astype(np.int32)
    flank = beside > np.float32(1.5) * width
    place = (beside / width) ** 2
    level, fall = _flank_level(values[flank], place[flank], group[flank], int(group.max()) + 1, xp)
    ridge = (beside < width) & (length >= 2)
    above = values - level[group] - fall * place
    held = number * power[rows, columns]
    predicted = held * xp.exp(-above)
    parts = (along, across, held - predicted, predicted, above + np.float32(_EULER), group)
    return _Near(*(part[ridge] for part in parts))


def _flank_level(values: Any, place: Any, group: Any, count: int, xp: Any) -> tuple[Any, Any]:
    """Return what the flanks predict on the ridge at each distance, and how it falls with the square across.

    Logarithms of the mean power, over that of the rings: a fan of oriented structure is highest on the ridge too.
    """
    inside = xp.maximum(xp.bincount(group, minlength=count), 1)
    level = xp.bincount(group, weights=values, minlength=count) / inside
    middle = xp.bincount(group, weights=place, minlength=count) / inside
    lean = place - middle[group]
    fall = xp.minimum((lean * (values - level[group])).sum() / xp.maximum((lean * lean).sum(), 1e-9), 0.0)
    # The mean of n logarithms of exponential variables, brought back to their mean.
    back = _EULER - np.pi**2 / 12 / inside
    return (level - fall * middle + back).astype(np.float32), fall.astype(np.float32)
