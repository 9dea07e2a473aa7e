"""Corrections: DataArray in, DataArray (or a Dataset of estimates) out, one public function a file."""

from stack3d.operations._bin import bin as bin
from stack3d.operations._crop import crop as crop
from stack3d.operations._flip import flip as flip
from stack3d.operations._invert import invert as invert
from stack3d.operations._register import apply_transforms as apply_transforms
from stack3d.operations._register import register as register
from stack3d.operations._resample import resample as resample
from stack3d.operations._reslice import reslice as reslice
from stack3d.operations._transforms import estimate_transforms as estimate_transforms

__all__ = [
    "apply_transforms",
    "bin",
    "crop",
    "estimate_transforms",
    "flip",
    "invert",
    "register",
    "resample",
    "reslice",
]
