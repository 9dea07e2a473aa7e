"""Compiled loops of :mod:`stack3d.kernels._stripe_power` and :mod:`stack3d.kernels._stripe_fit`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._line_loops import copy, fill
from stack3d.kernels._slow_rows_loops import STRIDE, fold_four, fold_row

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_LANES = 8  # sums that are added to by turns
_HALF = 11  # bits of a number that are counted at once


@njit(**_OPTIONS)
def _changes(u: Any, weight: Any, row: Any, start: Any, out: Any) -> None:
    """Write differences along x in a row, from a column on, 0 at pixels that are missing and beyond the frame."""
    zero, count = np.float32(0), max(min(out.size, u.shape[1] - 1 - start), 0)
    # Lines, not places in rows, which lets the loop become vector instructions.
    here, ahead = u[row, start : start + count], u[row, start + 1 : start + 1 + count]
    there, beside = weight[row, start : start + count], weight[row, start + 1 : start + 1 + count]
    for j in range(count):
        out[j] = ahead[j] - here[j] if (there[j] > zero) & (beside[j] > zero) else zero
    fill(zero, out[count:])


@njit(**_OPTIONS)
def _changes_within(u: Any, spans: Any, row: Any, start: Any, out: Any) -> None:
    """Write differences along x in a row, from a column on, 0 where one of its pixels is beyond the span of the row."""
    zero = np.float32(0)
    low = min(max(spans[row, 0] - start, 0), out.size)
    high = max(min(spans[row, 1] - 1 - start, out.size), low)
    here, ahead, line = u[row, start + low : start + high], u[row, start + low + 1 :], out[low:high]
    fill(zero, out[:low])
    for j in range(line.size):
        line[j] = ahead[j] - here[j]
    fill(zero, out[high:])


@njit(**_OPTIONS)
def _both_changes(u: Any, weight: Any, spans: Any, row: Any, start: Any, upper: Any, lower: Any) -> None:
    """Write the changes of a row of the upper half and of its mirror image: of the middle row by halves, 0 beyond."""
    height, zero, half, within = u.shape[0], np.float32(0), np.float32(0.5), spans.size > 0
    if row < height // 2 and within:
        _changes_within(u, spans, row, start, upper)
        _changes_within(u, spans, height - 1 - row, start, lower)
    elif row < height // 2:
        _changes(u, weight, row, start, upper)
        _changes(u, weight, height - 1 - row, start, lower)
    elif height % 2 and row == height // 2:
        if within:
            _changes_within(u, spans, row, start, upper)
        else:
            _changes(u, weight, row, start, upper)
        for j in range(upper.size):
            upper[j] *= half
        copy(upper, lower)
    else:
        fill(zero, upper)
        fill(zero, lower)


@njit(**_OPTIONS)
def _fold_row(u: Any, v: Any, there: Any, yonder: Any, even: Any, odd: Any) -> None:
    """Write what differences of a row have in common with those of its mirror image, and what they have not."""
    zero = np.float32(0)
    p, q, c, d = u[1:], v[1:], there[1:], yonder[1:]
    for j in range(even.size):
        x = p[j] - u[j] if (there[j] > zero) & (c[j] > zero) else zero
        y = q[j] - v[j] if (yonder[j] > zero) & (d[j] > zero) else zero
        even[j], odd[j] = x + y, x - y


@njit(**_OPTIONS)
def fold_changes(u: Any, weight: Any, spans: Any, start: Any, stop: Any, local: Any, even: Any, odd: Any) -> None:
    """Write what `_slow_rows_loops.fold` makes of differences along x, 0 at pixels that are missing and beyond the frame.

    `spans` are the first pixel of each row and the one after the last, where those between are all there; else empty.
    """
    height, lines = u.shape[0], np.empty((8, stop - start), np.float32)
    a, b, c, d, q, r, s, t = lines[0], lines[1], lines[2], lines[3], lines[4], lines[5], lines[6], lines[7]
    if local.size == 0:
        count = max(min(stop, u.shape[1] - 1) - start, 0)
        for i in range(even.size // STRIDE):
            some, other = even[i * STRIDE : i * STRIDE + a.size], odd[i * STRIDE : i * STRIDE + a.size]
            if i < height // 2 and spans.size == 0:
                k = height - 1 - i
                _fold_row(
                    u[i, start : start + count + 1], u[k, start : start + count + 1],
                    weight[i, start : start + count + 1], weight[k, start : start + count + 1],
                    some[:count], other[:count],
                )  # fmt: skip
                fill(np.float32(0), some[count:])
                fill(np.float32(0), other[count:])
            else:
                _both_changes(u, weight, spans, i, start, a, q)
                fold_row(a, q, some, other)
        return
    rows, terms = local.shape
    for block in range(even.size // (terms * STRIDE)):
        first, last = block * rows, block * rows + rows - 1
        for k in range(0, rows // 2, 2):
            _both_changes(u, weight, spans, first + k, start, a, q)
            _both_changes(u, weight, spans, first + k + 1, start, b, r)
            _both_changes(u, weight, spans, last - k - 1, start, c, s)
            _both_changes(u, weight, spans, last - k, start, d, t)
            for m in range(0, terms, 4):
                n = (block * terms + m) * STRIDE
                fold_four(a, b, c, d, q, r, s, t, local[k : k + 2, m : m + 4], even[n:], odd[n:], k > 0)


@njit(**_OPTIONS)
def band_means(spectra: Any, factor: Any, edges: Any, first: Any, out: Any) -> None:
    """Write the mean power of spectra times a factor in bands of frequency; `first` is that of their first column."""
    rows, bands = out.shape
    squares, lanes = np.empty(spectra.shape[1]), np.empty(_LANES)
    for i in range(rows):
        row = spectra[i]
        for k in range(squares.size):
            value = row[k] * factor[k]
            squares[k] = value * value
        for b in range(bands):
            low, high = edges[b] - first, edges[b + 1] - first
            even = low + (high - low) // _LANES * _LANES
            lanes[:] = 0
            for k in range(low, even, _LANES):
                for n in range(_LANES):
                    lanes[n] += squares[k + n]
            total = lanes.sum()
            for k in range(even, high):
                total += squares[k]
            out[i, b] = total / (high - low)


@njit(**_OPTIONS)
def lift(power: Any, level: Any, tiny: Any) -> bool:
    """Lift what is less than `level` of the largest of its band, or `tiny` of all, if any is above 0, and tell whether so."""
    (rows, bands), total = power.shape, 0.0
    most = np.zeros(bands)
    for i in range(rows):
        for b in range(bands):
            most[b] = max(most[b], power[i, b])
            total += power[i, b]
    if not 0 < total < np.inf:
        return False
    largest = most.max()
    for i in range(rows):
        for b in range(bands):
            power[i, b] = max(power[i, b], level * most[b], tiny * largest)
    return True


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
def trust(
    ratio: Any, rest: Any, error: Any, weight: Any, chance: Any, sure: Any, doubt: Any, likely: Any, more: Any,
    back: Any, beside: Any, out: Any,
) -> None:  # fmt: skip
    """Write the ratio where it is believed, 0 elsewhere; see `_stripe_fit.trusted`."""
    bands = ratio.size
    certain, most = np.empty(bands), np.empty(bands)
    some, clear = False, False
    for b in range(bands):
        certain[b] = max(ratio[b] - sure * math.sqrt(error[b] ** 2 + doubt**2), 0.0) * rest[b]
        some |= certain[b] != 0
    for way in range(2):
        total, count = 0.0, 0.0
        for k in range(bands):
            b = k if way else bands - 1 - k
            total += weight[b] * ratio[b]
            count += weight[b]
            clear |= ratio[b] > chance[0, b] * likely or total / count > chance[1 + way, b] * likely
    out[:] = 0
    if not (some and clear):
        return
    for b in range(bands - 2, -1, -1):
        certain[b] = max(certain[b], certain[b + 1])  # from each band on
    for b in range(bands):
        most[b] = more * certain[max(b - back, 0)]
    for b in range(bands):
        mean, shares = 0.0, 0.0
        for k in range(max(b - 1, 0), min(b + 2, bands)):
            share = (1.0 if k == b else beside) / error[k] ** 2
            mean += share * min(ratio[k] * rest[k], most[k])
            shares += share
        if min(ratio[b] * rest[b], most[b]) > 0:
            out[b] = min(mean / shares, most[b]) / rest[b]


@njit(**_OPTIONS)
def sizes(u: Any, weight: Any, step: Any) -> Any:
    """Return the median and the mean of the sizes of differences along y, of every so many pixels; 0 without any.

    Both pixels of each must have been measured.
    """
    height, width = u.shape
    number = (width - 1) // step + 1
    out = np.empty(((height - 2) // step + 1) * number, np.float32)
    count, total, line = 0, 0.0, np.empty(number + 3, np.float32)
    for i in range(0, height - 1, step):
        row, below, kept = u[i], u[i + 1], 0
        if weight.size > 0:
            here, under = weight[i], weight[i + 1]
            for k in range(number):
                # Written over by the next one where a pixel is missing.
                line[kept] = abs(below[k * step] - row[k * step])
                kept += (here[k * step] > 0) & (under[k * step] > 0)
        else:
            kept = number
            for k in range(number):
                line[k] = abs(below[k * step] - row[k * step])
        line[kept : kept + 3] = 0
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for k in range(0, kept, 4):
            one += np.float64(line[k])
            two += np.float64(line[k + 1])
            three += np.float64(line[k + 2])
            four += np.float64(line[k + 3])
        total += (one + two) + (three + four)
        copy(line[:kept], out[count : count + kept])
        count += kept
    if count == 0:
        return np.float32(0), 0.0
    return middle(out[:count]), total / count


@njit(**_OPTIONS)
def middle(values: Any) -> Any:
    """Return the median of numbers that are not negative, float32, by counting their bits from the highest on."""
    bits = values.view(np.uint32)
    low, last = _ranked(bits, (bits.size - 1) // 2)
    high = low
    if last and bits.size % 2 == 0:
        high = _least_above(bits, low)
    both = np.array([low, high], np.uint32).view(np.float32)
    return np.float32(0.5) * (both[0] + both[1])


@njit(**_OPTIONS)
def _least_above(bits: Any, low: Any) -> Any:
    high = np.uint32(0xFFFFFFFF)
    for j in range(bits.size):
        number = bits[j]
        high = min(high, number if number > low else np.uint32(0xFFFFFFFF))
    return high


@njit(**_OPTIONS)
def _ranked(bits: Any, rank: Any) -> Any:
    """Return the number of a rank, and whether it is the last of its kind."""
    # Four tables, so that runs of one number do not wait for each other's stores.
    counts = np.empty((4, 1 << _HALF), np.int32)
    one, two, three, four = counts[0], counts[1], counts[2], counts[3]
    kept, room, found, shift, size = bits, np.empty_like(bits), np.uint32(0), 32, bits.size
    while shift > 0:
        width = min(_HALF, shift)
        shift -= width
        down, part = np.uint32(shift), np.uint32((1 << width) - 1)
        fill(np.int32(0), counts.ravel())
        for j in range(0, size - 3, 4):
            one[(kept[j] >> down) & part] += 1
            two[(kept[j + 1] >> down) & part] += 1
            three[(kept[j + 2] >> down) & part] += 1
            four[(kept[j + 3] >> down) & part] += 1
        for j in range(size - size % 4, size):
            one[(kept[j] >> down) & part] += 1
        place = 0
        while True:
            here = one[place] + two[place] + three[place] + four[place]
            if rank < here:
                break
            rank -= here
            place += 1
        found = np.uint32((found << np.uint32(width)) | np.uint32(place))
        count, wanted = 0, np.uint32(place)
        for j in range(size):
            number = kept[j]
            # Written over by the next one where it is another; `room` may be what is read, behind where it is written.
            room[count] = number
            count += ((number >> down) & part) == wanted
        kept, size = room, count
    return found, rank == size - 1
