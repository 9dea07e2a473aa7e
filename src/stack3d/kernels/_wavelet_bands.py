"""Bands of a discrete wavelet transform that hold stripes, seen in slow waves along them, and what is made of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stack3d.kernels import _slow_rows
from stack3d.kernels import _wavelet_loops as loops
from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._scratch import scratch
from stack3d.kernels._wavelet_plan import Bank, Basis, Pyramid


def details(rows: Any, bank: Bank, levels: int) -> list[Any]:
    """Return the details of rows (n, x) at each level, finest first."""
    out = []
    for _ in range(levels):
        rows, high = _split(rows, bank)
        out.append(high)
    return out


def joined(bands: list[Any], bank: Bank, widths: tuple[int, ...]) -> Any:
    """Return rows put together from their details alone."""
    rows = namespace(bands[-1]).zeros(bands[-1].shape, np.float32)
    for band, width in zip(bands[::-1], widths[len(bands) - 1 :: -1], strict=True):
        rows = _join(rows, band, bank, width)
    return rows


def pyramid(frame: Any, tables: Pyramid, shrunk: Callable[[Any, int], Any]) -> Any:
    """Return what damping takes from the bands of details across stripes along y, and what they make of a frame; mean 0.

    Parameters
    ----------
    frame : (y, x) float32 array
    tables : Pyramid
    shrunk : callable
        What is made of the waves of each band (waves, x), given with the number of its level from 0.
    """
    xp, bank, bands, mean, low = namespace(frame), tables.bank, [], 0.0, frame
    for number, (slow, damping) in enumerate(zip(tables.slow, tables.damping, strict=True)):
        low, band = _analysed(low, bank, slow, f"wavelet {number}")
        band = shrunk(band * xp.asarray(damping), number)
        rows, columns = (xp.asarray(part) for part in (tables.rows[number], tables.columns[number]))
        mean += float(rows @ (band @ columns))
        bands.append(band)
    field = xp.zeros(low.shape, np.float32)
    for number in range(len(bands) - 1, -1, -1):
        shape, less = (tables.heights[number], tables.widths[number]), 0.0 if number else mean
        # What the level before was analysed from is of no further use.
        name = f"wavelet {number - 1}" if number else None
        field = _synthesised(field, bands[number], tables.slow[number], bank, shape, less, name)
    return field


def together(frame: Any, level: float, tables: Basis, shrunk: Callable[[Any, int], Any]) -> Any:
    """Return the same as `pyramid` by a basis that all levels share; rounding does not see the level."""
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


def _split(rows: Any, bank: Bank) -> tuple[Any, Any]:
    """Return low-pass and details of rows."""
    if not on_host(rows):
        return split_xp(rows, bank)
    shape = (rows.shape[0], (rows.shape[1] + bank.dec_lo.size - 1) // 2)
    low, high = np.empty(shape, np.float32), np.empty(shape, np.float32)
    loops.split_rows(rows, bank.dec_lo, bank.dec_hi, low, high)
    return low, high


def _join(low: Any, high: Any, bank: Bank, width: int) -> Any:
    """Return rows put together from low-pass and details."""
    if not on_host(high):
        return join_xp(low, high, bank, width)
    out = np.empty((high.shape[0], width), np.float32)
    loops.join_rows(low, high, bank.rec_lo, bank.rec_hi, out)
    return out


def _analysed(frame: Any, bank: Bank, slow: _slow_rows.Slow, name: str) -> tuple[Any, Any]:
    """Return the low-pass of a frame, in the buffer of a name, and the slow waves of the details across columns."""
    if not on_host(frame):
        low, high = split_xp(analysed_xp(frame, bank.dec_lo, 0), bank)
        return low, _slow_rows.project_xp(high, slow)
    count = (frame.shape[1] + bank.dec_lo.size - 1) // 2
    low, waves = scratch(name, slow.height, count), np.empty((slow.waves, count), np.float32)
    panels = list(_slow_rows.panels(count))
    sums = _slow_rows.sums_of(slow, len(panels))
    loops.analyse(packed(frame), bank.dec_lo, bank.dec_hi, panels[0][1], slow.local, low, *sums)
    for number, (start, stop) in enumerate(panels):
        _slow_rows.mixed(slow, sums[:, number], waves[:, start:stop])
    return low, waves


def _synthesised(
    low: Any, band: Any, slow: _slow_rows.Slow, bank: Bank, shape: tuple[int, int], less: float, name: str | None
) -> Any:
    """Return the frame put together from its low-pass and the slow waves of details across columns, less a constant.

    In the buffer of a name, where there is one.
    """
    height, width = shape
    if not on_host(band):
        wide = join_xp(low, _slow_rows.expand_xp(band, slow), bank, width)
        return synthesised_xp(wide, bank.rec_lo, height, 0) - np.float32(less)
    panels = list(_slow_rows.panels(band.shape[1]))
    sums = _slow_rows.sums_of(slow, len(panels))
    for number, (start, stop) in enumerate(panels):
        _slow_rows.parted(slow, band[:, start:stop], sums[:, number])
    out = np.empty(shape, np.float32) if name is None else scratch(name, *shape)
    loops.synthesise(*sums, panels[0][1], slow.local, low, bank.rec_lo, bank.rec_hi, np.float32(less), out)
    return out


def split_xp(rows: Any, bank: Bank) -> tuple[Any, Any]:
    """`xp` form: one level of analysis along the last axis; low-pass and details."""
    return analysed_xp(rows, bank.dec_lo, -1), analysed_xp(rows, bank.dec_hi, -1)


def join_xp(low: Any, high: Any, bank: Bank, width: int) -> Any:
    """`xp` form: one level of synthesis along the last axis, to `width`."""
    return synthesised_xp(low, bank.rec_lo, width, -1) + synthesised_xp(high, bank.rec_hi, width, -1)


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
