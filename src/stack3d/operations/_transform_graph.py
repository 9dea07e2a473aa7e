"""The graph of pairs, as variables of an estimate."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.grid import Frame
from stack3d.operations._transform_ways import Solved, as_matrices
from stack3d.transforms._matrices import displacement, in_frame

_DIMS = ("pair", "row", "col")


def graph(
    first: np.ndarray, second: np.ndarray, table: np.ndarray, solved: Solved, made_in: Frame, frame: Frame
) -> dict[str, Any]:
    """Return what is known of each pair, in pixels of `frame`; `table` has (parameters, quality, weight) a pair."""
    pairs = as_matrices(table[:, :-2])
    refused = ~np.isfinite(pairs).all(axis=(1, 2))
    pairs[refused] = np.eye(3)
    left = pairs @ solved.matrices[first] - solved.matrices[second]
    residual = np.sqrt(np.mean((left @ _corners(made_in.shape))[:, :2] ** 2, axis=(1, 2)))
    pairs = in_frame(pairs, made_in, frame)
    shift = displacement(pairs, frame)
    for values in (residual, shift, pairs):
        values[refused] = np.nan
    return {
        "pair_first": ("pair", first),
        "pair_second": ("pair", second),
        "pair_transform": (_DIMS, pairs, {"long_name": "from (x, y, 1) in the first to the second slice, in pixels"}),
        "pair_shift_y": ("pair", shift[:, 0], {"units": "pixel"}),
        "pair_shift_x": ("pair", shift[:, 1], {"units": "pixel"}),
        "pair_quality": ("pair", table[:, -2]),
        "pair_residual": ("pair", residual, {"units": "pixel"}),
        "pair_trust": ("pair", solved.trust),
    }


def _corners(shape: tuple[int, int]) -> np.ndarray:
    rows, cols = shape
    return np.array([[x, y, 1.0] for x in (0, cols - 1) for y in (0, rows - 1)]).T
