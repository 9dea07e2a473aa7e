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
from stack3d.kernels import _phase_search_loops as search
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


@dataclass(frozen=True)
class Small:
    """A frame made small."""

    pixels: np.ndarray[Any, Any]  # within -1 ... 1
    size: int  # its pixels in pixels of the frame

    def negative(self) -> Small:
        """Return the frame with the opposite contrast."""
        return Small(-self.pixels, self.size)

    @cached_property
    def searched(self) -> Searched:
        """What a search of all displacements needs of the frame, made once for all of its pairs."""
        b = max(1, -(-max(self.pixels.shape) // _SEARCHED))
        pixels = cuts.shrink(self.pixels, b)
        pixels -= pixels.mean(dtype=np.float64)
        # so large that no displacement that counts meets another one
        n, m = (scipy.fft.next_fast_len(math.ceil((2 - _SHARE) * side) + 1, real=True) for side in pixels.shape)
        transform = scipy.fft.rfft2(pixels, (n, m), workers=1)
        return Searched(transform, search.spread(pixels, n, m, _SHARE), b)


class Searched(NamedTuple):
    """A frame made smaller still, transformed."""

    transform: np.ndarray[Any, Any]
    spread: np.ndarray[Any, Any]
    size: int  # pixels of the small frame to one


class Found(NamedTuple):
    """A maximum of the direct correlation, in pixels of the frame."""

    d: tuple[float, float]
    alike: float
    variance: tuple[float, float]  # (y, x)
    bend: tuple[float, float, float]  # of the logarithm of the correlation: (yy, yx, xx)
    white: float  # share of samples that are independent in what differs
    number: float  # independent samples

    @property
    def standing(self) -> float:
        """Deviations above chance."""
        # each row and column gave up its mean and slope
        return math.atanh(self.alike) * math.sqrt(max(self.number - 4 * math.sqrt(self.number), 1.0))


def small_frame(binned: Any, plan: Plan) -> Small:
    """Return a frame made small, on the host."""
    values = to_host(binned)
    b = max(1, -(-max(values.shape) // _SIDE))
    pixels = cuts.shrink(np.ascontiguousarray(values), b)
    highest = np.abs(pixels).max(initial=0.0)
    return Small(pixels / highest if highest > 0 else pixels, b * plan.binning)


def is_doubtful(found: PairShift, first: Any, second: Any, tables: Tables) -> bool:
    """Whether a pair rests on few coefficients, or on some that may be leaked by the window."""
    if loops.coherent(found.extra.coherence, tables.counts, tables.ring) < _FEW:
        return True
    return _falls_steeply(first.power, tables) or _falls_steeply(second.power, tables)


def _falls_steeply(power: Any, tables: Tables) -> bool:
    return bool(loops.fall(to_host(power), tables.counts, tables.axis, tables.ring, tables.rings) < _STEEP)


def _both_fall_steeply(first: Any, second: Any, tables: Tables) -> bool:
    return _falls_steeply(first.power, tables) and _falls_steeply(second.power, tables)


def checked(found: PairShift, first: Any, second: Any, tables: Tables) -> PairShift:
    """Return a displacement, the one of a direct comparison in its place, or a refusal where neither can be trusted.

    Where what differs between the frames put in place is but noise, the direct comparison has explained all there is.
    Elsewhere, what stays with the frame draws both comparisons towards no displacement: of two that differ, the longer
    one has seen the content move.
    """
    if first.small is None or second.small is None or not is_doubtful(found, first, second, tables):
        return found
    torn = found.extra.refused == REFUSED[DISAGREE]
    if torn and not _both_fall_steeply(first, second, tables):
        return found
    if min(first.small.pixels.shape) < _LEAST:
        return found
    size = first.small.size
    d = (float(found.dy), float(found.dx))
    seen = np.zeros([2 * side for side in first.small.pixels.shape], np.int8)
    start = _climbed(first.small, second.small, (d[0] / size, d[1] / size), seen, 1)
    if start is not None and start.alike > _CLEAR and found.extra.weight > 0 and _is_the_same(start, found, size):
        return found
    maxima = _maxima(first.small, second.small, start, seen)
    if not maxima:
        return found
    best = max(maxima, key=lambda one: one.standing)
    others = [one for one in maxima if _apart(one.d, best.d) > _OTHER * size]
    clear = best.standing - max((one.standing for one in others), default=0.0) > _MARGIN
    stands = clear and best.standing > SIGNIFICANCE
    longer = math.hypot(*best.d) > math.hypot(*d)
    if found.extra.weight == 0:
        return _direct(best, found) if stands and best.alike > _ALIKE and (longer or not torn) else found
    kept = start is not None and _apart(start.d, d) <= _OTHER * size and start.standing >= SIGNIFICANCE
    if not stands and not kept and _both_fall_steeply(first, second, tables):
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
    for axis, (place, error) in enumerate(((found.dy, found.extra.error_y), (found.dx, found.extra.error_x))):
        variance = direct.variance[axis] + error**2
        if not abs(direct.d[axis] - place) <= _DEVIATIONS * math.sqrt(variance) + _SLACK * size:
            return False
    return True


def _alike_at(direct: Found, d: tuple[float, float]) -> float:
    """Correlation at a displacement near a maximum."""
    (yy, yx, xx), y, x = direct.bend, d[0] - direct.d[0], d[1] - direct.d[1]
    return direct.alike * math.exp((yy * y**2 + 2 * yx * y * x + xx * x**2) / 2)


def _apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    return math.hypot(one[0] - other[0], one[1] - other[1])


def _climbed(
    first: Small, second: Small, start: tuple[float, float], seen: np.ndarray[Any, Any], climb: int
) -> Found | None:
    """Maximum of the direct correlation next to a displacement in small pixels, unless the way there is a known one."""
    size, squared = first.size, first.size**2
    y, x, alike, *rest = loops.climbed(first.pixels, second.pixels, *start, _LEAST, seen, climb).tolist()
    if not alike > 0:
        return None
    of_y, of_x, yy, yx, xx, white, number = rest
    variance, bend = (of_y * squared, of_x * squared), (yy / squared, yx / squared, xx / squared)
    return Found((y * size, x * size), alike, variance, bend, white, number)


def _maxima(first: Small, second: Small, start: Found | None, seen: np.ndarray[Any, Any]) -> list[Found]:
    """Maxima of the direct correlation: one that is known, and the highest of all."""
    found = [] if start is None else [start]
    for climb, place in enumerate(_highest(first.searched, second.searched), 2):
        one = _climbed(first, second, place, seen, climb)
        if one is not None and all(_apart(one.d, other.d) > _OTHER * first.size for other in found):
            found.append(one)
    return found


def _highest(first: Searched, second: Searched) -> list[tuple[float, float]]:
    """Displacements at the highest peaks of the correlation of frames, divided by their spread on the overlap."""
    n, m = first.spread.shape[1:]
    correlation = scipy.fft.irfft2(np.conj(first.transform) * second.transform, (n, m), workers=1, overwrite_x=True)
    search.normalised(correlation, first.spread, second.spread)
    highest = [(y, x) for y, x, height in peaks(correlation, 4).tolist() if height > 0.1]
    b = first.size
    return [(b * (y - n if y > n / 2 else y), b * (x - m if x > m / 2 else x)) for y, x in highest]


def _direct(best: Found, found: PairShift) -> PairShift:
    of_y, of_x = (variance + 1e-4 for variance in best.variance)
    detail = found.extra._replace(
        weight=2 / (of_y + of_x),
        error_y=math.sqrt(of_y),
        error_x=math.sqrt(of_x),
        significance=best.standing,
        disagreement=0.0,
        refused="",
    )
    return PairShift(*best.d, best.alike, detail)


def _refused(found: PairShift) -> PairShift:
    detail: Detail = found.extra._replace(weight=0.0, error_y=np.inf, error_x=np.inf, refused=UNCERTAIN)
    return found._replace(extra=detail)
