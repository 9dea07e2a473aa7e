"""How noisy a frame is, and noise that grows with the grey value made even."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.kernels._namespace import namespace

_MIXED = 6.0  # of white noise of deviation 1: the square root of the sum of squared coefficients
_NORMAL = 0.6744897501960817  # median of the absolute value, of the normal law


def noise_sigma(frame: Any) -> float:
    """Return the standard deviation of white noise in a frame, robustly.

    The median absolute second difference along y of the second difference along x, which is blind to structure that is a
    function of y plus one of x (Immerkaer 1996); edges are outliers to a median.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy. Differences that touch NaN are left out.

    Returns
    -------
    float
        NaN where no pixel has eight measured neighbours.

    Examples
    --------
    >>> from stack3d.kernels import noise
    >>> white = np.random.default_rng(0).normal(100, 5, (256, 256)).astype("float32")
    >>> bool(abs(noise.noise_sigma(white) - 5) < 0.1)
    True
    """
    xp = namespace(frame)
    if min(frame.shape) < 3:
        return float("nan")
    values = frame.astype(np.float32)
    across = values[:-2] - 2 * values[1:-1] + values[2:]
    mixed = xp.abs(across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:]).ravel()
    mixed = mixed[mixed == mixed]
    return float(xp.median(mixed)) / _NORMAL / _MIXED if mixed.size else float("nan")


def stacked(parts: Any) -> Any:
    """Return arrays of one shape as one, with a new first axis."""
    return namespace(parts[0]).stack(parts)


def stabilised(frame: Any, gain: float, offset: float) -> Any:
    """Return a frame whose noise, of variance ``gain * frame + offset``, has variance 1: the generalised Anscombe transform.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy.
    gain : float
        Positive.
    offset : float
        Variance of the noise at grey value 0; negative where the zero of the signal lies above it.
    """
    xp = namespace(frame)
    inside = np.float32(gain) * frame + np.float32(0.375 * gain**2 + offset)
    return np.float32(2 / gain) * xp.sqrt(xp.maximum(inside, np.float32(0)))


def unstabilised(values: Any, gain: float, offset: float) -> Any:
    """Return the grey values whose stabilised expectation `values` is: the inverse without bias, in closed form.

    M. Makitalo and A. Foi, Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise, IEEE
    Transactions on Image Processing 22 (2013) 91-103, doi:10.1109/TIP.2012.2202675.
    """
    xp = namespace(values)
    # Below it the expansion turns; it is the transform of no signal at all.
    d = xp.maximum(values, np.float32(2 * np.sqrt(0.375)))
    root = np.float32(np.sqrt(1.5))
    counts = d * d / 4 + root / (4 * d) - np.float32(1.375) / (d * d) + np.float32(0.625) * root / (d * d * d)
    return np.float32(gain) * (counts - np.float32(0.125)) - np.float32(offset / gain)
