"""The passes over the pixels: a few whole frames for the pictures, and numbers, histograms and cuts of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from stack3d.execution import reduce_frames
from stack3d.reporting._images import shrunk
from stack3d.reporting._matched import Matched, Side

BINS = 128
_PROFILE_BYTES = 2**30
_LEAST_PROFILED = 32
_MOST_PROFILED = 1000
_MOST_ROWS = 720


@dataclass(frozen=True)
class Fit:
    """Where the pixels of a frame come to lie in a picture: a part of the frame, and a part of the picture."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    target: tuple[int, int, int, int]
    shape: tuple[int, int]

    @property
    def empty(self) -> bool:
        """Whether frame and picture have nothing in common."""
        top, bottom, left, right = self.target
        return bottom <= top or right <= left


@dataclass(frozen=True, eq=False)
class Profile:
    """Numbers of some slices of one side, the cuts through them, and their histograms."""

    slices: np.ndarray
    table: dict[str, np.ndarray]
    counts: np.ndarray
    edges: np.ndarray
    fit: Fit


def picture_shape(side: Side, longest: int) -> tuple[int, int]:
    """Return the size of pictures of a stack, in its own proportions of pixels."""
    height, width = side.da.sizes["y"], side.da.sizes["x"]
    share = min(1.0, longest / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def fit(side: Side, window: Side, shape: tuple[int, int]) -> Fit:
    """Return how frames of one side come to lie in pictures whose borders are those of `window`."""
    (rows, top, bottom), (columns, left, right) = (
        _overlap(side.edges[dim], window.edges[dim], count) for dim, count in zip(("y", "x"), shape, strict=True)
    )
    return Fit(rows, columns, (top, bottom, left, right), shape)


def _overlap(own: np.ndarray, window: np.ndarray, count: int) -> tuple[tuple[int, int], int, int]:
    low, high = max(own[0], window[0]), min(own[-1], window[-1])
    if high <= low:
        return (0, 1), 0, 0
    first = int(np.clip(np.searchsorted(own, low + 1e-6 * (own[1] - own[0]), side="right") - 1, 0, own.size - 2))
    last = int(np.clip(np.searchsorted(own, high - 1e-6 * (own[-1] - own[-2]), side="left"), first + 1, own.size - 1))
    span = window[-1] - window[0]
    begin, end = (int(np.clip(round((own[k] - window[0]) / span * count), 0, count)) for k in (first, last))
    return (first, last), begin, max(end, min(begin + 1, count))


def pictures(da: xr.DataArray, place: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (n, y, x) of the frames of `da`, missing pixels NaN, and the range of each frame, (n, 2)."""
    found = reduce_frames(da, _picture, arguments={"place": place}, device="cpu", label="report: pictures", as_is=True)
    return found["picture"], found["range"]


def _picture(frame: np.ndarray, place: Fit) -> dict[str, np.ndarray]:
    known = frame[np.isfinite(frame)] if frame.dtype.kind == "f" else frame
    limits = np.array([known.min(), known.max()] if known.size else [np.nan, np.nan], np.float64)
    return {"picture": placed(frame, place), "range": limits}


def placed(frame: np.ndarray, place: Fit) -> np.ndarray:
    canvas = np.full(place.shape, np.nan, np.float32)
    if not place.empty:
        top, bottom, left, right = place.target
        part = frame[slice(*place.rows), slice(*place.columns)]
        canvas[top:bottom, left:right] = shrunk(part, (bottom - top, right - left))
    return canvas


def profiled_slices(side: Side) -> np.ndarray:
    """Return which slices are looked at for profiles: all of a small stack, evenly spread ones of a large one."""
    count = side.da.sizes["z"]
    frame = side.da.sizes["y"] * side.da.sizes["x"] * side.da.dtype.itemsize
    most = int(np.clip(_PROFILE_BYTES // max(frame, 1), _LEAST_PROFILED, _MOST_PROFILED))
    return spread(count, most)


def spread(count: int, most: int) -> np.ndarray:
    """Return at most so many numbers from 0 to ``count - 1``, evenly spread, the middle one among them."""
    if count <= most:
        return np.arange(count)
    if most <= 1:
        return np.array([count // 2])
    return np.unique(np.append(np.linspace(0, count - 1, most - 1).round().astype(int), count // 2))


def bin_edges(limits: tuple[float, float], whole: bool) -> np.ndarray:
    """Return the edges of histograms; those of whole numbers hold equally many levels each, so that no bin stands out."""
    if not whole or not np.abs(limits).max() < 2**52:
        return np.linspace(*limits, BINS + 1)
    first, last = np.floor(limits[0]), np.ceil(limits[1])
    width = np.ceil((last - first + 1) / BINS)
    return np.asarray(first - 0.5 + width * np.arange(np.ceil((last - first + 1) / width) + 1))


def profile(side: Side, window: Side, shape: tuple[int, int], edges: np.ndarray) -> Profile:
    """Return statistics, histogram and the two middle cuts of slices, each frame read once."""
    slices, place = profiled_slices(side), fit(side, window, shape)
    middle = [
        int(np.argmin(np.abs(side.places[dim] - (window.edges[dim][0] + window.edges[dim][-1]) / 2)))
        for dim in ("y", "x")
    ]
    found = reduce_frames(
        side.isel(slices),
        _numbers,
        arguments={"edges": edges, "place": place, "row": middle[0], "column": middle[1]},
        device="cpu",
        label="report: profiles",
        as_is=True,
    )
    if "levels" in found:
        found |= _of_levels(found.pop("levels"), int(np.iinfo(side.da.dtype).min), edges)
    return Profile(slices, found, found.pop("counts"), edges, place)


def _numbers(frame: np.ndarray, edges: np.ndarray, place: Fit, row: int, column: int) -> dict[str, Any]:
    top, bottom, left, right = place.target
    across, down = (np.full(size, np.nan, np.float32) for size in (place.shape[1], place.shape[0]))
    if not place.empty:
        line = frame[row : row + 1, slice(*place.columns)]
        across[left:right] = shrunk(line, (1, right - left))[0]
        down[top:bottom] = shrunk(frame[slice(*place.rows), column : column + 1], (bottom - top, 1))[:, 0]
    cuts = {"across": across, "down": down}
    return {**(_levels(frame) if frame.dtype.itemsize == 1 else grey_values(frame, edges)), **cuts}


def _levels(frame: np.ndarray) -> dict[str, np.ndarray]:
    """Return how many pixels of 8 bits have each level: few numbers, of which those of all frames come at once."""
    from stack3d.kernels import statistics

    counts, first = statistics.level_counts(frame)
    found = np.zeros(256, np.int64)
    begin = first - np.iinfo(frame.dtype).min
    found[begin : begin + counts.size] = counts
    return {"levels": found}


def grey_values(frame: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    """Return statistics of the measured pixels, and how many lie in each of equally wide bins.

    The bins at both ends hold what lies beyond.
    """
    from stack3d.kernels import statistics

    if frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2:
        counts, first = statistics.level_counts(frame)
        return {name: values[0] for name, values in _of_levels(counts[None], first, edges).items()}
    numbers = statistics.frame_statistics(frame)
    known = frame[np.isfinite(frame)] if frame.dtype.kind == "f" else frame.ravel()
    # An even part of the pixels tells the shape of a histogram.
    some = known[:: max(1, known.size // 1_000_000)]
    return {
        "minimum": numbers.minimum,
        "maximum": numbers.maximum,
        "mean": numbers.mean,
        "standard_deviation": numbers.std,
        "median": float(statistics.quantiles(frame, np.array([0.5]))[0]),
        "measured_share": numbers.pixels / frame.size,
        "counts": np.bincount(_bin_of(some, edges), minlength=edges.size - 1),
    }


def _of_levels(counts: np.ndarray, first: int, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same of frames from the number of pixels (frame, level) of each level, counted once."""
    present = np.flatnonzero(counts.any(axis=0))
    counts, level = counts[:, present], present + first
    up_to = np.cumsum(counts, axis=1)
    total = up_to[:, -1]
    mean = (counts @ level) / total
    there = counts > 0
    middle = [(up_to <= rank[:, None]).sum(axis=1) for rank in ((total - 1) // 2, total // 2)]
    bins, starts = np.unique(_bin_of(level, edges), return_index=True)
    found = np.zeros((len(counts), edges.size - 1), np.int64)
    found[:, bins] = np.add.reduceat(counts, starts, axis=1)
    return {
        "minimum": level[there.argmax(axis=1)].astype(float),
        "maximum": level[level.size - 1 - there[:, ::-1].argmax(axis=1)].astype(float),
        "mean": mean,
        "standard_deviation": np.sqrt((counts * (level - mean[:, None]) ** 2).sum(axis=1) / total),
        "median": (level[middle[0]] + level[middle[1]]) / 2,
        "measured_share": np.ones(len(counts)),
        "counts": found,
    }


def _bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    place = (values.astype(np.float64) - edges[0]) * ((edges.size - 1) / (edges[-1] - edges[0]))
    return np.asarray(np.clip(place, 0, edges.size - 2), np.int64)


def planes(side: Side, found: Profile, pair: Matched) -> dict[str, np.ndarray]:
    """Return the cuts XZ (z, x) and YZ (y, z) in the true proportions of the result, NaN beyond the stack."""
    window, shape = pair.after, found.fit.shape
    extent = {dim: window.edges[dim][-1] - window.edges[dim][0] for dim in ("z", "x")}
    per_unit = shape[1] / extent["x"] if pair.units["z"] == pair.units["x"] else 1.0 / _median_step(window)
    rows = int(np.clip(round(extent["z"] * per_unit), 1, _MOST_ROWS))
    centres = window.edges["z"][0] + (np.arange(rows) + 0.5) / rows * extent["z"]
    places = side.places["z"][found.slices]
    nearest = np.argmin(np.abs(places[None, :] - centres[:, None]), axis=1)
    inside = (centres >= side.edges["z"][0]) & (centres <= side.edges["z"][-1])
    cuts = {name: found.table[name][nearest].astype(np.float32) for name in ("across", "down")}
    for cut in cuts.values():
        cut[~inside] = np.nan
    return {"xz": cuts["across"], "yz": cuts["down"].T}


def _median_step(side: Side) -> float:
    values = side.places["z"]
    return float(np.median(np.diff(values))) if values.size > 1 else 1.0
