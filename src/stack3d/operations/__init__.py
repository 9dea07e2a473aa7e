"""Corrections: DataArray in, DataArray (or a Dataset of estimates) out, one public function a file."""

from stack3d.operations._align_channels import align_channels as align_channels
from stack3d.operations._astype import astype as astype
from stack3d.operations._background import estimate_background as estimate_background
from stack3d.operations._background import remove_background as remove_background
from stack3d.operations._bad_slices import find_bad_slices as find_bad_slices
from stack3d.operations._bad_slices import replace_slices as replace_slices
from stack3d.operations._bin import bin as bin
from stack3d.operations._channel_offset import UntiedChannelWarning as UntiedChannelWarning
from stack3d.operations._channel_offset import estimate_channel_offset as estimate_channel_offset
from stack3d.operations._crop import crop as crop
from stack3d.operations._denoise import denoise as denoise
from stack3d.operations._denoise import estimate_noise as estimate_noise
from stack3d.operations._deskew import deskew as deskew
from stack3d.operations._destripe import destripe as destripe
from stack3d.operations._flip import flip as flip
from stack3d.operations._fusion import estimate_fusion as estimate_fusion
from stack3d.operations._fusion import fuse_channels as fuse_channels
from stack3d.operations._global_contrast import estimate_contrast as estimate_contrast
from stack3d.operations._global_contrast import global_contrast as global_contrast
from stack3d.operations._grey import BlankSliceWarning as BlankSliceWarning
from stack3d.operations._histogram import estimate_histogram as estimate_histogram
from stack3d.operations._histogram import match_histograms as match_histograms
from stack3d.operations._hot_pixels import detect_hot_pixels as detect_hot_pixels
from stack3d.operations._hot_pixels import fill_pixels as fill_pixels
from stack3d.operations._invert import invert as invert
from stack3d.operations._levels import estimate_levels as estimate_levels
from stack3d.operations._levels import level_slices as level_slices
from stack3d.operations._local_contrast import local_contrast as local_contrast
from stack3d.operations._range import estimate_range as estimate_range
from stack3d.operations._range import rescale_intensity as rescale_intensity
from stack3d.operations._register import apply_transforms as apply_transforms
from stack3d.operations._register import register as register
from stack3d.operations._resample import resample as resample
from stack3d.operations._reslice import reslice as reslice
from stack3d.operations._shading import estimate_shading as estimate_shading
from stack3d.operations._shading import flatten as flatten
from stack3d.operations._stripe_estimate import NoStripesWarning as NoStripesWarning
from stack3d.operations._stripe_estimate import estimate_stripes as estimate_stripes
from stack3d.operations._thickness import estimate_thickness as estimate_thickness
from stack3d.operations._tilt import correct_tilt as correct_tilt
from stack3d.operations._transforms import UntiedSliceWarning as UntiedSliceWarning
from stack3d.operations._transforms import estimate_transforms as estimate_transforms

__all__ = [
    "BlankSliceWarning",
    "NoStripesWarning",
    "UntiedChannelWarning",
    "UntiedSliceWarning",
    "align_channels",
    "apply_transforms",
    "astype",
    "bin",
    "correct_tilt",
    "crop",
    "denoise",
    "deskew",
    "destripe",
    "detect_hot_pixels",
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
    "fuse_channels",
    "global_contrast",
    "invert",
    "level_slices",
    "local_contrast",
    "match_histograms",
    "register",
    "remove_background",
    "replace_slices",
    "resample",
    "rescale_intensity",
    "reslice",
]
