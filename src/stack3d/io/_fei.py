"""What Thermo Fisher (FEI) microscopes write: sections of ``key=value``, in TIFF tags 34680 and 34682."""

from __future__ import annotations

import math
from typing import Any

from stack3d.io._positions import Calibration, calibration
from stack3d.io._words import date, originals, words

_BEAMS = {"EBeam": "electron", "IBeam": "ion"}


def fei(meta: dict[str, dict[str, Any]]) -> tuple[Calibration, dict[str, Any]]:
    """Return the pixel size and the attrs of the record; SI units but for the settings of the detector."""

    def get(section: Any, *keys: str) -> Any:
        values = meta.get(str(section), {})
        return next((values[key] for key in keys if values.get(key) not in (None, "")), None)

    beam = str(get("Beam", "Beam") or "EBeam")
    scan = str(get("Beam", "Scan") or get(beam, "Scan") or "EScan")
    detector = get("Detectors", "Name")
    creation = str(get("PrivateFei", "TimeOfCreation") or "").split()
    moment = date(*creation[:2]) if creation else date(get("User", "Date"), get("User", "Time"))
    decelerated = str(get("EBeamDeceleration", "ModeOn") or "").lower() in ("on", "yes", "true")
    attrs = words(
        instrument=str(get("System", "SystemType") or "").replace('"', ""),
        manufacturer="FEI",
        serial_number=get("System", "Dnumber"),
        software=get("System", "Software"),
        operator=get("User", "User"),
        notes=get("User", "UserText"),
        acquisition_date=moment,
        beam=_BEAMS.get(beam),
        accelerating_voltage=(get(beam, "HV") or get("Beam", "HV"), "V"),
        landing_energy=(get("EBeamDeceleration", "LandingEnergy") if decelerated else None, "eV"),
        beam_current=(get(beam, "BeamCurrent"), "A"),
        specimen_current=(get("Specimen", "SpecimenCurrent"), "A"),
        aperture_diameter=(get(beam, "ApertureDiameter"), "m"),
        working_distance=(get(beam, "WD") or get("Stage", "WorkingDistance"), "m"),
        field_of_view=(get(beam, "HFW") or get("Scan", "HorFieldsize"), "m"),
        dwell_time=(get("Scan", "Dwelltime") or get(scan, "Dwell"), "s"),
        line_time=(get(scan, "LineTime"), "s"),
        frame_time=(get("Scan", "FrameTime") or get(scan, "FrameTime"), "s"),
        scan_rotation=(_degrees(get(beam, "ScanRotation")), "degree"),
        line_averaging=get(scan, "LineIntegration"),
        frame_averaging=get("Image", "Average") or get("Image", "Integrate"),
        detector=detector,
        detector_mode=get("Detectors", "Mode") or get(detector, "Signal"),
        detector_bias=(get(detector, "Grid"), "V"),
        detector_brightness=(get(detector, "Brightness"), "percent"),
        detector_contrast=(get(detector, "Contrast"), "percent"),
        stage_x=(get("Stage", "StageX"), "m"),
        stage_y=(get("Stage", "StageY"), "m"),
        stage_z=(get("Stage", "StageZ"), "m"),
        stage_rotation=(_degrees(get("Stage", "StageR")), "degree"),
        tilt_angle=(_degrees(get("Stage", "StageT")), "degree"),
        chamber_pressure=(get("Vacuum", "ChPressure"), "Pa"),
    )
    width, height = get("Scan", "PixelWidth") or get(scan, "PixelWidth"), get("Scan", "PixelHeight")
    size = calibration(y=(height or get(scan, "PixelHeight"), "m"), x=(width, "m"))
    return size, {**attrs, **originals(FEI=meta)}


def fei_region(meta: dict[str, Any], shape: tuple[int, int]) -> dict[str, slice] | None:
    """Return the rows above the bar of data that is part of the frame; None where there is no bar."""
    rows, columns = (_whole(meta.get("Image", {}).get(key)) for key in ("ResolutionY", "ResolutionX"))
    bar = _whole(meta.get("PrivateFei", {}).get("DatabarHeight"))
    if bar and rows and columns == shape[1] and rows + bar == shape[0]:
        return {"y": slice(0, rows)}
    return None


def _degrees(value: Any) -> float | None:
    return math.degrees(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
