"""From prepared frames to an affine transform: Gauss-Newton steps, and the weights of the last of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from stack3d.kernels import _affine_loops as loops
from stack3d.kernels import _groups as groups
from stack3d.kernels import _phase_fit as fit
from stack3d.kernels import _phase_frame_loops as frame_loops
from stack3d.kernels import _phase_loops as phase_loops
from stack3d.kernels import phase
from stack3d.kernels._affine_plan import EDGE, TAILS, Geometry, Plan, centre, to_image
from stack3d.kernels._phase_plan import Tables, tables_of

PAD = 4  # pixels put round a residual, for the taps of places at its edge
CLIP = 6.0  # residual grey values beyond this many (mean-absolute) deviations are clipped
_HUBER = 2.5  # differences beyond this many mean-absolute differences are limited
_COARSE = 0.25  # correlation of the coarsest images below which turned starts are tried too
_TURNS = (-2.0, 2.0, -4.0, 4.0)  # degrees


class Prepared(NamedTuple):
    """What is kept of a frame.

    Attributes
    ----------
    spectrum : phase.Spectrum
        Whitened coefficients of the band, of nearly the whole frame.
    inner : phase.Spectrum
        The same within the window of the plan.
    residual : array
        The binned frame, freed of the mean and slope of its rows and columns and of outliers, float32; a few pixels
        mirrored at its edges are put round it.
    images : tuple of array
        Filtered images, float32, from coarse to fine.
    hessians : tuple of array
        (6, 6) for each image.
    """

    spectrum: phase.Spectrum
    inner: phase.Spectrum
    residual: np.ndarray[Any, Any]
    images: tuple[np.ndarray[Any, Any], ...]
    hessians: tuple[np.ndarray[Any, Any], ...]


class Match(NamedTuple):
    """State of the comparison of two images."""

    transform: np.ndarray[Any, Any]  # about the centre, in units of half the mean side
    gain: float
    share: float  # of the slopes of the first image that the second has too
    correlation: float
    scores: np.ndarray[Any, Any]
    normal: np.ndarray[Any, Any]


def transformed(residual: Any, window_y: Any, window_x: Any, tables: Tables) -> phase.Spectrum:
    tapered = residual.copy()
    frame_loops.taper(tapered, window_y, window_x, 2 * CLIP, 1.0)
    part = scipy.fft.rfft(tapered, tables.transformed[1], axis=1, workers=1)[:, : tables.columns]
    part = scipy.fft.fft(part, tables.transformed[0], axis=0, workers=1, overwrite_x=True)
    coefficients, power = frame_loops.gather(part, *tables.gathered)
    return phase.Spectrum(coefficients, power, True)


def image_of(
    spectrum: phase.Spectrum, weight: Any, grid: tuple[int, int], shape: tuple[int, int], tables: Tables
) -> np.ndarray[Any, Any]:
    """Image of the band with weighted cells, of deviation 1."""
    half = np.empty((grid[0], grid[1] // 2 + 1), np.complex64)
    t = tables
    phase_loops.coarse(
        spectrum.coefficients, np.asarray(weight, np.float32), t.cell, t.start, t.first, t.signed, t.kept, half
    )
    image = scipy.fft.irfft2(half, grid, workers=1, overwrite_x=True)[: shape[0], : shape[1]]
    spread = float(np.sqrt(np.mean(image * image)))
    return np.ascontiguousarray(image / np.float32(spread if spread > 0 else 1.0))


def follow(
    a: Any, b: Any, hessian: Any, start: np.ndarray[Any, Any], gain: float, steps: int, level: int, t: Geometry,
    tolerance: float, box: Any = None,
) -> Match:  # fmt: skip
    """Gauss-Newton steps between two images of one size, until they move the corners less than `tolerance` pixels."""
    box = t.boxes[level] if box is None else box
    to, area = to_image(t, level), (box[1] - box[0]) * (box[3] - box[2])
    back = np.linalg.inv(to)
    normal = t.columns.T @ hessian @ t.columns
    normal = normal + 1e-9 * np.trace(normal) * np.eye(len(normal))
    transform, limit = start, np.inf
    correlation, share, scores = 0.0, 1.0, np.zeros((loops.BLOCKS**2, loops.SCORES))
    for _ in range(steps):
        scores, used = loops.compare(
            a, b, to @ transform @ back, box, t.margins[level], t.frames[level], gain, limit, t.poly
        )
        total = scores.sum(axis=0)
        if not (used > 0.1 * area and total[7] > 0 and total[9] > 0):
            return Match(transform, 0.0, 1.0, 0.0, scores, normal)
        correlation = float(total[8] / math.sqrt(total[7] * total[9]))
        gain, limit = float(total[8] / total[7]), _HUBER * total[6] / used
        # noise makes the slopes of the first image steeper than what the frames have in common
        share = max(float(total[11] / total[10]), 0.02) * used / area
        step = np.linalg.solve(normal, t.columns.T @ total[:6]) / share
        length = float(np.abs(step).sum()) * to[0, 0]
        step *= min(1.0, 4.0 / max(length, 1e-300))
        algebra = np.zeros((3, 3))
        algebra[:2] = (t.columns @ step).reshape(2, 3)
        transform = transform @ groups.exponential(-algebra)
        if length < tolerance:
            break
    return Match(transform, gain, share, correlation, scores, normal)


def start(first: Prepared, second: Prepared, plan: Plan, guess: Any, t: Geometry) -> Match:
    """Best match of the coarsest images, from several starts."""
    found = phase.pair_shift(first.spectrum, second.spectrum, t.edge)
    unit = t.half * plan.spectrum.binning
    shift = np.eye(3)
    shift[:2, 2] = found.dx / unit, found.dy / unit
    starts = [shift]
    if guess is not None:
        starts.insert(0, groups.moved(guess, centre(plan), unit))
    if found.extra.refused:
        starts.append(np.eye(3))
    images = first.images[0], second.images[0], first.hessians[0]
    matches = [follow(*images, start, 0.5, 12, 0, t, 0.02) for start in starts]
    if max(match.correlation for match in matches) < _COARSE and len(t.columns.T) > 2:
        for turn in np.deg2rad(_TURNS):
            cos, across, down = np.cos(turn), np.sin(turn) * plan.aspect, np.sin(turn) / plan.aspect
            matrix = shift @ np.array([[cos, -across, 0], [down, cos, 0], [0, 0, 1]])
            matches.append(follow(*images, matrix, 0.5, 12, 0, t, 0.02))
    return max(matches, key=lambda match: match.correlation)


def judged(
    first: Prepared, second: Prepared, best: Match, plan: Plan, t: Geometry
) -> tuple[fit.PairShift, Any, np.ndarray[Any, Any]]:
    """Compare the spectra of the aligned frames: coherence, checks, the weights of the cells, the second moved."""
    tables = tables_of(plan.spectrum)
    to = to_image(t, len(t.sizes) - 1)
    matrix = to @ best.transform @ np.linalg.inv(to)
    matrix[:2, 2] += PAD
    moved = loops.warped(second.residual, matrix, PAD - 1, t.poly, *t.sizes[-1])
    other = transformed(moved, tables.window_y, tables.window_x, tables)
    machine = fit.CompiledSums(first.inner, other, tables)
    d = fit.refine(machine, np.zeros((1, 2)), tables, plan.spectrum)
    verdict = fit.judge(machine, d, first.inner, other, tables, plan.spectrum)
    _, weight, _ = fit.learn(machine, d, tables)
    return verdict, weight, moved


def overlap(transform: np.ndarray[Any, Any], t: Geometry) -> np.ndarray[Any, Any]:
    """Box (y0, y1, x0, x1) of the first image whose places all lie in the second, less the margins."""
    (height, width), to = t.sizes[-1], to_image(t, len(t.sizes) - 1)
    matrix = to @ transform @ np.linalg.inv(to)
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1.0]])
    move = (matrix @ corners.T)[:2].T - corners[:, :2]
    (left, top), (right, bottom) = np.maximum(-move.min(axis=0), 0), np.maximum(move.max(axis=0), 0)
    return t.boxes[-1] + np.array([np.ceil(top), -np.ceil(bottom), np.ceil(left), -np.ceil(right)]).astype(np.int64)


def weighed(residual: Any, weight: Any, box: Any, t: Geometry) -> np.ndarray[Any, Any]:
    """Image of a frame within a box, filtered with the weights of the cells."""
    edge, windows = tables_of(t.edge), []
    for axis, size in enumerate(t.sizes[-1]):
        taper = int(EDGE / 2 * size) + 1
        low, high = box[2 * axis] - TAILS - taper, box[2 * axis + 1] + TAILS + taper
        place = np.arange(size) + 0.5
        ramp = np.clip(np.minimum(place - low, high - place) / taper, 0, 1)
        windows.append((0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32))
    return image_of(
        transformed(residual, windows[0], windows[1], edge), np.sqrt(weight), t.grids[-1], t.sizes[-1], edge
    )
