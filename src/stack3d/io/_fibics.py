"""What Fibics (Atlas, NPVE) writes: XML in TIFF tag 51023."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

from stack3d.io._positions import Calibration, calibration
from stack3d.io._words import date, originals, quantity, words

_MARGIN = 20  # pixels kept around the region that was imaged on purpose
_SIDES = ("Top", "Bottom", "Left", "Right")


def fibics(data: bytes) -> tuple[Calibration, dict[str, Any]]:
    """Return the pixel size and the attrs of the record."""
    text = _text(data)
    root = _root(text)
    if root is None:
        return Calibration(), originals(Fibics=text)

    def item(*names: str) -> tuple[Any, str | None]:
        entries = {entry.get("name"): entry.text for entry in root.iterfind("./BeamInfo/item")}
        return next((quantity(entries[name]) for name in names if entries.get(name)), (None, None))

    def measured(path: str, unit: str) -> tuple[Any, str | None]:
        found = root.find(path)
        return (None, None) if found is None else (found.text, found.get("units", unit))

    moment = (root.findtext("./Application/Date") or "").strip()
    beam = (root.findtext("./Image/Beam") or "").strip().upper()
    attrs = words(
        serial_number=root.findtext("./Image/Machine"),
        software=root.findtext("./Application/Version"),
        acquisition_date=date(moment, moment[11:]),
        beam={"SEM": "electron", "FIB": "ion"}.get(beam),
        accelerating_voltage=item("EHT", "High Voltage"),
        beam_current=item("BeamI"),
        working_distance=item("WD"),
        field_of_view=measured("./Scan/FOV_X", "um"),
        dwell_time=measured("./Scan/Dwell", "ns"),
        scan_rotation=measured("./Scan/ScanRot", "degree"),
        line_averaging=root.findtext("./Scan/LineAvg"),
        detector=root.findtext("./Image/Detector"),
        detector_brightness=(root.findtext("./Image/Brightness"), "percent"),
        detector_contrast=(root.findtext("./Image/Contrast"), "percent"),
        stage_x=measured("./Stage/X", "um"),
        stage_y=measured("./Stage/Y", "um"),
        stage_z=measured("./Stage/Z", "um"),
        stage_rotation=measured("./Stage/Rot", "degree"),
        tilt_angle=measured("./Stage/Tilt", "degree"),
    )

    def step(one: str, other: str) -> tuple[float | None, str]:
        # U and V are the steps of the scan along a row and a column, in um on the sample: their lengths are the pixel.
        parts = [root.findtext(f"./Scan/{name}") for name in (one, other)]
        try:
            return math.hypot(*(float(part) for part in parts if part is not None)), "um"
        except ValueError:
            return None, "um"

    return calibration(y=step("Vx", "Vy"), x=step("Ux", "Uy")), {**attrs, **originals(Fibics=text)}


def fibics_region(text: str, shape: tuple[int, int]) -> dict[str, slice] | None:
    """Return the region of interest of the acquisition and a margin around it, cut to the frame.

    None where the record states none, or speaks of a frame of another size.
    """
    root = _root(text)
    if root is None:
        return None
    size = tuple(_whole(root.findtext(f"./Image/{name}")) for name in ("Height", "Width"))
    sides = [_whole(root.findtext(f"./Image/BoundingBox.{side}")) for side in _SIDES]
    if size != shape or any(side is None for side in sides):
        return None
    top, bottom, left, right = (side for side in sides if side is not None)
    if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
        return None
    region = {
        "y": slice(max(top - _MARGIN, 0), min(bottom + _MARGIN, shape[0])),
        "x": slice(max(left - _MARGIN, 0), min(right + _MARGIN, shape[1])),
    }
    whole = {"y": slice(0, shape[0]), "x": slice(0, shape[1])}
    return {dim: part for dim, part in region.items() if part != whole[dim]} or None


def fibics_depth(data: bytes) -> tuple[float, str] | None:
    """Return the position of the slice along z that Atlas noted, and its unit."""
    root = _root(_text(data))
    found = None if root is None else root.find("./ATLAS3D/Slice/ZPos")
    try:
        return None if found is None else (float(found.text or ""), found.get("units", "um"))
    except ValueError:
        return None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip("\x00 \r\n")


def _root(text: str) -> ElementTree.Element | None:
    try:
        # The declaration names an encoding that a decoded text no longer has.
        return ElementTree.fromstring(re.sub(r"^<\?xml.*?\?>\s*", "", text))
    except ElementTree.ParseError:
        return None


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(float(text))
    except ValueError:
        return None
