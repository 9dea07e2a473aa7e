"""Energies of the differences between neighbouring pixels: the noise of a frame, and its sharpness above it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels.statistics import frame_statistics

# What each operator makes of white noise of variance 1: the sum of its squared coefficients.
MIXED, LAPLACIAN, BRENNER = 36.0, 20.0, 2.0


class DifferenceEnergies(NamedTuple):
    """What `difference_energies` returns: mean squares, each divided by what white noise of variance 1 gives.

    All are variances in squared grey values, and all NaN where no pixel has eight measured neighbours.

    Attributes
    ----------
    mixed : float
        Of the second difference along y of the second difference along x: blind to structure that is a function of y
        plus one of x, and nearly the noise alone (Immerkaer 1996).
    laplacian : float
        Of the Laplacian of four neighbours.
    brenner_y, brenner_x : float
        Of differences over two pixels.
    variance : float
        Of the frame itself.
    """

    mixed: float
    laplacian: float
    brenner_y: float
    brenner_x: float
    variance: float


def difference_energies(frame: Any) -> DifferenceEnergies:
    """Measure the differences between each pixel and its neighbours, over pixels with eight measured neighbours.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. NaN and infinities are missing.

    Examples
    --------
    >>> from stack3d.kernels import differences
    >>> noise = np.random.default_rng(0).normal(100, 5, (256, 256)).astype("float32")
    >>> bool(abs(differences.difference_energies(noise).mixed - 25) < 1)
    True
    """
    known = frame_statistics(frame)
    if not known.maximum >= known.minimum or min(frame.shape) < 3:
        return DifferenceEnergies(*[np.nan] * 5)
    scale = 1 / known.std if known.maximum > known.minimum else 1.0
    sums = _sums(packed(frame), known.mean, scale) if on_host(frame) else _sums_xp(frame, known.mean, scale)
    if sums[4] == 0:
        return DifferenceEnergies(*[np.nan] * 5)
    energies = sums[:4] / sums[4] / np.array([MIXED, LAPLACIAN, BRENNER, BRENNER]) / scale**2
    return DifferenceEnergies(*(float(energy) for energy in (*energies, known.std**2)))


def _sums_xp(frame: Any, mean: float, scale: float) -> np.ndarray[Any, Any]:
    xp = namespace(frame)
    wide = (frame.astype(np.float64) - mean) * scale
    values = xp.where(xp.isfinite(wide), wide, np.nan).astype(np.float32).astype(np.float64)
    middle, above, below = values[1:-1], values[:-2], values[2:]
    across = above - 2 * middle + below
    mixed = across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:]
    along_x = middle[:, 2:] - middle[:, :-2]
    along_y = (below - above)[:, 1:-1]
    laplacian = across[:, 1:-1] + middle[:, :-2] - 2 * middle[:, 1:-1] + middle[:, 2:]
    use = ~xp.isnan(mixed)
    energies = [xp.where(use, part * part, 0.0).sum() for part in (mixed, laplacian, along_y, along_x)]
    return np.array([float(number) for number in (*energies, use.sum())])


@njit(nogil=True, cache=True)
def _sums(frame: Any, mean: float, scale: float) -> Any:
    rows, columns = frame.shape
    ring = np.zeros((3, columns), np.float32)
    across = np.zeros(columns, np.float32)
    # One accumulator a column; float32 sums go to float64 every few rows.
    part, total = np.zeros((5, columns), np.float32), np.zeros(5)
    mixed, laplacian, along_y, along_x, number = part[0], part[1], part[2], part[3], part[4]
    for y in range(rows):
        row, values = frame[y], ring[y % 3]
        for x in range(columns):
            value = (np.float64(row[x]) - mean) * scale
            values[x] = np.float32(value if abs(value) <= 1.7976931348623157e308 else np.nan)
        if y < 2:
            continue
        above, middle, below = ring[(y - 2) % 3], ring[(y - 1) % 3], values
        for x in range(columns):
            across[x] = above[x] - np.float32(2) * middle[x] + below[x]
        for x in range(1, columns - 1):
            m = across[x - 1] - np.float32(2) * across[x] + across[x + 1]
            c = across[x] + middle[x - 1] - np.float32(2) * middle[x] + middle[x + 1]
            a, b = below[x] - above[x], middle[x + 1] - middle[x - 1]
            use = m == m
            mixed[x] += m * m if use else np.float32(0)
            laplacian[x] += c * c if use else np.float32(0)
            along_y[x] += a * a if use else np.float32(0)
            along_x[x] += b * b if use else np.float32(0)
            number[x] += np.float32(1) if use else np.float32(0)
        if y % 64 == 63 or y == rows - 1:
            for k in range(5):
                for x in range(columns):
                    total[k] += np.float64(part[k, x])
                    part[k, x] = np.float32(0)
    return total
