"""The ``.stack3d`` accessor: binds the functions, adds nothing of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

import xarray as xr

from stack3d import _records, io, model, operations, quality, reporting

if TYPE_CHECKING:
    from stack3d.plotting import Plots

P = ParamSpec("P")
R = TypeVar("R")


class _Bound(Generic[P, R]):
    """A function with its stack: what ``functools.partial`` is, shown in one line instead of the whole array."""

    def __init__(self, function: Callable[..., R], da: xr.DataArray) -> None:
        self._function, self._da = function, da
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, name, getattr(function, name))
        signature = inspect.signature(function)
        self.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(self._da, *args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> _Bound[P, R]:
        return self  # help() takes what has a __get__ for a function, and shows its docstring

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._function, self._da)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in self._da.sizes.items())
        name = "stack" if self._da.name is None else repr(self._da.name)
        return f"<stack3d {self._function.__name__} of {name} ({sizes})>"


class _Method(Generic[P, R]):
    """Binds ``f(da, ...)`` as a method, with its signature, docstring and types."""

    def __init__(self, function: Callable[Concatenate[xr.DataArray, P], R]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Callable[Concatenate[xr.DataArray, P], R]: ...
    @overload
    def __get__(self, instance: Stack3D, owner: Any = None) -> Callable[P, R]: ...
    def __get__(self, instance: Stack3D | None, owner: Any = None) -> Any:
        return self.function if instance is None else _Bound(self.function, instance._da)


class Stack3D:
    """Corrections and measures of a stack, as methods: ``da.stack3d.NAME(...)`` is ``stack3d.NAME(da, ...)``.

    Examples
    --------
    >>> clean = stack.stack3d.crop(y=slice(0, 16), by="index").stack3d.invert()
    >>> clean.sizes["y"]
    16
    """

    __slots__ = ("_da",)

    def __init__(self, da: xr.DataArray) -> None:
        self._da = da  # nothing else, ever: state lives in the stack

    # geometry
    crop = _Method(operations.crop)
    bin = _Method(operations.bin)
    flip = _Method(operations.flip)
    reslice = _Method(operations.reslice)
    correct_tilt = _Method(operations.correct_tilt)
    deskew = _Method(operations.deskew)
    estimate_transforms = _Method(operations.estimate_transforms)
    apply_transforms = _Method(operations.apply_transforms)
    register = _Method(operations.register)
    estimate_channel_offset = _Method(operations.estimate_channel_offset)
    align_channels = _Method(operations.align_channels)
    estimate_thickness = _Method(operations.estimate_thickness)
    resample = _Method(operations.resample)
    # grey values
    estimate_shading = _Method(operations.estimate_shading)
    flatten = _Method(operations.flatten)
    estimate_background = _Method(operations.estimate_background)
    remove_background = _Method(operations.remove_background)
    estimate_histogram = _Method(operations.estimate_histogram)
    match_histograms = _Method(operations.match_histograms)
    estimate_levels = _Method(operations.estimate_levels)
    level_slices = _Method(operations.level_slices)
    estimate_range = _Method(operations.estimate_range)
    rescale_intensity = _Method(operations.rescale_intensity)
    local_contrast = _Method(operations.local_contrast)
    estimate_contrast = _Method(operations.estimate_contrast)
    global_contrast = _Method(operations.global_contrast)
    invert = _Method(operations.invert)
    astype = _Method(operations.astype)
    # artefacts
    estimate_stripes = _Method(operations.estimate_stripes)
    destripe = _Method(operations.destripe)
    estimate_noise = _Method(operations.estimate_noise)
    denoise = _Method(operations.denoise)
    detect_hot_pixels = _Method(operations.detect_hot_pixels)
    fill_pixels = _Method(operations.fill_pixels)
    find_bad_slices = _Method(operations.find_bad_slices)
    replace_slices = _Method(operations.replace_slices)
    # fusion
    estimate_fusion = _Method(operations.estimate_fusion)
    fuse_channels = _Method(operations.fuse_channels)
    # quality
    slice_statistics = _Method(quality.slice_statistics)
    streak_index = _Method(quality.streak_index)
    registration_quality = _Method(quality.registration_quality)
    frc = _Method(quality.frc)
    fsc = _Method(quality.fsc)
    resolution = _Method(quality.resolution)
    snr = _Method(quality.snr)
    noise_statistics = _Method(quality.noise_statistics)
    sharpness = _Method(quality.sharpness)
    contrast = _Method(quality.contrast)
    edge_resolution = _Method(quality.edge_resolution)
    # out
    save = _Method(io.save)
    checkpoint = _Method(io.checkpoint)
    report = _Method(reporting.report)

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """The steps that made this stack, first to last: see `stack3d.provenance`."""
        return _records.provenance(self._da)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known of the acquisition: see `stack3d.metadata`."""
        return model.metadata(self._da)

    @property
    def pixel_size(self) -> model.PixelSize:
        """Distance between voxels along z, y and x, and its unit: see `stack3d.pixel_size`."""
        return model.pixel_size(self._da)

    @property
    def plot(self) -> Plots:
        """Plots of this stack: ``plot.cut_planes()``, ``plot.profiles()``, ``plot.compare(before)``."""
        from stack3d.plotting import Plots

        return Plots(self._da)

    def __repr__(self) -> str:
        from stack3d._repr import text

        return text(self._da)

    def _repr_html_(self) -> str:
        from stack3d._repr import html

        return html(self._da)


class _Uncached:
    """Makes the accessor anew at each touch.

    xarray would keep it on the array, and the accessor keeps the array: a cycle that holds whole stacks in memory
    until Python happens to look for cycles.
    """

    def __get__(self, instance: xr.DataArray | None, owner: Any = None) -> Any:
        return Stack3D if instance is None else Stack3D(instance)


def attach() -> None:
    """Register the accessor with xarray (which warns of a clash of names), uncached."""
    xr.register_dataarray_accessor("stack3d")(Stack3D)
    xr.DataArray.stack3d = _Uncached()  # type: ignore[attr-defined]


def accessor(da: xr.DataArray) -> Stack3D:
    """Return ``da.stack3d``, typed: xarray's own attribute is Any to type checkers.

    Parameters
    ----------
    da : DataArray

    Examples
    --------
    >>> stack3d.accessor(stack).pixel_size.units
    'nm'
    """
    return Stack3D(da)
