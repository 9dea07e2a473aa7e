"""Fourier ring correlation: how far into the fine detail two slices, or one split in itself, agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.execution import map_frames
from stack3d.model import check_stack, valid_slices, with_loaded_facts
from stack3d.quality._box import boxed
from stack3d.quality._pairs import measured_pairs, pairs_of
from stack3d.quality._rings import (
    RingFrame,
    RingPlan,
    check_size,
    cut_offs,
    frequency_unit,
    pair_curve,
    prepare,
    ring_plan,
    split_curve,
)

METHODS = ("neighbours", "split")


def frc(
    da: xr.DataArray,
    *,
    method: str = "neighbours",
    lag: int = 1,
    sectors: int = 1,
    taper: float = 0.25,
    smooth: int = 1,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Correlate slices in rings of spatial frequency.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    method : {"neighbours", "split"}
        ``"neighbours"``: slice k with slice k + `lag`, aligned. What differs between them counts as noise: the curve is
        a lower bound for each. ``"split"``: each slice by itself, cut into the four images of every second pixel, all
        six pairs of which are compared; the noise of neighbouring pixels must be independent. It reaches half the
        Nyquist frequency and is scaled to what two whole frames would give.
    lag : int
        Distance of the slices of a pair, counted.
    sectors : int
        Of direction, each centred at a multiple of ``180 / sectors`` degrees, counter-clockwise from x as seen on the
        screen; 0 are details that follow one another along x. Pixels that are not square do not skew them.
    taper : float
        Share of each side that is tapered before the transform (0: none, 1: the Hann window).
    smooth : int
        Odd number of rings whose sums are joined under a Hann window. Thresholds stay those of single rings.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        ``frc(..., z, [sector], frequency)``, the real part of the normalised sum, from -1 to 1, at `frequency` in
        cycles per unit of the coordinate; ``threshold(criterion, [sector], frequency)`` for ``"1/7"``, ``"half-bit"``,
        ``"1-bit"`` and ``"3-sigma"``, and ``number([sector], frequency)``, the independent coefficients behind it, for
        frames measured everywhere; ``measured``, the lesser share of measured pixels; ``ok``, False where there is no
        curve (a blank slice, no pair) or a slice is marked by ``valid``. For neighbours z is the middle of the pair,
        with its slices in the coordinates ``first`` and ``second``; a stack without such a pair gives one row of NaN.
        Missing pixels stand at the mean. Lazy where `da` is; each frame is transformed once.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.

    References
    ----------
    M. van Heel, M. Schatz, J. Struct. Biol. 151, 250 (2005), doi:10.1016/j.jsb.2005.05.009; splitting: S. Koho et al.,
    Nat. Commun. 10, 3103 (2019), doi:10.1038/s41467-019-11024-z.

    Examples
    --------
    >>> curve = stack.stack3d.frc()
    >>> curve["frc"].dims
    ('z', 'frequency')
    >>> curve["frequency"].attrs["units"]
    '1/nm'
    """
    _check(da, method)
    part = boxed(da, box)
    plan = ring_plan(part, sectors=sectors, taper=taper, smooth=smooth, split=method == "split")
    check_size(plan, part)
    rings = plan.rings()
    table, good = ring_table(part, plan, lag, None, plan.sectors * rings.frequency.size)
    values = table.isel(number=slice(1, None)).data
    values = values.reshape(*values.shape[:-1], plan.sectors, rings.frequency.size)
    curve = xr.DataArray(values, dims=(*table.dims[:-1], "sector", "frequency"), coords=_lead(table))
    curve = curve.assign_coords(ring_coords(plan, frequency_unit(part)))
    number = xr.DataArray(plan.number(), dims=("sector", "frequency"))
    limits = [kernels.criteria.threshold(name, number.values) for name in kernels.criteria.CRITERIA]
    result = xr.Dataset(
        {
            "frc": curve,
            "threshold": (("criterion", "sector", "frequency"), np.stack(limits)),
            "number": number,
            "measured": table.isel(number=0, drop=True),
            "ok": curve.notnull().all(["sector", "frequency"]) & good,
        }
    ).assign_coords(criterion=list(kernels.criteria.CRITERIA))
    describe(result, {"frc": "Fourier ring correlation", "number": "independent coefficients of the ring"})
    return result.isel(sector=0, drop=True) if plan.sectors == 1 else result


def _check(da: xr.DataArray, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {', '.join(map(repr, METHODS))}")
    check_stack(da, needs=("z",) if method == "neighbours" else ())


def describe(result: xr.Dataset, names: Mapping[str, str], units: Mapping[str, str] | None = None) -> None:
    """Give the variables their names and units, in place."""
    known = {"measured": "share of measured pixels", "threshold": "threshold", "ok": "whether it was measured"}
    for name, variable in result.data_vars.items():
        variable.attrs = {"long_name": {**known, **names}.get(str(name), str(name))}
        if variable.dtype != bool:
            variable.attrs["units"] = (units or {}).get(str(name), "1")


def ring_coords(plan: RingPlan, unit: str) -> dict[str, Any]:
    """Return the coordinates ``frequency`` and ``sector``."""
    angle = np.arange(plan.sectors) * (180.0 / plan.sectors)
    return {
        "frequency": ("frequency", plan.rings().frequency, {"long_name": "spatial frequency", "units": unit}),
        "sector": ("sector", angle, {"long_name": "direction", "units": "degree"}),
    }


def _lead(table: xr.DataArray) -> dict[Any, Any]:
    return {name: c.variable for name, c in table.coords.items() if "number" not in c.dims}


def ring_table(
    part: xr.DataArray, plan: RingPlan, lag: int, threshold: str | float | None, width: int
) -> tuple[xr.DataArray, xr.DataArray | bool]:
    """Return (..., [z], number): the measured share, then the curve, or with a `threshold` the cut-offs of the sectors.

    And which rows are of slices that no coordinate marks as bad.
    """
    given = {"plan": plan, "threshold": threshold}
    if not plan.split:
        pairs = pairs_of(part, lag)
        table = measured_pairs(
            part,
            pairs,
            _pair_row,
            1 + width,
            prepare=prepare,
            prepare_arguments={"plan": plan},
            arguments=given,
            label="ring correlation",
        )
        return table, xr.DataArray(pairs.good, dims="z")
    lead = part.dims[:-2]
    values = map_frames(
        part, _split_row, arguments=given, shape=(1, 1 + width), dtype=np.float64, label="ring correlation"
    )
    coords = {name: c.variable for name, c in part.coords.items() if set(c.dims) <= set(lead)}
    table = xr.DataArray(values, dims=(*lead, "y", "number"), coords=coords).isel(y=0)
    if "z" not in lead:
        return table, True
    return table, xr.DataArray(valid_slices(with_loaded_facts(part.isel(y=0, x=0))), dims="z")


def _pair_row(first: RingFrame, second: RingFrame, plan: RingPlan, threshold: str | float | None) -> np.ndarray:
    return _row(pair_curve(first, second, plan), min(first.measured, second.measured), plan, threshold)


def _split_row(frame: Any, plan: RingPlan, threshold: str | float | None) -> np.ndarray:
    prepared = prepare(frame, plan)
    return _row(split_curve(prepared, plan), prepared.measured, plan, threshold)[None]


def _row(curve: np.ndarray, measured: float, plan: RingPlan, threshold: str | float | None) -> np.ndarray:
    found = curve if threshold is None else cut_offs(curve, measured, plan, threshold)
    return np.concatenate([[measured], found.ravel()])
