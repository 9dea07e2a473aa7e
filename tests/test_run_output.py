"""Where a run writes: never over what it is made of, and over other results only when told."""

import os
import re

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d import Recipe
from stack3d.cli import main

TEXT = """\
format = 1
[input]
path = "{input}"
[output]
path = "{output}"
[[step]]
operation = "crop"
y = [0, {rows}]
by = "index"
[[step]]
operation = "invert"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(0).integers(90, 120, (4, 12, 10), dtype=np.uint8)
    (tmp_path / "slices").mkdir()
    for k, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / "slices" / f"slice_{k}.tif", frame)
    stack3d.from_array(frames, pixel_size=(20, 5, 5)).stack3d.save("in.zarr")
    (tmp_path / "link.zarr").symlink_to("in.zarr")
    return tmp_path


def write(input="in.zarr", output="out.zarr", rows=8, name="recipe.toml"):
    with open(name, "w") as file:
        file.write(TEXT.format(input=input, output=output, rows=rows))
    return name


def run(*arguments):
    return main(["run", *arguments, "--no-report"])


def steps_of(path):
    return [step.operation for step in Recipe.from_provenance(stack3d.open_stack(path)).steps]


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("in.zarr", "in.zarr"),
        ("in.zarr", "./slices/../in.zarr"),
        ("in.zarr", "link.zarr"),
        ("link.zarr", "in.zarr"),
        ("in.zarr", "in.zarr/inner.zarr"),
        ("slices", "slices/out.zarr"),
        ("hold.zarr/in.zarr", "hold.zarr"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--overwrite"], ["--check"], ["--out"]])
def test_nothing_is_written_over_or_into_the_raw_stack(folder, capsys, given, output, how):
    if given.startswith("hold"):
        (folder / "hold.zarr").mkdir()
        (folder / "in.zarr").rename(folder / "hold.zarr" / "in.zarr")
    before = stack3d.open_stack(given).values
    recipe = write(given, "fine.zarr" if how == ["--out"] else output)
    assert run(recipe, *([*how, output] if how == ["--out"] else how)) == 1
    said = capsys.readouterr().err
    assert re.search(r"recipe\.toml, line 5: \[output\]: path = |--out ", said)
    assert "raw stack" in said
    np.testing.assert_array_equal(stack3d.open_stack(given).values, before)
    assert not list(folder.rglob("*.run"))


def test_a_stack_given_in_python_is_not_replaced_by_what_is_made_of_it(folder):
    raw = stack3d.open_stack("in.zarr")
    with pytest.raises(stack3d.RecipeError, match="is what the raw stack is read from"):
        stack3d.run(["invert"], raw, out="link.zarr", overwrite=True)
    assert stack3d.run(["invert"], raw.load(), out="other.zarr", report=False).sizes == raw.sizes


def test_a_selection_of_steps_has_a_result_of_its_own_and_leaves_the_whole_one(folder, capsys):
    recipe = write()
    assert run(recipe) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["result", os.path.realpath("out.zarr")]
    assert run(recipe, "--steps", "crop") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["result", os.path.realpath("out-crop.zarr")]
    assert steps_of("out.zarr") == ["crop", "invert"]
    assert steps_of("out-crop.zarr") == ["crop"]
    assert len(Recipe.from_file("out-crop.zarr.run/recipe.toml")) == 1


def test_another_choice_of_steps_replaces_a_result_only_when_told(folder, capsys):
    recipe = write()
    assert run(recipe) == 0
    assert run(recipe, "--steps", "crop", "--out", "out.zarr") == 1
    said = capsys.readouterr().err
    assert "out.zarr' is there already, made by 2 steps (crop, invert), not by crop; give --overwrite" in said
    assert steps_of("out.zarr") == ["crop", "invert"]
    assert run(recipe, "--steps", "crop", "--out", "out.zarr", "--overwrite") == 0
    assert steps_of("out.zarr") == ["crop"]
    assert run(recipe) == 1


def test_a_result_of_another_input_is_replaced_only_when_told(folder, capsys):
    assert run(write()) == 0
    assert run(write("slices")) == 1
    assert "is there already, made from another input; give --overwrite" in capsys.readouterr().err
    assert run(write("slices"), "--overwrite") == 0


def test_a_changed_parameter_replaces_the_result_without_a_question(folder):
    assert run(write(rows=8)) == 0
    assert run(write(rows=6)) == 0
    assert stack3d.open_stack("out.zarr").sizes["y"] == 6
    assert run("recipe.toml", "--steps", "1") == 0
    write(rows=4)
    assert run("recipe.toml", "--steps", "crop") == 0
    assert stack3d.open_stack("out-crop.zarr").sizes["y"] == 4


def test_a_stack_made_again_in_python_is_the_same_input_and_other_values_are_another(folder):
    raw = stack3d.open_stack("in.zarr").load()

    def steps(rows):
        return [("crop", {"y": slice(0, rows), "by": "index"})]

    stack3d.run(steps(8), raw, out="out.zarr", report=False)
    again = raw.assign_attrs(history="made once more")
    assert stack3d.run(steps(6), again, out="out.zarr", report=False).sizes["y"] == 6
    with pytest.raises(FileExistsError, match="made from another input; give overwrite=True"):
        stack3d.run(steps(6), again + 1, out="out.zarr", report=False)


def test_a_result_that_somebody_changed_is_replaced_only_when_told(folder, capsys):
    recipe = write()
    assert run(recipe) == 0
    stack3d.open_stack("in.zarr").load().stack3d.save("out.zarr", overwrite=True)
    assert run(recipe) == 1
    assert "was not made by this run, or was changed since" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('path = "o.xyz"', "the suffix says no format"),
        ('path = ""', "the suffix says no format"),
        ('path = "slices"', "the suffix says no format"),
        ("path = 5", "path = 5 must be a text"),
        ('path = "o.zarr"\ndtype = "uint7"', 'dtype = "uint7" is not allowed'),
        ('path = "o.zarr"\ndtype = 8', "dtype = 8 is not allowed"),
        ('path = "o.zarr"\ndtype = "complex64"', 'dtype = "complex64" is not allowed'),
        ('paht = "o.zarr"', "there is no 'paht' under [output]; did you mean 'path'?"),
        ('path = "o.zarr"\nfoo = 1', "there is no 'foo' under [output]; it takes path and dtype"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--check"]])
def test_what_is_wrong_with_the_output_is_listed_with_the_steps_by_line(folder, capsys, line, words, how):
    text = f'[input]\npath = "in.zarr"\n[output]\n{line}\n[[step]]\noperation = "invret"\n'
    (folder / "recipe.toml").write_text(text)
    assert main(["run", "recipe.toml", *how]) == 1
    said = capsys.readouterr().err
    number = 4 + line.count("\n")
    assert f"recipe.toml, line {number}: [output]: " in said
    assert words in said
    assert f"recipe.toml, line {number + 2}: step 1 (invret)" in said
    assert not list(folder.glob("*.run"))


def test_a_check_looks_at_the_choice_of_steps_and_at_the_output_of_the_command_line(folder, capsys):
    recipe = write()
    assert main(["run", recipe, "--check", "--steps", "crop,invret"]) == 1
    assert "step 'invret' is not in the recipe" in capsys.readouterr().err
    assert main(["run", recipe, "--check", "--out", "o.xyz"]) == 1
    assert "--out o.xyz: the suffix says no format" in capsys.readouterr().err
    assert main(["run", recipe, "--check", "--out", "o.zarr"]) == 0
    recipe = Recipe(["invert", ("crop", {"x": slice(0, 5), "by": "index"}), "invert"], input={"path": "in.zarr"})
    with pytest.raises(ValueError, match=r"step 'invert': 2 steps .* give a number: 1. invert, 3. invert$"):
        stack3d.run(recipe, out="o.zarr", steps=["invert"])


def test_the_recipe_beside_a_result_names_that_result(folder):
    assert run(write(), "--out", "elsewhere.zarr") == 0
    kept = Recipe.from_file("elsewhere.zarr.run/recipe.toml")
    assert kept.output["path"] == os.path.realpath("elsewhere.zarr")
    assert kept.input["path"] == str(folder / "in.zarr")


def test_steps_have_the_numbers_of_the_recipe_wherever_they_are_told(folder):
    steps = [("crop", {"y": slice(0, 8), "by": "index"}), "level_slices", "invert"]
    recipe = Recipe(steps, input={"path": "in.zarr"})
    result = stack3d.run(recipe, out="out.zarr", report=True)
    shown = [line.split("(")[0].split() for line in repr(result.stack3d).splitlines() if "(" in line]
    told = [["step", "1", "crop"], ["conversion", "astype"], ["step", "2", "level_slices"], ["step", "3", "invert"]]
    assert [line for line in shown if line[-1] in ("crop", "astype", "level_slices", "invert")] == [*told, told[1]]
    page = (folder / "out.zarr.html").read_text()
    assert "3. invert" in page
    (estimate,) = (folder / "out.zarr.run" / "estimates").iterdir()
    assert estimate.name.startswith("02_levels_")
    assert not re.search(r"\b[4-9]\. (crop|astype|level_slices|invert)", page)


def test_a_run_takes_a_list_of_steps_and_a_recipe_no_text(folder):
    raw = stack3d.open_stack("in.zarr")
    result = stack3d.run(["invert"], raw, out="out.zarr", report=False)
    np.testing.assert_array_equal(result, raw.stack3d.invert())
    with pytest.raises(TypeError, match=r"steps='invert' must be a list of steps, such as \['invert'\]"):
        Recipe("invert")
    with pytest.raises(TypeError, match=r"steps='invert' must be a list of names or numbers"):
        stack3d.run(["invert"], raw, out="o.zarr", steps="invert")


def test_a_saved_estimate_may_be_given_by_its_path_in_python_too(folder):
    raw = stack3d.open_stack("in.zarr").load()
    levels = raw.stack3d.estimate_levels()
    levels.to_netcdf("levels.nc")
    recipe = Recipe([("level_slices", {"estimate": "levels.nc"})])
    np.testing.assert_array_equal(recipe.apply(raw), raw.stack3d.level_slices(estimate=levels))
    with pytest.raises(ValueError, match=r"gone.nc.: there is no such file"):
        Recipe([("level_slices", {"estimate": "gone.nc"})])
