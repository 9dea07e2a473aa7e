"""Transforms from fiducials: the motion they were given, whatever the model and the unit."""

import numpy as np
import pytest

import stack3d
from stack3d import transforms as tf
from stack3d.transforms._matrices import matrices_of

PLACES = np.array([[20.0, 30], [100, 40], [60, 150], [130, 120]])  # (y, x), pixels


@pytest.fixture
def da():
    return stack3d.from_array(np.zeros((6, 140, 160), np.uint8), pixel_size=(20, 5, 5))


def moved(model):
    """Return the positions of the points under motions of the model, and their pull matrices."""
    rng = np.random.default_rng(0)
    matrices = np.tile(np.eye(3), (6, 1, 1))
    for k in range(6):
        angle, scale = np.radians(rng.uniform(-2, 2)), 1 + rng.uniform(-0.02, 0.02)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        linear = {"translation": np.eye(2), "rigid": turn, "similarity": scale * turn}
        matrices[k, :2, :2] = linear.get(model, np.eye(2) + rng.uniform(-0.02, 0.02, (2, 2)))
        matrices[k, :2, 2] = rng.uniform(-5, 5, 2)
    points = np.einsum("zab,pb->zpa", matrices[:, :2, :2], PLACES[:, ::-1]) + matrices[:, None, :2, 2]
    return points[..., ::-1], matrices


@pytest.mark.parametrize("model", ["translation", "rigid", "similarity", "affine"])
@pytest.mark.parametrize("units", ["px", None, "um"])
def test_exact_places_give_the_exact_motion(da, model, units):
    points, matrices = moved(model)
    size = {"px": 1.0, None: 5.0, "um": 0.005}[units]
    found = tf.from_points(da, points * size, model=model, reference=PLACES * size, units=units)
    np.testing.assert_allclose(matrices_of(found), matrices, atol=1e-9)
    assert float(found["residual"].max()) < 1e-9


def test_places_missing_in_a_slice_bridge_it(da):
    points, _ = moved("translation")
    points[2] = np.nan
    points[4, :3] = np.nan
    found = tf.from_points(da, points, reference=PLACES, units="px")
    np.testing.assert_array_equal(found["valid"], [True, True, False, True, True, True])
    np.testing.assert_allclose(found["shift_x"][2], (found["shift_x"][1] + found["shift_x"][3]) / 2)


def test_without_a_reference_the_mean_place_stays(da):
    points, _ = moved("translation")
    found = tf.from_points(da, points, units="px")
    assert abs(float(found["shift_y"].mean())) < 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": np.zeros((5, 4, 2))}, r"points has shape \(5, 4, 2\)"),
        ({"points": np.zeros((6, 4, 2)), "model": "spline"}, "model='spline'"),
        ({"points": np.zeros((6, 4, 2)), "reference": np.zeros((3, 2))}, "must be 4 finite positions"),
        ({"points": np.full((6, 4, 2), np.nan)}, "reference=None needs a slice"),
    ],
)
def test_bad_points_are_refused(da, arguments, message):
    with pytest.raises(ValueError, match=message):
        tf.from_points(da, **arguments)
