"""Synthetic stacks: determinism, and the truth of every defect by an independent route."""

from __future__ import annotations

import ast
import tracemalloc
from itertools import pairwise
from pathlib import Path

import cloudpickle
import dask
import numpy as np
import pytest
import xarray as xr
from scipy import fft, ndimage, optimize

from stack3d import synthetic
from stack3d.model import from_array
from stack3d.synthetic import _image
from stack3d.synthetic._plan import matrices
from stack3d.synthetic._settings import BACKGROUND_KINDS, BAD_KINDS, DEFAULTS, STRIPE_KINDS
from stack3d.synthetic._volume import Specimen

SHAPE = (6, 96, 112)
SPAN = 36000.0


def make(shape=SHAPE, **options):
    return synthetic.make_stack(shape, **{"defects": "none", **options})


def spectra(moved: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    window = np.hanning(fixed.shape[0])[:, None] * np.hanning(fixed.shape[1])
    # Without the slow part, whose own slope under the window would draw the peak to zero.
    first, second = (fft.fft2((a - ndimage.gaussian_filter(a, 8)) * window) for a in (fixed, moved))
    return second * np.conj(first)


def measured_shift(moved: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Where the content of `moved` lies from `fixed`, (y, x) in pixels: the top of the trigonometric correlation."""
    cross = spectra(moved, fixed)
    peak = np.unravel_index(np.argmax(fft.ifft2(cross).real), cross.shape)
    whole = [int(p - n) if p > n / 2 else int(p) for p, n in zip(peak, cross.shape, strict=True)]
    # Both cut to what they share, so that the windows lie on the same content.
    inner = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(whole, fixed.shape, strict=True))
    outer = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in zip(whole, fixed.shape, strict=True))
    cross = spectra(moved[inner], fixed[outer])
    ky, kx = (2 * np.pi * fft.fftfreq(n) for n in cross.shape)

    def negative(shift):
        return -np.real(np.exp(1j * ky * shift[0]) @ cross @ np.exp(1j * kx * shift[1])) / abs(cross).sum()

    rest = optimize.minimize(negative, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-12}).x
    return np.array(whole) + rest


@pytest.fixture(scope="module")
def everything():
    return synthetic.make_stack((24, 96, 112), defects="all", seed=5)


def test_the_same_seed_gives_the_same_stack_and_another_seed_another():
    first, again, other = (make(defects="all", seed=seed) for seed in (3, 3, 4))
    xr.testing.assert_identical(first.stack, again.stack)
    xr.testing.assert_identical(first.truth, again.truth)
    xr.testing.assert_identical(first.defects, again.defects)
    assert not np.array_equal(first.stack, other.stack)
    assert abs(np.corrcoef(first.truth.values[0].ravel(), other.truth.values[0].ravel())[0, 1]) < 0.3


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_lazy_and_eager_are_equal_to_the_bit_whatever_the_chunks(everything, scheduler):
    lazy = synthetic.make_stack((24, 96, 112), defects="all", seed=5, lazy=True)
    assert lazy.stack.chunks is not None
    assert lazy.truth.chunks is not None
    assert lazy.defects.stripes.chunks is not None
    with dask.config.set(scheduler=scheduler):
        np.testing.assert_array_equal(lazy.stack.values, everything.stack.values)
        np.testing.assert_array_equal(lazy.stack.chunk(z=5)[7:9].values, everything.stack.values[7:9])
        np.testing.assert_array_equal(lazy.truth[11].values, everything.truth.values[11])
        np.testing.assert_array_equal(lazy.displaced()[9].values, everything.displaced().values[9])
        np.testing.assert_array_equal(lazy.defects.stripes.values, everything.defects.stripes.values)
    xr.testing.assert_identical(lazy.stack.coords.to_dataset(), everything.stack.coords.to_dataset())


def test_a_lazy_stack_pickles_and_a_changed_setting_has_another_key():
    made = make(lazy=True, drift=0.5)
    again = cloudpickle.loads(cloudpickle.dumps(made.stack))
    np.testing.assert_array_equal(again[2].values, made.stack[2].values)
    assert make(lazy=True, drift=0.6).stack.data.name != made.stack.data.name
    assert make(lazy=True, drift=0.5).stack.data.name == made.stack.data.name


def test_a_large_stack_is_lazy_and_a_small_one_is_not():
    assert make((200, 2048, 2048)).stack.chunks is not None
    assert make((2, 64, 64)).stack.chunks is None


def test_streaming_a_lazy_stack_holds_a_few_frames():
    made = synthetic.make_stack((32, 384, 384), defects="all", lazy=True)
    made.stack[0].compute()
    tracemalloc.start()
    with dask.config.set(scheduler="synchronous"):
        made.stack.max(("y", "x")).compute()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All of it is 9.4 MB, a block 2 MB, the planes while one is made 0.6 MB each.
    assert peak < 8e6


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_dtype_is_kept_and_grey_levels_fill_it_without_clipping(dtype):
    made = make(dtype=dtype)
    assert made.stack.dtype == dtype
    assert made.truth.dtype == np.float32
    if dtype != "float32":
        assert np.abs(made.stack.astype("f4") - made.truth).max() <= 0.5
        limit = np.iinfo(dtype).max
        assert made.stack.min() > 0
        assert made.stack.max() < limit
        assert made.stack.std() > 0.05 * limit
    else:
        np.testing.assert_array_equal(made.stack, made.truth)


@pytest.mark.parametrize("texture", ["tissue", "porous"])
def test_structures_are_continuous_along_z_and_change(texture):
    truth = make((120, 192, 192), texture=texture, lazy=True).truth
    flat = truth.isel(z=[40, 41, 44, 50, 60, 119]).values.reshape(6, -1)
    correlation = np.corrcoef(flat)[0, 1:]
    assert 0.9 < correlation[0] < 0.985
    assert np.all(np.diff(correlation) < 0)
    assert correlation[-1] < 0.3


def apparent_steps(planes: np.ndarray) -> np.ndarray:
    """How far the content moves from plane to plane, (n, 2) of (y, x) in pixels: least squares, linear in the shift."""
    smooth = [ndimage.gaussian_filter(plane, 1.0) for plane in planes]
    steps = []
    for first, second in pairwise(smooth):
        slopes = np.stack([part[8:-8, 8:-8].ravel() for part in np.gradient(0.5 * (first + second))]).astype("f8")
        change = (second - first)[8:-8, 8:-8].ravel()
        steps.append(-np.linalg.solve(slopes @ slopes.T, slopes @ change))
    return np.array(steps)


@pytest.mark.parametrize("texture", ["tissue", "porous"])
def test_the_specimen_itself_hardly_moves_from_slice_to_slice(texture):
    # As real tissue does; what stands still in the microscope must not look as if it drifted.
    clean = make((60, 512, 512), texture=texture, seed=1, lazy=True).truth.isel(z=slice(None, None, 2))
    steps = apparent_steps(clean.values)
    place, index = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)]), np.arange(30)
    line = np.polynomial.polynomial.polyfit(index, place, 1)
    rest = place - (line[0] + index[:, None] * line[1])
    # Two slices a step.
    assert np.all(steps.std(axis=0) < 2 * 0.04)
    assert np.all(np.abs(line[1]) < 2 * 0.1)
    assert np.all(np.sqrt((rest**2).mean(axis=0)) < 0.2)


def test_a_planted_motion_is_what_that_measures():
    drift = {"step": 0.0, "trend": (0.4, -0.3)}
    moved = make((5, 384, 384), drift=drift).displaced().values
    np.testing.assert_allclose(apparent_steps(moved).mean(axis=0), (0.4, -0.3), atol=0.06)


def test_a_frame_is_a_window_on_an_endless_specimen():
    small, large = make((2, 64, 64)).truth.values, make((2, 160, 200)).truth.values
    np.testing.assert_allclose(small, large[:, :64, :64], atol=2e-3 * SPAN)
    assert np.abs(small - large[:, :64, :64]).mean() < 1e-5 * SPAN


def test_whole_pixel_drift_is_a_crop():
    made = make((4, 96, 96), drift={"step": 0, "trend": (3, -2)})
    moved, truth = made.displaced().values, made.truth.values
    for k in range(4):
        a = moved[k, 3 * k :, : 96 - 2 * k]
        b = truth[k, : 96 - 3 * k, 2 * k :]
        assert np.abs(a - b).mean() < 1e-4 * SPAN
    np.testing.assert_allclose(made.defects.shift_y, [0, 15, 30, 45])
    np.testing.assert_allclose(made.defects.shift_x, [0, -10, -20, -30])


def test_subpixel_drift_is_what_a_fourier_method_measures():
    made = make((4, 128, 128), drift=0.9, jumps=3.0, seed=2)
    moved, truth = made.displaced().values, made.truth.values
    for k in range(1, 4):
        shift = measured_shift(moved[k], truth[k])
        expected = np.array([made.defects.shift_y[k], made.defects.shift_x[k]]) / 5.0
        np.testing.assert_allclose(shift, expected, atol=0.04)


def test_rotation_is_counter_clockwise_on_the_screen():
    specimen = Specimen(0, "tissue", 1.0, 5.0, (0.0, 1.0), 1)
    pull = matrices(np.zeros((1, 2)), np.array([90.0]), (80, 80))[0]
    truth = specimen.frame(0.0, np.eye(3)[:2], (80, 80))[0]
    turned = specimen.frame(0.0, np.linalg.inv(pull)[:2], (80, 80))[0]
    # np.rot90 turns what is seen counter-clockwise.
    np.testing.assert_allclose(turned, np.rot90(truth), atol=2e-3)


def test_the_matrix_pulls_the_raw_slice_back_to_the_truth():
    made = make((5, 128, 128), rotation=0.4, drift=0.7, seed=1)
    assert np.abs(made.defects.rotation[1:]).min() > 0.02
    moved, truth = made.displaced().values, made.truth.values
    for k in (2, 4):
        m = made.defects.matrix.values[k]
        swapped = np.array([[m[1, 1], m[1, 0]], [m[0, 1], m[0, 0]]])
        pulled = ndimage.affine_transform(moved[k], swapped, (m[1, 2], m[0, 2]), order=5)
        inner = (slice(16, -16), slice(16, -16))
        assert np.abs(pulled - truth[k])[inner].mean() < 0.01 * SPAN < np.abs(moved[k] - truth[k])[inner].mean()


def test_the_image_is_formed_from_the_truths_as_documented(everything):
    made, d = everything, everything.defects
    formed = made.displaced() * d.vignetting + d.background + d.stripes
    formed = formed * d.gain + d.offset
    good = (d.bad_slice == "").values
    usual = (d.hot_pixels == 0).values
    variance = formed / d.electrons_per_level + d.noise_sigma**2
    # What saturates, or sits so near that noise saturates it, obeys no law.
    inside = (formed > 1500) & (formed < 60000)
    residual = ((made.stack - formed) / np.sqrt(variance.clip(1))).where(inside).values[good][:, usual]
    assert abs(np.nanmean(residual)) < 0.01
    assert np.nanstd(residual) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", BACKGROUND_KINDS)
def test_without_noise_the_stack_minus_its_defects_is_the_truth(kind):
    made = make(
        background={"kind": kind, "amount": 0.2},
        stripes={"amount": 0.05},
        gain=0.02,
        offset=0.01,
        vignetting=0.1,
        seed=1,
    )
    d = made.defects
    undone = (((made.stack.astype("f8") - d.offset) / d.gain) - d.stripes - d.background) / d.vignetting
    assert np.abs(undone - made.truth).max() < 1.2
    size = float(np.ptp(d.background.values))
    assert size == pytest.approx(0.2 * SPAN, rel=0.15 if kind != "slices" else 0.6)
    slices_differ = "z" in d.background.dims and not np.allclose(d.background[0], d.background[-1])
    assert slices_differ == (kind != "same")


@pytest.mark.parametrize("kind", ["same", "volume"])
@pytest.mark.parametrize("degree", [1, 3])
def test_a_background_is_a_polynomial_of_its_degree(kind, degree):
    background = make(background={"kind": kind, "degree": degree}).defects.background.values.astype("f8")
    plane = background if background.ndim == 2 else background[3]
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in plane.shape), indexing="ij")
    basis = np.stack(
        [y.ravel() ** a * x.ravel() ** b for a in range(degree + 1) for b in range(degree + 1 - a)], axis=1
    )
    fit, *_ = np.linalg.lstsq(basis, plane.ravel(), rcond=None)
    assert np.abs(basis @ fit - plane.ravel()).max() < 1e-5 * SPAN


@pytest.mark.parametrize("kind", STRIPE_KINDS)
@pytest.mark.parametrize("angle", [0.0, 12.0, -60.0, 90.0])
def test_stripes_run_at_their_angle_and_do_not_wrap(kind, angle):
    stripes = make((3, 192, 192), stripes={"kind": kind, "angle": angle, "density": 80}, seed=3).defects.stripes.values
    # Structure tensor: the mean direction of least change, counter-clockwise from down.
    smooth = np.stack([ndimage.gaussian_filter(plane, 1.0) for plane in stripes])
    gy, gx = np.gradient(smooth, axis=(1, 2))
    normal = 0.5 * np.arctan2(2 * (gx * gy).sum(), (gx**2 - gy**2).sum())
    # A normal along x is a stripe along y; a normal turned towards +y (down) is clockwise on the screen.
    found = -np.degrees(normal)
    assert (found - angle + 90) % 180 - 90 == pytest.approx(0, abs=2.5)
    left, right = (np.concatenate([a.ravel() for a in part]) for part in ((stripes[:, :, :1],), (stripes[:, :, -1:],)))
    top, bottom = stripes[:, 0].ravel(), stripes[:, -1].ravel()
    for a, b in ((left, right), (top, bottom)):
        if a.std() > 0 and b.std() > 0 and abs(angle) in (12, 60):
            assert np.corrcoef(a, b)[0, 1] < 0.6


def test_sparse_stripes_persist_over_slices_and_most_start_inside():
    stripes = make((12, 256, 256), stripes={"kind": "sparse", "persistence": 4, "density": 60}).defects.stripes.values
    near = np.corrcoef(stripes[5].ravel(), stripes[6].ravel())[0, 1]
    far = np.corrcoef(stripes[0].ravel(), stripes[11].ravel())[0, 1]
    assert near > 0.4 > far
    assert np.abs(stripes[:, -40:]).mean() > np.abs(stripes[:, :40]).mean()


def test_ramps_grow_along_the_stripe():
    stripes = make((6, 256, 256), stripes={"kind": "ramp", "density": 60}).defects.stripes.values
    power = (stripes**2).mean((0, 2))
    assert power[-64:].mean() > 2 * power[:64].mean()


def test_gaussian_stripes_have_the_asked_standard_deviation():
    stripes = make((8, 256, 256), stripes={"kind": "gaussian", "amount": 0.1, "length": 60, "angle": 5}).defects.stripes
    assert float(stripes.std()) == pytest.approx(0.1 * SPAN, rel=0.1)


def test_only_every_nth_slice_has_stripes_if_asked():
    stripes = make(stripes={"every": 3, "density": 60}).defects.stripes
    assert [bool(plane.any()) for plane in stripes.values] == [True, False, False, True, False, False]


@pytest.mark.parametrize("kind", BAD_KINDS)
def test_bad_slices_are_bad_in_their_way_and_the_others_untouched(kind):
    made, good = (make(noise=True, bad_slices=bad, seed=2) for bad in ({"slices": {3: kind}}, False))
    assert list(made.defects.bad_slice.values) == ["", "", "", kind, "", ""]
    others = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(made.stack.values[others], good.stack.values[others])
    plane, usual = made.stack.values[3].astype("f8"), good.stack.values[3].astype("f8")
    if kind == "duplicated":
        np.testing.assert_array_equal(plane, made.stack.values[2])
    elif kind == "blank":
        assert plane.std() < 0.05 * usual.std()
    elif kind == "charged":
        assert (plane == 65535).mean() > 0.1
    elif kind == "blurred":
        assert ndimage.gaussian_laplace(plane, 2).std() < 0.5 * ndimage.gaussian_laplace(usual, 2).std()
    else:
        assert abs(np.corrcoef(plane.ravel(), usual.ravel())[0, 1]) < 0.05


def test_drawn_bad_slices_are_apart_and_never_at_the_ends():
    made = make((60, 32, 32), bad_slices={"fraction": 0.2}, lazy=True)
    bad = np.flatnonzero(made.defects.bad_slice.values != "")
    assert len(bad) == 12
    assert np.diff(bad).min() > 1
    assert bad[0] > 0
    assert bad[-1] < 59


def test_hot_pixels_are_fixed_in_the_frame():
    made = make(hot_pixels={"fraction": 0.01, "dark": 0.5}, drift=1.0)
    hot = made.defects.hot_pixels.values
    assert np.count_nonzero(hot) == round(0.01 * hot.size)
    changed = np.abs(made.stack.astype("f4") - made.displaced()).values > 1
    np.testing.assert_array_equal(changed.any(0), hot != 0)
    assert np.ptp(made.stack.values[:, hot != 0].astype(int), axis=0).max() == 0
    assert made.stack.values[:, hot == 1].min() > 42000
    assert made.stack.values[:, hot == -1].max() < 6000


@pytest.mark.parametrize("mean", [3.0, 49.0, 60.0, 2000.0])
def test_poisson_noise_has_the_moments_of_its_law(mean):
    counts = np.full((1, 600, 600), mean / 0.5, np.float32)
    _image.poisson(counts, 0.5, np.random.default_rng(0))
    counts = counts.astype("f8") * 0.5
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-3)
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / counts.size))
    assert counts.var() == pytest.approx(mean, rel=0.015)
    skewness = ((counts - mean) ** 3).mean() / mean**1.5
    assert skewness == pytest.approx(mean**-0.5, abs=0.025)


def test_noise_has_the_asked_sigma():
    made = make(noise={"gaussian": 0.05, "electrons": None})
    residual = made.stack.astype("f4") - made.truth
    assert float(made.defects.noise_sigma) == pytest.approx(0.05 * SPAN)
    assert float(residual.std()) == pytest.approx(0.05 * SPAN, rel=0.02)
    assert np.isinf(made.defects.electrons_per_level)


def test_uneven_z_is_the_coordinate_and_the_truth_is_there():
    made = make((60, 32, 32), uneven_z={"jitter": 0.2, "missing": 0.2}, seed=1)
    z, number = made.stack.z.values, made.stack.slice_number.values
    assert np.all(np.diff(z) > 0)
    assert set(np.diff(number)) == {1, 2}
    assert np.abs(z / 10 - number).max() <= 0.45
    assert np.std(z / 10 - number) == pytest.approx(0.2, rel=0.3)
    specimen = Specimen(1, "tissue", 1.0, 5.0, (6000.0, 42000.0), 1)
    np.testing.assert_array_equal(made.truth.values[17], specimen.frame(z[17], np.eye(3)[:2], (32, 32))[0])


def test_truth_on_gives_the_specimen_on_another_grid():
    made = make((8, 96, 96), uneven_z=0.2, drift=1.0)
    part = made.truth.isel(z=slice(2, 6), y=slice(10, 50), x=slice(7, 90))
    found = made.truth_on(part)
    assert np.abs(found - part).mean() < 1e-4 * SPAN
    xr.testing.assert_identical(found.coords.to_dataset(), part.coords.to_dataset())
    regular = from_array(np.zeros((5, 48, 48), "f4"), pixel_size=(10.0, 10.0), z=10.0 * np.arange(5))
    even = make((5, 96, 96)).truth
    assert np.abs(made.truth_on(regular).values - even.values[:, ::2, ::2]).mean() < 1e-4 * SPAN
    assert made.truth_on(made.truth[3]).dims == ("y", "x")
    with pytest.raises(ValueError, match="convert it first"):
        made.truth_on(from_array(np.zeros((2, 8, 8)), pixel_size=1.0, units="um"))


def test_channels_share_their_geometry_but_not_their_contrast():
    made = synthetic.make_stack((4, 96, 96), channels=["SE", "BSE"], drift=1.0, rotation=0.1, seed=2)
    assert made.stack.dims == ("channel", "z", "y", "x")
    assert list(made.stack.channel.values) == ["SE", "BSE"]
    assert made.defects.gain.dims == ("channel", "z")
    single = synthetic.make_stack((4, 96, 96), drift=1.0, rotation=0.1, seed=2)
    np.testing.assert_array_equal(made.displaced().values[0], single.displaced().values)
    first, second = (made.truth.values[c, 2].ravel() for c in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.9
    assert not np.allclose(made.defects.gain[0], made.defects.gain[1])
    xr.testing.assert_allclose(made.truth_on(made.truth.isel(channel=[1])), made.truth.isel(channel=[1]), atol=50)


def test_presets_and_keywords_combine():
    assert set(make().settings) == set()
    assert set(synthetic.make_stack((2, 32, 32), defects="all").settings) == set(DEFAULTS)
    typical = synthetic.make_stack((2, 32, 32), noise=False, rotation=0.3, stripes="ramp").settings
    assert "noise" not in typical
    assert typical["rotation"] == {"step": 0.3}
    assert typical["stripes"]["kind"] == "ramp"
    only = make(defects={"drift": 0.8, "stripes": {"kind": "gaussian", "angle": 4}}).settings
    assert set(only) == {"drift", "stripes"}
    assert only["drift"] == {"step": 0.8, "trend": (0.05, -0.03)}


def test_one_slice_is_a_stack_too():
    made = synthetic.make_stack((1, 64, 64), defects="all", pixel_size=(20.0, 5.0, 5.0))
    assert made.stack.shape == (1, 64, 64)
    assert made.stack.z.attrs["spacing"] == 20.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (4, 64)}, "shape=.*three whole numbers"),
        ({"shape": (4, 8, 64)}, "at least 16"),
        ({"shape": (2.5, 64, 64)}, "shape="),
        ({"texture": "wood"}, "texture='wood'"),
        ({"scale": 0}, "scale=0"),
        ({"dtype": "int32"}, "dtype='int32'"),
        ({"dtype": "nonsense"}, "dtype='nonsense'"),
        ({"levels": (5, 2)}, "levels="),
        ({"levels": (0, 70000)}, "levels=.*65535"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"lazy": "yes"}, "lazy='yes'"),
        ({"channels": 0}, "channels=0"),
        ({"channels": ["a", "a"]}, "channels="),
        ({"pixel_size": (10, 5, 4)}, "dy equal to dx"),
        ({"pixel_size": -1.0}, "pixel_size=-1.0"),
        ({"units": "second"}, "units='second'"),
        ({"defects": "some"}, "defects='some'"),
        ({"defects": {"drfit": 1}}, "unknown key 'drfit'"),
        ({"defects": 3}, "defects=3"),
        ({"drift": {"stp": 1}}, "drift has the unknown key 'stp'"),
        ({"drift": -1.0}, "must not be negative"),
        ({"drift": float("nan")}, "finite"),
        ({"drift": "strong"}, "drift='strong'"),
        ({"drift": [1, 2]}, "drift="),
        ({"drift": {"trend": 1.0}}, "two numbers"),
        ({"stripes": "wavy"}, "'wavy' is not a kind"),
        ({"stripes": {"every": 0}}, "must be positive"),
        ({"background": {"degree": 1.5}}, "whole number"),
        ({"hot_pixels": 2.0}, "between 0 and 1"),
        ({"uneven_z": 0.7}, "below 0.5"),
        ({"vignetting": 1.0}, "below 1"),
        ({"bad_slices": {"kinds": ("torn",)}}, "must be among"),
        ({"bad_slices": {"slices": {2: "torn"}}}, "'torn' is not a kind"),
        ({"bad_slices": {"slices": {9: "blank"}}}, "names slice 9"),
        ({"bad_slices": {"slices": {0: "duplicated"}}}, "no slice before"),
        ({"bad_slices": {"slices": [2]}}, "must map an index"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**{"shape": (3, 32, 32), **options})


@pytest.fixture(scope="module")
def clean():
    specimen = make((20, 128, 140), pixel_size=5.0, dtype="uint8").truth
    return specimen.round().astype("uint8")


def test_defects_on_a_given_volume_have_the_same_kind_of_truth(clean):
    made = synthetic.add_defects(clean, defects={"drift": 0.6, "jumps": 2.0, "gain": 0.05}, seed=3)
    assert made.stack.dtype == np.uint8
    margin = (clean.sizes["y"] - made.stack.sizes["y"]) // 2
    inner = clean.isel(y=slice(margin, -margin), x=slice(margin, -margin))
    np.testing.assert_array_equal(made.truth.values, inner.values)
    shift = np.stack([made.defects.shift_y, made.defects.shift_x], axis=1) / 5.0
    np.testing.assert_allclose(shift * 8, np.round(shift * 8), atol=1e-9)
    moved = made.displaced().values
    for k in (4, 11, 19):
        np.testing.assert_allclose(measured_shift(moved[k], made.truth.values[k]), shift[k], atol=0.05)


def test_whole_shifts_of_a_given_volume_are_crops(clean):
    made = synthetic.add_defects(clean, defects={"drift": {"step": 0, "trend": (1, -1)}})
    margin = (clean.sizes["y"] - made.stack.sizes["y"]) // 2
    height, width = made.stack.shape[1:]
    k = 7
    expected = clean.values[k, margin - k : margin - k + height, margin + k : margin + k + width]
    np.testing.assert_array_equal(made.stack.values[k], expected)


def test_slices_of_a_given_volume_are_chosen_unevenly(clean):
    made = synthetic.add_defects(clean, defects={"uneven_z": {"jitter": 0.3, "missing": 0.2}}, z_step=3, seed=4)
    z = made.stack.z.values
    assert np.isin(z, clean.z.values).all()
    assert len(set(np.diff(z))) > 1
    np.testing.assert_array_equal(made.truth.values, clean.sel(z=z).values)
    assert made.truth_on(clean.isel(z=[2, 4])).shape == (2, 128, 140)


def test_bad_volumes_are_refused(clean):
    with pytest.raises(ValueError, match="too small"):
        synthetic.add_defects(clean, defects={"jumps": 90.0})
    with pytest.raises(TypeError, match="no argument 'drfit'"):
        synthetic.add_defects(clean, drfit=1.0)
    with pytest.raises(ValueError, match="z_step=0"):
        synthetic.add_defects(clean, z_step=0)
    with pytest.raises(TypeError, match="dtype int64"):
        synthetic.add_defects(clean.astype("int64"))
    with pytest.raises(ValueError, match="not finite"):
        synthetic.add_defects(clean.astype("f4").where(clean > 100))
    with pytest.raises(ValueError, match="constant"):
        synthetic.add_defects(xr.zeros_like(clean), defects="none")


def test_synthetic_uses_no_kernel_and_no_operation():
    allowed = {"synthetic", "grid", "model", "options", "units", "progress", "_blocks"}
    for path in Path(synthetic.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name.name}" for name in node.names]
            for name in names:
                parts = name.split(".")
                assert parts[0] != "stack3d" or parts[1] in allowed, f"{path.name} imports {name}"
