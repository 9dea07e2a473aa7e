"""Several channels: measured by one, by a fusion, or jointly; and how they lie to each other."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d
from stack3d.testing import assert_input_unchanged, assert_lazy

SIZE, MARGIN, COUNT = 128, 12, 9


def texture(seed: int, count: int = 1) -> np.ndarray:
    """Return periodic, band-limited texture of unit variance, larger than a frame on all sides."""
    side = SIZE + 2 * MARGIN
    noise = np.random.default_rng(seed).standard_normal((count, side, side))
    fine = ndimage.gaussian_filter(noise, (0, 1.6, 1.6), mode="wrap")
    coarse = ndimage.gaussian_filter(noise, (0, 6, 6), mode="wrap")
    out = fine / fine.std() + coarse / coarse.std()
    return out / out.std()


def moved(canvas: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Return the frame of a canvas whose content was moved exactly, in the Fourier plane."""
    ky, kx = np.fft.fftfreq(canvas.shape[0])[:, None], np.fft.rfftfreq(canvas.shape[1])[None, :]
    turned = np.fft.rfft2(canvas) * np.exp(-2j * np.pi * (ky * dy + kx * dx))
    return np.fft.irfft2(turned, canvas.shape)[MARGIN:-MARGIN, MARGIN:-MARGIN]


RNG = np.random.default_rng(7)
DRIFT = np.concatenate([[[0.0, 0.0]], np.cumsum(RNG.normal(0, 0.7, (COUNT - 1, 2)), axis=0)])
OFFSET = np.array([1.3, -2.45])
ONE = texture(1)[0]


def channels(noise=(0.3, 0.3), sign: float = 1.0, offset=(0.0, 0.0), dtype=np.uint16, content=None) -> xr.DataArray:
    """Return two channels of one drifting texture, the second displaced by `offset`, with its contrast turned by `sign`."""
    rng = np.random.default_rng(3)
    canvases = np.repeat(ONE[None], COUNT, axis=0) if content is None else content
    values = np.empty((2, COUNT, SIZE, SIZE))
    for k in range(COUNT):
        values[0, k] = 30000 + 3000 * (moved(canvases[k], *DRIFT[k]) + noise[0] * rng.standard_normal((SIZE, SIZE)))
        seen = moved(canvases[k], *(DRIFT[k] + offset))
        values[1, k] = 20000 + sign * 900 * (seen + noise[1] * rng.standard_normal((SIZE, SIZE)))
    values = np.rint(values) if np.dtype(dtype).kind == "u" else values
    return stack3d.from_array(values.astype(dtype), pixel_size=(10, 5, 4), channel=["SE", "BSE"])


def pixels(estimate: xr.Dataset) -> np.ndarray:
    return estimate["transform"].values[:, 1::-1, 2]


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


WAYS = ["SE", {"SE": 0.7, "BSE": 0.3}, {"BSE": 1.0}, "joint", ["BSE", "SE"], ("BSE",)]


@pytest.mark.parametrize("channel", WAYS, ids=str)
def test_each_way_to_use_channels_finds_the_drift_from_any_blocks_and_replays(channel):
    da = channels()
    estimate = da.stack3d.estimate_transforms(channel=channel)
    assert rms(pixels(estimate) - DRIFT) < 0.03
    xr.testing.assert_equal(da.chunk(z=2, channel=1).stack3d.estimate_transforms(channel=channel), estimate)
    xr.testing.assert_equal(da.chunk(z=4, channel=2).stack3d.estimate_transforms(channel=channel), estimate)
    aligned = da.chunk(z=3).stack3d.register(channel=channel, crop="common")
    assert aligned.chunks is not None
    assert aligned.sizes["channel"] == 2
    np.testing.assert_array_equal(stack3d.replay(da, aligned), aligned)
    assert_input_unchanged(lambda s: s.stack3d.register(channel=channel), da)


def test_channels_of_opposite_contrast_fuse_with_weights_of_opposite_sign():
    da = channels(sign=-1.0, noise=(1.5, 1.5))
    together = da.stack3d.estimate_transforms(channel={"SE": 0.5, "BSE": -0.5})
    # Each is as noisy as the other; their sum, with the signs wrong, is next to nothing but noise.
    assert rms(pixels(together) - DRIFT) < 0.75 * rms(pixels(da.stack3d.estimate_transforms(channel="SE")) - DRIFT)
    with pytest.warns(stack3d.UntiedSliceWarning):
        da.stack3d.estimate_transforms(channel={"SE": 0.5, "BSE": 0.5})


def test_what_a_fusion_weighs_does_not_depend_on_the_units_of_a_channel():
    da = channels(dtype=np.float32)
    other = da * xr.DataArray([1.0, 700.0], dims="channel") + xr.DataArray([0.0, -3e5], dims="channel")
    weights = {"SE": 0.5, "BSE": 0.5}
    first, second = (s.astype(np.float32).stack3d.estimate_transforms(channel=weights) for s in (da, other))
    np.testing.assert_allclose(pixels(first), pixels(second), atol=1e-3)


def test_a_joint_solution_holds_where_each_channel_fails():
    da = channels()
    da[0, 3:6] = 0  # one detector was off here,
    da[1, 6] = np.random.default_rng(0).integers(0, 60000, (SIZE, SIZE))  # and the other there
    alone = da.stack3d.estimate_transforms(channel="SE")
    assert not alone["valid"][3:6].any()
    joint = da.stack3d.estimate_transforms(channel="joint")
    assert joint["valid"].all()
    assert rms(pixels(joint) - DRIFT) < 0.03
    assert set(joint["pair_channel"].values) == {"SE", "BSE"}
    assert (joint["pair_quality"].values[joint["pair_channel"] == "SE"] == 0).any()


def test_a_good_channel_is_not_harmed_by_a_noisy_one():
    da = channels(noise=(0.3, 4.0))
    alone = rms(pixels(da.stack3d.estimate_transforms(channel="SE")) - DRIFT)
    joint = rms(pixels(da.stack3d.estimate_transforms(channel="joint")) - DRIFT)
    assert joint < 1.1 * alone


def test_joint_transforms_are_saved_and_read(tmp_path):
    estimate = channels().stack3d.estimate_transforms(channel="joint")
    estimate.to_netcdf(tmp_path / "e.nc")
    opened = xr.open_dataset(tmp_path / "e.nc")
    np.testing.assert_array_equal(opened["pair_channel"].values.astype(str), estimate["pair_channel"].values)
    np.testing.assert_array_equal(
        channels().stack3d.apply_transforms(estimate=opened), channels().stack3d.apply_transforms(estimate=estimate)
    )


def test_a_mask_that_differs_between_channels_is_heeded():
    da = channels(dtype=np.float32)
    dirt = np.zeros((2, SIZE, SIZE), bool)
    dirt[1, 30:80, 20:90] = True
    da = da.where(~xr.DataArray(dirt, dims=("channel", "y", "x")), 1e5 * ONE[:SIZE, :SIZE])
    masked = da.assign_coords(mask=(("channel", "y", "x"), ~dirt))
    for channel in ({"SE": 0.5, "BSE": 0.5}, "joint"):
        assert rms(pixels(masked.stack3d.estimate_transforms(channel=channel)) - DRIFT) < 0.05


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"channel": {"SE": 1.0, "EDX": 1.0}}, "'EDX'.*SE.*BSE"),
        ({"channel": {"SE": 0}}, "weight of 'SE'"),
        ({"channel": {}}, "channel="),
        ({"channel": []}, "channel="),
        ({"channel": ["SE", "SE"]}, "different names"),
        ({"channel": "both"}, "channel='both'"),
        ({"channel": "joint", "method": "template"}, "method='template' compares one image"),
        ({"channel": {"SE": 1.0}, "threshold": 3.0}, "threshold=3.0"),
    ],
)
def test_estimate_transforms_says_which_channels_are_allowed(keywords, message):
    with pytest.raises(ValueError, match=message):
        channels().stack3d.estimate_transforms(**keywords)
    if keywords["channel"] == "joint":
        with pytest.raises(ValueError, match="channel='joint' is not allowed"):
            channels().isel(channel=0, drop=True).stack3d.estimate_transforms(channel="joint")


# ---------------------------------------------------------------------------------------------------------------------
# From channel to channel


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["same", "inverted"])
@pytest.mark.parametrize("noise", [(0.3, 0.3), (1.5, 2.0)], ids=["clear", "noisy"])
def test_the_offset_is_found_whatever_the_contrast(sign, noise):
    da = channels(noise, sign, OFFSET)
    estimate = da.stack3d.estimate_channel_offset()
    np.testing.assert_allclose(pixels(estimate)[1], OFFSET, atol=0.02 if noise[0] < 1 else 0.12)
    np.testing.assert_array_equal(estimate["transform"][0], np.eye(3))
    np.testing.assert_allclose(estimate["shift_y"][1], 5 * pixels(estimate)[1, 0])
    assert estimate["contrast"].values.tolist() == ["same", "same" if sign > 0 else "inverted"]
    assert estimate["valid"].all()
    assert estimate["used"][1] == COUNT
    assert estimate["scatter"][1] < 0.15
    back = da.stack3d.estimate_channel_offset(reference="BSE")
    np.testing.assert_allclose(pixels(back)[0], -OFFSET, atol=0.02 if noise[0] < 1 else 0.12)
    xr.testing.assert_equal(da.chunk(z=2, channel=1).stack3d.estimate_channel_offset(), estimate)


def test_edges_tell_where_contrast_is_partly_inverted():
    # Steps at the same places, each up in one channel and up or down at random in the other.
    rng = np.random.default_rng(0)
    side = SIZE + 2 * MARGIN
    places = rng.integers(0, side, (60, 2))
    nearest = ndimage.distance_transform_edt(
        ~np.isin(np.arange(side * side).reshape(side, side), places @ [side, 1]), return_indices=True
    )[1]
    cells = nearest[0] * side + nearest[1]
    bright = [rng.permutation(side * side)[cells] / side**2 for _ in range(2)]
    bright = [ndimage.gaussian_filter(b, 1.2, mode="wrap") * 5 for b in bright]
    values = np.stack([[moved(b, *(OFFSET * k)) + 0.01 * rng.standard_normal((SIZE, SIZE)) for _ in range(4)]
                       for k, b in enumerate(bright)])  # fmt: skip
    da = stack3d.from_array(values.astype(np.float32), pixel_size=(10, 5, 4), channel=["SE", "BSE"])
    estimate = da.stack3d.estimate_channel_offset()
    assert estimate["contrast"][1] == "gradient"
    np.testing.assert_allclose(pixels(estimate)[1], OFFSET, atol=0.15)


def test_bad_slices_of_a_channel_do_not_move_it():
    da = channels(offset=OFFSET)
    da[1, 2] = 0
    da[1, 5] = np.roll(da.values[1, 5], 9, axis=0)  # one slice jumped
    da[0, 7] = np.random.default_rng(0).integers(0, 60000, (SIZE, SIZE))
    estimate = da.stack3d.estimate_channel_offset()
    np.testing.assert_allclose(pixels(estimate)[1], OFFSET, atol=0.02)
    assert estimate["used"][1] == COUNT - 3
    marked = channels(offset=OFFSET).assign_coords(valid=("z", np.arange(COUNT) != 2))
    assert marked.stack3d.estimate_channel_offset()["used"][1] == COUNT - 1
    assert marked.stack3d.estimate_channel_offset(slices=3)["used"][1] == 3


def test_three_channels_tie_each_other_and_one_without_structure_stays():
    da = channels(offset=OFFSET)
    third = da.isel(channel=[1]).assign_coords(channel=["ESB"]).roll(x=3)
    noise = da.isel(channel=[0]).assign_coords(channel=["EDX"])
    noise = noise.copy(data=np.random.default_rng(1).integers(0, 99, noise.shape).astype(np.uint16))
    four = xr.concat([da, third, noise], "channel")
    with pytest.warns(stack3d.UntiedChannelWarning, match="channels EDX could not be tied"):
        estimate = four.stack3d.estimate_channel_offset()
    assert estimate["valid"].values.tolist() == [True, True, True, False]
    np.testing.assert_allclose(pixels(estimate), [(0, 0), OFFSET, OFFSET + np.array([0, 3]), (0, 0)], atol=0.03)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_turned_channel_is_found_with_its_contrast(sign):
    da = channels(dtype=np.float32)
    angle = np.radians(0.4)
    turn = np.array([[np.cos(angle), -np.sin(angle), 1.2], [np.sin(angle), np.cos(angle), -0.8], [0, 0, 1]])
    canvas = stack3d.kernels.warp.warp_frame(ONE.astype(np.float32), turn, order="lanczos")[0]
    sides = slice(MARGIN, -MARGIN)
    rng = np.random.default_rng(1)
    values = [
        [c[sides, sides] + 0.1 * rng.standard_normal((SIZE, SIZE)) for _ in range(5)] for c in (ONE, sign * canvas)
    ]
    da = stack3d.from_array(np.array(values, np.float32), pixel_size=(10, 5, 5), channel=["SE", "BSE"])
    estimate = da.stack3d.estimate_channel_offset(model="rigid")
    # The canvas shows at p what lay at turn(p); seen in frames that begin MARGIN further.
    to = np.array([[1, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1.0]])
    expected = np.linalg.inv(to) @ np.linalg.inv(turn) @ to
    corners = np.array([[0, 0, 1], [SIZE, 0, 1], [0, SIZE, 1], [SIZE, SIZE, 1.0]]).T
    np.testing.assert_allclose((estimate["transform"].values[1] @ corners)[:2], (expected @ corners)[:2], atol=0.06)
    assert estimate["contrast"][1] == ("same" if sign > 0 else "inverted")


def test_aligned_channels_lie_on_top_of_each_other():
    da = channels((0, 0), 1.0, OFFSET, np.float32)
    aligned = da.stack3d.align_channels(crop="common")
    assert rms(aligned[0].values / 3000 - 10 - (aligned[1].values - 20000) / 900) < 0.01
    np.testing.assert_array_equal(aligned[0].values, da[0].sel(y=aligned["y"], x=aligned["x"]).values)
    np.testing.assert_allclose(aligned["offset_y"], [0, 5 * OFFSET[0]], atol=0.1)
    np.testing.assert_allclose(aligned["offset_x"], [0, 4 * OFFSET[1]], atol=0.1)
    # The other way round, the second channel keeps its values.
    other = da.stack3d.align_channels(reference="BSE")
    np.testing.assert_array_equal(other[1].values, da[1].values)


@pytest.mark.parametrize("options", [{}, {"canvas": "union", "fill": "nan"}, {"integer": True, "crop": "common"}])
def test_aligning_is_lazy_replays_and_fits_parts_of_the_stack(options):
    da = channels(offset=(2.0, -3.0), dtype=np.float32)
    estimate = da.stack3d.estimate_channel_offset()

    def apply(stack: xr.DataArray) -> xr.DataArray:
        return stack.stack3d.align_channels(estimate=estimate, **options)

    assert_lazy(apply, da)
    whole = apply(da)
    lazy = apply(da.chunk(z=2, channel=1))
    assert lazy.chunks is not None
    xr.testing.assert_equal(lazy.compute(), whole)
    xr.testing.assert_equal(stack3d.replay(da, whole), whole)
    measured = da.stack3d.align_channels(**options)
    xr.testing.assert_equal(stack3d.replay(da, measured), measured)
    if not options:
        # One channel, some slices, a part of the frame.
        one = apply(da.sel(channel="BSE").isel(z=slice(2, 5)))
        np.testing.assert_array_equal(one.values, whole.sel(channel="BSE").values[2:5])
        part = apply(da.stack3d.crop(y=slice(20, 100), x=slice(30, 90), by="index"))
        np.testing.assert_allclose(part.values[..., 8:-8, 8:-8], whole.values[..., 28:92, 38:82], rtol=1e-4)


def test_whole_pixels_keep_every_value():
    da = channels(offset=(2.0, -3.0))
    aligned = da.stack3d.align_channels(integer=True, canvas="union", fill="constant")
    there = aligned[1].sel(y=da["y"] - 10, x=da["x"] + 12, method="nearest", tolerance=1e-6)
    np.testing.assert_array_equal(there.values, da[1].values)
    np.testing.assert_array_equal(aligned[0].sel(y=da["y"], x=da["x"]).values, da[0].values)


def test_a_mask_moves_with_its_channel():
    da = channels(offset=(2.0, -3.0))
    mask = np.ones((COUNT, SIZE, SIZE), bool)
    mask[:, 40:50, 60:80] = False
    aligned = da.assign_coords(mask=(("z", "y", "x"), mask)).stack3d.align_channels(integer=True)
    assert aligned["mask"].dims == da.dims
    np.testing.assert_array_equal(aligned["mask"][0], mask)
    assert not aligned["mask"][1, :, 38:48, 63:83].any()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"reference": "EDX"}, r"reference='EDX'.*\['SE', 'BSE'\]"),
        ({"model": "elastic"}, "model='elastic'"),
        ({"contrast": "odd"}, "contrast='odd'"),
        ({"slices": 0}, "slices=0"),
        ({"binning": 1.5}, "binning=1.5"),
        ({"band": 3}, "band=3"),
        ({"order": 2}, "order=2"),
        ({"fill": "nan"}, "fill='nan'.*uint16"),
    ],
)
def test_align_channels_says_what_is_wrong(keywords, message):
    with pytest.raises(ValueError, match=message):
        channels().stack3d.align_channels(**keywords)


def test_stacks_that_do_not_fit_are_refused():
    da = channels()
    with pytest.raises(ValueError, match="two channels at least"):
        da.isel(channel=0).stack3d.estimate_channel_offset()
    estimate = da.stack3d.estimate_channel_offset()
    with pytest.raises(ValueError, match="estimate has no channel 'EDX'"):
        da.assign_coords(channel=["SE", "EDX"]).stack3d.align_channels(estimate=estimate)
    with pytest.raises(ValueError, match="estimate is for 2 channels"):
        da.isel(channel=0, drop=True).stack3d.align_channels(estimate=estimate)
    with pytest.raises(ValueError, match="of kind 'channel_offset'; expected 'transforms'"):
        da.stack3d.apply_transforms(estimate=estimate)
    with pytest.raises(ValueError, match="slices given together with estimate="):
        da.stack3d.align_channels(estimate=estimate, slices=3)
