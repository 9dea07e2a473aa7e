"""What a TIFF says of the microscope: one vocabulary for all vendors, and the originals as one JSON string."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stack3d.io._fei import fei, fei_region
from stack3d.io._fibics import fibics, fibics_depth, fibics_region
from stack3d.io._positions import Calibration
from stack3d.io._zeiss import zeiss

_FIBICS_TAG = 51023


def describe(tif: Any) -> tuple[Calibration, dict[str, Any]]:
    """Return the voxel size and the metadata that the first page of an open TIFF states.

    Known are Thermo Fisher (FEI), Zeiss and Fibics (Atlas); ImageJ and OME are read by the TIFF reader.
    """
    data = _fibics_data(tif)
    if data is not None:
        return fibics(data)
    if tif.is_fei and tif.fei_metadata:
        return fei(tif.fei_metadata)
    if tif.is_sem and tif.sem_metadata:
        return zeiss(tif.sem_metadata, int(tif.pages.first.imagewidth))
    return Calibration(), {}


def slice_depth(path: str) -> tuple[float, str] | None:
    """Return where along z the acquisition software says that the slice in a TIFF lies, with the unit."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        data = _fibics_data(tif)
        return None if data is None else fibics_depth(data)


def acquired_region(attrs: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, slice] | None:
    """Return the part of the frames that was imaged on purpose, as slices of pixels; None for all of it.

    Parameters
    ----------
    attrs : mapping
        Attrs of the stack as it was opened.
    shape : (rows, columns)
    """
    try:
        record = json.loads(attrs.get("vendor_metadata", "{}"))
    except ValueError:
        return None
    if isinstance(record.get("Fibics"), str):
        return fibics_region(record["Fibics"], shape)
    if isinstance(record.get("FEI"), dict):
        return fei_region(record["FEI"], shape)
    return None


def _fibics_data(tif: Any) -> bytes | None:
    found = tif.pages.first.tags.valueof(_FIBICS_TAG)
    data = found.encode("utf-8", "replace") if isinstance(found, str) else found
    return data if isinstance(data, bytes) and b"<Fibics" in data else None
