"""Which steps of a recipe are done, by name or number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe


def number_of(recipe: Recipe, step: str | int) -> int:
    """Return the place (from 0) of a step given by name or by number (from 1)."""
    names = [item.operation for item in recipe.steps]
    if isinstance(step, str) and step.isdecimal():
        step = int(step)
    if isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= len(names):
        return step - 1
    known = recipe._known_as.get(str(step))
    if known is not None:
        return known
    if step in recipe._known_as:
        raise ValueError(f"step {step!r} changes nothing in this project")
    # What belongs to the input, such as the choice of slices, has a number and no name.
    places = [place for place, name in enumerate(names) if name == step and place not in recipe._of_input]
    if len(places) == 1:
        return places[0]
    if places:
        which = ", ".join(f"{place + 1}. {step}" for place in places)
        raise ValueError(f"step {step!r}: {len(places)} steps of the recipe have this name; give a number: {which}")
    raise ValueError(
        f"step {step!r} is not in the recipe; it has {', '.join(f'{k}. {n}' for k, n in enumerate(names, 1))}"
    )


def chosen(recipe: Recipe, steps: Sequence[str | int] | None) -> list[int]:
    """Return the places of the steps to do, in the order of the recipe, with those that belong to the input."""
    if steps is None:
        return list(range(len(recipe.steps)))
    if isinstance(steps, str):
        raise TypeError(f"steps={steps!r} must be a list of names or numbers, such as [{steps!r}]")
    # Of a project's names some may be of steps that change nothing, such as a crop to the whole frame.
    telling = [step for step in steps if recipe._known_as.get(str(step), 0) is not None]
    asked = {number_of(recipe, step) for step in telling or steps}
    if not asked:
        raise ValueError("steps=[] names no step")
    for place in sorted(asked):
        missing = sorted(recipe._counted_from.get(place, set()) - asked)
        if missing:
            names = " and ".join(f"{k + 1}. {recipe.steps[k].operation}" for k in missing)
            raise ValueError(
                f"steps: the area of step {place + 1} ({recipe.steps[place].operation}) is counted in frames as "
                f"{names} leaves them; do that too: {', '.join(str(k + 1) for k in sorted(asked | set(missing)))}"
            )
    return sorted(asked | recipe._of_input)


def label_of(recipe: Recipe, place: int) -> str:
    """Return how the result of some steps is told apart by its name: the last one, with its number where it takes that."""
    name = recipe.steps[place].operation
    alike = [step for k, step in enumerate(recipe.steps) if step.operation == name and k not in recipe._of_input]
    return name if len(alike) == 1 else f"{name}-{place + 1}"


def alone(recipe: Recipe, place: int) -> Recipe:
    """Return the recipe of one step for the raw stack, with those that belong to the input, and a result of its own."""
    from stack3d.runs.recipe import Recipe

    places = sorted({place} | recipe._of_input)
    result = Path(recipe.output["path"])
    if len(places) < len(recipe):
        result = result.with_name(f"{result.stem}-{label_of(recipe, place)}{result.suffix}")
    part = Recipe([recipe.steps[k] for k in places], input=recipe.input, output={**recipe.output, "path": str(result)})
    part.is_project, part._of_input = recipe.is_project, recipe._of_input
    part._known_as = {name: places.index(k) for name, k in recipe._known_as.items() if k in places}
    part._places = [recipe._places[k] for k in places]
    part.notes.extend(recipe.notes)
    return part
