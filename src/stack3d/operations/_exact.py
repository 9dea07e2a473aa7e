"""Conversions of pixels around a step that need not be made on their own.

Whole numbers of 8 and 16 bits are float32 without loss, and what is float32 inside a step may become whole numbers there as
well as in a step of its own: the same pixels, to the bit, without frames of floats between the two. It counts for lazy
stacks, in which a conversion before and after a step costs as much as many a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d.execution import Kernel, map_frames, reduce_frames

_FLOAT = np.dtype(np.float32)


def note_source(data: Any, da: xr.DataArray) -> None:
    """Note with a lazy conversion what it was made of."""
    if data.dtype == _FLOAT and _small(da.dtype):
        _note(data, "stack3d_exact_source", da.data)


def source(da: xr.DataArray) -> xr.DataArray:
    """Return the whole numbers that the floats of a lazy stack were made of; the stack itself where there are none."""
    data = _noted(da, "stack3d_exact_source")
    return da if data is None else da.copy(data=data)


def narrowed(da: xr.DataArray, dtype: np.dtype[Any]) -> Any | None:
    """Return a lazy stack of floats as whole numbers that are made where the floats would be; None where none can be."""
    make = _noted(da, "stack3d_narrowed") if _small(dtype) else None
    return None if make is None else make(dtype)


def mapped(da: xr.DataArray, kernel: Kernel, *, arguments: Mapping[str, Any], dtype: np.dtype[Any], **more: Any) -> Any:
    """Do `map_frames` from the whole numbers that a stack was made of, ready to end in whole numbers.

    The kernel is float32 inside for frames of float32 or of 8 or 16 bits, and makes the pixels of its argument ``dtype``
    last. Its argument ``through`` is None, or the dtype to which a result is rounded before it becomes one of ``dtype``.
    """
    given = source(da)

    def made(kind: np.dtype[Any], through: np.dtype[Any] | None) -> Any:
        wanted = {**arguments, "dtype": kind, "through": through}
        return map_frames(given, kernel, arguments=wanted, dtype=kind, **more)

    data = made(dtype, None)
    if dtype == _FLOAT and (given.dtype == _FLOAT or _small(given.dtype)):
        _note(data, "stack3d_narrowed", lambda kind: made(kind, _FLOAT))
    return data


def reduced(da: xr.DataArray, kernel: Kernel, *, arguments: Mapping[str, Any], **more: Any) -> dict[str, np.ndarray]:
    """Do `reduce_frames` from the whole numbers that a stack was made of.

    The kernel's argument ``as_floats`` says that whole numbers stand for floats: it gives the same numbers for both.
    """
    given = source(da)
    arguments = {**arguments, "as_floats": given.dtype != da.dtype}
    return reduce_frames(given, kernel, arguments=arguments, **more)


def _small(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _layer(data: Any) -> Any:
    return getattr(getattr(data, "dask", None), "layers", {}).get(getattr(data, "name", None))


def _note(data: Any, name: str, value: Any) -> None:
    layer = _layer(data)
    if layer is not None:
        setattr(layer, name, value)


def _noted(da: xr.DataArray, name: str) -> Any:
    return None if da.chunks is None else getattr(_layer(da.data), name, None)
