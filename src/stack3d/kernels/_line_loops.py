"""Compiled loops over one line: what numba makes of ``out[:] = line`` takes seven times as long."""

from __future__ import annotations

from typing import Any

from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def copy(line: Any, out: Any) -> None:
    """Write a line of the length of `out`."""
    for j in range(out.size):
        out[j] = line[j]


@njit(**_OPTIONS)
def fill(value: Any, out: Any) -> None:
    """Write one value everywhere."""
    for j in range(out.size):
        out[j] = value
