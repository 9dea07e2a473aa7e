"""Levels of slices from pairs of them, over what both show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.operations import _level_measures
from stack3d.windows import reduce_windows

_NORMAL = 1.482602218505602
_WRONG_GAIN, _WRONG_OFFSET = 0.05, 0.25  # how far a pair may contradict the others: log of the gain, spreads
_UNITS = 32  # of a spread, in which offsets are solved for, as what errors are like is fixed there


class _Frame(NamedTuple):
    pixels: Any
    whole: bool
    centre: float
    spread: float


def measured(da: xr.DataArray, lags: int, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return centre and spread of each slice, and ``pairs`` (..., z, lag, 5).

    Those of it and of the one `lag` on, and by how much the two contradict a line, in spreads (1 where this is not asked).
    Over the pixels measured in both, or over what did not change between them; one pass, NaN where there is no pair.
    """
    unchanged = arguments["statistic"] == "unchanged"
    given = {name: arguments[name] for name in (("low", "high") if unchanged else arguments)}
    count = da.sizes["z"]
    start = np.arange(count)
    windows = np.stack([start, np.minimum(start + lags + 1, count)], axis=1)
    return reduce_windows(
        da,
        _changes if unchanged else _compared,
        windows,
        prepare=_cells if unchanged else _prepared,
        prepare_arguments={"given": given},
        arguments={"lags": lags} if unchanged else {"given": given, "lags": lags},
        label="estimate levels",
    )


def _prepared(frame: Any, given: Mapping[str, Any]) -> _Frame:
    whole = frame.dtype.kind != "f" or bool(np.isfinite(frame).all())
    found = _level_measures.centre_and_spread(frame, **given)
    return _Frame(frame, whole, found["centre"], found["spread"])


def _compared(frames: list[_Frame], given: Mapping[str, Any], lags: int) -> dict[str, Any]:
    first = frames[0]
    pairs = np.full((lags, 5), np.nan)
    for lag, second in enumerate(frames[1:]):
        pairs[lag] = [*_of_both(first, second, given), 1.0]
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


def _cells(frame: Any, given: Mapping[str, Any]) -> _Frame:
    means = kernels.unchanged.cells(frame, **given)
    known = means[np.isfinite(means)].astype(np.float64)
    if not known.size:
        return _Frame(means, False, np.nan, np.nan)
    centre = float(np.median(known))
    deviation = float(np.median(np.abs(known - centre))) * _NORMAL
    return _Frame(means, True, centre, deviation or float(known.std()))


def _changes(frames: list[_Frame], lags: int) -> dict[str, Any]:
    first = frames[0]
    pairs = np.full((lags, 5), np.nan)
    for lag, second in enumerate(frames[1:]):
        found = kernels.unchanged.compare(first.pixels, second.pixels)
        if found.gain > 0:
            # Only the ratio of the two counts; their mean says how large a change of level is.
            half, spread = np.sqrt(found.gain), np.sqrt(first.spread * second.spread)
            pairs[lag] = found.first_level, spread / half, found.second_level, spread * half, found.deviation
    return {"centre": first.centre, "spread": first.spread, "pairs": pairs}


def solved(
    found: Mapping[str, np.ndarray],
    good: np.ndarray,
    model: str,
    bounds: tuple[float, float],
    window: Any,
    slice: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gain, offset and which slices are levelled, by weighted least squares over all pairs.

    `found` is what `measured` returns. Pairs that contradict the others lose weight. Good slices too far apart for a pair,
    because those between are bad, are tied by the centres and spreads of each. What slices differ by is known but for one
    constant, so the median of all (or of those around, or one slice) keeps its level.
    """
    pairs, lags = found["pairs"], found["pairs"].shape[-2]
    count = good.shape[-1]
    left = np.concatenate([np.arange(max(count - lag, 0)) for lag in range(1, lags + 1)])
    right = np.concatenate([np.arange(lag, max(count, lag)) for lag in range(1, lags + 1)])
    gain, offset, ok = np.ones(good.shape), np.zeros(good.shape), good.copy()
    for index in np.ndindex(good.shape[:-1]):
        usable = np.flatnonzero(good[index])
        gap = np.flatnonzero(np.diff(usable) > lags)
        before, after = usable[gap], usable[gap + 1]
        first, second = np.concatenate([left, before]), np.concatenate([right, after])
        own = [found[name][index][side] for side in (before, after) for name in ("centre", "spread")]
        own.append(np.ones(gap.size))
        table = np.concatenate([pairs[index][left, right - left - 1], np.stack(own, axis=1)])
        # Not even in what is usual for a pair.
        table = np.where((good[index][first] & good[index][second])[:, np.newaxis], table, np.nan)
        # What is real in the change from slice to slice adds up as in a random walk.
        weights = _trust(table[:, 4]) / (second - first)
        centres, spreads = table[:, [0, 2]], table[:, [1, 3]]
        if model != "offset":
            with np.errstate(invalid="ignore", divide="ignore"):
                ratios = np.log(centres if model == "gain" else spreads)
                change = ratios[:, 1] - ratios[:, 0]
            level, tied = _levels(first, second, change, weights, count, _WRONG_GAIN)
            ok[index] &= tied
            target = _level_measures.targets(level, ok[index], window, slice)
            gain[index] = np.where(ok[index], np.clip(np.exp(target - level), *bounds), 1.0)
            # A slice whose gain is held is off by more at some grey values than at others: no bridge, if there is another.
            held = ok[index] & (gain[index] != np.exp(target - level))
            weights = weights * np.where(held[first] | held[second], 0.01, 1.0)
        if model != "gain":
            typical = np.nanmedian(spreads) if np.isfinite(spreads).any() else 1.0
            unit = (float(typical) or 1.0) / _UNITS
            change = gain[index][second] * centres[:, 1] - gain[index][first] * centres[:, 0]
            weights = weights * (ok[index][first] & ok[index][second])
            level, tied = _levels(first, second, change / unit, weights, count, _WRONG_OFFSET * _UNITS)
            level = level * unit
            ok[index] &= tied
            # What is slow is looked for in grey values as they came, where the tissue is, not about a grey value of 0.
            apart = level - gain[index] * found["centre"][index]
            start = np.nanmedian(np.where(ok[index], apart, np.nan)) if np.any(ok[index] & np.isfinite(apart)) else 0.0
            came = start + (level - start) / gain[index]
            target = _level_measures.targets(came, ok[index], window, slice)
            offset[index] = np.where(ok[index], target - level, 0.0)
            gain[index] = np.where(ok[index], gain[index], 1.0)
    return gain, offset, ok


def _trust(missed: np.ndarray) -> np.ndarray:
    """Return weights of pairs as the variance of what they tell has them; about 1, less for pairs that fit no line."""
    known = np.isfinite(missed)
    usual = float(np.median(missed[known])) if known.any() else 1.0
    return np.where(known, 2 * usual**2 / (usual**2 + missed**2), 0.0) if usual > 0 else known.astype(np.float64)


def _levels(
    first: np.ndarray, second: np.ndarray, change: np.ndarray, weights: np.ndarray, count: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    if count == 1:
        return np.zeros(1), np.ones(1, bool)
    weights = np.where(np.isfinite(change), weights, 0.0)
    found = kernels.solve.positions(first, second, change[:, np.newaxis], weights, count, tolerance=tolerance)
    return found.positions[:, 0], found.ok
