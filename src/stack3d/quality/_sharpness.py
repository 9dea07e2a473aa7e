"""How sharp each slice is, above its noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import check_stack
from stack3d.quality._box import boxed
from stack3d.quality._table import measured

_METHODS = ("brenner", "laplacian", "spectral")
_BAND, _FLOOR = (0.1, 0.25), 0.45  # cycles per pixel


def sharpness(da: xr.DataArray, *, method: str = "brenner", box: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Measure fine structure in units of the noise: 0 where there is only noise, larger the sharper.

    Each method compares an energy of high frequencies with what the noise of that slice alone would give, so that
    neither gain, nor offset, nor noise raises it.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    method : {"brenner", "laplacian", "spectral"}
        ``"brenner"``: squared differences over two pixels, along x and y. ``"laplacian"``: variance of the Laplacian of
        four neighbours; finer structure, more of the noise. For both the noise is that of `snr` by ``"variance"``.
        ``"spectral"``: mean power between 0.1 and 0.25 cycles per pixel, the axes left out (stripes), over the
        mean power beyond 0.45, where only noise is left.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        float64 with the leading dims of `da` (channel, z), lazy where `da` is: ``sharpness`` (energy of the structure
        over that of the noise), ``noise`` (standard deviation, grey values) and ``ok``: False where there is
        no noise to compare with (blank slices), and NaN there. Missing pixels are left out; in the spectrum they
        stand at the mean with no weight.

    References
    ----------
    J. F. Brenner et al., An automated microscope for cytologic research, Journal of Histochemistry and Cytochemistry 24
    (1976) 100-111, doi:10.1177/24.1.1254907.
    J. L. Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy: a comparative study, Proc. 15th
    International Conference on Pattern Recognition (2000), doi:10.1109/ICPR.2000.903548.

    Examples
    --------
    >>> found = stack.stack3d.sharpness()
    >>> bool((found.sharpness > 1).all())
    True
    """
    check_stack(da)
    if method not in _METHODS:
        raise ValueError(f"method={method!r} must be one of {', '.join(map(repr, _METHODS))}")
    units = {"sharpness": "1", "noise": "grey value"}
    result = measured(boxed(da, box), numbers, units, arguments={"method": method}, label="sharpness")
    result["sharpness"].attrs["long_name"] = f"sharpness above the noise ({method})"
    result["noise"].attrs["long_name"] = "standard deviation of the noise"
    ok = result["sharpness"].notnull()
    ok.attrs = {"long_name": "the sharpness could be measured"}
    return result.assign(ok=ok)


def numbers(frame: Any, method: str) -> np.ndarray:
    """Return the sharpness of a frame and its noise."""
    if method == "spectral":
        energy, noise = _spectral(frame)
    else:
        found = kernels.differences.difference_energies(frame)
        noise = found.mixed
        energy = found.laplacian if method == "laplacian" else (found.brenner_y + found.brenner_x) / 2
    if not noise > 0:
        return np.array([np.nan, np.nan])
    return np.array([energy / noise - 1, np.sqrt(noise)])


def _spectral(frame: Any) -> tuple[float, float]:
    """Mean power in the band and beyond the structure, half the plane's columns counted twice."""
    known = kernels.statistics.frame_statistics(frame)
    if not known.maximum > known.minimum:
        return np.nan, np.nan
    found = kernels.spectrum.spectrum(frame, taper=0.5)
    power = np.asarray(kernels.spectrum.power(found), dtype=np.float64)
    rows, columns = kernels.spectrum.frequencies(found)
    weight = kernels.spectrum.multiplicity(found.transformed[1])[np.newaxis, :]
    squared = rows[:, np.newaxis] ** 2 + columns[np.newaxis, :] ** 2
    near_y, near_x = 1.5 / found.shape[0], 1.5 / found.shape[1]
    weight = weight * ((np.abs(rows) > near_y)[:, np.newaxis] & (columns > near_x)[np.newaxis, :])
    band = weight * ((squared >= _BAND[0] ** 2) & (squared <= _BAND[1] ** 2))
    floor = weight * (squared >= _FLOOR**2)
    if not (band.any() and floor.any()):
        return np.nan, np.nan
    return float((power * band).sum() / band.sum()), float((power * floor).sum() / floor.sum())
