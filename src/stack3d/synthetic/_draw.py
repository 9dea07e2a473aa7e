"""What is drawn at random for a slice: generators of its own for each subject, and polynomial backgrounds."""

from __future__ import annotations

import numpy as np

_SUBJECTS = (
    "drift", "jumps", "rotation", "bad_slices", "gain", "offset", "background", "stripes", "hot_pixels",
    "noise", "uneven_z", "specimen", "damage", "curtains",
)  # fmt: skip
# Births before the first slice have negative indices, which a seed must not.
_BEFORE = 1 << 20


def generator(seed: int, subject: str, k: int = 0) -> np.random.Generator:
    """Return the random generator of one subject in one slice."""
    key = np.random.SeedSequence(seed, spawn_key=(_SUBJECTS.index(subject), k + _BEFORE))
    return np.random.Generator(np.random.SFC64(key))


def polynomial(seed: int, k: int, degree: int, shape: tuple[int, int], z: float | None) -> np.ndarray:
    """Return a polynomial over the frame, (y, x) float32, peak to peak 1 over the volume.

    Its total degree is at most `degree` in coordinates that go from -1 to 1; `z` is None for one without z.
    """
    terms = [
        (a, b, c)
        for a in range(degree + 1)
        for b in range(degree + 1 - a)
        for c in range(degree + 1 - a - b if z is not None else 1)
        if a + b + c
    ]
    if not terms:
        return np.zeros(shape, np.float32)
    weights = generator(seed, "background", k).uniform(-1, 1, len(terms))
    t = np.linspace(-1, 1, 33)
    heights = t if z is not None else np.zeros(1)
    tables = [_table(terms, weights, degree, height) for height in heights]
    powers = t[:, None] ** np.arange(degree + 1)
    whole = np.stack([powers @ table @ powers.T for table in tables])
    table = _table(terms, weights, degree, z or 0.0)
    table[0, 0] -= whole.mean()
    y, x = (np.linspace(-1, 1, size)[:, None] ** np.arange(degree + 1) for size in shape)
    return np.asarray((y @ table / np.ptp(whole)).astype(np.float32) @ x.T.astype(np.float32))


def _table(terms: list[tuple[int, int, int]], weights: np.ndarray, degree: int, z: float) -> np.ndarray:
    """Return the factors of ``y**a * x**b`` at one height."""
    table = np.zeros((degree + 1, degree + 1))
    for (a, b, c), weight in zip(terms, weights, strict=True):
        table[a, b] += weight * z**c
    return table
