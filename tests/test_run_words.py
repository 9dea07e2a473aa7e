"""What a run says of its recipe: everything at once, by line, in the words of a recipe and of the command line."""

import re

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d import Recipe
from stack3d.cli import main
from stack3d.io._frames import FrameError, unreadable
from stack3d.runs._input import errors_in_words

WRONG = """\
format = 2
colour = "red"

[input]
path = "slices"
pixelsize = ["20 nm", "5 nm", "5 nm"]
on_bad_frame = "nope"

[output]
path = "clean.dat"
dtype = "uint88"

[[step]]
y = [0, 2]

[[step]]
operation = "crop"
y = [0, 500]
by = "index"

[[step]]
operation = "remove_background"
weights = "a"
terms = "1 + x + sin(y)"
degree = 2.5
low = 200
high = 100

[[step]]
operation = "register"
estimate = "gone.nc"

[[step]]
operation = "resample"
dz = "10 parsec"
"""
FAULTY = (
    """format, colour, pixelsize, on_bad_frame, path, dtype, [[step]], y, weights, terms, degree, low, estimate, dz"""
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slices").mkdir()
    frames = np.random.default_rng(0).integers(0, 200, (5, 24, 30), dtype=np.uint8)
    for k, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / "slices" / f"slice_{k}.tif", frame)
    return tmp_path


def write(folder, text):
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def named(problems, text):
    """Return the keys on the lines that the problems name, without the lines of [input] and [output] themselves."""
    numbers = [int(re.match(r"recipe.toml, line (\d+): ", problem)[1]) for problem in problems]
    assert numbers == sorted(numbers)
    return [text.splitlines()[number - 1].split(" =")[0] for number in numbers]


def test_no_fault_of_a_recipe_hides_another(folder):
    with pytest.raises(stack3d.RecipeError) as error:
        stack3d.run(write(folder, WRONG))
    assert named(error.value.problems, WRONG) == FAULTY.split(", ")
    assert not list(folder.glob("*.run"))


def test_reading_checking_and_planning_name_the_same_faults(folder, capsys):
    path = write(folder, WRONG)
    with pytest.raises(stack3d.RecipeError) as error:
        Recipe.from_file(path)
    expected = FAULTY.split(", ")
    assert named(error.value.problems, WRONG) == expected
    for how in ("--check", "--plan"):
        assert main(["run", str(path), how]) == 1
        assert named(capsys.readouterr().err.splitlines()[1:], WRONG) == expected


def test_what_only_follows_from_a_wrong_parameter_is_no_problem_of_its_own():
    da = stack3d.from_array(np.zeros((3, 16, 16), "uint8"), pixel_size=5)
    recipe = Recipe([("destripe", {"method": "nope", "options": {"level": 3}})])
    (problem,) = recipe.problems(da)
    assert "method='nope'" in problem


def test_without_the_size_of_pixels_lengths_are_not_called_wrong(folder):
    text = '[input]\npath = "slices"\npixel_size = [1, 2, 3, 4]\n[[step]]\noperation = "resample"\ndz = "10 nm"\n'
    with pytest.raises(stack3d.RecipeError) as error:
        stack3d.run(write(folder, text), out=folder / "clean.zarr")
    assert named(error.value.problems, text) == ["pixel_size"]


def test_a_wrong_key_of_the_input_is_written_as_the_recipe_has_it(folder, capsys):
    path = write(folder, '[input]\npath = "slices"\non_bad_frame = "nope"\n[[step]]\noperation = "invert"\n')
    assert main(["run", str(path), "--out", str(folder / "clean.zarr")]) == 1
    said = capsys.readouterr().err
    assert 'recipe.toml, line 3: [input]: on_bad_frame = "nope" is not allowed' in said
    assert "--on-bad-frame" not in said


def test_a_slice_that_cannot_be_read_says_what_to_write_into_the_recipe(folder, capsys):
    bad = folder / "slices" / "slice_3.tif"
    bad.write_bytes(b"x" * bad.stat().st_size)
    path = write(
        folder, '[input]\npath = "slices"\n[output]\npath = "clean.zarr"\n[[step]]\noperation = "match_histograms"\n'
    )
    assert main(["run", str(path), "--no-report"]) == 1
    said = capsys.readouterr().err
    assert 'on_bad_frame = "flag" under [input] (recipe.toml, line 1)' in said
    assert "--on-bad-frame" not in said


def test_how_to_go_on_is_still_said_with_the_words_of_the_recipe(folder):
    recipe = Recipe.from_file(write(folder, '[input]\npath = "slices"\n[[step]]\noperation = "invert"\n'))
    first = unreadable("slice_3.tif", "cut")
    first.add_note("run the same again")
    with pytest.raises(FrameError, match='on_bad_frame = "flag"') as error, errors_in_words(recipe):
        raise first
    assert error.value.__notes__ == ["run the same again"]


@pytest.mark.filterwarnings("always")
def test_a_gap_says_what_to_write_into_the_recipe(folder, capsys):
    (folder / "slices" / "slice_2.tif").unlink()
    path = write(folder, '[input]\npath = "slices"\n[[step]]\noperation = "invert"\n')
    assert main(["run", str(path), "--check"]) == 0
    said = capsys.readouterr().err
    assert 'on_gap = "flag" under [input] (recipe.toml, line 1) inserts them' in said
    assert "--on-gap" not in said


def test_a_run_without_a_place_or_a_stack_names_the_options_of_the_command_line(folder, capsys):
    path = write(folder, '[[step]]\noperation = "invert"\n')
    assert main(["run", str(path)]) == 1
    said = capsys.readouterr().err
    assert "give --out, or path under [output]" in said
    assert "give --input, or path under [input]" in said
    with pytest.raises(stack3d.RecipeError, match=r"give da=, or path under \[input\]"):
        stack3d.run(path, out=folder / "clean.zarr")


def test_paths_in_a_file_are_relative_to_it_in_python_as_on_the_command_line(folder, monkeypatch):
    text = '[input]\npath = "slices"\n[output]\npath = "clean.zarr"\n[[step]]\noperation = "invert"\n'
    path = write(folder, text)
    monkeypatch.chdir(folder.parent)
    relative = f"{folder.name}/recipe.toml"
    stack3d.run(relative, report=False)
    first = (folder / "clean.zarr" / "zarr.json").stat()
    assert main(["run", relative, "--no-report"]) == 0
    assert (folder / "clean.zarr" / "zarr.json").stat() == first
    recipe = Recipe.from_file(relative)
    assert recipe.plan(trial=False).slices == 5
    assert recipe.to_text() == text
    assert recipe.save(path).read_text() == text
    kept = Recipe.from_file(folder / "clean.zarr.run" / "recipe.toml")
    assert kept.input["path"] == str(folder / "slices")
    assert stack3d.runs.raw_of(folder / "clean.zarr").sizes["z"] == 5


def test_an_input_given_on_the_command_line_is_relative_to_where_it_is_given(folder, monkeypatch):
    path = write(folder, '[input]\npath = "nowhere"\n[[step]]\noperation = "invert"\n')
    monkeypatch.chdir(folder / "slices")
    assert main(["run", str(path), "--input", ".", "--check"]) == 0
