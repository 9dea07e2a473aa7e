"""Measures of pairs of slices: which pair they belong to, what they are worth, and that nothing makes them crash."""

import numpy as np
import pytest

import stack3d
from stack3d.testing import assert_lazy

METRICS = ("ncc", "nsad", "nmi", "frc")


def textured(slices=6, shape=(64, 96), seed=0, noise=0.5, dtype=np.float32):
    """Return slices of one scene with detail down to the pixel, each with noise of its own."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    scene = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) * np.exp(-((frequency / 0.15) ** 2)), shape)
    values = 100 + 10 * (scene / scene.std() + noise * rng.normal(size=(slices, *shape)))
    return values.astype(dtype)


def stack_of(values, **kwargs):
    return stack3d.from_array(values, pixel_size=(20, 5, 5), **kwargs)


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("k", [0, 3, 5])
def test_another_slice_changes_the_metrics_of_its_own_pairs_and_of_no_other(k, lag):
    values = textured()
    before = stack_of(values).stack3d.registration_quality(lag=lag)
    values[k] += 5 * np.random.default_rng(9).normal(size=values.shape[1:])
    after = stack_of(values).stack3d.registration_quality(lag=lag)
    touched = (before["first"] == k) | (before["second"] == k)
    assert touched.sum() == (2 if lag <= k < 6 - lag else 1)
    for name in METRICS:
        np.testing.assert_array_equal(before[name] != after[name], touched)


def test_pairs_stand_at_their_middle_and_name_their_slices():
    z = np.array([0.0, 10.0, 25.0, 30.0])
    da = stack3d.from_array(textured(4), pixel_size=(5, 5), z=z)
    table = da.stack3d.registration_quality(metrics="ncc", lag=2)
    np.testing.assert_array_equal(table["z"], [12.5, 20.0])
    np.testing.assert_array_equal(table["first"], [0, 1])
    np.testing.assert_array_equal(table["second"], [2, 3])
    assert table["z"].attrs["units"] == "nm"
    assert set(table) == {"ncc", "overlap", "ok"}


def test_equal_slices_are_told_from_independent_ones():
    scene = textured(1)[0]
    equal = stack_of(np.stack([scene, scene])).stack3d.registration_quality().isel(z=0)
    assert equal["ncc"] == pytest.approx(1, abs=1e-12)
    assert equal["nsad"] == 0
    assert equal["nmi"] == pytest.approx(1, abs=1e-12)
    assert np.isnan(equal["frc"])  # equal to the last ring: the curve ends nowhere
    assert equal["ok"]
    noise = np.random.default_rng(1).normal(100, 10, (2, 256, 256))
    other = stack_of(noise).stack3d.registration_quality().isel(z=0)
    assert abs(float(other["ncc"])) < 0.02
    assert abs(float(other["nmi"])) < 1e-3


def test_a_shift_is_seen_by_every_metric():
    values = textured(3, (128, 128), noise=0.3)
    values[1] = np.roll(values[1], 2, axis=1)
    good = stack_of(textured(3, (128, 128), noise=0.3)).stack3d.registration_quality()
    bad = stack_of(values).stack3d.registration_quality()
    for name, sign in (("ncc", 1), ("nsad", -1), ("nmi", 1), ("frc", 1)):
        assert (sign * good[name] > sign * bad[name]).all(), name
    np.testing.assert_allclose(bad["frc_resolution"], 1 / bad["frc"])
    assert bad["frc_resolution"].attrs["units"] == "nm"
    assert bad["frc"].attrs["units"] == "1/nm"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_lazy_is_in_memory_to_the_bit_and_stays_lazy(dtype, chunk):
    da = stack3d.from_array(np.stack([textured(5, seed=k, dtype=dtype) for k in (0, 1)]), pixel_size=5)
    lazy = da.chunk(channel=1, z=chunk).stack3d.registration_quality()
    assert all(variable.chunks is not None for variable in lazy.values())
    now = da.stack3d.registration_quality()
    lazy = lazy.compute()
    for name in now:
        np.testing.assert_array_equal(lazy[name], now[name])


def test_building_computes_nothing(stack):
    assert_lazy(stack3d.registration_quality, stack)


def test_blank_short_and_bad_stacks_give_nan_and_a_flag_and_no_crash():
    values = textured(3, dtype=np.uint16)
    three = stack_of(values).stack3d.registration_quality()
    assert three.sizes["z"] == 2
    assert three["ok"].all()
    values[1] = 37
    blank = stack_of(values).stack3d.registration_quality()
    assert not blank["ok"].any()
    for name in ("ncc", "nmi", "frc"):
        assert np.isnan(blank[name]).all()
    single = stack_of(values[:1]).stack3d.registration_quality()
    assert single.sizes["z"] == 1
    assert not single["ok"].any()
    assert all(np.isnan(single[name]).all() for name in METRICS)
    all_nan = stack_of(np.full((3, 32, 32), np.nan)).stack3d.registration_quality()
    assert not all_nan["ok"].any()
    assert (all_nan["overlap"] == 0).all()
    tiny = stack_of(textured(3, (5, 6))).stack3d.registration_quality()
    assert np.isnan(tiny["frc"]).all()
    assert np.isfinite(tiny["ncc"]).all()


def test_slices_marked_as_bad_are_measured_and_flagged():
    da = stack_of(textured(5)).assign_coords(valid=("z", [True, True, False, True, True]))
    table = da.chunk(z=2).stack3d.registration_quality().compute()
    np.testing.assert_array_equal(table["ok"], [True, False, False, True])
    assert np.isfinite(table["ncc"]).all()


def test_missing_pixels_are_left_out_whether_nan_or_masked():
    values = textured(4, (96, 96))
    holes = np.zeros(values.shape, bool)
    holes[:, :20, :30] = True
    dirty = values.copy()
    dirty[holes] = 1e4
    masked = stack_of(dirty).assign_coords(mask=(("z", "y", "x"), ~holes)).stack3d.registration_quality()
    nan = stack_of(np.where(holes, np.nan, values)).stack3d.registration_quality()
    for name in nan:
        np.testing.assert_array_equal(masked[name], nan[name])
    np.testing.assert_allclose(nan["overlap"], 1 - 600 / 96**2)
    clean = stack_of(values).stack3d.registration_quality()
    np.testing.assert_allclose(nan["ncc"], clean["ncc"], atol=0.03)
    np.testing.assert_allclose(nan["frc"], clean["frc"], rtol=0.2)


def test_a_box_is_the_measure_of_that_part():
    da = stack_of(textured(4))
    box = {"y": slice(8, 56), "x": slice(10, 90), "by": "index"}
    part = da.isel(y=slice(8, 56), x=slice(10, 90)).stack3d.registration_quality()
    for name, value in da.stack3d.registration_quality(box=box).items():
        np.testing.assert_array_equal(value, part[name])


def test_a_sliding_box_follows_drifting_content():
    wide = textured(5, (64, 128), noise=0.2)
    scene = textured(1, (64, 200), noise=0.0)[0]
    drifting = np.stack([scene[:, 10 * k : 10 * k + 128] + wide[k] * 0.01 for k in range(5)])
    fixed = stack_of(drifting).stack3d.registration_quality(metrics="ncc", box={"x": slice(50, 100), "by": "index"})
    box = {"x": (slice(50, 100), slice(10, 60)), "by": "index"}
    slid = stack_of(drifting).stack3d.registration_quality(metrics="ncc", box=box)
    assert float(slid["ncc"].min()) > 0.99 > float(fixed["ncc"].max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("ncc", "ssim")}, "metrics="),
        ({"metrics": ()}, "metrics="),
        ({"lag": 0}, "lag=0"),
        ({"lag": 1.5}, "lag=1.5"),
        ({"bins": 500}, "bins=500"),
        ({"threshold": "2-bit"}, "threshold='2-bit'"),
        ({"smooth": 4}, "smooth=4"),
        ({"taper": 2}, "taper=2"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        stack_of(textured(2)).stack3d.registration_quality(**arguments)


def test_slices_are_needed():
    with pytest.raises(ValueError, match="'z' missing"):
        stack3d.registration_quality(stack3d.from_array(np.zeros((8, 8)), pixel_size=5))
