"""Pictures of volumes: what stands where, of what brightness, and whatever VTK does, no process dies."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d import kernels
from stack3d.kernels.raycast import Rays, cast, cast_xp
from stack3d.plotting import _volume, _volume_pyvista, volume_picture
from stack3d.plotting._volume_frame import frame_of
from stack3d.plotting._volume_scene import scene_of, small_copy

needs_pyvista = pytest.mark.skipif(find_spec("pyvista") is None, reason="pyvista is not installed")


def scene(da, *, at=None, view=(38.0, 26.0), shape=(96, 120), limits=(0, 1)):
    return scene_of(da, at, limits, view, shape)


def cube(values, pixel_size=(1.0, 1.0, 1.0)):
    return stack3d.from_array(np.asarray(values, np.float32), pixel_size=pixel_size)


@pytest.mark.parametrize("density", [None, np.linspace(0, 0.4, 16, dtype=np.float32)])
@pytest.mark.parametrize("view", [(38.0, 26.0), (-50.0, 10.0)])
def test_the_compiled_form_is_the_array_form(density, view):
    rng = np.random.default_rng(3)
    made = scene(cube(rng.random((7, 11, 13)), (2.0, 1.0, 1.5)), view=view)
    arguments = made.volume, made.spacing, made.rays(), made.taken_out()
    ours = cast(*arguments, density)
    table = np.zeros(0, np.float32) if density is None else density
    theirs = cast_xp(*arguments, table)
    np.testing.assert_array_equal(ours[2], theirs[2])
    for one, other in zip(ours[:2], theirs[:2]):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert ours[1].max() > 0.9


def test_a_ray_straight_ahead_sees_the_first_slice_and_behind_the_corner_the_cut_plane():
    values = np.arange(5 * 4 * 6).reshape(5, 4, 6) / 120
    eye = Rays(np.array([-3.0, 0.5, 0.5]), np.array([0, 0, 1.0]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), (4, 6))
    light, opacity, face = cast(values.astype(np.float32), (1, 1, 1), eye, ((0, 0, 0), (2, 2, 6)))
    np.testing.assert_allclose(light[2:], values[0, 2:], rtol=1e-6)  # at the surface: the centre of the first voxel
    np.testing.assert_allclose(light[:2], (values[1, :2] + values[2, :2]) / 2, rtol=1e-6)
    assert (opacity == 1).all()
    assert (face == 0).all()


def test_what_absorbs_evenly_follows_the_law_of_beer_and_lambert():
    volume = np.full((64, 4, 4), 0.5, np.float32)
    eye = Rays(np.array([-3.0, 2.0, 2.0]), np.zeros(3), np.zeros(3), np.array([1.0, 0, 0]), (1, 1))
    nowhere = (np.zeros(3), np.zeros(3))
    light, opacity, face = cast(volume, (0.5, 1, 1), eye, nowhere, np.array([0.08, 0.08], np.float32))
    np.testing.assert_allclose(opacity, 1 - np.exp(-0.08 * 32), rtol=1e-5)
    np.testing.assert_allclose(light, 0.5 * opacity, rtol=1e-5)
    assert face[0, 0] == -1


def test_proportions_are_those_of_the_coordinates():
    long = scene(cube(np.ones((4, 8, 8)), (20.0, 1.0, 1.0)), shape=(400, 400))
    np.testing.assert_allclose(long.size, [80, 8, 8])
    flat = xr.concat([cube(np.ones((1, 8, 8)))] * 2, "z").assign_coords(z=[0.0, 0.01])
    flat.z.attrs["units"] = "um"
    np.testing.assert_allclose(scene(flat).size[0], 20)  # in nm, as x


def test_uneven_slices_are_shown_where_they_are():
    da = cube(np.arange(4.0)[:, None, None] * np.ones((1, 5, 5))).assign_coords(z=[0.0, 1.0, 5.0, 6.0])
    data, spacing, start = small_copy(da)
    np.testing.assert_array_equal(data[:, 0, 0], [0, 1, 1, 1, 2, 2, 3])
    assert (len(data), spacing[0], start[0]) == (7, 1, -0.5)


def test_at_most_256_frames_are_read_and_bad_ones_are_not():
    import dask.array

    reads = []

    def read(block_id=None):
        reads.append(block_id[0])
        return np.full((1, 300, 20), block_id[0], np.float32)

    data = dask.array.map_blocks(
        read, chunks=((1,) * 600, (300,), (20,)), dtype=np.float32, meta=np.zeros((0, 0, 0), "f4")
    )
    da = stack3d.from_array(data, pixel_size=1.0).assign_coords(valid=("z", np.arange(600) % 50 != 7))
    small, spacing, _ = small_copy(da)
    assert small.shape == (256, 150, 20)
    assert len(set(reads)) == len(reads) <= 256
    assert not {k for k in reads if k % 50 == 7}
    np.testing.assert_allclose(spacing, [600 / 256, 2, 1])
    assert np.abs(small[:, 0, 0] - (np.arange(256) + 0.5) * 600 / 256 + 0.5).max() <= 1.5


def test_where_axes_are_not_calibrated_alike_a_slice_is_as_thick_as_a_pixel():
    da = cube(np.ones((6, 8, 9)), (40.0, 1.0, 1.0))
    for dim in "yx":
        da[dim].attrs["units"] = "1"
    made = scene(da)
    np.testing.assert_allclose(made.size, [6, 8, 9])
    # The scale along z is still in its own unit.
    _, labels = frame_of(made, 5.0)
    numbers = [float(label.text) for label in labels if "/" not in label.text]
    assert max(numbers) > 100


@pytest.mark.parametrize("depth", [2, 8, 60])
def test_scales_have_room_for_their_numbers(depth):
    _, labels = frame_of(scene(cube(np.ones((depth, 8, 8))), shape=(720, 840)), 12.0)
    numbers = [label for label in labels if "/" not in label.text]
    assert all(label.text != "-0" for label in numbers)
    places = np.array([label.at for label in numbers])
    gaps = np.abs(places[:, None] - places[None]).max(axis=-1)[~np.eye(len(places), dtype=bool)]
    assert gaps.min() > 12


def test_the_picture_shows_bright_where_the_volume_is_bright():
    values = np.zeros((8, 8, 8), np.float32)
    values[:, :, 4:] = 1  # the right half
    da = cube(values)
    picture = volume_picture(da, view=(10, 1), at={"z": 0, "y": 0}, limits=(0, 1), size=(300, 240), renderer="numpy")
    made = scene(da, view=(10.0, 1.0), shape=(240, 300))
    assert picture.shape == (240, 300, 4)
    assert (picture[..., 3] == 255).all()
    for x, grey in ((2.0, 0), (6.0, 255)):
        column, row = np.round(made.project(np.array([0, 4.0, x]))).astype(int)
        assert (picture[row, column, :3] == grey).all()
    assert (picture[2, 2, :3] == 255).all()  # the background


def test_a_clear_background_is_clear_and_the_scale_is_drawn():
    picture = volume_picture(
        cube(np.zeros((8, 8, 8))), limits=(0, 1), size=(300, 240), renderer="numpy", background="none"
    )
    assert picture[2, 2, 3] == 0
    assert 0 < (picture[200:, :, 3] > 0).mean() < 0.5  # numbers below the box


def test_a_channel_is_chosen_and_missing_pixels_are_black(stack):
    two = xr.concat([stack, stack.astype("float32") * np.nan], "channel").assign_coords(channel=["a", "b"])
    black = volume_picture(two, channel="b", limits=(0, 1), size=(200, 200), renderer="numpy")
    first = volume_picture(two, size=(200, 200), renderer="numpy")
    np.testing.assert_array_equal(first, volume_picture(stack, size=(200, 200), renderer="numpy"))
    assert black[..., 0].mean() < first[..., 0].mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"renderer": "gl"}, r"renderer='gl' is not allowed; .*'auto', 'pyvista', 'numpy'"),
        ({"opacity": "clear"}, r"opacity='clear' is not allowed"),
        ({"view": (90, 0)}, r"view=\(90, 0\) must be"),
        ({"size": (10, 10)}, r"size=\(10, 10\) must be"),
        ({"at": {"t": 1}}, r"at has the key 't'"),
        ({"at": {"z": "1 m"}}, r"at\['z'\]='1 m' lies outside the stack"),
        ({"channel": "SE2"}, r"channel='SE2' is not allowed"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(stack, arguments, message):
    with pytest.raises(ValueError, match=message):
        volume_picture(stack, **arguments)


@pytest.fixture
def no_pyvista(tmp_path, monkeypatch):
    """Make a pyvista that ends its process, as VTK does where it finds no way to draw."""
    (tmp_path / "pyvista.py").write_text(
        "import os, sys\nprint('bad X server', file=sys.stderr, flush=True)\nos.abort()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_volume, "_broken", [])


def test_a_renderer_that_aborts_kills_no_process_and_is_not_tried_again(stack, no_pyvista, recwarn):
    with pytest.warns(UserWarning, match=r"pyvista could not draw .*bad X server.*renderer='numpy'"):
        picture = volume_picture(stack, size=(200, 200))
    np.testing.assert_array_equal(picture, volume_picture(stack, size=(200, 200), renderer="numpy"))
    np.testing.assert_array_equal(picture, volume_picture(stack, size=(200, 200)))  # warnings are errors


def test_a_renderer_that_was_asked_for_says_why_it_could_not(stack, no_pyvista):
    with pytest.raises(RuntimeError, match=r"renderer='pyvista' could not draw: its process ended with status .*bad X"):
        volume_picture(stack, size=(200, 200), renderer="pyvista")


def test_without_pyvista_its_extra_is_named(stack, monkeypatch):
    monkeypatch.setattr(_volume, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"stack3d\[viz\]"):
        volume_picture(stack, renderer="pyvista")
    assert volume_picture(stack, size=(200, 200)).shape == (200, 200, 4)


def test_a_renderer_that_hangs_is_ended(stack, monkeypatch, tmp_path):
    (tmp_path / "pyvista.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_volume_pyvista, "_SECONDS", 2)
    with pytest.raises(RuntimeError, match="took longer than 2 s"):
        volume_picture(stack, size=(200, 200), renderer="pyvista")


@needs_pyvista
@pytest.mark.parametrize("opacity", ["solid", "dark"])
def test_pyvista_and_our_own_renderer_show_the_same(opacity):
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.random((6, 6, 6)), np.ones((6, 6, 6)))
    da = cube(smooth, (2.0, 1.0, 1.0))
    pictures = [
        volume_picture(da, opacity=opacity, limits=(0, 1), size=(300, 240), renderer=name)[..., 0].astype(float)
        for name in ("pyvista", "numpy")
    ]
    assert np.corrcoef(*(picture.ravel() for picture in pictures))[0, 1] > 0.9


def test_the_plot_draws_the_picture_into_axes(stack):
    ax = stack.stack3d.plot.volume(size=(200, 220), renderer="numpy")
    assert ax.images[0].get_array().shape == (220, 200, 4)
    assert kernels.raycast.cast is cast
    assert Path(_volume_pyvista.__file__).with_name("_volume_child.py").is_file()
    assert "pyvista" not in sys.modules
