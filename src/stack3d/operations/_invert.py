"""Dark to bright."""

from __future__ import annotations

import operator

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.model import rebuild


@operation(version=1)
def invert(da: xr.DataArray, *, range: tuple[float, float] | None = None, device: str | None = None) -> xr.DataArray:
    """Invert the contrast: ``low + high - value``.

    Parameters
    ----------
    da : DataArray (..., y, x)
    range : (low, high), optional
        Grey levels that change places. By default the limits of an integer dtype, and (0, 1) for floats.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Of the dtype of `da`; lazy where `da` is.

    Examples
    --------
    >>> inverted = stack.stack3d.invert()
    >>> int(inverted[0, 0, 0]) == 65535 - int(stack[0, 0, 0])
    True
    """
    if range is None and da.dtype.kind in "bui":
        # The sum of the limits less the value is the complement of its bits, for every integer.
        return rebuild(da, map_frames(da, operator.invert, device=device, label="invert"))
    low, high = 0.0, 1.0
    if range is not None:
        if np.shape(range) != (2,) or not np.all(np.isfinite(range)) or not range[0] < range[1]:
            raise ValueError(f"range={range!r} must be two numbers (low, high) with low < high")
        low, high = range
        if da.dtype.kind in "ui" and (float(low) + float(high)) % 1:
            raise ValueError(f"range={range!r} must sum to a whole number for integer stacks")
    data = map_frames(da, _inverted, arguments={"low": low, "high": high}, device=device, label="invert")
    return rebuild(da, data)


def _inverted(frame: np.ndarray, low: float, high: float) -> tuple[np.ndarray, int]:
    return kernels.curve.invert(frame, low, high)
