"""What wavelet destriping does to the columns of a frame, brought to a small number of modes.

At each level the stripes are ``S E G E' A I X'``: along y the frame I is analysed (A: low-pass, level times), seen in
slow modes E of the coarse samples, damped (G), and synthesised (S); along x it goes through the detail band (X). All
S E G E' A together act on few slow functions of y alone: a truncated singular value decomposition gives a common basis.
Where the damping is measured (G), the slow modes are those of the frame itself, with neither A nor S.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pywt
from scipy import sparse

from stack3d.kernels._shear import check_strength, checked_angle, checked_shape, shear_of
from stack3d.kernels._stripe_power import MODES

_CUT = 1e-3  # modes weaker than this times the strongest are left out: about 1e-5 of the frame's contrast
_FAINT = 1e-6  # damping below this is none
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


class Tables(NamedTuple):
    """What follows from a plan; made once in a process. The frame is the sheared one."""

    project: np.ndarray[Any, Any]  # (modes, y) float32: columns of the frame to modes
    mix: tuple[np.ndarray[Any, Any], ...]  # per level (modes of the result, modes) float32; none: all are the same
    cycles: np.ndarray[Any, Any]  # of each mode, where all are the same, otherwise a zero
    expand: np.ndarray[
        Any, Any
    ]  # (y, modes of the result) float32, one of them constant: the last, or the first with no mix
    widths: tuple[int, ...]  # of a row at each level, the frame's first
    middle: np.ndarray[Any, Any]  # (modes of the result,) float32: means of what they expand to


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
        Levels: stripes up to about ``2 ** level`` pixels wide are found. By default 5, less in small frames.
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
    deepest = max(1, pywt.dwt_max_level(min(shear_of(shape, angle).upright), length))
    if level is None:
        level = min(_LEVELS, deepest)
    if isinstance(level, bool) or level != int(level) or not 1 <= level <= deepest:
        raise ValueError(
            f"level={level!r} must be a whole number from 1 to {deepest} for {wavelet!r} and frames {shape}"
        )
    if damping is None and not shrink:
        damping = _DAMPING
    if damping is not None and (isinstance(damping, bool) or not 0 < damping < np.inf):
        raise ValueError(f"damping={damping!r} must be a positive number of cycles per frame")
    if boundary not in ("reflect", "periodic"):
        raise ValueError(f'boundary={boundary!r} must be "reflect" or "periodic"')
    check_strength(strength, shrink)
    width = None if damping is None else float(damping)
    return Plan(shape, angle, str(wavelet), int(level), width, boundary, bool(shrink), float(strength), difference)


@lru_cache(maxsize=8)
def tables_of(plan: Plan) -> Tables:
    rows, columns = shear_of(plan.shape, plan.angle).upright
    wavelet = pywt.Wavelet(plan.wavelet)
    heights, widths = _sizes(rows, wavelet.dec_len, plan.level), _sizes(columns, wavelet.dec_len, plan.level)
    if plan.damping is None:
        modes, cycles = _modes(rows, None, plan.boundary)
        return Tables(_frozen(modes.T), (), cycles, _frozen(modes), tuple(widths), _frozen(modes.mean(axis=0)))
    analysed, synthesised = [], []
    for level in range(1, plan.level + 1):
        modes, _ = _modes(heights[level], plan.damping, plan.boundary)
        seen, made = modes, modes
        for size in reversed(heights[:level]):
            seen = _analysis(size, np.asarray(wavelet.dec_lo)).T @ seen
            made = _synthesis(size, np.asarray(wavelet.rec_lo)) @ made
        analysed.append(seen)
        synthesised.append(made)
    basis, inner = _compressed(np.concatenate(analysed, axis=1))
    shown, outer = _compressed(np.concatenate(synthesised, axis=1))
    mix, begin = [], 0
    for seen in analysed:
        part = slice(begin, begin + seen.shape[1])
        mix.append((outer[:, part] @ inner[:, part].T).astype(np.float32))
        begin = part.stop
    shown[:, -1] = 1  # takes the mean away
    return Tables(_frozen(basis.T), tuple(mix), np.zeros(1), _frozen(shown), tuple(widths), _frozen(shown.mean(axis=0)))


def _sizes(size: int, taps: int, levels: int) -> list[int]:
    out = [size]
    for _ in range(levels):
        out.append((out[-1] + taps - 1) // 2)
    return out


def _modes(size: int, sigma: float | None, boundary: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Orthonormal slow modes, (size, modes), and the cycles of each; each times the root of its damping, if that is given."""
    if boundary == "periodic":
        cycles = np.arange(size // 2 + 1.0)
        phase = 2 * np.pi * np.outer(np.arange(size), cycles) / size
        modes = np.concatenate([np.cos(phase), np.sin(phase[:, 1 : (size + 1) // 2])], axis=1)
        cycles = np.concatenate([cycles, cycles[1 : (size + 1) // 2]])
    else:
        cycles = np.arange(size) / 2
        modes = np.cos(2 * np.pi * np.outer(np.arange(size) + 0.5, cycles) / size)
    damping = (2 * cycles < MODES) * 1.0 if sigma is None else np.exp(-(cycles**2) / (2 * sigma**2))
    kept = damping > _FAINT
    modes = modes[:, kept] / np.linalg.norm(modes[:, kept], axis=0)
    return modes * np.sqrt(damping[kept]), cycles[kept]


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
