"""Any run says how it was made: its record is its recipe, and gives its result again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stack3d
from stack3d import Recipe
from stack3d.runs import Step


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    made = stack3d.synthetic.make_stack((9, 32, 40), defects={"gain": True, "uneven_z": True})
    return made.stack.stack3d.save(tmp_path_factory.mktemp("raw") / "raw.zarr")


def step(name, **parameters):
    return st.builds(Step, st.just(name), st.fixed_dictionaries({}, optional=parameters), st.booleans())


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    made = stack3d.synthetic.make_stack((24, 96, 112), defects={"drift": True, "curtains": True, "gain": True})
    da = made.stack.copy(data=made.stack.values.copy())
    da.values[7] = 0  # blank
    return da.stack3d.save(tmp_path_factory.mktemp("dirty") / "raw.zarr")


numbers = st.integers(0, 6)
STEPS = st.lists(
    st.one_of(
        step("crop", y=st.builds(slice, numbers, st.integers(20, 24)), by=st.just("index")),
        step("invert"),
        step("match_histograms", window=st.sampled_from([3, 5])),
        step("level_slices", model=st.sampled_from(["gain", "both"]), trim=st.sampled_from([0.05, 0.1])),
        step("resample", dz=st.sampled_from(["9 nm", 12.0]), method=st.sampled_from(["linear", "nearest"])),
        step("bin", z=st.sampled_from([1, 2]), y=st.just(1), x=st.just(1)),
        step("rescale_intensity", dtype=st.sampled_from(["uint8", "float32"])),
    ),
    min_size=1,
    max_size=3,
)


def _count(steps, operation):
    """Steps of a name: the second crop would reach beyond what the first leaves."""
    return sum(step.operation == operation for step in steps)


# Matching to stretched slices cuts what lies beyond the range.
@pytest.mark.filterwarnings("ignore::stack3d.SaturationWarning")
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS.filter(lambda steps: _count(steps, "crop") < 2 and _count(steps, "bin") < 2))
def test_the_record_of_a_run_is_its_recipe_and_gives_its_result_again(raw, steps):
    recipe = Recipe(
        [
            Step(s.operation, {**s.parameters, "by": "index"} if s.operation == "crop" else s.parameters, s.checkpoint)
            for s in steps
        ],
        input={"path": str(raw), "frames_per_block": 2},
    )
    with tempfile.TemporaryDirectory() as folder:
        result = stack3d.run(recipe, out=Path(folder) / "clean.zarr")
        found = Recipe.from_provenance(result)
        # Whether a step left a checkpoint is no part of what was done.
        assert found == Recipe([Step(s.operation, s.parameters) for s in recipe.steps])
        assert Recipe.from_text(found.to_text()) == found
        xr.testing.assert_equal(stack3d.replay(stack3d.open_stack(raw), result), result)


@pytest.mark.parametrize("preset", ["fibsem", "hifiem"])
@pytest.mark.filterwarnings("ignore::stack3d.SaturationWarning")
def test_so_does_the_record_of_a_preset(dirty, tmp_path, preset):
    recipe = Recipe(Recipe.preset(preset).steps, input={"path": str(dirty)})
    result = stack3d.run(recipe, out=tmp_path / "clean.zarr", report=False)
    found = Recipe.from_provenance(result)
    assert [step.operation for step in found.steps] == [step.operation for step in recipe.steps]
    assert found == Recipe([Step(s.operation, s.parameters) for s in recipe.steps], input=found.input)
    assert Recipe.from_text(found.to_text()) == found
    xr.testing.assert_equal(stack3d.replay(stack3d.open_stack(dirty).load(), result), result)
