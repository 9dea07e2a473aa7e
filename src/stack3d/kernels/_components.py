"""Connected bright and dark parts of a band of details, weighed by how much their shape is that of a stripe along y."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

_PIXEL = 1 / 12  # second moment of a pixel about its own centre: lines one pixel wide have a width
_LEAST = 1e-12


class Shape(NamedTuple):
    """Which parts are taken for stripes.

    Attributes
    ----------
    length : float
        Parts whose major axis is no longer than this, in pixels, weigh 1.
    angle : float
        Degrees from y at which the weight reaches 0.
    ratio : float
        Minor to major axis at which the weight of a part along y is exp(-1/2).
    """

    length: float
    angle: float
    ratio: float


def stripe_weights(band: Any, threshold: Any, shape: Shape) -> Any:
    """Return the weight of every pixel: 1 within the threshold and in stripes, towards 0 in other parts.

    Parts are the 8-connected pixels above `threshold`, and those below ``-threshold``. One with axes a > b (of the
    ellipse of its second moments) and turned by p from y weighs ``exp(-t^2 / 2)``, ``t = (b / a) / ratio * cos p /
    (1 - |sin p| / sin angle)``, and nothing from `angle` on.

    Parameters
    ----------
    band : (y, x) or (n, y, x) float32 array
        Finite.
    threshold : (y,) or (n, y) float32 array
        Of each row.
    shape : Shape

    Returns
    -------
    float32 array
        Of the shape of `band`.
    """
    if band.ndim != 2 or not on_host(band):
        return stripe_weights_xp(band, threshold, shape)
    out = np.empty(band.shape, np.float32)
    kinds = np.empty(band.shape, np.int8)
    count = _classify(band, threshold, kinds, out)
    _weigh(kinds, count, _numbers(shape), out)
    return out


def stripe_weights_xp(band: Any, threshold: Any, shape: Shape) -> Any:
    """`xp` form of :func:`stripe_weights`; parts are found by `ndimage`."""
    xp = namespace(band)
    if xp is np:
        from scipy import ndimage
    else:
        ndimage = sys.modules["cupyx.scipy.ndimage"] if "cupyx.scipy.ndimage" in sys.modules else _cupy_ndimage()
    least, sine, ratio, pixel = _numbers(shape)
    y, x = (xp.arange(size, dtype=np.float64) for size in band.shape[-2:])
    y, x = xp.broadcast_to(y[:, None], band.shape), xp.broadcast_to(x, band.shape)
    weight = xp.ones(band.shape, np.float32)
    # Frames of a batch do not touch.
    beside = np.zeros((3,) * band.ndim, np.int32)
    beside[(1,) * (band.ndim - 2)] = 1
    for sign in (1, -1):
        labels, count = ndimage.label(sign * band > threshold[..., None], xp.asarray(beside))
        labels, count = labels.ravel(), int(count) + 1
        area = xp.maximum(xp.bincount(labels, minlength=count), 1)
        mean_y, mean_x = (xp.bincount(labels, part.ravel(), count) / area for part in (y, x))
        off_y, off_x = y.ravel() - mean_y[labels], x.ravel() - mean_x[labels]
        yy, xx, yx = (xp.bincount(labels, part, count) / area for part in (off_y * off_y, off_x * off_x, off_y * off_x))
        half, root = (yy + xx) / 2 + pixel, xp.hypot((yy - xx) / 2, yx)
        major, minor = 4 * xp.sqrt(half + root), 4 * xp.sqrt(xp.maximum(half - root, 0))
        turn = xp.arctan2(2 * yx, yy - xx) / 2
        room = 1 - xp.abs(xp.sin(turn)) / sine
        wide = minor / xp.maximum(major, _LEAST) / ratio * xp.cos(turn) / xp.maximum(room, _LEAST)
        value = xp.where(room > 0, xp.exp(-(wide**2) / 2), 0.0)
        value = xp.where(major > least, value, 1.0).astype(np.float32)
        value[0] = 1
        weight *= value[labels].reshape(band.shape)
    return weight


def _cupy_ndimage() -> Any:
    import cupyx.scipy.ndimage

    return cupyx.scipy.ndimage


def _numbers(shape: Shape) -> tuple[float, float, float, float]:
    return float(shape.length), math.sin(math.radians(shape.angle)), float(shape.ratio), _PIXEL


@njit(nogil=True, cache=True)
def _classify(band: Any, threshold: Any, kinds: Any, out: Any) -> int:
    """Say which pixels lie above and below, set all weights to 1, and count the runs along x."""
    count = np.int64(0)
    for y in range(band.shape[0]):
        row, kind, limit = band[y], kinds[y], threshold[y]
        out[y] = np.float32(1)
        for x in range(row.size):
            kind[x] = np.int8(row[x] > limit) - np.int8(row[x] < -limit)
        starts = np.int64(kind[0] != 0)
        before, after = kind[:-1], kind[1:]
        for x in range(after.size):
            starts += np.int64((after[x] != 0) & (after[x] != before[x]))
        count += starts
    return int(count)


@njit(nogil=True, cache=True)
def _root(parent: Any, k: int) -> int:
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(nogil=True, cache=True)
def _weigh(kinds: Any, count: int, shape: Any, out: Any) -> None:
    height, width = kinds.shape
    least, sine, ratio, pixel = shape
    parent = np.empty(count, np.int32)
    begin, end = np.empty(count, np.int32), np.empty(count, np.int32)
    first = np.empty(height + 1, np.int64)
    found = 0
    for y in range(height):
        kind = kinds[y]
        first[y] = found
        above = first[y - 1] if y > 0 else found
        last_above = found
        x = 0
        while x < width:
            here = kind[x]
            if here == 0:
                x += 1
                continue
            start = x
            while x < width and kind[x] == here:
                x += 1
            begin[found], end[found], parent[found] = start, x, found
            # Runs of the row above that end before this one begins touch no later one either.
            while above < last_above and end[above] < start:
                above += 1
            other = above
            while other < last_above and begin[other] <= x:
                if kinds[y - 1, begin[other]] == here:
                    a, b = _root(parent, other), _root(parent, found)
                    parent[max(a, b)] = min(a, b)
                other += 1
            found += 1
    first[height] = found
    # Sums about the first pixel of each part, so that no large numbers cancel.
    sums = np.zeros((count, 6))
    origin_y = np.empty(count, np.int64)
    for y in range(height):
        for k in range(first[y], first[y + 1]):
            root = _root(parent, k)
            parent[k] = root
            if root == k:
                origin_y[k] = y
            n = float(end[k] - begin[k])
            dy = float(y - origin_y[root])
            middle = 0.5 * (begin[k] + end[k] - 1) - begin[root]
            part = sums[root]
            part[0] += n
            part[1] += n * dy
            part[2] += n * middle
            part[3] += n * dy * dy
            part[4] += n * (middle * middle + (n * n - 1.0) / 12.0)
            part[5] += n * dy * middle
    weight = np.ones(count, np.float32)
    for k in range(count):
        if parent[k] == k:
            n = sums[k, 0]
            my, mx = sums[k, 1] / n, sums[k, 2] / n
            yy, xx = sums[k, 3] / n - my * my, sums[k, 4] / n - mx * mx
            yx = sums[k, 5] / n - my * mx
            half, root_of = 0.5 * (yy + xx) + pixel, math.hypot(0.5 * (yy - xx), yx)
            major, minor = 4.0 * math.sqrt(half + root_of), 4.0 * math.sqrt(max(half - root_of, 0.0))
            if major > least:
                turn = 0.5 * math.atan2(2.0 * yx, yy - xx)
                room = 1.0 - abs(math.sin(turn)) / sine
                weight[k] = 0
                if room > 0:
                    wide = minor / major / ratio * math.cos(turn) / room
                    weight[k] = math.exp(-0.5 * wide * wide)
    for y in range(height):
        row = out[y]
        for k in range(first[y], first[y + 1]):
            value = weight[parent[k]]
            if value < 1:
                row[begin[k] : end[k]] = value
