"""Another dtype for the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.model import rebuild, result_dtype
from stack3d.operations import _exact


@operation(version=1)
def astype(da: xr.DataArray, *, dtype: Any, device: str | None = None) -> xr.DataArray:
    """Give the pixels another dtype: rounded half to even and cut to its range.

    xarray's own ``da.astype`` truncates, wraps around, and leaves no record.

    Parameters
    ----------
    da : DataArray (..., y, x)
    dtype : dtype
        Such as ``"uint8"`` or ``"float32"``. Grey values are kept; see `rescale_intensity` to stretch them.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is.

    Raises
    ------
    TypeError, ValueError
        For what is no dtype of pixels, and for missing pixels (NaN) where `dtype` cannot hold them.

    Examples
    --------
    >>> stack.stack3d.astype(dtype="float32").dtype
    dtype('float32')
    """
    target = result_dtype(dtype, da)
    if target == da.dtype:
        return da
    data = _exact.narrowed(da, target)
    if data is None:
        data = map_frames(da, _cast, arguments={"to": target}, dtype=target, device=device, label="astype", writes=True)
        _exact.note_source(data, da)
    return rebuild(da, data)


def _cast(frame: np.ndarray, to: np.dtype[Any], out: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    return kernels.cast.cast_frame(frame, to, out)
