"""The direction and strength of stripes, from the spectrum."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import stack3d
from stack3d.kernels import direction, spectrum
from stack3d.operations import NoStripesWarning

matplotlib.use("agg")


def turned(a: float, b: float) -> float:
    return abs((a - b + 90) % 180 - 90)


def texture(shape=(192, 208), seed=0, along=2.0, across=2.0):
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (along, across), mode="wrap")
    return (smooth / smooth.std()).astype(np.float32)


def lines(angle, shape=(192, 208), seed=1, width=1.5):
    """Endless parallel lines of random height, rms 1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))
    profile = ndimage.gaussian_filter1d(np.random.default_rng(seed).normal(size=4000), 4 * width)
    values = np.interp(across, np.arange(-500, 500, 0.25), profile)
    return ((values - values.mean()) / values.std()).astype(np.float32)


def found(frame, angle=None):
    return direction.stripes(spectrum.spectrum(frame), angle)


@pytest.mark.parametrize("shape", [(320, 352), (280, 410)])
@pytest.mark.parametrize("angle", [-90.0, -71.3, -45.0, -12.4, -0.8, 0.0, 3.3, 27.0, 58.6, 84.0, 89.6])
def test_the_angle_of_lines_is_found_within_half_a_degree(angle, shape):
    stripes = found(texture(shape) + 0.5 * lines(angle, shape))
    assert turned(stripes.angle, angle) < 0.5


def test_a_positive_angle_is_counter_clockwise_on_the_screen():
    # The top of a line turned counter-clockwise from upright goes left: x grows with y.
    frame = np.zeros((128, 128), np.float32)
    for start in (-20, 10, 31, 55, 90):
        for y in range(128):
            x = start + round(y * np.tan(np.radians(20)))
            if 0 <= x < 128:
                frame[y, x] = 1
    noise = np.random.default_rng(0).normal(0, 0.1, frame.shape).astype(np.float32)
    assert turned(found(frame + noise).angle, 20) < 0.5


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.2])
def test_rms_is_that_of_the_lines_planted(strength):
    values = [found(texture(seed=s) + strength * lines(20, seed=50 + s), 20).rms for s in range(4)]
    assert np.mean(values) == pytest.approx(strength, rel=0.2)


def test_share_grows_with_the_strength_planted():
    base, stripes = texture(), lines(-33)
    shares = [found(base + strength * stripes, -33).share for strength in (0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)]
    assert np.all(np.diff(shares[1:]) > 0)
    assert shares[0] < 0.1
    assert 0.85 < shares[-1] <= 1


def test_share_and_angle_do_not_depend_on_gain_and_offset():
    frame = texture() + 0.5 * lines(12)
    plain, changed = found(frame), found(100 * frame + 5000)
    assert changed.angle == pytest.approx(plain.angle, abs=0.01)
    assert changed.share == pytest.approx(plain.share, rel=1e-3)
    assert changed.rms == pytest.approx(100 * plain.rms, rel=1e-3)


@pytest.mark.parametrize(("along", "across"), [(0.01, 0.01), (2, 2), (6, 2), (2, 8)])
def test_texture_has_no_stripes_even_when_it_is_oriented(along, across):
    for seed in range(4):
        stripes = found(texture((224, 224), seed, along, across))
        assert np.isnan(stripes.angle)
        assert stripes.rms == stripes.share == 0


def test_both_forms_look_at_the_same_places():
    flat, _ = direction.whitened(spectrum.spectrum(texture((90, 120)) + lines(5, (90, 120))))
    rays = direction._rays((90, 120))
    along = np.arange(3, 30, dtype=np.float32)
    np.testing.assert_array_equal(direction._scan(flat, *rays, along), direction._scan_xp(flat, *rays, along))


def test_missing_pixels_have_no_part():
    frame = texture((256, 256)) + lines(15, (256, 256))
    holed = frame.copy()
    holed[100:140, 60:120] = np.nan
    stripes = found(holed)
    assert turned(stripes.angle, 15) < 0.5
    assert stripes.share == pytest.approx(found(frame).share, rel=0.1)


def stack_of(frames):
    return stack3d.from_array(np.asarray(frames, np.float32), pixel_size=5)


def test_streak_index_measures_each_slice_lazily_and_the_same():
    da = stack_of([texture(seed=0) + 0.2 * k * lines(9) for k in range(5)])
    table = da.stack3d.streak_index(angle=9)
    assert np.all(np.diff(table.streak_index) > 0)
    lazy = da.chunk(z=2).stack3d.streak_index(angle=9)
    assert all(variable.chunks is not None for variable in lazy.data_vars.values())
    xr.testing.assert_identical(lazy.compute(), table)
    assert bool(table.ok.all())


def test_what_cannot_be_measured_is_flagged():
    da = stack_of(np.stack([texture(), np.full((192, 208), 7.1), np.full((192, 208), np.nan)]))
    table = da.stack3d.streak_index()
    assert table.ok.values.tolist() == [True, False, False]
    assert np.isnan(table.streak_index[1:]).all()
    small = da.isel(y=slice(0, 10)).stack3d.streak_index()
    assert not small.ok.any()
    assert bool(da.isel(z=0).stack3d.streak_index().ok)


def test_masked_pixels_are_left_out_of_the_index():
    frame = texture((256, 256))
    hidden = frame.copy()
    hidden[:, :60] += 20 * lines(0, (256, 256))[:, :60]
    da = stack_of(hidden[None]).assign_coords(
        mask=(("z", "y", "x"), np.broadcast_to(np.arange(256) >= 60, (1, 256, 256)))
    )
    assert float(da.stack3d.streak_index(angle=0).streak_index[0]) < 0.15
    assert float(da.drop_vars("mask").stack3d.streak_index(angle=0).streak_index[0]) > 0.5


def test_tiles_tell_where_the_stripes_are():
    frame = texture((256, 256))
    frame[:, :128] += lines(0, (256, 128))
    table = stack_of(frame[None]).stack3d.streak_index(angle=0, tiles=(1, 2))
    assert table.streak_index.dims == ("z", "tile_y", "tile_x")
    assert float(table.streak_index[0, 0, 0]) > 0.5 > 0.3 > float(table.streak_index[0, 0, 1])


def test_the_direction_of_a_stack_is_found_where_single_slices_do_not_tell_it():
    da = stack_of([texture(seed=k) + 0.06 * lines(-24, seed=k) for k in range(16)])
    alone = da.stack3d.streak_index()
    assert np.isnan(alone.angle).sum() > 4
    estimate = da.stack3d.estimate_stripes()
    assert turned(float(estimate.stack_angle), -24) < 0.5
    assert 0.03 < float(estimate.stack_rms) < 0.15
    assert estimate.attrs["kind"] == "stripes"


def test_bad_slices_have_no_part_in_the_direction():
    frames = [texture(seed=k) + 0.4 * lines(10, seed=k) for k in range(6)]
    frames[2] = 40 * lines(70)
    da = stack_of(frames).assign_coords(valid=("z", np.arange(6) != 2))
    assert turned(float(da.stack3d.estimate_stripes().stack_angle), 10) < 0.5


def test_destripe_takes_the_direction_that_is_found_and_replays():
    da = stack_of([texture(seed=k) + 0.6 * lines(18, seed=k) for k in range(4)])
    estimate = da.stack3d.estimate_stripes()
    given = da.stack3d.destripe(estimate=estimate)
    auto = da.stack3d.destripe(angle="auto")
    np.testing.assert_array_equal(auto, given)
    np.testing.assert_array_equal(auto, da.stack3d.destripe(angle=float(estimate.stack_angle)))
    for result in (given, auto):
        np.testing.assert_array_equal(stack3d.replay(da, result), result)
    assert auto.stack3d.provenance[-1]["estimate"]["digest"]
    before, after = (float(one.stack3d.streak_index(angle=18).rms.mean()) for one in (da, auto))
    assert after < 0.5 * before


def test_a_stack_without_stripes_is_left_as_it_is_with_a_warning():
    da = stack_of([texture(seed=k) for k in range(3)])
    with pytest.warns(NoStripesWarning, match="no direction of stripes"):
        clean = da.stack3d.destripe(angle="auto")
    np.testing.assert_array_equal(clean, da)


def test_errors_name_the_argument():
    da = stack_of(texture()[None])
    estimate = da.stack3d.estimate_stripes()
    with pytest.raises(ValueError, match="angle=3 and estimate= each give the direction"):
        da.stack3d.destripe(estimate=estimate, angle=3)
    with pytest.raises(TypeError, match="angle='down' must be a number of degrees or 'auto'"):
        da.stack3d.streak_index(angle="down")
    with pytest.raises(ValueError, match=r"tiles=\(0, 1\) must be at least 1"):
        da.stack3d.streak_index(tiles=(0, 1))
    with pytest.raises(ValueError, match="parts of less than 24 a side"):
        da.stack3d.streak_index(tiles=(20, 1))
    with pytest.raises(ValueError, match="subsample=0 must be at least 1"):
        da.stack3d.estimate_stripes(subsample=0)
    with pytest.raises(ValueError, match="at least 24 pixels a side"):
        da.stack3d.estimate_stripes(region={"y": slice(0, 20), "by": "index"})


def test_curtains_are_in_the_truth_and_their_own_in_each_slice():
    made = stack3d.synthetic.make_stack(
        (3, 160, 200), defects={"curtains": {"angle": -30, "scatter": 0}}, dtype="float32", seed=2
    )
    np.testing.assert_allclose(made.stack - made.truth, made.defects.stripes, atol=1e-6)
    fields = made.defects.stripes.values
    assert abs(np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1]) < 0.2
    assert turned(found(fields[0]).angle, -30) < 0.5
    lazy = stack3d.synthetic.make_stack(
        (3, 160, 200), defects={"curtains": {"angle": -30, "scatter": 0}}, dtype="float32", seed=2, lazy=True
    )
    np.testing.assert_array_equal(lazy.stack, made.stack)


def test_persistent_curtains_stay_for_some_slices():
    def fields(persistence):
        options = {"persistence": persistence, "density": 60}
        return stack3d.synthetic.make_stack((6, 160, 200), defects={"curtains": options}, seed=4).defects.stripes.values

    def alike(values):
        return np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in itertools.pairwise(values)])

    own, kept = fields(0.0), fields(0.8)
    assert alike(own) < 0.2 < 0.6 < alike(kept)
    assert kept.std() == pytest.approx(own.std(), rel=0.5)


def test_curtains_are_planted_on_real_volumes_and_checked():
    truth = stack3d.from_array(np.stack([texture(seed=k) for k in range(3)]), pixel_size=10)
    made = stack3d.synthetic.add_defects(truth, defects={"curtains": 0.1}, seed=1)
    np.testing.assert_allclose(made.stack - made.truth, made.defects.stripes, atol=1e-5)
    with pytest.raises(ValueError, match=r"curtains\['width'\]=\(3, 1\) must be two positive numbers"):
        stack3d.synthetic.make_stack((1, 32, 32), curtains={"width": (3, 1)})
    with pytest.raises(ValueError, match=r"curtains\['persistence'\]=1.5 must be a share between 0 and 1"):
        stack3d.synthetic.make_stack((1, 32, 32), curtains={"persistence": 1.5})


def test_the_picture_shows_before_after_difference_and_the_angle():
    da = stack_of([texture() + lines(18)] * 2)
    after = da - stack_of([lines(18)] * 2).values
    axes = after.stack3d.plot.destripe(da, z=1)
    before, clean, taken, power = axes
    np.testing.assert_allclose(before.images[0].get_array(), da[1], atol=1e-6)
    np.testing.assert_allclose(clean.images[0].get_array(), after[1], atol=1e-6)
    np.testing.assert_allclose(taken.images[0].get_array(), lines(18), atol=1e-5)
    assert abs(float(power.get_title().split()[-1][:-1]) - 18) <= 0.5
    # The brightest ridge lies where the angle is drawn: more power on the line than on its mirror image.
    values, (left, right, bottom, top) = power.images[0].get_array(), power.images[0].get_extent()
    mean = []
    for sign in (1, -1):
        x = np.linspace(0.02, 0.1, 40) * np.cos(np.radians(18))
        y = -sign * np.linspace(0.02, 0.1, 40) * np.sin(np.radians(18))
        rows = ((y - top) / (bottom - top) * values.shape[0]).astype(int)
        columns = ((x - left) / (right - left) * values.shape[1]).astype(int)
        mean.append(values[rows, columns].mean())
    assert mean[0] > mean[1] + 1
    import matplotlib.pyplot as plt

    plt.close("all")
    with pytest.raises(ValueError, match="z=5 must be the number of a slice"):
        after.stack3d.plot.destripe(da, z=5)


@pytest.mark.parametrize("given", [{}, {"method": "wavelet", "angle": 18}, {"method": "wavelet", "neighbours": 1}])
def test_without_a_stack_before_the_slice_is_destriped_as_the_whole_stack_would_be(given):
    import matplotlib.pyplot as plt

    da = stack_of([texture(seed=k) + lines(18, seed=k) for k in range(9)])
    da = xr.concat([da, 2 * da], xr.DataArray(["SE", "BSE"], dims="channel"))
    before, clean, *_ = da.chunk(z=1).stack3d.plot.destripe(z=-5, channel="BSE", **given)
    np.testing.assert_allclose(before.images[0].get_array(), da[1, 4], atol=1e-6)
    np.testing.assert_allclose(clean.images[0].get_array(), da.stack3d.destripe(**given)[1, 4], atol=1e-6)
    plt.close("all")


def test_the_picture_of_stripes_names_what_is_wrong():
    da = stack_of([texture()] * 2)
    for given, message in (({"z": "a"}, "z='a' must be the number of a slice"), ({"method": "no"}, "method='no'")):
        with pytest.raises(ValueError, match=message):
            da.stack3d.plot.destripe(**given)
    with pytest.raises(TypeError, match="method= says how to destripe, but before= is given"):
        da.stack3d.plot.destripe(da, method="wavelet")


def test_the_estimate_does_not_depend_on_the_blocks():
    da = stack_of([texture(seed=k) + 0.4 * lines(10, seed=k) for k in range(5)])
    whole = da.stack3d.estimate_stripes()
    for chunks in ({"z": 1}, {"z": 3}):
        xr.testing.assert_equal(da.chunk(chunks).stack3d.estimate_stripes(), whole)


def test_channels_share_one_direction_and_one_may_be_chosen():
    da = stack3d.from_array(
        np.stack([[texture(seed=k) for k in range(4)], [texture(seed=k) + lines(30, seed=k) for k in range(4)]]),
        pixel_size=5,
        channel=["SE", "ESB"],
    )
    both, one = da.stack3d.estimate_stripes(), da.stack3d.estimate_stripes(channel="ESB")
    assert both.angle.dims == ("channel", "z")
    assert turned(float(both.stack_angle), 30) < 0.5
    assert turned(float(one.stack_angle), 30) < 0.5
    assert np.isnan(float(da.stack3d.estimate_stripes(channel="SE").stack_angle))
