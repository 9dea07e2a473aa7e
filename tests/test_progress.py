"""Progress: the same results as dask, a bar or lines in the log, and nothing where nothing is wanted."""

from __future__ import annotations

import io
import itertools
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import dask
import dask.array
import dask.threaded
import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback
from dask.delayed import Delayed

from stack3d import _meter
from stack3d.options import set_options
from stack3d.progress import compute, track

LOCAL_SCHEDULERS = ["threads", "synchronous"]


class Screen(io.StringIO):
    """A standard error that remembers each line drawn."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in re.split(r"[\r\n]", self.getvalue()) if line.strip()]


def screen(monkeypatch: pytest.MonkeyPatch, *, tty: bool) -> Screen:
    # The standard error itself changes hands between the phases of a test.
    stderr = Screen(tty)
    monkeypatch.setattr(_meter, "sys", SimpleNamespace(stderr=stderr, modules=sys.modules))
    return stderr


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return screen(monkeypatch, tty=True)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return screen(monkeypatch, tty=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show progress at once, so that tests need not be slow."""
    for name, seconds in {"FIRST_BAR": 0.02, "EVERY_BAR": 0.02, "FIRST_LOG": 0.02, "EVERY_LOG": 0.02}.items():
        monkeypatch.setattr(_meter, name, seconds)


def slowly(block: Any) -> Any:
    time.sleep(0.03)
    return block + 1


def lazy(blocks: int = 6) -> dask.array.Array:
    return dask.array.zeros(blocks, chunks=1).map_blocks(slowly, meta=np.empty(0))


def raw_graph(count: int = 6) -> tuple[dict[Any, Any], list[Any]]:
    graph: dict[Any, Any] = {("part", i): (slowly, i) for i in range(count)}
    graph["sum"] = (sum, list(graph))
    return graph, ["sum", ("part", 0)]


def compute_keys(graph: dict[Any, Any], keys: list[Any], *, label: str) -> list[Any]:
    """Compute the values of some keys of a graph, as delayed objects."""
    return list(compute(*(Delayed(key, graph) for key in keys), label=label))


def failing(block: Any) -> Any:
    time.sleep(0.1)
    raise ZeroDivisionError("a pixel was unwell")


# ---------------------------------------------------------------------------------------------------------------------
# Results


@pytest.mark.parametrize("progress", [True, False, "auto"])
@pytest.mark.parametrize("scheduler", LOCAL_SCHEDULERS)
def test_compute_returns_what_dask_returns(scheduler: str, progress: Any, pipe: Screen) -> None:
    array = dask.array.arange(12, chunks=5)
    labelled = xr.DataArray(array, dims="x", name="a")
    nested = {"a": array.sum(), "b": [array, 7]}
    with set_options(progress=progress), dask.config.set(scheduler=scheduler):
        a, b, c, d = compute(array, labelled, nested, "plain", label="test")
    np.testing.assert_array_equal(a, np.arange(12))
    assert isinstance(b, xr.DataArray)
    assert isinstance(b.data, np.ndarray)
    np.testing.assert_array_equal(b, np.arange(12))
    assert c["a"] == 66
    np.testing.assert_array_equal(c["b"][0], np.arange(12))
    assert c["b"][1] == 7
    assert d == "plain"


def test_compute_without_anything_lazy_returns_its_arguments(terminal: Screen) -> None:
    with set_options(progress=True):
        assert compute(1, "two", label="test") == (1, "two")
    assert terminal.lines == []


@pytest.mark.parametrize("progress", [True, False])
def test_compute_runs_a_delayed_write(tmp_path: Any, progress: bool, pipe: Screen) -> None:
    stack = xr.Dataset({"a": ("x", dask.array.arange(12, chunks=5))})
    with set_options(progress=progress):
        compute(stack.to_zarr(tmp_path / "a.zarr", compute=False, consolidated=False), label="save")
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "a.zarr", consolidated=False), stack)


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("scheduler", LOCAL_SCHEDULERS)
def test_delayed_values_come_in_the_order_they_were_asked_for(
    scheduler: str, progress: bool, pipe: Screen, impatient: None
) -> None:
    graph, keys = raw_graph()
    with set_options(progress=progress), dask.config.set(scheduler=scheduler):
        assert compute_keys(graph, keys, label="test") == [21, 1]
    assert bool(pipe.lines) is progress


def test_processes_count_their_tasks(terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), dask.config.set(scheduler="processes", num_workers=1):
        assert compute_keys({"a": (abs, -3), "b": (abs, "a")}, ["a", "b"], label="far away") == [3, 3]
        (result,) = compute(dask.array.arange(4, chunks=2), label="far away too", total=4)
    np.testing.assert_array_equal(result, np.arange(4))
    ends = [line for line in terminal.lines if "100%" in line and "left" not in line]
    assert "2/2 tasks" in ends[0]
    assert "4/4 frames" in ends[1]


# ---------------------------------------------------------------------------------------------------------------------
# The bar


def test_bar_ends_with_all_the_tasks_and_stays(terminal: Screen, impatient: None) -> None:
    graph, keys = raw_graph(5)
    with set_options(progress=True):
        compute_keys(graph, keys, label="gather")
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().count("\n") == 1
    last = terminal.lines[-1]
    assert last.startswith("gather [")
    assert "100% 6/6 tasks" in last
    assert re.search(r"tasks/s, 0:0\d$", last)


def test_bar_grows_and_tells_rate_and_times(terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), dask.config.set(scheduler="synchronous"):
        compute(lazy(8), label="grow", total=80)
    counts = [int(re.search(r"(\d+)/80 frames", line).group(1)) for line in terminal.lines]  # type: ignore[union-attr]
    assert counts == sorted(counts)
    assert counts[-1] == 80
    assert len(set(counts)) > 3
    middle = terminal.lines[len(counts) // 2]
    assert re.search(r"\[#+\.+\] +\d+% \d+/80 frames, [\d.]+ frames/s, 0:00 elapsed, 0:00 left", middle)


def test_rate_and_remaining_time_are_right(terminal: Screen, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    # A clock of our own: 40 of 100 frames after 20 s are 2 a second, so 30 s are left.
    now = [100.0]
    monkeypatch.setattr(_meter, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with set_options(progress=True), track(100, "steady") as advance:
        advance(40)
        now[0] = 120.0
        time.sleep(0.1)
        shown = terminal.lines[-1]
        advance(60)
        now[0] = 3780.0
    assert "40% 40/100 frames, 2 frames/s, 0:20 elapsed, 0:30 left" in shown
    assert terminal.lines[-1].endswith("100/100 frames, 0.0272 frames/s, 1:01:20")


def test_bar_is_not_drawn_for_short_work(terminal: Screen) -> None:
    with set_options(progress=True):
        compute(dask.array.arange(4, chunks=2), label="short")
        with track(1, "short too") as advance:
            advance()
    assert terminal.getvalue() == ""


def test_bar_is_drawn_at_most_ten_times_a_second(terminal: Screen) -> None:
    began = time.monotonic()
    with set_options(progress=True), track(10_000, "fast") as advance:
        while time.monotonic() < began + 1:
            advance()
    took = time.monotonic() - began
    assert 2 < terminal.getvalue().count("\r") <= 10 * took + 1


def test_lines_fit_the_terminal_and_cover_the_one_before(
    terminal: Screen, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with set_options(progress=True), track(10, "a label that is much longer than the terminal is") as advance:
        for _ in range(10):
            time.sleep(0.02)
            advance()
    drawn = terminal.getvalue().rstrip("\n").split("\r")[1:]
    assert len(drawn) > 3
    assert max(map(len, drawn)) < 40
    assert all(len(after) >= len(before.rstrip()) for before, after in itertools.pairwise(drawn))


def test_stopped_loop_shows_where_it_stopped(terminal: Screen, impatient: None) -> None:
    def broken() -> None:
        with track(9, "loop") as advance:
            advance(4)
            time.sleep(0.1)
            raise KeyboardInterrupt

    with set_options(progress=True), pytest.raises(KeyboardInterrupt):
        broken()
    assert "44% 4/9 frames, stopped after 0:00" in terminal.lines[-1]
    assert terminal.getvalue().endswith("\n")


@pytest.mark.parametrize("scheduler", LOCAL_SCHEDULERS)
def test_error_propagates_and_the_next_work_is_shown(scheduler: str, terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), dask.config.set(scheduler=scheduler):
        with pytest.raises(ZeroDivisionError, match="a pixel was unwell"):
            compute(dask.array.zeros(2, chunks=1).map_blocks(failing, meta=np.empty(0)), label="first")
        assert "stopped after" in terminal.lines[-1]
        compute(lazy(), label="second")
    assert terminal.lines[-1].startswith("second")
    assert "100%" in terminal.lines[-1]
    assert not Callback.active


def test_only_the_outermost_work_is_shown(terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), track(3, "outer") as advance:
        for _ in range(3):
            compute(lazy(2), label="inner")
            with track(1, "innermost") as inner:
                inner()
            advance()
    assert {line.split()[0] for line in terminal.lines} == {"outer"}
    assert "3/3 frames" in terminal.lines[-1]


def test_work_inside_tasks_is_not_shown(terminal: Screen, impatient: None) -> None:
    def within(block: Any) -> Any:
        return compute(lazy(2), label="inner")[0].sum() + block

    outer = dask.array.zeros(2, chunks=1).map_blocks(within, meta=np.empty(0))
    with set_options(progress=True):
        (result,) = compute(outer, label="outer")
    np.testing.assert_array_equal(result, [2, 2])
    assert {line.split()[0] for line in terminal.lines} == {"outer"}


def test_advance_counts_from_many_threads(terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), track(4000, "threads") as advance, ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(lambda: [advance() for _ in range(500)])
        time.sleep(0.1)
    assert "4000/4000 frames" in terminal.lines[-1]


def test_concurrent_computations_do_not_mix(terminal: Screen, impatient: None) -> None:
    # The one that began first is shown, and counts its own tasks alone.
    results: list[Any] = []
    graph, keys = raw_graph(8)
    with set_options(progress=True):
        threads = [threading.Thread(target=lambda: results.append(compute_keys(graph, keys, label="one")))]
        threads += [threading.Thread(target=lambda: results.append(compute(lazy(4), label="one")[0].sum()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results, key=str) == [4, [36, 1]]
    assert "100% 9/9 tasks" in terminal.lines[-1] or "100% 4/4" in terminal.lines[-1]


def test_closed_terminal_does_not_end_the_work(terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), track(2, "loop") as advance:
        terminal.close()
        time.sleep(0.1)
        advance(2)


def test_bar_without_a_standard_error_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meter, "sys", SimpleNamespace(stderr=None, modules=sys.modules))
    for progress in (True, "auto"):
        with set_options(progress=progress):
            assert compute(dask.array.arange(3).sum(), label="test") == (3,)


@pytest.mark.parametrize(("total", "error"), [(-1, ValueError), (2.5, TypeError), ("3", TypeError)])
def test_total_of_a_loop_is_a_whole_number(total: Any, error: type[Exception]) -> None:
    with pytest.raises(error), track(total, "loop"):
        pass


def test_empty_loop_is_complete(terminal: Screen, impatient: None) -> None:
    with set_options(progress=True), track(0, "nothing to do"):
        time.sleep(0.1)
    assert "100% 0/0 frames" in terminal.lines[-1]


# ---------------------------------------------------------------------------------------------------------------------
# Which of them


def test_false_is_silent(terminal: Screen, impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    with set_options(progress=False):
        compute(lazy(), label="test")
        with track(1, "loop"):
            time.sleep(0.1)
    assert terminal.getvalue() == ""
    assert caplog.records == []


def test_auto_draws_on_a_terminal(terminal: Screen, impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    with set_options(progress="auto"):
        compute(lazy(), label="test")
    assert "100%" in terminal.lines[-1]
    assert caplog.records == []


def test_auto_draws_in_a_notebook(pipe: Screen, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", notebook)  # type: ignore[arg-type]
    with set_options(progress="auto"):
        compute(lazy(), label="test")
    assert "100%" in pipe.lines[-1]


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_auto_logs_in_ipython_without_a_notebook(
    shell: Any, pipe: Screen, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    with set_options(progress="auto"):
        compute(lazy(), label="test")
    assert pipe.getvalue() == ""


def test_auto_logs_without_a_terminal(pipe: Screen, impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    with set_options(progress="auto"), track(10, "loop") as advance:
        time.sleep(0.1)
        advance(5)
        time.sleep(0.1)
        advance(5)
    assert pipe.getvalue() == ""
    assert {(record.name, record.levelname) for record in caplog.records} == {("stack3d", "INFO")}
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "loop: started, 10 frames"
    assert any(re.match(r"loop: 5/10 frames, \d+\.?\d* frames/s, 0:00 elapsed, 0:00 left", text) for text in messages)
    assert messages[-1] == "loop: done, 10/10 frames in 0:00"


def test_stopped_work_is_logged_as_stopped(pipe: Screen, impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    with set_options(progress="auto"), pytest.raises(ZeroDivisionError):
        compute(dask.array.zeros(1, chunks=1).map_blocks(failing, meta=np.empty(0)), label="first")
    assert re.match(r"first: stopped at 0/\d+ tasks after 0:00", caplog.messages[-1])


def test_short_work_is_not_logged(pipe: Screen, caplog: pytest.LogCaptureFixture) -> None:
    with set_options(progress="auto"):
        compute(lazy(), label="test")
    assert caplog.records == []
    assert pipe.getvalue() == ""


def test_log_is_written_at_most_every_ten_seconds() -> None:
    assert (_meter.FIRST_LOG, _meter.EVERY_LOG) == (2.0, 10.0)


def test_logger_is_left_as_it_is(pipe: Screen, impatient: None) -> None:
    logger = logging.getLogger("stack3d")
    before = (list(logger.handlers), logger.level, logger.propagate)
    with set_options(progress="auto"):
        compute(lazy(), label="test")
    assert (list(logger.handlers), logger.level, logger.propagate) == before
    assert logger.handlers == []


# ---------------------------------------------------------------------------------------------------------------------
# Schedulers and callbacks of the user


def test_scheduler_of_the_user_is_used_once(terminal: Screen, impatient: None) -> None:
    calls = []

    def mine(graph: Any, keys: Any, **options: Any) -> Any:
        calls.append(keys)
        return dask.threaded.get(graph, keys, **options)

    with set_options(progress=True), dask.config.set(scheduler=mine):
        (result,) = compute(lazy(), label="test")
    np.testing.assert_array_equal(result, np.ones(6))
    assert len(calls) == 1
    assert "100%" in terminal.lines[-1]
    assert not Callback.active


def test_scheduler_that_knows_no_callbacks_works(terminal: Screen, impatient: None) -> None:
    with (
        set_options(progress=True),
        dask.config.set(scheduler=lambda graph, keys: [time.sleep(0.1) or 5 for _ in keys]),
    ):
        assert compute_keys({"a": 5}, ["a"], label="test") == [5]
    assert "100%" in terminal.lines[-1]


def test_executor_as_scheduler_is_used(terminal: Screen, impatient: None) -> None:
    with ThreadPoolExecutor(2, "mine") as pool, set_options(progress=True), dask.config.set(scheduler=pool):
        graph = {"a": (lambda _: threading.current_thread().name, 0), "b": (slowly, 0), "c": (slowly, "b")}
        name, _ = compute_keys(graph, ["a", "c"], label="test")
    assert name.startswith("mine")
    assert "3/3 tasks" in terminal.lines[-1]


def test_callbacks_of_the_user_still_run(terminal: Screen, impatient: None) -> None:
    seen = []
    graph, keys = raw_graph(5)
    with set_options(progress=True), Callback(posttask=lambda key, *_: seen.append(key)):
        compute_keys(graph, keys, label="test")
    assert len(seen) == 6
    assert "6/6 tasks" in terminal.lines[-1]


# ---------------------------------------------------------------------------------------------------------------------
# A cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    before = dask.config.get("scheduler", None)
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0", worker_dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client
    # A client that a task makes in this process leaves itself behind as the default.
    dask.config.set(scheduler=before)


def plugins(client: Any) -> set[str]:
    return set(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins)))


@pytest.mark.parametrize("progress", [True, False])
def test_cluster_computes_and_counts(client: Any, progress: bool, terminal: Screen, impatient: None) -> None:
    graph, keys = raw_graph(8)
    with set_options(progress=progress), client.as_current():
        before = plugins(client)
        array, number = compute(lazy(8), dask.array.arange(5, chunks=1).sum(), label="on the cluster")
        assert compute_keys(graph, keys, label="graph") == [36, 1]
        assert plugins(client) == before
    np.testing.assert_array_equal(array, np.ones(8))
    assert number == 10
    if progress:
        ends = [line for line in terminal.lines if "100%" in line and "left" not in line]
        assert ends[0].startswith("on the cluster")
        assert "9/9 tasks" in ends[1]
        counts = [int(match.group(1)) for line in terminal.lines if (match := re.search(r"(\d+)/9 tasks", line))]
        assert len(set(counts)) > 2  # followed on its way, not only at the end
    else:
        assert terminal.lines == []


def test_cluster_runs_a_delayed_write(client: Any, tmp_path: Any, terminal: Screen, impatient: None) -> None:
    stack = xr.Dataset({"a": ("x", lazy(4))})
    with set_options(progress=True), client.as_current():
        compute(stack.to_zarr(tmp_path / "a.zarr", compute=False, consolidated=False), label="save", total=4)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.zarr", consolidated=False)["a"], np.ones(4))
    assert "4/4 frames" in terminal.lines[-1]


def test_cluster_raises_the_error_of_a_task(client: Any, terminal: Screen, impatient: None) -> None:
    wrong = dask.array.zeros(2, chunks=1).map_blocks(failing, meta=np.empty(0))
    logging.getLogger("distributed.worker").addFilter(quiet := lambda record: False)
    try:
        with set_options(progress=True), client.as_current():
            before = plugins(client)
            with pytest.raises(ZeroDivisionError, match="a pixel was unwell"):
                compute(wrong, label="fails")
            assert plugins(client) == before
            assert compute(lazy(2).sum(), label="works") == (2,)
    finally:
        logging.getLogger("distributed.worker").removeFilter(quiet)
    assert any("stopped after" in line for line in terminal.lines)


def test_work_inside_a_task_of_the_cluster_finishes(client: Any, terminal: Screen, impatient: None) -> None:
    from distributed import worker_client

    def within(block: Any) -> Any:
        with worker_client():
            return compute(lazy(2), label="inner")[0].sum() + block

    # More of them than the worker has threads: they would wait for one another if they kept their places.
    with set_options(progress=True), client.as_current():
        tasks = [dask.delayed(within)(number) for number in range(4)]
        results = [future.result(timeout=30) for future in client.compute(tasks)]
    assert results == [2, 3, 4, 5]


def test_short_work_on_the_cluster_is_not_followed(client: Any, terminal: Screen) -> None:
    with set_options(progress=True), client.as_current():
        assert compute(dask.array.arange(4, chunks=2).sum(), label="short") == (6,)
        assert not [name for name in plugins(client) if name.startswith("progress")]
    assert terminal.lines == []
