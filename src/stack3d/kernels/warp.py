"""Frames moved and warped: ``out(p) = in(T p)``, the pull direction.

The interpolation along y and along x is done in one pass over the frame, in float32 (float64 where a pixel needs it),
with six taps whose weights are computed for the exact displacement. Places beyond the edge are filled; a place whose
neighbours are partly missing is interpolated from those that are known.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stack3d.kernels import _warp_arrays as arrays
from stack3d.kernels import _warp_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, working_dtype
from stack3d.kernels._taps import polynomials, weights

__all__ = ["shift_frame", "shift_xp", "warp_frame", "warp_xp"]

_COMPILED = frozenset({"u1", "u2", "i2", "f4", "f8"})  # other dtypes pass through float64
_STRIP = 128  # rows of a warped frame done at once
_WHOLE = 1e-6  # a displacement this close to whole pixels is one


def shift_frame(
    frame: Any,
    dy: float,
    dx: float,
    *,
    order: int | str = 3,
    fill: str = "edge",
    value: float = 0.0,
    integer: bool = False,
) -> tuple[Any, int]:
    """Move a frame: ``out(y, x) = in(y + dy, x + dx)``.

    Parameters
    ----------
    frame : (y, x) array
        Of any real dtype, numpy or cupy. In floats, NaN means missing.
    dy, dx : float
        Displacement in pixels. Whole ones copy pixels exactly.
    order : {3, 1, 0, "lanczos"}
        3: six-tap least-squares kernel; 1: linear; 0: nearest pixel, for labels; "lanczos": six-tap Lanczos.
    fill : {"edge", "reflect", "constant"}
        What lies beyond the frame: its edge pixels, its mirror image (d c b a | a b c d), or `value`.
    value : float, default 0
        For ``fill="constant"``; NaN for floats only.
    integer : bool, default False
        Round the displacement to whole pixels.

    Returns
    -------
    frame : (y, x) array
        Of the same shape and dtype; integers are rounded and saturated.
    saturated : int
        Number of pixels that were saturated.

    Raises
    ------
    ValueError
        If a parameter is not one of those allowed, or a displacement is not finite.

    Examples
    --------
    >>> from stack3d.kernels import warp
    >>> warp.shift_frame(np.array([[1, 2, 3]], dtype="uint8"), 0, 1)
    (array([[2, 3, 3]], dtype=uint8), 0)
    """
    if not (math.isfinite(dy) and math.isfinite(dx)):
        raise ValueError(f"dy and dx must be finite, got {dy!r} and {dx!r}")
    if integer:
        dy, dx = math.floor(dy + 0.5), math.floor(dx + 0.5)
    matrix = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])
    return warp_frame(frame, matrix, order=order, fill=fill, value=value)


def warp_frame(
    frame: Any,
    matrix: Any,
    output_shape: tuple[int, int] | None = None,
    *,
    order: int | str = 3,
    fill: str = "edge",
    value: float = 0.0,
    out: Any = None,
) -> tuple[Any, int]:
    """Warp a frame by an affine transform.

    Parameters
    ----------
    frame : (y, x) array
        Of any real dtype, numpy or cupy. In floats, NaN means missing.
    matrix : (3, 3) array
        Takes (x, y, 1) of a pixel of the result to the place in `frame` that it shows.
    output_shape : tuple of int, optional
        Shape (y, x) of the result; that of `frame` by default.
    order, fill, value
        As in :func:`shift_frame`.
    out : array, optional
        What the result of a whole displacement is written to: of its shape and dtype.

    Returns
    -------
    frame : (y, x) array
        Of the same dtype; integers are rounded and saturated.
    saturated : int
        Number of pixels that were saturated.

    Raises
    ------
    ValueError
        If a parameter is not one of those allowed, or the matrix is not finite or not affine.

    Examples
    --------
    >>> from stack3d.kernels import warp
    >>> turn = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    >>> warp.warp_frame(np.array([[1, 2], [3, 4]]), turn, order=0)
    (array([[1, 3],
           [2, 4]]), 0)
    """
    matrix, shape = _checked(frame, matrix, output_shape, order, fill, value)
    if math.prod(shape) == 0:
        return namespace(frame).empty(shape, frame.dtype), 0
    dx, dy = _snapped(matrix[0, 2]), _snapped(matrix[1, 2])
    if _is_shift(matrix) and ((dx == int(dx) and dy == int(dy)) or order == 0):
        return _move(frame, math.floor(dy + 0.5), math.floor(dx + 0.5), shape, fill, value, out), 0
    if not on_host(frame):
        return arrays.warp(frame, matrix, shape, order, fill, value)
    pixels = packed(frame)
    mirror = fill == "reflect"
    if order == 0 or _keeps_the_grid(matrix):
        # pixels are only copied: one compiled loop for each size of pixel
        out = np.empty(shape, pixels.dtype)
        bits = f"u{pixels.dtype.itemsize}"
        loops.nearest(pixels.view(bits), out.view(bits), matrix, mirror)
        saturated = 0
    elif pixels.dtype.str[1:] in _COMPILED:
        out, saturated = _interpolated(pixels, pixels.dtype, matrix, shape, order, mirror)
    else:
        wide, _ = _interpolated(pixels.astype(np.float64), np.dtype(np.float64), matrix, shape, order, mirror)
        out, saturated = finish(wide, pixels.dtype)
    if fill == "constant":
        bits = f"u{pixels.dtype.itemsize}"
        loops.outside(out.view(bits), matrix, *pixels.shape, np.array([value], pixels.dtype).view(bits)[0])
    return out, int(saturated)


def _interpolated(
    pixels: Any, dtype: Any, matrix: Any, shape: tuple[int, int], order: int | str, mirror: bool
) -> tuple[Any, int]:
    out = np.empty(shape, dtype)
    kind = working_dtype(dtype).type
    smallest, largest = (kind(limit) for limit in limits(dtype))
    if _is_shift(matrix):
        dy, dx = _snapped(matrix[1, 2]), _snapped(matrix[0, 2])
        iy, ix = math.floor(dy), math.floor(dx)
        taps = weights(dy - iy, order).astype(kind), weights(dx - ix, order).astype(kind)
        saturated = loops.shift(pixels, out, iy, ix, *taps, mirror, smallest, largest)
    else:
        saturated = _strips(pixels, out, matrix, polynomials(order).astype(kind), mirror, smallest, largest)
    if dtype.kind == "f":
        loops.mend(pixels, out, matrix, mirror)
    return out, int(saturated)


def _strips(pixels: Any, out: Any, matrix: Any, poly: Any, mirror: bool, smallest: Any, largest: Any) -> int:
    """Warp a strip of the result at a time, from rows of the working type that stay in the cache."""
    height, columns, reach = pixels.shape[0], out.shape[1], abs(matrix[1, 0]) * out.shape[1]
    step = _STRIP if reach < 4 * _STRIP and abs(matrix[1, 1]) < 4 else out.shape[0]
    total = 0
    for top in range(0, out.shape[0], step):
        part = out[top : top + step]
        edges = [matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
                 for x in (0, columns - 1) for y in (top, top + part.shape[0] - 1)]  # fmt: skip
        low = int(min(max(math.floor(min(edges)) - 3, 0), height - 1))
        high = int(max(min(math.floor(max(edges)) + 5, height), low + 1))
        rows = pixels[low:high].astype(poly.dtype, copy=False)
        total += loops.affine(pixels, rows, low, part, top, matrix, poly, mirror, smallest, largest)
    return int(total)


def shift_xp(frame: Any, dy: float, dx: float, **options: Any) -> tuple[Any, int]:
    """`xp` form of :func:`shift_frame` for displacements that are not whole."""
    return warp_xp(frame, [[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]], **options)


def warp_xp(
    frame: Any,
    matrix: Any,
    output_shape: tuple[int, int] | None = None,
    *,
    order: int | str = 3,
    fill: str = "edge",
    value: float = 0.0,
) -> tuple[Any, int]:
    """`xp` form of :func:`warp_frame`."""
    matrix, shape = _checked(frame, matrix, output_shape, order, fill, value)
    return arrays.warp(frame, matrix, shape, order, fill, value)


def _keeps_the_grid(matrix: Any) -> bool:
    """Whether every pixel of the result shows exactly one pixel, as in flips and quarter turns."""
    return bool((matrix == np.rint(matrix)).all())


def _is_shift(matrix: Any) -> bool:
    return bool(matrix[:2, :2].tolist() == [[1.0, 0.0], [0.0, 1.0]])


def _snapped(displacement: float) -> float:
    whole = float(round(displacement))
    return whole if abs(displacement - whole) < _WHOLE else float(displacement)


def _checked(
    frame: Any, matrix: Any, output_shape: Any, order: Any, fill: str, value: float
) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
    if frame.ndim != 2 or min(frame.shape) < 1:
        raise ValueError(f"frame must be (y, x) with at least one pixel, got the shape {frame.shape}")
    if order not in (0, 1, 3, "lanczos"):
        raise ValueError(f'order must be 0, 1, 3 or "lanczos", got {order!r}')
    if order != 0 and frame.dtype.kind not in "iuf":
        raise TypeError(f"frame must hold integers or floats (or order must be 0), got dtype {frame.dtype}")
    if fill not in ("edge", "reflect", "constant"):
        raise ValueError(f'fill must be "edge", "reflect" or "constant", got {fill!r}')
    if fill == "constant" and frame.dtype.kind in "iu":
        if math.isnan(value):
            raise ValueError(f'value must not be NaN for a frame of {frame.dtype}; use dtype="float32"')
        low, high = limits(frame.dtype)
        if not (low <= value <= high and value == int(value)):
            raise ValueError(f"value must be a whole number from {low:.0f} to {high:.0f}, got {value!r}")
    matrix = np.array(matrix, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"matrix must be (3, 3) and finite, got {matrix.tolist()}")
    if matrix[2].tolist() != [0, 0, 1]:
        raise ValueError(f"matrix must be affine, with the last row 0, 0, 1, got {matrix[2].tolist()}")
    shape = frame.shape if output_shape is None else output_shape
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"output_shape must be two numbers (y, x) of at least 0, got {output_shape!r}")
    return matrix, (int(shape[0]), int(shape[1]))


def _move(frame: Any, dy: int, dx: int, shape: tuple[int, int], fill: str, value: float, out: Any = None) -> Any:
    """Copy pixels by a whole displacement."""
    xp = namespace(frame)
    inside = []
    for displacement, size, wanted in ((dy, frame.shape[0], shape[0]), (dx, frame.shape[1], shape[1])):
        low = min(max(0, -displacement), wanted)
        inside.append((low, max(min(wanted, size - displacement), low)))
    (top, bottom), (left, right) = inside
    full = bottom - top == shape[0] and right - left == shape[1]
    if fill == "constant" or full or (fill == "edge" and bottom > top and right > left):
        out = xp.empty(shape, frame.dtype) if out is None or xp is not np else out
        if fill == "constant" and not full:
            out[:] = frame.dtype.type(value)
        out[top:bottom, left:right] = frame[top + dy : bottom + dy, left + dx : right + dx]
        if fill == "edge":
            out[top:bottom, :left] = out[top:bottom, left : left + 1]
            out[top:bottom, right:] = out[top:bottom, right - 1 : right]
            out[:top], out[bottom:] = out[top], out[bottom - 1]
        return out
    rows = arrays.folded(np.arange(shape[0]) + dy, frame.shape[0], fill == "reflect")
    columns = arrays.folded(np.arange(shape[1]) + dx, frame.shape[1], fill == "reflect")
    return frame[xp.asarray(rows)][:, xp.asarray(columns)]
