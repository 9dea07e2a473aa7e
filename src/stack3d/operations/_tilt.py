"""Undoing the foreshortening of a face that is seen at an angle."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.grid import bounds, coordinate, regular, spacing_of, units_of, with_coordinate
from stack3d.model import rebuild

_ORDERS = (0, 1, 3, "lanczos")


@operation(version=1)
def correct_tilt(
    da: xr.DataArray,
    *,
    angle: float | None = None,
    pixels: Literal["keep", "square"] = "keep",
    order: Literal[0, 1, 3, "lanczos"] = 3,
) -> xr.DataArray:
    """Give y its true length on a face that the imaging beam sees at an angle.

    The milled face of a FIB-SEM holds the axis of the milling beam, so the imaging beam meets it at the angle between
    the two columns, and a length l along y looks like ``l * sin(angle)``. Positions along y are divided by that.

    Parameters
    ----------
    da : DataArray (..., [z], y, x)
        As the detector saw it: not where the microscope has applied its tilt correction already.
    angle : float, optional
        Between the imaging beam and the face, in degrees, above 0 and up to 90 (seen straight on: nothing changes). By
        default the `column_angle` of the metadata. Thermo Fisher builds 52 degrees between the columns, Zeiss 54, Tescan 55.
    pixels : {"keep", "square"}
        ``"keep"``: only the coordinate changes, no pixel is touched; pixels become oblong. ``"square"``: frames are
        interpolated to rows that lie as far apart as columns.
    order : {0, 1, 3, "lanczos"}
        For ``pixels="square"``: nearest pixel (labels), linear, a six-tap least-squares kernel, or a six-tap windowed sinc.

    Returns
    -------
    DataArray
        Lazy where `da` is, of its dtype; the coordinate `shift_y`, a length along y, is stretched too. It does not matter
        whether a stack is cropped before or after. With ``pixels="square"`` the outer edges of the frame stay, to the
        nearest row, and other coordinates along y than ``mask`` are left out.

    Raises
    ------
    ValueError
        When the angle is not known or out of range, and for ``pixels="square"`` where columns lie further apart than
        rows do, which asks for averaging: `stack3d.resample`.

    Examples
    --------
    >>> true = stack.stack3d.correct_tilt(angle=52)
    >>> round(true.stack3d.pixel_size.y, 3), true.stack3d.pixel_size.x
    (6.345, 5.0)
    """
    if pixels not in ("keep", "square"):
        raise ValueError(f"pixels={pixels!r} is not allowed; it must be 'keep' or 'square'")
    if order not in _ORDERS or isinstance(order, bool):
        raise ValueError(f"order={order!r} is not allowed; it must be one of {_ORDERS}")
    stretch = 1 / np.sin(np.radians(angle_of(da, angle)))
    values = da["y"].values if "y" in da.coords else np.arange(da.sizes["y"])
    result = with_coordinate(da, "y", values * stretch, spacing=spacing_of(da, "y") * stretch)
    if "shift_y" in result.coords:
        result = result.assign_coords(shift_y=(result["shift_y"] * stretch).variable.copy())
        result["shift_y"].attrs = dict(da["shift_y"].attrs)
    return result if pixels == "keep" else _square(result, order)


def angle_of(da: xr.DataArray, angle: float | None) -> float:
    """Return the angle between imaging beam and face in degrees: as given, or from the metadata."""
    if angle is None:
        angle = _from_metadata(da)
    if isinstance(angle, bool) or not isinstance(angle, int | float | np.number) or not 0 < angle <= 90:
        raise ValueError(f"angle={angle!r} must be a number of degrees above 0 and up to 90")
    return float(angle)


def _from_metadata(da: xr.DataArray) -> float:
    if "column_angle" not in da.attrs:
        raise ValueError(
            "angle=None: the metadata do not say column_angle; give the angle between the imaging beam and the face, such as "
            "angle=52 (Thermo Fisher), 54 (Zeiss) or 55 (Tescan)"
        )
    from stack3d.units import _registry

    unit = str(da.attrs.get("column_angle_units", "degree"))
    return float(_registry().Quantity(float(da.attrs["column_angle"]), unit).to("degree").magnitude)


def _square(da: xr.DataArray, order: Any) -> xr.DataArray:
    dy, dx = spacing_of(da, "y"), spacing_of(da, "x")
    if dx > dy * (1 + 1e-6):
        raise ValueError(
            f"pixels='square': columns lie {dx:g} apart, rows {dy:g}, so that rows would have to be averaged; use "
            "pixels='keep', then resample(dy=...)"
        )
    old = da["y"].values
    edges = bounds(old, dy)
    rows = max(1, round((edges[-1] - edges[0]) / dx))
    new = regular(float(edges[0]) + dx / 2, dx, rows)
    coords: dict[str, Any] = {"y": coordinate("y", new, units=units_of(da, "y"), spacing=dx)}
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, dx / dy, (new[0] - old[0]) / dy], [0.0, 0.0, 1.0]])
    shape = (rows, da.sizes["x"])
    if "mask" in da.coords:
        nearest = np.clip(np.floor(matrix[1, 1] * np.arange(rows) + matrix[1, 2] + 0.5), 0, old.size - 1).astype(int)
        coords["mask"] = da["mask"].isel(y=nearest).variable if "y" in da["mask"].dims else da["mask"].variable
    arguments = {"matrix": matrix, "shape": shape, "order": 0 if da.dtype == bool else order}
    data = map_frames(da, _stretched, arguments=arguments, shape=shape, label="correct tilt")
    drop = [name for name, c in da.coords.items() if name not in coords and "y" in c.dims]
    return rebuild(da, data, coords, drop=drop)


def _stretched(frame: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], order: Any) -> Any:
    return kernels.warp.warp_frame(frame, matrix, shape, order=order, fill="edge")
