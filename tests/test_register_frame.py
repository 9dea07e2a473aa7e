"""The frame of what was registered: every pixel shows the specimen where its coordinates say, in every case."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

import stack3d

SHIFT = np.array([[0, 0], [2.25, -3.5], [-4.0, 1.75], [1.5, 5.0]])  # pixels, [y, x]


def specimen(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 1000 + 200 * np.sin(y / 40)[:, None] * np.cos(x / 35) + 100 * np.cos(y / 60)[:, None]


def shaken(dtype=np.float32) -> tuple[xr.DataArray, xr.Dataset]:
    y, x = 100 + 5.0 * np.arange(60), -50 + 4.0 * np.arange(70)
    frames = np.stack([specimen(y - 5 * dy, x - 4 * dx) for dy, dx in SHIFT]).astype(dtype)
    da = stack3d.from_array(frames, pixel_size=(10, 5, 4))
    da = da.assign_coords(y=("y", y, da.y.attrs), x=("x", x, da.x.attrs))
    return da, stack3d.transforms.from_shifts(da, *SHIFT.T, units="px")


LIMIT = {0: 28.2, 1: 1.5, 3: 0.1, "lanczos": 0.8}  # nearest: the slopes of the specimen times half a pixel
FRAMES = list(itertools.product(["same", "union"], ["none", "common", 0.5]))


@pytest.mark.parametrize("fill", ["edge", "reflect", "constant", "nan"])
@pytest.mark.parametrize(("canvas", "crop"), FRAMES)
@pytest.mark.parametrize("order", [0, 1, 3, "lanczos"])
def test_pixels_show_what_lies_at_their_coordinates(order, canvas, crop, fill):
    da, known = shaken()
    found = da.stack3d.apply_transforms(estimate=known, order=order, canvas=canvas, crop=crop, fill=fill)
    assert found.stack3d.pixel_size == da.stack3d.pixel_size
    expected = specimen(found["y"].values, found["x"].values)
    for k, (dy, dx) in enumerate(SHIFT):
        # How far pixels lie inside the raw frame, in pixels; the kernels reach three.
        rows = (found["y"].values - 100) / 5 + dy
        cols = (found["x"].values + 50) / 4 + dx
        depth_y, depth_x = np.minimum(rows, 59 - rows), np.minimum(cols, 69 - cols)
        inner = np.ix_(depth_y >= 3, depth_x >= 3)
        assert inner[0].size > 40
        assert np.abs(found.values[k] - expected)[inner].max() < LIMIT[order]
        outside = (depth_y < -0.51)[:, None] | (depth_x < -0.51)
        if crop == "common":
            assert not outside.any()
        elif fill in ("constant", "nan"):
            assert np.isnan(found.values[k][outside]).all()
        else:
            assert np.isfinite(found.values[k]).all()
        if fill == "reflect" and crop == "none":
            near = (depth_y < -0.51) & (depth_y > -2.6)
            mirrored = np.where(rows < 0, -1 - rows, 119 - rows)[near]
            there = specimen(100 + 5 * (mirrored - dy), found["x"].values)
            error = np.abs(found.values[k][near] - there)[:, depth_x >= 3]
            assert error.max(initial=0) < 15  # a mirrored frame has a crease, which no kernel follows


@pytest.mark.parametrize(("canvas", "crop"), FRAMES)
def test_whole_pixels_are_copied_to_their_nearest_place(canvas, crop):
    da, known = shaken(np.uint16)
    found = da.stack3d.apply_transforms(
        estimate=known, integer=True, canvas=canvas, crop=crop, fill="constant", value=7
    )
    for k, (dy, dx) in enumerate(np.rint(SHIFT)):
        there = found[k].reindex(y=da["y"] - 5 * dy, x=da["x"] - 4 * dx, method="nearest", tolerance=1e-6, fill_value=0)
        seen = there.values != 0
        assert seen.sum() > 40 * 40
        np.testing.assert_array_equal(there.values[seen], da.values[k][seen])
        if canvas == "union" and crop == "none":
            assert seen.all()
            assert (found[k].values == 7).sum() == found[k].size - da[k].size


def test_transforms_of_the_whole_fit_binned_and_cropped_stacks_and_labels():
    da, known = shaken()
    for part in (
        da.stack3d.bin(y=2, x=2),
        da.stack3d.crop(y=slice(7, 50), x=slice(9, 64), z=slice(1, 4), by="index"),
        da.stack3d.bin(y=2, x=3).stack3d.crop(x=slice(2, 20), by="index"),
    ):
        found = part.stack3d.apply_transforms(estimate=known, crop="common")
        expected = specimen(found["y"].values, found["x"].values)
        inner = (slice(None), slice(3, -3), slice(3, -3))
        assert np.abs(found.values - expected)[inner].max() < 3  # what averaging over a pixel takes off
    labels = (da > 1000).astype(np.uint8) * 41
    moved = labels.stack3d.apply_transforms(estimate=known, order=0, crop="common")
    assert set(np.unique(moved)) == {0, 41}
    expected = specimen(moved["y"].values, moved["x"].values)
    clear = np.abs(expected - 1000) > 28.2
    np.testing.assert_array_equal(
        moved.values[:, clear], np.broadcast_to(41 * (expected > 1000), moved.shape)[:, clear]
    )
