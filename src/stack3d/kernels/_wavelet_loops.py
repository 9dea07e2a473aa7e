"""Compiled loops of :mod:`stack3d.kernels._wavelet_bands`: levels of a discrete wavelet transform, along rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._slow_rows_loops import STRIDE, fold_four, fold_row, unfold

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
_SPAN = 256  # columns that are filtered together, so that the rows a filter needs stay in the cache,
_STEP = _SPAN + 16  # and how far apart these lie in there
_FEW = 4  # taps that take rows as they are
PAD = 16  # columns more, so that rows of a width of 2 ** n do not all fall on the same places of the cache


@njit(**_OPTIONS)
def _place(at: Any, size: Any) -> Any:
    """Sample that a place falls on where a line goes on as its mirror image, the end repeated."""
    if 0 <= at < size:
        return at
    at = at % (2 * size)
    return 2 * size - 1 - at if at >= size else at


@njit(**_OPTIONS)
def _apart(row: Any, even: Any, odd: Any, before: Any) -> None:
    """Write samples of even and odd number, from twice `before` samples ahead of the row on."""
    width, count = row.size, even.size
    inner = width // 2
    for k in range(before):
        even[k], odd[k] = row[_place(2 * (k - before), width)], row[_place(2 * (k - before) + 1, width)]
    e, o = even[before:], odd[before:]
    for k in range(inner):
        e[k], o[k] = row[2 * k], row[2 * k + 1]
    for k in range(inner, count - before):
        e[k], o[k] = row[_place(2 * k, width)], row[_place(2 * k + 1, width)]


@njit(**_OPTIONS)
def _two_taps(even: Any, odd: Any, at: Any, lo: Any, hi: Any, low: Any, high: Any, add: Any) -> None:
    a, b, e, f = lo[0], lo[1], hi[0], hi[1]
    p, q = odd[at:], even[at:]
    for j in range(low.size):
        if add:
            low[j] = low[j] + a * p[j] + b * q[j]
            high[j] = high[j] + e * p[j] + f * q[j]
        else:
            low[j], high[j] = a * p[j] + b * q[j], e * p[j] + f * q[j]


@njit(**_OPTIONS)
def _eight_taps(even: Any, odd: Any, at: Any, lo: Any, hi: Any, low: Any, high: Any, add: Any) -> None:
    a, b, c, d, e, f, g, h = lo[0], lo[1], lo[2], lo[3], lo[4], lo[5], lo[6], lo[7]
    i, k, o, m, n, r, s, t = hi[0], hi[1], hi[2], hi[3], hi[4], hi[5], hi[6], hi[7]
    p, q = odd[at - 3 :], even[at - 3 :]
    for j in range(low.size):
        w, x, y, z = p[j + 3], q[j + 3], p[j + 2], q[j + 2]
        if add:
            u, v = low[j] + a * w + b * x + c * y + d * z, high[j] + i * w + k * x + o * y + m * z
        else:
            u, v = a * w + b * x + c * y + d * z, i * w + k * x + o * y + m * z
        w, x, y, z = p[j + 1], q[j + 1], p[j], q[j]
        low[j], high[j] = u + e * w + f * x + g * y + h * z, v + n * w + r * x + s * y + t * z


@njit(**_OPTIONS)
def _split(row: Any, lo: Any, hi: Any, even: Any, odd: Any, low: Any, high: Any) -> None:
    """Write low-pass and details of a row; `even` and `odd` are of no further use."""
    half = lo.size // 2
    _apart(row, even, odd, half - 1)
    m = 0
    while m < half:
        taps, at = slice(2 * m, lo.size), half - 1 - m
        if m + 4 <= half:
            _eight_taps(even, odd, at, lo[taps], hi[taps], low, high, m > 0)
            m += 4
        else:
            _two_taps(even, odd, at, lo[taps], hi[taps], low, high, m > 0)
            m += 1


@njit(**_OPTIONS)
def split_rows(rows: Any, lo: Any, hi: Any, low: Any, high: Any) -> None:
    """Write low-pass and details of rows."""
    size = low.shape[1] + lo.size // 2 - 1
    even, odd = np.empty(size, np.float32), np.empty(size, np.float32)
    for i in range(rows.shape[0]):
        _split(rows[i], lo, hi, even, odd, low[i], high[i])


@njit(**_OPTIONS)
def _joined_two(low: Any, high: Any, at: Any, lo: Any, hi: Any, even: Any, odd: Any, add: Any) -> None:
    """Write or add what two samples, `at` and the one before, make of the pixels of even and odd number."""
    a, b, c, d, e, f, g, h = lo[0], lo[1], lo[2], lo[3], hi[0], hi[1], hi[2], hi[3]
    p, q = low[at - 1 :], high[at - 1 :]
    for j in range(odd.size):
        w, x, y, z = p[j + 1], q[j + 1], p[j], q[j]
        if add:
            even[j] = even[j] + a * w + e * x + c * y + g * z
            odd[j] = odd[j] + b * w + f * x + d * y + h * z
        else:
            even[j], odd[j] = a * w + e * x + c * y + g * z, b * w + f * x + d * y + h * z


@njit(**_OPTIONS)
def _joined_one(low: Any, high: Any, at: Any, lo: Any, hi: Any, even: Any, odd: Any, add: Any) -> None:
    a, b, e, f = lo[0], lo[1], hi[0], hi[1]
    p, q = low[at:], high[at:]
    for j in range(odd.size):
        if add:
            even[j] = even[j] + a * p[j] + e * q[j]
            odd[j] = odd[j] + b * p[j] + f * q[j]
        else:
            even[j], odd[j] = a * p[j] + e * q[j], b * p[j] + f * q[j]


@njit(**_OPTIONS)
def _join(low: Any, high: Any, lo: Any, hi: Any, even: Any, odd: Any, row: Any) -> None:
    """Write a row put together from low-pass and details; `even` and `odd` are of no further use."""
    half, m = lo.size // 2, 0
    while m < half:
        taps, at = slice(2 * m, lo.size), half - 1 - m
        if m + 2 <= half:
            _joined_two(low, high, at, lo[taps], hi[taps], even, odd, m > 0)
            m += 2
        else:
            _joined_one(low, high, at, lo[taps], hi[taps], even, odd, m > 0)
            m += 1
    for j in range(row.size // 2):
        row[2 * j], row[2 * j + 1] = even[j], odd[j]
    if row.size % 2:
        row[row.size - 1] = even[row.size // 2]


@njit(**_OPTIONS)
def join_rows(low: Any, high: Any, lo: Any, hi: Any, out: Any) -> None:
    """Write rows put together from low-pass and details."""
    size = (out.shape[1] + 1) // 2
    even, odd = np.empty(size, np.float32), np.empty(size, np.float32)
    for i in range(out.shape[0]):
        _join(low[i], high[i], lo, hi, even, odd, out[i])


@njit(**_OPTIONS)
def _sum_two(p: Any, q: Any, taps: Any, out: Any, add: Any) -> None:
    a, b = taps[0], taps[1]
    for j in range(out.size):
        if add:
            out[j] = out[j] + a * p[j] + b * q[j]
        else:
            out[j] = a * p[j] + b * q[j]


@njit(**_OPTIONS)
def _sum_eight(tile: Any, taps: Any, out: Any, add: Any) -> None:
    """Write or add eight rows, the last one first, by their taps."""
    a, b, c, d, e, f, g, h = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7]
    for j in range(out.size):
        p, q, r, s = tile[7 * _STEP + j], tile[6 * _STEP + j], tile[5 * _STEP + j], tile[4 * _STEP + j]
        part = out[j] + a * p + b * q + c * r + d * s if add else a * p + b * q + c * r + d * s
        out[j] = part + e * tile[3 * _STEP + j] + f * tile[2 * _STEP + j] + g * tile[_STEP + j] + h * tile[j]


@njit(**_OPTIONS)
def _smooth(u: Any, taps: Any, first: Any, tile: Any, out: Any) -> None:
    """Write rows of the low-pass of columns, every second row kept, from one on."""
    height, width, count = u.shape[0], u.shape[1], out.shape[0]
    if taps.size <= _FEW:
        for k in range(count):
            n, line = 2 * (first + k) + 1, out[k, :width]
            for m in range(0, taps.size, 2):
                _sum_two(u[_place(n - m, height)], u[_place(n - m - 1, height)], taps[m:], line, m > 0)
        return
    # Row i takes rows 2 i + 2 - taps to 2 i + 1.
    begin, reach = 2 * first + 2 - taps.size, 2 * count + taps.size - 2
    for start in range(0, width, _SPAN):
        stop = min(start + _SPAN, width)
        for k in range(reach):
            line, row = tile[k * _STEP :], u[_place(begin + k, height), start:stop]
            for j in range(row.size):
                line[j] = row[j]
        for k in range(count):
            line, m = out[k, start:stop], 0
            while m < taps.size:
                n = 2 * k + taps.size - 1 - m
                if m + 8 <= taps.size:
                    _sum_eight(tile[(n - 7) * _STEP :], taps[m:], line, m > 0)
                    m += 8
                else:
                    _sum_two(tile[n * _STEP :], tile[(n - 1) * _STEP :], taps[m:], line, m > 0)
                    m += 2


@njit(**_OPTIONS)
def analyse(u: Any, lo: Any, hi: Any, part: Any, local: Any, low: Any, even: Any, odd: Any) -> None:
    """Write the low-pass of a frame, and the sums of `_slow_rows` for the details across the columns.

    Those are low-passed along columns as well. `part` is the width of a panel, `even` and `odd` are (panels, sums).
    """
    (height, count), width = low.shape, u.shape[1]
    upper, size = (height + 1) // 2, count + lo.size // 2 - 1
    rows, terms = (local.shape[0], local.shape[1]) if local.size > 0 else (4, 4)
    lines, tile = np.empty((rows, width + PAD), np.float32), np.empty((2 * rows + lo.size) * _STEP, np.float32)
    apart, other = np.empty(size, np.float32), np.empty(size, np.float32)
    top, bottom = np.zeros((rows, count), np.float32), np.zeros((rows, count), np.float32)
    for first in range(0, upper, rows):
        last = min(first + rows, upper)
        n = last - first
        _smooth(u, lo, first, tile, lines[:n])
        for k in range(n):
            _split(lines[k, :width], lo, hi, apart, other, low[first + k], top[k])
        _smooth(u, lo, height - last, tile, lines[:n])
        for k in range(n):
            # From the last row on.
            if 2 * (first + k) + 1 < height:
                _split(lines[n - 1 - k, :width], lo, hi, apart, other, low[height - 1 - first - k], bottom[k])
        if 2 * (last - 1) + 1 == height:
            # The row of the middle is its own image.
            for j in range(count):
                top[last - 1 - first, j] *= np.float32(0.5)
                bottom[last - 1 - first, j] = top[last - 1 - first, j]
        top[last - first :] = 0
        bottom[last - first :] = 0
        for panel in range(even.shape[0]):
            begin, end = panel * part, min((panel + 1) * part, count)
            if local.size > 0:
                _fold_block(top, bottom, begin, end, local, first // rows * terms, even[panel], odd[panel])
            else:
                for k in range(last - first):
                    n = (first + k) * STRIDE
                    fold_row(top[k, begin:end], bottom[k, begin:end], even[panel, n:], odd[panel, n:])


@njit(**_OPTIONS)
def _fold_block(top: Any, bottom: Any, begin: Any, end: Any, local: Any, term: Any, even: Any, odd: Any) -> None:
    """Write the terms of a block, from a number on, in columns from `begin` to `end`."""
    rows, terms = local.shape
    for k in range(0, rows // 2, 2):
        z = rows - 1 - k
        for m in range(0, terms, 4):
            n = (term + m) * STRIDE
            fold_four(
                top[k, begin:end], top[k + 1, begin:end], top[z - 1, begin:end], top[z, begin:end],
                bottom[k, begin:end], bottom[k + 1, begin:end], bottom[z - 1, begin:end], bottom[z, begin:end],
                local[k : k + 2, m : m + 4], even[n:], odd[n:], k > 0,
            )  # fmt: skip


@njit(**_OPTIONS)
def _raise_four(p: Any, q: Any, r: Any, s: Any, taps: Any, even: Any, odd: Any, less: Any, add: Any) -> None:
    a, b, c, d, e, f, g, h = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7]
    for j in range(even.size):
        w, x, y, z = p[j], q[j], r[j], s[j]
        if add:
            even[j] = even[j] + a * w + c * x + e * y + g * z
            odd[j] = odd[j] + b * w + d * x + f * y + h * z
        else:
            even[j] = a * w + c * x + e * y + g * z - less
            odd[j] = b * w + d * x + f * y + h * z - less


@njit(**_OPTIONS)
def _raise_one(p: Any, taps: Any, even: Any, odd: Any, less: Any, add: Any) -> None:
    a, b = taps[0], taps[1]
    for j in range(even.size):
        if add:
            even[j] = even[j] + a * p[j]
            odd[j] = odd[j] + b * p[j]
        else:
            even[j], odd[j] = a * p[j] - less, b * p[j] - less


@njit(**_OPTIONS)
def _raise(rows: Any, shift: Any, taps: Any, less: Any, first: Any, last: Any, spare: Any, out: Any) -> None:
    """Write the pairs of rows from one up to another that low-pass samples of columns make, less a constant.

    `rows` has these samples from row `shift` on: a pair takes half as many as there are taps, from its own number on.
    """
    half, (height, width) = taps.size // 2, out.shape
    for i in range(first, last):
        even, odd, m = out[2 * i], out[2 * i + 1] if 2 * i + 1 < height else spare, 0
        while m < half:
            n = i - shift + half - 1 - m
            p, some = rows[n, :width], taps[2 * m :]
            if m + 4 <= half:
                q, r, s = rows[n - 1, :width], rows[n - 2, :width], rows[n - 3, :width]
                _raise_four(p, q, r, s, some, even, odd, less, m > 0)
                m += 4
            else:
                _raise_one(p, some, even, odd, less, m > 0)
                m += 1


@njit(**_OPTIONS)
def synthesise(
    even: Any, odd: Any, part: Any, local: Any, low: Any, lo: Any, hi: Any, less: Any, out: Any
) -> None:  # fmt: skip
    """Write a frame put together from its low-pass and the details that sums make, less a constant.

    `even` and `odd` are (panels, sums), `part` is the width of a panel.
    """
    (height, count), width, half = low.shape, out.shape[1], lo.size // 2
    upper, pairs, kept = (height + 1) // 2, (out.shape[0] + 1) // 2, half - 1
    rows, terms = (local.shape[0], local.shape[1]) if local.size > 0 else (4, 4)
    apart, other = np.empty((width + 1) // 2, np.float32), np.empty((width + 1) // 2, np.float32)
    high, spare = np.empty((2 * rows, count), np.float32), np.empty(width, np.float32)
    # Samples of columns, from row `shift` on, and from below: those of a block end at `rows`, and the ones kept follow.
    top, bottom = np.empty((rows + 2 * half, width + PAD), np.float32), np.empty((rows + half, width + PAD), np.float32)
    head, tail, shift = 0, pairs, 0
    # Block by block from both ends, so that rows are still at hand for what is made of them.
    for first in range(0, upper, rows):
        last = min(first + rows, upper)
        n = last - first
        for panel in range(even.shape[0]):
            begin, end = panel * part, min((panel + 1) * part, count)
            start = first // rows * terms * STRIDE
            stop = start + (terms if local.size > 0 else n) * STRIDE
            unfold(even[panel, start:stop], odd[panel, start:stop], local, 0, begin, end, high)
        for k in range(n):
            i = first + k
            _join(low[i], high[k], lo, hi, apart, other, top[i - shift, :width])
            # The row of the middle is its own image.
            image = high[2 * rows - 1 - k] if 2 * i + 1 < height else high[k]
            _join(low[height - 1 - i], image, lo, hi, apart, other, bottom[rows - 1 - k, :width])
        ready = min(max(last - kept, head), tail)
        _raise(top, shift, lo, less, head, ready, spare, out)
        head = ready
        ready = min(max(height - last, head), tail)
        _raise(bottom, height - last - (rows - n), lo, less, ready, tail, spare, out)
        tail = ready
        begin = max(last - kept, 0)
        for k in range(begin, last):
            top[k - begin] = top[k - shift]
        shift = begin
        for k in range(kept - 1, -1, -1):
            bottom[rows + k] = bottom[rows - n + k]
    # What takes samples of both halves.
    for k in range(kept):
        if height - upper + k >= upper:
            top[height - upper + k - shift] = bottom[rows + k]
    _raise(top, shift, lo, less, head, tail, spare, out)
