"""Whether a displacement found by phase holds when two frames are compared directly.

Where frames hold nothing finer than a small part of their side, most of their spectrum is what the edge of the window
leaks, which does not move: coherent, and wrong. Such a spectrum falls off as steeply as the window lets it, or few of its
coefficients agree; then the frames themselves, made small, are compared on the part that both show, cut anew for every
displacement that is looked at, so that nothing in the comparison stays with the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _phase_direct_loops as loops
from stack3d.kernels import _phase_overlap_loops as cuts
from stack3d.kernels._phase_arrays import to_host
from stack3d.kernels._phase_fit import REFUSED, SIGNIFICANCE, Detail, PairShift
from stack3d.kernels._phase_loops import peaks
from stack3d.kernels._phase_pair_loops import DISAGREE
from stack3d.kernels._phase_plan import Plan, Tables

_SIDE = 96  # longest side of the small frames
_SEARCHED = 48  # of those on which all displacements are looked at
_STEEP = 3e-5  # power of the outermost ring to that of the strongest, below which it may be what the window leaks
_FEW = 800.0  # coherent coefficients below which they are few
_LEAST = 16  # pixels of overlap along each axis
_SHARE = 0.4  # of the frame, at least, that both show
_SLACK = 0.03  # small pixels by which the two comparisons may differ
_DEVIATIONS = 3.0
_GAIN = 2.0  # what differs between frames must be this much less: tissue itself changes, and less where it is fine,
_NOISY, _WHITE = 0.9, 0.5  # unless it is but noise: correlation of the frames, independent share of what differs
_MARGIN = 1.0  # deviations by which a displacement must stand above the others
_CLEAR = 0.8  # correlation from which no other displacement is looked for
_ALIKE = 0.7  # correlation from which a pair is believed that the phase refused
_OTHER = 1.5  # small pixels between displacements that are not the same
UNCERTAIN = "the frames compared directly disagree with their phase, and fit several displacements"


class Small(NamedTuple):
    """A frame made small."""

    pixels: np.ndarray[Any, Any]
    size: int  # its pixels in pixels of the frame


@dataclass(frozen=True)
class Found:
    """A maximum of the direct correlation, in pixels of the frame."""

    d: np.ndarray[Any, Any]
    alike: float
    variance: np.ndarray[Any, Any]  # (y, x)
    bend: np.ndarray[Any, Any]  # of the logarithm of the correlation: (yy, yx, xx)
    white: float  # share of samples that are independent in what differs
    first: Small
    second: Small
    cut: tuple[int, int]  # displacement in small pixels at which they were cut

    @cached_property
    def standing(self) -> float:
        """Deviations above chance."""
        number = loops.structures(self.first.pixels, self.second.pixels, *self.cut)
        # each row and column gave up its mean and slope
        return math.atanh(self.alike) * math.sqrt(max(number - 4 * math.sqrt(number), 1.0))


def small_frame(binned: Any, plan: Plan) -> Small:
    """Return a frame made small, on the host."""
    values = to_host(binned)
    b = max(1, -(-max(values.shape) // _SIDE))
    pixels = cuts.shrink(np.ascontiguousarray(values), b)
    highest = np.abs(pixels).max(initial=0.0)
    # squares and their products must stay within float32
    return Small(pixels / highest if highest > 0 else pixels, b * plan.binning)


def is_doubtful(found: PairShift, first: Any, second: Any, tables: Tables) -> bool:
    """Whether a pair rests on few coefficients, or on some that may be leaked by the window."""
    if loops.coherent(found.extra.coherence, tables.counts, tables.ring) < _FEW:
        return True
    return _falls_steeply(first.power, tables) or _falls_steeply(second.power, tables)


def _falls_steeply(power: Any, tables: Tables) -> bool:
    return bool(loops.fall(to_host(power), tables.counts, tables.axis, tables.ring, tables.rings) < _STEEP)


def checked(found: PairShift, first: Any, second: Any, tables: Tables) -> PairShift:
    """Return a displacement, the one of a direct comparison in its place, or a refusal where neither can be trusted.

    Where what differs between the frames put in place is but noise, the direct comparison has explained all there is.
    Elsewhere, what stays with the frame draws both comparisons towards no displacement: of two that differ, the longer
    one has seen the content move.
    """
    if first.small is None or second.small is None or not is_doubtful(found, first, second, tables):
        return found
    torn = found.extra.refused == REFUSED[DISAGREE]
    leaked = _falls_steeply(first.power, tables) and _falls_steeply(second.power, tables)
    if torn and not leaked:
        return found
    if min(first.small.pixels.shape) < _LEAST:
        return found
    size = first.small.size
    d = np.array([found.dy, found.dx])
    start = _climbed(first.small, second.small, d / size)
    if start is not None and start.alike > _CLEAR and found.extra.weight > 0 and _is_the_same(start, found, size):
        return found
    maxima = _maxima(first.small, second.small, start)
    if not maxima:
        return found
    best = max(maxima, key=lambda one: one.standing)
    others = [one for one in maxima if _apart(one.d, best.d) > _OTHER * size]
    clear = best.standing - max((one.standing for one in others), default=0.0) > _MARGIN
    stands = clear and best.standing > SIGNIFICANCE
    longer = float(np.hypot(*best.d)) > float(np.hypot(*d))
    if found.extra.weight == 0:
        return _direct(best, found) if stands and best.alike > _ALIKE and (longer or not torn) else found
    if leaked and not stands and (start is None or _apart(start.d, d) > _OTHER * size or start.standing < SIGNIFICANCE):
        return _refused(found)
    if _is_the_same(best, found, size):
        return found
    there = _alike_at(best, d)
    if start is not None and _apart(start.d, d) <= _OTHER * size:
        there = max(there, _alike_at(start, d))
    noise_alone = best.alike > _NOISY and best.white > _WHITE
    if not noise_alone and (not longer or 1 - there**2 < _GAIN * (1 - best.alike**2)):
        return found
    return _direct(best, found) if stands else _refused(found)


def _is_the_same(direct: Found, found: PairShift, size: int) -> bool:
    variance = direct.variance + np.array([found.extra.error_y, found.extra.error_x]) ** 2
    apart = np.abs(direct.d - np.array([found.dy, found.dx]))
    return bool((apart <= _DEVIATIONS * np.sqrt(variance) + _SLACK * size).all())


def _alike_at(direct: Found, d: np.ndarray[Any, Any]) -> float:
    """Correlation at a displacement near a maximum."""
    gap, (yy, yx, xx) = d - direct.d, direct.bend
    return direct.alike * math.exp((yy * gap[0] ** 2 + 2 * yx * gap[0] * gap[1] + xx * gap[1] ** 2) / 2)


def _apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.hypot(*(one - other)))


def _climbed(first: Small, second: Small, start: np.ndarray[Any, Any]) -> Found | None:
    """Maximum of the direct correlation next to a displacement in small pixels."""
    numbers = loops.climbed(first.pixels, second.pixels, float(start[0]), float(start[1]), _LEAST)
    if not numbers[2] > 0:
        return None
    variance, bend = numbers[3:5] * first.size**2, numbers[5:8] / first.size**2
    cut = (int(numbers[9]), int(numbers[10]))
    return Found(numbers[:2] * first.size, float(numbers[2]), variance, bend, float(numbers[8]), first, second, cut)


def _maxima(first: Small, second: Small, start: Found | None) -> list[Found]:
    """Maxima of the direct correlation: one that is known, and the highest of all."""
    found = [] if start is None else [start]
    for place in _highest(first.pixels, second.pixels):
        one = _climbed(first, second, place)
        if one is not None and all(_apart(one.d, other.d) > _OTHER * first.size for other in found):
            found.append(one)
    return found


def _highest(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Displacements at the highest peaks of the correlation of frames, divided by their spread on the overlap."""
    b = max(1, -(-max(first.shape) // _SEARCHED))
    one, two = (cuts.shrink(frame, b) for frame in (first, second))
    one -= one.mean(dtype=np.float64)
    two -= two.mean(dtype=np.float64)
    shape = [scipy.fft.next_fast_len(2 * side, real=True) for side in one.shape]
    product = np.conj(scipy.fft.rfft2(one, shape, workers=1)) * scipy.fft.rfft2(two, shape, workers=1)
    correlation = scipy.fft.irfft2(product, shape, workers=1)
    found = peaks(loops.normalised(correlation, one, two, _SHARE), 4)
    found = found[found[:, 2] > 0.1]
    place: np.ndarray[Any, Any] = np.where(found[:, :2] > np.array(shape) / 2, found[:, :2] - shape, found[:, :2]) * b
    return place


def _direct(best: Found, found: PairShift) -> PairShift:
    error = np.sqrt(best.variance + 1e-4)
    detail = found.extra._replace(
        weight=float(2 / (error**2).sum()),
        error_y=float(error[0]),
        error_x=float(error[1]),
        significance=best.standing,
        disagreement=0.0,
        refused="",
    )
    return PairShift(float(best.d[0]), float(best.d[1]), best.alike, detail)


def _refused(found: PairShift) -> PairShift:
    detail: Detail = found.extra._replace(weight=0.0, error_y=np.inf, error_x=np.inf, refused=UNCERTAIN)
    return found._replace(extra=detail)
