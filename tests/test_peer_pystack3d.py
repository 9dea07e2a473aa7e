"""Projects of PyStack3D, run by it and by us: equal where it is right, closer to the truth where ours differs."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import stack3d
from stack3d.cli import main

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(importlib.util.find_spec("pystack3d") is None, reason="pystack3d is not installed"),
]

COUNT, ROWS, COLS = 16, 60, 72
SIDE = 160
POLICY = "slice_{slice_nb}_z={z_coord}um.tif"
TABLES = {
    "cropping": "area = [8, 68, 5, 57]",
    "bkg_removal": "dim = 3\norders = [1, 2, 1]\ncross_terms = true\nskip_factors = [2, 3, 2]\n"
    'weight_func = "HuberT"\npreserve_avg = true',
    "intensity_rescaling": "nbins = 256\nfilter_size = -1",
    "intensity_rescaling_area": "area = [0, 99999, 0, 99999]\nfactors_range = [0.5, 2.0]",
    "registration_calculation": 'nb_blocks = [1, 1]\ntransformation = "TRANSLATION"',
    "registration_transformation": 'subpixel = false\nmode = "edge"\ncropping = true',
    "destriping": 'maxit = 50\ncvg_threshold = 1e-2\nfilters = [{ name = "Gabor", noise_level = 2, sigma = [1, 40], theta = 0 }]',
    "resampling": f'policy = "{POLICY}"\ndz = 0.01',
    "cropping_final": "area = [3, 50, 2, 40]",
}
ALL = list(TABLES)
ALL.remove("intensity_rescaling_area")
ALL.insert(2, ALL.pop(ALL.index("destriping")))
# Without its plots, which take longer than the rest. Whatever happens to one project, the process ends: PyStack3D
# waits for ever after some errors.
THEIRS = """
import os, sys, matplotlib
matplotlib.use("Agg")
import pystack3d.stack3d as there
there.plot = lambda *given, **more: None
try:
    for folder in sys.argv[1:]:
        there.Stack3d(folder).eval(nproc=1, show_pbar=False)
except BaseException as error:
    print(repr(error), file=sys.stderr, flush=True)
    os._exit(1)
"""


@functools.cache
def specimen() -> np.ndarray:
    """Blobs, and texture as every micrograph has it: without detail a place in a frame this small is not fixed."""
    rng = np.random.default_rng(0)
    shape = (2 * COUNT, ROWS + 20, COLS + 20)
    total = np.zeros(shape)
    for sigma, share in (((14, 4, 4), 2500), ((10, 1.2, 1.2), 800)):
        part = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
        total += share * part / part.std()
    return (9000 + total).clip(500, 30000)


def truth(margin: int = 0) -> np.ndarray:
    low = 10 - margin
    return specimen()[::2, low : low + ROWS + 2 * margin, low : low + COLS + 2 * margin]


GAIN = 1 + 0.1 * np.sin(2.1 * np.arange(COUNT))
JUMP = np.where((np.arange(COUNT) >= 5) & (np.arange(COUNT) < 11), 4, 0)


def planted(step: str) -> np.ndarray:
    """Return the specimen with what a step is there for."""
    frames = truth()
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLS * 1j]
    if step in ("bkg_removal", "all"):
        frames = frames + 4000 * (0.8 * x + 0.5 * y - 0.4 * y**2)
    if step.startswith("intensity_rescaling"):
        frames = frames * GAIN[:, None, None]
    if step in ("registration_transformation", "all"):
        frames = np.stack([frame[:, 10 - d : 10 - d + COLS] for frame, d in zip(truth(10)[:, 10:-10], JUMP)])
    if step == "destriping":
        frames = curtained(900.0)
    if step == "all":
        frames = frames.copy()
        frames[::3] += 900 * np.random.default_rng(1).standard_normal(COLS)
    return np.rint(frames.clip(0, 65535)).astype(np.uint16)


def curtained(size: float) -> np.ndarray:
    """Return frames large enough for stripes to be told from what is in them, with curtains on every third."""
    rng = np.random.default_rng(1)
    frames = np.stack([9000 + 1500 * _smooth(rng, 4, 4) + 500 * _smooth(rng, 1.2, 1.2) for _ in range(4)])
    frames[::3] += size * np.stack([_smooth(rng, 40, 1) for _ in frames[::3]])
    return frames


def _smooth(rng: np.random.Generator, *sigma: float) -> np.ndarray:
    made = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), sigma, mode="wrap")
    return np.asarray(made / made.std())


def write(folder: Path, frames: np.ndarray, steps: list[str], z: np.ndarray) -> None:
    folder.mkdir()
    for k, (frame, height) in enumerate(zip(frames, z)):
        tifffile.imwrite(folder / f"slice_{k:04d}_z={height:.4f}um.tif", frame)
    tables = "".join(f"\n[{step}]\n{TABLES[step]}\n" for step in steps)
    names = ", ".join(f'"{step}"' for step in steps)
    (folder / "params.toml").write_text(
        f'ind_min = 0\nind_max = 99999\nchannels = ["."]\nnproc = 1\nprocess_steps = [{names}]\nhistory = []\n{tables}'
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return where the projects lie, each run by both, and what ours said of them."""
    root = tmp_path_factory.mktemp("projects")
    even = 0.01 * np.arange(COUNT)
    uneven = even + 0.003 * (-1.0) ** np.arange(COUNT) * (np.arange(COUNT) > 0) * (np.arange(COUNT) < COUNT - 1)
    jobs = {step: [step] for step in TABLES if not step.startswith(("registration", "cropping_final"))}
    jobs["registration_transformation"] = ["registration_calculation", "registration_transformation"]
    jobs["coarser"] = ["resampling"]
    jobs["all"] = ALL
    for name, steps in jobs.items():
        write(root / name, planted(name), steps, uneven if name == "resampling" else even)
    params = root / "coarser" / "params.toml"
    params.write_text(params.read_text().replace("dz = 0.01", "dz = 0.025"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    for name in jobs:
        # Ours first: PyStack3D writes the steps it has done, and its folders, into the project.
        ran = subprocess.run(
            [sys.executable, "-m", "stack3d.cli", "run", "--no-report", str(root / name)],
            capture_output=True, text=True, env=environment, timeout=900, check=False,
        ) if name == "all" else None  # fmt: skip
        if ran is None:
            assert main(["run", str(root / name)]) == 0
        else:
            assert ran.returncode == 0, ran.stderr
            (root / "said").write_text(ran.stderr)
    ran = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", THEIRS, *(str(root / name) for name in jobs)],
        capture_output=True, text=True, env=environment, timeout=900, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return root


def ours(done: Path, name: str) -> np.ndarray:
    return stack3d.open_stack(done / name / "clean.zarr").values.astype(float)


def theirs(done: Path, name: str, step: str | None = None) -> np.ndarray:
    files = sorted((done / name / "process" / (step or name)).glob("*.tif"))
    return np.stack([tifffile.imread(file) for file in files]).astype(float)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_areas_cut_the_same_pixels(done):
    np.testing.assert_array_equal(ours(done, "cropping"), theirs(done, "cropping"))


def test_backgrounds_are_equal_to_a_thousandth_of_the_range(done):
    left, right = theirs(done, "bkg_removal"), ours(done, "bkg_removal")
    # PyStack3D cuts fractions off, so that it lies half a count lower.
    assert abs(left + 0.5 - right).max() <= 1 + 1e-3 * np.ptp(left)
    assert rms(left + 0.5 - right) <= 1e-3 * np.ptp(left)


def test_gains_of_slices_are_equal_up_to_the_common_level(done):
    left, right = theirs(done, "intensity_rescaling_area"), ours(done, "intensity_rescaling_area")
    common = left.mean() / right.mean()
    assert common == pytest.approx(1, abs=0.03)
    assert abs(left - common * right).max() <= 1e-3 * np.ptp(left) + 1


def exactly_matched(frames: np.ndarray) -> np.ndarray:
    """Give each frame the distribution of all pixels, by rank."""
    ranks = np.argsort(np.argsort(frames.reshape(len(frames), -1), axis=1, kind="stable"), axis=1)
    pool = np.sort(frames.ravel())
    shares = (np.arange(pool.size) + 0.5) / pool.size
    return np.interp((ranks + 0.5) / ranks.shape[1], shares, pool).reshape(frames.shape)


def test_histograms_are_matched_within_half_a_bin_and_ours_keep_the_grey_levels(done):
    left, right = theirs(done, "intensity_rescaling"), ours(done, "intensity_rescaling")
    given = planted("intensity_rescaling").astype(float)
    width, exact = np.ptp(given) / 256, exactly_matched(given)
    assert rms(right - exact) < 0.5 * width
    # PyStack3D counts one pixel in every empty bin, which moves its levels; apart from this it does the same.
    assert rms(left - padded_as_there(given)) < 1
    assert rms(left - exact) > rms(right - exact)
    assert all(len(np.unique(frame)) <= 256 for frame in left)
    assert all(len(np.unique(frame)) > 1000 for frame in right)


def padded_as_there(frames: np.ndarray, nbins: int = 256) -> np.ndarray:
    edges = np.linspace(frames.min(), frames.max(), nbins + 1)
    counts = np.array([np.histogram(frame, edges)[0] for frame in frames])
    wanted = np.cumsum(counts.mean(axis=0))
    levels = np.maximum(counts, 1).cumsum(axis=1)
    table = [np.interp(line / line[-1], wanted / wanted[-1], (edges[1:] + edges[:-1]) / 2) for line in levels]
    bins = np.clip((frames - edges[0]) / (edges[-1] - edges[0]) * nbins, 0, nbins - 1).astype(int)
    return np.stack([line[one] for line, one in zip(table, bins)])


def test_jumps_are_put_back_to_the_pixel_where_fractions_are_left_there(done):
    left, right = theirs(done, "registration_transformation"), ours(done, "registration_transformation")
    expected = np.rint(truth())
    assert right.shape[2] == COLS - 4
    np.testing.assert_array_equal(right, expected[:, :, : right.shape[2]])
    rows, cols = left.shape[1:]
    assert cols == pytest.approx(COLS - 4, abs=1)
    assert rms(left - expected[:, :rows, :cols]) > 0.5


def test_stripes_are_taken_away_with_less_harm(done):
    left, right, before = theirs(done, "destriping"), ours(done, "destriping"), planted("destriping").astype(float)
    clean, striped = curtained(0.0), np.arange(len(before)) % 3 == 0

    def error(found: np.ndarray, which: np.ndarray) -> float:
        away = found[which] - clean[which]
        return rms(away - away.mean((1, 2), keepdims=True))

    everywhere = np.ones_like(striped)
    assert error(right, striped) < 0.7 * error(before, striped)
    assert error(right, ~striped) <= 0.1 * error(left, ~striped)
    assert error(right, everywhere) <= error(left, everywhere)


def test_even_slices_are_equal_to_a_hundredth_of_the_range(done):
    left, right = theirs(done, "resampling"), ours(done, "resampling")
    count = min(len(left), len(right))
    assert abs(len(left) - len(right)) <= 1
    assert rms(left[:count] - right[:count]) < 0.01 * np.ptp(left)


def test_fewer_slices_are_interpolated_at_the_same_places(done):
    left, right = theirs(done, "coarser", "resampling"), ours(done, "coarser")
    count = min(len(left), len(right))
    assert count > 4
    assert abs(len(left) - len(right)) <= 1
    # Theirs cuts fractions off, which is up to a grey level; averaged pairs would be hundreds away.
    assert np.abs(left[:count] - right[:count]).max() <= 1


def test_the_whole_project_runs_unchanged_and_ends_with_the_same_shape(done):
    left, right = theirs(done, "all", "cropping_final"), ours(done, "all")
    assert left.shape[1:] == (38, 47)
    assert right.shape[1:] == (38, 47)
    assert abs(len(left) - len(right)) <= 1


def test_the_whole_project_ends_closer_to_the_truth(done):
    # What both cut: 8 and 3 columns, and 3 rows of the lower edge with 57, then 40, above it.
    left, right, clean = theirs(done, "all", "cropping_final"), ours(done, "all"), truth()[:, 15:53, 11:58]
    alike = [
        np.array([np.corrcoef(frame.ravel(), other.ravel())[0, 1] for frame, other in zip(found, clean)])
        for found in (left, right)
    ]
    striped = np.arange(COUNT) % 3 == 0
    assert alike[1][~striped].min() > 0.97
    assert alike[1][: len(left)].mean() > alike[0].mean()


def test_a_note_says_where_ours_differs_and_stays_with_the_run(done):
    said = (done / "said").read_text()
    state = json.loads((done / "all" / "clean.zarr.run" / "state.json").read_text())
    recipe = (done / "all" / "clean.zarr.run" / "recipe.toml").read_text()
    words = ("z is the true position", "grey levels between the bins", "jumps are rounded", "all slices are placed at once",
             "noise levels are measured", "maxit and cvg_threshold", "rounded once")  # fmt: skip
    for word in words:
        assert any(word in note for note in state["notes"]), word
        assert word in said
        assert word in recipe
    assert all("PyStack3D" in note for note in state["notes"] if "constant_drift" not in note)
    assert len(stack3d.Recipe.from_file(done / "all" / "clean.zarr.run" / "recipe.toml")) == len(ALL) - 1
