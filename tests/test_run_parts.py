"""Runs shared out among jobs that know nothing of each other."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import stack3d
from stack3d import Recipe
from stack3d.cli import main
from stack3d.runs import Step, _lock, run_part
from stack3d.runs._folder import RunFolder

STEPS = [
    ("crop", {"y": slice(2, 46), "by": "index"}),
    ("match_histograms", {"window": 5}),
    ("resample", {"dz": "9 nm"}),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    made = stack3d.synthetic.make_stack((12, 48, 48), defects={"gain": True, "uneven_z": True})
    return made.stack.chunk(z=1).stack3d.save(tmp_path_factory.mktemp("raw") / "raw.zarr")


@pytest.fixture
def recipe(raw):
    return Recipe(STEPS, input={"path": str(raw), "frames_per_block": 1})


@pytest.fixture(scope="module")
def plain(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "clean.zarr"
    stack3d.run(Recipe(STEPS, input={"path": str(raw), "frames_per_block": 1}), out=out)
    return bytes_of(out)


def bytes_of(store: Path) -> dict[str, bytes]:
    # The header holds the time of each step.
    return {
        str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file() and f.name != "zarr.json"
    }


@given(st.integers(0, 500), st.integers(1, 60))
def test_parts_cover_every_slice_once_in_order_and_differ_by_at_most_one(n, workers):
    parts = [stack3d.partition(n, workers, index) for index in range(workers)]
    assert [k for part in parts for k in range(n)[part]] == list(range(n))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 2, 0), "n=-1"),
        ((3, 0, 0), "workers=0"),
        ((3, 2, 2), "index=2 must be from 0 to 1"),
        ((3, 2, -1), "index=-1"),
    ],
)
def test_no_such_part(arguments, words):
    with pytest.raises(ValueError, match=words):
        stack3d.partition(*arguments)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_parts_in_any_order_give_the_bytes_of_a_plain_run(recipe, plain, tmp_path, order):
    out, page = tmp_path / "clean.zarr", tmp_path / "clean.zarr.html"
    for index in order[:-1]:
        assert run_part(recipe, (index, 3), out=out, report=True) is None
        assert not out.exists()
        assert not page.exists()
    result = run_part(recipe, f"{order[-1]}/3", out=out, report=order[-1] == 2)
    assert bytes_of(out) == plain
    # The job that finishes the result writes the report, where one is wanted.
    assert page.exists() == (order[-1] == 2)
    # The one that is up to date is found by every job, and by a plain run.
    before = (out / "zarr.json").stat().st_mtime_ns
    xr.testing.assert_identical(run_part(recipe, (order[0], 3), out=out), result)
    xr.testing.assert_identical(stack3d.run(recipe, out=out), result)
    assert (out / "zarr.json").stat().st_mtime_ns == before


def test_parts_do_not_share_chunks_of_several_frames(raw, tmp_path):
    recipe = Recipe([Step("invert", {}, True), *STEPS[1:]], input={"path": str(raw), "frames_per_block": 2})
    stack3d.run(recipe, out=tmp_path / "plain.zarr")
    out = tmp_path / "clean.zarr"
    for _ in range(2):  # one round for the checkpoint
        for index in (2, 0, 1):
            run_part(recipe, (index, 3), out=out)
    assert bytes_of(out) == bytes_of(tmp_path / "plain.zarr")
    for store in (out, *(tmp_path / "clean.zarr.run/checkpoints").glob("*.zarr")):
        (header,) = store.glob("stack/zarr.json")
        assert json.loads(header.read_text())["chunk_grid"]["configuration"]["chunk_shape"] == [2, 48, 48]


def test_each_part_writes_its_own_slices_and_estimates_are_made_once(recipe, tmp_path):
    out = tmp_path / "clean.zarr"
    run_part(recipe, (1, 3), out=out)
    (chunks,) = (tmp_path / "clean.zarr.run/checkpoints").glob("*/stack")
    written = sorted(int(path.name.split(".")[1]) for path in chunks.glob("c.*"))
    count = stack3d.open_stack(tmp_path / "clean.zarr.run/checkpoints" / chunks.parent.name, variable="stack").sizes[
        "z"
    ]
    assert written == list(range(count))[stack3d.partition(count, 3, 1)]
    (estimate,) = (tmp_path / "clean.zarr.run/estimates").iterdir()
    made = estimate.stat().st_mtime_ns
    run_part(recipe, (0, 3), out=out)
    assert estimate.stat().st_mtime_ns == made


def test_a_plain_run_does_what_jobs_that_failed_have_left(recipe, plain, tmp_path):
    out = tmp_path / "clean.zarr"
    run_part(recipe, (0, 2), out=out)
    (store,) = (tmp_path / "clean.zarr.run/checkpoints").glob("*.unfinished")
    first = {path: path.stat().st_mtime_ns for path in store.rglob("stack/c.*.0.0")}
    assert first
    stack3d.run(recipe, out=out)
    assert bytes_of(out) == plain
    assert all((out / path.relative_to(store)).stat().st_mtime_ns == made for path, made in first.items())


def test_a_checkpoint_is_shared_out_too_and_takes_a_round_of_its_own(recipe, plain, tmp_path):
    recipe.steps[1] = Step("match_histograms", {"window": 5}, checkpoint=True)
    out = tmp_path / "clean.zarr"
    assert run_part(recipe, (1, 2), out=out) is None
    # Only now is the checkpoint whole, and this job goes on to its part of the result.
    assert run_part(recipe, (0, 2), out=out) is None
    (store,) = (tmp_path / "clean.zarr.run/checkpoints").glob("*.zarr")
    assert "match_histograms" in store.name
    assert run_part(recipe, (1, 2), out=out) is not None
    assert bytes_of(out) == plain


def test_no_plain_run_and_no_clean_while_a_part_is_being_written(recipe, plain, tmp_path):
    out = tmp_path / "clean.zarr"
    run_part(recipe, (0, 2), out=out)
    folder = RunFolder(tmp_path / "clean.zarr.run")
    with _lock.held(folder.path / "parts/00001-of-00002.lock", "busy"):
        with pytest.raises(RuntimeError, match="writing parts of this result: 00001-of-00002"):
            stack3d.run(recipe, out=out)
        with pytest.raises(RuntimeError, match="writing parts"):
            stack3d.runs.clean(out)
        with pytest.raises(RuntimeError, match="another job is writing part 1/2"):
            run_part(recipe, (1, 2), out=out)
    assert stack3d.runs.clean(out) > 0
    assert not list((folder.path / "checkpoints").iterdir())
    assert not (folder.path / "parts").exists()
    run_part(recipe, (1, 2), out=out)
    run_part(recipe, (0, 2), out=out)
    assert bytes_of(out) == plain


def test_the_lock_of_another_machine_is_taken_over_when_it_has_been_silent_for_long(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"pid": 1, "host": "another", "since": "then"}))
    assert _lock.is_held(lock)
    with pytest.raises(RuntimeError, match="busy: process 1 on another, since then"), _lock.held(lock, "busy"):
        pass
    old = time.time() - _lock.PATIENCE - 60
    os.utime(lock, (old, old))
    assert not _lock.is_held(lock)
    with _lock.held(lock, "busy"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_holder_keeps_its_lock_fresh_and_those_who_wait_get_it(tmp_path, monkeypatch):
    import threading

    monkeypatch.setattr(_lock, "BEAT", 0.02)
    monkeypatch.setattr(_lock, "LOOK", 0.02)
    lock, order = tmp_path / "lock", []

    def second() -> None:
        with _lock.held(lock, "busy", wait=True):
            order.append("second")

    with _lock.held(lock, "busy"):
        thread = threading.Thread(target=second)
        thread.start()
        os.utime(lock, (0, 0))
        deadline = time.monotonic() + 10
        while lock.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock.stat().st_mtime > 0
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_just_taken_over_by_another_is_not_taken_away(tmp_path):
    lock = tmp_path / "lock"
    dead = {"pid": 2**22 + 5, "host": platform.node(), "since": "long ago"}
    lock.write_text(json.dumps({**dead, "pid": os.getpid()}))
    _lock._take_away(lock, dead)
    assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == [lock]


def test_the_command_line_does_parts(recipe, plain, tmp_path, capsys):
    path = recipe.save(tmp_path / "recipe.toml")
    run = ["run", str(path), "--out", str(tmp_path / "clean.zarr")]
    assert main([*run, "--part", "0/2"]) == 0
    assert "part 0/2 is written; others are not" in capsys.readouterr().out
    assert main([*run, "--part", "2/2"]) == 1
    assert "index=2 must be from 0 to 1" in capsys.readouterr().err
    assert main([*run, "--part", "first"]) == 1
    assert "must be INDEX/WORKERS" in capsys.readouterr().err
    assert main([*run, "--part", "1/2"]) == 0
    assert bytes_of(tmp_path / "clean.zarr") == plain
