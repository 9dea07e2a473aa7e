"""A step of a recipe, and the error that lists what is wrong with one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack3d._provenance import OPERATIONS
from stack3d.runs._values import normalised


class RecipeError(ValueError):
    """What is wrong with a recipe, all of it at once.

    Attributes
    ----------
    problems : list of str
        One line each; those of a file begin with its name and the number of the line.

    Examples
    --------
    >>> try:
    ...     stack3d.Recipe(["destrip"]).check()
    ... except stack3d.RecipeError as error:
    ...     print(len(error.problems))
    1
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count > 1 else ''} in the recipe:\n" + "\n".join(self.problems))


@dataclass(frozen=True)
class Step:
    """One correction of a recipe.

    Attributes
    ----------
    operation : str
        Name of an operation, such as ``"register"``.
    parameters : mapping
        Those that differ from the defaults.
    checkpoint : bool
        Whether its result is written to the run's folder, to be looked at or started from.
    """

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: bool = False

    def complete(self) -> dict[str, Any]:
        """Return all parameters, defaults included, as plain comparable values."""
        known = OPERATIONS.get(self.operation)
        values: dict[str, Any] = {}
        if known is not None:
            allowed = list(inspect.signature(known.function).parameters.values())[1:]
            values = {p.name: normalised(p.default) for p in allowed if p.default is not inspect.Parameter.empty}
        values.update({name: normalised(value) for name, value in self.parameters.items()})
        return values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Step):
            return NotImplemented
        return (self.operation, self.checkpoint) == (other.operation, other.checkpoint) and (
            self.complete() == other.complete()
        )

    __hash__ = None  # type: ignore[assignment]
