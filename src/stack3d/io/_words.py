"""What vendors state, in words of the vocabulary: what is empty, of another kind or in a strange unit is left out."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import Any

from stack3d.vocabulary import VOCABULARY, validate

_KINDS = {spec.name: spec for spec in VOCABULARY}
_UNITS = {"secs": "s", "sec": "s", "msecs": "ms", "degrees": "degree", "deg": "degree", "volts": "V", "hours": "h"}
_NUMBER = re.compile(r"[\s=]*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

Stated = Any
"""A text, a number, or a number with its unit."""


def words(**values: Stated) -> dict[str, Any]:
    """Return attrs: for each word a text, a number, or ``(number, unit)``."""
    attrs: dict[str, Any] = {}
    for name, value in values.items():
        number, unit = value if isinstance(value, tuple) else (value, None)
        spec = _KINDS[name]
        found: dict[str, Any] = {}
        if spec.kind in ("text", "date"):
            text = "" if number is None else str(number).strip().strip("\x00")
            found = {name: text} if text else {}
        else:
            amount = _finite(number)
            if amount is None or (spec.units is not None and not unit):
                continue
            found[name] = round(amount) if spec.kind == "integer" else amount
            if spec.units is not None:
                found[f"{name}_units"] = _UNITS.get(str(unit).lower(), str(unit))
        try:
            validate(found)
        except (TypeError, ValueError):
            continue
        attrs.update(found)
    return attrs


def originals(**records: Any) -> dict[str, str]:
    """Return the attr that keeps what the vendors' files say, under the names of their formats."""
    return {"vendor_metadata": json.dumps(records, ensure_ascii=False, default=str, sort_keys=True)}


def quantity(text: Any) -> tuple[Any, str | None]:
    """Return the number and the unit of a text such as ``"1.5 kV"``."""
    found = _NUMBER.match(str(text or ""))
    return (found[1], found[2] or None) if found else (None, None)


def date(day: Any, time: Any = "") -> str | None:
    """Return a date as in ISO 8601; None for one that can be read in two ways."""
    ymd = _day(str(day or "").strip())
    if ymd is None:
        return None
    clock = re.match(r"\s*(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AaPp][Mm])?", str(time or ""))
    hour, minute, second = (int(part or 0) for part in clock.groups()[:3]) if clock else (0, 0, 0)
    if clock and clock[4]:
        hour = hour % 12 + (12 if clock[4].lower() == "pm" else 0)
    try:
        moment = datetime.datetime(*ymd, hour, minute, second)
    except ValueError:
        return None
    return moment.isoformat() if clock else moment.date().isoformat()


def _day(text: str) -> tuple[int, int, int] | None:
    if iso := re.match(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
        return int(iso[1]), int(iso[2]), int(iso[3])
    if german := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text):
        return int(german[3]), int(german[2]), int(german[1])
    if named := re.fullmatch(r"(\d{1,2})[ -]([A-Za-z]{3})[a-z]*[ -](\d{4})", text):
        name = named[2].lower()
        return (int(named[3]), _MONTHS.index(name) + 1, int(named[1])) if name in _MONTHS else None
    if slashes := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text):
        first, second, year = (int(part) for part in slashes.groups())
        # Month first in some countries, day first in others.
        if second > 12 or first == second:
            return year, first, second
        return (year, second, first) if first > 12 else None
    return None


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
