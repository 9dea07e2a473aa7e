"""Where the result of a run goes, what is wrong under ``[output]``, and what may be replaced there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from stack3d._words import counted, like
from stack3d.io import _atomic, _reads_from
from stack3d.io.atlas import SUFFIX as ATLAS_SUFFIX
from stack3d.model import result_dtype
from stack3d.runs._choice import chosen, label_of

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

_SUFFIXES = (".zarr", ".nc", ".tif", ".tiff")
_KEYS = ("path", "dtype")


def target_of(recipe: Recipe, out: str | os.PathLike[str] | None, steps: Sequence[str | int] | None = None) -> Path:
    """Return where the result goes, links followed; that of some steps only has a name of its own."""
    if out is not None:
        check_place(out, f"out={str(out)!r}")
        return Path(os.path.realpath(out))
    place = Path(recipe.located(recipe.output["path"]))
    done = chosen(recipe, steps)
    if len(done) < len(recipe):
        place = place.with_name(f"{place.stem}-{label_of(recipe, done[-1])}{place.suffix}")
    return Path(os.path.realpath(place))


def check_place(path: str | os.PathLike[str], name: str) -> None:
    """Raise where no result can be written to a path, calling it by a name."""
    place = Path(path)
    if place.suffix not in _SUFFIXES:
        raise ValueError(f"{name}: the suffix says no format; allowed are {', '.join(_SUFFIXES)}")
    if not Path(os.path.realpath(place)).parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {str(place.parent)!r}; make it first")


def wrong_output(
    recipe: Recipe,
    out: str | os.PathLike[str] | None,
    steps: Sequence[str | int] | None = None,
    *,
    raw: xr.DataArray | None = None,
    source: str | None = None,
    needed: bool = True,
) -> list[str]:
    """Return a line for each thing that is wrong under ``[output]``, or with `out` in its place.

    `raw` and `source`, the stack and its path, must not be what is written to. `needed`: there must be a place at all.
    """
    lines = []
    for key in recipe.output:
        if key not in _KEYS:
            hint = like(str(key), _KEYS) or "; it takes path and dtype"
            lines.append(f"{_where(recipe, key)}: there is no {key!r} under [output]{hint}")
    path, dtype = recipe.output.get("path"), recipe.output.get("dtype")
    if dtype is not None:
        try:
            result_dtype(dtype, xr.DataArray(0))
        except (TypeError, ValueError):
            lines.append(
                f"{_where(recipe, 'dtype')}: dtype = {_shown(dtype)} is not allowed; it must be an integer or a real "
                "float, such as 'uint8' or 'float32'"
            )
    if out is None and path is None:
        return [
            *lines,
            *(["the recipe does not say where the result goes: give out=, or path under [output]"] if needed else []),
        ]
    said = f"{_where(recipe, 'path')}: path = {_shown(path)}" if out is None else f"out={str(out)!r}"
    place = path if out is None else out
    if not isinstance(place, str | os.PathLike):
        return [*lines, f"{said} must be a text, such as 'clean.zarr'"]
    try:
        check_place(recipe.located(place) if out is None else place, said)
        target = target_of(recipe, out, steps)
    except FileNotFoundError as error:
        return [*lines, str(error)]
    except ValueError as error:
        return [*lines, str(error)] if str(error).startswith(said) else lines  # steps that are not there are told later
    clash = _clash(recipe, target, raw, source)
    return [*lines, f"{said} {clash}"] if clash else lines


def _clash(recipe: Recipe, target: Path, raw: xr.DataArray | None, source: str | None) -> str:
    """Return why a result at `target` would change what it is made of; empty where it would not."""
    reading = target.exists() and raw is not None and _reads_from.reads_from(raw, target)
    if source is None:
        return _REPLACES if reading else ""
    place = Path(os.path.realpath(source))
    if reading or place == target or target in place.parents:
        return _REPLACES
    folder = place.parent if place.suffix == ATLAS_SUFFIX else place
    if folder.is_dir() and folder in target.parents and not (target.parent == folder and _may_lie_in(recipe, target)):
        return "lies in the folder of the raw stack, which a run watches for changes; write it beside"
    return ""


_REPLACES = (
    "is what the raw stack is read from, or holds it: writing there would change what the result is made of. "
    "Choose another name"
)


def _may_lie_in(recipe: Recipe, target: Path) -> bool:
    """Return whether a result may lie in the folder of the slices: that of a project of PyStack3D, made or made again."""
    from stack3d.runs.pystack3d import is_project

    again = recipe._folder is not None and os.path.realpath(recipe._folder) == f"{target}.run"
    return recipe.is_project or again or is_project(target.parent)


def check_target(target: Path, ours: dict[str, Any], made_of: dict[str, Any], overwrite: bool) -> None:
    """Raise where the result must not, or could not, be written.

    What a run made at this place may be replaced without a word when it is made of the same steps and input again, with
    whatever parameters.

    Parameters
    ----------
    target : Path
    ours : dict
        What the last run noted of its result, with `noted`.
    made_of : dict
        The ``steps`` and the ``input`` of this run.
    overwrite : bool
        Whether anything else may be replaced too.
    """
    if target.exists() and not overwrite:
        reason = _not_ours(target, ours, made_of)
        if reason:
            raise FileExistsError(
                f"{str(target)!r} is there already, {reason}; give overwrite=True to replace it, or choose another out="
            )
    _atomic.check_target(target, overwrite=True, folder=target.suffix == ".zarr")


def _not_ours(target: Path, ours: dict[str, Any], made_of: dict[str, Any]) -> str:
    if ours.get("made") != stamp(target):
        return "and was not made by this run, or was changed since"
    steps, now = ours.get("steps"), made_of["steps"]
    if steps is not None and steps != now:
        return f"made by {counted(len(steps), 'step')} ({', '.join(steps)}), not by {', '.join(now)}"
    if ours.get("input", made_of["input"]) != made_of["input"]:
        return "made from another input"
    return ""


def noted(target: Path, key: str, made_of: dict[str, Any]) -> dict[str, Any]:
    """Return what a run notes of its result."""
    return {"path": str(target), "key": key, "made": stamp(target), **made_of}


def stamp(target: Path) -> list[int]:
    """Return what changes when somebody else replaces a result: the time of its header, or of the file."""
    header = target / "zarr.json"
    facts = (header if header.is_file() else target).stat()
    return [facts.st_mtime_ns, facts.st_size]


def _where(recipe: Recipe, key: str) -> str:
    line = recipe.line_of("output", key)
    return "[output]" if line is None else f"{recipe.name}, line {line}: [output]"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
