"""The autocovariance of the noise-free image at lag zero, from lags that noise does not reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EXTRAPOLATIONS = ("nearest", "linear", "parabolic", "nn+fo", "gaussian", "levinson")
_ORDER, _LAST = 2, 6  # coefficients of the linear prediction, and the last lag that it is fitted to

Values = np.ndarray


def needed_lags(method: str) -> list[tuple[int, int]]:
    """Return the lags (y, x) of one half of the plane: lag zero, the disc of the method, and its axes."""
    radius = {"nearest": 1, "gaussian": 3, "levinson": 1}.get(method, 2)
    disc = [(y, x) for y in range(radius + 1) for x in range(-radius, radius + 1) if y * y + x * x <= radius * radius]
    lags = [lag for lag in disc if lag >= (0, 0)]
    if method == "levinson":
        lags += [lag for k in range(2, _LAST + 1) for lag in ((0, k), (k, 0))]
    return lags


def noise_free(covariance: dict[tuple[int, int], float], method: str) -> tuple[float, float, float]:
    """Return the noise-free value at lag zero from all directions, along x and along y.

    Rings hold the lags of exactly one distance: the diagonal neighbours count with their distance of 1.41.
    """
    along_x = {float(x): covariance[y, x] for y, x in covariance if y == 0 and x > 0}
    along_y = {float(y): covariance[y, x] for y, x in covariance if x == 0 and y > 0}
    mean = {radius: (along_x[radius] + along_y[radius]) / 2 for radius in along_x}
    ring = mean if method == "levinson" else _rings(covariance)
    function = _METHODS[method]
    found = []
    for profile in (ring, along_x, along_y):
        radii = np.array(sorted(profile))
        values = np.array([profile[radius] for radius in radii.tolist()])
        found.append(function(radii, values) if np.isfinite(values).all() else np.nan)
    return found[0], found[1], found[2]


def _rings(covariance: dict[tuple[int, int], float]) -> dict[float, float]:
    members: dict[int, list[float]] = {}
    for (y, x), value in covariance.items():
        members.setdefault(y * y + x * x, []).append(value)
    return {float(np.sqrt(square)): float(np.mean(values)) for square, values in members.items() if square}


def _nearest(radii: Values, values: Values) -> float:
    return float(values[0])


def _linear(radii: Values, values: Values) -> float:
    return _intercept(radii, values)


def _parabolic(radii: Values, values: Values) -> float:
    return _intercept(radii**2, values)


def _nn_fo(radii: Values, values: Values) -> float:
    return (_nearest(radii, values) + _linear(radii, values)) / 2


def _gaussian(radii: Values, values: Values) -> float:
    """Least squares of a Gaussian over a constant: linear but for its width, which is searched for."""
    low, high = np.log(0.3), np.log(100.0)
    for _ in range(6):
        widths = np.linspace(low, high, 25)
        # Zero at lag zero: the intercept is the height there.
        shapes = np.expm1(-(radii**2) / (2 * np.exp(2 * widths[:, np.newaxis])))
        offsets = shapes - shapes.mean(axis=1, keepdims=True)
        slopes = (offsets @ values) / (offsets**2).sum(axis=1)
        residuals = values - values.mean() - slopes[:, np.newaxis] * offsets
        best = int(np.argmin((residuals**2).sum(axis=1)))
        low, high = widths[max(best - 1, 0)], widths[min(best + 1, 24)]
    return float(values.mean() - slopes[best] * shapes[best].mean())


def _levinson(radii: Values, values: Values) -> float:
    """Backward linear prediction: R(m) = sum of a_k R(m + k), fitted for m >= 1 and used for m = 0.

    Lag zero holds the noise, so the Toeplitz system of Levinson and Durbin, which contains it, cannot give the a_k.
    """
    rows = _LAST - _ORDER
    after = np.array([values[m : m + _ORDER] for m in range(1, rows + 1)])
    coefficients = np.linalg.lstsq(after, values[:rows], rcond=1e-6)[0]
    return float(coefficients @ values[:_ORDER])


def _intercept(abscissa: Values, values: Values) -> float:
    centre = abscissa.mean()
    offset = abscissa - centre
    return float(values.mean() - centre * (offset @ values) / (offset @ offset))


_METHODS: dict[str, Callable[[Values, Values], float]] = {
    "nearest": _nearest,
    "linear": _linear,
    "parabolic": _parabolic,
    "nn+fo": _nn_fo,
    "gaussian": _gaussian,
    "levinson": _levinson,
}
