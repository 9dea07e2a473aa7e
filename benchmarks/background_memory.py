"""Memory and time that an estimate of the background takes, of a lazy stack that is made as it is read.

    python benchmarks/background_memory.py [SLICES] [SIDE] [--per slice] [--method gaussian]

Prints by how much the resident memory of the process grows at its peak, after a first estimate of one block.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import dask.array
import numpy as np
import xarray as xr

import stack3d

BLOCK = 50


def lazy_stack(slices: int, side: int) -> xr.DataArray:
    def block(block_info: Any = None) -> np.ndarray:
        found = block_info[None]
        rng = np.random.default_rng(found["array-location"][0])
        return np.stack([rng.integers(9000, 11000, (side, side), dtype=np.uint16) for _ in range(BLOCK)])

    chunks = ((BLOCK,) * (slices // BLOCK), (side,), (side,))
    return stack3d.from_array(dask.array.map_blocks(block, chunks=chunks, dtype="uint16"), pixel_size=(10, 5, 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slices", type=int, nargs="?", default=10000)
    parser.add_argument("side", type=int, nargs="?", default=64)
    parser.add_argument("--per", default="stack")
    parser.add_argument("--method", default="polynomial")
    given = parser.parse_args()
    arguments = {"per": given.per, "method": given.method}
    with stack3d.set_options(workers=1, progress=False):
        lazy_stack(BLOCK, given.side).stack3d.estimate_background(**arguments)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        lazy_stack(given.slices, given.side).stack3d.estimate_background(**arguments)
        taken = time.perf_counter() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = given.slices * given.side**2 * 2 / 1e6
    print(
        f"{given.slices} slices of {given.side}^2 ({size:.0f} MB), {arguments}: {grown / 1e3:.0f} MB more, {taken:.0f} s"
    )


if __name__ == "__main__":
    main()
