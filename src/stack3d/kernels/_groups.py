"""Families of affine transforms, and their parameters about a centre.

A 3 x 3 matrix takes (x, y, 1). The parameters of a transform are those of its logarithm: they add up where matrices are
multiplied (to first order), and stay in the family. Parameters of the linear part are multiplied by a length, so that
all are displacements in pixels at that distance from the centre.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["MODELS", "exponential", "generators", "logarithm", "matrices", "moved", "parameters", "variances"]

# the six entries (xx, xy, x1, yx, yy, y1) that each parameter changes
_X, _Y = [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]
_TURN, _GROW = [0, -1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0]
_GROW_X, _GROW_Y = [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]
MODELS: dict[str, list[list[int]]] = {
    "translation": [_X, _Y],
    "rigid": [_X, _Y, _TURN],
    "similarity": [_X, _Y, _TURN, _GROW],
    "x_scale_shift": [_X, _Y, _GROW_X],
    "scale_shift": [_X, _Y, _GROW_X, _GROW_Y],
    "affine": [_X, _Y, _GROW_X, [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], _GROW_Y],
}


def generators(model: str, aspect: float = 1.0) -> np.ndarray[Any, Any]:
    """Return how the entries (xx, xy, x1, yx, yy, y1) of a matrix near 1 change with each parameter, (6, k).

    `aspect` is the height of a pixel in widths: a turn of the specimen shears pixels that are not square.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    if not aspect > 0:
        raise ValueError(f"aspect must be positive, got {aspect!r}")
    columns = [[0, -aspect, 0, 1 / aspect, 0, 0] if column is _TURN else column for column in MODELS[model]]
    return np.array(columns, dtype=np.float64).T


def moved(matrix: Any, centre: Any, scale: float = 1.0) -> np.ndarray[Any, Any]:
    """Return matrices (..., 3, 3) of pixels as matrices about a centre (x, y), in units of `scale` pixels."""
    to = np.array([[scale, 0, centre[0]], [0, scale, centre[1]], [0, 0, 1.0]])
    out: np.ndarray[Any, Any] = np.linalg.inv(to) @ np.asarray(matrix, dtype=np.float64) @ to
    return out


def exponential(algebra: Any) -> np.ndarray[Any, Any]:
    """Matrix exponential of (..., 3, 3), by scaling and squaring."""
    algebra = np.asarray(algebra, dtype=np.float64)
    size = float(np.abs(algebra[..., :2, :2]).max(initial=0.0))
    halvings = max(0, int(np.ceil(np.log2(max(size, 1e-300)))) + 5)
    small, term = algebra / 2.0**halvings, np.broadcast_to(np.eye(3), algebra.shape)
    out = np.array(term)
    for power in range(1, 11):
        term = term @ small / power
        out = out + term
    for _ in range(halvings):
        out = out @ out
    return out


def logarithm(matrix: Any) -> np.ndarray[Any, Any]:
    """Principal logarithm of affine matrices (..., 3, 3) that turn by less than half a circle."""
    root = np.array(matrix, dtype=np.float64)
    halvings = 0
    while float(np.abs(root[..., :2, :2] - np.eye(2)).max(initial=0.0)) > 0.1 and halvings < 8:
        root, halvings = _square_root(root), halvings + 1
    z = (root - np.eye(3)) @ np.linalg.inv(root + np.eye(3))
    square, term, out = z @ z, z, np.zeros_like(z)
    for power in range(1, 22, 2):
        out = out + term / power
        term = term @ square
    return out * 2.0 ** (halvings + 1)


def _square_root(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Denman and Beavers' iteration."""
    y, z = matrix, np.broadcast_to(np.eye(3), matrix.shape)
    for _ in range(12):
        y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
    return y


def parameters(matrix: Any, model: str, length: float, aspect: float = 1.0) -> np.ndarray[Any, Any]:
    """Parameters (..., k) in pixels of matrices (..., 3, 3) about the centre."""
    entries = logarithm(matrix)[..., :2, :].reshape(*np.shape(matrix)[:-2], 6)
    columns = generators(model, aspect)
    found: np.ndarray[Any, Any] = entries @ np.linalg.pinv(columns).T * _units(columns, length)
    return found


def matrices(values: Any, model: str, length: float, aspect: float = 1.0) -> np.ndarray[Any, Any]:
    """Matrices (..., 3, 3) about the centre from parameters (..., k) in pixels."""
    columns = generators(model, aspect)
    entries = (np.asarray(values, dtype=np.float64) / _units(columns, length)) @ columns.T
    algebra = np.zeros((*entries.shape[:-1], 3, 3))
    algebra[..., :2, :] = entries.reshape(*entries.shape[:-1], 2, 3)
    return exponential(algebra)


def _units(columns: np.ndarray[Any, Any], length: float) -> np.ndarray[Any, Any]:
    shift = np.abs(columns[[2, 5]]).sum(axis=0) > 0
    units: np.ndarray[Any, Any] = np.where(shift, 1.0, length)
    return units


def variances(covariance: Any, columns: Any, shape: tuple[int, int]) -> tuple[float, float]:
    """Variance of the displacement along one axis: mean over the frame, mean over its corners.

    `covariance` is that of parameters about the centre whose linear part was multiplied by half the mean side.
    """
    ny, nx = shape
    reach = np.array([nx, ny, 0.0]) / ((nx + ny) / 2)
    corner, mean = 0.0, 0.0
    for row in range(2):
        for sign in ((1, 1, 0), (1, -1, 0)):
            slope = (reach * sign + [0, 0, 1]) @ columns[3 * row : 3 * row + 3]
            corner += float(slope @ covariance @ slope) / 4
        for axis, size in enumerate((reach[0] ** 2 / 3, reach[1] ** 2 / 3, 1.0)):
            slope = columns[3 * row + axis]
            mean += float(slope @ covariance @ slope) * size / 2
    return mean, corner
