"""Conversions around a step that are not made on their own: the same pixels, and no frames of floats."""

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d.operations import _exact

STEPS = {
    "level_slices": {"model": "both"},
    "match_histograms": {"nbins": 64},
    "remove_background": {"degree": 1},
    "flatten": {"degree": 1},
}


@pytest.fixture(scope="module", params=["uint8", "int16"])
def raw(request):
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[:5, :40, :48]
    grey = 90 + 6 * np.sin(z) + 0.6 * x + 0.3 * y + rng.normal(0, 12, (5, 40, 48))
    return stack3d.from_array(np.clip(grey, 0, 255).astype(request.param), pixel_size=10)


def _floats_and_back(da, name, dtype):
    floats = da.stack3d.astype(dtype="float32")
    changed = getattr(stack3d, name)(floats, **STEPS[name])
    return floats, changed, changed.stack3d.astype(dtype=dtype)


@pytest.mark.parametrize("name", STEPS)
def test_a_lazy_chain_without_floats_gives_the_bits_of_the_chain_in_memory(raw, name):
    _, changed, back = _floats_and_back(raw, name, raw.dtype)
    lazy_floats, lazy, lazy_back = _floats_and_back(raw.chunk(z=2), name, raw.dtype)
    assert _exact.source(lazy_floats).dtype == raw.dtype
    assert lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.values, changed.values)
    np.testing.assert_array_equal(lazy_back.values, back.values)
    xr.testing.assert_identical(lazy_back.coords.to_dataset(), back.coords.to_dataset())


@pytest.mark.parametrize("name", STEPS)
def test_whole_numbers_are_made_where_the_floats_would_be(raw, name):
    lazy, changed, back = _floats_and_back(raw.chunk(z=2), name, raw.dtype)
    layers = back.data.dask.layers
    assert lazy.data.name not in layers
    assert changed.data.name not in layers


def test_a_chain_that_starts_from_floats_ends_in_whole_numbers_as_well():
    grey = np.random.default_rng(1).normal(100, 20, (4, 30, 32)).astype("float32")
    da = stack3d.from_array(grey, pixel_size=10)
    there, here = (
        stack3d.match_histograms(a, nbins=16).stack3d.astype(dtype="uint8").values for a in (da, da.chunk(z=1))
    )
    np.testing.assert_array_equal(here, there)


def test_missing_pixels_are_still_refused():
    grey = np.random.default_rng(1).normal(100, 20, (4, 30, 32)).astype("float32")
    grey[1, 2, 3] = np.nan
    da = stack3d.from_array(grey, pixel_size=10).chunk(z=1)
    narrow = stack3d.level_slices(da, model="offset").stack3d.astype(dtype="uint8")
    with pytest.raises(ValueError, match="missing pixels"):
        narrow.compute()


def test_what_is_not_exact_stays_a_conversion_of_its_own(raw):
    wide = raw.astype("int32").chunk(z=2).stack3d.astype(dtype="float32")
    assert _exact.source(wide) is wide
    masked = raw.chunk(z=2).stack3d.astype(dtype="float32").assign_coords(mask=(("y", "x"), np.ones((40, 48), bool)))
    assert _exact.source(masked.where(masked["mask"])).dtype == np.float32
    levelled = stack3d.level_slices(raw.chunk(z=2).stack3d.astype(dtype="float32"), model="offset")
    assert _exact.narrowed(levelled, np.dtype("int32")) is None
    assert _exact.narrowed(levelled + 1, np.dtype("uint8")) is None
