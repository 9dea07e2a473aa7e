"""Projects of Fibics Atlas 3D: the setup file of an acquisition, beside the folders of its detectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from stack3d._warn import warn
from stack3d.io._positions import Calibration, calibration
from stack3d.io._words import originals, words

SUFFIX = ".a3d-setup"
_DEFAULT = "Atlas3D.a3d-setup"
# Where a value stands in files of newer and of older versions, below the root.
_PLACES = {
    "detector": ("Settings/Imaging/Detector",),
    "detector_b": ("Settings/Imaging/DetectorB",),
    "pixel_size": (
        "Settings/Imaging/DefaultAcquisition/PixelSize",
        "Settings/Imaging/FibicsRasterInfo/PixelSizeX",
    ),
    "thickness": (
        "Settings/Imaging/DefaultAcquisition/Interval/Distance/Interval",
        "Settings/Imaging/Interval",
    ),
    "field_of_view": ("Settings/Imaging/DefaultAcquisition/FOV", "Settings/Imaging/FOV"),
}


@dataclass(frozen=True)
class Setup:
    """What the setup file of an acquisition says; lengths in um."""

    path: Path
    detectors: tuple[str, ...]
    pixel_size: str | None
    thickness: str | None
    field_of_view: str | None
    text: str

    @property
    def calibration(self) -> Calibration:
        """Voxel size."""
        pixel, step = (self.pixel_size, "um"), (self.thickness, "um")
        return calibration(z=step, y=pixel, x=pixel)

    def attrs(self, name: str | None) -> dict[str, Any]:
        """Return the words of the vocabulary; `name` is the channel where there is a single one."""
        detector = self.detectors[0] if len(self.detectors) == 1 else name
        found = words(
            detector=detector,
            slice_thickness=(self.thickness, "um"),
            field_of_view=(self.field_of_view, "um"),
        )
        return {**found, **originals(Atlas=self.text)}

    def folders(self) -> list[str]:
        """Return the detectors that have a folder of frames beside the file."""
        return [name for name in self.detectors if (self.path.parent / name).is_dir()]


def setup_in(folder: Path) -> Setup | None:
    """Return the setup that lies in a folder, None where there is none.

    Of several, the one that Atlas names by itself counts.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix == SUFFIX and file.is_file())
    if len(files) > 1:
        chosen = [file for file in files if file.name == _DEFAULT]
        if not chosen:
            names = ", ".join(repr(file.name) for file in files)
            warn(f"{folder} has several setups of Atlas ({names}), and none is used; open the one that is meant")
            return None
        files = chosen
    return read_setup(files[0]) if files else None


def read_setup(path: Path) -> Setup:
    """Read a setup file.

    Raises
    ------
    ValueError
        When it is no XML.
    """
    data = path.read_bytes()
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} cannot be read as a setup of Atlas: {error}") from error
    found = {name: _first(root, places) for name, places in _PLACES.items()}
    detectors = [name for name in (found["detector"], found["detector_b"]) if name]
    return Setup(
        path,
        tuple(dict.fromkeys(detectors)),
        found["pixel_size"],
        found["thickness"],
        found["field_of_view"],
        data.decode("utf-8" if b"utf-8" in data[:100].lower() else "latin-1", "replace"),
    )


def joined(
    setup: Setup, stored: Calibration, attrs: dict[str, Any], name: str | None
) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration and the attrs of a frame with those of the setup; what the frame states stands.

    Parameters
    ----------
    setup : Setup
    stored : Calibration
        What the first frame states.
    attrs : dict
        What the first frame states.
    name : str or None
        The channel, where there is a single one.
    """
    own = setup.calibration.size("x", "nm")
    stated = {dim: size for dim in ("y", "x") if (size := stored.size(dim, "nm")) is not None}
    if own is not None and any(abs(size - own) > 0.01 * own for size in stated.values()):
        sizes = " and ".join(f"{size:g} nm along {dim}" for dim, size in stated.items())
        warn(
            f"the frames state a pixel of {sizes}, and {setup.path} one of {own:g} nm; that of the frames counts. "
            "pixel_size= stands over both"
        )
    more = setup.attrs(name)
    records = {**json.loads(more["vendor_metadata"]), **json.loads(attrs.get("vendor_metadata", "{}"))}
    return Calibration({**setup.calibration.sizes, **stored.sizes}), {**more, **attrs, **originals(**records)}


def _first(root: ElementTree.Element, places: tuple[str, ...]) -> str | None:
    for place in places:
        # Some versions wrap the settings once more.
        for path in (f"./{place}", f"./*/{place}", f"./{place.partition('/')[2]}"):
            text = (root.findtext(path) or "").strip()
            if text:
                return text
    return None
