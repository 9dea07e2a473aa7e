"""What a run does: the steps of a recipe, and the conversions between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stack3d.runs import _plan
from stack3d.runs._check import EXACT
from stack3d.runs._step import Step

if TYPE_CHECKING:
    from stack3d.runs.recipe import Recipe

_INSERTED = {"inserted": True}


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
        if step.operation == "invert" and floating and step.parameters.get("range") is None and kind.kind in "ui":
            limits = np.iinfo(kind)
            step = Step("invert", {**step.parameters, "range": [int(limits.min), int(limits.max)]}, step.checkpoint)
            context = {"filled": ["range"]}
        if step.parameters.get("dtype") is not None:
            kind, floating = np.dtype(step.parameters["dtype"]), False
        chain.append(Link(step, context, number))
    wanted = recipe.output.get("dtype")
    if wanted is not None or (floating and not _plan.leaves_holes(recipe)):
        chain.append(Link(Step("astype", {"dtype": str(wanted or kind)}), _INSERTED, len(recipe.steps)))
    return chain
