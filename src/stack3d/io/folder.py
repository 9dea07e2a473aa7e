"""A folder with one image file a frame."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d.io._frames import (
    SUFFIXES,
    TIFF_SUFFIXES,
    FrameError,
    Frames,
    Header,
    Ref,
    is_complete,
    read_header,
    unreadable,
)
from stack3d.io._names import FrameName, NamePattern, length_in, natural_key, numbers_in, positions_in
from stack3d.io._positions import Calibration, coordinates
from stack3d.io._source import Settings, Source, colour_names, pick_channels
from stack3d.units import canonical_unit


class _File(NamedTuple):
    parts: tuple[str, ...]
    path: str
    size: int
    changed: int

    @property
    def name(self) -> str:
        return self.parts[-1]


class _Slice(NamedTuple):
    key: Any
    number: int | None
    z: float | None
    file: _File | None


def open_folder(path: Path, settings: Settings) -> Source:
    """Return the stack in a folder; only names, and the header of the first frame of each channel, are read."""
    unit = canonical_unit(settings.units or "nm")
    pattern = None if settings.pattern is None else NamePattern(settings.pattern)
    found = _by_channel(path, pattern, settings.channel)
    rows = {name: _slices(files, path, pattern, settings, unit) for name, files in found.items()}
    return _assemble(path, rows, settings)


def open_frame(path: Path, settings: Settings) -> Source:
    """Return one image file as a stack of a single slice."""
    info = path.stat()
    file = _File((path.name,), str(path), info.st_size, info.st_mtime_ns)
    return _assemble(path, {None: [_Slice(0, None, None, file)]}, settings)


# ---------------------------------------------------------------------------------------------------------------------
# Which files


def _list(folder: Path, depth: int) -> tuple[list[_File], list[str]]:
    """Return the files `depth` folders down and the names of what lies directly in the folder."""
    files, names = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if entry.name.startswith("."):
                continue
            if depth and entry.is_dir():
                below, _ = _list(Path(entry.path), depth - 1)
                files += [file._replace(parts=(entry.name, *file.parts)) for file in below]
            elif not depth and entry.is_file():
                info = entry.stat()
                files.append(_File((entry.name,), entry.path, info.st_size, info.st_mtime_ns))
    return files, sorted(names, key=natural_key)


def _by_channel(
    folder: Path, pattern: NamePattern | None, channel: str | Sequence[str] | None
) -> dict[str | None, list[tuple[_File, FrameName | None]]]:
    if pattern is None:
        files, names = _list(folder, 0)
        images = [file for file in files if file.name.lower().endswith(SUFFIXES)]
        if images:
            return {None: [(file, None) for file in images]}
        below = [file for file in _list(folder, 1)[0] if file.name.lower().endswith(SUFFIXES)]
        channels: dict[str | None, list[tuple[_File, FrameName | None]]] = {}
        for file in sorted(below, key=lambda file: natural_key(file.parts[0])):
            channels.setdefault(file.parts[0], []).append((file, None))
        if not channels:
            what = f"; it holds {_some(names)}" if names else "; it is empty"
            raise FileNotFoundError(
                f"the folder {folder} has no frames{what}. Frames are files ending in {', '.join(SUFFIXES)}, there or one folder "
                "down (a folder a channel)"
            )
        return _selected(channels, channel, folder)
    files, names = _list(folder, len(pattern.parts) - 1)
    matched = [(file, name) for file in files if (name := pattern.read(file.parts)) is not None]
    if not matched:
        seen = ["/".join(file.parts) for file in files] or names
        raise FileNotFoundError(
            f"no file in {folder} matches pattern={pattern.text!r}; "
            + (f"the names are {_some(seen)}" if seen else "it is empty")
        )
    for file, _ in matched:
        if not file.name.lower().endswith(SUFFIXES):
            raise ValueError(
                f"pattern={pattern.text!r} matches {file.name!r}, which is no image that can be read; frames end in {', '.join(SUFFIXES)}"
            )
    channels = {}
    for file, name in sorted(matched, key=lambda pair: natural_key("/".join(pair[0].parts))):
        channels.setdefault(name.channel, []).append((file, name))
    return _selected(channels, channel, folder) if "channel" in pattern.fields else channels


def _selected(
    channels: dict[str | None, Any], channel: str | Sequence[str] | None, folder: Path
) -> dict[str | None, Any]:
    if channel is None:
        return channels
    asked = [channel] if isinstance(channel, str) else list(channel)
    missing = [name for name in asked if name not in channels]
    if missing:
        raise ValueError(
            f"channel={channel!r} is not in {folder}; its channels are {_some([str(name) for name in channels])}"
        )
    return {name: channels[name] for name in asked}


def _some(names: Sequence[str], count: int = 5) -> str:
    names = sorted(names, key=natural_key)
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(repr(name) for name in names[:count]) + rest


# ---------------------------------------------------------------------------------------------------------------------
# In which order, and where


def _slices(
    pairs: list[tuple[_File, FrameName | None]],
    folder: Path,
    pattern: NamePattern | None,
    settings: Settings,
    unit: str,
) -> list[_Slice]:
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
                f"some names in {folder} give z and some do not ({_some(without)}); say which files are slices with pattern="
            )
        places = None if without else list(known)
    z: list[float | None] = [None] * len(files)
    if places is not None and settings.z is None:
        z = [_in_unit(value, own, settings, unit) for value, own in places]
    slices = [_Slice(index, None, position, file) for index, (position, file) in enumerate(zip(z, files))]
    if numbers is not None:
        slices = [_Slice(number, number, position, file) for number, position, file in zip(numbers, z, files)]
        slices.sort(key=lambda item: item.key)
        _refuse_repeated(slices)
        slices = _gaps(slices, folder, settings)
    elif places is not None and settings.z is None:
        slices.sort(key=_depth)
    return _ordered(slices, folder, settings, unit)


def _default_numbers(files: list[_File], pattern: NamePattern | None) -> list[int] | None:
    try:
        return numbers_in([file.name for file in files])
    except ValueError as error:
        if pattern is None:
            raise
        # The pattern chose the files, so that their order is all there is to decide.
        warnings.warn(
            f"the slice numbers are not known, frames are in the natural order of their names: {error}",
            UserWarning,
            stacklevel=2,
        )
        return None


def _in_unit(value: Any, own: str | None, settings: Settings, unit: str) -> float:
    if own is None:
        if settings.units is None:
            raise ValueError(
                f"pattern={settings.pattern!r} gives z without a unit; write it after the field ('{{z}}um') or in it ('{{z:um}}'), "
                "or give units="
            )
        own = unit
    return length_in(value, own, unit)


def _refuse_repeated(slices: list[_Slice]) -> None:
    for first, second in itertools.pairwise(slices):
        if first.key == second.key:
            raise ValueError(
                f"slice number {first.number} is given twice, by {first.file.name!r} and {second.file.name!r}; "  # type: ignore[union-attr]
                "choose the files with pattern="
            )


def _gaps(slices: list[_Slice], folder: Path, settings: Settings) -> list[_Slice]:
    numbers = np.array([item.number for item in slices])
    missing = (
        sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers.tolist()))
        if numbers[-1] - numbers[0] < 10**7
        else []
    )
    if not missing or settings.on_gap == "ignore":
        return slices
    if settings.on_gap == "flag":
        has_z = slices[0].z is not None
        known = [item.z for item in slices]
        places = np.interp(missing, numbers, known).tolist() if has_z else [None] * len(missing)  # type: ignore[arg-type]
        slices = slices + [_Slice(number, number, place, None) for number, place in zip(missing, places)]
        return sorted(slices, key=lambda item: item.key)
    runs = np.split(np.array(missing), np.flatnonzero(np.diff(missing) != 1) + 1)
    text = ", ".join(str(run[0]) if run.size == 1 else f"{run[0]} to {run[-1]}" for run in runs[:8]) + (
        " ..." if len(runs) > 8 else ""
    )
    message = f"{len(missing)} of the slice numbers {numbers[0]} to {numbers[-1]} are missing in {folder}: {text}."
    choices = "on_gap='flag' inserts them as empty slices with valid=False, on_gap='ignore' accepts the hole; z= places every slice"
    if settings.on_gap == "raise":
        raise ValueError(f"{message} Choose: {choices}")
    where = (
        ""
        if slices[0].z is not None or settings.z is not None
        else " (a slice spacing for each number, so z has a hole there)"
    )
    warnings.warn(f"{message} The slices found are kept where they are{where}; {choices}", UserWarning, stacklevel=2)
    return slices


def _ordered(slices: list[_Slice], folder: Path, settings: Settings, unit: str) -> list[_Slice]:
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
            dropped.append(_label(item))
            continue
        before = kept[-1]
        if item.z == before.z:
            raise ValueError(
                f"two slices of {folder} have the same z={item.z:g} {unit}: {_label(before)} and {_label(item)}. Leave one out with pattern=, "
                "or choose on_z='drop' to keep the first; z= places every slice"
            )
        raise ValueError(
            f"z decreases in {folder} from {before.z:g} to {item.z:g} {unit} between {_label(before)} and {_label(item)}. Choose on_z='sort' to "
            "order the slices by z, or on_z='drop' to leave out each that lies no deeper than those before; z= places every slice"
        )
    if dropped:
        warnings.warn(
            f"on_z='drop' left out {len(dropped)} slices of {folder} that lie no deeper than those before: {_some(dropped)}",
            UserWarning,
            stacklevel=2,
        )
    return kept


def _depth(item: _Slice) -> float:
    return 0.0 if item.z is None else item.z


def _label(item: _Slice) -> str:
    return item.file.name if item.file is not None else f"missing slice {item.number}"


# ---------------------------------------------------------------------------------------------------------------------
# The stack


def _assemble(path: Path, rows: dict[str | None, list[_Slice]], settings: Settings) -> Source:
    rows, gaps = _together(path, rows, settings)
    names = list(rows)
    header, bad = _check(rows, settings)
    if header.samples and names != [None]:
        raise ValueError(
            f"{path} has channels ({_some([str(name) for name in names])}) and colours at once; open one channel, or convert the colours"
        )
    first = next(iter(rows.values()))
    files = [file for row in rows.values() for item in row if (file := item.file) is not None]
    refs = tuple(
        tuple(Ref(item.file.path) if item.file is not None and item.file.path not in bad else None for item in row)
        for row in rows.values()
    )
    from dask.base import tokenize

    frames = Frames(refs, header, bool(header.samples) or names != [None], tokenize(files, refs, header))
    stored, attrs = _of_first_file(refs)
    has_z = first[0].z is not None
    numbers = np.array([item.number for item in first if item.number is not None], dtype=np.int64)
    numbered = bool(numbers.size)
    coords: dict[str, Any] = coordinates(
        frames.shape,
        pixel_size=settings.pixel_size,
        z=settings.z,
        units=settings.units,
        stored=stored,
        named_z=np.array([item.z for item in first]) if has_z else None,
        offsets=numbers - numbers.min() if numbered else None,
    )
    if numbered:
        coords["slice_number"] = xr.Variable(
            ("z",), numbers, {"long_name": "number of the slice in the file name"}
        )
    if "flag" in (settings.on_gap, settings.on_bad_frame):
        good = [all(row[k] is not None for row in refs) and k not in gaps for k in range(len(first))]
        coords["valid"] = xr.Variable(("z",), np.array(good), {"long_name": "slice was read"})
    known = (
        colour_names(header.samples) if header.samples else None if names == [None] else [str(name) for name in names]
    )
    return pick_channels(Source(frames, coords, {**attrs, "source": str(path)}, known), settings.channel)


def _together(
    path: Path, rows: dict[str | None, list[_Slice]], settings: Settings
) -> tuple[dict[str | None, list[_Slice]], set[int]]:
    """Return channels that have the same slices at the same places, and the indices that one of them lacks."""
    if len(rows) == 1:
        return rows, set()
    by_key = {name: {item.key: item for item in row} for name, row in rows.items()}
    first_name, first = next(iter(rows.items()))
    keys = [item.key for item in first]
    union = set().union(*by_key.values())
    if union != set(keys) or any(len(row) != len(union) for row in by_key.values()):
        lacking = {name: sorted(union - set(row)) for name, row in by_key.items() if union - set(row)}
        text = "; ".join(
            f"{name!r} lacks {len(gone)} ({', '.join(map(str, gone[:5]))}{' ...' if len(gone) > 5 else ''})"
            for name, gone in lacking.items()
        )
        if settings.on_gap != "flag" or any(item.number is None for row in rows.values() for item in row):
            raise ValueError(
                f"the channels of {path} do not have the same slices: {text}. Choose on_gap='flag' to insert them as empty slices with "
                "valid=False, or open the channels one by one with channel="
            )
        places = {item.key: item for row in rows.values() for item in row}
        order = sorted(union, key=lambda key: (places[key].z if places[key].z is not None else 0.0, key))
        rows = {name: [row.get(key, places[key]._replace(file=None)) for key in order] for name, row in by_key.items()}
        first = rows[first_name]
    for name, row in rows.items():
        for one, other in zip(first, row):
            if one.z != other.z:
                raise ValueError(
                    f"slice {one.key} of {path} is at z={one.z:g} in channel {first_name!r} and at z={other.z:g} in {name!r}; slices of a stack "
                    "have one z for all channels: open them one by one with channel=, or give z="
                )
    return rows, {k for k in range(len(first)) if any(row[k].file is None for row in rows.values())}


def _check(rows: dict[str | None, list[_Slice]], settings: Settings) -> tuple[Header, set[str]]:
    """Return the header of the stack and the paths of bad frames, found as far as `on_bad_frame` asks."""
    by_row = [[item.file for item in row if item.file is not None] for row in rows.values()]
    if any(not row for row in by_row):
        raise FrameError("a channel has no frame at all")
    if settings.on_bad_frame == "flag":
        return _scan([file for row in by_row for file in row])
    headers = [read_header(row[0].path) for row in by_row]
    for row, header in zip(by_row[1:], headers[1:]):
        if header[:3] != headers[0][:3]:
            raise FrameError(
                f"the channels are not alike: {by_row[0][0].path} is {headers[0].describe()}, {row[0].path} is {header.describe()}; "
                "open them one by one with channel="
            )
    # What the listing already tells: a file too short for its pixels.
    for row, header in zip(by_row, headers):
        least = header.pixel_bytes if header.plain else 1
        for file in row:
            if file.size < least:
                raise unreadable(file.path, f"it has {file.size} bytes where {least} are needed")
    return headers[0], set()


def _scan(files: list[_File]) -> tuple[Header, set[str]]:
    """Read the header of every frame; the most common one is that of the stack."""
    from concurrent.futures import ThreadPoolExecutor

    from stack3d.options import worker_count
    from stack3d.progress import track

    def look(file: _File) -> Header | None:
        try:
            header = read_header(file.path) if file.size else None
            return header if header is not None and is_complete(file.path, header) else None
        except FrameError:
            return None

    headers = []
    with track(len(files), "check frames") as advance, ThreadPoolExecutor(worker_count()) as pool:
        for header in pool.map(look, files):
            headers.append(header)
            advance(1)
    counts = Counter(header[:3] for header in headers if header is not None)
    if not counts:
        raise unreadable(files[0].path, "and none of the others either")
    (usual, _), *_ = counts.most_common(1)
    chosen = next(header for header in headers if header is not None and header[:3] == usual)
    return chosen, {file.path for file, header in zip(files, headers) if header is None or header[:3] != usual}


def _of_first_file(refs: tuple[tuple[Ref | None, ...], ...]) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration and the metadata that the first frame states."""
    path = next(ref.path for row in refs for ref in row if ref is not None)
    if not path.lower().endswith(TIFF_SUFFIXES):
        return Calibration(), {}
    import tifffile

    from stack3d.io._vendor import describe

    with tifffile.TiffFile(path) as tif:
        return describe(tif)
