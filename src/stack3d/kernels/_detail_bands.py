"""Noise looked for in bands of details, each beside the next coarser one; the finest is split in two."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from stack3d.kernels import _box_means, atrous


def without_noise(frame: Any, scales: int, window: int, share: Callable[[Any, Any, int, int], Any]) -> Any:
    """Return the frame less the share of each band that is noise.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; finite.
    scales : int
        Of which the finest is split in two.
    window : int
        Side of the square in pixels, odd; it doubles with each scale.
    share : callable
        Of band, next coarser band, number of the band (finest is 0) and side of the square: the share of noise, (y, x).
    """
    smooth = atrous.smooth(frame, 0)
    fine, coarse = finest(frame, smooth)
    found = fine * share(fine, smooth + coarse, 0, window)
    found = found + coarse * share(coarse, smooth, 1, window)
    details = frame - smooth - found
    for scale in range(1, scales):
        # What was noise above shows in the coarser scales as well.
        smooth = smooth + atrous.smooth(found, scale - 1)
        rest = atrous.smooth(smooth, scale)
        band = smooth - rest
        found = band * share(band, rest, scale + 1, (window - 1) * 2**scale + 1)
        details = details + band - found
        smooth = rest
    return smooth + details


def finest(frame: Any, smooth: Any) -> tuple[Any, Any]:
    """Return the two halves of the finest band, the finer first: a frame less what `atrous.smooth` makes of it."""
    details = frame - smooth
    coarse = atrous.smooth(2 * details - atrous.smooth(details, 0), 0)
    return details - coarse, coarse


def covariance(one: Any, other: Any, side: int) -> Any:
    """Return the covariance over the square of `side` about each pixel."""
    return _box_means.square(one * other, side) - _box_means.square(one, side) * _box_means.square(other, side)


@lru_cache(maxsize=16)
def of_white_noise(number: int) -> tuple[float, float]:
    """Return for white noise of variance 1 the covariance of a band with the next coarser, and its standard deviation."""
    # The taps of a scale let through cos(w / 2) ** 6, w growing with their distance; means over as many frequencies as the
    # product of two bands is wide are exact.
    omega = 2 * np.pi * np.fft.fftfreq(4 * atrous.field_of_view(max(number, 1)))

    def passes(scale: int) -> Any:
        along = np.cos(2**scale * omega / 2) ** 6
        return along[:, None] * along

    first = passes(0)
    middle = first * (1 - first) * (2 - first)
    if number == 0:
        band, coarser = (1 - first) - middle, first + middle
    elif number == 1:
        band, coarser = middle, first
    else:
        smooth = first
        for scale in range(1, number - 1):
            smooth = smooth * passes(scale)
        coarser = smooth * passes(number - 1)
        band = smooth - coarser
    return float((band * coarser).mean()), float(np.sqrt((band**2).mean()))
