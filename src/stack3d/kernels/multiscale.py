"""Stripes scale by scale, kept apart from the specimen by a threshold and the shape of what exceeds it.

A frame is split into bands of details (:mod:`stack3d.kernels.atrous`). In each, stripes are what is left of a mean along
their direction over some hundred pixels once the specimen has been given little weight (Kreinin, Gunn, Chklovskii and
Wu, Microscopy and Microanalysis 30, 889, 2024).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stack3d.kernels import _stripe_power
from stack3d.kernels._box_means import box, square, triangle
from stack3d.kernels._components import Shape, stripe_weights
from stack3d.kernels._fill import apart, each, known
from stack3d.kernels._multiscale_plan import Plan, Scale, plan
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._shear import from_upright, inside, shear_of, to_upright
from stack3d.kernels.atrous import smooth

__all__ = ["Plan", "plan", "stripes"]

_SMALL = np.float32(1e-6)
_CUT = 3.0  # standard deviations at which squares are cut
_MAD = 1.482602218505602
_SAMPLES = 65536
_SHORT = 0.1  # parts shorter than this times the length of the mean count as stripes


def stripes(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return the stripe field of a frame.

    Parameters
    ----------
    frame : (y, x) or (n, y, x) float32 array
        Numpy or cupy; NaN is missing.
    plan : Plan
        From :func:`plan`, for the shape of the frame.
    weight : (y, x) array, optional
        0 (missing) to 1: every mean is taken over what is known.

    Returns
    -------
    (y, x) float32 array
        What is to be subtracted; finite everywhere.

    References
    ----------
    Kreinin, Gunn, Chklovskii, Wu, Microscopy and Microanalysis 30, 889 (2024), preprint
    doi 10.1101/2023.09.14.557785.

    Examples
    --------
    >>> from stack3d.kernels import multiscale
    >>> lines = np.tile(np.float32([0, 0, 8, 0] * 16), (64, 1))
    >>> found = multiscale.stripes(lines + 100, multiscale.plan((64, 64), scales=2))
    >>> float(np.std(lines - found) / np.std(lines)) < 0.1
    True
    """
    if frame.ndim == 3 and not on_host(frame):
        return stripes_xp(frame, plan, weight)
    return _alone(frame, plan, weight)


@each
def _alone(frame: Any, plan: Plan, weight: Any = None) -> Any:
    shear = shear_of(plan.shape, plan.angle)
    frame, weight, level = known(frame, weight)
    rest = to_upright(frame - np.float32(level), shear)
    weight = inside(shear, rest, weight)
    return from_upright(_field(rest, weight, [_measured(rest, weight, plan)], plan), shear)


def stripes_xp(frames: Any, plan: Plan, weight: Any = None) -> Any:
    """`xp` form of `stripes` for frames (n, y, x): treated at once but for those that miss pixels, measured one by one."""
    return apart(frames, weight, lambda some: _together(some, plan), lambda one, known: _alone(one, plan, known))


def _together(frames: Any, plan: Plan) -> Any:
    xp, shear = namespace(frames), shear_of(plan.shape, plan.angle)
    total = frames.sum(axis=(1, 2), dtype=np.float64)
    level = (total / max(frames[0].size, 1)).astype(np.float32)
    rest = to_upright(frames - level[:, None, None], shear)
    weight = inside(shear, rest[0])
    found = [_measured(one, weight, plan) for one in rest]
    some = [k for k, one in enumerate(found) if one is None or one.ratio.any()]
    field = xp.zeros(rest.shape, np.float32)
    if some:
        field[np.array(some)] = _field(rest[np.array(some)], weight, [found[k] for k in some], plan)
    return from_upright(field, shear)


def _measured(rest: Any, weight: Any, plan: Plan) -> Any:
    """Return the stripes of a frame as they are measured, or None where all is taken."""
    if not plan.shrink:
        return None
    known_only = rest if weight is None else namespace(rest).where(weight > 0, rest, np.float32(0))
    options: dict[str, Any] = {"strength": max(plan.strength, 1.0), "difference": plan.difference}
    return _stripe_power.measure(known_only, weight, **options)


def _field(rest: Any, weight: Any, measured: list[Any], plan: Plan) -> Any:
    """Return the stripes along y of a frame (y, x), or of some (n, y, x), from what is measured of each."""
    xp = namespace(rest)
    if weight is not None:
        rest = xp.where(weight > 0, rest, np.float32(0))
    field = xp.zeros(rest.shape, np.float32)
    if not any(one is None or one.ratio.any() for one in measured):
        return field
    multiple = plan.thresholds(rest.shape[-2])
    for number, scale in enumerate(plan.scales):
        # Details across the stripes only: those along them are no stripes.
        along = smooth(rest, number, weight, axes=(0,))
        rest = smooth(along, number, weight, axes=(1,))
        along -= rest
        limit = multiple * scale.factor * _noise(along, plan, weight)
        limit = xp.asarray(limit.astype(np.float32))
        found = _of_band(along, limit, scale, plan, weight)
        if plan.shrink:
            shares = np.array([_share(one, number, scale.length) for one in measured], np.float32)
            found *= xp.asarray(shares[:, None, None]) if rest.ndim == 3 else shares[0]
        if plan.correct_energy:
            _give_back(found, along, scale.length)
        field += found if plan.strength >= 1 else np.float32(plan.strength) * found
    return field


def _of_band(band: Any, limit: Any, scale: Scale, plan: Plan, weight: Any) -> Any:
    """Return the stripes of a band."""
    xp = namespace(band)
    if plan.rule == "predict":
        share = stripe_weights(band, limit, Shape(_SHORT * scale.length, plan.max_angle, plan.max_ratio))
    elif scale.block is not None:
        share = (xp.abs(band) <= limit[..., None]).astype(np.float32)
    else:
        return _mean(triangle, xp.clip(band, -limit[..., None], limit[..., None]), scale.length, weight)
    share = _mean(square, share, scale.block, weight)
    found = _mean(triangle, band * share, scale.length, weight)
    found *= share
    return found


def _give_back(found: Any, band: Any, length: int) -> None:
    """Add to the stripes what gives the rest of a band the power that noise loses with its mean along the stripes."""
    loss = math.sqrt(1 - 2 / length + (2 * length**2 + 1) / (3 * length**3))
    found *= np.float32(1 / loss)
    found += band * np.float32(1 - 1 / loss)


def _passes(number: int) -> Any:
    """Return the power that the band of a scale lets through, for the frequencies across in `_stripe_power.ACROSS`."""
    omega = _stripe_power.ACROSS
    smooth = [np.cos(2**scale * omega / 2) ** 6 for scale in range(number + 1)]
    return (np.prod(smooth[:-1], axis=0) * (1 - smooth[-1])) ** 2


def _share(found: _stripe_power.Stripes, number: int, length: int) -> float:
    """Return how much of the power of means along the stripes of a band is that of stripes."""
    along = np.pi * np.arange(_stripe_power.MODES) / found.rows
    kept = np.sinc(along * length / (2 * np.pi)) ** 4  # what means with triangular weights keep
    gain = found.share(along, _stripe_power.ACROSS, _passes(number))
    # Of everything else each frequency along holds as much.
    stripes = (kept * gain / (1 - gain)).sum()
    return float(stripes / (stripes + kept.sum()))


def _noise(band: Any, plan: Plan, weight: Any) -> Any:
    """Standard deviation of a band about each row, (..., rows) float64 on the host."""
    xp = namespace(band)
    rows, columns = band.shape[-2:]
    square_of, count = band, np.full(rows, float(columns))
    if plan.noise == "robust":
        cut = xp.asarray((_CUT * _spread(band, weight)).astype(np.float32))[..., None, None]
        square_of = xp.clip(band, -cut, cut)
    if weight is None:
        power = xp.einsum("...yx,...yx->...y", square_of, square_of)
    else:
        power = xp.einsum("yx,...yx,...yx->...y", weight, square_of, square_of)
        count = _host(weight.sum(axis=1, dtype=np.float64))
    power = _host(power).astype(np.float64)
    total = max(float(count.sum()), 1.0)
    overall = power.sum(axis=-1, keepdims=True) / total
    if plan.window is None:
        return np.broadcast_to(np.sqrt(overall), power.shape)
    near, number = (box(part[..., None].astype(np.float32), plan.window)[..., 0] for part in (power, count))
    return np.sqrt(np.maximum(overall / 2, near / np.maximum(number, _SMALL)))


def _spread(band: Any, weight: Any) -> Any:
    """Standard deviation from the median of the absolute values of a grid of pixels, of each frame."""
    xp = namespace(band)
    step = max(1, math.isqrt(band.shape[-2] * band.shape[-1] // _SAMPLES))
    part = xp.abs(band[..., ::step, ::step])
    if weight is not None:
        part = part[..., weight[::step, ::step] > 0.5]
    part = part.reshape(*band.shape[:-2], -1)
    return _MAD * _host(xp.median(part, axis=-1)) if part.shape[-1] else np.zeros(band.shape[:-2])


def _mean(kind: Any, values: Any, size: Any, weight: Any) -> Any:
    """Mean of a kind over what is known; 0 where nothing is."""
    if weight is None:
        return kind(values, size)
    xp = namespace(values)
    total = kind(weight, size)
    return xp.where(total > _SMALL, kind(values * weight, size) / xp.maximum(total, _SMALL), np.float32(0))


def _host(values: Any) -> Any:
    return values.get() if hasattr(values, "get") else values
