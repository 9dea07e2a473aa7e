"""Running a recipe on a stack larger than memory, with resume."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from stack3d import _provenance
from stack3d._meter import peak_memory
from stack3d._provenance import OPERATIONS
from stack3d.io import _atomic, _kept_chunks, _stream, open_stack
from stack3d.io import checkpoint as write_again
from stack3d.options import get_option
from stack3d.runs import _changed, _choice, _damage, _input, _output, _plan, _store
from stack3d.runs._folder import RunFolder, input_of, keys_of
from stack3d.runs._forecast import Stage, forecast
from stack3d.runs._links import Link, links, shown
from stack3d.runs._ready import ready
from stack3d.runs._reported import page_of, write_report
from stack3d.runs._scheduler import on_scheduler
from stack3d.runs.recipe import Recipe, Step

_LOGGER = logging.getLogger("stack3d")


def run(
    recipe: Recipe | str | os.PathLike[str] | Sequence[Any],
    da: xr.DataArray | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    steps: Sequence[str | int] | None = None,
    from_step: str | int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    report: bool | None = None,
) -> xr.DataArray:
    """Run a recipe: a folder in, a clean volume out, nothing of the size of the stack in memory.

    Blocks stream through all steps at once. The result of a step is written in between only where a later estimate
    would otherwise repeat a step that takes long, or where the recipe says ``checkpoint = true``. Pixels are floats
    between the steps and are rounded once, at the end.

    Parameters
    ----------
    recipe : Recipe, path or list
        A recipe, the TOML file of one (paths in it are relative to it), or steps as `Recipe` takes them.
    da : DataArray, optional
        The raw stack; by default what the recipe's ``[input]`` names.
    out : path, optional
        Where the result goes (``.zarr``, or another suffix that `stack3d.save` knows); by default the recipe's
        ``[output] path``. Beside it the folder ``NAME.run`` keeps the recipe, every estimate, checkpoints and what is
        needed to go on after an interruption.
    steps : sequence of str or int, optional
        Only these steps, by name or number (from 1). Without `out` the result has a name of its own, with the last of
        them in it: ``clean-register.zarr`` for ``clean.zarr``.
    from_step : str or int, optional
        Do this step and all later ones again, even if nothing changed.
    scheduler : str, optional
        ``"threads"``, ``"processes"``, ``"synchronous"``, or the address of a cluster (``"tcp://..."``); by default
        the dask scheduler in force.
    overwrite : bool
        Whether something else may be replaced than an earlier result of the same steps from the same input, with
        whatever parameters. The raw stack itself never is.
    report : bool, optional
        Whether a report is written beside the result, as ``NAME.html`` (see `stack3d.report`); by default what
        `stack3d.set_options` says, which is yes. One that cannot be written is a warning, and costs nothing else.

    Returns
    -------
    DataArray
        The result, opened lazily.

    Raises
    ------
    RecipeError
        With everything that is wrong with the recipe, before work begins.
    FileExistsError
        When `out` is there, is not of an earlier run of the same steps from the same input, and `overwrite` is not given.
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
    with prepared(recipe, da, out=out, steps=steps, scheduler=scheduler) as job, job.folder.locked():
        return job.reported(job.result(from_step, overwrite), report)


@contextlib.contextmanager
def prepared(
    recipe: Recipe | str | os.PathLike[str] | Sequence[Any],
    da: xr.DataArray | None,
    *,
    out: str | os.PathLike[str] | None,
    steps: Sequence[str | int] | None,
    scheduler: str | None,
) -> Iterator[Run]:
    """Yield a run that is checked and not begun, on the scheduler that is asked for; see `run`."""
    recipe = Recipe.of(recipe)
    if out is not None:
        _output.target_of(recipe, out)
    with on_scheduler(scheduler), _input.errors_in_words(recipe) if da is None else contextlib.nullcontext():
        raw, chosen, stages = ready(recipe, da, out, steps)
        target = _output.target_of(recipe, out, steps)
        source = _input.place_of(recipe) if da is None else None
        folder = RunFolder(Path(f"{target}.run"))
        with _kept_chunks.until_done():
            yield Run(recipe, folder, raw, source, target, chosen, stages)


class Run:
    """One run: what has been done so far, and its notes."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        raw: xr.DataArray,
        source: str | None,
        target: Path,
        chosen: list[int],
        stages: list[Stage] | None = None,
    ) -> None:
        self.recipe, self.folder, self.raw, self.source, self.target = recipe, folder, raw, source, target
        self.input = input_of(raw, source, target)
        key = self.input.key
        self.before: dict[str, Any] = {}
        self.damage = _damage.NONE  # of an earlier result
        self.state: dict[str, Any] = {
            "input": key,
            "steps": [],
            "passes": [],
            "warnings": [],
            "notes": list(recipe.notes),
        }
        self.chosen = chosen
        # A stack that is no file is known by its frames: its record has the time in it, which is another each time.
        self.made_of = {
            "steps": [recipe.steps[place].operation for place in chosen],
            "input": self.input.base[:64] if source is None else os.path.realpath(source),
        }
        self.chain = links(recipe, raw.dtype, chosen)
        self.keys = keys_of(key, self.chain)
        self.stages: dict[str, xr.DataArray] = {}
        # Of the raw stack, so that all stores are laid out the same, with or without checkpoints before them.
        self.together = 1 if raw.chunks is None else _stream.frames_together(raw)
        self.estimates: dict[str, xr.Dataset] = {}
        self._forecast = stages
        self.write: Callable[..., None] = _store.write  # who writes a store, whole or not at all

    def finished(self) -> xr.DataArray | None:
        """Return the result if it is there and up to date."""
        self.before = self.folder.state()
        ours = self.before.get("result", {})
        if not self.target.exists() or ours.get("made") != _output.stamp(self.target):
            return None
        self.damage = self.folder.damage_of(self.target)
        return None if self.damage or ours.get("key") != self.keys[-1] else open_stack(self.target)

    def result(self, from_step: str | int | None, overwrite: bool) -> xr.DataArray:
        """Do what is missing, and return the result. The folder must be held."""
        done = self.finished()
        if done is not None and from_step is None:
            _LOGGER.info("%s is up to date", self.target)
            return done
        if from_step is not None:
            first = _choice.number_of(self.recipe, from_step)
            self.folder.forget(1 + sum(place < first for place in self.chosen))
        ours = self.before.get("result", {})
        changed = bool(self.damage) and _damage.is_change(self.target, self.damage)
        _output.check_target(self.target, {} if changed else ours, self.made_of, overwrite)
        stages = forecast([link.step for link in self.chain], self.raw) if self._forecast is None else self._forecast
        _plan.check_space(self.folder.path, stages, self.raw)
        _plan.keep_recipe(self.recipe, self.folder.path, self.chosen)
        _changed.say(self.folder, self.input)
        start = time.perf_counter()
        with _plan.noting_warnings(self.state["warnings"]), _plan.saying_how_to_go_on(self.folder.path):
            if self.damage and not changed and ours["key"] == self.keys[-1] and from_step is None:
                path = self.folder.checkpoint(shown(self.chain, len(self.chain) + 1), "result", self.keys[-1])
                self.folder.take_back(self.target, path, self.damage)
            da = self._through(self.chain)
            clean = self._in_place(self._write(da, len(self.chain) + 1, "result", self.keys[-1]))
        self.state["seconds"] = round(time.perf_counter() - start, 3)
        self.state |= {"peak_memory": peak_memory(), "machine": _plan.machine()}
        self.state["result"] = _output.noted(self.target, self.keys[-1], self.made_of)
        self.folder.note(self.state)
        return clean

    def reported(self, clean: xr.DataArray, report: bool | None) -> xr.DataArray:
        """Write the report of the result where one is wanted and missing or older; return the result."""
        fresh = "result" in self.state
        if (get_option("report") if report is None else report) and (fresh or not page_of(self.target).exists()):
            write_report(self.target, clean, self.raw, self.folder.path, self.estimates, self.stages, self.source)
        return clean

    def _through(self, chain: list[Link]) -> xr.DataArray:
        """Return the stack after all steps, from the last checkpoint that is there."""
        da, first = self.raw, 0
        for number in range(len(chain), 0, -1):
            path = self.folder.checkpoint(shown(chain, number), chain[number - 1].step.operation, self.keys[number])
            if self.folder.is_whole(path):
                da, first = open_stack(path), number
                self.state["resumed_after"] = number
                _LOGGER.info("going on after step %d (%s)", shown(chain, number), chain[number - 1].step.operation)
                self._keep_notes(first)
                break
        for number, (step, context, place) in enumerate(chain[first:], start=first + 1):
            begin = time.perf_counter()
            known = OPERATIONS[step.operation]
            if known.estimates(step.parameters):
                da = self._spare_repeats(da, number, chain)
            with self._kept_estimates(number), _provenance.noting(**context):
                da = known.function(da, **step.parameters)
            if step.checkpoint:
                da = self._written(da, number, step.operation, self.keys[number])
            if "inserted" not in context:
                self.stages[f"{self.chosen.index(place) + 1}. {step.operation}"] = da
            self._note_step(step, number, "inserted" in context, time.perf_counter() - begin)
        return da

    def _spare_repeats(self, da: xr.DataArray, number: int, chain: list[Link]) -> xr.DataArray:
        """Write the stack before an estimate would repeat a dear step."""
        name = OPERATIONS[chain[number - 1].step.operation].estimator.__name__  # type: ignore[union-attr]
        before, key = chain[number - 2].step.operation, self.keys[number - 1]
        # What was begun there has lost chunks since: to mend it takes less than to repeat the step.
        lost = _store.unfinished(self.folder.checkpoint(shown(self.chain, number - 1), before, key)).is_dir()
        if (self._known_estimate(number, name) is not None and not lost) or not _provenance.dear_steps(da):
            return da
        written = self._written(da, number - 1, before, key)
        # The report need not do the dear step once more.
        self.stages |= {name: written for name, stage in self.stages.items() if stage is da}
        return written

    def _known_estimate(self, number: int, name: str) -> xr.Dataset | None:
        """Return an estimate that was kept, read once."""
        path = self._estimate_path(number, name)
        found = self.estimates.get(path.name)
        if found is None and (found := self.folder.known_estimate(path)) is not None:
            self.estimates[path.name] = found
        return found

    def _estimate_path(self, number: int, name: str) -> Path:
        return self.folder.estimate(shown(self.chain, number), name, self.keys[number])

    @contextlib.contextmanager
    def _kept_estimates(self, number: int) -> Iterator[None]:
        def keeper(estimator: Callable[..., xr.Dataset], da: xr.DataArray, parameters: dict[str, Any]) -> xr.Dataset:
            path = self._estimate_path(number, estimator.__name__)
            found = self._known_estimate(number, estimator.__name__)
            if found is None:
                with self._timed("estimate", estimator.__name__, number):
                    made = estimator(da, **parameters)
                found = self.estimates[path.name] = self.folder.keep_estimate(path, made)
            return found

        with _provenance.keeping_estimates(keeper):
            yield

    def _written(self, da: xr.DataArray, number: int, name: str, key: str) -> xr.DataArray:
        return open_stack(self._write(da, number, name, key))

    def _write(self, da: xr.DataArray, number: int, name: str, key: str) -> Path:
        """Write what is missing of the store of what a step gives, and return its path."""
        if self.folder.is_whole(path := self.folder.checkpoint(shown(self.chain, number), name, key)):
            return path
        _changed.take_over(self.folder, self.chain, self.input, da, number, name, path)
        if name == "result":
            with self._timed("result", name, number):
                self.write(da, path, label="write result", frames=self.together)
        else:
            # What memory holds anyway is read from there, and is gone soon: compressing it costs more than it spares.
            compression = None if da.nbytes <= _kept_chunks.LIMIT else "lz4"
            with self._timed("checkpoint", name, number), _kept_chunks.keeping(da.nbytes):
                self.write(da, path, label=name, compression=compression, frames=self.together)
        return path

    @contextlib.contextmanager
    def _timed(self, kind: str, name: str, step: int) -> Iterator[None]:
        """Note a pass over the stack: at which step, how long it took, and the memory by its end."""
        start = time.perf_counter()
        yield
        note = {"kind": kind, "name": name, "step": step, "seconds": round(time.perf_counter() - start, 3)}
        self.state["passes"].append(note | {"peak_memory": peak_memory()})

    def _in_place(self, held: Path) -> xr.DataArray:
        """Give the finished result its name."""
        target = self.target
        if target.suffix != ".zarr":
            result = write_again(open_stack(held), target, overwrite=target.exists())
            _store.remove(held)
            return result
        _atomic.put_in_place(held, target)
        self.folder.keep_marks(held)
        return open_stack(target)

    def _keep_notes(self, first: int) -> None:
        """Take over what an earlier run noted of the steps that are not done again."""
        earlier = self.before.get("steps", [])[:first]
        if [note.get("key") for note in earlier] == self.keys[1 : first + 1]:
            self.state["steps"] = list(earlier)

    def _note_step(self, step: Step, number: int, inserted: bool, seconds: float) -> None:
        known = OPERATIONS[step.operation]
        note: dict[str, Any] = {"operation": step.operation, "key": self.keys[number], "seconds": round(seconds, 3)}
        note |= {"inserted": inserted, "peak_memory": peak_memory()}
        if known.estimator is not None:
            path = self._estimate_path(number, known.estimator.__name__)
            if path.is_file():
                note["estimate"] = path.name
        self.state["steps"].append(note)
        self.folder.note({**self.before, **self.state})
