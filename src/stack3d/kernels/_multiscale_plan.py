"""How stripes are found scale by scale: the plan of a stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stack3d.kernels._shear import check_strength, checked_angle, checked_shape

RULES = ("predict", "limit")
NOISES = ("robust", "rms")
_LENGTH = (161, 161, 161, 201, 251, 301)
_BLOCK = (5, 9, 13, 19, 43, 75)
_FACTOR = (1.67, 1.0)


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale, as :func:`plan` takes them."""

    length: int
    block: int | None
    factor: float


@dataclass(frozen=True)
class Plan:
    """How stripes are found in the frames of one shape; small, hashable and picklable. See :func:`plan`."""

    shape: tuple[int, int]
    angle: float
    scales: tuple[Scale, ...]
    rule: str
    threshold: tuple[float, float]
    middle: float | None
    steepness: float
    window: int | None
    noise: str
    max_angle: float
    max_ratio: float
    correct_energy: bool
    shrink: bool
    strength: float
    difference: bool = False

    def thresholds(self, rows: int) -> np.ndarray[Any, Any]:
        """Multiple of the noise at each row, (rows,)."""
        place = np.arange(rows) / max(rows - 1, 1)
        start, end = self.threshold
        if self.middle is None:
            return start + (end - start) * place
        out: np.ndarray[Any, Any] = end - (end - start) / (1 + np.exp(self.steepness * (place - self.middle)))
        return out


def plan(
    shape: tuple[int, ...],
    *,
    angle: float = 0.0,
    scales: int = 6,
    rule: str = "predict",
    length: int | Sequence[int] = _LENGTH,
    block: int | Sequence[int | None] | None = _BLOCK,
    threshold: float | tuple[float, float] = (2.1, 1.5),
    middle: float | None = 0.6,
    steepness: float = 20.0,
    window: int | None = 187,
    factor: float | Sequence[float] = _FACTOR,
    noise: str = "robust",
    max_angle: float = 4.8,
    max_ratio: float = 0.3,
    correct_energy: bool = True,
    shrink: bool = True,
    strength: float = 1.0,
    difference: bool = False,
) -> Plan:
    """Say how stripes are to be found scale by scale. The defaults are the table that the authors recommend.

    Parameters
    ----------
    shape : tuple of int
        Shape (y, x) of a frame.
    angle : float, default 0
        Direction of the stripes in degrees: 0 along y, 90 along x, counter-clockwise on the screen.
    scales : int, default 6
        Bands of details, fields of view of 7, 19, 43, 91, 187, 379 pixels. As many as it takes for the rest to show no
        stripes; more do no harm.
    rule : {"predict", "limit"}, default "predict"
        How the specimen is kept out of the stripes: by the shape of the bright and dark parts of each band, or by
        holding the band within the threshold.
    length : int or sequence of int
        Odd lengths L in pixels for each scale (the last serves those beyond): means along the stripes have triangular
        weights over 2 L - 1 pixels.
    block : int, None or sequence
        Odd sides of the squares over which the weights are smoothed. With "limit" and None the band itself is held
        within the threshold, otherwise what lies beyond counts as missing.
    threshold : float or (float, float), default (2.1, 1.5)
        In multiples of the noise of the band; from the beginning to the end of the stripes (at y = 0 and the last row).
    middle : float, optional
        Where along the stripes, 0 to 1, the threshold passes from one to the other, as a sigmoid; None: linearly.
    steepness : float, default 20
        Of the sigmoid.
    window : int, optional
        Odd number of rows over which the noise is measured, and never less than 0.7 of that of the whole frame; None:
        the whole frame.
    factor : float or sequence of float
        Multiplies the threshold at each scale.
    noise : {"robust", "rms"}, default "robust"
        "rms" is the root of the mean square of the band; "robust" cuts squares at 3 standard deviations, those from the
        median of the absolute values, so that strong edges do not raise the threshold.
    max_angle, max_ratio : float
        Of "predict": degrees from the stripes, and ratio of minor to major axis, at which a part is no stripe.
    correct_energy : bool
        Give the rest of each band the power that noise loses with the stripes' mean.
    shrink : bool
        Reduce the stripes of each scale by the share of their power that is measured to be specimen and noise: nothing
        is left of them where a frame has none.
    strength : float, default 1
        Below 1 so much of the stripes is taken; above 1 more of what only looks like stripes (needs `shrink`).
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
    >>> from stack3d.kernels import multiscale
    >>> [scale.length for scale in multiscale.plan((512, 512), scales=4).scales]
    [161, 161, 161, 201]
    """
    shape, angle = checked_shape(shape), checked_angle(angle)
    if isinstance(scales, bool) or scales != int(scales) or not 1 <= scales <= 12:
        raise ValueError(f"scales={scales!r} must be a whole number from 1 to 12")
    for name, value, allowed in (("rule", rule, RULES), ("noise", noise, NOISES)):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
    if rule == "predict" and block is None:
        raise ValueError('block=None goes with rule="limit" only')
    lengths, blocks, factors = (_each(value, int(scales)) for value in (length, block, factor))
    for name, values in (("length", lengths), ("block", blocks)):
        for value in values:
            if not _odd(value) and not (value is None and name == "block" and rule == "limit"):
                raise ValueError(f"{name} must be odd whole numbers, got {value!r}")
    low, high = threshold if isinstance(threshold, Sequence) else (threshold, threshold)
    for name, value in (
        ("threshold", low),
        ("threshold", high),
        ("max_ratio", max_ratio),
        *(("factor", f) for f in factors),
    ):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, got {value!r}")
    if not 0 < max_angle <= 90:
        raise ValueError(f"max_angle={max_angle!r} must be above 0 and at most 90 degrees")
    if window is not None and not _odd(window):
        raise ValueError(f"window={window!r} must be an odd whole number or None")
    if middle is not None and not 0 <= middle <= 1:
        raise ValueError(f"middle={middle!r} must lie between 0 and 1, or be None")
    check_strength(strength, shrink)
    steps = tuple(Scale(int(a), None if b is None else int(b), float(c)) for a, b, c in zip(lengths, blocks, factors))
    return Plan(
        shape,
        angle,
        steps,
        rule,
        (float(low), float(high)),
        middle,
        float(steepness),
        window,
        noise,
        float(max_angle),
        float(max_ratio),
        bool(correct_energy),
        bool(shrink),
        float(strength),
        difference,
    )


def _each(value: Any, scales: int) -> list[Any]:
    """One value for each scale; the last serves those beyond."""
    values = list(value) if isinstance(value, Sequence) else [value]
    return (values + values[-1:] * scales)[:scales]


def _odd(value: Any) -> bool:
    return (
        not isinstance(value, bool | str) and value is not None and value == int(value) and value > 0 and value % 2 == 1
    )
