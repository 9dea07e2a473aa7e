"""Giving slices the same distribution of grey values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d.execution import reduce_frames
from stack3d.model import check_stack, rebuild, result_dtype
from stack3d.operations import _exact, _grey

Reference = Literal["mean"] | xr.DataArray | xr.Dataset
Curve = tuple[np.ndarray, np.ndarray]


@estimator(version=1)
def estimate_histogram(
    da: xr.DataArray,
    *,
    reference: Reference = "mean",
    window: int | None = None,
    slice: int | None = None,
    nbins: int = 512,
    range: tuple[float, float] | None = None,
    region: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """Measure the histogram of each slice, and find the curve that takes it to a reference.

    Each frame is read once; only its `nbins` counts are kept.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    reference : "mean", DataArray or Dataset
        What slices are matched to. ``"mean"``: the mean distribution of all good slices. A DataArray: the mean
        distribution of its slices; one frame, a stack, or one with the channels of `da`. A Dataset: the reference
        of an estimate made before by this function.
    window : int, optional
        Instead of the mean of all: the running mean of this many slices around each one, fewer at the ends.
    slice : int, optional
        Instead of the mean of all: one slice, counted from 0 (or from the end, if negative).
    nbins : int
        Bins of each histogram, between 2 and 65536.
    range : (low, high), optional
        Grey values that the bins cover, the same for all slices; values beyond count in the outermost bins. By
        default each slice has its own, from its quantile 0.0005 to 0.9995 and a little beyond, so that hot pixels do
        not coarsen the bins.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"histogram"``. With the leading dims of `da` (channel, z): ``counts(..., bin)``, pixels in each bin;
        ``low`` and ``step``, lower edge of the first bin and width of a bin; ``curve(..., edge)``, the new grey value
        of each edge ``low + step * edge``, which is all that is applied; ``matched``, whether the slice has a curve.
        ``reference_value(..., knot)`` and ``reference_cdf(..., knot)``, the cumulative distribution of the reference,
        are left out with `window`. Missing pixels (NaN, or False in the coordinate ``mask``) are not counted. Slices
        marked bad (``valid``) or blank are not in the reference and not matched.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        When slices hold a single grey value, or no measured pixel.

    Examples
    --------
    >>> histogram = stack.stack3d.estimate_histogram(nbins=64)
    >>> histogram["counts"].dims, int(histogram["counts"][0].sum())
    (('z', 'bin'), 3072)
    """
    _grey.check_numbers(da, "match_histograms")
    _check_reference(da, reference, window, slice)
    if isinstance(nbins, bool) or not isinstance(nbins, int | np.integer):
        raise TypeError(f"nbins={nbins!r} must be a whole number")
    if not 2 <= nbins <= 65536:
        raise ValueError(f"nbins={nbins} must be between 2 and 65536")
    limits = _grey.check_grey_range(range, "range")
    arguments = {"nbins": int(nbins), "limits": limits}
    part = _grey.measured(da, region)
    found = _exact.reduced(part, _counted, arguments=arguments, device=device, label="estimate histogram")
    counts, low, step = found["counts"], found["low"], found["step"]
    matched = _grey.good_slices(da, _grey.are_blank(counts))
    given = _given_reference(da, reference, arguments, device)
    edges = low[..., None] + step[..., None] * np.arange(nbins + 1)
    curve = edges.copy()
    lead = da.dims[:-2]
    has_z = "z" in lead
    groups = counts.shape[:-2] if has_z else counts.shape[:-1]
    references: dict[tuple[int, ...], Curve] = {}
    for group in np.ndindex(groups):
        used = np.atleast_1d(matched[group])
        table = _table(found, group)
        rows = curve[group] if has_z else curve[group][None]
        if given is not None:
            references[group] = given[group]
        elif window is None and np.any(used):
            references[group] = _mean(table, used if slice is None else _only(slice, used, da))
        for k in np.flatnonzero(used):
            target = references[group] if window is None else _mean(table, _around(used, window, int(k)))
            rows[k] = _curve_at(rows[k], (table[0][k], table[1][k], table[2][k]), target)
    narrow = np.uint32 if part.sizes["y"] * part.sizes["x"] < 2**32 else np.int64
    variables: dict[str, Any] = {
        "counts": ((*lead, "bin"), counts.astype(narrow), {"long_name": "pixels", "units": "1"}),
        "low": (lead, low, {"long_name": "lower edge of the first bin", "units": "grey value"}),
        "step": (lead, step, {"long_name": "width of a bin", "units": "grey value"}),
        "curve": ((*lead, "edge"), curve, {"long_name": "new value of each edge", "units": "grey value"}),
        "matched": (lead, matched),
        **_reference_variables(references, groups, lead[: len(groups)]),
    }
    coords = {"bin": np.arange(nbins), "edge": np.arange(nbins + 1)}
    return estimates.make("histogram", variables, da, coords=coords)


@operation(version=1, estimator=estimate_histogram)
def match_histograms(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    reference: Reference = "mean",
    window: int | None = None,
    slice: int | None = None,
    nbins: int = 512,
    range: tuple[float, float] | None = None,
    region: Mapping[str, Any] | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Give slices the distribution of grey values of a reference: the mean of all, by default.

    For specimens that are statistically alike from slice to slice. The curve from old to new grey values is piecewise
    linear and increasing, so that no grey levels merge but by rounding, and a slice that has the distribution of the
    reference comes back unchanged. Where the share of a material changes along z, use `window`, or `level_slices`.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    estimate : Dataset, optional
        Made by `estimate_histogram`, of this stack or of one with its slices (another channel, a crop, a binned
        version). By default made here, from the parameters that follow.
    reference : "mean", DataArray or Dataset
        What slices are matched to. ``"mean"``: the mean distribution of all good slices. A DataArray: the mean
        distribution of its slices; one frame, a stack, or one with the channels of `da`. A Dataset: the reference
        of an estimate made before.
    window : int, optional
        Instead of the mean of all: the running mean of this many slices around each one, fewer at the ends.
    slice : int, optional
        Instead of the mean of all: one slice, counted from 0 (or from the end, if negative).
    nbins : int
        Bins of each histogram, between 2 and 65536.
    range : (low, high), optional
        Grey values that the bins cover; by default found for each slice, so that hot pixels do not coarsen the bins.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is. Each channel has a reference of its own. Slices marked bad (``valid``) or blank are
        unchanged; the coordinate ``histogram_matched`` says which were matched.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        When slices hold a single grey value, or no measured pixel.

    Examples
    --------
    >>> even = stack.stack3d.match_histograms()
    >>> bool(even.mean(["y", "x"]).std() < stack.mean(["y", "x"]).std())
    True
    """
    found = _grey.fitted(estimate, da, "histogram")
    out_dtype = result_dtype(dtype, da)
    data = _exact.mapped(
        da,
        _matched,
        arguments={},
        per_frame={name: found[name] for name in ("low", "step", "curve", "matched")},
        dtype=out_dtype,
        device=device,
        label="match histograms",
        writes=True,
    )
    return rebuild(da, data, {"histogram_matched": found["matched"].variable})


def _counted(
    frame: np.ndarray, nbins: int, limits: tuple[float, float] | None, as_floats: bool = False
) -> dict[str, Any]:
    counts, low, step = kernels.histogram.compress(frame, nbins, limits, as_floats=as_floats)
    return {"counts": counts, "low": low, "step": step}


def _matched(
    frame: np.ndarray,
    low: float,
    step: float,
    curve: np.ndarray,
    matched: bool,
    dtype: np.dtype[Any],
    through: Any = None,
    out: Any = None,
) -> tuple[np.ndarray, int]:
    edges = low + step * np.arange(curve.size)
    if not matched or np.array_equal(edges, curve):
        return kernels.cast.cast_frame(frame, dtype)
    return kernels.curve.apply_curve(frame, edges, curve, dtype, out, through)


def _table(found: dict[str, np.ndarray], group: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts, low, step = (found[name][group] for name in ("counts", "low", "step"))
    return np.atleast_2d(counts), np.atleast_1d(low), np.atleast_1d(step)


def _mean(table: tuple[np.ndarray, np.ndarray, np.ndarray], used: np.ndarray) -> Curve:
    counts, low, step = (column[used] for column in table)
    return kernels.histogram.mixture(counts, low, step)


def _only(slice: int, used: np.ndarray, da: xr.DataArray) -> np.ndarray:
    index = _grey.check_slice(slice, da)
    if not used[index]:
        raise ValueError(
            f"slice={slice} is marked bad or blank and cannot be a reference; good are {np.flatnonzero(used)}"
        )
    return np.asarray(np.arange(used.size) == index)


def _around(used: np.ndarray, window: int, index: int) -> np.ndarray:
    near = np.zeros(used.size, dtype=bool)
    near[_grey.neighbours(window, index, used.size)] = True
    return np.asarray(near & used)


def _curve_at(edges: np.ndarray, histogram: tuple[np.ndarray, float, float], reference: Curve) -> np.ndarray:
    x, y = kernels.histogram.matching_curve(*histogram, *reference)
    if np.array_equal(x, y):
        return edges
    shift = np.interp(edges, x, y - x)  # beyond the ends the last shift is kept
    # Shifts interpolated between knots that fell into one bin may cross by rounding.
    return np.maximum.accumulate(edges + shift)


def _check_reference(da: xr.DataArray, reference: Any, window: Any, slice: Any) -> None:
    _grey.check_window(window, da)
    if slice is not None:
        _grey.check_slice(slice, da)
    chosen = [name for name, value in (("window", window), ("slice", slice)) if value is not None]
    if isinstance(reference, xr.DataArray | xr.Dataset):
        chosen.append("reference")
    elif not (isinstance(reference, str) and reference == "mean"):
        raise ValueError(f"reference={reference!r} is not allowed; it must be 'mean', a DataArray or an estimate")
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} each say what slices are matched to; give one")


def _given_reference(
    da: xr.DataArray, reference: Any, arguments: dict[str, Any], device: str | None
) -> dict[tuple[int, ...], Curve] | None:
    """Return the distribution of the reference for each index of the leading dims of `da` but z."""
    if isinstance(reference, xr.Dataset):
        found = estimates.check(reference, "histogram", name="reference")
        if "reference_cdf" not in found:
            raise ValueError(
                "reference was made with window=, so it has a reference of its own for each slice; give another"
            )
    elif isinstance(reference, xr.DataArray):
        check_stack(reference, name="reference")
        _grey.check_numbers(reference, "reference")
        found = _reference_of(reference, arguments, device)
    else:
        return None
    if "channel" in found.dims and "channel" not in da.coords:
        raise ValueError("reference has channels, the stack has none; choose one with reference.isel(channel=...)")
    found = estimates.at_channels(found, da)
    extra = [dim for dim in found["reference_cdf"].dims if dim not in (*da.dims[:-2], "knot")]
    if extra:
        raise ValueError(f"reference has dims {extra} that the stack (dims {da.dims}) does not have")
    lead = tuple(dim for dim in da.dims[:-2] if dim != "z")
    values = [found[name] for name in ("reference_value", "reference_cdf")]
    sizes = {dim: da.sizes[dim] for dim in lead if dim not in values[0].dims}
    if bool(values[1].isnull().any()):
        raise ValueError("reference has channels without a distribution: no slice of theirs has contrast")
    value, cdf = (v.expand_dims(sizes).transpose(*lead, "knot").values for v in values)
    return {group: (value[group], cdf[group]) for group in np.ndindex(value.shape[:-1])}


def _reference_of(reference: xr.DataArray, arguments: dict[str, Any], device: str | None) -> xr.Dataset:
    stack = _grey.measured(reference, None)
    found = reduce_frames(stack, _counted, arguments=arguments, device=device, label="reference histogram")
    blank = _grey.are_blank(found["counts"])
    nothing = "reference has no slice with contrast that is marked valid"
    if np.all(blank):
        raise ValueError(nothing)
    good = _grey.good_slices(reference, blank)
    lead = reference.dims[:-2]
    groups = good.shape[:-1] if "z" in lead else good.shape
    means = {}
    for group in np.ndindex(groups):
        used = np.atleast_1d(good[group])
        if not np.any(used):
            raise ValueError(nothing)
        means[group] = _mean(_table(found, group), used)
    variables = _reference_variables(means, groups, lead[: len(groups)])
    return estimates.make("histogram", variables, reference)


def _reference_variables(
    references: dict[tuple[int, ...], Curve], groups: tuple[int, ...], dims: Any
) -> dict[str, Any]:
    if not references:
        return {}
    longest = max(value.size for value, _ in references.values())
    value = np.full((*groups, longest), np.nan)
    cdf = np.full((*groups, longest), np.nan)
    for group, (positions, shares) in references.items():
        # Shorter ones go on in even steps at the share 1, groups without a good slice stay empty.
        extra = np.arange(1, longest - positions.size + 1) * (positions[-1] - positions[-2])
        value[group] = np.concatenate([positions, positions[-1] + extra])
        cdf[group] = np.concatenate([shares, np.ones(extra.size)])
    return {
        "reference_value": ((*dims, "knot"), value, {"long_name": "grey value", "units": "grey value"}),
        "reference_cdf": ((*dims, "knot"), cdf, {"long_name": "share of the pixels below", "units": "1"}),
    }
