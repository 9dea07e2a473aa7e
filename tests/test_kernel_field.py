"""Displacement fields on blocks: splines by definition, warps by both forms, and what they must not change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import CubicSpline

from stack3d.kernels import field, warp

RNG = np.random.default_rng(0)
SHAPE = (60, 70)
TURN = np.array([[1.01, -0.02, 1.3], [0.015, 0.99, -2.2], [0, 0, 1]])


def given(p=3, q=4, size=2.0, shape=SHAPE):
    grid = np.random.default_rng(3).normal(0, size, (p, q, 2))
    centres = [(np.arange(n) + 1) * side / (n + 1) for n, side in ((p, shape[0]), (q, shape[1]))]
    return grid, *(field.basis(c, np.arange(side)) for c, side in zip(centres, shape, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_basis_is_the_natural_spline_and_a_line_beyond(count):
    centres = np.cumsum(RNG.uniform(3, 9, count))
    values = RNG.normal(size=count)
    places = np.linspace(centres[0] - 20, centres[-1] + 20, 301)
    found = field.basis(centres, places) @ values
    np.testing.assert_allclose(field.basis(centres, centres), np.eye(count), atol=1e-12)
    np.testing.assert_allclose(field.basis(centres, places).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.diff(found[:50], 2), 0, atol=1e-10)
    np.testing.assert_allclose(np.diff(found[-50:], 2), 0, atol=1e-10)
    if count > 2:
        inside = (places > centres[0]) & (places < centres[-1])
        spline = CubicSpline(centres, values, bc_type="natural")
        np.testing.assert_allclose(found[inside], spline(places[inside]), atol=1e-12)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("order", [0, 1, 3, "lanczos"])
@pytest.mark.parametrize(("fill", "value"), [("edge", 0), ("reflect", 0), ("constant", 9)])
def test_both_forms_agree(dtype, order, fill, value):
    frame = (ndimage.gaussian_filter(RNG.normal(size=SHAPE), 1.5) * 100 + 100).astype(dtype)
    options = {"order": order, "fill": fill, "value": value}
    found, saturated = field.warp_field(frame, TURN, *given(), **options)
    expected, count = field.warp_field_xp(frame, TURN, *given(), **options)
    assert found.dtype == frame.dtype
    different = np.abs(found.astype(float) - expected.astype(float))
    assert (different > (1 if frame.dtype.kind in "iu" else 2e-3)).mean() < 2e-3
    assert abs(saturated - count) <= 2


def test_a_field_moves_each_place_where_it_says():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    grid, along, across = given(size=1.0)
    d = np.stack([along @ grid[..., k] @ across.T for k in range(2)])
    # A picture of its own coordinates says from where each pixel was taken.
    for axis, coordinate in enumerate((x, y)):
        found, _ = field.warp_field(coordinate, TURN, grid, along, across, order=1)
        expected = TURN[axis, 0] * (x + d[1]) + TURN[axis, 1] * (y + d[0]) + TURN[axis, 2]
        np.testing.assert_allclose(found[12:-12, 12:-12], expected[12:-12, 12:-12], atol=1e-9)


def test_an_even_field_is_a_shift_and_none_the_affine_warp():
    frame = RNG.normal(size=SHAPE).astype("f4")
    grid, along, across = given()
    still, _ = field.warp_field(frame, TURN, np.zeros_like(grid), along, across)
    np.testing.assert_array_equal(still, warp.warp_frame(frame, TURN)[0])
    even, _ = field.warp_field(frame, np.eye(3), np.full_like(grid, (0.3, -1.7)), along, across)
    np.testing.assert_allclose(even, warp.shift_frame(frame, 0.3, -1.7)[0], atol=1e-5)
    whole, _ = field.warp_field(frame, np.eye(3), np.full_like(grid, (2.0, -3.0)), along, across, order=0)
    np.testing.assert_array_equal(whole, warp.shift_frame(frame, 2, -3)[0])


def test_missing_pixels_are_left_out_of_their_neighbours():
    frame = np.full(SHAPE, 5, "f4")
    frame[20:23, 30:33] = np.nan
    found, _ = field.warp_field(frame, TURN, *given(size=1.0))
    assert 4 <= int(np.isnan(found).sum()) <= 16
    np.testing.assert_allclose(found[np.isfinite(found)], 5, rtol=1e-5)
    other, _ = field.warp_field_xp(frame, TURN, *given(size=1.0))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(other))


def test_wrong_shapes_are_refused():
    frame, (grid, along, across) = np.zeros(SHAPE, "f4"), given()
    with pytest.raises(ValueError, match="along and across"):
        field.warp_field(frame, TURN, grid, across, along)
    with pytest.raises(ValueError, match="finite"):
        field.warp_field(frame, TURN, grid * np.nan, along, across)
