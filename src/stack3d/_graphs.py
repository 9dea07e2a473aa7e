"""Task graphs of whole passes, made ready for a scheduler: few tasks a block, in the order of the stack."""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import dask.array

_BRANCHES = 4


def are_arrays(collections: Sequence[Any]) -> bool:
    """Return whether all of some things are dask arrays."""
    if "dask.array" not in sys.modules:
        return False
    import dask.array

    return bool(collections) and all(isinstance(item, dask.array.Array) for item in collections)


def in_order(arrays: Sequence[dask.array.Array]) -> dict[Any, Any] | None:
    """Return one graph of some arrays, optimised, with its tasks in the order of the stack; None for foreign ones."""
    from dask.highlevelgraph import HighLevelGraph

    from stack3d._fusion import fused

    return fused(HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays)), _keys(arrays))


def ready(arrays: Sequence[dask.array.Array]) -> tuple[dict[Any, Any], Any | None]:
    """Return one graph of some arrays, optimised, and the key of a task that needs every block of them.

    The key is None where no task needs another: then their order is of no consequence.
    """
    from dask.array.optimization import optimize
    from dask.highlevelgraph import HighLevelGraph

    keys, graph = _keys(arrays), in_order(arrays)
    if graph is None:
        merged = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
        graph = _without_aliases(dict(optimize(merged, keys)), keys)
    if not any(task.dependencies for task in graph.values()):
        return graph, None
    joined, root = joining(keys)
    return graph | joined, root


def joining(keys: Sequence[Any]) -> tuple[dict[Any, Any], Any]:
    """Return tasks that join neighbouring keys, then those that do, up to one, and its key.

    Dask does first what needs least. Of the slices of a finer grid those are the ones that lie on a slice of the old
    one, all along the stack, and half of the stack would wait in memory for the others. What joins neighbours makes it
    go along the stack instead.
    """
    from dask._task_spec import Task, TaskRef

    name = f"joined-{uuid.uuid4().hex}"
    graph: dict[Any, Any] = {}
    joined = list(keys)
    while True:
        groups = [joined[k : k + _BRANCHES] for k in range(0, len(joined), _BRANCHES)]
        joined = [(name, len(graph) + k) for k in range(len(groups))]
        graph |= {key: Task(key, _done, *map(TaskRef, group)) for key, group in zip(joined, groups, strict=True)}
        if len(joined) == 1:
            return graph, joined[0]


def _keys(arrays: Sequence[dask.array.Array]) -> list[Any]:
    from dask.core import flatten

    return [key for array in arrays for key in flatten(array.__dask_keys__())]


def _done(*blocks: Any) -> Any:
    return np.zeros(1, np.uint8)


def _without_aliases(graph: dict[Any, Any], keys: Sequence[Any]) -> dict[Any, Any]:
    """Return a graph without the second name that dask's fusion gives to every task that it made of several."""
    from dask._task_spec import Alias

    users = Counter(key for task in graph.values() for key in task.dependencies)
    wanted = set(keys)
    for key, task in list(graph.items()):
        if not isinstance(task, Alias):
            continue
        target = task.target
        if target in graph and users[target] == 1 and target not in wanted and not isinstance(graph[target], Alias):
            graph[key] = graph.pop(target).substitute({}, key=key)
    return graph
