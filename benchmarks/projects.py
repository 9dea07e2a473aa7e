"""Projects of PyStack3D with known truth: its own synthetic example by its recipe, and larger stacks with every defect.

`benchmarks/pystack3d.py` makes them; a project is a folder of named slices with a ``params.toml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy import ndimage
from skimage.data import binary_blobs

POLICY = "slice_{slice_nb}_z={z_coord}um.tif"
BLOBS = ("cropping", "bkg_removal", "destriping", "registration", "intensity_rescaling", "resampling")
LARGE = ("bkg_removal", "intensity_rescaling", "registration", "destriping", "resampling")


@dataclass
class Defects:
    """What is planted; each can be left out."""

    cropping: bool = False
    bkg_removal: bool = False
    intensity_rescaling: bool = False
    registration: bool = False
    destriping: bool = False
    resampling: bool = False

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Defects:
        return cls(**{name: True for name in cls.__dataclass_fields__ if any(name in given for given in names)})


@dataclass
class Made:
    """Slices as written, the truth at their places and at even places, and the parameters of each step."""

    frames: np.ndarray
    z: np.ndarray
    truth: np.ndarray
    even: np.ndarray
    params: dict[str, dict[str, Any]]

    def write(self, folder: Path, steps: tuple[str, ...], **general: Any) -> Path:
        """Write the project; `registration` stands for both steps of that name."""
        import tomlkit

        folder.mkdir(parents=True)
        for k, (frame, z) in enumerate(zip(self.frames, self.z)):
            tifffile.imwrite(folder / f"slice_{k:04d}_z={z:.4f}um.tif", frame)
        names: list[str] = []
        for step in steps:
            names += ["registration_calculation", "registration_transformation"] if step == "registration" else [step]
        head = {"ind_min": 0, "ind_max": 99999, "channels": ["."], "nproc": 1}
        tables = {name: self.params[name] for name in names}
        text = tomlkit.dumps({**head, **general, "process_steps": names, "history": [], **tables})
        (folder / "params.toml").write_text(text)
        return folder


def example(defects: Defects, size: int = 300) -> Made:
    """Return PyStack3D's synthetic example, made by the recipe that its documentation describes."""
    wide = size * 340 // 300
    blobs = binary_blobs(length=wide, n_dim=3, blob_size_fraction=0.07, volume_fraction=0.5, rng=3)
    smooth = np.clip(ndimage.gaussian_filter(blobs.astype(np.float64), 2, mode="mirror"), 0, 1)
    low = (wide - size) // 2
    truth = np.swapaxes(smooth[low : low + size, low : low + size, low : low + size] * 0.5, 1, 2)
    z, frames = 0.01 * np.arange(size), truth.copy()
    share = size / 300
    part = lambda *ks: np.unique([round(k * share) for k in ks])  # noqa: E731
    if defects.registration:
        for k in part(*range(31, 40), *range(51, 60)):
            frames[k] = ndimage.shift(frames[k], (0, 10), order=1, mode="constant")
    if defects.intensity_rescaling:
        for gain, slices in ((0.7, (75, 78)), (0.4, (80, 85)), (0.6, (90, 93)), (0.5, (95, 100))):
            frames[part(*range(*slices))] *= gain
    if defects.bkg_removal:
        zz, yy, xx = np.ogrid[: size - 1 : size * 1j, : size - 1 : size * 1j, : size - 1 : size * 1j]
        shade = 0.5 * (xx * (size - 1 - yy) * zz) / (size - 1) ** 3
        frames = np.where(frames > 0.05, frames + shade, frames)
    if defects.destriping:
        rng = np.random.default_rng(0)
        for k in part(0, 83):
            frames[k] += curtain((size, size), rng, 10.0)
    even = truth
    if defects.resampling:
        keep = np.array([k for k in range(size) if k <= size // 3 or k % 2 == 0])
        frames, truth, z = frames[keep], truth[keep], z[keep]
    frames = np.clip(255 * frames, 0, 255).astype(np.uint8)
    area = [0, size, 0, size]
    if defects.cropping:
        frames = np.pad(frames, ((0, 0), (0, 0), (40, 0)))
        area = [40, size + 40, 0, size]
    params: dict[str, dict[str, Any]] = {
        "cropping": {"area": area},
        "bkg_removal": {"dim": 3, "orders": [1, 1, 1], "cross_terms": True, "skip_factors": [5, 5, 5]},
        "intensity_rescaling": {"nbins": 256, "filter_size": -1},
        "intensity_rescaling_area": {"area": area, "factors_range": [0.3, 3.0]},
        "destriping": {
            "maxit": 50,
            "cvg_threshold": 1e-2,
            "filters": [{"name": "Gabor", "noise_level": 200, "sigma": [2, 80], "theta": 10}],
        },
        "registration_calculation": {"threshold": 0.5, "nb_blocks": [1, 1], "transformation": "TRANSLATION"},
        "registration_transformation": {"subpixel": False, "mode": "edge", "cropping": True},
        "resampling": {"policy": POLICY, "dz": 0.01},
    }
    params["bkg_removal"] |= {"threshold_min": 5, "preserve_avg": False}
    return Made(frames, z, np.rint(255 * truth), np.rint(255 * even), params)


def curtain(shape: tuple[int, int], rng: np.random.Generator, angle: float) -> np.ndarray:
    """Return streaks: points spread by a narrow, turned Gaussian, scaled to a largest value of 0.25."""
    points = (rng.random(shape) < 1e-4).astype(np.float64)
    y, x = np.mgrid[-200:201, -200:201]
    turn = np.radians(angle)
    across, along = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    spread = np.exp(-0.5 * ((across / 2) ** 2 + (along / 80) ** 2))
    from scipy.signal import fftconvolve

    streaks = fftconvolve(points, spread, mode="same")
    return 0.25 * streaks / streaks.max()


def large(slices: int, side: int, defects: Defects, seed: int = 0, noise: bool = False) -> Made:
    """Return a 16-bit stack of blobs and texture with uneven steps, drift, gain, background and curtains."""
    rng = np.random.default_rng(seed)
    steps = 0.01 * (1 + 0.3 * rng.uniform(-1, 1, slices - 1)) * np.where(np.arange(1, slices) % 13 == 0, 2.0, 1.0)
    z = np.round(np.concatenate([[0.0], np.cumsum(steps)]), 4)
    if not defects.resampling:
        z = 0.01 * np.arange(slices)
    margin = 16
    fine = _volume(int(np.ceil(z[-1] / 0.005)) + 2, side + 2 * margin, rng)

    def at(height: float) -> np.ndarray:
        k = min(int(height / 0.005), len(fine) - 2)
        share = np.float32(height / 0.005 - k)
        return np.asarray((1 - share) * fine[k] + share * fine[k + 1])

    drift = np.cumsum(rng.normal(0, 0.35, (slices, 2)), axis=0) + np.outer(np.arange(slices), [0.04, -0.03])
    drift[slices // 3 :] += (3.2, -1.1)
    drift[2 * slices // 3 :] += (-2.1, 3.6)
    drift = np.clip(drift - drift[0], -margin + 3, margin - 3)
    gain = 1 + 0.03 * rng.standard_normal(slices)
    gain[slices // 4 : slices // 4 + 4] *= 0.8
    gain[slices // 2 : slices // 2 + 3] *= 1.15
    yy, xx = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    inner = (slice(margin, margin + side),) * 2
    truth = np.empty((slices, side, side), np.float32)
    frames = np.empty((slices, side, side), np.uint16)
    for k in range(slices):
        clean = at(z[k])
        truth[k] = clean[inner]
        moved = ndimage.shift(clean, drift[k], order=3, mode="nearest") if defects.registration else clean
        frame = moved[inner].astype(np.float64)
        if defects.intensity_rescaling:
            frame *= gain[k]
        if defects.bkg_removal:
            frame += 7000 * (0.8 * xx + 0.5 * yy - 0.6 * yy**2 + 0.7 * xx * k / max(slices - 1, 1))
        if defects.destriping and k % 3 == 0:
            frame += _stripes(side, rng)
        if noise:
            frame += rng.normal(0, 400, frame.shape)
        frames[k] = np.rint(np.clip(frame, 0, 65535))
    even = np.stack([at(h)[inner] for h in 0.01 * np.arange(int(np.floor(z[-1] / 0.01 + 1e-6)) + 1)])
    params = {
        "cropping": {"area": [0, side, 0, side]},
        "bkg_removal": {"dim": 3, "orders": [1, 2, 1], "cross_terms": True, "skip_factors": [10, 10, 4]},
        "intensity_rescaling": {"nbins": 256, "filter_size": -1},
        "intensity_rescaling_area": {"area": [0, side, 0, side], "factors_range": [0.5, 2.0]},
        "registration_calculation": {"nb_blocks": [1, 1], "transformation": "TRANSLATION"},
        "registration_transformation": {"subpixel": True, "mode": "edge", "cropping": True},
        "destriping": {
            "maxit": 50,
            "cvg_threshold": 1e-2,
            "filters": [{"name": "Gabor", "noise_level": 2, "sigma": [1, 0.22 * side], "theta": 0}],
        },
        "resampling": {"policy": POLICY, "dz": 0.01},
    }
    params["bkg_removal"] |= {"weight_func": "HuberT", "preserve_avg": False}
    return Made(frames, z, truth, even, params)


def _volume(depth: int, side: int, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros((depth, side, side), np.float32)
    for sigma, weight in (((12.0, 9.0, 9.0), 1.0), ((1.6, 1.6, 1.6), 0.35)):
        part = ndimage.gaussian_filter(rng.standard_normal(total.shape, np.float32), sigma, mode="wrap", truncate=3)
        total += np.float32(weight / part.std()) * part
    total *= np.float32(6200 / total.std())
    return np.clip(total + 17000, 2000, 36700, out=total)


def _stripes(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return vertical curtains of rms 1160 that fade slowly along their length."""
    raw = ndimage.gaussian_filter(rng.standard_normal((side, side)), (0.25 * side, 1.0), mode="wrap")
    return np.asarray(1160 * raw / raw.std())
