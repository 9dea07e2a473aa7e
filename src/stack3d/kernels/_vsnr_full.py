"""VSNR for any filters: two real transforms of the frame an iteration, and one pass over it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _vsnr_loops as loops
from stack3d.kernels._namespace import namespace
from stack3d.kernels._vsnr_band import adjoint, differences, project, workspace


def _filtered(made: Any, gains: Any) -> Any:
    xp = namespace(made)
    if xp is np:
        spectrum = scipy.fft.rfft2(made, workers=1)
        spectrum *= gains
        return scipy.fft.irfft2(spectrum, s=made.shape, workers=1, overwrite_x=True)
    return xp.fft.irfft2(xp.fft.rfft2(made) * gains, s=made.shape).astype(made.dtype)


def solve(u: Any, weight: Any, gains: Any, *, radius: float, alpha: float, iterations: int, tol: float | None) -> Any:
    """Return the stripes of a periodic frame (compiled form); arguments as for `solve_xp`."""
    height, width = u.shape
    state, _, lines = workspace((height, width))
    made = np.empty((height, width), np.float32)
    weight = np.empty((0, 0), np.float32) if weight is None else weight
    relaxation, limit = np.float32(alpha), np.float32(radius)
    loops.second_differences(u, made)
    stripes = _filtered(made, gains)
    for _ in range(iterations):
        loops.full_pass(u, weight, stripes, state[0], state[1], made, lines, relaxation, limit)
        before, stripes = stripes, _filtered(made, gains)
        if tol is not None and settled(before, stripes, tol):
            break
    return stripes


def settled(before: Any, after: Any, tol: float) -> bool:
    """Return whether the largest change is at most `tol` of the largest value; of every eighth row."""
    before, after = before[::8], after[::8]
    return float(abs(after - before).max()) <= tol * float(abs(after).max())


def solve_xp(
    u: Any, weight: Any, gains: Any, *, radius: float, alpha: float, iterations: int, tol: float | None
) -> Any:
    """Return the stripes of a periodic frame (`xp` form); arguments as for `_vsnr_band.solve_xp`."""
    xp = namespace(u)
    kind = u.dtype.type
    dx, dy = differences(xp, u, True)
    sx, sy = xp.zeros_like(u), xp.zeros_like(u)
    stripes = _filtered(adjoint(xp, dx, dy, True), gains)
    for _ in range(iterations):
        ex, ey = differences(xp, u - stripes, True)
        px, py = project(xp, sx, sy, weight, radius, True)
        sx, sy = kind(1 - alpha) * sx + kind(alpha) * (px + ex), kind(1 - alpha) * sy + kind(alpha) * (py + ey)
        px, py = project(xp, sx, sy, weight, radius, True)
        made = adjoint(xp, dx + 2 * px - sx, dy + 2 * py - sy, True)
        before, stripes = stripes, _filtered(made, gains)
        if tol is not None and settled(before, stripes, tol):
            break
    return stripes
