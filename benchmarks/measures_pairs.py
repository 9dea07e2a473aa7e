"""Times of the measures of pairs on large frames, beside numpy and scikit-image: medians of processor time, one thread.

``OMP_NUM_THREADS=1 python benchmarks/measures_pairs.py [size]``, size 4096 by default (16.8 megapixels).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from skimage.metrics import normalized_mutual_information

import stack3d
from stack3d.kernels import similarity


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return float(np.median(times))


def plain_ncc(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def plain_nmi(a: np.ndarray, b: np.ndarray, bins: int) -> float:
    joint = np.histogram2d(a.ravel(), b.ravel(), bins=bins)[0] / a.size

    def entropy(p: np.ndarray) -> float:
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint) - 1


def plain_frc(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first, second = (np.fft.fftshift(np.fft.fft2(frame.astype(float))) for frame in (a, b))
    y, x = np.indices(a.shape)
    ring = np.hypot(y - a.shape[0] // 2, x - a.shape[1] // 2).astype(int).ravel()
    cross, one, two = (
        np.bincount(ring, weights.ravel())
        for weights in ((first * second.conj()).real, abs(first) ** 2, abs(second) ** 2)
    )
    return cross / np.sqrt(one * two)


def main(size: int = 4096) -> None:
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    scene = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) * np.exp(-((frequency / 0.1) ** 2)), (size, size))
    scene /= scene.std()
    frames = [
        np.rint(20000 + 2000 * (scene + 0.5 * rng.normal(size=scene.shape))).clip(0, 65535).astype(np.uint16)
        for _ in range(6)
    ]
    da = stack3d.from_array(np.stack(frames), pixel_size=5)
    pair, a, b = da.isel(z=slice(0, 2)), frames[0], frames[1]
    bins = similarity.default_bins(a.size)

    def measure(stack: object, *metrics: str) -> Callable[[], object]:
        return lambda: stack.stack3d.registration_quality(metrics=metrics)  # type: ignore[attr-defined]

    rows: list[tuple[str, Callable[[], object], str, Callable[[], object] | None]] = [
        ("ncc, a pair", measure(pair, "ncc"), "numpy corrcoef", lambda: plain_ncc(a, b)),
        ("nsad, a pair", measure(pair, "nsad"), "", None),
        (
            f"nmi, a pair, {bins} bins",
            measure(pair, "nmi"),
            f"numpy histogram2d, {bins} bins",
            lambda: plain_nmi(a, b, bins),
        ),
        ("", measure(pair, "nmi"), "scikit-image, 128 bins", lambda: normalized_mutual_information(a, b, bins=128)),
        ("frc, a pair", measure(pair, "frc"), "numpy fft2, bincount", lambda: plain_frc(a, b)),
        ("all four, a pair", measure(pair, "ncc", "nsad", "nmi", "frc"), "", None),
        ("frc of one frame, split", lambda: da.isel(z=[0]).stack3d.frc(method="split"), "", None),
    ]
    with stack3d.set_options(workers=1, progress=False):
        for _, own, _, _ in rows:
            own()  # compiled, and the rings of the shape made
        print(f"{size} x {size} uint16, one thread, seconds of processor time")
        for name, own, peer, other in rows:
            mine = seconds(own)
            line = f"{name:28s} {mine:7.3f}"
            if other is not None:
                theirs = seconds(other, 1)
                line += f"   {peer:32s} {theirs:7.2f}   ratio {theirs / mine:6.1f}"
            print(line, flush=True)
        whole = seconds(measure(da, "ncc", "nsad", "nmi", "frc"), 1)
        print(f"{'all four, each of 5 pairs':28s} {whole / 5:7.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
