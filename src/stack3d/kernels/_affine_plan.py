"""How frames are compared for affine transforms: the plan of a stack, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _groups as groups
from stack3d.kernels import phase
from stack3d.kernels._phase_plan import tables_of
from stack3d.kernels._taps import polynomials

EDGE = 0.03  # tapered fraction of the sides of the images that are compared
TAILS = 3  # pixels next to the taper that filters spoil
SMALLEST = 40  # shorter side of the coarsest image, and of the smallest binned frame


@dataclass(frozen=True)
class Plan:
    """How the frames of one stack are prepared and compared; small, hashable and picklable.

    Attributes
    ----------
    shape : tuple of int
        Shape (y, x) of the frames.
    model : str
        Family of the transforms.
    spectrum : phase.Plan
        Binning and band; its window is that of the comparison of the aligned frames.
    aspect : float
        Height of a pixel, in widths.
    """

    shape: tuple[int, int]
    model: str
    spectrum: phase.Plan
    aspect: float = 1.0


def plan(shape: tuple[int, ...], model: str = "affine", *, aspect: float = 1.0, **options: Any) -> Plan:
    """Say how frames of a shape are to be compared.

    Parameters
    ----------
    shape : tuple of int
        Shape (y, x) of a frame.
    model : {"affine", "similarity", "rigid", "translation", "scale_shift", "x_scale_shift"}
        What is allowed beside the displacement: everything linear; a turn and one scale; a turn; nothing; a scale along
        x and one along y; a scale along x.
    aspect : float, default 1
        Height of a pixel, in widths: a turn of the specimen shears pixels that are not square.
    **options
        `binning`, `band` and `exclude_axes` of :func:`stack3d.kernels.phase.plan`.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If the model is unknown or an option is outside its range.

    Examples
    --------
    >>> from stack3d.kernels import affine
    >>> affine.plan((1024, 1024), "rigid").spectrum.binning
    2
    """
    groups.generators(model, aspect)
    spectrum = phase.plan(shape, **options)
    return Plan(spectrum.shape, model, spectrum, float(aspect))


class Geometry(NamedTuple):
    """What follows from a plan; made once in a process."""

    edge: phase.Plan
    usable: bool
    grids: tuple[tuple[int, int], ...]  # sizes of the transforms of the images, coarse to fine
    sizes: tuple[tuple[int, int], ...]  # of the images
    margins: tuple[int, ...]
    boxes: tuple[np.ndarray[Any, Any], ...]  # (y0, y1, x0, x1) of what is compared of each image
    frames: tuple[np.ndarray[Any, Any], ...]  # centre (y, x) of each image, and half the mean side along y and x
    frequency: np.ndarray[Any, Any]  # of each cell, in cycles per binned pixel
    poly: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any]
    half: float  # half the mean side, in binned pixels


@lru_cache(maxsize=64)
def geometry_of(plan: Plan) -> Geometry:
    spectrum = plan.spectrum
    edge = phase.Plan(spectrum.shape, spectrum.binning, spectrum.band, spectrum.exclude_axes, EDGE)
    t = tables_of(edge)
    n, m = t.binned
    half, grids, sizes = (n + m) / 4, [t.transformed], [t.binned]
    while min(sizes[-1]) >= 2 * SMALLEST:
        grid = tuple(scipy.fft.next_fast_len(size // 2, real=True) for size in grids[-1])
        sizes.append((n * grid[0] // t.transformed[0], m * grid[1] // t.transformed[1]))
        grids.append((grid[0], grid[1]))
    margins = [math.ceil(EDGE / 2 * max(size)) + TAILS for size in sizes]
    ratios = [np.array(grid) / t.transformed for grid in grids]
    frames = [np.concatenate([np.array([n - 1, m - 1]) / 2 * ratio, half * ratio]) for ratio in ratios]
    squares = t.spread[0] + t.spread[2]
    frequency = np.sqrt(squares / np.maximum(t.counts, 1)) / (2 * np.pi) * spectrum.binning
    return Geometry(
        edge,
        t.usable and min(n, m) >= SMALLEST,
        tuple(grids[::-1]),
        tuple(sizes[::-1]),
        tuple(margins[::-1]),
        tuple(np.array([k, size[0] - k, k, size[1] - k]) for k, size in zip(margins[::-1], sizes[::-1])),
        tuple(frames[::-1]),
        frequency,
        polynomials(3).astype(np.float32),
        groups.generators(plan.model, plan.aspect),
        half,
    )


def to_image(t: Geometry, level: int) -> np.ndarray[Any, Any]:
    """Matrix from units about the centre to pixels of an image."""
    cy, cx, sy, sx = t.frames[level]
    return np.array([[sx, 0, cx], [0, sy, cy], [0, 0, 1.0]])


def centre(plan: Plan) -> tuple[float, float]:
    """Centre (x, y) of the binned part of a frame, in pixels."""
    b = plan.spectrum.binning
    return plan.shape[1] // b * b / 2 - 0.5, plan.shape[0] // b * b / 2 - 0.5
