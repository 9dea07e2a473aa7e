"""Dask arrays made of blocks of whole frames: the graphs under `execution` and the lazy readers.

`dask.array` is imported when used: it costs a third of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import dask.array

# Small frames share a block, so that a task is worth its overhead; a large frame is a block of its own, so that
# looking at one slice of a lazy chain costs one slice.
_BLOCK_BYTES = 2 * 2**20


def frames_per_block(frame_bytes: int) -> int:
    """Return how many frames a block holds by default; of many a multiple of 4, to be stored some together."""
    count = max(1, _BLOCK_BYTES // max(1, frame_bytes))
    return count - count % 4 if count > 4 else count


def split(count: int, size: int) -> tuple[int, ...]:
    """Return the lengths of blocks of `size` that cover `count`."""
    full, rest = divmod(count, size)
    return (size,) * full + ((rest,) if rest else ())


def block_values(
    chunks: tuple[tuple[int, ...], ...], values: dict[str, np.ndarray]
) -> Callable[[tuple[int, ...]], Any]:
    """Return what gives the share of a block in values along the leading dims, for `per_block`."""
    starts = [np.concatenate([[0], np.cumsum(lengths)]) for lengths in chunks]

    def of_block(index: tuple[int, ...]) -> dict[str, np.ndarray]:
        where = tuple(slice(int(s[i]), int(s[i + 1])) for s, i in zip(starts, index, strict=False))
        return {name: np.array(value[where], order="C") for name, value in values.items()}

    return of_block


def values_of_one(values: dict[str, np.ndarray], k: int, axis: int) -> dict[str, np.ndarray]:
    """Return the share of slice `k` in the values of a block, for `one`."""
    place = (*(slice(None),) * axis, slice(k, k + 1))
    return {name: value[place] for name, value in values.items()}


def array_from_blocks(
    function: Callable[..., Any],
    *,
    name: str,
    chunks: tuple[tuple[int, ...], ...],
    dtype: Any,
    sources: Sequence[dask.array.Array] = (),
    per_block: Callable[[tuple[int, ...]], Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    meta: Any = None,
    one: Callable[[Any, int], Any] | None = None,
) -> dask.array.Array:
    """Return a lazy array whose block at `index` is ``function(*blocks, per_block(index), **arguments)``.

    A chain of such arrays is one task a block once dask has fused it.

    Parameters
    ----------
    function : callable
        Takes the block of each source, then what `per_block` returned if it is given, then `arguments`.
    name : str
        Key of the new array; must be unique to function and arguments (end it with a `dask.base.tokenize`).
    chunks : tuple of tuple of int
        Chunks of the new array. Each source has the same number of blocks along each dim.
    per_block : callable, optional
        Called with the index of a block while the graph is made, so that a task carries only its own share.
    one : callable, optional
        Given where `function` does each slice by itself: from what `per_block` returned and a number, what a block of
        that slice alone would get.
    """
    import dask.array
    from dask.blockwise import blockwise
    from dask.highlevelgraph import HighLevelGraph

    from stack3d._fusion import Recipe
    from stack3d._per_block import PerBlock

    counts = tuple(len(lengths) for lengths in chunks)
    indices = tuple(range(len(chunks)))
    pairs: list[Any] = []
    values = None
    for source in sources:
        if source.numblocks != counts:
            raise ValueError(f"source has {source.numblocks} blocks, the result {counts}")
        pairs += [source.name, indices]
    if per_block is not None:
        values = {index: per_block(index) for index in np.ndindex(counts)}
        pairs += [PerBlock(values, counts, name), indices]
    layer = blockwise(
        function,
        name,
        indices,
        *pairs,
        numblocks={source.name: source.numblocks for source in sources},
        dependencies=cast(Any, sources),
        concatenate=True,
        **(arguments or {}),
    )
    names = tuple(source.name for source in sources)
    layer.stack3d_recipe = Recipe(function, names, values, dict(arguments or {}), one)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=cast(Any, sources))
    meta = np.empty((0,) * len(chunks), dtype) if meta is None else meta
    return dask.array.Array(graph, name, chunks, dtype=np.dtype(dtype), meta=meta)
