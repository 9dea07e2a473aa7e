"""The vocabulary of FIB-SEM metadata, one for all vendors, and what attrs may hold.

A fact that is one for the stack is an attr under the name given here; one that changes from slice to slice (working
distance, stage position) is a coordinate on z of the same name, one that belongs to a detector a coordinate on channel.
A quantity is a number; its unit stands in ``<name>_units``, and is the one of the table where that attr is missing.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stack3d._storable import check_storable, normalise, short, simple
from stack3d.units import _registry

__all__ = ["VOCABULARY", "Spec", "describe", "normalise", "validate", "vocabulary_table"]

Kind = Literal["text", "number", "integer", "date", "json"]


@dataclass(frozen=True)
class Spec:
    """One word of the vocabulary.

    Attributes
    ----------
    name : str
        Name of the attr.
    kind : {"text", "number", "integer", "date", "json"}
        What its value is; a date is text as in ISO 8601, JSON is text too.
    units : str or None
        Unit where ``<name>_units`` does not say another; None for what has no unit.
    doc : str
        What it means.
    """

    name: str
    kind: Kind
    units: str | None
    doc: str


VOCABULARY: tuple[Spec, ...] = (
    # Who, what and when
    Spec("instrument", "text", None, "Model of the microscope"),
    Spec("manufacturer", "text", None, "Who made it"),
    Spec("serial_number", "text", None, "Serial number or machine name"),
    Spec("software", "text", None, "Acquisition software and its version"),
    Spec("operator", "text", None, "Who acquired the stack"),
    Spec("sample", "text", None, "What was imaged"),
    Spec("notes", "text", None, "Free text written at the microscope"),
    Spec("acquisition_date", "date", None, "When the first slice was taken"),
    # Imaging beam
    Spec("beam", "text", None, "Beam that made the image: electron or ion"),
    Spec("accelerating_voltage", "number", "kV", "High voltage of the imaging beam"),
    Spec("landing_energy", "number", "keV", "Energy at the sample, where the stage is biased"),
    Spec("beam_current", "number", "pA", "Current of the imaging beam"),
    Spec("specimen_current", "number", "pA", "Current measured at the sample"),
    Spec("aperture_diameter", "number", "um", "Diameter of the final aperture"),
    Spec("working_distance", "number", "mm", "From the final lens to the plane in focus"),
    Spec("magnification", "number", None, "As the microscope states it"),
    Spec("field_of_view", "number", "um", "Width of the whole frame, before any crop"),
    # Scan
    Spec("dwell_time", "number", "us", "Time the beam stays on a pixel"),
    Spec("line_time", "number", "ms", "Time from one row to the next"),
    Spec("frame_time", "number", "s", "Time to scan a frame"),
    Spec("scan_rate", "number", "Hz", "Pixels scanned per second"),
    Spec("scan_rotation", "number", "degree", "Rotation of the scan"),
    Spec("line_averaging", "integer", None, "How often each row was scanned and averaged"),
    Spec("frame_averaging", "integer", None, "How many frames were averaged"),
    # Detector
    Spec("detector", "text", None, "Name of the detector (of several: coordinate channel)"),
    Spec("detector_mode", "text", None, "Signal it collected, such as SE or BSE"),
    Spec("detector_bias", "number", "V", "Voltage of its grid or collector"),
    Spec("detector_brightness", "number", "percent", "Offset of its amplifier"),
    Spec("detector_contrast", "number", "percent", "Gain of its amplifier"),
    # Stage and chamber
    Spec("stage_x", "number", "mm", "Stage position"),
    Spec("stage_y", "number", "mm", "Stage position"),
    Spec("stage_z", "number", "mm", "Stage position"),
    Spec("stage_rotation", "number", "degree", "Rotation of the stage"),
    Spec("tilt_angle", "number", "degree", "Tilt of the stage"),
    Spec("column_angle", "number", "degree", "Angle between the imaging and the milling beam"),
    Spec("chamber_pressure", "number", "Pa", "Pressure in the chamber"),
    # Milling
    Spec("slice_thickness", "number", "nm", "Thickness of a slice that was set (true positions are the coordinate z)"),
    Spec("milling_voltage", "number", "kV", "High voltage of the milling beam"),
    Spec("milling_current", "number", "nA", "Current of the milling beam"),
    Spec("milling_ion", "text", None, "Ion that milled, such as Ga or Xe"),
    # Originals
    Spec("vendor_metadata", "json", None, "All that the vendor's file says, under the name of its format"),
)

_BY_NAME = {spec.name: spec for spec in VOCABULARY}
_WITH_UNITS = {f"{spec.name}_units": spec for spec in VOCABULARY if spec.units is not None}

# Units that vendors write, by the unit of the table; others are looked up.
_COMMON = {
    "kV": {"V", "kV", "mV"},
    "V": {"V", "kV", "mV"},
    "keV": {"eV", "keV"},
    "pA": {"A", "mA", "uA", "µA", "μA", "nA", "pA"},
    "nA": {"A", "mA", "uA", "µA", "μA", "nA", "pA"},
    "us": {"s", "ms", "us", "µs", "μs", "ns"},
    "ms": {"s", "ms", "us", "µs", "μs", "ns"},
    "s": {"s", "ms", "us", "µs", "μs", "ns", "min"},
    "Hz": {"Hz", "kHz", "MHz"},
    "nm": {"m", "mm", "um", "µm", "μm", "nm", "pm"},
    "um": {"m", "mm", "um", "µm", "μm", "nm", "pm"},
    "mm": {"m", "mm", "um", "µm", "μm", "nm", "pm"},
    "degree": {"degree", "deg", "°", "rad"},
    "Pa": {"Pa", "hPa", "mbar", "bar", "Torr", "torr"},
    "percent": {"percent", "%"},
}


def validate(attrs: Mapping[str, Any]) -> None:
    """Check that attrs are what every file format takes, and that words of the vocabulary hold what they mean.

    Parameters
    ----------
    attrs : mapping
        Values are str, int, float or 1-D arrays of numbers. Names outside the vocabulary are allowed.

    Raises
    ------
    TypeError
        For a value of another type, naming the attr and how to mend it.
    ValueError
        For a value of the right type that cannot stand there: a unit of something else, a date that is none.

    See Also
    --------
    normalise : Turn other values into these.

    Examples
    --------
    >>> from stack3d.vocabulary import validate
    >>> validate({"accelerating_voltage": 5, "accelerating_voltage_units": "kV", "my_own": "text"})
    >>> validate({"accelerating_voltage": "5 kV"})
    Traceback (most recent call last):
    TypeError: attrs['accelerating_voltage']='5 kV' must be a number; its unit goes to
    attrs['accelerating_voltage_units'] (default 'kV')
    """
    for name, value in attrs.items():
        if not isinstance(name, str):
            raise TypeError(f"attrs has the name {name!r}; names must be str")
        if not name or "/" in name or "\0" in name:
            raise ValueError(f"attrs has the name {name!r}; a name must not be empty nor contain '/'")
        check_storable(name, value)
        if name in _BY_NAME:
            _check_meaning(_BY_NAME[name], value)
        elif name in _WITH_UNITS:
            _check_units(_WITH_UNITS[name], value)


def _check_meaning(spec: Spec, value: Any) -> None:
    if spec.kind in ("text", "date", "json"):
        if not isinstance(value, str):
            raise TypeError(f"attrs[{spec.name!r}]={short(value)} must be a str ({spec.doc.lower()})")
        if spec.kind == "date":
            try:
                datetime.datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(
                    f"attrs[{spec.name!r}]={value!r} must be a date as in ISO 8601, such as '2026-03-31T14:05:00'"
                ) from None
        if spec.kind == "json":
            try:
                json.loads(value)
            except ValueError as error:
                raise ValueError(f"attrs[{spec.name!r}]={short(value)} must be a JSON string: {error}") from None
        return
    if spec.kind == "integer":
        if not isinstance(value, (int, np.integer)):
            raise TypeError(f"attrs[{spec.name!r}]={short(value)} must be a whole number of type int")
        return
    if isinstance(value, (str, np.ndarray)):
        unit = f"; its unit goes to attrs['{spec.name}_units'] (default {spec.units!r})" if spec.units else ""
        raise TypeError(f"attrs[{spec.name!r}]={short(value)} must be a number{unit}")


def _check_units(spec: Spec, value: Any) -> None:
    assert spec.units is not None
    name = f"attrs['{spec.name}_units']"
    if not isinstance(value, str):
        raise TypeError(f"{name}={short(value)} must be a str such as {spec.units!r}")
    if value in _COMMON[spec.units]:
        return
    registry = _registry()
    try:
        fits = bool(registry.Unit(value).is_compatible_with(spec.units))
    except Exception:  # the parser of units lets errors of many kinds through
        fits = False
    if not fits:
        raise ValueError(f"{name}={value!r} is not a unit of {spec.name}; use {spec.units!r} or another of its kind")


def describe(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what attrs say in words of the vocabulary.

    Parameters
    ----------
    attrs : mapping
        Attrs of a stack.

    Returns
    -------
    dict
        In the order of the vocabulary: the value of each word that is there, each quantity followed by its unit
        ``<name>_units``; ``vendor_metadata`` decoded from JSON (as it is where it is not JSON).

    Examples
    --------
    >>> from stack3d.vocabulary import describe
    >>> describe({"beam_current": 50, "title": "a", "vendor_metadata": '{"FEI": {"Beam": {"Spot": 1}}}'})
    {'beam_current': 50, 'beam_current_units': 'pA', 'vendor_metadata': {'FEI': {'Beam': {'Spot': 1}}}}
    """
    found: dict[str, Any] = {}
    for spec in VOCABULARY:
        if spec.name not in attrs:
            continue
        value = simple(attrs[spec.name])
        if spec.kind == "json" and isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        found[spec.name] = value
        if spec.units is not None:
            found[f"{spec.name}_units"] = str(attrs.get(f"{spec.name}_units", spec.units))
    return found


def vocabulary_table() -> str:
    """Return the vocabulary as a Markdown table, for the documentation."""
    kinds = {"text": "str", "number": "float", "integer": "int", "date": "str, ISO 8601", "json": "str, JSON"}
    rows = [f"| `{spec.name}` | {kinds[spec.kind]} | {spec.units or ''} | {spec.doc} |" for spec in VOCABULARY]
    return "\n".join(["| attr | type | default unit | meaning |", "|---|---|---|---|", *rows]) + "\n"
