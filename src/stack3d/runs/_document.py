"""Recipes as TOML files: read with the line of every part, written with comments kept."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack3d.runs._values import from_toml, normalised, to_toml

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

FORMAT = 1
_TABLES = ("input", "output")
_STEP_WORDS = ("operation", "checkpoint")
_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]\]?")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*=")


@dataclass(frozen=True)
class Source:
    """The text of a recipe and where it came from."""

    text: str
    path: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file; its encoding is UTF-8."""
        if not path.is_file():
            raise FileNotFoundError(f"{str(path)!r} {_why_no_recipe(path)}")
        try:
            return cls(path.read_text(encoding="utf-8"), path)
        except UnicodeDecodeError as error:
            raise ValueError(f"{str(path)!r} is no recipe: it is not text in UTF-8 (byte {error.start})") from None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return "recipe" if self.path is None else self.path.name

    @property
    def folder(self) -> Path:
        """Where files that it names are looked for."""
        return Path() if self.path is None else self.path.parent

    @cached_property
    def _lines(self) -> dict[tuple[str, int, str | None], int]:
        # tomlkit knows no lines; a recipe is flat, so its headers and keys stand at the beginnings of lines.
        found: dict[tuple[str, int, str | None], int] = {}
        table, count = "", {"": 0}
        for number, line in enumerate(self.text.splitlines(), start=1):
            if header := _HEADER.match(line):
                name = header[2].partition(".")[0]
                if header[1] == "[[":
                    count[name] = count.get(name, -1) + 1
                table = name
                found.setdefault((table, count.get(table, 0), None), number)
                inner = header[2].partition(".")[2]
                if inner:
                    found.setdefault((table, count.get(table, 0), inner), number)
            elif key := _KEY.match(line):
                found.setdefault((table, count.get(table, 0), key[1]), number)
        return found

    def line_of(self, table: str, number: int, key: str | None = None) -> int | None:
        """Return the line of a key of the `number`-th table of this name, or of the table."""
        places = ((table, number, key), (table, number, None), ("", 0, key or table))
        return next((self._lines[place] for place in places if place in self._lines), None)


class NotToml(ValueError):
    """A text is not TOML; `line` says where."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


def tables_of(text: str) -> dict[str, Any]:
    """Return the plain values of a TOML text, or raise `NotToml`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), ", str(error))
        said, line = (found[1], int(found[2])) if found else (str(error), len(text.splitlines()))
    # Its words are better, where it has some: not for a key that is there twice.
    import tomlkit
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        tomlkit.parse(text)
    except ParseError as error:
        said = str(error).partition(" at line")[0]
        line = line if "already exists" in said else error.line
    except TOMLKitError as error:
        said = str(error)
    raise NotToml(said, line)


def _why_no_recipe(path: Path) -> str:
    """Return in words why a path is neither a recipe nor, where it is a folder, a project of PyStack3D."""
    if not path.is_dir():
        return "is no recipe: there is no such file"
    files = sorted(file.name for file in path.glob("*.toml"))
    if not files:
        return "is a folder without a .toml: a project of PyStack3D has its params.toml there"
    if len(files) > 1 and "params.toml" not in files:
        return (
            f"is a folder with {len(files)} recipes ({', '.join(files)}), none of them params.toml: give the one to run"
        )
    name = "params.toml" if "params.toml" in files else files[0]
    return f"is a folder whose {name} has no process_steps, so that it is no project of PyStack3D; a recipe is given by its file"


def parsed(source: Source) -> tuple[list[str], dict[str, Any]]:
    """Return the problems of form of a recipe, and its content: steps, input, output.

    A step without a name is there as ``""``, a parameter that cannot be read is left out, and ``unread`` has both as
    (number, key), so that the rest can be looked at.
    """
    content: dict[str, Any] = {"steps": [], "input": {}, "output": {}, "unread": set()}
    try:
        tables = tables_of(source.text)
    except NotToml as error:
        return [f"{source.name}, line {error.line}: not TOML: {error}"], content
    problems = []

    def problem(table: str, number: int, key: str | None, text: str) -> None:
        line = source.line_of(table, number, key)
        problems.append(f"{source.name}{'' if line is None else f', line {line}'}: {text}")

    for key, value in tables.items():
        if key == "format":
            if value != FORMAT:
                problem("", 0, key, f"format = {value!r} is not known; this stack3d reads format {FORMAT}")
        elif key in _TABLES:
            if isinstance(value, dict):
                content[key] = {name: from_toml(item, name) for name, item in value.items()}
            else:
                problem("", 0, key, f"{key} must be a table: [{key}]")
        elif key != "step":
            problem(key, 0, None, f"{key!r} is not known; a recipe has format, [input], [output] and [[step]]s")
    steps = tables.get("step", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps) or not steps:
        problem("step", 0, None, "a recipe needs steps, each a table [[step]] with its operation")
        return problems, content
    for number, table in enumerate(steps):
        if not isinstance(table.get("operation"), str):
            problem("step", number, None, f"step {number + 1} needs operation = NAME")
            content["steps"].append(("", {}, False))
            continue
        checkpoint = table.get("checkpoint", False)
        if not isinstance(checkpoint, bool):
            problem("step", number, "checkpoint", f"checkpoint = {checkpoint!r} must be true or false")
        parameters = {}
        for key, value in table.items():
            if key in _STEP_WORDS:
                continue
            try:
                parameters[key] = from_toml(value, key, source.folder)
            except (ValueError, TypeError, KeyError) as error:
                problem("step", number, key, f"step {number + 1} ({table['operation']}): {error}")
                content["unread"].add((number, key))
        content["steps"].append((table["operation"], parameters, checkpoint is True))
    return problems, content


def written(recipe: Recipe, source: Source | None) -> str:
    """Return a recipe as TOML, with the comments of its source where the parts are still there."""
    import tomlkit

    document = tomlkit.document() if source is None else tomlkit.parse(source.text)
    if source is None:
        document["format"] = FORMAT
    for name in _TABLES:
        values = {key: to_toml(value, key) for key, value in getattr(recipe, name).items()}
        if values or name in document:
            if name not in document:
                document[name] = tomlkit.table()
            _fill(document[name], values)
    old = list(document.get("step", []))
    same = [table["operation"] for table in old] == [step.operation for step in recipe.steps]
    if not same:
        if "step" in document:
            document.remove("step")
        array = tomlkit.aot()
        for step in recipe.steps:
            # A step that was there keeps its comments, wherever it has moved.
            found = next((k for k, table in enumerate(old) if table["operation"] == step.operation), None)
            array.append(tomlkit.table() if found is None else old.pop(found))
        document["step"] = array
    for table, step in zip(document["step"], recipe.steps, strict=True):
        values = {"operation": step.operation}
        values |= {key: to_toml(value, key) for key, value in step.parameters.items()}
        if step.checkpoint:
            values["checkpoint"] = True
        _fill(table, values)
    return tomlkit.dumps(document)


def _fill(table: Any, values: dict[str, Any]) -> None:
    for key in [key for key in table if key not in values]:
        table.remove(key)
    for key, value in values.items():
        if key not in table or normalised(_plain(table[key])) != normalised(value):
            table[key] = _inline(value)


def _plain(value: Any) -> Any:
    return value.unwrap() if hasattr(value, "unwrap") else value


def _inline(value: Any) -> Any:
    import tomlkit

    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, item in value.items():
            table[key] = _inline(item)
        return table
    return value
