"""Labelled, lazy and reproducible correction of FIB-SEM and other slice-by-slice volume microscopy.

Importing it registers the accessor ``.stack3d`` of `xarray.DataArray`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stack3d import _accessor, transforms
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
    NoStripesWarning,
    UntiedChannelWarning,
    UntiedSliceWarning,
    align_channels,
    apply_transforms,
    astype,
    bin,
    correct_tilt,
    crop,
    denoise,
    deskew,
    destripe,
    detect_hot_pixels,
    estimate_background,
    estimate_channel_offset,
    estimate_contrast,
    estimate_fusion,
    estimate_histogram,
    estimate_levels,
    estimate_noise,
    estimate_range,
    estimate_shading,
    estimate_stripes,
    estimate_thickness,
    estimate_transforms,
    fill_pixels,
    find_bad_slices,
    flatten,
    flip,
    fuse_channels,
    global_contrast,
    invert,
    level_slices,
    local_contrast,
    match_histograms,
    register,
    remove_background,
    replace_slices,
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
    streak_index,
)
from stack3d.reporting import ReportWarning, report

__all__ = [
    "BadFrameWarning",
    "BlankSliceWarning",
    "NoStripesWarning",
    "RechunkWarning",
    "Recipe",
    "RecipeError",
    "RepeatedWorkWarning",
    "ReplayWarning",
    "ReportWarning",
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
    "denoise",
    "deskew",
    "destripe",
    "detect_hot_pixels",
    "edge_resolution",
    "estimate_background",
    "estimate_channel_offset",
    "estimate_contrast",
    "estimate_fusion",
    "estimate_histogram",
    "estimate_levels",
    "estimate_noise",
    "estimate_range",
    "estimate_shading",
    "estimate_stripes",
    "estimate_thickness",
    "estimate_transforms",
    "fill_pixels",
    "find_bad_slices",
    "flatten",
    "flip",
    "frc",
    "from_array",
    "fsc",
    "fuse_channels",
    "global_contrast",
    "invert",
    "level_slices",
    "local_contrast",
    "match_histograms",
    "metadata",
    "noise_statistics",
    "open_stack",
    "partition",
    "pixel_size",
    "plotting",
    "provenance",
    "register",
    "registration_quality",
    "remove_background",
    "replace_slices",
    "replay",
    "report",
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
    "streak_index",
    "synthetic",
    "transforms",
]

if TYPE_CHECKING:
    from stack3d import plotting as plotting
    from stack3d import synthetic as synthetic
    from stack3d.runs import Recipe as Recipe
    from stack3d.runs import RecipeError as RecipeError
    from stack3d.runs import partition as partition
    from stack3d.runs import run as run

# Loaded when first used: not every session makes pictures or runs recipes.
_LATER = {
    "plotting": None,
    "synthetic": None,
    "Recipe": "runs",
    "RecipeError": "runs",
    "partition": "runs",
    "run": "runs",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'stack3d' has no attribute {name!r}")
    home = _LATER[name]
    found = import_module(f"stack3d.{name}") if home is None else getattr(import_module(f"stack3d.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER} - {"Any", "TYPE_CHECKING", "import_module"})


_accessor.attach()
