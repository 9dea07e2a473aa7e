"""Taking away stripes: what the operation adds to the kernels."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

import stack3d
from stack3d import kernels
from stack3d.operations import _stripe_batches, _stripe_neighbours
from stack3d.operations._stripe_ways import METHODS

NEEDED = {"pyvsnr": "pyvsnr"}


def volume(count=7, shape=(96, 104), seed=0) -> np.ndarray:
    """Return structure shared by neighbouring slices: columns that stand like curtains among it; and noise."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(count + 24, *shape)), (8, 3, 3))[12:-12]
    walls = gaussian_filter(rng.normal(size=(count + 24, shape[1])), (10, 1))[12:-12]
    values = np.tanh(2 * smooth / smooth.std()) + 0.8 * (walls / walls.std())[:, None, :]
    return (10 * values + rng.normal(size=values.shape)).astype(np.float32)


def curtains(count=7, shape=(96, 104), seed=1, length=30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(count, 3 * shape[0], shape[1])), (0, length, 1.0))[
        :, shape[0] : 2 * shape[0]
    ]
    return (5 * field / field.std()).astype(np.float32)


def stack_of(values) -> xr.DataArray:
    return stack3d.from_array(values, pixel_size=(20, 5, 5))


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2)))


@pytest.fixture(params=sorted(METHODS))
def method(request):
    needed = NEEDED.get(request.param)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    return request.param


def test_every_method_takes_curtains_away(method):
    rng = np.random.default_rng(2)
    blobs = gaussian_filter(rng.normal(size=(2, 320, 160)), (0, 5, 5))
    truth = (10 * blobs / blobs.std() + 3 * rng.normal(size=blobs.shape)).astype(np.float32)
    striped = stack_of(truth + curtains(2, (320, 160), length=80))
    settings = {"sigma": (1.0, 40.0), "noise_level": 2.0} if method == "pyvsnr" else {}
    assert rms(striped.stack3d.destripe(method=method, **settings) - truth) < 0.75 * rms(striped - truth)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_dtypes_give_the_same_but_for_rounding(dtype):
    values = np.clip(np.rint(volume(2) + curtains(2) + 128), 0, 255)
    expected = stack_of(values.astype(np.float64)).stack3d.destripe(dtype="float64")
    found = stack_of(values.astype(dtype)).stack3d.destripe()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.clip(expected, 0, 255) if dtype == "uint8" else expected, atol=0.5 + 2e-3)


def test_missing_pixels_stay_missing_and_masked_ones_stay():
    values = volume(2) + curtains(2)
    holes = np.zeros(values.shape, bool)
    holes[0, 20:30, 40:60] = True
    gaps = stack_of(np.where(holes, np.nan, values)).stack3d.destripe()
    np.testing.assert_array_equal(np.isnan(gaps), holes)
    da = stack_of(np.where(holes, 1e4, values).astype(np.float32))
    masked = da.assign_coords(mask=(da.dims, ~holes)).stack3d.destripe()
    np.testing.assert_array_equal(masked.values[holes], 1e4)
    np.testing.assert_array_equal(masked.values[~holes], gaps.values[~holes])


def test_neighbours_keep_walls_that_stand_like_curtains():
    truth, planted = volume(), curtains()
    striped = stack_of(truth + planted)
    alone, together = striped.stack3d.destripe(), striped.stack3d.destripe(neighbours=2)
    inner = slice(2, -2)
    assert rms((together - truth)[inner]) < 0.7 * rms(planted[inner])
    assert rms((together - truth)[inner]) < 0.8 * rms((alone - truth)[inner])


def test_without_stripes_neighbours_change_almost_nothing():
    # Walls that move from slice to slice cannot be told from stripes.
    values = volume()
    values -= values.mean(axis=1, keepdims=True)
    truth = stack_of(values)
    assert rms(truth.stack3d.destripe(neighbours=2) - truth) < 0.01 * float(truth.std())


def test_bad_slices_are_no_neighbours():
    truth, planted = volume(), curtains()
    values = truth + planted
    values[3] = np.random.default_rng(3).normal(0, 500, values[3].shape)
    good = np.arange(7) != 3
    da = stack_of(values).assign_coords(valid=("z", good))
    other = da.copy(data=np.where(good[:, None, None], values, 0.0))
    found, again = (stack.stack3d.destripe(neighbours=2) for stack in (da, other))
    np.testing.assert_array_equal(found.values[good], again.values[good])
    assert rms((found - truth).values[[2, 4]]) < 0.75 * rms(planted[[2, 4]])


def test_slices_unlike_their_neighbours_are_treated_alone():
    rng = np.random.default_rng(5)
    blobs = gaussian_filter(rng.normal(size=(3, 96, 104)), (0, 3, 3))
    da = stack_of((30 * blobs / blobs.std() + rng.normal(size=blobs.shape) + curtains(3)).astype(np.float32))
    once = da.stack3d.destripe()
    # Each of two passes treats them alone.
    np.testing.assert_array_equal(da.stack3d.destripe(neighbours=1), once.stack3d.destripe())


def test_neighbours_do_not_depend_on_the_blocks():
    da = stack_of(np.rint(volume() + curtains() + 100).astype(np.uint16))
    whole = da.stack3d.destripe(neighbours=2)
    for size in (1, 3):
        np.testing.assert_array_equal(da.chunk(z=size).stack3d.destripe(neighbours=2), whole)


def test_one_slice_needs_no_neighbours():
    da = stack_of(volume(1) + curtains(1))
    assert np.isfinite(da.stack3d.destripe(neighbours=3)).all()


def test_likeness_does_not_see_stripes():
    truth = volume(2)
    clean = kernels.stripe_frame.likeness(truth[0], truth[1], None, 0.0)[0]
    striped = kernels.stripe_frame.likeness(truth[0] + 4 * curtains(1)[0], truth[1], None, 0.0)[0]
    assert clean > 0.6
    assert striped > 0.9 * clean
    assert abs(kernels.stripe_frame.likeness(truth[0], volume(1, seed=9)[0], None, 0.0)[0]) < _stripe_neighbours._LEAST


def test_one_kind_of_stripe_needs_no_list():
    da, kind = stack_of(volume(1)), {"sigma": (1, 30), "angle": 10, "noise_level": 2.0}
    np.testing.assert_array_equal(da.stack3d.destripe(filters=kind), da.stack3d.destripe(filters=[kind]))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"method": "magic"}, ValueError, "method='magic' is not allowed"),
        ({"angle": "up"}, TypeError, "angle='up' must be a number"),
        ({"angle": np.inf}, ValueError, "angle=inf must be a finite"),
        ({"strength": -1}, ValueError, "strength=-1 must be at least 0"),
        ({"neighbours": 1.5}, TypeError, "neighbours=1.5 must be a whole number"),
        ({"neighbours": -1}, ValueError, "neighbours=-1 must be at least 0"),
        ({"sigma": (1,)}, ValueError, r"sigma=\(1,\) must be two positive numbers"),
        ({"boundary": "wrap"}, ValueError, "boundary='wrap' is not allowed"),
        ({"max_iter": 0}, ValueError, "max_iter=0 must be at least 1"),
        ({"tol": 2}, ValueError, "tol=2 must be"),
        ({"noise_level": 3}, ValueError, "noise_level=3 is no parameter of method='vsnr'"),
        ({"filters": [{"kind": "dirac"}]}, ValueError, "noise_level=None of a dirac"),
        ({"filters": [{"kind": "moon"}]}, ValueError, "kind is 'gabor'"),
        ({"filters": []}, ValueError, "filters"),
        ({"filters": [3]}, TypeError, r"filters=\[3\] must be a list of mappings"),
        ({"filters": {"sigma": ("a", 2)}}, TypeError, "filters: a value of .* is of the wrong type"),
        ({"sigma": ("a", 2)}, ValueError, r"sigma=\('a', 2\) must be two positive numbers"),
        ({"max_iter": "x"}, TypeError, "method='vsnr' does not take max_iter='x'"),
        ({"method": "wavelet", "options": {"damping": "x"}}, ValueError, "damping='x' must be a positive number"),
        ({"method": "wavelet", "options": {"level": "x"}}, ValueError, "level='x' must be a whole number"),
        ({"method": "wedge", "options": {"half_angle": "x"}}, TypeError, "method='wedge' does not take half_angle='x'"),
    ],
)
def test_wrong_parameters_are_refused_before_work(wrong, error, message):
    da = stack_of(volume(1)).chunk(z=1)
    with pytest.raises(error, match=message):
        da.stack3d.destripe(**wrong)


def test_neighbours_need_z_and_flags_have_no_stripes():
    frame = stack3d.from_array(volume(1)[0], pixel_size=5)
    with pytest.raises(ValueError, match="neighbours=1 counts slices along z"):
        frame.stack3d.destripe(neighbours=1)
    with pytest.raises(TypeError, match="dtype bool"):
        (frame > 0).stack3d.destripe()


def test_a_graphics_card_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match="device='gpu' cannot be used"):
        stack_of(volume(1)).stack3d.destripe(device="gpu")


@pytest.fixture
def card(install_card):
    """Return a cupy made up here, with room for three frames of a volume at once."""
    return install_card(int(3.5 * 96 * 104 * 4 * _stripe_batches._FRAMES / _stripe_batches._SHARE))


@pytest.mark.parametrize("chunks", [None, 1, 4])
@pytest.mark.parametrize("name", ["vsnr", "wavelet"])
def test_a_graphics_card_gets_frames_in_batches_that_its_memory_holds(card, monkeypatch, name, chunks):
    sent = []
    kernel = getattr(kernels, METHODS[name])
    plain = kernel.stripes

    def spied(frames, *arguments):
        sent.append(frames.shape)
        return plain(frames, *arguments)

    values = np.rint(volume() + curtains() + 128).astype(np.uint8)
    da = stack_of(values)
    expected = da.stack3d.destripe(method=name)
    monkeypatch.setattr(kernel, "stripes", spied)
    found = (da if chunks is None else da.chunk(z=chunks)).stack3d.destripe(method=name, device="gpu")
    assert (found.chunks is None) == (chunks is None)
    # Both forms round in their own way, and so a pixel half way between two grey values may come out as either.
    apart = abs(found.values.astype(int) - expected.values)
    assert apart.max() <= 1
    assert np.mean(apart) < 1e-3
    counts = {None: [3, 3, 1], 1: [1] * 7, 4: [3, 3, 1]}[chunks]
    for shapes in (card.sent, sent):
        batches = [shape[0] for shape in shapes if shape[1:] == values.shape[1:]]
        assert sorted(batches, reverse=True) == counts


@pytest.mark.parametrize(
    ("name", "options", "chunks"),
    [
        ("vsnr", None, None),
        ("multiscale", None, None),
        ("wedge", None, 4),
        ("wavelet", {"wavelet": "haar", "damping": 3.0}, 4),
    ],
)
def test_a_graphics_card_gets_neighbours_in_batches_that_its_memory_holds(card, monkeypatch, name, options, chunks):
    kernel, sent = getattr(kernels, METHODS[name]), []
    plain = kernel.stripes

    def spied(frames, *arguments):
        sent.append(frames.shape)
        return plain(frames, *arguments)

    values = volume() + curtains() + 128
    values[5] = np.random.default_rng(0).normal(size=values[5].shape)  # follows no neighbour
    values[1, 20:30, 40:60] = np.nan
    da = stack_of(values).assign_coords(valid=("z", np.arange(7) != 3))
    expected = da.stack3d.destripe(method=name, neighbours=2, options=options)
    monkeypatch.setattr(kernel, "stripes", spied)
    given = da if chunks is None else da.chunk(z=chunks)
    found = given.stack3d.destripe(method=name, neighbours=2, options=options, device="gpu").values
    np.testing.assert_allclose(found, expected, atol=2e-3 * curtains().std())
    assert not np.array_equal(found[2], values[2])
    # In each of two passes 2, 2, 2 and 1 slices, in blocks of 4: 2, 2, 2, 1 as well; each slice a few times at most.
    assert max(shape[0] for shape in sent) == 2
    assert sum(shape == values.shape[1:] for shape in card.sent) == 2 * (4 + 6 + 5 + 3)


def test_the_peer_is_refused_on_a_graphics_card_before_anything_is_computed(card):
    pytest.importorskip("pyvsnr")
    da = stack_of(volume(2))
    with pytest.raises(ValueError, match="method='pyvsnr' is computed on the CPU, but device='gpu'"):
        da.stack3d.destripe(method="pyvsnr", sigma=(1.0, 40.0), device="gpu")
    with stack3d.set_options(device="gpu"), pytest.raises(ValueError, match="but device='gpu'"):
        da.stack3d.destripe(method="pyvsnr", sigma=(1.0, 40.0))
    there = da.copy(data=card.asarray(da.data))
    with pytest.raises(ValueError, match="but the stack lies on the GPU"):
        there.stack3d.destripe(method="pyvsnr", sigma=(1.0, 40.0))
    assert card.sent == [da.shape]  # by this test


def test_gaps_in_some_frames_of_a_batch_stay_gaps(card):
    values = volume(4) + curtains(4)
    values[1, 20:30, 40:60] = np.nan
    da = stack_of(values)
    found = da.stack3d.destripe(device="gpu")
    # Weights of 1 round otherwise than no weights; the contrast is about 10.
    np.testing.assert_allclose(found, da.stack3d.destripe(), atol=2e-3)


def test_filters_are_recorded_and_replayed():
    da = stack_of(volume(2) + curtains(2))
    filters = [
        {"sigma": (1, 40), "noise_level": 2.0},
        {"kind": "pattern", "values": np.ones((5, 1)), "noise_level": 1.0},
    ]
    result = da.stack3d.destripe(filters=filters)
    np.testing.assert_array_equal(stack3d.replay(da, result), result)
