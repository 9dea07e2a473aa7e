"""Local contrast: differences from the surroundings enlarged, or tiles equalised."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import operation
from stack3d._warn import warn
from stack3d.execution import SaturationWarning, map_frames
from stack3d.model import result_dtype
from stack3d.operations import _grey
from stack3d.operations._missing import through_mask

_METHODS = ("enhance", "clahe")
_SIZE, _TILES = 9, 8  # whatever the frame
_BEYOND = 0.01  # share of the pixels of a frame that may lie beyond the range
_LEAST_TILE = 8  # pixels along a side, of more tiles than that
_REFERENCE = ("image", "maximum", "minimum", "middle")


@operation(version=1)
def local_contrast(
    da: xr.DataArray,
    *,
    method: Literal["enhance", "clahe"] = "enhance",
    size: int = _SIZE,
    ratio: float = 2.0,
    offset: float | None = None,
    sigma: float | None = None,
    smoothing: int = 501,
    reference: Literal["image", "maximum", "minimum", "middle"] = "image",
    compress_range: tuple[float, float] | None = None,
    compress_ratio: float = 0.1,
    tiles: int | tuple[int, int] = _TILES,
    limit: float = 2.0,
    grey_range: tuple[float, float] | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Make small structures stand out from their surroundings.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
        Slices and channels are treated one by one.
    method : {"enhance", "clahe"}
        ``"enhance"``: differences from the middle of a small square are enlarged, where the frame is dark most, so that
        membranes gain and flat bright parts keep their noise. ``"clahe"``: the histograms of tiles are equalised as far as
        `limit` lets them, and interpolated between tiles.
    size : int
        ``"enhance"``: side of the square in pixels, odd, at most that of the frame (or 9); 5 to 13 for membranes.
    ratio : float
        Largest gain that is added.
    offset, sigma : float, optional
        Grey values: how far from the wide mean the gain falls to half, and how softly; by default -15/255 and 7.5/255 of
        `grey_range`.
    smoothing : int
        Half width in pixels of the triangle under which the wide mean is taken, odd.
    reference : {"image", "maximum", "minimum", "middle"}
        What is compared with the wide mean: the pixel, or the largest or smallest value of the square, or the middle
        between them.
    compress_range : (low, high), optional
        ``"enhance"``: grey values between which slow differences, those of the wide mean, are reduced before small ones
        are enlarged: material that is bright here and dark there, charging for instance, becomes alike, and what lies
        below and above moves towards it by half of what is saved.
    compress_ratio : float
        What is left of slow differences in that range, 0 to 1; without `compress_range` it has no say.
    tiles : int or (int, int)
        ``"clahe"``: number of tiles along y and x; more than 8 must have at least 8 pixels a side.
    limit : float
        Largest height of a bin of a tile's histogram, as a multiple of the mean height; 1 changes nothing.
    grey_range : (low, high), optional
        The range that grey values use: by default the limits of an integer dtype, 0 and 1 for floats. ``"clahe"`` keeps it.
    dtype : dtype, optional
        Of the result, by default that of `da`.
    device : {"cpu", "gpu", "auto"}, optional

    Returns
    -------
    DataArray
        Lazy where `da` is. Missing pixels (NaN, or False in the coordinate ``mask``) have no part in means and histograms
        and stay as they are.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    SaturationWarning
        When no `grey_range` is given and more than 1 % of the pixels of a frame of floats lie beyond 0 to 1.

    References
    ----------
    D. Kreinin, P. Gunn, D. Chklovskii and J. Wu, bioRxiv (2023), doi:10.1101/2023.09.14.557785 (hifiem).
    K. Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV (1994) 474-485,
    doi:10.1016/B978-0-12-336156-1.50061-6.

    Examples
    --------
    >>> clear = stack.stack3d.local_contrast(size=5, smoothing=15)
    >>> clear.dtype == stack.dtype
    True
    """
    _grey.check_numbers(da, "local_contrast")
    out_dtype = result_dtype(dtype, da)
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {_METHODS}")
    if reference not in _REFERENCE:
        raise ValueError(f"reference={reference!r} is not allowed; it must be one of {_REFERENCE}")
    low, high = range_of(da, grey_range)
    numbers = _numbers(ratio, offset, sigma, limit, compress_ratio, high - low)
    compressed = _grey.check_grey_range(compress_range, "compress_range")
    if compressed is not None and method != "enhance":
        raise ValueError(f"compress_range={compress_range!r} has a meaning only for method='enhance', not {method!r}")
    counts = _tiles(tiles, da)
    _check_odd("size", size)
    widest = max(_SIZE, da.sizes["y"], da.sizes["x"])
    if method == "enhance" and size > widest:
        raise ValueError(f"size={size} is beyond the frame, {da.sizes['y']} x {da.sizes['x']} pixels; at most {widest}")
    _check_odd("smoothing", smoothing)
    if method == "clahe":
        kernel, arguments = _tiled, {"tiles": counts, "limit": numbers["limit"], "low": low, "high": high}
    else:
        names = ("ratio", "offset", "sigma")
        arguments = {name: numbers[name] for name in names}
        arguments.update(size=int(size), smoothing=int(smoothing), reference=reference)
        arguments.update(compress_range=compressed, compress_ratio=numbers["compress_ratio"])
        kernel = _enhanced
    taken = method == "clahe" or offset is None or sigma is None
    # Frames that use another range than the one that is taken for granted are told so.
    arguments["expected"] = (low, high) if taken and grey_range is None and da.dtype.kind == "f" else None

    def run(part: xr.DataArray, kind: np.dtype[Any]) -> Any:
        given = {**arguments, "dtype": kind}
        return map_frames(part, kernel, arguments=given, dtype=kind, device=device, label="local contrast")

    return through_mask(da, run, out_dtype, "local contrast")


def range_of(da: xr.DataArray, grey_range: Any, name: str = "grey_range") -> tuple[float, float]:
    """Return the range of grey values that is given, or that of the dtype (0 to 1 for floats)."""
    found = _grey.check_grey_range(grey_range, name)
    if found is not None:
        return found
    if da.dtype.kind == "f":
        return 0.0, 1.0
    return float(np.iinfo(da.dtype).min), float(np.iinfo(da.dtype).max)


def _enhanced(frame: Any, expected: tuple[float, float] | None, **arguments: Any) -> tuple[Any, int]:
    _warn_beyond(frame, expected)
    return kernels.contrast.local_contrast(frame, **arguments)


def _warn_beyond(frame: Any, expected: tuple[float, float] | None) -> None:
    if expected is None:
        return
    low, high = expected
    if int(((frame < low) | (frame > high)).sum()) > _BEYOND * frame.size:
        warn(
            f"many pixels lie beyond {low:g} to {high:g}, the range that floats are taken to use; give grey_range=(low, high)",
            SaturationWarning,
        )


def _tiled(frame: Any, expected: tuple[float, float] | None, **arguments: Any) -> tuple[Any, int]:
    _warn_beyond(frame, expected)
    return kernels.tiles.equalise(frame, **arguments)


def _numbers(ratio: Any, offset: Any, sigma: Any, limit: Any, compress_ratio: Any, span: float) -> dict[str, float]:
    offset = -15 / 255 * span if offset is None else offset
    sigma = 7.5 / 255 * span if sigma is None else sigma
    found = {"ratio": ratio, "offset": offset, "sigma": sigma, "limit": limit, "compress_ratio": compress_ratio}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}={value!r} must be a number, not {type(value).__name__}")
        if not np.isfinite(float(value)):
            raise ValueError(f"{name}={value!r} must be finite")
    if sigma <= 0:
        raise ValueError(f"sigma={sigma!r} must be positive")
    if ratio < 0:
        raise ValueError(f"ratio={ratio!r} must be at least 0")
    if limit < 1:
        raise ValueError(f"limit={limit!r} must be at least 1")
    if not 0 <= compress_ratio <= 1:
        raise ValueError(f"compress_ratio={compress_ratio!r} must lie between 0 and 1")
    return {name: float(value) for name, value in found.items()}


def _check_odd(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r} must be a whole number of pixels")
    if int(value) < 1 or int(value) % 2 == 0:
        raise ValueError(f"{name}={value} must be odd and at least 1")


def _tiles(tiles: Any, da: xr.DataArray) -> tuple[int, int]:
    pair = tuple(tiles) if isinstance(tiles, tuple | list) else (tiles, tiles)
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, Integral) or int(n) < 1 for n in pair):
        raise ValueError(f"tiles={tiles!r} must be a whole number of tiles from 1, or two (along y, along x)")
    for dim, count in zip(("y", "x"), pair, strict=True):
        most = max(_TILES, da.sizes[dim] // _LEAST_TILE)
        if count > most:
            raise ValueError(
                f"tiles={tiles!r} cut {da.sizes[dim]} pixels along {dim} into parts of less than {_LEAST_TILE}, too few "
                f"for a histogram; at most {most} are allowed"
            )
    return min(int(pair[0]), da.sizes["y"]), min(int(pair[1]), da.sizes["x"])
