"""Signal and noise of several detectors that saw one frame, and how to add them for the best of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stack3d.kernels import _fusion_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, working_dtype
from stack3d.kernels.blend import blend_frames

_LEAST_SHARE = 0.05


def covariances(frames: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return the covariance of each pair of frames, and of each with the other moved by 1 and by 2 pixels.

    Over the pixels measured in all frames, within and where they are moved to.

    Parameters
    ----------
    frames : sequence of (y, x) arrays
        Numpy or cupy. Values that are not finite are missing.

    Returns
    -------
    (3, frames, frames) array of float64
        Lag 0, 1 and 2, mean of along y and along x, symmetric. NaN without a measured pair.

    Examples
    --------
    >>> from stack3d.kernels import fusion
    >>> ramp = np.arange(12.0).reshape(3, 4)
    >>> fusion.covariances([ramp, 2 * ramp])[0].round(2)
    array([[11.92, 23.83],
           [23.83, 47.67]])
    """
    if not all(on_host(frame) for frame in frames):
        return covariances_xp(frames)
    kind = frames[0].dtype
    same = tuple(packed(frame if frame.dtype == kind else frame.astype(np.float32)) for frame in frames)
    if any(frame.dtype != same[0].dtype for frame in same):
        same = tuple(frame.astype(np.float32) for frame in same)
    count = len(frames)
    out = np.full((3, count, count), np.nan)
    use, number, means = loops.measured(same)
    if not number:
        return out
    sums = loops.products(same, use, means)
    upper = sums[0, :count, :count]
    out[0] = (upper + upper.T - np.diag(np.diag(upper))) / number
    for lag in (1, 2):
        pairs, found = sums[lag, count, count], sums[lag, :count, :count]
        if pairs:
            out[lag] = (found + found.T) / 2 / pairs
    return out


def covariances_xp(frames: Sequence[Any]) -> np.ndarray[Any, Any]:
    """`xp` form of `covariances`."""
    xp = namespace(frames[0])
    count = len(frames)
    stack = xp.stack([frame.astype(np.float32, copy=False) for frame in frames])
    use = xp.isfinite(stack).all(axis=0)
    number = float(use.sum())
    out = np.full((3, count, count), np.nan)
    if not number:
        return out
    centred = xp.empty_like(stack)
    for k in range(count):
        mean = xp.where(use, stack[k], 0).sum(dtype=np.float64) / number
        centred[k] = xp.where(use, stack[k] - np.float32(mean), 0)
    weight = use.astype(np.float32)
    for lag in range(3):
        sums, pairs = np.zeros((count, count)), 0.0
        for axis in (0,) if lag == 0 else (0, 1):
            if use.shape[axis] <= lag:
                continue
            first, second = (_cut(axis, slice(0, use.shape[axis] - lag)), _cut(axis, slice(lag, None)))
            pairs += float((weight[first] * weight[second]).sum(dtype=np.float64))
            for i in range(count):
                for j in range(count):
                    sums[i, j] += float((centred[i][first] * centred[j][second]).sum(dtype=np.float64))
        if pairs:
            out[lag] = (sums + sums.T) / 2 / pairs
    return out


def _cut(axis: int, part: slice) -> tuple[slice, slice]:
    return (part, slice(None)) if axis == 0 else (slice(None), part)


def signal_and_noise(found: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the covariance of the signal and that of the noise, each (frames, frames).

    White noise has no part in the covariance of pixels apart. That of the signal at lag 0 is continued from lags 1 and 2 by an
    even parabola, ``(4 C(1) - C(2)) / 3``; the rest is noise. Correlations of the noise between frames are lowered together as far
    as it takes for no combination of frames to have less than a twentieth of the noise they would have without them:
    measured on few pixels, they could promise sums without any.

    References
    ----------
    J. T. L. Thong, K. S. Sim, J. C. H. Phang, Scanning 23, 328 (2001), doi:10.1002/sca.4950230506.
    """
    found = np.asarray(found, dtype=np.float64)
    signal = (4 * found[1] - found[2]) / 3
    return signal, _tamed(found[0] - signal)


def _tamed(noise: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    own = np.diag(noise)
    if not (own > 0).all():
        return noise
    scale = np.sqrt(np.outer(own, own))
    least = float(np.linalg.eigvalsh(noise / scale)[0])
    share = 1.0 if least >= _LEAST_SHARE else (1 - _LEAST_SHARE) / (1 - least)
    return np.asarray(noise * share + np.diag(own) * (1 - share))


def best_weights(signal: Any, noise: Any) -> np.ndarray[Any, Any]:
    """Return the weights, summing to 1 and none negative, that make the ratio ``w S w / w N w`` largest.

    That is the largest generalised eigenvalue of the two covariances. Where the noise of the channels is independent and their signal the
    same but for its size, ``w`` goes with signal over noise variance.

    Examples
    --------
    >>> from stack3d.kernels import fusion
    >>> fusion.best_weights(np.ones((2, 2)), np.diag([1.0, 3.0])).round(6)
    array([0.75, 0.25])
    """
    from scipy import linalg

    signal, noise = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
    kept = np.arange(len(signal))
    while True:
        part = np.ix_(kept, kept)
        scale = np.sqrt(np.diag(noise)[kept])
        whitened = noise[part] / np.outer(scale, scale)
        vector = linalg.eigh(signal[part] / np.outer(scale, scale), whitened)[1][:, -1] / scale
        if vector.sum() < 0:
            vector = -vector
        if (vector >= 0).all():
            break
        # A channel that would be taken off others adds nothing but their noise: it is left out.
        kept = np.delete(kept, np.argmin(vector * scale))
    out = np.zeros(len(signal))
    out[kept] = vector / vector.sum()
    return out


def ratio(weights: Any, signal: Any, noise: Any) -> float:
    """Return the signal-to-noise ratio (power) of the weighted sum of channels."""
    weights = np.asarray(weights, np.float64)
    below = float(weights @ noise @ weights)
    return float(weights @ signal @ weights) / below if below > 0 else np.nan


def weighted(frames: Sequence[Any], weights: Any, dtype: Any) -> tuple[Any, int]:
    """Return the weighted sum of frames, missing where one of weight other than 0 is, and how many did not fit `dtype`.

    Examples
    --------
    >>> from stack3d.kernels import fusion
    >>> fusion.weighted([np.array([[10, 20]], "uint8"), np.array([[20, 20]], "uint8")], [0.7, 0.3], "uint8")
    (array([[13, 20]], dtype=uint8), 0)
    """
    if frames[0].dtype.kind in "iu":
        return blend_frames(frames, weights, dtype)
    kind = working_dtype(frames[0].dtype, dtype)
    used = [(frame, kind.type(weight)) for frame, weight in zip(frames, weights, strict=True) if weight != 0]
    total = used[0][0].astype(kind) * used[0][1]
    for frame, weight in used[1:]:
        total = total + frame.astype(kind, copy=False) * weight
    return finish(total, dtype)
