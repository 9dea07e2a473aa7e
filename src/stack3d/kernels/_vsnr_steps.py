"""The minimum that VSNR looks for, of one frame in the memory of the processor: :mod:`stack3d.kernels._vsnr_descent`, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stack3d.kernels import _vsnr_descent as descent
from stack3d.kernels import _vsnr_step_loops as loops


def minimum(
    slope: Callable[[Any, int], tuple[Any, float, float]],
    psi: Any,
    laplacian: Any,
    across: descent.Transform,
    scale: float,
    *,
    warm: tuple[int, int],
    iterations: int,
    tol: float,
) -> tuple[Any, bool]:
    """Return the coefficients of the stripes of a frame, (lines, x), and whether too much is flat for them to hold.

    Parameters
    ----------
    slope : callable
        Of coefficients, and of how many blocks of rows one is looked at: what `_vsnr_descent.Slope` holds, of this frame.
    psi, laplacian : (lines, frequencies) float32 array
    across, scale, warm, iterations, tol
        See `_vsnr_descent.minimum`.
    """
    if across.parts == 2:
        psi, laplacian = np.repeat(psi, 2, axis=-1), np.repeat(laplacian, 2, axis=-1)
    twice = np.repeat(across.twice, across.parts)
    steps, state = _Steps(psi, laplacian, twice), np.zeros(psi.size, np.float32)
    coefficients, flat, doubt, going = across.back(np.zeros_like(psi)), False, False, True
    for every, passes in (warm[::-1], (1, iterations)):
        steps.forget()
        going = True
        for turn in range(passes):
            lines, size, curvature = slope(coefficients, every)
            bent = curvature * scale
            doubt |= bent > descent._FLAT
            if bent > descent._VERY_FLAT or (doubt and every == 1 and turn >= descent._SOON):
                return coefficients, True
            made = steps.after(state, across.forth(lines), size, curvature)
            flat = doubt and steps.rose
            before, coefficients = coefficients, across.back(made)
            if flat:
                return coefficients, True
            if every == 1 and tol:
                change, largest = loops.changed(coefficients, before, across.step)
                going = change > tol * largest
                if not going:
                    break
    return coefficients, doubt and going


class _Steps:
    """The steps so far: what the next is made of."""

    def __init__(self, psi: Any, laplacian: Any, twice: Any) -> None:
        self.shape = psi.shape
        self.psi = np.ascontiguousarray(psi, dtype=np.float32).ravel()
        self.bent = np.ascontiguousarray(psi * laplacian, dtype=np.float32).ravel()
        self.energy = np.ascontiguousarray(psi * twice, dtype=np.float32).ravel()
        kept = descent._DEPTH - 1
        self.last, self.moves, self.lengths = (
            np.zeros((*shape, self.psi.size), np.float32) for shape in ((3,), (2, kept), ())
        )
        self.square, self.numbers = np.zeros((kept, kept)), np.zeros(6)

    @property
    def rose(self) -> bool:
        """Whether the last step led up."""
        return bool(self.numbers[loops.ROSE])

    def forget(self) -> None:
        """Begin anew."""
        self.numbers[:] = 0
        self.numbers[loops.SHARP], self.numbers[loops.VALUE] = 1, np.inf

    def after(self, state: Any, lines: Any, size: float, curvature: float) -> Any:
        """Replace the state by the next; return it times the power of the filters. `lines` does not outlive this."""
        made = np.empty(self.psi.size, np.float32)
        loops.step(
            lines.ravel(), size, curvature, self.psi, self.bent, self.energy, self.lengths, state, self.last,
            self.moves, self.square, self.numbers, descent._SLACK, descent._SHARP, descent._DAMPED, made,
        )  # fmt: skip
        return made.reshape(self.shape)
