"""Pictures of a volume along parallel rays: a box of which the corner that is nearest to the eye is taken out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

_TINY = 1e-9


class Rays(NamedTuple):
    """Parallel rays, one a pixel, in lengths along (z, y, x).

    Attributes
    ----------
    origin : (3,) array
        Where the ray of the first pixel begins, outside the volume.
    right, down : (3,) array
        From a pixel to the next one along a row and along a column.
    direction : (3,) array
        Of unit length, into the scene.
    shape : (rows, columns)
    """

    origin: np.ndarray
    right: np.ndarray
    down: np.ndarray
    direction: np.ndarray
    shape: tuple[int, int]


def cast(
    volume: Any,
    spacing: Any,
    rays: Rays,
    corner: tuple[Any, Any],
    density: Any = None,
) -> tuple[Any, Any, Any]:
    """Look at a volume: trilinear samples, composited from front to back.

    Parameters
    ----------
    volume : (z, y, x) array of float32
        Between 0 (black) and 1 (white).
    spacing : (3,) sequence of float
        Edges of a voxel; the first voxel begins at 0.
    rays : Rays
    corner : ((3,), (3,)) lengths
        The two ends of the part that is taken out, a box within the volume; equal ends take out nothing. What lies
        behind it is solid.
    density : (n,) array of float32, optional
        Opacity per unit of length for grey values from 0 to 1, evenly spaced; by default the box is solid.

    Returns
    -------
    light : (rows, columns) array of float32
        Grey values times opacity.
    opacity : (rows, columns) array of float32
    face : (rows, columns) array of int8
        Axis across which the ray met something solid: 0, 1, 2, or -1 for none.
    """
    steps = np.asarray(spacing, np.float64)
    low, high = (np.asarray(end, np.float64) for end in corner)
    table = np.zeros(0, np.float32) if density is None else np.asarray(density, np.float32)
    if not on_host(volume):
        return cast_xp(volume, steps, rays, (low, high), table)
    out = np.zeros(rays.shape, np.float32), np.zeros(rays.shape, np.float32), np.full(rays.shape, -1, np.int8)
    pixels = np.ascontiguousarray(volume, np.float32)
    o, r, d, ahead = (np.asarray(v, np.float64) for v in rays[:4])
    _cast(pixels, steps, o, r, d, ahead, low, high, table, out[0], out[1], out[2])
    return out


def cast_xp(
    volume: Any, steps: np.ndarray, rays: Rays, corner: tuple[np.ndarray, np.ndarray], table: np.ndarray
) -> tuple[Any, Any, Any]:
    """`xp` form of `cast`."""
    xp = namespace(volume)
    rows, columns = (xp.arange(n, dtype=np.float64)[:, None] for n in rays.shape)
    o, r, d = (xp.asarray(v) for v in (rays.origin, rays.right, rays.down))
    start = (o + rows * d)[:, None, :] + (columns * r)[None]
    ahead = xp.asarray(rays.direction)
    size = xp.asarray(np.asarray(volume.shape) * steps)
    enter, leave, face, _ = _crossings(xp, start, ahead, xp.zeros(3), size)
    a, b, _, behind = _crossings(xp, start, ahead, *(xp.asarray(end) for end in corner))
    hit = leave > enter + _TINY
    carved = hit & (b > a + _TINY)
    solid = hit & (~carved | (leave > b + _TINY))
    if table.size:
        solid &= carved
    where = xp.where(carved, b, enter)
    grey = xp.where(solid, _sample(xp, volume, start + where[..., None] * ahead, steps), 0)
    light, opacity = grey.astype(np.float32), solid.astype(np.float32)
    face = xp.where(solid, xp.where(carved, behind, face), -1).astype(np.int8)
    if not table.size:
        return light, opacity, face
    step, curve = float(steps.min()), xp.asarray(table)
    march = hit & ~carved
    longest = int(np.ceil(float(xp.where(march, leave - enter, 0).max()) / step)) if rays.shape else 0
    for k in range(longest):
        at = enter + (k + 0.5) * step
        inside = march & (at < leave) & (opacity <= 1 - 1e-3)
        value = _sample(xp, volume, start + at[..., None] * ahead, steps)
        share = xp.where(inside, (1 - opacity) * (1 - xp.exp(-_looked_up(xp, curve, value) * step)), 0)
        light, opacity = (light + share * value).astype(np.float32), (opacity + share).astype(np.float32)
    return light, opacity, face


def _crossings(xp: Any, start: Any, ahead: Any, low: Any, high: Any) -> tuple[Any, Any, Any, Any]:
    """Return where rays enter and leave a box, and across which axes."""
    turned = 1 / xp.where(xp.abs(ahead) < _TINY, _TINY, ahead)
    one, other = (low - start) * turned, (high - start) * turned
    near, far = xp.minimum(one, other), xp.maximum(one, other)
    return near.max(-1), far.min(-1), near.argmax(-1), far.argmin(-1)


def _sample(xp: Any, volume: Any, points: Any, steps: np.ndarray) -> Any:
    value = xp.zeros(points.shape[:-1])
    base, part = [], []
    for axis in range(3):
        at = xp.clip(points[..., axis] / steps[axis] - 0.5, 0, volume.shape[axis] - 1)
        first = xp.minimum(xp.floor(at).astype(np.int64), max(volume.shape[axis] - 2, 0))
        base.append(first)
        part.append(at - first)
    for k in (0, 1):
        for j in (0, 1):
            for i in (0, 1):
                weight = 1.0
                index = []
                for axis, step in enumerate((k, j, i)):
                    weight = weight * (part[axis] if step else 1 - part[axis])
                    index.append(xp.minimum(base[axis] + step, volume.shape[axis] - 1))
                value = value + weight * volume[tuple(index)]
    return value


def _looked_up(xp: Any, table: Any, value: Any) -> Any:
    at = xp.clip(value, 0, 1) * (table.size - 1)
    first = xp.minimum(xp.floor(at).astype(np.int64), max(table.size - 2, 0))
    last = xp.minimum(first + 1, table.size - 1)
    return table[first] + (at - first) * (table[last] - table[first])


@njit(nogil=True, cache=True)
def _cast(
    volume: Any,
    steps: Any,
    origin: Any,
    right: Any,
    down: Any,
    ahead: Any,
    low: Any,
    high: Any,
    table: Any,
    light: Any,
    opacity: Any,
    face: Any,
) -> None:
    size = np.empty(3)
    for axis in range(3):
        size[axis] = volume.shape[axis] * steps[axis]
    zero, start, turned = np.zeros(3), np.empty(3), np.empty(3)
    for axis in range(3):
        turned[axis] = 1 / (ahead[axis] if abs(ahead[axis]) >= _TINY else _TINY)
    step = steps.min()
    for row in range(light.shape[0]):
        for column in range(light.shape[1]):
            for axis in range(3):
                start[axis] = origin[axis] + row * down[axis] + column * right[axis]
            enter, leave, first, _ = _slab(start, turned, zero, size)
            if leave <= enter + _TINY:
                continue
            a, b, _, behind = _slab(start, turned, low, high)
            carved = b > a + _TINY
            if carved:
                if leave > b + _TINY:
                    light[row, column] = _value(volume, start, ahead, b, steps)
                    opacity[row, column], face[row, column] = 1, behind
                continue
            if table.size == 0:
                light[row, column] = _value(volume, start, ahead, enter, steps)
                opacity[row, column], face[row, column] = 1, first
                continue
            seen, through = 0.0, 1.0
            for k in range(int(np.ceil((leave - enter) / step))):
                at = enter + (k + 0.5) * step
                if at >= leave or through < 1e-3:
                    break
                value = _value(volume, start, ahead, at, steps)
                place = min(max(value, 0.0), 1.0) * (table.size - 1)
                left = min(int(place), max(table.size - 2, 0))
                dense = table[left] + (place - left) * (table[min(left + 1, table.size - 1)] - table[left])
                share = through * (1 - np.exp(-dense * step))
                seen += share * value
                through -= share
            light[row, column], opacity[row, column] = seen, 1 - through


@njit(nogil=True, cache=True)
def _slab(start: Any, turned: Any, low: Any, high: Any) -> Any:
    enter, leave, first, last = -np.inf, np.inf, 0, 0
    for axis in range(3):
        one, other = (low[axis] - start[axis]) * turned[axis], (high[axis] - start[axis]) * turned[axis]
        near, far = min(one, other), max(one, other)
        if near > enter:
            enter, first = near, axis
        if far < leave:
            leave, last = far, axis
    return enter, leave, first, last


@njit(nogil=True, cache=True)
def _value(volume: Any, start: Any, ahead: Any, at: float, steps: Any) -> Any:
    nz, ny, nx = volume.shape
    z = min(max((start[0] + at * ahead[0]) / steps[0] - 0.5, 0.0), nz - 1.0)
    y = min(max((start[1] + at * ahead[1]) / steps[1] - 0.5, 0.0), ny - 1.0)
    x = min(max((start[2] + at * ahead[2]) / steps[2] - 0.5, 0.0), nx - 1.0)
    k, j, i = min(int(z), max(nz - 2, 0)), min(int(y), max(ny - 2, 0)), min(int(x), max(nx - 2, 0))
    fz, fy, fx = z - k, y - j, x - i
    kk, jj, ii = min(k + 1, nz - 1), min(j + 1, ny - 1), min(i + 1, nx - 1)
    front = (1 - fy) * ((1 - fx) * volume[k, j, i] + fx * volume[k, j, ii]) + fy * (
        (1 - fx) * volume[k, jj, i] + fx * volume[k, jj, ii]
    )
    back = (1 - fy) * ((1 - fx) * volume[kk, j, i] + fx * volume[kk, j, ii]) + fy * (
        (1 - fx) * volume[kk, jj, i] + fx * volume[kk, jj, ii]
    )
    return (1 - fz) * front + fz * back
