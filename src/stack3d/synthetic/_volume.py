"""The specimen: a function of z, y and x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TEXTURES = ("tissue", "porous")
# Spacing of the lattices in pixels: two coarse and two small displacements, pores, middle and fine grain.
_SPACINGS = {"tissue": (60.0, 60.0, 14.0, 14.0, 75.0, 7.0, 2.2), "porous": (60.0, 60.0, 12.0, 12.0, 23.0, 9.0, 2.0)}
_CELL = {"tissue": 74.0, "porous": 58.0}
# How many times longer than wide the fields are along z, and last the cells: structures that lean at random drag the
# whole frame with them, and real tissue moves by a few hundredths of a pixel from slice to slice.
_RISES = {"tissue": (8.0, 8.0, 8.0, 8.0, 4.0, 4.0, 1.0, 3.5), "porous": (8.0, 8.0, 8.0, 8.0, 4.0, 2.0, 1.0, 3.5)}
_WARPS = {"tissue": (20.0, 2.2), "porous": (6.0, 0.8)}
# Greys in 0..1; one row a channel, used again with a change of contrast when there are more.
#   tissue: cytoplasm from, to; fine, middle grain; mitochondrion, its cristae; membrane; lumen; vesicle
#   porous: material A, B; fine, middle grain; pore, its floor; grain border; rim; spread between grains
_PALETTES = {
    "tissue": (
        (0.56, 0.76, 0.035, 0.035, 0.40, 0.10, 0.13, 0.86, 0.80),
        (0.50, 0.60, 0.045, 0.020, 0.28, 0.06, 0.72, 0.20, 0.36),
        (0.34, 0.62, 0.030, 0.050, 0.70, 0.12, 0.22, 0.12, 0.25),
    ),
    "porous": (
        (0.48, 0.74, 0.045, 0.030, 0.10, 0.20, 0.36, 0.14, 0.07),
        (0.62, 0.40, 0.040, 0.015, 0.16, 0.10, 0.50, 0.05, 0.20),
        (0.36, 0.58, 0.025, 0.035, 0.06, 0.28, 0.66, 0.22, 0.04),
    ),
}


@dataclass(frozen=True)
class Specimen:
    """A textured volume that can be evaluated anywhere.

    Parameters
    ----------
    seed : int
    texture : {"tissue", "porous"}
    scale : float
        Size of the structures relative to the default (cells of about 70 pixels).
    pixel : float
        Length of a pixel, by which z is divided: structures are about four times as long along z as along x.
    levels : tuple of float
        Grey values of black and white.
    channels : int
    """

    seed: int
    texture: str
    scale: float
    pixel: float
    levels: tuple[float, float]
    channels: int

    def palettes(self) -> np.ndarray:
        """Return the greys of each channel, (channel, 9)."""
        rows = np.array(_PALETTES[self.texture])
        out = rows[np.arange(self.channels) % len(rows)]
        # A fourth channel and on: the same materials at a lower contrast.
        fade = 0.7 ** (np.arange(self.channels) // len(rows))
        return np.asarray(out * fade[:, None], np.float32)

    def frame(self, z: float, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the plane at height `z`, (channel, y, x) float32.

        Parameters
        ----------
        z : float
            Height, in the unit of `pixel`.
        matrix : (2, 3) array
            Takes the pixel (x, y, 1) of the result to a point (x, y) of the specimen, in pixels.
        """
        from stack3d.synthetic import _lattice, _texture

        height, width = shape
        matrix = np.asarray(matrix, np.float64) / self.scale
        depth = z / self.pixel / self.scale
        # As far as the last tile reaches.
        bottom, right = height + _texture.TILE, width + _texture.TILE
        corners = matrix @ np.array([[0, right, 0, right], [0, 0, bottom, bottom], [1, 1, 1, 1]])
        (x0, y0), (x1, y1) = corners.min(axis=1), corners.max(axis=1)
        # Float32 positions are taken from a whole point near the frame, so that a far frame is as fine as a near one.
        base = np.array([np.floor(y0), np.floor(x0)])

        spacings, rises = _SPACINGS[self.texture], _RISES[self.texture]
        # Points per field; the margin covers the two rows beyond the last spline.
        patches, origins = [], np.zeros((7, 2), np.float32)
        for n, spacing in enumerate(spacings):
            first = np.floor(np.array([y0, x0]) / spacing).astype(int) - 2
            last = np.floor(np.array([y1, x1]) / spacing).astype(int) + 4
            rows, columns = last - first
            origins[n] = first - base / spacing
            seed = _sub_seed(self.seed, n)
            patches.append(_lattice.lattice(seed, depth / (spacing * rises[n]), first[0], first[1], rows, columns))
        size = _CELL[self.texture]
        reach = 6 * sum(_WARPS[self.texture])
        first = np.floor((np.array([y0, x0]) - reach) / size).astype(int) - 3
        last = np.floor((np.array([y1, x1]) + reach) / size).astype(int) + 5
        rows, columns = last - first
        seeds = _lattice.cells(_sub_seed(self.seed, 100), depth / rises[7], size, first[0], first[1], rows, columns)
        seeds[..., 0] -= base[0]
        seeds[..., 1] -= base[1]
        shifted = matrix - np.array([[0, 0, base[1]], [0, 0, base[0]]])
        out = np.empty((self.channels, height, width), np.float32)
        _texture.render(
            TEXTURES.index(self.texture), out, shifted, np.float32(size), seeds, first.astype(np.float64), base,
            self.palettes(),
            tuple(patches), origins, np.asarray(1 / np.array(spacings), np.float32),
            np.asarray(_WARPS[self.texture], np.float32),
        )  # fmt: skip
        black, white = self.levels
        out *= np.float32(white - black)
        out += np.float32(black)
        return out


def _sub_seed(seed: int, subject: int) -> Any:
    return np.int64(np.random.SeedSequence(seed, spawn_key=(subject,)).generate_state(1, np.uint64)[0] >> np.uint64(2))
