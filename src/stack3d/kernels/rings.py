"""Sums of spectra over rings of frequency, whole or cut to sectors: what Fourier ring correlation is made of."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _rings_loops as loops
from stack3d.kernels._namespace import namespace, on_host


class Rings(NamedTuple):
    """Which ring and sector each coefficient of a half-plane belongs to.

    Attributes
    ----------
    place : (rows, columns // 2 + 1) array of unsigned int
        ``ring * sectors + sector``; the number of bins where a coefficient is in none.
    number : (rings * sectors,) array of float64
        Coefficients of the whole plane in each bin.
    frequency : (rings,) array of float64
        Middle of each ring, in cycles per unit of the spacing.
    sectors : int
    columns : int
        Of the whole plane.
    """

    place: np.ndarray[Any, Any]
    number: np.ndarray[Any, Any]
    frequency: np.ndarray[Any, Any]
    sectors: int
    columns: int

    @property
    def bins(self) -> int:
        """Number of rings times sectors."""
        return int(self.number.size)


def ring_frequencies(shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray[Any, Any]:
    """Return the middles of the rings of a plane: multiples of its coarser step, up to its lower Nyquist frequency.

    Examples
    --------
    >>> from stack3d.kernels import rings
    >>> rings.ring_frequencies((8, 16), (5.0, 5.0))
    array([0.025, 0.05 , 0.075, 0.1  ])
    """
    step = max(1 / (n * size) for n, size in zip(shape, spacing, strict=True))
    limit = min(0.5 / size for size in spacing)
    return step * np.arange(1, int(limit / step * (1 + 1e-9)) + 1)


@lru_cache(maxsize=6)
def rings(shape: tuple[int, int], spacing: tuple[float, float], sectors: int = 1) -> Rings:
    """Return the rings of a plane of `shape`; by physical frequency, so that they are round whatever the pixels.

    Each ring is as wide as the coarser of the steps of frequency along y and x. Sectors are centred at multiples of
    ``180 / sectors`` degrees, counter-clockwise from x as seen with y down; 0 are frequencies along x.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the plane.
    spacing : (float, float)
        Distance between pixels along y and x.
    sectors : int

    Returns
    -------
    Rings
        Kept for the next call, read-only.

    Examples
    --------
    >>> from stack3d.kernels import rings
    >>> rings.rings((8, 8), (1.0, 1.0)).number
    array([ 8., 12., 16., 22.])
    """
    frequency = ring_frequencies(shape, spacing)
    step = frequency[0] if frequency.size else np.inf
    y = np.fft.fftfreq(shape[0], spacing[0])[:, None]
    x = np.fft.rfftfreq(shape[1], spacing[1])[None, :]
    bins = frequency.size * sectors
    index = np.empty((shape[0], shape[1] // 2 + 1), np.uint16 if bins < 65535 else np.uint32)
    number = np.zeros(bins + 1)
    multiplicity = np.full(index.shape[1], 2.0)
    multiplicity[0] = 1
    if shape[1] % 2 == 0:
        multiplicity[-1] = 1
    for row in range(shape[0]):  # row by row: a plane of float64 is larger than the spectrum
        ring = np.floor(np.hypot(y[row], x[0]) / step + 0.5).astype(np.int64) - 1
        place = ring * sectors
        if sectors > 1:
            angle = np.arctan2(-y[row], x[0]) * (sectors / np.pi)
            place += np.floor(angle + 0.5).astype(np.int64) % sectors
        place = np.where((ring >= 0) & (ring < frequency.size), place, bins)
        index[row] = place
        number += np.bincount(place, multiplicity, bins + 1)
    number = number[:bins]
    for array in (index, number, frequency):
        array.flags.writeable = False
    return Rings(index, number, frequency, sectors, shape[1])


def cross_sums(a: Any, b: Any, plan: Rings) -> np.ndarray[Any, Any]:
    """Return the sum of ``Re(a conj(b))`` over each bin of the whole plane, of two half-planes; float64 on the host."""
    if on_host(a.real):
        return np.asarray(loops.cross_sums(a, b, plan.place, plan.bins, plan.columns))
    return cross_sums_xp(a, b, plan)


def cross_sums_xp(a: Any, b: Any, plan: Rings) -> np.ndarray[Any, Any]:
    """`xp` form of `cross_sums`."""
    xp = namespace(a)
    product = a.real.astype(np.float64) * b.real + a.imag.astype(np.float64) * b.imag
    weight = np.full(plan.place.shape[1], 2.0)
    weight[0] = 1
    if plan.columns % 2 == 0:
        weight[-1] = 1
    return _binned(product * xp.asarray(weight), plan, xp)


def power_sums(a: Any, plan: Rings) -> np.ndarray[Any, Any]:
    """Return the sum of ``|a|^2`` over each bin of the whole plane, of a half-plane; float64 on the host."""
    return cross_sums(a, a, plan)


def split_sums(half: Any, plan: Rings) -> np.ndarray[Any, Any]:
    """Return the ring sums that splitting one frame into interleaved pixels gives, from its own spectrum.

    The four sub-images of every second pixel, put back over one another by the phase of their half-pixel shifts,
    have cross-spectra whose sum over the six pairs is ``3/8 (P(f) - (P(f + fx) + P(f + fy) + P(f + fx + fy)) / 3)`` for
    the power P of the whole frame, with fx, fy half its sampling frequency: what aliases is what is taken for noise.

    Parameters
    ----------
    half : (rows, columns // 2 + 1) array of complex
        Half-plane of a frame with even numbers of rows and columns.
    plan : Rings
        Of the sub-image: half the shape, twice the spacing.

    Returns
    -------
    (2, bins) array of float64
        Sums of the power of the frame, and of the bracket's second term, over the plane of the sub-image.
    """
    columns = 2 * plan.columns
    if half.shape[0] != 2 * plan.place.shape[0] or half.shape[1] != columns // 2 + 1:
        raise ValueError(f"half has shape {half.shape}; the rings are of a sub-image of {plan.place.shape[0]} rows")
    if on_host(half.real):
        return np.asarray(loops.split_sums(half, plan.place, plan.bins, columns))
    return split_sums_xp(half, plan)


def split_sums_xp(half: Any, plan: Rings) -> np.ndarray[Any, Any]:
    """`xp` form of `split_sums`."""
    xp = namespace(half)
    rows, columns = half.shape[0], 2 * plan.columns
    power = half.real.astype(np.float64) ** 2 + half.imag.astype(np.float64) ** 2
    sub_rows, sub_columns = plan.place.shape
    ky = xp.asarray(np.rint(np.fft.fftfreq(sub_rows) * sub_rows).astype(np.int64))
    x = xp.arange(sub_columns)
    other = columns // 2 - x
    same = power[ky % rows][:, x]
    floor = power[(ky + rows // 2) % rows][:, x]
    floor = floor + power[(-ky) % rows][:, other] + power[(rows // 2 - ky) % rows][:, other]
    weight = xp.where((x == 0) | (2 * x == columns // 2), 1.0, 2.0)
    return np.stack([_binned(part * weight, plan, xp) for part in (same, floor / 3)])


def _binned(values: Any, plan: Rings, xp: Any) -> np.ndarray[Any, Any]:
    found = xp.bincount(xp.asarray(plan.place.ravel().astype(np.int64)), values.ravel(), plan.bins + 1)[: plan.bins]
    return np.asarray(found.get() if xp is not np else found)


def independent_share(shape: tuple[int, ...], taper: float) -> float:
    """Return the share of the coefficients of a ring (or shell) that stay independent under a cosine taper.

    ``(mean w^2)^2 / mean w^4`` of a taper w along an axis, for all axes of the plane but the one across the ring: a
    ring is one step wide, and what ties its coefficients to other rings does not count. 1 without a taper.

    Examples
    --------
    >>> from stack3d.kernels import rings
    >>> round(rings.independent_share((512, 512), 1.0), 3)
    0.514
    """
    from stack3d.kernels.spectrum import window

    share = 1.0
    for n in shape:
        squares = window(n, taper).astype(np.float64) ** 2
        share *= float(squares.mean() ** 2 / (squares**2).mean())
    return float(share ** ((len(shape) - 1) / len(shape)))
