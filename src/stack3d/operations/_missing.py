"""How an operation runs on a stack whose pixels are not all measured (coordinate ``mask``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.execution import map_frames
from stack3d.model import rebuild


def through_mask(
    da: xr.DataArray, run: Callable[[xr.DataArray, np.dtype[Any]], Any], dtype: np.dtype[Any], label: str
) -> xr.DataArray:
    """Return the stack that ``run(da, dtype) -> array`` makes of the measured pixels; the others stay as they are.

    A stack with a ``mask`` is given to `run` as floats, NaN where the mask is False, and rounded once, in the end.
    """
    if "mask" not in da.coords:
        return rebuild(da, run(da, dtype))
    wide = kernels.cast.working_dtype(da.dtype, dtype)
    whole = da.astype(wide)
    found = rebuild(da, run(whole.where(da["mask"]), wide))
    joined = found.where(da["mask"], whole).transpose(*da.dims)
    return rebuild(da, rounded(joined, dtype, label))


def rounded(da: xr.DataArray, dtype: np.dtype[Any], label: str) -> Any:
    """Return the frames of a stack rounded to `dtype`."""
    return map_frames(da, _cast, arguments={"dtype": dtype}, dtype=dtype, label=label)


def _cast(frame: Any, dtype: np.dtype[Any]) -> tuple[Any, int]:
    return kernels.cast.cast_frame(frame, dtype)
