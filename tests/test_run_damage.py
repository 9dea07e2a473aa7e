"""Files of a run that are gone or cut short: noticed by their sizes, and exactly what they held made again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import stack3d
from stack3d import Recipe
from stack3d.runs import _damage, _lock, _marks, _store, run_part
from stack3d.runs._step import Step

COUNT = 10
STEPS = [
    Step("denoise", {"method": "gaussian"}, True),
    Step("match_histograms", {"window": 3}),
    Step("resample", {"dz": "9 nm"}),
]
OTHER = [*STEPS[:2], Step("resample", {"dz": "8 nm"})]
PLAIN = [Step("crop", {"y": slice(2, 46), "by": "index"})]
WAYS = {
    "missing": Path.unlink,
    "short": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
}


def recipe_of(steps, slices):
    return Recipe(steps, input={"path": str(slices), "pixel_size": [10, 5, 5], "frames_per_block": 1})


def run(steps, slices, out, **more):
    return stack3d.run(recipe_of(steps, slices), out=out, scheduler="synchronous", report=False, **more)


def bytes_of(store: Path) -> dict[str, bytes]:
    # The header holds the time of each step.
    return {
        str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file() and f.name != "zarr.json"
    }


def times_of(store: Path) -> dict[str, int]:
    return {f.name: f.stat().st_mtime_ns for f in store.rglob("image/c.*")}


def rewritten(before: dict[str, int], store: Path) -> set[str]:
    after = times_of(store)
    assert after.keys() == before.keys()
    return {name for name in before if after[name] != before[name]}


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "slices"
    folder.mkdir()
    for k in range(COUNT):
        frame = np.random.default_rng([7, k]).integers(5000, 60000, (48, 56), dtype="uint16")
        tifffile.imwrite(folder / f"slice_{k:03d}.tif", frame)
    return folder


@pytest.fixture(scope="module")
def undisturbed(slices, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name, steps in (("steps", STEPS), ("other", OTHER), ("plain", PLAIN)):
        run(steps, slices, folder / f"{name}.zarr")
    return folder


def copied(undisturbed: Path, name: str, to: Path) -> Path:
    out = to / "clean.zarr"
    shutil.copytree(undisturbed / f"{name}.zarr", out)
    shutil.copytree(undisturbed / f"{name}.zarr.run", f"{out}.run")
    return out


def checkpoint_of(out: Path, kind: str = "*.zarr") -> Path:
    (store,) = Path(f"{out}.run/checkpoints").glob(kind)
    return store


@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_that_a_checkpoint_lost_is_made_again_and_no_other(slices, undisturbed, tmp_path, way):
    out = copied(undisturbed, "steps", tmp_path)
    store = checkpoint_of(out)
    before = times_of(store)
    WAYS[way](store / "image/c.4.0.0")
    with pytest.warns(
        UserWarning, match=r"checkpoint '.*01_denoise.*' has 1 file .*\(image/c\.4\.0\.0\): made again: 1 block"
    ):
        run(OTHER, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "other.zarr")
    assert bytes_of(store) == bytes_of(checkpoint_of(undisturbed / "steps.zarr"))
    assert rewritten(before, store) == {"c.4.0.0"}
    # Now it is whole, and gone on from.
    run(STEPS, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "steps.zarr")


@pytest.mark.parametrize("name", ["zarr.json", "image/zarr.json", "z/c/0"])
def test_a_checkpoint_that_lost_a_header_is_made_anew(slices, undisturbed, tmp_path, name):
    out = copied(undisturbed, "steps", tmp_path)
    (checkpoint_of(out) / name).unlink()
    with pytest.warns(UserWarning, match=rf"\({name}\): it is made again"):
        run(OTHER, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "other.zarr")
    assert bytes_of(checkpoint_of(out)) == bytes_of(checkpoint_of(undisturbed / "steps.zarr"))


def test_blocks_of_a_half_written_result_that_were_lost_are_written_again(slices, undisturbed, tmp_path):
    out = tmp_path / "clean.zarr"
    assert run_part(recipe_of(PLAIN, slices), (0, 2), out=out, scheduler="synchronous") is None
    half = checkpoint_of(out, "*.unfinished")
    before = times_of(half)
    assert len(before) == COUNT // 2
    for k, way in enumerate(WAYS.values()):
        way(half / f"image/c.{k}.0.0")
    with pytest.warns(UserWarning, match="which is not whole yet, has 3 files .*: made again: 3 blocks of it"):
        run(PLAIN, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "plain.zarr")
    after = times_of(out)
    assert {name for name in before if after[name] != before[name]} == {f"c.{k}.0.0" for k in range(3)}


def test_a_half_written_result_without_its_header_is_begun_again(slices, undisturbed, tmp_path):
    out = tmp_path / "clean.zarr"
    assert run_part(recipe_of(PLAIN, slices), (0, 2), out=out, scheduler="synchronous") is None
    os.truncate(checkpoint_of(out, "*.unfinished") / "image/zarr.json", 0)
    with pytest.warns(UserWarning, match=r"\(image/zarr.json\): it is made again"):
        run(PLAIN, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "plain.zarr")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cleaned", [False, True])
def test_a_chunk_that_a_result_lost_is_made_again_and_no_other(slices, undisturbed, tmp_path, way, cleaned):
    out = copied(undisturbed, "plain", tmp_path)
    if cleaned:
        stack3d.runs.clean(out)
    for _ in range(2):  # it is known of the one that was mended, too
        before = times_of(out)
        WAYS[way](out / "image/c.3.0.0")
        with pytest.warns(UserWarning, match=r"result '.*' has 1 file .*\(image/c\.3\.0\.0\): made again: 1 block"):
            run(PLAIN, slices, out)
        assert bytes_of(out) == bytes_of(undisturbed / "plain.zarr")
        assert rewritten(before, out) == {"c.3.0.0"}
    before = times_of(out)
    run(PLAIN, slices, out)
    assert rewritten(before, out) == set()


def test_a_result_that_lost_a_coordinate_is_made_anew(slices, undisturbed, tmp_path):
    out = copied(undisturbed, "plain", tmp_path)
    (out / "z/c/0").unlink()
    with pytest.warns(UserWarning, match=r"\(z/c/0\): it is made again"):
        run(PLAIN, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "plain.zarr")


def test_a_damaged_result_whose_recipe_changed_is_replaced_as_any_other(slices, undisturbed, tmp_path):
    out = copied(undisturbed, "steps", tmp_path)
    (out / "image/c.3.0.0").unlink()
    run(OTHER, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "other.zarr")


@pytest.mark.parametrize("steps", [STEPS, OTHER])
def test_a_result_that_was_drawn_into_is_not_replaced_without_a_word(slices, undisturbed, tmp_path, steps):
    out = copied(undisturbed, "steps", tmp_path)
    zarr.open_array(out / "image", mode="r+")[3, :20] = 0
    drawn = bytes_of(out)
    with pytest.raises(FileExistsError, match="was changed since; give overwrite=True"):
        run(steps, slices, out)
    assert bytes_of(out) == drawn
    run(steps, slices, out, overwrite=True)
    assert bytes_of(out) == bytes_of(undisturbed / ("steps.zarr" if steps is STEPS else "other.zarr"))


@pytest.mark.parametrize("length", [0, 100, 2000, -1])
def test_an_estimate_that_cannot_be_read_is_made_again(slices, undisturbed, tmp_path, length):
    out = copied(undisturbed, "steps", tmp_path)
    (estimate,) = Path(f"{out}.run/estimates").glob("*histogram*")
    os.truncate(estimate, length if length >= 0 else estimate.stat().st_size - 1)
    with pytest.warns(UserWarning, match=rf"estimate '.*{estimate.name}' cannot be read \(.*\): it is made again"):
        run(OTHER, slices, out)
    assert bytes_of(out) == bytes_of(undisturbed / "other.zarr")
    run(STEPS, slices, out)  # it is whole again
    assert bytes_of(out) == bytes_of(undisturbed / "steps.zarr")


def test_frames_of_zeros_of_which_there_is_no_file_are_no_damage(tmp_path):
    pixels = np.ones((6, 8, 8), np.uint16)
    pixels[2:4] = 0
    da = stack3d.from_array(pixels, pixel_size=5)
    out = tmp_path / "clean.zarr"
    run_in_memory = {"out": out, "report": False}
    stack3d.run(Recipe(PLAIN_OF_8), da, **run_in_memory)
    before = out.stat().st_ino, times_of(out)
    stack3d.run(Recipe(PLAIN_OF_8), da, **run_in_memory)
    assert (out.stat().st_ino, times_of(out)) == before


PLAIN_OF_8 = [("crop", {"y": slice(1, 8), "by": "index"})]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
@pytest.mark.parametrize("compression", ["lz4", None])
@pytest.mark.parametrize("frames", [1, 2])
def test_any_chunk_that_is_gone_or_of_another_size_is_named_with_its_block(tmp_path, dtype, compression, frames):
    pixels = np.random.default_rng(0).integers(1, 200, (6, 9, 8)).astype(dtype)
    da = stack3d.from_array(pixels, pixel_size=5).chunk({"z": 2})
    store = tmp_path / "a.zarr"
    _store.write(da, store, label="test", compression=compression, frames=frames)
    marks = _store.marks_of(store)
    assert not _damage.found(store, marks)
    chunks = sorted(store.glob("*/c.*"))
    assert len(chunks) == 6 // frames
    for chunk in chunks:
        whole = chunk.read_bytes()
        for content in (None, b"", whole[:-1], whole + b"0"):
            chunk.unlink()
            if content is not None:
                chunk.write_bytes(content)
            damage = _damage.found(store, marks)
            start = int(chunk.name.split(".")[1]) * frames // 2 * 2
            assert damage.chunks == [f"{chunk.parent.name}/{chunk.name}"]
            assert damage.blocks == {_marks.mark_of(chunk.parent.name, (start, 0, 0), (2, 9, 8))}
            chunk.write_bytes(whole)
    shutil.rmtree(chunks[0].parent)
    assert len(_damage.found(store, marks).files) == 1


def test_what_was_marked_without_sizes_counts_as_whole(tmp_path):
    da = stack3d.from_array(np.ones((4, 8, 8), np.uint8), pixel_size=5)
    store, marks = tmp_path / "a.zarr", tmp_path / "a.zarr.blocks"
    _store.write(da, store, label="test")
    found = _marks.found(marks)
    header = (marks / "header").read_text().splitlines()[0]
    shutil.rmtree(marks)
    assert not _damage.found(store, marks)
    marks.mkdir()
    (marks / "header").write_text(header)
    (marks / "a.written").write_text("".join(f"{mark}\n" for mark in found))
    for chunk in store.glob("*/c.*"):
        chunk.unlink()
    assert _marks.is_of(marks, header)
    assert not _damage.found(store, marks)


def test_marks_that_are_kept_keep_their_sizes(tmp_path):
    marks = tmp_path / "a.blocks"
    _marks.begin(marks, "what it holds", {"zarr.json": 7})
    one, two = (_marks.mark_of("image", (k, 0, 0), (1, 8, 8)) for k in range(2))
    _marks.add(marks, one, (5, 0))
    _marks.add(marks, two, (6, 7))
    _marks.keep(marks, {two})
    assert _marks.written(marks) == {two: {(6, 7)}}
    assert _marks.files_before(marks) == {"zarr.json": 7}
    assert _marks.is_of(marks, "what it holds")


def test_no_checkpoint_is_mended_while_another_job_may_read_it(slices, undisturbed, tmp_path):
    out = copied(undisturbed, "steps", tmp_path)
    recipe = recipe_of(OTHER, slices)
    (checkpoint_of(out) / "image/c.4.0.0").unlink()
    (Path(f"{out}.run") / "parts").mkdir(exist_ok=True)
    with (
        _lock.held(Path(f"{out}.run/parts/00001-of-00002.lock"), "busy"),
        pytest.raises(RuntimeError, match=r"image/c\.4\.0\.0.*not mended while other jobs.*00001-of-00002"),
    ):
        run_part(recipe, (0, 2), out=out, report=False)
    # Alone, a job makes its part of what is missing, and the next ones theirs.
    with pytest.warns(UserWarning, match="1 block of it"):
        assert run_part(recipe, (1, 2), out=out, report=False) is None
    for index in (0, 1):
        run_part(recipe, (index, 2), out=out, report=False)
    assert bytes_of(out) == bytes_of(undisturbed / "other.zarr")


def test_ten_thousand_chunks_are_looked_at_in_well_under_a_second(tmp_path):
    store, marks = tmp_path / "a.zarr", tmp_path / "a.blocks"
    da = stack3d.from_array(np.ones((2, 4, 4), np.uint8), pixel_size=5)
    _store.write(da, store, label="test")
    shutil.rmtree(_store.marks_of(store))
    (variable,) = (path.parent for path in store.glob("*/c.0*"))
    _marks.begin(marks, "", {})
    lines = []
    for k in range(10_000):
        (variable / f"c.{k}.0.0").write_bytes(b"12345")
        lines.append(f"{_marks.mark_of(variable.name, (k, 0, 0), (1, 4, 4))} 5\n")
    (marks / "one.written").write_text("".join(lines))
    (variable / "c.77.0.0").write_bytes(b"1")
    begin = time.perf_counter()
    damage = _damage.found(store, marks)
    seconds = time.perf_counter() - begin
    assert damage.chunks == [f"{variable.name}/c.77.0.0"]
    assert seconds < 2  # 0.3 of a core
