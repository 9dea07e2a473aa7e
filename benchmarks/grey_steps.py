"""What each correction of grey values brings on real tissue with its defect planted, in dB, and what it costs.

    OMP_NUM_THREADS=1 python benchmarks/grey_steps.py FOLDER

FOLDER holds a volume as numbered frames, such as `fib25/sample2` (FlyEM, CC-BY 3.0); what was chosen was chosen on
`fib25/sample1`. The peak signal-to-noise ratio is that of 8 bit, against the volume before defects were planted; nothing but the
defective stack is given to an operation.
``--joint`` prints the table of levels and background alone, ``--only WORD`` the defects that hold a word.
``--speed`` prints times alone, without a folder: processor time of one thread,
in milliseconds a megapixel of uint16, medians, beside a copy of the frame; kernels are compiled before.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from skimage.io import imread

import stack3d

TERMS = "1 + x + y + x*y + y**2 + x*z"
NOISE = 255 / 10 ** (36 / 20)  # 36 dB: nothing that takes out the other defects can do better
SEEDS = (0, 1, 2)


def volume(folder: Path) -> np.ndarray:
    """Return the frames as float32."""
    return np.stack([imread(file) for file in sorted(folder.glob("*.png"))]).astype(np.float32)


def psnr(values: Any, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / np.mean((np.asarray(values, np.float32) - truth) ** 2, dtype=np.float64)))


def places(truth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return positions from 0 to 1 along each axis."""
    z, y, x = np.meshgrid(
        *(np.linspace(0, 1, size, dtype=np.float32) for size in truth.shape), indexing="ij", sparse=True
    )
    return z, y, x


def background(truth: np.ndarray) -> np.ndarray:
    """Return a surface of the terms, between -30 and 30 grey levels."""
    z, y, x = places(truth)
    surface = 0.8 * x + 0.5 * y - 0.6 * y**2 + 0.7 * x * z - 0.4 * x * y
    surface = surface - surface.mean(dtype=np.float64)
    return np.asarray(30 * surface / np.abs(surface).max(), np.float32)


def without_its_own(truth: np.ndarray) -> np.ndarray:
    """Return the volume less what of it lies in the terms, by plain least squares."""
    z, y, x = places(truth)
    terms = [x, y, x * y, y**2, x * z]
    some = (slice(None, None, 3),) * 3
    design = np.stack([np.ones(truth[some].size)] + [np.broadcast_to(t, truth.shape)[some].ravel() for t in terms], 1)
    found = np.linalg.lstsq(design, truth[some].ravel().astype(float), rcond=None)[0]
    own = np.asarray(sum(c * t for c, t in zip(found[1:], terms, strict=True)), np.float32)
    return truth - (own - own.mean(dtype=np.float64)).astype(np.float32)


def stack(values: np.ndarray) -> xr.DataArray:
    """Return a volume as a stack."""
    return stack3d.from_array(np.asarray(values, np.float32), pixel_size=10.0)


def uneven(truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a gain (5 %) and an offset (5 grey levels) for each slice."""
    count = (len(truth), 1, 1)
    return 1 + 0.05 * rng.standard_normal(count), 5.0 * rng.standard_normal(count)


def steps(truth: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray, list[tuple[str, Callable[[Any], Any]]]]]:
    """Yield a defect, the truth, the defective volume, and what is done about it."""
    rng = np.random.default_rng(0)
    hot = truth.copy()
    hot[:, rng.integers(2, 248, 40), rng.integers(2, 248, 40)] += 40
    ways: list[tuple[str, Callable[[Any], Any]]] = [
        (f"fill_pixels(method={m!r})", lambda da, m=m: da.stack3d.fill_pixels(method=m))
        for m in ("mean", "median", "inpaint")
    ]
    yield "40 hot pixels, +40", truth, hot, ways
    bad = truth.copy()
    bad[[20, 77, 130, 181, 233]] = 255.0
    ways = [
        (f"replace_slices(method={m!r})", lambda da, m=m: da.stack3d.replace_slices(method=m))
        for m in ("linear", "nearest")
    ]
    yield "5 saturated slices of 250", truth, bad, ways
    gain, offset = uneven(truth, rng)
    ways = [
        (
            f"level_slices({', '.join(f'{k}={v!r}' for k, v in given.items())})",
            lambda da, g=given: da.stack3d.level_slices(**g),
        )
        for given in (
            {},
            {"window": 31},
            {"window": "auto"},
            {"lags": 3, "window": "auto"},
            {"statistic": "unchanged", "window": "auto"},
            {"statistic": "unchanged", "window": 31},
        )
    ]
    ways.append(("match_histograms(window=31)", lambda da: da.stack3d.match_histograms(window=31)))
    yield "gains of 5 %, offsets of 5", truth, gain * truth + offset, ways
    flat = without_its_own(truth)
    ways = [
        (f"remove_background({TERMS!r})", lambda da: da.stack3d.remove_background(terms=TERMS)),
        (
            f"remove_background({TERMS!r}, regress_content=False)",
            lambda da: da.stack3d.remove_background(terms=TERMS, regress_content=False),
        ),
    ]
    yield (
        "no background",
        truth,
        truth + np.float32(1e-3),
        [
            (
                f"remove_background(regress_content={given})",
                lambda da, g=given: da.stack3d.remove_background(regress_content=g),
            )
            for given in (True, False)
        ],
    )
    yield "background of +-30", truth, truth + background(truth), ways
    yield "background of +-30, none of its own", flat, flat + background(flat), ways
    _, y, x = places(truth)
    shade = 1 - 0.25 * ((x - 0.4) ** 2 + (y - 0.6) ** 2)
    level = float(shade.mean())
    yield (
        "shading by 13 %",
        truth,
        truth * shade / level,
        [
            ("flatten()", lambda da: da.stack3d.flatten()),
            ("flatten(regress_content=False)", lambda da: da.stack3d.flatten(regress_content=False)),
        ],
    )
    part = truth[100:107, 60:188, 60:188]
    for sigma in (10, 20):
        noisy = part + rng.normal(0, sigma, part.shape)
        ways = [(f"denoise(method={m!r})", lambda da, m=m: da.stack3d.denoise(method=m)) for m in ("nlm", "nlm_z")]
        yield f"noise of {sigma} (7 x 128 x 128)", part, noisy, ways
    both = np.stack([part + rng.normal(0, sigma, part.shape) for sigma in (10, 14)])
    fused = [("fuse_channels()", lambda da: xr.concat([stack(v) for v in both], "channel").stack3d.fuse_channels())]
    yield "two detectors, noise of 10 and 14; the better one", part, both[0], fused


def joint(truth: np.ndarray, title: str) -> None:
    """Print what levels and background leave together, beside the bound of the added noise."""
    rows = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        gain, offset = uneven(truth, rng)
        noise = NOISE * rng.standard_normal(truth.shape, np.float32)
        da = stack((truth + background(truth)) * gain + offset + noise)
        row = [psnr(noise, np.zeros_like(noise)), psnr(da, truth)]
        for given in ({}, {"window": 31}, {"window": "auto"}, {"window": "auto", "statistic": "unchanged"}):
            level = da.stack3d.level_slices(**given)
            row.append(psnr(level.stack3d.remove_background(terms=TERMS), truth))
        row.append(psnr(level.stack3d.remove_background(terms=TERMS, regress_content=False), truth))
        ideal = stack((da.values - offset) / gain)
        row.append(psnr(ideal.stack3d.remove_background(terms=TERMS), truth))
        rows.append(row)
    print(f"| {title} | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |", flush=True)


def speed() -> None:
    """Print processor times."""
    stack3d.set_options(workers=1, progress=False)
    rng = np.random.default_rng(0)
    data = rng.normal(20000, 3000, (8, 1024, 1024)).astype(np.uint16)
    data[:, 100:1000:90, 200:1000:90] = 60000
    da = stack3d.from_array(data, pixel_size=5.0)
    pair = xr.concat([da, da + 100], xr.DataArray(["a", "b"], dims="channel"))
    known = {
        "hot": da.stack3d.detect_hot_pixels(),
        "levels": da.stack3d.estimate_levels(),
        "background": da.stack3d.estimate_background(),
        "slices": da.stack3d.estimate_background(per="slice"),
        "shading": da.stack3d.estimate_shading(),
        "range": da.stack3d.estimate_range(),
        "fusion": pair.stack3d.estimate_fusion(),
    }
    jobs: dict[str, Callable[[], Any]] = {
        "copy of a frame": lambda: [frame.copy() for frame in data],
        "copy of a frame through float32": lambda: [frame.astype(np.float32).astype(np.uint16) for frame in data],
        "detect_hot_pixels": da.stack3d.detect_hot_pixels,
        "fill_pixels, median, apply": lambda: da.stack3d.fill_pixels(estimate=known["hot"], method="median"),
        "fill_pixels, inpaint, apply": lambda: da.stack3d.fill_pixels(estimate=known["hot"], method="inpaint"),
        "level_slices, estimate": da.stack3d.estimate_levels,
        "level_slices, estimate, lags=3": lambda: da.stack3d.estimate_levels(lags=3),
        "level_slices, estimate, unchanged": lambda: da.stack3d.estimate_levels(statistic="unchanged"),
        "level_slices, apply": lambda: da.stack3d.level_slices(estimate=known["levels"]),
        "remove_background, estimate": da.stack3d.estimate_background,
        "remove_background, apply": lambda: da.stack3d.remove_background(estimate=known["background"]),
        "remove_background, estimate, per slice": lambda: da.stack3d.estimate_background(per="slice"),
        "remove_background, apply, per slice": lambda: da.stack3d.remove_background(estimate=known["slices"]),
        "flatten, estimate": da.stack3d.estimate_shading,
        "flatten, apply": lambda: da.stack3d.flatten(estimate=known["shading"]),
        "rescale_intensity, apply": lambda: da.stack3d.rescale_intensity(estimate=known["range"]),
        "fuse_channels, estimate (2 channels)": pair.stack3d.estimate_fusion,
        "fuse_channels, apply (2 channels)": lambda: pair.stack3d.fuse_channels(estimate=known["fusion"]),
    }
    for name, job in jobs.items():
        job()
        times = []
        for _ in range(5):
            start = time.thread_time()
            job()
            times.append((time.thread_time() - start) / data.size * 1e9)
        print(f"| {name} | {np.median(times):.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    stack3d.set_options(progress=False)
    if given.speed:
        speed()
        return
    truth = volume(given.folder)
    if not given.only:
        print(
            "| | noise alone | before | default | window=31 | window='auto' | and 'unchanged' | the same, not regressed | levels known |"
        )
        joint(truth, "as it is")
        joint(without_its_own(truth), "without a background of its own")
    if given.joint:
        return
    print("| defect | what is done | before | after | gain |")
    for defect, true, bad, ways in steps(truth):
        if given.only not in defect:
            continue
        before = psnr(bad, true)
        for name, run in ways:
            after = psnr(np.squeeze(run(stack(bad)).values), true)
            print(f"| {defect} | `{name}` | {before:.2f} | {after:.2f} | {after - before:+.2f} |", flush=True)


if __name__ == "__main__":
    main()
