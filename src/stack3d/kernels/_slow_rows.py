"""Columns of a frame as slow waves, by blocks of rows: in a few rows all of them are little more than polynomials.

Waves are even or odd about the middle row, so that the frame is folded there first. A block of rows is brought to a few
sums, one for each term, and what is left is a product with far fewer rows than the frame has; the way back is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels import _slow_rows_loops as loops
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._scratch import scratch

_BLOCKS = ((16, 4), (8, 4), (64, 8), (32, 8), (16, 8))  # rows and terms of a block
_PART = 32  # sums that frames are put together from at a time, so that they stay in the cache
_FEW = 24  # slowest cosines, which frames are put together from,
_CLOSE = 1e-4  # and how near their blocks must come, of the largest value;
_ROUGH = 3e-3  # the others are only measured by
_DAMPED = 3e-4  # the same for what a damping leaves
_LOW = 6  # rows of a product from which on it is made at full speed
_ALONE = 2**19 - 1  # multiplications up to which OpenBLAS uses one thread: a second one must have 2**18 of its own


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
    out, sums = np.empty((slow.waves, frame.shape[1]), np.float32), sums_of(slow)[:, 0]
    for start, stop in panels(frame.shape[1]):
        loops.fold(frame, start, stop, slow.local, *sums)
        mixed(slow, sums, out[:, start:stop])
    return out


def panels(width: int) -> Iterator[tuple[int, int]]:
    """Return columns that are treated together: from, to."""
    part = -(-width // -(-width // loops.PANEL))
    for start in range(0, width, part):
        yield start, min(start + part, width)


def sums_of(slow: Slow, count: int = 1) -> Any:
    """Return what the loops write sums of panels to, even and odd ones: (2, panels, sums), until they are asked for again."""
    return scratch("slow rows", 2, count, slow.even.shape[1] * loops.STRIDE)


def mixed(slow: Slow, sums: Any, out: Any) -> None:
    """Write the products that sums of a panel make."""
    even, odd = sums.reshape(2, -1, loops.STRIDE)[:, :, : out.shape[1]]
    _multiply(slow.even, even, out[::2])
    _multiply(slow.odd, odd, out[1::2])


def parted(slow: Slow, rows: Any, sums: Any, part: slice = slice(None)) -> None:
    """Write the sums of a panel that rows of waves make, or a part of them."""
    even, odd = sums.reshape(2, -1, loops.STRIDE)[:, :, : rows.shape[1]]
    _multiply(slow.even[:, part].T, rows[::2], even)
    _multiply(slow.odd[:, part].T, rows[1::2], odd)


def _multiply(factors: Any, rows: Any, out: Any) -> None:
    """Write a product in parts that BLAS makes in this thread: others that it wakes spin on while frames go on here."""
    step = max(1, _ALONE // max(1, rows.size))
    if step < min(_LOW, len(factors)):
        # Parts of few rows are hardly a product of matrices: parts of few columns are.
        wide = max(1, _ALONE // max(1, factors.size))
        for first in range(0, rows.shape[1], wide):
            np.matmul(factors, rows[:, first : first + wide], out=out[:, first : first + wide])
        return
    for first in range(0, len(factors), step):
        np.matmul(factors[first : first + step], rows, out=out[first : first + step])


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
    out, count, terms = np.empty((slow.height, rows.shape[1]), np.float32), slow.even.shape[1], slow.local.shape[1] or 1
    for start, stop in panels(rows.shape[1]):
        for first in range(0, count, _PART):
            part = slice(first, min(first + _PART, count))
            sums = scratch("slow rows", 2, (part.stop - first) * loops.STRIDE)
            parted(slow, rows[:, start:stop], sums, part)
            loops.unfold(*sums, slow.local, first // terms, start, stop, out)
    return out


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
    """Return waves (count, height) in the cheapest blocks that come as close as asked for, of the largest value; or row by row."""
    count, height = waves.shape
    upper, largest = (height + 1) // 2, abs(waves).max()
    # Operations: of the blocks, in which rows and terms are folded, and of the products.
    cost = {(-(-upper // rows) * terms * count + height * (terms + 4), rows, terms) for rows, terms in _BLOCKS}
    for _, rows, terms in sorted(cost):
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
