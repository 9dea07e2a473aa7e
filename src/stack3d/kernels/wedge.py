"""Stripes by a mask in Fourier space: what is measured of them, a wedge, a band, or what stands out there.

The spectrum of stripes lies on a line through the origin at right angles to them. A frame is continued beyond its
edges, periodically and without a jump, so that edges do not spread along that line; the origin is never masked.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _shear, _slow_rows, _stripe_power
from stack3d.kernels._fill import ROUNDS, apart, each, fill, known, through_missing
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._wedge_plan import Plan, plan

__all__ = ["Plan", "mask", "plan", "stripes"]

_MARGIN = 1 / 8  # of a side, by which a frame is continued
_REFERENCE = 15.0  # degrees from the wedge at which the reference of "auto" begins


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
        What is to be subtracted; its mean is 0.

    References
    ----------
    The masks are those of Shtengel's destreaking (FIB-SEM, Janelia), with smooth edges and the mean kept.

    Examples
    --------
    >>> from stack3d.kernels import wedge
    >>> lines = np.tile(np.float32([0, 0, 8, 0] * 16), (64, 1))
    >>> found = wedge.stripes(lines + 100, wedge.plan((64, 64), kind="wedge"))
    >>> float(np.std(lines - found) / np.std(lines)) < 0.1
    True
    """
    if frame.ndim == 3 and not on_host(frame):
        return stripes_xp(frame, plan, weight)
    return _alone(frame, plan, weight)


@each
def _alone(frame: Any, plan: Plan, weight: Any = None) -> Any:
    frame, weight, level = known(frame, weight)
    if plan.kind == "measured":
        return _finished(_measured(frame, weight, level, plan), plan)
    return _finished(through_missing(lambda full: _masked(full - np.float32(level), plan), frame, weight), plan)


def stripes_xp(frames: Any, plan: Plan, weight: Any = None) -> Any:
    """`xp` form of `stripes` for frames (n, y, x): treated at once but for those that miss pixels, measured one by one."""
    return apart(frames, weight, lambda some: _together(some, plan), lambda one, known: _alone(one, plan, known))


def _together(frames: Any, plan: Plan) -> Any:
    xp, shear = namespace(frames), _shear.shear_of(plan.shape, plan.angle)
    total = frames.sum(axis=(1, 2), dtype=np.float64)
    frames = frames - (total / max(frames[0].size, 1)).astype(np.float32)[:, None, None]
    if plan.kind != "measured":
        return _finished(_masked(frames, plan), plan)
    upright = _shear.to_upright(frames, shear)
    weight, slow = _shear.inside(shear, upright[0]), [None] * len(frames)
    if weight is None:
        slow = seen = _stripe_power.slow_rows(upright)
    else:
        upright = xp.where(weight > 0, upright, np.float32(0))
    gains = [_gain(one, weight, rows, plan) for one, rows in zip(upright, slow, strict=True)]
    used = max(len(gain) for gain in gains)
    if not used:
        return xp.zeros(frames.shape, np.float32)
    if weight is not None:
        seen = _slow_rows.project(fill(upright, weight), used)
    gains = [xp.asarray(np.pad(gain, ((0, used - len(gain)), (0, 0)))) for gain in gains]
    rows = _stripe_power.across(seen[:, :used], xp.stack(gains))
    return _finished(_shear.from_upright(_slow_rows.expand(rows, upright.shape[-2]), shear), plan)


def _masked(frames: Any, plan: Plan) -> Any:
    """Return what the mask takes from frames (..., y, x) about 0."""
    xp, (height, width) = namespace(frames), frames.shape[-2:]
    fft: Any = scipy.fft if xp is np else xp.fft
    wide = _continued(frames)
    spectrum = fft.rfft2(wide)
    if frames.ndim == 3 and plan.kind == "auto":
        spectrum *= 1 - xp.stack([mask(one, wide.shape[-2:], plan) for one in spectrum])
    else:
        spectrum *= 1 - mask(spectrum, wide.shape[-2:], plan)
    return fft.irfft2(spectrum, s=wide.shape[-2:])[..., :height, :width].astype(np.float32)


def _finished(field: Any, plan: Plan) -> Any:
    """Return the field without its mean, by the strength that is asked for."""
    field = field - field.mean(axis=(-2, -1), dtype=np.float64, keepdims=True).astype(np.float32)
    return field * np.float32(plan.strength) if plan.strength < 1 else field


def _measured(frame: Any, weight: Any, level: float, plan: Plan) -> Any:
    """Return what Wiener's filter leaves of the slow cosines along the stripes, laid upright."""
    xp, shear = namespace(frame), _shear.shear_of(plan.shape, plan.angle)
    upright = _shear.to_upright(frame - np.float32(level), shear)
    # Beyond a sheared frame lie no holes that stripes cross: filling once is enough.
    rounds = 0 if weight is None else ROUNDS
    weight = _shear.inside(shear, upright, weight)
    if weight is not None:
        upright = xp.where(weight > 0, upright, np.float32(0))
    rows = len(upright)
    slow = _stripe_power.slow_rows(upright) if weight is None else None
    gain = _gain(upright, weight, slow, plan)
    if not len(gain):
        return xp.zeros(frame.shape, np.float32)
    gain = xp.asarray(gain)

    def estimate(full: Any) -> Any:
        seen = slow[: len(gain)] if full is upright and slow is not None else _slow_rows.project(full, len(gain))
        return _slow_rows.expand(_stripe_power.across(seen, gain), rows)

    return _shear.from_upright(through_missing(estimate, upright, weight, rounds), shear)


def _gain(upright: Any, weight: Any, slow: Any, plan: Plan) -> Any:
    """Return what slow cosines are multiplied with, (cosines, half cycles across); without rows where there are no stripes."""
    rows, columns = upright.shape
    options: dict[str, Any] = {"strength": max(plan.strength, 1.0), "difference": plan.difference, "slow": slow}
    found = _stripe_power.measure(upright, weight, **options)
    if not found.ratio.any():
        return np.empty((0, columns), np.float32)
    along = found.along(np.pi * np.arange(min(_stripe_power.MODES, rows)) / rows)
    over = along[: np.count_nonzero(along), None] * found.across(np.pi * np.arange(columns) / columns)
    return (over / (1 + over)).astype(np.float32)


def mask(spectrum: Any, shape: tuple[int, int], plan: Plan) -> Any:
    """Return what each coefficient of a real transform is multiplied with, (rows, columns // 2 + 1) float32 of 0 to 1.

    Parameters
    ----------
    spectrum : array
        Of the frame; only "auto" looks at its values.
    shape : tuple of int
        Of the frame that was transformed.
    plan : Plan
        Of any kind but "measured", which takes cosines instead.
    """
    if plan.kind == "measured":
        raise ValueError("kind='measured' has no mask of a real transform: it takes cosines along the stripes")
    xp = namespace(spectrum)
    removed, ring, apart = _geometry(plan, shape)
    removed = xp.asarray(removed)
    if plan.kind != "auto":
        return np.float32(1) - removed
    height = xp.abs(spectrum)
    ring, apart = xp.asarray(ring), xp.asarray(apart)
    count = int(ring.max()) + 1
    number = xp.bincount(ring.ravel(), apart.ravel(), count)
    total = xp.bincount(ring.ravel(), (height * apart).ravel(), count)
    reference = total / xp.maximum(number, 1)
    # Rings without a coefficient in other directions say nothing: there all is kept.
    ratio = xp.where(reference[ring] > 0, height / xp.maximum(reference[ring], 1e-30), 1).astype(np.float32)
    ratio = _averaged(ratio, shape, plan.averaging)
    above = (ratio > plan.threshold / max(plan.strength, 1.0)).astype(np.float32)
    excess = above * ((1 - 1 / xp.maximum(ratio, np.float32(1))) if plan.rescale else np.float32(1))
    if plan.softness > 0:
        excess = _smooth_mask(excess)
    return (np.float32(1) - removed * excess).astype(np.float32)


@lru_cache(maxsize=8)
def _geometry(plan: Plan, shape: tuple[int, int]) -> tuple[np.ndarray[Any, Any], ...]:
    """Return where the mask acts (0 to 1), the ring of each coefficient, and the weight in the reference."""
    ky, kx = 2 * np.fft.fftfreq(shape[0])[:, None], 2 * np.fft.rfftfreq(shape[1])[None, :]
    turn = math.radians(plan.angle)
    along = ky * math.cos(turn) + kx * math.sin(turn)  # variation along the stripes
    across = kx * math.cos(turn) - ky * math.sin(turn)
    radius = np.hypot(along, across)
    off = np.degrees(np.arctan2(np.abs(along), np.abs(across)))
    if plan.kind == "band":
        near = _edge(np.abs(along), plan.half_width, plan.softness * plan.half_width)
        reach = np.abs(across)
    else:
        # Near the origin a wedge is narrower than a coefficient: at least the line itself is taken.
        step = 1 / max(shape) / np.maximum(radius, 1e-9)
        room = np.maximum(plan.half_angle, np.degrees(np.arctan(np.minimum(step, 1e3))) * (off < 45))
        near = _edge(off, room, plan.softness * plan.half_angle)
        reach = radius
    low, high = plan.radii
    beyond = 1 - _edge(reach, low * (1 - plan.softness / 2), plan.softness * low)
    removed = near * beyond * (reach <= high)
    removed[0, 0] = 0
    ring = np.rint(radius * (max(shape) // 2)).astype(np.int64)
    twice = np.ones(shape[1] // 2 + 1)
    twice[1 : (shape[1] + 1) // 2] = 2
    apart = ((off > plan.half_angle + _REFERENCE) & (off < 88)) * twice
    out = removed.astype(np.float32), ring, apart.astype(np.float32)
    for part in out:
        part.flags.writeable = False
    return out


def _edge(values: Any, limit: Any, width: Any) -> Any:
    """1 up to the limit, and down to 0 over a width beyond it, as a cosine."""
    if not np.any(width):
        return (values <= limit).astype(np.float64)
    place = np.clip((values - limit) / width, 0, 1)
    return 0.5 + 0.5 * np.cos(np.pi * place)


def _whole(half: Any, columns: int) -> Any:
    """Values that are the same at opposite frequencies, for all columns."""
    xp = namespace(half)
    last = (columns + 1) // 2
    other = xp.roll(half[::-1, 1:last][:, ::-1], 1, axis=0)
    return xp.concatenate([half, other], axis=1)


def _averaged(ratio: Any, shape: tuple[int, int], sigma: float) -> Any:
    """Gaussian mean over neighbouring coefficients, as a product in the other space."""
    xp = namespace(ratio)
    fft: Any = scipy.fft if xp is np else xp.fft
    full = _whole(ratio, shape[1])
    y, x = (xp.asarray(f) for f in (np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]))
    gain = xp.exp(-2 * (np.pi * sigma) ** 2 * (y * y + x * x)).astype(np.float32)
    return fft.irfft2(fft.rfft2(full) * gain, s=shape)[:, : shape[1] // 2 + 1].astype(np.float32)


def _smooth_mask(values: Any) -> Any:
    """Binomial mean over 3 x 3 coefficients."""
    xp = namespace(values)
    quarter, half = np.float32(0.25), np.float32(0.5)
    values = quarter * (xp.roll(values, 1, 0) + xp.roll(values, -1, 0)) + half * values
    left = xp.concatenate([values[:, :1], values[:, :-1]], axis=1)
    right = xp.concatenate([values[:, 1:], values[:, -1:]], axis=1)
    return quarter * (left + right) + half * values


def _continued(frame: Any) -> Any:
    """Continue frames along y and x, by mirror images of both ends that fade into each other, to fast sizes."""
    for _ in range(2):
        frame = _continued_down(frame).swapaxes(-1, -2)
    return frame


def _continued_down(frame: Any) -> Any:
    xp, rows = namespace(frame), frame.shape[-2]
    size = scipy.fft.next_fast_len(rows + max(2, round(_MARGIN * rows)), real=True)
    more = size - rows
    places = np.arange(more)
    period = 2 * rows
    below, above = (rows + places) % period, (places - more) % period
    below, above = (np.where(part >= rows, period - 1 - part, part) for part in (below, above))
    fade = xp.asarray((0.5 - 0.5 * np.cos(np.pi * (places + 1) / (more + 1))).astype(np.float32)[:, None])
    margin = (1 - fade) * frame[..., xp.asarray(below), :] + fade * frame[..., xp.asarray(above), :]
    return xp.concatenate([frame, margin], axis=-2)
