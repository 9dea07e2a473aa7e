"""Frames that a GPU takes at once: each gets what it would get by itself, by array forms that touch nothing of NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from stack3d.kernels import _components, _fill, _slow_rows, _stripe_power, multiscale, vsnr, wavelet_stripes, wedge

SHAPE = (120, 144)
KERNELS = {"multiscale": multiscale, "wedge": wedge, "wavelet": wavelet_stripes, "vsnr": vsnr}


@pytest.fixture
def card(install_card):
    """Return a cupy whose arrays NumPy and compiled loops cannot take."""
    return install_card()


def frames(angle=0.0):
    """Return frames with stripes of several strengths, one with none, about different levels."""
    rng = np.random.default_rng(2)
    y, x = np.indices(SHAPE)
    across = (x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))).round().astype(int)
    profiles = rng.normal(size=(4, 800)) * np.array([0.0, 1.0, 3.0, 0.5])[:, None]
    values = rng.normal(size=(4, *SHAPE)) + profiles[:, across + 300] + np.array([0, 50, -20, 100])[:, None, None]
    return values.astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, 7.0, 90.0])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("multiscale", {"scales": 3}),
        ("multiscale", {"scales": 2, "rule": "limit", "window": None, "strength": 0.5}),
        ("multiscale", {"scales": 2, "noise": "rms", "shrink": False}),
        ("wedge", {}),
        ("wedge", {"kind": "auto", "half_angle": 3.0}),
        ("wedge", {"kind": "wedge", "strength": 0.5}),
        ("wavelet", {}),
        ("wavelet", {"wavelet": "coif3", "strength": 0.5}),
        ("wavelet", {"wavelet": "haar", "damping": 3.0}),
        ("wavelet", {"wavelet": "db2", "damping": 2.0, "boundary": "periodic", "level": 3}),
        ("wavelet", {"wavelet": "db4", "damping": 3.0}),
        ("wavelet", {"wavelet": "haar", "shrink": False}),
    ],
)
def test_a_batch_is_treated_as_each_frame(name, options, angle):
    kernel, batch = KERNELS[name], frames(angle)
    plan = kernel.plan(SHAPE, angle=angle, **options)
    expected = np.stack([kernel.stripes(frame, plan) for frame in batch])
    assert expected[2].std() > 0.2
    found = kernel.stripes_xp(batch, plan)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.std())


@pytest.mark.parametrize("angle", [0.0, 7.0])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vsnr", {}),
        ("vsnr", {"boundary": "periodic", "sigma": (1.0, 40.0)}),
        ("multiscale", {"scales": 2}),
        ("wedge", {}),
        ("wedge", {"kind": "auto"}),
        ("wavelet", {}),
        ("wavelet", {"wavelet": "haar", "damping": 3.0}),
        ("wavelet", {"wavelet": "sym8", "shrink": False, "boundary": "periodic"}),
    ],
)
def test_frames_on_a_card_are_never_touched_by_numpy(card, name, options, holes, angle):
    kernel, batch, weight = KERNELS[name], frames(angle), None
    if holes:
        weight = np.ones(batch.shape, np.float32)
        weight[1, 20:30, 40:50] = weight[2, 5, 7] = 0
    plan = kernel.plan(SHAPE, angle=angle, **options)
    # The steps of VSNR end elsewhere in the compiled form, which other tests hold to this one.
    expected = (kernel.stripes_xp if name == "vsnr" else kernel.stripes)(batch, plan, weight)
    assert expected[2].std() > 0.2
    there = card.asarray(batch), None if weight is None else card.asarray(weight)
    found = kernel.stripes(there[0], plan, there[1])
    assert isinstance(found, card.ndarray)
    alone = kernel.stripes(there[0][1], plan, None if weight is None else there[1][1])
    for left in (found.get() - expected, alone.get() - expected[1]):
        assert np.sqrt(np.mean(left**2)) < 4e-3 * expected.std()


def test_what_stands_in_for_a_card_refuses_numpy(card):
    there = card.asarray(np.ones((3, 4), np.float32))
    for wrong in (
        lambda: np.abs(there),
        lambda: np.stack([there, there]),
        lambda: np.float32(there.mean()),
        lambda: there + np.ones((3, 4)),
        lambda: np.ones((3, 4)) + there,
        lambda: card.where(there > 0, there, np.ones((3, 4))),
        lambda: np.asarray(there),
    ):
        with pytest.raises(TypeError):
            wrong()
    np.testing.assert_array_equal((np.float32(2) * there)[np.array([0, 2])].get(), np.full((2, 4), 2))


def test_holes_of_frames_at_once_are_filled_as_of_each():
    batch, weight = frames(), np.ones((4, *SHAPE), np.float32)
    weight[0, 10:40, 20:33] = weight[1, :, 100:] = weight[2] = 0
    each = np.stack([_fill.fill(*pair) for pair in zip(batch, weight, strict=True)])
    np.testing.assert_array_equal(_fill.fill(batch, weight), each)


@pytest.mark.parametrize("name", ["multiscale", "wedge", "wavelet"])
def test_missing_pixels_of_one_frame_leave_the_others_as_they_are(name):
    kernel, batch = KERNELS[name], frames()
    plan = kernel.plan(SHAPE)
    expected = kernel.stripes_xp(batch, plan)
    batch[1, 5:9, 7] = np.nan
    holed = kernel.stripes_xp(batch, plan)
    np.testing.assert_allclose(holed[[0, 2, 3]], expected[[0, 2, 3]], atol=2e-3 * expected.std())
    np.testing.assert_allclose(holed[1], kernel.stripes(batch[1], plan), atol=2e-3 * expected.std())


def test_parts_of_one_frame_do_not_reach_into_the_next():
    bands = np.zeros((3, 40, 30), np.float32)
    bands[0, 5:35, 12], bands[1, 20, 3:28], bands[2, 5:30, 14] = 1, -1, -1
    limit, shape = np.full((3, 40), 0.5, np.float32), _components.Shape(8, 10, 0.3)
    each = np.stack([_components.stripe_weights(*pair, shape) for pair in zip(bands, limit, strict=True)])
    assert each[0, 20, 12] > 0.9 > 0.1 > each[1, 20, 12]
    np.testing.assert_allclose(_components.stripe_weights_xp(bands, limit, shape), each, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 60), (41, 61), (200, 1500), (301, 97)])
def test_differences_are_folded_as_those_of_the_frame_are(shape):
    rng = np.random.default_rng(1)
    frame, weight = rng.normal(size=shape).astype(np.float32), (rng.random(shape) > 0.1).astype(np.float32)
    weight[:5] = 0
    wide, rows = shape[1] + 7, min(16, shape[0] // 2)
    whole = _slow_rows.project_xp(_stripe_power.changes_xp(frame, weight, wide), _slow_rows.of_cosines(shape[0], rows))
    found = _stripe_power._projected_changes(frame, weight, rows, wide)
    np.testing.assert_allclose(found, whole, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 60), (41, 61), (200, 1500), (301, 97)])
def test_rows_of_which_a_span_was_measured_are_folded_as_with_weights(shape):
    rng = np.random.default_rng(1)
    frame, first = rng.normal(size=shape).astype(np.float32), np.arange(shape[0]) // 8
    spans = np.stack([first, shape[1] - first[::-1]], axis=1)
    spans[3], spans[4] = (7, 8), (9, 9)
    column = np.arange(shape[1])
    weight = ((column >= spans[:, :1]) & (column < spans[:, 1:])).astype(np.float32)
    wide, rows = shape[1] + 7, min(16, shape[0] // 2)
    spans.flags.writeable = False
    found = _stripe_power._projected_changes(frame, weight, rows, wide, spans)
    np.testing.assert_allclose(found, _stripe_power._projected_changes(frame, weight, rows, wide), atol=1e-5)


@pytest.mark.parametrize("width", [60, 61, 97])
def test_differences_and_their_sine_transform_have_the_same_array_form(width):
    rng = np.random.default_rng(0)
    frame, weight = rng.normal(size=(40, width)).astype(np.float32), np.ones((40, width), np.float32)
    weight[3:9, 10:20] = weight[:, 50] = 0
    array = _stripe_power.changes_xp(frame, weight, 108)
    steps = np.diff(frame, axis=1) * (weight[:, 1:] * weight[:, :-1])
    np.testing.assert_array_equal(array[:, : width - 1], steps)
    assert not array[:, width - 1 :].any()
    waves = np.sin(np.pi * np.outer(np.arange(1, 108), np.arange(1, 108)) / 108)
    np.testing.assert_allclose(_stripe_power._sines(array), abs(2 * array @ waves), rtol=1e-3, atol=1e-3)
