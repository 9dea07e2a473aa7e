"""Displacement of two frames by pystackreg (TurboReg), where it is installed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d import device, kernels

_LEAST = 0.1  # correlation below which a displacement is refused


class StackregPlan(NamedTuple):
    """Binning before frames are compared."""

    binning: int


def plan(shape: tuple[int, int], settings: Any) -> StackregPlan:
    """Return how frames are compared; raises where pystackreg is not installed."""
    try:
        import pystackreg  # noqa: F401
    except ImportError:
        raise ImportError(
            "method='stackreg' needs the package pystackreg, which is not installed: pip install 'stack3d[stackreg]'; "
            "method='phase' needs nothing"
        ) from None
    return StackregPlan(settings.binning or 1)


def pixels(frame: Any, weight: np.ndarray | None, plan: StackregPlan) -> np.ndarray | None:
    """Return the binned frame without missing pixels, or None where it holds nothing."""
    b = plan.binning
    host = device.to_host(frame).astype(np.float32)
    if min(host.shape) < 12 * b:
        return None
    host = kernels.binning.bin_frame(host, b, b)
    known = np.isfinite(host)
    # A mean of equal numbers may miss them by rounding.
    if known.sum() < known.size // 2 or not np.ptp(host[known]) > 1e-5 * float(np.abs(host[known]).max()):
        return None
    host = np.where(known, host - host[known].mean(dtype=np.float64), 0).astype(np.float32)
    if weight is not None:
        host *= kernels.binning.bin_frame(weight, b, b)
    return host


def pair(first: np.ndarray | None, second: np.ndarray | None, plan: StackregPlan) -> np.ndarray:
    """Return (dy, dx, quality, weight); quality is the correlation of what overlaps."""
    from pystackreg import StackReg

    refused = np.array([np.nan, np.nan, 0.0, 0.0])
    if first is None or second is None:
        return refused
    matrix = StackReg(StackReg.TRANSLATION).register(first, second)
    dy, dx = float(matrix[1, 2]), float(matrix[0, 2])
    if not (np.isfinite(dy) and np.isfinite(dx)):
        return refused
    quality = _correlation(first, second, dy, dx)
    if quality < _LEAST:
        return refused
    # It gives no error of its own: what is known is that it falls as the correlation rises.
    weight = quality**2 / (1.0001 - quality**2) * 1e3 / plan.binning**2
    return np.array([dy * plan.binning, dx * plan.binning, quality, weight])


def _correlation(first: np.ndarray, second: np.ndarray, dy: float, dx: float) -> float:
    """Return the correlation of two frames where they overlap, the second put back by whole pixels."""
    row, col = round(dy), round(dx)
    rows, cols = first.shape
    if abs(row) > rows - 8 or abs(col) > cols - 8:
        return 0.0
    a = first[max(0, -row) : rows - max(0, row), max(0, -col) : cols - max(0, col)].astype(np.float64)
    b = second[max(0, row) : rows + min(0, row), max(0, col) : cols + min(0, col)].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / norm if norm > 0 else 0.0
