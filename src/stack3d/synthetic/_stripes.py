"""Curtains: what a milling beam leaves along its direction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def draw(out, lines):  # type: ignore[no-untyped-def]
    """Add lines to a frame.

    Each line is (y, x of its start, dy, dx of its unit direction, length, fade in, fade out, width, widening per pixel,
    height, lean); its rows are walked, so the direction must lean less than about 45 degrees from y.
    """
    height, width = out.shape
    for n in range(lines.shape[0]):
        y0, x0, dy, dx = lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3]
        length, fade_in, fade_out = lines[n, 4], lines[n, 5], lines[n, 6]
        thick, widening, amplitude, lean = lines[n, 7], lines[n, 8], lines[n, 9], lines[n, 10]
        for i in range(max(0, math.ceil(y0)), min(height, math.ceil(y0 + length * dy))):
            along = (i - y0) / dy
            centre = x0 + along * dx
            sigma = thick * (1.0 + widening * along)
            reach = 3.5 * sigma / dy
            fade = min(1.0, along / fade_in) * min(1.0, (length - along) / fade_out)
            if fade <= 0.0:
                continue
            value = amplitude * fade
            for j in range(max(0, math.ceil(centre - reach)), min(width, math.floor(centre + reach) + 1)):
                across = (j - centre) * dy / sigma
                out[i, j] += np.float32(value * math.exp(-0.5 * across * across) * (1.0 + lean * across))


def direction(angle: float) -> np.ndarray:
    """Return the unit vector (dy, dx) of stripes: 0 runs down, positive turns counter-clockwise on the screen."""
    turn = math.radians(angle)
    return np.array([math.cos(turn), math.sin(turn)])


def _upright(angle: float) -> tuple[float, bool]:
    """Return the angle within +-90 and whether the frame is walked by columns."""
    angle = (angle + 90.0) % 180.0 - 90.0
    return angle, abs(angle) > 45.0


def lines_of_slice(
    k: int,
    shape: tuple[int, int],
    settings: dict[str, Any],
    generator: Callable[[int], np.random.Generator],
    starts: Callable[[int], np.ndarray],
) -> np.ndarray:
    """Return the lines of slice `k`, (n, 11), heights relative to `amount`.

    Lines are born in one slice and live for some more; those of earlier slices are made anew from their own
    generator, so that any slice can be made alone.

    Parameters
    ----------
    generator : callable
        Gives the generator of a birth slice, which may be negative.
    starts : callable
        Gives the (n, 2) places (y, x), in the frame of slice `k`, where lines may start; for a birth slice.
    """
    kind, width = settings["kind"], settings["width"]
    diagonal = math.hypot(*shape)
    length = settings["length"] or (0.6 * diagonal if kind == "sparse" else 0.35 * diagonal)
    life = max(1.0, settings["persistence"])
    oldest = math.ceil(4 * life)
    main = direction(settings["angle"])
    extent = abs(main[0]) * shape[1] + abs(main[1]) * shape[0]
    births_per_slice = settings["density"] * extent / 1000 / life
    rows = []
    for birth in range(k - oldest + 1, k + 1):
        rng = generator(birth)
        count = rng.poisson(births_per_slice)
        # Everything is drawn for all, so that one line does not change the next.
        chance = rng.random((count, 8))
        ages = np.minimum(rng.geometric(1 / life, count), oldest)
        tall = rng.standard_normal((count, 2))
        alive = ages > k - birth
        if not alive.any():
            continue
        places = starts(birth)
        u = chance[alive]
        tall = tall[alive]
        spread = {"sparse": 2.0, "ramp": 0.3, "streaks": 0.8}[kind]
        d = np.array([direction(settings["angle"] + spread * (2 * a - 1)) for a in u[:, 0]])
        middle = (np.array(shape) - 1) / 2
        # A place before the frame: the line crosses all of it.
        across = (u[:, 1] - 0.5) * 1.1 * extent
        border = middle + across[:, None] * np.array([-main[1], main[0]]) - 0.6 * diagonal * main
        thick = width * np.exp(0.5 * tall[:, 0])
        sign = np.where(u[:, 2] < 0.5, -1.0, 1.0)
        height = sign * np.exp(0.35 * tall[:, 1])
        line = np.zeros((len(u), 11))
        line[:, 2:4], line[:, 7] = d, thick
        if kind == "sparse":
            # Most begin at a pore or an edge and run out; a few cross everything.
            inside = places[(u[:, 3] * len(places)).astype(int)] if len(places) else border
            crosses = (u[:, 4] < 0.15)[:, None]
            line[:, :2] = np.where(crosses, border, inside)
            line[:, 4] = np.where(crosses[:, 0], 2 * diagonal, length * (0.4 + 1.2 * u[:, 5]))
            line[:, 5], line[:, 6] = 4.0, 0.5 * line[:, 4]
            line[:, 8] = 1.0 * u[:, 6] / diagonal
        elif kind == "ramp":
            # From the edge that the beam meets first, stronger and wider with depth.
            line[:, :2] = border
            line[:, 4], line[:, 5], line[:, 6] = 1.6 * diagonal, 1.3 * diagonal * (0.5 + 0.5 * u[:, 5]), 1.0
            line[:, 8] = 2.0 / diagonal
            height *= 1.5
        else:
            # Short strokes with one bright and one dark flank, in groups.
            centre = u[:, 3:5] * np.array(shape) * 1.2 - 0.1 * np.array(shape)
            line[:, 4] = length * (0.3 + 1.4 * u[:, 5] ** 2)
            line[:, :2] = centre - 0.5 * line[:, 4:5] * d
            line[:, 5], line[:, 6] = 0.3 * line[:, 4], 0.6 * line[:, 4]
            line[:, 10] = 1.6 * (u[:, 6] - 0.5)
            height *= 1.8
        line[:, 9] = height
        rows.append(line)
    return np.concatenate(rows) if rows else np.zeros((0, 11))


def render_lines(shape: tuple[int, int], lines: np.ndarray, angle: float) -> np.ndarray:
    """Return a frame (y, x) float32 with the lines."""
    out = np.zeros(shape, np.float32)
    lines = lines.copy()
    _, lying = _upright(angle)
    view = out
    if lying:
        view = out.T
        lines[:, [0, 1, 2, 3]] = lines[:, [1, 0, 3, 2]]
    backwards = lines[:, 2] < 0
    if backwards.any():
        # Walk the rows the other way round: a mirrored frame, not a mirrored line.
        flipped = lines[backwards].copy()
        flipped[:, 0] = view.shape[0] - 1 - flipped[:, 0]
        flipped[:, 2] *= -1
        flipped[:, 10] *= -1
        draw(view[::-1], flipped)
    draw(view, np.ascontiguousarray(lines[~backwards]))
    return out


def correlated(shape: tuple[int, int], settings: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Return a Gaussian field (y, x) float32 of unit variance, long along the stripes and `width` wide."""
    from stack3d.synthetic._texture import TILE, sample

    height, width = shape
    along, across = settings["length"] or 0.35 * math.hypot(*shape), settings["width"]
    # A spline of random nodes has the correlation of a Gaussian of about 0.6 nodes.
    steps = np.array([along, across]) / 0.6
    main = direction(settings["angle"])
    # Takes (x, y) to (along, across).
    frame = np.array([[main[1], main[0]], [main[0], -main[1]]])
    # As far as the last tile reaches.
    bottom, right = height + TILE, width + TILE
    corners = frame @ np.array([[0, right, 0, right], [0, 0, bottom, bottom]])
    low = corners.min(axis=1)
    nodes = np.ceil((corners.max(axis=1) - low) / steps).astype(int) + 5
    coefficients = rng.standard_normal(tuple(nodes), dtype=np.float32)
    coefficients *= np.float32(1 / 0.55)
    matrix = np.column_stack([frame / steps[:, None], 2 - low / steps])
    out = np.empty(shape, np.float32)
    sample(out, coefficients, matrix)
    return out
