"""Columns of a frame as slow cosines, by blocks of rows: in a few rows all of them are little more than polynomials.

A block of rows is brought to a few sums, one for each term, and what is left is a product with far fewer rows than the
frame has; the way back is the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from stack3d.kernels._namespace import namespace

_ROWS = 16  # of a block
_TERMS = (4, 6, 8)
_FEW = 24  # slowest cosines, which frames are put together from,
_CLOSE = 1e-4  # and how near their blocks must come, of the largest value;
_ROUGH = 3e-3  # the others are only measured by


class _Blocks(NamedTuple):
    local: np.ndarray[Any, Any]  # (rows of a block, terms) float32, orthonormal
    mix: np.ndarray[Any, Any]  # (cosines, blocks * terms) float32
    rest: np.ndarray[Any, Any]  # (cosines, rows) float32: of the rows below the last whole block


def project(frame: Any, count: int) -> Any:
    """Return the products of the columns with the first `count` orthonormal cosines.

    Parameters
    ----------
    frame : (..., y, x) float32 array
    count : int

    Returns
    -------
    (..., count, x) float32 array
    """
    xp, blocks = namespace(frame), _blocks(frame.shape[-2], count)
    if blocks is None:
        return xp.asarray(cosines(frame.shape[-2], count)) @ frame
    whole = frame.shape[-2] - blocks.rest.shape[1]
    stacked = frame[..., :whole, :].reshape(*frame.shape[:-2], -1, _ROWS, frame.shape[-1])
    sums = xp.matmul(xp.asarray(blocks.local.T), stacked)
    out = xp.asarray(blocks.mix) @ sums.reshape(*frame.shape[:-2], -1, frame.shape[-1])
    if blocks.rest.size:
        out += xp.asarray(blocks.rest) @ frame[..., whole:, :]
    return out


def expand(rows: Any, height: int) -> Any:
    """Return the frames that cosines add up to.

    Parameters
    ----------
    rows : (..., n, x) float32 array
        What the first n orthonormal cosines are multiplied with.
    height : int
        Of the frame.

    Returns
    -------
    (..., y, x) float32 array
    """
    xp, count = namespace(rows), rows.shape[-2]
    blocks = _blocks(height, count) if count <= _FEW else None
    if blocks is None:
        return xp.asarray(cosines(height, count).T) @ rows
    whole, width = height - blocks.rest.shape[1], rows.shape[-1]
    sums = (xp.asarray(blocks.mix.T) @ rows).reshape(*rows.shape[:-2], -1, blocks.local.shape[1], width)
    local = xp.asarray(blocks.local)
    if whole == height:
        return xp.matmul(local, sums).reshape(*rows.shape[:-2], height, width)
    out = xp.empty((*rows.shape[:-2], height, width), np.float32)
    out[..., :whole, :] = xp.matmul(local, sums).reshape(*rows.shape[:-2], whole, width)
    out[..., whole:, :] = xp.asarray(blocks.rest.T) @ rows
    return out


@lru_cache(maxsize=32)
def _blocks(height: int, count: int) -> _Blocks | None:
    """Return the cosines in blocks, or None where as many sums as rows would be needed."""
    number = height // _ROWS
    if number < 2:
        return None
    whole = cosines(height, count)
    parts = whole[:, : number * _ROWS].reshape(count, number, _ROWS).astype(np.float64)
    largest = abs(whole).max()
    for terms in _TERMS:
        local = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, _ROWS), terms - 1))[0]
        mix = parts @ local
        miss = abs(mix @ local.T - parts).max(axis=(1, 2)) / largest
        if miss[:_FEW].max() < _CLOSE and miss.max() < _ROUGH:
            rest = whole[:, number * _ROWS :]
            return _Blocks(*(_frozen(part) for part in (local, mix.reshape(count, -1), rest)))
    return None


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
