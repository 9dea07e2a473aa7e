"""Gain and offset between two frames from what did not change between them.

Where the specimen changes from slice to slice, means and spreads of slices change with it. Cells of a few pixels in which
it did not change still tell the gain and offset exactly: values of one frame are fitted as a line of those of the other,
both with errors (the difference against the mean of the two), with weights that fall where a cell misses the line (Tukey's
function, cut at a low 1.5 deviations: what is wanted is the main part, not the mean), where its neighbours do, and
where the frame is steep, because there the least movement changes it.

A. E. Beaton and J. W. Tukey, Technometrics 16, 147 (1974), doi:10.1080/00401706.1974.10489171.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed

_CELLS, _FEW = 16384, 1024  # in a frame: at most about so many, and at least
_WIDE = 4  # pixels across a cell, unless the frame is very large or small
_ROUNDS = 6
_CUT = 1.5  # robust deviations beyond which a cell has no say
_FLOOR, _STEEP = 0.1, 0.1  # of weights: added to squared deviations, and per squared slope in units of its median
_NORMAL = 1.482602218505602  # deviations per median of their absolute values
_SAMPLE = 8192  # cells that the deviation is measured on


class Common(NamedTuple):
    """What two frames show in common: a grey value of the first, the one it became in the second, and the gain.

    ``second = second_level + gain * (first - first_level)``, which cells miss by `deviation`, in units of how much they
    differ among themselves; NaN where nothing can be compared.
    """

    first_level: float
    second_level: float
    gain: float
    deviation: float


def width(shape: tuple[int, int]) -> int:
    """Return how many pixels wide and high the cells of a frame are.

    Examples
    --------
    >>> from stack3d.kernels import unchanged
    >>> [unchanged.width(shape) for shape in ((20, 20), (512, 512), (4096, 4096))]
    [1, 4, 32]
    """
    pixels = shape[0] * shape[1]
    return max(1, min(_WIDE, math.isqrt(pixels // _FEW)), round(math.sqrt(pixels / _CELLS)))


def cells(frame: Any, low: float | None = None, high: float | None = None) -> Any:
    """Return the mean of each cell of a frame, float32; NaN where fewer than half of its pixels were measured.

    Pixels at the least and the greatest value of the frame do not count, because they may be saturated or padding, unless
    fewer than half of all would remain.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. Missing pixels (NaN) do not count. Rows and columns that fill no cell are left out.
    low, high : float, optional
        Only pixels in this range, both ends included, count.
    """
    wide = width(frame.shape)
    bounds = (-np.inf if low is None else float(low), np.inf if high is None else float(high))
    add = _sums if on_host(frame) else sums_xp
    pixels = packed(frame) if on_host(frame) else frame
    least, most = _extremes(pixels) if on_host(frame) else extremes_xp(frame)
    total, count = add(pixels, wide, *bounds, least, most)
    if 2 * float(count.sum()) < pixels.size and least < most:
        every, all_counts = add(pixels, wide, *bounds, -np.inf, np.inf)
        if 2 * float(count.sum()) < float(all_counts.sum()):
            total, count = every, all_counts
    return means_of(total, count, wide)


def means_of(total: Any, count: Any, wide: int) -> Any:
    """Return sums over counts, NaN where a cell of `wide` squared pixels is not half measured."""
    xp = namespace(total)
    enough = 2 * count >= wide * wide
    return xp.where(enough, total / xp.where(enough, count, 1), np.nan).astype(np.float32)


def extremes_xp(frame: Any) -> tuple[float, float]:
    """`xp` form of the least and greatest value; NaN where there is none."""
    xp = namespace(frame)
    return float(xp.fmin.reduce(frame, axis=None)), float(xp.fmax.reduce(frame, axis=None))


def sums_xp(frame: Any, wide: int, low: float, high: float, least: float, most: float) -> tuple[Any, Any]:
    """`xp` form of the sums and counts of cells: pixels from `low` to `high`, and inside `least` and `most`."""
    xp = namespace(frame)
    rows, cols = frame.shape[0] // wide, frame.shape[1] // wide
    values = frame[: rows * wide, : cols * wide].astype(np.float64)
    good = (values >= low) & (values <= high) & (values > least) & (values < most)
    blocks = [part.reshape(rows, wide, cols, wide) for part in (xp.where(good, values, 0.0), good.astype(np.float64))]
    return blocks[0].sum(axis=(1, 3)), blocks[1].sum(axis=(1, 3))


@njit(cache=True, nogil=True)
def _extremes(frame: Any) -> tuple[float, float]:
    least, most = np.inf, -np.inf
    for i in range(frame.shape[0]):
        row = frame[i]
        low = high = row[0]
        for j in range(row.size):
            # A comparison with NaN is false: where the first of a row is NaN, the loop below has the row.
            low = row[j] if row[j] < low else low
            high = row[j] if row[j] > high else high
        if low != low:
            for j in range(row.size):
                least = min(least, np.float64(row[j])) if row[j] == row[j] else least
                most = max(most, np.float64(row[j])) if row[j] == row[j] else most
        else:
            least, most = min(least, np.float64(low)), max(most, np.float64(high))
    return least, most


@njit(cache=True, nogil=True)
def _sums(frame: Any, wide: int, low: float, high: float, least: float, most: float) -> tuple[Any, Any]:
    rows, cols = frame.shape[0] // wide, frame.shape[1] // wide
    total, count = np.zeros((rows, cols)), np.zeros((rows, cols))
    # Sums of columns first: they do not depend on each other, so that a row is taken by vector instructions.
    column, number = np.empty(cols * wide), np.empty(cols * wide)
    for a in range(rows):
        column[:] = 0.0
        number[:] = 0.0
        for i in range(a * wide, a * wide + wide):
            row = frame[i]
            for j in range(cols * wide):
                value = np.float64(row[j])
                good = (value >= low) and (value <= high) and (value > least) and (value < most)
                column[j] += value if good else 0.0
                number[j] += 1.0 if good else 0.0
        for b in range(cols):
            for j in range(b * wide, b * wide + wide):
                total[a, b] += column[j]
                count[a, b] += number[j]
    return total, count


def compare(first: Any, second: Any) -> Common:
    """Return gain and offset between the cells of two frames, from those that did not change.

    Exchanged frames give the inverse; a line of grey values put on a frame is found again wherever it is put.

    Parameters
    ----------
    first, second : (rows, cols) array of float32
        As `cells` gives them.

    Examples
    --------
    >>> from stack3d.kernels import unchanged
    >>> frame = np.random.default_rng(0).normal(100, 20, (32, 32)).astype("float32")
    >>> other = 1.25 * frame + 3
    >>> other[:12] = 90  # something else came into view
    >>> found = unchanged.compare(frame, other)
    >>> round(found.gain, 4), round(found.second_level - 1.25 * found.first_level, 2)
    (1.25, 3.0)
    """
    return _compared(first, second, _fit if on_host(first) and on_host(second) else fit_xp)


def compare_xp(first: Any, second: Any) -> Common:
    """`xp` form of `compare`."""
    return _compared(first, second, fit_xp)


def _compared(first: Any, second: Any, fit: Any) -> Common:
    xp = namespace(first)
    known = xp.isfinite(first) & xp.isfinite(second)
    centres, spreads = [], []
    for cell_values in (first, second):
        values = cell_values[known].astype(np.float64)
        if values.size < 4:
            return Common(np.nan, np.nan, np.nan, np.nan)
        centre = float(xp.median(values))
        spread = _NORMAL * float(xp.median(xp.abs(values - centre))) or float(values.std())
        centres.append(centre)
        spreads.append(spread)
    if not min(spreads) > 0:
        return Common(np.nan, np.nan, np.nan, np.nan)
    ratio = math.sqrt(spreads[1] / spreads[0])
    one = xp.where(known, (first - centres[0]) * ratio, 0.0)
    two = xp.where(known, (second - centres[1]) / ratio, 0.0)
    mean, change = ((one + two) / 2).astype(np.float32), (two - one).astype(np.float32)
    sure = 1 / (_FLOOR + _STEEP * _slopes(mean, known, xp))
    level, rise, slope, missed = fit(mean, change, known, sure.astype(np.float32))
    gain = ratio * ratio * (1 + slope / 2) / (1 - slope / 2) if abs(slope) < 2 else np.nan
    missed /= math.sqrt(spreads[0] * spreads[1])
    return Common(centres[0] + (level - rise / 2) / ratio, centres[1] + (level + rise / 2) * ratio, gain, missed)


def _slopes(values: Any, known: Any, xp: Any) -> Any:
    """Return squared slopes of the known cells, in units of their median; no slope towards unknown ones."""
    total = xp.zeros(values.shape, np.float32)
    for axis in (0, 1):
        along, there = xp.moveaxis(values, axis, 0), xp.moveaxis(known, axis, 0)
        step = xp.where(there[1:] & there[:-1], along[1:] - along[:-1], 0.0)
        slope = xp.zeros(along.shape, np.float32)
        slope[1:] += step / 2
        slope[:-1] += step / 2
        total += xp.moveaxis(slope, 0, axis) ** 2
    middle = float(xp.median(total[known]))
    return total / middle if middle > 0 else total * 0


def _stride(shape: tuple[int, ...]) -> int:
    return max(1, math.isqrt(shape[0] * shape[1] // _SAMPLE))


def fit_xp(mean: Any, change: Any, known: Any, sure: Any) -> tuple[float, float, float, float]:
    """`xp` form of the fit: mean of the unchanged cells, their change, its slope against the mean, what cells miss it by."""
    xp = namespace(mean)
    mean, change, sure = (part.astype(np.float64) for part in (mean, change, sure))
    skip = _stride(mean.shape)
    some = known[::skip, ::skip]
    pivot, rise, slope = 0.0, float(xp.median(change[known])), 0.0
    floor = 1e-6 * max(float(xp.abs(mean).max()), 1e-300)
    deviation, beside = floor, _around(known.astype(np.float64), xp)
    for _ in range(_ROUNDS):
        missed = change - rise - slope * (mean - pivot)
        sample = xp.abs(missed[::skip, ::skip][some])
        deviation = max(_NORMAL * float(xp.median(sample)) if sample.size else 0.0, floor)
        squares = xp.where(known, (missed / deviation) ** 2, 0.0)
        kept = xp.clip(1 - squares / _CUT**2, 0.0, None) ** 2
        weight = xp.where(known, sure * kept / (_FLOOR + _around(squares, xp) / xp.maximum(beside, 1.0)), 0.0)
        total = float(weight.sum())
        if not total > 0:
            break
        pivot, rise = float((weight * mean).sum()) / total, float((weight * change).sum()) / total
        apart = mean - pivot
        spread = float((weight * apart * apart).sum())
        slope = float((weight * apart * (change - rise)).sum()) / spread if spread > 0 else 0.0
    return pivot, rise, slope, deviation


def _around(values: Any, xp: Any) -> Any:
    """Return four times each value and its four neighbours' (nothing beyond the edge) together."""
    total = 4 * values
    total[1:] += values[:-1]
    total[:-1] += values[1:]
    total[:, 1:] += values[:, :-1]
    total[:, :-1] += values[:, 1:]
    return total


@njit(cache=True, nogil=True)
def _fit(mean: Any, change: Any, known: Any, sure: Any) -> tuple[float, float, float, float]:
    rows, cols = mean.shape
    skip = max(1, int(math.sqrt(rows * cols // _SAMPLE)))
    squares = np.zeros((rows + 2, cols + 2), np.float32)
    there = np.zeros((rows + 2, cols + 2), np.float32)
    sample, values = np.empty(rows * cols, np.float32), np.empty(rows * cols, np.float32)
    count, size, top = 0, 0, 0.0
    for i in range(rows):
        for j in range(cols):
            if known[i, j]:
                there[i + 1, j + 1] = 1.0
                values[count] = change[i, j]
                count += 1
                top = max(top, abs(mean[i, j]))
    pivot, rise, slope = 0.0, float(np.median(values[:count])), 0.0
    floor = 1e-6 * max(top, 1e-300)
    deviation = floor
    for _ in range(_ROUNDS):
        size = 0
        for i in range(0, rows, skip):
            for j in range(0, cols, skip):
                if known[i, j]:
                    sample[size] = abs(change[i, j] - rise - slope * (mean[i, j] - pivot))
                    size += 1
        deviation = max(_NORMAL * float(np.median(sample[:size])) if size else 0.0, floor)
        start, rate, per = np.float32(rise - slope * pivot), np.float32(slope), np.float32(1 / deviation)
        for i in range(rows):
            for j in range(cols):
                missed = (change[i, j] - start - rate * mean[i, j]) * per
                squares[i + 1, j + 1] = missed * missed * there[i + 1, j + 1]
        total, first, second, both, square = _weighed(mean, change, sure, squares, there)
        if not total > 0:
            break
        pivot, rise = first / total, second / total
        spread = square - total * pivot * pivot
        slope = (both - total * pivot * rise) / spread if spread > 0 else 0.0
    return pivot, rise, slope, deviation


@njit(cache=True, nogil=True)
def _weighed(mean: Any, change: Any, sure: Any, squares: Any, there: Any) -> tuple[float, float, float, float, float]:
    rows, cols = mean.shape
    total = first = second = both = square = 0.0
    one, four, cut, floor = np.float32(1), np.float32(4), np.float32(1 / _CUT**2), np.float32(_FLOOR)
    row = np.empty(cols, np.float32)
    for i in range(rows):
        for j in range(cols):
            q = squares[i + 1, j + 1]
            near = four * q + squares[i, j + 1] + squares[i + 2, j + 1] + squares[i + 1, j] + squares[i + 1, j + 2]
            beside = four * there[i + 1, j + 1] + there[i, j + 1] + there[i + 2, j + 1]
            beside += there[i + 1, j] + there[i + 1, j + 2]
            kept = max(one - q * cut, np.float32(0))
            row[j] = there[i + 1, j + 1] * sure[i, j] * kept * kept / (floor + near / max(beside, one))
        for j in range(cols):
            weight, u, v = np.float64(row[j]), np.float64(mean[i, j]), np.float64(change[i, j])
            total += weight
            first += weight * u
            second += weight * v
            both += weight * u * v
            square += weight * u * u
    return total, first, second, both, square
