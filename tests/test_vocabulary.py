"""Metadata: one vocabulary, and attrs that every file format takes untouched."""

from __future__ import annotations

import datetime
import json
import pathlib
from pathlib import Path
from typing import Any

import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from stack3d import vocabulary
from stack3d.vocabulary import VOCABULARY, describe, normalise, validate, vocabulary_table

EXAMPLES = {"text": "some", "number": 2.5, "integer": 3, "date": "2026-03-31T14:05:00", "json": '{"FEI": {"Beam": 1}}'}


def raw_header() -> dict[str, Any]:
    """Return values of every kind that a vendor's header is parsed into."""
    return {
        "EBeam": {"HV": 5000, "WD": 0.004, "nothing": None, "bad": float("nan")},
        "frozen": True,
        "comment": None,
        "detectors": ["ETD", "TLD"],
        "gain": np.float32(1.5),
        "size": np.array([512, 442], np.uint16),
        "flags": np.array([True, False]),
        "half": np.array([1, 2], np.float16),
        "matrix": np.eye(2),
        "started": datetime.datetime(2026, 3, 31, 14, 5),
        "path": pathlib.PureWindowsPath("C:/data"),
        "label": b"ESB\0\0",
        7: "numbered",
    }


# ---------------------------------------------------------------------------------------------------------------------
# The table


def test_words_are_unique_and_well_formed() -> None:
    names = [spec.name for spec in VOCABULARY]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name == name.lower() and not name.endswith("_units") for name in names)
    assert all(spec.doc and not spec.doc.endswith(".") for spec in VOCABULARY)
    assert all(spec.units is None or spec.kind == "number" for spec in VOCABULARY)


def test_units_of_the_table_are_units_and_so_are_those_known_without_a_parser() -> None:
    registry = pint.UnitRegistry()
    for spec in VOCABULARY:
        if spec.units is not None:
            assert spec.units in vocabulary._COMMON[spec.units]
            for unit in vocabulary._COMMON[spec.units] - {"Torr"}:
                assert registry.Unit(unit).is_compatible_with(spec.units), (spec.name, unit)


def test_table_for_the_documentation_has_a_row_for_each_word() -> None:
    head, rule, *rows = vocabulary_table().splitlines()
    assert head.count("|") == rule.count("|") == 5
    assert all(row.count("|") == 5 for row in rows)
    assert [row.split("`")[1] for row in rows] == [spec.name for spec in VOCABULARY]
    assert "| `beam_current` | float | pA | Current of the imaging beam |" in rows


def test_words_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        VOCABULARY[0].name = "other"  # type: ignore[misc]


# ---------------------------------------------------------------------------------------------------------------------
# Checking


def test_every_word_takes_a_value_of_its_kind() -> None:
    attrs: dict[str, Any] = {spec.name: EXAMPLES[spec.kind] for spec in VOCABULARY}
    attrs |= {f"{spec.name}_units": spec.units for spec in VOCABULARY if spec.units}
    validate(attrs)


@pytest.mark.parametrize("spec", VOCABULARY, ids=lambda spec: spec.name)
def test_every_word_refuses_a_value_of_another_kind(spec: vocabulary.Spec) -> None:
    wrong: Any = "5 kV" if spec.kind in ("number", "integer") else 5.0
    with pytest.raises(TypeError, match=rf"attrs\['{spec.name}'\]={wrong!r} must be a ") as caught:
        validate({spec.name: wrong})
    if spec.units:
        assert f"its unit goes to attrs['{spec.name}_units'] (default '{spec.units}')" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        *["text", "", "µm λ", 3, -(2**63), 2**64 - 1, 2.5, np.float64(1), np.int16(3), np.uint8(3)],
        *[np.array([1.5, 2.5]), np.array([1, 2], np.uint16), np.array([1.0]), np.zeros(2, "f4")],
    ],
)
def test_other_names_take_what_files_take(value: Any) -> None:
    validate({"my_own": value})


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (["SE2"], r"a JSON string, json.dumps\(\['SE2'\]\)"),
        ({"a": 1}, r"a JSON string, json.dumps\({'a': 1}\)"),
        ([], "a JSON string"),
        ([1, 2], r"numpy.array\(\[1, 2\]\)"),
        ((1.5, 2), r"numpy.array\(\(1.5, 2\)\)"),
        (None, "leave it out"),
        (True, "a bool, which NetCDF cannot hold; use 1 or 0"),
        (np.True_, "a bool, which NetCDF cannot hold; use 1 or 0"),
        (np.eye(2), "2-D, float64"),
        (np.array([True]), "1-D, bool"),
        (np.array([1, 2], np.float16), "float16"),
        (np.array(["a"]), "1-D, <U1"),
        (np.array(3), "0-D, int64"),
        (1 + 2j, "a JSON string"),
        (datetime.date(2026, 3, 31), "a JSON string"),
        (b"text", "a JSON string"),
    ],
)
def test_values_that_files_change_or_refuse_are_named_and_mended(value: Any, hint: str) -> None:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.astype(np.int64)
    with pytest.raises(TypeError, match=rf"^attrs\['my_own'\]=.*{hint}"):
        validate({"fine": 1, "my_own": value})


@pytest.mark.parametrize("value", ["a\0b", "\udc80", 2**64, -(2**63) - 1])
def test_values_that_do_not_fit_are_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^attrs\['my_own'\]="):
        validate({"my_own": value})


def test_long_values_are_shortened_in_errors() -> None:
    with pytest.raises(TypeError) as caught:
        validate({"my_own": {"a": "b" * 10_000}})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("name", "error"), [(3, TypeError), (None, TypeError), ("", ValueError), ("a/b", ValueError)])
def test_names_that_files_refuse_are_refused(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="attrs has the name"):
        validate({name: 1})


@pytest.mark.parametrize(
    ("name", "unit"),
    [("accelerating_voltage", "V"), ("beam_current", "nA"), ("beam_current", "\N{MICRO SIGN}A"), ("tilt_angle", "°"),
     ("stage_x", "inch"), ("dwell_time", "hour"), ("chamber_pressure", "mbar"), ("detector_contrast", "%")],
)  # fmt: skip
def test_units_of_the_right_kind_are_taken(name: str, unit: str) -> None:
    validate({name: 1.0, f"{name}_units": unit})


@pytest.mark.parametrize("unit", ["nm", "banana", "", "]", "kV/nm", "5 kV"])
def test_units_of_another_kind_are_refused(unit: str) -> None:
    with pytest.raises(ValueError, match=r"attrs\['accelerating_voltage_units'\]=.* is not a unit of .*; use 'kV'"):
        validate({"accelerating_voltage_units": unit})
    with pytest.raises(TypeError, match=r"attrs\['accelerating_voltage_units'\]=3 must be a str"):
        validate({"accelerating_voltage_units": 3})


@pytest.mark.parametrize("date", ["2026-03-31", "2026-03-31T14:05:00", "2026-03-31 14:05:00.5+02:00"])
def test_dates_are_iso(date: str) -> None:
    validate({"acquisition_date": date})


@pytest.mark.parametrize("date", ["31/03/2026", "25 Sep 2018", "yesterday", ""])
def test_dates_that_can_be_read_in_two_ways_are_refused(date: str) -> None:
    with pytest.raises(ValueError, match=r"attrs\['acquisition_date'\]=.* must be a date as in ISO 8601"):
        validate({"acquisition_date": date})


def test_vendor_metadata_is_json() -> None:
    with pytest.raises(ValueError, match=r"attrs\['vendor_metadata'\]='\{HV: 5\}' must be a JSON string"):
        validate({"vendor_metadata": "{HV: 5}"})


# ---------------------------------------------------------------------------------------------------------------------
# Making them storable


def test_values_of_a_header_become_storable() -> None:
    before = repr(raw_header())
    header = raw_header()
    attrs = normalise(header)
    assert repr(header) == before
    validate(attrs)
    assert json.loads(attrs["EBeam"]) == {"HV": 5000, "WD": 0.004, "nothing": None, "bad": "nan"}
    assert json.loads(attrs["detectors"]) == ["ETD", "TLD"]
    assert json.loads(attrs["matrix"]) == [[1.0, 0.0], [0.0, 1.0]]
    assert "comment" not in attrs
    assert (attrs["frozen"], type(attrs["frozen"])) == (1, int)
    assert (attrs["gain"], type(attrs["gain"])) == (1.5, float)
    assert (attrs["started"], attrs["path"], attrs["label"]) == ("2026-03-31T14:05:00", "C:\\data", "ESB")
    assert attrs["7"] == "numbered"
    for name, dtype in {"size": np.uint16, "flags": np.uint8, "half": np.float32}.items():
        assert attrs[name].dtype == dtype
        np.testing.assert_array_equal(attrs[name], header[name])


def test_sequences_of_numbers_become_arrays() -> None:
    attrs = normalise(
        {"whole": [1, 2], "mixed": (1, 2.5), "numpy": [np.float32(0.5), 2], "flags": [True, False], "none": []}
    )
    assert attrs["whole"].dtype.kind == "i"
    np.testing.assert_array_equal(attrs["mixed"], [1.0, 2.5])
    np.testing.assert_array_equal(attrs["numpy"], [0.5, 2.0])
    assert (attrs["flags"], attrs["none"]) == ("[true, false]", "[]")


def test_arrays_are_not_shared_with_the_caller() -> None:
    values = np.array([1.0, 2.0])
    attrs = normalise({"values": values})
    values[0] = 100.0
    np.testing.assert_array_equal(attrs["values"], [1.0, 2.0])


@pytest.mark.parametrize("value", [object(), 1 + 2j, {"a": object()}, np.array([1j, 2j]), lambda: 0])
def test_what_has_no_storable_form_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"attrs\['my_own'\]=.* cannot be stored"):
        normalise({"my_own": value})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)


@given(st.dictionaries(names, nested, max_size=4))
def test_anything_that_json_holds_becomes_storable_once_and_for_all(attrs: dict[str, Any]) -> None:
    stored = normalise(attrs)
    validate({f"own {name}": value for name, value in stored.items()})
    again = normalise(stored)
    assert list(again) == list(stored)
    for name in stored:
        np.testing.assert_array_equal(again[name], stored[name])


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_take_storable_attrs_untouched(suffix: str, tmp_path: Path) -> None:
    attrs = normalise(raw_header() | {"empty": "", "unicode": "µm", "large": 2**63 - 1})
    ds = xr.Dataset({"image": ("x", np.zeros(2), attrs)})
    path = tmp_path / f"a.{suffix}"
    if suffix == "nc":
        ds.to_netcdf(path)
    else:
        ds.to_zarr(path, consolidated=False)
    with xr.open_dataset(path) if suffix == "nc" else xr.open_zarr(path, consolidated=False) as again:
        xr.testing.assert_identical(again["image"].load(), ds["image"])
        assert describe(again["image"].attrs) == describe(attrs)


# ---------------------------------------------------------------------------------------------------------------------
# Reading them


def test_description_holds_the_words_that_are_there_in_order_with_their_units() -> None:
    attrs = {
        "title": "not a word of it",
        "vendor_metadata": '{"CZ_SEM": {"ap_wd": ["WD", 3.9, "mm"]}}',
        "beam_current": np.float64(50),
        "accelerating_voltage": 5000,
        "accelerating_voltage_units": "V",
        "instrument": "Crossbeam 550",
    }
    found = describe(attrs)
    assert list(found.items()) == [
        ("instrument", "Crossbeam 550"),
        ("accelerating_voltage", 5000),
        ("accelerating_voltage_units", "V"),
        ("beam_current", 50.0),
        ("beam_current_units", "pA"),
        ("vendor_metadata", {"CZ_SEM": {"ap_wd": ["WD", 3.9, "mm"]}}),
    ]
    assert type(found["beam_current"]) is float


def test_description_of_nothing_is_empty() -> None:
    assert describe({}) == {}
    assert describe({"units": "counts", "long_name": "intensity"}) == {}


def test_vendor_metadata_that_is_no_json_is_given_as_it_is() -> None:
    assert describe({"vendor_metadata": "<Fibics/>"}) == {"vendor_metadata": "<Fibics/>"}


def test_description_is_apart_from_the_attrs() -> None:
    attrs = {"vendor_metadata": '{"FEI": {"HV": 5000}}'}
    describe(attrs)["vendor_metadata"]["FEI"]["HV"] = 0
    assert describe(attrs)["vendor_metadata"] == {"FEI": {"HV": 5000}}
