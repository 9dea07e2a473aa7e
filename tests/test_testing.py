"""The assertions offered to users fail when they should, and the strategy makes what it says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import stack3d
from stack3d import testing
from stack3d.model import check_stack
from stack3d.testing import (
    assert_chunk_invariant,
    assert_contract,
    assert_input_unchanged,
    assert_lazy,
    assert_stack_equal,
    assert_valid_stack,
)
from stack3d.testing.strategies import stacks


def test_stack3d_does_not_import_it_and_it_does_not_import_hypothesis():
    code = """
import sys, stack3d
assert not any(name.startswith("stack3d.testing") for name in sys.modules)
import stack3d.testing
assert "hypothesis" not in sys.modules and "dask.array" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert all(hasattr(testing, name) for name in testing.__all__)


def test_equal_stacks_made_at_other_times_and_places_are_equal(stack, monkeypatch):
    drift = stack.stack3d.estimate_transforms()
    first = stack.stack3d.register(estimate=drift).stack3d.invert()
    monkeypatch.setattr("stack3d._provenance.platform.node", lambda: "elsewhere")
    monkeypatch.setattr("stack3d._provenance.__version__", "99.1")

    class Later:
        @staticmethod
        def now(zone):
            import datetime

            return datetime.datetime(2099, 1, 1, tzinfo=zone)

    monkeypatch.setattr("stack3d._provenance.datetime", Later)
    # The estimate travels in the record, with a record of its own.
    again = stack.stack3d.estimate_transforms()
    second = stack.stack3d.register(estimate=again).stack3d.invert()
    assert first.attrs != second.attrs
    assert_stack_equal(first, second)
    assert_stack_equal(drift, again)


def changed(stack: xr.DataArray, **attrs: object) -> xr.DataArray:
    return stack.assign_attrs(attrs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s + 1, "values of 'image' differ in 24576 of 24576 places, first at z=0, y=0, x=0"),
        (lambda s: s.where(s != s[3, 2, 1], 0), "first at z="),
        (lambda s: s.astype("int32"), "dtype of 'image' differ: uint16 and int32"),
        (lambda s: s.isel(z=slice(1, None)), "shape of coordinate 'z' differ"),
        (lambda s: s.transpose("z", "x", "y"), "dims of 'image' differ"),
        (lambda s: s.assign_coords(z=s.z + 1e-9), "values of coordinate 'z' differ in 8 of 8"),
        (lambda s: s.assign_coords(valid=("z", np.ones(8, bool))), "coordinates differ: 'valid' only in the second"),
        (lambda s: s.drop_vars("x"), "coordinates differ: 'x' only in the first"),
        (lambda s: s.rename("other"), "names differ"),
        (lambda s: changed(s, detector="SE"), "attrs of 'image' differ: 'detector' only in the second"),
        (lambda s: s.stack3d.invert().stack3d.invert(), "attrs of 'image' differ"),
        (lambda s: s.to_dataset(), "one is a DataArray, the other a Dataset"),
    ],
)
def test_what_differs_is_named(stack, change, message):
    with pytest.raises(AssertionError, match=message):
        assert_stack_equal(stack, change(stack))
    assert_stack_equal(stack, stack.copy(deep=True))


def test_other_parameters_and_other_history_are_differences(stack):
    first, second = (stack.stack3d.flip(dims=dim).copy(data=stack.data) for dim in ("y", "x"))
    with pytest.raises(AssertionError, match=r"attr 'stack3d_provenance'"):
        assert_stack_equal(first, second)
    assert_stack_equal(first, second, check_attrs=False)
    with pytest.raises(AssertionError, match="attr 'history'"):
        assert_stack_equal(changed(stack, history="a"), changed(stack, history="b"))


@pytest.mark.parametrize("value", [2, 2.0, "2", np.array([1.0, 2.5]), np.array([1.0, 2.0, 3.0])])
def test_attrs_are_compared_by_value(stack, value):
    assert_stack_equal(changed(stack, a=value), changed(stack, a=value))
    with pytest.raises(AssertionError, match="attr 'a'"):
        assert_stack_equal(changed(stack, a=value), changed(stack, a=np.array([1.0, 2.0])))


def test_missing_pixels_equal_each_other_and_nothing_else(stack):
    one = stack.astype("float32").where(stack > stack.min())
    assert_stack_equal(one, one.copy(deep=True))
    with pytest.raises(AssertionError, match="values"):
        assert_stack_equal(one, one.fillna(0))
    with pytest.raises(AssertionError, match="values"):
        assert_stack_equal(one, one.fillna(0), tolerance=1e9)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_tolerance_is_the_largest_difference_allowed(stack, dtype):
    one = stack.astype(dtype)
    assert_stack_equal(one, one - 2, tolerance=2)
    with pytest.raises(AssertionError, match="values"):
        assert_stack_equal(one, one - 2, tolerance=1)
    with pytest.raises(AssertionError, match="coordinate 'z'"):
        assert_stack_equal(one, one.assign_coords(z=one.z + 1), tolerance=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.rename(y="rows"), "'y' missing"),
        (lambda s: s.astype(complex), "complex"),
        (lambda s: s.isel(z=slice(None, None, -1)), "must increase"),
        (lambda s: s.isel(z=slice(None, None, 2)), "spacing 20.0, but its positions lie 40 apart"),
        (lambda s: s.assign_coords(z=np.arange(8)), "int64|int32"),
        (lambda s: s.assign_coords(z=("z", s.z.values)), "lacks the attrs units, spacing"),
        (lambda s: s.assign_coords(z=("z", s.z.values, {**s.z.attrs, "units": "kV"})), "kV"),
        (lambda s: s.isel(z=[0]).assign_coords(z=("z", [0.0], {**s.z.attrs, "spacing": 0.0})), "positive float"),
        (lambda s: changed(s, detectors=["SE", "BSE"]), "attrs\\['detectors'\\]"),
        (lambda s: changed(s, beam_current="5 pA"), "attrs\\['beam_current'\\]"),
        (lambda s: s.assign_coords(a=("z", np.zeros(8), {"flag": True})), "coordinate 'a' of da"),
    ],
)
def test_what_is_no_valid_stack_is_named(stack, change, message):
    assert_valid_stack(stack)
    with pytest.raises(AssertionError, match=message):
        assert_valid_stack(change(stack))


def test_computing_while_building_is_found(stack):
    def by_scheduler(da):
        return da - float(da.max())

    def past_the_scheduler(da):
        return da - int(da.data.max().compute(scheduler="synchronous"))

    def loads(da):
        return da.compute()

    for function in (by_scheduler, past_the_scheduler, loads):
        with pytest.raises(AssertionError, match="while its result was built"):
            assert_lazy(function, stack)
        with pytest.raises(AssertionError, match="while its result was built"):
            assert_lazy(function, stack.chunk(z=3))
    with pytest.raises(AssertionError, match="not lazy though the stack given was: the result"):
        assert_lazy(lambda da: xr.zeros_like(stack), stack)
    with pytest.raises(AssertionError, match=r"not lazy .*: b$"):
        assert_lazy(lambda da: xr.Dataset({"a": da, "b": stack}), stack)
    assert_lazy(lambda da: da - da.mean(), stack, chunks={"z": 5})
    assert_lazy(stack3d.slice_statistics, stack)


def test_dependence_on_blocks_is_found(stack):
    def smooth(da):
        return xr.map_blocks(lambda block: block.rolling(z=3, min_periods=1).mean(), da, template=da.astype(float))

    with pytest.raises(AssertionError, match=r"in blocks .*values of 'image' differ"):
        assert_chunk_invariant(smooth, stack)
    assert_chunk_invariant(smooth, stack, chunks=[{"y": 16}])
    assert_chunk_invariant(lambda da: da.stack3d.estimate_levels(), stack.chunk(z=2))
    with pytest.raises(AssertionError, match="dtype"):
        assert_chunk_invariant(lambda da: da if da.chunks is None else da.astype(float), stack)


def test_a_changed_input_is_found(stack):
    before = stack.copy(deep=True)

    def adds(da):
        da += 1
        return da * 2

    def names(da):
        da.name = "mine"
        return da + 1

    def moves(da):
        da["z"] = da["z"] + 1
        return da + 1

    def encodes(da):
        da.encoding["zlib"] = True
        return da + 1

    def shares(da):
        result = da + 1
        result.attrs = da.attrs
        return result

    messages = {adds: "values", names: "names", moves: "coordinate 'z'", encodes: "encoding", shares: "_mark"}
    for function, message in messages.items():
        with pytest.raises(AssertionError, match=message):
            assert_input_unchanged(function, stack)
    xr.testing.assert_identical(stack, before)


def unlike(change):
    """Return a correct operation whose result is then spoilt."""
    return lambda da: change(da.stack3d.invert())


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (unlike(lambda s: s.astype("float32")), {}, "dtype float32"),
        (unlike(lambda s: s.expand_dims("time")), {}, "has dims"),
        (unlike(lambda s: s.isel(z=0)), {}, "has dims"),
        (unlike(lambda s: s.isel(z=slice(None, None, 2))), {}, "positions lie 40 apart"),
        (unlike(lambda s: s.drop_vars("y")), {}, "lost its coordinate 'y'"),
        (unlike(lambda s: s.assign_coords(y=("y", s.y.values))), {}, "lacks the attrs"),
        (unlike(lambda s: s.assign_coords(z=("z", s.z.values, {**s.z.attrs, "units": "um"}))), {}, "has z in 'um'"),
        (unlike(lambda s: s.assign_attrs(ok=True)), {}, "is a bool"),
        (unlike(lambda s: s.assign_attrs(instrument="B")), {}, "lost or changed the attrs instrument"),
        (unlike(lambda s: s.drop_attrs(deep=False)), {}, "lost or changed the attrs instrument"),
        (lambda da: (da + 1).assign_attrs(da.attrs), {}, "provenance of the result must add"),
        (unlike(lambda s: s.to_dataset()), {}, "it must be a DataArray"),
        (lambda da: da.copy(), {"recorded": False}, "encoding of the file"),
        (lambda da: da.stack3d.level_slices(), {}, "while its result was built"),
        (unlike(lambda s: s.compute()), {"lazy": False}, "not lazy"),
        (unlike(lambda s: s + (s.chunks is not None)), {"lazy": False}, "in blocks"),
    ],
)
def test_each_broken_promise_is_found(stack, function, options, message):
    stack = stack.isel(z=slice(0, 4), y=slice(0, 16), x=slice(0, 16)).assign_attrs(instrument="A")
    with xr.set_options(keep_attrs=True), pytest.raises(AssertionError, match=message):
        assert_contract(function, stack, **options)


def test_kept_promises_pass(stack):
    small = stack.isel(z=slice(0, 4), y=slice(0, 16), x=slice(0, 16))
    assert_contract(stack3d.invert, small.chunk(z=2))
    assert_contract(lambda da: da.stack3d.rescale_intensity(dtype="uint8"), small, keeps_dtype=False, lazy=False)
    assert_contract(lambda da: (da + 1).drop_encoding(), small.drop_attrs(deep=False), recorded=False)


@settings(max_examples=60)
@given(data=st.data(), flag=st.sampled_from([True, False, None]))
def test_stacks_are_what_was_asked_for(data, flag):
    options = {"uneven_z": flag, "nan": flag, "mask": flag, "valid": flag}
    da = data.draw(stacks(channels=[0, 2], sizes={"z": (3, 5), "y": (4, 9)}, **options))
    assert_valid_stack(da)
    assert da.dims[-3:] == ("z", "y", "x")
    assert 3 <= da.sizes["z"] <= 5
    assert 4 <= da.sizes["y"] <= 9
    assert 2 <= da.sizes["x"] <= 12
    assert da.sizes.get("channel", 2) == 2
    assert flag is None or ("mask" in da.coords) == flag == ("valid" in da.coords)
    missing = np.isnan(da) if da.dtype.kind == "f" else xr.zeros_like(da, dtype=bool)
    assert flag is not False or not missing.any()
    assert not missing.all(["y", "x"]).any()
    assert not stack3d.provenance(da)
    if flag is False and da.z.attrs["units"] != "1":
        assert stack3d.grid.is_uniform(da.z.values)


@given(da=stacks(dtypes=["uint8"], channels=[0], sizes={"z": None, "x": (5, 5)}))
def test_frames_can_be_asked_for(da):
    check_stack(da)
    assert da.dims == ("y", "x")
    assert da.sizes["x"] == 5
    assert da.dtype == np.uint8


@settings(max_examples=10)
@given(da=stacks(nan=None, mask=None))
def test_a_drawn_stack_serves_the_contract(da):
    assert_contract(stack3d.invert, da, chunks=[{"y": -1}])


def test_every_kind_of_stack_is_drawn():
    # Without shrinking, which is of no use here.
    once = settings(phases=[Phase.generate], max_examples=200)
    for holds in (
        lambda da: np.isnan(da).any(),
        lambda da: "mask" in da.coords,
        lambda da: "valid" in da.coords and not da.valid.all(),
        lambda da: "channel" in da.dims,
        lambda da: da.sizes["z"] == 1,
        lambda da: da.sizes["z"] > 2 and not stack3d.grid.is_uniform(da.z.values),
        lambda da: da.z.attrs["units"] == "1",
    ):
        assert find(stacks(dtypes=["float32"], uneven_z=None, nan=None, mask=None), holds, settings=once) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"t": (1, 2)}}, "keys among"),
        ({"sizes": {"y": (5, 2)}}, r"sizes\['y'\]=\(5, 2\)"),
        ({"sizes": {"y": None}}, r"sizes\['y'\]=None"),
        ({"sizes": {"z": None}}, "frames have no channels"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        stacks(**options)
