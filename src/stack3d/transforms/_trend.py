"""Slow changes along a stack: lines, polynomials, local polynomials, moving means."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

Trend = Literal["keep", "linear", "polynomial", "savgol", "mean"]
TRENDS: tuple[str, ...] = get_args(Trend)
_DEGREES = {"polynomial": 2, "savgol": 3}
_WINDOW = 51


def check_trend(trend: Any, window: Any, degree: Any, *, prefix: str = "") -> None:
    """Raise unless the three fit together; `prefix` goes before the names ``window`` and ``degree``."""
    if trend not in TRENDS:
        raise ValueError(f"trend={trend!r} is not allowed; it must be one of {TRENDS}")
    if window is not None:
        if trend not in ("savgol", "mean"):
            raise ValueError(f"{prefix}window={window!r} has a meaning only for the trends 'savgol' and 'mean'")
        if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 1:
            raise ValueError(f"{prefix}window={window!r} must be a whole number of slices, at least 1")
    if degree is not None:
        if trend not in _DEGREES:
            raise ValueError(f"{prefix}degree={degree!r} has a meaning only for the trends 'polynomial' and 'savgol'")
        if isinstance(degree, bool) or not isinstance(degree, int | np.integer) or degree < 0:
            raise ValueError(f"{prefix}degree={degree!r} must be a whole number of at least 0")
    if trend == "savgol" and window is not None:
        least = (_DEGREES["savgol"] if degree is None else degree) + 1
        if window < least:
            raise ValueError(f"{prefix}window={window} must be at least degree + 1 = {least} slices")


def trend_of(
    values: np.ndarray,
    z: np.ndarray,
    good: np.ndarray,
    trend: str,
    window: int | None = None,
    degree: int | None = None,
) -> np.ndarray:
    """Return the trend of each column of `values` (n, k) at every slice.

    Lines and polynomials are least-squares fits over z to the good slices; ``"savgol"`` the same in the `window` slices
    around each (at the ends: in the first or last `window`); ``"mean"`` the mean of `window` slices, mirrored at the
    ends (d c b a | a b c d).
    """
    count = len(z)
    if not good.any():
        good = np.ones(count, dtype=bool)
    if trend == "mean":
        from scipy.ndimage import uniform_filter1d

        return np.asarray(uniform_filter1d(values, min(_WINDOW, count) if window is None else window, axis=0))
    if trend == "savgol":
        degree = _DEGREES["savgol"] if degree is None else degree
        return _local(values, z, good, min(_WINDOW if window is None else window, count), degree)
    degree = 1 if trend == "linear" else _DEGREES["polynomial"] if degree is None else degree
    x = _scaled(z, z)
    return _fitted(values[good], x[good], x, degree)


def line_through(values: np.ndarray, z: np.ndarray, good: np.ndarray, first: int, degree: int) -> np.ndarray:
    """Return the polynomial that is 0 at slice `first`, fitted to the good slices."""
    x = (z - z[first]) / (np.ptp(z) or 1.0)
    basis = np.stack([x**power for power in range(1, max(degree, 1) + 1)], axis=1)
    coefficients, *_ = np.linalg.lstsq(basis[good], values[good], rcond=None)
    result: np.ndarray = basis @ coefficients
    return result


def _scaled(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    span = np.ptp(like)
    scaled: np.ndarray = (2 * x - like.max() - like.min()) / (span if span > 0 else 1.0)
    return scaled


def _fitted(values: np.ndarray, x: np.ndarray, at: np.ndarray, degree: int) -> np.ndarray:
    from numpy.polynomial import legendre

    degree = min(degree, len(x) - 1)
    coefficients, *_ = np.linalg.lstsq(legendre.legvander(x, degree), values, rcond=None)
    result: np.ndarray = legendre.legvander(at, degree) @ coefficients
    return result


def _local(values: np.ndarray, z: np.ndarray, good: np.ndarray, window: int, degree: int) -> np.ndarray:
    count = len(z)
    out = np.empty_like(values)
    for k in range(count):
        start = min(max(k - window // 2, 0), count - window)
        part = slice(start, start + window)
        # Where next to nothing is good the bridged places stand in.
        use = good[part] if good[part].sum() > degree else np.ones(window, dtype=bool)
        x = _scaled(z[part], z[part])
        out[k] = _fitted(values[part][use], x[use], _scaled(z[k : k + 1], z[part]), degree)[0]
    return out
