"""What a run will do, step by step, found out without computing: sizes, estimates, checkpoints, memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from stack3d import progress
from stack3d._provenance import OPERATIONS
from stack3d.io import _kept_chunks
from stack3d.runs.recipe import Step

# Bytes of a process that has loaded the libraries and compiled code; arrays of the size of a frame, in float32, that a
# task has at once; blocks that wait between tasks for their neighbours, beside one a worker. Measured and simulated by
# benchmarks/run_memory.py and benchmarks/planning.py.
PROCESS = 500 * 10**6
FRAMES_IN_TASK = 16
HELD_BESIDE = 36


class Stage(NamedTuple):
    """A step as it will be done: on how much, and what comes of it."""

    operation: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    estimates: bool
    written: str  # "", "asked" or "automatic": whether what comes of it is a checkpoint

    @property
    def bytes(self) -> int:
        """Return how much comes of it, uncompressed."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def forecast(steps: Sequence[Step], da: xr.DataArray) -> list[Stage]:
    """Return the stages of a run; no frame is read.

    What an estimate will say is not known: a step whose frames depend on it (a crop to what all slices share) counts
    as leaving them as they are.
    """
    if da.chunks is None:
        da = da.chunk(dict.fromkeys(da.dims[:-2], 1))
    stages: list[Stage] = []
    dear = False
    with progress.refusing_work(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in steps:
            known = OPERATIONS[step.operation]
            estimates = known.estimates(step.complete())
            if estimates and dear:
                stages[-1] = stages[-1]._replace(written=stages[-1].written or "automatic")
                dear = False
            try:
                da = known.function(da, **step.parameters)
            except progress.WorkRefused:
                if step.parameters.get("dtype") is not None:
                    da = da.astype(step.parameters["dtype"])
            dear = (dear or known.dear) and not step.checkpoint
            stages.append(Stage(step.operation, da.shape, da.dtype, estimates, "asked" if step.checkpoint else ""))
    return stages


def peak_memory(shape: tuple[int, int], workers: int) -> int:
    """Return how many bytes a process with `workers` threads takes at most, for frames of a shape."""
    frame = 4 * shape[0] * shape[1]
    return PROCESS + _kept_chunks.LIMIT + frame * (workers * FRAMES_IN_TASK + workers + HELD_BESIDE)
