"""Stripes as the package pyvsnr finds them, where it is installed: for comparison."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Plan(NamedTuple):
    """Arguments of ``pyvsnr.vsnr2d``."""

    angle: float
    strength: float
    sigma: tuple[float, float]
    noise_level: float
    max_iter: int
    tol: float


def plan(
    shape: tuple[int, int],
    *,
    angle: float = 0.0,
    strength: float = 1.0,
    sigma: tuple[float, float] = (0.5, 200.0),
    noise_level: float = 20.0,
    max_iter: int = 20,
    tol: float = 0.0,
) -> Plan:
    """Return what `stripes` needs.

    Parameters
    ----------
    sigma : (across, along)
    noise_level : float
        Of its Gabor filter; `strength` multiplies it.

    Raises
    ------
    ImportError
        Where the package is not installed.
    """
    try:
        import pyvsnr  # noqa: F401
    except ImportError:
        raise ImportError(
            "method='pyvsnr' needs the package pyvsnr, which is not installed: pip install 'stack3d[pyvsnr]'; "
            "method='vsnr' needs nothing"
        ) from None
    across, along = sigma
    return Plan(
        float(angle), float(strength), (float(across), float(along)), float(noise_level), int(max_iter), float(tol)
    )


def stripes(frame: Any, plan: Plan, weight: Any = None) -> Any:
    """Return the stripes of a frame; missing pixels take its mean. Always computed by the package's NumPy form."""
    import pyvsnr

    frame = np.asarray(frame, np.float32)
    if weight is not None:
        there = weight > 0
        frame = np.where(there, frame, frame[there].mean() if there.any() else 0)
    # Values must be positive: the package divides by the largest.
    base = frame - frame.min() if frame.size else frame
    if not base.any():
        return np.zeros_like(frame)
    name = {"name": "Gabor", "noise_level": plan.strength * plan.noise_level, "sigma": plan.sigma, "theta": -plan.angle}
    fft = np.fft
    try:
        clean = pyvsnr.vsnr2d(base, [name], maxit=plan.max_iter, algo="numpy", norm=False, cvg_threshold=plan.tol)
    finally:
        np.fft = fft  # the package puts another module there
    return (base - clean).astype(np.float32)
