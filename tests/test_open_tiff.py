from __future__ import annotations

import json
from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile
import xarray as xr

from stack3d.io import open_stack
from stack3d.io._frames import FrameError
from stack3d.model import from_array
from stack3d.vocabulary import validate

SEM = Path(__file__).parents[2] / "shared" / "data" / "sem_tiff"
needs_sem = pytest.mark.skipif(not SEM.is_dir(), reason="real SEM images are not here")

FIBICS = (
    '<?xml version="1.0" encoding="iso-8859-1"?>\r\n<Fibics version="1.2">'
    "<Application><Version>Atlas 5</Version></Application>"
    "<Image><Width>8</Width><Detector>ESB</Detector></Image>"
    '<Scan><Dwell units="ns">1000</Dwell><Ux>0.003</Ux><Uy>0.004</Uy><Vx>0</Vx><Vy>-0.006</Vy></Scan>'
    '<BeamInfo><item name="EHT">1.5 kV</item><item name="BeamI">700 pA</item></BeamInfo></Fibics>'
)


def values(*shape: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250 if dtype == "uint8" else 60_000, shape).astype(dtype)


OPTIONS = [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"byteorder": ">"}, {"rowsperstrip": 3}, {"bigtiff": True}]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_plain_multi_page_file_is_a_lazy_stack(tmp_path, options):
    data = values(6, 20, 33)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", **options)
    da = open_stack(tmp_path / "a.tif", frames_per_block=2)
    assert da.dims == ("z", "y", "x")
    assert dask.is_dask_collection(da)
    assert da.chunks[0] == (2, 2, 2)
    assert da.dtype.isnative
    np.testing.assert_array_equal(da.values, data)
    np.testing.assert_array_equal(da.isel(z=3).values, data[3])
    assert da.z.attrs["units"] == "1"


def test_an_imagej_hyperstack_has_its_scales_and_channels_in_order(tmp_path):
    data = values(5, 2, 20, 30)
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        imagej=True,
        resolution=(1 / 0.005, 1 / 0.004),
        metadata={"axes": "ZCYX", "spacing": 0.01, "unit": "um"},
    )
    da = open_stack(tmp_path / "a.tif")
    assert da.dims == ("channel", "z", "y", "x")
    np.testing.assert_array_equal(da.values, data.transpose(1, 0, 2, 3))
    assert da.channel.values.tolist() == ["0", "1"]
    np.testing.assert_allclose([da[dim].attrs["spacing"] for dim in ("z", "y", "x")], [10, 4, 5], rtol=1e-12)
    assert {da[dim].attrs["units"] for dim in ("z", "y", "x")} == {"nm"}
    named = open_stack(tmp_path / "a.tif", channel=["SE2", "ESB"])
    np.testing.assert_array_equal(named.sel(channel="ESB").values, data[:, 1])
    np.testing.assert_array_equal(open_stack(tmp_path / "a.tif", channel="1").values, data[:, 1])


def test_imagej_without_calibration_counts_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values(3, 9, 8), imagej=True)
    da = open_stack(tmp_path / "a.tif")
    assert [da[dim].attrs["units"] for dim in ("z", "y", "x")] == ["1"] * 3


def test_imagej_colours_are_channels(tmp_path):
    data = values(3, 12, 10, 3, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZYXS"})
    da = open_stack(tmp_path / "a.tif")
    assert da.channel.values.tolist() == ["R", "G", "B"]
    np.testing.assert_array_equal(da.values, np.moveaxis(data, -1, 0))


@pytest.mark.parametrize("order", ["CZYX", "ZCYX"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_an_ome_tiff_has_its_scales_units_and_channel_names(tmp_path, order, options):
    data = values(2, 4, 15, 22)
    metadata = {
        "axes": order,
        "PhysicalSizeX": 5.0, "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.004, "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 200.0, "PhysicalSizeZUnit": "Å",
        "Channel": {"Name": ["SE2", "ESB"]},
    }  # fmt: skip
    stored = data if order == "CZYX" else data.transpose(1, 0, 2, 3)
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, ome=True, metadata=metadata, photometric="minisblack", **options)
    da = open_stack(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(da.values, data)
    assert da.channel.values.tolist() == ["SE2", "ESB"]
    np.testing.assert_allclose([da[dim].attrs["spacing"] for dim in ("z", "y", "x")], [20, 4, 5], rtol=1e-12)
    np.testing.assert_array_equal(open_stack(tmp_path / "a.ome.tif", channel="ESB").values, data[1])


def test_the_user_stands_over_what_the_file_states(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        values(3, 9, 8),
        imagej=True,
        resolution=(200, 200),
        metadata={"spacing": 0.01, "unit": "um", "axes": "ZYX"},
    )
    da = open_stack(tmp_path / "a.tif", pixel_size=(7, 6), units="nm")
    assert [da[dim].attrs["spacing"] for dim in ("z", "y", "x")] == [10.0, 7.0, 6.0]
    assert open_stack(tmp_path / "a.tif", z=[0, 1, 5]).z.values.tolist() == [0.0, 1.0, 5.0]


def test_pages_written_one_by_one_are_one_stack(tmp_path):
    data = values(5, 12, 13)
    with tifffile.TiffWriter(tmp_path / "big.tif", bigtiff=True) as file:
        for k, frame in enumerate(data):
            file.write(frame, contiguous=False, extratags=[(51023, "s", 0, FIBICS + " " * k, False)])
    da = open_stack(tmp_path / "big.tif")
    np.testing.assert_array_equal(da.values, data)


def test_pages_of_unequal_size_are_an_error_or_flagged(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for k in range(4):
            file.write(np.full((9, 8 if k != 2 else 7), k, "uint8"), contiguous=False, metadata=None)
    with pytest.raises(FrameError, match=r"pages of .* are not alike: page 0 is 9 x 8 uint8, page 2 is 9 x 7 uint8"):
        open_stack(tmp_path / "a.tif")
    da = open_stack(tmp_path / "a.tif", on_bad_frame="flag")
    assert da.valid.values.tolist() == [True, True, False, True]
    assert da.values[:, 0, 0].tolist() == [0, 1, 0, 3]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_a_file_cut_short_is_an_error_or_flagged(tmp_path, options):
    data = values(4, 40, 30)
    path = tmp_path / "a.tif"
    if options:
        tifffile.imwrite(path, data, photometric="minisblack", **options)
        with tifffile.TiffFile(path) as tif:
            keep = tif.pages[3].dataoffsets[0] + 10
    else:
        tifffile.imwrite(path, data, photometric="minisblack")
        with tifffile.TiffFile(path) as tif:
            keep = tif.series[0].dataoffset + 3 * 2400 + 10
    if options:
        # The directory of the last page lies behind its pixels; a copy with the pixels blotted out of reach.
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as tif:
            tag = tif.pages[3].tags["StripOffsets"]
            content[tag.offset + 8 : tag.offset + 12] = (len(content) - 5).to_bytes(4, "little")
        path.write_bytes(content)
    else:
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FrameError, match=r"a\.tif cannot be read: its .* 3 is cut short"):
        open_stack(path)
    da = open_stack(path, on_bad_frame="flag")
    assert da.valid.values.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(da.values[:3], data[:3])


def test_time_is_taken_for_slices_with_a_warning_and_not_beside_z(tmp_path):
    data = values(4, 12, 13)
    tifffile.imwrite(tmp_path / "t.tif", data, imagej=True, metadata={"axes": "TYX"})
    with pytest.warns(UserWarning, match=r"4 points of time and no z"):
        da = open_stack(tmp_path / "t.tif")
    np.testing.assert_array_equal(da.values, data)
    tifffile.imwrite(tmp_path / "tz.tif", values(2, 3, 12, 13), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ValueError, match=r"axes 'TZYX'.*one axis of slices"):
        open_stack(tmp_path / "tz.tif")


def test_several_images_in_one_file_are_listed_and_chosen(tmp_path):
    one, two = values(3, 12, 13), values(2, 9, 8, seed=1)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(one, photometric="minisblack", metadata={"axes": "ZYX", "Name": "left"})
        file.write(
            two,
            photometric="minisblack",
            metadata={"axes": "ZYX", "Name": "right", "PhysicalSizeX": 3, "PhysicalSizeXUnit": "nm"},
        )
    with pytest.raises(
        ValueError, match=r"holds 2 images; choose one with variable=: 0 \('left', 3x12x13 uint16\), 1 \('right'"
    ):
        open_stack(tmp_path / "a.ome.tif")
    for variable in (1, "right"):
        da = open_stack(tmp_path / "a.ome.tif", variable=variable)
        np.testing.assert_array_equal(da.values, two)
        assert da.x.attrs["spacing"] == 3.0
    with pytest.raises(ValueError, match=r"variable='up' is not one image"):
        open_stack(tmp_path / "a.ome.tif", variable="up")


def test_what_is_no_tiff_says_so(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no tiff" * 50)
    with pytest.raises(ValueError, match=r"a\.tif cannot be read as a TIFF"):
        open_stack(tmp_path / "a.tif")


def test_fibics_metadata_give_pixel_size_and_vocabulary(tmp_path):
    (tmp_path / "s").mkdir()
    for k in range(2):
        tifffile.imwrite(tmp_path / "s" / f"slice_{k}.tif", values(6, 8), extratags=[(51023, "s", 0, FIBICS, False)])
    da = open_stack(tmp_path / "s")
    np.testing.assert_allclose([da.y.attrs["spacing"], da.x.attrs["spacing"]], [6, 5], rtol=1e-12)
    assert da.y.attrs["units"] == "nm"
    assert da.z.attrs["units"] == "1"
    assert da.attrs["detector"] == "ESB"
    assert da.attrs["software"] == "Atlas 5"
    validate(da.attrs)
    assert (da.attrs["accelerating_voltage"], da.attrs["accelerating_voltage_units"]) == (1.5, "kV")
    assert (da.attrs["beam_current"], da.attrs["beam_current_units"]) == (700.0, "pA")
    assert (da.attrs["dwell_time"], da.attrs["dwell_time_units"]) == (1000.0, "ns")
    assert json.loads(da.attrs["vendor_metadata"])["Fibics"].startswith("<?xml")


@needs_sem
def test_a_real_thermo_fisher_image_is_calibrated():
    da = open_stack(SEM / "FEI-Helios-Ebeam-16bits.tif")
    with tifffile.TiffFile(SEM / "FEI-Helios-Ebeam-16bits.tif") as tif:
        np.testing.assert_array_equal(da.values[0], tif.asarray())
    np.testing.assert_allclose([da.y.attrs["spacing"], da.x.attrs["spacing"]], 3372.4, rtol=1e-9)
    assert da.attrs["instrument"] == "Helios NanoLab 660"
    validate(da.attrs)
    assert (da.attrs["accelerating_voltage"], da.attrs["accelerating_voltage_units"]) == (5000.0, "V")
    assert json.loads(da.attrs["vendor_metadata"])["FEI"]["EScan"]["Dwell"] == 1e-5


@needs_sem
def test_a_real_zeiss_image_is_calibrated():
    da = open_stack(SEM / "test_tiff_Zeiss_SEM_512pix.tif")
    with tifffile.TiffFile(SEM / "test_tiff_Zeiss_SEM_512pix.tif") as tif:
        np.testing.assert_array_equal(da.values[0], tif.asarray())
    # The record speaks of a scan of 1024 columns over 5.965 um; the image in the file has half of them.
    np.testing.assert_allclose([da.y.attrs["spacing"], da.x.attrs["spacing"]], 2 * 5.825, rtol=1e-9)
    np.testing.assert_allclose(da.x.attrs["spacing"] * da.sizes["x"], 5965, rtol=1e-3)
    assert da.attrs["detector"] == "InLens"
    assert da.attrs["serial_number"] == "ULTRA 55-36-06"
    validate(da.attrs)
    assert json.loads(da.attrs["vendor_metadata"])["CZ_SEM"]["ap_pixel_size"] == ["Pixel Size", 5.825, "nm"]


@pytest.mark.parametrize("dtype", ["uint16", "uint8", "float32", "bool"])
@pytest.mark.parametrize("dims", ["yx", "zyx", "czyx"])
def test_what_save_wrote_as_tiff_comes_back_identical(tmp_path, dtype, dims):
    from stack3d.io import save

    shape = {"yx": (9, 8), "zyx": (4, 9, 8), "czyx": (2, 4, 9, 8)}[dims]
    data = values(*shape) > 30_000 if dtype == "bool" else values(*shape).astype(dtype)
    size = 5 if dims == "yx" else (5, 4)
    da = from_array(
        data,
        pixel_size=size,
        z=None if dims == "yx" else [0, 10, 25, 31],
        channel=["A", "B"] if dims == "czyx" else None,
        attrs={"detector": "SE2"},
    )
    save(da, tmp_path / "a.tif")
    back = open_stack(tmp_path / "a.tif")
    assert dask.is_dask_collection(back)
    xr.testing.assert_identical(back.compute(), da)
    assert back.dtype == da.dtype
