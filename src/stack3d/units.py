"""Lengths with units: strings at the door, plain numbers inside."""

from __future__ import annotations

import functools
import re
from typing import Any

Length = float | int | str

# Names a microscope or a file may use, to the name kept in attrs.
_ALIASES = {
    "nanometer": "nm", "nanometre": "nm", "nanometers": "nm", "nanometres": "nm",
    "um": "um", "µm": "um", "μm": "um", "micron": "um", "microns": "um",
    "micrometer": "um", "micrometre": "um", "micrometers": "um", "micrometres": "um",
    "angstrom": "angstrom", "Å": "angstrom", "Å": "angstrom", "A": "angstrom", "ångström": "angstrom",
    "millimeter": "mm", "millimetre": "mm", "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m",
    "picometer": "pm", "picometre": "pm", "inch": "inch", "in": "inch",
    "px": "1", "pixel": "1", "pixels": "1", "voxel": "1", "voxels": "1", "": "1", "1": "1", "dimensionless": "1",
}  # fmt: skip
_PIXEL = re.compile(r"^\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(?:px|pixels?|voxels?)\s*$")


@functools.cache
def _registry() -> Any:
    # Private: the registry of the process belongs to the user.
    import pint

    return pint.UnitRegistry()


def canonical_unit(unit: str) -> str:
    """Return the name under which a length unit is kept (``"µm"`` becomes ``"um"``, ``"px"`` becomes ``"1"``).

    Raises
    ------
    ValueError
        When `unit` is not a length.
    """
    unit = unit.strip()
    known = _ALIASES.get(unit)
    if known is not None:
        return known
    import pint

    try:
        registry = _registry()
        if registry.Unit(unit).is_compatible_with("meter"):
            return unit
    except (pint.errors.PintError, AttributeError, ValueError, TypeError, AssertionError):
        pass
    raise ValueError(f"units={unit!r} is not a unit of length; use for example 'nm', 'um' or 'angstrom', or '1' for pixels")


def conversion_factor(source: str, target: str) -> float:
    """Return by what a length in `source` is multiplied to be in `target`.

    Raises
    ------
    ValueError
        When one of them is ``"1"`` (pixels without calibration) and the other is not.
    """
    source, target = canonical_unit(source), canonical_unit(target)
    if source == target:
        return 1.0
    if "1" in (source, target):
        raise ValueError(
            f"a length in {source!r} cannot be used on a coordinate in {target!r}: the stack is not calibrated; "
            "give pixel_size to from_array or open_stack, or use a length in pixels such as '20 px'"
        )
    # Through decimal powers where possible, so that 1 um is exactly 1000 nm.
    powers = {"pm": -12, "angstrom": -10, "nm": -9, "um": -6, "mm": -3, "cm": -2, "m": 0}
    if source in powers and target in powers:
        exponent = powers[source] - powers[target]
        return float(10**exponent) if exponent >= 0 else 1.0 / 10**-exponent
    return float(_registry().Quantity(1.0, source).to(target).magnitude)


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
    """
    if isinstance(value, str):
        pixels = _PIXEL.match(value)
        if pixels:
            return float(pixels.group(1)) * spacing
        match = re.match(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*)?$", value)
        if not match:
            raise ValueError(f"{name}={value!r} is not a length; give a number or a string such as '10 nm' or '20 px'")
        number, given = float(match.group(1)), match.group(2)
        if given is None:
            return number
        try:
            return number * conversion_factor(given, unit)
        except ValueError as error:
            raise ValueError(f"{name}={value!r}: {error}") from None
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}={value!r} must be a number or a string such as '10 nm' or '20 px'")
    return float(value)
