"""Compiled loops of :mod:`stack3d.kernels._stripe_power` and :mod:`stack3d.kernels._stripe_fit`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_HALF = 11  # bits of a number that are counted at once


@njit(**_OPTIONS)
def changes(u: Any, weight: Any, out: Any) -> None:
    """Write differences along x, 0 at pixels that are missing and beyond the frame."""
    height, width = u.shape
    zero = np.float32(0)
    for i in range(height):
        row, there, to = u[i], weight[i], out[i]
        for j in range(width - 1):
            both = (there[j] > zero) & (there[j + 1] > zero)
            to[j] = row[j + 1] - row[j] if both else zero
        to[width - 1 :] = zero


@njit(**_OPTIONS)
def band_means(spectra: Any, factor: Any, edges: Any, first: Any, out: Any) -> None:
    """Write the mean power of spectra times a factor in bands of frequency; `first` is that of their first column."""
    for i in range(spectra.shape[0]):
        row = spectra[i]
        for b in range(edges.size - 1):
            total = 0.0
            for k in range(edges[b] - first, edges[b + 1] - first):
                value = row[k] * factor[k]
                total += value * value
            out[i, b] = total / (edges[b + 1] - edges[b])


@njit(**_OPTIONS)
def fit(
    power: Any, bias: Any, half: Any, share: Any, total: Any, enough: Any, turn: Any, lean: Any, square: Any,
    own: Any, along: Any, cells: Any, steps: Any, lowest: Any, ratio: Any,
) -> Any:  # fmt: skip
    """Write the power of everything else and the ratio of each reach, and return the most likely one."""
    reaches, rows, bands = share.shape
    few = own.shape[1]
    level, over = np.empty(bands), np.empty(few)
    height, rest = np.empty((rows, bands)), np.empty((rows, bands))
    for i in range(rows):
        for b in range(bands):
            height[i, b] = math.log(power[i, b]) + bias[b]
    best, likely = 0, -np.inf
    for r in range(reaches):
        level[:] = 0
        for i in range(rows):
            for b in range(bands):
                level[b] += share[r, i, b] * height[i, b]
        level /= total[r]
        fall = 0.0
        if square[r] > 0:
            for i in range(rows):
                for b in range(bands):
                    fall += lean[r, i, b] * (height[i, b] - level[b])
            fall = min(fall / square[r], 0.0)
        for i in range(rows):
            for b in range(bands):
                if i < few or cells[i, b]:
                    rest[i, b] = math.exp(level[b] + fall * turn[r, i, b]) if fall or not i else rest[0, b]
        likelihood = 0.0
        for b in range(bands):
            lowest[r, b], ratio[r, b] = rest[0, b], 0.0
            if enough[r, b]:
                for i in range(few):
                    over[i] = power[i, b] / rest[i, b] - 1
                ratio[r, b] = _scored(own[r, :, b], along[r, :, 0], over, steps)
            for i in range(rows):
                if cells[i, b]:
                    more = 1 + ratio[r, b] * own[r, i, b] if i < few else 1.0
                    size = level[b] + fall * turn[r, i, b]
                    if more != 1.0:
                        size += math.log(more)
                    likelihood -= half[b] * (size + power[i, b] / (rest[i, b] * more))
        if likelihood > likely:
            best, likely = r, likelihood
    return best


@njit(**_OPTIONS)
def _scored(own: Any, along: Any, over: Any, steps: Any) -> Any:
    """Return the most likely ratio, by steps of Fisher's scoring."""
    ratio = 0.0
    for _ in range(steps):
        found, weight = 0.0, 0.0
        for i in range(over.size):
            trust = own[i] / (1 + ratio * along[i]) ** 2
            found += trust * over[i]
            weight += trust * own[i]
        before, ratio = ratio, max(found / max(weight, 1e-9), 0.0)
        if ratio == before:
            break
    return ratio


@njit(**_OPTIONS)
def sizes(u: Any, weight: Any, step: Any) -> Any:
    """Return the sizes of differences along y of every so many pixels, both of which were measured."""
    height, width = u.shape
    out = np.empty(((height - 2) // step + 1) * ((width - 1) // step + 1), np.float32)
    count = 0
    for i in range(0, height - 1, step):
        row, below = u[i], u[i + 1]
        if weight.size > 0:
            here, under = weight[i], weight[i + 1]
            for j in range(0, width, step):
                # Written over by the next one where a pixel is missing.
                out[count] = abs(below[j] - row[j])
                count += (here[j] > 0) & (under[j] > 0)
        else:
            for j in range(0, width, step):
                out[count] = abs(below[j] - row[j])
                count += 1
    return out[:count]


@njit(**_OPTIONS)
def middle(values: Any) -> Any:
    """Return the median of numbers that are not negative, float32, by counting their bits from the highest on."""
    bits = values.view(np.uint32)
    low = _ranked(bits, (bits.size - 1) // 2)
    high = low if bits.size % 2 else _ranked(bits, bits.size // 2)
    both = np.array([low, high], np.uint32).view(np.float32)
    return np.float32(0.5) * (both[0] + both[1])


@njit(**_OPTIONS)
def _ranked(bits: Any, rank: Any) -> Any:
    """Return the number of a rank."""
    counts = np.zeros(1 << _HALF, np.int64)
    found, shift = np.uint32(0), 32
    while shift > 0:
        width = min(_HALF, shift)
        shift -= width
        counts[:] = 0
        for j in range(bits.size):
            if shift + width == 32 or bits[j] >> np.uint32(shift + width) == found:
                counts[(bits[j] >> np.uint32(shift)) & np.uint32((1 << width) - 1)] += 1
        place = 0
        while rank >= counts[place]:
            rank -= counts[place]
            place += 1
        found = np.uint32((found << np.uint32(width)) | np.uint32(place))
    return found
