"""`make_stack` and what it returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import grid
from stack3d.synthetic._assemble import assemble, collect, drop_channel
from stack3d.synthetic._plan import Plan, make_plan, slice_positions, transforms
from stack3d.synthetic._settings import Setting, resolve
from stack3d.synthetic._volume import TEXTURES, Specimen
from stack3d.units import Length, canonical_unit, parse_length

_LEVELS = {"uint8": (24.0, 176.0), "uint16": (6000.0, 42000.0), "float32": (0.15, 0.75)}
_LAZY_BYTES = 512 * 2**20
_LEAST_SIDE = 16


@dataclass(frozen=True)
class SyntheticStack:
    """A defective stack and its truth.

    The image of slice k is, in this order: the truth seen through its transform; blurred, if the slice is bad that way;
    times `vignetting`; plus `background`; plus `stripes`; times `gain`; plus `offset`; Poisson counts of
    `electrons_per_level` electrons per grey level; plus Gaussian noise of `noise_sigma`; hot and dark pixels; rounded
    and saturated to the dtype. Slices that are blank, noise or duplicated hold that instead.

    Attributes
    ----------
    stack : DataArray
        What the microscope delivered, ([channel,] z, y, x); z holds the true positions, ``slice_number`` has a gap
        where a slice was lost.
    truth : DataArray
        The clean specimen at the same positions, aligned, float32, in the same grey levels.
    defects : Dataset
        All of these, off or on:

        - ``matrix`` (z, row, column): pull transform from aligned to raw pixels (x, y, 1);
        - ``shift_y``, ``shift_x`` (z): where the content lies from its aligned place at the centre of the frame, in the
          unit of the coordinates; ``rotation`` (z): degrees, counter-clockwise on the screen;
        - ``gain``, ``offset`` ([channel,] z); ``noise_sigma``, ``electrons_per_level`` (infinite: no Poisson noise);
        - ``vignetting`` (y, x); ``background`` (y, x), or (z, y, x) where slices differ; ``stripes`` (z, y, x);
          the same for all channels, in grey levels of the raw frame;
        - ``hot_pixels`` (y, x): 1 hot, -1 dark, 0 good; ``bad_slice`` (z): kind, or ``""``.
    settings : dict
        Parameters of each defect that is on, defaults filled in.
    """

    stack: xr.DataArray
    truth: xr.DataArray
    defects: xr.Dataset
    settings: dict[str, dict[str, Any]]
    _plan: Plan = field(repr=False)

    def displaced(self) -> xr.DataArray:
        """Return the clean specimen where the microscope framed it: drift and rotation, no other defect.

        Returns
        -------
        DataArray
            Like `truth`, lazy where that is.
        """
        lazy = self.stack.chunks is not None
        values = collect(self._plan.displaced, self._plan, np.dtype(np.float32), lazy, "displaced")
        return self.truth.copy(data=drop_channel(values, self.truth))

    def truth_on(self, da: xr.DataArray) -> xr.DataArray:
        """Return the clean specimen at the positions of another stack: the truth of one cropped or resampled.

        Parameters
        ----------
        da : DataArray
            Coordinates in the unit of `stack`; y and x even. Its channels are among those of `stack`.

        Returns
        -------
        DataArray
            The values at the centres of the pixels, float32, held in memory, with the coordinates of `da`.

        Raises
        ------
        ValueError
            When the unit differs, y or x is uneven, or a channel is unknown; for a volume given to `add_defects`,
            when a position is not one of its voxels.

        Examples
        --------
        >>> made = stack3d.synthetic.make_stack((4, 64, 64), defects={"drift": 0.5})
        >>> made.truth_on(made.stack.isel(z=slice(1, 3), x=slice(10, 20))).shape
        (2, 64, 10)
        """
        for dim in grid.SPATIAL:
            if dim not in da.coords:
                raise ValueError(f"da has no coordinate {dim!r}")
            if grid.units_of(da, dim) != grid.units_of(self.stack, dim):
                raise ValueError(
                    f"da has {dim} in {grid.units_of(da, dim)!r}, "
                    f"the stack in {grid.units_of(self.stack, dim)!r}; convert it first"
                )
        matrix = np.zeros((2, 3))
        for row, dim in enumerate(("x", "y")):
            values = np.atleast_1d(da[dim].values)
            if not grid.is_uniform(values):
                raise ValueError(f"da has an uneven coordinate {dim!r}")
            step, pixel = grid.spacing_of(da, dim), grid.spacing_of(self.stack, dim)
            matrix[row, row], matrix[row, 2] = step / pixel, (values[0] - float(self.stack[dim][0])) / pixel
        names = [str(name) for name in self.stack["channel"].values] if "channel" in self.stack.dims else [""]
        wanted = [str(name) for name in np.atleast_1d(da["channel"].values)] if "channel" in da.coords else names
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ValueError(f"da has channel {unknown[0]!r}; the stack has {names}")
        index = [names.index(name) for name in wanted]
        shape = (np.size(da["y"].values), np.size(da["x"].values))
        heights = np.atleast_1d(da["z"].values)
        planes = [self._plan.volume.frame(float(z), matrix, shape)[index] for z in heights]
        return da.copy(data=np.stack(planes, axis=1).reshape(da.shape))


def make_stack(
    shape: tuple[int, int, int] = (64, 512, 512),
    *,
    texture: Literal["tissue", "porous"] = "tissue",
    scale: float = 1.0,
    pixel_size: Length | Sequence[Length] = (10.0, 5.0, 5.0),
    units: str = "nm",
    channels: int | Sequence[str] | None = None,
    defects: str | Mapping[str, Setting] = "typical",
    drift: Setting = None,
    jumps: Setting = None,
    rotation: Setting = None,
    bad_slices: Setting = None,
    gain: Setting = None,
    offset: Setting = None,
    background: Setting = None,
    vignetting: Setting = None,
    stripes: Setting = None,
    curtains: Setting = None,
    hot_pixels: Setting = None,
    noise: Setting = None,
    uneven_z: Setting = None,
    seed: int = 0,
    dtype: Any = "uint16",
    levels: tuple[float, float] | None = None,
    lazy: bool | Literal["auto"] = "auto",
) -> SyntheticStack:
    """Make a stack that looks like FIB-SEM, with known defects.

    The same seed gives the same stack, whether lazy or not and however it is cut in blocks.

    Parameters
    ----------
    shape : tuple of int
        Slices, rows, columns.
    texture : {"tissue", "porous"}
        Cells with membranes, mitochondria, vesicles and lumina (default), or grains of two materials with pores.
        Both are about four times as long along z as along x, so that the specimen itself hardly seems to move: by a
        few hundredths of a pixel from slice to slice in a frame of 512 x 512 at the default pixel size.
    scale : float
        Size of the structures relative to the default, where a cell is about 70 pixels wide.
    pixel_size : float, str or sequence
        Edge of a cubic voxel, or ``(dz, dy, dx)`` with dy equal to dx; numbers in `units` or strings such as
        ``"10 nm"``.
    units : str
        Unit of the coordinates.
    channels : int or sequence of str, optional
        Number or names of detectors: same geometry, other contrast. None (default) for a stack without channels.
    defects : str or mapping
        ``"typical"`` (default: drift, gain, offset, background, stripes, noise, uneven_z), ``"all"``, ``"none"``,
        or the only ones wanted, such as ``{"drift": 0.8, "stripes": {"kind": "ramp", "angle": 4}}``.
    drift, jumps, rotation, bad_slices, gain, offset, background, vignetting, stripes, curtains, hot_pixels, noise, uneven_z
        Each changes one defect of the preset: True (its defaults), False, a number (its first parameter), a mapping
        of parameters, or a kind. Amounts are shares of white minus black.

        - ``drift``: `step` (0.6, rms pixels per slice of a random walk along y and along x), `trend` ((0.05, -0.03),
          pixels per slice along (y, x)).
        - ``jumps``: `size` (5 pixels), `count` (2).
        - ``rotation``: `step` (0.02 degrees per slice, rms of a random walk).
        - ``bad_slices``: `fraction` (0.05), `kinds` ("blank", "charged", "blurred", "duplicated", "noise"), or
          `slices`, such as ``{12: "blank"}``.
        - ``gain``: `jitter` (0.03), `blocks` (2 runs of slices) changed by `block_change` (0.15).
        - ``offset``: `jitter` (0.02).
        - ``background``: `amount` (0.3, peak to peak), `kind` ("same" in each slice, "slices": 2-D and another in each,
          "volume": 3-D), `degree` (2) of the polynomial.
        - ``vignetting``: `amount` (0.2, loss in the corners).
        - ``stripes``: `amount` (0.12: median height of a line, or standard deviation for "gaussian"), `kind`
          ("sparse": lines that start at pores and edges and run out; "ramp": full lines stronger and wider with
          depth; "streaks": short strokes with a bright and a dark flank; "gaussian": a correlated field), `angle`
          (0, degrees), `density` (30 lines per 1000 pixels), `width` (1.5 pixels, sigma), `length` (pixels; None: a
          share of the frame), `persistence` (3 slices that a line lives on average), `every` (1: which slices have
          stripes).
        - ``curtains``: bands with flat tops, another kind of stripes than those above, added to them (also in
          ``defects.stripes``): `amount` (0.12, standard deviation of their heights), `angle` (0, degrees), `scatter`
          (0.5 degrees, standard deviation), `density` (30 per 1000 pixels), `width` ((1, 12) pixels, least and
          greatest; narrow ones are more), `length` ((0.3, 1.5) diagonals of the frame), `persistence` (0: every
          slice has its own; up to 1, the share that each slice has from the one before).
        - ``hot_pixels``: `fraction` (2e-4), `dark` (0.3, share of them that are dark).
        - ``noise``: `gaussian` (0.01), `electrons` per grey level ("auto": 800 from black to white; None: no
          Poisson noise).
        - ``uneven_z``: `jitter` (0.15 of the slice spacing), `missing` (0.03, chance of a lost slice before each).
    seed : int
        Not negative.
    dtype : dtype
        uint8, uint16 (default) or float32.
    levels : tuple of float, optional
        Grey values of black and white.
    lazy : bool or "auto"
        True for dask arrays, made block by block when used; "auto" (default) above 512 MiB.

    Returns
    -------
    SyntheticStack
        With ``stack``, ``truth``, ``defects`` and the methods ``displaced`` and ``truth_on``.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> made = stack3d.synthetic.make_stack((6, 64, 96), defects={"drift": 0.8, "noise": 0.02}, seed=3)
    >>> made.stack.dims, made.stack.dtype
    (('z', 'y', 'x'), dtype('uint16'))
    >>> float(made.defects.shift_y[0])
    0.0
    """
    count, height, width = _checked_shape(shape)
    if texture not in TEXTURES:
        raise ValueError(f"texture={texture!r} is not known; allowed are {TEXTURES}")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0.05 <= scale <= 100:
        raise ValueError(f"scale={scale!r} must be a number from 0.05 to 100")
    dtype, levels = _checked_dtype(dtype, levels)
    if lazy not in (True, False, "auto"):
        raise ValueError(f"lazy={lazy!r} is not allowed; it must be True, False or 'auto'")
    seed = checked_seed(seed)
    names = _channel_names(channels)
    unit = canonical_unit(units)
    dz, pixel = _checked_pixels(pixel_size, unit)
    settings = resolve(
        defects,
        {
            "drift": drift, "jumps": jumps, "rotation": rotation, "bad_slices": bad_slices, "gain": gain,
            "offset": offset, "background": background, "vignetting": vignetting, "stripes": stripes, "curtains": curtains,
            "hot_pixels": hot_pixels, "noise": noise, "uneven_z": uneven_z,
        },
    )  # fmt: skip
    volume = Specimen(seed, texture, float(scale), pixel, levels, len(names or [""]))
    numbers, z = slice_positions(seed, count, dz, settings.get("uneven_z"))
    shift, turn = transforms(seed, count, settings)
    plan = make_plan(volume, seed, (height, width), dtype, settings, z, shift, turn)
    if lazy == "auto":
        lazy = math.prod((len(names or [""]), count, height, width)) * dtype.itemsize > _LAZY_BYTES
    return SyntheticStack(*assemble(plan, numbers, names, (dz, pixel), unit, bool(lazy)), settings, plan)


def _checked_shape(shape: Any) -> tuple[int, int, int]:
    try:
        sizes = tuple(int(size) for size in shape)
        whole = all(size == given for size, given in zip(sizes, shape, strict=True))
    except (TypeError, ValueError):
        sizes, whole = (), False
    if not whole or len(sizes) != 3 or sizes[0] < 1 or min(sizes[1:]) < _LEAST_SIDE:
        raise ValueError(
            f"shape={shape!r} must be three whole numbers (slices, rows, columns), "
            f"rows and columns at least {_LEAST_SIDE}"
        )
    return sizes


def _checked_dtype(dtype: Any, levels: Any) -> tuple[np.dtype[Any], tuple[float, float]]:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in _LEVELS:
        raise ValueError(f"dtype={dtype!r} is not allowed; it must be one of {tuple(_LEVELS)}")
    if levels is None:
        return np.dtype(name), _LEVELS[name]
    if np.shape(levels) != (2,) or not np.all(np.isfinite(levels)) or levels[0] >= levels[1]:
        raise ValueError(f"levels={levels!r} must be two numbers, black below white")
    black, white = float(levels[0]), float(levels[1])
    if name != "float32" and (black < 0 or white > np.iinfo(name).max):
        raise ValueError(f"levels={levels!r} must lie within {name}, 0 to {np.iinfo(name).max}")
    return np.dtype(name), (black, white)


def checked_seed(seed: Any) -> int:
    """Return the seed as an int, or raise."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number, not negative")
    return int(seed)


def _channel_names(channels: Any) -> list[str] | None:
    if channels is None:
        return None
    if isinstance(channels, int | np.integer) and not isinstance(channels, bool) and channels >= 1:
        return [f"detector {index}" for index in range(int(channels))]
    if isinstance(channels, Sequence) and not isinstance(channels, str):
        names = [str(name) for name in channels]
        if names and len(set(names)) == len(names):
            return names
    raise ValueError(f"channels={channels!r} must be None, a number from 1 on, or a list of different names")


def _checked_pixels(pixel_size: Any, unit: str) -> tuple[float, float]:
    sizes = [pixel_size] * 3 if np.ndim(pixel_size) == 0 else list(pixel_size)
    lengths = [parse_length(size, unit=unit, spacing=1.0, name="pixel_size") for size in sizes]
    if len(lengths) != 3 or lengths[1] != lengths[2] or not all(0 < length < np.inf for length in lengths):
        raise ValueError(f"pixel_size={pixel_size!r} must be a positive number, or (dz, dy, dx) with dy equal to dx")
    return lengths[0], lengths[1]
