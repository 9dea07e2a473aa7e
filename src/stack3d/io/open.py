"""`open_stack`: one function for every kind of source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from stack3d.io._frames import JPEG_SUFFIXES, PNG_SUFFIXES, TIFF_SUFFIXES
from stack3d.io._source import Settings, Source
from stack3d.io.atlas import SUFFIX as ATLAS_SUFFIX
from stack3d.units import Length

NETCDF_SUFFIXES = (".nc", ".nc4", ".cdf")


def open_stack(
    path: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    pixel_size: Length | Sequence[Length] | None = None,
    z: Any = None,
    units: str | None = None,
    channel: str | Sequence[str] | None = None,
    variable: str | int | None = None,
    on_bad_frame: str = "raise",
    on_gap: str = "warn",
    on_z: str = "raise",
    frames_per_block: int | None = None,
) -> xr.DataArray:
    r"""Open a stack lazily: a frame is read when it is needed.

    Parameters
    ----------
    path : str or path
        A folder with one TIFF, PNG or JPEG file a frame (or one folder a channel below it), the folder or the
        ``.a3d-setup`` file of a Fibics Atlas acquisition, a multi-page TIFF (plain, ImageJ or OME), a single image, a
        NetCDF file, or a Zarr store (or a group in one).
    pattern : str, optional
        Which files of a folder are frames, and what their names say: ``"slice_{slice:04d}_z={z}um.tif"``. The fields
        are ``{slice}`` (or ``{slice_nb}``, ``{slice_number}``), ``{z}`` (or ``{z_coord}``) with its unit after it or
        in it (``{z:um}``), and ``{channel}``; ``{}`` and ``*`` match any text, ``?`` one character, and folders are
        parted by ``/``. Letters match in both cases. By default all frames are taken: the slice number is the number
        after a word such as "slice", or the only one that differs between the names, and z is read where the names
        have it as ``z=0.0125um``.
    pixel_size : float, str or sequence, optional
        Edge of a voxel, ``(dy, dx)`` or ``(dz, dy, dx)``: numbers in `units` or strings such as ``"5 nm"``. It stands
        over what the files state. A single number is the slice spacing too, unless z is known otherwise.
    z : sequence of float, optional
        True position of each slice, strictly increasing, in `units`. It stands over what the names state.
    units : str, optional
        Unit of the coordinates and of the numbers given (default ``"nm"``).
    channel : str or sequence of str, optional
        Channels to open, in this order. One name gives a stack without the dim and the name as a scalar coordinate.
        For a source with a single channel without a name it is the name to give.
    variable : str or int, optional
        Which variable of a NetCDF file or Zarr store, or which series of a TIFF (by index or name), where there are
        several.
    on_bad_frame : {"raise", "flag"}
        A frame that cannot be read, or whose size or dtype is not that of the others. ``"raise"``: an error that names
        the file, when it is read. ``"flag"``: the header and the length of every file are checked at once, bad frames
        are filled with 0 (NaN for floats) and marked in the coordinate ``valid``. Damage inside compressed pixels
        shows only when they are decoded: such a frame is filled too, with a `BadFrameWarning` that names the file,
        but ``valid`` is made by then and calls it good.
    on_gap : {"warn", "raise", "flag", "ignore"}
        Numbers missing between the first and the last slice. ``"warn"`` and ``"ignore"`` keep the slices that are
        there at their places (z has a hole), ``"flag"`` inserts the missing ones as empty slices with
        ``valid=False`` (at z interpolated between their neighbours).
    on_z : {"raise", "sort", "drop"}
        Positions in the names that do not increase with the slice number. ``"sort"`` orders slices by z (equal ones
        stay an error), ``"drop"`` leaves out, with a warning, those that lie no deeper than the ones before.
    frames_per_block : int, optional
        Frames in a block of the dask array (default: one, or as many as fit in 2 MiB).

    Returns
    -------
    DataArray
        Lazy stack with dims (z, y, x), or (channel, z, y, x) where channels have names or there are several; colours
        are the channels R, G, B (and A). Positions are in `units`; those that neither the files nor the arguments
        calibrate count pixels, in unit ``"1"``. Coordinate ``slice_number`` (z) keeps the numbers in the names, attr
        ``source`` the path, and ``vendor_metadata`` the microscope's own record, whose facts are attrs by the names of
        `stack3d.vocabulary`. Pixels are those in the file: palette
        indices and white-is-zero greys are not converted. A stack that `save` wrote comes back as it was.

    Raises
    ------
    FileNotFoundError
        When there is nothing at `path`, or no frame in the folder.
    TypeError, ValueError
        Naming the argument or the file, and what to do.

    Warns
    -----
    UserWarning
        For missing slice numbers and whatever else was decided without being told.
    BadFrameWarning
        With ``on_bad_frame="flag"``, when the stack is computed, for each frame whose damage shows only then.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> folder = tempfile.mkdtemp()
    >>> for k in range(3):
    ...     tifffile.imwrite(f"{folder}/slice_{k}_z={0.01 * k:.2f}um.tif", np.zeros((4, 6), "uint16"))
    >>> da = stack3d.open_stack(folder, pixel_size=5)
    >>> da.dims, da.z.values.tolist(), da.slice_number.values.tolist()
    (('z', 'y', 'x'), [0.0, 10.0, 20.0], [0, 1, 2])
    """
    settings = Settings(pattern, pixel_size, z, units, channel, variable, on_bad_frame, on_gap, on_z)
    if frames_per_block is not None and (
        isinstance(frames_per_block, bool) or not isinstance(frames_per_block, int) or frames_per_block < 1
    ):
        raise ValueError(f"frames_per_block={frames_per_block!r} must be a positive whole number")
    place = existing(path)
    kind = kind_of(place)
    if kind == "store":
        from stack3d.io.stores import open_store

        return open_store(place, settings, frames_per_block)
    if kind == "tiff":
        from stack3d.io.tiff import open_saved

        saved = open_saved(place, settings, frames_per_block)
        if saved is not None:
            return saved
    source = read_source(place, kind, settings)
    return source.to_dataarray(source.frames.lazy(frames_per_block))


def read_source(path: Path, kind: str, settings: Settings) -> Source:
    """Return the stack in image files, without making an array of it."""
    if kind == "tiff":
        from stack3d.io.tiff import open_tiff

        settings.refuse("a TIFF file", "pattern", "on_gap", "on_z")
        return open_tiff(path, settings)
    from stack3d.io import folder

    settings.refuse("a single image" if kind == "frame" else "a folder of frames", "variable")
    if kind == "frame":
        settings.refuse("a single image", "pattern", "on_gap", "on_z")
        return folder.open_frame(path, settings)
    return folder.open_atlas(path, settings) if kind == "atlas" else folder.open_folder(path, settings)


def existing(path: Any) -> Path:
    """Return the path, or raise saying what is there instead."""
    if isinstance(path, bytes) or not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"path={path!r} must be a str or a path, not {type(path).__name__}; give the folder, and choose files "
            "in it with pattern="
        )
    place = Path(path).expanduser().absolute()
    if place.exists():
        return place
    if "://" in str(path):
        raise ValueError(f"path={str(path)!r} is an address; give a path on a file system")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is nothing at {place}: there is no folder {place.parent}")
    from stack3d.io._atomic import left_behind

    left = left_behind(place)
    raise FileNotFoundError(
        f"there is nothing at {place}" + (f", but a save was interrupted there. {left}" if left else "")
    )


def kind_of(path: Path) -> str:
    """Return ``"store"``, ``"tiff"``, ``"frame"``, ``"folder"`` or ``"atlas"``."""
    suffix = path.suffix.lower()
    if path.is_dir():
        if suffix == ".zarr" or any(
            (path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
        ):
            return "store"
        return "folder"
    if suffix in NETCDF_SUFFIXES:
        return "store"
    if suffix in TIFF_SUFFIXES:
        return "tiff"
    if suffix in PNG_SUFFIXES + JPEG_SUFFIXES:
        return "frame"
    if suffix == ATLAS_SUFFIX:
        return "atlas"
    raise ValueError(
        f"{path} is of no kind that can be opened; allowed are a folder of frames, a Zarr store, and files ending in "
        f"{', '.join((*TIFF_SUFFIXES, *PNG_SUFFIXES, *JPEG_SUFFIXES, *NETCDF_SUFFIXES, ATLAS_SUFFIX))}"
    )
