"""Global contrast: grey values through the distribution function of the normal law, its middle flattened."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d.execution import map_frames, reduce_frames
from stack3d.model import rebuild, result_dtype, valid_slices
from stack3d.operations import _grey

Redistribute = Literal["leftmost", "left", "full", "none"]
_REDISTRIBUTE = ("leftmost", "left", "full", "none")
_CLIP = (-1.0, 1.0)
_FARTHEST = 6.0  # as far as the curve goes
_LEFTMOST = -3.0  # fewer than 0.14 % of the grey values lie below


@estimator(version=1)
def estimate_contrast(
    da: xr.DataArray,
    *,
    mean: float | None = None,
    sigma: float | None = None,
    clip: tuple[float, float] | None = _CLIP,
    redistribute: Redistribute = "leftmost",
    region: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """Find the curve of grey values that spreads the middle of the histogram.

    Each frame is read once, unless `mean` and `sigma` are given; three numbers of each are kept.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    mean, sigma : float, optional
        Grey values: centre and standard deviation of the normal law; by default those of the measured pixels of good
        slices, for each channel.
    clip : (low, high), optional
        In units of `sigma`, from -6 to 6 (`low` from -3 for ``"leftmost"``, as hardly a pixel lies below): between them
        the density is replaced by its chord, so that the middle of the histogram takes less of the range. None: it is not.
    redistribute : {"leftmost", "left", "full", "none"}
        Who gets the range that is saved: the grey values below the clipped part (dark membranes), those and the clipped part, all alike,
        or nobody (nothing is clipped).
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500))``; add ``by="index"`` to count pixels.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"contrast"``: ``mean`` and ``sigma`` (channel), in grey values of `da`, and the look-up table ``curve``
        (deviation), the fraction of the range from 0 to 1 that a grey value becomes ``deviation`` times `sigma` from the
        mean. NaN where nothing was measured.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> found = stack.stack3d.estimate_contrast(clip=None)
    >>> round(float(found["curve"].sel(deviation=1, method="nearest")), 3)
    0.841
    """
    _grey.check_numbers(da, "global_contrast")
    ends = _check(mean, sigma, clip, redistribute)
    lead = [dim for dim in da.dims[:-2] if dim != "z"]
    shape = tuple(da.sizes[dim] for dim in lead)
    found = {
        name: np.full(shape, np.nan if value is None else float(value))
        for name, value in (("mean", mean), ("sigma", sigma))
    }
    if mean is None or sigma is None:
        measured = _measured(da, region, device)
        found = {
            name: value if given is None else found[name]
            for (name, value), given in zip(measured.items(), (mean, sigma), strict=True)
        }
    variables: dict[str, Any] = {
        "mean": (lead, found["mean"], {"long_name": "centre of the grey values", "units": "grey value"}),
        "sigma": (lead, found["sigma"], {"long_name": "standard deviation of the grey values", "units": "grey value"}),
        "curve": (
            "deviation",
            kernels.contrast.normal_curve(kernels.contrast.DEVIATIONS, ends, redistribute),
            {"long_name": "fraction of the range"},
        ),
    }
    axis = xr.Variable(
        "deviation", kernels.contrast.DEVIATIONS, {"long_name": "distance from the mean", "units": "sigma"}
    )
    return estimates.make("contrast", variables, da, coords={"deviation": axis})


@operation(version=2, estimator=estimate_contrast, check=_grey.check_result_range)
def global_contrast(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    mean: float | None = None,
    sigma: float | None = None,
    clip: tuple[float, float] | None = _CLIP,
    redistribute: Redistribute = "leftmost",
    region: Mapping[str, Any] | None = None,
    out_range: tuple[float, float] | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Spread the middle of the histogram over the range, and give dark grey values more of it.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    estimate : Dataset, optional
        From `estimate_contrast`: its ``curve`` may be looked at and edited. By default made here, from the parameters that
        follow.
    mean, sigma, clip, redistribute, region
        How the curve is found; see `estimate_contrast`.
    out_range : (low, high), optional
        What the fractions 0 and 1 become, within the range of `dtype`: by default the limits of an integer dtype, and
        (0, 1) for floats.
    dtype : dtype, optional
        Of the result, by default that of `da`. Integers are rounded.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is. NaN stays NaN.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        When a channel has no contrast: its pixels become the lower end of `out_range`, as with `rescale_intensity`.

    References
    ----------
    D. Kreinin, P. Gunn, D. Chklovskii and J. Wu, bioRxiv (2023), doi:10.1101/2023.09.14.557785 (hifiem).

    Examples
    --------
    >>> shown = stack.stack3d.global_contrast(dtype="uint8")
    >>> shown.dtype
    dtype('uint8')
    """
    found = _grey.fitted(estimate, da, "contrast")
    out_dtype = result_dtype(dtype, da)
    low, high = _grey.check_out_range(out_range, out_dtype)
    curve = np.asarray(found["curve"].values, dtype=np.float64)
    if curve.shape != kernels.contrast.DEVIATIONS.shape:
        raise ValueError(
            f"estimate has a curve of {curve.shape} values; it must keep its {kernels.contrast.DEVIATIONS.size}"
        )
    usable = (found["sigma"] > 0) & np.isfinite(found["mean"])
    if not bool(usable.all()):
        _grey.warn_of_lower_end("no contrast was measured", low)
    # Every grey value lies beneath a mean that no image has.
    mean_of = found["mean"].where(usable, 1e300)
    sigma_of = found["sigma"].where(usable, 1.0)
    data = map_frames(
        da,
        _curved,
        arguments={"curve": curve, "low": low, "high": high, "dtype": out_dtype},
        per_frame={"mean": mean_of, "sigma": sigma_of},
        dtype=out_dtype,
        device=device,
        label="global contrast",
    )
    return rebuild(da, data)


def _curved(frame: Any, mean: Any, sigma: Any, **arguments: Any) -> tuple[Any, int]:
    return kernels.contrast.global_contrast(frame, float(mean), float(sigma), **arguments)


def _measured(da: xr.DataArray, region: Mapping[str, Any] | None, device: str | None) -> dict[str, np.ndarray]:
    """Return mean and standard deviation of the pixels of all good slices with contrast, by channel."""
    part = _grey.measured(da, region)
    found = reduce_frames(part, _moments, device=device, label="estimate contrast")
    if "z" not in da.dims:
        found = {name: value[..., None] for name, value in found.items()}
    known = (found["pixels"] > 0) & (found["variance"] > 0)
    use = known & valid_slices(da)
    # A stack of nothing but bad slices has the contrast of those.
    use = np.where(use.any(axis=-1, keepdims=True), use, known)
    pixels = np.where(use, found["pixels"], 0)
    total = pixels.sum(axis=-1)
    mean = np.full(total.shape, np.nan)
    np.divide((pixels * np.where(use, found["mean"], 0)).sum(axis=-1), total, out=mean, where=total > 0)
    spread = np.where(use, found["variance"] + (found["mean"] - mean[..., None]) ** 2, 0)
    variance = np.full(total.shape, np.nan)
    np.divide((pixels * spread).sum(axis=-1), total, out=variance, where=total > 0)
    return {"mean": mean, "sigma": np.sqrt(variance)}


def _moments(frame: Any) -> dict[str, float]:
    found = kernels.statistics.frame_statistics(frame)
    pixels = frame.size if frame.dtype.kind in "iu" else int((frame == frame).sum())
    return {"mean": found.mean, "variance": found.std**2, "pixels": pixels}


def _check(mean: Any, sigma: Any, clip: Any, redistribute: Any) -> tuple[float, float] | None:
    for name, value in (("mean", mean), ("sigma", sigma)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}={value!r} must be a number, not {type(value).__name__}")
        if not np.isfinite(float(value)) or (name == "sigma" and float(value) <= 0):
            raise ValueError(
                f"{name}={value!r} must be a finite grey value" + (", positive" if name == "sigma" else "")
            )
    if redistribute not in _REDISTRIBUTE:
        raise ValueError(f"redistribute={redistribute!r} is not allowed; it must be one of {_REDISTRIBUTE}")
    ends = _grey.check_grey_range(clip, "clip")
    lowest = _LEFTMOST if redistribute == "leftmost" else -_FARTHEST
    if ends is not None and redistribute != "none" and not lowest <= ends[0] < ends[1] <= _FARTHEST:
        raise ValueError(
            f"clip={clip!r} must lie from {lowest:g} to {_FARTHEST:g} standard deviations of the mean with "
            f"redistribute={redistribute!r}: beyond, there are no grey values to give the range to"
        )
    return ends
