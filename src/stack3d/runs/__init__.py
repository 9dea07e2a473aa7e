"""Recipes and running them: ordered operations on stacks larger than memory, with resume."""

from stack3d.runs._clean import clean as clean
from stack3d.runs._parts import partition as partition
from stack3d.runs._parts import run_part as run_part
from stack3d.runs._reported import folder_of as folder_of
from stack3d.runs._reported import page_of as page_of
from stack3d.runs._reported import raw_of as raw_of
from stack3d.runs.recipe import Recipe as Recipe
from stack3d.runs.recipe import RecipeError as RecipeError
from stack3d.runs.recipe import Step as Step
from stack3d.runs.runner import run as run

__all__ = [
    "Recipe",
    "RecipeError",
    "Step",
    "clean",
    "folder_of",
    "page_of",
    "partition",
    "raw_of",
    "run",
    "run_part",
]
