"""Stripes as the variational stationary noise remover finds them.

Stripes ``w = psi * x`` are a filter convolved with weights: those that minimise ``|grad(u - w)|_1 + |x|^2 / 2``, the
image `u` without them having sparse gradients [1]_. The problem is convex; it is solved by over-relaxed
Douglas-Rachford splitting (alternating directions) in `w` alone: each iteration projects the gradients of ``u - w`` on
a disc, in one pass over the frame, and filters their divergence. A filter much longer than wide lets through only few
frequencies along the stripe; the stripes are then kept as the coefficients of these modes, and no transform of the
frame is needed.

References
----------
.. [1] J. Fehrenbach, P. Weiss and C. Lorenzo, "Variational algorithms to remove stationary noise: applications to
   microscopy imaging", IEEE Trans. Image Process. 21, 4420 (2012). doi:10.1109/TIP.2012.2206037
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _frame_loops as loops
from stack3d.kernels import _shear, _stripe_level, _stripe_power, _vsnr_band, _vsnr_full
from stack3d.kernels import _vsnr_plan as plans
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._vsnr_plan import Filter, Plan

__all__ = ["Filter", "Plan", "found", "plan", "stripes", "stripes_xp"]

ITERATIONS, TOLERANCE = 15, 5e-3  # as measured: the page on destriping has the table
SPLIT_ITERATIONS = 15
HOLED_ITERATIONS, HOLED_TOLERANCE = 120, 5e-5  # where pixels are missing, stripes are held by little, and arrive late
_NEAR = 16.0  # standard deviations that a mean may be from 0 before rounding sees it
# Unit vectors of gradients follow these by 0.63 of what they are over their scale, where they are of a normal distribution;
_STRENGTH = 1.6
# and what is left of them has this much of the variance of gradients, evenly over all frequencies.
_UNRULY = 0.27


def plan(
    shape: tuple[int, int],
    *,
    angle: float = 0.0,
    strength: float = 1.0,
    sigma: tuple[float, float] | None = None,
    filters: Sequence[Filter] | None = None,
    boundary: str = "reflect",
    max_iter: int | None = None,
    tol: float | None = None,
    difference: bool = False,
) -> Plan:
    """Return what `stripes` needs for frames of one shape.

    Parameters
    ----------
    shape : (int, int)
    angle : float
        Of the stripes: degrees counter-clockwise from the y axis, as seen on the screen.
    strength : float
        Relative to the stripes that the frame itself shows.
    sigma : (across, along), optional
        Standard deviations of a Gaussian filter, in pixels. By default any width and length, as measured.
    filters : sequence of Filter, optional
        Instead of `angle` and `sigma`.
    boundary : {"reflect", "periodic"}
        ``"reflect"``: upright stripes reflect at the edges, others end there.
    max_iter : int, optional
    tol : float, optional
        Stop when the largest change is this small, relative to the largest value. By default all iterations are
        done.
    difference : bool
        The frames are differences of slices: with little structure that could be taken for stripes.
    """
    shape = (int(shape[0]), int(shape[1]))
    if filters is None:
        sigma = (0.0, 0.0) if sigma is None else sigma
        filters = [Filter("gabor", (float(sigma[0]), float(sigma[1])), float(angle))]
    if not filters:
        raise ValueError("filters=[] must name at least one kind of stripe")
    if boundary not in ("reflect", "periodic"):
        raise ValueError(f"boundary={boundary!r} is not allowed; it must be 'reflect' or 'periodic'")
    if max_iter is not None and int(max_iter) < 1:
        raise ValueError(f"max_iter={max_iter!r} must be at least 1")
    if tol is not None and not 0 <= tol < 1:
        raise ValueError(f"tol={tol!r} must be at least 0 and below 1")
    return Plan(
        shape,
        tuple(filters),
        float(angle),
        float(strength),
        boundary,
        None if max_iter is None else int(max_iter),
        tol,
        difference,
    )


def filter_from(item: Any) -> Filter:
    """Return the filter that a mapping describes: ``kind`` and the fields of `Filter`.

    Raises
    ------
    ValueError
        Naming what is wrong with it.
    """
    fields = dict(item)
    unknown = set(fields) - set(Filter._fields)
    kind = fields.get("kind", "gabor")
    if unknown or kind not in ("gabor", "dirac", "pattern"):
        raise ValueError(
            f"filters: {item!r} is not allowed; kind is 'gabor' (with sigma, angle), 'dirac' or 'pattern' (with values), "
            "and all may have a noise_level"
        )
    level = fields.get("noise_level")
    if (level is None and kind != "gabor") or (level is not None and not 0 <= level < np.inf):
        raise ValueError(f"filters: noise_level={level!r} of a {kind} must be a number, at least 0")
    sigma = tuple(float(value) for value in fields.get("sigma", (1.0, 100.0)))
    if len(sigma) != 2 or not all(0 < value < np.inf for value in sigma):
        raise ValueError(f"filters: sigma={fields['sigma']!r} must be two positive numbers (across, along), in pixels")
    values = np.asarray(fields.get("values", np.empty((0, 0))), float)
    if values.ndim != 2 or (kind == "pattern") != bool(values.size) or not np.isfinite(values).all():
        raise ValueError(f"filters: values of a {kind} must be {'a (y, x) array' if kind == 'pattern' else 'left out'}")
    level = None if level is None else float(level)
    return Filter(kind, sigma, float(fields.get("angle", 0.0)), level, tuple(map(tuple, values.tolist())))


def stripes(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return the stripes of a frame: what is to be subtracted.

    Parameters
    ----------
    frame : (y, x) or (n, y, x) float32 array
        Numpy or cupy; n frames are treated as each would be.
    plan : Plan
    weight : float32 array, optional
        Of the shape of `frame`: 1 where a pixel was measured and 0 where it is missing; what `frame` holds there does not matter.

    Returns
    -------
    float32 array
        Of the shape of `frame`, also where pixels are missing. All zeros for frames without contrast.

    Examples
    --------
    >>> from stack3d.kernels import vsnr
    >>> rng = np.random.default_rng(0)
    >>> curtain = np.tile(rng.normal(0, 3, 128), (256, 1))
    >>> frame = (rng.normal(0, 1, (256, 128)) + curtain).astype("float32")
    >>> clean = frame - vsnr.stripes(frame, vsnr.plan(frame.shape))
    >>> bool(clean.mean(axis=0).std() < 0.5 * frame.mean(axis=0).std())
    True
    """
    if not on_host(frame):
        return stripes_xp(frame, plan, weight)
    if frame.ndim == 3:
        return np.stack([stripes(f, plan, None if weight is None else weight[k]) for k, f in enumerate(frame)])
    field = found(frame, plan, weight)
    return np.zeros(frame.shape, np.float32) if field is None else field


def found(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return `stripes`, or None where a frame has none: most frames of a stack need then no field of zeros."""
    if not on_host(frame) or frame.ndim == 3:
        return stripes(frame, plan, weight)
    place = _place(frame, plan)
    part = _part(frame, plan, weight, place)
    if part is None:
        return None
    u, weight, effort = packed(part.u), part.weight, _effort(plan, place, part.holes)
    weight = None if weight is None else packed(weight)
    if place.way == "band":
        tables, psi = _used(plan, part.psi)
        field = _vsnr_band.solve(u, weight, part.holes, plans.ends(plan), tables, psi, part.scale, **effort)
    else:
        solve = _vsnr_full.descend if place.way == "few" else _vsnr_full.split
        field = solve(u, weight, part.psi, plans.full(plan), part.scale, **effort)
    return _left(field, plan, place)


def stripes_xp(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """`xp` form of `stripes`. Frames of a batch are measured one by one and treated together."""
    xp = namespace(frame)
    if frame.ndim == 2:
        return stripes_xp(frame[None], plan, None if weight is None else weight[None])[0]
    place = _place(frame, plan)
    parts = [_part(one, plan, None if weight is None else weight[k], place) for k, one in enumerate(frame)]
    out = xp.zeros(frame.shape, np.float32)
    for holes in (False, True):
        # Frames that miss pixels take longer, and none depends on what it is treated with.
        used = [k for k, part in enumerate(parts) if part is not None and part.holes == holes]
        if used:
            out[np.array(used)] = _together([parts[k] for k in used], plan, place, holes)
    return out


def _together(parts: list[Any], plan: Plan, place: plans.Domain, holes: bool) -> Any:
    """Return the stripes of some frames at once."""
    xp = namespace(parts[0].u)
    u, psi = (xp.stack([xp.asarray(part[n]) for part in parts]) for n in (0, 2))
    scale = np.array([part.scale for part in parts])
    weight = None if parts[0].weight is None else xp.stack([part.weight for part in parts])
    if place.way == "band":
        # All modes, whatever the frames have of them.
        field = _vsnr_band.solve_xp(u, weight, plans.band(plan), psi, scale, **_effort(plan, place, holes))
    else:
        solve = _vsnr_full.descend_xp if place.way == "few" else _vsnr_full.split_xp
        field = solve(u, weight, psi, plans.full(plan), scale, **_effort(plan, place, holes))
    return _left(field, plan, place)


def _used(plan: Plan, psi: Any) -> tuple[plans.Band, Any]:
    """Return the tables and the power of the modes that the stripes of a frame have."""
    used = np.flatnonzero(psi.any(axis=1))
    return plans.cut(plan, tuple(used.tolist())), psi[used]


class _Part(NamedTuple):
    """A frame where it is treated."""

    u: Any
    weight: Any  # 0 also beyond the frame
    psi: Any  # power of the filters, in grey values
    scale: float
    holes: bool


def _effort(plan: Plan, place: plans.Domain, holes: bool) -> dict[str, Any]:
    """Return the iterations at most, and the change at which to stop."""
    most, tol = (HOLED_ITERATIONS, HOLED_TOLERANCE) if holes else (ITERATIONS, TOLERANCE)
    if place.way == "full":
        most, tol = SPLIT_ITERATIONS, 0.0
    return {
        "iterations": most if plan.max_iter is None else plan.max_iter,
        "tol": tol if plan.tol is None else plan.tol,
    }


def _place(frame: Any, plan: Plan) -> plans.Domain:
    if frame.shape[-2:] != plan.shape:
        raise ValueError(f"the plan is for frames of {plan.shape}, this one has {frame.shape[-2:]}")
    return plans.domain(plan)


def _part(frame: Any, plan: Plan, weight: Any, place: plans.Domain) -> _Part | None:
    """Return a frame ready to be treated, or None where it has no stripes."""
    xp = namespace(frame)
    if weight is not None:
        weight = xp.asarray(weight, dtype=np.float32)
        if not bool((weight > 0).any()):
            return None
        # Of a batch, only some of which miss pixels.
        weight = None if bool((weight == 1).all()) else weight
    holes = weight is not None
    u, weight = _entered(_centred(frame, weight), weight, plan, place)
    shown = [
        _measured(u, weight, filter, place, plan) if filter.noise_level is None else None for filter in plan.filters
    ]
    if not any(f.noise_level if s is None else s.ratio.any() for f, s in zip(plan.filters, shown, strict=True)):
        return None  # as most frames of a stack: their gradients need no scale
    scale = _stripe_level.gradient_scale(u, weight)
    if not scale:
        return None
    levels = _levels(shown, plan, place, scale)
    if not any(np.any(level) for level in levels):
        return None
    powers = (plans.band(plan) if place.way == "band" else plans.full(plan)).powers
    psi = sum(np.asarray(level, np.float32) * power for level, power in zip(levels, powers, strict=True))
    return _Part(u, weight, np.float32(scale) * psi, scale, holes)


def _centred(frame: Any, weight: Any) -> Any:
    """Return the frame as float32 about its mean, which rounding then does not see, without NaN."""
    xp = namespace(frame)
    if weight is None and frame.ndim == 2 and frame.size and on_host(frame):
        middle, spread = loops.centre(frame)
        if frame.dtype == np.float32 and abs(middle) <= _NEAR * spread:
            return frame
        return (frame - frame.dtype.type(middle)).astype(np.float32)
    if weight is None:
        some = frame[::8, ::8]
        middle = float(some.mean(dtype=np.float64))
        some = some.astype(np.float64) - middle
        if frame.dtype == np.float32 and abs(middle) <= _NEAR * (float(xp.vdot(some, some)) / some.size) ** 0.5:
            return frame
        return (frame - frame.dtype.type(middle)).astype(np.float32)
    there = weight > 0
    middle = float(xp.sum(xp.where(there, frame, 0), dtype=np.float64) / xp.count_nonzero(there))
    return xp.where(there, frame - frame.dtype.type(middle), 0).astype(np.float32)


def _entered(u: Any, weight: Any, plan: Plan, place: plans.Domain) -> tuple[Any, Any]:
    xp = namespace(u)
    if place.way == "band":
        u = _shear.to_upright(u, place.shear)
        if place.shear.start is None:
            return u, (None if weight is None else _shear.nearest(weight, place.shear))
        if weight is None:
            return u, xp.asarray(plans.covered(plan))
        return u, _shear.nearest(weight, place.shear)
    if place.shape != u.shape:
        margins = [(0, new - old) for new, old in zip(place.shape, u.shape, strict=True)]
        weight = xp.ones(u.shape, np.float32) if weight is None else weight
        return xp.pad(u, margins), xp.pad(weight, margins)
    return u, weight


def _left(field: Any, plan: Plan, place: plans.Domain) -> Any:
    if place.way == "band":
        return _shear.from_upright(field, place.shear)
    return namespace(field).ascontiguousarray(field[..., : plan.shape[0], : plan.shape[1]])


def _levels(shown: Sequence[_stripe_power.Stripes | None], plan: Plan, place: plans.Domain, scale: float) -> list[Any]:
    """Return the noise level of each filter in units of the gradient scale, from what was measured or as given."""
    levels: list[Any] = []
    for k, (filter, found) in enumerate(zip(plan.filters, shown, strict=True)):
        if found is None:
            levels.append(plan.strength * float(filter.noise_level or 0))
            continue
        if not found.ratio.any():
            levels.append(0.0)
            continue
        tables: Any = plans.band(plan) if place.way == "band" else plans.full(plan)
        omega, along = (part if place.way == "band" else part[k] for part in (tables.omega, tables.along))
        power = tables.powers[k]
        # Against texture of even gradients this is the gain of Wiener's filter.
        over = found.over(along if not filter.sigma[1] else 0.0, omega) * found.beside(omega, _UNRULY * scale**2)
        wanted = _STRENGTH * over / (4 * np.sin(np.maximum(omega, 1e-6) / 2) ** 2)
        if not filter.sigma[0]:
            levels.append((wanted / power.max()).astype(np.float32))
            continue
        shape = power[0] if place.way == "band" else power
        levels.append(float(np.sum(wanted * shape) / np.sum(shape * shape)))
    return levels


def _measured(u: Any, weight: Any, filter: Filter, place: plans.Domain, plan: Plan) -> _stripe_power.Stripes:
    options: dict[str, Any] = {"strength": plan.strength, "difference": plan.difference}
    if place.way != "band":
        shear = _shear.shear_of(u.shape, _shear.checked_angle(filter.angle), "lanczos")
        whole = namespace(u).ones(u.shape, np.float32) if weight is None else weight
        u, weight = (
            _shear.to_upright(u, shear),
            (None if shear.start is None and weight is None else _shear.nearest(whole, shear)),
        )
    elif weight is not None and weight is plans.covered(plan):
        options["spans"] = plans.ends(plan)
    return _stripe_power.measure(u, weight, length=filter.sigma[1] or None, **options)
