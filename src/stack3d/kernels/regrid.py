"""Resampling a frame on a new rectangular grid: linear, nearest, and by the overlap of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, store, working_dtype
from stack3d.kernels.zweights import area_weights as area_weights


def linear_frame(frame: Any, rows: Any, columns: Any, dtype: Any) -> tuple[Any, int]:
    """Interpolate a frame linearly at the crossings of new rows and columns.

    Where some of the four pixels around are NaN their weight goes to the others in proportion; the result is missing
    only where the nearest of them is (half-way, the lower row and column count as nearest).

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    rows, columns : (n,) array of float
        Positions in pixels of `frame`; beyond its edges they are the edge.
    dtype : dtype
        Of the result. Integers are rounded half to even and saturate; NaN becomes 0 there.

    Returns
    -------
    frame : (rows, columns) array of dtype
    saturated : int
        Pixels that did not fit `dtype`, NaN for an integer `dtype` included.

    Examples
    --------
    >>> from stack3d.kernels import regrid
    >>> regrid.linear_frame(np.array([[0, 10], [20, 30]], "uint8"), [0.5], [0.0, 0.25, 1.0], "float32")
    (array([[10. , 12.5, 20. ]], dtype=float32), 0)
    """
    dtype = np.dtype(dtype)
    if not on_host(frame) or dtype.str[1:] in ("u8", "i8"):
        return linear_frame_xp(frame, rows, columns, dtype)
    kind = working_dtype(frame.dtype, dtype)
    pixels = packed(frame)
    y0, y1, wy, ny = _neighbours(rows, pixels.shape[0], kind)
    x0, x1, wx, nx = _neighbours(columns, pixels.shape[1], kind)
    out = np.empty((y0.size, x0.size), dtype)
    smallest, largest = (kind.type(limit) for limit in limits(dtype))
    gaps = pixels.dtype.kind == "f"
    return out, int(_linear_loop(pixels, y0, y1, wy, ny, x0, x1, wx, nx, gaps, out, smallest, largest))


def linear_frame_xp(frame: Any, rows: Any, columns: Any, dtype: Any) -> tuple[Any, int]:
    """`xp` form of `linear_frame`."""
    xp = namespace(frame)
    kind = working_dtype(frame.dtype, dtype)
    y0, y1, wy, ny = (xp.asarray(part) for part in _neighbours(rows, frame.shape[0], kind))
    x0, x1, wx, nx = (xp.asarray(part) for part in _neighbours(columns, frame.shape[1], kind))
    one = kind.type(1)
    wy = wy[:, None]
    lines = frame[y0].astype(kind) * (one - wy) + frame[y1].astype(kind) * wy
    values = lines[:, x0] * (one - wx) + lines[:, x1] * wx
    if frame.dtype.kind == "f":
        total = weight = xp.zeros(values.shape, kind)
        for row, part in ((y0, one - wy), (y1, wy)):
            for column, share in ((x0, one - wx), (x1, wx)):
                corner = frame[row][:, column].astype(kind)
                here = ~xp.isnan(corner)
                total = total + xp.where(here, corner * (part * share), kind.type(0))
                weight = weight + xp.where(here, part * share, kind.type(0))
        near = frame[ny][:, nx]
        missing = xp.isnan(near)
        shared = total / xp.where(missing, one, weight)
        values = xp.where(missing, kind.type(np.nan), xp.where(xp.isnan(values), shared, values))
    return finish(values, dtype)


def nearest_frame(frame: Any, rows: Any, columns: Any) -> Any:
    """Take the nearest pixels of a frame: for labels, flags and masks.

    Parameters
    ----------
    frame : (y, x) array
        Of any dtype, numpy or cupy.
    rows, columns : (n,) array of float
        Positions in pixels of `frame`; beyond its edges they are the edge, half-way between pixels the lower one.

    Returns
    -------
    (rows, columns) array
        Of the frame's dtype.

    Examples
    --------
    >>> from stack3d.kernels import regrid
    >>> regrid.nearest_frame(np.array([[1, 2], [3, 4]], "uint8"), [0.4, 5.0], [0.6])
    array([[2],
           [4]], dtype=uint8)
    """
    kind = np.dtype(np.float64)
    row, column = (_neighbours(part, size, kind)[3] for part, size in zip((rows, columns), frame.shape))
    if not (isinstance(frame, np.ndarray) and frame.dtype.kind in "buif"):
        xp = namespace(frame)
        return frame[xp.asarray(row)][:, xp.asarray(column)]
    pixels = packed(frame)
    out = np.empty((row.size, column.size), pixels.dtype)
    bits = f"u{pixels.itemsize}"
    _pick(pixels.view(bits), row, column, out.view(bits))
    return out


def area_frame(
    frame: Any,
    row_weights: Sequence[tuple[int, Any]],
    column_weights: Sequence[tuple[int, Any]],
    dtype: Any,
) -> tuple[Any, int]:
    """Average a frame over new, larger pixels by the overlap of their areas.

    NaN are left out, as in a binning: the result is missing only where all pixels under it are.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    row_weights, column_weights : list of (start, weights)
        What `area_weights` returns for the rows and the columns.
    dtype : dtype
        Of the result. Integers are rounded half to even and saturate; NaN becomes 0 there.

    Returns
    -------
    frame : (rows, columns) array of dtype
    saturated : int
        Pixels that did not fit `dtype`, NaN for an integer `dtype` included.

    Examples
    --------
    >>> from stack3d.kernels import regrid
    >>> rows = regrid.area_weights([0, 1, 2], [0, 2])
    >>> columns = regrid.area_weights([0, 1, 2, 3], [0, 1.5, 3])
    >>> regrid.area_frame(np.array([[0, 3, 6], [0, 3, 6]], "uint8"), rows, columns, "float32")
    (array([[1., 5.]], dtype=float32), 0)
    """
    dtype = np.dtype(dtype)
    if not on_host(frame) or dtype.str[1:] in ("u8", "i8"):
        return area_frame_xp(frame, row_weights, column_weights, dtype)
    kind = working_dtype(frame.dtype, dtype)
    pixels = packed(frame)
    row_start, row_end, row_parts = _flat(row_weights, pixels.shape[0], "row_weights", kind)
    column_start, column_end, column_parts = _flat(column_weights, pixels.shape[1], "column_weights", kind)
    out = np.empty((row_start.size, column_start.size), dtype)
    smallest, largest = (kind.type(limit) for limit in limits(dtype))
    gaps = pixels.dtype.kind == "f"
    spans = (row_start, row_end, row_parts, column_start, column_end, column_parts)
    return out, int(_area_loop(pixels, *spans, gaps, out, smallest, largest))


def area_frame_xp(
    frame: Any, row_weights: Sequence[tuple[int, Any]], column_weights: Sequence[tuple[int, Any]], dtype: Any
) -> tuple[Any, int]:
    """`xp` form of `area_frame`: two matrix products."""
    xp = namespace(frame)
    kind = working_dtype(frame.dtype, dtype)
    left = xp.asarray(_matrix(row_weights, frame.shape[0], "row_weights", kind))
    right = xp.asarray(_matrix(column_weights, frame.shape[1], "column_weights", kind)).T
    values = frame.astype(kind)
    if frame.dtype.kind != "f":
        return finish(left @ values @ right, dtype)
    here = ~xp.isnan(values)
    total = left @ xp.where(here, values, kind.type(0)) @ right
    weight = left @ here.astype(kind) @ right
    return finish(xp.where(weight > 0, total / xp.where(weight > 0, weight, kind.type(1)), kind.type(np.nan)), dtype)


def _neighbours(positions: Any, size: int, kind: np.dtype[Any]) -> tuple[Any, Any, Any, Any]:
    """Return the pixel below, the one above, the weight of the one above, and the nearest."""
    place = np.clip(np.atleast_1d(np.asarray(positions, np.float64)), 0, size - 1)
    if place.ndim != 1 or np.any(np.isnan(place)):
        raise ValueError(f"rows and columns must be numbers in one dimension, got shape {place.shape}")
    below = np.floor(place).astype(np.int64)
    part = place - below
    above = np.minimum(below + 1, size - 1)
    return below, above, part.astype(kind), np.where(part > 0.5, above, below)


def _flat(weights: Sequence[tuple[int, Any]], size: int, name: str, kind: np.dtype[Any]) -> tuple[Any, Any, Any]:
    if not len(weights) or any(start < 0 or start + len(parts) > size for start, parts in weights):
        raise ValueError(f"{name} must be (start, weights) pairs within the frame's {size} pixels")
    starts = np.array([start for start, _ in weights], np.int64)
    ends = starts + [len(parts) for _, parts in weights]
    return starts, ends, np.concatenate([np.asarray(parts, kind) for _, parts in weights])


def _matrix(weights: Sequence[tuple[int, Any]], size: int, name: str, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    starts, ends, _ = _flat(weights, size, name, kind)
    matrix = np.zeros((len(weights), size), kind)
    for row, (start, end, (_, parts)) in enumerate(zip(starts, ends, weights)):
        matrix[row, start:end] = parts
    return matrix


@njit(nogil=True, cache=True)
def _linear_loop(
    frame: Any,
    y0: Any,
    y1: Any,
    wy: Any,
    ny: Any,
    x0: Any,
    x1: Any,
    wx: Any,
    nx: Any,
    gaps: bool,
    out: Any,
    smallest: Any,
    largest: Any,
) -> int:
    total = 0
    one = type(smallest)(1)
    line = np.empty(frame.shape[1], wx.dtype)
    values = np.empty(x0.size, wx.dtype)
    for j in range(out.shape[0]):
        first, second, target, count = frame[y0[j]], frame[y1[j]], out[j], np.int32(0)
        high = wy[j]
        low = one - high
        for i in range(line.size):
            line[i] = type(one)(first[i]) * low + type(one)(second[i]) * high
        for i in range(values.size):
            values[i] = line[x0[i]] * (one - wx[i]) + line[x1[i]] * wx[i]
        if gaps:
            near = frame[ny[j]]
            for i in range(values.size):
                if values[i] != values[i]:
                    values[i] = _shared(first, second, low, high, x0[i], x1[i], wx[i], near[nx[i]])
        for i in range(values.size):
            count = np.int32(count + store(target, i, values[i], smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def _shared(first: Any, second: Any, low: Any, high: Any, x0: int, x1: int, part: Any, near: Any) -> Any:
    """Interpolate between those of four pixels that are not NaN; NaN if the nearest one is."""
    if near != near:
        return type(part)(np.nan)
    one = type(part)(1)
    total, weight = type(part)(0), type(part)(0)
    for k in range(4):
        row = first if k < 2 else second
        vertical = low if k < 2 else high
        value = type(part)(row[x0] if k % 2 == 0 else row[x1])
        share = vertical * (one - part if k % 2 == 0 else part)
        if value == value:
            total += value * share
            weight += share
    return total / weight


@njit(nogil=True, cache=True)
def _pick(frame: Any, rows: Any, columns: Any, out: Any) -> None:
    for j in range(rows.size):
        source, target = frame[rows[j]], out[j]
        for i in range(columns.size):
            target[i] = source[columns[i]]


@njit(nogil=True, cache=True)
def _area_loop(
    frame: Any,
    row_start: Any,
    row_end: Any,
    row_parts: Any,
    column_start: Any,
    column_end: Any,
    column_parts: Any,
    gaps: bool,
    out: Any,
    smallest: Any,
    largest: Any,
) -> int:
    changed = 0
    zero = type(smallest)(0)
    line = np.empty(frame.shape[1], row_parts.dtype)
    heavy = np.ones(frame.shape[1], row_parts.dtype)
    begin = 0
    for j in range(out.shape[0]):
        line[:] = zero
        if gaps:
            heavy[:] = zero
        for y in range(row_start[j], row_end[j]):
            part, row = row_parts[begin + y - row_start[j]], frame[y]
            if gaps:
                for x in range(line.size):
                    value = type(part)(row[x])
                    here = value == value
                    line[x] += value * part if here else zero
                    heavy[x] += part if here else zero
            else:
                for x in range(line.size):
                    line[x] += type(part)(row[x]) * part
        begin += row_end[j] - row_start[j]
        target, count = out[j], np.int32(0)
        place = 0
        for i in range(target.size):
            total, weight = zero, zero
            for x in range(column_start[i], column_end[i]):
                total += line[x] * column_parts[place]
                weight += heavy[x] * column_parts[place]
                place += 1
            value = total
            if gaps:
                value = total / weight if weight > zero else type(zero)(np.nan)
            count = np.int32(count + store(target, i, value, smallest, largest))
        changed += int(count)
    return changed
