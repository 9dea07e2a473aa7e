"""Bad slices planted in real tissue: how many are found, with the right reason, and what is flagged without one.

    python benchmarks/bad_slices.py FOLDER [--seeds 4]

FOLDER holds a FIB-SEM volume as numbered frames, for example `fib25/sample1` (FlyEM, CC-BY 3.0). Four stacks are cut
from it, as acquired and re-sliced along y, each with and without drift, steps of brightness and noise. Bad slices of
five kinds are planted at random places, one in fifteen; none in the clean runs.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

import stack3d

KINDS = ("blank", "charged", "blurred", "shifted", "duplicated")
DEFECTS = {
    "none": {},
    "usual": {"drift": {"step": 0.5}, "gain": True, "offset": True, "noise": {"gaussian": 0.03, "electrons": None}},
}


def spoil(frames: np.ndarray, kinds: dict[int, str], rng: np.random.Generator) -> np.ndarray:
    """Return the frames with bad slices, as strong as they must be to spoil an analysis, and no stronger."""
    out, top = frames.astype(np.float32), float(np.percentile(frames, 99.9))
    span = float(np.percentile(frames, 99) - np.percentile(frames, 1))
    height, width = frames.shape[1:]
    for k, kind in sorted(kinds.items()):
        if kind == "blank":
            out[k] = rng.normal(np.percentile(frames, 1), 0.01 * span, (height, width))
        elif kind == "blurred":
            fine = out[k] - ndimage.gaussian_filter(out[k], 0.8)
            out[k] = ndimage.gaussian_filter(out[k], rng.uniform(2.0, 4.0)) + rng.permuted(fine)
        elif kind == "shifted":
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(8, 25)
            out[k] = ndimage.shift(out[k], (far * np.sin(angle), far * np.cos(angle)), order=1, mode="reflect")
        elif kind == "charged":
            y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
            cy, cx = rng.uniform(-0.6, 0.6, 2)
            glow = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / rng.uniform(0.1, 0.5))
            out[k] = np.minimum(out[k] + rng.uniform(0.8, 2.0) * span * glow, top)
        elif kind == "duplicated":
            out[k] = out[k - 1]
    return np.rint(np.clip(out, 0, np.iinfo(frames.dtype).max)).astype(frames.dtype)


def planted(count: int, rng: np.random.Generator) -> dict[int, str]:
    places = rng.permutation(np.arange(1, count))
    kinds: dict[int, str] = {}
    for k in places:
        if len(kinds) == count // 15:
            break
        # A copy of a bad slice is not told from one: duplicates follow good slices.
        if k - 1 not in kinds and k + 1 not in kinds:
            kinds[int(k)] = KINDS[len(kinds) % len(KINDS)]
    return kinds


def stacks(folder: Path) -> dict[str, xr.DataArray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = stack3d.open_stack(folder, pixel_size=10, on_gap="ignore").compute().drop_vars("slice_number")
    return {"as acquired": volume, "along y": volume.stack3d.reslice(axis="y")}


def trial(da: xr.DataArray, kinds: dict[int, str], seed: int) -> tuple[np.ndarray, xr.Dataset]:
    """Return which kind each slice is, and what is found."""
    spoilt = da.copy(data=spoil(da.values, kinds, np.random.default_rng(seed)))
    truth = np.array([kinds.get(k, "") for k in range(da.sizes["z"])])
    return truth, spoilt.stack3d.find_bad_slices()


def run(folder: Path, seeds: int = 4, verbose: bool = False) -> dict[str, float]:
    """Return recall, precision, the share with the right reason, flags on clean stacks, and seconds a megapixel."""
    found = planted_all = right = flagged = clean_flags = clean_slices = 0
    seconds = pixels = 0.0
    for name, clean in stacks(folder).items():
        for what, defects in DEFECTS.items():
            for seed in range(seeds):
                da = stack3d.synthetic.add_defects(clean, defects=defects, seed=seed).stack if defects else clean
                rng = np.random.default_rng([seed, len(name), len(what)])
                if seed == 0 or defects:
                    start = time.perf_counter()
                    reasons = da.stack3d.find_bad_slices()["reason"].values
                    seconds, pixels = seconds + time.perf_counter() - start, pixels + da.size / 1e6
                    clean_flags, clean_slices = clean_flags + int((reasons != "").sum()), clean_slices + reasons.size
                    if verbose and (reasons != "").any():
                        print("clean", name, what, seed, [(k, reasons[k]) for k in np.flatnonzero(reasons != "")])
                truth, result = trial(da, planted(da.sizes["z"], rng), seed)
                reasons = result["reason"].values
                bad, said = truth != "", reasons != ""
                found, planted_all, flagged = found + (bad & said).sum(), planted_all + bad.sum(), flagged + said.sum()
                right += (bad & (truth == reasons)).sum()
                if verbose:
                    for k in np.flatnonzero(truth != reasons):
                        numbers = [
                            f"{m}={v:.2f}/{s:.1f}"
                            for m, v, s in zip(
                                result["measure"].values,
                                result["value"].values[k],
                                result["score"].values[k],
                                strict=True,
                            )
                        ]
                        print(name, what, seed, k, "planted", truth[k], "said", reasons[k], *numbers)
    return {
        "recall": found / planted_all,
        "precision": found / max(flagged, 1),
        "right reason": right / planted_all,
        "planted": planted_all,
        "flagged of clean": clean_flags,
        "clean slices": clean_slices,
        "ms per megapixel": 1e3 * seconds / pixels,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    stack3d.set_options(progress=False, workers=1)
    for key, number in run(given.folder, given.seeds, given.verbose).items():
        print(f"{key:18s} {number:.4g}")
