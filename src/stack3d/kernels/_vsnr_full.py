"""VSNR for any filters: two real transforms of the frame an iteration, and one pass over it.

Filters that are long pass few frequencies: the slope is followed down in these alone. Others leave as many degrees of
freedom as there are pixels, and rests without any gradient: over-relaxed Douglas-Rachford splitting (alternating
directions) in the stripes alone is right for these. Each iteration projects the gradients of the rest on a disc, and filters their
divergence.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _vsnr_descent as descent
from stack3d.kernels import _vsnr_loops as loops
from stack3d.kernels._namespace import namespace
from stack3d.kernels._vsnr_plan import Full
from stack3d.kernels._vsnr_steps import minimum

_ALPHA = 1.7
_RADIUS = 1.5  # of the gradient scale
_LEAST = 1e-5  # of what is filtered: frequencies of which less becomes stripe are left out
_ROWS = 64  # transformed together, so that they stay in the cache


class _Kept(threading.local):
    shape: tuple[int, ...] = ()
    arrays: tuple[Any, ...] = ()


_kept = _Kept()


def _workspace(shape: tuple[int, int], columns: int) -> tuple[Any, ...]:
    """Return two fields, lines and a spectrum of some columns: kept by each thread for its next frame."""
    height, width = shape
    if _kept.shape != (height, width, columns):
        _kept.arrays = (
            np.zeros((2, height, width), np.float32),
            np.zeros((height, width), np.float32),
            np.zeros((loops.LINES, width + 1), np.float32),
            np.zeros((height, columns), np.complex64),
        )
        _kept.shape = (height, width, columns)
    return _kept.arrays


def descend(u: Any, weight: Any, psi: Any, tables: Full, scale: float, *, iterations: int, tol: float) -> Any:
    """Return the stripes of a periodic frame (compiled form); arguments as for `_vsnr_band.solve`."""
    height, width = u.shape
    places, columns = _places(np, psi[None], tables.laplacian, scale)
    fields, made, lines, spectrum = _workspace(u.shape, columns)
    turn = iter(range(iterations + 1))
    row, column = places // psi.shape[1], places % psi.shape[1]
    across = _few(np, u.shape, places, columns)
    measured = float(u.size) if weight is None else float(weight.sum(dtype=np.float64))
    some = np.empty((0, 0), np.float32) if weight is None else weight
    sums = np.zeros((2, width), np.float32)

    def forth(made: Any) -> Any:
        for k in range(0, height, _ROWS):
            spectrum[k : k + _ROWS] = scipy.fft.rfft(made[k : k + _ROWS], norm="ortho")[:, :columns]
        return descent.real(scipy.fft.fft(spectrum, axis=0, norm="ortho", overwrite_x=True)[row, column][None])

    def back(few: Any) -> Any:
        spectrum[:] = 0
        spectrum[row, column] = few[0].view(np.complex64)
        stripes = fields[next(turn) % 2]  # that of the last iteration is compared with
        wide = scipy.fft.ifft(spectrum, axis=0, norm="ortho", overwrite_x=True)
        for k in range(0, height, _ROWS):
            stripes[k : k + _ROWS] = scipy.fft.irfft(wide[k : k + _ROWS], n=width, norm="ortho")
        return stripes

    def slope(stripes: Any, _: int) -> tuple[Any, float, float]:
        loops.full_slope(u, some, stripes, made, lines, sums, np.float32((descent.SMOOTH * scale) ** 2))
        size, over = (float(line.sum(dtype=np.float64)) for line in sums)
        return made, size, 0.5 * over / measured

    few = psi[row, column][None]
    steps = across._replace(forth=forth, back=back)
    laplacian = tables.laplacian[row, column][None]
    options: Any = {"warm": (0, 1), "iterations": iterations, "tol": tol}
    stripes, flat = minimum(slope, few, laplacian, steps, scale, **options)
    if flat:
        return split(u, weight, psi, tables, scale, iterations=iterations, tol=tol * descent.SLOWER)
    return stripes.copy()


def descend_xp(u: Any, weight: Any, psi: Any, tables: Full, scale: Any, *, iterations: int, tol: float) -> Any:
    """Return the stripes of periodic frames (`xp` form); arguments as for `_vsnr_band.solve_xp`."""
    xp = namespace(u)
    laplacian = xp.asarray(tables.laplacian)
    places, columns = _places(xp, psi, laplacian, scale)
    tiny = xp.asarray((descent.SMOOTH * scale) ** 2, dtype=np.float32)[:, None, None]
    measured = u[0].size if weight is None else xp.sum(weight, axis=(1, 2), dtype=np.float64)

    def slope(stripes: Any, _: int) -> descent.Slope:
        x, y = differences(xp, u - stripes)
        if weight is not None:
            x, y = _towards(xp, x, y, weight)
        square = x * x + y * y + tiny
        part = 1 / xp.sqrt(square) if weight is None else weight / xp.sqrt(square)
        size, over = (xp.sum(values, axis=(1, 2), dtype=np.float64) for values in (square * part, part))
        return descent.Slope(adjoint(xp, x * part, y * part), size, 0.5 * over / measured)

    few, laplacian = psi.reshape(len(psi), -1)[:, None, places], laplacian.reshape(-1)[None, places]
    across = _few(xp, u.shape[-2:], places, columns)
    options: Any = {"warm": (0, 1), "iterations": iterations, "tol": tol}
    out, flat = descent.minimum(slope, few, laplacian, across, xp.asarray(scale), **options)
    if bool(flat.any()):
        other = split_xp(u, weight, psi, tables, scale, iterations=iterations, tol=tol * descent.SLOWER)
        out = xp.where(flat[:, None, None], other, out)
    return out


def _places(xp: Any, psi: Any, laplacian: Any, scale: Any) -> tuple[Any, int]:
    """Return which frequencies any frame's filters pass, and how many columns of the spectrum hold them."""
    passed = psi * laplacian > xp.asarray(_LEAST * np.asarray(scale), dtype=np.float32).reshape(-1, 1, 1)
    places = xp.flatnonzero(passed.any(axis=0))
    return places, int((places % laplacian.shape[1]).max()) + 1 if places.size else 1


def _few(xp: Any, shape: tuple[int, int], places: Any, columns: int) -> descent.Transform:
    """Return the transform of frames to some frequencies, and back."""
    (height, width), half = shape, shape[1] // 2 + 1
    twice = np.full(half, 2, np.float32)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1

    def forth(frames: Any) -> Any:
        return descent.real(xp.fft.rfft2(frames, norm="ortho").reshape(len(frames), 1, -1)[..., places])

    def back(few: Any) -> Any:
        wide = xp.zeros((len(few), height * half), np.complex64)
        wide[:, places] = few[:, 0].view(np.complex64)
        return xp.fft.irfft2(wide.reshape(-1, height, half), s=shape, norm="ortho").astype(np.float32)

    return descent.Transform(forth, back, xp.asarray(twice)[places % half], 2, 8)


def split(u: Any, weight: Any, psi: Any, tables: Full, scale: float, *, iterations: int, tol: float) -> Any:
    """Return the stripes of a periodic frame by splitting (compiled form)."""
    state, made, lines, _ = _workspace(u.shape, 1)
    state[:] = 0
    gains, radius = _gains(psi, tables.laplacian, scale)
    some = np.empty((0, 0), np.float32) if weight is None else weight
    loops.second_differences(u, made)
    stripes = _filtered(made, gains)
    for _ in range(iterations):
        loops.full_pass(u, some, stripes, state[0], state[1], made, lines, np.float32(_ALPHA), np.float32(radius))
        before, stripes = stripes, _filtered(made, gains)
        if tol and settled(before, stripes, tol):
            break
    return stripes


def split_xp(u: Any, weight: Any, psi: Any, tables: Full, scale: Any, *, iterations: int, tol: float) -> Any:
    """Return the stripes of periodic frames by splitting (`xp` form)."""
    xp, kind = namespace(u), np.float32
    scale = xp.asarray(scale, dtype=np.float32)[:, None, None]
    gains, radius = _gains(psi, xp.asarray(tables.laplacian), scale)
    dx, dy = differences(xp, u)
    sx, sy = xp.zeros_like(u), xp.zeros_like(u)
    stripes = _filtered(adjoint(xp, dx, dy), gains)
    going = xp.ones(len(u), bool)
    for _ in range(iterations):
        ex, ey = differences(xp, u - stripes)
        px, py = project(xp, sx, sy, weight, radius)
        sx, sy = kind(1 - _ALPHA) * sx + kind(_ALPHA) * (px + ex), kind(1 - _ALPHA) * sy + kind(_ALPHA) * (py + ey)
        px, py = project(xp, sx, sy, weight, radius)
        made = adjoint(xp, dx + 2 * px - sx, dy + 2 * py - sy)
        before, stripes = stripes, xp.where(going[:, None, None], _filtered(made, gains), stripes)
        if tol:
            going &= ~xp.asarray([settled(*pair, tol) for pair in zip(before, stripes, strict=True)])
            if not bool(going.any()):
                break
    return stripes


def _gains(psi: Any, laplacian: Any, scale: Any) -> tuple[Any, Any]:
    """Return how much of each frequency of the residual becomes stripe, and the radius of the disc."""
    radius = np.float32(_RADIUS) * scale
    return psi / (radius + psi * laplacian), radius


def _filtered(made: Any, gains: Any) -> Any:
    xp = namespace(made)
    if xp is np and made.ndim == 2:
        spectrum = scipy.fft.rfft2(made, workers=1)
        spectrum *= gains
        return scipy.fft.irfft2(spectrum, s=made.shape, workers=1, overwrite_x=True)
    return xp.fft.irfft2(xp.fft.rfft2(made) * gains, s=made.shape[-2:]).astype(made.dtype)


def settled(before: Any, after: Any, tol: float) -> bool:
    """Return whether the largest change is at most `tol` of the largest value; of every eighth row."""
    before, after = before[::8], after[::8]
    return float(abs(after - before).max()) <= tol * float(abs(after).max())


def differences(xp: Any, u: Any) -> tuple[Any, Any]:
    """Return forward differences along x and y, periodic."""
    return xp.roll(u, -1, -1) - u, xp.roll(u, -1, -2) - u


def adjoint(xp: Any, rx: Any, ry: Any) -> Any:
    """Return what the transpose of `differences` makes of two fields."""
    return xp.roll(rx, 1, -1) - rx + xp.roll(ry, 1, -2) - ry


def _towards(xp: Any, x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
    """Return differences, 0 towards pixels that are missing."""
    right, below = xp.roll(weight, -1, -1), xp.roll(weight, -1, -2)
    return xp.where(right > 0, x, np.float32(0)), xp.where(below > 0, y, np.float32(0))


def project(xp: Any, x: Any, y: Any, weight: Any, radius: Any) -> tuple[Any, Any]:
    """Project vectors onto a disc; of pixels that are missing, and towards ones that are, nothing is left."""
    limit = radius
    if weight is not None:
        limit = radius * weight
        x, y = _towards(xp, x, y, weight)
    part = limit / xp.sqrt(xp.maximum(limit * limit, xp.maximum(x * x + y * y, np.float32(1e-30))))
    return x * part, y * part
