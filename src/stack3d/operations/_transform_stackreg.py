"""Transform between two frames by pystackreg (TurboReg), where it is installed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stack3d import device, kernels
from stack3d.operations._transform_affine import REFUSED

_LEAST = 0.1  # correlation below which a transform is refused
_FAR = 0.5  # entries of the linear part further than this from those of 1 are not believed
KINDS = {"rigid": "RIGID_BODY", "similarity": "SCALED_ROTATION", "affine": "AFFINE"}


class StackregPlan(NamedTuple):
    """Binning before frames are compared, and what a frame may do."""

    binning: int
    model: str


def plan(shape: tuple[int, int], settings: Any) -> StackregPlan:
    """Return how frames are compared; raises where pystackreg is not installed."""
    try:
        import pystackreg  # noqa: F401
    except ImportError:
        raise ImportError(
            "method='stackreg' needs the package pystackreg, which is not installed: pip install 'stack3d[stackreg]'; "
            "method='phase' needs nothing"
        ) from None
    if settings.model in ("rigid", "similarity") and abs(settings.aspect - 1) > 1e-6:
        raise ValueError(
            f"method='stackreg' with model={settings.model!r} takes pixels for squares, but those of the stack are "
            f"{settings.aspect:g} times as high as wide; resample it, or use method='phase'"
        )
    return StackregPlan(settings.binning or 1, settings.model)


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
    return np.array([dy * plan.binning, dx * plan.binning, quality, _weight(quality, plan)])


def pair_matrix(first: np.ndarray | None, second: np.ndarray | None, plan: StackregPlan) -> np.ndarray:
    """Return (six entries of the matrix, quality, weight); quality is the correlation of what overlaps."""
    from pystackreg import StackReg

    if first is None or second is None:
        return REFUSED
    matrix = np.asarray(StackReg(getattr(StackReg, KINDS[plan.model])).register(first, second), np.float64)
    if not (np.isfinite(matrix).all() and np.abs(matrix[:2, :2] - np.eye(2)).max() < _FAR):
        return REFUSED
    matrix[2] = 0, 0, 1
    moved, _ = kernels.warp.warp_frame(second, matrix, order=1, fill="constant", value=np.nan)
    both = np.isfinite(moved)
    if both.sum() < 64:
        return REFUSED
    quality = _cosine(first[both].astype(np.float64), moved[both].astype(np.float64))
    if quality < _LEAST:
        return REFUSED
    # From binned pixels to those of the frame.
    b = plan.binning
    matrix[:2, 2] = b * matrix[:2, 2] + (b - 1) / 2 * (1 - matrix[:2, :2].sum(axis=1))
    return np.array([*matrix[:2].ravel(), quality, _weight(quality, plan)])


def _weight(quality: float, plan: StackregPlan) -> float:
    # It gives no error of its own: what is known is that it falls as the correlation rises.
    return quality**2 / (1.0001 - quality**2) * 1e3 / plan.binning**2


def _correlation(first: np.ndarray, second: np.ndarray, dy: float, dx: float) -> float:
    """Return the correlation of two frames where they overlap, the second put back by whole pixels."""
    row, col = round(dy), round(dx)
    rows, cols = first.shape
    if abs(row) > rows - 8 or abs(col) > cols - 8:
        return 0.0
    a = first[max(0, -row) : rows - max(0, row), max(0, -col) : cols - max(0, col)].astype(np.float64)
    b = second[max(0, row) : rows + min(0, row), max(0, col) : cols + min(0, col)].astype(np.float64)
    return _cosine(a, b)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / norm if norm > 0 else 0.0
