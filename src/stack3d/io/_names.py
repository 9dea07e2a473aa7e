"""What a file name says about a frame: its slice number, its position and its channel."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from stack3d.units import canonical_unit, conversion_factor

_FIELDS = {
    "slice": "slice", "slice_nb": "slice", "slice_number": "slice",
    "z": "z", "z_coord": "z",
    "channel": "channel",
}  # fmt: skip
_ALLOWED = "{slice}, {z}, {channel}, '{}' or '*' for any text and '?' for one character"
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_UNIT = r"pm|nm|um|µm|μm|mm|angstrom"
_DEFAULT_Z = re.compile(rf"(?<![A-Za-z])z\s*[=_]?\s*({_NUMBER})\s*({_UNIT})(?![A-Za-z])", re.IGNORECASE)
# The word before a number that says that it counts the slices.
_COUNTS_SLICES = re.compile(r"(?:slice|section|frame|image|img)s?[\s_.=#-]*$", re.IGNORECASE)
_POWERS = {"pm": -12, "angstrom": -10, "nm": -9, "um": -6, "mm": -3}


class FrameName(NamedTuple):
    """What was read in a name; None for what it does not say."""

    number: int | None
    z: Decimal | None
    unit: str | None
    channel: str | None


def natural_key(name: str) -> tuple[Any, ...]:
    """Return a key that sorts ``slice_2`` before ``slice_10``."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts), name


def length_in(value: Decimal, source: str, target: str) -> float:
    """Return a length in another unit, as exactly as its decimal digits: 0.029 um is 29 nm, not 29.000000000000004."""
    source, target = canonical_unit(source), canonical_unit(target)
    if source in _POWERS and target in _POWERS:
        return float(value.scaleb(_POWERS[source] - _POWERS[target]))
    return float(value) * conversion_factor(source, target)


class NamePattern:
    """A pattern of names such as ``"slice_{slice:04d}_z={z}um.tif"``; folders before the name are parted by ``/``.

    Parameters
    ----------
    pattern : str
        Text with the fields ``{slice}``, ``{z}`` (a unit may follow it) and ``{channel}``; ``{}`` and ``*`` stand for
        any text, ``?`` for one character. Letters match in both cases.
    """

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise TypeError(f"pattern={pattern!r} must be a str such as 'slice_{{slice}}.tif'")
        if not pattern or pattern.startswith("/") or pattern.endswith("/"):
            raise ValueError(
                f"pattern={pattern!r} must give a file name below the folder, such as 'slice_{{slice}}.tif'"
            )
        self.text = pattern
        self.unit: str | None = None
        self.fields: set[str] = set()
        self.parts = tuple(self._compile(part) for part in pattern.split("/"))
        if not self.fields & {"slice", "z"} and "{" not in pattern and not set("*?") & set(pattern):
            raise ValueError(f"pattern={pattern!r} matches one name only; allowed fields are {_ALLOWED}")

    def _compile(self, part: str) -> re.Pattern[str]:
        try:
            pieces = list(string.Formatter().parse(part))
        except ValueError as error:
            raise ValueError(f"pattern={self.text!r} is not valid: {error}; allowed are {_ALLOWED}") from None
        regex = ""
        for index, (literal, field, spec, conversion) in enumerate(pieces):
            regex += "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in literal)
            if field is None:
                continue
            following = pieces[index + 1][0] if index + 1 < len(pieces) else ""
            regex += self._field(field, spec or "", conversion, following)
        return re.compile(regex, re.IGNORECASE)

    def _field(self, field: str, spec: str, conversion: str | None, following: str) -> str:
        if field == "" and not spec and not conversion:
            return ".*?"
        name = _FIELDS.get(field)
        if name is None or conversion:
            raise ValueError(f"pattern={self.text!r} has the unknown field {{{field}}}; allowed are {_ALLOWED}")
        if name in self.fields:
            return f"(?P={name})"
        self.fields.add(name)
        if name == "slice":
            allowed, regex = r"\d*d?", r"\d+"
        elif name == "z":
            allowed, regex = rf"\d*(?:\.\d+)?[fFgG]?|{_UNIT}", _NUMBER
            after = re.match(rf"\s*({_UNIT})(?![A-Za-z])", following, re.IGNORECASE)
            if re.fullmatch(_UNIT, spec):
                self.unit = canonical_unit(spec)
            elif after:
                self.unit = canonical_unit(after.group(1).lower())
        else:
            allowed, regex = "s?", ".+?"
        if not re.fullmatch(allowed, spec):
            raise ValueError(
                f"pattern={self.text!r} has the format {spec!r} in {{{field}}}, which cannot be read; leave it out"
            )
        return f"(?P<{name}>{regex})"

    def read(self, parts: Sequence[str]) -> FrameName | None:
        """Return what the folders and the name of a file say, None where they do not match."""
        found: dict[str, str] = {}
        for regex, part in zip(self.parts, parts, strict=True):
            match = regex.fullmatch(part)
            if match is None:
                return None
            for field, text in match.groupdict().items():
                if found.setdefault(field, text) != text:
                    return None
        number = int(found["slice"]) if "slice" in found else None
        z = Decimal(found["z"]) if "z" in found else None
        return FrameName(number, z, self.unit if z is not None else None, found.get("channel"))


def positions_in(names: Sequence[str]) -> list[tuple[Decimal, str] | None]:
    """Return the position and its unit that each name gives as ``z=0.0125um``, None for a name that gives none."""
    found: list[tuple[Decimal, str] | None] = []
    for name in names:
        matches = _DEFAULT_Z.findall(name)
        if len(matches) > 1:
            raise ValueError(
                f"the name {name!r} gives z more than once; say which one counts with pattern='...{{z}}um...'"
            )
        found.append((Decimal(matches[0][0]), canonical_unit(matches[0][1].lower())) if matches else None)
    return found


def numbers_in(names: Sequence[str]) -> list[int] | None:
    """Return the slice number that each name gives, None where the names have no numbers.

    It is the number after a word such as "slice", or else the only one that differs between the names.

    Raises
    ------
    ValueError
        When the names are not of one form, or several of their numbers differ.
    """
    stems = [_DEFAULT_Z.sub("z", name) for name in names]
    pieces = [re.split(r"(\d+)", stem) for stem in stems]
    forms: dict[tuple[str, ...], str] = {}
    for name, piece in zip(names, pieces, strict=True):
        forms.setdefault(tuple(text.casefold() for text in piece[::2]), name)
    if len(forms) > 1:
        examples = ", ".join(repr(name) for name in list(forms.values())[:4])
        raise ValueError(
            f"the names are not of one form ({examples}); say which files are slices with pattern=, for example "
            "'slice_{slice}.tif', or '*.tif' for all of them in the order of their names"
        )
    (texts,) = forms
    columns = [[int(piece[2 * k + 1]) for piece in pieces] for k in range(len(texts) - 1)]
    if not columns:
        return None
    named = [k for k in range(len(columns)) if _COUNTS_SLICES.search(texts[k])]
    varying = [k for k, column in enumerate(columns) if len(set(column)) > 1]
    if len(named) > 1:
        named = [k for k in named if k in varying]
    chosen = named if len(named) == 1 else varying
    if len(names) == 1 and len(chosen) != 1:
        return columns[0] if len(columns) == 1 else None
    if len(chosen) > 1:
        examples = ", ".join(repr(name) for name in (names[0], names[-1]))
        raise ValueError(
            f"several numbers differ between the names ({examples}); say which one is the slice with pattern=, "
            "for example "
            f"{_suggest(names[0], chosen[-1])!r}"
        )
    # No number differs: the files repeat a number ("a1", "a01"), which the reader refuses by name.
    return columns[chosen[0] if chosen else -1]


def _suggest(name: str, column: int) -> str:
    pieces = re.split(r"(\d+)", name)
    return "".join(
        ("{slice}" if k == 2 * column + 1 else "{}") if k % 2 else text.replace("{", "{{").replace("}", "}}")
        for k, text in enumerate(pieces)
    )
