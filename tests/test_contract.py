"""What every operation promises, for every operation: values whatever the blocks, dtype, labels, an untouched input."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator

import dask
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import estimates
from stack3d._provenance import OPERATIONS
from stack3d.grid import spacing_of, units_of
from stack3d.operations import BlankSliceWarning
from stack3d.operations._transforms import describe
from stack3d.testing import (
    assert_chunk_invariant,
    assert_contract,
    assert_input_unchanged,
    assert_stack_equal,
    assert_valid_stack,
)

# Small random frames share nothing: registration says so, which is not the subject here.
pytestmark = pytest.mark.filterwarnings(
    "ignore::stack3d.UntiedSliceWarning",
    "ignore::stack3d.UntiedChannelWarning",
    "ignore::stack3d.BlankSliceWarning",
    "ignore:fuse_channels. the stack has dims",
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
    "correct_tilt": [
        lambda s: s.stack3d.correct_tilt(angle=52),
        lambda s: s.stack3d.correct_tilt(angle=52, pixels="square", order=0),
    ],
    "deskew": [
        lambda s: s.stack3d.deskew(shift="-0.08 px", fill="edge", canvas="same"),
        lambda s: s.stack3d.deskew(shift="1.3 px", integer=True, fill="edge", canvas="same"),
    ],
    "apply_transforms": [
        lambda s: s.stack3d.apply_transforms(estimate=shifts(s)),
        lambda s: s.stack3d.apply_transforms(estimate=shifts(s), order="lanczos", fill="constant", crop="common"),
    ],
    "register": [lambda s: s.stack3d.register(lags=2)],
    "align_channels": [
        lambda s: named(s).stack3d.align_channels(estimate=offsets(s)),
        lambda s: named(s).stack3d.align_channels(estimate=offsets(s), order="lanczos", fill="constant", crop="common"),
    ],
    "resample": [
        lambda s: s.stack3d.resample() if "z" in s.dims else s.stack3d.resample(dy="2 px"),
        lambda s: s.stack3d.resample(dy="1.6 px", dx="0.7 px"),
        lambda s: s.stack3d.resample(**along_z(s, "0.6 px"), method="cubic", dx="1.3 px"),
        lambda s: s.stack3d.resample(**along_z(s, "1.7 px"), dy="0.5 px"),
        lambda s: s.stack3d.resample(**along_z(s, "0.7 px"), dy="1.5 px", method="nearest"),
        lambda s: s.stack3d.resample(estimate=moved(s), dy="1.5 px"),
    ],
    "fuse_channels": [
        lambda s: s.stack3d.fuse_channels(),
        lambda s: s.stack3d.fuse_channels(weights=[0.25] * s.sizes.get("channel", 1)),
    ],
    "invert": [lambda s: s.stack3d.invert()],
    "replace_slices": [
        lambda s: s.stack3d.replace_slices(),
        lambda s: s.stack3d.replace_slices(method="flag"),
    ],
    "fill_pixels": [
        lambda s: s.stack3d.fill_pixels(deviations=2.5),
        lambda s: s.stack3d.fill_pixels(deviations=2.5, method="inpaint", combine="any"),
    ],
    "remove_background": [
        lambda s: s.stack3d.remove_background(degree=1),
        lambda s: s.stack3d.remove_background(method="gaussian", per="slice"),
    ],
    "flatten": [lambda s: s.stack3d.flatten(degree=1, dark=-40000)],
    "astype": [lambda s: s.stack3d.astype(dtype="float32")],
    "destripe": [
        lambda s: s.stack3d.destripe(sigma=(0.5, 8)),
        lambda s: s.stack3d.destripe(
            filters=[{"sigma": (1, 6), "angle": 70, "noise_level": 2.0}], neighbours=int("z" in s.dims)
        ),
        lambda s: s.stack3d.destripe(method="wavelet", options={"wavelet": "haar"}),
        lambda s: s.stack3d.destripe(method="multiscale", angle=20, options={"scales": 2}),
        lambda s: s.stack3d.destripe(method="wedge", angle=90),
    ],
    "match_histograms": [lambda s: s.stack3d.match_histograms(nbins=32)],
    "level_slices": [
        lambda s: s.stack3d.level_slices(),
        lambda s: s.stack3d.level_slices(statistic="median", window=3),
        lambda s: s.stack3d.level_slices(lags=2),
        lambda s: s.stack3d.level_slices(statistic="unchanged", window="auto"),
    ],
    "local_contrast": [
        lambda s: s.stack3d.local_contrast(size=3, smoothing=5),
        lambda s: s.stack3d.local_contrast(method="clahe", tiles=2),
    ],
    "global_contrast": [lambda s: s.stack3d.global_contrast()],
    "denoise": [
        lambda s: s.stack3d.denoise(),
        lambda s: s.stack3d.denoise(method="nlm_z") if "z" in s.dims else s.stack3d.denoise(method="median"),
    ],
    "rescale_intensity": [lambda s: s.stack3d.rescale_intensity(quantiles=(0.02, 0.97))],
}
EACH = [pytest.param(name, step, id=f"{name}-{k}") for name, steps in WAYS.items() for k, step in enumerate(steps)]
NEED_Z = {"reslice", "deskew", "apply_transforms", "register", "level_slices", "replace_slices"}
MEASURED = sorted(name for name, known in OPERATIONS.items() if known.estimator is not None and known.when is None)

SIZES = {
    "odd": {"z": 5, "y": 17, "x": 21},
    "even": {"z": 4, "y": 16, "x": 16},
    "channels": {"channel": 2, "z": 3, "y": 18, "x": 15},
    "two slices": {"z": 2, "y": 15, "x": 20},
    "one slice": {"z": 1, "y": 16, "x": 19},
    "frame": {"y": 16, "x": 21},
}
DTYPES = ["uint8", "uint16", "int16", "float32"]
# Every dtype, and every shape; with several blockings where the shape is worth it.
MATRIX = [
    ("uint8", "odd"), ("uint16", "odd"), ("int16", "odd"), ("float32", "odd"), ("uint16", "channels"),
    ("float32", "even"), ("uint16", "two slices"), ("float32", "one slice"), ("uint16", "frame"),
]  # fmt: skip
IDS = [f"{shape}-{dtype}" for dtype, shape in MATRIX]


def blocks(dtype: str, shape: str) -> list[dict[str, int]] | None:
    """Return the ways to cut a stack: all of `assert_contract`, or one slice a block and all in one."""
    thorough = dtype == "uint16" and shape in ("odd", "channels")
    return None if thorough else [{"z": 1} if "z" in SIZES[shape] else {}]


def along_z(da: xr.DataArray, step: str) -> dict[str, str]:
    return {"dz": step} if "z" in da.dims else {}


def shifts(da: xr.DataArray) -> xr.Dataset:
    """Return transforms of part of a pixel for the slices of `da`, without measuring anything."""
    matrices = np.tile(np.eye(3), (da.sizes.get("z", 1), 1, 1))
    matrices[:, 0, 2] = 0.4 * (-1) ** np.arange(len(matrices))
    matrices[:, 1, 2] = -0.3
    return describe(da if "z" in da.dims else da.expand_dims("z"), matrices, np.ones(len(matrices), bool))


def named(da: xr.DataArray) -> xr.DataArray:
    """Return a stack without channels as one of a channel that knows its name."""
    return da if "channel" in da.dims else da.assign_coords(channel="BSE")


def offsets(da: xr.DataArray) -> xr.Dataset:
    """Return transforms of part of a pixel for two channels, without measuring anything."""
    matrices = np.tile(np.eye(3), (2, 1, 1))
    matrices[:, 0, 2], matrices[:, 1, 2] = (0.4, -0.4), -0.3
    if "channel" not in da.dims:
        da = da.expand_dims(channel=["SE", "BSE"])
    return estimates.make("channel_offset", {"transform": (("channel", "row", "col"), matrices)}, da)


def moved(da: xr.DataArray) -> xr.Dataset | None:
    """Return other positions for the slices of `da`, without measuring anything."""
    if "z" not in da.dims:
        return None
    z = da["z"].values + 0.2 * spacing_of(da, "z") * (-1.0) ** np.arange(da.sizes["z"])
    position = ("z", z, {"units": units_of(da, "z")})
    return estimates.make("thickness", {"position": position}, da if "z" in da.coords else da.assign_coords(z=da["z"]))


def make(sizes: dict[str, int], dtype: str = "uint16", *, uneven: bool = True) -> xr.DataArray:
    """Return a structured stack with a brightness and a place of its own for each slice, and facts along z."""
    rng = np.random.default_rng(4)
    dims, shape = tuple(sizes), tuple(sizes.values())
    rows, cols = sizes["y"] + 8, sizes["x"] + 8
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(cols), indexing="ij"))
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((rows, cols))) * np.exp(-60 * frequency**2)).real
    texture /= texture.std()
    values = rng.normal(0.5, 0.02, shape)
    for index in np.ndindex(shape[:-2]):
        dy, dx = rng.integers(0, 5, 2)
        frame = texture[dy : dy + sizes["y"], dx : dx + sizes["x"]]
        values[index] += 0.08 * rng.uniform(0.9, 1.1) * frame
    values = values.clip(0.1, 0.9)
    if dtype != "float32":
        limits = np.iinfo(dtype)
        values = np.rint(limits.min + values * (float(limits.max) - limits.min))
    values = values.astype(dtype)
    count = sizes.get("z", 0)
    one = values[(0,) * (len(dims) - (3 if count else 2))]
    attrs = {"instrument": "A", "gains": np.array([1.0, 2.0])}
    if count and uneven:
        core = stack3d.from_array(one, pixel_size=(5, 5), z=30 + np.cumsum(rng.uniform(16, 24, count)), attrs=attrs)
    else:
        core = stack3d.from_array(one, pixel_size=(20, 5, 5) if count else 5, attrs=attrs)
    da = xr.DataArray(values, dims=dims, coords=core.coords, name=core.name, attrs=core.attrs)
    if "channel" in sizes:
        da = da.assign_coords(channel=["SE", "BSE"])
    if not count:
        return da
    return da.assign_coords(
        slice_number=("z", np.arange(count) + 7),
        valid=("z", np.arange(count) != (3 if count > 3 else -1)),
        working_distance=("z", np.linspace(4, 5, count), {"units": "mm"}),
    )


def stack_for(name: str, shape: str, dtype: str) -> xr.DataArray:
    da = make(SIZES[shape], dtype, uneven=name != "reslice")
    if shape == "odd":
        measured = np.random.default_rng(5).random(da.shape) < 0.9
        # Facts of each row of each slice have no meaning on another grid, and must not stand in the way.
        da = da.assign_coords(mask=(da.dims, measured), row_time=(("z", "y"), np.ones(da.shape[:2])))
    if shape == "channels":
        da = da.assign_coords(
            intensity_gain=(("channel", "z"), np.linspace(0.9, 1.1, 6).reshape(2, 3)),
            intensity_levelled=(("channel", "z"), np.arange(6).reshape(2, 3) != 4),
        )
    return da


@pytest.fixture(autouse=True)
def _one_after_the_other_and_without_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # As where it is not installed: nothing here may ask for it.
    monkeypatch.setitem(sys.modules, "cupy", None)
    with dask.config.set(scheduler="synchronous"):
        yield


def test_no_operation_is_missing():
    assert set(WAYS) == set(OPERATIONS)


@pytest.mark.parametrize(("dtype", "shape"), MATRIX, ids=IDS)
@pytest.mark.parametrize(("name", "step"), EACH)
def test_contract(name, step, dtype, shape):
    da = stack_for(name, shape, dtype)
    if shape == "frame" and name in NEED_Z:
        with pytest.raises(ValueError, match="'z' missing"):
            step(da)
        return
    lazy, keeps = name not in MEASURED, name != "astype"
    assert_contract(step, da, lazy=lazy, keeps_dtype=keeps, chunks=blocks(dtype, shape))


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        (name, *pair)
        for name in MEASURED
        for pair in MATRIX
        if not (name in NEED_Z and pair[1] == "frame") and (name != "align_channels" or pair[1] == "channels")
    ],
)
def test_contract_with_an_estimate_made_before(name, dtype, shape):
    da, known = stack_for(name, shape, dtype), OPERATIONS[name]
    dark = {"dark": -40000} if name == "flatten" else {}
    estimate = known.estimator(da, **dark)
    before = estimate.copy(deep=True)
    assert_contract(lambda s: known.function(s, estimate=estimate), da, chunks=blocks(dtype, shape))
    assert_stack_equal(estimate, before)
    np.testing.assert_array_equal(known.function(da, estimate=estimate).values, known.function(da, **dark).values)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("name", MEASURED)
def test_estimates_do_not_depend_on_blocks_and_leave_the_stack_alone(name, dtype):
    da = stack_for(name, "channels", dtype)
    assert_chunk_invariant(OPERATIONS[name].estimator, da)
    assert_input_unchanged(OPERATIONS[name].estimator, da)


@pytest.mark.filterwarnings("ignore::stack3d.execution.RechunkWarning")
@pytest.mark.parametrize(("name", "step"), EACH)
def test_steps_follow_each_other_where_blocks_cut_frames_and_the_mask_otherwise(name, step):
    da = stack_for(name, "odd", "uint8")
    lazy = da.chunk(z=2, y=9, x=8).assign_coords(mask=da["mask"].variable.chunk(z=3, y=12))
    result = step(lazy)
    assert result.chunks is not None
    for key, coord in result.coords.items():
        shared = [dim for dim in coord.dims if dim in result.dims] if coord.chunks is not None else []
        assert all(coord.variable.chunksizes[dim] == result.variable.chunksizes[dim] for dim in shared), key
    xr.testing.assert_equal(result.stack3d.invert().compute(), step(da).stack3d.invert())


@pytest.mark.parametrize(("name", "step"), EACH)
def test_a_stack_without_positions_works(name, step):
    da = stack3d.from_array(make(SIZES["channels"]).values, pixel_size=None)
    bare = da.drop_vars(["z", "y", "x", "channel"])
    lazy, keeps = name not in MEASURED, name != "astype"
    assert_contract(step, bare, lazy=lazy, keeps_dtype=keeps, chunks=[{"z": 1}])
    result = step(da)
    assert_valid_stack(result)
    assert stack3d.pixel_size(result).units == "1"
    np.testing.assert_array_equal(step(bare).values, result.values)


@pytest.mark.parametrize(("name", "step"), EACH)
def test_a_further_leading_dim_is_carried_along_or_refused(name, step):
    da = make({"time": 2, "z": 3, "y": 15, "x": 18}, uneven=name != "reslice")
    if name == "register":
        with pytest.raises(ValueError, match="'time'"):
            step(da)
        estimate = stack3d.estimate_transforms(da.isel(time=0))
        da, step = da, functools.partial(stack3d.register, estimate=estimate)
    measures = name in MEASURED and name not in ("register", "align_channels")
    assert_contract(step, da, lazy=not measures, keeps_dtype=name != "astype", chunks=[{"time": 1, "z": 2}])
    for k in range(2):
        one = step(da.isel(time=k))
        np.testing.assert_array_equal(step(da).isel(time=k).values, one.values)


# How far a missing pixel may reach, in voxels of the input along z and within the frame. None: it moves with its place.
REACH: dict[str, list[tuple[float, float] | None]] = {
    "crop": [None],
    "bin": [(0, 1), (0.6, 0.5)],
    "flip": [None, None],
    "reslice": [None, None],
    "correct_tilt": [None, None],
    "deskew": [(0, 3.4), None],
    "apply_transforms": [(0, 3.4), (0, 3.4)],  # three taps on either side of a shift by 0.4
    "register": [(0, 3.4)],
    "align_channels": [(0, 3.4), (0, 3.4)],
    "resample": [(1, 0), (0, 1.3), (3, 1.2), (1.4, 1), (0.5, 0.8), (1.4, 1)],
    "fuse_channels": [(0, 0), (0, 0)],
    "invert": [(0, 0)],
    "replace_slices": [(1, 0), (1, 0)],
    "fill_pixels": [(0, 1.5), (0, 4.5)],
    "astype": [(0, 0)],
    "flatten": [(0, 0)],
    "remove_background": [(0, 0), (0, 0)],
    "destripe": [(0, 30), (2, 30), (0, 30), (0, 30), (0, 30)],  # stripes may cross the frame
    "match_histograms": [(0, 0)],
    "level_slices": [(0, 0), (0, 0), (0, 0), (0, 0)],
    "local_contrast": [(0, 30), (0, 30)],  # a wide mean, tiles of half the frame
    "global_contrast": [(0, 0)],
    "denoise": [(0, 1e3), (1, 1e3)],  # what all blocks of a frame have in common counts in each
    "rescale_intensity": [(0, 0)],
}


def test_the_reach_of_missing_pixels_is_stated_for_every_way():
    assert {name: len(reach) for name, reach in REACH.items()} == {name: len(steps) for name, steps in WAYS.items()}


@pytest.mark.parametrize(
    ("name", "step", "reach"),
    [
        pytest.param(name, step, REACH[name][k], id=f"{name}-{k}")
        for name, steps in WAYS.items()
        for k, step in enumerate(steps)
    ],
)
def test_missing_pixels_reach_no_further_than_stated(name, step, reach):
    whole = make(SIZES["odd"], "float32", uneven=name != "reslice")
    whole = named(whole) if name == "align_channels" else whole
    holes = np.zeros(whole.shape, bool)
    holes[1, 4, 5:8] = holes[2, 9, 9] = holes[4, -1, -1] = holes[2, 0, 10] = True
    da = whole.where(~xr.DataArray(holes, dims=whole.dims))
    known = OPERATIONS[name]
    if name in MEASURED:
        # From the whole stack, so that only the pixels themselves can make a difference,
        planted = {"register": shifts, "align_channels": offsets}
        estimate = planted.get(name, known.estimator)(whole)
        # though one made with missing pixels must not lose more of them.
        assert np.count_nonzero(np.isnan(step(da))) <= 2 * np.count_nonzero(holes)
        step = functools.partial(known.function, estimate=estimate)
    expected, found = step(whole), step(da)
    assert np.isfinite(expected).all()
    if reach is None:
        # Flags go the same way as pixels: what is moved is moved with them.
        moved = step(whole.copy(data=holes))
        np.testing.assert_array_equal(np.isnan(found), moved)
        np.testing.assert_array_equal(found.where(~moved, 0), expected.where(~moved, 0))
        return
    affected = np.isnan(found) | (found != expected)
    assert affected.any()
    assert not (affected & ~near(da, found, reach)).any()
    # Missing is only what has nothing better: its nearest pixel is missing too.
    assert not (
        np.isnan(found)
        & ~near(
            da, found, (0.5, 0.9 if "transforms" in name or name in ("register", "deskew", "align_channels") else 0.5)
        )
    ).any()


def near(da: xr.DataArray, result: xr.DataArray, reach: tuple[float, float]) -> xr.DataArray:
    """Return which voxels of `result` lie within `reach` voxels of `da` of one that is missing there."""
    close = xr.zeros_like(result, dtype=bool)
    far = {"z": reach[0] * float(np.diff(da["z"]).max()), "y": reach[1] * 5.0, "x": reach[1] * 5.0}
    for place in np.argwhere(np.isnan(da.values)):
        inside = [abs(result[dim] - float(da[dim][k])) <= far[dim] + 1e-6 for dim, k in zip("zyx", place, strict=True)]
        close = close | (inside[0] & inside[1] & inside[2])
    return close.drop_vars([name for name in close.coords if name not in "zyx"])


@pytest.mark.parametrize("missing", ["a slice", "everything"])
@pytest.mark.parametrize(("name", "step"), EACH)
def test_frames_without_a_measured_pixel_do_no_harm(name, step, missing):
    da = make(SIZES["odd"], "float32", uneven=name != "reslice")
    da[{"z": 1 if missing == "a slice" else slice(None)}] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlankSliceWarning)
        result = step(da)
        lazy, keeps = name not in MEASURED, name != "astype"
        assert_contract(step, da, lazy=lazy, keeps_dtype=keeps, chunks=[{"z": 2}])
    if missing == "everything":
        assert np.isnan(result).all()
    else:
        assert np.isfinite(result).any()
