"""A folder with one image file a frame."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d.io import atlas
from stack3d.io._depths import noted_depths
from stack3d.io._frames import TIFF_SUFFIXES, FrameError, Header, Ref, is_complete, read_header, unreadable
from stack3d.io._lazy_frames import Frames, digest
from stack3d.io._listing import FrameFile, by_channel, some
from stack3d.io._names import NamePattern
from stack3d.io._order import Slice, slices_of
from stack3d.io._positions import Calibration, coordinates
from stack3d.io._source import Settings, Source, colour_names, pick_channels
from stack3d.units import canonical_unit


def open_folder(path: Path, settings: Settings, setup: atlas.Setup | None = None) -> Source:
    """Return the stack in a folder; only names, and the header of the first frame of each channel, are read."""
    unit = canonical_unit(settings.units or "nm")
    pattern = None if settings.pattern is None else NamePattern(settings.pattern)
    setup = setup or atlas.setup_in(path)
    asked = settings.channel
    if asked is None and pattern is None and setup is not None:
        asked = setup.folders() or None
    found = by_channel(path, pattern, asked)
    rows = {name: slices_of(files, path, pattern, settings, unit) for name, files in found.items()}
    return _assemble(path, rows, settings, setup)


def open_atlas(path: Path, settings: Settings) -> Source:
    """Return the stack beside a setup file of Atlas."""
    return open_folder(path.parent, settings, atlas.read_setup(path))


def open_frame(path: Path, settings: Settings) -> Source:
    """Return one image file as a stack of a single slice."""
    info = path.stat()
    file = FrameFile((path.name,), str(path), info.st_size, info.st_mtime_ns)
    return _assemble(path, {None: [Slice(0, None, None, file)]}, settings)


def _assemble(
    path: Path, rows: dict[str | None, list[Slice]], settings: Settings, setup: atlas.Setup | None = None
) -> Source:
    rows, gaps = _together(path, rows, settings)
    names = list(rows)
    header, bad = _check(rows, settings)
    if header.samples and names != [None]:
        raise ValueError(
            f"{path} has channels ({some([str(name) for name in names])}) and colours at once; open one channel, "
            "or convert the colours"
        )
    first = next(iter(rows.values()))
    files = [file for row in rows.values() for item in row if (file := item.file) is not None]
    refs = tuple(
        tuple(Ref(item.file.path) if item.file is not None and item.file.path not in bad else None for item in row)
        for row in rows.values()
    )
    frames = Frames(
        refs,
        header,
        bool(header.samples) or names != [None],
        digest(files, refs, header),
        settings.on_bad_frame == "flag",
    )
    stored, attrs = _of_first_file(refs)
    if setup is not None:
        stored, attrs = atlas.joined(setup, stored, attrs, names[0] if len(names) == 1 else None)
    named_z = np.array([item.z for item in first]) if first[0].z is not None else None
    if named_z is None:
        named_z = noted_depths(rows, settings, canonical_unit(settings.units or "nm"))
    numbers = np.array([item.number for item in first if item.number is not None], dtype=np.int64)
    numbered = bool(numbers.size)
    coords: dict[str, Any] = coordinates(
        frames.shape,
        pixel_size=settings.pixel_size,
        z=settings.z,
        units=settings.units,
        stored=stored,
        named_z=named_z,
        offsets=numbers - numbers.min() if numbered else None,
    )
    if numbered:
        coords["slice_number"] = xr.Variable(("z",), numbers, {"long_name": "number of the slice in the file name"})
    if "flag" in (settings.on_gap, settings.on_bad_frame):
        good = [all(row[k] is not None for row in refs) and k not in gaps for k in range(len(first))]
        coords["valid"] = xr.Variable(("z",), np.array(good), {"long_name": "slice was read"})
    known = (
        colour_names(header.samples) if header.samples else None if names == [None] else [str(name) for name in names]
    )
    return pick_channels(Source(frames, coords, {**attrs, "source": str(path)}, known), settings.channel)


def _together(
    path: Path, rows: dict[str | None, list[Slice]], settings: Settings
) -> tuple[dict[str | None, list[Slice]], set[int]]:
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
                f"the channels of {path} do not have the same slices: {text}. Choose on_gap='flag' to insert them "
                "as empty slices with "
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
                    f"slice {one.key} of {path} is at z={one.z:g} in channel {first_name!r} and at z={other.z:g} "
                    f"in {name!r}; slices of a stack "
                    "have one z for all channels: open them one by one with channel=, or give z="
                )
    return rows, {k for k in range(len(first)) if any(row[k].file is None for row in rows.values())}


def _check(rows: dict[str | None, list[Slice]], settings: Settings) -> tuple[Header, set[str]]:
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
                f"the channels are not alike: {by_row[0][0].path} is {headers[0].describe()}, {row[0].path} is "
                f"{header.describe()}; "
                "open them one by one with channel="
            )
    # What the listing already tells: a file too short for its pixels.
    for row, header in zip(by_row, headers):
        least = header.pixel_bytes if header.plain else 1
        for file in row:
            if file.size < least:
                raise unreadable(file.path, f"it has {file.size} bytes where {least} are needed")
    return headers[0], set()


def _scan(files: list[FrameFile]) -> tuple[Header, set[str]]:
    """Read the header of every frame; the most common one is that of the stack."""
    from concurrent.futures import ThreadPoolExecutor

    from stack3d.options import worker_count
    from stack3d.progress import track

    def look(file: FrameFile) -> Header | None:
        try:
            header = read_header(file.path) if file.size else None
            return header if header is not None and is_complete(file.path, header) else None
        except (FrameError, OSError):
            return None

    headers = []
    with track(len(files), "check frames") as advance, ThreadPoolExecutor(worker_count()) as pool:
        for header in pool.map(look, files):
            headers.append(header)
            advance(1)
    counts = Counter(header[:3] for header in headers if header is not None)
    if not counts:
        raise FrameError(f"none of the {len(files)} frames can be read, such as {files[0].path}")
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
