"""The command line, as a user types it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d import _demo
from stack3d.cli import main


@pytest.fixture
def folder(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for k in range(4):
        values = np.full((20, 24), 100 * k + 5, np.uint16)
        tifffile.imwrite(frames / f"slice_{k:04d}_z={0.01 * k:.4f}um.tif", values)
    return frames


def test_info_says_what_a_stack_is(folder, capsys):
    assert main(["info", str(folder), "--pixel-size", "5 nm"]) == 0
    out = capsys.readouterr().out
    assert "z 4 × y 20 × x 24, uint16" in out
    assert "z 10 × y 5 × x 5 nm" in out


def test_convert_saves_in_the_format_of_the_suffix(folder, tmp_path, capsys):
    for suffix in (".zarr", ".nc", ".tif"):
        target = tmp_path / f"stack{suffix}"
        assert main(["convert", str(folder), str(target), "--pixel-size", "5 nm"]) == 0
        assert capsys.readouterr().out.strip() == str(target)
        opened = stack3d.open_stack(target)
        np.testing.assert_array_equal(opened.values[:, 0, 0], [5, 105, 205, 305])
        np.testing.assert_allclose(opened.z, [0, 10, 20, 30])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "nowhere"),
        (["convert", "FOLDER", "out.xyz"], r"\.zarr"),
        (["convert", "FOLDER", "out.zarr", "--pixel-size", "5 s"], "5 s"),
        (["info", "FOLDER", "--pattern", "no_{slice}.tif"], "no_"),
    ],
)
def test_mistakes_end_with_one_line_and_status_one(folder, tmp_path, capsys, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(folder) if a == "FOLDER" else a for a in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"stack3d {arguments[0]}: ")
    assert re.search(message, error)
    assert "Traceback" not in error


def test_convert_does_not_replace_unless_told(folder, tmp_path, capsys):
    target = tmp_path / "stack.nc"
    arguments = ["convert", str(folder), str(target), "--pixel-size", "5 nm"]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.filterwarnings("always")
def test_a_warning_is_one_line_with_the_options_of_the_command_line(folder, capsys):
    (folder / "slice_0001_z=0.0100um.tif").unlink()
    assert main(["info", str(folder)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stack3d: warning: 1 of the slice numbers 0 to 3 is missing")
    assert "--on-gap flag inserts them" in line
    assert main(["info", str(folder), "--on-gap", "flag"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.search(r"bad slices +1 of 4", captured.out)


def test_an_error_names_the_options_of_the_command_line(folder, capsys):
    for at in ("convert", "info"):
        assert main([at, str(folder), *(["x.zarr"] if at == "convert" else []), "--variable", "b c"]) == 1
        assert "--variable 'b c' has no meaning for a folder" in capsys.readouterr().err
    assert main(["info", str(folder), "--channel", "SE2", "--channel", "InLens"]) == 1
    assert "gives 2 names" in capsys.readouterr().err
    assert main(["info", str(folder), "--channel", "SE2"]) == 0


def test_a_reader_that_stops_reading_is_no_error(folder):
    program = [sys.executable, "-m", "stack3d.cli", "info", str(folder)]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(write)
    assert done.stderr == ""


def test_the_program_is_installed_and_helps():
    done = subprocess.run([sys.executable, "-m", "stack3d.cli", "--help"], capture_output=True, text=True, check=True)
    for command in ("demo", "info", "convert"):
        assert command in done.stdout
    done = subprocess.run([sys.executable, "-m", "stack3d.cli", "polish"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "polish" in done.stderr


def test_the_demo_makes_every_error_smaller_and_replays(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_demo, "_SHAPE", (40, 256, 256))
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    errors = [float(line.split()[-3]) for line in out.splitlines() if re.search(r"\d\.\d\d +\d+\.\d +\d", line)]
    assert len(errors) == 4
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6 * errors[0]
    assert "equal to the bit" in out
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    for name in ("raw.zarr", "clean.zarr"):
        assert f"open_stack(&#39;{(tmp_path / 'demo' / name).absolute()}&#39;)" in page
    assert [s["operation"] for s in stack3d.provenance(stack3d.open_stack(tmp_path / "demo" / "clean.zarr"))]


def test_the_demo_replaces_its_own_results_and_nobody_elses(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_demo, "_SHAPE", (8, 64, 64))
    other = stack3d.from_array(np.ones((2, 4, 4), np.uint8), pixel_size=1)
    other.stack3d.save(tmp_path / "raw.zarr")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert "not of this demo" in capsys.readouterr().err
    np.testing.assert_array_equal(stack3d.open_stack(tmp_path / "raw.zarr"), other)
    assert main(["demo", "--out", str(tmp_path / "own")]) == 0
    assert main(["demo", "--out", str(tmp_path / "own")]) == 0


def test_run_does_a_recipe_beside_its_files_and_clean_gives_space_back(tmp_path, capsys):
    made = stack3d.synthetic.make_stack((4, 32, 32), defects={"gain": True}).stack
    made.stack3d.save(tmp_path / "raw.zarr")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[input]\npath = "raw.zarr"\n[output]\npath = "clean.zarr"\n[[step]]\noperation = "level_slices"\ncheckpoint = true\n'
    )
    assert main(["run", str(recipe), "--check"]) == 0
    assert not (tmp_path / "clean.zarr").exists()
    assert main(["run", str(recipe)]) == 0
    assert [step["operation"] for step in stack3d.open_stack(tmp_path / "clean.zarr").stack3d.provenance] == [
        "astype",
        "level_slices",
        "astype",
    ]
    assert main(["clean", str(tmp_path / "clean.zarr")]) == 0
    assert "MiB given back" in capsys.readouterr().out
    recipe.write_text('[input]\npath = "raw.zarr"\n[[step]]\noperation = "levelslices"\n')
    assert main(["run", str(recipe), "--out", str(tmp_path / "other.zarr")]) == 1
    assert "recipe.toml, line 4: step 1 (levelslices)" in capsys.readouterr().err


def test_errors_of_the_system_begin_with_words_and_name_what_was_given(folder, tmp_path, capsys):
    target = tmp_path / "stack.zarr"
    assert main(["convert", str(folder), str(target)]) == 0
    assert main(["convert", str(folder), str(target)]) == 1
    assert "Errno" not in capsys.readouterr().err
    assert main(["init", str(folder), "--out", str(tmp_path / "nowhere" / "x.toml")]) == 1
    said = capsys.readouterr().err
    assert "there is no folder" in said
    assert "unfinished" not in said


def test_the_package_is_a_command_too():
    done = subprocess.run([sys.executable, "-m", "stack3d", "--version"], capture_output=True, text=True, check=True)
    assert stack3d.__version__ in done.stdout
