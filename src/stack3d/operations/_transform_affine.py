"""Affine transforms, and those of fewer parameters, between two frames: by their filtered images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d import kernels

REFUSED = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
REGULARIZED = "regularized_affine"


def family(model: str) -> str:
    """Return the family of matrices of a model."""
    return "affine" if model == REGULARIZED else model


class AffinePlan(NamedTuple):
    """A plan of the kernel, and what matrices are drawn to."""

    plan: Any
    regularization: float
    target: tuple[float, float, float, float]


def plan(shape: tuple[int, int], settings: Any) -> AffinePlan:
    """Return how frames are filtered and compared."""
    made = kernels.affine.plan(
        shape, family(settings.model), aspect=settings.aspect, band=settings.band, binning=settings.binning
    )
    return AffinePlan(made, settings.regularization, settings.target)


def filtered(frame: Any, weight: np.ndarray | None, plan: AffinePlan) -> Any:
    """Return what is kept of a frame."""
    from stack3d.operations._transform_ways import weighed

    return kernels.affine.prepare(frame if weight is None else weighed(frame, weight), plan.plan)


def pair(first: Any, second: Any, plan: AffinePlan) -> np.ndarray:
    """Return (six entries of the matrix, quality, weight) of a pair."""
    found = kernels.affine.pair(first, second, plan.plan)
    if not found.weight > 0:
        return REFUSED
    matrix = found.matrix
    if plan.regularization:
        rows, cols = plan.plan.shape
        centre = ((cols - 1) / 2, (rows - 1) / 2)
        matrix = kernels.affine.regularise(matrix, plan.regularization, plan.target, centre=centre)
    return np.array([*matrix[:2].ravel(), found.quality, found.weight])
