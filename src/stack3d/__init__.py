"""Labelled, lazy and reproducible correction of FIB-SEM and other slice-by-slice volume microscopy.

Importing it registers the accessor ``.stack3d`` of `xarray.DataArray`.
"""

from stack3d import _accessor, plotting, synthetic, transforms
from stack3d._accessor import accessor
from stack3d._records import provenance
from stack3d._replay import ReplayWarning, replay
from stack3d._version import __version__
from stack3d.execution import RechunkWarning, SaturationWarning
from stack3d.io import BadFrameWarning, checkpoint, open_stack, save
from stack3d.model import from_array, metadata, pixel_size
from stack3d.operations import (
    BlankSliceWarning,
    UntiedSliceWarning,
    apply_transforms,
    astype,
    bin,
    crop,
    destripe,
    estimate_background,
    estimate_histogram,
    estimate_levels,
    estimate_range,
    estimate_shading,
    estimate_transforms,
    flatten,
    flip,
    invert,
    level_slices,
    match_histograms,
    register,
    remove_background,
    resample,
    rescale_intensity,
    reslice,
)
from stack3d.options import set_options
from stack3d.quality import (
    contrast,
    frc,
    fsc,
    noise_statistics,
    registration_quality,
    resolution,
    sharpness,
    slice_statistics,
    snr,
)
from stack3d.runs import Recipe, RecipeError, run

__all__ = [
    "BadFrameWarning",
    "BlankSliceWarning",
    "RechunkWarning",
    "Recipe",
    "RecipeError",
    "ReplayWarning",
    "SaturationWarning",
    "UntiedSliceWarning",
    "__version__",
    "accessor",
    "apply_transforms",
    "astype",
    "bin",
    "checkpoint",
    "contrast",
    "crop",
    "destripe",
    "estimate_background",
    "estimate_histogram",
    "estimate_levels",
    "estimate_range",
    "estimate_shading",
    "estimate_transforms",
    "flatten",
    "flip",
    "frc",
    "from_array",
    "fsc",
    "invert",
    "level_slices",
    "match_histograms",
    "metadata",
    "noise_statistics",
    "open_stack",
    "pixel_size",
    "plotting",
    "provenance",
    "register",
    "registration_quality",
    "remove_background",
    "replay",
    "resample",
    "rescale_intensity",
    "reslice",
    "resolution",
    "run",
    "save",
    "set_options",
    "sharpness",
    "slice_statistics",
    "snr",
    "synthetic",
    "transforms",
]

_accessor.attach()
