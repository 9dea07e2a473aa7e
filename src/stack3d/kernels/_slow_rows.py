"""Columns of a frame as slow waves, by blocks of rows: in a few rows all of them are little more than polynomials.

Waves are even or odd about the middle row, so that the frame is folded there first. A block of rows is brought to a few
sums, one for each term, and what is left is a product with far fewer rows than the frame has; the way back is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _slow_rows_loops as loops
from stack3d.kernels._namespace import namespace, on_host

_BLOCKS = ((16, 4), (8, 4), (16, 8))  # rows and terms of a block, cheapest first
_PART = 64  # sums treated together, so that they stay in the cache
_FEW = 24  # slowest cosines, which frames are put together from,
_CLOSE = 1e-4  # and how near their blocks must come, of the largest value;
_ROUGH = 3e-3  # the others are only measured by
_DAMPED = 3e-4  # the same for what a damping leaves


class Slow(NamedTuple):
    """Orthonormal slow waves along columns: those of even number are even about the middle row.

    Attributes
    ----------
    height, waves : int
        Of columns, and of waves.
    local : (rows of a block, terms) float32
        Orthonormal; no terms where waves are too fast for blocks.
    even, odd : (waves, blocks * terms or upper rows) float32
        Products with these give the waves.
    """

    height: int
    waves: int
    local: np.ndarray[Any, Any]
    even: np.ndarray[Any, Any]
    odd: np.ndarray[Any, Any]


def project(frame: Any, waves: int | Slow) -> Any:
    """Return the products of the columns with the first orthonormal cosines, or with other slow waves.

    Parameters
    ----------
    frame : (..., y, x) float32 array
    waves : int or Slow

    Returns
    -------
    (..., count, x) float32 array
    """
    slow = of_cosines(frame.shape[-2], waves) if isinstance(waves, int) else waves
    if frame.ndim != 2 or not on_host(frame) or not frame.flags.c_contiguous:
        return project_xp(frame, slow)
    fold = functools.partial(loops.fold_blocks, frame) if slow.local.size else functools.partial(loops.fold_rows, frame)
    return folded(slow, frame.shape[1], fold)


def folded(slow: Slow, width: int, fold: Callable[..., None]) -> Any:
    """Return the products, a part of the rows after the other: ``fold(first, [local,] even, odd)`` brings them to sums."""
    some = (slow.local,) if slow.local.size else ()
    out = np.empty((slow.waves, width), np.float32)
    sums = np.empty((2, _PART, width + loops.APART), np.float32)
    for start, stop, first in parts(slow):
        even, odd = sums[:, : stop - start]
        fold(first, *some, even, odd)
        for target, mix, part in (
            (out[::2], slow.even, even[:, :width]),
            (out[1::2], slow.odd, odd[:, :width]),
        ):
            if start == 0:
                np.matmul(mix[:, :stop], part, out=target)
            else:
                target += mix[:, start:stop] @ part
    return out


def parts(slow: Slow) -> Iterator[tuple[int, int, int]]:
    """Return parts of the sums that stay in the cache: from, to, and the first block or row."""
    count, terms = slow.even.shape[1], max(slow.local.shape[1], 1)
    for start in range(0, count, _PART):
        yield start, min(start + _PART, count), start // terms


def project_xp(frame: Any, slow: Slow) -> Any:
    """`xp` form of `project`."""
    xp, upper, lead = namespace(frame), (slow.height + 1) // 2, frame.shape[:-2]
    top, below = frame[..., :upper, :], frame[..., ::-1, :][..., :upper, :]
    both, apart = top + below, top - below
    if slow.height % 2:
        both[..., -1, :] /= 2
    if slow.local.size:
        local, rows = xp.asarray(slow.local.T), slow.local.shape[0]
        missing = xp.zeros((*lead, -upper % rows, frame.shape[-1]), np.float32)
        both, apart = (
            xp.matmul(
                local, xp.concatenate([part, missing], axis=-2).reshape(*lead, -1, rows, frame.shape[-1])
            ).reshape(*lead, -1, frame.shape[-1])
            for part in (both, apart)
        )
    out = xp.empty((*lead, slow.waves, frame.shape[-1]), np.float32)
    out[..., ::2, :] = xp.asarray(slow.even) @ both
    out[..., 1::2, :] = xp.asarray(slow.odd) @ apart
    return out


def expand(rows: Any, waves: int | Slow) -> Any:
    """Return the frames that slow waves add up to.

    Parameters
    ----------
    rows : (..., n, x) float32 array
        What the first n orthonormal waves are multiplied with.
    waves : int or Slow
        Height of the frame for cosines, or other waves.

    Returns
    -------
    (..., y, x) float32 array
    """
    slow = of_cosines(waves, rows.shape[-2], True) if isinstance(waves, int) else waves
    if rows.ndim != 2 or not on_host(rows):
        return expand_xp(rows, slow)
    out = np.empty((slow.height, rows.shape[1]), np.float32)
    for even, odd, first in unfolded(rows, slow):
        if slow.local.size:
            loops.unfold_blocks(even, odd, slow.local, first, out)
        else:
            loops.unfold_rows(even, odd, first, out)
    return out


def unfolded(rows: Any, slow: Slow) -> Iterator[tuple[Any, Any, int]]:
    """Return the sums that rows of waves make, a part after the other, and the first block or row of each."""
    width = rows.shape[1]
    sums = np.empty((2, _PART, width + loops.APART), np.float32)
    for start, stop, first in parts(slow):
        even, odd = sums[:, : stop - start]
        np.matmul(slow.even[:, start:stop].T, rows[::2], out=even[:, :width])
        np.matmul(slow.odd[:, start:stop].T, rows[1::2], out=odd[:, :width])
        yield even, odd, first


def expand_xp(rows: Any, slow: Slow) -> Any:
    """`xp` form of `expand`."""
    xp, upper, lead = namespace(rows), (slow.height + 1) // 2, rows.shape[:-2]
    both, apart = xp.asarray(slow.even.T) @ rows[..., ::2, :], xp.asarray(slow.odd.T) @ rows[..., 1::2, :]
    if slow.local.size:
        local, terms = xp.asarray(slow.local), slow.local.shape[1]
        both, apart = (
            xp.matmul(local, part.reshape(*lead, -1, terms, rows.shape[-1])).reshape(*lead, -1, rows.shape[-1])
            for part in (both, apart)
        )
        both, apart = both[..., :upper, :], apart[..., :upper, :]
    out = xp.empty((*lead, slow.height, rows.shape[-1]), np.float32)
    out[..., slow.height - upper :, :] = (both - apart)[..., ::-1, :]
    out[..., :upper, :] = both + apart
    return out


@lru_cache(maxsize=32)
def of_cosines(height: int, count: int, exact: bool = False) -> Slow:
    """Return the first cosines for columns of a height; `exact` where frames are put together from them."""
    close = np.full(count, _CLOSE)
    if not exact:
        close[_FEW:] = _ROUGH
    return _slow(cosines(height, count).astype(np.float64), close)


@lru_cache(maxsize=64)
def of_damping(height: int, sigma: float, periodic: bool, least: float) -> tuple[Slow, np.ndarray[Any, Any]]:
    """Return the waves of `damped` for products by blocks, and what is left of each, (waves, 1) float32."""
    waves, damping = damped(height, sigma, periodic, least)
    return _slow(waves, _DAMPED / damping), _frozen(damping[:, None])


def damped(
    height: int, sigma: float, periodic: bool, least: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the waves that a Gaussian damping of `sigma` cycles along a column leaves more than `least` of, and how much.

    Periodic waves are cosines and sines about the middle, others the cosines of a column that goes on as its mirror image.
    """
    number = np.arange(height)
    cycles = (number + 1) // 2 if periodic else number / 2
    damping = np.exp(-(cycles**2) / (2 * sigma**2))
    count = int(np.count_nonzero(damping > least))
    if not periodic:
        return cosines(height, count).astype(np.float64), damping[:count]
    phase = 2 * np.pi * np.outer(cycles[:count], np.arange(height) + 0.5) / height
    waves = np.where(number[:count, None] % 2, np.sin(phase), np.cos(phase))
    return waves / np.linalg.norm(waves, axis=1)[:, None], damping[:count]


def _slow(waves: np.ndarray[Any, Any], close: np.ndarray[Any, Any]) -> Slow:
    """Return waves (count, height) in blocks that come as close as asked for, of the largest value; or row by row."""
    count, height = waves.shape
    upper, largest = (height + 1) // 2, abs(waves).max()
    for rows, terms in _BLOCKS:
        # The last block goes on beyond the middle.
        number = -(-upper // rows)
        if number < 2 or number * rows > height:
            continue
        blocks = waves[:, : number * rows].reshape(count, number, rows)
        local = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, rows), terms - 1))[0]
        mix = blocks @ local
        if (abs(mix @ local.T - blocks).max(axis=(1, 2)) < close * largest).all():
            whole = mix.reshape(count, -1)
            return Slow(height, count, _frozen(local), _frozen(whole[::2]), _frozen(whole[1::2]))
    empty = _frozen(np.empty((0, 0)))
    return Slow(height, count, empty, _frozen(waves[::2, :upper]), _frozen(waves[1::2, :upper]))


@lru_cache(maxsize=32)
def cosines(height: int, count: int) -> np.ndarray[Any, Any]:
    """Return orthonormal cosines, (count, height) float32."""
    order = np.arange(count)[:, None]
    out = np.cos(np.pi * (np.arange(height) + 0.5) * order / height) * np.sqrt(2 / height)
    out[0] = 1 / np.sqrt(height)
    return _frozen(out)


def _frozen(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    out = np.ascontiguousarray(values, dtype=np.float32)
    out.flags.writeable = False
    return out
