"""What a stack is: dims, coordinates, and the checks at the door of every operation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.units import Length, canonical_unit, conversion_factor, parse_length

DIMS = ("channel", "z", "y", "x")


class PixelSize(NamedTuple):
    """Distance between voxels along each axis, None where it is not known, and its unit (``"1"``: pixels)."""

    z: float | None
    y: float | None
    x: float | None
    units: str


def check_stack(da: xr.DataArray, *, needs: Sequence[str] = (), name: str = "da") -> None:
    """Raise unless `da` is a stack.

    Parameters
    ----------
    da : DataArray
    needs : sequence of str
        Dims that must be present beside ``y`` and ``x``.
    name : str
        Name of the argument, for the error.

    Raises
    ------
    TypeError
        When `da` is not a DataArray of real numbers.
    ValueError
        When dims or coordinates are not those of a stack; the message says how to mend it.
    """
    if not isinstance(da, xr.DataArray):
        raise TypeError(
            f"{name} must be an xarray.DataArray, not {type(da).__name__}; make one with stack3d.from_array or stack3d.open_stack"
        )
    missing = [dim for dim in (*needs, "y", "x") if dim not in da.dims]
    if missing:
        raise ValueError(
            f"{name} has dims {da.dims}; {', '.join(map(repr, missing))} missing. A stack has dims among {DIMS}; "
            "rename yours with da.rename(...) or build it with stack3d.from_array"
        )
    leading = [str(dim) for dim in da.dims if dim not in grid.SPATIAL]
    canonical = (*leading, *(dim for dim in grid.SPATIAL if dim in da.dims))
    if da.dims != canonical:
        raise ValueError(f"{name} has dims in the order {da.dims}; use da.transpose{canonical}")
    if da.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {da.dtype}; allowed are bool, integers and real floats")
    empty = [dim for dim, size in da.sizes.items() if size == 0]
    if empty:
        raise ValueError(f"{name} has no data along {', '.join(map(repr, empty))} (sizes {dict(da.sizes)})")
    for dim in grid.SPATIAL:
        coord = grid.variables_of(da).get(dim)
        if coord is not None:
            _check_positions(coord, dim, name)
    units = {grid.units_of(da, dim) for dim in ("y", "x") if dim in da.coords} - {"1"}
    if len(units) > 1:
        raise ValueError(
            f"{name} has y in {grid.units_of(da, 'y')!r} and x in {grid.units_of(da, 'x')!r}; bring them to one unit"
        )


def _check_positions(coord: xr.Variable, dim: str, name: str) -> None:
    if coord.dims not in ((dim,), ()):
        raise ValueError(f"coordinate {dim!r} of {name} has dims {coord.dims}; it must be 1-D along {dim!r}")
    if coord.dtype.kind not in "iuf":
        raise ValueError(f"coordinate {dim!r} of {name} has dtype {coord.dtype}; it must hold positions as numbers")
    values = np.atleast_1d(coord.values)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"coordinate {dim!r} of {name} has values that are not finite; drop or mend those positions")
    steps = np.diff(values)
    if np.any(steps <= 0):
        at = int(np.argmax(steps <= 0)) + 1
        raise ValueError(
            f"coordinate {dim!r} of {name} must increase; at index {at} it goes from {values[at - 1]:g} to {values[at]:g}. "
            f"Sort with da.sortby({dim!r}) or drop duplicates with da.drop_duplicates({dim!r})"
        )


def result_dtype(dtype: Any, da: xr.DataArray) -> np.dtype[Any]:
    """Return the dtype of a result, that of `da` by default, in the byte order of the machine.

    Raises
    ------
    TypeError
        When it holds no grey values.
    """
    try:
        found = np.dtype(da.dtype if dtype is None else dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "uif" and not (dtype is None and found.kind == "b"):
        raise TypeError(
            f"dtype={dtype!r} is not allowed; it must be an integer or a real float, such as 'uint8' or 'float32'"
        )
    return found.newbyteorder("=")


def in_native_order(da: xr.DataArray) -> xr.DataArray:
    """Return `da` in the byte order of the machine, which compiled kernels need."""
    return da if da.dtype.isnative else da.astype(da.dtype.newbyteorder("="))


def with_loaded_facts(da: xr.DataArray) -> xr.DataArray:
    """Return `da` with its 1-D coordinates in memory (``da.chunk()`` makes even those lazy, and they are tiny), others in its blocks."""
    lazy = {}
    for name, c in grid.variables_of(da).items():
        # Whether there are chunks takes longer to tell than what is an array.
        if isinstance(getattr(c, "_data", None), np.ndarray) or c.chunks is None:
            continue
        if c.ndim <= 1:
            lazy[name] = c.compute()
        elif da.chunks is not None:
            # xarray refuses to say what the blocks of a stack are where those of its mask are others.
            blocks = {dim: size for dim, size in da.variable.chunksizes.items() if dim in c.dims}
            if any(c.chunksizes[dim] != size for dim, size in blocks.items()):
                lazy[name] = c.chunk(blocks)
    return da.assign_coords(lazy) if lazy else da


def is_lazy(da: xr.DataArray) -> bool:
    """Return whether the values are a dask array."""
    return da.chunks is not None


def pixel_size(da: xr.DataArray) -> PixelSize:
    """Return the distance between voxels.

    Parameters
    ----------
    da : DataArray
        A stack.

    Returns
    -------
    PixelSize
        Named tuple ``(z, y, x, units)``; `z` is the median step where slices are uneven, None without a z dim. An axis
        that is not calibrated while others are is None; without any calibration all are 1, in unit ``"1"``.

    Examples
    --------
    >>> stack.stack3d.pixel_size
    PixelSize(z=20.0, y=5.0, x=5.0, units='nm')
    """
    check_stack(da)
    units = {dim: grid.units_of(da, dim) for dim in grid.SPATIAL if dim in da.dims}
    known = [units[dim] for dim in ("x", "y", "z") if units.get(dim, "1") != "1"]
    unit = known[0] if known else "1"
    sizes: dict[str, float | None] = dict.fromkeys(grid.SPATIAL)
    for dim, own in units.items():
        # Beside calibrated axes, a count of pixels is no length.
        if own == unit or own != "1":
            sizes[dim] = grid.spacing_of(da, dim) * conversion_factor(own, unit)
    return PixelSize(sizes["z"], sizes["y"], sizes["x"], unit)


def metadata(da: xr.DataArray) -> dict[str, Any]:
    """Return what is known of the acquisition, in the vocabulary of FIB-SEM metadata.

    Parameters
    ----------
    da : DataArray
        A stack.

    Returns
    -------
    dict
        Those attrs that are words of the vocabulary (`stack3d.vocabulary.VOCABULARY`), each with its unit after it, and
        ``vendor_metadata`` as the dict that the instrument wrote.

    Examples
    --------
    >>> stack3d.metadata(stack.assign_attrs(instrument="Helios", accelerating_voltage=2.0))
    {'instrument': 'Helios', 'accelerating_voltage': 2.0, 'accelerating_voltage_units': 'kV'}
    """
    from stack3d import vocabulary

    check_stack(da)
    return vocabulary.describe(dict(da.attrs))


def one_channel(da: xr.DataArray, channel: str | None) -> xr.DataArray:
    """Return the stack of one channel, by default the first; a stack without channels as it is.

    Raises
    ------
    ValueError
        When there is no channel of this name, with those there are.
    """
    names = [str(name) for name in np.atleast_1d(da["channel"].values)] if "channel" in da.coords else []
    if channel is not None and channel not in names:
        raise ValueError(f"channel={channel!r} is not allowed; the stack has {names or 'no channels'}")
    if "channel" not in da.dims:
        return da
    return da.isel(channel=0 if channel is None else names.index(channel))


def valid_slices(da: xr.DataArray) -> np.ndarray:
    """Return which slices are good, from the coordinate ``valid`` (all, where there is none); shape (z,)."""
    if "valid" in da.coords and da["valid"].dims == ("z",):
        return np.asarray(da["valid"].values, dtype=bool)
    return np.ones(da.sizes.get("z", 1), dtype=bool)


def rebuild(
    da: xr.DataArray, data: Any, coords: Mapping[str, Any] | None = None, *, drop: Sequence[Hashable] = ()
) -> xr.DataArray:
    """Return a stack like `da` with new values.

    Coordinates whose sizes no longer fit must be given anew in `coords` or named in `drop`; name and attrs are
    kept (a copy), encoding is not.
    """
    coords = dict(coords or {})
    if not coords and not drop and tuple(data.shape) == da.shape:
        return da.copy(deep=False, data=data).drop_encoding()
    kept = {key: value for key, value in grid.variables_of(da).items() if key not in coords and key not in drop}
    kept.update(coords)
    result = xr.DataArray(data, dims=da.dims, name=da.name, attrs=dict(da.attrs))
    return result.assign_coords(kept).drop_encoding()


def _pixel_sizes(pixel_size: Any, has_z: bool, z: Any, unit: str) -> dict[str, float]:
    sizes = (pixel_size,) if np.ndim(pixel_size) == 0 else tuple(pixel_size)
    allowed = "a number, (dy, dx) together with z=, or (dz, dy, dx)"
    if len(sizes) not in (1, 2, 3):
        raise ValueError(f"pixel_size={pixel_size!r} has {len(sizes)} values; give {allowed}")
    if len(sizes) == 2 and has_z and z is None:
        raise ValueError(f"pixel_size={pixel_size!r} gives no slice spacing; give z= as well, or (dz, dy, dx)")
    if len(sizes) == 3 and z is not None:
        raise ValueError(f"pixel_size={pixel_size!r} and z= both give slice positions; give {allowed}")
    lengths = [parse_length(size, unit=unit, spacing=1.0, name="pixel_size") for size in sizes]
    if any(not np.isfinite(length) or length <= 0 for length in lengths):
        raise ValueError(f"pixel_size={pixel_size!r} must be positive")
    if len(lengths) == 1:
        lengths *= 3
    return dict(zip(grid.SPATIAL[-len(lengths) :], lengths, strict=True))


def from_array(
    data: Any,
    *,
    pixel_size: Length | Sequence[Length] | None,
    z: Any = None,
    channel: str | Sequence[str] | None = None,
    units: str = "nm",
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Make a labelled stack of an array.

    Parameters
    ----------
    data : array (y, x), (z, y, x) or (channel, z, y, x)
        NumPy, dask or CuPy array; kept as it is, without a copy. A dask array stays lazy.
    pixel_size : float, str or sequence
        Edge of a cubic voxel, ``(dy, dx)`` together with `z`, or ``(dz, dy, dx)``: numbers in `units` or strings
        such as ``"10 nm"``. None for a stack without calibration: positions then count pixels, in unit ``"1"``.
    z : sequence of float, optional
        True position of each slice, strictly increasing, in `units`. They may be uneven.
    channel : str or sequence of str, optional
        Names of the channels (detectors). One name for a (z, y, x) array is kept as a scalar coordinate.
    units : str
        Unit of length of all positions (default ``"nm"``).
    attrs : mapping, optional
        Metadata: values are str, int, float or 1-D arrays of numbers. The names of the FIB-SEM vocabulary are
        listed in the documentation.

    Returns
    -------
    DataArray
        Dims as given, positions at voxel centres beginning at 0 (z as given), each with attrs ``units``, ``axis``,
        ``long_name`` and ``spacing``.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> da = stack3d.from_array(np.zeros((3, 32, 48), "uint16"), pixel_size=("20 nm", 5, 5))
    >>> da.dims
    ('z', 'y', 'x')
    >>> da.stack3d.pixel_size
    PixelSize(z=20.0, y=5.0, x=5.0, units='nm')
    """
    from stack3d import vocabulary

    if isinstance(data, xr.DataArray):
        raise TypeError(
            "data is an xarray.DataArray; pass its .data, or name its dims and coordinates and use it as it is"
        )
    if not hasattr(data, "shape") or not hasattr(data, "dtype"):
        data = np.asarray(data)
    if data.ndim not in (2, 3, 4):
        raise ValueError(
            f"data has {data.ndim} dims (shape {data.shape}); give (y, x), (z, y, x) or (channel, z, y, x)"
        )
    dims = DIMS[-data.ndim :]
    coords: dict[str, Any] = {}
    if channel is not None:
        names = [channel] if isinstance(channel, str) else [str(name) for name in channel]
        count = data.shape[0] if data.ndim == 4 else 1
        if len(names) != count or len(set(names)) != count:
            raise ValueError(f"channel={channel!r} must give {count} different name{'s' if count > 1 else ''}")
        coords["channel"] = names if data.ndim == 4 else names[0]
    elif data.ndim == 4:
        coords["channel"] = [str(index) for index in range(data.shape[0])]
    unit = "1" if pixel_size is None else canonical_unit(units)
    sizes = {} if pixel_size is None else _pixel_sizes(pixel_size, "z" in dims, z, unit)
    shape = dict(zip(dims, data.shape, strict=True))
    for dim in dims[-3:] if data.ndim > 2 else dims:
        spacing = sizes.get(dim, 1.0)
        if dim == "z" and z is not None:
            positions = np.asarray(z, dtype=np.float64)
            if positions.shape != (shape["z"],):
                raise ValueError(f"z has shape {positions.shape}; it must give {shape['z']} positions, one a slice")
            coords["z"] = grid.coordinate("z", positions, units=unit, spacing=None if positions.size > 1 else spacing)
        else:
            coords[dim] = grid.coordinate(dim, grid.regular(0.0, spacing, shape[dim]), units=unit, spacing=spacing)
    if attrs is not None:
        vocabulary.validate(dict(attrs))
    da = xr.DataArray(data, dims=dims, coords=coords, attrs=dict(attrs or {}), name="image")
    check_stack(da, name="data")
    return da
