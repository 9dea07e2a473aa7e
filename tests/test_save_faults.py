"""What is on the disk after a kill, a full disk, a lost permission: looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stack3d.io import _atomic, open_stack
from stack3d.io._atomic import UnfinishedSaveWarning, left_behind
from stack3d.io.save import save

SUFFIXES = (".zarr", ".nc", ".tif")
posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and users of POSIX")

# The code that is killed: each case runs in a fork of its own, so that the imports are paid once.
COMMON = """
import json, os, shutil, signal, sys
import dask.array
import numpy as np
import xarray as xr
from stack3d.io.save import save
from stack3d.options import set_options
import netCDF4, tifffile, zarr, zarr.codecs, zarr.storage
import xarray.backends.zarr, xarray.backends.netCDF4_
import stack3d.device, stack3d.progress, stack3d._blocks

xr.backends.list_engines()
set_options(progress=False)
folder = sys.argv[1]

def stack(seed, at_frame=None, then=None):
    values = np.random.default_rng(seed).integers(0, 60000, (6, 32, 40), dtype="uint16")
    data = dask.array.from_array(values, chunks=(1, 32, 40))
    if then is not None:
        def frame(block, block_info=None):
            if block_info[0]["chunk-location"][0] == at_frame:
                then()
            return block
        data = data.map_blocks(frame, dtype="uint16", meta=data._meta)
    return xr.DataArray(data, dims=("z", "y", "x"), name="image", attrs={"seed": seed})

def in_fork(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            code = 1
        finally:
            sys.stderr.flush()
        os._exit(code)
    return os.waitpid(pid, 0)[1]

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED = (
    COMMON
    + """
def kill_at(name, number, after):
    original, calls = getattr(os, name), []
    def patched(*args, **kwargs):
        if not os.path.basename(args[0]).startswith("stack."):
            return original(*args, **kwargs)  # zarr renames its own files inside the store
        calls.append(args)
        if len(calls) == number and not after:
            die()
        result = original(*args, **kwargs)
        if len(calls) == number and after:
            die()
        return result
    setattr(os, name, patched)

def case(path, moment):
    def work():
        new = stack(2)
        if moment.startswith("frame"):
            new = stack(2, int(moment[-1]), die)
        elif moment.startswith("rename"):
            kill_at("replace", int(moment[-1]), moment.startswith("renamed"))
        elif moment == "removing":
            def remove(path, **kwargs):
                os.unlink(os.path.join(path, "zarr.json"))
                die()
            shutil.rmtree = remove
        save(new, path, overwrite=True)
    return work

statuses = {}
olds = {suffix: os.path.join(folder, "old" + suffix) for suffix in (".zarr", ".nc", ".tif")}
assert in_fork(lambda: [save(stack(1), old) for old in olds.values()]) == 0
for suffix, moment in json.loads(sys.argv[2]):
    path = os.path.join(folder, moment, "stack" + suffix)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    (shutil.copytree if suffix == ".zarr" else shutil.copy)(olds[suffix], path)
    statuses[moment + suffix] = in_fork(case(path, moment))
print(json.dumps(statuses))
"""
)

MOMENTS = [
    *((suffix, "frame3") for suffix in SUFFIXES),
    *((suffix, moment) for suffix in (".zarr", ".nc") for moment in ("rename1", "renamed1", "rename2", "renamed2")),
    (".tif", "rename2"),
    (".zarr", "rename3"),
    (".zarr", "renamed3"),
    (".zarr", "rename4"),
    (".zarr", "renamed4"),
    (".zarr", "removing"),
]


def run(code, *args):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def truth(seed):
    return np.random.default_rng(seed).integers(0, 60000, (6, 32, 40), dtype="uint16")


def content(path):
    """Return which of the stacks is under a name, complete to the last pixel."""
    da = open_stack(path)
    seed = da.attrs["seed"]
    np.testing.assert_array_equal(da.values, truth(seed))
    return seed


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    statuses, _ = run(KILLED, folder, json.dumps(MOMENTS))
    return folder, statuses


@posix
@pytest.mark.filterwarnings("ignore::stack3d.io._atomic.UnfinishedSaveWarning")
@pytest.mark.parametrize(("suffix", "moment"), MOMENTS)
def test_what_was_there_before_survives_a_kill(killed, suffix, moment):
    folder, statuses = killed
    path = folder / moment / f"stack{suffix}"
    assert statuses[f"{moment}{suffix}"] == 9, "the process was not killed where it should have been"
    old = [entry for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}.previous-")]
    if path.exists():
        put_in_place = moment in ("renamed2", "renamed3", "rename4", "renamed4", "removing")
        assert content(path) == (2 if put_in_place else 1)
    else:
        assert len(old) == 1, "gone under its name, so it must be set aside"
        with pytest.raises(FileNotFoundError, match=r"\.previous-"):
            open_stack(path)
        message = left_behind(path)
        assert f"os.rename({str(old[0])!r}, {str(path)!r})" in message
    complete = [entry for entry in path.parent.iterdir() if entry.name.startswith(f"{path.name}.complete-")]
    for entry in [*old, *complete]:
        expected = 1 if entry in old else 2
        aside = path.parent / f"taken-back{suffix}"
        os.rename(entry, aside)
        assert content(aside) == expected
        os.rename(aside, entry)
    if not path.exists():
        os.rename(old[0], path)
        assert content(path) == 1


@posix
def test_both_zarr_stores_stand_between_the_two_renames(killed):
    folder, _ = killed
    names = {entry.name.partition("zarr.")[2].partition("-")[0] for entry in (folder / "renamed2").iterdir()}
    assert {"previous", "complete"} <= names or (folder / "renamed2" / "stack.zarr").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("kind", "words"), [("previous", "take it back"), ("complete", "To use it"), ("partial", "delete")]
)
def test_the_next_save_says_what_an_interrupted_one_left(tmp_path, suffix, kind, words):
    da = xr.DataArray(truth(1), dims=("z", "y", "x"), attrs={"seed": 1})
    path = tmp_path / f"stack{suffix}"
    left = save(da, tmp_path / f"other{suffix}").rename(f"{path}.{kind}-123-abcdef")
    with pytest.warns(UnfinishedSaveWarning, match=words) as caught:
        save(da, path)
    assert str(left) in str(caught[0].message)
    assert content(path) == 1
    assert left.exists(), "what another save left is never deleted"


def test_nothing_left_is_nothing_said(tmp_path):
    (tmp_path / "stack.zarr.previous").mkdir()
    (tmp_path / "other.zarr.previous-1-a").mkdir()
    assert left_behind(tmp_path / "stack.zarr") == ""
    assert left_behind(tmp_path / "missing" / "stack.zarr") == ""


FULL = (
    COMMON
    + """
import resource

def case(path):
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        try:
            save(stack(2), path, overwrite=True)
        except OSError as error:
            with open(path + ".message", "w") as file:
                json.dump([error.errno, str(error)], file)
        else:
            raise AssertionError("no error")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return work

statuses = {}
paths = [os.path.join(folder, "stack" + suffix) for suffix in (".zarr", ".nc", ".tif")]
assert in_fork(lambda: [save(stack(1), path) for path in paths]) == 0
for suffix, path in zip((".zarr", ".nc", ".tif"), paths):
    statuses[suffix] = in_fork(case(path))
print(json.dumps(statuses))
"""
)


@posix
def test_a_full_disk_leaves_the_old_stack_and_says_where(tmp_path):
    statuses, stderr = run(FULL, tmp_path)
    for suffix in SUFFIXES:
        assert statuses[suffix] == 0, stderr
        path = tmp_path / f"stack{suffix}"
        assert content(path) == 1
        number, message = json.loads(Path(f"{path}.message").read_text())
        assert number
        assert str(tmp_path) in message
        assert "the partial file was removed" in message
        assert f"{path.name!r} is as it was before" in message
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".message")) == [
        "stack.nc",
        "stack.tif",
        "stack.zarr",
    ]


DENIED = (
    COMMON
    + """
def work():
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        save(stack(2, 0, die), os.path.join(folder, "stack.nc"))
    except PermissionError as error:
        assert "no permission to write in the folder" in str(error), error
    else:
        raise AssertionError("no error")

print(json.dumps(in_fork(work)))
"""
)


@posix
def test_a_folder_that_must_not_be_written_to_is_an_error_before_any_work(tmp_path):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:  # below /tmp, where another user may look
        os.chmod(folder, 0o555)
        status, stderr = run(DENIED, folder)
        assert status == 0, stderr
        assert os.listdir(folder) == []
        os.chmod(folder, 0o755)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_the_chain_leaves_the_old_stack_and_nothing_else(tmp_path, suffix, error):
    import dask.array

    def fail(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 3:
            raise error("frame 3")
        return block

    old = xr.DataArray(truth(1), dims=("z", "y", "x"), attrs={"seed": 1})
    path = save(old, tmp_path / f"stack{suffix}")
    data = dask.array.from_array(truth(2), chunks=(1, 32, 40))
    new = old.copy(data=data.map_blocks(fail, dtype="uint16", meta=data._meta))
    with pytest.raises(error, match="frame 3"):
        save(new, path, overwrite=True)
    assert content(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_when_the_name_cannot_be_taken_nothing_is_lost(tmp_path, monkeypatch, failing):
    old, new = (xr.DataArray(truth(seed), dims=("z", "y", "x"), attrs={"seed": seed}) for seed in (1, 2))
    path = save(old, tmp_path / "stack.zarr")
    original, calls = os.replace, []

    def refuse(source, target):
        if not os.path.basename(source).startswith("stack."):
            return original(source, target)  # zarr renames its own files inside the store
        calls.append(source)
        if len(calls) == failing:
            raise PermissionError(13, "used by another process")
        return original(source, target)

    monkeypatch.setattr(_atomic.os, "replace", refuse)
    with pytest.raises(OSError, match="used by another process") as caught:
        save(new, path, overwrite=True)
    assert content(path) == 1
    (aside,) = (entry for entry in tmp_path.iterdir() if entry != path)
    assert str(aside) in str(caught.value)
    assert content(os.rename(aside, tmp_path / "new.zarr") or tmp_path / "new.zarr") == 2


def test_a_stack_made_meanwhile_is_not_overwritten(tmp_path):
    first, second = (xr.DataArray(truth(seed), dims=("z", "y", "x"), attrs={"seed": seed}) for seed in (1, 2))
    import dask.array

    path = tmp_path / "stack.nc"

    def meanwhile(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 3:
            save(first, tmp_path / "made.nc").rename(path)
        return block

    data = dask.array.from_array(truth(2), chunks=(1, 32, 40))
    with pytest.raises(OSError, match="in the meantime"):
        save(second.copy(data=data.map_blocks(meanwhile, dtype="uint16", meta=data._meta)), path)
    assert content(path) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_saves_to_one_name_at_once_leave_one_whole_stack(tmp_path, suffix):
    stacks = [xr.DataArray(truth(seed), dims=("z", "y", "x"), attrs={"seed": seed}) for seed in (1, 2)]
    path = tmp_path / f"stack{suffix}"
    save(stacks[0], path)
    failures = []

    def work(da):
        try:
            save(da, path, overwrite=True)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(da,)) for da in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(path) in (1, 2)
    assert len(failures) < 2


def test_memory_stays_small_while_a_large_stack_is_saved(tmp_path):
    pytest.importorskip("resource")
    code = (
        COMMON
        + """
import resource
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
for suffix in (".zarr", ".nc", ".tif"):
    for frames in (4, 96):
        data = dask.array.ones((frames, 1024, 1024), dtype="float32", chunks=(2, 1024, 1024))
        before = peak()
        save(xr.DataArray(data, dims=("z", "y", "x")), os.path.join(folder, f"{frames}{suffix}"))
    print(suffix, peak() - before, file=sys.stderr)
    assert peak() - before < 100 * 2**20, suffix
print("{}")
"""
    )
    run(code, tmp_path)
