"""Transforms of slices, edited: kept, smoothed, joined, turned round, bounded, written and read.

Each function takes an estimate of kind ``"transforms"``, as made by `estimate_transforms`, and gives another; what was
done is added to its provenance, and travels with the stack it is applied to.
"""

from stack3d.transforms._detrend import detrend as detrend
from stack3d.transforms._detrend import smooth as smooth
from stack3d.transforms._edit import bridge as bridge
from stack3d.transforms._edit import compose as compose
from stack3d.transforms._edit import inverse as inverse
from stack3d.transforms._edit import limit as limit
from stack3d.transforms._given import from_matrices as from_matrices
from stack3d.transforms._given import from_shifts as from_shifts
from stack3d.transforms._jumps import jumps as jumps
from stack3d.transforms._points import from_points as from_points
from stack3d.transforms._table import from_csv as from_csv
from stack3d.transforms._table import to_csv as to_csv

__all__ = [
    "bridge",
    "compose",
    "detrend",
    "from_csv",
    "from_matrices",
    "from_points",
    "from_shifts",
    "inverse",
    "jumps",
    "limit",
    "smooth",
    "to_csv",
]
