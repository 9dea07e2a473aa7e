"""Runs that are shared out among jobs which know nothing of each other, such as those of a SLURM array.

Every job does the same: under the lock of the run's folder it makes the estimates, or finds them made, and declares
the store. Then it lets go of the lock, writes the blocks of its own slices, takes the lock again, and the one that
finds every block written gives the store its name.
"""

from __future__ import annotations

import logging
import operator
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from stack3d.runs import _store
from stack3d.runs._folder import RunFolder
from stack3d.runs._lock import held
from stack3d.runs.recipe import Recipe
from stack3d.runs.runner import prepared

_LOGGER = logging.getLogger("stack3d")


def partition(n: int, workers: int, index: int) -> slice:
    """Return which of `n` slices the job `index` of `workers` takes: contiguous, balanced to one slice, none left out.

    Parameters
    ----------
    n : int
        How many slices there are.
    workers : int
        How many jobs share them.
    index : int
        Which of them this is, from 0, as array jobs count.

    Returns
    -------
    slice
        Empty where there are more jobs than slices.

    Raises
    ------
    ValueError
        When `n` is negative, `workers` is not positive, or `index` is not below `workers`.

    Examples
    --------
    >>> [stack3d.partition(10, 4, index) for index in range(4)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 10, None)]
    >>> part = stack.isel(z=stack3d.partition(stack.sizes["z"], 4, 0))
    """
    n, workers, index = operator.index(n), operator.index(workers), operator.index(index)
    if n < 0:
        raise ValueError(f"n={n} must be 0 or more")
    if workers < 1:
        raise ValueError(f"workers={workers} must be 1 or more")
    if not 0 <= index < workers:
        raise ValueError(f"index={index} must be from 0 to {workers - 1}, since workers={workers}")
    return slice(index * n // workers, (index + 1) * n // workers)


@dataclass(frozen=True)
class Part:
    """Job `index` (from 0) of `workers`."""

    index: int
    workers: int

    @classmethod
    def of(cls, given: str | tuple[int, int]) -> Part:
        """Return the part that ``"INDEX/WORKERS"`` or a pair of numbers says, or raise ValueError."""
        found = re.fullmatch(r"(\d+)/(\d+)", given) if isinstance(given, str) else None
        if isinstance(given, str) and found is None:
            raise ValueError(f"part={given!r} must be INDEX/WORKERS, such as '0/16'")
        index, workers = map(int, found.groups()) if found else map(operator.index, given)  # type: ignore[arg-type]
        partition(0, workers, index)
        return cls(index, workers)

    def __str__(self) -> str:
        return f"{self.index}/{self.workers}"


def run_part(
    recipe: Recipe | str | os.PathLike[str] | Sequence[Any],
    part: str | tuple[int, int],
    da: xr.DataArray | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    steps: Sequence[str | int] | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    report: bool | None = None,
) -> xr.DataArray | None:
    """Do one job's part of a run: for array jobs that share a disk, and nothing else.

    The first job to come makes each estimate, the others wait for it. Then each writes the blocks that begin within its
    own slices; the last to end puts the result in place. Where the recipe needs a checkpoint, a job ends after its part
    of that: do the same jobs again when all have ended, once for each checkpoint. Jobs that failed are done again, or
    `run` does what is missing.

    Parameters
    ----------
    recipe, da, out, steps, scheduler, overwrite, report
        As for `run`; the job that finishes the result writes the report.
    part : (int, int) or str
        Index of this job, from 0, and number of jobs; or ``"INDEX/WORKERS"``.

    Returns
    -------
    DataArray or None
        The result, opened lazily, where this job finished it or it was there; None while others write.

    Raises
    ------
    RecipeError, FileExistsError, OSError, ValueError
        As `run`.
    RuntimeError
        When another process is doing the same part.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "clean.zarr"
    >>> recipe = stack3d.Recipe(["match_histograms"])
    >>> done = [stack3d.runs.run_part(recipe, (index, 2), stack, out=out) for index in range(2)]
    >>> done[-1].sizes == stack.sizes
    True
    """
    mine = Part.of(part)
    with prepared(recipe, da, out=out, steps=steps, scheduler=scheduler) as job:
        shared = Shared(mine, job.folder)
        job.write = shared.write
        with shared.at_work():
            try:
                return job.reported(job.result(None, overwrite), report)
            except OthersAreWriting:
                done = job.finished()
                if done is None:
                    _LOGGER.info(
                        "part %s is written, others are not; once all jobs have ended, do them again or run", mine
                    )
                return done


class OthersAreWriting(Exception):
    """A part is written, and the store is not whole: the rest is that of other jobs."""


class Shared:
    """How one job writes its part of the stores of a run.

    Parameters
    ----------
    part : Part
    folder : RunFolder
    """

    def __init__(self, part: Part, folder: RunFolder) -> None:
        self.part, self.folder = part, folder
        self._lock: AbstractContextManager[None] | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the part, so that no plain run begins meanwhile, and the folder, but while blocks are written."""
        parts = self.folder.path / "parts"
        parts.mkdir(exist_ok=True)
        name = f"{self.part.index:05d}-of-{self.part.workers:05d}.lock"
        self.folder.part = Path(name).stem
        with ExitStack() as stack:
            stack.enter_context(held(parts / name, f"another job is writing part {self.part}", wait=False))
            try:
                self._take()
                yield
            finally:
                self._give_back()

    def write(self, da: xr.DataArray, path: Path, label: str, compression: str | None = "lz4", frames: int = 1) -> None:
        """Write this job's blocks of a store.

        Raises
        ------
        OthersAreWriting
            When it is not whole with them.
        """
        store = _store.Store(da, path, compression, frames)
        self._give_back()
        slices = partition(da.sizes.get("z", 1), self.part.workers, self.part.index)
        store.write(label=f"{label}, part {self.part}", slices=slices)
        self._take()
        if path.is_dir():
            return
        if not store.is_whole():
            raise OthersAreWriting
        store.finish()

    def _take(self) -> None:
        self._lock = self.folder.locked(wait=True)
        self._lock.__enter__()

    def _give_back(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.__exit__(None, None, None)
