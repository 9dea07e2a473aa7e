"""Distances between slices measured from texture: against planted distances, and what resample does with them."""

import functools

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d.kernels import decorrelation, thickness

PIXEL = 5.0


@functools.cache
def texture(count: int = 180, size: int = 112) -> np.ndarray:
    """Return an isotropic random volume, alike along all axes, smooth over some three voxels."""
    rng = np.random.default_rng(3)
    shape = (count, size, size)
    axes = np.meshgrid(np.fft.fftfreq(count), np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    squared = sum(f**2 for f in axes)
    volume = np.fft.irfftn(
        np.fft.rfftn(rng.standard_normal(shape)) / (squared + 0.03**2) ** 1.6, s=shape, axes=(0, 1, 2)
    )
    return (volume / volume.std()).astype(np.float32)


@functools.cache
def planted(seed: int = 0) -> tuple[xr.DataArray, np.ndarray]:
    """Return a stack whose slices are 1, 2 or 3 voxels apart, told to be even, and the true distances in nm."""
    steps = np.random.default_rng(seed).choice([1, 2, 3], size=100, p=[0.6, 0.3, 0.1])
    kept = np.concatenate([[0], np.cumsum(steps)])
    kept = kept[kept < 180]
    rng = np.random.default_rng(seed + 1)
    frames = 100 + 20 * texture()[kept] + rng.normal(0, 2, (kept.size, 112, 112))
    return stack3d.from_array(frames.astype(np.float32), pixel_size=PIXEL), PIXEL * np.diff(kept).astype(float)


@functools.cache
def measured() -> xr.Dataset:
    """Return the estimate of the planted stack, from the slices themselves, with the true mean distance."""
    da, truth = planted()
    return da.stack3d.estimate_thickness(distance=float(truth.mean()))


def increments(estimate: xr.Dataset) -> np.ndarray:
    return estimate["increment"].values[1:]


def test_planted_distances_are_found_within_ten_percent():
    _, truth = planted()
    estimate = measured()
    error = increments(estimate) / truth - 1
    assert np.sqrt(np.mean(error**2)) < 0.1
    assert np.median(np.abs(error)) < 0.06
    for distance in np.unique(truth):
        assert abs(error[truth == distance].mean()) < 0.06
    assert estimate["measured"].all()
    assert np.nanmedian(estimate["increment_error"]) < 0.1 * truth.mean()


@pytest.mark.parametrize("axis", ["y", "x"])
def test_distances_are_absolute_where_the_texture_is_isotropic(axis):
    da, truth = planted()
    # Told to be four times as thick, and in another unit: neither may matter.
    told = stack3d.from_array(da.values, pixel_size=(0.02, 0.005, 0.005), units="um")
    for stack, factor in ((da, 1.0), (told, 1000.0)):
        found = increments(stack.stack3d.estimate_thickness(curve=axis, scale="35 nm")) * factor
        assert found.mean() == pytest.approx(truth.mean(), rel=0.08)
        assert np.median(np.abs(found / truth - 1)) < 0.1


def test_the_unit_is_that_of_the_frame_where_z_has_none():
    da, truth = planted()
    bare = da.drop_vars("z")
    estimate = bare.stack3d.estimate_thickness(curve="x")
    assert estimate["position"].attrs["units"] == "nm"
    assert increments(estimate).mean() == pytest.approx(truth.mean(), rel=0.08)


def test_relative_distances_keep_the_length_of_the_stack():
    da, _ = planted()
    estimate = da.stack3d.estimate_thickness()
    assert estimate["position"].values[[0, -1]] == pytest.approx(da["z"].values[[0, -1]])
    assert (increments(estimate) > 0).all()
    np.testing.assert_allclose(np.diff(estimate["position"]), increments(estimate))
    assert estimate.attrs["kind"] == "thickness"
    assert stack3d.provenance(estimate)[-1]["operation"] == "estimate_thickness"


def test_a_noisy_slice_does_not_look_thick():
    da, truth = planted()
    noisy = da.copy()
    noisy[20] = noisy[20] + np.random.default_rng(9).normal(0, 10, noisy.shape[1:])
    spoilt = noisy.stack3d.estimate_thickness(distance=float(truth.mean()))
    ratio = increments(spoilt)[19:21] / increments(measured())[19:21]
    assert ((ratio > 0.8) & (ratio < 1.2)).all()
    quality = spoilt["quality"].values
    assert quality.argmin() == 20
    assert quality[20] < 0.95


def test_a_bad_slice_does_not_look_thick():
    da, truth = planted()
    bad = da.copy()
    # Half of the frame shows something else, as after a charging artefact: no noise, but unlike its neighbours.
    bad[30, :56] = bad[30, :56].values[::-1]
    estimate = bad.stack3d.estimate_thickness(distance=float(truth.mean()))
    clean, spoilt = increments(measured()), increments(estimate)
    assert spoilt[29] + spoilt[30] == pytest.approx(clean[29] + clean[30], rel=0.35)
    others = np.delete(np.arange(clean.size), [29, 30])
    np.testing.assert_allclose(spoilt[others], clean[others], rtol=0.12)
    assert estimate["quality"].values.argmin() == 30


def test_gain_offset_and_uneven_brightness_do_not_matter():
    da, truth = planted()
    rng = np.random.default_rng(2)
    gain = xr.DataArray(rng.uniform(0.7, 1.3, da.sizes["z"]), dims="z")
    ramp = xr.DataArray(np.linspace(0, 1, da.sizes["x"]), dims="x")
    changed = (da * gain + 300 * gain * ramp).transpose("z", "y", "x").assign_coords(da.coords)
    np.testing.assert_allclose(
        increments(changed.stack3d.estimate_thickness(distance=float(truth.mean()))), increments(measured()), rtol=0.05
    )


def test_blank_and_bad_slices_are_bridged_and_flagged():
    da, _ = planted()
    da = da.copy()
    da[40] = np.nan
    da[50] = 7.0
    da = da.assign_coords(valid=("z", np.arange(da.sizes["z"]) != 60))
    with pytest.warns(stack3d.UntiedSliceWarning, match="2 slices resemble no other"):
        estimate = da.stack3d.estimate_thickness()
    assert np.flatnonzero(~estimate["measured"].values).tolist() == [40, 50, 60]
    assert np.isnan(estimate["increment_error"].values[[40, 41, 50, 60]]).all()
    assert (np.diff(estimate["position"]) > 0).all()
    whole = measured()["position"].values * float(da["z"][-1] / measured()["position"][-1])
    np.testing.assert_allclose(estimate["position"][42] - estimate["position"][39], whole[42] - whole[39], rtol=0.15)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_slices_or_none_alike_keep_their_positions(count):
    da = planted()[0].isel(z=slice(0, count))
    with pytest.warns(stack3d.UntiedSliceWarning, match="cannot be measured"):
        estimate = da.stack3d.estimate_thickness()
    np.testing.assert_array_equal(estimate["position"], da["z"])
    assert not estimate["measured"].any()


def test_three_slices_are_enough_for_a_curve_from_within_the_frames():
    da, truth = planted()
    found = increments(da.isel(z=slice(0, 3)).stack3d.estimate_thickness(curve="x"))
    np.testing.assert_allclose(found, truth[:2], rtol=0.35)


def test_blocks_do_not_change_a_bit():
    da, _ = planted()
    part = da.isel(z=slice(0, 30))
    expected = part.stack3d.estimate_thickness()
    for chunks in (1, 7):
        xr.testing.assert_equal(part.chunk(z=chunks).stack3d.estimate_thickness(), expected)


def test_the_first_channel_is_measured_unless_another_is_named():
    da, truth = planted()
    flat = da.copy(data=np.random.default_rng(0).normal(size=da.shape).astype(np.float32))
    both = xr.concat([flat, da], dim=xr.Variable("channel", ["noise", "tissue"]))
    estimate = both.stack3d.estimate_thickness(channel="tissue", distance=float(truth.mean()))
    xr.testing.assert_equal(estimate, measured())
    with pytest.warns(stack3d.UntiedSliceWarning):
        assert not both.stack3d.estimate_thickness()["measured"].all()


def test_resample_takes_the_measured_positions():
    da, truth = planted()
    estimate = measured()
    moved = da.stack3d.resample(estimate=estimate, z=estimate["position"])
    np.testing.assert_array_equal(moved["z"], estimate["position"])
    np.testing.assert_allclose(moved.values, da.values, rtol=1e-6)
    even = da.stack3d.resample(estimate=estimate, dz=PIXEL)
    assert even.stack3d.pixel_size.z == PIXEL
    true = 100 + 20 * texture()[: even.sizes["z"]]
    naive = da.stack3d.resample(dz=PIXEL * PIXEL / truth.mean())
    shared = min(even.sizes["z"], naive.sizes["z"], 100)
    errors = [float(np.sqrt(np.mean((s.values[:shared] - true[:shared]) ** 2))) for s in (even, naive)]
    assert errors[0] < 0.6 * errors[1]


def test_resample_with_measured_positions_replays_and_stays_lazy():
    da, _ = planted()
    part = da.isel(z=slice(0, 24))
    estimate = part.stack3d.estimate_thickness(curve="x")
    for extra in ({}, {"dz": "4 nm"}, {"z": estimate["position"]}, {"dy": "10 nm"}):
        result = part.chunk(z=5).stack3d.resample(estimate=estimate, **extra)
        assert result.chunks is not None
        xr.testing.assert_equal(stack3d.replay(part, result), result)
        assert "estimate" in stack3d.provenance(result)[-1]


def test_positions_along_z_given_as_an_array_with_labels_replay():
    da, _ = planted()
    result = da.stack3d.resample(z=da["z"][2:9])
    xr.testing.assert_equal(stack3d.replay(da, result), result)


def test_a_part_of_the_stack_takes_its_part_of_the_estimate():
    da, _ = planted()
    estimate = measured()
    part = da.isel(z=slice(10, 20)).stack3d.resample(estimate=estimate, z=estimate["position"][10:20])
    np.testing.assert_array_equal(part["z"], estimate["position"][10:20])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"curve": "z"}, "curve='z' is not allowed"),
        ({"curve": "x", "distance": 5}, "distance=5 and curve='x'"),
        ({"lags": 1}, "lags=1 must be at least 2"),
        ({"distance": "-3 nm"}, "distance='-3 nm' must be a positive length"),
        ({"scale": 0}, "scale=0 must be a positive length"),
        ({"channel": "SE"}, "channel='SE' is not allowed"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        planted()[0].stack3d.estimate_thickness(**arguments)


def test_resample_refuses_another_estimate_and_disorder():
    da, _ = planted()
    part = da.isel(z=slice(0, 12))
    with pytest.raises(ValueError, match="expected 'thickness'"):
        part.stack3d.resample(estimate=part.stack3d.estimate_levels())
    estimate = part.stack3d.estimate_thickness(curve="x")
    estimate["position"][3] = estimate["position"][5]
    with pytest.raises(ValueError, match="strictly increasing"):
        part.stack3d.resample(estimate=estimate)
    with pytest.raises(ValueError, match="slice positions"):
        part[0].drop_vars("z").stack3d.resample(estimate=estimate, dy="2 px")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("reach", [(3, 3), (0, 5), (40, 1)])
def test_compiled_detail_equals_array_operations(dtype, reach):
    frame = (np.random.default_rng(1).random((37, 23)) * 200).astype(dtype)
    if frame.dtype.kind == "f":
        frame[3:9, 5:12] = np.nan
    expected = decorrelation.detail_xp(frame, *reach)
    np.testing.assert_allclose(decorrelation.detail(frame, *reach), expected, atol=2e-5)


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (0, 3), (40, 0)])
def test_compiled_correlation_equals_array_operations_and_numpy(shift):
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 30, 20), dtype=np.float32)
    found = decorrelation.correlation(first, second, *shift)
    np.testing.assert_allclose(found, decorrelation.correlation_xp(first, second, *shift), rtol=1e-9)
    if shift[0] < 30:
        a, b = first[: 30 - shift[0], : 20 - shift[1]], second[shift[0] :, shift[1] :]
        assert found == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    first[2:5, 3:9] = np.nan
    there = ~np.isnan(first)
    expected = np.corrcoef(first[there], second[there])[0, 1]
    assert decorrelation.correlation(first, second) == pytest.approx(expected)


def test_a_given_curve_gives_back_exact_distances():
    steps = np.array([1.0, 2.5, 0.7, 1.2, 3.0, 1.0, 1.4])
    z = np.concatenate([[0], np.cumsum(steps)])
    nodes = np.arange(0.0, 12.0)
    curve = thickness.Curve(nodes, 0.05 * nodes + 0.01 * nodes**2)
    noise = np.array([0, 0.1, 0, 0, 0.4, 0, 0, 0.02])
    r = np.full((8, 2), np.nan)
    for lag in (1, 2):
        r[:-lag, lag - 1] = curve(z[lag:] - z[:-lag]) + noise[lag:] + noise[:-lag]
    found = thickness.increments(r, np.ones(8), noise, curve=curve)
    np.testing.assert_allclose(found.increments, steps, rtol=1e-3)
    np.testing.assert_allclose(found.excess, 0, atol=1e-3)
