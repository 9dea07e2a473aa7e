"""Values of a params.toml of PyStack3D, each of the kind that its key needs, or a problem with its line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stack3d.runs._document import Source


class Values:
    """The tables of one project, and what is wrong in them."""

    def __init__(self, source: Source, tables: Mapping[str, Any]) -> None:
        self.source, self.tables = source, tables
        self.problems: list[str] = []

    def where(self, table: str, key: str | None = None) -> str:
        """Return file and line of a key, or of a table; keys that belong to none are in table ``""``."""
        line = self.source.line_of(table, 0, key)
        place = self.source.name if line is None else f"{self.source.name}, line {line}"
        return f"{place}:{f' [{table}]' if table else ''}"

    def _problem(self, table: str, key: str | None, text: str) -> None:
        self.problems.append(f"{self.where(table, key)} {text}")

    def _table(self, name: str) -> dict[str, Any]:
        table = self.tables.get(name, {})
        if isinstance(table, Mapping):
            return dict(table)
        self._problem(name, None, f"{name} = {table!r} must be a table: [{name}]")
        return {}

    def _unknown(self, name: str, table: Mapping[str, Any], known: set[str]) -> None:
        for key in table:
            if key not in known:
                self._problem(name, key, f"{key!r} is not a key of this step; it has {', '.join(sorted(known))}")

    def names(self, key: str, default: list[str]) -> list[str]:
        """Return a list of names, such as that of the steps; empty ones are left out."""
        given = self.tables.get(key) or default
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            self._problem("", key, f"{key} = {given!r} must be a list of names")
            return default
        return [name for name in given if name]

    def _one(self, name: str, table: Mapping[str, Any], key: str, default: Any, least: float | None = None) -> Any:
        """Return a number of a table, whole where the default is, `least` or more."""
        value, kind = table.get(key, default), type(default)
        found = _number(value, kind)
        if found is None:
            self._problem(name, key, f"{key} = {value!r} must be a {'whole ' if kind is int else ''}number")
            return default
        if least is not None and found < least:
            self._problem(name, key, f"{key} = {value!r} must be {least} or more")
            return default
        return found

    def _several(
        self,
        name: str,
        table: Mapping[str, Any],
        key: str,
        default: list[Any],
        count: int,
        least: float | None = None,
    ) -> list[Any]:
        """Return at least `count` numbers of a table, whole where those of the default are, each `least` or more."""
        values, kind = table.get(key, default), type(default[0])
        found = [_number(value, kind) for value in (values if isinstance(values, list) else [None])]
        if None in found or len(found) < count:
            whole = "whole " if kind is int else ""
            self._problem(
                name, key, f"{key} = {values!r} must be a list of at least {count} {whole}number{'s' * (count > 1)}"
            )
            return default
        if least is not None and min(found) < least:
            self._problem(name, key, f"{key} = {values!r}: each must be {least} or more")
            return default
        return found

    def _flag(self, name: str, table: Mapping[str, Any], key: str, default: bool) -> bool:
        value = table.get(key, default)
        if isinstance(value, bool):
            return value
        self._problem(name, key, f"{key} = {value!r} must be true or false")
        return default

    def _limits(self, name: str, table: Mapping[str, Any]) -> dict[str, float]:
        """Return the thresholds that are given."""
        pairs = (("low", "threshold_min"), ("high", "threshold_max"))
        found: dict[str, float] = {
            ours: self._one(name, table, theirs, 0.0) for ours, theirs in pairs if table.get(theirs) not in (None, "")
        }
        if found.get("low", -math.inf) > found.get("high", math.inf):
            low, high = table["threshold_min"], table["threshold_max"]
            self._problem(name, "threshold_max", f"threshold_max = {high!r} is below threshold_min = {low!r}")
        return found


def _number(value: Any, kind: type) -> Any:
    """Return a finite number, whole where `kind` is int; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if kind is int and value != int(value):
        return None
    return kind(value)
