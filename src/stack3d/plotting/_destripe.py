"""What destriping takes away, and where that lies in the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.grid import spacing_of, units_of
from stack3d.model import check_stack, one_channel
from stack3d.plotting._image import axes_given, channel_shown, grey_limits, position, scale_bar, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def destripe(
    da: xr.DataArray,
    before: xr.DataArray | None = None,
    *,
    z: int | None = None,
    channel: str | None = None,
    angle: float | Literal["auto"] | None = None,
    axes: Sequence[Axes] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray",
    **how: Any,
) -> list[Axes]:
    """Show a slice before and after destriping, what was taken away, and the spectrum before.

    Parameters
    ----------
    da : DataArray ([channel], [z], y, x)
        After; only the slice shown is computed. Without `before`: before, and the slice shown is destriped here.
    before : DataArray, optional
        Before, with the same slices and pixels.
    z : int, optional
        Number of the slice, from the end where negative; by default the middle one.
    channel : str, optional
        By default the first.
    angle : float, optional
        Direction of the stripes in degrees, drawn in the spectrum; by default that of what was taken away, where it
        has one.
    axes : four Axes, optional
        By default a new figure.
    limits : (low, high), optional
        Grey levels shown as black and white, before and after alike; by default quantiles of the slice before.
    cmap : str
        Colour map of the slices.
    **how
        Without `before`: parameters of `stack3d.destripe`, such as ``method="wavelet"``. With ``neighbours`` the slices
        on either side are read as well; ``angle="auto"`` looks at the stack, a number is both that of `destripe` and of
        the line drawn.

    Returns
    -------
    list of four Axes
        Before, after, before minus after, and the power of each frequency before, over that of its ring. Stripes
        along the direction drawn lie on the line across it.

    Examples
    --------
    >>> axes = stack.stack3d.plot.destripe(z=2, method="wavelet")
    >>> len(axes)
    4

    A stack that is destriped already, and the one it was made from:

    >>> clean = stack.stack3d.destripe(method="wavelet")
    >>> axes = clean.stack3d.plot.destripe(stack, z=2)
    """
    check_stack(da, name="da")
    if before is None:
        da, before, z, angle = _destriped(da, z, channel, angle, how)
    elif how:
        raise TypeError(f"{next(iter(how))}= says how to destripe, but before= is given: da is destriped already")
    elif isinstance(angle, str):
        raise ValueError(f"angle={angle!r} must be a number of degrees, or None, where before= is given")
    check_stack(before, name="before")
    after, first = one_channel(da, channel), one_channel(before, channel)
    if after.dims != first.dims or after.shape != first.shape:
        raise ValueError(
            f"before has dims {dict(first.sizes)}, da has {dict(after.sizes)}; they must be the same slices and pixels"
        )
    title = channel_shown(da, after)
    if "z" in after.dims:
        count = after.sizes["z"]
        k = _slice(z, count)
        after, first = after.isel(z=k), first.isel(z=k)
        unit = units_of(da, "z")
        place = f"z = {float(after['z']):.6g}" + ("" if unit == "1" else f" {unit}")
        title = f"{title}, {place}" if title else place
    elif z is not None:
        raise ValueError(f"z={z!r} given, but the stack has dims {da.dims}")
    shown = xr.Dataset({"after": (("y", "x"), after.data), "before": (("y", "x"), first.data)}).compute()
    old, new = shown["before"].values, shown["after"].values
    if axes is None:
        import matplotlib.pyplot as plt

        _, grid = plt.subplots(2, 2, figsize=(11, 10), layout="constrained")
        axes = grid.ravel().tolist()
    panels = axes_given(axes, 4)
    low, high = limits or grey_limits(old)
    y, x = position(first, "y"), position(first, "x")
    for ax, image, name in zip(panels, (old, new), ("before", "after"), strict=False):
        show(ax, image, y, x, cmap=cmap, vmin=low, vmax=high)
        ax.set_title(f"{name}, {title}" if title else name)
    scale_bar(panels[0], first.sizes["x"] * spacing_of(first, "x"), units_of(first, "x"))
    taken = old.astype(np.float64) - new
    finite = np.abs(taken[np.isfinite(taken)])
    reach = (float(np.quantile(finite, 0.995)) if finite.size else 0.0) or 1.0
    artist = show(panels[2], taken, y, x, cmap="RdBu_r", vmin=-reach, vmax=reach)
    panels[2].set_title("before − after")
    panels[2].figure.colorbar(artist, ax=panels[2], shrink=0.8, label="grey value")
    if angle is None and bool(np.any(finite)):
        angle = kernels.direction.stripes(kernels.spectrum.spectrum(taken.astype(np.float32))).angle
    _show_spectrum(panels[3], old, angle)
    return panels


def _slice(z: Any, count: int) -> int:
    if z is None:
        return count // 2
    if isinstance(z, bool) or not isinstance(z, int | np.integer) or not -count <= z < count:
        raise ValueError(f"z={z!r} must be the number of a slice, between {-count} and {count - 1}")
    return int(z)


def _destriped(
    da: xr.DataArray, z: Any, channel: str | None, angle: Any, how: dict[str, Any]
) -> tuple[xr.DataArray, xr.DataArray, int | None, float | None]:
    """Return the slice shown, destriped, and as it was, with the slices that the result needs; its number, the angle."""
    from stack3d.operations import destripe as run
    from stack3d.operations import estimate_stripes

    one = one_channel(da, channel)
    if angle == "auto" and how.get("estimate") is None:
        how, angle = {**how, "estimate": estimate_stripes(one)}, None
    if "z" in one.dims:
        k = _slice(z, one.sizes["z"]) % one.sizes["z"]
        reach = how.get("neighbours", 0)
        # Neighbours are compared with their own, and rid of their stripes, first.
        reach = 3 * int(reach) if isinstance(reach, int | np.integer) and reach > 0 else 0
        first = max(0, k - reach)
        one, z = one.isel(z=slice(first, k + reach + 1)), k - first
    clean = run(one, angle=angle, **how)
    return clean, one, z, angle


def whole_spectrum(found: Any) -> tuple[np.ndarray, float, tuple[float, float]]:
    """Return the power over that of its ring, zero frequency in the middle, and where its borders lie.

    The borders are in cycles per pixel: `edge_x` to either side, and top and bottom.
    """
    flat = np.fft.fftshift(kernels.direction.whitened(found)[0], axes=0)
    rows, columns = found.transformed
    # The other half is the same, turned about the origin.
    left = np.roll(flat[::-1], 1 - rows % 2, axis=0)[:, 1:][:, ::-1]
    edge_x = (flat.shape[1] - 0.5) / columns
    return np.concatenate([left, flat], axis=1), edge_x, (-(rows // 2 + 0.5) / rows, ((rows - 1) // 2 + 0.5) / rows)


def _show_spectrum(ax: Axes, image: np.ndarray, angle: float | None) -> None:
    found = kernels.spectrum.spectrum(image)
    ax.set_title("spectrum before")
    ax.set_xlabel("frequency along x / cycles per pixel")
    ax.set_ylabel("frequency along y / cycles per pixel")
    if kernels.direction.measurable(found):
        whole, edge_x, (top, bottom) = whole_spectrum(found)
        ax.imshow(
            whole, extent=(-edge_x, edge_x, bottom, top), cmap="magma", vmin=-1, vmax=3, aspect="equal",
            interpolation="nearest",
        )  # fmt: skip
    ax.set_xlim(-0.25, 0.25)
    ax.set_ylim(0.25, -0.25)
    if angle is not None and np.isfinite(angle):
        turn = np.radians(angle)
        out = np.array([np.cos(turn), -np.sin(turn)])
        for sign in (-1, 1):
            ends = np.array([0.12, 0.24])[:, None] * sign * out
            ax.plot(ends[:, 0], ends[:, 1], color="cyan", lw=1.2, gid="stripe-angle")
        ax.set_title(f"spectrum before, stripes at {angle:.1f}°")
