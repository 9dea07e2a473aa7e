"""Writing a lazy stack and going on from the file."""

from __future__ import annotations

import os

import xarray as xr

from stack3d.io.open import open_stack
from stack3d.io.save import save


def checkpoint(da: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False) -> xr.DataArray:
    """Save a stack and open it again: what follows starts from the file instead of repeating what came before.

    An estimate on a lazy stack runs the steps before it, and so does every later one. After a step that takes long,
    a checkpoint pays.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    path : str or path
        Such as ``"registered.zarr"``; see `save` for what suffixes mean (``.zarr`` is the fastest).
    overwrite : bool
        Whether a stack that is there already is replaced.

    Returns
    -------
    DataArray
        Lazy, with the values, coordinates, attrs and provenance of `da`.

    Examples
    --------
    >>> inverted = stack.stack3d.invert().stack3d.checkpoint("inverted.zarr")
    >>> inverted.chunks is not None
    True
    """
    return open_stack(save(da, path, overwrite=overwrite))
