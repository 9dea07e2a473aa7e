"""Coordinates: equal to the bit where they should be, and true to what they say of themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from stack3d import grid

steps = st.floats(1e-3, 1e3)
starts = st.floats(-1e6, 1e6)
counts = st.integers(1, 200)
increasing = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30, unique=True).map(sorted).map(np.array)


def line(values: Any, dim: str = "z", units: str = "nm", spacing: float | None = None) -> xr.DataArray:
    coord = grid.coordinate(dim, values, units=units, spacing=spacing)
    return xr.DataArray(np.zeros(coord.size), dims=dim, coords={dim: coord})


def frame(shape: tuple[int, int] = (3, 4), **coords: Any) -> xr.DataArray:
    return xr.DataArray(np.zeros(shape), dims=("y", "x"), coords=coords)


# ---------------------------------------------------------------------------------------------------------------------
# Making coordinates


@given(starts, steps, counts)
def test_regular_grid_is_start_and_whole_steps(start: float, step: float, count: int) -> None:
    values = grid.regular(start, step, count)
    assert values.dtype == np.float64
    assert values.tolist() == [start + step * index for index in range(count)]


def test_coordinate_says_what_it_is() -> None:
    coord = grid.coordinate("z", np.array([0, 2, 4], dtype=np.int16), units="µm")
    assert coord.dims == ("z",)
    assert coord.dtype == np.float64
    assert coord.attrs == {"units": "um", "axis": "Z", "long_name": "slice position", "spacing": 2.0}
    assert type(coord.attrs["spacing"]) is float
    assert [grid.coordinate(dim, [0.0], units="1").attrs["axis"] for dim in grid.SPATIAL] == ["Z", "Y", "X"]


def test_spacing_of_uneven_positions_is_their_median_step() -> None:
    assert grid.coordinate("z", [0.0, 10.0, 20.0, 31.0, 90.0], units="nm").attrs["spacing"] == 10.5
    assert grid.coordinate("z", [7.0], units="nm").attrs["spacing"] == 1.0
    assert grid.coordinate("z", [7.0], units="nm", spacing=np.float32(2.5)).attrs["spacing"] == 2.5


def test_coordinate_does_not_share_the_array_it_was_made_from() -> None:
    values = np.arange(4.0)
    coord = grid.coordinate("z", values, units="nm")
    values[0] = 100.0
    assert coord.values[0] == 0.0


@pytest.mark.parametrize("unit", ["kV", "furlongs per second"])
def test_coordinate_refuses_a_unit_that_is_no_length(unit: str) -> None:
    with pytest.raises(ValueError, match="is not a unit of length"):
        grid.coordinate("x", [0.0, 1.0], units=unit)


# ---------------------------------------------------------------------------------------------------------------------
# Reading them


@given(starts, steps, counts)
def test_regular_grid_answers_with_the_step_it_was_built_from(start: float, step: float, count: int) -> None:
    da = line(grid.regular(start, step, count), spacing=step)
    assert grid.spacing_of(da, "z") == step


def test_stage_coordinates_far_from_the_origin_keep_their_step() -> None:
    # 70 mm from the origin, in nm: a difference of two positions is good to 1e-8 nm only.
    step = 10 / 3
    da = line(grid.regular(7e7, step, 50), spacing=step)
    assert np.median(np.diff(da["z"].values)) != step
    assert grid.spacing_of(da, "z") == step


@given(starts, steps, st.integers(3, 200))
def test_spacing_follows_a_selection(start: float, step: float, count: int) -> None:
    da = line(grid.regular(start, step, count), spacing=step)
    assert grid.spacing_of(da.isel(z=slice(None, None, 2)), "z") == pytest.approx(2 * step, abs=1e-9)
    assert grid.spacing_of(da.isel(z=[1]), "z") == step


def test_spacing_attr_that_is_not_true_is_not_believed() -> None:
    assert grid.spacing_of(line([0.0, 5.0, 10.0], spacing=4.0), "z") == 5.0


def test_stack_without_coordinates_is_in_pixels() -> None:
    da = xr.DataArray(np.zeros((3, 4)), dims=("y", "x"))
    assert (grid.spacing_of(da, "y"), grid.units_of(da, "y")) == (1.0, "1")
    plain = da.assign_coords(y=[0, 3, 6])
    assert (grid.spacing_of(plain, "y"), grid.units_of(plain, "y")) == (3.0, "1")
    assert grid.units_of(line([0.0], units="micron"), "z") == "um"


@given(starts, steps, counts)
def test_regular_grids_are_uniform(start: float, step: float, count: int) -> None:
    assert grid.is_uniform(grid.regular(start, step, count))


@given(starts, st.floats(1.0, 1e3), st.integers(3, 100), st.integers(0, 99), st.floats(1e-4, 0.4))
def test_one_slice_out_of_place_is_seen(start: float, step: float, count: int, where: int, by: float) -> None:
    values = grid.regular(start, step, count)
    values[where % count] += by * step
    assert not grid.is_uniform(values)


def test_few_positions_are_uniform_and_uneven_ones_are_not() -> None:
    assert grid.is_uniform(np.array([3.0]))
    assert grid.is_uniform(np.array([3.0, 9.0]))
    assert not grid.is_uniform(np.array([0.0, 1.0, 1.0]))
    assert not grid.is_uniform(np.array([0.0, np.nan, 2.0]))
    assert not grid.is_uniform(np.array([0.0, 1.0, 2.001]))
    assert grid.is_uniform(np.array([0.0, 1.0, 2.001]), rtol=1e-2)


@given(increasing)
def test_bounds_are_midpoints_between_positions(values: np.ndarray[Any, Any]) -> None:
    assume(np.diff(values).min() > 1e-6)
    edges = grid.bounds(values, 1.0)
    assert edges.shape == (values.size + 1,)
    np.testing.assert_array_equal(edges[1:-1], (values[:-1] + values[1:]) / 2)
    assert (np.diff(edges) > 0).all()
    # Each end lies as far beyond its position as the first border lies within.
    assert values[0] - edges[0] == pytest.approx(edges[1] - values[0], abs=1e-9)
    assert edges[-1] - values[-1] == pytest.approx(values[-1] - edges[-2], abs=1e-9)


@given(st.integers(-1000, 1000), st.integers(1, 200))
def test_bounds_of_a_regular_grid_are_half_a_step_away(start: int, count: int) -> None:
    # Whole numbers of quarters are exact in binary.
    np.testing.assert_array_equal(
        grid.bounds(grid.regular(start, 0.25, count), 0.25), start + 0.25 * np.arange(count + 1) - 0.125
    )


def test_bounds_of_a_single_position_use_its_spacing() -> None:
    np.testing.assert_array_equal(grid.bounds(np.array([7.0]), 3.0), [5.5, 8.5])


# ---------------------------------------------------------------------------------------------------------------------
# Changing them


def test_new_positions_keep_unit_and_attrs_and_leave_the_input_alone() -> None:
    da = line([0.0, 1.0, 2.0], units="um")
    da["z"].attrs.update(long_name="depth", standard_name="depth")
    before = da.copy(deep=True)
    moved = grid.with_coordinate(da, "z", np.array([5.0, 7.0, 9.0]))
    xr.testing.assert_identical(da, before)
    np.testing.assert_array_equal(moved["z"], [5.0, 7.0, 9.0])
    assert moved["z"].attrs == {
        "units": "um", "axis": "Z", "long_name": "depth", "spacing": 2.0, "standard_name": "depth"
    }  # fmt: skip


def test_new_positions_on_a_dim_without_any_are_in_pixels() -> None:
    moved = grid.with_coordinate(xr.DataArray(np.zeros(2), dims="x"), "x", [3.0, 4.0])
    assert moved["x"].attrs == {"units": "1", "axis": "X", "long_name": "column position", "spacing": 1.0}


def test_refreshed_makes_spacing_true_again() -> None:
    da = line(grid.regular(0.0, 2.5, 9), spacing=2.5)
    assert grid.refreshed(da) is da
    every_third = da.isel(z=slice(None, None, 3))
    assert every_third["z"].attrs["spacing"] == 2.5
    true = grid.refreshed(every_third)
    assert true["z"].attrs["spacing"] == 7.5
    np.testing.assert_array_equal(true["z"], [0.0, 7.5, 15.0])
    assert da["z"].attrs["spacing"] == 2.5
    plain = xr.DataArray(np.zeros(3), dims="z", coords={"z": [0.0, 1.0, 2.0]})
    assert grid.refreshed(plain) is plain


# ---------------------------------------------------------------------------------------------------------------------
# Frames


def calibrated_frame() -> xr.DataArray:
    return frame(
        y=grid.coordinate("y", grid.regular(100.0, 5.0, 3), units="nm", spacing=5.0),
        x=grid.coordinate("x", grid.regular(-8.0, 4.0, 4), units="nm", spacing=4.0),
    )


def test_frame_is_the_pixel_grid_of_a_stack() -> None:
    da = calibrated_frame()
    assert grid.Frame.of(da) == grid.Frame((3, 4), (100.0, -8.0), (5.0, 4.0), "nm")
    assert grid.Frame.of(da.expand_dims(z=2)) == grid.Frame.of(da)
    assert grid.Frame.of(da.isel(x=slice(1, None))) == grid.Frame((3, 3), (100.0, -4.0), (5.0, 4.0), "nm")
    assert grid.Frame.of(frame()) == grid.Frame((3, 4), (0.0, 0.0), (1.0, 1.0), "1")


def test_frame_in_two_units_is_refused() -> None:
    da = calibrated_frame()
    da["y"].attrs["units"] = "um"
    with pytest.raises(ValueError, match="y is in 'um' and x in 'nm'"):
        grid.Frame.of(da)


def test_frame_takes_pixels_to_their_positions() -> None:
    da = calibrated_frame()
    matrix = grid.Frame.of(da).to_physical()
    for row, column in [(0, 0), (2, 3), (1, 2)]:
        position = matrix @ np.array([column, row, 1.0])
        np.testing.assert_array_equal(position, [da["x"].values[column], da["y"].values[row], 1.0])


@given(counts, counts, starts, starts, steps, steps)
def test_frame_survives_json(ny: int, nx: int, oy: float, ox: float, dy: float, dx: float) -> None:
    one = grid.Frame((ny, nx), (oy, ox), (dy, dx), "nm")
    again = grid.Frame.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again == one
    assert hash(again) == hash(one)
