"""What every operation promises, for every operation: values whatever the blocks, dtype, labels, an untouched input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import dask
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d._provenance import OPERATIONS
from stack3d.testing import (
    assert_chunk_invariant,
    assert_contract,
    assert_input_unchanged,
)

Step = Callable[[xr.DataArray], xr.DataArray]

# Ways to use each operation; those of one name differ in what they do to the axes.
WAYS: dict[str, list[Step]] = {
    "crop": [lambda s: s.stack3d.crop(y=slice(1, -2), x=slice(3, None), by="index")],
    "bin": [
        lambda s: s.stack3d.bin(y=2, x=3),
        lambda s: s.stack3d.bin(z=min(2, s.sizes.get("z", 1)), y=1, x=2, reduction="median"),
    ],
    "flip": [lambda s: s.stack3d.flip(dims="x"), lambda s: s.stack3d.flip(dims=[d for d in "zyx" if d in s.dims])],
    "reslice": [lambda s: s.stack3d.reslice(axis="y"), lambda s: s.stack3d.reslice(axis="x")],
    "apply_transforms": [
        lambda s: s.stack3d.apply_transforms(estimate=shifts(s)),
        lambda s: s.stack3d.apply_transforms(estimate=shifts(s), order="lanczos", fill="constant", crop="common"),
    ],
    "register": [lambda s: s.stack3d.register(lags=2)],
    "resample": [
        lambda s: s.stack3d.resample() if "z" in s.dims else s.stack3d.resample(dy="2 px"),
        lambda s: s.stack3d.resample(dy="1.6 px", dx="0.7 px"),
        lambda s: s.stack3d.resample(**along_z(s, "0.6 px"), method="cubic", dx="1.3 px"),
        lambda s: s.stack3d.resample(**along_z(s, "1.7 px"), dy="0.5 px"),
        lambda s: s.stack3d.resample(**along_z(s, "0.7 px"), dy="1.5 px", method="nearest"),
    ],
    "invert": [lambda s: s.stack3d.invert()],
    "match_histograms": [lambda s: s.stack3d.match_histograms(nbins=32)],
    "level_slices": [
        lambda s: s.stack3d.level_slices(),
        lambda s: s.stack3d.level_slices(statistic="median", window=3),
    ],
    "rescale_intensity": [lambda s: s.stack3d.rescale_intensity(quantiles=(0.02, 0.97))],
}
EACH = [pytest.param(name, step, id=f"{name}-{k}") for name, steps in WAYS.items() for k, step in enumerate(steps)]
MEASURED = sorted(name for name, known in OPERATIONS.items() if known.estimator is not None)
NEED_Z = {"reslice", "apply_transforms", "register", "level_slices"}

SIZES = {
    "odd": {"z": 5, "y": 17, "x": 21},
    "even": {"z": 4, "y": 16, "x": 16},
    "channels": {"channel": 2, "z": 3, "y": 18, "x": 15},
    "two slices": {"z": 2, "y": 15, "x": 20},
    "one slice": {"z": 1, "y": 16, "x": 19},
    "frame": {"y": 16, "x": 21},
}
DTYPES = ["uint8", "uint16", "int16", "float32"]
# Every dtype with the plain stack, every shape with one integer and one float.
MATRIX = [(dtype, "odd") for dtype in DTYPES] + [(d, s) for s in SIZES if s != "odd" for d in ("uint16", "float32")]


def along_z(da: xr.DataArray, step: str) -> dict[str, str]:
    return {"dz": step} if "z" in da.dims else {}


def shifts(da: xr.DataArray) -> xr.Dataset:
    """Return transforms of part of a pixel for the slices of `da`, without measuring anything."""
    place = da["z"].variable.to_base_variable()
    blank = stack3d.from_array(np.zeros((1, 16, 16), np.uint8), pixel_size=1.0)
    found = stack3d.estimate_transforms(blank).isel(z=[0] * place.size).assign_coords(z=("z", place.values))
    found["transform"] = found["transform"].copy(deep=True)
    found["transform"][:, 0, 2] = 0.4 * (-1) ** np.arange(place.size)
    found["transform"][:, 1, 2] = -0.3
    frame = stack3d.grid.Frame.of(da)
    return found.assign_attrs(frame=stack3d.estimates.json.dumps(frame.to_dict()))


def make(sizes: dict[str, int], dtype: str = "uint16", *, uneven: bool = True, facts: bool = True) -> xr.DataArray:
    """Return a structured stack with a brightness and a place of its own for each slice."""
    rng = np.random.default_rng(4)
    dims, shape = tuple(sizes), tuple(sizes.values())
    rows, cols = sizes["y"] + 8, sizes["x"] + 8
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(cols), indexing="ij"))
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((rows, cols))) * np.exp(-60 * frequency**2)).real
    texture /= texture.std()
    values = np.empty(shape)
    for index in np.ndindex(shape[:-2]):
        dy, dx = rng.integers(0, 5, 2)
        frame = texture[dy : dy + sizes["y"], dx : dx + sizes["x"]]
        values[index] = 0.5 + 0.08 * rng.uniform(0.9, 1.1) * frame + rng.normal(0, 0.02)
    values = (values + rng.normal(0, 0.01, shape)).clip(0.1, 0.9)
    if dtype != "float32":
        limits = np.iinfo(dtype)
        values = np.rint(limits.min + values * (float(limits.max) - limits.min))
    z = 30.0 + np.cumsum(rng.uniform(16, 24, sizes["z"])) if "z" in sizes and uneven else None
    core = stack3d.from_array(
        np.asarray(values, dtype).reshape(
            shape[-4:] if "channel" in sizes else shape[-3:] if len(shape) < 4 else shape[1:]
        )
        if "time" not in sizes
        else np.asarray(values[0], dtype),
        pixel_size=(5.0, 5.0) if z is not None or "z" not in sizes else (20.0, 5.0, 5.0),
        z=z,
        attrs={"instrument": "A", "gains": np.array([1.0, 2.0])},
    )
    da = core
    if "time" in sizes:
        da = xr.DataArray(np.asarray(values, dtype), dims=dims, coords=core.coords, name=core.name, attrs=core.attrs)
    if facts and "z" in sizes:
        count = sizes["z"]
        da = da.assign_coords(
            slice_number=("z", np.arange(count) + 7),
            valid=("z", np.arange(count) != (3 if count > 3 else -1)),
            working_distance=("z", np.linspace(4, 5, count), {"units": "mm"}),
        )
    return da


def stack_for(name: str, shape: str, dtype: str, **options: bool) -> xr.DataArray:
    da = make(SIZES[shape], dtype, uneven=name != "reslice", **options)
    if shape == "odd":
        measured = np.random.default_rng(5).random(da.shape) < 0.9
        da = da.assign_coords(mask=(da.dims, measured))
    return da


@pytest.fixture(autouse=True)
def _one_after_the_other_and_without_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # As where it is not installed: nothing here may ask for it.
    monkeypatch.setitem(sys.modules, "cupy", None)
    with dask.config.set(scheduler="synchronous"):
        yield


def test_no_operation_is_missing():
    assert set(WAYS) == set(OPERATIONS)


@pytest.mark.parametrize(("dtype", "shape"), MATRIX, ids=[f"{shape}-{dtype}" for dtype, shape in MATRIX])
@pytest.mark.parametrize(("name", "step"), EACH)
def test_contract(name, step, dtype, shape):
    da = stack_for(name, shape, dtype)
    if shape == "frame" and name in NEED_Z:
        with pytest.raises(ValueError, match="'z' missing"):
            step(da)
        return
    assert_contract(step, da, lazy=OPERATIONS[name].estimator is None)


@pytest.mark.parametrize(("dtype", "shape"), MATRIX, ids=[f"{shape}-{dtype}" for dtype, shape in MATRIX])
@pytest.mark.parametrize("name", MEASURED)
def test_contract_with_an_estimate_made_before(name, dtype, shape):
    da, known = stack_for(name, shape, dtype), OPERATIONS[name]
    if shape == "frame" and name in NEED_Z:
        return
    estimate = known.estimator(da)
    before = estimate.copy(deep=True)
    assert_contract(lambda s: known.function(s, estimate=estimate), da)
    xr.testing.assert_identical(estimate, before)
    np.testing.assert_array_equal(known.function(da, estimate=estimate).values, known.function(da).values)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("name", MEASURED)
def test_estimates_do_not_depend_on_blocks_and_leave_the_stack_alone(name, dtype):
    for shape in ("odd", "channels"):
        da = stack_for(name, shape, dtype)
        assert_chunk_invariant(OPERATIONS[name].estimator, da)
        assert_input_unchanged(OPERATIONS[name].estimator, da)


@pytest.mark.parametrize("labels", ["uncalibrated", "without coordinates"])
@pytest.mark.parametrize(("name", "step"), EACH)
def test_a_stack_without_positions_works(name, step, labels):
    da = stack3d.from_array(make(SIZES["channels"]).values, pixel_size=None)
    if labels == "without coordinates":
        da = da.drop_vars(["z", "y", "x", "channel"])
    assert_contract(step, da, lazy=OPERATIONS[name].estimator is None, chunks=[{"z": 1}])
    assert set(stack3d.pixel_size(step(da)).units) == {"1"}


@pytest.mark.parametrize(("name", "step"), EACH)
def test_a_further_leading_dim_is_carried_along_or_refused(name, step):
    da = make({"time": 2, "z": 3, "y": 15, "x": 18}, uneven=name != "reslice")
    if name == "register":
        with pytest.raises(ValueError, match="'time'"):
            step(da)
        estimate = stack3d.estimate_transforms(da.isel(time=0))
        step = lambda s: s.stack3d.register(estimate=estimate)  # noqa: E731
    assert_contract(
        step, da, lazy=OPERATIONS[name].estimator is None or name == "register", chunks=[{"time": 1, "z": 2}]
    )
    if name in ("match_histograms", "level_slices", "rescale_intensity", "register"):
        return  # measures both times together, or each by itself: said by the tests of each
    for k in range(2):
        np.testing.assert_array_equal(step(da).isel(time=k).values, step(da.isel(time=k)).values)
