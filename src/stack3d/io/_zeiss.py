"""What Zeiss SmartSEM writes: labelled values with their units, in TIFF tag 34118."""

from __future__ import annotations

import re
from typing import Any

from stack3d.io._positions import Calibration, calibration
from stack3d.io._words import date, originals, quantity, words

_POWERS = {"K": 1e3, "M": 1e6}


def zeiss(meta: dict[str, tuple[Any, ...]], columns: int) -> tuple[Calibration, dict[str, Any]]:
    """Return the pixel size and the attrs of the record: for each name its label, value and unit.

    `columns` is the width of the image in the file, which may be smaller than the one that was scanned.
    """

    def value(*names: str) -> Any:
        found = (meta[name][1] for name in names if len(meta.get(name, ())) > 1)
        return next((item for item in found if item not in (None, "")), None)

    def stated(*names: str) -> tuple[Any, str | None]:
        for name in names:
            entry = meta.get(name, ())
            if len(entry) > 2:
                return entry[1], str(entry[2])
            if len(entry) == 2 and isinstance(entry[1], str) and quantity(entry[1])[1]:
                return quantity(entry[1])
        return None, None

    reduction = str(value("dp_noise_reduction") or "").lower()
    turned = str(value("dp_scan_rot") or "on").lower() == "on"
    attrs = words(
        manufacturer="Zeiss",
        serial_number=value("sv_serial_number"),
        software=value("sv_version"),
        operator=value("sv_operator", "sv_user_name"),
        sample=value("sv_sample_id"),
        notes=value("sv_user_text"),
        acquisition_date=date(value("ap_date"), value("ap_time")),
        accelerating_voltage=stated("ap_actualkv", "ap_manualkv"),
        beam_current=stated("ap_iprobe"),
        specimen_current=stated("ap_scm"),
        aperture_diameter=stated("ap_aperturesize"),
        working_distance=stated("ap_wd"),
        magnification=_magnification(value("ap_mag")),
        field_of_view=stated("ap_width"),
        dwell_time=stated("dp_dwell_time", "ap_dwell_time"),
        line_time=stated("ap_line_time"),
        frame_time=stated("ap_frame_time"),
        scan_rotation=stated("ap_scanrotation") if turned else None,
        line_averaging=value("ap_line_average_count") if "line" in reduction else None,
        frame_averaging=value("ap_frame_average_count") if "frame" in reduction else None,
        detector=value("dp_detector_channel", "dp_detector_type"),
        detector_bias=stated("ap_collector_bias"),
        detector_brightness=stated("ap_brightness"),
        detector_contrast=stated("ap_contrast"),
        stage_x=stated("ap_stage_at_x"),
        stage_y=stated("ap_stage_at_y"),
        stage_z=stated("ap_stage_at_z"),
        stage_rotation=stated("ap_stage_at_r"),
        tilt_angle=stated("ap_stage_at_t", "ap_tilt_angle"),
        chamber_pressure=stated("ap_system_vac", "ap_chamber_pressure"),
    )
    size = stated("ap_image_pixel_size")
    if size[0] is None:
        size = _of_image(stated("ap_pixel_size"), stated("ap_width"), columns)
    record = {name: list(entry) for name, entry in meta.items() if name}
    return calibration(y=size, x=size), {**attrs, **originals(CZ_SEM=record)}


def _of_image(pixel: tuple[Any, str | None], width: tuple[Any, str | None], columns: int) -> tuple[Any, str | None]:
    """Return the pixel of the image in the file: the stated one is that of the scan, which may be 2 or 3 times finer."""
    scanned, whole = calibration(x=pixel).size("x", "nm"), calibration(x=width).size("x", "nm")
    if scanned is None or whole is None:
        return pixel
    times = whole / columns / scanned
    if times > 1.5 and abs(times - round(times)) < 0.01 * times:
        return scanned * round(times), "nm"
    return pixel


def _magnification(value: Any) -> float | None:
    found = re.match(r"\s*([\d.]+)\s*([KM]?)\s*X?", str(value or ""), re.IGNORECASE)
    if not found:
        return None
    try:
        return float(found[1]) * _POWERS.get(found[2].upper(), 1.0)
    except ValueError:
        return None
