"""The record of what was done, and doing it again."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

import stack3d
from stack3d import estimates
from stack3d._provenance import OPERATIONS, keeping_estimates
from stack3d._replay import ReplayWarning
from stack3d.execution import SaturationWarning
from stack3d.grid import spacing_of
from stack3d.runs._folder import RunFolder, load_estimate

# Small random frames share nothing: registration says so, which is not the subject here.
pytestmark = pytest.mark.filterwarnings(
    "ignore:fuse_channels. the stack has dims",
    "ignore::stack3d.SaturationWarning",
    "ignore::stack3d.UntiedSliceWarning",
    "ignore::stack3d.UntiedChannelWarning",
    "ignore::stack3d.BlankSliceWarning",
)


def raw(dtype=np.uint16, channels: int = 0, seed: int = 0, count: int = 6) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    shape = (channels, count, 24, 28) if channels else (count, 24, 28)
    smooth = rng.normal(size=shape).cumsum(axis=-1).cumsum(axis=-2)
    values = np.clip(120 + 60 * smooth / np.abs(smooth).max(), 1, 254).astype(dtype)
    z = np.cumsum(rng.uniform(15, 25, count))
    da = stack3d.from_array(values, pixel_size=(5, 4), z=z, attrs={"instrument": "A", "beam_current": 0.5})
    return da.assign_coords(slice_number=("z", np.arange(count)), valid=("z", np.arange(count) != 2))


def edited(estimate: xr.Dataset) -> xr.Dataset:
    changed = estimate.copy(deep=True)
    if "transform" in changed:
        changed["transform"][:, 0, 2] += 0.125
    else:
        changed["gain"] = changed["gain"] * 1.0625
    return changed


def aligned_channels(da: xr.DataArray) -> xr.DataArray:
    # What is left by the steps before may have one channel, or no good slice to measure on.
    count, good = da.sizes.get("channel", 1), "valid" not in da.coords or bool(da["valid"].any())
    if count > 1 and good:
        return da.stack3d.align_channels(slices=3)
    moved = np.tile(np.eye(3), (count, 1, 1))
    moved[0, 0, 2] = 0.25
    whole = da if "channel" in da.dims else da.expand_dims("channel")
    known = estimates.make("channel_offset", {"transform": (("channel", "row", "col"), moved)}, whole)
    return da.stack3d.align_channels(estimate=known)


# One way to use every public operation; the strategies draw from them, and none may be left out.
STEPS = {
    "crop": lambda s: s.stack3d.crop(y=slice(1, -1), by="index"),
    "bin": lambda s: s.stack3d.bin(y=1, x=2),
    "flip": lambda s: s.stack3d.flip(dims="x"),
    "reslice": lambda s: s.stack3d.resample(dz=spacing_of(s, "z") * 0.9).stack3d.reslice(axis="y"),
    "correct_tilt": lambda s: s.stack3d.correct_tilt(angle=54),
    "deskew": lambda s: s.stack3d.deskew(shift="-0.7 px", canvas="same"),
    "apply_transforms": lambda s: s.stack3d.apply_transforms(estimate=edited(s.stack3d.estimate_transforms())),
    "register": lambda s: s.stack3d.register(lags=2),
    "align_channels": lambda s: aligned_channels(s),
    "resample": lambda s: s.stack3d.resample(),
    "fuse_channels": lambda s: s.stack3d.fuse_channels(weights=[1.0] * s.sizes.get("channel", 1)),
    "invert": lambda s: s.stack3d.invert(),
    "replace_slices": lambda s: s.stack3d.replace_slices(deviations=5.0),
    "fill_pixels": lambda s: s.stack3d.fill_pixels(deviations=4.0),
    "remove_background": lambda s: s.stack3d.remove_background(degree=1),
    "flatten": lambda s: s.stack3d.flatten(degree=1),
    "astype": lambda s: s.stack3d.astype(dtype="float32"),
    "destripe": lambda s: s.stack3d.destripe(angle=4, neighbours=1),
    "match_histograms": lambda s: s.stack3d.match_histograms(nbins=64),
    "level_slices": lambda s: s.stack3d.level_slices(estimate=edited(s.stack3d.estimate_levels())),
    "local_contrast": lambda s: s.stack3d.local_contrast(size=3, smoothing=7),
    "global_contrast": lambda s: s.stack3d.global_contrast(),
    "denoise": lambda s: s.stack3d.denoise(estimate=s.stack3d.estimate_noise(sigma=2)),
    "rescale_intensity": lambda s: s.stack3d.rescale_intensity(dtype="uint8"),
}


def test_every_public_operation_is_in_the_chains():
    assert set(STEPS) == set(OPERATIONS)
    assert set(OPERATIONS) <= set(dir(stack3d))


@pytest.mark.filterwarnings("ignore::stack3d.RepeatedWorkWarning")
@settings(max_examples=25)
@given(
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    channels=st.sampled_from([0, 2]),
    chunk=st.sampled_from([None, 1, 4]),
)
@example(names=["deskew", "rescale_intensity", "invert"], dtype=np.float32, channels=0, chunk=1)
def test_replay_of_a_random_chain_is_equal_to_the_bit(names, dtype, channels, chunk):
    start = raw(dtype, channels)
    result = start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        done = []
        for name in names:
            if name == "rescale_intensity" and np.isnan(result.values).any():
                # Floats leave NaN beyond the frame, which the digits of this step cannot hold.
                with pytest.raises(ValueError, match="missing pixels"):
                    STEPS[name](result)
                continue
            result = STEPS[name](result)
            done.append(name)
        note([stack3d._records.call_string(step) for step in stack3d.provenance(result)])
        source = start if chunk is None else start.copy(data=start.chunk(z=chunk).data)
        again = stack3d.replay(source, result)
        np.testing.assert_array_equal(again.values, result.values)
    assert again.dtype == result.dtype
    xr.testing.assert_equal(again.drop_vars([]), result)
    steps = [step["operation"] for step in stack3d.provenance(result)]
    assert [name for name in steps if name in done] == [s for s in steps if s in set(done)]
    assert set(done) <= set(steps)


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_result_read_back_from_disk_replays(name, suffix, tmp_path):
    start = raw()
    result = STEPS[name](start)
    path = tmp_path / f"result{suffix}"
    result.stack3d.save(path)
    opened = stack3d.open_stack(path)
    assert opened.attrs["stack3d_provenance"] == result.attrs["stack3d_provenance"]
    np.testing.assert_array_equal(stack3d.replay(start, opened).values, result.values)
    if name != "reslice":
        # Steps after the one that was saved go on from the file.
        later = STEPS["invert"](opened)
        np.testing.assert_array_equal(stack3d.replay(start, later).values, stack3d.replay(opened, later).values)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_no_operation_edits_its_input(name):
    start = raw()
    before = start.copy(deep=True)
    result = STEPS[name](start)
    xr.testing.assert_identical(start, before)
    assert "stack3d_provenance" not in start.attrs
    assert result.attrs["instrument"] == "A"


def test_records_hold_all_parameters_with_their_defaults():
    (record,) = stack3d.provenance(raw().stack3d.register(lags=1))
    assert record["parameters"]["lags"] == 1
    assert record["parameters"]["fill"] == "edge"
    assert record["version"] >= 1
    assert set(record["context"]) >= {"time", "host", "python", "stack3d", "numpy"}
    assert len(record["estimate"]["digest"]) == 16
    assert "data" not in record["estimate"], "an estimate that replay can make again needs not travel"


def test_a_given_estimate_travels_with_the_stack():
    da = raw()
    estimate = edited(da.stack3d.estimate_transforms())
    (record,) = stack3d.provenance(da.stack3d.register(estimate=estimate))
    xr.testing.assert_identical(estimates.decode(json.loads(json.dumps(record["estimate"]["data"]))), estimate)
    assert estimates.digest(estimate) == record["estimate"]["digest"]
    assert estimates.digest(estimate) != estimates.digest(da.stack3d.estimate_transforms())


def test_history_has_a_line_for_every_step_newest_first():
    lines = raw().stack3d.flip().stack3d.invert().attrs["history"].splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("invert()")
    assert "flip(dims='y')" in lines[1]


def test_attrs_are_not_shared_with_the_input():
    da = raw()
    result = da.stack3d.flip()
    result.attrs["note"] = "new"
    assert "note" not in da.attrs


def test_calls_inside_an_operation_are_not_recorded_apart():
    assert [s["operation"] for s in stack3d.provenance(raw().stack3d.register())] == ["register"]


def test_estimates_say_how_they_were_made():
    da = raw().stack3d.invert()
    steps = stack3d.provenance(da.stack3d.estimate_transforms(lags=2))
    assert [s["operation"] for s in steps] == ["invert", "estimate_transforms"]
    assert steps[-1]["parameters"]["lags"] == 2


def test_replay_refuses_foreign_steps_naming_the_step():
    da = raw()
    result = da.stack3d.flip().isel(y=slice(2, None)).stack3d.invert()
    with pytest.raises(ValueError, match=r"step 2 \(invert\): its input has sizes.*outside stack3d"):
        stack3d.replay(da, result)
    retyped = da.stack3d.flip().astype(np.float32).stack3d.invert()
    with pytest.raises(ValueError, match=r"step 2 \(invert\): its input has dtype"):
        stack3d.replay(da, retyped)
    moved = da.stack3d.flip().assign_coords(x=da.x + 1).stack3d.invert()
    with pytest.raises(ValueError, match=r"step 2 \(invert\): its input has coords"):
        stack3d.replay(da, moved)


def test_replay_refuses_a_result_changed_after_its_last_step():
    da = raw()
    with pytest.raises(ValueError, match=r"result, after step 1 \(flip\), has sizes"):
        stack3d.replay(da, da.stack3d.flip().isel(z=slice(2, 4)))


def test_replay_refuses_another_raw_stack_and_unknown_steps():
    da = raw()
    result = da.stack3d.flip()
    with pytest.raises(ValueError, match=r"step 1 \(flip\): its input"):
        stack3d.replay(da.isel(y=slice(4)), result)
    with pytest.raises(ValueError, match="no provenance"):
        stack3d.replay(da, da)
    with pytest.raises(ValueError, match="steps of its own"):
        stack3d.replay(da.stack3d.invert(), result)
    for key, value, message in (("operation", "sharpen", "no operation of this name"), ("version", 99, "version 99")):
        other = result.copy()
        records = stack3d.provenance(result)
        records[0][key] = value
        other.attrs = {**result.attrs, "stack3d_provenance": json.dumps(records)}
        with pytest.raises(ValueError, match=message):
            stack3d.replay(da, other)


def test_replay_warns_when_raw_has_other_values():
    da = raw()
    other = da.copy(data=np.roll(da.values, 1, axis=0))
    with pytest.warns(ReplayWarning, match="other values"):
        stack3d.replay(other, da.stack3d.level_slices())


def test_replay_goes_on_from_a_stack_with_the_first_steps():
    da = raw()
    first = da.stack3d.flip()
    result = first.stack3d.invert()
    xr.testing.assert_equal(stack3d.replay(first, result), result)


def test_a_broken_record_is_said_to_be_broken():
    da = raw().stack3d.flip()
    da.attrs["stack3d_provenance"] = da.attrs["stack3d_provenance"][:-9]
    with pytest.raises(ValueError, match="not readable as JSON"):
        stack3d.provenance(da)


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        float("nan"),
        "a",
        None,
        True,
        (1, 2.5),
        [1, (2,)],
        slice(1, None),
        {"y": slice(0, 3)},
        np.float32(2),
        np.arange(3.0),
    ],
)
def test_parameters_come_back_from_json(value):
    again = stack3d._records.decode_value(json.loads(json.dumps(stack3d._records.encode_value(value))))
    np.testing.assert_equal(again, value)
    assert isinstance(again, type(value)) or isinstance(value, np.generic)


def test_parameters_that_cannot_be_recorded_are_refused_before_work():
    with pytest.raises(TypeError, match="cannot be recorded"):
        stack3d._records.encode_value(object())


def test_an_estimate_that_repeats_a_dear_step_warns_until_a_checkpoint(tmp_path):
    da = stack3d.synthetic.make_stack((3, 24, 24)).stack.chunk(z=1)
    striped = da.stack3d.destripe()
    with pytest.warns(stack3d.RepeatedWorkWarning, match=r"estimate_levels does destripe again.*checkpoint"):
        striped.stack3d.estimate_levels()
    striped.stack3d.checkpoint(tmp_path / "clean.zarr").stack3d.estimate_levels()
    striped.load().stack3d.estimate_levels()


@pytest.mark.filterwarnings("ignore")
def test_every_estimate_is_read_back_as_it_was_made(tmp_path):
    folder, seen = RunFolder(tmp_path / "a.run"), set()

    def keeper(estimator, da, parameters):
        path = folder.estimate(1, estimator.__name__, f"{len(seen)}")
        returned = folder.keep_estimate(path, estimator(da, **parameters))
        again = load_estimate(path)
        xr.testing.assert_identical(returned, again)
        assert {n: v.dtype.kind for n, v in returned.variables.items() if v.dtype.kind not in "UO"} == {
            n: v.dtype.kind for n, v in again.variables.items() if v.dtype.kind not in "UO"
        }
        seen.add(estimator.__name__)
        return returned

    with keeping_estimates(keeper):
        for name, step in STEPS.items():
            if OPERATIONS[name].estimator is not None:
                step(raw(channels=2))
    for known in OPERATIONS.values():
        if known.estimator is not None and known.estimator.__name__ not in seen:
            keeper(known.estimator, raw(), {})
    expected = {known.estimator.__name__ for known in OPERATIONS.values() if known.estimator is not None}
    assert seen == expected
