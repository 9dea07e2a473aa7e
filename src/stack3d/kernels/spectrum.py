"""The Fourier transform of a frame, made once: tapered, free of its mean, with missing pixels weighed out."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed


class Spectrum(NamedTuple):
    """Half-plane transform of a weighted frame, with what its normalisation needs.

    Attributes
    ----------
    half : (rows, columns // 2 + 1) array of complex64
        ``rfft2`` of ``weight * (frame - mean)``, zero padded to `transformed`; all zero where nothing was measured.
    shape : (int, int)
        Of the frame.
    transformed : (int, int)
        Shape (rows, columns) that was transformed.
    taper : float
        Share of each side that was tapered.
    mean : float
        The weighted mean that was taken out; NaN where nothing was measured.
    squares : float
        Sum of the squared weights: ``sum |F|^2`` over the whole plane is `squares` times rows times columns times the
        variance.
    measured : array of complex64 or None
        Half-plane transform of the weights where pixels are missing; None where the weights are the taper's alone.
    """

    half: Any
    shape: tuple[int, int]
    transformed: tuple[int, int]
    taper: float
    mean: float
    squares: float
    measured: Any


def spectrum(frame: Any, mask: Any = None, *, taper: float = 0.25, padding: tuple[int, int] = (0, 0)) -> Spectrum:
    """Transform a frame to the half-plane of its spectrum.

    Each pixel is weighed by a cosine taper, and by zero where it is missing (NaN, infinite, or False in `mask`); the
    weighted mean goes first, so that missing pixels stand at the mean and carry nothing. The shape is padded with
    zeros to lengths whose transforms are fast.

    Parameters
    ----------
    frame : (y, x) array
        Numpy or cupy.
    mask : (y, x) array of bool, optional
        True where a pixel was measured.
    taper : float, default 0.25
        Share of each side that is tapered, half of it at each end (0: none, 1: the Hann window).
    padding : (int, int), optional
        At least so many rows and columns of zeros are added: `autocorrelation` is free of wrap-around up to these lags.

    Returns
    -------
    Spectrum

    Examples
    --------
    >>> from stack3d.kernels import spectrum
    >>> noise = np.random.default_rng(0).normal(50, 3, (100, 120)).astype("float32")
    >>> found = spectrum.spectrum(noise)
    >>> found.half.shape, found.half.dtype
    ((100, 61), dtype('complex64'))
    >>> bool(abs(spectrum.mean_power(found) - 9) < 0.5)
    True
    """
    if not 0 <= taper <= 1:
        raise ValueError(f"taper={taper!r} must be between 0 and 1")
    xp = namespace(frame)
    shape = (int(frame.shape[0]), int(frame.shape[1]))
    transformed = fast_shape(shape, padding)
    windows = tuple(window(n, taper) for n in shape)
    prepare = _prepare if on_host(frame) else _prepare_xp
    values, weights, mean, squares = prepare(frame, mask, windows, transformed)
    measured = None if weights is None else _rfft2(weights, xp)
    return Spectrum(_rfft2(values, xp), shape, transformed, float(taper), mean, squares, measured)


def fast_shape(shape: tuple[int, int], padding: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Return the shape, at least `shape` and `padding` together, that is transformed quickly."""
    rows, columns = (scipy.fft.next_fast_len(n + more, real=True) for n, more in zip(shape, padding, strict=True))
    return int(rows), int(columns)


@lru_cache(maxsize=64)
def window(n: int, taper: float) -> np.ndarray[Any, Any]:
    """Return a cosine taper of `n` float32 samples, nowhere exactly zero; read-only, as it is kept."""
    place = (np.arange(n) + 0.5) / n
    edge = np.minimum(np.minimum(place, 1 - place) / taper, 0.5) if taper > 0 else np.full(n, 0.5)
    values = (0.5 - 0.5 * np.cos(2 * np.pi * edge)).astype(np.float32)
    values.flags.writeable = False
    return values


def power(found: Spectrum) -> Any:
    """Return the periodogram of the half-plane, float32: its mean over the whole plane is the variance.

    White noise of variance v gives v everywhere; `multiplicity` says how often each column stands in the whole plane.
    """
    real, imaginary = found.half.real, found.half.imag
    scale = np.float32(1 / found.squares if found.squares > 0 else np.nan)
    return (real * real + imaginary * imaginary) * scale


def multiplicity(columns: int) -> np.ndarray[Any, Any]:
    """Return how often each column of the half-plane of a transform of `columns` columns stands in the whole plane."""
    number = np.full(columns // 2 + 1, 2.0)
    number[0] = 1
    if columns % 2 == 0:
        number[-1] = 1
    return number


def mean_power(found: Spectrum) -> float:
    """Return the mean of `power` over the whole plane: the tapered variance of the frame."""
    xp = namespace(found.half)
    rows, columns = found.transformed
    total = power(found).sum(axis=0, dtype=np.float64) @ xp.asarray(multiplicity(columns))
    return float(total) / (rows * columns)


def frequencies(found: Spectrum) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the frequencies of the rows and of the columns of the half-plane, in cycles per pixel."""
    rows, columns = found.transformed
    return np.fft.fftfreq(rows), np.arange(columns // 2 + 1) / columns


def autocorrelation(found: Spectrum, lags: tuple[int, int]) -> Any:
    """Return the autocovariance at all lags up to `lags`, without bias: each sum over the weight of its pairs.

    Parameters
    ----------
    found : Spectrum
        Made with a `padding` of at least `lags`.
    lags : (int, int)
        Largest lag along y and x, in pixels.

    Returns
    -------
    array (2 lags_y + 1, 2 lags_x + 1) of float64
        Lag zero in the middle. NaN where no pair was measured.
    """
    for name, lag, size, full in zip("yx", lags, found.shape, found.transformed, strict=True):
        if lag + size > full:
            raise ValueError(f"lags={lags!r}: along {name} the spectrum has padding for {full - size}")
    xp = namespace(found.half)
    total = _correlated(found.half, found, lags, xp)
    if found.measured is None:
        y, x = (xp.asarray(_overlap(window(n, found.taper), lag)) for n, lag in zip(found.shape, lags, strict=True))
        weight = y[:, None] * x[None, :]
    else:
        weight = _correlated(found.measured, found, lags, xp)
    # Transforms of float32 leave a rounding in place of no weight at all.
    enough = weight > 1e-5 * max(found.squares, 1e-30)
    return xp.where(enough, total / xp.where(enough, weight, 1.0), np.nan)


def _correlated(half: Any, found: Spectrum, lags: tuple[int, int], xp: Any) -> Any:
    squared = half.real * half.real + half.imag * half.imag
    fft = scipy.fft if xp is np else xp.fft
    full = fft.irfft2(squared.astype(half.dtype), found.transformed)
    rows, columns = (np.arange(-lag, lag + 1) for lag in lags)
    return full[xp.asarray(rows)[:, None], xp.asarray(columns)[None, :]].astype(np.float64)


def _overlap(values: np.ndarray[Any, Any], lag: int) -> np.ndarray[Any, Any]:
    wide = values.astype(np.float64)
    sums = [wide[k:] @ wide[: wide.size - k] if k < wide.size else 0.0 for k in range(lag + 1)]
    return np.array([*sums[:0:-1], *sums])


def _rfft2(values: Any, xp: Any) -> Any:
    if xp is np:
        return scipy.fft.rfft2(values, overwrite_x=True, workers=1)
    return xp.fft.rfft2(values).astype(np.complex64)


def _prepare(frame: Any, mask: Any, windows: Any, transformed: tuple[int, int]) -> Any:
    pixels, measured = packed(frame), None if mask is None else packed(mask)
    values = np.zeros(transformed, np.float32)
    sums = _weighted_sums(pixels, measured, windows[0], windows[1])
    weight, missing = float(sums[0]), int(sums[3])
    mean = float(sums[1] / weight) if weight > 0 else np.nan
    weights = np.zeros(transformed, np.float32) if missing else None
    if weight > 0:
        _fill(pixels, measured, windows[0], windows[1], mean, values, weights)
    return values, weights, mean, float(sums[2])


def _prepare_xp(frame: Any, mask: Any, windows: Any, transformed: tuple[int, int]) -> Any:
    xp = namespace(frame)
    wide = frame.astype(np.float64)
    keep = xp.isfinite(wide) if mask is None else xp.isfinite(wide) & mask
    taper = xp.asarray(windows[0])[:, None] * xp.asarray(windows[1])[None, :]
    part = xp.where(keep, taper, np.float32(0))
    weight = float(part.sum(dtype=np.float64))
    inside = xp.where(keep, wide, 0.0)
    mean = float((part * inside).sum()) / weight if weight > 0 else np.nan
    values = xp.zeros(transformed, np.float32)
    weights = None if bool(keep.all()) else xp.zeros(transformed, np.float32)
    place = (slice(0, frame.shape[0]), slice(0, frame.shape[1]))
    if weight > 0:
        values[place] = part * (inside - mean).astype(np.float32)
        if weights is not None:
            weights[place] = part
    return values, weights, mean, float((part.astype(np.float64) ** 2).sum())


@njit(nogil=True, cache=True)
def _weighted_sums(frame: Any, mask: Any, window_y: Any, window_x: Any) -> Any:
    # One accumulator a column: additions keep their order, and neighbouring columns share a vector instruction.
    columns = frame.shape[1]
    sums = np.zeros((4, columns))
    total, weighted, squares, missing = sums[0], sums[1], sums[2], sums[3]
    for y in range(frame.shape[0]):
        row = frame[y]
        for x in range(columns):
            value = np.float64(row[x])
            use = abs(value) <= 1.7976931348623157e308  # false for NaN and infinities
            if mask is not None:
                use = use & mask[y, x]
            weight = np.float64(window_y[y] * window_x[x]) if use else 0.0
            total[x] += weight
            weighted[x] += weight * (value if use else 0.0)
            squares[x] += weight * weight
            missing[x] += 0.0 if use else 1.0
    out = np.zeros(4)
    for k in range(4):
        for x in range(columns):
            out[k] += sums[k, x]
    return out


@njit(nogil=True, cache=True)
def _fill(frame: Any, mask: Any, window_y: Any, window_x: Any, mean: float, values: Any, weights: Any) -> None:
    for y in range(frame.shape[0]):
        row, target = frame[y], values[y]
        for x in range(row.size):
            value = np.float64(row[x])
            use = abs(value) <= 1.7976931348623157e308
            if mask is not None:
                use = use & mask[y, x]
            weight = window_y[y] * window_x[x] if use else np.float32(0)
            target[x] = weight * np.float32(value - mean if use else 0.0)
            if weights is not None:
                weights[y, x] = weight
