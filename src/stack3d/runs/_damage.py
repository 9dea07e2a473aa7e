"""What a store has lost since it was written: files that are missing or cut short, told by their sizes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stack3d._words import counted
from stack3d.io import _chunk_sizes
from stack3d.runs import _marks


class Damage(NamedTuple):
    """What of a store is not as it was written; names are below the store.

    Attributes
    ----------
    files : list of str
        Headers and small coordinates. Without them the store can only be made anew.
    chunks : list of str
        Chunks of frames.
    blocks : set of str
        Marks of the blocks that these chunks belong to.
    """

    files: list[str]
    chunks: list[str]
    blocks: set[str]

    def __bool__(self) -> bool:
        return bool(self.files or self.chunks)

    @property
    def remedy(self) -> str:
        """What a run does about it, in words."""
        return "it is made again" if self.files else f"made again: {counted(len(self.blocks), 'block')} of it"

    def __str__(self) -> str:
        names = sorted([*self.files, *self.chunks])
        some = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        return f"{counted(len(names), 'file')} missing or not of the size that was written ({some})"


NONE = Damage([], [], set())


def found(store: Path, marks: Path) -> Damage:
    """Return what is damaged of the blocks that are marked; nothing is known of those that were marked without sizes.

    Parameters
    ----------
    store : Path
        Whole or not.
    marks : Path
        The folder of its marks, there or not.
    """
    files = [name for name, size in _marks.files_before(marks).items() if _chunk_sizes.size_of(store / name) != size]
    chunks, blocks = [], set()
    for name, allowed, covered_by in _expected(store, marks):
        sizes = _chunk_sizes.listed(store / name)
        for chunk, known in allowed.items():
            if sizes.get(chunk, 0) in known or None in known:
                continue
            if _chunk_sizes.size_of(store / name / chunk) not in known:
                chunks.append(f"{name}/{chunk}")
                blocks |= covered_by[chunk]
    return Damage(files, chunks, blocks)


def is_change(store: Path, damage: Damage) -> bool:
    """Return whether somebody wrote something else there: some of the files are whole, and of another size."""
    return any(_chunk_sizes.is_complete(store / name) for name in damage.chunks) or any(
        _chunk_sizes.size_of(store / name) > 0 for name in damage.files
    )


def files_of(store: Path) -> dict[str, int]:
    """Return the size of each file of a store, by its name below it."""
    return {
        os.path.relpath(os.path.join(folder, name), store).replace(os.sep, "/"): _chunk_sizes.size_of(
            os.path.join(folder, name)
        )
        for folder, _, names in os.walk(store)
        for name in names
    }


def _expected(store: Path, marks: Path) -> Iterator[tuple[str, dict[str, set[int | None]], dict[str, set[str]]]]:
    """Yield each variable that has marks, with the sizes that each chunk may have and the marks of its blocks.

    Of a block that was written twice, or in blocks of other lengths, either will do.
    """
    by_variable: dict[str, list[str]] = {}
    written = _marks.written(marks)
    for mark in written:
        by_variable.setdefault(mark[:8], []).append(mark)
    for name in os.listdir(store) if by_variable and store.is_dir() else ():
        chunk = _chunk_sizes.chunk_shape(store / name) if _marks.short(name) in by_variable else None
        if chunk is None:
            continue
        allowed: dict[str, set[int | None]] = {}
        covered_by: dict[str, set[str]] = {}
        for mark in by_variable[_marks.short(name)]:
            _, start, shape = _marks.parts_of(mark)
            if len(start) != len(chunk) or len(shape) != len(chunk):
                continue
            of_block = _chunk_sizes.names(chunk, start, shape)
            for sizes in written[mark]:
                known = sizes if sizes is not None and len(sizes) == len(of_block) else [None] * len(of_block)
                for one, size in zip(of_block, known, strict=True):
                    allowed.setdefault(one, set()).add(size)
            for one in of_block:
                covered_by.setdefault(one, set()).add(mark)
        yield name, allowed, covered_by
