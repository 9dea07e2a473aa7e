"""Stripes by damping of wavelet bands in Fourier space (Muench, Trtik, Marone and Stampanoni, Opt. Express 17, 8567, 2009).

What the method removes from a frame is found directly: it lives in the bands of details across the stripes, and in
them in a few slow modes along the stripes. Columns are projected on these (one matrix product), rows of the modes go
through the wavelet bands, and the result is expanded (one more). The specimen itself is never transformed back, so it
keeps every pixel as it was, at any size of the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pywt
from numba import njit

from stack3d.kernels._fill import known, through_missing
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._shear import from_upright, inside, shear_of, to_upright
from stack3d.kernels._wavelet_plan import Plan, Tables, plan, tables_of

__all__ = ["Plan", "plan", "stripes"]


def stripes(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return the stripe field of a frame.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; NaN is missing.
    plan : Plan
        From :func:`plan`, for the shape of the frame.
    weight : (y, x) array, optional
        0 (missing) to 1.

    Returns
    -------
    (y, x) float32 array
        What is to be subtracted; finite everywhere. A constant added to the frame leaves it unchanged.

    References
    ----------
    Muench, Trtik, Marone, Stampanoni, Optics Express 17, 8567 (2009), doi 10.1364/OE.17.008567.

    Examples
    --------
    >>> from stack3d.kernels import wavelet_stripes
    >>> lines = np.tile(np.float32([0, 0, 8, 0] * 16), (64, 1))
    >>> found = wavelet_stripes.stripes(lines + 100, wavelet_stripes.plan((64, 64), wavelet="db2"))
    >>> float(np.std(lines - found) / np.std(lines)) < 0.1
    True
    """
    xp, tables, shear = namespace(frame), tables_of(plan), shear_of(plan.shape, plan.angle)
    frame, weight, level = known(frame, weight)
    upright = to_upright(frame, shear)
    weight = inside(shear, upright, weight)
    bands = _bands if on_host(upright) else bands_xp
    project, expand = xp.asarray(tables.project), xp.asarray(tables.expand)
    if weight is not None:
        upright = xp.where(weight > 0, upright, np.float32(level))
    # The level is taken off the modes, which spares a pass over the frame.
    base = np.float32(level) * project.sum(axis=1)

    def estimate(full: Any) -> Any:
        return expand @ bands(full.T @ project.T - base, plan.wavelet, tables).T

    field = from_upright(through_missing(estimate, upright, weight), shear)
    field -= np.float32(field.mean())  # the frame keeps its level
    return field


def bands_xp(slow: Any, wavelet: str, tables: Tables) -> Any:
    """`xp` form: modes (x, modes) through their bands of details along x, (x, modes of the result)."""
    xp, bank = namespace(slow), pywt.Wavelet(wavelet)
    details = []
    for _ in tables.mix:
        details.append(_analysed(slow, bank.dec_hi))
        slow = _analysed(slow, bank.dec_lo)
    out = None
    for mix, detail, width in zip(tables.mix[::-1], details[::-1], tables.widths[-2::-1]):
        made = _synthesised(detail @ xp.asarray(mix).T, bank.rec_hi, width)
        out = made if out is None else made + _synthesised(out, bank.rec_lo, width)
    return out


def _analysed(rows: Any, taps: list[float]) -> Any:
    xp, width, count = namespace(rows), rows.shape[0], (rows.shape[0] + len(taps) - 1) // 2
    out = xp.zeros((count, rows.shape[1]), np.float32)
    for k, tap in enumerate(taps):
        place = (2 * xp.arange(count) + 1 - k) % (2 * width)
        out += np.float32(tap) * rows[xp.where(place >= width, 2 * width - 1 - place, place)]
    return out


def _synthesised(rows: Any, taps: list[float], width: int) -> Any:
    xp, count, reach = namespace(rows), rows.shape[0], len(taps) - 2
    out = xp.zeros((2 * count + len(taps), rows.shape[1]), np.float32)
    for k, tap in enumerate(taps):
        out[k : k + 2 * count : 2] += np.float32(tap) * rows
    return out[reach : reach + width]


def _bands(slow: Any, wavelet: str, tables: Tables) -> Any:
    bank = pywt.Wavelet(wavelet)
    dec_lo, dec_hi, rec_lo, rec_hi = (np.asarray(taps, np.float32) for taps in bank.filter_bank)
    details = []
    for _ in tables.mix:
        count = (slow.shape[0] + dec_lo.size - 1) // 2
        low, detail = (np.zeros((count, slow.shape[1]), np.float32) for _ in range(2))
        _split(slow, dec_lo, dec_hi, low, detail)
        details.append(detail)
        slow = low
    out = np.zeros((tables.widths[-1], tables.expand.shape[1]), np.float32)
    for mix, detail, width in zip(tables.mix[::-1], details[::-1], tables.widths[-2::-1]):
        wide = np.zeros((width, out.shape[1]), np.float32)
        _join(out, detail @ mix.T, rec_lo, rec_hi, wide)
        out = wide
    return out


@njit(nogil=True, cache=True)
def _split(rows: Any, lo: Any, hi: Any, low: Any, high: Any) -> None:
    width = rows.shape[0]
    for i in range(low.shape[0]):
        to_low, to_high = low[i], high[i]
        for k in range(lo.size):
            place = (2 * i + 1 - k) % (2 * width)
            source = rows[2 * width - 1 - place if place >= width else place]
            a, b = lo[k], hi[k]
            for m in range(source.size):
                to_low[m] += a * source[m]
                to_high[m] += b * source[m]


@njit(nogil=True, cache=True)
def _join(low: Any, high: Any, lo: Any, hi: Any, out: Any) -> None:
    reach = lo.size - 2
    for i in range(out.shape[0]):
        target = out[i]
        # Taps whose sample falls on this row: the others meet the zeros between samples.
        for k in range((i + reach) % 2, lo.size, 2):
            j = (i + reach - k) // 2
            if i + reach >= k and j < high.shape[0]:
                source_low, source_high = low[j], high[j]
                a, b = lo[k], hi[k]
                for m in range(target.size):
                    target[m] += a * source_low[m] + b * source_high[m]
