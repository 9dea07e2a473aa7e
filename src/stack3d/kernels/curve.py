"""Grey value curves: piecewise linear, gain and offset, range to range, inversion; all fused with rounding."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels import _curve_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._scratch import scratch
from stack3d.kernels._statistics_loops import extent
from stack3d.kernels._store import finish, limits, working_dtype


def apply_curve(frame: Any, x: Any, y: Any, dtype: Any, out: Any = None, through: Any = None) -> tuple[Any, int]:
    """Map grey values by a piecewise linear curve; beyond its ends the offset ``y - x`` of the end is kept.

    8- and 16-bit integers go through a table, made in float64, others are interpolated one by one in float64.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    x, y : (knots,) sequence of float
        Knots of the curve, `x` strictly increasing.
    dtype : dtype
        Of the result. Integers are rounded half to even and saturate; NaN stays NaN, or 0 in integers.
    out : (y, x) array of dtype, optional
        Where the result may be written, by rows without gaps.
    through : dtype, optional
        To which results are rounded before they become `dtype`: float32, for what a float32 result cast later gives.

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
        Pixels that did not fit `dtype`, NaN for an integer `dtype` included.

    Examples
    --------
    >>> from stack3d.kernels import curve
    >>> curve.apply_curve(np.array([[0, 10, 15, 20, 30]], "uint8"), [10, 20], [12, 40], "uint8")
    (array([[ 2, 12, 26, 40, 50]], dtype=uint8), 0)
    """
    knots, values = _knots(x, y)
    dtype = np.dtype(dtype)
    pixels = packed(frame) if on_host(frame) else frame
    small = frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2
    if small and not _by_arrays(dtype):
        return _look_up(pixels, *_table(pixels, knots, values, dtype, through), out)
    if not on_host(frame) or _by_arrays(dtype):
        return apply_curve_xp(frame, knots, values, dtype, through)
    out = np.empty(pixels.shape, dtype) if out is None else out
    return out, _interpolated(pixels, knots, values, out, through)


def apply_curve_xp(frame: Any, x: Any, y: Any, dtype: Any, through: Any = None) -> tuple[Any, int]:
    """`xp` form of `apply_curve`."""
    xp = namespace(frame)
    knots, values = _knots(x, y)
    exact = _curve(frame.astype(np.float64), xp.asarray(knots), xp.asarray(values))
    return finish(exact.astype(through or np.float64), dtype)


def scale_offset(
    frame: Any,
    gain: float,
    offset: float,
    dtype: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    out: Any = None,
) -> tuple[Any, int]:
    """Return ``gain * frame + offset``, rounded and saturated.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    gain, offset : float
        Float32 inside for 8- and 16-bit and float32 frames and results, float64 otherwise.
    dtype : dtype
        Of the result. Integers are rounded half to even and saturate; NaN stays NaN, or 0 in integers.
    low, high : float, optional
        Limits of the result, within those of `dtype`.
    out : (y, x) array of dtype, optional
        Where the result may be written, by rows without gaps.

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
        Pixels that lay beyond the limits, NaN for an integer `dtype` included.

    Examples
    --------
    >>> from stack3d.kernels import curve
    >>> curve.scale_offset(np.array([[10, 100, 200]], "uint8"), 1.5, -2, "uint8")
    (array([[ 13, 148, 255]], dtype=uint8), 1)
    """
    return _affine(frame, 0.0, gain, offset, dtype, low, high, out)


def scale_offset_xp(
    frame: Any, gain: float, offset: float, dtype: Any, *, low: float | None = None, high: float | None = None
) -> tuple[Any, int]:
    """`xp` form of `scale_offset`."""
    return _affine_xp(frame, 0.0, gain, offset, np.dtype(dtype), low, high)


def rescale(
    frame: Any,
    in_low: float,
    in_high: float,
    out_low: float,
    out_high: float,
    dtype: Any,
    clip: bool = True,
    out: Any = None,
) -> tuple[Any, int]:
    """Map the range from `in_low` to `in_high` linearly onto that from `out_low` to `out_high`.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    in_low, in_high : float
        Grey values that become `out_low` and `out_high`. An empty range makes every pixel `out_low`.
    out_low, out_high : float
        `out_low` above `out_high` inverts.
    dtype : dtype
        Of the result: "uint8" is a true 8-bit conversion, nothing wraps around.
    clip : bool
        Hold the result between `out_low` and `out_high`; if False only the limits of `dtype` hold it.
    out : (y, x) array of dtype, optional
        Where the result may be written, by rows without gaps.

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
        Pixels that were held at a limit, NaN for an integer `dtype` included.

    Examples
    --------
    >>> from stack3d.kernels import curve
    >>> curve.rescale(np.array([[0, 1000, 1500, 2000, 9000]], "uint16"), 1000, 2000, 0, 255, "uint8")
    (array([[  0,   0, 128, 255, 255]], dtype=uint8), 2)
    """
    if not (np.isfinite(in_low) and np.isfinite(in_high) and in_high >= in_low):
        raise ValueError(f"in_low and in_high must be finite and in_high not below in_low, got {in_low}, {in_high}")
    gain = (out_high - out_low) / (in_high - in_low) if in_high > in_low else 0.0
    low, high = (min(out_low, out_high), max(out_low, out_high)) if clip else (None, None)
    return _affine(frame, in_low, gain, out_low, dtype, low, high, out)


def invert(frame: Any, low: float, high: float) -> tuple[Any, int]:
    """Return ``low + high - frame`` in the frame's dtype: the range from `low` to `high` upside down.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    low, high : float
        Ends of the range; for integers their sum must be a whole number, and the result is exact.

    Returns
    -------
    frame : (y, x) array
    saturated : int
        Pixels of integers beyond what the dtype holds.

    Examples
    --------
    >>> from stack3d.kernels import curve
    >>> curve.invert(np.array([[0, 100, 255]], "uint8"), 0, 255)
    (array([[255, 155,   0]], dtype=uint8), 0)
    """
    dtype = frame.dtype
    if dtype.kind == "f":
        return dtype.type(low + high) - frame, 0
    both = low + high
    if both != int(both):
        raise ValueError(f"low + high must be a whole number for {dtype}, got {low} + {high}")
    info = np.iinfo(dtype)
    if not on_host(frame):
        xp = namespace(frame)
        wide = int(both) - frame.astype(np.int64)
        beyond = int(xp.count_nonzero((wide < info.min) | (wide > info.max)))
        return xp.clip(wide, info.min, info.max).astype(dtype), beyond
    pixels = packed(frame)
    out = np.empty(pixels.shape, dtype)
    return out, int(_mirror(pixels, int(both), out, info.min, info.max))


def _knots(x: Any, y: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    knots, values = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
    if knots.ndim != 1 or knots.shape != values.shape or not knots.size:
        raise ValueError(f"x and y must be one-dimensional and of one length, got {knots.shape} and {values.shape}")
    if not loops.are_knots(knots, values):
        raise ValueError("x must be finite and strictly increasing, and y finite")
    return knots, values


def _curve(level: Any, knots: Any, values: Any) -> Any:
    xp = namespace(level)
    inner = xp.interp(level, knots, values)
    inner = xp.where(level < knots[0], level + (values[0] - knots[0]), inner)
    inner = xp.where(level > knots[-1], level + (values[-1] - knots[-1]), inner)
    return xp.where(xp.isnan(level), level, inner)  # of one knot `interp` gives its value even for NaN


def _interpolated(
    frame: Any, knots: np.ndarray[Any, Any], values: np.ndarray[Any, Any], out: Any, through: Any = None
) -> int:
    """Write the curve at every pixel, and return how many saturated."""
    kind = np.dtype(through or np.float64)
    ends = _ends(kind, out.dtype)
    pieces = _even(knots, values)
    if pieces is not None:
        room = None if kind == np.float64 else np.empty(frame.shape[1], kind)
        return int(loops.interpolate_even(frame, pieces, knots[0], _per_unit(knots), room, out, *ends))
    exact = np.empty(frame.shape[1], kind)
    starts, per_unit = _starts(knots)
    return int(loops.interpolate(frame, knots, values, starts, per_unit, exact, out, *ends))


def _by_arrays(dtype: np.dtype[Any]) -> bool:
    # Whole numbers of 64 bits are not stored through signed ones, and other floats are not known to compiled code.
    return dtype.itemsize not in (4, 8) if dtype.kind == "f" else dtype.itemsize == 8


def _ends(kind: np.dtype[Any], dtype: np.dtype[Any]) -> list[Any]:
    # Limits of the type of the numbers where it holds them: then these are not converted one by one.
    exact = kind if dtype.kind == "f" or dtype.itemsize <= 2 else np.dtype(np.float64)
    return [exact.type(end) for end in limits(dtype)]


def _even(knots: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> Any:
    """Return the pieces of a curve whose knots are in even steps, None for another."""
    return loops.even_pieces(knots, values, 4 * np.spacing(max(abs(knots[0]), abs(knots[-1]))))


def _per_unit(knots: np.ndarray[Any, Any]) -> float:
    return float(1 / ((knots[-1] - knots[0]) / (knots.size - 1)))


def _table(
    frame: Any, knots: np.ndarray[Any, Any], values: np.ndarray[Any, Any], dtype: np.dtype[Any], through: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, int]:
    """Return the result of every level of a frame, which levels saturate (None where none does), and the first level."""
    info = np.iinfo(frame.dtype)
    least, most = info.min, info.max
    if on_host(frame) and frame.size:
        least, most = (int(end) for end in extent(frame, frame.dtype.type(least), frame.dtype.type(most)))
    kind = np.dtype(through or np.float64)
    exact = scratch("curve", (most - least + 1) * kind.itemsize // 4).view(kind)
    pieces = _even(knots, values)
    if pieces is None:
        _interpolated(np.arange(least, most + 1, dtype=np.float64)[None], knots, values, exact[None])
    else:
        loops.levels_even(least, pieces, knots[0], _per_unit(knots), exact)
    ends = _ends(kind, dtype)
    table = np.empty(exact.size, dtype)
    changed = loops.saturated(exact, table, *ends) if loops.stored(exact, table, *ends) else None
    return table, changed, least


def _look_up(frame: Any, table: Any, changed: Any, first: int, out: Any) -> tuple[Any, int]:
    if not on_host(frame):
        xp = namespace(frame)
        index = frame.astype(np.int32) - first
        count = 0 if changed is None else int(xp.count_nonzero(xp.asarray(changed)[index]))
        return xp.asarray(table)[index], count
    out = np.empty(frame.shape, table.dtype) if out is None else out
    fours = changed is None and frame.dtype == np.uint16 and table.itemsize == 2 and frame.shape[1] % 4 == 0
    if fours and out.flags.c_contiguous and sys.byteorder == "little":
        loops.take_four(frame.view(np.uint64), table.view(np.uint16), first, out.view(np.uint64))
        return out, 0
    return out, int(loops.take(frame, table, changed, first, out))


def _starts(knots: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float]:
    """Return, for each of many equal parts of the knots' range, the last knot at or before where it begins."""
    span = knots[-1] - knots[0]
    parts = 8 * knots.size
    if not span > 0:
        return np.zeros(1, np.int64), 0.0
    return loops.starts(knots, parts, span / parts), float(parts / span)


def _affine(
    frame: Any, pivot: float, gain: float, base: float, dtype: Any, low: float | None, high: float | None, out: Any
) -> tuple[Any, int]:
    dtype = np.dtype(dtype)
    if not on_host(frame) or _by_arrays(dtype):
        return _affine_xp(frame, pivot, gain, base, dtype, low, high)
    kind = working_dtype(frame.dtype, dtype)
    numbers = (kind.type(number) for number in (pivot, gain, base, *limits(dtype, low, high)))
    pixels = packed(frame)
    out = np.empty(pixels.shape, dtype) if out is None else out
    narrow = pixels.dtype.kind in "iu" and dtype.kind in "iu" and dtype.itemsize <= 2
    return out, int((loops.affine_levels if narrow else loops.affine)(pixels, out, *numbers))


def _affine_xp(
    frame: Any, pivot: float, gain: float, base: float, dtype: np.dtype[Any], low: float | None, high: float | None
) -> tuple[Any, int]:
    kind = working_dtype(frame.dtype, dtype)
    values = (frame.astype(kind) - kind.type(pivot)) * kind.type(gain) + kind.type(base)
    return finish(values, dtype, low, high)


@njit(nogil=True, cache=True)
def _mirror(frame: Any, both: int, out: Any, smallest: int, largest: int) -> int:
    total = 0
    for y in range(frame.shape[0]):
        source, target = frame[y], out[y]
        for x in range(source.size):
            value = both - np.int64(source[x])
            limited = min(max(value, smallest), largest)
            target[x] = limited
            total += 1 if limited != value else 0
    return total
