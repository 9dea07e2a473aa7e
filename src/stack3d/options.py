"""Settings that hold for a session, and for a ``with`` block."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

_ALLOWED = {
    "device": "'cpu', 'gpu' or 'auto'",
    "workers": "a positive whole number, or None for the number of cores",
    "progress": "True, False or 'auto'",
    "report": "True or False",
}
_OPTIONS: dict[str, Any] = {"device": "cpu", "workers": None, "progress": "auto", "report": True}


#: What layers above have to say to a value that is allowed as such.
CHECKS: dict[str, Callable[[Any], object]] = {}


def _is_allowed(name: str, value: Any) -> bool:
    if name == "device":
        return isinstance(value, str) and value in ("cpu", "gpu", "auto")
    if name == "workers":
        return value is None or (
            isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1
        )
    if name == "report":
        return isinstance(value, bool)
    return isinstance(value, bool) or (isinstance(value, str) and value == "auto")


class set_options:
    """Set options for the session, or for the length of a ``with`` block.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        Where kernels run when an operation is not told (default ``"cpu"``).
    workers : int or None
        Threads used for stacks held in memory (default None: one a core). Lazy stacks are run by the dask
        scheduler, whose own settings hold.
    progress : {True, False, "auto"}
        Progress of long work: ``True`` draws a bar, ``False`` is silent; ``"auto"`` (default) draws a bar on a
        terminal or in a notebook and otherwise writes to the logger ``"stack3d"`` at level INFO.
    report : bool
        Whether runs write a report beside their result (default True).

    Raises
    ------
    ValueError
        For an unknown option or a value that is not allowed.
    RuntimeError
        For ``device="gpu"`` where there is no GPU that can be used; the message says what is missing.

    Examples
    --------
    >>> import stack3d
    >>> with stack3d.set_options(progress=False):
    ...     levels = stack.stack3d.slice_statistics()
    """

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            if name not in _OPTIONS:
                raise ValueError(f"unknown option {name!r}; allowed are {', '.join(map(repr, _OPTIONS))}")
            if not _is_allowed(name, value):
                raise ValueError(f"{name}={value!r} is not allowed; it must be {_ALLOWED[name]}")
            if name in CHECKS:
                CHECKS[name](value)
        self._before = {name: _OPTIONS[name] for name in options}
        _OPTIONS.update(options)

    def __enter__(self) -> set_options:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _OPTIONS.update(self._before)


def get_option(name: str) -> Any:
    """Return the value of one option."""
    return _OPTIONS[name]


def worker_count() -> int:
    """Return the number of threads for stacks held in memory."""
    workers = _OPTIONS["workers"]
    if workers is not None:
        return int(workers)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
