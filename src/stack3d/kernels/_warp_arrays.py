"""Array form of the loops of :mod:`stack3d.kernels.warp`: for cupy, and the oracle of the compiled form."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels._namespace import namespace
from stack3d.kernels._store import finish, working_dtype
from stack3d.kernels._taps import TAPS, table

_ROWS = 256  # rows of the result done at once: bounds the memory of the place-wise arrays


def folded(index: Any, size: int, mirror: bool) -> Any:
    """Indices inside 0 .. size - 1: mirrored at the outer edges of the frame, or clamped."""
    xp = namespace(index)
    if not mirror:
        return xp.clip(index, 0, size - 1)
    index = index % (2 * size)
    return xp.where(index < size, index, 2 * size - 1 - index)


def warp(
    frame: Any, matrix: np.ndarray[Any, Any], shape: tuple[int, int], order: int | str, fill: str, value: float,
    field: Any = None,
) -> tuple[Any, int]:  # fmt: skip
    """Warp by an affine matrix, after a displacement (grid, basis_y, basis_x) where given, a band of rows at a time."""
    xp = namespace(frame)
    out = xp.empty(shape, frame.dtype)
    saturated = 0
    for top in range(0, shape[0], _ROWS):
        y, x = xp.arange(top, min(top + _ROWS, shape[0]))[:, None], xp.arange(shape[1])[None, :]
        if field is not None:
            grid, along_y, along_x = (xp.asarray(part) for part in field)
            uy, ux = (along_y[top : top + len(y)] @ grid[..., k] @ along_x.T for k in range(2))
            y, x = y + uy, x + ux
        sx = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
        sy = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
        part, number = _at(frame, sy, sx, order, fill == "reflect", xp)
        if fill == "constant":
            height, width = frame.shape
            inside = (sx >= -0.5) & (sx <= width - 0.5) & (sy >= -0.5) & (sy <= height - 0.5)
            part = xp.where(inside, part, frame.dtype.type(value))
        out[top : top + part.shape[0]] = part
        saturated += number
    return out, saturated


def _at(frame: Any, sy: Any, sx: Any, order: int | str, mirror: bool, xp: Any) -> tuple[Any, int]:
    height, width = frame.shape
    if order == 0:
        rows, columns = (xp.floor(s + 0.5).astype(xp.int64) for s in (sy, sx))
        return frame[folded(rows, height, mirror), folded(columns, width, mirror)], 0
    kind = working_dtype(frame.dtype)
    iy, ix = xp.floor(sy).astype(xp.int64), xp.floor(sx).astype(xp.int64)
    wy, wx = _weights(sy - iy, order, kind, xp), _weights(sx - ix, order, kind, xp)
    total = xp.zeros(iy.shape, kind)
    for j in range(TAPS):
        rows = folded(iy + (j - 2), height, mirror)
        part = xp.zeros(iy.shape, kind)
        for i in range(TAPS):
            part += wx[..., i] * frame[rows, folded(ix + (i - 2), width, mirror)].astype(kind)
        total += wy[..., j] * part
    if frame.dtype.kind == "f":
        total = xp.where(xp.isfinite(total), total, _known(frame, sy, sx, iy, ix, mirror, xp).astype(kind))
    return finish(total, frame.dtype)


def _weights(fraction: Any, order: int | str, kind: Any, xp: Any) -> Any:
    rows = xp.asarray(table(order).astype(kind))
    place = fraction * (rows.shape[0] - 1)
    before = xp.minimum(place.astype(xp.int64), rows.shape[0] - 2)
    rest = (place - before).astype(kind)[..., None]
    return rows[before] + rest * (rows[before + 1] - rows[before])


def _known(frame: Any, sy: Any, sx: Any, iy: Any, ix: Any, mirror: bool, xp: Any) -> Any:
    """Linear interpolation over the pixels that are known; NaN where the nearest is not."""
    height, width = frame.shape
    fy, fx = sy - iy, sx - ix
    total, weight = xp.zeros(fy.shape), xp.zeros(fy.shape)
    for j in range(2):
        for i in range(2):
            w = (fy if j else 1 - fy) * (fx if i else 1 - fx)
            values = frame[folded(iy + j, height, mirror), folded(ix + i, width, mirror)].astype(xp.float64)
            good = ~xp.isnan(values) & (w > 0)
            total += xp.where(good, w * xp.where(good, values, 0.0), 0.0)
            weight += xp.where(good, w, 0.0)
    rows, columns = iy + (fy >= 0.5), ix + (fx >= 0.5)
    near = frame[folded(rows, height, mirror), folded(columns, width, mirror)]
    return xp.where(xp.isnan(near), xp.nan, total / xp.where(weight > 0, weight, 1.0))
