"""Pixels of the detector, or of the scan, that are wrong in every slice."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d.execution import map_frames
from stack3d.grid import spacing_of
from stack3d.model import rebuild, valid_slices
from stack3d.operations import _grey
from stack3d.operations._mean_frame import mean_frame

Kind = Literal["both", "hot", "dark"]
_LEVELS = 64
_DEVIATIONS = 10.0
_PARTS = 4  # of the stack, in each of which a bad pixel is bad
_LASTING = 0.5  # share of its distance in the whole that it keeps in each of them


@estimator(version=2)
def detect_hot_pixels(
    da: xr.DataArray,
    *,
    threshold: float | None = None,
    deviations: float = _DEVIATIONS,
    kind: Kind = "both",
    size: int = 5,
    combine: Literal["each", "any"] = "each",
    device: str | None = None,
) -> xr.Dataset:
    """Find pixels that stand out from their neighbours in the mean of all slices.

    The specimen changes from slice to slice and fades in the mean; what is wrong in every slice stays.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
        As acquired: once slices are moved, a bad pixel is at another place in each. Slices marked bad (``valid``) and
        missing pixels (NaN, or False in ``mask``) have no part.
    threshold : float, optional
        How far, in grey values, the mean of a pixel must lie from the median of its neighbours. By default `deviations`
        times the robust standard deviation (1.4826 MAD) of that distance over the frame, channel by channel, and also times
        that of the pixels around it; and in each quarter of the slices the pixel must stand out at least half as far: fine
        structure does not.
    deviations : float
        See `threshold`.
    kind : {"both", "hot", "dark"}
        Whether pixels too bright, too dark, or both are bad.
    size : int
        Odd edge of the window of neighbours, in pixels; the pixel itself is left out. Groups of bad pixels of up to
        nearly half of the window are found.
    combine : {"each", "any"}
        ``"any"``: a pixel that is bad in one channel is bad in all.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"hot_pixels"``, with the leading dims of `da` but z: ``hot_pixels`` (y, x) int8, 1 hot, -1 dark, 0 good;
        ``hot`` and ``dark``, how many there are; ``threshold`` as used; ``scale``, the robust standard deviation of the
        residual; ``curve_hot`` and ``curve_dark`` (level), how many pixels a threshold of each ``level`` would give.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> spoilt = stack.copy(deep=True)
    >>> spoilt[:, 10, 20] = 60000
    >>> found = spoilt.stack3d.detect_hot_pixels()
    >>> int(found["hot"]), int(found["dark"]), int(found["hot_pixels"][10, 20])
    (1, 0, 1)
    """
    _grey.check_numbers(da, "detect_hot_pixels")
    _check_detection(threshold, deviations, kind, size, combine)
    part = _grey.measured(da, None)
    mean = mean_frame(part, "detect hot pixels", device)
    lead = tuple(dim for dim in da.dims[:-2] if dim != "z")
    shape = mean.shape[:-2]
    residual = np.empty(mean.shape, np.float32)
    for index in np.ndindex(shape):
        residual[index] = _residual(mean[index], size)
    scale, used = np.full(shape, np.nan), np.full(shape, np.nan)
    for index in np.ndindex(shape):
        scale[index] = 1.4826 * kernels.statistics.median_and_mad(residual[index])[1]
        used[index] = scale[index] * deviations if threshold is None else threshold
    used[np.isnan(scale)] = np.nan
    # Rounding of the mean is no defect, where frames are equal but for a few pixels.
    limit = np.maximum(used, 1e-6 * np.nanmax(np.abs(mean), initial=0.0))[..., None, None]
    flags = (residual > limit).astype(np.int8) * (kind != "dark")
    flags -= (residual < -limit).astype(np.int8) * (kind != "hot")
    if threshold is None:
        flags *= _is_lone(residual, flags, deviations, size)
        flags *= _lasts(part, residual, flags, size, device)
    if combine == "any" and "channel" in lead:
        flags = _in_all(flags, lead.index("channel"))
    largest = float(np.nanmax(np.abs(residual), initial=0.0))
    level = np.geomspace(1e-4, 1.0, _LEVELS) * (largest or 1.0)
    above, below = _counts(residual, level)
    grey = {"units": "grey value"}
    variables = {
        "hot_pixels": ((*lead, "y", "x"), flags, {"long_name": "1 hot, -1 dark, 0 good"}),
        "hot": (lead, (flags > 0).sum(axis=(-2, -1)), {"long_name": "hot pixels", "units": "1"}),
        "dark": (lead, (flags < 0).sum(axis=(-2, -1)), {"long_name": "dark pixels", "units": "1"}),
        "threshold": (lead, used, {"long_name": "threshold of the residual", **grey}),
        "scale": (lead, scale, {"long_name": "robust standard deviation of the residual", **grey}),
        "curve_hot": ((*lead, "level"), above, {"long_name": "pixels above", "units": "1"}),
        "curve_dark": ((*lead, "level"), below, {"long_name": "pixels below", "units": "1"}),
    }
    places = {dim: da[dim].variable for dim in ("y", "x") if dim in da.coords}
    return estimates.make("hot_pixels", variables, da, coords={"level": ("level", level, grey), **places})


def _check_filling(method: Any, window: Any) -> None:
    """Raise for what `fill_pixels` refuses, before bad pixels are looked for."""
    if method not in ("median", "mean", "inpaint"):
        raise ValueError(f"method={method!r} is not allowed; it must be 'median', 'mean' or 'inpaint'")
    _check_size(window, "window")


@operation(version=2, estimator=detect_hot_pixels, check=_check_filling)
def fill_pixels(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    threshold: float | None = None,
    deviations: float = _DEVIATIONS,
    kind: Kind = "both",
    size: int = 5,
    combine: Literal["each", "any"] = "each",
    method: Literal["median", "mean", "inpaint"] = "median",
    window: int = 3,
    device: str | None = None,
) -> xr.DataArray:
    """Replace bad pixels by what the good pixels around them say, slice by slice.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    estimate : Dataset, optional
        From `detect_hot_pixels`, made here from the next parameters if not given. It serves parts of the frame, and
        other channels where it has none. Its ``hot_pixels`` may be edited: what is not 0 is filled.
    threshold, deviations, kind, size, combine
        How bad pixels are found; see `detect_hot_pixels`.
    method : {"median", "mean", "inpaint"}
        Of the good pixels in the window; or the smoothest surface through the good pixels around (thin plate), which
        follows slopes and edges, also across larger groups.
    window : int
        Odd edge of the window of ``"median"`` and ``"mean"``, in pixels; where all in it are bad it grows. Bad pixels
        never take part, missing ones neither.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Of the dtype of `da`, rounded; lazy where `da` is. A bad pixel is filled where it is missing too, if a good
        neighbour was measured; with a coordinate ``mask``, pixels that it marks as missing stay as they are.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed; also where the frame of `estimate` is another one.

    Examples
    --------
    >>> spoilt = stack.copy(deep=True)
    >>> spoilt[:, 10, 20] = 60000
    >>> filled = spoilt.stack3d.fill_pixels()
    >>> bool(abs(filled.astype(float) - stack.astype(float)).max() < 1000)
    True
    """
    _grey.check_numbers(da, "fill_pixels")
    _check_filling(method, window)
    found = _in_frame(_grey.fitted(estimate, da, "hot_pixels"), da)
    sources = _sources(found, da, method, window)
    with_mask = "mask" in da.coords
    whole = da.where(da["mask"]) if with_mask else da
    arguments = {"dtype": da.dtype, "method": "weights" if method == "inpaint" else method, "known": sources[1]}
    data = map_frames(
        whole,
        _filled,
        arguments=arguments,
        per_frame={"number": sources[0]},
        dtype=whole.dtype,
        device=device,
        label="fill pixels",
    )
    if not with_mask:
        return rebuild(da, data)
    # Values were rounded in the float frame that holds NaN for the mask: back to the dtype without loss.
    return rebuild(da, whole.copy(data=data).where(da["mask"], da).astype(da.dtype).transpose(*da.dims).data)


def _filled(frame: Any, number: int, known: list[Any], dtype: Any, method: str) -> Any:
    # A float frame of an integer stack holds its missing pixels: nothing is cut when it goes back.
    return kernels.neighbours.fill(frame, known[int(number)], method, dtype)


def _sources(found: xr.Dataset, da: xr.DataArray, method: str, window: int) -> tuple[xr.DataArray, list[Any]]:
    """Return the number of the mask of each frame, and the sources of each mask."""
    flags = found["hot_pixels"].transpose(..., "y", "x")
    bad = np.asarray(flags.values != 0)
    lead = flags.dims[:-2]
    unknown = [dim for dim in lead if dim not in da.dims]
    if unknown:
        raise ValueError(
            f"estimate has {flags.sizes[unknown[0]]} values along {unknown[0]!r}, a dim that the stack (dims {da.dims}) "
            f"lacks; choose one with estimate.isel({unknown[0]}=...)"
        )
    known = []
    for index in np.ndindex(bad.shape[:-2]):
        if bad[index].all():
            raise ValueError("estimate says that all pixels are bad; there is nothing to fill them from")
        sources = kernels.neighbours
        known.append(
            sources.smooth_sources(bad[index]) if method == "inpaint" else sources.window_sources(bad[index], window)
        )
    number = np.arange(len(known)).reshape(bad.shape[:-2])
    return xr.DataArray(number, dims=lead), known


def _in_frame(found: xr.Dataset, da: xr.DataArray) -> xr.Dataset:
    """Return the part of an estimate that belongs to the rows and columns of `da`, matched by their positions."""
    for dim in ("y", "x"):
        if dim not in found.coords or dim not in da.coords:
            if found.sizes[dim] != da.sizes[dim]:
                raise ValueError(
                    f"estimate has {found.sizes[dim]} pixels along {dim}, the stack {da.sizes[dim]}; without positions "
                    "it serves frames of its own size only"
                )
            continue
        have, want = found[dim].values, da[dim].values
        if np.array_equal(have, want):
            continue
        tolerance = 1e-3 * spacing_of(da, dim)
        nearest = np.clip(np.searchsorted(have, want - tolerance), 0, have.size - 1)
        wrong = np.abs(have[nearest] - want) > tolerance
        if np.any(wrong):
            raise ValueError(
                f"estimate has no pixel at {dim} = {want[np.argmax(wrong)]:g} (it covers {have[0]:g} to {have[-1]:g}, "
                f"{have.size} pixels); bad pixels belong to the frame as acquired, or to parts of it"
            )
        found = found.isel({dim: nearest})
    return found


def _residual(mean: np.ndarray, size: int) -> np.ndarray:
    # Less a level amid the frame first: float32 has few digits where the offset is large.
    level = kernels.statistics.median_and_mad(mean[::4, ::4])[0]
    level = level if np.isfinite(level) else 0.0
    frame = (mean - level).astype(np.float32)
    return np.asarray(frame - kernels.neighbours.local_median(frame, size))


def _is_lone(residual: np.ndarray, flags: np.ndarray, deviations: float, size: int) -> np.ndarray:
    """Return where residuals stand out of those around as well, of the pixels with a flag: texture does not."""
    lone = np.zeros(flags.shape, bool)
    for index in np.ndindex(flags.shape[:-2]):
        where = flags[index] != 0
        around = kernels.neighbours.local_median(np.abs(residual[index]), 2 * size - 1, where)
        lone[index] = where & ~(np.abs(residual[index]) <= 1.4826 * deviations * around)
    return lone


def _lasts(
    da: xr.DataArray, residual: np.ndarray, flags: np.ndarray, size: int, device: str | None
) -> np.ndarray | bool:
    """Return where residuals are there in each part of the stack, of the pixels with a flag: structure ends along z."""
    good = np.flatnonzero(valid_slices(da)) if "z" in da.dims else np.zeros(0, int)
    if good.size < _PARTS or not flags.any():
        return True
    lasting: np.ndarray = np.asarray(flags != 0)
    for slices in np.array_split(good, _PARTS):
        mean = mean_frame(da.isel(z=slices), "look at hot pixels again", device)
        for index in np.ndindex(flags.shape[:-2]):
            there = _residual(mean[index], size) * np.sign(residual[index])
            # Where a part has no measured pixel it says nothing.
            lasting[index] &= ~(there < _LASTING * np.abs(residual[index]))
    return lasting


def _in_all(flags: np.ndarray, axis: int) -> np.ndarray:
    hot, dark = ((flags * sign > 0).any(axis=axis, keepdims=True) for sign in (1, -1))
    return np.broadcast_to(np.where(hot, 1, np.where(dark, -1, 0)), flags.shape).astype(np.int8)


def _counts(residual: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pixels lie above each level, and how many below its negative."""
    above = np.zeros((*residual.shape[:-2], level.size), np.int64)
    below = np.zeros_like(above)
    for index in np.ndindex(residual.shape[:-2]):
        ordered = np.sort(residual[index], axis=None)
        ordered = ordered[: ordered.size - int(np.isnan(residual[index]).sum())]  # NaN come last
        above[index] = ordered.size - np.searchsorted(ordered, level, side="right")
        below[index] = np.searchsorted(ordered, -level, side="left")
    return above, below


def _check_size(size: Any, name: str) -> None:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 3 or size % 2 == 0:
        raise ValueError(f"{name}={size!r} must be an odd whole number of pixels, at least 3")


def _check_detection(threshold: Any, deviations: Any, kind: Any, size: Any, combine: Any) -> None:
    if threshold is not None:
        _grey.check_positive(threshold, "threshold")
    _grey.check_positive(deviations, "deviations")
    if threshold is not None and deviations != _DEVIATIONS:
        raise ValueError(f"deviations={deviations} has a meaning only without threshold={threshold}; give one")
    if kind not in ("both", "hot", "dark"):
        raise ValueError(f"kind={kind!r} is not allowed; it must be 'both', 'hot' or 'dark'")
    if combine not in ("each", "any"):
        raise ValueError(f"combine={combine!r} is not allowed; it must be 'each' or 'any'")
    _check_size(size, "size")
