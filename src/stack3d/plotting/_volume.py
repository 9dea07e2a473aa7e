"""A volume as a solid with a corner cut out, or seen through."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from stack3d._warn import warn
from stack3d.model import check_stack, one_channel
from stack3d.plotting._volume_scene import Scene, scene_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Renderer = Literal["auto", "pyvista", "numpy"]
Opacity = Literal["solid", "bright", "dark"]
_RENDERERS = ("auto", "pyvista", "numpy")
_OPACITIES = ("solid", "bright", "dark")
# Faces across z, y and x, so that edges show where the grey values are alike.
_SHADES = np.array([1.0, 0.9, 0.78], np.float32)
_broken: list[str] = []  # why pyvista could not draw, once it was tried


def volume_picture(
    da: xr.DataArray,
    *,
    at: Mapping[str, float | str] | None = None,
    channel: str | None = None,
    opacity: Opacity = "solid",
    view: tuple[float, float] = (38.0, 26.0),
    limits: tuple[float, float] | None = None,
    cmap: str = "gray",
    size: tuple[int, int] = (840, 720),
    background: str = "white",
    renderer: Renderer = "auto",
) -> np.ndarray:
    """Return a picture of a volume: ray-cast, the nearest corner cut out along three planes, a box with scales.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
        At most 256 of its slices are read, and averaged to at most 256 x 256 pixels: the cost has a bound.
    at : dict, optional
        Where the cut planes meet, such as ``{"z": 200, "x": "1 um"}``; the middle of the stack where not given.
    channel : str, optional
        By default the first.
    opacity : {"solid", "bright", "dark"}
        A solid block, or one in which bright or dark structure is seen and the rest is clear; the planes are solid.
    view : (azimuth, elevation)
        Where the eye stands, in degrees: to the right of the first slice (-85 to 85), and above it (1 to 85).
    limits : (low, high), optional
        Grey levels shown as black and white; by default the 0.5 % and 99.5 % quantiles of what is shown.
    cmap : str
        Colour map.
    size : (columns, rows)
        Of the picture, each from 200 to 4000.
    background : str
        A colour, or ``"none"`` for a transparent one.
    renderer : {"auto", "pyvista", "numpy"}
        What casts the rays. ``"pyvista"`` (extra ``viz``) is VTK without a window, in a process of its own, so that its
        failures harm nobody; ``"numpy"`` is our own, compiled, without shading inside the volume. ``"auto"`` takes
        pyvista where it is installed, and warns where it is but cannot draw.

    Returns
    -------
    array of uint8 (rows, columns, 4)
        Red, green, blue and opacity. y runs down, z into the picture, proportions are those of the coordinates.

    Raises
    ------
    ImportError
        With ``renderer="pyvista"`` where it is not installed.
    RuntimeError
        With ``renderer="pyvista"`` where it cannot draw.

    Examples
    --------
    >>> from stack3d.plotting import volume_picture
    >>> picture = volume_picture(stack, size=(300, 240), renderer="numpy")
    >>> picture.shape, picture.dtype
    ((240, 300, 4), dtype('uint8'))
    """
    _check(da, at, opacity, view, size, renderer)
    scene = scene_of(one_channel(da, channel), at, limits, (float(view[0]), float(view[1])), (size[1], size[0]))
    colours = None
    if _chosen(renderer) == "pyvista":
        colours = _by_pyvista(scene, opacity, cmap, required=renderer == "pyvista")
    if colours is None:
        colours = _by_rays(scene, opacity, cmap)
    from stack3d.plotting._volume_frame import with_frame

    return with_frame(scene, colours, background)


def volume(
    da: xr.DataArray,
    *,
    at: Mapping[str, float | str] | None = None,
    channel: str | None = None,
    opacity: Opacity = "solid",
    view: tuple[float, float] = (38.0, 26.0),
    limits: tuple[float, float] | None = None,
    cmap: str = "gray",
    size: tuple[int, int] = (840, 720),
    renderer: Renderer = "auto",
    ax: Axes | None = None,
) -> Axes:
    """Show a volume with its nearest corner cut out; see `stack3d.plotting.volume_picture` for the parameters.

    Parameters
    ----------
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes

    Examples
    --------
    >>> ax = stack.stack3d.plot.volume(renderer="numpy", size=(300, 240))
    >>> ax.images[0].get_array().shape
    (240, 300, 4)
    """
    picture = volume_picture(
        da,
        at=at,
        channel=channel,
        opacity=opacity,
        view=view,
        limits=limits,
        cmap=cmap,
        size=size,
        background="none",
        renderer=renderer,
    )
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(size[0] / 100, size[1] / 100), layout="constrained")
    ax.imshow(picture)
    ax.set_axis_off()
    return ax


def _check(da: xr.DataArray, at: Any, opacity: str, view: Any, size: Any, renderer: str) -> None:
    check_stack(da, needs=("z",))
    for name, value, allowed in (("opacity", opacity, _OPACITIES), ("renderer", renderer, _RENDERERS)):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is not allowed; it must be one of {allowed}")
    if at is not None and not isinstance(at, Mapping):
        raise TypeError(f"at={at!r} must be a dict such as {{'z': 200}}, not {type(at).__name__}")
    if np.shape(view) != (2,) or not (-85 <= view[0] <= 85 and 1 <= view[1] <= 85):
        raise ValueError(f"view={view!r} must be an azimuth from -85 to 85 and an elevation from 1 to 85 degrees")
    if np.shape(size) != (2,) or any(isinstance(n, bool) or int(n) != n or not 200 <= n <= 4000 for n in size):
        raise ValueError(f"size={size!r} must be two whole numbers from 200 to 4000, columns and rows")


def _chosen(renderer: str) -> str:
    installed = find_spec("pyvista") is not None
    if renderer == "pyvista" and not installed:
        raise ImportError(
            "renderer='pyvista' needs pyvista: pip install 'stack3d[viz]'; renderer='numpy' needs nothing"
        )
    if renderer == "auto":
        return "pyvista" if installed and not _broken else "numpy"
    return renderer


def _by_pyvista(scene: Scene, opacity: str, cmap: str, *, required: bool) -> np.ndarray | None:
    from stack3d.plotting._volume_pyvista import RenderError, render

    try:
        return render(scene, _ramp(opacity), cmap)
    except RenderError as error:
        if required:
            raise RuntimeError(f"renderer='pyvista' could not draw: {error}; renderer='numpy' can") from error
        _broken.append(str(error))
        warn(f"pyvista could not draw ({error}); the picture is cast by renderer='numpy', as all later ones here")
        return None


def _by_rays(scene: Scene, opacity: str, cmap: str) -> np.ndarray:
    """Return the colours (rows, columns, 4) between 0 and 1 of our own ray caster."""
    import matplotlib

    grey, shade, covered = _cast(scene, _ramp(opacity))
    colours = np.asarray(matplotlib.colormaps[cmap](grey), np.float32)
    colours[..., :3] *= shade[..., None]
    colours[..., 3] = covered
    return colours


def solid(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return grey values (rows, columns) from 0 to 1 of a solid block, by our own ray caster, and where it is."""
    from stack3d import kernels

    light, _, face = kernels.raycast.cast(scene.volume, scene.spacing, scene.rays(), scene.taken_out())
    light *= np.take(np.append(_SHADES, np.float32(1)), face)
    return light, face >= 0


def _cast(scene: Scene, ramp: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grey values, the shade of the face they are on, and opacity."""
    from stack3d import kernels

    density = None if ramp is None else ramp / np.float32(scene.size.max())
    light, covered, face = kernels.raycast.cast(scene.volume, scene.spacing, scene.rays(), scene.taken_out(), density)
    grey = np.divide(light, covered, out=np.zeros_like(light), where=covered > 0)
    return grey, np.append(_SHADES, np.float32(1))[face], covered


def _ramp(opacity: str) -> np.ndarray | None:
    """Return the opacity along the longest side for grey values from 0 to 1; None where the block is solid."""
    if opacity == "solid":
        return None
    grey = np.linspace(0, 1, 64, dtype=np.float32)
    seen = grey if opacity == "bright" else 1 - grey
    return np.asarray(40 * np.clip((seen - 0.45) / 0.55, 0, 1) ** 2, np.float32)
