"""The photon-transfer curve of one frame, and the straight line through it."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d import kernels

LEVELS = ("peak", "low", "high")
CURVE = ("mean", "variance", "pixels", "spread")
FITTED = ("gain", "gain_standard_error", "zero_signal", "gain_dark", "psnr", "dsnr", "snr0", "snr1")
_LEAST = 5  # pixels of a bin that is fitted
# Residuals of neighbours share pixels: the sum of their squared correlations, ((1 + 2 (2/3)^2 + 2 (1/6)^2))^2.
_TIED = (1 + 2 * (4 / 6) ** 2 + 2 * (1 / 6) ** 2) ** 2

Values = np.ndarray


def curve(frame: Any, quantiles: Values, bins: int, flattest: float) -> Values:
    """Return the three `LEVELS` and then the four rows of the `CURVE`, flat."""
    levels = np.full(3, np.nan)
    rows = np.full((4, bins), np.nan)
    rows[2] = 0
    guide, gradient = kernels.photon_transfer.sampled(frame)
    if guide.size:
        low, high = kernels.statistics.quantiles(guide.reshape(1, -1), quantiles)
        steepest = float(kernels.statistics.quantiles(gradient.reshape(1, -1), [flattest])[0])
        if high > low:
            counted, rows = _binned(frame, float(low), float(high), bins, steepest)
            levels[:] = _peak(counted, low, high), low, high
    return np.concatenate([levels, rows.ravel()])


def region(frame: Any, flattest: float) -> Values:
    """Return the four numbers of the `CURVE` for the whole frame as one bin."""
    known = kernels.statistics.frame_statistics(frame)
    _, gradient = kernels.photon_transfer.sampled(frame)
    if not gradient.size:
        return np.array([np.nan, np.nan, 0, np.nan])
    steepest = float(kernels.statistics.quantiles(gradient.reshape(1, -1), [flattest])[0])
    high = known.maximum if known.maximum > known.minimum else known.minimum + 1
    return _binned(frame, known.minimum, high, 1, steepest)[1].ravel()


def _binned(frame: Any, low: float, high: float, bins: int, steepest: float) -> tuple[Values, Values]:
    pivot, scale = (low + high) / 2, 1 / (high - low)
    sums = kernels.photon_transfer.curve_sums(frame, low, high, bins, steepest, pivot, scale)
    counted, used, level, level_squared, residual, residual_squared = sums
    enough = used >= 2
    n = np.where(enough, used, 2.0)
    mean = level / n
    share = kernels.photon_transfer.RESIDUAL
    variance = np.maximum(residual_squared - residual * residual / n, 0) / (n - 1) / share / scale**2
    spread = np.maximum(level_squared / n - mean * mean, 0) / scale**2
    rows = [np.where(enough, part, np.nan) for part in (mean / scale + pivot, variance)]
    return counted, np.stack([*rows, used, np.where(enough, spread, np.nan)])


def _peak(counted: Values, low: float, high: float) -> float:
    """Level of the highest bin of the histogram, smoothed by the bins beside it."""
    weights = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
    best = int(np.argmax(np.convolve(counted, weights, "same"))) if counted.size >= 5 else int(np.argmax(counted))
    return float(low + (high - low) * (best + 0.5) / counted.size)


def fitted(mean: Values, variance: Values, pixels: Values, spread: Values, levels: Values, dark: float) -> Values:
    """Return the numbers of `FITTED` that follow from a curve; NaN where the variance does not rise with the mean.

    Parameters
    ----------
    mean, variance, pixels, spread : (n,) array
    levels : (3,) array
        Peak, low and high level.
    dark : float
        Level without signal; NaN where it is not known.
    """
    result = np.full(len(FITTED), np.nan)
    use = (pixels >= _LEAST) & np.isfinite(mean) & np.isfinite(variance)
    mean, variance, pixels, spread = mean[use], variance[use], pixels[use], spread[use]
    if mean.size < 2 or not np.ptp(mean) > 0 or not variance.any():
        return result
    gain, zero, error = _line(mean, variance, pixels)
    result[:2] = gain, error
    if np.isfinite(dark):
        result[3] = _line_through(mean - dark, variance, pixels)
    if not gain > 3 * error:
        return result
    result[2] = zero
    peak, low, high = levels
    if peak > zero:
        result[4] = np.sqrt((peak - zero) / gain)
        result[5] = (high - low) / np.sqrt(gain * (peak - zero))
    noise = float(np.average(variance, weights=pixels))
    for k, origin in ((6, zero), (7, dark)):
        squared = float(np.average((mean - origin) ** 2 + spread, weights=pixels))
        result[k] = squared / noise - kernels.photon_transfer.LEVEL
    return result


def _weights(expected: Values, pixels: Values) -> Values:
    """Inverse of the variance of a sample variance, which the fitted line says best: the measured one would bias it."""
    floor = 0.05 * np.average(expected, weights=pixels)
    weights: Values = pixels / (2 * _TIED * np.maximum(expected, floor) ** 2)
    return weights


def _line(mean: Values, variance: Values, pixels: Values) -> tuple[float, float, float]:
    """Return slope, zero crossing and standard error of the slope."""
    expected = np.full(mean.size, np.average(variance, weights=pixels))
    for _ in range(5):
        weights = _weights(expected, pixels)
        centre = np.average(mean, weights=weights)
        height = np.average(variance, weights=weights)
        offset = mean - centre
        power = float(weights @ offset**2)
        slope = float(weights @ (offset * variance)) / power
        expected = height + slope * offset
    zero = float(centre - height / slope) if slope else np.nan
    return slope, zero, float(np.sqrt(1 / power))


def _line_through(signal: Values, variance: Values, pixels: Values) -> float:
    expected = np.full(signal.size, np.average(variance, weights=pixels))
    slope = np.nan
    for _ in range(5):
        weights = _weights(expected, pixels)
        power = float(weights @ signal**2)
        if not power > 0:
            return np.nan
        slope = float(weights @ (signal * variance)) / power
        if not slope > 0:
            return np.nan
        expected = slope * np.maximum(signal, 0)
    return slope
