"""Estimates that a run keeps are those it finds again."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from stack3d import estimates
from stack3d.runs._folder import RunFolder, load_estimate


@pytest.fixture
def everything():
    rng = np.random.default_rng(0)
    kinds = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
    variables = {kind: (("n", "m"), (100 * rng.random((5, 3))).astype(kind)) for kind in kinds}
    variables["missing"] = ("m", np.array([0.1, np.nan, -np.inf]))
    variables["flag"] = ("n", np.array([True, False, True, True, False]), {"long_name": "slice was read"})
    variables["word"] = ("n", np.array(["a", "bb", "", "dé", "\N{GREEK SMALL LETTER MU}m"]))
    attrs = {"kind": "test", "schema_version": 1, "limit": 2.5, "list": np.array([1.0, 2.0]), "none": "", "é": "ü"}
    coords = {"n": ("n", np.arange(5) * 2.0, {"units": "nm"}), "name": "one", "beside": ("n", np.arange(5))}
    return xr.Dataset({**variables, "one": ((), 3.5)}, coords, attrs)


def test_an_estimate_that_is_kept_is_the_one_that_is_loaded_later(everything, tmp_path):
    folder = RunFolder(tmp_path / "a.zarr.run")
    path = folder.estimate(1, "estimate_test", "key")
    kept = folder.keep_estimate(path, everything)
    loaded = load_estimate(path)
    assert loaded.identical(kept)
    assert {name: v.dtype for name, v in loaded.variables.items()} == {
        name: v.dtype for name, v in kept.variables.items()
    }
    assert estimates.digest(loaded) == estimates.digest(kept)
