"""Steps give in a run what they give by themselves: pixels are floats between them, and keep the range of their dtype."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import stack3d
from stack3d import Recipe
from stack3d._provenance import OPERATIONS
from stack3d.runs._links import _OF_RESULT, _OF_STACK

RANGES = {"range", "grey_range", "out_range"}
STEPS = [
    ("rescale_intensity", {}),
    ("rescale_intensity", {"dtype": "uint8"}),
    ("rescale_intensity", {"out_range": [10, 90]}),
    ("global_contrast", {}),
    ("global_contrast", {"dtype": "float32"}),
    ("local_contrast", {"size": 5}),
    ("local_contrast", {"method": "clahe", "tiles": 2}),
    ("local_contrast", {"method": "clahe", "tiles": 2, "grey_range": [100, 40000]}),
    ("invert", {}),
]


@pytest.fixture(scope="module", params=["uint8", "uint16"])
def raw(request):
    made = stack3d.synthetic.make_stack((6, 40, 48), dtype=request.param, defects={"gain": True, "noise": 0.03})
    return made.stack


@pytest.mark.parametrize(("name", "parameters"), STEPS, ids=lambda value: str(value))
def test_a_step_in_a_run_gives_what_it_gives_by_itself(raw, tmp_path, name, parameters):
    if name == "local_contrast" and "grey_range" in parameters and raw.dtype == np.uint8:
        parameters = {**parameters, "grey_range": [5, 200]}
    recipe = Recipe([(name, parameters)])
    found = stack3d.run(recipe, raw, out=tmp_path / "clean.zarr", report=False)
    alone = recipe.apply(raw)
    assert found.dtype == alone.dtype
    assert len(np.unique(alone)) > 30
    # Quantiles are found to a 4096th of the range, each by its own dtype.
    span = 1.0 if found.dtype.kind == "f" else float(np.iinfo(found.dtype).max)
    atol = max(span / 4096, span / np.iinfo(raw.dtype).max, 0 if found.dtype.kind == "f" else 1)
    np.testing.assert_allclose(found.values.astype(np.float64), alone.values, rtol=0, atol=atol)
    assert Recipe.from_provenance(found) == recipe


def test_every_range_that_follows_the_dtype_is_known_to_runs():
    own = {
        name
        for name, known in OPERATIONS.items()
        if any(p.default is None and p.name in RANGES for p in inspect.signature(known.function).parameters.values())
    }
    measured = {"match_histograms"}  # its range is that of the pixels
    assert own - measured == _OF_STACK.keys() | _OF_RESULT.keys()
