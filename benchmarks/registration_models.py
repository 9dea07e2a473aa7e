"""Accuracy of the models of registration and of blocks, through the public functions, on stacks with an exact truth.

Usage: ``python benchmarks/registration_models.py [similar] [turned FOLDER] [blocks FOLDER] [noise FOLDER]``

- similar: one texture of 600 x 800 pixels, without noise, turned by 1.2 degrees, 1.01 times as large and displaced by
  (7.3, -4.6) pixels: the largest error of a corner;
- turned FOLDER: numbered PNG slices, re-sliced along y; each slice turned and displaced (rigid; affine: strained by
  0.3 % too) by known matrices, with noise, gain, stripes of its own, one slice of noise and one blank. "same": one slice of tissue
  under the defects of 40, so that nothing but the method errs; "tissue": 40 slices, whose own oblique motion counts too;
- blocks FOLDER: the same with local displacements of 2 pixels that change from slice to slice;
- noise FOLDER: 5 % of the slices replaced by noise: by how much the others move.

Errors are those of the place in the raw slice that a point of the aligned frame is taken from: at the corners ("corner")
or over the frame ("rms"), after the mean or a line over z is taken off ("detrended").
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.fft
import scipy.ndimage

import stack3d
from stack3d import estimates
from stack3d.transforms._field import field_of

cv2.setNumThreads(1)
stack3d.set_options(progress=False)
MARGIN, COUNT = 10, 40


def about(linear: Any, shift: Any, shape: tuple[int, int]) -> np.ndarray:
    matrix, centre = np.eye(3), np.array([shape[1] - 1, shape[0] - 1]) / 2
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + np.asarray(shift) - np.asarray(linear) @ centre
    return matrix


def turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def bent(k: int, places: np.ndarray, shape: tuple[int, int], size: float) -> np.ndarray:
    """Smooth displacement (n, [x, y]) of slice k at places (n, [x, y])."""
    rng = np.random.default_rng(100 + k)
    u = np.pi * (places - np.array([shape[1] - 1, shape[0] - 1]) / 2) / np.array([shape[1], shape[0]])
    turns = rng.uniform(0, 2 * np.pi, 4)
    return (
        size
        * np.stack(
            [np.sin(u[:, 0] + turns[0]) * np.cos(0.8 * u[:, 1] + turns[1]),
             np.sin(u[:, 1] + turns[2]) * np.cos(0.8 * u[:, 0] + turns[3])],
            axis=1,
        )
    )  # fmt: skip


def seen(plane: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], field: Any = None) -> np.ndarray:
    """A raw frame: at M (p + d(p)) it shows what lies at p in the plane, less the margin."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    back = np.linalg.inv(matrix)
    straight = np.stack([x.ravel(), y.ravel()], axis=1) @ back[:2, :2].T + back[:2, 2]
    places = straight
    for _ in range(20 if field is not None else 0):
        places = straight - field(places)
    at = (places + MARGIN)[:, ::-1].T
    return scipy.ndimage.map_coordinates(plane, at, order=5, mode="mirror").reshape(shape)


def planes_of(folder: str) -> np.ndarray:
    paths = sorted(Path(folder).glob("*.png"))
    volume = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])
    return volume.transpose(1, 0, 2)[75 : 75 + COUNT].astype(np.float64)


def spoilt(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    frame = frame * rng.uniform(0.85, 1.15) + rng.normal(0, 12, frame.shape)
    width = frame.shape[1]
    return np.clip(np.rint(frame + 10 * (rng.standard_normal(width) * (rng.random(width) < 0.3))), 0, 255)


def stack_of(planes: np.ndarray, model: str, *, same: bool, size: float = 0.0) -> Any:
    rng, truth, frames = np.random.default_rng(3), [], []
    shape = (planes.shape[1] - 2 * MARGIN, planes.shape[2] - 2 * MARGIN)
    for k in range(COUNT):
        linear = turn(rng.normal(0, 0.3)) if model != "translation" else np.eye(2)
        if model == "affine":
            linear = linear @ (np.eye(2) + rng.normal(0, 0.003, (2, 2)))
        truth.append(about(linear, rng.normal(0, 1.5, 2), shape))
        field = (lambda places, k=k: bent(k, places, shape, size)) if size else None
        frames.append(spoilt(seen(planes[0 if same else k], truth[k], shape, field), rng))
    frames[COUNT // 2] = np.clip(np.rint(rng.normal(120, 20, shape)), 0, 255)
    frames[COUNT // 4] = np.zeros(shape)
    da = stack3d.from_array(np.stack(frames).astype("uint8"), pixel_size=10)
    return da, np.array(truth), np.delete(np.arange(COUNT), [COUNT // 2, COUNT // 4])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def detrended(values: np.ndarray, z: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(z), -1)
    design = np.stack([np.ones(len(z)), z - z.mean()], axis=1)
    return (flat - design @ np.linalg.lstsq(design, flat, rcond=None)[0]).reshape(values.shape)


def errors(
    estimate: Any, truth: np.ndarray, places: np.ndarray, size: float = 0.0, *, blocks: bool = True
) -> np.ndarray:
    """Error (z, n, [x, y]) of the places in the raw slices; slice 0 is where both begin."""
    frame = estimates.frame_of(estimate)
    field, shape, found = field_of(estimate, frame), frame.shape, estimate["transform"].values

    def true_place(k: int, points: np.ndarray) -> np.ndarray:
        moved = points + (bent(k, points, shape, size) if size else 0)
        return moved @ truth[k][:2, :2].T + truth[k][:2, 2]

    origin = true_place(0, places)
    out = []
    for k, matrix in enumerate(found):
        moved = origin + (field.at(k, origin) if field is not None and blocks else 0)
        out.append(moved @ matrix[:2, :2].T + matrix[:2, 2] - true_place(k, places))
    return np.array(out)


def corners(shape: tuple[int, int]) -> np.ndarray:
    return np.array([[x, y] for x in (0, shape[1] - 1) for y in (0, shape[0] - 1)], dtype=float)


def similar() -> None:
    shape, margin = (600, 800), 64
    size = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    rng = np.random.default_rng(0)
    k = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None, :])
    spectrum = scipy.fft.rfft2(rng.standard_normal(size)) / (k + 0.004) ** 1.5 * np.exp(-((k / 0.12) ** 2))
    canvas = scipy.fft.irfft2(spectrum, size)
    canvas = canvas[margin - MARGIN : MARGIN - margin, margin - MARGIN : MARGIN - margin] / canvas.std()
    truth = np.stack([np.eye(3), about(1.01 * turn(1.2), (7.3, -4.6), shape)])
    frames = np.stack([np.rint(30000 + 4000 * seen(canvas, matrix, shape)) for matrix in truth]).clip(0, 65535)
    da = stack3d.from_array(frames.astype("uint16"), pixel_size=10)
    for method in ("phase", "features"):
        estimate = da.stack3d.estimate_transforms(model="similarity", method=method)
        print(
            f"similarity, no noise, {method}: largest corner error {np.abs(errors(estimate, truth, corners(shape))).max():.4f} px"
        )


def turned(folder: str) -> None:
    planes = planes_of(folder)
    for model in ("rigid", "affine"):
        for same in (True, False):
            da, truth, use = stack_of(planes, model, same=same)
            for method in ("phase", "features"):
                estimate = da.stack3d.estimate_transforms(model=model, method=method)
                shape = da.shape[1:]
                found = errors(estimate, truth, corners(shape))[use]
                step = np.diff(found, axis=0)
                exact = truth @ np.linalg.inv(truth[0])
                angle = np.degrees(np.arctan2(exact[:, 0, 1] - exact[:, 1, 0], exact[:, 0, 0] + exact[:, 1, 1]))
                off = (estimate["rotation"].values - angle)[use]
                bad = np.flatnonzero(~estimate["valid"]).tolist()
                print(
                    f"{model}, {'same' if same else 'tissue'}, {method}: not valid {bad}, "
                    f"corner rms {rms(found - found.mean(axis=0)):.3f} detrended {rms(detrended(found, use)):.3f}, "
                    f"step {rms(step):.3f} px; "
                    f"rotation rms {rms(off - off.mean()):.4f}, detrended {rms(detrended(off, use)):.4f} degrees"
                )


def blocks(folder: str) -> None:
    planes = planes_of(folder)
    for same, size in ((True, 2.0), (True, 1.0), (False, 2.0)):
        da, truth, use = stack_of(planes, "rigid", same=same, size=size)
        rows, cols = da.shape[1:]
        y, x = np.mgrid[4 : rows - 4 : 10, 4 : cols - 4 : 10].astype(float)
        places = np.stack([x.ravel(), y.ravel()], axis=1)
        for grid in ((2, 2), (3, 3), (4, 4)):
            for model in ("translation", "rigid", "affine"):
                estimate = da.stack3d.estimate_transforms(model=model, blocks=grid)
                with_, without = (errors(estimate, truth, places, size, blocks=b)[use] for b in (True, False))
                print(
                    f"{'same' if same else 'tissue'}, {size} px, {model}, blocks {grid}: "
                    f"rms {rms(with_ - with_.mean(axis=0)):.3f} detrended {rms(detrended(with_, use)):.3f} px, the model alone "
                    f"{rms(without - without.mean(axis=0)):.3f}; measured {float(estimate['block_valid'][use].mean()):.2f}"
                )


def noise(folder: str) -> None:
    planes = planes_of(folder)
    for model in ("translation", "rigid"):
        da, _, use = stack_of(planes, model, same=False)
        clean = da.stack3d.estimate_transforms(model=model)
        values, bad = da.values.copy(), [7, 31]
        values[bad] = np.random.default_rng(9).normal(120, 20, (2, *da.shape[1:])).clip(0, 255).astype("uint8")
        found = da.copy(data=values).stack3d.estimate_transforms(model=model)
        others = np.setdiff1d(use, bad)
        move = errors(found, clean["transform"].values, corners(da.shape[1:]))[others]
        print(f"{model}: noise in 5 % of the slices moves the corners of others by {np.abs(move).max():.3f} px at most, "
              f"{rms(move):.3f} rms; not valid {np.flatnonzero(~found['valid']).tolist()}")  # fmt: skip


if __name__ == "__main__":
    words = sys.argv[1:] or ["similar"]
    for index, word in enumerate(words):
        if word == "similar":
            similar()
        elif word in ("turned", "blocks", "noise"):
            {"turned": turned, "blocks": blocks, "noise": noise}[word](words[index + 1])
