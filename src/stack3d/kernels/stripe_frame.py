"""What every method of finding stripes shares: frames without gaps in, one rounding out, and what neighbours have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stack3d.kernels import _frame_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, working_dtype
from stack3d.kernels.finite import as_float32

__all__ = [
    "expected",
    "filled",
    "filled_batch",
    "likeness",
    "median",
    "power",
    "stacked",
    "subtract",
    "subtract_each",
    "working_dtype",
]

_CELL = 4  # pixels along an edge, averaged before slices are compared


def filled(frame: Any) -> tuple[Any, Any]:
    """Return the frame as float32 about its mean, missing pixels 0; and its weight, None where none is missing."""
    xp = namespace(frame)
    if frame.ndim == 2 and frame.size and on_host(frame):
        pixels, kind = packed(frame), working_dtype(frame.dtype)
        out = np.empty(pixels.shape, np.float32)
        if loops.less_mean(pixels, kind.type(0), frame.dtype.kind != "f", out):
            return out, None
    if frame.dtype.kind != "f":
        middle = float(frame[::8, ::8].mean(dtype=np.float64))
        kind = working_dtype(frame.dtype)
        return (frame.astype(kind) - kind.type(round(middle))).astype(np.float32), None
    known = xp.isfinite(frame)
    count = int(xp.count_nonzero(known))
    if count == frame.size:
        return as_float32(frame - frame.dtype.type(float(frame[::8, ::8].mean(dtype=np.float64)))), None
    middle = float(xp.sum(xp.where(known, frame, 0), dtype=np.float64)) / max(count, 1)
    return as_float32(xp.where(known, frame - frame.dtype.type(middle), 0)), known.astype(np.float32)


def filled_batch(frames: Any) -> tuple[Any, Any]:
    """Return `filled` of frames (n, y, x), each about its own mean; a weight for all where one misses pixels."""
    return stacked(*zip(*(filled(frame) for frame in frames), strict=True))


def stacked(frames: Sequence[Any], weights: Sequence[Any]) -> tuple[Any, Any]:
    """Return frames, and their weights, one after the other (n, y, x); None where all weights are."""
    xp = namespace(frames[0])
    if all(weight is None for weight in weights):
        return xp.stack(frames), None
    parts = zip(frames, weights, strict=True)
    return xp.stack(frames), xp.stack([xp.ones_like(part) if weight is None else weight for part, weight in parts])


def subtract(frame: Any, stripes: Any, dtype: Any, out: Any = None) -> tuple[Any, int]:
    """Return the frame less its stripes (None: it has none) in `dtype`, rounded once, and how many pixels were cut.

    Where that takes no more than a difference, it may go to `out`.
    """
    if stripes is None:
        return _as_it_is(frame, dtype, out)
    if np.dtype(dtype) == np.float32 and frame.dtype == np.float32 and stripes.dtype == np.float32:
        return namespace(frame).subtract(frame, stripes, out=out), 0
    kind = working_dtype(frame.dtype, dtype)
    values = frame.astype(kind)
    values -= stripes
    return finish(values, dtype)


def _as_it_is(frame: Any, dtype: Any, out: Any) -> tuple[Any, int]:
    if frame.dtype != dtype:
        return finish(frame.astype(working_dtype(frame.dtype, dtype)), dtype)
    if out is None:
        return frame.copy(), 0
    out[...] = frame
    return out, 0


def subtract_each(frames: Sequence[Any], stripes: Sequence[Any], dtype: Any) -> tuple[Any, int]:
    """Return `subtract` of some frames, (n, y, x)."""
    values, cut = zip(*(subtract(*pair, dtype) for pair in zip(frames, stripes, strict=True)), strict=True)
    return namespace(values[0]).stack(values), sum(map(int, cut))


def expected(frames: Sequence[Any], own: int, weights: Sequence[Any]) -> tuple[Any, Any]:
    """Return the median of the neighbours of frame `own`, and where there is one (None: everywhere).

    Parameters
    ----------
    frames, weights : sequence
        Of `filled`.
    """
    others = [k for k in range(len(frames)) if k != own]
    xp = namespace(frames[own])
    if all(weights[k] is None for k in others):
        return median([frames[k] for k in others]), None
    gaps = [
        frames[k] if weights[k] is None else xp.where(weights[k] > 0, frames[k], np.float32(np.nan)) for k in others
    ]
    cube = xp.stack(gaps)
    known = xp.isfinite(cube).any(axis=0)
    cube[:, ~known] = 0
    return xp.nanmedian(cube, axis=0).astype(np.float32), known.astype(np.float32)


def median(frames: Sequence[Any]) -> Any:
    """Return the median of a few frames without gaps, pixel by pixel."""
    xp = namespace(frames[0])
    if len(frames) == 1:
        return frames[0].copy()
    return xp.median(xp.stack(list(frames)), axis=0).astype(np.float32)


def power(field: Any) -> float:
    """Return the sum of squares."""
    flat = field.ravel()
    return float(namespace(field).vdot(flat, flat))


def likeness(frame: Any, other: Any, weight: Any, angle: float) -> tuple[float, float]:
    """Return how far `frame` follows `other` along the stripes: the correlation and the slope.

    Differences along the stripes of averages over cells: stripes have no part, noise little.
    """
    xp = namespace(frame)
    first, second = (_cells(xp, part if weight is None else part * weight) for part in (frame, other))
    turn = np.radians(angle)
    first, second = (_along(part, np.cos(turn), np.sin(turn)) for part in (first, second))
    square = float(xp.sum(second * second, dtype=np.float64))
    own = float(xp.sum(first * first, dtype=np.float64))
    both = float(xp.sum(first * second, dtype=np.float64))
    if square <= 0 or own <= 0:
        return 0.0, 0.0
    return both / (square * own) ** 0.5, both / square


def _cells(xp: Any, frame: Any) -> Any:
    height, width = (max(n // _CELL, 1) for n in frame.shape)
    part = frame[: height * _CELL, : width * _CELL]
    return part.reshape(height, part.shape[0] // height, width, part.shape[1] // width).mean(axis=(1, 3))


def _along(cells: Any, down: float, right: float) -> Any:
    """Return the derivative in the direction (down, right), from differences over two cells."""
    if min(cells.shape) < 3:
        return cells[:0]
    dy, dx = cells[2:, 1:-1] - cells[:-2, 1:-1], cells[1:-1, 2:] - cells[1:-1, :-2]
    return np.float32(down) * dy + np.float32(right) * dx
