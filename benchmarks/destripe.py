"""Accuracy of destriping on real tissue: against the truth, and beside other programs at their best parameters.

    OMP_NUM_THREADS=1 python benchmarks/destripe.py FOLDER_TO_TUNE FOLDER_TO_REPORT

Both folders hold an isotropic FIB-SEM volume as numbered frames, for example `fib25/sample1` and `fib25/sample2` (FlyEM,
CC-BY 3.0), re-sliced along y. Stripes of two generators are planted along y. The other programs' parameters are
scanned on the first volume, for each kind of stripes, and used on the second; methods of this package run as they are.

Every frame is compared with the truth free of its mean, which stripes share with the specimen. Damage is the change
of the frames without stripes: its standard deviation over that of the frame.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage
from skimage.metrics import structural_similarity

import stack3d
from stack3d import kernels
from stack3d.operations._stripe_ways import METHODS

KINDS: dict[str, dict[str, Any]] = {
    "lines": {"stripes": {"kind": "sparse", "persistence": 1}},
    "correlated": {"stripes": {"kind": "gaussian", "amount": 0.06}},
    "curtains": {"curtains": {"amount": 0.12}},
}
RANGE = 255.0
FIRST, COUNT = 100, 12
_STEPS = 6
Frame = np.ndarray


def tissue(folder: Path) -> xr.DataArray:
    """Return some slices of a volume re-sliced along y, float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = stack3d.open_stack(folder, pixel_size=10, on_gap="ignore").compute()
    side = volume.drop_vars("slice_number").stack3d.reslice(axis="y")
    return side.isel(z=slice(FIRST, FIRST + COUNT)).astype(np.float32)


def planted(truth: xr.DataArray, kind: str, seed: int) -> xr.DataArray:
    """Return a stack with stripes and nothing else."""
    return stack3d.synthetic.add_defects(truth, defects=KINDS[kind], seed=seed).stack


def psnr(found: Frame, truth: Frame) -> float:
    """Return the ratio of `RANGE` to the rms difference, in decibels, mean over frames; each free of its mean."""
    return float(np.mean([-20 * np.log10((a - a.mean() - b + b.mean()).std() / RANGE) for a, b in zip(found, truth)]))


def ssim(found: Frame, truth: Frame) -> float:
    """Return the structural similarity, mean over frames."""
    pairs = zip(found, truth, strict=True)
    return float(np.mean([structural_similarity(a - a.mean(), b - b.mean(), data_range=RANGE) for a, b in pairs]))


def damage(found: Frame, truth: Frame) -> float:
    """Return the change of frames without stripes, over their standard deviation, mean over frames."""
    return float(np.mean([(a - b).std() / b.std() for a, b in zip(found, truth, strict=True)]))


def with_pyvsnr(frame: Frame, across: float, along: float, noise_level: float) -> Frame:
    """Return what the package pyvsnr leaves, without its normalisation."""
    plan = kernels.pyvsnr.plan(frame.shape, sigma=(across, along), noise_level=noise_level, max_iter=20)
    return frame - kernels.pyvsnr.stripes(frame, plan, None)


def with_wavelet(frame: Frame, wavelet: str, levels: int, sigma: float) -> Frame:
    """Return what damping the vertical details of each level leaves, after Muench and others, Opt. Express 17, 8567."""
    import pywt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = pywt.wavedec2(frame, wavelet, level=levels)
    for k, (level, upright, diagonal) in enumerate(parts[1:], start=1):
        rows = np.fft.fftfreq(upright.shape[0]) * upright.shape[0]
        kept = 1 - np.exp(-(rows**2) / (2 * sigma**2))
        parts[k] = (level, np.fft.ifft(np.fft.fft(upright, axis=0) * kept[:, None], axis=0).real, diagonal)
    return np.asarray(pywt.waverec2(parts, wavelet))[: frame.shape[0], : frame.shape[1]].astype(np.float32)


def with_column_means(frame: Frame, sigma: float) -> Frame:
    """Return the frame less the fine part of its column means."""
    means = frame.mean(axis=0)
    return frame - (means - ndimage.gaussian_filter1d(means, sigma))


PEERS: dict[str, tuple[Callable[..., Frame], list[tuple[Any, ...]]]] = {
    "pyvsnr": (with_pyvsnr, list(itertools.product((0.5, 1.0, 2.5), (30.0, 80.0, 200.0), (1.0, 5.0, 20.0, 80.0)))),
    "wavelet (pywt)": (
        with_wavelet,
        list(itertools.product(("db4", "coif3", "sym8"), (2, 3, 4, 5), (1.0, 2.0, 4.0))),
    ),
    "column means": (with_column_means, [(sigma,) for sigma in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)]),
}


def tuned(peer: str, stack: Frame, truth: Frame) -> tuple[Any, ...]:
    """Return the parameters of a peer that give the best PSNR: the best of a grid, then steps of 1.5 while they help."""
    function, choices = PEERS[peer]

    def score(values: tuple[Any, ...]) -> float:
        return psnr(np.stack([function(frame, *values) for frame in stack]), truth)

    scores = {values: score(values) for values in choices}
    best = max(scores, key=lambda values: scores[values])
    for _ in range(_STEPS):
        for k, factor in itertools.product(range(len(best)), (1.5, 1 / 1.5)):
            if isinstance(best[k], float):
                near = (*best[:k], round(best[k] * factor, 3), *best[k + 1 :])
                scores.setdefault(near, score(near))
        if best == (better := max(scores, key=lambda values: scores[values])):
            break
        best = better
    return best


def ours(method: str, neighbours: int, extra: dict[str, Any]) -> Callable[[xr.DataArray], Frame]:
    """Return a call of `destripe`."""

    def run(da: xr.DataArray) -> Frame:
        return da.stack3d.destripe(method=method, neighbours=neighbours, **extra).values

    return run


def runs(kind: str, tune: xr.DataArray, neighbours: int, chosen: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, parameters and function (stack to values) of all that is compared."""
    stack = planted(tune, kind, seed=1)
    some = slice(2, None, 6)
    for peer, (function, _) in PEERS.items():
        values = chosen[peer] = tuned(peer, stack.values[some], tune.values[some])
        yield (
            f"{peer}, tuned",
            ", ".join(map(str, values)),
            lambda da, f=function, v=values: np.stack([f(frame, *v) for frame in da.values]),
        )
    for method in METHODS:
        if method == "pyvsnr":
            continue
        for k in range(neighbours + 1):
            yield f"{method}" + (f", neighbours={k}" if k else ""), "default", ours(method, k, {})


def report(tune_folder: Path, folder: Path, neighbours: int) -> None:
    """Print a table in markdown."""
    tune, truth = tissue(tune_folder), tissue(folder)
    for kind in KINDS:
        stack = planted(truth, kind, seed=2)
        before = float(stack.stack3d.streak_index(angle=0).streak_index.mean())
        clean = float(truth.stack3d.streak_index(angle=0).streak_index.mean())
        print(f"\n**{kind}** (streak index {before:.3f}, of the truth {clean:.3f})\n")
        print("| | parameters | PSNR / dB | SSIM | streak index after | damage / % | s a frame |")
        print("|---|---|---|---|---|---|---|")
        found = stack.values
        print(
            f"| not corrected | | {psnr(found, truth.values):.2f} | {ssim(found, truth.values):.4f} | {before:.3f} | | |"
        )
        for name, parameters, function in runs(kind, tune, neighbours, {}):
            function(stack.isel(z=slice(0, 2)))
            start = time.perf_counter()
            found = function(stack)
            took = (time.perf_counter() - start) / stack.sizes["z"]
            harm = damage(function(truth), truth.values)
            after = float(stack.copy(data=found).stack3d.streak_index(angle=0).streak_index.mean())
            print(
                f"| {name} | {parameters} | {psnr(found, truth.values):.2f} | {ssim(found, truth.values):.4f} "
                f"| {after:.3f} | {100 * harm:.2f} | {took:.3f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tune", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--neighbours", type=int, default=5, help="greatest number of slices on either side")
    arguments = parser.parse_args()
    stack3d.set_options(workers=1)
    report(arguments.tune, arguments.report, arguments.neighbours)


if __name__ == "__main__":
    main()
