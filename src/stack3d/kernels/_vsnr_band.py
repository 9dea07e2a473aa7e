"""VSNR where the stripes are made of few modes along their direction: no transform of the frame."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from stack3d.kernels import _vsnr_band_loops as loops
from stack3d.kernels import _vsnr_descent as descent
from stack3d.kernels import _vsnr_split as split
from stack3d.kernels._namespace import namespace
from stack3d.kernels._vsnr_plan import Band
from stack3d.kernels._vsnr_steps import minimum
from stack3d.kernels._vsnr_terms import ROWS

_WARM = (2, 4)  # iterations that look at one block of rows of so many


def solve(
    u: Any, weight: Any, holes: bool, spans: Any, tables: Band, psi: Any, scale: float, *, iterations: int, tol: float
) -> Any:
    """Return the stripes of a frame (compiled form).

    Parameters
    ----------
    u : (y, x) float32 array
        Stripes along y.
    weight : (y, x) float32 array or None
        0 where a pixel is missing.
    holes : bool
        Whether any is within the spans.
    spans : (y, 2) int64 array
        First pixel of each row that was measured, and the one after the last.
    tables : Band
    psi : (modes, frequencies) float32 array
        Power of the filters, in grey values.
    scale : float
        Of the gradients, in grey values.
    iterations, tol
        See `_vsnr_descent.minimum`.
    """
    height, width = u.shape
    work = _workspace(width, tables.local.shape[2])
    lines = np.zeros((tables.mix.shape[2] if tables.mix.size else tables.local.shape[2], width), np.float32)
    wave, out = lines, np.empty_like(lines)
    modes = psi.shape[0]
    measured = float((spans[:, 1] - spans[:, 0]).sum()) if not holes else float(weight.sum(dtype=np.float64))
    empty = np.empty((0, 0), np.float32)

    tiny = np.float32((descent.SMOOTH * scale) ** 2)

    def slope(coefficients: Any, every: int) -> tuple[Any, float, float]:
        wave[:modes] = coefficients
        more = _more(height, every)
        size, over = loops.gradient(
            u, weight if holes else empty, spans, tables.local, tables.mix, wave, out, *work, tiny, every, more,
            tables.periodic,
        )  # fmt: skip
        return out[:modes], size, 0.5 * over / measured

    across = descent.transform(np, width, tables.periodic)
    options: Any = {"warm": _warm(tables), "iterations": iterations, "tol": tol}
    coefficients, flat = minimum(slope, psi, tables.laplacian, across, scale, **options)
    if flat:
        return split.solve(u, weight, tables, psi, scale, iterations=iterations, tol=tol * descent.SLOWER)
    wave[:modes] = coefficients
    field = np.empty(u.shape, np.float32)
    loops.field(tables.local, tables.mix, wave, work[3], field)
    return field


def solve_xp(u: Any, weight: Any, tables: Band, psi: Any, scale: Any, *, iterations: int, tol: float) -> Any:
    """Return the stripes of frames (`xp` form): `u`, `weight` and `psi` have frames first, `scale` is one of each."""
    xp = namespace(u)
    height, width = u.shape[-2:]
    basis = xp.asarray(tables.basis)
    tiny = xp.asarray((descent.SMOOTH * scale) ** 2, dtype=np.float32)[:, None, None]
    measured = height * width if weight is None else xp.sum(weight, axis=(1, 2), dtype=np.float64)

    def slope(coefficients: Any, every: int) -> descent.Slope:
        rows = np.arange(height)
        rows = xp.asarray(rows[(rows // ROWS) % every == 0])
        below = (rows + 1) % height if tables.periodic else xp.minimum(rows + 1, height - 1)
        e = u[:, rows] - basis[rows] @ coefficients
        x = xp.roll(e, -1, 2) - e
        y = u[:, below] - basis[below] @ coefficients - e
        if not tables.periodic:
            x[..., -1] = 0
        here = None if weight is None else weight[:, rows]
        if here is not None:
            x = xp.where(xp.roll(here, -1, 2) > 0, x, np.float32(0))
            y = xp.where(weight[:, below] > 0, y, np.float32(0))
        square = x * x + y * y + tiny
        part = 1 / xp.sqrt(square)
        part = part if here is None else here * part
        more = _more(height, every)
        size, over = (xp.sum(values, axis=(1, 2), dtype=np.float64) * more for values in (square * part, part))
        x, y = x * part, y * part
        made = basis[rows].T @ (xp.roll(x, 1, 2) - x - y) + basis[below].T @ y
        return descent.Slope(np.float32(more) * made, size, 0.5 * over / measured)

    across = descent.transform(xp, width, tables.periodic)
    options: Any = {"warm": _warm(tables), "iterations": iterations, "tol": tol}
    laplacian = xp.asarray(tables.laplacian)
    coefficients, flat = descent.minimum(slope, psi, laplacian, across, xp.asarray(scale), **options)
    out = basis @ coefficients
    for k in np.flatnonzero(flat.get() if hasattr(flat, "get") else flat):
        some = None if weight is None else weight[k]
        out[k] = split.solve_xp(
            u[k], some, tables, psi[k], float(scale[k]), iterations=iterations, tol=tol * descent.SLOWER
        )
    return out


@functools.lru_cache(maxsize=64)
def _more(height: int, every: int) -> float:
    rows = np.arange(height)
    return height / np.count_nonzero((rows // ROWS) % every == 0)


def _warm(tables: Band) -> tuple[int, int]:
    # Blocks of rows stand for the frame where the fastest mode takes longer from crest to trough than they are apart.
    return _WARM if tables.basis.shape[0] > _WARM[1] * ROWS * tables.fastest else (0, 1)


class _Kept(threading.local):
    key: tuple[int, int] | None = None
    arrays: tuple[Any, ...] = ()


_kept = _Kept()


def _workspace(width: int, terms: int) -> tuple[Any, ...]:
    """Return buffers for frames of a width: kept by each thread for its next frame."""
    if _kept.key != (width, terms):
        _kept.key, _kept.arrays = (width, terms), loops.buffers(width, terms)
    return _kept.arrays
