"""What happens to the facts known of each slice when slices change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

Weights = Sequence[tuple[int, np.ndarray]]


def windows_of(weights: Weights) -> np.ndarray:
    """Return the input slices of each output slice, shape (n, 2)."""
    return np.array([(start, start + len(values)) for start, values in weights])


def nearest_of(weights: Weights) -> np.ndarray:
    """Return the input slice with the largest weight of each output slice."""
    return np.array([start + int(np.argmax(values)) for start, values in weights])


def slice_facts(da: xr.DataArray, weights: Weights) -> dict[str, Any]:
    """Return the facts known of each slice (coordinates on z, or on channel and z) for new slices.

    Floats interpolate, flags take any, the rest the nearest.
    ``valid`` marks good slices, so the flag that takes any is its opposite: one bad slice among those used makes
    the new one bad.
    """
    facts: dict[str, Any] = {}
    nearest = nearest_of(weights)
    for name, coord in da.coords.items():
        if name == "z" or "z" not in coord.dims or {"y", "x"} & set(coord.dims):
            continue
        axis = coord.dims.index("z")
        values = np.moveaxis(coord.values, axis, 0)
        if values.dtype.kind == "f":
            new = np.array([np.sum(values[k : k + len(w)].T * w, axis=-1).T for k, w in weights], dtype=values.dtype)
        elif values.dtype == bool:
            combine = np.all if name == "valid" else np.any
            new = np.array([combine(values[k : k + len(w)][w != 0], axis=0) for k, w in weights])
        else:
            new = values[nearest]
        facts[str(name)] = (coord.dims, np.moveaxis(new, 0, axis), coord.attrs)
    return facts
