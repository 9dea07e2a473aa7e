"""What a run must know before it begins: where from, where to, which steps, how much space."""

from __future__ import annotations

import contextlib
import copy
import os
import platform
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stack3d._version import __version__
from stack3d._words import counted, size
from stack3d.options import worker_count
from stack3d.runs import _marks
from stack3d.runs._workers import workers

if TYPE_CHECKING:
    from stack3d.runs._forecast import Stage
    from stack3d.runs.recipe import Recipe


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float in which pixels are carried between steps."""
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def leaves_holes(recipe: Recipe) -> bool:
    """Return whether a step marks pixels as missing, which integers cannot hold."""
    return any(step.parameters.get("fill") == "nan" for step in recipe.steps)


def check_space(folder: Path, stages: Sequence[Stage], raw: xr.DataArray) -> None:
    """Raise OSError when the result and all checkpoints could not fit, uncompressed, on the disk."""
    kept = [stage for stage in stages if stage.written]
    needed = (stages[-1].bytes if stages else raw.nbytes) + sum(stage.bytes for stage in kept)
    done = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free
    if needed - done > free:
        names = ", ".join(f"{stage.operation} ({stage.written})" for stage in kept)
        checkpoints = f" and {counted(len(kept), 'checkpoint')}, after {names}," if kept else ""
        raise OSError(
            f"{str(folder)!r}: the result{checkpoints} take{'' if kept else 's'} up to {size(needed)}, and {size(max(0, free))} are free; "
            "make room, or choose another disk with out="
        )


def keep_recipe(recipe: Recipe, folder: Path, places: Sequence[int]) -> None:
    """Write what a run does into its folder, as a recipe with paths that do not depend on where it was read."""
    kept = copy.copy(recipe)
    kept.steps = [recipe.steps[place] for place in places]
    kept.input = {**recipe.input}
    if "path" in kept.input:
        kept.input["path"] = os.path.abspath(recipe.located(kept.input["path"]))
    kept.output = {**recipe.output, "path": str(folder).removesuffix(".run")}
    kept.save(folder / "recipe.toml")


@contextlib.contextmanager
def saying_how_to_go_on(folder: Path) -> Iterator[None]:
    """Add to an error what is kept of the work done so far."""
    try:
        yield
    except Exception as error:
        kept = [
            f"{counted(len(_marks.found(marks)), 'block')} of {marks.stem.partition('.')[0]!r}"
            for marks in (folder / "checkpoints").glob("*.blocks")
            if marks.with_suffix(".unfinished").is_dir()
        ]
        whole = sum(1 for _ in (folder / "estimates").glob("*.nc"))
        free = shutil.disk_usage(folder).free / 2**20
        error.add_note(
            f"{', '.join([counted(whole, 'estimate'), *kept])} are kept in {str(folder)!r} ({free:.0f} MiB free there). "
            "When the cause is mended, run the same again: it goes on there"
        )
        raise


def machine() -> dict[str, str]:
    """Return on what a run ran, for its report."""
    import dask
    from dask.base import named_schedulers

    scheduler = dask.config.get("scheduler", None)
    names = [name for name in ("threads", "processes", "synchronous") if named_schedulers[name] is scheduler]
    scheduler = names[0] if names else scheduler
    cores = worker_count()
    return {
        "host": platform.node(),
        "cores": str(cores),
        "scheduler": scheduler if isinstance(scheduler, str) else "threads" if scheduler is None else "cluster",
        "python": platform.python_version(),
        "stack3d": __version__,
        **workers(),
    }


@contextlib.contextmanager
def noting_warnings(lines: list[str]) -> Iterator[None]:
    """Show warnings as always, and keep their texts."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def keep(message: Warning | str, category: Any, *rest: Any, **more: Any) -> None:
            lines.append(f"{category.__name__}: {message}")
            shown(message, category, *rest, **more)

        warnings.showwarning = keep
        yield
