"""Local contrast, by differences from the middle of the surroundings or by tiles, and a global curve of grey values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels import _box_means, _fill
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, store, working_dtype
from stack3d.kernels.finite import measurable

REDISTRIBUTE = ("leftmost", "left", "full", "none")
REFERENCE = ("image", "maximum", "minimum", "middle")
BINS = 256  # of the histogram of a tile
DEVIATIONS = np.linspace(-6.0, 6.0, 4801)  # of the curve: its chords leave it by less than 5e-7 of the range


def normal_curve(u: Any, clip: tuple[float, float] | None, redistribute: str) -> np.ndarray[Any, Any]:
    """Return the fraction of the range that grey values `u` standard deviations above the mean become.

    The distribution function of the normal law; between the two ends of `clip` its density is replaced by the chord,
    and what is cut off is given to other grey values.

    Parameters
    ----------
    u : array of float
    clip : (float, float), optional
        In standard deviations.
    redistribute : {"leftmost", "left", "full", "none"}
        Who gets what is cut off: the values below the clipped part, those and the clipped part itself, all alike, or
        nobody (nothing is clipped).

    Returns
    -------
    array of float64
        From 0 to 1.

    Examples
    --------
    >>> from stack3d.kernels import contrast
    >>> np.floor(256 * contrast.normal_curve(np.arange(-2.0, 3.0), (-0.8, 0.8), "leftmost"))
    array([  8.,  62., 142., 215., 250.])
    """
    from scipy.special import ndtr

    u = np.asarray(u, dtype=np.float64)
    share = ndtr(u)
    if clip is None or redistribute == "none":
        return np.asarray(share)
    low, high = clip
    below, upto = ndtr(low), ndtr(high)
    first, last = (np.exp(-(end**2) / 2) / np.sqrt(2 * np.pi) for end in clip)
    chord = (first + last) * (high - low) / 2
    cut = upto - below - chord
    inside = np.clip(u - low, 0, high - low)
    area = inside / 2 * (2 * first + (last - first) * inside / (high - low))
    left, right = np.minimum(share, below), np.maximum(share - upto, 0)
    if redistribute == "leftmost":
        return np.asarray((1 + cut / below) * left + area + right)
    if redistribute == "left":
        return np.asarray((1 + cut / (below + chord)) * (left + area) + right)
    return np.asarray((left + area + right) / (1 - cut))


def global_contrast(
    frame: Any, mean: float, sigma: float, curve: Any, low: float, high: float, dtype: Any
) -> tuple[Any, int]:
    """Map grey values through a curve over their distance from `mean` in units of `sigma`.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. 8- and 16-bit integers go through a table.
    mean, sigma : float
        `sigma` positive.
    curve : (4801,) array of float
        Fraction of the range at `DEVIATIONS`; between them it is interpolated, beyond them it keeps its ends.
    low, high : float
        The range of the result.
    dtype : dtype

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    dtype = np.dtype(dtype)
    values = low + (high - low) * np.asarray(curve, dtype=np.float64)
    knots = mean + sigma * DEVIATIONS
    if frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2:
        info = np.iinfo(frame.dtype)
        levels = np.arange(info.min, info.max + 1, dtype=np.float64)
        table, _ = finish(np.interp(levels, knots, values), dtype)
        xp = namespace(frame)
        return xp.asarray(table)[frame.astype(np.int32) - info.min], 0
    if not on_host(frame):
        return global_contrast_xp(frame, mean, sigma, curve, low, high, dtype)
    out = np.empty(frame.shape, dtype)
    smallest, largest = limits(dtype)
    count = _along_curve(packed(frame), float(mean), float(sigma), values, out, smallest, largest)
    return out, int(count)


def global_contrast_xp(
    frame: Any, mean: float, sigma: float, curve: Any, low: float, high: float, dtype: Any
) -> tuple[Any, int]:
    """`xp` form of `global_contrast`."""
    xp = namespace(frame)
    values = low + (high - low) * np.asarray(curve, dtype=np.float64)
    u = (frame.astype(np.float64) - mean) / sigma
    return finish(xp.interp(u, xp.asarray(DEVIATIONS), xp.asarray(values)), dtype)


@njit(nogil=True, cache=True)
def _along_curve(frame: Any, mean: float, sigma: float, values: Any, out: Any, smallest: float, largest: float) -> int:
    last = values.size - 1
    per = last / 12.0
    total = 0
    for y in range(frame.shape[0]):
        source, target, count = frame[y], out[y], np.int32(0)
        for x in range(source.size):
            place = ((np.float64(source[x]) - mean) / sigma + 6.0) * per
            if place != place:
                value = place
            else:
                place = min(max(place, 0.0), np.float64(last))
                k = min(int(place), last - 1)
                value = values[k] + (values[k + 1] - values[k]) * (place - k)
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += int(count)
    return total


def local_contrast(
    frame: Any,
    *,
    size: int,
    ratio: float,
    offset: float,
    sigma: float,
    smoothing: int,
    reference: str,
    dtype: Any,
) -> tuple[Any, int]:
    """Enlarge differences from the middle of the surroundings, most where a frame is darker than its wide mean.

    ``I + gain * (I - M)``, M the middle between the largest and smallest value of a square; the gain is ``ratio * Phi((A +
    offset - v) / sigma)``, Phi the normal distribution function and A the mean under a triangle.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. NaN is missing and stays so; it has no part in means, largest and smallest values.
    size : int
        Side of the square, odd.
    ratio : float
        Largest gain.
    offset, sigma : float
        Grey values: where the gain falls to half, from the mean, and how softly.
    smoothing : int
        Half width of the triangle, odd.
    reference : {"image", "maximum", "minimum", "middle"}
        v: the grey value itself, or that of the square.
    dtype : dtype

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    xp = namespace(frame)
    missing = frame != frame if frame.dtype.kind == "f" else None
    values, weight, level = _fill.known(frame)
    # Around 0 float32 has digits to spare.
    values = values - np.float32(level)
    wide = _wide_mean(values, smoothing)
    if weight is not None:
        share = _wide_mean(weight, smoothing)
        wide = xp.where(share > 1e-6, _wide_mean(values * weight, smoothing) / xp.maximum(share, 1e-6), np.float32(0))
    least = _extreme(values if weight is None else xp.where(weight > 0, values, np.float32(np.inf)), size, False)
    most = _extreme(values if weight is None else xp.where(weight > 0, values, np.float32(-np.inf)), size, True)
    if weight is not None:
        # A square without a measured pixel.
        least, most = (xp.where(xp.isfinite(end), end, np.float32(0)) for end in (least, most))
    middle = (least + most) * np.float32(0.5)
    chosen = {"image": values, "maximum": most, "minimum": least, "middle": middle}[reference]
    gain = np.float32(ratio) * _normal((wide + np.float32(offset) - chosen) / np.float32(sigma))
    kind = working_dtype(frame.dtype, dtype).type
    out = frame.astype(kind) + gain * (values - middle)
    if missing is not None:
        out = xp.where(missing, kind(np.nan), out)
    return finish(out, dtype)


def _wide_mean(frame: Any, length: int) -> Any:
    along_y = _box_means.triangle(frame, length)
    return _box_means.triangle(along_y.T, length).T


def _normal(u: Any) -> Any:
    if namespace(u) is np:
        from scipy.special import ndtr
    else:
        from cupyx.scipy.special import ndtr
    return ndtr(u)


def _extreme(frame: Any, size: int, largest: bool) -> Any:
    """Return the largest (smallest) value of the square around each pixel, cut at the edges."""
    if namespace(frame) is not np:
        return extreme_xp(frame, size, largest)
    import cv2

    run = cv2.dilate if largest else cv2.erode
    # Without an anchor or border given, pixels outside have no part.
    return run(np.ascontiguousarray(frame), np.ones((size, size), np.uint8))


def extreme_xp(frame: Any, size: int, largest: bool) -> Any:
    """`xp` form of the largest or smallest value of a square, one direction after the other."""
    xp = namespace(frame)
    pick, outside = (xp.maximum, -np.inf) if largest else (xp.minimum, np.inf)
    for _ in range(2):
        padded = xp.pad(frame, ((size // 2, size // 2), (0, 0)), constant_values=outside)
        out = padded[: frame.shape[0]]
        for k in range(1, size):
            out = pick(out, padded[k : k + frame.shape[0]])
        frame = out.T
    return frame


def equalise_tiles(
    frame: Any, tiles: tuple[int, int], limit: float, low: float, high: float, dtype: Any
) -> tuple[Any, int]:
    """Equalise the histograms of tiles, their height limited, and interpolate between tiles (CLAHE).

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. NaN is missing: not counted, and stays so.
    tiles : (int, int)
        Number of tiles along y and x, not more than there are pixels.
    limit : float
        Largest height of one of the 256 bins, as a multiple of their mean height; what is cut off is shared by all bins.
    low, high : float
        The range of grey values, which is kept.
    dtype : dtype

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    xp = namespace(frame)
    kind = working_dtype(frame.dtype, dtype).type
    seen = measurable(frame)
    place = xp.clip((seen.astype(kind) - kind(low)) * kind(BINS / (high - low)), kind(0), kind(BINS))
    rows, cols = (_tile_places(length, count) for length, count in zip(frame.shape, tiles, strict=True))
    maps = _tile_maps(place, rows[0], cols[0], tiles, limit)
    if on_host(frame):
        out = np.empty(frame.shape, kind)
        _between_tiles(place, maps, *rows[1:], *cols[1:], kind(low), kind(high - low), out)
    else:
        out = kind(low) + kind(high - low) * between_tiles_xp(place, maps, *rows[1:], *cols[1:])
    if seen is not frame:
        out = xp.where(xp.isinf(frame), frame.astype(kind), out)
    return finish(out, dtype)


def _tile_places(length: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return for each line its tile, the tile whose centre lies before it, and the share of the next one."""
    position = (np.arange(length) + 0.5) * count / length
    before = np.clip(np.floor(position - 0.5), 0, max(count - 2, 0)).astype(np.int64)
    share = np.clip(position - 0.5 - before, 0, 1) if count > 1 else np.zeros(length)
    return position.astype(np.int64), before, share.astype(np.float32)


def _tile_maps(place: Any, rows: Any, cols: Any, tiles: tuple[int, int], limit: float) -> Any:
    """Return the fraction of the pixels of each tile below each edge of a bin, (tiles y, tiles x, bins + 1) float32."""
    xp = namespace(place)
    tile = xp.asarray(rows)[:, None] * tiles[1] + xp.asarray(cols)
    seen = place == place
    bins = xp.minimum(place[seen].astype(np.int64), BINS - 1)
    counts = xp.bincount(tile[seen] * BINS + bins, minlength=tiles[0] * tiles[1] * BINS)
    counts = counts.reshape(*tiles, BINS).astype(np.float64)
    total = counts.sum(axis=-1, keepdims=True).astype(np.float64)
    # A tile without pixels changes nothing.
    density = xp.where(total > 0, counts / xp.maximum(total, 1), 1 / BINS)
    highest = limit / BINS
    least, most = xp.zeros_like(total), xp.full_like(total, highest)
    for _ in range(40):
        # What every bin gets on top, so that none is higher than the limit and all is given away.
        extra = (least + most) / 2
        short = xp.minimum(density + extra, highest).sum(axis=-1, keepdims=True) < 1
        least, most = xp.where(short, extra, least), xp.where(short, most, extra)
    density = xp.minimum(density + most, highest)
    edges = xp.concatenate([xp.zeros((*tiles, 1)), xp.cumsum(density, axis=-1)], axis=-1)
    return edges.astype(np.float32)


def between_tiles_xp(place: Any, maps: Any, row: Any, down: Any, column: Any, right: Any) -> Any:
    """`xp` form of the interpolation between the maps of the four tiles around each pixel."""
    xp = namespace(place)
    known = place == place
    filled = xp.where(known, place, 0)
    k = xp.minimum(filled.astype(np.int64), BINS - 1)
    share = (filled - k).astype(np.float32)
    next_row, next_column = np.minimum(row + 1, maps.shape[0] - 1), np.minimum(column + 1, maps.shape[1] - 1)

    def value(rows: Any, columns: Any) -> Any:
        where = xp.asarray(rows)[:, None], xp.asarray(columns)
        return maps[(*where, k)] * (1 - share) + maps[(*where, k + 1)] * share

    right, down = xp.asarray(right), xp.asarray(down)[:, None]
    above = value(row, column) * (1 - right) + value(row, next_column) * right
    below = value(next_row, column) * (1 - right) + value(next_row, next_column) * right
    return xp.where(known, above * (1 - down) + below * down, np.float32(np.nan))


@njit(nogil=True, cache=True)
def _between_tiles(
    place: Any, maps: Any, row: Any, down: Any, column: Any, right: Any, low: Any, span: Any, out: Any
) -> None:
    last_row, last_column, bins = maps.shape[0] - 1, maps.shape[1] - 1, maps.shape[2] - 1
    one = np.float32(1)
    for y in range(place.shape[0]):
        r, q = row[y], min(row[y] + 1, last_row)
        lower = down[y]
        for x in range(place.shape[1]):
            p = place[y, x]
            if p != p:
                out[y, x] = p
                continue
            k = min(int(p), bins - 1)
            t = np.float32(p - k)
            c, d = column[x], min(column[x] + 1, last_column)
            a = maps[r, c, k] * (one - t) + maps[r, c, k + 1] * t
            b = maps[r, d, k] * (one - t) + maps[r, d, k + 1] * t
            above = a * (one - right[x]) + b * right[x]
            a = maps[q, c, k] * (one - t) + maps[q, c, k + 1] * t
            b = maps[q, d, k] * (one - t) + maps[q, d, k + 1] * t
            below = a * (one - right[x]) + b * right[x]
            out[y, x] = low + span * (above * (one - lower) + below * lower)
