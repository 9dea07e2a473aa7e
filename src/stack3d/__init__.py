"""Labelled, lazy and reproducible correction of FIB-SEM and other slice-by-slice volume microscopy.

Importing it registers the accessor ``.stack3d`` of `xarray.DataArray`.
"""

from stack3d import _accessor
from stack3d._provenance import provenance as provenance
from stack3d._replay import replay as replay
from stack3d._version import __version__ as __version__
from stack3d._accessor import accessor as accessor
from stack3d import synthetic as synthetic
from stack3d.io import checkpoint as checkpoint
from stack3d.io import open_stack as open_stack
from stack3d.io import save as save
from stack3d.model import from_array as from_array
from stack3d.model import pixel_size as pixel_size
from stack3d.operations import apply_transforms as apply_transforms
from stack3d.operations import bin as bin
from stack3d.operations import crop as crop
from stack3d.operations import estimate_histogram as estimate_histogram
from stack3d.operations import estimate_levels as estimate_levels
from stack3d.operations import estimate_range as estimate_range
from stack3d.operations import estimate_transforms as estimate_transforms
from stack3d.operations import flip as flip
from stack3d.operations import invert as invert
from stack3d.operations import level_slices as level_slices
from stack3d.operations import match_histograms as match_histograms
from stack3d.operations import register as register
from stack3d.operations import resample as resample
from stack3d.operations import rescale_intensity as rescale_intensity
from stack3d.operations import reslice as reslice
from stack3d.options import set_options as set_options
from stack3d.quality import slice_statistics as slice_statistics

_accessor.attach()
