"""Compiled loops of :mod:`stack3d.kernels.similarity`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_TILE = 512  # columns whose sums stay in the first cache
_LARGEST = 1.7976931348623157e308


@njit(nogil=True, cache=True)
def pair_sums(a: Any, b: Any, mask: Any, centre_a: float, centre_b: float) -> Any:
    """Return count, and the sums of a, b, a a, b b, a b and ``|A - B|``, with a and b taken from their centres."""
    rows, columns = a.shape
    out = np.zeros(7)
    gap = centre_a - centre_b
    for begin in range(0, columns, _TILE):
        width = min(_TILE, columns - begin)
        # One accumulator a column: additions keep their order, and neighbouring columns share a vector instruction.
        sums = np.zeros((7, width))
        n, sa, sb, saa, sbb, sab, sd = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6]
        for y in range(rows):
            row_a, row_b = a[y, begin : begin + width], b[y, begin : begin + width]
            for x in range(width):
                va, vb = np.float64(row_a[x]), np.float64(row_b[x])
                use = (abs(va) <= _LARGEST) & (abs(vb) <= _LARGEST)  # false for NaN and infinities
                if mask is not None:
                    use = use & mask[y, begin + x]
                da = va - centre_a if use else 0.0
                db = vb - centre_b if use else 0.0
                n[x] += 1.0 if use else 0.0
                sa[x] += da
                sb[x] += db
                saa[x] += da * da
                sbb[x] += db * db
                sab[x] += da * db
                sd[x] += abs(da - db + gap) if use else 0.0
        for k in range(7):
            for x in range(width):
                out[k] += sums[k, x]
    return out


@njit(nogil=True, cache=True)
def levels_of(frame: Any, mask: Any, low: float, per_unit: float, bins: int, missing: int) -> Any:
    out = np.empty(frame.shape, np.uint8)
    top = np.float64(bins - 1)
    for y in range(frame.shape[0]):
        row, target = frame[y], out[y]
        for x in range(row.size):
            value = np.float64(row[x])
            use = abs(value) <= _LARGEST
            if mask is not None:
                use = use & mask[y, x]
            level = min(max((value - low) * per_unit, 0.0), top)
            target[x] = np.uint8(np.int32(level if use else missing))
    return out


@njit(nogil=True, cache=True)
def joint_counts(a: Any, b: Any) -> Any:
    # Two tables, so that runs of one pair of levels do not wait for each other's stores.
    counts = np.zeros((2, 65536), np.uint32)
    even, odd = counts[0], counts[1]
    for y in range(a.shape[0]):
        row_a, row_b = a[y], b[y]
        half = row_a.size // 2
        for x in range(half):
            even[(np.uint32(row_a[2 * x]) << 8) | np.uint32(row_b[2 * x])] += np.uint32(1)
            odd[(np.uint32(row_a[2 * x + 1]) << 8) | np.uint32(row_b[2 * x + 1])] += np.uint32(1)
        if row_a.size % 2:
            even[(np.uint32(row_a[-1]) << 8) | np.uint32(row_b[-1])] += np.uint32(1)
    return counts
