"""Before and after, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stack3d.grid import spacing_of, units_of
from stack3d.model import check_stack, one_channel
from stack3d.plotting._image import axes_given, channel_shown, grey_limits, position, scale_bar, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def compare(
    da: xr.DataArray,
    before: xr.DataArray,
    *,
    z: Sequence[int] | None = None,
    channel: str | None = None,
    axes: Sequence[Sequence[Axes]] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray",
) -> list[list[Axes]]:
    """Show a few slices before and after, and their difference: the preview of a whole lazy chain.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
        After. Only the slices shown are computed.
    before : DataArray ([channel], z, y, x)
        Before; its slice nearest in position is shown beside each of `da`.
    z : sequence of int, optional
        Numbers of slices of `da`, from the end where negative; by default three, at a quarter, half and three
        quarters of the stack.
    channel : str, optional
        By default the first.
    axes : rows of three Axes, optional
        One row a slice; by default a new figure.
    limits : (low, high), optional
        Grey levels shown as black and white; by default quantiles, of before and after apart.
    cmap : str
        Colour map of the slices.

    Returns
    -------
    list of rows of Axes
        Before, after, and after minus before where both have the same pixels (else that panel is empty).

    Examples
    --------
    >>> rows = stack.stack3d.invert().stack3d.plot.compare(stack, z=[2])
    >>> len(rows), len(rows[0])
    (1, 3)
    """
    for name, one in (("da", da), ("before", before)):
        check_stack(one, needs=("z",), name=name)
    after, first = one_channel(da, channel), one_channel(before, channel if "channel" in before.coords else None)
    count = after.sizes["z"]
    chosen = sorted({count // 4, count // 2, 3 * count // 4}) if z is None else [int(k) for k in z]
    if not chosen or any(not -count <= k < count for k in chosen):
        raise ValueError(f"z={z!r} must be numbers of slices between {-count} and {count - 1}")
    if axes is not None:
        axes = [axes_given(row, 3, f"axes[{k}]") for k, row in enumerate(axes_given(axes, len(chosen)))]
    places = after["z"].values[chosen]
    partners = [int(np.argmin(np.abs(first["z"].values - place))) for place in places]
    shown = xr.Dataset(
        {
            "before": (("slice", "by", "bx"), first.isel(z=partners).data),
            "after": (("slice", "ay", "ax"), after.isel(z=chosen).data),
        }
    ).compute()
    if axes is None:
        import matplotlib.pyplot as plt

        _, grid = plt.subplots(len(chosen), 3, figsize=(12, 4 * len(chosen)), squeeze=False, layout="constrained")
        axes = grid.tolist()
    same = first.shape[-2:] == after.shape[-2:]
    channels = {"before": channel_shown(before, first), "after": channel_shown(da, after)}
    rows = []
    for k, row in enumerate(axes):
        pair = {"before": (first, shown["before"].values[k]), "after": (after, shown["after"].values[k])}
        for ax, (title, (stack, image)) in zip(row[:2], pair.items(), strict=True):
            low, high = limits or grey_limits(image)
            show(ax, image, position(stack, "y"), position(stack, "x"), cmap=cmap, vmin=low, vmax=high)
            unit = units_of(stack, "z")
            named = title + (f", {channels[title]}" if channels[title] else "")
            ax.set_title(f"{named}, z = {places[k]:.6g}" + ("" if unit == "1" else f" {unit}"))
        scale_bar(row[0], first.sizes["x"] * spacing_of(first, "x"), units_of(first, "x"))
        if same:
            difference = pair["after"][1].astype(np.float64) - pair["before"][1]
            finite = np.abs(difference[np.isfinite(difference)])
            reach = float(np.quantile(finite, 0.995)) if finite.size else 1.0
            options = {"cmap": "RdBu_r", "vmin": -(reach or 1.0), "vmax": reach or 1.0}
            artist = show(row[2], difference, position(after, "y"), position(after, "x"), **options)
            row[2].set_title("after − before")
            row[2].figure.colorbar(artist, ax=row[2], shrink=0.8, label="grey value")
        else:
            row[2].set_axis_off()
        rows.append(list(row))
    return rows
