"""The figures of steps: of every channel, everything that PyStack3D plots, and none that costs the page when it fails."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import Recipe
from stack3d.reporting import _estimate_figures, _histogram_figures, _notes, _quality, _stages, _step_figures, _write

_spec = importlib.util.spec_from_file_location("stack3d_tests_page", Path(__file__).with_name("test_report.py"))
_pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_pages)
Page = _pages.Page
NAMES = ["SE", "BSE"]


def estimate_of(result, kind):
    """Return the first estimate of a kind that a run kept."""
    for path in sorted((Path(f"{result}.run") / "estimates").glob("*.nc")):
        with xr.open_dataset(path) as found:
            if found.attrs["kind"] == kind:
                return found.load()
    raise AssertionError(kind)


def captions(page):
    return [" ".join(e["text"].split()) for e in page.all("figcaption")]


def figures_of(page, words):
    return [caption for caption in captions(page) if words in caption]


def charts(page, label):
    return [
        {c["name"]: c for c in json.loads(e["data-chart"])["curves"]}
        for e in page.all("svg")
        if e["aria-label"].startswith(label) and "data-chart" in e
    ]


@pytest.fixture(scope="module")
def two():
    made = stack3d.synthetic.make_stack((10, 64, 64), defects={"gain": True, "drift": True, "noise": True}).stack
    first, second = made.values.copy(), made.values // 2
    first[4] = second[4] = 0
    second[7] = 4 * second[7].astype(float).mean()
    first[:, 20, 30] = second[:, 40, 11] = 60000
    return stack3d.from_array(np.stack([first, second]), pixel_size=5, channel=NAMES)


@pytest.fixture(scope="module")
def bad(two, tmp_path_factory):
    target = tmp_path_factory.mktemp("bad") / "clean.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", stack3d.ReportWarning)
        stack3d.run(Recipe.preset("fibsem"), two, out=target, report=True)
    return target


def test_bad_slices_of_each_channel_are_on_the_page_of_the_preset(bad):
    page, found = Page(Path(f"{bad}.html")), estimate_of(bad, "bad_slices")
    reason = found["reason"].values
    assert set(np.flatnonzero(reason[0] != "")) < set(np.flatnonzero(reason[1] != ""))
    said = page.section("steps")
    for channel, of in zip(NAMES, reason, strict=True):
        assert f"{(of != '').sum()} of 10 slices are bad in {channel}." in said.replace("slices is", "slices are")
    for k in np.flatnonzero((reason != "").any(axis=0)):
        z = found["z"].values[k]
        assert f"{k} {z:g} {reason[0, k] or '–'} {reason[1, k] or '–'}" in said
    for k, measure in enumerate(found["measure"].values):
        curves = charts(page, f"score of {measure} by z")[0]  # of the first of two such steps
        score = found["score"].transpose("channel", "z", "measure").values[:, :, k]
        for channel, of in zip(NAMES, score, strict=True):
            shown = np.array([np.nan if v is None else v for v in curves[channel]["y"]], float)
            np.testing.assert_allclose(shown, np.where(np.isfinite(of), of, np.nan), rtol=1e-4)


def test_hot_pixels_of_each_channel_are_on_the_page(bad):
    page, found = Page(Path(f"{bad}.html")), estimate_of(bad, "hot_pixels")
    said, curves = page.section("steps"), charts(page, "log10 of pixels found by threshold")
    assert len(curves) == len(figures_of(page, "How many pixels a threshold would find, ")) == 2
    for k, channel in enumerate(NAMES):
        assert f"How many pixels a threshold would find, {channel}." in said
        count = int((found["hot_pixels"].values[k] != 0).sum())
        assert count > 0
        assert f"{count} pixel{'s' if count != 1 else ''} hot or dark, {channel}" in said
        known = found["curve_hot"].values[k] > 0
        shown = [v for v in curves[k]["hot"]["y"] if v is not None]
        np.testing.assert_allclose(shown, np.log10(found["curve_hot"].values[k][known]), rtol=1e-4, atol=1e-9)
    rows = [np.argwhere(of)[0] for of in found["hot_pixels"].values]
    assert all(f"{y}, {x} hot" in said for y, x in rows)


# What must be on the page of two channels: captions by channel, and captions with a curve of each.
KINDS = {
    "estimate_background": ({}, ["Fitted surface at 6 places along z"], []),
    "background of slices": ({"per": "slice"}, ["Coefficients of the polynomial of each", "Fitted surface at 6"], ["mean of the surface"]),
    "smooth background": ({"method": "gaussian"}, ["Fitted surface, the same of all slices"], []),
    "estimate_shading": ({}, ["Fitted surface"], []),
    "estimate_histogram": ({}, ["Histograms before", "Histograms after", "Mean histogram and reference"], []),
    "histogram of neighbours": ({"window": 3}, ["Histograms after", "Histograms of the references, slice by slice"], []),
    "estimate_levels": ({}, [], ["gain", "offset"]),
    "estimate_range": ({}, [], []),
    "estimate_contrast": ({}, [], []),
    "estimate_stripes": ({}, [], ["angle"]),
    "estimate_noise": ({}, [], ["standard deviation"]),
    "detect_hot_pixels": ({}, ["How many pixels a threshold would find"], []),
    "find_bad_slices": ({}, [], []),
    "estimate_fusion": ({}, [], []),
    "estimate_transforms": ({}, [], []),
    "transforms of blocks": ({"blocks": (2, 2)}, [], []),
    "estimate_thickness": ({}, [], []),
    "estimate_channel_offset": ({}, [], []),
}  # fmt: skip
MAKER = {
    "background of slices": "estimate_background", "smooth background": "estimate_background",
    "histogram of neighbours": "estimate_histogram", "transforms of blocks": "estimate_transforms",
}  # fmt: skip
# Numbers of each channel that are in a table.
OF_CHANNELS = ("estimate_range", "estimate_contrast", "detect_hot_pixels", "estimate_fusion", "estimate_channel_offset")


@pytest.fixture(scope="module")
def every(two, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {name: getattr(two.stack3d, MAKER.get(name, name))(**kinds[0]) for name, kinds in KINDS.items()}
    path = tmp_path_factory.mktemp("every") / "page.html"
    page = Page(two.stack3d.report(path, estimates=given, quality=False, slices=1))
    parts = page.source.split("<details")[1:]
    return {name: next(p for p in parts if f"<span>{name}</span>" in p) for name in given}


@pytest.mark.parametrize("name", KINDS)
def test_an_estimate_of_two_channels_is_drawn_for_both(every, name):
    part, (_, captioned, curved) = every[name], KINDS[name]
    assert "could not be drawn" not in part
    assert part.count("<figure>") + part.count("<table>") > 0
    for channel in NAMES:
        for words in captioned:
            assert any(words in line and f", {channel}" in line for line in part.split("<figcaption>")), (
                words,
                channel,
            )
        for words in curved:
            assert any(words in key and f", {channel}" in key for key in part.split("<li>")), (words, channel)
        if name in OF_CHANNELS:
            assert f'<th scope="col">{channel}</th>' in part


def test_a_figure_that_fails_costs_a_line_and_a_warning(two, tmp_path, monkeypatch):
    def broken(*_):
        raise IndexError("index 4 is out of bounds")

    monkeypatch.setitem(_estimate_figures._OWN, "levels", broken)
    monkeypatch.setattr(_step_figures, "after_steps", broken)
    good = two.isel(z=slice(0, 4))
    given = {"levels": good.stack3d.estimate_levels()}
    with pytest.warns(stack3d.ReportWarning, match="lacks a figure") as told:
        good.stack3d.report(tmp_path / "page.html", estimates=given, quality=False, slices=1)
    assert len(told) == 2
    page = Page(tmp_path / "page.html")
    said = page.section("steps")
    assert "The estimate of levels could not be drawn: IndexError: index 4 is out of bounds" in said
    assert "Gain of each slice" in said
    assert "The section “Profiles” could not be drawn: IndexError" in page.section("profiles")
    monkeypatch.undo()
    monkeypatch.setattr(_step_figures, "along_axes", broken)
    recipe = Recipe([("remove_background", {"degree": 1})])
    with pytest.warns(stack3d.ReportWarning, match="The profiles along x and y could not be drawn"):
        stack3d.run(recipe, good, out=tmp_path / "clean.zarr", report=True)
    assert "Fitted surface" in Page(tmp_path / "clean.zarr.html").section("steps")


STEPS = [
    ("remove_background", {"degree": 1, "dtype": "float32"}),
    ("match_histograms", {"window": 3}),
    ("register", {"blocks": (2, 2), "crop": "common", "order": 1}),
    ("resample", {"dz": "7 nm"}),
]

OF_STEP = {"remove_background": "background", "match_histograms": "histogram", "register": "transforms"}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    made = stack3d.synthetic.make_stack((8, 96, 96), defects={"gain": True, "drift": True, "noise": True}).stack
    raw = stack3d.from_array(np.stack([made.values, made.values // 2]), pixel_size=5, channel=NAMES)
    target = tmp_path_factory.mktemp("chain") / "clean.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack3d.run(Recipe(STEPS), raw, out=target, report=True)
    steps = {}
    da = raw
    for k, (name, given) in enumerate(STEPS, start=1):
        estimate = {} if name == "resample" else {"estimate": estimate_of(target, OF_STEP[name])}
        asked = {"remove_background": ("dtype",), "register": ("crop", "order"), "resample": ("dz",)}.get(name, ())
        da = getattr(da.stack3d, name)(**{key: given[key] for key in asked}, **estimate)
        steps[f"{k}. {name}"] = da.compute()
    return raw, steps, target, Page(Path(f"{target}.html"))


def test_minimum_maximum_and_mean_of_every_slice_after_each_step_are_shown(chain):
    raw, steps, _, page = chain
    found = [of for of in charts(page, "grey value by z / nm. raw: ") if "1. remove_background" in of]
    assert len(found) == 8
    for channel, curves in zip(NAMES, (found[:4], found[4:]), strict=True):
        for quantity, of in zip(("mean", "std", "min", "max"), curves, strict=True):
            for name, da in {"raw": raw, **steps}.items():
                truth = getattr(da.sel(channel=channel).astype(float), quantity)(["y", "x"])
                np.testing.assert_allclose(of[name]["y"], truth, rtol=2e-4, err_msg=f"{quantity} {name}")
    assert "After each step 8 slices" not in page.section("profiles")  # resample makes another number
    assert "Computed again for these curves: 8 slices after 1. remove_background" in page.section("profiles")


def test_extremes_and_mean_along_x_and_y_before_and_after_the_background_are_shown(chain):
    raw, steps, _, page = chain
    found = {dim: charts(page, f"grey value by {dim} / nm. minimum before") for dim in "xy"}
    for dim, other in (("x", "y"), ("y", "x")):
        for channel, curves in zip(NAMES, found[dim], strict=True):
            for when, da in (("before", raw), ("after", steps["1. remove_background"])):
                for short, long in (("min", "minimum"), ("max", "maximum"), ("mean", "mean")):
                    truth = getattr(da.sel(channel=channel).astype(float), short)(["z", other])
                    np.testing.assert_allclose(curves[f"{long} {when}"]["y"], truth, rtol=2e-4)


def test_the_region_common_to_all_slices_and_the_crop_are_shown(chain):
    _, steps, target, page = chain
    height, width = steps["3. register"].shape[-2:]
    (caption,) = figures_of(page, "What the aligned slices have in common")
    assert f"{height} × {width} of 96 × 96 pixels, which was kept" in caption
    (box,) = page.all("rect", class_="kept")
    (frame,) = [e for e in page.all("svg") if "that shows each place" in e["aria-label"]]
    map_of = page.elements[page.elements.index(frame) :]
    image = next(e for e in map_of if e["tag"] == "image")
    for side, count in (("width", width), ("height", height)):
        assert abs(float(box[side]) / float(image[side]) - count / 96) < 1e-3
    whole = float(image["y"]), float(image["x"])
    da = estimate_of(target, "transforms")
    origin = json.loads(da.attrs["frame"])["origin"]
    for at, dim, side, k in ((whole[0], "y", "height", 0), (whole[1], "x", "width", 1)):
        first = (float(steps["3. register"][dim][0]) - origin[k]) / 5
        assert abs((float(box[dim]) - at) / float(image[side]) - first / 96) < 1e-3


def test_histograms_after_matching_are_those_of_the_result_and_references_those_of_the_neighbours(chain):
    _, steps, target, page = chain
    one = estimate_of(target, "histogram")
    for channel in NAMES:
        for words in ("before matching", "after matching", "of the references"):
            assert figures_of(page, f"Histograms {words}, slice by slice, {channel}.")
            assert figures_of(page, f"Histograms {words}, of 5 slices, {channel}.")
        some = one.sel(channel=channel)
        low, high = float(some["curve"].min()), float(some["curve"].max())
        grid = np.linspace(low, high, 33)
        values = steps["2. match_histograms"].sel(channel=channel).values
        for k in range(8):
            shown = _histogram_figures._rebinned(some["counts"].values[k], some["curve"].values[k], grid)
            np.testing.assert_allclose(shown, np.histogram(values[k], grid)[0] / values[k].size, atol=0.004)
        before = np.stack([
            _histogram_figures._rebinned(c, lo + st * np.arange(c.size + 1), grid)
            for c, lo, st in zip(some["counts"].values, some["low"].values, some["step"].values, strict=True)
        ])  # fmt: skip
        wanted = [before[max(k - 1, 0) : k + 2].mean(axis=0) for k in range(8)]
        np.testing.assert_allclose(_histogram_figures._references(some, before, grid), wanted)


def test_the_background_is_shown_along_z_and_each_block_over_it(chain):
    _, _, target, page = chain
    for channel in NAMES:
        (caption,) = figures_of(page, f"Fitted surface at 6 places along z, {channel}")
        surface = next(e for e in page.all("svg") if e["aria-label"].startswith(caption.split(", its lowest")[0]))
        after = page.elements[page.elements.index(surface) + 1 :]
        tiles = [e for e in after[: after.index(next(e for e in after if e["tag"] == "svg"))] if e["tag"] == "image"]
        assert len(tiles) == 6
        assert len({tile["href"] for tile in tiles}) == 6
    found = estimate_of(target, "transforms")
    for dim in "yx":
        (curves,) = charts(page, f"displacement along {dim} / nm by z")
        for i in range(2):
            for j in range(2):
                truth = found[f"displacement_{dim}"].values[:, i, j]
                np.testing.assert_allclose(curves[f"block {i}, {j}"]["y"], truth, rtol=1e-4, atol=1e-9)


def test_many_blocks_are_a_map(chain):
    one = estimate_of(chain[2], "transforms")
    names = {name: np.repeat(np.arange(2), 3) for name in ("block_y", "block_x")}
    many = one.isel(names).assign_coords({name: np.linspace(50, 400, 6) for name in names})
    drawn = [b for b in _estimate_figures.blocks(many) if b.kind == "figure" and "6 × 6 blocks" in b.caption]
    assert len(drawn) == 2
    assert all("of each of 36 blocks over z" in str(figure.body) for figure in drawn)


def test_many_slices_are_looked_at_after_cheap_steps_of_small_frames_and_few_of_large_ones():
    def seen(shape, steps):
        side = _pages._matched.matched(
            stack3d.from_array(np.broadcast_to(np.uint8(3), shape), pixel_size=1), None, "", [], None
        ).after
        return _stages._slices_of(side, 3.0, steps)[0].size

    assert seen((120, 64, 64), 6) == 120
    assert 64 <= seen((900, 200, 200), 6) <= 68
    assert 24 <= seen((200, 300, 340), 6) <= 28
    assert seen((900, 2048, 2048), 6) <= 8
    assert seen((900, 9000, 9000), 6) == 1


def test_a_page_of_two_channels_with_the_estimates_of_a_run_stays_below_10_mb(chain, tmp_path, monkeypatch):
    target, count = chain[2], 500
    frame = np.random.default_rng(0).integers(0, 65535, (520, 520), dtype=np.uint16)
    noise = stack3d.from_array(np.broadcast_to(frame, (2, count, 520, 520)), pixel_size=5, channel=NAMES)
    monkeypatch.setattr(_pages._passes, "_PROFILE_BYTES", 0)
    monkeypatch.setattr(_quality, "BOX", 96)
    files = sorted((Path(f"{target}.run") / "estimates").glob("*.nc"))
    assert len(files) >= 3
    given = {}
    for path in files:
        with xr.open_dataset(path) as found:
            long = found.load().isel(z=np.arange(count) % 8) if "z" in found.dims else found.load()
        given[path.stem] = long.assign_coords(z=5.0 * np.arange(count)) if "z" in long.dims else long
    small = noise.isel(y=slice(0, 40), x=slice(0, 40))
    stages = {f"{k}. {name}": small for k, name in enumerate(("remove_background", *("invert",) * 6), start=1)}
    page, failed = _write.write(
        tmp_path / "page.html", noise, noise, _notes.RunNotes(), stages, given=given, quality=True
    )
    assert failed == []
    assert 2e6 < page.stat().st_size < 10e6
    said = page.read_text(encoding="utf-8")
    assert said.count('<img class="before"') >= 40
    assert "Median of the sampled slices" in said
    for channel in NAMES:
        assert f"Histograms of the references, slice by slice, {channel}." in said
