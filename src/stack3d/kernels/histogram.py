"""Histograms of frames, their mean, and the curve that maps one distribution to another."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels import _histogram_loops as loops
from stack3d.kernels._level_counts import countable, level_table
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._statistics_loops import count_levels, extent
from stack3d.kernels._tails import between, tail_quantiles
from stack3d.kernels.statistics import level_counts, quantiles

_TAIL = 0.0005  # of the pixels, left out at each end when a range is looked for
_MARGIN = 0.05  # of the range found, added at each end


def compress(
    frame: Any,
    nbins: int,
    range: tuple[float, float] | None = None,
    mask: Any = None,
    *,
    as_floats: bool = False,
) -> tuple[np.ndarray[Any, Any], float, float]:
    """Return a frame's histogram on a regular grid that suits its dtype.

    Bins of integers hold a whole and equal number of levels each: their edges lie half-way between levels, so that no
    bin is emptier than its neighbour for arithmetic reasons.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    nbins : int
        At least 1.
    range : (low, high), optional
        Grey values that the bins must cover, the same grid for every frame. By default the frame's own range from
        its quantile 0.0005 to 0.9995, widened by a twentieth at each end: a few hot pixels do not coarsen the bins.
    mask : (y, x) array of bool, optional
        True where a pixel was measured. NaN and infinities are never counted.
    as_floats : bool
        What the same values give as float32, on a grid for floats: 8- and 16-bit integers are counted as they are.

    Returns
    -------
    counts : (nbins,) array of int64
        On the host. Values beyond the grid are counted in the bin at that end.
    low : float
        Lower edge of the first bin (half-integer for integers).
    step : float
        Width of a bin (whole number for integers): the edges are ``low + step * numpy.arange(nbins + 1)``.

    Examples
    --------
    >>> from stack3d.kernels import histogram
    >>> counts, low, step = histogram.compress(np.array([[0, 1, 2, 7]], "uint8"), 4, range=(0, 7))
    >>> counts.tolist(), low, step
    ([2, 1, 0, 1], -0.5, 2.0)
    """
    if nbins < 1:
        raise ValueError(f"nbins must be at least 1, got {nbins}")
    if range is not None and not (np.isfinite(range[0]) and np.isfinite(range[1]) and range[1] >= range[0]):
        raise ValueError(f"range must be two finite numbers, the second not below the first, got {range}")
    if as_floats and not (mask is None and frame.size and on_host(frame) and countable(frame.dtype)):
        frame = frame.astype(np.float32)
    elif as_floats:
        return _as_floats(packed(frame), nbins, range)
    whole = frame.dtype.kind in "iu"
    if whole and frame.dtype.itemsize <= 2:
        levels, first = level_counts(frame, mask)
        low, step = _grid(range if range is not None else _robust_range(levels, first), nbins, True)
        return loops.binned_levels(levels, first, low, 1 / step, nbins), low, step
    low, step = _grid(range if range is not None else _sampled_range(frame, mask), nbins, whole)
    if not on_host(frame):
        return compress_xp(frame, nbins, low, step, mask), low, step
    measured = None if mask is None else packed(mask)
    return loops.count(packed(frame), measured, low, 1 / step, nbins), low, step


def compress_xp(frame: Any, nbins: int, low: float, step: float, mask: Any = None) -> np.ndarray[Any, Any]:
    """`xp` form of the counting in `compress`, on a given grid."""
    xp = namespace(frame)
    values = frame.ravel() if mask is None else frame[mask]
    if values.dtype.kind == "f":
        values = values[xp.isfinite(values)]
    index = _bin_index(values, low, step, nbins)
    counts = xp.bincount(index, minlength=nbins).astype(np.int64)
    return np.asarray(counts.get() if xp is not np else counts)


def mixture(counts: Any, low: Any, step: Any, weights: Any = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the mean of frames' distributions: of their piecewise linear cumulative distributions, on one grid.

    Every frame counts alike, however many pixels of it were measured.

    Parameters
    ----------
    counts : (frames, nbins) array of int
    low, step : (frames,) array of float
        Grids of the histograms, as `compress` returns them.
    weights : (frames,) array of float, optional
        Not negative. Frames without a counted pixel take no part.

    Returns
    -------
    positions : (knots,) array of float64
        Grey values: the common grid where all frames have one, else a grid as fine as the finest of them, of at most
        ``4 * nbins`` bins.
    cdf : (knots,) array of float64
        Share of the pixels below each position, from 0 to 1.

    Raises
    ------
    ValueError
        When no frame has a counted pixel and a weight.

    Examples
    --------
    >>> from stack3d.kernels import histogram
    >>> histogram.mixture([[1, 1], [0, 4]], [0.0, 0.0], [1.0, 1.0])
    (array([0., 1., 2.]), array([0.  , 0.25, 1.  ]))
    """
    counts = np.atleast_2d(np.asarray(counts))
    low = np.broadcast_to(np.asarray(low, np.float64), counts.shape[:1])
    step = np.broadcast_to(np.asarray(step, np.float64), counts.shape[:1])
    share = np.ones(counts.shape[0]) if weights is None else np.asarray(weights, np.float64)
    if share.shape != counts.shape[:1] or bool(np.any(~(share >= 0))):
        raise ValueError(f"weights must be one number of at least 0 per frame ({counts.shape[0]}), got {weights}")
    used = np.flatnonzero((counts.sum(axis=1) > 0) & (share > 0))
    if not used.size:
        raise ValueError("counts has no frame with both a counted pixel and a weight")
    nbins = counts.shape[1]
    positions = _common_grid(low[used], step[used], nbins)
    first: np.ndarray[Any, Any] | None = None
    total = np.zeros(positions.size)
    for k in used:
        cdf = np.interp(positions, _edges(low[k], step[k], nbins), loops.cumulative(counts[k]))
        first = cdf if first is None else first
        # Sums of differences: the mean of equal distributions is that distribution to the bit.
        total += share[k] * (cdf - first)
    assert first is not None
    return positions, np.maximum.accumulate(np.clip(first + total / share[used].sum(), 0.0, 1.0))


def matching_curve(
    counts: Any, low: float, step: float, reference_positions: Any, reference_cdf: Any, *, tail: float = 1e-4
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the monotone piecewise linear curve that gives a frame the distribution of the reference.

    Both distributions are taken as piecewise linear, so the curve is exact, continuous inside the bins, and merges no
    grey levels that the reference keeps apart. A frame whose distribution is the reference gets the exact identity.

    Parameters
    ----------
    counts : (nbins,) array of int
    low, step : float
        The frame's histogram, as `compress` returns it.
    reference_positions, reference_cdf : (knots,) array of float
        As `mixture` returns them.
    tail : float
        Share of the pixels at each end that the curve does not follow; the shift of the last one followed is kept
        there, and beyond.

    Returns
    -------
    x, y : (knots,) array of float64
        `x` strictly increasing, `y` not decreasing: what `curve.apply_curve` takes. A frame without a counted pixel
        gets the identity.

    Examples
    --------
    >>> from stack3d.kernels import histogram
    >>> histogram.matching_curve([2, 2], 0.0, 1.0, [10.0, 12.0, 14.0], [0.0, 0.5, 1.0], tail=0)
    (array([0., 1., 2.]), array([10., 12., 14.]))
    """
    if not 0 <= tail < 0.5:
        raise ValueError(f"tail must be at least 0 and below 0.5, got {tail}")
    counts = np.asarray(counts)
    edges = _edges(low, step, counts.size)
    if not counts.any():
        return edges[[0, -1]], edges[[0, -1]]
    positions, target = (np.ascontiguousarray(part, np.float64) for part in (reference_positions, reference_cdf))
    x, y = loops.matching(edges, loops.cumulative(counts), positions, target, tail)
    return x, y


def _as_floats(frame: Any, nbins: int, range: tuple[float, float] | None) -> tuple[np.ndarray[Any, Any], float, float]:
    info, kind = np.iinfo(frame.dtype), frame.dtype.type
    least, most = extent(frame, kind(info.min), kind(info.max))
    table = level_table(most - least + 1)
    every = 1 if range is not None else _every(frame)
    count_levels(frame, None, least, table, every, False)
    if range is None:
        range = _widened(*_tails_of_levels(table[0], least, frame[::every].size))
    if every > 1:
        count_levels(frame, None, least, table, every, True)
    low, step = _grid(range, nbins, False)
    return loops.binned_levels(table[0], least, low, 1 / step, nbins), low, step


def _tails_of_levels(counts: Any, first: int, pixels: int) -> list[float]:
    """Return the quantiles of `_TAIL` and its counterpart, by numpy's own form as `quantiles` does."""
    places = [share * (pixels - 1) for share in (_TAIL, 1 - _TAIL)]
    left = [int(place) for place in places]
    right = [min(rank + 1, pixels - 1) for rank in left]
    ranks = np.array([left[0], right[0], pixels - 1 - right[1], pixels - 1 - left[1]])
    a, b, d, c = loops.values_at(counts, first, ranks).tolist()
    return [between(a, b, places[0] - left[0]), between(c, d, places[1] - left[1])]


def _edges(low: float, step: float, nbins: int) -> np.ndarray[Any, Any]:
    return low + step * np.arange(nbins + 1)


def _common_grid(low: Any, step: Any, nbins: int) -> np.ndarray[Any, Any]:
    if np.all(low == low[0]) and np.all(step == step[0]):
        return _edges(low[0], step[0], nbins)
    start, end = float(low.min()), float((low + nbins * step).max())
    width = max(float(step.min()), (end - start) / (4 * nbins))
    if np.all(step == np.round(step)):
        width = float(np.ceil(width))  # grids of integers stay on half-integers
    return start + width * np.arange(int(np.ceil((end - start) / width - 1e-9)) + 1)


def _grid(limits: tuple[float, float], nbins: int, whole: bool) -> tuple[float, float]:
    low, high = float(limits[0]), float(limits[1])
    if whole:
        smallest, largest = int(np.floor(low)), int(np.ceil(high))
        step = -(-(largest - smallest + 1) // nbins)
        return smallest - 0.5, float(step)
    if not (high - low) / nbins >= np.finfo(np.float64).tiny:
        # One value: a narrow grid with it in the middle, wide enough for the edges to differ.
        half = max(abs(low), 1.0) * 1e-3
        low, high = low - half, high + half
    return low, (high - low) / nbins


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def _robust_range(levels: np.ndarray[Any, Any], first: int) -> tuple[float, float]:
    total, low, high = loops.ends_of_levels(levels, _TAIL)
    if not total:
        return float(first), float(first + levels.size - 1)
    return _widened(float(low + first), float(high + first))


def _sampled_range(frame: Any, mask: Any) -> tuple[float, float]:
    rows = slice(None, None, _every(frame))
    by = tail_quantiles if on_host(frame) and frame.dtype.kind == "f" else _both_quantiles
    ends = by(frame[rows], _TAIL, None if mask is None else mask[rows])
    if np.isnan(ends[0]):
        ends = _both_quantiles(frame, _TAIL, mask)
    return _widened(float(ends[0]), float(ends[1])) if np.isfinite(ends[0]) else (0.0, 1.0)


def _every(frame: Any) -> int:
    # A quarter of the rows of a large frame says as much about its range.
    return 4 if frame.size >= 2**18 else 1


def _both_quantiles(frame: Any, tail: float, mask: Any) -> np.ndarray[Any, Any]:
    return quantiles(frame, [tail, 1 - tail], mask)


def _bin_index(values: Any, low: float, step: float, nbins: int) -> Any:
    xp = namespace(values)
    place = xp.clip((values.astype(np.float64) - low) * (1 / step), 0, nbins - 1)
    return place.astype(np.int32)
