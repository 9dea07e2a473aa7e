"""What a task gets besides its blocks. A module of its own, so that dask is imported when it is needed."""

from __future__ import annotations

from typing import Any

from dask.blockwise import BlockwiseDep


class PerBlock(BlockwiseDep):
    """Values by block index, each embedded in the task of its block alone; known to dask by the name of their array."""

    produces_tasks = False

    def __init__(self, values: dict[tuple[int, ...], Any], numblocks: tuple[int, ...], name: str) -> None:
        self.values, self.numblocks, self.name = values, numblocks, name

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "stack3d-per-block", self.name

    def __getitem__(self, index: tuple[int, ...]) -> Any:
        return self.values[index]
