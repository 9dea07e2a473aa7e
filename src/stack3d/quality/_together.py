"""Several measures of a few pairs of slices in one go: what a report shows, without a pass and a table for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.execution import in_threads
from stack3d.quality import _registration_quality, _sharpness, _snr, _streak_index
from stack3d.quality._rings import ring_plan

SINGLE = ("snr", "noise", "sharpness", "streak_index")
OF_PAIRS = ("ncc", "nmi", "frc_resolution")


class Together(NamedTuple):
    """Numbers by name, one a pair, NaN where not measured; and by name why some could not be."""

    numbers: Mapping[str, np.ndarray]
    faults: Mapping[str, str]


def together(da: xr.DataArray, striped: Sequence[bool]) -> Together:
    """Measure pairs of slices with the defaults of the measures.

    Parameters
    ----------
    da : DataArray (z, y, x)
        In memory: the two slices of each pair, one pair after the other; or one slice.
    striped : sequence of bool
        Of which pairs the streak index is measured.

    Returns
    -------
    Together
        `snr`, `noise`, `sharpness` and `streak_index` are of the first slice of each pair, `ncc`, `nmi` and
        `frc_resolution` of both.
    """
    plan = ring_plan(da, smooth=5)
    count = kernels.similarity.default_bins(da.sizes["y"] * da.sizes["x"])
    pairs = _registration_quality.Plan(("ncc", "nmi", "frc"), count, plan, "1/7")
    data = da.data

    def of(k: int) -> tuple[dict[str, float], dict[str, str]]:
        try:
            frames = [kernels.finite.measurable(data[n]) for n in (2 * k, 2 * k + 1) if n < len(data)]
        except ValueError as error:
            return {}, dict.fromkeys((*SINGLE, *OF_PAIRS), str(error))
        return _measured(frames, pairs, striped[k])

    number = -(-len(data) // 2)
    with np.errstate(all="ignore"):
        found = list(in_threads(of, range(number), number, "report: quality", "pairs"))
    numbers = {
        name: np.array([values.get(name, np.nan) for values, _ in found], np.float64) for name in (*SINGLE, *OF_PAIRS)
    }
    return Together(numbers, {name: text for _, faults in found for name, text in faults.items()})


def _measured(
    frames: list[Any], plan: _registration_quality.Plan, striped: bool
) -> tuple[dict[str, float], dict[str, str]]:
    values: dict[str, float] = {}
    faults: dict[str, str] = {}
    measures: list[tuple[tuple[str, ...], Callable[[], Iterable[float]]]] = [
        (("snr", "noise"), lambda: _snr.by_autocorrelation(frames[0], "parabolic")[[0, 3]]),
        (("sharpness",), lambda: _sharpness.numbers(frames[0], "brenner")[:1]),
    ]
    if striped:
        measures.append((("streak_index",), lambda: _streak_index.numbers(frames[0], None, (1, 1))[:1]))
    if len(frames) == 2:
        measures.append((OF_PAIRS, lambda: _of_pair(frames, plan)))
    for names, measure in measures:
        try:
            with np.errstate(all="ignore"):
                values |= zip(names, measure(), strict=True)
        except (ValueError, TypeError, ArithmeticError) as error:
            faults |= dict.fromkeys(names, str(error))
    return values, faults


def _of_pair(frames: list[Any], plan: _registration_quality.Plan) -> tuple[float, ...]:
    first, second = (_registration_quality.prepared(frame, plan) for frame in frames)
    ncc, nmi, frc, *_ = _registration_quality.of_pair(first, second, plan)
    return ncc, nmi, 1 / frc
