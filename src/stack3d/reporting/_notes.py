"""What a run left beside its result: its notes, its recipe, its estimates."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr


@dataclass(frozen=True)
class RunNotes:
    """The notes of a run; empty where a stack was not made by one."""

    state: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    folder: Path | None = None
    known: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """What is noted of each step, conversions of dtype among them."""
        return list(self.state.get("steps", ()))

    @property
    def warnings(self) -> list[str]:
        """The warnings that were raised, each once."""
        return list(dict.fromkeys(str(line) for line in self.state.get("warnings", ())))

    def estimate_of(self, number: int) -> xr.Dataset | None:
        """Return the estimate of a step, counted from 0, where it is still there and can be read."""
        note = self.steps[number] if number < len(self.steps) else {}
        if self.folder is None or "estimate" not in note:
            return None
        name = Path(str(note["estimate"])).name
        if name in self.known:
            return self.known[name]
        path = self.folder / "estimates" / name
        try:
            with xr.open_dataset(path) as found:
                return found.load()
        except (OSError, RuntimeError, ValueError, KeyError):  # no longer there, or damaged since
            return None


def read(folder: str | os.PathLike[str] | None, known: Mapping[str, xr.Dataset] | None = None) -> RunNotes:
    """Read the folder of a run, ``NAME.run``; estimates that are `known`, by the names of their files, are not read again.

    Raises
    ------
    FileNotFoundError
        When it is not one.
    """
    if folder is None:
        return RunNotes()
    path = Path(folder)
    if not (path / "state.json").is_file():
        raise FileNotFoundError(f"run={str(folder)!r} is not the folder of a run: it has no state.json")
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    recipe = path / "recipe.toml"
    return RunNotes(state, recipe.read_text(encoding="utf-8") if recipe.is_file() else "", path, known or {})
