"""Sums of the spectra of two volumes over shells of frequency: what Fourier shell correlation is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from stack3d.kernels import _rings_loops as loops
from stack3d.kernels._namespace import namespace, on_host
from stack3d.kernels.rings import ring_frequencies
from stack3d.kernels.spectrum import window


def transform(volume: Any, taper: float) -> tuple[Any, float]:
    """Return the half-space of the spectrum of a volume, and the share of its voxels that were measured.

    Each voxel is weighed by a cosine taper along each axis, and by zero where it is missing; the weighted mean goes
    first. Memory beyond the volume: one copy in float32 and the spectrum, of the same size.

    Parameters
    ----------
    volume : (z, y, x) array
        Numpy or cupy. Values that are not finite are missing.
    taper : float
        Share of each side that is tapered.

    Returns
    -------
    half : (z, y, x // 2 + 1) array of complex64
        All zero where the volume has no contrast.
    measured : float

    Examples
    --------
    >>> from stack3d.kernels import shells
    >>> half, measured = shells.transform(np.ones((4, 6, 8)), 0.0)
    >>> half.shape, measured, bool(half.any())
    ((4, 6, 5), 1.0, False)
    """
    xp = namespace(volume)
    along_z, along_y, along_x = (window(n, taper) for n in volume.shape)
    plane = xp.asarray(along_y)[:, None] * xp.asarray(along_x)[None, :]
    values = xp.empty(volume.shape, np.float32)
    kept = xp.empty(volume.shape, bool)
    weight = total = squares = 0.0
    for k, frame in enumerate(volume):
        wide = frame.astype(np.float64)
        kept[k] = xp.isfinite(wide)
        wide = xp.where(kept[k], wide, 0.0)
        part = xp.where(kept[k], plane * along_z[k], np.float32(0))
        weight += float(part.sum(dtype=np.float64))
        total += float((part * wide).sum())
    mean = total / weight if weight > 0 else 0.0
    for k, frame in enumerate(volume):
        centred = xp.where(kept[k], frame.astype(np.float64) - mean, 0.0)
        squares += float((centred**2).sum())
        values[k] = (plane * along_z[k]) * centred.astype(np.float32)
    measured = float(kept.mean())
    if not squares > 1e-20 * mean**2 * values.size:
        values[...] = 0
    del kept
    if xp is np:
        return scipy.fft.rfftn(values, overwrite_x=True, workers=1), measured
    return xp.fft.rfftn(values).astype(np.complex64), measured


def shell_sums(
    a: Any, b: Any, columns: int, spacing: tuple[float, float, float], *, parts: int = 1, offset: float = 0.0
) -> np.ndarray[Any, Any]:
    """Return the sums over shells of two half-spaces.

    Shells are as wide as the coarser of the steps of frequency along y and x, and go up to the lower of their Nyquist
    frequencies, by physical frequency: beyond the Nyquist frequency of z they are cut to what there is.

    Parameters
    ----------
    a, b : (z, y, columns // 2 + 1) array of complex
        Numpy or cupy.
    columns : int
        Of the volume.
    spacing : (float, float, float)
        Of its voxels along z, y and x, in one unit.
    parts : int
        Of elevation, equal from the plane of y and x (0 degrees) to the z axis (90 degrees).
    offset : float
        How much further along z, in the unit of the spacing, the first voxel of b lies than that of a. The plane at
        the Nyquist frequency of z is then left out.

    Returns
    -------
    (4, shells, parts) array of float64
        Of ``Re(a conj(b))``, ``|a|^2``, ``|b|^2`` and 1, over the whole space; on the host.
    """
    z, y, x, turn = _axes(a.shape, columns, spacing, offset)
    frequency = ring_frequencies((a.shape[1], columns), spacing[1:])
    if not frequency.size:
        return np.empty((4, 0, parts))
    if not on_host(a.real):
        return shell_sums_xp(a, b, columns, spacing, parts=parts, offset=offset)
    sums = loops.shell_sums(a, b, turn, z, y, x, frequency[0], frequency.size, parts, columns % 2 == 0)
    return np.asarray(sums).reshape(4, -1, parts)


def shell_sums_xp(
    a: Any, b: Any, columns: int, spacing: tuple[float, float, float], *, parts: int = 1, offset: float = 0.0
) -> np.ndarray[Any, Any]:
    """`xp` form of `shell_sums`."""
    xp = namespace(a)
    z, y, x, turn = _axes(a.shape, columns, spacing, offset)
    frequency = ring_frequencies((a.shape[1], columns), spacing[1:])
    weight = np.full(x.size, 2.0)
    weight[0] = 1
    if columns % 2 == 0:
        weight[-1] = 1
    weights = xp.broadcast_to(xp.asarray(weight), a.shape[1:])
    plane = xp.sqrt(xp.asarray(y)[:, None] ** 2 + xp.asarray(x)[None, :] ** 2)
    bins = frequency.size * parts
    sums = np.zeros((4, bins))
    for k in range(z.size):
        shell = xp.floor(xp.sqrt(plane**2 + z[k] ** 2) / frequency[0] + 0.5).astype(np.int64) - 1
        part = xp.minimum((xp.arctan2(xp.full_like(plane, abs(z[k])), plane) * (2 * parts / np.pi)), parts - 1)
        place = xp.where((shell >= 0) & (shell < frequency.size), shell * parts + part.astype(np.int64), bins).ravel()
        if turn[k] == 0:
            continue
        va, vb = a[k].astype(np.complex128), b[k].astype(np.complex128)
        terms = ((turn[k] * va * vb.conj()).real, abs(va) ** 2, abs(vb) ** 2, 1.0)
        for row, term in zip(sums, terms, strict=True):
            found = xp.bincount(place, (term * weights).ravel(), bins + 1)[:bins]
            row += found.get() if xp is not np else found
    return sums.reshape(4, -1, parts)


def _axes(shape: tuple[int, ...], columns: int, spacing: tuple[float, float, float], offset: float) -> Any:
    z = np.fft.fftfreq(shape[0], spacing[0])
    turn = np.exp(2j * np.pi * z * offset)
    if offset and shape[0] % 2 == 0:
        turn[shape[0] // 2] = 0  # at the Nyquist frequency a shift has no sign
    return z, np.fft.fftfreq(shape[1], spacing[1]), np.fft.rfftfreq(columns, spacing[2]), turn
