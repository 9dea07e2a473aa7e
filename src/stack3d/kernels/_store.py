"""The one place where computed values become pixels: rounding, saturating, counting; compiled and `xp` form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from stack3d.kernels._namespace import namespace

_SMALL = frozenset({"b1", "u1", "i1", "u2", "i2", "f4"})


def working_dtype(*dtypes: Any) -> np.dtype[Any]:
    """Return float32 where it holds every value of `dtypes` exactly, float64 for 32-bit integers and float64."""
    small = all(np.dtype(dtype).str[1:] in _SMALL for dtype in dtypes)
    return np.dtype(np.float32 if small else np.float64)


def limits(dtype: Any, low: float | None = None, high: float | None = None) -> tuple[float, float]:
    """Return the smallest and largest value that a pixel of `dtype` may take, narrowed to `low` and `high`."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        smallest, largest = float(info.min), float(info.max)
        if int(largest) > info.max:  # 64 bits: the float above the limit would wrap around
            largest = float(np.nextafter(largest, 0.0))
        if low is not None:
            smallest = min(max(smallest, float(np.ceil(low))), largest)
        if high is not None:
            largest = max(min(largest, float(np.floor(high))), smallest)
        return smallest, largest
    return (-np.inf if low is None else float(low)), (np.inf if high is None else float(high))


def finish(values: Any, dtype: Any, low: float | None = None, high: float | None = None) -> tuple[Any, int]:
    """Round half to even and saturate `values` into `dtype` (`xp` form); return the frame and how many were changed.

    NaN becomes 0 in an integer target and is counted; a float target keeps it.
    """
    xp = namespace(values)
    dtype = np.dtype(dtype)
    smallest, largest = limits(dtype, low, high)
    if values.dtype.kind in "biu":
        # Integers are compared as integers: float64 holds all 32-bit limits.
        if dtype.kind == "f" and np.isinf(smallest) and np.isinf(largest):
            return values.astype(dtype), 0
        beyond = (values < smallest) | (values > largest)
        return xp.clip(values.astype(np.float64), smallest, largest).astype(dtype), int(xp.count_nonzero(beyond))
    if dtype.kind == "f":
        count = 0
        if not (np.isinf(smallest) and np.isinf(largest)):
            count = int(xp.count_nonzero((values < smallest) | (values > largest)))
        if count:
            values = xp.clip(values, values.dtype.type(smallest), values.dtype.type(largest))
        with np.errstate(over="ignore"):
            return values.astype(dtype), count
    wide = values if dtype.itemsize <= 2 else values.astype(np.float64)
    rounded = xp.rint(wide)
    inside = (rounded >= smallest) & (rounded <= largest)
    limited = xp.clip(rounded, wide.dtype.type(smallest), wide.dtype.type(largest))
    out = xp.where(xp.isnan(rounded), wide.dtype.type(0), limited).astype(dtype)
    return out, int(inside.size - xp.count_nonzero(inside))


def store(row: Any, index: int, value: float, smallest: float, largest: float) -> int:
    """Write `value` at ``row[index]``, rounded and saturated as the type of `row` asks; 1 where it was changed."""
    raise NotImplementedError("only called from compiled code")


@overload(store)
def _store(row: Any, index: Any, value: Any, smallest: Any, largest: Any) -> Any:
    if isinstance(row.dtype, types.Float):

        def to_float(row: Any, index: Any, value: Any, smallest: Any, largest: Any) -> Any:
            above = value > largest
            below = value < smallest
            row[index] = largest if above else (smallest if below else value)
            return np.int32(1 if above or below else 0)

        return to_float

    through = np.int64 if row.dtype.bitwidth > 16 else np.int32

    def to_integer(row: Any, index: Any, value: Any, smallest: Any, largest: Any) -> Any:
        rounded = np.rint(value)
        limited = min(max(rounded, smallest), largest)
        # A step through a signed integer is what lets the loop become vector instructions.
        row[index] = through(limited if rounded == rounded else 0)
        return np.int32(1 if limited != rounded else 0)

    return to_integer
