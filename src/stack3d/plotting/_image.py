"""What the plots share: an image in true proportions with a scale bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stack3d.grid import bounds, spacing_of, units_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def grey_limits(*images: np.ndarray) -> tuple[float, float]:
    """Return the grey levels shown as black and white: the 0.5 % and 99.5 % quantiles of what is measured."""
    values = np.concatenate([np.asarray(image, dtype=np.float64).ravel() for image in images])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.quantile(values, (0.005, 0.995)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def show(ax: Axes, image: np.ndarray, rows: xr.DataArray, columns: xr.DataArray, **options: Any) -> Any:
    """Draw an image with its positions as axes, vertical positions running down, in true proportions.

    Uneven positions are drawn where they are, each voxel as large as its cell.
    """
    y, x = (np.atleast_1d(c.values).astype(float) for c in (rows, columns))
    edges_y, edges_x = bounds(y, float(rows.attrs.get("spacing", 1))), bounds(x, float(columns.attrs.get("spacing", 1)))
    uneven = any(np.ptp(np.diff(e)) > 1e-6 * np.ptp(e) for e in (edges_y, edges_x))
    shown = np.ma.masked_invalid(np.asarray(image, dtype=np.float64))
    if uneven:
        artist: Any = ax.pcolormesh(edges_x, edges_y, shown, **options)
        ax.set_ylim(edges_y[-1], edges_y[0])
    else:
        extent = (edges_x[0], edges_x[-1], edges_y[-1], edges_y[0])
        artist = ax.imshow(shown, extent=extent, interpolation="nearest", aspect="equal", **options)
    ax.set_aspect("equal")
    ax.set_xlabel(_label(columns))
    ax.set_ylabel(_label(rows))
    return artist


def channel_shown(da: xr.DataArray, shown: xr.DataArray) -> str:
    """Return the name of the channel that is shown of a stack with several, an empty string for others."""
    return str(shown["channel"].item()) if da.sizes.get("channel", 1) > 1 and "channel" in shown.coords else ""


def axes_given(axes: Any, count: int, name: str = "axes") -> list[Any]:
    """Return the axes that the user gave as a list, or raise."""
    try:
        given = list(axes)
    except TypeError:
        raise TypeError(f"{name}={axes!r} must be a sequence of {count}, not {type(axes).__name__}") from None
    if len(given) != count:
        raise ValueError(f"{name} must be {count}, got {len(given)}")
    return given


def _label(coord: xr.DataArray) -> str:
    unit = str(coord.attrs.get("units", "1"))
    return f"{coord.name} / {'pixel' if unit == '1' else unit}"


def position(da: xr.DataArray, dim: str) -> xr.DataArray:
    """Return the coordinate of a dim with unit and spacing, also where the stack has none."""
    coord = da[dim]
    return coord.assign_attrs(units=units_of(da, dim), spacing=spacing_of(da, dim))


def scale_bar(ax: Axes, length_of_axis: float, unit: str) -> None:
    """Draw a scale bar of a round length, about a fifth of the axis, at the lower left."""
    from matplotlib.patches import Rectangle

    target = length_of_axis / 5
    power = 10.0 ** np.floor(np.log10(target))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= target * (1 + 1e-9)))
    width = length / length_of_axis
    box = Rectangle(
        (0.04, 0.04),
        width,
        0.015,
        transform=ax.transAxes,
        facecolor="white",
        edgecolor="black",
        lw=0.5,
        gid="scale-bar",
    )
    ax.add_patch(box)
    name = "px" if unit == "1" else unit
    text = ax.text(
        0.04 + width / 2, 0.065, f"{length:g} {name}", transform=ax.transAxes, color="white", ha="center", va="bottom"
    )
    import matplotlib.patheffects as effects

    text.set_path_effects([effects.withStroke(linewidth=1.5, foreground="black")])
