"""How wavelet destriping is to be done, and what it keeps for frames of one shape.

At each level the stripes are ``S E G E' A I X'``: along y the frame I is analysed (A: low-pass, level times), seen in
slow waves E of the coarse samples, damped (G), and synthesised (S); along x it goes through the detail band (X).
Where the damping is measured (G), the slow waves are those of the frame itself, with neither A nor S. Otherwise short
filters go level by level. Long ones are smooth, and S E G E' A of all levels together act on few slow functions of y
alone: a truncated singular value decomposition gives a common basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pywt
from scipy import sparse

from stack3d.kernels import _slow_rows
from stack3d.kernels._shear import check_strength, checked_angle, checked_shape, shear_of
from stack3d.kernels._stripe_power import MODES

_FAINT = 1e-5  # damping below this is none
_CUT = 1e-3  # functions weaker than this times the strongest are left out: about 1e-5 of the frame's contrast
_SHORT = 4  # taps of a filter that goes level by level,
_FUNCTIONS = 2  # or so many for each cycle of the damping
_LEVELS = 5
_DAMPING = 4.0


@dataclass(frozen=True)
class Plan:
    """How stripes are found in the frames of one shape; small, hashable and picklable.

    Attributes
    ----------
    shape : tuple of int
        Shape (y, x) of the frames.
    angle : float
        Of the stripes, in degrees; 0 along y, counter-clockwise on the screen.
    wavelet : str
        Name of a discrete wavelet.
    level : int
        Levels of the decomposition.
    damping : float or None
        Its width, in cycles per length of the (extended) frame along the stripes; None: as measured in each frame.
    boundary : str
        "reflect" or "periodic": how the bands continue at the ends of the stripes.
    shrink : bool
        Whether the stripes of each level are reduced by what is found across them.
    strength : float
        1 takes what is measured.
    difference : bool
        Whether frames are differences of slices.
    """

    shape: tuple[int, int]
    angle: float
    wavelet: str
    level: int
    damping: float | None
    boundary: str
    shrink: bool
    strength: float
    difference: bool = False


class Bank(NamedTuple):
    """Filters of a wavelet, float32."""

    dec_lo: np.ndarray[Any, Any]
    dec_hi: np.ndarray[Any, Any]
    rec_lo: np.ndarray[Any, Any]
    rec_hi: np.ndarray[Any, Any]


class Tables(NamedTuple):
    """What follows from a plan for frames whose slow cosines are measured; made once in a process, for the sheared frame."""

    bank: Bank
    cycles: np.ndarray[Any, Any]  # of each cosine along the frame
    widths: tuple[int, ...]  # of a row at each level, the frame's first
    omega: tuple[np.ndarray[Any, Any], ...]  # frequencies across the stripes that the details of each level stand for


class Pyramid(NamedTuple):
    """What follows from a plan with a damping of its own."""

    bank: Bank
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    slow: tuple[_slow_rows.Slow, ...]  # of each level
    damping: tuple[np.ndarray[Any, Any], ...]  # (waves, 1)
    rows: tuple[np.ndarray[Any, Any], ...]  # (waves,) and
    columns: tuple[np.ndarray[Any, Any], ...]  # (x,): what a band adds to the mean of the field


class Basis(NamedTuple):
    """The same for long filters: columns of the frame to few functions, and back."""

    bank: Bank
    widths: tuple[int, ...]
    project: np.ndarray[Any, Any]  # (functions, y)
    mix: tuple[np.ndarray[Any, Any], ...]  # of each level, (functions of the result, functions)
    expand: np.ndarray[Any, Any]  # (y, functions of the result), the last of which is constant
    middle: np.ndarray[Any, Any]  # (functions of the result,): means of what they expand to


def plan(
    shape: tuple[int, ...],
    *,
    angle: float = 0.0,
    wavelet: str = "db4",
    level: int | None = None,
    damping: float | None = None,
    boundary: str = "reflect",
    shrink: bool = True,
    strength: float = 1.0,
    difference: bool = False,
) -> Plan:
    """Say how stripes are to be found by damping of wavelet bands.

    Parameters
    ----------
    shape : tuple of int
        Shape (y, x) of a frame.
    angle : float, default 0
        Direction of the stripes in degrees: 0 along y, 90 along x, counter-clockwise on the screen.
    wavelet : str, default "db4"
        Any discrete wavelet of PyWavelets.
    level : int, optional
        Levels: stripes up to about ``2 ** level`` pixels wide are found. By default 5, less in small frames. Without
        `shrink` more may be asked for, up to the frame's whole side; in those every value is touched by the edges.
    damping : float, optional
        Stripes that vary along their direction by up to about so many cycles over the frame's length are removed. Smaller
        keeps more of the specimen. (The sigma of the published method.) By default as measured in each frame and at
        each level; 4 without `shrink`.
    boundary : {"reflect", "periodic"}, default "reflect"
        How the bands continue at the ends of the stripes. "periodic" is the method as published: what is at one
        end leaks to the other.
    strength : float, default 1
        Below 1 so much of the stripes is taken; above 1 more of what only looks like stripes (needs `shrink`).
    shrink : bool, default True
        Reduce the stripes of each level by the share of their power that is measured to be specimen and noise: nothing
        is left of them where a frame has none. False is the method as published.
    difference : bool, default False
        The frames are differences of slices: with little structure that could be taken for stripes.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> from stack3d.kernels import wavelet_stripes
    >>> wavelet_stripes.plan((512, 512)).level
    5
    """
    shape, angle = checked_shape(shape), checked_angle(angle)
    try:
        length = pywt.Wavelet(wavelet).dec_len
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"wavelet={wavelet!r} must name a discrete wavelet, as pywt.wavelist(kind='discrete')"
        ) from error
    upright = min(shear_of(shape, angle).upright)
    deepest = max(1, pywt.dwt_max_level(upright, length))
    if level is None:
        level = min(_LEVELS, deepest)
    if (
        not shrink
    ):  # further levels, made of the edges alone, are damped as others; there is nothing to be measured in them
        deepest = max(deepest, int(np.log2(upright)))
    if (
        isinstance(level, bool)
        or not isinstance(level, int | float | np.number)
        or level != int(level)
        or not 1 <= level <= deepest
    ):
        raise ValueError(
            f"level={level!r} must be a whole number from 1 to {deepest} for {wavelet!r} and frames {shape}"
        )
    if damping is None and not shrink:
        damping = _DAMPING
    if damping is not None and not _positive(damping):
        raise ValueError(f"damping={damping!r} must be a positive number of cycles per frame")
    if boundary not in ("reflect", "periodic"):
        raise ValueError(f'boundary={boundary!r} must be "reflect" or "periodic"')
    check_strength(strength, shrink)
    width = None if damping is None else float(damping)
    return Plan(shape, angle, str(wavelet), int(level), width, boundary, bool(shrink), float(strength), difference)


def _positive(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float | np.number) and bool(0 < value < np.inf)


@lru_cache(maxsize=32)
def tables_of(plan: Plan) -> Tables:
    rows, columns = shear_of(plan.shape, plan.angle).upright
    bank = _bank(plan.wavelet)
    cycles = np.arange(min(MODES, rows)) / 2
    widths = _sizes(columns, bank.dec_lo.size, plan.level)
    # Every second sample of a band of high frequencies: those come in the opposite order.
    omega = [(np.pi - np.pi * np.arange(n) / n / 2) / 2**level for level, n in enumerate(widths[1:])]
    return Tables(bank, cycles, widths, tuple(omega))


@lru_cache(maxsize=32)
def pyramid_of(plan: Plan) -> Pyramid:
    assert plan.damping is not None
    rows, columns = shear_of(plan.shape, plan.angle).upright
    bank = _bank(plan.wavelet)
    heights, widths = (_sizes(size, bank.dec_lo.size, plan.level) for size in (rows, columns))
    along, across = np.full(rows, 1 / rows), np.full(columns, 1 / columns)
    slow, damping, means = [], [], []
    for level in range(1, plan.level + 1):
        waves, damped = _slow_rows.of_damping(heights[level], plan.damping, plan.boundary == "periodic", _FAINT)
        slow.append(waves)
        damping.append(damped)
        along = _synthesis(heights[level - 1], bank.rec_lo).T @ along
        high = _synthesis(widths[level - 1], bank.rec_hi).T @ across
        across = _synthesis(widths[level - 1], bank.rec_lo).T @ across
        means.append((_slow_rows.project(_frozen(along[:, None]), waves)[:, 0], _frozen(high)))
    rows_of, columns_of = zip(*means, strict=True)
    return Pyramid(bank, heights, widths, tuple(slow), tuple(damping), rows_of, columns_of)


def levelwise(plan: Plan) -> bool:
    """Whether a damping of its own goes level by level: the number of functions of a basis grows with the damping."""
    assert plan.damping is not None
    return _bank(plan.wavelet).dec_lo.size <= max(_SHORT, _FUNCTIONS * plan.damping)


@lru_cache(maxsize=8)
def basis_of(plan: Plan) -> Basis:
    assert plan.damping is not None
    rows, columns = shear_of(plan.shape, plan.angle).upright
    bank = _bank(plan.wavelet)
    heights, widths = (_sizes(size, bank.dec_lo.size, plan.level) for size in (rows, columns))
    analysed, synthesised = [], []
    for level in range(1, plan.level + 1):
        waves, damping = _slow_rows.damped(heights[level], plan.damping, plan.boundary == "periodic", _FAINT)
        seen = made = waves.T * np.sqrt(damping)
        for size in reversed(heights[:level]):
            seen = _analysis(size, bank.dec_lo).T @ seen
            made = _synthesis(size, bank.rec_lo) @ made
        analysed.append(seen)
        synthesised.append(made)
    basis, inner = _compressed(np.concatenate(analysed, axis=1))
    shown, outer = _compressed(np.concatenate(synthesised, axis=1))
    mix, begin = [], 0
    for seen in analysed:
        part = slice(begin, begin + seen.shape[1])
        mix.append(_frozen(outer[:, part] @ inner[:, part].T))
        begin = part.stop
    shown[:, -1] = 1  # takes the mean away
    return Basis(bank, widths, _frozen(basis.T), tuple(mix), _frozen(shown), _frozen(shown.mean(axis=0)))


def _compressed(columns: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return an orthonormal basis and coordinates: ``columns ~ basis @ coordinates``."""
    left, values, right = np.linalg.svd(columns, full_matrices=False)
    kept = values > _CUT * values[0]
    basis, coordinates = left[:, kept], values[kept, None] * right[kept]
    # Whole vectors: zeros up to a multiple of 16, at least one of them.
    more = 16 - basis.shape[1] % 16
    return np.pad(basis, ((0, 0), (0, more))), np.pad(coordinates, ((0, more), (0, 0)))


def _analysis(size: int, taps: np.ndarray[Any, Any]) -> sparse.csr_matrix:
    """Low-pass and keep every second sample, reflecting at the ends with the end sample repeated."""
    count = (size + taps.size - 1) // 2
    row, tap = np.divmod(np.arange(count * taps.size), taps.size)
    place = (2 * row + 1 - tap) % (2 * size)
    place = np.where(place >= size, 2 * size - 1 - place, place)
    return sparse.csr_matrix((taps[tap], (row, place)), shape=(count, size))


@lru_cache(maxsize=16)
def _bank(name: str) -> Bank:
    wavelet = pywt.Wavelet(name)
    return Bank(*map(_frozen, (wavelet.dec_lo, wavelet.dec_hi, wavelet.rec_lo, wavelet.rec_hi)))


def _sizes(size: int, taps: int, levels: int) -> tuple[int, ...]:
    out = [size]
    for _ in range(levels):
        out.append((out[-1] + taps - 1) // 2)
    return tuple(out)


def _synthesis(size: int, taps: np.ndarray[Any, Any]) -> sparse.csr_matrix:
    """Put zeros between samples and low-pass, cut to `size`."""
    count = (size + taps.size - 1) // 2
    column, tap = np.divmod(np.arange(count * taps.size), taps.size)
    place = 2 * column + tap - (taps.size - 2)
    kept = (place >= 0) & (place < size)
    return sparse.csr_matrix((taps[tap[kept]], (place[kept], column[kept])), shape=(size, count))


def _frozen(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = np.ascontiguousarray(values, dtype=np.float32)
    out.flags.writeable = False
    return out
