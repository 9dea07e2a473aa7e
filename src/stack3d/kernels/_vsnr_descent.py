"""The minimum that VSNR looks for, in frequencies: steps down its slope, each made of the last few.

What is minimised is the sum of the sizes of the gradients of image less stripes, and the energy of the weights. Sizes
are rounded off where they are far below the noise, which makes the sum smooth; stripes have so few degrees of freedom that its
curvature is an average over many pixels, the same in all directions and nearly the same everywhere, and a step of
Newton's with that average comes close. Anderson's extrapolation of these steps does the rest [1]_. A step that leads
up is taken back, and the curvature thought to be larger from then on.

References
----------
.. [1] H. F. Walker and P. Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 49, 1715
   (2011). doi:10.1137/10078356X
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels._namespace import namespace

SMOOTH = 0.01  # of the gradient scale: where sizes of gradients are rounded off
# Over the gradient scale: from this curvature on, some of the rest is flat, as in a vacuum, where the slope turns at once.
# Steps may lead down all the same: what has not arrived after a few, or goes up once, is left to splitting;
_FLAT = 3.0
_SOON = 8
_VERY_FLAT = 16.0  # from here on at once
SLOWER = 0.1  # of the tolerance, for splitting: it is farther from its limit than its last change says
_DEPTH = 8  # steps that are extrapolated
_SHARP = 3.0  # how much larger the curvature is thought to be after a step up
_SLACK = 2e-6  # of the minimum, which is rounding
_DAMPED = 1e-8  # of the mean square of the steps


class Slope(NamedTuple):
    """What a pass over frames finds.

    Attributes
    ----------
    lines : (frames, lines, x) float32 array
        Slope of the sum of the sizes of gradients with every coefficient of the stripes, downwards.
    size : (frames,) float64 array
        That sum.
    curvature : (frames,) float64 array
        Half the mean of one over these sizes.
    """

    lines: Any
    size: Any
    curvature: Any


class Transform(NamedTuple):
    """Frequencies across the stripe of lines of coefficients, orthonormal, and back."""

    forth: Callable[[Any], Any]
    back: Callable[[Any], Any]
    twice: Any  # how often each frequency counts
    parts: int  # 2 where frequencies are complex: real and imaginary parts side by side
    step: int = 1  # of every so many lines it is seen whether they still change


def transform(xp: Any, width: int, periodic: bool) -> Transform:
    """Return the transform along the last axis: cosines, or a real Fourier transform where lines are periodic."""
    if periodic:
        fft: Any = scipy.fft if xp is np else xp.fft
        twice = np.full(width // 2 + 1, 2, np.float32)
        twice[0] = 1
        if width % 2 == 0:
            twice[-1] = 1
        return Transform(
            lambda lines: real(fft.rfft(lines, norm="ortho")),
            lambda lines: fft.irfft(lines.view(np.complex64), n=width, norm="ortho").astype(np.float32, copy=False),
            xp.asarray(twice),
            2,
        )
    one = xp.ones(width, np.float32)
    if xp is np:
        return Transform(
            lambda lines: scipy.fft.dct(lines, norm="ortho"),
            lambda lines: scipy.fft.idct(lines, norm="ortho"),
            one,
            1,
        )
    return Transform(lambda lines: cosines(xp, lines), lambda lines: from_cosines(xp, lines), one, 1)


def real(values: Any) -> Any:
    """Return real and imaginary parts side by side."""
    xp = namespace(values)
    return xp.ascontiguousarray(values, dtype=np.complex64).view(np.float32)


def cosines(xp: Any, lines: Any) -> Any:
    """Return the orthonormal cosine transform (II): that of each line and its mirror image."""
    width = lines.shape[-1]
    turn, scale = _turned(xp, width)
    mirrored = xp.fft.rfft(xp.concatenate([lines, lines[..., ::-1]], axis=-1))[..., :width]
    return ((mirrored * turn).real * scale).astype(np.float32)


def from_cosines(xp: Any, lines: Any) -> Any:
    """Return the inverse of `cosines`."""
    width = lines.shape[-1]
    turn, scale = _turned(xp, width)
    half = xp.concatenate([lines / scale * turn.conj(), xp.zeros_like(lines[..., :1])], axis=-1)
    return xp.fft.irfft(half, n=2 * width)[..., :width].astype(np.float32)


def _turned(xp: Any, width: int) -> tuple[Any, Any]:
    turn = np.exp(-0.5j * np.pi * np.arange(width) / width)
    scale = np.full(width, np.sqrt(1 / (2 * width)))
    scale[0] = np.sqrt(1 / (4 * width))
    return xp.asarray(turn.astype(np.complex64)), xp.asarray(scale.astype(np.float32))


def minimum(
    slope: Callable[[Any, int], Slope],
    psi: Any,
    laplacian: Any,
    across: Transform,
    scale: Any,
    *,
    warm: tuple[int, int],
    iterations: int,
    tol: float,
) -> tuple[Any, Any]:
    """Return the coefficients of the stripes, (frames, lines, x), and of which frames too much is flat for them to hold.

    Parameters
    ----------
    slope : callable
        Of coefficients, and of how many blocks of rows one is looked at.
    psi : (frames, lines, frequencies) float32 array
        Power of the filters.
    laplacian : (lines, frequencies) float32 array
        Of the differences.
    across : Transform
    scale : (frames,) float64 array
        Of the gradients.
    warm : (int, int)
        Iterations before, with one block of so many.
    iterations : int
        At most.
    tol : float
        Stop when the largest change of a coefficient is at most this, relative to the largest; 0 for all iterations.
    """
    xp = namespace(psi)
    count = psi.shape[0]
    if across.parts == 2:
        psi, laplacian = (xp.repeat(part, 2, axis=-1) for part in (psi, laplacian))
    twice = xp.repeat(across.twice, across.parts)
    state, flat, doubt = xp.zeros(psi.shape, np.float32), xp.zeros(count, bool), xp.zeros(count, bool)
    coefficients = across.back(psi * state)
    for every, passes in (warm[::-1], (1, iterations)):
        steps = _Steps(xp, psi, laplacian, twice, across.forth)
        going = ~flat
        for turn in range(passes):
            found = slope(coefficients, every)
            doubt |= found.curvature * scale > _FLAT
            flat |= found.curvature * scale > _VERY_FLAT
            if every == 1:
                flat |= doubt & going & (turn >= _SOON)
            going &= ~flat
            if not bool(going.any()):
                break
            new = steps.after(state, found)
            flat |= doubt & steps.rose
            state = new if bool(going.all()) else xp.where(going[:, None, None], new, state)
            before, coefficients = coefficients, across.back(psi * state)
            if every == 1 and tol:
                here, there = coefficients[:, :: across.step], before[:, :: across.step]
                change, largest = (xp.max(abs(part), axis=(1, 2)) for part in (here - there, here))
                going &= change > tol * largest
                if not bool(going.any()):
                    break
    return coefficients, flat | (doubt & going)


class _Steps:
    """The steps so far, of each frame: what the next is made of."""

    def __init__(self, xp: Any, psi: Any, laplacian: Any, twice: Any, forth: Callable[[Any], Any]) -> None:
        self.xp, self.forth, self.psi = xp, forth, psi
        self.bent, self.energy = psi * laplacian, psi * twice
        self.sharp = xp.ones(psi.shape[0])
        self.rose = xp.zeros(psi.shape[0], bool)  # whether the last step led up
        self.last: tuple[Any, ...] = ()  # state, slope, value, curvature and step before
        self.moves: list[tuple[Any, Any]] = []
        self.square: Any = None  # of the turns with each other

    def after(self, state: Any, found: Slope) -> Any:
        """Return the next state: stripes are ``psi * state``."""
        xp = self.xp
        down, curvature = self.forth(found.lines) - state, found.curvature
        value = found.size + 0.5 * self._dot(self.energy * state, state)
        back: Any = False
        if self.last:
            at, slope, least, bent, _ = self.last
            back = self.rose = value > least * (1 + _SLACK)
            if bool(back.any()):
                self.sharp = xp.where(back, self.sharp * _SHARP, self.sharp)
                value, curvature = xp.where(back, least, value), xp.where(back, bent, curvature)
                state, down = (xp.where(back[:, None, None], *pair) for pair in ((at, state), (slope, down)))
        else:
            # Steps are measured as the energy would be that they change.
            self.weight = self.energy * (1 + _column(curvature) * self.bent)
        move = down / (1 + _column(self.sharp * curvature) * self.bent)
        if self.last:
            self._remember(state - self.last[0], move - self.last[4], back)
        self.last = (state, down, value, curvature, move)
        return state + move - self._extrapolated(move)

    def _remember(self, shift: Any, turn: Any, back: Any) -> None:
        xp = self.xp
        if len(self.moves) == _DEPTH - 1:
            self.moves, self.square = self.moves[1:], self.square[:, 1:, 1:]
        self.moves.append((shift + turn, turn))
        weighed = self.weight * turn
        row = xp.stack([self._dot(weighed, other) for _, other in self.moves], -1)
        count = len(self.moves)
        square = xp.zeros((len(row), count, count))
        if count > 1:
            square[:, :-1, :-1] = self.square
        square[:, -1], square[:, :, -1] = row, row
        self.square = square
        if bool(back.any()):
            # What came before a step up has no more say.
            self.moves = [tuple(xp.where(back[:, None, None], 0, part) for part in pair) for pair in self.moves]
            self.square = xp.where(back[:, None, None], 0, square)

    def _extrapolated(self, move: Any) -> Any:
        """Return what to take from the step, so that combined with those before it is shortest."""
        if not self.moves:
            return 0
        xp, weighed = self.xp, self.weight * move
        right = xp.stack([self._dot(weighed, turn) for _, turn in self.moves], -1)
        mean = xp.trace(self.square, axis1=-2, axis2=-1) / len(self.moves)
        square = self.square + (_DAMPED * mean + 1e-30)[:, None, None] * xp.eye(len(self.moves))
        shares = xp.linalg.solve(square, right[..., None]).astype(np.float32)
        return sum(shares[:, k, :, None] * both for k, (both, _) in enumerate(self.moves))

    def _dot(self, a: Any, b: Any) -> Any:
        return self.xp.sum(a * b, axis=(1, 2)).astype(np.float64)


def _column(values: Any) -> Any:
    return values.astype(np.float32)[:, None, None]
