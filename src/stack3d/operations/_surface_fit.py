"""Surfaces fitted to a stack: the core that background and shading share.

A stack is seen as few numbers: means of cells, or every n-th voxel. To these a polynomial of the position is fitted
robustly, or they are smoothed into a grid. Positions are normalised to 0 to 1 over the stack that was measured, so
that a crop, a binned version or another channel finds the same surface.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._words import counted
from stack3d.execution import reduce_frames
from stack3d.model import valid_slices
from stack3d.operations import _content, _exact, _grey, _terms

_CELLS = 32  # along each axis, for a polynomial
_KEPT = 2**21  # cell means of a whole stack that are held at once
_FITTED = 2**22  # voxels of a channel, every n-th of a stack, that are fitted without merging slices


class Sampling(NamedTuple):
    """Which grey values count, and at every which voxel (None: in cells)."""

    low: float | None
    high: float | None
    subsample: tuple[int, int, int] | None


class Sample(NamedTuple):
    """A stack in few numbers: values and amounts (leading dims, slices, rows, cols), mean powers of the positions."""

    values: np.ndarray
    amounts: np.ndarray
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray
    second: np.ndarray | None = None  # sums of powers of the distance from the mean, of cells
    third: np.ndarray | None = None


def check_sampling(low: Any, high: Any, subsample: Any) -> Sampling:
    """Return the sampling that was asked for, or raise."""
    for name, value in (("low", low), ("high", high)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value)
        ):
            raise ValueError(f"{name}={value!r} must be a grey value or None")
    if low is not None and high is not None and not low < high:
        raise ValueError(f"low={low!r} must be below high={high!r}")
    if subsample is not None:
        steps = (subsample,) * 3 if isinstance(subsample, int | np.integer) else ()
        steps = tuple(subsample) if isinstance(subsample, Iterable) else steps
        if len(steps) != 3 or any(isinstance(s, bool) or not isinstance(s, int | np.integer) or s < 1 for s in steps):
            raise ValueError(f"subsample={subsample!r} must be a whole number of at least 1, or three, for z, y and x")
        subsample = (int(steps[0]), int(steps[1]), int(steps[2]))
    return Sampling(low, high, subsample)


def check_steps(part: xr.DataArray, subsample: tuple[int, int, int] | None, powers: np.ndarray) -> None:
    """Raise where every n-th voxel of a frame gives too few places for the polynomial."""
    if subsample is None:
        return
    for column, dim in ((1, "y"), (2, "x")):
        size, most = part.sizes[dim], int(powers[:, column].max())
        kept = len(range(0, size, subsample[column]))
        if kept < size and kept <= most:
            raise ValueError(
                f"subsample={subsample!r} leaves {kept} of {counted(size, 'place')} along {dim}, too few for powers of {dim} up to "
                f"{most}; take smaller steps, or leave such terms out (degree, terms)"
            )


def check_measured(amounts: np.ndarray, sampling: Sampling) -> None:
    """Raise where no pixel of a stack, or of one of its channels, (..., z, y, x), lies between `low` and `high`."""
    there = np.any(amounts > 0, axis=(-3, -2, -1))
    given = {name: value for name, value in (("low", sampling.low), ("high", sampling.high)) if value is not None}
    if given and not there.all():
        of = f" in {int((~there).sum())} of {counted(there.size, 'channel')}" if there.size > 1 else ""
        raise ValueError(
            f"{', '.join(f'{name}={value!r}' for name, value in given.items())}: no measured pixel lies there{of}, "
            "so that there is nothing to fit; low and high are grey values of the stack, both ends included"
        )


def normalised(da: xr.DataArray, dim: str, frame: Mapping[str, float]) -> np.ndarray:
    """Return the positions of `da` along a dim, 0 to 1 over the stack that was measured."""
    values = places(da, dim)
    found: np.ndarray = (values - frame[f"origin_{dim}"]) / (frame[f"span_{dim}"] or 1.0)
    return found


def frame_of(da: xr.DataArray) -> dict[str, float]:
    """Return where the normalised positions begin and how far they reach."""
    found = {}
    for dim in ("z", "y", "x"):
        values = places(da, dim)
        found[f"origin_{dim}"], found[f"span_{dim}"] = float(values[0]), float(values[-1] - values[0])
    return found


def places(da: xr.DataArray, dim: str) -> np.ndarray:
    """Return the positions along a dim, counted where there are none."""
    if dim in da.coords:
        return np.atleast_1d(np.asarray(da[dim].values, dtype=np.float64))
    return np.arange(da.sizes.get(dim, 1), dtype=np.float64)


def sampled(
    da: xr.DataArray, sampling: Sampling, region: Mapping[str, Any] | None, device: str | None, label: str
) -> Sample:
    """Read each frame once and keep few numbers of it."""
    # What is measured is float64 inside, whatever the dtype.
    part = _exact.source(_grey.measured(da, region))
    frame = frame_of(da)
    rows, cols = part.sizes["y"], part.sizes["x"]
    positions = {dim: normalised(part, dim, frame) for dim in ("z", "y", "x")}
    valid = valid_slices(da) if "z" in da.dims else np.ones(1, dtype=bool)
    if sampling.subsample is not None:
        sz, sy, sx = sampling.subsample
        if "z" in da.dims:
            part = part.isel(z=slice(None, None, sz))
        found = reduce_frames(
            part,
            _points,
            arguments={"sy": sy, "sx": sx, "low": sampling.low, "high": sampling.high},
            device=device,
            label=label,
        )
        amounts = np.isfinite(found["values"]).astype(np.float64)
        keep = valid[::sz]
        powers = [_powers(positions[dim][::step]) for dim, step in (("z", sz), ("y", sy), ("x", sx))]
        values = found["values"]
    else:
        count = part.sizes.get("z", 1)
        side = int(np.clip(np.sqrt(_KEPT / max(count, 1)), 8, _CELLS))
        edges = [kernels.cells.edges(size, side) for size in (rows, cols)]
        found = reduce_frames(
            part,
            _moments,
            arguments={"rows": edges[0], "cols": edges[1], "low": sampling.low, "high": sampling.high},
            device=device,
            label=label,
        )
        values, amounts, keep = found["values"], found["amounts"], valid
        second, third = found["second"], found["third"]
        powers = [_powers(positions["z"])]
        powers += [_mean_powers(positions[dim], edge) for dim, edge in zip(("y", "x"), edges, strict=True)]
    if "z" not in part.dims:
        values, amounts = np.expand_dims(values, -3), np.expand_dims(amounts, -3)
    check_measured(amounts, sampling)
    amounts[..., ~keep, :, :] = 0.0
    sample = Sample(values, amounts, powers[0], powers[1], powers[2])
    if sampling.subsample is not None:
        return sample
    second, third = (sums.reshape(values.shape) for sums in (second, third))
    for sums in (second, third):
        sums[..., ~keep, :, :] = 0.0
    return sample._replace(second=second, third=third)


def grouped(sample: Sample, groups: int | None = None) -> Sample:
    """Return a sample with neighbouring slices merged, so that a fit over the stack has a fixed size.

    Every n-th voxel is a grey value, not a mean, and weighed by itself, as long as there are not too many.
    """
    count, rows, cols = sample.values.shape[-3:]
    most = _CELLS if sample.second is not None else max(_CELLS, _FITTED // (rows * cols))
    edges = kernels.cells.edges(count, groups or most)
    if len(edges) - 1 == count:
        return sample
    z = np.add.reduceat(sample.z, edges[:-1], axis=0) / np.diff(edges)[:, None]
    rest = [np.arange(size + 1) for size in sample.values.shape[-2:]]
    if sample.second is None or sample.third is None:
        known = np.where(sample.amounts > 0, sample.values, 0.0)
        return Sample(*_content.means_of(known, sample.amounts, [edges, *rest]), z, sample.y, sample.x)
    # Group by group: what is counted on the way is as large as what is merged.
    parts = []
    for start, stop in itertools.pairwise(edges):
        numbers = (sample.values, sample.amounts, sample.second, sample.third)
        part = _content.Moments(*(table[..., start:stop, :, :] for table in numbers))
        parts.append(_content.merged(part, [np.array([0, stop - start]), *rest]))
    mean, amount, second, third = (np.concatenate(tables, axis=-3) for tables in zip(*parts, strict=True))
    return Sample(mean, amount, z, sample.y, sample.x, second, third)


def design(sample: Sample, powers: np.ndarray) -> np.ndarray:
    """Return the value of each term at each number of a sample, (slices * rows * cols, terms)."""
    return kernels.fit_grid.design((sample.z, sample.y, sample.x), powers)


def matrices_at(coefficients: np.ndarray, powers: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the polynomials of y and x at some heights, as matrices that `kernels.surface.polynomial` takes."""
    matrices = np.zeros((len(z), int(powers[:, 1].max()) + 1, int(powers[:, 2].max()) + 1))
    for value, (c, b, a) in zip(coefficients, powers, strict=True):
        matrices[:, b, a] += value * z**c
    return matrices


def term_names(powers: np.ndarray) -> list[str]:
    """Return the terms as text."""
    return [_terms.name(exponents) for exponents in powers]


def _powers(positions: np.ndarray) -> np.ndarray:
    return np.asarray(positions[:, None] ** np.arange(10)[None, :])


def _mean_powers(positions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.asarray(np.add.reduceat(_powers(positions), edges[:-1], axis=0) / np.diff(edges)[:, None])


def _points(frame: np.ndarray, sy: int, sx: int, low: float | None, high: float | None) -> dict[str, Any]:
    values = frame[::sy, ::sx].astype(np.float64)
    good = (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
    values[~good] = np.nan
    return {"values": values}


def _moments(
    frame: np.ndarray, rows: np.ndarray, cols: np.ndarray, low: float | None, high: float | None
) -> dict[str, Any]:
    names = ("values", "amounts", "second", "third")
    return dict(zip(names, kernels.cells.moments(frame, rows, cols, low, high), strict=True))


def _means(
    frame: np.ndarray, rows: np.ndarray, cols: np.ndarray, low: float | None, high: float | None
) -> dict[str, Any]:
    values, amounts = kernels.cells.means(frame, rows, cols, low, high)
    return {"values": values, "amounts": amounts}
