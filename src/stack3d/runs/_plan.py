"""What a run must know before it begins: where from, where to, which steps, how much space."""

from __future__ import annotations

import contextlib
import copy
import json
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
from stack3d._words import counted
from stack3d.io import _atomic
from stack3d.options import worker_count
from stack3d.runs import _marks
from stack3d.runs._workers import workers

if TYPE_CHECKING:
    from stack3d.runs._forecast import Stage
    from stack3d.runs.recipe import Recipe


_SUFFIXES = (".zarr", ".nc", ".tif", ".tiff")


def target_of(recipe: Recipe, out: str | os.PathLike[str] | None) -> Path:
    """Return where the result goes, links followed."""
    if out is None:
        return Path(os.path.realpath(recipe.located(recipe.output["path"])))
    check_place(out, f"out={str(out)!r}")
    return Path(os.path.realpath(out))


def check_place(path: str | os.PathLike[str], name: str) -> None:
    """Raise where no result can be written to a path, calling it by a name."""
    place = Path(path)
    if place.suffix not in _SUFFIXES:
        raise ValueError(f"{name}: the suffix says no format; allowed are {', '.join(_SUFFIXES)}")
    if not Path(os.path.realpath(place)).parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {str(place.parent)!r}; make it first")


def wrong_output(recipe: Recipe, out: str | os.PathLike[str] | None) -> list[str]:
    """Return a line for each thing that is wrong under ``[output]``, or with `out` in its place."""

    def where(key: str) -> str:
        line = recipe.line_of("output", key)
        return "[output]" if line is None else f"{recipe.name}, line {line}: [output]"

    lines = [
        f"{where(key)}: there is no {key!r} under [output]; it takes path and dtype"
        for key in recipe.output
        if key not in ("path", "dtype")
    ]
    path, dtype = recipe.output.get("path"), recipe.output.get("dtype")
    if dtype is not None:
        try:
            np.dtype(dtype)
        except TypeError:
            lines.append(f"{where('dtype')}: dtype = {json.dumps(dtype)} is no dtype, such as 'uint8' or 'float32'")
    if out is None and path is None:
        lines.append("the recipe does not say where the result goes: give out=, or path under [output]")
    elif out is None:
        try:
            check_place(recipe.located(str(path)), f"{where('path')}: path = {json.dumps(str(path))}")
        except (ValueError, FileNotFoundError) as error:
            lines.append(str(error))
    return lines


def number_of(recipe: Recipe, step: str | int) -> int:
    """Return the place (from 0) of a step given by name or by number (from 1)."""
    names = [item.operation for item in recipe.steps]
    if isinstance(step, str) and step.isdecimal():
        step = int(step)
    if isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= len(names):
        return step - 1
    if isinstance(step, str) and names.count(step) == 1:
        return names.index(step)
    count = names.count(str(step))
    several = f" ({count} steps have this name: give a number)" if count > 1 else ""
    raise ValueError(
        f"step {step!r} is not in the recipe{several}; it has {', '.join(f'{k}. {n}' for k, n in enumerate(names, 1))}"
    )


def chosen(recipe: Recipe, steps: Sequence[str | int] | None) -> list[int]:
    """Return the places of the steps to do, in the order of the recipe."""
    return list(range(len(recipe.steps))) if steps is None else sorted({number_of(recipe, step) for step in steps})


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the float in which pixels are carried between steps."""
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def leaves_holes(recipe: Recipe) -> bool:
    """Return whether a step marks pixels as missing, which integers cannot hold."""
    return any(step.parameters.get("fill") == "nan" for step in recipe.steps)


def check_target(target: Path, ours: dict[str, Any], overwrite: bool) -> None:
    """Raise where the result must not, or could not, be written."""
    made_by_run = target.exists() and ours.get("made") == stamp(target)
    _atomic.check_target(target, overwrite=overwrite or made_by_run, folder=target.suffix == ".zarr")


def check_space(folder: Path, stages: Sequence[Stage], raw: xr.DataArray) -> None:
    """Raise OSError when the result and all checkpoints could not fit, uncompressed, on the disk."""
    kept = [stage for stage in stages if stage.written]
    needed = (stages[-1].bytes if stages else raw.nbytes) + sum(stage.bytes for stage in kept)
    done = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free
    if needed - done > free:
        names = ", ".join(f"{stage.operation} ({stage.written})" for stage in kept)
        raise OSError(
            f"{str(folder)!r}: the result and {counted(len(kept), 'checkpoint')}{f', after {names},' if kept else ''} take up to "
            f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; make room, or choose another disk with out="
        )


def keep_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the recipe into the folder of a run, with paths that do not depend on where it was read."""
    kept = copy.copy(recipe)
    kept.input = {**recipe.input}
    if "path" in kept.input:
        kept.input["path"] = os.path.abspath(recipe.located(kept.input["path"]))
    kept.output = {**recipe.output}
    if "path" in kept.output:
        kept.output["path"] = os.path.abspath(recipe.located(kept.output["path"]))
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
        ]
        whole = sum(1 for _ in (folder / "estimates").glob("*.nc"))
        free = shutil.disk_usage(folder).free / 2**20
        error.add_note(
            f"{', '.join([counted(whole, 'estimate'), *kept])} are kept in {str(folder)!r} ({free:.0f} MiB free there). "
            "When the cause is mended, run the same again: it goes on there"
        )
        raise


def stamp(target: Path) -> list[int]:
    """Return what changes when somebody else replaces a result: the time of its header, or of the file."""
    header = target / "zarr.json"
    facts = (header if header.is_file() else target).stat()
    return [facts.st_mtime_ns, facts.st_size]


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
