"""Compiled loops of :mod:`stack3d.kernels._vsnr_split`: one pass over the frame an iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._line_loops import copy, fill
from stack3d.kernels._vsnr_loops import _OPTIONS, _apart, _divergence, _line, _line_weighted, _second

ROWS = 16  # treated together, so that what is made of them stays in the cache
LINES = 7


@njit(**_OPTIONS)
def _expand(basis: Any, coefficients: Any, out: Any) -> None:
    """Write rows of ``basis @ coefficients``; modes and coefficients are taken in pairs, rows in fours."""
    rows, modes = basis.shape
    for i in range(0, rows - 3, 4):
        a, b, c, d = out[i], out[i + 1], out[i + 2], out[i + 3]
        for k in range(0, modes, 2):
            p, q = coefficients[k], coefficients[k + 1]
            a0, b0, c0, d0 = basis[i, k], basis[i + 1, k], basis[i + 2, k], basis[i + 3, k]
            a1, b1, c1, d1 = basis[i, k + 1], basis[i + 1, k + 1], basis[i + 2, k + 1], basis[i + 3, k + 1]
            if k == 0:
                for j in range(p.size):
                    s, t = p[j], q[j]
                    a[j] = a0 * s + a1 * t
                    b[j] = b0 * s + b1 * t
                    c[j] = c0 * s + c1 * t
                    d[j] = d0 * s + d1 * t
            else:
                for j in range(p.size):
                    s, t = p[j], q[j]
                    a[j] += a0 * s + a1 * t
                    b[j] += b0 * s + b1 * t
                    c[j] += c0 * s + c1 * t
                    d[j] += d0 * s + d1 * t
    for i in range(rows - rows % 4, rows):
        a = out[i]
        fill(np.float32(0), a)
        for k in range(0, modes, 2):
            p, q = coefficients[k], coefficients[k + 1]
            a0, a1 = basis[i, k], basis[i, k + 1]
            for j in range(p.size):
                a[j] += a0 * p[j] + a1 * q[j]


@njit(**_OPTIONS)
def _contract(basis: Any, rows_of: Any, out: Any) -> None:
    """Add ``basis.T @ rows_of`` to `out`."""
    rows, modes = basis.shape
    for i in range(0, rows - 3, 4):
        a, b, c, d = rows_of[i], rows_of[i + 1], rows_of[i + 2], rows_of[i + 3]
        for k in range(0, modes, 2):
            p, q = out[k], out[k + 1]
            a0, b0, c0, d0 = basis[i, k], basis[i + 1, k], basis[i + 2, k], basis[i + 3, k]
            a1, b1, c1, d1 = basis[i, k + 1], basis[i + 1, k + 1], basis[i + 2, k + 1], basis[i + 3, k + 1]
            for j in range(p.size):
                p[j] += a0 * a[j] + b0 * b[j] + c0 * c[j] + d0 * d[j]
                q[j] += a1 * a[j] + b1 * b[j] + c1 * c[j] + d1 * d[j]
    for i in range(rows - rows % 4, rows):
        a = rows_of[i]
        for k in range(modes):
            p, a0 = out[k], basis[i, k]
            for j in range(p.size):
                p[j] += a0 * a[j]


@njit(**_OPTIONS)
def band_pass(
    u: Any,
    weight: Any,
    sx: Any,
    sy: Any,
    basis: Any,
    coefficients: Any,
    out: Any,
    work: Any,
    lines: Any,
    alpha: Any,
    radius: Any,
    periodic: Any,
) -> None:
    """Update the state from the stripes ``basis @ coefficients``; `out` becomes what the next stripes are made of.

    `work` is (2 ROWS + 1, width), `lines` (LINES, width + 1).
    """
    height, width = u.shape
    # Layouts are kept contiguous, which lets loops become vector instructions.
    stripes, field, edge = work[: ROWS + 1], work[ROWS + 1 :], lines[5:]
    out[:] = 0
    above = lines[0, :width]
    above[:] = 0
    has_weight = weight.size > 0
    for start in range(0, height, ROWS):
        stop = min(start + ROWS, height)
        _expand(basis[start:stop], coefficients, stripes)
        # The first row below comes with the next block, or is the first of the frame.
        last = stop if stop < height else (0 if periodic else height - 1)
        _expand(basis[last : last + 1], coefficients, stripes[stop - start :])
        for i in range(start, stop):
            below = i + 1 if i + 1 < height else last
            e, under = (edge[0], edge[1]) if (i - start) % 2 == 0 else (edge[1], edge[0])
            if i == start:
                _apart(u[i], stripes[0], e[:width])
            e[width] = e[0] if periodic else e[width - 1]
            _apart(u[below], stripes[i + 1 - start], under[:width])
            rx, ry = lines[1], lines[2, :width]
            if has_weight:
                near = lines[3]
                copy(weight[i], near[:width])
                near[width] = weight[i, 0] if periodic else 0
                beneath = weight[below]
                if i + 1 == height and not periodic:
                    beneath = lines[4, :width]
                    fill(np.float32(0), beneath)
                _line_weighted(e, under, sx[i], sy[i], rx[1 : width + 1], ry, alpha, radius, near, beneath)
            else:
                _line(e, under, sx[i], sy[i], rx[1 : width + 1], ry, alpha, radius)
            rx[0] = rx[width] if periodic else 0
            if not periodic:
                rx[width] = 0
                sx[i, width - 1] = 0
                if i == height - 1:
                    ry[:] = 0
                    sy[i] = 0
            _divergence(rx[: width + 1], ry, above, field[i - start])
            copy(ry, above)
        _contract(basis[start:stop], field[: stop - start], out)
    if periodic:
        # What leaves through the last row enters through the first.
        for k in range(basis.shape[1]):
            b, line = basis[0, k], out[k]
            for j in range(width):
                line[j] += b * above[j]


@njit(**_OPTIONS)
def band_field(basis: Any, coefficients: Any, out: Any) -> None:
    """Write the stripes themselves."""
    for start in range(0, out.shape[0], ROWS):
        stop = min(start + ROWS, out.shape[0])
        _expand(basis[start:stop], coefficients, out[start:stop])


@njit(**_OPTIONS)
def band_start(u: Any, basis: Any, out: Any, work: Any, periodic: Any) -> None:
    """Write the coefficients of the second differences of the image, the part of every iteration that stays."""
    height, width = u.shape
    field = work[:ROWS]
    out[:] = 0
    for start in range(0, height, ROWS):
        stop = min(start + ROWS, height)
        for i in range(start, stop):
            up = u[i - 1 if i else (height - 1 if periodic else 0)]
            down = u[i + 1 if i + 1 < height else (0 if periodic else i)]
            line = field[i - start]
            _second(u[i], up, down, line)
            if not periodic:
                step = u[i, 0] - u[i, width - 1]
                line[0] -= step
                line[width - 1] += step
        _contract(basis[start:stop], field[: stop - start], out)
