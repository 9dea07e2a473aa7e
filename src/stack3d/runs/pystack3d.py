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
from stack3d.runs._pystack3d_values import Values
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
    source = Source.read(file)
    values = Values(source, tables)
    asked = values.names("process_steps", [])
    names = list(dict.fromkeys(asked))
    values.problems += [
        f"{values.where('', 'process_steps')} process_steps has {name!r}; it knows {', '.join(STEPS)}"
        for name in names
        if name not in STEPS
    ]
    values.problems += [
        f"{values.where('', 'process_steps')} process_steps has {name!r} {asked.count(name)} times; each step is done once"
        for name in names
        if asked.count(name) > 1
    ]
    values.problems += [
        f"{_where(source, key)}: {key!r} is not a key of PyStack3D" for key in tables if key not in (*_GENERAL, *STEPS)
    ]
    opening, sizes = _opening(values, folder, names, shape)
    apart = not values._flag("", tables, "serial", True)
    job = Translation(source, sizes, tables, values.names("channels", ["."]), apart=apart)
    steps = job.steps([name for name in names if name in STEPS])
    if values.problems or job.problems:
        raise RecipeError(by_line(list(dict.fromkeys([*values.problems, *job.problems]))))
    if tables.get("history"):
        job.notes.append("history is not used: a run keeps beside its result what is done, and does again what changed")
    recipe = Recipe(steps, input=opening, output={"path": str(folder / "clean.zarr")})
    recipe.is_project, recipe._apart, recipe._places = True, apart, job.places
    recipe._of_input, recipe._counted_from, recipe._known_as = job.of_input, job.counted_from, job.known_as
    recipe.notes.extend(job.notes)
    return Project(folder, recipe, job.notes)


def _opening(
    values: Values, folder: Path, names: list[str], shape: Callable[[Mapping[str, Any]], Mapping[str, int]]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return how the stack is opened, and its sizes; what is wrong with its channels or names hides nothing else."""
    channels = values.names("channels", ["."]) or ["."]
    if not folder.is_dir():
        key = next(
            (name for name in ("project_dir", "dirname", "input_dirname") if values.tables.get(name)), "project_dir"
        )
        values.problems.append(f"{values.where('', key)} {key}: there is no folder {str(folder)!r}")
        return {"path": str(folder)}, {"z": _EVERYTHING, "y": _EVERYTHING, "x": _EVERYTHING}
    missing = [channel for channel in channels if not (folder / channel).is_dir()]
    values.problems += [
        f"{values.where('', 'channels')} channels has {channel!r}: there is no folder {str(folder / channel)!r}"
        for channel in missing
    ]
    there = [channel for channel in channels if channel not in missing]
    opening: dict[str, Any] = {"path": str(folder)}
    if channels != ["."]:
        opening["channel"] = there if len(there) > 1 else "".join(there)
    table = values.tables.get("resampling", {})
    policy = table.get("policy") if "resampling" in names and isinstance(table, Mapping) else None
    if policy:
        # The names are those within a folder of a channel.
        opening["pattern"] = ("{channel}/" if "channel" in opening else "") + str(policy)
    # Only areas need them; what else is wrong is said too.
    unknown = {"z": _EVERYTHING, "y": _EVERYTHING, "x": _EVERYTHING}
    if not there:
        return opening, unknown
    try:
        return opening, dict(shape(opening))
    except (ValueError, TypeError, OSError) as error:
        text = str(error)
        place = values.where("resampling", "policy") if "pattern=" in text and policy else f"{values.source.name}:"
        values.problems.append(f"{place} the slices in {str(folder)!r} cannot be opened: {_in_words(text)}")
        return opening, unknown


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
        return tables_of(Source.read(file).text)
    except NotToml as error:
        raise RecipeError([f"{file.name}, line {error.line}: not TOML: {error}"]) from None
