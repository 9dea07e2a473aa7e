"""Registration: shifts found to a fraction of a pixel, bad slices bridged, slices put in their place once."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d

RNG = np.random.default_rng(11)
FINE = 4  # canvas pixels to one pixel of a frame: true shifts are multiples of a quarter pixel


def textured(count: int = 14, size: int = 160, margin: int = 10) -> np.ndarray:
    """Return a fine, band-limited canvas (count, ...) whose content changes slowly along z."""
    side = FINE * (size + 2 * margin)
    noise = np.random.default_rng(5).standard_normal((count, side, side)).astype(np.float32)
    canvas = ndimage.gaussian_filter(noise, (1.5, 1.6 * FINE, 1.6 * FINE), mode="wrap")
    coarse = ndimage.gaussian_filter(noise, (1.5, 8 * FINE, 8 * FINE), mode="wrap")
    canvas = canvas / canvas.std() + coarse / coarse.std()
    return (8000 + 400 * canvas).astype(np.float32)


CANVAS = textured()
SIZE, MARGIN = 160, 10


def window(canvas: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """Cut frames whose content lies `quarters` / 4 pixels further down and right; shape (count, SIZE, SIZE)."""
    start = FINE * MARGIN - quarters
    return np.stack(
        [c[y : y + FINE * SIZE : FINE, x : x + FINE * SIZE : FINE] for c, (y, x) in zip(canvas, start, strict=True)]
    )


QUARTERS = np.concatenate([[[0, 0]], np.cumsum(RNG.integers(-4, 5, (13, 2)), axis=0)])
QUARTERS[9:] += (14, -11)  # a jump
SHIFT = QUARTERS / FINE


def drifting(dtype=np.uint16, noise: float = 100.0, **keywords) -> xr.DataArray:
    values = window(CANVAS, QUARTERS)
    values = values + np.random.default_rng(2).normal(0, noise, values.shape)
    return stack3d.from_array(np.rint(values).astype(dtype), pixel_size=(20, 5, 4), **keywords)


def pixels(estimate: xr.Dataset) -> np.ndarray:
    matrices = estimate["transform"].values
    return np.stack([matrices[:, 1, 2], matrices[:, 0, 2]], axis=1)


def detrended(error: np.ndarray) -> np.ndarray:
    # Content that runs obliquely cannot be told from drift: errors are stated after a linear fit over z.
    index = np.arange(len(error))
    return error - np.stack([np.polyval(np.polyfit(index, column, 1), index) for column in error.T], axis=1)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_sub_pixel_shifts_and_a_jump_are_found(dtype):
    estimate = drifting(dtype).stack3d.estimate_transforms()
    error = detrended(pixels(estimate) - (SHIFT - SHIFT[0]))
    assert rms(error) < 0.06
    assert bool(estimate["valid"].all())


def test_shifts_are_given_in_the_unit_of_the_coordinates_and_point_from_aligned_to_raw():
    estimate = drifting().stack3d.estimate_transforms()
    np.testing.assert_allclose(estimate["shift_y"], pixels(estimate)[:, 0] * 5)
    np.testing.assert_allclose(estimate["shift_x"], pixels(estimate)[:, 1] * 4)
    assert estimate["shift_x"].attrs["units"] == "nm"
    # Content of raw slice 13 lies at +SHIFT of its aligned place.
    np.testing.assert_allclose(pixels(estimate)[-1], SHIFT[-1] - SHIFT[0], atol=0.4)


@pytest.mark.parametrize("kind", ["blank", "noise", "saturated"])
def test_a_bad_slice_is_found_bridged_and_harms_nobody(kind):
    da = drifting()
    good = pixels(da.stack3d.estimate_transforms())
    bad = da.copy(deep=True)
    frame = {"blank": 0, "saturated": 65535, "noise": np.random.default_rng(0).integers(6000, 10000, (SIZE, SIZE))}[
        kind
    ]
    bad[6] = frame
    estimate = bad.stack3d.estimate_transforms()
    np.testing.assert_array_equal(estimate["valid"], np.arange(14) != 6)
    others = np.delete(np.arange(14), 6)
    assert rms((pixels(estimate) - good)[others]) < 0.05
    np.testing.assert_allclose(pixels(estimate)[6], pixels(estimate)[[5, 7]].mean(axis=0), atol=1e-6)


def test_slices_marked_bad_before_have_no_say():
    da = drifting().assign_coords(valid=("z", np.arange(14) != 3))
    estimate = da.stack3d.estimate_transforms()
    assert not estimate["valid"][3]
    assert rms(detrended(pixels(estimate) - SHIFT)[np.arange(14) != 3]) < 0.07


def test_gain_and_offset_of_slices_do_not_move_them():
    da = drifting(np.float32)
    changed = da * xr.DataArray(np.linspace(0.5, 2, 14), dims="z") + xr.DataArray(np.linspace(0, 3e4, 14), dims="z")
    changed = changed.astype(np.float32)
    np.testing.assert_allclose(
        pixels(changed.stack3d.estimate_transforms()), pixels(da.stack3d.estimate_transforms()), atol=0.01
    )


def test_registering_puts_content_in_place():
    da = drifting(np.float32, noise=0)
    aligned = da.stack3d.register(crop="common")
    truth = window(CANVAS, np.zeros((14, 2), int))
    rows = np.rint(aligned.y.values / 5).astype(int)
    cols = np.rint(aligned.x.values / 4).astype(int)
    truth = truth[:, rows[:, None], cols]
    before = da.values[:, rows[:, None], cols]
    inner = (slice(None), slice(4, -4), slice(4, -4))
    assert rms((aligned.values - truth)[inner]) < 0.25 * rms((before - truth)[inner])


def test_known_transforms_are_undone_to_the_bit_for_whole_pixels():
    da = drifting()
    estimate = da.stack3d.estimate_transforms()
    matrices = np.broadcast_to(np.eye(3), (14, 3, 3)).copy()
    matrices[:, 0, 2] = np.arange(14) - 5
    matrices[:, 1, 2] = 3
    estimate["transform"] = (("z", "row", "col"), matrices)
    moved = da.stack3d.apply_transforms(estimate=estimate)
    for k in range(14):
        dx = k - 5
        source = da.values[k, 3:, max(0, dx) : SIZE + min(0, dx)]
        np.testing.assert_array_equal(moved.values[k, : SIZE - 3, max(0, -dx) : SIZE - max(0, dx)], source)


@pytest.mark.parametrize(("fill", "value"), [("edge", None), ("reflect", None), ("constant", None), ("constant", 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_lies_outside_is_filled_as_asked(fill, value, dtype):
    da = drifting(np.float32)
    da = (da / 80).astype(dtype) if dtype == np.uint8 else da.astype(dtype)
    moved = da.stack3d.register(fill=fill, value=value, integer=True)
    assert moved.dtype == dtype
    row = int(np.argmax(np.abs(moved["shift_y"].values)))
    edge = moved.values[row, -1] if moved["shift_y"][row] > 0 else moved.values[row, 0]
    if fill == "constant":
        expected = value if value is not None else (np.nan if dtype == np.float32 else 0)
        np.testing.assert_array_equal(edge[20:-20], np.full(SIZE - 40, expected, dtype))
    else:
        assert np.isfinite(edge).all()
        assert edge.astype(float).std() > 0


def test_crop_common_leaves_no_filled_pixel():
    da = drifting(np.float32)
    aligned = da.stack3d.register(fill="constant", crop="common")
    assert not np.isnan(aligned.values).any()
    assert aligned.sizes["y"] > SIZE - 12
    wider = da.stack3d.register(fill="constant")
    assert np.isnan(wider.values).any()


def test_channels_move_together_by_what_is_measured_on_one():
    da = drifting(np.float32)
    flat = xr.zeros_like(da)
    both = xr.concat([flat, da], xr.Variable("channel", ["flat", "SE2"]), coords="minimal", compat="override")
    aligned = both.stack3d.register(channel="SE2")
    np.testing.assert_array_equal(aligned.sel(channel="SE2").values, da.stack3d.register().values)
    with pytest.raises(ValueError, match=r"channel='BSE'.*\['flat', 'SE2'\]"):
        both.stack3d.register(channel="BSE")


def test_an_estimate_fits_cropped_binned_and_part_stacks():
    da = drifting(np.float32, noise=0)
    estimate = da.stack3d.estimate_transforms()
    whole = da.stack3d.apply_transforms(estimate=estimate)
    part = da.stack3d.crop(z=slice(3, 9), y=slice(20, 140), x=slice(10, 150), by="index")
    moved = part.stack3d.apply_transforms(estimate=estimate)
    np.testing.assert_allclose(moved.values[:, 10:-10, 10:-10], whole.values[3:9, 30:130, 20:140], rtol=1e-4)
    binned = da.stack3d.bin(y=2, x=2).stack3d.apply_transforms(estimate=estimate)
    expected = whole.stack3d.bin(y=2, x=2)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    assert rms((binned.values - expected.values)[inner]) < 0.03 * float(expected.std())


def test_an_estimate_of_other_slices_is_refused():
    da = drifting()
    estimate = da.isel(z=slice(0, 5)).stack3d.estimate_transforms()
    with pytest.raises(ValueError, match="no slice at z = 100"):
        da.stack3d.apply_transforms(estimate=estimate)
    with pytest.raises(ValueError, match="kind None"):
        da.stack3d.apply_transforms(estimate=xr.Dataset())
    with pytest.raises(ValueError, match="lags given together with estimate="):
        da.stack3d.register(estimate=estimate, lags=2)


def test_frames_that_share_nothing_are_left_in_place_with_a_warning():
    noise = np.random.default_rng(3).integers(0, 60000, (6, 96, 96)).astype(np.uint16)
    da = stack3d.from_array(noise, pixel_size=5)
    with pytest.warns(stack3d.UntiedSliceWarning, match="6 of 6 slices could not be tied"):
        result = da.stack3d.register()
    assert not result["valid"].any()
    with pytest.warns(stack3d.BlankSliceWarning, match="no slice is valid"):
        result.stack3d.match_histograms()


def test_labels_keep_their_values():
    labels = (drifting(np.float32, noise=0) > 8000).astype(np.uint8) * 37
    moved = labels.stack3d.register(order=0)
    assert set(np.unique(moved)) == {0, 37}


@pytest.mark.parametrize("z", [1, 2, 5, -1])
def test_estimate_and_result_do_not_depend_on_chunks(z):
    da = drifting()
    lazy = da.chunk(z=z)
    eager_estimate, lazy_estimate = (s.stack3d.estimate_transforms() for s in (da, lazy))
    xr.testing.assert_equal(eager_estimate, lazy_estimate)
    result = lazy.stack3d.register()
    assert result.chunks is not None
    np.testing.assert_array_equal(result.values, da.stack3d.register().values)


@pytest.mark.filterwarnings("ignore::stack3d.UntiedSliceWarning")
@pytest.mark.parametrize("shape", [(1, 40, 50), (2, 40, 50), (3, 16, 16), (4, 5, 7), (3, 1, 20)])
@pytest.mark.parametrize("content", ["constant", "texture", "identical", "nan"])
def test_degenerate_stacks_give_the_identity_or_flags_and_never_crash(shape, content):
    values = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    if content == "constant":
        values[:] = 5
    if content == "identical":
        values[:] = values[0]
    if content == "nan":
        values[:] = np.nan
    da = stack3d.from_array(values, pixel_size=1)
    estimate = da.stack3d.estimate_transforms()
    found = pixels(estimate)
    assert np.isfinite(found).all()
    if content in ("constant", "nan", "identical") or shape[0] == 1:
        np.testing.assert_allclose(found, 0, atol=1e-3)
    assert da.stack3d.register().shape == shape


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model": "elastic"}, "model='elastic'.*translation"),
        ({"lags": 0}, "lags=0"),
        ({"band": 3}, "band=3"),
        ({"order": 2}, "order=2"),
        ({"fill": "wrap"}, "fill='wrap'"),
        ({"value": 3}, "value=3.*fill='constant'"),
        ({"fill": "constant", "value": -1}, "value=-1.*uint16"),
        ({"crop": "all"}, "crop='all'"),
        ({"region": {"z": slice(0, 3)}}, "region="),
    ],
)
def test_register_says_what_is_wrong(keywords, message):
    with pytest.raises(ValueError, match=message):
        drifting().stack3d.register(**keywords)


def test_the_shifts_of_a_result_are_those_of_the_matrices_that_were_applied():
    da = stack3d.synthetic.make_stack((4, 32, 40), defects={"drift": 1.0}, pixel_size=(10, 5, 5)).stack
    drift = da.stack3d.estimate_transforms()
    xr.testing.assert_identical(da.stack3d.apply_transforms(estimate=drift).shift_x.variable, drift.shift_x.variable)
    edited = drift.copy(deep=True)
    edited["transform"][2, 0, 2] = 3.0
    edited["transform"][2, 1, 2] = -1.0
    moved = da.stack3d.apply_transforms(estimate=edited)
    assert float(moved.shift_x[2]) == 15.0
    assert float(moved.shift_y[2]) == -5.0
    # Of another grid of the same place: the same lengths.
    binned = da.stack3d.bin(y=2, x=2).stack3d.apply_transforms(estimate=edited)
    np.testing.assert_allclose(binned.shift_x, moved.shift_x, atol=1e-9)
