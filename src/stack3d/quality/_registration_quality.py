"""How well neighbouring slices fit on one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.grid import units_of
from stack3d.model import check_stack
from stack3d.quality._box import boxed
from stack3d.quality._frc import describe
from stack3d.quality._pairs import measured_pairs, pairs_of
from stack3d.quality._rings import (
    RingFrame,
    RingPlan,
    check_threshold,
    cut_offs,
    frequency_unit,
    pair_curve,
    prepare,
    ring_plan,
)

METRICS = ("ncc", "nsad", "nmi", "frc")
_NAMES = {
    "ncc": "normalised cross-correlation",
    "nsad": "normalised sum of absolute differences",
    "nmi": "normalised mutual information",
    "frc": "frequency where the ring correlation ends",
    "frc_resolution": "resolution by ring correlation",
    "overlap": "share of pixels measured in both slices",
}


def registration_quality(
    da: xr.DataArray,
    *,
    metrics: Sequence[str] = METRICS,
    lag: int = 1,
    bins: int | None = None,
    threshold: str | float = "1/7",
    taper: float = 0.25,
    smooth: int = 5,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure how alike the slices of each pair are, in place.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
    metrics : sequence of {"ncc", "nsad", "nmi", "frc"}
        ``ncc``: Pearson's correlation, up to 1 for equal slices. ``nsad``: ``mean |a - b|`` over the mean signal above the
        dark level, which is the quantile 0.01 of each slice; 0 for equal slices, and not blind to brightness. ``nmi``:
        Studholme's mutual information less 1, corrected for the number of pixels: 0 for independent slices, 1 for equal
        ones, whatever their contrast. ``frc``: the frequency at which the Fourier ring correlation falls below `threshold`.
    lag : int
        Distance of the slices of a pair, counted.
    bins : int, optional
        Levels of ``nmi``, from 2 to 254, by default the cube root of the number of pixels, from 8 to 128. Values are
        comparable for equal numbers only.
    threshold, taper, smooth
        Of the ring correlation; see `resolution`.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        A float64 variable (..., z) for each metric, ``frc`` in cycles per unit of the coordinate and ``frc_resolution``,
        its inverse; ``overlap``, the share of pixels measured in both; ``ok``, False where a slice of the pair is blank,
        marked by ``valid``, or nothing is measured in both. z is the middle of the pair, with its slices in the
        coordinates ``first`` and ``second``, counted from 0. What cannot be measured is NaN, so is ``frc`` where the curve
        ends nowhere (equal slices) or is below from the start, or where frames are smaller than 8 pixels; a stack without
        such a pair gives one row of NaN. Lazy where `da` is; each frame is read and transformed once.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.

    References
    ----------
    C. Studholme, D. L. G. Hill, D. J. Hawkes, Pattern Recognit. 32, 71 (1999), doi:10.1016/S0031-3203(98)00091-0;
    M. van Heel, M. Schatz, J. Struct. Biol. 151, 250 (2005), doi:10.1016/j.jsb.2005.05.009.

    Examples
    --------
    >>> quality = stack.stack3d.registration_quality(metrics=("ncc", "nmi"))
    >>> quality["ncc"].sizes["z"] == stack.sizes["z"] - 1
    True
    """
    check_stack(da, needs=("z",))
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    if not wanted or len(set(wanted)) < len(wanted) or set(wanted) - set(METRICS):
        raise ValueError(f"metrics={metrics!r} must be different names among {', '.join(map(repr, METRICS))}")
    if bins is not None and (isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 2 <= bins <= 254):
        raise ValueError(f"bins={bins!r} must be a whole number from 2 to 254")
    check_threshold(threshold)
    part = boxed(da, box)
    rings = ring_plan(part, taper=taper, smooth=smooth)
    count = kernels.similarity.default_bins(part.sizes["y"] * part.sizes["x"]) if bins is None else int(bins)
    plan = Plan(tuple(wanted), count, rings, threshold)
    pairs = pairs_of(part, lag)
    table = measured_pairs(
        part,
        pairs,
        of_pair,
        len(wanted) + 2,
        prepare=prepared,
        prepare_arguments={"plan": plan},
        arguments={"plan": plan},
        label="registration quality",
    )
    result = xr.Dataset({name: table.isel(number=k) for k, name in enumerate([*wanted, "overlap"])})
    units = {}
    if "frc" in wanted:
        result["frc_resolution"] = 1 / result["frc"]
        units = {"frc": frequency_unit(part), "frc_resolution": units_of(part, "x")}
    result["ok"] = (table.isel(number=-1) == 1) & xr.DataArray(pairs.good, dims="z")
    describe(result, _NAMES, units)
    return result


class Plan(NamedTuple):
    """How pairs are measured; picklable."""

    metrics: tuple[str, ...]
    bins: int
    rings: RingPlan
    threshold: str | float


class _Frame(NamedTuple):
    pixels: Any
    dark: float
    levels: Any
    rings: RingFrame | None


def prepared(frame: Any, plan: Plan) -> _Frame:
    """Return what the measures of pairs need of a frame."""
    similarity = kernels.similarity
    dark = similarity.dark_level(frame) if "nsad" in plan.metrics else np.nan
    levels = similarity.levels(frame, plan.bins) if "nmi" in plan.metrics else None
    rings = prepare(frame, plan.rings) if "frc" in plan.metrics and plan.rings.enough else None
    return _Frame(frame, dark, levels, rings)


def of_pair(first: _Frame, second: _Frame, plan: Plan) -> np.ndarray:
    """Return each metric of a pair of frames, the share of pixels measured in both, and whether that is enough."""
    similarity = kernels.similarity
    moments = similarity.pair_moments(first.pixels, second.pixels)
    correlation = similarity.correlation(moments)
    row = []
    for metric in plan.metrics:
        if metric == "ncc":
            row.append(correlation)
        elif metric == "nsad":
            row.append(similarity.relative_difference(moments, first.dark, second.dark))
        elif metric == "nmi":
            counts = similarity.joint_histogram(first.levels, second.levels)
            row.append(similarity.normalised_information(similarity.entropies(counts)))
        else:
            row.append(_cut_off(first.rings, second.rings, plan))
    overlap = moments.pixels / (first.pixels.shape[0] * first.pixels.shape[1])
    return np.array([*row, overlap, float(np.isfinite(correlation))])


def _cut_off(first: RingFrame | None, second: RingFrame | None, plan: Plan) -> float:
    if first is None or second is None:
        return np.nan
    curve = pair_curve(first, second, plan.rings)
    return float(cut_offs(curve, min(first.measured, second.measured), plan.rings, plan.threshold)[0])
