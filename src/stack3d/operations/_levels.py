"""Bringing the brightness and contrast of slices to one level by an offset and a gain."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d.model import rebuild, result_dtype
from stack3d.operations import _exact, _grey, _level_measures, _level_pairs

Model = Literal["gain", "offset", "both"]
Statistic = Literal["trimmed", "median", "mean", "unchanged"]
Window = int | Literal["auto"] | None
_MODELS = ("gain", "offset", "both")
_STATISTICS = ("trimmed", "median", "mean", "unchanged")
_LAGS = 2  # of "unchanged": the second lag bridges a slice that spoils the first


@estimator(version=6, needs=("z",))
def estimate_levels(
    da: xr.DataArray,
    *,
    model: Model = "both",
    statistic: Statistic = "trimmed",
    trim: float = 0.05,
    region: Mapping[str, Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    window: Window = None,
    slice: int | None = None,
    lags: int | None = None,
    limits: tuple[float, float] = (0.8, 1.2),
    device: str | None = None,
) -> xr.Dataset:
    """Measure the centre and spread of the grey values of each slice, and find the offset and gain that level them.

    Each frame is read once; a few numbers of each are kept.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
    model : {"both", "gain", "offset"}
        ``"gain"``: the centre is multiplied onto its target, for detectors whose zero is true. ``"offset"``: it is
        shifted there. ``"both"``: the gain brings the spread to its target, the offset then the centre.
    statistic : {"trimmed", "median", "mean", "unchanged"}
        What centre and spread are: mean and standard deviation without the fraction `trim` at each end; median and
        median absolute deviation; or mean and standard deviation of all. ``"unchanged"`` compares neighbouring slices
        instead (see `lags`), by those small cells in which the specimen did not change: more exact where neighbours show
        the same place.
    trim : float
        Fraction left out at each end by ``"trimmed"``, from 0 to below 0.5.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels. Best one that shows the same thing in every slice.
    low, high : float, optional
        Only pixels in this range, both ends included, are measured. Where pores, charging or saturation fill more than
        `trim` of a slice at either end, every statistic but ``"unchanged"`` needs them.
    window : int or "auto", optional
        What is kept along z. A number: slow changes, the target being of this many slices around each one, fewer at the
        ends, the median, or from 9 slices on the robust line through them. ``"auto"``: slow changes, how slow being
        estimated from the stack; fewer than 24 slices are brought to one level. By default nothing: the target is the
        median of all.
    slice : int, optional
        One slice gives the target of all instead, counted from 0 (or from the end, if negative).
    lags : int, optional
        Compare each slice with the next ones, up to this many, over the pixels measured in both (NaN and ``mask`` have no
        part); all pairs are solved for at once. By default 2 with ``"unchanged"``; with the other statistics each slice
        is measured by itself, and pairs are for registered stacks whose slices show different parts of the specimen.
    limits : (low, high)
        Between which the gain is held. With ``"both"``, the offset belongs to the gain as held.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"levels"``, with the leading dims of `da` (channel, z): ``gain`` and ``offset``, of
        ``new = gain * old + offset``; ``centre`` and ``spread`` as measured, ``target_centre`` and ``target_spread``;
        ``levelled``, whether the slice could be measured; ``limited``, whether its gain was held. Slices marked bad
        (``valid``), or without a measured pixel, have no part in targets, gain 1 and offset 0; likewise, where a
        ratio is needed, those whose spread (or centre, for ``"gain"``) is 0.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        When slices cannot be measured.

    Examples
    --------
    >>> levels = stack.stack3d.estimate_levels(model="offset")
    >>> levels["gain"].values
    array([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    _grey.check_numbers(da, "level_slices")
    bounds = _check(da, model, statistic, trim, low, high, window, slice, lags, limits)
    arguments = {"statistic": statistic, "trim": float(trim), "low": low, "high": high}
    part = _grey.measured(da, region)
    if lags is None and statistic == "unchanged":
        lags = _LAGS
    if lags is None:
        found = _exact.reduced(
            part, _level_measures.centre_and_spread, arguments=arguments, device=device, label="estimate levels"
        )
    else:
        found = _level_pairs.measured(part, int(lags), arguments)
    centre, spread = found["centre"], found["spread"]
    divisor = {"gain": centre, "offset": np.ones_like(centre), "both": spread}[model]
    usable = np.isfinite(centre) & (divisor != 0)
    good = _grey.good_slices(da, ~usable)
    if slice is not None and not np.all(good[..., slice]):
        raise ValueError(f"slice={slice} is marked bad or cannot be measured, so it gives no target")
    if lags is not None:
        gain, offset, good = _level_pairs.solved(found, good, model, bounds, window, slice)
        target_centre, target_spread = (
            np.where(good, gain * centre + offset, np.nan),
            np.where(good, gain * spread, np.nan),
        )
    else:
        target_centre = _level_measures.targets(centre, good, window, slice)
        target_spread = _level_measures.targets(spread, good, window, slice)
        gain, offset = np.ones_like(centre), np.zeros_like(centre)
        if model != "offset":
            ratio = (target_centre if model == "gain" else target_spread)[good] / divisor[good]
            gain[good] = np.clip(ratio, *bounds)
        if model != "gain":
            offset[good] = target_centre[good] - gain[good] * centre[good]
    limited = good & ((gain == bounds[0]) | (gain == bounds[1])) & (model != "offset")
    lead = da.dims[:-2]
    variables = {
        "gain": (lead, gain, {"long_name": "gain", "units": "1"}),
        "offset": (lead, offset, {"long_name": "offset", "units": "grey value"}),
        "centre": (lead, centre, {"long_name": f"centre ({statistic})", "units": "grey value"}),
        "spread": (lead, spread, {"long_name": f"spread ({statistic})", "units": "grey value"}),
        "target_centre": (lead, target_centre, {"long_name": "target of the centre", "units": "grey value"}),
        "target_spread": (lead, target_spread, {"long_name": "target of the spread", "units": "grey value"}),
        "levelled": (lead, good),
        "limited": (lead, limited),
    }
    return estimates.make("levels", variables, da)


@operation(version=6, needs=("z",), estimator=estimate_levels)
def level_slices(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    model: Model = "both",
    statistic: Statistic = "trimmed",
    trim: float = 0.05,
    region: Mapping[str, Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    window: Window = None,
    slice: int | None = None,
    lags: int | None = None,
    limits: tuple[float, float] = (0.8, 1.2),
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Level brightness and contrast from slice to slice by an offset, a gain, or both: ``gain * old + offset``.

    Unlike `match_histograms` it cannot bend the grey scale: two materials stay as far apart, in relation, as they were.
    Where the specimen itself changes along z, give a `window`, or all slices are brought to one level.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
    estimate : Dataset, optional
        Made by `estimate_levels`, of this stack or of one with its slices. By default made here, from the parameters
        that follow.
    model : {"both", "gain", "offset"}
        ``"gain"``: the centre is multiplied onto its target, for detectors whose zero is true. ``"offset"``: it is
        shifted there. ``"both"``: the gain brings the spread to its target, the offset then the centre.
    statistic : {"trimmed", "median", "mean", "unchanged"}
        What centre and spread are: mean and standard deviation without the fraction `trim` at each end; median and
        median absolute deviation; or mean and standard deviation of all. ``"unchanged"`` compares neighbouring slices
        instead (see `lags`), by those small cells in which the specimen did not change: more exact where neighbours show
        the same place.
    trim : float
        Fraction left out at each end by ``"trimmed"``, from 0 to below 0.5.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels. Best one that shows the same thing in every slice.
    low, high : float, optional
        Only pixels in this range, both ends included, are measured. Where pores, charging or saturation fill more than
        `trim` of a slice at either end, every statistic but ``"unchanged"`` needs them.
    window : int or "auto", optional
        What is kept along z. A number: slow changes, the target being of this many slices around each one, fewer at the
        ends, the median, or from 9 slices on the robust line through them. ``"auto"``: slow changes, how slow being
        estimated from the stack; fewer than 24 slices are brought to one level. By default nothing: the target is the
        median of all.
    slice : int, optional
        One slice gives the target of all instead, counted from 0 (or from the end, if negative).
    lags : int, optional
        Compare each slice with the next ones, up to this many, over the pixels measured in both (NaN and ``mask`` have no
        part); all pairs are solved for at once. By default 2 with ``"unchanged"``; with the other statistics each slice
        is measured by itself, and pairs are for registered stacks whose slices show different parts of the specimen.
    limits : (low, high)
        Between which the gain is held. With ``"both"``, the offset belongs to the gain as held.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is, with the coordinates ``intensity_gain`` and ``intensity_offset`` of this step, and
        ``intensity_levelled``: False for slices left as they are, because they are marked bad (``valid``) or could
        not be measured.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        When slices cannot be measured.

    Notes
    -----
    ``model="gain", statistic="mean"`` with `region`, `low`, `high` and `limits` is the "intensity_rescaling_area" of
    PyStack3D: each slice is multiplied by the median over slices of their means, divided by its own, but rounded
    instead of truncated, and without the stack turning to 0 when a slice has no pixel in the range.

    Examples
    --------
    >>> level = stack.stack3d.level_slices(model="gain")
    >>> level.intensity_gain.dims
    ('z',)
    """
    found = _grey.fitted(estimate, da, "levels")
    out_dtype = result_dtype(dtype, da)
    data = _exact.mapped(
        da,
        _levelled,
        arguments={},
        per_frame={"gain": found["gain"], "offset": found["offset"]},
        dtype=out_dtype,
        device=device,
        label="level slices",
        writes=True,
    )
    coords = {f"intensity_{name}": found[name].variable for name in ("gain", "offset", "levelled")}
    return rebuild(da, data, coords)


def _levelled(
    frame: np.ndarray, gain: float, offset: float, dtype: np.dtype[Any], through: Any = None, out: Any = None
) -> tuple[np.ndarray, int]:
    if gain == 1 and offset == 0:
        return kernels.cast.cast_frame(frame, dtype)
    return kernels.curve.scale_offset(frame, float(gain), float(offset), dtype, out=out)


def _check(
    da: xr.DataArray,
    model: Any,
    statistic: Any,
    trim: Any,
    low: Any,
    high: Any,
    window: Any,
    slice: Any,
    lags: Any,
    limits: Any,
) -> tuple[float, float]:
    if model not in _MODELS:
        raise ValueError(f"model={model!r} is not allowed; it must be one of {_MODELS}")
    if statistic not in _STATISTICS:
        raise ValueError(f"statistic={statistic!r} is not allowed; it must be one of {_STATISTICS}")
    for name, value in (("trim", trim), ("low", low), ("high", high)):
        if not (isinstance(value, Real) or (value is None and name != "trim")):
            raise TypeError(f"{name}={value!r} must be a number, not {type(value).__name__}")
    if not 0 <= trim < 0.5:
        raise ValueError(f"trim={trim!r} must be at least 0 and below 0.5")
    for name, value in (("low", low), ("high", high)):
        if value is not None and not np.isfinite(value):
            raise ValueError(f"{name}={value!r} must be a finite grey value")
    if low is not None and high is not None and not low < high:
        raise ValueError(f"low={low!r} must be below high={high!r}")
    if isinstance(window, str):
        if window != "auto":
            raise ValueError(f"window={window!r} must be 'auto', None or a number of slices")
        window = None
    _grey.check_window(window, da)
    if lags is not None and (isinstance(lags, bool) or not isinstance(lags, int | np.integer) or lags < 1):
        raise ValueError(f"lags={lags!r} must be a whole number of slices, at least 1")
    if slice is not None:
        _grey.check_slice(slice, da)
        if window is not None:
            raise ValueError(f"window={window} and slice={slice} each give the target; give one")
    bounds = _grey.check_grey_range(limits, "limits")
    if bounds is None or not 0 < bounds[0] <= 1 <= bounds[1]:
        raise ValueError(f"limits={limits!r} must be (low, high) with 0 < low <= 1 <= high")
    return bounds
