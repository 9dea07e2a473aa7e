"""Recipes made for a stack on disk, and the recipes that come with the package."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import stack3d
from stack3d.cli import main
from stack3d.runs._presets import preset_names
from stack3d.synthetic import make_stack

SETUP = """<?xml version="1.0" encoding="iso-8859-1"?>
<ATLAS3D-Setup version="1.6"><Settings><Imaging><Detector>SE2</Detector><DetectorB>ESB</DetectorB>
<DefaultAcquisition><PixelSize>0.005</PixelSize><FOV>0.32</FOV>
<Interval><Distance><Interval>0.0125</Interval></Distance></Interval></DefaultAcquisition>
</Imaging></Settings></ATLAS3D-Setup>"""
FIBICS = (
    '<?xml version="1.0"?>\n<Fibics><Image><Width>64</Width><Height>48</Height><BoundingBox.Left>25</BoundingBox.Left>'
    "<BoundingBox.Right>40</BoundingBox.Right><BoundingBox.Top>22</BoundingBox.Top>"
    "<BoundingBox.Bottom>26</BoundingBox.Bottom></Image><Scan><Ux>0.005</Ux><Uy>0</Uy><Vx>0</Vx><Vy>0.005</Vy></Scan>"
    '<BeamInfo><item name="EHT">1.5 kV</item></BeamInfo></Fibics>'
)


@pytest.fixture
def project(tmp_path, monkeypatch, stack):
    """Return an Atlas project in an otherwise empty folder, which is the current one."""
    folder = tmp_path / "grain"
    for detector in ("SE2", "ESB"):
        (folder / detector).mkdir(parents=True)
        for k in range(5):
            tag = [(51023, "s", 0, FIBICS, False)]
            tifffile.imwrite(folder / detector / f"s_{k}.tif", stack.values[k], extratags=tag)
    (folder / "Atlas3D.a3d-setup").write_text(SETUP)
    monkeypatch.chdir(tmp_path)
    return folder


def test_init_writes_what_the_project_says_and_the_recipe_passes_the_check(project, tmp_path, capsys):
    assert main(["init", "grain"]) == 0
    text = (tmp_path / "recipe.toml").read_text()
    recipe = stack3d.Recipe.from_text(text)
    assert recipe.input == {"path": "grain", "channel": ["SE2", "ESB"], "pixel_size": ["12.5 nm", "5 nm", "5 nm"]}
    assert recipe.output == {"path": "grain-clean.zarr"}
    crop, *_, resample = recipe.steps
    # The box, 20 pixels around it, cut to the frame.
    assert crop.parameters == {"y": slice(2, 46), "x": slice(5, 60), "by": "index"}
    assert resample.parameters == {"dz": "12.5 nm"}
    assert "# The stack: 5 slices x 48 rows x 64 columns, uint16" in text
    assert "accelerating voltage 1.5 kV" in text
    assert "slice thickness 0.0125 um" in text
    capsys.readouterr()
    assert main(["run", "recipe.toml", "--check"]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_the_recipe_runs_as_it_is(project, tmp_path):
    assert main(["init", "grain/Atlas3D.a3d-setup", "--channel", "ESB", "--out", "r.toml"]) == 0
    assert main(["run", "r.toml"]) == 0
    clean = stack3d.open_stack(tmp_path / "grain-clean.zarr")
    assert clean.dtype == np.uint16
    assert clean.sizes["z"] == 5
    np.testing.assert_allclose(clean.stack3d.pixel_size.z, 12.5)


def test_a_recipe_that_is_there_is_kept_unless_told(project, tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text("mine")
    assert main(["init", "grain"]) == 1
    assert "recipe.toml is there already" in capsys.readouterr().err
    assert (tmp_path / "recipe.toml").read_text() == "mine"
    assert main(["init", "grain", "--overwrite"]) == 0
    assert (tmp_path / "recipe.toml").read_text() != "mine"


def test_neither_recipe_nor_result_lies_in_the_folder_that_a_run_watches(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert main(["init", "."]) == 0
    recipe = stack3d.Recipe.from_file(tmp_path / "grain.toml")
    assert (recipe.input["path"], recipe.output["path"]) == ("grain", "grain-clean.zarr")
    assert main(["init", ".", "--out", "SE2/r.toml"]) == 1
    assert "lies in the folder of the stack" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    assert main(["init", "grain", "--out", "deep/r.toml"]) == 0
    assert stack3d.Recipe.from_file("deep/r.toml").input["path"] == "../grain"


def test_the_python_form_gives_the_same_steps_and_keeps_its_comments(project, tmp_path):
    recipe = stack3d.Recipe.init("grain", preset="hifiem", channel="SE2")
    assert recipe.input["path"] == str(project)
    assert recipe.output["path"] == f"{project}-clean.zarr"
    assert recipe.steps[0].parameters["y"] == slice(2, 46)
    recipe.check(stack3d.open_stack(**recipe.input))
    again = stack3d.Recipe.from_file(recipe.save(tmp_path / "r.toml"))
    assert again == recipe
    assert "# The microscope: " in (tmp_path / "r.toml").read_text()


def test_what_a_stack_does_not_allow_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("one.tif", np.zeros((40, 300), np.uint8))
    recipe = stack3d.Recipe.init("one.tif")
    assert "remove_background" not in [step.operation for step in recipe.steps]
    text = recipe.to_text()
    assert "# Left out: in frames below 256 pixels structure varies" in text
    assert "# Left out: the files state no region of interest" in text
    assert "# pixel_size = " in text
    assert recipe.input == {"path": str(tmp_path / "one.tif")}
    recipe.check(stack3d.open_stack("one.tif"))


def test_positions_in_the_names_stay_theirs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    for k, z in enumerate((0.0, 0.011, 0.02, 0.034)):
        tag = [(51023, "s", 0, FIBICS.replace("<BoundingBox.Left>25</BoundingBox.Left>", ""), False)]
        tifffile.imwrite(f"s/slice_{k}_z={z:.4f}um.tif", np.zeros((48, 64), np.uint8), extratags=tag)
    assert main(["init", "s"]) == 0
    recipe = stack3d.Recipe.from_file("recipe.toml")
    assert recipe.input["pixel_size"] == ["5 nm", "5 nm"]
    assert "# z: from 0 to 34 nm" in (tmp_path / "recipe.toml").read_text()
    np.testing.assert_allclose(stack3d.open_stack("s", pixel_size=["5 nm", "5 nm"]).z, [0, 11, 20, 34])


def test_a_saved_stack_is_opened_by_what_it_knows(stack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stack.stack3d.save("raw.zarr")
    assert main(["init", "raw.zarr"]) == 0
    recipe = stack3d.Recipe.from_file("recipe.toml")
    assert recipe.input == {"path": "raw.zarr"}
    assert recipe.output == {"path": "raw-clean.zarr"}
    assert recipe.steps[-1].parameters == {"dz": "20 nm"}


def test_a_preset_runs_from_the_command_line(stack, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stack.stack3d.save("raw.zarr")
    assert main(["run", "--preset", "fibsem", "--input", "raw.zarr", "--out", "c.zarr", "--steps", "invert"]) == 1
    assert "step 'invert' is not in the recipe" in capsys.readouterr().err
    assert main(["run", "--preset", "fibsem", "--input", "raw.zarr", "--out", "c.zarr", "--steps", "crop,3,4"]) == 0
    done = [step["operation"] for step in stack3d.open_stack("c.zarr").stack3d.provenance]
    assert [name for name in done if name != "astype"] == ["crop", "fill_pixels", "level_slices"]
    assert main(["run"]) == 1
    assert main(["run", "x.toml", "--preset", "fibsem"]) == 1
    assert "give either RECIPE or --preset" in capsys.readouterr().err
    assert main(["run", "--preset", "fib", "--input", "raw.zarr", "--out", "d.zarr"]) == 1
    assert "preset='fib' is not known; it must be one of 'fibsem', 'hifiem'" in capsys.readouterr().err


def test_presets_explain_each_step_and_fit_a_stack(stack):
    assert preset_names() == ["fibsem", "hifiem"]
    for name in preset_names():
        recipe = stack3d.Recipe.preset(name)
        assert recipe.problems(stack) == []
        assert recipe.to_text().count("\n\n#") >= len(recipe)
    # Stripes before background before noise before contrast, in 8 bits: the order of its authors.
    order = [step.operation for step in stack3d.Recipe.preset("hifiem").steps]
    assert order[1:] == [
        "invert",
        "destripe",
        "level_slices",
        "remove_background",
        "denoise",
        "local_contrast",
        "global_contrast",
    ]


# ---------------------------------------------------------------------------------------------------------------------
# What presets do to each kind of defect

NOISE = {"gaussian": 0.02, "electrons": None}
DEFECTS = {
    "drift": {"step": 0.6, "trend": (0.05, -0.03)},
    "gain": True,
    "offset": {"jitter": 0.05},
    "background": {"amount": 1.0},
    "curtains": {"amount": 0.3},
    "hot_pixels": {"fraction": 1e-3},
    "bad_slices": {"slices": {3: "blank", 6: "charged"}},
    "noise": {"gaussian": 0.08, "electrons": None},
}
# Of the whole error; on frames this small registration and background cost some of what the others gain.
FIBSEM = {"drift": 0.6, "gain": 0.7, "offset": 0.8, "background": 0.6, "curtains": 0.98, "bad_slices": 0.3}
HIFIEM = {"gain": 0.6, "offset": 0.7, "background": 0.6, "curtains": 0.8, "noise": 0.7, "bad_slices": 0.6}


@functools.cache
def planted(kind):
    return make_stack((10, 96, 112), defects={"noise": NOISE, kind: DEFECTS[kind]}, seed=2)


def error(da, made):
    """Return the rms error inside; a straight line of shifts is no error: oblique structure cannot be told from it."""
    truth = made.truth_on(da).values.astype(float)
    values = np.asarray(da.values, float)
    index = np.arange(da.sizes["z"])
    line = []
    for dim in ("y", "x"):
        found = da[f"shift_{dim}"].values if f"shift_{dim}" in da.coords else np.zeros(index.size)
        true = np.zeros(index.size)
        if f"shift_{dim}" in da.coords and f"shift_{dim}" in made.defects:
            true = np.interp(da.z, made.stack.z, made.defects[f"shift_{dim}"])
        difference = (found - true) / stack3d.pixel_size(made.stack).x
        line.append(np.polyval(np.polyfit(index, difference, 1), index))
    moved = [ndimage.shift(frame, (-dy, -dx), order=3, mode="nearest") for frame, dy, dx in zip(truth, *line)]
    return float(np.sqrt(np.mean((values - moved)[:, 12:-12, 12:-12] ** 2)))


def after(name, kind):
    """Return the error of a preset before the steps that change contrast on purpose, relative to the raw one."""
    made = planted(kind)
    da = made.stack.astype("float32")
    for step in stack3d.Recipe.preset(name).steps:
        if step.operation in ("local_contrast", "global_contrast"):
            break
        # The stack is no negative. Small frames: as `init` leaves it out.
        if step.operation == "invert" or (step.operation == "remove_background" and kind != "background"):
            continue
        da = stack3d.Recipe([step]).apply(da)
    return error(da, made) / error(made.stack, made)


@pytest.mark.parametrize("kind", FIBSEM)
def test_fibsem_lowers_the_error_of_each_kind_of_defect(kind):
    assert after("fibsem", kind) < FIBSEM[kind]


@pytest.mark.parametrize("kind", HIFIEM)
def test_hifiem_lowers_the_error_of_each_kind_of_defect(kind):
    assert after("hifiem", kind) < HIFIEM[kind]


def test_hot_pixels_are_filled_by_fibsem():
    made = planted("hot_pixels")
    fill = next(step for step in stack3d.Recipe.preset("fibsem").steps if step.operation == "fill_pixels")
    before, filled = made.stack.values, stack3d.fill_pixels(made.stack, **fill.parameters).values
    truth = made.truth_on(made.stack).values
    where = np.abs(before.astype(float) - truth) > 10000
    assert where.any()
    assert (
        np.abs(filled.astype(float) - truth)[where].mean() < 0.75 * np.abs(before.astype(float) - truth)[where].mean()
    )


def test_uneven_slices_come_out_even():
    made = make_stack((10, 64, 72), defects={"uneven_z": {"jitter": 0.3}}, seed=4)
    resample = stack3d.Recipe.preset("fibsem").steps[-1]
    even = stack3d.Recipe([resample]).apply(made.stack)
    np.testing.assert_allclose(np.diff(even.z), np.diff(even.z)[0])
    nominal = made.stack.assign_coords(z=made.stack.z.copy(data=np.linspace(*made.stack.z.values[[0, -1]], 10)))

    def off(da):
        return np.sqrt(np.mean((da.values.astype(float) - made.truth_on(da).values) ** 2))

    assert off(even) < 0.8 * off(nominal)


def test_hifiem_ends_in_eight_bits_with_the_whole_range(stack):
    clean = stack3d.Recipe.preset("hifiem").apply(stack.isel(z=slice(0, 3)))
    assert clean.dtype == np.uint8
    values = clean.values
    assert values.max() - values.min() > 180


@pytest.fixture
def named_depths(tmp_path):
    folder = tmp_path / "named"
    folder.mkdir()
    for k in range(3):
        frame = np.random.default_rng(k).integers(0, 99, (20, 30), dtype="uint8")
        tifffile.imwrite(folder / f"s_{k}_z={0.01 * k:.3f}um.tif", frame)
    return folder


def test_the_size_of_pixels_that_is_not_known_can_be_uncommented(named_depths, tmp_path):
    text = stack3d.Recipe.init(named_depths).to_text()
    line = '# pixel_size = ["5 nm", "5 nm"]    # dy, dx: not known'
    assert line in text
    assert 'dz = "10 nm"' in text
    assert "as fine as the pixels" not in text
    again = stack3d.Recipe.from_text(text.replace(line, line[2:]))
    assert stack3d.open_stack(**again.input).stack3d.pixel_size == (10, 5, 5, "nm")
    for name in named_depths.iterdir():
        name.rename(name.with_name(name.name.partition("_z")[0] + ".tif"))
    text = stack3d.Recipe.init(named_depths).to_text()
    line = '# pixel_size = ["10 nm", "5 nm", "5 nm"]    # dz, dy, dx: not known'
    assert line in text
    again = stack3d.Recipe.from_text(text.replace(line, line[2:]))
    assert stack3d.open_stack(**again.input).stack3d.pixel_size == (10, 5, 5, "nm")


@pytest.mark.parametrize("preset", preset_names())
def test_steps_that_compare_slices_are_left_out_for_one_slice_and_the_rest_runs(tmp_path, preset, stack):
    folder = tmp_path / "one"
    folder.mkdir()
    tifffile.imwrite(folder / "s_0.tif", stack.values[0])
    recipe = stack3d.Recipe.init(folder, preset=preset)
    names = [step.operation for step in recipe.steps]
    assert not {"replace_slices", "level_slices", "match_histograms", "register", "resample"} & set(names)
    assert "destripe" in names
    assert all("neighbours" not in step.parameters for step in recipe.steps)
    assert "# Left out: there is one slice" in recipe.to_text()
    assert "1 slice x" in recipe.to_text()
    assert stack3d.run(recipe, report=False).sizes["z"] == 1
