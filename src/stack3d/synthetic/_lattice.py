"""Random numbers fixed in space: what the specimen is at the points of a lattice, from a hash of where they lie."""

from __future__ import annotations

import math

import numba
import numpy as np

# Amplitude of a sum of hashed quadratic B-splines, so that a field has unit variance.
_UNIT = 4.26
# Part along z of the axis of a mitochondrion: nearly level, so that it grows and shrinks in place more than it moves.
LEAN = 0.2
_LEVEL = math.sqrt(1 - LEAN * LEAN)
_M1, _M2, _M3 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS = np.uint64(0x1FFFFF)
jit = numba.njit(cache=True, nogil=True, error_model="numpy")
inline = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@jit
def _hash(seed, plane, row, column):  # type: ignore[no-untyped-def]
    h = np.uint64(seed) * _M1
    h = (h ^ np.uint64(plane)) * _M2
    h = (h ^ (h >> np.uint64(29)) ^ np.uint64(row)) * _M3
    h = (h ^ (h >> np.uint64(31)) ^ np.uint64(column)) * _M2
    h = (h ^ (h >> np.uint64(30))) * _M3
    return h ^ (h >> np.uint64(32))


@jit
def _fraction(h, part):  # type: ignore[no-untyped-def]
    return np.float32(np.float64((h >> np.uint64(21 * part)) & _BITS) / 2097152.0)


@jit
def lattice(seed, z, row0, column0, rows, columns):  # type: ignore[no-untyped-def]
    """Coefficients of a field at height z (in lattice units), for a patch of lattice points."""
    out = np.zeros((rows, columns), np.float32)
    plane = math.floor(z + 0.5)
    t = z - plane
    weights = (0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2)
    for k in range(3):
        weight = np.float32(weights[k] * _UNIT)
        for i in range(rows):
            for j in range(columns):
                value = _fraction(_hash(seed, plane + k - 1, row0 + i, column0 + j), 0)
                out[i, j] += weight * (np.float32(2.0) * value - np.float32(1.0))
    return out


@jit
def cells(seed, z, size, row0, column0, rows, columns):  # type: ignore[no-untyped-def]
    """Seeds of the cells around a plane, (5, rows, columns, 8).

    Each is y, x, height over the plane, three chances and the direction (y, x) of what is in the cell.
    """
    out = np.empty((5, rows, columns, 8), np.float32)
    plane = math.floor(z / size)
    for k in range(5):
        for i in range(rows):
            for j in range(columns):
                a = _hash(seed, plane + k - 2, row0 + i, column0 + j)
                b = _hash(seed + 1, plane + k - 2, row0 + i, column0 + j)
                out[k, i, j, 0] = (row0 + i + 0.1 + 0.8 * _fraction(a, 0)) * size
                out[k, i, j, 1] = (column0 + j + 0.1 + 0.8 * _fraction(a, 1)) * size
                out[k, i, j, 2] = (plane + k - 2 + 0.1 + 0.8 * _fraction(a, 2)) * size - z
                out[k, i, j, 3] = _fraction(b, 0)
                out[k, i, j, 4] = _fraction(b, 1)
                out[k, i, j, 5] = _fraction(b, 2)
                turn = 2 * math.pi * _fraction(_hash(seed + 2, plane + k - 2, row0 + i, column0 + j), 0)
                out[k, i, j, 6], out[k, i, j, 7] = _LEVEL * math.sin(turn), _LEVEL * math.cos(turn)
    return out
