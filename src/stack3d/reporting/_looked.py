"""Looking at the pixels of one channel: every pass there is, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stack3d.reporting import _images, _passes, _quality, _spectra
from stack3d.reporting._matched import Matched, Side
from stack3d.reporting._model import Channel

HELD_BYTES = 2**28


def look(
    pair: Matched, *, slices: int, longest: int, quality: bool, spectra_too: bool, room: float = HELD_BYTES
) -> Channel:
    """Return everything that the page shows of a channel; only sampled slices are read.

    A side that takes at most half of `room` bytes, and of which every slice is looked at, is read once and held.
    """
    pair = replace(pair, after=_held(pair.after, room), before=pair.before and _held(pair.before, room))
    shape = _passes.picture_shape(pair.after, longest)
    chosen = [int(k) for k in _passes.spread(pair.after.da.sizes["z"], slices)]
    partners = pair.partners(chosen)
    found, ranges = _passes.pictures(pair.after.isel(chosen), _passes.fit(pair.after, pair.after, shape))
    pictures, spans = {"after": found}, {"after": ranges}
    if pair.before is not None:
        pictures["before"], spans["before"] = _before(pair, partners, shape)
    limits = grey_scale(pictures)
    profiles = {}
    for name, side in (("before", pair.before), ("after", pair.after)):
        if side is not None:
            alike = limits.get("before") == limits["after"]
            ends = _ends(limits[name], np.concatenate(list(spans.values())) if alike else spans[name])
            whole = side.da.dtype.kind in "iu" or (alike and pair.after.da.dtype.kind in "iu")
            profiles[name] = _passes.profile(side, pair.after, shape, _passes.bin_edges(ends, whole))
    quantities, notes = _quality.measured(pair) if quality else ([], [])
    known = [k for k, partner in zip(chosen, partners, strict=True) if partner is not None] or chosen
    spectra = _spectra.of(pair, known[len(known) // 2]) if spectra_too else {}
    return Channel(pair, pictures, chosen, partners, limits, profiles, quantities, notes, spectra)


def _held(side: Side, room: float) -> Side:
    if side.da.nbytes > room / 2 or _passes.profiled_slices(side).size < side.da.sizes["z"]:
        return side
    return side.held("report: slices")


def _before(pair: Matched, partners: list[int | None], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    assert pair.before is not None
    found = np.full((len(partners), *shape), np.nan, np.float32)
    known = [k for k, partner in enumerate(partners) if partner is not None]
    if not known:
        return found, np.full((1, 2), np.nan)
    used = [int(partners[k]) for k in known]  # type: ignore[arg-type]
    place = _passes.fit(pair.before, pair.after, shape)
    found[known], ranges = _passes.pictures(pair.before.isel(used), place)
    return found, ranges


def grey_scale(pictures: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return the grey levels shown as black and white: the same before and after, unless one would not be seen."""
    own = {name: _images.finite_limits(list(images)) for name, images in pictures.items()}
    known = {name for name, images in pictures.items() if np.isfinite(images).any()}
    if known != {"before", "after"}:
        return own
    low, high = min(one[0] for one in own.values()), max(one[1] for one in own.values())
    if any(one[1] - one[0] < 0.2 * (high - low) for one in own.values()):
        return own
    return dict.fromkeys(own, (low, high))


def _ends(limits: tuple[float, float], ranges: np.ndarray) -> tuple[float, float]:
    """Return the ends of histograms: a little beyond what is shown, and not beyond what there is."""
    margin = 0.15 * (limits[1] - limits[0])
    low, high = limits[0] - margin, limits[1] + margin
    known = ranges[np.isfinite(ranges).all(axis=1)]
    if known.size:
        low, high = max(low, float(known[:, 0].min())), min(high, float(known[:, 1].max()))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
