"""What happens to every slice: the exact truth of all defects, and the image formed from them.

Each slice depends on the seed and its own index alone, so blocks, order and threads change nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stack3d.synthetic._draw import generator, polynomial

_PLACES_STEP = 16


class Volume(Protocol):
    """What defects are planted on."""

    levels: tuple[float, float]
    channels: int

    def frame(self, z: float, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the plane at `z` seen through the pull `matrix` (2, 3), as (channel, y, x) float32."""


def slice_positions(seed: int, count: int, dz: float, settings: dict[str, Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each slice, with gaps, and its true z."""
    if settings is None:
        numbers = np.arange(count)
        return numbers, dz * numbers.astype(np.float64)
    rng = generator(seed, "uneven_z")
    lost = rng.random(count) < settings["missing"]
    lost[0] = False
    numbers = np.arange(count) + np.cumsum(lost)
    jitter = np.clip(rng.standard_normal(count), -2.5, 2.5) * settings["jitter"]
    jitter[0] = 0.0
    # Neighbours stay in order, at least a tenth of a step apart.
    return numbers, dz * (numbers + np.clip(jitter, -0.45, 0.45))


def transforms(
    seed: int, count: int, settings: dict[str, dict[str, Any]], grain: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift (z, 2) in pixels (y, x), and the rotation (z,) in degrees; both zero in the first slice.

    Parameters
    ----------
    grain : float, optional
        Shifts are rounded to multiples of it.
    """
    shift, turn = np.zeros((count, 2)), np.zeros(count)
    if "drift" in settings:
        walk = generator(seed, "drift").standard_normal((count, 2)) * settings["drift"]["step"]
        walk[0] = 0.0
        shift += np.cumsum(walk, axis=0) + np.arange(count)[:, None] * np.asarray(settings["drift"]["trend"], float)
    if "jumps" in settings and count > 1:
        rng = generator(seed, "jumps")
        number = min(int(settings["jumps"]["count"]), count - 1)
        for k in rng.choice(np.arange(1, count), number, replace=False):
            angle = 2 * np.pi * rng.random()
            shift[k:] += settings["jumps"]["size"] * np.array([np.sin(angle), np.cos(angle)])
    if "rotation" in settings:
        walk = generator(seed, "rotation").standard_normal(count) * settings["rotation"]["step"]
        walk[0] = 0.0
        turn = np.cumsum(walk)
    if grain is not None:
        shift = np.round(shift / grain) * grain
    return shift, turn


def matrices(shift: np.ndarray, turn: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return (z, 3, 3): from aligned (x, y, 1) to raw pixels, turning about the centre of the frame."""
    cy, cx = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    out = np.zeros((len(turn), 3, 3))
    # Counter-clockwise on the screen, where y runs down.
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1], out[:, 2, 2] = cos, sin, -sin, cos, 1.0
    out[:, 0, 2] = cx + shift[:, 1] - cos * cx - sin * cy
    out[:, 1, 2] = cy + shift[:, 0] + sin * cx - cos * cy
    # A pure shift stays one to the last bit.
    still = turn == 0
    out[still, 0, 2], out[still, 1, 2] = shift[still, 1], shift[still, 0]
    return out


def bad_slices(seed: int, count: int, settings: dict[str, Any] | None) -> dict[int, str]:
    """Return the kind of each bad slice, by index; drawn ones are never neighbours, nor the first or the last."""
    if settings is None:
        return {}
    if settings["slices"] is not None:
        chosen = {int(k): str(kind) for k, kind in settings["slices"].items()}
        for k, kind in chosen.items():
            if not 0 <= k < count:
                raise ValueError(f"bad_slices['slices'] names slice {k}; the stack has slices 0 to {count - 1}")
            if k == 0 and kind == "duplicated":
                raise ValueError("bad_slices['slices'] makes slice 0 a duplicate; there is no slice before it")
        return dict(sorted(chosen.items()))
    kinds = (settings["kinds"],) if isinstance(settings["kinds"], str) else tuple(settings["kinds"])
    wanted = max(1, round(settings["fraction"] * count))
    rng = generator(seed, "bad_slices")
    found: dict[int, str] = {}
    for k in rng.permutation(np.arange(1, max(1, count - 1))):
        if len(found) == wanted:
            break
        if not {int(k) - 1, int(k) + 1} & found.keys():
            found[int(k)] = kinds[len(found) % len(kinds)]
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=128)
def _places(volume: Any, z: float, shape: tuple[int, int]) -> np.ndarray:
    """Return where curtains start in a plane, (n, 2) of (y, x): the darkest places and the steepest edges."""
    step = _PLACES_STEP
    matrix = np.array([[step, 0.0, 0.0], [0.0, step, 0.0]])
    small = volume.frame(z, matrix, ((shape[0] - 1) // step + 1, (shape[1] - 1) // step + 1))[0]
    steep = np.zeros_like(small)
    steep[1:] = np.abs(np.diff(small, axis=0))
    chosen = (small <= np.quantile(small, 0.08)) | (steep >= np.quantile(steep, 0.92))
    return np.argwhere(chosen).astype(np.float64) * step


@dataclass(frozen=True, eq=False)
class Plan:
    """A stack with all its defects, slice by slice.

    Attributes
    ----------
    settings : dict
        Parameters of the defects that are on.
    z, pull, turn : arrays
        Per slice: position, (3, 3) pull matrix from aligned to raw pixels, rotation.
    gain, offset : (channel, z) arrays
    vignetting : (y, x) array
    hot : tuple of arrays
        Rows, columns, values and sign (1 hot, -1 dark).
    bad : dict
        Kind of each bad slice.
    sigma, electrons : float
        Gaussian noise in grey levels; electrons per grey level, infinite without Poisson noise.
    """

    volume: Any
    seed: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    settings: dict[str, dict[str, Any]]
    z: np.ndarray
    pull: np.ndarray
    turn: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    vignetting: np.ndarray
    hot: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    bad: dict[int, str]
    sigma: float
    electrons: float

    @property
    def span(self) -> float:
        """White minus black, in grey levels."""
        return float(self.volume.levels[1] - self.volume.levels[0])

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest value that the detector gives."""
        if self.dtype.kind in "ui":
            return 0.0, float(np.iinfo(self.dtype).max)
        black, white = self.volume.levels
        return black - self.span, white + self.span

    def truth(self, k: int) -> np.ndarray:
        """Return the clean, aligned slice, (channel, y, x) float32."""
        return self.volume.frame(float(self.z[k]), np.eye(3)[:2], self.shape)  # type: ignore[no-any-return]

    def displaced(self, k: int) -> np.ndarray:
        """Return the clean slice where the microscope framed it."""
        pull = self.pull[k]
        inverse = np.linalg.inv(pull)[:2]
        if pull[0, 1] == 0 and pull[1, 0] == 0:
            inverse = np.array([[1.0, 0.0, -pull[0, 2]], [0.0, 1.0, -pull[1, 2]]])
        return self.volume.frame(float(self.z[k]), inverse, self.shape)  # type: ignore[no-any-return]

    def background(self, k: int) -> np.ndarray:
        """Return the background of a slice, (y, x) float32; slice 0 serves all when it is the same everywhere."""
        settings = self.settings.get("background")
        if settings is None:
            return np.zeros(self.shape, np.float32)
        kind, degree = settings["kind"], int(settings["degree"])
        z = (2 * (self.z[k] - self.z[0]) / (self.z[-1] - self.z[0]) - 1) if len(self.z) > 1 else 0.0
        scale = np.float32(settings["amount"] * self.span)
        out: np.ndarray = scale * polynomial(self.seed, 0, degree, self.shape, z if kind == "volume" else None)
        if kind == "slices":
            own = polynomial(self.seed, k + 1, degree, self.shape, None)
            out = np.float32(0.6) * out + np.float32(0.4) * scale * own
        return out

    def stripes(self, k: int) -> np.ndarray:
        """Return the stripes and curtains of a slice, (y, x) float32."""
        curtains = self.settings.get("curtains")
        if curtains is None:
            return self._lines(k)
        from stack3d.synthetic import _curtains

        def draws(slice: int) -> np.random.Generator:
            return generator(self.seed, "curtains", slice)

        out = _curtains.curtains(k, self.shape, curtains, draws)
        out *= np.float32(curtains["amount"] * self.span)
        out += self._lines(k)
        return out

    def _lines(self, k: int) -> np.ndarray:
        settings = self.settings.get("stripes")
        if settings is None or k % int(settings["every"]):
            return np.zeros(self.shape, np.float32)
        from stack3d.synthetic import _stripes

        if settings["kind"] == "gaussian":
            out = _stripes.correlated(self.shape, settings, generator(self.seed, "stripes", k))
        else:
            pull = self.pull[k]

            def starts(birth: int) -> np.ndarray:
                places = _places(self.volume, float(self.z[max(birth, 0)]), self.shape)
                points = pull[:2] @ np.stack([places[:, 1], places[:, 0], np.ones(len(places))])
                return np.asarray(points[::-1].T)

            def births(birth: int) -> np.random.Generator:
                return generator(self.seed, "stripes", birth)

            lines = _stripes.lines_of_slice(k, self.shape, settings, births, starts)
            out = _stripes.render_lines(self.shape, lines, settings["angle"])
        out *= np.float32(settings["amount"] * self.span)
        return out

    def image(self, k: int) -> np.ndarray:
        """Return the slice as acquired, (channel, y, x) in the dtype of the stack."""
        from stack3d.synthetic import _image

        kind = self.bad.get(k)
        if kind == "duplicated":
            return self.image(k - 1)
        black, white = self.volume.levels
        damage = generator(self.seed, "damage", k)
        high = self.limits[1]
        shape = (self.volume.channels, *self.shape)
        if kind == "blank":
            out = damage.standard_normal(shape, np.float32) * np.float32(0.004 * self.span) + np.float32(black)
            return _image.digitise(out, self.dtype, self.limits)
        if kind == "noise":
            out = damage.standard_normal(shape, np.float32) * np.float32(0.25 * self.span) + np.float32(
                (black + white) / 2
            )
            return _image.digitise(out, self.dtype, self.limits)
        out = self.displaced(k)
        if kind == "blurred":
            from scipy import ndimage

            for channel in out:
                ndimage.gaussian_filter(channel, 5.0, output=channel, mode="nearest")
        nothing = np.zeros((1, 1), np.float32)
        factor = self.vignetting if "vignetting" in self.settings else nothing + 1
        term = self.background(k) if "background" in self.settings else nothing
        stripes = self.stripes(k) if {"stripes", "curtains"} & self.settings.keys() else nothing
        for channel, gain, offset in zip(out, self.gain[:, k], self.offset[:, k], strict=True):
            _image.shade(channel, factor, term, stripes, np.float32(gain), np.float32(offset))
        if kind == "charged":
            y, x = np.ogrid[-1 : 1 : self.shape[0] * 1j, -1 : 1 : self.shape[1] * 1j]
            cy, cx = damage.uniform(-0.5, 0.5, 2)
            out += (2.5 * (high - black) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 0.5)).astype(np.float32)
        noise = generator(self.seed, "noise", k)
        if np.isfinite(self.electrons):
            _image.poisson(out, self.electrons, noise)
        if self.sigma:
            _image.gaussian(out, self.sigma, noise)
        rows, columns, values, _ = self.hot
        out[:, rows, columns] = values
        return _image.digitise(out, self.dtype, self.limits)


def make_plan(
    volume: Any,
    seed: int,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    settings: dict[str, dict[str, Any]],
    z: np.ndarray,
    shift: np.ndarray,
    turn: np.ndarray,
) -> Plan:
    """Draw what is fixed for the whole stack: gains, offsets, vignetting, hot pixels, bad slices."""
    count, span = len(z), volume.levels[1] - volume.levels[0]
    gain, offset = np.ones((volume.channels, count)), np.zeros((volume.channels, count))
    if "gain" in settings:
        rng = generator(seed, "gain")
        # Near 1 whatever is asked: a gain is never below a fifth.
        gain += np.clip(settings["gain"]["jitter"] * rng.standard_normal(gain.shape), -0.8, None)
        for _ in range(int(settings["gain"]["blocks"])):
            start, length = rng.integers(0, count), rng.integers(2, max(3, count // 6 + 2))
            gain[:, start : start + length] *= 1 + settings["gain"]["block_change"] * rng.choice([-1.0, 1.0])
    if "offset" in settings:
        offset += settings["offset"]["jitter"] * span * generator(seed, "offset").standard_normal(offset.shape)
    vignetting = np.ones(shape, np.float32)
    if "vignetting" in settings:
        y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])
        vignetting = (1 - settings["vignetting"]["amount"] * (y**2 + x**2) / 2).astype(np.float32)
    rows = columns = np.zeros(0, int)
    values, sign = np.zeros(0, np.float32), np.zeros(0, np.int8)
    if "hot_pixels" in settings:
        rng = generator(seed, "hot_pixels")
        number = round(settings["hot_pixels"]["fraction"] * shape[0] * shape[1])
        rows, columns = np.divmod(rng.choice(shape[0] * shape[1], number, replace=False), shape[1])
        sign = np.where(rng.random(number) < settings["hot_pixels"]["dark"], -1, 1).astype(np.int8)
        black, white = volume.levels
        bright, dark = white + span * rng.uniform(0.1, 0.5, number), black - 0.3 * span * rng.uniform(0.1, 0.5, number)
        values = np.where(sign > 0, bright, dark).astype(np.float32)
    sigma, electrons = 0.0, np.inf
    if "noise" in settings:
        sigma = float(settings["noise"]["gaussian"] * span)
        if settings["noise"]["electrons"] == "auto":
            electrons = 800 / span
        elif settings["noise"]["electrons"] is not None:
            electrons = float(settings["noise"]["electrons"])
    return Plan(
        volume=volume, seed=seed, shape=shape, dtype=dtype, settings=settings, z=z, pull=matrices(shift, turn, shape),
        turn=turn, gain=gain, offset=offset, vignetting=vignetting, hot=(rows, columns, values, sign),
        bad=bad_slices(seed, count, settings.get("bad_slices")), sigma=sigma, electrons=electrons,
    )  # fmt: skip
