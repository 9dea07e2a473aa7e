"""How much of a frame is stripes: the scale of its gradients along them, and the excess across."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels._namespace import namespace

_SAMPLES = 40_000
_MAD = 0.6745  # of the standard deviation of a normal distribution
_SURE = 1.5  # standard errors that an excess must have


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


class Excess(NamedTuple):
    """What stripes are measured to have over texture and noise, by frequency across.

    Attributes
    ----------
    omega : (bands,) float64
        Radians a pixel, increasing.
    ratio : (bands,) float64
        Power of stripes over that of everything else with frequencies along the stripe as low.
    """

    omega: np.ndarray
    ratio: np.ndarray


def excess(u: Any, weight: Any, length: float, aspect: float = 2.0) -> Excess:
    """Compare what segments of `length` rows have in common with what their halves have not.

    The mean of a segment keeps stripes along y, the difference of its halves does not, and both keep the same share
    of texture and noise, as long as these change faster across than the segment is long. What the first has more,
    beyond what it may have by chance, is stripes. Frequencies across count from `aspect` over the length of a segment.
    """
    xp = namespace(u)
    height, width = u.shape
    half = int(min(max(length / 2, 4), height // 2))
    none = Excess(np.array([np.pi]), np.zeros(1))
    if half < 1 or width < 16:
        return none
    count = height // (2 * half)
    sums, known = _segments(xp, u, weight, half, 2 * count)
    common, apart = (0.5 * (sums[::2] + sign * sums[1::2]) for sign in (1, -1))
    known = known[::2] & known[1::2]
    known = known[:, 1:] & known[:, :-1]
    window = xp.asarray(np.hanning(width + 1)[1:-1].astype(np.float32))
    powers = []
    for part in (common, apart):
        change = xp.where(known, part[:, 1:] - part[:, :-1], 0) * window
        power = xp.sum(abs(xp.fft.rfft(change)) ** 2, axis=0)
        powers.append(np.asarray(power.get() if hasattr(power, "get") else power, np.float64))
    edges = _bands(width - 1, 2 * half, aspect)
    if len(edges) < 2:
        return none
    omega, ratio = [], []
    for low, high in pairwise(edges):
        there, here = (float(power[low:high].sum()) for power in powers)
        # A window leaves two thirds of the coefficients independent; each is a sum of two squares.
        chance = _SURE * (2 / (0.67 * (high - low) * count)) ** 0.5
        omega.append(np.pi * (low + high - 1) / (width - 1))
        ratio.append(max(there / here - 1 - chance, 0.0) if here > 0 else 0.0)
    return Excess(np.array(omega), np.array(ratio))


def _segments(xp: Any, u: Any, weight: Any, rows: int, count: int) -> tuple[Any, Any]:
    """Return means over `count` segments of `rows`, and where at least half of the pixels were measured."""
    shape = (count, rows, u.shape[1])
    part = u[: rows * count].reshape(shape)
    if weight is None:
        return part.mean(axis=1), xp.ones((count, u.shape[1]), bool)
    measured = weight[: rows * count].reshape(shape)
    share = measured.sum(axis=1)
    return (part * measured).sum(axis=1) / xp.maximum(share, 1e-6), share >= 0.5 * rows


def _bands(width: int, length: int, aspect: float) -> list[int]:
    """Return the borders of bands of frequency, each a third higher than the one before."""
    last = width // 2 + 1
    border = max(aspect * width / length, 1.0)
    edges: list[int] = []
    while border < last:
        edges.append(round(border))
        border = max(border * 1.33, border + 4)
    return [*edges, last] if edges and last - edges[-1] >= 4 else [*edges[:-1], last]
