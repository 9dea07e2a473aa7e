"""Operations on grey values with `device="gpu"`: a cupy that takes nothing of NumPy's gives what the CPU gives."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d

CASES = [
    ("remove_background", {}),
    ("remove_background", {"per": "slice", "degree": 1}),
    ("remove_background", {"subsample": 3}),
    ("remove_background", {"method": "gaussian"}),
    ("remove_background", {"method": "morphological"}),
    ("remove_background", {"operation": "divide", "weights": "tukey", "low": 100.0}),
    ("flatten", {}),
    ("level_slices", {}),
    ("level_slices", {"window": 5}),
    ("level_slices", {"lags": 2}),
    ("level_slices", {"statistic": "median", "model": "offset"}),
    ("level_slices", {"statistic": "unchanged"}),
    ("match_histograms", {"nbins": 64}),
    ("rescale_intensity", {}),
    ("local_contrast", {"grey_range": (0, 65535)}),
    ("local_contrast", {"method": "clahe", "grey_range": (0, 65535)}),
    ("global_contrast", {}),
    ("fill_pixels", {"deviations": 5.0}),
    *(
        ("denoise", {"method": m})
        for m in ("nlm", "nlm_z", "median", "gaussian", "multiscale", "correlated", "same_sign")
    ),
    ("fuse_channels", {"weights": (0.3, 0.7)}),
    ("invert", {}),
    ("astype", {"dtype": "float32"}),
]


def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(5, 56, 64)), (1, 3, 3))
    values = 26000 + 7000 * np.tanh(12 * smooth) + rng.normal(0, 1000, smooth.shape)
    values[:, 20, 30] = 65535  # a pixel that is always bright
    return np.rint(values)


def stack_of(kind: str, dtype: str) -> xr.DataArray:
    values = frames().astype(dtype)
    if dtype == "float32":
        values[2, 10:16, 5:9] = np.nan
    da = stack3d.from_array(values, pixel_size=(10, 5, 5))
    return da.chunk(z=2) if kind == "lazy" else da


@pytest.mark.parametrize("kind", ["numpy", "lazy"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_card_gives_what_the_processor_gives(install_card, name, options, dtype, kind):
    da = stack_of(kind, dtype)
    if name == "fuse_channels":
        da = xr.concat([da, da[:, ::-1].assign_coords(y=da.y)], xr.DataArray(["SE", "BSE"], dims="channel"))
    operation = getattr(stack3d, name)
    expected = operation(da, **options).values
    card = install_card()
    with dask.config.set(scheduler="synchronous"):
        found = operation(da, **options, device="gpu").values
    assert (name, dtype) == ("astype", "float32") or (56, 64) in {shape[-2:] for shape in card.sent}
    assert found.dtype == expected.dtype
    if found.dtype.kind == "u":
        assert np.abs(found.astype(int) - expected).max() <= 1  # sums in another order may round to the other side
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.nanmax(np.abs(expected)))
