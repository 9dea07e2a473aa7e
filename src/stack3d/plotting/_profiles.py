"""Grey values of each slice as curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stack3d.grid import units_of
from stack3d.model import check_stack, one_channel, valid_slices
from stack3d.plotting._image import channel_shown
from stack3d.quality import slice_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def profiles(
    da: xr.DataArray, *, region: Mapping[str, Any] | None = None, channel: str | None = None, ax: Axes | None = None
) -> Axes:
    """Show minimum, mean, maximum and standard deviation of each slice against its position.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
        Every frame is read once.
    region : dict, optional
        Part of the frame: see `slice_statistics`.
    channel : str, optional
        By default the first.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        Mean as a line with a band of one standard deviation, minimum and maximum as thin lines; bad slices (``valid``
        False) marked by crosses.

    Examples
    --------
    >>> ax = stack.stack3d.plot.profiles()
    >>> ax.get_xlabel()
    'z / nm'
    """
    check_stack(da, needs=("z",))
    volume = one_channel(da, channel)
    table = slice_statistics(volume, quantiles=(), box=region).compute()
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    z = volume["z"].values
    mean, spread = table["mean"].values, table["standard_deviation"].values
    ax.fill_between(z, mean - spread, mean + spread, alpha=0.25, lw=0, label="mean ± standard deviation")
    ax.plot(z, mean, label="mean")
    for name in ("minimum", "maximum"):
        ax.plot(z, table[name].values, lw=0.8, ls="--" if name == "minimum" else ":", label=name)
    bad = ~valid_slices(volume)
    if np.any(bad):
        ax.plot(z[bad], mean[bad], "x", color="C3", label="bad slice")
    unit = units_of(volume, "z")
    ax.set_xlabel(f"z / {'slice' if unit == '1' else unit}")
    ax.set_ylabel("grey value")
    if of_channel := channel_shown(da, volume):
        ax.set_title(of_channel)
    ax.legend(loc="best", fontsize="small")
    return ax
