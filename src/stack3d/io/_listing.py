"""Which files of a folder are the frames of which channel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stack3d.io._frames import SUFFIXES
from stack3d.io._names import FrameName, NamePattern, natural_key


class FrameFile(NamedTuple):
    """A file, with the folders above it that were searched, and what the listing says of it."""

    parts: tuple[str, ...]
    path: str
    size: int
    changed: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.parts[-1]


def _list(folder: Path, depth: int) -> tuple[list[FrameFile], list[str]]:
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
                files.append(FrameFile((entry.name,), entry.path, info.st_size, info.st_mtime_ns))
    return files, names


def by_channel(
    folder: Path, pattern: NamePattern | None, channel: str | Sequence[str] | None
) -> dict[str | None, list[tuple[FrameFile, FrameName | None]]]:
    """Return the files of each channel and what a pattern read in their names."""
    if pattern is None:
        files, names = _list(folder, 0)
        images = [file for file in files if file.name.lower().endswith(SUFFIXES)]
        if images:
            return {None: [(file, None) for file in images]}
        below = [file for file in _list(folder, 1)[0] if file.name.lower().endswith(SUFFIXES)]
        channels: dict[str | None, list[tuple[FrameFile, FrameName | None]]] = {}
        for file in sorted(below, key=lambda file: natural_key(file.parts[0])):
            channels.setdefault(file.parts[0], []).append((file, None))
        if not channels:
            what = f"; it holds {some(names)}" if names else "; it is empty"
            raise FileNotFoundError(
                f"the folder {folder} has no frames{what}. Frames are files ending in {', '.join(SUFFIXES)}, "
                "there or one folder "
                "down (a folder a channel)"
            )
        return _selected(channels, channel, folder)
    files, names = _list(folder, len(pattern.parts) - 1)
    matched = [(file, name) for file in files if (name := pattern.read(file.parts)) is not None]
    if not matched:
        seen = ["/".join(file.parts) for file in files] or names
        raise FileNotFoundError(
            f"no file in {folder} matches pattern={pattern.text!r}; "
            + (f"the names are {some(seen)}" if seen else "it is empty")
        )
    for file, _ in matched:
        if not file.name.lower().endswith(SUFFIXES):
            raise ValueError(
                f"pattern={pattern.text!r} matches {file.name!r}, which is no image that can be read; frames end "
                f"in {', '.join(SUFFIXES)}"
            )
    if "channel" not in pattern.fields:
        return {None: list(matched)}
    channels = {}
    for file, name in sorted(matched, key=lambda pair: natural_key("/".join(pair[0].parts))):
        channels.setdefault(name.channel, []).append((file, name))
    return _selected(channels, channel, folder)


def _selected(
    channels: dict[str | None, Any], channel: str | Sequence[str] | None, folder: Path
) -> dict[str | None, Any]:
    if channel is None:
        return channels
    asked = [channel] if isinstance(channel, str) else list(channel)
    missing = [name for name in asked if name not in channels]
    if missing:
        raise ValueError(
            f"channel={channel!r} is not in {folder}; its channels are {some([str(name) for name in channels])}"
        )
    return {name: channels[name] for name in asked}


def some(names: Sequence[str], count: int = 5) -> str:
    """Return some of the names, for an error."""
    names = sorted(names, key=natural_key)
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(repr(name) for name in names[:count]) + rest
