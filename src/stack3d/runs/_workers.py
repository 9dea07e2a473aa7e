"""The processes that worked for a run beside its own, and their memory."""

from __future__ import annotations

import contextlib
import platform
import sys
from typing import Any

from stack3d._meter import peak_memory
from stack3d.reporting._words import amount


def workers() -> dict[str, str]:
    """Return how many workers a cluster has, or whether there were processes, and the largest memory of each.

    Empty where all was done in one process, and where a cluster does not answer.
    """
    import dask.base

    get = dask.base.get_scheduler()
    client = getattr(get, "__self__", None)
    if "distributed" in sys.modules and isinstance(client, sys.modules["distributed"].Client):
        with contextlib.suppress(Exception):  # the result is there: what is not known is not told
            return _of_cluster(client)
        return {}
    return _of_children() if get is dask.base.named_schedulers["processes"] else {}


def _of_cluster(client: Any) -> dict[str, str]:
    peaks = client.run(peak_memory, on_error="ignore")
    known = [peak for peak in peaks.values() if peak]
    found = {"workers": str(len(peaks))}
    return found | ({"peak_memory_of_workers": f"up to {amount(max(known))} each"} if known else {})


def _of_children() -> dict[str, str]:
    try:
        import resource
    except ImportError:
        return {}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"peak_memory_of_workers": f"up to {amount(peak if platform.system() == 'Darwin' else peak * 1024)} each"}
