"""Grey values of each slice in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._region import region as in_region
from stack3d.execution import map_frames
from stack3d.model import check_stack, in_native_order

_NAMES = ("minimum", "maximum", "mean", "standard_deviation", "count")


def slice_statistics(
    da: xr.DataArray,
    *,
    quantiles: Sequence[float] = (0.01, 0.5, 0.99),
    region: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure the grey values of each slice.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    quantiles : sequence of float
        Fractions between 0 and 1; empty for none.
    region : dict, optional
        Part of the frame, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add ``by="index"`` to count
        pixels.

    Returns
    -------
    Dataset
        ``minimum``, ``maximum``, ``mean``, ``standard_deviation``, ``count`` (measured pixels) and
        ``quantile_value(..., quantile)``, float64, with the leading dims of `da` (channel, z) and in its grey values.
        Missing pixels (NaN, or False in the coordinate ``mask``) are left out; a slice without any gives NaN. Lazy
        where `da` is, one read of each frame for all of them.

    Examples
    --------
    >>> levels = stack.stack3d.slice_statistics()
    >>> levels["mean"].dims
    ('z',)
    """
    check_stack(da)
    fractions = np.asarray(quantiles, dtype=np.float64)
    if fractions.ndim != 1 or np.any(~((fractions >= 0) & (fractions <= 1))):
        raise ValueError(f"quantiles={quantiles!r} must be fractions between 0 and 1")
    part = in_native_order(in_region(da, region))
    if "mask" in part.coords:
        part = part.where(part["mask"])
    count = len(_NAMES) + fractions.size
    arguments = {"fractions": fractions}
    values = map_frames(
        part, _measured, arguments=arguments, shape=(1, count), dtype=np.float64, label="slice statistics"
    )
    lead = da.dims[:-2]
    coords = {name: c.variable for name, c in da.coords.items() if set(c.dims) <= set(lead)}
    table = xr.DataArray(values, dims=(*lead, "y", "statistic"), coords=coords).isel(y=0)
    result = xr.Dataset({name: table.isel(statistic=k) for k, name in enumerate(_NAMES)})
    if fractions.size:
        rows = table.isel(statistic=slice(len(_NAMES), None)).rename(statistic="quantile")
        result["quantile_value"] = rows.assign_coords(quantile=fractions)
    for name, variable in result.data_vars.items():
        variable.attrs = {"long_name": str(name).replace("_", " "), "units": "1" if name == "count" else "grey value"}
    return result


def _measured(frame: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    numbers = np.array(kernels.statistics.frame_statistics(frame), dtype=np.float64)
    levels = kernels.statistics.quantiles(frame, fractions) if fractions.size else fractions
    return np.concatenate([numbers, np.asarray(levels, dtype=np.float64)])[None, :]
