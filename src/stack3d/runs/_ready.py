"""What a run is given, checked as a whole before it begins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import xarray as xr

from stack3d.runs import _choice, _input, _output
from stack3d.runs._check import REFUSALS, problems
from stack3d.runs._forecast import Stage, forecast
from stack3d.runs._links import links
from stack3d.runs.recipe import Recipe, RecipeError


def ready(
    recipe: Recipe, da: xr.DataArray | None, out: str | os.PathLike[str] | None, steps: Sequence[str | int] | None
) -> tuple[xr.DataArray, list[int], list[Stage] | None]:
    """Return the raw stack, the steps to do and what they will make, or raise RecipeError with all that is wrong.

    One walk does where nothing is wrong.
    """
    raw, wrong = _input.tried(recipe) if da is None else (da, [])
    calibrated = not wrong
    source = _input.place_of(recipe) if da is None else None
    wrong += _output.wrong_output(recipe, out, steps, raw=raw, source=source)
    stages = None
    if raw is not None and steps is None and not wrong and not problems(recipe, None):
        everything = list(range(len(recipe)))
        with contextlib.suppress(*REFUSALS):
            stages = forecast([link.step for link in links(recipe, raw.dtype, everything)], raw)
    if stages is None:
        wrong += _input.of_steps(recipe, raw, calibrated=calibrated)
    if wrong or raw is None:
        raise RecipeError(_input.by_line(wrong))
    return raw, _choice.chosen(recipe, steps), stages
