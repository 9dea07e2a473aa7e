"""Mirroring a stack."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from stack3d._provenance import operation
from stack3d.grid import SPATIAL, spacing_of, with_coordinate


@operation(version=1)
def flip(da: xr.DataArray, *, dims: str | Sequence[str] = "y") -> xr.DataArray:
    """Mirror a stack along one or more axes.

    The values are mirrored and the positions stay increasing; uneven slice positions are mirrored with their slices,
    and so are the facts known of each slice.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    dims : str or sequence of str
        Among ``"z"``, ``"y"``, ``"x"``.

    Returns
    -------
    DataArray
        Lazy where `da` is; memory is shared with `da`.

    Examples
    --------
    >>> flipped = stack.stack3d.flip(dims="x")
    >>> bool((flipped.values == stack.values[..., ::-1]).all())
    True
    """
    if not isinstance(dims, Sequence):
        raise TypeError(f"dims={dims!r} must be a name or a sequence of names, not {type(dims).__name__}")
    chosen = (dims,) if isinstance(dims, str) else tuple(dims)
    wrong = [dim for dim in chosen if dim not in SPATIAL or dim not in da.dims]
    if wrong or not chosen or len(set(chosen)) != len(chosen):
        allowed = [dim for dim in SPATIAL if dim in da.dims]
        raise ValueError(f"dims={dims!r} is not allowed; give different names among {allowed}")
    result = da.isel({dim: slice(None, None, -1) for dim in chosen})
    for dim in chosen:
        if dim in da.coords:
            values = da[dim].values
            # Evenly spaced grids map onto themselves; writing so spares the rounding.
            mirrored = values if dim != "z" else values[0] + (values[-1] - values[::-1])
            result = with_coordinate(result, dim, mirrored, spacing=spacing_of(da, dim))
    return result
