"""A recipe for a stack as it lies on disk: a preset, with what the files say of the stack filled in."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d._words import counted
from stack3d.grid import SPATIAL, spacing_of, units_of
from stack3d.io._vendor import acquired_region
from stack3d.io.atlas import SUFFIX as ATLAS_SUFFIX
from stack3d.model import metadata
from stack3d.runs._document import Source, parsed
from stack3d.runs._presets import preset_file
from stack3d.runs._values import to_toml

_STATED = ("instrument", "manufacturer", "acquisition_date", "sample", "accelerating_voltage", "beam_current",
           "dwell_time", "working_distance", "tilt_angle", "slice_thickness")  # fmt: skip
_WIDTH = 118
_SMALL = 256
# They compare slices, or move them.
_OF_SEVERAL = {"replace_slices", "level_slices", "match_histograms", "register", "resample"}


def recipe_text(da: xr.DataArray, opening: Mapping[str, Any], preset: str, *, path: str, target: str) -> str:
    """Return the commented recipe for a stack, as TOML.

    Parameters
    ----------
    da : DataArray
        The stack as `open_stack` gives it; no frame is read.
    opening : mapping
        What `open_stack` was given, ``path`` first.
    preset : str
        Name of the preset whose steps are taken.
    path, target : str
        Where the stack is and where the result goes, as the recipe names them.
    """
    header, steps = _parts(preset_file(preset).read_text(encoding="utf-8"))
    lines = [*header, *_facts(da), "format = 1", ""]
    lines += _input(da, opening, path)
    lines += ["[output]", f"path = {_toml(target)}"]
    lines += [
        f'# dtype = "uint8"             # by default that of the stack, {da.dtype}, unless a step gives another',
        "",
    ]
    blocks = [_filled(block, da) for block in steps]
    for k, reason in _impossible(blocks, da).items():
        blocks[k] = _left_out(blocks[k], reason)
    return "\n".join(lines) + "\n" + "\n\n".join(blocks) + "\n"


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Return the opening comment of a preset, and its steps as blocks of text."""
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text)]
    header = blocks[0].splitlines()
    return header, [block for block in blocks if "[[step]]" in block]


def _facts(da: xr.DataArray) -> list[str]:
    sizes = " x ".join(
        counted(da.sizes[dim], name) for dim, name in zip(SPATIAL, ("slice", "row", "column")) if dim in da.dims
    )
    facts = [f"The stack: {sizes}, {da.dtype}, {_bytes(da.nbytes)}."]
    known = metadata(da)
    stated = []
    for name in _STATED:
        if name in known:
            unit = known.get(f"{name}_units", "")
            value = known[name]
            stated.append(
                f"{name.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value} {unit}".strip()
            )
    if stated:
        facts.append(f"The microscope: {', '.join(stated)}.")
    return ["#", *(f"# {line}" for fact in facts for line in textwrap.wrap(" ".join(fact.split()), _WIDTH)), ""]


def _bytes(count: int) -> str:
    power = next((k for k in (30, 20) if count >= 2**k), 10)
    return f"{count / 2**power:.3g} { {30: 'GiB', 20: 'MiB', 10: 'KiB'}[power] }"


def _input(da: xr.DataArray, opening: Mapping[str, Any], path: str) -> list[str]:
    lines = ["[input]                       # arguments of open_stack", f"path = {_toml(path)}"]
    lines += [
        f"{key} = {_toml(to_toml(value, key))}" for key, value in opening.items() if key not in ("path", "pixel_size")
    ]
    if "channel" not in opening and "channel" in da.dims:
        names = [str(name) for name in da["channel"].values]
        lines.append(
            f"channel = {_toml(names)}    # those that are there, in this order; one name alone is opened by itself"
        )
    return [*lines, *_sizes(da, opening), ""]


def _sizes(da: xr.DataArray, opening: Mapping[str, Any]) -> list[str]:
    """Return the lines on the size of a voxel; what is written opens the very same stack."""
    if "pixel_size" in opening:
        given = to_toml(opening["pixel_size"])
        return [f"pixel_size = {_toml(list(given) if isinstance(given, list) else given)}"]
    units = [units_of(da, dim) for dim in SPATIAL]
    steps = [_length(da, dim) for dim in SPATIAL]
    lines = []
    known = [dim for dim, unit in zip(SPATIAL, units) if unit != "1"]
    from stack3d.io.open import existing, kind_of

    if kind_of(existing(opening["path"])) == "store" or not {"y", "x"} <= set(known):
        if len(known) == 3:
            return [f"# pixel_size = {_toml(steps)}    # the file knows"]
        if "z" in known:  # by the names or notes of the slices; a third length would contradict them
            return [f"# pixel_size = {_toml(['5 nm', '5 nm'])}    # dy, dx: not known", _depth(da, steps[0])]
        return [f"# pixel_size = {_toml(['10 nm', '5 nm', '5 nm'])}    # dz, dy, dx: not known"]
    for sizes, note in ((steps, "dz, dy, dx as the files state them"), (steps[1:], "dy, dx as the files state them")):
        if len(sizes) <= len(known) and _same(da, opening, sizes):
            lines.append(f"pixel_size = {_toml(sizes)}    # {note}; correct them where they are wrong")
            break
    else:
        lines.append(f"# pixel_size = {_toml(steps[1:])}    # dy, dx, as the files state them")
    if units[0] == "1":
        lines[-1] += (
            "\n# The distance of slices is not known: give three lengths, dz first, to make them count as lengths."
        )
    elif len(lines[-1].split("]")[0].split(",")) == 2:
        lines.append(_depth(da, steps[0]))
    return lines


def _depth(da: xr.DataArray, step: str) -> str:
    z = da["z"].values
    return f"# z: from {z[0]:g} to {z[-1]:g} {units_of(da, 'z')}, by the names or notes of the slices; median distance {step}"


def _length(da: xr.DataArray, dim: str) -> str:
    unit = units_of(da, dim)
    return f"{spacing_of(da, dim):.10g} {'px' if unit == '1' else unit}"


def _same(da: xr.DataArray, opening: Mapping[str, Any], sizes: list[str]) -> bool:
    import warnings

    from stack3d.io import open_stack

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = open_stack(**opening, pixel_size=sizes)
    except (ValueError, TypeError):
        return False
    return all(
        units_of(again, dim) == units_of(da, dim) and np.allclose(again[dim].values, da[dim].values, rtol=1e-8)
        for dim in SPATIAL
    )


def _filled(block: str, da: xr.DataArray) -> str:
    """Return a step with values of this stack."""
    operation = _operation(block)
    if da.sizes.get("z", 1) == 1:
        if operation in _OF_SEVERAL:
            return _left_out(block, "there is one slice")
        block = re.sub(r"\nneighbours = \d+", "", block)
    if operation == "crop":
        shape = (da.sizes["y"], da.sizes["x"])
        region = acquired_region(da.attrs, shape)
        part = region or {"y": slice(0, shape[0]), "x": slice(0, shape[1])}
        ends = [f"{dim} = [{part[dim].start}, {part[dim].stop}]" for dim in ("y", "x") if dim in part]
        whole = block.replace("\nby =", "\n" + "\n".join(ends) + "\nby =")
        if region is None:
            return _left_out(whole, "the files state no region of interest; this is the whole frame")
        return whole.replace(
            "[[step]]",
            "# As the files state it; one that was drawn at the microscope has 20 pixels around it.\n[[step]]",
        )
    if operation == "remove_background" and min(da.sizes["y"], da.sizes["x"]) < _SMALL:
        return _left_out(block, f"in frames below {_SMALL} pixels structure varies as slowly as the background")
    if operation == "resample" and units_of(da, "z") != "1":
        note = f"# dz = {_toml(_length(da, 'x'))}             # as fine as the pixels"
        known = units_of(da, "x") != "1"
        return f"{block}\ndz = {_toml(_length(da, 'z'))}" + (f"\n{note}" if known else "")
    return block


def _operation(block: str) -> str:
    found = re.search(r'^operation = "(\w+)"', block, re.MULTILINE)
    return "" if found is None else found[1]


def _impossible(blocks: list[str], da: xr.DataArray) -> dict[int, str]:
    """Return the steps that cannot be done on this stack, and why."""
    from stack3d.runs.recipe import Recipe, Step

    found: dict[int, str] = {}
    for k, block in enumerate(blocks):
        _, content = parsed(Source(block))
        for step in (Step(*parts) for parts in content["steps"]):
            wrong = Recipe([step]).problems(da)
            if wrong:
                found[k] = wrong[0].partition("): ")[2].partition("\n")[0]
    return found


def _left_out(block: str, reason: str) -> str:
    kept = [line if line.startswith("#") else f"# {line}" for line in block.splitlines()]
    return "\n".join(
        [*textwrap.wrap(f"Left out: {reason}", _WIDTH - 2, initial_indent="# ", subsequent_indent="# "), *kept]
    )


def _toml(value: Any) -> str:
    import tomlkit

    return str(tomlkit.item(value).as_string())


def write_recipe(
    path: str | os.PathLike[str],
    opening: Mapping[str, Any],
    *,
    preset: str = "fibsem",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a recipe for a stack into a file, with paths relative to it; return the file.

    Parameters
    ----------
    path : path
        The stack.
    opening : mapping
        More arguments of `open_stack`.
    preset : str
    out : path, optional
        By default ``recipe.toml`` in the current folder, or a file beside the stack where that is the stack itself.
    overwrite : bool

    Raises
    ------
    FileExistsError
        When `out` is there and `overwrite` is not given.
    ValueError
        When `out` lies in the folder of the stack: a run watches it for changes.
    """
    from stack3d.io import open_stack

    preset_file(preset)
    place = Path(os.path.realpath(Path(path).expanduser()))
    folder = place if place.is_dir() else place.parent
    watched = folder if place.is_dir() or place.suffix == ATLAS_SUFFIX else None
    if out is None:
        file = Path("recipe.toml")
        if _within(file, watched):
            file = folder.parent / f"{folder.name}.toml"
    else:
        file = Path(out)
    if _within(file, watched):
        raise ValueError(
            f"out={str(file)!r} lies in the folder of the stack, which a run watches for changes; write it beside"
        )
    if file.suffix != ".toml":
        raise ValueError(f"out={str(file)!r} must end with .toml")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"out={str(file)!r}: there is no folder {str(file.parent)!r}; make it first")
    if file.exists() and not overwrite:
        raise FileExistsError(f"{file} is there already; choose another name with --out, or --overwrite")
    da = open_stack(place, **opening)
    here = Path(os.path.realpath(file)).parent
    name = f"{(folder if watched else place).stem}-clean.zarr"
    target = Path(name) if not _within(here / name, watched) else Path(_relative(folder.parent / name, here))
    text = recipe_text(
        da, {"path": str(place), **opening}, preset, path=_relative(place, here), target=target.as_posix()
    )
    beside = file.with_name(f"{file.name}.unfinished")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, file)
    return file


def _within(file: Path, folder: Path | None) -> bool:
    return folder is not None and Path(os.path.realpath(file)).is_relative_to(folder)


def _relative(place: Path, folder: Path) -> str:
    """Return a path as a recipe in `folder` names it."""
    try:
        return Path(os.path.relpath(place, folder)).as_posix()
    except ValueError:  # another drive
        return str(place)
