"""Lengths with units: exact where a decimal is, and errors that name what was given."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack3d.units import canonical_unit, conversion_factor, parse_length

METRES = {
    "pm": Fraction(1, 10**12), "angstrom": Fraction(1, 10**10), "nm": Fraction(1, 10**9), "um": Fraction(1, 10**6),
    "mm": Fraction(1, 10**3), "cm": Fraction(1, 100), "inch": Fraction(254, 10**4),
    "m": Fraction(1), "km": Fraction(1000),
}  # fmt: skip
units = st.sampled_from(sorted(METRES))


def length(value: Any, unit: str = "nm", spacing: float = 5.0) -> float:
    return parse_length(value, unit=unit, spacing=spacing, name="dz")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("nm", "nm"), ("nanometer", "nm"), ("Nanometers", "nm"), (" nm ", "nm"), ("um", "um"), ("micron", "um"),
        ("Microns", "um"), ("micrometre", "um"), ("\N{MICRO SIGN}m", "um"), ("\N{GREEK SMALL LETTER MU}m", "um"),
        ("A", "angstrom"), ("\N{ANGSTROM SIGN}", "angstrom"), ("Angstrom", "angstrom"), ("angstroms", "angstrom"),
        ("\N{LATIN CAPITAL LETTER A WITH RING ABOVE}", "angstrom"), ("mm", "mm"), ("cm", "cm"), ("m", "m"),
        ("meter", "m"), ("in", "inch"), ("inches", "inch"), ("km", "km"), ("picometer", "pm"), ("mile", "mile"),
        ("nm**1", "nm"), ("px", "1"), ("pixel", "1"), ("Pixels", "1"), ("voxel", "1"), ("", "1"), ("1", "1"),
    ],
)  # fmt: skip
def test_names_of_a_unit_are_kept_under_one(name: str, kept: str) -> None:
    assert canonical_unit(name) == kept
    assert canonical_unit(kept) == kept


@pytest.mark.parametrize(
    "unit", ["s", "nm**2", "1/nm", "kV", "banana", "NM", "nM", "Nm", "Mm*s", "2 nm", "nm/px", "a.u.", "]"]
)
def test_what_is_no_length_is_refused_by_name(unit: str) -> None:
    with pytest.raises(ValueError, match="is not a unit of length; use for example 'nm'") as caught:
        canonical_unit(unit)
    assert repr(unit) in str(caught.value)


@pytest.mark.parametrize("unit", [None, 5, b"nm", ["nm"]])
def test_a_unit_is_a_string(unit: Any) -> None:
    with pytest.raises(TypeError, match=r"units=.* must be a str"):
        canonical_unit(unit)


@given(st.text(max_size=8) | st.text("nmµpx/*^()[]{}-+. 0123456789eE%\"'\\\n#", max_size=12))
def test_any_text_is_a_unit_or_a_clear_error(text: str) -> None:
    try:
        kept = canonical_unit(text)
    except ValueError as error:
        assert repr(text) in str(error)  # noqa: PT017
    else:
        assert canonical_unit(kept) == kept


@given(units, units)
def test_conversion_is_the_nearest_number_to_the_true_ratio(source: str, target: str) -> None:
    assert conversion_factor(source, target) == float(METRES[source] / METRES[target])


def test_conversion_knows_units_out_of_the_table() -> None:
    assert conversion_factor("mile", "m") == pytest.approx(1609.344, rel=1e-12)
    assert conversion_factor("mile", "mile") == 1.0


@pytest.mark.parametrize(("source", "target"), [("px", "nm"), ("nm", "1"), ("1", "mile")])
def test_pixels_and_lengths_do_not_convert(source: str, target: str) -> None:
    with pytest.raises(ValueError, match="the stack is not calibrated; give pixel_size"):
        conversion_factor(source, target)
    assert conversion_factor("px", "1") == 1.0


@given(st.floats(allow_nan=False, allow_infinity=False), units)
def test_plain_numbers_are_in_the_unit_of_the_coordinate(number: float, unit: str) -> None:
    assert length(number, unit) == number
    assert length(repr(number), unit) == number
    assert length(f"{number!r} {unit}", unit) == number


@given(st.decimals(0, 10**6, places=4), units, units)
def test_lengths_are_as_near_to_what_is_written_as_floats_are(number: Any, source: str, target: str) -> None:
    exact = Fraction(number) * METRES[source] / METRES[target]
    assert length(f"{number} {source}", target) == pytest.approx(float(exact), rel=4e-16, abs=0)


def test_decimal_lengths_equal_the_decimal_number() -> None:
    # 9.9 * 0.001 is not 0.0099.
    assert length("9.9 nm", "um") == 0.0099
    assert length("5 angstrom", "nm") == 0.5
    assert length("0.02 um", "nm") == 20.0


@given(
    st.integers(-(10**6), 10**6), st.floats(1e-3, 1e3), st.sampled_from(["px", "pixel", "pixels", "voxel", "Voxels"])
)
def test_pixels_are_multiples_of_the_spacing(count: int, spacing: float, name: str) -> None:
    for unit in ("nm", "1"):
        assert length(f"{count} {name}", unit, spacing) == count * spacing
        assert length(f"{count}{name}", unit, spacing) == count * spacing


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10nm", 10),
        ("+5 nm", 5),
        ("-5 nm", -5),
        (".5 um", 500),
        ("5. nm", 5),
        ("1e3 pm", 1),
        ("2E-2um", 20),
        (" 7 ", 7),
    ],
)
def test_ways_to_write_a_length(text: str, value: float) -> None:
    assert length(text) == value


@pytest.mark.parametrize(
    "value", [3, 3.0, np.float32(3), np.int16(3), np.array(3.0), Fraction(3), "3 nm", np.str_("3 nm")]
)
def test_kinds_of_numbers_that_are_taken(value: Any) -> None:
    result = length(value)
    assert result == 3.0
    assert type(result) is float


@pytest.mark.parametrize(
    "text",
    ["", "nm", "ten nm", "1.2.3 px", ". px", "px", "1,5 nm", "1 000 nm", "nan nm", "inf", "5 kV", "0)", "1 ]", "10 1"],
)
def test_text_that_is_no_length_is_refused_with_the_name_of_the_argument(text: str) -> None:
    with pytest.raises(ValueError, match=r"^dz=") as caught:
        length(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf, "1e999 nm", np.float32("nan")])
def test_lengths_are_finite(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^dz=.* must be finite"):
        length(value)


class WithUnit:
    def __float__(self) -> float:
        raise RuntimeError("cannot convert from 'nanometer' to 'dimensionless'")

    def __repr__(self) -> str:
        return "<Quantity(3, 'nanometer')>"


@pytest.mark.parametrize(
    "value", [True, np.True_, None, [3], (3, 3), np.array([3.0]), np.zeros(2), 1 + 2j, b"3 nm", WithUnit()]
)
def test_what_is_no_number_is_refused_with_the_name_of_the_argument(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^dz=.* must be a (plain )?number or a string such as '10 nm'"):
        length(value)


@given(st.text(max_size=8) | st.text("nmpx/*^() -+.0123456789eE]", max_size=12), st.sampled_from(["nm", "1"]))
def test_any_text_is_a_length_or_an_error_that_names_the_argument(text: str, unit: str) -> None:
    try:
        assert np.isfinite(length(text, unit))
    except ValueError as error:
        assert str(error).startswith(f"dz={text!r}")  # noqa: PT017


def test_lengths_on_an_uncalibrated_stack_are_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"dz='10 nm': a length in 'nm' cannot be used .* '1'.*such as '20 px'"):
        length("10 nm", "1", 1.0)
    assert length("20 px", "1", 1.0) == 20.0


def test_the_registry_of_the_process_is_left_to_the_user() -> None:
    import pint

    before = pint.get_application_registry().get()
    length("3 mile")
    assert pint.get_application_registry().get() is before


def test_common_units_need_no_parser() -> None:
    code = (
        "import sys; from stack3d.units import parse_length;"
        "parse_length('3 um', unit='nanometer', spacing=1, name='dz'); print('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
