"""Array form of the loops of :mod:`stack3d.kernels.phase`: for cupy, and the oracle of the compiled form."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels import _phase_frame_loops as frame_loops
from stack3d.kernels import _phase_loops as loops


def to_host(array: Any) -> np.ndarray[Any, Any]:
    """Return a numpy array, copied from the device where it lies on one."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.get())


def bin_frame(frame: Any, b: int, n: int, m: int, xp: Any) -> tuple[Any, int, float]:
    """Average b x b pixels about a reference; give also the number of empty blocks and the largest magnitude."""
    values = frame[: n * b, : m * b].astype(xp.float64)
    good = xp.isfinite(values)
    number = int(good.sum())
    if number == 0:
        return xp.full((n, m), xp.nan, xp.float32), n * m, 0.0
    values = xp.where(good, values, 0.0)
    largest = float(xp.abs(values).max())
    reference = values.sum() / number
    total = xp.where(good, values - reference, 0.0).reshape(n, b, m, b).sum(axis=(1, 3))
    count = good.reshape(n, b, m, b).sum(axis=(1, 3))
    mean = xp.where(count > 0, total / xp.maximum(count, 1), xp.nan)
    return mean.astype(xp.float32), int((count == 0).sum()), largest


def flatten(values: Any, trend_y: Any, trend_x: Any, xp: Any) -> tuple[Any, float]:
    """Take mean and slope out of every row and column; give also the mean-absolute deviation."""
    trend_y, trend_x = xp.asarray(trend_y), xp.asarray(trend_x)
    values = values - (values @ trend_x.T) @ trend_x
    values = values - trend_y.T @ (trend_y @ values)
    return values, float(xp.abs(values).mean(dtype=xp.float64))


def transform(residual: Any, deviation: float, clip: float, tables: Any, xp: Any) -> tuple[Any, Any]:
    """Clip, taper and transform; take the band out and whiten it cell by cell."""
    limit = xp.float32(clip * deviation)
    window = xp.asarray(tables.window_y)[:, None] * xp.asarray(tables.window_x)[None, :]
    tapered = xp.clip(residual, -limit, limit) * window / xp.float32(deviation)
    full = xp.fft.rfft2(tapered, tables.transformed)
    row, column, real = places(tables)
    flat = full[xp.asarray(row), xp.asarray(np.where(real, column, 0))].astype(xp.complex64) * xp.asarray(real)
    power = to_host(xp.bincount(xp.asarray(tables.cell), xp.abs(flat).astype(xp.float64) ** 2, tables.counts.size))
    power, factor = frame_loops.whitening(power, tables.counts, tables.ring, tables.axis, tables.rings)
    flat = flat * xp.asarray(factor)[xp.asarray(tables.cell)]
    return xp.stack([flat.real, flat.imag]), xp.asarray(power)


def places(tables: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Row and column, in the transform, of every coefficient of the band, and whether it is more than padding."""
    number = np.diff(tables.start)
    row = np.repeat(tables.rows, number)
    column = np.arange(row.size) - np.repeat(tables.start[:-1] - tables.first, number)
    first, end = np.repeat(tables.kept, number, axis=0).T
    return row, column, (column >= first) & (column < end)


class PairSums:
    """Sums over the band of a pair of spectra."""

    def __init__(self, first: Any, second: Any, tables: Any, xp: Any) -> None:
        a, b = first.coefficients, second.coefficients
        self.t, self.xp = tables, xp
        self.cross = (a[0] - 1j * a[1]) * (b[0] + 1j * b[1])
        number = np.diff(tables.start)
        _, column, self.real = places(tables)
        self.row_number = np.repeat(tables.signed, number)
        self.column = column
        self.ky = xp.asarray(self.row_number * tables.step[0])
        self.kx = xp.asarray(column * tables.step[1])
        self.cell = xp.asarray(tables.cell)
        self.squares = to_host(xp.bincount(self.cell, xp.abs(self.cross) ** 2, tables.counts.size))
        self.weighed = self.cross

    def correlation(self, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Correlation of the low part of the band on the coarse grid."""
        xp, (rows, columns) = self.xp, self.t.grid
        inside = self.real & (2 * np.abs(self.row_number) < rows) & (2 * self.column < columns)
        half = xp.zeros((rows, columns // 2 + 1), xp.complex64)
        chosen = xp.asarray(np.flatnonzero(inside))
        values = self.cross[chosen] * xp.asarray(weight)[self.cell[chosen]]
        half[xp.asarray(self.row_number[inside] % rows), xp.asarray(self.column[inside])] = values
        return to_host(xp.fft.irfft2(half, (rows, columns)).astype(xp.float32))

    def _rotated(self, values: Any, dy: float, dx: float) -> Any:
        return values * self.xp.exp(1j * (self.ky * dy + self.kx * dx))

    def cells(self, dy: float, dx: float) -> np.ndarray[Any, Any]:
        """Sum of the real part of the cross-spectrum, rotated back by a displacement, in each cell."""
        real = self._rotated(self.cross, dy, dx).real
        return to_host(self.xp.bincount(self.cell, real, self.t.counts.size))

    def weigh(self, weight: np.ndarray[Any, Any]) -> None:
        """Choose the weights of the cells for what follows."""
        self.weighed = self.cross * self.xp.asarray(weight)[self.cell]

    def moments(self, dy: float, dx: float) -> np.ndarray[Any, Any]:
        """Objective at a displacement, with its gradient and Hessian: (L, gy, gx, hyy, hyx, hxx)."""
        xp, ky, kx = self.xp, self.ky, self.kx
        turned = self._rotated(self.weighed, dy, dx)
        re, im = turned.real, turned.imag
        sums = [re.sum(), -(ky * im).sum(), -(kx * im).sum()]
        sums += [-(ky * ky * re).sum(), -(ky * kx * re).sum(), -(kx * kx * re).sum()]
        return to_host(xp.stack(sums))

    def climb(self, dy: float, dx: float, steps: int, longest: float, near: float) -> tuple[float, float]:
        """Newton steps from a displacement, until one is shorter than `near`."""
        for _ in range(steps):
            sy, sx = loops.newton(self.moments(dy, dx), longest)
            dy, dx = dy + sy, dx + sx
            if sy * sy + sx * sx < near * near:
                break
        return dy, dx
