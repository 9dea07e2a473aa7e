"""Histograms of the tiles of a frame made even as far as a limit lets them, and interpolated between tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._store import finish, working_dtype
from stack3d.kernels.finite import measurable

BINS = 256  # of the histogram of a tile


def equalise(frame: Any, tiles: tuple[int, int], limit: float, low: float, high: float, dtype: Any) -> tuple[Any, int]:
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
