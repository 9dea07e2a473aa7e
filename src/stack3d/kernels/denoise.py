"""Noise taken from a frame, with the help of its neighbours along z where they are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels import _detail_bands, _fill, atrous, nlm, noise, same_sign, wiener
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._store import finish
from stack3d.kernels.finite import as_float32, measurable

# Chosen on fib25 sample1 with added noise, for the noise as it is estimated there; see benchmarks/denoise.py.
NLM = {
    "patch": 3,
    "search": 3,
    "floor": 1.0,
    "width": 2.0,
    "spread": 1.35,
    "means": 0.35,
    "first": 0.4,
    "noise": 1.1,
    "strong": 2.0,
}
NLM_Z = {
    "patch": 2,
    "search": 3,
    "floor": 1.0,
    "width": 2.0,
    "spread": 1.0,
    "means": 0.35,
    "first": 0.0,
    "noise": 1.2,
    "strong": 1.2,
}
COMMON = 0.15  # share of the mean signal of all blocks in that of one, for the second step
TV = 0.7
GAUSSIAN = 0.8
TOLERANCE = 0.25
RULES = ((1.0, -2.0), (4.0, 0.0))  # gain (per noise variance) and offset of each half of the finest band
UNSEEING = ("median", "gaussian", "correlated", "same_sign")  # methods that do not look at the noise
_LEAST_WAVELET = 6  # pixels a side, for one level of db2
_SHIFTS = ((0, 0), (1, 2), (2, 1), (3, 3))


def denoise(
    frames: Sequence[Any],
    centre: int,
    use: Sequence[bool],
    sigma: float,
    gain: float,
    offset: float,
    *,
    method: str,
    strength: float,
    dtype: Any,
) -> tuple[Any, int]:
    """Return the centre frame with less noise.

    Parameters
    ----------
    frames : sequence of (y, x) array
        Numpy or cupy. NaN is missing and stays so.
    centre : int
        Which is wanted.
    use : sequence of bool
        Which others may help.
    sigma : float
        Standard deviation of the noise, of the stabilised frame where `gain` is finite. A frame without noise (0 or
        NaN) stays as it is, unless the method asks for none.
    gain, offset : float
        The noise has variance ``gain * frame + offset``; NaN: it is alike everywhere.
    method : {"nlm", "nlm_z", "tv", "wavelet", "median", "gaussian", "multiscale", "correlated", "same_sign"}
    strength : float
    dtype : dtype

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
    """
    xp = namespace(frames[centre])
    original = frames[centre]
    if strength == 0:
        return finish(original, dtype)
    helpful = [k for k in range(len(frames)) if k == centre or (use[k] and _any_known(frames[k]))]
    given = [measurable(as_float32(frames[k])) for k in helpful]
    middle = helpful.index(centre)
    if not _any_known(given[middle]) or (method not in UNSEEING and not sigma > 0):
        return finish(original, dtype)
    counted = np.isfinite(gain)
    if counted:
        given = [noise.stabilised(frame, gain, offset) for frame in given]
    exponent = _exponent(given)
    small = [xp.ldexp(frame, -exponent) for frame in given]
    out = xp.ldexp(_run(small, middle, strength, math.ldexp(float(sigma), -exponent), method), exponent)
    if counted:
        out = noise.unstabilised(out, gain, offset)
    if original.dtype.kind == "f":
        out = xp.where(xp.isfinite(original), out, original.astype(np.float32, copy=False))
    return finish(out, dtype)


def _exponent(frames: Sequence[Any]) -> int:
    """Return the power of two of the largest value: divided by it, which is exact, no square overflows, whatever the unit."""
    xp = namespace(frames[0])
    largest = max(float(xp.abs(xp.where(xp.isfinite(frame), frame, np.float32(0))).max()) for frame in frames)
    return min(max(math.frexp(largest)[1], -100), 120)


def _run(frames: list[Any], centre: int, strength: float, sigma: float, method: str) -> Any:
    if method in ("nlm", "nlm_z"):
        return non_local(frames, centre, (strength * sigma) ** 2, NLM if method == "nlm" else NLM_Z)
    filled = [_filled(frame) for frame in frames]
    if method == "median":
        return median(filled, max(1, round(strength)))
    if method == "gaussian":
        return gaussian(filled, centre, GAUSSIAN * strength)
    if method == "correlated":
        return correlated(filled[centre], TOLERANCE * strength)
    if method == "same_sign":
        return filled[centre] + np.float32(strength) * (same_sign.means(filled[centre]) - filled[centre])
    if method == "tv":
        return total_variation(filled[centre], TV * strength * sigma)
    if method == "wavelet":
        return wavelet(filled[centre], strength * sigma)
    variance = (strength * sigma) ** 2
    return multiscale(filled[centre], [(rule[0] / variance, rule[1]) for rule in RULES])


def non_local(frames: Sequence[Any], centre: int, variance: float, plan: Mapping[str, float]) -> Any:
    """Return the centre frame by non-local means over all frames, and a Wiener filter of blocks that builds on them.

    Parameters
    ----------
    frames : sequence of (y, x) float32 array
        Numpy or cupy. NaN is missing and stays so.
    centre : int
    variance : float
        Of the noise.
    plan : dict
        Of the means over all frames. Their share (``means``) in what says what is signal: the rest is a filter of blocks that
        knows only what they have in common, which sees less of what is rare and is wrong less often where noise is strong.
        The share of both in the result where there is little noise (``first``), as what is wrong with them and with the last
        filter differs. With how much of the variance that one counts where noise is weak (``noise``) and ``strong``: more
        than all, as the others have noise of their own. What the other frames show is found in each alone, by `NLM`.
    """
    noisy = [_filled(frame) for frame in frames]
    clear = []
    for k, frame in enumerate(frames):
        others, place, own = (frames, k, plan) if k == centre else ([frame], 0, NLM)
        alike = _filled(_means(others, place, variance, own))
        common = wiener.filtered(noisy if k == centre else [noisy[k]], None, place, variance, common=1.0)
        clear.append(common + np.float32(plan["means"]) * (alike - common))
    share = wiener.noise_share(noisy[centre], variance)
    counted = (1 - share) * plan["noise"] + share * plan["strong"]
    second = wiener.filtered(noisy, clear, centre, variance, noise=counted, common=COMMON)
    return second + np.float32((1 - share) * plan["first"]) * (clear[centre] - second)


def _means(frames: Sequence[Any], centre: int, variance: float, plan: Mapping[str, float]) -> Any:
    return nlm.non_local_means(
        frames,
        centre,
        plan["width"] * variance,
        floor=plan["floor"] * variance,
        patch=int(plan["patch"]),
        search=int(plan["search"]),
        spread=plan["spread"],
    )


def _any_known(frame: Any) -> bool:
    return frame.dtype.kind != "f" or bool(namespace(frame).isfinite(frame).any())


def _filled(frame: Any) -> Any:
    values, weight, _ = _fill.known(frame)
    return values if weight is None else _fill.fill(values, weight)


def gaussian(frames: Sequence[Any], centre: int, width: float) -> Any:
    """Return the centre frame smoothed by a Gaussian of standard deviation `width`, in pixels and in slices.

    Its weights end after four widths, and at the last frame given.
    """
    xp = namespace(frames[centre])
    shares = np.exp(-((np.arange(len(frames)) - centre) ** 2) / (2 * width**2))
    shares /= shares.sum()
    total = xp.zeros_like(frames[centre])
    for share, frame in zip(shares, frames, strict=True):
        total = total + np.float32(share) * frame
    reach = max(1, int(np.ceil(4 * width)))
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * width**2))
    taps /= taps.sum()
    for axis in (0, 1):
        size = total.shape[axis]
        out = xp.zeros_like(total)
        for k, tap in enumerate(taps):
            places = atrous.mirror(np.arange(size) + k - reach, size)
            out = out + np.float32(tap) * total.take(xp.asarray(places), axis)
        total = out
    return total


def median(frames: Sequence[Any], reach: int) -> Any:
    """Return the median over ``2 * reach + 1`` pixels a side and all frames, cut at the edges."""
    if not on_host(frames[0]):
        return median_xp(frames, reach)
    stack = np.stack(frames)
    out = np.empty(stack.shape[1:], np.float32)
    _median(stack, reach, out)
    return out


def median_xp(frames: Sequence[Any], reach: int) -> Any:
    """`xp` form of :func:`median`."""
    xp = namespace(frames[0])
    height, width = frames[0].shape
    shifted = []
    for frame in frames:
        padded = xp.pad(frame, reach, constant_values=np.nan)
        for y in range(2 * reach + 1):
            shifted += [padded[y : y + height, x : x + width] for x in range(2 * reach + 1)]
    return xp.nanmedian(xp.stack(shifted), axis=0).astype(np.float32)


@njit(nogil=True, cache=True)
def _median(stack: Any, reach: int, out: Any) -> None:
    count, height, width = stack.shape
    values = np.empty(count * (2 * reach + 1) ** 2, np.float32)
    for y in range(height):
        for x in range(width):
            size = 0
            for k in range(count):
                for r in range(max(y - reach, 0), min(y + reach + 1, height)):
                    for c in range(max(x - reach, 0), min(x + reach + 1, width)):
                        value = stack[k, r, c]
                        place = size
                        while place > 0 and values[place - 1] > value:
                            values[place] = values[place - 1]
                            place -= 1
                        values[place] = value
                        size += 1
            upper = values[size // 2]
            out[y, x] = upper if size % 2 else (values[size // 2 - 1] + upper) * np.float32(0.5)


def total_variation(frame: Any, weight: float) -> Any:
    """Return the frame of least total variation near a numpy frame, by scikit-image (Chambolle 2004)."""
    from skimage.restoration import denoise_tv_chambolle

    low, span = np.float32(frame.min()), np.float32(max(float(frame.max() - frame.min()), 1e-12))
    out = denoise_tv_chambolle((frame - low) / span, weight=weight / float(span), eps=1e-4, max_num_iter=100)  # type: ignore[no-untyped-call]
    return (out * span + low).astype(np.float32)


def wavelet(frame: Any, sigma: float) -> Any:
    """Return a numpy frame with its wavelet coefficients shrunk (BayesShrink, by scikit-image), over four shifts."""
    from skimage.restoration import denoise_wavelet

    # Smaller frames than the wavelet takes go on beyond their edges as mirrored.
    rows, columns = frame.shape
    frame = np.pad(frame, [(0, max(_LEAST_WAVELET - size, 0)) for size in frame.shape], mode="symmetric")
    total = np.zeros_like(frame)
    for shift in _SHIFTS:
        # In units of the noise: there is a least variance, the same for all units, below which nothing is taken off.
        moved = np.roll(frame, shift, (0, 1)) / np.float32(sigma)
        clean = denoise_wavelet(moved, sigma=1.0, wavelet="db2", mode="soft", method="BayesShrink", rescale_sigma=True)
        total += np.roll(clean, (-shift[0], -shift[1]), (0, 1)).astype(np.float32)
    return total[:rows, :columns] * np.float32(sigma / len(_SHIFTS))


def multiscale(frame: Any, rules: Sequence[tuple[float, float]], window: int = 7) -> Any:
    """Take from each band what does not vary together with the coarser one (hifiem, 2023).

    The share ``1 / (1 + exp(gain * c + offset))`` of a band is noise, c the covariance with the coarser band over a square.
    The finest band is split in two; each further rule adds a scale.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; finite.
    rules : sequence of (gain, offset)
        For the two halves of the finest band, then for each coarser one; gains per squared grey value.
    window : int
        Side of the square in pixels, odd; it doubles with each scale.
    """

    def share(band: Any, coarser: Any, number: int, side: int) -> Any:
        return _share(_detail_bands.covariance(band, coarser, side), rules[number])

    return _detail_bands.without_noise(frame, len(rules) - 1, window, share)


def correlated(
    frame: Any, tolerance: float = TOLERANCE, scales: int = 3, window: int = 7, surroundings: int | None = None
) -> Any:
    """Take from each band what is not correlated with the coarser one more than white noise is (hifiem, 2023).

    The share ``exp(-max(r, 0) / tolerance)`` of a band is noise. r is the covariance c of band and coarser band over a
    square, less what it is for white noise of the variance v of the frame there, over the standard deviations s of frame
    and band in the surroundings: ``(c - k v) / (b s_frame s_band)``. k is the covariance of the two bands of white noise of
    variance 1, b the standard deviation of the finer one. Nothing is tied to a grey scale.

    Parameters
    ----------
    frame : (y, x) float32 array
        Numpy or cupy; finite.
    tolerance : float
        Above 0: the more, the more is taken for noise.
    scales : int
        Of which the finest is split in two.
    window : int
        Side of the square in pixels, odd; it doubles with each scale.
    surroundings : int, optional
        Their side in pixels, odd. By default a quarter of the longer side of the frame.
    """
    xp = namespace(frame)
    wide = 2 * (max(frame.shape) // 8) + 1 if surroundings is None else surroundings

    def share(band: Any, coarser: Any, number: int, side: int) -> Any:
        common, own = _detail_bands.of_white_noise(number)
        excess = _detail_bands.covariance(band, coarser, side)
        excess = excess - np.float32(common) * _detail_bands.covariance(frame, frame, side)
        usual = np.float32(own) * frame_spread * _spread(band, wide)
        ratio = excess / xp.maximum(usual, np.float32(1e-30))
        return xp.exp(-xp.clip(ratio / np.float32(tolerance), np.float32(0), np.float32(80)))

    level = np.float32(float(frame.mean(dtype=np.float64)))  # squares of what is left keep their digits in float32
    frame = frame - level
    frame_spread = _spread(frame, wide)
    return _detail_bands.without_noise(frame, scales, window, share) + level


def _spread(values: Any, side: int) -> Any:
    xp = namespace(values)
    return xp.sqrt(xp.maximum(_detail_bands.covariance(values, values, side), np.float32(0)))


def _share(covariance: Any, rule: tuple[float, float]) -> Any:
    xp = namespace(covariance)
    power = xp.clip(np.float32(rule[0]) * covariance + np.float32(rule[1]), np.float32(-80), np.float32(80))
    return np.float32(1) / (np.float32(1) + xp.exp(power))
