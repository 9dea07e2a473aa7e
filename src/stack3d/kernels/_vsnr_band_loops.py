"""Compiled loops of :mod:`stack3d.kernels._vsnr_band`: one pass over the frame gives the slope of what is minimised.

Rows are treated in fours and blocks of ROWS, so that what is made of them stays in the cache; each loop is over
contiguous lines, which lets it become vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._line_loops import copy, fill
from stack3d.kernels._vsnr_terms import ROWS

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
_FOUR = 4


def buffers(width: int, terms: int) -> tuple[Any, ...]:
    """Return what :func:`gradient` works in: rests, their directions along x and y, terms and what they collect, sums."""
    shapes = ((6, width + 1), (_FOUR, width + 1), (_FOUR + 1, width), (terms, width), (terms, width), (2, width))
    return tuple(np.zeros(shape, np.float32) for shape in shapes)


@njit(**_OPTIONS)
def _rest(u: Any, rows: Any, terms: Any, out: Any, first: Any) -> None:
    """Write `u` less four terms of the stripes, or take four more terms from what is there."""
    a, b, c, d = rows
    p, q, r, s = terms[0], terms[1], terms[2], terms[3]
    if first:
        for j in range(u.size):
            out[j] = u[j] - (a * p[j] + b * q[j] + c * r[j] + d * s[j])
    else:
        for j in range(u.size):
            out[j] -= a * p[j] + b * q[j] + c * r[j] + d * s[j]


@njit(**_OPTIONS)
def _rests(
    a: Any, b: Any, c: Any, d: Any, rows: Any, terms: Any, out: Any, first: Any, stop: Any
) -> None:  # fmt: skip
    """`_rest` of four rows of the image, of columns from `first` to `stop`, which a, b, c, d are."""
    p, q, r, s = terms[0, first:stop], terms[1, first:stop], terms[2, first:stop], terms[3, first:stop]
    e, f, g, h = out[0, first:stop], out[1, first:stop], out[2, first:stop], out[3, first:stop]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    c0, c1, c2, c3 = rows[2, 0], rows[2, 1], rows[2, 2], rows[2, 3]
    d0, d1, d2, d3 = rows[3, 0], rows[3, 1], rows[3, 2], rows[3, 3]
    for j in range(a.size):
        i, k, m, n = p[j], q[j], r[j], s[j]
        e[j] = a[j] - (a0 * i + a1 * k + a2 * m + a3 * n)
        f[j] = b[j] - (b0 * i + b1 * k + b2 * m + b3 * n)
        g[j] = c[j] - (c0 * i + c1 * k + c2 * m + c3 * n)
        h[j] = d[j] - (d0 * i + d1 * k + d2 * m + d3 * n)


@njit(**_OPTIONS)
def _rests_more(rows: Any, terms: Any, out: Any, first: Any, stop: Any) -> None:
    """Take four more terms from four rests."""
    p, q, r, s = terms[0, first:stop], terms[1, first:stop], terms[2, first:stop], terms[3, first:stop]
    e, f, g, h = out[0, first:stop], out[1, first:stop], out[2, first:stop], out[3, first:stop]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    c0, c1, c2, c3 = rows[2, 0], rows[2, 1], rows[2, 2], rows[2, 3]
    d0, d1, d2, d3 = rows[3, 0], rows[3, 1], rows[3, 2], rows[3, 3]
    for j in range(p.size):
        i, k, m, n = p[j], q[j], r[j], s[j]
        e[j] -= a0 * i + a1 * k + a2 * m + a3 * n
        f[j] -= b0 * i + b1 * k + b2 * m + b3 * n
        g[j] -= c0 * i + c1 * k + c2 * m + c3 * n
        h[j] -= d0 * i + d1 * k + d2 * m + d3 * n


@njit(**_OPTIONS)
def _turn(e: Any, below: Any, rx: Any, ry: Any, size: Any, slope: Any, tiny: Any) -> None:
    """Write the direction of the gradient of the rest, and add its size and one over it; `e` is one longer."""
    one = np.float32(1)
    ahead = e[1:]
    for j in range(ry.size):
        x, y = ahead[j] - e[j], below[j] - e[j]
        square = x * x + y * y + tiny
        part = one / np.sqrt(square)
        rx[j], ry[j] = x * part, y * part
        size[j] += square * part
        slope[j] += part


@njit(**_OPTIONS)
def _turn_weighted(
    e: Any, below: Any, rx: Any, ry: Any, size: Any, slope: Any, tiny: Any, weight: Any, under: Any
) -> None:
    """`_turn` with weights: `weight` of this row, one longer, and of the next."""
    one, zero = np.float32(1), np.float32(0)
    for j in range(ry.size):
        x = e[j + 1] - e[j] if weight[j + 1] > zero else zero
        y = below[j] - e[j] if under[j] > zero else zero
        square = x * x + y * y + tiny
        part = weight[j] * (one / np.sqrt(square))
        rx[j], ry[j] = x * part, y * part
        size[j] += square * part
        slope[j] += part


@njit(**_OPTIONS)
def _collect(rx: Any, ry: Any, rows: Any, out: Any, first: Any, stop: Any) -> None:
    """Add to four terms what the adjoint of the differences makes of four rows; both have what comes before first."""
    p, q, r, s = out[0, first:stop], out[1, first:stop], out[2, first:stop], out[3, first:stop]
    x0, x1, x2, x3 = rx[0, first:], rx[1, first:], rx[2, first:], rx[3, first:]
    y, y0, y1, y2, y3 = ry[0, first:], ry[1, first:], ry[2, first:], ry[3, first:], ry[4, first:]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    c0, c1, c2, c3 = rows[2, 0], rows[2, 1], rows[2, 2], rows[2, 3]
    d0, d1, d2, d3 = rows[3, 0], rows[3, 1], rows[3, 2], rows[3, 3]
    n0, n1, n2, n3 = x0[1:], x1[1:], x2[1:], x3[1:]
    for j in range(p.size):
        a = (x0[j] - n0[j]) + (y[j] - y0[j])
        b = (x1[j] - n1[j]) + (y0[j] - y1[j])
        c = (x2[j] - n2[j]) + (y1[j] - y2[j])
        d = (x3[j] - n3[j]) + (y2[j] - y3[j])
        p[j] += a0 * a + b0 * b + c0 * c + d0 * d
        q[j] += a1 * a + b1 * b + c1 * c + d1 * d
        r[j] += a2 * a + b2 * b + c2 * c + d2 * d
        s[j] += a3 * a + b3 * b + c3 * c + d3 * d


@njit(**_OPTIONS)
def _mixed(rows: Any, lines: Any, out: Any, add: Any) -> None:
    """Write ``rows @ lines`` of four lines to four, or add it."""
    p, q, r, s = lines[0], lines[1], lines[2], lines[3]
    e, f, g, h = out[0], out[1], out[2], out[3]
    a0, a1, a2, a3 = rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3]
    b0, b1, b2, b3 = rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3]
    c0, c1, c2, c3 = rows[2, 0], rows[2, 1], rows[2, 2], rows[2, 3]
    d0, d1, d2, d3 = rows[3, 0], rows[3, 1], rows[3, 2], rows[3, 3]
    if add:
        for j in range(p.size):
            i, k, m, n = p[j], q[j], r[j], s[j]
            e[j] += a0 * i + a1 * k + a2 * m + a3 * n
            f[j] += b0 * i + b1 * k + b2 * m + b3 * n
            g[j] += c0 * i + c1 * k + c2 * m + c3 * n
            h[j] += d0 * i + d1 * k + d2 * m + d3 * n
    else:
        for j in range(p.size):
            i, k, m, n = p[j], q[j], r[j], s[j]
            e[j] = a0 * i + a1 * k + a2 * m + a3 * n
            f[j] = b0 * i + b1 * k + b2 * m + b3 * n
            g[j] = c0 * i + c1 * k + c2 * m + c3 * n
            h[j] = d0 * i + d1 * k + d2 * m + d3 * n


@njit(**_OPTIONS)
def product(factors: Any, lines: Any, out: Any, add: Any) -> None:
    """Write ``factors @ lines`` or add it; lines are taken in fours, and what is left of `out` one by one."""
    count = out.shape[0]
    for k in range(0, count - _FOUR + 1, _FOUR):
        for m in range(0, lines.shape[0], _FOUR):
            _mixed(factors[k : k + _FOUR, m : m + _FOUR], lines[m : m + _FOUR], out[k : k + _FOUR], add or m > 0)
    for k in range(count - count % _FOUR, count):
        line = out[k]
        if not add:
            fill(np.float32(0), line)
        for m in range(lines.shape[0]):
            a, p = factors[k, m], lines[m]
            for j in range(line.size):
                line[j] += a * p[j]


@njit(**_OPTIONS)
def _row(
    u: Any,
    weight: Any,
    spans: Any,
    i: Any,
    e: Any,
    below: Any,
    near: Any,
    rx: Any,
    ry: Any,
    sums: Any,
    tiny: Any,
    periodic: Any,
) -> None:
    """Turn one row: `rx` has what is left of the row first. Beyond the span of a row nothing was measured."""
    height, width = u.shape
    low, high = spans[i, 0], spans[i, 1]
    beneath = i + 1 if i + 1 < height else 0
    if i + 1 < height or periodic:
        # Towards a pixel that was not measured there is no difference.
        for j in range(low, min(spans[beneath, 0], high)):
            below[j] = e[j]
        for j in range(max(spans[beneath, 1], low), high):
            below[j] = e[j]
    else:
        copy(e[low:high], below[low:high])
    e[high] = e[0] if periodic else e[high - 1]
    rx[0] = 0
    if low > 0 or high < width:
        none = np.float32(0)
        fill(none, rx[: low + 1])
        fill(none, rx[high + 1 :])
        fill(none, ry[:low])
        fill(none, ry[high:])
    if weight.size > 0:
        copy(weight[i], near[:width])
        near[width] = weight[i, 0] if periodic else 0
        under = weight[beneath]
        _turn_weighted(e, below, rx[1:], ry, sums[0], sums[1], tiny, near, under)
    else:
        _turn(
            e[low : high + 1],
            below[low:high],
            rx[low + 1 : high + 1],
            ry[low:high],
            sums[0, low:high],
            sums[1, low:high],
            tiny,
        )
    if periodic:
        rx[0] = rx[width]


@njit(**_OPTIONS)
def _window(spans: Any, start: Any, stop: Any) -> Any:
    """Return the first column that some row has pixels in, and the one after the last."""
    first, last = spans[start, 0], spans[start, 1]
    for i in range(start + 1, stop):
        first, last = min(first, spans[i, 0]), max(last, spans[i, 1])
    return first, last


@njit(**_OPTIONS)
def gradient(
    u: Any,
    weight: Any,
    spans: Any,
    local: Any,
    mix: Any,
    coefficients: Any,
    out: Any,
    rests: Any,
    rx: Any,
    ry: Any,
    terms: Any,
    found: Any,
    sums: Any,
    tiny: Any,
    every: Any,
    more: Any,
    periodic: Any,
) -> Any:
    """Write the slope of the sizes of all gradients to `out`; return their sum and that of one over them, all times `more`.

    Only every so many blocks of rows count. `weight` is empty where all pixels within the `spans` were measured. The
    stripes of a block are ``local[b] @ coefficients``, or ``local[0] @ mix[b] @ coefficients``.
    """
    height = u.shape[0]
    shared = mix.size > 0
    count = local.shape[2]
    out[:] = 0
    sums[:] = 0
    for block in range(0, (height + ROWS - 1) // ROWS, every):
        start = block * ROWS
        rows = local[0] if shared else local[block]
        stop = min(start + ROWS, height)
        if shared:
            product(mix[block], coefficients, terms, False)
        wave, sink = (terms, found) if shared else (coefficients, out)
        if shared:
            found[:] = 0
        width = u.shape[1]
        first, last = (0, width) if weight.size > 0 else _window(spans, start, stop)
        end = min(last + 1, width)
        for m in range(0, count, _FOUR):
            _rest(
                u[start],
                (rows[0, m], rows[0, m + 1], rows[0, m + 2], rows[0, m + 3]),
                wave[m : m + _FOUR],
                rests[0],
                m == 0,
            )
        ry[0] = 0
        for i in range(start, stop, _FOUR):
            k = i - start
            # Rows below the last are those of the top, or of no account.
            a, b = u[(i + 1) % height, first:end], u[(i + 2) % height, first:end]
            c, d = u[(i + 3) % height, first:end], u[(i + 4) % height, first:end]
            below = rests[1:5]
            _rests(a, b, c, d, rows[k + 1 : k + 5, :_FOUR], wave[:_FOUR], below, first, end)
            for m in range(_FOUR, count, _FOUR):
                _rests_more(rows[k + 1 : k + 5, m : m + _FOUR], wave[m : m + _FOUR], below, first, end)
            for n in range(_FOUR):
                if i + n < stop:
                    _row(
                        u,
                        weight,
                        spans,
                        i + n,
                        rests[n],
                        rests[n + 1],
                        rests[5],
                        rx[n],
                        ry[n + 1],
                        sums,
                        tiny,
                        periodic,
                    )
                else:
                    rx[n] = 0
                    ry[n + 1] = 0
            for m in range(0, count, _FOUR):
                _collect(rx, ry, rows[k : k + _FOUR, m : m + _FOUR], sink[m : m + _FOUR], first, last)
            copy(ry[_FOUR], ry[0])  # of fewer rows than four it has been collected
            copy(rests[_FOUR], rests[0])
        # What leaves through the last row enters through the one below.
        for m in range(count):
            line, share = sink[m], rows[stop - start, m]
            for j in range(width):
                line[j] += share * ry[0, j]
        if shared:
            product(mix[block].T, found, out, True)
    size, over = 0.0, 0.0
    for j in range(sums.shape[1]):
        size += np.float64(sums[0, j])
        over += np.float64(sums[1, j])
    if more != 1.0:
        for m in range(out.shape[0]):
            line = out[m]
            for j in range(line.size):
                line[j] *= np.float32(more)
    return size * more, over * more


@njit(**_OPTIONS)
def field(local: Any, mix: Any, coefficients: Any, terms: Any, out: Any) -> None:
    """Write the stripes themselves."""
    for start in range(0, out.shape[0], ROWS):
        stop, block = min(start + ROWS, out.shape[0]), start // ROWS
        if mix.size > 0:
            product(mix[block], coefficients, terms, False)
            product(local[0, : stop - start], terms, out[start:stop], False)
        else:
            product(local[block, : stop - start], coefficients, out[start:stop], False)
