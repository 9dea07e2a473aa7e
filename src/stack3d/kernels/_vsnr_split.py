"""VSNR in few modes along the stripes, by over-relaxed Douglas-Rachford splitting: for frames much of which is flat.

Each iteration projects the gradients of image less stripes on a disc, in one pass over the frame, and filters their
divergence.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _vsnr_split_loops as loops
from stack3d.kernels._namespace import namespace
from stack3d.kernels._vsnr_plan import Band
from stack3d.kernels._vsnr_step_loops import changed

_ALPHA = 1.7
_RADIUS = 1.5  # of the gradient scale


def _across(rows: Any, gains: Any, periodic: bool) -> Any:
    """Multiply rows of coefficients by gains in the frequency domain across the stripe."""
    xp = namespace(rows)
    width = rows.shape[1]
    if periodic:
        fft = scipy.fft if xp is np else xp.fft
        return fft.irfft(fft.rfft(rows) * gains, n=width).astype(rows.dtype)
    if xp is np:
        return scipy.fft.idct(scipy.fft.dct(rows, norm="ortho") * gains, norm="ortho", overwrite_x=True)
    # The cosine transform is that of the row and its mirror image.
    mirrored = xp.fft.rfft(xp.concatenate([rows, rows[:, ::-1]], axis=1))
    mirrored[:, :width] *= gains
    mirrored[:, width:] = 0
    return xp.fft.irfft(mirrored, n=2 * width)[:, :width].astype(rows.dtype)


def _gains(tables: Band, psi: Any, scale: float) -> tuple[Any, Any]:
    """Return how much of each frequency of the residual becomes stripe, and the radius of the disc."""
    radius = np.float32(_RADIUS * scale)
    return psi / (radius + psi * namespace(psi).asarray(tables.laplacian)), radius


def solve(u: Any, weight: Any, tables: Band, psi: Any, scale: float, *, iterations: int, tol: float) -> Any:
    """Return the stripes of a frame (compiled form); `weight` is 0 also beyond the frame, others as `_vsnr_band.solve`."""
    (gains, radius), basis, periodic = _gains(tables, psi, scale), tables.basis, tables.periodic
    height, width = u.shape
    modes = basis.shape[1]
    if modes % 2:  # the loops take modes in pairs
        basis = np.concatenate([basis, np.zeros((height, 1), np.float32)], axis=1)
        gains = np.concatenate([gains, np.zeros((1, gains.shape[1]), np.float32)])
    state, work, lines = workspace((height, width))
    fixed, made = (np.empty((basis.shape[1], width), np.float32) for _ in range(2))
    loops.band_start(u, basis, fixed, work, periodic)
    if weight is None:
        weight = np.empty((0, 0), np.float32)
    coefficients = _across(fixed, gains, periodic)
    for _ in range(iterations):
        loops.band_pass(u, weight, *state, basis, coefficients, made, work, lines, np.float32(_ALPHA), radius, periodic)
        made += fixed
        before, coefficients = coefficients, _across(made, gains, periodic)
        if tol:
            change, largest = changed(coefficients, before, 1)
            if change <= tol * largest:
                break
    out = np.empty(u.shape, np.float32)
    loops.band_field(basis, coefficients, out)
    return out


class _Kept(threading.local):
    shape: tuple[int, int] | None = None
    arrays: tuple[Any, ...] = ()


_kept = _Kept()


def workspace(shape: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Return the state, all 0, and buffers for frames of a shape: kept by each thread for its next frame."""
    height, width = shape
    if _kept.shape == shape:
        _kept.arrays[0][:] = 0
    else:
        _kept.arrays = (
            np.zeros((2, height, width), np.float32),
            np.zeros((2 * loops.ROWS + 1, width), np.float32),
            np.zeros((loops.LINES, width + 1), np.float32),
        )
        _kept.shape = shape
    return _kept.arrays


def _settled(before: Any, after: Any, tol: float) -> bool:
    largest = float(abs(after).max())
    return float(abs(after - before).max()) <= tol * largest


def solve_xp(u: Any, weight: Any, tables: Band, psi: Any, scale: float, *, iterations: int, tol: float) -> Any:
    """Return the stripes of a frame (`xp` form); arguments as for `solve`."""
    xp, periodic, alpha = namespace(u), tables.periodic, _ALPHA
    (gains, radius), basis = _gains(tables, psi, scale), xp.asarray(tables.basis)
    fixed = basis.T @ adjoint(xp, *differences(xp, u, periodic), periodic)
    coefficients = _across(fixed, gains, periodic)
    sx, sy = xp.zeros_like(u), xp.zeros_like(u)
    for _ in range(iterations):
        dx, dy = differences(xp, u - basis @ coefficients, periodic)
        px, py = project(xp, sx, sy, weight, radius, periodic)
        kind = u.dtype.type
        sx, sy = kind(1 - alpha) * sx + kind(alpha) * (px + dx), kind(1 - alpha) * sy + kind(alpha) * (py + dy)
        px, py = project(xp, sx, sy, weight, radius, periodic)
        made = fixed + basis.T @ adjoint(xp, 2 * px - sx, 2 * py - sy, periodic)
        before, coefficients = coefficients, _across(made, gains, periodic)
        if tol and _settled(before, coefficients, tol):
            break
    return basis @ coefficients


def differences(xp: Any, u: Any, periodic: bool) -> tuple[Any, Any]:
    """Return forward differences along x and y; 0 in the last column and row unless periodic."""
    if periodic:
        return xp.roll(u, -1, 1) - u, xp.roll(u, -1, 0) - u
    dx, dy = xp.zeros_like(u), xp.zeros_like(u)
    dx[:, :-1], dy[:-1] = u[:, 1:] - u[:, :-1], u[1:] - u[:-1]
    return dx, dy


def adjoint(xp: Any, rx: Any, ry: Any, periodic: bool) -> Any:
    """Return what the transpose of `differences` makes of two fields."""
    if periodic:
        return xp.roll(rx, 1, 1) - rx + xp.roll(ry, 1, 0) - ry
    out = xp.zeros_like(rx)
    out[:, :-1] -= rx[:, :-1]
    out[:, 1:] += rx[:, :-1]
    out[:-1] -= ry[:-1]
    out[1:] += ry[:-1]
    return out


def project(xp: Any, x: Any, y: Any, weight: Any, radius: Any, periodic: bool) -> tuple[Any, Any]:
    """Project vectors onto a disc; of pixels that are missing, and towards ones that are, nothing is left."""
    kind = x.dtype.type
    if weight is None:
        limit = kind(radius)
    else:
        limit = kind(radius) * weight
        right, below = xp.roll(weight, -1, 1), xp.roll(weight, -1, 0)
        if not periodic:
            right[:, -1], below[-1] = 0, 0
        x, y = xp.where(right > 0, x, kind(0)), xp.where(below > 0, y, kind(0))
    part = limit / xp.sqrt(xp.maximum(limit * limit, xp.maximum(x * x + y * y, kind(1e-30))))
    return x * part, y * part
