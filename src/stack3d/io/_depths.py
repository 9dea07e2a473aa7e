"""Positions of slices that the acquisition software noted in the frames themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np

from stack3d._warn import warn
from stack3d.io._frames import TIFF_SUFFIXES
from stack3d.io._listing import FrameFile
from stack3d.io._names import length_in
from stack3d.io._order import Slice
from stack3d.io._source import Settings


def noted_depths(rows: dict[str | None, list[Slice]], settings: Settings, unit: str) -> np.ndarray | None:
    """Return the position that Atlas noted in each frame, in `unit`; None where there are none.

    They are looked for where neither the names nor the user give positions, in the frames of the first channel: the
    first one tells whether all have to be read.
    """
    from stack3d.io._vendor import slice_depth

    first = next(iter(rows.values()))
    given = 0 if settings.pixel_size is None or np.ndim(settings.pixel_size) == 0 else len(settings.pixel_size)
    files = [item.file for item in first if item.file is not None]
    if len(files) < 2 or first[0].z is not None or settings.z is not None or given == 3:
        return None

    def look(file: FrameFile) -> float | None:
        if not file.path.lower().endswith(TIFF_SUFFIXES):
            return None
        try:
            found = slice_depth(file.path)
        except (ValueError, OSError):  # a frame that cannot be read is reported when it is
            return None
        return None if found is None else length_in(Decimal(repr(found[0])), found[1], unit)

    if look(files[0]) is None:
        return None
    from stack3d.options import worker_count
    from stack3d.progress import track

    depths: list[float | None] = []
    with track(len(files), "read positions") as advance, ThreadPoolExecutor(worker_count()) as pool:
        for depth in pool.map(look, files):
            depths.append(depth)
            advance(1)
    known = [depth for depth in depths if depth is not None]
    steps = np.diff(known)
    if len(known) < len(files) or np.any(steps <= 0):
        at = int(np.argmax(steps <= 0)) + 1 if np.any(steps <= 0) else depths.index(None)
        why = "do not increase" if len(known) == len(files) else "are not in all of them"
        warn(
            f"the positions that Atlas noted in the frames {why} ({files[at].path}) and are not used; z= gives "
            "positions, or dz in pixel_size="
        )
        return None
    places = np.flatnonzero([item.file is not None for item in first])
    inside = np.interp(np.arange(len(first)), places, known)
    return np.asarray(inside)
