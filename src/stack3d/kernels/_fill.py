"""Missing pixels filled from what surrounds them, so that linear filters may be applied to the whole frame."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from stack3d.kernels._namespace import namespace
from stack3d.kernels.finite import as_float32

ROUNDS = 2


def known(frame: Any, weight: Any = None) -> tuple[Any, Any, float]:
    """Return the frame with its mean where nothing is known, the weight of each pixel, and the mean.

    Parameters
    ----------
    frame : (y, x) array
        NaN and infinities are missing.
    weight : (y, x) array, optional
        0 (missing) to 1; what the frame holds where it is 0 does not matter.

    Returns
    -------
    frame : (y, x) float32 array
        Finite.
    weight : (y, x) float32 array or None
        None where all pixels count fully.
    mean : float
        Of the pixels by weight, 0 where there are none.
    """
    xp = namespace(frame)
    frame = xp.ascontiguousarray(as_float32(frame))
    if weight is None:
        # One pixel that is not finite makes the sum so.
        with np.errstate(invalid="ignore", over="ignore"):
            total = float(frame.sum())
        if np.isfinite(total):
            return frame, None, total / max(frame.size, 1)
    share = xp.isfinite(frame).astype(np.float32)
    if weight is not None:
        share *= xp.clip(xp.asarray(weight, dtype=np.float32), np.float32(0), np.float32(1))
    if bool((share == 1).all()):
        return frame, None, float(frame.mean(dtype=np.float64))
    frame = xp.where(share > 0, frame, np.float32(0))
    mass = float(share.sum(dtype=np.float64))
    mean = float((frame * share).sum(dtype=np.float64)) / mass if mass > 0 else 0.0
    return xp.where(share > 0, frame, np.float32(mean)), share, mean


def each(stripes: Callable[..., Any]) -> Callable[..., Any]:
    """Make what finds the stripes of a frame (y, x) take frames (n, y, x) as well, one after the other."""

    @functools.wraps(stripes)
    def of_frames(frame: Any, plan: Any, weight: Any = None) -> Any:
        if frame.ndim == 2:
            return stripes(frame, plan, weight)
        parts = [stripes(one, plan, None if weight is None else weight[k]) for k, one in enumerate(frame)]
        return namespace(frame).stack(parts)

    return of_frames


def fill(frame: Any, weight: Any) -> Any:
    """Fill pixels of little weight from ever wider surroundings (a pyramid of weighted means of 2 x 2 pixels).

    Parameters
    ----------
    frame, weight : (y, x) float32 arrays
        Finite; as :func:`known` gives them.

    Returns
    -------
    (y, x) float32 array
        The frame itself where the weight is 1; 0 everywhere where the weight is.
    """
    xp = namespace(frame)
    if min(frame.shape) == 0 or not bool((weight > 0).any()):
        return xp.zeros_like(frame)
    levels = [(frame, weight)]
    while max(levels[-1][0].shape) > 1:
        values, weights = levels[-1]
        mass = _pairs(_pairs(values * weights).T).T
        total = _pairs(_pairs(weights).T).T
        mean = xp.where(total > 0, mass / xp.maximum(total, np.float32(1e-30)), np.float32(0))
        levels.append((mean.astype(np.float32), xp.minimum(total, np.float32(1))))
    out = levels.pop()[0]
    for values, weights in reversed(levels):
        wide = _doubled(_doubled(out, values.shape[0]).T, values.shape[1]).T
        out = weights * values + (np.float32(1) - weights) * wide
    return xp.ascontiguousarray(out)


def through_missing(estimate: Callable[[Any], Any], frame: Any, weight: Any, rounds: int = ROUNDS) -> Any:
    """Return the stripe field of a frame with missing pixels, by an `estimate` that wants all pixels.

    What is filled in lacks the stripes, which would fade beside every hole; so it is filled again, from the frame less
    the stripes found, with these stripes on top, `rounds` times.

    Parameters
    ----------
    estimate : callable
        (y, x) float32 array -> stripe field.
    frame, weight : (y, x) arrays
        As :func:`known` gives them; weight None for nothing missing.
    """
    if weight is None:
        return estimate(frame)
    field = estimate(fill(frame, weight))
    for _ in range(rounds):
        xp = namespace(frame)
        rest = fill(xp.where(weight > 0, frame - field, np.float32(0)), weight)
        field = estimate(rest + field)
    return field


def _pairs(values: Any) -> Any:
    """Sums of pairs of rows; the last row alone where their number is odd."""
    even = values.shape[0] // 2 * 2
    out = values[0:even:2] + values[1:even:2]
    return namespace(values).concatenate([out, values[even:]]) if even < values.shape[0] else out


def _doubled(values: Any, rows: int) -> Any:
    """Rows interpolated linearly to twice as many, cut to `rows`."""
    xp = namespace(values)
    above = xp.concatenate([values[:1], values[:-1]])
    below = xp.concatenate([values[1:], values[-1:]])
    near, far = np.float32(0.75), np.float32(0.25)
    out = xp.empty((2 * values.shape[0], values.shape[1]), np.float32)
    out[0::2] = near * values + far * above
    out[1::2] = near * values + far * below
    return out[:rows]
