"""Affine transform between two frames, by least squares on filtered images.

A frame is prepared once (:func:`prepare`): binned, freed of stripes and slopes, transformed, whitened in cells of its
band (see :mod:`stack3d.kernels.phase`), and transformed back at several sizes. A pair (:func:`pair`) begins with the
displacement from the two spectra, then goes through the images from coarse to fine by Gauss-Newton steps, inverse
compositional [1]_: the slopes and the Hessian belong to the first frame and are never made again. A gain is fitted,
large differences are limited. Then the coherence of the aligned frames is learned, both are filtered with its
maximum-likelihood weights, and the last steps are done on these. The scatter of the steps asked for by blocks of the
frame gives the error.

References
----------
.. [1] S. Baker and I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", Int. J. Comput. Vis. 56, 221 (2004).
   doi:10.1023/B:VISI.0000011205.11775.fd
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _affine_loops as loops
from stack3d.kernels import _groups as groups
from stack3d.kernels import _phase_arrays, phase
from stack3d.kernels import _phase_frame_loops as frame_loops
from stack3d.kernels._affine_fit import (
    CLIP,
    PAD,
    Match,
    Prepared,
    follow,
    image_of,
    judged,
    overlap,
    start,
    transformed,
    weighed,
)
from stack3d.kernels._affine_plan import SMALLEST, Geometry, Plan, centre, geometry_of, plan
from stack3d.kernels._namespace import namespace
from stack3d.kernels._phase_fit import SIGNIFICANCE, PairShift
from stack3d.kernels._phase_plan import tables_of

__all__ = ["MODELS", "Pair", "Plan", "Prepared", "pair", "plan", "prepare", "regularise"]

MODELS = tuple(groups.MODELS)
_FINEST = 0.36  # highest frequency of an image, in cycles per pixel of that image
_EXTRA = 1.5  # deviations above chance asked for with each parameter of the linear part
_FLOOR = 0.01  # systematic part of the error, in binned pixels


class Pair(NamedTuple):
    """Transform from a first to a second frame.

    Attributes
    ----------
    matrix : numpy.ndarray
        (3, 3): takes (x, y, 1) of what lies there in the first frame to where it lies in the second. The identity for a
        refused pair.
    weight : float
        1 / (mean variance, over the frame, of the displacement along one axis), in 1 / pixel^2; 0 for a refused pair.
    quality : float
        Correlation of the aligned, half-whitened frames, from 0 to 1.
    refused : str
        Why the pair is refused; empty for a good pair.
    error : float
        Estimated standard error of the displacement of the corners, along one axis, in pixels; infinite if refused.
    covariance : numpy.ndarray
        (k, k) covariance of the parameters of the model about the centre, those of the linear part multiplied by half
        the mean side: all in pixels^2.
    significance : float
        Deviations by which the coherence of the aligned frames stands above chance.
    """

    matrix: np.ndarray[Any, Any]
    weight: float
    quality: float
    refused: str
    error: float
    covariance: np.ndarray[Any, Any]
    significance: float


def prepare(frame: Any, plan: Plan) -> Prepared:
    """Filter a frame at several sizes.

    Parameters
    ----------
    frame : array
        (y, x) of any real dtype. Missing pixels (NaN, infinite) are filled smoothly. Of a cupy array, the binned frame is
        brought to the host.
    plan : Plan
        From :func:`plan`, for frames of this shape.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        If the frame does not have the shape of the plan.
    """
    if tuple(frame.shape) != plan.shape:
        raise ValueError(f"frame must have the shape of the plan, {plan.shape}, got {tuple(frame.shape)}")
    if frame.dtype.kind not in "buif":
        raise TypeError(f"frame must hold real numbers, got dtype {frame.dtype}")
    t = geometry_of(plan)
    edge, inner = tables_of(t.edge), tables_of(plan.spectrum)
    size, cells = int(edge.start[-1]), edge.counts.size
    empty = phase.Spectrum(np.zeros((2, size), np.float32), np.zeros(cells, np.float32), False)
    if not t.usable:
        return Prepared(empty, empty, np.zeros(edge.binned, np.float32), (), ())
    binned, smallest, _ = phase.binned_frame(frame, plan.spectrum.binning, edge, namespace(frame) is np)
    if binned is None:
        return Prepared(empty, empty, np.zeros(edge.binned, np.float32), (), ())
    residual, deviation = frame_loops.flatten(_phase_arrays.to_host(binned), edge.trend_y, edge.trend_x)
    if not deviation > smallest:
        return Prepared(empty, empty, np.zeros(edge.binned, np.float32), (), ())
    residual = np.clip(residual / np.float32(deviation), -CLIP, CLIP, dtype=np.float32)
    wide = transformed(residual, edge.window_y, edge.window_x, edge)
    near = transformed(residual, inner.window_y, inner.window_x, inner)
    power = np.sqrt(np.sqrt(wide.power / max(float(wide.power.max()), 1e-300)))
    images, hessians = [], []
    for grid, shape, box, place in zip(t.grids, t.sizes, t.boxes, t.frames):
        finest = _FINEST * grid[0] / t.grids[-1][0]
        image = image_of(wide, np.where(t.frequency <= finest * 1.02, power, 0), grid, shape, edge)
        images.append(image)
        hessians.append(loops.hessian(image, box, place))
    return Prepared(wide, near, np.pad(residual, PAD, mode="symmetric"), tuple(images), tuple(hessians))


def pair(first: Prepared, second: Prepared, plan: Plan, *, guess: Any = None) -> Pair:
    """Transform of the content from a first to a second frame.

    Parameters
    ----------
    first, second : Prepared
        From :func:`prepare`, with the same plan.
    plan : Plan
        The plan of both.
    guess : (3, 3) array, optional
        A matrix near the one looked for, to within a few pixels and degrees: tried beside what the spectra suggest.

    Returns
    -------
    Pair
        Refused (``weight == 0``) when a frame is unusable, the aligned frames do not agree beyond chance, or two bands
        of their spectra disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from stack3d.kernels import affine
    >>> frame = np.random.default_rng(1).random((128, 128))
    >>> plan = affine.plan(frame.shape, "similarity")
    >>> one, other = affine.prepare(frame, plan), affine.prepare(np.roll(frame, (3, -2), axis=(0, 1)), plan)
    >>> found = affine.pair(one, other, plan)
    >>> found.matrix.round(1) + 0.0, found.refused
    (array([[ 1.,  0., -2.],
           [ 0.,  1.,  3.],
           [ 0.,  0.,  1.]]), '')
    """
    t = geometry_of(plan)
    if not (first.spectrum.usable and second.spectrum.usable):
        which = "first" if not first.spectrum.usable else "second"
        return _refusal(f"the {which} frame holds nothing to compare", plan)
    best = start(first, second, plan, guess, t)
    last = len(t.sizes) - 1
    for level in range(1, len(t.sizes)):
        images = first.images[level], second.images[level]
        steps, tolerance = (8, 0.1) if level < last else (8, 0.05)
        best = follow(*images, first.hessians[level], best.transform, best.gain, steps, level, t, tolerance)
    verdict, weight, other = judged(first, second, best, plan, t)
    if verdict.extra.refused:
        return _refusal(verdict.extra.refused, plan, verdict)
    # every parameter beside the displacement is a chance more to agree by chance
    if verdict.extra.significance < SIGNIFICANCE + _EXTRA * (t.columns.shape[1] - 2):
        return _refusal("no transform stands out from chance", plan, verdict)
    box = overlap(best.transform, t)
    if min(box[1] - box[0], box[3] - box[2]) < SMALLEST // 2:
        return _refusal("the frames do not overlap", plan, verdict)
    inside = np.ascontiguousarray(first.residual[PAD:-PAD, PAD:-PAD])
    a, b = (weighed(residual, weight, box, t) for residual in (inside, other))
    rest = follow(a, b, loops.hessian(a, box, t.frames[-1]), np.eye(3), best.gain, 8, last, t, 0.002, box)
    if not rest.correlation > 0:
        return _refusal("the frames do not overlap", plan, verdict)
    best = rest._replace(transform=best.transform @ rest.transform)
    return _result(best, verdict, plan, t)


def _pixels(transform: np.ndarray[Any, Any], plan: Plan, t: Geometry) -> np.ndarray[Any, Any]:
    unit, (x, y) = t.half * plan.spectrum.binning, centre(plan)
    to = np.array([[unit, 0, x], [0, unit, y], [0, 0, 1.0]])
    out: np.ndarray[Any, Any] = to @ transform @ np.linalg.inv(to)
    out[2] = 0, 0, 1
    return out


def _result(best: Match, verdict: PairShift, plan: Plan, t: Geometry) -> Pair:
    inverse = np.linalg.inv(best.normal) / best.share
    pieces = best.scores[:, :6] @ t.columns
    pieces = pieces - pieces.mean(axis=0)
    number = int((best.scores[:, 9] > 0).sum())
    covariance = inverse @ (pieces.T @ pieces) @ inverse * (number / max(number - len(inverse) - 1, 1))
    covariance = (covariance + covariance.T) / 2 * (t.half * plan.spectrum.binning) ** 2
    mean, corner = groups.variances(covariance, t.columns, plan.shape)
    floor = (_FLOOR * plan.spectrum.binning) ** 2
    return Pair(
        _pixels(best.transform, plan, t),
        1 / (mean + floor),
        verdict.quality,
        "",
        math.sqrt(corner + floor),
        covariance,
        verdict.extra.significance,
    )


def _refusal(why: str, plan: Plan, verdict: PairShift | None = None) -> Pair:
    number = groups.generators(plan.model).shape[1]
    quality, significance = (0.0, 0.0) if verdict is None else (verdict.quality, verdict.extra.significance)
    return Pair(np.eye(3), 0.0, quality, why, np.inf, np.full((number, number), np.inf), significance)


def regularise(
    matrix: Any,
    strength: float,
    target: Any = (1.0, 0.0, 0.0, 1.0),
    n: float = 1.0,
    *,
    centre: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray[Any, Any]:
    """Draw the linear part of affine matrices towards a target; the displacement of a centre stays.

    With points spread evenly about the centre and normalised to a mean square of 1 along each axis, this is the ridge
    regression of the linear part with `strength` on each of the four entries, per `n` points.

    Parameters
    ----------
    matrix : (..., 3, 3) array
        They take (x, y, 1).
    strength : float or (4,) array
        0 keeps the matrix, 1 (with ``n=1``) goes half the way, infinity all the way.
    target : (4,) array
        Entries (xx, xy, yx, yy) drawn to.
    n : float, default 1
        The strength is divided by it: the number of measurements, where more of them shall be drawn less.
    centre : tuple of float
        Place (x, y) whose displacement stays.

    Returns
    -------
    (..., 3, 3) array

    Raises
    ------
    ValueError
        If `strength` is negative or `n` is not positive.

    Examples
    --------
    >>> from stack3d.kernels import affine
    >>> affine.regularise([[1.2, 0, 5], [0, 1, 0], [0, 0, 1]], 1.0)[0]
    array([1.1, 0. , 5. ])
    """
    out, force = np.array(matrix, dtype=np.float64), np.asarray(strength, dtype=np.float64)
    if not (force >= 0).all():
        raise ValueError(f"strength must not be negative, got {force.tolist()}")
    if not n > 0:
        raise ValueError(f"n must be positive, got {n!r}")
    place = np.array([centre[0], centre[1]], dtype=np.float64)
    kept = (1 / (1 + np.broadcast_to(force / n, 4))).reshape(2, 2)
    linear = out[..., :2, :2]
    drawn = kept * linear + (1 - kept) * np.asarray(target, dtype=np.float64).reshape(2, 2)
    out[..., :2, 2] += (linear - drawn) @ place
    out[..., :2, :2] = drawn
    return out
