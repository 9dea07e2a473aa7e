"""What the neighbours of a pixel say of it: local medians, and bad pixels filled from good ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._median_network import medians
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, working_dtype

_NETWORK = 5  # the largest window for which a sorting network is made


def local_median(frame: Any, size: int = 5, where: Any = None) -> Any:
    """Return the median of the neighbours of each pixel, itself left out, float32.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. NaN is missing; beyond the edge there is nothing.
    size : int, default 5
        Odd edge of the window, at least 3.
    where : (y, x) array of bool, optional
        Only there, where few are wanted; NaN elsewhere.

    Returns
    -------
    (y, x) array of float32
        NaN where no neighbour was measured; the mean of the middle two of an even number.

    Examples
    --------
    >>> from stack3d.kernels import neighbours
    >>> neighbours.local_median(np.array([[1, 2, 3], [4, 90, 6], [7, 8, 9]], "uint8"), 3)[1, 1]
    np.float32(5.0)
    """
    if size < 3 or size % 2 == 0:
        raise ValueError(f"size={size} must be odd and at least 3")
    if not on_host(frame):
        return local_median_xp(frame, size, where)
    pixels, half = packed(frame.astype(np.float32, copy=False)), size // 2
    if where is not None:
        out = np.full(pixels.shape, np.nan, np.float32)
        _some_medians(pixels, half, packed(where), out)
        return out
    if size > _NETWORK or min(pixels.shape) < size:
        out = np.empty(pixels.shape, np.float32)
        _some_medians(pixels, half, np.ones(pixels.shape, bool), out)
        return out
    out = medians(pixels, half)
    _some_medians(pixels, half, _incomplete(pixels, half), out)
    return out


def local_median_xp(frame: Any, size: int, where: Any = None) -> Any:
    """`xp` form of `local_median`."""
    xp = namespace(frame)
    half = size // 2
    padded = xp.pad(frame.astype(np.float32), half, constant_values=np.nan)
    views = [
        padded[y : y + frame.shape[0], x : x + frame.shape[1]]
        for y in range(size)
        for x in range(size)
        if (y, x) != (half, half)
    ]
    ordered = xp.sort(xp.stack(views), axis=0)  # NaN come last
    count = xp.isfinite(ordered).sum(axis=0)
    middle = [xp.take_along_axis(ordered, xp.maximum(k, 0)[None], 0)[0] for k in ((count - 1) // 2, count // 2)]
    count = count if where is None else xp.where(where, count, 0)
    return xp.where(count > 0, (middle[0] + middle[1]) * np.float32(0.5), np.float32(np.nan))


@njit(nogil=True, cache=True)
def _incomplete(frame: Any, half: int) -> Any:
    """Return where windows reach beyond the frame or hold a pixel that was not measured."""
    rows, columns = frame.shape
    out = np.ones((rows, columns), np.bool_)
    out[half : rows - half, half : columns - half] = False
    for y in range(rows):
        row, missing = frame[y], 0
        for x in range(columns):
            missing += 0 if abs(row[x]) < np.inf else 1
        if missing == 0:
            continue
        for x in range(columns):
            if not abs(row[x]) < np.inf:
                out[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1] = True
    return out


@njit(nogil=True, cache=True)
def _some_medians(frame: Any, half: int, wanted: Any, out: Any) -> None:
    rows, columns = frame.shape
    found = np.empty((2 * half + 1) ** 2, np.float32)
    for y in range(rows):
        top, bottom = max(y - half, 0), min(y + half + 1, rows)
        for x in range(columns):
            if not wanted[y, x]:
                continue
            count = 0
            for i in range(top, bottom):
                for j in range(max(x - half, 0), min(x + half + 1, columns)):
                    value = frame[i, j]
                    if (i == y and j == x) or not np.isfinite(value):
                        continue
                    place = count
                    while place > 0 and found[place - 1] > value:
                        found[place] = found[place - 1]
                        place -= 1
                    found[place] = value
                    count += 1
            if count:
                out[y, x] = (found[(count - 1) // 2] + found[count // 2]) * np.float32(0.5)
            else:
                out[y, x] = np.nan


class Sources(NamedTuple):
    """Where the values of bad pixels come from.

    Attributes
    ----------
    points : (bad,) array of int64
        Bad pixels, counted along the rows of the frame.
    places : (bad, most) array of int64
        Good pixels for each of them, -1 where there are fewer.
    weights : (bad, most) array of float64
        How much each counts for a weighted sum; they sum to 1, some may be negative.
    """

    points: np.ndarray[Any, Any]
    places: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]


def window_sources(bad: Any, size: int = 3) -> Sources:
    """Return the good pixels in a window around each bad one; a window without any grows until it has some.

    Parameters
    ----------
    bad : (y, x) array of bool
    size : int
        Odd edge of the window.
    """
    bad = np.asarray(bad, dtype=bool)
    if bad.all():
        raise ValueError("all pixels are bad; there is nothing to fill them from")
    chosen = []
    for y, x in np.argwhere(bad):
        half = size // 2
        while True:
            top, left = max(y - half, 0), max(x - half, 0)
            good = np.argwhere(~bad[top : y + half + 1, left : x + half + 1]) + np.array([top, left])
            if len(good):
                break
            half += 1
        chosen.append((good[:, 0] * bad.shape[1] + good[:, 1], np.full(len(good), 1 / len(good))))
    return _table(np.flatnonzero(bad), chosen)


def smooth_sources(bad: Any) -> Sources:
    """Return the weights of good pixels that make the surface through the bad ones as smooth as it can be.

    The sum of squared second differences along y, along x and mixed, the energy of a thin plate, is least. It is solved
    once for each group of bad pixels, and serves every frame.

    References
    ----------
    S. B. Damelin, N. S. Hoang, Int. J. Math. Math. Sci. 2018, 3950312 (2018), doi:10.1155/2018/3950312.
    """
    from scipy import ndimage

    bad = np.asarray(bad, dtype=bool)
    if bad.all():
        raise ValueError("all pixels are bad; there is nothing to fill them from")
    # Second differences join pixels up to two apart.
    labels, _ = ndimage.label(ndimage.binary_dilation(bad, np.ones((3, 3))), np.ones((3, 3)))
    chosen: dict[int, Any] = {}
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        area = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
        here = bad[area] & (labels[area] == number)
        known = ~bad[area]
        _solve_group(here, known, (area[0].start, area[1].start), bad.shape[1], chosen)
    points = np.flatnonzero(bad)
    return _table(points, [chosen[int(point)] for point in points])


def _solve_group(here: Any, known: Any, origin: tuple[int, int], width: int, chosen: dict[int, Any]) -> None:
    rows = _second_differences(here, known)
    unknown, good = here.ravel(), known.ravel()
    matrix = rows[:, unknown]
    touched = np.flatnonzero(good & (rows != 0).any(axis=0))
    # The least-norm solution where too little is known around a group for a unique one; sums of weights stay 1.
    weights = -np.linalg.lstsq(matrix, rows[:, touched], rcond=None)[0]
    place = np.arange(here.size)
    flat = (place // here.shape[1] + origin[0]) * width + place % here.shape[1] + origin[1]
    for point, row in zip(flat[unknown], weights, strict=True):
        total = row.sum()
        row = row / total if abs(total) > 0.5 else np.full(row.size, 1 / row.size)
        keep = np.abs(row) > 1e-9
        chosen[int(point)] = flat[touched[keep]], row[keep] / row[keep].sum()


def _second_differences(here: Any, known: Any) -> np.ndarray[Any, Any]:
    usable = here | known
    numbers = np.arange(here.size).reshape(here.shape)
    stencils = (
        (((0, 0), (1, 0), (2, 0)), (1.0, -2.0, 1.0)),
        (((0, 0), (0, 1), (0, 2)), (1.0, -2.0, 1.0)),
        (((0, 0), (0, 1), (1, 0), (1, 1)), np.array([1.0, -1.0, -1.0, 1.0]) * np.sqrt(2.0)),
    )
    rows = []
    for offsets, values in stencils:
        height, width = (here.shape[k] - max(offset[k] for offset in offsets) for k in (0, 1))
        if height < 1 or width < 1:
            continue
        parts = [(slice(i, i + height), slice(j, j + width)) for i, j in offsets]
        use = np.logical_and.reduce([usable[part] for part in parts])
        use &= np.logical_or.reduce([here[part] for part in parts])
        block = np.zeros((int(use.sum()), here.size))
        for part, value in zip(parts, values, strict=True):
            block[np.arange(len(block)), numbers[part][use]] = value
        rows.append(block)
    return np.concatenate(rows)


def _table(points: np.ndarray[Any, Any], chosen: list[Any]) -> Sources:
    most = max((len(index) for index, _ in chosen), default=1)
    index = np.full((len(points), most), -1, np.int64)
    weights = np.zeros((len(points), most))
    for k, (places, parts) in enumerate(chosen):
        index[k, : len(places)], weights[k, : len(places)] = places, parts
    return Sources(points.astype(np.int64), index, weights)


def fill(frame: Any, sources: Sources, method: str, dtype: Any) -> tuple[Any, int]:
    """Return the frame with its bad pixels made of good ones, and how many of them did not fit `dtype`.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    sources : Sources
    method : {"mean", "median", "weights"}
        Of the sources. Where some are missing (NaN) the others are used, of weights only positive ones; a pixel
        without any keeps its value.
    dtype : dtype
        Of the result, an integer dtype or that of the frame. With a float frame and an integer dtype the result stays
        float, but its new values are rounded and cut to the range.

    Examples
    --------
    >>> from stack3d.kernels import neighbours
    >>> frame = np.array([[1, 2, 3], [4, 90, 6], [7, 8, 10]], "uint8")
    >>> neighbours.fill(frame, neighbours.window_sources(frame > 50), "mean", "uint8")[0][1, 1]
    np.uint8(5)
    """
    xp = namespace(frame)
    dtype = np.dtype(dtype)
    out = frame.copy()
    if not sources.points.size:
        return out, 0
    kind = working_dtype(frame.dtype, dtype)
    index, weights = xp.asarray(sources.places), xp.asarray(sources.weights)
    values = frame.ravel()[index].astype(kind)
    use = (index >= 0) & xp.isfinite(values)
    count = use.sum(axis=1)
    if method == "median":
        found = _row_medians(xp.where(use, values, np.inf), count, xp)
    else:
        if method == "weights":
            whole = (use | (index < 0)).all(axis=1)
            parts = xp.where(whole[:, None], weights, xp.maximum(weights, 0.0)) * use
        else:
            parts = use.astype(np.float64)
        total = parts.sum(axis=1)
        sums = (parts * xp.where(use, values, kind.type(0))).sum(axis=1)
        count = xp.where(total > 0, count, 0)
        found = sums / xp.where(total > 0, total, 1.0)
    points = xp.asarray(sources.points)
    y, x = points // frame.shape[1], points % frame.shape[1]
    if dtype.kind in "iu" and frame.dtype.kind == "f":
        low, high = limits(dtype)
        rounded = xp.rint(found)
        new, saturated = xp.clip(rounded, low, high).astype(out.dtype), ((rounded < low) | (rounded > high)).sum()
    else:
        new, saturated = finish(found, out.dtype)
    out[y, x] = xp.where(count > 0, new, out[y, x])
    return out, int(saturated)


def _row_medians(values: Any, count: Any, xp: Any) -> Any:
    ordered = xp.sort(values, axis=1)
    last = xp.maximum(count - 1, 0)
    middle = [xp.take_along_axis(ordered, k[:, None], 1)[:, 0] for k in (last // 2, xp.minimum(count // 2, last))]
    half = values.dtype.type(0.5)
    return xp.where(count > 0, middle[0] * half + middle[1] * half, values.dtype.type(0))
