"""Compiled loops of :mod:`stack3d.kernels._slow_rows`: a frame folded about its middle row, by blocks of rows.

Columns are taken in panels. The sums of a panel lie `STRIDE` numbers apart, which is known when loops are compiled: they
need one address for all sums, and few checks that lines do not overlap. The terms of a block are even and odd about its
middle by turns, so that it is folded as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
PANEL = 1024
STRIDE = PANEL + 16  # no power of 2, so that sums do not all fall on the same places of the cache
_S1, _S2, _S3 = STRIDE, 2 * STRIDE, 3 * STRIDE


@njit(**_OPTIONS)
def fold_four(
    a: Any, b: Any, c: Any, d: Any, q: Any, r: Any, s: Any, t: Any, rows: Any, even: Any, odd: Any, add: Any
) -> None:  # fmt: skip
    """Write or add four terms of two rows from both ends of a block, and of their mirror images q to t.

    Of what rows and mirror images have in common, and of their differences; `rows` has the terms at a and b.
    """
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    for j in range(a.size):
        w, x, y, z = a[j] + q[j], b[j] + r[j], c[j] + s[j], d[j] + t[j]
        k, m, n, o = w + z, x + y, w - z, x - y
        w, x, y, z = a[j] - q[j], b[j] - r[j], c[j] - s[j], d[j] - t[j]
        e, f, g, h = w + z, x + y, w - z, x - y
        if add:
            even[j] = even[j] + a0 * k + b0 * m
            even[_S1 + j] = even[_S1 + j] + a1 * n + b1 * o
            even[_S2 + j] = even[_S2 + j] + a2 * k + b2 * m
            even[_S3 + j] = even[_S3 + j] + a3 * n + b3 * o
            odd[j] = odd[j] + a0 * e + b0 * f
            odd[_S1 + j] = odd[_S1 + j] + a1 * g + b1 * h
            odd[_S2 + j] = odd[_S2 + j] + a2 * e + b2 * f
            odd[_S3 + j] = odd[_S3 + j] + a3 * g + b3 * h
        else:
            even[j], even[_S1 + j] = a0 * k + b0 * m, a1 * n + b1 * o
            even[_S2 + j], even[_S3 + j] = a2 * k + b2 * m, a3 * n + b3 * o
            odd[j], odd[_S1 + j] = a0 * e + b0 * f, a1 * g + b1 * h
            odd[_S2 + j], odd[_S3 + j] = a2 * e + b2 * f, a3 * g + b3 * h


@njit(**_OPTIONS)
def _edge(frame: Any, row: Any, start: Any, stop: Any, half: Any, none: Any) -> Any:
    """A row of the upper half and its mirror image: nothing beyond the middle, which is its own image, by halves."""
    height = frame.shape[0]
    if row < height // 2:
        return frame[row, start:stop], frame[height - 1 - row, start:stop]
    if height % 2 and row == height // 2:
        return half, half
    return none, none


@njit(**_OPTIONS)
def fold(frame: Any, start: Any, stop: Any, local: Any, even: Any, odd: Any) -> None:
    """Write the terms of blocks of rows for columns from `start` to `stop`.

    `local` is (rows of a block, terms); without elements the sums are those of single rows.
    """
    height = frame.shape[0]
    none, half = np.zeros(stop - start, np.float32), np.empty(stop - start, np.float32)
    for j in range(half.size):
        half[j] = np.float32(0.5) * frame[height // 2, start + j]
    if local.size == 0:
        for i in range(even.size // STRIDE):
            a, q = _edge(frame, i, start, stop, half, none)
            fold_row(a, q, even[i * STRIDE :], odd[i * STRIDE :])
        return
    rows, terms = local.shape
    for block in range(even.size // (terms * STRIDE)):
        first, last = block * rows, block * rows + rows - 1
        for k in range(0, rows // 2, 2):
            a, q = _edge(frame, first + k, start, stop, half, none)
            b, r = _edge(frame, first + k + 1, start, stop, half, none)
            c, s = _edge(frame, last - k - 1, start, stop, half, none)
            d, t = _edge(frame, last - k, start, stop, half, none)
            for m in range(0, terms, 4):
                n = (block * terms + m) * STRIDE
                fold_four(a, b, c, d, q, r, s, t, local[k : k + 2, m : m + 4], even[n:], odd[n:], k > 0)


@njit(**_OPTIONS)
def fold_row(a: Any, q: Any, even: Any, odd: Any) -> None:
    """Write what a row has in common with its mirror image, and the difference."""
    for j in range(a.size):
        even[j] = a[j] + q[j]
        odd[j] = a[j] - q[j]


@njit(**_OPTIONS)
def _unfold_four(
    even: Any, odd: Any, rows: Any, a: Any, b: Any, c: Any, d: Any, q: Any, r: Any, s: Any, t: Any, add: Any
) -> None:  # fmt: skip
    """Write or add what four terms make of two rows from both ends of a block, and of their mirror images q to t."""
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    for j in range(a.size):
        w, x, y, z = even[j], even[_S1 + j], even[_S2 + j], even[_S3 + j]
        k, m, n, o = a0 * w + a2 * y, a1 * x + a3 * z, b0 * w + b2 * y, b1 * x + b3 * z
        w, x, y, z = odd[j], odd[_S1 + j], odd[_S2 + j], odd[_S3 + j]
        e, f, g, h = a0 * w + a2 * y, a1 * x + a3 * z, b0 * w + b2 * y, b1 * x + b3 * z
        k, m, n, o = k + m, k - m, n + o, n - o
        e, f, g, h = e + f, e - f, g + h, g - h
        if add:
            a[j] += k + e
            d[j] += m + f
            b[j] += n + g
            c[j] += o + h
            q[j] += k - e
            t[j] += m - f
            r[j] += n - g
            s[j] += o - h
        else:
            a[j], d[j], b[j], c[j] = k + e, m + f, n + g, o + h
            q[j], t[j], r[j], s[j] = k - e, m - f, n - g, o - h


@njit(**_OPTIONS)
def _target(out: Any, row: Any, start: Any, stop: Any, spare: Any) -> Any:
    """Where a row of the upper half and its mirror image go: nowhere beyond the middle, which is its own image."""
    height = out.shape[0]
    if row < height // 2:
        return out[row, start:stop], out[height - 1 - row, start:stop]
    if height % 2 and row == height // 2:
        return out[row, start:stop], spare[0]
    return spare[0], spare[1]


@njit(**_OPTIONS)
def unfold_block(even: Any, odd: Any, local: Any, block: Any, start: Any, stop: Any, out: Any) -> None:
    """Write the rows of a block, or one row where there are none, and their mirror images, in columns of `out`.

    `even` and `odd` are the sums of this block.
    """
    spare = np.empty((8, stop - start), np.float32)
    if local.size == 0:
        a, q = _target(out, block, start, stop, spare)
        unfold_row(even, odd, a, q)
        return
    rows, terms = local.shape
    first, last = block * rows, block * rows + rows - 1
    for k in range(0, rows // 2, 2):
        a, q = _target(out, first + k, start, stop, spare[:2])
        b, r = _target(out, first + k + 1, start, stop, spare[2:4])
        c, s = _target(out, last - k - 1, start, stop, spare[4:6])
        d, t = _target(out, last - k, start, stop, spare[6:])
        for m in range(0, terms, 4):
            n = m * STRIDE
            _unfold_four(even[n:], odd[n:], local[k : k + 2, m : m + 4], a, b, c, d, q, r, s, t, m > 0)


@njit(**_OPTIONS)
def unfold_row(even: Any, odd: Any, a: Any, q: Any) -> None:
    """Write a row and its mirror image that have this in common, and this difference."""
    for j in range(a.size):
        a[j] = even[j] + odd[j]
        q[j] = even[j] - odd[j]


@njit(**_OPTIONS)
def unfold(even: Any, odd: Any, local: Any, first: Any, start: Any, stop: Any, out: Any) -> None:
    """Write the rows that sums make, from a block or row on, in columns of `out`."""
    terms = local.shape[1] if local.size > 0 else 1
    for block in range(even.size // (terms * STRIDE)):
        n = slice(block * terms * STRIDE, (block + 1) * terms * STRIDE)
        unfold_block(even[n], odd[n], local, first + block, start, stop, out)
