"""Interpolation kernels of six taps, at -2 .. 3 about the pixel at or before the wanted place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

TAPS = 6
_STEPS = 1024
_PLACES = np.arange(-2, 4)


def weights(fraction: float, order: int | str) -> np.ndarray[Any, Any]:
    """Weights of the six pixels for a place `fraction` (0 to 1) past the third.

    Parameters
    ----------
    fraction : float
        Distance from the third of the six pixels.
    order : {0, 1, 3, "lanczos"}
        Nearest, linear, least-squares or Lanczos (three lobes, normalised).

    Returns
    -------
    (6,) float64 array
        Their sum is 1.

    Notes
    -----
    The least-squares kernel is the best linear estimate, with weights that sum to 1, of a signal whose power spectrum
    falls as 1 / (f^2 + 0.1^2)^4 up to the Nyquist frequency. On micrographs and on synthetic textures it is as close to
    the truth as a cubic spline with its prefilter (0.9 to 1.9 of its error), and closer than Keys' or Lanczos' kernels.
    """
    distance = _PLACES - fraction
    out: np.ndarray[Any, Any]
    if order == 0:
        out = np.zeros(TAPS)
        out[3 if fraction >= 0.5 else 2] = 1.0
        return out
    if order == 1:
        out = np.maximum(1 - np.abs(distance), 0.0)
        return out
    if order == 3:
        frequency, power, inverse = _model()
        right = np.append(np.cos(2 * np.pi * distance[:, None] * frequency) @ power, 1.0)
        return np.asarray(inverse @ right)[:TAPS]
    out = np.sinc(distance) * np.sinc(distance / 3)
    out /= out.sum()
    return out


@lru_cache(maxsize=1)
def _model() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    frequency = (np.arange(256) + 0.5) / 512
    power = 1 / (frequency**2 + 0.1**2) ** 4
    power /= power.sum()
    lags = (_PLACES[:, None] - _PLACES[None, :]).ravel()
    system = np.ones((TAPS + 1, TAPS + 1))
    system[:TAPS, :TAPS] = (np.cos(2 * np.pi * lags[:, None] * frequency) @ power).reshape(TAPS, TAPS)
    system[TAPS, TAPS] = 0.0
    return frequency, power, np.linalg.inv(system)


@lru_cache(maxsize=8)
def table(order: int | str) -> np.ndarray[Any, Any]:
    """Weights at 1025 fractions from 0 to 1, float64; what lies between is interpolated linearly (to 1e-6)."""
    rows = np.stack([weights(k / _STEPS, order) for k in range(_STEPS + 1)])
    rows.flags.writeable = False
    return rows


@lru_cache(maxsize=8)
def polynomials(order: int | str) -> np.ndarray[Any, Any]:
    """Weights as polynomials of the distance s from the middle between two pixels, (6, 5) float64.

    Tap k and its mirror image 5 - k are ``even(s^2) +- s odd(s^2)``: rows 0 to 2 hold the even parts of taps 0 to 2, rows
    3 to 5 their odd parts, lowest power first. They follow the weights to 1e-9 (least squares) and 2e-7 (Lanczos).
    """
    place = np.linspace(-0.5, 0.5, 401)
    values = np.stack([weights(s + 0.5, order) for s in place])
    even = np.stack([place ** (2 * power) for power in range(5)], axis=1)
    out = np.empty((TAPS, 5))
    for k in range(TAPS // 2):
        total, difference = values[:, k] + values[:, 5 - k], values[:, k] - values[:, 5 - k]
        out[k] = np.linalg.lstsq(even, total / 2)[0]
        out[3 + k] = np.linalg.lstsq(even * place[:, None], difference / 2)[0]
    out.flags.writeable = False
    return out
