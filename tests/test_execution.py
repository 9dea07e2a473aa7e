"""The three ways to run a kernel: labels, laziness, order, reads and tasks."""

from __future__ import annotations

import threading
import warnings

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import execution, windows
from stack3d._blocks import array_from_blocks


def add(frame: np.ndarray, amount: float = 0) -> np.ndarray:
    return frame + np.asarray(amount).astype(frame.dtype)


def total(frames: list[np.ndarray]) -> np.ndarray:
    return np.sum(frames, axis=0, dtype=np.float64)


def mean_of(frame: np.ndarray) -> dict[str, float]:
    return {"mean": float(frame.mean())}


def make(dims: tuple[str, ...] = ("z", "y", "x"), seed: int = 0) -> xr.DataArray:
    sizes = {"time": 2, "channel": 2, "z": 7, "y": 6, "x": 5}
    rng = np.random.default_rng(seed)
    return xr.DataArray(rng.integers(0, 100, [sizes[d] for d in dims], dtype=np.uint16), dims=dims)


DIMS = [("y", "x"), ("z", "y", "x"), ("channel", "z", "y", "x"), ("time", "channel", "z", "y", "x")]


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_frames_are_mapped_alike_in_memory_and_lazily(dims, size):
    da = make(dims)
    amount = xr.DataArray(np.arange(da.sizes.get("z", 1)), dims="z") if "z" in dims else xr.DataArray(3)
    expected = (da + amount).values
    lazy = da.chunk({d: (size if d == "z" else -1) for d in dims})
    for stack in (da, lazy):
        data = execution.map_frames(stack, add, per_frame={"amount": amount})
        assert isinstance(data, dask.array.Array) == (stack is lazy)
        np.testing.assert_array_equal(np.asarray(data), expected)


def test_building_the_graph_calls_no_kernel_and_computes_nothing():
    def fail(frame):
        raise AssertionError("called")

    lazy = make().chunk(z=2)
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("computed")):
        data = execution.map_frames(lazy, fail)
        windows.map_windows(lazy, fail, windows.centred(7, 1))
    assert data.shape == lazy.shape


def test_a_chain_of_slicewise_steps_is_one_task_a_block():
    def read(paths):
        return np.stack([np.full((6, 5), path, np.uint16) for path in paths])

    data = array_from_blocks(
        read, name="read", chunks=((2, 2, 2), (6,), (5,)), dtype=np.uint16, per_block=lambda index: [index[0]] * 2
    )
    da = xr.DataArray(data, dims=("z", "y", "x"))
    for step in range(4):
        da = da.copy(data=execution.map_frames(da, add, arguments={"amount": step}))
    (optimised,) = dask.optimize(da.data)
    assert len(dict(optimised.__dask_graph__())) == 3
    np.testing.assert_array_equal(da.values[:, 0, 0], np.repeat([0, 1, 2], 2) + 6)


def test_one_slice_of_a_lazy_chain_costs_one_block():
    reads = []

    def read(number):
        reads.append(number)
        return np.zeros((1, 6, 5), np.uint16)

    data = array_from_blocks(
        read, name="read-one", chunks=((1,) * 50, (6,), (5,)), dtype=np.uint16, per_block=lambda index: index[0]
    )
    da = xr.DataArray(data, dims=("z", "y", "x"))
    for _ in range(3):
        da = da.copy(data=execution.map_frames(da, add))
    da.isel(z=[10, 30]).compute()
    assert sorted(reads) == [10, 30]


@pytest.mark.parametrize("dims", DIMS[1:])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("halo", [0, 1, 3, 10])
def test_windows_see_the_same_neighbours_whatever_the_chunks(dims, size, halo):
    da = make(dims)
    count = da.sizes["z"]
    ranges = windows.centred(count, halo)
    expected = np.stack([da.isel(z=slice(a, b)).sum("z").values for a, b in ranges], axis=-3)
    for stack in (da, da.chunk({d: (size if d == "z" else -1) for d in dims})):
        data = windows.map_windows(stack, total, ranges, dtype=np.float64)
        np.testing.assert_array_equal(np.asarray(data), expected)


def test_windows_may_skip_repeat_and_go_back():
    da = make()
    ranges = np.array([[5, 7], [0, 2], [0, 2], [3, 4]])
    expected = [da.isel(z=slice(a, b)).values.sum(axis=0) for a, b in ranges]
    for stack in (da, da.chunk(z=2)):
        np.testing.assert_array_equal(np.asarray(windows.map_windows(stack, total, ranges, dtype=np.float64)), expected)


@pytest.mark.parametrize("bad", [[[0, 8]], [[-1, 2]], [[3, 3]], [[1]], []])
def test_windows_outside_the_stack_are_refused(bad):
    with pytest.raises(ValueError, match="windows"):
        windows.map_windows(make(), total, np.array(bad))


@pytest.mark.parametrize("dims", DIMS)
def test_reductions_come_in_slice_order(dims):
    da = make(dims)
    expected = da.mean(["y", "x"]).values
    for stack in (da, da.chunk({d: (2 if d == "z" else -1) for d in dims})):
        found = execution.reduce_frames(stack, mean_of)["mean"]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.shape == da.shape[:-2]


@pytest.mark.parametrize("lazy", [False, True])
def test_each_frame_is_prepared_once_for_all_its_windows(lazy):
    da = make()
    prepared, lock = [], threading.Lock()

    def prepare(frame):
        with lock:
            prepared.append(int(frame[0, 0]))
        return float(frame.mean())

    def pair(frames):
        return {"difference": frames[-1] - frames[0]}

    stack = da.chunk(z=3) if lazy else da
    ranges = np.array([[0, 2], [1, 3], [2, 4], [0, 3], [1, 4], [4, 7]])
    found = windows.reduce_windows(stack, pair, ranges, prepare=prepare)["difference"]
    means = da.mean(["y", "x"]).values
    np.testing.assert_allclose(found, [means[b - 1] - means[a] for a, b in ranges])
    assert len(prepared) == 7


def spread(frames, scale, offset):
    return np.array([scale * (frames[-1] - frames[0]) + offset, len(frames)])


@pytest.mark.parametrize("dims", DIMS[1:])
@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
def test_measures_of_windows_are_the_same_whatever_the_chunks_and_each_frame_is_prepared_once(dims, size):
    da = make(dims)
    prepared, lock = [], threading.Lock()

    def prepare(frame):
        with lock:
            prepared.append(1)
        return float(frame.mean())

    stack = da if size is None else da.chunk({d: (size if d == "z" else -1) for d in dims})
    ranges = np.array([[0, 2], [1, 3], [2, 4], [0, 3], [1, 4], [4, 7]])
    found = windows.measure_windows(
        stack, spread, ranges, width=2, prepare=prepare, arguments={"scale": 2.0}, per_output={"offset": np.arange(6)}
    )
    assert isinstance(found, dask.array.Array) == (size is not None)
    assert (found.shape, found.dtype) == ((*da.shape[:-3], 6, 2), np.float64)
    assert not prepared or size is None
    mean = da.mean(["y", "x"]).values
    expected = np.stack([2.0 * (mean[..., b - 1] - mean[..., a]) + k for k, (a, b) in enumerate(ranges)], axis=-1)
    values = np.asarray(found)
    np.testing.assert_allclose(values[..., 0], expected)
    np.testing.assert_array_equal(values[..., 1], np.broadcast_to(np.diff(ranges)[:, 0], expected.shape))
    assert len(prepared) == np.prod(da.shape[:-2])


def test_one_row_of_a_lazy_measure_reads_only_its_window():
    read = []

    def prepare(frame):
        read.append(1)
        return float(frame.mean())

    ranges = np.stack([np.arange(6), np.arange(2, 8)], axis=1)
    found = windows.measure_windows(
        make().chunk(z=1), spread, ranges, width=2, prepare=prepare, arguments={"scale": 1.0, "offset": 0.0}
    )
    found[3].compute(scheduler="synchronous")
    assert len(read) == 2


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("broken", ["prepare", "measure"])
def test_a_broken_frame_or_window_reaches_the_caller_and_leaves_no_thread_waiting(workers, broken):
    def prepare(frame):
        if broken == "prepare" and frame[0, 0] == 3:
            raise RuntimeError("broken")
        return float(frame[0, 0])

    def kernel(frames):
        if broken == "measure" and frames[0] == 3:
            raise RuntimeError("broken")
        return np.zeros(1)

    da = make()
    da.values[:, 0, 0] = np.arange(7)
    ranges = np.stack([np.arange(6), np.arange(2, 8)], axis=1)
    before = threading.active_count()
    with stack3d.set_options(workers=workers), pytest.raises(RuntimeError, match="broken"):
        windows.measure_windows(da, kernel, ranges, width=1, prepare=prepare)
    assert threading.active_count() == before


@pytest.mark.parametrize("lazy", [False, True])
def test_a_measure_of_another_width_than_announced_is_found_out(lazy):
    stack = make().chunk(z=3) if lazy else make()
    with pytest.raises(ValueError, match=r"where \(5,\) was announced"):
        np.asarray(
            windows.measure_windows(
                stack,
                spread,
                np.array([[0, 2]]),
                width=5,
                prepare=np.mean,
                arguments={"scale": 1.0, "offset": 0.0},
            )
        )


def test_kernels_that_give_another_dtype_than_announced_are_found_out():
    with pytest.raises(TypeError, match="announced"):
        execution.map_frames(make(), add, dtype=np.float32)


def test_blocks_of_part_frames_are_merged_with_a_warning():
    da = make().chunk(y=2, x=5)
    with pytest.warns(execution.RechunkWarning, match="whole frames"):
        data = execution.map_frames(da, add, arguments={"amount": 1})
    np.testing.assert_array_equal(data.compute(), da.values + 1)


@pytest.mark.parametrize("lazy", [False, True])
def test_saturation_above_a_thousandth_warns(lazy):
    def cut(frame, share):
        return frame, int(share * frame.size)

    da = xr.DataArray(np.zeros((2, 100, 100), np.uint8), dims=("z", "y", "x"))
    stack = da.chunk(z=1) if lazy else da
    with pytest.warns(execution.SaturationWarning, match="0.1 % of the pixels of a block" if lazy else "0.5 %"):
        np.asarray(execution.map_frames(stack, cut, arguments={"share": 0.005}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.asarray(execution.map_frames(stack, cut, arguments={"share": 0.001}))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_do_not_depend_on_the_number_of_threads(workers):
    da = make(seed=3)
    with stack3d.set_options(workers=workers):
        np.testing.assert_array_equal(execution.map_frames(da, add, arguments={"amount": 2}), da.values + 2)


def test_an_error_in_a_kernel_reaches_the_caller():
    def fail(frame):
        raise RuntimeError("frame is broken")

    for stack in (make(), make().chunk(z=2)):
        with pytest.raises(RuntimeError, match="frame is broken"):
            np.asarray(execution.map_frames(stack, fail))
