"""A lazy array of many frames in image files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stack3d import _blocks
from stack3d._warn import warn
from stack3d.io._frames import (
    BadFrameWarning,
    FrameError,
    Header,
    Ref,
    gone,
    header_of,
    read_frame,
    read_to,
    unlike,
    unreadable,
)

if TYPE_CHECKING:
    import dask.array


@dataclass(frozen=True)
class Frames:
    """All frames of a stack: paths and places only, so that it pickles and holds no open file.

    Attributes
    ----------
    refs : tuple of tuple of Ref
        One row a channel, one column a slice; None for a frame that is not there, which is filled.
    header : Header
        What each frame must be.
    has_channel : bool
        Whether the rows (or the colours) are a dim.
    token : str
        Changes when the files change.
    """

    refs: tuple[tuple[Ref | None, ...], ...]
    header: Header
    has_channel: bool
    token: str
    #: Whether a frame that cannot be read is filled, with a warning.
    fill_bad: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along (channel, z, y, x) or (z, y, x)."""
        leading = (self.header.samples or len(self.refs),) if self.has_channel else ()
        return (*leading, len(self.refs[0]), *self.header.shape)

    def lazy(self, frames_per_block: int | None = None) -> dask.array.Array:
        """Return the stack as a dask array; a task reads the frames of its block, each once."""
        count, (ny, nx), samples = len(self.refs[0]), self.header.shape, self.header.samples
        per_block = frames_per_block or _blocks.frames_per_block(self.header.pixel_bytes)
        lengths = _blocks.split(count, per_block)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        # The colours of a frame come from one file, so they share a block.
        leading = ((samples,) if samples else (1,) * len(self.refs),) if self.has_channel else ()

        def refs_of(index: tuple[int, ...]) -> tuple[tuple[Ref | None, ...], ...]:
            rows = self.refs if samples or not self.has_channel else self.refs[index[0] : index[0] + 1]
            return tuple(row[starts[index[-3]] : starts[index[-3] + 1]] for row in rows)

        return _blocks.array_from_blocks(
            read_frames,
            name=f"read-frames-{self.token}-{per_block}" + ("-filled" if self.fill_bad else ""),
            chunks=(*leading, lengths, (ny,), (nx,)),
            dtype=self.header.dtype,
            per_block=refs_of,
            arguments={"header": self.header, "has_channel": self.has_channel, "fill_bad": self.fill_bad},
            one=_refs_of_one,
        )


def _refs_of_one(refs: tuple[tuple[Ref | None, ...], ...], k: int) -> tuple[tuple[Ref | None, ...], ...]:
    return tuple(row[k : k + 1] for row in refs)


def digest(*parts: Any) -> str:
    """Return a short name for plain values: ten times faster than dask's own for thousands of paths."""
    import hashlib

    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def fill_value(dtype: np.dtype[Any]) -> Any:
    """Return what stands for pixels that were not measured."""
    return np.nan if dtype.kind == "f" else dtype.type(0)


def read_frames(
    refs: tuple[tuple[Ref | None, ...], ...], *, header: Header, has_channel: bool, fill_bad: bool = False
) -> np.ndarray:
    """Return frames as (channel, z, y, x), or (z, y, x) without channels.

    Parameters
    ----------
    refs : tuple of tuple of Ref
        One row a channel, one column a slice.
    header : Header
        What each frame must be.
    has_channel : bool
        Whether the rows, or the colours, are a dim of the result.
    fill_bad : bool
        Whether a frame that cannot be read, or is not like the others, is filled.

    Raises
    ------
    FrameError
        When a frame cannot be read or is not like the others, unless it is filled.

    Warns
    -----
    BadFrameWarning
        For each frame that is filled so.
    """
    samples = header.samples
    out = np.empty((samples or len(refs), len(refs[0]), *header.shape), header.dtype)
    for row, columns in enumerate(refs):
        for column, ref in enumerate(columns):
            target = out[:, column] if samples else out[row, column]
            if ref is None:
                target[...] = fill_value(header.dtype)
                continue
            try:
                _read_into(ref, target, header)
            except FrameError as error:
                if not fill_bad:
                    raise
                target[...] = fill_value(header.dtype)
                warn(
                    f"{error.what}. It is filled with {fill_value(header.dtype)}; the coordinate 'valid' was made "
                    "when the stack was opened and does not tell",
                    BadFrameWarning,
                )
    return out if has_channel else out[0]


def _read_into(ref: Ref, target: np.ndarray, header: Header) -> None:
    if ref.raw is not None:
        _read_raw(ref, target, header.samples)
        return
    if read_to(ref, target):
        return
    frame = read_frame(ref)
    found = header_of(frame)
    if found[:3] != header[:3]:
        raise unlike(ref.path, found, header)
    target[...] = np.moveaxis(frame, -1, 0) if header.samples else frame


def _read_raw(ref: Ref, target: np.ndarray, samples: int) -> None:
    try:
        values = np.fromfile(ref.path, np.dtype(ref.raw), target.size, offset=ref.offset or 0)
    except FileNotFoundError as error:
        raise gone(ref.path) from error
    if values.size < target.size:
        raise unreadable(ref.path, f"it is cut short: the frame at byte {ref.offset} needs {target.nbytes} bytes")
    target[...] = (
        np.moveaxis(values.reshape(*target.shape[1:], samples), -1, 0) if samples else values.reshape(target.shape)
    )
