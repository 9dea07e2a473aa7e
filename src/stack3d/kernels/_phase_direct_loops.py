"""Compiled loops of :mod:`stack3d.kernels._phase_direct`: two small frames compared on what they both show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._phase_overlap_loops import digits, overlap

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_DROP = 0.15  # fall of the autocorrelation over which its curvature is measured
_WIDEST = 8  # longest such distance
_CLIMBS = 12
_FLOOR = 0.07  # error of a parabola through three neighbours of structure as fine as the pixels


@njit(**_OPTIONS)
def ncc(a: Any, b: Any, top: int, left: int, other_top: int, other_left: int, rows: int, cols: int) -> float:
    """Normalised correlation of a part of `a` with an equally large part of `b`, both as `digits` returns them."""
    total: Any = (0, 0, 0, 0, 0)
    s, t, ss, tt, st = total
    for i in range(rows):
        p, q = a[top + i, left : left + cols], b[other_top + i, other_left : other_left + cols]
        # of at most 500 pixels a row, so that 32 bits hold its sums
        row: Any = (np.int32(0), np.int32(0), np.int32(0), np.int32(0), np.int32(0))
        of_p, of_q, of_pp, of_qq, of_pq = row
        for j in range(cols):
            x, y = np.int32(p[j]), np.int32(q[j])
            of_p = np.int32(of_p + x)
            of_q = np.int32(of_q + y)
            of_pp = np.int32(of_pp + np.int32(x * x))
            of_qq = np.int32(of_qq + np.int32(y * y))
            of_pq = np.int32(of_pq + np.int32(x * y))
        s += of_p
        t += of_q
        ss += of_pp
        tt += of_qq
        st += of_pq
    number = rows * cols
    above, first, second = st - s * t / number, ss - s * s / number, tt - t * t / number
    return above / math.sqrt(first * second) if first > 0 and second > 0 else 0.0


@njit(**_OPTIONS)
def _width(a: Any, longest: int) -> int:
    """Return the distance over which the autocorrelation falls a little."""
    n, m = a.shape
    for h in range(1, longest + 1):
        down = ncc(a, a, 0, 0, h, 0, n - h, m)
        across = ncc(a, a, 0, 0, 0, h, n, m - h)
        if (down + across) / 2 <= 1 - _DROP:
            return h
    return longest


@njit(**_OPTIONS)
def structures(a: Any, b: Any, dy: int, dx: int) -> float:
    """Independent samples of an overlap: its pixels over the sum of its squared autocorrelation along each axis."""
    a, _ = overlap(a, b, dy, dx)
    n, m = a.shape
    number = float(n * m)
    for axis in range(2):
        total = 1.0
        for k in range(1, a.shape[axis] // 2):
            alike = ncc(a, a, 0, 0, k, 0, n - k, m) if axis == 0 else ncc(a, a, 0, 0, 0, k, n, m - k)
            if alike < 0.1:
                break
            total += 2 * alike * alike
        number /= total
    return number


@njit(**_OPTIONS)
def _stencil(a: Any, b: Any, h: int) -> Any:
    """Correlation at the nine displacements -h, 0, h, of the middle of each frame with parts of the other."""
    rows, cols = a.shape[0] - 2 * h, a.shape[1] - 2 * h
    of_a, of_b = _sums(a, h, rows, cols), _sums(b, h, rows, cols)
    out = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            y, x = h * i, h * j
            there = _normalised(_product(a, b, h, h, y, x, rows, cols), of_a[1, 1], of_b[i, j], rows * cols)
            y, x = 2 * h - y, 2 * h - x
            back = _normalised(_product(b, a, h, h, y, x, rows, cols), of_b[1, 1], of_a[2 - i, 2 - j], rows * cols)
            out[i, j] = (there + back) / 2
    return out


@njit(**_OPTIONS)
def _sums(a: Any, h: int, rows: int, cols: int) -> Any:
    """Sums of the values, and of their squares, in the nine parts of a frame that start at 0, h, 2 h."""
    out = np.zeros((3, 3, 2))
    for i in range(a.shape[0]):
        for j in range(3):
            line = a[i, h * j : h * j + cols]
            row: Any = (np.int32(0), np.int32(0))
            s, ss = row
            for x in range(cols):
                value = np.int32(line[x])
                s = np.int32(s + value)
                ss = np.int32(ss + np.int32(value * value))
            for k in range(3):
                if h * k <= i < h * k + rows:
                    out[k, j, 0] += s
                    out[k, j, 1] += ss
    return out


@njit(**_OPTIONS)
def _product(a: Any, b: Any, top: int, left: int, other_top: int, other_left: int, rows: int, cols: int) -> Any:
    total: Any = 0
    for i in range(rows):
        p, q = a[top + i, left : left + cols], b[other_top + i, other_left : other_left + cols]
        row: Any = np.int32(0)
        for j in range(cols):
            row = np.int32(row + np.int32(np.int32(p[j]) * np.int32(q[j])))
        total += row
    return total


@njit(**_OPTIONS)
def _normalised(product: Any, of_a: Any, of_b: Any, number: int) -> float:
    first, second = of_a[1] - of_a[0] * of_a[0] / number, of_b[1] - of_b[0] * of_b[0] / number
    above = product - of_a[0] * of_b[0] / number
    return above / math.sqrt(first * second) if first > 0 and second > 0 else 0.0


@njit(**_OPTIONS)
def _summit(values: Any) -> Any:
    """Place and height of the maximum of nine values, in steps, and the second derivatives of their logarithm there."""
    v = np.log(np.maximum(values, 1e-3))
    gy, gx = (v[2, 1] - v[0, 1]) / 2, (v[1, 2] - v[1, 0]) / 2
    yy, xx = v[2, 1] + v[0, 1] - 2 * v[1, 1], v[1, 2] + v[1, 0] - 2 * v[1, 1]
    yx = (v[2, 2] + v[0, 0] - v[2, 0] - v[0, 2]) / 4
    determinant = yy * xx - yx * yx
    hill = yy < 0 and xx < 0 and determinant > 1e-3 * yy * xx
    if hill:
        py, px = -(xx * gy - yx * gx) / determinant, -(yy * gx - yx * gy) / determinant
        hill = abs(py) <= 1 and abs(px) <= 1
        if hill:
            return py, px, math.exp(v[1, 1] + (gy * py + gx * px) / 2), yy, yx, xx
    best = 4
    for k in range(9):
        if v[k // 3, k % 3] > v[best // 3, best % 3]:
            best = k
    return best // 3 - 1.0, best % 3 - 1.0, values[best // 3, best % 3], 0.0, 0.0, 0.0


@njit(**_OPTIONS)
def climbed(a: Any, b: Any, dy: float, dx: float, least: int) -> Any:
    """Follow the correlation of two frames on their overlap to its maximum, cutting the overlap anew at each step.

    Returns
    -------
    (11,) array
        dy, dx, correlation, variance (y, x) of the displacement, by what the logarithm of the correlation bends
        (yy, yx, xx), the share of samples that are independent in what is left when one frame is taken from the other,
        and the displacement (y, x) in whole pixels at which the frames were cut; the correlation is 0 where no maximum
        is reached.
    """
    out = np.zeros(11)
    iy, ix = round(dy), round(dx)
    for climb in range(_CLIMBS):
        if min(a.shape[0] - abs(iy), a.shape[1] - abs(ix)) < least:
            return out
        one, two = overlap(a, b, iy, ix)
        h = _width(one, min(_WIDEST, min(one.shape) // 4))
        py, px, height, yy, yx, xx = _summit(_stencil(one, two, h))
        # midway between two pixels either will do
        near = 0.5 if climb < _CLIMBS - 2 else 0.75
        if abs(py * h) > near or abs(px * h) > near:
            iy, ix = iy + round(py * h), ix + round(px * h)
            continue
        if not yy < 0:
            return out
        out[0], out[1], out[2] = iy + py * h, ix + px * h, min(height, 0.9999)
        out[8] = _independent(one, two, py * h, px * h)
        known = max(out[8] * one.size, 1.0) / (h * h * (1 - out[2] ** 2))
        determinant = (yy * xx - yx * yx) * known
        floor = (_FLOOR / h**3) ** 2
        out[3], out[4] = -xx / determinant + floor, -yy / determinant + floor
        out[5], out[6], out[7] = yy / (h * h), yx / (h * h), xx / (h * h)
        out[9], out[10] = iy, ix
        return out
    return out


@njit(**_OPTIONS)
def _independent(a: Any, b: Any, py: float, px: float) -> float:
    """Share of independent samples in what is left when one frame is taken from the other, moved by part of a pixel."""
    n, m = a.shape[0] - 2, a.shape[1] - 2
    left = np.empty((n, m), np.float32)
    squares = _product(a, a, 0, 0, 0, 0, *a.shape) / max(_product(b, b, 0, 0, 0, 0, *b.shape), 1)
    scale, half_y, half_x = np.float32(math.sqrt(squares)), np.float32(py / 2), np.float32(px / 2)
    for i in range(n):
        above, row, below, of_a = b[i], b[i + 1], b[i + 2], a[i + 1]
        for j in range(m):
            down = np.float32(np.int32(below[j + 1]) - np.int32(above[j + 1]))
            across = np.float32(np.int32(row[j + 2]) - np.int32(row[j]))
            left[i, j] = np.float32(of_a[j + 1]) - scale * (np.float32(row[j + 1]) + half_y * down + half_x * across)
    share, rest = 1.0, digits(left)
    for axis in range(2):
        dy, dx = 1 - axis, axis
        alike = min(max(ncc(rest, rest, 0, 0, dy, dx, n - dy, m - dx), 0.0), 0.99)
        share *= (1 - alike) / (1 + alike)
    return share


@njit(**_OPTIONS)
def coherent(coherence: Any, counts: Any, ring: Any) -> float:
    """Coefficients of a band, each counted by the squared coherence of its ring."""
    total = 0.0
    for c in range(counts.size):
        total += counts[c] * coherence[ring[c]] ** 2
    return total


@njit(**_OPTIONS)
def fall(power: Any, counts: Any, axis: Any, ring: Any, rings: int) -> float:
    """Power of the outermost ring to that of the strongest, away from the axes; infinite where there is no ring."""
    total, number = np.zeros(rings), np.zeros(rings)
    for c in range(counts.size):
        if not axis[c]:
            total[ring[c]] += counts[c] * np.float64(power[c])
            number[ring[c]] += counts[c]
    last, most = np.inf, 0.0
    for r in range(rings):
        if number[r] > 0:
            last = total[r] / max(number[r], 1.0)
            most = max(most, last)
    return last / most if most > 0 else np.inf


@njit(**_OPTIONS)
def normalised(product: Any, a: Any, b: Any, share: float) -> Any:
    """Divide a correlation by the spread of both frames on the overlap; 0 where the overlap is less than a share.

    `product` (n + ..., m + ...) is periodic: displacement (dy, dx) at ``product[dy, dx]``, negative ones from the end.
    """
    n, m = a.shape
    sums = np.zeros((4, n + 1, m + 1))
    for i in range(n):
        line = np.zeros(4)
        for j in range(m):
            line[0] += a[i, j]
            line[1] += a[i, j] * a[i, j]
            line[2] += b[i, j]
            line[3] += b[i, j] * b[i, j]
            for k in range(4):
                sums[k, i + 1, j + 1] = sums[k, i, j + 1] + line[k]
    out = np.zeros(product.shape, np.float32)
    for dy in range(1 - n, n):
        rows, top = n - abs(dy), max(0, -dy)
        for dx in range(1 - m, m):
            cols, left = m - abs(dx), max(0, -dx)
            number = rows * cols
            if number < share * n * m:
                continue
            y, x = dy % product.shape[0], dx % product.shape[1]
            s, ss = _box(sums[0], top, left, rows, cols), _box(sums[1], top, left, rows, cols)
            t = _box(sums[2], top + dy, left + dx, rows, cols)
            tt = _box(sums[3], top + dy, left + dx, rows, cols)
            first, second = ss - s * s / number, tt - t * t / number
            if first > 0 and second > 0:
                out[y, x] = (product[y, x] - s * t / number) / math.sqrt(first * second)
    return out


@njit(**_OPTIONS)
def _box(table: Any, top: int, left: int, rows: int, cols: int) -> float:
    below, right = top + rows, left + cols
    return float(table[below, right] - table[top, right] - table[below, left] + table[top, left])
