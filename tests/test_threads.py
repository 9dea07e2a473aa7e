"""Running graphs in threads that fetch their tasks: what is computed, in which order, how much waits, and faults."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import dask
import dask.array
import numpy as np
import pytest
from dask._task_spec import Task, TaskRef
from dask.callbacks import Callback

import stack3d
from stack3d import _graphs, _threads, progress
from stack3d._blocks import array_from_blocks
from stack3d.operations._mean_frame import mean_frame


def pairs(count: int, first, second) -> dict:
    """Two tasks for each of `count` blocks, in the order of the stack."""
    graph: dict = {}
    for k in range(count):
        graph["a", k] = Task(("a", k), first, k)
        graph["b", k] = Task(("b", k), second, TaskRef(("a", k)))
    return graph


def read(k: int) -> np.ndarray:
    return np.full((1, 4, 4), k, np.float32)


def lazy(count: int, function=read, name: str = "read-for-threads") -> dask.array.Array:
    return array_from_blocks(
        function, name=name, chunks=((1,) * count, (4,), (4,)), dtype=np.float32, per_block=lambda index: index[0]
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_values_come_back_as_they_are_asked_for(workers):
    graph = pairs(30, lambda k: k, lambda k: 10 * k)
    wanted = [[("b", 3), ("a", 2)], ("b", 29)]
    assert _threads.run(graph, wanted, workers) == ((30, 2), 290)
    assert _threads.run({}, [], workers) == ()


def test_one_worker_goes_along_the_stack_in_the_calling_thread():
    done = []

    def note(k: int) -> int:
        done.append((k, threading.get_ident()))
        return k

    _threads.run(pairs(8, note, note), [], 1)
    assert done == [(k // 2, threading.get_ident()) for k in range(16)]


def test_several_workers_are_at_work_at_once():
    together = threading.Barrier(3, timeout=20)
    _threads.run({k: Task(k, together.wait) for k in range(3)}, [], 3)


def test_what_is_read_ahead_of_a_slow_block_is_bounded():
    # The first block takes until no other may begin: however long the stack is, no more of it is read.
    begun, idle = [], threading.Event()

    def first(k: int) -> int:
        begun.append(k)
        if k == 0:
            seen = -1
            while len(begun) != seen:
                seen = len(begun)
                time.sleep(0.1)
            ahead.append(seen)
            idle.set()
        return k

    ahead: list[int] = []
    _threads.run(pairs(500, first, lambda k: k), [], 3)
    assert idle.is_set()
    assert ahead[0] <= 3 * _threads.AHEAD
    assert sorted(begun) == list(range(500))


def test_values_are_let_go_of_when_nothing_needs_them_any_more():
    held, most, lock = 0, 0, threading.Lock()

    class Block:
        def __init__(self) -> None:
            nonlocal held, most
            with lock:
                held += 1
                most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            with lock:
                held -= 1

    _threads.run(pairs(200, lambda k: Block(), lambda block: None), [], 2)
    assert held == 0
    assert most <= 2 * _threads.AHEAD


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_fault_is_raised_with_its_place_and_no_task_begins_after_it(workers):
    begun, threads = [], set(threading.enumerate())

    def faulty(k: int) -> int:
        begun.append(k)
        if k == 4:
            raise OSError("slice 4 cannot be read")
        time.sleep(0.01)
        return k

    with pytest.raises(OSError, match="slice 4") as caught:
        _threads.run(pairs(400, faulty, lambda k: k), [], workers)
    assert caught.traceback[-1].name == "faulty"
    assert len(begun) <= 4 + 3 * _threads.AHEAD
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("workers", [1, 3])
def test_a_fault_while_progress_is_told_ends_the_work_as_one_of_a_task_does(workers):
    told = []

    def advance() -> None:
        told.append(1)
        if len(told) == 5:
            raise BrokenPipeError("nobody reads the progress")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        _threads.run(pairs(400, lambda k: k, lambda k: k), [], workers, advance)
    assert len(told) < 5 + workers


@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_that_wait_are_let_go_of_when_a_task_has_failed(workers):
    alive = weakref.WeakSet()

    class Block:
        def __init__(self) -> None:
            alive.add(self)

    def faulty(*_: Block) -> None:
        raise OSError("no")

    graph = {k: Task(k, Block) for k in range(5)}
    graph[9] = Task(9, faulty, *map(TaskRef, range(5)))
    gc.disable()
    try:
        with contextlib.suppress(OSError):
            _threads.run(graph, [9], workers)
        assert not alive
    finally:
        gc.enable()


def test_work_in_a_daemon_thread_ends_with_the_program():
    code = """
import threading, time
from dask._task_spec import Task
from stack3d import _threads
graph = {k: Task(k, time.sleep, 0.5) for k in range(200)}
threading.Thread(target=lambda: _threads.run(graph, [], 2), daemon=True).start()
time.sleep(0.5)
"""
    subprocess.run([sys.executable, "-c", code], timeout=30, check=True)  # all of them take 50 s


def test_context_of_the_caller_is_that_of_the_tasks():
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    assert _threads.run({k: Task(k, variable.get) for k in range(6)}, list(range(6)), 2) == (7,) * 6


def test_an_interrupt_ends_the_work_soon():
    code = """
import signal, threading, time
from dask._task_spec import Task
from stack3d import _threads
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that works in the background has it ignored
threading.Timer(1.0, lambda: signal.raise_signal(signal.SIGINT)).start()
begun = []
try:
    _threads.run({k: Task(k, lambda: (begun.append(0), time.sleep(0.05))) for k in range(1000)}, [], 2)
except KeyboardInterrupt:
    print("interrupted", 0 < len(begun) < 200)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["interrupted", "True"]


def test_lazy_stacks_are_computed_by_it_with_as_many_threads_as_dask_would_use(monkeypatch):
    seen = []
    run = _threads.run
    monkeypatch.setattr(_threads, "run", lambda *arguments: (seen.append(arguments[2]), run(*arguments))[1])
    for setting, workers in (({"num_workers": 3}, 3), ({"scheduler": "synchronous"}, 1)):
        with dask.config.set(**setting):
            found = progress.compute(lazy(9), label="test")[0]
        np.testing.assert_array_equal(found[:, 0, 0], np.arange(9))
        assert seen.pop() == workers
    assert not seen


def test_who_watches_or_chooses_another_scheduler_gets_that_of_dask(monkeypatch):
    monkeypatch.setattr(_threads, "run", None)
    keys = []
    with Callback(posttask=lambda key, *_: keys.append(key)):
        progress.compute(lazy(4), label="test")
    assert len(keys) == 4
    with dask.config.set(scheduler=lambda graph, wanted, **_: dask.get(graph, wanted)):
        progress.compute(lazy(4), label="test")


def test_tasks_may_compute_lazy_stacks_themselves():
    def outer(k: int) -> np.ndarray:
        return progress.compute(lazy(3, name=f"inner-{k}"), label="inner")[0].sum(axis=0, keepdims=True) + k

    with dask.config.set(num_workers=2):
        found = progress.compute(lazy(6, outer, "outer"), label="outer")[0]
    np.testing.assert_array_equal(found[:, 0, 0], 3 + np.arange(6))


def test_graphs_are_in_the_order_of_the_stack_in_every_process():
    # Sums of groups are chains: taken up in any order but their own, all blocks of a group would wait for the first.
    code = """
import dask.array, numpy as np, xarray as xr
from stack3d import _graphs, progress
from stack3d.operations import _mean_frame
def look(*arrays, **_):
    names = [str(key[-3] if len(key) == 4 else key[-1]) for key in _graphs.in_order(arrays)]
    print(" ".join(names))
    return arrays
progress.compute = look
da = xr.DataArray(dask.array.zeros((40, 4, 4), chunks=(1, 4, 4), dtype="uint16"), dims=("z", "y", "x"))
_mean_frame.mean_frame(da, "test")
"""
    orders = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
        ).stdout
        for seed in range(2)
    }
    assert len(orders) == 1


def test_a_chain_of_sums_holds_few_blocks():
    da = stack3d.from_array(lazy(64), pixel_size=1)
    graph = None

    def look(*arrays, **_):
        nonlocal graph
        graph = _graphs.in_order(arrays)
        return [np.zeros((1, 8, 4))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "compute", look)
        mean_frame(da, "test")
    places = {key: number for number, key in enumerate(graph)}
    farthest = max(places[key] - places[other] for key, task in graph.items() for other in task.dependencies)
    assert all(places[other] < places[key] for key, task in graph.items() for other in task.dependencies)
    # A group of 16 slices lies between the sums of two groups.
    assert farthest <= 2 * 16 + 2
