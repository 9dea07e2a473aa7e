"""Infinite pixels count as missing where something is measured, and stay; what float32 cannot hold is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d
from stack3d import kernels

PLACE = (3, 30, 30)
# All that measure, with frames large enough for each.
MEASURES = {
    "slice_statistics": {}, "snr": {}, "sharpness": {}, "contrast": {}, "streak_index": {}, "noise_statistics": {},
    "frc": {}, "fsc": {}, "registration_quality": {}, "find_bad_slices": {}, "estimate_stripes": {}, "estimate_noise": {},
    "estimate_thickness": {}, "estimate_range": {}, "estimate_contrast": {}, "estimate_background": {},
    "estimate_shading": {}, "estimate_levels": {}, "estimate_histogram": {}, "estimate_transforms": {},
}  # fmt: skip
KEEP = {
    "remove_background": {}, "remove_background ": {"method": "gaussian"}, "remove_background  ": {"subsample": 4},
    "flatten": {}, "destripe": {"method": "wavelet"}, "match_histograms": {}, "level_slices": {},
    "local_contrast": {"method": "clahe", "grey_range": (0, 255)}, "local_contrast ": {"smoothing": 21, "grey_range": (0, 255)},
    "denoise": {"method": "gaussian"}, "denoise ": {"method": "multiscale"}, "denoise  ": {"method": "nlm"},
}  # fmt: skip


def stack_with(value: float, dtype: str = "float32") -> xr.DataArray:
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(6, 64, 64)), (1, 2, 2))
    values = (120 + 25 * texture / texture.std()).astype(dtype)
    values[PLACE] = value
    return stack3d.from_array(values, pixel_size=(10, 10, 10))


@pytest.mark.filterwarnings("ignore::stack3d.UntiedSliceWarning")
@pytest.mark.parametrize("name", MEASURES)
def test_what_is_measured_is_the_same_as_with_a_missing_pixel(name):
    measure = getattr(stack3d, name)
    missing = measure(stack_with(np.nan), **MEASURES[name])
    for value in (np.inf, -np.inf):
        found = measure(stack_with(value), **MEASURES[name])
        for variable in missing.data_vars:
            np.testing.assert_array_equal(found[variable].values, missing[variable].values)


@pytest.mark.parametrize("name", KEEP)
def test_an_infinite_pixel_stays_and_changes_no_other(name):
    operation = getattr(stack3d, name.strip())
    missing = operation(stack_with(np.nan), **KEEP[name]).values
    for value in (np.inf, -np.inf):
        found = operation(stack_with(value), **KEEP[name]).values
        assert found[PLACE] == value
        found[PLACE] = np.nan
        np.testing.assert_array_equal(found, missing)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("destripe", {}), ("destripe", {"angle": "auto"}), ("destripe", {"method": "wedge"}), ("streak_index", {}),
        ("remove_background", {}), ("flatten", {}), ("denoise", {}), ("local_contrast", {"grey_range": (0, 255)}),
        ("level_slices", {}), ("frc", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lazy", [False, True])
def test_values_beyond_float32_are_named(name, given, lazy):
    da = stack_with(1e302, "float64")
    with pytest.raises(ValueError, match=r"values as large as 1e\+302, beyond the range of float32"):
        getattr(stack3d, name)(da.chunk(z=2) if lazy else da, **given).compute()


def test_large_values_that_float32_holds_are_measured():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.finite.measurable(np.full((4, 4), 3e38)).max() == 3e38
        assert kernels.finite.as_float32(np.full((4, 4), -3e38)).dtype == np.float32


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
@pytest.mark.parametrize("name", ["level_slices", "destripe", "denoise"])
def test_whole_numbers_that_float64_rounds_are_named(name, dtype):
    values = np.random.default_rng(0).integers(5000, 6000, (2, 32, 32)).astype(dtype)
    values[0, 0, 0] = 6001
    da = stack3d.from_array(values, pixel_size=10)
    getattr(da.stack3d, name)()
    with pytest.warns(UserWarning, match=r"values as large as 9007199254746993; .* are rounded"):
        getattr((da + values.dtype.type(2**53)).stack3d, name)()
