"""The main job on real FIB-SEM tissue, where the volumes are at hand.

They are looked for in the folder that STACK3D_TEST_DATA names, and in `shared/data` beside the clone.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

import stack3d

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("STACK3D_TEST_DATA", ROOT.parent / "shared" / "data"))
FIB25 = DATA / "fib25" / "sample1"
needs_tissue = pytest.mark.skipif(not FIB25.is_dir(), reason="the fib25 volume is not here")


def benchmark():
    spec = importlib.util.spec_from_file_location("real_tissue", ROOT / "benchmarks" / "real_tissue.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_tissue
def test_the_error_against_the_truth_never_rises_and_the_result_replays(tmp_path):
    errors = benchmark().run(FIB25, tmp_path, seed=0)
    steps = [errors[name] for name in ("raw", "crop", "match_histograms", "register", "resample")]
    for before, after in itertools.pairwise(steps):
        assert after <= before * (1 + 1e-9)
    assert errors["register"] < 0.45 * errors["raw"]
    assert errors["resample"] < 2.2 * errors["noise"]


@needs_tissue
def test_the_clean_volume_hardly_moves_apart_from_a_straight_line():
    side = stack3d.open_stack(FIB25, pixel_size=10).stack3d.crop(z=slice(0, 120), by="index")
    side = side.compute().stack3d.reslice(axis="y").isel(z=slice(0, 60))
    estimate = side.stack3d.estimate_transforms()
    for dim in ("y", "x"):
        shift = estimate[f"shift_{dim}"].values / 10
        index = np.arange(shift.size)
        bent = shift - np.polyval(np.polyfit(index, shift, 1), index)
        assert bent.std() < 0.3
        assert np.diff(shift).std() < 0.06


@needs_tissue
def test_a_folder_of_frames_opens_lazily_with_its_slice_numbers():
    da = stack3d.open_stack(FIB25, pixel_size="10 nm")
    assert da.sizes == {"z": 250, "y": 250, "x": 250}
    assert da.chunks is not None
    assert da.slice_number.values[[0, -1]].tolist() == [2600, 2849]


@pytest.mark.skipif(not (DATA / "sem_tiff").is_dir(), reason="the vendor images are not here")
def test_vendor_images_open_calibrated_with_their_metadata():
    for path in sorted((DATA / "sem_tiff").glob("*.tif")):
        da = stack3d.open_stack(path)
        assert da.stack3d.pixel_size.units == "nm"
        assert da.stack3d.pixel_size.x > 0
        assert "accelerating_voltage" in da.stack3d.metadata


@needs_tissue
@pytest.mark.parametrize("length", [60, 20])
def test_no_slice_of_a_part_of_an_undamaged_volume_is_called_bad_at_its_ends_neither(length):
    volume = stack3d.open_stack(FIB25, pixel_size=10)[:, :160, :160].load()
    for start in (0, 70, 140):
        part = volume.isel(z=slice(start, start + length))
        assert part.stack3d.find_bad_slices()["valid"].values.all()
