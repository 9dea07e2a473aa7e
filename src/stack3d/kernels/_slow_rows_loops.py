"""Compiled loops of :mod:`stack3d.kernels._slow_rows`: a frame folded about its middle row, by blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
APART = 16  # columns more, so that lines of a width of 2 ** n do not all fall on the same places of the cache


@njit(**_OPTIONS)
def _fold(a: Any, b: Any, c: Any, d: Any, q: Any, r: Any, s: Any, t: Any, rows: Any, even: Any, odd: Any) -> None:
    """Add four terms of four rows and their mirror images: of what these have in common, and of their differences."""
    e0, e1, e2, e3 = even[0], even[1], even[2], even[3]
    o0, o1, o2, o3 = odd[0], odd[1], odd[2], odd[3]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    c0, c1, c2, c3 = rows[2, 0], rows[2, 1], rows[2, 2], rows[2, 3]
    d0, d1, d2, d3 = rows[3, 0], rows[3, 1], rows[3, 2], rows[3, 3]
    for j in range(a.size):
        w, x, y, z = a[j] + q[j], b[j] + r[j], c[j] + s[j], d[j] + t[j]
        e0[j] += a0 * w + b0 * x + c0 * y + d0 * z
        e1[j] += a1 * w + b1 * x + c1 * y + d1 * z
        e2[j] += a2 * w + b2 * x + c2 * y + d2 * z
        e3[j] += a3 * w + b3 * x + c3 * y + d3 * z
        w, x, y, z = a[j] - q[j], b[j] - r[j], c[j] - s[j], d[j] - t[j]
        o0[j] += a0 * w + b0 * x + c0 * y + d0 * z
        o1[j] += a1 * w + b1 * x + c1 * y + d1 * z
        o2[j] += a2 * w + b2 * x + c2 * y + d2 * z
        o3[j] += a3 * w + b3 * x + c3 * y + d3 * z


@njit(**_OPTIONS)
def _edge(frame: Any, row: Any, half: Any, zero: Any) -> Any:
    """A row of the upper half and its mirror image: nothing beyond the middle, which is its own image, by halves."""
    height = frame.shape[0]
    if row < height // 2:
        return frame[row], frame[height - 1 - row]
    if height % 2 and row == height // 2:
        for j in range(half.size):
            half[j] = np.float32(0.5) * frame[row, j]
        return half, half
    return zero, zero


@njit(**_OPTIONS)
def fold_blocks(frame: Any, first: Any, local: Any, even: Any, odd: Any) -> None:
    """Write the terms of blocks of rows from a block on, (blocks * terms, x); `local` is (rows of a block, terms)."""
    (rows, terms), width = local.shape, frame.shape[1]
    half, zero = np.zeros(width, np.float32), np.zeros(width, np.float32)
    even[:] = 0
    odd[:] = 0
    for block in range(even.shape[0] // terms):
        for k in range(0, rows, 4):
            i = (first + block) * rows + k
            a, q = _edge(frame, i, half, zero)
            b, r = _edge(frame, i + 1, half, zero)
            c, s = _edge(frame, i + 2, half, zero)
            d, t = _edge(frame, i + 3, half, zero)
            fold_four(a, b, c, d, q, r, s, t, local, block, k, even, odd)


@njit(**_OPTIONS)
def fold_four(
    a: Any, b: Any, c: Any, d: Any, q: Any, r: Any, s: Any, t: Any, local: Any, block: Any, k: Any, even: Any, odd: Any
) -> None:  # fmt: skip
    """Add the terms of four rows from row `k` of a block on, and of their mirror images."""
    terms = local.shape[1]
    for m in range(0, terms, 4):
        n = block * terms + m
        _fold(a, b, c, d, q, r, s, t, local[k : k + 4, m : m + 4], even[n : n + 4], odd[n : n + 4])


@njit(**_OPTIONS)
def fold_rows(frame: Any, first: Any, even: Any, odd: Any) -> None:
    """Write what rows of the upper half, from one on, have in common with their mirror images, and the differences."""
    half, zero = np.zeros(frame.shape[1], np.float32), np.zeros(frame.shape[1], np.float32)
    for i in range(even.shape[0]):
        a, b = _edge(frame, first + i, half, zero)
        e, o = even[i], odd[i]
        for j in range(a.size):
            e[j] = a[j] + b[j]
            o[j] = a[j] - b[j]


@njit(**_OPTIONS)
def unfold_two(even: Any, odd: Any, rows: Any, a: Any, b: Any, q: Any, r: Any) -> None:
    """Write two rows and their mirror images from four terms."""
    e0, e1, e2, e3 = even[0], even[1], even[2], even[3]
    o0, o1, o2, o3 = odd[0], odd[1], odd[2], odd[3]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    for j in range(a.size):
        w, x, y, z = e0[j], e1[j], e2[j], e3[j]
        m, n = a0 * w + a1 * x + a2 * y + a3 * z, b0 * w + b1 * x + b2 * y + b3 * z
        w, x, y, z = o0[j], o1[j], o2[j], o3[j]
        k, o = a0 * w + a1 * x + a2 * y + a3 * z, b0 * w + b1 * x + b2 * y + b3 * z
        a[j] = m + k
        b[j] = n + o
        q[j] = m - k
        r[j] = n - o


@njit(**_OPTIONS)
def unfold_more(even: Any, odd: Any, rows: Any, a: Any, b: Any, q: Any, r: Any) -> None:
    """Add four more terms to two rows and their mirror images."""
    e0, e1, e2, e3 = even[0], even[1], even[2], even[3]
    o0, o1, o2, o3 = odd[0], odd[1], odd[2], odd[3]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    for j in range(a.size):
        w, x, y, z = e0[j], e1[j], e2[j], e3[j]
        m, n = a0 * w + a1 * x + a2 * y + a3 * z, b0 * w + b1 * x + b2 * y + b3 * z
        w, x, y, z = o0[j], o1[j], o2[j], o3[j]
        k, o = a0 * w + a1 * x + a2 * y + a3 * z, b0 * w + b1 * x + b2 * y + b3 * z
        a[j] += m + k
        b[j] += n + o
        q[j] += m - k
        r[j] += n - o


@njit(**_OPTIONS)
def unfold_blocks(even: Any, odd: Any, local: Any, first: Any, out: Any) -> None:
    """Write the rows that terms of blocks make, from a block on, and their mirror images."""
    (rows, terms), (height, width) = local.shape, out.shape
    spare = np.zeros((4, width), np.float32)
    for block in range(even.shape[0] // terms):
        for k in range(0, rows, 2):
            i = (first + block) * rows + k
            # Rows beyond the middle go nowhere, and that of the middle is its own image.
            a, q, b, r = spare[0], spare[1], spare[2], spare[3]
            if i < (height + 1) // 2:
                a = out[i]
                q = out[height - 1 - i] if 2 * i + 1 < height else spare[1]
            if i + 1 < (height + 1) // 2:
                b = out[i + 1]
                r = out[height - 2 - i] if 2 * i + 3 < height else spare[3]
            for m in range(0, terms, 4):
                n = block * terms + m
                if m == 0:
                    unfold_two(even[n : n + 4], odd[n : n + 4], local[k : k + 2, m : m + 4], a, b, q, r)
                else:
                    unfold_more(even[n : n + 4], odd[n : n + 4], local[k : k + 2, m : m + 4], a, b, q, r)


@njit(**_OPTIONS)
def unfold_rows(even: Any, odd: Any, first: Any, out: Any) -> None:
    """Write rows, from one on, and mirror images that have this in common, and these differences."""
    height = out.shape[0]
    for k in range(even.shape[0]):
        i = first + k
        e, o, a, b = even[k], odd[k], out[i], out[height - 1 - i]
        if 2 * i + 1 == height:
            a[:] = e[: a.size]
        else:
            for j in range(a.size):
                a[j] = e[j] + o[j]
                b[j] = e[j] - o[j]
