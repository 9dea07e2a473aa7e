"""The frame that aligned slices are put on: as large as asked, and cut to what enough slices cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stack3d import grid, kernels
from stack3d.model import valid_slices
from stack3d.transforms._field import Field

_CELLS = 256  # larger canvases: a grid of this many cells a side finds the rectangle, pixels then refine it
_BLOCK = 32  # slices at once
_RIM = 65  # points a side of a displaced frame whose places make the canvas
_ROUNDS = 30


def union(matrices: np.ndarray, shape: tuple[int, int], field: Field | None = None) -> tuple[int, int, int, int]:
    """Return (top, left, rows, cols) of the canvas that holds every raw frame, in pixels of the aligned frame."""
    rows, cols = shape
    if field is None:
        x, y = np.meshgrid([0, cols - 1], [0, rows - 1])
    else:
        along, across = np.linspace(0, rows - 1, _RIM), np.linspace(0, cols - 1, _RIM)
        x = np.concatenate([across, across, np.zeros(_RIM), np.full(_RIM, cols - 1)])
        y = np.concatenate([np.zeros(_RIM), np.full(_RIM, rows - 1), along, along])
    raw = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    places = np.linalg.solve(matrices, np.broadcast_to(raw, (len(matrices), *raw.shape)))[:, :2]
    if field is not None:
        for k, straight in enumerate(places.copy()):
            for _ in range(_ROUNDS):
                places[k] = straight - field.at(k, places[k].T).T
    # A place that misses a pixel by rounding alone is that pixel.
    low = np.floor(places.min(axis=(0, 2)) + 1e-6).astype(int)
    high = np.ceil(places.max(axis=(0, 2)) - 1e-6).astype(int)
    return int(low[1]), int(low[0]), int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1


def moved_to(matrices: np.ndarray, top: int, left: int) -> np.ndarray:
    """Return pull matrices for a canvas whose first pixel is (top, left) of the aligned frame."""
    out = matrices.copy()
    out[:, :2, 2] += matrices[:, :2, :2] @ np.array([left, top], dtype=np.float64)
    return out


def with_positions(da: xr.DataArray, top: int, left: int, rows: int, cols: int) -> dict[str, xr.Variable]:
    """Return the y and x coordinates of a canvas; pixels it shares with `da` keep their positions to the bit."""
    coords = {}
    for dim, first, count in (("y", top, rows), ("x", left, cols)):
        if dim in da.coords:
            coords[dim] = grid.extended(da, dim, first, count)
    return coords


def part(field: Field | None, slices: Any) -> Field | None:
    """Return the field of some slices."""
    return None if field is None else field._replace(grid=field.grid[slices])


def covered_box(
    matrices: np.ndarray, raw: tuple[int, int], canvas: tuple[int, int], share: float, field: Field | None = None
) -> dict[str, slice]:
    """Return the largest rectangle of the canvas each of whose pixels lies in at least `share` of the raw frames."""
    needed = max(1, int(np.ceil(share * len(matrices) - 1e-9)))
    if field is None and needed == len(matrices) and np.all(matrices[:, :2, :2] == np.eye(2)):
        return _common(matrices, raw, canvas)
    steps = [-(-size // _CELLS) for size in canvas]
    edges = [np.unique(np.append(np.arange(0, size, step), size - 1)) for size, step in zip(canvas, steps, strict=True)]
    # A cell lies between two edges, or is a pixel where they are next to each other.
    wide = [step > 1 for step in steps]
    counts: Any = 0
    for start in range(0, len(matrices), _BLOCK):
        block = slice(start, start + _BLOCK)
        inside = _inside(matrices[block], raw, edges[0][:, None], edges[1][None, :], part(field, block))
        # Frames are convex, displaced ones nearly: a cell whose corners lie in a frame does so as a whole.
        if wide[0]:
            inside = inside[:, 1:] & inside[:, :-1]
        if wide[1]:
            inside = inside[:, :, 1:] & inside[:, :, :-1]
        counts = counts + inside.sum(axis=0)
    y0, y1, x0, x1 = _largest(counts >= needed)
    if y1 <= y0:
        raise ValueError(_nothing(needed, len(matrices)))
    last = [end if far else end - 1 for end, far in zip((y1, x1), wide, strict=True)]
    box = [int(edges[0][y0]), int(edges[0][last[0]]), int(edges[1][x0]), int(edges[1][last[1]])]
    for side, limit in ((0, 0), (1, canvas[0] - 1), (2, 0), (3, canvas[1] - 1)):
        outward = -1 if side in (0, 2) else 1
        for _ in range(steps[side // 2]):
            line = box[side] + outward
            if box[side] == limit or not _line_covered(matrices, raw, side // 2, line, box, needed, field):
                break
            box[side] = line
    return {"y": slice(box[0], box[1] + 1), "x": slice(box[2], box[3] + 1)}


def share_covered(
    matrices: np.ndarray, raw: tuple[int, int], y: np.ndarray, x: np.ndarray, field: Field | None = None
) -> np.ndarray:
    """Return the share of the raw frames in which each place of rows `y` and columns `x` of the canvas lies."""
    total = np.zeros((y.size, x.size))
    for start in range(0, len(matrices), _BLOCK):
        block = slice(start, start + _BLOCK)
        total += _inside(matrices[block], raw, y[:, None], x[None, :], part(field, block)).sum(axis=0)
    return np.asarray(total / len(matrices))


def _common(matrices: np.ndarray, raw: tuple[int, int], canvas: tuple[int, int]) -> dict[str, slice]:
    """Return what all of some translated frames cover: exact, without a search."""
    box = {}
    for dim, row, size, most in (("y", 1, raw[0], canvas[0]), ("x", 0, raw[1], canvas[1])):
        shift = matrices[:, row, 2]
        low = max(0, int(np.ceil(-shift.min() - 1e-9)))
        high = min(most - 1, int(np.floor(size - 1 - shift.max() + 1e-9)))
        if low > high:
            raise ValueError(_nothing(len(matrices), len(matrices)))
        box[dim] = slice(low, high + 1)
    return box


def _nothing(needed: int, count: int) -> str:
    return (
        f"crop keeps nothing: no rectangle is covered by {needed} of {count} slices; use crop='none', a smaller fraction, "
        "or stack3d.transforms.limit"
    )


def _inside(matrices: np.ndarray, raw: tuple[int, int], y: Any, x: Any, field: Field | None = None) -> np.ndarray:
    entries = matrices[:, :2, :, None, None]
    result = None
    if field is not None:
        along, across = kernels.field.basis(field.y, y.ravel()), kernels.field.basis(field.x, x.ravel())
        moved = np.einsum("ya,zabc,xb->czyx", along, field.grid, across)
        y, x = y + moved[0], x + moved[1]
    for row, size in ((0, raw[1]), (1, raw[0])):
        place = entries[:, row, 0] * x + entries[:, row, 1] * y + entries[:, row, 2]
        within = (place >= -1e-6) & (place <= size - 1 + 1e-6)
        result = within if result is None else result & within
    assert result is not None
    return np.asarray(result)


def _line_covered(
    matrices: np.ndarray, raw: tuple[int, int], axis: int, line: int, box: list[int], needed: int, field: Field | None
) -> bool:
    y = np.array([[line]]) if axis == 0 else np.arange(box[0], box[1] + 1)[:, None]
    x = np.array([[line]]) if axis == 1 else np.arange(box[2], box[3] + 1)[None, :]
    total: Any = 0
    for start in range(0, len(matrices), _BLOCK):
        block = slice(start, start + _BLOCK)
        total = total + _inside(matrices[block], raw, y, x, part(field, block)).sum(axis=0)
    return bool(np.all(total >= needed))


def _largest(good: np.ndarray) -> tuple[int, int, int, int]:
    """Return the rows and columns (y0, y1, x0, x1) of the largest rectangle of True; of none, y0 == y1."""
    best, found = 0, (0, 0, 0, 0)
    height = np.zeros(good.shape[1], dtype=int)
    for y, row in enumerate(good):
        height = np.where(row, height + 1, 0)
        open_bars: list[tuple[int, int]] = []  # (begin, height), rising
        for x, h in enumerate([*height.tolist(), 0]):
            begin = x
            while open_bars and open_bars[-1][1] >= h:
                begin, tall = open_bars.pop()
                if tall * (x - begin) > best:
                    best, found = tall * (x - begin), (y + 1 - tall, y + 1, begin, x)
            open_bars.append((begin, h))
    return found


def used_slices(da: xr.DataArray, valid: np.ndarray | None) -> np.ndarray:
    """Return which slices decide on the frame: the good ones, or all where none is."""
    good = valid_slices(da) if valid is None else valid
    return good if good.any() else np.ones(len(good), dtype=bool)
