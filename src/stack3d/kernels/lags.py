"""Autocovariance of a frame at a few lags, summed directly: exact, without wrap-around, and faster than transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels.statistics import frame_statistics

_ROWS = 64  # summed in float32 before they go to float64


def lag_covariances(frame: Any, lags: Any) -> tuple[np.ndarray[Any, Any], float]:
    """Return the mean product of deviations over all measured pairs of pixels at each lag.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. NaN and infinities are missing.
    lags : (n, 2) array of int
        (y, x) of each lag, in pixels; y not negative.

    Returns
    -------
    covariances : (n,) array of float64
        In units of the variance of the frame. NaN where no pair was measured or the frame is blank.
    deviation : float
        Standard deviation of the frame; NaN where it is blank.

    Examples
    --------
    >>> from stack3d.kernels import lags
    >>> ramp = np.array([[0, 1, 2, 3, 4]], "uint8")
    >>> values, deviation = lags.lag_covariances(ramp, [(0, 0), (0, 1)])
    >>> values.round(6).tolist(), round(deviation**2, 6)
    ([1.0, 0.5], 2.0)
    """
    offsets = np.asarray(lags, dtype=np.int64).reshape(-1, 2)
    if np.any(offsets[:, 0] < 0):
        raise ValueError(f"lags={lags!r} must not be negative along y")
    known = frame_statistics(frame)
    if not known.maximum > known.minimum:
        return np.full(len(offsets), np.nan), np.nan
    gaps = known.pixels < frame.shape[0] * frame.shape[1]
    summed = _lag_sums if on_host(frame) else _lag_sums_xp
    pixels = packed(frame) if on_host(frame) else frame
    total, pairs = summed(pixels, known.mean, 1 / known.std, offsets, gaps)
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan), known.std


def _lag_sums_xp(frame: Any, mean: float, scale: float, offsets: Any, gaps: bool) -> Any:
    xp = namespace(frame)
    rows, columns = frame.shape
    deviation = (frame.astype(np.float64) - mean) * scale
    measured = xp.isfinite(deviation)
    deviation = xp.where(measured, deviation, 0.0).astype(np.float32).astype(np.float64)
    total, pairs = np.zeros(len(offsets)), np.zeros(len(offsets))
    for k, (dy, dx) in enumerate(offsets.tolist()):
        if dy >= rows or abs(dx) >= columns:
            continue
        new = (slice(dy, None), slice(max(dx, 0), columns + min(dx, 0)))
        old = (slice(0, rows - dy), slice(max(-dx, 0), columns - max(dx, 0)))
        total[k] = float((deviation[new] * deviation[old]).sum())
        pairs[k] = float((measured[new] & measured[old]).sum())
    return total, pairs


@njit(nogil=True, cache=True)
def _lag_sums(frame: Any, mean: float, scale: float, offsets: Any, gaps: bool) -> Any:
    rows, columns = frame.shape
    count, depth = len(offsets), np.int64(1)
    for k in range(count):
        depth = max(depth, offsets[k, 0] + 1)
    # The last few rows, and one accumulator a lag and column: vector instructions without reordering a sum.
    values, measured = np.zeros((depth, columns), np.float32), np.zeros((depth, columns), np.float32)
    products, number = np.zeros((count, columns), np.float32), np.zeros((count, columns), np.float32)
    total, pairs = np.zeros(count), np.zeros(count)
    for y in range(rows):
        row, deviation, use = frame[y], values[y % depth], measured[y % depth]
        for x in range(columns):
            value = (np.float64(row[x]) - mean) * scale
            fine = abs(value) <= 1.7976931348623157e308  # false for NaN and infinities
            deviation[x] = np.float32(value if fine else 0.0)
            use[x] = np.float32(1.0 if fine else 0.0)
        for k in range(count):
            dy, dx = offsets[k]
            if dy > y or abs(dx) >= columns:
                continue
            _add_products(deviation, values[(y - dy) % depth], dx, products[k])
            if gaps:
                _add_products(use, measured[(y - dy) % depth], dx, number[k])
        if y % _ROWS == _ROWS - 1 or y == rows - 1:
            for k in range(count):
                total[k] += _emptied(products[k])
                if gaps:
                    pairs[k] += _emptied(number[k])
    if not gaps:
        for k in range(count):
            pairs[k] = max(0, rows - offsets[k, 0]) * max(0, columns - abs(offsets[k, 1]))
    return total, pairs


@njit(nogil=True, cache=True)
def _add_products(new: Any, old: Any, dx: int, sums: Any) -> None:
    length = new.size - abs(dx)
    first, second = new[max(dx, 0) :], old[max(-dx, 0) :]
    for x in range(length):
        sums[x] += first[x] * second[x]


@njit(nogil=True, cache=True)
def _emptied(sums: Any) -> float:
    total = 0.0
    for x in range(sums.size):
        total += np.float64(sums[x])
        sums[x] = np.float32(0)
    return total
