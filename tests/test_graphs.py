"""The graphs of whole passes: how many tasks they have, and that nothing of them is lost."""

from __future__ import annotations

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import Alias, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

import stack3d
from stack3d import _graphs, progress
from stack3d._blocks import array_from_blocks
from stack3d.operations._mean_frame import mean_frame


def lazy(count: int) -> xr.DataArray:
    frames = np.random.default_rng(0).integers(0, 60000, (count, 8, 8), dtype=np.uint16)
    return stack3d.from_array(dask.array.from_array(frames, chunks=(1, 8, 8)), pixel_size=(10, 5, 5))


def read(k: int) -> np.ndarray:
    return np.full((1, 8, 8), k, np.uint16)


def test_a_chain_of_steps_is_one_task_a_block_from_reading_on():
    data = array_from_blocks(
        read,
        name="read-for-graphs",
        chunks=((1,) * 40, (8,), (8,)),
        dtype=np.uint16,
        per_block=lambda index: index[0],
    )
    chain = stack3d.from_array(data, pixel_size=(10, 5, 5)).stack3d.invert().astype("float32")
    graph, last = _graphs.ready([chain.data])
    assert len(graph) == 40
    assert last is None
    np.testing.assert_array_equal(progress.compute(chain.data, label="test")[0][:, 0, 0], 65535 - np.arange(40))


@pytest.mark.parametrize("dz", ["8 nm", "23 nm"])
def test_a_graph_has_no_second_names_and_gives_what_dask_gives(dz):
    fine = lazy(30).astype("float32").stack3d.resample(dz=dz).data
    graph, last = _graphs.ready([fine])
    assert last in graph
    assert not any(isinstance(task, Alias) for task in graph.values())
    np.testing.assert_array_equal(progress.compute(fine, label="test")[0], fine.compute(scheduler="synchronous"))


def made(name: str) -> dask.array.Array:
    return array_from_blocks(
        read, name=name, chunks=((1,) * 12, (8,), (8,)), dtype=np.uint16, per_block=lambda index: index[0]
    )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "through",
    [
        lambda da: xr.concat([da, da.assign_coords(z=da.z + 120)], "z"),
        lambda da: xr.map_blocks(lambda block: block + 1, da, template=da),
        lambda da: da.pad(z=(2, 0), mode="edge"),
        lambda da: da.copy(data=dask.array.map_overlap(np.negative, da.data, depth=(1, 0, 0), boundary="reflect")),
        lambda da: da.copy(data=da.data.blocks[::-1]),
        lambda da: da.rolling(z=3, center=True, min_periods=1).mean(),
        lambda da: da.expand_dims("channel").copy(data=dask.array.stack([da.data])),
    ],
    ids=["concat", "map_blocks", "pad", "overlap", "blocks", "rolling", "stack"],
)
def test_steps_of_dask_and_xarray_on_ours_give_what_dask_gives(through, workers):
    da = stack3d.from_array(made("read-for-others"), pixel_size=(10, 5, 5)).stack3d.invert()
    found = through(da).data
    with dask.config.set(scheduler="threads", num_workers=workers):
        values = progress.compute(found, label="test")[0]
    np.testing.assert_array_equal(values, found.compute(scheduler="synchronous", optimize_graph=False))


def test_a_stack_put_together_of_corrected_ones_is_saved(tmp_path):
    da = stack3d.from_array(made("read-for-two"), pixel_size=(10, 5, 5)).stack3d.invert()
    both = xr.concat([da, da.assign_coords(z=da.z + 120)], "z")
    both.stack3d.save(tmp_path / "both.zarr")
    kept = stack3d.open_stack(tmp_path / "both.zarr")
    np.testing.assert_array_equal(kept[:, 0, 0], 65535 - np.arange(24) % 12)


def test_tasks_take_objects_of_any_kind_and_have_keys_of_any_kind():
    class Odd:
        key = [1, 2]  # noqa: RUF012
        args = 3
        kwargs = None

    source = made("read-for-odd")
    pair = (source.name, 0, 0, 0), (source.name, 1, 0, 0)
    tasks = {
        7: Task(7, lambda a, _, b: a + b, TaskRef(pair[0]), Odd(), TaskRef(pair[1])),
        ("odd", 0, 0, 0): Task(("odd", 0, 0, 0), lambda a, b: a + b, TaskRef(7), TaskRef(pair[1])),
    }
    graph = HighLevelGraph.from_collections("odd", tasks, dependencies=[source])
    odd = dask.array.Array(graph, "odd", ((1,), (8,), (8,)), dtype=np.uint16)
    assert progress.compute(odd, label="test")[0].max() == 2


def test_arrays_that_share_tasks_and_depend_on_each_other_are_computed_together():
    first = lazy(6).astype("float32").data
    second = first + 1
    a, b, again = progress.compute(first, second, first, label="test")
    np.testing.assert_array_equal(a, first.compute(scheduler="synchronous"))
    np.testing.assert_array_equal(b, a + 1)
    np.testing.assert_array_equal(again, a)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("chunk", [1, 5, 16, 20])
def test_the_mean_of_slices_has_the_same_bits_in_blocks(dtype, chunk):
    values = np.random.default_rng(1).normal(3000, 500, (300, 4, 5)).astype(dtype)
    if dtype == "float32":
        values[:, 0, 0] = np.nan
        values[::3, 1, 1] = np.nan
        values[:, 2, 2] = -0.0
    da = xr.DataArray(values, dims=("z", "y", "x"))
    found = mean_frame(da.chunk(z=chunk), "test")
    assert found.tobytes() == mean_frame(da, "test").tobytes()
    with np.errstate(invalid="ignore"):
        count = np.isfinite(values).sum(axis=0)
        exact = np.where(count > 0, np.nansum(values.astype(np.longdouble), axis=0) / count, np.nan)
    np.testing.assert_allclose(found, exact.astype(float), rtol=1e-12)
