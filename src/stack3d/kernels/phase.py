"""Displacement between two frames from their spectra.

A frame is transformed once (:func:`spectrum`), then compared with any number of others (:func:`pair_shift`). What is
kept of a frame is a band of Fourier coefficients, whitened, a few hundred kilobytes whatever the size of the frame.

The displacement is the maximum of a weighted sum of the cross-spectrum rotated back. The weights are those of the
maximum-likelihood delay estimator [1]_, gamma^2 / (1 - gamma^2), with the coherence gamma learned from the pair itself
in cells of the band (rings cut into sectors). The factor by which the window favours small displacements is known and
taken out, so frames need not be cropped again to the overlap. Frames without fine structure do need it: see
:mod:`stack3d.kernels._phase_direct`.

References
----------
.. [1] C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay", IEEE Trans. Acoust.
   Speech Signal Process. 24, 320 (1976). doi:10.1109/TASSP.1976.1162830
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _phase_arrays as arrays
from stack3d.kernels import _phase_direct as direct
from stack3d.kernels import _phase_fit as fit
from stack3d.kernels import _phase_frame_loops as loops
from stack3d.kernels._namespace import namespace, packed
from stack3d.kernels._phase_fit import Detail, PairShift
from stack3d.kernels._phase_plan import Plan, Tables, plan, tables_of

__all__ = ["Detail", "PairShift", "Plan", "Spectrum", "pair_shift", "pair_shift_xp", "plan", "spectrum", "spectrum_xp"]

_CLIP = 6.0  # residual grey values beyond this many (mean-absolute) deviations are clipped
_MISSING = 0.01  # share of pixels that may be missing in frames that are compared directly


class Spectrum(NamedTuple):
    """What is kept of a frame.

    Attributes
    ----------
    coefficients : array
        (2, n) float32, the real and imaginary part of the whitened coefficients of the band, its rows padded with
        zeros.
    power : array
        (cells,) float32, the mean power in each cell before whitening.
    usable : bool
        False when the frame holds nothing to compare: blank, constant, too small or mostly missing.
    small : Small or None
        The frame made small, to check doubtful pairs by; None where the plan says not to, or where more than 1 % of the
        pixels are missing: what fills them stays with the frame.
    """

    coefficients: Any
    power: Any
    usable: bool
    small: direct.Small | None = None


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
    tables = tables_of(plan)
    size = int(tables.start[-1])
    empty = Spectrum(xp.zeros((2, size), xp.float32), xp.zeros(tables.counts.size, xp.float32), False)
    if not tables.usable:
        return empty
    binned, scale, whole = binned_frame(frame, plan.binning, tables, compiled)
    if binned is None:
        return empty
    small = direct.small_frame(binned, plan) if plan.direct and whole else None
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
        coefficients, power = loops.gather(part, *tables.gathered)
    else:
        coefficients, power = arrays.transform(residual, deviation, _CLIP, tables, xp)
    return Spectrum(coefficients, power, True, small)


def binned_frame(frame: Any, b: int, tables: Tables, compiled: bool) -> tuple[Any, float, bool]:
    """Average blocks of pixels to float32 about a reference.

    Also give the deviation below which a frame is constant, and whether next to none of its pixels are missing.
    """
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
            return binned, 1e-4, True
        binned, missing, largest = loops.bin_reals(frame, b, n, m)
    else:
        binned, missing, largest = arrays.bin_frame(frame, b, n, m, xp)
    if missing > n * m // 2:
        return None, 0.0, False
    if missing:
        binned = xp.asarray(_fill(arrays.to_host(binned)))
    precision = np.finfo(frame.dtype).eps if kind == "f" else np.finfo(np.float32).eps
    return binned, max(4 * float(precision) * largest, 1e-300), missing <= _MISSING * n * m


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
    tables = tables_of(plan)
    if not (first.usable and second.usable):
        which = "first" if not first.usable else "second"
        return fit.refusal(f"the {which} frame holds nothing to compare", tables)
    found = _by_phase(first, second, plan, tables, guess, compiled)
    return direct.checked(found, first, second, tables) if plan.direct and guess is None else found


def _by_phase(
    first: Spectrum, second: Spectrum, plan: Plan, tables: Tables, guess: tuple[float, float] | None, compiled: bool
) -> PairShift:
    if compiled:
        return fit.compiled_pair(first, second, tables, plan, guess)
    machine = arrays.PairSums(first, second, tables, namespace(first.coefficients))
    if guess is not None:
        d = fit.refine(machine, np.array([guess], dtype=np.float64), tables, plan)
        found = fit.judge(machine, d, first, second, tables, plan)
        if found.extra.weight > 0:
            return found
    d = fit.refine(machine, fit.candidates(machine, first, second, tables, plan), tables, plan)
    return fit.judge(machine, d, first, second, tables, plan)
