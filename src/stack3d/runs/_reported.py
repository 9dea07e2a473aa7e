"""The report that a run writes beside its result; nothing that goes wrong with it may cost the result."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from stack3d._warn import warn
from stack3d.io import open_stack
from stack3d.reporting import ReportWarning
from stack3d.runs.recipe import Recipe

_LOGGER = logging.getLogger("stack3d")


def page_of(target: str | os.PathLike[str]) -> Path:
    """Return where the report of a result goes: ``NAME.html`` beside ``NAME``."""
    return Path(f"{target}.html")


def folder_of(result: str | os.PathLike[str]) -> Path | None:
    """Return the folder of the run that made a result, ``NAME.run``; None where there is none."""
    folder = Path(f"{os.path.realpath(result)}.run")
    return folder if (folder / "state.json").is_file() else None


def raw_of(result: str | os.PathLike[str]) -> xr.DataArray | None:
    """Return the raw stack of a run, as its recipe opens it; None where it is not known or no longer there."""
    folder = folder_of(result)
    recipe = (
        None if folder is None or not (folder / "recipe.toml").is_file() else Recipe.from_file(folder / "recipe.toml")
    )
    if recipe is None or "path" not in recipe.input:
        return None
    path = Path(recipe.located(recipe.input["path"]))
    if not path.exists():
        warn(f"the raw stack of {str(result)!r}, {str(path)!r}, is not there; give it with before=")
        return None
    return open_stack(**{**recipe.input, "path": path})


def write_report(
    target: Path,
    clean: xr.DataArray,
    raw: xr.DataArray,
    folder: Path,
    estimates: Mapping[str, xr.Dataset],
    stages: Mapping[str, xr.DataArray],
    source: str | None,
) -> Path | None:
    """Write the report of a run, or warn and return None; `estimates` are those known by the names of their files."""
    try:
        from stack3d.reporting import _notes, _page, _write

        page = _page.check_target(page_of(target), overwrite=False)
        _LOGGER.info("report: being made")
        # What the steps have to say was said while the result was made.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = {"after": str(target), "before": source or ""}
            notes = _notes.read(folder, estimates)
            _, failed = _write.write(page, clean, raw, notes, stages, title=target.stem, names=names)
    except Exception as error:
        warn(
            f"the result {str(target)!r} is complete, but its report could not be written: {type(error).__name__}: {error}; "
            "report(path) writes one later, report=False none",
            ReportWarning,
        )
        return None
    _write.warn_of(page, failed)
    _LOGGER.info("report: %s", page)
    return page
