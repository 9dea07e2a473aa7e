"""Stripes by a mask in Fourier space: what is measured of them, a wedge, a band, or what stands out there.

The spectrum of stripes lies on a line through the origin at right angles to them. A frame is continued beyond its
edges, periodically and without a jump, so that edges do not spread along that line; the origin is never masked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _shear, _slow_rows, _stripe_power
from stack3d.kernels._fill import ROUNDS, each, known, through_missing
from stack3d.kernels._namespace import namespace

__all__ = ["Plan", "mask", "plan", "stripes"]

KINDS = ("measured", "wedge", "band", "auto")
_FIXED = {  # defaults of what "measured" does not take
    "half_angle": None,
    "half_width": 0.005,
    "radii": (0.01, 1.0),
    "softness": 0.3,
    "threshold": 1.6,
    "averaging": 1.0,
    "rescale": False,
}
_MARGIN = 1 / 8  # of a side, by which a frame is continued
_REFERENCE = 15.0  # degrees from the wedge at which the reference of "auto" begins


@dataclass(frozen=True)
class Plan:
    """How stripes are masked in the frames of one shape; small, hashable and picklable. See :func:`plan`."""

    shape: tuple[int, int]
    angle: float
    kind: str
    half_angle: float
    half_width: float
    radii: tuple[float, float]
    softness: float
    threshold: float
    averaging: float
    rescale: bool
    strength: float
    difference: bool = False


def plan(
    shape: tuple[int, ...],
    *,
    angle: float = 0.0,
    kind: str = "measured",
    half_angle: float | None = None,
    half_width: float = 0.005,
    radii: tuple[float, float] = (0.01, 1.0),
    softness: float = 0.3,
    threshold: float = 1.6,
    averaging: float = 1.0,
    rescale: bool = False,
    strength: float = 1.0,
    difference: bool = False,
) -> Plan:
    """Say which part of the spectrum is taken for stripes.

    Parameters
    ----------
    shape : tuple of int
        Shape (y, x) of a frame.
    angle : float, default 0
        Direction of the stripes in degrees: 0 along y, 90 along x, counter-clockwise on the screen.
    kind : {"measured", "wedge", "band", "auto"}, default "measured"
        "measured": the gain of Wiener's filter, from the power of stripes in the frame and their length. "wedge":
        directions within `half_angle`. "band": within `half_width` of the line of the stripes. "auto": what, in the
        wedge, exceeds the mean of other directions at the same radius `threshold` times.
    half_angle : float, optional
        Degrees; by default 1 for "wedge" and 5 for "auto".
    half_width : float, default 0.005
        Of the band, as a fraction of the Nyquist frequency.
    radii : (float, float)
        Lowest and highest frequency, as fractions of the Nyquist frequency. What is below the lowest, the mean in
        particular, is kept.
    softness : float, default 0.3
        Width of the smooth edges relative to `half_angle`, `half_width` and the lowest radius.
    threshold : float, default 1.6
        Of "auto".
    averaging : float, default 1
        Standard deviation, in coefficients, of the mean over neighbours that is held against the threshold.
    rescale : bool, default False
        Of "auto": bring the coefficients down to the mean of other directions instead of removing them.
    strength : float, default 1
        Below 1 so much of the stripes is taken; above 1 more of what only looks like stripes (with "measured", "auto").
    difference : bool, default False
        The frames are differences of slices: with little structure that could be taken for stripes.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> from stack3d.kernels import wedge
    >>> wedge.plan((512, 512), kind="wedge").half_angle
    1.0
    """
    shape, angle = _shear.checked_shape(shape), _shear.checked_angle(angle)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} must be one of {', '.join(map(repr, KINDS))}")
    asked = half_angle
    if half_angle is None:
        half_angle = 5.0 if kind == "auto" else 1.0
    if not 0 < half_angle < 45:
        raise ValueError(f"half_angle={half_angle!r} must be between 0 and 45 degrees")
    _shear.check_strength(strength, kind in ("measured", "auto"))
    if not 0 < half_width < 1:
        raise ValueError(f"half_width={half_width!r} must be a fraction of the Nyquist frequency between 0 and 1")
    low, high = radii
    if not 0 < low < high <= math.sqrt(2):
        raise ValueError(f"radii={radii!r} must be (low, high) with 0 < low < high <= 1.41: 0 would remove the mean")
    if not 0 <= softness <= 1:
        raise ValueError(f"softness={softness!r} must be between 0 and 1")
    if not 1 <= threshold < math.inf:
        raise ValueError(f"threshold={threshold!r} must be at least 1")
    if not 0 <= averaging < math.inf:
        raise ValueError(f"averaging={averaging!r} must not be negative")
    if kind == "measured":
        given = {"half_width": half_width, "radii": radii, "softness": softness, "threshold": threshold}
        given |= {"half_angle": asked, "averaging": averaging, "rescale": rescale}
        for name, value in given.items():
            if value != _FIXED[name]:
                raise ValueError(f"{name}={value!r} goes with kind='auto', 'wedge' or 'band', not with 'measured'")
    numbers = (float(half_angle), float(half_width), (float(low), float(high)), float(softness))
    return Plan(
        shape, angle, kind, *numbers, float(threshold), float(averaging), bool(rescale), float(strength), difference
    )


@each
def stripes(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return the stripe field of a frame.

    Parameters
    ----------
    frame : (y, x) or (n, y, x) float32 array
        Numpy or cupy; NaN is missing.
    plan : Plan
        From :func:`plan`, for the shape of the frame.
    weight : (y, x) array, optional
        0 (missing) to 1.

    Returns
    -------
    (y, x) float32 array
        What is to be subtracted; its mean is 0.

    References
    ----------
    The masks are those of Shtengel's destreaking (FIB-SEM, Janelia), with smooth edges and the mean kept.

    Examples
    --------
    >>> from stack3d.kernels import wedge
    >>> lines = np.tile(np.float32([0, 0, 8, 0] * 16), (64, 1))
    >>> found = wedge.stripes(lines + 100, wedge.plan((64, 64), kind="wedge"))
    >>> float(np.std(lines - found) / np.std(lines)) < 0.1
    True
    """
    xp = namespace(frame)
    frame, weight, level = known(frame, weight)
    fft: Any = scipy.fft if xp is np else xp.fft

    def estimate(full: Any) -> Any:
        wide = _continued(full - np.float32(level))
        spectrum = fft.rfft2(wide)
        spectrum *= 1 - mask(spectrum, wide.shape, plan)
        return fft.irfft2(spectrum, s=wide.shape)[: full.shape[0], : full.shape[1]].astype(np.float32)

    measured = plan.kind == "measured"
    field = _measured(frame, weight, level, plan) if measured else through_missing(estimate, frame, weight)
    field = field - np.float32(field.mean(dtype=np.float64))
    return field * np.float32(plan.strength) if plan.strength < 1 else field


def _measured(frame: Any, weight: Any, level: float, plan: Plan) -> Any:
    """Return what Wiener's filter leaves of the slow cosines along the stripes, laid upright."""
    xp, shear = namespace(frame), _shear.shear_of(plan.shape, plan.angle)
    upright = _shear.to_upright(frame - np.float32(level), shear)
    # Beyond a sheared frame lie no holes that stripes cross: filling once is enough.
    rounds = 0 if weight is None else ROUNDS
    weight = _shear.inside(shear, upright, weight)
    if weight is not None:
        upright = xp.where(weight > 0, upright, np.float32(0))
    rows, columns = upright.shape
    slow = _stripe_power.slow_rows(upright) if weight is None else None
    options: dict[str, Any] = {"strength": max(plan.strength, 1.0), "difference": plan.difference, "slow": slow}
    found = _stripe_power.measure(upright, weight, **options)
    if not found.ratio.any():
        return xp.zeros(frame.shape, np.float32)
    modes = min(_stripe_power.MODES, rows)
    along = np.pi * np.arange(modes)[:, None] / rows
    gain = found.gain(along, np.pi * np.arange(columns) / columns).astype(np.float32)
    gain = xp.asarray(gain[: int(np.flatnonzero(gain.any(axis=1))[-1]) + 1])

    def estimate(full: Any) -> Any:
        seen = slow[: len(gain)] if full is upright and slow is not None else _slow_rows.project(full, len(gain))
        return _slow_rows.expand(_stripe_power.across(seen, gain), rows)

    return _shear.from_upright(through_missing(estimate, upright, weight, rounds), shear)


def mask(spectrum: Any, shape: tuple[int, int], plan: Plan) -> Any:
    """Return what each coefficient of a real transform is multiplied with, (rows, columns // 2 + 1) float32 of 0 to 1.

    Parameters
    ----------
    spectrum : array
        Of the frame; only "auto" looks at its values.
    shape : tuple of int
        Of the frame that was transformed.
    plan : Plan
        Of any kind but "measured", which takes cosines instead.
    """
    if plan.kind == "measured":
        raise ValueError("kind='measured' has no mask of a real transform: it takes cosines along the stripes")
    xp = namespace(spectrum)
    removed, ring, apart = _geometry(plan, shape)
    removed = xp.asarray(removed)
    if plan.kind != "auto":
        return np.float32(1) - removed
    height = xp.abs(spectrum)
    ring, apart = xp.asarray(ring), xp.asarray(apart)
    count = int(ring.max()) + 1
    number = xp.bincount(ring.ravel(), apart.ravel(), count)
    total = xp.bincount(ring.ravel(), (height * apart).ravel(), count)
    reference = total / xp.maximum(number, 1)
    # Rings without a coefficient in other directions say nothing: there all is kept.
    ratio = xp.where(reference[ring] > 0, height / xp.maximum(reference[ring], 1e-30), 1).astype(np.float32)
    ratio = _averaged(ratio, shape, plan.averaging)
    above = (ratio > plan.threshold / max(plan.strength, 1.0)).astype(np.float32)
    excess = above * ((1 - 1 / xp.maximum(ratio, np.float32(1))) if plan.rescale else np.float32(1))
    if plan.softness > 0:
        excess = _smooth_mask(excess)
    return (np.float32(1) - removed * excess).astype(np.float32)


@lru_cache(maxsize=8)
def _geometry(plan: Plan, shape: tuple[int, int]) -> tuple[np.ndarray[Any, Any], ...]:
    """Return where the mask acts (0 to 1), the ring of each coefficient, and the weight in the reference."""
    ky, kx = 2 * np.fft.fftfreq(shape[0])[:, None], 2 * np.fft.rfftfreq(shape[1])[None, :]
    turn = math.radians(plan.angle)
    along = ky * math.cos(turn) + kx * math.sin(turn)  # variation along the stripes
    across = kx * math.cos(turn) - ky * math.sin(turn)
    radius = np.hypot(along, across)
    off = np.degrees(np.arctan2(np.abs(along), np.abs(across)))
    if plan.kind == "band":
        near = _edge(np.abs(along), plan.half_width, plan.softness * plan.half_width)
        reach = np.abs(across)
    else:
        # Near the origin a wedge is narrower than a coefficient: at least the line itself is taken.
        step = 1 / max(shape) / np.maximum(radius, 1e-9)
        room = np.maximum(plan.half_angle, np.degrees(np.arctan(np.minimum(step, 1e3))) * (off < 45))
        near = _edge(off, room, plan.softness * plan.half_angle)
        reach = radius
    low, high = plan.radii
    beyond = 1 - _edge(reach, low * (1 - plan.softness / 2), plan.softness * low)
    removed = near * beyond * (reach <= high)
    removed[0, 0] = 0
    ring = np.rint(radius * (max(shape) // 2)).astype(np.int64)
    twice = np.ones(shape[1] // 2 + 1)
    twice[1 : (shape[1] + 1) // 2] = 2
    apart = ((off > plan.half_angle + _REFERENCE) & (off < 88)) * twice
    out = removed.astype(np.float32), ring, apart.astype(np.float32)
    for part in out:
        part.flags.writeable = False
    return out


def _edge(values: Any, limit: Any, width: Any) -> Any:
    """1 up to the limit, and down to 0 over a width beyond it, as a cosine."""
    if not np.any(width):
        return (values <= limit).astype(np.float64)
    place = np.clip((values - limit) / width, 0, 1)
    return 0.5 + 0.5 * np.cos(np.pi * place)


def _whole(half: Any, columns: int) -> Any:
    """Values that are the same at opposite frequencies, for all columns."""
    xp = namespace(half)
    last = (columns + 1) // 2
    other = xp.roll(half[::-1, 1:last][:, ::-1], 1, axis=0)
    return xp.concatenate([half, other], axis=1)


def _averaged(ratio: Any, shape: tuple[int, int], sigma: float) -> Any:
    """Gaussian mean over neighbouring coefficients, as a product in the other space."""
    xp = namespace(ratio)
    fft: Any = scipy.fft if xp is np else xp.fft
    full = _whole(ratio, shape[1])
    y, x = (xp.asarray(f) for f in (np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]))
    gain = xp.exp(-2 * (np.pi * sigma) ** 2 * (y * y + x * x)).astype(np.float32)
    return fft.irfft2(fft.rfft2(full) * gain, s=shape)[:, : shape[1] // 2 + 1].astype(np.float32)


def _smooth_mask(values: Any) -> Any:
    """Binomial mean over 3 x 3 coefficients."""
    xp = namespace(values)
    quarter, half = np.float32(0.25), np.float32(0.5)
    values = quarter * (xp.roll(values, 1, 0) + xp.roll(values, -1, 0)) + half * values
    left = xp.concatenate([values[:, :1], values[:, :-1]], axis=1)
    right = xp.concatenate([values[:, 1:], values[:, -1:]], axis=1)
    return quarter * (left + right) + half * values


def _continued(frame: Any) -> Any:
    """Continue a frame along y and x, by mirror images of both ends that fade into each other, to fast sizes."""
    for _ in range(2):
        frame = _continued_down(frame).T
    return frame


def _continued_down(frame: Any) -> Any:
    xp, rows = namespace(frame), frame.shape[0]
    size = scipy.fft.next_fast_len(rows + max(2, round(_MARGIN * rows)), real=True)
    more = size - rows
    places = np.arange(more)
    period = 2 * rows
    below, above = (rows + places) % period, (places - more) % period
    below, above = (np.where(part >= rows, period - 1 - part, part) for part in (below, above))
    fade = xp.asarray((0.5 - 0.5 * np.cos(np.pi * (places + 1) / (more + 1))).astype(np.float32)[:, None])
    margin = (1 - fade) * frame[xp.asarray(below)] + fade * frame[xp.asarray(above)]
    return xp.concatenate([frame, margin])
