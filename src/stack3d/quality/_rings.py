"""Fourier ring correlation of two prepared frames, or of one with itself split: what all its measures share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.grid import spacing_of, units_of

_SMALLEST = 8  # pixels along an axis
# Of the coefficients of a ring, what they are worth where a frame is split: the variance of the correlation of noise
# is 1 / n between two frames and 8 / (3 n) for the six pairs of four sub-images.
_SPLIT_WORTH = 3 / 8


@dataclass(frozen=True)
class RingPlan:
    """How frames are cut, tapered and summed over rings; picklable.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns that are transformed: even, of fast transforms, the middle of the frame.
    spacing : (float, float)
        Of the pixels along y and x, in one unit.
    split : bool
        Within one frame.
    smooth : int
        Width in rings of the Hann window that numerator and denominator are smoothed with.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    sectors: int
    taper: float
    smooth: int
    split: bool

    @property
    def enough(self) -> bool:
        """Whether the frames are large enough."""
        return min(self.shape) >= _SMALLEST * (2 if self.split else 1)

    def rings(self) -> Any:
        """Return the rings of the spectrum (of the sub-image, where it is split)."""
        (rows, columns), (dy, dx) = self.shape, self.spacing
        if self.split:
            rows, columns, dy, dx = rows // 2, columns // 2, 2 * dy, 2 * dx
        return kernels.rings.rings((rows, columns), (dy, dx), self.sectors)

    def number(self) -> np.ndarray:
        """Return how many independent coefficients each ring has, over the whole plane; shape (sectors, rings)."""
        worth = kernels.rings.independent_share(self.shape, self.taper) * (_SPLIT_WORTH if self.split else 1.0)
        return _by_sector(self.rings().number, self.sectors) * worth


def ring_plan(
    da: xr.DataArray, *, sectors: int = 1, taper: float = 0.25, smooth: int = 1, split: bool = False
) -> RingPlan:
    """Check parameters and return the plan for the frames of `da`.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.
    """
    _check_whole("sectors", sectors, 1)
    _check_whole("smooth", smooth, 1)
    if smooth % 2 == 0:
        raise ValueError(f"smooth={smooth!r} must be odd: the number of rings of the window")
    if isinstance(taper, bool) or not 0 <= taper <= 1:
        raise ValueError(f"taper={taper!r} must be between 0 (none) and 1 (the Hann window)")
    shape = _even_fast(da.sizes["y"]), _even_fast(da.sizes["x"])
    spacing = spacing_of(da, "y"), spacing_of(da, "x")
    return RingPlan(shape, spacing, int(sectors), float(taper), int(smooth), split)


def check_size(plan: RingPlan, da: xr.DataArray) -> None:
    """Raise unless the frames are large enough for rings."""
    if not plan.enough:
        least = _SMALLEST * (2 if plan.split else 1)
        raise ValueError(
            f"the frames, or their box, have {da.sizes['y']} x {da.sizes['x']} pixels; rings need at least {least} along each axis"
        )


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")


def check_threshold(threshold: Any) -> None:
    """Raise unless `threshold` is a criterion or a correlation."""
    allowed = kernels.criteria.CRITERIA
    if isinstance(threshold, str):
        if threshold in allowed:
            return
    elif not isinstance(threshold, bool) and isinstance(threshold, int | float | np.number) and 0 < threshold < 1:
        return
    raise ValueError(f"threshold={threshold!r} must be one of {', '.join(map(repr, allowed))}, or between 0 and 1")


def _even_fast(size: int) -> int:
    """Return the largest even length up to `size` whose transform is fast; 0 below 2."""
    import scipy.fft

    length = size - size % 2
    while length > 0 and scipy.fft.next_fast_len(length, real=True) != length:
        length -= 2
    return length


def frequency_unit(da: xr.DataArray) -> str:
    """Return the unit of frequencies in the plane, ``"1"`` without calibration: cycles per pixel."""
    unit = units_of(da, "x")
    return "1" if unit == "1" else f"1/{unit}"


class RingFrame(NamedTuple):
    """What the curves of a frame need of it.

    Attributes
    ----------
    half : array or None
        Half-plane of its spectrum; None where it is split, or blank.
    power : array
        Sums over rings of its power; where it is split, these and those of the noise. NaN where it is blank.
    measured : float
        Share of measured pixels.
    """

    half: Any
    power: np.ndarray
    measured: float


def prepare(frame: Any, plan: RingPlan) -> RingFrame:
    """Transform a frame and sum its power over rings."""
    top, left = ((size - used) // 2 for size, used in zip(frame.shape, plan.shape, strict=True))
    part = frame[top : top + plan.shape[0], left : left + plan.shape[1]]
    found = kernels.spectrum.spectrum(part, taper=plan.taper)
    share = 1.0 if found.measured is None else float((abs(part) < np.inf).mean())
    sums = kernels.rings.split_sums if plan.split else kernels.rings.power_sums
    power = sums(found.half, plan.rings())
    # Of a frame without contrast, the rounding of its mean would be left to correlate.
    floor = 1e-20 * found.mean**2 * found.squares * plan.shape[0] * plan.shape[1]
    if not power.sum() > floor:
        return RingFrame(None, np.full_like(power, np.nan), share)
    return RingFrame(None if plan.split else found.half, power, share)


def pair_curve(a: RingFrame, b: RingFrame, plan: RingPlan) -> np.ndarray:
    """Return the correlation of two frames in each ring; shape (sectors, rings)."""
    if a.half is None or b.half is None:
        return _by_sector(np.full(a.power.shape, np.nan), plan.sectors)
    sums = np.stack([kernels.rings.cross_sums(a.half, b.half, plan.rings()), a.power, b.power])
    cross, first, second = kernels.criteria.smoothed(_by_sector(sums, plan.sectors), plan.smooth)
    return _ratio(cross, np.sqrt(first * second))


def split_curve(a: RingFrame, plan: RingPlan) -> np.ndarray:
    """Return the correlation that two whole frames like this one would have; shape (sectors, rings)."""
    power, floor = kernels.criteria.smoothed(_by_sector(a.power, plan.sectors), plan.smooth)
    return _ratio(power - floor, power)


def cut_offs(curve: np.ndarray, measured: float, plan: RingPlan, threshold: str | float) -> np.ndarray:
    """Return the frequency at which the curve of each sector falls below the threshold; shape (sectors,)."""
    number = plan.number() * measured
    limit = kernels.criteria.threshold(threshold, number)
    frequency = plan.rings().frequency
    each = zip(curve, limit, number, strict=True)
    return np.array([kernels.criteria.crossing(c, line, frequency, n) for c, line, n in each])


def _by_sector(values: Any, sectors: int) -> np.ndarray:
    array = np.asarray(values)
    return np.swapaxes(array.reshape(*array.shape[:-1], -1, sectors), -1, -2)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio
