"""Contrast between the two phases of a specimen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import check_stack
from stack3d.quality._box import boxed
from stack3d.quality._table import measured

_BINS, _STEPS = 256, 300
_APART = 2.0  # Ashman's D: below this two peaks are one


def contrast(
    da: xr.DataArray,
    *,
    zero_signal: float | xr.DataArray = 0.0,
    flattest: float = 0.5,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure the contrast between two phases: the distance of their grey values over the mean signal.

    The histogram of smooth places is taken for the sum of two Gaussians, found by maximum likelihood:
    contrast = (high - low) / ((high + low) / 2 - zero_signal), with their means.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    zero_signal : float or DataArray, default 0
        Grey value without signal, such as ``noise_statistics(...)["zero_signal"]``.
    flattest : float, default 0.5
        Share of the pixels that are used, those with the smallest gradient.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        float64 with the leading dims of `da` (channel, z), lazy where `da` is: ``contrast``; ``low`` and ``high``,
        means of the two phases (grey values); ``low_share``, of the pixels; ``separation``, the distance of the means over the
        quadratic mean of the widths (Ashman's D); ``ok``: False where that is below 2, one peak rather than two, or
        the mean signal is not positive; the contrast is NaN there.

    References
    ----------
    K. M. Ashman, C. M. Bird and S. E. Zepf, Detecting bimodality in astronomical datasets, The Astronomical Journal 108
    (1994) 2348-2361, doi:10.1086/117248.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phases = np.where(np.arange(64) < 32, 100, 300) + rng.normal(0, 5, (64, 64))
    >>> frame = stack3d.from_array(phases.astype("float32"), pixel_size=5)
    >>> round(float(frame.stack3d.contrast().contrast), 1)
    1.0
    """
    check_stack(da)
    if not 0 < flattest <= 1:
        raise ValueError(f"flattest={flattest!r} must be a fraction above 0, at most 1")
    units = {"low": "grey value", "high": "grey value", "low_share": "1", "separation": "1"}
    given = {"flattest": float(flattest)}
    result = measured(boxed(da, box), _phases, units, arguments=given, label="contrast")
    with xr.set_options(arithmetic_join="exact"):
        signal = (result["high"] + result["low"]) / 2 - zero_signal
    ok = (result["separation"] >= _APART) & (signal > 0)
    value = ((result["high"] - result["low"]) / signal.where(ok)).assign_attrs(long_name="contrast", units="1")
    ok.attrs = {"long_name": "two phases were told apart"}
    return result.assign(contrast=value, ok=ok)


def _phases(frame: Any, flattest: float) -> np.ndarray:
    guide, gradient = kernels.photon_transfer.sampled(frame)
    if not guide.size:
        return np.full(4, np.nan)
    low, high = kernels.statistics.quantiles(guide.reshape(1, -1), [0.001, 0.999])
    steepest = float(kernels.statistics.quantiles(gradient.reshape(1, -1), [flattest])[0])
    if not high > low:
        return np.full(4, np.nan)
    place = (float(low + high) / 2, 1 / float(high - low))
    counts = kernels.photon_transfer.curve_sums(frame, float(low), float(high), _BINS, steepest, *place)[1]
    if counts.sum() < _BINS:
        return np.full(4, np.nan)
    means, widths, shares = _two_gaussians(counts)
    span = float(high - low) / _BINS
    apart = float((means[1] - means[0]) / np.sqrt((widths**2).sum() / 2))
    return np.array([*(low + span * (means + 0.5)), shares[0], apart])


def _two_gaussians(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit two Gaussians to a histogram by expectation and maximisation, from Otsu's threshold; in bins, low first."""
    place = np.arange(counts.size, dtype=np.float64)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    first = np.cumsum(counts * place)[:-1]
    use = (below > 0) & (above > 0)
    gap = np.where(use, first / np.maximum(below, 1) - ((counts @ place) - first) / np.maximum(above, 1), 0)
    low = (place <= int(np.argmax(below * above * gap**2))).astype(np.float64)
    members = np.stack([low, 1 - low])
    for _ in range(_STEPS):
        weights = members * counts
        number = np.maximum(weights.sum(axis=1), 1e-9)
        means = weights @ place / number
        offset = place - means[:, np.newaxis]
        # Never narrower than a bin: a spike would swallow the fit.
        widths = np.sqrt(np.maximum((weights * offset**2).sum(axis=1) / number, 1.0))
        log = np.log(number / widths)[:, np.newaxis] - 0.5 * (offset / widths[:, np.newaxis]) ** 2
        odds = np.exp(log - log.max(axis=0))
        members = odds / odds.sum(axis=0)
    order = np.argsort(means)
    return means[order], widths[order], (number / number.sum())[order]
