"""The box around a volume, with scales along its edges."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stack3d.grid import SPATIAL
from stack3d.plotting._volume_scene import Scene

_DOTS = 100  # per inch: sizes of text below are points at this density


class Line(NamedTuple):
    """A straight line in pixels, ``[(column, row), (column, row)]``: of the box, hidden, of a cut, or a tick."""

    ends: np.ndarray
    kind: str


class Label(NamedTuple):
    """A text about a point (column, row): its side where it begins, and how far it is turned, in degrees."""

    at: np.ndarray
    text: str
    side: str
    turn: int
    points: float


def frame_of(scene: Scene, points: float) -> tuple[list[Line], list[Label]]:
    """Return the edges of the box and of what is cut out, and the scales, for text of a size in points."""
    lines = [Line(scene.project(ends), "hidden" if of_corner else "box") for ends, of_corner in _edges(scene)]
    lines += [Line(scene.project(ends), "cut") for ends in _cut_edges(scene)]
    labels: list[Label] = []
    for axis in range(3):
        ticks, texts = _scale(scene, axis, points)
        lines += ticks
        labels += texts
    return lines, labels


def with_frame(scene: Scene, colours: np.ndarray, background: str) -> np.ndarray:
    """Return the picture as uint8 (rows, columns, 4): the volume, the edges of its box, and scales."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    rows, columns = scene.shape
    figure = Figure(figsize=(columns / _DOTS, rows / _DOTS), dpi=_DOTS)
    canvas = FigureCanvasAgg(figure)
    back = to_rgba(background)
    figure.patch.set_facecolor(back)
    figure.patch.set_alpha(back[3])
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.imshow(colours, interpolation="nearest", aspect="auto", extent=(-0.5, columns - 0.5, rows - 0.5, -0.5))
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    # Grey is read on white and on black pages, where the background is clear.
    ink = "#8a8a8a" if back[3] == 0 else "#262626" if np.dot(back[:3], (0.3, 0.59, 0.11)) > 0.5 else "#e6e6e6"
    lines, labels = frame_of(scene, max(6.0, min(rows, columns) / 72))
    for ends, kind in lines:
        width, dashes = {"hidden": (0.7, (0, (4, 3))), "cut": (0.6, "-")}.get(kind, (1.0, "-"))
        ax.plot(*ends.T, color="#7f7f7f" if kind == "cut" else ink, lw=width, ls=dashes)
    for at, text, side, turn, points in labels:
        ax.text(at[0], at[1], text, color=ink, fontsize=points, ha=side, va="center", rotation=turn)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def _edges(scene: Scene) -> list[tuple[np.ndarray, bool]]:
    """Return the edges of the box that the eye sees, and which of them end in the corner that is cut out."""
    size, near = scene.size, _near(scene)
    found = []
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        for first in (0, 1):
            for second in (0, 1):
                sides = (first == near[others[0]], second == near[others[1]])
                if not any(sides):
                    continue  # behind the box
                ends = np.zeros((2, 3))
                ends[1, axis] = size[axis]
                ends[:, others[0]], ends[:, others[1]] = first * size[others[0]], second * size[others[1]]
                if not all(sides):
                    found.append((ends, False))
                    continue
                # An edge of the nearest corner: cut away from there to the plane.
                away, kept = ends.copy(), ends.copy()
                begin = size[axis] if near[axis] else 0.0
                away[:, axis] = begin, scene.at[axis]
                kept[:, axis] = scene.at[axis], size[axis] - begin
                found += [(away, True), (kept, False)]
    return found


def _cut_edges(scene: Scene) -> list[np.ndarray]:
    """Return the edges of the corner that is cut out, but for those that it had in the box."""
    low, high = scene.taken_out()
    if np.any(high - low <= 0):
        return []
    near, found = _near(scene), []
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        for first in (0, 1):
            for second in (0, 1):
                if first == near[others[0]] and second == near[others[1]]:
                    continue
                ends = np.stack([low, low]).astype(float)
                ends[1, axis] = high[axis]
                ends[:, others[0]] = (low, high)[first][others[0]]
                ends[:, others[1]] = (low, high)[second][others[1]]
                found.append(ends)
    return found


def _near(scene: Scene) -> list[int]:
    """Return for each axis which side of the box, the first (0) or the last (1), the eye sees."""
    return [0 if part > 0 else 1 for part in scene.axes[2]]


def _scale(scene: Scene, axis: int, points: float) -> tuple[list[Line], list[Label]]:
    """Return ticks with numbers, and the name of the axis, along an edge at the rim of the box."""
    near, size = _near(scene), scene.size
    # Along x and z the lower rim, along y the rim on the far side of the first slice.
    fixed = {0: {1: 1, 2: near[2]}, 1: {0: 0, 2: 1 - near[2]}, 2: {0: 0, 1: 1}}[axis]
    base = np.array([size[k] * fixed.get(k, 0) for k in range(3)], float)
    outward = scene.project(base + np.eye(3)[axis] * size[axis] / 2) - (np.array(scene.shape[::-1]) - 1) / 2
    away = np.array(
        {0: (np.sign(outward[0]), 0.55), 1: (np.sign(outward[0]), 0.0), 2: (-0.25 * np.sign(scene.view[0]), 1.0)}[axis]
    )
    away = away / np.hypot(*away)
    begin, factor = scene.start[axis], scene.factors[axis]
    along = np.hypot(*(scene.project(np.eye(3)[axis] * size[axis]) - scene.project(np.zeros(3))))
    # Numbers along x stand below each other's corners, those along y and z beside them.
    most = int(np.clip(along / (points * (4.5 if axis == 2 else 3)), 1, 4))
    side = "left" if away[0] > 0.5 else "right" if away[0] < -0.5 else "center"
    lines, labels = [], []
    for tick in _ticks(begin / factor, (begin + size[axis]) / factor, most):
        place = base.copy()
        place[axis] = tick * factor - begin
        at = scene.project(place)
        lines.append(Line(np.stack([at, at + away * points * 0.7]), "tick"))
        labels.append(
            Label(at + away * points * (1.0 if side != "center" else 1.9), f"{tick + 0.0:g}", side, 0, points)
        )
    middle = base.copy()
    middle[axis] = size[axis] / 2
    unit = scene.units[axis]
    name = f"{SPATIAL[axis]} / {'pixel' if unit == '1' else unit}"
    at = scene.project(middle) + away * points * (6.2 if side != "center" else 4.4)
    labels.append(Label(at, name, "center" if axis == 1 else side, 90 if axis == 1 else 0, points * 1.1))
    return lines, labels


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values from `low` to `high`, two at least, at about `most` steps."""
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * (1 - 1e-9))
    for smaller in (1.0, 0.5, 0.4, 0.2):
        first, last = np.ceil(low / step / smaller - 1e-9), np.floor(high / step / smaller + 1e-9)
        if last > first:
            break
    return [float(k) * step * smaller for k in np.arange(first, last + 1)]
