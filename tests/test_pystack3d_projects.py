"""Projects of PyStack3D run as they are."""

import re

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d.cli import main
from stack3d.runs import RecipeError, Step
from stack3d.runs._choice import number_of
from stack3d.runs.pystack3d import is_project, read_project

PARAMS = """
ind_min = 1
ind_max = 99999
channels = ["."]
nproc = 1
process_steps = [{steps}]
history = []

[cropping]
area = [10, 70, 5, 60]

[bkg_removal]
dim = 3
orders = [1, 1, 1]
cross_terms = true
skip_factors = [4, 4, 1]
threshold_min = 2
weight_func = "HuberT"
preserve_avg = true

[intensity_rescaling]
nbins = 256
filter_size = -1

[intensity_rescaling_area]
area = [0, 99999, 0, 99999]
factors_range = [0.5, 1.5]

[registration_calculation]
area = [0, 50, 0, 40]
nb_blocks = [1, 1]
transformation = "TRANSLATION"

[registration_transformation]
box_size_averaging = 5
subpixel = false
mode = "edge"
cropping = true

[resampling]
policy = "slice_{{slice_nb}}_z={{z_coord}}um.tif"
dz = 0.01
"""
ALL = [
    "cropping",
    "bkg_removal",
    "intensity_rescaling",
    "intensity_rescaling_area",
    "registration_calculation",
    "registration_transformation",
    "resampling",
]


@pytest.fixture
def project(tmp_path):
    made = stack3d.synthetic.make_stack((8, 64, 80), defects={"drift": True, "gain": True}).stack
    for k, frame in enumerate(made.values):
        tifffile.imwrite(tmp_path / f"slice_{k:04d}_z={0.01 * k:.4f}um.tif", frame)
    write(tmp_path, ALL)
    return tmp_path


def write(folder, steps):
    (folder / "params.toml").write_text(PARAMS.format(steps=", ".join(f'"{step}"' for step in steps)))


def sizes(opening):
    return {"z": 8, "y": 64, "x": 80}


def test_areas_are_counted_from_the_lower_left_and_slices_by_their_place(project):
    steps = read_project(project, shape=sizes).recipe.steps
    assert steps[0] == Step("crop", {"z": slice(1, 8), "by": "index"})
    assert steps[1] == Step("crop", {"y": slice(4, 59), "x": slice(10, 70), "by": "index"})
    register = next(step for step in steps if step.operation == "register")
    # of 55 rows that are left, the lower 40
    assert register.parameters["region"] == {"y": slice(15, 55), "x": slice(0, 50), "by": "index"}
    assert register.parameters["trend"] == "mean"
    assert register.parameters["integer"] is True


def test_every_step_is_translated_in_its_order(project):
    names = [step.operation for step in read_project(project, shape=sizes).recipe.steps]
    assert names == ["crop", "crop", "remove_background", "match_histograms", "level_slices", "register", "resample"]


def test_differences_on_purpose_are_noted(project):
    notes = " ".join(read_project(project, shape=sizes).notes)
    for word in ("bkg_removal", "intensity_rescaling", "registration"):
        assert word in notes


def test_a_project_folder_runs(project, capsys):
    assert is_project(project)
    assert main(["run", str(project)]) == 0
    assert "PyStack3D" in capsys.readouterr().err
    clean = stack3d.open_stack(project / "clean.zarr")
    assert clean.stack3d.pixel_size.z == pytest.approx(10)
    raw = stack3d.open_stack(project, pattern="slice_{slice_nb}_z={z_coord}um.tif").load()
    assert clean.sizes["z"] == 7
    assert clean.mean(("y", "x")).std() < 0.2 * raw.mean(("y", "x")).std()


def test_every_unknown_key_is_listed_at_once(project):
    file = project / "params.toml"
    file.write_text(file.read_text().replace("nbins", "n_bins").replace('"TRANSLATION"', '"BILINEAR"'))
    with pytest.raises(RecipeError) as error:
        read_project(project, shape=sizes)
    assert len(error.value.problems) == 2
    file.write_text(file.read_text().replace('"cropping",', '"croping",'))
    with pytest.raises(RecipeError, match="croping"):
        read_project(project, shape=sizes)


def test_unknown_keys_hide_no_wrong_value_and_each_has_its_line(project):
    file = project / "params.toml"
    text = file.read_text().replace("nbins = 256", 'nbins = "a"\nn_bins = 3').replace("[0.5, 1.5]", "2")
    file.write_text(
        "colour = 1\n" + text.replace('"cropping",', '"croping",').replace("nb_blocks = [1, 1]", "nb_blocks = []")
    )
    with pytest.raises(RecipeError) as error:
        read_project(project, shape=sizes)
    lines = file.read_text().splitlines()
    found = {}
    for problem in error.value.problems:
        place, _, said = problem.removeprefix("params.toml, line ").partition(": ")
        found[lines[int(place) - 1].split(" =")[0]] = said
    assert list(found) == ["colour", "process_steps", "nbins", "n_bins", "factors_range", "nb_blocks"]
    assert found["nbins"] == "[intensity_rescaling] nbins = 'a' must be a whole number"


def test_slices_that_cannot_be_opened_hide_no_wrong_value(project, capsys):
    file = project / "params.toml"
    file.write_text(
        file.read_text().replace("nbins = 256", 'nbins = "a"').replace("slice_{slice_nb}", "frame_{slice_nb}")
    )
    assert main(["run", str(project)]) == 1
    said = capsys.readouterr().err
    assert "policy (under [resampling]) 'frame_" in said
    assert "--pattern" not in said
    assert "nbins = 'a'" in said


def test_an_area_beyond_the_image_is_cut_and_noted(project):
    file = project / "params.toml"
    file.write_text(file.read_text().replace("[10, 70, 5, 60]", "[-10, 64, 0, 70]"))
    found = read_project(project, shape=sizes)
    assert found.recipe.steps[1].parameters == {"y": slice(0, 64), "x": slice(0, 64), "by": "index"}
    assert any("crops wrongly" in note for note in found.notes)


def test_a_polynomial_written_out_and_two_dimensions(project):
    file = project / "params.toml"
    text = file.read_text().replace("orders = [1, 1, 1]", 'poly_basis = "1 + x + x*y"').replace("dim = 3", "dim = 2")
    file.write_text(text)
    step = next(s for s in read_project(project, shape=sizes).recipe.steps if s.operation == "remove_background")
    assert (step.parameters["per"], step.parameters["terms"]) == ("slice", "1 + x + x*y")
    da = stack3d.from_array(np.random.default_rng(0).random((3, 30, 41)).astype("float32") + 5, pixel_size=(20, 5, 5))
    # PyStack3D's own two-dimensional mode ends in an error on any shape.
    assert da.stack3d.remove_background(**{**step.parameters, "subsample": 2}).sizes == da.sizes


def translated(project, step):
    return next(s for s in read_project(project, shape=sizes).recipe.steps if s.operation == step).parameters


def test_a_constant_drift_is_the_given_one_with_y_and_x_in_our_order(project):
    file = project / "params.toml"
    text = file.read_text().replace("subpixel = false", "subpixel = true")
    file.write_text(text.replace("box_size_averaging = 5", "constant_drift = [-0.3, 1.2]"))
    found = translated(project, "register")
    assert (found["trend"], found["trend_slope"]) == ("linear", ["1.2 px", "-0.3 px"])
    assert "least_step" not in found
    file.write_text(text.replace("box_size_averaging = 5", "constant_drift = [-0.3, 1.2]\nbox_size_averaging = 5"))
    assert translated(project, "register")["trend"] == "mean"
    assert any("constant_drift" in note for note in read_project(project, shape=sizes).notes)
    file.write_text(text.replace("box_size_averaging = 5", "constant_drift = 2"))
    with pytest.raises(RecipeError, match="constant_drift = 2"):
        read_project(project, shape=sizes)


def test_without_subpixel_steps_below_a_pixel_stay_in_the_images(project):
    found = translated(project, "register")
    assert (found["least_step"], found["integer"]) == ("1 px", True)


def test_stripes_lean_as_pystack3d_draws_its_filters(tmp_path):
    # x' = x cos theta + y sin theta across the stripe, rows downwards
    rng, turn, size = np.random.default_rng(0), np.radians(20.0), 128
    y, x = np.mgrid[:size, :size].astype(float)
    across, along = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    texture = stack3d.synthetic.make_stack((2, size, size), dtype="uint8", noise=2.0).truth.values.astype(float)
    stripes = np.zeros((size, size))
    for x0, y0 in rng.uniform(0, size, (12, 2)):
        a, b = x0 * np.cos(turn) + y0 * np.sin(turn), y0 * np.cos(turn) - x0 * np.sin(turn)
        stripes += rng.uniform(15, 40) * np.exp(-0.5 * (((across - a) / 1.5) ** 2 + ((along - b) / 60) ** 2))
    clean = np.rint(40 + texture * 0.5)
    for k, frame in enumerate(clean + stripes):
        tifffile.imwrite(tmp_path / f"slice_{k:04d}_z={0.01 * k:.4f}um.tif", np.rint(frame).clip(0, 255).astype("u1"))
    step = '[destriping]\nfilters = [{ name = "Gabor", noise_level = 20, sigma = [1.5, 60], theta = 20 }]\n'
    (tmp_path / "params.toml").write_text(
        PARAMS.format(steps='"destriping"').replace("ind_min = 1", "ind_min = 0") + step
    )
    assert main(["run", str(tmp_path), "--no-report"]) == 0
    left = stack3d.open_stack(tmp_path / "clean.zarr").values - clean
    assert (left - left.mean((1, 2), keepdims=True)).std() < 0.5 * stripes.std()


def test_an_area_after_a_common_crop_is_counted_from_the_lower_edge_of_what_is_left(project):
    text = (project / "params.toml").read_text().replace('"resampling"]', '"resampling", "cropping_final"]')
    (project / "params.toml").write_text(text + "\n[cropping_final]\narea = [3, 20, 2, 30]\n")
    last = read_project(project, shape=sizes).recipe.steps[-1]
    assert last == Step("crop", {"y": slice(-30, -2), "x": slice(3, 20), "by": "index"})
    (project / "params.toml").write_text(text + "\n[cropping_final]\narea = [0, 99999, 0, 99999]\n")
    assert read_project(project, shape=sizes).recipe.steps[-1].operation == "resample"


def test_an_area_that_is_the_whole_frame_is_a_copy(project):
    write(project, ["cropping"])
    file = project / "params.toml"
    file.write_text(
        file.read_text().replace("[10, 70, 5, 60]", "[0, 99999, 0, 99999]").replace("ind_min = 1", "ind_min = 0")
    )
    assert main(["run", str(file)]) == 0
    raw = np.stack([tifffile.imread(path) for path in sorted(project.glob("*.tif"))])
    np.testing.assert_array_equal(stack3d.open_stack(project / "clean.zarr").values, raw)


def test_a_history_is_noted(project):
    file = project / "params.toml"
    text = file.read_text()
    file.write_text(text.replace("history = []", 'history = ["cropping"]'))
    assert any("history is not used" in note for note in read_project(project, shape=sizes).notes)


def test_steps_that_are_not_serial_are_each_done_on_the_raw_slices(project, capsys):
    write(project, ["cropping", "intensity_rescaling", "registration_calculation", "registration_transformation"])
    file = project / "params.toml"
    file.write_text("serial = false\n" + file.read_text())
    assert main(["run", str(project), "--no-report"]) == 0
    said = capsys.readouterr()
    assert said.err.count("serial = false: every step is done on the raw slices") == 1
    results = [line.split()[-1] for line in said.out.splitlines() if line.startswith("result")]
    assert [path.rpartition("/")[2] for path in results] == [
        "clean-crop.zarr",
        "clean-match_histograms.zarr",
        "clean-register.zarr",
    ]
    frames = [tifffile.imread(path) for path in sorted(project.glob("*.tif"))]
    raw = stack3d.from_array(np.stack(frames[1:]), pixel_size=1)
    crop, match, register = (stack3d.open_stack(path).load() for path in results)
    np.testing.assert_array_equal(crop, raw[:, 4:59, 10:70])
    floats = raw.stack3d.astype(dtype="float32").stack3d.match_histograms(reference="mean", nbins=256)
    np.testing.assert_array_equal(match, np.rint(floats))
    assert register.sizes["y"] <= raw.sizes["y"]
    assert register.sizes["y"] > crop.sizes["y"] or register.sizes["x"] > crop.sizes["x"]
    assert main(["run", str(project), "--no-report", "--out", str(project / "a.zarr")]) == 1
    assert "give one with --steps beside --out" in capsys.readouterr().err
    file.write_text(file.read_text().replace("serial = false", 'serial = "no"'))
    with pytest.raises(RecipeError, match="serial = 'no' must be true or false"):
        read_project(project, shape=sizes)


def into_channels(project):
    frames = sorted(project.glob("*.tif"))
    for name, factor in (("SE2", 1), ("ESB", 2)):
        (project / name).mkdir()
        for path in frames:
            tifffile.imwrite(project / name / path.name, tifffile.imread(path) // factor)
    for path in frames:
        path.unlink()


@pytest.mark.parametrize("channels", [["SE2", "ESB"], ["ESB"]])
def test_the_policy_of_names_holds_within_the_folder_of_each_channel(project, channels):
    into_channels(project)
    write(project, ["resampling"])
    file = project / "params.toml"
    file.write_text(file.read_text().replace('["."]', str(channels).replace("'", '"')))
    assert main(["run", str(project), "--no-report"]) == 0
    clean = stack3d.open_stack(project / "clean.zarr").load()
    assert np.atleast_1d(clean["channel"].values).tolist() == channels
    for name in channels:
        raw = np.stack([tifffile.imread(path) for path in sorted((project / name).glob("*.tif"))])
        found = clean.sel(channel=name) if "channel" in clean.dims else clean
        np.testing.assert_array_equal(found, raw[1:])  # z is even, and ind_min = 1


def test_channels_are_folders_and_share_the_registration_of_the_first(project):
    into_channels(project)
    write(project, ["registration_calculation", "registration_transformation"])
    file = project / "params.toml"
    text = (
        file.read_text()
        .replace('channels = ["."]', 'channels = ["SE2", "ESB"]')
        .replace("cropping = true", "cropping = false")
    )
    file.write_text(text.replace("area = [0, 50, 0, 40]", ""))
    assert main(["run", str(project)]) == 0
    clean = stack3d.open_stack(project / "clean.zarr").load()
    assert list(clean.channel.values) == ["SE2", "ESB"]
    np.testing.assert_array_equal(clean.sel(channel="SE2") // 2, clean.sel(channel="ESB"))


def test_notes_are_kept_with_the_run(project):
    import json

    assert main(["run", str(project)]) == 0
    folder = project / "clean.zarr.run"
    notes = read_project(project, shape=sizes).notes
    assert json.loads((folder / "state.json").read_text())["notes"] == notes
    assert all(f"# Note: {note}" in (folder / "recipe.toml").read_text() for note in notes)


def test_a_result_among_the_slices_is_up_to_date_and_another_parameter_repeats_only_what_follows(project, caplog):
    assert main(["run", str(project)]) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (project / "clean.zarr.run" / "estimates").iterdir()}
    caplog.clear()
    assert main(["run", str(project)]) == 0
    assert "is up to date" in caplog.text
    file = project / "params.toml"
    file.write_text(file.read_text().replace("nbins = 256", "nbins = 128"))
    assert main(["run", str(project)]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (project / "clean.zarr.run" / "estimates").iterdir()}
    background = next(name for name in before if "background" in name)
    assert after[background] == before[background]
    assert len(after) > len(before)


def test_what_pystack3d_made_in_the_project_is_no_part_of_the_input(project, caplog):
    assert main(["run", str(project)]) == 0
    made = project / "process" / "cropping"
    (made / "outputs").mkdir(parents=True)
    for file in sorted(project.glob("*.tif")):
        (made / file.name).write_bytes(file.read_bytes())
    caplog.clear()
    assert main(["run", str(project)]) == 0
    assert "is up to date" in caplog.text
    first = sorted(project.glob("*.tif"))[1]
    tifffile.imwrite(first, tifffile.imread(first)[::-1])
    caplog.clear()
    assert main(["run", str(project)]) == 0
    assert "is up to date" not in caplog.text


def problems_of(folder, text):
    (folder / "params.toml").write_text(text)
    with pytest.raises(RecipeError) as error:
        read_project(folder, shape=sizes)
    return error.value.problems


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nproc = 1", 'nproc = "a"', "line 5: nproc = 'a' must be a whole number"),
        ("ind_min = 1", "ind_min = -3", "line 2: ind_min = -3 must be 0 or more"),
        ("ind_min = 1", "ind_min = 8", "line 2: ind_min = 8: the slices are 0 to 7"),
        ("ind_max = 99999", "ind_max = 0", "line 3: ind_max = 0 is below ind_min = 1"),
        ("subpixel = false", 'subpixel = "no"', "[registration_transformation] subpixel = 'no' must be true or false"),
        ("averaging = 5", "averaging = 2.5", "box_size_averaging = 2.5 must be a whole number"),
        ("averaging = 5", "averaging = 5\nconstant_drift = [1]", "constant_drift = [1] must be [dx, dy]"),
        ("nb_blocks = [1, 1]", "nb_blocks = [0, 2]", "nb_blocks = [0, 2]: each must be 1 or more"),
        ("nbins = 256", "nbins = 0", "[intensity_rescaling] nbins = 0 must be 1 or more"),
        ("threshold_min = 2", "threshold_min = 9\nthreshold_max = 3", "threshold_max = 3 is below threshold_min = 9"),
        ("factors_range = [0.5, 1.5]", "factors_range = [1.5, 0.5]", "factors_range = [1.5, 0.5] must rise"),
        ('"cropping",', '"cropping", "cropping",', "process_steps has 'cropping' 2 times; each step is done once"),
        ('channels = ["."]', 'channels = "SE2"', "line 4: channels = 'SE2' must be a list of names"),
    ],
)
def test_a_value_that_a_key_cannot_have_is_named_once_by_key_and_line(project, old, new, said):
    text = (project / "params.toml").read_text()
    # Another fault, far from it: none hides the other.
    found = problems_of(project, text.replace(old, new).replace('mode = "edge"', 'mode = "wrap"'))
    assert len(found) == 2
    (mine,) = [line for line in found if "mode = 'wrap'" not in line]
    assert said in mine
    assert mine.startswith("params.toml, line ")


def test_an_empty_area_is_told_of_the_table_that_has_it(project):
    write(project, ["cropping", "cropping_final"])
    text = (project / "params.toml").read_text() + "\n[cropping_final]\narea = [90, 95, 0, 10]\n"
    (found,) = problems_of(project, text)
    number = text.splitlines().index("area = [90, 95, 0, 10]") + 1
    assert found.startswith(f"params.toml, line {number}: [cropping_final] area = [90, 95, 0, 10] holds nothing")


def test_one_half_of_a_registration_is_noted_and_the_wrong_order_refused(project):
    write(project, ["registration_transformation"])
    assert any("transformation alone" in note for note in read_project(project, shape=sizes).notes)
    write(project, ["registration_transformation", "registration_calculation"])
    (found,) = problems_of(project, (project / "params.toml").read_text())
    assert "before registration_calculation, which it needs" in found


def test_a_channel_that_is_not_there_and_a_wrong_policy_are_both_told(project):
    into_channels(project)
    write(project, ["resampling"])
    text = (project / "params.toml").read_text().replace('["."]', '["SE2", "TLD"]').replace("slice_{slice_nb}", "a_{n}")

    def opened(opening):
        return stack3d.open_stack(**opening).sizes

    (project / "params.toml").write_text(text)
    with pytest.raises(RecipeError) as error:
        read_project(project, shape=opened)
    channel, policy = error.value.problems
    assert "line 4: channels has 'TLD': there is no folder" in channel
    assert "[resampling] the slices in" in policy
    assert "policy (under [resampling])" in policy


def test_what_an_operation_refuses_is_told_with_the_table_it_comes_from(project, capsys):
    write(project, ["resampling"])
    text = (project / "params.toml").read_text().replace("dz = 0.01", "zpos_out = [0.02, 0.01]")
    (project / "params.toml").write_text(text)
    assert main(["run", str(project), "--check"]) == 1
    assert re.search(r"params.toml, line \d+: \[resampling\] step 2 \(resample\): z=", capsys.readouterr().err)


def test_positions_are_lengths_in_the_unit_of_the_names(project):
    write(project, ["resampling"])
    text = (project / "params.toml").read_text().replace("ind_min = 1", "ind_min = 0")
    (project / "params.toml").write_text(text.replace("dz = 0.01", "zpos_out = [0.0, 0.015, 0.06]"))
    assert main(["run", str(project), "--no-report"]) == 0
    clean = stack3d.open_stack(project / "clean.zarr").load()
    np.testing.assert_allclose(clean.z, [0, 15, 60])
    raw = np.stack([tifffile.imread(path) for path in sorted(project.glob("*.tif"))]).astype(float)
    np.testing.assert_array_equal(clean[0], raw[0])
    np.testing.assert_allclose(clean[1], raw[1:3].mean(0), atol=0.5)
    np.testing.assert_array_equal(clean[2], raw[6])


def test_fewer_slices_are_interpolated_at_their_places_and_not_averaged(project):
    write(project, ["resampling"])
    text = (project / "params.toml").read_text().replace("ind_min = 1", "ind_min = 0")
    (project / "params.toml").write_text(text.replace("dz = 0.01", "dz = 0.02"))
    assert main(["run", str(project), "--no-report"]) == 0
    clean = stack3d.open_stack(project / "clean.zarr").load()
    np.testing.assert_allclose(clean.z, [0, 20, 40, 60])
    raw = np.stack([tifffile.imread(path) for path in sorted(project.glob("*.tif"))])
    np.testing.assert_array_equal(clean, raw[::2])


def test_some_steps_keep_the_choice_of_slices_and_the_frames_of_their_areas(project, capsys):
    write(project, ["cropping", "intensity_rescaling", "registration_calculation", "registration_transformation"])
    assert main(["run", str(project), "--check", "--steps", "register"]) == 1
    said = capsys.readouterr().err
    assert "the area of step 4 (register) is counted in frames as 2. crop leaves them; do that too: 2, 4" in said
    assert main(["run", str(project), "--no-report", "--steps", "crop"]) == 0
    cut = stack3d.open_stack(project / "clean-crop.zarr").load()
    raw = np.stack([tifffile.imread(path) for path in sorted(project.glob("*.tif"))])
    np.testing.assert_array_equal(cut, raw[1:, 4:59, 10:70])


def test_steps_have_their_names_of_pystack3d_too(project, capsys):
    write(project, ["cropping", "registration_calculation", "registration_transformation", "cropping_final"])
    text = (project / "params.toml").read_text()
    (project / "params.toml").write_text(text + "\n[cropping_final]\narea = [2, 30, 2, 30]\n")
    recipe = read_project(project, shape=sizes).recipe
    assert [step.operation for step in recipe.steps] == ["crop", "crop", "register", "crop"]  # the first chooses slices
    asked = {"cropping": 1, "registration_calculation": 2, "registration_transformation": 2, "cropping_final": 3}
    assert {name: number_of(recipe, name) for name in asked} == asked
    assert main(["run", str(project), "--no-report", "--steps", "cropping"]) == 0
    assert stack3d.open_stack(project / "clean-crop-2.zarr").shape == (7, 55, 60)
    assert main(["run", str(project), "--check", "--steps", "destriping"]) == 1
    assert "step 'destriping' is not in the recipe" in capsys.readouterr().err


def test_a_step_that_changes_nothing_may_be_named(project, capsys):
    write(project, ["cropping", "intensity_rescaling"])
    text = (project / "params.toml").read_text().replace("area = [10, 70, 5, 60]", "area = [0, 99999, 0, 99999]")
    (project / "params.toml").write_text(text)
    assert main(["run", str(project), "--check", "--steps", "cropping,intensity_rescaling"]) == 0
    assert main(["run", str(project), "--check", "--steps", "cropping"]) == 1
    assert "step 'cropping' changes nothing in this project" in capsys.readouterr().err


def test_a_folder_that_is_not_there_and_a_wrong_dim_are_told_by_key_and_line(project):
    text = (project / "params.toml").read_text()
    (project / "params.toml").write_text('project_dir = "nowhere"\n' + text.replace("dim = 3", "dim = 4"))
    with pytest.raises(RecipeError) as found:
        read_project(project, shape=sizes)
    assert "line 1: project_dir: there is no folder" in str(found.value)
    assert "dim = 4 must be 2 or 3" in str(found.value)


def test_results_among_the_slices_are_no_part_of_the_input(project, caplog):
    write(project, ["cropping"])
    assert main(["run", str(project), "--no-report"]) == 0
    assert main(["run", str(project), "--no-report", "--out", str(project / "again.zarr")]) == 0
    caplog.clear()
    assert main(["run", str(project), "--no-report"]) == 0
    assert "is up to date" in caplog.text


def test_the_recipe_beside_a_result_makes_it_again_and_no_result_lies_among_those_of_a_channel(project, capsys):
    write(project, ["cropping"])
    assert main(["run", str(project), "--no-report"]) == 0
    again = str(project / "clean.zarr.run" / "recipe.toml")
    assert main(["run", again, "--check"]) == 0
    (project / "SE2").mkdir()
    assert main(["run", again, "--check", "--out", str(project / "SE2" / "clean.zarr")]) == 1
    assert "lies in the folder of the raw stack" in capsys.readouterr().err


def test_a_folder_that_is_no_project_is_told_why(tmp_path, capsys):
    def said():
        assert main(["run", str(tmp_path)]) == 1
        return capsys.readouterr().err

    assert "is a folder without a .toml" in said()
    (tmp_path / "a.toml").write_text("nproc = 1\n")
    assert "a.toml has no process_steps" in said()
    (tmp_path / "b.toml").write_text("nproc = 1\n")
    assert "with 2 recipes (a.toml, b.toml), none of them params.toml" in said()
    (tmp_path / "params.toml").write_text("nproc = 1\n")
    assert "params.toml has no process_steps" in said()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("wavelet_decomposition = true", "wavelet_decomposition = True must be a table"),
        ('wavelet_decomposition = ["db4"]', r"wavelet_decomposition = \['db4'\] must be a table"),
        ("filters = 3", "filters = 3 must be a list of tables"),
        ('filters = ["Gabor"]', "name = '' must be 'Gabor' or 'Dirac'"),
    ],
)
def test_stripes_described_by_no_table_are_named_with_all_else_that_is_wrong(project, given, words):
    (project / "params.toml").write_text(
        f'channels = ["."]\nprocess_steps = ["destriping", "resampling"]\n[destriping]\n{given}\n[resampling]\ndz = -1\n'
    )
    with pytest.raises(RecipeError, match=words) as raised:
        read_project(project, shape=sizes)
    assert "dz = -1" in str(raised.value)


def test_wavelets_go_as_deep_as_pystack3d_lets_them(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(90, 110, (2, 250, 250)) + np.rint(rng.normal(0, 20, 250))
    for k, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"slice_{k}.tif", frame.astype("u1"))
    table = '[destriping]\nwavelet_decomposition = { wavelet = "db15", level = 5, sigma = 1 }\n'
    (tmp_path / "params.toml").write_text(f'channels = ["."]\nprocess_steps = ["destriping"]\n{table}')
    assert main(["run", str(tmp_path), "--no-report"]) == 0
    clean = stack3d.open_stack(tmp_path / "clean.zarr").values.astype(float)
    assert clean.mean(1).std() < 0.2 * frames.mean(1).std()
