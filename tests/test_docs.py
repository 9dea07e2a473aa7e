"""The Python of the README and of the documentation runs as it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

import stack3d

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "```python" in path.read_text(encoding="utf-8") and "generated" not in path.parts
]


def code_of(page: Path) -> str:
    """Return the blocks marked as python, each at its own line, so that a traceback names the line of the page."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines)


def write_slices(folder: Path) -> None:
    """Write a folder of slices with uneven z in their names, drifting by whole pixels and in brightness."""
    rng = np.random.default_rng(3)
    grain = rng.standard_normal((220, 220))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(220), np.fft.fftfreq(220), indexing="ij"))
    texture = np.fft.ifft2(np.fft.fft2(grain) * np.exp(-200.0 * frequency**2)).real
    texture = 2000.0 + 600.0 * texture / texture.std()
    folder.mkdir()
    for number, z in enumerate([0.0, 0.011, 0.019, 0.032, 0.04, 0.052]):
        dy, dx = rng.integers(0, 4, 2)
        frame = texture[dy : dy + 200, dx : dx + 200] * (1 + 0.03 * rng.standard_normal())
        frame += rng.normal(0, 20, frame.shape)
        tifffile.imwrite(folder / f"slice_{number:04d}_z={z:.4f}um.tif", np.rint(frame).clip(0).astype(np.uint16))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_of_the_page_runs(page, stack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_slices(tmp_path / "slices")
    names = {"np": np, "xr": xr, "stack3d": stack3d, "da": stack, "lazy": stack.chunk(z=1)}
    exec(compile(code_of(page), str(page), "exec"), names)
