"""What can be measured: finite pixels, of a size that float32 holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

__all__ = ["as_float32", "measurable"]

_LARGEST = float(np.finfo(np.float32).max)


def measurable(frame: Any) -> Any:
    """Return a frame with its infinite pixels missing (NaN); itself where there are none.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy, of any dtype.

    Raises
    ------
    ValueError
        Where a finite pixel is beyond the range of float32.

    Examples
    --------
    >>> from stack3d.kernels import finite
    >>> finite.measurable(np.array([[1.0, -np.inf]]))
    array([[ 1., nan]])
    """
    if frame.dtype.kind != "f":
        return frame
    xp = namespace(frame)
    if on_host(frame) and frame.ndim == 2 and frame.flags.c_contiguous and frame.dtype.isnative:
        if _all_finite(frame):
            return frame
    elif bool((xp.abs(frame) <= frame.dtype.type(min(_LARGEST, float(np.finfo(frame.dtype).max)))).all()):
        return frame
    _check(frame)
    infinite = xp.isinf(frame)
    return xp.where(infinite, frame.dtype.type(np.nan), frame) if bool(infinite.any()) else frame


def as_float32(frame: Any) -> Any:
    """Return a frame as float32, infinities and NaN as they are.

    Raises
    ------
    ValueError
        Where a finite pixel is beyond the range of float32.
    """
    if frame.dtype.kind != "f" or frame.dtype.itemsize <= 4:
        return frame.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        out = frame.astype(np.float32)
    if not bool(namespace(frame).isfinite(out).all()):
        _check(frame)
    return out


@njit(nogil=True, cache=True)
def _all_finite(frame: Any) -> bool:
    """Tell whether no pixel is missing, infinite or too large for float32."""
    largest = frame.dtype.type(_LARGEST)
    beyond = np.int64(0)
    for y in range(frame.shape[0]):
        row, some = frame[y], np.int32(0)
        for x in range(row.size):
            some = np.int32(some + np.int32((abs(row[x]) <= largest) ^ True))
        beyond += np.int64(some)
    return bool(beyond == 0)


def _check(frame: Any) -> None:
    if frame.dtype.itemsize <= 4:
        return
    xp = namespace(frame)
    size = xp.abs(frame)
    largest = float(xp.where(size < np.inf, size, 0).max()) if size.size else 0.0
    if largest > _LARGEST:
        raise ValueError(
            f"da has values as large as {largest:.4g}, beyond the range of float32 ({_LARGEST:.4g}) in which pixels are "
            "measured; scale the stack, or mark such pixels as missing: da.where(abs(da) < 1e30)"
        )
