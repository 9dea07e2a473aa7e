"""Affine transforms from matched points, some of which are wrong: consensus of random samples, then least squares.

Points are (n, [x, y]). The samples are drawn by a fixed generator, so the same points give the same result to the bit
[1]_. A sample has as many points as the model needs and no more; the transform on which most points agree is fitted to
all that agree, again and again until they no longer change.

References
----------
.. [1] M. Fischler and R. Bolles, "Random sample consensus", Commun. ACM 24, 381 (1981). doi:10.1145/358669.358692
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _groups as groups

__all__ = ["SAMPLE", "Agreement", "agreement", "fit"]

SAMPLE = {"translation": 1, "rigid": 2, "similarity": 2, "x_scale_shift": 2, "scale_shift": 2, "affine": 3}
_HYPOTHESES = 1000
_VOTERS = 400  # matches, at most, that vote for a hypothesis
_ROUNDS = 20
_FAR = 0.5  # entries of the linear part further than this from those of 1 are not believed
Array = np.ndarray[Any, Any]


class Agreement(NamedTuple):
    """The transform on which most matches agree.

    Attributes
    ----------
    matrix : numpy.ndarray
        (3, 3): takes (x, y, 1) of the first points to the second ones.
    agree : numpy.ndarray
        (n,) bool: matches within `radius` of it.
    variance : float
        Mean over the frame of the variance of the displacement along one axis, in pixels^2, from the scatter of the
        matches that agree; infinite where they do not determine it.
    corner : float
        The same at the corners of the frame.
    number : int
        Parameters of the model.
    """

    matrix: Array
    agree: Array
    variance: float
    corner: float
    number: int


def fit(
    first: Any, second: Any, model: str, *, aspect: float = 1.0, strength: Any = 0.0, target: Any = (1.0, 0.0, 0.0, 1.0),
    square: tuple[float, float] = (1.0, 1.0),
) -> Array:  # fmt: skip
    """Transform of the model that takes first points nearest to second ones, in the sense of least squares.

    Parameters
    ----------
    first, second : (..., n, 2) array
        Points (x, y) in pixels; the leading dims are fits of their own.
    model : str
        One of `SAMPLE`.
    aspect : float, default 1
        Height of a pixel, in widths.
    strength : float or (4,) array, default 0
        For ``model="affine"``: ridge regression [1]_ of the linear part about the centroid towards `target`. The normal
        equations are divided by the number of points, so that more points do not weaken it; points that fill a frame
        evenly are drawn by ``strength / (1 + strength)`` of the way.
    target : (4,) array
        Entries (xx, xy, yx, yy) drawn to.
    square : tuple of float
        Mean square (x, y) of points about the centre of the frame, in pixels^2: what `strength` is measured against.

    Returns
    -------
    (..., 3, 3) array
        Not finite where the points do not determine it.

    References
    ----------
    .. [1] A. Hoerl and R. Kennard, "Ridge regression", Technometrics 12, 55 (1970). doi:10.1080/00401706.1970.10488634

    Examples
    --------
    >>> from stack3d.kernels import consensus
    >>> points = np.array([[0.0, 0], [10, 0], [0, 10]])
    >>> consensus.fit(points, 1.1 * points + [3, 4], "similarity").round(6) + 0.0
    array([[1.1, 0. , 3. ],
           [0. , 1.1, 4. ],
           [0. , 0. , 1. ]])
    """
    groups.generators(model, aspect)
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    middle, other = first.mean(axis=-2), second.mean(axis=-2)
    u, v = first - middle[..., None, :], second - other[..., None, :]
    out = np.zeros((*middle.shape[:-1], 3, 3))
    out[..., 2, 2] = 1.0
    # A sample of points in one place, or on one line, determines nothing.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        out[..., :2, :2] = _linear(u, v, model, aspect, strength, target, square)
        out[..., :2, 2] = other - (out[..., :2, :2] * middle[..., None, :]).sum(axis=-1)
    return out


def _linear(u: Array, v: Array, model: str, aspect: float, strength: Any, target: Any, square: Any) -> Array:
    linear = np.broadcast_to(np.eye(2), (*u.shape[:-2], 2, 2)).copy()
    if model in ("rigid", "similarity"):
        ux, uy, vx, vy = u[..., 0], u[..., 1] * aspect, v[..., 0], v[..., 1] * aspect
        along, across = (ux * vx + uy * vy).sum(axis=-1), (ux * vy - uy * vx).sum(axis=-1)
        size = np.hypot(along, across) if model == "rigid" else (ux**2 + uy**2).sum(axis=-1)
        cos, sin = along / size, across / size
        linear[..., 0, 0] = linear[..., 1, 1] = cos
        linear[..., 0, 1], linear[..., 1, 0] = -sin * aspect, sin / aspect
    elif model in ("x_scale_shift", "scale_shift"):
        for axis in range(1 if model == "x_scale_shift" else 2):
            linear[..., axis, axis] = (u[..., axis] * v[..., axis]).sum(axis=-1) / (u[..., axis] ** 2).sum(axis=-1)
    elif model == "affine":
        count = u.shape[-2]
        same, cross = np.swapaxes(u, -1, -2) @ u / count, np.swapaxes(v, -1, -2) @ u / count
        force = np.broadcast_to(np.asarray(strength, np.float64), 4).reshape(2, 2) * np.asarray(square)
        pulled = cross + force * np.asarray(target, np.float64).reshape(2, 2)
        for row in range(2):
            xx, yy, xy = same[..., 0, 0] + force[row, 0], same[..., 1, 1] + force[row, 1], same[..., 0, 1]
            determinant = xx * yy - xy * xy
            linear[..., row, 0] = (pulled[..., row, 0] * yy - pulled[..., row, 1] * xy) / determinant
            linear[..., row, 1] = (pulled[..., row, 1] * xx - pulled[..., row, 0] * xy) / determinant
    return linear


def agreement(
    first: Any, second: Any, shape: tuple[int, int], model: str, radius: float, *, aspect: float = 1.0,
    strength: Any = 0.0, target: Any = (1.0, 0.0, 0.0, 1.0),
) -> Agreement:  # fmt: skip
    """Transform on which most matches agree.

    Parameters
    ----------
    first, second : (n, 2) array
        Matched points (x, y) in pixels.
    shape : tuple of int
        Shape (y, x) of the frame.
    model : str
        One of `SAMPLE`.
    radius : float
        Pixels within which matches agree.
    aspect, strength, target
        As in :func:`fit`. No sample is drawn to the target, only the result.

    Returns
    -------
    Agreement

    Examples
    --------
    >>> from stack3d.kernels import consensus
    >>> points = np.random.default_rng(0).uniform(0, 99, (40, 2))
    >>> wrong = np.arange(40) < 15
    >>> moved = points + np.where(wrong[:, None], 30 * np.random.default_rng(1).normal(size=(40, 2)), (2.0, 5.0))
    >>> found = consensus.agreement(points, moved, (100, 100), "affine", 1.0)
    >>> found.matrix.round(6)[:2, 2], int(found.agree.sum())
    (array([2., 5.]), 25)
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    columns, count, needed = groups.generators(model, aspect), len(first), SAMPLE[model]
    nothing = Agreement(np.eye(3), np.zeros(count, bool), np.inf, np.inf, columns.shape[1])
    if count < needed:
        return nothing
    picks = np.random.default_rng(0).integers(0, count, (_HYPOTHESES, needed))
    if needed == 1:
        picks = np.unique(picks, axis=0)
    tried = fit(first[picks], second[picks], model, aspect=aspect)
    tried = tried[_believed(tried)]
    if not len(tried):
        return nothing
    voters = slice(None, None, -(-count // _VOTERS))
    votes = _near(first[voters], second[voters], tried, radius).sum(axis=1)
    options: dict[str, Any] = {"aspect": aspect}
    if model == "affine":
        square = ((shape[1] ** 2 - 1) / 12, (shape[0] ** 2 - 1) / 12)
        options |= {"strength": strength, "target": target, "square": square}
    matrix = tried[int(np.argmax(votes))]
    agree = _near(first, second, matrix[None], radius)[0]
    for _ in range(_ROUNDS):
        if agree.sum() < needed:
            return nothing
        matrix = fit(first[agree], second[agree], model, **options)
        if not _believed(matrix):
            return nothing
        before, agree = agree, _near(first, second, matrix[None], radius)[0]
        if np.array_equal(before, agree):
            break
    left = second[agree] - (first[agree] @ matrix[:2, :2].T + matrix[:2, 2])
    return Agreement(matrix, agree, *_variances(first[agree], left, columns, shape), columns.shape[1])


def _believed(matrices: Array) -> Array:
    far = np.abs(matrices[..., :2, :2] - np.eye(2)).max(axis=(-1, -2))
    return np.asarray(np.isfinite(matrices).all(axis=(-1, -2)) & (far < _FAR))


def _near(first: Array, second: Array, matrices: Array, radius: float) -> Array:
    m = matrices[:, :, :, None]
    x, y = first.T
    across = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2] - second[:, 0]
    down = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2] - second[:, 1]
    return np.asarray(across**2 + down**2 <= radius**2)


def _variances(first: Array, left: Array, columns: Array, shape: tuple[int, int]) -> tuple[float, float]:
    count, number = len(first), columns.shape[1]
    if 2 * count <= number:
        return np.inf, np.inf
    place = (first - [(shape[1] - 1) / 2, (shape[0] - 1) / 2]) / ((shape[0] + shape[1]) / 4)
    place = np.concatenate([place, np.ones((count, 1))], axis=1)
    normal = sum((rows := place @ columns[3 * axis : 3 * axis + 3]).T @ rows for axis in range(2))
    if np.linalg.cond(normal) > 1e12:
        return np.inf, np.inf
    scatter = float((left**2).sum() / (2 * count - number))
    return groups.variances(np.linalg.inv(normal) * scatter, columns, shape)
