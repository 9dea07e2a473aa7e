"""Array forms of :mod:`stack3d.kernels._wavelet_bands` for frames treated at once, each about 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stack3d.kernels._namespace import namespace
from stack3d.kernels._slow_rows import expand_xp, project_xp
from stack3d.kernels._wavelet_bands import analysed_xp, split_xp, synthesised_xp
from stack3d.kernels._wavelet_plan import Basis, Pyramid


def pyramid(frames: Any, tables: Pyramid, shrunk: Callable[[Any, int], Any]) -> Any:
    """Return `_wavelet_bands.pyramid` of frames (n, y, x); `shrunk` takes bands (n, waves, x)."""
    xp, bank, bands, low = namespace(frames), tables.bank, [], frames
    mean = xp.zeros(len(frames), np.float32)
    for number, (slow, damping) in enumerate(zip(tables.slow, tables.damping, strict=True)):
        smooth = analysed_xp(low, bank.dec_lo, -2)
        low = analysed_xp(smooth, bank.dec_lo, -1)
        band = analysed_xp(project_xp(smooth, slow), bank.dec_hi, -1)
        band = shrunk(band * xp.asarray(damping), number)
        mean = mean + (band @ xp.asarray(tables.columns[number])) @ xp.asarray(tables.rows[number])
        bands.append(band)
    field: Any = None
    for number in range(len(bands) - 1, -1, -1):
        width = tables.widths[number]
        wide = expand_xp(synthesised_xp(bands[number], bank.rec_hi, width, -1), tables.slow[number])
        if field is not None:
            wide = wide + synthesised_xp(field, bank.rec_lo, width, -1)
        field = synthesised_xp(wide, bank.rec_lo, tables.heights[number], -2)
    return field - mean[:, None, None]


def together(frames: Any, tables: Basis, shrunk: Callable[[Any, int], Any]) -> Any:
    """Return `_wavelet_bands.together` of frames (n, y, x); `shrunk` takes bands (n, functions, x)."""
    xp = namespace(frames)
    lines: Any = None
    rows, bands = xp.asarray(tables.project) @ frames, []
    for number, mix in enumerate(tables.mix):
        rows, high = split_xp(rows, tables.bank)
        bands.append(xp.asarray(mix) @ shrunk(high, number))
    for band, width in zip(bands[::-1], tables.widths[len(bands) - 1 :: -1], strict=True):
        high = synthesised_xp(band, tables.bank.rec_hi, width, -1)
        lines = high if lines is None else high + synthesised_xp(lines, tables.bank.rec_lo, width, -1)
    lines[:, -1] = 0
    lines[:, -1] = -(xp.mean(lines, axis=2, dtype=np.float64) @ xp.asarray(tables.middle)).astype(np.float32)[:, None]
    return xp.asarray(tables.expand) @ lines
