"""Less noise: by frames alone, or with the help of the slices on either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import device as devices
from stack3d import estimates, execution, kernels
from stack3d._provenance import estimator, operation
from stack3d.model import result_dtype, valid_slices
from stack3d.operations import _grey
from stack3d.operations._missing import through_mask
from stack3d.quality import noise_statistics
from stack3d.windows import centred, map_windows

Method = Literal["nlm", "nlm_z", "tv", "wavelet", "median", "gaussian", "multiscale", "correlated", "same_sign"]
_METHODS = ("nlm", "nlm_z", "tv", "wavelet", "median", "gaussian", "multiscale", "correlated", "same_sign")
_ALONG_Z = {"nlm_z": 1, "median": 0, "gaussian": 0}  # methods that take neighbours, and how many by default
_ON_HOST = ("tv", "wavelet")


@estimator(version=1)
def estimate_noise(
    da: xr.DataArray,
    *,
    sigma: float | None = None,
    poisson: bool = False,
    region: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """Measure how noisy each slice is.

    Each frame is read once, or twice with `poisson`; one number of each is kept.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    sigma : float, optional
        The standard deviation of the noise in grey values, if it is known: nothing is read.
    poisson : bool
        Whether the noise grows with the grey value, as it does where quanta are counted: its gain and zero are then those of
        `noise_statistics`, the median over the good slices of a channel.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500))``; add ``by="index"`` to count pixels.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    Dataset
        Kind ``"noise"``: ``sigma`` (channel, z), the standard deviation of white noise in grey values; ``gain`` and
        ``offset`` (channel), with which the noise has the variance ``gain * grey value + offset``, NaN where it is alike
        everywhere. With them `sigma` is that of the stabilised frame, 1 where the law holds. NaN where fewer than 3 x 3
        pixels were measured.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed; for `poisson` also when the noise of a channel does not grow
        with the grey value.

    References
    ----------
    J. Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996) 300-302,
    doi:10.1006/cviu.1996.0060.

    Examples
    --------
    >>> flat = stack3d.from_array(
    ...     np.random.default_rng(0).normal(100, 5, (2, 64, 64)).astype("float32"), pixel_size=(9, 5, 5)
    ... )
    >>> flat.stack3d.estimate_noise()["sigma"].values.round()
    array([5., 5.])
    """
    _grey.check_numbers(da, "denoise")
    _check_noise(sigma, poisson)
    groups = [dim for dim in da.dims[:-2] if dim != "z"]
    shape = tuple(da.sizes[dim] for dim in groups)
    gain, offset = np.full(shape, np.nan), np.full(shape, np.nan)
    if sigma is not None:
        return _described(da, (), np.float64(sigma), groups, gain, offset)
    part = _grey.measured(da, region)
    if poisson:
        gain, offset = _law(da, part, groups)
    law = {"gain": xr.DataArray(gain, dims=groups), "offset": xr.DataArray(offset, dims=groups)}
    found = execution.reduce_frames(part, _sigma_of, per_frame=law, device=device, label="estimate noise")
    return _described(da, da.dims[:-2], found["sigma"], groups, gain, offset)


def _check_denoise(da: xr.DataArray, method: Any, strength: Any, neighbours: Any, device: str | None) -> None:
    """Raise for what `denoise` refuses, before its noise is estimated."""
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {_METHODS}")
    if isinstance(strength, bool) or not isinstance(strength, Real):
        raise TypeError(f"strength={strength!r} must be a number, not {type(strength).__name__}")
    if not 0 <= float(strength) < np.inf:
        raise ValueError(f"strength={strength!r} must be at least 0 and finite")
    if method == "same_sign" and float(strength) > 1:
        raise ValueError(f"strength={strength!r} must be at most 1 for method={method!r}: it is the share of the means")
    on_gpu = execution._device(da, device) == "gpu" or devices.is_cupy(da.data)
    if method in _ON_HOST and on_gpu:
        raise ValueError(f"device={device!r}: method={method!r} runs on the CPU alone")
    if neighbours is None:
        return
    if isinstance(neighbours, bool) or not isinstance(neighbours, Integral):
        raise TypeError(f"neighbours={neighbours!r} must be a whole number of slices")
    if int(neighbours) < 0:
        raise ValueError(f"neighbours={neighbours} must be at least 0")
    if neighbours and method not in _ALONG_Z:
        raise ValueError(f"neighbours={neighbours} has a meaning only for method in {tuple(_ALONG_Z)}, not {method!r}")
    if neighbours and "z" not in da.dims:
        raise ValueError(f"neighbours={neighbours} counts slices along z, but the stack has dims {da.dims}")


@operation(version=4, estimator=estimate_noise, dear=True, check=_check_denoise)
def denoise(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    method: Method = "nlm",
    strength: float = 1.0,
    neighbours: int | None = None,
    sigma: float | None = None,
    poisson: bool = False,
    region: Mapping[str, Any] | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Take noise away and keep structure.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
        With neighbours, the slices should lie on each other: register before.
    estimate : Dataset, optional
        From `estimate_noise`; by default made here, from `sigma`, `poisson` and `region`.
    method : {"nlm", "nlm_z", "tv", "wavelet", "median", "gaussian", "multiscale", "correlated", "same_sign"}
        ``"nlm"``: non-local means, the mean over places nearby whose surroundings look alike, and with what they show a
        Wiener filter of blocks of 8 x 8 pixels; ``"nlm_z"``: the same with the slices on either side; ``"tv"``: least
        total variation; ``"wavelet"``: coefficients shrunk (BayesShrink); ``"median"`` and ``"gaussian"``: of the
        surroundings; ``"multiscale"``: what of the finest details does not vary together with coarser ones is taken
        away; ``"correlated"``: what of the details at three scales is not correlated with coarser ones more than white
        noise is; ``"same_sign"``: means of the surroundings, over those pixels that lie on the same side of an edge.
    strength : float
        Relative to the noise that was estimated: 2 treats it as twice as strong. Four methods do not look at the noise:
        for ``"gaussian"`` it is the standard deviation in units of 0.8 pixels, for ``"median"`` the reach in pixels (at
        least 1), for ``"correlated"`` the correlation that passes for signal in units of 0.25, for ``"same_sign"`` the
        share of the means in the result (at most 1). 0 changes nothing.
    neighbours : int, optional
        Slices on either side that help: for ``"nlm_z"`` (1 by default), ``"median"`` and ``"gaussian"`` (0). Slices
        marked bad (``valid``) help no other.
    sigma, poisson, region
        How the noise is found; see `estimate_noise`.
    dtype : dtype, optional
        Of the result, by default that of `da`, rounded. Inside, float32.
    device : {"cpu", "gpu", "auto"}, optional
        ``"tv"`` and ``"wavelet"`` run on the CPU alone.

    Returns
    -------
    DataArray
        Lazy where `da` is. Missing pixels (NaN, or False in the coordinate ``mask``) stay as they are and help no other.
        A slice in which no noise was found stays as it is (but for the four methods that do not look at it).

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    References
    ----------
    A. Buades, B. Coll and J.-M. Morel, A non-local algorithm for image denoising, CVPR (2005) 60-65,
    doi:10.1109/CVPR.2005.38.
    K. Dabov, A. Foi, V. Katkovnik and K. Egiazarian, Image denoising by sparse 3-D transform-domain collaborative
    filtering, IEEE Transactions on Image Processing 16 (2007) 2080-2095, doi:10.1109/TIP.2007.901238 (the second step).
    A. Chambolle, An algorithm for total variation minimization and applications, Journal of Mathematical Imaging and
    Vision 20 (2004) 89-97, doi:10.1023/B:JMIV.0000011325.36760.1e.
    S. G. Chang, B. Yu and M. Vetterli, Adaptive wavelet thresholding for image denoising and compression, IEEE
    Transactions on Image Processing 9 (2000) 1532-1546, doi:10.1109/83.862633.
    M. Makitalo and A. Foi, Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise, IEEE
    Transactions on Image Processing 22 (2013) 91-103, doi:10.1109/TIP.2012.2202675.
    D. Kreinin, P. Gunn, D. Chklovskii and J. Wu, bioRxiv (2023), doi:10.1101/2023.09.14.557785 (hifiem).

    Examples
    --------
    >>> clean = stack.stack3d.denoise(method="nlm_z")
    >>> clean.dtype == stack.dtype
    True
    """
    found = _grey.fitted(estimate, da, "noise")
    for name in ("sigma", "gain", "offset"):
        if name not in found:
            raise ValueError(f"estimate has no {name!r}; it must be made by estimate_noise")
    reach = int(_ALONG_Z.get(method, 0) if neighbours is None else neighbours)
    arguments = {"method": method, "strength": float(strength)}

    def run(part: xr.DataArray, kind: np.dtype[Any]) -> Any:
        return _each_channel(part, found, reach, {**arguments, "dtype": kind}, device)

    return through_mask(da, run, result_dtype(dtype, da), "denoise")


def _each_channel(
    da: xr.DataArray, found: xr.Dataset, reach: int, arguments: dict[str, Any], device: str | None
) -> Any:
    """Return the frames of every stack (z, y, x) in `da`, each with its own noise."""
    lead = [dim for dim in da.dims[:-2] if dim != "z"]
    parts = []
    for index in np.ndindex(*(da.sizes[dim] for dim in lead)):
        where = dict(zip(lead, index, strict=True))
        one = da.isel(where)
        own = found.isel({dim: k for dim, k in where.items() if dim in found.dims})
        numbers = {name: own[name] for name in ("sigma", "gain", "offset")}
        data = _stack(one if "z" in one.dims else one.expand_dims("z"), numbers, reach, arguments, device)
        parts.append(data if "z" in one.dims else data[0])
    if not lead:
        return parts[0]
    if da.chunks is None:
        joined = kernels.noise.stacked(parts)
    else:
        import dask.array

        joined = dask.array.stack(parts)
    return joined.reshape(*(da.sizes[dim] for dim in lead), *joined.shape[1:])


def _stack(
    da: xr.DataArray, numbers: Mapping[str, Any], reach: int, arguments: dict[str, Any], device: str | None
) -> Any:
    count = da.sizes["z"]
    windows, good = centred(count, reach), valid_slices(da)
    values: dict[str, Sequence[Any]] = {
        name: [float(v) for v in np.broadcast_to(value.values, (count,))] for name, value in numbers.items()
    }
    values["centre"] = [k - int(start) for k, (start, _) in enumerate(windows)]
    values["use"] = [tuple(bool(flag) for flag in good[start:stop]) for start, stop in windows]
    return map_windows(
        da,
        _denoised,
        windows,
        arguments=arguments,
        per_output=values,
        dtype=arguments["dtype"],
        device=device,
        label="denoise",
    )


def _denoised(frames: list[Any], **arguments: Any) -> tuple[Any, int]:
    return kernels.denoise.denoise(frames, **arguments)


def _sigma_of(frame: Any, gain: Any, offset: Any) -> dict[str, float]:
    if np.isfinite(gain):
        frame = kernels.noise.stabilised(frame.astype(np.float32), float(gain), float(offset))
    return {"sigma": kernels.noise.noise_sigma(frame)}


def _law(da: xr.DataArray, part: xr.DataArray, groups: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and offset of the noise variance over the grey value: medians over good slices, for each channel."""
    table = noise_statistics(part)[["gain", "zero_signal", "ok"]].compute()
    ok = table["ok"].astype(bool) & np.isfinite(table["zero_signal"])
    if "z" in da.dims:
        ok = ok & xr.DataArray(valid_slices(da), dims="z")
    gain = table["gain"].where(ok)
    zero = table["zero_signal"].where(ok)
    if "z" in da.dims:
        gain, zero = gain.median("z"), zero.median("z")
    slope = np.asarray(gain.transpose(*groups).values, dtype=np.float64)
    start = np.asarray(zero.transpose(*groups).values, dtype=np.float64)
    if not np.all(np.isfinite(slope) & (slope > 0)):
        raise ValueError(
            "poisson=True, but in no good slice of a channel is it certain that the noise grows with the grey value: it does not, or "
            "frames are too small or show too few grey values; use poisson=False, or a larger stack, and see "
            "da.stack3d.noise_statistics()"
        )
    return slope, np.asarray(-slope * start)


def _described(
    da: xr.DataArray, dims: Any, sigma: Any, groups: list[Any], gain: np.ndarray, offset: np.ndarray
) -> xr.Dataset:
    variables = {
        "sigma": (tuple(dims), sigma, {"long_name": "standard deviation of the noise", "units": "grey value"}),
        "gain": (tuple(groups), gain, {"long_name": "noise variance per grey value", "units": "grey value"}),
        "offset": (tuple(groups), offset, {"long_name": "noise variance at grey value 0"}),
    }
    return estimates.make("noise", variables, da)


def _check_noise(sigma: Any, poisson: Any) -> None:
    if not isinstance(poisson, bool | np.bool_):
        raise TypeError(f"poisson={poisson!r} must be True or False")
    if sigma is None:
        return
    if isinstance(sigma, bool) or not isinstance(sigma, Real):
        raise TypeError(f"sigma={sigma!r} must be a number, not {type(sigma).__name__}")
    if not 0 <= float(sigma) < np.inf:
        raise ValueError(f"sigma={sigma!r} must be at least 0 and finite, in grey values")
    if poisson:
        raise ValueError(f"sigma={sigma!r} is the noise of all grey values, but poisson=True says it grows; give one")
