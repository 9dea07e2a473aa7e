"""Shortcuts of runs and of their graphs: nothing is other than on the long way."""

from __future__ import annotations

import pickle
import shutil

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph

import stack3d
from stack3d import Recipe, _blocks, _fusion, _graphs, progress
from stack3d._blocks import array_from_blocks
from stack3d.io import _attrs, _kept_chunks, _stream, _zarr_chunks, write_zarr
from stack3d.runs import Step, _check, _ready, runner


def blocks(name, function, *sources, count=6, per_block=None):
    lengths = ((1,) * count, (4,), (5,))
    return array_from_blocks(function, name=name, chunks=lengths, dtype=float, sources=sources, per_block=per_block)


def made(name="made", count=6):
    return blocks(name, lambda k: np.full((1, 4, 5), float(k)), count=count, per_block=lambda index: index[0])


def fused(*arrays):
    merged = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    return _fusion.fused(merged, [key for array in arrays for key in dask.core.flatten(array.__dask_keys__())])


def values(*arrays):
    return [array.compute(scheduler="synchronous", optimize_graph=False) for array in arrays]


def test_two_ways_that_part_and_meet_within_a_block_are_one_task():
    read = made()
    left, right = (blocks(name, lambda b, n=n: b + n, read) for n, name in enumerate(("left", "right"), 1))
    both = blocks("both", lambda a, b: 10 * a + b, left, right)
    graph = fused(both)
    assert len(graph) == 6
    assert not any(task.dependencies for task in graph.values())
    (expected,) = values(both)
    np.testing.assert_array_equal(progress.compute(both, label="test")[0], expected)
    np.testing.assert_array_equal(expected[:, 0, 0], 10 * (np.arange(6) + 1) + np.arange(6) + 2)


def test_what_is_wanted_itself_or_by_several_blocks_is_a_task_of_its_own():
    read = made("read-of-its-own")
    first = blocks("first", lambda b: b + 1, read)
    second = blocks("second", lambda b: 2 * b, first)
    graph = fused(first, second)
    assert len(graph) == 12
    for found, expected in zip(progress.compute(first, second, label="test"), values(first, second), strict=True):
        np.testing.assert_array_equal(found, expected)
    # Each block is used by two.
    smooth = second[1:] - second[:-1]
    np.testing.assert_array_equal(progress.compute(smooth, label="test")[0], values(smooth)[0])


def test_layers_of_dask_between_ours_give_what_dask_gives():
    read = made("read-for-dask")
    mixed = blocks("of-mixed", lambda b: b - 3, (read[:, ::-1] * 2 + read.mean(axis=0)).rechunk((1, 4, 5)))
    table = mixed.sum(axis=(1, 2))
    for found, expected in zip(progress.compute(mixed, table, label="test"), values(mixed, table), strict=True):
        np.testing.assert_allclose(found, expected)


def test_slices_of_foreign_arrays_are_left_to_dask():
    read = []

    class Foreign:
        shape, dtype, ndim = (6, 4, 5), np.dtype(float), 3

        def __getitem__(self, index):
            read.append(index)
            return np.zeros(self.shape)[index]

    da = dask.array.from_array(Foreign(), chunks=(2, 4, 5), meta=np.empty((0, 0, 0)), inline_array=True)
    part = da[:, 1:3]
    assert fused(part) is None
    read.clear()
    progress.compute(part, label="test")
    assert all(index[1] == slice(1, 3, None) for index in read)  # the rest of a block is not read


def test_a_fused_task_lets_go_of_what_nothing_needs_any_longer_and_can_be_sent():
    alive: list[int] = []

    class Block:
        def __init__(self):
            alive.append(1)

        def __del__(self):
            alive.pop()

    most = []

    def follow(*_):
        most.append(len(alive))
        return Block()

    chain = _fusion.Fused(
        tuple(_fusion._Step(follow, (k - 1,) * (k > 0), (k - 1,) * (k > 0), (), {}) for k in range(6))
    )
    chain()
    assert max(most) <= 1
    twice = _fusion.Fused((_fusion._Step(np.add, (0, 1), (0, 1), (), {"dtype": float}),))
    assert pickle.loads(pickle.dumps(twice))(1, 2) == 3.0


def small():
    return stack3d.synthetic.make_stack((12, 40, 40), defects={"gain": True}, seed=3).stack


def steps():
    return Recipe([Step("invert", {}, True), "match_histograms", ("resample", {"dz": "7 nm"})])


def chunks_of(store):
    return zarr.open_group(store, mode="r")["stack"].chunks


@pytest.mark.parametrize(
    ("lengths", "side", "most", "frames"),
    [
        ((4, 4, 4), 40, 2**21, 4),
        ((4, 4, 4), 40, 3 * 40 * 40 * 4, 2),  # three would fit
        ((4, 4, 1), 40, 2**21, 4),  # the last block may end early
        ((4, 4, 5), 40, 2**21, 1),  # but not late
        ((4, 3, 5), 40, 2**21, 1),
        ((12,), 40, 2**21, 12),
        ((4, 4, 4), 40, 1000, 1),  # no two frames fit
    ],
)
def test_a_chunk_holds_what_every_block_is_made_of(monkeypatch, lengths, side, most, frames):
    monkeypatch.setattr(_blocks, "_BLOCK_BYTES", most)
    data = dask.array.zeros((sum(lengths), side, side), dtype=np.uint8, chunks=(lengths, -1, -1))
    da = stack3d.from_array(data, pixel_size=1)
    together = _stream.frames_together(da)
    assert together == frames
    assert _stream.block_chunks(da.to_dataset(name="stack"), together)["stack"] == (frames, side, side)


def test_a_run_stores_small_frames_together_and_others_read_them(tmp_path):
    whole = stack3d.run(steps(), small().chunk(z=5), out=tmp_path / "clean.zarr")
    single = stack3d.run(steps(), small().chunk(z=(4, 3, 5)), out=tmp_path / "single.zarr")
    (checkpoint,) = (tmp_path / "clean.zarr.run/checkpoints").glob("*.zarr")
    assert chunks_of(checkpoint) == chunks_of(tmp_path / "clean.zarr") == (5, 40, 40)
    assert chunks_of(tmp_path / "single.zarr") == (1, 40, 40)
    assert whole.sizes["z"] % 5  # the last chunk is not full
    np.testing.assert_array_equal(whole, single)
    np.testing.assert_array_equal(whole, xr.open_zarr(tmp_path / "clean.zarr")["stack"])
    np.testing.assert_array_equal(whole.isel(z=[5]), single.isel(z=[5]))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("side", "frames"), [(40, 40), (300, 4), (512, 2), (1024, 1)])
def test_a_stack_is_saved_with_small_frames_together_lazy_or_not(tmp_path, monkeypatch, side, frames, dtype):
    data = np.zeros((40, side, side), dtype)
    data[:, 0, 0] = np.arange(1, 41)
    da = stack3d.from_array(data, pixel_size=1).rename("stack")
    per_block = _blocks.frames_per_block(data[0].nbytes)
    for name, given in (("held", da), ("lazy", da.chunk(z=per_block))):
        given.stack3d.save(tmp_path / f"{name}.zarr")
        assert chunks_of(tmp_path / f"{name}.zarr") == (frames, side, side)
        np.testing.assert_array_equal(stack3d.open_stack(tmp_path / f"{name}.zarr"), data)
    da.chunk(z=(7, 33)).stack3d.save(tmp_path / "odd.zarr")
    assert chunks_of(tmp_path / "odd.zarr") == (1, side, side)
    np.testing.assert_array_equal(stack3d.open_stack(tmp_path / "odd.zarr")[[6, 7, 39]], data[[6, 7, 39]])


def test_a_block_that_shares_a_chunk_is_refused(tmp_path):
    ds = _attrs.encode_stack(small().astype("uint8").rename("stack"))
    write_zarr.declare(ds, tmp_path / "a.zarr", compression=None, chunks={"stack": (4, 40, 40)})
    frames = np.zeros((4, 40, 40), np.uint8)
    with pytest.raises(ValueError, match="does not fill chunks"):
        write_zarr.write_block(frames, (2, 0, 0), path=str(tmp_path / "a.zarr"), name="stack")
    with pytest.raises(ValueError, match="does not fill chunks"):
        write_zarr.write_block(frames[:3], (4, 0, 0), path=str(tmp_path / "a.zarr"), name="stack")


def test_a_checkpoint_held_in_memory_gives_the_bytes_of_one_read_from_disk(tmp_path, monkeypatch):
    reads = []
    decode = _zarr_chunks._read_into

    def counted(target, chunks, index, place):
        reads.extend([_kept_chunks.find(chunks.mark, tuple(index)) is not None] * len(target))
        decode(target, chunks, index, place)

    monkeypatch.setattr(_zarr_chunks, "_read_into", counted)
    results = []
    for name, limit in (("held", 2**27), ("read", 0)):
        monkeypatch.setattr(_kept_chunks, "LIMIT", limit)
        reads.clear()
        results.append(stack3d.run(steps(), small().chunk(z=2), out=tmp_path / f"{name}.zarr").compute())
        frames = [held for held in reads if held]
        assert (len(frames) >= 24) == (limit > 0)
        assert not _kept_chunks._held
        assert _kept_chunks._size == 0
    np.testing.assert_array_equal(*(result.values for result in results))


def test_what_is_too_large_together_is_not_held(monkeypatch):
    monkeypatch.setattr(_kept_chunks, "LIMIT", 100)
    frame = np.arange(10.0)
    with _kept_chunks.until_done():
        with _kept_chunks.keeping(101):
            _kept_chunks.keep((1,), (0,), frame)
        assert _kept_chunks.find((1,), (0,)) is None
        with _kept_chunks.keeping(80):
            _kept_chunks.keep((1,), (0,), frame)
            _kept_chunks.keep((1,), (0,), frame + 1)  # a block that is written again
            _kept_chunks.keep((1,), (1,), frame)
        frame[:] = 0
        np.testing.assert_array_equal(_kept_chunks.find((1,), (0,)), np.arange(10.0) + 1)
        assert _kept_chunks.find((1,), (1,)) is None
        _kept_chunks.keep((1,), (2,), frame)
        assert _kept_chunks.find((1,), (2,)) is None  # not asked for any longer
    assert _kept_chunks.find((1,), (0,)) is None
    with _kept_chunks.keeping(8):
        _kept_chunks.keep((1,), (0,), frame)
    assert _kept_chunks.find((1,), (0,)) is None


def test_a_recipe_without_faults_is_walked_through_once_before_the_run(tmp_path, monkeypatch):
    calls = []
    real = _check._of_values
    monkeypatch.setattr(_check, "_of_values", lambda *a: calls.append("checks") or real(*a))
    forecast = runner.forecast
    for module in (_ready, runner):
        monkeypatch.setattr(module, "forecast", lambda *a: calls.append("forecast") or forecast(*a))
    stack3d.run(steps(), small(), out=tmp_path / "a.zarr", report=False)
    assert calls == ["forecast"]
    calls.clear()
    with pytest.raises(stack3d.RecipeError, match=r"step 2 \(match_histograms\).*nbins"):
        stack3d.run(Recipe(["invert", ("match_histograms", {"nbins": -1})]), small(), out=tmp_path / "b.zarr")
    assert calls == ["forecast", "checks"]
    shutil.rmtree(tmp_path / "a.zarr")


def test_joined_graphs_still_go_along_the_stack():
    read = made("read-along", 40)
    pairs = read[1:] - read[:-1]
    graph, last = _graphs.ready([pairs.rechunk((1, 4, 5))])
    assert last in graph
