"""Pictures as data URIs: grey frames, maps in colour, frames fitted to a window.

Grey frames are JPEG, which takes a twentieth of the time of WebP; WebP where pixels are missing, since JPEG has none that
are clear, and where nothing may be lost. Maps are PNG with a palette.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

SMALL = 160  # pixels; frames up to here are drawn as squares

# Points of magma and viridis at even steps, so that a map needs no plotting library.
_MAPS = {
    "viridis": ("440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"),
    "magma": ("000004", "180f3d", "440f76", "721f81", "9e2f7f", "cd4071", "f1605d", "fd9668", "feca8d", "fcfdbf"),
    "diverging": ("2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582", "d6604d", "b2182b"),
}


class Packing(NamedTuple):
    """How small pictures are made: the quality of JPEG or WebP, and their longest side."""

    quality: int
    longest: int


# From what is looked at with pleasure to what is still seen when nothing in the pictures is alike.
PACKINGS = (
    *(Packing(quality, 640) for quality in (94, 86, 76, 64)),
    Packing(55, 480),
    Packing(45, 320),
    Packing(30, 200),
    Packing(20, 120),
)


def packing_for(samples: Sequence[tuple[np.ndarray, tuple[float, float]]], count: int, room: float) -> Packing:
    """Return the best packing with which `count` pictures like these, on their scales, take less than `room` characters."""
    for packing in PACKINGS:
        sizes = [len(packed(image, limits, packing)) for image, limits in samples]
        if count * float(np.mean(sizes)) <= room:
            return packing
    return PACKINGS[-1]


def packed(image: np.ndarray, limits: tuple[float, float], packing: Packing) -> str:
    """Return a frame as a data URI; small ones are kept without loss."""
    longest = max(image.shape)
    if longest > packing.longest:
        height, width = (max(1, round(n * packing.longest / longest)) for n in image.shape)
        image = shrunk(image, (height, width))
    return grey_uri(image, limits, None if longest <= SMALL else packing.quality)


def finite_limits(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return limits that hold something, whatever the values."""
    return limits_of(images) or (0.0, 1.0)


def limits_of(images: Sequence[np.ndarray], tail: float = 0.005) -> tuple[float, float] | None:
    """Return the grey levels shown as black and white, None where nothing is measured."""
    # An odd step, so that it does not follow the columns.
    step = sum(image.size for image in images) // 600_000 | 1
    values = [part[np.isfinite(part)] for part in (image.ravel()[::step] for image in images)]
    values = [part for part in values if part.size]
    if not values:
        return None
    low, high = (float(v) for v in np.quantile(np.concatenate(values).astype(np.float64), (tail, 1 - tail)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def grey_uri(image: np.ndarray, limits: tuple[float, float], quality: int | None) -> str:
    """Return a frame as a data URI, missing pixels clear; `quality` None is without loss."""
    known = np.isfinite(image)
    whole = bool(known.all())
    low, high = limits
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (image if whole else np.where(known, image, low)).astype(np.float64)
        scaled -= low
        scaled *= 255.0 / (high - low)
    grey = np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)
    if whole and quality is not None:
        return jpeg(grey, quality)
    planes = [grey, grey, grey] + ([] if whole else [known.astype(np.uint8) * 255])
    return webp(np.stack(planes, axis=-1), quality)


def map_uri(values: np.ndarray, limits: tuple[float, float], name: str = "viridis") -> str:
    """Return a map of values as a data URI without loss, in 255 colours; what is not finite is clear."""
    known = np.isfinite(values)
    low, high = limits
    span = high - low if high > low else 1.0
    place = np.clip((np.where(known, values, low) - low) * (254 / span), 0, 254)
    index = np.where(known, np.rint(place), 255).astype(np.uint8)
    height, width = index.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each begins with its filter, none
    rows[:, 1:] = index
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", _palette(name).tobytes()),
        (b"tRNS", b"\xff" * 255 + b"\0"),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return _uri("png", b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _palette(name: str) -> np.ndarray:
    """Return a map as 256 colours of uint8, the last of which stands for nothing."""
    table = np.array([[int(code[k : k + 2], 16) for k in (0, 2, 4)] for code in _MAPS[name]], np.float64)
    place = np.minimum(np.linspace(0, len(table) - 1, 255), len(table) - 1 - 1e-9)
    below = place.astype(int)
    share = (place - below)[:, None]
    mixed = np.rint(table[below] * (1 - share) + table[below + 1] * share)
    return np.asarray(np.append(mixed, [[0, 0, 0]], axis=0), np.uint8)


def scale_colours(name: str) -> list[str]:
    """Return the colours of a map from low to high, for its scale."""
    return [f"#{code}" for code in _MAPS[name]]


def jpeg(grey: np.ndarray, quality: int) -> str:
    """Return grey values (y, x) of uint8 as a data URI."""
    import imagecodecs

    # Tables of its own would take as long again, for less than a tenth of the size.
    return _uri("jpeg", imagecodecs.jpeg8_encode(np.ascontiguousarray(grey), level=quality))


def webp(pixels: np.ndarray, quality: int | None) -> str:
    """Return pixels (y, x, 3 or 4) of uint8 as a data URI; `quality` None is without loss."""
    import imagecodecs

    # The quickest method: the others take up to ten times as long for a tenth of the size.
    options: dict[str, Any] = {"lossless": True} if quality is None else {"level": quality, "lossless": False}
    return _uri("webp", imagecodecs.webp_encode(np.ascontiguousarray(pixels), method=0, **options))


def _uri(kind: str, packed: bytes | bytearray) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(packed).decode("ascii")


def shrunk(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a frame in fewer pixels, each the mean of what it covers; missing pixels are left out of the mean."""
    with np.errstate(over="ignore"):
        values = np.asarray(image, np.float32)
    if values.shape == shape:
        return values
    import cv2

    height, width = shape
    known = np.isfinite(values)
    if known.all():
        return _resized(cv2, values, width, height)
    weight = _resized(cv2, known.astype(np.float32), width, height)
    total = _resized(cv2, np.where(known, values, np.float32(0)), width, height)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight >= 0.5, total / weight, np.float32(np.nan)).astype(np.float32)


def _resized(cv2: Any, values: np.ndarray, width: int, height: int) -> np.ndarray:
    smaller = height < values.shape[0] or width < values.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    done: np.ndarray = cv2.resize(values, (width, height), interpolation=way)
    return done
