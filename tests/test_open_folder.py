from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import dask
import numpy as np
import pytest
import tifffile
import xarray as xr

from stack3d.io import BadFrameWarning, open_stack
from stack3d.io._frames import FrameError

_OPENED: list[str] = []
_WATCHING = threading.Event()


def _hook(event: str, args: tuple) -> None:
    if event == "open" and _WATCHING.is_set() and isinstance(args[0], str):
        _OPENED.append(args[0])


sys.addaudithook(_hook)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every file that Python opens, in order."""
    _OPENED.clear()
    _WATCHING.set()
    yield _OPENED
    _WATCHING.clear()


def volume(count: int = 5, shape: tuple[int, ...] = (12, 17), dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    high = 255 if dtype == "uint8" else 60_000
    return rng.integers(0, high, (count, *shape)).astype(dtype)


def write(
    folder: Path, frames: np.ndarray, name: str = "slice_{k:04d}.tif", numbers: list[int] | None = None, **options
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, frame in zip(numbers or range(len(frames)), frames):
        path = folder / name.format(k=k)
        if path.suffix.lower() in (".tif", ".tiff"):
            tifffile.imwrite(path, frame, **options)
        else:
            path.write_bytes(cv2.imencode(path.suffix.lower(), frame)[1].tobytes())
    return folder


def test_a_folder_of_tiff_frames_opens_as_a_lazy_stack(tmp_path):
    frames = volume()
    da = open_stack(write(tmp_path / "s", frames))
    assert da.dims == ("z", "y", "x")
    assert da.name == "image"
    assert dask.is_dask_collection(da)
    np.testing.assert_array_equal(da.values, frames)
    assert da.dtype == np.uint16
    assert da.slice_number.values.tolist() == [0, 1, 2, 3, 4]
    assert da.attrs == {"source": str(tmp_path / "s")}


def test_without_calibration_positions_count_pixels_in_unit_one(tmp_path):
    da = open_stack(write(tmp_path / "s", volume(3)))
    for dim in ("z", "y", "x"):
        assert da[dim].attrs["units"] == "1"
        assert da[dim].attrs["spacing"] == 1.0
        assert da[dim].values.tolist() == list(range(da.sizes[dim]))


def test_opening_two_thousand_frames_opens_one_file(tmp_path, opened):
    path = tmp_path / "s"
    path.mkdir()
    tifffile.imwrite(path / "slice_0000.tif", np.zeros((4, 5), "uint8"))
    content = (path / "slice_0000.tif").read_bytes()
    for k in range(1, 2000):
        (path / f"slice_{k:04d}.tif").write_bytes(content)
    opened.clear()
    da = open_stack(path, frames_per_block=1)
    assert da.sizes["z"] == 2000
    read = [name for name in opened if name.startswith(str(path))]
    assert set(read) == {str(path / "slice_0000.tif")}
    assert len(read) <= 3
    opened.clear()
    da.isel(z=[10, 500]).compute(scheduler="synchronous")
    assert Counter(name for name in opened if name.startswith(str(path))) == {
        str(path / "slice_0010.tif"): 1,
        str(path / "slice_0500.tif"): 1,
    }


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_each_frame_is_read_once_to_compute(tmp_path, opened, suffix):
    path = write(tmp_path / "s", volume(7, (20, 30), "uint8"), f"slice_{{k}}.{suffix}")
    da = open_stack(path)
    opened.clear()
    (da.astype("float32") + 1).mean("z").compute(scheduler="threads")
    assert Counter(name for name in opened if name.startswith(str(path))) == {
        str(path / f"slice_{k}.{suffix}"): 1 for k in range(7)
    }


def test_reading_and_a_later_step_are_one_task_a_block(tmp_path):
    da = open_stack(write(tmp_path / "s", volume(6)), frames_per_block=2)
    assert da.chunks[0] == (2, 2, 2)
    (optimised,) = dask.optimize((da + 1).data)
    assert len(dict(optimised.__dask_graph__())) == 3


def test_a_large_frame_is_a_block_and_small_ones_share_one(tmp_path):
    small = open_stack(write(tmp_path / "small", volume(5)))
    assert small.chunks[0] == (5,)
    large = open_stack(write(tmp_path / "large", np.zeros((3, 1024, 1025), "uint16")))
    assert large.chunks[0] == (1, 1, 1)


def test_numbers_without_leading_zeros_are_in_natural_order(tmp_path):
    frames = volume(12)
    da = open_stack(write(tmp_path / "s", frames, "slice_{k}.tif"))
    np.testing.assert_array_equal(da.values, frames)


def test_suffixes_in_any_case_are_frames_and_other_files_are_not(tmp_path):
    frames = volume(4)
    path = write(tmp_path / "s", frames[:2], "slice_{k}.TIF")
    write(path, frames[2:3], "slice_{k}.tiff".replace("tiff", "Tif"), [2])
    write(path, frames[3:], "slice_{k}.tif", [3])
    (path / "notes.txt").write_text("hello")
    (path / "._slice_0.tif").write_bytes(b"what another system leaves")
    np.testing.assert_array_equal(open_stack(path).values, frames)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_frames_keep_their_values_to_the_bit(tmp_path, dtype):
    frames = volume(3, dtype=dtype)
    da = open_stack(write(tmp_path / "s", frames, "img{k}.png"))
    assert da.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(da.values, frames)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours_become_the_channels_red_green_blue(tmp_path, suffix):
    frames = volume(3, (12, 17, 3), "uint8")
    written = frames[..., ::-1] if suffix == "png" else frames  # OpenCV writes BGR
    da = open_stack(write(tmp_path / "s", np.ascontiguousarray(written), f"s{{k}}.{suffix}"))
    assert da.dims == ("channel", "z", "y", "x")
    assert da.channel.values.tolist() == ["R", "G", "B"]
    np.testing.assert_array_equal(da.values, np.moveaxis(frames, -1, 0))


def test_jpeg_colours_are_in_the_right_order(tmp_path):
    frame = np.zeros((1, 16, 16, 3), "uint8")
    frame[..., 2] = 250  # red, for OpenCV
    da = open_stack(write(tmp_path / "s", frame, "s{k}.jpg"))
    assert da.sel(channel="R").values.min() > 240
    assert da.sel(channel="B").values.max() < 10


def test_colours_kept_in_planes_are_read(tmp_path):
    frames = volume(2, (3, 12, 17), "uint8")
    path = write(tmp_path / "s", frames, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(open_stack(path).values, frames.transpose(1, 0, 2, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": 2},
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"rowsperstrip": 1},
    ],
)
def test_every_common_way_to_write_a_tiff_is_read(tmp_path, options):
    frames = volume(2, (20, 33))
    da = open_stack(write(tmp_path / "s", frames, **options))
    np.testing.assert_array_equal(da.values, frames)
    assert da.dtype.isnative


def test_one_image_is_a_stack_of_one_slice(tmp_path):
    frames = volume(1, dtype="uint8")
    write(tmp_path, frames, "a.png")
    da = open_stack(tmp_path / "a.png", pixel_size="5 nm")
    assert da.sizes == {"z": 1, "y": 12, "x": 17}
    assert da.z.attrs["spacing"] == 5.0
    np.testing.assert_array_equal(da.values, frames)


# ---------------------------------------------------------------------------------------------------------------------
# Names


def named(
    folder: Path, z: list[str], name: str = "slice_{k:04d}_z={z}um.tif", numbers: list[int] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, text in zip(numbers or range(len(z)), z):
        tifffile.imwrite(folder / name.format(k=k, z=text), np.full((4, 5), k, "uint8"))
    return folder


def test_z_in_the_names_is_the_position_in_nm(tmp_path):
    da = open_stack(named(tmp_path / "s", ["0.0000", "0.0290", "0.0600"]), pixel_size=(5, 4))
    assert da.z.values.tolist() == [0.0, 29.0, 60.0]
    assert da.z.attrs["units"] == "nm"
    assert (da.y.attrs["spacing"], da.x.attrs["spacing"]) == (5.0, 4.0)
    assert da.slice_number.values.tolist() == [0, 1, 2]


def test_z_in_nm_is_found_and_shown_in_the_unit_asked_for(tmp_path):
    da = open_stack(named(tmp_path / "s", ["0", "20", "40"], "{k}_z={z}nm.tif"), units="um")
    assert da.z.values.tolist() == [0.0, 0.02, 0.04]
    assert da.z.attrs["units"] == "um"


def test_one_pixel_size_is_for_y_and_x_where_the_names_give_z(tmp_path):
    da = open_stack(named(tmp_path / "s", ["0.00", "0.03"]), pixel_size=5)
    assert da.z.values.tolist() == [0.0, 30.0]
    assert da.x.attrs["spacing"] == 5.0


def test_two_sources_of_slice_positions_are_refused(tmp_path):
    path = named(tmp_path / "s", ["0.00", "0.03"])
    with pytest.raises(ValueError, match=r"pixel_size=.* and the file names both give slice positions"):
        open_stack(path, pixel_size=(10, 5, 5))
    with pytest.raises(ValueError, match=r"pixel_size=.* and z= both give"):
        open_stack(path, pixel_size=(10, 5, 5), z=[0, 1])
    assert open_stack(path, z=["1 nm", "0.5 um"]).z.values.tolist() == [1.0, 500.0]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("slice_{slice_nb}_z={z_coord}um.tif", "slice_{k}_z={z}um.tif"),
        ("S{slice:03d}-{z:.3f}um-{}.tif", "S{k:03d}-{z}um-a.tif"),
        ("*_{slice}_{z:um}.tif", "x7_{k}_{z}.tif"),
        ("run{{1}}_{slice}_?={z}um.tif", "run{{1}}_{k}_z={z}um.tif"),
    ],
)
def test_a_pattern_says_where_number_and_z_are(tmp_path, pattern, name):
    path = named(tmp_path / "s", ["0.000", "0.010", "0.025"], name, [9, 10, 11])
    tifffile.imwrite(path / "overview.tif", np.zeros((50, 50), "uint8"))
    da = open_stack(path, pattern=pattern)
    assert da.z.values.tolist() == [0.0, 10.0, 25.0]
    assert da.slice_number.values.tolist() == [9, 10, 11]
    assert da.values[:, 0, 0].tolist() == [9, 10, 11]


def test_a_pattern_that_only_selects_leaves_the_numbers_to_the_default(tmp_path):
    path = write(tmp_path / "s", volume(3), "SE_{k}.tif")
    write(path, volume(3, seed=1), "ESB_{k}.tif")
    da = open_stack(path, pattern="ESB_*.tif")
    np.testing.assert_array_equal(da.values, volume(3, seed=1))
    assert da.slice_number.values.tolist() == [0, 1, 2]


def test_names_without_numbers_are_taken_in_order_with_a_warning(tmp_path):
    path = tmp_path / "s"
    path.mkdir()
    for k, name in enumerate(["a", "b", "c"]):
        tifffile.imwrite(path / f"{name}.tif", np.full((3, 4), k, "uint8"))
    with pytest.raises(ValueError, match=r"not of one form \('a.tif', 'b.tif', 'c.tif'\).*'\*.tif'"):
        open_stack(path)
    with pytest.warns(UserWarning, match=r"natural order of their names"):
        da = open_stack(path, pattern="*.tif")
    assert da.values[:, 0, 0].tolist() == [0, 1, 2]
    assert "slice_number" not in da.coords


def test_the_word_slice_says_which_number_counts(tmp_path):
    path = tmp_path / "s"
    path.mkdir()
    for k in range(3):
        tifffile.imwrite(path / f"2021-03-0{3 - k}_slice{k}_run4.tif", np.full((3, 4), k, "uint8"))
    da = open_stack(path)
    assert da.slice_number.values.tolist() == [0, 1, 2]
    assert da.values[:, 0, 0].tolist() == [0, 1, 2]


def test_several_changing_numbers_are_not_guessed_between(tmp_path):
    path = tmp_path / "s"
    path.mkdir()
    for k in range(3):
        tifffile.imwrite(path / f"t{k * 7}_n{k}.tif", np.zeros((3, 4), "uint8"))
    with pytest.raises(ValueError, match=r"several numbers differ.*pattern=.*'t{}_n{slice}.tif'"):
        open_stack(path)
    assert open_stack(path, pattern="t{}_n{slice}.tif").slice_number.values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("slice_{slice", "is not valid"),
        ("slice_{number}.tif", r"unknown field \{number\}.*allowed are \{slice\}"),
        ("slice_{slice:x}.tif", "format 'x'"),
        ("slice_1.tif", "matches one name only"),
        ("", "must give a file name"),
        ("slice_{slice!r}.tif", "unknown field"),
    ],
)
def test_a_bad_pattern_says_what_is_allowed(tmp_path, pattern, message):
    with pytest.raises(ValueError, match=message):
        open_stack(write(tmp_path / "s", volume(2)), pattern=pattern)
    with pytest.raises(TypeError, match=r"pattern=3"):
        open_stack(tmp_path / "s", pattern=3)  # type: ignore[arg-type]


def test_z_without_a_unit_asks_for_one(tmp_path):
    path = named(tmp_path / "s", ["0", "10"], "{k}_{z}.tif")
    with pytest.raises(ValueError, match=r"gives z without a unit.*\{z:um\}"):
        open_stack(path, pattern="{slice}_{z}.tif")
    assert open_stack(path, pattern="{slice}_{z}.tif", units="nm").z.values.tolist() == [0.0, 10.0]


def test_no_match_tells_the_names_that_are_there(tmp_path):
    path = write(tmp_path / "s", volume(7), "img_{k}.tif")
    with pytest.raises(FileNotFoundError, match=r"'slice_{slice}.tif'; the names are 'img_0.tif'.* and 2 more"):
        open_stack(path, pattern="slice_{slice}.tif")


def test_an_empty_folder_and_one_without_frames_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"it is empty"):
        open_stack(tmp_path)
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"'readme.md'.*Frames are files ending in .tif"):
        open_stack(tmp_path)


def test_a_missing_path_and_a_wrong_type_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is nothing at"):
        open_stack(tmp_path / "no")
    with pytest.raises(FileNotFoundError, match=r"there is no folder"):
        open_stack(tmp_path / "no" / "more.tif")
    for wrong in (3, None, ["a.tif"], b"a"):
        with pytest.raises(TypeError, match=r"must be a str or a path"):
            open_stack(wrong)  # type: ignore[arg-type]
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(
        ValueError, match=r"a.docx is of no kind.*a folder of frames, a Zarr store, and files ending in .tif"
    ):
        open_stack(tmp_path / "a.docx")


@pytest.mark.parametrize("name", ["on_bad_frame", "on_gap", "on_z"])
def test_a_wrong_choice_lists_the_allowed_ones(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}='maybe' is not allowed; it must be '"):
        open_stack(tmp_path, **{name: "maybe"})
    with pytest.raises(ValueError, match=r"frames_per_block=0"):
        open_stack(tmp_path, frames_per_block=0)


# ---------------------------------------------------------------------------------------------------------------------
# Channels


def test_folders_below_are_channels(tmp_path):
    one, two = volume(3), volume(3, seed=1)
    write(tmp_path / "s" / "SE2", one)
    write(tmp_path / "s" / "ESB", two)
    (tmp_path / "s" / "process" / "cropping").mkdir(parents=True)
    (tmp_path / "s" / "params.toml").write_text("")
    da = open_stack(tmp_path / "s")
    assert da.dims == ("channel", "z", "y", "x")
    assert da.channel.values.tolist() == ["ESB", "SE2"]
    np.testing.assert_array_equal(da.values, np.stack([two, one]))
    np.testing.assert_array_equal(open_stack(tmp_path / "s", channel=["SE2", "ESB"]).values, np.stack([one, two]))


def test_one_channel_by_name_is_a_stack_without_the_dim(tmp_path):
    write(tmp_path / "s" / "SE2", volume(3))
    write(tmp_path / "s" / "ESB", volume(3, seed=1))
    da = open_stack(tmp_path / "s", channel="ESB")
    assert da.dims == ("z", "y", "x")
    assert da.channel.item() == "ESB"
    np.testing.assert_array_equal(da.values, volume(3, seed=1))
    with pytest.raises(ValueError, match=r"channel='BSE' is not in .*'ESB', 'SE2'"):
        open_stack(tmp_path / "s", channel="BSE")


def test_a_single_channel_takes_the_name_it_is_given(tmp_path):
    path = write(tmp_path / "s", volume(3))
    assert open_stack(path, channel="SE2").dims == ("z", "y", "x")
    assert open_stack(path, channel=["SE2"]).dims == ("channel", "z", "y", "x")
    with pytest.raises(ValueError, match=r"gives 2 names, but there is one channel"):
        open_stack(path, channel=["SE2", "ESB"])


def test_a_pattern_finds_channels_in_names_and_folders(tmp_path):
    one, two = volume(3), volume(3, seed=1)
    write(tmp_path / "s", one, "s{k}_A.tif")
    write(tmp_path / "s", two, "s{k}_B.tif")
    da = open_stack(tmp_path / "s", pattern="s{slice}_{channel}.tif")
    np.testing.assert_array_equal(da.sel(channel="B").values, two)
    write(tmp_path / "t" / "A", one)
    write(tmp_path / "t" / "B", two)
    da = open_stack(tmp_path / "t", pattern="{channel}/slice_{slice}.tif")
    np.testing.assert_array_equal(da.sel(channel="A").values, one)


def test_channels_must_have_the_same_slices_unless_flagged(tmp_path):
    write(tmp_path / "s" / "A", volume(3))
    write(tmp_path / "s" / "B", volume(2, seed=1), numbers=[1, 2])
    with pytest.raises(ValueError, match=r"do not have the same slices: 'B' lacks 1 \(0\).*on_gap='flag'"):
        open_stack(tmp_path / "s")
    da = open_stack(tmp_path / "s", on_gap="flag")
    assert da.valid.values.tolist() == [False, True, True]
    assert not da.sel(channel="B").isel(z=0).values.any()
    np.testing.assert_array_equal(da.sel(channel="A").values, volume(3))


def test_channels_must_have_the_same_size_and_z(tmp_path):
    write(tmp_path / "s" / "A", volume(2))
    write(tmp_path / "s" / "B", volume(2, (13, 17)))
    with pytest.raises(FrameError, match=r"channels are not alike.*12 x 17 uint16.*13 x 17 uint16.*channel="):
        open_stack(tmp_path / "s")
    named(tmp_path / "z" / "A", ["0.01", "0.02"])
    named(tmp_path / "z" / "B", ["0.01", "0.03"])
    with pytest.raises(ValueError, match=r"is at z=20 in channel 'A' and at z=30 in 'B'"):
        open_stack(tmp_path / "z")


# ---------------------------------------------------------------------------------------------------------------------
# Gaps and order


def test_missing_numbers_warn_and_leave_a_hole_in_z(tmp_path):
    frames = volume(4)
    path = write(tmp_path / "s", frames, numbers=[3, 4, 7, 9])
    with pytest.warns(UserWarning, match=r"3 of the slice numbers 3 to 9 are missing in .*: 5 to 6, 8\."):
        da = open_stack(path, pixel_size=(10, 5, 5))
    assert da.z.values.tolist() == [0.0, 10.0, 40.0, 60.0]
    assert da.slice_number.values.tolist() == [3, 4, 7, 9]
    np.testing.assert_array_equal(da.values, frames)
    assert open_stack(path, pixel_size=(10, 5, 5), on_gap="ignore").identical(da)


def test_missing_numbers_can_be_an_error_or_flagged_slices(tmp_path):
    frames = volume(3)
    path = write(tmp_path / "s", frames, numbers=[3, 4, 6])
    with pytest.raises(ValueError, match=r"1 of the slice numbers 3 to 6 is missing.*: 5\. Choose: on_gap='flag'"):
        open_stack(path, on_gap="raise")
    da = open_stack(path, on_gap="flag", pixel_size=10)
    assert da.slice_number.values.tolist() == [3, 4, 5, 6]
    assert da.z.values.tolist() == [0.0, 10.0, 20.0, 30.0]
    assert da.valid.values.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(da.isel(z=[0, 1, 3]).values, frames)
    assert not da.isel(z=2).values.any()


def test_numbers_that_cannot_count_slices_are_not_filled_in(tmp_path):
    path = write(tmp_path / "s", volume(2), "slice_{k}.tif", [7, 20_240_131_120_000])
    with pytest.warns(UserWarning, match=r"20240131119992 of the slice numbers 7 to 20240131120000 are missing"):
        open_stack(path)
    with pytest.raises(ValueError, match=r"on_gap='flag' would insert them all; say what counts"):
        open_stack(path, on_gap="flag")


def test_a_missing_float_slice_is_filled_with_nan_between_its_neighbours(tmp_path):
    path = tmp_path / "s"
    path.mkdir()
    for k, z in ((0, 0), (1, 12), (3, 40)):
        tifffile.imwrite(path / f"slice_{k}_z={z}nm.tif", np.ones((4, 5), "float32"))
    da = open_stack(path, on_gap="flag")
    assert da.z.values.tolist() == [0.0, 12.0, 26.0, 40.0]
    assert np.isnan(da.isel(z=2).values).all()


def test_a_number_given_twice_names_both_files(tmp_path):
    path = write(tmp_path / "s", volume(2), "slice_{k}.tif")
    write(path, volume(1), "slice_{k:03d}.tif", [1])
    with pytest.raises(ValueError, match=r"slice number 1 is given twice, by 'slice_001.tif' and 'slice_1.tif'"):
        open_stack(path)


def test_decreasing_z_is_an_error_sorted_or_dropped(tmp_path):
    path = named(tmp_path / "s", ["0.00", "0.03", "0.02", "0.04"])
    with pytest.raises(
        ValueError,
        match=r"z decreases in .* from 30 to 20 nm between slice_0001_z=0.03um.tif and slice_0002.*on_z='sort'",
    ):
        open_stack(path)
    da = open_stack(path, on_z="sort")
    assert da.z.values.tolist() == [0.0, 20.0, 30.0, 40.0]
    assert da.slice_number.values.tolist() == [0, 2, 1, 3]
    assert da.values[:, 0, 0].tolist() == [0, 2, 1, 3]
    with pytest.warns(UserWarning, match=r"left out 1 slice of.*slice_0002"):
        dropped = open_stack(path, on_z="drop")
    assert dropped.values[:, 0, 0].tolist() == [0, 1, 3]


def test_equal_z_is_an_error_or_the_first_is_kept(tmp_path):
    path = named(tmp_path / "s", ["0.00", "0.02", "0.02", "0.04"])
    for on_z in ("raise", "sort"):
        with pytest.raises(ValueError, match=r"two slices .* have the same z=20 nm: slice_0001.*slice_0002"):
            open_stack(path, on_z=on_z)
    with pytest.warns(UserWarning, match=r"left out 1 slice of"):
        assert open_stack(path, on_z="drop").values[:, 0, 0].tolist() == [0, 1, 3]
    assert open_stack(path, z=[0, 1, 2, 3]).sizes["z"] == 4


def test_z_of_the_user_must_fit_and_increase(tmp_path):
    path = write(tmp_path / "s", volume(3))
    with pytest.raises(ValueError, match=r"z has 2 positions; it must give one for each of the 3 slices"):
        open_stack(path, z=[0, 1])
    with pytest.raises(ValueError, match=r"z must increase .* at index 2 \(z=1\)"):
        open_stack(path, z=[0, 1, 1])


@pytest.mark.parametrize("size", [0, -5, (1, 2, 3, 4), "5 s", "fast", float("nan")])
def test_a_bad_pixel_size_is_named(tmp_path, size):
    with pytest.raises(ValueError, match=r"pixel_size="):
        open_stack(write(tmp_path / "s", volume(2)), pixel_size=size)


# ---------------------------------------------------------------------------------------------------------------------
# Bad frames


def spoil(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-60])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "nonsense":
        path.write_bytes(b"this is no image at all, but it is long enough to be one" * 20)
    elif how == "size":
        write(path.parent, volume(1, (13, 17)), path.name)
    elif how == "dtype":
        write(path.parent, volume(1, dtype="uint8"), path.name)


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("how", ["cut", "empty", "nonsense", "size", "dtype"])
def test_a_bad_frame_is_named_or_flagged(tmp_path, suffix, how):
    frames = volume(4)
    path = write(tmp_path / "s", frames, f"slice_{{k}}.{suffix}")
    spoil(path / f"slice_2.{suffix}", how)
    with pytest.raises(FrameError, match=rf"slice_2\.{suffix}.*on_bad_frame='flag'"):
        open_stack(path).compute()
    da = open_stack(path, on_bad_frame="flag")
    assert da.valid.values.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(da.isel(z=[0, 1, 3]).values, frames[[0, 1, 3]])
    assert not da.isel(z=2).values.any()


def test_a_bad_first_frame_does_not_decide_what_the_others_are(tmp_path):
    frames = volume(4)
    path = write(tmp_path / "s", frames)
    spoil(path / "slice_0000.tif", "size")
    da = open_stack(path, on_bad_frame="flag")
    assert da.valid.values.tolist() == [False, True, True, True]
    np.testing.assert_array_equal(da.values[1:], frames[1:])


def test_a_cut_jpeg_is_not_filled_with_grey(tmp_path):
    path = write(tmp_path / "s", volume(3, (64, 64), "uint8"), "slice_{k}.jpg")
    spoil(path / "slice_1.jpg", "cut")
    with pytest.raises(FrameError, match=r"slice_1.jpg cannot be read: it is cut short"):
        open_stack(path).compute()


def damaged_inside(tmp_path: Path, frames: np.ndarray) -> Path:
    path = write(tmp_path / "s", frames, compression="zlib")
    data = bytearray((path / "slice_0001.tif").read_bytes())
    with tifffile.TiffFile(path / "slice_0001.tif") as tif:
        at = tif.pages[0].dataoffsets[0]
    data[at + 200 : at + 400] = bytes(200)
    (path / "slice_0001.tif").write_bytes(data)
    return path


def test_damage_inside_compressed_pixels_is_an_error_when_read(tmp_path):
    path = damaged_inside(tmp_path, volume(3, (40, 40)))
    da = open_stack(path, frames_per_block=1)
    da.isel(z=[0, 2]).compute()
    with pytest.raises(FrameError, match=r"slice_0001.tif cannot be read.*on_bad_frame='flag'"):
        da.compute()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_damage_inside_compressed_pixels_is_filled_with_a_warning_where_asked(tmp_path, dtype):
    frames = volume(3, (40, 40)).astype(dtype)
    path = damaged_inside(tmp_path, frames)
    da = open_stack(path, on_bad_frame="flag")
    assert da.valid.values.all()
    with pytest.warns(BadFrameWarning, match=r"slice_0001.tif cannot be read") as caught:
        values = da.values
    assert "on_bad_frame" not in str(caught[0].message)
    np.testing.assert_array_equal(values[[0, 2]], frames[[0, 2]])
    np.testing.assert_array_equal(values[1], np.full((40, 40), np.nan if dtype == "float32" else 0))
    unread = xr.open_dataset(path, engine="stack3d", on_bad_frame="flag")
    with pytest.warns(BadFrameWarning, match=r"slice_0001.tif"):
        np.testing.assert_array_equal(unread["image"].values, values)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_file_deleted_after_opening_is_named(tmp_path, suffix):
    path = write(tmp_path / "s", volume(3), f"slice_{{k}}.{suffix}")
    da, flagged = open_stack(path), open_stack(path, on_bad_frame="flag")
    (path / f"slice_1.{suffix}").unlink()
    with pytest.raises(FrameError, match=rf"slice_1.{suffix} cannot be read: the file is no longer there"):
        da.compute()
    with pytest.warns(BadFrameWarning, match=rf"slice_1.{suffix}"):
        assert not flagged.values[1].any()


def test_a_deleted_file_of_many_frames_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", volume(3), photometric="minisblack")
    da = open_stack(tmp_path / "a.tif")
    (tmp_path / "a.tif").unlink()
    with pytest.raises(FrameError, match=r"a.tif cannot be read: the file is no longer there"):
        da.compute()


def test_no_good_frame_at_all_is_an_error_that_does_not_repeat_the_advice(tmp_path):
    path = write(tmp_path / "s", volume(2))
    for k in range(2):
        (path / f"slice_000{k}.tif").write_bytes(b"nothing")
    with pytest.raises(FrameError, match=r"none of the 2 frames can be read, such as .*tif$"):
        open_stack(path, on_bad_frame="flag")


def test_warnings_point_at_the_line_of_the_user(tmp_path):
    path = write(tmp_path / "s", volume(2), numbers=[1, 3])
    with pytest.warns(UserWarning, match="missing") as caught:
        open_stack(path)
    assert caught[0].filename == __file__


def test_a_multi_page_file_among_frames_says_what_to_do(tmp_path):
    path = tmp_path / "s"
    path.mkdir()
    tifffile.imwrite(path / "slice_0.tif", volume(3), photometric="minisblack")
    with pytest.raises(FrameError, match=r"slice_0.tif holds 3 pages; open the file itself"):
        open_stack(path)


def test_an_argument_without_meaning_is_refused(tmp_path):
    path = write(tmp_path / "s", volume(2))
    with pytest.raises(ValueError, match=r"variable='x' has no meaning for a folder"):
        open_stack(path, variable="x")
    with pytest.raises(ValueError, match=r"pattern='a{slice}' has no meaning for a TIFF"):
        open_stack(path / "slice_0000.tif", pattern="a{slice}")
