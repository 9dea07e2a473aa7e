"""Bands of a discrete wavelet transform that hold stripes, seen in slow waves along them, and what is made of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stack3d.kernels import _slow_rows
from stack3d.kernels import _wavelet_loops as loops
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels._wavelet_plan import Bank, Basis, Pyramid

_NONE = np.empty((0, 0), np.float32)


def details(rows: Any, bank: Bank, levels: int) -> list[Any]:
    """Return the details of rows (n, x) at each level, finest first."""
    out = []
    for number in range(levels):
        low, high = _split(rows, bank, low=number + 1 < levels)
        out.append(high)
        rows = low
    return out


def joined(bands: list[Any], bank: Bank, widths: tuple[int, ...]) -> Any:
    """Return rows put together from their details alone."""
    rows: Any = None
    for band, width in zip(bands[::-1], widths[len(bands) - 1 :: -1], strict=True):
        rows = _join(rows, band, bank, width)
    return rows


def pyramid(frame: Any, level: float, tables: Pyramid, shrunk: Callable[[Any, int], Any]) -> Any:
    """Return what damping takes from the bands of details across stripes along y, and what they make of a frame; mean 0.

    Parameters
    ----------
    frame : (y, x) float32 array
    level : float
        Taken off the frame, which rounding then does not see.
    tables : Pyramid
    shrunk : callable
        What is made of the waves of each band (waves, x), given with the number of its level from 0.
    """
    xp, bank, bands, mean, low = namespace(frame), tables.bank, [], 0.0, frame
    for number, (slow, damping) in enumerate(zip(tables.slow, tables.damping, strict=True)):
        less = level * float(np.sum(bank.dec_lo)) if number == 0 else 0.0
        rows, low = _smoothed(low, bank, slow, less, number + 1 < len(tables.slow))
        band = _split(rows, bank, low=False)[1]
        band = shrunk(band * xp.asarray(damping), number)
        rows, columns = (xp.asarray(part) for part in (tables.rows[number], tables.columns[number]))
        mean += float(rows @ (band @ columns))
        bands.append(band)
    field: Any = None
    for number in range(len(bands) - 1, -1, -1):
        lines = _join(None, bands[number], bank, tables.widths[number])
        wide = _widened(lines, tables.slow[number], field, bank, tables.widths[number])
        field = _up(wide, bank, tables.heights[number], mean if number == 0 else 0.0)
    return field


def together(frame: Any, level: float, tables: Basis, shrunk: Callable[[Any, int], Any]) -> Any:
    """Return the same as `pyramid` by a basis that all levels share."""
    xp = namespace(frame)
    project, middle = xp.asarray(tables.project), xp.asarray(tables.middle)
    # The level is taken off the functions, which spares a pass over the frame.
    rows = project @ frame - np.float32(level) * project.sum(axis=1)[:, None]
    bands = [
        xp.asarray(mix) @ shrunk(band, number)
        for number, (mix, band) in enumerate(zip(tables.mix, details(rows, tables.bank, len(tables.mix)), strict=True))
    ]
    lines = joined(bands, tables.bank, tables.widths)
    lines[-1] = 0
    lines[-1] = -(middle @ xp.mean(lines, axis=1, dtype=np.float64))
    return xp.asarray(tables.expand) @ lines


def _split(rows: Any, bank: Bank, *, low: bool = True, high: bool = True) -> tuple[Any, Any]:
    """Return low-pass and details of rows, where wanted."""
    if not on_host(rows):
        return split_xp(rows, bank)
    shape = (rows.shape[0], (rows.shape[1] + bank.dec_lo.size - 1) // 2)
    parts = [np.empty(shape, np.float32) if wanted else _NONE for wanted in (low, high)]
    loops.split_rows(rows, bank.dec_lo, bank.dec_hi, *parts)
    return parts[0], parts[1]


def _join(low: Any, high: Any, bank: Bank, width: int) -> Any:
    """Return rows put together from low-pass and details, or one of them."""
    some = low if high is None else high
    if not on_host(some):
        return join_xp(low, high, bank, width)
    out = np.zeros((some.shape[0], width), np.float32)
    parts = (_NONE if part is None else part for part in (low, high))
    loops.join_rows(*parts, bank.rec_lo, bank.rec_hi, out)
    return out


def _smoothed(frame: Any, bank: Bank, slow: _slow_rows.Slow, less: float, further: bool) -> tuple[Any, Any]:
    """Return the slow waves of the low-pass of columns less a constant, and its low-pass along rows where that is wanted."""
    if not on_host(frame):
        smooth = analysed_xp(frame, bank.dec_lo, 0) - np.float32(less)
        return _slow_rows.project_xp(smooth, slow), analysed_xp(smooth, bank.dec_lo, -1) if further else None
    height, width = frame.shape
    taps, step = bank.dec_lo.size, slow.local.shape[0] if slow.local.size else 1
    low = np.empty(((height + taps - 1) // 2, (width + taps - 1) // 2), np.float32) if further else _NONE
    local = slow.local

    def fold(first: int, *sums: Any) -> None:
        even, odd = sums[-2:]
        count = len(even) // local.shape[1] * step if local.size else len(even)
        loops.smooth_fold(
            frame, bank.dec_lo, bank.down, np.float32(less), low, first * step, count, local, even, odd
        )  # fmt: skip

    return _slow_rows.folded(slow, width, fold), low


def _widened(lines: Any, slow: _slow_rows.Slow, low: Any, bank: Bank, width: int) -> Any:
    """Return the low-pass of columns that slow waves make, with the next level's field put in where there is one."""
    if not on_host(lines):
        wide = _slow_rows.expand_xp(lines, slow)
        return wide if low is None else wide + join_xp(low, None, bank, width)
    out = np.empty((slow.height, width), np.float32)
    for even, odd, first in _slow_rows.unfolded(lines, slow):
        loops.unfold_join(even, odd, slow.local, first, _NONE if low is None else low, bank.rec_lo, out)
    return out


def _up(rows: Any, bank: Bank, height: int, less: float) -> Any:
    """Return the columns that low-pass samples make, less a constant."""
    if not on_host(rows):
        return synthesised_xp(rows, bank.rec_lo, height, 0) - np.float32(less)
    out = np.empty((height, rows.shape[1]), np.float32)
    loops.raise_columns(rows, bank.rec_lo, bank.up, np.float32(less), out)
    return out


def split_xp(rows: Any, bank: Bank) -> tuple[Any, Any]:
    """`xp` form: one level of analysis along the last axis; low-pass and details."""
    return analysed_xp(rows, bank.dec_lo, -1), analysed_xp(rows, bank.dec_hi, -1)


def join_xp(low: Any, high: Any, bank: Bank, width: int) -> Any:
    """`xp` form: one level of synthesis along the last axis, to `width`, from either part or both."""
    parts = [(part, taps) for part, taps in ((low, bank.rec_lo), (high, bank.rec_hi)) if part is not None]
    return sum(synthesised_xp(part, taps, width, -1) for part, taps in parts)


def analysed_xp(rows: Any, taps: Any, axis: int) -> Any:
    """`xp` form: filter along an axis and keep every second sample, reflecting at the ends with the end repeated."""
    xp, size = namespace(rows), rows.shape[axis]
    rows, count = xp.moveaxis(rows, axis, -1), (size + len(taps) - 1) // 2
    out = xp.zeros((*rows.shape[:-1], count), np.float32)
    for k, tap in enumerate(taps):
        place = (2 * xp.arange(count) + 1 - k) % (2 * size)
        out += tap * rows[..., xp.where(place >= size, 2 * size - 1 - place, place)]
    return xp.moveaxis(out, -1, axis)


def synthesised_xp(rows: Any, taps: Any, size: int, axis: int) -> Any:
    """`xp` form: zeros between samples along an axis, filtered, cut to `size`."""
    xp, count, reach = namespace(rows), rows.shape[axis], len(taps) - 2
    rows = xp.moveaxis(rows, axis, -1)
    out = xp.zeros((*rows.shape[:-1], 2 * count + len(taps)), np.float32)
    for k, tap in enumerate(taps):
        out[..., k : k + 2 * count : 2] += tap * rows
    return xp.moveaxis(out[..., reach : reach + size], -1, axis)
