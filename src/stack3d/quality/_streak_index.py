"""How much of a frame is stripes."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import check_stack
from stack3d.quality._box import boxed
from stack3d.quality._table import measured

_UNITS = {"streak_index": "1", "angle": "degree", "rms": "grey value"}


def streak_index(
    da: xr.DataArray,
    *,
    angle: float | Literal["auto"] = "auto",
    box: Mapping[str, Any] | None = None,
    tiles: tuple[int, int] = (1, 1),
) -> xr.Dataset:
    """Measure the stripes of each slice.

    Stripes are long: in the spectrum their energy is a narrow ridge through the origin. What the ridge holds beyond
    what its flanks predict, summed, is the variance of the stripes.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
    angle : float or "auto"
        Direction in degrees, counter-clockwise on the screen, 0 along y; by default looked for in each slice. For a
        stack before and after a correction, give the direction found before (or `estimate_stripes`).
    box : dict, optional
        Part of the frame, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add ``by="index"`` to count
        pixels. A pair of slices, ``y=(slice(0, 500), slice(80, 580))``, slides along z from the first to the second.
    tiles : (int, int)
        Parts of the frame along y and x that are measured apart, at least 24 pixels each.

    Returns
    -------
    Dataset
        With the leading dims of `da` (channel, z), and ``tile_y``, ``tile_x`` where there are tiles: ``streak_index``,
        the root mean square of the stripes over the standard deviation of the frame, from 0 to 1; ``rms``, the former
        alone, in grey values; ``angle``, NaN where no stripes are found (their index is then 0); ``ok``, False
        where nothing can be measured, and the others are NaN. Missing pixels (NaN, or False in the coordinate
        ``mask``) are left out. Lazy where `da` is.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Notes
    -----
    Stripes wider than a quarter of the frame cannot be told from structure, and are not counted. Frames under a taper
    are measured: what lies near the edges counts less.

    Examples
    --------
    >>> table = stack.stack3d.streak_index(angle=0)
    >>> table["streak_index"].dims
    ('z',)
    """
    check_stack(da)
    if da.dtype == bool:
        raise TypeError("da has dtype bool; streak_index needs grey values (integers or floats)")
    _check_angle(angle)
    part = boxed(da, box)
    rows, columns = _checked_tiles(tiles, part)
    count = rows * columns
    names = [f"{name} {k}" for name in _UNITS for k in range(count)]
    arguments = {"angle": None if angle == "auto" else float(angle), "tiles": (rows, columns)}
    table = measured(part, numbers, dict.fromkeys(names, "1"), arguments=arguments, label="streak index")
    result = xr.Dataset()
    for name, unit in _UNITS.items():
        value = xr.concat([table[f"{name} {k}"] for k in range(count)], "tile", coords="minimal", compat="override")
        shaped = value.transpose(..., "tile")
        if count == 1:
            shaped = shaped.isel(tile=0)
        else:
            data = shaped.data.reshape((*shaped.shape[:-1], rows, columns))
            dims = (*shaped.dims[:-1], "tile_y", "tile_x")
            shaped = xr.DataArray(data, dims=dims, coords=table.coords)
        shaped.attrs = {"long_name": name.replace("_", " "), "units": unit}
        result[name] = shaped
    result["ok"] = result["streak_index"].notnull()
    result["ok"].attrs = {"long_name": "measured"}
    return result


def _check_angle(angle: Any) -> None:
    if angle == "auto":
        return
    if isinstance(angle, bool) or not isinstance(angle, Real):
        raise TypeError(f"angle={angle!r} must be a number of degrees or 'auto'")
    if not np.isfinite(float(angle)):
        raise ValueError(f"angle={angle!r} must be a finite number of degrees")


def _checked_tiles(tiles: Any, da: xr.DataArray) -> tuple[int, int]:
    if np.shape(tiles) != (2,) or any(isinstance(n, bool) or not isinstance(n, int | np.integer) for n in tiles):
        raise TypeError(f"tiles={tiles!r} must be two whole numbers, along y and x")
    rows, columns = int(tiles[0]), int(tiles[1])
    if rows < 1 or columns < 1:
        raise ValueError(f"tiles={tiles!r} must be at least 1")
    least = kernels.direction.LEAST_SIDE
    if rows * columns > 1 and (da.sizes["y"] // rows < least or da.sizes["x"] // columns < least):
        raise ValueError(
            f"tiles={tiles!r} cut {da.sizes['y']} x {da.sizes['x']} pixels in parts of less than {least} a side"
        )
    return rows, columns


def numbers(frame: np.ndarray, angle: float | None, tiles: tuple[int, int]) -> np.ndarray:
    """Return the streak index of all tiles of a frame, then their angles, then the root mean squares."""
    out = np.empty((3, tiles[0] * tiles[1]))
    y, x = (np.linspace(0, size, n + 1).astype(int) for size, n in zip(frame.shape, tiles, strict=True))
    for k, (i, j) in enumerate(np.ndindex(tiles)):
        found = kernels.spectrum.spectrum(frame[y[i] : y[i + 1], x[j] : x[j + 1]])
        stripes = kernels.direction.stripes(found, angle)
        out[:, k] = stripes.share, stripes.angle, stripes.rms
    return out.ravel()
