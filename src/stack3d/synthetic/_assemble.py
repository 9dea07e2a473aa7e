"""From a plan to labelled arrays, in memory or lazy."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d import _blocks, grid
from stack3d.model import from_array
from stack3d.options import worker_count
from stack3d.synthetic._plan import Plan


def assemble(
    plan: Plan, numbers: np.ndarray, names: list[str] | None, pixels: tuple[float, float], unit: str, lazy: bool
) -> tuple[xr.DataArray, xr.DataArray, xr.Dataset]:
    """Return the stack, the truth and the defects of a plan, labelled."""
    dz, pixel = pixels

    def label(values: Any, long_name: str) -> xr.DataArray:
        if names is None:
            values = values[0]
        da = from_array(values, pixel_size=(pixel, pixel), z=plan.z, channel=names, units=unit)
        if len(plan.z) == 1:
            da = grid.with_coordinate(da, "z", plan.z, spacing=dz)
        da.name = long_name.replace(" ", "_")
        return da.assign_coords(slice_number=("z", numbers))

    stack = label(collect(plan.image, plan, plan.dtype, lazy, "image"), "stack")
    truth = label(collect(plan.truth, plan, np.dtype(np.float32), lazy, "truth"), "truth")
    return stack, truth, _defects(plan, stack, pixel, unit, lazy)


def _defects(plan: Plan, stack: xr.DataArray, pixel: float, unit: str, lazy: bool) -> xr.Dataset:
    count, centre = len(plan.z), np.array([(plan.shape[1] - 1) / 2, (plan.shape[0] - 1) / 2, 1.0])
    moved = (plan.pull @ centre)[:, :2] - centre[:2]
    per_slice = ("channel", "z") if "channel" in stack.dims else ("z",)
    gain, offset = (values if "channel" in stack.dims else values[0] for values in (plan.gain, plan.offset))
    hot = np.zeros(plan.shape, np.int8)
    hot[plan.hot[0], plan.hot[1]] = plan.hot[3]
    if plan.settings.get("background", {}).get("kind", "same") == "same":
        background: Any = (("y", "x"), plan.background(0))
    else:
        values = collect(_with_channel(plan.background), plan, np.dtype(np.float32), lazy, "background")
        background = (("z", "y", "x"), values[0])
    if {"stripes", "curtains"} & plan.settings.keys():
        stripes = collect(_with_channel(plan.stripes), plan, np.dtype(np.float32), lazy, "stripes")[0]
    else:
        # Costs no memory: every pixel is the same one.
        stripes = np.broadcast_to(np.float32(0), (count, *plan.shape))
    kinds = np.array([plan.bad.get(k, "") for k in range(count)], dtype="<U10")
    coords = {name: coord.variable for name, coord in stack.coords.items()}
    return xr.Dataset(
        {
            "matrix": (("z", "row", "column"), plan.pull),
            "shift_y": ("z", moved[:, 1] * pixel, {"units": unit}),
            "shift_x": ("z", moved[:, 0] * pixel, {"units": unit}),
            "rotation": ("z", plan.turn, {"units": "degree"}),
            "gain": (per_slice, gain),
            "offset": (per_slice, offset),
            "noise_sigma": ((), plan.sigma),
            "electrons_per_level": ((), plan.electrons),
            "vignetting": (("y", "x"), plan.vignetting),
            "background": background,
            "stripes": (("z", "y", "x"), stripes),
            "hot_pixels": (("y", "x"), hot),
            "bad_slice": ("z", kinds),
        },
        coords=coords,
    )


def _with_channel(function: Callable[[int], np.ndarray]) -> _WithChannel:
    return _WithChannel(function)


@dataclass(frozen=True)
class _WithChannel:
    """Gives a plane a leading channel axis; a class, so that it can be pickled."""

    function: Callable[[int], np.ndarray]

    def __call__(self, k: int) -> np.ndarray:
        return self.function(k)[None]


def drop_channel(values: Any, like: xr.DataArray) -> Any:
    """Return (channel, z, y, x) with the dims of `like`."""
    return values if "channel" in like.dims else values[0]


def collect(function: Callable[[int], np.ndarray], plan: Plan, dtype: np.dtype[Any], lazy: bool, name: str) -> Any:
    """Return (channel, z, y, x) of what `function` gives for each slice, in memory or as dask blocks."""
    channels = 1 if isinstance(function, _WithChannel) else plan.volume.channels
    count = len(plan.z)
    shape = (channels, count, *plan.shape)
    if not lazy:
        from stack3d.progress import track

        out = np.empty(shape, dtype)
        with track(count, f"synthetic {name}") as advance, ThreadPoolExecutor(min(worker_count(), count)) as pool:

            def fill(k: int) -> None:
                out[:, k] = function(k)

            for _ in pool.map(fill, range(count)):
                advance(1)
        return out
    from dask.base import tokenize

    size = _blocks.frames_per_block(channels * math.prod(plan.shape) * dtype.itemsize)
    lengths = _blocks.split(count, size)
    token = tokenize(plan.volume, plan.seed, plan.shape, str(dtype), plan.settings, plan.z)
    return _blocks.array_from_blocks(
        _block,
        name=f"synthetic-{name}-{token}",
        chunks=((channels,), lengths, (plan.shape[0],), (plan.shape[1],)),
        dtype=dtype,
        per_block=lambda index: (index[1] * size, index[1] * size + lengths[index[1]]),
        arguments={"function": function},
    )


def _block(span: tuple[int, int], function: Callable[[int], np.ndarray]) -> np.ndarray:
    return np.stack([function(k) for k in range(*span)], axis=1)
