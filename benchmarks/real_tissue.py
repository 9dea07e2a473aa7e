"""The main job on real tissue with planted defects: error against the truth after every step.

    python benchmarks/real_tissue.py FOLDER

FOLDER holds an isotropic FIB-SEM volume as numbered frames, for example `fib25/sample1` (FlyEM, CC-BY 3.0), here
re-sliced along y: planes of one raster share one geometry, so the clean stack has no displacement from slice to slice.

Tissue that runs obliquely cannot be told from drift by images alone: after registration the truth is moved by the
straight line over z that fits the difference of measured and planted positions best.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

import stack3d

DEFECTS = {
    "drift": {"step": 0.5, "trend": (0.03, -0.02)},
    "jumps": {"size": 4.0, "count": 1},
    "gain": True,
    "offset": True,
    "noise": {"gaussian": 0.03, "electrons": None},
    "uneven_z": {"missing": 0.1},
}
SLICES = 120


def planted(folder: Path, seed: int = 0) -> stack3d.synthetic.SyntheticStack:
    """Return defects on the volume re-sliced along y, two voxels a slice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = stack3d.open_stack(folder, pixel_size=10, on_gap="ignore").compute()
    truth = volume.drop_vars("slice_number").stack3d.reslice(axis="y").isel(z=slice(0, SLICES))
    return stack3d.synthetic.add_defects(truth, defects=DEFECTS, seed=seed)


def apparent_line(da: xr.DataArray, made: stack3d.synthetic.SyntheticStack) -> dict[str, np.ndarray]:
    """Return, for each slice of `da`, the straight line through measured minus planted positions, in pixels."""
    line = {}
    for dim in ("y", "x"):
        if f"shift_{dim}" not in da.coords:
            line[dim] = np.zeros(da.sizes["z"])
            continue
        true = np.interp(da["z"], made.stack["z"], made.defects[f"shift_{dim}"])
        difference = (da[f"shift_{dim}"].values - true) / stack3d.pixel_size(made.stack).x
        index = da["z"].values
        line[dim] = np.polyval(np.polyfit(index, difference, 1), index)
    return line


def error(da: xr.DataArray, made: stack3d.synthetic.SyntheticStack, common: dict[str, np.ndarray]) -> float:
    """Return the rms difference from the truth, in grey levels, on the pixels at `common` positions.

    On the slices of the raw stack: those that resampling adds have no counterpart before.
    """
    da = da.isel(z=np.flatnonzero(np.isin(np.round(da["z"].values, 6), np.round(made.stack["z"].values, 6))))
    line = apparent_line(da, made)
    truth = made.truth_on(da).values
    inner = np.ix_(*(np.flatnonzero(np.isin(da[dim].values, common[dim])) for dim in ("y", "x")))
    total = 0.0
    for k in range(da.sizes["z"]):
        moved = ndimage.shift(truth[k], (-line["y"][k], -line["x"][k]), order=5, mode="nearest")
        total += float(np.mean((da.values[k].astype(np.float64) - moved)[inner] ** 2))
    return float(np.sqrt(total / da.sizes["z"]))


STEPS = {
    "crop": lambda da: da.stack3d.crop(x=slice(4, -4), y=slice(4, -4), by="index"),
    # A running reference: the share of bright and dark tissue changes along z, and is no defect.
    "match_histograms": lambda da: da.stack3d.match_histograms(window=41),
    "register": lambda da: da.stack3d.register(crop="common"),
    "resample": lambda da: da.stack3d.resample(dz="10 nm"),
}


def run(folder: Path, target: Path, seed: int = 0) -> dict[str, float]:
    """Run the chain lazily, save, reopen, replay; return the error after each step."""
    made = planted(folder, seed)
    raw = made.stack.stack3d.checkpoint(target / "raw.zarr", overwrite=True)
    da, chain = raw, {"raw": raw}
    for name, step in STEPS.items():
        da = chain[name] = step(da)
    assert all(one.chunks is not None for one in chain.values())
    # Where the truth is moved by a few pixels, its edges are unknown.
    common = {dim: da[dim].values[24:-24] for dim in ("y", "x")}
    errors = {name: error(one.compute(), made, common) for name, one in chain.items()}
    path = da.stack3d.save(target / "clean.zarr", overwrite=True)
    again = stack3d.replay(raw, stack3d.open_stack(path))
    np.testing.assert_array_equal(again.values, da.values)
    # What remains if gain, offset and position were known: the noise planted, averaged where slices are interpolated.
    errors["noise"] = float(made.defects["noise_sigma"])
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as target:
            errors = run(arguments.folder, Path(target), seed)
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.2f}" for name, value in errors.items()))


if __name__ == "__main__":
    main()
