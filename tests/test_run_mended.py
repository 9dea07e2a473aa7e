"""Slices that are mended or replaced while a run is not done: what holds is kept, and nothing else."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d import Recipe
from stack3d.io._frames import FrameError
from stack3d.runs import run_part
from stack3d.runs._step import Step

COUNT = 12
LOCAL = [("crop", {"y": slice(2, 62), "by": "index"}), ("resample", {"dz": "9 nm"})]
ESTIMATED = [LOCAL[0], "level_slices", LOCAL[1]]


def frame(k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, k]).integers(5000, 60000, (64, 72), dtype="uint16")


def put(path: Path, pixels: np.ndarray, age: int) -> None:
    """Write a slice whose time no other has."""
    tifffile.imwrite(path, pixels, compression="zlib")
    aged(path, age)


def aged(path: Path, age: int) -> None:
    os.utime(path, ns=(10**18 + age, 10**18 + age))


def truncate(path: Path, age: int) -> None:
    path.write_bytes(path.read_bytes()[:-2000])
    aged(path, age)


@pytest.fixture
def slices(tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    for k in range(COUNT):
        put(folder / f"slice_{k:03d}.tif", frame(k), k)
    return folder


def recipe_of(steps, slices):
    return Recipe(steps, input={"path": str(slices), "pixel_size": [10, 5, 5], "frames_per_block": 1})


def run(steps, slices, out):
    stack3d.run(recipe_of(steps, slices), out=out, scheduler="synchronous", report=False)


def fresh(steps, slices, out):
    run(steps, slices, out)
    return bytes_of(out)


def bytes_of(store: Path) -> dict[str, bytes]:
    # The header holds the time of each step.
    return {
        str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file() and f.name != "zarr.json"
    }


def times_of(store: Path) -> dict[str, int]:
    return {str(f.relative_to(store)): f.stat().st_mtime_ns for f in store.rglob("c.*")}


def unfinished(out: Path) -> Path:
    (store,) = Path(f"{out}.run/checkpoints").glob("*.unfinished")
    return store


def slice_file(slices: Path, k: int) -> Path:
    return slices / f"slice_{k:03d}.tif"


def test_blocks_that_never_saw_the_mended_slice_are_not_written_again(slices, tmp_path, caplog):
    out, bad = tmp_path / "clean.zarr", slice_file(slices, 8)
    whole = bad.read_bytes()
    truncate(bad, 100)
    with pytest.raises(FrameError, match="slice_008") as raised:
        run(LOCAL, slices, out)
    assert "it goes on there" in "".join(raised.value.__notes__)
    before = times_of(unfinished(out))
    assert len(before) >= 6
    bad.write_bytes(whole)
    aged(bad, 200)
    with caplog.at_level(logging.INFO, "stack3d"):
        run(LOCAL, slices, out)
    after = times_of(out)
    assert {name: after[name] for name in before} == before
    assert "1 file of the input changed" in caplog.text
    assert "slice_008.tif" in caplog.text
    assert f"{len(before)} blocks that used none of it are kept, 0 written again" in caplog.text
    assert bytes_of(out) == fresh(LOCAL, slices, tmp_path / "fresh.zarr")


def test_blocks_of_a_slice_that_was_replaced_after_its_use_are_written_again_and_no_others(slices, tmp_path):
    out = tmp_path / "clean.zarr"
    assert run_part(recipe_of(LOCAL, slices), (0, 2), out=out, scheduler="synchronous") is None
    before = times_of(unfinished(out))
    put(slice_file(slices, 3), frame(3, seed=1), 100)
    run(LOCAL, slices, out)
    after = times_of(out)
    kept = [name for name in before if after[name] == before[name]]
    # A slice at 9 nm lies between two at 10 nm: two, or three, of them used the one that was replaced.
    assert 2 <= len(before) - len(kept) <= 3
    assert len(kept) >= 3
    assert bytes_of(out) == fresh(LOCAL, slices, tmp_path / "fresh.zarr")


def test_a_slice_put_back_with_another_time_costs_no_more_than_the_estimates(slices, tmp_path):
    out, bad = tmp_path / "clean.zarr", slice_file(slices, 8)
    assert run_part(recipe_of(ESTIMATED, slices), (0, 2), out=out, scheduler="synchronous") is None
    before = times_of(unfinished(out))
    whole = bad.read_bytes()
    truncate(bad, 100)
    with pytest.raises(FrameError, match="slice_008"):
        run(ESTIMATED, slices, out)
    bad.write_bytes(whole)
    aged(bad, 200)
    run(ESTIMATED, slices, out)
    after = times_of(out)
    assert len(before) >= 4
    assert {name: after[name] for name in before} == before
    assert bytes_of(out) == fresh(ESTIMATED, slices, tmp_path / "fresh.zarr")


@pytest.mark.parametrize("replaced", [3, 5, 8, 11])
def test_an_estimate_that_comes_out_different_leaves_no_block(slices, tmp_path, replaced):
    out = tmp_path / "clean.zarr"
    assert run_part(recipe_of(ESTIMATED, slices), (0, 2), out=out, scheduler="synchronous") is None
    before = times_of(unfinished(out))
    put(slice_file(slices, replaced), frame(replaced, seed=1) // 2, 100)
    run(ESTIMATED, slices, out)
    after = times_of(out)
    assert all(after[name] != before[name] for name in before)
    assert bytes_of(out) == fresh(ESTIMATED, slices, tmp_path / "fresh.zarr")


def test_a_result_is_made_anew_when_a_slice_is_replaced_and_when_it_is_put_back(slices, tmp_path):
    out, path = tmp_path / "clean.zarr", slice_file(slices, 4)
    whole = path.read_bytes()
    run(LOCAL, slices, out)
    first = bytes_of(out)
    put(path, frame(4, seed=1), 100)
    run(LOCAL, slices, out)
    second = bytes_of(out)
    assert second == fresh(LOCAL, slices, tmp_path / "fresh.zarr")
    assert second != first
    path.write_bytes(whole)
    aged(path, 4)
    run(LOCAL, slices, out)
    assert bytes_of(out) == first


def test_another_recipe_takes_over_nothing(slices, tmp_path):
    out = tmp_path / "clean.zarr"
    assert run_part(recipe_of(LOCAL, slices), (0, 2), out=out, scheduler="synchronous") is None
    put(slice_file(slices, 8), frame(8, seed=1), 100)
    other = [("crop", {"y": slice(3, 63), "by": "index"}), LOCAL[1]]
    run(other, slices, out)
    assert bytes_of(out) == fresh(other, slices, tmp_path / "fresh.zarr")


def test_a_checkpoint_between_the_files_and_a_block_hides_what_it_used(slices, tmp_path):
    out = tmp_path / "clean.zarr"
    steps = [Step(*LOCAL[0], checkpoint=True), LOCAL[1]]
    # The checkpoint whole, and half of the result.
    for index in range(2):
        assert run_part(recipe_of(steps, slices), (index, 2), out=out, scheduler="synchronous") is None
    before = times_of(unfinished(out))
    assert before
    put(slice_file(slices, 8), frame(8, seed=1), 100)
    run(steps, slices, out)
    assert bytes_of(out) == fresh(LOCAL, slices, tmp_path / "fresh.zarr")
