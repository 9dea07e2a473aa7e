"""Displacement between two frames from their spectra.

A frame is transformed once (:func:`spectrum`), then compared with any number of others (:func:`pair_shift`). What is
kept of a frame is a band of Fourier coefficients, whitened, a few hundred kilobytes whatever the size of the frame.

The displacement is the maximum of a weighted sum of the cross-spectrum rotated back. The weights are those of the
maximum-likelihood delay estimator [1]_, gamma^2 / (1 - gamma^2), with the coherence gamma learned from the pair itself
in cells of the band (rings cut into sectors). The factor by which the window favours small displacements is known and
taken out, so frames need not be cropped again to the overlap.

References
----------
.. [1] C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay", IEEE Trans. Acoust.
   Speech Signal Process. 24, 320 (1976). :doi:`10.1109/TASSP.1976.1162830`
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _phase_arrays as arrays
from stack3d.kernels import _phase_loops as loops
from stack3d.kernels._namespace import namespace, packed

__all__ = ["Detail", "PairShift", "Plan", "Spectrum", "pair_shift", "pair_shift_xp", "plan", "spectrum", "spectrum_xp"]

_BINNED_SIDE = 640  # frames are binned until their mean side is at most this
_COARSE_BINS = 56  # half-width, in bins, of the block used to find the peak
_NEAR_AXIS = (4.5, 12.0)  # cycles per frame
_CLIP = 6.0  # residual grey values beyond this many (mean-absolute) deviations are clipped
_SIGNIFICANCE = 5.5  # deviations above chance that a peak must have
_DISAGREEMENT = 5.0  # deviations by which two bands may differ
_FLOOR = 0.005  # systematic part of the error, in binned pixels, added to the statistical one
_LOW = 4  # rings of the band that are compared as its lowest part
_BAND_FLOOR = 0.15  # same for the comparison of two bands


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
    """

    shape: tuple[int, int]
    binning: int
    band: tuple[float, float]
    exclude_axes: float
    window: float


class Spectrum(NamedTuple):
    """What is kept of a frame.

    Attributes
    ----------
    coefficients : array
        (2, n) float32, the real and imaginary part of the whitened coefficients of the band.
    power : array
        (cells,) float32, the mean power in each cell before whitening.
    usable : bool
        False when the frame holds nothing to compare: blank, constant, too small or mostly missing.
    """

    coefficients: Any
    power: Any
    usable: bool


class Detail(NamedTuple):
    """How far a displacement can be trusted.

    Attributes
    ----------
    weight : float
        1 / (variance of the displacement along one axis), in 1 / pixel^2; 0 for a refused pair.
    error_y, error_x : float
        Estimated standard errors in pixels; infinite for a refused pair.
    significance : float
        Deviations by which the coherence at the peak stands above chance.
    disagreement : float
        Deviations between the displacements of the lower and the upper half of the band.
    coherence : numpy.ndarray
        Coherence of the two frames in each ring of the band, from low to high frequency.
    refused : str
        Why the pair is refused; empty for a good pair.
    """

    weight: float
    error_y: float
    error_x: float
    significance: float
    disagreement: float
    coherence: np.ndarray[Any, Any]
    refused: str


class PairShift(NamedTuple):
    """Displacement of the content of the second frame relative to the first, in pixels.

    Attributes
    ----------
    dy, dx : float
        What lies at (y, x) in the first frame lies at (y + dy, x + dx) in the second; 0 where nothing could be found.
    quality : float
        Correlation of the half-whitened frames at the peak, from 0 to 1.
    extra : Detail
        Errors, checks and the reason of a refusal.
    """

    dy: float
    dx: float
    quality: float
    extra: Detail


def plan(
    shape: tuple[int, ...],
    *,
    binning: int | None = None,
    band: tuple[float | None, float | None] = (None, None),
    exclude_axes: float | None = None,
    window: float = 0.25,
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
    return Plan((ny, nx), int(binning), (float(low), float(high)), float(exclude_axes), float(window))


class _Tables(NamedTuple):
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
    first: np.ndarray[Any, Any]  # column of its first coefficient
    step: tuple[float, float]  # radians per pixel of one row and one column
    signed: np.ndarray[Any, Any]  # signed row number
    columns: int  # columns of the transform that are needed
    cell: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    ring: np.ndarray[Any, Any]  # ring of each cell
    axis: np.ndarray[Any, Any]  # whether a cell lies near an axis
    rings: int
    spread: np.ndarray[Any, Any]  # sums of ky ky, ky kx, kx kx over each cell, in radians per pixel
    dof: float  # independent coefficients per coefficient
    grid: tuple[int, int]
    favour_y: np.ndarray[Any, Any]  # logarithm of the autocorrelation of the window at whole binned pixels
    favour_x: np.ndarray[Any, Any]


def _taper(n: int, fraction: float) -> np.ndarray[Any, Any]:
    """Return a cosine taper of n samples that is nowhere exactly zero."""
    position = (np.arange(n) + 0.5) / n
    edge = np.minimum(position, 1 - position)
    if fraction <= 0:
        return np.ones(n)
    ramp: np.ndarray[Any, Any] = 0.5 - 0.5 * np.cos(2 * np.pi * np.minimum(edge / fraction, 0.5))
    return ramp


def _favour(window: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Logarithm of the autocorrelation of a window at lags 0 .. n - 1."""
    n = window.size
    full = scipy.fft.irfft(np.abs(scipy.fft.rfft(window, 2 * n)) ** 2, 2 * n)[:n]
    out: np.ndarray[Any, Any] = np.log(np.maximum(full / full[0], 1e-3))
    return out


def _trend(n: int) -> np.ndarray[Any, Any]:
    """Two orthonormal rows: constant and slope."""
    t = np.arange(n) - (n - 1) / 2
    norm = math.sqrt(float((t**2).sum())) or 1.0
    return np.stack([np.full(n, 1 / math.sqrt(n)), t / norm]).astype(np.float32)


@lru_cache(maxsize=64)
def _tables(plan: Plan) -> _Tables:
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
    rows = rows[np.argsort(signed[rows], kind="stable")]
    usable = min(n, m) >= 8 and int(keep.sum()) >= 12
    if not usable:
        rows = rows[:0]
    first = np.array([int(np.argmax(keep[r])) for r in rows], dtype=np.int64)
    number = np.array([int(keep[r].sum()) for r in rows], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(number)]).astype(np.int64)
    total = int(start[-1])
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
            reach = min(most, min(n, m) / 24)
            kind[off_y <= reach] = sectors + step
            kind[off_x <= reach] = sectors + len(_NEAR_AXIS) + step
    kinds = sectors + (2 * len(_NEAR_AXIS) if sectors > 2 else 0)
    cell = ring * kinds + kind
    counts = np.bincount(cell, minlength=rings * kinds).astype(np.float64)
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
    return _Tables(
        usable,
        (n, m),
        (big_n, big_m),
        window_y.astype(np.float32),
        window_x.astype(np.float32),
        _trend(max(n, 1)),
        _trend(max(m, 1)),
        rows.astype(np.int64),
        start,
        first,
        (2 * np.pi / (big_n * b), 2 * np.pi / (big_m * b)),
        signed[rows].astype(np.int64),
        int(flat_col.max(initial=0)) + 1,
        cell.astype(np.int32),
        counts,
        np.arange(rings * kinds) // kinds,
        np.arange(rings * kinds) % kinds >= sectors,
        rings,
        spread,
        dof,
        (grid[0], grid[1]),
        _favour(window_y),
        _favour(window_x),
    )


def _even_fast(size: int) -> int:
    size += size % 2
    while scipy.fft.next_fast_len(size, real=True) != size or size % 2:
        size += 2 if size % 2 == 0 else 1
    return size


def spectrum(frame: Any, plan: Plan) -> Spectrum:
    """Transform a frame.

    Rows and columns are freed of their mean and slope, outliers are clipped, missing pixels (NaN, infinite) are filled
    smoothly. Gain and offset of the grey values do not matter.

    Parameters
    ----------
    frame : array
        (y, x) of any real dtype; a cupy array stays on its device.
    plan : Plan
        From :func:`plan`, for frames of this shape.

    Returns
    -------
    Spectrum

    Raises
    ------
    ValueError
        If the frame does not have the shape of the plan.
    """
    return _spectrum(frame, plan, compiled=namespace(frame) is np)


def spectrum_xp(frame: Any, plan: Plan) -> Spectrum:
    """`xp` form of :func:`spectrum`."""
    return _spectrum(frame, plan, compiled=False)


def _spectrum(frame: Any, plan: Plan, *, compiled: bool) -> Spectrum:
    if tuple(frame.shape) != plan.shape:
        raise ValueError(f"frame must have the shape of the plan, {plan.shape}, got {tuple(frame.shape)}")
    if frame.dtype.kind not in "buif":
        raise TypeError(f"frame must hold real numbers, got dtype {frame.dtype}")
    xp = namespace(frame)
    tables = _tables(plan)
    size = int(tables.start[-1])
    empty = Spectrum(xp.zeros((2, size), xp.float32), xp.zeros(tables.counts.size, xp.float32), False)
    if not tables.usable:
        return empty
    binned, scale = _binned(frame, plan.binning, tables, compiled)
    if binned is None:
        return empty
    if compiled:
        residual, deviation = loops.flatten(binned, tables.trend_y, tables.trend_x)
    else:
        residual, deviation = arrays.flatten(binned, tables.trend_y, tables.trend_x, xp)
    if not deviation > scale:
        return empty
    if compiled:
        loops.taper(residual, tables.window_y, tables.window_x, _CLIP * deviation, 1 / deviation)
        part = scipy.fft.rfft(residual, tables.transformed[1], axis=1, workers=1)[:, : tables.columns]
        part = scipy.fft.fft(part, tables.transformed[0], axis=0, workers=1, overwrite_x=True)
        coefficients, power = loops.gather(
            part,
            tables.rows,
            tables.start,
            tables.first,
            tables.cell,
            tables.counts,
            tables.ring,
            tables.axis,
            tables.rings,
        )
    else:
        coefficients, power = arrays.transform(residual, deviation, _CLIP, tables, xp)
    return Spectrum(coefficients, power, True)


def _binned(frame: Any, b: int, tables: _Tables, compiled: bool) -> tuple[Any, float]:
    """Average blocks of pixels; give float32 about a reference, and the deviation below which a frame is constant."""
    n, m = tables.binned
    xp, kind = namespace(frame), frame.dtype.kind
    if kind == "b":
        frame = frame.view(xp.uint8)
    if frame.dtype == np.float16:
        frame = frame.astype(xp.float32)
    if compiled:
        frame = packed(frame)
        if kind != "f" and frame.dtype.itemsize <= 2:
            work = np.empty(m * b, np.int32 if kind == "i" else np.uint32)
            binned = loops.bin_integers(frame, b, work, n, m)
            return binned, 1e-4
        binned, missing, largest = loops.bin_reals(frame, b, n, m)
    else:
        binned, missing, largest = arrays.bin_frame(frame, b, n, m, xp)
    if missing > n * m // 2:
        return None, 0.0
    if missing:
        binned = xp.asarray(_fill(arrays.to_host(binned)))
    precision = np.finfo(frame.dtype).eps if kind == "f" else np.finfo(np.float32).eps
    return binned, max(4 * float(precision) * largest, 1e-300)


def _fill(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Fill NaN from ever coarser averages of what is known around them."""
    known = np.isfinite(values)
    if known.all():
        return values
    if min(values.shape) <= 2:
        return np.where(known, values, np.float32(values[known].mean() if known.any() else np.nan))
    n, m = ((size + 1) // 2 for size in values.shape)
    total, count = np.zeros((n, m), np.float32), np.zeros((n, m), np.float32)
    clean = np.where(known, values, np.float32(0))
    for i in range(2):
        for j in range(2):
            piece = clean[i::2, j::2]
            total[: piece.shape[0], : piece.shape[1]] += piece
            count[: piece.shape[0], : piece.shape[1]] += known[i::2, j::2]
    with np.errstate(invalid="ignore"):
        coarse = _fill(total / count)
    # bilinear: the values of the coarse level are in the middle of two fine ones
    for axis, size in enumerate(values.shape):
        position = (np.arange(size) - 0.5) / 2
        lower = np.clip(np.floor(position).astype(int), 0, coarse.shape[axis] - 1)
        upper = np.minimum(lower + 1, coarse.shape[axis] - 1)
        fraction = np.clip(position - lower, 0, 1).astype(np.float32)
        fraction = fraction[:, None] if axis == 0 else fraction[None, :]
        coarse = coarse.take(lower, axis) * (1 - fraction) + coarse.take(upper, axis) * fraction
    return np.where(known, values, coarse).astype(np.float32)


def pair_shift(first: Spectrum, second: Spectrum, plan: Plan, *, guess: tuple[float, float] | None = None) -> PairShift:
    """Displacement of the content of a second frame relative to a first, to a fraction of a pixel.

    Parameters
    ----------
    first, second : Spectrum
        From :func:`spectrum`, with the same plan.
    plan : Plan
        The plan of both.
    guess : tuple of float, optional
        A displacement (dy, dx) in pixels, to within about 2 binned pixels. The search over all displacements is left
        out unless nothing is found there; of a periodic structure, the nearest repetition is found.

    Returns
    -------
    PairShift
        Refused (``extra.weight == 0``) when a frame is unusable, when the peak does not stand out, or when the lower
        and the upper half of the band disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from stack3d.kernels import phase
    >>> frame = np.random.default_rng(1).random((128, 128))
    >>> plan = phase.plan(frame.shape)
    >>> moved = np.roll(frame, (3, -2), axis=(0, 1))
    >>> found = phase.pair_shift(phase.spectrum(frame, plan), phase.spectrum(moved, plan), plan)
    >>> round(found.dy, 1), round(found.dx, 1), found.extra.refused
    (3.0, -2.0, '')
    """
    return _pair_shift(first, second, plan, guess, compiled=namespace(first.coefficients) is np)


def pair_shift_xp(
    first: Spectrum, second: Spectrum, plan: Plan, *, guess: tuple[float, float] | None = None
) -> PairShift:
    """`xp` form of :func:`pair_shift`."""
    return _pair_shift(first, second, plan, guess, compiled=False)


def _pair_shift(
    first: Spectrum, second: Spectrum, plan: Plan, guess: tuple[float, float] | None, *, compiled: bool
) -> PairShift:
    tables = _tables(plan)
    if not (first.usable and second.usable):
        which = "first" if not first.usable else "second"
        return _refusal(f"the {which} frame holds nothing to compare", tables)
    xp = namespace(first.coefficients)
    machine: Any = _Numba(first, second, tables) if compiled else arrays.PairSums(first, second, tables, xp)
    if guess is not None:
        d = _refine(machine, np.array([guess], dtype=np.float64), tables, plan)
        found = _judge(machine, d, first, second, tables, plan)
        if found.extra.weight > 0:
            return found
    d = _refine(machine, _candidates(machine, first, second, tables, plan), tables, plan)
    return _judge(machine, d, first, second, tables, plan)


class _Numba:
    """Sums over the band with compiled loops."""

    def __init__(self, first: Spectrum, second: Spectrum, tables: _Tables) -> None:
        self.t = tables
        self.cross, self.squares = loops.cross(first.coefficients, second.coefficients, tables.cell, tables.counts.size)
        self.weighed = np.empty_like(self.cross)
        self.band = (tables.start, tables.first, tables.signed, *tables.step, tables.columns)

    def correlation(self, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows, columns = self.t.grid
        half = np.empty((rows, columns // 2 + 1), np.complex64)
        loops.coarse(self.cross, weight, self.t.cell, self.t.start, self.t.first, self.t.signed, half)
        correlation: np.ndarray[Any, Any] = scipy.fft.irfft2(half, self.t.grid, workers=1, overwrite_x=True)
        return correlation

    def cells(self, dy: float, dx: float) -> np.ndarray[Any, Any]:
        sums: np.ndarray[Any, Any] = loops.cells(self.cross, self.t.cell, *self.band, self.t.counts.size, dy, dx)
        return sums

    def weigh(self, weight: np.ndarray[Any, Any]) -> None:
        loops.weigh(self.cross, weight.astype(np.float32), self.t.cell, self.weighed)

    def moments(self, dy: float, dx: float) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = loops.moments(self.weighed, *self.band, dy, dx)
        return found

    def climb(self, dy: float, dx: float, steps: int, longest: float) -> tuple[float, float]:
        dy, dx = loops.climb(self.weighed, *self.band, dy, dx, steps, longest)
        return dy, dx


def _candidates(machine: Any, first: Spectrum, second: Spectrum, tables: _Tables, plan: Plan) -> np.ndarray[Any, Any]:
    """Displacements at the highest peaks of the coarse correlation; the others only where they come near the first."""
    power = arrays.to_host(first.power).astype(np.float64) * arrays.to_host(second.power).astype(np.float64)
    weight = (power / max(power.max(), 1e-300)) ** 0.125
    found = loops.peaks(machine.correlation(weight.astype(np.float32)), 4)
    found = found[found[:, 2] > 0.6 * max(found[0, 2], 0.0)]
    out = np.empty((len(found), 2))
    for axis in range(2):
        size, grid = tables.transformed[axis] * plan.binning, tables.grid[axis]
        place = np.where(found[:, axis] > grid / 2, found[:, axis] - grid, found[:, axis])
        out[:, axis] = place * (size / grid)
    return out


def _learn(machine: Any, d: tuple[float, float], tables: _Tables) -> Any:
    return loops.learn(
        machine.cells(*d), machine.squares, tables.counts, tables.ring, tables.axis, tables.rings, tables.dof
    )


def _refine(machine: Any, starts: np.ndarray[Any, Any], tables: _Tables, plan: Plan) -> tuple[float, float]:
    """Follow the best of some displacements to the maximum, learning the weights on the way."""
    best = (-np.inf, (0.0, 0.0), np.zeros(0))
    for start in starts:
        d = (float(start[0]), float(start[1]))
        _, weight, significance = _learn(machine, d, tables)
        if significance > best[0]:
            best = (significance, d, weight)
    _, d, weight = best
    machine.weigh(weight)
    d = machine.climb(*d, 3, 1.5 * plan.binning)
    _, weight, _ = _learn(machine, d, tables)
    machine.weigh(weight)
    dy, dx = machine.climb(*d, 3, 0.75 * plan.binning)
    return float(dy), float(dx)


def _solve(h: np.ndarray[Any, Any], g: np.ndarray) -> np.ndarray[Any, Any]:
    """Solve a symmetric 2 x 2 system given as (yy, yx, xx)."""
    determinant = h[0] * h[2] - h[1] * h[1]
    return np.array([(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant])


def _inverse(h: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    determinant = h[0] * h[2] - h[1] * h[1]
    out: np.ndarray[Any, Any] = np.array([h[2], -h[1], h[0]]) / determinant
    return out


def _judge(
    machine: Any, d: tuple[float, float], first: Spectrum, second: Spectrum, tables: _Tables, plan: Plan
) -> PairShift:
    """Errors, the comparison of the two halves of the band, and the correction for the window."""
    t = tables
    coherence, weight, significance = _learn(machine, d, t)
    prior = np.sqrt(np.sqrt(arrays.to_host(first.power).astype(np.float64) * arrays.to_host(second.power)))
    share = t.counts * ~t.axis
    rings = np.bincount(t.ring, share * coherence, t.rings) / np.maximum(np.bincount(t.ring, share, t.rings), 1)
    share = share * prior
    quality = float(np.clip((share * coherence).sum() / max(share.sum(), 1e-300), 0, 1))
    if not significance >= _SIGNIFICANCE:
        return _refusal("no displacement stands out from chance", t, quality, significance, rings, d)
    trusted = np.minimum(coherence, loops.LIMIT)
    per_cell = 2 * t.dof * trusted**2 / (1 - trusted**2) * t.spread
    information = per_cell.sum(axis=1)
    if not information[0] * information[2] - information[1] ** 2 > 1e-9 * information[0] * information[2]:
        return _refusal("the frames fix the displacement in one direction only", t, quality, significance, rings, d)
    variance = _inverse(information)
    machine.weigh(weight)
    both = machine.moments(*d)
    disagreement = _disagreement(machine, d, weight, per_cell, tables, plan)
    dy, dx = d
    if _is_hill(both) and both[0] > 0:
        pull = np.array([_slope(t.favour_y, dy / plan.binning), _slope(t.favour_x, dx / plan.binning)]) / plan.binning
        push = _solve(both[3:] / both[0], pull)
        dy, dx = dy + float(push[0]), dx + float(push[1])
    if disagreement > _DISAGREEMENT:
        return _refusal("two bands of the spectrum disagree", t, quality, significance, rings, (dy, dx), disagreement)
    floor = (_FLOOR * plan.binning) ** 2
    variance = variance + np.array([floor, 0.0, floor])
    error = np.sqrt(variance[[0, 2]])
    detail = Detail(
        float(2 / (variance[0] + variance[2])),
        float(error[0]),
        float(error[1]),
        float(significance),
        disagreement,
        rings,
        "",
    )
    return PairShift(float(dy), float(dx), quality, detail)


def _disagreement(
    machine: Any, d: tuple[float, float], weight: Any, per_cell: Any, tables: _Tables, plan: Plan
) -> float:
    """Deviations by which three parts of the band differ, each a linear step away from the common maximum.

    The lowest quarter of the rings, and what is above it cut in two of equal information.
    """
    ring = tables.ring
    along = np.cumsum(np.bincount(ring, per_cell[0] + per_cell[2], tables.rings) * (np.arange(tables.rings) >= _LOW))
    cut = int(np.searchsorted(along, along[-1] / 2))
    masks = [ring < _LOW, (ring >= _LOW) & (ring <= cut), ring > max(cut, _LOW - 1)]
    parts = []
    for mask in masks:
        information = per_cell[:, mask].sum(axis=1)
        if not _is_hill(np.array([0, 0, 0, *-information])):
            continue
        machine.weigh(np.where(mask, weight, 0.0))
        found = machine.moments(*d)
        if not _is_hill(found):
            return math.inf
        parts.append((-_solve(found[3:], found[1:3]), _inverse(information)))
    worst = 0.0
    floor = (_BAND_FLOOR * plan.binning) ** 2
    for i, (step, variance) in enumerate(parts):
        for other, other_variance in parts[:i]:
            gap = step - other
            spread = variance + other_variance + np.array([floor, 0.0, floor])
            worst = max(worst, math.sqrt(max(float(gap @ _solve(spread, gap)), 0.0)))
    return worst


def _is_hill(found: np.ndarray[Any, Any]) -> bool:
    return bool(found[3] < 0 and found[5] < 0 and found[3] * found[5] > found[4] ** 2)


def _slope(favour: np.ndarray[Any, Any], at: float) -> float:
    """Slope of the logarithm of the autocorrelation of the window, per binned pixel."""
    distance = min(abs(at), favour.size - 2.001) if favour.size > 2 else 0.0
    if favour.size <= 2:
        return 0.0
    # slopes half-way between samples, and zero at the origin
    steps = np.diff(favour)
    value = float(
        np.interp(distance, np.concatenate([[0.0], np.arange(steps.size) + 0.5]), np.concatenate([[0.0], steps]))
    )
    return math.copysign(value, at) if at < 0 else value


def _refusal(
    why: str,
    tables: _Tables,
    quality: float = 0.0,
    significance: float = 0.0,
    rings: np.ndarray[Any, Any] | None = None,
    d: tuple[float, float] = (0.0, 0.0),
    disagreement: float = 0.0,
) -> PairShift:
    rings = np.zeros(tables.rings) if rings is None else rings
    detail = Detail(0.0, np.inf, np.inf, float(significance), float(disagreement), rings, why)
    return PairShift(float(d[0]), float(d[1]), quality, detail)
