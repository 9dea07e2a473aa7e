"""Buffers that a thread keeps for its next frame: memory that is new to a process costs more than a pass over it."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

_LEAST = 1 << 20  # numbers


class _Kept(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray[Any, Any]] = {}


_kept = _Kept()


def scratch(name: str, *shape: int) -> np.ndarray[Any, Any]:
    """Return a float32 array of any values, the same memory whenever a thread asks for this name.

    It is the caller's until this thread asks again, and never part of a result.
    """
    size = math.prod(shape)
    buffer = _kept.buffers.get(name)
    # What was for frames that are far larger is let go.
    if buffer is None or not size <= buffer.size <= 4 * max(size, _LEAST):
        buffer = _kept.buffers[name] = np.empty(size, np.float32)
    return buffer[:size].reshape(shape)
