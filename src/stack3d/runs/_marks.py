"""Which blocks of a store are written: lines appended to files of a folder, one file a process.

To make a file takes longer than to write a small block, and to append to one's own needs no lock, on no file system.
A line is the mark of a block, and the sizes of its chunks: what was written, to be held beside what is there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

_SUFFIX = ".written"
_HEADER = "header"
_MARK = re.compile(r"([0-9a-f]{8})-(\d+(?:_\d+)*)-(\d+(?:_\d+)*)")
_SIZES = re.compile(r"-?\d+(?:,-?\d+)*")
# Of a process that lived before, and was killed within a line, no other goes on with the file.
_TOKEN = uuid.uuid4().hex[:8]


def begin(folder: Path, header: str, files: Mapping[str, int] | None = None) -> None:
    """Make the folder of a store of which no block is written.

    Parameters
    ----------
    folder : Path
    header : str
        A line that says what it is to hold.
    files : mapping, optional
        Size of each file that is there before any block, by its name below the store.
    """
    folder.mkdir()
    (folder / _HEADER).write_text(f"{header}\n{json.dumps(files or {})}\n", encoding="utf-8")


def is_of(folder: Path, header: str) -> bool:
    """Return whether a folder is there, of a store that is to hold the same."""
    return _header_of(folder)[:1] == [header]


def files_before(folder: Path) -> dict[str, int]:
    """Return what `begin` was told of files; nothing where that was not noted yet."""
    try:
        found: dict[str, int] = json.loads(_header_of(folder)[1])
    except (ValueError, IndexError):
        return {}
    return found


def _header_of(folder: Path) -> list[str]:
    try:
        return (folder / _HEADER).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []


def mark_of(name: str, start: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return what stands for a block of a variable."""
    begin, size = ("_".join(map(str, numbers)) for numbers in (start, shape))
    return f"{short(name)}-{begin}-{size}"


def parts_of(mark: str) -> tuple[str, list[int], list[int]]:
    """Return what stands for the variable of a block, its start and its shape."""
    name, *places = mark.split("-")
    start, shape = ([int(number) for number in place.split("_")] for place in places)
    return name, start, shape


@lru_cache(maxsize=64)
def short(name: str) -> str:
    """Return what stands for the name of a variable."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def add(folder: str | os.PathLike[str], mark: str, sizes: Sequence[int] | None = None) -> None:
    """Say that a block is written, with the sizes of its chunks; any number of threads and processes may."""
    path = os.path.join(folder, f"{platform.node() or 'host'}-{os.getpid()}-{_TOKEN}{_SUFFIX}")
    _append(path, f"{_line(mark, sizes)}\n".encode())


def _append(path: str, line: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        # In one piece, so that no other thread's comes between. What was cut short counts as nothing.
        if os.write(file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(file)


def _line(mark: str, sizes: Sequence[int] | None) -> str:
    return mark if sizes is None else f"{mark} {','.join(map(str, sizes))}"


def found(folder: Path) -> set[str]:
    """Return the marks in a folder; none where it is not there. A line that is cut short is none."""
    return set(written(folder))


def written(folder: Path) -> dict[str, set[tuple[int, ...] | None]]:
    """Return for each mark in a folder the sizes of the chunks of its block, or None, as often as it was written."""
    marks: dict[str, set[tuple[int, ...] | None]] = {}
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return marks
    for entry in entries:
        if entry.name.endswith(_SUFFIX):
            lines = Path(entry.path).read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        else:
            lines = [entry.name]  # as they were once: an empty file for each
        for line in lines:
            mark, space, sizes = line.partition(" ")
            if _MARK.fullmatch(mark) and (not space or _SIZES.fullmatch(sizes)):
                marks.setdefault(mark, set()).add(tuple(map(int, sizes.split(","))) if space else None)
    return marks


def keep(folder: Path, marks: Iterable[str]) -> None:
    """Leave no others than these. Whenever this is interrupted, some are gone, and none is there that is not meant."""
    beside = folder / f"kept-{uuid.uuid4().hex[:8]}"
    kept = Path(f"{beside}{_SUFFIX}")
    before = written(folder)
    text = "".join(f"{_line(mark, sizes)}\n" for mark in sorted(marks) for sizes in before.get(mark, {None}))
    for entry in list(os.scandir(folder)):
        if entry.name != _HEADER:
            os.unlink(entry.path)
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, kept)
