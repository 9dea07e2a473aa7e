"""How the transforms of a model are measured: one row of a table for each method and model.

A way says how a stack of one frame shape is treated (`plan`), what is kept of a frame (`prepare`), what two frames
tell of each other (`pair`), and how all pairs together give the place of every slice (`solve`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from stack3d import device, kernels
from stack3d.operations import _transform_affine as affine
from stack3d.operations import _transform_features as features
from stack3d.operations import _transform_stackreg as stackreg

Model = Literal["translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine", "regularized_affine"]
Method = Literal["phase", "features", "stackreg", "template"]


@dataclass(frozen=True)
class Settings:
    """What the user asked for, as far as it concerns pairs of frames."""

    band: tuple[float | None, float | None] = (None, None)
    binning: int | None = None
    stripes: float | None = None
    detector: str = "sift"
    model: str = "translation"
    aspect: float = 1.0  # height of a pixel, in widths
    regularization: float = 0.0
    target: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)


class Solved(NamedTuple):
    """The whole stack: pull matrices (z, 3, 3) in pixels of the frames compared, and how far each can be trusted."""

    matrices: np.ndarray
    ok: np.ndarray
    quality: np.ndarray
    error: np.ndarray
    trust: np.ndarray


@dataclass(frozen=True)
class Way:
    """One method for one model; all functions are of modules, so that they can be sent to other processes.

    Attributes
    ----------
    plan : callable
        ``plan(shape, settings)``: what `prepare` and `pair` get as their last argument.
    prepare : callable
        ``prepare(frame, weight, plan)``: what is kept of a frame. `weight` (y, x) is 0 to 1, or None.
    pair : callable
        ``pair(first, second, plan)``: the array (*parameters, quality, weight), weight 0 for a refused pair.
    parameters : tuple of str
        Names of the parameters of a pair: a displacement, or the entries of a matrix.
    solve : callable
        ``solve(first, second, parameters, weights, count, shape, settings)`` gives a `Solved`.
    """

    plan: Callable[..., Any]
    prepare: Callable[..., Any]
    pair: Callable[..., np.ndarray]
    parameters: tuple[str, ...]
    solve: Callable[..., Solved]


class PhasePlan(NamedTuple):
    """A plan of the kernel, and the coefficients that stripes leave (None: all)."""

    plan: Any
    keep: np.ndarray | None


def phase_plan(shape: tuple[int, int], settings: Settings) -> PhasePlan:
    """Return how spectra are made and compared."""
    direct = False if settings.stripes is not None else None
    plan = kernels.phase.plan(shape, band=settings.band, binning=settings.binning, direct=direct)
    return PhasePlan(plan, None if settings.stripes is None else _beside_stripes(plan, settings.stripes))


def _beside_stripes(plan: Any, angle: float) -> np.ndarray:
    """Return 1 for the coefficients that stripes at an angle leave alone; stripes at 0 run along y."""
    from stack3d.kernels._phase_plan import tables_of

    tables = tables_of(plan)
    number = np.diff(tables.start)
    row = np.repeat(tables.signed, number)
    column = np.concatenate([first + np.arange(n) for first, n in zip(tables.first, number, strict=True)] or [row])
    ky, kx = row * tables.step[0] / (2 * np.pi), column * tables.step[1] / (2 * np.pi)
    # Counter-clockwise on screen, y down. What varies along the stripes has a frequency in their direction.
    turn = np.radians(angle)
    along = np.abs(kx * np.sin(turn) + ky * np.cos(turn))
    narrow = 4 / min(plan.shape)
    spread = np.sin(np.radians(3)) * np.hypot(ky, kx)
    keep: np.ndarray = (along > np.maximum(narrow, spread)).astype(np.float32)
    return keep


def phase_spectrum(frame: Any, weight: np.ndarray | None, plan: PhasePlan) -> Any:
    """Return what is kept of the spectrum of a frame."""
    if weight is not None:
        frame = weighed(frame, weight)
    found = kernels.phase.spectrum(frame, plan.plan)
    if weight is not None:
        found = found._replace(small=None)  # what fades out stays with the frame
    if plan.keep is None or not found.usable:
        return found
    keep = device.to_device(plan.keep, "gpu") if device.is_cupy(found.coefficients) else plan.keep
    return found._replace(coefficients=found.coefficients * keep)


def weighed(frame: Any, weight: np.ndarray) -> Any:
    """Return a frame less its mean, faded out where `weight` falls to 0; missing pixels stay missing."""
    pixels = device.to_host(frame).astype(np.float32)
    known = np.isfinite(pixels)
    share = weight * known
    mean = float(np.sum(pixels * weight, where=known, dtype=np.float64) / max(float(share.sum(dtype=np.float64)), 1e-9))
    return (pixels - np.float32(mean)) * weight


def phase_pair(first: Any, second: Any, plan: PhasePlan) -> np.ndarray:
    """Return (dy, dx, quality, weight) of a pair of spectra."""
    pair = kernels.phase.pair_shift(first, second, plan.plan)
    return np.array([pair.dy, pair.dx, pair.quality, pair.extra.weight])


def solve_shifts(
    first: np.ndarray,
    second: np.ndarray,
    shifts: np.ndarray,
    weights: np.ndarray,
    count: int,
    shape: tuple[int, int],
    settings: Settings,
) -> Solved:
    """Return translations from displacements (pairs, [dy, dx])."""
    solution = kernels.solve.positions(first, second, shifts, weights, count)
    matrices = np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    matrices[:, :2, 2] = solution.positions[:, ::-1]
    return Solved(matrices, solution.ok, solution.quality, solution.error, solution.trust)


def solve_matrices(
    first: np.ndarray,
    second: np.ndarray,
    entries: np.ndarray,
    weights: np.ndarray,
    count: int,
    shape: tuple[int, int],
    settings: Settings,
) -> Solved:
    """Return pull matrices from matrices between pairs (pairs, 6)."""
    centre = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    options: dict[str, Any] = {"model": affine.family(settings.model), "aspect": settings.aspect}
    solution = kernels.solve.poses(first, second, as_matrices(entries), weights, count, centre, **options)
    return Solved(solution.matrices, solution.ok, solution.quality, solution.error, solution.trust)


def as_matrices(parameters: np.ndarray) -> np.ndarray:
    """Return the matrices (pairs, 3, 3) of displacements (pairs, [dy, dx]) or of entries (pairs, 6)."""
    out = np.broadcast_to(np.eye(3), (len(parameters), 3, 3)).copy()
    if parameters.shape[1] == 2:
        out[:, :2, 2] = parameters[:, ::-1]
    else:
        out[:, :2] = parameters.reshape(-1, 2, 3)
    return out


_SHIFTS = ("shift_y", "shift_x")
_ENTRIES = ("m00", "m01", "m02", "m10", "m11", "m12")
MODELS: tuple[str, ...] = get_args(Model)
WAYS: dict[tuple[str, str], Way] = {
    ("phase", "translation"): Way(phase_plan, phase_spectrum, phase_pair, _SHIFTS, solve_shifts),
    ("features", "translation"): Way(features.plan, features.found, features.pair, _SHIFTS, solve_shifts),
    ("stackreg", "translation"): Way(stackreg.plan, stackreg.pixels, stackreg.pair, _SHIFTS, solve_shifts),
}
for _model in MODELS[1:]:
    WAYS["phase", _model] = Way(affine.plan, affine.filtered, affine.pair, _ENTRIES, solve_matrices)
    WAYS["features", _model] = Way(features.plan, features.found, features.pair_matrix, _ENTRIES, solve_matrices)
    if _model in stackreg.KINDS:
        WAYS["stackreg", _model] = Way(stackreg.plan, stackreg.pixels, stackreg.pair_matrix, _ENTRIES, solve_matrices)
METHODS = (*dict.fromkeys(method for method, _ in WAYS), "template")


def check_model(
    model: str, stripes: float | None, regularization: Any, target: Any
) -> tuple[float, tuple[float, float, float, float]]:
    """Return strength and target of the regularisation, after looking at what has no meaning for a model."""
    if stripes is not None and model != "translation":
        raise ValueError(
            f"stripes={stripes!r} has a meaning only for model='translation'; stripes along y and x are left out of "
            "every model"
        )
    drawn = model == affine.REGULARIZED
    for name, value in (("regularization", regularization), ("target", target)):
        if value is not None and not drawn:
            raise ValueError(f"{name}={value!r} has a meaning only for model='regularized_affine', not {model!r}")
    if not drawn:
        return 0.0, (1.0, 0.0, 0.0, 1.0)
    strength = 0.01 if regularization is None else regularization
    if isinstance(strength, bool) or not isinstance(strength, int | float | np.number) or not 0 <= strength < np.inf:
        raise ValueError(f"regularization={regularization!r} must be a finite number of at least 0")
    entries = np.asarray((1.0, 0.0, 0.0, 1.0) if target is None else target, dtype=np.float64)
    if entries.shape != (4,) or not np.isfinite(entries).all() or not np.linalg.det(entries.reshape(2, 2)) > 0:
        raise ValueError(f"target={target!r} must be four entries (xx, xy, yx, yy) that do not fold the frame")
    xx, xy, yx, yy = entries.tolist()
    return float(strength), (xx, xy, yx, yy)
