"""Side by side with an installed PyStack3D: time and error of every step, and of a whole project run unchanged.

    OMP_NUM_THREADS=1 python benchmarks/pystack3d.py --stack example --peer /path/to/venv/bin/python
    OMP_NUM_THREADS=1 python benchmarks/pystack3d.py --stack a --each --peer /path/to/venv/bin/python

``--peer`` is a Python in which `pystack3d` is installed (by default the one that runs this), so that its dependencies do
not meet ours. Both programs run the same project folder through its ``params.toml``, in processes of their own with a
time limit, since PyStack3D hangs after some errors; both write what they make. Imports are left out, and the first run
of either in a process; the first of ours, which loads the compiled kernels from disk, is given apart. The two take
turns, so that what else the machine does falls on both: given are medians of the rounds, and in brackets the least and
the largest ratio of a round. Given are seconds on the clock, and of the processor, children included: on a machine that
is shared only the second can be compared. PyStack3D draws its plots while it runs, ours writes a report after: both
times are given with and without. ``--each`` also gives the step as a call on the opened folder, saved, beside the step
of PyStack3D, which does not read its project either; and the time of copying the slices byte by byte, read twice where the step
measures the stack before it corrects it: the least that any program needs.

Errors are against the truth: rms as it is, and after the best gain and offset (backgrounds are found up to a
constant); "worse" is more than rounding explains. Where frames were cut, the place that fits best counts, for both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from projects import BLOBS, LARGE, Defects, Made, example, large

import stack3d
from stack3d.runs.pystack3d import read_project

RUNNER = Path(__file__).with_name("peers") / "project.py"
ALONE = ("alone", "copied")
HALF = 0.5  # of a grey level: the two round differently, which moves the mean
FIGURES = 1.0005  # in which both errors are the same, where the fits are
OWN = 3  # runs of ours a round that count; of the peer, one
EACH = (
    *("cropping", "bkg_removal", "intensity_rescaling", "intensity_rescaling_area", "registration", "destriping"),
    "resampling",
)
NAMES = {
    "cropping": "crop",
    "bkg_removal": "remove_background",
    "intensity_rescaling": "match_histograms",
    "intensity_rescaling_area": "level_slices",
    "registration": "register",
    "destriping": "destripe",
    "resampling": "resample",
}


def make(stack: str, defects: tuple[str, ...], size: int | None, noise: bool, count: int | None = None) -> Made:
    planted = Defects.of(defects)
    if stack == "example":
        return example(planted, size or 300)
    slices, side = {"a": (64, 512), "b": (32, 1024)}[stack]
    return large(count or slices, size or side, planted, seed="ab".index(stack), noise=noise)


def timed(python: str, which: str, folder: Path, workers: int, repeats: int, limit: float) -> list[dict[str, Any]]:
    """Return what the runner prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling sources at every start is no part of either
    command = [python, "-P", str(RUNNER), which, str(folder), f"--workers={workers}", f"--repeats={repeats}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit, check=False)
    if done.returncode:
        raise RuntimeError(f"{which} failed: {done.stderr[-2000:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the rms error, and the same after the best gain and offset, at the place that fits best."""
    count, rows, cols = found.shape
    few = slice(None, count, max(1, count // 12))
    places = [(y, x) for y in range(truth.shape[1] - rows + 1) for x in range(truth.shape[2] - cols + 1)]
    y, x = min(places, key=lambda p: _rms(found[few], truth[few, p[0] : p[0] + rows, p[1] : p[1] + cols]))
    there = truth[:count, y : y + rows, x : x + cols]
    some, true = (a.ravel()[::7].astype(np.float64) for a in (found, there))
    gain, offset = np.polyfit(some, true, 1)
    return _rms(found, there), _rms(gain * found + offset, there)


def _rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a.astype(np.float32) - b) ** 2, dtype=np.float64)))


def of_theirs(folder: Path, step: str) -> np.ndarray:
    name = "registration_transformation" if step == "registration" else step
    return np.stack([tifffile.imread(path) for path in sorted((folder / "process" / name).glob("*.tif"))])


def of_ours(folder: Path, steps: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the result after each step, rounded as if the run ended there."""
    opened = lambda given: stack3d.open_stack(**given)  # noqa: E731
    recipe = read_project(folder, shape=lambda given: {str(d): n for d, n in opened(given).sizes.items()}).recipe
    da = opened(recipe.input).load()
    kind, found = np.iinfo(da.dtype), {}
    da = da.astype(np.float32)
    for name, step in zip(steps, recipe.steps, strict=True):
        da = getattr(stack3d, step.operation)(da, **step.parameters)
        found[name] = np.rint(np.clip(da.values, kind.min, kind.max))
    return found


def report(folder: Path, steps: tuple[str, ...], made: Made, given: argparse.Namespace) -> None:
    for n in given.workers:
        rounds = [
            (
                timed(sys.executable, "ours", folder, n, 1 + OWN, given.limit),
                timed(given.peer, "theirs", folder, n, 2, given.limit),
                *(timed(sys.executable, which, folder, n, 1 + OWN, given.limit) for which in ALONE if given.each),
            )
            for _ in range(given.repeats)
        ]
        for kind, plots in (("seconds", "plots"), ("cpu", "plots_cpu")):
            whole = [sum(step[kind] for step in theirs[-1].values()) for _, theirs, *_ in rounds]
            bare = [sum(step[kind] - step[plots] for step in theirs[-1].values()) for _, theirs, *_ in rounds]
            plain, page = (
                [float(np.median([run[name] for run in own[1:]])) for own, *_ in rounds]
                for name in (kind, f"report_{kind}")
            )
            print(
                f"  {n} worker(s), {kind} (first run {rounds[0][0][0][kind]:.2f}): without plots {_median(bare):.2f}, "
                f"without report {_median(plain):.2f}: {_times(bare, plain)};"
                f" with plots {_median(whole):.2f}, with report {_median(page):.2f}: {_times(whole, page)};"
                f" with plots, without report: {_times(whole, plain)}",
                flush=True,
            )
            if not given.each:
                continue
            step, copy = ([float(np.median([run[kind] for run in one[2 + k][1:]])) for one in rounds] for k in (0, 1))
            print(
                f"    the step alone {_median(step):.3f}: {_times(bare, step)}; its files read as often as it must, and written, "
                f"{_median(copy):.3f}: {_times(bare, copy)}",
                flush=True,
            )
    results = of_ours(folder, steps)
    for step in steps:
        truth = made.even if step == "resampling" else made.truth
        left, right = errors(of_theirs(folder, step), truth), errors(results[step], truth)
        print(
            f"  after {step}: PyStack3D {left[0]:.2f} ({left[1]:.2f} after gain and offset), stack3d {right[0]:.2f} "
            f"({right[1]:.2f}){'' if right[0] <= left[0] + HALF and right[1] <= left[1] * FIGURES else '  <- worse'}"
        )


def _median(values: list[float]) -> float:
    return float(np.median(values))


def _times(theirs: list[float], own: list[float]) -> str:
    """Return by how much one is faster, and the same of the slowest and the fastest round."""
    ratios = [a / b for a, b in zip(theirs, own, strict=True)]
    return f"{_median(theirs) / _median(own):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", choices=["example", "a", "b"], default="example")
    parser.add_argument("--each", action="store_true", help="one step and its defect at a time, not the whole chain")
    parser.add_argument("--steps", nargs="+", choices=EACH, help="of --each, only these")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--size", type=int, help="side of the frames (example: of the cube), to try it out")
    parser.add_argument("--slices", type=int, help="how many, of stacks a and b")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for a process")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, stack3d.set_options(progress=False):
        if not given.each:
            steps = BLOBS if given.stack == "example" else LARGE
            made = make(given.stack, steps, given.size, noise=True, count=given.slices)
            print(f"{given.stack}, {made.frames.shape} {made.frames.dtype}: {', '.join(steps)}", flush=True)
            report(made.write(Path(temporary) / "all", steps), steps, made, given)
            return
        for step in given.steps or EACH:
            defect = "intensity_rescaling" if step == "intensity_rescaling_area" else step
            made = make(given.stack, (defect,), given.size, noise=False, count=given.slices)
            print(f"{step} ({NAMES[step]}), {made.frames.shape} {made.frames.dtype}", flush=True)
            report(made.write(Path(temporary) / step, (step,)), (step,), made, given)


if __name__ == "__main__":
    main()
