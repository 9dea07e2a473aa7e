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
from stack3d.kernels._fill import each, known
from stack3d.kernels._multiscale_plan import Plan, Scale, plan
from stack3d.kernels._namespace import namespace
from stack3d.kernels._shear import from_upright, inside, shear_of, to_upright
from stack3d.kernels.atrous import smooth

__all__ = ["Plan", "plan", "stripes"]

_SMALL = np.float32(1e-6)
_CUT = 3.0  # standard deviations at which squares are cut
_MAD = 1.482602218505602
_SAMPLES = 65536
_SHORT = 0.1  # parts shorter than this times the length of the mean count as stripes


@each
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
    xp, shear = namespace(frame), shear_of(plan.shape, plan.angle)
    frame, weight, level = known(frame, weight)
    rest = to_upright(frame - np.float32(level), shear)
    weight = inside(shear, rest, weight)
    if weight is not None:
        rest = xp.where(weight > 0, rest, np.float32(0))
    field = xp.zeros(rest.shape, np.float32)
    options: dict[str, Any] = {"strength": max(plan.strength, 1.0), "difference": plan.difference}
    measured = _stripe_power.measure(rest, weight, **options) if plan.shrink else None
    if measured is not None and not measured.ratio.any():
        return xp.zeros(frame.shape, np.float32)
    multiple = plan.thresholds(rest.shape[0])
    for number, scale in enumerate(plan.scales):
        # Details across the stripes only: those along them are no stripes.
        along = smooth(rest, number, weight, axes=(0,))
        rest = smooth(along, number, weight, axes=(1,))
        along -= rest
        limit = multiple * scale.factor * _noise(along, plan, weight)
        limit = xp.asarray(limit.astype(np.float32))
        found = _of_band(along, limit, scale, plan, weight)
        if measured is not None:
            found *= np.float32(_share(measured, number, scale.length))
        if plan.correct_energy:
            _give_back(found, along, scale.length)
        field += found if plan.strength >= 1 else np.float32(plan.strength) * found
    return from_upright(field, shear)


def _of_band(band: Any, limit: Any, scale: Scale, plan: Plan, weight: Any) -> Any:
    """Return the stripes of a band."""
    xp = namespace(band)
    if plan.rule == "predict":
        share = stripe_weights(band, limit, Shape(_SHORT * scale.length, plan.max_angle, plan.max_ratio))
    elif scale.block is not None:
        share = (xp.abs(band) <= limit[:, None]).astype(np.float32)
    else:
        return _mean(triangle, xp.clip(band, -limit[:, None], limit[:, None]), scale.length, weight)
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
    """Standard deviation of a band about each row, (rows,) float64 on the host."""
    xp = namespace(band)
    rows, columns = band.shape
    square_of, count = band, np.full(rows, float(columns))
    if plan.noise == "robust":
        cut = np.float32(_CUT * _spread(band, weight))
        square_of = xp.clip(band, -cut, cut)
    if weight is None:
        power = xp.einsum("yx,yx->y", square_of, square_of)
    else:
        power = xp.einsum("yx,yx,yx->y", weight, square_of, square_of)
        count = _host(weight.sum(axis=1, dtype=np.float64))
    power = _host(power).astype(np.float64)
    total = max(float(count.sum()), 1.0)
    overall = float(power.sum()) / total
    if plan.window is None:
        return np.full(rows, math.sqrt(overall))
    near, number = (box(part[:, None].astype(np.float32), plan.window)[:, 0] for part in (power, count))
    return np.sqrt(np.maximum(overall / 2, near / np.maximum(number, _SMALL)))


def _spread(band: Any, weight: Any) -> float:
    """Standard deviation from the median of the absolute values of a grid of pixels."""
    xp = namespace(band)
    step = max(1, math.isqrt(band.size // _SAMPLES))
    part = xp.abs(band[::step, ::step])
    if weight is not None:
        part = part[weight[::step, ::step] > 0.5]
    return _MAD * float(xp.median(part)) if part.size else 0.0


def _mean(kind: Any, values: Any, size: Any, weight: Any) -> Any:
    """Mean of a kind over what is known; 0 where nothing is."""
    if weight is None:
        return kind(values, size)
    xp = namespace(values)
    total = kind(weight, size)
    return xp.where(total > _SMALL, kind(values * weight, size) / xp.maximum(total, _SMALL), np.float32(0))


def _host(values: Any) -> Any:
    return values.get() if hasattr(values, "get") else values
