"""Local displacements: every block of the frame on its own, on top of the transforms of the slices.

Frames are put in place by their transforms, cut into overlapping blocks, and each block is treated as a stack of its
own: pairs by phase, the place of every slice from all pairs. What the blocks say holds at their centres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.grid import Frame
from stack3d.model import valid_slices
from stack3d.operations._transform_frames import Treatment
from stack3d.operations._transform_ways import PhasePlan, Settings, phase_pair, phase_plan, phase_spectrum, weighed
from stack3d.transforms._field import Field, variables
from stack3d.transforms._matrices import in_frame, matrices_of
from stack3d.windows import reduce_windows

_SMALLEST = 24  # pixels of the side of a block
_WINDOW = 0.25  # tapered fraction of the sides of a block
_SLACK = 1.0  # pixels by which parts of the spectrum of a block may disagree
_TRUSTED = 0.01  # pairs of slices less trusted than this are not compared block by block


def check_blocks(blocks: Any) -> tuple[int, int] | None:
    """Return the rows and columns of blocks, after a look at them."""
    if blocks is None:
        return None
    if not isinstance(blocks, tuple | list) or len(blocks) != 2:
        raise ValueError(f"blocks={blocks!r} must be (rows, columns)")
    for number in blocks:
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"blocks={blocks!r} must hold two whole numbers of at least 1")
    return int(blocks[0]), int(blocks[1])


@dataclass(frozen=True)
class Tiles:
    """Blocks of one size, next ones half over each other: first pixels (n, [y, x]), size, and where centres lie."""

    corners: np.ndarray
    size: tuple[int, int]
    y: np.ndarray
    x: np.ndarray

    @classmethod
    def of(cls, shape: tuple[int, int], blocks: tuple[int, int]) -> Tiles:
        """Return the blocks of a frame."""
        sizes, starts = [], []
        for side, number in zip(shape, blocks, strict=True):
            size = min(side, -(-2 * side // (number + 1)))
            sizes.append(size)
            starts.append(np.rint(np.arange(number) * ((side - size) / max(number - 1, 1))).astype(int))
        if min(sizes) < _SMALLEST:
            raise ValueError(
                f"blocks={blocks!r} cuts frames of {shape[0]} x {shape[1]} pixels into blocks of {sizes[0]} x {sizes[1]}; "
                f"they must have at least {_SMALLEST} pixels a side"
            )
        y, x = np.meshgrid(*starts, indexing="ij")
        centres = [start + (size - 1) / 2 for start, size in zip(starts, sizes, strict=True)]
        return cls(np.stack([y.ravel(), x.ravel()], axis=1), (sizes[0], sizes[1]), centres[0], centres[1])


def displaced(
    da: xr.DataArray,
    one: xr.DataArray,
    estimate: xr.Dataset,
    blocks: tuple[int, int],
    treatment: Treatment,
    settings: Settings,
) -> dict[str, Any]:
    """Return the variables of the field of `da`, measured on `one`, the part of it that is compared."""
    frame = Frame.of(one)
    tiles = Tiles.of(frame.shape, blocks)
    plan = block_plan(tiles.size, settings)
    matrices = in_frame(matrices_of(estimate), Frame.of(da), frame)
    first, second = estimate["pair_first"].values, estimate["pair_second"].values
    good = estimate["valid"].values & valid_slices(da)
    used = (estimate["pair_trust"].values > _TRUSTED) & good[first] & good[second]
    count = len(matrices)
    partners: list[list[int]] = [[] for _ in range(count)]
    for i, j in zip(first[used], second[used], strict=True):
        partners[i].append(int(j - i))
    reach = max((max(lags) for lags in partners if lags), default=1)
    index = np.arange(count)
    table = reduce_windows(
        one,
        _pairs_of_blocks,
        np.stack([index, np.array([k + max(lags, default=0) + 1 for k, lags in enumerate(partners)])], axis=1),
        prepare=_spectra,
        prepare_arguments={"treatment": treatment, "tiles": tiles, "plan": plan},
        per_frame={"matrix": xr.DataArray(matrices, dims=("z", "row", "col"))},
        arguments={"plan": plan, "reach": reach, "number": len(tiles.corners)},
        per_output={"partners": partners},
        label="estimate blocks",
    )["pairs"]
    first, lag = np.nonzero(~np.isnan(table[:, :, 0, -1]))
    grid, measured = solved_blocks(first, first + lag + 1, table[first, lag], count, tiles)
    grid = grid.reshape(count, *blocks, 2)
    measured = measured.reshape(count, *blocks)
    found = variables(Field(grid, tiles.y, tiles.x), frame)
    return {**found, "block_valid": (("z", "block_y", "block_x"), measured & good[:, None, None])}


def block_plan(size: tuple[int, int], settings: Settings) -> PhasePlan:
    """Return how blocks are compared: as frames are, but for strain.

    Where a block is strained, what is coarse and what is fine in it are displaced differently.
    """
    plan = phase_plan(size, settings)
    # What is left within a block is small: no jump can be missed, and nothing is checked.
    return plan._replace(plan=replace(plan.plan, window=_WINDOW, slack=_SLACK, direct=False))


def _spectra(frame: Any, matrix: np.ndarray, treatment: Treatment, tiles: Tiles, plan: PhasePlan) -> list[Any]:
    pixels = treatment.pixels(frame)
    pixels = pixels.astype(np.float32) if treatment.weight is None else weighed(pixels, treatment.weight)
    placed, _ = kernels.warp.warp_frame(pixels, matrix, fill="constant", value=np.nan)
    rows, cols = tiles.size
    return [phase_spectrum(placed[y : y + rows, x : x + cols], None, plan) for y, x in tiles.corners]


def _pairs_of_blocks(
    prepared: list[list[Any]], partners: list[int], plan: PhasePlan, reach: int, number: int
) -> dict[str, np.ndarray]:
    """Compare the blocks of the first slice of a window with those of its partners: (reach, blocks, 4)."""
    table = np.full((reach, number, 4), np.nan)
    for lag in partners:
        for b in range(number):
            table[lag - 1, b] = phase_pair(prepared[0][b], prepared[lag][b], plan)
    return {"pairs": table}


def solved_blocks(
    first: np.ndarray, second: np.ndarray, table: np.ndarray, count: int, tiles: Tiles
) -> tuple[np.ndarray, np.ndarray]:
    """Return displacements (z, blocks, [y, x]) and which of them were measured (z, blocks).

    Blocks that begin to hold something further up begin with what the others say there; blocks that never do follow
    the others.
    """
    number = table.shape[1]
    grid, measured = np.zeros((count, number, 2)), np.zeros((count, number), dtype=bool)
    for b in range(number):
        good = table[:, b, -1] > 0
        shifts = np.where(good[:, None], table[:, b, :2], np.nan)
        solution = kernels.solve.positions(first, second, shifts, np.where(good, table[:, b, -1], 0.0), count)
        grid[:, b], measured[:, b] = solution.positions, solution.ok
    centre = tiles.corners / np.array(tiles.size)
    away = ((centre[:, None] - centre[None]) ** 2).sum(axis=2)
    begins = np.where(measured.any(axis=0), measured.argmax(axis=0), count)
    done: list[int] = []
    for b in np.argsort(begins, kind="stable"):
        near = 1 / np.maximum(away[b, done], 1e-9) ** 2
        if begins[b] == count:
            grid[:, b] = np.average(grid[:, done], axis=1, weights=near) if done else 0.0
        elif done and begins[b] > begins[done[0]]:
            grid[:, b] += np.average(grid[begins[b], done], axis=0, weights=near)
        if begins[b] < count:
            done.append(int(b))
    return grid, measured
