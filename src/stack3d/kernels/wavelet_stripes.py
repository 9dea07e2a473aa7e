"""Stripes by damping of wavelet bands in Fourier space (Muench, Trtik, Marone and Stampanoni, Opt. Express 17, 8567, 2009).

What the method removes from a frame is found directly: it lives in the bands of details across the stripes, and in
them in a few slow waves along the stripes. Columns are projected on these, rows of the waves go through the wavelet
bands, and the result is expanded. The specimen itself is never transformed back, so it keeps every pixel as it was, at
any size of the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stack3d.kernels import _slow_rows, _stripe_power, _wavelet_bands, _wavelet_batches
from stack3d.kernels._fill import ROUNDS, each, known, known_batch, through_missing
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._shear import from_upright, inside, shear_of, to_upright
from stack3d.kernels._wavelet_plan import Plan, Tables, basis_of, levelwise, plan, pyramid_of, tables_of

__all__ = ["Plan", "plan", "stripes"]

_SOME = 16  # of every so many pixels it is seen what they are about
_NEAR = 16.0  # standard deviations that a mean may be from 0 before rounding sees it


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
    if not on_host(frame):
        return stripes_xp(frame, plan, weight)
    return _alone(frame, plan, weight)


def stripes_xp(frames: Any, plan: Plan, weight: Any = None) -> Any:
    """`xp` form of `stripes`: frames (n, y, x) are measured one by one and treated together."""
    if frames.ndim == 2:
        return stripes_xp(frames[None], plan, None if weight is None else weight[None])[0]
    frames, weight, whole = known_batch(frames, weight)
    out = namespace(frames).empty(frames.shape, np.float32)
    for holes in (False, True):
        # Where pixels are missing stripes are looked for again, and no frame depends on what it is treated with.
        some = np.flatnonzero(whole != holes)
        if some.size:
            out[some] = _together(frames[some], weight[some] if holes else None, plan)
    return _scaled(out, plan)


def _together(frames: Any, weight: Any, plan: Plan) -> Any:
    """Return the stripes of frames about 0 at once: all of them miss pixels, or none."""
    xp, shear = namespace(frames), shear_of(plan.shape, plan.angle)
    rounds = 0 if weight is None else ROUNDS
    upright = to_upright(frames, shear)
    weight = inside(shear, upright, weight)
    slow = None
    if weight is not None:
        upright = xp.where(weight > 0, upright, np.float32(0))
        weight = xp.broadcast_to(weight, upright.shape)
    elif plan.shrink:
        slow = _stripe_power.slow_rows(upright)
    each_has = zip(upright, *([None] * len(upright) if part is None else part for part in (weight, slow)), strict=True)
    found = [_gains(one, known_of, plan, rows) for one, known_of, rows in each_has]
    if not any(np.any(gain) for gains in found for gain in gains):
        return xp.zeros(frames.shape, np.float32)
    estimate = _cosines_of(found, upright, slow, plan) if _cosines(plan) else _damping_of(found, xp, plan)
    field = from_upright(through_missing(estimate, upright, weight, rounds), shear)
    if shear.start is not None:
        field -= xp.mean(field, axis=(1, 2), dtype=np.float64, keepdims=True).astype(np.float32)
    return field


def _cosines_of(found: list[Any], upright: Any, slow: Any, plan: Plan) -> Callable[[Any], Any]:
    """Return `_by_cosines` of frames (n, y, x) at once, from the gains of each."""
    xp, tables, used = namespace(upright), tables_of(plan), max(_used(gains) for gains in found)
    # Waves of all frames one after the other.
    gains = [np.concatenate([_filled(gain, used) for gain in of_level]) for of_level in zip(*found, strict=True)]

    def estimate(full: Any) -> Any:
        seen = slow[:, :used] if full is upright and slow is not None else _slow_rows.project(full, used)
        lines = _lines(seen.reshape(-1, seen.shape[-1]), gains, tables).reshape(len(full), used, -1)
        lines[:, 0] -= xp.mean(lines[:, 0], axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
        return _slow_rows.expand(lines, full.shape[-2])

    return estimate


def _damping_of(found: list[Any], xp: Any, plan: Plan) -> Callable[[Any], Any]:
    """Return `_by_damping` of frames (n, y, x) about 0 at once, from the gains of each."""
    gains = [xp.asarray(np.stack(of_level)) for of_level in zip(*found, strict=True)]

    def shrunk(band: Any, number: int) -> Any:
        return _stripe_power.across(band, gains[number]) if plan.shrink else band

    if levelwise(plan):
        return lambda full: _wavelet_batches.pyramid(full, pyramid_of(plan), shrunk)
    return lambda full: _wavelet_batches.together(full, basis_of(plan), shrunk)


def _filled(gain: Any, count: int) -> Any:
    """Return gains with zeros for the waves that follow."""
    out = np.zeros((count, gain.shape[1]), np.float32)
    out[: len(gain)] = gain[:count]
    return out


def _used(gains: list[Any]) -> int:
    """Return how many modes, from the slowest, have stripes at some level."""
    return max((int(np.flatnonzero(gain.any(axis=1))[-1]) + 1 for gain in gains if gain.any()), default=0)


@each
def _alone(frame: Any, plan: Plan, weight: Any = None) -> Any:
    xp, shear = namespace(frame), shear_of(plan.shape, plan.angle)
    if weight is None and shear.start is None:
        field = _upright(to_upright(frame, shear), plan)
        if field is not None:
            return _scaled(from_upright(field, shear), plan)
    frame, weight, level = known(frame, weight)
    upright = to_upright(frame, shear)
    # Beyond a sheared frame lie no holes that stripes cross: filling once is enough.
    rounds = 0 if weight is None else ROUNDS
    weight = inside(shear, upright, weight)
    if _far(upright[::_SOME, ::_SOME], level):
        upright, level = upright - np.float32(level), 0.0
    if weight is not None:
        upright = xp.where(weight > 0, upright, np.float32(level))
    estimate = _by_cosines(upright, weight, plan) if _cosines(plan) else _by_damping(upright, weight, level, plan)
    if estimate is None:
        return xp.zeros(frame.shape, np.float32)
    field = from_upright(through_missing(estimate, upright, weight, rounds), shear)
    if shear.start is not None:
        field -= np.float32(field.mean())
    return _scaled(field, plan)


def _upright(frame: Any, plan: Plan) -> Any:
    """Return the field of a frame that lies upright, or None where a pixel is missing: no pass is spent on looking for one."""
    xp = namespace(frame)
    # One value that is not finite makes the mean so, and the products that the frame is seen by.
    some = frame[::_SOME, ::_SOME].copy()
    with np.errstate(invalid="ignore"):
        level = float(some.mean(dtype=np.float64))
    if not np.isfinite(level):
        return None
    if _far(some, level):
        frame, level = frame - np.float32(level), 0.0
    slow = _stripe_power.slow_rows(frame) if plan.shrink else None
    if slow is not None and not bool(xp.isfinite(xp.sum(slow[0], dtype=np.float64))):
        return None
    estimate = _by_cosines(frame, None, plan, slow) if _cosines(plan) else _by_damping(frame, None, level, plan, slow)
    if estimate is None:
        return xp.zeros(frame.shape, np.float32)
    field = estimate(frame)
    # The mean of the field is taken off, and is not finite where any pixel is not.
    return field if bool(xp.isfinite(field[0, 0])) else None


def _far(some: Any, level: float) -> bool:
    """Whether pixels of a frame are so far from 0 that rounding sees it."""
    return abs(level) > _NEAR * float(some.std(dtype=np.float64))


def _scaled(field: Any, plan: Plan) -> Any:
    return field * np.float32(plan.strength) if plan.strength < 1 else field


def _cosines(plan: Plan) -> bool:
    """Whether the slow modes are the cosines that stripes are measured by."""
    return plan.damping is None and plan.boundary == "reflect"


def _by_cosines(upright: Any, weight: Any, plan: Plan, slow: Any = None) -> Callable[[Any], Any] | None:
    """Return what finds the stripes in a frame without gaps, from its slow cosines; None where there are none."""
    xp, tables, rows = namespace(upright), tables_of(plan), len(upright)
    slow = _stripe_power.slow_rows(upright) if slow is None and weight is None else slow
    gains = _gains(upright, weight, plan, slow)
    used = _used(gains)
    if not used:
        return None
    gains = [gain[:used] for gain in gains]

    def estimate(full: Any) -> Any:
        seen = slow[:used] if full is upright and slow is not None else _slow_rows.project(full, used)
        lines = _lines(seen, gains, tables)
        # The frame keeps its level, by the wave that is constant.
        lines[0] -= np.float32(xp.mean(lines[0], dtype=np.float64))
        return _slow_rows.expand(lines, rows)

    return estimate


def _by_damping(upright: Any, weight: Any, level: float, plan: Plan, slow: Any = None) -> Callable[[Any], Any] | None:
    """Return the same for a damping of its own."""
    xp = namespace(upright)
    gains = _gains(upright, weight, plan, slow)
    if not any(np.any(gain) for gain in gains):
        return None

    def shrunk(band: Any, number: int) -> Any:
        return _stripe_power.across(band, xp.asarray(gains[number])) if plan.shrink else band

    if levelwise(plan):
        return lambda full: _wavelet_bands.pyramid(full, pyramid_of(plan), shrunk)
    return lambda full: _wavelet_bands.together(full, level, basis_of(plan), shrunk)


def _gains(upright: Any, weight: Any, plan: Plan, slow: Any) -> list[Any]:
    """Return how much of each wave of each level is stripes, at the frequencies across it, (waves or 1, x)."""
    tables, rows = tables_of(plan), len(upright)
    if not plan.shrink:
        return [np.ones((1, 1), np.float32)] * plan.level
    options: dict[str, Any] = {"strength": max(plan.strength, 1.0), "difference": plan.difference, "slow": slow}
    found = _stripe_power.measure(upright, weight, **options)
    cycles = tables.cycles if _cosines(plan) else np.zeros(1)
    along = found.along(2 * np.pi * cycles / rows)
    # Waves that are left alone go last, and are many.
    along = along[: max(np.count_nonzero(along), 1), None]
    gains = []
    for omega in tables.omega:
        over = (along * found.across(omega)).astype(np.float32)
        gains.append(over / (1 + over))
    return gains


def _lines(slow: Any, gains: list[Any], tables: Tables) -> Any:
    """Return what slow waves (n, x) have of stripes in the details of each level."""
    xp = namespace(slow)
    bands = _wavelet_bands.details(slow, tables.bank, len(gains))
    bands = [_stripe_power.across(band, xp.asarray(gain)) for band, gain in zip(bands, gains, strict=True)]
    return _wavelet_bands.joined(bands, tables.bank, tables.widths)
