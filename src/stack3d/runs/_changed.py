"""Files of the input that changed since a run began: what of its work holds, and what is done again.

A step is done again when its input changed, and the key of the input changes with the time of any file. Where a slice was
mended or replaced, most of the blocks that are written never saw it. They are taken over where everything they were
made of is the same: the recipe, all other files, and, to the bit, every estimate, made anew from the changed input.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dask.array
import xarray as xr

from stack3d import estimates
from stack3d._provenance import OPERATIONS
from stack3d._words import counted
from stack3d.io import _attrs, _stream
from stack3d.io._frames import Ref
from stack3d.runs import _marks, _store
from stack3d.runs._folder import Input, RunFolder, keys_of
from stack3d.runs._links import Link, shown

_LOGGER = logging.getLogger("stack3d")
_NAME = "input.json"


def noted(folder: Path) -> Input | None:
    """Return what the last run that wrote in this folder noted of its input."""
    try:
        return Input(**json.loads((folder / _NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def note(folder: Path, now: Input) -> None:
    """Write it, whole or not at all."""
    beside = folder / f"{_NAME}.unfinished"
    beside.write_text(json.dumps(now._asdict()), encoding="utf-8")
    os.replace(beside, folder / _NAME)


def changed_files(before: Input | None, now: Input) -> list[str]:
    """Return the names of files of the same input that have another size or time; none where more than that changed."""
    if before is None or (before.base, before.root) != (now.base, now.root) or before.files.keys() != now.files.keys():
        return []
    return [name for name, facts in now.files.items() if before.files[name] != facts]


def say(folder: RunFolder, now: Input) -> None:
    """Tell that the input is another one than that of the work so far, where it is the same but for some files."""
    changed = changed_files(noted(folder.path), now)
    if not changed:
        return
    some = ", ".join(changed[:3]) + (" ..." if len(changed) > 3 else "")
    _LOGGER.info(
        "%s of the input changed since the work in %s was done (%s): estimates are made again, and all that used them",
        counted(len(changed), "file"),
        folder.path,
        some,
    )


def take_over(
    folder: RunFolder, chain: Sequence[Link], now: Input, da: xr.DataArray, number: int, name: str, path: Path
) -> None:
    """Go on with the blocks of a store written before some files of the input changed, where they used none of these.

    `da` is what the store `path` is to hold, the result of step `number` of the chain. The folder must be held.
    """
    before = noted(folder.path)
    changed = changed_files(before, now)
    if changed and before is not None and not _store.unfinished(path).exists():
        old_keys, new_keys = keys_of(before.key, chain), keys_of(now.key, chain)
        old = folder.checkpoint(shown(chain, number), name, old_keys[min(number, len(chain))])
        if _same_estimates(folder, chain[:number], old_keys, new_keys):
            paths = {os.path.realpath(os.path.join(now.root, file)) for file in changed}
            _moved(da, old, path, paths)
    if before != now:
        note(folder.path, now)


def _same_estimates(folder: RunFolder, chain: Sequence[Link], old: Sequence[str], new: Sequence[str]) -> bool:
    """Return whether the estimates of some steps, made anew, are those that were made before, to the bit."""
    for place, (step, _, _) in enumerate(chain, start=1):
        known = OPERATIONS[step.operation]
        if known.estimator is None or not known.estimates(step.parameters):
            continue
        paths = [folder.estimate(shown(chain, place), known.estimator.__name__, keys[place]) for keys in (old, new)]
        old_one, new_one = map(_digest, paths)
        if old_one is None or old_one != new_one:
            return False
    return True


def _digest(path: Path) -> tuple[str, str] | None:
    try:
        with xr.open_dataset(path) as found:
            return estimates.digest(found), str(found.attrs.get("frame"))
    except (OSError, RuntimeError, ValueError, KeyError):  # not there, or damaged
        return None


def _moved(da: xr.DataArray, old: Path, new: Path, paths: set[str]) -> bool:
    """Give the store `old`, which is not whole, the name `new`, its blocks made of some files marked as missing.

    Returns False, and changes nothing, where the graph does not tell which blocks those are.
    """
    partial, marks = _store.unfinished(old), Path(f"{old}.blocks")
    if not partial.is_dir() or not marks.is_dir() or _store.unfinished(new).exists():
        return False
    ds = _attrs.encode_stack(_stream.load_small(_stream.unread_in_blocks(da)))
    stale: set[str] = set()
    for name, variable in ds.variables.items():
        if not _stream.is_large(variable):
            continue
        used = _using(variable, paths)
        if used is None:
            return False
        stale |= {
            _marks.mark_of(str(name), start, shape)
            for (start, shape), is_used in zip(_stream.blocks(variable), used, strict=True)
            if is_used
        }
    done = _marks.found(marks)
    gone, kept = len(done & stale), len(done - stale)
    _marks.keep(marks, done - stale)
    # Marks last: a store without them is begun again.
    shutil.rmtree(f"{new}.blocks", ignore_errors=True)
    os.replace(partial, _store.unfinished(new))
    os.replace(marks, f"{new}.blocks")
    _LOGGER.info("%s that used none of it are kept, %s written again", counted(kept, "block"), gone)
    return True


def _using(variable: xr.Variable, paths: set[str]) -> list[bool] | None:
    """Return of each block whether it is made of some files; None where that cannot be told of all of them."""
    if variable.chunks is None:
        return None
    data: dask.array.Array = _stream._whole_frames(variable)
    graph: Any = data.__dask_graph__()
    reached: set[Any] = set()
    found: set[str] = set()
    for name, layer in graph.layers.items():
        for index, here in _files_of(getattr(layer, "stack3d_recipe", None)):
            if here & paths:
                reached.add((name, *index))
                found |= here & paths
    if found != paths:
        return None
    needs = graph.get_all_dependencies()
    needed_by: dict[Any, list[Any]] = {}
    for key, sources in needs.items():
        for source in sources:
            needed_by.setdefault(source, []).append(key)
    waiting = list(reached)
    while waiting:
        for key in needed_by.get(waiting.pop(), ()):
            if key not in reached:
                reached.add(key)
                waiting.append(key)
    return [key in reached for key in _flat(data.__dask_keys__())]


def _files_of(recipe: Any) -> Iterator[tuple[tuple[int, ...], set[str]]]:
    """Yield the index of each block that reads files of one frame, and their paths."""
    if recipe is None or not recipe.per_block:
        return
    for index, rows in recipe.per_block.items():
        if not isinstance(rows, tuple) or not all(isinstance(row, tuple) for row in rows):
            return
        here = {
            os.path.realpath(ref.path) for row in rows for ref in row if isinstance(ref, Ref) and ref.offset is None
        }
        if here:
            yield index, here


def _flat(keys: Any) -> Iterator[Any]:
    for key in keys:
        if isinstance(key, list):
            yield from _flat(key)
        else:
            yield key
