"""Registration: shifts found to a fraction of a pixel, bad slices bridged, slices put in their place once."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d
from stack3d.testing import assert_chunk_invariant, assert_input_unchanged, assert_lazy

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
        ({"crop": 1.5}, "crop=1.5"),
        ({"canvas": "wide"}, "canvas='wide'"),
        ({"fill": "nan"}, "fill='nan'.*uint16"),
        ({"method": "guess"}, "method='guess'.*phase"),
        ({"method": "features", "stripes": 20.0}, "stripes=20.0.*'phase'"),
        ({"template_radius": 3}, "template_radius=3.*'template'"),
        ({"binning": 0}, "binning=0"),
        ({"mask": np.ones((3, 3), bool)}, r"mask= has shape \(3, 3\)"),
        ({"mask": np.zeros((160, 160), bool)}, "mask= leaves no pixel"),
        ({"trend": "slow"}, "trend='slow'"),
        ({"trend_window": 5}, "trend_window=5"),
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


INNER = np.arange(14)


def error_of(estimate: xr.Dataset, slices=INNER) -> float:
    return rms(detrended((pixels(estimate) - SHIFT)[slices]))


@pytest.mark.parametrize(
    ("keywords", "limit"),
    [
        ({"method": "features"}, 0.08),
        ({"method": "features", "detector": "orb"}, 0.2),
        ({"method": "template", "template_radius": 2}, 0.08),
        ({"gradient": True}, 0.05),
        ({"threshold": 8000.0}, 0.12),
        ({"binning": 2}, 0.05),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_each_method_finds_the_shifts_the_same_from_any_blocks(keywords, limit):
    da = drifting()
    estimate = da.stack3d.estimate_transforms(**keywords)
    assert error_of(estimate) < limit
    assert bool(estimate["valid"].all())
    xr.testing.assert_equal(da.chunk(z=3).stack3d.estimate_transforms(**keywords), estimate)
    # Places at the edges of the frame do not decide: the same from a part of it.
    part = da.stack3d.estimate_transforms(region={"y": slice(10, 150), "x": slice(5, 155), "by": "index"}, **keywords)
    assert error_of(part) < 1.5 * limit


@pytest.mark.peer
def test_stackreg_finds_the_shifts():
    pytest.importorskip("pystackreg")
    da = drifting()
    estimate = da.stack3d.estimate_transforms(method="stackreg", lags=2)
    assert error_of(estimate) < 0.15
    bad = da.copy(deep=True)
    bad[6] = 0
    np.testing.assert_array_equal(bad.stack3d.estimate_transforms(method="stackreg", lags=2)["valid"], INNER != 6)


def test_stackreg_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pystackreg", None)
    with pytest.raises(ImportError, match=r"stack3d\[stackreg\]"):
        drifting().stack3d.register(method="stackreg")


@pytest.mark.filterwarnings("ignore::stack3d.UntiedSliceWarning")
@pytest.mark.parametrize("method", ["features", "template"])
@pytest.mark.parametrize("content", ["blank", "nan", "noise", "constant"])
def test_every_method_flags_what_holds_nothing(method, content):
    values = drifting(np.float32).values[:6].copy()
    values[3] = {
        "blank": 0,
        "nan": np.nan,
        "constant": 777,
        "noise": np.random.default_rng(0).normal(8e3, 500, (160, 160)),
    }[content]
    estimate = stack3d.from_array(values, pixel_size=1).stack3d.estimate_transforms(method=method)
    np.testing.assert_array_equal(estimate["valid"], np.arange(6) != 3)
    np.testing.assert_allclose(pixels(estimate)[3], pixels(estimate)[[2, 4]].mean(axis=0))
    nothing = stack3d.from_array(np.full((3, 20, 24), values[3, 0, 0]), pixel_size=1)
    np.testing.assert_array_equal(pixels(nothing.stack3d.estimate_transforms(method=method)), 0)


@pytest.mark.parametrize("angle", [20.0, -45.0, 110.0])
def test_stripes_fixed_to_the_frame_are_left_out_by_their_angle(angle):
    da = drifting(np.float32)
    y, x = np.mgrid[:SIZE, :SIZE]
    # Stripes at 0 run along y; counter-clockwise on screen, y down.
    across = x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))
    profile = ndimage.gaussian_filter1d(np.random.default_rng(3).standard_normal(1200), 1.5)
    stripes = np.interp(across, np.arange(-600, 600), 1200 * profile / profile.std()).astype(np.float32)
    striped = da + stripes
    assert error_of(striped.stack3d.estimate_transforms()) > 0.3
    assert error_of(striped.stack3d.estimate_transforms(stripes=angle)) < 0.05
    assert error_of(striped.stack3d.estimate_transforms(stripes=-angle)) > 0.3


def dirty() -> tuple[xr.DataArray, np.ndarray]:
    dirt = np.zeros((SIZE, SIZE), bool)
    dirt[30:90, 20:110] = True
    pattern = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((SIZE, SIZE)), 1.5)
    pattern = (8000 + 3000 * pattern / pattern.std()).astype(np.float32)
    da = drifting(np.float32)
    return da.copy(data=np.where(dirt, pattern, da.values)), ~dirt


def test_what_a_mask_leaves_out_has_no_say():
    da, clean = dirty()
    assert error_of(da.stack3d.estimate_transforms()) > 0.5
    labelled = xr.DataArray(clean, dims=("y", "x"), coords={"y": da["y"], "x": da["x"]})
    for mask in (clean, labelled):
        assert error_of(da.stack3d.estimate_transforms(mask=mask)) < 0.06
    assert error_of(da.assign_coords(mask=(("y", "x"), clean)).stack3d.estimate_transforms()) < 0.06
    # A mask of another shape than a box, and one together with a region.
    corner = np.zeros((SIZE, SIZE), bool)
    corner[5:155, 112:155] = corner[95:155, 5:155] = True
    assert error_of(da.stack3d.estimate_transforms(mask=corner)) < 0.1
    low = {"y": slice(92, 160), "x": slice(0, 160), "by": "index"}
    assert error_of(da.stack3d.estimate_transforms(mask=corner, region=low)) < 0.1
    result = da.stack3d.register(mask=clean)
    np.testing.assert_array_equal(stack3d.replay(da, result), result)


@pytest.mark.parametrize("lags", [2, 3])
def test_a_gap_longer_than_the_lags_is_bridged_by_longer_pairs(lags):
    slow = np.repeat(CANVAS[:1], 14, axis=0)
    values = window(slow, QUARTERS) + np.random.default_rng(2).normal(0, 100, (14, SIZE, SIZE))
    values[5:9] = 0
    da = stack3d.from_array(np.rint(values).astype(np.uint16), pixel_size=1)
    estimate = da.stack3d.estimate_transforms(lags=lags)
    good = (INNER < 5) | (INNER > 8)
    np.testing.assert_array_equal(estimate["valid"], good)
    assert rms((pixels(estimate) - SHIFT)[good]) < 0.05
    # Where all is well nobody looks further.
    whole = drifting().stack3d.estimate_transforms(lags=lags)
    assert int((whole["pair_second"] - whole["pair_first"]).max()) == lags


def test_a_trend_is_kept_out_of_the_correction_and_replayed():
    da = drifting()
    measured = da.stack3d.estimate_transforms()
    for trend, options in (
        ("linear", {}),
        ("polynomial", {"degree": 3}),
        ("savgol", {"window": 7}),
        ("mean", {"window": 5}),
    ):
        names = {f"trend_{name}": value for name, value in options.items()}
        estimate = da.stack3d.estimate_transforms(trend=trend, **names)
        expected = stack3d.transforms.detrend(measured, trend, **options)
        np.testing.assert_array_equal(estimate["transform"], expected["transform"])
        assert [step["operation"] for step in stack3d.provenance(estimate)] == ["estimate_transforms"]
        result = da.stack3d.register(trend=trend, **names)
        np.testing.assert_array_equal(result["shift_x"], expected["shift_x"])
        np.testing.assert_array_equal(stack3d.replay(da, result), result)
    slope = np.polyfit(INNER, da.stack3d.register(trend="linear")["shift_y"], 1)[0]
    assert abs(slope) < 1e-9


def test_union_keeps_every_pixel_and_the_positions_of_the_raw_frame():
    da = drifting(np.float32)
    aligned = da.stack3d.register(canvas="union", fill="nan", integer=True)
    # Every raw pixel is there, where its coordinate says.
    for k in range(14):
        dy, dx = np.rint(pixels(da.stack3d.estimate_transforms())[k])
        there = aligned[k].sel(y=da["y"] - 5 * dy, x=da["x"] - 4 * dx, method="nearest", tolerance=1e-6)
        np.testing.assert_array_equal(there.values, da[k].values)
        assert int(np.isfinite(aligned[k]).sum()) == SIZE * SIZE
    same = da.stack3d.register(fill="nan", integer=True)
    np.testing.assert_array_equal(aligned.sel(y=da["y"], x=da["x"]).values, same.values)
    np.testing.assert_allclose(np.diff(aligned["y"]), 5)
    assert aligned.stack3d.pixel_size == da.stack3d.pixel_size
    assert np.isnan(aligned.values).any()
    assert not np.isnan(aligned.values).all(axis=(0, 1)).any()
    lazy = da.chunk(z=3).stack3d.register(canvas="union", fill="nan", integer=True)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.values, aligned.values)


def turned(count: int = 6) -> tuple[xr.DataArray, xr.Dataset]:
    da = stack3d.from_array(np.ones((count, 80, 100), np.float32), pixel_size=(20, 5, 5))
    angle = np.radians(np.linspace(-6, 6, count))
    matrices = np.tile(np.eye(3), (count, 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
    matrices[:, 0, 1], matrices[:, 1, 0] = -np.sin(angle), np.sin(angle)
    matrices[:, 0, 2], matrices[:, 1, 2] = np.linspace(-8, 9, count), np.linspace(3, -2, count)
    return da, stack3d.transforms.from_matrices(da, matrices)


@pytest.mark.parametrize("canvas", ["same", "union"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 1.0, "common"])
@pytest.mark.parametrize("motion", ["turned", "shifted"])
def test_crop_keeps_the_largest_rectangle_that_enough_slices_cover(canvas, share, motion):
    if motion == "turned":
        da, estimate = turned()
    else:
        da = drifting(np.float32)
        estimate = da.stack3d.estimate_transforms()
    options = {"estimate": estimate, "fill": "nan", "order": 1, "canvas": canvas}
    whole = da.stack3d.apply_transforms(**options)
    cropped = da.stack3d.apply_transforms(**options, crop=share)
    needed = int(np.ceil((1.0 if share == "common" else share) * da.sizes["z"]))
    # The first pixel of the canvas, in pixels of the raw frame, and what each slice truly covers of it.
    top, left = (
        float(np.rint((whole[d].values[0] - da[d].values[0]) / (da[d].values[1] - da[d].values[0]))) for d in "yx"
    )
    y, x = np.mgrid[: whole.sizes["y"], : whole.sizes["x"]] + np.array([top, left])[:, None, None]
    places = np.einsum("nij,jyx->niyx", estimate["transform"].values[:, :2], np.stack([x, y, np.ones_like(x)]))
    rows, cols = da.shape[1:]
    inside = (places > -1e-6).all(axis=1) & (places[:, 0] < cols - 1 + 1e-6) & (places[:, 1] < rows - 1 + 1e-6)
    covered = inside.sum(axis=0) >= needed
    assert np.isfinite(whole.values)[inside].all()
    box = [np.searchsorted(whole[d].values, cropped[d].values[[0, -1]]) for d in ("y", "x")]
    (y0, y1), (x0, x1) = box
    assert covered[y0 : y1 + 1, x0 : x1 + 1].all()
    np.testing.assert_array_equal(cropped.values, whole.values[:, y0 : y1 + 1, x0 : x1 + 1])
    # No rectangle is larger, by brute force.
    total = np.pad(np.cumsum(np.cumsum(covered, 0), 1), ((1, 0), (1, 0)))
    best = 0
    for top in range(covered.shape[0]):
        for bottom in range(top, covered.shape[0]):
            full = np.diff(total[bottom + 1] - total[top]) == bottom + 1 - top
            ends = np.flatnonzero(np.diff(np.concatenate([[0], full, [0]])))
            longest = int((ends[1::2] - ends[::2]).max(initial=0))
            best = max(best, longest * (bottom + 1 - top))
    assert cropped.sizes["y"] * cropped.sizes["x"] == best


def test_nothing_in_common_is_an_error():
    da = drifting()
    apart = stack3d.transforms.from_shifts(da, np.linspace(0, 400, 14), units="px")
    for crop in ("common", 0.9):
        with pytest.raises(ValueError, match=r"crop keeps nothing: no rectangle is covered by 1[34] of 14"):
            da.stack3d.apply_transforms(estimate=apart, crop=crop)


def test_a_mask_of_the_stack_moves_with_it_on_the_larger_canvas():
    da = drifting(np.float32)
    mask = np.ones(da.shape, bool)
    mask[:, 40:50, 60:80] = False
    masked = da.assign_coords(mask=(("z", "y", "x"), mask))
    aligned = masked.stack3d.register(canvas="union", integer=True)
    assert aligned["mask"].shape == aligned.shape
    assert int(aligned["mask"].sum()) == int(mask.sum())


@pytest.mark.parametrize(
    "options",
    [{"canvas": "union"}, {"crop": 0.7, "fill": "reflect"}, {"order": "lanczos", "crop": "common"}, {"integer": True}],
    ids=str,
)
def test_applying_is_lazy_and_the_same_from_any_blocks_and_replayed(options):
    da = drifting().isel(z=slice(0, 8))
    estimate = stack3d.transforms.detrend(da.stack3d.estimate_transforms(), "mean", window=3)

    def apply(stack: xr.DataArray) -> xr.DataArray:
        return stack.stack3d.apply_transforms(estimate=estimate, **options)

    assert_lazy(apply, da)
    assert_chunk_invariant(apply, da)
    assert_input_unchanged(apply, da)
    result = apply(da)
    xr.testing.assert_equal(stack3d.replay(da, result), result)


def test_pixels_of_a_part_and_oblong_pixels_give_the_same_shifts():
    da = drifting(np.float32)
    part = da.stack3d.estimate_transforms(region={"y": slice("100 nm", None), "x": slice(None, "600 nm")})
    np.testing.assert_allclose(pixels(part), pixels(da.stack3d.estimate_transforms()), atol=0.2)
    assert part.attrs["frame"] == da.stack3d.estimate_transforms().attrs["frame"]
