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
    nearest, groups = nearest_of(weights), _by_length(weights)
    for name, coord in da.coords.items():
        if name == "z" or "z" not in coord.dims or {"y", "x"} & set(coord.dims):
            continue
        axis = coord.dims.index("z")
        values = np.moveaxis(coord.values, axis, 0)
        if values.dtype.kind == "f":
            new = np.empty((len(weights), *values.shape[1:]), values.dtype)
            for places, slices, shares in groups:
                new[places] = np.sum(np.moveaxis(values[slices], 1, -1) * _along(shares, values.ndim), axis=-1)
        elif values.dtype == bool:
            new = np.empty((len(weights), *values.shape[1:]), bool)
            for places, slices, shares in groups:
                used, of_slices = _along(shares != 0, values.ndim), np.moveaxis(values[slices], 1, -1)
                new[places] = (of_slices | ~used).all(axis=-1) if name == "valid" else (of_slices & used).any(axis=-1)
        else:
            new = values[nearest]
        facts[str(name)] = (coord.dims, np.moveaxis(new, 0, axis), coord.attrs)
    return facts


def _by_length(weights: Weights) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the new slices that are made of equally many: which they are, of which slices (n, many), how much of each."""
    lengths = np.array([len(values) for _, values in weights])
    starts = np.array([start for start, _ in weights])
    groups = []
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        shares = np.stack([weights[place][1] for place in places.tolist()])
        groups.append((places, starts[places, None] + np.arange(length), shares))
    return groups


def _along(shares: np.ndarray, ndim: int) -> np.ndarray:
    """Return shares (n, many) to go along with values (n, ..., many)."""
    return shares.reshape(len(shares), *(1,) * (ndim - 1), shares.shape[1])
