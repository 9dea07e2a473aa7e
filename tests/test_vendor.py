"""What microscopes write into their files, in one vocabulary: against records made from the formats' own words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

import stack3d
from stack3d.io._fei import fei, fei_region
from stack3d.io._fibics import fibics_region
from stack3d.io._vendor import acquired_region
from stack3d.io._words import date, words
from stack3d.io._zeiss import zeiss
from stack3d.vocabulary import validate

SEM = Path(__file__).parents[2] / "shared" / "data" / "sem_tiff"
needs_sem = pytest.mark.skipif(not SEM.is_dir(), reason="real SEM images are not here")

NEW_SETUP = """<?xml version="1.0" encoding="iso-8859-1"?>
<ATLAS3D-Setup version="1.6"><JobName>grain \xb5</JobName><Settings><Imaging>
<Detector>SE2</Detector><DetectorB>ESB</DetectorB>
<DefaultAcquisition><PixelSize>0.00999999889</PixelSize><FOV>0.24</FOV>
<Interval><Distance><Interval>0.0125</Interval></Distance></Interval></DefaultAcquisition>
</Imaging></Settings></ATLAS3D-Setup>"""
OLD_SETUP = """<?xml version="1.0" encoding="iso-8859-1"?>
<ATLAS3D-Setup><Settings><Imaging><Detector>InLens</Detector><DetectorB/>
<FibicsRasterInfo><PixelSizeX>0.008</PixelSizeX></FibicsRasterInfo>
<FOV>0.192</FOV><Interval>0.02</Interval></Imaging></Settings></ATLAS3D-Setup>"""


def fibics_text(width=24, height=16, *, pixel=0.01, box=None, z=None):
    sides = "".join(f"<BoundingBox.{side}>{value}</BoundingBox.{side}>" for side, value in (box or {}).items())
    depth = "" if z is None else f"<ATLAS3D><Slice><ZIndex>1</ZIndex><ZPos>{z}</ZPos></Slice></ATLAS3D>"
    return (
        '<?xml version="1.0" encoding="iso-8859-1"?>\r\n<Fibics version="1.2">'
        "<Application><Version>Atlas 5.2</Version><Date>2021-03-04T05:06:07</Date></Application>"
        f"<Image><Width>{width}</Width><Height>{height}</Height>{sides}<Machine>Crossbeam 540</Machine><Beam>SEM</Beam>"
        "<Detector>SE2</Detector></Image>"
        f'<Scan><Dwell units="ns">800</Dwell><LineAvg>2</LineAvg><FOV_X units="um">{pixel * width:.6g}</FOV_X>'
        f"<Ux>{pixel}</Ux><Uy>0</Uy><Vx>0</Vx><Vy>{-pixel}</Vy></Scan>"
        '<Stage><Tilt units="deg">54</Tilt></Stage>'
        '<BeamInfo><item name="EHT">1.5 kV</item><item name="BeamI">700 pA</item><item name="WD">5.01 mm</item>'
        f'<item name="Ext I">190.5 uA</item></BeamInfo>{depth}</Fibics>'
    )


def frames(folder, count=4, *, shape=(16, 24), tag=None, name="slice_{k:04d}.tif", **more):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        text = tag(k) if callable(tag) else tag
        extra = None if text is None else [(51023, "s", 0, text, False)]
        path = folder / name.format(k=k, z=0.01 * k)
        tifffile.imwrite(path, np.full(shape, k, np.uint16), photometric="minisblack", extratags=extra, **more)
    return folder


@pytest.fixture
def project(tmp_path):
    for detector in ("ESB", "SE2", "overview"):
        frames(tmp_path / detector, tag=fibics_text())
    (tmp_path / "Atlas3D.a3d-setup").write_bytes(NEW_SETUP.encode("latin-1"))
    return tmp_path


@pytest.mark.parametrize("path", [".", "Atlas3D.a3d-setup"])
def test_an_atlas_project_opens_with_its_channels_pixel_and_slice_thickness(project, path):
    da = stack3d.open_stack(project / path)
    assert da.channel.values.tolist() == ["SE2", "ESB"]  # not the overview; as the setup orders them
    size = da.stack3d.pixel_size
    np.testing.assert_allclose([size.z, size.y, size.x], [12.5, 10, 10], rtol=1e-6)
    assert size.units == "nm"
    assert da.attrs["source"] == str(project)
    known = da.stack3d.metadata
    assert (known["slice_thickness"], known["slice_thickness_units"]) == (0.0125, "um")
    assert (known["field_of_view"], known["field_of_view_units"]) == (0.24, "um")
    assert (known["tilt_angle"], known["tilt_angle_units"]) == (54.0, "degree")
    assert (known["working_distance"], known["working_distance_units"]) == (5.01, "mm")
    assert (known["beam"], known["line_averaging"]) == ("electron", 2)
    assert known["acquisition_date"] == "2021-03-04T05:06:07"
    assert "grain µ" in known["vendor_metadata"]["Atlas"]
    assert known["vendor_metadata"]["Fibics"].startswith("<?xml")
    validate(da.attrs)
    np.testing.assert_array_equal(da.values[0, :, 0, 0], [0, 1, 2, 3])


def test_an_old_setup_with_one_detector_is_read_as_well(tmp_path):
    frames(tmp_path / "InLens")
    (tmp_path / "any.a3d-setup").write_text(OLD_SETUP)
    da = stack3d.open_stack(tmp_path)
    size = da.stack3d.pixel_size
    np.testing.assert_allclose([size.z, size.y, size.x], [20, 8, 8], rtol=1e-12)
    assert da.attrs["detector"] == "InLens"
    assert da.sizes["channel"] == 1


def test_an_old_setup_read_first_changes_nothing_for_a_new_one(tmp_path, project):
    frames(tmp_path / "old" / "InLens")
    (tmp_path / "old" / "any.a3d-setup").write_text(OLD_SETUP)
    stack3d.open_stack(tmp_path / "old")
    np.testing.assert_allclose(stack3d.open_stack(project).stack3d.pixel_size.z, 12.5)


def test_what_the_user_and_the_names_say_stands_over_the_setup(tmp_path):
    frames(tmp_path / "SE2", name="slice_{k:04d}_z={z:.4f}um.tif")
    (tmp_path / "Atlas3D.a3d-setup").write_bytes(NEW_SETUP.encode("latin-1"))
    np.testing.assert_allclose(stack3d.open_stack(tmp_path).z, [0, 10, 20, 30])
    np.testing.assert_allclose(stack3d.open_stack(tmp_path, pixel_size=("3 nm", "4 nm")).stack3d.pixel_size.x, 4)
    assert stack3d.open_stack(tmp_path, channel="SE2").dims == ("z", "y", "x")


def test_frames_that_contradict_the_setup_are_believed_and_it_is_said(project):
    for path in (project / "SE2").iterdir():
        path.unlink()
    frames(project / "SE2", tag=fibics_text(pixel=0.02))
    with pytest.warns(UserWarning, match=r"a pixel of 20 nm along y and 20 nm along x, and .*a3d-setup one of 10 nm"):
        da = stack3d.open_stack(project)
    np.testing.assert_allclose(da.stack3d.pixel_size.x, 20)


def test_several_setups_are_none_until_one_is_opened(project):
    (project / "Atlas3D.a3d-setup").rename(project / "a.a3d-setup")
    (project / "b.a3d-setup").write_text(OLD_SETUP)
    with pytest.warns(UserWarning, match=r"several setups of Atlas \('a.a3d-setup', 'b.a3d-setup'\)"):
        assert stack3d.open_stack(project).sizes["channel"] == 3
    assert stack3d.open_stack(project / "a.a3d-setup").sizes["channel"] == 2


def test_a_setup_that_is_no_xml_says_so(project):
    (project / "Atlas3D.a3d-setup").write_text("<Settings>")
    with pytest.raises(ValueError, match=r"Atlas3D.a3d-setup cannot be read as a setup of Atlas: "):
        stack3d.open_stack(project)


def test_positions_noted_by_atlas_are_the_slice_positions_where_names_give_none(tmp_path):
    depths = [0.1, 0.112, 0.121, 0.135]
    frames(tmp_path / "s", tag=lambda k: fibics_text(z=depths[k]))
    np.testing.assert_array_equal(stack3d.open_stack(tmp_path / "s").z, [100, 112, 121, 135])
    np.testing.assert_allclose(stack3d.open_stack(tmp_path / "s", pixel_size=(7, 5, 5)).z, [0, 7, 14, 21])
    np.testing.assert_allclose(stack3d.open_stack(tmp_path / "s", z=[0, 1, 2, 9]).z, [0, 1, 2, 9])


def test_positions_of_atlas_that_do_not_increase_are_left_out_with_a_warning(tmp_path):
    depths = [0.1, 0.112, 0.112, 0.135]
    frames(tmp_path / "s", tag=lambda k: fibics_text(z=depths[k]))
    with pytest.warns(UserWarning, match=r"do not increase \(.*slice_0002.tif\)"):
        assert stack3d.open_stack(tmp_path / "s").z.attrs["units"] == "1"
    frames(tmp_path / "t", tag=lambda k: fibics_text(z=depths[k] if k != 1 else None))
    with pytest.warns(UserWarning, match=r"are not in all of them \(.*slice_0001.tif\)"):
        stack3d.open_stack(tmp_path / "t")


def test_a_missing_slice_lies_between_the_positions_of_its_neighbours(tmp_path):
    folder = frames(tmp_path / "s", tag=lambda k: fibics_text(z=0.01 * k))
    (folder / "slice_0002.tif").unlink()
    da = stack3d.open_stack(folder, on_gap="flag")
    np.testing.assert_allclose(da.z, [0, 10, 20, 30])
    assert da.valid.values.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # y counts from the top; 20 pixels around the box, cut to the frame
        ({"Left": 30, "Right": 60, "Top": 25, "Bottom": 50}, {"y": slice(5, 70), "x": slice(10, 80)}),
        ({"Left": 10, "Right": 60, "Top": 2, "Bottom": 75}, {"x": slice(0, 80)}),
        ({"Left": 0, "Right": 100, "Top": 0, "Bottom": 80}, None),
        ({"Left": 60, "Right": 30, "Top": 2, "Bottom": 75}, None),
        ({"Left": 10}, None),
    ],
)
def test_the_region_of_interest_is_cut_to_the_frame(box, expected):
    assert fibics_region(fibics_text(100, 80, box=box), (80, 100)) == expected
    assert acquired_region({"vendor_metadata": json.dumps({"Fibics": fibics_text(100, 80, box=box)})}, (80, 99)) is None


def test_the_bar_under_a_thermo_fisher_image_is_no_part_of_the_region():
    meta = {"Image": {"ResolutionX": 512, "ResolutionY": 442}, "PrivateFei": {"DatabarHeight": 29}}
    assert fei_region(meta, (471, 512)) == {"y": slice(0, 442)}
    assert fei_region(meta, (442, 512)) is None
    assert fei_region({}, (442, 512)) is None


def test_thermo_fisher_angles_become_degrees_and_decelerated_beams_have_a_landing_energy():
    meta = {
        "Beam": {"Beam": "IBeam", "Scan": "IScan"},
        "IBeam": {"HV": 30000, "BeamCurrent": 8e-10, "HFW": 4e-5},
        "IScan": {"Dwell": 1e-6, "PixelWidth": 1e-8, "PixelHeight": 2e-8},
        "Stage": {"StageT": np.radians(52.0), "StageR": np.radians(-90)},
        "EBeamDeceleration": {"ModeOn": "On", "LandingEnergy": 2000},
        "User": {"Date": "13/06/2016", "Time": "05:06:40 PM"},
    }
    sizes, attrs = fei(meta)
    np.testing.assert_allclose([sizes.size("y", "nm"), sizes.size("x", "nm")], [20, 10])
    assert (attrs["beam"], attrs["accelerating_voltage"]) == ("ion", 30000)
    np.testing.assert_allclose([attrs["tilt_angle"], attrs["stage_rotation"]], [52, -90])
    assert (attrs["landing_energy"], attrs["landing_energy_units"]) == (2000, "eV")
    assert attrs["acquisition_date"] == "2016-06-13T17:06:40"
    validate(attrs)


def test_zeiss_values_become_words_with_their_units():
    meta = {
        "ap_image_pixel_size": ("Image Pixel Size", 9.0, "nm"),
        "ap_pixel_size": ("Pixel Size", 4.5, "nm"),
        "ap_mag": ("Mag", "1.25 K X"),
        "ap_iprobe": ("I Probe", 700.0, "pA"),
        "ap_line_time": ("Line Time", 14.6, "Secs"),
        "ap_stage_at_t": ("Stage at T", 54.0, "°"),
        "dp_noise_reduction": ("Noise Reduction", "Frame Avg"),
        "ap_frame_average_count": ("Frames to average", 16),
        "ap_line_average_count": ("Line Avg.Count", 8),
        "dp_scan_rot": ("Scan Rotation", "Off"),
        "ap_scanrotation": ("Scan Rot", 12.0, "°"),
        "ap_wd": ("WD", 5.0, "kg"),
    }
    sizes, attrs = zeiss(meta, 1024)
    np.testing.assert_allclose(sizes.size("x", "nm"), 9)
    assert (attrs["magnification"], attrs["beam_current"], attrs["frame_averaging"]) == (1250, 700, 16)
    assert (attrs["line_time"], attrs["line_time_units"]) == (14.6, "s")
    assert not {"line_averaging", "scan_rotation", "working_distance"} & set(attrs)
    validate(attrs)


def test_a_zeiss_pixel_is_that_of_the_image_where_the_scan_was_finer():
    meta = {"ap_pixel_size": ("Pixel Size", 10.0, "nm"), "ap_width": ("Width", 10.24, "µm")}
    for columns, expected in ((1024, 10), (512, 20), (341, 30), (700, 10)):
        np.testing.assert_allclose(zeiss(meta, columns)[0].size("x", "nm"), expected)


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        ("2021-03-04T05:06:07", "05:06:07", "2021-03-04T05:06:07"),
        ("13.06.2016", "17:06:40", "2016-06-13T17:06:40"),
        ("25 Sep 2018", "8:20:42", "2018-09-25T08:20:42"),
        ("06/13/2016", "12:06:40 AM", "2016-06-13T00:06:40"),
        ("13/06/2016", "", "2016-06-13"),
        ("06/07/2016", "10:00:00", None),  # June or July
        ("31.02.2016", "", None),
        ("", "", None),
    ],
)
def test_dates_are_iso_and_those_that_can_be_read_in_two_ways_are_left_out(day, time, expected):
    assert date(day, time) == expected


def test_words_leave_out_what_does_not_fit_the_vocabulary():
    assert words(dwell_time=("fast", "s"), beam_current=(1, "kg"), detector="", frame_averaging="2") == {
        "frame_averaging": 2
    }
    assert words(dwell_time=(float("nan"), "s"), tilt_angle=(3, None), magnification=5e3) == {"magnification": 5000.0}


@needs_sem
def test_real_images_state_what_was_set_at_the_microscope():
    helios = stack3d.open_stack(SEM / "FEI-Helios-Ebeam-16bits.tif")
    assert helios.attrs["acquisition_date"] == "2016-06-13T17:06:40"
    for name, value, unit in (
        ("beam_current", 6.25e-12, "A"), ("dwell_time", 1e-5, "s"), ("working_distance", 0.00403466, "m"),
        ("aperture_diameter", 3.2e-5, "m"), ("detector_bias", 250, "V"), ("stage_rotation", np.degrees(-2.3611), "degree"),
    ):  # fmt: skip
        np.testing.assert_allclose(helios.attrs[name], value, rtol=1e-12)
        assert helios.attrs[f"{name}_units"] == unit
    np.testing.assert_allclose(
        helios.attrs["field_of_view"], helios.sizes["x"] * helios.x.attrs["spacing"] * 1e-9, rtol=1e-4
    )
    assert acquired_region(helios.attrs, (471, 512)) == {"y": slice(0, 442)}
    ultra = stack3d.open_stack(SEM / "test_tiff_Zeiss_SEM_512pix.tif")
    assert ultra.attrs["acquisition_date"] == "2018-09-25T08:20:42"
    assert (ultra.attrs["magnification"], ultra.attrs["tilt_angle"]) == (50_000, 0)
    validate(helios.attrs)
    validate(ultra.attrs)
