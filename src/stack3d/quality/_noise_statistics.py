"""Gain, zero signal and signal-to-noise ratios from how the noise grows with the grey value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d.execution import map_frames
from stack3d.model import check_stack
from stack3d.quality import _photon_transfer
from stack3d.quality._box import boxed
from stack3d.quality._photon_transfer import CURVE, FITTED, LEVELS

_UNITS = {
    "gain": "grey value",
    "gain_standard_error": "grey value",
    "zero_signal": "grey value",
    "gain_dark": "grey value",
    "peak": "grey value",
    "low": "grey value",
    "high": "grey value",
    "mean": "grey value",
    "variance": "grey value ** 2",
}
_LONG = {
    "gain": "grey values per quantum (slope of noise variance against mean)",
    "gain_dark": "grey values per quantum (line through the dark level)",
    "zero_signal": "grey value without signal (zero of the line)",
    "psnr": "signal-to-noise ratio at the peak of the histogram (amplitude)",
    "dsnr": "range of grey values over the noise at the peak (amplitude)",
    "snr0": "mean squared signal over noise variance (power), signal from the fitted zero",
    "snr1": "mean squared signal over noise variance (power), signal from the dark level",
    "peak": "grey value of the peak of the histogram",
    "low": "low end of the grey values",
    "high": "high end of the grey values",
    "mean": "mean grey value of the bin",
    "variance": "noise variance of the bin",
    "pixels": "pixels used in the bin",
}


def noise_statistics(
    da: xr.DataArray,
    *,
    dark: float | xr.DataArray | None = None,
    bins: int = 100,
    quantiles: tuple[float, float] = (0.02, 0.99),
    flattest: float = 0.5,
    regions: Sequence[Mapping[str, Any]] | None = None,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure how the noise variance grows with the grey value: the photon-transfer curve of each slice.

    Where quanta are counted, the variance is a straight line in the mean: its slope is the gain, its zero the grey value
    without signal. The noise is taken from what half the sum of the four neighbours minus a quarter of the sum of the
    diagonal ones does not predict, whose variance is 9/4 of the noise's; pixels fall into bins by others that share no
    noise with them. White noise gives the true line whatever the histogram.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    dark : float or DataArray, optional
        Known grey value without signal, the same or for each channel (or slice): also a line through it is fitted.
    bins : int, default 100
        Of the curve, at least 2.
    quantiles : (float, float), default (0.02, 0.99)
        Of the grey values, the range that the bins share.
    flattest : float, default 0.5
        Share of the pixels that are used, those with the smallest gradient: edges are not noise.
    regions : sequence of dict, optional
        Boxes as in `box`: each gives one point of the curve, along ``region`` instead of ``bin``. For frames with even
        parts of two grey values or more.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        With the leading dims of `da` (channel, z), float64: ``gain`` and its ``gain_standard_error``, ``zero_signal``
        (I0), ``gain_dark`` (NaN without `dark`), ``peak``, ``low`` and ``high`` of the histogram;
        ``psnr`` = (peak - I0) / s and ``dsnr`` = (high - low) / s, with s = sqrt(gain (peak - I0)), ratios of
        amplitudes; ``snr0`` = <(I - I0)^2> / <noise variance> and ``snr1``, the same from `dark`, ratios of powers;
        the curve ``mean``, ``variance``, ``pixels`` (bin); ``ok``: False where the slope is below three standard errors,
        and then all that needs the zero is NaN. Lazy where `da` is.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is allowed.

    References
    ----------
    A. Foi et al., Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data, IEEE Transactions
    on Image Processing 17 (2008) 1737-1754, doi:10.1109/TIP.2008.2001399.
    J. Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996) 300-302,
    doi:10.1006/cviu.1996.0060.

    Examples
    --------
    >>> electrons = np.random.default_rng(0).poisson(np.linspace(50, 400, 512), (512, 512))
    >>> frame = stack3d.from_array((2 * electrons + 100).astype("uint16"), pixel_size=5)
    >>> noise = frame.stack3d.noise_statistics()
    >>> bool(abs(noise.gain - 2) < 0.06), bool(abs(noise.zero_signal - 100) < 20)
    (True, True)
    """
    check_stack(da)
    ends = _checked(bins, quantiles, flattest, regions)
    part = boxed(da, box)
    columns = [*LEVELS, *(f"{name} {k}" for name in CURVE for k in range(bins))]
    table = _table(part, "curve", len(columns), {"quantiles": ends, "bins": bins, "flattest": flattest})
    levels = table.isel(number=slice(0, 3))
    if regions is None:
        points, along = table.isel(number=slice(3, None)), "bin"
        curve = [points.isel(number=slice(k * bins, (k + 1) * bins)).rename(number=along) for k in range(4)]
    else:
        along = "region"
        tables = [_table(boxed(da, one), "region", 4, {"flattest": flattest}) for one in regions]
        points = xr.concat(tables, along, coords="minimal", compat="override", join="override")
        curve = [points.isel(number=k) for k in range(4)]
    return _described(curve, levels, _dark(da, dark), along)


def _checked(bins: int, quantiles: Any, flattest: float, regions: Any) -> np.ndarray:
    if isinstance(bins, bool) or int(bins) != bins or bins < 2:
        raise ValueError(f"bins={bins!r} must be a whole number of at least 2")
    ends = np.asarray(quantiles, dtype=np.float64)
    if ends.shape != (2,) or not 0 <= ends[0] < ends[1] <= 1:
        raise ValueError(f"quantiles={quantiles!r} must be two increasing fractions between 0 and 1")
    if not 0 < flattest <= 1:
        raise ValueError(f"flattest={flattest!r} must be a fraction above 0, at most 1")
    if regions is not None and (isinstance(regions, Mapping) or len(regions) < 2):
        raise ValueError(f"regions={regions!r} must be a sequence of two boxes or more")
    return ends


def _dark(da: xr.DataArray, dark: Any) -> xr.DataArray:
    if dark is None:
        return xr.DataArray(np.nan)
    if isinstance(dark, xr.DataArray):
        if not set(dark.dims) <= set(da.dims[:-2]):
            raise ValueError(f"dark has dims {dark.dims}; they must be among {da.dims[:-2]}")
        lead = da.isel(y=0, x=0, drop=True)
        return xr.align(dark.reset_coords(drop=True), lead, join="exact", copy=False)[0].astype(np.float64)
    if not isinstance(dark, (int, float, np.number)) or not np.isfinite(dark):
        raise ValueError(f"dark={dark!r} must be a finite number, or a DataArray for each channel")
    return xr.DataArray(float(dark))


def _table(part: xr.DataArray, kernel: str, count: int, arguments: Mapping[str, Any]) -> xr.DataArray:
    values = map_frames(
        part,
        _row,
        arguments={"kernel": kernel, "given": dict(arguments)},
        shape=(1, count),
        dtype=np.float64,
        label="noise statistics",
    )
    lead = part.dims[:-2]
    coords = {name: c.variable for name, c in part.coords.items() if set(c.dims) <= set(lead)}
    return xr.DataArray(values, dims=(*lead, "y", "number"), coords=coords).isel(y=0)


def _row(frame: np.ndarray, kernel: str, given: Mapping[str, Any]) -> np.ndarray:
    row: np.ndarray = getattr(_photon_transfer, kernel)(frame, **given).reshape(1, -1)
    return row


def _described(curve: list[xr.DataArray], levels: xr.DataArray, dark: xr.DataArray, along: str) -> xr.Dataset:
    if levels.chunks is not None:
        curve = [row.chunk({along: -1}) for row in curve]
        levels = levels.chunk(number=-1)
    numbers = xr.apply_ufunc(
        _photon_transfer.fitted,
        *curve,
        levels.rename(number="level"),
        dark,
        input_core_dims=[*[[along]] * 4, ["level"], []],
        output_core_dims=[["number"]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"number": len(FITTED)}},
    )
    found = {name: numbers.isel(number=k) for k, name in enumerate(FITTED)}
    found |= {name: levels.isel(number=k) for k, name in enumerate(LEVELS)}
    found |= {name: row.transpose(..., along) for name, row in zip(CURVE[:3], curve[:3], strict=True)}
    result = xr.Dataset(found)
    for name in found:
        result[name].attrs = {"long_name": _LONG.get(name, name.replace("_", " ")), "units": _UNITS.get(name, "1")}
    result["ok"] = result["zero_signal"].notnull()
    result["ok"].attrs = {"long_name": "the noise grows with the grey value"}
    return result.assign_coords({along: np.arange(result.sizes[along])})
