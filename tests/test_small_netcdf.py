"""Estimates of a run as small NetCDF files: read back by the library as if it had written them itself."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from stack3d import estimates
from stack3d.io import _small_netcdf
from stack3d.runs._folder import RunFolder, load_estimate


def _numbers():
    rng = np.random.default_rng(0)
    variables = {
        f"{kind}": (("n", "m"), (100 * rng.normal(size=(5, 3))).astype(kind)) for kind in ("i1", "i2", "i4", "i8")
    }
    variables |= {kind: (("n", "m"), rng.integers(0, 200, (5, 3)).astype(kind)) for kind in ("u1", "u2", "u4", "u8")}
    floats = {"f4": "f4", "f8": "f8", "swapped": ">f8"}
    variables |= {name: (("m",), np.array([0.1, np.nan, -np.inf], kind)) for name, kind in floats.items()}
    return variables


@pytest.fixture
def everything():
    flags = (("n",), np.array([True, False, True, True, False]), {"long_name": "slice was read"})
    words = (("n",), np.array(["a", "bb", "", "dé", "\N{GREEK SMALL LETTER MU}m"]))
    attrs = {"kind": "test", "schema_version": 1, "limit": 2.5, "list": np.array([1.0, 2.0]), "none": "", "é": "ü"}
    coords = {"n": ("n", np.arange(5) * 2.0, {"units": "nm"}), "name": "one", "beside": ("n", np.arange(5))}
    return xr.Dataset({**_numbers(), "flag": flags, "word": words, "one": ((), 3.5)}, coords, attrs)


def test_what_is_written_reads_as_what_the_library_writes(everything, tmp_path):
    assert _small_netcdf.write(everything, tmp_path / "small.nc")
    everything.to_netcdf(tmp_path / "large.nc")
    with xr.open_dataset(tmp_path / "small.nc") as small, xr.open_dataset(tmp_path / "large.nc") as large:
        assert small.identical(large)
        kinds = {name: variable.dtype for name, variable in everything.variables.items() if variable.dtype.kind != "U"}
        assert {name: small[name].dtype.newbyteorder("=") for name in kinds} == {
            name: dtype.newbyteorder("=") for name, dtype in kinds.items()
        }
        assert dict(small["n"].attrs) == {"units": "nm"}


@pytest.mark.parametrize(
    "other",
    [
        xr.Dataset({"time": ("n", np.array(["2020-01-01"], "datetime64[ns]"))}),
        xr.Dataset({"empty": ("n", np.zeros(0))}),
        xr.Dataset({"mixed": ("n", np.array([1, "a"], object))}),
        xr.Dataset({"a": 1.0}, attrs={"table": np.zeros((2, 2))}),
        xr.Dataset({"a": 1.0}, attrs={"words": ["a", "b"]}),
        xr.Dataset({"complex": 1j}),
    ],
    ids=lambda ds: next(iter(ds.variables)),
)
def test_nothing_is_written_of_what_the_form_does_not_hold(other, tmp_path):
    assert not _small_netcdf.write(other, tmp_path / "small.nc")
    assert not list(tmp_path.iterdir())


def test_an_estimate_that_is_kept_is_the_one_that_is_loaded_later(everything, tmp_path):
    folder = RunFolder(tmp_path / "a.zarr.run")
    path = folder.estimate(1, "estimate_test", "key")
    kept = folder.keep_estimate(path, everything.drop_vars("swapped"))
    loaded = load_estimate(path)
    assert loaded.identical(kept)
    assert {name: v.dtype for name, v in loaded.variables.items()} == {
        name: v.dtype for name, v in kept.variables.items()
    }
    assert estimates.digest(loaded) == estimates.digest(kept)
