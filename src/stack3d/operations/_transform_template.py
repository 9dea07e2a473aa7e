"""Each slice against the median of those around it, once they lie roughly in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from stack3d import device, kernels
from stack3d.operations._transform_frames import Treatment
from stack3d.operations._transform_ways import Settings, Solved, Way, as_matrices
from stack3d.transforms._matrices import bridged
from stack3d.windows import centred, reduce_windows


def refined(
    one: xr.DataArray, solved: Solved, way: Way, treatment: Treatment, settings: Settings, radius: int
) -> Solved:
    """Return transforms measured against the running median of the stack that `solved` puts in place.

    A second pass: each frame is read and binned once. The slice itself has no part in its median, bad slices in none.
    """
    shape = (one.sizes["y"], one.sizes["x"])
    b = kernels.phase.plan(shape, binning=settings.binning).binning
    low, high = settings.band
    small = replace(settings, band=(low and low * b, high and high * b), binning=1)
    plan = way.plan((shape[0] // b, shape[1] // b), small)
    count = len(solved.ok)
    windows = centred(count, radius)
    # From binned pixels to those of the frame.
    up = np.array([[b, 0.0, (b - 1) / 2], [0.0, b, (b - 1) / 2], [0.0, 0.0, 1.0]])
    matrices = np.linalg.inv(up) @ solved.matrices @ up
    spans = [slice(*window) for window in windows]
    found = reduce_windows(
        one,
        _against_median,
        windows,
        prepare=_binned,
        prepare_arguments={"treatment": treatment, "b": b},
        arguments={"way": way, "plan": plan, "weight": treatment.binned_weight(b)},
        per_output={
            "matrices": [matrices[span] for span in spans],
            "ok": [solved.ok[span] for span in spans],
            "own": [k - span.start for k, span in enumerate(spans)],
        },
        label="align to the median",
    )["pair"]
    good = solved.ok & (found[:, -1] > 0)
    matrices[good] = as_matrices(found[good, :-2]) @ matrices[good]
    if solved.ok.any():
        matrices = matrices @ np.linalg.inv(matrices[int(np.argmax(solved.ok))])
    matrices = up @ matrices @ np.linalg.inv(up)
    if len(way.parameters) == 2:
        matrices[:, :2, :2] = np.eye(2)
    matrices[:, 2] = 0, 0, 1
    z = np.asarray(one["z"].values if "z" in one.coords else np.arange(count), np.float64)
    error = solved.error.copy()
    error[good] = b / np.sqrt(found[good, -1])
    quality = np.where(good, found[:, -2], solved.quality)
    return Solved(bridged(matrices, z, solved.ok), solved.ok, quality, error, solved.trust)


def _binned(frame: Any, treatment: Treatment, b: int) -> np.ndarray:
    pixels = device.to_host(treatment.pixels(frame)).astype(np.float32)
    small: np.ndarray = kernels.binning.bin_frame(pixels, b, b)
    return small


def _against_median(
    frames: list[np.ndarray],
    matrices: np.ndarray,
    ok: np.ndarray,
    own: int,
    way: Way,
    plan: Any,
    weight: np.ndarray | None,
) -> dict[str, np.ndarray]:
    refused = {"pair": np.zeros(len(way.parameters) + 2)}
    others = [k for k in range(len(frames)) if ok[k] and k != own]
    if not ok[own] or not others:
        return refused
    # The template is made where this slice lies, and it is not interpolated itself.
    towards = matrices @ np.linalg.inv(matrices[own])
    towards[:, 2] = 0, 0, 1
    if len(way.parameters) == 2:
        towards[:, :2, :2] = np.eye(2)
    stacked = np.stack([kernels.warp.warp_frame(frames[k], towards[k])[0] for k in others])
    template = np.nanmedian(stacked, axis=0) if np.isnan(stacked).any() else np.median(stacked, axis=0)
    expected = way.prepare(template.astype(np.float32), weight, plan)
    pair = way.pair(expected, way.prepare(frames[own], weight, plan), plan)
    return {"pair": pair} if pair[-1] > 0 else refused
