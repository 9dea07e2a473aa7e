"""The report in a real browser: what a reader sees and does, checked by pixels."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import stack3d
from stack3d import Recipe

_spec = importlib.util.spec_from_file_location("stack3d_tests_chromium", Path(__file__).with_name("chromium.py"))
chromium = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chromium)

PHONE, DESKTOP = (390, 844), (1440, 900)
REQUIRED = os.environ.get("STACK3D_REQUIRE_CHROMIUM") == "1"
EXECUTABLE = chromium.path_of_chromium()

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or (EXECUTABLE is None and not REQUIRED), reason="no Chromium is installed"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    made = stack3d.synthetic.make_stack((9, 64, 96), defects={"drift": True, "gain": True, "noise": True})
    raw = made.stack.stack3d.save(folder / "raw.zarr")
    recipe = Recipe([("level_slices", {"window": 5}), ("register", {"crop": "common"})], input={"path": str(raw)})
    stack3d.run(recipe, out=folder / "clean.zarr", report=True)
    return folder / "clean.zarr.html"


@pytest.fixture(scope="module")
def browser():
    assert EXECUTABLE is not None, "STACK3D_REQUIRE_CHROMIUM=1, and there is no Chromium"
    opened = chromium.Browser(EXECUTABLE)
    yield opened
    opened.close()


@pytest.fixture
def desktop(browser, page):
    browser.look(*DESKTOP)
    browser.open(page)
    return browser


STAGE = "#pictures .stage"


def test_nothing_is_said_on_the_console_and_nothing_is_asked_for(desktop, page):
    assert desktop.console == []
    assert [url for url in desktop.requests if not url.startswith("data:")] == [page.as_uri()]


def test_all_pictures_can_be_decoded(desktop):
    assert desktop.run("[...document.images].every((image) => image.naturalWidth > 0)")
    assert desktop.run("document.images.length") > 20


def test_the_slice_slider_changes_the_picture_by_keys(desktop):
    before, said = desktop.picture(STAGE), desktop.run("document.querySelector('#pictures .which').textContent")
    desktop.run("document.querySelector('#pictures .slice').focus()")
    desktop.key("ArrowRight")
    after = desktop.picture(STAGE)
    assert desktop.run("document.querySelector('#pictures .which').textContent") != said
    assert (np.abs(after - before).max(axis=2) > 8).mean() > 0.3
    desktop.key("ArrowLeft")
    np.testing.assert_array_equal(desktop.picture(STAGE), before)


def columns_that_differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (np.abs(one - other).max(axis=2) > 8).mean(axis=0) > 0.1


def test_dragging_the_divider_uncovers_what_is_before(desktop):
    left, top, width, height = desktop.box(STAGE)
    whole = []
    for share in (0.0, 1.0, 0.25):
        desktop.mouse("mousePressed", left + width / 2, top + height / 3)
        desktop.mouse("mouseMoved", left + max(1.0, share * width - 1), top + height / 3)
        desktop.mouse("mouseReleased", left + max(1.0, share * width - 1), top + height / 3)
        whole.append(desktop.picture(STAGE))
    after, before, quarter = whole
    # Left of the divider is what was before, right of it what is after; the knob and the border are left out.
    cut, knob = round(0.25 * width), 20
    assert not columns_that_differ(quarter[:, 4 : cut - knob], before[:, 4 : cut - knob]).any()
    assert not columns_that_differ(quarter[:, cut + knob : -knob], after[:, cut + knob : -knob]).any()
    assert columns_that_differ(before, after)[knob:-knob].mean() > 0.7
    assert desktop.run("document.querySelector('#pictures .swipe').value") == "25"


def test_the_divider_moves_by_keys_and_its_focus_is_seen(desktop):
    before = desktop.picture(STAGE)
    desktop.run(
        "document.querySelector('#pictures .slice').focus(); document.querySelector('#pictures .swipe').focus()"
    )
    desktop.key("ArrowRight")
    desktop.key("ArrowRight")
    assert desktop.run("document.querySelector('#pictures .swipe').value") == "52"
    assert (desktop.picture(STAGE) != before).any()
    assert desktop.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_every_control_is_reached_by_the_keyboard(desktop):
    reached = set()
    for _ in range(60):
        desktop.key("Tab")
        reached.add(desktop.run("document.activeElement.className.baseVal ?? document.activeElement.className"))
    assert {"skip", "swipe", "slice"} <= reached


def test_the_pictures_of_the_steps_and_the_planes_move_too(desktop):
    for section, control in (("each-step", "slice"), ("planes", "swipe")):
        before = desktop.picture(f"#{section} .stage")
        desktop.run(f"document.querySelector('#{section} .{control}').focus()")
        for _ in range(10):
            desktop.key("ArrowLeft")
        assert (np.abs(desktop.picture(f"#{section} .stage") - before) > 8).any()


def test_a_curve_is_read_at_the_pointer(desktop):
    left, top, width, height = desktop.box("#profiles svg")
    assert desktop.run("document.getElementById('reading').hidden")
    desktop.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 2, y=top + height / 2)
    said = desktop.run("document.getElementById('reading').innerText")
    assert said.startswith("z ")
    assert "before: " in said
    assert "after: " in said
    desktop.run("document.querySelector('#profiles svg').focus()")
    desktop.key("ArrowRight")
    assert desktop.run("document.getElementById('reading').innerText") != said


def test_all_steps_open_at_once(desktop):
    count = "[...document.querySelectorAll('#steps details')].filter((fold) => fold.open).length"
    assert desktop.run(count) == 0
    desktop.run("document.querySelector('#steps .all').click()")
    assert desktop.run(count) == desktop.run("document.querySelectorAll('#steps details').length") >= 3


@pytest.mark.parametrize("size", [PHONE, DESKTOP, (320, 640), (820, 1180)], ids=str)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_its_window_and_follows_the_colours_of_the_system(browser, page, size, dark):
    browser.look(*size, dark=dark, touch=size[0] < 1000)
    browser.open(page)
    browser.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert browser.run("document.documentElement.scrollWidth") <= size[0]
    assert browser.console == []
    corner = browser.picture()[-3:, :8].mean()
    assert corner < 60 if dark else corner > 230


def contrast(colour: list[int], ground: list[int]) -> float:
    """Return the contrast ratio of WCAG 2."""

    def luminance(rgb):
        parts = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(colour), luminance(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_curves_stand_out_from_the_paper(browser, page, dark):
    browser.look(*DESKTOP, dark=dark)
    browser.open(page)
    read = "(q) => getComputedStyle(document.querySelector(q)).color.match(/\\d+/g).map(Number)"
    ground = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    for what in ("h1", "header p", "figcaption", "#profiles .line.before", "#profiles .line.after", "nav a"):
        assert contrast(browser.run(f"({read})({what!r})"), ground) >= 4.5


def test_paper_shows_before_and_after_side_by_side_and_every_step(desktop):
    desktop.call("Emulation.setEmulatedMedia", media="print", features=[])
    boxes = desktop.run(
        "[...document.querySelectorAll('#pictures .pair:not([hidden]) img')].map((i) => {"
        "const r = i.getBoundingClientRect(); return [r.left, r.right, r.height]; })"
    )
    (after, before) = sorted(boxes, reverse=True)
    assert before[1] <= after[0]
    assert min(after[2], before[2]) > 50
    assert desktop.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert len(desktop.call("Page.printToPDF", printBackground=True)["data"]) > 50_000
    desktop.call("Emulation.setEmulatedMedia", media="", features=[])


def test_the_page_is_a_document_without_its_script(browser, page):
    browser.look(*DESKTOP)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        assert browser.picture(STAGE).std() > 10
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_names_of_planes_and_sides_cover_nothing_and_are_whole(browser, tmp_path):
    thin = stack3d.synthetic.make_stack((6, 96, 96)).stack
    browser.look(*PHONE, touch=True)
    browser.open(thin.stack3d.invert().stack3d.report(tmp_path / "thin.html", before=thin, quality=False))
    found = browser.run("""(() => {
        const text = (e) => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect(); };
        const boxes = (q) => [...document.querySelectorAll(q)].map((e) => e.getBoundingClientRect());
        const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        const names = [...document.querySelectorAll("#planes .name")].map(text);
        const tags = boxes("#volume .tag");
        return [names.length, tags.length, names.every((n) => n.left >= 0 && n.right <= innerWidth),
                names.every((n) => boxes("#planes .stage").every((s) => apart(n, s))),
                tags.every((t) => boxes("#volume .box text").every((s) => apart(t, s)))];
    })()""")
    assert found == [3, 2, True, True, True]


def test_labels_of_axes_stay_beside_their_axis(browser, tmp_path):
    made = stack3d.synthetic.make_stack((6, 96, 96), defects={"gain": True, "offset": True})
    estimates = {"levels": made.stack.stack3d.estimate_levels(), "drift": made.stack.stack3d.estimate_transforms()}
    browser.look(*DESKTOP)
    browser.open(made.stack.stack3d.report(tmp_path / "page.html", estimates=estimates, quality=False))
    beyond = browser.run("""[...document.querySelectorAll(".chart svg")].filter((svg) => {
        const box = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text.label")].some((label) => {
            const r = label.getBoundingClientRect();
            return r.top < box.top - 1 || r.bottom > box.bottom + 1 || r.left < box.left - 1;
        });
    }).map((svg) => svg.getAttribute("aria-label"))""")
    assert beyond == []
