"""What a report costs: slices without the blocks around them, measures in one go, nothing read twice."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest

import stack3d
from stack3d import Recipe, quality
from stack3d._alone import slices_alone
from stack3d._blocks import array_from_blocks
from stack3d.progress import compute
from stack3d.quality._together import OF_PAIRS, SINGLE, together
from stack3d.reporting import _compiled, _passes


def numbered(seen, count=30, block=10):
    """Return slices full of their number, in blocks; `seen` gathers which are made."""

    def make(numbers):
        seen.extend(numbers)
        return np.stack([np.full((24, 32), n, np.uint8) for n in numbers])

    return array_from_blocks(
        make,
        name=f"numbered-{id(seen)}",
        chunks=((block,) * (count // block), (24,), (32,)),
        dtype=np.uint8,
        per_block=lambda index: list(range(block * index[0], block * (index[0] + 1))),
        one=lambda numbers, k: numbers[k : k + 1],
    )


def test_slices_of_a_chain_are_made_without_their_blocks():
    seen = []
    da = stack3d.from_array(numbered(seen), pixel_size=5)
    chain = da.isel(y=slice(2, 20), x=slice(4, 30)).stack3d.invert().astype("float32")
    seen.clear()
    index = [1, 7, 19, 20]
    (found,) = compute(slices_alone(da.stack3d.invert().data, index), label="test")
    np.testing.assert_array_equal(found[:, 0, 0], 255 - np.array(index))
    assert sorted(seen) == index
    seen.clear()
    some = slices_alone(chain.data, index)
    assert some.chunks == ((1, 1, 1, 1), (18,), (26,))
    np.testing.assert_array_equal(compute(some, label="test")[0], chain.values[index])


def test_what_two_such_chains_share_is_made_once():
    seen = []
    da = stack3d.from_array(numbered(seen), pixel_size=5)
    turned = da.stack3d.invert()
    seen.clear()
    one, other = (slices_alone(some.data, [3, 12]) for some in (da, turned))
    first, second = compute(one, other, label="test")
    assert sorted(seen) == [3, 12]
    np.testing.assert_array_equal(first, 255 - second)


@pytest.mark.parametrize("kind", ["values by slice", "neighbours", "turned", "foreign"])
def test_slices_alone_are_those_of_the_whole_whatever_the_chain(kind):
    frames = np.random.default_rng(1).integers(1, 200, (20, 16, 24), dtype=np.uint16)
    da = stack3d.from_array(dask.array.from_array(frames, chunks=(7, 16, 24)), pixel_size=(10, 5, 5))
    chain = {
        "values by slice": lambda: da.stack3d.level_slices(dtype="float32"),
        "neighbours": lambda: da.stack3d.resample(dz="4 nm"),
        "turned": lambda: da.stack3d.flip(dims=("z", "y")),
        "foreign": lambda: da.rolling(z=3, min_periods=1).mean() + 1,
    }[kind]()
    index = [0, 6, 7, chain.sizes["z"] - 1]
    (found,) = compute(slices_alone(chain.data, index), label="test")
    np.testing.assert_array_equal(found, chain.values[index])


def test_slices_of_files_and_stores_are_read_alone(tmp_path, stack):
    for name in ("raw.zarr", "raw.nc", "raw.tif"):
        da = stack3d.open_stack(stack.stack3d.save(tmp_path / name))
        index = [1, da.sizes["z"] - 1]
        (found,) = compute(slices_alone(da.stack3d.invert().data, index), label="test")
        np.testing.assert_array_equal(found, da.stack3d.invert().values[index])


def test_measures_in_one_go_are_the_measures():
    made = stack3d.synthetic.make_stack((6, 96, 120), defects={"noise": True, "curtains": True}).stack
    numbers, faults = together(made, [True, True, True])
    assert faults == {}
    firsts = made.isel(z=slice(None, None, 2))
    snr, sharp, streaks = quality.snr(firsts), quality.sharpness(firsts), quality.streak_index(firsts)
    pairs = quality.registration_quality(made)
    public = {
        "snr": snr.snr.values,
        "noise": snr.noise.values,
        "sharpness": sharp.sharpness.values,
        "streak_index": streaks.streak_index.values,
        **{name: pairs[name].values[::2] for name in OF_PAIRS},
    }
    assert set(public) == {*SINGLE, *OF_PAIRS}
    for name, values in public.items():
        np.testing.assert_array_equal(numbers[name], values, err_msg=name)
        assert np.isfinite(values).all()


def test_levels_counted_together_give_the_numbers_of_each_frame():
    frames = np.random.default_rng(0).integers(-100, 90, (5, 20, 30)).astype(np.int8)
    edges = _passes.bin_edges((-60.0, 50.0), True)
    found = _passes._of_levels(np.stack([_passes._levels(f)["levels"] for f in frames]), -128, edges)
    np.testing.assert_allclose(found["mean"], frames.mean(axis=(1, 2)))
    np.testing.assert_allclose(found["standard_deviation"], frames.std(axis=(1, 2)))
    np.testing.assert_array_equal(found["median"], np.median(frames, axis=(1, 2)))
    np.testing.assert_array_equal(found["minimum"], frames.min(axis=(1, 2)))
    np.testing.assert_array_equal(found["maximum"], frames.max(axis=(1, 2)))
    beyond = np.stack([np.histogram(np.clip(f, edges[0], edges[-1]), edges)[0] for f in frames])
    np.testing.assert_array_equal(found["counts"], beyond)


def test_a_run_reads_no_estimate_of_its_own_again(tmp_path, stack, monkeypatch):
    import xarray as xr

    opened, really = [], xr.open_dataset
    monkeypatch.setattr(xr, "open_dataset", lambda path, **given: (opened.append(str(path)), really(path, **given))[1])
    stack3d.run(Recipe(["match_histograms"]), stack, out=tmp_path / "clean.zarr", report=True)
    assert "Mean histogram and reference" in (tmp_path / "clean.zarr.html").read_text(encoding="utf-8")
    assert [path for path in opened if "estimates" in path] == []


def test_templates_are_compiled_once_and_kept_where_that_is_allowed(tmp_path, monkeypatch):
    import jinja2

    monkeypatch.setattr(_compiled, "_place", lambda key: tmp_path / "kept" / key)
    monkeypatch.setattr(_compiled.sys, "dont_write_bytecode", False)

    def render(text):
        loader = jinja2.DictLoader({"page": text})
        return jinja2.Environment(loader=loader, bytecode_cache=_compiled.Compiled()).get_template("page").render()

    assert render("one") == "one"
    (kept,) = (tmp_path / "kept").iterdir()
    made = kept.stat().st_mtime_ns
    assert render("one") == "one"
    assert kept.stat().st_mtime_ns == made
    assert render("another") == "another"
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(_compiled, "_place", lambda key: tmp_path / "file" / key)
    assert render("a third") == "a third"


def test_the_log_says_that_a_report_is_being_made(tmp_path, stack, caplog):
    with caplog.at_level("INFO", logger="stack3d"):
        stack3d.run(Recipe(["invert"]), stack, out=tmp_path / "clean.zarr", report=True)
    said = [record.getMessage() for record in caplog.records]
    assert said.index("report: being made") < said.index(f"report: {tmp_path / 'clean.zarr.html'}")
