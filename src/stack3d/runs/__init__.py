"""Recipes and running them: ordered operations on stacks larger than memory, with resume."""

from stack3d.runs._parts import partition as partition
from stack3d.runs._parts import run_part as run_part
from stack3d.runs.recipe import Recipe as Recipe
from stack3d.runs.recipe import RecipeError as RecipeError
from stack3d.runs.recipe import Step as Step
from stack3d.runs.runner import clean as clean
from stack3d.runs.runner import run as run

__all__ = ["Recipe", "RecipeError", "Step", "clean", "partition", "run", "run_part"]
