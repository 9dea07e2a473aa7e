"""Slices that were spoilt: found with the reason, and replaced."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d
from stack3d.kernels import differences
from stack3d.operations import BlankSliceWarning, _slice_marks

SPOILT = {4: "blank", 9: "blurred", 14: "shifted", 19: "charged", 24: "duplicated"}


def clean(seed: int = 0, count: int = 30, shape: tuple[int, int] = (128, 144)) -> xr.DataArray:
    """Return smooth structure that changes by a few per cent a slice, with noise."""
    rng = np.random.default_rng(seed)
    whole = (count + 8, *shape)
    frequency = np.meshgrid(*(np.fft.fftfreq(n) for n in whole), indexing="ij")
    squared = sum(f**2 * scale for f, scale in zip(frequency, (300, 80, 80), strict=True))
    texture = np.fft.ifftn(np.fft.fftn(rng.standard_normal(whole)) * np.exp(-squared)).real[:count]
    values = 20000 + 3000 * texture / texture.std() + rng.normal(0, 300, texture.shape)
    z = np.cumsum(rng.uniform(9, 11, count))
    return stack3d.from_array(np.rint(values).clip(0, 65535).astype(np.uint16), pixel_size=(5, 5), z=z)


def spoil(da: xr.DataArray, kinds: dict[int, str]) -> xr.DataArray:
    out = da.copy(deep=True).astype(np.float32)
    rng = np.random.default_rng(1)
    y, x = np.ogrid[-1 : 1 : da.sizes["y"] * 1j, -1 : 1 : da.sizes["x"] * 1j]
    for k, kind in kinds.items():
        frame = da.values[k].astype(np.float32)
        out[k] = {
            "blank": lambda f: rng.normal(8000, 100, f.shape),
            "blurred": lambda f: ndimage.gaussian_filter(f, 2.5) + rng.normal(0, 300, f.shape),
            "shifted": lambda f: np.roll(f, (12, -9), (0, 1)),
            "charged": lambda f: f + 12000 * np.exp(-((y - 0.3) ** 2 + (x + 0.2) ** 2) / 0.2),
            "duplicated": lambda f, k=k: da.values[k - 1],
        }[kind](frame)
    return da.copy(data=np.rint(out.values).clip(0, 65535).astype(np.uint16))


def said(found: xr.Dataset) -> dict[int, str]:
    return {int(k): str(found["reason"].values[k]) for k in np.flatnonzero(found["reason"].values != "")}


@pytest.mark.parametrize("seed", range(3))
def test_planted_slices_are_found_with_their_reason_and_none_besides(seed):
    found = spoil(clean(seed), SPOILT).stack3d.find_bad_slices()
    assert said(found) == SPOILT
    assert set(np.flatnonzero(~found["valid"])) == set(SPOILT)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_flagged_on_a_clean_stack_nor_on_one_with_steps_that_can_be_corrected(seed):
    da = clean(seed)
    assert said(da.stack3d.find_bad_slices()) == {}
    rng = np.random.default_rng(seed)
    gain = np.where(np.arange(30) < 12, 1.0, 0.85) * rng.normal(1, 0.02, 30)
    drift = np.rint(np.cumsum(rng.normal(0, 0.5, (30, 2)), axis=0)).astype(int)
    frames = [np.roll(f * g, tuple(d), (0, 1)) for f, g, d in zip(da.values.astype(float), gain, drift, strict=True)]
    frames[20:] = [np.roll(frame, 15, 1) for frame in frames[20:]]  # a jump that stays
    moved = da.copy(data=np.rint(frames).astype(np.uint16))
    assert said(moved.stack3d.find_bad_slices()) == {}


@pytest.mark.parametrize("seed", [0, 2])
def test_noise_that_hides_fine_structure_is_not_taken_for_blur_and_blur_is_seen_through_weaker_noise(seed):
    da = clean(seed, count=40, shape=(96, 96)).astype(np.float32)
    white = np.random.default_rng(seed).normal(0, 1, da.shape).astype(np.float32)
    assert said((da + 8000 * white).stack3d.find_bad_slices()) == {}
    blurred = da.copy(deep=True)
    blurred[20] = ndimage.gaussian_filter(da.values[20], 3)
    for noise in (1000, 2000):
        assert said((blurred + noise * white).stack3d.find_bad_slices()) == {20: "blurred"}


@pytest.mark.parametrize("side", [64, 160])
def test_the_fine_structure_of_noise_has_the_standard_error_that_is_counted_with(side):
    rng = np.random.default_rng(0)
    found = [differences.difference_energies(rng.normal(0, 3, (side, side)).astype("float32")) for _ in range(150)]
    fine = [(one.brenner_y + one.brenner_x) / 2 - one.mixed for one in found]
    assert np.std(fine) == pytest.approx(
        _slice_marks._NOISE_OF_FINE * 9 / side, rel=0.2
    )  # three and a half standard errors
    assert abs(np.mean(fine)) < 4 * np.std(fine) / np.sqrt(150)


def test_the_first_the_last_and_neighbouring_bad_slices_are_found():
    kinds = {0: "blank", 10: "shifted", 11: "blurred", 29: "charged"}
    assert said(spoil(clean(), kinds).stack3d.find_bad_slices()) == kinds


def test_the_defects_of_synthetic_stacks_are_found():
    made = stack3d.synthetic.make_stack(
        (40, 128, 128), texture="tissue", defects={"noise": True, "drift": 0.5, "bad_slices": {"fraction": 0.2}}, seed=3
    )
    truth = made.defects["bad_slice"].values
    found = made.stack.stack3d.find_bad_slices()
    assert set(np.flatnonzero(~found["valid"])) == set(np.flatnonzero(truth != ""))
    expected = np.where(truth == "noise", "blank", truth)  # nothing of the specimen either way
    np.testing.assert_array_equal(found["reason"], expected)


def test_kinds_limits_what_is_looked_for():
    da = spoil(clean(), SPOILT)
    assert said(da.stack3d.find_bad_slices(kinds="blurred")) == {9: "blurred"}


def test_a_region_is_looked_at_alone():
    da = clean()
    da[7, :, :40] = 65535
    assert said(da.stack3d.find_bad_slices()) == {7: "charged"}
    assert said(da.stack3d.find_bad_slices(region={"x": slice(48, None), "by": "index"})) == {}


def test_scores_name_what_is_off():
    found = spoil(clean(), SPOILT).stack3d.find_bad_slices()
    score = found["score"]
    assert float(score.sel(measure="sharpness")[9]) < -6
    assert float(score.sel(measure="likeness")[14]) < -6
    assert float(score.sel(measure="shading")[19]) > 6
    assert float(found["value"].sel(measure="novelty")[24]) < np.log(0.03)


def test_estimates_do_not_depend_on_blocks_and_slices_marked_bad_stay_marked():
    da = spoil(clean(), SPOILT).assign_coords(valid=("z", np.arange(30) != 27))
    found = da.stack3d.find_bad_slices()
    assert not bool(found["valid"][27])
    assert said(found) == SPOILT
    for chunk in (1, 7):
        xr.testing.assert_identical(da.chunk(z=chunk).stack3d.find_bad_slices().drop_attrs(), found.drop_attrs())


def test_linear_replacement_lies_between_the_good_slices_at_true_positions():
    da = spoil(clean(), {10: "shifted", 11: "blurred"})
    whole = da.stack3d.replace_slices()
    z = da["z"].values
    part = (z[10] - z[9]) / (z[12] - z[9])
    expected = np.rint((1 - part) * da.values[9].astype(float) + part * da.values[12])
    assert np.abs(whole.values[10] - expected).max() <= 1  # float32 at a half
    assert np.flatnonzero(whole["replaced"]).tolist() == [10, 11]
    assert np.flatnonzero(~whole["valid"]).tolist() == [10, 11]
    kept = np.setdiff1d(np.arange(30), [10, 11])
    np.testing.assert_array_equal(whole.values[kept], da.values[kept])
    assert whole.dtype == np.uint16


def test_replacement_comes_close_to_the_truth():
    truth = clean()
    spoilt = spoil(truth, SPOILT)
    whole = spoilt.stack3d.replace_slices()
    for k in SPOILT:
        before, after = (np.std(d.values[k].astype(float) - truth.values[k]) for d in (spoilt, whole))
        # A duplicate is as near as a neighbour is; all come to the noise and the change from slice to slice.
        assert after < before
        assert after < 600


def test_nearest_takes_one_slice_and_ends_have_one_side():
    da = spoil(clean(), {0: "blank", 12: "charged"})
    z = da["z"].values
    whole = da.stack3d.replace_slices(method="nearest")
    np.testing.assert_array_equal(whole[0], da[1])
    near = 11 if z[12] - z[11] <= z[13] - z[12] else 13
    np.testing.assert_array_equal(whole[12], da[near])
    np.testing.assert_array_equal(da.stack3d.replace_slices()[0], da[1])


def test_flag_keeps_pixels_and_marks_slices():
    da = spoil(clean(), SPOILT)
    marked = da.stack3d.replace_slices(method="flag")
    np.testing.assert_array_equal(marked, da)
    assert set(np.flatnonzero(~marked["valid"])) == set(SPOILT)
    assert not marked["replaced"].any()
    filled = marked.stack3d.replace_slices()
    assert set(np.flatnonzero(filled["replaced"])) == set(SPOILT)


@pytest.mark.parametrize("chunk", [1, 4, 30])
def test_replacement_does_not_depend_on_blocks_and_replays(chunk):
    da = spoil(clean(), {4: "blank", 10: "shifted", 11: "blurred"})
    whole = da.stack3d.replace_slices()
    lazy = da.chunk(z=chunk).stack3d.replace_slices()
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, whole)
    xr.testing.assert_equal(stack3d.replay(da, whole), whole)


def test_an_edited_estimate_decides_and_all_channels_follow():
    one = clean(count=8)
    da = xr.concat([one, one + 1], xr.DataArray(["SE", "BSE"], dims="channel"))
    found = da.stack3d.find_bad_slices()
    assert found["reason"].dims == ("channel", "z")
    found["valid"][3] = False
    whole = da.stack3d.replace_slices(estimate=found)
    for k in range(2):
        np.testing.assert_array_equal(whole[k], da[k].stack3d.replace_slices(estimate=found.isel(channel=k)))
    assert np.flatnonzero(whole["replaced"]).tolist() == [3]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("lazy", [False, True])
def test_pixels_that_the_mask_calls_missing_come_from_the_other_side_and_are_measured(dtype, lazy):
    values = np.repeat(np.random.default_rng(2).integers(60, 200, (1, 12, 14)), 5, axis=0).astype(dtype)
    measured = np.ones(values.shape, bool)
    measured[3, 4, 4] = measured[1, 6, 6] = False  # beyond the replaced slice, and before it
    measured[1, 8, 8] = measured[3, 8, 8] = False  # on both sides
    spoilt = np.where(measured, values, 0).astype(dtype)
    spoilt[2] = 7
    da = stack3d.from_array(spoilt, pixel_size=(30, 5, 5))
    da = da.assign_coords(valid=("z", np.arange(5) != 2), mask=(da.dims, measured, {"long_name": "measured"}))
    whole = (da.chunk(z=2) if lazy else da).stack3d.replace_slices(kinds=["blank"])
    assert (whole.chunks is not None) == lazy
    assert whole.dtype == dtype
    expected = values[2].copy()
    expected[8, 8] = 0  # what is stored there
    np.testing.assert_array_equal(whole[2], expected)
    np.testing.assert_array_equal(whole[[0, 1, 3, 4]], spoilt[[0, 1, 3, 4]])
    np.testing.assert_array_equal(np.argwhere(~whole["mask"].values[2]), [[8, 8]])
    np.testing.assert_array_equal(whole["mask"][[0, 1, 3, 4]], measured[[0, 1, 3, 4]])
    assert whole["mask"].attrs == {"long_name": "measured"}


def test_missing_pixels_come_from_the_other_side_where_the_mask_says_so_too():
    da = clean(count=6).astype(np.float32)
    da[1, 5, 5] = np.nan
    da = da.assign_coords(valid=("z", np.arange(6) != 2), mask=da.notnull())
    whole = da.stack3d.replace_slices()
    assert float(whole[2, 5, 5]) == pytest.approx(float(da[3, 5, 5]), rel=1e-6)
    assert np.isnan(whole[1, 5, 5])
    assert whole["mask"][2].all()
    np.testing.assert_array_equal(whole["mask"][1], da["mask"][1])


def test_a_stack_without_a_good_slice_comes_back_with_a_warning():
    da = stack3d.from_array(np.zeros((4, 20, 20), np.uint8), pixel_size=5)
    assert said(da.stack3d.find_bad_slices()) == dict.fromkeys(range(4), "blank")
    with pytest.warns(BlankSliceWarning, match="no slice is good"):
        same = da.stack3d.replace_slices()
    np.testing.assert_array_equal(same, da)
    assert not same["valid"].any()


def test_frames_of_one_pixel_and_stacks_of_one_slice_do_no_harm():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((1, 30, 30), (2, 5, 4), (5, 2, 2)):
            values = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)
            found = stack3d.from_array(values, pixel_size=5).stack3d.find_bad_slices()
            assert found["reason"].shape == shape[:1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": ["burnt"]}, r"kinds=\['burnt'\] must be among 'blank'"),
        ({"deviations": -3}, "deviations=-3 must be a positive number"),
        ({"method": "cubic"}, "method='cubic' is not allowed"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        clean(count=4).stack3d.replace_slices(**arguments)
