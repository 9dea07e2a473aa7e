"""Frames in image files: the header of one, the pixels of one, and a lazy array of many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stack3d.io import _plain_tiff

if TYPE_CHECKING:
    pass

TIFF_SUFFIXES = (".tif", ".tiff")
PNG_SUFFIXES = (".png",)
JPEG_SUFFIXES = (".jpg", ".jpeg")
SUFFIXES = TIFF_SUFFIXES + PNG_SUFFIXES + JPEG_SUFFIXES


class Ref(NamedTuple):
    """Where the pixels of a frame are."""

    path: str
    #: Where the page begins in a file of many; None for the first.
    offset: int | None = None
    #: dtype of pixels that lie plain at `offset`; None where they must be decoded.
    raw: str | None = None


class Header(NamedTuple):
    """What a frame is, before its pixels are read."""

    shape: tuple[int, int]
    #: Number of colours, 0 for grey.
    samples: int
    dtype: np.dtype[Any]
    #: A file with fewer bytes than this is cut.
    least_bytes: int
    #: Whether the pixels lie uncompressed in the file.
    plain: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the pixels in memory."""
        return self.shape[0] * self.shape[1] * max(1, self.samples) * self.dtype.itemsize

    def describe(self) -> str:
        """Return it in words."""
        colours = f" x {self.samples} colours" if self.samples else ""
        return f"{self.shape[0]} x {self.shape[1]}{colours} {self.dtype}"


class FrameError(ValueError):
    """A frame cannot be read, or is not like the others."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what + hint)
        #: What is wrong, without what could be done.
        self.what = what


class BadFrameWarning(UserWarning):
    """A frame that was found bad only when its pixels were read was filled; the coordinate ``valid`` calls it good."""


def unreadable(path: str, why: Any) -> FrameError:
    """Return the error for a frame that cannot be read."""
    return FrameError(
        f"frame {path} cannot be read: {why}",
        ". Mend the file, or open the stack with on_bad_frame='flag' (the frame becomes an empty slice, with "
        "valid=False where its header or its length tells)",
    )


def gone(path: str) -> FrameError:
    """Return the error for a frame whose file was there when the stack was opened."""
    return FrameError(
        f"frame {path} cannot be read: the file is no longer there",
        ". Put it back, or open the stack again",
    )


def unlike(path: str, found: Header, expected: Header) -> FrameError:
    """Return the error for a frame of another size or dtype than the rest."""
    what = "size" if (found.shape, found.samples) != (expected.shape, expected.samples) else "dtype"
    return FrameError(
        f"frame {path} has another {what} than the rest: {found.describe()}, expected {expected.describe()}",
        ". Leave it out with pattern=, convert it, or open the stack with on_bad_frame='flag' (it becomes an empty "
        "slice with valid=False)",
    )


# ---------------------------------------------------------------------------------------------------------------------
# One frame


def read_header(path: str) -> Header:
    """Return what the frame in a file is; only a PNG or JPEG of a rare kind is decoded for it.

    Raises
    ------
    FrameError
        When it cannot be read.
    FileNotFoundError
        When it is not there.
    """
    try:
        if path.lower().endswith(TIFF_SUFFIXES):
            return _tiff_header(path)
        with open(path, "rb") as file:
            start = file.read(64 * 1024)
            header = _png_header(start) if path.lower().endswith(PNG_SUFFIXES) else _jpeg_header(start)
            if header is not None:
                return header
            return header_of(_decode(start + file.read(), path))
    except (FileNotFoundError, FrameError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def is_complete(path: str, header: Header) -> bool:
    """Return whether a file has its end: the check of `on_bad_frame="flag"` that costs no decoding."""
    size = os.path.getsize(path)
    if size < header.least_bytes:
        return False
    if path.lower().endswith(TIFF_SUFFIXES):
        return True
    with open(path, "rb") as file:
        file.seek(max(0, size - 64 * 1024))
        end = file.read()
    return (b"IEND" if path.lower().endswith(PNG_SUFFIXES) else b"\xff\xd9") in end


def read_frame(ref: Ref) -> np.ndarray:
    """Return the pixels of a frame that must be decoded, (y, x) or (y, x, colour), in native byte order."""
    try:
        if ref.path.lower().endswith(TIFF_SUFFIXES):
            return _read_tiff(ref)
        with open(ref.path, "rb") as file:
            return _decode(file.read(), ref.path)
    except (FrameError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise gone(ref.path) from error
    except Exception as error:
        raise unreadable(ref.path, error) from error


def read_to(ref: Ref, target: np.ndarray) -> bool:
    """Read the pixels of a frame to where they belong, where that is quick; return whether they are there."""
    return ref.offset is None and ref.path.lower().endswith(TIFF_SUFFIXES) and _plain_tiff.read_into(ref.path, target)


def header_of(frame: np.ndarray) -> Header:
    """Return the header that fits pixels."""
    samples = frame.shape[2] if frame.ndim == 3 else 0
    return Header((frame.shape[0], frame.shape[1]), samples, frame.dtype, 1)


def page_header(page: Any) -> Header:
    """Return what a page of a TIFF is."""
    axes, shape = page.axes, dict(zip(page.axes, page.shape, strict=True))
    if page.dtype is None or page.dtype.kind not in "buif":
        raise FrameError(
            f"a page of {page.parent.filehandle.path} has pixels of dtype {page.dtype}; allowed are bool, "
            "integers and real floats"
        )
    if sorted(axes) not in (["X", "Y"], ["S", "X", "Y"]):
        raise FrameError(
            f"a page of {page.parent.filehandle.path} has axes {axes!r} with shape {page.shape}; allowed are y, x "
            "and colours"
        )
    end = max((offset + count for offset, count in zip(page.dataoffsets, page.databytecounts)), default=0)
    return Header(
        (shape["Y"], shape["X"]),
        shape.get("S", 0),
        page.dtype.newbyteorder("="),
        end,
        page.compression == 1 and page.dtype.kind != "b",
    )


def _tiff_header(path: str) -> Header:
    import tifffile

    with tifffile.TiffFile(path) as tif:
        header = page_header(tif.pages.first)
        pages = [page for page in tif.pages if not page.keyframe.is_reduced]  # type: ignore[union-attr]
        if len(pages) > 1:
            raise FrameError(
                f"frame {path} holds {len(pages)} pages; open the file itself, or leave it out with pattern= "
                "(a folder holds one frame a file)"
            )
        return header


def _read_tiff(ref: Ref) -> np.ndarray:
    if ref.offset is None:
        plain = _plain_tiff.read(ref.path)
        if plain is not None:
            return plain
    import tifffile

    with tifffile.TiffFile(ref.path) as tif:
        if ref.offset is None:
            page = tif.pages.first
        else:
            tif.filehandle.seek(ref.offset)
            page = tifffile.TiffPage(tif, 0)
        header = page_header(page)
        if tif.filehandle.size < header.least_bytes:
            raise ValueError(f"it is cut short: {tif.filehandle.size} bytes where {header.least_bytes} are needed")
        frame = page.asarray(maxworkers=1)
        if page.axes == "SYX":
            frame = np.moveaxis(frame, 0, -1)
    return np.ascontiguousarray(frame, dtype=header.dtype)


def _decode(data: bytes, path: str) -> np.ndarray:
    import imagecodecs

    if path.lower().endswith(PNG_SUFFIXES):
        return np.asarray(imagecodecs.png_decode(data))
    # The decoder fills what is missing with grey and says nothing.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError("it is cut short: no end of image")
    return np.asarray(imagecodecs.jpeg_decode(data))


def _png_header(start: bytes) -> Header | None:
    if start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
        raise ValueError("it is not a PNG")
    width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    depth, colour = start[24], start[25]
    if colour not in (0, 2, 6) or depth not in (8, 16) or b"tRNS" in start:
        return None  # palettes, bits and transparent colours: what they become is the decoder's to say
    samples = {0: 0, 2: 3, 6: 4}[colour]
    return Header((height, width), samples, np.dtype(np.uint8 if depth == 8 else np.uint16), 45)


def _jpeg_header(start: bytes) -> Header | None:
    if start[:2] != b"\xff\xd8":
        raise ValueError("it is not a JPEG")
    at = 2
    while at + 10 < len(start) and start[at] == 0xFF:
        marker = start[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, samples = start[at + 4], start[at + 9]
            if precision != 8 or samples not in (1, 3):
                return None
            height, width = int.from_bytes(start[at + 5 : at + 7], "big"), int.from_bytes(start[at + 7 : at + 9], "big")
            return Header((height, width), 0 if samples == 1 else 3, np.dtype(np.uint8), 125)
        at += 2 + int.from_bytes(start[at + 2 : at + 4], "big")
    return None
