"""Several detectors added to one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d._warn import warn
from stack3d.execution import whole_frames
from stack3d.model import rebuild, result_dtype, valid_slices
from stack3d.operations import _grey
from stack3d.windows import map_windows, reduce_windows

NAME = "fused"
_LEAST_SIDE = 8
_WEIGHT = {"long_name": "weight in the sum", "units": "1"}


@estimator(version=1)
def estimate_fusion(
    da: xr.DataArray,
    *,
    weights: Mapping[str, float] | Sequence[float] | str = "snr",
    fractions: Sequence[float] | None = None,
    region: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Find the weights of channels whose sum has the best signal-to-noise ratio.

    Parameters
    ----------
    da : DataArray (channel, [z], y, x)
        Channels that show the same structure.
    weights : "snr", dict or sequence
        ``"snr"``: those of the best ratio, in closed form, from one pass over the stack; or given, without one,
        ``{"SE": 0.7, "BSE": 0.3}``, channels not named having 0, or one number a channel. They are divided by their
        sum.
    fractions : sequence of float, optional
        With two channels: fractions of the second at which the ratio of the sum is given; by default 0 to 1 in steps of
        0.02.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500))``; add ``by="index"`` to count pixels.

    Returns
    -------
    Dataset
        Kind ``"fusion"``: ``weight`` (channel), summing to 1. With ``"snr"`` also ``snr`` (channel) and ``snr_fused`` (power
        ratios), ``gain``, ``snr_fused`` over the best single channel; ``signal`` and ``noise`` (channel), standard
        deviations; ``curve`` (fraction) for two channels. From the medians over the good slices of what each gives.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed; for ``"snr"`` also when a channel has no signal or no noise,
        or shows the structure of others inverted, and where frames have fewer than 8 pixels a side.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 500, (2, *stack.shape)) * np.reshape([1, 2], (2, 1, 1, 1))
    >>> two = stack3d.from_array((stack.values + noise).astype("float32"), pixel_size=5, channel=["SE", "BSE"])
    >>> found = two.stack3d.estimate_fusion()
    >>> found["weight"].values.round(1)
    array([0.8, 0.2])
    """
    _grey.check_numbers(da, "fuse_channels")
    names = _names(da)
    given = _given(weights, names)
    try:
        grid = np.linspace(0, 1, 51) if fractions is None else np.asarray(fractions, dtype=np.float64)
    except (TypeError, ValueError):
        grid = np.full(1, np.nan)
    if grid.ndim != 1 or not grid.size or not np.all((grid >= 0) & (grid <= 1)):
        raise ValueError(f"fractions={fractions!r} must be numbers from 0 to 1")
    if fractions is not None and len(names) != 2:
        raise ValueError(f"fractions are those of the second of two channels; the stack has {names}")
    if fractions is not None and given is not None:
        raise ValueError(
            f"fractions={fractions!r} has a meaning only with weights='snr', not with weights that are given"
        )
    like = da if "channel" in da.dims else da.drop_vars("channel", errors="ignore")
    if given is not None:
        return estimates.make("fusion", {"weight": (("channel",), given, _WEIGHT)}, like)
    signal, noise = _measured(da, region, len(names))
    _check_measured(signal, noise, names)
    given = kernels.fusion.best_weights(signal, noise)
    strength, level = np.diag(signal), np.diag(noise)
    snr = strength / level
    fused = kernels.fusion.ratio(given, signal, noise)
    power = {"units": "1"}
    dims = ("channel",)
    variables: dict[str, Any] = {
        "weight": (dims, given, _WEIGHT),
        "snr": (dims, snr, {"long_name": "signal-to-noise ratio (power)", **power}),
        "signal": (dims, np.sqrt(strength), {"long_name": "signal", "units": "grey value"}),
        "noise": (dims, np.sqrt(level), {"long_name": "noise", "units": "grey value"}),
        "snr_fused": ((), fused, {"long_name": "signal-to-noise ratio of the sum", **power}),
        "gain": ((), fused / snr.max(), {"long_name": "gain over the best channel", **power}),
    }
    coords: dict[str, Any] = {}
    if len(names) == 2:
        curve = [kernels.fusion.ratio((1 - f, f), signal, noise) for f in grid]
        variables["curve"] = ("fraction", np.array(curve), {"long_name": "signal-to-noise ratio of the sum", **power})
        coords["fraction"] = ("fraction", grid, {"long_name": f"fraction of {names[1]}"})
    return estimates.make("fusion", variables, like, coords=coords)


@operation(version=1, estimator=estimate_fusion)
def fuse_channels(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    weights: Mapping[str, float] | Sequence[float] | str = "snr",
    fractions: Sequence[float] | None = None,
    region: Mapping[str, Any] | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Add the channels of a stack to one.

    Parameters
    ----------
    da : DataArray (..., [channel], [z], y, x)
        A stack without a dim channel is one channel, and comes back as it is, with a warning.
    estimate : Dataset, optional
        From `estimate_fusion`, made here from the next parameters if not given. Its channels must be those of `da`.
    weights, fractions, region
        See `estimate_fusion`.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        One channel ``"fused"``, the dim kept, so that ``xr.concat([da, fused], "channel")`` puts it beside the others; lazy
        where `da` is. A pixel is missing (NaN) where one of the channels used is. Facts of single channels are dropped; a
        ``mask`` is True where all channels used were measured.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> two = xr.concat([stack, stack // 2], xr.DataArray(["SE", "BSE"], dims="channel"))
    >>> fused = two.stack3d.fuse_channels(weights={"SE": 0.5, "BSE": 0.5})
    >>> fused.channel.values.tolist(), fused.sizes["channel"], fused.dtype == stack.dtype
    (['fused'], 1, True)
    """
    _grey.check_numbers(da, "fuse_channels")
    out_dtype = result_dtype(dtype, da)
    found = estimates.check(estimate, "fusion")
    if "channel" not in da.dims:
        warn(
            f"fuse_channels: the stack has dims {da.dims} and no 'channel', so that there is nothing to add; its values stay"
        )
        return rebuild(da, da.data if out_dtype == da.dtype else _cast(da, out_dtype))
    found = estimates.at_channels(found, da)
    if found.sizes["channel"] != da.sizes["channel"]:
        raise ValueError(
            f"estimate has {found.sizes['channel']} channels, the stack {da.sizes['channel']}; they must be the same"
        )
    weight = np.asarray(found["weight"].values, dtype=np.float64)
    turned = _turned(da)
    data = map_windows(
        turned,
        _weighted,
        np.array([[0, weight.size]]),
        arguments={"weights": weight, "dtype": out_dtype},
        dtype=out_dtype,
        device=device,
        label="fuse channels",
    )
    one = xr.DataArray(data, dims=turned.dims)
    back = one.rename({"z": "channel", **({"_slice": "z"} if "z" in da.dims else {})}).transpose(*da.dims)
    coords: dict[str, Any] = {"channel": [NAME]} if "channel" in da.coords else {}
    if "mask" in da.coords:
        used = da["mask"].isel(channel=np.flatnonzero(weight)) if "channel" in da["mask"].dims else da["mask"]
        whole = used.all("channel", keepdims=True) if "channel" in used.dims else used
        coords["mask"] = whole.drop_vars("channel", errors="ignore").variable
    drop = [name for name, c in da.coords.items() if "channel" in c.dims and name not in coords]
    return rebuild(da, back.data, coords, drop=drop)


def _cast(da: xr.DataArray, dtype: np.dtype[Any]) -> Any:
    from stack3d.execution import map_frames

    return map_frames(da, _as_dtype, arguments={"dtype": dtype}, dtype=dtype, label="fuse channels")


def _as_dtype(frame: Any, dtype: Any) -> tuple[Any, int]:
    return kernels.cast.cast_frame(frame, dtype)


def _weighted(frames: list[Any], weights: np.ndarray, dtype: Any) -> tuple[Any, int]:
    return kernels.fusion.weighted(frames, weights, dtype)


def _turned(da: xr.DataArray) -> xr.DataArray:
    """Return the bare stack with its channels where windows are taken, and its slices among the leading dims."""
    bare = xr.DataArray(da.data if da.chunks is None else whole_frames(da).data, dims=da.dims)
    bare = bare.rename({"z": "_slice"}) if "z" in bare.dims else bare
    return bare.rename({"channel": "z"}).transpose(..., "z", "y", "x")


def _names(da: xr.DataArray) -> list[str]:
    if "channel" not in da.dims:
        return [str(da["channel"].values) if "channel" in da.coords else "the stack"]
    if "channel" in da.coords:
        return [str(name) for name in da["channel"].values]
    return [str(k) for k in range(da.sizes["channel"])]


def _given(weights: Any, names: list[str]) -> np.ndarray | None:
    """Return the weights given, summing to 1; None for those of the best ratio."""
    if len(names) == 1 and isinstance(weights, str) and weights == "snr":
        return np.ones(1)
    if isinstance(weights, str):
        if weights != "snr":
            raise ValueError(f"weights={weights!r} must be 'snr', a dict of channel to number, or a number a channel")
        return None
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise ValueError(f"weights name channel {unknown[0]!r}; the stack has {names}")
        numbers = [weights.get(name, 0.0) for name in names]
    else:
        numbers = list(weights) if isinstance(weights, Iterable) else []
    allowed = int | float | np.integer | np.floating
    if len(numbers) != len(names) or not all(isinstance(v, allowed) and 0 <= v < np.inf for v in numbers):
        raise ValueError(f"weights={weights!r} must give a number of at least 0 for each of {names}")
    values = np.array(numbers, dtype=np.float64)
    if not values.sum() > 0:
        raise ValueError(f"weights={weights!r} are all 0; one at least must be positive")
    return np.asarray(values / values.sum())


def _measured(da: xr.DataArray, region: Mapping[str, Any] | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariances of signal and noise between the channels, the medians over slices."""
    part = _grey.measured(da, region)
    if min(part.sizes["y"], part.sizes["x"]) < _LEAST_SIDE:
        return np.full((count, count), np.nan), np.full((count, count), np.nan)
    good = np.flatnonzero(valid_slices(da)) if "z" in da.dims else None
    if good is not None and 0 < good.size < da.sizes["z"]:
        part = part.isel(z=good)
    if "channel" not in part.dims:
        part = part.drop_vars("channel", errors="ignore").expand_dims("channel")
    found = reduce_windows(_turned(part), _covariances, np.array([[0, count]]), label="estimate fusion")
    table = found["covariance"].reshape(-1, 3, count, count)
    table = table[np.isfinite(table).all(axis=(1, 2, 3))]
    if not len(table):
        return np.full((count, count), np.nan), np.full((count, count), np.nan)
    return kernels.fusion.signal_and_noise(np.median(table, axis=0))


def _covariances(frames: list[Any]) -> dict[str, np.ndarray]:
    return {"covariance": kernels.fusion.covariances(frames)}


def _check_measured(signal: np.ndarray, noise: np.ndarray, names: list[str]) -> None:
    for k, name in enumerate(names):
        if not (signal[k, k] > 0 and noise[k, k] > 0):
            raise ValueError(
                f"weights='snr': channel {name!r} has signal variance {signal[k, k]:.3g} and noise variance "
                f"{noise[k, k]:.3g}; both must be positive. Give weights, such as weights={{{name!r}: 1}}"
            )
    # Structure of its own in each channel correlates by chance; only the same one, inverted, comes near to -1.
    inverted = np.argwhere(signal < -0.9 * np.sqrt(np.outer(np.diag(signal), np.diag(signal))))
    if inverted.size:
        first, second = (names[k] for k in inverted[0])
        raise ValueError(
            f"weights='snr': channels {first!r} and {second!r} show structure with opposite contrast; invert one first"
        )
