"""One TIFF file with many pages: plain, ImageJ, OME, or written by this library."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stack3d._warn import warn
from stack3d.io._frames import FrameError, Header, Ref, page_header, unreadable
from stack3d.io._lazy_frames import Frames, digest
from stack3d.io._positions import Calibration, calibration, coordinates
from stack3d.io._source import Settings, Source, adjusted, colour_names, pick_channels
from stack3d.io._vendor import describe

_SLICES = "ZQI"


def open_tiff(path: Path, settings: Settings) -> Source:
    """Return the stack in a TIFF; headers of its pages are read, no pixels."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            if not len(tif.pages):
                raise ValueError("it has no pages")
            return _open(tif, path, settings)
    except tifffile.TiffFileError as error:
        raise ValueError(f"{path} cannot be read as a TIFF: {error}") from error


def open_saved(path: Path, settings: Settings, frames_per_block: int | None) -> xr.DataArray | None:
    """Return the stack in a TIFF that `save` wrote, just as it was; None for another TIFF."""
    import tifffile

    from stack3d.io._json_stack import decode
    from stack3d.io.write_tiff import _AXES, JSON_TAG

    try:
        with tifffile.TiffFile(path) as tif:
            text = tif.pages.first.tags.valueof(JSON_TAG) if len(tif.pages) else None
            text = text.decode("ascii") if isinstance(text, bytes) else text
            if not isinstance(text, str) or not tif.is_ome:
                return None
            stack = json.loads(text)
            if not isinstance(stack, dict) or stack.get("stack3d") != 1:
                return None
            series = tif.series[0]
            lengths = _ome_lengths(tif.ome_metadata or "")
            place, order = series.dataoffset, tif.byteorder
            dtype = series.dtype
    except tifffile.TiffFileError:
        return None
    settings.refuse("a TIFF that stack3d saved", "pattern", "on_gap", "on_z", "variable", "on_bad_frame")
    shape = tuple(lengths.get(_AXES[dim], 1) for dim in stack["dims"])
    ny, nx = shape[-2:]
    planes = shape[-3] if len(shape) > 2 else 1
    step, count = ny * nx * dtype.itemsize, int(np.prod(shape[:-2]))
    size = os.path.getsize(path)
    if place is None or place + step * count > size:
        raise unreadable(str(path), f"its pixels are not complete ({size} bytes)")
    raw = dtype.newbyteorder(order).str
    refs = [Ref(str(path), place + k * step, raw) for k in range(count)]
    rows = tuple(tuple(refs[k : k + planes]) for k in range(0, count, planes))
    header = Header((ny, nx), 0, dtype.newbyteorder("="), size)
    frames = Frames(rows, header, True, digest(str(path), os.stat(path).st_mtime_ns, header, refs))
    data: Any = frames.lazy(frames_per_block)
    return adjusted(decode(text, data if data.shape == shape else data.reshape(shape)), settings, path)


def _open(tif: Any, path: Path, settings: Settings) -> Source:
    index, series = _pick_series(tif, path, settings)
    if series is None:
        pages, header = _loose_pages(tif, path, settings)
        refs: tuple[tuple[Ref | None, ...], ...] = (tuple(_page_refs(pages, path, settings)),)
    else:
        refs, header = _series_refs(tif, series, path, settings)
    info = os.stat(path)
    many = len(refs) > 1
    frames = Frames(
        refs,
        header,
        bool(header.samples) or many,
        digest(str(path), info.st_size, info.st_mtime_ns, refs, header),
        settings.on_bad_frame == "flag",
    )
    stored, attrs, names = _described(tif, index)
    attrs["source"] = str(path)
    coords: dict[str, Any] = coordinates(
        frames.shape, pixel_size=settings.pixel_size, z=settings.z, units=settings.units, stored=stored
    )
    if settings.on_bad_frame == "flag":
        good = [all(row[k] is not None for row in refs) for k in range(len(refs[0]))]
        coords["valid"] = xr.Variable(("z",), np.array(good), {"long_name": "slice was read"})
    if header.samples:
        if many:
            raise ValueError(
                f"{path} has {len(refs)} channels and {header.samples} colours at once; convert the colours first"
            )
        return pick_channels(Source(frames, coords, attrs, colour_names(header.samples)), settings.channel)
    return _named(Source(frames, coords, attrs, None), names, settings)


def _named(source: Source, names: list[str], settings: Settings) -> Source:
    """Return the source with the names that the file or the user gives its channels."""
    from dataclasses import replace

    count = len(source.frames.refs)
    known = len(names) == count and len(set(names)) == count and all(names)
    if known:
        frames = replace(source.frames, has_channel=True)
        return pick_channels(replace(source, frames=frames, channels=names), settings.channel)
    if count == 1:
        return pick_channels(source, settings.channel)
    numbers = [str(k) for k in range(count)]
    asked = settings.channel
    if asked is not None and not isinstance(asked, str) and not set(asked) <= set(numbers):
        if len(asked) != count or len(set(asked)) != count:
            raise ValueError(
                f"channel={asked!r} must give {count} different names, one for each channel, or some of {numbers}"
            )
        return replace(source, channels=[str(name) for name in asked])
    return pick_channels(replace(source, channels=numbers), asked)


# ---------------------------------------------------------------------------------------------------------------------
# Which pages


def _pick_series(tif: Any, path: Path, settings: Settings) -> tuple[int, Any]:
    """Return the series to open and its index; None for pages that are a stack without saying so."""
    found = list(tif.series)
    variable = settings.variable
    if variable is None:
        if len(found) == 1:
            return 0, found[0]
        if not (tif.is_ome or tif.is_imagej):
            return 0, None
    else:
        chosen = [k for k, series in enumerate(found) if variable in (k, series.name)]
        if len(chosen) == 1:
            return chosen[0], found[chosen[0]]
    listed = ", ".join(
        f"{k} ({series.name!r}, {'x'.join(map(str, series.shape))} {series.dtype})"
        for k, series in enumerate(found[:8])
    )
    if variable is None:
        raise ValueError(f"{path} holds {len(found)} images; choose one with variable=: {listed}")
    raise ValueError(f"variable={variable!r} is not one image of {path}; it holds {listed}")


def _loose_pages(tif: Any, path: Path, settings: Settings) -> tuple[list[Any], Header]:
    """Return all pages but thumbnails, and the header that they (or most of them) have."""
    tif.pages.useframes = False
    pages = [page for page in tif.pages if not page.keyframe.is_reduced]
    headers = [page_header(page) for page in pages]
    kinds = Counter(header[:3] for header in headers)
    (usual, _), *others = kinds.most_common()
    if others and settings.on_bad_frame == "raise":
        k = next(k for k, header in enumerate(headers) if header[:3] != headers[0][:3])
        raise FrameError(
            f"the pages of {path} are not alike: page 0 is {headers[0].describe()}, page {k} is "
            f"{headers[k].describe()}. Choose one of its images "
            "with variable=, or on_bad_frame='flag' (pages unlike most become empty slices with valid=False)"
        )
    expected = next(header for header in headers if header[:3] == usual)
    return [page if header[:3] == usual else None for page, header in zip(pages, headers)], expected


def _page_refs(pages: list[Any], path: Path, settings: Settings) -> list[Ref | None]:
    """Return where each page is; None for one that is missing, or not complete where that is to be flagged."""
    sizes: dict[str, int] = {}
    refs: list[Ref | None] = []
    for k, page in enumerate(pages):
        why = "" if page is not None else "is missing"
        if page is not None:
            own = str(page.parent.filehandle.path)
            size = sizes.setdefault(own, os.path.getsize(own))
            end = max((offset + count for offset, count in zip(page.dataoffsets, page.databytecounts)), default=0)
            why = "" if end <= size else f"is cut short ({size} bytes where {end} are needed)"
        if not why:
            refs.append(Ref(own, page.offset))
        elif settings.on_bad_frame == "flag":
            refs.append(None)
        else:
            raise unreadable(str(path), f"its page {k} {why}")
    return refs


def _series_refs(
    tif: Any, series: Any, path: Path, settings: Settings
) -> tuple[tuple[tuple[Ref | None, ...], ...], Header]:
    """Return where the frames of a series are, one row a channel."""
    header = page_header(series.keyframe)
    leading, shape = _leading(series, header, path)
    count = int(np.prod(shape))
    keyframe = series.keyframe
    if series.dataoffset is not None and keyframe.is_final and keyframe.axes != "SYX":
        # Plain pixels, one frame after the other: no page needs to be looked up.
        raw = header.dtype.newbyteorder(tif.byteorder).str
        step = header.shape[0] * header.shape[1] * max(1, header.samples) * header.dtype.itemsize
        size = os.path.getsize(path)
        refs: list[Ref | None] = []
        for k in range(count):
            place = series.dataoffset + k * step
            whole = place + step <= size
            if not whole and settings.on_bad_frame == "raise":
                raise unreadable(
                    str(path), f"its frame {k} is cut short ({size} bytes where {place + step} are needed)"
                )
            refs.append(Ref(str(path), place, raw) if whole else None)
    else:
        pages = [series[k] for k in range(len(series))]
        if len(pages) != count:
            raise ValueError(
                f"{path} has {len(pages)} pages where its axes {series.axes!r} with shape {series.shape} need {count}"
            )
        refs = _page_refs(pages, path, settings)
    grid = np.arange(count).reshape(shape)
    if leading == "ZC":
        grid = grid.T
    if leading in ("", "Z"):
        grid = grid.reshape(1, -1)
    elif leading == "C":
        grid = grid.reshape(-1, 1)
    return tuple(tuple(refs[k] for k in row) for row in grid.tolist()), header


def _leading(series: Any, header: Header, path: Path) -> tuple[str, tuple[int, ...]]:
    """Return the axes before those of a frame that are longer than 1, as letters of C and Z, and their lengths."""
    inner = len(series.keyframe.axes)
    sizes = dict(zip(series.axes, series.shape, strict=True))
    if sizes.get("Y") != header.shape[0] or sizes.get("X") != header.shape[1]:
        raise ValueError(
            f"{path} has axes {series.axes!r} with shape {series.shape}, which cannot be read frame by frame"
        )
    axes = [(axis, size) for axis, size in zip(series.axes, series.shape) if axis not in "YXS" and size > 1]
    letters = "".join("Z" if axis in _SLICES else axis for axis, _ in axes)
    if letters.replace("C", "") == "T":
        warn(f"{path} has {dict(axes)['T']} points of time and no z; they are taken as the slices")
        letters = letters.replace("T", "Z")
    if letters not in ("", "Z", "C", "ZC", "CZ") or inner > 3:
        raise ValueError(
            f"{path} has axes {series.axes!r} with shape {series.shape}; a stack has one axis of slices and one "
            "of channels. Split the file, "
            "or read it with tifffile and use stack3d.from_array"
        )
    return letters, tuple(size for _, size in axes) or (1,)


# ---------------------------------------------------------------------------------------------------------------------
# What the file says of itself


def _described(tif: Any, index: int) -> tuple[Calibration, dict[str, Any], list[str]]:
    """Return the voxel size, metadata and names of channels."""
    stored, attrs = describe(tif)
    if tif.is_ome and tif.ome_metadata:
        sizes, names = _ome(tif.ome_metadata, index)
        return (sizes if sizes.sizes else stored), attrs, names
    if tif.is_imagej and tif.imagej_metadata:
        sizes = _imagej(tif)
        return (sizes if sizes.sizes else stored), attrs, []
    return stored, attrs, []


def _ome(text: str, index: int) -> tuple[Calibration, list[str]]:
    from xml.etree import ElementTree

    root = ElementTree.fromstring(text)
    images = root.findall("{*}Image")
    if index >= len(images):
        return Calibration(), []
    pixels = images[index].find("{*}Pixels")
    if pixels is None:
        return Calibration(), []
    sizes = {
        dim: (pixels.get(f"PhysicalSize{dim.upper()}"), pixels.get(f"PhysicalSize{dim.upper()}Unit", "µm"))
        for dim in ("z", "y", "x")
    }
    return calibration(**sizes), [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]


def _ome_lengths(text: str) -> dict[str, int]:
    """Return the length of each axis, those of length 1 too."""
    from xml.etree import ElementTree

    pixels = ElementTree.fromstring(text).find("{*}Image/{*}Pixels")
    return {} if pixels is None else {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "TCZYX"}


def _imagej(tif: Any) -> Calibration:
    meta = tif.imagej_metadata
    unit = str(meta.get("unit", "")).replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    tags = tif.pages.first.tags
    sizes: dict[str, tuple[Any, Any]] = {"z": (meta.get("spacing"), unit)}
    for dim, tag in (("y", "YResolution"), ("x", "XResolution")):
        pixels, length = tags.valueof(tag, default=(0, 1))
        sizes[dim] = (length / pixels if pixels else None, unit)
    return calibration(**sizes)
