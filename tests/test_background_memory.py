"""What an estimate of the background holds: numbers of cells, never frames."""

from __future__ import annotations

import tracemalloc

import dask.array
import numpy as np
import pytest

import stack3d

BLOCK = 5


def lazy_stack(slices: int, side: int):
    """Return a stack that is made as it is read."""

    def block(block_info=None):
        found = block_info[None]
        rng = np.random.default_rng(found["array-location"][0])
        return rng.integers(9000, 11000, found["chunk-shape"], dtype=np.uint16)

    blocks = dask.array.map_blocks(block, chunks=((BLOCK,) * (slices // BLOCK), (side,), (side,)), dtype="uint16")
    return stack3d.from_array(blocks, pixel_size=(10, 5, 5))


def peak(slices: int, side: int, **arguments) -> int:
    """Return the most memory in bytes that an estimate holds at once."""
    lazy_stack(BLOCK, 64).stack3d.estimate_background(**arguments)  # what is imported and compiled
    da = lazy_stack(slices, side)
    with stack3d.set_options(workers=1, progress=False):
        tracemalloc.start()
        try:
            da.stack3d.estimate_background(**arguments)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("arguments", [{}, {"per": "slice", "degree": 1}, {"method": "gaussian"}], ids=str)
def test_memory_does_not_grow_with_the_size_of_frames(arguments):
    small, large = peak(60, 64, **arguments), peak(60, 320, **arguments)
    # The frames in work are a block as it is read and a frame in float64; the stack is twelve blocks.
    block = BLOCK * 320**2 * 2
    assert large - small < 2.5 * block


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_slices():
    # Beyond 2048 slices cells become larger, so that not more of them are held.
    few, many = peak(2000, 48), peak(8000, 48)
    assert many < 1.25 * few
