"""Signal-to-noise ratio of each slice, or of neighbouring slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import check_stack
from stack3d.quality import _extrapolation
from stack3d.quality._box import boxed
from stack3d.quality._pairs import measured_pairs, pairs_of
from stack3d.quality._table import measured

_METHODS = ("autocorrelation", "cross-correlation", "variance")
_LONG = {
    "snr": "signal-to-noise ratio (power)",
    "snr_x": "signal-to-noise ratio along x (power)",
    "snr_y": "signal-to-noise ratio along y (power)",
    "noise": "standard deviation of the noise",
    "correlation": "correlation of the two slices",
}


def snr(
    da: xr.DataArray,
    *,
    method: str = "autocorrelation",
    extrapolation: str = "parabolic",
    lag: int = 1,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure the signal-to-noise ratio: variance of the structure over variance of the noise.

    Noise that is white, without correlation between pixels or slices, is told from structure, which has some.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    method : {"autocorrelation", "cross-correlation", "variance"}
        ``"autocorrelation"`` (Thong et al.): within each slice, the noise-free value at lag zero is extrapolated from
        lags that noise does not reach. ``"cross-correlation"`` (Frank and Al-Ali): r / (1 - r) of each pair of slices;
        what differs between the two counts as noise. ``"variance"`` (Immerkaer): within each slice, noise is what
        the eight neighbours do not predict bilinearly.
    extrapolation : {"nearest", "linear", "parabolic", "nn+fo", "gaussian", "levinson"}
        Of the autocovariance R, from lags in pixels: R(1); a line, 2 R(1) - R(2); an even parabola,
        (4 R(1) - R(2)) / 3; the mean of the first two; a Gaussian over a constant, fitted to lags 1 to 3; backward linear
        prediction, whose two coefficients are fitted to lags 1 to 6. Along x and y these are exact; in all
        directions they are fitted by least squares to every lag up to 2 (Gaussian: 3) at its true distance.
    lag : int, default 1
        Slices between the two of a pair, for ``"cross-correlation"``.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        float64, lazy where `da` is: ``snr`` (power ratio: 10 log10 gives decibels), ``noise`` (grey values) and
        ``ok``, with the leading dims of `da`. By autocorrelation, ``snr`` is of all directions, and ``snr_x`` and
        ``snr_y`` go with it: along the direction of stripes, or of a detector's afterglow, read the other. By
        cross-correlation ``z`` is the middle of each pair, ``first`` and ``second`` number its slices, and
        ``correlation`` is r. Missing pixels (NaN, or False in ``mask``) are left out pair by pair. What cannot be
        measured is NaN, and ``ok`` False: blank slices, and an extrapolation above the measured variance. Pairs with a
        slice that ``valid`` marks as bad are not ``ok`` either. Near zero the ratio may be slightly negative. A stack
        of a single slice has one pair, its ``first`` the same as its ``second``, and NaN.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.

    References
    ----------
    J. T. L. Thong, K. S. Sim and J. C. H. Phang, Single-image signal-to-noise ratio estimation, Scanning 23 (2001)
    328-336, doi:10.1002/sca.4950230506.
    J. Frank and L. Al-Ali, Signal-to-noise ratio of electron micrographs obtained by cross correlation, Nature 256 (1975)
    376-379, doi:10.1038/256376a0.
    J. Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996) 300-302,
    doi:10.1006/cviu.1996.0060.
    K. S. Sim, M. S. Lim and Z. X. Yeap, Performance of signal-to-noise ratio estimation for scanning electron microscope
    using autocorrelation Levinson-Durbin recursion model, Journal of Microscopy 263 (2016) 64-77,
    doi:10.1111/jmi.12376.

    Examples
    --------
    >>> stack.stack3d.snr().snr.dims
    ('z',)
    >>> stack.stack3d.snr(method="cross-correlation").sizes["z"]
    7
    """
    check_stack(da)
    if method not in _METHODS:
        raise ValueError(f"method={method!r} must be one of {', '.join(map(repr, _METHODS))}")
    if extrapolation not in _extrapolation.EXTRAPOLATIONS:
        allowed = ", ".join(map(repr, _extrapolation.EXTRAPOLATIONS))
        raise ValueError(f"extrapolation={extrapolation!r} must be one of {allowed}")
    part, good = boxed(da, box), xr.DataArray(True)
    if method == "autocorrelation":
        units = {"snr": "1", "snr_x": "1", "snr_y": "1", "noise": "grey value"}
        given = {"extrapolation": extrapolation}
        result = measured(part, by_autocorrelation, units, arguments=given, label="signal-to-noise ratio")
    elif method == "variance":
        result = measured(part, _by_variance, {"snr": "1", "noise": "grey value"}, label="signal-to-noise ratio")
    else:
        result, good = _of_pairs(part, lag)
    for name in result.data_vars:
        result[name].attrs["long_name"] = _LONG[str(name)]
    ok = result["snr"].notnull() & good
    for name in ("snr_x", "snr_y"):
        if name in result:
            ok = ok & result[name].notnull()
    ok.attrs = {"long_name": "the ratio could be measured"}
    return result.assign(ok=ok)


def by_autocorrelation(frame: Any, extrapolation: str) -> np.ndarray:
    """Return the ratio of a frame, those along x and along y, and the noise."""
    lags = _extrapolation.needed_lags(extrapolation)
    values, deviation = kernels.lags.lag_covariances(frame, lags)
    covariance = dict(zip(lags, values.tolist(), strict=True))
    total = covariance[0, 0]
    free = np.array(_extrapolation.noise_free(covariance, extrapolation))
    noise = np.where(free < total, total - free, np.nan)
    return np.array([*(free / noise), np.sqrt(noise[0]) * deviation])


def _by_variance(frame: Any) -> np.ndarray:
    found = kernels.differences.difference_energies(frame)
    ratio = found.variance / found.mixed - 1 if found.mixed > 0 else np.nan
    return np.array([ratio, np.sqrt(found.mixed) if found.mixed > 0 else np.nan])


def _of_pairs(part: xr.DataArray, lag: int) -> tuple[xr.Dataset, xr.DataArray]:
    stack = part if "z" in part.dims else part.drop_vars("z", errors="ignore").expand_dims("z", axis=part.ndim - 2)
    pairs = pairs_of(stack, lag)
    given: dict[str, Any] = {"prepare_arguments": {}, "arguments": {}, "label": "signal-to-noise ratio"}
    table = measured_pairs(stack, pairs, _by_cross_correlation, 3, prepare=_itself, **given)
    good = xr.DataArray(pairs.good, dims="z")
    if "z" not in part.dims:
        table, good = table.isel(z=0), good.isel(z=0)
    units = {"snr": "1", "noise": "grey value", "correlation": "1"}
    result = xr.Dataset({name: table.isel(number=k) for k, name in enumerate(units)})
    for name, unit in units.items():
        result[name].attrs = {"units": unit}
    return result, good


def _itself(frame: Any) -> Any:
    return frame


def _by_cross_correlation(first: Any, second: Any) -> np.ndarray:
    found = kernels.pair_moments.pair_moments(first, second)
    correlation = found.correlation
    if not correlation < 1 - 1e-9:  # NaN, or the same slice twice
        return np.array([np.nan, np.nan, correlation])
    variance = np.sqrt(found.variance_first * found.variance_second)
    return np.array([correlation / (1 - correlation), np.sqrt(variance * (1 - correlation)), correlation])
