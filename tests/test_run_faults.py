"""What a run leaves, and says, when a disk is full, a slice cannot be read, a worker or another run gets in its way.

Each ends with the run taken up again and held to the bytes of one that nothing disturbed.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d import Recipe
from stack3d.cli import main
from stack3d.runs import _marks, run_part

posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and users of POSIX")
STEPS = [("crop", {"y": slice(2, 192), "by": "index"}), "level_slices", ("resample", {"dz": "9 nm"})]


def bytes_of(store: Path) -> dict[str, bytes]:
    # The header holds the time of each step.
    return {
        str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file() and f.name != "zarr.json"
    }


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Return a folder of compressed slices: noise, so that a frame is larger than what is kept beside."""
    folder = tmp_path_factory.mktemp("raw") / "slices"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(16):
        frame = rng.integers(5000, 60000, (192, 192), dtype="uint16")
        tifffile.imwrite(folder / f"slice_{k:03d}.tif", frame, compression="zlib")
    return folder


@pytest.fixture(scope="module")
def recipe_file(slices):
    opening = {"path": str(slices), "pixel_size": [10, 5, 5], "frames_per_block": 1}
    return Recipe(STEPS, input=opening).save(slices.parent / "recipe.toml")


@pytest.fixture(scope="module")
def undisturbed(recipe_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "clean.zarr"
    stack3d.run(Recipe.from_file(recipe_file), out=out)
    return bytes_of(out)


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["stack3d", "stack3d.kernels.curve", "pint", "netCDF4", "zarr.codecs", "dask.array", "tifffile", __name__]
    )
    return context


def _child(arguments: list[str], said: str, limit: int | None, powerless: bool) -> None:
    """Run the command line in a process of its own, its words in a file."""
    with Path(said).open("w") as file:
        sys.stdout = sys.stderr = file
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if powerless:
            _give_up_the_powers_of_root()
        status = main([*arguments, "--no-report"])
        file.flush()
    os._exit(status)


def _give_up_the_powers_of_root() -> None:
    """Root without capabilities is bound by the permissions of its own files, as everybody else is by theirs."""
    if os.getuid() == 0:
        import ctypes

        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None, use_errno=True).capset(header, none) == 0


def start(processes, arguments, said, *, limit=None, powerless=False):
    process = processes.Process(target=_child, args=([str(a) for a in arguments], str(said), limit, powerless))
    process.start()
    return process


def waited_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to this"
        time.sleep(0.005)


@posix
def test_a_full_disk_is_said_with_what_is_kept_and_the_run_goes_on_later(recipe_file, undisturbed, processes, tmp_path):
    out, said = tmp_path / "clean.zarr", tmp_path / "said.txt"
    # A frame does not fit, what is kept beside does: as on a disk where little is left.
    process = start(processes, ["run", recipe_file, "--out", out], said, limit=40_000)
    process.join()
    words = said.read_text()
    assert process.exitcode == 1, words
    assert "File too large" in words
    assert f"are kept in '{out}.run'" in words
    assert "run the same again: it goes on there" in words
    assert "Traceback" not in words
    assert not out.exists()
    (estimate,) = Path(f"{out}.run/estimates").iterdir()
    made = estimate.stat().st_mtime_ns
    assert main(["run", str(recipe_file), "--out", str(out)]) == 0
    assert estimate.stat().st_mtime_ns == made
    assert bytes_of(out) == undisturbed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capabilities of Linux")
def test_a_folder_that_cannot_be_written_to_is_said_before_any_work(recipe_file, processes, tmp_path):
    closed, said = tmp_path / "closed", tmp_path / "said.txt"
    closed.mkdir()
    closed.chmod(0o555)
    process = start(processes, ["run", recipe_file, "--out", closed / "clean.zarr"], said, powerless=True)
    process.join()
    words = said.read_text()
    assert process.exitcode == 1, words
    assert f"'{closed / 'clean.zarr'}.run', cannot be made: Permission denied; choose another --out" in words
    assert not list(closed.iterdir())


def test_an_output_below_a_file_is_said_before_any_work(recipe_file, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["run", str(recipe_file), "--out", str(tmp_path / "notes.txt" / "clean.zarr")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def damaged(path: Path, way: str) -> bytes:
    whole, times = path.read_bytes(), path.stat()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] if way == "truncated" else whole[:middle] + bytes(300) + whole[middle + 300 :])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return whole


def mended(path: Path, whole: bytes, times: os.stat_result) -> None:
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("way", ["truncated", "unreadable"])
def test_a_bad_slice_is_named_and_once_mended_the_run_goes_on(recipe_file, slices, undisturbed, tmp_path, capsys, way):
    out = tmp_path / "clean.zarr"
    recipe, bad = Recipe.from_file(recipe_file), slices / "slice_011.tif"
    # Estimates are made and a third of the blocks written when the slice goes bad.
    assert run_part(recipe, (0, 3), out=out) is None
    (store,) = Path(f"{out}.run/checkpoints").glob("*.unfinished")
    estimates = {path: path.stat().st_mtime_ns for path in Path(f"{out}.run/estimates").iterdir()}
    written = {path.relative_to(store): path.stat().st_mtime_ns for path in store.glob("*/c.*.0.0")}
    assert len(written) > 3
    times = bad.stat()
    whole = damaged(bad, way)
    try:
        assert main(["run", str(recipe_file), "--out", str(out)]) == 1
    finally:
        mended(bad, whole, times)
    words = capsys.readouterr().err
    assert str(bad) in words
    if way == "unreadable":  # the other is noticed when the stack is opened
        assert f"are kept in '{out}.run'" in words
        assert "it goes on there" in words
    assert not out.exists()
    assert main(["run", str(recipe_file), "--out", str(out)]) == 0
    assert bytes_of(out) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in estimates} == estimates
    assert {path: (out / path).stat().st_mtime_ns for path in written} == written


@posix
def test_of_two_runs_at_once_the_second_is_refused_and_the_first_is_whole(
    recipe_file, undisturbed, processes, tmp_path
):
    out = tmp_path / "clean.zarr"
    command = ["run", recipe_file, "--out", out]
    first = start(processes, command, tmp_path / "first.txt")
    waited_for(lambda: Path(f"{out}.run/lock").exists() or not first.is_alive())
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = start(processes, command, tmp_path / "second.txt")
        second.join()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.join()
    words = (tmp_path / "second.txt").read_text()
    assert second.exitcode == 1, words
    assert f"another run is writing this result: process {first.pid}" in words
    assert first.exitcode == 0, (tmp_path / "first.txt").read_text()
    assert bytes_of(out) == undisturbed


@pytest.mark.long
@posix
def test_parts_in_processes_at_once_give_the_bytes_and_one_that_is_killed_is_done_again(
    recipe_file, undisturbed, processes, tmp_path
):
    out = tmp_path / "clean.zarr"
    jobs = [
        start(processes, ["run", recipe_file, "--out", out, "--part", f"{k}/3"], tmp_path / f"{k}.txt")
        for k in range(3)
    ]
    parts = Path(f"{out}.run/parts")
    waited_for(lambda: (parts / "00001-of-00003.lock").exists() or not jobs[1].is_alive())
    jobs[1].kill()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, -signal.SIGKILL, 0]
    again = start(processes, ["run", recipe_file, "--out", out, "--part", "1/3"], tmp_path / "again.txt")
    again.join()
    assert again.exitcode == 0, (tmp_path / "again.txt").read_text()
    assert bytes_of(out) == undisturbed
    assert not list(parts.iterdir())


@pytest.mark.long
@posix
def test_a_run_loses_a_worker_of_its_cluster_and_nothing_else(recipe_file, undisturbed, tmp_path):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "clean.zarr"
    marks = Path(f"{out}.run/checkpoints")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        pids = list(client.run(os.getpid).values())
        client.run(_slow_writes)
        thread = threading.Thread(
            target=lambda: stack3d.run(Recipe.from_file(recipe_file), out=out, scheduler=cluster.scheduler_address)
        )
        thread.start()
        waited_for(lambda: sum(len(_marks.found(folder)) for folder in marks.glob("*.blocks")) >= 2, 120)
        os.kill(pids[0], signal.SIGKILL)
        assert not out.exists()
        thread.join(120)
        assert not thread.is_alive()
    assert bytes_of(out) == undisturbed


def _slow_writes() -> None:
    """Give the test time to kill this worker while it writes."""
    from stack3d.io import write_zarr

    quick = write_zarr.write_block

    def slow(*given: object, **more: object) -> None:
        time.sleep(0.3)
        quick(*given, **more)

    write_zarr.write_block = slow


@posix
def test_an_estimate_that_cannot_be_written_is_named_with_the_limit_on_files(
    recipe_file, undisturbed, processes, tmp_path
):
    # (kernels that are compiled for the first time are files too: by now they are there)
    out, said = tmp_path / "clean.zarr", tmp_path / "said.txt"
    limit = 6000  # what is noted of the run fits, an estimate does not
    process = start(processes, ["run", recipe_file, "--out", out], said, limit=limit)
    process.join(60)
    assert process.exitcode == 1
    text = said.read_text()
    assert re.search(rf"writing '{re.escape(str(out))}\.run/estimates/\d\d_\w+\.nc' failed", text)
    assert f"no file may have more than {limit} bytes here (ulimit -f)" in text
    assert "run the same again" in text
    assert not list((tmp_path / "clean.zarr.run" / "estimates").iterdir())
