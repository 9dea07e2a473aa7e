"""Arrays in, arrays out: the arithmetic under every operation, one subject a module.

A kernel works on plain numpy or cupy arrays and knows nothing of stacks. Each has an `xp` form, written in array
operations, which runs on the GPU and is the oracle of the tests, and, where speed asks, a form compiled by numba that
releases the GIL. Public functions pick: numpy arrays take the compiled form, others the `xp` form.

Modules are imported when they are first used (``kernels.cast.cast_frame``): numba costs a third of a second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack3d.kernels import affine as affine
    from stack3d.kernels import atrous as atrous
    from stack3d.kernels import binning as binning
    from stack3d.kernels import blend as blend
    from stack3d.kernels import cast as cast
    from stack3d.kernels import cells as cells
    from stack3d.kernels import consensus as consensus
    from stack3d.kernels import contrast as contrast
    from stack3d.kernels import criteria as criteria
    from stack3d.kernels import curve as curve
    from stack3d.kernels import decorrelation as decorrelation
    from stack3d.kernels import denoise as denoise
    from stack3d.kernels import differences as differences
    from stack3d.kernels import direction as direction
    from stack3d.kernels import edges as edges
    from stack3d.kernels import field as field
    from stack3d.kernels import finite as finite
    from stack3d.kernels import fit as fit
    from stack3d.kernels import fit_grid as fit_grid
    from stack3d.kernels import fusion as fusion
    from stack3d.kernels import histogram as histogram
    from stack3d.kernels import lags as lags
    from stack3d.kernels import multiscale as multiscale
    from stack3d.kernels import neighbours as neighbours
    from stack3d.kernels import nlm as nlm
    from stack3d.kernels import noise as noise
    from stack3d.kernels import pair_moments as pair_moments
    from stack3d.kernels import phase as phase
    from stack3d.kernels import photon_transfer as photon_transfer
    from stack3d.kernels import pyvsnr as pyvsnr
    from stack3d.kernels import raycast as raycast
    from stack3d.kernels import regrid as regrid
    from stack3d.kernels import rings as rings
    from stack3d.kernels import same_sign as same_sign
    from stack3d.kernels import shells as shells
    from stack3d.kernels import similarity as similarity
    from stack3d.kernels import solve as solve
    from stack3d.kernels import spectrum as spectrum
    from stack3d.kernels import statistics as statistics
    from stack3d.kernels import stripe_frame as stripe_frame
    from stack3d.kernels import surface as surface
    from stack3d.kernels import thickness as thickness
    from stack3d.kernels import tiles as tiles
    from stack3d.kernels import unchanged as unchanged
    from stack3d.kernels import vsnr as vsnr
    from stack3d.kernels import walk as walk
    from stack3d.kernels import warp as warp
    from stack3d.kernels import wavelet_stripes as wavelet_stripes
    from stack3d.kernels import wedge as wedge
    from stack3d.kernels import wiener as wiener
    from stack3d.kernels import zweights as zweights

_MODULES = (
    "affine",
    "atrous",
    "binning",
    "blend",
    "cast",
    "cells",
    "contrast",
    "criteria",
    "curve",
    "fit",
    "fit_grid",
    "denoise",
    "differences",
    "decorrelation",
    "edges",
    "consensus",
    "curve",
    "field",
    "finite",
    "direction",
    "fusion",
    "histogram",
    "lags",
    "multiscale",
    "nlm",
    "noise",
    "pair_moments",
    "neighbours",
    "phase",
    "photon_transfer",
    "pyvsnr",
    "raycast",
    "regrid",
    "rings",
    "shells",
    "same_sign",
    "similarity",
    "solve",
    "spectrum",
    "statistics",
    "surface",
    "thickness",
    "tiles",
    "stripe_frame",
    "unchanged",
    "vsnr",
    "walk",
    "warp",
    "wiener",
    "wavelet_stripes",
    "wedge",
    "zweights",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"stack3d.kernels.{name}")
    raise AttributeError(f"module 'stack3d.kernels' has no attribute {name!r}; its modules are {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
