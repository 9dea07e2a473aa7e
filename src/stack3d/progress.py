"""Progress of long work: a bar on a terminal, lines in the log elsewhere.

The option ``progress`` says which (`stack3d.set_options`). Only the outermost work of a process is shown, so that
a computation inside a loop that reports its own progress does not write over it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import operator
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, cast

from stack3d import _graphs, _meter, _threads
from stack3d._meter import Meter, metering

_LOGGER = logging.getLogger("stack3d")
_refusing: ContextVar[bool] = ContextVar("stack3d_refusing_work", default=False)


class WorkRefused(BaseException):
    """Something would be computed where nothing may be: all checks before it have passed."""


@contextlib.contextmanager
def refusing_work() -> Iterator[None]:
    """Raise `WorkRefused` in place of computing lazy stacks, so that calls check their arguments and no more."""
    token = _refusing.set(True)
    try:
        yield
    finally:
        _refusing.reset(token)


def is_refused() -> bool:
    """Return whether nothing is computed here; see `refusing_work`."""
    return _refusing.get()


def compute(
    *collections: Any, label: str, total: int | None = None, unit: str | None = None, discard: bool = False
) -> tuple[Any, ...]:
    """Compute dask collections as `dask.compute` does, and show the progress.

    Parameters
    ----------
    *collections : dask collections
        Arrays, xarray objects, delayed writes, or lists and dicts of them.
    label : str
        What is being done, for example ``"register"``.
    total : int, optional
        Amount of work to count up to, for example the number of frames; by default the number of dask tasks.
    unit : str, optional
        What `total` counts; by default ``"frames"`` with a `total` and ``"tasks"`` without.
    discard : bool
        Whether the results of dask arrays are of no use once they are computed.

    Returns
    -------
    tuple
        The result of each collection, what is not lazy being passed through; empty with `discard`.

    Notes
    -----
    Works with every scheduler of dask, `distributed` with a synchronous client too.

    Examples
    --------
    >>> from stack3d.progress import compute
    >>> mean, largest = compute(stack.mean(), stack.max(), label="statistics")
    """
    if _refusing.get():
        raise WorkRefused(label)
    unit = unit or ("tasks" if total is None else "frames")
    with metering(label, unit, shown=total) as meter:
        results = _computed(collections, meter, discard)
        if meter is not None:
            meter.complete()
        return results


def _computed(collections: tuple[Any, ...], meter: Meter | None, discard: bool) -> tuple[Any, ...]:
    import dask

    if not _graphs.are_arrays(collections):
        if meter is None:
            return tuple(dask.compute(*collections))
        return tuple(dask.compute(*collections, scheduler=functools.partial(_get, meter)))
    keys = [item.__dask_keys__() for item in collections]
    get = _scheduler()
    graph = _graphs.in_order(collections) if _threads.serves(get) else None
    if graph is not None:
        if meter is not None:
            meter.update(0, len(graph))
        advance = None if meter is None else meter.advance
        blocks = _threads.run(graph, [] if discard else keys, _threads.workers_of(get), advance)
    else:
        graph, last = _graphs.ready(collections)
        wanted = ([] if discard and last is not None else keys) + ([] if last is None else [last])
        blocks = get(graph, wanted) if meter is None else _get(meter, graph, wanted)
    if discard:
        return ()
    finishing = [item.__dask_postcompute__() for item in collections]
    return tuple(finish(block, *more) for (finish, more), block in zip(finishing, blocks, strict=False))


def _scheduler() -> Callable[..., Any]:
    """Return the `get` function of the dask scheduler in force."""
    import dask.base
    import dask.threaded

    return cast(Callable[..., Any], dask.base.get_scheduler() or dask.threaded.get)


@contextlib.contextmanager
def track(total: int, label: str, unit: str = "frames") -> Iterator[Callable[..., None]]:
    """Show the progress of a loop.

    Parameters
    ----------
    total : int
        How many `unit` there are to do.
    label : str
        What is being done.
    unit : str
        What is counted.

    Yields
    ------
    callable
        ``advance(n=1)``: `n` more are done. It may be called from any thread.

    Raises
    ------
    ValueError, TypeError
        When `total` is not a whole number of 0 or more.

    Examples
    --------
    >>> from stack3d.progress import track
    >>> with track(stack.sizes["z"], "sum of frames") as advance:
    ...     for frame in stack.transpose("z", ...):
    ...         sums = float(frame.sum())
    ...         advance()
    """
    if operator.index(total) < 0:
        raise ValueError(f"total={total!r} must be 0 or more")
    with metering(label, unit, size=total) as meter:
        yield _nothing if meter is None else meter.advance


def _nothing(n: int = 1) -> None:
    pass


def _get(meter: Meter, graph: Any, keys: Any, **options: Any) -> Any:
    """Run a graph with the scheduler in force, telling `meter`; used in place of a `get` function of dask."""
    import dask.base
    import dask.local
    from dask.callbacks import local_callbacks

    get = _scheduler()
    client = getattr(get, "__self__", None)
    if "distributed" in sys.modules and isinstance(client, sys.modules["distributed"].Client):
        return _get_distributed(meter, client, graph, keys, **options)
    callback = _callback(meter)
    if get in dask.base.named_schedulers.values() or getattr(get, "func", None) is dask.local.get_async:
        # Given by hand: the set of active callbacks is shared between threads, without a lock.
        with local_callbacks() as active:
            return get(graph, keys, callbacks=[*active, callback._callback], **options)
    with callback:
        return get(graph, keys, **options)


def _callback(meter: Meter) -> Any:
    from dask.callbacks import Callback

    def start(graph: Any, state: Any) -> None:
        meter.update(0, len(state["ready"]) + len(state["waiting"]))

    def posttask(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        meter.advance()

    return Callback(start_state=start, posttask=posttask)


def _get_distributed(meter: Meter, client: Any, graph: Any, keys: Any, **options: Any) -> Any:
    """Run a graph on a cluster, watching its tasks from the scheduler."""
    import asyncio

    from dask.core import flatten
    from distributed import wait
    from distributed.diagnostics.progressbar import ProgressBar
    from distributed.worker import thread_state

    if getattr(thread_state, "key", None):  # inside a task the client must give its place to others first
        return client.get(graph, keys, **options)

    def draw(*, remaining: int, all: int, **kwargs: Any) -> None:
        meter.update(all - remaining, all)

    packed = client.get(graph, keys, sync=False, **options)
    futures = list(flatten([packed]))
    listening = None
    try:
        try:
            wait(futures, timeout=_meter.FIRST_BAR)
        except TimeoutError:
            watch: Any = ProgressBar(futures, scheduler=client.scheduler.address)
            watch._draw_bar = draw
            listening = asyncio.run_coroutine_threadsafe(watch.listen(), client.loop.asyncio_loop)
        result = client.gather(packed)
        if listening is not None:
            # The scheduler looks for the keys until it finds them, so they are held until it has.
            try:
                listening.result(timeout=5)
            except Exception as error:  # the result is there, so nothing of it may be lost
                _LOGGER.debug("%s: progress was not followed to its end: %r", meter.label, error)
        return result
    finally:
        if listening is not None:
            listening.cancel()
        for future in futures:
            future.release()
