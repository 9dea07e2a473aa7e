"""Recipes and running them: ordered operations on stacks larger than memory, with resume."""

from stack3d.runs._reported import folder_of as folder_of
from stack3d.runs._reported import page_of as page_of
from stack3d.runs._reported import raw_of as raw_of
from stack3d.runs.recipe import Recipe as Recipe
from stack3d.runs.recipe import RecipeError as RecipeError
from stack3d.runs.recipe import Step as Step
from stack3d.runs.runner import clean as clean
from stack3d.runs.runner import run as run

__all__ = ["Recipe", "RecipeError", "Step", "clean", "folder_of", "page_of", "raw_of", "run"]
