"""Time of the grey value operations per frame, beside scikit-image: ``python benchmarks/grey_values.py``.

With ``--accuracy`` instead: the error left after planted gains and offsets, on a synthetic stack, and on a folder of
real 8-bit slices where one is given (re-sliced along y, so that neighbours are perfectly aligned).

With ``--outliers``: the error of gains where pores and saturated pixels are present.

Medians over repeats on a stack in memory, one thread, after one warm-up; the first call of a process, which compiles
or loads the kernels, is stated by itself. The peer is timed in the same loop, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from skimage import exposure

import stack3d


def make(size: int, frames: int, dtype: str) -> xr.DataArray:
    """Return a stack of two materials and grain, with a gain of its own for each slice."""
    rng = np.random.default_rng(0)
    gain = 1 + 0.05 * rng.standard_normal(frames)
    data = np.empty((frames, size, size), dtype)
    for k in range(frames):
        material = np.kron(rng.random((size // 16, size // 16)) < 0.4, np.ones((16, 16)))
        frame = gain[k] * (14000 + 9000 * material + 1500 * rng.standard_normal((size, size)))
        data[k] = np.rint(frame).clip(0, 65535) if dtype == "uint16" else frame
    return stack3d.from_array(data, pixel_size=5.0)


def jobs(da: xr.DataArray) -> dict[str, Callable[[], Any]]:
    """Return what is timed."""
    histogram = da.stack3d.estimate_histogram()
    levels = da.stack3d.estimate_levels()
    limits = da.stack3d.estimate_range()
    frames = da.values

    def peer() -> None:
        for frame in frames:
            exposure.match_histograms(frame, frames[0])

    return {
        "skimage.exposure.match_histograms, one reference": peer,
        "match_histograms, estimate": da.stack3d.estimate_histogram,
        "match_histograms, estimate, window=11": lambda: da.stack3d.estimate_histogram(window=11),
        "match_histograms, apply": lambda: da.stack3d.match_histograms(estimate=histogram),
        "level_slices, estimate (trimmed)": da.stack3d.estimate_levels,
        "level_slices, estimate (median)": lambda: da.stack3d.estimate_levels(statistic="median"),
        "level_slices, estimate (mean)": lambda: da.stack3d.estimate_levels(statistic="mean"),
        "level_slices, apply": lambda: da.stack3d.level_slices(estimate=levels),
        "rescale_intensity, estimate": da.stack3d.estimate_range,
        "rescale_intensity, apply to uint8": lambda: da.stack3d.rescale_intensity(estimate=limits, dtype="uint8"),
    }


def smooth_volume(slices: int, size: int) -> np.ndarray:
    """Return blobs and texture between 2000 and 36700 counts, of standard deviation about 6200."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    parts = [((6.0, 9.0, 9.0), 1.0), ((0.8, 1.6, 1.6), 0.35)]
    total = np.zeros((slices, size, size), np.float32)
    for sigma, weight in parts:
        part = gaussian_filter(rng.standard_normal(total.shape, np.float32), sigma, mode="wrap")
        total += weight * part / part.std()
    return np.clip(17000 + 6200 * total / total.std(), 2000, 36700)


def real_volume(folder: Path) -> np.ndarray:
    """Return a folder of slices as (y, z, x), spread to 16 bit."""
    import cv2

    frames = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.glob("*.png"))]
    return 3000 + 200 * np.stack(frames).transpose(1, 0, 2).astype(np.float32)


def accuracy(truth: np.ndarray, gain: np.ndarray, offset: np.ndarray, title: str) -> None:
    def error(values: Any) -> float:
        return float(np.sqrt(np.mean((np.asarray(values, np.float32) - truth) ** 2, dtype=np.float64)))

    distorted = np.rint(truth * gain[:, None, None] + offset[:, None, None]).clip(0, 65535).astype(np.uint16)
    da = stack3d.from_array(distorted, pixel_size=5.0)
    print(f"\n{title}: before {error(da):.0f} (standard deviation of the truth {truth.std():.0f})")
    for window in (None, 31, "auto"):
        found = {} if window == "auto" else {"match_histograms": da.stack3d.match_histograms(window=window)}
        for model in ("gain", "offset", "both"):
            for statistic in ("trimmed", "mean", "unchanged"):
                name = f"level_slices {model} {statistic}"
                found[name] = da.stack3d.level_slices(
                    model=model, statistic=statistic, window=window, limits=(0.6, 1.5)
                )
        print(f"  window={window}: " + ", ".join(f"{name} {error(values):.0f}" for name, values in found.items()))


def accuracies(folder: Path | None) -> None:
    truth = smooth_volume(64, 512)
    rng = np.random.default_rng(1)
    steps = 1 + 0.03 * rng.standard_normal(64)
    steps[20:26] *= 0.80
    steps[40:46] *= 1.15
    accuracy(truth, steps, np.zeros(64), "synthetic, gains of 3 % with steps to 0.80 and 1.15")
    accuracy(truth, steps, rng.normal(0, 600, 64), "synthetic, the same gains and offsets of 600")
    if folder is None:
        return
    truth = real_volume(folder)
    count = len(truth)
    for wide, shift in ((0.05, 0), (0.0, 1500), (0.05, 1500)):
        rng = np.random.default_rng(0)
        gain, offset = 1 + wide * rng.standard_normal(count), shift * rng.standard_normal(count)
        accuracy(truth, gain, offset, f"{folder.name}, gains of {wide:.0%} and offsets of {shift}")


def outliers() -> None:
    """Print what is wrong with gains of two materials (two seventh of the mean apart) that hold more and more pores."""
    slices, side = 32, 192
    z, y, x = np.ogrid[:slices, :side, :side]
    limits: dict[str, Any] = {"low": 6000, "high": 50000}
    ways: list[dict[str, Any]] = [{}, {"trim": 0.1}, {"statistic": "median"}, {"statistic": "mean"}]
    ways += [{"statistic": "unchanged"}, limits, {"statistic": "mean", **limits}, {"statistic": "unchanged", **limits}]
    for balls in (0, 40, 80, 160, 320):
        rng = np.random.default_rng(0)
        place = np.kron(rng.random((1, side // 8, side // 8)) < 0.4, np.ones((1, 8, 8))) > 0
        truth = np.where(place, 24000, 17000) + 800 * rng.standard_normal((slices, side, side))
        gain, offset = 1 + 0.05 * rng.standard_normal(slices), rng.normal(0, 600, slices)
        values = truth * gain[:, None, None] + offset[:, None, None]
        foreign = np.zeros(values.shape, bool)
        for k in range(balls):
            radius, at = rng.uniform(6, 12), rng.uniform(0, (slices, side, side))
            ball = ((z - at[0]) * 3) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < radius**2
            values[ball], foreign = 65535 if k % 2 else 1000, foreign | ball
        da = stack3d.from_array(np.rint(values).clip(0, 65535).astype(np.uint16), pixel_size=5.0)
        share = foreign.mean(axis=(1, 2))
        print(
            f"\nforeign pixels {share.mean():.1%} of a slice, {share.max():.1%} at most; error of the gain, rms (largest)"
        )
        for way in ways:
            scale = da.stack3d.estimate_levels(limits=(0.2, 5.0), **way)["gain"].values * gain
            wrong = scale / np.median(scale) - 1
            print(f"  {way!s:<65} {np.sqrt(np.mean(wrong**2)):7.2%} ({np.abs(wrong).max():.2%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--dtype", choices=["uint16", "float32"], default="uint16")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--outliers", action="store_true")
    parser.add_argument("--folder", type=Path, help="real slices for --accuracy")
    given = parser.parse_args()
    if given.accuracy:
        accuracies(given.folder)
        return
    if given.outliers:
        outliers()
        return
    with stack3d.set_options(workers=1, progress=False):
        start = time.perf_counter()
        make(64, 2, given.dtype).stack3d.match_histograms()
        print(f"first match_histograms of the process (2 x 64 x 64): {time.perf_counter() - start:.2f} s")
        for size in given.sizes:
            da = make(size, given.frames, given.dtype)
            timed = jobs(da)
            times: dict[str, list[float]] = {name: [] for name in timed}
            for repeat in range(given.repeats + 1):
                for name, job in timed.items():
                    start = time.perf_counter()
                    job()
                    if repeat:
                        times[name].append((time.perf_counter() - start) / given.frames)
            print(f"\n{given.dtype}, {size} x {size}, ms per frame, median of {given.repeats}")
            for name, values in times.items():
                print(f"  {name:<50} {1e3 * np.median(values):8.2f}")


if __name__ == "__main__":
    main()
