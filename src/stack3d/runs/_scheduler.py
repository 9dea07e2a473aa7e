"""The dask scheduler that a run asks for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_NAMED = ("threads", "processes", "synchronous")


@contextlib.contextmanager
def on_scheduler(scheduler: str | None) -> Iterator[None]:
    """Compute on a scheduler by its name, or on a cluster by its address.

    Raises
    ------
    ValueError, ImportError, OSError
        For an unknown name, a cluster without the extra ``distributed``, an address where nobody answers.
    """
    import dask
    import dask.base

    if scheduler is None and ("distributed" in sys.modules or dask.config.get("scheduler", None) is not None):
        yield
    elif scheduler is None or scheduler in _NAMED:
        # As a function: a name, or none, makes dask load `distributed`, though there cannot be a client yet.
        with dask.config.set(scheduler=dask.base.named_schedulers[scheduler or "threads"]):
            yield
    elif "://" in scheduler:
        try:
            from distributed import Client
        except ImportError:
            raise ImportError(
                f"scheduler={scheduler!r} is a cluster: install the extra, python -m pip install 'stack3d[distributed]'"
            ) from None
        with Client(scheduler, timeout="20s", set_as_default=True):
            yield
    else:
        raise ValueError(
            f"scheduler={scheduler!r} is not allowed; it must be one of {_NAMED} or an address such as 'tcp://host:8786'"
        )
