"""Lengths with units: strings at the door, plain numbers inside."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np

Length = float | int | str

# Each unit as it is kept in attrs: its length in picometres, and the names a microscope or a file may give it.
_UNITS: dict[str, tuple[int, str]] = {
    "pm": (1, "pm picometer picometre picometers picometres"),
    "angstrom": (100, "A \N{ANGSTROM SIGN} \N{LATIN CAPITAL LETTER A WITH RING ABOVE} angstrom angstroms ångström"),
    "nm": (10**3, "nm nanometer nanometre nanometers nanometres"),
    "um": (10**6, "um µm μm micron microns micrometer micrometre micrometers micrometres"),
    "mm": (10**9, "mm millimeter millimetre millimeters millimetres"),
    "cm": (10**10, "cm centimeter centimetre centimeters centimetres"),
    "inch": (254 * 10**8, "in inch inches"),
    "m": (10**12, "m meter metre meters metres"),
    "km": (10**15, "km kilometer kilometre kilometers kilometres"),
}
_PIXELS = ("px", "pixel", "pixels", "voxel", "voxels")
_NAMES = {name: unit for unit, (_, names) in _UNITS.items() for name in names.split()}
_NAMES |= dict.fromkeys((*_PIXELS, "", "1", "dimensionless"), "1")
_LENGTH = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*)?", re.ASCII)


@functools.cache
def _registry() -> Any:
    # Private: the registry of the process belongs to the user.
    import pint

    return pint.UnitRegistry()


def canonical_unit(unit: str) -> str:
    """Return the name under which a length unit is kept (``"µm"`` becomes ``"um"``, ``"px"`` becomes ``"1"``).

    Raises
    ------
    ValueError, TypeError
        When `unit` is not a length.

    Examples
    --------
    >>> from stack3d.units import canonical_unit
    >>> canonical_unit("nanometer"), canonical_unit("µm"), canonical_unit("px")
    ('nm', 'um', '1')
    """
    if not isinstance(unit, str):
        raise TypeError(f"units={unit!r} must be a str such as 'nm', 'um' or 'angstrom', or '1' for pixels")
    name = unit.strip()
    # Long names may begin with a capital; short ones may not: nm is a length, Nm and NM are none.
    known = _NAMES.get(name, _NAMES.get(name.lower()) if len(name) > 4 else None)
    if known is not None:
        return known
    try:
        given = _registry().Unit(name)
        if given.is_compatible_with("meter"):
            return next((kept for kept in _UNITS if given == _registry().Unit(kept)), name)
    except Exception:  # the parser lets errors of many kinds through, those of Python's tokenizer too
        pass
    raise ValueError(
        f"units={unit!r} is not a unit of length; use for example 'nm', 'um' or 'angstrom', or '1' for pixels"
    )


def conversion_factor(source: str, target: str) -> float:
    """Return by what a length in `source` is multiplied to be in `target`.

    Raises
    ------
    ValueError
        When one of them is ``"1"`` (pixels without calibration) and the other is not.
    """
    numerator, denominator = _ratio(source, target)
    return numerator / denominator


def _ratio(source: str, target: str) -> tuple[float, float]:
    """Return two numbers whose quotient converts a length, whole ones where possible: 1 um is exactly 1000 nm."""
    source, target = canonical_unit(source), canonical_unit(target)
    if source == target:
        return 1, 1
    if "1" in (source, target):
        raise ValueError(
            f"a length in {source!r} cannot be used on a coordinate in {target!r}: the stack is not calibrated; "
            "give pixel_size to from_array or open_stack, or use a length in pixels such as '20 px'"
        )
    if source in _UNITS and target in _UNITS:
        one, other = _UNITS[source][0], _UNITS[target][0]
        common = math.gcd(one, other)
        return one // common, other // common
    return float(_registry().Quantity(1.0, source).to(target).magnitude), 1


def parse_length(value: Length, *, unit: str, spacing: float, name: str) -> float:
    """Return a length as a number in the unit of a coordinate.

    Parameters
    ----------
    value : float or str
        A number, already in `unit`, or a string such as ``"10 nm"`` or ``"20 px"``.
    unit : str
        Unit of the coordinate.
    spacing : float
        Length of one pixel along it, in `unit`.
    name : str
        Name of the argument, for the error.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed.

    Examples
    --------
    >>> from stack3d.units import parse_length
    >>> (
    ...     parse_length("0.02 um", unit="nm", spacing=5.0, name="dz"),
    ...     parse_length("4 px", unit="nm", spacing=5.0, name="dz"),
    ... )
    (20.0, 20.0)
    """
    if isinstance(value, str):
        match = _LENGTH.fullmatch(value)
        if not match:
            raise ValueError(f"{name}={value!r} is not a length; give a number or a string such as '10 nm' or '20 px'")
        number, given = float(match.group(1)), (match.group(2) or "").strip()
        if given.lower() in _PIXELS:
            number *= spacing
        elif given:
            try:
                numerator, denominator = _ratio(given, unit)
            except ValueError as error:
                raise ValueError(f"{name}={value!r}: {error}") from None
            number = number * numerator / denominator
    elif isinstance(value, (bool, np.bool_)) or np.ndim(value) != 0 or not hasattr(value, "__float__"):
        raise TypeError(f"{name}={value!r} must be a number or a string such as '10 nm' or '20 px'")
    else:
        try:
            number = float(value)
        except Exception:  # a number with a unit of its own has an error of its own
            raise TypeError(f"{name}={value!r} must be a plain number or a string such as '10 nm' or '20 px'") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r} must be finite")
    return number
