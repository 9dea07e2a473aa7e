"""Wrong arguments are refused by name, in words of this package, before a frame is read."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d._provenance import OPERATIONS
from stack3d.operations._transforms import describe


class Odd:
    """What no parameter takes."""

    def __repr__(self) -> str:
        return "<odd>"


def unread(*lead: int) -> xr.DataArray:
    """Return a lazy stack whose frames cannot be read."""

    def fail(block: np.ndarray) -> np.ndarray:
        raise RuntimeError("a frame was read")

    shape = (*lead, 8, 48, 56)
    empty = dask.array.zeros(shape, chunks=(*(1,) * (len(shape) - 2), -1, -1), dtype="uint8")
    data = empty.map_blocks(fail, dtype="uint8", meta=np.empty((0,) * len(shape), "uint8"))
    return stack3d.from_array(data, pixel_size=(30, 5, 5), channel=["SE", "BSE"] if lead else None)


def stack_of(name: str) -> xr.DataArray:
    return unread(2) if name in ("align_channels", "fuse_channels") else unread()


NEEDED: dict[str, dict[str, Any]] = {
    "apply_transforms": {"estimate": describe(unread(), np.tile(np.eye(3), (8, 1, 1)), np.ones(8, bool))},
    "astype": {"dtype": "uint8"},
    "deskew": {"shift": "1 px"},
}
PARAMETERS = [
    (name, parameter)
    for name, known in OPERATIONS.items()
    for parameter in list(inspect.signature(known.function).parameters)[1:]
]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_what_no_parameter_takes_is_refused_by_name_before_a_frame_is_read(name, parameter):
    for value in (Odd(), "nonsense"):
        with pytest.raises((TypeError, ValueError), match=parameter):
            OPERATIONS[name].function(stack_of(name), **{**NEEDED.get(name, {}), parameter: value})


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("remove_background", {"operation": "add"}, "operation='add'"),
    ("remove_background", {"keep": "all"}, "keep='all'"),
    ("remove_background", {"method": "gaussian", "keep": "constant"}, "keep='constant'"),
    ("remove_background", {"operation": "divide", "keep": "nothing"}, "keep='nothing'"),
    ("remove_background", {"subsample": 1.5}, "subsample=1.5"),
    ("remove_background", {"terms": "1 + x", "coefficients": ["a", "b"]}, "coefficients=.*must be 2 numbers"),
    ("remove_background", {"method": "gaussian", "size": "5 parsec"}, "size='5 parsec' is .* nm.*280 nm.*unit"),
    ("remove_background", {"method": "gaussian", "weights": "tukey"}, "weights has a meaning only"),
    ("remove_background", {"regress_content": 2}, "regress_content=2"),
    ("flatten", {"regress_content": 2}, "regress_content=2"),
    ("global_contrast", {"out_range": (5, 1)}, "out_range"),
    ("global_contrast", {"out_range": 5}, "out_range=5"),
    ("global_contrast", {"out_range": (0, 300)}, "out_range"),
    ("global_contrast", {"out_range": (-1, 20), "dtype": "uint8"}, "out_range"),
    ("rescale_intensity", {"out_range": (0, 300)}, "out_range"),
    ("rescale_intensity", {"clip": 1}, "clip=1"),
    ("fill_pixels", {"method": "x"}, "method='x'"),
    *(("fill_pixels", {"window": window}, f"window={window}") for window in (0, 1, 2)),
    ("fill_pixels", {"threshold": 5.0, "deviations": 4.0}, "deviations=4.0 .*threshold=5.0"),
    ("replace_slices", {"method": "cubic"}, "method='cubic'"),
    ("replace_slices", {"kinds": 5}, "kinds=5"),
    ("fuse_channels", {"weights": 5}, "weights=5"),
    ("fuse_channels", {"fractions": "a"}, "fractions='a'"),
    ("fuse_channels", {"fractions": [0.5], "weights": [1, 2]}, "fractions=.*only with weights='snr'"),
    ("align_channels", {"order": 2}, "order=2"),
    ("align_channels", {"integer": 1}, "integer=1"),
    ("align_channels", {"fill": "nan"}, "fill='nan'"),
    ("align_channels", {"crop": 1.5}, "crop=1.5"),
    ("register", {"integer": 1}, "integer=1"),
    ("register", {"gradient": 1}, "gradient=1"),
    ("local_contrast", {"ratio": -1}, "ratio=-1"),
]


@pytest.mark.parametrize(("name", "arguments", "words"), WRONG)
def test_wrong_arguments_are_told_before_a_frame_is_read(name, arguments, words):
    with pytest.raises((TypeError, ValueError), match=words):
        OPERATIONS[name].function(stack_of(name), **arguments)


def test_the_stack_of_these_tests_cannot_be_read():
    with pytest.raises(RuntimeError, match="a frame was read"):
        unread().stack3d.replace_slices()


def test_steps_that_leave_one_place_along_an_axis_are_blamed():
    narrow = stack3d.from_array(np.random.default_rng(0).integers(0, 9, (6, 40, 2), dtype="uint8"), pixel_size=5)
    with pytest.raises(ValueError, match=r"subsample=\(2, 3, 5\)"):
        narrow.stack3d.remove_background(subsample=(2, 3, 5))


def test_a_constant_stack_is_levelled_with_one_warning_of_this_package():
    flat = stack3d.from_array(np.full((10, 48, 56), 7, "uint8"), pixel_size=(30, 5, 5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flat.stack3d.level_slices(lags=3)
    assert {warning.category for warning in caught} == {stack3d.BlankSliceWarning}
