"""Backgrounds and shading against the polynomials they were made with."""

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import kernels
from stack3d.operations import _terms

SIZES = (9, 96, 120)


def texture(shape=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    return 10000 + 400 * rng.standard_normal(shape)


def positions(shape=SIZES):
    return [np.linspace(0, 1, n).reshape([-1 if k == d else 1 for d in range(3)]) for k, n in enumerate(shape)]


def stack_of(values, dtype="float32"):
    if np.dtype(dtype).kind in "ui":
        values = np.rint(values)
    return stack3d.from_array(values.astype(dtype), pixel_size=(20, 5, 5))


def surface(shape=SIZES):
    z, y, x = positions(shape)
    return 3000 * x - 2000 * y + 1500 * x**2 + 2500 * z + 800 * x * y + 0 * z


def with_pores(values, share=0.1, seed=1):
    rng = np.random.default_rng(seed)
    out = values.copy()
    for _ in range(round(share * values.shape[0] * 40)):
        k, i, j = (rng.integers(0, n) for n in values.shape)
        out[k, i : i + 12, j : j + 12] = 0
    return out


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("weights", ["huber", "hampel", "tukey"])
def test_coefficients_come_back_in_spite_of_pores_and_saturation(weights, dtype):
    shape = (12, 192, 240)
    values = with_pores(10000 + (texture(shape) - 10000) / 2 + surface(shape), 0.5)  # 6 % of the pixels
    values[:, :10, :10] = 60000
    background = stack_of(values, dtype).stack3d.estimate_background(weights=weights, low=1000, high=40000)
    found = dict(zip(background["term"].values, background["coefficient"].values, strict=True))
    for term, true in {"x": 3000, "y": -2000, "x**2": 1500, "z": 2500, "x*y": 800}.items():
        assert found[term] == pytest.approx(true, rel=0.01), term
    for term in ("y**2", "z**2", "x*z", "y*z"):
        assert found[term] == pytest.approx(0, abs=8), term  # a hundredth of the least of the others


@pytest.mark.parametrize("spoilt", [False, True])
def test_residuals_and_the_share_explained_are_those_of_the_noise_in_cells(spoilt):
    # 32 x 32 cells in each of 9 slices, whose means have the noise of their pixels.
    values = with_pores(texture() + surface()) if spoilt else texture() + surface()
    cells, pixels = 32 * 32 * SIZES[0], (values > 1000).sum()
    background = stack_of(values).stack3d.estimate_background(weights="none", low=1000)
    rmse = 400 * np.sqrt((cells - 10) / pixels)
    assert float(background["rmse"]) == pytest.approx(rmse, rel=0.03)  # four standard errors
    assert 1 - float(background["r_squared"]) == pytest.approx(rmse**2 / (surface().var() + rmse**2), rel=0.07)
    bare = stack_of(10000 + surface(), "float64").stack3d.estimate_background(weights="none")
    assert float(bare["r_squared"]) == pytest.approx(1, abs=1e-9)
    assert float(bare["rmse"]) < 0.5  # the square of x within a cell, 3.75 pixels wide


def test_robust_weights_do_without_thresholds():
    values = texture() + surface()
    values[:, 20:32, 30:60] = 0  # whole cells, a twentieth of the frame
    good = np.ones(SIZES, bool)
    good[:, 20:32, 30:60] = False
    truth = texture() + surface().mean()

    def error(weights):
        found = stack_of(values).stack3d.remove_background(weights=weights, regress_content=False).values - truth
        return np.std(found[good])

    assert error("tukey") < 60
    assert error("none") > 3 * error("tukey")


def test_every_nth_voxel_is_weighed_by_itself_however_many_slices_there_are():
    rng = np.random.default_rng(4)
    values = np.where(rng.random((90, 24, 30)) < 0.2, 3000.0, 8000 + 300 * rng.standard_normal((90, 24, 30)))
    da = stack3d.from_array(values, pixel_size=(5, 5), z=5.0 * np.arange(90))
    found = da.stack3d.estimate_background(terms="1 + x + y*z", subsample=2)["coefficient"].values
    z, y, x = (np.arange(size) / (size - 1) for size in values.shape)
    grid = np.meshgrid(z[::2], y[::2], x[::2], indexing="ij")
    terms = np.stack([np.ones(grid[0].size), grid[2].ravel(), (grid[0] * grid[1]).ravel()], axis=1)
    sampled = values[::2, ::2, ::2].ravel()
    wanted = kernels.fit.robust(terms, sampled, np.ones_like(sampled)).coefficients
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("chunks", [None, {"z": 2}])
def test_the_mean_stays_and_the_slope_goes(chunks):
    da = stack_of(texture() + surface(), "uint16")
    even = (da if chunks is None else da.chunk(chunks)).stack3d.remove_background()
    assert even.dtype == "uint16"
    assert float(even.mean()) == pytest.approx(float(da.mean()), abs=1)
    residual = even.values - texture() - surface().mean()
    assert np.sqrt(np.mean(residual**2)) < 40  # the noise alone allows 400 / sqrt(cells)


def test_each_slice_may_have_its_own_surface():
    values = texture()
    slopes = np.linspace(-3000, 3000, SIZES[0])[:, None, None]
    values = values + slopes * positions()[2]
    even = stack_of(values).stack3d.remove_background(per="slice", degree=1)
    residual = even.values - texture()
    assert np.std(residual - residual.mean(axis=(1, 2), keepdims=True)) < 60
    assert even.sizes == stack_of(values).sizes


def test_a_multiplied_surface_is_divided_out():
    field = 1 + 0.3 * positions()[1] - 0.2 * positions()[2] ** 2
    even = stack_of(texture() * field).stack3d.remove_background(operation="divide")
    assert np.std(even.values / texture() / (even.values / texture()).mean()) < 0.01


def test_vignetting_is_recovered_around_the_dark_count_within_a_percent():
    y, x = positions()[1] - 0.5, positions()[2] - 0.5
    field = 1 - 0.5 * (y**2 + x**2)
    dark = 2000.0
    da = stack_of(with_pores((texture() - dark) * field, 0.05) + dark)
    shading = da.stack3d.estimate_shading(dark=dark, low=4000)
    from stack3d.operations import _surface_grid

    matrix, rows, cols = _surface_grid.matrices(shading, da, divide=True)
    found = kernels.surface.polynomial(rows, cols, matrix.values)
    np.testing.assert_allclose(found / found.mean(), (field / field.mean())[0], rtol=0.01)
    even = da.stack3d.flatten(estimate=shading)
    material = even.values[da.values > 4000]
    assert material.mean() == pytest.approx(dark + 8000 * field.mean(), rel=0.01)


def test_each_colour_has_its_own_shading():
    y, x = positions()[1], positions()[2]
    fields = [1 - 0.3 * x, 1 - 0.4 * y**2, np.ones_like(x)]
    colours = [stack_of((0.5 + 0.25 * k) * texture() * field) for k, field in enumerate(fields)]
    colour = xr.concat(colours, xr.DataArray(["red", "green", "blue"], dims="channel"))
    shading = colour.stack3d.estimate_shading()
    assert shading["coefficient"].dims == ("channel", "term")
    even = colour.stack3d.flatten(estimate=shading)
    grain = texture() / texture().mean()
    for k, field in enumerate(fields):
        ratio = even.values[k] / grain / ((0.5 + 0.25 * k) * texture().mean() * field.mean())
        np.testing.assert_allclose(ratio.mean(axis=0), 1, atol=0.01)
        # And as grey: by itself each channel gives the same.
        xr.testing.assert_allclose(even[k].drop_vars("channel"), colours[k].stack3d.flatten(), rtol=1e-5)


def test_an_estimate_serves_another_channel_and_each_channel_its_own():
    grain = texture()
    first, second = stack_of(grain + surface()), stack_of(0.5 * grain + surface() + 7000)
    both = xr.concat([first, second], xr.DataArray(["SE", "BSE"], dims="channel"))
    background = both.sel(channel="SE").stack3d.estimate_background()
    xr.testing.assert_equal(background["coefficient"], first.stack3d.estimate_background()["coefficient"])
    # Found where the noise is 400, taken out where it is 200: what is left there is that noise, at its own level.
    even = both.sel(channel="BSE").stack3d.remove_background(estimate=background)
    np.testing.assert_allclose(even, second.stack3d.remove_background(estimate=background), rtol=1e-6)
    left = even.values - 0.5 * grain
    assert left.std() < 0.02 * surface().std()
    assert left.mean() == pytest.approx(7000 + surface().mean(), abs=10)
    assert (second.values - 0.5 * grain).std() == pytest.approx(surface().std(), rel=0.01)
    own = both.stack3d.estimate_background()
    np.testing.assert_array_equal(
        both.stack3d.remove_background(estimate=own).sel(channel="BSE"), second.stack3d.remove_background()
    )


def test_an_estimate_serves_a_crop_and_a_binned_stack():
    values = texture() + surface()
    da = stack_of(values)
    background = da.stack3d.estimate_background()
    whole = da.stack3d.remove_background(estimate=background)
    part = da.stack3d.crop(y=slice(20, 70), x=slice(10, 90), z=slice(2, 7), by="index")
    np.testing.assert_allclose(
        part.stack3d.remove_background(estimate=background),
        whole.stack3d.crop(y=slice(20, 70), x=slice(10, 90), z=slice(2, 7), by="index"),
        rtol=1e-6,
    )
    binned = da.stack3d.bin(y=2, x=2)
    np.testing.assert_allclose(
        binned.stack3d.remove_background(estimate=background), whole.stack3d.bin(y=2, x=2), atol=0.1
    )


def test_true_positions_along_z_count_not_slice_numbers():
    z = np.array([0.0, 1, 2, 3, 20, 21, 22, 23, 24]) * 10
    slope = z[:, None, None] * 20.0
    da = stack3d.from_array((texture() + slope).astype("float32"), pixel_size=(5, 5), z=z)
    background = da.stack3d.estimate_background(terms="z", weights="none")
    assert float(background["coefficient"].sel(term="z")) == pytest.approx(20 * 240, rel=0.02)


@pytest.mark.parametrize(("structures", "sign"), [("bright", 1), ("dark", -1)])
def test_the_envelope_ignores_structures_on_one_side(structures, sign):
    values = 10000 + 2000 * positions()[2] + 0 * positions()[1] + 0 * positions()[0]
    blobs = np.zeros(SIZES)
    rng = np.random.default_rng(0)
    for _ in range(30):
        i, j = rng.integers(0, 90), rng.integers(0, 110)
        blobs[:, i : i + 4, j : j + 4] = sign * 4000
    da = stack_of(values + blobs)
    even = da.stack3d.remove_background(method="morphological", size="40 px", structures=structures)
    bare = even.values[blobs == 0]
    assert np.std(bare) < 0.5 * np.std((values + 0 * blobs)[blobs == 0])


def test_what_a_gaussian_sees_is_gone():
    da = stack_of(texture() + 3000 * np.sin(3 * positions()[2]) + 0 * positions()[1])
    even = da.stack3d.remove_background(method="gaussian", size="20 px", per="slice")
    columns = even.values.mean(axis=(0, 1))[20:-20]  # at the ends it sees one side only
    assert np.ptp(columns) < 0.2 * np.ptp(da.values.mean(axis=(0, 1)))


def test_slices_that_cannot_be_fitted_stay_as_they_are():
    values = texture()
    values[3] = 0
    with pytest.warns(stack3d.BlankSliceWarning, match="1 slice could not be fitted and is left as before"):
        even = stack_of(values).stack3d.remove_background(per="slice", low=1000)
    np.testing.assert_array_equal(even[3], 0)


def test_masked_and_missing_pixels_have_no_say():
    values = texture() + surface()
    spoiled = values.copy()
    spoiled[:, :, :20] = np.nan
    spoiled[:, :30] = 90000
    mask = np.ones(SIZES, bool)
    mask[:, :30] = False
    da = stack_of(spoiled).assign_coords(mask=(("z", "y", "x"), mask))
    even = da.stack3d.remove_background(degree=1)
    good = even.values[:, 30:, 20:] - texture()[:, 30:, 20:]
    assert np.std(good) < 250  # what is left is of second degree
    assert np.isnan(even.values[:, 30:, :20]).all()


def test_the_reference_row_of_a_known_polynomial_is_met():
    # hifiem's polynomial of a volume of 11260 x 9000 x 13750 voxels, at one place of it
    table = {
        (3, 0, 0): 2964.4, (2, 1, 0): 1796.4, (2, 0, 1): 1482.9, (2, 0, 0): -11418.5, (1, 2, 0): -391.6, (1, 1, 1): -336.8,
        (1, 1, 0): -2806.8, (1, 0, 2): 632.9, (1, 0, 1): -1925.9, (1, 0, 0): 9996.1, (0, 3, 0): -6665.6, (0, 2, 1): 1735.8,
        (0, 2, 0): 1412.8, (0, 1, 2): 265.1, (0, 1, 1): -669.4, (0, 1, 0): 2776.8, (0, 0, 3): 12795.6, (0, 0, 2): -26968.1,
        (0, 0, 1): 14260.1, (0, 0, 0): 30800.5,
    }  # fmt: skip
    import dask.array

    y, x = np.mgrid[0:96, 0:80]
    frame = 20000 + 1500 * np.sin(0.21 * x + 0.05 * y) + 300 * ((7 * x + 13 * y) % 11)
    frame = frame + 800 * ((x == 40) & (y > 10)) + 400 * (x % 17 == 3)
    whole = stack3d.from_array(
        dask.array.zeros((11260, 9000, 13750), chunks=(1, 9000, 13750), dtype="float32"), pixel_size=1
    )
    powers = _terms.powers(None, 3, True, ("z", "y", "x"))
    coefficients = [table[tuple(row[::-1])] for row in powers]
    background = whole.stack3d.estimate_background(degree=3, coefficients=coefficients)
    part = whole[5600:5601, 4000:4096, 7000:7080].copy(data=(frame - 20285.3242)[None].astype("float32"))
    found = part.stack3d.remove_background(estimate=background, keep="constant").values[0]
    points = [found[0, 0], found[30, 3], found[48, 40], found[60, 41], found[95, 79]]
    # The coefficients are printed to a tenth.
    np.testing.assert_allclose(points, [-5059.09, -2185.358, -5126.907, -6280.185, -2342.327], atol=1.0)
    assert found.mean() == pytest.approx(-3562.538, abs=1.0)
    assert found.std() == pytest.approx(1428.409, abs=0.1)


def test_terms_are_read_as_written():
    found = [_terms.name(row) for row in _terms.powers("x + y*x**2 + z^2 + x*x", 2, True, ("z", "y", "x"))]
    assert sorted(found) == ["1", "x", "x**2", "x**2*y", "z**2"]
    assert len(_terms.powers(None, {"z": 1, "y": 2, "x": 1}, True, ("z", "y", "x"))) == 12
    assert len(_terms.powers(None, {"z": 1, "y": 2, "x": 1}, False, ("z", "y", "x"))) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"terms": "1 + sin(x)"}, "is not a product of powers"),
        ({"terms": "x - y"}, "is not a product of powers"),
        ({"terms": "z", "per": "slice"}, "needs 'z'"),
        ({"degree": -1}, "degree=-1"),
        ({"degree": {"q": 1}}, "'q' is not among the axes"),
        ({"low": 5, "high": 2}, "low=5 must be below"),
        ({"weights": "andrew"}, "weights='andrew'"),
        ({"method": "spline"}, "method='spline'"),
        ({"method": "gaussian", "terms": "x"}, "terms has a meaning only"),
        ({"size": 3}, "size has a meaning only"),
        ({"subsample": 0}, "subsample=0"),
        ({"coefficients": [1, 2]}, "must be 10 numbers"),
        ({"terms": "1 + x", "degree": 1}, "degree=1 has no meaning where terms='1 \\+ x'"),
        ({"terms": "1", "cross": False}, "cross=False has no meaning where terms='1'"),
        ({"operation": "multiply"}, "operation='multiply'"),
        ({"keep": "all"}, "keep='all'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        stack_of(texture((3, 16, 16))).stack3d.remove_background(**arguments)


@pytest.mark.parametrize("axis", ["y", "x"])
@pytest.mark.parametrize("name", ["remove_background", "flatten"])
@pytest.mark.parametrize("given", [{}, {"degree": 1}, {"per": "slice"}])
def test_frames_one_pixel_wide_keep_their_level_and_lose_their_slope(axis, name, given):
    other = "x" if axis == "y" else "y"
    line = stack_of(np.ones((3, 64, 64)) * np.linspace(100, 200, 64), "float64").isel(y=slice(0, 1))
    da = line if axis == "y" else line.rename(y="x", x="y").transpose("z", "y", "x")
    even = getattr(da.stack3d, name)(**given)
    assert da.sizes[axis] == 1
    np.testing.assert_allclose(even.mean(other), 150, rtol=0.02)
    assert float(even.std(other).max()) < 1e-3


def test_a_part_of_the_frame_that_does_not_tell_the_surface_is_refused():
    da = stack_of(100 + 10 * texture())
    for rows, degree in ((1, 1), (2, 2), (6, 2)):
        with pytest.raises(ValueError, match=r"of the frame along y .* does not tell the terms y"):
            da.stack3d.remove_background(degree=degree, region={"y": slice(0, rows), "by": "index"})
    few = {"y": slice(0, 2), "by": "index"}
    whole = da.stack3d.estimate_background(degree={"x": 1, "z": 1})
    part = da.stack3d.estimate_background(degree={"x": 1, "z": 1}, region=few)
    assert float(np.abs(part["level"] - whole["level"])) < 400  # four standard errors


@pytest.mark.parametrize(
    "arguments", [{}, {"per": "slice"}, {"subsample": 2}, {"method": "gaussian"}, {"method": "morphological"}], ids=str
)
def test_grey_values_that_no_pixel_has_are_refused(arguments):
    da = stack_of(texture((4, 32, 32)), "uint16")
    for limits in ({"low": 65534}, {"high": 3.0}, {"low": 60000, "high": 65534}):
        said = ", ".join(f"{name}={value}" for name, value in limits.items())
        with pytest.raises(ValueError, match=f"{said}: no measured pixel lies there, so that there is nothing to fit"):
            da.stack3d.estimate_background(**limits, **arguments)
    if not arguments:
        with pytest.raises(ValueError, match="low=65534: no measured pixel"):
            da.stack3d.flatten(low=65534)
        two = xr.concat([da, da * 2], "channel")
        with pytest.raises(ValueError, match="low=15000: no measured pixel lies there in 1 of 2 channels"):
            two.stack3d.estimate_background(low=15000)


def test_a_mask_given_as_region_is_told_its_place_in_few_words():
    da = stack_of(texture((4, 32, 32)))
    for mask in (da > 10000, (da > 10000).values):
        with pytest.raises(ValueError, match=r"assign_coords\(mask=") as error:
            da.stack3d.estimate_background(region=mask)
        assert "must be a dict" in str(error.value)
        assert len(str(error.value)) < 260
    where = (da > 9000).values
    np.testing.assert_array_equal(
        da.assign_coords(mask=(da.dims, where)).stack3d.estimate_background()["coefficient"],
        da.where(where).stack3d.estimate_background()["coefficient"],
    )


def test_slices_of_which_too_little_is_measured_stay_as_they_are():
    da = stack_of(100 + 10 * texture())
    mask = np.ones(da.shape, bool)
    mask[1, 2:] = False
    da = da.assign_coords(mask=(da.dims, mask))
    with pytest.warns(stack3d.BlankSliceWarning, match="1 slice could not be fitted"):
        even = da.stack3d.remove_background(per="slice", degree=1)
    np.testing.assert_array_equal(even.values[1], da.values[1])


def test_half_of_the_frame_tells_a_parabola_for_all_of_it():
    y = positions()[1]
    da = stack_of(100 + 40 * y**2 + 0 * texture(), "float64")
    even = da.stack3d.remove_background(region={"y": slice(0, SIZES[1] // 2), "by": "index"}, regress_content=False)
    assert float(even.std()) < 0.01


def test_cross_is_yes_or_no():
    with pytest.raises(TypeError, match="cross=3 must be True or False"):
        stack_of(texture((3, 16, 16))).stack3d.remove_background(cross=3)


def test_a_dark_count_above_the_grey_values_is_named():
    da = stack_of(100 + 0.01 * texture((3, 32, 32)))
    with pytest.raises(ValueError, match=r"dark=500 must be below the grey values, whose mean is 199.9"):
        da.stack3d.flatten(dark=500)
    tilted = da * np.linspace(0.2, 2, 32)
    with pytest.raises(ValueError, match=r"dark=150: the field falls to .* and must be above dark everywhere"):
        tilted.stack3d.flatten(dark=150, degree=1)


@pytest.mark.parametrize(
    "divided",
    [
        lambda s: s.stack3d.flatten(dark=0, per="slice"),
        lambda s: s.stack3d.remove_background(operation="divide", per="slice"),
        lambda s: s.stack3d.remove_background(operation="divide", per="slice", method="gaussian"),
    ],
)
def test_a_blank_slice_stays_as_it_is_and_the_others_are_divided_by_their_own_surface(divided):
    da = stack_of(texture() + surface())
    spoilt = da.copy(deep=True)
    spoilt[4] = 0
    with pytest.warns(stack3d.BlankSliceWarning, match=r"1 slice .* left as before \(the first is z 4\)"):
        found = divided(spoilt)
    others = np.arange(da.sizes["z"]) != 4
    np.testing.assert_array_equal(found[4], spoilt[4])
    np.testing.assert_array_equal(found[others], divided(da)[others])
    np.testing.assert_array_equal(found[others], divided(spoilt.assign_coords(valid=("z", others)))[others])
    with pytest.raises(ValueError, match=r"falls to 0|below the grey values"):
        divided(spoilt * 0)


def test_only_a_positive_surface_can_be_divided_by():
    with pytest.raises(ValueError, match="only a positive one"):
        stack_of(texture() - 10000 + surface()).stack3d.remove_background(operation="divide")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize("kind", ["polynomial", "grid"])
def test_the_compiled_kernel_gives_what_the_array_form_gives(dtype, divide, kind):
    rng = np.random.default_rng(0)
    frame = rng.uniform(20, 120, (37, 41)).astype(dtype)
    rows, cols = (
        (np.linspace(0, 1, 37), np.linspace(0, 1, 41))
        if kind == "polynomial"
        else (np.linspace(-1, 5, 37), np.linspace(0, 6, 41))
    )
    values = np.array([[50.0, 9, 3], [7, 2, 0]]) if kind == "polynomial" else rng.uniform(40, 60, (5, 7))
    arguments = {"kind": kind, "divide": divide, "dark": 4.0}
    fast, cut = kernels.surface.take_out(frame, rows, cols, values, 52.0, dtype, **arguments)
    plain, cut_too = kernels.surface.take_out_xp(frame, rows, cols, values, 52.0, dtype, **arguments)
    assert cut == cut_too
    assert np.abs(fast.astype(float) - plain.astype(float)).max() <= (1 if dtype != "float32" else 1e-4)
    assert np.mean(fast != plain) < 0.02 or dtype == "float32"


def test_cell_means_of_both_forms_agree():
    rng = np.random.default_rng(0)
    frame = rng.uniform(0, 100, (37, 41))
    frame[3, 4] = np.nan
    rows, cols = kernels.cells.edges(37, 5), kernels.cells.edges(41, 60)
    assert len(cols) == 42
    fast = kernels.cells.means(frame, rows, cols, 10, 90)
    plain = kernels.cells.means_xp(frame, rows, cols, 10, 90)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b)


def blotched(mean_darkness=0.3, seed=3):
    """Return grains of 4000 less on 10000, the more of them the darker a part of the specimen."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    density = ndimage.gaussian_filter(rng.standard_normal((12, 100, 120)), (1, 14, 14))
    density = mean_darkness + 0.12 * density / density.std()
    return 10000 - 4000.0 * (rng.random(density.shape) < density) + 100 * rng.standard_normal(density.shape)


def slope_like(values):
    return (2500 * positions(values.shape)[2] - 1500 * positions(values.shape)[1] ** 2 + 0 * values).astype("float64")


def test_what_the_specimen_holds_is_told_from_what_was_added():
    truth = blotched()
    added = slope_like(truth)
    da = stack_of(truth + added)

    def error(**how):
        taken = da.values - da.stack3d.remove_background(terms="x + y + x*y + y**2", **how).values
        return np.std(taken - added)

    assert error() < 0.35 * error(regress_content=False)
    assert float(da.stack3d.estimate_background()["content_share"]) > 0.9


@pytest.mark.parametrize("unit", [1e-15, 1e12])
def test_content_shows_whatever_the_unit_of_grey_values(unit):
    values = blotched() + slope_like(blotched())
    one, other = (stack_of(values * u, "float64").stack3d.estimate_background() for u in (1.0, unit))
    assert float(one["content_share"]) > 0.9
    assert float(other["content_share"]) == pytest.approx(float(one["content_share"]), abs=1e-6)
    # Of coefficients up to 10,000, in the original unit.
    np.testing.assert_allclose(other["coefficient"] / unit, one["coefficient"], atol=0.01)


def test_what_the_specimen_holds_is_told_from_shading():
    truth = blotched()
    field = 1 - 0.25 * positions(truth.shape)[2] ** 2 + 0.1 * positions(truth.shape)[1]
    da = stack_of(truth * field)

    def error(**how):
        found = da.stack3d.flatten(**how).values / truth
        return np.std(found / found.mean())

    assert error() < 0.35 * error(regress_content=False)


def test_where_content_does_not_show_nothing_is_regressed():
    da = stack_of(texture() + surface())
    with_it, without = (da.stack3d.estimate_background(regress_content=on) for on in (True, False))
    assert float(with_it["content_share"]) == 0
    xr.testing.assert_equal(with_it["coefficient"], without["coefficient"])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_cell_moments_are_those_of_their_definition(dtype):
    rng = np.random.default_rng(0)
    frame = (30000 + 50 * rng.gamma(2, 1, (37, 41))).astype(dtype)
    if dtype == "float32":
        frame[3, 4] = np.nan
    rows, cols = kernels.cells.edges(37, 5), kernels.cells.edges(41, 6)
    fast = kernels.cells.moments(frame, rows, cols, 29000, 30300)
    plain = kernels.cells.moments_xp(frame, rows, cols, 29000, 30300)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_estimates_are_saved_and_read(tmp_path):
    da = stack_of(texture() + surface())
    background = da.stack3d.estimate_background()
    background.to_netcdf(tmp_path / "background.nc")
    with xr.open_dataset(tmp_path / "background.nc") as found:
        xr.testing.assert_equal(da.stack3d.remove_background(estimate=found.load()), da.stack3d.remove_background())
