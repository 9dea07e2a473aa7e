"""Wiener filtering of small overlapping blocks of a frame, or of several frames that lie on each other.

A first estimate, such as non-local means, says how strong the signal is in each coefficient of a block's cosine transform;
the coefficients of the noisy block are then weighted by ``signal / (signal + noise)``. What a first estimate shows in one
block is uncertain; how strong a coefficient is on average over the frame is not, and has a share in it. It is the second step of
sliding-window and collaborative filters: L. Yaroslavsky, K. Egiazarian and J. Astola, Proc. SPIE 4304 (2001),
doi:10.1117/12.424970; K. Dabov, A. Foi, V. Katkovnik and K. Egiazarian, IEEE Trans. Image Process. 16 (2007) 2080,
doi:10.1109/TIP.2007.901238. Blocks of one place are taken through all frames, as no search is needed where they are aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host

_SIDE = 8  # of a block, in pixels
_STEP = 2  # rows from one block to the next; along x every pixel begins one
_APART = 7  # blocks whose signal is averaged: not a block's side, or periodic structure would be met in one phase
_WIDE = 256  # blocks worked on at a time, so that their coefficients stay in the cache
_TOGETHER = 32  # rows of blocks that the array form holds at once


def filtered(
    frames: Sequence[Any],
    pilots: Sequence[Any] | None,
    centre: int,
    variance: float,
    *,
    noise: float = 1.0,
    common: float = 0.0,
) -> Any:
    """Return the centre frame, its blocks filtered with the signal that the pilots show.

    Parameters
    ----------
    frames : sequence of (y, x) float32 arrays
        Numpy or cupy; of one shape, finite. Blocks reach through all of them.
    pilots : sequence of (y, x) float32 arrays, optional
        The frames with less noise; None: only what blocks have in common is known, and all are filtered alike.
    centre : int
        Which frame is wanted.
    variance : float
        Positive: of the white noise of the frames.
    noise : float
        The weights count with this share of the variance: of a pilot that has noise itself more than all.
    common : float
        Share of the mean signal of all blocks that is added to what the pilots show in a block.

    Returns
    -------
    (y, x) float32 array
        Beyond their edges frames go on as their mirror images; the mean of a block stays.

    Examples
    --------
    >>> from stack3d.kernels import wiener
    >>> noisy = np.random.default_rng(0).normal(0, 1, (64, 64)).astype("float32")
    >>> bool(wiener.filtered([noisy], [np.zeros_like(noisy)], 0, 1.0).std() < 0.2)
    True
    """
    xp = namespace(frames[centre])
    rows, cols = frames[centre].shape
    edge = _SIDE - 1
    below = edge + (rows + edge - 1) % _STEP  # so that the last row of blocks ends with the frame
    pad = ((edge, below), (edge, edge))
    noisy = xp.stack([xp.pad(frame, pad, mode="symmetric") for frame in frames])
    clear = None if pilots is None else xp.stack([xp.pad(pilot, pad, mode="symmetric") for pilot in pilots])
    run = _accumulate if on_host(frames[centre]) else accumulate_xp
    mass, total = xp.zeros(noisy.shape[1:], np.float32), xp.zeros(noisy.shape[1:], np.float32)
    across, along = cosines(_SIDE), cosines(len(frames))
    level = np.float32(common) * _mean_signal(noisy, variance, across, along)
    run(noisy, clear, centre, np.float32(noise * variance), level, across, along, mass, total)
    inside = slice(edge, edge + rows), slice(edge, edge + cols)
    return mass[inside] / total[inside]


def noise_share(frame: Any, variance: float) -> float:
    """Return the share of white noise, 0 to 1, in the mean power of the blocks of a frame, their means left out.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; finite.
    variance : float
        Positive: of the noise.

    Examples
    --------
    >>> from stack3d.kernels import wiener
    >>> noise = np.random.default_rng(0).normal(0, 3, (200, 200)).astype("float32")
    >>> round(wiener.noise_share(noise, 9.0), 1)
    1.0
    """
    padded = namespace(frame).pad(frame, _SIDE - 1, mode="symmetric")
    signal = _mean_signal(padded[None], variance, cosines(_SIDE), cosines(1)).ravel()[1:]
    noise = len(signal) * variance
    return float(noise / (float(signal.sum()) + noise))


def cosines(size: int) -> np.ndarray:
    """Return the orthonormal cosine transform (frequency, place), float32."""
    place, frequency = np.arange(size) + 0.5, np.arange(size)[:, None]
    found = np.cos(np.pi * frequency * place / size) * np.sqrt(2 / size)
    found[0] = np.sqrt(1 / size)
    return np.asarray(found, np.float32)


def _mean_signal(noisy: Any, variance: float, across: Any, along: Any) -> np.ndarray:
    """Return the mean signal of each coefficient (u, v, frequency along z) over some blocks, on the host."""
    xp = namespace(noisy)
    depth, height, width = noisy.shape
    rows, cols = (xp.arange(0, size - _SIDE + 1, _APART)[:, None] + xp.arange(_SIDE) for size in (height, width))
    blocks = noisy.take(rows.ravel(), 1).take(cols.ravel(), 2).reshape(depth, -1, _SIDE, len(cols), _SIDE)
    matrix = xp.asarray(across)
    found = xp.tensordot(xp.tensordot(xp.tensordot(matrix, blocks, (1, 2)), matrix, (4, 1)), xp.asarray(along), (1, 1))
    power = (found.astype(np.float64) ** 2).mean(axis=(1, 2))
    level = xp.maximum(power - variance, 0.0).astype(np.float32)
    return np.asarray(level if xp is np else level.get())


def accumulate_xp(
    noisy: Any, pilot: Any, centre: int, variance: Any, level: Any, across: Any, along: Any, mass: Any, total: Any
) -> None:
    """`xp` form: add the filtered blocks to `mass`, and their weights to `total`."""
    xp = namespace(noisy)
    blocks = noisy.shape[2] - _SIDE + 1
    starts = range(0, noisy.shape[1] - _SIDE + 1, _STEP)
    for first in range(0, len(starts), _TOGETHER):
        top, count = starts[first], len(starts[first : first + _TOGETHER])
        rows = [slice(top + k, top + k + _STEP * (count - 1) + 1, _STEP) for k in range(_SIDE)]

        def transformed(stack: Any) -> Any:
            matrix, depth = xp.asarray(across), xp.asarray(along)
            part = xp.tensordot(matrix, xp.stack([stack[:, row] for row in rows]), 1)  # noqa: B023
            part = xp.tensordot(matrix, xp.stack([part[..., k : k + blocks] for k in range(_SIDE)]), 1)
            return xp.moveaxis(xp.tensordot(part, depth, axes=([2], [1])), -1, 2)

        strength = xp.asarray(level.swapaxes(0, 1))[..., None, None]
        if pilot is not None:
            strength = strength + transformed(pilot) ** 2
        share = strength / (strength + variance)
        share[0, 0, 0] = 1
        weight = np.float32(1) / (share * share).sum(axis=(0, 1, 2))
        kept = xp.tensordot(transformed(noisy) * share, xp.asarray(along[:, centre]), axes=([2], [0])) * weight
        # Back along x and y, each pixel of a block to its place.
        kept = xp.tensordot(xp.asarray(across.T), kept, 1)
        for j in range(_SIDE):
            for row, values in zip(rows, xp.tensordot(xp.asarray(across.T), kept[j], 1), strict=True):
                mass[row, j : j + blocks] += values
                total[row, j : j + blocks] += weight


@njit(nogil=True, cache=True, error_model="numpy")
def _accumulate(
    noisy: Any, pilot: Any, centre: int, variance: Any, level: Any, across: Any, along: Any, mass: Any, total: Any
) -> None:
    depth, height, width = noisy.shape
    blocks = width - _SIDE + 1
    lines = np.empty((_SIDE, _WIDE + _SIDE), np.float32)
    seen = np.empty((depth, _SIDE, _SIDE, _WIDE), np.float32)
    known = np.zeros((depth, _SIDE, _SIDE, _WIDE), np.float32)
    kept = np.empty((_SIDE, _SIDE, _WIDE), np.float32)
    weight = np.empty(_WIDE, np.float32)
    one = np.float32(1)
    for top in range(0, height - _SIDE + 1, _STEP):
        for left in range(0, blocks, _WIDE):
            wide = min(_WIDE, blocks - left)
            for k in range(depth):
                _forward(noisy[k], top, left, wide, across, lines, seen[k])
                if pilot is not None:
                    _forward(pilot[k], top, left, wide, across, lines, known[k])
            weight[:wide] = 0
            for u in range(_SIDE):
                for v in range(_SIDE):
                    target = kept[u, v]
                    target[:wide] = 0
                    for f in range(depth):
                        if depth == 1:
                            values, strength = seen[0, u, v], known[0, u, v]
                            _shrink(values, strength, u + v == 0, variance, level[u, v, 0], one, weight, target, wide)
                            continue
                        values, strength = lines[0], lines[1]
                        for x in range(wide):
                            values[x] = along[f, 0] * seen[0, u, v, x]
                            strength[x] = along[f, 0] * known[0, u, v, x]
                        for k in range(1, depth):
                            a, p, q = along[f, k], seen[k, u, v], known[k, u, v]
                            for x in range(wide):
                                values[x] += a * p[x]
                                strength[x] += a * q[x]
                        part = along[f, centre]
                        _shrink(values, strength, u + v + f == 0, variance, level[u, v, f], part, weight, target, wide)
            for x in range(wide):
                weight[x] = one / weight[x]
            _backward(kept, weight, top, left, wide, across, lines, mass, total)


@njit(nogil=True, cache=True, inline="always", error_model="numpy")
def _shrink(
    values: Any, pilot: Any, mean: bool, variance: Any, level: Any, factor: Any, weight: Any, target: Any, wide: int
) -> None:
    if mean:
        for x in range(wide):
            weight[x] += np.float32(1)
            target[x] += factor * values[x]
        return
    for x in range(wide):
        strength = pilot[x] * pilot[x] + level
        share = strength / (strength + variance)
        weight[x] += share * share
        target[x] += factor * (share * values[x])


@njit(nogil=True, cache=True, error_model="numpy")
def _forward(frame: Any, top: int, left: int, wide: int, across: Any, lines: Any, out: Any) -> None:
    """Transform the blocks that begin in one row, `wide` of them: along y for whole lines, then along x."""
    half = _SIDE // 2
    span = wide + _SIDE - 1
    for u in range(_SIDE):
        line = lines[u]
        for x in range(span):
            line[x] = across[u, 0] * frame[top, left + x]
        for i in range(1, _SIDE):
            c, source = across[u, i], frame[top + i, left : left + span]
            for x in range(span):
                line[x] += c * source[x]
    even, odd = np.empty((half, wide), np.float32), np.empty((half, wide), np.float32)
    for u in range(_SIDE):
        line = lines[u]
        for j in range(half):
            a, b = line[j : j + wide], line[_SIDE - 1 - j : _SIDE - 1 - j + wide]
            e, o = even[j], odd[j]
            for x in range(wide):
                e[x] = a[x] + b[x]
                o[x] = a[x] - b[x]
        for v in range(_SIDE):
            part = even if v % 2 == 0 else odd
            c0, c1, c2, c3 = across[v, 0], across[v, 1], across[v, 2], across[v, 3]
            p0, p1, p2, p3, target = part[0], part[1], part[2], part[3], out[u, v]
            for x in range(wide):
                target[x] = c0 * p0[x] + c1 * p1[x] + c2 * p2[x] + c3 * p3[x]


@njit(nogil=True, cache=True, error_model="numpy")
def _backward(
    kept: Any, weight: Any, top: int, left: int, wide: int, across: Any, lines: Any, mass: Any, total: Any
) -> None:
    span = wide + _SIDE - 1
    sums = np.zeros(span, np.float32)
    for j in range(_SIDE):
        for x in range(wide):
            sums[x + j] += weight[x]
    part = np.empty(wide, np.float32)
    for u in range(_SIDE):
        line = lines[u]
        line[:span] = 0
        k0, k1, k2, k3 = kept[u, 0], kept[u, 1], kept[u, 2], kept[u, 3]
        k4, k5, k6, k7 = kept[u, 4], kept[u, 5], kept[u, 6], kept[u, 7]
        for j in range(_SIDE):
            c0, c1, c2, c3 = across[0, j], across[1, j], across[2, j], across[3, j]
            c4, c5, c6, c7 = across[4, j], across[5, j], across[6, j], across[7, j]
            for x in range(wide):
                part[x] = (
                    c0 * k0[x]
                    + c1 * k1[x]
                    + c2 * k2[x]
                    + c3 * k3[x]
                    + c4 * k4[x]
                    + c5 * k5[x]
                    + c6 * k6[x]
                    + c7 * k7[x]
                ) * weight[x]
            target = line[j : j + wide]
            for x in range(wide):
                target[x] += part[x]
    for i in range(_SIDE):
        into, counted = mass[top + i, left : left + span], total[top + i, left : left + span]
        for u in range(_SIDE):
            c, line = across[u, i], lines[u]
            for x in range(span):
                into[x] += c * line[x]
        for x in range(span):
            counted[x] += sums[x]
