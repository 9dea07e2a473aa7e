"""``xr.open_dataset(path, engine="stack3d")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from stack3d.io._lazy_frames import Frames, read_frames
from stack3d.io._source import Settings
from stack3d.io.open import existing, kind_of, read_source
from stack3d.io.stores import open_store
from stack3d.io.tiff import open_saved
from stack3d.units import Length


class FrameArray(BackendArray):
    """The frames of a stack behind xarray's lazy indexing; holds paths only, so that it pickles."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.shape = frames.shape
        self.dtype = frames.header.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Return what an outer index asks for, reading each frame that is part of it once."""
        frames, samples = self.frames, self.frames.header.samples
        *leading, planes, y, x = key
        rows = _positions(leading[0], self.shape[0]) if leading else None
        columns = _positions(planes, self.shape[-3])
        inner = tuple(
            part if isinstance(part, slice) else _positions(part, size) for part, size in zip((y, x), self.shape[-2:])
        )
        shape = [len(np.arange(size)[part]) for part, size in zip(inner, self.shape[-2:])]
        out = np.empty((1 if rows is None else len(rows), len(columns), *shape), self.dtype)
        chosen = [0] if samples or rows is None else rows
        for i, row in enumerate(chosen):
            for k, column in enumerate(columns):
                frame = read_frames(
                    ((frames.refs[row][column],),), header=frames.header, has_channel=True, fill_bad=frames.fill_bad
                )[:, 0]
                part = frame[:, inner[0]][:, :, inner[1]]
                if samples:
                    out[:, k] = part[rows]
                else:
                    out[i, k] = part[0]
        picked = [slice(None) if isinstance(part, (slice, np.ndarray)) else 0 for part in key]
        return out[tuple(picked)] if rows is not None else out[0][tuple(picked)]


def _positions(part: Any, size: int) -> list[int]:
    return [int(k) for k in np.atleast_1d(np.arange(size)[part])]


class Stack3DBackend(BackendEntrypoint):
    """Reads folders of frames, TIFF, NetCDF and Zarr with `stack3d.open_stack`.

    It is used when asked for by name; xarray does not choose it, because others read these files too.
    """

    description = "Stacks of images: folders of TIFF, PNG or JPEG frames, TIFF, NetCDF and Zarr"
    url = "https://github.com/stack3d/stack3d"
    open_dataset_parameters: ClassVar[tuple[Any, ...] | None] = (
        "filename_or_obj", "drop_variables", "pattern", "pixel_size", "z", "units", "channel", "variable",
        "on_bad_frame", "on_gap", "on_z",
    )  # fmt: skip

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        pattern: str | None = None,
        pixel_size: Length | Sequence[Length] | None = None,
        z: Any = None,
        units: str | None = None,
        channel: str | Sequence[str] | None = None,
        variable: str | int | None = None,
        on_bad_frame: str = "raise",
        on_gap: str = "warn",
        on_z: str = "raise",
    ) -> xr.Dataset:
        """Return the stack as a Dataset with one variable; see `stack3d.open_stack` for the parameters."""
        settings = Settings(pattern, pixel_size, z, units, channel, variable, on_bad_frame, on_gap, on_z)
        path = existing(filename_or_obj)
        kind = kind_of(path)
        saved = open_saved(path, settings, None) if kind == "tiff" else None
        if saved is not None:
            da = saved
        elif kind == "store":
            da = open_store(path, settings, None)
        else:
            source = read_source(path, kind, settings)
            da = source.to_dataarray(indexing.LazilyIndexedArray(FrameArray(source.frames)))
            da.encoding["preferred_chunks"] = dict(
                zip(da.dims, (max(lengths) for lengths in source.frames.lazy().chunks))
            )
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return da.to_dataset(name=da.name or "image").drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return False: neither a folder nor one of these suffixes is ours alone."""
        return False
