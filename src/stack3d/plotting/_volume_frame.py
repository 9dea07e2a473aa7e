"""The box around a volume, with scales along its edges."""

from __future__ import annotations

import numpy as np

from stack3d.grid import SPATIAL
from stack3d.plotting._volume_scene import Scene

_DOTS = 100  # per inch: sizes of text below are points at this density


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
    for ends, of_corner in _edges(scene):
        line = scene.project(ends)
        ax.plot(*line.T, color=ink, lw=0.7 if of_corner else 1.0, ls=(0, (4, 3)) if of_corner else "-")
    for ends in _cut_edges(scene):
        line = scene.project(ends)
        ax.plot(*line.T, color="#7f7f7f", lw=0.6)
    for axis in range(3):
        _scale(ax, scene, axis, ink, max(6.0, min(rows, columns) / 72))
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


def _scale(ax: object, scene: Scene, axis: int, ink: str, points: float) -> None:
    """Draw ticks with numbers, and the name of the axis, along an edge at the rim of the box."""
    from matplotlib.ticker import MaxNLocator

    near, size = _near(scene), scene.size
    # Along x and z the lower rim, along y the rim on the far side of the first slice.
    fixed = {0: {1: 1, 2: near[2]}, 1: {0: 0, 2: 1 - near[2]}, 2: {0: 0, 1: 1}}[axis]
    base = np.array([size[k] * fixed.get(k, 0) for k in range(3)], float)
    outward = scene.project(base + np.eye(3)[axis] * size[axis] / 2) - (np.array(scene.shape[::-1]) - 1) / 2
    away = np.array(
        {0: (np.sign(outward[0]), 0.55), 1: (np.sign(outward[0]), 0.0), 2: (-0.25 * np.sign(scene.view[0]), 1.0)}[axis]
    )
    away = away / np.hypot(*away)
    begin, factor = scene.start[axis], _factor(scene, axis)
    ticks = MaxNLocator(nbins=4, steps=(1, 2, 2.5, 5, 10)).tick_values(begin / factor, (begin + size[axis]) / factor)
    inside = [t for t in ticks if begin - 1e-9 * size[axis] <= t * factor <= begin + size[axis] * (1 + 1e-9)]
    side = "left" if away[0] > 0.5 else "right" if away[0] < -0.5 else "center"
    style = {"color": ink, "fontsize": points, "ha": side, "va": "center"}
    for tick in inside:
        place = base.copy()
        place[axis] = tick * factor - begin
        at = scene.project(place)
        ax.plot(*np.stack([at, at + away * points * 0.7]).T, color=ink, lw=1.0)  # type: ignore[attr-defined]
        ax.text(*(at + away * points * (1.0 if side != "center" else 1.9)), f"{tick:g}", **style)  # type: ignore[attr-defined]
    middle = base.copy()
    middle[axis] = size[axis] / 2
    unit = scene.units[axis]
    name = f"{SPATIAL[axis]} / {'pixel' if unit == '1' else unit}"
    label = scene.project(middle) + away * points * (5.4 if side != "center" else 4.4)
    turn = 90 if axis == 1 else 0
    ax.text(*label, name, rotation=turn, **{**style, "fontsize": points * 1.1, "ha": "center" if axis == 1 else side})  # type: ignore[attr-defined]


def _factor(scene: Scene, axis: int) -> float:
    """Return the length of the axis' own unit in that of the picture."""
    from stack3d.plotting._volume_scene import _in_one_unit

    return float(_in_one_unit(scene.units)[axis])
