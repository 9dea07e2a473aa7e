"""Binning a frame: mean, sum, median, minimum or maximum of blocks of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed

REDUCTIONS = ("mean", "sum", "median", "min", "max")


def bin_frame(frame: Any, by: int, bx: int, reduction: str = "mean") -> Any:
    """Reduce blocks of `by` times `bx` pixels to one pixel each.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    by, bx : int
        At least 1 and at most the frame's shape. Incomplete blocks at the end are dropped.
    reduction : {"mean", "sum", "median", "min", "max"}
        Of the pixels of a block that are not NaN; a block of NaN alone is NaN. The sum of an incomplete block is
        scaled up to its full size.

    Returns
    -------
    (y // by, x // bx) array
        For "min" and "max" of the frame's dtype, else float32, but float64 for 32-bit integers and float64 frames.

    Examples
    --------
    >>> from stack3d.kernels import binning
    >>> binning.bin_frame(np.array([[1, 2, 9], [3, 5, 9]], "uint8"), 2, 2)
    array([[2.75]], dtype=float32)
    """
    _check(frame, by, bx, reduction)
    # Large blocks are sorted by numpy: the compiled form inserts, which suits small ones.
    if not on_host(frame) or (reduction == "median" and by * bx > 100):
        return bin_frame_xp(frame, by, bx, reduction)
    pixels = packed(frame)
    shape = (pixels.shape[0] // by, pixels.shape[1] // bx)
    out = np.empty(shape, _result_dtype(pixels.dtype, reduction))
    floating = pixels.dtype.kind == "f"
    if reduction in ("min", "max"):
        _extremes(pixels, by, bx, reduction == "max", out)
    elif reduction == "median":
        _medians(pixels, by, bx, out)
    elif floating:
        _means_measured(pixels, by, bx, 1.0 if reduction == "mean" else float(by * bx), out)
    else:
        narrow = pixels.dtype.itemsize <= 2 and by * bx <= 2**15
        zero = np.int32(0) if narrow else np.int64(0)
        _means(pixels, by, bx, zero, 1.0 / (by * bx) if reduction == "mean" else 1.0, out)
    return out


def bin_frames(frames: list[Any], by: int, bx: int, reduction: str = "mean") -> Any:
    """Reduce blocks of ``len(frames)`` times `by` times `bx` voxels to one pixel each.

    Parameters and result are those of `bin_frame`; a missing voxel (NaN) has no part, in whichever frame it lies.
    """
    if len(frames) == 1:
        return bin_frame(frames[0], by, bx, reduction)
    xp = namespace(frames[0])
    rows, columns = frames[0].shape[0] // by * by, frames[0].shape[1]
    # The rows that make one row of the result follow each other: binning in depth becomes binning along y.
    volume = xp.stack([frame[:rows].reshape(rows // by, by, columns) for frame in frames], axis=1)
    return bin_frame(volume.reshape(-1, columns), len(frames) * by, bx, reduction)


def bin_frame_xp(frame: Any, by: int, bx: int, reduction: str = "mean") -> Any:
    """`xp` form of `bin_frame`."""
    _check(frame, by, bx, reduction)
    xp = namespace(frame)
    rows, columns = frame.shape[0] // by, frame.shape[1] // bx
    blocks = frame[: rows * by, : columns * bx].reshape(rows, by, columns, bx)
    dtype = _result_dtype(frame.dtype, reduction)
    floating = frame.dtype.kind == "f"
    if reduction in ("min", "max"):
        functions = (xp.fmin, xp.fmax) if floating else (xp.minimum, xp.maximum)
        # One pixel of all blocks after the other: no axis is reduced, so no warning of all-NaN blocks.
        result = blocks[:, 0, :, 0]
        for j in range(by):
            for i in range(bx):
                result = functions[reduction == "max"](result, blocks[:, j, :, i])
        return result.astype(dtype)
    if reduction == "median":
        flat = blocks.transpose(0, 2, 1, 3).reshape(rows, columns, by * bx)
        ordered = xp.sort(flat, axis=-1).astype(np.float64)  # NaN come last
        count = xp.sum(~xp.isnan(ordered), axis=-1)
        low = xp.take_along_axis(ordered, xp.maximum((count - 1) // 2, 0)[..., None], axis=-1)[..., 0]
        high = xp.take_along_axis(ordered, xp.minimum(count // 2, by * bx - 1)[..., None], axis=-1)[..., 0]
        return ((low + high) / 2).astype(dtype)
    if not floating:
        total = blocks.sum(axis=(1, 3), dtype=np.int64).astype(np.float64)
        return (total * (1.0 / (by * bx) if reduction == "mean" else 1.0)).astype(dtype)
    valid = ~xp.isnan(blocks)
    total = xp.where(valid, blocks, 0).astype(np.float64).sum(axis=1).sum(axis=-1)
    count = valid.sum(axis=(1, 3))
    full = 1.0 if reduction == "mean" else float(by * bx)
    mean = total / xp.maximum(count, 1) * full
    return xp.where(count > 0, mean, np.nan).astype(dtype)


def _check(frame: Any, by: int, bx: int, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if not (1 <= by <= frame.shape[0] and 1 <= bx <= frame.shape[1]):
        raise ValueError(f"by and bx must lie between 1 and the frame's shape {frame.shape}, got {by} and {bx}")


def _result_dtype(dtype: np.dtype[Any], reduction: str) -> np.dtype[Any]:
    if reduction in ("min", "max"):
        return dtype.newbyteorder("=")
    wide = dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2)
    return np.dtype(np.float64 if wide else np.float32)


@njit(nogil=True, cache=True)
def _means(frame: Any, by: int, bx: int, zero: Any, factor: float, out: Any) -> None:
    columns = out.shape[1] * bx
    sums = np.empty(columns, type(zero))
    for j in range(out.shape[0]):
        first = frame[j * by]
        for x in range(columns):
            sums[x] = first[x]
        for k in range(1, by):
            row = frame[j * by + k]
            for x in range(columns):
                sums[x] = type(zero)(sums[x] + type(zero)(row[x]))
        target = out[j]
        if bx == 2:
            # The common case with a constant stride, which the compiler turns into vector instructions.
            for i in range(target.size):
                target[i] = np.float64(type(zero)(sums[2 * i] + sums[2 * i + 1])) * factor
        else:
            for i in range(target.size):
                total = zero
                for x in range(i * bx, (i + 1) * bx):
                    total = type(zero)(total + sums[x])
                target[i] = np.float64(total) * factor


@njit(nogil=True, cache=True)
def _means_measured(frame: Any, by: int, bx: int, full: float, out: Any) -> None:
    columns = out.shape[1] * bx
    sums, numbers = np.empty(columns), np.empty(columns, np.int32)
    for j in range(out.shape[0]):
        sums[:] = 0.0
        numbers[:] = 0
        for k in range(by):
            row = frame[j * by + k]
            for x in range(columns):
                value = np.float64(row[x])
                valid = value == value
                sums[x] += value if valid else 0.0
                numbers[x] = np.int32(numbers[x] + np.int32(1 if valid else 0))
        target = out[j]
        for i in range(target.size):
            total, number = 0.0, 0
            for x in range(i * bx, (i + 1) * bx):
                total += sums[x]
                number += numbers[x]
            target[i] = total / number * full if number else np.nan


@njit(nogil=True, cache=True)
def _extremes(frame: Any, by: int, bx: int, largest: bool, out: Any) -> None:
    columns = out.shape[1] * bx
    best = np.empty(columns, out.dtype)
    for j in range(out.shape[0]):
        first = frame[j * by]
        for x in range(columns):
            best[x] = first[x]
        for k in range(1, by):
            row = frame[j * by + k]
            if largest:
                for x in range(columns):
                    best[x] = row[x] if row[x] > best[x] or best[x] != best[x] else best[x]
            else:
                for x in range(columns):
                    best[x] = row[x] if row[x] < best[x] or best[x] != best[x] else best[x]
        target = out[j]
        for i in range(target.size):
            value = best[i * bx]
            for x in range(i * bx + 1, (i + 1) * bx):
                other = best[x]
                if value != value or (other > value if largest else other < value):
                    value = other
            target[i] = value


@njit(nogil=True, cache=True)
def _medians(frame: Any, by: int, bx: int, out: Any) -> None:
    values = np.empty(by * bx, frame.dtype)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            number = 0
            for y in range(j * by, (j + 1) * by):
                for x in range(i * bx, (i + 1) * bx):
                    value = frame[y, x]
                    if value == value:
                        values[number] = value
                        number += 1
            if number == 0:
                out[j, i] = np.nan
                continue
            for k in range(1, number):
                value = values[k]
                place = k
                while place > 0 and values[place - 1] > value:
                    values[place] = values[place - 1]
                    place -= 1
                values[place] = value
            low, high = np.float64(values[(number - 1) // 2]), np.float64(values[number // 2])
            out[j, i] = (low + high) / 2
