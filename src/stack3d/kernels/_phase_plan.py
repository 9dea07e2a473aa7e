"""How frames are transformed: the plan of a stack, and the tables that follow from it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

_BINNED_SIDE = 640  # frames are binned until their mean side is at most this
_COARSE_BINS = 56  # half-width, in bins, of the block used to find the peak
_NEAR_AXIS = (4.5, 12.0)  # cycles per frame
BLOCK = 16  # columns; rows of the band are padded with zeros to whole blocks, so that loops have no remainder


@dataclass(frozen=True)
class Plan:
    """How the frames of one stack are transformed and compared; small, hashable and picklable.

    Attributes
    ----------
    shape : tuple of int
        Shape (y, x) of the frames.
    binning : int
        Pixels averaged in each direction before the transform.
    band : tuple of float
        Lowest and highest spatial frequency used, in cycles per pixel.
    exclude_axes : float
        Coefficients closer to an axis of the spectrum than this, in cycles per frame, are left out.
    window : float
        Fraction of each side that is tapered (0: none, 1: Hann window).
    slack : float
        Binned pixels added to the error with which two bands of the spectrum are compared.
    direct : bool
        Whether a doubtful displacement is checked by comparing the frames themselves.
    """

    shape: tuple[int, int]
    binning: int
    band: tuple[float, float]
    exclude_axes: float
    window: float
    slack: float = 0.15
    direct: bool = False


def plan(
    shape: tuple[int, ...],
    *,
    binning: int | None = None,
    band: tuple[float | None, float | None] = (None, None),
    exclude_axes: float | None = None,
    window: float = 0.25,
    direct: bool | None = None,
) -> Plan:
    """Say how frames of a shape are to be transformed and compared.

    Parameters
    ----------
    shape : tuple of int
        Shape (y, x) of a frame.
    binning : int, optional
        Pixels averaged in each direction; by default what brings the mean side to 640 pixels or less.
    band : tuple of float, optional
        Lowest and highest frequency in cycles per pixel. By default 2.5 cycles per (shorter) side and 0.36 cycles per
        binned pixel; small frames use more.
    exclude_axes : float, optional
        Leave out what is closer to an axis of the spectrum than this, in cycles per frame: stripes along y and x live
        there. By default 1.5, and 0.5 where a side has fewer than 64 binned pixels.
    window : float, default 0.25
        Tapered fraction of each side.
    direct : bool, optional
        Whether a displacement that rests on few coefficients, or on what the window may leak, is checked by comparing
        the frames themselves. By default, unless `band` says what is to be compared.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> from stack3d.kernels import phase
    >>> phase.plan((2048, 2048)).binning
    4
    """
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be two positive numbers (y, x), got {shape!r}")
    ny, nx = int(shape[0]), int(shape[1])
    if binning is None:
        binning = max(1, math.ceil(math.sqrt(ny * nx) / _BINNED_SIDE))
        binning = max(1, min(binning, min(ny, nx) // 16))
    if binning < 1 or binning != int(binning):
        raise ValueError(f"binning must be a whole number of at least 1, got {binning!r}")
    if not 0 <= window <= 1:
        raise ValueError(f"window must be between 0 and 1, got {window!r}")
    small = min(ny, nx) // binning < 64
    if exclude_axes is None:
        exclude_axes = 0.5 if small else 1.5
    low, high = band
    if low is None:
        low = (1.4 if small else 2.5) / min(ny, nx)
    if high is None:
        high = max((0.42 if small else 0.36) / binning, low)
    if not 0 <= low <= high:
        raise ValueError(f"band must be (low, high) with 0 <= low <= high in cycles per pixel, got {band!r}")
    if not exclude_axes >= 0:
        raise ValueError(f"exclude_axes must not be negative, got {exclude_axes!r}")
    checked = tuple(band) == (None, None) if direct is None else bool(direct)
    ends = (float(low), float(high))
    return Plan((ny, nx), int(binning), ends, float(exclude_axes), float(window), direct=checked)


class Tables(NamedTuple):
    """What follows from a plan; made once in a process."""

    usable: bool
    binned: tuple[int, int]
    transformed: tuple[int, int]
    window_y: np.ndarray[Any, Any]
    window_x: np.ndarray[Any, Any]
    trend_y: np.ndarray[Any, Any]
    trend_x: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]  # row of the transform of each kept row
    start: np.ndarray[Any, Any]  # where a kept row begins in the flat band (rows + 1)
    first: np.ndarray[Any, Any]  # column at which it begins
    kept: np.ndarray[Any, Any]  # (rows, 2): first column of a row that is kept, and the one after the last
    step: tuple[float, float]  # radians per pixel of one row and one column
    signed: np.ndarray[Any, Any]  # signed row number
    columns: int  # columns of the transform that are needed
    cell: np.ndarray[Any, Any]  # cell of each coefficient; of padding, one nearby
    order: np.ndarray[Any, Any]  # coefficients cell by cell, without the padding
    begin: np.ndarray[Any, Any]  # where a cell begins in that order (cells + 1)
    counts: np.ndarray[Any, Any]
    ring: np.ndarray[Any, Any]  # ring of each cell
    axis: np.ndarray[Any, Any]  # whether a cell lies near an axis
    rings: int
    spread: np.ndarray[Any, Any]  # sums of ky ky, ky kx, kx kx over each cell, in radians per pixel
    dof: float  # independent coefficients per coefficient
    grid: tuple[int, int]
    slope_y: np.ndarray[Any, Any]  # slope of the logarithm of the autocorrelation of the window, a binned pixel
    slope_x: np.ndarray[Any, Any]
    reach: np.ndarray[Any, Any]  # (rows, rings + 1): coefficients of a row before each ring; rings grow along a row

    @property
    def gathered(self) -> tuple[Any, ...]:
        """What takes the band out of a transform and whitens it."""
        place = (self.rows, self.start, self.first, self.kept, self.order, self.begin, self.cell)
        return (*place, self.counts, self.ring, self.axis, self.rings)


def _taper(n: int, fraction: float) -> np.ndarray[Any, Any]:
    """Return a cosine taper of n samples that is nowhere exactly zero."""
    position = (np.arange(n) + 0.5) / n
    edge = np.minimum(position, 1 - position)
    if fraction <= 0:
        return np.ones(n)
    ramp: np.ndarray[Any, Any] = 0.5 - 0.5 * np.cos(2 * np.pi * np.minimum(edge / fraction, 0.5))
    return ramp


def _favour(window: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Slope of the logarithm of the autocorrelation of a window, at lags -0.5, 0.5, 1.5 ..."""
    n = window.size
    full = scipy.fft.irfft(np.abs(scipy.fft.rfft(window, 2 * n)) ** 2, 2 * n)[:n]
    steps = np.diff(np.log(np.maximum(full / full[0], 1e-3)))
    return np.concatenate([-steps[:1], steps]) if n > 1 else np.zeros(2)


def _trend(n: int) -> np.ndarray[Any, Any]:
    """Two orthonormal rows: constant and slope."""
    t = np.arange(n) - (n - 1) / 2
    norm = math.sqrt(float((t**2).sum())) or 1.0
    return np.stack([np.full(n, 1 / math.sqrt(n)), t / norm]).astype(np.float32)


@lru_cache(maxsize=64)
def tables_of(plan: Plan) -> Tables:
    (ny, nx), b = plan.shape, plan.binning
    n, m = ny // b, nx // b
    big_n, big_m = (scipy.fft.next_fast_len(max(size, 1), real=True) for size in (n, m))
    signed = np.arange(big_n)
    signed[signed > big_n // 2] -= big_n
    freq_y = signed / (big_n * b)
    freq_x = np.arange(big_m // 2 + 1) / (big_m * b)
    radius = np.hypot(freq_y[:, None], freq_x[None, :])
    low, high = plan.band
    keep = (radius >= low) & (radius <= high) & (radius > 0)
    keep &= np.abs(freq_y[:, None]) * max(n * b, 1) > plan.exclude_axes
    keep &= freq_x[None, :] * max(m * b, 1) > plan.exclude_axes
    # the highest row and column of an even transform have no partner of opposite sign
    keep &= (np.abs(signed[:, None]) * 2 < big_n) & (np.arange(big_m // 2 + 1)[None, :] * 2 < big_m)
    rows = np.flatnonzero(keep.any(axis=1))
    # rows of opposite number are neighbours
    rows = rows[np.lexsort((-signed[rows], np.abs(signed[rows])))]
    alone = rows.size % 2  # row 0, where it is not left out: its neighbour holds nothing
    rows = np.concatenate([rows[:alone], rows])
    usable = min(n, m) >= 8 and int(keep.sum()) >= 12
    if not usable:
        rows = rows[:0]
    first = np.array([int(np.argmax(keep[r])) for r in rows], dtype=np.int64)
    number = np.array([int(keep[r].sum()) for r in rows], dtype=np.int64)
    number[1 : 1 + alone] = 0
    total = int(number.sum())
    flat_row = np.repeat(rows, number)
    flat_col = np.concatenate([np.arange(f, f + c) for f, c in zip(first, number)]) if total else np.zeros(0, np.int64)
    rings = max(1, min(16, int(math.sqrt(total) / 8)))
    sectors = 6 if total >= 4096 else 2 if total >= 256 else 1
    r = radius[flat_row, flat_col]
    inner, outer = (float(r.min()), float(r.max())) if total else (0.0, 1.0)
    ring = np.minimum(((r - inner) / max(outer - inner, 1e-12)) ** (4 / 3) * rings, rings - 1).astype(np.int64)
    angle = np.arctan2(freq_y[flat_row], freq_x[flat_col]) / np.pi + 0.5
    kind = np.minimum(angle * sectors, sectors - 1).astype(np.int64)
    if sectors > 2:
        # stripes spread beyond what is left out: what lies near an axis is weighed apart, in two steps a side
        off_y, off_x = np.abs(freq_y[flat_row]) * n * b, freq_x[flat_col] * m * b
        for step, most in enumerate(_NEAR_AXIS[::-1]):
            reach = min(most, min(n, m) / 40)
            kind[(off_y <= reach) & (off_y < off_x / 3)] = sectors + step
            kind[(off_x <= reach) & (off_x < off_y / 3)] = sectors + len(_NEAR_AXIS) + step
    kinds = sectors + (2 * len(_NEAR_AXIS) if sectors > 2 else 0)
    cell = ring * kinds + kind
    counts = np.bincount(cell, minlength=rings * kinds).astype(np.float64)
    band = _padded(first, number, cell)
    ky, kx = 2 * np.pi * freq_y[flat_row], 2 * np.pi * freq_x[flat_col]
    spread = np.stack([np.bincount(cell, product, rings * kinds) for product in (ky * ky, ky * kx, kx * kx)])
    window_y, window_x = _taper(max(n, 1), plan.window), _taper(max(m, 1), plan.window)
    dof = 1.0
    for w, size in ((window_y, big_n), (window_x, big_m)):
        dof *= float((w**2).sum() ** 2 / (size * (w**4).sum()))
    grid = []
    for size, kept in ((big_n, np.abs(signed[rows]).max(initial=1)), (big_m, flat_col.max(initial=1))):
        block = min(_COARSE_BINS, int(kept))
        grid.append(min(_even_fast(3 * block), size - size % 2 if size > 2 else 2))
    return Tables(
        usable,
        (n, m),
        (big_n, big_m),
        window_y.astype(np.float32),
        window_x.astype(np.float32),
        _trend(max(n, 1)),
        _trend(max(m, 1)),
        rows.astype(np.int64),
        band.start,
        band.first,
        np.stack([first, first + number], axis=1),
        (2 * np.pi / (big_n * b), 2 * np.pi / (big_m * b)),
        signed[rows].astype(np.int64),
        int(flat_col.max(initial=0)) + 1,
        band.cell,
        *_in_order(band, cell, counts.size),
        counts,
        np.arange(rings * kinds) // kinds,
        np.arange(rings * kinds) % kinds >= sectors,
        rings,
        spread,
        dof,
        (grid[0], grid[1]),
        _favour(window_y),
        _favour(window_x),
        _reach(ring, number, first - band.first, rings),
    )


class _Band(NamedTuple):
    """The band laid out in whole blocks of columns."""

    start: np.ndarray[Any, Any]
    first: np.ndarray[Any, Any]
    cell: np.ndarray[Any, Any]
    place: np.ndarray[Any, Any]  # of each coefficient


def _padded(first: np.ndarray[Any, Any], number: np.ndarray[Any, Any], cell: np.ndarray[Any, Any]) -> _Band:
    begin = first // BLOCK * BLOCK
    end = (-(-(first + number) // BLOCK) * BLOCK).reshape(-1, 2).max(axis=1).repeat(2)
    start = np.concatenate([[0], np.cumsum(end - begin)]).astype(np.int64)
    shift = start[:-1] + first - begin - (np.cumsum(number) - number)
    place = np.arange(cell.size) + np.repeat(shift, number)
    near = np.searchsorted(place, np.arange(start[-1]), side="right") - 1
    return _Band(start, begin, cell[np.maximum(near, 0)].astype(np.uint16), place)


def _in_order(band: _Band, cell: np.ndarray[Any, Any], cells: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Coefficients cell by cell, and where each cell begins among them."""
    by_cell = np.argsort(cell, kind="stable")
    begin = np.searchsorted(cell[by_cell], np.arange(cells + 1)).astype(np.int64)
    return band.place[by_cell].astype(np.uint32), begin


def _reach(
    ring: np.ndarray[Any, Any], number: np.ndarray[Any, Any], before: np.ndarray[Any, Any], rings: int
) -> np.ndarray[Any, Any]:
    ends = np.concatenate([[0], np.cumsum(number)])
    parts = [np.searchsorted(ring[a:b], np.arange(rings + 1)) for a, b in itertools.pairwise(ends)]
    found = np.array(parts, dtype=np.int64).reshape(len(parts), rings + 1)
    found += before[:, None]
    return found


def _even_fast(size: int) -> int:
    size += size % 2
    while scipy.fft.next_fast_len(size, real=True) != size or size % 2:
        size += 2 if size % 2 == 0 else 1
    return size
