"""Distances between slices of real tissue with slices taken out, against the truth.

    python benchmarks/thickness.py FOLDER [FOLDER ...]

Each FOLDER holds an isotropic FIB-SEM volume as numbered frames, for example `fib25/sample2` (FlyEM, CC-BY 3.0). It is
sliced along z, y and x in turn; planes along y and x belong to one raster, so their distance is exact, those along z are as
the microscope cut them. One, two or three voxels (60, 28 and 12 % of the steps) lie between the slices that are kept.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

import stack3d
from stack3d.kernels import decorrelation

PIXEL = 10.0


def kept(count: int, seed: int) -> np.ndarray:
    """Return the slices that are kept."""
    steps = np.random.default_rng(seed).choice([1, 2, 3], p=[0.6, 0.28, 0.12], size=count)
    places = np.concatenate([[0], np.cumsum(steps)])
    return places[places < count]


def errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the errors of distances, as fractions of the true ones."""
    error = found / truth - 1
    return {
        "median": float(np.median(np.abs(error))),
        "rms": float(np.sqrt(np.mean(error**2))),
        "within": float(np.mean(np.abs(error) < 0.1)),
        "scale": float(found.mean() / truth.mean()),
    }


def trial(volume: np.ndarray, axis: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the errors of one stack, by each way to know the curve."""
    places = kept(volume.shape[axis], seed)
    truth = PIXEL * np.diff(places)
    frames = np.ascontiguousarray(np.moveaxis(volume, axis, 0)[places])
    da = stack3d.from_array(frames, pixel_size=PIXEL)
    out = {}
    for curve in ("stack", "y", "x"):
        mean = {"distance": float(truth.mean())} if curve == "stack" else {}
        estimate = da.stack3d.estimate_thickness(curve=curve, **mean)
        out[curve] = errors(estimate["increment"].values[1:], truth)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print("median |error|, rms error, share of distances within 10 %, mean over true mean; means of the seeds")
    for folder in given.folders:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            volume = stack3d.open_stack(folder, pixel_size=PIXEL, on_gap="ignore").values
        for axis, name in enumerate("zyx"):
            found = [trial(volume, axis, seed) for seed in range(given.seeds)]
            for curve in ("stack", "y", "x"):
                m = {key: np.mean([f[curve][key] for f in found]) for key in found[0][curve]}
                print(
                    f"{folder.name}  slices along {name}  curve {curve:5s}  {m['median']:.3f}  {m['rms']:.3f}  "
                    f"{m['within']:.2f}  {m['scale']:.3f}"
                )
    frame = np.random.default_rng(0).random((4096, 4096), dtype=np.float32)
    fine = decorrelation.detail(frame, 7, 7)
    for label, run in (
        ("fine structure of a frame", lambda: decorrelation.detail(frame, 7, 7)),
        ("correlation of a pair", lambda: decorrelation.correlation(fine, fine)),
    ):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        print(
            f"{label}, 4096 x 4096: {1e3 * np.median(times):.0f} ms, {1e3 * np.median(times) / 16.8:.1f} ms/megapixel"
        )


if __name__ == "__main__":
    main()
