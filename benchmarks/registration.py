"""Speed and accuracy of registration beside its peers in one run, one thread each.

Usage: ``python benchmarks/registration.py [speed] [warp] [affine] [stacks] [tissue FOLDER] [turned FOLDER]``

- speed: estimation per frame with lags 1, 2, 3 beside pystackreg per pair, at 1024 and 2048 pixels a side;
- warp: shift and turn of a frame beside OpenCV's cubic, time and error against the truth;
- affine: time and accuracy of affine pairs beside pystackreg's, on a texture moved by fifth-order splines;
- stacks: whole stacks of the package's own specimen, clean and with every defect, beside a chain of pystackreg;
- tissue FOLDER: the same on a folder of slices, an isotropic volume that is re-sliced along y: planes of one raster, so
  that the truth is known;
- turned FOLDER: slices as for tissue, turned and moved by known matrices, one slice against itself ("same") and against
  its neighbours, with noise, stripes, gain and a bad slice.

Positions are compared with the truth after a line over z is taken off: tissue that runs obliquely looks like drift.
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

import stack3d
from stack3d import synthetic
from stack3d.grid import spacing_of
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


DEFECTS = {
    "drift": {"step": 0.8, "trend": (0.05, -0.03)},
    "jumps": {"size": 8.0, "count": 2},
    "gain": True,
    "offset": True,
    "background": True,
    "stripes": True,
    "noise": {"gaussian": 0.04, "electrons": None},
}
BAD = {30: "blank", 62: "blank", 47: "duplicated"}  # of 100 slices


def chain(frames: Any) -> np.ndarray:
    """Return positions summed up from neighbour to neighbour, as PyStack3D does."""
    from pystackreg import StackReg

    register = StackReg(StackReg.TRANSLATION)
    out = np.zeros((len(frames), 2))
    for j in range(1, len(frames)):
        matrix = register.register(frames[j - 1].astype(float), frames[j].astype(float))
        out[j] = out[j - 1] + [matrix[1, 2], matrix[0, 2]]
    return out


def ours(da: Any) -> np.ndarray:
    """Return positions in pixels, [y, x], at the centre of the frame."""
    estimate = da.stack3d.estimate_transforms()
    return np.stack([estimate[f"shift_{dim}"].values / spacing_of(da, dim) for dim in "yx"], axis=1)


def errors(found: np.ndarray, truth: np.ndarray, use: np.ndarray) -> str:
    """Return rms errors of position, and of the step to the next slice, after a line over z is taken off."""
    z = np.flatnonzero(use)
    error = (found - truth)[use]
    line = error - np.stack([np.polyval(np.polyfit(z, e, 1), z) for e in error.T], axis=1)
    step = np.diff(line, axis=0)[np.diff(z) == 1]
    return f"position {np.sqrt((line**2).mean()):.3f}, step {np.sqrt((step**2).mean()):.3f}"


def compare(name: str, made: Any) -> None:
    """Print errors on a defective stack, of ours and of the chain, and how far the clean slices seem to move."""
    truth = np.stack([made.defects[f"shift_{dim}"].values / spacing_of(made.stack, dim) for dim in "yx"], axis=1)
    use = made.defects["bad_slice"].values == ""
    clean, found = ours(made.truth), ours(made.stack)
    print(f"{name}, {' x '.join(map(str, made.stack.shape))}")
    print(f"  stack3d                        {errors(found, truth, use)}")
    print(f"  pystackreg chain               {errors(chain(made.stack.values), truth, use)}")
    if np.ptp(truth) > 0:
        print(f"  stack3d on the clean slices    {errors(clean, 0 * truth, use)}")
        print(f"  what the defects add to that   {errors(found - clean, truth, use)}")


def stacks(folder: str | None = None) -> None:
    """Whole stacks: of the package's own specimen, or of a folder of slices re-sliced along y."""
    cases = {
        "clean": {},
        "all defects": {**DEFECTS, "bad_slices": {"slices": BAD}},
        "all defects, turned by 0.3 degrees rms": {
            **DEFECTS,
            "bad_slices": {"slices": BAD},
            "rotation": {"step": 0.04},
        },
        "all defects, twice the noise": {
            **DEFECTS,
            "bad_slices": {"slices": BAD},
            "noise": {"gaussian": 0.08, "electrons": None},
        },
    }
    if folder is not None:
        volume = stack3d.open_stack(folder, pixel_size=10, on_gap="ignore").compute().drop_vars("slice_number")
        side = volume.stack3d.reslice(axis="y").isel(z=slice(75, 175))
    for seed in (0, 1):
        for name, defects in cases.items():
            if seed and folder and not defects:
                continue  # the tissue is the same
            if folder is None:
                made = synthetic.make_stack((100, 384, 384), defects=defects or "none", seed=seed, lazy=False)
            else:
                made = synthetic.add_defects(side, defects=defects or "none", seed=seed)
            compare(f"{Path(folder).name if folder else 'synthetic'}, {name}, seed {seed}", made)


def speed(side: int) -> None:
    from pystackreg import StackReg

    frames = synthetic.make_stack((4, side, side), defects={"drift": 0.8, "noise": True}, lazy=False).stack.values
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
    words = sys.argv[1:] or ["speed", "warp", "affine", "stacks"]
    for index, word in enumerate(words):
        if word in ("tissue", "turned"):
            (stacks if word == "tissue" else turned)(words[index + 1])
        elif word == "stacks":
            stacks()
        elif word == "affine":
            affines(512)
            affines(1024)
        elif word in ("speed", "warp"):
            for size in (1024, 2048):
                (speed if word == "speed" else warps)(size)
