"""Where a Fourier ring correlation ends: the published thresholds, and the frequency at which a curve crosses one."""

from __future__ import annotations

from typing import Any

import numpy as np

CRITERIA = ("1/7", "half-bit", "1-bit", "3-sigma")
FEWEST = 20  # coefficients a ring has where the search begins


def threshold(criterion: str | float, number: Any) -> np.ndarray[Any, Any]:
    """Return a threshold for rings of `number` coefficients.

    Parameters
    ----------
    criterion : {"1/7", "half-bit", "1-bit", "3-sigma"} or float
        ``"1/7"`` and floats are the same for all rings. ``"half-bit"`` and ``"1-bit"`` are the correlation at which the
        sum of both images carries so much information per coefficient, ``"3-sigma"`` three times what noise alone
        would give.
    number : array
        Coefficients of each ring, over the whole plane.

    Returns
    -------
    array of float64

    References
    ----------
    M. van Heel, M. Schatz, J. Struct. Biol. 151, 250 (2005), doi:10.1016/j.jsb.2005.05.009; 1/7: P. B. Rosenthal,
    R. Henderson, J. Mol. Biol. 333, 721 (2003), doi:10.1016/j.jmb.2003.07.013.

    Examples
    --------
    >>> from stack3d.kernels import criteria
    >>> criteria.threshold("half-bit", 2 * np.pi * np.arange(1, 6)).round(3)
    array([0.617, 0.51 , 0.457, 0.424, 0.4  ])
    """
    n = np.asarray(number, dtype=np.float64)
    root: np.ndarray[Any, Any] = np.sqrt(np.maximum(n, np.finfo(float).tiny))
    if criterion == "half-bit":
        return _bits(0.5, root)
    if criterion == "1-bit":
        return _bits(1.0, root)
    if criterion == "3-sigma":
        return np.asarray(3 / (root / np.sqrt(2)))
    value = 1 / 7 if criterion == "1/7" else float(criterion)
    return np.asarray(np.full(n.shape, value))


def _bits(bits: float, root: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # Signal to noise of each half, of which the sum has `bits` per coefficient: log2(1 + 2 snr) = bits.
    snr = (2.0**bits - 1) / 2
    spread = 2 * np.sqrt(snr)
    return np.asarray((snr + (spread + 1) / root) / (1 + snr + spread / root))


def smoothed(sums: Any, width: int) -> np.ndarray[Any, Any]:
    """Return sums over rings (last axis), each with its neighbours under a Hann window of `width` rings."""
    sums = np.asarray(sums, dtype=np.float64)
    if width == 1:
        return np.asarray(sums)
    weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, width + 1) / (width + 1))
    half = width // 2
    padded = np.pad(sums, [(0, 0)] * (sums.ndim - 1) + [(half, half)])
    # Beyond the ends there is nothing to add: numerator and denominator lose the same share.
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1) @ weights)


def crossing(curve: Any, limit: Any, frequency: Any, number: Any) -> float:
    """Return the frequency at which `curve` first falls below `limit`, between two rings by a straight line.

    The search begins at the first ring of 20 coefficients. NaN where the curve is below from there, never falls below,
    or is not known.

    Parameters
    ----------
    curve, limit, frequency, number : (rings,) array
        Correlation, threshold, middle and coefficients of each ring.

    Examples
    --------
    >>> from stack3d.kernels import criteria
    >>> criteria.crossing([1.0, 0.8, 0.4, 0.1], [0.5] * 4, [1.0, 2.0, 3.0, 4.0], [90.0] * 4)
    2.75
    """
    above = np.asarray(curve, dtype=np.float64) - np.asarray(limit, dtype=np.float64)
    usable = np.flatnonzero(np.asarray(number) >= FEWEST)
    if not usable.size or not np.all(np.isfinite(above[usable[0] :])):
        return np.nan
    start = int(usable[0])
    below = np.flatnonzero(above[start:] < 0)
    if not below.size or below[0] == 0:
        return np.nan
    k = start + int(below[0])
    part = above[k - 1] / (above[k - 1] - above[k])
    return float(frequency[k - 1] + part * (frequency[k] - frequency[k - 1]))
