"""Reports: what they say, from what, and that nothing breaks them."""

from __future__ import annotations

import base64
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

import stack3d
from stack3d import Recipe
from stack3d.cli import main
from stack3d.reporting import _images, _matched, _oblique, _passes, _stages, _svg, _times, _words

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """The elements of a page, in order, each with its attributes and its text; unbalanced tags are an error."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self._open: list[dict] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **{k: v if v is not None else "" for k, v in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self._open[-1]["tag"] == tag
        if tag in ("td", "th", "p", "li", "dt", "dd", "summary", "caption", "span"):
            self.handle_data(" ")
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict]:
        wanted = {k.rstrip("_"): v for k, v in attributes.items()}
        return [e for e in self.elements if e["tag"] == tag and all(v in e.get(k, "") for k, v in wanted.items())]

    def section(self, name: str) -> str:
        (found,) = [e for e in self.all("section") if e["id"] == name]
        return " ".join(found["text"].split())

    def curves(self, alt: str) -> dict[str, dict]:
        svg = [e for e in self.all("svg") if alt in e["aria-label"] and "data-chart" in e][-1]
        return {curve["name"]: curve for curve in json.loads(svg["data-chart"])["curves"]}


def pixels(element: dict) -> np.ndarray:
    kind, _, data = element["src"].partition(",")
    decode = {"webp": imagecodecs.webp_decode, "jpeg": imagecodecs.jpeg8_decode, "png": imagecodecs.png_decode}
    return decode[kind.removeprefix("data:image/").removesuffix(";base64")](base64.b64decode(data)).astype(int)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    made = stack3d.synthetic.make_stack((12, 64, 80), defects={"drift": True, "gain": True, "uneven_z": True})
    path = tmp_path_factory.mktemp("report") / "raw.zarr"
    named = made.stack.assign_attrs(sample="<script>alert('x')</script> & \"co\"", instrument="Helios <5>")
    named.stack3d.save(path)
    return path


@pytest.fixture(scope="module")
def result(raw):
    recipe = Recipe(
        [("level_slices", {"window": 5}), ("register", {"crop": "common"}), ("resample", {"dz": "10 nm"})],
        input={"path": str(raw)},
    )
    stack3d.run(recipe, out=raw.parent / "clean.zarr", report=True)
    return raw.parent / "clean.zarr"


@pytest.fixture(scope="module")
def page(result):
    return Page(Path(f"{result}.html"))


def test_a_run_writes_its_report_beside_its_result(page):
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy") or page.all("meta", content="default-src")
    assert policy["content"].startswith("default-src 'none'")
    headings = [e["text"] for e in page.all("h2")]
    assert headings == [
        "Overview", "Before and after", "Cut planes", "Volume", "Step by step", "Quality before and after",
        "Grey values of each slice", "Histograms", "Positions of slices", "Steps and their estimates",
        "Time, memory, warnings", "Do it again",
    ]  # fmt: skip


def test_the_contents_lead_to_every_section(page):
    links = [e["href"].removeprefix("#") for e in page.all("a") if e["href"] != "#main"]
    assert links == [e["id"] for e in page.all("section")]
    ids = [e["id"] for e in page.elements if "id" in e]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_elsewhere(page):
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?\s*(?:https?:)?//", page.source)
    for element in page.elements:
        for key in ("src", "href"):
            assert element.get(key, "#").startswith(("#", "data:"))


def test_every_picture_says_what_it_shows(page):
    assert len(page.all("img")) >= 24
    assert all(e["alt"].strip() for e in page.all("img"))
    assert all(len(e["aria-label"]) > 20 for e in page.all("svg"))
    assert all(e["aria-label"] for e in page.all("input"))


def test_steps_parameters_and_times_are_those_of_the_record(page, result):
    said = page.section("steps")
    clean = stack3d.open_stack(result)
    numbered = [record for record in clean.stack3d.provenance if not record["context"].get("inserted")]
    assert len(numbered) < len(clean.stack3d.provenance)
    for k, record in enumerate(numbered, start=1):
        assert f"{k}. {record['operation']}" in said
    for record in clean.stack3d.provenance:
        assert record["context"]["time"].replace("T", " ").removesuffix("Z") in said
    assert "window 5 given" in said
    assert "crop 'common' given" in said
    assert "trim 0.05 default" in said
    assert "12 × 64 × 80, float32" in said


def test_the_run_tells_time_memory_and_passes(page, result):
    state = json.loads((Path(f"{result}.run") / "state.json").read_text())
    assert [p["kind"] for p in state["passes"]] == ["estimate", "estimate", "result"]
    said = page.section("run")
    assert "estimate of 1. level_slices astype " in said
    assert "estimate of 2. register astype to 1. level_slices " in said
    assert "result astype to astype " in said
    assert "computed in result, " in page.section("steps")
    assert _words.duration(state["seconds"]) in said
    assert _words.amount(max(p["peak_memory"] for p in state["passes"])) in said
    assert "No warnings were raised." in said


def done_again(page):
    """Run the code of a page that makes its result again."""
    (code,) = [e["text"] for e in page.all("code") if "stack3d.replay(" in e["text"]]
    names = {}
    exec(code, names)
    return names["again"], names["clean"]


def test_the_code_of_a_report_makes_the_result_again(page, raw, result, tmp_path, stack, monkeypatch):
    np.testing.assert_array_equal(*(da.values for da in done_again(page)))
    by_command = tmp_path / "page.html"
    assert main(["report", str(result), "--out", str(by_command), "--before", str(raw)]) == 0
    np.testing.assert_array_equal(*(da.values for da in done_again(Page(by_command))))
    # Arguments of the recipe's input belong to it.
    tifffile.imwrite(tmp_path / "raw.tif", stack.values, photometric="minisblack")
    recipe = Recipe(["invert"], input={"path": str(tmp_path / "raw.tif"), "pixel_size": ["7 nm", "5 nm", "5 nm"]})
    stack3d.run(recipe, out=tmp_path / "clean.zarr", report=True)
    again, clean = done_again(Page(tmp_path / "clean.zarr.html"))
    assert float(again["z"][1] - again["z"][0]) == 7
    np.testing.assert_array_equal(again.values, clean.values)


def test_a_report_that_was_not_told_the_paths_says_so(stack, tmp_path):
    page = Page(stack.stack3d.invert().stack3d.report(tmp_path / "page.html", before=stack, quality=False))
    assert "RAW and CLEAN stand for the paths" in page.section("again")
    assert "stack3d.open_stack('RAW')" in page.section("again")


def test_a_blur_that_raises_the_sharpness_is_not_called_better(tmp_path, stack):
    from scipy.ndimage import gaussian_filter

    noisy = stack.astype("float32") + np.random.default_rng(0).normal(0, 0.5 * float(stack.std()), stack.shape)
    noisy = noisy.astype("float32").assign_attrs(stack.attrs)
    blurred = noisy.copy(data=gaussian_filter(noisy.values, (0, 0.5, 0.5)))
    page = Page(blurred.stack3d.report(tmp_path / "page.html", before=noisy))
    rows = {cells[0]: cells for cells in re.findall(r"<th scope=\"row\">([^<]*)</th>(.*?)</tr>", page.source, re.S)}
    assert "+" in rows["sharpness"][1]
    for name in ("sharpness", "signal-to-noise ratio (power)", "standard deviation of the noise"):
        assert not re.search("better|worse", rows[name][1])
    assert re.search("better|worse", rows["correlation of neighbours"][1])
    assert "are not called better or worse" in page.section("quality")


def test_a_pass_computes_what_came_since_the_last_checkpoint():
    notes = [("estimate", 4), ("checkpoint", 4), ("estimate", 5), ("result", 7)]
    state = {"resumed_after": 2, "passes": [{"kind": kind, "name": "n", "step": k, "seconds": k} for kind, k in notes]}
    passes = _times.passes_of(state)
    assert [list(one.steps) for one in passes] == [[3], [3, 4], [], [5, 6]]
    names = _times.names_of(state, [{"operation": name} for name in "xabcdef"])
    assert names == ["2. a", "3. b", "4. c", "5. d", "6. e", "7. f"]
    assert _times.steps_said(passes[1], names) == "4. c to 5. d"
    # What is called in no time and computed in a pass with others has no time of its own.
    assert _times.shortly(3, passes) == ""
    assert _times.shortly(4, passes) == "estimate 4 s"
    assert ("computed in", "checkpoint after 5. d, 4 s with all of its steps") in _times.of_step(3, passes, names)


def test_curves_hold_the_values_of_the_estimates(page, result):
    import xarray as xr

    (levels,) = (Path(f"{result}.run") / "estimates").glob("*levels*.nc")
    with xr.open_dataset(levels) as found:
        gain = found["gain"].values
    np.testing.assert_allclose(page.curves("gain by z / nm")["gain"]["y"], gain, rtol=1e-4)
    (transforms,) = (Path(f"{result}.run") / "estimates").glob("*transforms*.nc")
    with xr.open_dataset(transforms) as found:
        curves = page.curves("shift / nm by z")
        np.testing.assert_allclose(curves["shift along y"]["y"], found["shift_y"].values, rtol=1e-4, atol=1e-9)
        steps = page.curves("step / nm by z")
        np.testing.assert_allclose(steps["step along x"]["y"], np.diff(found["shift_x"].values), rtol=1e-4, atol=1e-9)


def test_profiles_are_those_of_the_slices(page, raw, result):
    for name, path in (("before", raw), ("after", result)):
        da = stack3d.open_stack(path)
        table = da.stack3d.slice_statistics(quantiles=(0.5,)).compute()
        svgs = [e for e in page.all("svg") if e["aria-label"].startswith("grey value by z / nm. before:")]
        mean, spread = (json.loads(e["data-chart"])["curves"] for e in svgs[:2])
        of = {c["name"]: c["y"] for c in mean}[name], {c["name"]: c["y"] for c in spread}[name]
        np.testing.assert_allclose(of[0], table["mean"], rtol=1e-4)
        np.testing.assert_allclose(of[1], table["standard_deviation"], rtol=1e-4)


def test_pictures_before_and_after_have_one_grey_scale_and_the_same_place(tmp_path):
    grid = np.linspace(0, 60000, 64 * 64).reshape(64, 64)
    data = np.stack([np.roll(grid, k, axis=0) for k in range(5)]).astype(np.uint16)
    before = stack3d.from_array(data, pixel_size=(10, 4, 4))
    after = before.stack3d.crop(y=slice(16, 48), x=slice(8, 40), by="index").isel(z=slice(1, 4))
    shown = Page(after.stack3d.report(tmp_path / "page.html", before=before, quality=False))
    viewer = shown.section("pictures")
    assert "The same grey scale before and after" in viewer
    pairs = [e for e in shown.all("img") if e["alt"].startswith("z = ")]
    firsts, seconds = ([pixels(e) for e in pairs if e["class"] == name] for name in ("before", "after"))
    assert len(firsts) == len(seconds) == 3
    for first, second in zip(firsts, seconds, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(seconds[0], seconds[1])


def test_slices_are_matched_by_position_through_flips_and_units():
    data = np.arange(6 * 8 * 8, dtype=np.uint16).reshape(6, 8, 8)
    before = stack3d.from_array(data, pixel_size=10)
    flipped = before.stack3d.flip(dims=["z", "x"]).isel(z=[0, 2, 5])
    pair = _matched.matched(flipped, before, "", flipped.stack3d.provenance, None)
    assert pair.partners([0, 1, 2]) == [0, 2, 5]
    np.testing.assert_array_equal(pair.before.isel([0, 2, 5]).values, flipped.values)
    other = before.assign_coords({d: before[d].assign_attrs(units="um") / 1000 for d in "zyx"})
    for d in "zyx":
        other[d].attrs["units"] = "um"
    assert _matched.matched(before, other, "", [], None).partners([0, 3]) == [0, 3]
    assert _matched.matched(before, before.isel(z=slice(0, 3)), "", [], None).partners([0, 5]) == [0, None]


def test_thickness_moves_the_slices_before_to_their_measured_positions():
    before = stack3d.from_array(np.zeros((5, 8, 8), np.uint8), pixel_size=10)
    thickness = before.isel(y=0, x=0, drop=True).to_dataset(name="position").astype(float)
    thickness["position"] = ("z", [0.0, 20.0, 40.0, 60.0, 80.0])
    after = stack3d.from_array(np.zeros((9, 8, 8), np.uint8), pixel_size=10)
    assert _matched.matched(after, before, "", [], thickness).partners([0, 4, 8]) == [0, 2, 4]


def test_a_union_canvas_shows_where_the_frame_was():
    before = stack3d.from_array(np.full((2, 20, 20), 7, np.uint8), pixel_size=1)
    after = stack3d.from_array(np.full((2, 40, 40), 7, np.uint8), pixel_size=1)
    after = after.assign_coords(y=after["y"] - 10.0, x=after["x"] - 5.0)
    pair = _matched.matched(after, before, "", [], None)
    place = _passes.fit(pair.before, pair.after, (40, 40))
    picture, _ = _passes.pictures(pair.before.isel([0]), place)
    known = np.isfinite(picture[0])
    assert known.sum() == 400
    assert known[10:30, 5:25].all()


def test_the_cut_planes_are_the_cuts_of_the_stack():
    rng = np.random.default_rng(0)
    da = stack3d.from_array(rng.integers(0, 255, (10, 12, 14), dtype=np.uint8), pixel_size=(1, 1, 1))
    pair = _matched.matched(da, da, "", [], None)
    for side in (pair.after, pair.before):
        found = _passes.profile(side, pair.after, (12, 14), np.linspace(0, 255, 9))
        cuts = _passes.planes(side, found, pair)
        np.testing.assert_array_equal(cuts["xz"], da.isel(y=5))
        np.testing.assert_array_equal(cuts["yz"], da.isel(x=6).T)


def test_what_comes_from_files_is_escaped(page):
    assert "<script>alert" not in page.source
    assert "&lt;script&gt;alert" in page.source
    assert "Helios <5>" in page.section("again")


def test_odd_names_of_channels_and_titles_are_escaped(stack, tmp_path):
    two = stack3d.from_array(np.stack([stack.values] * 2), pixel_size=5, channel=["a<b>", "c&\"d'"])
    path = two.stack3d.report(tmp_path / "page.html", before=two, title="</title><b>", quality=False, slices=2)
    found = Page(path)
    assert found.all("title")[0]["text"] == "</title><b> – stack3d report"
    assert [e["text"] for e in found.all("h3")].count("Channel a<b>") >= 3
    assert not found.all("b", text="x")


def odd_stacks():
    rng = np.random.default_rng(1)
    holes = rng.normal(size=(4, 30, 30)).astype(np.float32)
    holes[0, :5] = np.nan
    holes[1] = np.nan
    holes[2, 3, 3] = np.inf
    yield "holes", holes
    yield "nothing but holes", np.full((2, 9, 9), np.nan)
    yield "constant", np.full((3, 16, 16), 7, np.uint8)
    yield "bool", rng.random((3, 32, 32)) > 0.5
    yield "one slice", rng.integers(0, 9, (1, 40, 40), dtype=np.int16)
    yield "one frame", rng.integers(0, 9, (40, 40), dtype=np.uint16)
    yield "one pixel", np.array([[[1.0]]])
    yield "one row", rng.integers(0, 9, (3, 1, 50), dtype=np.uint8)
    yield "large numbers", rng.normal(size=(2, 16, 16)) * 1e300
    yield "whole numbers of 64 bits", rng.integers(-(2**62), 2**62, (2, 16, 16))


@pytest.mark.parametrize(
    ("name", "data"), list(odd_stacks()), ids=lambda value: value if isinstance(value, str) else "-"
)
def test_odd_stacks_have_a_report(name, data, tmp_path):
    da = stack3d.from_array(data, pixel_size=None)
    for before in (None, da):
        found = Page(da.stack3d.report(tmp_path / "page.html", before=before))
        assert found.all("img")
        assert "nan" not in "".join(e.get("d", "") + e.get("x", "") for e in found.elements)


def test_before_may_be_of_another_kind(stack, tmp_path):
    other = stack3d.from_array(np.random.default_rng(0).random((3, 20, 30)).astype(np.float32), pixel_size=None)
    found = Page(stack.stack3d.report(tmp_path / "page.html", before=other))
    assert "Grey values differ too much for one scale" in found.section("pictures")


def test_large_frames_of_many_slices_stay_below_10_mb(tmp_path, monkeypatch):
    # Noise cannot be packed: no real stack is worse.
    frame = np.random.default_rng(0).integers(0, 65535, (700, 700), dtype=np.uint16)
    data = np.broadcast_to(frame, (500, 700, 700))
    da = stack3d.from_array(data, pixel_size=5)
    monkeypatch.setattr(_passes, "_PROFILE_BYTES", 0)
    path = da.stack3d.report(tmp_path / "page.html", before=da, quality=False)
    assert 1e6 < path.stat().st_size < 10e6
    assert path.read_text(encoding="utf-8").count('<img class="before"') >= 24


def test_only_sampled_slices_are_computed(tmp_path, monkeypatch):
    import dask.array

    monkeypatch.setattr(_passes, "_PROFILE_BYTES", 0)
    seen = []

    def block(block_info=None):
        seen.append(block_info[None]["chunk-location"][0])
        return np.full((1, 40, 40), len(seen) % 7, np.uint8)

    lazy = dask.array.map_blocks(block, chunks=((1,) * 400, (40,), (40,)), dtype=np.uint8)
    da = stack3d.from_array(lazy, pixel_size=5)
    seen.clear()
    da.stack3d.report(tmp_path / "page.html")
    assert 20 < len(set(seen)) < 190


@pytest.mark.filterwarnings("ignore::stack3d.UntiedSliceWarning", "ignore::stack3d.BlankSliceWarning")
def test_estimates_of_every_kind_have_figures(tmp_path):
    made = stack3d.synthetic.make_stack((8, 64, 64), defects="all")
    da = made.stack
    kinds = [
        "estimate_background", "estimate_shading", "estimate_histogram", "estimate_levels", "estimate_range",
        "estimate_contrast", "estimate_stripes", "estimate_noise", "detect_hot_pixels", "find_bad_slices",
        "estimate_transforms", "estimate_thickness",
    ]  # fmt: skip
    given = {name: getattr(da.stack3d, name)() for name in kinds}
    given["of slices"] = da.stack3d.estimate_background(per="slice")
    given["smooth"] = da.stack3d.estimate_background(method="gaussian")
    given["unheard of"] = given["estimate_levels"].assign_attrs(kind="new")
    found = Page(da.stack3d.report(tmp_path / "page.html", estimates=given, quality=False, slices=1))
    folds = {e["text"].split()[0]: e["text"] for e in found.all("details")}
    said = found.section("steps")
    for words in ("Fitted surface", "Coefficients of the polynomial of each slice", "Mean histogram and reference",
                  "Gain of each slice", "Drift", "Measured less given positions", "Noise of each slice"):  # fmt: skip
        assert words in said
    assert set(kinds) <= set(folds)


def test_the_surface_is_the_one_that_was_fitted():
    from stack3d.reporting import _surfaces

    y, x = np.meshgrid(np.arange(48.0), np.arange(64.0), indexing="ij")
    surface = 100 + 2 * y + 3 * x + 0.05 * x * y
    da = stack3d.from_array(np.stack([surface] * 4), pixel_size=1)
    found = da.stack3d.estimate_background(degree=2)
    drawn = _surfaces._polynomial(found)
    yy, xx = np.linspace(0, 47, drawn.shape[0])[:, None], np.linspace(0, 63, drawn.shape[1])[None, :]
    np.testing.assert_allclose(drawn, 100 + 2 * yy + 3 * xx + 0.05 * xx * yy, rtol=1e-4)


def test_quality_improves_where_noise_goes(stack, tmp_path):
    noisy = (stack + np.random.default_rng(0).normal(0, 3000, stack.shape)).assign_attrs(stack.attrs)
    found = Page(stack.stack3d.report(tmp_path / "page.html", before=noisy))
    rows = {r["text"].split("\n")[0]: r["text"] for r in found.all("tr") if "better" in r["text"]}
    assert any("correlation of neighbours" in text for text in rows.values())
    assert any("mutual information" in text for text in rows.values())


def test_a_failing_report_costs_a_warning_and_nothing_else(raw, tmp_path):
    (tmp_path / "clean.zarr.html").write_text("my own page")
    recipe = Recipe(["invert"], input={"path": str(raw)})
    with pytest.warns(stack3d.ReportWarning, match="is complete, but its report could not be written"):
        clean = stack3d.run(recipe, out=tmp_path / "clean.zarr", report=True)
    assert clean.shape == stack3d.open_stack(raw).shape
    assert (tmp_path / "clean.zarr.html").read_text() == "my own page"


def test_a_run_without_a_report_writes_none(raw, tmp_path):
    recipe = Recipe(["invert"], input={"path": str(raw)})
    stack3d.run(recipe, out=tmp_path / "clean.zarr", report=False)
    assert not (tmp_path / "clean.zarr.html").exists()
    with stack3d.set_options(report=False):
        stack3d.run(recipe, out=tmp_path / "other.zarr")
    assert not (tmp_path / "other.zarr.html").exists()


def test_the_command_writes_a_report_of_a_run_with_what_it_kept(result, tmp_path, capsys):
    page = tmp_path / "again.html"
    assert main(["report", str(result), "-o", str(page), "--slices", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    found = Page(page)
    assert "Gain of each slice" in found.section("steps")
    assert len([e for e in found.all("img", class_="before") if e["alt"].startswith("z = ")]) == 3
    page.write_text("notes")
    assert main(["report", str(result), "-o", str(page)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_warnings_of_a_run_are_in_its_report(tmp_path, stack):
    stack.stack3d.save(tmp_path / "raw.zarr")
    recipe = Recipe([("destripe", {"angle": "auto"})], input={"path": str(tmp_path / "raw.zarr")})
    with pytest.warns(stack3d.NoStripesWarning):
        stack3d.run(recipe, out=tmp_path / "clean.zarr", report=True)
    assert "NoStripesWarning" in Page(tmp_path / "clean.zarr.html").section("run")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"path": "page.pdf"}, ValueError, "must end with .html"),
        ({"path": "nowhere/page.html"}, FileNotFoundError, "no folder"),
        ({"slices": 0}, ValueError, "slices=0"),
        ({"slices": True}, ValueError, "slices=True"),
        ({"channels": ["SE"]}, ValueError, "channels="),
        ({"run": "."}, FileNotFoundError, "not the folder of a run"),
        ({"before": 3}, TypeError, "before must be"),
        ({"estimates": {"a": 1}}, TypeError, r"estimates\['a'\]"),
    ],
)
def test_bad_calls_are_refused(stack, tmp_path, monkeypatch, arguments, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        stack.stack3d.report(**{"path": "page.html", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_written_for_people():
    assert _words.number(12345.678) == "12\N{NARROW NO-BREAK SPACE}346"
    assert _words.number(-0.00123456) == "−0.001235"
    assert _words.number(3e-9) == "3 × 10^−9"
    assert _words.number(1.5e12) == "1.5 × 10^12"
    assert _words.number(np.nan) == _words.number(None) == _words.NOTHING
    assert _words.amount(2.5e9) == "2.5 GB"
    assert [_words.duration(s) for s in (0.25, 3.21, 75, 7265)] == ["0.25 s", "3.21 s", "1 min 15 s", "2 h 01 min"]


def test_long_curves_keep_their_spikes():
    y = np.zeros(50_000)
    y[31_234] = 9.0
    chart = _svg.line_chart([_svg.Curve("a", np.arange(y.size), y)], x_label="z", y_label="value")
    assert "a: 0 to 9" in chart
    assert len(chart) < 100_000


@pytest.mark.parametrize(
    "label",
    [
        "gain",
        "displacement / nm",
        "Centre of the grey values and its target / grey value",
        "how far " * 20 + "/ grey value",
    ],
)
def test_a_label_of_an_axis_fits_it_in_two_lines_with_its_unit(label):
    lines = _svg.wrapped(label, 206)
    assert len(lines) == 1 + (len(label) > 29)
    assert max(map(len, lines)) <= 29
    said = " ".join(lines).replace("\N{NO-BREAK SPACE}", " ")
    assert said == label or "…" in said
    assert said.rpartition(" / ")[2] == label.rpartition(" / ")[2]


def test_shifts_of_a_stack_that_is_not_calibrated_count_pixels(tmp_path):
    made = stack3d.synthetic.make_stack((6, 48, 48), defects={"drift": True}).stack
    plain = stack3d.from_array(made.values, pixel_size=None).stack3d
    drift = plain.estimate_transforms()
    page = Page(plain.register(estimate=drift).stack3d.report(tmp_path / "page.html", estimates={"drift": drift}))
    labels = [e["aria-label"] for e in page.all("svg")]
    for quantity in ("shift", "step", "shift along y", "shift along x"):
        assert any(label.startswith(f"{quantity} / pixel by z / slice.") for label in labels), quantity


@pytest.mark.parametrize(
    ("slope", "wander", "length", "said"),
    [(0.4, 0.5, 15.6, True), (0.4, 8.0, None, False), (0.02, 0.05, None, False), (0.0, 0.0, None, False)],
    ids=["a line", "mostly no line", "a line that goes nowhere", "no shifts"],
)
def test_shifts_along_a_line_are_told_from_drift_that_wanders(slope, wander, length, said):
    stack = stack3d.from_array(np.zeros((40, 250, 250), np.uint8), pixel_size=5)
    matrices = np.tile(np.eye(3), (40, 1, 1))
    matrices[:, 0, 2] = slope * np.arange(40) + wander * np.sin(np.arange(40))
    found = _oblique.hint(stack3d.transforms.from_matrices(stack, matrices))
    assert bool(found) == said
    if said:
        moved, axis = re.search(r"z, (\S+) pixels along (\w) from", found).groups()
        assert axis == "x"
        assert abs(float(moved) - length) < 0.2
        assert "trend='linear'" in found


def test_ticks_are_round_and_inside():
    for low, high in [(0, 1), (-3.2, 17), (1e6, 1.00001e6), (0, 65535), (-1e-9, 1e-9)]:
        found = _svg.ticks(low, high, 5)
        assert 2 <= len(found) <= 7
        assert low - 1e-12 * abs(low) <= found[0]
        assert found[-1] <= high * (1 + 1e-12)


def test_shrinking_leaves_missing_pixels_out_of_the_mean():
    image = np.array([[1, np.nan, 4, 4], [1, 1, 4, 4]], np.float32)
    np.testing.assert_allclose(_images.shrunk(image, (1, 2)), [[1, 4]])
    hole = np.full((2, 4), np.nan, np.float32)
    assert np.isnan(_images.shrunk(hole, (1, 2))).all()


@pytest.mark.parametrize("limits", [(0, 255), (3, 60), (100.5, 65535.0), (-7, -2), (5, 5)])
def test_bins_of_whole_numbers_hold_equally_many_levels_and_all_of_them(limits):
    edges = _passes.bin_edges(limits, True)
    levels = np.arange(np.floor(limits[0]), edges[-1])
    counts = np.histogram(levels, edges)[0]
    assert np.ptp(counts) == 0
    assert counts.sum() == levels.size
    assert edges[0] <= limits[0]
    assert limits[1] <= edges[-1]
    assert edges.size <= _passes.BINS + 1


def test_grey_values_are_those_of_numpy_whatever_the_dtype():
    rng = np.random.default_rng(0)
    holes = rng.normal(100, 30, (40, 50)).astype(np.float32)
    holes[3:9, 4] = np.nan
    for frame in (
        rng.integers(0, 256, (40, 51), dtype=np.uint8),
        rng.integers(-900, 900, (40, 50), dtype=np.int16),
        rng.integers(0, 10**6, (40, 50), dtype=np.uint32),
        holes,
    ):
        edges = np.linspace(-50.5, 300.5, 28)
        known = frame[np.isfinite(frame)].astype(float)
        found = _passes.grey_values(frame, edges)
        truth = known.min(), known.max(), known.mean(), known.std(), np.median(known), known.size / frame.size
        names = ("minimum", "maximum", "mean", "standard_deviation", "median", "measured_share")
        np.testing.assert_allclose([found[name] for name in names], truth, rtol=1e-6)
        np.testing.assert_array_equal(found["counts"], np.histogram(np.clip(known, -50, 300), edges)[0])


def test_maps_keep_their_order_and_are_clear_where_nothing_is_known():
    values = np.arange(300.0).reshape(10, 30)
    values[2, 5] = np.nan
    shown = pixels({"src": _images.map_uri(values, (0.0, 299.0))})
    assert shown.shape == (10, 30, 4)
    assert (shown[..., 3] == np.where(np.isnan(values), 0, 255)).all()
    # Viridis runs from 440154 to fde725, its green only upwards.
    assert shown[0, 0, :3].tolist() == [0x44, 0x01, 0x54]
    assert shown[-1, -1, :3].tolist() == [0xFD, 0xE7, 0x25]
    green = shown[..., 1][np.isfinite(values)]
    assert (np.diff(green) >= 0).all()


def test_pictures_are_near_to_what_was_measured_and_clear_where_nothing_was():
    y, x = np.mgrid[:200, :220]
    image = (100 + 50 * np.sin(y / 9) * np.cos(x / 11)).astype(np.float32)
    shown = pixels({"src": _images.grey_uri(image, (0.0, 255.0), _images.PACKINGS[0].quality)})
    assert np.abs(shown - image).max() < 4
    image[:20] = np.nan
    shown = pixels({"src": _images.grey_uri(image, (0.0, 255.0), _images.PACKINGS[0].quality)})
    assert (shown[..., 3] == np.where(np.isnan(image), 0, 255)).all()
    assert np.abs(shown[24:, :, 0] - image[24:]).mean() < 2
    lossless = pixels({"src": _images.grey_uri(image, (0.0, 255.0), None)})
    np.testing.assert_array_equal(lossless[20:, :, 1], np.rint(image[20:]))


def test_what_steps_have_in_common_is_computed_once():
    import dask.array

    seen = []

    def block(block_info=None):
        seen.append(block_info[None]["chunk-location"][0])
        return np.full((1, 24, 24), seen[-1], np.uint8)

    lazy = dask.array.map_blocks(block, chunks=((1,) * 40, (24,), (24,)), dtype=np.uint8)
    first = stack3d.from_array(lazy, pixel_size=5)
    seen.clear()
    sides = [_matched.matched(da, None, "", [], None).after for da in (first, first.stack3d.invert())]
    one, other = _stages.look_at_stages(sides, sides[0], (24, 24), 100.0)
    assert sorted(seen) == sorted(set(seen))
    np.testing.assert_array_equal(one.mean, one.z / 5)
    np.testing.assert_array_equal(other.mean, 255 - one.mean)
    assert (one.picture == 20).all()
    assert (other.picture == 235).all()


def test_slices_between_far_ones_have_one_before_and_the_middle_is_a_good_one():
    raw = stack3d.from_array(np.ones((30, 8, 8), np.uint8), pixel_size=10)
    uneven = raw.assign_coords(z=raw.z.copy(data=np.cumsum([10.0] * 15 + [20.0] * 15)))
    fine = uneven.stack3d.resample(dz=10)
    pair = _matched.matched(fine, uneven, "", [], None)
    assert None not in pair.partners(range(fine.sizes["z"]))
    gap = uneven.isel(z=[*range(8), *range(22, 30)])
    assert _matched.matched(fine, gap, "", [], None).partners([14]) == [None]


def test_every_channel_is_shown_after_every_step(tmp_path, stack):
    two = stack3d.from_array(np.stack([stack.values, stack.values // 2]), pixel_size=5, channel=["SE", "BSE"])
    stack3d.run(Recipe(["invert", "flip"]), two, out=tmp_path / "clean.zarr", report=True)
    found = Page(tmp_path / "clean.zarr.html")
    steps = [e["alt"] for e in found.all("img", class_="after") if e["alt"].startswith("after ")]
    assert [alt.split(",")[:2] for alt in steps] == [
        [f"after {step}", f" channel {channel}"] for channel in ("SE", "BSE") for step in ("1. invert", "2. flip")
    ]
    assert {"1. invert", "2. flip"} <= set(found.curves("grey value by z / nm. raw"))


def test_the_memory_of_workers_is_told_apart():
    import dask.base

    from stack3d.reporting import _record_sections
    from stack3d.runs import _plan

    said = []
    for name in ("threads", "processes"):
        with dask.config.set(scheduler=dask.base.named_schedulers[name]):
            state = {"machine": _plan.machine(), "peak_memory": 1e9}
        said.append((_record_sections._memory_said(state), _record_sections._whose_memory(state)))
    assert said[0] == ("peak memory 1 GB", "One process did all of it: the memory is its own.")
    if sys.platform != "win32":
        assert said[1][0].startswith("peak memory 1 GB, workers up to ")
        assert "its workers have a line of their own" in said[1][1]


def test_a_stack_without_a_good_slice_has_its_page(tmp_path):
    made = stack3d.synthetic.make_stack((6, 40, 48)).stack.assign_coords(valid=("z", np.zeros(6, bool)))
    page = stack3d.report(made.stack3d.invert(), tmp_path / "a.html", before=made)
    assert "6 of 6" in Path(page).read_text(encoding="utf-8")
