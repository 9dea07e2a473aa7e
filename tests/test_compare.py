"""Stacks measured side by side, and the pictures of measures."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import quality

MEASURES = ["slice_statistics", "edge_resolution"]


@pytest.fixture(scope="module")
def raw():
    rng = np.random.default_rng(0)
    ramp = np.clip((np.arange(80) - 36) / 8, 0, 1) * 100 + 50
    values = np.tile(ramp, (6, 70, 1)) + rng.normal(0, 1, (6, 70, 80)) + np.arange(6)[:, None, None]
    da = stack3d.from_array(values.astype(np.float32), pixel_size=(20, 5, 5))
    return da.assign_coords(valid=("z", np.arange(6) != 1))


@pytest.fixture(scope="module")
def thin(raw):
    return raw.stack3d.resample(dz="10 nm").drop_vars("valid")


@pytest.fixture(scope="module")
def compared(raw, thin):
    return stack3d.compare({"raw": raw, "thin": thin}, measures=MEASURES)


def test_every_quantity_is_what_the_measure_gives_at_the_slices_of_each_stack(raw, thin, compared):
    for label, da in (("raw", raw), ("thin", thin)):
        one = compared.sel(stack=label)
        count = da.sizes["z"]
        np.testing.assert_array_equal(one["z"][:count], da["z"])
        assert np.isnan(one["z"][count:]).all()
        for name in MEASURES:
            table = getattr(quality, name)(da)
            for quantity in ("mean", "standard_deviation") if name == "slice_statistics" else ("distance_median",):
                np.testing.assert_array_equal(one[f"{name}_{quantity}"][:count], table[quantity])
                assert one[f"{name}_{quantity}"].attrs["units"] == table[quantity].attrs["units"]
    assert compared["z"].attrs["units"] == "nm"


def test_the_summary_is_the_median_over_good_slices(raw, compared):
    mean = raw.mean(("y", "x")).values
    found = compared["summary"].sel(stack="raw", quantity="slice_statistics_mean")
    assert float(found) == pytest.approx(np.median(np.delete(mean, 1)))
    assert str(found["unit"].values) == "grey value"
    frame = compared["summary"].to_pandas()
    assert list(frame.index) == ["raw", "thin"]
    assert "edge_resolution_distance_median" in frame.columns


def test_lazy_stacks_are_read_once_for_all_measures(raw):
    reads = []

    def counted(block, block_info=None):
        reads.append(block_info[0]["chunk-location"])
        return block

    lazy = raw.chunk(z=1)
    lazy = lazy.copy(data=lazy.data.map_blocks(counted, dtype=raw.dtype, meta=np.empty((0, 0, 0), raw.dtype)))
    found = stack3d.compare({"a": lazy}, measures=MEASURES)
    assert len(reads) == 6
    xr.testing.assert_identical(found, stack3d.compare({"a": raw}, measures=MEASURES))


def test_channels_stay_apart(raw):
    both = xr.concat([raw, 2 * raw], dim=xr.Variable("channel", ["SE", "BSE"]))
    found = stack3d.compare({"a": both, "b": both + 1}, measures="slice_statistics")
    values = found["summary"].sel(quantity="slice_statistics_mean")
    np.testing.assert_allclose(values.sel(channel="BSE", stack="a"), 2 * values.sel(channel="SE", stack="a"), rtol=1e-5)
    with pytest.raises(ValueError, match="must be the same"):
        stack3d.compare({"a": both, "b": raw}, measures=["slice_statistics"])


def test_parameters_and_the_box_reach_the_measures(raw):
    box = {"x": slice(0, 20), "by": "index"}
    found = stack3d.compare({"a": raw}, measures={"edge_resolution": {"reach": 8}, "slice_statistics": {}}, box=box)
    assert (found["slice_statistics_count"] == 70 * 20).all()
    assert (found["edge_resolution_edges"] == 0).all()
    assert np.isnan(found["summary"].sel(quantity="edge_resolution_distance_median")).all()


def test_quantities_of_pairs_have_positions_of_their_own(raw, monkeypatch):
    def differences(da, *, box=None):
        """Stand for any measure of pairs: one value between two slices, numbered by `first` and `second`."""
        middle = ("z", 0.5 * (da["z"].values[1:] + da["z"].values[:-1]), {"units": "nm"})
        first = ("z", np.arange(da.sizes["z"] - 1))
        values = np.abs(np.diff(da.values, axis=0)).mean(axis=(1, 2))
        coords = {"z": middle, "first": first, "second": ("z", first[1] + 1)}
        return xr.Dataset({"difference": ("z", values, {"units": "grey value"})}, coords=coords)

    monkeypatch.setattr(quality, "differences", differences, raising=False)
    monkeypatch.setattr(quality, "__all__", [*quality.__all__, "differences"])
    found = stack3d.compare({"a": raw, "b": raw[:4]}, measures=["differences", "slice_statistics"])
    assert found["differences_difference"].dims == ("stack", "pair")
    np.testing.assert_array_equal(found["z_pair"].sel(stack="a"), raw["z"].values[:-1] + 10)
    assert np.isnan(found["z_pair"].sel(stack="b")[3:]).all()
    axes = stack3d.plotting.measures(found, names=["differences_difference"])
    assert len(axes[0].lines) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_few_or_blank_slices_do_no_harm(raw, count):
    found = stack3d.compare({"few": raw[:count], "blank": 0 * raw[:count]}, measures=MEASURES)
    assert found.sizes["slice"] == count
    assert np.isnan(found["edge_resolution_distance_median"].sel(stack="blank")).all()


@pytest.mark.parametrize(
    ("stacks", "measures", "error", "message"),
    [
        ([1], None, TypeError, "stacks must be a dict"),
        ({}, None, ValueError, "stacks is empty"),
        ({"a": 1}, None, TypeError, r"stacks\['a'\]"),
        ("raw", ["sharp"], ValueError, "measures="),
        ("raw", [], ValueError, "measures="),
        ("raw", {"edge_resolution": {"reach": 1}}, ValueError, "reach=1"),
    ],
)
def test_wrong_arguments_are_refused_by_name(raw, stacks, measures, error, message):
    with pytest.raises(error, match=message):
        stack3d.compare({"a": raw} if stacks == "raw" else stacks, measures=measures)


def test_an_error_of_a_measure_says_of_which_stack(raw):
    with pytest.raises(ValueError, match="reach") as caught:
        stack3d.compare({"mine": raw}, measures={"edge_resolution": {"reach": 1}})
    assert "in stack 'mine', by 'edge_resolution'" in caught.value.__notes__


def test_the_picture_of_a_comparison_has_a_row_a_measure_and_a_line_a_stack(compared):
    axes = stack3d.plotting.measures(compared)
    assert len(axes) == 2
    assert [len(ax.lines) for ax in axes] == [2, 2]
    assert axes[1].get_ylabel() == "edge resolution\ndistance median / nm"
    assert axes[-1].get_xlabel() == "z / nm"
    assert len(axes[0].figure.axes) == 4
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["raw", "thin"]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), compared["slice_statistics_mean"].sel(stack="raw")[:6])
    axes[0].figure.canvas.draw()


def test_bad_slices_are_shaded(raw):
    axes = stack3d.plotting.measures(raw.stack3d.slice_statistics(), names=["mean", "count"])
    for ax in axes:
        (shade,) = [patch for patch in ax.patches if patch.get_gid() == "bad-slice"]
        assert (shade.get_x(), shade.get_width()) == (10.0, 20.0)


def test_measures_are_drawn_where_told_by_the_accessor_too(raw, thin):
    _, given = plt.subplots(2)
    names = ["slice_statistics_mean", "edge_resolution_edges"]
    axes = raw.stack3d.plot.measures(MEASURES, others={"thin": thin}, names=names, axes=given)
    assert axes == list(given)
    assert [line.get_label() for line in axes[0].lines] == ["thin", "image"]
    tables = {"raw": raw.stack3d.slice_statistics(), "thin": thin.stack3d.slice_statistics()}
    assert len(stack3d.plotting.measures(tables, names="mean")[0].lines) == 2


@pytest.mark.parametrize(
    ("table", "names", "message"),
    [
        (3, None, "table must be a Dataset"),
        ({"a": 3}, None, "table must be a Dataset"),
        ("measured", ["sharp"], "names="),
        ("empty", None, "no quantity"),
    ],
)
def test_pictures_refuse_what_they_cannot_draw(raw, table, names, message):
    given = {"measured": raw.stack3d.slice_statistics(), "empty": xr.Dataset()}.get(str(table), table)
    with pytest.raises((TypeError, ValueError), match=message):
        stack3d.plotting.measures(given, names=names)
