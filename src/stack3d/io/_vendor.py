"""What a TIFF says of the microscope: one vocabulary for all vendors, and the originals as one JSON string."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from xml.etree import ElementTree

from stack3d.io._positions import Calibration, calibration

_FIBICS_TAG = 51023


def describe(tif: Any) -> tuple[Calibration, dict[str, Any]]:
    """Return the voxel size and the metadata that the first page of an open TIFF states.

    Known are Thermo Fisher (FEI), Zeiss and Fibics (Atlas); ImageJ and OME are read by the TIFF reader.
    """
    tags = tif.pages.first.tags
    fibics = tags.valueof(_FIBICS_TAG)
    if isinstance(fibics, (str, bytes)) and b"<Fibics" in _bytes(fibics):
        return _fibics(_bytes(fibics))
    if tif.is_fei and tif.fei_metadata:
        return _fei(tif.fei_metadata)
    if tif.is_sem and tif.sem_metadata:
        return _zeiss(tif.sem_metadata)
    return Calibration(), {}


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text


def _attrs(vendor: str, original: Any, **values: Any) -> dict[str, Any]:
    """Return attrs: each of `values` is a text, or a number with its unit; what is empty is left out."""
    attrs: dict[str, Any] = {}
    for name, value in values.items():
        number, unit = value if isinstance(value, tuple) else (value, None)
        if unit is None:
            if number not in (None, ""):
                attrs[name] = str(number)
            continue
        try:
            number = float(number)
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            attrs[name], attrs[f"{name}_units"] = number, unit
    text = json.dumps({vendor: original}, ensure_ascii=False, default=str, sort_keys=True)
    return {**attrs, "vendor_metadata": text}


def _fei(meta: dict[str, Any]) -> tuple[Calibration, dict[str, Any]]:
    system, scan = meta.get("System", {}), meta.get("Scan", {})
    beam = meta.get(str(meta.get("Beam", {}).get("Beam", "EBeam")), {}) or meta.get("EBeam", {})
    detector = meta.get("Detectors", {})
    attrs = _attrs(
        "FEI",
        meta,
        instrument=str(system.get("SystemType", "")).replace('"', ""),
        manufacturer="FEI",
        software=system.get("Software"),
        detector=detector.get("Name"),
        detector_mode=detector.get("Mode"),
        accelerating_voltage=(beam.get("HV"), "V"),
        beam_current=(beam.get("BeamCurrent"), "A"),
        dwell_time=(scan.get("Dwelltime"), "s"),
        working_distance=(beam.get("WD"), "m"),
    )
    return calibration(y=(scan.get("PixelHeight"), "m"), x=(scan.get("PixelWidth"), "m")), attrs


def _zeiss(meta: dict[str, Any]) -> tuple[Calibration, dict[str, Any]]:
    def value(name: str) -> Any:
        entry = meta.get(name, ())
        return entry[1] if len(entry) > 1 else None

    def quantity(name: str) -> tuple[Any, str]:
        entry = meta.get(name, ())
        return (entry[1], str(entry[2])) if len(entry) > 2 else (None, "")

    original = {name: list(entry) for name, entry in meta.items() if name}
    attrs = _attrs(
        "CZ_SEM",
        original,
        manufacturer="Zeiss",
        serial_number=value("sv_serial_number"),
        software=value("sv_version"),
        operator=value("sv_user_name"),
        detector=value("dp_detector_channel") or value("dp_detector_type"),
        accelerating_voltage=quantity("ap_actualkv"),
        beam_current=quantity("ap_iprobe"),
        working_distance=quantity("ap_wd"),
    )
    size = quantity("ap_image_pixel_size") if "ap_image_pixel_size" in meta else quantity("ap_pixel_size")
    return calibration(y=size, x=size), attrs


def _fibics(data: bytes) -> tuple[Calibration, dict[str, Any]]:
    text = data.decode("utf-8", "replace").strip("\x00 \r\n")
    try:
        # The declaration names an encoding that a decoded text no longer has.
        root = ElementTree.fromstring(re.sub(r"^<\?xml.*?\?>\s*", "", text))
    except ElementTree.ParseError:
        return Calibration(), {"vendor_metadata": json.dumps({"Fibics": text}, ensure_ascii=False)}

    def item(name: str) -> str | None:
        found = root.find(f"./BeamInfo/item[@name='{name}']")
        return None if found is None else found.text

    def quantity(text: str | None) -> tuple[Any, str | None]:
        match = re.match(r"[\s=]*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\S+)", text or "")
        return (match.group(1), match.group(2)) if match else (None, "")

    dwell = root.find("./Scan/Dwell")
    attrs = _attrs(
        "Fibics",
        text,
        software=root.findtext("./Application/Version"),
        detector=root.findtext("./Image/Detector"),
        accelerating_voltage=quantity(item("EHT")),
        beam_current=quantity(item("BeamI")),
        dwell_time=(None, "") if dwell is None else (dwell.text, dwell.get("units", "ns")),
    )

    def step(one: str, other: str) -> tuple[float | None, str]:
        # U and V are the steps of the scan along a row and a column, in um on the sample: their lengths are the pixel.
        parts = [root.findtext(f"./Scan/{name}") for name in (one, other)]
        try:
            return math.hypot(*(float(part) for part in parts if part is not None)), "um"
        except ValueError:
            return None, "um"

    return calibration(y=step("Vx", "Vy"), x=step("Ux", "Uy")), attrs
