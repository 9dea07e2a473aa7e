"""Measures: what a stack is like, and whether a correction helped."""

from stack3d.quality._compare import compare as compare
from stack3d.quality._contrast import contrast as contrast
from stack3d.quality._edge_resolution import edge_resolution as edge_resolution
from stack3d.quality._frc import frc as frc
from stack3d.quality._fsc import fsc as fsc
from stack3d.quality._noise_statistics import noise_statistics as noise_statistics
from stack3d.quality._registration_quality import registration_quality as registration_quality
from stack3d.quality._resolution import resolution as resolution
from stack3d.quality._sharpness import sharpness as sharpness
from stack3d.quality._slice_statistics import slice_statistics as slice_statistics
from stack3d.quality._snr import snr as snr
from stack3d.quality._streak_index import streak_index as streak_index

__all__ = [
    "compare",
    "contrast",
    "edge_resolution",
    "frc",
    "fsc",
    "noise_statistics",
    "registration_quality",
    "resolution",
    "sharpness",
    "slice_statistics",
    "snr",
    "streak_index",
]
