"""Statistics of a frame's measured pixels: moments, quantiles, median and its spread, all NaN-aware."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _statistics_loops as loops
from stack3d.kernels._level_counts import countable
from stack3d.kernels._level_counts import level_counts as level_counts
from stack3d.kernels._namespace import namespace, on_host, packed

_SORTED = 8  # from this many order statistics on, values are sorted


class FrameStatistics(NamedTuple):
    """What `frame_statistics` returns; all but `pixels` are NaN when nothing was measured."""

    minimum: float
    maximum: float
    mean: float
    std: float
    pixels: int


def frame_statistics(
    frame: Any, mask: Any = None, *, low: float | None = None, high: float | None = None, as_floats: bool = False
) -> FrameStatistics:
    """Return minimum, maximum, mean, standard deviation and count of the finite measured pixels.

    Sums are float64 or exact integers, each column by itself and the columns in order, so that the result does not
    depend on the machine's vector length.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    mask : (y, x) array of bool, optional
        True where a pixel was measured.
    low, high : float, optional
        Only pixels in this range, both ends included.
    as_floats : bool
        Of 8- and 16-bit integers: to the bit what the same values give as floats, whose squares are added rounded.

    Returns
    -------
    FrameStatistics
        A tuple (minimum, maximum, mean, std, pixels). The standard deviation divides by the count.

    Examples
    --------
    >>> from stack3d.kernels import statistics
    >>> tuple(statistics.frame_statistics(np.array([[1.0, 3.0, np.nan]])))
    (1.0, 3.0, 2.0, 1.0, 2)
    """
    if not on_host(frame):
        frame = frame.astype(np.float32) if as_floats else frame
        return frame_statistics_xp(frame, mask, low=low, high=high)
    pixels = packed(frame)
    measured = None if mask is None else packed(mask)
    if countable(frame.dtype) and as_floats:
        return _as_floats(pixels, measured, low, high)
    if countable(frame.dtype):
        every = measured is None and low is None and high is None and pixels.size
        found = (
            loops.all_moments(pixels)
            if every
            else loops.small_moments(pixels, measured, *_integer_range(pixels.dtype, low, high))
        )
        return _exact(*(int(number) for number in found))
    if pixels.dtype.kind != "f":
        smallest, largest = _integer_range(pixels.dtype, low, high)
        least, most, total, count = loops.integer_moments(pixels, measured, smallest, largest)
        if not count:
            return FrameStatistics(np.nan, np.nan, np.nan, np.nan, 0)
        mean = int(total) / count
        variance = loops.squares(pixels, measured, smallest, largest, mean) / count
        return FrameStatistics(float(least), float(most), mean, float(np.sqrt(variance)), int(count))
    bottom, top = _float_range(pixels.dtype, low, high)
    least, most, total, count = loops.float_moments(pixels, measured, bottom, top)
    if not count:
        return FrameStatistics(np.nan, np.nan, np.nan, np.nan, 0)
    mean = total / count
    variance = loops.squares(pixels, measured, bottom, top, mean) / count
    return FrameStatistics(float(least), float(most), float(mean), float(np.sqrt(variance)), int(count))


def frame_statistics_xp(
    frame: Any, mask: Any = None, *, low: float | None = None, high: float | None = None
) -> FrameStatistics:
    """`xp` form of `frame_statistics`."""
    xp = namespace(frame)
    values = measured_values(frame, mask, low, high)
    count = int(values.size)
    if not count:
        return FrameStatistics(np.nan, np.nan, np.nan, np.nan, 0)
    whole = values.dtype.kind in "iu"
    mean = int(xp.sum(values, dtype=np.int64)) / count if whole else float(xp.mean(values, dtype=np.float64))
    variance = float(xp.mean((values - np.float64(mean)) ** 2))
    return FrameStatistics(float(values.min()), float(values.max()), mean, float(np.sqrt(variance)), count)


def mean_in_range(frame: Any, low: float | None = None, high: float | None = None, mask: Any = None) -> float:
    """Return the mean of the measured pixels from `low` to `high`, both included; NaN when there are none.

    Examples
    --------
    >>> from stack3d.kernels import statistics
    >>> statistics.mean_in_range(np.array([[1, 3, 250]], "uint8"), 0, 200)
    2.0
    """
    return frame_statistics(frame, mask, low=low, high=high).mean


def quantiles(
    frame: Any, q: Any, mask: Any = None, *, low: float | None = None, high: float | None = None
) -> np.ndarray[Any, Any]:
    """Return exact quantiles of the finite measured pixels, interpolated linearly as `numpy.quantile` does.

    8- and 16-bit integers are counted, others partitioned.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    q : sequence of float
        Between 0 and 1.
    mask : (y, x) array of bool, optional
        True where a pixel was measured.
    low, high : float, optional
        Only pixels in this range, both ends included.

    Returns
    -------
    (len(q),) array of float64
        On the host; NaN when nothing was measured.

    Examples
    --------
    >>> from stack3d.kernels import statistics
    >>> statistics.quantiles(np.array([[1, 2, 4, 8]], "uint16"), [0.0, 0.5])
    array([1., 3.])
    """
    q = np.atleast_1d(np.asarray(q, np.float64))
    if q.ndim != 1 or not bool(np.all((q >= 0) & (q <= 1))):
        raise ValueError(f"q must hold numbers from 0 to 1, got {q.tolist()}")
    if countable(frame.dtype):
        counts, first = level_counts(frame, mask)
        _limit_counts(counts, first, low, high)
        cumulative = np.cumsum(counts)
        below, above, part = _ranks(q, int(cumulative[-1]))
        if part is None:
            return np.full(q.size, np.nan)
        left = np.searchsorted(cumulative, below, side="right") + first
        right = np.searchsorted(cumulative, above, side="right") + first
        return _between(left.astype(np.float64), right.astype(np.float64), part)
    values = measured_values(frame, mask, low, high)
    below, above, part = _ranks(q, int(values.size))
    if part is None:
        return np.full(q.size, np.nan)
    wanted = np.unique(np.concatenate([below, above]))
    ordered = _order_statistics(values, wanted)
    return _between(ordered[np.searchsorted(wanted, below)], ordered[np.searchsorted(wanted, above)], part)


def quantiles_xp(
    frame: Any, q: Any, mask: Any = None, *, low: float | None = None, high: float | None = None
) -> np.ndarray[Any, Any]:
    """`xp` form of `quantiles`."""
    xp = namespace(frame)
    values = measured_values(frame, mask, low, high).astype(np.float64)
    q = np.atleast_1d(np.asarray(q, np.float64))
    if not values.size:
        return np.full(q.size, np.nan)
    result = xp.quantile(values, xp.asarray(q))
    return np.asarray(result.get() if xp is not np else result)


def median_and_mad(
    frame: Any, mask: Any = None, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """Return the median and the median absolute deviation from it, of the finite measured pixels.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    mask : (y, x) array of bool, optional
        True where a pixel was measured.
    low, high : float, optional
        Only pixels in this range, both ends included.

    Returns
    -------
    median, mad : float
        The deviation is not scaled: 1.4826 times it is the standard deviation of a normal distribution. NaN when
        nothing was measured. Deviations of float32 frames are float32.

    Examples
    --------
    >>> from stack3d.kernels import statistics
    >>> statistics.median_and_mad(np.array([[1, 2, 4, 8, 200]], "uint16"), high=100)
    (3.0, 1.5)
    """
    if not countable(frame.dtype):
        return median_and_mad_xp(frame, mask, low, high)
    counts, first = level_counts(frame, mask)
    _limit_counts(counts, first, low, high)
    if not counts.any():
        return np.nan, np.nan
    median = _count_median(counts) + first
    # The median of integers is a multiple of one half: twice the deviations are integers and can be counted.
    return float(median), float(loops.median_deviation(counts, int(2 * (median - first))))


def median_and_mad_xp(
    frame: Any, mask: Any = None, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """`xp` form of `median_and_mad`."""
    xp = namespace(frame)
    values = measured_values(frame, mask, low, high)
    if not values.size:
        return np.nan, np.nan
    median = _median(values)
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    return median, _median(xp.abs(values.astype(kind) - kind.type(median)))


def measured_values(frame: Any, mask: Any = None, low: float | None = None, high: float | None = None) -> Any:
    """Return the finite measured pixels between `low` and `high` (included), flat."""
    xp = namespace(frame)
    keep = mask
    if frame.dtype.kind == "f":
        finite = xp.isfinite(frame)
        if keep is not None:
            keep = keep & finite
        elif not bool(finite.all()):
            keep = finite
    if low is not None:
        keep = (frame >= low) if keep is None else keep & (frame >= low)
    if high is not None:
        keep = (frame <= high) if keep is None else keep & (frame <= high)
    return frame.ravel() if keep is None else frame[keep]


def _limit_counts(counts: np.ndarray[Any, Any], first: int, low: float | None, high: float | None) -> None:
    if low is not None:
        counts[: int(np.clip(np.ceil(low) - first, 0, counts.size))] = 0
    if high is not None:
        counts[int(np.clip(np.floor(high) - first + 1, 0, counts.size)) :] = 0


def _as_floats(pixels: Any, mask: Any, low: float | None, high: float | None) -> FrameStatistics:
    # Sums of so many whole numbers are exact as floats too, those of the squares are not.
    kind = pixels.dtype.type
    smallest, largest = _integer_range(pixels.dtype, low, high)
    info = np.iinfo(pixels.dtype)
    everything = mask is None and (smallest, largest) == (info.min, info.max)
    if everything:
        count = pixels.size
        total, least, most = loops.whole_moments(pixels, kind(info.min), kind(info.max))
    else:
        count, total, _, least, most = loops.small_moments(pixels, mask, smallest, largest)
    if not count:
        return FrameStatistics(np.nan, np.nan, np.nan, np.nan, 0)
    mean = int(total) / int(count)
    if everything:
        square = loops.whole_squares(pixels, mean)
    else:
        square = loops.squares(pixels, mask, np.float64(smallest), np.float64(largest), mean)
    return FrameStatistics(float(least), float(most), mean, float(np.sqrt(square / count)), int(count))


def _exact(count: int, total: int, square: int, least: int, most: int) -> FrameStatistics:
    if not count:
        return FrameStatistics(np.nan, np.nan, np.nan, np.nan, 0)
    # Integers of any length: no cancellation.
    variance = (count * square - total * total) / count**2
    return FrameStatistics(float(least), float(most), total / count, float(np.sqrt(variance)), count)


def _count_median(counts: np.ndarray[Any, Any]) -> float:
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    left, right = np.searchsorted(cumulative, [(total - 1) // 2, total // 2], side="right")
    return (int(left) + int(right)) / 2


def _median(values: Any) -> float:
    if on_host(values):
        ranks = np.unique([(values.size - 1) // 2, values.size // 2])
        return float(_order_statistics(values, ranks).mean())
    xp = namespace(values)
    return float(xp.median(values.astype(np.float64)))


def _ranks(q: np.ndarray[Any, Any], count: int) -> tuple[Any, Any, Any]:
    if not count:
        return None, None, None
    place = q * (count - 1)
    below = np.floor(place).astype(np.int64)
    return below, np.minimum(below + 1, count - 1), place - below


def _between(left: Any, right: Any, part: Any) -> np.ndarray[Any, Any]:
    # numpy's own form, from the nearer end, so that the results are equal to the bit.
    gap = right - left
    return np.asarray(np.where(part >= 0.5, right - gap * (1 - part), left + gap * part))


def _order_statistics(values: Any, ranks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the values at `ranks` (increasing) of the sorted `values`, as float64."""
    xp = namespace(values)
    if xp is not np:
        return np.asarray(xp.partition(values, ranks.tolist())[xp.asarray(ranks)].get(), np.float64)
    if ranks.size > _SORTED:
        return np.asarray(np.sort(values)[ranks], np.float64)
    # One rank at a time, each in what lies above the one before: numpy has vector instructions for a single rank.
    rest, found, begin = values.copy(), [], 0
    for rank in ranks.tolist():
        if rank == begin:
            found.append(rest.min())
            continue
        rest.partition(rank - begin)
        found.append(rest[rank - begin])
        rest, begin = rest[rank - begin + 1 :], rank + 1
    return np.asarray(found, np.float64)


def _integer_range(dtype: np.dtype[Any], low: float | None, high: float | None) -> tuple[int, int]:
    info = np.iinfo(dtype)
    smallest = info.min if low is None else int(np.clip(np.ceil(low), info.min, info.max + 1))
    largest = info.max if high is None else int(np.clip(np.floor(high), info.min - 1, info.max))
    return smallest, largest


def _float_range(dtype: np.dtype[Any], low: float | None, high: float | None) -> tuple[Any, Any]:
    info = np.finfo(dtype)
    bottom = info.min if low is None else max(float(low), float(info.min))
    top = info.max if high is None else min(float(high), float(info.max))
    return np.float64(bottom), np.float64(top)
