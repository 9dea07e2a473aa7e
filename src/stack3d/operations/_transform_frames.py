"""What is done to frames before they are compared, and which part of them counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d import device, kernels
from stack3d._region import region as in_region

_FADE = 32  # pixels over which a mask fades out, at most


@dataclass(frozen=True)
class Treatment:
    """Threshold, gradient and the weight of each pixel; small and picklable."""

    threshold: float | None = None
    gradient: bool = False
    weight: np.ndarray | None = None

    def pixels(self, frame: Any) -> Any:
        """Return the frame as it is compared; missing pixels stay missing."""
        if self.threshold is None and not self.gradient:
            return frame
        pixels = device.to_host(frame)
        missing = ~np.isfinite(pixels) if pixels.dtype.kind == "f" else None
        if self.threshold is not None:
            pixels = (pixels <= self.threshold).astype(np.float32)
            if missing is not None:
                pixels[missing] = np.nan
        return _gradient(pixels) if self.gradient else pixels

    def binned_weight(self, b: int) -> np.ndarray | None:
        """Return the weight of binned pixels."""
        return None if self.weight is None else kernels.binning.bin_frame(self.weight, b, b)


def _gradient(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.astype(np.float32)
    if min(pixels.shape) < 2:
        return np.zeros_like(pixels)
    along_y, along_x = np.gradient(pixels)
    size: np.ndarray = np.hypot(along_y, along_x).astype(np.float32)
    return size


def compared(da: xr.DataArray, region: Mapping[str, Any] | None, mask: Any) -> tuple[xr.DataArray, np.ndarray | None]:
    """Return the part of every frame that is compared, and the weight of its pixels (None: all the same)."""
    part = in_region(da, region)
    if "mask" in part.coords:
        part = part.where(part["mask"])
    if mask is None:
        return part, None
    wanted = _flags(da, mask)
    wanted = in_region(wanted, region)
    if not wanted.values.any():
        raise ValueError("mask= leaves no pixel of the frame (and of region=, where given)")
    # The box around it is enough.
    box = {}
    for dim, other in (("y", "x"), ("x", "y")):
        used = np.flatnonzero(wanted.any(other).values)
        box[dim] = slice(int(used[0]), int(used[-1]) + 1)
    return part.isel(box), _faded(wanted.isel(box).values)


def _flags(da: xr.DataArray, mask: Any) -> xr.DataArray:
    like = xr.DataArray(
        np.zeros((da.sizes["y"], da.sizes["x"]), dtype=bool),
        dims=("y", "x"),
        coords={dim: da[dim] for dim in ("y", "x") if dim in da.coords},
    )
    if isinstance(mask, xr.DataArray):
        if set(mask.dims) != {"y", "x"} or mask.dtype != bool:
            raise ValueError(f"mask= has dims {mask.dims} and dtype {mask.dtype}; it must be bool with dims ('y', 'x')")
        mask = mask.transpose("y", "x")
        for dim in ("y", "x"):
            if dim in mask.coords and dim in da.coords and not np.array_equal(mask[dim].values, da[dim].values):
                raise ValueError(f"mask= lies at other positions along {dim} than the stack; make it on the same frame")
        mask = mask.values
    array = np.asarray(mask)
    if array.shape != like.shape or array.dtype != bool:
        raise ValueError(f"mask= has shape {array.shape} and dtype {array.dtype}; it must be bool, {like.shape}")
    return like.copy(data=array)


def _faded(inside: np.ndarray) -> np.ndarray | None:
    """Return a weight that is 0 outside and rises smoothly inside, so that the outline of a mask is no structure."""
    if inside.all():
        return None
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(inside)
    fade = min(float(_FADE), max(1.0, float(depth.max()) / 2))
    ramp: np.ndarray = (0.5 - 0.5 * np.cos(np.pi * np.clip((depth - 0.5) / fade, 0, 1))).astype(np.float32)
    return ramp
