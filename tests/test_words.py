"""What stacks and counts look like in print, and the names that the package offers."""

import types

import numpy as np

import stack3d
from stack3d._words import counted
from stack3d.reporting import _record_sections


def of_units(z):
    """Return a stack with z in nm and pixels of no known size."""
    da = stack3d.from_array(np.zeros((len(z), 4, 6), "uint8"), pixel_size=1, units="1")
    return da.assign_coords(z=("z", np.array(z, float), {"units": "nm", "spacing": 10.0}))


def test_each_length_has_its_unit_where_units_differ():
    text = str(of_units([0, 10, 20]).stack3d)
    assert "z 10 nm × y 1 px × x 1 px\n" in text
    assert "z 30 nm × y 4 px × x 6 px\n" in text
    assert _record_sections._voxel(of_units([0, 10, 20])) == ("10 nm × 1 px × 1 px", "along z, y, x")
    assert _record_sections._fact(of_units([0, 10, 20]), "extent") == "30 nm × 4 px × 6 px"


def test_distances_of_uneven_slices_are_in_the_unit_of_z():
    uneven = of_units([0, 7.7, 19.6])
    assert "uneven, 7.7 to 11.9 nm apart" in str(uneven.stack3d)
    assert _record_sections._fact(uneven, "z") == "uneven, 7.7 to 11.9 nm apart"


def test_one_unit_is_said_once():
    da = stack3d.from_array(np.zeros((3, 4, 6), "uint8"), pixel_size=(10, 5, 5))
    assert "z 10 × y 5 × x 5 nm\n" in str(da.stack3d)
    assert _record_sections._voxel(da) == ("10 × 5 × 5", "nm along z, y, x")
    bare = stack3d.from_array(np.zeros((3, 4, 6), "uint8"), pixel_size=1, units="1")
    assert "z 1 × y 1 × x 1 pixel, not calibrated\n" in str(bare.stack3d)
    assert _record_sections._fact(bare, "extent") == "3 × 4 × 6 pixel, not calibrated"


def test_one_is_no_plural():
    assert [counted(n, "slice") for n in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]


def test_the_package_offers_only_names_of_its_own():
    for name in dir(stack3d):
        if not name.startswith("_") and name not in stack3d.__all__:
            found = getattr(stack3d, name)
            assert isinstance(found, types.ModuleType), name
            assert found.__name__.startswith("stack3d."), name
    assert set(stack3d.__all__) <= set(dir(stack3d))
