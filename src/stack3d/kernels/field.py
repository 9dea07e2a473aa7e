"""Smooth displacement fields, given at the centres of a grid of blocks, and frames warped by them.

Between the centres a natural cubic spline holds along each axis, beyond the outermost ones a straight line. A field is
the product of three small arrays: the displacements at the centres, and the weights of the centres for each row and
each column (:func:`basis`). It is never made as a whole.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stack3d.kernels import _field_loops as loops
from stack3d.kernels import _warp_arrays as arrays
from stack3d.kernels._namespace import on_host, packed
from stack3d.kernels._store import finish, limits, working_dtype
from stack3d.kernels._taps import polynomials
from stack3d.kernels.warp import _COMPILED, _checked, warp_frame

__all__ = ["at", "basis", "warp_field", "warp_field_xp"]


def basis(centres: Any, places: Any) -> np.ndarray[Any, Any]:
    """Weights of values at `centres` for values at `places`.

    Parameters
    ----------
    centres : (p,) array
        Increasing.
    places : (n,) array

    Returns
    -------
    (n, p) float64 array
        Of the natural cubic spline through the values; they sum to 1 at each place.

    Examples
    --------
    >>> from stack3d.kernels import field
    >>> field.basis([0.0, 10.0], [-5.0, 5.0, 10.0])
    array([[ 1.5, -0.5],
           [ 0.5,  0.5],
           [ 0. ,  1. ]])
    """
    centres, places = np.asarray(centres, np.float64), np.asarray(places, np.float64)
    count = centres.size
    if count == 1:
        return np.ones((places.size, 1))
    if count == 2:
        second = (places - centres[0]) / (centres[1] - centres[0])
        return np.stack([1 - second, second], axis=1)
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(centres, np.eye(count), bc_type="natural")
    inside = np.clip(places, centres[0], centres[-1])
    out: np.ndarray[Any, Any] = spline(inside) + (places - inside)[:, None] * spline(inside, 1)
    return out


def at(grid: Any, centres: tuple[Any, Any], y: Any, x: Any) -> np.ndarray[Any, Any]:
    """Displacement at scattered places.

    Parameters
    ----------
    grid : (..., p, q, 2) array
        Displacements (y, x) at the centres.
    centres : tuple of array
        Centres of the blocks along y (p,) and x (q,).
    y, x : (n,) array

    Returns
    -------
    (..., n, 2) array
    """
    along, across = basis(centres[0], y), basis(centres[1], x)
    found: np.ndarray[Any, Any] = np.einsum("na,...abc,nb->...nc", along, np.asarray(grid), across)
    return found


def warp_field(
    frame: Any,
    matrix: Any,
    grid: Any,
    along: Any,
    across: Any,
    output_shape: tuple[int, int] | None = None,
    *,
    order: int | str = 3,
    fill: str = "edge",
    value: float = 0.0,
) -> tuple[Any, int]:
    """Warp a frame by a displacement field and an affine transform at once: ``out(p) = in(T(p + d(p)))``.

    Parameters
    ----------
    frame : (y, x) array
        Of any real dtype, numpy or cupy. In floats, NaN means missing.
    matrix : (3, 3) array
        T; takes (x, y, 1).
    grid : (p, q, 2) array
        d, along y and x, in pixels, at the centres of the blocks.
    along, across : (rows, p) and (columns, q) array
        Weights of the blocks for each row and column of the result, from :func:`basis`.
    output_shape, order, fill, value
        As in :func:`stack3d.kernels.warp.warp_frame`.

    Returns
    -------
    frame : (y, x) array
        Of the same dtype; integers are rounded and saturated.
    saturated : int
        Number of pixels that were saturated.

    Raises
    ------
    ValueError
        If a parameter is not one of those allowed, or shapes do not match.

    Examples
    --------
    >>> from stack3d.kernels import field
    >>> frame = np.arange(12.0).reshape(2, 6)
    >>> grid = np.array([[[0, 0], [0, 1.0]]])  # the right end is stretched by a pixel
    >>> along, across = field.basis([0.5], [0, 1]), field.basis([0, 5], range(6))
    >>> field.warp_field(frame, np.eye(3), grid, along, across, order=1)[0][0].round(6) + 0.0
    array([0. , 1.2, 2.4, 3.6, 4.8, 5. ])
    """
    matrix, shape, displaced = _field(frame, matrix, grid, along, across, output_shape, order, fill, value)
    if math.prod(shape) == 0 or not displaced[0].any():
        return warp_frame(frame, matrix, shape, order=order, fill=fill, value=value)
    if not on_host(frame):
        return arrays.warp(frame, matrix, shape, order, fill, value, displaced)
    grid, along = displaced[:2]
    across = np.ascontiguousarray(displaced[2].T)
    pixels, mirror, constant = packed(frame), fill == "reflect", fill == "constant"
    if order == 0:
        out = np.empty(shape, pixels.dtype)
        bits = f"u{pixels.dtype.itemsize}"
        outer = np.array([value if constant else 0], pixels.dtype).view(bits)[0]
        loops.nearest(pixels.view(bits), out.view(bits), matrix, grid, along, across, mirror, constant, outer)
        return out, 0
    dtype = pixels.dtype if pixels.dtype.str[1:] in _COMPILED else np.dtype(np.float64)
    pixels = pixels.astype(dtype, copy=False)
    out, kind = np.empty(shape, dtype), working_dtype(dtype).type
    smallest, largest = (kind(limit) for limit in limits(dtype))
    rows = pixels.astype(kind, copy=False)
    outer = np.array([value if constant else 0]).astype(dtype)[0]
    saturated = loops.interpolate(
        pixels, rows, out, matrix, grid, along, across, polynomials(order).astype(kind), mirror, smallest, largest,
        constant, outer,
    )  # fmt: skip
    if dtype != frame.dtype:
        return finish(out, frame.dtype)
    return out, int(saturated)


def warp_field_xp(
    frame: Any, matrix: Any, grid: Any, along: Any, across: Any, output_shape: tuple[int, int] | None = None,
    *, order: int | str = 3, fill: str = "edge", value: float = 0.0,
) -> tuple[Any, int]:  # fmt: skip
    """`xp` form of :func:`warp_field`."""
    matrix, shape, displaced = _field(frame, matrix, grid, along, across, output_shape, order, fill, value)
    return arrays.warp(frame, matrix, shape, order, fill, value, displaced)


def _field(
    frame: Any, matrix: Any, grid: Any, along: Any, across: Any, output_shape: Any, order: Any, fill: str, value: float
) -> tuple[np.ndarray[Any, Any], tuple[int, int], tuple[Any, Any, Any]]:
    matrix, shape = _checked(frame, matrix, output_shape, order, fill, value)
    grid, along, across = (np.ascontiguousarray(part, dtype=np.float64) for part in (grid, along, across))
    blocks = grid.shape[:2]
    if grid.ndim != 3 or grid.shape[2] != 2 or not np.isfinite(grid).all():
        raise ValueError(f"grid must be (p, q, 2) and finite, got the shape {grid.shape}")
    if along.shape != (shape[0], blocks[0]) or across.shape != (shape[1], blocks[1]):
        raise ValueError(
            f"along and across must be ({shape[0]}, {blocks[0]}) and ({shape[1]}, {blocks[1]}), got {along.shape} and "
            f"{across.shape}"
        )
    return matrix, shape, (grid, along, across)
