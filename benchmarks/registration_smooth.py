"""How smooth frames may be for ``register(method="phase")``: a jump of 4 pixels in frames without fine texture.

    python benchmarks/registration_smooth.py [--method phase]

Gaussian noise, smoothed with sigma, is moved by exactly 4 pixels from the sixth of eight slices on, and noise is added
(its standard deviation over that of the frame). Printed is the jump that is found, `refused` where slices are not tied.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import xarray as xr
from scipy import ndimage

import stack3d

JUMP, SLICES = 4, 8
NOISES = (0, 0.01, 0.04, 0.2)


def stack(size: int, sigma: float, noise: float) -> xr.DataArray:
    """Return the frames, cut out of a wider one."""
    rng = np.random.default_rng(0)
    wide = ndimage.gaussian_filter(rng.normal(size=(size + 60, size + 60)), sigma)
    wide /= wide.std()
    frames = []
    for k in range(SLICES):
        left = 30 - (JUMP if k >= 5 else 0)
        frame = wide[30 : 30 + size, left : left + size]
        frames.append(1000 * (frame + noise * rng.normal(size=frame.shape)) + 5000)
    return stack3d.from_array(np.array(frames, np.float32), pixel_size=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="phase")
    method = parser.parse_args().method
    print("| frame | sigma / px | " + " | ".join(f"noise {noise:g}" for noise in NOISES) + " |")
    print("|---|---|" + "---|" * len(NOISES))
    for size in (72, 128, 256, 512):
        for sigma in (1.5, 4, 8):
            cells = []
            for noise in NOISES:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", stack3d.UntiedSliceWarning)
                    try:
                        shift = stack(size, sigma, noise).stack3d.estimate_transforms(method=method).shift_x
                        cells.append(f"{float(shift[-1] - shift[0]):.2f}")
                    except stack3d.UntiedSliceWarning:
                        cells.append("refused")
            print(f"| {size} | {sigma:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
