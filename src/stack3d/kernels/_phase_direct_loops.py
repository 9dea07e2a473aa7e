"""Compiled loops of :mod:`stack3d.kernels._phase_direct`: two small frames compared on what they both show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._phase_overlap_loops import correlation, digits, lag, lines, overlap, product

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_DROP = 0.15  # fall of the autocorrelation over which its curvature is measured
_WIDEST = 8  # longest such distance
_STEPS = 12
_LENIENT = _STEPS - 2  # step from which a maximum may lie a little nearer to another whole displacement
_FLOOR = 0.07  # error of a parabola through three neighbours of structure as fine as the pixels


@njit(**_OPTIONS)
def _width(a: Any, sums: Any, n: int, m: int) -> int:
    """Return the distance over which the autocorrelation falls a little."""
    longest = min(_WIDEST, min(n, m) // 4)
    for h in range(1, longest + 1):
        if (lag(a, sums, n, m, 0, h) + lag(a, sums, n, m, 1, h)) / 2 <= 1 - _DROP:
            return h
    return longest


@njit(**_OPTIONS)
def structures(a: Any, sums: Any, n: int, m: int) -> float:
    """Independent samples of a part: its pixels over the sum of its squared autocorrelation along each axis."""
    number = float(n * m)
    for axis in range(2):
        total = 1.0
        for k in range(1, (n, m)[axis] // 2):
            alike = lag(a, sums, n, m, axis, k)
            if alike < 0.1:
                break
            total += 2 * alike * alike
        number /= total
    return number


@njit(**_OPTIONS)
def stencil(a: Any, b: Any, of_a: Any, of_b: Any, n: int, m: int, h: int) -> Any:
    """Correlation at the nine displacements -h, 0, h, of the middle of each part with equally large ones of the other.

    `of_a` and `of_b` are the :func:`lines` of the parts.
    """
    middle_a, middle_b = _middle(a, n, m, h), _middle(b, n, m, h)
    in_a, in_b = _windows(a, of_a, n, m, h), _windows(b, of_b, n, m, h)
    stride, rows, cols = a.shape[1], n - 2 * h, m - 2 * h
    start, count = h * stride + h, rows * stride
    out = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            step = (i - 1) * h * stride + (j - 1) * h
            there = product(middle_a, b, start, start + step, count)
            back = product(middle_b, a, start, start - step, count)
            out[i, j] = correlation(there, in_a[1, 1], in_b[i, j], rows * cols) / 2
            out[i, j] += correlation(back, in_b[1, 1], in_a[2 - i, 2 - j], rows * cols) / 2
    return out


@njit(**_OPTIONS)
def _middle(a: Any, n: int, m: int, h: int) -> Any:
    """Digits of a part, 0 outside its middle."""
    out = np.zeros(a.shape, np.int16)
    for i in range(h, n - h):
        row, new = a[i, h : m - h], out[i, h : m - h]
        for j in range(row.size):
            new[j] = row[j]
    return out


@njit(**_OPTIONS)
def _windows(a: Any, sums: Any, n: int, m: int, h: int) -> Any:
    """Sums of the values and of their squares in the nine windows of a part that start at 0, h, 2 h along each axis."""
    rows, cols = n - 2 * h, m - 2 * h
    out = np.empty((3, 3, 2))
    for y in range(3):
        for x in range(3):
            # a band of rows and one of columns hold all but the corners, and the window twice
            corners: Any = (0, 0)
            s, ss = corners
            for i in range(2 * h):
                row = a[i if i < h * y else i + rows]
                for j in range(2 * h):
                    value = np.int64(row[j if j < h * x else j + cols])
                    s += value
                    ss += value * value
            for kind in range(2):
                down, across = sums[0, kind], sums[1, kind]
                band = down[h * y + rows] - down[h * y] + across[h * x + cols] - across[h * x]
                out[y, x, kind] = band - down[n] + (ss if kind else s)
    return out


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
def climbed(a: Any, b: Any, dy: float, dx: float, least: int, seen: Any, climb: int) -> Any:
    """Follow the correlation of two frames on their overlap to its maximum, cutting the overlap anew at each step.

    `seen` (2 rows, 2 columns of a frame) is the number of the climb, counted from 1, that cut the frames at a whole
    displacement first, negative ones from the end: what comes to such a place of an earlier climb goes on as that did,
    and is given up. The places of this climb are added to it.

    Returns
    -------
    (10,) array
        dy, dx, correlation, variance (y, x) of the displacement, by what the logarithm of the correlation bends
        (yy, yx, xx), the share of samples that are independent in what is left when one frame is taken from the other,
        and the independent samples of the first frame; the correlation is 0 where no maximum is reached.
    """
    out, places = np.zeros(10), np.zeros((_STEPS, 2), np.int64)
    iy, ix, step = round(dy), round(dx), 0
    while step < _STEPS:
        n, m = a.shape[0] - abs(iy), a.shape[1] - abs(ix)
        if min(n, m) < least or 0 < seen[iy, ix] < climb:
            return out
        seen[iy, ix] = climb
        if step < _LENIENT:
            places[step, 0], places[step, 1] = iy, ix
            for first in range(step):
                if places[first, 0] == iy and places[first, 1] == ix:
                    # it goes in circles: on to where it is when it ends
                    last = first + (_LENIENT - first) % (step - first)
                    iy, ix, step = places[last, 0], places[last, 1], _LENIENT
                    break
        n, m = a.shape[0] - abs(iy), a.shape[1] - abs(ix)
        one, two = overlap(a, b, iy, ix)
        of_one, of_two = lines(one, n, m), lines(two, n, m)
        h = _width(one, of_one, n, m)
        py, px, height, yy, yx, xx = _summit(stencil(one, two, of_one, of_two, n, m, h))
        # midway between two pixels either will do
        near = 0.5 if step < _LENIENT else 0.75
        if abs(py * h) > near or abs(px * h) > near:
            iy, ix, step = iy + round(py * h), ix + round(px * h), step + 1
            continue
        if not yy < 0:
            return out
        out[0], out[1], out[2] = iy + py * h, ix + px * h, min(height, 0.9999)
        scale = math.sqrt(of_one[0, 1, n] / max(of_two[0, 1, n], 1))
        out[8] = _independent(one, two, n, m, scale, py * h, px * h)
        known = max(out[8] * n * m, 1.0) / (h * h * (1 - out[2] ** 2))
        determinant = (yy * xx - yx * yx) * known
        floor = (_FLOOR / h**3) ** 2
        out[3], out[4] = -xx / determinant + floor, -yy / determinant + floor
        out[5], out[6], out[7] = yy / (h * h), yx / (h * h), xx / (h * h)
        out[9] = structures(one, of_one, n, m)
        return out
    return out


@njit(**_OPTIONS)
def _independent(a: Any, b: Any, n: int, m: int, scale: float, py: float, px: float) -> float:
    """Share of independent samples in what is left of a part when another is taken, moved by part of a pixel."""
    left, peak = np.zeros((n - 2, a.shape[1]), np.float32), np.zeros(m - 2, np.float32)
    factor, half_y, half_x = np.float32(scale), np.float32(py / 2), np.float32(px / 2)
    for i in range(n - 2):
        above, below, before, after = b[i, 1 : m - 1], b[i + 2, 1 : m - 1], b[i + 1, : m - 2], b[i + 1, 2:m]
        row, of_a, new = b[i + 1, 1 : m - 1], a[i + 1, 1 : m - 1], left[i]
        for j in range(m - 2):
            down = np.float32(np.int32(below[j]) - np.int32(above[j]))
            across = np.float32(np.int32(after[j]) - np.int32(before[j]))
            moved = np.float32(row[j]) + half_y * down + half_x * across
            new[j] = np.float32(of_a[j]) - factor * moved
        for j in range(m - 2):
            peak[j] = max(peak[j], abs(new[j]))
    rest = digits(left, peak.max())
    share, sums = 1.0, lines(rest, n - 2, m - 2)
    for axis in range(2):
        alike = min(max(lag(rest, sums, n - 2, m - 2, axis, 1), 0.0), 0.99)
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
