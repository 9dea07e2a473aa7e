"""Running a recipe on a stack larger than memory, with resume."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import _provenance
from stack3d._provenance import OPERATIONS
from stack3d.io import checkpoint as write_again
from stack3d.io import open_stack
from stack3d.runs import _plan, _store
from stack3d.runs._check import EXACT, problems
from stack3d.runs._folder import RunFolder, key_of, key_of_input, load_estimate
from stack3d.runs._scheduler import on_scheduler
from stack3d.runs.recipe import Recipe, RecipeError, Step

_LOGGER = logging.getLogger("stack3d")
_INSERTED = {"inserted": True}


class _Link(NamedTuple):
    """A step as it is done: what its record says besides, and the place (from 0) in the recipe that it belongs to."""

    step: Step
    context: dict[str, Any]
    place: int


def run(
    recipe: Recipe | str | os.PathLike[str],
    da: xr.DataArray | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    steps: Sequence[str | int] | None = None,
    from_step: str | int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
) -> xr.DataArray:
    """Run a recipe: a folder in, a clean volume out, nothing of the size of the stack in memory.

    Blocks stream through all steps at once. The result of a step is written in between only where a later estimate
    would otherwise repeat a step that takes long, or where the recipe says ``checkpoint = true``. Pixels are floats
    between the steps and are rounded once, at the end.

    Parameters
    ----------
    recipe : Recipe or path
        A recipe, or the TOML file of one.
    da : DataArray, optional
        The raw stack; by default what the recipe's ``[input]`` names.
    out : path, optional
        Where the result goes (``.zarr``, or another suffix that `stack3d.save` knows); by default the recipe's
        ``[output] path``. Beside it the folder ``NAME.run`` keeps the recipe, every estimate, checkpoints and what is
        needed to go on after an interruption.
    steps : sequence of str or int, optional
        Only these steps, by name or number (from 1).
    from_step : str or int, optional
        Do this step and all later ones again, even if nothing changed.
    scheduler : str, optional
        ``"threads"``, ``"processes"``, ``"synchronous"``, or the address of a cluster (``"tcp://..."``); by default
        the dask scheduler in force.
    overwrite : bool
        Whether a result may be replaced that this recipe did not make.

    Returns
    -------
    DataArray
        The result, opened lazily.

    Raises
    ------
    RecipeError
        With everything that is wrong with the recipe, before work begins.
    FileExistsError
        When `out` is there, is not of an earlier run of this folder, and `overwrite` is not given.
    RuntimeError
        When another run is writing the same result.
    OSError
        When there is not enough space, before work begins, or when writing fails; run again to go on.

    Notes
    -----
    A step is done again when it, its parameters, or anything before it changed: its input is known by the names,
    sizes and times of its files and by a few of its frames. A run that was killed at any moment goes on at the blocks
    that are missing, and ends with the same bytes.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "clean.zarr"
    >>> clean = stack3d.run(stack3d.Recipe(["match_histograms"]), stack, out=out)
    >>> clean.dtype == stack.dtype
    True
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.from_file(recipe)
    target = _plan.target_of(recipe, out)
    source = _plan.source_of(recipe) if da is None else None
    with on_scheduler(scheduler):
        raw = open_stack(_plan.source_of(recipe), **_plan.opening(recipe)) if da is None else da
        wrong = problems(recipe, raw, carried=True)
        if wrong:
            raise RecipeError(wrong)
        chosen = _plan.chosen(recipe, steps)
        folder = RunFolder(Path(f"{target}.run"))
        with folder.locked():
            job = _Run(recipe, folder, raw, key_of_input(raw, source, target))
            return job.result(target, chosen, from_step, overwrite)


def clean(result: str | os.PathLike[str]) -> int:
    """Delete the checkpoints of a run, finished or not; the result and the estimates stay.

    Parameters
    ----------
    result : path
        What `run` made or was to make, such as ``"clean.zarr"``.

    Returns
    -------
    int
        How many bytes that gave back.
    """
    folder = Path(f"{os.path.realpath(result)}.run")
    if not folder.is_dir():
        raise FileNotFoundError(f"result={str(result)!r}: there is no folder {str(folder)!r} of a run")
    kept = RunFolder(folder)
    with kept.locked():
        return kept.clean()


class _Run:
    """One run: what has been done so far, and its notes."""

    def __init__(self, recipe: Recipe, folder: RunFolder, raw: xr.DataArray, key: str) -> None:
        self.recipe, self.folder, self.raw = recipe, folder, raw
        self.before = folder.state()
        self.state: dict[str, Any] = {"input": key, "steps": [], "warnings": [], "notes": list(recipe.notes)}
        self.keys: list[str] = [key]

    def result(self, target: Path, chosen: list[int], from_step: Any, overwrite: bool) -> xr.DataArray:
        chain = self._chain(chosen)
        final_key = self.keys[-1]
        if from_step is not None:
            first = _plan.number_of(self.recipe, from_step)
            self.folder.forget(
                next((k for k, link in enumerate(chain, start=1) if link.place >= first), len(chain) + 1)
            )
        ours = self.before.get("result", {})
        if (
            from_step is None
            and target.exists()
            and ours.get("key") == final_key
            and ours.get("made") == _plan.stamp(target)
        ):
            _LOGGER.info("%s is up to date", target)
            return open_stack(target)
        _plan.check_target(target, ours, overwrite)
        _plan.check_space(self.folder.path, self.raw, self.recipe)
        self.recipe.save(self.folder.path / "recipe.toml")
        start = time.perf_counter()
        with _plan.noting_warnings(self.state["warnings"]):
            da = self._through(chain)
            clean = self._written(da, len(chain) + 1, "result", final_key)
            clean = self._in_place(clean, target, final_key)
        self.state["seconds"] = round(time.perf_counter() - start, 3)
        self.state["result"] = {"path": str(target), "key": final_key, "made": _plan.stamp(target)}
        self.folder.note(self.state)
        return clean

    def _chain(self, chosen: list[int]) -> list[_Link]:
        """Return the steps to do, with the conversions around them, and find their keys."""
        chain: list[_Link] = []
        kind = self.raw.dtype
        floating = False
        for number in chosen:
            step, context = self.recipe.steps[number], {}
            if step.operation not in EXACT and not floating and kind.kind in "uib":
                chain.append(_Link(Step("astype", {"dtype": str(_plan.working_dtype(kind))}), _INSERTED, number))
                floating = True
            if step.operation == "invert" and floating and step.parameters.get("range") is None and kind.kind in "ui":
                limits = np.iinfo(kind)
                step = Step("invert", {**step.parameters, "range": [int(limits.min), int(limits.max)]}, step.checkpoint)
                context = {"filled": ["range"]}
            if step.parameters.get("dtype") is not None:
                kind, floating = np.dtype(step.parameters["dtype"]), False
            chain.append(_Link(step, context, number))
        wanted = self.recipe.output.get("dtype")
        if wanted is not None or (floating and not _plan.leaves_holes(self.recipe)):
            chain.append(_Link(Step("astype", {"dtype": str(wanted or kind)}), _INSERTED, len(self.recipe.steps)))
        for step, _, _ in chain:
            version = OPERATIONS[step.operation].version
            self.keys.append(key_of(self.keys[-1], step.operation, version, step.complete()))
        return chain

    def _through(self, chain: list[_Link]) -> xr.DataArray:
        """Return the stack after all steps, from the last checkpoint that is there."""
        da, first = self.raw, 0
        for number in range(len(chain), 0, -1):
            path = self.folder.checkpoint(number, chain[number - 1].step.operation, self.keys[number])
            if path.is_dir():
                da, first = open_stack(path), number
                _LOGGER.info("going on after step %d (%s)", number, chain[number - 1].step.operation)
                break
        for number, (step, context, _) in enumerate(chain[first:], start=first + 1):
            begin = time.perf_counter()
            known = OPERATIONS[step.operation]
            if known.estimates(step.parameters):
                da = self._spare_repeats(da, number, chain)
            with self._kept_estimates(number), _provenance.noting(**context):
                da = known.function(da, **step.parameters)
            if step.checkpoint:
                da = self._written(da, number, step.operation, self.keys[number])
            self._note_step(step, number, "inserted" in context, time.perf_counter() - begin)
        return da

    def _spare_repeats(self, da: xr.DataArray, number: int, chain: list[_Link]) -> xr.DataArray:
        """Write the stack before an estimate would repeat a dear step."""
        name = OPERATIONS[chain[number - 1].step.operation].estimator.__name__  # type: ignore[union-attr]
        if self._estimate_path(number, name).is_file() or not _provenance.dear_steps(da):
            return da
        return self._written(da, number - 1, chain[number - 2].step.operation, self.keys[number - 1])

    def _estimate_path(self, number: int, name: str) -> Path:
        return self.folder.estimate(number, name, self.keys[number])

    @contextlib.contextmanager
    def _kept_estimates(self, number: int) -> Iterator[None]:
        def keeper(estimator: Callable[..., xr.Dataset], da: xr.DataArray, parameters: dict[str, Any]) -> xr.Dataset:
            path = self._estimate_path(number, estimator.__name__)
            if not path.is_file():
                self.folder.keep_estimate(path, estimator(da, **parameters))
            return load_estimate(path)

        with _provenance.keeping_estimates(keeper):
            yield

    def _written(self, da: xr.DataArray, number: int, name: str, key: str) -> xr.DataArray:
        path = self.folder.checkpoint(number, name, key)
        if path.is_dir():
            return open_stack(path)
        return _store.written(da, path, label=name if name != "result" else "write result")

    def _in_place(self, clean: xr.DataArray, target: Path, key: str) -> xr.DataArray:
        """Give the finished result its name."""
        held = self.folder.checkpoint(len(self.keys), "result", key)
        if target.suffix != ".zarr":
            result = write_again(clean, target, overwrite=target.exists())
            _store.remove(held)
            return result
        _plan.put_in_place(held, target)
        return open_stack(target)

    def _note_step(self, step: Step, number: int, inserted: bool, seconds: float) -> None:
        known = OPERATIONS[step.operation]
        note: dict[str, Any] = {"operation": step.operation, "key": self.keys[number], "seconds": round(seconds, 3)}
        note |= {"inserted": inserted, "peak_memory": _plan.peak_memory()}
        if known.estimator is not None:
            path = self._estimate_path(number, known.estimator.__name__)
            if path.is_file():
                note["estimate"] = path.name
        self.state["steps"].append(note)
        self.folder.note({**self.before, **self.state})
