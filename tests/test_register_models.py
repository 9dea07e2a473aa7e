"""Models beyond translation, and blocks: found on textures known everywhere, carried through the whole chain."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import estimates, transforms
from stack3d.transforms._field import field_of

COUNT, SHAPE = 8, (140, 160)
MODELS = ["rigid", "similarity", "x_scale_shift", "scale_shift", "affine"]
CENTRE = np.array([SHAPE[1] - 1, SHAPE[0] - 1]) / 2
CORNERS = np.array([[x, y, 1.0] for x in (0, SHAPE[1] - 1) for y in (0, SHAPE[0] - 1)]).T


class Waves:
    """A texture of plane waves, known everywhere, that changes slowly from slice to slice."""

    def __init__(self, seed=0, number=60, finest=0.15, evolving=0.1):
        rng = np.random.default_rng(seed)
        frequency, angle = finest * np.sqrt(rng.uniform(0.003, 1, number)), rng.uniform(0, np.pi, number)
        self.k = (2 * np.pi * frequency * np.stack([np.cos(angle), np.sin(angle)])).astype(np.float32)
        self.phase = rng.uniform(0, 2 * np.pi, number)
        self.change = rng.normal(0, evolving, number)
        self.amplitude = (frequency + 0.01) ** -0.8
        self.amplitude /= np.sqrt((self.amplitude**2).sum() / 2)

    def seen(self, x, y, slice_number=0):
        total = np.zeros(np.shape(x), np.float32)
        phase = self.phase + self.change * slice_number
        for kx, ky, at, amplitude in zip(*self.k, phase, self.amplitude, strict=True):
            total += np.float32(amplitude) * np.cos(kx * x + ky * y + np.float32(at))
        return total


def about(linear, shift):
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = CENTRE + shift - np.asarray(linear) @ CENTRE
    return matrix


def linear_part(model, rng, aspect=1.0):
    angle = np.radians(rng.normal(0, 0.5))
    turn = np.array([[np.cos(angle), -np.sin(angle) * aspect], [np.sin(angle) / aspect, np.cos(angle)]])
    grow = rng.normal(0, 0.004, 4)
    return {
        "translation": np.eye(2),
        "rigid": turn,
        "similarity": turn * (1 + grow[0]),
        "x_scale_shift": np.diag([1 + grow[0], 1]),
        "scale_shift": np.diag([1 + grow[0], 1 + grow[1]]),
        "affine": turn @ (np.eye(2) + grow.reshape(2, 2)),
    }[model]


def truth_of(model, count=COUNT, aspect=1.0, seed=1):
    """Pull matrices; the first is 1."""
    rng = np.random.default_rng(seed)
    out = np.stack([about(linear_part(model, rng, aspect), rng.normal(0, 2, 2)) for _ in range(count)])
    out[count // 2 :, :2, 2] += (5, -4)
    return out @ np.linalg.inv(out[0])


def frames_of(pull, *, evolving=0.1, noise=0.0, seed=0, displaced=None):
    """Raw frames (z, y, x): at M p (or M (p + d(p))) lies what the texture has at p."""
    waves, rng = Waves(evolving=evolving), np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    frames = []
    for k, matrix in enumerate(pull):
        back = np.linalg.inv(matrix)
        px, py = (back[row, 0] * x + back[row, 1] * y + back[row, 2] for row in (0, 1))
        if displaced is not None:
            straight = px, py
            for _ in range(12):
                dx, dy = displaced(k, px, py)
                px, py = straight[0] - dx, straight[1] - dy
        frames.append(30000 + 5000 * (waves.seen(px.astype("f4"), py.astype("f4"), k) + noise * rng.normal(size=SHAPE)))
    return np.stack(frames)


def stack_of(model, *, aspect=1.0, dtype=np.uint16, **options):
    pull = truth_of(model, aspect=aspect)
    da = stack3d.from_array(np.rint(frames_of(pull, **options)).astype(dtype), pixel_size=(20, 4 * aspect, 4))
    return da, pull


def corner_error(estimate, pull, slices=slice(None)):
    found = estimate["transform"].values[slices]
    return float(np.abs(((found - pull[slices]) @ CORNERS)[:, :2]).max())


STACKS = {model: stack_of(model, evolving=0.0) for model in ["translation", *MODELS]}


@pytest.mark.parametrize("model", MODELS)
def test_each_model_finds_what_it_allows(model):
    da, pull = STACKS[model]
    estimate = da.stack3d.estimate_transforms(model=model)
    assert bool(estimate["valid"].all())
    assert corner_error(estimate, pull) < (0.08 if model == "affine" else 0.04)
    assert (estimate["step_error"][1:] < 0.1).all()
    assert float(estimate["pair_residual"].max()) < 0.03
    # Pairs are matrices from slice to slice, in pixels of the frame.
    i, j = estimate["pair_first"].values, estimate["pair_second"].values
    exact = pull[j] @ np.linalg.inv(pull[i])
    assert np.abs(((estimate["pair_transform"].values - exact) @ CORNERS)[:, :2]).max() < 0.1
    moved = (exact @ [*CENTRE, 1.0])[:, 1::-1] - CENTRE[::-1]
    np.testing.assert_allclose(np.stack([estimate["pair_shift_y"], estimate["pair_shift_x"]], 1), moved, atol=0.03)
    if model in ("rigid", "similarity"):
        turned = np.degrees(np.arctan2(pull[:, 0, 1], pull[:, 0, 0]))
        np.testing.assert_allclose(estimate["rotation"], turned, atol=0.02)
    if model == "rigid":
        np.testing.assert_allclose(estimate["scale"], 1, atol=1e-9)
    if model == "x_scale_shift":
        np.testing.assert_array_equal(estimate["transform"].values[:, 1, :2], np.tile([0.0, 1.0], (COUNT, 1)))


@pytest.mark.parametrize(
    ("keywords", "limit"),
    [
        ({"method": "features"}, 0.15),
        ({"method": "features", "detector": "orb"}, 0.5),
        ({"method": "template", "template_radius": 3}, 0.05),
        ({"binning": 2}, 0.05),
        ({"gradient": True}, 0.1),
        ({"region": {"y": slice(6, 136), "x": slice(10, 155), "by": "index"}}, 0.05),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_each_method_finds_the_matrices_the_same_from_any_blocks(model, keywords, limit):
    if (model, *keywords) == ("affine", "binning"):
        pytest.skip("70 pixels are too few to tell six parameters from chance")
    da, pull = STACKS[model]
    estimate = da.stack3d.estimate_transforms(model=model, **keywords)
    assert bool(estimate["valid"].all())
    assert corner_error(estimate, pull) < limit * (1 if model == "rigid" else 2)
    if model == "rigid" and keywords == {"method": "features"}:
        xr.testing.assert_equal(da.chunk(z=3).stack3d.estimate_transforms(model=model, **keywords), estimate)


@pytest.mark.peer
@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize("binning", [1, 2])
def test_stackreg_finds_the_matrices(model, binning):
    pytest.importorskip("pystackreg")
    da, pull = STACKS[model]
    estimate = da.isel(z=slice(0, 5)).stack3d.estimate_transforms(
        model=model, method="stackreg", lags=1, binning=binning
    )
    assert corner_error(estimate, pull[:5]) < 0.1 * binning


@pytest.mark.parametrize("method", ["phase", "features"])
def test_a_turn_of_pixels_that_are_not_square_is_a_turn_of_the_specimen(method):
    da, pull = stack_of("rigid", aspect=1.3, evolving=0.0)
    estimate = da.stack3d.estimate_transforms(model="rigid", method=method)
    assert corner_error(estimate, pull) < (0.04 if method == "phase" else 0.15)
    np.testing.assert_allclose(estimate["scale_y"], 1, atol=1e-9)
    np.testing.assert_allclose(estimate["shear"], 0, atol=1e-9)


def test_regularised_pairs_are_drawn_by_the_stated_share_however_large_the_frame():
    da, _ = STACKS["scale_shift"]
    plain = da.stack3d.estimate_transforms(model="affine", lags=1)["pair_transform"].values
    for method, few in (("phase", None), ("features", None), ("features", 2)):
        options = {"model": "regularized_affine", "method": method, "lags": 1, "binning": few, "regularization": 1.0}
        target = (1.02, 0.0, 0.0, 0.98)
        drawn = da.stack3d.estimate_transforms(**options, target=target)["pair_transform"].values
        expected = (plain[:, :2, :2] + np.reshape(target, (2, 2))) / 2
        np.testing.assert_allclose(drawn[:, :2, :2], expected, atol=1e-9 if method == "phase" else 4e-3)
    free = da.stack3d.estimate_transforms(model="regularized_affine", regularization=0.0, lags=1)
    np.testing.assert_allclose(free["pair_transform"].values, plain, atol=1e-12)
    held = da.stack3d.estimate_transforms(model="regularized_affine", regularization=1e9)
    np.testing.assert_allclose(held["transform"].values[:, :2, :2], np.tile(np.eye(2), (COUNT, 1, 1)), atol=1e-6)


@pytest.mark.parametrize("kind", ["blank", "noise", "nan"])
@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_a_bad_slice_is_bridged_by_an_even_way(model, kind):
    da, pull = STACKS[model]
    values = da.values.astype(np.float32)
    values[5] = {"blank": 0, "nan": np.nan, "noise": np.random.default_rng(0).normal(3e4, 5e3, SHAPE)}[kind]
    estimate = da.copy(data=values).stack3d.estimate_transforms(model=model)
    others = np.arange(COUNT) != 5
    np.testing.assert_array_equal(estimate["valid"], others)
    assert corner_error(estimate, pull, others) < 0.05
    found = estimate["transform"].values
    # Two half ways are the whole one.
    half = np.linalg.inv(found[4]) @ found[5]
    np.testing.assert_allclose(found[4] @ half @ half, found[6], atol=2e-3)
    if model == "rigid":
        np.testing.assert_allclose(estimate["scale"][5], 1, atol=1e-9)


@pytest.mark.parametrize("model", ["translation", "rigid"])
def test_noise_in_place_of_a_twentieth_of_the_slices_moves_no_other_by_a_tenth_of_a_pixel(model):
    pull = truth_of(model, count=20)
    values = frames_of(pull, evolving=0.02, noise=0.3)
    da = stack3d.from_array(values.astype(np.float32), pixel_size=1)
    clean = da.stack3d.estimate_transforms(model=model)
    spoilt, bad = values.copy(), [12]
    spoilt[bad] = np.random.default_rng(5).normal(3e4, 5e3, (1, *SHAPE))
    estimate = da.copy(data=spoilt.astype(np.float32)).stack3d.estimate_transforms(model=model)
    others = np.delete(np.arange(len(pull)), bad)
    np.testing.assert_array_equal(np.flatnonzero(~estimate["valid"]), bad)
    assert corner_error(estimate, clean["transform"].values, others) < 0.1


@pytest.mark.filterwarnings("ignore::stack3d.UntiedSliceWarning", "ignore::stack3d.SaturationWarning")
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 50, 60), np.uint8),
        ((2, 90, 50), np.uint16),
        ((3, 16, 16), np.uint32),
        ((3, 60, 44), np.float32),
        ((4, 5, 7), np.uint16),
        ((3, 1, 20), np.float32),
    ],
)
@pytest.mark.parametrize("content", ["blank", "saturated", "constant", "identical", "nan", "noise"])
def test_degenerate_stacks_give_the_identity_or_flags_in_every_model(content, shape, dtype):
    top = 255 if dtype == np.uint8 else 60000
    values = np.random.default_rng(0).uniform(0, top, shape).astype(dtype)
    if content in ("blank", "saturated", "constant"):
        values[:] = {"blank": 0, "saturated": np.iinfo(dtype).max if dtype != np.float32 else 1e38, "constant": 7}[
            content
        ]
    if content == "identical":
        values[:] = values[0]
    if content == "nan" and dtype == np.float32:
        values[:] = np.nan
    da = stack3d.from_array(values, pixel_size=1)
    for model, method in (("affine", "phase"), ("regularized_affine", "features"), ("rigid", "template")):
        estimate = da.stack3d.estimate_transforms(model=model, method=method)
        found = estimate["transform"].values
        still = np.abs(found - np.eye(3)).max(axis=(1, 2)) < 2e-3
        assert np.isfinite(found).all()
        assert (still | estimate["valid"].values).all()
        if content != "noise" and not (content == "nan" and dtype != np.float32):
            assert still.all()
    assert da.stack3d.apply_transforms(estimate=estimate, fill="reflect").shape == shape


def test_matrices_go_through_edits_crops_bins_labels_and_files(tmp_path):
    da, _ = STACKS["affine"]
    estimate = da.stack3d.estimate_transforms(model="affine")
    estimate.to_netcdf(tmp_path / "estimate.nc")
    with xr.open_dataset(tmp_path / "estimate.nc") as opened:
        xr.testing.assert_equal(opened.load(), estimate)
    table = transforms.from_csv(transforms.to_csv(estimate, tmp_path / "estimate.csv"))
    np.testing.assert_array_equal(table["transform"], estimate["transform"])
    back = transforms.compose(estimate, transforms.inverse(estimate))
    np.testing.assert_allclose(back["transform"], np.tile(np.eye(3), (COUNT, 1, 1)), atol=1e-9)
    slow, fast = transforms.smooth(estimate, "linear"), transforms.detrend(estimate, "linear")
    whole = slow["transform"].values + fast["transform"].values - np.eye(3)
    np.testing.assert_allclose(whole, estimate["transform"], atol=1e-9)
    limited = transforms.limit(estimate, rotation=0.3, action="bridge")
    assert float(abs(limited["rotation"][limited["valid"]]).max()) <= 0.3
    # The aligned stack is the texture, on any grid of the same place.
    options = {"estimate": estimate, "fill": "nan"}
    floats = da.astype(np.float32)
    for stack, cut in (
        (floats, {}),
        (floats.stack3d.crop(y=slice(30, 120), x=slice(20, 150), by="index"), {}),
        (floats.stack3d.bin(y=2, x=2), {}),
        (floats, {"canvas": "union"}),
        (floats, {"crop": "common"}),
    ):
        aligned = stack.stack3d.apply_transforms(**options, **cut)
        y, x = np.meshgrid(aligned["y"].values / 4, aligned["x"].values / 4, indexing="ij")
        expected = 30000 + 5000 * Waves(evolving=0.0).seen(x, y)
        left = (aligned.values - expected)[:, 4:-4, 4:-4]
        smear = 400 if stack.sizes["x"] == SHAPE[1] // 2 else 100  # a mean of 2 x 2 pixels is smoother
        assert np.sqrt(np.nanmean(left**2)) < smear
        if cut == {"crop": "common"}:
            assert np.isfinite(aligned.values).all()
    labels = (floats > 30000).astype(np.uint8) * 9
    assert set(np.unique(labels.stack3d.apply_transforms(estimate=estimate, order=0))) == {0, 9}
    both = xr.concat([floats, -floats], xr.Variable("channel", ["a", "b"]), coords="minimal", compat="override")
    moved = both.stack3d.register(model="affine", channel="a")
    np.testing.assert_array_equal(moved.sel(channel="b"), -moved.sel(channel="a"))


def bent(k, x, y, size=0.8):
    u, v = (x - CENTRE[0]) / SHAPE[1] * np.pi, (y - CENTRE[1]) / SHAPE[0] * np.pi
    return size * np.cos(0.9 * k) * np.sin(u) * np.cos(0.7 * v), size * np.sin(0.9 * k) * np.sin(v) * np.cos(0.6 * u)


def bent_stack(noise=0.3, dtype=np.float32):
    pull = truth_of("rigid")
    values = frames_of(pull, evolving=0.0, noise=noise, displaced=bent)
    return stack3d.from_array(values.astype(dtype), pixel_size=(20, 4, 4)), pull


def field_error(estimate, pull, *, blocks=True):
    """Error (z, n, [x, y]) of the raw places of points; slice 0 is where both begin."""
    frame = estimates.frame_of(estimate)
    field, found = field_of(estimate, frame), estimate["transform"].values
    y, x = np.mgrid[3 : SHAPE[0] - 3 : 8, 3 : SHAPE[1] - 3 : 8].astype(float)
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    origin = places + np.stack(bent(0, *places.T), axis=1)
    out = []
    for k in range(len(pull)):
        true = (places + np.stack(bent(k, *places.T), axis=1)) @ pull[k][:2, :2].T + pull[k][:2, 2]
        moved = origin + (field.at(k, origin) if blocks else 0)
        out.append(moved @ found[k][:2, :2].T + found[k][:2, 2] - true)
    return np.array(out)


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


BENT, BENT_PULL = bent_stack()


def test_blocks_find_local_displacements_and_one_warp_undoes_them():
    estimate = BENT.stack3d.estimate_transforms(model="rigid", blocks=(3, 3))
    assert bool(estimate["block_valid"].all())
    assert rms(field_error(estimate, BENT_PULL)) < 0.15
    assert rms(field_error(estimate, BENT_PULL, blocks=False)) > 0.35
    assert estimate["displacement_y"].dims == ("z", "block_y", "block_x")
    assert estimate["displacement_y"].attrs["units"] == "nm"
    assert float(estimate["block_x"][1]) == pytest.approx(4 * CENTRE[0])
    np.testing.assert_array_equal(estimate["displacement_x"][0], 0)
    clean, _ = bent_stack(noise=0.0)
    aligned = clean.stack3d.apply_transforms(estimate=estimate).values[:, 12:-12, 12:-12]
    stiff = clean.stack3d.apply_transforms(estimate=estimate.drop_vars(["displacement_y", "displacement_x"]))
    left = rms(aligned - aligned[:1])
    assert left < 0.4 * rms((stiff.values - stiff.values[:1])[:, 12:-12, 12:-12])


def test_blocks_fit_other_grids_files_and_every_way_of_applying(tmp_path):
    estimate = BENT.stack3d.estimate_transforms(model="rigid", blocks=(3, 2))
    estimate.to_netcdf(tmp_path / "estimate.nc")
    with xr.open_dataset(tmp_path / "estimate.nc") as opened:
        xr.testing.assert_equal(opened.load(), estimate)
    with pytest.raises(ValueError, match="to_netcdf"):
        transforms.to_csv(estimate, tmp_path / "estimate.csv")
    clean, _ = bent_stack(noise=0.0)
    whole = clean.stack3d.apply_transforms(estimate=estimate)
    part = clean.stack3d.crop(z=slice(2, 6), y=slice(20, 120), x=slice(10, 150), by="index")
    moved = part.stack3d.apply_transforms(estimate=estimate)
    np.testing.assert_allclose(moved.values[:, 10:-10, 10:-10], whole.values[2:6, 30:110, 20:140], rtol=1e-4)
    binned = clean.stack3d.bin(y=2, x=2).stack3d.apply_transforms(estimate=estimate)
    expected = whole.stack3d.bin(y=2, x=2)
    assert rms((binned.values - expected.values)[:, 6:-6, 6:-6]) < 0.03 * float(expected.std())
    union = clean.stack3d.apply_transforms(estimate=estimate, canvas="union", fill="nan")
    np.testing.assert_allclose(union.sel(y=whole.y[20:-20], x=whole.x[20:-20]), whole[:, 20:-20, 20:-20], rtol=1e-5)
    # Every raw pixel is on it, but for those that the displacement squeezes out.
    assert (np.isfinite(union.values).sum(axis=(1, 2)) > 0.98 * SHAPE[0] * SHAPE[1]).all()
    common = clean.stack3d.apply_transforms(estimate=estimate, crop="common", fill="nan")
    assert np.isfinite(common.values).all()
    assert common.sizes["x"] > SHAPE[1] - 30
    labels = (clean > 30000).astype(np.uint8) * 9
    assert set(np.unique(labels.stack3d.apply_transforms(estimate=estimate, order=0))) == {0, 9}
    with pytest.raises(ValueError, match="displacements of blocks"):
        clean.stack3d.register(blocks=(2, 2), integer=True)
    xr.testing.assert_equal(BENT.chunk(z=3).stack3d.estimate_transforms(model="rigid", blocks=(3, 2)), estimate)
    result = clean.chunk(z=3).stack3d.apply_transforms(estimate=estimate)
    assert result.chunks is not None
    np.testing.assert_array_equal(result.values, whole.values)
    np.testing.assert_array_equal(stack3d.replay(clean, whole), whole)
    masked = clean.assign_coords(mask=(("y", "x"), np.ones(SHAPE, bool))).stack3d.apply_transforms(estimate=estimate)
    assert 0.9 < float(masked["mask"].mean()) < 1


def raw_places(estimate, places, k):
    field, matrix = field_of(estimate, estimates.frame_of(estimate)), estimate["transform"].values[k]
    return (places + field.at(k, places)) @ matrix[:2, :2].T + matrix[:2, 2]


def test_edits_carry_the_displacements_of_blocks():
    rng = np.random.default_rng(0)
    estimate = BENT.stack3d.estimate_transforms(model="rigid", blocks=(3, 3))
    y, x = np.mgrid[20 : SHAPE[0] - 20 : 9, 20 : SHAPE[1] - 20 : 9].astype(float)
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    back = transforms.inverse(estimate)
    for k in (1, 6):
        assert np.abs(raw_places(back, raw_places(estimate, places, k), k) - places).max() < 0.1
    both = transforms.compose(estimate, back)
    assert float(abs(both["displacement_x"]).max()) < 0.2
    other = estimate.assign(
        {n: estimate[n] + rng.normal(0, 1, estimate[n].shape) for n in ("displacement_y", "displacement_x")}
    )
    twice = transforms.compose(estimate, other)
    for k in (1, 6):
        assert np.abs(raw_places(twice, places, k) - raw_places(estimate, raw_places(other, places, k), k)).max() < 0.2
    stiff = estimate.drop_vars(["displacement_y", "displacement_x", "block_valid", "block_y", "block_x"])
    after = transforms.compose(stiff, estimate)
    np.testing.assert_allclose(after["displacement_y"], estimate["displacement_y"])
    slow, fast = transforms.smooth(estimate, "linear"), transforms.detrend(estimate, "linear")
    np.testing.assert_allclose(slow["displacement_y"] + fast["displacement_y"], estimate["displacement_y"], atol=1e-9)
    shift_only = transforms.detrend(estimate, "linear", of="shift")
    np.testing.assert_array_equal(shift_only["displacement_y"], estimate["displacement_y"])
    mended = transforms.bridge(estimate, bad=[4])
    middle = (estimate["displacement_x"][3] + estimate["displacement_x"][5]).values / 2
    np.testing.assert_allclose(mended["displacement_x"][4], middle, atol=1e-9)


def test_a_block_without_structure_and_a_bad_slice_follow_the_others():
    values = BENT.values.copy()
    values[:, :88, :98] = 30000
    values[4] = 0
    estimate = BENT.copy(data=values).stack3d.estimate_transforms(model="rigid", blocks=(3, 3))
    assert not bool(estimate["block_valid"][:, 0, 0].any())
    assert not bool(estimate["block_valid"][4].any())
    assert bool(estimate["block_valid"][[1, 2, 3, 5], 2].all())
    assert float(abs(estimate["displacement_y"]).max()) < 4 * 4
    middle = (estimate["displacement_x"][3] + estimate["displacement_x"][5]).values[2, 2] / 2
    np.testing.assert_allclose(estimate["displacement_x"][4, 2, 2], middle, atol=1e-6)


def test_a_model_is_replayed_and_does_not_depend_on_chunks():
    da, _ = STACKS["rigid"]
    result = da.stack3d.register(model="rigid", crop="common")
    np.testing.assert_array_equal(stack3d.replay(da, result), result)
    np.testing.assert_array_equal(da.chunk(z=4).stack3d.register(model="rigid", crop="common"), result)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model": "affine", "stripes": 20.0}, "stripes=20.0.*model='translation'"),
        ({"regularization": 0.1}, "regularization=0.1.*regularized_affine"),
        ({"model": "regularized_affine", "regularization": -1}, "regularization=-1"),
        ({"model": "regularized_affine", "target": (1, 0, 0)}, r"target=\(1, 0, 0\)"),
        ({"model": "regularized_affine", "target": (1, 0, 0, -1)}, "fold"),
        ({"model": "x_scale_shift", "method": "stackreg"}, "method='stackreg' does not measure model='x_scale_shift'"),
        ({"model": "regularized_affine", "method": "stackreg"}, "does not measure"),
        ({"blocks": 3}, "blocks=3"),
        ({"blocks": (0, 2)}, r"blocks=\(0, 2\)"),
        ({"blocks": (2, 40)}, "at least 24"),
        ({"model": "rigid", "integer": True}, "integer=True needs pure translations"),
    ],
)
def test_what_a_model_cannot_do_is_said(keywords, message):
    with pytest.raises(ValueError, match=message):
        STACKS["rigid"][0].stack3d.register(**keywords)


@pytest.mark.peer
def test_stackreg_refuses_to_turn_pixels_that_are_not_square():
    pytest.importorskip("pystackreg")
    da, _ = stack_of("rigid", aspect=1.3)
    with pytest.raises(ValueError, match=r"1\.3 times as high as wide"):
        da.stack3d.register(model="rigid", method="stackreg")
