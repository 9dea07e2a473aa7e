"""Compiled loops of :mod:`stack3d.kernels._wavelet_bands`: levels of a discrete wavelet transform, along rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._slow_rows_loops import APART, fold_four, unfold_blocks, unfold_rows
from stack3d.kernels._vsnr_band_loops import product

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
_FOUR = 4
_SHORT = 4  # taps of a filter, up to which its rows are made one by one


def down_blocks(taps: Any) -> Any:
    """Return what makes four rows of the low-pass of columns: (4, rows), a multiple of four."""
    reach = -(-(taps.size + 6) // _FOUR) * _FOUR
    out = np.zeros((_FOUR, reach), np.float32)
    for k in range(_FOUR):
        out[k, 2 * k : 2 * k + taps.size] = taps[::-1]
    return out


def up_blocks(taps: Any) -> Any:
    """Return what makes four rows from low-pass samples: (4, samples), a multiple of four."""
    half = taps.size // 2
    out = np.zeros((_FOUR, -(-(half + 1) // _FOUR) * _FOUR), np.float32)
    for k in range(_FOUR):
        out[k, k // 2 : k // 2 + half] = taps[k % 2 :: 2][::-1]
    return out


@njit(**_OPTIONS)
def _place(at: Any, size: Any) -> Any:
    """Sample that a place falls on where a line goes on as its mirror image, the end repeated."""
    at = at % (2 * size)
    return 2 * size - 1 - at if at >= size else at


@njit(**_OPTIONS)
def _apart(row: Any, even: Any, odd: Any, before: Any) -> None:
    """Write samples of even and odd number, from twice `before` samples ahead of the row on."""
    width, count = row.size, even.size
    inner = max(width // 2, 0)
    for k in range(before):
        even[k], odd[k] = row[_place(2 * (k - before), width)], row[_place(2 * (k - before) + 1, width)]
    e, o = even[before:], odd[before:]
    for k in range(inner):
        e[k], o[k] = row[2 * k], row[2 * k + 1]
    for k in range(inner, count - before):
        e[k], o[k] = row[_place(2 * k, width)], row[_place(2 * k + 1, width)]


@njit(**_OPTIONS)
def _filtered(even: Any, odd: Any, taps: Any, out: Any) -> None:
    """Low- or high-pass of a row whose samples are apart, every second sample kept."""
    half = taps.size // 2
    a, b = taps[0], taps[1]
    p, q = odd[half - 1 :], even[half - 1 :]
    for j in range(out.size):
        out[j] = a * p[j] + b * q[j]
    first = 1
    if half % 2 == 0:
        a, b = taps[2], taps[3]
        p, q = odd[half - 2 :], even[half - 2 :]
        for j in range(out.size):
            out[j] += a * p[j] + b * q[j]
        first = 2
    for m in range(first, half, 2):
        a, b, c, d = taps[2 * m], taps[2 * m + 1], taps[2 * m + 2], taps[2 * m + 3]
        p, q, r, s = odd[half - 1 - m :], even[half - 1 - m :], odd[half - 2 - m :], even[half - 2 - m :]
        for j in range(out.size):
            out[j] += a * p[j] + b * q[j] + c * r[j] + d * s[j]


@njit(**_OPTIONS)
def split_rows(rows: Any, lo: Any, hi: Any, low: Any, high: Any) -> None:
    """Write low-pass and details of rows; a part without elements is not wanted."""
    half, count = lo.size // 2, max(low.shape[1], high.shape[1])
    even, odd = np.empty(count + half - 1, np.float32), np.empty(count + half - 1, np.float32)
    for i in range(rows.shape[0]):
        _apart(rows[i], even, odd, half - 1)
        if low.size > 0:
            _filtered(even, odd, lo, low[i])
        if high.size > 0:
            _filtered(even, odd, hi, high[i])


@njit(**_OPTIONS)
def _raised(row: Any, taps: Any, even: Any, odd: Any) -> None:
    """Write what samples make of the pixels of even and odd number between them; `even` may be one longer."""
    half, last = taps.size // 2, odd.size
    if half % 2:
        a, b, p = taps[0], taps[1], row[half - 1 :]
        for j in range(last):
            even[j], odd[j] = a * p[j], b * p[j]
    else:
        a, b, c, d, p, q = taps[0], taps[1], taps[2], taps[3], row[half - 1 :], row[half - 2 :]
        for j in range(last):
            even[j], odd[j] = a * p[j] + c * q[j], b * p[j] + d * q[j]
    for m in range(2 - half % 2, half, 2):
        a, b, c, d = taps[2 * m], taps[2 * m + 1], taps[2 * m + 2], taps[2 * m + 3]
        p, q = row[half - 1 - m :], row[half - 2 - m :]
        for j in range(last):
            even[j] += a * p[j] + c * q[j]
            odd[j] += b * p[j] + d * q[j]
    if even.size > last:
        total = np.float32(0)
        for m in range(half):
            total += taps[2 * m] * row[last + half - 1 - m]
        even[last] = total


@njit(**_OPTIONS)
def join_rows(low: Any, high: Any, lo: Any, hi: Any, out: Any) -> None:
    """Add rows put together from low-pass and details; a part without elements counts for nothing."""
    width = out.shape[1]
    even, odd = np.empty((width + 1) // 2, np.float32), np.empty(width // 2, np.float32)
    for i in range(out.shape[0]):
        if low.size > 0:
            _put(low[i], lo, even, odd, out[i])
        if high.size > 0:
            _put(high[i], hi, even, odd, out[i])


@njit(**_OPTIONS)
def _few_down(u: Any, taps: Any, less: Any, first: Any, out: Any) -> None:
    """Low-pass of columns, row by row from one on: where columns go on as their mirror images, and for short filters."""
    height = u.shape[0]
    for k in range(out.shape[0]):
        i, line = first + k, out[k]
        for m in range(0, taps.size, 2):
            p, q = u[_place(2 * i + 1 - m, height)], u[_place(2 * i - m, height)]
            a, b = taps[m], taps[m + 1]
            if m == 0:
                for j in range(p.size):
                    line[j] = a * p[j] + b * q[j] - less
            else:
                for j in range(p.size):
                    line[j] += a * p[j] + b * q[j]


@njit(**_OPTIONS)
def smooth_rows(u: Any, taps: Any, blocks: Any, less: Any, first: Any, out: Any) -> None:
    """Write up to four rows of the low-pass of columns, every second row kept, from one on, less a constant."""
    # Row i takes rows 2 i + 2 - taps to 2 i + 1.
    start, reach = 2 * first + 2 - taps.size, blocks.shape[1]
    if taps.size <= _SHORT or out.shape[0] < _FOUR or start < 0 or start + reach > u.shape[0]:
        _few_down(u, taps, less, first, out)
        return
    product(blocks, u[start : start + reach], out, False)
    if less != 0:
        for k in range(_FOUR):
            line = out[k]
            for j in range(line.size):
                line[j] -= less


@njit(**_OPTIONS)
def _kept(row: Any, taps: Any, even: Any, odd: Any, out: Any) -> None:
    _apart(row, even, odd, taps.size // 2 - 1)
    _filtered(even, odd, taps, out)


@njit(**_OPTIONS)
def smooth_fold(
    u: Any, taps: Any, blocks: Any, less: Any, low: Any, start: Any, count: Any, local: Any, even: Any, odd: Any
) -> None:  # fmt: skip
    """Write the sums of `_slow_rows` for `count` rows of the upper half of the low-pass of columns, from one on.

    `low` becomes the low-pass of these rows and of their mirror images, where it is wanted and has elements.
    """
    height, width = (u.shape[0] + taps.size - 1) // 2, u.shape[1]
    top, bottom = np.zeros((_FOUR, width + APART), np.float32), np.zeros((_FOUR, width + APART), np.float32)
    half = taps.size // 2
    size = low.shape[1] + half - 1 if low.size > 0 else 0
    apart, other = np.empty(size, np.float32), np.empty(size, np.float32)
    even[:] = 0
    odd[:] = 0
    for k in range(0, count, _FOUR):
        i = start + k
        n = min(_FOUR, (height + 1) // 2 - i)
        if n <= 0:
            break
        smooth_rows(u, taps, blocks, less, i, top[:n])
        smooth_rows(u, taps, blocks, less, height - i - n, bottom[_FOUR - n :])
        top[n:] = 0
        bottom[: _FOUR - n] = 0
        if low.size > 0:
            for m in range(n):
                _kept(top[m, :width], taps, apart, other, low[i + m])
                if 2 * (i + m) + 1 < height:
                    _kept(bottom[_FOUR - 1 - m, :width], taps, apart, other, low[height - 1 - i - m])
        if 2 * (i + n - 1) + 1 == height:
            # The row of the middle is its own image.
            for j in range(width):
                top[n - 1, j] *= np.float32(0.5)
                bottom[_FOUR - n, j] = top[n - 1, j]
        if local.size > 0:
            rows = local.shape[0]
            fold_four(
                top[0], top[1], top[2], top[3], bottom[3], bottom[2], bottom[1], bottom[0], local, k // rows, k % rows,
                even, odd,
            )  # fmt: skip
        else:
            for m in range(min(n, even.shape[0] - k)):
                e, o, p, q = even[k + m], odd[k + m], top[m], bottom[_FOUR - 1 - m]
                for j in range(width):
                    e[j] = p[j] + q[j]
                    o[j] = p[j] - q[j]


@njit(**_OPTIONS)
def unfold_join(
    even: Any, odd: Any, local: Any, first: Any, low: Any, taps: Any, out: Any
) -> None:  # fmt: skip
    """Write the rows of `_slow_rows` that sums make, from a block or row on, and their mirror images; with `low` put in.

    `low` is samples of the same rows, or without elements.
    """
    height, width = out.shape
    rows, terms = (local.shape[0], local.shape[1]) if local.size > 0 else (1, 1)
    apart, other = np.empty((width + 1) // 2, np.float32), np.empty(width // 2, np.float32)
    # Block by block, so that rows are still at hand when samples are put in.
    for block in range(even.shape[0] // terms):
        sums = slice(block * terms, (block + 1) * terms)
        if local.size > 0:
            unfold_blocks(even[sums], odd[sums], local, first + block, out)
        else:
            unfold_rows(even[sums], odd[sums], first + block, out)
        if low.size > 0:
            start = (first + block) * rows
            for i in range(start, min(start + rows, (height + 1) // 2)):
                _put(low[i], taps, apart, other, out[i])
                if 2 * i + 1 < height:
                    _put(low[height - 1 - i], taps, apart, other, out[height - 1 - i])


@njit(**_OPTIONS)
def _put(samples: Any, taps: Any, even: Any, odd: Any, row: Any) -> None:
    """Add what samples make of a row."""
    _raised(samples, taps, even, odd)
    for j in range(odd.size):
        row[2 * j] += even[j]
        row[2 * j + 1] += odd[j]
    if even.size > odd.size:
        row[row.size - 1] += even[odd.size]


@njit(**_OPTIONS)
def _few_up(rows: Any, taps: Any, less: Any, first: Any, out: Any) -> None:
    """The columns that low-pass samples make, two rows at a time."""
    half, height = taps.size // 2, out.shape[0]
    spare = np.empty(out.shape[1], np.float32)
    for i in range(first // 2, (height + 1) // 2):
        even = out[2 * i]
        odd = out[2 * i + 1] if 2 * i + 1 < height else spare
        for m in range(half):
            p, a, b = rows[i + half - 1 - m], taps[2 * m], taps[2 * m + 1]
            if m == 0:
                for j in range(even.size):
                    even[j] = a * p[j] - less
                    odd[j] = b * p[j] - less
            else:
                for j in range(even.size):
                    even[j] += a * p[j]
                    odd[j] += b * p[j]


@njit(**_OPTIONS)
def raise_columns(rows: Any, taps: Any, blocks: Any, less: Any, out: Any) -> None:
    """Write the columns that low-pass samples make, less a constant: four rows at a time, ``blocks @ rows``."""
    height, reach, last = out.shape[0], blocks.shape[1], 0
    if taps.size > _SHORT:
        last = max(min(height, 2 * (rows.shape[0] - reach) + _FOUR), 0) // _FOUR * _FOUR
    for i in range(0, last, _FOUR):
        product(blocks, rows[i // 2 : i // 2 + reach], out[i : i + _FOUR], False)
        for k in range(i, i + _FOUR):
            line = out[k]
            for j in range(line.size):
                line[j] -= less
    _few_up(rows, taps, less, last, out)
