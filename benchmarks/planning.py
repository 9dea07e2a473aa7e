"""Task graphs of a recipe for a stack far beyond this machine: built, ordered and scheduled, and no pixel computed.

    python benchmarks/planning.py --slices 10000 --side 10000 --workers 16

The recipe is that of ``run_memory.py`` (crop, level_slices, register, destripe, resample). Its estimates are made on a small
stack and stretched to the many slices; every pass is then the graph that a run would compute. For each pass: how many tasks a
block, what building, optimising and ordering them costs a block (time of the processor), what dask's threaded scheduler costs
a block when every task does nothing, and how many bytes of blocks are held at once by so many workers, beside what `Recipe.plan` says.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import time
from typing import Any
from unittest import mock

import dask
import dask.array
import dask.threaded
import numpy as np
import xarray as xr
from dask.order import order

import stack3d
from stack3d import progress
from stack3d._provenance import OPERATIONS
from stack3d.grid import Frame
from stack3d.io import _stream
from stack3d.runs._forecast import HELD_BESIDE

STEPS = [
    ("crop", {"y": slice(16, None), "by": "index"}),
    ("astype", {"dtype": "float32"}),
    ("level_slices", {}),
    ("register", {}),
    ("destripe", {}),
    ("resample", {"dz": "8 nm"}),
    ("astype", {"dtype": "uint16"}),
]


class Captured(BaseException):
    """The graph of a pass was built; nothing is computed."""


def small_estimates() -> dict[str, xr.Dataset]:
    made = stack3d.synthetic.make_stack((12, 96, 96), defects={"drift": True, "gain": True}).stack
    return {
        "level_slices": made.stack3d.estimate_levels(),
        "register": made.stack3d.estimate_transforms(),
    }


def stretched(estimate: xr.Dataset, da: xr.DataArray) -> xr.Dataset:
    """Return an estimate of a few slices as one of all slices of another stack."""
    many = estimate.isel(z=np.arange(da.sizes["z"]) % estimate.sizes["z"]).assign_coords(z=da["z"])
    many.attrs = {**estimate.attrs, "frame": json.dumps(Frame.of(da).to_dict())}
    return many


def no_op(*_: Any) -> None:
    return None


def simulated(graph: dict[Any, Any], priority: dict[Any, int], sizes: dict[str, int], workers: int) -> int:
    """Return the most bytes of blocks that are held while `workers` do the tasks in dask's order, each taking as long."""
    needs = {key: graph[key].dependencies for key in graph}
    users: dict[Any, int] = dict.fromkeys(graph, 0)
    waiting: dict[Any, list[Any]] = {key: [] for key in graph}
    for key, wanted in needs.items():
        for other in wanted:
            users[other] += 1
            waiting[other].append(key)
    left = {key: len(wanted) for key, wanted in needs.items()}
    ready = [(priority[key], key) for key, count in left.items() if count == 0]
    heapq.heapify(ready)
    running: list[Any] = []
    held = most = 0

    def size(key: Any) -> int:
        return sizes.get(key[0] if isinstance(key, tuple) else key, 0)

    while ready or running:
        while ready and len(running) < workers:
            running.append(heapq.heappop(ready)[1])
        key = running.pop(0)
        held += size(key)
        most = max(most, held)
        for other in waiting[key]:
            left[other] -= 1
            if left[other] == 0:
                heapq.heappush(ready, (priority[other], other))
        for other in needs[key]:
            users[other] -= 1
            if users[other] == 0:
                held -= size(other)
        if not waiting[key]:
            held -= size(key)
    return most


def looked_at(
    label: str, built: float, collections: Any, blocks: int, sizes: dict[str, int], workers: int
) -> dict[str, float]:
    start = time.process_time()
    joined = progress._neighbours_together(tuple(collections))
    optimised = dask.optimize(*joined) if label == "apply and write" else dask.optimize(*collections, *joined)
    graph: dict[Any, Any] = {}
    for item in optimised:
        graph.update(item.__dask_graph__())
    graph = dict(dask._task_spec.convert_legacy_graph(graph))
    made = time.process_time()
    priority = order(graph)
    ordered = time.process_time()
    most = simulated(graph, priority, sizes, workers)
    empty = {
        key: dask._task_spec.Task(key, no_op, *(dask._task_spec.TaskRef(k) for k in task.dependencies))
        for key, task in graph.items()
    }
    keys = [key for item in optimised for key in dask.core.flatten(item.__dask_keys__())]
    begin = time.process_time()
    dask.threaded.get(empty, keys, num_workers=2)
    done = time.process_time()
    found = {
        "tasks": len(graph) / blocks,
        "build": 1e3 * built / blocks,
        "optimise": 1e3 * (made - start) / blocks,
        "order": 1e3 * (ordered - made) / blocks,
        "schedule": 1e3 * (done - begin) / blocks,
        "held": most,
    }
    total = found["build"] + found["optimise"] + found["schedule"]
    print(
        f"{label:22} {found['tasks']:5.2f} tasks a block; ms a block: build {found['build']:.3f}, optimise "
        f"{found['optimise']:.3f}, of which order again {found['order']:.3f}, schedule {found['schedule']:.3f}, "
        f"together {total:.3f}; held at once {most / 1e9:.2f} GB",
        flush=True,
    )
    return {**found, "total": total}


def passes(slices: int, side: int, workers: int) -> list[dict[str, float]]:
    known = small_estimates()
    data = dask.array.zeros((slices, side, side), chunks=(1, side, side), dtype=np.uint16)
    da = stack3d.from_array(data, pixel_size=(10, 5, 5))
    sizes: dict[str, int] = {}
    found = []
    pending = 0.0
    for name, parameters in STEPS:
        caught: list[Any] = []

        def compute(*collections: Any, label: str, caught: list[Any] = caught, **_: Any) -> Any:
            caught.append((label, collections))
            raise Captured

        if name in known:
            start = time.process_time()
            quiet = mock.patch("stack3d._provenance._warn_of_repeats")
            with mock.patch.object(progress, "compute", compute), quiet, contextlib.suppress(Captured):
                OPERATIONS[name].estimator(da)
            built = time.process_time() - start
            ((label, collections),) = caught
            # What a pass holds: the frames, and the numbers that frames are reduced to.
            found.append(looked_at(label, built, collections, slices, sizes, workers))
            parameters = {"estimate": stretched(known[name], da)}
        start = time.process_time()
        da = OPERATIONS[name].function(da, **parameters)
        pending += time.process_time() - start
        sizes[da.data.name] = max(da.data.chunks[0]) * da.sizes["y"] * da.sizes["x"] * da.dtype.itemsize
    start = time.process_time()
    write = _stream._lazy_write(da.data, _stream._Write(no_op, "nowhere", {}))
    pending += time.process_time() - start
    found.append(looked_at("apply and write", pending, [write], write.npartitions, sizes, workers))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=16)
    arguments = parser.parse_args()
    frame = 4 * arguments.side**2
    for slices in (arguments.slices // 4, arguments.slices // 2, arguments.slices):
        print(f"{slices} slices of {arguments.side} x {arguments.side}, {arguments.workers} workers")
        found = passes(slices, arguments.side, arguments.workers)
        most = max(item["held"] for item in found)
        print(
            f"  at most {most / frame:.1f} frames of float32 between tasks; the plan counts {arguments.workers + HELD_BESIDE}"
        )


if __name__ == "__main__":
    main()
