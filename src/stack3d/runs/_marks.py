"""Which blocks of a store are written: lines appended to files of a folder, one file a process.

To make a file takes longer than to write a small block, and to append to one's own needs no lock, on no file system.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import uuid
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_SUFFIX = ".written"
_HEADER = "header"
# Of a process that lived before, and was killed within a line, no other goes on with the file.
_TOKEN = uuid.uuid4().hex[:8]


def begin(folder: Path, header: str) -> None:
    """Make the folder of a store of which nothing is written; `header` says what it is to hold."""
    folder.mkdir()
    (folder / _HEADER).write_text(header)


def is_of(folder: Path, header: str) -> bool:
    """Return whether a folder is there, of a store that is to hold the same."""
    try:
        return (folder / _HEADER).read_text() == header
    except OSError:
        return False


def mark_of(name: str, start: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Return what stands for a block of a variable."""
    begin, size = ("_".join(map(str, numbers)) for numbers in (start, shape))
    return f"{_short(name)}-{begin}-{size}"


@lru_cache(maxsize=64)
def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def add(folder: str | os.PathLike[str], mark: str) -> None:
    """Say that a block is written; any number of threads and processes may."""
    path = os.path.join(folder, f"{platform.node() or 'host'}-{os.getpid()}-{_TOKEN}{_SUFFIX}")
    _append(path, f"{mark}\n".encode())


def _append(path: str, line: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        # In one piece, so that no other thread's comes between. What was cut short counts as nothing.
        if os.write(file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(file)


def found(folder: Path) -> set[str]:
    """Return the marks in a folder; none where it is not there. A line that is cut short is none."""
    marks: set[str] = set()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return marks
    for entry in entries:
        if entry.name.endswith(_SUFFIX):
            marks.update(Path(entry.path).read_text(encoding="utf-8", errors="replace").split("\n")[:-1])
        elif entry.name != _HEADER:
            marks.add(entry.name)  # as they were once: an empty file for each
    return marks


def keep(folder: Path, marks: Iterable[str]) -> None:
    """Leave no others than these. Whenever this is interrupted, some are gone, and none is there that is not meant."""
    beside = folder / f"kept-{uuid.uuid4().hex[:8]}"
    kept = Path(f"{beside}{_SUFFIX}")
    text = "".join(f"{mark}\n" for mark in sorted(marks))
    for entry in list(os.scandir(folder)):
        if entry.name != _HEADER:
            os.unlink(entry.path)
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, kept)
