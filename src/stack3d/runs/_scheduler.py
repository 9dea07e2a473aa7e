"""The dask scheduler that a run asks for."""

from __future__ import annotations

import contextlib
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

    if scheduler is None:
        yield
    elif scheduler in _NAMED:
        with dask.config.set(scheduler=scheduler):
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
