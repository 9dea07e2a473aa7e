"""Resolution: the finest detail that is more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from stack3d.grid import units_of
from stack3d.model import check_stack
from stack3d.quality._box import boxed
from stack3d.quality._frc import describe, ring_coords, ring_table
from stack3d.quality._fsc import fsc_cut_offs
from stack3d.quality._rings import check_size, check_threshold, frequency_unit, ring_plan

METHODS = ("frc", "frc-split", "fsc")


def resolution(
    da: xr.DataArray,
    *,
    method: str = "frc",
    threshold: str | float = "1/7",
    lag: int = 1,
    sectors: int = 1,
    taper: float = 0.25,
    smooth: int = 5,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Measure the resolution: the inverse of the frequency at which a Fourier correlation falls below a threshold.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    method : {"frc", "frc-split", "fsc"}
        ``"frc"``: between slices k and k + `lag`; ``"frc-split"``: within each slice, for details above four pixels;
        ``"fsc"``: of the volume, between its even and odd slices. See `frc` and `fsc`.
    threshold : {"1/7", "half-bit", "1-bit", "3-sigma"} or float
        1/7 is where the sum of both frames has half signal, half noise. Others are taken at the number of independent
        coefficients of each ring, less the share of missing pixels.
    lag : int
        Distance of the slices of a pair, counted.
    sectors : int
        Of direction, as in `frc` and `fsc`.
    taper : float
        Share of each side that is tapered (0: none, 1: the Hann window).
    smooth : int
        Odd number of rings whose sums are joined under a Hann window, so that the noise of one ring is not taken for
        the end of the curve.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        ``resolution(..., [z], [sector])`` in the unit of the coordinate, ``frequency`` in cycles per that unit, and
        ``ok``: False, with NaN, where the curve crosses the threshold nowhere (better than the pixels can show, or noise
        from the start), a slice is blank or marked by ``valid``, or there is no pair. The search begins at the first ring
        of 20 independent coefficients. Lazy where `da` is.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.

    References
    ----------
    M. van Heel, M. Schatz, J. Struct. Biol. 151, 250 (2005), doi:10.1016/j.jsb.2005.05.009; P. B. Rosenthal,
    R. Henderson, J. Mol. Biol. 333, 721 (2003), doi:10.1016/j.jmb.2003.07.013.

    Examples
    --------
    >>> finest = stack.stack3d.resolution(threshold="half-bit")
    >>> finest["resolution"].attrs["units"]
    'nm'
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {', '.join(map(repr, METHODS))}")
    check_stack(da, needs=() if method == "frc-split" else ("z",))
    check_threshold(threshold)
    part = boxed(da, box)
    good: xr.DataArray | bool = True
    if method == "fsc":
        frequency = fsc_cut_offs(part, threshold=threshold, sectors=sectors, taper=taper, smooth=smooth)
    else:
        plan = ring_plan(part, sectors=sectors, taper=taper, smooth=smooth, split=method == "frc-split")
        check_size(plan, part)
        table, good = ring_table(part, plan, lag, threshold, plan.sectors)
        angle = ring_coords(plan, frequency_unit(part))["sector"]
        frequency = table.isel(number=slice(1, None)).rename(number="sector").assign_coords(sector=angle)
    result = xr.Dataset({"resolution": 1 / frequency, "frequency": frequency, "ok": frequency.notnull() & good})
    units = {"resolution": units_of(part, "x"), "frequency": frequency_unit(part)}
    describe(result, {"resolution": "resolution", "frequency": "frequency where the correlation ends"}, units)
    return result.isel(sector=0, drop=True) if sectors == 1 else result
