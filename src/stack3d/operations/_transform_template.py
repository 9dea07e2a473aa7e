"""Each slice against the median of those around it, once they lie roughly in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stack3d import device, kernels
from stack3d.operations._transform_frames import Treatment
from stack3d.operations._transform_ways import PhasePlan, Settings, Solved, phase_pair, phase_plan, phase_spectrum
from stack3d.transforms._matrices import bridged
from stack3d.windows import centred, reduce_windows


def refined(one: xr.DataArray, solved: Solved, treatment: Treatment, settings: Settings, radius: int) -> Solved:
    """Return translations measured against the running median of the stack that `solved` puts in place.

    A second pass: each frame is read and binned once. The slice itself has no part in its median, bad slices in none.
    """
    shape = (one.sizes["y"], one.sizes["x"])
    b = kernels.phase.plan(shape, binning=settings.binning).binning
    low, high = settings.band
    small = Settings(band=(low and low * b, high and high * b), binning=1, stripes=settings.stripes)
    plan = phase_plan((shape[0] // b, shape[1] // b), small)
    count = len(solved.ok)
    windows = centred(count, radius)
    shifts = solved.matrices[:, 1::-1, 2] / b
    spans = [slice(*window) for window in windows]
    found = reduce_windows(
        one,
        _against_median,
        windows,
        prepare=_binned,
        prepare_arguments={"treatment": treatment, "b": b},
        arguments={"plan": plan, "weight": treatment.binned_weight(b)},
        per_output={
            "shifts": [shifts[span] for span in spans],
            "ok": [solved.ok[span] for span in spans],
            "own": [k - span.start for k, span in enumerate(spans)],
        },
        label="align to the median",
    )["pair"]
    good = solved.ok & (found[:, 3] > 0)
    matrices = solved.matrices.copy()
    matrices[good, :2, 2] += b * found[good, 1::-1]
    if solved.ok.any():
        first = int(np.argmax(solved.ok))
        matrices[:, :2, 2] -= matrices[first, :2, 2].copy()
    z = np.asarray(one["z"].values if "z" in one.coords else np.arange(count), np.float64)
    error = solved.error.copy()
    error[good] = b / np.sqrt(found[good, 3])
    quality = np.where(good, found[:, 2], solved.quality)
    return Solved(bridged(matrices, z, solved.ok), solved.ok, quality, error, solved.trust)


def _binned(frame: Any, treatment: Treatment, b: int) -> np.ndarray:
    pixels = device.to_host(treatment.pixels(frame)).astype(np.float32)
    small: np.ndarray = kernels.binning.bin_frame(pixels, b, b)
    return small


def _against_median(
    frames: list[np.ndarray], shifts: np.ndarray, ok: np.ndarray, own: int, plan: PhasePlan, weight: np.ndarray | None
) -> dict[str, np.ndarray]:
    refused = {"pair": np.array([np.nan, np.nan, 0.0, 0.0])}
    others = [k for k in range(len(frames)) if ok[k] and k != own]
    if not ok[own] or not others:
        return refused
    # Shifts relative to this slice: the template is made where it lies, and it is not interpolated itself.
    put = [kernels.warp.shift_frame(frames[k], *(shifts[k] - shifts[own]))[0] for k in others]
    stacked = np.stack(put)
    template = np.nanmedian(stacked, axis=0) if np.isnan(stacked).any() else np.median(stacked, axis=0)
    expected = phase_spectrum(template.astype(np.float32), weight, plan)
    pair = phase_pair(expected, phase_spectrum(frames[own], weight, plan), plan)
    return {"pair": pair} if pair[3] > 0 else refused
