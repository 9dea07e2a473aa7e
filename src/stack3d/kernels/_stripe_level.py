"""How much of a frame is stripes: the scale of its gradients along them, and the excess across."""

from __future__ import annotations

from typing import Any

from stack3d.kernels._namespace import namespace

_SAMPLES = 40_000
_MAD = 0.6745  # of the standard deviation of a normal distribution
_CLIP = 6.0
_SURE = 2.0  # standard errors that an excess must have


def gradient_scale(u: Any, weight: Any = None) -> float:
    """Return the standard deviation of differences along y, in a robust sense, so that stripes along y have no part.

    Falls back on the mean of their sizes for images of few grey levels, where most differences are 0.
    """
    xp = namespace(u)
    height, width = u.shape
    if height < 2:
        return 0.0
    step = max(1, int(((height - 1) * width) ** 0.5 / _SAMPLES**0.5))
    rows = slice(0, height - 1, step)
    change = abs(u[1:][rows, ::step] - u[:-1][rows, ::step])
    if weight is not None:
        change = change[(weight[1:][rows, ::step] > 0) & (weight[:-1][rows, ::step] > 0)]
    if change.size == 0:
        return 0.0
    middle = float(xp.median(change)) / _MAD
    return max(middle, float(change.mean()))


def excess(u: Any, weight: Any, length: float) -> float:
    """Return the variance of differences across y that segments of `length` rows have in common: that of stripes.

    The mean of a segment keeps stripes, the difference of its halves does not, and both keep the same share of
    texture and noise. What the first has more, less what it may have by chance, is stripes.
    """
    xp = namespace(u)
    height, width = u.shape
    half = int(min(max(length / 2, 4), height // 2))
    if half < 1 or width < 4:
        return 0.0
    count = height // (2 * half)
    rows = 2 * half * count
    if weight is None:
        sums = u[:rows].reshape(2 * count, half, width).mean(axis=1)
        known = xp.ones(sums.shape, bool)
    else:
        share = weight[:rows].reshape(2 * count, half, width).sum(axis=1)
        sums = (u[:rows] * weight[:rows]).reshape(2 * count, half, width).sum(axis=1) / xp.maximum(share, 1e-6)
        known = share >= 0.5 * half
    known = known[::2] & known[1::2]
    known = known[:, 1:] & known[:, :-1]
    common, apart = (0.5 * (sums[::2] + sign * sums[1::2]) for sign in (1, -1))
    common, apart = ((part[:, 1:] - part[:, :-1])[known] for part in (common, apart))
    if common.size < 8:
        return 0.0
    limit = _CLIP * (float(xp.median(abs(apart))) / _MAD + 1e-30)
    there, here = (float(xp.mean(xp.minimum(abs(part), limit) ** 2)) for part in (common, apart))
    # A value and its neighbour across share texture: about three values are one independent one.
    chance = _SURE * here * (12 / common.size) ** 0.5
    return max(there - here - chance, 0.0)
