"""Slices of a lazy array without the blocks around them.

Dask computes a block whole for one slice of it. What is done slice by slice, from the reader on, is done here for the
slices that are wanted; anything else is computed as it is, and cut.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import dask.array


def slices_alone(array: dask.array.Array, index: Sequence[int] | np.ndarray) -> dask.array.Array:
    """Return slices (z, y, x) of an array of whole frames, each a block; what several such arrays share is one task."""
    import dask.array
    from dask._task_spec import Alias
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    if array.ndim != 3 or array.numblocks[1:] != (1, 1):
        chosen: dask.array.Array = array[list(index)]
        return chosen
    name = f"slices-{tokenize(array.name, list(map(int, index)))}"
    starts = np.concatenate([[0], np.cumsum(array.chunks[0])])
    alone = _Alone(array.__dask_graph__())
    ends: dict[Any, Any] = {}
    for number, k in enumerate(index):
        block = int(np.searchsorted(starts, k, side="right")) - 1
        key = (name, number, 0, 0)
        ends[key] = Alias(key, alone.key((array.name, block, 0, 0), int(k - starts[block])))
    graph = HighLevelGraph.from_collections(name, alone.tasks | ends, dependencies=cast(Any, [array]))
    chunks = ((1,) * len(ends), *array.chunks[1:])
    return dask.array.Array(graph, name, chunks, dtype=array.dtype, meta=array._meta)


class _Alone:
    """The tasks that make one slice each."""

    def __init__(self, graph: Any) -> None:
        self.layers = graph.layers
        self.tasks: dict[Any, Any] = {}

    def key(self, block: tuple[Any, ...], k: int) -> tuple[Any, ...]:
        """Return the key of slice `k` of a block."""
        found = (f"slice-of-{block[0]}", *block[1:], k)
        if found not in self.tasks:
            self.tasks[found] = self._task(found, block, k)
        return found

    def _task(self, found: tuple[Any, ...], block: tuple[Any, ...], k: int) -> Any:
        from dask._task_spec import Task, TaskRef

        layer = self.layers.get(block[0], {})
        recipe = getattr(layer, "stack3d_recipe", None)
        if recipe is not None and recipe.one is not None:
            blocks = (TaskRef(self.key((source, *block[1:]), k)) for source in recipe.sources)
            more = () if recipe.per_block is None else (recipe.one(recipe.per_block[block[1:]], k),)
            return Task(found, recipe.function, *blocks, *more, **recipe.arguments)
        if recipe is None and (cut := _cut(layer.get(block))) is not None:
            return Task(found, operator.getitem, TaskRef(self.key(cut[0], k)), cut[1])
        part = (..., slice(k, k + 1), slice(None), slice(None))
        return Task(found, operator.getitem, TaskRef(block), part)


def _cut(task: Any) -> tuple[Any, Any] | None:
    """Return block and index of a task that cuts frames or chooses a channel, and takes the block's slices as they are."""
    from dask._task_spec import Task

    if not isinstance(task, Task) or task.func is not operator.getitem or len(task.args) != 2:
        return None
    source, index = getattr(task.args[0], "key", None), task.args[1]
    if source is None or not isinstance(index, tuple) or len(index) < 3 or index[-3] != slice(None):
        return None
    return source, index
