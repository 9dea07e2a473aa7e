"""In which order the frames of a folder are slices, and where: numbers, gaps and z."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stack3d._warn import warn
from stack3d._words import counted
from stack3d.io._listing import FrameFile, some
from stack3d.io._names import FrameName, NamePattern, length_in, natural_key, numbers_in, positions_in
from stack3d.io._source import Settings


class Slice(NamedTuple):
    """A slice of one channel; without a file where it is missing."""

    key: Any
    number: int | None
    z: float | None
    file: FrameFile | None


def slices_of(
    pairs: list[tuple[FrameFile, FrameName | None]],
    folder: Path,
    pattern: NamePattern | None,
    settings: Settings,
    unit: str,
) -> list[Slice]:
    """Return the slices of a channel in order, gaps filled where that was asked for."""
    pairs = sorted(pairs, key=lambda pair: natural_key(pair[0].name))
    files = [file for file, _ in pairs]
    fields = pattern.fields if pattern is not None else set()
    numbers: list[int] | None = None
    places: list[tuple[Any, str | None]] | None = None
    if fields & {"slice", "z"}:
        read = [name for _, name in pairs if name is not None]
        if "slice" in fields:
            numbers = [int(name.number or 0) for name in read]
        if "z" in fields:
            places = [(name.z, name.unit) for name in read]
    else:
        numbers = _default_numbers(files, pattern)
        found = positions_in([file.name for file in files])
        known = [place for place in found if place is not None]
        without = [file.name for file, place in zip(files, found) if place is None]
        if without and len(without) < len(files):
            raise ValueError(
                f"some names in {folder} give z and some do not ({some(without)}); say which files are slices "
                "with pattern="
            )
        places = None if without else list(known)
    z: list[float | None] = [None] * len(files)
    if places is not None and settings.z is None:
        z = [_in_unit(value, own, settings, unit) for value, own in places]
    slices = [Slice(index, None, position, file) for index, (position, file) in enumerate(zip(z, files))]
    if numbers is not None:
        slices = [Slice(number, number, position, file) for number, position, file in zip(numbers, z, files)]
        slices.sort(key=lambda item: item.key)
        _refuse_repeated(slices)
        slices = _gaps(slices, folder, settings)
    elif places is not None and settings.z is None:
        slices.sort(key=_depth)
    return _ordered(slices, folder, settings, unit)


def _default_numbers(files: list[FrameFile], pattern: NamePattern | None) -> list[int] | None:
    try:
        return numbers_in([file.name for file in files])
    except ValueError as error:
        if pattern is None:
            raise
        # The pattern chose the files, so that their order is all there is to decide.
        warn(f"the slice numbers are not known, frames are in the natural order of their names: {error}")
        return None


def _in_unit(value: Any, own: str | None, settings: Settings, unit: str) -> float:
    if own is None:
        if settings.units is None:
            raise ValueError(
                f"pattern={settings.pattern!r} gives z without a unit; write it after the field ('{{z}}um') or in "
                f"it ('{{z:um}}'), "
                "or give units="
            )
        own = unit
    return length_in(value, own, unit)


def _refuse_repeated(slices: list[Slice]) -> None:
    for first, second in itertools.pairwise(slices):
        if first.key == second.key:
            raise ValueError(
                f"slice number {first.number} is given twice, by {label(first)!r} and {label(second)!r}; "
                "choose the files with pattern="
            )


def _gaps(slices: list[Slice], folder: Path, settings: Settings) -> list[Slice]:
    """Return the slices with missing numbers treated as `on_gap` says."""
    numbers = [item.key for item in slices]
    holes = [(one + 1, other - 1) for one, other in itertools.pairwise(numbers) if other - one > 1]
    if not holes or settings.on_gap == "ignore":
        return slices
    count = sum(last - first + 1 for first, last in holes)
    text = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in holes[:8])
    message = f"{count} of the slice numbers {numbers[0]} to {numbers[-1]} {'is' if count == 1 else 'are'} missing in {folder}: {text}"
    message += " ..." if len(holes) > 8 else "."
    if settings.on_gap == "flag":
        # Numbers that are no count of slices (a time, a date) would make a stack of holes.
        if count > max(1000, 10 * len(slices)):
            raise ValueError(f"{message} on_gap='flag' would insert them all; say what counts the slices with pattern=")
        return _filled(slices, [number for first, last in holes for number in range(first, last + 1)])
    choices = (
        "on_gap='flag' inserts them as empty slices with valid=False, on_gap='ignore' accepts the hole; "
        "z= places every slice"
    )
    if settings.on_gap == "raise":
        raise ValueError(f"{message} Choose: {choices}")
    placed = slices[0].z is not None or settings.z is not None
    where = "" if placed else " (a slice spacing for each number, so z has a hole there)"
    warn(f"{message} The slices found are kept where they are{where}; {choices}")
    return slices


def _filled(slices: list[Slice], missing: list[int]) -> list[Slice]:
    places: list[float | None] = [None] * len(missing)
    if slices[0].z is not None:
        found = [item.key for item in slices]
        places = [float(place) for place in np.interp(missing, found, [_depth(item) for item in slices])]
    empty = [Slice(number, number, place, None) for number, place in zip(missing, places)]
    return sorted([*slices, *empty], key=lambda item: item.key)


def _ordered(slices: list[Slice], folder: Path, settings: Settings, unit: str) -> list[Slice]:
    """Return the slices with z increasing, as `on_z` says."""
    if slices[0].z is None:
        return slices
    if settings.on_z == "sort":
        slices = sorted(slices, key=_depth)
    kept, dropped = [slices[0]], []
    for item in slices[1:]:
        if item.z > kept[-1].z:  # type: ignore[operator]
            kept.append(item)
            continue
        if settings.on_z == "drop":
            dropped.append(label(item))
            continue
        before = kept[-1]
        if item.z == before.z:
            raise ValueError(
                f"two slices of {folder} have the same z={item.z:g} {unit}: {label(before)} and {label(item)}. "
                "Leave one out with pattern=, "
                "or choose on_z='drop' to keep the first; z= places every slice"
            )
        raise ValueError(
            f"z decreases in {folder} from {before.z:g} to {item.z:g} {unit} between {label(before)} and "
            f"{label(item)}. Choose on_z='sort' to "
            "order the slices by z, or on_z='drop' to leave out each that lies no deeper than those before; z= "
            "places every slice"
        )
    if dropped:
        warn(
            f"on_z='drop' left out {counted(len(dropped), 'slice')} of {folder}, no deeper than those before: "
            f"{some(dropped)}"
        )
    return kept


def _depth(item: Slice) -> float:
    return 0.0 if item.z is None else item.z


def label(item: Slice) -> str:
    """Return how an error names a slice."""
    return item.file.name if item.file is not None else f"missing slice {item.number}"
