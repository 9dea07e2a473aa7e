"""Numbers, lengths of time and amounts of memory as people write them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

NOTHING = "–"
# What lengths by these names count where the stack is not calibrated.
COUNTED = {"shift_y": "pixel", "shift_x": "pixel", "increment": "slice", "position": "slice"}


def number(value: Any, digits: int = 4) -> str:
    """Return a number with at most so many digits that count, a dash for what is none."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return NOTHING
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 7 or size < -4:
        head, _, power = f"{value:.{digits - 1}e}".partition("e")
        head = head.rstrip("0").rstrip(".") if "." in head else head
        return f"{head} × 10^{int(power)}".replace("-", "−")
    text = f"{value:,.{max(0, digits - 1 - size)}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def amount(count: float | None) -> str:
    """Return bytes in a unit that suits."""
    if count is None or not math.isfinite(count):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def duration(seconds: float | None) -> str:
    """Return a length of time in a unit that suits."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return f"{number(seconds, 3 if seconds >= 1 else 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def plain(text: str) -> str:
    """Return a name of a variable as words."""
    return text.replace("_", " ")


def unit_shown(unit: str, of_one: str) -> str:
    """Return a unit, or what is counted where there is none."""
    return of_one if unit in ("1", "") else unit


def along_z(estimate: xr.Dataset) -> tuple[np.ndarray, str]:
    """Return the positions of the slices of an estimate, and the label of their axis."""
    if "z" in estimate.coords:
        unit = str(estimate["z"].attrs.get("units", "1"))
        return np.atleast_1d(estimate["z"].values).astype(float), f"z / {unit_shown(unit, 'slice')}"
    return np.arange(estimate.sizes.get("z", 1), dtype=float), "slice"


def quoted(value: Any) -> str:
    """Return a value of a parameter in one short line."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 160 else text[:157] + "..."
