"""Time of VSNR beside pyvsnr for the same filter, with the difference of the results: one thread each.

Run: OMP_NUM_THREADS=1 python benchmarks/destripe_speed.py [sizes ...]
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.ndimage import gaussian_filter

from stack3d.kernels import _stripe_level, vsnr

LEVEL = 20.0
PEER_ITERATIONS = 20
BOUNDARIES = ("periodic", "reflect")
REPEATS = int(os.environ.get("REPEATS", "3"))  # pairs


def frame_of(size: int, angle: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.normal(size=(size, size)), 4)
    fine = gaussian_filter(rng.normal(size=(size, size)), 1.5)
    frame = np.tanh(3 * texture / texture.std()) + 0.3 * fine / fine.std() + 0.1 * rng.normal(size=(size, size))
    y, x = np.mgrid[:size, :size]
    across = x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))
    profile = gaussian_filter(rng.normal(size=4 * size), 1)
    frame += 0.5 * np.interp(across, np.arange(4 * size) - 2 * size, profile / profile.std())
    return (frame - frame.min() + 0.5).astype(np.float32)


def cost(function, repeats: int) -> tuple[float, float]:
    """Return medians of the wall and processor time, ms: others may share the machine."""
    wall, work = [], []
    for _ in range(repeats):
        start, begin = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start)
        work.append(time.process_time() - begin)
    return 1e3 * float(np.median(wall)), 1e3 * float(np.median(work))


def theirs(frame: np.ndarray, sigma: tuple[float, float], angle: float, count: int) -> np.ndarray:
    import pyvsnr

    fft = np.fft
    kind = {"name": "Gabor", "noise_level": LEVEL, "sigma": sigma, "theta": -angle}
    clean = pyvsnr.vsnr2d(frame, [kind], maxit=count, algo="numpy", norm=False)
    np.fft = fft
    return frame - clean


def main(sizes: list[int]) -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {REPEATS} pairs")
    print("| frame | filter, angle | pyvsnr, ms | vsnr, ms | ratio, wall | ratio, processor | rms difference / range |")
    print("|---|---|---|---|---|---|---|")
    theirs(frame_of(64, 0.0), (1.0, 20.0), 0.0, 1)  # imported, warm
    for size in sizes:
        for sigma, angle in (((0.5, 200.0), 0.0), ((2.0, 80.0), 10.0)):
            compare(size, sigma, angle)
        flat(size)


def flat(size: int) -> None:
    """Print how much longer a frame takes whose upper half is one grey value."""
    frame = frame_of(size, 0.0)
    half = frame.copy()
    half[: size // 2] = frame.mean()
    plan = vsnr.plan(frame.shape)
    ratios = [
        cost(lambda: vsnr.stripes(half, plan), 3)[1] / cost(lambda: vsnr.stripes(frame, plan), 3)[1]
        for _ in range(max(REPEATS, 3))
    ]
    print(f"{size} x {size}, upper half flat: {np.median(ratios):.1f} times the processor time", flush=True)


def compare(size: int, sigma: tuple[float, float], angle: float) -> None:
    """Print a line for the same filter with each boundary, and one for all defaults: measured and solved."""
    frame = frame_of(size, angle)
    rms = float(np.sqrt(np.mean(frame.astype(float) ** 2)))
    filters = [vsnr.Filter("gabor", sigma, angle, LEVEL * rms / _stripe_level.gradient_scale(frame))]
    named = f"({sigma[0]:g}, {sigma[1]:g})"
    plans = {f"{named}, {angle:g}°, {b}": vsnr.plan(frame.shape, filters=filters, boundary=b) for b in BOUNDARIES}
    plans[f"measured, {angle:g}°, reflect"] = vsnr.plan(frame.shape, angle=angle)
    ours = {name: vsnr.stripes(frame, plan) for name, plan in plans.items()}
    own: dict[str, list[tuple[float, float]]] = {name: [] for name in plans}
    peer, reference = [], []
    # In turns, so that all meet the same company.
    for _ in range(REPEATS):
        for name, plan in plans.items():
            own[name].append(cost(lambda plan=plan: vsnr.stripes(frame, plan), 3))
        peer.append(cost(lambda: reference.append(theirs(frame, sigma, angle, PEER_ITERATIONS)), 1))
    for name, times in own.items():
        ratio_wall, ratio_work = np.median(np.array(peer) / np.array(times), axis=0)
        difference = float(np.sqrt(np.mean((ours[name] - reference[0]) ** 2)) / np.ptp(frame))
        same = "" if name.startswith("measured") else f"{difference:.1e}"
        print(
            f"| {size} x {size} | {name} | {np.median(peer, axis=0)[0]:.0f} | {np.median(times, axis=0)[0]:.0f} | "
            f"{ratio_wall:.0f} | {ratio_work:.0f} | {same} |",
            flush=True,
        )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1024, 2048])
