"""Projects of PyStack3D as recipes: its params.toml, key by key.

The steps are ours. Where PyStack3D is right, results are equal within rounding; where it is not, ours differ, and the
notes of the translation say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack3d.runs._document import NotToml, Source, tables_of
from stack3d.runs._input import by_line
from stack3d.runs._pystack3d_steps import STEPS, Translation
from stack3d.runs.recipe import Recipe, RecipeError

_EVERYTHING = 10**9  # larger than any stack
_GENERAL = (
    *("project_dir", "dirname", "input_dirname", "ind_min", "ind_max", "channels", "nproc", "process_steps", "history"),
    "serial",
)


@dataclass
class Project:
    """A project of PyStack3D as it stands on disk.

    Attributes
    ----------
    folder : Path
        Where the slices, or the folders of the channels, are.
    recipe : Recipe
        Its steps; ``input`` names the folder and how the file names are made.
    notes : list of str
        Where the result differs from PyStack3D's on purpose; also in the recipe, which a run keeps.
    """

    folder: Path
    recipe: Recipe
    notes: list[str] = field(default_factory=list)


def is_project(path: Path) -> bool:
    """Return whether a path is a project folder or a params.toml of PyStack3D, by what the file says."""
    file = _file_of(path)
    return file is not None and "process_steps" in _tables(file)


def read_project(path: Path, *, shape: Callable[[Mapping[str, Any]], Mapping[str, int]]) -> Project:
    """Translate a project of PyStack3D.

    Parameters
    ----------
    path : Path
        Its folder, or its TOML file.
    shape : callable
        Given the arguments of `open_stack`, returns the sizes of the stack along z, y and x: PyStack3D counts rows from
        the lower edge.

    Raises
    ------
    RecipeError
        With every key that is not known or cannot be translated.
    """
    file = _file_of(path)
    if file is None:
        raise FileNotFoundError(f"path={str(path)!r}: there is no params.toml")
    tables = _tables(file)
    folder = file.parent / str(tables.get("project_dir") or tables.get("dirname") or tables.get("input_dirname") or ".")
    source = Source(file.read_text(encoding="utf-8"), file)
    names = [name for name in tables.get("process_steps", []) if name]
    problems = [
        f"{_where(source, 'process_steps')}: process_steps has {name!r}; it knows {', '.join(STEPS)}"
        for name in names
        if name not in STEPS
    ]
    problems += [
        f"{_where(source, key)}: {key!r} is not a key of PyStack3D" for key in tables if key not in (*_GENERAL, *STEPS)
    ]
    if tables.get("serial", True) is not True:
        problems.append(
            f"{_where(source, 'serial')}: serial = {tables['serial']!r} (every step from the raw slices) cannot be run as one chain; "
            "run the steps one by one with --steps and --out"
        )
    channels = [channel for channel in tables.get("channels", ["."]) if channel] or ["."]
    opening: dict[str, Any] = {"path": str(folder)}
    if channels != ["."]:
        opening["channel"] = channels if len(channels) > 1 else channels[0]
    if "resampling" in names and tables.get("resampling", {}).get("policy"):
        # The names are those within a folder of a channel.
        opening["pattern"] = ("{channel}/" if "channel" in opening else "") + str(tables["resampling"]["policy"])
    try:
        sizes = dict(shape(opening))
    except (ValueError, TypeError, OSError) as error:
        # Only areas need them; what else is wrong is said too.
        problems.append(f"{file.name}: the slices in {str(folder)!r} cannot be opened: {_in_words(str(error))}")
        sizes = {"z": _EVERYTHING, "y": _EVERYTHING, "x": _EVERYTHING}
    job = Translation(source, sizes, tables, channels)
    steps = job.steps([name for name in names if name in STEPS])
    if problems or job.problems:
        raise RecipeError(by_line([*problems, *job.problems]))
    if tables.get("history"):
        job.notes.append("history is not used: a run keeps beside its result what is done, and does again what changed")
    recipe = Recipe(steps, input=opening, output={"path": str(folder / "clean.zarr")})
    recipe.notes.extend(job.notes)
    return Project(folder, recipe, job.notes)


def _file_of(path: Path) -> Path | None:
    if path.is_dir():
        files = sorted(path.glob("*.toml"))
        return files[0] if len(files) == 1 else next((file for file in files if file.name == "params.toml"), None)
    return path if path.suffix == ".toml" and path.is_file() else None


def _where(source: Source, key: str) -> str:
    line = source.line_of(key, 0) or source.line_of("", 0, key)
    return source.name if line is None else f"{source.name}, line {line}"


def _in_words(text: str) -> str:
    """Return a message with the argument of `open_stack` that comes of a project named as the project has it."""
    return re.sub(r"\bpattern=", "policy (under [resampling]) ", text)


def _tables(file: Path) -> dict[str, Any]:
    try:
        return tables_of(file.read_text(encoding="utf-8"))
    except NotToml as error:
        raise RecipeError([f"{file.name}, line {error.line}: not TOML: {error}"]) from None
