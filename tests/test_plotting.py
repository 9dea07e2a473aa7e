"""Plots: the right pixels, positions, proportions and labels; only what is shown is computed."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d._blocks import array_from_blocks


def counting_stack(reads):
    def read(k):
        reads.append(k)
        return np.full((1, 12, 16), k * 10, np.uint16)

    data = array_from_blocks(
        read, name="plot", chunks=((1,) * 20, (12,), (16,)), dtype=np.uint16, per_block=lambda index: index[0]
    )
    return stack3d.from_array(data, pixel_size=(20, 5, 5))


def image_of(ax):
    (image,) = ax.get_images()
    return np.asarray(image.get_array())


def test_cut_planes_show_the_planes_through_the_point(stack):
    axes = stack.stack3d.plot.cut_planes({"z": 60, "y": "100 nm", "x": "10 px"})
    np.testing.assert_array_equal(image_of(axes["xy"]), stack.values[3])
    np.testing.assert_array_equal(image_of(axes["xz"]), stack.values[:, 20])
    np.testing.assert_array_equal(image_of(axes["yz"]), stack.values[:, :, 10])


def test_vertical_axes_run_down_and_proportions_are_true(stack):
    for name, ax in stack.stack3d.plot.cut_planes().items():
        low, high = ax.get_ylim()
        assert low > high, name
        assert ax.get_aspect() == 1.0
    assert axes_extent(stack.stack3d.plot.cut_planes()["xz"]) == (-2.5, 317.5, 150.0, -10.0)


def axes_extent(ax):
    return tuple(ax.get_images()[0].get_extent())


def test_axes_carry_units_and_a_round_scale_bar(stack):
    ax = stack.stack3d.plot.cut_planes()["xy"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x / nm", "y / nm")
    assert [text.get_text() for text in ax.texts] == ["50 nm"]
    (bar,) = [patch for patch in ax.patches if patch.get_gid() == "scale-bar"]
    np.testing.assert_allclose(bar.get_width(), 50 / 320)


def test_uneven_slices_are_drawn_where_they_are(stack):
    uneven = stack.assign_coords(z=stack.z.copy(data=[0, 10, 30, 40, 80, 90, 100, 120]))
    ax = uneven.stack3d.plot.cut_planes()["xz"]
    (mesh,) = ax.collections
    np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], [-5, 5, 20, 35, 60, 85, 95, 110, 130])
    assert ax.get_ylim() == (130, -5)


def test_axes_given_are_the_axes_used(stack):
    figure, given = plt.subplots(1, 3)
    drawn = stack.stack3d.plot.cut_planes(axes=given)
    assert list(drawn.values()) == list(given)
    assert stack.stack3d.plot.profiles(ax=given[0]) is given[0]
    assert plt.get_fignums() == [figure.number]


def test_profiles_show_what_slice_statistics_measures(stack):
    flagged = stack.assign_coords(valid=("z", np.arange(8) != 3))
    ax = flagged.stack3d.plot.profiles()
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["mean"].get_ydata(), stack.mean(["y", "x"]))
    np.testing.assert_allclose(lines["maximum"].get_ydata(), stack.max(["y", "x"]))
    np.testing.assert_allclose(lines["bad slice"].get_xdata(), [60.0])
    assert ax.get_xlabel() == "z / nm"


def test_compare_computes_the_slices_shown_and_no_others():
    reads: list[int] = []
    before = counting_stack(reads)
    after = before.stack3d.crop(z=slice(5, None), by="index").stack3d.invert()
    rows = after.stack3d.plot.compare(before, z=[0, -1])
    assert set(reads) == {5, 19}
    np.testing.assert_array_equal(image_of(rows[0][0]), np.full((12, 16), 50))
    np.testing.assert_array_equal(image_of(rows[0][1]), np.full((12, 16), 65485))
    np.testing.assert_array_equal(image_of(rows[0][2]), np.full((12, 16), 65435))
    assert rows[0][0].get_title() == "before, z = 100 nm"


def test_compare_of_frames_of_other_sizes_leaves_the_difference_out(stack):
    rows = stack.stack3d.bin().stack3d.plot.compare(stack)
    assert len(rows) == 3
    assert not rows[0][2].axison


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, s: p.cut_planes({"z": 1000}), r"at\['z'\]=1000"),
        (lambda p, s: p.cut_planes({"t": 1}), "keys"),
        (lambda p, s: p.cut_planes(channel="SE2"), "channel='SE2'"),
        (lambda p, s: p.compare(s, z=[8]), r"z=\[8\].*-8 and 7"),
        (lambda p, s: p.compare(s.isel(z=0)), "before.*'z' missing"),
        (lambda p, s: p.cut_planes(axes=plt.subplots(1, 2)[1]), "axes must be 3, got 2"),
        (lambda p, s: p.compare(s, z=[1], axes=plt.subplots(1, 2, squeeze=False)[1]), r"axes\[0\] must be 3, got 2"),
    ],
)
def test_plots_say_what_is_wrong(stack, call, message):
    with pytest.raises(ValueError, match=message):
        call(stack.stack3d.plot, stack)


def test_the_html_repr_shows_the_stack_and_its_steps_without_computing():
    reads: list[int] = []
    lazy = counting_stack(reads).assign_attrs(instrument="<A & B>")
    page = (
        lazy.stack3d.flip(dims="x").stack3d.invert()._repr_html_()
        and lazy.stack3d.flip().stack3d.invert().stack3d._repr_html_()
    )
    for part in ("z 20 × y 5 × x 5 nm", "z 400 × y 60 × x 80 nm", "flip(dims=&#x27;y&#x27;)", "invert()", "20 blocks"):
        assert part in page
    text = repr(lazy.stack3d)
    assert "voxel size" in text
    assert not reads


def test_the_repr_of_a_plain_array_says_that_it_is_not_calibrated():
    da = stack3d.from_array(np.zeros((3, 4, 5)), pixel_size=None)
    assert "not calibrated" in repr(da.stack3d)
    assert "No steps recorded" in da.stack3d._repr_html_()


def test_plots_name_arguments_of_a_wrong_type(stack):
    with pytest.raises(TypeError, match=r"at=\(1, 2, 3\) must be a dict"):
        stack.stack3d.plot.cut_planes((1, 2, 3))
    with pytest.raises(TypeError, match="axes=3 must be a sequence of 3"):
        stack.stack3d.plot.cut_planes(axes=3)


def test_titles_name_the_channel_where_there_are_several(stack):
    both = xr.concat([stack, stack], "channel").assign_coords(channel=["SE2", "InLens"])
    plot = both.transpose("channel", "z", "y", "x").stack3d.plot
    assert plot.cut_planes(channel="InLens")["xy"].get_title().startswith("InLens, XY at z")
    assert plot.profiles().get_title() == "SE2"
    assert plot.compare(stack, z=[1])[0][1].get_title() == "after, SE2, z = 20 nm"
    assert stack.stack3d.plot.profiles().get_title() == ""


def test_the_repr_of_plots_lists_them(stack):
    assert (
        repr(stack.rename("image").stack3d.plot)
        == "<stack3d plots of 'image': compare, cut_planes, destripe, measures, profiles, volume>"
    )
