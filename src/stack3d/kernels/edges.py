"""How sharp the strongest edges of a frame are: the distance over which grey values pass from one level to another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _edge_loops as loops
from stack3d.kernels._namespace import packed


class Anisotropy(NamedTuple):
    """Fit of ``distance = mean + size * cos(2 (angle - direction))``."""

    mean: float
    size: float
    direction: float


def edge_transitions(
    frame: Any,
    spacing: tuple[float, float] = (1.0, 1.0),
    *,
    bounds: tuple[float, float] = (0.37, 0.63),
    fraction: float = 0.005,
    radius: int = 20,
    reach: int = 25,
    aperture: int = 5,
    width: int = 5,
    criterion: float = 0.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the transition distance of each strong edge of a frame, and its direction.

    Parameters
    ----------
    frame : (y, x) array
        Missing pixels are NaN; no edge is measured within `reach` of one. Frames on a GPU come to the host: what is
        measured are some hundred profiles, one after the other.
    spacing : (float, float)
        Distance of pixels along y and x.
    bounds : (float, float)
        Levels between which the distance is taken, as fractions of the step.
    fraction : float
        The pixels of steepest slope that are looked at.
    radius : int
        Edges keep this distance from each other, in pixels.
    reach : int
        Profiles reach this far to both sides, in pixels of the finer spacing.
    aperture : int
        Pixels averaged for the lower and upper level, where this mean is lowest and highest.
    width : int
        Parallel profiles, one pixel apart, that are averaged; odd.
    criterion : float
        The lower level must be among this fraction of darkest pixels around the edge, the upper one among as many of
        the brightest.

    Returns
    -------
    distance, angle : ndarray (edges,)
        In the unit of `spacing`, steepest edge first; and the direction across the edge in degrees, counter-clockwise
        on screen with y down, 0 to below 180.

    Examples
    --------
    >>> from stack3d.kernels import edges
    >>> ramp = np.clip((np.arange(80.0) - 35) / 10, 0, 1)
    >>> distance, angle = edges.edge_transitions(np.tile(ramp, (80, 1)), bounds=(0.25, 0.75), fraction=0.1)
    >>> distance.round(1), angle
    (array([5.]), array([0.]))
    """
    frame = packed(np.asarray(frame if isinstance(frame, np.ndarray) else frame.get(), dtype=np.float32))
    margin = reach + width // 2 + 3
    if min(frame.shape) <= 2 * margin:
        return np.empty(0), np.empty(0)
    dy, dx = (float(step) for step in spacing)
    slope = loops.slope(frame, dy, dx)
    inner = np.zeros_like(slope)
    inner[margin:-margin, margin:-margin] = slope[margin:-margin, margin:-margin]
    seen = inner[margin:-margin, margin:-margin].ravel()
    least = np.partition(seen, int((1 - fraction) * (seen.size - 1)))[int((1 - fraction) * (seen.size - 1))]
    found = np.flatnonzero((inner.ravel() >= least) & (inner.ravel() > 0))
    order = found[np.argsort(-inner.ravel()[found], kind="stable")]
    places = loops.spread_out(order, frame.shape, int(radius))
    low, high = (float(bound) for bound in bounds)
    rows = loops.transitions(
        frame, places, dy, dx, (low, high), int(reach), int(aperture), int(width) // 2, float(criterion)
    )
    rows = rows[np.isfinite(rows[:, 0])]
    angle = np.degrees(np.arctan2(-rows[:, 1], rows[:, 2])) % 180
    return rows[:, 0], np.where(angle >= 180, 0.0, angle) + 0.0


def anisotropy(distance: Any, angle: Any) -> Anisotropy:
    """Return how distances depend on direction, by least squares; NaN where directions do not tell.

    Parameters
    ----------
    distance : (edges,) array
    angle : (edges,) array
        Degrees.

    Examples
    --------
    >>> from stack3d.kernels import edges
    >>> angle = np.arange(0.0, 180, 10)
    >>> fit = edges.anisotropy(4 + np.cos(2 * np.radians(angle - 30)), angle)
    >>> tuple(round(float(value), 6) for value in fit)
    (4.0, 1.0, 30.0)
    """
    twice = 2 * np.radians(np.asarray(angle, dtype=np.float64))
    design = np.stack([np.ones_like(twice), np.cos(twice), np.sin(twice)], axis=1)
    # Directions that are all but one, or two at right angles, leave the fit open.
    if twice.size < 8 or np.linalg.eigvalsh(design.T @ design / twice.size)[0] < 0.02:
        return Anisotropy(np.nan, np.nan, np.nan)
    mean, even, odd = np.linalg.lstsq(design, np.asarray(distance, dtype=np.float64), rcond=None)[0]
    return Anisotropy(float(mean), float(np.hypot(even, odd)), float(np.degrees(np.arctan2(odd, even)) / 2 % 180))
