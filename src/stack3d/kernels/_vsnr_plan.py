"""What VSNR computes once for a shape of frame: filters, their spectra, the domain they live on."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels._shear import Shear, checked_angle, shear_of, spans
from stack3d.kernels._shear import covered as inside_of
from stack3d.kernels._stripe_power import MODES
from stack3d.kernels._vsnr_terms import ROWS, terms_of

_SHORT = 1e-4  # of the power of a filter: modes along the stripe with less are left out,
_FEEBLE = 1e-3  # or with less than this over the noise level, where that is given
_MOST_MODES = 40  # beyond, two transforms of the frame cost less
_LONG = 6.0  # pixels along a stripe from which on a filter passes few frequencies
_STRAIGHT = 0.25  # pixels that stripes may lean over a whole frame and still count as straight


class Filter(NamedTuple):
    """One kind of stripe: a Gaussian ``sigma`` = (across, along) turned by `angle`, a point, or a given pattern.

    Attributes
    ----------
    kind : {"gabor", "dirac", "pattern"}
    sigma : (float, float)
        Standard deviations across and along the stripe, in pixels; 0: any width or length, as measured in each frame.
    angle : float
        Degrees, counter-clockwise from the y axis as seen on the screen.
    noise_level : float or None
        In units of the gradient scale of the frame; None: measured in each frame.
    values : tuple of tuple of float
        The pattern.
    """

    kind: str = "gabor"
    sigma: tuple[float, float] = (1.0, 100.0)
    angle: float = 0.0
    noise_level: float | None = None
    values: tuple[tuple[float, ...], ...] = ()


class Plan(NamedTuple):
    """What `stripes` needs for frames of one shape; hashable, cheap: tables are made when first used, and kept."""

    shape: tuple[int, int]
    filters: tuple[Filter, ...]
    angle: float
    strength: float
    boundary: str
    max_iter: int | None
    tol: float | None
    difference: bool = False


class Domain(NamedTuple):
    """Where the problem is solved: the frame, transposed where stripes lie, sheared where they lean, or padded."""

    way: str  # "band": few modes along the stripe; "few", "full": two transforms of the frame an iteration
    shape: tuple[int, int]
    shear: Shear  # of "band"


def upright(angle: float) -> tuple[float, bool]:
    """Return the angle within 45 degrees of the y axis, and whether the frame must be transposed for it."""
    angle = (angle + 90.0) % 180.0 - 90.0
    if abs(angle) <= 45.0:
        return angle, False
    return (90.0 - angle + 90.0) % 180.0 - 90.0, True


@functools.lru_cache(maxsize=32)
def domain(plan: Plan) -> Domain:
    """Return where frames of this plan are treated."""
    angles = {(filter.angle + 90.0) % 180.0 - 90.0 for filter in plan.filters}
    long = all(filter.kind == "gabor" for filter in plan.filters)
    periodic = plan.boundary == "periodic"
    if long and len(angles) == 1:
        shear = shear_of(plan.shape, _straightened(angles.pop(), plan.shape), "lanczos")
        if shear.start is not None:
            # Beyond the sheared frame there is room for a size that is fast to transform.
            shear = shear._replace(upright=(shear.upright[0], _fast(shear.upright[1])))
        found = Domain("band", shear.upright, shear)
        fits = modes(plan, found) <= min(_MOST_MODES, shear.upright[0] // 2 + 1)
        if fits and not (periodic and shear.start is not None):
            return found
    shear = shear_of(plan.shape, 0.0)
    way = "few" if long and all(not filter.sigma[1] or filter.sigma[1] >= _LONG for filter in plan.filters) else "full"
    if periodic:
        return Domain(way, plan.shape, shear)
    reach = max(pad_of(filter) for filter in plan.filters)
    return Domain(way, tuple(_fast(n + min(reach, n)) for n in plan.shape), shear)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=8)
def covered(plan: Plan) -> np.ndarray:
    """Return 1 where the sheared frame lies, and 0 beyond."""
    out = inside_of(ends(plan), domain(plan).shear.upright[1])
    out.flags.writeable = False
    return out


@functools.lru_cache(maxsize=32)
def ends(plan: Plan) -> np.ndarray:
    """Return the first pixel of each row of the sheared frame, and the one after the last."""
    out = spans(domain(plan).shear)
    out.flags.writeable = False
    return out


def _straightened(angle: float, shape: tuple[int, int]) -> float:
    """Return the angle, or 0 or 90 where stripes stray from that by less than matters."""
    away, lying = upright(angle)
    strays = abs(math.tan(math.radians(away))) * shape[1 if lying else 0] >= _STRAIGHT
    return checked_angle(angle) if strays else (90.0 if lying else 0.0)


def pad_of(filter: Filter) -> int:
    """Return how many pixels beyond the edge a stripe of this kind needs before the frame may start again."""
    if filter.kind == "dirac":
        return 1
    if filter.kind == "pattern":
        return max(len(filter.values), len(filter.values[0]))
    return math.ceil(max(filter.sigma))


def _fast(n: int) -> int:
    return int(scipy.fft.next_fast_len(n, real=True))


def modes(plan: Plan, place: Domain) -> int:
    """Return how many frequencies along the stripe matter, the constant one included."""
    height, count = place.shape[0], 1
    for filter in plan.filters:
        level = plan.strength * (filter.noise_level or 0.0)
        least = float(np.clip(_FEEBLE / level, 1e-8, _SHORT)) if level else _SHORT
        if not filter.sigma[1]:
            count = max(count, min(MODES, height // 2 + 1))
            continue
        along = _line(height, filter.sigma[1], plan.boundary)
        count = max(count, int(np.flatnonzero(along >= least)[-1]) + 1)
    return count


def _line(count: int, sigma: float, boundary: str) -> np.ndarray:
    """Return the power of a Gaussian at the frequencies of a line, 1 at the lowest.

    Periodic lines: of the samples; reflecting lines: of an endless row of samples.
    """
    if not sigma:
        power = np.ones(count // 2 + 1 if boundary == "periodic" else count)
    elif boundary == "periodic":
        # As far from the centre as a frame reaches, whatever is cut off.
        place = count / 2 + 1 - np.arange(1, count + 1)
        power = np.abs(np.fft.rfft(np.exp(-0.5 * (place / sigma) ** 2))) ** 2
    else:
        omega = np.pi * np.arange(count) / count
        # Sampling folds what lies beyond half the sampling rate.
        folded = [np.exp(-0.5 * (sigma * (omega + 2 * np.pi * m)) ** 2) for m in range(-3, 4)]
        power = np.sum(folded, axis=0) ** 2
    return np.asarray(power / power[0])


class Band(NamedTuple):
    """Tables of the solution in few modes along the stripe.

    Attributes
    ----------
    basis : (rows, modes) float32
        Orthonormal: constant, then cosines (and sines, where the line is periodic).
    powers : (filters, modes, frequencies) float32
        Spectra of the filters, normalised; see `normalised`.
    laplacian : (modes, frequencies) float32
        Of the differences along both axes.
    omega : (frequencies,) float32
        Frequency across the stripe, radians a pixel.
    along : (modes, 1) float32
        Frequency along it.
    local, mix : arrays
        What makes blocks of rows from modes; see `_vsnr_terms.terms_of`.
    fastest : float
        Half waves of the fastest mode along a column.
    periodic : bool
    """

    basis: np.ndarray
    powers: np.ndarray
    laplacian: np.ndarray
    omega: np.ndarray
    along: np.ndarray
    local: np.ndarray
    mix: np.ndarray
    fastest: float
    periodic: bool


@functools.lru_cache(maxsize=8)
def band(plan: Plan) -> Band:
    """Return the tables for ``way="band"``."""
    place = domain(plan)
    height, width = place.shape
    count = modes(plan, place)
    periodic = plan.boundary == "periodic"
    basis, order = _basis(height, count, periodic)
    omega_y = (2 if periodic else 1) * np.pi * order / height
    omega_x = 2 * np.pi * np.arange(width // 2 + 1) / width if periodic else np.pi * np.arange(width) / width
    dy, dx = 4 * np.sin(omega_y / 2) ** 2, 4 * np.sin(omega_x / 2) ** 2
    every = (
        4
        * np.sin((2 if periodic else 1) * np.pi * np.arange(height // 2 + 1 if periodic else height) / height / 2) ** 2
    )
    powers = []
    for filter in plan.filters:
        along, over = _line(height, filter.sigma[1], plan.boundary), _line(width, filter.sigma[0], plan.boundary)
        largest = max(
            float(np.max(np.sqrt(dx) * over) * along.max()), float(np.max(np.sqrt(every) * along) * over.max())
        )
        powers.append(along[order][:, None] * over / largest)
    return _with_terms(
        basis,
        np.array(powers),
        dy[:, None] + dx,
        omega_x,
        omega_y[:, None],
        periodic,
    )


@functools.lru_cache(maxsize=32)
def cut(plan: Plan, used: tuple[int, ...]) -> Band:
    """Return the tables of some of the modes: those that the stripes of a frame have."""
    tables = band(plan)
    if len(used) == tables.basis.shape[1]:
        return tables
    some = np.array(used)
    return _with_terms(
        tables.basis[:, some],
        tables.powers[:, some],
        tables.laplacian[some],
        tables.omega,
        tables.along[some],
        tables.periodic,
    )


def _with_terms(basis: Any, powers: Any, laplacian: Any, omega: Any, along: Any, periodic: bool) -> Band:
    share = np.sqrt(np.max([power.max(axis=1) / power.max() for power in powers], axis=0))
    tables = (basis, powers, laplacian, omega, along)
    fastest = float(along.max() * len(basis) / np.pi)
    parts: list[Any] = [part.astype(np.float32) for part in tables]
    parts += [*terms_of(basis, share, ROWS, periodic), fastest, periodic]
    return Band(*parts)


def _basis(height: int, count: int, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the modes (rows, modes), and the frequency that each has."""
    row = np.arange(height)[:, None]
    if not periodic:
        order = np.arange(count)
        basis = np.cos(np.pi * (row + 0.5) * order / height) * math.sqrt(2 / height)
        basis[:, 0] = 1 / math.sqrt(height)
        return basis, order
    turn = 2 * np.pi * row * np.arange(1, count) / height
    waves = [np.full((height, 1), 1 / math.sqrt(height)), np.cos(turn) * math.sqrt(2 / height)]
    sines = np.sin(turn) * math.sqrt(2 / height)
    if 2 * (count - 1) == height:
        waves[1][:, -1] /= math.sqrt(2)
        sines = sines[:, :-1]
    basis = np.concatenate([*waves, sines], axis=1)
    return basis, np.concatenate([[0], np.arange(1, count), np.arange(1, sines.shape[1] + 1)])


class Full(NamedTuple):
    """Tables of the solution by transforms of the frame: as `Band`, but for all frequencies of half a plane.

    Attributes
    ----------
    powers : (filters, rows, frequencies) float32
    laplacian : (rows, frequencies) float32
    omega, along : tuple of (rows, frequencies) float32
        Across and along the stripes of each filter.
    """

    powers: np.ndarray
    laplacian: np.ndarray
    omega: tuple[np.ndarray, ...]
    along: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=4)
def full(plan: Plan) -> Full:
    """Return the tables for ``way="full"``."""
    height, width = domain(plan).shape
    omega_y = 2 * np.pi * np.fft.fftfreq(height)[:, None]
    omega_x = 2 * np.pi * np.fft.rfftfreq(width)
    dy, dx = (4 * np.sin(omega / 2) ** 2 for omega in (omega_y, omega_x))
    powers, omega, along = [], [], []
    for filter in plan.filters:
        power = _power(filter, (height, width))
        power /= max(float(np.max(np.sqrt(dx) * power)), float(np.max(np.sqrt(dy) * power)))
        turn = math.radians(filter.angle)
        powers.append(power.astype(np.float32))
        omega.append(abs(omega_x * math.cos(turn) - omega_y * math.sin(turn)).astype(np.float32))
        along.append(abs(omega_y * math.cos(turn) + omega_x * math.sin(turn)).astype(np.float32))
    return Full(np.array(powers), (dy + dx).astype(np.float32), tuple(omega), tuple(along))


def _power(filter: Filter, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    if filter.kind == "dirac":
        return np.ones((height, width // 2 + 1))
    if filter.kind == "pattern":
        values = np.zeros(shape)
        given = np.asarray(filter.values, float)
        values[: given.shape[0], : given.shape[1]] = given
        return np.asarray(np.abs(np.fft.rfft2(values)) ** 2)
    y = (height / 2 + 1 - np.arange(1, height + 1))[:, None]
    x = width / 2 + 1 - np.arange(1, width + 1)
    turn = math.radians(filter.angle)
    over, along = x * math.cos(turn) - y * math.sin(turn), y * math.cos(turn) + x * math.sin(turn)
    if not filter.sigma[0]:
        omega_y, omega_x = 2 * np.pi * np.fft.fftfreq(height)[:, None], 2 * np.pi * np.fft.rfftfreq(width)
        low = filter.sigma[1] * (omega_y * math.cos(turn) + omega_x * math.sin(turn))
        return np.asarray(np.exp(-(low**2)))
    wave = np.exp(-0.5 * ((over / filter.sigma[0]) ** 2 + (along / filter.sigma[1]) ** 2))
    return np.asarray(np.abs(np.fft.rfft2(wave)) ** 2)
