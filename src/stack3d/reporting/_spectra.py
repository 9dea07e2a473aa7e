"""Spectra of a slice before and after: where its stripes lie."""

from __future__ import annotations

import numpy as np

from stack3d import kernels
from stack3d.plotting._destripe import whole_spectrum
from stack3d.reporting._images import map_uri
from stack3d.reporting._matched import Matched
from stack3d.reporting._model import Figure
from stack3d.reporting._svg import heat_map

_BOX = 1024
_REACH = 0.25  # cycles per pixel


def of(pair: Matched, k: int) -> dict[str, np.ndarray]:
    """Return the middle of slice `k` after, and of its partner before, where both can be transformed."""
    found = {}
    (partner,) = pair.partners([k])
    for name, side, number in (("before", pair.before, partner), ("after", pair.after, k)):
        if side is None or number is None:
            continue
        frame = side.da.isel(z=number)
        parts = {
            d: slice(max(0, (frame.sizes[d] - _BOX) // 2), max(0, (frame.sizes[d] - _BOX) // 2) + _BOX) for d in "yx"
        }
        found[name] = np.asarray(frame.isel(parts).values, np.float32)
    return found


def figures(frames: dict[str, np.ndarray], of: str = "") -> list[Figure]:
    """Return the spectra as pictures, zero frequency in the middle; `of` ends their captions."""
    found = []
    for name, frame in frames.items():
        if min(frame.shape) < kernels.direction.LEAST_SIDE:
            continue
        spectrum = kernels.spectrum.spectrum(frame)
        if not kernels.direction.measurable(spectrum):
            continue
        power, edge_x, (top, bottom) = whole_spectrum(spectrum)
        rows = np.linspace(top, bottom, power.shape[0] + 1)
        columns = np.linspace(-edge_x, edge_x, power.shape[1] + 1)
        keep_y = (np.abs(rows[1:]) <= _REACH) & (np.abs(rows[:-1]) <= _REACH)
        keep_x = (np.abs(columns[1:]) <= _REACH) & (np.abs(columns[:-1]) <= _REACH)
        part = power[np.ix_(keep_y, keep_x)]
        chart = heat_map(
            map_uri(part, (-1.0, 3.0), "magma"), x=(-_REACH, _REACH), y=(-_REACH, _REACH), ratio=1.0,
            x_label="frequency along x / cycles per pixel", y_label="along y / cycles per pixel",
            alt=f"Spectrum {name}{of}: power of each frequency over that of its ring",
        )  # fmt: skip
        found.append(
            Figure(
                chart,
                f"Spectrum of the middle slice {name}{of}: stripes are a bright line through the middle, across them.",
            )
        )
    return found
