"""Slow modes in blocks of rows: in a few rows all of them together are little more than a polynomial of low degree."""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS = 16  # of a block
_CLOSE = 1e-4  # of the strongest mode
_GROUP = 4  # terms are taken in fours


def terms_of(basis: Any, share: Any, rows: int, periodic: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return what makes blocks of rows, and of the row below each, from modes: ``local[0] @ mix[block]``.

    Where as many terms as modes would be needed `mix` is empty, and ``local[block]`` are the modes themselves.

    Parameters
    ----------
    basis : (y, modes) array
    share : (modes,) array
        Strength of each mode, relative to the strongest.
    rows : int
        Of a block.
    periodic : bool
        Whether the row below the last is the first.

    Returns
    -------
    local : (1 or blocks, rows + 4, terms) float32 array
    mix : (blocks, terms, modes) float32 array
        Numbers of terms and modes are padded to multiples of four.
    """
    height, modes = basis.shape
    blocks = -(-height // rows)
    wide = np.pad(basis, ((0, 0), (0, -modes % _GROUP)))
    below = wide[:1] if periodic else wide[-1:]
    parts = [
        np.concatenate([wide[k : k + rows + 1], below if k + rows >= height else wide[:0]])
        for k in range(0, height, rows)
    ]
    for terms in range(_GROUP, min(wide.shape[1], rows), _GROUP):
        slope = np.polynomial.legendre.legvander(np.linspace(-1, 1, rows + 1), terms - 1)
        local = np.linalg.qr(slope)[0]
        mix = np.array([np.linalg.lstsq(local[: len(part)], part, rcond=None)[0] for part in parts])
        worst = max(
            float(np.max(abs(local[: len(part)] @ m - part)[:, :modes] * share))
            for part, m in zip(parts, mix, strict=True)
        )
        if worst < _CLOSE * abs(basis).max():
            return np.pad(local, ((0, 3), (0, 0))).astype(np.float32)[None], mix.astype(np.float32)
    whole = np.zeros((blocks, rows + 4, wide.shape[1]), np.float32)
    for k, part in enumerate(parts):
        whole[k, : len(part)] = part
    return whole, np.empty((0, 0, 0), np.float32)
