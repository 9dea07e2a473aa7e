"""Recipes: read, written, checked as a whole, and the same as the record they leave."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stack3d
from stack3d import Recipe
from stack3d._provenance import dear_steps
from stack3d.cli import main
from stack3d.runs import Step

STEPS = [
    ("crop", {"y": slice(2, 60), "by": "index"}),
    "match_histograms",
    ("register", {"band": (0.01, None), "crop": "common", "region": {"x": slice(1, 60), "by": "index"}}),
    ("resample", {"dz": "10 nm"}),
]
FILE = """\
# how we clean lamellae
format = 1

[input]
path = "slices"          # from the microscope
pixel_size = "5 nm"

[[step]]
operation = "crop"       # the region of interest
y = [2, 20]
by = "index"

[[step]]
operation = "rescale_intensity"
quantiles = [0.01, 0.99]
checkpoint = true
"""


@pytest.fixture
def da():
    return stack3d.synthetic.make_stack((6, 64, 64), defects={"drift": True, "gain": True}).stack


def test_a_recipe_leaves_the_record_that_gives_it_back(da):
    recipe = Recipe(STEPS)
    assert Recipe.from_provenance(recipe.apply(da)) == recipe
    assert Recipe.from_text(recipe.to_text()) == recipe


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False),
    st.text("abc µ\"'\n#[]=", max_size=8),
    st.builds(slice, st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.just(20), st.just("20 nm"))),
    st.lists(st.one_of(st.none(), st.floats(-5, 5)), max_size=3),
    st.dictionaries(st.sampled_from(["y", "x"]), st.builds(slice, st.integers(0, 9), st.integers(10, 20)), min_size=1),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.sampled_from(["y", "region", "limits", "by"]), values), min_size=1, max_size=4))
def test_any_parameters_come_back_from_a_file(steps):
    recipe = Recipe([("crop", parameters) for parameters in steps])
    assert Recipe.from_text(recipe.to_text()) == recipe


def test_arrays_and_estimates_travel_in_the_file(da, tmp_path):
    mask = np.random.default_rng(0).random((64, 64)) > 0.5
    shifts = da.stack3d.estimate_transforms()
    recipe = Recipe([("register", {"mask": mask}), ("apply_transforms", {"estimate": shifts})])
    read = Recipe.from_file(recipe.save(tmp_path / "recipe.toml"))
    np.testing.assert_array_equal(read.steps[0].parameters["mask"], mask)
    xr.testing.assert_identical(read.steps[1].parameters["estimate"], shifts)
    assert read == recipe


def test_an_estimate_may_be_a_file_beside_the_recipe(da, tmp_path):
    shifts = da.stack3d.estimate_transforms()
    shifts.to_netcdf(tmp_path / "shifts.nc")
    (tmp_path / "recipe.toml").write_text('[[step]]\noperation = "register"\nestimate = "shifts.nc"\n')
    result = Recipe.from_file(tmp_path / "recipe.toml").apply(da)
    xr.testing.assert_equal(result, da.stack3d.register(estimate=shifts))


def test_comments_stay_when_parameters_change():
    recipe = Recipe.from_text(FILE)
    assert recipe.to_text() == FILE
    assert recipe.input == {"path": "slices", "pixel_size": "5 nm"}
    assert recipe.steps[1] == Step("rescale_intensity", {"quantiles": (0.01, 0.99)}, checkpoint=True)
    recipe.steps[0] = Step("crop", {"y": slice(4, 20), "by": "index"})
    recipe.steps.append(Step("invert"))
    text = recipe.to_text()
    assert Recipe.from_text(text) == recipe
    for comment in ("# how we clean lamellae", "# from the microscope", "# the region of interest"):
        assert comment in text


def test_every_problem_is_listed_at_once_with_its_line(da):
    recipe = Recipe.from_text(
        '[[step]]\noperation = "crop"\ny = [0, 500]\nby = "index"\n\n[[step]]\noperation = "registr"\n\n'
        '[[step]]\noperation = "register"\nmodl = "rigid"\ncrop = "comon"\n\n[[step]]\noperation = "resample"\n'
        'dz = "10 bananas"\n\n[[step]]\noperation = "apply_transforms"\n'
    )
    with pytest.raises(stack3d.RecipeError) as error:
        recipe.check(da)
    found = dict(line.removeprefix("recipe, line ").split(": ", 1) for line in error.value.problems)
    assert sorted(found) == ["11", "12", "16", "18", "3", "7"]
    assert "'register'" in found["7"]
    assert "'model'" in found["11"]
    assert "crop='comon'" in found["12"]


def test_what_is_not_a_recipe_is_refused_by_line():
    with pytest.raises(stack3d.RecipeError, match=r"line 2: not TOML"):
        Recipe.from_text('[[step]]\noperation = = "crop"\n')
    with pytest.raises(stack3d.RecipeError) as error:
        Recipe.from_text('format = 9\nsteps = 3\n[[step]]\ny = 1\n[[step]]\noperation = "crop"\ncheckpoint = 1\n')
    lines = [line.split(":")[0] for line in error.value.problems]
    assert lines == ["recipe, line 1", "recipe, line 2", "recipe, line 3", "recipe, line 7"]


def test_checking_reads_no_frame(da):
    import dask.array

    def fail(block):
        raise AssertionError("a frame was read")

    lazy = da.copy(data=dask.array.zeros(da.shape, dtype=da.dtype, chunks=(1, 64, 64)).map_blocks(fail, dtype=da.dtype))
    assert Recipe(STEPS).problems(lazy) == []
    assert len(Recipe([("register", {"lags": 0})]).problems(lazy)) == 1


def test_a_stack_without_a_record_has_no_recipe(da):
    with pytest.raises(ValueError, match="no provenance"):
        Recipe.from_provenance(da)


def test_only_uncached_lazy_steps_are_dear(da):
    striped = da.chunk(z=1).stack3d.destripe()
    assert dear_steps(striped.stack3d.invert()) == ["destripe"]
    assert dear_steps(da.chunk(z=1).stack3d.invert()) == dear_steps(striped.load()) == []


def test_a_step_that_lacks_what_it_needs_has_its_other_parameters_checked_too(da):
    recipe = Recipe([("apply_transforms", {"order": 17, "crop": "nothing"}), ("astype", {}), ("bin", {"y": 0})])
    with pytest.raises(stack3d.RecipeError) as raised:
        recipe.check(da)
    lines = raised.value.problems
    wanted = ["'estimate' is needed", "order=17", "crop='nothing'", "'dtype' is needed", "step 3"]
    assert len(lines) == len(wanted)
    assert all(word in line for word, line in zip(wanted, lines, strict=True))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('format = 1\n[[step]]\noperation = "invert"\noperation = "crop"\n', 4),
        ('[input]\npath = "a"\npath = "b"\n[[step]]\noperation = "invert"\n', 3),
        ('[output]\n[output]\n[[step]]\noperation = "invert"\n', 2),
    ],
)
def test_what_is_there_twice_is_told_by_its_line(tmp_path, text, line, capsys):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(stack3d.RecipeError, match=f"a.toml, line {line}: not TOML: "):
        Recipe.from_file(tmp_path / "a.toml")
    with pytest.raises(stack3d.RecipeError, match=f"recipe, line {line}: not TOML: "):
        Recipe.from_text(text)
    assert main(["run", str(tmp_path / "a.toml"), "--check"]) == 1
    assert f"a.toml, line {line}: not TOML: " in capsys.readouterr().err


def test_a_file_that_is_no_text_is_named(tmp_path, capsys):
    (tmp_path / "a.toml").write_bytes(b"format = 1 # \xff\n")
    assert main(["run", str(tmp_path / "a.toml"), "--check"]) == 1
    assert "a.toml' is no recipe: it is not text in UTF-8 (byte 13)" in capsys.readouterr().err
