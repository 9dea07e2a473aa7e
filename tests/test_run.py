"""Running recipes: streamed, kept, resumed, and equal to the steps done by hand."""

import json
import multiprocessing
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import Recipe
from stack3d.runs import Step, _output, _plan, _store

STEPS = [
    ("crop", {"y": slice(2, 60), "by": "index"}),
    ("match_histograms", {"window": 5}),
    ("register", {"crop": "common"}),
    ("resample", {"dz": "10 nm"}),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    made = stack3d.synthetic.make_stack((10, 64, 64), defects={"drift": True, "gain": True, "uneven_z": True})
    return made.stack.stack3d.save(tmp_path_factory.mktemp("raw") / "raw.zarr")


@pytest.fixture
def recipe(raw):
    return Recipe(STEPS, input={"path": str(raw)})


def bytes_of(store: Path) -> dict[str, bytes]:
    # The header holds the time of each step.
    return {
        str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file() and f.name != "zarr.json"
    }


def test_a_run_gives_what_the_steps_give_rounded_once(recipe, raw, tmp_path):
    result = stack3d.run(recipe, out=tmp_path / "clean.zarr")
    by_hand = stack3d.open_stack(raw).stack3d.crop(y=slice(2, 60), by="index").stack3d.astype(dtype="float32")
    by_hand = by_hand.stack3d.match_histograms(window=5).stack3d.register(crop="common").stack3d.resample(dz="10 nm")
    xr.testing.assert_equal(result, by_hand.stack3d.astype(dtype="uint16"))
    assert result.dtype == "uint16"
    xr.testing.assert_equal(stack3d.replay(stack3d.open_stack(raw), result), result)
    assert Recipe.from_provenance(result) == recipe


def test_a_second_run_does_nothing_and_a_change_does_what_depends_on_it(recipe, tmp_path):
    out = tmp_path / "clean.zarr"
    stack3d.run(recipe, out=out)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "clean.zarr.run/estimates").iterdir()}
    assert sorted(name.split("_")[1] for name in kept) == ["histogram", "transforms"]
    before = _output.stamp(out)
    stack3d.run(recipe, out=out)
    assert _output.stamp(out) == before
    recipe.steps[3] = Step("resample", {"dz": "12 nm"})
    assert stack3d.run(recipe, out=out).stack3d.pixel_size.z == 12
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "clean.zarr.run/estimates").iterdir()}
    assert after == kept
    recipe.steps[2] = Step("register", {"crop": "common", "lags": 2})
    stack3d.run(recipe, out=out)
    names = sorted(path.name.split("_")[1] for path in (tmp_path / "clean.zarr.run/estimates").iterdir())
    assert names == ["histogram", "transforms", "transforms"]


def test_from_step_does_it_and_the_later_ones_again(recipe, tmp_path):
    stack3d.run(recipe, out=tmp_path / "clean.zarr")
    folder = tmp_path / "clean.zarr.run/estimates"
    kept = {path.name.split("_")[1]: path.stat().st_mtime_ns for path in folder.iterdir()}
    stack3d.run(recipe, out=tmp_path / "clean.zarr", from_step="register")
    again = {path.name.split("_")[1]: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert again["histogram"] == kept["histogram"]
    assert again["transforms"] > kept["transforms"]


def test_other_raw_data_are_noticed(tmp_path):
    made = stack3d.synthetic.make_stack((4, 32, 32)).stack
    made.stack3d.save(tmp_path / "raw.zarr")
    recipe = Recipe(["match_histograms"], input={"path": str(tmp_path / "raw.zarr")})
    first = stack3d.run(recipe, out=tmp_path / "clean.zarr").load()
    (made // 2).assign_attrs(made.attrs).stack3d.save(tmp_path / "raw.zarr", overwrite=True)
    second = stack3d.run(recipe, out=tmp_path / "clean.zarr")
    assert float(second.mean()) < 0.7 * float(first.mean())


def test_checkpoints_that_are_asked_for_stay_and_are_started_from(recipe, tmp_path):
    recipe.steps[1] = Step("match_histograms", {"window": 5}, checkpoint=True)
    stack3d.run(recipe, out=tmp_path / "clean.zarr")
    (store,) = (tmp_path / "clean.zarr.run/checkpoints").glob("*.zarr")
    assert "match_histograms" in store.name
    assert stack3d.open_stack(store).dtype == "float32"
    from stack3d.runs._folder import RunFolder

    assert RunFolder(tmp_path / "clean.zarr.run").clean() > 0
    assert list((tmp_path / "clean.zarr.run/checkpoints").iterdir()) == []


def test_some_steps_only(recipe, tmp_path):
    result = stack3d.run(recipe, out=tmp_path / "some.zarr", steps=["crop", 4])
    assert [step.operation for step in Recipe.from_provenance(result).steps] == ["crop", "resample"]


@pytest.mark.parametrize("suffix", [".nc", ".tif"])
def test_other_formats(recipe, tmp_path, suffix):
    zarr = stack3d.run(recipe, out=tmp_path / "clean.zarr")
    xr.testing.assert_equal(stack3d.run(recipe, out=tmp_path / f"clean{suffix}"), zarr)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
def test_every_scheduler_gives_the_same_bytes(recipe, tmp_path, scheduler):
    stack3d.run(recipe, out=tmp_path / "a.zarr")
    stack3d.run(recipe, out=tmp_path / "b.zarr", scheduler=scheduler)
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")


def test_holes_stay_holes(recipe, tmp_path):
    recipe.steps[2:] = [Step("register", {"fill": "nan"})]
    result = stack3d.run(recipe, out=tmp_path / "clean.zarr")
    assert result.dtype == "float32"
    assert bool(result.isnull().any())


def test_an_inverted_run_inverts_the_integers(raw, tmp_path):
    recipe = Recipe([("match_histograms", {"window": 5}), "invert"], input={"path": str(raw)})
    result = stack3d.run(recipe, out=tmp_path / "clean.zarr")
    other = stack3d.run(Recipe(recipe.steps[:1], input=recipe.input), out=tmp_path / "other.zarr")
    # Halves are rounded to even on either side.
    assert int(abs(result.astype(int) - other.stack3d.invert().astype(int)).max()) <= 1
    assert Recipe.from_provenance(result) == recipe


def test_bad_calls_are_refused_before_any_work(recipe, tmp_path):
    out = tmp_path / "clean.zarr"
    with pytest.raises(ValueError, match=r"give out=, or path under \[output\]"):
        stack3d.run(recipe)
    with pytest.raises(ValueError, match="suffix says no format"):
        stack3d.run(recipe, out=tmp_path / "clean.dat")
    with pytest.raises(ValueError, match="scheduler='fast'"):
        stack3d.run(recipe, out=out, scheduler="fast")
    with pytest.raises(ValueError, match="step 'bin' is not in the recipe"):
        stack3d.run(recipe, out=out, steps=["bin"])
    with pytest.raises(stack3d.RecipeError, match="1 problem in the recipe"):
        stack3d.run(Recipe([("register", {"lags": 0})], input=recipe.input), out=out)
    assert not out.exists()
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        stack3d.run(recipe, out=out)
    assert (out / "notes.txt").read_text() == "mine"


def test_too_little_space_is_said_before_the_start(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(_plan.shutil, "disk_usage", lambda path: _Usage())
    with pytest.raises(OSError, match=r"the result takes up to 66.8 kB, and 1 kB are free"):
        stack3d.run(recipe, out=tmp_path / "clean.zarr")


class _Usage:
    free = 1000


def test_two_runs_at_once_do_not_mix(recipe, tmp_path):
    folder = tmp_path / "clean.zarr.run"
    folder.mkdir()
    import platform

    (folder / "lock").write_text(json.dumps({"pid": os.getppid(), "host": platform.node(), "since": "now"}))
    with pytest.raises(RuntimeError, match=f"process {os.getppid()}"):
        stack3d.run(recipe, out=tmp_path / "clean.zarr")
    if os.name == "nt":
        return  # there it is the user who says that a run is dead
    (folder / "lock").write_text(json.dumps({"pid": 2**22 + 5, "host": platform.node(), "since": "long ago"}))
    stack3d.run(recipe, out=tmp_path / "clean.zarr")


def _run_file(path: str, out: str) -> None:
    stack3d.run(Recipe.from_file(path), out=out, scheduler="synchronous", report=False)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_killed_at_twenty_moments_goes_on_and_ends_with_the_same_bytes(recipe, tmp_path):
    recipe.steps[1] = Step("match_histograms", {"window": 5}, checkpoint=True)
    path, out = recipe.save(tmp_path / "recipe.toml"), tmp_path / "killed.zarr"
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["stack3d", "zarr", "dask.array", __name__])

    def start(to: Path) -> multiprocessing.process.BaseProcess:
        process = server.Process(target=_run_file, args=(str(path), str(to)))
        process.start()
        return process

    start(tmp_path / "warm.zarr").join()
    begin = time.perf_counter()
    start(tmp_path / "whole.zarr").join()
    seconds = time.perf_counter() - begin
    whole = bytes_of(tmp_path / "whole.zarr")
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        process = start(out)
        process.join(float(rng.uniform(0, 1.2 * seconds)))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        if out.exists():
            assert bytes_of(out) == whole
            shutil.rmtree(out)
            shutil.rmtree(f"{out}.run")
    last = start(out)
    last.join()
    assert last.exitcode == 0
    assert bytes_of(out) == whole


@pytest.mark.parametrize("frames", [1, 2])
def test_an_interrupted_write_does_only_what_is_missing(tmp_path, frames):
    import dask
    import dask.array

    seen = []

    def block(values, block_info=None):
        place = block_info[None]["array-location"][0][0]
        seen.append(place)
        if place == 6 and len(seen) < 20:
            raise OSError("unreadable slice")
        return np.full((2, 8, 8), place, np.uint16)

    base = stack3d.from_array(np.zeros((12, 8, 8), np.uint16), pixel_size=(10, 5, 5))
    data = dask.array.zeros((12, 8, 8), chunks=(2, 8, 8), dtype=np.uint16)
    data = data.map_blocks(block, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16))

    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(OSError, match="unreadable"):
            _store.write(base.copy(data=data), tmp_path / "a.zarr", label="test", frames=frames)
        assert not (tmp_path / "a.zarr").exists()
        first = set(seen)
        seen[:] = list(range(20))
        _store.write(base.copy(data=data), tmp_path / "a.zarr", label="test", frames=frames)
        result = stack3d.open_stack(tmp_path / "a.zarr")
        done = set(seen[20:])
        _store.write(base.copy(data=data), tmp_path / "b.zarr", label="in one go", frames=frames)
    assert 6 in done
    assert not done & (first - {6})
    np.testing.assert_array_equal(result[:, 0, 0], np.arange(12) // 2 * 2)
    assert bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")
