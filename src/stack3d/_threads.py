"""Running the graph of a pass in threads that fetch their tasks themselves.

The scheduler of dask hands out every task from the thread that called it, which must wake between any two of them, and
first looks for an order. The graphs of `stack3d._graphs` are in the order of the stack already.
"""

from __future__ import annotations

import contextvars
import heapq
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any

# Seconds between looks for an interrupt, which some systems keep from a thread that waits.
_LOOK = 0.2
# Tasks for each thread that may begin before the first one that is not done: what waits for that stays in memory.
AHEAD = 6


def serves(get: Any) -> bool:
    """Return whether `run` may stand in for a scheduler of dask: for its threads, unless somebody is watching these."""
    import dask
    import dask.local
    import dask.threaded
    from dask.callbacks import Callback

    if Callback.active or dask.config.get("pool", None) is not None or dask.config.get("callbacks", None):
        return False
    if dask.config.get("rerun_exceptions_locally", False):
        return False
    return get in (dask.threaded.get, dask.local.get_sync)


def workers_of(get: Any) -> int:
    """Return how many threads a scheduler of dask would use."""
    import dask
    import dask.local
    from dask.system import CPU_COUNT

    return 1 if get is dask.local.get_sync else int(dask.config.get("num_workers", None) or CPU_COUNT)


def run(graph: Mapping[Any, Any], wanted: Any, workers: int, advance: Callable[[], object] | None = None) -> Any:
    """Do the tasks of a graph, and return the values of keys.

    Parameters
    ----------
    graph : mapping
        Tasks of dask by key, each after those that it needs. Of those that can be done, the first is, unless it lies far
        behind one that takes long: however long the stack is, no more of it is in memory.
    wanted : list
        Keys, or lists of them.
    workers : int
        How many threads work; 1 is the calling one.
    advance : callable, optional
        Called after each task, in the thread that did it.

    Raises
    ------
    BaseException
        The first that a task raised, when no thread works any more.
    """
    from dask.core import flatten
    from dask.local import nested_get

    job = _Job(graph, set(flatten(wanted)), AHEAD * workers, advance)
    if workers == 1:
        job.work()
    else:
        _together(job, min(workers, len(graph)))
    return nested_get(wanted, job.results())


def _together(job: _Job, workers: int) -> None:
    """Do a job in some threads: of no pool, as Python waits for the threads of these before it ends."""
    threads: list[threading.Thread] = []
    try:
        for _ in range(workers):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(job.work,), name="stack3d worker")
            thread.start()
            threads.append(thread)
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK)
    except BaseException as error:
        job.stop(error)
        for thread in threads:
            thread.join()
        job.forget()
        raise


class _Job:
    """The tasks of a graph by their numbers, in its order."""

    def __init__(
        self, graph: Mapping[Any, Any], wanted: set[Hashable], ahead: int, advance: Callable[[], object] | None
    ) -> None:
        numbers = {key: number for number, key in enumerate(graph)}
        self.keys, self.tasks, self.ahead, self.advance = list(graph), list(graph.values()), ahead, advance
        self.needs = [[numbers[key] for key in task.dependencies] for task in self.tasks]
        self.users: list[list[int]] = [[] for _ in self.tasks]
        for number, needed in enumerate(self.needs):
            for other in needed:
                self.users[other].append(number)
        self.missing = [len(needed) for needed in self.needs]
        self.ready = [number for number, count in enumerate(self.missing) if count == 0]
        self.wanted = {numbers[key] for key in wanted}
        # How many still need a value: the caller is one of them.
        self.uses = [len(users) + (number in self.wanted) for number, users in enumerate(self.users)]
        self.values: dict[int, Any] = {}
        self.running, self.first, self.done = 0, 0, bytearray(len(self.tasks))
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def work(self) -> None:
        """Do tasks until none is left, or one has failed."""
        try:
            while (taken := self._next()) is not None:
                number, given = taken
                value = self.tasks[number](given)
                del given, taken
                self._finished(number, value)
                del value
                if self.advance is not None:
                    self.advance()
        except BaseException as error:
            self.stop(error)

    def stop(self, error: BaseException) -> None:
        """Let no task begin any more."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def results(self) -> dict[Any, Any]:
        """Return the values that are wanted, by key, or raise what a task raised."""
        if (error := self.error) is not None:
            self.forget()
            try:
                raise error
            finally:
                del error  # the place where it was raised would hold it, and it that place, with all blocks
        return {self.keys[number]: self.values[number] for number in self.wanted}

    def forget(self) -> None:
        """Let go of all values, and of what was raised."""
        self.values.clear()
        self.error = None

    def _next(self) -> tuple[int, dict[Any, Any]] | None:
        with self.changed:
            # The first that is not done never waits: all that it needs comes before it.
            while self.running and self.error is None and not (self.ready and self.ready[0] < self.first + self.ahead):
                self.changed.wait()
            if not self.ready or self.error is not None:
                return None
            number = heapq.heappop(self.ready)
            self.running += 1
            return number, {self.keys[other]: self.values[other] for other in self.needs[number]}

    def _finished(self, number: int, value: Any) -> None:
        with self.changed:
            self.running -= 1
            self.done[number] = 1
            while self.first < len(self.done) and self.done[self.first]:
                self.first += 1
            if self.uses[number]:
                self.values[number] = value
            for user in self.users[number]:
                self.missing[user] -= 1
                if self.missing[user] == 0:
                    heapq.heappush(self.ready, user)
            for other in self.needs[number]:
                self.uses[other] -= 1
                if self.uses[other] == 0:
                    del self.values[other]
            self.changed.notify_all()
