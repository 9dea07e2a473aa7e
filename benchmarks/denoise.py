"""Denoising real tissue with added noise: gain in PSNR at default strength, beside the best of scanned peers.

    OMP_NUM_THREADS=1 python benchmarks/denoise.py FOLDER

FOLDER holds an isotropic FIB-SEM volume as numbered frames, such as `fib25/sample2` (FlyEM, CC-BY 3.0); the defaults were
chosen on `fib25/sample1`. Peers are given the true noise, and that parameter of a list that gives them the best result: no user
could do better. `stack3d` sees nothing but the noisy stack. The volume has noise of its own, which nothing can
bring back and which favours plain smoothing; ``--bin 2`` takes means of 2 x 2 x 2 voxels as the truth, which have a third of it.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import skimage.restoration as restoration
from scipy import ndimage
from skimage.io import imread

import stack3d

cv2.setNumThreads(1)
SLICES, SIDE, JUDGED = 7, 128, (2, 4)
OWN = [
    ("gaussian", {}),
    ("median", {}),
    ("tv", {}),
    ("wavelet", {}),
    ("multiscale", {}),
    ("correlated", {}),
    ("same_sign", {}),
    ("nlm", {}),
    ("gaussian", {"neighbours": 1}),
    ("nlm_z", {"neighbours": 1}),
    ("nlm_z", {"neighbours": 2}),
]


def volume(folder: Path, start: int, factor: int) -> np.ndarray:
    """Return a part of the frames as float32, its voxels the means of so many along each axis."""
    files = sorted(folder.glob("*.png"))[start : start + factor * SLICES]
    side = min(SIDE, 250 // factor)
    edge = min(60, 250 - side * factor)
    wide = slice(edge, edge + side * factor)
    frames = np.stack([imread(file)[wide, wide] for file in files]).astype(np.float32)
    return frames.reshape(SLICES, factor, side, factor, side, factor).mean((1, 3, 5))


def noises(truth: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, float, bool]]:
    """Yield a name, the noisy volume, the mean standard deviation of its noise, and whether quanta were counted."""
    even = lambda sigma: truth + rng.normal(0, sigma, truth.shape).astype(np.float32)  # noqa: E731
    for sigma in (10, 20):
        yield f"Gaussian {sigma}", even(sigma), sigma, False
    for gain in (1.0, 4.0):
        noisy = gain * rng.poisson(truth / gain).astype(np.float32)
        yield f"Poisson, gain {gain:g}", noisy, float(np.sqrt(gain * truth.mean())), True
    yield "Gaussian 40", even(40), 40, False


def peers(noisy: np.ndarray, sigma: float) -> Iterator[tuple[str, Callable[[int], np.ndarray]]]:
    """Yield peers with each of their parameters; those of one name are scanned."""
    for width in np.arange(0.4, 2.6, 0.1):
        yield "SciPy / OpenCV Gaussian", lambda z, w=width: ndimage.gaussian_filter(noisy[z], w)
    for size in (3, 5):
        yield "OpenCV median", lambda z, s=size: cv2.medianBlur(noisy[z], s)
    for h, size in itertools.product((0.5, 0.6, 0.7, 0.8, 1.0), (3, 5)):
        yield (
            "scikit-image NLM",
            lambda z, h=h, s=size: restoration.denoise_nl_means(
                noisy[z], s, 5, h=h * sigma, sigma=sigma, preserve_range=True
            ),
        )
    for h in (0.7, 0.9, 1.1, 1.3):
        yield (
            "OpenCV NLM",
            lambda z, h=h: cv2.fastNlMeansDenoising(
                np.clip(np.rint(noisy[z]), 0, 255).astype(np.uint8), None, h * sigma, 5, 11
            ).astype(np.float32),
        )
    for weight in (0.4, 0.5, 0.6, 0.7, 0.8, 1.0):
        yield "scikit-image TV", lambda z, w=weight: restoration.denoise_tv_chambolle(noisy[z], weight=w * sigma)
    for share, name in itertools.product((0.8, 1.0, 1.2), ("db2", "sym4")):
        options = {"sigma": share * sigma, "wavelet": name, "rescale_sigma": True}
        yield (
            "scikit-image wavelet, 16 shifts",
            lambda z, o=options: restoration.cycle_spin(noisy[z], restoration.denoise_wavelet, max_shifts=3, func_kw=o),
        )
    for share, width in itertools.product((1.5, 3.0), (1.0, 1.5)):
        yield (
            "scikit-image bilateral",
            lambda z, s=share, w=width: (
                255
                * restoration.denoise_bilateral(
                    np.clip(noisy[z] / 255, 0, 1), sigma_color=s * sigma / 255, sigma_spatial=w
                )
            ),
        )
    for width in np.arange(0.4, 2.0, 0.1):
        yield "SciPy Gaussian, 3-D", lambda z, w=width: ndimage.gaussian_filter(noisy, w)[z]
    for h in (0.5, 0.7, 0.9):
        yield (
            "scikit-image NLM, 3-D",
            lambda z, h=h: restoration.denoise_nl_means(noisy, 3, 2, h=h * sigma, sigma=sigma, preserve_range=True)[z],
        )
    for weight in (0.4, 0.6, 0.8):
        yield "scikit-image TV, 3-D", lambda z, w=weight: restoration.denoise_tv_chambolle(noisy, weight=w * sigma)[z]


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, for a peak of 255."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - truth) ** 2)))


def gain(run: Callable[[int], np.ndarray], noisy: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean gain over the slices that are judged."""
    return float(np.mean([psnr(run(z), truth[z]) - psnr(noisy[z], truth[z]) for z in JUDGED]))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=int, default=100)
    parser.add_argument("--bin", type=int, default=1)
    parser.add_argument("--own", action="store_true", help="without the peers, whose scans take minutes")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    truth = volume(given.folder, given.start, given.bin)
    own_noise = stack3d.from_array(truth, pixel_size=10).stack3d.estimate_noise()["sigma"]
    print(f"{truth.shape} voxels, noise of their own about {float(own_noise.median()):.1f} grey levels")
    table: dict[str, list[str]] = {}
    for name, noisy, sigma, counted in noises(truth, np.random.default_rng(0)):
        table.setdefault("noisy", []).append(f"{np.mean([psnr(noisy[z], truth[z]) for z in JUDGED]):.2f}")
        best: dict[str, float] = {}
        for peer, run in () if given.own else peers(noisy, sigma):
            best[peer] = max(best.get(peer, -np.inf), gain(run, noisy, truth))
        for peer, value in best.items():
            table.setdefault(peer, []).append(f"{value:+.2f}")
        da = stack3d.from_array(noisy, pixel_size=10)
        for method, options in OWN:
            row = f"stack3d {method}" + "".join(f", {k}={v}" for k, v in options.items())
            found = da.stack3d.denoise(method=method, **options).values
            text = f"{gain(lambda z, f=found: f[z], noisy, truth):+.2f}"
            if counted and method in ("nlm", "nlm_z", "wavelet", "multiscale"):
                law = da.stack3d.denoise(method=method, poisson=True, **options).values
                text += f" ({gain(lambda z, f=law: f[z], noisy, truth):+.2f})"
            table.setdefault(row, []).append(text)
        print(f"{name}: done", flush=True)
    for row, values in table.items():
        print(f"| {row} | " + " | ".join(values) + " |")
    stack3d.set_options(workers=1, progress=False)
    large = stack3d.from_array(np.tile(noisy[:3], (1, 4, 4)), pixel_size=10)
    for method, options in OWN:
        times = []
        for _ in range(3):
            start = time.thread_time()  # of one thread alone: the machine may be busy
            large.isel(z=slice(0, 3)).stack3d.denoise(method=method, sigma=10.0, **options)
            times.append((time.thread_time() - start) / 3 / (large.sizes["y"] * large.sizes["x"] / 1e6))
        print(f"{method} {options}: {1e3 * np.median(times):.0f} ms a megapixel")


if __name__ == "__main__":
    main()
