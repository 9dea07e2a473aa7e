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

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stack3d.kernels import _lean, _stripe_level, _stripe_power, _vsnr_band, _vsnr_full
from stack3d.kernels import _vsnr_plan as plans
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._vsnr_plan import Filter, Plan

__all__ = ["Filter", "Plan", "plan", "stripes", "stripes_xp"]

ITERATIONS = 10
_ALPHA = 1.7
_RADIUS = 1.5  # of the gradient scale
_STRENGTH = 1.5  # of the gain of Wiener's filter: best on real tissue with planted stripes


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
    iterations = ITERATIONS if max_iter is None else int(max_iter)
    if boundary not in ("reflect", "periodic"):
        raise ValueError(f"boundary={boundary!r} is not allowed; it must be 'reflect' or 'periodic'")
    if iterations < 1:
        raise ValueError(f"max_iter={max_iter!r} must be at least 1")
    if tol is not None and not 0 <= tol < 1:
        raise ValueError(f"tol={tol!r} must be at least 0 and below 1")
    return Plan(shape, tuple(filters), float(angle), float(strength), boundary, iterations, tol, difference)


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
    frame : (y, x) float32 array
        Numpy or cupy.
    plan : Plan
    weight : (y, x) float32 array, optional
        1 where a pixel was measured and 0 where it is missing; what `frame` holds there does not matter.

    Returns
    -------
    (y, x) float32 array
        Also where pixels are missing. All zeros for frames without contrast.

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
    return _stripes(frame, plan, weight, on_host(frame))


def stripes_xp(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """`xp` form of `stripes`."""
    return _stripes(frame, plan, weight, False)


def _stripes(frame: Any, plan: Plan, weight: Any, compiled: bool) -> Any:
    xp = namespace(frame)
    if frame.shape != plan.shape:
        raise ValueError(f"the plan is for frames of {plan.shape}, this one has {frame.shape}")
    place = plans.domain(plan)
    if weight is not None:
        weight = xp.asarray(weight, dtype=np.float32)
        if not bool((weight > 0).any()):
            return xp.zeros(frame.shape, np.float32)
    u = _centred(frame, weight)
    if place.transposed:
        u, weight = u.T, (None if weight is None else weight.T)
    u, weight = _entered(u, weight, place)
    scale = _stripe_level.gradient_scale(u, weight)
    levels = _levels(u, weight, plan, place, scale)
    if not scale or not any(np.any(level) for level in levels):
        return xp.zeros(frame.shape, np.float32)
    options: dict[str, Any] = {"radius": _RADIUS * scale, "alpha": _ALPHA, "iterations": plan.max_iter, "tol": plan.tol}
    if compiled:
        u, weight = packed(u), (None if weight is None else packed(weight))
    if place.way == "band":
        tables = plans.band(plan)
        gains = _vsnr_band.gain(tables.powers, tables.laplacian, levels, _RADIUS)
        used = np.flatnonzero(gains.any(axis=1))
        basis, gains = (packed(part) for part in (tables.basis[:, used], gains[used]))
        solve = _vsnr_band.solve if compiled else _vsnr_band.solve_xp
        field = solve(u, weight, xp.asarray(basis), xp.asarray(gains), periodic=plan.boundary == "periodic", **options)
    else:
        everywhere = plans.full(plan)
        gains = xp.asarray(_vsnr_band.gain(everywhere.powers, everywhere.laplacian, levels, _RADIUS))
        field = (_vsnr_full.solve if compiled else _vsnr_full.solve_xp)(u, weight, gains, **options)
    return _left(field, plan, place)


def _centred(frame: Any, weight: Any) -> Any:
    """Return the frame as float32 about its mean, which rounding then does not see, without NaN."""
    xp = namespace(frame)
    if weight is None:
        return (frame - frame.dtype.type(frame[::8, ::8].mean(dtype=np.float64))).astype(np.float32)
    there = weight > 0
    middle = float(xp.sum(xp.where(there, frame, 0), dtype=np.float64) / xp.count_nonzero(there))
    return xp.where(there, frame - frame.dtype.type(middle), 0).astype(np.float32)


def _entered(u: Any, weight: Any, place: plans.Domain) -> tuple[Any, Any]:
    xp = namespace(u)
    if place.lean:
        return _lean.stand(u, weight, place.lean, place.shape[1])
    if place.shape != u.shape:
        margins = [(0, new - old) for new, old in zip(place.shape, u.shape, strict=True)]
        weight = xp.ones(u.shape, np.float32) if weight is None else weight
        return xp.pad(u, margins), xp.pad(weight, margins)
    return u, weight


def _left(field: Any, plan: Plan, place: plans.Domain) -> Any:
    shape = plan.shape[::-1] if place.transposed else plan.shape
    if place.lean:
        field = _lean.lean_back(field, place.lean, shape[1])
    field = field[: shape[0], : shape[1]]
    return namespace(field).ascontiguousarray(field.T if place.transposed else field)


def _levels(u: Any, weight: Any, plan: Plan, place: plans.Domain, scale: float) -> list[Any]:
    """Return the noise level of each filter in units of the gradient scale, measured where it is not given."""
    levels: list[Any] = []
    for k, filter in enumerate(plan.filters):
        if filter.noise_level is not None or not scale:
            levels.append(plan.strength * float(filter.noise_level or 0))
            continue
        found = _measured(u, weight, filter, place, plan)
        if not found.ratio.any():
            levels.append(0.0)
            continue
        tables: Any = plans.band(plan) if place.way == "band" else plans.full(plan)
        omega, along = (part if place.way == "band" else part[k] for part in (tables.omega, tables.along))
        power = tables.powers[k]
        # Against texture of even gradients this is the gain of Wiener's filter.
        over = found.over(along if not filter.sigma[1] else 0.0, omega)
        wanted = _STRENGTH * over / (4 * np.sin(np.maximum(omega, 1e-6) / 2) ** 2)
        if not filter.sigma[0]:
            levels.append((wanted / power.max()).astype(np.float32))
            continue
        shape = power[0] if place.way == "band" else power
        levels.append(float(np.sum(wanted * shape) / np.sum(shape * shape)))
    return levels


def _measured(u: Any, weight: Any, filter: Filter, place: plans.Domain, plan: Plan) -> _stripe_power.Stripes:
    if place.way == "full":
        angle, lying = plans.upright(filter.angle)
        if lying:
            u, weight = u.T, (None if weight is None else weight.T)
        lean = math.tan(math.radians(angle))
        if lean:
            width = u.shape[1] + math.ceil(abs(lean) * (u.shape[0] - 1))
            u, weight = _lean.stand(namespace(u).ascontiguousarray(u), weight, lean, width)
    options: dict[str, Any] = {"strength": plan.strength, "difference": plan.difference}
    return _stripe_power.measure(u, weight, length=filter.sigma[1] or None, **options)
