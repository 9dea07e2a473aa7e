"""Terms of polynomials in z, y and x: written out, or by degree."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

AXES = ("z", "y", "x")
_DEGREE = 2  # by default
_FACTOR = re.compile(r"([zyx])(?:(?:\*\*|\^)(\d+))?")


def powers(terms: str | None, degree: Any, cross: bool, axes: tuple[str, ...]) -> np.ndarray:
    """Return the exponents of z, y and x of each term, the constant first; int (terms, 3).

    Parameters
    ----------
    terms : str, optional
        Such as ``"1 + x + y + x*y + x**2 + z"``. The constant is added where it is missing.
    degree : int or mapping
        Total degree, or the largest power of each axis, ``{"y": 2, "x": 1}``.
    cross : bool
        Whether products of different axes are terms.
    axes : tuple of str
        Axes that there are.

    Raises
    ------
    ValueError
        Naming the term and what is allowed.
    """
    if not isinstance(cross, bool | np.bool_):
        raise TypeError(f"cross={cross!r} must be True or False")
    if terms is not None and (degree != _DEGREE or not cross):
        name, value = ("degree", degree) if degree != _DEGREE else ("cross", cross)
        raise ValueError(f"{name}={value!r} has no meaning where terms={terms!r} says which terms there are; give one")
    found = _written(terms, axes) if terms is not None else _by_degree(degree, cross, axes)
    found.add((0, 0, 0))
    return np.array(sorted(found), dtype=np.int64)


def name(exponents: Any) -> str:
    """Return a term as text, such as ``"x*y**2"``."""
    parts = [
        axis if power == 1 else f"{axis}**{power}"
        for axis, power in zip(reversed(AXES), reversed([int(p) for p in exponents]), strict=True)
        if power
    ]
    return "*".join(parts) or "1"


def _written(terms: Any, axes: tuple[str, ...]) -> set[tuple[int, ...]]:
    if not isinstance(terms, str) or not terms.strip():
        raise ValueError(f"terms={terms!r} must be a sum of terms, such as '1 + x + y + x*y'")
    found = set()
    for term in terms.replace(" ", "").split("+"):
        exponents = dict.fromkeys(AXES, 0)
        for factor in [] if term == "1" else re.split(r"(?<!\*)\*(?!\*)", term):
            match = _FACTOR.fullmatch(factor)
            if match is None:
                raise ValueError(
                    f"terms={terms!r}: {term!r} is not a product of powers of x, y and z, such as 'x', 'x*y' or 'x**2'"
                )
            if match[1] not in axes:
                raise ValueError(f"terms={terms!r}: {term!r} needs {match[1]!r}, but the fit has the axes {axes}")
            exponents[match[1]] += int(match[2] or 1)
        found.add(tuple(exponents.values()))
    return found


def _by_degree(degree: Any, cross: bool, axes: tuple[str, ...]) -> set[tuple[int, ...]]:
    limits = dict(degree) if isinstance(degree, Mapping) else dict.fromkeys(axes, degree)
    for axis, power in limits.items():
        if axis not in axes:
            raise ValueError(f"degree={degree!r}: {axis!r} is not among the axes {axes} of the fit")
        if isinstance(power, bool) or not isinstance(power, int | np.integer) or not 0 <= power <= 9:
            raise ValueError(f"degree={degree!r} must be a whole number from 0 to 9, or such a number for each axis")
    ranges = [range(int(limits.get(axis, 0)) + 1) for axis in AXES]
    total = None if isinstance(degree, Mapping) else int(degree)
    return {
        exponents
        for exponents in itertools.product(*ranges)
        if (total is None or sum(exponents) <= total) and (cross or sum(power > 0 for power in exponents) <= 1)
    }
