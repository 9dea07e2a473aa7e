"""Transforms of slices as curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stack3d import estimates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def transforms(estimate: xr.Dataset, *, other: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Show how far each slice lies from its place, against its position.

    Parameters
    ----------
    estimate : Dataset
        Of kind ``"transforms"``, as made by `estimate_transforms`.
    other : Dataset, optional
        A second one, such as `estimate` before it was edited, drawn thin and dashed.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    Axes
        Shifts along y and x; slices that are not ``valid`` are marked by crosses. Where slices turn, `rotation` has a
        second axis on the right.

    Examples
    --------
    >>> ax = stack3d.plotting.transforms(stack.stack3d.estimate_transforms())
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('z / nm', 'shift / nm')
    """
    estimates.check(estimate, "transforms")
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    z = _positions(estimate)
    bad = ~estimate["valid"].values if "valid" in estimate else np.zeros(z.size, bool)
    for number, name in enumerate(("shift_y", "shift_x")):
        values = estimate[name].values
        ax.plot(z, values, color=f"C{number}", label=name.replace("_", " along "))
        if other is not None:
            estimates.check(other, "transforms", name="other")
            ax.plot(_positions(other), other[name].values, color=f"C{number}", lw=0.8, ls="--")
        if bad.any():
            ax.plot(z[bad], values[bad], "x", color="C3", label=None if number else "bad slice")
    unit = str(estimate["z"].attrs.get("units", "1")) if "z" in estimate.coords else "1"
    length = str(estimate["shift_y"].attrs.get("units", "1"))
    ax.set_xlabel(f"z / {'slice' if unit == '1' else unit}")
    ax.set_ylabel(f"shift / {'pixel' if length == '1' else length}")
    ax.legend(loc="best", fontsize="small")
    if np.any(np.abs(estimate["rotation"].values) > 1e-9):
        right = ax.twinx()
        right.plot(z, estimate["rotation"].values, color="C2", lw=0.8)
        right.set_ylabel("rotation / degree", color="C2")
    return ax


def _positions(estimate: xr.Dataset) -> np.ndarray:
    return np.asarray(estimate["z"].values if "z" in estimate.coords else np.arange(estimate.sizes["z"]))
