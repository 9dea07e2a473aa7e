"""Labelled, lazy and reproducible correction of FIB-SEM and other slice-by-slice volume microscopy.

Importing it registers the accessor ``.stack3d`` of `xarray.DataArray`.
"""

from stack3d import _accessor, plotting, synthetic, transforms
from stack3d._accessor import accessor
from stack3d._provenance import RepeatedWorkWarning
from stack3d._records import provenance
from stack3d._replay import ReplayWarning, replay
from stack3d._version import __version__
from stack3d.execution import RechunkWarning, SaturationWarning
from stack3d.io import BadFrameWarning, checkpoint, open_stack, save
from stack3d.model import from_array, metadata, pixel_size
from stack3d.operations import (
    BlankSliceWarning,
    UntiedChannelWarning,
    UntiedSliceWarning,
    align_channels,
    apply_transforms,
    astype,
    bin,
    correct_tilt,
    crop,
    deskew,
    destripe,
    estimate_background,
    estimate_channel_offset,
    estimate_histogram,
    estimate_levels,
    estimate_range,
    estimate_shading,
    estimate_thickness,
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
    compare,
    contrast,
    edge_resolution,
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
    "RepeatedWorkWarning",
    "ReplayWarning",
    "SaturationWarning",
    "UntiedChannelWarning",
    "UntiedSliceWarning",
    "__version__",
    "accessor",
    "align_channels",
    "apply_transforms",
    "astype",
    "bin",
    "checkpoint",
    "compare",
    "contrast",
    "correct_tilt",
    "crop",
    "deskew",
    "destripe",
    "edge_resolution",
    "estimate_background",
    "estimate_channel_offset",
    "estimate_histogram",
    "estimate_levels",
    "estimate_range",
    "estimate_shading",
    "estimate_thickness",
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
