"""Channels added to one, by given weights or for the best signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d.kernels import fusion

SIGNAL, NOISE = np.array([900.0, 500.0]), np.array([400.0, 300.0])


def two(seed: int = 0, shape=(4, 256, 256), signal=SIGNAL, noise=NOISE, dtype="uint16") -> xr.DataArray:
    """Return one structure seen by detectors of known strength and independent noise."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[1]), np.fft.fftfreq(shape[2]), indexing="ij"))
    grain = rng.standard_normal(shape)
    texture = np.fft.ifft2(np.fft.fft2(grain) * np.exp(-600 * frequency**2)).real
    texture = (texture - texture.mean((1, 2), keepdims=True)) / texture.std((1, 2), keepdims=True)
    values = [10000 + 3000 * k + s * texture + rng.normal(0, n, shape) for k, (s, n) in enumerate(zip(signal, noise))]
    names = ["SE", "BSE", "EDS"][: len(values)]
    return stack3d.from_array(np.rint(values).astype(dtype), pixel_size=(10, 5, 5), channel=names)


def test_a_stack_without_channels_comes_back_with_a_warning():
    da = stack3d.from_array(np.ones((2, 9, 9), np.uint8), pixel_size=5)
    with pytest.warns(UserWarning, match="the stack has dims .* and no 'channel'"):
        np.testing.assert_array_equal(da.stack3d.fuse_channels(), da)


def test_the_weights_are_those_of_the_closed_form():
    found = two().stack3d.estimate_fusion()
    ratios = SIGNAL**2 / NOISE**2
    np.testing.assert_allclose(found["snr"], ratios, rtol=0.05)
    np.testing.assert_allclose(found["noise"], NOISE, rtol=0.02)
    np.testing.assert_allclose(found["signal"], SIGNAL, rtol=0.02)
    q = (ratios[1] / SIGNAL[1]) / (ratios[0] / SIGNAL[0])
    assert float(found["weight"].sel(channel="BSE")) == pytest.approx(q / (1 + q), abs=0.01)
    # Independent looks at one signal: their ratios add.
    assert float(found["snr_fused"]) == pytest.approx(ratios.sum(), rel=0.05)
    assert float(found["gain"]) == pytest.approx(ratios.sum() / ratios.max(), rel=0.03)


def test_the_curve_peaks_at_the_weight_and_ends_at_the_channels():
    found = two().stack3d.estimate_fusion(fractions=np.linspace(0, 1, 101))
    curve = found["curve"]
    assert float(curve.idxmax()) == pytest.approx(float(found["weight"][1]), abs=0.01)
    np.testing.assert_allclose([curve[0], curve[-1]], found["snr"])
    assert float(curve.max()) <= float(found["snr_fused"]) * (1 + 1e-12)


def test_the_fused_stack_has_the_ratio_that_was_promised():
    da = two()
    found = da.stack3d.estimate_fusion()
    fused = da.stack3d.fuse_channels(estimate=found)
    signal, noise = fusion.signal_and_noise(
        np.median([fusion.covariances([frame]) for frame in fused.values[0]], axis=0)
    )
    assert float(signal[0, 0] / noise[0, 0]) == pytest.approx(float(found["snr_fused"]), rel=0.03)


def test_noise_that_channels_share_is_taken_into_account():
    signal, noise = np.ones((2, 2)), np.array([[1.0, 0.5], [0.5, 2.0]])
    weights = fusion.best_weights(signal, noise)
    np.testing.assert_allclose(weights, np.linalg.solve(noise, np.ones(2)) / np.linalg.solve(noise, np.ones(2)).sum())
    scan = [fusion.ratio((1 - f, f), signal, noise) for f in np.linspace(0, 1, 1001)]
    assert fusion.ratio(weights, signal, noise) >= max(scan)


def test_one_channel_twice_counts_half_each_time_and_gains_next_to_nothing():
    da = two(shape=(2, 64, 64))
    found = da.copy(data=np.stack([da.values[0]] * 2)).stack3d.estimate_fusion()
    np.testing.assert_allclose(found["weight"], 0.5, atol=1e-6)
    assert float(found["gain"]) == pytest.approx(2 / 1.95, rel=1e-6)


def test_a_channel_that_only_adds_noise_is_left_out():
    noise = np.array([[1.0, 1.8], [1.8, 4.0]])
    np.testing.assert_array_equal(fusion.best_weights(np.ones((2, 2)), noise), [1.0, 0.0])


def test_three_channels_are_fused():
    signal, noise = np.array([900.0, 500.0, 700.0]), np.array([400.0, 300.0, 700.0])
    found = two(signal=signal, noise=noise).stack3d.estimate_fusion()
    expected = signal / noise**2
    np.testing.assert_allclose(found["weight"], expected / expected.sum(), atol=0.02)
    assert "curve" not in found


@pytest.mark.parametrize("weights", [{"SE": 0.7, "BSE": 0.3}, {"SE": 7, "BSE": 3}, [1.4, 0.6]])
def test_given_weights_are_divided_by_their_sum_and_results_rounded(weights):
    da = two(shape=(2, 20, 24))
    fused = da.stack3d.fuse_channels(weights=weights)
    expected = 0.7 * da.values[0].astype(float) + 0.3 * da.values[1]
    assert fused.dtype == da.dtype
    assert np.abs(fused.values[0] - expected).max() <= 0.5 + 1e-2
    assert fused["channel"].values.tolist() == ["fused"]
    assert fused.dims == da.dims
    beside = xr.concat([da, fused], "channel")
    assert beside["channel"].values.tolist() == ["SE", "BSE", "fused"]


def test_a_channel_not_named_has_no_weight():
    da = two(shape=(2, 20, 24))
    np.testing.assert_array_equal(da.stack3d.fuse_channels(weights={"BSE": 1})[0], da.sel(channel="BSE"))


def test_given_weights_need_no_pass_over_the_stack():
    from stack3d.testing import assert_lazy

    assert_lazy(lambda s: s.stack3d.fuse_channels(weights=[1, 1]), two(shape=(3, 20, 24)))


@pytest.mark.parametrize("chunks", [{"z": 1, "channel": 1}, {"z": 3, "channel": 2}])
def test_blocks_change_nothing_and_it_replays(chunks):
    da = two(shape=(4, 40, 48))
    fused = da.stack3d.fuse_channels()
    lazy = da.chunk(chunks).stack3d.fuse_channels()
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, fused)
    xr.testing.assert_equal(stack3d.replay(da, fused), fused)


def test_a_pixel_is_missing_where_a_used_channel_lacks_it():
    da = two(shape=(2, 20, 24)).astype(np.float32)
    da[0, 0, 3, 3] = da[1, 1, 5, 5] = np.nan
    fused = da.stack3d.fuse_channels(weights=[1, 1])
    assert np.argwhere(np.isnan(fused.values)).tolist() == [[0, 0, 3, 3], [0, 1, 5, 5]]
    masked = da.fillna(0).astype("uint16").assign_coords(mask=da.notnull()).stack3d.fuse_channels(weights=[1, 0])
    assert np.argwhere(~masked["mask"].values).tolist() == [[0, 0, 3, 3]]


def test_missing_pixels_and_bad_slices_do_not_move_the_weights():
    da = two().astype(np.float32)
    expected = da.stack3d.estimate_fusion()["weight"]
    da[:, 1, 50:60] = np.nan
    da[:, 2] = 0
    found = da.assign_coords(valid=("z", np.arange(4) != 2)).stack3d.estimate_fusion()
    np.testing.assert_allclose(found["weight"], expected, atol=0.01)


@pytest.mark.filterwarnings("ignore:fuse_channels. the stack has dims")
def test_stacks_of_one_channel_come_back():
    one = two(shape=(2, 20, 24)).isel(channel=0)
    np.testing.assert_array_equal(one.stack3d.fuse_channels(), one)
    frame = two(shape=(1, 64, 64)).isel(z=0)
    assert frame.stack3d.fuse_channels().dims == ("channel", "y", "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"ESB": 1}}, "weights name channel 'ESB'; the stack has"),
        ({"weights": [1, 2, 3]}, "must give a number of at least 0"),
        ({"weights": [1, -1]}, "must give a number of at least 0"),
        ({"weights": {"SE": 0}}, "one at least must be positive"),
        ({"weights": "best"}, "weights='best' must be 'snr'"),
        ({"fractions": [0, 2]}, "must be numbers from 0 to 1"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        two(shape=(2, 20, 24)).stack3d.fuse_channels(**arguments)


def test_channels_that_cannot_be_weighed_are_refused_with_a_hint():
    da = two(shape=(2, 64, 64))
    inverted = da.copy(
        data=np.stack([da.values[0], 20000 - da.values[0] + np.random.default_rng(5).integers(0, 90, da.shape[1:])])
    )
    with pytest.raises(ValueError, match="opposite contrast; invert one"):
        inverted.stack3d.estimate_fusion()
    with pytest.raises(ValueError, match="both must be positive"):
        xr.zeros_like(da).stack3d.estimate_fusion()


@pytest.mark.parametrize("shape", [(1, 5), (2, 2), (40, 301)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_covariances_in_one_pass_are_those_of_whole_frames(shape, dtype):
    rng = np.random.default_rng(4)
    frames = [(rng.normal(90, 20, shape) + 7 * k).astype(dtype) for k in range(3)]
    for missing in (0.0, 0.2) if dtype == "float32" else (0.0,):
        for frame in frames:
            frame[rng.random(shape) < missing] = np.nan if missing else 0
        np.testing.assert_allclose(fusion.covariances(frames), fusion.covariances_xp(frames), rtol=1e-4, atol=1e-3)
