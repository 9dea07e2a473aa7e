"""Casting a frame: round half to even, saturate, count what saturated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import on_host, packed
from stack3d.kernels._store import finish, limits, store
from stack3d.kernels._store import working_dtype as working_dtype


def cast_frame(values: Any, dtype: Any, out: Any = None) -> tuple[Any, int]:
    """Cast a frame by rounding half to even and saturating.

    Parameters
    ----------
    values : (y, x) array
        Any integer or float dtype, numpy or cupy.
    dtype : dtype
        Of the result. A float target is a plain cast that keeps NaN.
    out : (y, x) array, optional
        Of `dtype`, on the host: what a frame on the host is cast to.

    Returns
    -------
    frame : (y, x) array of dtype
        Never shares memory with `values`.
    saturated : int
        Pixels whose rounded value does not fit an integer `dtype`. NaN becomes 0 and is counted too.

    Examples
    --------
    >>> from stack3d.kernels import cast
    >>> cast.cast_frame(np.array([[0.5, 1.5, 300.0]]), "uint8")
    (array([[  0,   2, 255]], dtype=uint8), 1)
    """
    dtype = np.dtype(dtype)
    if _widens(values.dtype, dtype):
        if out is None or not on_host(values):
            return values.astype(dtype), 0
        np.copyto(out, values, casting="unsafe")
        return out, 0
    if not on_host(values) or dtype.kind not in "iu" or dtype.itemsize > 4:
        return finish(values, dtype)
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.int64)
    if kind.kind == "f" and dtype.itemsize > 2:
        kind = np.dtype(np.float64)  # float32 does not hold the limits of 32-bit integers
    smallest, largest = limits(dtype)
    frame = packed(values)
    out = np.empty(frame.shape, dtype) if out is None else out
    if kind.kind == "f":
        return out, int(_cast_floats(frame, out, kind.type(smallest), kind.type(largest)))
    return out, int(_cast_integers(frame, out, int(smallest), int(largest)))


def cast_xp(values: Any, dtype: Any) -> tuple[Any, int]:
    """`xp` form of `cast_frame`."""
    return finish(values, dtype)


def _widens(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    return target.kind == "f" or bool(np.can_cast(source, target, "safe"))


@njit(nogil=True, cache=True)
def _cast_floats(frame: Any, out: Any, smallest: Any, largest: Any) -> int:
    total = 0
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(source.size):
            count = np.int32(count + store(target, x, type(smallest)(source[x]), smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def _cast_integers(frame: Any, out: Any, smallest: int, largest: int) -> int:
    total = 0
    for y in range(frame.shape[0]):
        source, target = frame[y], out[y]
        for x in range(source.size):
            value = np.int64(source[x])
            limited = min(max(value, smallest), largest)
            target[x] = limited
            total += limited != value
    return total
