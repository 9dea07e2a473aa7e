"""The raw stack as the ``[input]`` of a recipe names it, and what is wrong there, in the words of a recipe."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from stack3d._warn import warn
from stack3d.io import open_stack
from stack3d.io._frames import FrameError
from stack3d.runs._check import REFUSALS, problems
from stack3d.runs._output import wrong_output
from stack3d.runs._step import RecipeError

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

_KEYS = tuple(inspect.signature(open_stack).parameters)
_UNCALIBRATED = "is not calibrated"
_ARGUMENT = re.compile(
    rf"(?<![\w(.])(?P<key>{'|'.join(_KEYS[1:])})="
    r"(?:'(?P<text>[^']*)'|(?P<items>[\[(][^\])]*[\])])|(?P<number>-?\d[\w.+-]*)|(?=[\s,;:)]|$))"
)


def place_of(recipe: Recipe) -> str | None:
    """Return the path of the raw stack, None where the recipe does not say it."""
    path = recipe.input.get("path")
    return None if path is None else recipe.located(path)


def opened(recipe: Recipe) -> xr.DataArray:
    """Return the raw stack of a recipe, or raise RecipeError with everything that is wrong with both."""
    raw, wrong = tried(recipe)
    output = wrong_output(recipe, None, raw=raw, source=place_of(recipe), needed=False)
    wrong = by_line([*wrong, *output, *of_steps(recipe, raw, calibrated=not wrong)])
    if wrong or raw is None:
        raise RecipeError(wrong)
    return raw


def everything(
    recipe: Recipe, out: str | os.PathLike[str] | None = None, steps: Sequence[str | int] | None = None
) -> list[str]:
    """Return a line for each problem of a recipe: its form, its input and output if it has them, and its steps."""
    source = place_of(recipe)
    raw, wrong = (None, []) if source is None else tried(recipe)
    output = wrong_output(recipe, out, steps, raw=raw, source=source, needed=False)
    return by_line([*wrong, *output, *of_steps(recipe, raw, calibrated=not wrong)])


def of_steps(recipe: Recipe, raw: xr.DataArray | None, *, calibrated: bool = True) -> list[str]:
    """Return what is wrong with the form and the steps of a recipe.

    `calibrated`: the stack was opened as it is meant. Otherwise lengths may mean nothing, by no fault of a step.
    """
    found = problems(recipe, raw, carried=True)
    return found if calibrated else [line for line in found if _UNCALIBRATED not in line]


def by_line(lines: list[str]) -> list[str]:
    """Return problems in the order of the file."""

    def line_of(text: str) -> int:
        found = re.match(r"[^:]*, line (\d+):", text)
        return int(found[1]) if found else 0

    return sorted(lines, key=line_of)


def tried(recipe: Recipe) -> tuple[xr.DataArray | None, list[str]]:
    """Return the raw stack, and a line for each thing that is wrong under ``[input]``.

    Where it opens without a key that is wrong, that stack is returned too, so that steps can be tried on it.
    """
    given, wrong = dict(recipe.input), []
    for key in [key for key in given if key not in _KEYS]:
        value, near = given.pop(key), difflib.get_close_matches(str(key), _KEYS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(_KEYS)}"
        wrong.append(f"{_where(recipe, key)}: there is no {key!r} under [input]{hint}")
        if near:
            given.setdefault(near[0], value)
    place = place_of(recipe)
    if place is None:
        where = "" if recipe.line_of("input") is None else f"{_where(recipe, 'path')}: "
        return None, [*wrong, f"{where}the recipe does not say what the raw stack is: give da=, or path under [input]"]
    given["path"] = place
    dropped = False
    while True:
        try:
            return _with_warnings_in_words(recipe, given), wrong
        except REFUSALS as error:
            text = str(error)
            named = next((found["key"] for found in _ARGUMENT.finditer(text) if found["key"] in given), None)
            if named is not None or not dropped:
                wrong.append(f"{_where(recipe, named or 'path')}: {in_words(recipe, text, placed=False)}")
            if named is None:
                wrong[-1] += "; values of steps are looked at once it opens" if recipe.steps and not dropped else ""
                return None, wrong
            del given[named]
            dropped = True


def in_words(recipe: Recipe, text: str, *, placed: bool = True) -> str:
    """Return a message with arguments of `open_stack` written as keys of a recipe; `placed`: saying where they belong."""
    count = 0

    def key(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        where = "" if count > 1 or not placed else f" under [input]{_of_file(recipe, found['key'])}"
        value = found["number"] or found["items"]
        if found["text"] is not None:
            value = json.dumps(found["text"], ensure_ascii=False)
        return f"{found['key']}{'' if value is None else f' = {value}'}{where}"

    return _ARGUMENT.sub(key, text)


@contextlib.contextmanager
def errors_in_words(recipe: Recipe) -> Iterator[None]:
    """Let frames that cannot be read say what to change in the recipe."""
    try:
        yield
    except FrameError as error:
        again = FrameError(in_words(recipe, str(error)))
        again.what = error.what
        for note in getattr(error, "__notes__", ()):
            again.add_note(note)
        raise again from error


def _with_warnings_in_words(recipe: Recipe, given: dict[str, Any]) -> xr.DataArray:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        raw = open_stack(**given)
    for note in said:
        warn(in_words(recipe, str(note.message)), note.category)
    return raw


def _where(recipe: Recipe, key: str) -> str:
    line = recipe.line_of("input", key)
    return "[input]" if line is None else f"{recipe.name}, line {line}: [input]"


def _of_file(recipe: Recipe, key: str) -> str:
    line = recipe.line_of("input", key)
    return "" if line is None else f" ({recipe.name}, line {line})"


def absolute(path: str | os.PathLike[str]) -> str:
    """Return a path that means the same in every folder."""
    return os.path.abspath(os.path.expanduser(path))
