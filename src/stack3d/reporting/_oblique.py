"""Whether what was taken for drift may be structure that runs obliquely: images alone cannot tell the two apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from stack3d import estimates
from stack3d.reporting._model import Estimate
from stack3d.reporting._words import number

_EXPLAINED = 0.9  # of the variance of the shifts, by a straight line
_FAR, _SHARE = 5.0, 0.03  # what it moves, in pixels or of the side: enough to cost a margin of the frame
_LEAST = 6  # slices: through fewer anything is nearly a line


def hint(estimate: xr.Dataset) -> str:
    """Return what there is to say of shifts that are mostly a straight line over z; nothing where they are not."""
    moved = [f"{number(abs(pixels), 3)} pixels along {dim}" for dim, pixels in _lines(estimate)]
    if not moved:
        return ""
    return (
        f"These shifts are mostly a straight line over z, {' and '.join(moved)} from the first slice to the last. A stage that "
        "creeps does that, and so does structure that runs obliquely through the stack, which is then straightened, and "
        "costs a margin of the frame. If nothing drifted steadily, register(trend='linear') leaves the line in the images."
    )


def hints(known: list[Estimate], places: list[str]) -> list[str]:
    """Return one line for each step whose estimate has something to say; `places` are the numbers of the records."""
    return [f"Step {places[e.number]}, {e.step}: {said}" for e in known if e.number >= 0 and (said := hint(e.data))]


def _lines(estimate: xr.Dataset) -> Iterator[tuple[str, float]]:
    """Yield the axes along which shifts follow a line, and how many pixels it goes."""
    if estimate.attrs.get("kind") != "transforms" or "frame" not in estimate.attrs or "z" not in estimate.coords:
        return
    frame = estimates.frame_of(estimate)
    z = np.atleast_1d(estimate["z"].values).astype(float)
    good = np.atleast_1d(estimate["valid"].values).astype(bool) if "valid" in estimate else np.ones(z.size, bool)
    for axis, dim in enumerate("yx"):
        if f"shift_{dim}" not in estimate or estimate[f"shift_{dim}"].dims != ("z",):
            continue
        shift = estimate[f"shift_{dim}"].values / frame.spacing[axis]
        use = good & np.isfinite(shift)
        if use.sum() < _LEAST or np.ptp(shift[use]) == 0:
            continue
        slope, offset = np.polyfit(z[use], shift[use], 1)
        length = float(slope * np.ptp(z[use]))
        left = float(np.var(shift[use] - slope * z[use] - offset) / np.var(shift[use]))
        if left < 1 - _EXPLAINED and abs(length) > min(_FAR, _SHARE * frame.shape[axis]):
            yield dim, length
