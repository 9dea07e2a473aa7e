"""Bands with flat tops, of finite length and nearly one direction: curtains that resemble no model of a stripe."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_OLDEST = 12  # slices that a curtain lives at most
_EDGE = 0.7  # pixels over which a flank rises


def curtains(
    k: int, shape: tuple[int, int], settings: dict[str, Any], draws: Callable[[int], np.random.Generator]
) -> np.ndarray:
    """Return the curtains of slice `k`, (y, x) float32, heights of unit variance.

    Each slice draws as many as it needs from its own generator; with `persistence` a curtain is there in the next
    slice too with that chance, and the slice draws so many fewer.
    """
    persistence = settings["persistence"]
    out = np.zeros(shape, np.float32)
    oldest = _OLDEST if persistence else 1
    for birth in range(k - oldest + 1, k + 1):
        # At persistence 1 curtains still end, at the greatest age.
        share = 1 / sum(persistence**age for age in range(oldest))
        for band in _drawn(draws(birth), shape, settings, share):
            if band[0] < persistence ** (k - birth):
                _add(out, *band[1:])
    return out


def _drawn(rng: np.random.Generator, shape: tuple[int, int], settings: dict[str, Any], share: float) -> np.ndarray:
    """Return (chance, place y, place x, angle, width, length, height) of each curtain that begins in a slice."""
    diagonal = math.hypot(*shape)
    # Places are strewn over a disc that holds the frame and the ends of curtains outside it.
    reach = 0.5 * diagonal * (1 + settings["length"][1])
    mean_length = 0.5 * diagonal * sum(settings["length"])
    count = rng.poisson(share * settings["density"] / 1000 * (2 * reach) ** 2 / mean_length)
    chance = rng.random((count, 5))
    tall = rng.standard_normal((count, 2))
    low, high = np.log(settings["width"])
    short, long = (part * diagonal for part in settings["length"])
    return np.column_stack(
        [
            chance[:, 0],
            (shape[0] - 1) / 2 + reach * (2 * chance[:, 1] - 1),
            (shape[1] - 1) / 2 + reach * (2 * chance[:, 2] - 1),
            settings["angle"] + settings["scatter"] * tall[:, 0],
            np.exp(low + (high - low) * chance[:, 3]),
            short + (long - short) * chance[:, 4],
            tall[:, 1],
        ]
    )


def _add(out: np.ndarray, y: float, x: float, angle: float, width: float, length: float, height: float) -> None:
    """Add a band with flanks of `_EDGE` pixels and ends that fade over an eighth of its length each."""
    turn = math.radians(angle)
    along = np.array([math.cos(turn), math.sin(turn)])
    half = np.abs(along) * length / 2 + np.abs(along[::-1]) * (width / 2 + 4 * _EDGE)
    top, left = (max(0, math.floor(p - h)) for p, h in zip((y, x), half, strict=True))
    bottom, right = (min(n, math.ceil(p + h) + 1) for n, p, h in zip(out.shape, (y, x), half, strict=True))
    if top >= bottom or left >= right:
        return
    dy = (np.arange(top, bottom, dtype=np.float64) - y)[:, None]
    dx = (np.arange(left, right, dtype=np.float64) - x)[None, :]
    lengthwise, across = dy * along[0] + dx * along[1], dx * along[0] - dy * along[1]
    band = 1 / (1 + np.exp(np.clip((np.abs(across) - width / 2) / (0.4 * _EDGE), -40, 40)))
    ends = np.clip((length / 2 - np.abs(lengthwise)) / (length / 8), 0, 1)
    out[top:bottom, left:right] += (height * band * ends).astype(np.float32)
