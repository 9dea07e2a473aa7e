"""Compiled loops of :mod:`stack3d.kernels._vsnr_full`: one pass over the frame an iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._line_loops import copy
from stack3d.kernels._vsnr_band_loops import _turn, _turn_weighted

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
LINES = 7


@njit(**_OPTIONS)
def _line(e: Any, below: Any, sx: Any, sy: Any, rx: Any, ry: Any, alpha: Any, radius: Any) -> None:
    """Update the state of a row whose pixels were all measured.

    `e` and `below` are image less stripes in this row and the next, `e` one longer. `rx` and `ry` become twice the
    projection less the state.
    """
    one, two = np.float32(1), np.float32(2)
    rest = one - alpha
    square = radius * radius
    ahead = e[1:]
    for j in range(sx.size):
        x, y = sx[j], sy[j]
        part = radius / np.sqrt(max(square, x * x + y * y))
        keep = rest + alpha * part
        x = keep * x + alpha * (ahead[j] - e[j])
        y = keep * y + alpha * (below[j] - e[j])
        sx[j], sy[j] = x, y
        part = two * (radius / np.sqrt(max(square, x * x + y * y))) - one
        rx[j], ry[j] = part * x, part * y


@njit(**_OPTIONS)
def _line_weighted(
    e: Any, below: Any, sx: Any, sy: Any, rx: Any, ry: Any, alpha: Any, radius: Any, weight: Any, under: Any
) -> None:
    """`_line` with weights: `weight` of this row, one longer, and of the next."""
    rest = np.float32(1) - alpha
    zero, two, tiny = np.float32(0), np.float32(2), np.float32(1e-30)
    # Lines, not places in rows, which lets the loop become vector instructions.
    ahead, right = e[1:], weight[1:]
    for j in range(sx.size):
        limit = radius * weight[j]
        x, y = sx[j], sy[j]
        px, py = (x if right[j] > zero else zero), (y if under[j] > zero else zero)
        part = limit / np.sqrt(max(limit * limit, max(px * px + py * py, tiny)))
        x = rest * x + alpha * (part * px + (ahead[j] - e[j]))
        y = rest * y + alpha * (part * py + (below[j] - e[j]))
        sx[j], sy[j] = x, y
        px, py = (x if right[j] > zero else zero), (y if under[j] > zero else zero)
        part = two * (limit / np.sqrt(max(limit * limit, max(px * px + py * py, tiny))))
        rx[j], ry[j] = part * px - x, part * py - y


@njit(**_OPTIONS)
def _apart(u: Any, w: Any, out: Any) -> None:
    for j in range(u.size):
        out[j] = u[j] - w[j]


@njit(**_OPTIONS)
def _divergence(rx: Any, ry: Any, above: Any, out: Any) -> None:
    """Adjoint of the differences, in a row; `rx` has what is left of the row first."""
    left, here = rx[: out.size], rx[1:]
    for j in range(out.size):
        out[j] = (left[j] - here[j]) + (above[j] - ry[j])


@njit(**_OPTIONS)
def second_differences(u: Any, out: Any) -> None:
    """Write four times each pixel less its neighbours, periodic."""
    height = u.shape[0]
    for i in range(height):
        _second(u[i], u[i - 1 if i else height - 1], u[i + 1 if i + 1 < height else 0], out[i])


@njit(**_OPTIONS)
def _second(here: Any, up: Any, down: Any, out: Any) -> None:
    four, width = np.float32(4), here.size
    left, middle, right, inner = here[:-2], here[1:-1], here[2:], out[1:-1]
    above, below = up[1:-1], down[1:-1]
    for j in range(inner.size):
        inner[j] = four * middle[j] - (left[j] + right[j]) - (above[j] + below[j])
    out[0] = four * here[0] - (here[width - 1] + here[1 % width]) - (up[0] + down[0])
    out[width - 1] = four * here[width - 1] - (here[width - 2] + here[0]) - (up[width - 1] + down[width - 1])


@njit(**_OPTIONS)
def _add(part: Any, out: Any) -> None:
    for j in range(out.size):
        out[j] += part[j]


@njit(**_OPTIONS)
def full_pass(u: Any, weight: Any, w: Any, sx: Any, sy: Any, out: Any, lines: Any, alpha: Any, radius: Any) -> None:
    """Update the state from stripes `w` of a periodic frame; `out` becomes the adjoint of what the next are made of."""
    height, width = u.shape
    edge = lines[5:]
    above = lines[0, :width]
    above[:] = 0
    has_weight = weight.size > 0
    second = lines[4, :width]
    for i in range(height):
        below = i + 1 if i + 1 < height else 0
        e, under = (edge[0], edge[1]) if i % 2 == 0 else (edge[1], edge[0])
        if i == 0:
            _apart(u[i], w[i], e[:width])
        e[width] = e[0]
        _apart(u[below], w[below], under[:width])
        rx, ry = lines[1], lines[2, :width]
        if has_weight:
            near = lines[3]
            copy(weight[i], near[:width])
            near[width] = weight[i, 0]
            _line_weighted(e, under, sx[i], sy[i], rx[1 : width + 1], ry, alpha, radius, near, weight[below])
        else:
            _line(e, under, sx[i], sy[i], rx[1 : width + 1], ry, alpha, radius)
        rx[0] = rx[width]
        _divergence(rx[: width + 1], ry, above, out[i])
        _second(u[i], u[i - 1 if i else height - 1], u[below], second)
        _add(second, out[i])
        copy(ry, above)
    _add(above, out[0])


@njit(**_OPTIONS)
def full_slope(u: Any, weight: Any, w: Any, out: Any, lines: Any, sums: Any, tiny: Any) -> None:
    """Write the slope of the sizes of the gradients of ``u - w``, periodic, and their sum and that of one over them."""
    height, width = u.shape
    edge, above, near = lines[5:], lines[0, :width], lines[3]
    above[:] = 0
    sums[:] = 0
    for i in range(height):
        below = i + 1 if i + 1 < height else 0
        e, under = (edge[0], edge[1]) if i % 2 == 0 else (edge[1], edge[0])
        if i == 0:
            _apart(u[i], w[i], e[:width])
        e[width] = e[0]
        _apart(u[below], w[below], under[:width])
        rx, ry = lines[1], lines[2, :width]
        if weight.size > 0:
            copy(weight[i], near[:width])
            near[width] = weight[i, 0]
            _turn_weighted(e, under[:width], rx[1:], ry, sums[0], sums[1], tiny, near, weight[below])
        else:
            _turn(e, under[:width], rx[1:], ry, sums[0], sums[1], tiny)
        rx[0] = rx[width]
        _divergence(rx, ry, above, out[i])
        copy(ry, above)
    _add(above, out[0])
