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


def known_batch(frames: Any, weight: Any = None) -> tuple[Any, Any, np.ndarray[Any, Any]]:
    """Return frames (n, y, x) about their means, 0 where nothing is known, the weight of each pixel, and which are whole.

    `frames` and `weight` as for :func:`known`; which are whole is said on the host.
    """
    xp = namespace(frames)
    frames = as_float32(frames)
    share = xp.isfinite(frames).astype(np.float32)
    if weight is not None:
        share *= xp.clip(xp.asarray(weight, dtype=np.float32), np.float32(0), np.float32(1))
    frames = xp.where(share > 0, frames, np.float32(0))
    mass = xp.maximum(share.sum(axis=(1, 2), dtype=np.float64), 1e-30)
    level = ((frames * share).sum(axis=(1, 2), dtype=np.float64) / mass).astype(np.float32)
    frames = xp.where(share > 0, frames - level[:, None, None], np.float32(0))
    return frames, share, _on_host((share == 1).all(axis=(1, 2)))


def apart(frames: Any, weight: Any, whole: Callable[[Any], Any], holed: Callable[[Any, Any], Any]) -> Any:
    """Return the stripes of frames (n, y, x).

    Those of frames that miss no pixels by ``whole(frames)``, of all at once; those of each other by ``holed(frame, weight)``.
    """
    xp = namespace(frames)
    # One pixel that is not finite makes the sum so.
    with np.errstate(invalid="ignore", over="ignore"):
        good = _on_host(xp.isfinite(frames.sum(axis=(1, 2), dtype=np.float64)))
    if weight is not None:
        good = good & _on_host((weight == 1).all(axis=(1, 2)))
    if good.all():
        return whole(frames)
    out, some = xp.empty(frames.shape, np.float32), np.flatnonzero(good)
    if some.size:
        out[some] = whole(frames[some])
    for k in map(int, np.flatnonzero(~good)):
        out[k] = holed(frames[k], None if weight is None else weight[k])
    return out


def _on_host(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values.get() if hasattr(values, "get") else values)


def fill(frame: Any, weight: Any) -> Any:
    """Fill pixels of little weight from ever wider surroundings (a pyramid of weighted means of 2 x 2 pixels).

    Parameters
    ----------
    frame, weight : (..., y, x) float32 arrays
        Finite; as :func:`known` gives them.

    Returns
    -------
    (..., y, x) float32 array
        The frame itself where the weight is 1; 0 everywhere where the weight is.
    """
    xp = namespace(frame)
    if min(frame.shape) == 0 or not bool((weight > 0).any()):
        return xp.zeros_like(frame)
    levels = [(frame, weight)]
    while max(levels[-1][0].shape[-2:]) > 1:
        values, weights = levels[-1]
        mass, total = (_turned(_pairs(_turned(_pairs(part)))) for part in (values * weights, weights))
        mean = xp.where(total > 0, mass / xp.maximum(total, np.float32(1e-30)), np.float32(0))
        levels.append((mean.astype(np.float32), xp.minimum(total, np.float32(1))))
    out = levels.pop()[0]
    for values, weights in reversed(levels):
        wide = _turned(_doubled(_turned(_doubled(out, values.shape[-2])), values.shape[-1]))
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


def _turned(values: Any) -> Any:
    return values.swapaxes(-1, -2)


def _pairs(values: Any) -> Any:
    """Sums of pairs of rows; the last row alone where their number is odd."""
    even = values.shape[-2] // 2 * 2
    out = values[..., 0:even:2, :] + values[..., 1:even:2, :]
    if even == values.shape[-2]:
        return out
    return namespace(values).concatenate([out, values[..., even:, :]], axis=-2)


def _doubled(values: Any, rows: int) -> Any:
    """Rows interpolated linearly to twice as many, cut to `rows`."""
    xp = namespace(values)
    above = xp.concatenate([values[..., :1, :], values[..., :-1, :]], axis=-2)
    below = xp.concatenate([values[..., 1:, :], values[..., -1:, :]], axis=-2)
    near, far = np.float32(0.75), np.float32(0.25)
    out = xp.empty((*values.shape[:-2], 2 * values.shape[-2], values.shape[-1]), np.float32)
    out[..., 0::2, :] = near * values + far * above
    out[..., 1::2, :] = near * values + far * below
    return out[..., :rows, :]
