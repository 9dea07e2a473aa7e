"""Frames sheared so that tilted stripes run along y, and stripe fields sheared back: one interpolation along rows each."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._line_loops import copy, fill
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._taps import TAPS, weights

_UPRIGHT = 1e-9  # degrees


class Shear(NamedTuple):
    """How frames of a shape are laid so that stripes at an angle run along y.

    Attributes
    ----------
    shape : tuple of int
        Of the frame.
    upright : tuple of int
        Of the sheared frame.
    transposed : bool
        Whether rows and columns are exchanged first: stripes nearer to x than to y.
    start : (rows,) float64 array or None
        Place, in the (exchanged) frame's row, of the first pixel of each sheared row; None where nothing is sheared.
    forth, back : tuple of arrays, or None
        For each row the pixel of the first tap, int64, and the taps, (rows, 6) float32.
    """

    shape: tuple[int, int]
    upright: tuple[int, int]
    transposed: bool
    start: np.ndarray[Any, Any] | None
    forth: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None
    back: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None


def checked_angle(angle: float) -> float:
    """Return `angle` within -90 (left out) to 90 degrees, or raise."""
    if isinstance(angle, bool | str) or not np.isfinite(angle):
        raise ValueError(f"angle={angle!r} must be a finite number of degrees; stripes at 0 run along y")
    return 90.0 - (90.0 - float(angle)) % 180.0


def checked_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return `shape` as (y, x), or raise."""
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be two positive numbers (y, x), got {shape!r}")
    return int(shape[0]), int(shape[1])


def check_strength(strength: float, shrink: bool = True) -> None:
    """Raise unless `strength` is allowed; above 1 it says how much more is taken of what `shrink` would keep."""
    if isinstance(strength, bool | str) or not 0 <= strength < math.inf:
        raise ValueError(f"strength={strength!r} must be a finite number of at least 0")
    if strength > 1 and not shrink:
        raise ValueError(
            f"strength={strength!r} must be at most 1 where nothing is measured (shrink=False, or a fixed mask)"
        )


@lru_cache(maxsize=32)
def shear_of(shape: tuple[int, int], angle: float, order: int | str = 3) -> Shear:
    """Return how frames (y, x) are laid for stripes at `angle`; 0 runs along y, counter-clockwise on the screen.

    `order` is that of `_taps.weights`.
    """
    transposed = abs(angle) > 45
    rows, columns = shape[::-1] if transposed else shape
    turn = math.radians(angle)
    slope = math.cos(turn) / math.sin(turn) if transposed else math.tan(turn)
    if abs(slope) < math.radians(_UPRIGHT):
        return Shear(shape, (rows, columns), transposed, None, None, None)
    drift = slope * np.arange(rows)
    start = drift - drift.max()
    upright = (rows, columns + math.ceil(-start.min()))
    return Shear(shape, upright, transposed, start, _row_taps(start, order), _row_taps(-start, order))


def to_upright(frame: Any, shear: Shear) -> Any:
    """Return the frame sheared, float32; beyond the frame its edge pixels are repeated (:func:`inside` tells where)."""
    frame = _exchanged(frame, shear)
    return frame if shear.forth is None else _moved(frame, *shear.forth, shear.upright[1])


def from_upright(field: Any, shear: Shear) -> Any:
    """Return a field of the sheared frame on the pixels of the frame, float32."""
    if shear.back is not None:
        field = _moved(field, *shear.back, shear.shape[0 if shear.transposed else 1])
    return _exchanged(field, shear)


def inside(shear: Shear, like: Any, weight: Any = None) -> Any:
    """Return the weight of each pixel of the sheared frame, 0 beyond the frame; None where all are whole."""
    xp = namespace(like)
    if shear.start is None:
        return None if weight is None else _exchanged(weight, shear)
    columns = shear.shape[0 if shear.transposed else 1]
    place = xp.arange(shear.upright[1]) + xp.asarray(shear.start)[:, None]
    within = ((place >= 0) & (place <= columns - 1)).astype(np.float32)
    if weight is None:
        return within
    weight = xp.asarray(_exchanged(weight, shear))
    left = xp.clip(xp.floor(place).astype(np.int64), 0, columns - 1)
    right = xp.minimum(left + 1, columns - 1)
    # An interpolated pixel is as missing as the worse of its two neighbours.
    rows = xp.arange(weight.shape[-2])[:, None]
    return within * xp.minimum(weight[..., rows, left], weight[..., rows, right])


def spans(shear: Shear) -> np.ndarray[Any, Any]:
    """Return, for each row of the sheared frame, the first pixel that has its nearest one in the frame, and the end."""
    columns = shear.shape[0 if shear.transposed else 1]
    first = np.zeros(shear.upright[0]) if shear.start is None else np.rint(-shear.start)
    return np.stack([first, first + columns], axis=1).astype(np.int64)


def covered(ends: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """Return 1 within the `spans` of rows, and 0 beyond."""
    place = np.arange(width)
    return ((place >= ends[:, :1]) & (place < ends[:, 1:])).astype(np.float32)


def nearest(weight: Any, shear: Shear) -> Any:
    """Return the weight of the nearest pixel for each of the sheared frame, 0 beyond the frame."""
    weight = _exchanged(weight, shear)
    if shear.start is None:
        return weight
    xp, columns = namespace(weight), weight.shape[-1]
    place = xp.arange(shear.upright[1]) - xp.asarray(spans(shear)[:, :1])
    rows = xp.arange(weight.shape[-2])[:, None]
    return xp.where((place >= 0) & (place < columns), weight[..., rows, xp.clip(place, 0, columns - 1)], np.float32(0))


def _exchanged(frame: Any, shear: Shear) -> Any:
    xp = namespace(frame)
    return xp.ascontiguousarray(xp.swapaxes(frame, -1, -2) if shear.transposed else frame, dtype=np.float32)


def _moved(frame: Any, first: np.ndarray[Any, Any], taps: np.ndarray[Any, Any], columns: int) -> Any:
    if frame.ndim != 2 or not on_host(frame):
        return moved_xp(frame, first, taps, columns)
    out = np.empty((frame.shape[0], columns), np.float32)
    _shift_rows(frame, first, taps, out)
    return out


def _row_taps(start: np.ndarray[Any, Any], order: int | str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the pixel at which the first tap of each row stands, and the taps."""
    whole = np.floor(start)
    taps = np.stack([weights(float(part), order) for part in start - whole])
    return whole.astype(np.int64) - 2, taps.astype(np.float32)


def moved_xp(frame: Any, first: np.ndarray[Any, Any], taps: np.ndarray[Any, Any], columns: int) -> Any:
    """`xp` form of the interpolation along rows: every row starts at a place of its own."""
    xp = namespace(frame)
    place = xp.asarray(first)[:, None] + xp.arange(columns)
    rows = xp.arange(frame.shape[-2])[:, None]
    taps = xp.asarray(taps)
    out = xp.zeros((*frame.shape[:-1], columns), np.float32)
    for k in range(TAPS):
        out += taps[:, k, None] * frame[..., rows, xp.clip(place + k, 0, frame.shape[-1] - 1)]
    return out


@njit(nogil=True, cache=True, fastmath={"contract"})
def _shift_rows(frame: Any, first: Any, taps: Any, out: Any) -> None:
    last, columns = frame.shape[1] - 1, out.shape[1]
    row = np.empty(columns + 5, np.float32)
    for y in range(frame.shape[0]):
        source, begin = frame[y], first[y]
        # The row with its edges repeated, so that the taps need no care.
        left = min(max(-begin, 0), columns + 5)
        right = min(max(last + 1 - begin, left), columns + 5)
        fill(source[0], row[:left])
        if right > left:
            copy(source[begin + left : begin + right], row[left:right])
        fill(source[last], row[right:])
        a, b, c, d, e, f = taps[y]
        target = out[y]
        p0, p1, p2 = row[:columns], row[1 : columns + 1], row[2 : columns + 2]
        p3, p4, p5 = row[3 : columns + 3], row[4 : columns + 4], row[5 : columns + 5]
        for x in range(columns):
            target[x] = a * p0[x] + b * p1[x] + c * p2[x] + d * p3[x] + e * p4[x] + f * p5[x]
