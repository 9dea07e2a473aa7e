"""Compiled loops of :mod:`stack3d.kernels.rings`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def cross_sums(a: Any, b: Any, index: Any, bins: int, columns: int) -> Any:
    """Return the sums of ``Re a conj(b)`` over the bins of the whole plane; `columns` is that of the plane."""
    inner, edge = np.zeros(bins + 1), np.zeros(bins + 1)
    last = a.shape[1] - 1
    stop = last if columns % 2 == 0 else last + 1
    for y in range(a.shape[0]):
        row_a, row_b, place = a[y], b[y], index[y]
        edge[place[0]] += _product(row_a[0], row_b[0])
        for x in range(1, stop):
            inner[place[x]] += _product(row_a[x], row_b[x])
        if stop == last and last > 0:
            edge[place[last]] += _product(row_a[last], row_b[last])
    return (edge + 2 * inner)[:bins]


@njit(nogil=True, cache=True, inline="always")
def _product(a: Any, b: Any) -> float:
    return np.float64(a.real) * np.float64(b.real) + np.float64(a.imag) * np.float64(b.imag)


@njit(nogil=True, cache=True)
def split_sums(half: Any, index: Any, bins: int, columns: int) -> Any:
    """Return the sums of the power, and of what pixel splitting takes for its noise, over the bins of the sub-plane."""
    rows = half.shape[0]
    sub_rows, sub_columns = index.shape
    sums = np.zeros((2, bins + 1))
    power, floor = sums[0], sums[1]
    middle = columns // 2
    for y in range(sub_rows):
        ky = y if y < (sub_rows + 1) // 2 else y - sub_rows
        same, mirrored = half[ky % rows], half[(-ky) % rows]
        shifted, both = half[(ky + rows // 2) % rows], half[(rows // 2 - ky) % rows]
        place = index[y]
        for x in range(sub_columns):
            weight = 1.0 if x == 0 or 2 * x == middle else 2.0
            other = middle - x
            k = place[x]
            power[k] += weight * _product(same[x], same[x])
            rest = _product(shifted[x], shifted[x])
            rest += _product(mirrored[other], mirrored[other])
            rest += _product(both[other], both[other])
            floor[k] += weight * (rest / 3)
    return sums[:, :bins]


@njit(nogil=True, cache=True)
def shell_sums(
    a: Any, b: Any, turn: Any, z: Any, y: Any, x: Any, step: float, shells: int, parts: int, even: bool
) -> Any:
    """Return the sums of ``Re turn a conj(b)``, ``|a|^2`` and ``|b|^2``, and the number, over shells of the whole space.

    z, y, x are the frequencies along the axes of the half-space; `turn` has one factor for each plane of z,
    0 for a plane to leave out.
    """
    sums = np.zeros((4, shells * parts))
    cross, power_a, power_b, number = sums[0], sums[1], sums[2], sums[3]
    last = x.size - 1
    for i in range(z.size):
        if turn[i] == 0:
            continue
        for j in range(y.size):
            for k in range(x.size):
                plane = np.sqrt(y[j] * y[j] + x[k] * x[k])
                shell = int(np.sqrt(plane * plane + z[i] * z[i]) / step + 0.5) - 1
                if shell < 0 or shell >= shells:
                    continue
                part = 0
                if parts > 1:
                    part = min(int(np.arctan2(abs(z[i]), plane) * (2 * parts / np.pi)), parts - 1)
                place = shell * parts + part
                weight = 1.0 if k == 0 or (even and k == last) else 2.0
                va, vb = np.complex128(a[i, j, k]), np.complex128(b[i, j, k])
                cross[place] += weight * (turn[i] * va * np.conj(vb)).real
                power_a[place] += weight * _product(va, va)
                power_b[place] += weight * _product(vb, vb)
                number[place] += weight
    return sums
