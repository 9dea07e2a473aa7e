"""The scripts in examples/ run as they stand, from an empty folder, and find what they say they find."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stack3d

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run_example(name: str) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        names = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert [path.name for path in tmp_path.iterdir()] == [Path(name).stem]
        return names

    return run_example


def pictures(folder: Path) -> set[str]:
    found = {path.name for path in folder.glob("*.png") if path.read_bytes().startswith(b"\x89PNG")}
    assert all((folder / name).stat().st_size > 5000 for name in found)
    return found


def test_every_example_is_tested():
    here = Path(__file__).read_text(encoding="utf-8")
    scripts = [path.name for path in EXAMPLES.glob("*.py")]
    assert scripts
    assert [name for name in scripts if f'run("{name}")' not in here] == []


@pytest.mark.slow
def test_first_corrections(run, tmp_path):
    found = run("first_corrections.py")
    folder = tmp_path / "first_corrections"
    assert pictures(folder) == {"raw_profiles.png", "raw_planes.png", "before_and_after.png", "clean_planes.png"}
    assert found["same"]
    assert found["after"] < 0.5 * found["before"]
    steps = [step["operation"] for step in stack3d.open_stack(folder / "clean.zarr").stack3d.provenance]
    assert steps == ["level_slices", "register", "resample"]


def test_estimates(run, tmp_path):
    found = run("estimates.py")
    assert pictures(tmp_path / "estimates") == {"drift.png"}
    assert found["bad"].tolist() == [12]
    assert found["same"]
    assert found["replayed"]
    error = found["drift"].shift_x - found["made"].defects.shift_x
    good = error.isel(z=[k for k in range(30) if k != 12])
    assert float((good - good.mean()).std()) < 1.0  # nm, pixels have 5


def test_own_frames(run):
    found = run("own_frames.py")
    raw, made = found["raw"], found["made"].stack
    np.testing.assert_array_equal(raw.values, made.values)
    np.testing.assert_allclose(raw.z, made.z, atol=0.06)  # names have four decimals of a micrometre
    assert found["same"].identical(raw)
    assert found["plain"].z.values.tolist() == [10.0 * k for k in range(12)]
    assert found["kept"]
