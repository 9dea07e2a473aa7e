"""Which channels are measured: one, a weighted fusion of several, or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d import device
from stack3d.model import is_lazy, one_channel
from stack3d.windows import map_windows

Channels = str | Mapping[str, float] | Sequence[str]

_SAMPLE = 1 << 16  # pixels from which the median and the spread of a frame are taken


def chosen(da: xr.DataArray, channel: Channels | None, method: str, threshold: float | None) -> xr.DataArray:
    """Return the stack of the channels that are measured: one without, several with the dim ``channel``.

    Raises
    ------
    ValueError, TypeError
        Naming `channel` and what is allowed.
    """
    names = [str(name) for name in np.atleast_1d(da["channel"].values)] if "channel" in da.coords else []
    if channel is None or (isinstance(channel, str) and (channel != "joint" or channel in names)):
        return one_channel(da, channel)
    several = da if "channel" in da.dims else da.expand_dims("channel")
    if isinstance(channel, str):
        wanted = names
    elif isinstance(channel, Mapping):
        wanted = _weighted(channel)
        if threshold is not None:
            raise ValueError(f"threshold={threshold!r} is a grey value, which a fusion has not; name one channel")
    elif isinstance(channel, Sequence):
        wanted = [str(name) for name in channel]
    else:
        raise TypeError(f"channel={channel!r} must be a name, names, or weights by name, not {type(channel).__name__}")
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise ValueError(f"channel={channel!r} is not allowed; give different names among {names or 'no channels'}")
    if method == "template" and not isinstance(channel, Mapping):
        raise ValueError(
            f"channel={channel!r}: method='template' compares one image; name one channel, or give weights"
        )
    return several.isel(channel=[names.index(name) for name in wanted])


def _weighted(weights: Mapping[str, float]) -> list[str]:
    for name, weight in weights.items():
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not number or not np.isfinite(weight) or weight == 0:
            raise ValueError(f"channel={dict(weights)!r}: the weight of {name!r} must be a number other than 0")
    return [str(name) for name in weights]


def fused(da: xr.DataArray, channel: Channels | None) -> xr.DataArray:
    """Return the weighted sum of channels, frame by frame, where `channel` holds weights; otherwise `da`.

    Every frame is freed of its median and divided by its spread before, so that weights mean the same for all. Nothing is
    computed yet.
    """
    if not isinstance(channel, Mapping):
        return da
    frames = da.transpose("z", "channel", "y", "x")
    # Channels take the place of neighbouring slices.
    bare = xr.DataArray(frames.data, dims=("slice", "z", "y", "x"))
    if not is_lazy(da):
        bare = bare.chunk({"slice": 1})
    window = np.array([[0, bare.sizes["z"]]])
    weights = np.array([channel[str(name)] for name in da["channel"].values], dtype=np.float32)
    data = map_windows(bare, _sum, window, arguments={"weights": weights}, dtype=np.float32, label="fuse channels")
    coords = {name: c.variable for name, c in da.coords.items() if "channel" not in c.dims and name != "mask"}
    return xr.DataArray(data[:, 0], dims=("z", "y", "x"), coords=coords)


def _sum(frames: list[Any], weights: np.ndarray) -> np.ndarray:
    total: np.ndarray = weights[0] * standardised(frames[0])
    for frame, weight in zip(frames[1:], weights[1:], strict=True):
        total += weight * standardised(frame)
    return total


def standardised(frame: Any) -> np.ndarray:
    """Return a frame less its median, over its spread (half of what holds the middle 68 %); 0 where it has none."""
    pixels: np.ndarray = device.to_host(frame).astype(np.float32)
    step = max(1, int(np.sqrt(pixels.size / _SAMPLE)))
    sample = pixels[::step, ::step]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    if sample.size == 0:
        return pixels
    low, middle, high = np.percentile(sample, (16, 50, 84))
    spread = (high - low) / 2 or float(sample.std())
    flat = not spread > 1e-6 * float(np.abs(sample).max())
    out: np.ndarray = (pixels - np.float32(middle)) * np.float32(0 if flat else 1 / spread)
    return out
