"""Means over those pixels around each whose details have its sign: what lies across an edge has no part."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels import _detail_bands, atrous
from stack3d.kernels._namespace import namespace


def means(frame: Any, scales: int = 3) -> Any:
    """Return for each pixel the mean over all bands of such means (hifiem, 2023).

    A band is an image of details, and says of the pixels within three of another which have its sign there; these are
    averaged with the weights of the low-pass of :mod:`stack3d.kernels.atrous`, and count with the sum of their weights. In
    all but the finest band a pixel counts as edge where one of its four neighbours has another sign: it is averaged with
    all pixels of its sign, other pixels only with those that are no edge. Nothing is tied to a grey scale, and no noise
    needs to be known.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; finite.
    scales : int
        Of which the finest is split in two.

    Returns
    -------
    (y, x) float32 array

    References
    ----------
    Kreinin, Gunn, Chklovskii, Wu, preprint doi 10.1101/2023.09.14.557785, and their program (hifiem).

    Examples
    --------
    >>> from stack3d.kernels import same_sign
    >>> step = np.tile(np.float32([10] * 8 + [90] * 8), (16, 1))
    >>> noisy = step + np.random.default_rng(0).normal(0, 3, step.shape).astype("float32")
    >>> clean = same_sign.means(noisy)
    >>> bool(np.std(clean - step) < 0.6 * np.std(noisy - step))
    True
    """
    level = np.float32(float(frame.mean(dtype=np.float64)))  # what is left keeps its digits in differences of float32
    frame = frame - level
    smoothed = atrous.smooth(frame, 0)
    (fine, coarse), rest = _detail_bands.finest(frame, smoothed), smoothed
    total, weight = _of_pixels(frame, smoothed, fine >= 0)
    for scale in range(scales):
        if scale:
            coarse, rest = rest, atrous.smooth(rest, scale)
            coarse = coarse - rest
        more, count = _of_band(frame, smoothed, coarse)
        total += more
        weight += count
    return total / weight + level


def _of_band(frame: Any, smoothed: Any, band: Any) -> tuple[Any, Any]:
    """Return weighted sums over pixels of one sign, and their weights; without the edges where a pixel is no edge."""
    xp = namespace(frame)
    positive, edge = band >= 0, _changes_sign(band)
    with_edges = _of_pixels(frame, smoothed, positive)
    inner = [_sums(frame, mask & ~edge) for mask in (positive, ~positive)]
    total, weight = (
        xp.where(edge, all_of_sign, xp.where(positive, above, below))
        for all_of_sign, above, below in zip(with_edges, *inner, strict=True)
    )
    return total, weight


def _of_pixels(frame: Any, smoothed: Any, positive: Any) -> tuple[Any, Any]:
    """Return weighted sums over all pixels of one sign, and their weights."""
    xp = namespace(frame)
    above, share = _sums(frame, positive)
    return xp.where(positive, above, smoothed - above), xp.where(positive, share, np.float32(1) - share)


def _sums(frame: Any, mask: Any) -> tuple[Any, Any]:
    chosen = mask.astype(np.float32)
    return atrous.smooth(frame * chosen, 0), atrous.smooth(chosen, 0)


def _changes_sign(band: Any) -> Any:
    """Return whether a pixel or one of its four neighbours is positive and another is not, or negative and another is not."""
    xp = namespace(band)
    least = most = sign = xp.sign(band)
    for axis in (0, 1):
        size = band.shape[axis]
        for step in (-1, 1):
            places = xp.asarray(np.clip(np.arange(size) + step, 0, size - 1))
            moved = sign.take(places, axis)
            least, most = xp.minimum(least, moved), xp.maximum(most, moved)
    return least != most
