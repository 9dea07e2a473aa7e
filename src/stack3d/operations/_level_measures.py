"""The centre and spread of the grey values of a slice, and what they are brought to."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from stack3d import kernels
from stack3d.operations import _grey

_LINE = 9  # good slices in a window, from which on a line is put through them
_SLOW = 24  # good slices from which on what is slow can be told from what is not
_FINE = 4096  # bins of a frame whose levels cannot be counted one by one


def centre_and_spread(
    frame: np.ndarray, statistic: str, trim: float, low: float | None, high: float | None, as_floats: bool = False
) -> dict[str, float]:
    """Return the centre and the spread of the measured pixels; NaN without any.

    Whole numbers `as_floats` give what the same values as float32 do.
    """
    if as_floats and statistic != "mean" and not (low is None and high is None):
        frame, as_floats = frame.astype(np.float32), False  # a limit is rounded to float32 too
    if statistic == "median":
        centre, spread = kernels.statistics.median_and_mad(frame, low=low, high=high)
    elif statistic == "mean":
        found = kernels.statistics.frame_statistics(frame, low=low, high=high, as_floats=as_floats)
        centre, spread = found.mean, found.std
    else:
        centre, spread = _trimmed(*_distribution(frame, low, high, as_floats), trim)
    return {"centre": float(centre), "spread": float(spread)}


def _distribution(
    frame: Any, low: float | None, high: float | None, as_floats: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return grey values, increasing, and how many pixels have each; floats and 32-bit integers in fine bins."""
    if frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2 and not as_floats:
        counts, first = kernels.statistics.level_counts(frame)
        values = first + np.arange(counts.size, dtype=np.float64)
        inside = (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
        return values[inside], counts[inside]
    mask = None
    if low is not None or high is not None:
        mask = (frame >= (-np.inf if low is None else low)) & (frame <= (np.inf if high is None else high))
    counts, start, step = kernels.histogram.compress(frame, _FINE, None, mask, as_floats=as_floats)
    return start + step * (np.arange(counts.size) + 0.5), counts


def _trimmed(values: np.ndarray, counts: np.ndarray, trim: float) -> tuple[float, float]:
    total = int(counts.sum())
    if not total:
        return np.nan, np.nan
    # A level that lies across a cut counts with the part inside, so that centre and spread do not jump.
    cut = np.clip(np.concatenate([[0], np.cumsum(counts)]), trim * total, (1 - trim) * total)
    weights = np.diff(cut)
    present = weights > 0
    values, weights = values[present], weights[present]
    middle = float(values[np.argmax(weights)])
    mean = float(np.sum(weights * (values - middle)) / weights.sum())
    variance = float(np.sum(weights * (values - middle - mean) ** 2) / weights.sum())
    return middle + mean, float(np.sqrt(variance))


def targets(
    values: np.ndarray, good: np.ndarray, window: int | Literal["auto"] | None, slice: int | None
) -> np.ndarray:
    """Return the target of each slice: the slow part of the good ones, their median, of all or around it, or the value of one.

    The slow part (``"auto"``) of fewer than `_SLOW` slices cannot be told: the median stands for it. Around it, from
    `_LINE` slices on, the value there of a line through them from which those far off are left out: it follows the slow
    change within the window, and is less moved by what the slices scatter than a median.
    """
    count = values.shape[-1]
    if slice is not None:
        return np.repeat(values[..., slice, None], count, axis=-1)
    targets = np.full(values.shape, np.nan)
    for group in np.ndindex(values.shape[:-1]):
        row, use = values[group], good[group]
        if window is None or (window == "auto" and np.count_nonzero(use) < _SLOW):
            targets[group] = np.median(row[use]) if np.any(use) else np.nan
            continue
        if window == "auto":
            targets[group][use] = kernels.walk.slow(row[use], np.flatnonzero(use))
            continue
        for k in np.flatnonzero(use):
            near = _grey.neighbours(window, int(k), count)
            kept = np.flatnonzero(use[near])
            around = row[near][kept]
            if kept.size < _LINE:
                targets[group][k] = np.median(around)
                continue
            places = (kept + near.start - int(k)) / window
            line = np.stack([np.ones(kept.size), places], axis=1)
            fit = kernels.fit.robust(line, around, np.ones(kept.size), weights="tukey", iterations=10)
            targets[group][k] = fit.coefficients[0]
    return targets
