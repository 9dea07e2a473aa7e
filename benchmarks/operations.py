"""Time of every operation per frame, in memory and through dask, with the first call of a process apart.

    python benchmarks/operations.py [--side 1024] [--frames 16] [--workers 1]

Prints milliseconds a frame and per megapixel: the first call (which compiles what numba has not cached) and the median
of later ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import xarray as xr

import stack3d

OPERATIONS: dict[str, Callable[[xr.DataArray], object]] = {
    "slice_statistics": lambda s: s.stack3d.slice_statistics(),
    "invert": lambda s: s.stack3d.invert(),
    "bin y=2 x=2": lambda s: s.stack3d.bin(),
    "bin z=2 y=2 x=2": lambda s: s.stack3d.bin(z=2),
    "estimate_histogram": lambda s: s.stack3d.estimate_histogram(),
    "match_histograms": lambda s: s.stack3d.match_histograms(),
    "estimate_levels": lambda s: s.stack3d.estimate_levels(),
    "level_slices": lambda s: s.stack3d.level_slices(),
    "rescale_intensity to uint8": lambda s: s.stack3d.rescale_intensity(dtype="uint8"),
    "estimate_transforms": lambda s: s.stack3d.estimate_transforms(),
    "register": lambda s: s.stack3d.register(),
    "resample dz, linear": lambda s: s.stack3d.resample(dz=7.0),
    "resample dz, cubic": lambda s: s.stack3d.resample(dz=7.0, method="cubic"),
    "resample dz, area": lambda s: s.stack3d.resample(dz=25.0),
    "resample dy dx, linear": lambda s: s.stack3d.resample(dy=4.0, dx=4.0),
}


def texture(frames: int, side: int) -> xr.DataArray:
    made = stack3d.synthetic.make_stack((frames, side, side), defects={"drift": 0.5, "noise": True}, lazy=False)
    return made.stack


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    da = texture(arguments.frames, arguments.side)
    megapixels = da.size / 1e6
    with stack3d.set_options(workers=arguments.workers, progress=False):
        print(
            f"{arguments.frames} frames of {arguments.side} x {arguments.side} {da.dtype}, {arguments.workers} thread(s)"
        )
        print(f"{'operation':<30}{'first / ms':>12}{'ms / frame':>12}{'ms / MP':>10}")
        for name, operation in OPERATIONS.items():
            first = seconds(lambda: operation(da.isel(z=slice(0, 3))))
            later = float(np.median([seconds(lambda: operation(da)) for _ in range(arguments.repeats)]))
            print(
                f"{name:<30}{1e3 * first:>12.0f}{1e3 * later / arguments.frames:>12.2f}{1e3 * later / megapixels:>10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
