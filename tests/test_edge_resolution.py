"""Edge resolution: transition distances of edges of known blur, in physical units."""

import functools

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import uniform_filter
from scipy.special import erf, erfinv

import stack3d
from stack3d.kernels import edges


@functools.cache
def discs(sigma_y: float, sigma_x: float, size: int = 420) -> np.ndarray:
    """Return bright discs whose borders are error functions of width (sigma_y, sigma_x), by direction of the border."""
    y, x = np.mgrid[:size, :size].astype(float)
    frame = np.full((size, size), 40.0)
    for cy in range(70, size, 140):
        for cx in range(70, size, 140):
            away = np.hypot(y - cy, x - cx)
            with np.errstate(invalid="ignore"):
                along = np.nan_to_num((y - cy) ** 2 / away**2), np.nan_to_num((x - cx) ** 2 / away**2)
            sigma = along[0] * sigma_y + along[1] * sigma_x
            frame += 60.0 * (1 - erf((away - 40.3) / (np.sqrt(2) * np.maximum(sigma, 1e-3))))
    return frame.astype(np.float32)


def stack_of(*frames: np.ndarray, pixel_size=(20, 4, 4)) -> xr.DataArray:
    return stack3d.from_array(np.stack(frames), pixel_size=pixel_size)


@pytest.mark.parametrize("bounds", [(0.37, 0.63), (0.33, 0.67), (0.2, 0.8)])
def test_transition_distances_of_blurred_steps_are_those_of_theory(bounds):
    sigmas = (1.5, 2.5, 4.0)
    table = stack_of(*(discs(s, s) for s in sigmas)).stack3d.edge_resolution(bounds=bounds)
    width = np.sqrt(2) * (erfinv(2 * bounds[1] - 1) - erfinv(2 * bounds[0] - 1))
    np.testing.assert_allclose(table["distance_median"], 4 * width * np.array(sigmas), rtol=0.03)
    np.testing.assert_allclose(table["distance_mean"], 4 * width * np.array(sigmas), rtol=0.03)
    assert (table["edges"] > 30).all()
    assert table["distance_median"].attrs["units"] == "nm"


def test_the_figures_of_the_docstring():
    assert np.sqrt(2) * 2 * erfinv(0.26) == pytest.approx(0.664, abs=1e-3)
    assert np.sqrt(2) * 2 * erfinv(0.34) == pytest.approx(0.880, abs=1e-3)
    assert np.sqrt(2) * 2 * erfinv(0.60) == pytest.approx(1.683, abs=1e-3)


def test_what_is_blurred_alike_in_all_directions_has_no_anisotropy():
    table = stack_of(discs(2.5, 2.5)).stack3d.edge_resolution(fraction=0.08, criterion=0.3)
    assert float(table["anisotropy"][0]) < 0.02


def test_noise_of_a_tenth_of_the_step_hardly_matters():
    noise = np.random.default_rng(1).normal(0, 12, (420, 420)).astype(np.float32)
    table = stack_of(discs(3, 3) + noise).stack3d.edge_resolution()
    assert float(table["distance_median"][0]) == pytest.approx(0.664 * 12, rel=0.1)


def test_anisotropy_and_its_direction():
    # Steepness picks the sharp edges first: all are wanted here.
    table = stack_of(discs(2.0, 3.0), discs(3.0, 2.0)).stack3d.edge_resolution(fraction=0.08, criterion=0.3)
    np.testing.assert_allclose(table["anisotropy"], 0.2, atol=0.05)
    assert abs((float(table["direction"][0]) + 90) % 180 - 90) < 5
    assert abs(float(table["direction"][1]) - 90) < 5


def test_pixels_that_are_not_square_give_the_same_length():
    fine = discs(4.0, 4.0)
    squashed = 0.5 * (fine[::2] + fine[1::2])
    table = stack_of(squashed, pixel_size=(20, 8, 4)).stack3d.edge_resolution(reach=20)
    assert float(table["distance_median"][0]) == pytest.approx(0.664 * 16, rel=0.05)


def test_a_perturbed_slice_changes_its_own_figures_only():
    da = stack_of(*(discs(2, 2) for _ in range(3)))
    changed = da.copy()
    changed[1] = discs(3, 3)
    before, after = da.stack3d.edge_resolution(), changed.stack3d.edge_resolution()
    same = (before["distance_median"] == after["distance_median"]).values
    assert same.tolist() == [True, False, True]


def test_lazy_and_in_memory_give_the_same_bits():
    rng = np.random.default_rng(0)
    da = stack_of(*(discs(2, 2) + rng.normal(0, 4, (420, 420)) for _ in range(3)))
    lazy = da.chunk(z=1).stack3d.edge_resolution()
    assert lazy["distance_median"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), da.stack3d.edge_resolution())


def test_missing_pixels_are_kept_away_from():
    frame = discs(2, 2)
    whole = stack_of(frame)
    half = whole.copy()
    half[:, :, 210:] = np.nan
    masked = whole.assign_coords(mask=(("y", "x"), np.broadcast_to(np.arange(420) < 210, (420, 420))))
    boxed = whole.stack3d.edge_resolution(box={"x": slice(0, 210), "by": "index"})
    for stack in (half, masked):
        table = stack.stack3d.edge_resolution()
        assert int(table["edges"][0]) > 10
        assert float(table["distance_median"][0]) == pytest.approx(float(boxed["distance_median"][0]), rel=0.02)


@pytest.mark.parametrize(
    "da",
    [
        stack_of(np.zeros((80, 90), np.float32)),
        stack_of(np.full((80, 90), np.nan, np.float32)),
        stack3d.from_array(np.zeros((3, 12, 9), np.uint8), pixel_size=None),
        stack3d.from_array(np.zeros((80, 90), np.uint16), pixel_size=4),
        stack3d.from_array(np.zeros((1, 3, 80, 90), np.int16), pixel_size=4),
    ],
    ids=["blank", "missing", "tiny", "frame", "channel"],
)
def test_what_has_no_edges_is_nan_and_flagged(da):
    table = da.stack3d.edge_resolution()
    assert np.isnan(table["distance_median"]).all()
    assert (table["edges"] == 0).all()
    assert not table["ok"].any()
    assert table["ok"].dims == da.dims[:-2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bounds": (0.7, 0.3)}, "bounds="),
        ({"fraction": 0}, "fraction=0"),
        ({"reach": 2}, "reach=2 must be at least 4"),
        ({"aperture": 30}, "aperture=30 must be at most reach=25"),
        ({"width": 4}, "width=4 must be odd"),
        ({"criterion": 0.6}, "criterion=0.6"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message, stack):
    with pytest.raises(ValueError, match=message):
        stack.stack3d.edge_resolution(**arguments)


def test_slope_equals_array_operations():
    from stack3d.kernels import _edge_loops

    frame = np.random.default_rng(0).random((20, 30))
    gy, gx = (uniform_filter(g, 5) for g in np.gradient(frame, 2.0, 3.0))
    expected = np.hypot(gy, gx)[3:-3, 3:-3]
    np.testing.assert_allclose(_edge_loops.slope(frame, 2.0, 3.0)[3:-3, 3:-3], expected, rtol=1e-5)


def test_directions_of_one_kind_leave_the_anisotropy_open():
    assert np.isnan(edges.anisotropy(np.ones(20), np.full(20, 30.0)).size)
    assert np.isnan(edges.anisotropy(np.ones(20), np.tile([10.0, 100.0], 10)).size)
