"""Memory, disk and time of a run, before it."""

from __future__ import annotations

import copy
import tempfile
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stack3d._provenance import OPERATIONS
from stack3d._words import counted, size
from stack3d.options import worker_count
from stack3d.runs import _forecast

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

# Slices of the trials: enough for neighbours on both sides, and far enough apart for their difference to be measured.
_TRIAL = (3, 8)
_NOTICED = 2.0  # seconds of compiling and loading that are worth a word


@dataclass(frozen=True)
class Plan:
    """What a run takes.

    Attributes
    ----------
    slices : int
        Of the raw stack.
    workers : int
        Threads of the one process that was planned for.
    memory : int
        Most bytes at once, of one process with `workers` threads.
    disk : int
        Bytes of the result and of all checkpoints, uncompressed; they compress to less.
    read, written : int
        Bytes through all passes, uncompressed.
    passes : list of str
        Each pass over the stack: what it is for.
    seconds : float or None
        With `workers` that share the work evenly; None where no trial was made.
    note : str
        How the time was found, or why it was not.
    """

    slices: int
    workers: int
    memory: int
    disk: int
    read: int
    written: int
    passes: list[str] = field(default_factory=list)
    seconds: float | None = None
    note: str = ""

    def __str__(self) -> str:
        lines = [f"{counted(self.slices, 'slice')}, {counted(self.workers, 'thread')}"]
        lines += [f"pass {number}: {text}" for number, text in enumerate(self.passes, start=1)]
        lines.append(f"memory: up to {size(self.memory)}")
        lines.append(
            f"disk: up to {size(self.disk)}; read {size(self.read)}, written {size(self.written)}, uncompressed"
        )
        lines.append(f"time: {'unknown' if self.seconds is None else _clock(self.seconds)}; {self.note}")
        return "\n".join(lines)


def plan(recipe: Recipe, da: xr.DataArray | None, *, workers: int | None, trial: bool) -> Plan:
    """Return the plan of a run; see `Recipe.plan`."""
    from stack3d.runs._input import opened
    from stack3d.runs._links import links

    raw = opened(recipe) if da is None else da
    recipe.check(raw)
    workers = worker_count() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers={workers} must be 1 or more")
    chain = links(recipe, raw.dtype, list(range(len(recipe))))
    stages = _forecast.forecast([link.step for link in chain], raw)
    source, read, written, passes = raw.nbytes, 0, 0, []
    name = "the raw stack"
    for before, stage in zip([None, *stages], stages, strict=False):
        if before is not None and before.written:
            passes.append(f"{name} is read and the checkpoint after {before.operation} written ({before.written})")
            read, written, source, name = read + source, written + before.bytes, before.bytes, before.operation
        if stage.estimates:
            passes.append(f"{name} is read for the estimate of {stage.operation}")
            read += source
    result = stages[-1].bytes if stages else raw.nbytes
    passes.append(f"{name} is read and the result written")
    frame = max((stage.shape[-2:] for stage in stages), key=np.prod, default=raw.shape[-2:])
    frame = max(frame, raw.shape[-2:], key=np.prod)
    seconds, note = _trial(recipe, raw, workers) if trial else (None, "no trial was made")
    return Plan(
        slices=raw.sizes.get("z", 1),
        workers=workers,
        memory=_forecast.peak_memory((frame[0], frame[1]), workers),
        disk=written + result,
        read=read + source,
        written=written + result,
        passes=passes,
        seconds=seconds,
        note=note,
    )


def _trial(recipe: Recipe, raw: xr.DataArray, workers: int) -> tuple[float | None, str]:
    recipe, raw = _along_z(recipe, raw)
    count = raw.sizes.get("z", 1)
    few, more = _TRIAL
    if count < more:
        return None, f"a trial takes {more} slices, and the stack has {count}"
    start = (count - more) // 2
    try:
        first = _timed(recipe, raw.isel(z=slice(start, start + few)))  # compiles what is not compiled yet
        short, long = (_timed(recipe, raw.isel(z=slice(start, start + n))) for n in (few, more))
    except (ValueError, TypeError, RuntimeError, OSError, KeyError) as error:
        return None, f"a trial on a few slices failed ({error})"
    each = max(0.0, (long - short) / (more - few))
    note = f"from trials of {few} and {more} slices on one thread, {1e3 * each:.3g} ms a slice shared by {workers}"
    note += _compiling_said(first - short)
    return short + each * (count - few) / workers, note


def _along_z(recipe: Recipe, raw: xr.DataArray) -> tuple[Recipe, xr.DataArray]:
    """Return a recipe that leaves no slice out, and the slices that its first crops leave.

    What a later crop leaves out is worked on before it.
    """
    steps, first = [], True
    for step in recipe.steps:
        first = first and step.operation == "crop"
        kept = step.parameters.get("z") if step.operation == "crop" else None
        if kept is not None:
            if first:
                known = {name: step.parameters[name] for name in ("z", "by") if name in step.parameters}
                raw = OPERATIONS["crop"].function(raw, **known)
            step = replace(step, parameters={**step.parameters, "z": None})
        steps.append(step)
    copied = copy.copy(recipe)
    copied.steps = steps
    return copied, raw


def _compiling_said(seconds: float) -> str:
    """Return what a first use takes beside the work; it is over when the plan is told, and kept for later processes."""
    if seconds < _NOTICED:
        return ""
    return f"; compiling for the first use took another {_clock(seconds)}, once, which is not in it"


def _timed(recipe: Recipe, part: xr.DataArray) -> float:
    from stack3d.options import set_options
    from stack3d.runs.runner import run

    # What there is to be said of so few slices is not true of all of them.
    with tempfile.TemporaryDirectory() as folder, set_options(progress=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin = time.perf_counter()
        run(recipe, part, out=Path(folder) / "trial.zarr", scheduler="synchronous", report=False)
        return time.perf_counter() - begin


def _clock(seconds: Any) -> str:
    minutes, rest = divmod(round(float(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
