"""Transform between two frames by matched features: SIFT or ORB, ratio test, consensus of the matches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d import device, kernels
from stack3d.operations._transform_affine import REFUSED, family

_MOST = 3000  # features kept of a frame, the strongest
_RATIO = 0.75  # a match must be this much nearer than the next best
_LEAST = 8  # matches that must agree, and one more for each parameter beside the displacement: fewer may by chance
_WORST = 5.0  # standard error of the corners, in binned pixels, above which a transform is refused
_RADIUS = 2.0  # binned pixels within which matches agree
_HYPOTHESES = 1000
_FLOOR = 0.02  # binned pixels, systematic error of a displacement


class FeaturePlan(NamedTuple):
    """Binning of the frames before features are sought, the detector, and what is fitted to the matches."""

    binning: int
    detector: str
    shape: tuple[int, int]
    model: str
    aspect: float
    regularization: float
    target: tuple[float, float, float, float]


class Features(NamedTuple):
    """Places (n, [y, x]) in pixels of the frame, and descriptors; None for a frame without any."""

    places: np.ndarray
    descriptors: np.ndarray | None


def plan(shape: tuple[int, int], settings: Any) -> FeaturePlan:
    """Return how features are sought in frames of a shape."""
    fitting = max(1, round((shape[0] * shape[1]) ** 0.5 / 1024))
    rest = settings.model, settings.aspect, settings.regularization, settings.target
    return FeaturePlan(settings.binning or fitting, settings.detector, shape, *rest)


def found(frame: Any, weight: np.ndarray | None, plan: FeaturePlan) -> Features:
    """Return the features of a frame, in an order that depends on nothing else."""
    import cv2

    cv2.setNumThreads(1)  # frames are treated in parallel already
    empty = Features(np.zeros((0, 2)), None)
    b = plan.binning
    pixels = device.to_host(frame)
    if min(pixels.shape) < 16 * b:
        return empty
    pixels = kernels.binning.bin_frame(pixels.astype(np.float32), b, b)
    known = np.isfinite(pixels)
    if not known.any():
        return empty
    low, high = np.percentile(pixels[known], (0.5, 99.5))
    if not high > low:
        return empty
    image = np.clip(np.where(known, pixels - low, 0) * (255 / (high - low)), 0, 255).astype(np.uint8)
    inside = known
    if weight is not None:
        inside = known & (kernels.binning.bin_frame(weight, b, b) > 0.5)
    create: Any = cv2.SIFT.create if plan.detector == "sift" else cv2.ORB.create
    points, descriptors = create(nfeatures=_MOST).detectAndCompute(
        image, None if inside.all() else inside.astype(np.uint8)
    )
    if descriptors is None or len(points) < 2:
        return empty
    places = np.array([point.pt[::-1] for point in points])
    order = np.lexsort((*descriptors.T[:4], places[:, 1], places[:, 0]))
    # Centre of a binned pixel, in pixels of the frame.
    return Features((places[order] + 0.5) * b - 0.5, descriptors[order])


def pair(first: Features, second: Features, plan: FeaturePlan) -> np.ndarray:
    """Return (dy, dx, quality, weight): of all matches, the displacement on which most agree.

    Every match (or every n-th of very many) is tried as the displacement of all, so nothing is left to chance.
    """
    refused = np.array([np.nan, np.nan, 0.0, 0.0])
    places, others = _matches(first, second, plan)
    matched = others - places
    if len(matched) < _LEAST:
        return refused
    radius = _RADIUS * plan.binning
    tried = matched[:: max(1, len(matched) // _HYPOTHESES)]
    near = np.sum((matched[None] - tried[:, None]) ** 2, axis=2) <= radius**2
    centre = tried[int(np.argmax(near.sum(axis=1)))]
    agree = np.zeros(len(matched), dtype=bool)
    for _ in range(5):
        agree = np.sum((matched - centre) ** 2, axis=1) <= radius**2
        if agree.sum() < _LEAST:
            return refused
        centre = matched[agree].mean(axis=0)
    variance = float(np.mean((matched[agree] - centre) ** 2)) / int(agree.sum())
    weight = 1 / (variance + (_FLOOR * plan.binning) ** 2)
    return np.array([centre[0], centre[1], float(agree.mean()), weight])


def pair_matrix(first: Features, second: Features, plan: FeaturePlan) -> np.ndarray:
    """Return (six entries of the matrix, quality, weight): the transform on which most matches agree.

    Samples are drawn by a generator of fixed seed.
    """
    places, others = _matches(first, second, plan)
    b = plan.binning
    found = kernels.consensus.agreement(
        places[:, ::-1],
        others[:, ::-1],
        plan.shape,
        family(plan.model),
        _RADIUS * b,
        aspect=plan.aspect,
        strength=plan.regularization,
        target=plan.target,
    )
    if found.agree.sum() < _LEAST + found.number - 2 or not found.corner < (_WORST * b) ** 2:
        return REFUSED
    weight = 1 / (found.variance + (_FLOOR * b) ** 2)
    return np.array([*found.matrix[:2].ravel(), float(found.agree.mean()), weight])


def _matches(first: Features, second: Features, plan: FeaturePlan) -> tuple[np.ndarray, np.ndarray]:
    """Return places (n, [y, x]) in both frames of features that are each other's best match, by a margin."""
    import cv2

    if first.descriptors is None or second.descriptors is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    matcher = cv2.BFMatcher(cv2.NORM_L2 if plan.detector == "sift" else cv2.NORM_HAMMING)
    both = matcher.knnMatch(first.descriptors, second.descriptors, k=2)
    clear = [one for one, *next_best in both if next_best and one.distance < _RATIO * next_best[0].distance]
    best: dict[int, Any] = {}
    for match in clear:
        if match.trainIdx not in best or match.distance < best[match.trainIdx].distance:
            best[match.trainIdx] = match
    pairs = np.array([[match.queryIdx, match.trainIdx] for match in best.values()], dtype=int).reshape(-1, 2)
    return first.places[pairs[:, 0]], second.places[pairs[:, 1]]
