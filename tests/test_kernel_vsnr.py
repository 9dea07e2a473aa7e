"""VSNR: the compiled form equals the array form, both minimise what the paper says, and scale with the image."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.fft
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from stack3d.kernels import (
    _shear,
    _stripe_level,
    _vsnr_band,
    _vsnr_band_loops,
    _vsnr_descent,
    _vsnr_full,
    _vsnr_plan,
    _vsnr_steps,
    vsnr,
    wedge,
)
from stack3d.kernels.vsnr import Filter


def textured(shape=(96, 120), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=shape), 4)
    fine = gaussian_filter(rng.normal(size=shape), 1.2)
    values = np.tanh(3 * smooth / smooth.std()) + 0.3 * fine / fine.std() + 0.1 * rng.normal(size=shape)
    return values.astype(np.float32)


def curtains(shape=(96, 120), angle=0.0, seed=1, length=60.0) -> np.ndarray:
    """Return stripes of unit variance that do not wrap around."""
    rng = np.random.default_rng(seed)
    turn = np.radians(angle)
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = x * np.cos(turn) - y * np.sin(turn)
    along = y * np.cos(turn) + x * np.sin(turn)
    field = np.zeros(shape)
    for _ in range(60):
        centre, place = rng.uniform(across.min(), across.max()), rng.uniform(along.min(), along.max())
        field += rng.normal() * np.exp(-0.5 * (((across - centre) / 1.2) ** 2 + ((along - place) / length) ** 2))
    return (field / field.std()).astype(np.float32)


def objective(frame, stripes, filter, scale) -> float:
    """Return what a periodic plan minimises, in float64, written anew from the definition."""
    height, width = frame.shape
    y = (height / 2 + 1 - np.arange(1, height + 1))[:, None]
    x = width / 2 + 1 - np.arange(1, width + 1)
    turn = np.radians(filter.angle)
    over, along = x * np.cos(turn) - y * np.sin(turn), y * np.cos(turn) + x * np.sin(turn)
    power = np.abs(np.fft.fft2(np.exp(-0.5 * ((over / filter.sigma[0]) ** 2 + (along / filter.sigma[1]) ** 2)))) ** 2
    dx = np.abs(np.fft.fft([1, -1], width))
    dy = np.abs(np.fft.fft([1, -1], height))[:, None]
    psi = filter.noise_level * scale * power / max((dx * power).max(), (dy * power).max())
    rest = frame.astype(float) - stripes
    gradient = np.hypot(np.roll(rest, -1, 0) - rest, np.roll(rest, -1, 1) - rest).sum()
    energy = np.abs(np.fft.fft2(stripes.astype(float))) ** 2 / frame.size
    used = psi > psi.max() * 1e-10
    return float(gradient + 0.5 * np.sum(energy[used] / psi[used]))


WAYS = {
    "reflecting": {"sigma": (1.0, 30.0)},
    "any width": {},
    "periodic": {"sigma": (1.0, 30.0), "boundary": "periodic"},
    "lying": {"sigma": (1.0, 30.0), "angle": 90.0},
    "leaning": {"sigma": (1.5, 40.0), "angle": 8.0},
    "leaning the other way, nearly lying": {"angle": -80.0},
    "leaning, periodic": {"sigma": (1.5, 40.0), "angle": 8.0, "boundary": "periodic"},
    "short": {"filters": [Filter("gabor", (1.0, 1.5), 0.0, 3.0)]},
    "two directions": {"filters": [Filter("gabor", (1.0, 30.0), 20.0, 3.0), Filter("gabor", (1.0, 30.0), -20.0, 3.0)]},
    "points": {"filters": [Filter("dirac", noise_level=0.5)]},
    "pattern": {"filters": [Filter("pattern", noise_level=2.0, values=((1.0,), (1.0,), (1.0,)))]},
}


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_compiled_and_array_form_agree(way, holes):
    angle = WAYS[way].get("angle", 0.0)
    frame = textured() + curtains(angle=angle)
    weight = None
    if holes:
        weight = np.ones(frame.shape, np.float32)
        weight[30:42, 50:75] = weight[-1, -1] = weight[:, 7] = 0
    # The compiled form leaves out modes in which a frame has no stripes: the ways to the limit differ, not the limit.
    limit = {} if {"sigma", "filters"} & set(WAYS[way]) else {"max_iter": 400, "tol": 0.0}
    plan = vsnr.plan(frame.shape, **WAYS[way], **limit)
    compiled, oracle = vsnr.stripes(frame, plan, weight), vsnr.stripes_xp(frame, plan, weight)
    assert compiled.dtype == oracle.dtype == np.float32
    assert oracle.std() > 0.02
    np.testing.assert_allclose(compiled, oracle, atol=2e-3 * np.ptp(frame) / 10)


@pytest.mark.parametrize("filter", [Filter("gabor", (1.0, 30.0), 0.0, 20.0), Filter("gabor", (1.5, 20.0), 12.0, 20.0)])
def test_the_result_minimises_the_functional_of_the_paper(filter):
    frame = textured() + curtains(angle=filter.angle)
    scale = _stripe_level.gradient_scale(frame)
    plan = vsnr.plan(frame.shape, filters=[filter], boundary="periodic", max_iter=300)
    best = vsnr.stripes(frame, plan).astype(float)
    least = objective(frame, best, filter, scale)
    assert least < 0.97 * objective(frame, np.zeros(frame.shape), filter, scale)
    # No step towards smaller or larger stripes, or along the direction of stripes of the same kind, is downhill.
    steps = [0.02 * best, -0.02 * best]
    steps += [
        0.05 * gaussian_filter(np.random.default_rng(k).normal(size=frame.shape), (30, 1), mode="wrap")
        for k in range(3)
    ]
    for step in steps:
        assert objective(frame, best + step, filter, scale) > least * (1 - 1e-5)


def test_the_default_number_of_iterations_is_within_2e_4_of_the_range_of_the_limit():
    frame = textured() + curtains()
    for filter in (Filter("gabor", (1.0, 30.0), 0.0, 5.0), Filter("gabor", (1.0, 30.0), 0.0, 50.0)):
        few, many = (
            vsnr.stripes(frame, vsnr.plan(frame.shape, filters=[filter], max_iter=count)) for count in (None, 400)
        )
        assert np.sqrt(np.mean((few - many) ** 2)) < 2e-4 * np.ptp(frame)


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("missing", ["a hole and a column", "a third"])
def test_frames_that_miss_pixels_stop_within_2e_4_of_the_range_of_the_limit(missing, boundary):
    frame = textured() + curtains()
    weight = np.ones_like(frame)
    if missing == "a third":
        weight[:, : frame.shape[1] // 3] = 0
    else:
        weight[30:42, 40:65] = weight[:, -30] = 0
    few, many = (
        vsnr.stripes(frame, vsnr.plan(frame.shape, boundary=boundary, **limits), weight)
        for limits in ({}, {"max_iter": 250, "tol": 0.0})
    )
    assert many.std() > 0.01 * np.ptp(frame)
    assert np.sqrt(np.mean((few - many)[weight > 0] ** 2)) < 2e-4 * np.ptp(frame)


def test_plateaus_without_noise_are_no_reason_to_split(monkeypatch):
    """Weak stripes in blobs on a ramp: many gradients are next to 0, and the slope leads to the minimum all the same."""
    blobs = gaussian_filter(np.random.default_rng(0).normal(size=(150, 160)), 5)
    y, x = np.indices(blobs.shape)
    frame = np.float32(100 * np.clip(2 * blobs / blobs.std(), -1, 1) + 0.4 * x + 0.2 * y)
    filters = [Filter("gabor", (1.0, 40.0), 0.0, 0.5)]
    found = vsnr.stripes(frame, vsnr.plan(frame.shape, filters=filters))
    monkeypatch.setattr(_vsnr_descent, "_VERY_FLAT", -1.0)
    limit = vsnr.stripes(frame, vsnr.plan(frame.shape, filters=filters, max_iter=800, tol=0.0))
    early = vsnr.stripes(frame, vsnr.plan(frame.shape, filters=filters))
    near, far = (np.sqrt(np.mean((field - limit) ** 2)) / np.ptp(frame) for field in (found, early))
    assert near < 1e-4
    assert near < 0.5 * far


def test_a_tolerance_ends_early_and_close_by():
    frame = textured() + curtains()
    limit = vsnr.stripes(frame, vsnr.plan(frame.shape, sigma=(1, 30), max_iter=400))
    loose, strict = (
        vsnr.stripes(frame, vsnr.plan(frame.shape, sigma=(1, 30), max_iter=400, tol=tol)) for tol in (1e-1, 1e-4)
    )
    assert abs(strict - limit).max() < 0.2 * abs(loose - limit).max()
    assert 0 < abs(strict - limit).max() < 5e-3 * np.ptp(frame)


@pytest.mark.parametrize("angle", [0.0, 8.0, 90.0])
def test_gain_and_offset_of_the_grey_values_do_not_matter(angle):
    frame = textured() + curtains(angle=angle)
    plan = vsnr.plan(frame.shape, angle=angle)
    found = vsnr.stripes(frame, plan)
    assert found.std() > 0.1
    for gain, offset in ((100.0, 0.0), (1.0, 1000.0), (2e4, 3e4), (1e-6, 0.0)):
        scaled = vsnr.stripes((gain * frame.astype(float) + offset).astype(np.float32), plan)
        # A float32 of 1000 is a sixteen-thousandth of a grey value coarse.
        np.testing.assert_allclose(scaled / gain, found, atol=2e-3)


@pytest.mark.parametrize("angle", [0.0, 7.0, -20.0, 45.0, 90.0, 83.0])
def test_planted_stripes_are_found_at_any_angle(angle):
    shape = (192, 200)
    texture, planted = textured(shape), 0.7 * curtains(shape, angle)
    found = vsnr.stripes(texture + planted, vsnr.plan(shape, angle=angle, sigma=(1.2, 60)))
    assert np.std(found - planted) < 0.65 * np.std(planted)


def test_stripes_that_do_not_wrap_are_found_better_by_reflecting_than_by_periodic_edges():
    shape = (160, 168)
    errors = {}
    for boundary in ("reflect", "periodic"):
        total = 0.0
        for seed in range(4):
            planted = 0.7 * curtains(shape, seed=seed)
            filters = [Filter("gabor", (1.2, 60.0), 0.0, 10.0)]
            found = vsnr.stripes(
                textured(shape, 10 + seed) + planted, vsnr.plan(shape, filters=filters, boundary=boundary)
            )
            error = (found - planted - np.mean(found - planted)) ** 2
            total += error[:20].mean() + error[-20:].mean()
        errors[boundary] = total
    assert errors["reflect"] < errors["periodic"]


def test_the_same_is_taken_from_a_frame_as_from_its_transpose_and_mirror_image():
    frame = textured() + curtains(angle=9.0)

    def found(frame, angle):
        filters = [Filter("gabor", (1.2, 40.0), angle, 20.0)]
        return vsnr.stripes(np.ascontiguousarray(frame), vsnr.plan(frame.shape, filters=filters))

    expected = found(frame, 9.0)
    np.testing.assert_allclose(found(frame.T, 81.0).T, expected, atol=1e-5)
    # Forward differences lean to one side, so a mirror image is not to the bit the same.
    assert np.std(found(frame[:, ::-1], -9.0)[:, ::-1] - expected) < 0.15 * np.std(expected)
    assert np.std(found(frame[:, ::-1], 9.0)[:, ::-1] - expected) > 0.3 * np.std(expected)


def test_what_a_missing_pixel_holds_does_not_matter_and_stripes_go_on_through_holes():
    frame = textured((128, 128)) + curtains((128, 128))
    weight = np.ones(frame.shape, np.float32)
    weight[40:70, 30:60] = 0
    plan = vsnr.plan(frame.shape, sigma=(1.2, 60))
    found = vsnr.stripes(frame, plan, weight)
    for value in (0.0, 1e4, np.nan):
        other = frame.copy()
        other[weight == 0] = value
        np.testing.assert_array_equal(vsnr.stripes(other, plan, weight), found)
    whole = vsnr.stripes(frame, plan)
    hole = weight == 0
    assert np.corrcoef(found[hole], whole[hole])[0, 1] > 0.8


@pytest.mark.parametrize(
    "frame", [np.zeros((40, 50)), np.full((40, 50), 7.5), np.zeros((1, 50)), np.zeros((1, 1)), np.arange(40.0)[:, None]]
)
def test_frames_without_contrast_have_no_stripes(frame):
    frame = frame.astype(np.float32)
    np.testing.assert_array_equal(vsnr.stripes(frame, vsnr.plan(frame.shape)), 0)


def test_nothing_measured_gives_nothing():
    frame = np.full((40, 50), np.nan, np.float32)
    np.testing.assert_array_equal(vsnr.stripes(frame, vsnr.plan(frame.shape), np.zeros((40, 50), np.float32)), 0)


def test_no_stripes_no_change():
    changes = []
    for seed in range(6):
        frame = textured((256, 256), seed)
        changes.append(np.std(vsnr.stripes(frame, vsnr.plan(frame.shape))) / frame.std())
    assert np.mean(changes) < 0.01
    assert max(changes) < 0.02


def test_more_strength_takes_more_and_none_takes_nothing():
    frame = textured() + curtains()
    taken = [np.std(vsnr.stripes(frame, vsnr.plan(frame.shape, strength=s))) for s in (0.0, 0.1, 1.0, 10.0)]
    assert taken[0] == 0
    assert np.all(np.diff(taken) > 0)


def test_leaning_and_back_leaves_smooth_frames_as_they_are():
    frame = gaussian_filter(np.random.default_rng(0).normal(size=(60, 90)), 3).astype(np.float32)
    for lean in (0.3, -0.3, 0.9):
        shear = _shear.shear_of(frame.shape, float(np.degrees(np.arctan(lean))), "lanczos")
        there = _shear.to_upright(frame, shear)
        covered = _shear.covered(_shear.spans(shear), there.shape[1])
        assert covered.sum() == frame.size
        np.testing.assert_array_equal(_shear.nearest(np.ones_like(frame), shear), covered)
        np.testing.assert_allclose(
            _shear.from_upright(there, shear)[:, 3:-3], frame[:, 3:-3], atol=2e-3 * np.ptp(frame)
        )
        moved = _shear.moved_xp(frame, *shear.forth, shear.upright[1])
        np.testing.assert_allclose(there, moved, atol=1e-6)


def test_padding_takes_fast_sizes():
    place = _vsnr_plan.domain(vsnr.plan((997, 1009), filters=[Filter("dirac", noise_level=1.0)]))
    for size in place.shape:
        rest = size
        for prime in (2, 3, 5, 7, 11):
            while rest % prime == 0:
                rest //= prime
        assert rest == 1


@pytest.mark.parametrize(
    ("settings", "most"),
    [({}, 2.0), ({"angle": 5.0}, 5.0), ({"sigma": (1, 30), "angle": 5.0, "boundary": "periodic"}, 8.0)],
)
def test_memory_is_a_few_frames_with_what_is_kept_for_the_next(settings, most):
    frame = textured((512, 512)) + curtains((512, 512))
    plan = vsnr.plan(frame.shape, **settings)
    vsnr.stripes(frame, plan)
    _vsnr_band._kept.key, _vsnr_full._kept.shape = None, ()
    tracemalloc.start()
    vsnr.stripes(frame, plan)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most * frame.nbytes


@pytest.mark.parametrize("height", [61, 62, 63])
def test_periodic_frames_of_any_height_are_at_the_minimum_of_the_array_form(height):
    frame = (textured((height, 90)) + curtains((height, 90))).astype(np.float32)
    plan = vsnr.plan(frame.shape, sigma=(1.0, 30.0), boundary="periodic")
    oracle = vsnr.stripes_xp(frame, plan)
    assert oracle.std() > 0.1
    np.testing.assert_allclose(vsnr.stripes(frame, plan), oracle, atol=1e-3 * np.ptp(oracle))


def test_a_frame_without_stripes_needs_no_field_of_zeros():
    frame, plan = textured((96, 96)), vsnr.plan((96, 96))
    assert vsnr.found(frame, plan) is None
    assert not vsnr.stripes(frame, plan).any()
    striped = frame + 4 * curtains((96, 96))
    np.testing.assert_array_equal(vsnr.found(striped, plan), vsnr.stripes(striped, plan))


def batch(angle=0.0) -> np.ndarray:
    """Return frames that need different numbers of steps, and one without stripes."""
    frames = [textured(seed=k) + size * curtains(angle=angle, seed=k) for k, size in ((1, 0.3), (2, 1.0), (3, 4.0))]
    return np.stack([*frames, np.zeros_like(frames[0])])


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("way", ["any width", "leaning", "leaning, periodic", "points"])
def test_the_array_form_gives_a_batch_what_it_gives_each_frame(way, holes):
    frames = batch(WAYS[way].get("angle", 0.0))
    weight = None
    if holes:
        weight = np.ones(frames.shape, np.float32)
        weight[1, 30:42, 50:75] = weight[0, -1, -1] = 0
    plan = vsnr.plan(frames.shape[1:], tol=1e-3, **WAYS[way])
    together = vsnr.stripes_xp(frames, plan, weight)
    for k, frame in enumerate(frames):
        alone = vsnr.stripes_xp(frame, plan, None if weight is None else weight[k])
        np.testing.assert_allclose(together[k], alone, atol=2e-4 * max(np.ptp(alone), 1e-9))
    compiled = vsnr.stripes(frames, plan, weight)
    np.testing.assert_allclose(together, compiled, atol=2e-3 * np.ptp(frames) / 10)


@pytest.mark.parametrize("angle", [0.0, 8.0])
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_frames_with_a_vacuum_are_as_near_to_their_limit(angle, boundary):
    frame = textured() + curtains(angle=angle)
    frame[:30] = 0
    filters = [Filter("gabor", (1.0, 30.0), angle, 30.0)]
    plan = vsnr.plan(frame.shape, filters=filters, boundary=boundary)
    found, limit = (vsnr.stripes(frame, p) for p in (plan, plan._replace(max_iter=1000, tol=0.0)))
    assert np.sqrt(np.mean((found - limit) ** 2)) < 2e-3 * np.ptp(frame)
    np.testing.assert_allclose(vsnr.stripes_xp(frame, plan), found, atol=2e-4 * np.ptp(frame))
    if boundary == "periodic" and not angle:
        scale = _stripe_level.gradient_scale(frame)
        least, reached = (objective(frame, field, filters[0], scale) for field in (limit, found))
        assert least <= reached < least * 1.001


def test_steps_up_are_taken_back():
    """A curvature told ten times too small makes every step overshoot."""
    psi, laplacian = np.full((1, 1, 64), 50.0, np.float32), np.ones((1, 64), np.float32)
    goal = np.random.default_rng(0).normal(size=(1, 1, 64)).astype(np.float32)

    def slope(lines, every):
        apart = goal - lines
        size = np.sum(np.sqrt(apart.astype(float) ** 2 + 0.1), axis=(1, 2))
        return _vsnr_descent.Slope((apart / np.sqrt(apart**2 + 0.1)).astype(np.float32), size, np.array([0.2]))

    across = _vsnr_descent.transform(np, 64, False)

    def value(lines):
        weights = across.forth(lines)
        return float(slope(lines, 1).size[0] + 0.5 * np.sum(weights**2 / psi))

    def of_one(lines, every):
        down, size, curvature = slope(lines[None], every)
        return down[0], float(size[0]), float(curvature[0])

    options = {"warm": (0, 1), "tol": 0.0}
    array, compiled = [], []
    for count in (1, 12, 400):
        array.append(_vsnr_descent.minimum(slope, psi, laplacian, across, np.ones(1), iterations=count, **options)[0])
        found = _vsnr_steps.minimum(of_one, psi[0], laplacian, across, 1.0, iterations=count, **options)[0]
        compiled.append(found[None])
    for found in (array, compiled):
        values = [value(lines) for lines in found]
        assert values[0] > values[2] * 1.05
        assert values[1] < values[2] * 1.001
    for one, other in zip(array, compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * abs(goal).max())


@pytest.mark.parametrize("width", [7, 16, 45])
def test_the_cosine_transform_of_arrays_is_that_of_scipy(width):
    lines = np.random.default_rng(0).normal(size=(2, 3, width)).astype(np.float32)
    found = _vsnr_descent.cosines(np, lines)
    np.testing.assert_allclose(found, scipy.fft.dct(lines, norm="ortho"), atol=1e-5)
    np.testing.assert_allclose(_vsnr_descent.from_cosines(np, found), lines, atol=1e-5)


@pytest.mark.parametrize(("periodic", "height"), [(False, 200), (True, 200), (False, 67)])
def test_blocks_of_terms_are_the_modes(periodic, height):
    plan = vsnr.plan((height, 40), sigma=(1.0, 30.0), boundary="periodic" if periodic else "reflect")
    tables = _vsnr_plan.band(plan)
    lines = np.zeros((tables.mix.shape[2] if tables.mix.size else tables.local.shape[2], 40), np.float32)
    shown = tables.basis.shape[1]
    strength = tables.powers[0].max(axis=1) ** 0.5
    lines[:shown] = strength[:, None] * np.random.default_rng(0).normal(size=(shown, 40))
    field, terms = np.empty((height, 40), np.float32), np.zeros((tables.local.shape[2], 40), np.float32)
    _vsnr_band_loops.field(tables.local, tables.mix, lines, terms, field)
    expected = tables.basis @ lines[:shown]
    assert abs(field - expected).max() < 1e-3 * abs(expected).max()


@pytest.mark.peer
@pytest.mark.parametrize(("angle", "sigma"), [(0.0, (1.0, 32.0)), (10.0, (1.5, 24.0))])
def test_the_same_minimiser_as_pyvsnr(angle, sigma):
    peer = pytest.importorskip("pyvsnr")
    planted = 0.7 * curtains((128, 136), angle)
    texture = textured((128, 136))
    frame = texture + planted
    frame -= frame.min() - 0.5
    kind = {"name": "Gabor", "noise_level": 5.0, "sigma": sigma, "theta": -angle}
    fft = np.fft
    try:
        cleaned = {count: peer.vsnr2d(frame, [kind], maxit=count, algo="numpy", norm=False) for count in (20, 400)}
    finally:
        np.fft = fft
    theirs = {count: frame - clean for count, clean in cleaned.items()}
    scale = _stripe_level.gradient_scale(frame)
    level = 5.0 * float(np.sqrt(np.mean(frame.astype(float) ** 2))) / scale
    filter = Filter("gabor", sigma, angle, level)
    ours = vsnr.stripes(frame, vsnr.plan(frame.shape, filters=[filter], boundary="periodic", tol=0.0))
    assert np.sqrt(np.mean((ours - theirs[400]) ** 2)) < 2e-4 * np.ptp(frame)
    value = {name: objective(frame, field, filter, scale) for name, field in (("ours", ours), ("theirs", theirs[20]))}
    assert value["ours"] <= value["theirs"]
    # Stopped early, theirs may be nearer to the truth than the minimum is: what is compared are minima.
    mistake = {name: np.std(field - planted) for name, field in (("ours", ours), ("theirs", theirs[400]))}
    assert mistake["ours"] <= mistake["theirs"] * 1.0005


def test_unit_vectors_of_normal_gradients_follow_them_as_the_levels_take_it():
    gradients = np.random.default_rng(0).normal(size=(2, 200_000))
    units = gradients / np.linalg.norm(gradients, axis=0)
    slope = np.mean(units * gradients)
    assert vsnr._STRENGTH * slope == pytest.approx(1, abs=0.02)
    assert np.mean((units - slope * gradients) ** 2) / slope**2 == pytest.approx(vsnr._UNRULY, abs=0.01)


def test_noise_of_differences_is_not_taken_for_wide_stripes():
    shape, parts = (160, 200), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        profile = rng.normal(size=200) + 4 * gaussian_filter1d(rng.normal(size=200), 6)
        planted = np.tile((0.3 * (profile - profile.mean())).astype(np.float32), (160, 1))
        frame = rng.normal(size=shape).astype(np.float32) + planted
        # Wiener's filter is the best there is for this.
        errors = [np.std(k.stripes(frame, k.plan(shape, difference=True)) - planted) for k in (vsnr, wedge)]
        parts.append(errors[0] / errors[1])
    assert np.mean(parts) < 1.8  # 2.4 if the noise of the functional itself is not counted
