"""Levels of slices from pairs of them, over what both show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.operations import _level_measures
from stack3d.windows import reduce_windows

_WRONG_GAIN, _WRONG_OFFSET = 0.05, 0.25  # how far a pair may contradict the others: log of the gain, spreads


class _Frame(NamedTuple):
    pixels: Any
    whole: bool
    centre: float
    spread: float


def measured(da: xr.DataArray, lags: int, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return centre and spread of each slice, and ``pairs`` (..., z, lag, 4): those of it and of the one `lag` on.

    Over the pixels measured in both; one pass, NaN where there is no pair.
    """
    count = da.sizes["z"]
    start = np.arange(count)
    windows = np.stack([start, np.minimum(start + lags + 1, count)], axis=1)
    return reduce_windows(
        da,
        _compared,
        windows,
        prepare=_prepared,
        prepare_arguments={"given": dict(arguments)},
        arguments={"given": dict(arguments), "lags": lags},
        label="estimate levels",
    )


def _prepared(frame: Any, given: Mapping[str, Any]) -> _Frame:
    whole = frame.dtype.kind != "f" or bool(np.isfinite(frame).all())
    found = _level_measures.centre_and_spread(frame, **given)
    return _Frame(frame, whole, found["centre"], found["spread"])


def _compared(frames: list[_Frame], given: Mapping[str, Any], lags: int) -> dict[str, Any]:
    first = frames[0]
    pairs = np.full((lags, 4), np.nan)
    for lag, second in enumerate(frames[1:]):
        pairs[lag] = _of_both(first, second, given)
    return {"centre": first.centre, "spread": first.spread, "pairs": pairs}


def _of_both(first: _Frame, second: _Frame, given: Mapping[str, Any]) -> list[float]:
    if first.whole and second.whole:
        return [first.centre, first.spread, second.centre, second.spread]
    both = np.isfinite(first.pixels) & np.isfinite(second.pixels)
    out: list[float] = []
    for frame in (first, second):
        found = _level_measures.centre_and_spread(np.where(both, frame.pixels, np.nan).astype(np.float32), **given)
        out += [found["centre"], found["spread"]]
    return out


def solved(
    pairs: np.ndarray, good: np.ndarray, model: str, bounds: tuple[float, float], window: int | None, slice: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gain, offset and which slices are levelled, by weighted least squares over all pairs.

    Pairs that contradict the others lose weight. What slices differ by is known but for one constant, so the median of all
    (or of those around, or one slice) keeps its level.
    """
    lags = pairs.shape[-2]
    count = good.shape[-1]
    first = np.concatenate([np.arange(max(count - lag, 0)) for lag in range(1, lags + 1)])
    second = np.concatenate([np.arange(lag, max(count, lag)) for lag in range(1, lags + 1)])
    # What is real in the change from slice to slice adds up as in a random walk.
    near = 1.0 / (second - first)
    gain, offset, ok = np.ones(good.shape), np.zeros(good.shape), good.copy()
    for index in np.ndindex(good.shape[:-1]):
        table = pairs[index][first, second - first - 1]
        weights = near * (good[index][first] & good[index][second])
        centres, spreads = table[:, [0, 2]], table[:, [1, 3]]
        if model != "offset":
            with np.errstate(invalid="ignore", divide="ignore"):
                ratios = np.log(centres if model == "gain" else spreads)
            level, tied = _levels(first, second, ratios[:, 1] - ratios[:, 0], weights, count, _WRONG_GAIN)
            ok[index] &= tied
            target = _level_measures.targets(level, ok[index], window, slice)
            gain[index] = np.where(ok[index], np.clip(np.exp(target - level), *bounds), 1.0)
        if model != "gain":
            typical = np.nanmedian(spreads) if np.isfinite(spreads).any() else 1.0
            change = gain[index][second] * centres[:, 1] - gain[index][first] * centres[:, 0]
            weights = weights * (ok[index][first] & ok[index][second])
            level, tied = _levels(first, second, change, weights, count, _WRONG_OFFSET * (float(typical) or 1.0))
            ok[index] &= tied
            target = _level_measures.targets(level, ok[index], window, slice)
            offset[index] = np.where(ok[index], target - level, 0.0)
            gain[index] = np.where(ok[index], gain[index], 1.0)
    return gain, offset, ok


def _levels(
    first: np.ndarray, second: np.ndarray, change: np.ndarray, weights: np.ndarray, count: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    if count == 1:
        return np.zeros(1), np.ones(1, bool)
    weights = np.where(np.isfinite(change), weights, 0.0)
    found = kernels.solve.positions(first, second, change[:, np.newaxis], weights, count, tolerance=tolerance)
    return found.positions[:, 0], found.ok
