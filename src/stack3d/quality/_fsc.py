"""Fourier shell correlation: how far into the fine detail two volumes, or two halves of one, agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.grid import is_uniform
from stack3d.model import check_stack, pixel_size, valid_slices, with_loaded_facts
from stack3d.quality._box import boxed
from stack3d.quality._rings import check_size, frequency_unit, ring_plan


def fsc(
    da: xr.DataArray,
    *,
    other: xr.DataArray | None = None,
    sectors: int = 1,
    taper: float = 0.25,
    smooth: int = 1,
    box: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Correlate two volumes in shells of spatial frequency.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        With evenly spaced slices; voxels may be longer along z.
    other : DataArray, optional
        A second volume with the same coordinates. By default the even slices of `da` are compared with its odd ones,
        put back by their distance: half the stack each, of twice the spacing along z.
    sectors : int
        Of elevation, equal from the plane of the slices (0 degrees) to the z axis (90 degrees), at their middles.
    taper : float
        Share of each side that is tapered before the transform (0: none, 1: the Hann window).
    smooth : int
        Odd number of shells whose sums are joined under a Hann window. Thresholds stay those of single shells.
    box : dict, optional
        Part of the frame, fixed or sliding; see `slice_statistics`.

    Returns
    -------
    Dataset
        ``fsc(..., [sector], frequency)``, from -1 to 1, at `frequency` in cycles per unit of the coordinate, up to the
        Nyquist frequency of the slices' plane; ``threshold(criterion, [sector], frequency)`` and ``number([sector],
        frequency)`` as in `frc`; ``measured``, the lesser share of measured voxels; ``ok``, False where there is no
        curve. Missing voxels, and slices marked by ``valid``, stand at the mean. Lazy where `da` is; one channel at a
        time is held in memory, with 9 bytes a voxel for its halves, or 13 for two volumes, beside it.

    Raises
    ------
    ValueError
        When slices are unevenly spaced, coordinates differ, or an argument is not allowed.

    References
    ----------
    G. Harauz, M. van Heel, Optik 73, 146 (1986); M. van Heel, M. Schatz, J. Struct. Biol. 151, 250 (2005),
    doi:10.1016/j.jsb.2005.05.009.

    Examples
    --------
    >>> curve = stack.stack3d.fsc()
    >>> curve["fsc"].dims
    ('frequency',)
    """
    check_stack(da, needs=("z",))
    part = boxed(da, box)
    second = None if other is None else _aligned(da, other, box)
    plan = _plan(part, second is None, sectors, taper, smooth)
    shells = plan.frequency.size
    table = _table(part, second, plan, None, 1 + 6 * sectors * shells)
    values = table.isel(number=slice(1, None)).data
    values = values.reshape(*values.shape[:-1], 6, sectors, shells)
    lead = {name: c.variable for name, c in table.coords.items()}
    found = xr.DataArray(values, dims=(*table.dims[:-1], "kind", "sector", "frequency"), coords=lead)
    found = found.assign_coords(_coords(plan, frequency_unit(part)))
    curve = found.isel(kind=0)
    # The number of coefficients is the shape's, and the same for all channels.
    known = found.isel(dict.fromkeys(table.dims[:-1], 0), drop=True).drop_vars(list(lead), errors="ignore")
    result = xr.Dataset(
        {
            "fsc": curve,
            "threshold": known.isel(kind=slice(2, None)).rename(kind="criterion"),
            "number": known.isel(kind=1),
            "measured": table.isel(number=0),
            "ok": curve.notnull().all(["sector", "frequency"]),
        }
    ).assign_coords(criterion=list(kernels.criteria.CRITERIA))
    names = {
        "fsc": "Fourier shell correlation",
        "number": "independent coefficients of the shell",
        "measured": "share of measured voxels",
        "threshold": "threshold",
        "ok": "whether it was measured",
    }
    for name, variable in result.data_vars.items():
        variable.attrs = {"long_name": names[str(name)]} | ({} if name == "ok" else {"units": "1"})
    return result.isel(sector=0, drop=True) if sectors == 1 else result


@dataclass(frozen=True)
class _ShellPlan:
    halves: bool
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    sectors: int
    taper: float
    smooth: int

    @property
    def frequency(self) -> np.ndarray:
        frequency: np.ndarray = kernels.rings.ring_frequencies(self.shape[1:], self.spacing[1:])
        return frequency


def _plan(part: xr.DataArray, halves: bool, sectors: int, taper: float, smooth: int) -> _ShellPlan:
    import scipy.fft

    flat = ring_plan(part, sectors=sectors, taper=taper, smooth=smooth)
    check_size(flat, part)
    if "z" in part.coords and not is_uniform(part["z"].values):
        raise ValueError("the slices are not evenly spaced, and shells need them to be; use resample first")
    size = pixel_size(part)
    if size.z is None or size.y is None or size.x is None:
        raise ValueError("shells need z in a unit of length where y and x have one; the stack has none along z")
    depth = scipy.fft.prev_fast_len(max(part.sizes["z"] // (2 if halves else 1), 1))
    dz = size.z * (2 if halves else 1)
    return _ShellPlan(halves, (dz, size.y, size.x), (depth, *flat.shape), flat.sectors, flat.taper, flat.smooth)


def _aligned(da: xr.DataArray, other: xr.DataArray, box: Mapping[str, Any] | None) -> xr.DataArray:
    check_stack(other, needs=("z",), name="other")
    try:
        xr.align(da, other, join="exact")
    except (xr.AlignmentError, ValueError) as error:
        raise ValueError(f"other must have the coordinates of the stack, to the bit: {error}") from error
    if dict(da.sizes) != dict(other.sizes):
        raise ValueError(f"other has sizes {dict(other.sizes)}; they must be those of the stack, {dict(da.sizes)}")
    return boxed(other, box)


def _coords(plan: _ShellPlan, unit: str) -> dict[str, Any]:
    angle = (np.arange(plan.sectors) + 0.5) * (90.0 / plan.sectors)
    return {
        "frequency": ("frequency", plan.frequency, {"long_name": "spatial frequency", "units": unit}),
        "sector": ("sector", angle, {"long_name": "elevation from the plane of the slices", "units": "degree"}),
    }


def fsc_cut_offs(
    part: xr.DataArray, *, threshold: str | float, sectors: int, taper: float, smooth: int
) -> xr.DataArray:
    """Return the frequency (..., sector) at which the correlation of even and odd slices falls below `threshold`."""
    plan = _plan(part, True, sectors, taper, smooth)
    table = _table(part, None, plan, threshold, 1 + plan.sectors)
    angle = _coords(plan, frequency_unit(part))["sector"]
    return table.isel(number=slice(1, None)).rename(number="sector").assign_coords(sector=angle)


def _table(
    part: xr.DataArray, second: xr.DataArray | None, plan: _ShellPlan, threshold: str | float | None, width: int
) -> xr.DataArray:
    volumes = [_good(volume) for volume in (part, second) if volume is not None]
    found: xr.DataArray = xr.apply_ufunc(
        _row,
        *(volume.drop_vars(["z", "y", "x", "mask"], errors="ignore") for volume in volumes),
        input_core_dims=[["z", "y", "x"]] * len(volumes),
        output_core_dims=[["number"]],
        kwargs={"plan": plan, "threshold": threshold, "width": width},
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"number": width}, "allow_rechunk": True},
        keep_attrs=False,
    )
    lead = {name: c.variable for name, c in part.coords.items() if set(c.dims) <= set(part.dims[:-3]) and name != "z"}
    return xr.DataArray(found.variable, coords=lead)


def _good(volume: xr.DataArray) -> xr.DataArray:
    valid = valid_slices(with_loaded_facts(volume.isel(y=0, x=0)))
    return volume if valid.all() else volume.where(xr.DataArray(valid, dims="z"))


def _row(*volumes: Any, plan: _ShellPlan, threshold: str | float | None, width: int) -> np.ndarray:
    first, second = _halves(volumes[0]) if plan.halves else volumes
    if not (first.shape[0] and second.shape[0]):
        return np.full(width, np.nan)
    (a, share_a), (b, share_b) = (kernels.shells.transform(_middle(v, plan.shape), plan.taper) for v in (first, second))
    offset = plan.spacing[0] / 2 if plan.halves else 0.0
    sums = kernels.shells.shell_sums(a, b, plan.shape[2], plan.spacing, parts=plan.sectors, offset=offset)
    sums = np.swapaxes(sums, 1, 2)
    number = sums[3] * kernels.rings.independent_share(plan.shape, plan.taper)
    cross, power_a, power_b = kernels.criteria.smoothed(sums[:3], plan.smooth)
    below = np.sqrt(power_a * power_b)
    curve = np.divide(cross, below, out=np.full(cross.shape, np.nan), where=below > 0)
    measured = min(share_a, share_b)
    if threshold is None:
        limits = [kernels.criteria.threshold(name, number) for name in kernels.criteria.CRITERIA]
        return np.concatenate([[measured], *(part.ravel() for part in (curve, number, *limits))])
    number = number * measured
    limit = kernels.criteria.threshold(threshold, number)
    each = zip(curve, limit, number, strict=True)
    ends = [kernels.criteria.crossing(c, line, plan.frequency, n) for c, line, n in each]
    return np.array([measured, *ends])


def _halves(volume: Any) -> tuple[Any, Any]:
    count = volume.shape[0] // 2
    return volume[0 : 2 * count : 2], volume[1 : 2 * count : 2]


def _middle(volume: Any, shape: tuple[int, int, int]) -> Any:
    # The same slices of both halves: what is cut goes at the end of z.
    (top, left) = ((size - used) // 2 for size, used in zip(volume.shape[1:], shape[1:], strict=True))
    return volume[: shape[0], top : top + shape[1], left : left + shape[2]]
