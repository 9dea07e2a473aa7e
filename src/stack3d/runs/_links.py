"""What a run does: the steps of a recipe, and the conversions between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stack3d.runs import _plan
from stack3d.runs._check import EXACT
from stack3d.runs._step import Step

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

_INSERTED = {"inserted": True}
# What operations take from the dtype unless it is given: of the stack, or of their result (with a `dtype` of their own).
_OF_STACK = {"invert": "range", "local_contrast": "grey_range"}
_OF_RESULT = {"rescale_intensity": "out_range", "global_contrast": "out_range"}


class Link(NamedTuple):
    """A step as it is done: what its record says besides, and the place (from 0) in the recipe that it belongs to."""

    step: Step
    context: dict[str, Any]
    place: int


def links(recipe: Recipe, kind: np.dtype[Any], chosen: list[int]) -> list[Link]:
    """Return the steps to do on pixels of a dtype, with the conversions around them."""
    chain: list[Link] = []
    floating = False
    for number in chosen:
        step, context = recipe.steps[number], {}
        if step.operation not in EXACT and not floating and kind.kind in "uib":
            chain.append(Link(Step("astype", {"dtype": str(_plan.working_dtype(kind))}), _INSERTED, number))
            floating = True
        name = _range_to_fill(step)
        if name is not None and floating and kind.kind in "ui":
            # The range of the stack, not that of the floats which its pixels are between the steps.
            limits = np.iinfo(kind)
            given = {**step.parameters, name: [int(limits.min), int(limits.max)]}
            step, context = Step(step.operation, given, step.checkpoint), {"filled": [name]}
        if step.parameters.get("dtype") is not None:
            kind, floating = np.dtype(step.parameters["dtype"]), False
        chain.append(Link(step, context, number))
    wanted = recipe.output.get("dtype")
    if wanted is not None or (floating and not _plan.leaves_holes(recipe)):
        chain.append(Link(Step("astype", {"dtype": str(wanted or kind)}), _INSERTED, len(recipe.steps)))
    return chain


def shown(chain: Sequence[Link], number: int) -> int:
    """Return the number in the recipe of link `number` (both from 1); the result, behind the last link, is one more.

    A conversion that was put in has the number of the step before it.
    """
    return sum("inserted" not in link.context for link in chain[:number]) + (number > len(chain))


def _range_to_fill(step: Step) -> str | None:
    """Return the parameter that stands for the range of the dtype, where it is not given."""
    name = _OF_STACK.get(step.operation)
    if name is None and step.parameters.get("dtype") is None:
        name = _OF_RESULT.get(step.operation)
    return name if name is not None and step.parameters.get(name) is None else None
