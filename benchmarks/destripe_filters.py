"""Stripes by filters: time beside the plain forms, what is found of planted stripes, and damage without any.

``OMP_NUM_THREADS=1 python benchmarks/destripe_filters.py [size] [wavelet | filters]``: CPU time of one thread, medians;
wavelets in turns with the plain form by PyWavelets and NumPy, on a frame with stripes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import pywt
from scipy import ndimage

from stack3d.kernels import multiscale, wavelet_stripes, wedge

PAIRS = int(os.environ.get("REPEATS", "5"))
UPSTREAM = 3200  # ns a pixel of the published multiscale code, six scales, "predict", measured apart


def median_ms(function: Callable[[], object], repeats: int = 7) -> float:
    function()  # compiled, tables made
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        function()
        times.append(time.thread_time() - begin)
    return float(np.median(times)) * 1e3


def plain(frame: np.ndarray, wavelet: str, level: int, sigma: float) -> np.ndarray:
    approximation, *bands = pywt.wavedec2(frame, wavelet, level=level, mode="symmetric")
    kept = [approximation]
    for other, across, both in bands:
        cycles = np.fft.rfftfreq(len(across), 1 / len(across))[:, None]
        gain = (1 - np.exp(-(cycles**2) / (2 * sigma**2))).astype(np.float32)
        damped = np.fft.irfft(np.fft.rfft(across, axis=0) * gain, len(across), axis=0)
        kept.append((other, damped.astype(frame.dtype), both))
    return pywt.waverec2(kept, wavelet, mode="symmetric")[: frame.shape[0], : frame.shape[1]]


def main(size: int = 1024, what: str = "all") -> None:
    shape, rng = (size, size), np.random.default_rng(0)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    frame = (30000 + 1900 * blobs / blobs.std() + 900 * rng.normal(size=shape)).astype(np.float32)
    long = ndimage.gaussian_filter1d(rng.normal(size=(size + 400, size)), 80, axis=0)[200:-200]
    planted = (600 * long / long.std()).astype(np.float32)

    print(f"{size} x {size}, one thread, ms of CPU time, load {os.getloadavg()[0]:.1f}")
    if what != "filters":
        wavelets(frame + planted)
    if what != "wavelet":
        filters(frame, planted)


def wavelets(frame: np.ndarray) -> None:
    """Print times by default and with dampings, and how many times longer the plain form takes: medians of rounds in turns."""
    kinds = {
        "default": {},
        "damping 4": {"damping": 4, "shrink": False},
        "10": {"damping": 10, "shrink": False},
        "published 4": {"damping": 4, "shrink": False, "boundary": "periodic"},
        "4 shrunk": {"damping": 4},
        "10 shrunk": {"damping": 10},
    }
    print("wavelet   plain float32, 64   " + "".join(f"{name:>16}" for name in kinds) + "   rms difference (published)")
    wide = frame.astype(np.float64)
    for wavelet, most in (("haar", 6), ("db2", 5), ("db4", 5), ("coif3", 4), ("sym8", 5), ("db15", 5)):
        level = min(most, pywt.dwt_max_level(len(frame), pywt.Wavelet(wavelet).dec_len))
        plans = [wavelet_stripes.plan(frame.shape, wavelet=wavelet, level=level, **given) for given in kinds.values()]
        rounds = np.array([
            [median_ms(lambda kind=kind: plain(kind, wavelet, level, 4), 1) for kind in (frame, wide)]
            + [median_ms(lambda plan=plan: wavelet_stripes.stripes(frame, plan)) for plan in plans]
            for _ in range(PAIRS)
        ])  # fmt: skip
        taken = wide - plain(wide, wavelet, level, 4)
        difference = np.std(taken - wavelet_stripes.stripes(frame, plans[3])) / np.std(frame)
        times, ratios = np.median(rounds, axis=0), np.median(rounds[:, :1] / rounds, axis=0)
        shown = "".join(f"{time:9.1f} {ratio:5.1f}x" for time, ratio in zip(times[2:], ratios[2:], strict=True))
        print(f"{wavelet:6} L{level} {times[0]:9.1f} {times[1]:9.1f} {shown}   {difference:.1e}", flush=True)


def filters(frame: np.ndarray, planted: np.ndarray) -> None:
    """Print times, damage and errors of all methods that filter."""
    shape, striped = frame.shape, frame + planted
    print(f"method                ns a pixel  damage  error, stripes of 600  of 2400   (contrast {frame.std():.0f})")
    rows = [
        ("wavelet", wavelet_stripes, {}),
        ("wavelet, published", wavelet_stripes, {"boundary": "periodic", "shrink": False}),
        ("multiscale", multiscale, {}),
        ("multiscale, published", multiscale, {"noise": "rms", "shrink": False}),
        ("multiscale limit", multiscale, {"rule": "limit"}),
        ("wedge", wedge, {}),
        ("wedge auto", wedge, {"kind": "auto"}),
        ("wedge wedge", wedge, {"kind": "wedge"}),
        ("wedge band", wedge, {"kind": "band"}),
    ]
    for name, kernel, options in rows:
        plan = kernel.plan(shape, **options)
        cost = median_ms(lambda: kernel.stripes(striped, plan), 3) * 1e6 / frame.size
        damage = np.std(kernel.stripes(frame, plan))
        errors = [np.std(kernel.stripes(frame + k * planted, plan) - k * planted) for k in (1, 4)]
        note = f"   {UPSTREAM / cost:.0f} times upstream" if kernel is multiscale and "limit" not in name else ""
        print(f"{name:22} {cost:9.0f} {damage:7.1f} {errors[0]:17.1f} {errors[1]:14.1f}{note}")
    y, x = np.indices(shape)
    for angle in (10.0, 90.0):
        across = (x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))).round().astype(int)
        profile = np.random.default_rng(1).normal(0, 600, 4 * len(frame)).astype(np.float32)
        leaning = frame + profile[across + 2 * len(frame)]
        for name, kernel in (("wavelet", wavelet_stripes), ("multiscale", multiscale), ("wedge", wedge)):
            plan = kernel.plan(shape, angle=angle)
            cost = median_ms(lambda: kernel.stripes(leaning, plan), 3) * 1e6 / frame.size
            print(f"{name:12} at {angle:4.0f} degrees {cost:6.0f} ns a pixel")


if __name__ == "__main__":
    main(int((sys.argv[1:] or [1024])[0]), *sys.argv[2:3])
