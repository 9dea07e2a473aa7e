"""Kernels that find stripes by filters: damped wavelet bands, scale by scale, masks in Fourier space."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import pywt
from scipy import ndimage

import stack3d
from stack3d.kernels import (
    _box_means,
    _components,
    _fill,
    _shear,
    _slow_rows,
    _wavelet_bands,
    _wavelet_plan,
    _wedge_plan,
    atrous,
    multiscale,
    wavelet_stripes,
    wedge,
)

KERNELS = {"wavelet": wavelet_stripes, "multiscale": multiscale, "wedge": wedge}


def texture(shape=(256, 256), seed=0, level=30000):
    """Isotropic blobs and noise; contrast about 2100."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), 3, mode="reflect")
    return (level + 1900 * blobs / max(blobs.std(), 1e-9) + 900 * rng.normal(size=shape)).astype(np.float32)


def lines(shape=(256, 256), angle=0.0, seed=1, strength=1500.0):
    """Stripes that cross the whole frame: 0 along y, counter-clockwise on the screen."""
    y, x = np.indices(shape)
    turn = math.radians(angle)
    profile = ndimage.gaussian_filter1d(np.random.default_rng(seed).normal(size=4000), 1.2)
    place = x * math.cos(turn) - y * math.sin(turn) + 2000
    return (strength / profile.std() * np.interp(place, np.arange(4000), profile)).astype(np.float32)


def muench(frame, wavelet, level, sigma):
    """What the plain method takes away: every band of details across the stripes, low-passed along them."""
    coefficients = pywt.wavedec2(frame.astype(float), wavelet, level=level, mode="symmetric")
    kept = [np.zeros_like(coefficients[0])]
    for other, across, both in coefficients[1:]:
        cycles = np.fft.rfftfreq(len(across), 1 / len(across))[:, None]
        slow = np.fft.irfft(np.fft.rfft(across, axis=0) * np.exp(-(cycles**2) / (2 * sigma**2)), len(across), axis=0)
        kept.append((np.zeros_like(other), slow, np.zeros_like(both)))
    return pywt.waverec2(kept, wavelet, mode="symmetric")[: frame.shape[0], : frame.shape[1]]


# --- what all keep -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("angle", [0.0, 12.0, -50.0, 90.0])
def test_planted_stripes_are_found_at_any_angle(name, angle):
    frame, planted = texture(), lines(angle=angle)
    found = KERNELS[name].stripes(frame + planted, KERNELS[name].plan(frame.shape, angle=angle))
    assert found.dtype == np.float32
    error = np.std(found - planted) / np.std(planted)
    assert error < 0.62
    mirrored = KERNELS[name].stripes(frame + planted, KERNELS[name].plan(frame.shape, angle=angle + 45))
    assert np.std(mirrored - planted) / np.std(planted) > 0.85


@pytest.mark.parametrize("name", KERNELS)
def test_a_frame_without_stripes_changes_by_under_two_percent_of_its_contrast(name):
    frame = texture((512, 512), seed=3)
    assert np.std(KERNELS[name].stripes(frame, KERNELS[name].plan(frame.shape))) < 0.02 * np.std(frame)


@pytest.mark.parametrize("name", KERNELS)
def test_gain_and_offset_of_the_frame_change_nothing(name):
    frame = texture((97, 131)) + lines((97, 131))
    plan = KERNELS[name].plan(frame.shape)
    found = KERNELS[name].stripes(frame, plan)
    other = KERNELS[name].stripes(frame * np.float32(1 / 256) + 50, plan)
    assert np.abs(other * 256 - found).max() < 2e-3 * np.std(found)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (17, 23), (101, 64)])
def test_any_shape_gives_a_finite_field_of_that_shape(name, shape):
    for angle in (0.0, 30.0, 90.0):
        found = KERNELS[name].stripes(texture(shape), KERNELS[name].plan(shape, angle=angle))
        assert found.shape == shape
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", KERNELS)
def test_missing_pixels_do_not_spread_and_their_values_have_no_say(name):
    frame, planted = texture(), lines()
    holed = frame + planted
    weight = np.ones_like(frame)
    weight[60:75, 40:120] = 0
    weight[200, :] = 0
    weight[:, 100] = 0
    plan = KERNELS[name].plan(frame.shape)
    whole = KERNELS[name].stripes(holed, plan)
    wild = np.where(weight > 0, holed, np.float32(1e7))
    given = KERNELS[name].stripes(wild, plan, weight)
    assert np.isfinite(given).all()
    assert np.std((given - whole)[weight > 0]) < 0.12 * np.std(whole)
    blank = np.where(weight > 0, holed, np.float32(np.nan))
    np.testing.assert_array_equal(KERNELS[name].stripes(blank, plan), given)
    nothing = np.full(frame.shape, np.nan, np.float32)
    np.testing.assert_allclose(KERNELS[name].stripes(nothing, plan), 0, atol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_strength_takes_more_or_less_and_none_at_zero(name):
    frame = texture() + lines(strength=700)
    taken = [np.std(KERNELS[name].stripes(frame, KERNELS[name].plan(frame.shape, strength=s))) for s in (0, 0.5, 1, 2)]
    assert taken[0] == 0
    assert taken[1] == pytest.approx(taken[2] / 2, rel=1e-5)
    assert taken[3] > taken[2]


@pytest.mark.parametrize("name", KERNELS)
def test_plans_are_hashable_picklable_and_check_what_they_are_given(name):
    plan = KERNELS[name].plan((64, 48), angle=190)
    assert plan.angle == pytest.approx(10)
    assert hash(pickle.loads(pickle.dumps(plan))) == hash(plan)
    with pytest.raises(ValueError, match="angle=nan"):
        KERNELS[name].plan((64, 64), angle=math.nan)
    with pytest.raises(ValueError, match="strength=-1"):
        KERNELS[name].plan((64, 64), strength=-1)
    with pytest.raises(ValueError, match="shape must be"):
        KERNELS[name].plan((64,))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("wavelet", {"wavelet": "morl"}, "wavelet='morl' must name"),
        ("wavelet", {"level": 9}, "level=9 must be a whole number from 1 to"),
        ("wavelet", {"damping": 0}, "damping=0 must be"),
        ("wavelet", {"boundary": "zero"}, "boundary='zero' must be"),
        ("wavelet", {"strength": 2, "shrink": False}, "strength=2 must be at most 1"),
        ("multiscale", {"scales": 0}, "scales=0 must be"),
        ("multiscale", {"rule": "guess"}, "rule='guess' must be"),
        ("multiscale", {"length": 20}, "length must be odd"),
        ("multiscale", {"block": None}, "block=None goes with"),
        ("multiscale", {"threshold": 0}, "threshold must be positive"),
        ("multiscale", {"max_angle": 0}, "max_angle=0 must be"),
        ("multiscale", {"window": 4}, "window=4 must be an odd"),
        ("multiscale", {"middle": 2}, "middle=2 must lie"),
        ("wedge", {"kind": "cone"}, "kind='cone' must be"),
        ("wedge", {"radii": (0, 1)}, "0 would remove the mean"),
        ("wedge", {"half_angle": 50}, "half_angle=50 must be"),
        ("wedge", {"half_width": 0}, "half_width=0 must be"),
        ("wedge", {"threshold": 0.5}, "threshold=0.5 must be"),
        ("wedge", {"softness": 2}, "softness=2 must be"),
        ("wedge", {"averaging": -1}, "averaging=-1 must"),
    ],
)
def test_what_is_not_allowed_is_named(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        KERNELS[name].plan((256, 256), **parameters)


# --- wavelet -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(256, 256), (211, 173)])
@pytest.mark.parametrize(
    ("wavelet", "level", "sigma"), [("coif3", 3, 4), ("db4", 4, 2), ("haar", 5, 6), ("bior3.3", 4, 3)]
)
def test_wavelet_takes_away_what_the_plain_form_does(shape, wavelet, level, sigma):
    frame = texture(shape) + lines(shape)
    options = {"wavelet": wavelet, "level": level, "damping": sigma, "boundary": "periodic", "shrink": False}
    found = wavelet_stripes.stripes(frame, wavelet_stripes.plan(shape, **options))
    plain = muench(frame, wavelet, level, sigma)
    difference = found - (plain - plain.mean())
    assert np.std(difference) < 4e-4 * np.std(frame)
    assert np.abs(difference).max() < 4e-3 * np.std(frame)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "coif1", "db4", "db15"])
@pytest.mark.parametrize("width", [1, 2, 5, 77, 64, 400])
def test_levels_of_the_transform_are_those_of_pywavelets_and_both_forms_agree(wavelet, width):
    bank, rng = _wavelet_plan._bank(wavelet), np.random.default_rng(0)
    rows = rng.normal(size=(3, width)).astype(np.float32)
    low, high = _wavelet_bands._split(rows, bank)
    for found, array, peer in zip(
        (low, high), _wavelet_bands.split_xp(rows, bank), pywt.dwt(rows, wavelet, "symmetric"), strict=True
    ):
        np.testing.assert_allclose(found, peer, atol=1e-5)
        np.testing.assert_allclose(array, peer, atol=1e-5)
    whole = pywt.idwt(low, high, wavelet)[:, :width]
    np.testing.assert_allclose(_wavelet_bands._join(low, high, bank, width), whole, atol=1e-5)
    np.testing.assert_allclose(_wavelet_bands.join_xp(low, high, bank, width), whole, atol=1e-5)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "coif1", "db4", "db15"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (5, 64), (77, 20), (64, 33), (130, 1040)])
def test_a_level_of_a_frame_is_that_of_pywavelets_in_slow_waves(wavelet, shape):
    bank, rng = _wavelet_plan._bank(wavelet), np.random.default_rng(1)
    frame = rng.normal(size=shape).astype(np.float32)
    down = pywt.dwt(frame, wavelet, "symmetric", axis=0)[0]
    low, high = pywt.dwt(down, wavelet, "symmetric")
    slow = _slow_rows.of_cosines(len(low), min(16, len(low)), True)
    cosines = _slow_rows.cosines(len(low), slow.waves)
    found, band = _wavelet_bands._analysed(frame, bank, slow, "coarse")
    np.testing.assert_allclose(found, low, atol=1e-5)
    np.testing.assert_allclose(band, cosines @ high, atol=2e-4)
    wide = pywt.idwt(low, cosines.T @ band, wavelet)[:, : shape[1]]
    whole = pywt.idwt(wide, None, wavelet, axis=0)[: shape[0]] - 0.25
    made = _wavelet_bands._synthesised(low.astype(np.float32), band, slow, bank, shape, 0.25, None)
    np.testing.assert_allclose(made, whole, atol=2e-4)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize(("wavelet", "damping"), [("db2", 4), ("coif1", 10)])
def test_the_array_form_of_the_pyramid_equals_the_compiled_one(wavelet, damping, boundary, monkeypatch):
    frame = texture((150, 101)) + lines((150, 101))
    plan = wavelet_stripes.plan(frame.shape, wavelet=wavelet, damping=damping, shrink=False, boundary=boundary)
    assert _wavelet_plan.levelwise(plan)
    tables = _wavelet_plan.pyramid_of(plan)
    compiled = _wavelet_bands.pyramid(frame, tables, lambda band, _: band)
    for module in (_wavelet_bands, _slow_rows):
        monkeypatch.setattr(module, "on_host", lambda _: False)
    array = _wavelet_bands.pyramid(frame, tables, lambda band, _: band)
    assert abs(compiled.mean(dtype=float)) < 1e-4 * compiled.std()
    np.testing.assert_allclose(array, compiled, atol=1e-4 * compiled.std())


# --- filter bank ---------------------------------------------------------------------------------------------------


def compound(scales):
    kernel = np.ones(1)
    for scale in range(scales):
        spread = np.zeros(6 * 2**scale + 1)
        spread[:: 2**scale] = atrous.TAPS
        kernel = np.convolve(kernel, spread)
    return kernel


def test_bands_and_rest_add_up_to_the_frame():
    frame = texture((61, 45))
    bands, rest = atrous.split(frame, 6)
    np.testing.assert_allclose(sum(bands) + rest, frame, rtol=1e-6)


@pytest.mark.parametrize("scale", [0, 1, 3, 6])
def test_smoothing_is_the_dilated_filter_with_mirrored_edges(scale):
    frame, kernel = texture((50, 37)), np.zeros(6 * 2**scale + 1)
    kernel[:: 2**scale] = atrous.TAPS
    expected = frame.astype(float)
    for axis in (0, 1):
        expected = ndimage.correlate1d(expected, kernel, axis, mode="mirror")
    np.testing.assert_allclose(atrous.smooth(frame, scale), expected, rtol=1e-6)
    np.testing.assert_allclose(atrous.smooth_xp(frame, scale), expected, rtol=1e-6)


def test_fields_of_view_and_noise_are_those_of_the_compound_filter():
    views = [atrous.field_of_view(scales) for scales in range(1, 8)]
    assert views == [7, 19, 43, 91, 187, 379, 763]
    assert [compound(scales).size for scales in range(1, 8)] == views
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1
    for scales, norm in ((1, 0.2256), (2, 0.1015), (3, 0.0496), (4, 0.0247)):
        rest = atrous.split(point, scales)[1]
        np.testing.assert_allclose(
            rest[50, 5:96],
            compound(scales)[compound(scales).size // 2]
            * np.pad(compound(scales), 45)[compound(scales).size // 2 :][:91],
            atol=1e-7,
        )
        assert np.sqrt((rest.astype(float) ** 2).sum()) == pytest.approx(norm, abs=6e-5)


def test_smoothing_ignores_what_has_no_weight():
    frame = np.full((40, 40), 7, np.float32)
    weight = np.ones_like(frame)
    weight[10:20, 5:30] = 0
    frame[weight == 0] = 1e6
    np.testing.assert_allclose(atrous.smooth(frame, 2, weight)[weight > 0], 7, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 31, 101])
def test_box_means_are_those_of_scipy(size):
    frame = texture((40, 33))
    rows = ndimage.uniform_filter1d(frame.astype(float), size, axis=0, mode="mirror")
    np.testing.assert_allclose(_box_means.box(frame, size), rows, rtol=1e-6)
    np.testing.assert_allclose(_box_means.box_xp(frame, size, 0), rows, rtol=1e-6)
    both = ndimage.uniform_filter1d(rows, size, axis=1, mode="mirror")
    np.testing.assert_allclose(_box_means.square(frame, size), both, rtol=1e-6)


# --- multiscale ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reference():
    y, x = np.mgrid[:96, :80]
    steps = 300 * ((7 * x + 13 * y) % 11) + 800 * ((x == 40) & (y > 10)) + 400 * (x % 17 == 3)
    return np.float32(20000 + 1500 * np.sin(0.21 * x + 0.05 * y) + steps)


PLAIN = {"scales": 3, "length": 21, "noise": "rms", "shrink": False}
LIMIT = {
    **PLAIN,
    "rule": "limit",
    "threshold": 1.0,
    "middle": None,
    "window": None,
    "factor": 1.0,
    "correct_energy": False,
}


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        ({**LIMIT, "block": None}, [20331.947, 22208.652, 20046.189, 19279.387, 22560.656, 21493.070, 1180.038]),
        ({**LIMIT, "block": 5}, [20245.082, 22658.521, 19803.428, 18924.82, 22608.461, 21491.096, 1371.681]),
        (
            {**PLAIN, "block": (5, 9, 13), "window": 31},
            [20516.436, 21967.883, 19855.154, 19393.838, 22638.262, 21481.920, 1150.732],
        ),
    ],
)
def test_multiscale_gives_the_figures_of_the_published_code(reference, parameters, values, monkeypatch):
    # The published code takes pixels for points, so that a line one pixel wide has no width.
    monkeypatch.setattr(_components, "_PIXEL", 0.0)
    out = reference - multiscale.stripes(reference, multiscale.plan(reference.shape, **parameters))
    points = [float(out[place]) for place in ((0, 0), (30, 3), (48, 40), (60, 41), (95, 79))]
    np.testing.assert_allclose([*points, out.mean(dtype=float), out.std(dtype=float)], values, atol=0.006)


def test_weights_of_parts_follow_their_shape():
    y, x = np.indices((201, 201))
    for turn, ratio, expected in ((0, 0.1, 0.946), (0, 0.3, 0.607), (2, 0.1, 0.849), (2, 0.3, 0.230), (4, 0.1, 0.136)):
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        along, across = (y - 100) * c + (x - 100) * s, (x - 100) * c - (y - 100) * s
        part = ((along / 95) ** 2 + (across / (95 * ratio)) ** 2 < 1).astype(np.float32)
        weight = _components.stripe_weights(part, np.full(201, 0.5, np.float32), _components.Shape(16, 4.8, 0.3))
        assert weight[100, 100] == pytest.approx(expected, abs=0.03)
        assert (weight[part == 0] == 1).all()


def test_a_line_one_pixel_wide_across_the_stripes_is_none():
    band = np.zeros((64, 64), np.float32)
    band[30, 5:60], band[2:40, 62] = 1, -1
    weight = _components.stripe_weights(band, np.full(64, 0.5, np.float32), _components.Shape(16, 4.8, 0.3))
    assert weight[30, 20] == 0
    assert weight[20, 62] > 0.98


def test_parts_of_both_signs_are_apart_and_the_array_form_agrees():
    band = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(150, 170)), 1.0).astype(np.float32)
    limit = np.linspace(0.1, 0.3, 150).astype(np.float32)
    for shape in (_components.Shape(3, 20, 0.3), _components.Shape(16, 4.8, 0.3)):
        compiled = _components.stripe_weights(band, limit, shape)
        np.testing.assert_allclose(compiled, _components.stripe_weights_xp(band, limit, shape), atol=1e-5)
        assert (compiled < 1).any()


def test_energy_correction_keeps_the_power_of_white_noise():
    noise = np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32)
    keep = {
        "rule": "limit",
        "block": None,
        "threshold": 100.0,
        "scales": 1,
        "length": 5,
        "window": None,
        "shrink": False,
    }

    def power(correct):
        band = atrous.smooth(noise, 0, axes=(0,)) - atrous.smooth(noise, 0)
        found = multiscale.stripes(noise, multiscale.plan(noise.shape, correct_energy=correct, **keep))
        return np.var(band - found) / np.var(band - _box_means.triangle(band, 5))

    loss = 1 - 2 / 5 + (2 * 25 + 1) / (3 * 125)
    assert power(False) == pytest.approx(1, rel=1e-3)
    assert power(True) == pytest.approx(1 / loss, rel=1e-3)


def test_robust_noise_is_not_raised_by_a_few_strong_edges():
    rng = np.random.default_rng(0)
    band = rng.normal(size=(200, 300)).astype(np.float32)
    band[:, ::50] += 40
    plan = multiscale.plan(band.shape, window=None)
    assert multiscale._noise(band, plan, None)[0] == pytest.approx(1.05, abs=0.07)
    assert multiscale._noise(band, multiscale.plan(band.shape, window=None, noise="rms"), None)[0] > 5


# --- wedge ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(_wedge_plan.KINDS) - {"measured"}))
def test_the_mean_is_kept_and_the_mask_lies_between_0_and_1(kind):
    frame = texture((120, 91)) + lines((120, 91))
    plan = wedge.plan(frame.shape, kind=kind)
    spectrum = np.fft.rfft2(frame - frame.mean())
    mask = wedge.mask(spectrum, frame.shape, plan)
    assert mask[0, 0] == 1
    assert mask.min() >= -1e-6
    assert mask.max() <= 1 + 1e-6
    assert mask[0, 20:40].mean() < 0.7
    assert abs(float(wedge.stripes(frame, plan).mean(dtype=float))) < 1e-2


def test_a_mask_that_removes_nothing_is_the_identity_to_rounding():
    frame = texture((90, 70))
    plan = wedge.plan(frame.shape, kind="auto", threshold=1e6)
    assert np.abs(wedge.stripes(frame, plan)).max() < 1e-5 * np.std(frame)


def test_rescaling_leaves_the_amplitude_of_other_directions():
    frame = texture() + lines(strength=5000)
    amplitude = []
    for rescale in (False, True):
        plan = wedge.plan(frame.shape, kind="auto", rescale=rescale, softness=0, averaging=0)
        rest = frame - wedge.stripes(frame, plan)
        window = np.outer(*(np.hanning(n) for n in rest.shape))
        spectrum = np.abs(np.fft.rfft2((rest - rest.mean()) * window))
        amplitude.append(np.median(spectrum[0, 10:60]) / np.median(spectrum[20:60, 0]))
    assert amplitude[0] < 0.6 * amplitude[1]
    assert 0.3 < amplitude[1] < 2


# --- shear, fill ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [7.0, -33.0, 60.0, -80.0, 90.0])
def test_sheared_stripes_run_along_y_and_come_back(angle):
    planted = lines((120, 90), angle=angle)
    shear = _shear.shear_of(planted.shape, angle)
    upright = _shear.to_upright(planted, shear)
    within = _shear.inside(shear, upright)
    known = np.ones_like(upright) if within is None else within
    total = np.maximum(known.sum(axis=0), 1)
    mean = (upright * known).sum(axis=0) / total
    assert np.std((upright - mean)[known > 0]) < 0.08 * np.std(planted)
    back = _shear.from_upright(np.where(known > 0, upright, mean), shear)
    assert np.std(back - planted) < 0.1 * np.std(planted)
    if shear.forth is not None:
        turned = np.ascontiguousarray(planted.T if shear.transposed else planted)
        np.testing.assert_allclose(_shear.moved_xp(turned, *shear.forth, shear.upright[1]), upright, atol=1e-2)


def test_filling_keeps_what_is_known_and_continues_a_slope():
    y, x = np.indices((64, 80))
    frame = (3 * x + y).astype(np.float32)
    weight = np.ones_like(frame)
    weight[20:30, 30:50] = 0
    filled = _fill.fill(np.where(weight > 0, frame, 0).astype(np.float32), weight)
    np.testing.assert_allclose(filled[weight > 0], frame[weight > 0], rtol=1e-6)
    assert np.abs(filled - frame).max() < 30


# --- through the operation -----------------------------------------------------------------------------------------


@pytest.fixture
def striped():
    values = np.stack([texture((96, 80), seed) + lines((96, 80), seed=seed + 9) for seed in range(2)])
    values[0, 10:13, 5:9] = np.nan
    return stack3d.from_array(values, pixel_size=(10, 5, 5))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("wavelet", {"wavelet": "db3", "level": 3}),
        ("multiscale", {"scales": 3, "length": [41, 81], "window": None}),
        ("wedge", {"kind": "wedge", "radii": [0.02, 1]}),
    ],
)
def test_methods_of_destripe_are_lazy_replayed_and_keep_missing_pixels(striped, method, options):
    result = striped.stack3d.destripe(method=method, options=options)
    lazy = striped.chunk(z=1).stack3d.destripe(method=method, options=options)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, result)
    assert stack3d.replay(striped, result).equals(result)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(striped))
    assert float(result.std()) < 0.93 * float(striped.std())


def test_options_are_those_of_the_method(striped):
    with pytest.raises(ValueError, match="wavelet='db3' is no parameter of method='wedge'"):
        striped.stack3d.destripe(method="wedge", options={"wavelet": "db3"})
    with pytest.raises(TypeError, match="options=3 must be a mapping"):
        striped.stack3d.destripe(method="wedge", options=3)
    with pytest.raises(ValueError, match="must not hold 'angle'"):
        striped.stack3d.destripe(method="wedge", options={"angle": 3})
