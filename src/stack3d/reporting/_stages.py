"""The pass over the stack after each step: numbers of many slices, a picture of one, extremes along x and y."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d._provenance import dear_steps
from stack3d.execution import map_frames
from stack3d.progress import compute
from stack3d.reporting._matched import Side
from stack3d.reporting._passes import Fit, fit, placed, spread

_SLICES, _DEAR_SLICES, _LEAST = 200, 3, 7
_PIXELS = 16e6  # of all steps together, beyond the least number of slices
_LEAST_PIXELS = 64e6  # of each step
_POINTS = 256  # along x and y


class StageLook(NamedTuple):
    """The stack after a step: numbers of some slices, a picture of one, and extremes and mean along y and x."""

    z: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    picture: np.ndarray
    along: Mapping[str, np.ndarray]  # (minimum, maximum, mean; place), of the steps of which it was asked
    ends: Mapping[str, tuple[float, float]]  # of the frame along y and x


def look_at_stages(
    sides: Sequence[Side], window: Side, shape: tuple[int, int], place_z: float, lined: Sequence[bool] | None = None
) -> list[StageLook]:
    """Return what is shown of the stack after each step; what steps share is computed once.

    Extremes along the axes are measured where `lined` is True.
    """
    chosen = [_slices_of(side, place_z, len(sides)) for side in sides]
    lined = lined or [False] * len(sides)
    found = [
        map_frames(
            side.alone(slices),
            _numbers,
            arguments={"place": fit(side, window, shape), "lines": lines},
            per_frame={"shown": xr.DataArray(slices == shown, dims="z")},
            shape=(1, 1),
            dtype=object,
            device="cpu",
            label="report: steps",
        )
        for side, (slices, shown), lines in zip(sides, chosen, lined, strict=True)
    ]
    lazy = [k for k, side in enumerate(sides) if side.da.chunks is not None]
    for k, done in zip(lazy, compute(*(found[k] for k in lazy), label="report: steps"), strict=True):
        found[k] = done
    return [
        _look(side, slices, list(slices).index(shown), numbers[:, 0, 0])
        for side, (slices, shown), numbers in zip(sides, chosen, found, strict=True)
    ]


def _look(side: Side, slices: np.ndarray, shown: int, found: Sequence[dict[str, Any]]) -> StageLook:
    numbers = [np.array([one["numbers"][k] for one in found]) for k in range(4)]
    minimum, maximum, mean, spread_of = numbers
    along = {dim: _along([one["lines"][dim] for one in found]) for dim in found[0]["lines"]}
    ends = {dim: (float(side.edges[dim][0]), float(side.edges[dim][-1])) for dim in "yx"}
    z, picture = side.places["z"][slices], found[shown]["picture"]
    return StageLook(z, mean, spread_of, minimum, maximum, picture, along, ends)


def _slices_of(side: Side, place_z: float, steps: int) -> tuple[np.ndarray, int]:
    """Return which slices are looked at, and which of them is shown."""
    pixels = side.da.sizes["y"] * side.da.sizes["x"]
    # A dear step may be among those that are not written.
    few = _DEAR_SLICES if dear_steps(side.da) else max(_LEAST, int(min(_SLICES, _PIXELS // (pixels * steps))))
    most = int(np.clip(_LEAST_PIXELS // pixels, 1, few))
    shown = int(np.argmin(np.abs(side.places["z"] - place_z)))
    return np.unique(np.append(spread(side.da.sizes["z"], most) if most > 1 else [], shown)).astype(int), shown


def _numbers(frame: np.ndarray, place: Fit, lines: bool, shown: bool) -> np.ndarray:
    from stack3d.kernels import statistics

    numbers = statistics.frame_statistics(frame)
    found = np.empty((1, 1), object)
    found[0, 0] = {
        "numbers": (numbers.minimum, numbers.maximum, numbers.mean, numbers.std),
        "picture": placed(frame, place) if shown else None,
        "lines": {dim: _line(frame, 1 - axis) for axis, dim in enumerate("yx")} if lines else {},
    }
    return found


def _line(frame: np.ndarray, axis: int) -> np.ndarray:
    """Return minimum, maximum, sum and count of the measured pixels over one axis, (4, places)."""
    if frame.dtype.kind != "f":
        count = np.full(frame.shape[1 - axis], float(frame.shape[axis]))
        return np.stack([frame.min(axis), frame.max(axis), frame.sum(axis, dtype=np.float64), count])
    known = np.isfinite(frame)
    low, high = np.where(known, frame, np.inf).min(axis), np.where(known, frame, -np.inf).max(axis)
    total = np.where(known, frame, 0).sum(axis, dtype=np.float64)
    return np.stack([low, high, total, known.sum(axis).astype(np.float64)])


def _along(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return minimum, maximum and mean over all frames, in few places; NaN where nothing was measured."""
    low, high = np.min([part[0] for part in parts], axis=0), np.max([part[1] for part in parts], axis=0)
    total, count = np.sum([part[2:] for part in parts], axis=0)
    starts = np.linspace(0, low.size, min(low.size, _POINTS) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    total, count = np.add.reduceat(total, starts), np.add.reduceat(count, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.stack([low, high, total / count])
    found[:, count == 0] = np.nan
    return found
