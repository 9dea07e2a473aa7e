"""Run a project with PyStack3D or with this package, some times over in one process, and print times as JSON.

    python -P benchmarks/peers/project.py theirs FOLDER --workers 2 --repeats 3

Called by `benchmarks/pystack3d.py` and by the tests, each call a process of its own with a time limit: PyStack3D can
hang. ``-P`` keeps this folder out of the search path. Imports are not timed. PyStack3D draws its plots while it runs; how
long that took is given beside.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

READ_ONCE = ("cropping", "resampling")


def cpu() -> float:
    """Return the processor seconds of this process and of its finished children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def theirs(folder: Path, workers: int, repeats: int) -> list[dict[str, Any]]:
    """Return the seconds of every step, on the clock and of the processor, and those of its plots, for each repeat."""
    import matplotlib as mpl

    mpl.use("Agg")
    import pystack3d.stack3d as module
    import tomlkit

    with contextlib.suppress(ImportError):
        import statsmodels.api  # noqa: F401  (loaded by the first fit otherwise)
    plots = [0.0, 0.0]
    drawn = module.plot

    def timed(*arguments: Any, **named: Any) -> None:
        start, busy = time.perf_counter(), cpu()
        drawn(*arguments, **named)
        plots[0] += time.perf_counter() - start
        plots[1] += cpu() - busy

    module.plot = timed
    file = folder / "params.toml"
    text = file.read_text()
    steps = tomlkit.parse(text)["process_steps"].unwrap()
    runs = []
    for _ in range(repeats):
        shutil.rmtree(folder / "process", ignore_errors=True)
        file.write_text(text)
        found: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            stack = module.Stack3d(str(folder))
            for step in steps:
                plots[:] = 0.0, 0.0
                start, busy = time.perf_counter(), cpu()
                stack.eval(process_steps=step, nproc=workers, show_pbar=False)
                found[step] = {"seconds": time.perf_counter() - start, "cpu": cpu() - busy}
                found[step] |= {"plots": plots[0], "plots_cpu": plots[1]}
        runs.append(found)
    file.write_text(text)
    return runs


def ours(folder: Path, workers: int, repeats: int) -> list[dict[str, Any]]:
    """Return the seconds of the whole run for each repeat, and beside it those of a run with its report.

    The first loads compiled kernels, or compiles them.
    """
    return [
        {**_once(folder, workers, False), **{f"report_{key}": n for key, n in _once(folder, workers, True).items()}}
        for _ in range(repeats)
    ]


def alone(folder: Path, workers: int, repeats: int) -> list[dict[str, Any]]:
    """Return the seconds of the steps as calls on the opened folder, saved: without what a run notes to go on from."""
    import dask

    import stack3d
    from stack3d.runs.pystack3d import read_project

    target, found = folder / "alone.zarr", []
    shape = lambda given: {str(dim): n for dim, n in stack3d.open_stack(**given).sizes.items()}  # noqa: E731
    recipe = read_project(folder, shape=shape).recipe
    for _ in range(repeats):
        shutil.rmtree(target, ignore_errors=True)
        start, busy = time.perf_counter(), cpu()
        scheduler = "threads" if workers > 1 else "synchronous"
        with stack3d.set_options(workers=workers, progress=False), dask.config.set(scheduler=scheduler):
            da = stack3d.open_stack(**recipe.input)
            for step in recipe.steps:
                da = getattr(stack3d, step.operation)(da, **step.parameters)
            da.stack3d.save(target)
        found.append({"seconds": time.perf_counter() - start, "cpu": cpu() - busy})
    shutil.rmtree(target, ignore_errors=True)
    return found


def copied(folder: Path, workers: int, repeats: int) -> list[dict[str, Any]]:
    """Return the seconds of reading the slices and writing them again, byte by byte: what no step can do without.

    Those that measure the stack before they correct it read it once more.
    """
    import tomlkit

    step = tomlkit.parse((folder / "params.toml").read_text())["process_steps"].unwrap()[0]
    found = []
    for _ in range(repeats):
        target = folder / "copied"
        target.mkdir()
        start, busy = time.perf_counter(), cpu()
        if step not in READ_ONCE:
            for path in sorted(folder.glob("*.tif")):
                with open(path, "rb", buffering=0) as given:
                    given.read()
        for path in sorted(folder.glob("*.tif")):
            with open(path, "rb", buffering=0) as given, open(target / path.name, "wb", buffering=0) as taken:
                taken.write(given.read())
        found.append({"seconds": time.perf_counter() - start, "cpu": cpu() - busy})
        shutil.rmtree(target)
    return found


def _once(folder: Path, workers: int, report: bool) -> dict[str, float]:
    import stack3d
    from stack3d.cli import _recipe

    for path in folder.glob("clean.zarr*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    start, busy = time.perf_counter(), cpu()
    with stack3d.set_options(workers=workers, progress=False), contextlib.redirect_stderr(io.StringIO()):
        stack3d.run(_recipe(folder), scheduler="threads" if workers > 1 else "synchronous", report=report)
    return {"seconds": time.perf_counter() - start, "cpu": cpu() - busy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["ours", "theirs", "alone", "copied"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    run = {"ours": ours, "theirs": theirs, "alone": alone, "copied": copied}[given.which]
    print(json.dumps(run(given.folder, given.workers, given.repeats)))


if __name__ == "__main__":
    main()
