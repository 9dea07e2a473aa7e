"""Processor times and errors of the noise measures on one large frame, one thread, beside published methods as they are written.

``python benchmarks/measures.py [snr | noise | other | accuracy] [--side 4096]``

``snr``: `stack3d.snr` beside the same numbers from whole-frame transforms in double precision. ``noise``:
`stack3d.noise_statistics` beside a curve made with one comparison of the whole frame a bin. ``other``: the measures
without a peer here. ``accuracy``: gain and zero signal of counted electrons, and the ratio of a known one.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
import scipy.ndimage

import stack3d


def median_ms(function: Callable[[], object], repeats: int = 5) -> float:
    function()  # compiled, and its memory touched
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return float(np.median(times)) * 1e3


def texture(shape: tuple[int, int], sigma: float, seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    values = scipy.ndimage.gaussian_filter(white, sigma, mode="wrap")
    return values / values.std()


def frame_of(side: int, dtype: str = "uint16") -> np.ndarray:
    electrons = np.clip(1000 + 300 * texture((side, side), 4, 0), 50, None)
    return (2 * np.random.default_rng(1).poisson(electrons) + 100).astype(dtype)


def transformed_snr(frame: np.ndarray) -> tuple[float, float]:
    """Circular autocorrelation through double-precision transforms, then the parabola along x and y."""
    values = frame.astype(np.float64)
    values -= values.mean()
    power = np.abs(np.fft.fft2(values)) ** 2
    correlation = np.fft.ifft2(power).real
    found = []
    for profile in (correlation[0], correlation[:, 0]):
        free = (4 * profile[1] - profile[2]) / 3
        found.append(float(free / (profile[0] - free)))
    return found[0], found[1]


def compared_curve(frame: np.ndarray, bins: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Variance against mean with one comparison of the whole frame a bin."""
    side = 1 / np.sqrt(2)
    kernel = np.array([[side, 1, side], [1, 1, 1], [side, 1, side]])
    smooth = scipy.ndimage.convolve(frame.astype(np.float64), kernel / kernel.sum())
    residual = frame - smooth
    edges = np.linspace(*np.quantile(smooth[::8], [0.02, 0.99]), bins)
    inside = [(smooth >= low) & (smooth < high) for low, high in itertools.pairwise(edges)]
    return np.array([smooth[m].mean() for m in inside]), np.array([residual[m].var() for m in inside])


def show(rows: list[tuple[str, Callable[[], object], Callable[[], object] | None]]) -> None:
    print(f"{'':<44}{'ms':>10}{'plain, ms':>12}{'ratio':>8}")
    for name, own, peer in rows:
        mine = median_ms(own)
        theirs = median_ms(peer, 1) if peer else np.nan
        print(f"{name:<44}{mine:>10.0f}{theirs:>12.0f}{theirs / mine:>8.1f}")


def snr(side: int) -> None:
    frame = frame_of(side)
    da = stack3d.from_array(frame, pixel_size=5)
    rows = [
        ("snr, parabolic", lambda: stack3d.snr(da), lambda: transformed_snr(frame)),
        ("snr, gaussian", lambda: stack3d.snr(da, extrapolation="gaussian"), None),
        ("snr, levinson", lambda: stack3d.snr(da, extrapolation="levinson"), None),
        ("snr, variance", lambda: stack3d.snr(da, method="variance"), None),
    ]
    pair = stack3d.from_array(np.stack([frame, frame[::-1]]), pixel_size=(20, 5, 5))
    rows.append(("snr, cross-correlation (a pair)", lambda: stack3d.snr(pair, method="cross-correlation"), None))
    show(rows)


def noise(side: int) -> None:
    frame = frame_of(side)
    da = stack3d.from_array(frame, pixel_size=5)
    real = stack3d.from_array(frame.astype(np.float32), pixel_size=5)
    show(
        [
            ("noise_statistics, uint16", lambda: stack3d.noise_statistics(da), lambda: compared_curve(frame)),
            ("noise_statistics, float32", lambda: stack3d.noise_statistics(real), None),
        ]
    )


def other(side: int) -> None:
    da = stack3d.from_array(frame_of(side), pixel_size=5)
    show(
        [
            ("sharpness, brenner", lambda: stack3d.sharpness(da), None),
            ("sharpness, spectral", lambda: stack3d.sharpness(da, method="spectral"), None),
            ("contrast", lambda: stack3d.contrast(da), None),
        ]
    )


def accuracy(side: int) -> None:
    print("gain 2, zero signal -500: gain, zero signal (mean and standard error of 12 frames)")
    for sigma, low, high in ((16, 20, 2000), (4, 700, 1300), (2, 700, 1300)):
        frames = []
        for seed in range(12):
            level = np.clip((low + high) / 2 + (high - low) / 4 * texture((512, 512), sigma, seed), low, high)
            frames.append(2 * np.random.default_rng(seed + 50).poisson(level) - 500)
        da = stack3d.from_array(np.array(frames, np.int16), pixel_size=(20, 5, 5))
        for flattest in (0.5, 1.0):
            found = da.stack3d.noise_statistics(flattest=flattest)
            text = ", ".join(
                f"{float(found[n].mean()):.3f} +- {float(found[n].std()) / 12**0.5:.3f}"
                for n in ("gain", "zero_signal")
            )
            print(f"features {sigma} px, {low} to {high} electrons, flattest={flattest}: {text}")
        mean, variance = np.mean([compared_curve(np.asarray(f, float)) for f in frames], axis=0)
        slope, start = np.polyfit(mean, variance, 1)
        print(f"    a plain fit to the plain curve: {slope:.3f}, {-start / slope:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = {"snr": snr, "noise": noise, "other": other, "accuracy": accuracy}
    parser.add_argument("mode", choices=modes, nargs="?", default="snr")
    parser.add_argument("--side", type=int, default=4096)
    given = parser.parse_args()
    with stack3d.set_options(workers=1, progress=False):
        modes[given.mode](given.side)


if __name__ == "__main__":
    main()
