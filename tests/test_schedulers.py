"""The same bits from every scheduler and chunking, and every frame read as often as said."""

from __future__ import annotations

import re
import threading
from collections import Counter

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import _meter
from stack3d._blocks import array_from_blocks

SHAPE = (12, 64, 72)


def frames(indices: list[int]) -> np.ndarray:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    waves = rng.uniform(0.05, 0.6, (12, 2)), rng.uniform(0, 6, 12)
    return np.stack(
        [
            (900 + 25 * k + sum(60 * np.sin(a * (y + 0.3 * k) + b * x + p) for (a, b), p in zip(*waves, strict=True)))
            for k in indices
        ]
    ).astype(np.uint16)


def lazy_stack(per_block: int, read=frames) -> xr.DataArray:
    count = SHAPE[0]
    chunks = tuple(min(per_block, count - start) for start in range(0, count, per_block))
    starts = np.concatenate([[0], np.cumsum(chunks)]).astype(int)
    data = array_from_blocks(
        read,
        name=f"source-{per_block}-{id(read)}",
        chunks=(chunks, SHAPE[1:2], SHAPE[2:]),
        dtype=np.uint16,
        per_block=lambda index: list(range(starts[index[0]], starts[index[0] + 1])),
    )
    z = np.cumsum(np.random.default_rng(1).uniform(8, 12, count))
    return stack3d.from_array(data, pixel_size=(5, 5), z=z)


def chain(da: xr.DataArray) -> xr.DataArray:
    return (
        da.stack3d.crop(y=slice(2, 62), by="index")
        .stack3d.match_histograms()
        .stack3d.register(crop="common")
        .stack3d.resample(dz="9 nm")
    )


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return chain(lazy_stack(12).compute()).values


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("per_block", [1, 5, 12])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_threads_and_chunks_do_not_change_a_bit(expected, per_block, scheduler):
    with dask.config.set(scheduler=scheduler):
        np.testing.assert_array_equal(chain(lazy_stack(per_block)).values, expected)


def test_processes_do_not_change_a_bit(expected):
    with dask.config.set(scheduler="processes", num_workers=2):
        np.testing.assert_array_equal(chain(lazy_stack(5)).values, expected)


def test_a_cluster_does_not_change_a_bit_and_progress_works_on_it(expected, client, capsys, monkeypatch):
    monkeypatch.setattr(_meter, "FIRST_BAR", 0.0)
    with client.as_current(), stack3d.set_options(progress=True):
        result = chain(lazy_stack(2))
        np.testing.assert_array_equal(result.values, expected)
    assert "estimate transforms" in capsys.readouterr().err


def test_the_memory_of_each_worker_of_a_cluster_is_asked_for(client):
    from stack3d.runs import _plan

    with client.as_current():
        found = _plan.machine()
    assert found["workers"] == "2"
    assert re.fullmatch(r"up to [\d.]+ [MG]B each", found["peak_memory_of_workers"])
    assert "workers" not in _plan.machine()


def test_a_cluster_saves(expected, client, tmp_path):
    with client.as_current():
        chain(lazy_stack(2)).stack3d.save(tmp_path / "clean.zarr")
    np.testing.assert_array_equal(stack3d.open_stack(tmp_path / "clean.zarr").values, expected)


def test_a_run_on_a_cluster_by_its_address_writes_the_bytes_of_one_on_threads(client, tmp_path):
    made = stack3d.synthetic.make_stack((8, 48, 48), defects={"gain": True, "uneven_z": True}).stack
    source = made.chunk(z=1).stack3d.save(tmp_path / "raw.zarr")
    steps = [("crop", {"y": slice(2, 46), "by": "index"}), "level_slices", ("resample", {"dz": "9 nm"})]
    recipe = stack3d.Recipe(steps, input={"path": str(source), "frames_per_block": 1})
    written = []
    for name, scheduler in (("threads", "threads"), ("cluster", client.cluster.scheduler_address)):
        stack3d.run(recipe, out=tmp_path / f"{name}.zarr", scheduler=scheduler)
        files = [f for f in (tmp_path / f"{name}.zarr").rglob("*") if f.name[0] in "c0123456789" and f.is_file()]
        written.append({str(f.relative_to(tmp_path / f"{name}.zarr")): f.read_bytes() for f in files})
    assert written[0] == written[1]
    assert len(written[0]) > 8


@pytest.mark.parametrize("per_block", [1, 4])
def test_each_frame_is_read_once_for_each_estimate_and_once_to_apply(per_block):
    reads: Counter[int] = Counter()
    lock = threading.Lock()

    def counted(indices: list[int]) -> np.ndarray:
        with lock:
            reads.update(indices)
        return frames(indices)

    da = lazy_stack(per_block, counted)
    every = Counter(range(SHAPE[0]))
    steps = {
        "match_histograms": lambda s: s.stack3d.match_histograms(),
        "level_slices": lambda s: s.stack3d.level_slices(),
        "rescale_intensity": lambda s: s.stack3d.rescale_intensity(dtype="uint8"),
        "register": lambda s: s.stack3d.register(),
    }
    for name, step in steps.items():
        reads.clear()
        result = step(da)
        assert reads == every, f"{name}: estimating"
        reads.clear()
        result.compute()
        assert reads == every, f"{name}: applying"
    for free in (lambda s: s.stack3d.resample(), lambda s: s.stack3d.bin(z=2), lambda s: s.stack3d.invert()):
        reads.clear()
        result = free(da)
        assert not reads
        result.compute()
        assert reads == every
    reads.clear()
    table = da.stack3d.slice_statistics()
    assert not reads
    table.compute()
    assert reads == every
    reads.clear()
    chained = da.stack3d.match_histograms().stack3d.register().stack3d.resample()
    assert reads == every + every, "one read an estimate"
    reads.clear()
    chained.compute()
    assert reads == every, "one read to apply the whole chain"


def test_graphs_grow_with_the_number_of_blocks_and_no_faster():
    def tasks(count: int) -> int:
        data = dask.array.zeros((count, 8, 8), chunks=(1, 8, 8), dtype=np.uint16)
        da = stack3d.from_array(data, pixel_size=5)
        moved = da.stack3d.invert().stack3d.resample(dz=4).stack3d.invert()
        (optimised,) = dask.optimize(moved.data)
        return len(optimised.__dask_graph__())

    assert tasks(400) <= 2.05 * tasks(200)
