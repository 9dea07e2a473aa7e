"""Pixels read from a file to where they belong, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np


def fill(file: Any, target: np.ndarray) -> bool:
    """Read as many bytes as a contiguous array holds from an unbuffered file; return whether there were so many."""
    left = target.data.cast("B")
    while left:
        count = file.readinto(left)
        if not count:
            return False
        left = left[count:]
    return True
