"""Recipes: which corrections, in which order, with which parameters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from stack3d._provenance import OPERATIONS
from stack3d._records import provenance
from stack3d._words import counted
from stack3d.runs import _document
from stack3d.runs._from_record import from_record
from stack3d.runs._presets import preset_file
from stack3d.runs._step import RecipeError as RecipeError
from stack3d.runs._step import Step as Step
from stack3d.runs._values import saved_estimate

if TYPE_CHECKING:
    from stack3d.runs._planning import Plan


class Recipe:
    """An ordered list of corrections with their parameters.

    Parameters
    ----------
    steps : iterable
        Each a `Step`, a name, or ``(name, parameters)``; ``estimate`` may be the path of a saved one.
    input : mapping, optional
        Arguments of `stack3d.open_stack`, ``path`` first of all.
    output : mapping, optional
        ``path`` of the result and ``dtype`` of its pixels.

    Attributes
    ----------
    notes : list of str
        What a user should know of it; a run keeps them in its folder and in the recipe it writes there.

    Examples
    --------
    >>> recipe = stack3d.Recipe([("crop", {"y": slice(0, 16), "by": "index"}), "match_histograms"])
    >>> [step.operation for step in recipe.steps]
    ['crop', 'match_histograms']
    >>> result = recipe.apply(stack)
    >>> stack3d.Recipe.from_provenance(result) == recipe
    True
    """

    def __init__(
        self,
        steps: Iterable[Any],
        *,
        input: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(steps, str):
            raise TypeError(f"steps={steps!r} must be a list of steps, such as [{steps!r}]")
        self.steps = [_step(item) for item in steps]
        self.input = dict(input or {})
        self.output = dict(output or {})
        self.notes: list[str] = []
        self._source: _document.Source | None = None
        self._folder: Path | None = None
        # Of a file with faults: they are listed with those of the steps.
        self._faults: list[str] = []
        self._unread: set[tuple[int, str]] = set()
        # Of a project of PyStack3D: its result lies among its slices; steps (from 0) that choose these slices, and
        # others without which the area of a step lies elsewhere; where each step stands in its file; which step its names mean;
        # whether each is for the raw slices.
        self.is_project = False
        self._of_input: frozenset[int] = frozenset()
        self._counted_from: dict[int, set[int]] = {}
        self._places: list[str] = []
        self._known_as: dict[str, int | None] = {}
        self._apart = False

    @classmethod
    def of(cls, given: Any) -> Recipe:
        """Return a recipe as it is, that of a file (a path), whatever is wrong with it, or that of steps (a list)."""
        if isinstance(given, cls):
            return given
        return cls.with_faults(given) if isinstance(given, str | os.PathLike) else cls(given)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe from a TOML file.

        Parameters
        ----------
        path : path
            Paths under ``[input]`` and ``[output]`` stay as they are written; where they are relative, a run takes them
            relative to the folder of this file.

        Raises
        ------
        RecipeError
            When it is not of the form of a recipe: with everything else that is wrong with it too, by line.
        FileNotFoundError
        """
        recipe = cls.with_faults(path)
        recipe._raise_faults()
        return recipe

    @classmethod
    def with_faults(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe from a TOML file, whatever is wrong with it; `problems` lists that."""
        recipe = cls._read(_document.Source.read(Path(path)))
        recipe._folder = Path(os.path.abspath(os.path.expanduser(path))).parent
        return recipe

    def _raise_faults(self) -> None:
        if self._faults:
            from stack3d.runs._input import everything

            raise RecipeError(everything(self))

    @classmethod
    def from_text(cls, text: str) -> Recipe:
        """Read a recipe from the text of a TOML file."""
        recipe = cls._read(_document.Source(text))
        recipe._raise_faults()
        return recipe

    @classmethod
    def preset(cls, name: str) -> Recipe:
        """Return a recipe that comes with the package, comments included.

        Parameters
        ----------
        name : str
            ``"fibsem"``: what we recommend for a FIB-SEM stack as it comes from the microscope. ``"hifiem"``: the
            order of hifiem, for aligned slices.

        Examples
        --------
        >>> [step.operation for step in stack3d.Recipe.preset("hifiem").steps][:3]
        ['crop', 'invert', 'destripe']
        """
        return cls._read(_document.Source.read(preset_file(name)))

    @classmethod
    def init(cls, path: str | os.PathLike[str], *, preset: str = "fibsem", **opening: Any) -> Recipe:
        """Return a recipe for a stack on disk: the steps of a preset, filled in with what the files say.

        Parameters
        ----------
        path : path
            Whatever `stack3d.open_stack` opens; no frame is read.
        preset : str
            See `preset`.
        **opening
            More arguments of `open_stack`; they become part of the recipe's ``[input]``.

        Returns
        -------
        Recipe
            With comments, which `save` keeps: channels, voxel size, region of interest and what the microscope states.
            Steps that this stack does not allow are left out, with the reason.

        Examples
        --------
        >>> import tempfile, tifffile
        >>> folder = tempfile.mkdtemp()
        >>> for k in range(3):
        ...     tifffile.imwrite(f"{folder}/slice_{k}.tif", np.zeros((40, 60), "uint16"))
        >>> recipe = stack3d.Recipe.init(folder, pixel_size="5 nm")
        >>> recipe.input["pixel_size"], recipe.steps[-1].parameters
        ('5 nm', {'dz': '5 nm'})
        """
        from stack3d.io import open_stack
        from stack3d.runs._init import recipe_text

        place = os.path.abspath(os.path.expanduser(path))
        da = open_stack(place, **opening)
        target = f"{os.path.splitext(place.rstrip(os.sep))[0]}-clean.zarr"
        return cls.from_text(recipe_text(da, {"path": place, **opening}, preset, path=place, target=target))

    @classmethod
    def _read(cls, source: _document.Source) -> Recipe:
        faults, content = _document.parsed(source)
        recipe = cls([Step(*parts) for parts in content["steps"]], input=content["input"], output=content["output"])
        recipe._source, recipe._faults, recipe._unread = source, faults, content["unread"]
        return recipe

    @classmethod
    def from_provenance(cls, result: xr.DataArray) -> Recipe:
        """Return the recipe that the record of a stack amounts to.

        Parameters
        ----------
        result : DataArray
            A stack with provenance. Conversions of dtype that a run made around its steps are left out.

        Raises
        ------
        ValueError
            When there is no record, or a step took a second stack.
        """
        records = [record for record in provenance(result) if not record["context"].get("inserted")]
        if not records:
            raise ValueError(
                "result has no provenance; a recipe is made from the record that stack3d writes into attrs"
            )
        return cls([from_record(number, record) for number, record in enumerate(records, start=1)])

    def problems(self, da: xr.DataArray | None = None) -> list[str]:
        """Return everything that is wrong, nothing computed: names and values, and, with a stack, how they fit it.

        Parameters
        ----------
        da : DataArray, optional
            The stack the recipe is meant for; no frame of it is read.
        """
        from stack3d.runs._check import problems

        return problems(self, da)

    def check(self, da: xr.DataArray | None = None) -> None:
        """Raise `RecipeError` with everything that is wrong; see `problems`."""
        found = self.problems(da)
        if found:
            raise RecipeError(found)

    def apply(self, da: xr.DataArray) -> xr.DataArray:
        """Do the steps one after another on a stack, with no files; lazy where `da` is. See `stack3d.run` for more.

        Parameters
        ----------
        da : DataArray
        """
        self.check(da)
        for step in self.steps:
            da = OPERATIONS[step.operation].function(da, **step.parameters)
        return da

    def plan(self, da: xr.DataArray | None = None, *, workers: int | None = None, trial: bool = True) -> Plan:
        """Say what `stack3d.run` would take in memory, disk and time, and in how many passes.

        Parameters
        ----------
        da : DataArray, optional
            The raw stack; by default what ``[input]`` names.
        workers : int, optional
            Threads to plan for; by default those of this machine.
        trial : bool
            Whether a few slices from the middle are run, in a temporary folder, to find the time.

        Returns
        -------
        Plan
            Its text (`print`) says all of it.

        Examples
        --------
        >>> plan = stack3d.Recipe(["match_histograms"]).plan(stack, workers=2, trial=False)
        >>> plan.passes
        ['the raw stack is read for the estimate of match_histograms', 'the raw stack is read and the result written']
        """
        from stack3d.runs._planning import plan

        return plan(self, da, workers=workers, trial=trial)

    def to_text(self) -> str:
        """Return the recipe as TOML; comments of the file it was read from are kept."""
        return "".join(f"# Note: {note}\n" for note in self.notes) + _document.written(self, self._source)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the recipe as TOML; comments of the file it was read from are kept.

        Paths are written as they are: read again, relative ones are relative to `path`.
        """
        path = Path(path)
        path.write_text(self.to_text(), encoding="utf-8")
        return path

    def where(self, number: int, key: str | None = None) -> str:
        """Return where step `number` (from 0), or a parameter of it, stands: line of the file, or count of the step."""
        line = None if self._source is None else self._source.line_of("step", number, key)
        if number < len(self._places):
            return f"{self._places[number]} step {number + 1} ({self.steps[number].operation})"
        name = f"step {number + 1} ({self.steps[number].operation})"
        return name if line is None or self._source is None else f"{self._source.name}, line {line}: {name}"

    @property
    def name(self) -> str:
        """What it is called in messages: its file, where it has one."""
        return "recipe" if self._source is None else self._source.name

    def line_of(self, table: str, key: str | None = None) -> int | None:
        """Return the line of a key under ``[input]`` or ``[output]``, or of the table; None where there is none."""
        return None if self._source is None else self._source.line_of(table, 0, key)

    def located(self, path: str | os.PathLike[str]) -> str:
        """Return a path of ``[input]`` or ``[output]``, relative to the file that the recipe was read from."""
        path = os.path.expanduser(path)
        return path if self._folder is None else str(self._folder / path)

    def __eq__(self, other: object) -> bool:
        return self.steps == other.steps if isinstance(other, Recipe) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        lines = [f"<stack3d Recipe, {counted(len(self.steps), 'step')}>"]
        for number, step in enumerate(self.steps, start=1):
            shown = ", ".join(f"{key}={_short(value)}" for key, value in step.parameters.items())
            lines.append(f"  {number}. {step.operation}({shown}){' -> checkpoint' if step.checkpoint else ''}")
        return "\n".join(lines)


def _short(value: Any) -> str:
    text = f"<{type(value).__name__}>" if hasattr(value, "dims") or hasattr(value, "shape") else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _step(item: Any) -> Step:
    if isinstance(item, Step):
        saved = item.parameters.get("estimate")
        if isinstance(saved, str | os.PathLike):
            return replace(item, parameters={**item.parameters, "estimate": saved_estimate(Path(saved))})
        return item
    if isinstance(item, str):
        return Step(item)
    if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Mapping):
        return _step(Step(item[0], dict(item[1])))
    raise TypeError(f"steps: {item!r} must be a name, (name, parameters) or a Step")
