"""How stripes are to be masked in Fourier space."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stack3d.kernels import _shear

KINDS = ("measured", "wedge", "band", "auto")
_FIXED = {  # defaults of what "measured" does not take
    "half_angle": None,
    "half_width": 0.005,
    "radii": (0.01, 1.0),
    "softness": 0.3,
    "threshold": 1.6,
    "averaging": 1.0,
    "rescale": False,
}


@dataclass(frozen=True)
class Plan:
    """How stripes are masked in the frames of one shape; small, hashable and picklable. See :func:`plan`."""

    shape: tuple[int, int]
    angle: float
    kind: str
    half_angle: float
    half_width: float
    radii: tuple[float, float]
    softness: float
    threshold: float
    averaging: float
    rescale: bool
    strength: float
    difference: bool = False


def plan(
    shape: tuple[int, ...],
    *,
    angle: float = 0.0,
    kind: str = "measured",
    half_angle: float | None = None,
    half_width: float = 0.005,
    radii: tuple[float, float] = (0.01, 1.0),
    softness: float = 0.3,
    threshold: float = 1.6,
    averaging: float = 1.0,
    rescale: bool = False,
    strength: float = 1.0,
    difference: bool = False,
) -> Plan:
    """Say which part of the spectrum is taken for stripes.

    Parameters
    ----------
    shape : tuple of int
        Shape (y, x) of a frame.
    angle : float, default 0
        Direction of the stripes in degrees: 0 along y, 90 along x, counter-clockwise on the screen.
    kind : {"measured", "wedge", "band", "auto"}, default "measured"
        "measured": the gain of Wiener's filter, from the power of stripes in the frame and their length. "wedge":
        directions within `half_angle`. "band": within `half_width` of the line of the stripes. "auto": what, in the
        wedge, exceeds the mean of other directions at the same radius `threshold` times.
    half_angle : float, optional
        Degrees; by default 1 for "wedge" and 5 for "auto".
    half_width : float, default 0.005
        Of the band, as a fraction of the Nyquist frequency.
    radii : (float, float)
        Lowest and highest frequency, as fractions of the Nyquist frequency. What is below the lowest, the mean in
        particular, is kept.
    softness : float, default 0.3
        Width of the smooth edges relative to `half_angle`, `half_width` and the lowest radius.
    threshold : float, default 1.6
        Of "auto".
    averaging : float, default 1
        Standard deviation, in coefficients, of the mean over neighbours that is held against the threshold.
    rescale : bool, default False
        Of "auto": bring the coefficients down to the mean of other directions instead of removing them.
    strength : float, default 1
        Below 1 so much of the stripes is taken; above 1 more of what only looks like stripes (with "measured", "auto").
    difference : bool, default False
        The frames are differences of slices: with little structure that could be taken for stripes.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> from stack3d.kernels import wedge
    >>> wedge.plan((512, 512), kind="wedge").half_angle
    1.0
    """
    shape, angle = _shear.checked_shape(shape), _shear.checked_angle(angle)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} must be one of {', '.join(map(repr, KINDS))}")
    asked = half_angle
    if half_angle is None:
        half_angle = 5.0 if kind == "auto" else 1.0
    if not 0 < half_angle < 45:
        raise ValueError(f"half_angle={half_angle!r} must be between 0 and 45 degrees")
    _shear.check_strength(strength, kind in ("measured", "auto"))
    if not 0 < half_width < 1:
        raise ValueError(f"half_width={half_width!r} must be a fraction of the Nyquist frequency between 0 and 1")
    low, high = radii
    if not 0 < low < high <= math.sqrt(2):
        raise ValueError(f"radii={radii!r} must be (low, high) with 0 < low < high <= 1.41: 0 would remove the mean")
    if not 0 <= softness <= 1:
        raise ValueError(f"softness={softness!r} must be between 0 and 1")
    if not 1 <= threshold < math.inf:
        raise ValueError(f"threshold={threshold!r} must be at least 1")
    if not 0 <= averaging < math.inf:
        raise ValueError(f"averaging={averaging!r} must not be negative")
    if kind == "measured":
        given = {"half_width": half_width, "radii": radii, "softness": softness, "threshold": threshold}
        given |= {"half_angle": asked, "averaging": averaging, "rescale": rescale}
        for name, value in given.items():
            if value != _FIXED[name]:
                raise ValueError(f"{name}={value!r} goes with kind='auto', 'wedge' or 'band', not with 'measured'")
    numbers = (float(half_angle), float(half_width), (float(low), float(high)), float(softness))
    return Plan(
        shape, angle, kind, *numbers, float(threshold), float(averaging), bool(rescale), float(strength), difference
    )
