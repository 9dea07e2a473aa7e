"""Leaning frames until tilted stripes stand upright, and back: rows moved along x by parts of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
_TAPS = 6


def offsets(height: int, lean: float) -> np.ndarray:
    """Return where column 0 of each row goes when stripes that lean by `lean` pixels a row are set upright."""
    moved = -lean * np.arange(height)
    return np.asarray(moved - moved.min())


def taps(fraction: float) -> np.ndarray:
    """Return the weights of a Lanczos window of six taps for the place `fraction` after the third."""
    away = np.arange(_TAPS) - 2 - fraction
    weights = np.sinc(away) * np.sinc(away / 3)
    return np.asarray(weights / weights.sum(), np.float32)


def stand(frame: Any, weight: Any, lean: float, width: int) -> tuple[Any, Any]:
    """Return the frame with its stripes upright, `width` wide, and its weight: 0 beyond the frame.

    Parameters
    ----------
    frame : (y, x) float32 array
        Without NaN.
    weight : (y, x) float32 array or None
    """
    places = offsets(frame.shape[0], lean)
    if weight is None:
        weight = namespace(frame).ones_like(frame)
    move = _move if on_host(frame) else _move_xp
    nearest = move(weight, places, width, False)
    return move(frame, places, width, True), nearest


def lean_back(frame: Any, lean: float, width: int) -> Any:
    """Return what `stand` made of a frame, moved back to the `width` it had."""
    move = _move if on_host(frame) else _move_xp
    return move(frame, -offsets(frame.shape[0], lean), width, True)


def _move(frame: Any, places: np.ndarray, width: int, smooth: bool) -> Any:
    out = np.empty((frame.shape[0], width), np.float32)
    whole = np.floor(places) if smooth else np.rint(places)
    weights = np.array([taps(f) for f in np.ceil(places) - places]) if smooth else np.empty((0, 0), np.float32)
    # A row moved by 2.3 is read 0.7 after the pixel 3 before.
    first = (-np.ceil(places) if smooth else -whole).astype(np.int64)
    _move_rows(np.ascontiguousarray(frame), first, weights, out)
    return out


@njit(**_OPTIONS)
def _move_rows(frame, first, weights, out):  # type: ignore[no-untyped-def]
    height, old = frame.shape
    width = out.shape[1]
    padded = np.zeros(old + 2 * width + 12, np.float32)
    for i in range(height):
        row, line = frame[i], out[i]
        if weights.size == 0:
            for j in range(width):
                at = j + first[i]
                line[j] = row[at] if 0 <= at < old else np.float32(0)
            continue
        # Beyond the frame its edge goes on.
        low = first[i] - 2
        for j in range(width + 5):
            padded[j] = row[min(max(j + low, 0), old - 1)]
        w = weights[i]
        w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
        a, b, c = padded[:width], padded[1 : width + 1], padded[2 : width + 2]
        d, e, f = padded[3 : width + 3], padded[4 : width + 4], padded[5 : width + 5]
        for j in range(width):
            line[j] = w0 * a[j] + w1 * b[j] + w2 * c[j] + w3 * d[j] + w4 * e[j] + w5 * f[j]


def _move_xp(frame: Any, places: np.ndarray, width: int, smooth: bool) -> Any:
    xp = namespace(frame)
    height, old = frame.shape
    rows, columns = xp.arange(height)[:, None], xp.arange(width)[None]
    if not smooth:
        at = columns - xp.asarray(np.rint(places).astype(np.int64))[:, None]
        inside = (at >= 0) & (at < old)
        return xp.where(inside, frame[rows, xp.clip(at, 0, old - 1)], frame.dtype.type(0))
    whole = np.ceil(places)
    weights = xp.asarray(np.array([taps(f) for f in whole - places]))
    at = columns - xp.asarray(whole.astype(np.int64))[:, None]
    out = xp.zeros((height, width), frame.dtype)
    for k in range(_TAPS):
        out += weights[:, k : k + 1] * frame[rows, xp.clip(at + (k - 2), 0, old - 1)]
    return out
