"""Task graphs of the preset for a stack far beyond this machine: built and scheduled, and no pixel computed.

    python benchmarks/planning.py --slices 10000 --side 10000 --workers 16
    python benchmarks/planning.py --slices 2500 5000 10000 --preset fibsem

The run itself goes through the recipe (`stack3d.Recipe.preset`), its checkpoints and its result, in a temporary folder; only what
would compute a graph is replaced. Estimates are made on a small stack and stretched to the many slices. For the first graph of
each pass: how many tasks a block; processor time a block of building it, of preparing it, and of running it in two threads
when every task does nothing; and how many bytes of blocks so many workers hold at once, beside what `Recipe.plan` says. A
pass that reads the stack twice (a fit, then the fit without its outliers) does so by two such graphs.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dask.array
import numpy as np
import xarray as xr
from dask._task_spec import Task, TaskRef

import stack3d
from stack3d import _blocks, _graphs, _provenance, _threads, progress
from stack3d.grid import Frame
from stack3d.runs import _store, runner
from stack3d.runs._folder import Input, RunFolder
from stack3d.runs._forecast import HELD_BESIDE

# A resampling that mixes slices, as a run to a finer grid does.
DZ = "8 nm"


class Captured(BaseException):
    """The graph of a pass was built; nothing is computed."""


def recipe_of(preset: str) -> stack3d.Recipe:
    recipe = stack3d.Recipe.preset(preset)
    steps = [
        (step.operation, {**step.parameters, **({"dz": DZ} if step.operation == "resample" else {})})
        for step in recipe.steps
    ]
    return stack3d.Recipe(steps)


def unread(where: int, side: int) -> np.ndarray:
    raise AssertionError(f"slice {where} was read")


def stack_of(slices: int, side: int) -> xr.DataArray:
    data = _blocks.array_from_blocks(
        unread,
        name=f"raw-{slices}-{side}",
        chunks=((1,) * slices, (side,), (side,)),
        dtype=np.uint16,
        per_block=lambda index: index[0],
        arguments={"side": side},
    )
    return stack3d.from_array(data, pixel_size=(10, 5, 5))


def small_estimates(recipe: stack3d.Recipe) -> list[xr.Dataset]:
    """Return what the estimates of the recipe are on a few slices, in the order in which they are made."""
    made = stack3d.synthetic.make_stack((16, 96, 96), defects={"drift": True, "gain": True}).stack
    found = []

    def keeper(estimator: Callable[..., xr.Dataset], da: xr.DataArray, parameters: dict[str, Any]) -> xr.Dataset:
        found.append(estimator(da, **parameters))
        return found[-1]

    with warnings.catch_warnings(), _provenance.keeping_estimates(keeper):
        warnings.simplefilter("ignore")
        for link in runner.links(recipe, made.dtype, list(range(len(recipe)))):
            made = _provenance.OPERATIONS[link.step.operation].function(made, **link.step.parameters)
    return found


def stretched(estimate: xr.Dataset, da: xr.DataArray) -> xr.Dataset:
    """Return an estimate of a few slices as one of all slices, and frames, of another stack."""
    many = estimate
    if "z" in many.dims:
        many = many.isel(z=np.arange(da.sizes["z"]) % many.sizes["z"]).assign_coords(z=da["z"])
    for dim in [dim for dim in ("y", "x") if dim in many.dims]:
        # Nothing is found in what the small frames do not cover.
        many = many.pad({dim: (0, da.sizes[dim] - many.sizes[dim])}, constant_values=0).assign_coords({dim: da[dim]})
    many.attrs = {**estimate.attrs, "frame": json.dumps(Frame.of(da).to_dict())}
    return many


def no_op(*_: Any) -> None:
    return None


def simulated(graph: dict[Any, Any], sizes: dict[str, int], workers: int) -> int:
    """Return the most bytes of blocks that are held while `workers` do the tasks as `_threads.run` does, each taking as long."""
    numbers = {key: number for number, key in enumerate(graph)}
    keys, needs = list(graph), [[numbers[key] for key in task.dependencies] for task in graph.values()]
    waiting: list[list[int]] = [[] for _ in keys]
    for number, wanted in enumerate(needs):
        for other in wanted:
            waiting[other].append(number)
    left, users = [len(wanted) for wanted in needs], [len(after) for after in waiting]
    ready = [number for number, count in enumerate(left) if count == 0]
    unfinished, done = 0, bytearray(len(keys))
    running: list[int] = []
    held = most = 0

    def size(number: int) -> int:
        key = keys[number]
        return sizes.get(key[0] if isinstance(key, tuple) else key, 0)

    while ready or running:
        while ready and len(running) < workers and ready[0] < unfinished + _threads.AHEAD * workers:
            running.append(heapq.heappop(ready))
        number = running.pop(0)
        held += size(number)
        most = max(most, held)
        done[number] = 1
        while unfinished < len(keys) and done[unfinished]:
            unfinished += 1
        for other in waiting[number]:
            left[other] -= 1
            if left[other] == 0:
                heapq.heappush(ready, other)
        for other in needs[number]:
            users[other] -= 1
            if users[other] == 0:
                held -= size(other)
        if not waiting[number]:
            held -= size(number)
    return most


def looked_at(label: str, built: float, collections: Any, job: Imagined) -> dict[str, Any]:
    """Prepare and schedule a graph as `stack3d.progress.compute` does on threads, with tasks that do nothing."""
    start = time.process_time()
    graph = _graphs.in_order(collections)
    prepared = time.process_time() - start
    assert graph is not None
    most = simulated(graph, job.sizes, job.workers)
    empty = {key: Task(key, no_op, *map(TaskRef, task.dependencies)) for key, task in graph.items()}
    start = time.process_time()
    _threads.run(empty, [], 2)
    scheduled = time.process_time() - start
    parts = {"build": built, "prepare": prepared, "schedule": scheduled}
    found = {name: 1e3 * seconds / job.slices for name, seconds in parts.items()}
    found |= {
        "tasks": len(graph) / job.slices,
        "total": sum(found.values()),
        "held": most,
    }
    print(
        f"{label:26} {found['tasks']:5.2f} tasks a block; ms a block: build {found['build']:.3f}, prepare {found['prepare']:.3f}, "
        f"schedule {found['schedule']:.3f}, together {found['total']:.3f}; "
        f"held at once {most / 1e9:.2f} GB",
        flush=True,
    )
    return {"label": label, **found}


class Imagined(runner.Run):
    """A run whose graphs are looked at in place of being computed."""

    def __init__(self, recipe: stack3d.Recipe, folder: Path, slices: int, side: int, workers: int) -> None:
        self.slices, self.workers = slices, workers
        self.sizes: dict[str, int] = {}
        self.found: list[dict[str, Any]] = []
        self.small = iter(small_estimates(recipe))
        self.began = 0.0
        raw = stack_of(slices, side)
        with mock.patch.object(runner, "input_of", return_value=Input("imagined", "", {}, "")):
            super().__init__(recipe, RunFolder(folder), raw, None, folder / "result.zarr", list(range(len(recipe))))

    @contextlib.contextmanager
    def _kept_estimates(self, number: int) -> Iterator[None]:
        def keeper(estimator: Callable[..., xr.Dataset], da: xr.DataArray, parameters: dict[str, Any]) -> xr.Dataset:
            self._look_at(estimator.__name__.replace("_", " "), estimator, da, **parameters)
            return stretched(next(self.small), da)

        with _provenance.keeping_estimates(keeper):
            yield

    def _written(self, da: xr.DataArray, number: int, name: str, key: str) -> xr.DataArray:
        path = self.folder.checkpoint(number, name, key)
        label = "write result" if name == "result" else name
        self._look_at(f"to {label}", _store.write, da, path, label=label, frames=self.together)
        raw = stack_of(da.sizes["z"], 8).data
        data = _blocks.array_from_blocks(
            unread,
            name=f"{path.stem}-{raw.name}",
            chunks=((1,) * da.sizes["z"], *((size,) for size in da.shape[1:])),
            dtype=da.dtype,
            per_block=lambda index: index[0],
            arguments={"side": 0},
        )
        return da.copy(data=data)

    def _look_at(self, name: str, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> None:
        caught: list[Any] = []

        def compute(*collections: Any, **_: Any) -> Any:
            caught.append(collections)
            raise Captured

        with mock.patch.object(progress, "compute", compute), contextlib.suppress(Captured):
            function(*arguments, **options)
        # With the steps since the last pass, which built the graph that this one reads through.
        built = time.process_time() - self.began
        if caught:
            self.found.append(looked_at(name, built, caught[0], self))
        self.began = time.process_time()


def passes(recipe: stack3d.Recipe, slices: int, side: int, workers: int) -> list[dict[str, Any]]:
    new = dask.array.Array.__new__
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = Imagined(recipe, Path(folder), slices, side, workers)

        def noting(cls: Any, *arguments: Any, **options: Any) -> Any:
            made = new(cls, *arguments, **options)
            if made.dtype.kind in "uif":
                job.sizes[made.name] = made.dtype.itemsize * int(np.prod([max(lengths) for lengths in made.chunks]))
            return made

        with mock.patch.object(dask.array.Array, "__new__", noting):
            job.began = time.process_time()
            da = job._through(job.chain)
            job._written(da, len(job.chain) + 1, "result", job.keys[-1])
    return job.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="fibsem")
    parser.add_argument("--slices", type=int, nargs="+", default=[2500, 5000, 10_000])
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=16)
    arguments = parser.parse_args()
    recipe = recipe_of(arguments.preset)
    frame = 4 * arguments.side**2
    with contextlib.redirect_stdout(io.StringIO()):  # what is imported once is no matter of blocks
        passes(recipe, 32, 128, arguments.workers)
    for slices in arguments.slices:
        print(
            f"{arguments.preset}: {slices} slices of {arguments.side} x {arguments.side}, {arguments.workers} workers",
            flush=True,
        )
        found = passes(recipe, slices, arguments.side, arguments.workers)
        most, slowest = (max(item[name] for item in found) for name in ("held", "total"))
        print(
            f"  at most {slowest:.3f} ms a block, and {most / frame:.1f} frames of float32 between tasks; "
            f"the plan counts {arguments.workers + HELD_BESIDE}"
        )


if __name__ == "__main__":
    main()
