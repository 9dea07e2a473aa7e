"""Finding out whether a lazy stack is read from a given place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

# How far inside a task a path is looked for: array wrappers of xarray and zarr are 8 deep.
_DEPTH = 16


def reads_from(da: xr.DataArray, path: Path) -> bool:
    """Return whether values of `da`, or of its coordinates, are still to be read from `path` or from inside it."""
    target = os.path.realpath(path)
    variables = [da.variable, *(coord.variable for coord in da.coords.values())]
    folders: dict[str, str] = {}
    for variable in variables:
        data = variable._data
        if isinstance(data, np.ndarray):
            continue
        roots: list[Any] = list(_leaf_tasks(variable.data)) if variable.chunks is not None else [data]
        for text in _paths(roots):
            folder, name = os.path.split(text)
            if not name or (not folder and not os.path.lexists(name)):
                continue
            if folder not in folders:
                folders[folder] = os.path.realpath(folder or ".")
            full = os.path.join(folders[folder], name)
            if os.path.islink(full):
                full = os.path.realpath(full)
            if full == target or full.startswith(target + os.sep):
                return True
    return False


def _leaf_tasks(data: Any) -> Iterator[Any]:
    """Yield what the layers hold that are made of nothing before them: readers, and arrays in memory."""
    graph = data.__dask_graph__()
    layers = getattr(graph, "layers", None)
    if layers is None:
        yield dict(graph)
        return
    for name, layer in layers.items():
        if graph.dependencies.get(name):
            continue
        # A blockwise layer tells its arguments without making a task for each block.
        yield [getattr(layer, "indices", None), getattr(layer, "io_deps", None)]
        yield getattr(layer, "task", None) if hasattr(layer, "indices") else dict(layer)


def _paths(roots: list[Any]) -> Iterator[str]:
    """Yield every string and path inside objects that may be the name of a file."""
    seen: set[int] = set()
    pending = [(root, 0) for root in roots]
    keep = []  # so that no id is used twice
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            # A path of the system, or the URL by which stores know one.
            text = item.removeprefix("file://")
            if 0 < len(text) < 4096 and "\0" not in text:
                yield text
            continue
        if isinstance(item, os.PathLike):
            yield os.fsdecode(item)
            continue
        if (
            depth == _DEPTH
            or isinstance(item, (np.ndarray, np.generic, type, int, float, complex, bytes))
            or item is None
        ):
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        keep.append(item)
        pending += [(part, depth + 1) for part in _parts(item)]


def _parts(item: Any) -> list[Any]:
    if isinstance(item, Mapping):
        return [*item.values()]
    if isinstance(item, (list, tuple, set, frozenset)):
        return list(item)
    module = type(item).__module__.partition(".")[0]
    if module in ("builtins", "threading", "_thread", "logging", "weakref", "asyncio") and not hasattr(
        item, "__self__"
    ):
        return []
    parts = list(getattr(item, "__dict__", {}).values()) if not callable(item) or hasattr(item, "__dict__") else []
    for kind in type(item).__mro__:
        slots = getattr(kind, "__slots__", ())
        parts += [getattr(item, slot, None) for slot in ([slots] if isinstance(slots, str) else slots)]
    if hasattr(item, "func") and hasattr(item, "args"):  # functools.partial and the tasks of dask
        parts += [item.func, item.args, getattr(item, "keywords", None) or getattr(item, "kwargs", None)]
    return [part for part in parts if part is not None]
