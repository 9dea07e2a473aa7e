"""Areas of a project of PyStack3D, which counts rows from the lower edge, as slices from the upper left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stack3d.runs._document import Source
from stack3d.runs._pystack3d_values import Values

EVERYTHING = 99999  # what PyStack3D's default files give for "to the end"


class Areas(Values):
    """Values of a project whose frames have a size.

    Attributes
    ----------
    sizes : dict
        Of the frames that the next step gets.
    notes : list of str
        What differs from PyStack3D.
    """

    def __init__(self, source: Source, tables: Mapping[str, Any], sizes: dict[str, int]) -> None:
        super().__init__(source, tables)
        self.sizes = sizes
        self.cut = False  # by a registration: sizes are known only when it has been measured
        self.has_area = False
        self.notes: list[str] = []

    def _area(self, name: str, area: Any) -> dict[str, Any] | None:
        """Return an area [xmin, xmax, ymin, ymax], counted from the lower left, as slices from the upper left."""
        if area is None:
            return None
        whole = isinstance(area, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in area)
        if not whole or len(area) != 4:
            self._problem(name, "area", f"area = {area!r} must be [xmin, xmax, ymin, ymax] in whole pixels")
            return None
        rows, cols = self.sizes["y"], self.sizes["x"]
        if self.cut:
            return self._area_of_unknown(name, list(area), rows, cols)
        left, right, low, high = max(area[0], 0), min(area[1], cols), max(area[2], 0), min(area[3], rows)
        if left >= right or low >= high:
            self._problem(name, "area", f"area = {area!r} holds nothing of {cols} x {rows} pixels")
            return None
        if (left, low) != (area[0], area[2]) or any(
            a > n and a != EVERYTHING for a, n in ((area[1], cols), (area[3], rows))
        ):
            self.notes.append(
                f"{name}: area {list(area)} reaches beyond {cols} x {rows} and is cut to it; PyStack3D crops wrongly"
            )
        if (left, right, low, high) == (0, cols, 0, rows):
            return None
        self.has_area = True
        return {"y": slice(rows - high, rows - low), "x": slice(left, right), "by": "index"}

    def _area_of_unknown(self, name: str, area: list[int], rows: int, cols: int) -> dict[str, Any] | None:
        """Return an area of frames that are at most `rows` x `cols`: rows counted from the lower edge, as they are given."""
        left, right, low, high = area
        if min(left, low) < 0 or left >= right or low >= high:
            text = f"area = {area!r} must be [xmin, xmax, ymin, ymax], each pair rising, none below 0"
            self._problem(name, "area", text)
            return None
        y = slice(None if high >= rows else -high, -low or None)
        x = slice(left or None, None if right >= cols else right)
        if (y, x) == (slice(None, None), slice(None, None)):
            return None
        self.has_area = True
        return {"y": y, "x": x, "by": "index"}
