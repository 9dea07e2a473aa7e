"""Non-local means over a frame and its neighbours along z, each shift visited once, in strips that stay in the cache.

A pixel becomes the weighted mean of the pixels whose surroundings look like its own (Buades 2005). Weights are shared by
the pixels of a patch, so that whole patches are averaged, not only their centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

_STRIP = 32  # rows worked on at a time
_LEAST = np.float32(1e-12)


def non_local_means(
    frames: Sequence[Any],
    centre: int,
    width: float,
    *,
    floor: float = 0.0,
    patch: int = 2,
    search: int = 5,
    spread: float = np.inf,
    guides: Sequence[Any] | None = None,
) -> Any:
    """Return the centre frame averaged over similar places in all frames.

    The weight of a place is ``(1 - t / 8) ** 8``, nearly ``exp(-t)`` but 0 from t = 8 on, with ``t = max(d - floor, 0) /
    width`` and d the mean squared difference of the patches around the two places. Beyond their edges frames go on
    as their mirror images.

    Parameters
    ----------
    frames : sequence of (y, x) float32 arrays
        Numpy or cupy; of one shape. NaN is missing: it has no part in patches nor means, and stays NaN in the centre.
    centre : int
        Which frame is wanted.
    width : float
        Positive; in squared grey values of the guides.
    floor : float
        Mean squared difference that noise alone makes.
    patch : int
        Patches have ``2 * patch + 1`` pixels a side.
    search : int
        Largest shift in y and x.
    guides : sequence of (y, x) float32 arrays, optional
        What patches are compared on; the frames themselves by default.

    Returns
    -------
    (y, x) float32 array

    Examples
    --------
    >>> from stack3d.kernels import nlm
    >>> noisy = np.random.default_rng(0).normal(0, 1, (64, 64)).astype("float32")
    >>> bool(nlm.non_local_means([noisy], 0, 1.0, floor=2.0).std() < 0.2)
    True
    """
    guides = frames if guides is None else guides
    shape, reach = frames[centre].shape, search + 2 * patch
    missing = any(bool((frame != frame).any()) for frame in frames)
    padded = [_padded(frame, reach) for frame in frames]
    compared = padded if guides is frames else [_padded(guide, reach) for guide in guides]
    known = [_known(frame) for frame in padded] if missing else [None] * len(frames)
    filled = [_filled(frame) for frame in padded] if missing else padded
    compared = [_filled(guide) for guide in compared] if missing else compared
    run = _accumulate if on_host(frames[centre]) else accumulate_xp
    xp = namespace(frames[centre])
    total, mass = xp.zeros(shape, np.float32), xp.zeros(shape, np.float32)
    steps = np.arange(-search, search + 1, dtype=np.float64)
    fading = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * spread**2))
    numbers = np.float32(width), np.float32(floor), patch, search
    for k in range(len(frames)):
        given = (compared[centre], compared[k], filled[k], known[centre], known[k])
        share = (fading * np.exp(-((k - centre) ** 2) / (2 * spread**2))).astype(np.float32)
        run(*given, share, *numbers, mass, total)
    out = mass / xp.maximum(total, _LEAST)
    return xp.where(frames[centre] == frames[centre], out, np.float32(np.nan)) if missing else out


def _padded(frame: Any, reach: int) -> Any:
    xp = namespace(frame)
    return xp.ascontiguousarray(xp.pad(frame, reach, mode="symmetric"))


def _known(frame: Any) -> Any:
    return (frame == frame).astype(np.float32)


def _filled(frame: Any) -> Any:
    return namespace(frame).where(frame == frame, frame, np.float32(0))


def accumulate_xp(
    guide: Any,
    other: Any,
    values: Any,
    known: Any,
    other_known: Any,
    share: Any,
    width: Any,
    floor: Any,
    patch: int,
    search: int,
    mass: Any,
    total: Any,
) -> None:
    """`xp` form: add the weighted pixels of one frame to `mass`, and their weights to `total`."""
    xp = namespace(guide)
    height, columns = mass.shape
    rows, cols = height + 4 * patch, columns + 4 * patch
    for dy in range(-search, search + 1):
        for dx in range(-search, search + 1):
            here = guide[search : search + rows, search : search + cols]
            y, x = search + dy, search + dx
            there = other[y : y + rows, x : x + cols]
            squared = (here - there) ** 2
            if known is None:
                distance = _box(squared, patch) / np.float32((2 * patch + 1) ** 2)
            else:
                both = known[search : search + rows, search : search + cols] * other_known[y : y + rows, x : x + cols]
                count = _box(both, patch)
                distance = xp.where(count > 0, _box(squared * both, patch) / xp.maximum(count, np.float32(1)), np.inf)
            weight = _box(_weight(distance, width, floor), patch) * share[dy + search, dx + search]
            y, x = y + 2 * patch, x + 2 * patch
            seen = values[y : y + height, x : x + columns]
            if other_known is not None:
                weight = weight * other_known[y : y + height, x : x + columns]
            mass += weight * seen
            total += weight


def _weight(distance: Any, width: Any, floor: Any) -> Any:
    xp = namespace(distance)
    rest = xp.maximum(
        np.float32(1) - xp.maximum(distance - floor, np.float32(0)) / (np.float32(8) * width), np.float32(0)
    )
    rest = rest * rest
    rest = rest * rest
    return rest * rest


def _box(values: Any, reach: int) -> Any:
    """Return sums over ``2 * reach + 1`` pixels a side, where they lie inside."""
    height, width = values.shape[0] - 2 * reach, values.shape[1] - 2 * reach
    rows = values[:height].copy()
    for k in range(1, 2 * reach + 1):
        rows += values[k : k + height]
    out = rows[:, :width].copy()
    for k in range(1, 2 * reach + 1):
        out += rows[:, k : k + width]
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def _accumulate(
    guide: Any,
    other: Any,
    values: Any,
    known: Any,
    other_known: Any,
    share: Any,
    width: Any,
    floor: Any,
    patch: int,
    search: int,
    mass: Any,
    total: Any,
) -> None:
    height, columns = mass.shape
    cols = columns + 4 * patch
    inner = columns + 2 * patch
    side = 2 * patch + 1
    deep = _STRIP + 4 * patch
    squared, both = np.empty((deep, cols), np.float32), np.empty((deep, cols), np.float32)
    weight = np.empty((deep, inner), np.float32)
    line, count = np.empty(cols, np.float32), np.empty(cols, np.float32)
    area = np.float32(side * side)
    per = np.float32(8) * width
    one, zero = np.float32(1), np.float32(0)
    for top in range(0, height, _STRIP):
        strip = min(_STRIP, height - top)
        for dy in range(-search, search + 1):
            for dx in range(-search, search + 1):
                for r in range(strip + 4 * patch):
                    a = guide[top + search + r, search : search + cols]
                    b = other[top + search + dy + r, search + dx : search + dx + cols]
                    target = squared[r]
                    if known is None:
                        for x in range(cols):
                            difference = a[x] - b[x]
                            target[x] = difference * difference
                    else:
                        p = known[top + search + r, search : search + cols]
                        q = other_known[top + search + dy + r, search + dx : search + dx + cols]
                        flags = both[r]
                        for x in range(cols):
                            difference = a[x] - b[x]
                            flags[x] = p[x] * q[x]
                            target[x] = difference * difference * flags[x]
                for r in range(strip + 2 * patch):
                    _sum_rows(squared, r, side, line)
                    target = weight[r]
                    _sum_columns(line, side, target)
                    if known is None:
                        for x in range(inner):
                            t = max(target[x] / area - floor, zero) / per
                            rest = max(one - t, zero)
                            rest = rest * rest
                            rest = rest * rest
                            target[x] = rest * rest
                    else:
                        _sum_rows(both, r, side, line)
                        _sum_columns(line, side, count)
                        for x in range(inner):
                            t = max(target[x] / max(count[x], one) - floor, zero) / per
                            rest = max(one - t, zero)
                            rest = rest * rest
                            rest = rest * rest
                            target[x] = rest * rest if count[x] > zero else zero
                here = share[dy + search, dx + search]
                for r in range(strip):
                    _sum_rows(weight, r, side, line)
                    _sum_columns(line, side, count)
                    row, start = top + search + dy + 2 * patch + r, search + dx + 2 * patch
                    seen = values[row, start : start + columns]
                    into, sums = mass[top + r], total[top + r]
                    if other_known is None:
                        for x in range(columns):
                            w = count[x] * here
                            into[x] += w * seen[x]
                            sums[x] += w
                    else:
                        q = other_known[row, start : start + columns]
                        for x in range(columns):
                            w = count[x] * here * q[x]
                            into[x] += w * seen[x]
                            sums[x] += w


@njit(nogil=True, cache=True, inline="always")
def _sum_rows(values: Any, first: int, side: int, out: Any) -> None:
    width = values.shape[1]
    if side == 5:
        v0, v1, v2, v3, v4 = values[first], values[first + 1], values[first + 2], values[first + 3], values[first + 4]
        for x in range(width):
            out[x] = v0[x] + v1[x] + v2[x] + v3[x] + v4[x]
        return
    source = values[first]
    for x in range(width):
        out[x] = source[x]
    for k in range(1, side):
        source = values[first + k]
        for x in range(width):
            out[x] += source[x]


@njit(nogil=True, cache=True, inline="always")
def _sum_columns(line: Any, side: int, out: Any) -> None:
    width = out.size if out.size < line.size - side + 1 else line.size - side + 1
    if side == 5:
        for x in range(width):
            out[x] = line[x] + line[x + 1] + line[x + 2] + line[x + 3] + line[x + 4]
        return
    for x in range(width):
        out[x] = line[x]
    for k in range(1, side):
        for x in range(width):
            out[x] += line[x + k]
