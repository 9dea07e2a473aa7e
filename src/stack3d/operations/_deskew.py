"""Undoing the shear of a stack whose imaging plane moves on obliquely."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stack3d._provenance import operation
from stack3d.grid import spacing_of, units_of
from stack3d.model import valid_slices
from stack3d.operations._register import Canvas, Crop, Fill, Order, _apply
from stack3d.transforms._matrices import describe
from stack3d.units import Length, conversion_factor, parse_length


@operation(version=1, needs=("z",))
def deskew(
    da: xr.DataArray,
    *,
    angle: float | None = None,
    shift: Length | None = None,
    integer: bool = False,
    order: Order = 3,
    fill: Fill = "constant",
    value: float | None = None,
    canvas: Canvas = "union",
    crop: Crop = "none",
) -> xr.DataArray:
    """Move slices along y by what the geometry of the microscope displaces them.

    The milled face recedes along its normal, but the imaging beam, which stays where it is, meets it at an angle: from
    a slice to one that lies dz deeper, the content of the frame moves up by ``dz / tan(angle)`` on the face. It does
    not matter how the specimen looks: unlike `register`, this leaves oblique structure as it is.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        With true lengths along y, on the face: use `correct_tilt` before.
    angle : float, optional
        Between the imaging beam and the face, in degrees, -90 to 90 and not 0; negative where content moves down.
    shift : length, optional
        Instead of `angle`: how far the content of a slice lies further down than that of the slice before, a number in
        the unit of the coordinate or a string such as ``"-3 px"``. Where slices are uneven, for a median step.
    integer : bool
        Round to whole pixels, so that no value is interpolated.
    order, fill, value, canvas, crop
        See `apply_transforms`. By default the canvas holds every pixel of every slice, and what lies outside a slice is
        missing (NaN) in float stacks and 0 in others.

    Returns
    -------
    DataArray
        Lazy where `da` is, of its dtype. The first slice stays in its place, and positions along y go on beyond those
        of `da`. Coordinates on z as of `apply_transforms`.

    Raises
    ------
    ValueError
        When not exactly one of `angle` and `shift` is given, when the angle is out of range, or when z and y have no
        unit of length that would give it a meaning.

    Examples
    --------
    >>> whole = stack.stack3d.deskew(shift="-1.5 px")
    >>> whole.sizes["y"] - stack.sizes["y"], float(whole.shift_y[2])
    (11, -15.0)
    """
    per_step = _per_step(da, angle, shift)
    z = da["z"].values if "z" in da.coords else np.arange(da.sizes["z"])
    matrices = np.broadcast_to(np.eye(3), (da.sizes["z"], 3, 3)).copy()
    matrices[:, 1, 2] = per_step * ((z - z[0]) / spacing_of(da, "z")) / spacing_of(da, "y")
    known = describe(da, matrices, valid_slices(da))
    return _apply(da, known, order, integer, fill, value, canvas, crop)


def _per_step(da: xr.DataArray, angle: float | None, shift: Length | None) -> float:
    """Return how far content moves down for a median step along z, in the unit of y."""
    if (angle is None) == (shift is None):
        raise ValueError(f"angle={angle!r} and shift={shift!r}: give exactly one of them")
    if shift is not None:
        return parse_length(shift, unit=units_of(da, "y"), spacing=spacing_of(da, "y"), name="shift")
    wrong = isinstance(angle, bool) or not isinstance(angle, int | float | np.number)
    if wrong or not (-90 <= angle <= 90 and angle != 0):  # type: ignore[operator]
        raise ValueError(f"angle={angle!r} must be a number of degrees from -90 to 90, and not 0")
    units = units_of(da, "z"), units_of(da, "y")
    if "1" in units:
        raise ValueError(
            f"angle={angle!r} needs lengths along z and y, but z is in {units[0]!r} and y in {units[1]!r} (1: no unit); set "
            "them, or give shift= in pixels, such as shift='-3 px'"
        )
    depth = spacing_of(da, "z") * conversion_factor(*units)
    # Not by the tangent, which is not 0 to the bit when seen straight on.
    return 0.0 if abs(angle) == 90 else float(-depth / np.tan(np.radians(angle)))  # type: ignore[arg-type]
