"""The methods of `destripe`: a kernel each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from stack3d import kernels

# Each kernel has ``plan(shape, *, angle, strength, ...)`` and ``stripes(frame, plan, weight=None)``.
METHODS = {
    "vsnr": "vsnr",
    "pyvsnr": "pyvsnr",
    "wavelet": "wavelet_stripes",
    "multiscale": "multiscale",
    "wedge": "wedge",
}


def plans_of(
    method: str,
    shape: tuple[int, int],
    angle: float,
    strength: float,
    given: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return the plan of a method for frames of `shape`, and for differences of such frames.

    `given` are its own parameters, None where not given. `options` are further ones, in which None is a value.

    Raises
    ------
    ValueError
        When a parameter belongs to another method.
    """
    make = getattr(kernels, METHODS[method]).plan
    known = set(inspect.signature(make).parameters)
    given = {name: value for name, value in given.items() if value is not None}
    if strength != 1:
        given["strength"] = strength
    given |= options or {}
    for name, value in given.items():
        if name not in known:
            own = sorted(known - {"shape", "angle", "difference"})
            raise ValueError(f"{name}={value!r} is no parameter of method={method!r}; it takes {', '.join(own)}")
    try:
        alone = make(shape, angle=angle, **given)
    except (TypeError, ValueError) as error:
        if any(name in str(error) for name in given) or not given:
            raise
        # What Python says of values that no comparison or conversion takes.
        wrong = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise TypeError(f"method={method!r} does not take {wrong}: a value is of the wrong type ({error})") from error
    return alone, (make(shape, angle=angle, difference=True, **given) if "difference" in known else alone)


def stripes_of(frame: Any, method: str, plan: Any, weight: Any) -> Any:
    """Return the stripes of a float32 frame without NaN."""
    return getattr(kernels, METHODS[method]).stripes(frame, plan, weight)


def found_by(frame: Any, method: str, plan: Any, weight: Any) -> Any:
    """Return `stripes_of`, or None where the method tells that a frame has none."""
    kernel = getattr(kernels, METHODS[method])
    return getattr(kernel, "found", kernel.stripes)(frame, plan, weight)
