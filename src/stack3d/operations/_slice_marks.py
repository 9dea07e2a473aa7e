"""What tells a spoilt slice from its neighbours: a few numbers a slice, and how far each is from usual."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.windows import reduce_windows

MEASURES = ("level", "unevenness", "shading", "structure", "sharpness", "likeness", "novelty")
PARTNERS = 4  # neighbours each slice is compared with
_FEWEST = 5  # slices that tell what is usual
_AROUND = 31  # slices whose median is the usual value: stacks drift
_SIDE = 256  # pixels across the frames that are compared
_CELLS = 32
_COARSE = 8
# Standard error of fine structure, in the variance of white noise over the root of the pixels: twice the sum of squares of the
# autocorrelation of what is measured, differences over two pixels less mixed second ones.
_NOISE_OF_FINE = 2.6
_SURE = 1.5  # what a standard error counts in deviations: errors of a mean have no tails, 4 are as good as 6 of a stack
# Values usual for their place vary at least this much: without it, stacks without noise would have outliers.
_LEAST_SCALE = {
    "level": 0.02,
    "unevenness": 0.03,
    "shading": 0.01,
    "structure": 0.01,
    "sharpness": 0.02,
    "likeness": 0.01,
    "novelty": 0.1,
}


class Mark(NamedTuple):
    """What is kept of a frame while its neighbours are measured."""

    numbers: np.ndarray
    glow: np.ndarray
    band: Any


class Scores(NamedTuple):
    """Values (..., z, measure) relative to the usual, and the same in robust standard deviations."""

    value: np.ndarray
    score: np.ndarray
    blank: np.ndarray


def measured(da: xr.DataArray) -> dict[str, np.ndarray]:
    """Return the numbers of each slice and its likeness to the next four, in one pass."""
    count = da.sizes["z"]
    start = np.arange(count)
    windows = np.stack([start, np.minimum(start + PARTNERS + 1, count)], axis=1)
    return reduce_windows(da, _compared, windows, prepare=_mark, label="find bad slices")


def _mark(frame: Any) -> Mark:
    cells = kernels.cells
    known = kernels.statistics.frame_statistics(frame)
    fine = kernels.differences.difference_energies(frame)
    by_four = _means(frame, [max(size // 4, 1) for size in frame.shape])
    coarse = kernels.differences.difference_energies(by_four)
    factor = max(min(frame.shape) // _SIDE, 2 if min(frame.shape) >= _SIDE // 2 else 1)
    small = _means(frame, [size // factor for size in frame.shape])
    rows, cols = (cells.edges(size, int(np.clip(size // 16, 1, _CELLS))) for size in small.shape)
    even = np.repeat(np.repeat(cells.means(small, rows, cols)[0], np.diff(rows), 0), np.diff(cols), 1)
    glow = np.full((_COARSE, _COARSE), np.nan)
    cell_means = _means(small, [_COARSE, _COARSE])
    glow[: cell_means.shape[0], : cell_means.shape[1]] = cell_means
    seen = glow[np.isfinite(glow)]
    numbers = [
        known.mean,
        known.std,
        float(seen.std()) if seen.size else np.nan,
        (coarse.brenner_y + coarse.brenner_x) / 2 - coarse.mixed,
        (coarse.brenner_y + coarse.brenner_x) / 2,
        (fine.brenner_y + fine.brenner_x) / 2 - fine.mixed,
        float(known.pixels),
        float(known.maximum > known.minimum),
        _NOISE_OF_FINE * fine.mixed / max(known.pixels, 1) ** 0.5,
    ]
    return Mark(np.array(numbers, np.float64), glow.ravel(), (small - even).astype(np.float32))


def _means(frame: Any, shape: Any) -> np.ndarray:
    cells = kernels.cells
    rows, cols = (cells.edges(size, int(count)) for size, count in zip(frame.shape, shape, strict=True))
    return np.asarray(cells.means(frame, rows, cols)[0])


def _compared(marks: list[Mark]) -> dict[str, np.ndarray]:
    likeness = np.full(PARTNERS, np.nan)
    for lag, other in enumerate(marks[1:]):
        likeness[lag] = kernels.similarity.ncc(marks[0].band, other.band)
    return {"numbers": marks[0].numbers, "glow": marks[0].glow, "likeness": likeness}


def scored(found: dict[str, np.ndarray], valid: np.ndarray) -> Scores:
    """Return how each slice compares with those around it."""
    numbers, likeness = found["numbers"], found["likeness"]
    lead, count = numbers.shape[:-2], numbers.shape[-2]
    value = np.full((*lead, count, len(MEASURES)), np.nan)
    score = np.full_like(value, np.nan)
    blank = np.zeros((*lead, count), bool)
    for index in np.ndindex(lead):
        blank[index] = ~(numbers[index][:, 7] > 0)
        use = valid & ~blank[index]
        if np.count_nonzero(use) < _FEWEST:
            continue
        value[index] = _values(numbers[index], found["glow"][index], likeness[index], use)
        for k, name in enumerate(MEASURES):
            column = value[index][:, k]
            good = column[use & np.isfinite(column)]
            if good.size:
                spread = 1.4826 * float(np.median(np.abs(good - np.median(good))))
                score[index][:, k] = column / max(spread, _LEAST_SCALE[name])
        clear = _clearness(numbers[index], use)
        sharpness = score[index][:, MEASURES.index("sharpness")]
        np.copysign(np.fmin(np.abs(sharpness), clear), sharpness, out=sharpness)
    return Scores(value, score, blank)


def _values(numbers: np.ndarray, glow: np.ndarray, likeness: np.ndarray, use: np.ndarray) -> np.ndarray:
    mean, std, uneven, coarse, whole, fine = numbers[:, :6].T
    with np.errstate(invalid="ignore", divide="ignore"):
        sharp, share = fine / coarse, coarse / whole
        columns = [
            (mean - usual(mean, use)) / usual(std, use),
            np.log(uneven / usual(uneven, use)),
            _shading(glow, usual(std, use), use),
            # Where most of the stack shows nothing but noise, none can be told by showing nothing.
            np.where(usual(share, use) > 0.1, share / usual(share, use) - 1, np.nan),
            np.log(np.maximum(sharp / usual(sharp, use), 1e-3)),
            _fitting(likeness, use),
            _novelty(likeness[:, 0], use),
        ]
        # What holds less contrast than a tenth of the usual shows nothing either.
        columns[3] = np.where(std < 0.1 * usual(std, use), -1.0, columns[3])
    return np.stack(columns, axis=1)


def _clearness(numbers: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return how far the fine structure is from the usual for the noise of the slice, in deviations."""
    coarse, fine, error = numbers[:, 3], numbers[:, 5], numbers[:, 8]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(_SURE * np.abs(fine - usual(fine / coarse, use) * coarse) / error)


def usual(column: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return the median of the used values around each slice; NaN where there is none."""
    out = np.full(column.size, np.nan)
    for k in range(column.size):
        near = slice(max(k - _AROUND // 2, 0), k + _AROUND // 2 + 1)
        values = column[near][use[near]]
        values = values[np.isfinite(values)]
        if values.size:
            out[k] = np.median(values)
    return out


def _shading(glow: np.ndarray, contrast: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return the spread of the brightness over the frame that the neighbours do not show, whatever gain and offset.

    In standard deviations of the frame, less the usual. Neighbours of one side are enough to know it from: a step that
    the stack does not take back leaves one. At the ends of the stack there are no others, and what is usual for one side
    counts: slices change more from one side than within.
    """
    count = len(glow)
    out = np.full((count, 3), np.nan)
    for k in range(count):
        before, after = range(max(k - 3, 0), k), range(k + 1, min(k + 4, count))
        for n, around in enumerate((before, after, [*before, *after])):
            side = [j for j in around if use[j]]
            if side:
                out[k, n] = _left_over(glow[k], np.median(glow[side], axis=0)) / contrast[k]
    least = np.fmin.reduce(out, axis=1)
    excess = least - usual(least, use)
    for n, alone in ((0, np.isnan(out[:, 1])), (1, np.isnan(out[:, 0]))):
        excess[alone] = (out[:, n] - usual(out[:, n], use))[alone]
    return np.asarray(excess)


def _left_over(seen: np.ndarray, expected: np.ndarray) -> float:
    """Return the rms of what no gain and offset of the expected explain."""
    both = np.isfinite(expected) & np.isfinite(seen)
    if both.sum() < 4:
        return np.nan
    seen, expected = seen[both] - seen[both].mean(), expected[both] - expected[both].mean()
    square = float(expected @ expected)
    gain = np.clip(expected @ seen / square, 0.5, 2.0) if square > 0 else 0.0
    return float(np.sqrt(np.mean((seen - gain * expected) ** 2)))


def _fitting(likeness: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return the second best likeness of a slice to the four nearest, relative to the usual at that distance, less 1.

    The second best of four: one bad neighbour, or a step that the stack does not take back, leaves two.
    """
    count = len(likeness)
    table = np.full((count, count if count < 2 else 2 * PARTNERS + 1), np.nan)
    for lag in range(1, min(PARTNERS, count - 1) + 1):
        pairs = likeness[: count - lag, lag - 1]
        base = usual(pairs, use[:-lag] & use[lag:])
        ratio = np.where(base > 0.1, pairs / base, np.nan)
        table[: count - lag, PARTNERS + lag] = ratio
        table[lag:, PARTNERS - lag] = ratio
    out = np.full(count, np.nan)
    for k in range(count):
        nearest = sorted((j for j in range(count) if j != k and abs(j - k) <= PARTNERS), key=lambda j: abs(j - k))
        ratios = np.array([table[k, PARTNERS + j - k] for j in nearest[:PARTNERS] if use[j]])
        ratios = np.sort(ratios[np.isfinite(ratios)])
        if ratios.size:
            out[k] = min(ratios[max(ratios.size - 2, 0)], 1.0) - 1
    return out


def _novelty(following: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return log of what is new in a slice, ``1 - ncc`` with the one before, over the usual."""
    out = np.full(following.size, np.nan)
    change = np.maximum(1 - following[:-1], 1e-12)
    out[1:] = np.log(change / usual(change, use[:-1] & use[1:]))
    return out
