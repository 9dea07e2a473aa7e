from __future__ import annotations

import pickle

import cloudpickle
import dask
import numpy as np
import pytest
import tifffile
import xarray as xr

from stack3d.io import open_stack, save
from stack3d.io._frames import FrameError


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One stack with two channels as each kind of source, and its values."""
    folder = tmp_path_factory.mktemp("sources")
    data = np.random.default_rng(0).integers(0, 60_000, (2, 6, 10, 12)).astype("uint16")
    for name, frames in zip(("A", "B"), data):
        (folder / "frames" / name).mkdir(parents=True)
        for k, frame in enumerate(frames):
            tifffile.imwrite(folder / "frames" / name / f"slice_{k}_z={10 * k + (k > 2)}nm.tif", frame)
    da = open_stack(folder / "frames", pixel_size=5)
    metadata = {"axes": "CZYX", "PhysicalSizeX": 5, "PhysicalSizeXUnit": "nm", "Channel": {"Name": ["A", "B"]}}
    tifffile.imwrite(folder / "plain.tif", data, ome=True, photometric="minisblack", metadata=metadata)
    tifffile.imwrite(
        folder / "zip.tif", data, ome=True, photometric="minisblack", metadata=metadata, compression="zlib"
    )
    for name in ("s.zarr", "s.nc", "saved.tif"):
        save(da, folder / name)
    (folder / "colour").mkdir()
    colours = np.moveaxis(data, 0, -1)
    colours = np.concatenate([colours, colours[..., :1] + 1], axis=-1)
    for k, frame in enumerate(colours):
        tifffile.imwrite(folder / "colour" / f"s{k}.tif", frame, photometric="rgb")
    return folder, data


KINDS = ["frames", "plain.tif", "zip.tif", "s.zarr", "s.nc", "saved.tif", "colour"]


@pytest.mark.parametrize("kind", KINDS)
def test_open_dataset_gives_what_open_stack_gives(sources, kind):
    folder, _ = sources
    ds = xr.open_dataset(folder / kind, engine="stack3d")
    assert list(ds.data_vars) == ["image"]
    xr.testing.assert_identical(ds.image.compute(), open_stack(folder / kind).compute())


@pytest.mark.parametrize("kind", ["frames", "zip.tif", "s.zarr", "s.nc", "colour"])
@pytest.mark.parametrize(
    "key",
    [
        {"z": 3}, {"z": -1, "x": -2}, {"z": slice(1, 6, 2), "y": slice(None, None, -1)}, {"channel": [1, 0], "y": 4},
        {"z": [5, 1, 1], "channel": 1, "x": [3, 3, 1]}, {"z": slice(0, 0)},
        {"channel": slice(1, 2), "z": slice(5, 2, -1)},
        {"z": xr.DataArray([0, 2], dims="p"), "y": xr.DataArray([1, 3], dims="p")},
    ],
)  # fmt: skip
def test_every_way_to_index_gives_the_right_pixels(sources, kind, key):
    folder, _ = sources
    ds = xr.open_dataset(folder / kind, engine="stack3d")
    expected = open_stack(folder / kind).compute().isel(key)
    np.testing.assert_array_equal(ds.image.isel(key).values, expected.values)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_make_it_lazy(sources, kind):
    folder, _ = sources
    ds = xr.open_dataset(folder / kind, engine="stack3d", chunks={})
    assert dask.is_dask_collection(ds.image)
    np.testing.assert_array_equal(ds.image.values, open_stack(folder / kind).values)


def test_parameters_reach_the_reader(sources):
    folder, data = sources
    ds = xr.open_dataset(folder / "frames" / "A", engine="stack3d", pattern="slice_{slice}_*", pixel_size=3, z=range(6))
    assert ds.z.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert ds.x.attrs["spacing"] == 3.0
    np.testing.assert_array_equal(ds.image.values, data[0])
    assert "slice_number" not in xr.open_dataset(folder / "frames", engine="stack3d", drop_variables="slice_number")


def test_xarray_does_not_choose_it_by_itself(sources):
    from stack3d.io.backend import Stack3DBackend

    folder, _ = sources
    assert not any(Stack3DBackend().guess_can_open(folder / kind) for kind in KINDS)
    assert "stack3d" in xr.backends.list_engines()


@pytest.mark.parametrize("kind", KINDS)
def test_a_lazy_stack_travels_without_its_pixels(sources, kind):
    folder, _ = sources
    da = open_stack(folder / kind)
    content = cloudpickle.dumps(da)
    assert len(content) < 60_000
    np.testing.assert_array_equal(cloudpickle.loads(content).values, da.values)


@pytest.mark.parametrize("kind", ["frames", "plain.tif", "zip.tif", "colour"])
def test_a_dataset_of_frames_pickles_as_paths(sources, kind):
    folder, _ = sources
    ds = xr.open_dataset(folder / kind, engine="stack3d")
    content = pickle.dumps(ds)
    assert len(content) < 10_000
    np.testing.assert_array_equal(pickle.loads(content).image.values, ds.image.values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_values_do_not_depend_on_the_scheduler_of_this_process(sources, kind, scheduler):
    folder, _ = sources
    da = open_stack(folder / kind, frames_per_block=1)
    with dask.config.set(scheduler=scheduler, num_workers=4):
        np.testing.assert_array_equal(da.values, open_stack(folder / kind).compute(scheduler="synchronous").values)


def test_values_do_not_depend_on_processes(sources):
    folder, _ = sources
    arrays = [open_stack(folder / kind, frames_per_block=2) for kind in KINDS]
    computed = dask.compute(*arrays, scheduler="processes", num_workers=2)
    for array, result in zip(arrays, computed):
        np.testing.assert_array_equal(result.values, array.compute(scheduler="synchronous").values)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", KINDS)
def test_values_do_not_depend_on_a_cluster(sources, client, kind):
    folder, _ = sources
    da = open_stack(folder / kind, frames_per_block=1)
    expected = da.compute(scheduler="synchronous")
    np.testing.assert_array_equal(client.compute(da).result().values, expected.values)
    ds = xr.open_dataset(folder / kind, engine="stack3d", chunks={})
    np.testing.assert_array_equal(client.compute(ds.image).result().values, expected.values)


def test_an_error_on_a_cluster_names_the_frame(tmp_path, client):
    for k in range(3):
        tifffile.imwrite(tmp_path / f"slice_{k}.tif", np.zeros((5, 6 + (k == 2)), "uint8"))
    da = open_stack(tmp_path, frames_per_block=1)
    with pytest.raises(
        FrameError, match=r"slice_2.tif has another size than the rest: 5 x 7 uint8, expected 5 x 6 uint8"
    ):
        client.compute(da).result()
