"""Chunks that were just written and will be read again, held in memory beside: for small stacks that is faster.

What is on disk is whole without them. They are known by what marks the header of their array, which a store keeps when
it takes its name.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

# Bytes of stores that are held at once.
LIMIT = 2**27

_lock = threading.Lock()
_held: dict[tuple[Any, tuple[int, ...]], np.ndarray] = {}
_size = 0
_open = 0
_keeping = 0


@contextlib.contextmanager
def until_done() -> Iterator[None]:
    """Let go of everything when the outermost of these ends."""
    global _open, _size
    with _lock:
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if _open == 0:
                _held.clear()
                _size = 0


@contextlib.contextmanager
def keeping(size: int) -> Iterator[None]:
    """Hold what is written here, if `size` bytes find room and there is an `until_done` around."""
    global _keeping
    with _lock:
        wanted = _open > 0 and _size + size <= LIMIT
        _keeping += wanted
    try:
        yield
    finally:
        with _lock:
            _keeping -= wanted


def keep(mark: Any, index: tuple[int, ...], values: np.ndarray) -> None:
    """Hold a copy of a chunk, where that was asked for."""
    global _size
    if _keeping and mark is not None:
        values = values.copy()
        with _lock:
            before = _held.get((mark, index))
            change = values.nbytes - (0 if before is None else before.nbytes)
            if _keeping and _size + change <= LIMIT:
                _held[mark, index] = values
                _size += change


def find(mark: Any, index: tuple[int, ...]) -> np.ndarray | None:
    """Return a chunk that is held. It is not to be changed."""
    return _held.get((mark, index)) if _held else None
