"""VSNR where the stripes are made of few modes along their direction: no transform of the frame."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _vsnr_loops as loops
from stack3d.kernels._namespace import namespace


def gain(powers: Any, laplacian: Any, levels: Sequence[Any], radius: float) -> Any:
    """Return how much of each frequency of the residual becomes stripe: ``psi / (radius + psi * laplacian)``.

    `levels` has a number, or an array that goes with the frequencies, for each filter.
    """
    psi = sum(np.asarray(level, np.float32) * power for level, power in zip(levels, powers, strict=True))
    return psi / (np.float32(radius) + psi * laplacian)


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


def solve(
    u: Any,
    weight: Any,
    basis: Any,
    gains: Any,
    *,
    radius: float,
    alpha: float,
    iterations: int,
    tol: float | None,
    periodic: bool,
) -> Any:
    """Return the stripes of a frame (compiled form); arguments as for `solve_xp`."""
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
        loops.band_pass(
            u,
            weight,
            state[0],
            state[1],
            basis,
            coefficients,
            made,
            work,
            lines,
            np.float32(alpha),
            np.float32(radius),
            periodic,
        )
        made += fixed
        before, coefficients = coefficients, _across(made, gains, periodic)
        if tol is not None and _settled(before, coefficients, tol):
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


def solve_xp(
    u: Any,
    weight: Any,
    basis: Any,
    gains: Any,
    *,
    radius: float,
    alpha: float,
    iterations: int,
    tol: float | None,
    periodic: bool,
) -> Any:
    """Return the stripes of a frame (`xp` form).

    Parameters
    ----------
    u : (y, x) float32 array
        Stripes along y.
    weight : (y, x) float32 array or None
        0 where a pixel is missing.
    basis : (y, modes) float32 array
        Orthonormal.
    gains : (modes, frequencies) float32 array
        See `gain`.
    radius : float
        Of the disc onto which the dual variable is projected, in grey values.
    alpha : float
        Over-relaxation, between 0 and 2.
    """
    xp = namespace(u)
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
        if tol is not None and _settled(before, coefficients, tol):
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


def project(xp: Any, x: Any, y: Any, weight: Any, radius: float, periodic: bool) -> tuple[Any, Any]:
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
