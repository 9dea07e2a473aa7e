"""Stripes by damping of wavelet bands in Fourier space (Muench, Trtik, Marone and Stampanoni, Opt. Express 17, 8567, 2009).

What the method removes from a frame is found directly: it lives in the bands of details across the stripes, and in
them in a few slow modes along the stripes. Columns are projected on these (one matrix product), rows of the modes go
through the wavelet bands, and the result is expanded (one more). The specimen itself is never transformed back, so it
keeps every pixel as it was, at any size of the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pywt
from numba import njit

from stack3d.kernels import _slow_rows, _stripe_power
from stack3d.kernels._fill import ROUNDS, each, known, through_missing
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._shear import from_upright, inside, shear_of, to_upright
from stack3d.kernels._wavelet_plan import Plan, Tables, plan, tables_of

__all__ = ["Plan", "plan", "stripes"]

_NEAR = 16.0  # standard deviations that a mean may be from 0 before rounding sees it
_GROUP = 8  # modes are taken in whole vectors


def stripes(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return the stripe field of a frame.

    Parameters
    ----------
    frame : (y, x) or (n, y, x) float32 array
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
    if frame.ndim == 3 and not on_host(frame) and weight is None and together(plan):
        return stripes_xp(frame, plan)
    return _alone(frame, plan, weight)


def together(plan: Plan) -> bool:
    """Whether frames of a batch are treated at once: upright stripes by measured cosines."""
    return _cosines(plan) and shear_of(plan.shape, plan.angle).start is None


def stripes_xp(frames: Any, plan: Plan) -> Any:
    """`xp` form of `stripes` for frames (n, y, x) treated at once, measured one by one; where `together` is true."""
    xp, tables, shear = namespace(frames), tables_of(plan), shear_of(plan.shape, plan.angle)
    total = frames.sum(axis=(1, 2), dtype=np.float64)
    if not bool(xp.isfinite(total).all()):
        return _alone(frames, plan)
    level = (total / max(frames[0].size, 1)).astype(np.float32)
    upright = to_upright(frames - level[:, None, None], shear)
    slow = _stripe_power.slow_rows(upright)
    found = [_gains(one, None, 0.0, plan, rows) for one, rows in zip(upright, slow, strict=True)]
    used = max(_used(gains) for gains in found)
    if not used:
        return xp.zeros(frames.shape, np.float32)
    used = min(-(-used // _GROUP) * _GROUP, len(tables.cycles))
    gains = [np.concatenate([gain[:used] for gain in level_gains]) for level_gains in zip(*found, strict=True)]
    # Modes of all frames side by side.
    seen = slow[:, :used].reshape(-1, slow.shape[-1])
    lines = _joined(_damped(xp.ascontiguousarray(seen.T), plan, gains), plan.wavelet, tables).T
    lines = lines.reshape(len(frames), used, -1)
    lines[:, 0] -= xp.mean(lines[:, 0], axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    field = from_upright(_slow_rows.expand(lines, upright.shape[-2]), shear)
    return field * np.float32(plan.strength) if plan.strength < 1 else field


def _used(gains: list[Any]) -> int:
    """Return how many modes, from the slowest, have stripes at some level."""
    return max((int(np.flatnonzero(gain.any(axis=1))[-1]) + 1 for gain in gains if gain.any()), default=0)


@each
def _alone(frame: Any, plan: Plan, weight: Any = None) -> Any:
    xp, shear = namespace(frame), shear_of(plan.shape, plan.angle)
    frame, weight, level = known(frame, weight)
    upright = to_upright(frame, shear)
    # Beyond a sheared frame lie no holes that stripes cross: filling once is enough.
    rounds = 0 if weight is None else ROUNDS
    weight = inside(shear, upright, weight)
    if abs(level) > _NEAR * float(upright[::8, ::8].std(dtype=np.float64)):
        upright, level = upright - np.float32(level), 0.0
    if weight is not None:
        upright = xp.where(weight > 0, upright, np.float32(level))
    estimate = _by_cosines(upright, weight, level, plan) if _cosines(plan) else _by_tables(upright, weight, level, plan)
    if estimate is None:
        return xp.zeros(frame.shape, np.float32)
    field = from_upright(through_missing(estimate, upright, weight, rounds), shear)
    if shear.start is not None:
        field -= np.float32(field.mean())
    return field * np.float32(plan.strength) if plan.strength < 1 else field


def _cosines(plan: Plan) -> bool:
    """Whether the slow modes are the cosines that stripes are measured by."""
    return plan.damping is None and plan.boundary == "reflect"


def _by_cosines(upright: Any, weight: Any, level: float, plan: Plan) -> Callable[[Any], Any] | None:
    """Return what finds the stripes in a frame without gaps, from its slow cosines; None where there are none."""
    xp, tables, rows = namespace(upright), tables_of(plan), len(upright)
    modes = len(tables.cycles)
    slow = _stripe_power.slow_rows(upright) if weight is None else None
    gains = _gains(upright, weight, level, plan, slow)
    used = _used(gains)
    if not used:
        return None
    used = min(-(-used // _GROUP) * _GROUP, modes)
    gains = [gain[:used] for gain in gains]

    def estimate(full: Any) -> Any:
        seen = slow[:used] if full is upright and slow is not None else _slow_rows.project(full, used)
        lines = _joined(_damped(xp.ascontiguousarray(seen.T), plan, gains), plan.wavelet, tables)
        # The frame keeps its level, by the mode that is constant.
        lines[:, 0] -= np.float32(xp.mean(lines[:, 0], dtype=np.float64))
        return _slow_rows.expand(xp.ascontiguousarray(lines.T), rows)

    return estimate


def _by_tables(upright: Any, weight: Any, level: float, plan: Plan) -> Callable[[Any], Any] | None:
    """Return the same for modes of any kind."""
    xp, tables = namespace(upright), tables_of(plan)
    gains = _gains(upright, weight, level, plan, None)
    if not any(np.any(gain) for gain in gains):
        return None
    project = xp.asarray(tables.project)

    def estimate(full: Any) -> Any:
        # The level is taken off the modes, which spares a pass over the frame.
        slow = xp.ascontiguousarray((project @ full).T) - np.float32(level) * project.sum(axis=1)
        lines = _joined(_damped(slow, plan, gains), plan.wavelet, tables)
        if tables.mix:
            lines[:, -1] = 0
            lines[:, -1] = -xp.mean(lines, axis=0, dtype=np.float64) @ xp.asarray(tables.middle)
        else:
            lines[:, 0] -= np.float32(xp.mean(lines[:, 0], dtype=np.float64))
        return xp.asarray(tables.expand) @ xp.ascontiguousarray(lines.T)

    return estimate


def _gains(upright: Any, weight: Any, level: float, plan: Plan, slow: Any) -> list[Any]:
    """Return how much of each mode of each level is stripes, at the frequencies across it, (modes or 1, x)."""
    tables, rows = tables_of(plan), len(upright)
    if not plan.shrink:
        return [np.ones((1, 1), np.float32)] * plan.level
    options: dict[str, Any] = {"strength": max(plan.strength, 1.0), "difference": plan.difference, "slow": slow}
    if slow is None and weight is not None:
        upright = upright - np.float32(level)
    found = _stripe_power.measure(upright, weight, **options)
    along = 2 * np.pi * tables.cycles[:, None] / rows
    gains = []
    for number, width in enumerate(tables.widths[1:]):
        # Every second sample of a band of high frequencies: those come in the opposite order.
        omega = (np.pi - np.pi * np.arange(width) / width / 2) / 2**number
        gains.append(found.gain(along, omega).astype(np.float32))
    return gains


def _damped(slow: Any, plan: Plan, gains: list[Any]) -> list[Any]:
    """Bands of details of slow modes (x, modes), finest first, with their damping: (x, modes of the result)."""
    xp, tables = namespace(slow), tables_of(plan)
    bank = pywt.Wavelet(plan.wavelet)
    split = _split if on_host(slow) else split_xp
    out = []
    for number, gain in enumerate(gains):
        slow, detail = split(slow, bank)
        if plan.shrink:
            detail = _stripe_power.across(detail, xp.asarray(gain.T), axis=0)
        out.append(detail @ xp.asarray(tables.mix[number]).T if tables.mix else detail)
    return out


def _joined(details: list[Any], wavelet: str, tables: Tables) -> Any:
    """Bands of details put together along x, (x, modes of the result)."""
    xp, bank = namespace(details[0]), pywt.Wavelet(wavelet)
    join = _join if on_host(details[0]) else join_xp
    out = xp.zeros((tables.widths[-1], details[0].shape[1]), np.float32)
    for detail, width in zip(details[::-1], tables.widths[-2::-1]):
        out = join(out, detail, bank, width)
    return out


def split_xp(rows: Any, bank: Any) -> tuple[Any, Any]:
    """`xp` form: one level of analysis along the first axis; low-pass and details."""
    return _analysed(rows, bank.dec_lo), _analysed(rows, bank.dec_hi)


def join_xp(low: Any, high: Any, bank: Any, width: int) -> Any:
    """`xp` form: one level of synthesis along the first axis, to `width`."""
    return _synthesised(low[: high.shape[0]], bank.rec_lo, width) + _synthesised(high, bank.rec_hi, width)


def _split(rows: Any, bank: Any) -> tuple[Any, Any]:
    lo, hi = (np.asarray(taps, np.float32) for taps in (bank.dec_lo, bank.dec_hi))
    shape = ((rows.shape[0] + lo.size - 1) // 2, rows.shape[1])
    low, high = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _split_loop(rows, lo, hi, low, high)
    return low, high


def _join(low: Any, high: Any, bank: Any, width: int) -> Any:
    out = np.zeros((width, high.shape[1]), np.float32)
    _join_loop(low, high, np.asarray(bank.rec_lo, np.float32), np.asarray(bank.rec_hi, np.float32), out)
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


@njit(nogil=True, cache=True)
def _place(at: Any, width: Any) -> Any:
    """Pixel that a place falls on where a line goes on as its mirror image, the end repeated."""
    at = at % (2 * width)
    return 2 * width - 1 - at if at >= width else at


@njit(nogil=True, cache=True)
def _split_loop(rows: Any, lo: Any, hi: Any, low: Any, high: Any) -> None:
    width = rows.shape[0]
    for i in range(low.shape[0]):
        to_low, to_high = low[i], high[i]
        # Filters have an even number of taps: two at a time.
        for k in range(0, lo.size, 2):
            p, q = rows[_place(2 * i + 1 - k, width)], rows[_place(2 * i - k, width)]
            a, b, c, d = lo[k], lo[k + 1], hi[k], hi[k + 1]
            for m in range(p.size):
                s, t = p[m], q[m]
                to_low[m] += a * s + b * t
                to_high[m] += c * s + d * t


@njit(nogil=True, cache=True)
def _join_loop(low: Any, high: Any, lo: Any, hi: Any, out: Any) -> None:
    reach, last = lo.size - 2, high.shape[0] - 1
    for i in range(out.shape[0]):
        target = out[i]
        # Taps whose sample falls on this row: the others meet the zeros between samples.
        first = (i + reach) // 2
        for k in range((i + reach) % 2, lo.size, 2):
            j = first - k // 2
            if 0 <= j <= last:
                p, q = low[j], high[j]
                a, b = lo[k], hi[k]
                for m in range(target.size):
                    target[m] += a * p[m] + b * q[m]
