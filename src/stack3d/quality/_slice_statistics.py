"""Grey values of each slice in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import check_stack
from stack3d.quality._box import boxed
from stack3d.quality._table import measured

_NAMES = ("minimum", "maximum", "mean", "standard_deviation", "count")


def slice_statistics(
    da: xr.DataArray,
    *,
    quantiles: Sequence[float] = (0.01, 0.5, 0.99),
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure the grey values of each slice.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    quantiles : sequence of float
        Fractions between 0 and 1; empty for none.
    box : dict, optional
        Part of the frame, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add ``by="index"`` to count
        pixels. A pair of slices, ``y=(slice(0, 500), slice(80, 580))``, slides along z from the first to the second.

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
    levels = [f"level {k}" for k in range(fractions.size)]
    units = dict.fromkeys([*_NAMES, *levels], "grey value") | {"count": "1"}
    table = measured(boxed(da, box), _numbers, units, arguments={"fractions": fractions}, label="slice statistics")
    result = table[list(_NAMES)]
    if levels:
        result["quantile_value"] = xr.concat([table[name] for name in levels], "quantile", coords="minimal").transpose(
            ..., "quantile"
        )
        result["quantile_value"].attrs = {"long_name": "quantile value", "units": "grey value"}
        result = result.assign_coords(quantile=fractions)
    return result


def _numbers(frame: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    numbers = np.array(kernels.statistics.frame_statistics(frame), dtype=np.float64)
    levels = kernels.statistics.quantiles(frame, fractions) if fractions.size else fractions
    return np.concatenate([numbers, np.asarray(levels, dtype=np.float64)])
