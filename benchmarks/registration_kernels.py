"""Speed and accuracy of the kernels of registration beside their peers, one thread each.

Usage: ``python benchmarks/registration_kernels.py [speed] [synthetic] [real FOLDER] [warp] [affine]
[turned FOLDER]``

- speed: estimation per frame with lags 1, 2, 3 beside pystackreg per pair, at 1024 and 2048 pixels a side;
- synthetic: an evolving texture with drift, jumps, gain, curtains, noise and a bad slice;
- real FOLDER: a folder of numbered PNG slices, re-sliced along y, with planted shifts made in the Fourier plane of
  the mirrored planes;
- warp: shift and turn of a frame beside OpenCV's cubic;
- affine: time and accuracy of affine pairs beside pystackreg's, on a texture moved by fifth-order splines;
- turned FOLDER: slices as for real, turned and moved by known matrices, one slice against itself ("same") and against
  its neighbours, with noise, stripes, gain and a bad slice.

Positions are compared with the truth after their mean ("rms") and after a line over z ("detrended") is taken off;
"pair" is the error of a step after that line.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.fft
import scipy.ndimage

from stack3d.kernels import affine, phase, solve, warp

cv2.setNumThreads(1)


def median_ms(function: Any, repeat: int = 9) -> float:
    function()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def estimate(frames: Any, lags: tuple[int, ...] = (1, 2, 3), **options: Any) -> Any:
    plan = phase.plan(frames[0].shape, **options)
    spectra, pairs = [], []
    for j, frame in enumerate(frames):
        spectra.append(phase.spectrum(frame, plan))
        pairs += [(j - lag, j, phase.pair_shift(spectra[j - lag], spectra[j], plan)) for lag in lags if lag <= j]
    first, second = [p[0] for p in pairs], [p[1] for p in pairs]
    shifts = [(p[2].dy, p[2].dx) for p in pairs]
    return pairs, solve.positions(first, second, shifts, [p[2].extra.weight for p in pairs], len(frames))


def chain(frames: Any) -> np.ndarray:
    from pystackreg import StackReg

    register = StackReg(StackReg.TRANSLATION)
    out = np.zeros((len(frames), 2))
    for j in range(1, len(frames)):
        matrix = register.register(frames[j - 1].astype(float), frames[j].astype(float))
        out[j] = out[j - 1] + [matrix[1, 2], matrix[0, 2]]
    return out


def report(name: str, found: np.ndarray, truth: np.ndarray, use: np.ndarray) -> None:
    error = (found - truth)[use]
    z = np.flatnonzero(use)
    flat = error - error.mean(axis=0)
    line = flat - np.stack([np.polyval(np.polyfit(z, e, 1), z) for e in flat.T], axis=1)
    pair = np.diff(line, axis=0)
    print(
        f"  {name:28s} rms {np.sqrt((flat**2).mean()):.3f}  detrended {np.sqrt((line**2).mean()):.3f}  "
        f"pair rms {np.sqrt((pair**2).mean()):.3f}  max {np.abs(pair).max():.3f}"
    )


def synthetic_stack(side: int, slices: int, noise: float, *, defects: bool = True, seed: int = 0) -> Any:
    """Evolving three-scale texture on a periodic canvas, moved exactly by phases, cropped, then spoilt."""
    rng = np.random.default_rng(seed)
    size = side + 128
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    ky, kx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    scales = [(3.0, 0.6, 0.80), (8.0, 1.0, 0.93), (25.0, 1.2, 0.98)]
    filters = [amplitude * sigma * np.exp(-2 * (np.pi * k * sigma) ** 2) for sigma, amplitude, _ in scales]
    fields = [scipy.fft.rfft2(rng.standard_normal((size, size))) for _ in scales]
    truth = np.cumsum(rng.normal(0, 0.8, (slices, 2)), axis=0)
    if defects:
        truth[slices // 3 :] += [9, -8]
        truth[2 * slices // 3 :] -= [7, -10]
    truth -= truth.mean(axis=0).round()
    static = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), sigmaX=0.8, sigmaY=60) * 12
    frames = []
    for j in range(slices):
        for index, (_, _, kept) in enumerate(scales):
            if j:
                fresh = scipy.fft.rfft2(rng.standard_normal((size, size)))
                fields[index] = kept * fields[index] + np.sqrt(1 - kept**2) * fresh
        total = sum(field * f for field, f in zip(fields, filters))
        moved = scipy.fft.irfft2(total * np.exp(-2j * np.pi * (ky * truth[j, 0] + kx * truth[j, 1])), (size, size))
        image = moved[64 : 64 + side, 64 : 64 + side] / 0.6
        if defects:
            own = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), sigmaX=0.8, sigmaY=60) * 12
            image = image + 0.35 * static + 0.35 * own
            if j == slices // 2:
                image = 0.3 * cv2.GaussianBlur(image, (0, 0), 6) - 2
        image = image + noise * rng.standard_normal((side, side))
        gain = 1 + (0.08 * rng.uniform(-1, 1) if defects else 0)
        offset = rng.uniform(-1000, 1000) if defects else 0
        frames.append(np.clip(np.rint(30000 + 4000 * gain * image + offset), 0, 65535).astype("uint16"))
    use = np.ones(slices, bool)
    if defects:
        use[slices // 2] = False
    return frames, truth, use


def run_stack(frames: Any, truth: np.ndarray, use: np.ndarray, *, peer: bool = True) -> None:
    pairs, solved = estimate(frames)
    refused = [(i, j, p.extra.refused) for i, j, p in pairs if p.extra.weight == 0]
    report("stack3d lags 1, 2, 3", solved.positions, truth, use)
    pull = [((np.array(p[:2]) - (truth[j] - truth[i])) / p.extra.error_y) for i, j, p in pairs
            if p.extra.weight > 0 and use[i] and use[j]]  # fmt: skip
    print(f"    error / standard error {np.sqrt((np.array(pull) ** 2).mean()):.2f}; refused {refused}")
    print(f"    not ok {np.flatnonzero(~solved.ok).tolist()}, quality {np.round([p[2].quality for p in pairs[:3]], 2)}")
    report("stack3d lag 1", estimate(frames, (1,))[1].positions, truth, use)
    if peer:
        report("pystackreg chain", chain(frames), truth, use)


def speed(side: int) -> None:
    from pystackreg import StackReg

    frames, _, _ = synthetic_stack(side, 4, 0.6, defects=False)
    plan = phase.plan((side, side))
    spectra = [phase.spectrum(frame, plan) for frame in frames]
    one = median_ms(lambda: phase.spectrum(frames[0], plan), 31)
    pair = median_ms(lambda: [phase.pair_shift(spectra[0], spectra[lag], plan) for lag in (1, 2, 3)], 31)
    register = StackReg(StackReg.TRANSLATION)
    peer = median_ms(lambda: register.register(frames[0], frames[1]), 3)
    print(
        f"{side}: spectrum {one:.2f} ms, three pairs {pair:.2f} ms; pystackreg {peer:.0f} ms a pair, "
        f"ratio {peer / (one + pair):.0f}"
    )


def synthetic() -> None:
    for noise, defects in ((0.6, True), (1.5, True), (3.0, True), (0.3, False)):
        print(f"synthetic 1024, 24 slices, noise {noise}, defects {defects}")
        run_stack(*synthetic_stack(1024, 24, noise, defects=defects))


def real(folder: str) -> None:
    paths = sorted(Path(folder).glob("*.png"))
    volume = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])
    planes = volume.transpose(1, 0, 2)[75:175].astype(np.float64)
    rng = np.random.default_rng(3)
    count, ny, nx = planes.shape
    for name, sigma in (("drift 0.8 px a slice", 0.0), ("the same and noise, curtains, gain, a bad slice", 12.0)):
        truth = np.cumsum(rng.normal(0, 0.8, (count, 2)), axis=0)
        truth -= truth.mean(axis=0)
        frames = []
        for j, plane in enumerate(planes):
            mirrored = np.block([[plane, plane[:, ::-1]], [plane[::-1], plane[::-1, ::-1]]])
            ky, kx = np.fft.fftfreq(2 * ny)[:, None], np.fft.rfftfreq(2 * nx)[None, :]
            turn = np.exp(-2j * np.pi * (ky * truth[j, 0] + kx * truth[j, 1]))
            image = np.fft.irfft2(np.fft.rfft2(mirrored) * turn, (2 * ny, 2 * nx))[8 : ny - 8, 8 : nx - 8]
            if sigma:
                image = image * rng.uniform(0.85, 1.15) + rng.normal(0, sigma, image.shape)
                stripes = rng.standard_normal(image.shape[1]) * (rng.random(image.shape[1]) < 0.3)
                image = image + 10 * stripes[None, :]
                if j == count // 2:
                    image = rng.normal(120, 20, image.shape)
            frames.append(np.clip(np.rint(image), 0, 255).astype("uint8"))
        use = np.ones(count, bool)
        use[count // 2] = not sigma
        print(f"real texture {frames[0].shape}, {count} slices, {name}")
        run_stack(frames, truth, use)


def warps(side: int) -> None:
    rng = np.random.default_rng(0)
    size = side + 64
    ky, kx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    k = np.hypot(ky, kx)
    texture = scipy.fft.rfft2(rng.standard_normal((size, size))) / (k + 0.004) ** 1.3 * np.exp(-((k / 0.2) ** 2))

    def image(dy: float, dx: float) -> np.ndarray:
        return scipy.fft.irfft2(texture * np.exp(2j * np.pi * (ky * dy + kx * dx)), (size, size))[:side, :side]

    spread = float(image(0, 0).std())
    frame = np.rint(30000 + 6000 * image(0, 0) / spread).clip(0, 65535).astype("uint16")
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP

    def peer(matrix: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(frame, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    for dy, dx in ((0.37, 0.61), (0.01, 0.012)):
        truth = image(dy, dx)[16:-16, 16:-16] / spread
        ways = {
            "stack3d": partial(warp.shift_frame, frame, dy, dx),
            "stack3d lanczos": partial(warp.shift_frame, frame, dy, dx, order="lanczos"),
            "cv2 cubic": partial(peer, np.array([[1, 0, dx], [0, 1, dy]])),
        }
        for name, way in ways.items():
            found = way() if name == "cv2 cubic" else way()[0]
            error = (found[16:-16, 16:-16].astype(float) - 30000) / 6000 - truth
            print(
                f"{side} uint16 ({dy}, {dx}) {name:16s} {median_ms(way, 21):7.2f} ms  "
                f"error {np.sqrt((error**2).mean()):.1e}"
            )
    turn = np.array([[np.cos(0.005), -np.sin(0.005), 3], [np.sin(0.005), np.cos(0.005), -2], [0, 0, 1]])
    ours, theirs = median_ms(partial(warp.warp_frame, frame, turn), 5), median_ms(partial(peer, turn[:2]), 5)
    print(f"{side} uint16 rotation by 0.29 degrees: stack3d {ours:.1f} ms, cv2 cubic {theirs:.1f} ms")


def about(linear: Any, shift: Any, side: int) -> np.ndarray:
    matrix, centre = np.eye(3), (side - 1) / 2
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + np.asarray(shift) - np.asarray(linear) @ [centre, centre]
    return matrix


def turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def moved(canvas: np.ndarray, matrix: np.ndarray, side: int, margin: int) -> np.ndarray:
    """What is seen of a canvas whose content was moved by a matrix."""
    back = np.linalg.inv(matrix)
    y, x = np.mgrid[:side, :side].astype(float)
    places = [back[i, 0] * x + back[i, 1] * y + back[i, 2] + margin for i in (1, 0)]
    return scipy.ndimage.map_coordinates(canvas, places, order=5, mode="mirror")


def corners(side: int) -> np.ndarray:
    return np.array([[0, 0, 1], [side - 1, 0, 1], [0, side - 1, 1], [side - 1, side - 1, 1.0]]).T


def affines(side: int) -> None:
    from pystackreg import StackReg

    rng, margin = np.random.default_rng(0), 64
    size = side + 2 * margin
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    spectrum = scipy.fft.rfft2(rng.standard_normal((size, size))) / (k + 0.004) ** 1.5 * np.exp(-((k / 0.12) ** 2))
    canvas = scipy.fft.irfft2(spectrum, (size, size))
    canvas /= canvas.std()
    linear = turn(0.3) @ [[1.004, 0.002], [-0.003, 0.998]]
    kinds = {"rigid": turn(0.3), "similarity": turn(0.3) * 1.004, "affine": linear}
    peers = {"rigid": StackReg.RIGID_BODY, "similarity": StackReg.SCALED_ROTATION, "affine": StackReg.AFFINE}
    for model, part in kinds.items():
        matrix = about(part, (3.3, -5.6), side)
        clean = moved(canvas, np.eye(3), side, margin), moved(canvas, matrix, side, margin)
        for noise in (0.0, 0.5):
            frames = [np.rint(30000 + 3000 * (frame + noise * rng.standard_normal(frame.shape))) for frame in clean]
            first, second = (frame.clip(0, 65535).astype("uint16") for frame in frames)
            plan = affine.plan(first.shape, model)
            one, two = affine.prepare(first, plan), affine.prepare(second, plan)
            found = affine.pair(one, two, plan)
            register = StackReg(peers[model])
            begin = time.perf_counter()
            theirs = register.register(first.astype(float), second.astype(float))
            peer = 1e3 * (time.perf_counter() - begin)
            frame_ms = median_ms(partial(affine.prepare, first, plan))
            pair_ms = median_ms(partial(affine.pair, one, two, plan))
            worst = [np.abs(((m - matrix) @ corners(side))[:2]).max() for m in (found.matrix, theirs)]
            print(
                f"{side} {model:10s} noise {noise}: prepare {frame_ms:.1f} ms, pair {pair_ms:.1f} ms, corner error "
                f"{worst[0]:.4f} px (expected {found.error:.3f}); pystackreg {peer:.0f} ms, {worst[1]:.4f} px; "
                f"ratio {peer / (frame_ms + pair_ms):.0f}"
            )


def turned(folder: str) -> None:
    from pystackreg import StackReg

    paths = sorted(Path(folder).glob("*.png"))
    volume = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])
    planes = volume.transpose(1, 0, 2)[75:115].astype(np.float64)
    margin, count = 8, len(planes)
    side = min(planes.shape[1:]) - 2 * margin
    peers = {"rigid": StackReg.RIGID_BODY, "affine": StackReg.AFFINE}
    for model, same in (("rigid", True), ("affine", True), ("rigid", False), ("affine", False)):
        rng, truth, frames = np.random.default_rng(3), [], []
        for j in range(count):
            linear = turn(rng.normal(0, 0.3))
            if model == "affine":
                linear = linear @ (np.eye(2) + rng.normal(0, 0.003, (2, 2)))
            truth.append(about(linear, rng.normal(0, 1.5, 2), side))
            frame = moved(planes[0 if same else j], truth[j], side, margin) * rng.uniform(0.85, 1.15)
            frame += rng.normal(0, 12, frame.shape) + 10 * (rng.standard_normal(side) * (rng.random(side) < 0.3))
            if j == count // 2:
                frame = rng.normal(120, 20, frame.shape)
            frames.append(np.clip(np.rint(frame), 0, 255).astype("uint8"))
        plan = affine.plan((side, side), model)
        prepared = [affine.prepare(frame, plan) for frame in frames]
        pairs = [(j - lag, j) for j in range(count) for lag in (1, 2, 3) if lag <= j]
        found = [affine.pair(prepared[i], prepared[j], plan) for i, j in pairs]
        first, second = np.array(pairs).T
        solved = solve.poses(
            first,
            second,
            [p.matrix for p in found],
            [p.weight for p in found],
            count,
            ((side - 1) / 2,) * 2,
            model=model,
        )
        exact = [truth[j] @ np.linalg.inv(truth[i]) for i, j in pairs]
        near = [p for p, (i, j) in enumerate(pairs) if j - i == 1 and found[p].weight > 0]
        use = np.arange(count) != count // 2
        steps = np.flatnonzero(use[1:] & use[:-1])
        poses = solved.matrices[steps + 1] @ np.linalg.inv(solved.matrices[steps])
        register = StackReg(peers[model])
        theirs = [register.register(*(frames[k].astype(float) for k in pairs[p])) for p in near]
        print(
            f"{model}, {'same slice' if same else 'neighbours'}: refused {[pairs[p] for p in range(len(pairs)) if found[p].refused]}"
        )
        for name, matrices, truths in (
            ("pairs, lag 1", [found[p].matrix for p in near], [exact[p] for p in near]),
            ("steps, solved", poses, [truth[k + 1] @ np.linalg.inv(truth[k]) for k in steps]),
            ("pystackreg, lag 1", theirs, [exact[p] for p in near]),
        ):
            error = np.array(matrices) - np.array(truths)
            corner, angle = (error @ corners(side))[:, :2], np.rad2deg(error[:, 1, 0] - error[:, 0, 1]) / 2
            print(
                f"  {name:18s} corner rms {np.sqrt((corner**2).mean()):.3f} max {np.abs(corner).max():.3f} px, "
                f"rotation rms {np.sqrt((angle**2).mean()):.4f} degrees"
            )


if __name__ == "__main__":
    words = sys.argv[1:] or ["speed", "synthetic", "warp"]
    for index, word in enumerate(words):
        if word == "real":
            real(words[index + 1])
        elif word == "turned":
            turned(words[index + 1])
        elif word == "affine":
            affines(512)
            affines(1024)
        elif word == "synthetic":
            synthetic()
        elif word in ("speed", "warp"):
            for size in (1024, 2048):
                (speed if word == "speed" else warps)(size)
