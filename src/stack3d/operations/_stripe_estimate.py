"""The direction and strength of the stripes of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator
from stack3d._warn import warn
from stack3d.execution import reduce_frames
from stack3d.model import one_channel, valid_slices
from stack3d.operations import _grey

_MANY = 32  # slices that are looked at unless the user asks for more
_LEAST = 6.0  # score of the ridge in the spectra of all slices together
_WITHIN = 3.0  # degrees between a slice and the stack


class NoStripesWarning(UserWarning):
    """No direction of stripes was found."""


@estimator(version=1)
def estimate_stripes(
    da: xr.DataArray,
    *,
    channel: str | None = None,
    region: Mapping[str, Any] | None = None,
    subsample: int | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """Find the direction of the stripes of a stack, and how strong they are.

    Stripes are long: in the spectrum their energy is a narrow ridge through the origin, which is compared with its
    flanks. The spectra of all slices together give the direction, twice through the slices that are looked at.

    Parameters
    ----------
    da : DataArray (..., y, x)
    channel : str, optional
        The only one that is looked at; by default all together, as one beam mills for all.
    region : dict, optional
        Part of the frame, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add ``by="index"`` to count
        pixels. At least 24 pixels a side.
    subsample : int, optional
        Every so many slices are looked at; by default as many as make at most 32 slices.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"stripes"``. For the stack ``stack_angle`` (degrees, counter-clockwise on the screen, 0 along y; NaN
        where no stripes were found), ``stack_rms`` (root mean square of the stripes along it, median of slices, in
        grey values), and ``stack_score``, by how many standard deviations of all directions it stands out. For each
        slice that was looked at, with the leading dims of `da` (channel, z): ``angle`` (NaN where its own cannot be
        told), ``rms`` and ``share``, of the standard deviation of the frame. Slices marked bad (``valid``) have no
        part in the stack's.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> found = stack.stack3d.estimate_stripes()
    >>> found["angle"].dims
    ('z',)
    """
    _grey.check_numbers(da, "estimate_stripes")
    if channel is not None:
        da = one_channel(da, channel)
    looked = _grey.measured(da, region)
    if min(looked.sizes["y"], looked.sizes["x"]) < kernels.direction.LEAST_SIDE:
        raise ValueError(
            f"estimate_stripes needs frames of at least {kernels.direction.LEAST_SIDE} pixels a side; "
            f"these have {looked.sizes['y']} x {looked.sizes['x']}"
        )
    if "z" in da.dims:
        step = _checked_step(subsample, da.sizes["z"])
        da, looked = da.isel(z=slice(None, None, step)), looked.isel(z=slice(None, None, step))
    elif subsample is not None:
        raise ValueError(f"subsample={subsample!r} counts slices along z, but the stack has dims {da.dims}")
    lead = looked.dims[:-2]
    first = reduce_frames(looked, _ridges, device=device, label="estimate stripes")
    good = first["good"] & (valid_slices(da) if "z" in lead else True)
    angle, rms, share = (np.full(good.shape, np.nan) for _ in range(3))
    stack_angle, stack_rms, stack_score = np.nan, 0.0 if np.any(good) else np.nan, np.nan
    if np.any(good):
        curve = kernels.direction.ridge_curve(first["sums"][good].mean(axis=0, dtype=np.float64))
        peak, stack_score = kernels.direction.best_direction(curve)
        rms[first["good"]] = share[first["good"]] = 0.0
        if stack_score >= _LEAST:
            arguments = {"angle": peak}
            own = reduce_frames(looked, _along, arguments=arguments, device=device, label="estimate stripes")
            near = np.abs((own["angle"] - peak + 90) % 180 - 90) <= _WITHIN
            clear = near & own["seen"]
            if np.any(clear & good):
                angle[clear], rms, share = own["angle"][clear], own["rms"], own["share"]
                stack_angle = _middle(own["angle"][clear & good], own["rms"][clear & good], peak)
                stack_rms = float(np.median(rms[good]))
    variables = {
        "angle": (lead, angle, {"long_name": "angle of the stripes", "units": "degree"}),
        "rms": (lead, rms, {"long_name": "root mean square of the stripes", "units": "grey value"}),
        "share": (lead, share, {"long_name": "stripes over standard deviation", "units": "1"}),
        "stack_angle": ((), stack_angle, {"long_name": "angle of the stripes of the stack", "units": "degree"}),
        "stack_rms": ((), stack_rms, {"long_name": "root mean square of the stripes, median", "units": "grey value"}),
        "stack_score": ((), stack_score, {"long_name": "standard deviations of all directions", "units": "1"}),
    }
    return estimates.make("stripes", variables, da)


def check_angle(angle: Any) -> None:
    """Raise unless `angle` is a direction, ``"auto"`` or None."""
    if angle is None or angle == "auto":
        return
    if isinstance(angle, bool) or not isinstance(angle, Real):
        raise TypeError(f"angle={angle!r} must be a number of degrees or 'auto', not {type(angle).__name__}")
    if not np.isfinite(float(angle)):
        raise ValueError(f"angle={angle!r} must be a finite number of degrees")


def angle_of(estimate: xr.Dataset | None, angle: Any) -> float | None:
    """Return the direction that `destripe` is to take: that of `estimate` or the number; None where there is none.

    Raises
    ------
    ValueError
        When both are given.

    Warns
    -----
    NoStripesWarning
        When the estimate found no stripes.
    """
    if estimate is None:
        return float(angle or 0.0)
    if angle not in (None, "auto"):
        raise ValueError(f"angle={angle!r} and estimate= each give the direction of the stripes; give one")
    found = float(estimates.check(estimate, "stripes")["stack_angle"])
    if np.isfinite(found):
        return found
    warn(
        "no direction of stripes was found, so the stack is left as it is; give angle=, in degrees, to destripe all "
        "the same",
        NoStripesWarning,
    )
    return None


def _checked_step(subsample: Any, count: int) -> int:
    if subsample is None:
        return -(-count // _MANY)
    if isinstance(subsample, bool) or not isinstance(subsample, int | np.integer):
        raise TypeError(f"subsample={subsample!r} must be a whole number of slices")
    if subsample < 1:
        raise ValueError(f"subsample={subsample} must be at least 1")
    return int(subsample)


def _middle(angles: np.ndarray, weights: np.ndarray, peak: float) -> float:
    """Return the weighted median of directions around one."""
    turns = (angles - peak + 90) % 180 - 90
    order = np.argsort(turns)
    share = np.cumsum(weights[order])
    middle = turns[order][int(np.searchsorted(share, 0.5 * share[-1]))]
    return float(kernels.direction.upright(peak + middle))


def _ridges(frame: Any) -> dict[str, Any]:
    direction = kernels.direction
    found = kernels.spectrum.spectrum(frame)
    good = direction.measurable(found)
    sums = direction.ridge_sums(found, direction.whitened(found)[0]) if good else direction.no_sums()
    return {"sums": sums, "good": np.bool_(good)}


def _along(frame: Any, angle: float) -> dict[str, Any]:
    direction = kernels.direction
    found = kernels.spectrum.spectrum(frame)
    if not direction.measurable(found):
        return {"angle": np.nan, "seen": np.bool_(False), "rms": np.nan, "share": np.nan}
    flat, power = direction.whitened(found)
    own = direction.measured(found, power, flat, direction.refined(found, power, flat, angle), np.nan)
    return {"angle": own.angle, "seen": np.bool_(direction.seen(own)), "rms": own.rms, "share": own.share}
