"""What a run takes, said before it; and work that goes along the stack."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import dask
import dask.array
import numpy as np
import pytest

import stack3d
from stack3d import Recipe, _meter
from stack3d._blocks import array_from_blocks
from stack3d.cli import main
from stack3d.io import _stream
from stack3d.runs import Step, _plan
from stack3d.runs._forecast import forecast, peak_memory


def lazy(count: int = 40, side: int = 64, dtype=np.uint16):
    data = dask.array.zeros((count, side, side), chunks=(1, side, side), dtype=dtype)
    return stack3d.from_array(data, pixel_size=(10, 5, 5))


def test_a_forecast_knows_sizes_estimates_and_checkpoints():
    steps = [
        Step("crop", {"y": slice(0, 32), "by": "index"}),
        Step("astype", {"dtype": "float32"}),
        Step("destripe"),
        Step("level_slices"),
        Step("register", checkpoint=True),
        Step("bin", {"z": 2, "y": 1, "x": 1}),
    ]
    stages = forecast(steps, lazy())
    assert [stage.shape for stage in stages] == [(40, 32, 64)] * 5 + [(20, 32, 64)]
    assert [stage.estimates for stage in stages] == [False, False, False, True, True, False]
    # Destriping takes long, and the levels are measured behind it.
    assert [stage.written for stage in stages] == ["", "", "automatic", "", "asked", ""]
    assert [stage.bytes for stage in stages[:2]] == [40 * 32 * 64 * 2, 40 * 32 * 64 * 4]


def test_the_forecast_writes_the_checkpoints_that_a_run_writes(tmp_path):
    made = stack3d.synthetic.make_stack((6, 48, 48), defects={"gain": True}).stack
    recipe = Recipe([("destripe", {"method": "wavelet"}), "level_slices", Step("invert", {}, True), "match_histograms"])
    stack3d.run(recipe, made.chunk(z=1), out=tmp_path / "clean.zarr")
    written = sorted(path.name.split("_", 1)[1] for path in (tmp_path / "clean.zarr.run/checkpoints").glob("*.zarr"))
    stages = forecast(recipe.steps, made.astype("float32"))
    expected = sorted(stage.operation for stage in stages if stage.written)
    assert [name.rsplit("_", 1)[0] for name in written] == expected == ["destripe", "invert"]


def test_space_for_checkpoints_of_its_own_is_counted(tmp_path, monkeypatch):
    raw = lazy()
    recipe = Recipe([("destripe", {"method": "wavelet"}), "level_slices"])

    class Usage:
        # Enough for the result (two bytes a pixel), and not for a checkpoint (four).
        free = raw.size * 5

    monkeypatch.setattr(_plan.shutil, "disk_usage", lambda path: Usage())
    with pytest.raises(OSError, match=r"1 checkpoint, after destripe \(automatic\), take up to"):
        stack3d.run(recipe, raw, out=tmp_path / "clean.zarr")


def test_a_plan_counts_passes_bytes_and_memory():
    raw = lazy()
    plan = Recipe(["match_histograms", ("destripe", {"method": "wavelet"}), "level_slices"]).plan(
        raw, workers=3, trial=False
    )
    assert plan.passes == [
        "the raw stack is read for the estimate of match_histograms",
        "the raw stack is read and the checkpoint after destripe written (automatic)",
        "destripe is read for the estimate of level_slices",
        "destripe is read and the result written",
    ]
    pixels = raw.size
    assert plan.read == 2 * (2 * pixels) + 2 * (4 * pixels)
    assert plan.written == plan.disk == 4 * pixels + 2 * pixels
    assert plan.memory == peak_memory((64, 64), 3)
    assert plan.seconds is None
    text = str(plan)
    assert "40 slices, 3 threads" in text
    assert "pass 4: destripe is read and the result written" in text
    with pytest.raises(ValueError, match="workers=0"):
        Recipe(["invert"]).plan(raw, workers=0)


def test_memory_grows_with_the_frame_and_the_threads_and_not_with_the_stack():
    for count in (20, 200):
        assert Recipe(["invert"]).plan(lazy(count), workers=2, trial=False).memory == peak_memory((64, 64), 2)
    # Frames of 10,000 x 10,000 on 16 threads: each thread works on a few frames of 400 MB.
    assert 16 * 400e6 < peak_memory((10_000, 10_000), 16) < 200e9


def test_the_time_comes_from_a_trial_and_a_stack_too_short_for_one_is_said():
    plan = Recipe(["invert"]).plan(lazy(40), workers=2)
    assert plan.seconds is not None
    assert plan.seconds > 0
    assert "trials of 3 and 8 slices" in plan.note
    short = Recipe(["invert"]).plan(lazy(6), workers=2)
    assert short.seconds is None
    assert "a trial takes 8 slices, and the stack has 6" in str(short)


def test_a_trial_is_made_where_the_recipe_leaves_slices_out(monkeypatch):
    from stack3d.runs import _planning

    tried, timed = [], _planning._timed

    def noting(recipe, part):
        tried.append((part.sizes["z"], float(part.z[0])))
        return timed(recipe, part)

    monkeypatch.setattr(_planning, "_timed", noting)
    first = ("crop", {"z": slice(2, 32), "y": slice(0, 20), "by": "index"})
    later = ("crop", {"z": slice(25, 30), "by": "index"})
    recipe = Recipe([first, "invert", later])
    plan = recipe.plan(lazy(40), workers=2)
    assert plan.seconds is not None, plan.note
    # From the middle of the thirty slices that the first step leaves.
    assert tried == [(n, float(lazy(40).z[2 + 11])) for n in (3, 3, 8)]
    assert recipe.steps[0].parameters["z"] == slice(2, 32)


def test_compiling_is_told_apart_from_the_time_of_a_run(monkeypatch):
    from stack3d.runs import _planning

    for first, said in (
        (33.0, "compiling for the first use took another 0 min 32 s, once, which is not in it"),
        (1.2, ""),
    ):
        took = iter((first, 1.0, 1.5))
        monkeypatch.setattr(_planning, "_timed", lambda *_, took=took: next(took))
        plan = Recipe(["invert"]).plan(lazy(43), workers=2)
        assert plan.seconds == 1.0 + 0.1 * 40 / 2
        assert plan.note.partition("shared by 2")[2] == (said and f"; {said}")


@pytest.mark.filterwarnings("always")
def test_trials_write_no_report_and_say_nothing(monkeypatch, caplog, capsys):
    from stack3d.runs import runner

    def refuse(*_):
        raise AssertionError("a trial wrote a report")

    monkeypatch.setattr(runner, "write_report", refuse)
    made = stack3d.synthetic.make_stack((12, 32, 32), defects={"drift": True}).stack
    made[5] = 0  # a blank slice, which a run warns of
    with caplog.at_level("INFO", logger="stack3d"):
        assert Recipe(["level_slices"]).plan(made, workers=1).seconds is not None
    assert caplog.text == ""
    assert capsys.readouterr().err == ""


def test_the_command_line_plans_and_does_nothing(tmp_path, capsys):
    stack3d.synthetic.make_stack((3, 24, 24)).stack.stack3d.save(tmp_path / "raw.zarr")
    recipe = Recipe(["invert"], input={"path": str(tmp_path / "raw.zarr")}, output={"path": str(tmp_path / "c.zarr")})
    assert main(["run", str(recipe.save(tmp_path / "recipe.toml")), "--plan"]) == 0
    words = capsys.readouterr().out
    assert re.search(r"memory: up to .* MB", words)
    assert "pass 1: the raw stack is read and the result written" in words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw.zarr", "recipe.toml"]


@pytest.mark.parametrize("dz", ["8 nm", "4 nm", "23 nm"])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_few_blocks_wait_for_their_neighbours_however_long_the_stack(tmp_path, dz, scheduler):
    read: set[int] = set()
    written: set[int] = set()
    lock, most = threading.Lock(), [0]
    count = 120

    def frame(k: int) -> np.ndarray:
        with lock:
            read.add(k)
        return np.zeros((1, 8, 8), np.float32)

    data = array_from_blocks(
        frame,
        name=f"frames-{dz}-{scheduler}",
        chunks=((1,) * count, (8,), (8,)),
        dtype=np.float32,
        per_block=lambda index: index[0],
    )
    fine = stack3d.from_array(data, pixel_size=(10, 5, 5)).stack3d.resample(dz=dz)
    z = fine["z"].values
    reach = max(10.0, float(z[1] - z[0])) - 1e-6
    users = [set(np.flatnonzero(abs(z - 10 * k) < reach).tolist()) for k in range(count)]

    def write(block: np.ndarray, start: tuple[int, ...]) -> None:
        with lock:
            written.add(start[0])
            most[0] = max(most[0], sum(bool(users[k] - written) for k in read))

    ds = fine.to_dataset(name="image")
    with dask.config.set(scheduler=scheduler, num_workers=2):
        _stream.write_frames(ds, write, tmp_path, label="test", arguments=lambda name: {})
    assert len(read) == count
    assert len(written) == z.size
    assert most[0] <= 24


def test_long_work_tells_its_memory(monkeypatch):
    import io

    stream = io.StringIO()
    monkeypatch.setattr(_meter, "LONG", 0.0)
    meter = _meter.Meter("work", "frames", 10, None, stream)
    meter.advance(5)
    meter._show()
    line = stream.getvalue()
    assert re.search(r"5/10 frames, .* frames/s, .* elapsed, .* left", line)
    if _meter.peak_memory() is not None:
        assert re.search(r"peak \d+\.\d GiB", line)


def test_work_of_which_nothing_is_done_yet_tells_how_long_it_goes_on(monkeypatch):
    import io

    stream = io.StringIO()
    meter = _meter.Meter("destripe", "frames", 1, 40, stream)
    meter._began -= 45
    meter._show()
    assert "0/40 frames, 0:45 elapsed" in stream.getvalue()
    assert "frames/s" not in stream.getvalue()


@pytest.mark.parametrize("kept", [None, 15])
def test_writing_counts_the_frames_that_are_missing(monkeypatch, tmp_path, kept):
    from stack3d import progress

    told = []
    compute = progress.compute

    def noting(*lazy, **options):
        told.append(options["total"])
        return compute(*lazy, **options)

    monkeypatch.setattr(progress, "compute", noting)
    ds = lazy(40).chunk(z=10).to_dataset(name="image")
    needed = None if kept is None else (lambda name, start, shape: start[0] < kept)
    written = []
    _stream.write_frames(
        ds,
        lambda block, start: written.append(block.shape[0]),
        tmp_path / "x",
        label="write",
        arguments=lambda name: {},
        needed=needed,
    )
    assert told == [sum(written)]
    assert told == [40 if kept is None else 20]


def test_tasks_of_the_preset_grow_with_the_slices_alone_and_no_slice_is_read(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import planning

    recipe = planning.recipe_of("fibsem")
    few, many = (planning.passes(recipe, slices, 128, 4) for slices in (24, 48))
    assert [found["label"] for found in few] == [found["label"] for found in many]
    assert len(few) > 5
    for less, more in zip(few, many, strict=True):
        assert more["tasks"] <= 1.1 * less["tasks"] + 0.1  # a block
        assert more["held"] <= 1.5 * less["held"] + 1e5
