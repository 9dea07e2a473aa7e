"""The worked example of CONTRIBUTING.md is a working correction."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import stack3d

ROOT = Path(__file__).parents[1]


def test_the_worked_example_works_as_written(tmp_path):
    package = Path(stack3d.__file__).parent
    shutil.copytree(package, tmp_path / "src/stack3d")  # with the kernels that were compiled before
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n# (\S+?)(?:, after: ([^\n]*))?\n(.*?)```", text, re.DOTALL)
    assert [path for path, anchor, _ in blocks if not anchor] == [
        "src/stack3d/kernels/power.py",
        "src/stack3d/operations/_gamma.py",
        "tests/test_gamma.py",
    ]
    for path, anchor, code in blocks:
        target = tmp_path / path
        if anchor:
            lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
            places = [number for number, line in enumerate(lines) if line.strip() == anchor]
            assert len(places) == 1, f"{path} has the line {anchor!r} {len(places)} times"
            lines.insert(places[0] + 1, code)
            target.write_text("".join(lines), encoding="utf-8")
        else:
            assert not target.exists(), f"{path} is there already"
            target.parent.mkdir(exist_ok=True)
            target.write_text(code, encoding="utf-8")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    # The copy comes before the installed package.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    options = ["-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=.", "--doctest-modules"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/test_gamma.py", "src/stack3d/operations/_gamma.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
